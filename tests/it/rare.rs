//! HTTP/1.1 that is rare: legal and passed on as it should be, or dangerous and stopped.

use std::time::Duration;

use crate::harness::{Behaviour, Farmgate, Fault, Origin, Response, Server, Setup, until};

fn one(behaviour: Behaviour) -> (Origin, Farmgate) {
    one_with(behaviour, |setup| setup)
}

fn one_with(behaviour: Behaviour, more: impl FnOnce(Setup) -> Setup) -> (Origin, Farmgate) {
    let origin = Origin::doing("a", behaviour);
    let farmgate = Farmgate::start(&more(Setup::http(&[Server::new("a", origin.addr(), "")]).top("workers: 1")));
    (origin, farmgate)
}

/// An origin that answers every request with these bytes.
fn raw(bytes: &str) -> (Origin, Farmgate) {
    one(Behaviour::Raw(bytes.as_bytes().to_vec()))
}

#[test]
fn hundred_pipelined_requests_are_answered_in_order() {
    let (origin, farmgate) = one(Behaviour::EchoHead);
    let mut client = farmgate.client();
    let all: String = (0..100).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: t\r\n\r\n")).collect();
    client.send(all);
    for n in 0..100 {
        assert!(client.response().text().starts_with(&format!("GET /{n}\n")), "answer {n}");
    }
    assert_eq!(origin.requests().len(), 100);
}

