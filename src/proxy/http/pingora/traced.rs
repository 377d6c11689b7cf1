//! The trace that a request is part of: what goes on of the context that came with it, and, where it is recorded, what
//! its spans will tell.
//!
//! A context is only a correlation: anybody's is passed on. Whether a trace is recorded is decided once a request: by
//! whom the frontend trusts, where it comes from there; by our own draw otherwise, or a stranger could have everything
//! recorded. Without `tracing` in the config a context that can be read is passed on as it came, one that cannot is
//! dropped with what belongs to it, and that is all.

use std::time::Instant;

use ::http::header::HeaderMap;
use ::http::{HeaderName, HeaderValue};
use ::pingora::http::RequestHeader;

use crate::clock;
use crate::model::{AttemptOutcome, ChosenBy, Timestamp};
use crate::telemetry::context::{TraceContext, TraceId};
use crate::telemetry::traces::Tracer;

use super::super::exchange;
use super::super::exchange::short::{ShortText, Shown};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Attempts of one request that have a span of their own: the first ones.
const ATTEMPTS_MAX: usize = 16;
/// Bytes of `tracestate` that a span keeps; a longer one is passed on, and told of to nobody.
const STATE_BYTES_MAX: usize = 512;

/// See the module's doc.
#[derive(Default)]
pub(super) struct Traced {
    /// The trace, if it is part of one.
    pub(super) id: Option<TraceId>,
    goes_on: GoesOn,
    /// What is recorded of it, if it is.
    pub(super) recorded: Option<Box<Recorded>>,
}

/// What the server gets of the context.
#[derive(Debug, Default)]
enum GoesOn {
    /// What came, if anything did.
    #[default]
    AsItCame,
    /// Nothing: what came is none.
    Nothing,
    /// One of ours, beside what others keep in theirs if there was one that could be read. Boxed: most requests have
    /// none, and are moved about.
    Anew { context: Box<TraceContext>, has_state: bool },
}

/// What a request's spans will tell beside what its access log line does.
pub(super) struct Recorded {
    pub(super) trace: u128,
    /// The number of the request's own span.
    pub(super) span: u64,
    /// The span that sent the request, if one did.
    pub(super) parent: Option<u64>,
    pub(super) state: Box<str>,
    pub(super) began: Timestamp,
    pub(super) attempts: Vec<Tried>,
}

/// One attempt at a server.
pub(super) struct Tried {
    /// The number of its span, which the server knows as its parent.
    pub(super) span: u64,
    pub(super) position: usize,
    pub(super) chosen_by: ChosenBy,
    pub(super) began: Instant,
    pub(super) ended: Option<(Instant, AttemptOutcome)>,
    /// The status of the answer, once it began.
    pub(super) status: Option<u16>,
}

impl Traced {
    /// Returns what becomes of the context in a request's head; `is_trusted` tells whether its client may say that it is
    /// recorded.
    pub(super) fn begin(headers: &HeaderMap, is_trusted: impl FnOnce() -> bool, tracer: Option<&Tracer>) -> Self {
        let received = received(headers);
        let Some(tracer) = tracer else {
            let goes_on = if matches!(received, Received::Malformed) { GoesOn::Nothing } else { GoesOn::AsItCame };
            return Self { id: received.context().map(TraceContext::trace_id), goes_on, recorded: None };
        };
        let parent = received.context().copied();
        let told = parent.filter(|_| is_trusted()).map(|parent| parent.is_sampled());
        let is_sampled = told.unwrap_or_else(|| tracer.samples());
        let span = tracer.span_id();
        let root =
            TraceContext { trace: parent.map_or_else(|| tracer.trace_id(), |p| p.trace), parent: span, flags: 0 };
        let context = parent.unwrap_or(root).from_parent(span, is_sampled);
        let is_recorded = is_sampled && tracer.posts();
        let goes_on = if !is_recorded && parent.is_some_and(|parent| parent.is_sampled() == is_sampled) {
            GoesOn::AsItCame
        } else {
            GoesOn::Anew { context: Box::new(context), has_state: parent.is_some() }
        };
        let recorded = is_recorded.then(|| {
            Box::new(Recorded {
                trace: context.trace,
                span,
                parent: parent.map(|parent| parent.parent),
                state: parent.map_or_else(Box::default, |_| state(headers)),
                began: clock::wall(),
                attempts: Vec::new(),
            })
        });
        Self { id: Some(context.trace_id()), goes_on, recorded }
    }

