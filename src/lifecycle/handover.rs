//! How listening sockets go from a running process to the one that replaces it: over a Unix socket that only its owner
//! may open, each message a length and JSON, the descriptors beside it.
//!
//! Five words are said, in turn: the old process sends what is listened on, the key of its cookies and the sockets; the
//! new one says that it is prepared, which is when the old one lets go of `state_dir`; the old one says that it has; the
//! new one takes it, serves, and says so. Whoever fails says why, or is gone: until the last word the old process can go
//! on as before. Blocks, with a deadline at every step; never on a runtime's thread.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockAddr, Socket, Type};

/// What tells a new process where it gets its sockets.
pub const ENVIRONMENT: &str = "FARMGATE_UPGRADE_SOCKET";
/// The form of what is said; a process that says another one is refused.
const VERSION: u32 = 1;
/// Descriptors of one message; Linux takes 253.
const BATCH: usize = 64;
/// Sockets that are handed over.
const SOCKETS_MAX: usize = 16 * 1024;
/// Bytes of one message.
const WORD_BYTES_MAX: u32 = 4 * 1024 * 1024;
/// Bytes of the reasons why a new process does not take over.
const WHY_BYTES_MAX: usize = 16 * 1024;
/// How often the old process looks whether the new one has come.
const LOOK: Duration = Duration::from_millis(10);

/// What a socket listens for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Listening {
    /// The admin side.
    Admin,
    /// A frontend.
    Frontend {
        /// The address as written.
        listen: String,
        /// The frontend's id.
        frontend: u64,
        /// Whether datagrams travel through it.
        #[serde(default)]
        datagrams: bool,
        /// Whether the file of a Unix socket is a service manager's.
        #[serde(default)]
        foreign: bool,
    },
}

/// A listening socket on its way.
#[derive(Debug)]
pub struct Passed {
    /// What it listens for.
    pub what: Listening,
    /// The socket.
    pub socket: OwnedFd,
}

/// What seals the cookies of farms that name no key; shown to nobody.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct CookieKey(pub [u8; 32]);

impl std::fmt::Debug for CookieKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CookieKey(…)")
    }
}

/// Everything that a process hands over.
#[derive(Debug)]
pub struct Handed {
    /// What is listened on.
    pub sockets: Vec<Passed>,
    /// So that clients go back to their servers; none from a process that did not hand it over yet.
    pub cookie_key: Option<CookieKey>,
}

/// What the two processes say to each other.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "say", rename_all = "snake_case")]
enum Word {
    /// The new process does not take over.
    Failed { why: String },
    /// These sockets follow.
    Sockets {
        version: u32,
        listening: Vec<Listening>,
        #[serde(default)]
        cookie_key: Option<CookieKey>,
    },
    /// The new process lacks nothing but `state_dir`.
    Prepared,
    /// `state_dir` is free.
    Released,
    /// The new process serves.
    Ready,
}

