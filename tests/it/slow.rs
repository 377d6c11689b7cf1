//! Clients that are slow, and servers that are: each is cut for its own slowness, and for nobody else's.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use farmgate::metrics::Refusal;
use farmgate::model::{Balance, Farm, Frontend, Protocol};

use crate::harness::h2::{
    END_HEADERS, END_STREAM, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, head, send_piece,
};
use crate::harness::{Behaviour, Frames, H2, InProcess, Origin, PATIENCE};

/// Above what any client of these tests takes.
const RATE_MIN: u32 = 500 << 20;
/// Events that a server sends now and then.
const EVENTS: usize = 20;

/// Starts a server that takes one connection; returns where.
fn server(serve: impl FnOnce(BufReader<TcpStream>) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).unwrap();
        }
        serve(stream);
    });
    addr
}

/// A server that sends `piece` over and over, until nobody takes it.
fn endless(head: &'static str, piece: Vec<u8>) -> SocketAddr {
    server(move |mut stream| {
        let to = stream.get_mut();
        to.write_all(head.as_bytes()).unwrap();
        while to.write_all(&piece).is_ok() {}
    })
}

fn plane(addr: SocketAddr, adjust: impl FnOnce(&mut Farm, &mut Frontend)) -> InProcess {
    InProcess::start_with(Protocol::Http, &[("a", addr)], |farm, frontend| {
        frontend.h2c = true;
        farm.balance = Balance::First;
        adjust(farm, frontend);
    })
}

/// A plane whose clients must take all that waits for them in no time.
fn hurried(addr: SocketAddr) -> InProcess {
    plane(addr, |_, frontend| {
        frontend.timeouts.write = Duration::from_secs(1);
        frontend.limits.body_rate_min = RATE_MIN;
    })
}

/// Takes some, pauses, and so on, until the connection ends or patience does.
fn read_slowly(mut client: TcpStream) {
    let end = Instant::now() + PATIENCE;
    let mut some = vec![0; 256 * 1024];
    client.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    while Instant::now() < end && !matches!(client.read(&mut some), Ok(0)) {
        std::thread::sleep(Duration::from_millis(60));
        if client.take_error().unwrap().is_some() {
            return;
        }
    }
}

#[track_caller]
fn is_cut_while_reading_slowly(plane: &InProcess, asked: &[u8]) {
    let mut client = TcpStream::connect(plane.front()).unwrap();
    client.write_all(asked).unwrap();
    let reading = std::thread::spawn(move || read_slowly(client));
    plane.wait_refused(Refusal::AnswerTimeout);
    plane.wait_open("a", [0, 0, 0]);
    assert_eq!(plane.refused(Refusal::AnswerTimeout), 1);
    drop(reading);
}

#[test]
fn client_of_http_1_that_takes_less_than_it_must_is_cut() {
    let plane = hurried(endless("HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\n", vec![7; 64 * 1024]));
    is_cut_while_reading_slowly(&plane, b"GET / HTTP/1.1\r\nHost: test.example\r\n\r\n");
    assert_eq!(plane.access(1)[0]["reason"], "the client took its answer too slowly");
}

#[test]
fn client_of_http_2_that_takes_less_off_its_connection_than_it_must_is_cut() {
    let plane = hurried(endless("HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\n", vec![7; 64 * 1024]));
    let wide = 0x7fff_ffff_u32.to_be_bytes();
    let settings = [&[0, 4][..], &wide].concat();
    let asked = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(SETTINGS, 0, 0, &settings),
        frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes()),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &head("GET", &[])),
    ];
    is_cut_while_reading_slowly(&plane, &asked.concat());
}

