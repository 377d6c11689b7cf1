//! Where log lines and spans go: the process log to standard error, the access log to its file, spans to whoever collects
//! them, each by a thread of its own.
//!
//! Lines of the `log` crate (Pingora's) are bridged into `tracing`. Set up once, by the composition root.

pub mod access;
pub mod context;
pub mod traces;

mod lines;

use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::model::settings::{LogFormat, LogSettings};

pub use lines::LogGuard;

/// Crates that log header fields, tokens among them, below `warn`; the names of their modules begin so.
const INDISCREET: [&str; 6] = ["h2", "hyper", "instant_acme", "pingora", "rustls", "ureq"];

/// Starts the process log; what is returned is held until nothing more is to be logged. `FARMGATE_LOG` (a filter of the `tracing-subscriber` crate) goes before the file's level; it
/// cannot make the log tell header fields.
///
/// # Errors
/// In words, if the filter cannot be read or a log was started before.
pub fn start(settings: &LogSettings) -> Result<LogGuard, String> {
    // Pingora reports per-request failures itself at error level; ours are in the access log and the metrics.
    let file = format!("{},pingora_proxy=off,pingora_core=warn", settings.level);
    let filter = match std::env::var("FARMGATE_LOG") {
        Ok(text) => EnvFilter::try_new(&text).map_err(|e| format!("FARMGATE_LOG: {e}, value \"{text}\""))?,
        Err(_) => EnvFilter::try_new(&file).map_err(|e| format!("log.level: {e}"))?,
    };
    let registry = discreet(filter);
    let (lines, guard) = lines::start(std::io::stderr()).map_err(|e| format!("cannot start the log's thread: {e}"))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(move || lines.clone());
    let started = match settings.format {
        LogFormat::Json => registry.with(lines.json()).try_init(),
        LogFormat::Text => registry.with(lines.with_ansi(false)).try_init(),
    };
    started.map_err(|e| format!("cannot start the log: {e}"))?;
    Ok(guard)
}

/// Returns what lines go through, whatever form they take then.
fn discreet(filter: EnvFilter) -> impl Subscriber + for<'a> LookupSpan<'a> + Send + Sync {
    tracing_subscriber::registry().with(filter).with(filter_fn(is_discreet))
}

/// Returns whether a line of this origin may be logged, whatever was asked for.
fn is_discreet(line: &Metadata<'_>) -> bool {
    *line.level() <= LevelFilter::WARN || !INDISCREET.iter().any(|name| line.target().starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_fields_are_never_logged_whatever_is_asked_for() {
        for asked in [
            "trace",
            "h2=trace,hyper=trace,rustls=trace,pingora_proxy=trace,pingora_core=trace,ureq=trace",
            "h2::codec=debug,hyper_util::client=debug",
        ] {
            let log = discreet(EnvFilter::new(asked));
            tracing::subscriber::with_default(log, || {
                assert!(!tracing::enabled!(target: "h2::codec", tracing::Level::DEBUG), "{asked}");
                assert!(!tracing::enabled!(target: "hyper_util::client", tracing::Level::DEBUG), "{asked}");
                assert!(!tracing::enabled!(target: "rustls::conn", tracing::Level::INFO), "{asked}");
                assert!(!tracing::enabled!(target: "pingora_proxy::proxy_h1", tracing::Level::DEBUG), "{asked}");
                assert!(!tracing::enabled!(target: "pingora_core::protocols", tracing::Level::TRACE), "{asked}");
                assert!(!tracing::enabled!(target: "ureq::unit", tracing::Level::DEBUG), "{asked}");
            });
        }
        let log = discreet(EnvFilter::new("trace"));
        tracing::subscriber::with_default(log, || {
            assert!(tracing::enabled!(target: "h2::codec", tracing::Level::WARN));
            assert!(tracing::enabled!(target: "farmgate::admin", tracing::Level::TRACE));
        });
    }
}
