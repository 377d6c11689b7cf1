//! `farmgate replay`: what another probe would have made of the checks that were recorded.

use std::io::Write;
use std::time::Duration;

use serde_json::Value;

use crate::admin::native::wire::{CourseWire, FarmReplayWire, ReplayOrder, ServerReplayWire, WindowWire};

use super::client::{AdminArgs, CliError, Client, plain};
use super::scope::Scope;
use super::text::{distance, plural};

/// Changes of health that are printed.
const TRANSITIONS_SHOWN: usize = 20;

/// Arguments of `replay`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The farm or the server, each by name or id
    #[arg(value_name = "FARM[/SERVER]")]
    pub scope: Scope,
    /// Which of the farm's probes [default: the first]
    #[arg(long, value_name = "NAME")]
    pub probe: Option<String>,
    /// Passes in a row that would bring a server back
    #[arg(long, value_name = "N")]
    pub rise: Option<u16>,
    /// Failures in a row that would take it out
    #[arg(long, value_name = "N")]
    pub fall: Option<u16>,
    /// From check to check
    #[arg(long, value_name = "DURATION")]
    pub interval: Option<String>,
    /// The deadline of one check
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<String>,
    /// HTTP statuses that would pass, such as 200-399
    #[arg(long, value_name = "SET")]
    pub status: Option<String>,
    /// Checks no earlier than: so long ago (2h) or a time (RFC 3339)
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Checks no later than: so long ago (1h) or a time (RFC 3339)
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// Print the API's JSON instead
    #[arg(long)]
    pub json: bool,
    /// Where the process is.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Prints what would have been.
///
/// # Errors
/// [`CliError`] in plain words.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let text = |value: &Option<String>| value.clone().map(Value::from);
    let order = ReplayOrder {
        probe: args.probe.clone(),
        rise: args.rise.map(Value::from),
        fall: args.fall.map(Value::from),
        interval: text(&args.interval),
        timeout: text(&args.timeout),
        status: text(&args.status),
        since: text(&args.since),
        until: text(&args.until),
    };
    let told: Value = Client::new(&args.admin)?.post(&args.scope.path("probe/replay"), &order)?;
    if args.json {
        writeln!(out, "{told}")?;
        return Ok(());
    }
    let foreign = || CliError::NotFarmgate { url: args.admin.admin.clone(), status: 200 };
    if args.scope.server.is_some() {
        server(&serde_json::from_value(told).map_err(|_| foreign())?, out)
    } else {
        farm(&serde_json::from_value(told).map_err(|_| foreign())?, out)
    }
}

/// Prints what would have become of a server.
pub(super) fn server(told: &ServerReplayWire, out: &mut dyn Write) -> Result<(), CliError> {
    head(&told.window, told.checks, &told.caveats, out)?;
    for (name, course) in [("as probed", &told.as_probed), ("replayed", &told.replayed)] {
        writeln!(out, "{name}: {}", course_of(course))?;
        for transition in course.transitions.iter().take(TRANSITIONS_SHOWN) {
            writeln!(out, "  {}  {}", plain(&transition.at), plain(&transition.to))?;
        }
        let more = course.transitions.len().saturating_sub(TRANSITIONS_SHOWN);
        if more > 0 {
            writeln!(out, "  … {more} more; --json has them all")?;
        }
    }
    Ok(())
}

/// Prints what would have become of a farm.
pub(super) fn farm(told: &FarmReplayWire, out: &mut dyn Write) -> Result<(), CliError> {
    head(&told.window, told.checks, &told.caveats, out)?;
    for (name, total) in [("as probed", &told.as_probed), ("replayed", &told.replayed)] {
        writeln!(out, "{name}: {}", outage(total.removals, total.down_s))?;
    }
    writeln!(out, "replayed: at most {:.0} % of the farm's weight out at once", told.share_lost_max)?;
    for one in &told.servers {
        let (was, would) = (course_of(&one.as_probed), course_of(&one.replayed));
        let change = if was == would { was } else { format!("{was} → {would}") };
        writeln!(out, "  {}: {change}", plain(&one.server))?;
    }
    Ok(())
}

fn head(window: &WindowWire, checks: u64, caveats: &[String], out: &mut dyn Write) -> Result<(), CliError> {
    match (&window.from, &window.to) {
        (Some(from), Some(to)) => {
            writeln!(out, "{} from {} to {}", plural(checks, "check"), plain(from), plain(to))?;
        }
        _ => writeln!(out, "no checks in that time")?,
    }
    caveats.iter().try_for_each(|caveat| writeln!(out, "note: {}", plain(caveat)))?;
    Ok(())
}

fn course_of(course: &CourseWire) -> String {
    outage(course.removals, course.down_s)
}

fn outage(removals: u64, down_s: f64) -> String {
    let down = Duration::try_from_secs_f64(down_s).unwrap_or_default();
    match removals {
        0 => "never taken out".to_owned(),
        1 => format!("taken out once, for {}", distance(down)),
        n => format!("taken out {n} times, for {} in all", distance(down)),
    }
}
