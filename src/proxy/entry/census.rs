//! How many are in, by frontend and by source, exactly and over all workers.
//!
//! A count is there while something is counted in it, so the memory is bounded by what is open. Totals are atomic; of
//! sources, who come and go, each shard has a lock that is held for one look at a map.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::FrontendId;

/// Parts into which sources are divided.
const SHARDS: usize = 16;
/// The bits of an IPv6 address that tell sources apart: what one subscriber is given.
const SOURCE_V6_MASK: u128 = !0 << 64;

/// See the module's doc.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Census(Mutex<HashMap<FrontendId, Arc<Gate>>>);

impl Census {
    /// Returns the counts of a frontend.
    pub(in crate::proxy) fn gate(&self, frontend: FrontendId) -> Arc<Gate> {
        Arc::clone(self.gates().entry(frontend).or_default())
    }

    /// Forgets the frontends for which `is_there` is false and in which nobody is.
    pub(in crate::proxy) fn forget_except(&self, is_there: impl Fn(FrontendId) -> bool) {
        self.gates().retain(|frontend, gate| Arc::strong_count(gate) > 1 || is_there(*frontend));
    }

    fn gates(&self) -> MutexGuard<'_, HashMap<FrontendId, Arc<Gate>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is counted of one frontend.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Gate {
    open: AtomicU32,
    handshakes: AtomicU32,
    sources: [Mutex<HashMap<IpAddr, u32>>; SHARDS],
}

/// Somebody who is counted; not any more once dropped.
#[derive(Debug)]
pub(in crate::proxy) struct Pass {
    gate: Arc<Gate>,
    of: Counted,
}

#[derive(Clone, Copy, Debug)]
enum Counted {
    Handshake,
    Open,
    Source(IpAddr),
}

impl Gate {
    /// Counts one more that is open; nothing, if there are so many.
    pub(in crate::proxy) fn open(self: &Arc<Self>, max: u32) -> Option<Pass> {
        add_one(&self.open, max)?;
        Some(self.pass(Counted::Open))
    }

    /// Counts one more handshake under way; nothing, if there are so many.
    pub(in crate::proxy) fn handshake(self: &Arc<Self>, max: u32) -> Option<Pass> {
        add_one(&self.handshakes, max)?;
        Some(self.pass(Counted::Handshake))
    }

    /// Counts one more of a source; nothing, if it has so many.
    pub(in crate::proxy) fn source(self: &Arc<Self>, ip: IpAddr, max: u32) -> Option<Pass> {
        let source = source_of(ip);
        let mut shard = self.shard(source);
        let count = shard.entry(source).or_insert(0);
        if *count >= max {
            return None;
        }
        *count += 1;
        drop(shard);
        Some(self.pass(Counted::Source(source)))
    }

    fn pass(self: &Arc<Self>, of: Counted) -> Pass {
        Pass { gate: Arc::clone(self), of }
    }

    fn shard(&self, source: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        let fold = |bytes: &[u8]| bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte));
        let at = match source {
            IpAddr::V4(ip) => fold(&ip.octets()),
            IpAddr::V6(ip) => fold(&ip.octets()),
        };
        self.sources[usize::from(at) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        match self.of {
            Counted::Handshake => drop(self.gate.handshakes.fetch_sub(1, Relaxed)),
            Counted::Open => drop(self.gate.open.fetch_sub(1, Relaxed)),
            Counted::Source(source) => {
                if let Entry::Occupied(mut count) = self.gate.shard(source).entry(source) {
                    *count.get_mut() -= 1;
                    if *count.get() == 0 {
                        count.remove();
                    }
                }
            }
        }
    }
}

fn add_one(count: &AtomicU32, max: u32) -> Option<u32> {
    count.fetch_update(Relaxed, Relaxed, |n| (n < max).then(|| n + 1)).ok()
}

/// Returns what tells sources apart.
fn source_of(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & SOURCE_V6_MASK)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn threads_together_let_in_exactly_as_many_as_may() {
        let census = Census::default();
        let passes: Vec<_> = std::thread::scope(|scope| {
            let enter = || {
                let gate = census.gate(FrontendId(1));
                let opens: Vec<_> = (0..1000).filter_map(|_| gate.open(500)).collect();
                let sources: Vec<_> = (0..1000).filter_map(|_| gate.source(ip("192.0.2.7"), 300)).collect();
                (opens, sources)
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(enter)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let counts = passes.iter().fold((0, 0), |sum, (o, s)| (sum.0 + o.len(), sum.1 + s.len()));
        assert_eq!(counts, (500, 300));
        drop(passes);
        let gate = census.gate(FrontendId(1));
        assert!(gate.open(1).is_some());
        assert!(gate.sources.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }

    #[test]
    fn sources_of_ipv6_are_told_apart_by_their_first_64_bits() {
        let gate = Census::default().gate(FrontendId(1));
        let _first = gate.source(ip("2001:db8::1"), 1).unwrap();
        assert!(gate.source(ip("2001:db8::ffff:2"), 1).is_none());
        assert!(gate.source(ip("2001:db8:0:1::1"), 1).is_some());
        assert!(gate.source(ip("192.0.2.7"), 1).is_some());
    }

    #[test]
    fn frontend_is_forgotten_once_it_is_gone_and_empty() {
        let census = Census::default();
        let pass = census.gate(FrontendId(1)).open(1).unwrap();
        census.forget_except(|_| false);
        assert!(census.gate(FrontendId(1)).open(1).is_none(), "still counted");
        drop(pass);
        census.forget_except(|_| false);
        assert!(census.gates().is_empty());
    }
}
