//! The command line: one file a command, exit codes from `sysexits`.
//!
//! 0 done, 1 failure, 64 usage, 78 config. The commands that speak to a running process are clients of the native API
//! and know nothing else of it.

pub mod act;
pub mod check;
pub mod client;
pub mod credentials;
pub mod demo;
pub mod diff;
pub mod drain;
pub mod events;
pub mod explain;
pub mod maintain;
pub mod ready;
pub mod reload;
pub mod replay;
pub mod run;
pub mod schema;
pub mod scope;
pub mod shadow;
pub mod status;
pub mod timeline;
pub mod upgrade;
pub mod weight;

mod pinned;
mod text;

use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use client::CliError;

/// Exit code of a wrong command line.
const EXIT_USAGE: u8 = 64;
/// Exit code of a command that failed.
const EXIT_FAILED: u8 = 1;
/// What a newcomer does next.
const NEXT: &str = "\
`farmgate demo` shows it at work. check, demo, run and schema need no running process; the others ask one, over HTTP, and \
find it by FARMGATE_ADMIN (http://127.0.0.1:9090 unless set) and FARMGATE_TOKEN, or by --admin and --token.

Exit codes: 0 done, 1 failed, 64 wrong arguments, 78 a config file that cannot be used; of diff also 1 it differs, \
2 failed.";

/// A reverse-proxy load balancer that always knows, and tells, why a server is in or out of rotation
#[derive(Debug, Parser)]
#[command(name = "farmgate", version, arg_required_else_help = true, after_help = NEXT)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say whether a config file would load, and everything that is wrong with it
    Check {
        /// The config file
        #[arg(
            short,
            long,
            value_name = "FILE",
            env = "FARMGATE_CONFIG",
            default_value = "/etc/farmgate/farmgate.yaml"
        )]
        config: PathBuf,
    },
    /// Show what applications asked for through the OVHcloud shape, and grant, refuse or revoke it
    Credentials(credentials::Args),
    /// Run a balancer in front of three embedded origins, one of which fails now and then, and say what to try
    Demo(demo::DemoArgs),
    /// Say in what a config file differs from what is live: what a reload would change, and what it would not
    Diff(diff::Args),
    /// Give a server no new work; what is open and sticky stays, until the deadline if there is one
    Drain(drain::Args),
    /// Show what happened last, or with -f what happens from now on
    Events(events::Args),
    /// Say why a server is in or out, why a farm is served as it is, or what became of a request
    Explain(explain::Args),
    /// Take a server out for work on it: sticky clients leave too; checks go on and are shown
    Maintain(maintain::Args),
    /// End drain or maintenance: the server takes work again as its health allows
    Ready(ready::Args),
    /// Make the running process read its config file again
    Reload(reload::Args),
    /// Say which outages another rise, fall, interval, timeout or status would have made of the recorded checks
    Replay(replay::Args),
    /// Serve what a config file declares
    Run(run::RunArgs),
    /// Print the JSON Schema of the config file
    Schema,
    /// Show what a farm's shadow probe, which counts for nothing, says beside the farm's own
    Shadow(shadow::Args),
    /// Show every farm and server of the running process
    Status(status::Args),
    /// Show what happened to a server, a farm or everything, the newest last
    Timeline(timeline::Args),
    /// Have a new process take over from the running one, which finishes what is open; no client notices
    Upgrade(upgrade::Args),
    /// Set a server's share of the work
    Weight(weight::Args),
}

/// Carries out the command line `args` and returns the exit code.
pub fn main(args: impl Iterator<Item = std::ffi::OsString>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return explain_usage(&error, out, err),
    };
    let asked = match cli.command {
        Command::Check { config } => return check::run(&config, out, err),
        Command::Demo(args) => return demo::run(&args, out, err),
        Command::Diff(args) => return diff::run(&args, out, err),
        Command::Run(args) => return run::run(&args, err),
        Command::Credentials(args) => credentials::run(&args, out),
        Command::Drain(args) => drain::run(&args, out),
        Command::Events(args) => events::run(&args, out),
        Command::Explain(args) => explain::run(&args, out),
        Command::Maintain(args) => maintain::run(&args, out),
        Command::Ready(args) => ready::run(&args, out),
        Command::Reload(args) => reload::run(&args, out),
        Command::Replay(args) => replay::run(&args, out),
        Command::Schema => schema::run(out),
        Command::Shadow(args) => shadow::run(&args, out),
        Command::Status(args) => status::run(&args, out),
        Command::Timeline(args) => timeline::run(&args, out),
        Command::Upgrade(args) => upgrade::run(&args, out),
        Command::Weight(args) => weight::run(&args, out),
    };
    asked.map_or_else(|error| explain(&error, err), |()| 0)
}

/// Prints why a command of a running process failed; nothing where the reader of the output just had enough of it.
fn explain(error: &CliError, err: &mut dyn Write) -> u8 {
    if !matches!(error, CliError::Output(cause) if cause.kind() == ErrorKind::BrokenPipe) {
        let _ = writeln!(err, "farmgate: {}", crate::report::report(error));
    }
    error.exit_code()
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
