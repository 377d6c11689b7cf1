//! HTTP/2 from clients: what a request must be, what its server sees of it, and what of it ends when.

use std::time::Duration;

use farmgate::metrics::Refusal;
use farmgate::model::{AdminStatus, Balance, Farm, Frontend, Protocol};

use crate::harness::h2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, field, frame, head,
    send_piece,
};
use crate::harness::{Behaviour, Client, Frames, H2, InProcess, Origin, until};

mod abuse;

fn plane(origins: &[&Origin], adjust: impl FnOnce(&mut Farm, &mut Frontend)) -> InProcess {
    let servers: Vec<_> = origins.iter().map(|origin| (origin.name(), origin.addr())).collect();
    InProcess::start_with(Protocol::Http, &servers, |farm, frontend| {
        frontend.h2c = true;
        farm.balance = Balance::First;
        adjust(farm, frontend);
    })
}

fn one(behaviour: Behaviour) -> (Origin, InProcess) {
    let origin = Origin::doing("a", behaviour);
    let plane = plane(&[&origin], |_, _| {});
    (origin, plane)
}

#[test]
fn h2c_is_spoken_beside_http_1() {
    let (origin, plane) = one(Behaviour::Ok);
    let client = H2::connect(plane.front());
    let answer = client.get("/over-2?x=y");
    assert_eq!((answer.status, answer.text().as_str()), (200, "a"));
    assert_eq!(plane.client().get("/over-1").origin(), "a");
    let mut short = plane.client();
    short.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(short.response().status, 200);
    let seen = origin.requests();
    assert_eq!(seen[0].target, "/over-2?x=y");
    assert_eq!(seen[0].header("host"), Some("test.example"));
    assert_eq!(seen[0].header("x-forwarded-host"), Some("test.example"));
    assert!(seen[0].header("via").unwrap().ends_with("farmgate"), "{:?}", seen[0].headers);
    let lines = plane.access(3);
    assert_eq!(lines[0]["host"], "test.example");
}

#[test]
fn frontend_without_h2c_takes_the_preface_for_a_bad_request() {
    let origin = Origin::start("a");
    let plane = InProcess::start(Protocol::Http, &[("a", origin.addr())], |_| {});
    let mut client = Client::connect(plane.front());
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(client.response().status, 400);
}

#[test]
fn hundred_requests_go_at_once_over_one_connection() {
    let (_origin, plane) = one(Behaviour::Slow(Duration::from_millis(200)));
    let client = H2::connect(plane.front());
    for answer in client.get_many("/", 100) {
        assert_eq!(answer.unwrap().status, 200);
    }
    assert_eq!(plane.access(100).len(), 100);
}

#[test]
fn body_of_many_pieces_arrives_whole_both_ways() {
    let (origin, plane) = one(Behaviour::EchoBody);
    let client = H2::connect(plane.front());
    let body: Vec<u8> = (0..3_000_000u32).map(|n| n.to_le_bytes()[1]).collect();
    let answer = client.request(H2::head("POST", "/"), &[&body[..1_000_000], &body[1_000_000..]]).unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.body == body);
    assert!(origin.requests()[0].body == body);
}

/// cloudflare/pingora#935: a body that ends in a piece of no bytes must end once.
#[test]
fn empty_last_piece_ends_a_chunked_body_once() {
    let (origin, plane) = one(Behaviour::EchoBody);
    let client = H2::connect(plane.front());
    for n in 0..3 {
        let body = format!("hello {n}");
        let answer = client.request(H2::head("POST", "/"), &[body.as_bytes(), b""]).unwrap();
        assert_eq!((answer.status, answer.text()), (200, body));
    }
    assert_eq!(origin.traffic_connections(), 1, "the server's connection stays in step");
    let raw = String::from_utf8(origin.raw().concat()).unwrap();
    assert_eq!(raw.matches("\r\n0\r\n\r\n").count(), 3, "{raw}");
    assert_eq!(raw.matches("0\r\n\r\n0\r\n\r\n").count(), 0, "{raw}");
}

#[test]
fn cookie_crumbs_are_one_cookie_to_a_server_of_http_1() {
    let (origin, plane) = one(Behaviour::Ok);
    let client = H2::connect(plane.front());
    let mut request = H2::head("GET", "/");
    for crumb in ["a=1", "b=2", "c=3"] {
        request.headers_mut().append("cookie", crumb.parse().unwrap());
    }
    client.request(request, &[]).unwrap();
    assert_eq!(origin.requests()[0].header("cookie"), Some("a=1; b=2; c=3"));
}

