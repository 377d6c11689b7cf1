//! A scripted HTTP origin: what it does with a request can be changed while it runs.
//!
//! One thread accepts, one serves each connection. Requests for `/healthz` follow a script of their own, so that
//! checks and traffic can be told apart. Everything received is kept.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::client::find;

/// The path that checks ask for.
const HEALTH_PATH: &str = "/healthz";
/// How often a blocked thread looks whether the test is over.
const GLANCE: Duration = Duration::from_millis(100);

/// What an origin does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Behaviour {
    /// 200 with its name as body.
    Ok,
    /// That status with its name as body (204 and 304: none).
    Status(u16),
    /// As [`Self::Ok`], after a while.
    Slow(Duration),
    /// 200, and then the body byte by byte, for ever.
    DripBody(Duration),
    /// The head byte by byte, for ever.
    DripHead(Duration),
    /// Reset, with nothing answered.
    Reset,
    /// Half of the body announced, then a reset.
    ResetMidBody,
    /// Half of the body announced, then a clean end.
    EndMidBody,
    /// One chunk of a chunked body, then a clean end.
    EndMidChunks,
    /// Nothing, for ever.
    Silent,
    /// 200 with the request head as body.
    EchoHead,
    /// 200 with the request body as body.
    EchoBody,
    /// 200 in three chunks.
    Chunked,
    /// 101 and then every byte back; without `Upgrade` in the request, 200.
    Upgrade,
    /// Exactly these bytes.
    Raw(Vec<u8>),
}

/// A request that arrived whole.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The connection it came on, numbered from 0.
    pub(crate) connection: usize,
    /// Method.
    pub(crate) method: String,
    /// Target.
    pub(crate) target: String,
    /// Fields in order, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// Body, transfer coding taken off.
    pub(crate) body: Vec<u8>,
}

impl Seen {
    /// Returns the values of a field, in order.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
    }

    /// Returns the value of a field that stands there once at most.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let values = self.values(name);
        assert!(values.len() <= 1, "{name} stands there {} times: {values:?}", values.len());
        values.first().copied()
    }
}

struct Shared {
    name: String,
    traffic: Mutex<Behaviour>,
    health: Mutex<Behaviour>,
    requests_a_connection: AtomicUsize,
    early: Mutex<Option<Vec<u8>>>,
    connections: AtomicUsize,
    seen: Mutex<Vec<Seen>>,
    raw: Mutex<Vec<Vec<u8>>>,
    is_over: AtomicBool,
    is_crashed: AtomicBool,
    over: (Mutex<()>, Condvar),
}

/// A running origin; stops when dropped.
pub(crate) struct Origin {
    addr: SocketAddr,
    listener: Mutex<Option<TcpListener>>,
    shared: Arc<Shared>,
}

impl Origin {
    /// Starts an origin of that name on a port of the system's choice; everything is [`Behaviour::Ok`].
    pub(crate) fn start(name: &str) -> Self {
        Self::at(name, SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Starts an origin at an address, where one may have crashed before.
    pub(crate) fn at(name: &str, addr: SocketAddr) -> Self {
        let listener = TcpListener::bind(addr).unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            traffic: Mutex::new(Behaviour::Ok),
            health: Mutex::new(Behaviour::Ok),
            requests_a_connection: AtomicUsize::new(usize::MAX),
            early: Mutex::default(),
            connections: AtomicUsize::new(0),
            seen: Mutex::default(),
            raw: Mutex::default(),
            is_over: AtomicBool::new(false),
            is_crashed: AtomicBool::new(false),
            over: (Mutex::new(()), Condvar::new()),
        });
        let kept = Mutex::new(Some(listener.try_clone().unwrap()));
        let for_acceptor = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &for_acceptor));
        Self { addr, listener: kept, shared }
    }

    /// Starts an origin whose traffic follows `behaviour`.
    pub(crate) fn doing(name: &str, behaviour: Behaviour) -> Self {
        let origin = Self::start(name);
        origin.traffic(behaviour);
        origin
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.shared.name
    }

    /// Changes what it does with requests that are no checks, from the next one on.
    pub(crate) fn traffic(&self, behaviour: Behaviour) {
        *self.shared.traffic.lock().unwrap() = behaviour;
    }

    /// Changes what it does with checks, from the next one on.
    pub(crate) fn health(&self, behaviour: Behaviour) {
        *self.shared.health.lock().unwrap() = behaviour;
    }

    /// Ends each connection after so many answers, without a word of it in the answer.
    pub(crate) fn close_after(&self, requests: usize) {
        self.shared.requests_a_connection.store(requests, SeqCst);
    }

    /// From now on answers with these bytes as soon as a request's head is there, and ends the connection.
    pub(crate) fn answer_early(&self, bytes: &[u8]) {
        *self.shared.early.lock().unwrap() = Some(bytes.to_vec());
    }

    /// The whole requests that were no checks, in order of arrival.
    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().iter().filter(|s| s.target != HEALTH_PATH).cloned().collect()
    }

    /// How many checks arrived.
    pub(crate) fn checks(&self) -> usize {
        self.shared.seen.lock().unwrap().iter().filter(|s| s.target == HEALTH_PATH).count()
    }

    /// How many connections brought requests that were no checks.
    pub(crate) fn traffic_connections(&self) -> usize {
        let mut connections: Vec<_> = self.requests().iter().map(|s| s.connection).collect();
        connections.sort_unstable();
        connections.dedup();
        connections.len()
    }

    /// Every byte received on connections that were not for checks.
    pub(crate) fn raw(&self) -> Vec<Vec<u8>> {
        let health = format!("GET {HEALTH_PATH}");
        let raw = self.shared.raw.lock().unwrap();
        raw.iter().filter(|bytes| !bytes.is_empty() && !bytes.starts_with(health.as_bytes())).cloned().collect()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.end();
    }
}

