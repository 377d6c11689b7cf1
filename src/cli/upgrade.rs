//! `farmgate upgrade`: has the running process start a new one and hand it everything, and waits until that serves.

use std::io::Write;
use std::path::PathBuf;

use crate::admin::native::wire::{UpgradeOrder, Upgraded};

use super::client::{AdminArgs, CliError, Client};

/// Arguments of `upgrade`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The program that takes over, as a path on the process's machine; the one that it was started as, unless given.
    /// Needs admin.allow_commands
    #[arg(long, value_name = "PATH")]
    pub binary: Option<PathBuf>,
    /// Why; logged with the upgrade
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Where the process is.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Upgrades and prints which process serves then.
///
/// # Errors
/// [`CliError`] with every reason why no new process took over; the running one goes on.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let binary = args.binary.as_deref().map(|path| {
        let absolute = std::path::absolute(path)
            .map_err(|error| CliError::Argument(format!("--binary: {path:?} is no path: {error}")))?;
        let text = absolute.to_str().map(str::to_owned);
        text.ok_or_else(|| {
            CliError::Argument(format!("--binary: {path:?} is not UTF-8; give the program another name"))
        })
    });
    let body = UpgradeOrder { reason: args.reason.clone(), binary: binary.transpose()? };
    let Upgraded { pid, replaced } = Client::new(&args.admin)?.post_patiently("/api/v1/upgrade", &body)?;
    writeln!(out, "upgraded: process {pid} serves, process {replaced} finishes what is open")?;
    Ok(())
}
