//! How servers are spoken to: TLS and the PROXY header, of a farm for all its servers or of one of them.

use std::path::Path;
use std::sync::Arc;

use crate::config::error::Findings;
use crate::config::keys;
use crate::config::lower::{path, probe, text};
use crate::config::read::{Section, Switch};
use crate::model::{CertificateFiles, Protocol, ProxyOut, ServerTls, Verify};

/// The words of `proxy_protocol`.
const PROXIES: &[(&str, Option<ProxyOut>)] = &[
    ("none", None),
    (ProxyOut::V1.as_str(), Some(ProxyOut::V1)),
    (ProxyOut::V2.as_str(), Some(ProxyOut::V2)),
    (ProxyOut::V2Ssl.as_str(), Some(ProxyOut::V2Ssl)),
    (ProxyOut::V2SslCn.as_str(), Some(ProxyOut::V2SslCn)),
];

/// How a server is spoken to that says nothing else.
#[derive(Clone, Debug, Default)]
pub(super) struct Upstream {
    pub(super) tls: Option<Arc<ServerTls>>,
    pub(super) proxy_protocol: Option<ProxyOut>,
}

/// Lowers `tls` and `proxy_protocol` of a farm or a server; what is not written is as `defaults` has it.
pub(super) fn lower(
    section: &Section<'_>,
    protocol: Option<Protocol>,
    defaults: &Upstream,
    findings: &mut Findings,
) -> Upstream {
    if protocol == Some(Protocol::Udp) {
        for value in ["tls", "proxy_protocol"].iter().filter_map(|key| section.get(key)) {
            value.complain(findings, "needs connections, and this farm is udp; remove it");
        }
    }
    let tls = section.or(findings, "tls", defaults.tls.clone(), |value, findings| {
        Some(match value.switch(findings, keys::SERVER_TLS)? {
            Switch::Off => None,
            Switch::On => Some(Arc::new(ServerTls { ca: None, sni: None, verify: Verify::On, identity: None })),
            Switch::Set(section) => Some(Arc::new(tls(&section, findings))),
        })
    });
    let proxy_protocol = section
        .or(findings, "proxy_protocol", defaults.proxy_protocol, |value, findings| value.word(findings, PROXIES));
    Upstream { tls, proxy_protocol }
}

fn tls(section: &Section<'_>, findings: &mut Findings) -> ServerTls {
    let file = |key: &str, findings: &mut Findings| {
        section.get(key).and_then(|value| path(&value, findings)).map(Arc::<Path>::from)
    };
    let ca = file("ca", findings);
    let sni = section.get("sni").and_then(|value| value.parsed(findings, "a host name", probe::parse_sni));
    let verify = text::verify(section, findings).unwrap_or(Verify::On);
    let (cert, key) = (file("cert", findings), file("key", findings));
    for (there, missing, remedy) in [
        ("cert", "key", "write the file of the private key, or remove cert"),
        ("key", "cert", "write the file of the certificate, or remove key"),
    ] {
        if section.get(there).is_some() {
            section.need(findings, missing, remedy);
        }
    }
    let identity = cert.zip(key).map(|(cert, key)| CertificateFiles { cert, key });
    ServerTls { ca, sni, verify, identity }
}
