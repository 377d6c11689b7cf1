//! The PROXY header, versions 1 and 2: what a connection begins with that somebody else accepted.
//!
//! Pure: bytes in, addresses out, and the other way round. Strict: what is not written as the protocol's specification
//! (proxy-protocol.txt of HAProxy, 2020) has it is refused, for whoever may speak for others must speak clearly. Of
//! version 2 the vectors behind the addresses are skipped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::model::ProxyOut;

/// What version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with.
const V1: &[u8] = b"PROXY ";
/// The longest header of version 1, its line end included.
const V1_BYTES_MAX: usize = 107;
/// What stands before the addresses of version 2.
const V2_HEAD_BYTES: usize = 16;
/// The longest header of version 2 that is taken, vectors included.
pub(super) const BYTES_MAX: usize = 4096;

const V2_LOCAL: u8 = 0x20;
const V2_PROXY: u8 = 0x21;
const UNSPEC: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX: u8 = 0x31;
const UNIX_ADDRESSES_BYTES: usize = 216;

const TLV_SSL: u8 = 0x20;
const TLV_SSL_VERSION: u8 = 0x21;
const TLV_SSL_CN: u8 = 0x22;
const CLIENT_SSL: u8 = 0x01;
const CLIENT_CERT_CONN: u8 = 0x02;
/// The longest name of a certificate that is passed on.
const NAME_BYTES_MAX: usize = 255;

/// Who connected to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
}

/// What is known of a header from its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// It is no header.
    Malformed(&'static str),
    /// All these bytes are of it, and more must come.
    Partial,
    /// It is so many bytes long; no addresses where the proxy speaks for itself or does not know them.
    Whole(usize, Option<Addresses>),
}

/// Reads what begins with a header.
pub(super) fn read(bytes: &[u8]) -> Reading {
    if bytes.len() < V1.len() {
        return if V1.starts_with(bytes) || SIGNATURE.starts_with(bytes) { Reading::Partial } else { STRANGE };
    }
    if bytes.starts_with(V1) {
        return read_v1(bytes);
    }
    let known = bytes.len().min(SIGNATURE.len());
    if bytes[..known] == SIGNATURE[..known] { read_v2(bytes) } else { STRANGE }
}

const STRANGE: Reading = Reading::Malformed("the connection does not begin with a PROXY header");

fn read_v1(bytes: &[u8]) -> Reading {
    let line = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', line) else {
        let is_too_long = line.len() == V1_BYTES_MAX;
        return if is_too_long { Reading::Malformed("the PROXY header has no end") } else { Reading::Partial };
    };
    let words = line[..end].strip_suffix(b"\r").and_then(|line| line.strip_prefix(V1));
    match words.filter(|words| !words.contains(&b'\r')).map(v1_addresses) {
        Some(Ok(addresses)) => Reading::Whole(end + 1, addresses),
        Some(Err(why)) => Reading::Malformed(why),
        None => Reading::Malformed("the PROXY header does not end in CRLF"),
    }
}

/// Returns what stands between `PROXY ` and the line end.
fn v1_addresses(words: &[u8]) -> Result<Option<Addresses>, &'static str> {
    let is_unknown = words.strip_prefix(b"UNKNOWN").is_some_and(|rest| rest.is_empty() || rest.starts_with(b" "));
    if is_unknown {
        return Ok(None);
    }
    let words = std::str::from_utf8(words).map_err(|_| "the PROXY header is no text")?;
    let parts: Vec<&str> = words.split(' ').collect();
    let [family, source, destination, source_port, destination_port] = parts[..] else {
        return Err("the PROXY header has not five words");
    };
    let ip = |text: &str| match family {
        "TCP4" => text.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| "the PROXY header has a bad IPv4 address"),
        "TCP6" => text.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| "the PROXY header has a bad IPv6 address"),
        _ => Err("the PROXY header is neither TCP4, TCP6 nor UNKNOWN"),
    };
    let port = |text: &str| {
        let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
        text.parse::<u16>().ok().filter(|_| is_plain).ok_or("the PROXY header has a bad port")
    };
    let source = SocketAddr::new(ip(source)?, port(source_port)?);
    let destination = SocketAddr::new(ip(destination)?, port(destination_port)?);
    Ok(Some(Addresses { source, destination }))
}

