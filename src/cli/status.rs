//! `farmgate status`: everything the running process knows, as a table for people or as the API's JSON.

use std::io::Write;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::admin::native::wire::{
    CheckWire, FarmWire, IncidentWire, OverrideWire, ServerWire, StandingWire, StatusWire,
};
use crate::model::{CheckStatus, Verdict};

use super::client::{AdminArgs, CliError, Client, plain};

const PATH: &str = "/api/v1/status";
const COLUMNS: [&str; 7] = ["SERVER", "ADDRESS", "STATE", "WEIGHT", "IN FLIGHT", "LAST CHECK", "SINCE"];

/// Arguments of `status`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Print the API's JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// Where the process is.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Prints the state of everything at one instant.
///
/// # Errors
/// [`CliError`] in plain words.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let client = Client::new(&args.admin)?;
    let text = client.get(PATH)?;
    let status: StatusWire = client.parse(PATH, &text)?;
    if args.json {
        out.write_all(text.as_bytes())?;
        return Ok(());
    }
    render(&status, out)
}

/// Prints the table.
pub(super) fn render(status: &StatusWire, out: &mut dyn Write) -> Result<(), CliError> {
    let ready = if status.ready { "ready" } else { "not ready: the first round of checks is under way" };
    let (service, version) = (plain(&status.service.name), plain(&status.version));
    writeln!(out, "{service}  {ready}  generation {}  farmgate {version}", status.generation)?;
    for frontend in &status.frontends {
        writeln!(
            out,
            "frontend {}  {}  {}  to farm {}  {} open",
            plain(&frontend.name),
            plain(&frontend.protocol),
            plain(&frontend.listen.join(", ")),
            plain(frontend.farm.as_deref().unwrap_or("-")),
            count(frontend.connections_open, "connection"),
        )?;
    }
    if let Some(incident) = &status.incident {
        writeln!(out, "{}", told(status, incident))?;
    }
    for farm in &status.farms {
        render_farm(status, farm, out)?;
    }
    Ok(())
}

fn render_farm(status: &StatusWire, farm: &FarmWire, out: &mut dyn Write) -> Result<(), CliError> {
    let counts = farm.counts;
    writeln!(
        out,
        "\nfarm {}  {}  {}  served by {}  {} of {} in rotation",
        plain(&farm.name),
        plain(&farm.protocol),
        plain(&farm.balance),
        served_by(&farm.serving),
        counts.in_rotation,
        count(u64::try_from(counts.servers).unwrap_or(u64::MAX), "server"),
    )?;
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    rows.extend(farm.servers.iter().map(|server| row(status, server)));
    write_aligned(&rows, out)?;
    for server in &farm.servers {
        let check = server.last_check.as_ref().filter(|check| !check.passed);
        let check = check.map(|check| format!("last check {}: {}", ended(check), check.content));
        for text in check.into_iter().chain(reasons(status, server)) {
            writeln!(out, "  {}", plain(&format!("{}: {text}", server.name)))?;
        }
        for made in &server.overrides {
            writeln!(out, "  {}", note(status, server, made))?;
        }
    }
    Ok(())
}

/// The incident under way.
fn told(status: &StatusWire, incident: &IncidentWire) -> String {
    let IncidentWire { id, since, until, farms, servers } = incident;
    plain(&format!(
        "incident {id}  {} of {} failed at once {} ago: Farmgate suspects itself and holds the last good rotation, for {} \
         more at most",
        count(u64::try_from(*servers).unwrap_or(u64::MAX), "server"),
        farms.join(", "),
        ago(&status.at, since),
        ago(until, &status.at),
    ))
}

/// How a check ended that did not pass.
fn ended(check: &CheckWire) -> &'static str {
    match CheckStatus::parse(&check.status).map(CheckStatus::verdict) {
        Some(Verdict::Conditional) => "passed on condition",
        Some(Verdict::Neutral) => "could not be made",
        Some(Verdict::Failed | Verdict::Passed) | None => "failed",
    }
}

