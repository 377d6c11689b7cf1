//! What must hold after every turn, against models of its own: what operators want, what checks conclude, what events
//! told. Numbers in front of an invariant's name are those of the list in `main`.

mod read;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use farmgate::farm::{FarmTable, ServerEntry};
use farmgate::health::server::fingerprint;
use farmgate::model::{
    AdminStatus, AgentHealth, AgentSays, AgentWeight, CheckRecord, Epoch, Event, FailOpen, Farm, FarmId, Field, Health,
    Leftovers, ProbeSlot, Role, SavedHealth, Server, ServerKey, Timestamp, Topology, Weight,
};
use farmgate::store::Table;

use super::declared::servers;
use super::journal::Left;
use super::naive::Naive;
use super::operator::Wanted;
use super::sessions::Open;
use super::world::{SAMPLE, position};
use super::{Held, must};

/// What the keeper may be late by while no clock is set.
const TICK_US: u64 = 50_000;

/// The longest hold of any flap guard in the file.
const HOLD_MAX: Duration = Duration::from_millis(2500);

/// What ends by time at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timed {
    Ejection(ServerKey),
    Hold(ServerKey),
    Incident,
    Warmup(ServerKey),
}

/// A server as events told of it.
#[derive(Clone, Copy, Debug)]
struct Told {
    epoch: Epoch,
    health: Health,
    is_ejected: bool,
    is_held_down: bool,
    is_suspect: bool,
}

impl Told {
    fn of(entry: &ServerEntry) -> Self {
        let standing = &entry.standing;
        Self {
            epoch: entry.epoch,
            health: standing.health,
            is_ejected: standing.ejected.is_some(),
            is_held_down: standing.held_until.is_some(),
            is_suspect: standing.suspicion.is_some(),
        }
    }
}

/// See the module's doc.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    pub(crate) wanted: Wanted,
    /// Words of what was told, over all processes.
    pub(crate) heard: BTreeSet<&'static str>,
    /// Fields of which it is not known yet what became: their call is under way.
    pub(crate) in_question: BTreeSet<(ServerKey, Field)>,
    /// Overrides that ended and that the journal may still have.
    undropped: BTreeSet<(ServerKey, Field)>,
    /// What the process that begins finds.
    saved: BTreeMap<ServerKey, SavedHealth>,
    naive: BTreeMap<ServerKey, (u64, Naive)>,
    told: BTreeMap<ServerKey, Told>,
    serving: BTreeMap<FarmId, &'static str>,
    incident: Option<u64>,
    last_event: u64,
    /// When something ends at the latest, in virtual time, and how long it may last.
    ends: BTreeMap<Timed, (u64, Duration)>,
    warm: BTreeMap<ServerKey, (Timestamp, u8)>,
    /// Until then a clock that was set back may have a slow start shrink.
    grows_from: u64,
    /// Since when an incident holds a server that shows no sign of life.
    held: BTreeMap<ServerKey, u64>,
    hold_max: Duration,
    looked_at: Option<u64>,
    /// Something was observed since the last look.
    is_stale: bool,
    /// Deadlines of drains were looked at by the Store as of then.
    ticked: Option<Timestamp>,
}

fn used_as(entry: &ServerEntry) -> Health {
    let standing = &entry.standing;
    let is_out_by_agent = standing.agent.as_ref().is_some_and(|says| says.health == Some(AgentHealth::Down));
    if standing.ejected.is_some() || standing.held_until.is_some() || is_out_by_agent {
        return Health::Down;
    }
    entry.held.unwrap_or(standing.health)
}

fn is_good(entry: &ServerEntry) -> bool {
    matches!(used_as(entry), Health::Up | Health::Off)
}

