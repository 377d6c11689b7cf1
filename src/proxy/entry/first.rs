//! Finds out what a connection begins with, taking no byte that is somebody else's to read.

use std::io;

use super::super::client_hello;
use super::super::proxy_header::{self, Addresses};
use super::super::transport::Socket;

/// What HTTP/2 begins with (RFC 9113 §3.4).
const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The longest method that is taken for one where nothing else is known, and what is read at once to see it.
const REQUEST_METHOD_BYTES: usize = 20;
const REQUEST_BEGINS_BYTES: usize = 32;
/// Bytes looked at, or read, at once.
const PIECE_BYTES: usize = 2048;

/// Why a connection does not go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// It does not begin as it must.
    #[error("{0}")]
    Malformed(&'static str),
    /// It is over.
    #[error("the client left: {0}")]
    Gone(#[from] io::Error),
}

/// Takes a PROXY header off the front; returns the addresses in it, if it has any.
pub(super) async fn proxy_header(socket: &Socket) -> Result<Option<Addresses>, Fault> {
    let mut held: Vec<u8> = Vec::new();
    loop {
        let mut piece = [0; PIECE_BYTES];
        let before = held.len();
        let n = socket.peek(&mut piece).await?;
        if n == 0 {
            return Err(Fault::Gone(io::ErrorKind::UnexpectedEof.into()));
        }
        held.extend_from_slice(&piece[..n]);
        // Partial headers are bounded by what can be whole, and so is what is held.
        let (taken, addresses) = match proxy_header::read(&held) {
            proxy_header::Reading::Malformed(why) => return Err(Fault::Malformed(why)),
            proxy_header::Reading::Partial => (n, None),
            proxy_header::Reading::Whole(length, addresses) => (length - before, Some(addresses)),
        };
        socket.take(&mut piece[..taken])?;
        if let Some(addresses) = addresses {
            return Ok(addresses);
        }
    }
}

/// Waits for the first byte of a client; false if it has left.
pub(super) async fn is_anything_there(socket: &Socket) -> bool {
    socket.peek(&mut [0]).await.is_ok_and(|n| n > 0)
}

/// Returns whether HTTP/2 begins, and what had to be taken to know: at most the preface, and nothing where the first
/// piece tells.
pub(super) async fn preface(socket: &Socket) -> io::Result<(bool, &'static [u8])> {
    let mut taken = 0;
    loop {
        let (before, left) = PREFACE.split_at(taken);
        let mut piece = [0; PREFACE.len()];
        let n = socket.peek(&mut piece[..left.len()]).await?;
        let is_alike = n > 0 && piece[..n] == left[..n];
        if !is_alike || n == left.len() {
            return Ok((is_alike, before));
        }
        socket.take(&mut piece[..n])?;
        taken += n;
    }
}

/// Reads what a client says first into `held`, until it is known what it is.
pub(super) async fn client_hello(socket: &Socket, held: &mut Vec<u8>) -> Result<client_hello::Reading, Fault> {
    loop {
        let mut piece = [0; PIECE_BYTES];
        let n = socket.peek(&mut piece).await?;
        if n == 0 {
            return if held.is_empty() {
                Ok(client_hello::Reading::Plain)
            } else {
                Err(Fault::Gone(io::ErrorKind::UnexpectedEof.into()))
            };
        }
        socket.take(&mut piece[..n])?;
        held.extend_from_slice(&piece[..n]);
        match client_hello::read(held) {
            client_hello::Reading::Malformed(why) => return Err(Fault::Malformed(why)),
            client_hello::Reading::Partial if held.len() > client_hello::BYTES_MAX => {
                return Err(Fault::Malformed(client_hello::TOO_LONG));
            }
            client_hello::Reading::Partial => {}
            known @ (client_hello::Reading::Hello(_) | client_hello::Reading::Plain) => return Ok(known),
        }
    }
}

/// Reads on into `held` until it is known whether a request of HTTP begins there, in the clear. What ends before that is
/// none.
pub(super) async fn is_http(socket: &Socket, held: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        if let Some(known) = begins_http(held) {
            return Ok(known);
        }
        let mut piece = [0; REQUEST_BEGINS_BYTES];
        let n = socket.peek(&mut piece).await?;
        if n == 0 {
            return Ok(false);
        }
        socket.take(&mut piece[..n])?;
        held.extend_from_slice(&piece[..n]);
    }
}

