//! What is observed of servers, by checks and by their traffic → health, events, table.
//!
//! A check that changes nothing costs one look-up and a note to the journal.

use std::sync::Arc;

use crate::farm::ServerLive;
use crate::health::{Outcome, Seen, may_eject};
use crate::metrics::Cell;
use crate::model::{
    CheckRecord, CheckStatus, Checked, EventKind, Health, Leftovers, Pace, Paced, ProbeSlot, Progress, ServerKey,
    Timestamp, TrafficFault,
};

use super::Store;
use super::seams::Entry;
use super::state::{Row, State};
use super::tell::{Batch, ToldAs};

/// Samples without traffic that are looked at after one with some, so that what was said of it ends: no fewer than are
/// looked at together.
const QUIET_SAMPLES_MAX: u8 = 12;

/// What led to an [`Outcome`].
pub(super) struct Cause {
    /// When.
    pub(super) at: Timestamp,
    /// The check, if it was one.
    pub(super) check: Option<(ProbeSlot, Arc<CheckRecord>)>,
}

impl Cause {
    pub(super) fn time(at: Timestamp) -> Self {
        Self { at, check: None }
    }
}

impl Store {
    /// Takes in finished checks: one table for all of them. A check of a server that is gone, began anew or is no longer
    /// probed is dropped.
    ///
    /// Returns how often each is to be checked from now on.
    pub fn observe(&self, checked: Vec<Checked>) -> Vec<Paced> {
        let mut state = self.lock();
        let mut batch = Batch::default();
        let mut paces = Vec::with_capacity(checked.len());
        let mut now = Timestamp::default();
        for checked in checked {
            let (server, slot, at) = (checked.server, checked.slot, checked.record.at);
            if let Some(pace) = self.observe_one_of(&mut state, &mut batch, checked) {
                paces.push(Paced { server, slot, pace });
                now = now.max(at);
            }
        }
        self.finish(state, batch, now);
        paces
    }

    /// Takes in that so many pieces of work in a row failed on a server, the last one in this manner.
    pub fn traffic_failed(&self, server: ServerKey, errors: u32, kind: TrafficFault, now: Timestamp) {
        let mut state = self.lock();
        let may_eject = state.may_eject(server);
        let Some(row) = state.rows.get_mut(&server) else { return };
        row.live.traffic.forgive();
        let Some(health) = row.health.as_mut() else { return };
        let errors = u16::try_from(errors).unwrap_or(u16::MAX);
        let outcome = health.traffic_failed(&row.farm, errors, kind, may_eject, now);
        let mut batch = Batch::default();
        self.settle(&mut state, &mut batch, server, &outcome, Cause::time(now));
        self.finish(state, batch, now);
    }

    /// Takes in how the work of every server went since the last sample. For every 5 s.
    ///
    /// What is to end by the clock is looked at too, due or not: the clock may have been set back, or may have been
    /// ahead in an earlier process.
    pub fn sample_traffic(&self, now: Timestamp) {
        let mut state = self.lock();
        let mut batch = Batch::default();
        let tick = |(server, row): (&ServerKey, &mut Row)| {
            let health = row.health.as_mut().filter(|health| health.next_due().is_some())?;
            Some((*server, health.tick(&row.farm, now)))
        };
        let mut ticked: Vec<_> = state.rows.iter_mut().filter_map(tick).collect();
        ticked.sort_unstable_by_key(|(server, _)| *server);
        for (server, outcome) in ticked {
            self.settle(&mut state, &mut batch, server, &outcome, Cause::time(now));
        }
        let sample = |(server, row): (&ServerKey, &mut Row)| {
            let health = row.health.as_mut()?;
            let traffic = &row.live.traffic;
            let counted = (traffic.good.sum(Cell::value), traffic.bad.sum(Cell::value));
            let (good, bad) = (counted.0.saturating_sub(row.sampled.0), counted.1.saturating_sub(row.sampled.1));
            row.sampled = counted;
            row.quiet_samples = if good + bad > 0 { 0 } else { row.quiet_samples.saturating_add(1) };
            (row.quiet_samples <= QUIET_SAMPLES_MAX).then(|| (*server, health.traffic_sampled(good, bad, now)))
        };
        let mut outcomes: Vec<_> = state.rows.iter_mut().filter_map(sample).collect();
        outcomes.sort_unstable_by_key(|(server, _)| *server);
        for (server, outcome) in outcomes {
            self.settle(&mut state, &mut batch, server, &outcome, Cause::time(now));
        }
        self.finish(state, batch, now);
    }

