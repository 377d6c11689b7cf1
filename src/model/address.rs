//! Where a server is: an IP address or a name to resolve, and a port; or a Unix socket. And where its connections go,
//! once that is known.
//!
//! Parsing only; resolving is the prober's work. A name follows RFC 1123 (letters, digits, hyphens, 253 bytes).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use super::listen::{UNIX, unix_path};

/// The host part of a [`ServerAddr`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A literal address: nothing to resolve.
    Ip(IpAddr),
    /// A DNS name, resolved again and again while it is in use.
    Name(Box<str>),
    /// The path of a Unix socket, absolute: there is no port.
    Unix(Arc<Path>),
}

/// A server's `host:port`, or `unix:/path`. Port 1..=65535.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerAddr {
    /// The host.
    pub host: Host,
    /// The TCP port; 0 where there is none, and only there.
    pub port: u16,
}

/// Where connections to a server go.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PeerAddr {
    /// To an IP address and a port.
    Ip(SocketAddr),
    /// To the Unix socket of this path.
    Unix(Arc<Path>),
}

impl ServerAddr {
    /// Returns where its connections go, where nothing has to be resolved.
    #[must_use]
    pub fn literal(&self) -> Option<PeerAddr> {
        match &self.host {
            Host::Ip(ip) => Some(PeerAddr::Ip(SocketAddr::new(*ip, self.port))),
            Host::Name(_) => None,
            Host::Unix(path) => Some(PeerAddr::Unix(Arc::clone(path))),
        }
    }

    /// Returns whether it is a Unix socket.
    #[must_use]
    pub fn is_unix(&self) -> bool {
        matches!(self.host, Host::Unix(_))
    }
}

impl PeerAddr {
    /// Returns the IP address and port, where it has them.
    #[must_use]
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(addr) => Some(*addr),
            Self::Unix(_) => None,
        }
    }

    /// Returns the port; 0 where there is none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.ip().map_or(0, |addr| addr.port())
    }
}

impl From<SocketAddr> for PeerAddr {
    fn from(addr: SocketAddr) -> Self {
        Self::Ip(addr)
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl fmt::Display for ServerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// Why a text is no [`ServerAddr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddrError {
    /// The host is neither an IP address nor a host name.
    #[error("has a host that is neither an IP address nor a host name; write 10.0.0.1:80, [::1]:80 or name:80")]
    Host,
    /// There is no `:port`.
    #[error("has no port; write host:port")]
    NoPort,
    /// The port is not a number in range.
    #[error("has a port outside 1..=65535")]
    Port,
    /// What follows `unix:` is no path of a socket.
    #[error("is no path of a Unix socket; write unix:/path, absolute and of at most 107 bytes")]
    Unix,
}

impl FromStr for ServerAddr {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<Self, AddrError> {
        if let Some(path) = text.strip_prefix(UNIX) {
            let path = unix_path(path).ok_or(AddrError::Unix)?;
            return Ok(Self { host: Host::Unix(path), port: 0 });
        }
        let (host, port) = text.rsplit_once(':').ok_or(AddrError::NoPort)?;
        if !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(AddrError::Port);
        }
        let port = port.parse::<u16>().ok().filter(|p| *p > 0).ok_or(AddrError::Port)?;
        if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            let ip = inner.parse::<std::net::Ipv6Addr>().map_err(|_| AddrError::Host)?;
            return Ok(Self { host: Host::Ip(IpAddr::V6(ip)), port });
        }
        if let Ok(ip) = host.parse::<std::net::Ipv4Addr>() {
            return Ok(Self { host: Host::Ip(IpAddr::V4(ip)), port });
        }
        if is_host_name(host) { Ok(Self { host: Host::Name(host.into()), port }) } else { Err(AddrError::Host) }
    }
}

/// RFC 1123 host name; a last label of digits only is refused, since it is a mistyped IPv4 address.
fn is_host_name(host: &str) -> bool {
    let label_is_good = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let last = host.rsplit('.').next().unwrap_or("");
    host.len() <= 253 && host.split('.').all(label_is_good) && !last.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_round_trips() {
        for text in ["10.0.0.1:80", "[::1]:8080", "origin.example.com:443", "localhost:1", "unix:/run/a b.sock"] {
            assert_eq!(text.parse::<ServerAddr>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn connections_go_where_the_address_says_unless_it_is_a_name() {
        let goes_to = |text: &str| text.parse::<ServerAddr>().unwrap().literal();
        let unix = goes_to("unix:/run/a.sock").unwrap();
        assert_eq!((unix.to_string().as_str(), unix.ip(), unix.port()), ("unix:/run/a.sock", None, 0));
        assert_eq!(goes_to("10.0.0.1:80").unwrap().to_string(), "10.0.0.1:80");
        assert_eq!(goes_to("origin.example.com:443"), None);
    }

    #[test]
    fn address_that_is_wrong_names_the_rule() {
        for (text, want) in [
            ("10.0.0.1", AddrError::NoPort),
            ("10.0.0.1:0", AddrError::Port),
            ("10.0.0.1:65536", AddrError::Port),
            ("10.0.0.1:+80", AddrError::Port),
            ("10.0.0.256:80", AddrError::Host),
            ("::1:80", AddrError::Host),
            (":80", AddrError::Host),
            ("a..b:80", AddrError::Host),
            ("unix:80", AddrError::Unix),
            ("unix:", AddrError::Unix),
            ("unix:run/a.sock", AddrError::Unix),
            (&format!("unix:/{}", "x".repeat(107)), AddrError::Unix),
        ] {
            assert_eq!(text.parse::<ServerAddr>(), Err(want), "{text}");
        }
    }
}