/// Each piece of the answer is small, and taken before the write deadline.
#[test]
fn client_of_http_2_that_opens_its_window_by_little_is_cut() {
    let chunk = [b"64\r\n", &[7; 100][..], b"\r\n"].concat();
    let plane = hurried(endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk));
    let mut client = Frames::connect(plane.front());
    client.get(1).unwrap();
    let end = Instant::now() + PATIENCE;
    while plane.refused(Refusal::AnswerTimeout) == 0 && Instant::now() < end {
        for stream in [0, 1] {
            client.send(WINDOW_UPDATE, 0, stream, &100u32.to_be_bytes()).unwrap();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(client.next_of(RST_STREAM).expect("a reset").stream, 1);
    plane.wait_open("a", [0, 0, 0]);
    assert_eq!(plane.refused(Refusal::AnswerTimeout), 1);
}

#[test]
fn server_that_sends_slowly_is_not_taken_for_a_slow_client() {
    let events = || {
        server(|mut stream| {
            let to = stream.get_mut();
            to.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
            for _ in 0..EVENTS {
                to.write_all(b"6\r\nevent\n\r\n").unwrap();
                std::thread::sleep(Duration::from_millis(150));
            }
            to.write_all(b"0\r\n\r\n").unwrap();
        })
    };
    let hurried = |addr| {
        plane(addr, |_, frontend| {
            frontend.timeouts.write = Duration::from_millis(300);
            frontend.limits.body_rate_min = RATE_MIN;
        })
    };
    let plane = hurried(events());
    assert_eq!(plane.client().get("/").text().len(), 6 * EVENTS);
    assert_eq!(plane.refused(Refusal::AnswerTimeout), 0);
    let plane = hurried(events());
    assert_eq!(H2::connect(plane.front()).get("/").text().len(), 6 * EVENTS);
    assert_eq!(plane.refused(Refusal::AnswerTimeout), 0);
}

#[test]
fn server_that_reads_late_is_not_taken_for_a_client_that_sends_late() {
    let addr = server(|mut stream| {
        std::thread::sleep(Duration::from_secs(3));
        let mut tail = Vec::new();
        let mut some = vec![0; 256 * 1024];
        while !tail.ends_with(b"0\r\n\r\n") {
            let n = stream.read(&mut some).unwrap();
            assert!(n > 0, "the body broke off");
            tail.extend_from_slice(&some[..n]);
            tail.drain(..tail.len().saturating_sub(5));
        }
        stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let plane = plane(addr, |_, frontend| frontend.timeouts.body = Duration::from_secs(1));
    // More than the sockets' buffers swallow.
    let body = vec![7; 20 << 20];
    let answer = H2::connect(plane.front()).request(H2::head("POST", "/"), &[&body]).unwrap();
    assert_eq!((answer.status, plane.refused(Refusal::BodyTimeout)), (200, 0));
}

#[test]
fn body_that_is_sent_again_is_counted_anew() {
    let (first, second) = (Origin::doing("a", Behaviour::Reset), Origin::doing("b", Behaviour::EchoBody));
    let servers = [("a", first.addr()), ("b", second.addr())];
    let plane = InProcess::start_with(Protocol::Http, &servers, |farm, frontend| {
        frontend.h2c = true;
        farm.balance = Balance::First;
        frontend.limits.body_bytes = 64 * 1024;
    });
    let body = vec![7; 40 * 1024];
    let answer = H2::connect(plane.front()).request(H2::head("PUT", "/"), &[&body]).unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, body.len()));
    assert_eq!(first.requests().len(), 1);
}

#[test]
fn call_of_grpc_over_http_1_has_the_deadlines_of_any_request() {
    let origin =
        Origin::doing("a", Behaviour::Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n".to_vec()));
    let plane = plane(origin.addr(), |farm, _| farm.timeouts.response = Duration::from_millis(500));
    let mut client = plane.client();
    client.send("GET / HTTP/1.1\r\nHost: test.example\r\nContent-Type: application/grpc\r\n\r\n");
    assert_eq!(client.head().status, 200);
    plane.wait_open("a", [0, 0, 0]);
    assert!(client.is_closed_within(PATIENCE));
}

#[test]
fn late_body_through_a_shared_connection_is_counted_and_told() {
    let origin = Origin::doing("a", Behaviour::Silent);
    let inner = plane(origin.addr(), |_, _| {});
    let outer = plane(inner.front(), |farm, frontend| {
        farm.http2 = true;
        frontend.timeouts.body = Duration::from_millis(500);
    });
    H2::connect(outer.front()).run(|send| async {
        let mut send = send.ready().await.unwrap();
        let (answer, mut body) = send.send_request(H2::head("POST", "/late"), false).unwrap();
        send_piece(&mut body, "some".into(), false).await.unwrap();
        assert_eq!(answer.await.unwrap().status(), 408);
    });
    outer.wait_refused(Refusal::BodyTimeout);
    let line = &outer.access(1)[0];
    assert_eq!((&line["method"], &line["target"]), (&"POST".into(), &"/late".into()), "{line}");
    assert_eq!(line["reason"], "the request body stalled");
}
