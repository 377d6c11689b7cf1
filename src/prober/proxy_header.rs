//! The PROXY protocol header that a check sends first, for servers that will not speak without one.
//!
//! Version 1 names the check's own two addresses, which every receiver takes; `UNKNOWN` is refused by many. Version 2
//! says LOCAL: the connection speaks for itself, and the receiver uses its real addresses. Pure.
//! Source: haproxy.org `proxy-protocol.txt`, sections 2.1 and 2.2.

use std::net::SocketAddr;

use crate::model::ProxyHeader;

/// What a version 2 header begins with.
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command LOCAL; unspecified family; no addresses.
const V2_LOCAL: &[u8; 4] = &[0x20, 0, 0, 0];

/// Version 1, of a connection that is of neither IPv4 nor IPv6.
const UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";

/// Returns the header's bytes for a connection from `local` to `peer`.
pub(super) fn bytes(header: ProxyHeader, local: SocketAddr, peer: SocketAddr) -> Vec<u8> {
    match header {
        ProxyHeader::V1 => v1(local, peer).into_bytes(),
        ProxyHeader::V2 => [&V2_SIGNATURE[..], V2_LOCAL].concat(),
    }
}

/// The same where the connection has no addresses.
pub(super) fn without_addresses(header: ProxyHeader) -> Vec<u8> {
    match header {
        ProxyHeader::V1 => UNKNOWN.to_vec(),
        ProxyHeader::V2 => [&V2_SIGNATURE[..], V2_LOCAL].concat(),
    }
}

fn v1(local: SocketAddr, peer: SocketAddr) -> String {
    let family = match (local, peer) {
        (SocketAddr::V4(_), SocketAddr::V4(_)) => "TCP4",
        (SocketAddr::V6(_), SocketAddr::V6(_)) => "TCP6",
        (SocketAddr::V4(_), SocketAddr::V6(_)) | (SocketAddr::V6(_), SocketAddr::V4(_)) => {
            return "PROXY UNKNOWN\r\n".to_owned();
        }
    };
    format!("PROXY {family} {} {} {} {}\r\n", local.ip(), peer.ip(), local.port(), peer.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_the_protocols_own_form() {
        let [a4, b4, a6]: [SocketAddr; 3] =
            ["10.0.0.1:50000", "10.0.0.2:80", "[2001:db8::1]:443"].map(|text| text.parse().unwrap());
        for (header, local, peer, want) in [
            (ProxyHeader::V1, a4, b4, &b"PROXY TCP4 10.0.0.1 10.0.0.2 50000 80\r\n"[..]),
            (ProxyHeader::V1, a6, a6, b"PROXY TCP6 2001:db8::1 2001:db8::1 443 443\r\n"),
            (ProxyHeader::V1, a4, a6, b"PROXY UNKNOWN\r\n"),
            (ProxyHeader::V2, a4, b4, b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x20\x00\x00\x00"),
        ] {
            assert_eq!(bytes(header, local, peer), want, "{header:?} {local} {peer}");
        }
    }
}
