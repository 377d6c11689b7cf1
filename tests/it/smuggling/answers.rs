//! What servers of HTTP/1.1 may answer, and what clients of either version may see of it.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::harness::{Farmgate, H2, PATIENCE, Server, Setup, find, until};

use super::reader::{Answer, Begins, read_answer};
use super::{assert_none, at_once, bytes_of, corpus};

/// Cases that there are at least.
const CASES_MIN: usize = 100;
/// From an answer to what comes behind it.
const LATER: Duration = Duration::from_millis(20);
/// What the connections of a server are read with.
const GLANCE: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default, rename = "why")]
    _why: String,
    #[serde(default = "get")]
    method: String,
    answer: String,
    #[serde(default)]
    later: String,
    #[serde(default)]
    close: bool,
    #[serde(default)]
    repeat: Option<(String, usize)>,
    client: Vec<String>,
}

fn get() -> String {
    "GET".to_owned()
}

impl Case {
    fn bytes(&self) -> Vec<u8> {
        bytes_of(&match &self.repeat {
            Some((part, times)) => self.answer.replace("{repeat}", &part.repeat(*times)),
            None => self.answer.clone(),
        })
    }
}

#[derive(Clone, Copy, Debug)]
enum Version {
    One,
    Two,
}

#[test]
fn nothing_ambiguous_of_a_server_reaches_a_client() {
    let cases: Vec<(String, Case)> = corpus("answer-");
    assert!(cases.len() >= CASES_MIN, "{} cases", cases.len());
    let cases = cases.into_iter().map(|(file, case)| (format!("/{file}-{}", case.name), case)).collect();
    let script = Arc::new(Script { cases, late: Mutex::default() });
    let setup = Setup::http(&[Server::new("a", answering(Arc::clone(&script)), "")])
        .probe("{type: tcp, interval: 10s, timeout: 10s}")
        .top("workers: 1")
        .farm("timeouts: {response: 10s}")
        .frontend("h2c: true");
    let farmgate = Farmgate::start(&setup);
    let front = farmgate.front("web");
    let both = |(target, case)| [Version::One, Version::Two].map(|version| (target, case, version));
    // Who says more than he was asked, and says it late, says it to whoever asks next, if that is at once.
    let (late, runs): (Vec<_>, Vec<_>) =
        script.cases.iter().flat_map(both).partition(|(_, case, _)| !case.later.is_empty());
    let run = |(target, case, version): &(&String, &Case, Version)| {
        let way = Way { front, target, case, script: &script };
        let got = match version {
            Version::One => way.over_1(),
            Version::Two => way.over_2(),
        };
        got.map_err(|fault| format!("{version:?} {target}: {fault}"))
    };
    let mut faults = at_once(&runs, run);
    faults.extend(late.iter().filter_map(|one| run(one).err()));
    assert_none(&faults, runs.len() + late.len());
}

/// What a server answers.
struct Script {
    /// By target.
    cases: HashMap<String, Case>,
    /// How often a target's late bytes were sent.
    late: Mutex<HashMap<String, usize>>,
}

impl Script {
    fn late(&self, target: &str) -> usize {
        self.late.lock().unwrap().get(target).copied().unwrap_or_default()
    }
}

/// A case on its way to a client.
struct Way<'a> {
    front: SocketAddr,
    target: &'a str,
    case: &'a Case,
    script: &'a Script,
}

/// Returns whether that is one of what a client may see.
pub(super) fn may_be(client: &[String], got: &str) -> bool {
    client.iter().any(|want| want == got || (want.ends_with(" broken") && got == "broken"))
}

/// What a client sees, in the words of the corpus.
pub(super) fn words(answer: &Answer) -> String {
    match answer {
        Answer { status: 502 | 504, .. } => answer.status.to_string(),
        Answer { status: 0, .. } => "broken".to_owned(),
        Answer { status, is_broken: true, .. } => format!("{status} broken"),
        Answer { status, body, .. } => format!("{status} {}", String::from_utf8_lossy(body)),
    }
}

