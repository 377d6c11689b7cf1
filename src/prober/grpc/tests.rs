//! The health protocol against a server that answers what a test says, and its bytes.

use std::time::Duration;

use http::Response;
use proptest::prelude::*;

use super::super::check;
use super::super::origins::certified::{Authority, serve};
use super::super::origins::{self, Script, start};
use super::super::tls::{ALPN_H2, Trust};
use super::*;
use crate::model::{Aim, CheckRecord, Host, Probe, ProbeKind};
use CheckStatus::{L7Ok, L7Rsp, L7Sts, L7Tout};

const TIMEOUT: Duration = Duration::from_millis(500);

/// An answer: HTTP status, content type, message, and the call's status and words in the trailers or the head.
#[derive(Clone, Copy, Debug)]
struct Says {
    http: u16,
    content_type: &'static str,
    message: Option<&'static [u8]>,
    call: Option<(&'static str, &'static str)>,
}

const SERVING_MESSAGE: &[u8] = &[0, 0, 0, 0, 2, 0x08, 1];

fn serving() -> Says {
    Says { http: 200, content_type: "application/grpc+proto", message: Some(SERVING_MESSAGE), call: Some(("0", "")) }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    says: Says,
    told: tokio::sync::mpsc::UnboundedSender<(http::request::Parts, Vec<u8>)>,
) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, mut answer))) = connection.accept().await {
        let told = told.clone();
        tokio::spawn(async move {
            let (head, mut body) = request.into_parts();
            let mut asked = Vec::new();
            while let Some(Ok(piece)) = body.data().await {
                asked.extend_from_slice(&piece);
            }
            told.send((head, asked)).ok();
            let fields = |call: (&str, &str)| {
                let fields = [("grpc-status", call.0), ("grpc-message", call.1)];
                let given = fields.into_iter().filter(|(_, value)| !value.is_empty());
                given.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect::<HeaderMap>()
            };
            let head = Response::builder().status(says.http).header("content-type", says.content_type);
            let mut head = head.body(()).unwrap();
            let Some(message) = says.message else {
                head.headers_mut().extend(says.call.map(fields).unwrap_or_default());
                answer.send_response(head, true).unwrap();
                return;
            };
            let mut sending = answer.send_response(head, false).unwrap();
            sending.send_data(message.into(), says.call.is_none()).unwrap();
            if let Some(call) = says.call {
                sending.send_trailers(fields(call)).unwrap();
            }
        });
    }
}

async fn check_at(addr: std::net::SocketAddr, service: &str, encryption: Encryption, aim: Aim) -> CheckRecord {
    let kind = ProbeKind::Grpc { service: service.into(), encryption };
    let probe = Probe { interval: TIMEOUT, timeout: TIMEOUT, aim, ..Probe::new(kind) };
    check::run(&Trust::default(), addr, &Host::Name("origin.test".into()), &probe).await
}

async fn check(says: Says, status: CheckStatus, code: Option<u16>, content: &str) {
    let (told, _asked) = tokio::sync::mpsc::unbounded_channel();
    let addr = origins::serve(move |stream| answer(stream, says, told.clone())).await;
    let record = check_at(addr, "", Encryption::None, Aim::default()).await;
    let found = (record.status, record.code, record.content.as_str());
    assert_eq!(found, (status, code, content), "{says:?} {record:?}");
}

#[tokio::test]
async fn serving_passes_and_every_other_status_is_named() {
    let with = |message: &'static [u8]| Says { message: Some(message), ..serving() };
    check(serving(), L7Ok, Some(0), "SERVING").await;
    check(with(&[0, 0, 0, 0, 2, 0x08, 2]), L7Sts, Some(0), "NOT_SERVING").await;
    check(with(&[0, 0, 0, 0, 2, 0x08, 3]), L7Sts, Some(0), "SERVICE_UNKNOWN").await;
    check(with(&[0, 0, 0, 0, 0]), L7Sts, Some(0), "UNKNOWN").await;
    check(with(&[0, 0, 0, 0, 2, 0x08, 9]), L7Sts, Some(0), "unknown serving status 9").await;
}

#[tokio::test]
async fn status_of_the_call_is_found_in_trailers_and_in_the_head() {
    let missing = Some(("5", "no such%20service"));
    let words = "grpc-status 5 NOT_FOUND: no such service";
    check(Says { message: None, call: missing, ..serving() }, L7Sts, Some(5), words).await;
    check(Says { call: missing, ..serving() }, L7Sts, Some(5), words).await;
    check(Says { call: Some(("12", "")), message: None, ..serving() }, L7Sts, Some(12), "grpc-status 12 UNIMPLEMENTED")
        .await;
    check(Says { call: Some(("99", "")), ..serving() }, L7Sts, Some(99), "grpc-status 99 unknown").await;
    check(Says { call: Some(("high", "")), ..serving() }, L7Sts, Some(2), "grpc-status 2 UNKNOWN").await;
}

