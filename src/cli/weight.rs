//! `farmgate weight`: sets a server's share of the work.

use std::io::Write;

use crate::admin::native::wire::{ServerWire, WeightOrder};

use super::act;
use super::client::{AdminArgs, CliError, Client, Target};

/// Arguments of `weight`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The server, as FARM/SERVER, each by name or id
    #[arg(value_name = "FARM/SERVER")]
    pub target: Target,
    /// 0..=65535; only ratios within the farm matter, 0 takes no new work
    #[arg(value_name = "WEIGHT", value_parser = parse)]
    pub weight: u16,
    /// Why; kept and shown with the change
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Where the process is.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Sets a weight and prints how the server is then.
///
/// # Errors
/// [`CliError`] in plain words; nothing was changed unless the answer was lost.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let body = WeightOrder { weight: Some(args.weight.into()), reason: args.reason.clone() };
    let server: ServerWire = Client::new(&args.admin)?.put(&args.target.path("weight"), &body)?;
    act::tell(&args.target, &server, out)
}

fn parse(text: &str) -> Result<u16, &'static str> {
    text.parse().map_err(|_| "is not a whole number in 0..=65535; only ratios matter, divide all weights of the farm")
}
