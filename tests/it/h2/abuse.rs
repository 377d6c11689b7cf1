//! What a client may do to a connection, and what ends it: each counted by its reason.

use crate::harness::h2::WINDOW_UPDATE;

use super::*;

/// The code with which a client is told that there was too much.
const ENHANCE_YOUR_CALM: u32 = 11;

/// Does something over and over until the connection is ended for it; returns how often it was done.
#[track_caller]
fn ends(plane: &InProcess, why: Refusal, mut act: impl FnMut(&mut Frames, u32) -> std::io::Result<()>) -> u32 {
    let mut client = Frames::connect(plane.front());
    let times = (0..20_000).take_while(|n| act(&mut client, *n).is_ok()).count();
    let frames = client.rest();
    let farewell = frames.iter().find(|frame| frame.kind == GOAWAY);
    // A reset may overtake it.
    if let Some(farewell) = farewell {
        assert_eq!(farewell.code(), ENHANCE_YOUR_CALM, "{}", why.as_str());
    }
    plane.wait_refused(why);
    assert_eq!(H2::connect(plane.front()).get("/").status, 200, "others are served");
    u32::try_from(times).unwrap()
}

#[test]
fn requests_that_are_reset_at_once_end_the_connection() {
    let (_origin, plane) = one(Behaviour::Ok);
    ends(&plane, Refusal::StreamResets, |client, n| {
        client.get(2 * n + 1)?;
        client.send(RST_STREAM, 0, 2 * n + 1, &8u32.to_be_bytes())
    });
}

/// CVE-2025-8671: the client makes the server reset.
#[test]
fn requests_that_we_are_made_to_reset_end_the_connection() {
    let (_origin, plane) = one(Behaviour::Ok);
    ends(&plane, Refusal::StreamResets, |client, n| {
        client.send(HEADERS, END_HEADERS, 2 * n + 1, &head("POST", &[("content-length", b"1")]))?;
        // More than was announced is an error of the stream.
        client.send(DATA, 0, 2 * n + 1, b"more")
    });
}

#[test]
fn frames_that_only_want_an_answer_end_the_connection() {
    for kind in [PING, SETTINGS] {
        let (_origin, plane) = one(Behaviour::Ok);
        let payload: &[u8] = if kind == PING { &[0; 8] } else { &[] };
        ends(&plane, Refusal::ControlFrames, |client, _| client.send(kind, 0, 0, payload));
    }
}

#[test]
fn data_of_no_bytes_ends_the_connection() {
    let (_origin, plane) = one(Behaviour::Ok);
    ends(&plane, Refusal::EmptyFrames, |client, n| {
        if n == 0 {
            client.send(HEADERS, END_HEADERS, 1, &head("POST", &[]))?;
        }
        client.send(DATA, 0, 1, &[])
    });
}

#[test]
fn head_in_ever_more_frames_ends_the_connection() {
    let (origin, plane) = one(Behaviour::Ok);
    ends(&plane, Refusal::HeaderFrames, |client, n| match n {
        0 => client.send(HEADERS, 0, 1, &head("GET", &[])),
        _ => client.send(CONTINUATION, 0, 1, &[]),
    });
    assert_eq!(origin.requests().len(), 1, "that of somebody else");
}

/// A head of few bytes that grows to many: each reference to an entry of the table costs one.
fn bomb(references: usize) -> Vec<u8> {
    let mut payload = head("GET", &[]);
    payload.extend_from_slice(&[0x40, 1, b'x', 100]);
    payload.extend_from_slice(&[b'y'; 100]);
    payload.resize(payload.len() + references, 0xbe);
    payload
}