#[tokio::test]
async fn reply_that_is_no_health_reply_says_why() {
    let with = |message: &'static [u8]| Says { message: Some(message), ..serving() };
    check(
        Says { http: 503, content_type: "text/plain", ..serving() },
        L7Sts,
        Some(503),
        "HTTP 503 Service Unavailable and no gRPC",
    )
    .await;
    check(Says { content_type: "text/html", ..serving() }, L7Rsp, None, "not a gRPC reply: its type is \"text/html\"")
        .await;
    check(Says { call: None, ..serving() }, L7Rsp, None, "reply ended without a grpc-status").await;
    check(Says { message: None, ..serving() }, L7Rsp, Some(0), "reply has no message").await;
    check(with(&[1, 0, 0, 0, 2, 8, 1]), L7Rsp, Some(0), "reply message is compressed, which was not asked for").await;
    check(with(&[0, 0, 0, 0, 9, 8, 1]), L7Rsp, Some(0), "reply message is cut off").await;
    check(with(&[0, 0, 0, 0, 2, 8, 0x80]), L7Rsp, Some(0), "reply message is not protobuf").await;
    static LONG: [u8; BODY_BYTES_LOOKED_AT] = [0; BODY_BYTES_LOOKED_AT];
    check(with(&LONG), L7Rsp, None, "reply is longer than 16384 bytes").await;
    let silent = check_at(start(Script::Silent).await, "", Encryption::None, Aim::default()).await;
    assert_eq!((silent.status, silent.content.as_str()), (L7Tout, "no whole reply within 500ms, nothing received"));
}

#[tokio::test]
async fn request_is_a_grpc_call_in_the_clear_and_inside_tls() {
    let authority = Authority::new();
    let (told, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let in_clear = told.clone();
    let clear = origins::serve(move |stream| answer(stream, serving(), in_clear.clone())).await;
    let secure = serve(&authority.good(&[ALPN_H2]).config, move |stream| answer(stream, serving(), told.clone())).await;
    for (addr, encryption, scheme) in [(clear, Encryption::None, "http"), (secure, Encryption::Tls, "https")] {
        let record = check_at(addr, "shop.Cart", encryption, authority.aim()).await;
        assert_eq!((record.status, record.content.as_str()), (L7Ok, "SERVING"), "{record:?}");
        let (head, body) = asked.recv().await.unwrap();
        assert_eq!((head.method.as_str(), head.uri.path(), head.uri.scheme_str()), ("POST", PATH, Some(scheme)));
        assert_eq!(
            (&head.headers["content-type"], &head.headers["te"]),
            (&"application/grpc".parse().unwrap(), &"trailers".parse().unwrap())
        );
        assert_eq!(body, b"\0\0\0\0\x0b\x0a\x09shop.Cart");
        let received = record.evidence.unwrap().received.clone();
        assert!(String::from_utf8_lossy(&received).contains("grpc-status: 0"));
    }
    assert_eq!(message(""), [0; 5]);
}

#[test]
fn percent_escapes_are_undone_and_nothing_else() {
    for (text, want) in [("a%20b", "a b"), ("100%", "100%"), ("%zz%4", "%zz%4"), ("%C3%A9", "é"), ("%ff", "\u{fffd}")]
    {
        assert_eq!(percent_decoded(text.as_bytes()), want);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..40), framed in any::<bool>()) {
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        let body = if framed { [&[0][..], &length, &bytes].concat() } else { bytes };
        serving_status(&body).ok();
        percent_decoded(&body);
    }

    #[test]
    fn fields_that_are_not_asked_for_are_skipped(status in 0..1000u64, number in 2..1000u64, text in "[a-z]{0,9}") {
        let mut body = Vec::new();
        push_varint(&mut body, number << 3);
        push_varint(&mut body, 77);
        push_varint(&mut body, number << 3 | 2);
        push_varint(&mut body, text.len() as u64);
        body.extend_from_slice(text.as_bytes());
        push_varint(&mut body, number << 3 | 5);
        body.extend_from_slice(&[1; 4]);
        push_varint(&mut body, FIELD << 3);
        push_varint(&mut body, status);
        push_varint(&mut body, number << 3 | 1);
        body.extend_from_slice(&[2; 8]);
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        prop_assert_eq!(serving_status(&[&[0][..], &length, &body].concat()), Ok(status));
    }
}