/// What becomes of a request of these frames: the status of its answer, or the code of its reset.
fn outcome(plane: &InProcess, payload: &[u8], body: Option<&[u8]>) -> String {
    let mut client = Frames::connect(plane.front());
    let end = if body.is_none() { END_STREAM } else { 0 };
    client.send(HEADERS, END_HEADERS | end, 1, payload).unwrap();
    if let Some(body) = body {
        client.send(DATA, END_STREAM, 1, body).unwrap();
    }
    loop {
        let Some(frame) = client.next() else { return "closed".to_owned() };
        match frame.kind {
            RST_STREAM => return format!("reset {}", frame.code()),
            GOAWAY => return format!("goaway {}", frame.code()),
            // Statuses of the static table (RFC 7541 appendix A), or as text.
            HEADERS => {
                return match frame.payload[0] {
                    0x88 => "200".to_owned(),
                    0x8c => "400".to_owned(),
                    0x8d => "404".to_owned(),
                    0x8e => "500".to_owned(),
                    _ => status_text(&frame.payload),
                };
            }
            _ => {}
        }
    }
}

/// The status of a head that begins with it as a literal (Huffman codes of digits have five or six bits).
fn status_text(payload: &[u8]) -> String {
    assert_eq!(payload[0], 0x48, "{payload:x?}");
    let length = usize::from(payload[1] & 0x7f);
    let mut bits = payload[2..2 + length].iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let mut text = String::new();
    while text.len() < 3 {
        let five = (0..5).fold(0, |code, _| code << 1 | bits.next().unwrap());
        let digit = match five {
            0..=2 => char::from(b'0' + five),
            _ => char::from(b'3' + ((five << 1 | bits.next().unwrap()) - 0x19)),
        };
        text.push(digit);
    }
    text
}

#[test]
fn request_that_is_wrong_is_refused_and_its_server_sees_nothing() {
    let (origin, plane) = one(Behaviour::Ok);
    let wrong = |name: &str, value: &[u8]| head("GET", &[(name, value)]);
    let of = |fields: &[(&str, &[u8])]| fields.iter().flat_map(|(name, value)| field(name, value)).collect::<Vec<_>>();
    let get: (&str, &[u8]) = (":method", b"GET");
    let scheme: (&str, &[u8]) = (":scheme", b"http");
    let path: (&str, &[u8]) = (":path", b"/");
    let authority: (&str, &[u8]) = (":authority", b"t.example");
    let protocol = "reset 1";
    for (name, payload, body, want) in [
        ("connection", wrong("connection", b"close"), None, protocol),
        ("transfer-encoding", wrong("transfer-encoding", b"chunked"), None, protocol),
        ("keep-alive", wrong("keep-alive", b"1"), None, protocol),
        ("proxy-connection", wrong("proxy-connection", b"close"), None, protocol),
        ("upgrade", wrong("upgrade", b"websocket"), None, protocol),
        ("te", wrong("te", b"gzip"), None, protocol),
        ("upper case", wrong("X-Upper", b"1"), None, protocol),
        ("cr lf in a value", wrong("x", b"1\r\ny: 2"), None, protocol),
        ("nul in a value", wrong("x", b"1\0"), None, protocol),
        ("colon in a name", wrong("x:y", b"1"), None, protocol),
        ("space in a name", wrong("x y", b"1"), None, protocol),
        ("another host", wrong("host", b"evil.example"), None, "400"),
        ("two hosts", head("GET", &[("host", b"t.example"), ("host", b"t.example")]), None, "400"),
        ("no authority", of(&[get, scheme, path]), None, "400"),
        ("userinfo", of(&[get, scheme, path, (":authority", b"a@t.example")]), None, "400"),
        ("two paths", of(&[get, scheme, path, path, authority]), None, protocol),
        ("no path", of(&[get, scheme, authority]), None, protocol),
        ("empty path", of(&[get, scheme, authority, (":path", b"")]), None, protocol),
        ("no method", of(&[scheme, path, authority]), None, protocol),
        ("no scheme", of(&[get, path, authority]), None, protocol),
        ("strange scheme", of(&[get, (":scheme", b"ftp"), path, authority]), None, "400"),
        ("absolute path", of(&[get, scheme, authority, (":path", b"http://evil.example/")]), None, protocol),
        ("space in the path", of(&[get, scheme, authority, (":path", b"/x HTTP/1.1")]), None, protocol),
        ("cr lf in the path", of(&[get, scheme, authority, (":path", b"/\r\nx: y")]), None, protocol),
        ("unknown pseudo-field", of(&[get, scheme, path, authority, (":x", b"1")]), None, protocol),
        ("pseudo-field behind a field", of(&[get, scheme, path, ("x", b"1"), authority]), None, protocol),
        ("connect", of(&[(":method", b"CONNECT"), authority]), None, "405"),
        (
            "extended connect",
            of(&[(":method", b"CONNECT"), (":protocol", b"websocket"), scheme, path, authority]),
            None,
            protocol,
        ),
        ("length that is no number", wrong("content-length", b"1x"), None, protocol),
        ("two lengths", head("POST", &[("content-length", b"1"), ("content-length", b"2")]), Some(b"1"), protocol),
        ("length too long", head("POST", &[("content-length", b"5")]), Some(b"123"), protocol),
        ("length too short", head("POST", &[("content-length", b"2")]), Some(b"123"), protocol),
        ("length without body", wrong("content-length", b"3"), None, protocol),
    ] as [(&str, Vec<u8>, Option<&[u8]>, &str); 33]
    {
        let got = outcome(&plane, &payload, body);
        // What cannot be read at all is an error of the connection.
        let got = if got == "goaway 1" { protocol } else { &got };
        assert_eq!(got, want, "{name}");
    }
    assert_eq!(outcome(&plane, &head("GET", &[("te", b"trailers")]), None), "200");
    let whole: Vec<_> = origin.requests().into_iter().map(|seen| seen.method).collect();
    assert_eq!(whole, ["GET"], "only the last one was whole");
    for raw in origin.raw() {
        let text = String::from_utf8(raw).unwrap();
        assert!(!text.contains("evil") && !text.contains("\r\ny: 2"), "{text}");
    }
}

