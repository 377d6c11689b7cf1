//! UDP: a client's datagrams go to one server and its replies come back, until silence, a drain or a refusal.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use farmgate::metrics::Refusal;
use farmgate::model::{AdminStatus, Balance, Farm, Frontend, Protocol, Sources};

use crate::harness::{Behaviour, Farmgate, InProcess, Origin, PATIENCE, Server, Setup, place, until};

/// Answers every datagram with its name, a colon and what it got; stops when dropped.
pub(crate) struct Echo {
    pub(crate) addr: SocketAddr,
    got: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
}

impl Echo {
    pub(crate) fn start(name: &'static str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let echo = Self { addr: socket.local_addr().unwrap(), got: Arc::default(), is_over: Arc::default() };
        let (got, is_over) = (Arc::clone(&echo.got), Arc::clone(&echo.is_over));
        std::thread::spawn(move || {
            let mut buf = vec![0; 65536];
            while !is_over.load(SeqCst) {
                let Ok((n, from)) = socket.recv_from(&mut buf) else { continue };
                got.fetch_add(1, SeqCst);
                let answer = [name.as_bytes(), b":", &buf[..n]].concat();
                let _ = socket.send_to(&answer, from);
            }
        });
        echo
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.is_over.store(true, SeqCst);
    }
}

pub(crate) fn client() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

#[track_caller]
pub(crate) fn ask(client: &UdpSocket, front: SocketAddr, what: &[u8]) -> String {
    client.send_to(what, front).unwrap();
    let mut buf = vec![0; 65536];
    let (n, from) = client.recv_from(&mut buf).unwrap();
    assert_eq!(from, front, "the reply comes from where was asked");
    String::from_utf8_lossy(&buf[..n]).into_owned()
}

fn plane(servers: &[(&'static str, SocketAddr)], adjust: impl FnOnce(&mut Farm, &mut Frontend)) -> InProcess {
    InProcess::start_with(Protocol::Udp, servers, adjust)
}

#[test]
fn client_stays_with_its_server_and_clients_are_spread() {
    let (a, b) = (Echo::start("a"), Echo::start("b"));
    let plane = plane(&[("a", a.addr), ("b", b.addr)], |_, _| {});
    let mut served = Vec::new();
    for _ in 0..8 {
        let client = client();
        let first = ask(&client, plane.front(), b"0");
        for n in 1..5 {
            let answer = ask(&client, plane.front(), n.to_string().as_bytes());
            assert_eq!(answer[..1], first[..1]);
        }
        served.push(first);
    }
    for name in ["a:0", "b:0"] {
        assert!(served.iter().filter(|answer| *answer == name).count() >= 2, "{served:?}");
    }
    assert_eq!(plane.open("a")[0] + plane.open("b")[0], 8);
}

#[test]
fn datagrams_of_any_size_pass_whole() {
    let a = Echo::start("a");
    let plane = plane(&[("a", a.addr)], |_, _| {});
    let client = client();
    for size in [0, 1, 512, 1472, 9000, 60_000] {
        assert_eq!(ask(&client, plane.front(), &vec![b'x'; size]).len(), size + 2);
    }
}

#[test]
fn session_ends_after_silence_and_is_logged() {
    let a = Echo::start("a");
    let plane = plane(&[("a", a.addr)], |farm, _| farm.timeouts.idle = Duration::from_millis(300));
    let client = client();
    for _ in 0..5 {
        ask(&client, plane.front(), b"12345");
    }
    plane.wait_open("a", [0, 0, 0]);
    let lines = plane.access(1);
    let line = &lines[0];
    assert_eq!((&line["method"], &line["server"]), (&"UDP".into(), &"a".into()), "{line}");
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&25.into(), &35.into()), "{line}");
    assert_eq!(line["client"], client.local_addr().unwrap().to_string());
    assert_eq!(plane.attempts(line).len(), 1);
    ask(&client, plane.front(), b"again");
    assert_eq!(plane.open("a"), [1, 0, 0]);
}

#[test]
fn server_that_refuses_is_left_for_another_one() {
    let b = Echo::start("b");
    let plane = plane(&[("a", place()), ("b", b.addr)], |farm, _| farm.balance = Balance::First);
    let client = client();
    client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let answer = until("an answer of b", || {
        client.send_to(b"hello", plane.front()).unwrap();
        let mut buf = [0; 100];
        client.recv(&mut buf).ok().map(|n| buf[..n].to_vec())
    });
    assert_eq!(answer, b"b:hello");
    assert_eq!(plane.open("a"), [0, 0, 0]);
    plane.wait_traffic("a", (0, 1));
    plane.wait_traffic("b", (1, 0));
}

#[test]
fn drain_keeps_sessions_and_sends_new_clients_elsewhere() {
    let (a, b) = (Echo::start("a"), Echo::start("b"));
    let mut plane = plane(&[("a", a.addr), ("b", b.addr)], |farm, _| farm.balance = Balance::First);
    let known = client();
    assert_eq!(ask(&known, plane.front(), b"1"), "a:1");
    plane.set("a", AdminStatus::Drain);
    assert_eq!(ask(&client(), plane.front(), b"2"), "b:2");
    assert_eq!(ask(&known, plane.front(), b"3"), "a:3");
    assert_eq!(plane.close("a"), 1);
    known.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    // What is sent while the session is being cut is lost, as datagrams are.
    until("an answer of b", || {
        known.send_to(b"4", plane.front()).unwrap();
        let mut buf = [0; 100];
        let n = known.recv(&mut buf).ok()?;
        (&buf[..n] == b"b:4").then_some(())
    });
    assert_eq!(plane.open("a"), [0, 0, 0]);
}

