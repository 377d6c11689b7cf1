//! Connections to servers that are used again: which, how many, how long.
//!
//! Pingora keeps them, by a key; what differs in a way that matters has another key ([`group_of`]). It knows no bound for
//! one server, no age and no number of requests. So: a worker notes how many idle ones it should have to a server, and has
//! the connection of an attempt closed after it where that is as many as the farm allows ([`idle_for`]); a burst that ends
//! at once may leave more for a while, until they are idle too long. What it notes is put right whenever none was there
//! to be taken. A connection that is too old, or has served enough, is given up when it is taken, before anything is sent
//! through it ([`may_serve`]). HTTP/2 connections are kept by [`super::http2`].

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use ::pingora::protocols::Digest;
use xxhash_rust::xxh3::xxh3_64;

use crate::clock;
use crate::farm::{FarmTable, ServerEntry};

use super::super::super::work::Work;
use super::state::Exchange;

/// Requests that each connection of a worker has taken, by its socket; for farms that bound them.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Served(Mutex<HashMap<RawFd, (Option<SystemTime>, u32)>>);

impl Served {
    /// Counts a request; returns which it is of its connection, the first being 1.
    fn count(&self, socket: RawFd, established: Option<SystemTime>) -> u32 {
        let mut served = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (of, count) = served.entry(socket).or_insert((established, 0));
        // Another connection may have the number of one that is gone.
        if *of != established {
            (*of, *count) = (established, 0);
        }
        *count = count.saturating_add(1);
        *count
    }
}

/// Returns what a connection's key in the pool is made of, beside its address: connections of different groups never
/// serve for one another. It names the farm and the incarnation of the server; a farm that keeps none has one a request.
/// Whatever else makes connections differ (how TLS is spoken, a PROXY header) is to be joined to it.
pub(in crate::proxy) fn group_of(farm: &FarmTable, entry: &ServerEntry, request: u64) -> u64 {
    let once = if farm.farm.reuse.idle_max == 0 && !farm.farm.http2 { request.wrapping_add(1) } else { 0 };
    let parts = [farm.farm.id.0, entry.server.id.0, entry.epoch.0, once];
    xxh3_64(parts.map(u64::to_le_bytes).as_flattened())
}

/// Returns how long the connection of an attempt in HTTP/1.1 that begins now is kept after it.
pub(in crate::proxy) fn idle_for(work: &Work, farm: &FarmTable, entry: &ServerEntry) -> Duration {
    let idle = entry.live.idle_here.of(work.ix).value();
    if idle < u64::from(farm.farm.reuse.idle_max) { farm.farm.timeouts.idle } else { Duration::ZERO }
}

/// Takes in that an attempt has a connection; returns whether it may go through that.
pub(super) fn may_serve(
    work: &Work,
    exchange: &Exchange,
    is_reused: bool,
    socket: RawFd,
    digest: Option<&Digest>,
) -> bool {
    let Some((route, position)) = exchange.route.as_ref().zip(exchange.position) else { return true };
    let farm = route.farm();
    let idle = farm.servers[position].live.idle_here.of(work.ix);
    // Where none could be taken, none was there.
    idle.sub(if is_reused { 1 } else { u64::MAX });
    let rule = farm.farm.reuse;
    if rule.age_max.is_none() && rule.requests_max.is_none() {
        return true;
    }
    let established =
        digest.and_then(|digest| digest.timing_digest.first()?.as_ref()).map(|layer| layer.established_ts);
    let count = if rule.requests_max.is_some() { work.served.count(socket, established) } else { 1 };
    let is_worn = rule.requests_max.is_some_and(|most| count > most.max(1));
    let is_old = || rule.age_max.is_some_and(|most| established.is_some_and(|since| clock::age(since) > most));
    !(is_reused && (is_worn || is_old()))
}

/// Takes in that a request has ended: its connection may be idle now.
pub(super) fn ended(work: &Work, exchange: &Exchange, is_well: bool) {
    if is_well
        && !exchange.is_shared
        && exchange.answer.is_some()
        && let Some((route, position)) = exchange.route.as_ref().zip(exchange.position)
    {
        route.farm().servers[position].live.idle_here.of(work.ix).add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_connection_and_not_by_number() {
        let served = Served::default();
        let (one, other) = (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + Duration::from_secs(1));
        assert_eq!([served.count(7, Some(one)), served.count(7, Some(one)), served.count(8, Some(one))], [1, 2, 1]);
        assert_eq!(served.count(7, Some(other)), 1, "another connection of the same number");
    }
}
