//! PEM files: read whole within a bound, and told apart from what they were before.
//!
//! A file is known by device, inode, length and both its times, symbolic links followed: a rename over it, a link that
//! is turned (certbot, Kubernetes) and a write in place all make it another one.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::files;
use crate::model::tls::FrontendTls;

/// Bytes of a file.
pub(super) const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What tells a file from what it was before; none where there is none.
pub(super) type Stamp = Option<(u64, u64, u64, (i64, i64), (i64, i64))>;

/// The files of one frontend as they are at one time, in a fixed order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamps(Vec<Stamp>);

impl Stamps {
    /// Looks at every file that these settings name, and at these.
    pub(super) fn of<'p>(tls: &'p FrontendTls, more: impl Iterator<Item = &'p Path>) -> Self {
        Self(paths(tls).chain(more).map(stamp).collect())
    }
}

/// Why a file cannot be used, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unusable {
    pub(super) key: &'static str,
    pub(super) path: PathBuf,
    pub(super) why: String,
    pub(super) remedy: &'static str,
}

impl Unusable {
    pub(super) fn new(key: &'static str, path: &Path, why: impl Into<String>, remedy: &'static str) -> Self {
        Self { key, path: path.to_owned(), why: why.into(), remedy }
    }
}

/// Reads a file whole; `key` is the config key that names it.
pub(super) fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, Unusable> {
    files::read(path, FILE_BYTES_MAX).map_err(|cause| {
        let why = format!("cannot be read: {}", cause.to_string().to_lowercase());
        let is_another = matches!(cause.kind(), io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidInput);
        let remedy =
            if is_another { "check that it is the file you mean" } else { "check the path and its permissions" };
        Unusable::new(key, path, why, remedy)
    })
}

fn paths(tls: &FrontendTls) -> impl Iterator<Item = &Path> {
    let certificates = tls.certificates.iter().flat_map(|files| [&*files.cert, &*files.key]);
    let client = tls.client_auth.iter().flat_map(|auth| std::iter::once(&*auth.ca).chain(auth.crl.as_deref()));
    certificates.chain(client)
}

fn stamp(path: &Path) -> Stamp {
    let file = std::fs::metadata(path).ok()?;
    let (modified, changed) = ((file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec()));
    Some((file.dev(), file.ino(), file.len(), modified, changed))
}