#[test]
fn empty_line_before_a_request_is_passed_over() {
    let (_origin, farmgate) = one(Behaviour::Ok);
    let mut client = farmgate.client();
    client.send("\r\nGET / HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(client.response().status, 200);
}

#[test]
fn lines_that_end_in_a_bare_newline_are_refused_or_read_as_one_request() {
    let (origin, farmgate) = one(Behaviour::Ok);
    let mut client = farmgate.client();
    client.send("GET /one HTTP/1.1\nHost: t\n\n");
    let response = client.response();
    match response.status {
        200 => assert_eq!(origin.requests().len(), 1),
        400 => assert!(origin.requests().is_empty()),
        other => panic!("{other}"),
    }
}

#[test]
fn absolute_target_is_accepted_and_its_host_is_the_host() {
    let (origin, farmgate) = one(Behaviour::Ok);
    let mut client = farmgate.client();
    client.send("GET http://named.example/path?q=1 HTTP/1.1\r\nHost: other.example\r\n\r\n");
    let response = client.response();
    if response.status == 400 {
        assert!(origin.requests().is_empty(), "a Host that contradicts the target may be refused, then wholly");
        client = farmgate.client();
        client.send("GET http://named.example/path?q=1 HTTP/1.1\r\nHost: named.example\r\n\r\n");
        assert_eq!(client.response().status, 200);
    }
    let seen = &origin.requests()[0];
    assert_eq!(seen.header("host"), Some("named.example"), "{seen:?}");
    assert!(matches!(seen.target.as_str(), "/path?q=1" | "http://named.example/path?q=1"), "{seen:?}");
}

#[test]
fn connect_is_refused_and_opens_no_tunnel() {
    let (origin, farmgate) = one(Behaviour::Ok);
    for target in [origin.addr().to_string(), "example.com:443".to_owned()] {
        let mut client = farmgate.client();
        client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
        let response = client.response();
        assert!((400..600).contains(&response.status), "{}", response.status);
        assert!(origin.requests().is_empty(), "{:?}", origin.requests());
    }
}

#[test]
fn http_2_by_prior_knowledge_is_refused_at_once() {
    let (origin, farmgate) = one(Behaviour::Ok);
    let mut client = farmgate.client();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    match client.try_response_to("GET") {
        Ok(response) => assert!((400..600).contains(&response.status), "{}", response.status),
        Err(fault) => assert!(!matches!(fault, Fault::Timeout), "{fault:?}"),
    }
    assert!(origin.requests().is_empty());
}

#[test]
fn upgrade_to_h2c_is_not_made() {
    let (origin, farmgate) = one(Behaviour::Upgrade);
    let fields =
        [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA")];
    let response = farmgate.client().request("GET", "/", &fields, b"");
    assert_ne!(response.status, 101, "an h2c tunnel goes round every rule");
    assert!(origin.requests().iter().all(|seen| seen.values("http2-settings").is_empty()));
}

#[test]
fn get_with_a_body_stays_in_step() {
    let (origin, farmgate) = one(Behaviour::EchoBody);
    let mut client = farmgate.client();
    client.send("GET /one HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.response().text(), "hello");
    assert_eq!(client.request("GET", "/two", &[], b"").status, 200);
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn trailers_of_a_request_do_not_become_fields_or_requests() {
    let (origin, farmgate) = one(Behaviour::EchoBody);
    let mut client = farmgate.client();
    client.send(
        "POST /one HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nabc\r\n0\r\nX-Trailer: 1\r\nHost: evil\r\nContent-Length: 9\r\n\r\n",
    );
    assert_eq!(client.response().text(), "abc");
    assert_eq!(client.get("/two").status, 200);
    let seen = origin.requests();
    assert_eq!(seen.len(), 2);
    assert_eq!((seen[0].header("host"), seen[0].header("content-length")), (Some("t"), None));
}

#[test]
fn trailers_of_an_answer_keep_the_connection_in_step() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n";
    let (_origin, farmgate) = raw(answer);
    let mut client = farmgate.client();
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "abc");
    }
}

#[test]
fn early_hints_pass_or_vanish_and_the_answer_comes() {
    let answer = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (_origin, farmgate) = raw(answer);
    let mut client = farmgate.client();
    for _ in 0..2 {
        let response = client.get("/");
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
        assert!(response.interim.iter().all(|status| *status == 103), "{:?}", response.interim);
    }
}

#[test]
fn switch_of_protocols_that_nobody_asked_for_is_502() {
    let (_origin, farmgate) = raw("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nGET");
    let mut client = farmgate.client();
    match client.try_request("GET", "/", &[], b"") {
        Ok(response) => assert_eq!(response.status, 502),
        Err(fault) => assert!(!matches!(fault, Fault::Timeout), "{fault:?}"),
    }
}

/// What an answer with two lengths may become: refused, or passed on with one.
#[track_caller]
fn assert_refused_or(response: Result<Response, Fault>, text: &str) {
    match response {
        Ok(response) if response.status == 502 => {}
        Ok(response) => {
            assert_eq!(response.text(), text);
            let both = response.header("content-length").is_some() && response.header("transfer-encoding").is_some();
            assert!(!both, "{:?}", response.headers);
        }
        Err(fault) => panic!("{fault:?}"),
    }
}

#[test]
fn answer_with_two_lengths_does_not_poison_the_connection() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 30\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let (origin, farmgate) = raw(answer);
    let response = farmgate.client().try_request("GET", "/", &[], b"");
    assert_refused_or(response, "abc");
    origin.traffic(Behaviour::Ok);
    assert_eq!(farmgate.client().get("/").text(), "a");
}

#[test]
fn bytes_behind_an_answer_are_never_taken_for_the_next_one() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let (origin, farmgate) = raw(answer);
    assert_eq!(farmgate.client().get("/").text(), "ok");
    origin.traffic(Behaviour::Ok);
    for _ in 0..5 {
        let response = farmgate.client().get("/");
        assert_eq!((response.status, response.text().as_str()), (200, "a"));
    }
}

