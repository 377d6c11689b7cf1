//! `farmgate drain`: gives a server no new work, and waits for what is open if told to.

use std::io::Write;
use std::time::Duration;

use crate::admin::native::when;
use crate::admin::native::wire::{OrderWire, SessionsWire};
use crate::clock;

use super::act::{self, On, TermsArgs};
use super::client::{CliError, Client, Target, plain};
use super::text::{distance, plural};

/// How long is waited where `--wait` names no time.
const WAIT_USUAL: Duration = Duration::from_secs(600);

/// Arguments of `drain`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The server.
    #[command(flatten)]
    pub on: On,
    /// The terms.
    #[command(flatten)]
    pub terms: TermsArgs,
    /// Wait until nothing is open any more, at most so long (10m unless given), and tell how it goes; exit code 1 if
    /// something still is
    #[arg(long, value_name = "DURATION", num_args = 0..=1, value_parser = wait)]
    pub wait: Option<Option<Duration>>,
}

/// Drains a server and prints how it is then.
///
/// # Errors
/// [`CliError`] in plain words; nothing was changed unless the answer was lost, or it was waited for in vain.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let client = Client::new(&args.on.admin)?;
    act::order(&client, &args.on, "drain", &args.terms, out)?;
    match args.wait {
        None => Ok(()),
        Some(patience) => follow(&client, &args.on.target, patience.unwrap_or(WAIT_USUAL), out),
    }
}

/// Prints how a drain goes until nothing is open any more.
fn follow(client: &Client, target: &Target, patience: Duration, out: &mut dyn Write) -> Result<(), CliError> {
    let began = clock::monotonic();
    let mut told = String::new();
    loop {
        let waited = began.elapsed();
        // The first look is at once. Then the answer comes as soon as nothing is open, or there is a line to print.
        let longest = if told.is_empty() { Duration::ZERO } else { Duration::from_secs(1) };
        let nap = patience.saturating_sub(waited).min(longest).as_millis();
        let path = target.path(&format!("drain?wait={nap}ms"));
        let order: OrderWire = match client.get(&path) {
            Ok(text) => client.parse(&path, &text)?,
            Err(CliError::Refused { code, .. }) if code == "no_order" => {
                return Err(CliError::Unfinished(format!(
                    "{target}: the drain was ended before everything was closed"
                )));
            }
            Err(error) => return Err(error),
        };
        if order.left == 0 {
            writeln!(out, "{target}: nothing is open after {:.1} s", began.elapsed().as_secs_f64())?;
            return Ok(());
        }
        if waited >= patience {
            let left = left(&order);
            let advice = "it drains on; wait longer, or have it closed with --deadline";
            return Err(CliError::Unfinished(format!(
                "{target}: still open after {}: {left}; {advice}",
                distance(waited)
            )));
        }
        let line = progress(target, &order);
        if line != told {
            writeln!(out, "{line}")?;
            out.flush()?;
            told = line;
        }
    }
}

fn progress(target: &Target, order: &OrderWire) -> String {
    let when = |text: &Option<String>, before: &str| text.as_ref().map(|at| format!(", {before} {}", plain(at)));
    let eta = when(&order.eta, "done about").unwrap_or_default();
    let deadline = when(&order.deadline, "deadline").unwrap_or_default();
    format!("{target}: {} left: {}{eta}{deadline}", order.left, left(order))
}

/// What is open, by kind.
fn left(order: &OrderWire) -> String {
    let kinds = order.sessions.iter().filter(|group| group.count > 0);
    let kind = |SessionsWire { kind, count, .. }: &SessionsWire| plural(*count, &plain(kind));
    let kinds: Vec<_> = kinds.map(kind).collect();
    if kinds.is_empty() { plural(order.left, "piece of work") } else { kinds.join(", ") }
}

fn wait(text: &str) -> Result<Duration, &'static str> {
    when::duration(text).ok_or("is not a duration; write an integer and ms, s, m or h, such as 30s")
}
