//! The lane of the common check: HTTP/1.1 in the clear, and TCP that asks no more than a connection.
//!
//! Most checks are of these kinds, and all that they do is a handful of system calls. Here they are made by plain state
//! machines over one epoll set of their own, without a task, a timer and an entry in the runtime's tables for each. What
//! a reply is worth is said by the same code as everywhere else; checks of other kinds are tasks. Nothing here waits:
//! [`Lane`] is a file that is ready to be read when [`Lane::turn`] has something to do, and [`Lane::next_deadline`]
//! says by when it is to be called at the latest. One that panics is a failed check. Lives in the prober's task.

mod conn;
mod spares;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::clock;
use crate::health::Ticket;
use crate::model::{CheckRecord, Encryption, PeerAddr, Probe, ProbeKind};

use super::check::{self, Finding, READ_BYTES};
use super::sharing::Aimed;

use conn::{Conn, Step};
use spares::Spares;

/// Events taken from the kernel at once.
const EVENTS_AT_ONCE: usize = 256;

/// Checks begun before it is seen what came of those before: how long one took is measured no later.
pub(super) const STARTS_AT_ONCE: usize = 32;

/// The checks under way.
#[derive(Debug)]
pub(super) struct Lane {
    poll: Poll,
    events: Events,
    places: Vec<Place>,
    /// Places without a connection.
    free: Vec<usize>,
    /// Who is to end when, by the time that they had: each line is in order. Those that have ended go when they lead it.
    deadlines: BTreeMap<Duration, VecDeque<(Instant, Key)>>,
    /// Who has its turn next without being told of: who had one and has more to read, and who has just asked.
    unread: VecDeque<Key>,
    buffer: Box<[u8]>,
    spares: Spares,
    ended: Vec<Ended>,
}

/// A check that is over; without a record, it panicked.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) ticket: Ticket,
    pub(super) addr: PeerAddr,
    pub(super) began: Instant,
    pub(super) record: Option<CheckRecord>,
}

#[derive(Debug, Default)]
struct Place {
    /// How many connections had this place before: what comes late for one of them is told by it.
    stamp: u32,
    /// Boxed: it changes hands several times.
    conn: Option<Box<Conn>>,
}

/// A place and who had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    place: u32,
    stamp: u32,
}

impl Key {
    fn token(self) -> Token {
        Token((self.stamp as usize) << 32 | self.place as usize)
    }

    #[expect(clippy::cast_possible_truncation, reason = "each half is one of the numbers that `token` put there")]
    fn of(token: Token) -> Self {
        Self { place: token.0 as u32, stamp: (token.0 >> 32) as u32 }
    }
}

impl AsRawFd for Lane {
    fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}

/// Whether such checks are made here.
pub(super) fn takes(probe: &Probe) -> bool {
    let is_bare = probe.aim.proxy.is_none() && probe.encryption() == Encryption::None;
    let is_connect_alone = matches!(probe.kind, ProbeKind::Tcp { banner: None, .. }) && is_bare;
    // Places and stamps share a word.
    (is_connect_alone || check::is_one_question(probe)) && usize::BITS == 64
}