#[test]
fn clients_known_at_once_are_bounded() {
    let a = Echo::start("a");
    let plane = plane(&[("a", a.addr)], |_, frontend| frontend.limits.connections = 4);
    let known: Vec<_> = (0..4).map(|_| client()).collect();
    // Who sent one datagram only would give way.
    for client in known.iter().chain(&known) {
        ask(client, plane.front(), b"x");
    }
    let before = a.got.load(SeqCst);
    client().send_to(b"refused", plane.front()).unwrap();
    for client in &known {
        ask(client, plane.front(), b"y");
    }
    assert_eq!(a.got.load(SeqCst), before + 4);
    assert_eq!(plane.open("a"), [4, 0, 0]);
}

/// Addresses that are made up send one datagram each: they shut nobody out.
#[test]
fn who_sent_one_datagram_gives_way_to_who_comes_and_who_talks_stays() {
    let a = Echo::start("a");
    let plane = plane(&[("a", a.addr)], |_, frontend| frontend.limits.connections = 4);
    let talking = client();
    ask(&talking, plane.front(), b"1");
    ask(&talking, plane.front(), b"2");
    let made_up: Vec<_> = (0..100).map(|_| client()).collect();
    for one in &made_up {
        one.send_to(b"made up", plane.front()).unwrap();
    }
    until("everybody was let in", || (a.got.load(SeqCst) == 102).then_some(()));
    assert_eq!(ask(&talking, plane.front(), b"3"), "a:3");
    assert_eq!(ask(&client(), plane.front(), b"new"), "a:new");
    plane.wait_open("a", [4, 0, 0]);
    let why = "there was no room for all, and one datagram was all that its client sent";
    let lines = plane.access(98);
    assert!(lines.iter().all(|line| line["reason"] == why), "{lines:?}");
    assert!(lines.iter().all(|line| line["client"] != talking.local_addr().unwrap().to_string()));
    assert_eq!(plane.refused(Refusal::ConnectionLimit), 0);
}

/// A server that is gone without a word (no ICMP), whose client goes on sending.
#[test]
fn server_that_is_down_and_silent_loses_its_clients_and_one_that_answers_does_not() {
    let (a, b) = (Echo::start("a"), Echo::start("b"));
    let (is_up, b_is_up) = (Origin::start("a"), Origin::start("b"));
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    for (first, keeps) in [(silent.local_addr().unwrap(), false), (a.addr, true)] {
        is_up.health(Behaviour::Ok);
        let probe = |origin: &Origin| format!("probe: {{port: {}}}", origin.addr().port());
        let servers = [("a", first, probe(&is_up)), ("b", b.addr, probe(&b_is_up))]
            .map(|(name, addr, probe)| format!("{name}: {{address: \"{addr}\", {probe}}}"));
        let setup = Setup::http(&[Server::new("x", is_up.addr(), "")])
            .another_frontend("dns: {protocol: udp, listen: [\"127.0.0.1:0\"], farm: dns}")
            .another_farm(&format!(
                "dns: {{protocol: udp, balance: first, servers: {{{}}}, probe: {{type: http, url: /healthz, \
                 interval: 200ms, timeout: 200ms, rise: 1, fall: 1}}}}",
                servers.join(", ")
            ));
        let farmgate = Farmgate::start(&setup);
        let state = |want: &str| {
            until(want, || {
                let (_, server) = farmgate.admin_get("/api/v1/farms/dns/servers/a");
                (server["state"] == want).then_some(())
            });
        };
        state("UP");
        let (client, front) = (client(), farmgate.front("dns"));
        client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let answer = |what: &[u8]| {
            client.send_to(what, front).unwrap();
            let mut buf = [0; 100];
            client.recv(&mut buf).ok().map(|n| String::from_utf8_lossy(&buf[..n]).into_owned())
        };
        assert_eq!(answer(b"1").is_some(), keeps);
        is_up.health(Behaviour::Status(503));
        state("DOWN");
        if keeps {
            for _ in 0..20 {
                assert_eq!(answer(b"2").as_deref(), Some("a:2"));
            }
        } else {
            assert_eq!(until("an answer of b", || answer(b"2")), "b:2");
        }
    }
}

#[test]
fn networks_that_may_not_connect_are_not_answered() {
    let a = Echo::start("a");
    let plane = plane(&[("a", a.addr)], |_, frontend| {
        frontend.sources = Sources::AllBut(["127.0.0.9/32".parse().unwrap()].into());
    });
    let denied = UdpSocket::bind("127.0.0.9:0").unwrap();
    denied.send_to(b"refused", plane.front()).unwrap();
    assert_eq!(ask(&client(), plane.front(), b"x"), "a:x");
    assert_eq!(a.got.load(SeqCst), 1);
}

#[test]
fn plane_with_open_sessions_stops_in_time() {
    let a = Echo::start("a");
    let plane = plane(&[("a", a.addr)], |_, _| {});
    ask(&client(), plane.front(), b"x");
    drop(plane);
}
