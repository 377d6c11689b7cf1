//! The connection of a client or of a server, whatever carries it, and who is at the other end.
//!
//! A plain TCP connection costs what it would cost by itself: no box, no virtual call. What was read ahead of time, to
//! find out what is spoken, is read again first. Knows nothing of what the bytes mean.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use nix::sys::socket::{MsgFlags, recv};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

use crate::model::{PeerAddr, ProxyOut};

use super::proxy_header::{self, Addresses, Said};
use super::queue::LOOK;
use super::tls::Peer;
use super::work::canonical;

/// How long a Unix socket whose queue is full is left alone.
const QUEUE_WAIT: Duration = Duration::from_millis(5);

/// A socket of the system.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Connects to a server. The queue of a Unix socket that is full is tried again: whoever calls has a deadline.
    pub(super) async fn connect(addr: &PeerAddr) -> io::Result<Self> {
        let path = match addr {
            PeerAddr::Ip(addr) => {
                let stream = TcpStream::connect(addr).await?;
                // Latency over segments; a failure only costs that.
                let _ = stream.set_nodelay(true);
                return Ok(Self::Tcp(stream));
            }
            PeerAddr::Unix(path) => path,
        };
        loop {
            match UnixStream::connect(path).await {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(QUEUE_WAIT).await,
                connected => return connected.map(Self::Unix),
            }
        }
    }

    /// Ready once there may be something to read.
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    /// Waits for bytes and copies what is there, as far as there is room, leaving it to be read; 0 once the other side
    /// has ended. Comes back at once for as long as nothing of it is read.
    pub(super) async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            self.readable().await?;
            match self.receive(buf, MsgFlags::MSG_PEEK) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
    }

    /// Reads bytes that are there: a peek has shown them.
    pub(super) fn take(&self, mut buf: &mut [u8]) -> io::Result<()> {
        while !buf.is_empty() {
            let n = self.receive(buf, MsgFlags::empty())?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buf = &mut buf[n..];
        }
        Ok(())
    }

    async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Unix(stream) => stream.readable().await,
        }
    }

    fn receive(&self, buf: &mut [u8], flags: MsgFlags) -> io::Result<usize> {
        let fd = self.as_fd().as_raw_fd();
        let receive = || recv(fd, buf, flags).map_err(io::Error::from);
        match self {
            Self::Tcp(stream) => stream.try_io(Interest::READABLE, receive),
            Self::Unix(stream) => stream.try_io(Interest::READABLE, receive),
        }
    }

    /// Makes its end a reset, where there is such a thing.
    /// Returns it under a second number, of which the runtime is told by itself.
    fn second(&self) -> io::Result<Self> {
        let second = self.as_fd().try_clone_to_owned()?;
        match self {
            Self::Tcp(_) => TcpStream::from_std(second.into()).map(Self::Tcp),
            Self::Unix(_) => UnixStream::from_std(second.into()).map(Self::Unix),
        }
    }

    /// Ready once there is something to read, an end or an error.
    async fn ready(&self) -> io::Result<Ready> {
        match self {
            Self::Tcp(stream) => stream.ready(Interest::READABLE | Interest::ERROR).await,
            Self::Unix(stream) => stream.ready(Interest::READABLE | Interest::ERROR).await,
        }
    }

    /// Has [`Self::ready`] wait for what comes next.
    fn forget_readiness(&self) {
        let nothing = || io::Result::<()>::Err(io::ErrorKind::WouldBlock.into());
        // Always the error that was made up.
        let _ = match self {
            Self::Tcp(stream) => stream.try_io(Interest::READABLE, nothing),
            Self::Unix(stream) => stream.try_io(Interest::READABLE, nothing),
        };
    }

    fn set_zero_linger(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_zero_linger(),
            Self::Unix(_) => Ok(()),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, data),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing is held back here.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// See the module's doc.
#[derive(Debug)]
pub(super) struct Transport {
    stream: Stream,
    ahead: Ahead,
}

#[derive(Debug)]
enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// Bytes that were read ahead of time and are to be read again.
#[derive(Debug, Default)]
struct Ahead {
    bytes: Vec<u8>,
    start: usize,
}

impl Transport {
    pub(super) fn tls(stream: TlsStream<Socket>) -> Self {
        Self { stream: Stream::Tls(Box::new(stream)), ahead: Ahead::default() }
    }

    /// Puts bytes that were read ahead of time back, to be read before all others.
    pub(super) fn put_back(&mut self, bytes: Vec<u8>) {
        self.ahead = Ahead { bytes, start: 0 };
    }

    /// Returns the socket that is read and written as it is; none where there is TLS between.
    pub(super) fn plain(&self) -> Option<&Socket> {
        match &self.stream {
            Stream::Plain(socket) => Some(socket),
            Stream::Tls(_) => None,
        }
    }

