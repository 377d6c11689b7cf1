//! Requests that are wrong, too large or too slow: refused, cut off, and never seen by an origin.

use std::time::{Duration, Instant};

use crate::harness::{Behaviour, Client, Farmgate, Fault, Origin, Server, Setup};

fn small_limits() -> (Origin, Farmgate) {
    let origin = Origin::doing("a", Behaviour::EchoBody);
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")])
        .top("workers: 1")
        .frontend("limits: {header_bytes: 8KiB, uri_bytes: 1KiB, body_bytes: 64KiB}");
    let farmgate = Farmgate::start(&setup);
    (origin, farmgate)
}

/// Sends these bytes and requires the status, the end of the connection, and that no origin saw anything.
#[track_caller]
fn check(name: &str, bytes: impl AsRef<[u8]>, want: u16, origin: &Origin, farmgate: &Farmgate) {
    if let Err(why) = refusal(bytes, want, origin, farmgate) {
        panic!("{name}: {why}");
    }
}

fn refusal(bytes: impl AsRef<[u8]>, want: u16, origin: &Origin, farmgate: &Farmgate) -> Result<(), String> {
    let before = origin.requests().len();
    let mut client = farmgate.client();
    let _ = client.try_send(bytes);
    match client.try_response_to("GET") {
        Ok(response) if response.status != want => return Err(format!("{} instead of {want}", response.status)),
        Ok(_) if !client.is_closed_within(Duration::from_secs(3)) => return Err("the connection stays open".to_owned()),
        Ok(_) => {}
        Err(fault) => return Err(format!("no answer but {fault:?}")),
    }
    let seen = origin.requests().split_off(before);
    if seen.is_empty() { Ok(()) } else { Err(format!("the origin saw {seen:?}")) }
}

