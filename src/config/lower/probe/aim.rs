//! Where a probe goes and as whom: the same keys of a farm's probe and of a server.

use std::net::IpAddr;

use super::url::parse_host;
use super::{OWNERS, STRANGERS, TYPES, Type};
use crate::config::bounds::PORT;
use crate::config::error::Findings;
use crate::config::keys;
use crate::config::lower::{Around, text};
use crate::config::read::{Section, Value};
use crate::model::{Aim, Encryption, Probe, ProxyHeader};

const PROXIES: &[(&str, ProxyHeader)] = &[("v1", ProxyHeader::V1), ("v2", ProxyHeader::V2)];
/// The most bytes of a name in TLS, as in DNS.
const SNI_BYTES_MAX: usize = 253;
/// Keys that mean something inside TLS only.
const TLS_KEYS: [&str; 3] = ["sni", "verify", "ca"];
/// Types that cannot be told to speak TLS, or to leave it.
const FIXED: [Type; 4] = [Type::Agent, Type::Command, Type::Ping, Type::Tls];

/// Lowers the keys of [`keys::AIM`] that a section holds.
pub(in crate::config::lower) fn lower(section: &Section<'_>, around: Around<'_>, findings: &mut Findings) -> Aim {
    let port = section.or(findings, "port", None, |value, findings| {
        Some(Some(value.number(findings, &PORT, "remove the key to probe the server's own port")?))
    });
    let address = ip(section, "address", "the server's own", findings);
    let source = ip(section, "source", "one that the system chooses", findings);
    if let (Some(address), Some(source), Some(value)) = (address, source, section.get("source"))
        && address.is_ipv4() != source.is_ipv4()
    {
        value.refuse(findings, format!("cannot reach address, {address}; write both as IPv4 or both as IPv6"));
    }
    let host = section.get("host").and_then(|value| value.parsed(findings, "a host", parse_host));
    let tls = section.get("tls").and_then(|value| value.flag(findings));
    let tls = tls.map(|is_tls| if is_tls { Encryption::Tls } else { Encryption::None });
    let sni = section.get("sni").and_then(|value| value.parsed(findings, "a host name", parse_sni));
    let verify = text::verify(section, findings);
    let ca = section.get("ca").and_then(|value| text::ca(&value, around.read_file, findings));
    let proxy = section.get("proxy").and_then(|value| value.word(findings, PROXIES));
    Aim { port, address, host, tls, sni, verify, ca, proxy, source }
}

/// Refuses keys of TLS for a probe that does not speak it.
pub(super) fn refuse_tls_keys(section: &Section<'_>, findings: &mut Findings) {
    for value in TLS_KEYS.iter().filter_map(|key| section.get(key)) {
        value.complain(findings, "needs TLS, and this probe is in the clear; write tls: true, or remove it");
    }
}

/// Warns of a server's keys that no probe of its farm looks at.
pub(in crate::config::lower) fn warn_of_unused<'p>(
    section: &Section<'_>,
    own: &Aim,
    probes: &(impl Iterator<Item = &'p Probe> + Clone),
    findings: &mut Findings,
) {
    for key in keys::AIM {
        if let Some(value) = section.get(key).filter(|_| !probes.clone().any(|probe| is_used(key, own, probe))) {
            value.warn(findings, "has no effect: no probe of this farm looks at it");
        }
    }
}

fn is_used(key: &str, own: &Aim, probe: &Probe) -> bool {
    let Some((_, of)) = TYPES.iter().find(|(word, _)| *word == probe.kind.as_str()) else { return false };
    let holds =
        |table: &[(&str, &[Type])]| table.iter().find(|(it, _)| *it == key).map(|(_, types)| types.contains(of));
    if probe.kind.is_agent() {
        // As the probe is aimed: an agent that has a port of its own keeps it.
        return ["address", "source"].contains(&key) || (key == "port" && probe.aim.port.is_none());
    }
    if key == "tls" {
        return !FIXED.contains(of);
    }
    if TLS_KEYS.contains(&key) {
        return probe.kind.encryption(own.tls.or(probe.aim.tls)) == Encryption::Tls;
    }
    holds(OWNERS).unwrap_or(true) && !holds(STRANGERS).unwrap_or(false)
}

fn ip(section: &Section<'_>, key: &str, otherwise: &str, findings: &mut Findings) -> Option<IpAddr> {
    let parse = |value: Value<'_>| {
        value.parsed(findings, "an IP address", |text| {
            let remedy =
                || format!("is not an IP address; write no name and no port, or remove the key for {otherwise}");
            text.parse().map_err(|_| remedy())
        })
    };
    section.get(key).and_then(parse)
}

/// Reads the name that is asked for in TLS.
pub(in crate::config::lower) fn parse_sni(text: &str) -> Result<Box<str>, String> {
    let is_good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if (1..=SNI_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_good) {
        return Ok(text.into());
    }
    Err(format!("is no host name of 1 to {SNI_BYTES_MAX} bytes; write for example \"www.example.com\", without a port"))
}