fn read_v2(bytes: &[u8]) -> Reading {
    let Some((head, rest)) = bytes.split_first_chunk::<V2_HEAD_BYTES>() else { return Reading::Partial };
    let [.., command, family, high, low] = *head;
    if !matches!(command, V2_LOCAL | V2_PROXY) {
        return Reading::Malformed("the PROXY header has an unknown version or command");
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if V2_HEAD_BYTES + length > BYTES_MAX {
        return Reading::Malformed("the PROXY header is too long");
    }
    let least = match family {
        UNSPEC => 0,
        TCP4 => 12,
        TCP6 => 36,
        UNIX => UNIX_ADDRESSES_BYTES,
        // Who speaks for itself may leave anything here.
        _ if command == V2_LOCAL => 0,
        _ => return Reading::Malformed("the PROXY header has an unknown family or transport"),
    };
    if command == V2_PROXY && length < least {
        return Reading::Malformed("the PROXY header is too short for its addresses");
    }
    let Some(rest) = rest.get(..length) else { return Reading::Partial };
    let addresses = if command == V2_PROXY { v2_addresses(family, rest) } else { None };
    Reading::Whole(V2_HEAD_BYTES + length, addresses)
}

fn v2_addresses(family: u8, bytes: &[u8]) -> Option<Addresses> {
    let (source, destination, ports) = match family {
        TCP4 => {
            let (source, rest) = bytes.split_first_chunk::<4>()?;
            let (destination, ports) = rest.split_first_chunk::<4>()?;
            (IpAddr::from(*source), IpAddr::from(*destination), ports)
        }
        TCP6 => {
            let (source, rest) = bytes.split_first_chunk::<16>()?;
            let (destination, ports) = rest.split_first_chunk::<16>()?;
            (IpAddr::from(*source), IpAddr::from(*destination), ports)
        }
        _ => return None,
    };
    let [a, b, c, d] = *ports.first_chunk::<4>()?;
    let source = SocketAddr::new(source, u16::from_be_bytes([a, b]));
    Some(Addresses { source, destination: SocketAddr::new(destination, u16::from_be_bytes([c, d])) })
}

/// What TLS said of a client, as far as a header tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said<'a> {
    /// The version of TLS that it speaks, e.g. `TLSv1.3`; none if it speaks none.
    pub(super) version: Option<&'a str>,
    /// Whether it showed a certificate, which was verified then.
    pub(super) is_certified: bool,
    /// The name in that certificate.
    pub(super) common_name: Option<&'a str>,
}

/// Returns the header of that form; without addresses, it says that they are not known.
pub(super) fn written(form: ProxyOut, addresses: Option<Addresses>, said: &Said<'_>) -> Vec<u8> {
    let addresses = addresses.map(of_one_family);
    match form {
        ProxyOut::V1 => written_v1(addresses),
        ProxyOut::V2 => written_v2(addresses, &[]),
        ProxyOut::V2Ssl => written_v2(addresses, &tlv_ssl(&Said { common_name: None, ..*said })),
        ProxyOut::V2SslCn => written_v2(addresses, &tlv_ssl(said)),
    }
}

/// An IPv4 address beside an IPv6 one is written as the IPv6 address that stands for it.
fn of_one_family(addresses: Addresses) -> Addresses {
    let Addresses { source, destination } = addresses;
    if source.is_ipv4() == destination.is_ipv4() {
        return addresses;
    }
    let wide = |addr: SocketAddr| match addr.ip() {
        IpAddr::V4(ip) => SocketAddr::new(IpAddr::V6(ip.to_ipv6_mapped()), addr.port()),
        IpAddr::V6(_) => addr,
    };
    Addresses { source: wide(source), destination: wide(destination) }
}

fn written_v1(addresses: Option<Addresses>) -> Vec<u8> {
    let Some(Addresses { source, destination }) = addresses else { return b"PROXY UNKNOWN\r\n".to_vec() };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
}

fn written_v2(addresses: Option<Addresses>, vectors: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(36 + vectors.len());
    let mut family = UNSPEC;
    if let Some(Addresses { source, destination }) = addresses {
        family = if source.is_ipv4() { TCP4 } else { TCP6 };
        for ip in [source.ip(), destination.ip()] {
            match ip {
                IpAddr::V4(ip) => body.extend_from_slice(&ip.octets()),
                IpAddr::V6(ip) => body.extend_from_slice(&ip.octets()),
            }
        }
        for port in [source.port(), destination.port()] {
            body.extend_from_slice(&port.to_be_bytes());
        }
    }
    body.extend_from_slice(vectors);
    let mut header = Vec::with_capacity(V2_HEAD_BYTES + body.len());
    header.extend_from_slice(&SIGNATURE);
    header.extend_from_slice(&[V2_PROXY, family]);
    header.extend_from_slice(&length_of(&body));
    header.extend_from_slice(&body);
    header
}

/// Everything written here is far below 64 KiB.
fn length_of(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes()
}

fn tlv_ssl(said: &Said<'_>) -> Vec<u8> {
    let mut client = 0;
    let mut vectors = Vec::new();
    let mut add = |kind: u8, value: &str| {
        let value = &value.as_bytes()[..value.len().min(NAME_BYTES_MAX)];
        vectors.push(kind);
        vectors.extend_from_slice(&length_of(value));
        vectors.extend_from_slice(value);
    };
    if let Some(version) = said.version {
        client |= CLIENT_SSL;
        add(TLV_SSL_VERSION, version);
    }
    if said.is_certified {
        client |= CLIENT_CERT_CONN;
        if let Some(name) = said.common_name {
            add(TLV_SSL_CN, name);
        }
    }
    let mut value = vec![client];
    value.extend_from_slice(&u32::from(!said.is_certified).to_be_bytes());
    value.extend_from_slice(&vectors);
    let mut vector = vec![TLV_SSL];
    vector.extend_from_slice(&length_of(&value));
    vector.extend_from_slice(&value);
    vector
}

#[cfg(test)]
mod tests;