    /// Returns whether spans will tell of the request.
    pub(super) fn is_recorded(&self) -> bool {
        self.recorded.is_some()
    }

    /// Makes of the context in a head towards a server what that is to get.
    pub(super) fn towards_server(&self, head: &mut RequestHeader) {
        match &self.goes_on {
            GoesOn::AsItCame => {}
            GoesOn::Nothing => {
                head.remove_header(&TRACEPARENT);
                head.remove_header(&TRACESTATE);
            }
            GoesOn::Anew { context, has_state } => {
                if !has_state {
                    head.remove_header(&TRACESTATE);
                }
                let attempt = self.recorded.as_ref().and_then(|recorded| recorded.attempts.last());
                let parent = attempt.map_or(context.parent, |attempt| attempt.span);
                exchange::set_shown(head, "traceparent", &TraceContext { parent, ..**context });
            }
        }
    }

    /// Notes that an attempt begins.
    pub(super) fn attempt_began(&mut self, position: usize, chosen_by: ChosenBy, tracer: Option<&Tracer>) {
        let Some((recorded, tracer)) = self.recorded.as_mut().zip(tracer) else { return };
        if recorded.attempts.len() < ATTEMPTS_MAX {
            let (span, began) = (tracer.span_id(), clock::monotonic());
            recorded.attempts.push(Tried { span, position, chosen_by, began, ended: None, status: None });
        }
    }

    /// Notes that the server of the attempt began its answer.
    pub(super) fn answer_began(&mut self, status: u16) {
        if let Some(attempt) = self.open() {
            attempt.status = Some(status);
        }
    }

    /// Notes how the attempt ended.
    pub(super) fn attempt_ended(&mut self, outcome: AttemptOutcome) {
        if let Some(attempt) = self.open() {
            attempt.ended = Some((clock::monotonic(), outcome));
        }
    }

    /// The attempt that is under way.
    fn open(&mut self) -> Option<&mut Tried> {
        self.recorded.as_mut()?.attempts.last_mut().filter(|attempt| attempt.ended.is_none())
    }
}

impl Shown for TraceContext {
    fn show(&self, text: &mut ShortText) {
        text.push(b"00-");
        self.trace.to_be_bytes().into_iter().for_each(|byte| text.push_hex(byte.into(), 2));
        text.push(b"-");
        text.push_hex(self.parent, 16);
        text.push(b"-");
        text.push_hex(self.flags.into(), 2);
    }
}

/// The context of a head.
enum Received {
    Context(TraceContext),
    /// Something that is none, or several.
    Malformed,
    Nothing,
}

impl Received {
    fn context(&self) -> Option<&TraceContext> {
        match self {
            Self::Context(context) => Some(context),
            Self::Malformed | Self::Nothing => None,
        }
    }
}

fn received(headers: &HeaderMap) -> Received {
    let mut given = headers.get_all(TRACEPARENT).iter();
    let Some(first) = given.next() else { return Received::Nothing };
    let context = given.next().is_none().then(|| TraceContext::parse(first.as_bytes())).flatten();
    context.map_or(Received::Malformed, Received::Context)
}

