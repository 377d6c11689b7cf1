//! The whole machine under a virtual clock: the real Store, schedule, rotation and choosers, with everything around
//! them played from one seed.
//!
//! Time is `mono`, microseconds since the simulation began, and only grows; the wall clock is that and an offset that
//! jumps. A turn is the next thing to happen: a check that begins or ends, the keeper waking up, the journal writing,
//! work, an operator, a reload, the network, a crash. After each, everything that must hold is looked at.

mod work;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use farmgate::farm::{Choosers, FarmTable};
use farmgate::health::{RunEnd, Ticket};
use farmgate::metrics::WorkerIx;
use farmgate::model::{
    CheckRecord, Checked, Content, Epoch, Event, Frontend, Host, ServerKey, Timestamp, Topology, TrafficFault,
};
use farmgate::store::{
    ChangeError, Journal, ListenerHost, OpenError, PreparedListeners, ReloadError, SNAPSHOT_AGE_US_MAX, Store, Table,
};

use super::chance::Chance;
use super::declared::{self, ms, servers};
use super::journal::Disk;
use super::operator;
use super::prober::Prober;
use super::servers::{Answer, Network};
use super::sessions::Open;
use super::watch::Watch;
use super::{Held, Sabotage, must};

/// The wall clock when the simulation begins.
const BEGAN: u64 = 1_750_000_000_000_000;
const WORKERS: usize = 2;
/// How often the keeper samples, and so its longest sleep.
pub(crate) const SAMPLE: Duration = Duration::from_secs(5);
/// How long the journal's writer may take.
const WRITE_US_MAX: u64 = 100_000;

/// Something to come.
#[derive(Clone, Debug)]
enum Moment {
    CheckEnds(Ticket, Answer),
    ClockJump,
    Crash,
    DiskTurns,
    Network,
    Operator,
    Reload,
    Resolves(ServerKey, Epoch, SocketAddr),
    SessionEnds(u64),
    Work,
    Writes,
}

struct AnyHost;

impl ListenerHost for AnyHost {
    fn prepare(&self, _frontends: &[Arc<Frontend>]) -> Result<Box<dyn PreparedListeners>, Vec<OpenError>> {
        Ok(Box::new(Self))
    }
}

impl PreparedListeners for AnyHost {
    fn commit(self: Box<Self>) {}
}

/// See the module's doc.
pub(crate) struct World {
    pub(crate) step: u32,
    pub(crate) mono: u64,
    offset: i64,
    chance: Chance,
    sabotage: Option<Sabotage>,
    is_traced: bool,
    coming: BTreeMap<(u64, u64), Moment>,
    last_number: u64,
    file: Topology,
    disk: Arc<Disk>,
    told: Arc<Mutex<Vec<Arc<Event>>>>,
    open: Arc<Open>,
    store: Store,
    workers: Vec<Choosers>,
    prober: Prober,
    network: Network,
    keeper_at: u64,
    sample_at: Timestamp,
    faults: Vec<(ServerKey, u32, TrafficFault)>,
    turns_at_once: u32,
    viewed_at: Timestamp,
    watch: Watch,
}

/// Returns a process that opens what an earlier one left.
fn process(disk: &Arc<Disk>, told: &Arc<Mutex<Vec<Arc<Event>>>>, open: &Arc<Open>) -> Result<Store, String> {
    let told = Arc::clone(told);
    // A process that is dead tells nothing.
    let listener = Arc::clone(disk);
    let sink = move |event: &Arc<Event>| {
        if !listener.is_dead() {
            told.lock().unwrap().push(Arc::clone(event));
        }
    };
    let journal = Arc::clone(disk) as Arc<dyn Journal>;
    let store = Store::new(declared::service(), WORKERS, journal, vec![Box::new(sink)]);
    let store = store.map_err(|error| format!("bug of the simulation: {error}"))?;
    store.set_sessions(Arc::clone(open) as Arc<_>);
    Ok(store)
}

