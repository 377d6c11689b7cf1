//! The TLS handshake of a check: which name is asked for, what is trusted, and in which words it failed.
//!
//! A certificate is verified unless the aim says otherwise; its digest is kept in any case. No session is resumed, so
//! every check sees the certificate. TLS 1.2 and 1.3.

mod alert;
mod trust;
mod witness;

use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig, ProtocolVersion};
use tokio::net::TcpStream;
use tokio::time::timeout_at;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::model::{Aim, CheckStatus, Host, ServerAddr, Verify};

use super::check::{Deadline, Finding};
use super::failure::errno_text;
use super::trace::Trace;

pub(super) use trust::Trust;
use witness::{Names, Witness};

/// HTTP/2 by ALPN.
pub(super) const ALPN_H2: &[u8] = b"h2";
/// HTTP/1.1 by ALPN.
pub(super) const ALPN_HTTP1: &[u8] = b"http/1.1";

/// Speaks TLS on a fresh connection; `alpn` is the one protocol that is offered, if any.
pub(super) async fn handshake(
    tcp: TcpStream,
    trust: &Trust,
    aim: &Aim,
    host: &Host,
    alpn: Option<&[u8]>,
    deadline: Deadline,
    trace: &mut Trace,
) -> Result<TlsStream<TcpStream>, Finding> {
    let ours = |words: String| Finding::new(CheckStatus::SockErr, None, &words);
    let name = server_name(aim, host).map_err(ours)?;
    let witness = Arc::new(witness(trust, aim).map_err(ours)?);
    let config = config(trust, &witness, alpn).map_err(ours)?;
    let before = trace.elapsed();
    let ended = timeout_at(deadline.at, TlsConnector::from(config).connect(name, tcp)).await;
    trace.certificate_sha256 = witness.digest();
    let stream = match ended {
        Err(_) => {
            let words = format!("no TLS handshake within {:?}", deadline.after);
            return Err(Finding::new(CheckStatus::L6Tout, None, &words));
        }
        Ok(Err(error)) => return Err(refused(&error, trace)),
        Ok(Ok(stream)) => stream,
    };
    trace.tls = Some(trace.elapsed().saturating_sub(before));
    if alpn == Some(ALPN_H2) && stream.get_ref().1.alpn_protocol() != alpn {
        let words = "TLS is there, and the server does not offer HTTP/2 in it (ALPN h2)";
        return Err(Finding::new(CheckStatus::L6Rsp, None, words));
    }
    Ok(stream)
}

/// Returns what a probe says that asked for no more than the handshake.
pub(super) fn passed(stream: &TlsStream<TcpStream>) -> Finding {
    let version = match stream.get_ref().1.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(_) | None => "TLS",
    };
    Finding::new(CheckStatus::L6Ok, None, &format!("{version} handshake done"))
}

/// Returns the name of the alert that an error of a TLS stream tells of.
pub(super) fn alert_in(error: &io::Error) -> Option<Box<str>> {
    match tls_error(error) {
        Some(rustls::Error::AlertReceived(alert)) => Some(alert::name(*alert)),
        Some(_) | None => None,
    }
}

/// The name that is asked for and verified: the aim's own, else the one said in HTTP, else the declared one.
fn server_name(aim: &Aim, host: &Host) -> Result<ServerName<'static>, String> {
    let name_of = |name: &str| {
        ServerName::try_from(name.to_owned())
            .map_err(|_| format!("cannot ask for a certificate of \"{name}\"; set sni"))
    };
    let of_host = |host: &Host| match host {
        Host::Ip(ip) => Ok(ServerName::IpAddress((*ip).into())),
        Host::Name(name) => name_of(name),
        Host::Unix(_) => Err("a Unix socket has no name to ask for a certificate of; set sni".to_owned()),
    };
    match (&aim.sni, &aim.host) {
        (Some(sni), _) => name_of(sni),
        (None, Some(host)) => match host.parse::<ServerAddr>() {
            Ok(with_port) => of_host(&with_port.host),
            Err(_) => name_of(host.trim_start_matches('[').trim_end_matches(']')),
        },
        (None, None) => of_host(host),
    }
}

fn witness(trust: &Trust, aim: &Aim) -> Result<Witness, String> {
    let verify = aim.verify.unwrap_or(Verify::On);
    let authorities = match verify {
        Verify::Off => None,
        Verify::Chain | Verify::On => Some(trust.authorities(aim.ca.as_ref()).map_err(|why| why.to_string())?),
    };
    let names = if verify == Verify::Chain { Names::Any } else { Names::Asked };
    Ok(Witness::new(authorities, names, &trust.provider))
}

fn config(trust: &Trust, witness: &Arc<Witness>, alpn: Option<&[u8]>) -> Result<Arc<ClientConfig>, String> {
    let mut config = trust.base().map_err(|why| why.to_string())?;
    config.dangerous().set_certificate_verifier(Arc::<Witness>::clone(witness));
    config.alpn_protocols = alpn.map(<[u8]>::to_vec).into_iter().collect();
    Ok(Arc::new(config))
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Says why there is no TLS: the certificate, the server's alert, something that is no TLS, or the connection.
fn refused(error: &io::Error, trace: &mut Trace) -> Finding {
    use rustls::Error as E;
    trace.failed(error);
    let mut with_alert = |alert: AlertDescription, words: &str| {
        trace.tls_alert = Some(alert::name(alert));
        Finding::new(CheckStatus::L6Rsp, Some(alert::code(alert)), words)
    };
    let words = match tls_error(error) {
        Some(E::InvalidCertificate(cause)) => {
            return with_alert(AlertDescription::from(cause.clone()), &alert::certificate_words(cause));
        }
        Some(E::AlertReceived(alert)) => return with_alert(*alert, &format!("TLS alert {}", alert::name(*alert))),
        Some(E::InvalidMessage(cause)) => format!("not a TLS reply: {cause:?}"),
        Some(cause) => format!("TLS handshake failed: {cause}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "connection closed in the TLS handshake".to_owned(),
        None => format!("{} in the TLS handshake", errno_text(error)),
    };
    Finding::new(CheckStatus::L6Rsp, None, &words)
}

#[cfg(test)]
pub(super) mod tests;
