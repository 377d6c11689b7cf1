//! Handshakes of rustls' client with every kind of setting, without sockets.

use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SignatureScheme};

use super::fixture::{Authority, Client, Files, Pair, at, frontend, id, load, tls, with_clients};
use super::*;
use crate::metrics::{Handshake, HandshakeFailure};
use crate::model::tls::{Alpn, CertificateFiles, TlsProfile};
use crate::model::{CertificateChange, Timestamp};

const NOON: Timestamp = Timestamp(1_795_262_591_250_000);
const FAR: i32 = 2090;

fn one(files: &Files) -> (Arc<Certificates>, FrontendTls, Pair) {
    let pair = Authority::new("authority").signs(&["web.test"], 1, FAR);
    let certificates = Certificates::new();
    let settings = tls(&[files.put("web", &pair)]);
    load(&certificates, &[frontend("web", &settings)]);
    (certificates, settings, pair)
}

/// Looks until files that changed are read: once to see it, once to read.
fn look(certificates: &Certificates) -> Vec<Notice> {
    let seen = certificates.look_again(NOON);
    assert_eq!(seen, [], "what has just changed is not read yet");
    certificates.look_again(NOON)
}

#[test]
fn name_that_is_asked_for_decides_which_certificate_is_shown() {
    let (files, authority) = (Files::new(), Authority::new("authority"));
    let first = authority.signs(&["web.test"], 1, FAR);
    let star = authority.signs(&["*.shop.test"], 2, FAR);
    let exact = authority.signs(&["pay.shop.test", "API.shop.test"], 3, FAR);
    let settings = tls(&[files.put("first", &first), files.put("star", &star), files.put("exact", &exact)]);
    let certificates = Certificates::new();
    load(&certificates, &[frontend("web", &settings)]);
    let server = at(&certificates, "web");
    for (asked, shown) in [
        ("web.test", &first),
        ("a.shop.test", &star),
        ("A.Shop.TEST", &star),
        ("pay.shop.test", &exact),
        ("api.shop.test", &exact),
        ("b.a.shop.test", &first),
        ("shop.test", &first),
        ("nobody.test", &first),
        ("192.0.2.1", &first),
    ] {
        assert_eq!(Client::new().sees(&server, asked), Some(shown.leaf()), "{asked}");
    }
}

#[test]
fn client_is_shown_the_certificate_that_it_can_verify_and_ecdsa_rather_than_rsa() {
    let (files, rsa) = (Files::new(), Pair::rsa());
    let ecdsa = Authority::new("authority").signs(&["shop.test"], 1, FAR);
    let settings = tls(&[files.put("rsa", &rsa), files.put("ecdsa", &ecdsa)]);
    let certificates = Certificates::new();
    load(&certificates, &[frontend("web", &settings)]);
    let server = at(&certificates, "web");
    let (old, new) = (SignatureScheme::RSA_PSS_SHA256, SignatureScheme::ECDSA_NISTP256_SHA256);
    for asked in ["shop.test", "unknown.test"] {
        assert_eq!(Client::verifying(&[old]).sees(&server, asked), Some(rsa.leaf()), "{asked}");
        assert_eq!(Client::verifying(&[old, new]).sees(&server, asked), Some(ecdsa.leaf()), "{asked}");
    }
    let refused = Client::verifying(&[SignatureScheme::ED25519]).meets(&server, "shop.test");
    assert_eq!(refused, Err(HandshakeFailure::NoCertificate));
    let names: Vec<_> = certificates.rows().into_iter().map(|row| (row.name, row.algorithm)).collect();
    assert_eq!(names, [("shop.test".into(), "rsa"), ("shop.test".into(), "ecdsa")]);
}

