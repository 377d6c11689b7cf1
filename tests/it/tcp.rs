//! Raw TCP: bytes both ways, ends that are passed on one by one, silence, and servers that refuse.

use std::time::{Duration, Instant};

use crate::harness::{Client, Farmgate, Server, Setup, TcpBehaviour, TcpOrigin, refused_port, until};

fn one(behaviour: TcpBehaviour) -> (TcpOrigin, Farmgate) {
    let origin = TcpOrigin::start("a", behaviour);
    let farmgate = Farmgate::start(&Setup::tcp(&[Server::new("a", origin.addr(), "")]));
    (origin, farmgate)
}

/// A connection on which the server has said its name.
#[track_caller]
fn greeted(farmgate: &Farmgate, name: &str) -> Client {
    let mut client = farmgate.client();
    let want = format!("{name}\n");
    assert_eq!(client.take(want.len()).unwrap(), want.as_bytes());
    client
}

#[test]
fn tcp_bytes_pass_both_ways() {
    let (origin, farmgate) = one(TcpBehaviour::Echo);
    let mut client = greeted(&farmgate, "a");
    for n in 0..20 {
        let text = format!("line {n}\n");
        client.send(&text);
        assert_eq!(client.take(text.len()).unwrap(), text.as_bytes());
    }
    client.finish_writes();
    assert_eq!(client.rest(), Ok(Vec::new()));
    assert_eq!(origin.spoken(), 1);
}

#[test]
fn tcp_client_that_ends_its_half_still_gets_the_answer() {
    let (_origin, farmgate) = one(TcpBehaviour::CountThenAnswer);
    let mut client = greeted(&farmgate, "a");
    client.send("0123456789");
    client.finish_writes();
    assert_eq!(client.rest().unwrap(), b"10");
}

#[test]
fn tcp_server_that_ends_first_ends_the_client() {
    let (_origin, farmgate) = one(TcpBehaviour::CloseFirst);
    let mut client = farmgate.client();
    assert_eq!(client.rest().unwrap(), b"a\n");
}

#[test]
fn tcp_silence_of_both_sides_ends_after_idle_and_talk_does_not() {
    let origin = TcpOrigin::start("a", TcpBehaviour::Echo);
    let setup = Setup::tcp(&[Server::new("a", origin.addr(), "")]).farm("timeouts: {idle: 800ms}");
    let farmgate = Farmgate::start(&setup);
    let mut client = greeted(&farmgate, "a");
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1400) {
        client.send("x");
        assert_eq!(client.take(1).unwrap(), b"x");
        assert!(!client.is_closed_within(Duration::from_millis(150)), "closed although it talks");
    }
    let silent_since = Instant::now();
    assert!(client.is_closed_within(Duration::from_secs(5)), "still open");
    assert!(silent_since.elapsed() > Duration::from_millis(300), "closed after {:?}", silent_since.elapsed());
}

#[test]
fn tcp_refused_connection_is_tried_on_the_other_server() {
    let (_held, refused) = refused_port();
    let origin = TcpOrigin::start("b", TcpBehaviour::Echo);
    let servers = [Server::new("a", refused, "probe: false"), Server::new("b", origin.addr(), "")];
    let farmgate = Farmgate::start(&Setup::tcp(&servers));
    for _ in 0..6 {
        let mut client = greeted(&farmgate, "b");
        client.send("hi");
        assert_eq!(client.take(2).unwrap(), b"hi");
    }
}

#[test]
fn tcp_without_any_server_closes_at_once() {
    let (_held, refused) = refused_port();
    let farmgate = Farmgate::start(&Setup::tcp(&[Server::new("a", refused, "")]));
    farmgate.wait_for_state("a", "DOWN");
    assert!(farmgate.client().is_closed_within(Duration::from_secs(3)));
}

#[test]
fn tcp_20_megabytes_pass_both_ways_intact() {
    let (_origin, farmgate) = one(TcpBehaviour::Echo);
    let mut client = greeted(&farmgate, "a");
    let block: Vec<u8> = (0..64 * 1024_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    // A window of blocks is kept under way, so that neither side waits for the other's buffers.
    let (blocks, window) = (320, 4);
    for n in 0..blocks + window {
        if n < blocks {
            client.send(&block);
        }
        if n >= window {
            assert!(client.take(block.len()).unwrap() == block, "block {} differs", n - window);
        }
    }
    client.finish_writes();
    assert_eq!(client.rest(), Ok(Vec::new()));
}

#[test]
fn tcp_server_in_maintenance_gets_no_new_connection_and_keeps_the_open_one() {
    let (a, b) = (TcpOrigin::start("a", TcpBehaviour::Echo), TcpOrigin::start("b", TcpBehaviour::Echo));
    let servers = [Server::new("a", a.addr(), ""), Server::new("b", b.addr(), "")];
    let farmgate = Farmgate::start(&Setup::tcp(&servers).farm("balance: first"));
    let mut open = greeted(&farmgate, "a");
    farmgate.operate("POST", "/api/v1/farms/web/servers/a/drain", "");
    for _ in 0..3 {
        greeted(&farmgate, "b");
    }
    open.send("still");
    assert_eq!(open.take(5).unwrap(), b"still");
}

#[test]
fn tcp_connection_outlives_reloads_and_the_loss_of_its_server() {
    let (a, b) = (TcpOrigin::start("a", TcpBehaviour::Echo), TcpOrigin::start("b", TcpBehaviour::Echo));
    let setup = Setup::tcp(&[Server::new("a", a.addr(), "")]);
    let farmgate = Farmgate::start(&setup);
    let mut client = greeted(&farmgate, "a");
    assert_eq!(farmgate.reload(&setup.servers(&[Server::new("b", b.addr(), "")]).yaml()).status, 200);
    client.send("still");
    assert_eq!(client.take(5).unwrap(), b"still");
    until("b to take new connections", || {
        let mut other = farmgate.client();
        (other.take(2).ok()? == b"b\n").then_some(())
    });
}

#[test]
fn tcp_connections_and_bytes_are_counted() {
    let (_origin, farmgate) = one(TcpBehaviour::Echo);
    let mut client = greeted(&farmgate, "a");
    client.send("0123456789");
    client.take(10).unwrap();
    until("the connection to show", || (farmgate.server("a")["in_flight"] == 1).then_some(()));
    client.finish_writes();
    client.rest().unwrap();
    until("the connection to end", || (farmgate.server("a")["in_flight"] == 0).then_some(()));
    let total = |name: &str| farmgate.metric(name, &["frontend=\"web\"", "server=\"a\""]);
    assert_eq!(total("farmgate_received_bytes_total"), Some(10.0));
    assert_eq!(total("farmgate_sent_bytes_total"), Some(12.0));
    assert_eq!(total("farmgate_requests_total"), Some(1.0));
}
