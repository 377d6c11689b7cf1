//! Traces of requests: whether one is recorded, the numbers that its parts go by, and the way of its spans out.
//!
//! [`Tracing`] is the process's, a [`Tracer`] a worker's. A worker decides once a request, draws numbers without asking
//! anybody, and offers the spans of a request that has ended to a bounded queue; when the thread that posts them
//! (`traces`, [`post`]) cannot keep up, they are dropped and counted rather than waited for. Numbers are drawn from a
//! counter that is mixed (SplitMix64): unlike each other, and no secret.

mod post;
mod span;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::model::settings::{MILLION, TraceSettings};

pub use post::PostError;
pub use span::{Parent, Role, Span, Value};

/// Requests whose spans may wait to be posted.
const REQUESTS_WAITING_MAX: usize = 4096;
/// What the counter grows by: an odd number without a pattern, so that it comes to every number once.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The traces of a process; cheap to clone.
#[derive(Clone, Debug)]
pub struct Tracing(Arc<Ends>);

#[derive(Debug)]
struct Ends {
    sample_ppm: u32,
    spans: Option<SyncSender<Vec<Span>>>,
    counted: Arc<Counted>,
}

/// What the two sides share.
#[derive(Debug, Default)]
struct Counted {
    taken: AtomicU64,
    dropped: AtomicU64,
    refused: AtomicU64,
    is_ending: AtomicBool,
}

/// What became of spans so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanCounters {
    /// Spans that their receiver took.
    pub taken: u64,
    /// Spans dropped because the receiver was slower than the traffic.
    pub dropped: u64,
    /// Spans that the receiver did not take.
    pub refused: u64,
}

impl Tracing {
    /// Starts what the settings say, with the thread that posts spans where they go anywhere; it ends when the last
    /// clone is dropped.
    ///
    /// # Errors
    /// [`PostError`] if nothing could be posted, or the thread not started.
    pub fn start(settings: &TraceSettings) -> Result<(Self, Option<SpanWriter>), PostError> {
        let counted: Arc<Counted> = Arc::default();
        let sample_ppm = settings.sample_ppm;
        let Some(otlp) = &settings.otlp else {
            return Ok((Self(Arc::new(Ends { sample_ppm, spans: None, counted })), None));
        };
        let (spans, waiting) = sync_channel(REQUESTS_WAITING_MAX);
        let post = post::Post::new(otlp, &settings.service_name, Arc::clone(&counted))?;
        let thread = std::thread::Builder::new().name("traces".to_owned());
        let thread = thread.spawn(move || post.run(&waiting)).map_err(PostError::Thread)?;
        let writer = SpanWriter { thread, counted: Arc::clone(&counted) };
        Ok((Self(Arc::new(Ends { sample_ppm, spans: Some(spans), counted })), Some(writer)))
    }
}

/// The thread that posts spans.
#[derive(Debug)]
pub struct SpanWriter {
    thread: JoinHandle<()>,
    counted: Arc<Counted>,
}

impl SpanWriter {
    /// Returns what tells of its counts, and may outlive it.
    #[must_use]
    pub fn handle(&self) -> SpanHandle {
        SpanHandle(Arc::clone(&self.counted))
    }

    /// Waits until every span is posted, or their receiver has failed once more. Returns only once the last
    /// [`Tracing`] is gone.
    pub fn join(self) {
        self.counted.is_ending.store(true, Relaxed);
        // A panic of the thread was reported by it.
        let _ = self.thread.join();
    }
}

/// Tells what became of spans.
#[derive(Clone, Debug)]
pub struct SpanHandle(Arc<Counted>);

impl SpanHandle {
    /// Returns what became of spans so far.
    #[must_use]
    pub fn counters(&self) -> SpanCounters {
        let read = |cell: &AtomicU64| cell.load(Relaxed);
        let Counted { taken, dropped, refused, .. } = &*self.0;
        SpanCounters { taken: read(taken), dropped: read(dropped), refused: read(refused) }
    }
}

/// A worker's side of the traces.
#[derive(Debug)]
pub struct Tracer {
    ends: Arc<Ends>,
    drawn: AtomicU64,
}

