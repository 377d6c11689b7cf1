//! `farmgate run`: serves what a config file declares until told to stop.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::app::{App, refuse_takeover};
use crate::config;
use crate::telemetry;

/// The arguments of `farmgate run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The config file (YAML; `farmgate schema` prints its schema)
    #[arg(short, long, value_name = "FILE", env = "FARMGATE_CONFIG", default_value = "/etc/farmgate/farmgate.yaml")]
    pub config: PathBuf,
}

/// Exit code of a config that cannot be used (sysexits' `EX_CONFIG`).
const EXIT_CONFIG: u8 = 78;
/// Exit code of a start or run that failed.
const EXIT_FAILED: u8 = 1;

/// Runs until stopped and returns the exit code: 0, 78 for the config, 1 for a failure. Reasons go to `err`.
pub fn run(args: &RunArgs, err: &mut dyn Write) -> u8 {
    let path = args.config.clone();
    let loaded = match load(&path) {
        Ok(loaded) => loaded,
        Err(errors) => {
            let _ = writeln!(err, "{errors}");
            refuse_takeover(&errors.to_string());
            return EXIT_CONFIG;
        }
    };
    let log = match telemetry::start(&loaded.settings.log) {
        Ok(log) => log,
        Err(reason) => {
            let _ = writeln!(err, "farmgate: {reason}");
            refuse_takeover(&reason.to_string());
            return EXIT_CONFIG;
        }
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = %path.display(), "starting");
    let started = App::start(loaded, Box::new(move || load(&path)));
    // Whatever the log's level: without it nobody can tell the admin side from an impostor.
    if let Some(fingerprint) = started.as_ref().ok().and_then(App::fingerprint) {
        let _ = writeln!(err, "farmgate: the admin side's certificate has the SHA-256 fingerprint {fingerprint}");
    }
    let served = started.and_then(App::serve);
    drop(log);
    match served {
        Ok(()) => 0,
        Err(error) => {
            // The outermost message has the whole sentence; causes below it are in there already or add a reason.
            let _ = writeln!(err, "farmgate: {}", crate::report::report(error.as_ref()));
            EXIT_FAILED
        }
    }
}

fn load(path: &Path) -> Result<config::Loaded, config::ConfigErrors> {
    config::load(path, &|name| std::env::var(name).ok())
}
