//! How often each client asks, exactly, over all workers: one moment for each client that has asked of late.
//!
//! The moment is when its bucket would be full again (the generic cell rate algorithm, ITU-T I.371): each request moves it
//! on by the time that one token takes to come, and one that would move it further ahead of now than a whole bucket takes
//! is refused. So a client whose moment is past is the same as one that never came, and its place is free. The table has
//! a fixed number of places, [`CLIENTS_MAX`], made with the first frontend that needs it; where a row of it is full, the
//! client with the fullest bucket is forgotten. Keys are hashed with a seed of the process, so that nobody can choose
//! whom he shares a row with. A lock is held for the eight places of a row.

use std::net::IpAddr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::model::{FrontendId, RateLimit};

/// Clients that are known at once, over all frontends.
const CLIENTS_MAX: usize = 1 << 16;
/// Places in a row.
const WAYS: usize = 8;
/// Rows under one lock.
const ROWS_OF_LOCK: usize = 64;

/// Whom a bucket is of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asker<'a> {
    /// Who has this value in the field that the limit names.
    Value(&'a [u8]),
    /// An address; of IPv6 its first 64 bits.
    Source(IpAddr),
}

/// See the module's doc.
pub(super) struct Rates {
    seed: u64,
    table: OnceLock<Box<[Mutex<Rows>]>>,
}

type Rows = [[Place; WAYS]; ROWS_OF_LOCK];

/// One client: by the hash of who it is, and when its bucket would be full, in nanoseconds.
#[derive(Clone, Copy, Default)]
struct Place {
    key: u64,
    full_at: u64,
}

impl Rates {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, table: OnceLock::new() }
    }

    /// Takes a token of a client's bucket; returns how long it has to wait where there is none. `now`: since any start,
    /// the same for all workers.
    pub(super) fn take(
        &self,
        frontend: FrontendId,
        limit: &RateLimit,
        asker: Asker<'_>,
        now: Duration,
    ) -> Result<(), Duration> {
        let key = self.key(frontend, asker);
        let now = nanos(now);
        let token = (nanos(limit.window) / u64::from(limit.requests.max(1))).max(1);
        let bucket = token.saturating_mul(u64::from(limit.burst.max(1)));
        let table = self.table.get_or_init(made);
        let row = (key >> 32) as usize % (CLIENTS_MAX / WAYS);
        let mut rows = table[row / ROWS_OF_LOCK].lock().unwrap_or_else(PoisonError::into_inner);
        let row = &mut rows[row % ROWS_OF_LOCK];
        let known = row.iter().position(|place| place.key == key);
        let at = known.unwrap_or_else(|| (0..WAYS).min_by_key(|at| row[*at].full_at).unwrap_or(0));
        let full_at = known.map_or(now, |at| row[at].full_at.max(now)).saturating_add(token);
        match full_at.saturating_sub(now).checked_sub(bucket) {
            Some(wait) if wait > 0 => Err(Duration::from_nanos(wait)),
            Some(_) | None => {
                row[at] = Place { key, full_at };
                Ok(())
            }
        }
    }

    fn key(&self, frontend: FrontendId, asker: Asker<'_>) -> u64 {
        let seed = self.seed ^ frontend.0.rotate_left(17);
        let hash = |kind: u64, bytes: &[u8]| xxh3_64_with_seed(bytes, seed.wrapping_add(kind));
        match asker {
            Asker::Value(value) => hash(0, value),
            Asker::Source(IpAddr::V4(addr)) => hash(1, &addr.octets()),
            Asker::Source(IpAddr::V6(addr)) => hash(2, &addr.octets()[..8]),
        }
    }
}

fn made() -> Box<[Mutex<Rows>]> {
    (0..CLIENTS_MAX / WAYS / ROWS_OF_LOCK).map(|_| Mutex::new([[Place::default(); WAYS]; ROWS_OF_LOCK])).collect()
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::RateKey;

    const HERE: Asker<'_> = Asker::Source(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    fn limit(requests: u32, burst: u32) -> RateLimit {
        RateLimit { per: RateKey::Source, requests, window: Duration::from_secs(1), burst }
    }

    fn take(rates: &Rates, limit: &RateLimit, asker: Asker<'_>, ms: u64) -> Result<(), Duration> {
        rates.take(FrontendId(1), limit, asker, Duration::from_millis(ms))
    }

    #[test]
    fn bucket_gives_its_burst_and_then_its_rate() {
        let (rates, limit) = (Rates::new(1), limit(10, 3));
        let taken: Vec<_> = (0..5).map(|_| take(&rates, &limit, HERE, 0).is_ok()).collect();
        assert_eq!(taken, [true, true, true, false, false]);
        assert_eq!(take(&rates, &limit, HERE, 0), Err(Duration::from_millis(100)));
        assert_eq!(take(&rates, &limit, HERE, 99), Err(Duration::from_millis(1)));
        assert!(take(&rates, &limit, HERE, 100).is_ok());
        assert!(take(&rates, &limit, HERE, 100).is_err());
        let taken = (0..5).filter(|_| take(&rates, &limit, HERE, 60_000).is_ok()).count();
        assert_eq!(taken, 3, "a pause fills the bucket and no more");
    }

    #[test]
    fn clients_have_a_bucket_each_and_a_network_of_ipv6_has_one() {
        let (rates, limit) = (Rates::new(1), limit(1, 1));
        let v6 = |text: &str| Asker::Source(text.parse().unwrap());
        assert!(take(&rates, &limit, v6("2001:db8::1"), 0).is_ok());
        assert!(take(&rates, &limit, v6("2001:db8::2"), 0).is_err());
        assert!(take(&rates, &limit, v6("2001:db8:0:1::1"), 0).is_ok());
        assert!(take(&rates, &limit, HERE, 0).is_ok());
        assert!(take(&rates, &limit, Asker::Value(b"ann"), 0).is_ok());
        assert!(take(&rates, &limit, Asker::Value(b"bob"), 0).is_ok());
        assert!(take(&rates, &limit, Asker::Value(b"ann"), 0).is_err());
        assert!(rates.take(FrontendId(2), &limit, HERE, Duration::ZERO).is_ok());
    }

    #[test]
    fn flood_of_clients_is_let_in_and_takes_no_more_room() {
        let (rates, limit) = (Rates::new(1), limit(1, 1));
        for n in 0..CLIENTS_MAX as u64 * 2 {
            assert!(take(&rates, &limit, Asker::Value(&n.to_be_bytes()), 0).is_ok());
        }
        let places = rates.table.get().unwrap().len() * ROWS_OF_LOCK * WAYS;
        assert_eq!(places, CLIENTS_MAX);
    }

    proptest! {
        /// Whenever they come: in any span of time no more than the burst and what comes in that time.
        #[test]
        fn no_span_holds_more_than_burst_and_rate(
            requests in 1u32..50, burst in 1u32..20, pauses in prop::collection::vec(0u64..200, 1..100)
        ) {
            let (rates, limit) = (Rates::new(1), limit(requests, burst));
            let mut now = 0;
            let mut taken = Vec::new();
            for pause in pauses {
                now += pause;
                if take(&rates, &limit, HERE, now).is_ok() {
                    taken.push(now);
                }
            }
            for (i, from) in taken.iter().enumerate() {
                for (n, to) in taken[i..].iter().enumerate() {
                    let bound = u64::from(burst) + (to - from) * u64::from(requests) / 1000 + 1;
                    prop_assert!((n as u64) < bound, "{} from {} to {}", n + 1, from, to);
                }
            }
        }
    }
}
