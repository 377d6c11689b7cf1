//! HTTP/1.1 as it should be passed on: connections, bodies, fields, upgrades.

use std::time::{Duration, Instant};

use crate::harness::{Behaviour, Client, Farmgate, Origin, Server, Setup, until};

/// One origin behind one frontend.
fn one(behaviour: Behaviour) -> (Origin, Farmgate) {
    one_with(behaviour, |setup| setup)
}

fn one_with(behaviour: Behaviour, more: impl FnOnce(Setup) -> Setup) -> (Origin, Farmgate) {
    let origin = Origin::doing("a", behaviour);
    let farmgate = Farmgate::start(&more(Setup::http(&[Server::new("a", origin.addr(), "")]).top("workers: 1")));
    (origin, farmgate)
}

#[test]
fn keep_alive_requests_of_one_client_share_one_connection_to_the_origin() {
    let (origin, farmgate) = one(Behaviour::Ok);
    let mut client = farmgate.client();
    for n in 0..50 {
        assert_eq!(client.get(&format!("/{n}")).text(), "a");
    }
    assert_eq!((origin.requests().len(), origin.traffic_connections()), (50, 1));
}

#[test]
fn keep_alive_requests_of_two_clients_in_turn_share_one_connection_to_the_origin() {
    let (origin, farmgate) = one(Behaviour::Ok);
    let (mut first, mut second) = (farmgate.client(), farmgate.client());
    for _ in 0..10 {
        first.get("/");
        second.get("/");
    }
    assert_eq!(origin.traffic_connections(), 1);
}

#[test]
fn connection_close_of_a_client_is_obeyed_and_stays_with_the_client() {
    let (origin, farmgate) = one(Behaviour::Ok);
    for _ in 0..3 {
        let mut client = farmgate.client();
        let response = client.request("GET", "/", &[("Connection", "close")], b"");
        assert_eq!((response.status, response.header("connection")), (200, Some("close")));
        assert_eq!(client.rest(), Ok(Vec::new()));
    }
    assert_eq!(origin.traffic_connections(), 1);
}

#[test]
fn head_answer_has_the_length_and_no_body() {
    let (_origin, farmgate) = one(Behaviour::Ok);
    let mut client = farmgate.client();
    let response = client.request("HEAD", "/", &[], b"");
    assert_eq!((response.status, response.header("content-length"), response.body.len()), (200, Some("1"), 0));
    assert_eq!(client.get("/").text(), "a", "the connection is still in step");
}

#[test]
fn answers_without_body_pass_and_keep_the_connection() {
    let (origin, farmgate) = one(Behaviour::Ok);
    let mut client = farmgate.client();
    for status in [204, 304] {
        origin.traffic(Behaviour::Status(status));
        let response = client.get("/");
        assert_eq!((response.status, response.header("transfer-encoding")), (status, None));
        assert!(matches!(response.header("content-length"), None | Some("0")), "{:?}", response.headers);
        origin.traffic(Behaviour::Ok);
        assert_eq!(client.get("/").text(), "a", "in step after {status}");
    }
    assert_eq!(origin.traffic_connections(), 1);
}

#[test]
fn statuses_of_the_origin_pass_unchanged() {
    let (origin, farmgate) = one(Behaviour::Ok);
    let mut client = farmgate.client();
    for status in [201, 301, 400, 404, 418, 500, 502, 503, 599] {
        origin.traffic(Behaviour::Status(status));
        let response = client.get("/");
        assert_eq!((response.status, response.text().as_str()), (status, "a"));
    }
}

#[test]
fn chunked_answer_arrives_whole_and_keeps_the_connection() {
    let (origin, farmgate) = one(Behaviour::Chunked);
    let mut client = farmgate.client();
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "one two three");
    }
    assert_eq!(origin.traffic_connections(), 1);
}

