//! What goes wrong at the seams: ends of connections, deadlines of clients that say nothing more, pages of the engine.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::harness::{Behaviour, Client, Farmgate, Fault, Origin, PATIENCE, Server, Setup, place, refused_port, until};

fn one(behaviour: Behaviour) -> (Origin, Farmgate) {
    one_with(behaviour, |setup| setup)
}

fn one_with(behaviour: Behaviour, more: impl FnOnce(Setup) -> Setup) -> (Origin, Farmgate) {
    let origin = Origin::doing("a", behaviour);
    let farmgate = Farmgate::start(&more(Setup::http(&[Server::new("a", origin.addr(), "")]).top("workers: 1")));
    (origin, farmgate)
}

/// Waits until no connection of the frontend is open and no server has work in flight.
#[track_caller]
fn wait_until_nothing_is_held(farmgate: &Farmgate) {
    until("nothing to be held", || {
        let open = farmgate.metric("farmgate_frontend_connections_open", &[]);
        let in_flight = farmgate.metric("farmgate_server_in_flight", &[]);
        (open == Some(0.0) && in_flight == Some(0.0)).then_some(())
    });
}

#[test]
fn every_refusal_is_a_page_of_our_own() {
    let (origin, farmgate) = one(Behaviour::Ok);
    for (request, want) in [
        ("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n", 405),
        ("GET http://one.example/ HTTP/1.1\r\nHost: two.example\r\n\r\n", 400),
        ("GET http://u@one.example/ HTTP/1.1\r\nHost: one.example\r\n\r\n", 400),
        ("M-SEARCH /<> HTTP/1.1\r\nHost: one.example\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: one.example\r\nConnection: Host\r\n\r\n", 400),
    ] {
        let mut client = farmgate.client();
        client.send(request);
        let response = client.response();
        if response.status == 200 {
            continue;
        }
        assert_eq!(response.status, want, "{request:?}");
        assert_eq!(response.header("server"), None, "{request:?}: {:?}", response.headers);
        let id = response.header("x-request-id").unwrap_or_else(|| panic!("{request:?}: {:?}", response.headers));
        assert!(response.text().contains(id), "{request:?}: {}", response.text());
        assert_eq!(client.rest(), Ok(Vec::new()), "{request:?}");
    }
    let refused = farmgate.metric("farmgate_frontend_refused_total", &["bad_request"]);
    assert!(refused >= Some(3.0), "{refused:?} counted");
    assert!(origin.requests().iter().all(|seen| seen.method != "CONNECT"));
}

#[test]
fn answer_of_known_length_is_passed_on_as_it_comes() {
    let (_origin, farmgate) = one(Behaviour::DripBody(Duration::from_millis(50)));
    let mut client = farmgate.client();
    let began = Instant::now();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(client.head().header("content-length"), Some("1000000"));
    assert_eq!(client.take(10).unwrap(), b"xxxxxxxxxx");
    assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
}

/// The client sends all of its body before it looks at the answer, as most do.
#[test]
fn page_reaches_a_client_that_is_still_sending() {
    let (origin, farmgate) = one_with(Behaviour::Ok, |setup| setup.frontend("limits: {body_bytes: 1KiB}"));
    let mut client = farmgate.client();
    let mut request = b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n30000\r\n".to_vec();
    request.extend_from_slice(&[b'x'; 0x30000]);
    client.send(&request);
    let response = client.response();
    assert_eq!((response.status, response.header("connection")), (413, Some("close")));
    assert_eq!(client.rest(), Ok(Vec::new()), "reset rather than ended");
    assert!(origin.requests().is_empty());
}

#[test]
fn answer_deadline_holds_for_a_client_that_ended_its_half() {
    let (_origin, farmgate) =
        one_with(Behaviour::DripHead(Duration::from_millis(50)), |setup| setup.farm("timeouts: {response: 500ms}"));
    let mut client = farmgate.client();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\nx");
    client.finish_writes();
    let began = Instant::now();
    assert_eq!(client.response().status, 504);
    assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
    wait_until_nothing_is_held(&farmgate);
}

