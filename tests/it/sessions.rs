//! What is open on a server: counted by kind, left alone by a drain, and closed when it is told to be.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use farmgate::model::{AdminStatus, Balance, Farm, Observe, Protocol, TrafficFault};

use crate::harness::{
    Behaviour, Client, Fault, InProcess, Origin, TcpBehaviour, TcpOrigin, refused_port, until, until_within,
};

const NOTHING: [u64; 3] = [0, 0, 0];
const WEBSOCKET: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
];

/// Two servers of which `a` takes everything that it may.
fn two(a: Behaviour, adjust: impl FnOnce(&mut Farm)) -> (Origin, Origin, InProcess) {
    let (a, b) = (Origin::doing("a", a), Origin::start("b"));
    let plane = InProcess::start(Protocol::Http, &[("a", a.addr()), ("b", b.addr())], |farm| {
        farm.balance = Balance::First;
        adjust(farm);
    });
    (a, b, plane)
}

fn asking(plane: &InProcess, method: &str) -> Client {
    let mut client = plane.client();
    client.send(format!("{method} /x HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n"));
    client
}

#[track_caller]
fn upgraded(plane: &InProcess) -> Client {
    let mut client = plane.client();
    assert_eq!(client.request("GET", "/ws", &WEBSOCKET, b"").status, 101);
    client
}

#[track_caller]
fn ping(client: &mut Client, text: &str) {
    client.send(text);
    assert_eq!(client.take(text.len()).unwrap(), text.as_bytes());
}

/// A server that does with each connection what it is told.
fn server(serve: fn(TcpStream)) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve(stream));
        }
    });
    addr
}

#[test]
fn closing_a_server_sends_what_it_has_not_answered_to_another() {
    let (a, _b, plane) = two(Behaviour::Silent, |_| {});
    let mut client = asking(&plane, "GET");
    until("the request", || (a.requests().len() == 1).then_some(()));
    assert_eq!(plane.open("a"), [0, 1, 0]);
    until("some age", || (plane.oldest("a") > Duration::ZERO).then_some(()));
    assert_eq!(plane.close("a"), 1);
    assert_eq!(client.try_response_to("GET").unwrap().origin(), "b");
    plane.wait_open("b", NOTHING);
    assert_eq!((plane.open("a"), plane.close("a")), (NOTHING, 0));
    let line = &plane.access(1)[0];
    assert_eq!((line["server"].as_str(), line["retries"].as_u64()), (Some("b"), Some(1)));
    assert_eq!(
        plane.attempts(line),
        [("a".to_owned(), "first", "taken_out"), ("b".to_owned(), "only_one_left", "answered")]
    );
    assert_eq!((plane.traffic("a"), plane.traffic("b")), ((0, 0), (1, 0)), "what the operator does is nobody's fault");
}

#[test]
fn closing_a_server_answers_what_must_not_be_repeated_with_the_reason() {
    let (a, b, plane) = two(Behaviour::Silent, |_| {});
    let mut client = asking(&plane, "POST");
    until("the request", || (a.requests().len() == 1).then_some(()));
    assert_eq!(plane.close("a"), 1);
    let page = client.response();
    assert_eq!(page.status, 502);
    assert!(page.text().contains("the server was taken out of service"), "{}", page.text());
    assert!(b.requests().is_empty());
    let line = &plane.access(1)[0];
    assert_eq!(line["reason"], "the server was taken out of service");
    assert_eq!(plane.trace(line["request_id"].as_str().unwrap()).unwrap().reason, line["reason"].as_str());
}

#[test]
fn closing_a_server_resets_answers_that_have_begun() {
    let (_a, _b, plane) = two(Behaviour::DripBody(Duration::from_millis(10)), |_| {});
    let mut client = asking(&plane, "GET");
    assert_eq!(client.head().status, 200);
    assert_eq!(plane.open("a"), [0, 1, 0]);
    assert_eq!(plane.close("a"), 1);
    assert!(matches!(client.rest(), Err(Fault::Reset(_))));
    plane.wait_open("a", NOTHING);
    assert_eq!(plane.access(1)[0]["reason"], "the server was taken out of service");
    assert_eq!(plane.attempts(&plane.access(1)[0]), [("a".to_owned(), "first", "taken_out")]);
}

