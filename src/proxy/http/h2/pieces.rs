//! Pieces of bodies of HTTP/2 requests and answers that say when the other side has taken them.
//!
//! The engine tells neither how much of an answer waits for its client nor how much of a request for its server. But it
//! lets go of a piece when its last byte was written, and not before: so each is wrapped in something that says so. One
//! small allocation a piece, on HTTP/2 only.

use std::sync::Arc;

use bytes::Bytes;

use super::super::control::Connection;

/// A piece on its way.
struct Piece {
    bytes: Bytes,
    connection: Arc<Connection>,
    way: Way,
}

enum Way {
    /// To the client.
    Down,
    /// To the server, by the attempt of that number.
    Up { attempt: u32 },
}

/// Returns a piece of an answer that says when its client has taken it; as it is, where the client is of HTTP/1.
pub(in crate::proxy) fn towards_client(connection: &Arc<Connection>, bytes: Bytes) -> Bytes {
    let Some(progress) = connection.progress().filter(|_| !bytes.is_empty()) else { return bytes };
    progress.hands();
    Bytes::from_owner(Piece { bytes, connection: Arc::clone(connection), way: Way::Down })
}

/// Returns a piece of a request that says when its server has taken it; as it is, where the client is of HTTP/1.
pub(in crate::proxy) fn towards_server(connection: &Arc<Connection>, bytes: Bytes) -> Bytes {
    let Some(progress) = connection.progress().filter(|_| !bytes.is_empty()) else { return bytes };
    let way = Way::Up { attempt: progress.passes_on() };
    Bytes::from_owner(Piece { bytes, connection: Arc::clone(connection), way })
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let Some(progress) = self.connection.progress() else { return };
        match self.way {
            Way::Down => progress.handed(self.bytes.len()),
            Way::Up { attempt } => progress.passed_on(attempt),
        }
    }
}