#[test]
fn head_that_grows_when_it_is_read_is_refused() {
    let (origin, plane) = one(Behaviour::Ok);
    let mut client = Frames::connect(plane.front());
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &bomb(800)).unwrap();
    let answer = client.next_of(HEADERS).expect("an answer");
    assert_eq!(status_text(&answer.payload), "431");
    client.get(3).unwrap();
    assert!(client.next_of(HEADERS).is_some(), "the connection goes on");
    ends(&plane, Refusal::HeaderFrames, |client, n| {
        if n == 0 { client.send(HEADERS, END_HEADERS | END_STREAM, 1, &bomb(15_000)) } else { client.get(2 * n + 1) }
    });
    assert_eq!(origin.requests().len(), 2, "those of others");
}

#[test]
fn head_that_does_not_become_whole_in_time_ends_the_connection() {
    let origin = Origin::start("a");
    let plane = plane(&[&origin], |_, frontend| frontend.timeouts.header = Duration::from_millis(300));
    let mut client = Frames::connect(plane.front());
    client.send(HEADERS, 0, 1, &head("GET", &[])).unwrap();
    client.rest();
    plane.wait_refused(Refusal::HeaderTimeout);
    let mut silent = Frames::connect_silently(plane.front());
    silent.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    silent.rest();
    assert_eq!(plane.refused(Refusal::HeaderTimeout), 2, "a hello without its settings");
}

/// A client that opens its window by nothing, or takes nothing off its socket, holds what it asked for no longer than
/// the write deadline.
#[test]
fn client_that_takes_nothing_is_cut() {
    let origin = Origin::doing("a", Behaviour::EchoBody);
    let plane = plane(&[&origin], |_, frontend| frontend.timeouts.write = Duration::from_millis(500));
    let mut client = Frames::connect(plane.front());
    client.next_of(SETTINGS).unwrap();
    client.send(SETTINGS, 1, 0, &[]).unwrap();
    client.next_of(WINDOW_UPDATE).unwrap();
    client.send(HEADERS, END_HEADERS, 1, &head("POST", &[])).unwrap();
    // Our window takes more of the body than the client's 65,535 bytes take of the answer.
    for _ in 0..15 {
        client.send(DATA, 0, 1, &[7; 16_000]).unwrap();
    }
    client.send(DATA, END_STREAM, 1, &[]).unwrap();
    let mut before = Vec::new();
    let reset = loop {
        match client.next() {
            Some(frame) if frame.kind == RST_STREAM => break frame,
            Some(frame) => before.push((frame.kind, frame.stream, frame.payload.len())),
            None => panic!("no reset, but {before:?}"),
        }
    };
    assert_eq!(reset.stream, 1);
    plane.wait_open("a", [0, 0, 0]);
}

#[test]
fn requests_beyond_the_bound_on_one_connection_are_refused_and_no_others() {
    let origin = Origin::doing("a", Behaviour::Slow(Duration::from_millis(500)));
    let plane = plane(&[&origin], |_, frontend| frontend.limits.streams = 4);
    let mut client = Frames::connect(plane.front());
    // Says nothing of having seen our settings.
    (0..6).for_each(|n| client.get(2 * n + 1).unwrap());
    let mut refused = Vec::new();
    let mut answered = Vec::new();
    while answered.len() + refused.len() < 6 {
        let frame = client.next().expect("the connection stays");
        match frame.kind {
            RST_STREAM => refused.push((frame.stream, frame.code())),
            HEADERS => answered.push(frame.stream),
            _ => {}
        }
    }
    answered.sort_unstable();
    assert_eq!((answered, refused), (vec![1, 3, 5, 7], vec![(9, 7), (11, 7)]));
}

#[test]
fn requests_that_are_malformed_over_and_over_end_the_connection() {
    let (_origin, plane) = one(Behaviour::Ok);
    let mut client = Frames::connect(plane.front());
    let bytes: Vec<u8> = (0..40)
        .flat_map(|n| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &head("GET", &[("host", b"evil")])))
        .collect();
    client.raw(&bytes).unwrap();
    client.rest();
    plane.wait_refused(Refusal::BadRequest);
}
