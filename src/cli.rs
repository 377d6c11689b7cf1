//! The command line: one file a command, exit codes from `sysexits`.
//!
//! 0 done, 1 start or run failure, 64 usage, 78 config.

pub mod check;
pub mod demo;
pub mod run;
pub mod schema;

use std::io::Write;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Exit code of a wrong command line.
const EXIT_USAGE: u8 = 64;
/// Exit code of a command that failed.
const EXIT_FAILED: u8 = 1;

/// A reverse-proxy load balancer that always knows, and tells, why a server is in or out of rotation
#[derive(Debug, Parser)]
#[command(name = "farmgate", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say whether a config file would load, and everything that is wrong with it
    Check {
        /// The config file
        #[arg(short, long, value_name = "FILE", default_value = "/etc/farmgate/farmgate.yaml")]
        config: PathBuf,
    },
    /// Run a balancer in front of three embedded origins
    Demo(demo::DemoArgs),
    /// Serve what a config file declares
    Run(run::RunArgs),
    /// Print the JSON Schema of the config file
    Schema,
}

/// Carries out the command line `args` and returns the exit code.
pub fn main(args: impl Iterator<Item = std::ffi::OsString>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return explain_usage(&error, out, err),
    };
    match cli.command {
        Command::Check { config } => check::run(&config, out, err),
        Command::Demo(args) => demo::run(&args, out, err),
        Command::Run(args) => run::run(&args, err),
        Command::Schema => schema::run(out, err),
    }
}

/// Prints clap's text: help and version on `out`, anything else on `err`.
fn explain_usage(error: &clap::Error, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let text = error.render();
    if error.use_stderr() {
        let _ = write!(err, "{text}");
        EXIT_USAGE
    } else {
        let written = write!(out, "{text}");
        if written.is_ok() { 0 } else { EXIT_FAILED }
    }
}
