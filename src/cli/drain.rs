//! `farmgate drain`: gives a server no new work and leaves what is open.

use std::io::Write;

use super::act;
use super::client::{AdminArgs, CliError, Target};

/// Arguments of `drain`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The server, as FARM/SERVER, each by name or id
    #[arg(value_name = "FARM/SERVER")]
    pub target: Target,
    /// Why; kept and shown with the change
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Where the process is.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Drains a server and prints how it is then.
///
/// # Errors
/// [`CliError`] in plain words; nothing was changed unless the answer was lost.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    act::order(&args.admin, &args.target, "drain", args.reason.as_deref(), out)
}
