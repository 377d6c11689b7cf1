//! Connections to servers that were kept: whether one may still be used.
//!
//! The runtime learns from the system once a turn what its sockets are up to; a server may have closed a connection
//! since. A request written to it is lost, and if it is not safe to repeat, nobody can tell that it was never read.

use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

/// Returns whether the socket has nothing to say: neither its end, nor an error, nor bytes that nobody asked for.
/// Asks the system itself, and costs one call to it.
pub(super) fn is_quiet(socket: RawFd) -> bool {
    let peeked = recv(socket, &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT);
    peeked == Err(Errno::EAGAIN)
}

/// Returns whether the other side has closed the connection, all of what it sent before being read.
pub(super) fn is_closed(socket: RawFd) -> bool {
    let peeked = recv(socket, &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT);
    matches!(peeked, Ok(0) | Err(Errno::ECONNRESET | Errno::EPIPE | Errno::ETIMEDOUT))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (ours, listener.accept().unwrap().0)
    }

    #[test]
    fn connection_is_quiet_until_the_server_says_something() {
        let (ours, mut theirs) = pair();
        assert!(is_quiet(ours.as_raw_fd()) && !is_closed(ours.as_raw_fd()));
        theirs.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").unwrap();
        assert!(!is_quiet(ours.as_raw_fd()));
    }

    #[test]
    fn connection_closed_by_the_server_is_not_quiet() {
        let (ours, theirs) = pair();
        drop(theirs);
        assert!(!is_quiet(ours.as_raw_fd()) && is_closed(ours.as_raw_fd()));
    }

    #[test]
    fn connection_reset_by_the_server_is_not_quiet() {
        let (ours, theirs) = pair();
        socket2::SockRef::from(&theirs).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(theirs);
        assert!(!is_quiet(ours.as_raw_fd()));
        assert!(!is_quiet(-1), "nor is what is no socket");
    }
}
