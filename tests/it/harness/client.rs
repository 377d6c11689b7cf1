//! An HTTP/1.1 client that sends the bytes it is given and takes answers apart by the letter of RFC 9112.
//!
//! Nothing is repaired: what a careful client would refuse is a [`Fault`].

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::origin::reset;
use super::wait::PATIENCE;

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    /// Version as written, e.g. `HTTP/1.1`.
    pub(crate) version: String,
    /// Status.
    pub(crate) status: u16,
    /// Fields in order, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// Content, transfer coding taken off.
    pub(crate) body: Vec<u8>,
    /// Statuses of the 1xx answers before it (101 is an answer of its own).
    pub(crate) interim: Vec<u16>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection ended cleanly, after so many bytes of the answer.
    Closed(usize),
    /// The connection was reset, after so many bytes of the answer.
    Reset(usize),
    /// Nothing more within the deadline.
    Timeout,
    /// Bytes that are no HTTP/1.1 answer.
    Malformed(String),
}

impl Client {
    /// Connects.
    #[track_caller]
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        Self::try_connect(addr).unwrap_or_else(|e| panic!("cannot connect to {addr}: {e}"))
    }

    /// Connects, or says why not.
    pub(crate) fn try_connect(addr: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Connects from an address of this machine.
    #[track_caller]
    pub(crate) fn connect_from(from: [u8; 4], addr: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
        socket.connect_timeout(&addr.into(), PATIENCE).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// Gives up sending what nobody takes for so long.
    pub(crate) fn set_write_patience(&self, patience: Duration) {
        self.stream.set_write_timeout(Some(patience)).unwrap();
    }

    /// Sends these bytes.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).unwrap();
    }

    /// Sends these bytes, or says why not.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Sends a GET and returns the answer.
    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.request("GET", path, &[], b"")
    }

    /// Sends a request (with Content-Length if there is a body or the method wants one) and returns the answer.
    #[track_caller]
    pub(crate) fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.try_request(method, path, headers, body).unwrap_or_else(|fault| panic!("{method} {path}: {fault:?}"))
    }

    /// Sends a request and returns the answer, or why there is none.
    pub(crate) fn try_request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response, Fault> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: test.example\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || matches!(method, "POST" | "PUT") {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        // An answer may arrive before the last byte is taken: the answer counts, not the broken pipe.
        let sent = self.try_send(bytes);
        let answer = self.try_response_to(method);
        match (sent, answer) {
            (Err(_), Err(Fault::Timeout)) => Err(Fault::Reset(0)),
            (_, answer) => answer,
        }
    }

    /// Reads the answer to a request that was not HEAD.
    #[track_caller]
    pub(crate) fn response(&mut self) -> Response {
        self.try_response_to("GET").unwrap_or_else(|fault| panic!("no answer: {fault:?}"))
    }

    /// Reads the answer to a request of that method, or says why there is none.
    pub(crate) fn try_response_to(&mut self, method: &str) -> Result<Response, Fault> {
        let end = Instant::now() + PATIENCE;
        let mut interim = Vec::new();
        loop {
            let head = self.read_head(end)?;
            let (version, status, headers) = parse_head(&head)?;
            if (100..200).contains(&status) && status != 101 {
                interim.push(status);
                continue;
            }
            let mut response = Response { version, status, headers, body: Vec::new(), interim };
            response.body = self.read_body(method, &response, end)?;
            return Ok(response);
        }
    }

    /// Reads the head of an answer, interim (1xx) or not, and nothing behind it.
    #[track_caller]
    pub(crate) fn head(&mut self) -> Response {
        let head = self.read_head(Instant::now() + PATIENCE).unwrap();
        let (version, status, headers) = parse_head(&head).unwrap();
        Response { version, status, headers, body: Vec::new(), interim: Vec::new() }
    }

    /// Reads exactly `n` bytes past what has been read.
    pub(crate) fn take(&mut self, n: usize) -> Result<Vec<u8>, Fault> {
        self.take_before(n, Instant::now() + PATIENCE)
    }

    /// Reads to the end of the stream; fails unless it ends cleanly.
    pub(crate) fn rest(&mut self) -> Result<Vec<u8>, Fault> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.fill(end) {
                Ok(()) => {}
                Err(Fault::Closed(_)) => return Ok(std::mem::take(&mut self.buffer)),
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Says that no more bytes will be sent; can still read.
    pub(crate) fn finish_writes(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        reset(&self.stream);
    }

    /// Returns whether the other side ends the connection (cleanly or not) within `deadline`. Bytes that arrive
    /// before are kept.
    pub(crate) fn is_closed_within(&mut self, deadline: Duration) -> bool {
        let end = Instant::now() + deadline;
        loop {
            match self.fill(end) {
                Ok(()) => {}
                Err(Fault::Timeout) => return false,
                Err(Fault::Closed(_) | Fault::Reset(_) | Fault::Malformed(_)) => return true,
            }
        }
    }

    /// The address that this client speaks from.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    fn read_head(&mut self, end: Instant) -> Result<Vec<u8>, Fault> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                return Ok(self.buffer.drain(..at + 4).collect());
            }
            self.fill(end)?;
        }
    }

    fn read_body(&mut self, method: &str, response: &Response, end: Instant) -> Result<Vec<u8>, Fault> {
        if method == "HEAD" || matches!(response.status, 101 | 204 | 304) {
            return Ok(Vec::new());
        }
        match (response.header("transfer-encoding"), response.header("content-length")) {
            (Some(_), Some(_)) => Err(Fault::Malformed("both Transfer-Encoding and Content-Length".to_owned())),
            (Some("chunked"), None) => self.read_chunks(end),
            (Some(other), None) => Err(Fault::Malformed(format!("Transfer-Encoding: {other}"))),
            (None, Some(length)) => {
                let length = length.parse().map_err(|_| Fault::Malformed(format!("Content-Length: {length}")))?;
                self.take_before(length, end)
            }
            (None, None) => self.rest(),
        }
    }

    fn read_chunks(&mut self, end: Instant) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        loop {
            let line = self.read_line(end)?;
            let size = line.split(';').next().unwrap_or("").trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| Fault::Malformed(format!("chunk size {line:?}")))?;
            if size == 0 {
                while !self.read_line(end)?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.take_before(size, end)?);
            if self.take_before(2, end)? != b"\r\n" {
                return Err(Fault::Malformed("no line end after a chunk".to_owned()));
            }
        }
    }

    fn read_line(&mut self, end: Instant) -> Result<String, Fault> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            self.fill(end)?;
        }
    }

    fn take_before(&mut self, n: usize, end: Instant) -> Result<Vec<u8>, Fault> {
        while self.buffer.len() < n {
            self.fill(end)?;
        }
        Ok(self.buffer.drain(..n).collect())
    }

    /// Reads once.
    fn fill(&mut self, end: Instant) -> Result<(), Fault> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Fault::Timeout);
        }
        self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1)))).unwrap();
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(Fault::Closed(self.buffer.len())),
            Ok(n) => {
                self.buffer.extend_from_slice(&chunk[..n]);
                Ok(())
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(Fault::Timeout),
            Err(e) if e.kind() == ErrorKind::Interrupted => Ok(()),
            Err(_) => Err(Fault::Reset(self.buffer.len())),
        }
    }
}

