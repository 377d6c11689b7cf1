//! HTTP/2 to servers: what is tried again and what is not, whose deadline ends what, and how many connections there are.

use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use farmgate::model::{AdminStatus, Balance, Farm, Protocol};

use crate::harness::h2::send_piece;
use crate::harness::{Asked, Client, H2, H2Origin, InProcess, Says, until};

const REFUSED_STREAM: u32 = 0x7;
const CANCEL: u32 = 0x8;
const INTERNAL_ERROR: u32 = 0x2;

fn plane(origins: &[&H2Origin], adjust: impl FnOnce(&mut Farm)) -> InProcess {
    let names = ["a", "b", "c"];
    let servers: Vec<_> = names.into_iter().zip(origins.iter().map(|origin| origin.addr())).collect();
    InProcess::start_with(Protocol::Http, &servers, |farm, frontend| {
        frontend.h2c = true;
        farm.http2 = true;
        farm.balance = Balance::First;
        adjust(farm);
    })
}

/// What becomes of a POST when server `a` says that to it and `b` would answer: the status, whose answer it is, and how
/// many heads each saw.
fn posted(script: impl Fn(Asked) -> Vec<Says> + Send + Sync + 'static) -> (u16, String, [usize; 2]) {
    let (a, b) = (H2Origin::start("a", script), H2Origin::answering("b"));
    let plane = plane(&[&a, &b], |_| {});
    let response = plane.client().request("POST", "/order", &[], b"one book");
    let text = if response.status == 200 { response.text() } else { String::new() };
    (response.status, text, [a.asked().len(), b.asked().len()])
}

#[test]
fn post_beyond_the_last_stream_of_a_goodbye_goes_to_another_server() {
    for code in [0, INTERNAL_ERROR] {
        let told = posted(move |_| vec![Says::GoAway(0, code), Says::Leave]);
        assert_eq!(told, (200, "b".to_owned(), [1, 1]), "{code}");
    }
}

#[test]
fn post_that_its_server_refused_goes_to_another_one() {
    assert_eq!(posted(|_| vec![Says::Reset(REFUSED_STREAM)]), (200, "b".to_owned(), [1, 1]));
}

#[test]
fn post_that_may_have_been_served_is_never_sent_again() {
    for says in [
        vec![Says::Reset(INTERNAL_ERROR)],
        vec![Says::Reset(CANCEL)],
        vec![Says::GoAway(1, 0), Says::Leave],
        vec![Says::GoAway(1, INTERNAL_ERROR), Says::Leave],
        vec![Says::Leave],
        vec![Says::Head, Says::Reset(REFUSED_STREAM)],
    ] {
        let shown = format!("{says:?}");
        let (a, b) = (H2Origin::start("a", move |_| says.clone()), H2Origin::answering("b"));
        let plane = plane(&[&a, &b], |_| {});
        match plane.client().try_request("POST", "/order", &[], b"one book") {
            Ok(response) => assert_eq!(response.status, 502, "{shown}"),
            Err(_) => assert!(shown.contains("Head"), "{shown}: broken off without an answer"),
        }
        assert_eq!((a.asked().len(), b.asked().len()), (1, 0), "{shown}");
    }
}

#[test]
fn get_that_may_have_been_served_is_sent_again() {
    for says in [Says::Reset(INTERNAL_ERROR), Says::Leave] {
        let (a, b) = (H2Origin::start("a", move |_| vec![says]), H2Origin::answering("b"));
        let plane = plane(&[&a, &b], |_| {});
        assert_eq!(plane.client().get("/").text(), "b", "{says:?}");
    }
}

#[test]
fn only_server_that_refuses_a_request_is_asked_again_and_not_for_ever() {
    let origin = H2Origin::start("a", |asked| match asked.number {
        2 => vec![Says::Reset(REFUSED_STREAM)],
        n if n > 3 => vec![Says::Reset(REFUSED_STREAM)],
        _ => vec![Says::Answer],
    });
    let plane = plane(&[&origin], |farm| farm.retry_attempts = 2);
    let client = H2::connect(plane.front());
    let post = || client.request(H2::head("POST", "/"), &[b"one book"]).unwrap();
    assert_eq!(client.get("/").status, 200);
    assert_eq!(post().text(), "a");
    assert_eq!(post().status, 502);
    assert_eq!(origin.asked().len(), 3 + 3, "the first attempt, and two more");
    assert_eq!(origin.connections(), 1);
}