impl World {
    pub(crate) fn new(seed: u64, sabotage: Option<Sabotage>, is_traced: bool) -> Result<Self, String> {
        let mut chance = Chance::new(seed);
        let file = declared::first(&mut chance);
        let (disk, told, open) = (Disk::new(Chance::new(chance.bits()), sabotage), Arc::default(), Arc::default());
        let store = process(&disk, &told, &open)?;
        let mut world = Self {
            step: 0,
            mono: 0,
            offset: 0,
            sabotage,
            is_traced,
            coming: BTreeMap::new(),
            last_number: 0,
            file,
            disk,
            told,
            open,
            store,
            workers: Vec::new(),
            prober: Prober::new(1, 0, sabotage),
            network: Network::default(),
            keeper_at: 0,
            sample_at: Timestamp(BEGAN) + SAMPLE,
            faults: Vec::new(),
            turns_at_once: 0,
            viewed_at: Timestamp(0),
            watch: Watch::default(),
            chance,
        };
        world.begin_process()?;
        for (moment, up_to) in [
            (Moment::ClockJump, 20_000),
            (Moment::Crash, 15_000),
            (Moment::DiskTurns, 15_000),
            (Moment::Network, 3_000),
            (Moment::Operator, 1_000),
            (Moment::Reload, 4_000),
            (Moment::Work, 100),
        ] {
            world.later(up_to, moment);
        }
        Ok(world)
    }

    pub(crate) fn wall(&self) -> Timestamp {
        Timestamp(BEGAN.saturating_add_signed(self.offset) + self.mono)
    }

    /// Takes one turn and looks at everything.
    pub(crate) fn turn(&mut self) -> Held {
        self.step += 1;
        let before = self.mono;
        self.next()?;
        self.turns_at_once = if self.mono == before { self.turns_at_once + 1 } else { 0 };
        must!(self.turns_at_once < 300, "(11) time goes on", "{} turns at one instant", self.turns_at_once);
        self.reap();
        if self.disk.is_dead() {
            self.trace("the process is dead");
            return self.restart(true);
        }
        let events = std::mem::take(&mut *self.told.lock().unwrap());
        if !events.is_empty() {
            self.keeper_at = self.mono;
        }
        let table = Arc::clone(&self.store.load());
        let (mono, wall) = (self.mono, self.wall());
        let closed = self.open.take_closed();
        self.watch.look(&self.file, &table, &self.open, &events, closed, (mono, wall))?;
        // A snapshot may be shared for a while; what is compared here is to be of this instant.
        if wall.0.abs_diff(self.viewed_at.0) >= SNAPSHOT_AGE_US_MAX && self.chance.one_in(24) {
            self.viewed_at = wall;
            let snapshot = self.store.snapshot(wall);
            self.watch.look_at_views(&self.file, &snapshot, &table, &self.open, &mut self.chance)?;
        }
        if let Some((before, id)) = self.disk.out_of_order() {
            return Err(format!("invariant (5) durable events are in order: {id} follows {before}"));
        }
        Ok(())
    }

    fn trace(&self, what: impl std::fmt::Display) {
        if self.is_traced {
            eprintln!("{:>5} {:>11} µs {}  {what}", self.step, self.mono, self.wall());
        }
    }

    fn at(&mut self, at: u64, moment: Moment) {
        self.last_number += 1;
        self.coming.insert((at, self.last_number), moment);
    }

    fn later(&mut self, up_to_ms: u64, moment: Moment) {
        let at = self.mono + self.chance.between(1, up_to_ms * 1000);
        self.at(at, moment);
    }

    fn now(&self) -> Duration {
        Duration::from_micros(self.mono)
    }

    /// Lets the next thing happen.
    fn next(&mut self) -> Held {
        let coming = self.coming.first_key_value().map_or(u64::MAX, |((at, _), _)| *at);
        let due = self.prober.next_due();
        let check = due.map_or(u64::MAX, |due| u64::try_from(due.as_nanos().div_ceil(1000)).unwrap());
        let next = coming.min(check).min(self.keeper_at).max(self.mono);
        self.mono = next;
        if self.keeper_at <= next {
            return self.keep();
        }
        if check <= next {
            return self.begin_checks();
        }
        let Some((_, moment)) = self.coming.pop_first() else { return Ok(()) };
        self.take(moment)
    }

