//! Files of certificates that were made through APIs: what listeners read is a copy of what the journal keeps.
//!
//! Files 0600 in a directory 0700 of `state_dir`, written whole under another name and renamed. At the start they are
//! made what the journal says; those of nobody go.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::model::{Declaration, ObjectId, ObjectKind};
use crate::objects::{Change, EditError, World, form};

/// The directory in `state_dir`.
const DIRECTORY: &str = "made";
/// The keys of the form of a certificate, each in a file of its own.
const PARTS: [&str; 2] = ["cert", "key"];

/// See the module's doc.
#[derive(Debug)]
pub(super) struct Shelf(Option<PathBuf>);

impl Shelf {
    /// Makes the files what these worlds say.
    pub(super) fn open(state_dir: Option<&Path>, worlds: [&World; 2]) -> io::Result<Self> {
        let own = Self(state_dir.map(|dir| dir.join(DIRECTORY)));
        let mut wanted: BTreeMap<PathBuf, String> = BTreeMap::new();
        // Live ones last: what is staged of the same object is not shown yet.
        for world in worlds {
            let certificates = world.made().of(None, ObjectKind::Certificate);
            wanted.extend(certificates.flat_map(|it| own.parts(it)));
        }
        let Some(dir) = &own.0 else { return Ok(own) };
        if dir.exists() {
            for file in std::fs::read_dir(dir)? {
                let path = file?.path();
                if !wanted.contains_key(&path) {
                    std::fs::remove_file(&path)?;
                }
            }
        }
        wanted.iter().try_for_each(|(path, text)| keep(path, text))?;
        Ok(own)
    }

    /// Returns the files of a certificate and its key; none without a `state_dir`.
    pub(super) fn files(&self, id: ObjectId) -> Option<[PathBuf; 2]> {
        let dir = self.0.as_ref()?;
        Some(PARTS.map(|part| dir.join(format!("{id}.{part}.pem"))))
    }

    /// Returns whether this is the path of a file that is kept here, written as [`Self::files`] has it.
    pub(super) fn holds(&self, path: &Path) -> bool {
        let Some(name) = self.0.as_ref().and_then(|dir| path.strip_prefix(dir).ok()?.to_str()) else { return false };
        let Some((id, part)) = name.strip_suffix(".pem").and_then(|name| name.split_once('.')) else { return false };
        !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()) && PARTS.contains(&part)
    }

    /// Writes the files of certificates that are new, before anything names them.
    pub(super) fn prepare(&self, changes: &[Change]) -> Result<(), EditError> {
        for declaration in certificates(changes) {
            if self.0.is_none() {
                return Err(EditError::NotKept("certificates are kept in state_dir; set it in the config".into()));
            }
            for (path, text) in self.parts(declaration).into_iter().filter(|(path, _)| !path.exists()) {
                keep(&path, &text)
                    .map_err(|error| EditError::NotKept(format!("{}: {error}", path.display()).into()))?;
            }
        }
        Ok(())
    }

    /// Makes the files what the journal says by now.
    pub(super) fn follow(&self, changes: &[Change]) {
        let write = certificates(changes).flat_map(|declaration| self.parts(declaration));
        let mut results: Vec<_> = write.map(|(path, text)| (keep(&path, &text), path)).collect();
        for change in changes {
            if let Change::Delete(id) = change {
                let files = self.files(*id).into_iter().flatten().filter(|path| path.exists());
                results.extend(files.map(|path| (std::fs::remove_file(&path), path)));
            }
        }
        for (result, path) in results {
            if let Err(error) = result {
                tracing::error!(%error, path = %path.display(), "file of a certificate not written: restart writes it");
            }
        }
    }

    fn parts(&self, declaration: &Declaration) -> Vec<(PathBuf, String)> {
        let form = form::object(&declaration.form);
        let text = |part: &str| form.get(part).and_then(|text| text.as_str()).unwrap_or_default().to_owned();
        let files = self.files(declaration.id).into_iter().flatten();
        files.zip(PARTS.map(text)).collect()
    }
}

fn certificates(changes: &[Change]) -> impl Iterator<Item = &Declaration> {
    changes.iter().filter_map(|change| match change {
        Change::Delete(_) => None,
        Change::Put(declaration) => Some(&**declaration).filter(|it| it.kind == ObjectKind::Certificate),
    })
}

fn keep(path: &Path, text: &str) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    if std::fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    let fresh = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)
}
