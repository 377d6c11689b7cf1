//! `farmgate reload`: has the running process read its config file again, whole or not at all.

use std::io::Write;

use crate::admin::native::wire::{Order, Reloaded};

use super::client::{AdminArgs, CliError, Client};

/// Arguments of `reload`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Why; logged with the reload
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Where the process is.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Reloads and prints the generation that is live then.
///
/// # Errors
/// [`CliError`] with every error of the config; the old config stays.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let body = Order { reason: args.reason.clone() };
    let Reloaded { generation } = Client::new(&args.admin)?.post("/api/v1/reload", &body)?;
    writeln!(out, "reloaded: generation {generation} is live")?;
    Ok(())
}
