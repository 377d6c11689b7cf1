//! A server of HTTP/2 that says the frames it is told to: a script decides at the head of each request.

use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use super::h2::{
    DATA, END_HEADERS, END_STREAM, Frame, Frames, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame,
};

/// ":status: 200", of the static table (RFC 7541 appendix A).
const OK: u8 = 0x88;
/// The flag of an answer to SETTINGS or PING.
const ACK: u8 = 0x1;

/// A request whose head arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// Which it is of all, from 1.
    pub(crate) number: usize,
    /// On which connection, from 1.
    pub(crate) connection: usize,
}

/// What is said to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// 200 with the server's name, once the request is whole.
    Answer,
    /// As [`Self::Answer`], and then the end of the connection.
    AnswerAndLeave,
    /// GOAWAY: the last stream, the code.
    GoAway(u32, u32),
    /// The head of a 200, and nothing more.
    Head,
    /// The end of the connection.
    Leave,
    /// RST_STREAM with that code.
    Reset(u32),
}

struct Shared {
    name: &'static str,
    script: Box<dyn Fn(Asked) -> Vec<Says> + Send + Sync>,
    is_deaf: AtomicBool,
    is_over: AtomicBool,
    asked: Mutex<Vec<Asked>>,
    resets: Mutex<Vec<(usize, u32)>>,
    open: Mutex<BTreeMap<usize, TcpStream>>,
    connections: Mutex<usize>,
}

/// A running one; closes everything when dropped.
pub(crate) struct H2Origin {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

impl H2Origin {
    /// Starts one on a port of the system's choice.
    pub(crate) fn start(name: &'static str, script: impl Fn(Asked) -> Vec<Says> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            name,
            script: Box::new(script),
            is_deaf: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            asked: Mutex::default(),
            resets: Mutex::default(),
            open: Mutex::default(),
            connections: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.is_over.load(SeqCst) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                let mut count = shared.connections.lock().unwrap();
                *count += 1;
                let number = *count;
                drop(count);
                shared.open.lock().unwrap().insert(number, stream.try_clone().unwrap());
                std::thread::spawn(move || {
                    Serving { number, shared: &shared, answers: BTreeMap::new() }.serve(Frames::accepted(stream));
                    shared.open.lock().unwrap().remove(&number);
                });
            }
        });
        Self { addr, shared }
    }

    /// Answers everything.
    pub(crate) fn answering(name: &'static str) -> Self {
        Self::start(name, |_| vec![Says::Answer])
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The requests whose heads arrived.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// The streams that were reset: of which connection, with which code.
    pub(crate) fn resets(&self) -> Vec<(usize, u32)> {
        self.shared.resets.lock().unwrap().clone()
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        *self.shared.connections.lock().unwrap()
    }

    /// How many there are.
    pub(crate) fn open(&self) -> usize {
        self.shared.open.lock().unwrap().len()
    }

    /// Answers no PING from now on.
    pub(crate) fn deafen(&self) {
        self.shared.is_deaf.store(true, SeqCst);
    }
}

impl Drop for H2Origin {
    fn drop(&mut self) {
        self.shared.is_over.store(true, SeqCst);
        drop(TcpStream::connect(self.addr));
        for stream in self.shared.open.lock().unwrap().values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// One connection.
struct Serving<'a> {
    number: usize,
    shared: &'a Shared,
    /// What waits for the end of a request: whether the connection ends after the answer.
    answers: BTreeMap<u32, bool>,
}

impl Serving<'_> {
    fn serve(mut self, mut frames: Frames) {
        frames.skip_preface();
        let mut said = frames.send(SETTINGS, 0, 0, &[]);
        while let (Ok(()), Some(heard)) = (said, frames.next()) {
            let bytes = self.reply(&heard);
            said = frames.raw(&bytes);
            if self.shared.open.lock().unwrap().get(&self.number).is_none() {
                return;
            }
        }
    }

    fn reply(&mut self, heard: &Frame) -> Vec<u8> {
        match (heard.kind, heard.flags & ACK) {
            (SETTINGS, 0) => frame(SETTINGS, ACK, 0, &[]),
            (PING, 0) if !self.shared.is_deaf.load(SeqCst) => frame(PING, ACK, 0, &heard.payload),
            (HEADERS, _) => {
                let mut bytes = self.asked(heard.stream);
                bytes.extend(self.ended(heard));
                bytes
            }
            (DATA, _) => {
                let length = u32::try_from(heard.payload.len()).unwrap().to_be_bytes();
                let mut bytes = if heard.payload.is_empty() { Vec::new() } else { frame(WINDOW_UPDATE, 0, 0, &length) };
                bytes.extend(self.ended(heard));
                bytes
            }
            (RST_STREAM, _) => {
                self.shared.resets.lock().unwrap().push((self.number, heard.code()));
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn asked(&mut self, stream: u32) -> Vec<u8> {
        let mut all = self.shared.asked.lock().unwrap();
        let asked = Asked { number: all.len() + 1, connection: self.number };
        all.push(asked);
        drop(all);
        let mut bytes = Vec::new();
        for says in (self.shared.script)(asked) {
            match says {
                Says::Answer => {
                    self.answers.insert(stream, false);
                }
                Says::AnswerAndLeave => {
                    self.answers.insert(stream, true);
                }
                Says::GoAway(last, code) => {
                    bytes.extend(frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat()));
                }
                Says::Head => bytes.extend(frame(HEADERS, END_HEADERS, stream, &[OK])),
                Says::Leave => self.leave(),
                Says::Reset(code) => bytes.extend(frame(RST_STREAM, 0, stream, &code.to_be_bytes())),
            }
        }
        bytes
    }

    fn ended(&mut self, heard: &Frame) -> Vec<u8> {
        if heard.flags & END_STREAM == 0 {
            return Vec::new();
        }
        let Some(leaves) = self.answers.remove(&heard.stream) else { return Vec::new() };
        let mut bytes = frame(HEADERS, END_HEADERS, heard.stream, &[OK]);
        bytes.extend(frame(DATA, END_STREAM, heard.stream, self.shared.name.as_bytes()));
        if leaves {
            self.leave();
        }
        bytes
    }

    /// Has the connection end once what is to be said was said.
    fn leave(&self) {
        self.shared.open.lock().unwrap().remove(&self.number);
    }
}