/// The connection goes on, and is not asked for ever.
#[test]
fn get_that_is_reset_on_a_kept_connection_is_tried_as_often_as_it_may_be() {
    let says = |asked: Asked| if asked.number == 1 { vec![Says::Answer] } else { vec![Says::Reset(INTERNAL_ERROR)] };
    let origins = ["a", "b"].map(|name| H2Origin::start(name, says));
    let plane = plane(&[&origins[0], &origins[1]], |farm| farm.balance = Balance::RoundRobin);
    let client = H2::connect(plane.front());
    (0..2).for_each(|_| assert_eq!(client.get("/warm").status, 200));
    assert_eq!(client.get("/page").status, 502);
    assert_eq!(origins.iter().map(|origin| origin.asked().len()).collect::<Vec<_>>(), [2, 2]);
}

/// The server closes each connection behind its answer: the next request finds it closed, or closing.
#[test]
fn post_on_a_kept_connection_that_was_closed_is_served_on_another() {
    for says in [vec![Says::AnswerAndLeave], vec![Says::GoAway(1, 0), Says::AnswerAndLeave]] {
        let origin = H2Origin::start("a", move |_| says.clone());
        let plane = plane(&[&origin], |_| {});
        let mut client = plane.client();
        for n in 0..30 {
            let response = client.request("POST", "/", &[], b"one book");
            if response.status == 502 {
                // Its bytes may have arrived: they were written before the end was.
                assert_eq!(origin.asked().len(), n + 1);
                continue;
            }
            assert_eq!(response.status, 200, "{n}: {}", response.text());
            until("the connection to be closed", || (origin.open() == 0).then_some(()));
        }
        assert_eq!(origin.asked().len(), 30, "none was sent twice");
        assert_eq!(plane.access(30).iter().filter(|line| line["status"] != 200).count(), 0);
    }
}

#[test]
fn body_that_is_sent_again_arrives_whole_and_counts_once() {
    let refuses = H2Origin::start("a", |_| vec![Says::Reset(REFUSED_STREAM)]);
    let b = H2Origin::answering("b");
    let servers = [("a", refuses.addr()), ("b", b.addr())];
    let plane = InProcess::start_with(Protocol::Http, &servers, |farm, frontend| {
        frontend.h2c = true;
        farm.http2 = true;
        farm.balance = Balance::First;
        frontend.limits.body_bytes = 50_000;
    });
    let client = H2::connect(plane.front());
    let answer = client.request(H2::head("POST", "/"), &[&[b'x'; 40_000]]).unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "b"));
}

/// A right server (the `h2` crate's): answers by path.
fn right_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                stream.set_nonblocking(true).unwrap();
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let stream = tokio::net::TcpStream::from_std(stream).unwrap();
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(served(request, respond));
                    }
                });
            });
        }
    });
    addr
}

async fn served(request: http::Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    let path = request.uri().path().to_owned();
    let answer = |status: u16| http::Response::builder().status(status);
    match path.as_str() {
        "/empty" => drop(respond.send_response(answer(200).body(()).unwrap(), true)),
        "/none" => drop(respond.send_response(answer(204).body(()).unwrap(), true)),
        "/early" => {
            let mut body = respond.send_response(answer(413).body(()).unwrap(), false).unwrap();
            body.send_data("too large".into(), true).unwrap();
        }
        "/long" if request.method() == "HEAD" => {
            drop(respond.send_response(answer(200).header("content-length", "9").body(()).unwrap(), true));
        }
        "/lies" => drop(respond.send_response(answer(200).header("content-length", "9").body(()).unwrap(), true)),
        _ => {
            let mut asked = request.into_body();
            let mut all = Vec::new();
            while let Some(Ok(piece)) = asked.data().await {
                let _ = asked.flow_control().release_capacity(piece.len());
                all.extend_from_slice(&piece);
            }
            let mut body = respond.send_response(answer(200).body(()).unwrap(), false).unwrap();
            if send_piece(&mut body, all.into(), false).await.is_err() {
                return;
            }
            let mut trailers = http::HeaderMap::new();
            trailers.insert("x-trailer", "last".parse().unwrap());
            let _ = body.send_trailers(trailers);
        }
    }
}