#[test]
fn head_beyond_the_limits_is_refused_with_its_status() {
    let origin = Origin::start("a");
    let plane = plane(&[&origin], |_, frontend| {
        frontend.limits.uri_bytes = 100;
        frontend.limits.header_bytes = 1000;
        frontend.limits.header_fields = 20;
        frontend.limits.body_bytes = 10;
    });
    let client = H2::connect(plane.front());
    assert_eq!(client.get(&format!("/{}", "x".repeat(100))).status, 414);
    let with = |fields: Vec<(String, String)>| {
        let mut head = H2::head("GET", "/");
        for (name, value) in fields {
            head.headers_mut().append(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        }
        client.request(head, &[]).unwrap().status
    };
    assert_eq!(with((0..21).map(|n| (format!("x-{n}"), String::new())).collect()), 431);
    assert_eq!(with(vec![("x".to_owned(), "y".repeat(1100))]), 431);
    assert_eq!(with(vec![("x".to_owned(), "y".repeat(5000))]), 431);
    assert_eq!(with(vec![("x".to_owned(), "y".repeat(500))]), 200);
    assert_eq!(client.request(H2::head("POST", "/"), &[b"0123456789"]).unwrap().status, 200);
    assert_eq!(client.request(H2::head("POST", "/"), &[b"01234", b"56789", b"x"]).unwrap().status, 413);
    let mut declared = H2::head("POST", "/");
    declared.headers_mut().insert("content-length", "11".parse().unwrap());
    assert_eq!(client.request(declared, &[b"01234567890"]).unwrap().status, 413);
    assert_eq!(client.get("/").status, 200, "the connection goes on");
    for why in [Refusal::UriTooLong, Refusal::HeaderTooLarge, Refusal::BodyTooLarge] {
        plane.wait_refused(why);
    }
}

#[test]
fn request_on_a_stream_that_is_reset_ends_and_no_other() {
    let (origin, plane) = one(Behaviour::Slow(Duration::from_secs(1)));
    let client = H2::connect(plane.front());
    client.run(|send| async move {
        let mut send = send.ready().await.unwrap();
        let (kept, _) = send.send_request(H2::head("GET", "/kept"), true).unwrap();
        let (left, mut body) = send.send_request(H2::head("POST", "/left"), false).unwrap();
        until("both at the server", || (origin.raw().len() == 2).then_some(()));
        body.send_reset(h2::Reason::CANCEL);
        drop(left);
        assert_eq!(kept.await.unwrap().status(), 200);
    });
    plane.wait_open("a", [0, 0, 0]);
}

#[test]
fn server_taken_out_costs_its_requests_and_not_the_connection() {
    let (a, b) = (Origin::doing("a", Behaviour::DripBody(Duration::from_millis(50))), Origin::start("b"));
    let mut plane = plane(&[&a, &b], |_, _| {});
    let client = H2::connect(plane.front());
    client.run(|send| async {
        let mut send = send.ready().await.unwrap();
        let (answer, _) = send.send_request(H2::head("GET", "/"), true).unwrap();
        let mut body = answer.await.unwrap().into_body();
        body.data().await.unwrap().unwrap();
        plane.set("a", AdminStatus::Drain);
        assert_eq!(plane.close("a"), 1);
        let error = loop {
            match body.data().await.expect("a reset") {
                Ok(piece) => body.flow_control().release_capacity(piece.len()).unwrap(),
                Err(error) => break error,
            }
        };
        assert!(error.is_reset(), "{error}");
    });
    assert_eq!(client.get("/").text(), "b");
    plane.wait_open("a", [0, 0, 0]);
    assert_eq!(plane.access(2)[0]["reason"], "the server was taken out of service");
}

#[test]
fn server_taken_out_before_its_answer_is_replaced() {
    let (a, b) = (Origin::doing("a", Behaviour::Silent), Origin::start("b"));
    let mut plane = plane(&[&a, &b], |_, _| {});
    let client = H2::connect(plane.front());
    let answer = client.run(|send| async {
        let mut send = send.ready().await.unwrap();
        let (answer, _) = send.send_request(H2::head("GET", "/"), true).unwrap();
        until("the request at the server", || (!a.raw().is_empty()).then_some(()));
        plane.set("a", AdminStatus::Drain);
        assert_eq!(plane.close("a"), 1);
        answer.await.unwrap()
    });
    assert_eq!(answer.headers()["x-origin"], "b");
}

#[test]
fn server_that_is_late_is_504_and_the_connection_goes_on() {
    for behaviour in [Behaviour::Silent, Behaviour::DripHead(Duration::from_millis(20))] {
        let origin = Origin::doing("a", behaviour);
        let plane = plane(&[&origin], |farm, _| {
            farm.timeouts.connect = Duration::from_millis(100);
            farm.timeouts.response = Duration::from_millis(400);
        });
        let client = H2::connect(plane.front());
        assert_eq!(client.get("/").status, 504);
        origin.traffic(Behaviour::Ok);
        assert_eq!(client.get("/").status, 200);
    }
}

#[test]
fn body_that_stalls_is_408_and_the_server_is_not_to_blame() {
    let origin = Origin::start("a");
    let plane = plane(&[&origin], |_, frontend| frontend.timeouts.body = Duration::from_millis(300));
    let client = H2::connect(plane.front());
    let status = client.run(|send| async {
        let mut send = send.ready().await.unwrap();
        let (answer, mut body) = send.send_request(H2::head("POST", "/"), false).unwrap();
        send_piece(&mut body, "some".into(), false).await.unwrap();
        answer.await.unwrap().status()
    });
    assert_eq!(status, 408);
    assert_eq!(client.get("/").status, 200);
    plane.wait_refused(Refusal::BodyTimeout);
    assert_eq!(plane.traffic("a").1, 0, "nothing failed at the server");
}

#[test]
fn idle_connection_is_told_to_go_and_closed() {
    let origin = Origin::start("a");
    let plane = plane(&[&origin], |_, frontend| frontend.timeouts.idle = Duration::from_millis(300));
    let mut client = Frames::connect(plane.front());
    client.get(1).unwrap();
    let last = client.rest().into_iter().rfind(|frame| frame.kind == GOAWAY).expect("a farewell");
    assert_eq!(last.code(), 0);
}

#[test]
fn stopping_finishes_what_is_under_way_and_takes_nothing_more() {
    let (origin, plane) = one(Behaviour::Slow(Duration::from_secs(1)));
    let client = H2::connect(plane.front());
    client.run(|send| async {
        let mut send = send.ready().await.unwrap();
        let (answer, _) = send.send_request(H2::head("GET", "/"), true).unwrap();
        until("the request at the server", || (!origin.raw().is_empty()).then_some(()));
        plane.stop();
        assert_eq!(answer.await.unwrap().status(), 200);
    });
    if let Err(error) = client.ended() {
        assert!(error.is_io(), "ours may be gone before the client's farewell: {error}");
    }
}