impl Tracer {
    /// Returns a worker's tracer; `entropy` is no other's.
    #[must_use]
    pub fn new(tracing: &Tracing, entropy: u64) -> Self {
        // Mixed first: what workers are handed may be one step of the counter apart.
        Self { ends: Arc::clone(&tracing.0), drawn: AtomicU64::new(mixed(entropy ^ STEP.rotate_left(32))) }
    }

    /// Returns whether a trace that begins here is recorded.
    #[must_use]
    pub fn samples(&self) -> bool {
        // The upper half as a fraction of a million: exact at none and at all of them.
        ((self.draw() >> 32) * u64::from(MILLION)) >> 32 < u64::from(self.ends.sample_ppm)
    }

    /// Returns whether anybody is sent spans.
    #[must_use]
    pub fn posts(&self) -> bool {
        self.ends.spans.is_some()
    }

    /// Returns a number for a span.
    #[must_use]
    pub fn span_id(&self) -> u64 {
        self.draw().max(1)
    }

    /// Returns a number for a trace.
    #[must_use]
    pub fn trace_id(&self) -> u128 {
        (u128::from(self.draw()) << 64 | u128::from(self.draw())).max(1)
    }

    /// Offers the spans of a request; drops and counts them when the queue is full.
    pub fn offer(&self, spans: Vec<Span>) {
        let Some(queue) = &self.ends.spans else { return };
        let count = spans.len() as u64;
        if queue.try_send(spans).is_err() {
            self.ends.counted.dropped.fetch_add(count, Relaxed);
        }
    }

    fn draw(&self) -> u64 {
        mixed(self.drawn.fetch_add(STEP, Relaxed))
    }
}

/// SplitMix64's mixing: one to one, so that different counts are different numbers.
fn mixed(mut z: u64) -> u64 {
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::settings::Otlp;

    fn tracing(sample_ppm: u32) -> Tracing {
        let settings = TraceSettings { sample_ppm, service_name: "it".into(), otlp: None };
        Tracing::start(&settings).unwrap().0
    }

    #[test]
    fn share_of_traces_that_is_recorded_is_what_was_asked_for() {
        let sampled = |ppm: u32| {
            let tracer = Tracer::new(&tracing(ppm), 7);
            (0..100_000).filter(|_| tracer.samples()).count()
        };
        assert_eq!((sampled(0), sampled(MILLION)), (0, 100_000));
        assert!((900..1100).contains(&sampled(10_000)), "{}", sampled(10_000));
    }

    #[test]
    fn numbers_are_unlike_each_other_in_and_between_workers() {
        let tracing = tracing(0);
        let entropy = |worker: u64| 99_u64.wrapping_add(worker.wrapping_mul(STEP));
        let tracers: Vec<_> = (0..4).map(|worker| Tracer::new(&tracing, entropy(worker))).collect();
        let mut all: Vec<u64> = tracers.iter().flat_map(|tracer| (0..10_000).map(|_| tracer.span_id())).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 40_000);
        assert_ne!(tracers[0].trace_id(), tracers[0].trace_id());
    }

    #[test]
    fn spans_beyond_what_may_wait_are_dropped_and_counted() {
        let (spans, _waiting) = sync_channel(1);
        let counted: Arc<Counted> = Arc::default();
        let ends = Ends { sample_ppm: MILLION, spans: Some(spans), counted: Arc::clone(&counted) };
        let tracer = Tracer::new(&Tracing(Arc::new(ends)), 1);
        assert!(tracer.posts());
        for _ in 0..3 {
            tracer.offer(vec![Span::sample(), Span::sample()]);
        }
        let counters = SpanHandle(counted).counters();
        assert_eq!(counters, SpanCounters { taken: 0, dropped: 4, refused: 0 });
    }

    #[test]
    fn receiver_that_cannot_be_verified_is_told_by_its_key_at_the_start() {
        let empty = tempfile::NamedTempFile::new().unwrap();
        let ca = Some(empty.path().to_owned());
        let otlp = Otlp { url: "https://a/".into(), headers: Vec::new(), ca, timeout: Duration::from_secs(1) };
        let settings = TraceSettings { sample_ppm: 0, service_name: "it".into(), otlp: Some(otlp) };
        let why = format!("cannot use the authorities in {:?}: it holds no certificate in PEM", empty.path());
        let told = crate::report::report(&Tracing::start(&settings).err().unwrap()).to_string();
        assert_eq!(told, format!("tracing.otlp.ca: {why}; give a PEM file with certificates"));
    }
}