impl Watch {
    fn declared<'f>(&self, file: &'f Topology, key: ServerKey) -> Result<(&'f Arc<Farm>, &'f Arc<Server>), String> {
        let farm = file.farm(key.farm);
        let found = farm.and_then(|farm| Some((farm, farm.servers.iter().find(|server| server.id == key.server)?)));
        found.ok_or_else(|| format!("invariant (10) the table has what is declared: {key:?} is not"))
    }

    /// The weight that the agent leaves, as far as being 0 goes.
    fn weighs(&self, key: ServerKey, declared: &Server) -> bool {
        let agent = self.naive.get(&key).and_then(|(_, naive)| naive.agent.weight);
        let own = self.wanted.weight(key, declared) > Weight(0);
        match agent {
            Some(AgentWeight::Percent(percent)) => own && percent > 0,
            Some(AgentWeight::Weight(weight)) => weight > Weight(0),
            None => own,
        }
    }

    /// The admin status that operator and agent want.
    fn admin(&self, key: ServerKey, declared: &Server) -> AdminStatus {
        let asked = self.naive.get(&key).and_then(|(_, naive)| naive.agent.admin).unwrap_or(AdminStatus::Active);
        let strictness = |admin: &AdminStatus| match admin {
            AdminStatus::Active => 0,
            AdminStatus::Drain => 1,
            AdminStatus::Maintenance => 2,
        };
        [self.wanted.admin(key, declared), asked].into_iter().max_by_key(strictness).unwrap_or(asked)
    }

    /// Whether the server would take work if its health allowed it, by what operators and agents said.
    fn is_willing(&self, key: ServerKey, declared: &Server, entry: &ServerEntry) -> bool {
        self.admin(key, declared) == AdminStatus::Active && self.weighs(key, declared) && entry.addr.is_some()
    }

    pub(crate) fn checked(&mut self, table: &Table, whose: (ServerKey, ProbeSlot, Epoch), record: &Arc<CheckRecord>) {
        let (key, slot, epoch) = whose;
        let is_present = position(table, key).is_some_and(|(farm, at)| farm.servers[at].epoch == epoch);
        if let Some((_, naive)) = self.naive.get_mut(&key).filter(|_| is_present) {
            naive.record(slot, record);
        }
        self.is_stale = true;
    }

    pub(crate) fn clock_was_set(&mut self, mono: u64) {
        for (ends, longest) in self.ends.values_mut() {
            *ends = mono + micros(*longest + SAMPLE);
        }
        self.held.values_mut().for_each(|since| *since = mono + micros(SAMPLE));
        self.warm.clear();
        self.grows_from = mono + micros(SAMPLE);
    }

    pub(crate) fn about_to_tick(&mut self, now: Timestamp) {
        self.in_question.extend(self.wanted.ended(now));
    }

    pub(crate) fn ticked(&mut self, now: Timestamp, is_alive: bool) {
        if is_alive {
            let ended = self.wanted.ended(now);
            self.undropped.extend(&ended);
            self.wanted.drop_all(&ended);
            self.in_question.clear();
            self.is_stale = true;
            self.ticked = Some(now);
        }
    }

    /// Follows a new file: what is unchanged goes on, by its thresholds of now; what is new or another begins afresh.
    pub(crate) fn reloaded(&mut self, file: &Topology, table: &Table, mono: u64) {
        for (key, farm, server) in servers(file) {
            let print = fingerprint(farm, server);
            match self.naive.get_mut(&key) {
                Some((known, naive)) if *known == print => naive.retune(farm),
                Some(_) | None => drop(self.naive.insert(key, (print, Naive::new(farm, server, None)))),
            }
            if let Some((ends, longest)) = self.ends.get_mut(&Timed::Warmup(key)) {
                *longest = farm.slow_start;
                *ends = mono + micros(*longest) + TICK_US;
            }
        }
        self.serving.retain(|farm, _| table.farm(*farm).is_some());
        self.ends.retain(|timed, _| match timed {
            Timed::Ejection(key) | Timed::Hold(key) | Timed::Warmup(key) => position(table, *key).is_some(),
            Timed::Incident => true,
        });
        self.held.retain(|key, _| position(table, *key).is_some());
        self.warm.clear();
        self.is_stale = true;
    }

    /// An earlier process is over: what it answered for must be there.
    pub(crate) fn restarted(&mut self, left: Left, now: Timestamp) -> Held {
        let fields: BTreeSet<_> = self.wanted.0.keys().chain(left.overrides.keys()).copied().collect();
        for field in fields {
            let (kept, wanted) = (left.overrides.get(&field), self.wanted.0.get(&field));
            let is_excused = self.in_question.contains(&field) || (wanted.is_none() && self.undropped.contains(&field));
            must!(
                kept == wanted || is_excused,
                "(4) an answer survives any crash",
                "{field:?}: kept {kept:?}, answered {wanted:?} at {now}"
            );
        }
        for (key, (to, at)) in &left.led_to {
            let saved = left.healths.get(key);
            let is_down = |agent: &Arc<AgentSays>| agent.health == Some(AgentHealth::Down);
            let led_to = |saved: &SavedHealth| {
                if saved.agent.as_ref().is_some_and(is_down) { Health::Down } else { saved.health }
            };
            let is_kept = saved.is_some_and(|saved| led_to(saved) == *to || saved.since != *at);
            must!(is_kept, "(4) a durable transition is remembered", "{key:?} {to:?}: {saved:?}");
        }
        let (overrides, heard) = (Wanted(left.overrides), std::mem::take(&mut self.heard));
        *self = Self { wanted: overrides, last_event: self.last_event, heard, ..Self::default() };
        self.saved = left.healths;
        Ok(())
    }

    /// A process began with this file.
    pub(crate) fn began(&mut self, file: &Topology) {
        let saved = std::mem::take(&mut self.saved);
        for (key, farm, server) in servers(file) {
            let print = fingerprint(farm, server);
            let known = saved.get(&key).filter(|saved| saved.fingerprint == print);
            self.naive.insert(key, (print, Naive::new(farm, server, known)));
        }
    }

    /// Looks at the table and at what was told since the last time.
    pub(crate) fn look(
        &mut self,
        file: &Topology,
        table: &Table,
        open: &Open,
        events: &[Arc<Event>],
        closed: Vec<(ServerKey, u64)>,
        (mono, _wall): (u64, Timestamp),
    ) -> Held {
        let is_new = self.looked_at != Some(table.generation.0);
        if !is_new && !self.is_stale && events.is_empty() {
            return Ok(());
        }
        let begun = self.meet(table);
        let mut closed = closed;
        for event in events {
            self.hear(event, file, &mut closed, open, &begun, mono)?;
        }
        for farm in &table.farms {
            self.look_at_farm(file, farm, mono)?;
        }
        for (timed, (ends, longest)) in &self.ends {
            must!(mono <= *ends, "(8) what ends by time ends in time", "{timed:?} of {longest:?}, now {mono}");
        }
        if let Some(now) = self.ticked.take() {
            self.look_at_drains(file, open, now)?;
        }
        (self.looked_at, self.is_stale) = (Some(table.generation.0), false);
        Ok(())
    }

    fn look_at_farm(&mut self, file: &Topology, farm: &FarmTable, mono: u64) -> Held {
        let id = farm.farm.id;
        let told = self.serving.get(&id).copied();
        let serving = farm.rotation.serving.as_str();
        must!(
            told == Some(serving),
            "(5) how a farm serves was told",
            "{} serves {serving}, told {told:?}",
            farm.farm.name
        );
        let mut willing = Vec::new();
        for (at, entry) in farm.servers.iter().enumerate() {
            let key = ServerKey { farm: id, server: entry.server.id };
            let (_, declared) = self.declared(file, key)?;
            self.look_at_server(key, declared, entry, mono)?;
            if self.is_willing(key, declared, entry) {
                willing.push((at, entry));
            }
            let is_in = farm.rotation.holds(at);
            let is_willing = self.is_willing(key, declared, entry);
            must!(!is_in || is_willing, "(1) nobody is in rotation who may take no work", "{at} of {farm:#?}");
        }
        look_at_rotation(farm, &willing)
    }

    fn look_at_server(&mut self, key: ServerKey, declared: &Server, entry: &ServerEntry, mono: u64) -> Held {
        let name = &entry.server.name;
        let (admin, weight) = (self.wanted.admin(key, declared), self.wanted.weight(key, declared));
        let is_wanted = (entry.server.admin, entry.server.weight) == (admin, weight);
        let server = &entry.server;
        must!(is_wanted, "(4) orders and weights are as answered", "{name} wants {admin:?} {weight}: {server:?}");
        let standing = &entry.standing;
        let Some((_, naive)) = self.naive.get(&key) else {
            return Err(format!("bug of the simulation: nothing known of {key:?}"));
        };
        let (health, progress) = (naive.health(), naive.progress());
        must!(
            health == standing.health,
            "(3) health is what the checks say",
            "{name} {health:?}: {standing:?} {naive:?}"
        );
        let is_same = progress == (standing.progress.have, standing.progress.need);
        must!(is_same, "(3) progress is what the checks say", "{name} {progress:?}: {standing:?} {naive:?}");
        let told = self.told.get(&key).copied().unwrap_or_else(|| Told::of(entry));
        let is = Told::of(entry);
        // A transition is told with the check that decided: before the first there is none, only another quorum.
        let told = if !naive.is_checked { Told { health: is.health, ..told } } else { told };
        self.told.insert(key, told);
        must!(told.health == is.health, "(5) every transition was told", "{name} told {told:?}: is {is:?}");
        let is_told =
            (told.is_ejected, told.is_held_down, told.is_suspect) == (is.is_ejected, is.is_held_down, is.is_suspect);
        must!(is_told, "(5) every change of standing was told", "{name} told {told:?}: is {is:?}");
        for (timed, longest) in [
            (Timed::Ejection(key), standing.ejected.map(|ejection| ejection.until.since(ejection.since))),
            (Timed::Hold(key), standing.held_until.map(|_| HOLD_MAX)),
            (Timed::Warmup(key), standing.warmup.map(|warm| warm.until.since(warm.since))),
        ] {
            if let Some(longest) = longest {
                // One that began before this process, or this return of the server.
                self.ends.entry(timed).or_insert_with(|| (mono + micros(longest + SAMPLE), longest));
            } else {
                self.ends.remove(&timed);
            }
        }
        self.look_at_warmup(key, entry, mono)?;
        self.look_at_hold(key, entry, mono)
    }

    fn look_at_warmup(&mut self, key: ServerKey, entry: &ServerEntry, mono: u64) -> Held {
        let Some(warm) = entry.standing.warmup else {
            self.warm.remove(&key);
            return Ok(());
        };
        let before = self.warm.insert(key, (warm.since, warm.percent)).filter(|(since, _)| *since == warm.since);
        let has_grown = before.is_none_or(|(_, percent)| percent <= warm.percent) || mono < self.grows_from;
        must!(has_grown, "(6) a slow start only grows", "{before:?}: {warm:?}");
        must!((1..=99).contains(&warm.percent), "(6) a slow start is between nothing and all", "{warm:?}");
        Ok(())
    }

    fn look_at_hold(&mut self, key: ServerKey, entry: &ServerEntry, mono: u64) -> Held {
        if entry.held.is_none() || entry.standing.progress.have > 0 {
            self.held.remove(&key);
            return Ok(());
        }
        must!(entry.standing.health == Health::Down, "(8) only who is Down is held", "{entry:?}");
        let since = *self.held.entry(key).or_insert(mono);
        let longest = micros(self.hold_max) + TICK_US;
        must!(
            mono.saturating_sub(since) <= longest,
            "(8) nobody is held for longer than the hold",
            "since {since}: {entry:?}"
        );
        Ok(())
    }

    /// Whoever is drained beyond its deadline has nothing open, where the operator said that it is closed: what the
    /// file says may have changed since.
    fn look_at_drains(&self, file: &Topology, open: &Open, now: Timestamp) -> Held {
        for ((key, field), made) in &self.wanted.0 {
            let Ok((farm, declared)) = self.declared(file, *key) else { continue };
            let admin = self.wanted.admin(*key, declared);
            if *field != Field::Admin || admin == AdminStatus::Active {
                continue;
            }
            let by_rule = farm.drain.deadline.filter(|_| admin == AdminStatus::Drain).map(|after| made.act.at + after);
            let deadline = made.terms.deadline.or(by_rule);
            let closes = made.terms.at_deadline == Some(Leftovers::Close);
            if closes && deadline.is_some_and(|deadline| deadline <= now) && admin == AdminStatus::Drain {
                let n = open.count(*key);
                must!(n == 0, "(6) nothing is left over after the deadline", "{n} open on {key:?}, {made:?}");
            }
        }
        Ok(())
    }

    /// Looks at one piece of work that a server is given.
    pub(crate) fn look_at_work(&self, file: &Topology, table: &Table, farm: &FarmTable, at: usize) -> Held {
        let entry = &farm.servers[at];
        let key = ServerKey { farm: farm.farm.id, server: entry.server.id };
        let (_, declared) = self.declared(file, key)?;
        let admin = self.wanted.admin(key, declared);
        let is_willing = self.is_willing(key, declared, entry);
        let generation = table.generation;
        must!(is_willing, "(1) no work for who may take none", "{key:?} {admin:?} in table {generation}: {entry:?}");
        let is_excused = entry.held.is_some() || farm.rotation.serving.as_str() == "fail_open";
        let naive = self.naive.get(&key).map(|(_, naive)| naive.health());
        let is_bad = matches!(naive, Some(Health::Down | Health::Stopping));
        must!(!is_bad || is_excused, "(1) no work for who is Down", "{key:?}: {entry:?}");
        Ok(())
    }

    pub(crate) fn look_at_sticky_work(&self, file: &Topology, farm: &FarmTable, at: usize) -> Held {
        let entry = &farm.servers[at];
        let key = ServerKey { farm: farm.farm.id, server: entry.server.id };
        let (_, declared) = self.declared(file, key)?;
        let is_out = self.admin(key, declared) == AdminStatus::Maintenance || used_as(entry) == Health::Down;
        must!(!is_out, "(1) nobody goes back to who is out", "{key:?}: {entry:?}");
        Ok(())
    }
}