#[test]
fn protocol_is_the_first_of_ours_that_the_client_speaks() {
    let files = Files::new();
    let (certificates, settings, _) = one(&files);
    let agreed = |settings: &FrontendTls, offered: &[&[u8]]| {
        load(&certificates, &[frontend("web", settings)]);
        let met = Client::new().offering(offered).meets(&at(&certificates, "web"), "web.test");
        met.map(|(peer, _)| peer.alpn)
    };
    assert_eq!(agreed(&settings, &[b"http/1.1", b"h2"]), Ok(Some(Alpn::H2)));
    assert_eq!(agreed(&settings, &[b"http/1.1"]), Ok(Some(Alpn::Http1)));
    assert_eq!(agreed(&settings, &[]), Ok(None));
    assert_eq!(agreed(&settings, &[b"spdy/3"]), Err(HandshakeFailure::NoProtocol));
    let old = FrontendTls { alpn: [Alpn::Http1].into(), ..settings.clone() };
    assert_eq!(agreed(&old, &[b"h2", b"http/1.1"]), Ok(Some(Alpn::Http1)));
    let raw = FrontendTls { alpn: Box::default(), ..settings };
    assert_eq!(agreed(&raw, &[b"h2"]), Ok(None));
}

#[test]
fn modern_profile_is_tls_1_3_alone_and_intermediate_has_1_2_too() {
    let files = Files::new();
    let (certificates, settings, _) = one(&files);
    let version = |server: &Arc<ServerConfig>, client: &'static rustls::SupportedProtocolVersion| {
        Client::of(&[client], None).meets(server, "web.test").map(|(peer, _)| (peer.version, peer.cipher))
    };
    let intermediate = at(&certificates, "web");
    assert_eq!(version(&intermediate, &TLS12), Ok(("TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")));
    assert_eq!(version(&intermediate, &TLS13), Ok(("TLSv1.3", "TLS13_AES_256_GCM_SHA384")));
    load(&certificates, &[frontend("web", &FrontendTls { profile: TlsProfile::Modern, ..settings })]);
    let modern = at(&certificates, "web");
    assert_eq!(version(&modern, &TLS12), Err(HandshakeFailure::Incompatible));
    assert_eq!(version(&modern, &TLS13).map(|(version, _)| version), Ok("TLSv1.3"));
}

#[test]
fn returning_client_resumes_in_every_way_and_early_data_is_never_taken() {
    let files = Files::new();
    let (certificates, ..) = one(&files);
    let server = at(&certificates, "web");
    assert_eq!(server.max_early_data_size, 0);
    let twice = |client: &Client| {
        let kind = |_| client.meets(&server, "web.test").unwrap().0.handshake;
        [1, 2].map(kind)
    };
    assert_eq!(twice(&Client::of(&[&TLS13], None)), [Handshake::Tls13, Handshake::Tls13Resumed]);
    assert_eq!(twice(&Client::of(&[&TLS12], None)), [Handshake::Tls12, Handshake::Tls12Resumed]);
    let without = Client::of(&[&TLS12], None).without_tickets();
    assert_eq!(twice(&without), [Handshake::Tls12, Handshake::Tls12Resumed]);
}

#[test]
fn session_of_one_frontend_is_worth_nothing_at_another_nor_where_clients_are_verified() {
    let (files, authority) = (Files::new(), Authority::new("clients"));
    let (certificates, open, _) = one(&files);
    let ca = files.write("ca.pem", &authority.pem);
    let closed = with_clients(&open, &ca, None, true);
    let optional = with_clients(&open, &ca, None, false);
    let all = [frontend("web", &open), frontend("other", &open), frontend("closed", &closed)];
    load(&certificates, &all);
    let kinds = |client: &Client, to: &str| client.meets(&at(&certificates, to), "web.test").map(|met| met.0.handshake);
    for client in [Client::of(&[&TLS13], None), Client::of(&[&TLS12], None)] {
        let first = kinds(&client, "web").unwrap();
        assert!(matches!(first, Handshake::Tls12 | Handshake::Tls13));
        assert_eq!(kinds(&client, "other"), Ok(first), "the name is the same, the frontend is not");
        assert_eq!(kinds(&client, "closed"), Err(HandshakeFailure::ClientCertificate));
    }
    // The same frontend, once it asks for certificates.
    let client = Client::of(&[&TLS13], None);
    assert_eq!(kinds(&client, "web"), Ok(Handshake::Tls13));
    load(&certificates, &[frontend("web", &optional)]);
    assert_eq!(kinds(&client, "web"), Ok(Handshake::Tls13));
    assert_eq!(kinds(&client, "web"), Ok(Handshake::Tls13Resumed));
    load(&certificates, &[frontend("web", &closed)]);
    assert_eq!(kinds(&client, "web"), Err(HandshakeFailure::ClientCertificate));
}

