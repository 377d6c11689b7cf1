//! Who may resume: keys of tickets, which rotate, and a bounded cache for clients of TLS 1.2 without tickets.
//!
//! One set for each frontend and for what it decides clients by: a session that one frontend gave is worth nothing at
//! another, and once authorities or revocations change, everybody proves themselves anew, since a resumed session is
//! not verified again. A renewed certificate changes nothing of it. Keys are the process's own and never leave it; they
//! change every 6 hours and a ticket is good for 12.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::ring::Ticketer;
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions};

use crate::model::tls::TlsProfile;

/// Sessions that a frontend remembers for clients without tickets.
const SESSIONS_MAX: usize = 4096;

/// See the module's doc.
#[derive(Clone)]
pub(super) struct Sessions {
    of: Decides,
    pub(super) ticketer: Arc<dyn ProducesTickets>,
    pub(super) cache: Arc<dyn StoresServerSessions>,
}

/// What must be the same for a session to be resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decides {
    pub(super) profile: TlsProfile,
    /// The digest of what client certificates are verified by, where they are.
    pub(super) clients: Option<[u8; 32]>,
}

impl Sessions {
    /// Returns the sessions so far where they may still be resumed, else fresh ones.
    pub(super) fn of(of: Decides, before: Option<&Self>) -> Result<Self, rustls::Error> {
        match before {
            Some(before) if before.of == of => Ok(before.clone()),
            _ => Ok(Self { of, ticketer: Ticketer::new()?, cache: ServerSessionMemoryCache::new(SESSIONS_MAX) }),
        }
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("of", &self.of).finish_non_exhaustive()
    }
}