/// Who is in rotation and why.
fn look_at_rotation(farm: &FarmTable, willing: &[(usize, &ServerEntry)]) -> Held {
    let rotation = &farm.rotation;
    let serves = !rotation.eligible.is_empty();
    let is_of = |role: Role| move |(_, entry): &&(usize, &ServerEntry)| entry.server.role == role;
    let good = || willing.iter().filter(|(_, entry)| is_good(entry));
    must!(serves || good().count() == 0, "(2) a farm with somebody good serves", "{farm:#?}");
    let fails_open = farm.farm.fail_open != FailOpen::Never;
    must!(serves || willing.is_empty() || !fails_open, "(2) failing open leaves no farm empty", "{farm:#?}");
    for (at, _) in good().filter(is_of(Role::Primary)) {
        must!(rotation.holds(*at), "(2) every good primary serves", "{at} of {farm:#?}");
    }
    for (at, entry) in willing.iter().filter(|(at, _)| rotation.holds(*at)) {
        let is_by_need = rotation.serving.as_str() == "fail_open";
        let used = used_as(entry);
        let is_bad = matches!(used, Health::Down | Health::Stopping);
        must!(!is_bad || is_by_need, "(1) nobody bad is in rotation unless the farm fails open", "{at} of {farm:#?}");
        let is_first = used != Health::Unknown || good().count() == 0 || is_by_need;
        must!(is_first, "(1) nobody unproven is in rotation while somebody is good", "{at} of {farm:#?}");
        let spare = entry.server.role == Role::Backup && good().any(|pair| is_of(Role::Primary)(&pair)) && !is_by_need;
        must!(!spare, "(1) no backup is in rotation while a primary is good", "{at} of {farm:#?}");
    }
    if rotation.serving.as_str() == "fail_open" {
        let able = willing.iter().filter(|(_, entry)| is_good(entry) || used_as(entry) == Health::Unknown).count();
        let is_right = match farm.farm.fail_open {
            FailOpen::Below(least) => able < usize::from(least),
            FailOpen::BelowShare(percent) => able * 100 < willing.len() * usize::from(percent),
            FailOpen::Never => false,
            FailOpen::WhenAllDown => able == 0,
        };
        must!(is_right, "(1) a farm fails open by its rule only", "{able}: {farm:#?}");
    }
    Ok(())
}

fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}