#[test]
fn closing_a_server_ends_tunnels_on_both_sides() {
    let (_a, _b, plane) = two(Behaviour::Upgrade, |_| {});
    let mut client = upgraded(&plane);
    ping(&mut client, "one");
    assert_eq!(plane.open("a"), [0, 0, 1]);
    assert_eq!(plane.close("a"), 1);
    assert!(client.rest().is_err_and(|fault| matches!(fault, Fault::Reset(_))));
    plane.wait_open("a", NOTHING);
    assert_eq!(plane.access(1)[0]["reason"], "the server was taken out of service");
}

#[test]
fn closing_a_server_ends_relays_on_both_sides() {
    let (a, b) = (TcpOrigin::start("a", TcpBehaviour::Echo), TcpOrigin::start("b", TcpBehaviour::Echo));
    let servers = [("a", a.addr()), ("b", b.addr())];
    let mut plane = InProcess::start(Protocol::Tcp, &servers, |farm| farm.balance = Balance::First);
    let mut client = plane.client();
    assert_eq!(client.take(2).unwrap(), b"a\n");
    plane.set("a", AdminStatus::Drain);
    let mut other = plane.client();
    assert_eq!(other.take(2).unwrap(), b"b\n");
    ping(&mut client, "still here");
    assert_eq!((plane.open("a"), plane.open("b")), ([1, 0, 0], [1, 0, 0]));
    assert_eq!(plane.close("a"), 1);
    assert!(matches!(client.rest(), Err(Fault::Reset(_))));
    plane.wait_open("a", NOTHING);
    ping(&mut other, "not me");
    let line = &plane.access(1)[0];
    assert_eq!(line["reason"], "the server was taken out of service");
    assert_eq!(plane.attempts(line), [("a".to_owned(), "first", "taken_out")]);
}

#[test]
fn closing_a_server_reaches_a_request_that_it_takes_no_more_of() {
    // The server reads nothing: the upload stands still, and so does the engine.
    let addr = server(|stream| {
        std::thread::sleep(Duration::from_secs(20));
        drop(stream);
    });
    let plane = InProcess::start(Protocol::Http, &[("a", addr)], |_| {});
    let mut client = plane.client();
    client.send("POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: 100000000\r\n\r\n");
    flood(&mut client);
    assert_eq!(plane.open("a"), [0, 1, 0]);
    assert_eq!(plane.close("a"), 1);
    plane.wait_open("a", NOTHING);
    assert_eq!(plane.access(1)[0]["reason"], "the server was taken out of service");
}