/// Whether that is a method, a space and the beginning of a target, HTTP/2's preface included; nothing while it may become
/// so. Other protocols begin with words in capital letters, too: no target follows them.
fn begins_http(said: &[u8]) -> Option<bool> {
    let Some(end) = memchr::memchr(b' ', said) else {
        let may_be_method = said.len() <= REQUEST_METHOD_BYTES && said.iter().all(u8::is_ascii_uppercase);
        return if may_be_method { None } else { Some(false) };
    };
    let (method, target) = (&said[..end], &said[end + 1..]);
    if method.is_empty() || method.len() > REQUEST_METHOD_BYTES || !method.iter().all(u8::is_ascii_uppercase) {
        return Some(false);
    }
    match (method, target.first()?) {
        (b"CONNECT", _) | (b"OPTIONS" | b"PRI", b'*') | (_, b'/') => Some(true),
        _ => {
            let scheme = &b"http"[..target.len().min(b"http".len())];
            let is_alike = target[..scheme.len()].eq_ignore_ascii_case(scheme);
            if is_alike && scheme != b"http" { None } else { Some(is_alike) }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;

    /// Lets `bytes` arrive in pieces of `size` and returns what `look` finds and what is left to read.
    async fn look<T>(bytes: &[u8], size: usize, look: impl AsyncFn(&Socket) -> T) -> (T, Vec<u8>) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut ours = Socket::Unix(ours);
        let sent = async {
            for piece in bytes.chunks(size) {
                // Who does not want it has closed.
                let _ = theirs.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            drop(theirs);
        };
        let seen = async {
            let found = look(&ours).await;
            let mut rest = Vec::new();
            ours.read_to_end(&mut rest).await.unwrap();
            (found, rest)
        };
        tokio::join!(seen, sent).0
    }

    #[tokio::test]
    async fn proxy_header_is_taken_to_its_last_byte_however_it_comes() {
        let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\nGET / HTTP/1.1\r\n\r\n";
        for size in [1, 3, 7, 44, 45, 46, 1000] {
            let (found, rest) = look(line, size, async |socket| proxy_header(socket).await.unwrap()).await;
            assert_eq!(found.unwrap().source.to_string(), "192.0.2.7:56324");
            assert_eq!(rest, b"GET / HTTP/1.1\r\n\r\n", "pieces of {size}");
        }
    }

    #[tokio::test]
    async fn connection_without_a_proxy_header_is_refused_and_one_that_ends_is_gone() {
        let (found, _) = look(b"GET / HTTP/1.1\r\n\r\n", 5, async |socket| proxy_header(socket).await).await;
        assert!(matches!(found, Err(Fault::Malformed(_))));
        let (found, _) = look(b"PROXY TCP4", 5, async |socket| proxy_header(socket).await).await;
        assert!(matches!(found, Err(Fault::Gone(_))));
    }

    #[tokio::test]
    async fn preface_is_told_from_anything_else_and_nothing_is_lost() {
        let post = b"POST / HTTP/1.1\r\n\r\n".as_slice();
        let almost = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX".as_slice();
        for (bytes, want) in [(PREFACE.as_slice(), true), (post, false), (almost, false), (b"PRI", false)] {
            for size in [1, 5, 23, 24, 100] {
                let ((is_http2, ahead), rest) = look(bytes, size, async |socket| preface(socket).await.unwrap()).await;
                assert_eq!(is_http2, want, "{bytes:?} in pieces of {size}");
                assert_eq!([ahead, &rest].concat(), bytes);
            }
        }
    }

    #[tokio::test]
    async fn request_in_the_clear_is_told_from_anything_else_and_nothing_is_lost() {
        for (bytes, want) in [
            ("GET / HTTP/1.1\r\n", true),
            ("PROPFIND /a HTTP/1.0\r\n", true),
            ("GET http://a/ HTTP/1.1\r\n", true),
            ("OPTIONS * HTTP/1.1\r\n", true),
            ("CONNECT a:1 HTTP/1.1\r\n", true),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", true),
            ("SSH-2.0-x\r\n", false),
            ("EHLO mail.example\r\n", false),
            ("EHLO h\r\n", false),
            ("EHLO htt", false),
            ("QUIT\r\n", false),
            ("get / HTTP/1.1\r\n", false),
            (" / HTTP/1.1\r\n", false),
            ("ABCDEFGHIJKLMNOPQRSTUVWXYZ / HTTP/1.1\r\n", false),
            ("GET", false),
            ("GET ", false),
            ("", false),
        ] {
            for size in [1, 3, 100] {
                let (found, rest) = look(bytes.as_bytes(), size, async |socket| {
                    let mut held = Vec::new();
                    (is_http(socket, &mut held).await.unwrap(), held)
                })
                .await;
                assert_eq!(found.0, want, "{bytes:?} in pieces of {size}");
                assert_eq!([found.1, rest].concat(), bytes.as_bytes());
            }
        }
    }

    #[test]
    fn request_is_told_from_anything_else_as_soon_as_can_be() {
        for (said, want) in [
            ("GET", None),
            ("GET ", None),
            ("GET /", Some(true)),
            ("GET ht", None),
            ("GET http", Some(true)),
            ("OPTIONS *", Some(true)),
            ("NICK *", Some(false)),
            ("EHLO a\r\n", Some(false)),
            ("EHLO hx", Some(false)),
            ("SSH-", Some(false)),
            ("QUIT\r\n", Some(false)),
        ] {
            assert_eq!(begins_http(said.as_bytes()), want, "{said:?}");
        }
    }

    #[tokio::test]
    async fn client_that_speaks_no_tls_is_known_at_its_first_byte() {
        for size in [1, 100] {
            let (found, rest) = look(b"SSH-2.0-x\r\n", size, async |socket| {
                let mut held = Vec::new();
                (client_hello(socket, &mut held).await.unwrap(), held)
            })
            .await;
            assert_eq!(found.0, client_hello::Reading::Plain);
            assert_eq!([found.1, rest].concat(), b"SSH-2.0-x\r\n");
        }
    }
}
