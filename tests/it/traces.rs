//! Traces of requests, as a receiver of OTLP sees them: whose spans there are, what they are parts of, what they tell.

use farmgate::telemetry::context::TraceContext;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use prost::Message as _;
use serde_json::{Value, json};

use crate::harness::{Behaviour, Does, Farmgate, Origin, Receiver, Server, Setup, refused_port, until};

const CONTEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0b1902b7-0";

/// Sends everything sampled at this share to the receiver.
fn tracing(receiver: &Receiver, sample: &str) -> String {
    format!(
        "tracing: {{sample: {sample}, service_name: edge, otlp: {{url: \"{}\", headers: {{X-Key: \"a b\"}}}}}}",
        receiver.url()
    )
}

fn one(origin: &Origin) -> Setup {
    Setup::http(&[Server::new("a", origin.addr(), "probe: false")])
}

/// Every span that arrived, those of one request one after the other.
fn spans(receiver: &Receiver) -> Vec<Span> {
    let requests = receiver.deliveries().into_iter().map(|delivery| {
        assert!(delivery.line.starts_with("POST /hook?to=it HTTP/1.1"), "{}", delivery.line);
        assert_eq!((delivery.field("content-type"), delivery.field("x-key")), ("application/x-protobuf", "a b"));
        ExportTraceServiceRequest::decode(&*delivery.body).unwrap()
    });
    let all = requests.flat_map(|request| request.resource_spans).flat_map(|resource| {
        let name = &resource.resource.as_ref().unwrap().attributes[0];
        assert_eq!((name.key.as_str(), text(name.value.as_ref())), ("service.name", json!("edge")));
        resource.scope_spans
    });
    all.flat_map(|scope| scope.spans).collect()
}

/// Waits until so many spans have arrived.
#[track_caller]
fn so_many(receiver: &Receiver, count: usize) -> Vec<Span> {
    until(&format!("{count} spans"), || Some(spans(receiver)).filter(|spans| spans.len() >= count))
}

fn text(value: Option<&opentelemetry_proto::tonic::common::v1::AnyValue>) -> Value {
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    match value.and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::IntValue(number)) => json!(number),
        _ => Value::Null,
    }
}

fn told(span: &Span, name: &str) -> Value {
    span.attributes.iter().find(|one| one.key == name).map_or(Value::Null, |one| text(one.value.as_ref()))
}

/// The context that a request arrived with at the server.
fn context(origin: &Origin, n: usize) -> TraceContext {
    TraceContext::parse(origin.requests()[n].header("traceparent").unwrap().as_bytes()).unwrap()
}

#[test]
fn request_is_a_span_and_its_attempt_another_that_the_server_is_told_of() {
    let (origin, receiver) = (Origin::start("a"), Receiver::start());
    let log = "{level: info, format: json, access: {path: access.log}}";
    let farmgate = Farmgate::start(&one(&origin).top(&tracing(&receiver, "100%")).log(log));
    let mut client = farmgate.client();
    let response = client.request("GET", "/x?token=secret", &[("User-Agent", "it/1")], b"");
    let spans = so_many(&receiver, 2);
    let [request, attempt] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((request.kind(), attempt.kind()), (SpanKind::Server, SpanKind::Client));
    assert_eq!((request.parent_span_id.len(), &attempt.parent_span_id), (0, &request.span_id));
    assert_eq!((&request.trace_id, request.trace_id.len()), (&attempt.trace_id, 16));
    let server = context(&origin, 0);
    assert_eq!(server.trace.to_be_bytes()[..], request.trace_id);
    assert_eq!(server.parent.to_be_bytes()[..], attempt.span_id, "what the server does is part of the attempt");
    assert!(server.is_sampled());
    for (name, want) in [
        ("http.request.method", json!("GET")),
        ("url.path", json!("/x")),
        ("url.scheme", json!("http")),
        ("http.response.status_code", json!(200)),
        ("server.address", json!("test.example")),
        ("client.address", json!("127.0.0.1")),
        ("client.port", json!(client.local_addr().port())),
        ("network.protocol.version", json!("1.1")),
        ("user_agent.original", json!("it/1")),
        ("farmgate.frontend", json!("web")),
        ("farmgate.farm", json!("web")),
        ("farmgate.server", json!("a")),
        ("farmgate.termination", json!("--")),
        ("farmgate.request_id", json!(response.header("x-request-id").unwrap())),
        ("error.type", Value::Null),
    ] {
        assert_eq!(told(request, name), want, "{name}");
    }
    for (name, want) in [
        ("server.address", json!("127.0.0.1")),
        ("server.port", json!(origin.addr().port())),
        ("url.full", json!(format!("http://{}/x", origin.addr()))),
        ("http.response.status_code", json!(200)),
        ("farmgate.server", json!("a")),
        ("farmgate.outcome", json!("answered")),
        ("http.request.resend_count", Value::Null),
    ] {
        assert_eq!(told(attempt, name), want, "{name}");
    }
    for span in &spans {
        assert_eq!((span.name.as_str(), span.status.as_ref().unwrap().code()), ("GET", StatusCode::Unset));
        assert!(span.end_time_unix_nano > span.start_time_unix_nano, "{span:?}");
    }
    assert!(request.start_time_unix_nano <= attempt.start_time_unix_nano);
    assert!(attempt.end_time_unix_nano <= request.end_time_unix_nano);
    let line = until("the line", || {
        let text = std::fs::read_to_string(farmgate.config_path().with_file_name("access.log")).ok()?;
        serde_json::from_str::<Value>(text.lines().next()?).ok()
    });
    assert_eq!(line["trace_id"], server.trace_id().to_string());
    until("the counts", || {
        (farmgate.metric("farmgate_trace_spans_total", &["outcome=\"taken\""]) == Some(2.0)).then_some(())
    });
}

