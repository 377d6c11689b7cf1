//! What comes by the clock: health that is due, orders that end, drained servers that are idle, removed ones that have
//! left, an incident that is believed.
//!
//! Whoever keeps the time calls [`Store::tick`] no later than [`Store::next_due`]; calling it more often costs nothing.
//! Only servers whose time has come are looked at, and those that are being drained, every 250 ms.

use std::collections::BTreeSet;
use std::sync::TryLockError;
use std::time::Duration;

use crate::health::ServerHealth;
use crate::model::{AdminStatus, EventKind, Field, Leftovers, OrderEnding, ServerKey, Timestamp};

use super::Store;
use super::agenda::Agenda;
use super::observe::Cause;
use super::orders::Order;
use super::seams::{Entry, JournalError};
use super::state::{Row, State};
use super::tell::{Batch, ToldAs};

/// When it is tried again to end an order, where somebody writes just now: that takes as long as the disk.
const END_AGAIN: Duration = Duration::from_millis(50);

impl Store {
    /// Does what is due.
    ///
    /// # Errors
    /// [`JournalError`] if the journal did not forget an override that came to its end. It has ended all the same; a
    /// process that reads it again ends it again.
    pub fn tick(&self, now: Timestamp) -> Result<(), JournalError> {
        // What else is due does not wait for a writer.
        let replacing = match self.replacing.try_lock() {
            Ok(replacing) => Some(replacing),
            Err(TryLockError::Poisoned(replacing)) => Some(replacing.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        let ending = if replacing.is_some() { self.lock().ending(now) } else { BTreeSet::new() };
        let ended: Vec<_> = ending.iter().map(|server| (*server, Field::Admin)).collect();
        let kept = if ended.is_empty() { Ok(()) } else { self.journal.drop_overrides(&ended) };
        let mut state = self.lock();
        let mut batch = Batch::default();
        let (due, is_set_back) = state.agenda.take_due(now);
        for server in due {
            let Some(row) = state.rows.get_mut(&server) else { continue };
            row.due = None;
            let is_due = |health: &&mut ServerHealth| is_set_back || health.next_due().is_some_and(|due| due <= now);
            if let Some(health) = row.health.as_mut().filter(is_due) {
                let outcome = health.tick(&row.farm, now);
                self.settle(&mut state, &mut batch, server, &outcome, Cause::time(now));
            }
            self.come_to_order(&mut state, &mut batch, server, ending.contains(&server), now);
            state.reschedule_after(server, now);
        }
        self.look_at_the_watched(&mut state, &mut batch, now);
        if let Some(change) = state.incidents.tick(now) {
            state.turn(&mut batch, change);
        }
        drop(replacing);
        self.finish(state, batch, now);
        kept
    }

    /// Returns when [`Self::tick`] next has something to do.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.lock().next_due()
    }

    /// Does what comes to a server's order now; it ends where it is over and the journal was asked to forget it.
    fn come_to_order(&self, state: &mut State, batch: &mut Batch, server: ServerKey, is_over: bool, now: Timestamp) {
        let Some(row) = state.rows.get_mut(&server) else { return };
        let Some(order) = row.order.as_mut() else { return };
        if is_over && order.until.is_some_and(|until| until <= now) {
            let kind = ending(server, row, OrderEnding::Until);
            batch.show(server.farm);
            batch.push(state, kind);
            state.drop_override(server, Field::Admin);
            state.touch(server, now);
            state.renew_order(server, now);
            if state.admin(server) == Some(AdminStatus::Active) {
                self.give_work_again(state, batch, server, now);
            }
            return;
        }
        if !order.is_past_deadline && order.deadline.is_some_and(|deadline| deadline <= now) {
            order.is_past_deadline = true;
            let (admin, at_deadline) = (order.admin, order.at_deadline);
            batch.show(server.farm);
            match at_deadline {
                Leftovers::Close => batch.close(server, row, ToldAs::OrderEnded(admin)),
                Leftovers::Keep => {
                    let kind = ending(server, row, OrderEnding::Deadline);
                    batch.push(state, kind);
                }
            }
        }
    }

    /// Tells which servers that are being drained are idle, and which that left are gone.
    fn look_at_the_watched(&self, state: &mut State, batch: &mut Batch, now: Timestamp) {
        let mut gone = Vec::new();
        for server in state.agenda.take_watched(now) {
            if let Some(leaving) = state.leaving.get(&server) {
                let kind = leaving.is_idle().then(|| leaving.left(server, 0));
                if kind.is_none() && !leaving.is_to_be_closed(now) {
                    continue;
                }
                match kind {
                    Some(kind) => batch.push(state, kind),
                    None => batch.close(server, &leaving.row, ToldAs::Left),
                }
                state.leaving.remove(&server);
                gone.push(server);
            } else if !state.become_idle(batch, server) {
                continue;
            }
            state.agenda.watch(server, false, now);
        }
        if !gone.is_empty() {
            self.journal.note(Entry::Forgotten(gone));
        }
    }
}

impl State {
    /// Tells that nothing is open any more on a server under an order; returns whether it is not to be watched further.
    fn become_idle(&mut self, batch: &mut Batch, server: ServerKey) -> bool {
        let Some(row) = self.rows.get_mut(&server) else { return true };
        let Some(order) = row.order.as_mut() else { return true };
        if row.live.in_flight_total() > 0 {
            return false;
        }
        order.is_idle = true;
        let kind = ending(server, row, OrderEnding::Idle);
        batch.push(self, kind);
        true
    }

    /// Returns whose orders end now.
    fn ending(&self, now: Timestamp) -> BTreeSet<ServerKey> {
        let is_over = |server: &ServerKey| {
            let order = self.rows.get(server).and_then(|row| row.order.as_ref());
            order.and_then(|order| order.until).is_some_and(|until| until <= now)
        };
        self.agenda.due(now).filter(is_over).collect()
    }

    fn reschedule_after(&mut self, server: ServerKey, now: Timestamp) {
        let Some(row) = self.rows.get_mut(&server) else { return };
        let of_health = row.health.as_ref().and_then(ServerHealth::next_due);
        // One that could not be ended now is not tried again at once.
        let later = |due: Timestamp| if due <= now { now + END_AGAIN } else { due };
        let of_order = row.order.as_ref().and_then(Order::due).map(later);
        let due = Agenda::after([of_health, of_order].into_iter().flatten().min(), now);
        row.due = self.agenda.put(server, row.due, due);
    }
}

/// The event of an order that came to this, with nothing closed for it.
fn ending(server: ServerKey, row: &Row, ending: OrderEnding) -> EventKind {
    let order = row.order.as_ref().map_or(AdminStatus::Active, |order| order.admin);
    let (farm_name, server_name) = (row.farm.name.clone(), row.server.name.clone());
    EventKind::OrderEnded { server, farm_name, server_name, order, ending, closed: 0 }
}