/// Why sockets were not handed over.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The socket between the two cannot be made.
    #[error(
        "cannot listen on {path:?} for the new process: {cause}; set upgrade_socket to a path in a directory of this user"
    )]
    Listen {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The new process says why it does not take over, one reason a line.
    #[error("the new process does not take over: {0}")]
    Failed(String),
    /// The new process did not come, or left.
    #[error("{0}")]
    Gone(String),
    /// Somebody else came.
    #[error("a process of user {uid} asked for the sockets and was refused; they are for user {ours} only")]
    Stranger {
        /// Its user.
        uid: u32,
        /// Ours.
        ours: u32,
    },
    /// Something else was said than expected.
    #[error("the other process does not speak this handover (version {VERSION}): {0}; restart instead of upgrading")]
    Speech(String),
    /// The socket between the two failed.
    #[error("the other process left within the handover: {0}; its log says why")]
    Io(#[from] io::Error),
}

/// Where a new process asks for sockets; gone when dropped.
#[derive(Debug)]
pub struct Offer {
    listener: UnixListener,
    path: PathBuf,
}

impl Offer {
    /// Listens for the new process; what is left of an earlier one is removed.
    ///
    /// # Errors
    /// [`HandoverError::Listen`].
    pub fn bind(path: &Path) -> Result<Self, HandoverError> {
        let listen = || -> io::Result<UnixListener> {
            // Anything else there is somebody's, and stays.
            if std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
                std::fs::remove_file(path)?;
            }
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.bind(&SockAddr::unix(path)?)?;
            // Before it listens nobody can connect, whatever its permissions are.
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
            socket.listen(1)?;
            socket.set_nonblocking(true)?;
            Ok(UnixListener::from(OwnedFd::from(socket)))
        };
        let listener = listen().map_err(|cause| HandoverError::Listen { path: path.to_owned(), cause })?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Waits for the new process, `within` at the most; `is_gone` says whether it has ended, and how.
    ///
    /// # Errors
    /// [`HandoverError`] if nobody came, or a process of another user.
    pub fn accept(
        &self,
        within: Duration,
        mut is_gone: impl FnMut() -> Option<String>,
    ) -> Result<Channel, HandoverError> {
        let end = crate::clock::monotonic() + within;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false)?;
                    return Channel::with(stream, within);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(how) = is_gone() {
                return Err(HandoverError::Gone(format!("the new process ended before it asked for sockets: {how}")));
            }
            if crate::clock::monotonic() >= end {
                return Err(HandoverError::Gone(format!("the new process did not ask for sockets within {within:?}")));
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        // What cannot be removed now is at the next upgrade.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The way between the two processes.
#[derive(Debug)]
pub struct Channel(UnixStream);

impl Channel {
    /// Asks a running process for its sockets; every step may take `within`.
    ///
    /// # Errors
    /// [`HandoverError`] if nobody listens there, or a process of another user.
    pub fn connect(path: &Path, within: Duration) -> Result<Self, HandoverError> {
        let stream = UnixStream::connect(path)
            .map_err(|cause| HandoverError::Gone(format!("nobody hands sockets over at {path:?}: {cause}")))?;
        Self::with(stream, within)
    }

    fn with(stream: UnixStream, within: Duration) -> Result<Self, HandoverError> {
        stream.set_read_timeout(Some(within))?;
        stream.set_write_timeout(Some(within))?;
        let uid = socket_peercred(&stream).map_err(io::Error::from)?.uid.as_raw();
        let ours = rustix::process::geteuid().as_raw();
        // Root may have started a process that is another user by now.
        if uid != ours && uid != 0 && ours != 0 {
            return Err(HandoverError::Stranger { uid, ours });
        }
        Ok(Self(stream))
    }

    /// Hands everything over.
    ///
    /// # Errors
    /// [`HandoverError`] if the new process is gone.
    pub fn hand_over(&mut self, Handed { sockets, cookie_key }: &Handed) -> Result<(), HandoverError> {
        let listening = sockets.iter().map(|passed| passed.what.clone()).collect();
        self.say(&Word::Sockets { version: VERSION, listening, cookie_key: *cookie_key })?;
        for batch in sockets.chunks(BATCH) {
            let descriptors: Vec<BorrowedFd<'_>> = batch.iter().map(|passed| passed.socket.as_fd()).collect();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
            let mut beside = SendAncillaryBuffer::new(&mut space);
            if !beside.push(SendAncillaryMessage::ScmRights(&descriptors)) {
                return Err(HandoverError::Speech("more descriptors than fit a message".to_owned()));
            }
            sendmsg(&self.0, &[IoSlice::new(&[0])], &mut beside, SendFlags::NOSIGNAL).map_err(io::Error::from)?;
        }
        Ok(())
    }

    /// Takes everything over.
    ///
    /// # Errors
    /// [`HandoverError`] if the old process is gone, or speaks otherwise.
    pub fn receive(&mut self) -> Result<Handed, HandoverError> {
        let (listening, cookie_key) = match self.hear()? {
            Word::Sockets { version: VERSION, listening, cookie_key } if listening.len() <= SOCKETS_MAX => {
                (listening, cookie_key)
            }
            other @ (Word::Failed { .. } | Word::Sockets { .. } | Word::Prepared | Word::Released | Word::Ready) => {
                return Err(unexpected(&other, "its sockets"));
            }
        };
        let mut sockets = Vec::with_capacity(listening.len());
        while sockets.len() < listening.len() {
            let before = sockets.len();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
            let mut beside = RecvAncillaryBuffer::new(&mut space);
            let mut byte = [0];
            let flags = RecvFlags::CMSG_CLOEXEC;
            recvmsg(&self.0, &mut [IoSliceMut::new(&mut byte)], &mut beside, flags).map_err(io::Error::from)?;
            for message in beside.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    sockets.extend(descriptors);
                }
            }
            if sockets.len() == before {
                return Err(HandoverError::Speech("it sent fewer sockets than it said".to_owned()));
            }
        }
        if sockets.len() != listening.len() {
            return Err(HandoverError::Speech("it sent more sockets than it said".to_owned()));
        }
        let sockets = listening.into_iter().zip(sockets).map(|(what, socket)| Passed { what, socket }).collect();
        Ok(Handed { sockets, cookie_key })
    }

    /// New process: says why it does not take over, one reason a line. The old one goes on.
    ///
    /// # Errors
    /// [`HandoverError`] if the old process is gone.
    pub fn failed(&mut self, why: &str) -> Result<(), HandoverError> {
        let end = (0..=why.len().min(WHY_BYTES_MAX)).rev().find(|at| why.is_char_boundary(*at)).unwrap_or(0);
        self.say(&Word::Failed { why: why[..end].to_owned() })
    }

    /// New process: says that it lacks nothing but `state_dir`, and waits until that is free.
    ///
    /// # Errors
    /// [`HandoverError`] if the old process is gone, or speaks otherwise.
    pub fn prepared(&mut self) -> Result<(), HandoverError> {
        self.say(&Word::Prepared)?;
        self.expect(&Word::Released)
    }

    /// New process: says that it serves.
    ///
    /// # Errors
    /// [`HandoverError`] if the old process is gone.
    pub fn ready(&mut self) -> Result<(), HandoverError> {
        self.say(&Word::Ready)
    }

    /// Old process: waits until the new one lacks nothing but `state_dir`.
    ///
    /// # Errors
    /// [`HandoverError`] if the new process is gone, or speaks otherwise.
    pub fn wait_prepared(&mut self) -> Result<(), HandoverError> {
        self.expect(&Word::Prepared)
    }

    /// Old process: says that `state_dir` is free, and waits until the new one serves.
    ///
    /// # Errors
    /// [`HandoverError`] if the new process is gone, or speaks otherwise.
    pub fn released(&mut self) -> Result<(), HandoverError> {
        self.say(&Word::Released)?;
        self.expect(&Word::Ready)
    }

    fn expect(&mut self, wanted: &Word) -> Result<(), HandoverError> {
        let heard = self.hear()?;
        if heard == *wanted {
            return Ok(());
        }
        match heard {
            Word::Failed { why } => Err(HandoverError::Failed(why)),
            heard @ (Word::Sockets { .. } | Word::Prepared | Word::Released | Word::Ready) => {
                Err(unexpected(&heard, &format!("{wanted:?}")))
            }
        }
    }

    fn say(&mut self, word: &Word) -> Result<(), HandoverError> {
        let text = serde_json::to_vec(word).map_err(|error| HandoverError::Speech(error.to_string()))?;
        let length = u32::try_from(text.len()).ok().filter(|length| *length <= WORD_BYTES_MAX);
        let length = length.ok_or_else(|| HandoverError::Speech("too many sockets for one message".to_owned()))?;
        self.0.write_all(&length.to_be_bytes())?;
        self.0.write_all(&text)?;
        Ok(())
    }

    fn hear(&mut self) -> Result<Word, HandoverError> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if length > WORD_BYTES_MAX {
            return Err(HandoverError::Speech(format!("a message of {length} bytes")));
        }
        let mut text = vec![0; length as usize];
        self.0.read_exact(&mut text)?;
        serde_json::from_slice(&text).map_err(|error| HandoverError::Speech(error.to_string()))
    }
}

