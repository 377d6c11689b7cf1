//! Certificates of the admin side: of files, made, kept; what changes while it runs.

use super::*;
use crate::admin::fixture::settings;

const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn files(cert: &str, key: &str) -> (tempfile::TempDir, AdminSettings) {
    let dir = tempfile::tempdir().unwrap();
    let (cert_path, key_path) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert_path, cert).unwrap();
    std::fs::write(&key_path, key).unwrap();
    (dir, AdminSettings { tls: AdminTls::Files { cert: cert_path, key: key_path }, ..settings() })
}

fn pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn refused(cert: &str, key: &str) -> String {
    let (dir, settings) = files(cert, key);
    let error = Tls::load(&settings, LOCAL).unwrap_err().to_string();
    error.replace(dir.path().to_str().unwrap(), "DIR")
}

#[test]
fn tls_of_files_names_the_file_that_is_wrong() {
    let ((cert, key), (_, other)) = (pair(), pair());
    let (_dir, good) = files(&cert, &key);
    assert!(Tls::load(&good, LOCAL).unwrap().unwrap().fingerprint().is_none());
    assert_eq!(refused("", &key), "admin.tls.cert: \"DIR/cert.pem\" holds no certificate; give a PEM file that does");
    assert_eq!(refused(&cert, "x"), "admin.tls.key: \"DIR/key.pem\" holds no private key; give a PEM file that does");
    assert!(refused(&cert, &other).starts_with("admin.tls: certificate and key cannot be used: "));
    let tls = AdminTls::Files { cert: "/nowhere/cert.pem".into(), key: "/nowhere/key.pem".into() };
    let lost = AdminSettings { tls, ..settings() };
    assert_eq!(
        Tls::load(&lost, LOCAL).unwrap_err().to_string(),
        "admin.tls.cert: cannot read \"/nowhere/cert.pem\": no such file or directory (os error 2); \
         check the path and its permissions"
    );
}

#[test]
fn tls_auto_makes_a_certificate_for_this_process_and_prints_its_digest() {
    let (one, two) = (auto(LOCAL, None), auto(LOCAL, None));
    let print = one.fingerprint().unwrap();
    assert_eq!(print, fingerprint(&one.certificate().into()));
    assert_eq!(print.len(), 32 * 3 - 1);
    assert_ne!(Some(&print), two.fingerprint().as_ref());
    // A reload makes no other.
    one.put(one.renewed(&AdminSettings { tls: AdminTls::Auto, ..settings() }).unwrap());
    assert_eq!(one.fingerprint(), Some(print));
}

#[test]
fn tls_auto_keeps_its_certificate_in_state_dir_and_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let state_dir = dir.path().join("state");
    let first = auto(LOCAL, Some(&state_dir)).fingerprint();
    assert_eq!(auto(LOCAL, Some(&state_dir)).fingerprint(), first);
    let path = state_dir.join(kept::FILE_NAME);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // Another address needs another certificate, and what is broken is of no use.
    let there: IpAddr = [192, 0, 2, 7].into();
    let second = auto(there, Some(&state_dir)).fingerprint();
    assert_ne!(second, first);
    assert_eq!(auto(there, Some(&state_dir)).fingerprint(), second);
    assert_eq!(auto(LOCAL, Some(&state_dir)).fingerprint(), second, "one for more is one for this too");
    let half = std::fs::read_to_string(&path).unwrap().replace("PRIVATE KEY", "NOTHING");
    std::fs::write(&path, half).unwrap();
    assert_ne!(auto(LOCAL, Some(&state_dir)).fingerprint(), second);
}

fn auto(ip: IpAddr, state_dir: Option<&Path>) -> Tls {
    let tls = Tls::load(&AdminSettings { tls: AdminTls::Auto, ..settings() }, ip).unwrap().unwrap();
    if let Some(state_dir) = state_dir {
        tls.keep_in(state_dir).unwrap();
    }
    tls
}

#[test]
fn files_that_change_come_into_use_and_bad_ones_leave_the_former() {
    let ((cert, key), (other_cert, other_key)) = (pair(), pair());
    let (dir, settings) = files(&cert, &key);
    let tls = Tls::load(&settings, LOCAL).unwrap().unwrap();
    let changes = tls.changes();
    let (first, write) =
        (tls.certificate(), |name: &str, pem: &str| std::fs::write(dir.path().join(name), pem).unwrap());
    tls.look_again();
    write("cert.pem", &other_cert);
    tls.look_again();
    assert_eq!(tls.certificate(), first, "it does not go with the key");
    assert!(!changes.has_changed().unwrap());
    write("key.pem", &other_key);
    tls.look_again();
    assert_ne!(tls.certificate(), first);
    assert!(changes.has_changed().unwrap());
    let second = tls.certificate();
    std::fs::remove_file(dir.path().join("key.pem")).unwrap();
    tls.look_again();
    assert_eq!(tls.certificate(), second);
    assert!(tls.renewed(&settings).unwrap_err().to_string().contains("cannot read"));
}

#[test]
fn authorities_that_are_none_are_refused_by_name() {
    let (cert, key) = pair();
    let (dir, settings) = files(&cert, &key);
    let ca = dir.path().join("ca.pem");
    let with = || {
        let clients = ClientAuth { ca: ca.as_path().into(), crl: None, is_required: true };
        Tls::load(&AdminSettings { clients: Some(clients), ..settings.clone() }, LOCAL)
    };
    assert!(with().unwrap_err().to_string().starts_with("admin.tls.client_ca: cannot read"));
    std::fs::write(&ca, "").unwrap();
    assert!(with().unwrap_err().to_string().ends_with("holds no certificate; give a PEM file that does"));
    std::fs::write(&ca, &cert).unwrap();
    assert!(with().unwrap().is_some());
}

mod clients;
