//! What a write through an API asks of the Store beside the topology: operational values of servers, as one with it.

use std::collections::BTreeSet;

use crate::model::{Act, AdminStatus, EventKind, Field, Override, ServerKey, Terms, Timestamp, Topology, Wish};

use super::Store;
use super::state::State;
use super::tell::Batch;

/// A write beside the topology that it makes.
#[derive(Clone, Copy, Debug)]
pub struct Write<'w> {
    /// Who, when, why.
    pub act: &'w Act,
    /// The operational values that it wants; a server's field once.
    pub wishes: &'w [(ServerKey, Wish)],
    /// What is told of the rest of it.
    pub told: &'w [EventKind],
}

/// What becomes of overrides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OverrideChanges {
    /// Those that end.
    pub ended: Vec<(ServerKey, Field)>,
    /// Those that are made, in the place of those of the same field.
    pub made: Vec<(ServerKey, Override)>,
}

/// A field that gets another value.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    server: ServerKey,
    from: Wish,
    to: Wish,
    act: Act,
}

/// Works out what a write makes of overrides in its topology, and which values become others. `stale`: those that the
/// topology itself ends.
pub(super) fn orders(
    state: &State,
    topology: &Topology,
    stale: Vec<(ServerKey, Field)>,
    write: &Write<'_>,
) -> (OverrideChanges, Vec<Wanted>) {
    let mut ended: BTreeSet<(ServerKey, Field)> = stale.into_iter().collect();
    let (mut made, mut wanted) = (Vec::new(), Vec::new());
    for (server, wish) in write.wishes {
        let (server, to, field) = (*server, *wish, wish.field());
        let farm = topology.farm(server.farm);
        let Some(it) = farm.and_then(|farm| farm.servers.iter().find(|it| it.id == server.server)) else { continue };
        let declared = Wish::current(field, it);
        let has_override = state.overrides.contains_key(&(server, field));
        let from = state.live_value(server, field).unwrap_or(declared);
        if declared == to {
            if has_override {
                ended.insert((server, field));
            }
        } else if from != to || ended.contains(&(server, field)) {
            ended.remove(&(server, field));
            let (terms, act) = (Terms::default(), write.act.clone());
            made.push((server, Override { wish: to, declared, terms, act }));
        }
        if from != to {
            wanted.push(Wanted { server, from, to, act: write.act.clone() });
        }
    }
    (OverrideChanges { ended: ended.into_iter().collect(), made }, wanted)
}

impl Store {
    /// Does what follows from another value, which the state has already, and tells it.
    pub(super) fn carry_out(&self, state: &mut State, batch: &mut Batch, wanted: Wanted, now: Timestamp) {
        let Wanted { server, from, to, act } = wanted;
        state.touch(server, now);
        state.renew_order(server, now);
        let Some(row) = state.rows.get(&server) else { return };
        let (farm_name, server_name) = (row.farm.name.clone(), row.server.name.clone());
        let terms = Terms::default();
        batch.push(state, EventKind::Changed { server, farm_name, server_name, from, to, terms, act });
        if to == Wish::Admin(AdminStatus::Active) {
            self.give_work_again(state, batch, server, now);
        }
    }
}
