//! What a handshake came to: who the client is and what was agreed, or why it failed.

use std::io;

use rustls::{CommonState, HandshakeKind, ProtocolVersion, ServerConnection};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::metrics::{Handshake, HandshakeFailure};
use crate::model::tls::Alpn;

/// What is known of a client after its handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct Peer {
    /// `TLSv1.2` or `TLSv1.3`.
    pub(in crate::proxy) version: &'static str,
    /// The cipher suite's registered name.
    pub(in crate::proxy) cipher: &'static str,
    /// The name that the client asked for, in lower case.
    pub(in crate::proxy) sni: Option<Box<str>>,
    /// What is spoken, where it was agreed on.
    pub(in crate::proxy) alpn: Option<Alpn>,
    /// The certificate that the client showed.
    pub(in crate::proxy) client: Option<ClientCertificate>,
    /// What the handshake counts as.
    pub(in crate::proxy) handshake: Handshake,
}

/// A certificate that a client showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct ClientCertificate {
    /// The common name of its subject; empty where it has none.
    pub(in crate::proxy) subject_cn: Box<str>,
    /// SHA-256 of it, in lower-case hexadecimal.
    pub(in crate::proxy) digest: Box<str>,
    /// Whether an authority of the frontend vouches for it. A handshake ends where none does, so this is always true.
    pub(in crate::proxy) is_verified: bool,
}

/// Returns what a handshake that succeeded came to.
pub(in crate::proxy) fn peer_of(conn: &ServerConnection) -> Peer {
    let is_resumed = conn.handshake_kind() == Some(HandshakeKind::Resumed);
    let is_13 = conn.protocol_version() == Some(ProtocolVersion::TLSv1_3);
    Peer {
        version: if is_13 { "TLSv1.3" } else { "TLSv1.2" },
        cipher: conn.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or(""),
        sni: conn.server_name().map(Into::into),
        alpn: alpn_of(conn),
        client: client_of(conn),
        handshake: Handshake::of(is_13, is_resumed),
    }
}

/// Returns what a handshake that failed counts as.
#[expect(clippy::wildcard_enum_match_arm, reason = "the library has more ways to fail than are told apart")]
pub(in crate::proxy) fn failure_of(error: &io::Error) -> HandshakeFailure {
    use rustls::Error as E;
    let Some(cause) = error.get_ref().and_then(|cause| cause.downcast_ref()) else {
        return HandshakeFailure::Closed;
    };
    match cause {
        E::AlertReceived(_) => HandshakeFailure::Alert,
        E::InvalidCertificate(_) | E::NoCertificatesPresented => HandshakeFailure::ClientCertificate,
        E::NoApplicationProtocol => HandshakeFailure::NoProtocol,
        E::General(words) if words.contains("certificate") => HandshakeFailure::NoCertificate,
        E::PeerIncompatible(_) => HandshakeFailure::Incompatible,
        _ => HandshakeFailure::Malformed,
    }
}

fn alpn_of(conn: &CommonState) -> Option<Alpn> {
    let agreed = conn.alpn_protocol()?;
    [Alpn::H2, Alpn::Http1].into_iter().find(|alpn| alpn.as_str().as_bytes() == agreed)
}

fn client_of(conn: &CommonState) -> Option<ClientCertificate> {
    let leaf = conn.peer_certificates()?.first()?;
    let parsed = X509Certificate::from_der(leaf).ok();
    let common_name = parsed.as_ref().and_then(|(_, leaf)| leaf.subject().iter_common_name().next()?.as_str().ok());
    Some(ClientCertificate {
        subject_cn: common_name.unwrap_or_default().into(),
        digest: hex::encode(Sha256::digest(leaf)).into(),
        is_verified: true,
    })
}