#[test]
fn client_that_ended_its_half_gets_all_its_answers() {
    let (origin, farmgate) = one(Behaviour::Slow(Duration::from_millis(300)));
    let mut client = farmgate.client();
    client.send("GET /1 HTTP/1.1\r\nHost: t\r\n\r\nGET /2 HTTP/1.1\r\nHost: t\r\n\r\n");
    client.finish_writes();
    assert_eq!((client.response().status, client.response().status), (200, 200));
    assert_eq!(client.rest(), Ok(Vec::new()));
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn client_gone_while_a_slow_server_answers_costs_no_processor_and_leaves_nothing() {
    let (origin, farmgate) = one(Behaviour::Slow(Duration::from_millis(1500)));
    let clients: Vec<Client> = (0..20)
        .map(|n| {
            let mut client = farmgate.client();
            client.send(format!("GET /{n} HTTP/1.1\r\nHost: t\r\n\r\n"));
            client
        })
        .collect();
    until("all requests at the origin", || (origin.requests().len() == 20).then_some(()));
    drop(clients);
    let before = farmgate.processor_time();
    std::thread::sleep(Duration::from_secs(1));
    let used = farmgate.processor_time().saturating_sub(before);
    assert!(used < Duration::from_millis(400), "used {used:?} of the processor in a second of waiting");
    wait_until_nothing_is_held(&farmgate);
}

#[test]
fn http_1_0_client_gets_no_interim_answer() {
    let answer = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (_origin, farmgate) = one(Behaviour::Raw(answer.into()));
    let mut client = farmgate.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status, response.interim.as_slice()), (200, &[][..]));
}

/// Without chunks or a length, only a reset tells a broken answer from a whole one.
#[test]
fn answer_broken_off_never_looks_whole_to_an_http_1_0_client() {
    let (origin, farmgate) = one(Behaviour::EndMidChunks);
    for behaviour in [
        Behaviour::EndMidChunks,
        Behaviour::Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\nzz\r\n".to_vec()),
    ] {
        origin.traffic(behaviour.clone());
        let mut client = farmgate.client();
        client.send("GET / HTTP/1.0\r\nHost: t\r\n\r\n");
        match client.try_response_to("GET") {
            Ok(response) => assert_eq!(response.status, 502, "{behaviour:?} looked whole: {}", response.text()),
            Err(fault) => assert!(matches!(fault, Fault::Reset(_)), "{behaviour:?}: {fault:?}"),
        }
    }
}

#[test]
fn tunnel_that_speaks_one_way_is_no_silent_one() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let (_origin, farmgate) = one_with(Behaviour::Raw(switch.into()), |setup| {
        setup.frontend("timeouts: {tunnel: 1s}").farm("timeouts: {response: 500ms}")
    });
    let mut client = farmgate.client();
    let upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    assert_eq!(client.request("GET", "/ws", &upgrade, b"").status, 101);
    for _ in 0..12 {
        client.send("tick");
        assert!(!client.is_closed_within(Duration::from_millis(200)), "cut although one side speaks");
    }
}

#[test]
fn answer_that_stalls_is_cut_although_an_upgrade_was_asked_for() {
    let stalled = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234";
    let (_origin, farmgate) = one_with(Behaviour::Raw(stalled.into()), |setup| {
        setup.frontend("timeouts: {tunnel: 60s}").farm("timeouts: {response: 500ms}")
    });
    for upgrade in ["websocket", "x"] {
        let mut client = farmgate.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n\r\n"));
        assert_eq!(client.head().status, 200);
        assert!(client.is_closed_within(Duration::from_secs(5)), "Upgrade: {upgrade} waits on");
    }
}

#[test]
fn connection_made_before_a_stop_is_answered() {
    let (_origin, mut farmgate) = one_with(Behaviour::Ok, |setup| setup.top("grace: 10s"));
    let front = farmgate.front("web");
    let mut fresh = Client::connect(front);
    until("the connection to be accepted", || {
        (farmgate.metric("farmgate_frontend_connections_open", &[]) == Some(1.0)).then_some(())
    });
    farmgate.signal("TERM");
    until("the shutdown to begin", || Client::try_connect(front).is_err().then_some(()));
    fresh.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let response = fresh.response();
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    let began = Instant::now();
    assert_eq!(farmgate.wait().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(4), "took {:?}", began.elapsed());
}