impl Response {
    /// Returns the value of a field; several of one name are joined by a comma.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Returns the name of the origin that answered.
    #[track_caller]
    pub(crate) fn origin(&self) -> &str {
        self.header("x-origin").unwrap_or_else(|| panic!("no origin answered: {} {}", self.status, self.text()))
    }

    /// Returns the body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("no JSON ({e}): {} {}", self.status, self.text()))
    }
}

/// Returns the place of `needle` in `hay`.
pub(crate) fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|w| w == needle)
}

type Head = (String, u16, Vec<(String, String)>);

fn parse_head(head: &[u8]) -> Result<Head, Fault> {
    let wrong = |what: &str| Fault::Malformed(format!("{what}: {:?}", String::from_utf8_lossy(head)));
    let text = std::str::from_utf8(head).map_err(|_| wrong("not UTF-8"))?;
    let mut lines = text.trim_end_matches("\r\n").split("\r\n");
    let mut status_line = lines.next().unwrap_or("").splitn(3, ' ');
    let version = status_line.next().unwrap_or("").to_owned();
    let status = status_line.next().and_then(|s| s.parse().ok()).ok_or_else(|| wrong("no status"))?;
    if !version.starts_with("HTTP/1.") {
        return Err(wrong("no version"));
    }
    let field = |line: &str| {
        let (name, value) = line.split_once(':').ok_or_else(|| wrong("no colon"))?;
        Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    Ok((version, status, lines.map(field).collect::<Result<_, Fault>>()?))
}
