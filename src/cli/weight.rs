//! `farmgate weight`: sets a server's share of the work.

use std::io::Write;

use crate::admin::native::wire::{ServerWire, WeightOrder};

use super::act::{self, On};
use super::client::{CliError, Client};

/// Arguments of `weight`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The server.
    #[command(flatten)]
    pub on: On,
    /// The share, 0 to 65535: only ratios within the farm matter, 0 takes no new work
    #[arg(value_name = "WEIGHT", value_parser = parse)]
    pub weight: u16,
    /// Do it although less than the farm's reserve is left
    #[arg(long)]
    pub force: bool,
}

/// Sets a weight and prints how the server is then.
///
/// # Errors
/// [`CliError`] in plain words; nothing was changed unless the answer was lost.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let On { target, reason, admin } = &args.on;
    let force = args.force.then_some(true.into());
    let body = WeightOrder { weight: Some(args.weight.into()), reason: reason.clone(), force };
    let server: ServerWire = Client::new(admin)?.put(&target.path("weight"), &body).map_err(act::with_force)?;
    act::tell(target, &server, out)
}

fn parse(text: &str) -> Result<u16, &'static str> {
    text.parse().map_err(|_| "is not a whole number in 0..=65535; only ratios matter, divide all weights of the farm")
}
