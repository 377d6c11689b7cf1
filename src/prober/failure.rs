//! Gives errors of a socket their place in HAProxy's vocabulary.

use std::io;

use crate::model::CheckStatus;

/// The host is known to be down (Linux); std has no kind for it.
const EHOSTDOWN: i32 = 112;
/// What listens there takes no streams (Linux); std has no kind for it either.
const EPROTOTYPE: i32 = 91;

/// Returns how a check ends whose connect failed so: the network's or the server's doing is L4CON or L4TOUT, anything
/// else (no free descriptor, no free local address, not permitted) our own: SOCKERR.
pub(super) fn connect_status(error: &io::Error) -> CheckStatus {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkDown,
        NetworkUnreachable, TimedOut,
    };
    let of_the_network = [
        BrokenPipe,
        ConnectionAborted,
        ConnectionRefused,
        ConnectionReset,
        HostUnreachable,
        NetworkDown,
        NetworkUnreachable,
    ];
    if error.kind() == TimedOut {
        CheckStatus::L4Tout
    } else if of_the_network.contains(&error.kind()) || error.raw_os_error() == Some(EHOSTDOWN) {
        CheckStatus::L4Con
    } else {
        CheckStatus::SockErr
    }
}

/// The same of a Unix socket: that it is not there, not ours to use, no socket or its queue full is the server's doing.
pub(super) fn unix_status(error: &io::Error) -> CheckStatus {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied, WouldBlock};
    let of_the_path = [NotADirectory, NotFound, PermissionDenied, WouldBlock];
    let is_of_the_path = of_the_path.contains(&error.kind()) || error.raw_os_error() == Some(EPROTOTYPE);
    if is_of_the_path { CheckStatus::L4Con } else { connect_status(error) }
}

/// Returns the error in the system's words, such as `Connection refused`.
pub(super) fn errno_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_that_cannot_be_used_is_the_servers_and_a_want_of_files_ours() {
        for (errno, status) in [(2, CheckStatus::L4Con), (13, CheckStatus::L4Con), (11, CheckStatus::L4Con)] {
            assert_eq!(unix_status(&io::Error::from_raw_os_error(errno)), status, "{errno}");
        }
        for (errno, status) in [(111, CheckStatus::L4Con), (91, CheckStatus::L4Con), (24, CheckStatus::SockErr)] {
            assert_eq!(unix_status(&io::Error::from_raw_os_error(errno)), status, "{errno}");
        }
    }

    #[test]
    fn connect_error_is_the_servers_or_ours() {
        for (errno, status, text) in [
            (111, CheckStatus::L4Con, "Connection refused"),
            (32, CheckStatus::L4Con, "Broken pipe"),
            (104, CheckStatus::L4Con, "Connection reset by peer"),
            (113, CheckStatus::L4Con, "No route to host"),
            (101, CheckStatus::L4Con, "Network is unreachable"),
            (112, CheckStatus::L4Con, "Host is down"),
            (110, CheckStatus::L4Tout, "Connection timed out"),
            (24, CheckStatus::SockErr, "Too many open files"),
            (99, CheckStatus::SockErr, "Cannot assign requested address"),
            (1, CheckStatus::SockErr, "Operation not permitted"),
        ] {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!((connect_status(&error), errno_text(&error).as_str()), (status, text));
        }
    }
}