#[test]
fn body_behind_an_answer_to_head_is_never_taken_for_the_next_one() {
    let (origin, farmgate) = raw("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
    let response = farmgate.client().request("HEAD", "/", &[], b"");
    assert_eq!((response.status, response.body.len()), (200, 0));
    origin.traffic(Behaviour::Ok);
    for _ in 0..5 {
        assert_eq!(farmgate.client().get("/").text(), "a");
    }
}

#[test]
fn answer_without_length_ends_with_its_connection() {
    let origin = Origin::start("a");
    origin.traffic(Behaviour::Raw(b"HTTP/1.1 200 OK\r\nX-Origin: a\r\n\r\nuntil the end".to_vec()));
    origin.close_after(1);
    let farmgate = Farmgate::start(&Setup::http(&[Server::new("a", origin.addr(), "")]));
    for _ in 0..3 {
        assert_eq!(farmgate.client().get("/").text(), "until the end");
    }
}

#[test]
fn answer_head_beyond_reason_is_502() {
    let head = format!("HTTP/1.1 200 OK\r\nX-Big: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(3 << 20));
    let (_origin, farmgate) = raw(&head);
    match farmgate.client().try_request("POST", "/", &[], b"x") {
        Ok(response) => assert_eq!(response.status, 502),
        Err(fault) => assert!(!matches!(fault, Fault::Timeout), "{fault:?}"),
    }
}

#[test]
fn answer_that_comes_before_the_whole_request_reaches_the_client() {
    let origin = Origin::start("a");
    let farmgate = Farmgate::start(&Setup::http(&[Server::new("a", origin.addr(), "")]));
    let early = "HTTP/1.1 403 No\r\nX-Origin: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
    origin.answer_early(early.as_bytes());
    let mut client = farmgate.client();
    client.send("POST /up HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\nfirst bytes");
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (403, "no"));
}

#[test]
fn client_that_is_gone_frees_what_it_held() {
    let (_origin, farmgate) = one(Behaviour::Silent);
    let mut client = farmgate.client();
    client.send("GET /stuck HTTP/1.1\r\nHost: t\r\n\r\n");
    until("the request under way", || (farmgate.server("a")["in_flight"] == 1).then_some(()));
    // A mere end of its bytes may be half a close: such a client waits for its answer.
    client.reset();
    until("nothing under way", || (farmgate.server("a")["in_flight"] == 0).then_some(()));
    let open = || farmgate.metric("farmgate_frontend_connections_open", &["frontend=\"web\""]);
    until("no connection open", || (open() == Some(0.0)).then_some(()));
}

#[test]
fn client_that_does_not_read_is_cut_at_the_write_timeout_and_holds_back_the_origin() {
    let chunk = "x".repeat(1 << 20);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", 64 << 20, chunk.repeat(64));
    let (_origin, farmgate) = one_with(Behaviour::Raw(answer.into_bytes()), |setup| {
        setup.frontend("timeouts: {write: 700ms}").farm("timeouts: {response: 20s}")
    });
    let mut client = farmgate.client();
    client.send("GET /big HTTP/1.1\r\nHost: t\r\n\r\n");
    until("the request under way", || (farmgate.server("a")["in_flight"] == 1).then_some(()));
    until("the client to be given up", || (farmgate.server("a")["in_flight"] == 0).then_some(()));
    assert!(client.is_closed_within(Duration::from_secs(5)));
}

#[test]
fn body_that_comes_slowly_is_passed_on_as_it_comes() {
    let (_origin, farmgate) = one(Behaviour::DripBody(Duration::from_millis(200)));
    let mut client = farmgate.client();
    client.send("GET /slow HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(client.head().status, 200);
    assert_eq!(client.take(3).as_deref(), Ok(&b"xxx"[..]));
}

#[test]
fn client_that_reads_slowly_gets_everything() {
    let body: Vec<u8> = (0..32_u32 << 20).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(&body);
    let (_origin, farmgate) = one_with(Behaviour::Raw(answer), |setup| {
        setup.frontend("timeouts: {write: 3s}").farm("timeouts: {response: 3s}")
    });
    let mut client = farmgate.client();
    client.send("GET /big HTTP/1.1\r\nHost: t\r\n\r\n");
    let head = client.head();
    assert_eq!(head.status, 200);
    // Slower altogether than any deadline, never silent for as long as one. The kernel says that it takes more only
    // when a third of its own buffer is free, so the deadline is some pieces long.
    for (n, piece) in body.chunks(body.len() / 32).enumerate() {
        std::thread::sleep(Duration::from_millis(120));
        let got = client.take(piece.len());
        assert!(got.as_deref() == Ok(piece), "piece {n}: {:?}", got.map(|bytes| bytes.len()));
    }
}