#[test]
fn chunked_request_arrives_whole_and_keeps_the_connection() {
    let (origin, farmgate) = one(Behaviour::EchoBody);
    let mut client = farmgate.client();
    for _ in 0..3 {
        client.send("POST /up HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
        client.send("7;ext=1\r\n, world\r\n0\r\n\r\n");
        assert_eq!(client.response().text(), "hello, world");
    }
    assert_eq!((origin.requests().len(), origin.traffic_connections()), (3, 1));
}

#[test]
fn request_bodies_of_every_size_arrive_byte_for_byte() {
    let (origin, farmgate) = one(Behaviour::EchoBody);
    let mut client = farmgate.client();
    for size in [0, 1, 1000, 65_536, 1 << 20] {
        let body: Vec<u8> = (0..size).map(|n: u32| n.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
        let response = client.request("POST", "/up", &[], &body);
        assert_eq!(response.status, 200);
        assert!(response.body == body, "{size} bytes came back as {}", response.body.len());
    }
    assert_eq!(origin.requests().len(), 5);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (origin, farmgate) = one(Behaviour::EchoHead);
    let mut client = farmgate.client();
    client.send("GET /one HTTP/1.1\r\nHost: t\r\n\r\nGET /two HTTP/1.1\r\nHost: t\r\n\r\n");
    for path in ["/one", "/two"] {
        let text = client.response().text();
        assert!(text.starts_with(&format!("GET {path}\n")), "{text}");
    }
    assert_eq!(client.get("/three").status, 200);
    assert_eq!(origin.requests().len(), 3);
}

#[test]
fn pipelined_request_after_a_body_is_not_taken_for_it() {
    let (origin, farmgate) = one(Behaviour::EchoBody);
    let mut client = farmgate.client();
    client.send("POST /one HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabcGET /two HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(client.response().text(), "abc");
    assert_eq!(client.response().text(), "");
    let targets: Vec<_> = origin.requests().into_iter().map(|s| s.target).collect();
    assert_eq!(targets, ["/one", "/two"]);
}

#[test]
fn expect_100_continue_gets_its_100_before_the_body_is_sent() {
    let (origin, farmgate) = one(Behaviour::EchoBody);
    let mut client = farmgate.client();
    client.send("POST /up HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.head().status, 100);
    client.send("hello");
    let response = client.response();
    assert_eq!((response.text().as_str(), response.interim.as_slice()), ("hello", &[][..]), "one 100 and no more");
    assert_eq!(client.get("/").status, 200, "in step");
    assert_eq!(origin.requests()[0].body, b"hello");
}

#[test]
fn http_1_0_client_gets_no_chunks_and_an_end_of_the_connection() {
    let (_origin, farmgate) = one(Behaviour::Chunked);
    let mut client = farmgate.client();
    client.send("GET / HTTP/1.0\r\nHost: t\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status, response.header("transfer-encoding")), (200, None));
    assert_eq!(response.text(), "one two three");
    assert_eq!(client.rest(), Ok(Vec::new()));
}

#[test]
fn http_1_0_request_of_18_bytes_is_answered_at_once() {
    let (_origin, farmgate) = one(Behaviour::Ok);
    let mut client = farmgate.client();
    let began = Instant::now();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (200, "a"));
    assert!(response.version.starts_with("HTTP/1."), "{}", response.version);
    assert!(began.elapsed() < Duration::from_secs(2), "took {:?}", began.elapsed());
}

/// It is passed on as HTTP/1.1, where servers insist on it.
#[test]
fn request_that_names_no_host_is_given_the_one_it_came_to() {
    let (origin, farmgate) = one(Behaviour::Ok);
    for (target, want) in [("/", farmgate.front("web").to_string()), ("http://a.example/", "a.example".to_owned())] {
        let mut client = farmgate.client();
        client.send(format!("GET {target} HTTP/1.0\r\n\r\n"));
        assert_eq!(client.response().status, 200);
        assert_eq!(origin.requests().last().unwrap().values("host"), [want.as_str()], "{target}");
    }
}

#[test]
fn hop_by_hop_fields_of_a_request_end_here() {
    let (origin, farmgate) = one(Behaviour::Ok);
    let fields = [
        ("Connection", "keep-alive, X-Inner"),
        ("X-Inner", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("TE", "gzip"),
        ("X-Outer", "stays"),
    ];
    assert_eq!(farmgate.client().request("GET", "/", &fields, b"").status, 200);
    let seen = &origin.requests()[0];
    for name in ["x-inner", "keep-alive", "proxy-connection", "te"] {
        assert_eq!(seen.values(name), Vec::<&str>::new(), "{name}");
    }
    assert!(!seen.values("connection").iter().any(|v| v.contains("X-Inner")), "{seen:?}");
    assert_eq!(seen.header("x-outer"), Some("stays"));
}

#[test]
fn hop_by_hop_fields_of_an_answer_end_here() {
    let raw = "HTTP/1.1 200 OK\r\nConnection: X-Inner\r\nX-Inner: 1\r\nKeep-Alive: timeout=5\r\n\
               Proxy-Connection: keep-alive\r\nX-Outer: stays\r\nX-Origin: a\r\nContent-Length: 2\r\n\r\nok";
    let (_origin, farmgate) = one(Behaviour::Raw(raw.into()));
    let mut client = farmgate.client();
    for _ in 0..2 {
        let response = client.get("/");
        assert_eq!((response.text().as_str(), response.header("x-outer")), ("ok", Some("stays")));
        for name in ["x-inner", "keep-alive", "proxy-connection"] {
            assert_eq!(response.header(name), None, "{:?}", response.headers);
        }
        assert!(!response.header("connection").unwrap_or("").contains("X-Inner"), "{:?}", response.headers);
    }
}

#[test]
fn connection_field_cannot_take_away_what_farmgate_adds() {
    let (origin, farmgate) = one(Behaviour::Ok);
    for named in ["X-Forwarded-For, Via", "Host", "Content-Length", "Transfer-Encoding"] {
        let before = origin.requests().len();
        let response = farmgate.client().request("POST", "/", &[("Connection", named)], b"abc");
        let requests = origin.requests().split_off(before);
        if response.status == 400 {
            assert!(requests.is_empty(), "refused and passed on: {requests:?}");
            continue;
        }
        assert_eq!((response.status, requests.len()), (200, 1), "{named}");
        assert_eq!(requests[0].header("x-forwarded-for"), Some("127.0.0.1"), "{named}");
        assert_eq!((requests[0].body.as_slice(), requests[0].header("host")), (&b"abc"[..], Some("test.example")));
        assert!(requests[0].header("via").is_some(), "{named}");
    }
}

const CLAIMS: [(&str, &str); 4] = [
    ("X-Forwarded-For", "192.0.2.7"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "claimed.example"),
    ("Via", "1.0 claimed"),
];

#[test]
fn forwarded_fields_tell_the_client_the_scheme_and_the_host() {
    let (origin, farmgate) = one(Behaviour::Ok);
    farmgate.client().get("/");
    let seen = &origin.requests()[0];
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-host"), Some("test.example"));
    assert_eq!(seen.header("host"), Some("test.example"));
    assert!(seen.header("via").is_some_and(|via| via.starts_with("1.1 ")), "{seen:?}");
}

#[test]
fn forwarded_fields_of_a_stranger_are_replaced() {
    let (origin, farmgate) = one(Behaviour::Ok);
    farmgate.client().request("GET", "/", &CLAIMS, b"");
    let seen = &origin.requests()[0];
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-host"), Some("test.example"));
    assert!(seen.header("via").is_some_and(|via| !via.contains("claimed")), "{seen:?}");
}

#[test]
fn forwarded_fields_of_a_trusted_client_are_kept_and_added_to() {
    let (origin, farmgate) = one_with(Behaviour::Ok, |setup| setup.frontend("trust: [\"127.0.0.0/8\"]"));
    farmgate.client().request("GET", "/", &CLAIMS, b"");
    let seen = &origin.requests()[0];
    assert_eq!(seen.values("x-forwarded-for").join(", "), "192.0.2.7, 127.0.0.1");
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.header("x-forwarded-host"), Some("claimed.example"));
    let via = seen.values("via").join(", ");
    assert!(via.starts_with("1.0 claimed, 1.1 "), "{via}");
}

#[test]
fn unknown_method_and_odd_targets_pass() {
    let (origin, farmgate) = one(Behaviour::Ok);
    let mut client = farmgate.client();
    assert_eq!(client.request("BREW", "/pot?x=%20&y=[1]", &[], b"").status, 200);
    client.send("OPTIONS * HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(client.response().status, 200);
    let seen = origin.requests();
    assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), ("BREW", "/pot?x=%20&y=[1]"));
    assert_eq!((seen[1].method.as_str(), seen[1].target.as_str()), ("OPTIONS", "*"));
}

fn upgraded(farmgate: &Farmgate) -> Client {
    let mut client = farmgate.client();
    let fields = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ];
    let response = client.request("GET", "/ws", &fields, b"");
    assert_eq!((response.status, response.header("upgrade")), (101, Some("websocket")));
    client
}

#[track_caller]
fn ping(client: &mut Client, text: &str) {
    client.send(text);
    assert_eq!(client.take(text.len()).unwrap(), text.as_bytes());
}

#[test]
fn websocket_upgrade_passes_bytes_both_ways() {
    let (origin, farmgate) = one(Behaviour::Upgrade);
    let mut client = upgraded(&farmgate);
    for n in 0..20 {
        ping(&mut client, &format!("frame {n}"));
    }
    let big = "x".repeat(200_000);
    ping(&mut client, &big);
    let seen = &origin.requests()[0];
    assert_eq!(seen.header("upgrade"), Some("websocket"));
    assert_eq!(seen.header("sec-websocket-version"), Some("13"));
    drop(client);
    assert_eq!(farmgate.client().request("GET", "/", &[], b"").status, 200, "serves on");
}

#[test]
fn websocket_lives_by_the_tunnel_timeout_and_no_other() {
    let (_origin, farmgate) = one_with(Behaviour::Upgrade, |setup| {
        setup
            .frontend("timeouts: {header: 300ms, body: 300ms, idle: 300ms, tunnel: 20s}")
            .farm("timeouts: {response: 300ms, idle: 300ms}")
    });
    let mut client = upgraded(&farmgate);
    ping(&mut client, "one");
    assert!(!client.is_closed_within(Duration::from_millis(1500)), "an idle tunnel was cut by another deadline");
    ping(&mut client, "two");
}

#[test]
fn websocket_silent_for_the_tunnel_timeout_is_closed_and_a_busy_one_is_not() {
    let (_origin, farmgate) = one_with(Behaviour::Upgrade, |setup| setup.frontend("timeouts: {tunnel: 1s}"));
    let mut client = upgraded(&farmgate);
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1800) {
        ping(&mut client, "busy");
        assert!(!client.is_closed_within(Duration::from_millis(200)), "closed although busy");
    }
    let silent_since = Instant::now();
    assert!(client.is_closed_within(Duration::from_secs(4)), "still open after {:?}", silent_since.elapsed());
    assert!(silent_since.elapsed() > Duration::from_millis(400), "cut after {:?}", silent_since.elapsed());
}

#[test]
fn websocket_refused_by_the_origin_leaves_no_bytes_on_its_connection() {
    let (origin, farmgate) = one(Behaviour::Ok);
    let mut client = farmgate.client();
    client.send(
        "GET /ws HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\
         GET /smuggled HTTP/1.1\r\nHost: inner\r\n\r\n",
    );
    assert_eq!(client.response().status, 200);
    client.finish_writes();
    let _ = client.rest();
    // The next request would be answered with the smuggled one's answer if the connection were out of step.
    until("a client in step", || (farmgate.client().get("/next").status == 200).then_some(()));
    for seen in origin.requests() {
        assert!(seen.header("via").is_some(), "not parsed by Farmgate: {seen:?}");
    }
    for raw in origin.raw() {
        let raw = String::from_utf8_lossy(&raw).into_owned();
        assert!(!raw.contains("Host: inner\r\n\r\n"), "passed on unparsed: {raw:?}");
    }
}

#[test]
fn origin_closing_idle_connections_costs_no_request() {
    let (origin, farmgate) = one(Behaviour::Ok);
    origin.close_after(3);
    let mut client = farmgate.client();
    for n in 0..60 {
        let response = client.get("/");
        assert_eq!(response.status, 200, "request {n}: {}", response.text());
    }
    assert!(origin.traffic_connections() >= 20);
}
