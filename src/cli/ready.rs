//! `farmgate ready`: lets a server take work as its health allows.

use std::io::Write;

use super::act::{self, On, TermsArgs};
use super::client::{CliError, Client};

/// Arguments of `ready`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The server.
    #[command(flatten)]
    pub on: On,
}

/// Undoes drain and maintenance and prints how the server is then.
///
/// # Errors
/// [`CliError`] in plain words; nothing was changed unless the answer was lost.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    // Without terms the body is a reason or nothing.
    act::order(&Client::new(&args.on.admin)?, &args.on, "ready", &TermsArgs::default(), out)
}
