//! A certificate with its key as an API is given them, both PEM: whether a listener could use them, and what they say.
//!
//! Pure: nothing is read but the two texts, and whether a certificate is past its end is the caller's to say. What is
//! refused here is what a listener would refuse when it opens (`proxy/tls/chain`), so that a write fails where it is
//! made. The form of a certificate has the two texts under `cert` and `key`; no message shows any of the key.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rustls::InconsistentKeys;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde_json::{Map, Value};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use crate::config::declared::Fault;
use crate::model::{Declaration, ObjectId, Timestamp};

/// The longest chain and the longest key that are taken, in bytes.
pub const PEM_BYTES_MAX: usize = 128 * 1024;
/// The most certificates of a chain.
const CHAIN_MAX: usize = 16;
/// The keys of the form.
const CERT: &str = "cert";
const KEY: &str = "key";

/// How the shape ends of a certificate that an API made for one server, to verify it with.
const CHAIN_SHAPE_END: &str = "-chain";
/// How its name begins; the id of the server follows.
const CHAIN_PREFIX: &str = "chain-";

/// Returns the name of the certificate that one server is verified with.
#[must_use]
pub fn chain_name(server: ObjectId) -> String {
    format!("{CHAIN_PREFIX}{server}")
}

/// Returns the server that a certificate was made for, if it was for one.
#[must_use]
pub fn server_of_chain(made: &Declaration) -> Option<ObjectId> {
    let id = made.name.as_str().strip_prefix(CHAIN_PREFIX).filter(|_| made.shape.ends_with(CHAIN_SHAPE_END))?;
    id.parse().ok().map(ObjectId)
}

/// What a certificate says, its key checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The names and addresses that it is for, as it lists them: names in lower case, wildcards as they are written.
    pub names: Vec<Box<str>>,
    /// Whose it is, as X.509 writes it: `CN=www.example.com`.
    pub subject: Box<str>,
    /// Who issued it.
    pub issuer: Box<str>,
    /// Its number, in hexadecimal without leading zeros.
    pub serial: Box<str>,
    /// When it begins to be valid.
    pub not_before: Timestamp,
    /// When it ends to be.
    pub not_after: Timestamp,
    /// SHA-256 of it.
    pub sha256: [u8; 32],
    /// SHA-1 of it, which older tools call its fingerprint.
    pub sha1: [u8; 20],
    /// How many certificates the chain has, itself counted.
    pub chain: usize,
}

/// Reads a certificate and its key. `path` is the key path that faults begin with.
///
/// # Errors
/// Every fault of the two, none of which shows any of the key.
pub fn parse(cert: &str, key: &str, path: &str) -> Result<Certificate, Vec<Fault>> {
    let fault = |of: &str, message: String| Fault { path: format!("{path}.{of}").into(), message: message.into() };
    let (chain, private) = (chain_of(cert), key_of(key));
    let (chain, private) = match (chain, private) {
        (Ok(chain), Ok(private)) => (chain, private),
        (chain, private) => {
            let faults = [chain.err().map(|why| fault(CERT, why)), private.err().map(|why| fault(KEY, why))];
            return Err(faults.into_iter().flatten().collect());
        }
    };
    let facts = facts(&chain).map_err(|why| vec![fault(CERT, why)])?;
    check_key(&chain, private).map_err(|(of, why)| vec![fault(of, why)])?;
    Ok(facts)
}

/// Reads a certificate from the form of its object: `cert` and `key`, each a PEM text, and nothing else.
///
/// # Errors
/// Every fault of the form.
pub fn of_form(form: &Map<String, Value>, path: &str) -> Result<Certificate, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut text = |key: &str| match form.get(key) {
        Some(Value::String(text)) => text.as_str(),
        Some(_) | None => {
            let message = format!("is no text; send the {} in PEM", if key == CERT { "chain" } else { "private key" });
            faults.push(Fault { path: format!("{path}.{key}").into(), message: message.into() });
            ""
        }
    };
    let (cert, key) = (text(CERT), text(KEY));
    for unknown in form.keys().filter(|known| ![CERT, KEY].contains(&known.as_str())) {
        let path = format!("{path}.{}", super::form::key_path(&[unknown]));
        faults.push(Fault { path: path.into(), message: "is no key of a certificate; it has cert and key".into() });
    }
    if faults.is_empty() { parse(cert, key, path) } else { Err(faults) }
}

