//! Reads whole files that somebody named: regular ones only, within a bound.
//!
//! A pipe, a device or a socket would have its reader wait for ever, or do something when it is opened: it is told by
//! its kind before it is opened and once more when it is open, and opening never waits. A regular file on a disk that
//! hangs can still hold its reader up: whoever must not wait reads on another thread.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::libc::{O_CLOEXEC, O_NOCTTY, O_NONBLOCK};

/// Returns what a regular file holds; symbolic links are followed.
///
/// # Errors
/// What the system says; [`io::ErrorKind::InvalidInput`] for what is no regular file, [`io::ErrorKind::FileTooLarge`]
/// for one of more than `bytes_max` bytes.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    regular(&std::fs::metadata(path)?)?;
    let file = open(path)?;
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// Opens without waiting; what is there now may be something else than a moment ago.
fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK | O_CLOEXEC | O_NOCTTY).open(path)?;
    regular(&file.metadata()?)?;
    Ok(file)
}

fn regular(file: &Metadata) -> io::Result<()> {
    if file.is_file() {
        return Ok(());
    }
    let what = if file.is_dir() { "it is a directory" } else { "it is not a regular file" };
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn told(read: io::Result<Vec<u8>>) -> Result<Vec<u8>, String> {
        read.map_err(|error| error.to_string())
    }

    #[test]
    fn regular_file_is_read_whole_up_to_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&path, "12345").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(told(read(&path, 5)).unwrap(), b"12345");
        assert_eq!(told(read(&link, 5)).unwrap(), b"12345");
        assert_eq!(told(read(&path, 4)), Err("it is longer than 4 bytes".to_owned()));
        assert_eq!(read(&dir.path().join("c"), 5).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    /// A test that waits here shows what it is about.
    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (fifo, socket) = (dir.path().join("fifo"), dir.path().join("socket"));
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let _listener = UnixListener::bind(&socket).unwrap();
        let refused = Err("it is not a regular file".to_owned());
        for path in [&*fifo, &*socket, Path::new("/dev/null"), Path::new("/dev/zero")] {
            assert_eq!(told(read(path, 100)), refused, "{path:?}");
        }
        // In the place of a file that was looked at.
        assert_eq!(told(open(&fifo).map(|_| Vec::new())), refused);
        assert_eq!(told(read(dir.path(), 100)), Err("it is a directory".to_owned()));
    }
}