/// Returns what others keep beside a context, as one list.
fn state(headers: &HeaderMap) -> Box<str> {
    let lists: Option<Vec<&str>> =
        headers.get_all(TRACESTATE).iter().map(|list| HeaderValue::to_str(list).ok()).collect();
    let state = lists.unwrap_or_default().join(",");
    if state.len() <= STATE_BYTES_MAX { state.into() } else { Box::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::settings::{MILLION, Otlp, TraceSettings};
    use crate::telemetry::traces::Tracing;

    const CONTEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0b1902b7-0";
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn head(fields: &[(&'static str, &str)]) -> RequestHeader {
        let mut head = RequestHeader::build("GET", b"/", None).unwrap();
        for (name, value) in fields {
            head.append_header(*name, *value).unwrap();
        }
        head
    }

    fn tracer(sample_ppm: u32, posts: bool) -> Tracer {
        let otlp = posts.then(|| Otlp {
            url: "http://127.0.0.1:9/".into(),
            headers: Vec::new(),
            ca: None,
            timeout: std::time::Duration::from_secs(1),
        });
        let settings = TraceSettings { sample_ppm, service_name: "it".into(), otlp };
        Tracer::new(&Tracing::start(&settings).unwrap().0, 7)
    }

    /// What a server gets of these fields, with whether it is recorded.
    fn passed(
        fields: &[(&'static str, &str)],
        is_trusted: bool,
        tracer: Option<&Tracer>,
    ) -> (Option<String>, Option<String>, bool) {
        let mut head = head(fields);
        let mut traced = Traced::begin(&head.headers, || is_trusted, tracer);
        traced.attempt_began(0, ChosenBy::OnlyOneLeft, tracer);
        traced.towards_server(&mut head);
        let got = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        (got("traceparent"), got("tracestate"), traced.is_recorded())
    }

    #[test]
    fn without_tracing_what_can_be_read_is_passed_on_untouched_and_nothing_is_made() {
        let good = format!("{CONTEXT}1");
        for is_trusted in [false, true] {
            let (parent, state, is_recorded) =
                passed(&[("traceparent", &good), ("tracestate", "a=1")], is_trusted, None);
            assert_eq!((parent.as_deref(), state.as_deref(), is_recorded), (Some(&*good), Some("a=1"), false));
        }
        let bad = good.to_uppercase();
        assert_eq!(passed(&[("traceparent", &bad), ("tracestate", "a=1")], true, None), (None, None, false));
        let twice = [("traceparent", &*good), ("traceparent", &*good), ("tracestate", "a=1")];
        assert_eq!(passed(&twice, true, None), (None, None, false), "several are none");
        assert_eq!(passed(&[], true, None), (None, None, false));
    }

    #[test]
    fn context_is_made_where_there_is_none_and_state_without_one_dropped() {
        for (ppm, flags) in [(0, "00"), (MILLION, "01")] {
            let tracer = tracer(ppm, false);
            for fields in [&[("tracestate", "a=1")][..], &[("traceparent", "x"), ("tracestate", "a=1")]] {
                let (parent, state, is_recorded) = passed(fields, true, Some(&tracer));
                let parent = TraceContext::parse(parent.unwrap().as_bytes()).unwrap();
                assert_eq!((format!("{:02x}", parent.flags), state, is_recorded), (flags.to_owned(), None, false));
            }
        }
    }

    #[test]
    fn trusted_client_says_whether_its_trace_is_recorded_and_a_stranger_does_not() {
        for (flag, is_trusted, ppm, want) in
            [("1", true, 0, true), ("0", true, MILLION, false), ("1", false, 0, false), ("0", false, MILLION, true)]
        {
            let (tracer, given) = (tracer(ppm, true), format!("{CONTEXT}{flag}"));
            let fields = [("traceparent", &*given), ("tracestate", "a=1")];
            let (parent, state, is_recorded) = passed(&fields, is_trusted, Some(&tracer));
            let parent = parent.unwrap();
            assert_eq!((is_recorded, state.as_deref()), (want, Some("a=1")), "{flag} {is_trusted}");
            let context = TraceContext::parse(parent.as_bytes()).unwrap();
            assert_eq!((context.trace_id().to_string().as_str(), context.is_sampled()), (TRACE, want));
            // What is said of it changes with who says it.
            assert_eq!(parent == given, flag == "0" && !want, "{flag} {is_trusted}");
        }
    }

    #[test]
    fn every_attempt_has_a_span_that_its_server_knows_as_the_parent() {
        let tracer = tracer(MILLION, true);
        let mut traced = Traced::begin(&head(&[]).headers, || true, Some(&tracer));
        let mut parents = Vec::new();
        for outcome in [AttemptOutcome::NotConnected, AttemptOutcome::Answered] {
            traced.attempt_began(0, ChosenBy::OnlyOneLeft, Some(&tracer));
            let mut head = head(&[]);
            traced.towards_server(&mut head);
            let context = TraceContext::parse(head.headers["traceparent"].as_bytes()).unwrap();
            assert_eq!(Some(context.trace_id()), traced.id);
            parents.push(context.parent);
            traced.attempt_ended(outcome);
        }
        let recorded = traced.recorded.unwrap();
        assert_eq!(recorded.attempts.iter().map(|attempt| attempt.span).collect::<Vec<_>>(), parents);
        assert!(parents[0] != parents[1] && !parents.contains(&recorded.span));
        assert!(recorded.attempts.iter().all(|attempt| attempt.ended.is_some()));
        let mut traced = Traced::begin(&head(&[]).headers, || true, Some(&tracer));
        for _ in 0..2 * ATTEMPTS_MAX {
            traced.attempt_began(0, ChosenBy::OnlyOneLeft, Some(&tracer));
        }
        assert_eq!(traced.recorded.unwrap().attempts.len(), ATTEMPTS_MAX);
    }
}
