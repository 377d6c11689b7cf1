//! Where a server is: an IP address or a name to resolve, and a port.
//!
//! Parsing only; resolving is the prober's work. A name follows RFC 1123 (letters, digits, hyphens, 253 bytes).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// The host part of a [`ServerAddr`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A literal address: nothing to resolve.
    Ip(IpAddr),
    /// A DNS name, resolved again and again while it is in use.
    Name(Box<str>),
}

/// A server's `host:port`. Port 1..=65535.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerAddr {
    /// The host.
    pub host: Host,
    /// The TCP port, never 0.
    pub port: u16,
}

impl ServerAddr {
    /// Returns the socket address where nothing has to be resolved.
    #[must_use]
    pub fn literal(&self) -> Option<SocketAddr> {
        match &self.host {
            Host::Ip(ip) => Some(SocketAddr::new(*ip, self.port)),
            Host::Name(_) => None,
        }
    }
}

impl fmt::Display for ServerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
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
}

impl FromStr for ServerAddr {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<Self, AddrError> {
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
        for text in ["10.0.0.1:80", "[::1]:8080", "origin.example.com:443", "localhost:1"] {
            assert_eq!(text.parse::<ServerAddr>().unwrap().to_string(), text);
        }
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
        ] {
            assert_eq!(text.parse::<ServerAddr>(), Err(want), "{text}");
        }
    }
}