impl Origin {
    /// Resets every connection, whatever is under way on it, and refuses new ones from now on.
    pub(crate) fn crash(&self) {
        self.shared.is_crashed.store(true, SeqCst);
        self.end();
    }

    /// Refuses connections at once; those that it has end when their threads see it.
    fn end(&self) {
        if let Some(listener) = self.listener.lock().unwrap().take() {
            // Wakes the acceptor too.
            let _ = socket2::SockRef::from(&listener).shutdown(Shutdown::Both);
        }
        self.shared.is_over.store(true, SeqCst);
        let _guard = self.shared.over.0.lock();
        self.shared.over.1.notify_all();
    }
}

/// An address of this machine that nobody else uses, nobody listening there: whoever does can go away and come back.
pub(crate) fn place() -> SocketAddr {
    static PLACES: AtomicUsize = AtomicUsize::new(1);
    let [.., high, low] = PLACES.fetch_add(1, SeqCst).to_be_bytes();
    TcpListener::bind(SocketAddr::from(([127, 77, high, low], 0))).unwrap().local_addr().unwrap()
}

/// A port of 127.0.0.1, for what must be there and comes later: nobody listens on it, the system gives it to no
/// connection of its own, and no other test is given it.
pub(crate) fn free_port() -> u16 {
    const LOWEST: u16 = 10_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let below: u16 = range.split_whitespace().next().unwrap().parse().unwrap();
    let ports = below.saturating_sub(LOWEST).max(1000);
    // Of two runs at once, each begins somewhere else.
    let first = u16::try_from(std::process::id() % u32::from(ports)).unwrap();
    (0..ports)
        .map(|_| LOWEST + (first + NEXT.fetch_add(1, SeqCst)) % ports)
        .find(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        .expect("no port is free")
}

/// A port on which every connection is refused for as long as the value lives: bound, not listening.
pub(crate) fn refused_port() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, addr)
}

/// Makes the end of this connection a reset.
pub(crate) fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept() {
        if shared.is_over.load(SeqCst) {
            return;
        }
        let connection = shared.connections.fetch_add(1, SeqCst);
        shared.raw.lock().unwrap().push(Vec::new());
        let shared = Arc::clone(shared);
        std::thread::spawn(move || Connection { number: connection, stream, buffer: Vec::new(), shared }.serve());
    }
}

/// What comes after an answer.
#[derive(PartialEq, Eq)]
enum After {
    KeepAlive,
    Close,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.shared.is_crashed.load(SeqCst) {
            reset(&self.stream);
        }
    }
}

struct Connection {
    number: usize,
    stream: TcpStream,
    buffer: Vec<u8>,
    shared: Arc<Shared>,
}

impl Connection {
    fn serve(mut self) {
        let _ = self.stream.set_nodelay(true);
        let _ = self.stream.set_read_timeout(Some(GLANCE));
        let mut answered = 0;
        while let Some(seen) = self.read_request() {
            let script = if seen.target == HEALTH_PATH { &self.shared.health } else { &self.shared.traffic };
            let behaviour = script.lock().unwrap().clone();
            self.shared.seen.lock().unwrap().push(seen.clone());
            answered += 1;
            if self.act(&behaviour, &seen) == After::Close
                || answered >= self.shared.requests_a_connection.load(SeqCst)
                || seen.values("connection").contains(&"close")
            {
                return;
            }
        }
    }

