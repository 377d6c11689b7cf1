//! The data plane: work comes, is given to servers, fails, ends, is cut.

use std::net::IpAddr;
use std::sync::Arc;

use farmgate::farm::choose::Key;
use farmgate::farm::{FarmTable, Tried};
use farmgate::metrics::WorkerIx;
use farmgate::model::{AdminStatus, PeerAddr, ServerKey, TrafficFault};

use super::{Moment, WORKERS, World};
use crate::sessions::Session;
use crate::{Held, Sabotage, must};

impl World {
    /// A piece of work comes: it is given to a server as the data plane does it, with retries.
    pub(super) fn work(&mut self) -> Held {
        let table = Arc::clone(&self.store.load());
        let Some(farm) = self.chance.pick(&table.farms).map(Arc::clone) else { return Ok(()) };
        if self.chance.one_in(5) {
            return self.sticky_work(&farm);
        }
        let worker = usize::try_from(self.chance.below(WORKERS as u64)).unwrap();
        let source = IpAddr::from([192, 0, 2, u8::try_from(self.chance.below(256)).unwrap()]);
        let key = Key { source, uri: Some(b"/sim") };
        let mut tried = Tried::none();
        for _ in 0..=farm.farm.retry_attempts {
            let ruined = self.ruined_choice(&farm);
            let chosen = ruined.or_else(|| self.workers[worker].choose(&farm, key, &tried, self.mono / 1000));
            let Some(position) = chosen else {
                let is_served = !farm.rotation.eligible.is_empty();
                must!(!is_served || !tried.is_empty(), "(2) somebody in rotation is chosen", "{:?}", farm.rotation);
                return Ok(());
            };
            must!(!tried.contains(position), "(1) a retry goes to another server", "{position}");
            self.watch.look_at_work(&self.file, &table, &farm, position)?;
            tried.add(position);
            if self.begin_work(&farm, position, worker) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// A choice that the rotation would not make, where a test wants one.
    fn ruined_choice(&mut self, farm: &FarmTable) -> Option<usize> {
        let is_ruined = self.sabotage == Some(Sabotage::MaintenanceIgnored) && self.chance.one_in(8);
        let position =
            |farm: &FarmTable| farm.servers.iter().position(|entry| entry.admin() == AdminStatus::Maintenance);
        if is_ruined { position(farm) } else { None }
    }

    /// A client comes back to the server that it had.
    fn sticky_work(&mut self, farm: &Arc<FarmTable>) -> Held {
        let position = usize::try_from(self.chance.below(farm.servers.len() as u64)).unwrap();
        if farm.servers.get(position).is_some_and(|entry| entry.takes_sticky()) {
            self.watch.look_at_sticky_work(&self.file, farm, position)?;
            self.begin_work(farm, position, 0);
        }
        Ok(())
    }

    /// Gives the work to the server; returns false if that cannot be connected to.
    fn begin_work(&mut self, farm: &Arc<FarmTable>, position: usize, worker: usize) -> bool {
        let entry = &farm.servers[position];
        let Some(addr) = entry.addr.as_ref().and_then(PeerAddr::ip) else { return false };
        let fault = self.network.work(addr.ip(), self.mono);
        if fault == Some(TrafficFault::Connect) {
            self.judge(farm, position, worker, fault);
            return false;
        }
        self.workers[worker].started(farm, position);
        let server = ServerKey { farm: farm.farm.id, server: entry.server.id };
        self.last_number += 1;
        let id = self.last_number;
        self.open.begin(id, Session { server, worker, live: Arc::clone(&entry.live) });
        let longest = self.chance.any([30, 300, 1_500, 8_000]);
        self.later(longest, Moment::SessionEnds(id));
        self.judge(farm, position, worker, fault.filter(|_| longest < 1_000));
        true
    }

    /// As the data plane counts what goes well and what does not.
    fn judge(&mut self, farm: &FarmTable, position: usize, worker: usize, fault: Option<TrafficFault>) {
        let entry = &farm.servers[position];
        let worker = WorkerIx(worker);
        let Some(kind) = fault else { return entry.live.traffic.went_well(worker) };
        let errors = entry.live.traffic.failed(worker);
        let Some(observe) = farm.farm.observe else { return };
        if errors.is_multiple_of(u32::from(observe.errors.max(1))) {
            self.faults.push((ServerKey { farm: farm.farm.id, server: entry.server.id }, errors, kind));
            self.keeper_at = self.mono;
        }
    }

    pub(super) fn end_work(&mut self, id: u64) {
        if let Some(session) = self.open.end(id) {
            self.count_out(&session);
        }
    }

    /// Counts out what the Store closed.
    pub(super) fn reap(&mut self) {
        for session in self.open.take_cut() {
            self.count_out(&session);
        }
    }

    fn count_out(&mut self, session: &Session) {
        let Session { server, worker, live } = session;
        self.workers[*worker].ended(server.farm, server.server, live);
    }
}