#[test]
fn client_certificate_is_required_or_optional_and_never_believed_unsigned() {
    let (files, authority) = (Files::new(), Authority::new("clients"));
    let (certificates, open, _) = one(&files);
    let ca = files.write("ca.pem", &authority.pem);
    let (known, stranger) =
        (authority.signs(&["ann.test"], 7, FAR), Authority::new("other").signs(&["bob.test"], 8, FAR));
    let late = authority.signs(&["eve.test"], 9, 2021);
    for is_required in [true, false] {
        load(&certificates, &[frontend("web", &with_clients(&open, &ca, None, is_required))]);
        let server = at(&certificates, "web");
        for version in [&TLS12, &TLS13] {
            let meets = |pair: Option<&Pair>| {
                let met = Client::of(&[version], pair).meets(&server, "web.test");
                met.map(|(peer, _)| peer.client)
            };
            let client = meets(Some(&known)).unwrap().unwrap();
            assert_eq!((&*client.subject_cn, client.is_verified), ("ann.test", true));
            assert_eq!(client.digest.len(), 64);
            assert_eq!(meets(Some(&stranger)), Err(HandshakeFailure::ClientCertificate));
            assert_eq!(meets(Some(&late)), Err(HandshakeFailure::ClientCertificate));
            let nobody = if is_required { Err(HandshakeFailure::ClientCertificate) } else { Ok(None) };
            assert_eq!(meets(None), nobody);
        }
    }
}

#[test]
fn revoked_certificate_is_refused_once_the_list_is_read_and_its_session_too() {
    let (files, authority) = (Files::new(), Authority::new("clients"));
    let (certificates, open, _) = one(&files);
    let (ca, crl) = (files.write("ca.pem", &authority.pem), files.write("crl.pem", &authority.revokes(&[1])));
    load(&certificates, &[frontend("web", &with_clients(&open, &ca, Some(&crl), true))]);
    let client = Client::of(&[&TLS13], Some(&authority.signs(&["ann.test"], 7, FAR)));
    let kind = || client.meets(&at(&certificates, "web"), "web.test").map(|met| met.0.handshake);
    assert_eq!(kind(), Ok(Handshake::Tls13));
    assert_eq!(kind(), Ok(Handshake::Tls13Resumed));
    files.write("crl.pem", &authority.revokes(&[1, 7]));
    assert_eq!(look(&certificates), [], "no certificate of ours changed");
    assert_eq!(kind(), Err(HandshakeFailure::ClientCertificate));
    let other = Client::of(&[&TLS13], Some(&authority.signs(&["bob.test"], 8, FAR)));
    assert!(other.meets(&at(&certificates, "web"), "web.test").is_ok());
}

