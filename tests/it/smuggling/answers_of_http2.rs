//! What servers of HTTP/2 may answer, frame by frame, and what clients of either version may see of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde::Deserialize;

use crate::harness::h2::{END_HEADERS, HEADERS, PING, SETTINGS, frame};
use crate::harness::{Farmgate, H2, Server, Setup};

use super::answers::{Strict, may_be, words};
use super::pieces::{Piece, Words};
use super::reader::Answer;
use super::{assert_none, corpus};

/// Cases that there are at least.
const CASES_MIN: usize = 50;
const PREFACE_BYTES: usize = 24;
const ACK: u8 = 1;
/// `:status: 200`, and a body.
const INNOCENT: &str = "innocent";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default, rename = "why")]
    _why: String,
    #[serde(default = "get")]
    method: String,
    /// On the stream of the request, which is 1.
    answer: Vec<Piece>,
    #[serde(default)]
    repeat: Option<(String, usize)>,
    client: Vec<String>,
}

fn get() -> String {
    "GET".to_owned()
}

/// What the server answers next, whatever it is asked; something innocent, where there is nothing.
type Next = Arc<Mutex<Option<Arc<Case>>>>;

#[test]
fn nothing_ambiguous_of_a_server_of_http_2_reaches_a_client() {
    let cases: Vec<(String, Case)> = corpus("from-h2-");
    assert!(cases.len() >= CASES_MIN, "{} cases", cases.len());
    let next = Next::default();
    let setup = Setup::http(&[Server::new("a", answering(Arc::clone(&next)), "")])
        .probe("{type: tcp, interval: 10s, timeout: 10s}")
        .top("workers: 1")
        .farm("http2: true")
        .farm("timeouts: {response: 10s}")
        .frontend("h2c: true");
    let farmgate = Farmgate::start(&setup);
    let front = farmgate.front("web");
    let runs = 2 * cases.len();
    let mut faults = Vec::new();
    // One after the other: what the server is asked for it cannot read.
    for (_, case) in cases {
        let case = Arc::new(case);
        for ask in [over_1, over_2] {
            *next.lock().unwrap() = Some(Arc::clone(&case));
            faults.extend(ask(front, &case, &next).err().map(|fault| format!("{}: {fault}", case.name)));
        }
    }
    assert_none(&faults, runs);
}

fn over_1(front: SocketAddr, case: &Case, next: &Next) -> Result<(), String> {
    let mut client = Strict::connect(front);
    let answer = client.ask(&case.method, "/")?;
    let got = words(&answer);
    if !may_be(&case.client, &got) {
        return Err(format!("a client of HTTP/1.1 saw {got:?}"));
    }
    *next.lock().unwrap() = None;
    let may_break = case.client.iter().any(|want| want.ends_with(" broken"));
    let is_over = client.is_over || answer.is_broken || may_break || got == "502";
    match client.ask("GET", "/after")? {
        Answer { status: 0, .. } if is_over => {}
        answer if words(&answer) == format!("200 {INNOCENT}") => {}
        answer => return Err(format!("the next answer is {answer:?}")),
    }
    innocent(front)
}

fn over_2(front: SocketAddr, case: &Case, next: &Next) -> Result<(), String> {
    let client = H2::connect(front);
    let got = match client.request(H2::head(&case.method, "/"), &[]) {
        Ok(answer) => words(&Answer { status: answer.status, body: answer.body, is_broken: false }),
        Err(error) if error.is_reset() => "broken".to_owned(),
        Err(error) => return Err(format!("the connection ended: {error}")),
    };
    if !may_be(&case.client, &got) {
        return Err(format!("a client of HTTP/2 saw {got:?}"));
    }
    *next.lock().unwrap() = None;
    let answer = client.get("/after");
    if (answer.status, answer.text().as_str()) != (200, INNOCENT) {
        return Err(format!("the next answer is {answer:?}"));
    }
    innocent(front)
}

fn innocent(front: SocketAddr) -> Result<(), String> {
    let got = words(&Strict::connect(front).ask("GET", "/after")?);
    if got == format!("200 {INNOCENT}") { Ok(()) } else { Err(format!("somebody else saw {got:?}")) }
}

/// Starts a server that reads no more of its requests than that they are there.
fn answering(next: Next) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let next = Arc::clone(&next);
            std::thread::spawn(move || serve(stream, &next));
        }
    });
    addr
}

fn serve(mut stream: TcpStream, next: &Next) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.read_exact(&mut [0; PREFACE_BYTES])?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[]))?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let [a, b, c, kind, flags, rest @ ..] = head;
        let mut payload = vec![0; usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)];
        stream.read_exact(&mut payload)?;
        match kind {
            SETTINGS if flags & ACK == 0 => stream.write_all(&frame(SETTINGS, ACK, 0, &[]))?,
            PING if flags & ACK == 0 => stream.write_all(&frame(PING, ACK, 0, &payload))?,
            HEADERS => {
                assert!(flags & END_HEADERS != 0, "a head of more than one frame");
                let case = next.lock().unwrap().clone();
                stream.write_all(&answer(case.as_deref(), u32::from_be_bytes(rest)))?;
            }
            _ => {}
        }
    }
}

fn answer(case: Option<&Case>, stream: u32) -> Vec<u8> {
    let Some(case) = case else {
        return [frame(HEADERS, END_HEADERS, stream, &[0x88]), frame(0, 1, stream, INNOCENT.as_bytes())].concat();
    };
    let words = Words { name: &case.name, scheme: "http", repeat: case.repeat.as_ref(), first: stream };
    case.answer.iter().flat_map(|piece| words.piece(piece)).collect()
}