    fn take(&mut self, moment: Moment) -> Held {
        match moment {
            Moment::CheckEnds(ticket, answer) => self.end_checks(ticket, answer)?,
            Moment::ClockJump => {
                let far = self.chance.any([400, 4_000, 60_000, 7_200_000]);
                let by = i64::try_from(self.chance.between(1, far * 1000)).unwrap();
                let by = if self.chance.one_in(2) { by } else { -by };
                self.offset += by;
                self.trace(format_args!("the clock is set by {by} µs"));
                self.watch.clock_was_set(self.mono);
                self.later(20_000, Moment::ClockJump);
            }
            Moment::Crash => {
                self.later(15_000, Moment::Crash);
                if self.chance.one_in(2) {
                    let rows = self.chance.between(1, 8);
                    self.trace(format_args!("will die after {rows} rows"));
                    self.disk.die_after(rows);
                } else {
                    let is_crash = !self.chance.one_in(3);
                    self.trace(if is_crash { "the process is killed" } else { "the process is restarted" });
                    return self.restart(is_crash);
                }
            }
            Moment::DiskTurns => {
                let is_refusing = !self.disk.is_refusing() && self.chance.one_in(2);
                self.trace(format_args!("the disk refuses: {is_refusing}"));
                self.disk.refuse(is_refusing);
                self.later(if is_refusing { 1_000 } else { 15_000 }, Moment::DiskTurns);
            }
            Moment::Network => {
                let ips = self.ips();
                let what = self.network.happens(&ips, &mut self.chance);
                self.trace(format_args!("network: {what}"));
                self.later(3_000, Moment::Network);
            }
            Moment::Operator => {
                self.later(1_500, Moment::Operator);
                self.operate()?;
            }
            Moment::Reload => {
                self.later(6_000, Moment::Reload);
                let edited = declared::edited(&self.file, &mut self.chance);
                self.reload(edited)?;
            }
            Moment::Resolves(server, epoch, addr) => {
                self.trace(format_args!("{server:?} is at {addr}"));
                self.store.resolved(server, epoch, Some(addr), self.wall());
                self.retarget()?;
            }
            Moment::SessionEnds(id) => self.end_work(id),
            Moment::Work => {
                self.later(150, Moment::Work);
                self.work()?;
            }
            Moment::Writes => self.disk.write(),
        }
        self.note_writes();
        Ok(())
    }

    /// What was noted is written some time later.
    fn note_writes(&mut self) {
        let is_coming = self.coming.values().any(|moment| matches!(moment, Moment::Writes));
        if self.disk.is_behind() && !is_coming {
            let at = self.mono + self.chance.between(1, WRITE_US_MAX);
            self.at(at, Moment::Writes);
        }
    }

    fn ips(&self) -> Vec<IpAddr> {
        let table = self.store.load();
        table
            .farms
            .iter()
            .flat_map(|farm| farm.servers.iter().filter_map(|entry| Some(entry.addr.as_ref()?.ip()?.ip())))
            .collect()
    }

    /// The keeper's turn, as `app` has it.
    fn keep(&mut self) -> Held {
        let now = self.wall();
        let faults = std::mem::take(&mut self.faults);
        self.trace(format_args!("the keeper looks up, {} faults", faults.len()));
        for (server, errors, kind) in faults {
            self.store.traffic_failed(server, errors, kind, now);
        }
        self.watch.about_to_tick(now);
        if self.store.tick(now).is_err() {
            must!(self.disk.is_refusing() || self.disk.is_dead(), "(11) a tick fails with the disk only", "");
        }
        self.watch.ticked(now, !self.disk.is_dead());
        if now >= self.sample_at || self.sample_at.since(now) > SAMPLE {
            self.store.sample_traffic(now);
            self.sample_at = now + SAMPLE;
        }
        let due = self.store.next_due();
        must!(due.is_none_or(|due| due > now), "(11) what is due next is to come", "{due:?} at {now:?}");
        let next = due.map_or(self.sample_at, |due| due.min(self.sample_at));
        let sleep = next.since(now).min(SAMPLE);
        self.keeper_at = self.mono + u64::try_from(sleep.as_micros()).unwrap().max(1);
        self.note_writes();
        Ok(())
    }

