//! A scripted receiver of webhooks, at an address of its own: it can go away and come back there.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::find;
use super::origin::place;

/// How often a blocked thread looks whether the receiver is away.
const GLANCE: Duration = Duration::from_millis(50);

/// What a receiver does with a delivery.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Does {
    /// Answers with this status.
    Answer(u16),
    /// Ends the connection without a word.
    Close,
    /// Answers nothing until the other side gives up.
    Hang,
    /// Sends the sender to `/elsewhere`.
    Redirect,
}

/// A delivery as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    /// When.
    pub(crate) at: Instant,
    /// Request line.
    pub(crate) line: String,
    fields: Vec<(String, String)>,
    /// Body as it came.
    pub(crate) body: Vec<u8>,
    /// Whether it was answered with a 2xx.
    pub(crate) was_taken: bool,
}

impl Delivery {
    /// Returns the value of a field.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_else(|| panic!("no {name} in {:?}", self.fields))
    }

    /// Returns its body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Returns the id of the event that it tells of.
    pub(crate) fn id(&self) -> u64 {
        self.json()["id"].as_u64().unwrap()
    }
}

#[derive(Default)]
struct Shared {
    script: Mutex<VecDeque<Does>>,
    deliveries: Mutex<Vec<Delivery>>,
}

/// A receiver; takes everything unless told otherwise.
pub(crate) struct Receiver {
    addr: SocketAddr,
    shared: Arc<Shared>,
    open: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl Receiver {
    /// Starts one.
    pub(crate) fn start() -> Self {
        let mut receiver = Self { addr: place(), shared: Arc::default(), open: None };
        receiver.come_back();
        receiver
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook?to=it", self.addr)
    }

    /// Ends its connections and refuses new ones.
    pub(crate) fn go_away(&mut self) {
        if let Some((is_away, thread)) = self.open.take() {
            is_away.store(true, SeqCst);
            drop(TcpStream::connect(self.addr));
            thread.join().unwrap();
        }
    }

    /// Listens again where it did.
    pub(crate) fn come_back(&mut self) {
        let listener = TcpListener::bind(self.addr).unwrap();
        let is_away = Arc::new(AtomicBool::new(false));
        let (shared, away) = (Arc::clone(&self.shared), Arc::clone(&is_away));
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if away.load(SeqCst) {
                    return;
                }
                let (shared, away) = (Arc::clone(&shared), Arc::clone(&away));
                std::thread::spawn(move || serve(stream, &shared, &away));
            }
        });
        self.open = Some((is_away, thread));
    }

    /// Does this with the next deliveries, one after the other, and takes the others.
    pub(crate) fn script(&self, script: impl IntoIterator<Item = Does>) {
        self.shared.script.lock().unwrap().extend(script);
    }

    /// Every delivery that arrived, in order.
    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.shared.deliveries.lock().unwrap().clone()
    }

    /// The ids of the events that it took, in order, as often as it took them.
    pub(crate) fn taken(&self) -> Vec<u64> {
        self.deliveries().iter().filter(|delivery| delivery.was_taken).map(Delivery::id).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some((is_away, _)) = &self.open {
            is_away.store(true, SeqCst);
            drop(TcpStream::connect(self.addr));
        }
    }
}

fn serve(mut stream: TcpStream, shared: &Shared, is_away: &AtomicBool) {
    let _ = stream.set_nodelay(true);
    let _ = stream.set_read_timeout(Some(GLANCE));
    let mut bytes = Vec::new();
    while let Some((line, fields, body)) = read_request(&mut stream, &mut bytes, is_away) {
        let does = shared.script.lock().unwrap().pop_front().unwrap_or(Does::Answer(204));
        let was_taken = matches!(does, Does::Answer(200..300));
        let delivery = Delivery { at: Instant::now(), line, fields, body, was_taken };
        shared.deliveries.lock().unwrap().push(delivery);
        let answer = match does {
            Does::Answer(204) => "HTTP/1.1 204 Taken\r\n\r\n".to_owned(),
            Does::Answer(status) => format!("HTTP/1.1 {status} Whatever\r\nContent-Length: 2\r\n\r\nok"),
            Does::Redirect => "HTTP/1.1 307 There\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".to_owned(),
            Does::Close => return,
            Does::Hang => {
                while fill(&mut stream, &mut bytes, is_away) {}
                return;
            }
        };
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

type Request = (String, Vec<(String, String)>, Vec<u8>);

fn read_request(stream: &mut TcpStream, bytes: &mut Vec<u8>, is_away: &AtomicBool) -> Option<Request> {
    let head_end = loop {
        if let Some(at) = find(bytes, b"\r\n\r\n") {
            break at;
        }
        if !fill(stream, bytes, is_away) {
            return None;
        }
    };
    let head: Vec<u8> = bytes.drain(..head_end + 4).collect();
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let line = lines.next()?.to_owned();
    let fields: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = fields.iter().find(|(name, _)| name == "content-length").unwrap().1.parse().unwrap();
    while bytes.len() < length {
        if !fill(stream, bytes, is_away) {
            return None;
        }
    }
    Some((line, fields, bytes.drain(..length).collect()))
}

/// Reads once; returns whether the connection goes on.
fn fill(stream: &mut TcpStream, bytes: &mut Vec<u8>, is_away: &AtomicBool) -> bool {
    let mut chunk = [0; 8192];
    loop {
        let read = stream.read(&mut chunk);
        if is_away.load(SeqCst) {
            return false;
        }
        match read {
            Ok(0) => return false,
            Ok(n) => {
                bytes.extend_from_slice(&chunk[..n]);
                return true;
            }
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => return false,
        }
    }
}
