//! How clients come in: TLS, HTTP/2 in the clear, PROXY headers, and from where.
//!
//! Files are named here and read by the proxy: a certificate that is renewed is another one under the same name.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;

use super::{Ground, networks};
use crate::config::bounds::{ACME_NAMES_MAX, CERTIFICATES_MAX};
use crate::config::error::Findings;
use crate::config::keys;
use crate::config::lower::path;
use crate::config::read::{Section, Value};
use crate::model::{Alpn, CertificateFiles, ClientAuth, FrontendTls, Protocol, Sources, TlsProfile};

const PROFILES: &[(&str, TlsProfile)] = &[("intermediate", TlsProfile::Intermediate), ("modern", TlsProfile::Modern)];
const ALPNS: &[(&str, Alpn)] = &[("h2", Alpn::H2), ("http/1.1", Alpn::Http1)];
const ASKS: &[(&str, Asks)] = &[("none", Asks::None), ("optional", Asks::Optional), ("required", Asks::Required)];
/// The most bytes of a host name, and of one of its labels, as in DNS.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Whether clients are asked for a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    None,
    Optional,
    Required,
}

/// Lowers `tls`.
pub(super) fn tls(section: &Section<'_>, ground: Ground<'_>, findings: &mut Findings) -> Option<FrontendTls> {
    let value = section.get("tls")?;
    ground.refuse_on_udp(&value, findings);
    let section = value.section(findings, keys::FRONTEND_TLS)?;
    let certificates = section.or(findings, "certificates", Vec::new(), |value, findings| {
        let items = value.list(findings, "certificates", CERTIFICATES_MAX);
        Some(items.iter().filter_map(|item| certificate(item, findings)).collect())
    });
    let acme = section.or(findings, "acme", Vec::new(), |value, findings| Some(acme(value, findings)));
    if ["certificates", "acme"].iter().all(|key| section.get(key).is_none_or(|value| value.is_empty())) {
        section.complain(
            findings,
            "there is no certificate; write certificates: [{cert: FILE, key: FILE}] or acme: [NAME]",
        );
    }
    let profile =
        section.or(findings, "profile", TlsProfile::default(), |value, findings| value.word(findings, PROFILES));
    let is_http = ground.without_requests().is_none();
    let default: &[Alpn] = if is_http { &[Alpn::H2, Alpn::Http1] } else { &[] };
    let alpn = section.or(findings, "alpn", default.to_vec(), |value, findings| {
        if !is_http {
            value.warn(findings, "has no effect on a frontend without requests; remove it");
        }
        alpn(value, findings).filter(|_| is_http)
    });
    let client_auth = client_auth(&section, findings);
    Some(FrontendTls { certificates: certificates.into(), acme: acme.into(), profile, alpn: alpn.into(), client_auth })
}

/// Reads a certificate's two files.
fn certificate(value: &Value<'_>, findings: &mut Findings) -> Option<CertificateFiles> {
    let section = value.section(findings, keys::CERTIFICATE)?;
    let cert = section.need(findings, "cert", "write cert: FILE, a PEM chain").and_then(|value| path(&value, findings));
    let key =
        section.need(findings, "key", "write key: FILE, a PEM private key").and_then(|value| path(&value, findings));
    Some(CertificateFiles { cert: cert?.into(), key: key?.into() })
}

fn acme(value: &Value<'_>, findings: &mut Findings) -> Vec<Box<str>> {
    let mut names: Vec<Box<str>> = Vec::new();
    for item in value.list(findings, "host names", ACME_NAMES_MAX) {
        let Some(name) = item.parsed(findings, "a host name", parse_acme_name) else { continue };
        if names.contains(&name) {
            item.refuse(findings, "is written twice; remove one of the two");
        }
        names.push(name);
    }
    names
}

fn parse_acme_name(text: &str) -> Result<Box<str>, String> {
    if text.starts_with("*.") {
        return Err(
            "is a wildcard, which no challenge of ours proves; name a certificate under certificates".to_owned()
        );
    }
    let is_label = |label: &str| {
        let is_good = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        (1..=LABEL_BYTES_MAX).contains(&label.len()) && is_good && !label.starts_with('-') && !label.ends_with('-')
    };
    let is_address = text.parse::<IpAddr>().is_ok();
    if (1..=NAME_BYTES_MAX).contains(&text.len()) && text.split('.').all(is_label) && !is_address {
        return Ok(text.to_ascii_lowercase().into());
    }
    Err(format!("is no host name of 1 to {NAME_BYTES_MAX} bytes; write for example \"www.example.com\", in ASCII"))
}

