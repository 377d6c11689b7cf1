//! The directory where the account and the certificates are kept.
//!
//! Directories 0700, files 0600, written whole under another name and renamed, so that a reader sees the old or the
//! new. A name is a host name as the config has it, so it is a file name too.

use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::AcmeError;
use super::plan::Life;
use crate::model::Timestamp;

const ACCOUNT: &str = "account.pem";
const CERTIFICATES: &str = "certificates";

/// See the module's doc.
#[derive(Debug)]
pub(super) struct Shelf(PathBuf);

impl Shelf {
    pub(super) fn open(dir: PathBuf) -> Result<Self, AcmeError> {
        let certificates = dir.join(CERTIFICATES);
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&certificates);
        made.map_err(|cause| AcmeError::Keep { what: "certificates", path: certificates, cause })?;
        Ok(Self(dir))
    }

    /// Returns the account's file, if there is one.
    pub(super) fn account(&self) -> Option<String> {
        std::fs::read_to_string(self.0.join(ACCOUNT)).ok()
    }

    pub(super) fn keep_account(&self, text: &str) -> Result<(), AcmeError> {
        keep("the account", &self.0.join(ACCOUNT), text)
    }

    pub(super) fn keep_certificate(&self, name: &str, text: &str) -> Result<(), AcmeError> {
        keep("a certificate", &file_of(&self.0, name), text)
    }

    /// Returns the life of the certificate that is kept for a name; none, if it cannot be read either.
    pub(super) fn life_of(&self, name: &str) -> Option<Life> {
        let pem = std::fs::read(file_of(&self.0, name)).ok()?;
        let leaf = CertificateDer::from_pem_slice(&pem).ok()?;
        let (_, leaf) = X509Certificate::from_der(&leaf).ok()?;
        let at = |seconds| Timestamp(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000));
        let validity = leaf.validity();
        Some(Life { since: at(validity.not_before.timestamp()), until: at(validity.not_after.timestamp()) })
    }
}

pub(super) fn file_of(dir: &Path, name: &str) -> PathBuf {
    dir.join(CERTIFICATES).join(format!("{name}.pem"))
}

fn keep(what: &'static str, path: &Path, text: &str) -> Result<(), AcmeError> {
    let write = || -> io::Result<()> {
        let fresh = path.with_extension("new");
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)
    };
    write().map_err(|cause| AcmeError::Keep { what, path: path.to_owned(), cause })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn shelf_gives_back_what_it_keeps_and_lets_nobody_else_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(dir.path().join("acme")).unwrap();
        assert_eq!((shelf.account(), shelf.life_of("a.test")), (None, None));
        shelf.keep_account("one").unwrap();
        shelf.keep_account("two").unwrap();
        assert_eq!(shelf.account().as_deref(), Some("two"));
        let mut params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 4, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        shelf.keep_certificate("a.test", &(key.serialize_pem() + &certificate)).unwrap();
        let life = shelf.life_of("a.test").unwrap();
        assert_eq!((life.since.date(), life.until.date()), ("2026-01-01".to_owned(), "2026-04-01".to_owned()));
        for (path, mode) in [("acme", 0o700), ("acme/account.pem", 0o600), ("acme/certificates/a.test.pem", 0o600)] {
            let permissions = std::fs::metadata(dir.path().join(path)).unwrap().permissions();
            assert_eq!(permissions.mode() & 0o777, mode, "{path}");
        }
        shelf.keep_certificate("a.test", "torn").unwrap();
        assert_eq!(shelf.life_of("a.test"), None, "what cannot be read is obtained again");
    }
}