#[test]
fn request_already_here_when_its_connection_is_retired_is_answered() {
    let (origin, mut farmgate) = one_with(Behaviour::Ok, |setup| setup.top("grace: 10s"));
    let mut clients: Vec<Client> = (0..50).map(|_| farmgate.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    // Stopped, the process cannot read what comes: it finds the signal and the requests at the same moment.
    farmgate.signal("STOP");
    for client in &mut clients {
        client.send("GET /late HTTP/1.1\r\nHost: t\r\n\r\n");
    }
    farmgate.signal("TERM");
    farmgate.signal("CONT");
    let answered = clients.iter_mut().filter_map(|c| c.try_response_to("GET").ok()).filter(|r| r.status == 200).count();
    assert_eq!(answered, 50);
    assert_eq!(origin.requests().len(), 100);
    assert_eq!(farmgate.wait().code(), Some(0));
}

#[test]
fn connections_waiting_to_be_accepted_at_a_stop_are_answered() {
    let many = "limits: {connections_per_source: 0}";
    let (_origin, mut farmgate) = one_with(Behaviour::Ok, |setup| setup.top("grace: 10s").frontend(many));
    let front = farmgate.front("web");
    farmgate.signal("STOP");
    let mut clients: Vec<Client> = (0..300).map(|_| Client::connect(front)).collect();
    for client in &mut clients {
        client.send("GET /queued HTTP/1.1\r\nHost: t\r\n\r\n");
    }
    farmgate.signal("TERM");
    farmgate.signal("CONT");
    let answered = clients.iter_mut().filter_map(|c| c.try_response_to("GET").ok()).filter(|r| r.status == 200).count();
    assert_eq!(answered, 300);
    assert_eq!(farmgate.wait().code(), Some(0));
}

#[test]
fn chunked_body_cut_at_every_byte_keeps_its_end_and_the_next_request() {
    let (origin, farmgate) = one(Behaviour::EchoBody);
    let first = "POST /1 HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n\
                 5;a=b\r\nhello\r\n2\r\n, \r\n5\r\nworld\r\n0\r\nX-Trailer: 1\r\n\r\n";
    let both =
        format!("{first}POST /2 HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\nHost: t\r\n\r\n");
    let head = first.find("\r\n\r\n").unwrap();
    for cut in head..both.len() {
        let mut client = farmgate.client();
        client.send(&both[..cut]);
        std::thread::sleep(Duration::from_millis(1));
        client.send(&both[cut..]);
        let bodies = [client.response().text(), client.response().text(), client.response().text()];
        assert_eq!(bodies, ["hello, world", "abc", ""], "cut at {cut}");
    }
    let before = origin.requests().len();
    let mut client = farmgate.client();
    for byte in both.as_bytes() {
        client.send([*byte]);
    }
    assert_eq!(client.response().text(), "hello, world");
    assert_eq!((client.response().text().as_str(), client.response().status), ("abc", 200));
    assert_eq!(origin.requests().len(), before + 3);
}

#[test]
fn client_that_resets_mid_body_has_no_server_blamed_or_tried_again() {
    let (a, b) = (Origin::doing("a", Behaviour::EchoBody), Origin::start("b"));
    let servers = [Server::new("a", a.addr(), ""), Server::new("b", b.addr(), "")];
    let farmgate = Farmgate::start(&Setup::http(&servers).farm("balance: first").top("workers: 1"));
    for _ in 0..10 {
        let mut client = farmgate.client();
        client.send("PUT / HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nhalf");
        until("the request to be under way", || {
            (farmgate.metric("farmgate_server_in_flight", &["server=\"a\""]) == Some(1.0)).then_some(())
        });
        client.reset();
        wait_until_nothing_is_held(&farmgate);
    }
    assert_eq!((a.requests().len(), b.requests().len()), (0, 0));
    assert_eq!(farmgate.metric("farmgate_retries_total", &[]), Some(0.0));
    assert_eq!(farmgate.metric("farmgate_connect_failures_total", &[]), Some(0.0));
}

#[test]
fn put_tried_again_brings_its_whole_body() {
    let (a, b) = (Origin::doing("a", Behaviour::Reset), Origin::doing("b", Behaviour::EchoBody));
    let servers = [Server::new("a", a.addr(), ""), Server::new("b", b.addr(), "")];
    let farmgate = Farmgate::start(&Setup::http(&servers).farm("balance: first").top("workers: 1"));
    let body: Vec<u8> = (0..60_000_u32).map(|n| n.to_be_bytes()[3]).collect();
    let mut client = farmgate.client();
    let response = client.request("PUT", "/", &[], &body);
    assert_eq!(response.status, 200, "{}", response.text());
    assert!(response.body == body);
    let big = vec![b'x'; 1 << 20];
    let response = client.request("PUT", "/", &[], &big);
    assert_eq!(response.status, 502, "too large to be kept for another try");
    wait_until_nothing_is_held(&farmgate);
    let requests = farmgate.metric("farmgate_requests_total", &[]);
    assert_eq!(requests, Some(2.0), "each request is counted once");
}

#[test]
fn tcp_stream_broken_off_by_either_side_never_looks_whole_to_the_other() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let servers = [Server::new("a", listener.local_addr().unwrap(), "probe: false")];
    let farmgate = Farmgate::start(&Setup::tcp(&servers).top("workers: 1"));

    let mut client = farmgate.client();
    let (mut server, _) = listener.accept().unwrap();
    server.write_all(b"half").unwrap();
    assert_eq!(client.take(4).unwrap(), b"half");
    socket2::SockRef::from(&server).set_linger(Some(Duration::ZERO)).unwrap();
    drop(server);
    assert_eq!(client.rest(), Err(Fault::Reset(0)));

    let mut client = farmgate.client();
    let (mut server, _) = listener.accept().unwrap();
    client.send("half");
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = [0; 4];
    server.read_exact(&mut bytes).unwrap();
    client.reset();
    assert_eq!(server.read(&mut bytes).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    wait_until_nothing_is_held(&farmgate);
}

#[test]
fn tcp_connection_that_no_server_takes_is_logged_and_its_retries_counted_as_made() {
    let (_held, refused) = refused_port();
    let servers = [Server::new("a", refused, "probe: false")];
    let log = "{level: info, format: json, access: {path: access.log, format: json}}";
    let farmgate = Farmgate::start(&Setup::tcp(&servers).log(log).top("workers: 1"));
    assert_eq!(farmgate.client().rest(), Ok(Vec::new()));
    let path = farmgate.config_path().with_file_name("access.log");
    let line = until("a line", || std::fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n')));
    assert!(line.contains("no server can take the connection now"), "{line}");
    assert_eq!(farmgate.metric("farmgate_connect_failures_total", &[]), Some(1.0));
    assert_eq!(farmgate.metric("farmgate_retries_total", &[]), Some(0.0), "there is no other server");
}

#[test]
fn frontend_renamed_under_load_costs_no_request() {
    let origin = Origin::start("a");
    let front = place();
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")]).frontend(&format!("listen: [\"{front}\"]"));
    let farmgate = Farmgate::start(&setup);
    let is_over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|n| {
            let is_over = Arc::clone(&is_over);
            std::thread::spawn(move || {
                let mut client = Client::connect(front);
                for count in 0.. {
                    if is_over.load(SeqCst) {
                        return count;
                    }
                    if n % 2 == 0 {
                        client = Client::connect(front);
                    }
                    assert_eq!(client.get("/").status, 200, "client {n}, request {count}");
                }
                0
            })
        })
        .collect();
    for round in 0..20 {
        let name = if round % 2 == 0 { "site" } else { "web" };
        let yaml = setup.yaml().replacen("  web:\n", &format!("  {name}:\n"), 1);
        assert_eq!(farmgate.reload(&yaml).status, 200);
        std::thread::sleep(Duration::from_millis(20));
    }
    is_over.store(true, SeqCst);
    let served: Vec<usize> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    assert!(served.iter().all(|count| *count >= 5), "{served:?}");
}

