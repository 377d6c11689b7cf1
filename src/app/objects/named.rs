//! Which files and Unix sockets an object made through an API may name: certificates that are kept here, and what lies
//! below a directory that the config file opens with `service.api_files` or `service.api_sockets`.
//!
//! Whoever may write one farm would else have this process read, show and connect to whatever it can. Looked at with
//! every write and refresh, of the objects that it changes; symbolic links are followed then, so what may be written
//! into an opened directory decides what is read. Of a path outside nothing is looked at: nobody learns what is there.
//! What an earlier version took stays as it is and is told at the start: a file is read only where it is a regular one.

use std::io;
use std::path::{Component, Path, PathBuf};

use crate::config::declared::Fault;
use crate::objects::named::{Named, NamedKind, named};
use crate::objects::{Change, EditError, World};

use super::shelf::Shelf;

/// Refuses changed objects that name what they may not.
///
/// # Errors
/// Every such name, by its key path.
pub(super) fn check(shelf: &Shelf, world: &World, changes: &[Change]) -> Result<(), EditError> {
    let put = changes.iter().filter_map(|change| match change {
        Change::Delete(_) => None,
        Change::Put(declaration) => Some(declaration),
    });
    let named = put.flat_map(|declaration| named(world, declaration));
    let faults: Vec<_> = named.filter_map(|named| fault(shelf, world, &named)).collect();
    if faults.is_empty() { Ok(()) } else { Err(EditError::Invalid { faults }) }
}

/// Tells of objects that were made before and name what they may not.
pub(super) fn warn(shelf: &Shelf, world: &World) {
    for declaration in world.made().iter() {
        for fault in named(world, declaration).iter().filter_map(|named| fault(shelf, world, named)) {
            tracing::warn!(key = %fault.path, why = %fault.message, "made through an API before and not to be made again");
        }
    }
}

fn fault(shelf: &Shelf, world: &World, named: &Named) -> Option<Fault> {
    let service = &world.of_file().service;
    let (dirs, noun, remedy) = match named.what {
        NamedKind::File if shelf.holds(&named.path) => return None,
        NamedKind::File => (
            &service.api_files,
            "file",
            "bring it with POST /api/v1/certificates and name its files, or name its directory in service.api_files",
        ),
        NamedKind::Socket => (
            &service.api_sockets,
            "Unix socket",
            "name its directory in service.api_sockets, or declare the server in the config file",
        ),
    };
    let why = match placed(&named.path, dirs) {
        Place::Inside => return None,
        Place::Outside => format!("is a {noun} that no API may name; {remedy}"),
        Place::Led => format!("is a {noun} that a symbolic link puts where no API may name one; {remedy}"),
        Place::Unseen(error) => {
            format!("is a {noun} that cannot be found: {}; check the path", error.to_string().to_lowercase())
        }
    };
    Some(Fault { path: named.key.as_str().into(), message: format!("\"{}\" {why}", named.path.display()).into() })
}

/// Where a path is.
enum Place {
    /// Below one of the directories.
    Inside,
    /// Below none, as it is written.
    Outside,
    /// Below one as it is written, and elsewhere for the system.
    Led,
    /// Below one as it is written, and nowhere.
    Unseen(io::Error),
}

fn placed(path: &Path, dirs: &[PathBuf]) -> Place {
    let is_plain = path.components().all(|part| matches!(part, Component::Normal(_) | Component::RootDir));
    let below: Vec<_> = dirs.iter().filter(|dir| is_plain && path != **dir && path.starts_with(dir)).collect();
    if below.is_empty() {
        return Place::Outside;
    }
    match resolved(path) {
        Ok(real) => {
            let is_inside = |dir: &&PathBuf| dir.canonicalize().is_ok_and(|dir| real.starts_with(dir));
            if below.iter().any(is_inside) { Place::Inside } else { Place::Led }
        }
        Err(error) => Place::Unseen(error),
    }
}

/// Returns the path without symbolic links. What is not there yet, as the socket of a program that is not started, is
/// where its directory is.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    let is_there = path.symlink_metadata().map_or_else(|error| error.kind() != io::ErrorKind::NotFound, |_| true);
    match (is_there, path.parent(), path.file_name()) {
        (false, Some(dir), Some(name)) => Ok(dir.canonicalize()?.join(name)),
        (_, _, _) => path.canonicalize(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn is_inside(path: &Path, dirs: &[PathBuf]) -> bool {
        matches!(placed(path, dirs), Place::Inside)
    }

    #[test]
    fn path_is_inside_only_where_it_is_written_and_where_it_leads() {
        let temporary = tempfile::tempdir().unwrap();
        let top = temporary.path().canonicalize().unwrap();
        let (open, shut) = (top.join("open"), top.join("shut"));
        for dir in [&open, &shut] {
            std::fs::create_dir_all(dir.join("deep")).unwrap();
            std::fs::write(dir.join("a.pem"), "a").unwrap();
        }
        symlink(shut.join("a.pem"), open.join("out.pem")).unwrap();
        symlink(shut.join("deep"), open.join("out")).unwrap();
        symlink(shut.join("nothing"), open.join("dangling")).unwrap();
        symlink(open.join("a.pem"), open.join("in.pem")).unwrap();
        symlink(open.join("a.pem"), shut.join("in.pem")).unwrap();
        symlink(&open, top.join("by-link")).unwrap();
        let dirs = [open.clone()];
        for path in ["a.pem", "in.pem", "deep/../a.pem", "not-yet", "deep/not-yet"] {
            let is_dotted = path.contains("..");
            assert_eq!(is_inside(&open.join(path), &dirs), !is_dotted, "{path}");
        }
        for path in ["out.pem", "out/a.pem", "out/not-yet", "dangling", "../shut/a.pem", "nowhere/a.pem", ""] {
            assert!(!is_inside(&open.join(path), &dirs), "{path}");
        }
        for path in [shut.join("a.pem"), shut.join("in.pem"), top.join("open-too"), "open/a.pem".into()] {
            assert!(!is_inside(&path, &dirs), "{path:?}");
        }
        assert!(!is_inside(&open.join("a.pem"), &[]));
        // The directory itself may be reached by a link.
        assert!(is_inside(&top.join("by-link/a.pem"), &[top.join("by-link")]));
    }
}