#[test]
fn parent_that_is_trusted_decides_and_a_strangers_is_kept_but_does_not() {
    for (trust, sample, flag, want) in [
        ("[\"127.0.0.0/8\"]", "0%", "1", true),
        ("[\"127.0.0.0/8\"]", "100%", "0", false),
        ("[]", "0%", "1", false),
        ("[]", "100%", "0", true),
    ] {
        let (origin, receiver) = (Origin::start("a"), Receiver::start());
        let setup = one(&origin).top(&tracing(&receiver, sample)).frontend(&format!("trust: {trust}"));
        let mut farmgate = Farmgate::start(&setup);
        let given = format!("{CONTEXT}{flag}");
        farmgate.client().request("GET", "/x", &[("traceparent", &given), ("tracestate", "a=1,b=2")], b"");
        let (came, went) = (TraceContext::parse(given.as_bytes()).unwrap(), context(&origin, 0));
        assert_eq!((went.trace, went.is_sampled()), (came.trace, want), "{trust} {sample} {flag}");
        assert_eq!(origin.requests()[0].header("tracestate"), Some("a=1,b=2"));
        // All that is told is told by its end.
        farmgate.signal("TERM");
        assert!(farmgate.wait().success());
        let spans = spans(&receiver);
        assert_eq!(spans.len(), if want { 2 } else { 0 }, "{trust} {sample} {flag}");
        if let [request, attempt] = &spans[..] {
            assert_eq!(request.parent_span_id, came.parent.to_be_bytes());
            assert_eq!(went.parent.to_be_bytes()[..], attempt.span_id);
            assert_eq!((request.trace_state.as_str(), request.flags & 0x300), ("a=1,b=2", 0x300), "it is remote");
        }
    }
}

#[test]
fn every_attempt_of_a_retried_request_is_a_span_with_its_own_end() {
    let (_held, nowhere) = refused_port();
    let (origin, receiver) = (Origin::start("a"), Receiver::start());
    let servers = [Server::new("x", nowhere, "probe: false"), Server::new("a", origin.addr(), "probe: false")];
    let setup = Setup::http(&servers).farm("balance: first").top(&tracing(&receiver, "100%"));
    let farmgate = Farmgate::start(&setup);
    assert_eq!(farmgate.client().get("/x").status, 200);
    let spans = so_many(&receiver, 3);
    let [request, first, second] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((told(request, "farmgate.retries"), told(request, "farmgate.server")), (json!(1), json!("a")));
    for (attempt, server, outcome, resent, status) in [
        (first, "x", "not_connected", Value::Null, StatusCode::Error),
        (second, "a", "answered", json!(1), StatusCode::Unset),
    ] {
        assert_eq!((attempt.kind(), &attempt.parent_span_id), (SpanKind::Client, &request.span_id));
        assert_eq!(
            (told(attempt, "farmgate.server"), told(attempt, "farmgate.outcome")),
            (json!(server), json!(outcome))
        );
        assert_eq!(told(attempt, "http.request.resend_count"), resent);
        assert_eq!(attempt.status.as_ref().unwrap().code(), status);
    }
    assert_eq!(told(first, "error.type"), "not_connected");
    assert_eq!(context(&origin, 0).parent.to_be_bytes()[..], second.span_id);
    assert_ne!(first.span_id, second.span_id);
}

