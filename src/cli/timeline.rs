//! `farmgate timeline`: what happened to everything, a farm or a server; one line an event, the newest last.

use std::io::Write;

use crate::admin::native::wire::{EventLine, EventList};

use super::client::{AdminArgs, CliError, Client, plain, with_query};
use super::scope::Scope;

/// Arguments of `timeline`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The farm or the server, each by name or id; everything unless given
    #[arg(value_name = "FARM[/SERVER]")]
    pub scope: Option<Scope>,
    /// No earlier than: so long ago (2h) or a time (RFC 3339)
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// No later than: so long ago (1h) or a time (RFC 3339)
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// The most events, 1 to 1000; the newest ones
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// Print the API's JSON instead, the newest first
    #[arg(long)]
    pub json: bool,
    /// Where the process is.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Prints what happened.
///
/// # Errors
/// [`CliError`] in plain words.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let client = Client::new(&args.admin)?;
    let path = args.scope.as_ref().map_or_else(|| "/api/v1/timeline".to_owned(), |scope| scope.path("timeline"));
    let limit = args.limit.map(|limit| limit.to_string());
    let query = [("since", args.since.as_deref()), ("until", args.until.as_deref()), ("limit", limit.as_deref())];
    let path = with_query(&path, &query);
    let text = client.get(&path)?;
    if args.json {
        out.write_all(text.as_bytes())?;
        return Ok(());
    }
    let EventList { events, .. } = client.parse(&path, &text)?;
    if events.is_empty() {
        writeln!(out, "nothing happened in that time")?;
    }
    events.iter().rev().try_for_each(|event| line(event, out))
}

/// Prints an event on one line: when, what in a word, what in a sentence.
pub(super) fn line(event: &EventLine, out: &mut dyn Write) -> Result<(), CliError> {
    writeln!(out, "{}  {:16}  {}", plain(&event.at), plain(&event.kind), plain(&event.text))?;
    Ok(())
}