fn before_a_right_server() -> InProcess {
    let addr = right_server();
    InProcess::start_with(Protocol::Http, &[("a", addr)], |farm, frontend| {
        frontend.h2c = true;
        farm.http2 = true;
    })
}

#[test]
fn answers_of_every_kind_keep_the_connection_of_a_client_in_step() {
    let plane = before_a_right_server();
    let mut client = plane.client();
    for round in 0..3 {
        assert_eq!(client.request("GET", "/empty", &[], b"").text(), "", "{round}");
        assert_eq!(client.request("GET", "/none", &[], b"").status, 204);
        let head = client.request("HEAD", "/long", &[], b"");
        assert_eq!((head.status, head.header("content-length")), (200, Some("9")));
        assert_eq!(client.request("POST", "/echo", &[], b"one book").text(), "one book");
        assert_eq!(client.request("GET", "/echo", &[("Connection", "x-a"), ("X-A", "1")], b"").status, 200);
    }
    assert_eq!(plane.client().get("/lies").status, 502);
    assert_eq!(plane.client().request("GET", "/", &[("Connection", "host")], b"").status, 400);
    let mut old = plane.client();
    old.send("POST /echo HTTP/1.0\r\nHost: t\r\nContent-Length: 3\r\n\r\nold");
    let said = String::from_utf8(old.rest().unwrap()).unwrap();
    assert!(said.ends_with("\r\n\r\nold") && !said.to_lowercase().contains("chunked"), "{said}");
}

#[test]
fn body_beyond_every_window_passes_both_ways() {
    let plane = before_a_right_server();
    let body: Vec<u8> = (0..3_000_000u32).map(|n| n.to_le_bytes()[1]).collect();
    let client = H2::connect(plane.front());
    let answer = client.request(H2::head("POST", "/echo"), &[&body[..1_000_000], &body[1_000_000..], b""]).unwrap();
    assert!(answer.status == 200 && answer.body == body, "{} {}", answer.status, answer.body.len());
    assert!(plane.client().request("POST", "/echo", &[], &body).body == body);
}

#[test]
fn answer_before_the_end_of_a_request_reaches_its_client() {
    let plane = before_a_right_server();
    let mut client = plane.client();
    let long = vec![b'x'; 500_000];
    let early = client.request("POST", "/early", &[], &long);
    assert_eq!((early.status, early.text().as_str()), (413, "too large"));
    let client = H2::connect(plane.front());
    let status = client.run(|send| async move {
        let mut send = send.ready().await.unwrap();
        let (answer, _body) = send.send_request(H2::head("POST", "/early"), false).unwrap();
        answer.await.unwrap().status()
    });
    assert_eq!(status, 413);
    assert_eq!(client.get("/empty").status, 200);
}

fn silent_to_the_first(farm: &mut Farm) {
    farm.timeouts.connect = Duration::from_millis(200);
    farm.timeouts.response = Duration::from_millis(300);
}

#[test]
fn late_answer_is_504_and_costs_its_stream_only() {
    let origin = H2Origin::start("a", |asked| if asked.number == 1 { vec![] } else { vec![Says::Answer] });
    let plane = plane(&[&origin], silent_to_the_first);
    let client = H2::connect(plane.front());
    let answer = client.get("/late");
    assert_eq!(answer.status, 504);
    assert!(answer.text().contains("the server did not answer in time"), "{}", answer.text());
    until("its stream to be reset", || (origin.resets() == [(1, CANCEL)]).then_some(()));
    assert_eq!(client.get("/next").text(), "a");
    assert_eq!(origin.asked().iter().map(|asked| asked.connection).max(), Some(1), "the connection goes on");
}

#[test]
fn late_answer_to_a_client_of_http_1_is_504_and_costs_its_stream_only() {
    let origin = H2Origin::start("a", |asked| if asked.number == 1 { vec![] } else { vec![Says::Answer] });
    let plane = plane(&[&origin], silent_to_the_first);
    assert_eq!(plane.client().request("POST", "/late", &[], b"one book").status, 504);
    until("its stream to be reset", || (origin.resets() == [(1, CANCEL)]).then_some(()));
    // Of another worker, perhaps, which has connections of its own.
    assert_eq!(plane.client().get("/next").text(), "a");
    assert_eq!(origin.open(), origin.connections(), "the connection goes on");
}