#[test]
fn failures_are_told_as_such_and_answers_of_the_balancer_have_no_attempt() {
    let (origin, receiver) = (Origin::doing("a", Behaviour::Reset), Receiver::start());
    let setup = one(&origin).farm("retries: {attempts: 0}").top(&tracing(&receiver, "100%"));
    let closed = "closed: {protocol: http, listen: [\"127.0.0.1:0\"], farm: web, maintenance: true}";
    let farmgate = Farmgate::start(&setup.another_frontend(closed));
    assert_eq!(farmgate.client().request("POST", "/x", &[], b"a").status, 502);
    let spans = so_many(&receiver, 2);
    let [request, attempt] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((told(request, "error.type"), told(request, "farmgate.termination")), (json!("502"), json!("SH")));
    assert_eq!(
        (told(attempt, "error.type"), told(attempt, "farmgate.outcome")),
        (json!("broken_off"), json!("broken_off"))
    );
    assert!(spans.iter().all(|span| span.status.as_ref().unwrap().code() == StatusCode::Error));
    let mut client = crate::harness::Client::connect(farmgate.front("closed"));
    assert_eq!(client.request("BREW", "/y", &[], b"").status, 503);
    let spans = so_many(&receiver, 3);
    let [.., alone] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((alone.kind(), alone.name.as_str()), (SpanKind::Server, "HTTP"));
    assert_eq!(told(alone, "http.request.method"), "_OTHER");
    assert_eq!((told(alone, "farmgate.termination"), told(alone, "farmgate.server")), (json!("LR"), Value::Null));
}

#[test]
fn receiver_that_is_gone_costs_spans_and_no_request_and_is_said_once() {
    let (origin, mut receiver) = (Origin::start("a"), Receiver::start());
    receiver.go_away();
    let mut farmgate = Farmgate::start(&one(&origin).top(&tracing(&receiver, "100%")));
    let count =
        |outcome: &str| farmgate.metric("farmgate_trace_spans_total", &[&format!("outcome=\"{outcome}\"")]).unwrap();
    let mut client = farmgate.client();
    for round in 1..=2 {
        assert_eq!(client.get("/gone").status, 200);
        until("the spans to be refused", || (count("refused") == 2.0 * f64::from(round)).then_some(()));
    }
    receiver.come_back();
    receiver.script([Does::Answer(503)]);
    assert_eq!(client.get("/busy").status, 200);
    until("the spans to be refused", || (count("refused") == 6.0).then_some(()));
    assert_eq!(client.get("/back").status, 200);
    until("the spans to be taken", || (count("taken") == 2.0).then_some(()));
    assert_eq!(count("dropped"), 0.0);
    farmgate.signal("TERM");
    assert!(farmgate.wait().success());
    assert_eq!(farmgate.log().matches("spans are not taken").count(), 1, "{}", farmgate.log());
}

#[test]
fn trace_without_a_receiver_is_begun_and_told_to_the_server_alone() {
    let origin = Origin::start("a");
    let farmgate = Farmgate::start(&one(&origin).top("tracing: {sample: 100%}"));
    let mut client = farmgate.client();
    client.request("GET", "/x", &[("tracestate", "a=1")], b"");
    let went = context(&origin, 0);
    assert!(went.is_sampled());
    assert_eq!(origin.requests()[0].header("tracestate"), None, "it belonged to no context");
    client.get("/y");
    assert_ne!(context(&origin, 1).trace, went.trace);
    assert_eq!(farmgate.metric("farmgate_trace_spans_total", &["outcome=\"taken\""]), None);
}