#[test]
fn wrong_requests_are_400_and_reach_no_origin() {
    let (origin, farmgate) = small_limits();
    let mut wrong = Vec::new();
    for (name, bytes) in [
        ("no Host", "GET / HTTP/1.1\r\n\r\n"),
        ("two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        ("two equal Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        ("Host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
        (
            "Transfer-Encoding and Content-Length",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        ),
        ("two Content-Lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
        ("a list of Content-Lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 4\r\n\r\nabc"),
        ("a signed Content-Length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc"),
        ("a negative Content-Length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"),
        ("a Content-Length of words", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: three\r\n\r\nabc"),
        ("an immense Content-Length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n"),
        ("an unknown coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\nabc"),
        ("chunked not last", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
        ("chunked disguised", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
        ("coding in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("folded line", "GET / HTTP/1.1\r\nHost: a\r\nX-Long: one\r\n two\r\n\r\n"),
        ("space before the colon", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nabc"),
        ("space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        ("no colon", "GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n"),
        ("NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX-Nul: a\0b\r\n\r\n"),
        ("NUL in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\0Nul: ab\r\n\r\n"),
        ("NUL in the target", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX-Cr: a\rb\r\n\r\n"),
        ("no version", "GET /\r\nHost: a\r\n\r\n"),
        ("garbage", "\x16\x03\x01\x02garbage\r\n\r\n"),
        ("words", "hello there, is this a web server?\r\n\r\n"),
    ] {
        wrong.extend(refusal(bytes, 400, &origin, &farmgate).err().map(|why| format!("{name}: {why}")));
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(farmgate.client().get("/").status, 200, "serves on");
}

#[test]
fn http_versions_that_are_not_spoken_are_refused() {
    let (origin, farmgate) = small_limits();
    for version in ["HTTP/3.0", "HTTP/0.9", "HTTP/1.1x", "HTCPCP/1.0"] {
        let mut client = farmgate.client();
        client.send(format!("GET / {version}\r\nHost: a\r\n\r\n"));
        let response = client.response();
        assert!(matches!(response.status, 400 | 505), "{version}: {}", response.status);
        assert!(client.is_closed_within(Duration::from_secs(3)), "{version}");
        assert!(origin.requests().is_empty(), "{version}");
    }
}

#[test]
fn too_large_requests_get_their_own_status() {
    let (origin, farmgate) = small_limits();
    let check = |name, bytes: String, want| check(name, bytes, want, &origin, &farmgate);
    check("one field", format!("GET / HTTP/1.1\r\nHost: a\r\nX-Big: {}\r\n\r\n", "x".repeat(20_000)), 431);
    let many: String = (0..300).map(|n| format!("X-{n}: {}\r\n", "y".repeat(50))).collect();
    check("many fields", format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431);
    check("target", format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "u".repeat(2000)), 414);
    check("target beyond the whole head", format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "u".repeat(20_000)), 414);
    check("declared body", format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 64 * 1024 + 1), 413);
}

#[test]
fn too_large_chunked_body_is_413_and_no_origin_takes_it_for_whole() {
    let (origin, farmgate) = small_limits();
    let mut bytes = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..10 {
        bytes.extend_from_slice(format!("4000\r\n{}\r\n", "z".repeat(0x4000)).as_bytes());
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    check("chunked body", bytes, 413, &origin, &farmgate);
}

#[test]
fn requests_at_the_limits_pass() {
    let (_origin, farmgate) = small_limits();
    let mut client = farmgate.client();
    assert_eq!(client.request("POST", "/", &[], &vec![b'x'; 64 * 1024]).body.len(), 64 * 1024);
    assert_eq!(client.get(&format!("/{}", "u".repeat(1000))).status, 200);
    assert_eq!(client.request("GET", "/", &[("X-Big", &"x".repeat(7000))], b"").status, 200);
}

#[test]
fn broken_chunks_end_the_connection_and_no_origin_takes_them_for_whole() {
    let (origin, farmgate) = small_limits();
    for bad in
        ["zz\r\nabc\r\n0\r\n\r\n", "3\r\nabcdef\r\n0\r\n\r\n", "-3\r\nabc\r\n0\r\n\r\n", "ffffffffffffffffff\r\n"]
    {
        let mut client = farmgate.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{bad}"));
        if let Ok(response) = client.try_response_to("POST") {
            assert_eq!(response.status, 400, "{bad:?}");
        }
        assert!(client.is_closed_within(Duration::from_secs(3)), "{bad:?}");
        assert!(origin.requests().is_empty(), "{bad:?}: {:?}", origin.requests());
    }
}

#[test]
fn request_cut_short_by_its_client_reaches_no_origin_whole() {
    let (origin, farmgate) = small_limits();
    for bytes in
        ["GET / HT", "GET / HTTP/1.1\r\nHost: a\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc"]
    {
        let mut client = farmgate.client();
        client.send(bytes);
        client.finish_writes();
        assert!(client.is_closed_within(Duration::from_secs(5)), "{bytes:?}");
    }
    assert_eq!(farmgate.client().get("/").status, 200);
    assert_eq!(origin.requests().len(), 1);
}

/// Sends `head` and then one byte every 100 ms; returns how long it took until the connection was over.
#[track_caller]
fn drip_until_cut(client: &mut Client, head: &str) -> Duration {
    let began = Instant::now();
    let _ = client.try_send(head);
    while began.elapsed() < Duration::from_secs(5) {
        if client.try_send("x").is_err() || client.is_closed_within(Duration::from_millis(100)) {
            return began.elapsed();
        }
    }
    panic!("a dripping header was still waited for after {:?}", began.elapsed());
}

fn slow_limits() -> (Origin, Farmgate) {
    let origin = Origin::start("a");
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")])
        .top("workers: 1")
        .frontend("timeouts: {header: 500ms, body: 500ms, idle: 700ms}");
    let farmgate = Farmgate::start(&setup);
    (origin, farmgate)
}

#[test]
fn dripping_header_is_cut_at_the_deadline_although_bytes_keep_coming() {
    let (origin, farmgate) = slow_limits();
    let mut client = farmgate.client();
    let took = drip_until_cut(&mut client, "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ");
    assert!(took > Duration::from_millis(350) && took < Duration::from_millis(2500), "cut after {took:?}");
    assert!(origin.requests().is_empty());
}

#[test]
fn dripping_header_of_a_second_request_is_cut_at_the_deadline_too() {
    let (origin, farmgate) = slow_limits();
    let mut client = farmgate.client();
    assert_eq!(client.get("/").status, 200);
    let took = drip_until_cut(&mut client, "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ");
    assert!(took > Duration::from_millis(350) && took < Duration::from_millis(2500), "cut after {took:?}");
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn stalled_header_is_answered_408_or_closed() {
    let (origin, farmgate) = slow_limits();
    let mut client = farmgate.client();
    client.send("GET / HTTP/1.1\r\nHo");
    match client.try_response_to("GET") {
        Ok(response) => assert_eq!(response.status, 408),
        Err(fault) => assert!(matches!(fault, Fault::Closed(0) | Fault::Reset(0)), "{fault:?}"),
    }
    assert!(origin.requests().is_empty());
}

#[test]
fn stalled_body_is_cut_at_its_deadline() {
    let (origin, farmgate) = slow_limits();
    let mut client = farmgate.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc");
    let began = Instant::now();
    assert!(client.is_closed_within(Duration::from_secs(5)));
    assert!(began.elapsed() > Duration::from_millis(300), "cut after {:?}", began.elapsed());
    assert!(origin.requests().is_empty(), "the origin never had the whole body");
}

#[test]
fn idle_keep_alive_connection_is_closed_in_silence_after_idle() {
    let (_origin, farmgate) = slow_limits();
    let mut client = farmgate.client();
    assert_eq!(client.get("/").status, 200);
    let began = Instant::now();
    assert!(client.is_closed_within(Duration::from_secs(5)), "still open");
    assert!(began.elapsed() > Duration::from_millis(500), "closed after {:?}", began.elapsed());
    assert_eq!(client.rest().unwrap_or_default(), b"", "an idle client asked nothing and is told nothing");
}

#[test]
fn connection_that_never_speaks_is_closed() {
    let (_origin, farmgate) = slow_limits();
    let mut client = farmgate.client();
    assert!(client.is_closed_within(Duration::from_secs(5)));
}

#[test]
fn connections_beyond_the_limit_are_refused_and_the_others_serve_on() {
    let origin = Origin::start("a");
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")]).frontend("limits: {connections: 4}");
    let farmgate = Farmgate::start(&setup);
    let mut open: Vec<Client> = (0..4).map(|_| farmgate.client()).collect();
    for client in &mut open {
        assert_eq!(client.get("/").status, 200);
    }
    let mut fifth = farmgate.client();
    match fifth.try_request("GET", "/", &[], b"") {
        Ok(response) => assert_eq!(response.status, 503),
        Err(fault) => assert!(matches!(fault, Fault::Closed(0) | Fault::Reset(0)), "{fault:?}"),
    }
    for client in &mut open {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(origin.requests().len(), 8);
}
