//! TLS alerts by the names of the RFCs, and what is wrong with a certificate in an operator's words. Pure.
//!
//! Source: RFC 8446 section 6, RFC 5246 section 7.2, RFC 6066, RFC 7301.

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError};

use crate::model::Timestamp;

/// Alerts by code, in the order of the codes.
const NAMES: &[(u8, &str)] = &[
    (0, "close_notify"),
    (10, "unexpected_message"),
    (20, "bad_record_mac"),
    (21, "decryption_failed"),
    (22, "record_overflow"),
    (30, "decompression_failure"),
    (40, "handshake_failure"),
    (41, "no_certificate"),
    (42, "bad_certificate"),
    (43, "unsupported_certificate"),
    (44, "certificate_revoked"),
    (45, "certificate_expired"),
    (46, "certificate_unknown"),
    (47, "illegal_parameter"),
    (48, "unknown_ca"),
    (49, "access_denied"),
    (50, "decode_error"),
    (51, "decrypt_error"),
    (60, "export_restriction"),
    (70, "protocol_version"),
    (71, "insufficient_security"),
    (80, "internal_error"),
    (86, "inappropriate_fallback"),
    (90, "user_canceled"),
    (100, "no_renegotiation"),
    (109, "missing_extension"),
    (110, "unsupported_extension"),
    (111, "certificate_unobtainable"),
    (112, "unrecognized_name"),
    (113, "bad_certificate_status_response"),
    (114, "bad_certificate_hash_value"),
    (115, "unknown_psk_identity"),
    (116, "certificate_required"),
    (120, "no_application_protocol"),
    (121, "ech_required"),
];

/// Returns an alert's code.
pub(super) fn code(alert: AlertDescription) -> u16 {
    u16::from(u8::from(alert))
}

/// Returns an alert's name, such as `handshake_failure`; its number where it has none.
pub(super) fn name(alert: AlertDescription) -> Box<str> {
    let code = u8::from(alert);
    match NAMES.binary_search_by_key(&code, |(code, _)| *code) {
        Ok(at) => NAMES[at].1.into(),
        Err(_) => format!("alert {code}").into(),
    }
}

/// Returns in words why a certificate is not good.
pub(super) fn certificate_words(error: &CertificateError) -> String {
    use CertificateError as E;
    if let E::ExpiredContext { not_after, .. } = error {
        return format!("certificate expired at {}", time(*not_after));
    }
    if let E::NotValidYetContext { not_before, .. } = error {
        return format!("certificate not valid before {}", time(*not_before));
    }
    if let E::NotValidForNameContext { expected, presented } = error {
        let names: Vec<&str> = presented.iter().map(|name| bare_name(name)).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return format!("certificate not valid for name \"{}\"; its names: {names}", expected.to_str());
    }
    if matches!(error, E::UnknownIssuer) {
        return "certificate of an unknown authority".to_owned();
    }
    format!("certificate not good: {error}")
}

fn time(at: UnixTime) -> Timestamp {
    Timestamp(at.as_secs().saturating_mul(1_000_000))
}

/// `shop.example` of `DnsName("shop.example")`.
fn bare_name(text: &str) -> &str {
    text.split('"').nth(1).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alert_has_its_name_or_its_number() {
        assert!(NAMES.is_sorted_by_key(|(code, _)| *code));
        for (alert, number, text) in [
            (AlertDescription::HandshakeFailure, 40, "handshake_failure"),
            (AlertDescription::UnrecognisedName, 112, "unrecognized_name"),
            (AlertDescription::NoApplicationProtocol, 120, "no_application_protocol"),
            (AlertDescription::Unknown(200), 200, "alert 200"),
        ] {
            assert_eq!((code(alert), &*name(alert)), (number, text));
        }
    }

    #[test]
    fn certificate_error_is_told_in_words() {
        let at = |seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let expected = rustls::pki_types::ServerName::try_from("a.example").unwrap();
        for (error, words) in [
            (
                CertificateError::ExpiredContext { time: at(10), not_after: at(5) },
                "certificate expired at 1970-01-01T00:00:05.000Z",
            ),
            (
                CertificateError::NotValidYetContext { time: at(1), not_before: at(5) },
                "certificate not valid before 1970-01-01T00:00:05.000Z",
            ),
            (
                CertificateError::NotValidForNameContext {
                    expected,
                    presented: vec!["DnsName(\"b.example\")".to_owned(), "IpAddress(::1)".to_owned()],
                },
                "certificate not valid for name \"a.example\"; its names: b.example, IpAddress(::1)",
            ),
            (CertificateError::UnknownIssuer, "certificate of an unknown authority"),
        ] {
            assert_eq!(certificate_words(&error), words);
        }
    }
}