fn unexpected(heard: &Word, wanted: &str) -> HandoverError {
    let heard: String = format!("{heard:?}").chars().take(80).collect();
    HandoverError::Speech(format!("it said {heard} where {wanted} was expected"))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    const WITHIN: Duration = Duration::from_secs(10);

    #[test]
    fn file_that_is_no_socket_is_nobody_elses_to_remove() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        std::fs::write(&path, "precious").unwrap();
        assert!(Offer::bind(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        let left = dir.path().join("left.sock");
        drop(UnixListener::bind(&left).unwrap());
        assert!(Offer::bind(&left).is_ok());
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the other process is a thread of the test")]
    fn sockets_go_over_with_what_they_listen_for_and_go_on_listening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("upgrade.sock");
        let offer = Offer::bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let what =
            |n: u64| Listening::Frontend { listen: address.to_string(), frontend: n, datagrams: false, foreign: false };
        let count = BATCH as u64 * 2 + 3;
        let passed: Vec<_> =
            (0..count).map(|n| Passed { what: what(n), socket: listener.try_clone().unwrap().into() }).collect();
        drop(listener);
        let new = std::thread::spawn({
            let path = path.clone();
            move || {
                let mut channel = Channel::connect(&path, WITHIN).unwrap();
                let handed = channel.receive().unwrap();
                channel.prepared().unwrap();
                channel.ready().unwrap();
                handed
            }
        });
        let mut channel = offer.accept(WITHIN, || None).unwrap();
        let handed = Handed { sockets: passed, cookie_key: Some(CookieKey([7; 32])) };
        channel.hand_over(&handed).unwrap();
        channel.wait_prepared().unwrap();
        let _waits_in_the_queue = TcpStream::connect(address).unwrap();
        drop(handed);
        channel.released().unwrap();
        let Handed { sockets: taken, cookie_key } = new.join().unwrap();
        assert_eq!(cookie_key, Some(CookieKey([7; 32])));
        assert!(taken.iter().zip(0..).all(|(passed, n)| passed.what == what(n)) && taken.len() as u64 == count);
        let socket = taken.into_iter().next().unwrap().socket;
        assert!(TcpListener::from(socket).accept().is_ok());
        drop(offer);
        assert!(!path.exists());
    }

    #[test]
    fn process_that_ends_or_never_comes_is_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let offer = Offer::bind(&dir.path().join("u")).unwrap();
        let ended = offer.accept(WITHIN, || Some("exit status: 78".to_owned())).unwrap_err().to_string();
        assert!(ended.contains("exit status: 78"), "{ended}");
        let late = offer.accept(Duration::from_millis(20), || None).unwrap_err().to_string();
        assert!(late.contains("did not ask for sockets within 20ms"), "{late}");
        let nobody = Channel::connect(&dir.path().join("nobody"), WITHIN).unwrap_err().to_string();
        assert!(nobody.contains("nobody hands sockets over"), "{nobody}");
        let nowhere = Offer::bind(&dir.path().join("no/such/dir")).unwrap_err().to_string();
        assert!(nowhere.contains("upgrade_socket"), "{nowhere}");
    }

    #[test]
    fn nonsense_is_refused_and_said() {
        let cases: [&[u8]; 4] =
            [&[0xff; 8], b"\0\0\0\x02{}", b"\0\0\0\x13{\"say\":\"released\"}.", b"\0\0\0\x12{\"say\":\"released\"}"];
        for bytes in cases {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            ours.write_all(bytes).unwrap();
            drop(ours);
            let error = Channel::with(theirs, WITHIN).unwrap().receive().unwrap_err();
            assert!(matches!(error, HandoverError::Speech(_)), "{bytes:?}: {error}");
        }
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(ours);
        assert!(matches!(Channel::with(theirs, WITHIN).unwrap().receive(), Err(HandoverError::Io(_))));
    }

    #[test]
    fn new_process_that_fails_says_why_whatever_was_awaited() {
        for is_released in [false, true] {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (mut old, mut new) = (Channel::with(ours, WITHIN).unwrap(), Channel::with(theirs, WITHIN).unwrap());
            new.failed("f.yaml:2:1 one\nf.yaml:3:1 two").unwrap();
            let error = if is_released { old.released() } else { old.wait_prepared() }.unwrap_err().to_string();
            assert_eq!(error, "the new process does not take over: f.yaml:2:1 one\nf.yaml:3:1 two");
        }
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut old, mut new) = (Channel::with(ours, WITHIN).unwrap(), Channel::with(theirs, WITHIN).unwrap());
        new.failed(&"ä".repeat(WHY_BYTES_MAX)).unwrap();
        assert!(old.wait_prepared().unwrap_err().to_string().len() < WHY_BYTES_MAX + 100);
    }

    #[test]
    fn key_of_the_cookies_goes_over_and_into_no_message() {
        let key = CookieKey([0xa7; 32]);
        let word = Word::Sockets { version: VERSION + 1, listening: Vec::new(), cookie_key: Some(key) };
        let (ours, theirs) = UnixStream::pair().unwrap();
        Channel::with(ours, WITHIN).unwrap().say(&word).unwrap();
        let said = Channel::with(theirs, WITHIN).unwrap().receive().unwrap_err().to_string();
        assert!(said.contains("CookieKey(…)") && !said.contains("167"), "{said}");
        let before: Word = serde_json::from_str(r#"{"say": "sockets", "version": 1, "listening": []}"#).unwrap();
        assert_eq!(before, Word::Sockets { version: 1, listening: Vec::new(), cookie_key: None });
    }
}
