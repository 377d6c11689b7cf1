//! Unix sockets that are listened on, and the files that they are.
//!
//! The file is made with mode 0660 and removed when nobody listens any more, if it is still ours. One that a process
//! left behind is replaced if nobody answers there; any other file is left alone.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use socket2::{Domain, SockAddr, Socket, Type};

use super::bind::BACKLOG;

/// Who may connect: the user and the group.
const MODE: u32 = 0o660;

/// The file of a socket that is listened on; removed when dropped.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: Arc<Path>,
    /// Which file it is; none, once it is another process's.
    identity: Option<Identity>,
}

impl SocketFile {
    /// Returns the file of a socket that another process has bound: it stays, until [`Self::own`].
    pub(super) fn of_another(path: &Arc<Path>) -> Self {
        Self { path: Arc::clone(path), identity: None }
    }

    /// Takes the file over; nothing changes where it is its own or is gone.
    pub(super) fn own(&mut self) {
        self.identity = self.identity.or_else(|| identity(&self.path).ok());
    }

    /// Leaves the file to another process.
    pub(super) fn leave(mut self) {
        self.identity = None;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some()
            && identity(&self.path).ok() == self.identity
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "socket file stays behind");
        }
    }
}

/// Binds a socket to a path and listens.
pub(super) fn bind(path: &Arc<Path>) -> io::Result<(UnixListener, SocketFile)> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let bound = match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_behind(path, &address) => {
            fs::remove_file(path)?;
            socket.bind(&address)
        }
        bound => bound,
    };
    bound?;
    // Nobody can connect before the last step.
    fs::set_permissions(path, Permissions::from_mode(MODE))?;
    let file = SocketFile { path: Arc::clone(path), identity: Some(identity(path)?) };
    socket.listen(BACKLOG)?;
    Ok((socket.into(), file))
}

/// Which file it is: device, inode, and when it was changed last, since inodes are used again.
type Identity = (u64, u64, i64, i64);

fn identity(path: &Path) -> io::Result<Identity> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino(), file.ctime(), file.ctime_nsec()))
}

/// Returns whether the file is a socket on which nobody listens.
fn is_left_behind(path: &Path, address: &SockAddr) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let answer = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // One whose queue is full answers, too: it would block.
        socket.set_nonblocking(true)?;
        socket.connect(address)
    };
    is_socket && answer().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn place() -> (tempfile::TempDir, Arc<Path>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.sock");
        (dir, path.into())
    }

    #[test]
    fn socket_file_is_for_user_and_group_and_goes_with_its_listener() {
        let (_dir, path) = place();
        let (listener, file) = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert!(UnixStream::connect(&path).is_ok());
        drop((listener, file));
        assert!(!path.exists());
    }

    #[test]
    fn socket_on_which_somebody_listens_is_left_alone() {
        let (_dir, path) = place();
        let first = bind(&path).unwrap();
        assert_eq!(bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(UnixStream::connect(&path).is_ok());
        drop(first);
    }

    #[test]
    fn socket_that_was_left_behind_is_replaced_and_the_old_owner_does_not_remove_the_new_one() {
        let (_dir, path) = place();
        let (listener, old) = bind(&path).unwrap();
        drop(listener);
        let (_listener, _new) = bind(&path).unwrap();
        drop(old);
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn file_that_is_no_socket_is_left_alone() {
        let (_dir, path) = place();
        fs::write(&path, "precious").unwrap();
        assert_eq!(bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