#[test]
fn renewed_pair_is_shown_to_new_clients_and_old_sessions_go_on() {
    let files = Files::new();
    let (certificates, _, before) = one(&files);
    let (held, client) = (at(&certificates, "web"), Client::of(&[&TLS13], None));
    assert_eq!(client.meets(&held, "web.test").unwrap().0.handshake, Handshake::Tls13);
    let after = Authority::new("authority").signs(&["web.test"], 2, 2080);
    // One file after the other, as many tools do, with a look in between.
    files.write("web.pem", &after.chain);
    assert_eq!(certificates.look_again(NOON), []);
    files.write("web.key", &after.key);
    let notices = look(&certificates);
    let [Notice { certificate, change: CertificateChange::Renewed { until }, .. }] = &notices[..] else {
        panic!("{notices:?}");
    };
    assert_eq!((&**certificate, until.date()), ("web.test", "2080-01-01".to_owned()));
    assert_eq!(Client::new().sees(&at(&certificates, "web"), "web.test"), Some(after.leaf()));
    assert_eq!(Client::new().sees(&held, "web.test"), Some(before.leaf()), "a handshake keeps what it began with");
    assert_eq!(client.meets(&at(&certificates, "web"), "web.test").unwrap().0.handshake, Handshake::Tls13Resumed);
    assert_eq!(certificates.look_again(NOON), [], "it is told once");
    let counted = certificates.read_again();
    assert_eq!((counted[0].applied, counted[0].refused), (1, 0));
}

#[test]
fn link_that_is_turned_to_other_files_is_a_renewal() {
    let (files, authority) = (Files::new(), Authority::new("authority"));
    let (before, after) = (authority.signs(&["web.test"], 1, FAR), authority.signs(&["web.test"], 2, FAR));
    // As Kubernetes has it: the names are links into a link that is replaced whole.
    for (name, pair) in [("one", &before), ("two", &after)] {
        std::fs::create_dir(files.path(name)).unwrap();
        files.put(&format!("{name}/web"), pair);
    }
    let link = |to: &str, from: &str| std::os::unix::fs::symlink(to, files.path(from)).unwrap();
    link("one", "data");
    link("data/web.pem", "web.pem");
    link("data/web.key", "web.key");
    let paths = CertificateFiles { cert: files.path("web.pem").into(), key: files.path("web.key").into() };
    let certificates = Certificates::new();
    load(&certificates, &[frontend("web", &tls(&[paths]))]);
    link("two", "data.new");
    std::fs::rename(files.path("data.new"), files.path("data")).unwrap();
    assert_eq!(look(&certificates).len(), 1);
    assert_eq!(Client::new().sees(&at(&certificates, "web"), "web.test"), Some(after.leaf()));
}

#[test]
fn bad_new_file_leaves_the_old_one_and_is_told_once_until_it_changes_again() {
    let files = Files::new();
    let (certificates, settings, before) = one(&files);
    files.write("web.pem", "-----BEGIN CERTIFICATE-----\nnonsense");
    let notices = look(&certificates);
    let [Notice { certificate, change: CertificateChange::Refused { why }, .. }] = &notices[..] else {
        panic!("{notices:?}");
    };
    assert_eq!(**certificate, files.path("web.pem").display().to_string());
    assert!(why.starts_with("frontend \"web\": tls.certificates.cert: \""), "{why}");
    assert_eq!(Client::new().sees(&at(&certificates, "web"), "web.test"), Some(before.leaf()));
    assert_eq!((certificates.look_again(NOON), certificates.look_again(NOON)), (vec![], vec![]));
    // A reload is refused, too: it would not start with these files either.
    let refused = certificates.prepare(&[frontend("web", &settings)]).unwrap_err();
    assert_eq!(refused.len(), 1);
    std::fs::remove_file(files.path("web.pem")).unwrap();
    assert!(matches!(look(&certificates)[..], [Notice { change: CertificateChange::Refused { .. }, .. }]));
    let after = Authority::new("authority").signs(&["web.test"], 2, FAR);
    files.put("web", &after);
    assert_eq!(look(&certificates).len(), 1);
    assert_eq!(Client::new().sees(&at(&certificates, "web"), "web.test"), Some(after.leaf()));
    let counted = certificates.read_again();
    assert_eq!((counted[0].applied, counted[0].refused), (1, 2));
}