    fn act(&mut self, behaviour: &Behaviour, seen: &Seen) -> After {
        let name = self.shared.name.clone();
        match behaviour {
            Behaviour::Ok => self.answer(200, name.as_bytes(), &seen.method),
            Behaviour::Status(status) => self.answer(*status, name.as_bytes(), &seen.method),
            Behaviour::Slow(by) => {
                self.pause(*by);
                self.answer(200, name.as_bytes(), &seen.method)
            }
            Behaviour::EchoHead => {
                let lines = seen.headers.iter().map(|(n, v)| format!("{n}: {v}\n"));
                let head = format!("{} {}\n{}", seen.method, seen.target, lines.collect::<String>());
                self.answer(200, head.as_bytes(), &seen.method)
            }
            Behaviour::EchoBody => self.answer(200, &seen.body, &seen.method),
            Behaviour::Chunked => self.chunks(&["one ", "two ", "three"], "0\r\n\r\n"),
            Behaviour::EndMidChunks => {
                self.chunks(&["one "], "");
                After::Close
            }
            Behaviour::Raw(bytes) => self.write(bytes),
            Behaviour::DripBody(every) => {
                self.write(
                    format!("HTTP/1.1 200 OK\r\nX-Origin: {name}\r\nContent-Length: 1000000\r\n\r\n").as_bytes(),
                );
                self.drip(*every)
            }
            Behaviour::DripHead(every) => {
                self.write(b"HTTP/1.1 200 OK\r\nX-Slow: ");
                self.drip(*every)
            }
            Behaviour::Reset => {
                reset(&self.stream);
                After::Close
            }
            Behaviour::ResetMidBody => {
                self.write(
                    format!("HTTP/1.1 200 OK\r\nX-Origin: {name}\r\nContent-Length: 20\r\n\r\n0123456789").as_bytes(),
                );
                // The bytes must be gone before the reset, which throws away what was not yet sent.
                self.pause(GLANCE);
                reset(&self.stream);
                After::Close
            }
            Behaviour::EndMidBody => {
                self.write(
                    format!("HTTP/1.1 200 OK\r\nX-Origin: {name}\r\nContent-Length: 20\r\n\r\n0123456789").as_bytes(),
                );
                After::Close
            }
            Behaviour::Silent => {
                while self.fill() {}
                After::Close
            }
            Behaviour::Upgrade => self.upgrade(seen),
        }
    }

