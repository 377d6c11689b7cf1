//! `farmgate shadow`: what a farm's shadow probe says beside its own, and the config change that makes it the farm's own.

use std::io::Write;

use crate::admin::native::wire::{SaysWire, ShadowWire};

use super::client::{AdminArgs, CliError, Client, plain};
use super::text::plural;

/// Arguments of `shadow`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The farm, by name or id
    #[arg(value_name = "FARM", value_parser = farm)]
    pub farm: String,
    /// Print the change of the config that makes the shadow the farm's probe
    #[arg(long)]
    pub promote: bool,
    /// Print the API's JSON instead
    #[arg(long, conflicts_with = "promote")]
    pub json: bool,
    /// Where the process is.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Prints what both probes say.
///
/// # Errors
/// [`CliError`] in plain words.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let client = Client::new(&args.admin)?;
    let what = if args.promote { "shadow/promote" } else { "shadow" };
    let path = format!("/api/v1/farms/{}/{what}", args.farm);
    let text = client.get(&path)?;
    if args.json || args.promote {
        // YAML has line ends; nothing else in it may steer a terminal.
        let shown: String = text.chars().filter(|c| *c == '\n' || !c.is_control()).collect();
        out.write_all(shown.as_bytes())?;
        return Ok(());
    }
    let told: ShadowWire = client.parse(&path, &text)?;
    render(&args.farm, &told, out)
}

/// Prints one line a server.
pub(super) fn render(farm: &str, told: &ShadowWire, out: &mut dyn Write) -> Result<(), CliError> {
    let Some(shadow) = &told.shadow else {
        writeln!(out, "farm {farm} has no shadow probe; declare one as `shadow:` beside `probe:`")?;
        return Ok(());
    };
    let kind = plain(shadow["type"].as_str().unwrap_or("?"));
    match told.agreement {
        None => writeln!(out, "shadow probe ({kind}): nothing to compare yet")?,
        Some(both) => {
            let of = plural(both.compared as u64, "server");
            writeln!(out, "shadow probe ({kind}): agrees with the farm's own on {} of {of}", both.agree)?;
        }
    }
    for one in &told.servers {
        let mark = if one.differs { "  differs" } else { "" };
        let (probe, shadow) = (says(one.probe.as_ref()), says(one.shadow.as_ref()));
        writeln!(out, "  {}: probe {probe}, shadow {shadow}{mark}", plain(&one.server))?;
    }
    Ok(())
}

fn says(says: Option<&SaysWire>) -> String {
    let Some(says) = says else { return "none".to_owned() };
    let health = plain(&says.health);
    match (says.passed, says.failed) {
        (Some(passed), Some(failed)) => format!("{health} ({passed} passed, {failed} failed in the last hour)"),
        _ => health,
    }
}

fn farm(text: &str) -> Result<String, String> {
    match text.parse::<super::scope::Scope>() {
        Ok(super::scope::Scope { farm, server: None }) => Ok(farm),
        Ok(_) | Err(_) => Err("is not FARM; write a name or an id as `farmgate status` shows it, e.g. web".to_owned()),
    }
}
