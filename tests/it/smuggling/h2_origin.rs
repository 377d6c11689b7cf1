//! An origin of HTTP/2 that records what it sees. Its frames and heads are read by the `h2` crate, which refuses what
//! RFC 9113 calls malformed; what is left to judge is judged here.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// What was seen, and what of it was wrong.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// Whole requests: target, and "METHOD target body-bytes".
    pub(super) requests: Vec<(String, String)>,
    pub(super) faults: Vec<String>,
}

/// A running origin; stops when dropped.
pub(super) struct H2Origin {
    addr: SocketAddr,
    record: Arc<Mutex<Record>>,
    runtime: Option<Runtime>,
}

impl H2Origin {
    /// Starts one, without TLS. It answers each whole request with its line.
    pub(super) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        let record = Arc::new(Mutex::new(Record::default()));
        let shared = Arc::clone(&record);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { addr, record, runtime: Some(runtime) }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(super) fn record(&self) -> Record {
        self.record.lock().unwrap().clone()
    }
}

impl Drop for H2Origin {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

async fn serve(stream: TcpStream, record: Arc<Mutex<Record>>) {
    let _ = stream.set_nodelay(true);
    // Who only looks whether the port is open says nothing.
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut last = "nothing".to_owned();
    loop {
        match connection.accept().await {
            None => return,
            Some(Ok((request, answer))) => {
                last = request.uri().path().to_owned();
                tokio::spawn(exchange(request, answer, Arc::clone(&record)));
            }
            Some(Err(error)) => {
                // What only breaks off is no fault of its frames.
                if !error.is_io() && error.reason() != Some(h2::Reason::NO_ERROR) {
                    record.lock().unwrap().faults.push(format!("behind {last}: {error}"));
                }
                return;
            }
        }
    }
}

async fn exchange(
    request: Request<h2::RecvStream>,
    mut answer: h2::server::SendResponse<Bytes>,
    record: Arc<Mutex<Record>>,
) {
    let (head, mut body) = request.into_parts();
    let target = head.uri.path_and_query().map_or("", |target| target.as_str()).to_owned();
    let mut bytes = 0;
    while let Some(piece) = body.data().await {
        // A body that breaks off is none that was received.
        let Ok(piece) = piece else { return };
        bytes += piece.len();
        let _ = body.flow_control().release_capacity(piece.len());
    }
    let Ok(trailers) = body.trailers().await else { return };
    let line = format!("{} {target} {bytes}", head.method);
    {
        let mut record = record.lock().unwrap();
        let fault = wrong(&head, bytes).or_else(|| trailers.and_then(|trailers| wrong_trailers(&trailers)));
        record.faults.extend(fault.map(|fault| format!("{line}: {fault}")));
        record.requests.push((target.clone(), line));
    }
    let page = Bytes::from(format!("{} {target}\n", head.method));
    let is_head = head.method == http::Method::HEAD;
    let Ok(mut send) = answer.send_response(Response::new(()), is_head) else { return };
    if !is_head {
        let _ = send.send_data(page, true);
    }
}

/// What a server could read in two ways, or take for more than it is.
fn wrong(head: &http::request::Parts, bytes: usize) -> Option<String> {
    let fields = &head.headers;
    let Some(authority) = head.uri.authority() else { return Some("no authority".to_owned()) };
    if authority.as_str().contains(['@', ',', ' ', '/', '\\']) {
        return Some(format!("the authority {authority:?}"));
    }
    if fields.get_all("host").iter().any(|host| host.as_bytes() != authority.as_str().as_bytes()) {
        return Some(format!("a Host beside the authority {authority:?}"));
    }
    if !head.uri.path().starts_with('/') && head.uri.path() != "*" {
        return Some(format!("the path {:?}", head.uri.path()));
    }
    let forbidden = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "http2-settings"];
    if let Some(name) = forbidden.iter().find(|name| fields.contains_key(**name)) {
        return Some(format!("a field of one connection: {name}"));
    }
    if fields.get("te").is_some_and(|te| te != "trailers") {
        return Some("a TE other than trailers".to_owned());
    }
    let lengths: Vec<_> = fields.get_all("content-length").iter().collect();
    let is_length = |value: &&http::HeaderValue| value.as_bytes() == bytes.to_string().as_bytes();
    if lengths.len() > 1 || !lengths.iter().all(is_length) {
        return Some(format!("{bytes} bytes with the lengths {lengths:?}"));
    }
    let vias = fields.get_all("via").iter().filter(|via| via.as_bytes().ends_with(b"farmgate")).count();
    (vias != 1).then(|| format!("{vias} Via of ours"))
}

fn wrong_trailers(trailers: &HeaderMap) -> Option<String> {
    let forbidden = ["content-length", "host", "transfer-encoding", "te", "connection"];
    let name = forbidden.iter().find(|name| trailers.contains_key(**name))?;
    Some(format!("the trailer {name}"))
}