#[test]
fn answer_under_way_at_a_stop_says_that_it_is_the_last() {
    let (origin, mut farmgate) = one_with(Behaviour::Slow(Duration::from_millis(800)), |setup| setup.top("grace: 10s"));
    let front = farmgate.front("web");
    let mut client = farmgate.client();
    client.send("GET /slow HTTP/1.1\r\nHost: t\r\n\r\n");
    until("the request at the origin", || (!origin.requests().is_empty()).then_some(()));
    farmgate.signal("TERM");
    until("the shutdown to begin", || Client::try_connect(front).is_err().then_some(()));
    let response = client.response();
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    assert_eq!(farmgate.wait().code(), Some(0));
}

/// Some old clients end a body with an empty line that its length does not count.
#[test]
fn empty_line_after_a_body_is_no_request_that_could_be_late() {
    let (_origin, farmgate) = one_with(Behaviour::Ok, |setup| setup.frontend("timeouts: {header: 300ms}"));
    let mut client = farmgate.client();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc\r\n");
    assert_eq!(client.response().status, 200);
    assert_eq!(client.rest(), Ok(Vec::new()), "answered though nothing was asked");
    assert_eq!(farmgate.metric("farmgate_frontend_refused_total", &[]), Some(0.0));
}

#[test]
fn own_page_to_head_has_no_body_and_stays_in_step() {
    let origin = Origin::start("a");
    let farmgate = Farmgate::start(&Setup::http(&[Server::new("a", origin.addr(), "status: drain")]));
    let mut client = farmgate.client();
    for _ in 0..3 {
        let response = client.request("HEAD", "/", &[], b"");
        assert_eq!((response.status, response.body.len()), (503, 0));
        assert!(response.header("content-length").is_some_and(|length| length != "0"));
        assert_eq!(client.request("POST", "/", &[], b"unread").status, 503);
    }
    assert_eq!(farmgate.metric("farmgate_own_answers_total", &["5xx"]), Some(6.0), "each is counted once");
}

#[test]
fn large_body_of_any_method_survives_a_refused_connection() {
    let (_held, refused) = refused_port();
    let origin = Origin::doing("b", Behaviour::EchoBody);
    let servers = [Server::new("a", refused, "probe: false"), Server::new("b", origin.addr(), "")];
    let farmgate = Farmgate::start(&Setup::http(&servers).farm("balance: first").top("workers: 1"));
    let body: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_be_bytes()[2]).collect();
    for method in ["POST", "PUT"] {
        let response = farmgate.client().request(method, "/", &[], &body);
        assert_eq!(response.status, 200, "{}", response.text());
        assert!(response.body == body, "{method}");
    }
}
