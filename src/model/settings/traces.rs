//! What a config file declares about traces of requests.

use std::path::PathBuf;
use std::time::Duration;

use super::Secret;

/// A million: the whole of what is sampled.
pub const MILLION: u32 = 1_000_000;

/// The traces of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceSettings {
    /// Of a million traces that begin here, or come from whom the frontend does not trust, how many are recorded.
    pub sample_ppm: u32,
    /// What spans are said to be of.
    pub service_name: Box<str>,
    /// Where spans are sent, if anywhere.
    pub otlp: Option<Otlp>,
}

/// Who is sent spans, by OTLP over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// Where they are posted: http or https.
    pub url: Box<str>,
    /// Fields that every request has, tokens among them.
    pub headers: Vec<(Box<str>, Secret)>,
    /// A PEM file with the authorities to verify against; the system's where absent.
    pub ca: Option<PathBuf>,
    /// How long one request may take.
    pub timeout: Duration,
}
