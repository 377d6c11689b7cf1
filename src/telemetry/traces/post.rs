//! Posts spans by OTLP over HTTP (protobuf), on a thread of its own.
//!
//! Spans are gathered for [`GATHER`], or until there are [`SPANS_AT_ONCE`], and posted once: what the receiver does not
//! take is lost, counted, and said at most every [`SAID_EVERY`]. No proxy, no redirects; a deadline for each request and
//! a bound for each answer. Blocking, with nobody waiting for it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::resource::v1::Resource;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::clock;
use crate::model::settings::{Otlp, Secret};
use crate::trust::{self, TrustError};

use super::span::Span;
use super::{Counted, wire};

/// How long spans are gathered before they are posted.
const GATHER: Duration = Duration::from_millis(500);
/// Spans that are posted at once, though more wait; with the rest of the last request's.
const SPANS_AT_ONCE: usize = 512;
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// How often it is said that spans are lost.
const SAID_EVERY: Duration = Duration::from_secs(60);
/// Characters of the receiver's own words that are told.
const WORDS_CHARS_MAX: usize = 200;

/// Why no spans could be posted at all.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// There are no authorities to verify the receiver against.
    #[error("tracing.otlp.ca: {0}")]
    Authorities(#[source] TrustError),
    /// The thread could not be started.
    #[error("cannot start the thread of the traces; check the limit on threads")]
    Thread(#[source] io::Error),
}

/// See the module's doc.
pub(super) struct Post {
    agent: Agent,
    url: Box<str>,
    headers: Vec<(Box<str>, Secret)>,
    resource: Resource,
    counted: Arc<Counted>,
    /// When it was said last that spans are lost.
    said: Option<Instant>,
    /// Whether the last spans were not taken.
    is_failing: bool,
}

impl Post {
    pub(super) fn new(otlp: &Otlp, service_name: &str, counted: Arc<Counted>) -> Result<Self, PostError> {
        let mut config = Agent::config_builder()
            .timeout_global(Some(otlp.timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None);
        if otlp.url.starts_with("https:") {
            config = config.tls_config(TlsConfig::builder().root_certs(roots(otlp.ca.as_deref())?).build());
        }
        Ok(Self {
            agent: config.build().into(),
            url: otlp.url.clone(),
            headers: otlp.headers.clone(),
            resource: wire::resource(service_name),
            counted,
            said: None,
            is_failing: false,
        })
    }

    /// Posts what comes until nobody is left to offer anything.
    pub(super) fn run(mut self, waiting: &Receiver<Vec<Span>>) {
        while let Ok(first) = waiting.recv() {
            self.post(&gathered(first, waiting));
            if self.is_failing && self.counted.is_ending.load(Relaxed) {
                // The process does not wait for a receiver that is gone.
                let left: usize = waiting.try_iter().map(|spans| spans.len()).sum();
                self.counted.dropped.fetch_add(left as u64, Relaxed);
            }
        }
    }

    fn post(&mut self, spans: &[Span]) {
        let all = spans.len() as u64;
        let (refused, why) = match self.send(&wire::request(&self.resource, spans)) {
            Ok((rejected, why)) => (rejected.min(all), why),
            Err(why) => (all, why),
        };
        self.counted.taken.fetch_add(all - refused, Relaxed);
        self.counted.refused.fetch_add(refused, Relaxed);
        let was_failing = std::mem::replace(&mut self.is_failing, refused > 0);
        if refused > 0 {
            let now = clock::monotonic();
            if self.said.is_none_or(|at| now.saturating_duration_since(at) >= SAID_EVERY) {
                self.said = Some(now);
                let lost = self.counted.refused.load(Relaxed);
                tracing::warn!(url = %self.url, %why, lost, "spans are not taken: lost and counted");
            }
        } else if was_failing {
            tracing::debug!(url = %self.url, "spans are taken again");
        }
    }

    /// Returns how many of the spans were not taken, and why.
    fn send(&self, body: &[u8]) -> Result<(u64, String), String> {
        let mut request = self.agent.post(&*self.url).header("Content-Type", "application/x-protobuf");
        for (name, value) in &self.headers {
            request = request.header(&**name, value.reveal());
        }
        let answer = request.send(body).map_err(|error| error.to_string().to_lowercase())?;
        let status = answer.status();
        let body = answer.into_body().into_with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        if !status.is_success() {
            return Err(format!("answered {}", status.as_u16()));
        }
        // An answer that cannot be read says nothing against the spans, which it follows.
        let (rejected, words) = wire::rejected(&body.unwrap_or_default());
        let words: String = words.chars().filter(|c| !c.is_control()).take(WORDS_CHARS_MAX).collect();
        Ok((rejected, words))
    }
}

/// Returns the first spans with those that follow soon.
fn gathered(first: Vec<Span>, waiting: &Receiver<Vec<Span>>) -> Vec<Span> {
    let mut spans = first;
    let end = clock::monotonic() + GATHER;
    while spans.len() < SPANS_AT_ONCE {
        match waiting.recv_timeout(end.saturating_duration_since(clock::monotonic())) {
            Ok(more) => spans.extend(more),
            Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => break,
        }
    }
    spans
}

fn roots(ca: Option<&Path>) -> Result<RootCerts, PostError> {
    let read = trust::certificates(ca).map_err(PostError::Authorities)?;
    Ok(read.iter().map(|der| Certificate::from_der(der).to_owned()).into())
}
