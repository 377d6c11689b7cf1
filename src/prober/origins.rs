//! Scripted origins for the tests of this room: each listens on a free loopback port and treats every connection alike.

pub(super) mod certified;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What an origin does with a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Script {
    /// Sends a reply whose body never ends, as fast as it is taken.
    EndlessBody,
    /// Sends a header field that never ends.
    EndlessHead,
    /// Reads the request, sends this and closes.
    Reply(&'static str),
    /// Reads the request, sends this and keeps the connection.
    ReplyAndHold(&'static str),
    /// Reads the request, sends this and resets the connection.
    ReplyAndReset(&'static str),
    /// Reads the request and sends this reply a byte at a time.
    Drip(&'static str, Duration),
    /// Resets without reading.
    ResetOnAccept,
    /// Never sends a byte.
    Silent,
    /// Sends this without being asked and keeps the connection.
    Speak(&'static str),
    /// Sends this without being asked and closes.
    SpeakAndClose(&'static str),
}

/// A healthy reply.
pub(super) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nall ok";

/// Starts an origin in the current runtime and returns where it is.
pub(super) async fn start(script: Script) -> SocketAddr {
    serve(move |stream| play(stream, script)).await
}

/// Starts an origin that hands every connection to `each`.
pub(super) async fn serve<F>(each: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(each(stream));
        }
    });
    addr
}

/// Reads until the end of a request's head and returns it.
pub(super) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(request).unwrap()
}

/// An address where connects are neither accepted nor refused: a listener whose backlog is full. Keep the guard.
pub(super) async fn black_hole() -> (SocketAddr, Vec<socket2::Socket>) {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut guard = vec![listener];
    for _ in 0..4 {
        let filler = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        filler.set_nonblocking(true).unwrap();
        filler.connect(&addr).unwrap_err();
        guard.push(filler);
    }
    (addr.as_socket().unwrap(), guard)
}

/// Treats one connection so.
pub(super) async fn play(mut stream: TcpStream, script: Script) {
    match script {
        Script::EndlessBody => endless(&mut stream, "HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 4096]).await,
        Script::EndlessHead => endless(&mut stream, "HTTP/1.1 200 OK\r\nX-More: ", b"and more ").await,
        Script::Reply(text) => {
            read_request(&mut stream).await;
            stream.write_all(text.as_bytes()).await.ok();
        }
        Script::ReplyAndHold(text) => {
            read_request(&mut stream).await;
            stream.write_all(text.as_bytes()).await.ok();
            hold(&mut stream).await;
        }
        Script::ReplyAndReset(text) => {
            read_request(&mut stream).await;
            stream.write_all(text.as_bytes()).await.ok();
            stream.set_zero_linger().unwrap();
        }
        Script::Drip(text, pause) => {
            read_request(&mut stream).await;
            for byte in text.as_bytes() {
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(pause).await;
            }
        }
        Script::ResetOnAccept => {
            // Late enough for the client's connect to have ended: a reset during it is another case.
            tokio::time::sleep(Duration::from_millis(30)).await;
            stream.set_zero_linger().unwrap();
        }
        Script::Silent => hold(&mut stream).await,
        Script::Speak(text) => {
            stream.write_all(text.as_bytes()).await.ok();
            hold(&mut stream).await;
        }
        Script::SpeakAndClose(text) => {
            stream.write_all(text.as_bytes()).await.ok();
        }
    }
}

async fn endless(stream: &mut TcpStream, first: &str, again: &[u8]) {
    read_request(stream).await;
    let mut next = first.as_bytes();
    while stream.write_all(next).await.is_ok() {
        next = again;
    }
}

/// Keeps the connection until the peer closes it.
async fn hold(stream: &mut TcpStream) {
    while stream.read_u8().await.is_ok() {}
}
