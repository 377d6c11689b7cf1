//! `farmgate maintain`: takes a server out; its checks go on, unused.

use std::io::Write;

use super::act::{self, On, TermsArgs};
use super::client::{CliError, Client};

/// Arguments of `maintain`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The server.
    #[command(flatten)]
    pub on: On,
    /// The terms.
    #[command(flatten)]
    pub terms: TermsArgs,
}

/// Puts a server into maintenance and prints how it is then.
///
/// # Errors
/// [`CliError`] in plain words; nothing was changed unless the answer was lost.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    act::order(&Client::new(&args.on.admin)?, &args.on, "maintenance", &args.terms, out)
}
