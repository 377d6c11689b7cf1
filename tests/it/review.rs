//! What goes wrong at the seams: ends of connections, deadlines of clients that say nothing more, pages of the engine.

use std::time::{Duration, Instant};

use crate::harness::{Behaviour, Client, Farmgate, Fault, Origin, Server, Setup, until};

fn one(behaviour: Behaviour) -> (Origin, Farmgate) {
    one_with(behaviour, |setup| setup)
}

fn one_with(behaviour: Behaviour, more: impl FnOnce(Setup) -> Setup) -> (Origin, Farmgate) {
    let origin = Origin::doing("a", behaviour);
    let farmgate = Farmgate::start(&more(Setup::http(&[Server::new("a", origin.addr(), "")]).top("workers: 1")));
    (origin, farmgate)
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
    let (_origin, mut farmgate) = one_with(Behaviour::Ok, |setup| setup.top("grace: 10s"));
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