#[test]
fn files_that_cannot_be_used_are_all_named_with_their_remedy_and_nothing_changes() {
    let files = Files::new();
    let (certificates, good, pair) = one(&files);
    let held = at(&certificates, "web");
    let other = Authority::new("authority").signs(&["other.test"], 2, FAR);
    let (fine, key) = (files.put("fine", &pair), files.write("other.key", &other.key));
    let reversed = pair.chain.replace(&pair.leaf_pem(), "") + &pair.leaf_pem();
    let cert = |name: &str, text: &str| CertificateFiles { cert: files.write(name, text), key: Arc::clone(&fine.key) };
    let lost = CertificateFiles { cert: files.path("lost.pem").into(), key: Arc::clone(&fine.key) };
    let ca = files.write("ca.pem", "");
    let bad = [
        (
            tls(&[lost]),
            "tls.certificates.cert: \"DIR/lost.pem\" cannot be read: no such file or directory (os error 2); check the path and its permissions",
        ),
        (
            tls(&[cert("empty.pem", "")]),
            "tls.certificates.cert: \"DIR/empty.pem\" holds no certificate; give a PEM file that does",
        ),
        (
            tls(&[cert("reversed.pem", &reversed)]),
            "tls.certificates.cert: \"DIR/reversed.pem\" begins with another certificate than the key's, which is number 2; put the key's certificate first, then those that vouch for it",
        ),
        (
            tls(&[CertificateFiles { key, ..fine.clone() }]),
            "tls.certificates.key: \"DIR/other.key\" is not the key of the certificate in \"DIR/fine.pem\"; give the key that the certificate was made with",
        ),
        (
            tls(&[CertificateFiles { key: Arc::clone(&fine.cert), ..fine.clone() }]),
            "tls.certificates.key: \"DIR/fine.pem\" holds no private key; give a PEM file that does; an encrypted key must be decrypted first",
        ),
        (
            with_clients(&good, &ca, None, true),
            "tls.client_ca: \"DIR/ca.pem\" holds no certificate; give a PEM file that does",
        ),
        (
            with_clients(&good, &fine.cert, Some(&ca), true),
            "tls.client_crl: \"DIR/ca.pem\" holds no certificate revocation list; give a PEM file that does (X509 CRL)",
        ),
    ];
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let frontends: Vec<_> = names.iter().zip(&bad).map(|(name, (settings, _))| frontend(name, settings)).collect();
    let refused = certificates.prepare(&frontends).unwrap_err();
    let expected: Vec<_> =
        names.iter().zip(&bad).map(|(name, (_, why))| format!("frontend \"{name}\": {why}")).collect();
    assert_eq!(files.told(&refused), expected);
    assert!(Arc::ptr_eq(&held, &at(&certificates, "web")));
    assert!(certificates.terminator(id("a")).is_none());
}

#[test]
fn reload_leaves_unchanged_frontends_as_they_are_and_forgets_those_without_tls() {
    let files = Files::new();
    let (certificates, settings, pair) = one(&files);
    let held = at(&certificates, "web");
    let more = tls(&[files.put("more", &pair)]);
    load(&certificates, &[frontend("web", &settings), frontend("more", &more)]);
    assert!(Arc::ptr_eq(&held, &at(&certificates, "web")));
    drop(certificates.prepare(&[]).unwrap());
    assert!(certificates.terminator(id("more")).is_some(), "what is prepared and dropped changes nothing");
    let terminator = certificates.terminator(id("web")).unwrap();
    load(&certificates, &[frontend("web", &more)]);
    assert!(!Arc::ptr_eq(&held, &terminator.0.made.load().config), "one that was asked for before is the same one");
    assert!(certificates.terminator(id("more")).is_none());
}