fn alpn(value: &Value<'_>, findings: &mut Findings) -> Option<Vec<Alpn>> {
    let mut agreed = Vec::new();
    let items = value.list(findings, "protocols", ALPNS.len());
    if value.is_empty() {
        value.complain(findings, "nothing would be agreed to; write [h2, http/1.1] or one of the two");
    }
    for item in items {
        let protocol = item.word(findings, ALPNS)?;
        if agreed.contains(&protocol) {
            item.refuse(findings, "is written twice; remove one of the two");
        }
        agreed.push(protocol);
    }
    (!agreed.is_empty()).then_some(agreed)
}

fn client_auth(section: &Section<'_>, findings: &mut Findings) -> Option<ClientAuth> {
    let mut file = |key| section.get(key).and_then(|value| path(&value, findings)).map(Arc::<Path>::from);
    let (ca, crl) = (file("client_ca"), file("client_crl"));
    let asks = section.or(findings, "client_auth", None, |value, findings| Some(Some(value.word(findings, ASKS)?)));
    if section.get("client_ca").is_none() {
        let needs = "needs client_ca, the file of the authorities of clients; write it";
        if let Some(value) = section.get("client_auth").filter(|_| !matches!(asks, None | Some(Asks::None))) {
            value.complain(findings, needs);
        }
        if let Some(value) = section.get("client_crl") {
            value.complain(findings, needs);
        }
        return None;
    }
    if asks == Some(Asks::None) {
        for value in ["client_ca", "client_crl"].iter().filter_map(|key| section.get(key)) {
            value.warn(findings, "has no effect with client_auth: none; remove one of the two");
        }
        return None;
    }
    Some(ClientAuth { ca: ca?, crl, is_required: asks != Some(Asks::Optional) })
}

/// Lowers `h2c`; with TLS, HTTP/2 is agreed on there.
pub(super) fn h2c(section: &Section<'_>, has_tls: bool, ground: Ground<'_>, findings: &mut Findings) -> bool {
    let is_on = section.or(findings, "h2c", false, Value::flag);
    ground.warn_of(section, &["h2c"], &[Protocol::Tcp, Protocol::Udp], findings);
    if let Some(value) = section.get("h2c").filter(|_| is_on && has_tls) {
        value.warn(findings, "has no effect with tls, where alpn says whether HTTP/2 is spoken; remove it");
    }
    is_on && !has_tls && ground.without_requests().is_none()
}

/// Lowers `accept_proxy`.
pub(super) fn accept_proxy(section: &Section<'_>, ground: Ground<'_>, findings: &mut Findings) -> Vec<IpNet> {
    section.or(findings, "accept_proxy", Vec::new(), |value, findings| {
        ground.refuse_on_udp(value, findings);
        let section = value.section(findings, keys::ACCEPT_PROXY)?;
        let from = section.need(findings, "from", "write from: [NETWORK], whose PROXY headers are believed")?;
        if from.is_empty() {
            from.complain(findings, "nobody's PROXY header would be read; write a network, or remove accept_proxy");
        }
        Some(networks(&from, findings))
    })
}

/// Lowers `allow` and `deny`.
pub(super) fn sources(section: &Section<'_>, findings: &mut Findings) -> Sources {
    let allowed = section.get("allow").map(|value| (networks(&value, findings), value));
    let denied = section.get("deny").map(|value| (networks(&value, findings), value));
    match (allowed, denied) {
        (None, None) => Sources::All,
        (Some((networks, value)), None) => {
            if value.is_empty() {
                value
                    .complain(findings, "nobody could connect; write a network, or remove the key to let everybody in");
            }
            Sources::Only(networks.into())
        }
        (None, Some((networks, _))) if networks.is_empty() => Sources::All,
        (None, Some((networks, _))) => Sources::AllBut(networks.into()),
        (Some(_), Some((_, value))) => {
            value.complain(findings, "allow and deny are both written; keep one of the two");
            Sources::All
        }
    }
}

/// Reads a network, or an address, which is a network of one.
pub(super) fn parse_network(text: &str) -> Result<IpNet, &'static str> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| "is not a network; write for example \"10.0.0.0/8\" or \"::1/128\"")
}
