//! Where a frontend listens: an address and port, or a Unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// What a Unix socket begins with where addresses are written.
pub(super) const UNIX: &str = "unix:";
/// The longest path of a Unix socket, in bytes: what the system's address holds.
pub const UNIX_PATH_BYTES_MAX: usize = 107;

/// One address that is listened on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ListenAddr {
    /// An IP address and a port; port 0: the system chooses.
    Ip(SocketAddr),
    /// The path of a Unix socket, absolute.
    Unix(Arc<Path>),
}

impl ListenAddr {
    /// Returns the address of that text: `ip:port`, or `unix:/path`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix(UNIX) {
            Some(path) => unix_path(path).map(Self::Unix),
            None => text.parse().ok().map(Self::Ip),
        }
    }

    /// Returns the IP address and port, where it has them.
    #[must_use]
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(addr) => Some(*addr),
            Self::Unix(_) => None,
        }
    }

    /// Returns whether the system chooses the port.
    #[must_use]
    pub fn is_chosen(&self) -> bool {
        self.ip().is_some_and(|addr| addr.port() == 0)
    }
}

impl From<SocketAddr> for ListenAddr {
    fn from(addr: SocketAddr) -> Self {
        Self::Ip(addr)
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// Returns the path of a Unix socket, where that text may be one.
pub(super) fn unix_path(path: &str) -> Option<Arc<Path>> {
    let is_one = path.starts_with('/') && path.len() <= UNIX_PATH_BYTES_MAX && !path.contains('\0');
    is_one.then(|| Path::new(path).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_address_is_read_as_it_is_written_and_nothing_else_is() {
        for text in ["127.0.0.1:80", "[::]:443", "unix:/run/farmgate/web.sock"] {
            assert_eq!(ListenAddr::parse(text).unwrap().to_string(), text);
        }
        let long = format!("unix:/{}", "x".repeat(UNIX_PATH_BYTES_MAX));
        for text in ["", "80", "unix:", "unix:web.sock", "localhost:80", "unix:/a\0b", &long] {
            assert_eq!(ListenAddr::parse(text), None, "{text:?}");
        }
    }
}
