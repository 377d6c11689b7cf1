//! Which server has something to come at which time, and which are watched for nothing being open on them. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::{ServerKey, Timestamp};

/// How often servers that are being drained are looked at for being idle.
const IDLE_PACE: Duration = Duration::from_millis(250);
/// The least time between two turns of one server, should its health ask for a time that has passed.
const TURN_MIN: Duration = Duration::from_millis(1);

/// See the module's doc.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    due: BTreeSet<(Timestamp, ServerKey)>,
    watched: BTreeSet<ServerKey>,
    /// When the watched are looked at next.
    look_at: Option<Timestamp>,
    /// As of when was last asked who is due; none before the first time.
    taken_at: Option<Timestamp>,
}

impl Agenda {
    /// Moves a server from its former time to its new one; returns the new one.
    pub(super) fn put(
        &mut self,
        server: ServerKey,
        former: Option<Timestamp>,
        due: Option<Timestamp>,
    ) -> Option<Timestamp> {
        if former == due {
            return due;
        }
        if let Some(former) = former {
            self.due.remove(&(former, server));
        }
        if let Some(due) = due {
            self.due.insert((due, server));
        }
        due
    }

    /// Takes out whose time has come. Everybody, if the clock was set back since the last time, or may have been since
    /// an earlier process: what is to come seems further away than it is. Returns whether that is so.
    pub(super) fn take_due(&mut self, now: Timestamp) -> (Vec<ServerKey>, bool) {
        let is_set_back = self.taken_at.replace(now).is_none_or(|before| now < before);
        let mut taken = Vec::new();
        while let Some((_, server)) = self.due.first().copied().filter(|(due, _)| is_set_back || *due <= now) {
            self.due.pop_first();
            taken.push(server);
        }
        (taken, is_set_back)
    }

    /// Returns whose time has come, without taking them out.
    pub(super) fn due(&self, now: Timestamp) -> impl Iterator<Item = ServerKey> {
        self.due.iter().take_while(move |(due, _)| *due <= now).map(|(_, server)| *server)
    }

    /// Returns the soonest time that is not `now` or before.
    pub(super) fn after(due: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        due.map(|due| if due > now { due } else { now + TURN_MIN })
    }

    /// Looks at a server until nothing is open on it, or no more.
    pub(super) fn watch(&mut self, server: ServerKey, is_watched: bool, now: Timestamp) {
        let is_changed = if is_watched { self.watched.insert(server) } else { self.watched.remove(&server) };
        if !is_changed {
            return;
        }
        self.look_at = match self.look_at {
            _ if self.watched.is_empty() => None,
            // The clock may have been set back since.
            Some(at) => Some(at.min(now + IDLE_PACE)),
            None => Some(now + IDLE_PACE),
        };
    }

    /// Returns the watched if it is time to look at them.
    pub(super) fn take_watched(&mut self, now: Timestamp) -> Vec<ServerKey> {
        // A time further away than that is of before the clock was set back.
        if self.look_at.is_none_or(|at| now < at && at.since(now) <= IDLE_PACE) {
            return Vec::new();
        }
        self.look_at = Some(now + IDLE_PACE);
        self.watched.iter().copied().collect()
    }

    /// Returns when there is something to do next.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let first = self.due.first().map(|(due, _)| *due);
        [first, self.look_at].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FarmId, ServerId};

    fn key(n: u64) -> ServerKey {
        ServerKey { farm: FarmId(1), server: ServerId(n) }
    }

    #[test]
    fn agenda_gives_out_who_is_due_once_and_in_order() {
        let mut agenda = Agenda::default();
        let two = agenda.put(key(2), None, Some(Timestamp(20)));
        agenda.put(key(1), None, Some(Timestamp(10)));
        assert_eq!(
            Agenda::default().take_due(Timestamp(9)),
            (vec![], true),
            "an earlier process's times may lie ahead"
        );
        agenda.taken_at = Some(Timestamp(1));
        assert_eq!((agenda.next(), agenda.take_due(Timestamp(9)).0), (Some(Timestamp(10)), vec![]));
        agenda.put(key(2), two, Some(Timestamp(5)));
        assert_eq!(agenda.take_due(Timestamp(10)), (vec![key(2), key(1)], false));
        assert_eq!((agenda.next(), agenda.take_due(Timestamp(99)).0), (None, vec![]));
        assert_eq!(Agenda::after(Some(Timestamp(5)), Timestamp(99)), Some(Timestamp(1_099)));
        assert_eq!(Agenda::after(Some(Timestamp(100)), Timestamp(99)), Some(Timestamp(100)));
    }

    #[test]
    fn agenda_has_everybody_look_up_when_the_clock_was_set_back() {
        let mut agenda = Agenda { taken_at: Some(Timestamp(1)), ..Agenda::default() };
        agenda.put(key(1), None, Some(Timestamp(3_600_000_000)));
        agenda.watch(key(2), true, Timestamp(3_599_000_000));
        assert_eq!(agenda.take_due(Timestamp(3_599_000_000)), (vec![], false));
        assert_eq!(agenda.take_due(Timestamp(1_000_000)), (vec![key(1)], true));
        assert_eq!(agenda.take_watched(Timestamp(1_000_000)), [key(2)]);
        assert_eq!(agenda.take_due(Timestamp(1_000_000)), (vec![], false), "once");
        assert_eq!(agenda.take_watched(Timestamp(1_000_001)), []);
    }

    #[test]
    fn agenda_looks_at_the_watched_at_their_pace_and_at_nobody_else() {
        let mut agenda = Agenda::default();
        agenda.watch(key(1), true, Timestamp(0));
        assert_eq!((agenda.next(), agenda.take_watched(Timestamp(249_999))), (Some(Timestamp(250_000)), vec![]));
        assert_eq!(agenda.take_watched(Timestamp(250_000)), [key(1)]);
        assert_eq!(agenda.next(), Some(Timestamp(500_000)));
        agenda.watch(key(2), false, Timestamp(0));
        agenda.watch(key(1), false, Timestamp(0));
        assert_eq!((agenda.next(), agenda.take_watched(Timestamp(u64::MAX))), (None, vec![]));
    }

    #[test]
    fn agenda_looks_at_the_watched_though_the_clock_was_set_back() {
        let mut agenda = Agenda::default();
        agenda.watch(key(1), true, Timestamp(3_600_000_000));
        assert_eq!(agenda.take_watched(Timestamp(1_000_000)), [key(1)]);
        assert_eq!(agenda.next(), Some(Timestamp(1_250_000)));
    }
}