#[test]
fn answer_that_pauses_for_too_long_is_cut_and_others_go_on() {
    let origin = H2Origin::start("a", |asked| if asked.number == 1 { vec![Says::Head] } else { vec![Says::Answer] });
    let plane = plane(&[&origin], silent_to_the_first);
    let client = H2::connect(plane.front());
    let error = client.request(H2::head("GET", "/pauses"), &[]).unwrap_err();
    assert!(error.is_reset(), "{error}");
    assert_eq!(client.get("/next").text(), "a");
    assert_eq!(origin.connections(), 1);
}

#[test]
fn connection_whose_server_gives_no_sign_of_life_is_given_up() {
    let origin = H2Origin::start("a", |asked| if asked.connection == 1 { vec![] } else { vec![Says::Answer] });
    let plane = plane(&[&origin], silent_to_the_first);
    origin.deafen();
    assert_eq!(plane.client().get("/late").status, 504);
    until("the connection to be closed", || (origin.open() == 0).then_some(()));
    assert_eq!(plane.client().get("/next").text(), "a");
}

#[test]
fn server_taken_out_before_its_answer_costs_no_get_and_no_other_stream() {
    let (a, b) = (H2Origin::start("a", |_| vec![]), H2Origin::answering("b"));
    let mut plane = plane(&[&a, &b], |_| {});
    let mut client = plane.client();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    until("the request at the server", || (a.asked().len() == 1).then_some(()));
    plane.set("a", AdminStatus::Drain);
    assert_eq!(plane.close("a"), 1);
    assert_eq!(client.response().text(), "b");
    until("its stream to be reset", || (a.resets() == [(1, CANCEL)]).then_some(()));
}

#[test]
fn connections_and_their_streams_are_no_more_than_they_may_be() {
    let origin = H2Origin::start("a", |_| vec![]);
    let plane = plane(&[&origin], |farm| {
        farm.reuse.connections = 1;
        farm.reuse.streams = 2;
        farm.timeouts.connect = Duration::from_millis(300);
    });
    let ask = || {
        let mut client = plane.client();
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
        client
    };
    let mut asking: Vec<Client> = (0..16).map(|_| ask()).collect();
    // Two places of each worker; the others wait in vain.
    let lines = plane.access(12);
    assert!(lines.iter().all(|line| line["status"] == 503), "{lines:?}");
    let closed = |client: &mut Client| client.is_closed_within(Duration::from_millis(200));
    let refused: Vec<_> = asking.iter_mut().filter_map(|client| closed(client).then(|| client.response())).collect();
    assert!(origin.asked().len() <= 4 && origin.connections() <= 2, "{:?}", origin.asked());
    assert_eq!(refused.len() + origin.asked().len(), 16);
    for response in refused {
        assert_eq!((response.status, response.header("retry-after")), (503, Some("1")), "{}", response.text());
        assert!(response.text().contains("every connection to the server is full"), "{}", response.text());
    }
    assert_eq!(plane.traffic("a").1, 0, "the server is not to blame");
}

#[test]
fn requests_that_come_at_once_share_the_connection_that_is_being_made() {
    let origin = H2Origin::answering("a");
    let plane = plane(&[&origin], |_| {});
    let client = H2::connect(plane.front());
    for answer in client.get_many("/", 80) {
        assert_eq!(answer.unwrap().text(), "a");
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn idle_connection_is_closed_and_one_that_served_enough_is_used_no_more() {
    let origin = H2Origin::answering("a");
    let plane = plane(&[&origin], |farm| {
        farm.timeouts.idle = Duration::from_millis(200);
        farm.reuse.requests_max = Some(2);
    });
    let mut client = plane.client();
    (0..4).for_each(|_| assert_eq!(client.get("/").text(), "a"));
    assert_eq!(origin.connections(), 2);
    until("both to be closed", || (origin.open() == 0).then_some(()));
    assert_eq!(client.get("/").text(), "a");
}