    fn begin_checks(&mut self) -> Held {
        for (ticket, ip, probe) in self.prober.start(self.now())? {
            let answer = self.network.check(ip, &probe, self.mono, &mut self.chance);
            let ends = self.mono + u64::try_from(answer.took.as_micros()).unwrap();
            self.at(ends, Moment::CheckEnds(ticket, answer));
        }
        Ok(())
    }

    /// Takes a check that ended and, now and then, those that end right after it: one batch.
    fn end_checks(&mut self, ticket: Ticket, answer: Answer) -> Held {
        let mut ended = vec![(ticket, answer, self.mono)];
        if self.chance.one_in(3) {
            let until = self.mono + 20_000;
            let more: Vec<_> =
                self.coming.range(..=(until, u64::MAX)).map(|(at, moment)| (*at, moment.clone())).collect();
            for (at, moment) in more {
                if let Moment::CheckEnds(ticket, answer) = moment {
                    self.coming.remove(&at);
                    ended.push((ticket, answer, at.0));
                }
            }
        }
        let table = Arc::clone(&self.store.load());
        let mut checked = Vec::new();
        for (ticket, answer, at) in ended {
            self.mono = self.mono.max(at);
            let Answer { status, code, took, agent } = answer;
            let is_hung = status.as_str().ends_with("TOUT");
            let end = if is_hung { RunEnd::Hung } else { RunEnd::Prompt };
            let Some((check, next_due)) = self.prober.finish(ticket, self.now(), end)? else { continue };
            let next_at = self.wall() + next_due.saturating_sub(self.now());
            let record = CheckRecord::new(status, code, Content::from_text("sim"), self.wall(), took);
            let record = Arc::new(CheckRecord { agent, ..record });
            self.trace(format_args!("{:?} {:?}: {status:?} {:?}", check.server, check.slot, record.agent));
            self.watch.checked(&table, (check.server, check.slot, check.epoch), &record);
            checked.push(Checked { server: check.server, slot: check.slot, epoch: check.epoch, record, next_at });
        }
        let paced = self.store.observe(checked);
        self.prober.pace(&paced)
    }

    fn operate(&mut self) -> Held {
        let now = self.wall();
        let Some((change, act)) = operator::act(&self.file, now, &mut self.chance) else { return Ok(()) };
        self.trace(format_args!("{change:?}"));
        self.watch.in_question.insert((change.target, change.wish.field()));
        let outcome = self.store.change(&change, act.clone());
        if self.disk.is_dead() {
            return Ok(());
        }
        self.watch.in_question.clear();
        let is_refusing = self.disk.is_refusing();
        let declared = servers(&self.file).find(|(key, _, _)| *key == change.target).map(|(_, _, server)| server);
        match (outcome, declared) {
            (Ok(()), Some(declared)) => self.watch.wanted.changed(&change, declared, act),
            (Err(ChangeError::Journal(_)), _) if is_refusing => {}
            (Err(ChangeError::Reserve { .. }), _) if change.reserve == farmgate::model::Reserve::Kept => {}
            (outcome, _) => return Err(format!("invariant (4) a change is made or refused for a reason: {outcome:?}")),
        }
        Ok(())
    }