#[test]
fn certificate_past_its_end_is_served_with_a_warning_and_told_of() {
    let (files, authority) = (Files::new(), Authority::new("authority"));
    let late = authority.signs(&["web.test"], 1, 2021);
    let certificates = Certificates::new();
    load(&certificates, &[frontend("web", &tls(&[files.put("web", &late)]))]);
    assert_eq!(Client::new().sees(&at(&certificates, "web"), "web.test"), Some(late.leaf()));
    let terminator = certificates.terminator(id("web")).unwrap();
    let warnings = terminator.0.made.load().chains[0].warnings.clone();
    assert_eq!(warnings, ["the certificate expired at 2021-01-01T00:00:00.000Z"]);
    let until = certificates.rows()[0].until;
    let notice = |change| Notice { frontend: Name::parse("web").unwrap(), certificate: "web.test".into(), change };
    assert_eq!(certificates.look_again(NOON), [notice(CertificateChange::Expired { until })]);
    assert_eq!(certificates.look_again(NOON + Duration::from_secs(86_400)), []);
}

#[test]
fn chain_out_of_order_and_certificate_of_no_name_are_warned_of() {
    let (files, authority) = (Files::new(), Authority::new("authority"));
    let mut pair = authority.signs(&[], 1, FAR);
    pair.chain = pair.leaf_pem() + &Authority::new("stranger").pem;
    let certificates = Certificates::new();
    load(&certificates, &[frontend("web", &tls(&[files.put("web", &pair)]))]);
    let terminator = certificates.terminator(id("web")).unwrap();
    let warnings = terminator.0.made.load().chains[0].warnings.clone();
    assert_eq!(
        warnings,
        [
            "certificate 2 did not issue certificate 1",
            "the certificate is for no name (subjectAltName): clients will not accept it",
        ]
    );
    assert_eq!(*certificates.rows()[0].name, *files.path("web.pem").display().to_string());
}

/// RFC 8737: it has no certificate to show, whatever clients must.
#[tokio::test]
async fn authority_is_shown_what_it_asks_for_and_gets_no_further_while_clients_show_certificates() {
    let (files, authority) = (Files::new(), Authority::new("authority"));
    let pair = authority.signs(&["web.test"], 1, FAR);
    let ca = files.write("ca.pem", &authority.pem);
    let mut settings = with_clients(&tls(&[files.put("web", &pair)]), &ca, None, true);
    settings.acme = ["web.test".into()].into();
    let certificates = Certificates::new();
    load(&certificates, &[frontend("web", &settings)]);
    let terminator = certificates.terminator(id("web")).unwrap();
    let asks = Client::new().offering(&[b"acme-tls/1"]);
    assert!(asks.comes(&terminator, "web.test").await.is_err(), "nobody is asked now");

    let shown = authority.signs(&["web.test"], 2, FAR);
    let key = PrivateKeyDer::from_pem_slice(shown.key.as_bytes()).unwrap();
    certificates.challenges().put_certificate("web.test", &shown.leaf(), &key);
    let met = asks.comes(&terminator, "web.test").await.unwrap();
    assert_eq!(met, (Some(shown.leaf()), Some(b"acme-tls/1".to_vec()), false));
    assert!(asks.comes(&terminator, "other.test").await.is_err(), "of that name nothing is asked");

    let member = Client::of(&[&TLS12, &TLS13], Some(&authority.signs(&["someone"], 3, FAR)));
    let met = member.clone().offering(&[b"h2"]).comes(&terminator, "web.test").await.unwrap();
    assert_eq!(met, (Some(pair.leaf()), Some(b"h2".to_vec()), true));
    for alpn in [&[b"h2".as_slice()][..], &[], &[b"acme-tls/1", b"h2"]] {
        let stranger = Client::new().offering(alpn);
        assert!(stranger.comes(&terminator, "web.test").await.is_err(), "{alpn:?}");
    }
    certificates.challenges().forget("web.test");
    assert!(asks.comes(&terminator, "web.test").await.is_err());
}