impl Lane {
    /// Returns the lane without a check; fails where the system has no more files.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS_AT_ONCE),
            places: Vec::new(),
            free: Vec::new(),
            deadlines: BTreeMap::new(),
            unread: VecDeque::new(),
            buffer: vec![0; READ_BYTES].into(),
            spares: Spares::default(),
            ended: Vec::new(),
        })
    }

    /// Begins a check that [`takes`] says is for here.
    pub(super) fn start(&mut self, ticket: Ticket, aimed: &Aimed) {
        let began = clock::monotonic();
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let mut conn = Conn::open(ticket, aimed, began, &mut self.spares)?;
            let step = conn.begin();
            Ok((conn, step))
        }));
        match opened {
            Ok(Ok((conn, Step::Done(finding)))) => self.end(conn, finding),
            Ok(Ok((conn, Step::Wait | Step::Unread))) => {
                let has_asked = conn.has_asked();
                let key = self.put(conn);
                // A server that is near has answered by the time that all who begin now have asked: a look costs less
                // than being told.
                if has_asked {
                    self.unread.push_back(key);
                } else {
                    self.watch(key);
                }
            }
            Ok(Err(record)) => self.ended.push(Ended { ticket, addr: aimed.addr.clone(), began, record: Some(record) }),
            Err(_) => self.ended.push(Ended { ticket, addr: aimed.addr.clone(), began, record: None }),
        }
    }

    /// Ends a check without a record; nothing if it is over or elsewhere.
    pub(super) fn cut_short(&mut self, ticket: Ticket) {
        let is_it = |place: &Place| place.conn.as_ref().is_some_and(|conn| conn.ticket == ticket);
        if let Some(place) = self.places.iter().position(is_it) {
            self.leave(place);
        }
        self.ended.retain(|ended| ended.ticket != ticket);
    }

    /// Takes every check as far as it gets by now, and ends those that are out of time.
    pub(super) fn turn(&mut self) {
        for _ in 0..self.unread.len() {
            let Some(key) = self.unread.pop_front() else { break };
            self.go_on(key, false);
        }
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        loop {
            match self.poll.poll(&mut events, Some(Duration::ZERO)) {
                // What is not taken now is not told again.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
                Ok(()) => {}
            }
            let mut count = 0;
            for event in &events {
                count += 1;
                self.go_on(Key::of(event.token()), event.is_read_closed());
            }
            if count < EVENTS_AT_ONCE {
                break;
            }
        }
        self.events = events;
        self.end_who_is_out_of_time();
    }

    /// Whether there is something to do at once.
    pub(super) fn is_busy(&self) -> bool {
        !self.unread.is_empty() || !self.ended.is_empty()
    }

    /// Returns when the next check is out of time.
    pub(super) fn next_deadline(&mut self) -> Option<Instant> {
        let places = &self.places;
        self.deadlines.retain(|_, line| {
            while line.front().is_some_and(|(_, key)| !is_there(places, *key)) {
                line.pop_front();
            }
            !line.is_empty()
        });
        self.deadlines.values().filter_map(|line| line.front()).map(|(at, _)| *at).min()
    }

    /// Hands over the checks that are over.
    pub(super) fn take_ended(&mut self) -> std::vec::Drain<'_, Ended> {
        self.ended.drain(..)
    }

    /// Gives a connection a place and a deadline.
    fn put(&mut self, conn: Box<Conn>) -> Key {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            self.places.len() - 1
        });
        let key = Key { place: u32::try_from(place).unwrap_or(u32::MAX), stamp: self.places[place].stamp };
        let (after, at) = (conn.probe.timeout, conn.began + conn.probe.timeout);
        self.deadlines.entry(after).or_default().push_back((at, key));
        self.places[place].conn = Some(conn);
        key
    }

    /// Has the kernel tell what comes for a connection; nothing where it does.
    fn watch(&mut self, key: Key) {
        let Some(conn) = find(&mut self.places, key).filter(|conn| !conn.is_watched) else { return };
        // Whoever has sent its question waits for the answer alone.
        let interest = if conn.has_asked() { Interest::READABLE } else { Interest::READABLE.add(Interest::WRITABLE) };
        let Err(error) = self.poll.registry().register(&mut SourceFd(&conn.fd()), key.token(), interest) else {
            conn.is_watched = true;
            return;
        };
        let finding = conn.cannot_wait(&error);
        if let Some(conn) = self.leave(key.place as usize) {
            self.end(conn, finding);
        }
    }

    fn go_on(&mut self, key: Key, is_closed: bool) {
        let Some(conn) = find(&mut self.places, key) else { return };
        conn.is_closed |= is_closed;
        let buffer = &mut self.buffer;
        match catch_unwind(AssertUnwindSafe(|| conn.go_on(buffer))) {
            Ok(Step::Done(finding)) => {
                if let Some(conn) = self.leave(key.place as usize) {
                    self.end(conn, finding);
                }
            }
            Ok(Step::Wait) => self.watch(key),
            Ok(Step::Unread) if self.unread.contains(&key) => {}
            Ok(Step::Unread) => self.unread.push_back(key),
            Err(_) => {
                if let Some(conn) = self.leave(key.place as usize) {
                    let Conn { ticket, addr, began, .. } = *conn;
                    self.ended.push(Ended { ticket, addr, began, record: None });
                }
            }
        }
    }

    fn end(&mut self, conn: Box<Conn>, finding: Finding) {
        let (ticket, addr, began) = (conn.ticket, conn.addr.clone(), conn.began);
        let record = catch_unwind(AssertUnwindSafe(|| conn.end(finding, &mut self.buffer, &mut self.spares))).ok();
        self.ended.push(Ended { ticket, addr, began, record });
    }

    fn end_who_is_out_of_time(&mut self) {
        let now = clock::monotonic();
        while self.next_deadline().is_some_and(|at| at <= now) {
            let first = self.deadlines.values_mut().min_by_key(|line| line.front().map(|(at, _)| *at));
            let Some((_, key)) = first.and_then(VecDeque::pop_front) else { return };
            if let Some(conn) = self.leave(key.place as usize) {
                let finding = conn.timed_out();
                self.end(conn, finding);
            }
        }
    }

    /// Frees a place. A connection that is dropped is closed, and the kernel forgets with it that it was watched.
    fn leave(&mut self, place: usize) -> Option<Box<Conn>> {
        let freed = self.places.get_mut(place)?;
        let conn = freed.conn.take()?;
        freed.stamp = freed.stamp.wrapping_add(1);
        self.free.push(place);
        Some(conn)
    }
}

fn is_there(places: &[Place], key: Key) -> bool {
    places.get(key.place as usize).is_some_and(|place| place.stamp == key.stamp && place.conn.is_some())
}

fn find(places: &mut [Place], key: Key) -> Option<&mut Conn> {
    places.get_mut(key.place as usize).filter(|place| place.stamp == key.stamp)?.conn.as_deref_mut()
}

#[cfg(test)]
pub(super) mod tests;