/// Reads what a certificate says, its key unlooked at: of one that was checked when it was made.
///
/// # Errors
/// Why it cannot be read.
pub fn read(cert: &str) -> Result<Certificate, String> {
    facts(&chain_of(cert)?)
}

fn chain_of(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    check_length(pem)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).take(CHAIN_MAX + 1).collect();
    let chain = read.map_err(|why| not_pem(&why))?;
    match chain.len() {
        0 => Err("holds no certificate; send one in PEM, then those that vouch for it".to_owned()),
        1..=CHAIN_MAX => Ok(chain),
        _ => Err(format!("holds more than {CHAIN_MAX} certificates; send the chain of one")),
    }
}

fn key_of(pem: &str) -> Result<PrivateKeyDer<'static>, String> {
    check_length(pem)?;
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|why| {
        if matches!(why, PemError::NoItemsFound) {
            return "holds no private key; send one in PEM, an encrypted one decrypted first".to_owned();
        }
        not_pem(&why)
    })
}

fn check_length(pem: &str) -> Result<(), String> {
    let (length, max) = (pem.len(), PEM_BYTES_MAX);
    if length > max { Err(format!("{length} bytes are more than {max}; send the chain of one")) } else { Ok(()) }
}

/// The library's words name sections and never what they hold.
#[expect(clippy::wildcard_enum_match_arm, reason = "the library may come to know more of them")]
fn not_pem(why: &PemError) -> String {
    let why = match why {
        PemError::MissingSectionEnd { .. } => "a section has no end line",
        PemError::IllegalSectionStart { .. } => "a section begins with a malformed line",
        PemError::Base64Decode(_) => "a section is not base64",
        _ => "it cannot be read",
    };
    format!("is not PEM: {why}; send the whole of it, line ends as \\n")
}

fn check_key(chain: &[CertificateDer<'static>], key: PrivateKeyDer<'static>) -> Result<(), (&'static str, String)> {
    let provider = rustls::crypto::ring::default_provider();
    let key = provider.key_provider.load_private_key(key).map_err(|_| {
        let why = "is a key that cannot be used; send RSA of 2048 to 8192 bits, ECDSA P-256 or P-384, or Ed25519";
        (KEY, why.to_owned())
    })?;
    let is_of = |certificate: &CertificateDer<'static>| {
        CertifiedKey::new(vec![certificate.clone()], Arc::clone(&key)).keys_match()
    };
    let Some(first) = chain.first() else { return Ok(()) };
    match is_of(first) {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(()),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err(match chain.iter().position(|it| is_of(it).is_ok()) {
                Some(position) => {
                    let number = position + 1;
                    (
                        CERT,
                        format!(
                            "begins with another certificate than the key's, which is number {number}; put that first"
                        ),
                    )
                }
                None => (KEY, "is not the key of the certificate; send the one that it was made with".to_owned()),
            })
        }
        Err(_) => Err((CERT, "cannot be used; send an X.509 v3 certificate".to_owned())),
    }
}

fn facts(chain: &[CertificateDer<'_>]) -> Result<Certificate, String> {
    for (position, der) in chain.iter().enumerate() {
        if X509Certificate::from_der(der).is_err() {
            return Err(format!("holds a certificate that cannot be read, number {}; send it anew", position + 1));
        }
    }
    let first = chain.first().ok_or_else(|| "holds no certificate".to_owned())?;
    let (_, leaf) = X509Certificate::from_der(first).map_err(|_| "cannot be read".to_owned())?;
    let serial = hex::encode(leaf.tbs_certificate.raw_serial());
    let serial = serial.trim_start_matches('0');
    Ok(Certificate {
        names: names_of(&leaf),
        subject: leaf.subject().to_string().into(),
        issuer: leaf.issuer().to_string().into(),
        serial: if serial.is_empty() { "0" } else { serial }.into(),
        not_before: timestamp(leaf.validity().not_before.timestamp()),
        not_after: timestamp(leaf.validity().not_after.timestamp()),
        sha256: Sha256::digest(first).into(),
        sha1: Sha1::digest(first).into(),
        chain: chain.len(),
    })
}

fn names_of(leaf: &X509Certificate<'_>) -> Vec<Box<str>> {
    let mut names: Vec<Box<str>> = Vec::new();
    for extension in leaf.extensions() {
        let ParsedExtension::SubjectAlternativeName(alternatives) = extension.parsed_extension() else { continue };
        for name in &alternatives.general_names {
            if let GeneralName::DNSName(name) = name {
                names.push(name.trim_end_matches('.').to_ascii_lowercase().into());
            } else if let GeneralName::IPAddress(bytes) = name {
                names.extend(address(bytes).map(|ip| ip.to_string().into()));
            }
        }
    }
    names
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(|bytes| IpAddr::from(Ipv4Addr::from(bytes)));
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(|bytes| IpAddr::from(Ipv6Addr::from(bytes))))
}

