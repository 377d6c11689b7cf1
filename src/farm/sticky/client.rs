//! Who was served where: what one farm remembers of clients that it knows by their address or by a field that they send,
//! for all workers.
//!
//! A field's value is kept as a hash of 128 bits, so that no client's word is kept and none takes more room than another.
//! In shards, each under a lock that is held for one look-up. A client that stays away for `idle` is forgotten when it
//! is asked for; beyond the bound the one that stayed away longest goes. Times are milliseconds from any start, the
//! same for all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_128;

use crate::balance::seed::mix;
use crate::model::ServerId;

use super::super::chain::{Chain, Chains, Place};

/// Shards of a table.
const SHARDS: u32 = 16;
/// Fewer clients than this are not spread: with few to a shard, some would be forgotten early.
const SHARDED_CLIENTS_MIN: u32 = 1024;

/// What a client is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client(u128);

impl From<IpAddr> for Client {
    /// Known by its address: an IPv4 client on a dual-stack listener is the same.
    fn from(address: IpAddr) -> Self {
        let address = match address.to_canonical() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        Self(address.to_bits())
    }
}

impl Client {
    /// Known by the value of a field.
    #[must_use]
    pub fn of_value(value: &[u8]) -> Self {
        Self(xxh3_128(value))
    }

    #[expect(clippy::cast_possible_truncation, reason = "both halves count")]
    fn shard(self) -> u64 {
        mix((self.0 >> 64) as u64 ^ self.0 as u64) % u64::from(SHARDS)
    }
}

/// See the module's doc.
#[derive(Debug, Default)]
pub struct Clients {
    shards: [Mutex<Shard>; SHARDS as usize],
}

#[derive(Debug, Default)]
struct Shard {
    by_client: HashMap<Client, Place>,
    known: Chains<Known>,
    /// From who stayed away longest to who was here last.
    by_age: Chain,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    client: Client,
    server: ServerId,
    seen_ms: u64,
}

impl Clients {
    /// Returns the server that a client had, if it was here within `idle`; and notes that it is here.
    #[must_use]
    pub fn find(&self, client: Client, clients_max: u32, idle: Duration, now_ms: u64) -> Option<ServerId> {
        let shard = &mut *self.shard(client, clients_max);
        let place = *shard.by_client.get(&client)?;
        let known = shard.known.get_mut(place)?;
        let away = Duration::from_millis(now_ms.saturating_sub(known.seen_ms));
        if away > idle {
            shard.by_client.remove(&client);
            shard.known.remove(&mut shard.by_age, place);
            return None;
        }
        known.seen_ms = known.seen_ms.max(now_ms);
        let server = known.server;
        shard.known.pass(&mut shard.by_age, None, place);
        Some(server)
    }

    /// Notes that a client was given to a server.
    pub fn stick(&self, client: Client, server: ServerId, clients_max: u32, now_ms: u64) {
        let shard = &mut *self.shard(client, clients_max);
        let known = Known { client, server, seen_ms: now_ms };
        if let Some(place) = shard.by_client.get(&client) {
            if let Some(before) = shard.known.get_mut(*place) {
                *before = known;
            }
            shard.known.pass(&mut shard.by_age, None, *place);
            return;
        }
        if let Some(place) = shard.known.push(&mut shard.by_age, known) {
            shard.by_client.insert(client, place);
        }
        let most = if clients_max < SHARDED_CLIENTS_MIN { clients_max } else { clients_max.div_ceil(SHARDS) };
        while shard.by_age.count() > most.max(1)
            && let Some(oldest) = shard.by_age.first()
            && let Some(gone) = shard.known.remove(&mut shard.by_age, oldest)
        {
            shard.by_client.remove(&gone.client);
        }
    }

    /// Returns how many clients are known.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).by_client.len()).sum()
    }

    fn shard(&self, client: Client, clients_max: u32) -> MutexGuard<'_, Shard> {
        let at = if clients_max < SHARDED_CLIENTS_MIN { 0 } else { client.shard() };
        lock(&self.shards[usize::try_from(at).unwrap_or(0)])
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(10);

    fn client(n: u32) -> Client {
        IpAddr::from(n.to_be_bytes()).into()
    }

    #[test]
    fn client_is_known_until_it_stayed_away() {
        let clients = Clients::default();
        assert_eq!(clients.find(client(1), 10, IDLE, 0), None);
        clients.stick(client(1), ServerId(7), 10, 0);
        assert_eq!(clients.find(client(1), 10, IDLE, 10_000), Some(ServerId(7)));
        assert_eq!(clients.find(client(1), 10, IDLE, 20_000), Some(ServerId(7)), "the wait began anew");
        assert_eq!(clients.find(client(1), 10, IDLE, 30_001), None);
        assert_eq!(clients.count(), 0);
    }

    #[test]
    fn client_is_the_same_on_a_dual_stack_listener_and_by_the_same_value_only() {
        let address = |text: &str| Client::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(address("192.0.2.1"), address("::ffff:192.0.2.1"));
        assert_ne!(address("192.0.2.1"), address("192.0.2.2"));
        assert_eq!(Client::of_value(b"ann"), Client::of_value(b"ann"));
        assert_ne!(Client::of_value(b"ann"), Client::of_value(b"Ann"));
    }

    #[test]
    fn client_given_to_another_server_stays_there() {
        let clients = Clients::default();
        clients.stick(client(1), ServerId(7), 10, 0);
        clients.stick(client(1), ServerId(8), 10, 0);
        assert_eq!(clients.find(client(1), 10, IDLE, 0), Some(ServerId(8)));
        assert_eq!(clients.count(), 1);
    }

    #[test]
    fn who_stayed_away_longest_goes_first() {
        let clients = Clients::default();
        for n in 0..3 {
            clients.stick(client(n), ServerId(7), 3, u64::from(n));
        }
        assert!(clients.find(client(0), 3, IDLE, 5).is_some());
        clients.stick(client(9), ServerId(7), 3, 6);
        let known = |n| clients.find(client(n), 3, IDLE, 7).is_some();
        assert_eq!([known(0), known(1), known(2), known(9)], [true, false, true, true]);
    }

    #[test]
    fn no_more_clients_are_known_than_the_bound_allows() {
        for (clients_max, most) in [(1, 1), (100, 100), (2048, 2048)] {
            let clients = Clients::default();
            for n in 0..5000 {
                clients.stick(client(n), ServerId(7), clients_max, 0);
            }
            assert!(clients.count() <= most, "{clients_max}: {}", clients.count());
            assert!(clients.count() * 10 >= most * 9, "{clients_max}: {}", clients.count());
        }
    }
}
