//! Spans as OTLP has them: one request of protobuf for each batch, and what its answer says. Pure.

use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as SpanWire, Status, span, status};
use prost::Message as _;

use super::span::{Role, Span, Value};

/// What spans are said to be made by.
const SCOPE: &str = "farmgate";
/// The lower eight bits of a span's flags are those of its trace context: it is recorded.
const SAMPLED: u32 = 0x01;
/// It is said whether the parent is another process's; it is.
const KNOWS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// Returns whose spans they are.
pub(super) fn resource(service_name: &str) -> Resource {
    let attributes = vec![
        attribute("service.name", &service_name.into()),
        attribute("service.version", &env!("CARGO_PKG_VERSION").into()),
    ];
    Resource { attributes, ..Resource::default() }
}

/// Returns the request that tells of these spans.
pub(super) fn request(resource: &Resource, spans: &[Span]) -> Vec<u8> {
    let scope = InstrumentationScope {
        name: SCOPE.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let spans = ScopeSpans { scope: Some(scope), spans: spans.iter().map(wire).collect(), ..ScopeSpans::default() };
    let all = ResourceSpans { resource: Some(resource.clone()), scope_spans: vec![spans], ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![all] }.encode_to_vec()
}

/// Returns how many spans an answer says were not taken, and why; none, where it says nothing that is understood.
pub(super) fn rejected(answer: &[u8]) -> (u64, String) {
    let partial = ExportTraceServiceResponse::decode(answer).ok().and_then(|answer| answer.partial_success);
    partial.map_or((0, String::new()), |partial| {
        (u64::try_from(partial.rejected_spans).unwrap_or(0), partial.error_message)
    })
}

fn wire(span: &Span) -> SpanWire {
    let is_remote = span.parent.is_some_and(|parent| parent.is_remote);
    let code = if span.is_failed { status::StatusCode::Error } else { status::StatusCode::Unset };
    let kind = match span.role {
        Role::Client => span::SpanKind::Client,
        Role::Server => span::SpanKind::Server,
    };
    SpanWire {
        trace_id: span.trace.to_be_bytes().to_vec(),
        span_id: span.id.to_be_bytes().to_vec(),
        trace_state: span.state.to_string(),
        parent_span_id: span.parent.map_or_else(Vec::new, |parent| parent.id.to_be_bytes().to_vec()),
        flags: SAMPLED | KNOWS_REMOTE | if is_remote { IS_REMOTE } else { 0 },
        name: span.name.to_string(),
        kind: kind.into(),
        start_time_unix_nano: span.began_ns,
        end_time_unix_nano: span.ended_ns,
        attributes: span.attributes.iter().map(|(key, value)| attribute(key, value)).collect(),
        status: Some(Status { code: code.into(), ..Status::default() }),
        ..SpanWire::default()
    }
}

fn attribute(key: &str, value: &Value) -> KeyValue {
    let value = match value {
        Value::Number(number) => any_value::Value::IntValue(*number),
        Value::Text(text) => any_value::Value::StringValue(text.to_string()),
    };
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    use super::*;

    #[test]
    fn span_is_written_as_the_protocol_has_it() {
        let root = Span { parent: None, role: Role::Client, is_failed: false, ..Span::sample() };
        let bytes = request(&resource("edge"), &[Span::sample(), root]);
        let mut read = ExportTraceServiceRequest::decode(&*bytes).unwrap().resource_spans;
        assert_eq!(read.len(), 1);
        let all = read.remove(0);
        assert_eq!(all.resource.unwrap().attributes[0], attribute("service.name", &"edge".into()));
        let [span, root] = &all.scope_spans[0].spans[..] else { panic!("two spans") };
        assert_eq!(span.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes());
        assert_eq!((span.parent_span_id.len(), span.flags), (8, 0x301));
        assert_eq!((root.parent_span_id.len(), root.flags), (0, 0x101));
        assert_eq!((span.kind(), root.kind()), (span::SpanKind::Server, span::SpanKind::Client));
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (1_000, 3_000));
        assert_eq!(span.status.as_ref().unwrap().code(), status::StatusCode::Error);
        assert_eq!(root.status.as_ref().unwrap().code(), status::StatusCode::Unset);
        assert_eq!(span.attributes[1], attribute("http.response.status_code", &503_u16.into()));
    }

    #[test]
    fn answer_says_how_many_spans_were_not_taken() {
        let partial = ExportTracePartialSuccess { rejected_spans: 3, error_message: "too old".to_owned() };
        let answer = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        assert_eq!(rejected(&answer), (3, "too old".to_owned()));
        assert_eq!(rejected(b""), (0, String::new()));
        assert_eq!(rejected(b"{}\xff"), (0, String::new()), "what is no answer says nothing");
    }
}
