//! Certificates made on the spot: what is taken, what is refused and why.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::*;

struct Pair {
    certificate: String,
    key: String,
    authority: String,
}

/// A certificate for two names and an address, and the authority that issued it.
fn pair() -> Pair {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "authority");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let names = ["a.test", "*.b.test", "192.0.2.7"].map(str::to_owned);
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, "a.test");
    params.not_after = rcgen::date_time_ymd(2031, 2, 3);
    params.serial_number = Some(vec![0x0a, 0xbc].into());
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    Pair { certificate: certificate.pem(), key: key.serialize_pem(), authority: authority.pem() }
}

#[test]
fn certificate_says_its_names_its_end_and_its_fingerprint() {
    let pair = pair();
    let chain = check(&pair.certificate, &pair.key, Some(&pair.authority)).unwrap();
    let facts = facts(&chain).unwrap();
    assert_eq!(facts.san, ["a.test", "*.b.test", "192.0.2.7"]);
    assert!(facts.subject.contains("CN=a.test"), "{}", facts.subject);
    assert_eq!((facts.serial.as_str(), facts.until.to_string().as_str()), ("0ABC", "2031-02-03T00:00:00.000Z"));
    assert_eq!(facts.fingerprint.len(), 32 * 3 - 1);
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
    assert!(check(&pair.certificate, &pair.key, None).is_ok(), "an authority need not be there");
    assert!(check(&pair.certificate, &pair.key, Some(" ")).is_ok());
    let both = format!("{}{}", pair.certificate, pair.authority);
    assert!(check(&both, &pair.key, None).is_ok(), "the chain may be in the same text");
    assert_eq!(super::facts("nothing"), None);
}

#[test]
fn what_cannot_be_served_is_refused_with_its_field() {
    let (pair, other) = (pair(), pair());
    let broken = pair.certificate.replace("\nM", "\n!");
    for (certificate, key, chain, want) in [
        ("", &*pair.key, None, "certificate: holds no certificate"),
        (&*pair.key, &*pair.key, None, "certificate: holds no certificate"),
        (&*broken, &*pair.key, None, "certificate: is not PEM"),
        (&*pair.certificate, "", None, "key: holds no private key"),
        (&*pair.certificate, &*pair.certificate, None, "key: holds no private key"),
        (&*pair.certificate, &*other.key, None, "key: is not the key of certificate"),
        (&*pair.certificate, &*pair.key, Some("x"), "chain: holds no certificate"),
        (&*pair.certificate, &*pair.key, Some(&*pair.certificate), "chain: certificate 2 did not issue certificate 1"),
    ] {
        let why = check(certificate, key, chain).unwrap_err();
        assert!(why.starts_with(want), "{why}");
        assert!(!why.contains("PRIVATE"), "{why}");
    }
}