/// What is made of a server beside its checks.
fn reasons(status: &StatusWire, server: &ServerWire) -> Vec<String> {
    let StandingWire { ejected, held_until, flap_score, warmup, suspicion, .. } = &server.standing;
    let left = |until: &str| ago(until, &status.at);
    let mut texts = Vec::new();
    if let Some(until) = held_until {
        let changes = count(u64::from(*flap_score), "change");
        texts.push(format!("held down for flapping, {changes} of health: {} more at least", left(until)));
    }
    if let Some(ejected) = ejected {
        let failures = count(u64::from(ejected.errors), "failure");
        texts.push(format!("ejected for {failures} of its traffic in a row: {} more at most", left(&ejected.until)));
    }
    if let Some(warmup) = warmup {
        texts.push(format!("warming up: {} % of its weight now, all of it in {}", warmup.percent, left(&warmup.until)));
    }
    if let Some(suspicion) = suspicion {
        let checks = if suspicion.kind == "traffic_fails" { "pass" } else { "fail" };
        let (bad, all) = (suspicion.bad, suspicion.good.saturating_add(suspicion.bad));
        texts.push(format!("suspect: its checks {checks}, and {bad} of {all} pieces of its traffic failed"));
    }
    if server.held_by_incident {
        texts.push("in rotation because an incident is under way".to_owned());
    }
    texts
}

fn served_by(serving: &str) -> String {
    match serving {
        "held" => "those of before the incident".to_owned(),
        "fail_open" => "servers that are down (fail open)".to_owned(),
        "nobody" => "nobody: no server may take work".to_owned(),
        "unproven" => "servers not checked yet".to_owned(),
        word => plain(word),
    }
}

fn row(status: &StatusWire, server: &ServerWire) -> [String; COLUMNS.len()] {
    let backup = if server.backup { " (backup)" } else { "" };
    let address = match &server.resolved {
        Some(resolved) if *resolved != server.address => format!("{} = {resolved}", server.address),
        _ => server.address.clone(),
    };
    [
        plain(&format!("{}{backup}", server.name)),
        plain(&address),
        plain(&server.state),
        format!("{}/{}", server.effective_weight, server.weight),
        server.in_flight.to_string(),
        server.last_check.as_ref().map_or_else(|| "-".to_owned(), |check| last_check(status, check)),
        ago(&status.at, &server.since),
    ]
}

fn last_check(status: &StatusWire, check: &CheckWire) -> String {
    let code = check.code.map(|code| format!(" {code}")).unwrap_or_default();
    format!("{}{code} {:.0} ms {} ago", plain(&check.status), check.duration_ms, ago(&status.at, &check.at))
}

fn note(status: &StatusWire, server: &ServerWire, made: &OverrideWire) -> String {
    let reason = made.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    plain(&format!(
        "{}: {} {} by {} from {} {} ago, in place of the file's {}{reason}",
        server.name,
        made.field,
        bare(&made.value),
        made.actor,
        made.source,
        ago(&status.at, &made.at),
        bare(&made.declared),
    ))
}

/// A text without its quotes.
fn bare(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn count(n: u64, thing: &str) -> String {
    format!("{n} {thing}{}", if n == 1 { "" } else { "s" })
}

/// How long before `now` something was, in its largest unit; `?` if a time cannot be read.
fn ago(now: &str, then: &str) -> String {
    let parse = |text| OffsetDateTime::parse(text, &Rfc3339).ok();
    let (Some(now), Some(then)) = (parse(now), parse(then)) else { return "?".to_owned() };
    match (now - then).whole_seconds().max(0) {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7_200 => format!("{} min", s / 60),
        s @ 7_200..172_800 => format!("{} h", s / 3_600),
        s => format!("{} d", s / 86_400),
    }
}

/// Writes rows with each column as wide as its widest cell.
fn write_aligned(rows: &[[String; COLUMNS.len()]], out: &mut dyn Write) -> Result<(), CliError> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; COLUMNS.len()] = std::array::from_fn(width);
    for row in rows {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "  {}", cells.join("  ").trim_end())?;
    }
    Ok(())
}
