//! Where log lines go: the process log on standard error, the access log in its own file by its own thread.
//!
//! Lines of the `log` crate (Pingora's) are bridged into `tracing`. Set up once, by the composition root.

pub mod access;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::model::settings::{LogFormat, LogSettings};

/// Starts the process log. `FARMGATE_LOG` (a filter of the `tracing-subscriber` crate) goes before the file's level.
///
/// # Errors
/// In words, if the filter cannot be read or a log was started before.
pub fn start(settings: &LogSettings) -> Result<(), String> {
    // Pingora reports per-request failures itself at error level; ours are in the access log and the metrics.
    let file = format!("{},pingora_proxy=off,pingora_core=warn,rustls=warn,hyper=warn", settings.level);
    let filter = match std::env::var("FARMGATE_LOG") {
        Ok(text) => EnvFilter::try_new(&text).map_err(|e| format!("FARMGATE_LOG: {e}, value \"{text}\""))?,
        Err(_) => EnvFilter::try_new(&file).map_err(|e| format!("log.level: {e}"))?,
    };
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let started = match settings.format {
        LogFormat::Json => registry.with(lines.json()).try_init(),
        LogFormat::Text => registry.with(lines.with_ansi(false)).try_init(),
    };
    started.map_err(|e| format!("cannot start the log: {e}"))
}
