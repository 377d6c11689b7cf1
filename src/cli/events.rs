//! `farmgate events`: what happens, one line an event; with `-f` for as long as one likes, across restarts.

use std::io::{BufRead, BufReader, Read, Write};
use std::time::Duration;

use crate::admin::native::wire::{EventLine, EventList};

use super::client::{AdminArgs, CliError, Client, with_query};
use super::timeline::line;

const PATH: &str = "/api/v1/events";
/// The longest line of a stream that is read, in bytes.
const LINE_BYTES_MAX: u64 = 1024 * 1024;
/// How long is waited before a lost stream is asked for again: at first, and at most.
const AGAIN_AFTER: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// Arguments of `events`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Go on as events happen, until interrupted
    #[arg(short, long)]
    pub follow: bool,
    /// Begin after the event of this id; unless given, show the newest ones (-f: only what is to come)
    #[arg(long, value_name = "ID")]
    pub after: Option<u64>,
    /// Print each event as one line of JSON
    #[arg(long)]
    pub json: bool,
    /// Where the process is.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Prints what happens.
///
/// # Errors
/// [`CliError`] in plain words.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let client = Client::new(&args.admin)?;
    if args.follow { follow(&client, args, out) } else { list(&client, args, out) }
}

fn list(client: &Client, args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let after = args.after.map(|id| id.to_string());
    let path = with_query(PATH, &[("after", after.as_deref())]);
    let text = client.get(&path)?;
    if !args.json {
        let EventList { events, .. } = client.parse(&path, &text)?;
        return events.iter().try_for_each(|event| line(event, out));
    }
    let list: serde_json::Value = client.parse(&path, &text)?;
    for event in list["events"].as_array().into_iter().flatten() {
        writeln!(out, "{event}")?;
    }
    Ok(())
}

/// Follows the stream; a lost one is asked for again where it broke off. Ends only with an error, or with the reader.
fn follow(client: &Client, args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    // Known from the start, so that nothing is missed should the stream be lost before its first event.
    let mut after = match args.after {
        Some(id) => Some(id),
        None => {
            let path = with_query(PATH, &[("limit", Some("1"))]);
            let list: EventList = client.parse(&path, &client.get(&path)?)?;
            list.latest
        }
    };
    let mut again_after = AGAIN_AFTER.0;
    let mut was_heard = false;
    loop {
        let since = after.map(|id| id.to_string());
        match client.stream(&with_query(PATH, &[("after", since.as_deref())])) {
            Ok(body) => {
                (was_heard, again_after) = (true, AGAIN_AFTER.0);
                print(body, args.json, &mut after, out)?;
            }
            // One that never answered is likely elsewhere; one that refuses will do so again.
            Err(error @ CliError::Unreachable { .. }) if !was_heard => return Err(error),
            Err(CliError::Unreachable { .. }) => {}
            Err(CliError::Refused { code, .. }) if was_heard && code == "too_many_open" => {}
            Err(error) => return Err(error),
        }
        std::thread::sleep(again_after);
        again_after = (again_after * 2).min(AGAIN_AFTER.1);
    }
}

/// Prints the events of a stream until it breaks off; `after` becomes the id of the last one.
fn print(body: impl Read, json: bool, after: &mut Option<u64>, out: &mut dyn Write) -> Result<(), CliError> {
    let mut reader = BufReader::new(body);
    loop {
        let mut bytes = Vec::new();
        let read = (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes);
        if !matches!(read, Ok(1..)) {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some(data) = text.trim_end().strip_prefix("data:").map(str::trim_start) else { continue };
        // A line that was too long, or a later process's event that has no sentence, is left out.
        let Ok(event) = serde_json::from_str::<EventLine>(data) else { continue };
        *after = Some(event.id);
        if json {
            writeln!(out, "{data}")?
        } else {
            line(&event, out)?
        }
        out.flush()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_is_printed_event_by_event_to_where_it_breaks_off() {
        let event = |id| {
            format!(
                "id: {id}\nevent: changed\ndata: {{\"id\":{id},\"at\":\"T\",\"type\":\"changed\",\"text\":\"It.\"}}\n\n"
            )
        };
        let body =
            format!(": hello\nretry: 1000\n\n{}:\n\ndata: {{\"odd\":1}}\n\n{}data: {{\"id\":", event(7), event(9));
        let (mut out, mut after) = (Vec::new(), None);
        print(body.as_bytes(), false, &mut after, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "T  changed           It.\nT  changed           It.\n");
        assert_eq!(after, Some(9));
        let mut out = Vec::new();
        print(body.as_bytes(), true, &mut after, &mut out).unwrap();
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 2);
    }
}
