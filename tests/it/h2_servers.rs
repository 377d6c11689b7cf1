//! HTTP/2 to servers: what is tried again and what is not, whose deadline ends what, and how many connections there are.

use std::time::Duration;

use farmgate::model::{AdminStatus, Balance, Farm, Protocol};

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