    fn reload(&mut self, file: Topology) -> Held {
        self.trace("reload");
        let stale = self.watch.wanted.stale(&file);
        self.watch.in_question.extend(&stale);
        match self.store.reload(file.clone(), &AnyHost, self.wall()) {
            _ if self.disk.is_dead() => {
                self.file = file;
                return Ok(());
            }
            Ok(()) => {
                self.watch.wanted.drop_all(&stale);
                self.watch.reloaded(&file, &self.store.load(), self.mono);
                self.file = file;
                self.retarget()?;
                self.workers.iter_mut().for_each(|worker| {
                    worker.forget_except(|farm| self.file.farm(farm).is_some());
                });
            }
            Err(ReloadError::Journal(_)) if self.disk.is_refusing() && !stale.is_empty() => {}
            Err(error) => return Err(format!("invariant (4) a reload is made or refused for a reason: {error}")),
        }
        self.watch.in_question.clear();
        Ok(())
    }

    fn retarget(&mut self) -> Held {
        let table = Arc::clone(&self.store.load());
        self.prober.retarget(&table, self.now())?;
        self.coming.retain(|_, moment| !matches!(moment, Moment::Resolves(..)));
        for farm in &table.farms {
            for entry in farm.servers.iter().filter(|entry| entry.addr.is_none()) {
                let key = ServerKey { farm: farm.farm.id, server: entry.server.id };
                let Host::Name(name) = &entry.server.address.host else { continue };
                let of = |at: usize| name.bytes().filter(u8::is_ascii_digit).nth(at).unwrap_or(b'0') - b'0';
                let ip = Ipv4Addr::new(10, 9, of(1), of(0));
                let addr = SocketAddr::new(ip.into(), entry.server.address.port);
                self.later(2_000, Moment::Resolves(key, entry.epoch, addr));
            }
        }
        Ok(())
    }

    /// One process ends, another one begins; the file may have been edited in between.
    fn restart(&mut self, is_crash: bool) -> Held {
        let left = self.disk.reopen(is_crash);
        self.told.lock().unwrap().clear();
        self.watch.restarted(left, self.wall())?;
        if self.chance.one_in(4) {
            self.file = declared::edited(&self.file, &mut self.chance);
        }
        self.begin_process()
    }

    /// Starts a process on what is durable, and looks at its first table.
    fn begin_process(&mut self) -> Held {
        self.open.clear();
        self.faults.clear();
        self.store = process(&self.disk, &self.told, &self.open)?;
        self.coming.retain(|_, moment| {
            !matches!(moment, Moment::CheckEnds(..) | Moment::SessionEnds(..) | Moment::Resolves(..) | Moment::Writes)
        });
        let stale = self.watch.wanted.stale(&self.file);
        let now = self.wall();
        let reloaded = self.store.reload(self.file.clone(), &AnyHost, now);
        reloaded.map_err(|error| format!("bug of the simulation: {error}"))?;
        self.watch.wanted.drop_all(&stale);
        self.watch.began(&self.file);
        let at_once = usize::try_from(self.chance.any([1, 3, 64, 64])).unwrap();
        self.prober = Prober::new(at_once, self.chance.bits(), self.sabotage);
        let seed = self.chance.bits();
        self.workers = (0..WORKERS).map(|n| Choosers::new(WorkerIx(n), seed)).collect();
        (self.keeper_at, self.sample_at) = (self.mono, now + SAMPLE);
        self.retarget()?;
        let table = Arc::clone(&self.store.load());
        let events = std::mem::take(&mut *self.told.lock().unwrap());
        self.watch.look(&self.file, &table, &self.open, &events, Vec::new(), (self.mono, now))?;
        self.note_writes();
        Ok(())
    }

    /// Returns the words of what was told so far.
    pub(crate) fn heard(&self) -> impl Iterator<Item = &'static str> {
        self.watch.heard.iter().copied()
    }

    /// Looks at everything once more, at the end.
    pub(crate) fn end(&mut self) -> Held {
        let (wall, table) = (self.wall(), Arc::clone(&self.store.load()));
        let snapshot = self.store.snapshot(self.viewed_at.max(wall) + ms(100));
        self.watch.look_at_all_views(&self.file, &snapshot, &table, &self.open)
    }
}

/// Where the server is in that table.
pub(crate) fn position(table: &Table, key: ServerKey) -> Option<(&Arc<FarmTable>, usize)> {
    let farm = table.farm(key.farm)?;
    Some((farm, farm.position(key.server)?))
}