    fn answer(&mut self, status: u16, body: &[u8], method: &str) -> After {
        let name = &self.shared.name;
        let mut bytes = format!("HTTP/1.1 {status} Whatever\r\nX-Origin: {name}\r\n").into_bytes();
        if !matches!(status, 204 | 304) {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        if method != "HEAD" && !matches!(status, 204 | 304) {
            bytes.extend_from_slice(body);
        }
        self.write(&bytes)
    }

    fn chunks(&mut self, chunks: &[&str], end: &str) -> After {
        let name = &self.shared.name;
        let mut text = format!("HTTP/1.1 200 OK\r\nX-Origin: {name}\r\nTransfer-Encoding: chunked\r\n\r\n");
        for chunk in chunks {
            text.push_str(&format!("{:x}\r\n{chunk}\r\n", chunk.len()));
        }
        text.push_str(end);
        self.write(text.as_bytes())
    }

    fn upgrade(&mut self, seen: &Seen) -> After {
        if seen.values("upgrade").is_empty() {
            return self.answer(200, b"no upgrade", &seen.method);
        }
        self.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        loop {
            let bytes = std::mem::take(&mut self.buffer);
            if self.write(&bytes) == After::Close || !self.fill() {
                let _ = self.stream.shutdown(Shutdown::Write);
                return After::Close;
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> After {
        if self.shared.is_crashed.load(SeqCst) {
            return After::Close;
        }
        if self.stream.write_all(bytes).is_ok() { After::KeepAlive } else { After::Close }
    }

    fn drip(&mut self, every: Duration) -> After {
        while self.write(b"x") == After::KeepAlive && !self.shared.is_over.load(SeqCst) {
            self.pause(every);
        }
        After::Close
    }

    /// Waits, unless the test ends.
    fn pause(&self, by: Duration) {
        let end = Instant::now() + by;
        let mut guard = self.shared.over.0.lock().unwrap();
        while !self.shared.is_over.load(SeqCst) && Instant::now() < end {
            guard = self.shared.over.1.wait_timeout(guard, end.saturating_duration_since(Instant::now())).unwrap().0;
        }
    }

    fn read_request(&mut self) -> Option<Seen> {
        let at = self.wait_for(b"\r\n\r\n")?;
        let head: Vec<u8> = self.buffer.drain(..at + 4).collect();
        let head = String::from_utf8_lossy(&head[..at]).into_owned();
        let mut lines = head.split("\r\n");
        let mut request_line = lines.next()?.split(' ');
        let mut seen = Seen {
            connection: self.number,
            method: request_line.next()?.to_owned(),
            target: request_line.next()?.to_owned(),
            headers: lines
                .filter_map(|l| l.split_once(':').map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned())))
                .collect(),
            body: Vec::new(),
        };
        let early = self.shared.early.lock().unwrap().clone().filter(|_| seen.target != HEALTH_PATH);
        if let Some(bytes) = early {
            self.write(&bytes);
            let _ = self.stream.shutdown(Shutdown::Write);
            while self.fill() {}
            return None;
        }
        if seen.values("expect").contains(&"100-continue") {
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        if seen.values("transfer-encoding").contains(&"chunked") {
            seen.body = self.read_chunks()?;
        } else if let Some(length) = seen.values("content-length").first().and_then(|v| v.parse().ok()) {
            seen.body = self.take(length)?;
        }
        Some(seen)
    }

    fn read_chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let at = self.wait_for(b"\r\n")?;
            let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
            let size =
                usize::from_str_radix(std::str::from_utf8(&line[..at]).ok()?.split(';').next()?.trim(), 16).ok()?;
            let chunk = self.take(size + 2)?;
            if size == 0 {
                return Some(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    fn wait_for(&mut self, mark: &[u8]) -> Option<usize> {
        loop {
            if let Some(at) = find(&self.buffer, mark) {
                return Some(at);
            }
            if !self.fill() {
                return None;
            }
        }
    }

    fn take(&mut self, n: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < n {
            if !self.fill() {
                return None;
            }
        }
        Some(self.buffer.drain(..n).collect())
    }

    /// Reads once; false at the end of the stream or of the test.
    fn fill(&mut self) -> bool {
        let mut chunk = [0; 64 * 1024];
        while !self.shared.is_over.load(SeqCst) {
            match self.stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(n) => {
                    self.buffer.extend_from_slice(&chunk[..n]);
                    self.shared.raw.lock().unwrap()[self.number].extend_from_slice(&chunk[..n]);
                    return true;
                }
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
                Err(_) => return false,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{Client, Fault};

    #[test]
    fn origin_answers_as_scripted_and_keeps_what_it_saw() {
        let origin = Origin::start("a");
        let mut client = Client::connect(origin.addr());
        assert_eq!(client.get("/x").origin(), "a");
        origin.traffic(Behaviour::Status(404));
        assert_eq!(client.get("/y").status, 404);
        origin.traffic(Behaviour::EchoBody);
        assert_eq!(client.request("POST", "/z", &[], b"hello").body, b"hello");
        origin.traffic(Behaviour::Chunked);
        assert_eq!(client.get("/").text(), "one two three");
        assert_eq!(client.request("HEAD", "/healthz", &[], b"").status, 200);
        let seen = origin.requests();
        assert_eq!(seen.iter().map(|s| s.target.as_str()).collect::<Vec<_>>(), ["/x", "/y", "/z", "/"]);
        assert_eq!((origin.checks(), origin.traffic_connections()), (1, 1));
        assert_eq!(origin.raw().len(), 1);
    }

    #[test]
    fn origin_that_fails_is_seen_as_the_fault_that_it_is() {
        let origin = Origin::start("a");
        for (behaviour, want) in [
            (Behaviour::Reset, Fault::Reset(0)),
            (Behaviour::ResetMidBody, Fault::Reset(10)),
            (Behaviour::EndMidBody, Fault::Closed(10)),
            (Behaviour::EndMidChunks, Fault::Closed(0)),
        ] {
            origin.traffic(behaviour);
            assert_eq!(Client::connect(origin.addr()).try_request("GET", "/", &[], b"").unwrap_err(), want);
        }
        origin.traffic(Behaviour::Ok);
        origin.close_after(1);
        let mut client = Client::connect(origin.addr());
        assert_eq!(client.get("/").status, 200);
        assert!(client.is_closed_within(Duration::from_secs(5)));
    }

    #[test]
    fn origin_upgraded_echoes_bytes() {
        let origin = Origin::doing("a", Behaviour::Upgrade);
        let mut client = Client::connect(origin.addr());
        let upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
        assert_eq!(client.request("GET", "/ws", &upgrade, b"").status, 101);
        client.send("ping");
        assert_eq!(client.take(4).unwrap(), b"ping");
        client.finish_writes();
        assert_eq!(client.rest().unwrap(), b"");
    }

    #[test]
    fn refused_port_refuses_while_it_is_held() {
        let (_held, addr) = refused_port();
        assert_eq!(Client::try_connect(addr).err().unwrap().kind(), ErrorKind::ConnectionRefused);
    }
}
