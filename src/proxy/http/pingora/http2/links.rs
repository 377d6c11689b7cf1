//! A worker's HTTP/2 connections to servers: which one takes a request, and how many there are.
//!
//! By a key: connections of one key may serve for one another. A request takes a place on the first that has one; where
//! none has, one more is made, if there may be one more, and those who come meanwhile wait for it as long as it will have
//! places for them. Where there may be none, a request waits for a place. Nobody waits longer than a connection may take
//! to be made.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::pingora::ErrorType::{self, ConnectError, ConnectTimedout, H2Error};
use ::pingora::{Error, Result};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::clock;
use crate::model::Reuse;

use super::super::dial::{Dial, DialError};
use super::link::{Lease, Link};

/// How connections of a key are made and used.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Terms {
    pub(in super::super) reuse: Reuse,
    pub(in super::super) connect: Duration,
    pub(in super::super) response: Duration,
    pub(in super::super) idle: Duration,
}

/// See the module's doc.
#[derive(Debug, Default)]
pub(in super::super) struct Links(Mutex<HashMap<u64, Arc<Group>>>);

/// The connections of one key.
#[derive(Debug, Default)]
pub(super) struct Group {
    state: Mutex<State>,
    /// A place may be free, or a connection was not made.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    links: Vec<Arc<Link>>,
    connecting: u32,
    waiting: u32,
    /// How many were not made, and why the last one was not.
    failures: u64,
    failure: Option<Failure>,
}

#[derive(Clone, Debug)]
struct Failure {
    kind: ErrorType,
    why: Option<DialError>,
}

/// What a request does next that wants a place.
enum Step {
    Connect,
    Fail(Failure),
    Go(Lease),
    Wait,
}

impl Links {
    /// Returns a place for a request on a connection of that key. One that is kept is given to a request that is to be
    /// sent once at most (`is_careful`) only after the runtime has asked the system what became of it meanwhile.
    pub(super) async fn take(&self, key: u64, dial: &Dial, terms: Terms, is_careful: bool) -> Result<Lease> {
        let group = self.group(key);
        if is_careful && group.has_links() {
            tokio::task::yield_now().await;
        }
        let by = Instant::from_std(clock::monotonic() + terms.connect);
        let mut seen = None;
        loop {
            let (step, failures) = group.step(terms.reuse, seen);
            match step {
                Step::Go(lease) => return Ok(lease),
                Step::Fail(failure) => return Err(failure.error()),
                Step::Connect => return group.connect(dial, terms, by).await,
                Step::Wait => {
                    seen.get_or_insert(failures);
                    let waiting = Waiting::new(&group);
                    let changed = group.changed.notified();
                    let in_time = timeout_at(by, changed).await.is_ok();
                    drop(waiting);
                    if !in_time {
                        let why = DialError::Full;
                        return Err(Error::because(ErrorType::HTTPStatus(503), "waiting for a connection", why));
                    }
                }
            }
        }
    }

    fn groups(&self) -> MutexGuard<'_, HashMap<u64, Arc<Group>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn group(&self, key: u64) -> Arc<Group> {
        let mut groups = self.groups();
        if let Some(group) = groups.get(&key) {
            return Arc::clone(group);
        }
        // Keys come and go with servers, files and clients: those that nobody has anything of are of no use.
        groups.retain(|_, group| Arc::strong_count(group) > 1 || group.has_links());
        Arc::clone(groups.entry(key).or_default())
    }
}

impl Group {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_links(&self) -> bool {
        !self.state().links.is_empty()
    }

    /// Says that a place may be free.
    pub(super) fn changed(&self) {
        self.changed.notify_waiters();
    }

    /// Says that a connection has ended.
    pub(super) fn ended(&self, link: &Arc<Link>) {
        self.state().links.retain(|known| !Arc::ptr_eq(known, link));
        self.changed();
    }

    /// Returns what to do next, and how many connections were not made; `seen`: how many at the time one began to wait.
    fn step(self: &Arc<Self>, rule: Reuse, seen: Option<u64>) -> (Step, u64) {
        let mut state = self.state();
        let failures = state.failures;
        if let Some(lease) = state.links.iter().find_map(|link| link.lease(rule, self)) {
            return (Step::Go(lease), failures);
        }
        if state.links.is_empty()
            && seen.is_some_and(|seen| seen != failures)
            && let Some(failure) = state.failure.clone()
        {
            return (Step::Fail(failure), failures);
        }
        let there = u32::try_from(state.links.len()).unwrap_or(u32::MAX).saturating_add(state.connecting);
        let to_come = state.connecting.saturating_mul(rule.streams.max(1));
        let step = if state.waiting < to_come || there >= rule.connections.max(1) {
            Step::Wait
        } else {
            state.connecting += 1;
            Step::Connect
        };
        (step, failures)
    }

    /// Makes the connection that was counted as being made.
    async fn connect(self: &Arc<Self>, dial: &Dial, terms: Terms, by: Instant) -> Result<Lease> {
        let connecting = Connecting(self);
        let made = async {
            let transport = dial.reach().await?;
            let started = Link::start(transport, terms, self).await;
            started.map_err(|error| Error::because(H2Error, "beginning to speak HTTP/2", error))
        };
        let made = timeout_at(by, made)
            .await
            .unwrap_or_else(|_| Err(Error::explain(ConnectTimedout, "connecting to a server over HTTP/2")));
        match made {
            Ok(link) => {
                let lease = link.lease(terms.reuse, self);
                self.state().links.push(link);
                drop(connecting);
                lease.ok_or_else(|| Error::explain(ConnectError, "the server said goodbye at once"))
            }
            Err(error) => {
                let why = error.root_cause().downcast_ref::<DialError>().cloned();
                let mut state = self.state();
                state.failures += 1;
                state.failure = Some(Failure { kind: error.etype().clone(), why });
                drop(state);
                drop(connecting);
                Err(error)
            }
        }
    }
}

impl Failure {
    fn error(self) -> Box<Error> {
        let what = "the connection that was waited for was not made";
        match self.why {
            Some(why) => Error::because(self.kind, what, why),
            None => Error::explain(self.kind, what),
        }
    }
}

/// Somebody who makes a connection.
struct Connecting<'a>(&'a Group);

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.0.state().connecting -= 1;
        self.0.changed();
    }
}

/// Somebody who waits.
struct Waiting<'a>(&'a Group);

impl<'a> Waiting<'a> {
    fn new(group: &'a Group) -> Self {
        group.state().waiting += 1;
        Self(group)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}