    /// Counts a check and runs the machine; returns the pace from now on. Nothing, if the server is gone, another
    /// incarnation or not probed.
    fn observe_one_of(&self, state: &mut State, batch: &mut Batch, checked: Checked) -> Option<Pace> {
        let Checked { server, slot, epoch, record, next_at } = checked;
        let row = state.rows.get_mut(&server).filter(|row| row.epoch == epoch)?;
        let is_shadow = slot == ProbeSlot::SHADOW;
        let health = row.health.as_mut()?;
        let outcome = health.checked(slot, &record, next_at, record.at)?;
        let (counts, pace) = (health.counts(slot), health.pace(slot));
        self.journal.note(Entry::Check { server, brief: record.brief(slot) });
        if outcome.is_notable {
            self.journal.note(Entry::Evidence { server, slot, record: Arc::clone(&record) });
        }
        if is_shadow {
            return Some(pace);
        }
        count_check(&row.live, &record);
        let (before, after) = outcome.transition.unwrap_or((row.is, row.is));
        row.is = after;
        let is_quiet = outcome.transition.is_none() && outcome.changes.is_empty() && !outcome.is_visible;
        let is_settled = is_quiet && row.due == row.next_due();
        let told = state.unmade.checked(&row.farm, server, slot, &record);
        if counts {
            row.is_held_over = row.is_held_over && row.standing().progress.have > 0;
            if let Some((from @ (Health::Stopping | Health::Up), Health::Down)) = outcome.transition {
                row.worked_as = Some(from);
            }
            row.last_check = Some(Arc::clone(&record));
            let seen = Seen { server, slot, status: record.status, before, after };
            // An incident is called by the event that begins it, which is the next one.
            if let Some(change) = state.incidents.checked(seen, state.last_event_id + 1, record.at) {
                state.turn(batch, change);
            }
        }
        if let Some(told) = told {
            batch.push(state, told);
        }
        if !is_settled {
            self.settle(state, batch, server, &outcome, Cause { at: record.at, check: Some((slot, record)) });
        }
        Some(pace)
    }

    /// Does what follows from an outcome: events, what is kept, the table, the agenda.
    pub(super) fn settle(
        &self,
        state: &mut State,
        batch: &mut Batch,
        server: ServerKey,
        outcome: &Outcome,
        cause: Cause,
    ) {
        let incident = state.incidents.holding(server).map(|incident| incident.id);
        let Some(row) = state.rows.get_mut(&server) else { return };
        let mut kinds = Vec::new();
        if let Some((from, to)) = outcome.transition {
            (row.since, row.health_since) = (cause.at, cause.at);
            count_transition(&row.live, to);
            if to == Health::Down && incident.is_none() && row.on_down() == Leftovers::Close {
                batch.close(server, row, ToldAs::Nothing);
            }
            let decided = cause.check.or_else(|| Some((ProbeSlot::FIRST, row.last_check.clone()?)));
            kinds.extend(decided.map(|(slot, check)| EventKind::Transition {
                server,
                farm_name: row.farm.name.clone(),
                server_name: row.server.name.clone(),
                from,
                to,
                slot,
                check,
                chain: row.health.as_ref().map(|health| health.decided_by().to_vec()).unwrap_or_default(),
                progress: row.health.as_ref().map_or(Progress { have: 0, need: 0 }, |h| h.standing().progress),
                incident,
            }));
        }
        kinds.extend(outcome.changes.iter().map(|change| EventKind::StandingChanged {
            server,
            farm_name: row.farm.name.clone(),
            server_name: row.server.name.clone(),
            change: change.clone(),
        }));
        if (outcome.transition.is_some() || outcome.is_changed_within || !kinds.is_empty())
            && let Some(health) = &row.health
        {
            let saved = health.saved(server, row.fingerprint, row.health_since);
            self.journal.note(Entry::Health(Box::new(saved)));
        }
        if outcome.is_visible || !kinds.is_empty() {
            batch.show(server.farm);
        }
        state.reschedule(server);
        for kind in kinds {
            batch.push(state, kind);
        }
    }

    /// Tells a server's health that the operator gives it work again.
    pub(super) fn give_work_again(&self, state: &mut State, batch: &mut Batch, server: ServerKey, now: Timestamp) {
        let Some(row) = state.rows.get_mut(&server) else { return };
        let Some(health) = row.health.as_mut() else { return };
        let outcome = health.returned(&row.farm, now);
        self.settle(state, batch, server, &outcome, Cause::time(now));
    }
}

impl State {
    /// Returns whether the server's farm has room for one more that is taken out for what its traffic shows. Nobody is
    /// while the balancer suspects itself.
    fn may_eject(&self, server: ServerKey) -> bool {
        let Some(row) = self.rows.get(&server) else { return false };
        let Some(rule) = row.farm.observe else { return false };
        let is_ejected = |key: ServerKey| self.health_of(key).is_some_and(|health| health.standing().ejected.is_some());
        let others = row.farm.servers.iter().map(|other| ServerKey { server: other.id, ..server });
        let ejected = others.filter(|key| *key != server && is_ejected(*key)).count();
        let is_suspect = self.incidents.current().is_some_and(|incident| incident.farms.contains(&server.farm));
        !is_suspect && may_eject(&rule, row.farm.servers.len(), ejected)
    }
}

fn status_position(status: CheckStatus) -> usize {
    CheckStatus::ALL.iter().position(|s| *s == status).unwrap_or(0)
}

fn count_check(live: &ServerLive, record: &CheckRecord) {
    live.checks.by_status[status_position(record.status)].add(1);
    live.checks.duration.observe(record.duration);
}

fn count_transition(live: &ServerLive, to: Health) {
    match to {
        Health::Up => live.checks.to_up.add(1),
        Health::Down => live.checks.to_down.add(1),
        Health::Off | Health::Stopping | Health::Unknown => {}
    }
}
