//! Clients of HTTP/2: one that is right (the `h2` crate's), and one that sends the frames it is given.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use tokio::runtime::Runtime;

use super::wait::PATIENCE;

/// A right client: one connection, without TLS.
pub(crate) struct H2 {
    runtime: Runtime,
    send: SendRequest<Bytes>,
    driver: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct H2Response {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl H2Response {
    /// Returns the body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl H2 {
    /// Connects.
    #[track_caller]
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (send, driver) = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (send, connection) = h2::client::handshake(stream).await.unwrap();
            (send, tokio::spawn(connection))
        });
        Self { runtime, send, driver }
    }

    /// Sends a GET and returns the answer.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> H2Response {
        self.request(Self::head("GET", path), &[]).unwrap()
    }

    /// The head of a request.
    pub(crate) fn head(method: &str, path: &str) -> Request<()> {
        Request::builder().method(method).uri(format!("http://test.example{path}")).body(()).unwrap()
    }

    /// Sends a request with these pieces of a body, of which the last ends it, and returns the answer; where there are
    /// none the head ends the request.
    pub(crate) fn request(&self, head: Request<()>, pieces: &[&[u8]]) -> Result<H2Response, h2::Error> {
        let pieces: Vec<_> = pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect();
        self.runtime.block_on(async {
            tokio::time::timeout(PATIENCE, exchange(self.send.clone(), head, pieces)).await.expect("an answer in time")
        })
    }

    /// Sends so many GETs at once and returns the answers.
    pub(crate) fn get_many(&self, path: &str, count: usize) -> Vec<Result<H2Response, h2::Error>> {
        self.runtime.block_on(async {
            let ask = |_| tokio::spawn(exchange(self.send.clone(), Self::head("GET", path), Vec::new()));
            let asked: Vec<_> = (0..count).map(ask).collect();
            let mut answers = Vec::new();
            for answer in asked {
                answers.push(tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time").unwrap());
            }
            answers
        })
    }

    /// Runs something with the connection.
    pub(crate) fn run<F: Future>(&self, with: impl FnOnce(SendRequest<Bytes>) -> F) -> F::Output {
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, with(self.send.clone())).await.expect("an end in time") })
    }

    /// Waits until the connection has ended, and returns how.
    pub(crate) fn ended(self) -> Result<(), h2::Error> {
        let Self { runtime, send, driver } = self;
        drop(send);
        runtime.block_on(async { tokio::time::timeout(PATIENCE, driver).await.expect("an end in time").unwrap() })
    }
}

async fn exchange(send: SendRequest<Bytes>, head: Request<()>, pieces: Vec<Bytes>) -> Result<H2Response, h2::Error> {
    let mut send = send.ready().await?;
    let (response, mut body) = send.send_request(head, pieces.is_empty())?;
    let count = pieces.len();
    for (n, piece) in pieces.into_iter().enumerate() {
        // Who has had enough may have answered and closed the stream by now: the answer tells.
        if send_piece(&mut body, piece, n + 1 == count).await.is_err() {
            break;
        }
    }
    let (parts, mut body) = response.await?.into_parts();
    let mut read = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        read.extend_from_slice(&piece);
        body.flow_control().release_capacity(piece.len())?;
    }
    body.trailers().await?;
    Ok(H2Response { status: parts.status.as_u16(), body: read })
}

/// Sends a piece of a body as the windows let it.
pub(crate) async fn send_piece(
    body: &mut h2::SendStream<Bytes>,
    mut piece: Bytes,
    is_last: bool,
) -> Result<(), h2::Error> {
    while !piece.is_empty() {
        body.reserve_capacity(piece.len());
        let Some(capacity) = std::future::poll_fn(|cx| body.poll_capacity(cx)).await else { break };
        let now = piece.split_to(capacity?.min(piece.len()));
        if piece.is_empty() {
            return body.send_data(now, is_last);
        }
        body.send_data(now, false)?;
    }
    body.send_data(piece, is_last)
}

pub(crate) const DATA: u8 = 0x0;
pub(crate) const HEADERS: u8 = 0x1;
pub(crate) const RST_STREAM: u8 = 0x3;
pub(crate) const SETTINGS: u8 = 0x4;
pub(crate) const PING: u8 = 0x6;
pub(crate) const GOAWAY: u8 = 0x7;
pub(crate) const WINDOW_UPDATE: u8 = 0x8;
pub(crate) const CONTINUATION: u8 = 0x9;
pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The error code of a RST_STREAM or GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// A side of a connection that sends the frames it is given, and what it likes.
pub(crate) struct Frames {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Frames {
    /// Connects and says hello.
    #[track_caller]
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let mut frames = Self::connect_silently(addr);
        frames.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        frames.send(SETTINGS, 0, 0, &[]).unwrap();
        frames
    }

    /// Connects.
    #[track_caller]
    pub(crate) fn connect_silently(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&addr, PATIENCE).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// Takes the other side of a connection: that of the server.
    pub(crate) fn accepted(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// Passes over what a client says first.
    pub(crate) fn skip_preface(&mut self) {
        let mut preface = [0; 24];
        // A client that left says nothing more either.
        let _ = self.stream.read_exact(&mut preface);
    }

    /// Sends bytes.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a frame.
    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> std::io::Result<()> {
        self.raw(&frame(kind, flags, stream, payload))
    }

    /// Sends the head of a GET that is whole.
    pub(crate) fn get(&mut self, stream: u32) -> std::io::Result<()> {
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, &head("GET", &[]))
    }

    /// Returns the next frame; nothing once the connection has ended.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            assert!(Instant::now() < end, "no frame and no end within {PATIENCE:?}");
            self.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return None,
            }
        }
    }

    /// Returns the next frame of that kind; nothing once the connection has ended.
    pub(crate) fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next()?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// Returns every frame up to the end of the connection.
    pub(crate) fn rest(&mut self) -> Vec<Frame> {
        std::iter::from_fn(|| self.next()).collect()
    }

    fn take(&mut self) -> Option<Frame> {
        let head: [u8; 9] = self.buffer.get(..9)?.try_into().unwrap();
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let payload = self.buffer.get(9..9 + length)?.to_vec();
        self.buffer.drain(..9 + length);
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }
}

/// Returns the bytes of a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Returns a field as it is, of fewer than 127 bytes a part.
pub(crate) fn field(name: &str, value: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| u8::try_from(bytes.len()).ok().filter(|n| *n < 127).unwrap();
    let mut bytes = vec![0, length(name.as_bytes())];
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(length(value));
    bytes.extend_from_slice(value);
    bytes
}

/// Returns the fields of a request, with more behind those that each has.
pub(crate) fn head(method: &str, more: &[(&str, &[u8])]) -> Vec<u8> {
    let own: [(&str, &[u8]); 4] =
        [(":method", method.as_bytes()), (":scheme", b"http"), (":authority", b"t.example"), (":path", b"/x")];
    own.iter().chain(more).flat_map(|(name, value)| field(name, value)).collect()
}