fn timestamp(unix_seconds: i64) -> Timestamp {
    Timestamp(u64::try_from(unix_seconds).unwrap_or(0).saturating_mul(1_000_000))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SerialNumber};

    use super::*;

    fn made(names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.serial_number = Some(SerialNumber::from(0x0102_u64));
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn said(cert: &str, key: &str) -> Vec<String> {
        parse(cert, key, "certificates.a").unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn certificate_and_its_key_are_read_with_all_they_say() {
        let (cert, key) = made(&["WWW.example.com", "*.example.org", "192.0.2.1", "2001:db8::1"]);
        let read = parse(&cert, &key, "x").unwrap();
        let names: Vec<&str> = read.names.iter().map(|name| &**name).collect();
        assert_eq!(names, ["www.example.com", "*.example.org", "192.0.2.1", "2001:db8::1"]);
        assert_eq!((&*read.serial, read.chain), ("102", 1));
        assert!(read.not_before < read.not_after, "{read:?}");
        let der = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
        assert_eq!(read.sha256, <[u8; 32]>::from(Sha256::digest(&der)));
        assert_eq!(super::read(&cert), Ok(read.clone()));
        let form = serde_json::json!({"cert": cert, "key": key});
        assert_eq!(of_form(form.as_object().unwrap(), "x"), Ok(read));
    }

    #[test]
    fn certificate_without_its_own_key_is_refused_and_its_place_is_told() {
        let ((one, key), (two, other)) = (made(&["a.example"]), made(&["b.example"]));
        assert_eq!(
            said(&one, &other),
            ["certificates.a.key: is not the key of the certificate; send the one that it was made with"]
        );
        let turned = format!("{two}{one}");
        assert_eq!(
            said(&turned, &key),
            ["certificates.a.cert: begins with another certificate than the key's, which is number 2; put that first"]
        );
    }

    #[test]
    fn what_is_no_pem_is_refused_for_both_and_never_shown() {
        let (cert, key) = made(&["a.example"]);
        assert_eq!(
            said("", "hush"),
            [
                "certificates.a.cert: holds no certificate; send one in PEM, then those that vouch for it",
                "certificates.a.key: holds no private key; send one in PEM, an encrypted one decrypted first"
            ]
        );
        let cut = &key[..key.len() / 2];
        let both = said(&cert.replace("-----END", "----END"), cut);
        assert!(both.iter().all(|fault| fault.contains("is not PEM: ")), "{both:?}");
        let secret = key.lines().nth(1).unwrap();
        assert!(!both.concat().contains(&secret[..8]), "{both:?}");
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(said(garbage, &key)[0].contains("cannot be read, number 1"), "{:?}", said(garbage, &key));
        assert!(said(&cert.repeat(17), &key)[0].contains("more than 16 certificates"));
        assert!(said(&"x".repeat(PEM_BYTES_MAX + 1), &key)[0].contains("bytes are more than"));
    }

    #[test]
    fn form_of_a_certificate_has_its_two_texts_and_nothing_else() {
        let faults = |form: Value| {
            let faults = of_form(form.as_object().unwrap(), "certificates.a").unwrap_err();
            faults.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            faults(serde_json::json!({"cert": 5, "file": "x"})),
            [
                "certificates.a.cert: is no text; send the chain in PEM",
                "certificates.a.key: is no text; send the private key in PEM",
                "certificates.a.file: is no key of a certificate; it has cert and key"
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(-----BEGIN (CERTIFICATE|PRIVATE KEY)-----\n)?[ -~\n]{0,200}(-----END CERTIFICATE-----)?") {
            assert!(parse(&text, &text, "x").is_err());
        }
    }
}