    fn socket(&self) -> &Socket {
        match &self.stream {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Ready once there may be something to read; a hint only, which comes at once where it cannot be known.
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.stream {
            Stream::Plain(socket) if self.ahead.bytes.is_empty() => socket.poll_read_ready(cx),
            Stream::Plain(_) | Stream::Tls(_) => Poll::Ready(Ok(())),
        }
    }

    /// Returns whether bytes of the other side, its end or an error wait here, whatever the runtime knows by now.
    pub(super) fn is_more_here(&self) -> bool {
        if !self.ahead.bytes.is_empty() {
            return true;
        }
        let peeked = SockRef::from(self.socket()).peek(&mut [MaybeUninit::uninit()]);
        !peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Ready once the other side is gone: it reset the connection, or closed its side with nothing before that is unread.
    /// Bytes and an end behind them may be of one that waits for an answer; in TLS they are of one that said goodbye.
    pub(super) async fn left(&self) {
        // What is noted of the first number is for whoever reads.
        let Ok(second) = self.socket().second() else { return std::future::pending().await };
        let is_tls = matches!(self.stream, Stream::Tls(_));
        while let Ok(now) = second.ready().await {
            if now.is_error() || (now.is_read_closed() && (is_tls || self.is_at_end())) {
                return;
            }
            if now.is_read_closed() {
                // It says so for ever.
                tokio::time::sleep(LOOK).await;
            }
            second.forget_readiness();
        }
    }

    fn is_at_end(&self) -> bool {
        let peeked = SockRef::from(self.socket()).peek(&mut [MaybeUninit::uninit()]);
        self.ahead.bytes.is_empty() && !peeked.is_ok_and(|bytes| bytes > 0)
    }

    /// Makes the end of the connection a reset. A Unix socket has none: there, and in TLS beside it, an end that was
    /// not announced is what tells.
    pub(super) fn set_zero_linger(&self) -> io::Result<()> {
        self.socket().set_zero_linger()
    }
}

impl From<TcpStream> for Transport {
    fn from(stream: TcpStream) -> Self {
        Socket::Tcp(stream).into()
    }
}

impl From<Socket> for Transport {
    fn from(socket: Socket) -> Self {
        Self { stream: Stream::Plain(socket), ahead: Ahead::default() }
    }
}

impl AsRawFd for Transport {
    fn as_raw_fd(&self) -> RawFd {
        self.socket().as_fd().as_raw_fd()
    }
}

impl Ahead {
    #[cold]
    fn deliver(&mut self, buf: &mut ReadBuf<'_>) {
        let left = &self.bytes[self.start..];
        let n = left.len().min(buf.remaining());
        buf.put_slice(&left[..n]);
        self.start += n;
        if self.start == self.bytes.len() {
            *self = Self::default();
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ahead.bytes.is_empty() {
            this.ahead.deliver(buf);
            return Poll::Ready(Ok(()));
        }
        match &mut this.stream {
            Stream::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(socket) => Pin::new(socket).poll_write(cx, data),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, data),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// In TLS a write may leave what it made in a buffer: whoever wants it on its way flushes.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(_) => Poll::Ready(Ok(())),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}

/// Who a connection is from, and how it came.
#[derive(Clone, Debug)]
pub(super) struct Client {
    /// Whose connection was accepted.
    pub(super) peer: SocketAddr,
    /// Who is behind it, as a PROXY header says; the peer without one.
    pub(super) address: SocketAddr,
    /// Where the client connected to, as a PROXY header says; our own address without one.
    pub(super) local: SocketAddr,
    /// What TLS says of it, if it speaks TLS to us.
    pub(super) tls: Option<Arc<Peer>>,
    /// Whether it came through a Unix socket.
    pub(super) is_unix: bool,
}

impl Client {
    /// Returns who came from `peer` to `local` over TCP.
    pub(super) fn tcp(peer: SocketAddr, local: SocketAddr) -> Self {
        let [peer, local] = [peer, local].map(|addr| SocketAddr::new(canonical(addr.ip()), addr.port()));
        Self { peer, address: peer, local, tls: None, is_unix: false }
    }

    /// Returns who came through a Unix socket: somebody of this host.
    pub(super) fn unix() -> Self {
        let here = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Self { peer: here, address: here, local: here, tls: None, is_unix: true }
    }

    /// Takes in what a PROXY header says.
    pub(super) fn introduced(&mut self, source: SocketAddr, destination: SocketAddr) {
        [self.address, self.local] =
            [source, destination].map(|addr| SocketAddr::new(canonical(addr.ip()), addr.port()));
    }

    /// Returns whether its address is its own: all who come through a Unix socket have one, until they are introduced.
    pub(super) fn is_told_apart(&self) -> bool {
        !self.is_unix || self.address != self.peer
    }

    /// Returns where it came to, as a host and a port: what a request is about that does not say.
    pub(super) fn came_to(&self) -> String {
        if self.is_told_apart() { self.local.to_string() } else { "localhost".to_owned() }
    }

    /// Returns the PROXY header that tells a server of it.
    pub(super) fn proxy_header(&self, form: ProxyOut) -> Vec<u8> {
        let known = self.is_told_apart();
        let addresses = known.then_some(Addresses { source: self.address, destination: self.local });
        let certificate = self.tls.as_ref().and_then(|peer| peer.client.as_ref());
        let said = Said {
            version: self.tls.as_ref().map(|peer| peer.version),
            is_certified: certificate.is_some_and(|shown| shown.is_verified),
            common_name: certificate.map(|shown| &*shown.subject_cn).filter(|name| !name.is_empty()),
        };
        proxy_header::written(form, addresses, &said)
    }

    /// Returns what the client speaks to us, where it speaks HTTP.
    pub(super) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn bytes_put_back_are_read_first_and_once() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut transport = Transport::from(Socket::Unix(ours));
        assert!(!transport.is_more_here());
        transport.put_back(b"PRI".to_vec());
        assert!(transport.is_more_here());
        poll_fn(|cx| transport.poll_read_ready(cx)).await.unwrap();
        theirs.write_all(b"NT").await.unwrap();
        drop(theirs);
        let mut piece = [0; 2];
        transport.read_exact(&mut piece).await.unwrap();
        assert_eq!(&piece, b"PR");
        let mut rest = String::new();
        transport.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "INT");
    }

    #[test]
    fn client_of_a_mapped_address_is_one_of_ipv4() {
        let client = Client::tcp("[::ffff:192.0.2.7]:1234".parse().unwrap(), "[::1]:80".parse().unwrap());
        assert_eq!(client.address.to_string(), "192.0.2.7:1234");
        assert_eq!(client.scheme(), "http");
    }
}