#[test]
fn closing_a_server_reaches_an_answer_that_stands_still_both_ways() {
    let addr = server(|mut stream| {
        let _ = stream.read(&mut [0; 100]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n12345");
        std::thread::sleep(Duration::from_secs(20));
    });
    let plane = InProcess::start(Protocol::Http, &[("a", addr)], |_| {});
    let mut client = plane.client();
    client.send("POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: 100000000\r\n\r\n");
    assert_eq!(client.head().status, 200);
    flood(&mut client);
    assert_eq!(plane.close("a"), 1);
    plane.wait_open("a", NOTHING);
    let line = &plane.access(1)[0];
    assert_eq!(
        (line["reason"].as_str(), line["status"].as_u64()),
        (Some("the server was taken out of service"), Some(200))
    );
}

/// Sends until nobody takes any more.
fn flood(client: &mut Client) {
    let piece = vec![b'x'; 64 * 1024];
    client.set_write_patience(Duration::from_millis(300));
    for _ in 0..1000 {
        if client.try_send(&piece).is_err() {
            return;
        }
    }
    panic!("64 MB were taken");
}

#[test]
fn exactly_what_is_open_on_the_server_is_closed_and_counted() {
    let (_a, _b, mut plane) = two(Behaviour::DripBody(Duration::from_millis(20)), |_| {});
    let mut leftovers: Vec<_> = (0..12).map(|_| asking(&plane, "GET")).collect();
    for client in &mut leftovers {
        assert_eq!(client.head().status, 200);
    }
    plane.set("a", AdminStatus::Drain);
    let mut kept = plane.client();
    assert_eq!(kept.get("/").origin(), "b");
    // The client has its answer a moment before the worker is done with it.
    plane.wait_open("b", NOTHING);
    assert_eq!((plane.open("a"), plane.close("b")), ([0, 12, 0], 0), "an idle connection is nobody's work");
    assert_eq!(plane.close("a") + plane.close("a"), 12);
    for client in &mut leftovers {
        assert!(matches!(client.rest(), Err(Fault::Reset(_))));
    }
    plane.wait_open("a", NOTHING);
    assert_eq!(kept.get("/").origin(), "b");
}

/// Sockets are cut by their number, which the system gives out again at once: never somebody else's.
#[test]
fn cutting_one_server_under_load_touches_no_other() {
    let (a, b, mut plane) = two(Behaviour::Ok, |_| {});
    a.close_after(2);
    b.traffic(Behaviour::Upgrade);
    plane.set("a", AdminStatus::Maintenance);
    let mut tunnels: Vec<_> = (0..20).map(|_| upgraded(&plane)).collect();
    plane.set("a", AdminStatus::Active);
    let is_over = AtomicBool::new(false);
    let (served, closed) = std::thread::scope(|scope| {
        let ask = || {
            let mut served = 0;
            while !is_over.load(SeqCst) {
                let mut client = plane.client();
                // Whoever is cut within the answer sees a reset; nobody sees an answer that is wrong.
                while let Ok(answer) = client.try_request("GET", "/", &[], b"") {
                    assert_eq!(answer.status, 200);
                    served += 1;
                    if served % 10 == 0 {
                        break;
                    }
                }
            }
            served
        };
        let load: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        let mut closed = 0;
        let end = Instant::now() + Duration::from_secs(3);
        while Instant::now() < end {
            closed += plane.close("a");
            for tunnel in &mut tunnels {
                ping(tunnel, "still here");
            }
        }
        is_over.store(true, SeqCst);
        (load.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>(), closed)
    });
    assert!(served > 100 && closed > 10, "served {served}, closed {closed}");
    assert_eq!(plane.open("b")[2], 20);
}

#[test]
fn drain_moves_kept_connections_with_their_next_request_and_leaves_what_is_open() {
    let (a, b, mut plane) = two(Behaviour::Upgrade, |_| {});
    let mut kept: Vec<_> = (0..10).map(|_| plane.client()).collect();
    for client in &mut kept {
        assert_eq!(client.get("/").origin(), "a");
    }
    let mut tunnel = upgraded(&plane);
    a.traffic(Behaviour::DripBody(Duration::from_millis(5)));
    let mut download = asking(&plane, "GET");
    assert_eq!(download.head().status, 200);
    plane.set("a", AdminStatus::Drain);
    let before = a.requests().len();
    for client in &mut kept {
        for _ in 0..3 {
            assert_eq!(client.get("/").origin(), "b");
        }
    }
    assert_eq!((a.requests().len(), b.requests().len()), (before, 30));
    ping(&mut tunnel, "still here");
    assert_eq!(download.take(100).unwrap().len(), 100);
    plane.wait_open("a", [0, 1, 1]);
    drop((tunnel, download));
    plane.wait_open("a", NOTHING);
}

fn observing(farm: &mut Farm) {
    farm.observe = Some(Observe {
        errors: 3,
        connect: true,
        status: true,
        response: true,
        eject: Duration::from_secs(10),
        eject_max: Duration::from_secs(100),
        share_max: 50,
    });
}

#[test]
fn failures_in_a_row_are_told_once_for_each_threshold_that_they_reach() {
    let (a, _b, plane) = two(Behaviour::Status(503), observing);
    let mut client = plane.client();
    for _ in 0..2 {
        client.get("/");
    }
    a.traffic(Behaviour::Ok);
    client.get("/");
    a.traffic(Behaviour::Status(500));
    for _ in 0..7 {
        client.get("/");
    }
    plane.wait_traffic("a", (1, 9));
    assert_eq!(plane.told.all(), [(3, TrafficFault::Status), (6, TrafficFault::Status)]);
}

#[test]
fn refusals_of_what_was_asked_are_no_failures() {
    let (a, _b, plane) = two(Behaviour::Status(501), observing);
    let mut client = plane.client();
    for status in [501, 505, 404, 304] {
        a.traffic(Behaviour::Status(status));
        client.get("/");
    }
    plane.wait_traffic("a", (4, 0));
}

#[test]
fn answers_that_break_off_or_come_late_and_connections_refused_are_failures() {
    let (a, _b, plane) = two(Behaviour::Reset, |farm| {
        observing(farm);
        farm.timeouts.response = Duration::from_millis(300);
    });
    assert_eq!(plane.client().get("/").origin(), "b");
    plane.wait_traffic("a", (0, 1));
    a.traffic(Behaviour::ResetMidBody);
    assert!(plane.client().try_request("GET", "/", &[], b"").is_err());
    plane.wait_traffic("a", (0, 2));
    a.traffic(Behaviour::Silent);
    assert_eq!(plane.client().get("/").status, 504);
    plane.wait_traffic("a", (0, 3));
    assert_eq!(plane.told.all(), [(3, TrafficFault::Response)]);
    a.crash();
    assert_eq!(plane.client().get("/").origin(), "b");
    plane.wait_traffic("a", (0, 4));
    assert_eq!(plane.attempts(plane.access(4).last().unwrap())[0], ("a".to_owned(), "first", "not_connected"));
}

#[test]
fn client_that_leaves_is_no_failure_of_the_server() {
    let (a, _b, plane) = two(Behaviour::DripBody(Duration::from_millis(10)), observing);
    let mut client = asking(&plane, "GET");
    client.head();
    client.reset();
    plane.access(1);
    let mut uploading = plane.client();
    uploading.send("POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n123");
    plane.wait_open("a", [0, 1, 0]);
    uploading.reset();
    plane.wait_open("a", NOTHING);
    assert_eq!(plane.traffic("a"), (0, 0));
    a.traffic(Behaviour::Ok);
    assert_eq!(plane.client().get("/").status, 200);
    plane.wait_traffic("a", (1, 0));
}

#[test]
fn kinds_that_are_not_observed_count_for_nothing() {
    let (_socket, dead) = refused_port();
    let plane = InProcess::start(Protocol::Tcp, &[("a", dead)], |farm| {
        observing(farm);
        farm.observe.as_mut().unwrap().connect = false;
    });
    assert!(plane.client().rest().is_ok_and(|bytes| bytes.is_empty()));
    plane.access(1);
    assert_eq!(plane.traffic("a"), (0, 0));
    let plane = InProcess::start(Protocol::Tcp, &[("a", dead)], observing);
    for _ in 0..3 {
        assert!(plane.client().rest().is_ok_and(|bytes| bytes.is_empty()));
    }
    plane.wait_traffic("a", (0, 3));
    assert_eq!(plane.told.all(), [(3, TrafficFault::Connect)]);
}

#[test]
fn requests_that_were_refused_are_remembered_with_the_reason() {
    let (_a, _b, mut plane) = two(Behaviour::Ok, |_| {});
    let mut client = plane.client();
    client.send("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(client.response().status, 400);
    for server in ["a", "b"] {
        plane.set(server, AdminStatus::Maintenance);
    }
    let page = plane.client().get("/");
    let id = page.header("x-request-id").unwrap();
    let trace = until_within(Duration::from_secs(10), || plane.trace(id)).unwrap();
    assert_eq!((trace.status, trace.reason), (503, Some("no server can take the request now")));
    assert!(trace.attempts.is_empty() && trace.farm.is_some());
    let lines = plane.access(2);
    let refused = plane.trace(lines[0]["request_id"].as_str().unwrap()).unwrap();
    assert_eq!((refused.status, refused.farm), (400, None));
    assert_eq!(plane.trace("00000000-0-0"), None);
}