impl Way<'_> {
    /// Waits until the server has said all that it will, if the answer came from it.
    fn wait(&self, before: usize) {
        if !self.case.later.is_empty() {
            until("the late bytes", || (self.script.late(self.target) > before).then_some(()));
        }
    }

    fn over_1(&self) -> Result<(), String> {
        let Self { front, target, case, script } = *self;
        let before = script.late(target);
        let mut client = Strict::connect(front);
        let answer = client.ask(&case.method, target)?;
        let got = words(&answer);
        if !may_be(&case.client, &got) {
            return Err(format!("the client saw {got:?}"));
        }
        self.wait(before);
        let after = format!("/after{target}");
        let is_over = client.is_over || answer.is_broken || got == "502";
        match client.ask("GET", &after)? {
            Answer { status: 0, .. } if is_over => Ok(()),
            answer if words(&answer) == format!("200 {after}") => Ok(()),
            answer => Err(format!("the next answer is {answer:?}")),
        }
    }

    fn over_2(&self) -> Result<(), String> {
        let Self { front, target, case, script } = *self;
        let before = script.late(target);
        let client = H2::connect(front);
        let got = match client.request(H2::head(&case.method, target), &[]) {
            Ok(answer) => words(&Answer { status: answer.status, body: answer.body, is_broken: false }),
            Err(error) if error.is_reset() => "broken".to_owned(),
            Err(error) => return Err(format!("the connection ended: {error}")),
        };
        if !may_be(&case.client, &got) {
            return Err(format!("the client saw {got:?}"));
        }
        self.wait(before);
        let after = format!("/after{target}");
        let answer = client.get(&after);
        if (answer.status, answer.text()) == (200, after) {
            Ok(())
        } else {
            Err(format!("the next answer is {answer:?}"))
        }
    }
}

/// A client that takes nothing that could be read in two ways.
pub(super) struct Strict {
    stream: TcpStream,
    held: Vec<u8>,
    pub(super) is_over: bool,
}

impl Strict {
    pub(super) fn connect(front: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&front, PATIENCE).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Self { stream, held: Vec::new(), is_over: false }
    }

    /// Asks for something and returns the answer; one that never came has the status 0.
    pub(super) fn ask(&mut self, method: &str, target: &str) -> Result<Answer, String> {
        if !self.held.is_empty() {
            return Err(format!("bytes that nobody asked for: {:?}", String::from_utf8_lossy(&self.held)));
        }
        let request = format!("{method} {target} HTTP/1.1\r\nHost: t.example\r\n\r\n");
        // What is closed says so when it is read.
        let _ = self.stream.write_all(request.as_bytes());
        let end = Instant::now() + PATIENCE;
        loop {
            if let Begins::Answer(answer, rest) = read_answer(&self.held, method, self.is_over)? {
                self.held = rest.to_vec();
                return Ok(answer);
            }
            if Instant::now() > end {
                return Err("no answer".to_owned());
            }
            let mut piece = [0; 16 * 1024];
            match self.stream.read(&mut piece) {
                Ok(0) => self.is_over = true,
                Ok(n) => self.held.extend_from_slice(&piece[..n]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                // An answer that only its end ends must not end so.
                Err(_) => {
                    self.is_over = true;
                    return match read_answer(&self.held, method, true)? {
                        Begins::Answer(answer, _) => Ok(Answer { is_broken: true, ..answer }),
                        Begins::Partial => Err("a reset".to_owned()),
                    };
                }
            }
        }
    }
}

/// Starts a server that answers as the cases have it, and with the target to anything else.
fn answering(script: Arc<Script>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let script = Arc::clone(&script);
            std::thread::spawn(move || answer_all(stream, &script));
        }
    });
    addr
}

fn answer_all(mut stream: TcpStream, script: &Script) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(GLANCE)).ok()?;
    let mut held = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = find(&held, b"\r\n\r\n") {
                break at;
            }
            let mut piece = [0; 4096];
            match stream.read(&mut piece) {
                Ok(n @ 1..) => held.extend_from_slice(&piece[..n]),
                _ => return None,
            }
        };
        let head = String::from_utf8_lossy(&held[..end]).into_owned();
        held.drain(..end + 4);
        let target = head.split(' ').nth(1)?;
        let Some(case) = script.cases.get(target) else {
            let page = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}", target.len());
            stream.write_all(page.as_bytes()).ok()?;
            continue;
        };
        // It may be refused before its end.
        stream.write_all(&case.bytes()).ok()?;
        if !case.later.is_empty() {
            std::thread::sleep(LATER);
            stream.write_all(&bytes_of(&case.later)).ok()?;
            *script.late.lock().unwrap().entry(target.to_owned()).or_default() += 1;
        }
        if case.close {
            return None;
        }
    }
}
