//! What one worker needs to bring clients back to the servers they had: the cookies of each farm, and the clients
//! known by address or by a header field, which all workers share.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use ::http::HeaderMap;

use crate::farm::FarmTable;
use crate::farm::choose::{Key, Tried};
use crate::farm::sticky::{Client, Clients, Seals, StickyKey};
use crate::model::{ChosenBy, Farm, FarmId, ServerId, Stickiness};

/// What the workers of a process share.
pub(super) struct SharedSticking {
    key: StickyKey,
    /// By farm and the field, if it is a field that clients are known by. Gone once no worker knows the farm.
    known: Mutex<BTreeMap<ClientsOf, Weak<Clients>>>,
}

/// A farm, and the field that its clients are known by, if it is one.
type ClientsOf = (FarmId, Option<Box<str>>);

impl SharedSticking {
    pub(super) fn new(key: StickyKey) -> Self {
        Self { key, known: Mutex::default() }
    }
}

/// See the module's doc.
pub(super) struct Sticking {
    shared: Arc<SharedSticking>,
    farms: BTreeMap<FarmId, OfFarm>,
}

/// What is kept of one farm.
struct OfFarm {
    farm: Arc<Farm>,
    /// Where its servers stand; looked at again before it is believed.
    positions: HashMap<ServerId, usize>,
    means: Means,
}

enum Means {
    Cookie(Arc<Seals>),
    Known(Memory),
    None,
}

/// Clients that are known by what is theirs.
struct Memory {
    known: Arc<Clients>,
    /// The field that they are known by; their address where absent.
    field: Option<Box<str>>,
    idle: Duration,
    clients_max: u32,
}

impl Memory {
    /// Returns whom some work is of; nobody, where it does not say.
    fn client(&self, key: Key<'_>, headers: Option<&HeaderMap>) -> Option<Client> {
        match &self.field {
            Some(field) => headers?.get(&**field).map(|value| Client::of_value(value.as_bytes())),
            None => Some(key.source.into()),
        }
    }
}

/// The cookies of a request's farm, and the server that the request's own cookie names.
#[derive(Clone)]
pub(super) struct Cookies {
    pub(super) seals: Arc<Seals>,
    pub(super) named: Option<ServerId>,
}

impl Sticking {
    pub(super) fn new(shared: Arc<SharedSticking>) -> Self {
        Self { shared, farms: BTreeMap::new() }
    }

    /// Returns what the cookies of a request say; nothing where the farm has none.
    pub(super) fn cookies(&mut self, farm: &FarmTable, headers: Option<&HeaderMap>) -> Option<Cookies> {
        let headers = headers?;
        match &self.of(farm)?.means {
            Means::Cookie(seals) => Some(Cookies { named: seals.server_of(headers), seals: Arc::clone(seals) }),
            Means::Known(_) | Means::None => None,
        }
    }

    /// Returns the position of the server that a client is to go back to, if there is one that takes it; `named` is
    /// what its cookie says.
    pub(super) fn back_to(
        &mut self,
        farm: &FarmTable,
        named: Option<ServerId>,
        (key, headers): (Key<'_>, Option<&HeaderMap>),
        tried: &Tried,
        now_ms: u64,
    ) -> Option<(usize, ChosenBy)> {
        let sticking = self.of(farm)?;
        let (server, by) = match &sticking.means {
            Means::Cookie(_) => (named?, ChosenBy::StickyCookie),
            Means::None => return None,
            Means::Known(memory) => {
                let Memory { known, field, idle, clients_max } = memory;
                let server = known.find(memory.client(key, headers)?, *clients_max, *idle, now_ms)?;
                (server, if field.is_some() { ChosenBy::StickyHeader } else { ChosenBy::StickySource })
            }
        };
        let is_there = |at: &usize| farm.servers.get(*at).is_some_and(|entry| entry.server.id == server);
        let position = sticking.positions.get(&server).copied().filter(is_there).or_else(|| farm.position(server))?;
        let may_go = !tried.contains(position) && farm.servers[position].takes_sticky();
        may_go.then_some((position, by))
    }

    /// Notes where a client was sent, for farms that know clients.
    pub(super) fn sent(
        &mut self,
        farm: &FarmTable,
        server: ServerId,
        key: Key<'_>,
        headers: Option<&HeaderMap>,
        now_ms: u64,
    ) {
        if let Some(OfFarm { means: Means::Known(memory), .. }) = self.of(farm)
            && let Some(client) = memory.client(key, headers)
        {
            memory.known.stick(client, server, memory.clients_max, now_ms);
        }
    }

    /// Forgets the farms for which `is_there` is false.
    pub(super) fn forget_except(&mut self, is_there: impl Fn(FarmId) -> bool) {
        self.farms.retain(|farm, _| is_there(*farm));
    }

    /// Returns what is kept of a farm, made or renewed where it must be; nothing for one that is not sticky.
    fn of(&mut self, farm: &FarmTable) -> Option<&OfFarm> {
        if farm.farm.stickiness == Stickiness::None {
            return None;
        }
        let shared = &self.shared;
        let sticking = self.farms.entry(farm.farm.id).or_insert_with(|| OfFarm {
            farm: Arc::clone(&farm.farm),
            positions: positions(farm),
            means: shared.means(&farm.farm, Means::None),
        });
        if !Arc::ptr_eq(&sticking.farm, &farm.farm) {
            let before = std::mem::replace(&mut sticking.means, Means::None);
            *sticking = OfFarm {
                farm: Arc::clone(&farm.farm),
                positions: positions(farm),
                means: shared.means(&farm.farm, before),
            };
        }
        Some(sticking)
    }
}

impl SharedSticking {
    /// Returns how clients are known of that farm; what was known `before` stays where it still holds.
    fn means(&self, farm: &Farm, before: Means) -> Means {
        match &farm.stickiness {
            Stickiness::Cookie(rule) => match before {
                Means::Cookie(seals) if seals.are_of(farm, rule) => Means::Cookie(seals),
                Means::Cookie(_) | Means::Known(_) | Means::None => {
                    Means::Cookie(Arc::new(Seals::new(farm, rule, &self.key)))
                }
            },
            Stickiness::Header { name, idle, clients_max } => {
                self.memory(farm.id, Some(name.clone()), *idle, *clients_max, before)
            }
            Stickiness::None => Means::None,
            Stickiness::Source { idle, clients_max } => self.memory(farm.id, None, *idle, *clients_max, before),
        }
    }

    /// `before` is let go only once what is to be held is, lest it be the last to hold it.
    fn memory(&self, farm: FarmId, field: Option<Box<str>>, idle: Duration, clients_max: u32, _before: Means) -> Means {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, clients| clients.strong_count() > 0);
        let of = (farm, field.clone());
        let known = all.get(&of).and_then(Weak::upgrade).unwrap_or_else(|| {
            let fresh: Arc<Clients> = Arc::default();
            all.insert(of, Arc::downgrade(&fresh));
            fresh
        });
        Means::Known(Memory { known, field, idle, clients_max })
    }
}

fn positions(farm: &FarmTable) -> HashMap<ServerId, usize> {
    farm.servers.iter().enumerate().map(|(position, entry)| (entry.server.id, position)).collect()
}
