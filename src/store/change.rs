//! An operator's change of one server: looked at for what it would leave, kept, then made live.

use std::sync::PoisonError;

use crate::farm::{FarmTable, Rotation, ServerEntry};
use crate::model::{
    Act, AdminStatus, Change, EventKind, FailOpen, Generation, Override, Reserve, Role, ServerKey, Terms, Weight, Wish,
};

use super::Store;
use super::seams::{JournalError, SavedOverride};
use super::tell::Batch;

/// Why a [`Change`] was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The journal could not keep it, so it was not made.
    #[error("cannot keep the change: {0}; nothing was changed")]
    Journal(#[source] JournalError),
    /// It would leave less of the farm than its reserve.
    #[error("this would leave {left} of {of} servers, {share} % of the weight; the farm keeps {reserve} %; use force")]
    Reserve {
        /// Servers that would take work.
        left: usize,
        /// Servers of the farm.
        of: usize,
        /// The share of the primaries' weight that would be left, in per cent.
        share: u8,
        /// The share that the farm keeps.
        reserve: u8,
    },
    /// There is no such server.
    #[error("no server {} in farm {}", .0.server, .0.farm)]
    UnknownServer(ServerKey),
}

impl Store {
    /// Makes one change; it is kept before it is live. Setting a field to the value that it has, on the same terms,
    /// changes nothing. Terms are of drain and maintenance; another change has none.
    ///
    /// # Errors
    /// [`ChangeError`]; nothing was changed.
    pub fn change(&self, change: &Change, act: Act) -> Result<(), ChangeError> {
        let replacing = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(planned) = self.plan(change, &act)? else { return Ok(()) };
        let Planned { from, kept } = planned;
        let (target, wish, terms, now) = (change.target, change.wish, terms_of(change), act.at);
        match &kept {
            None => self.journal.drop_overrides(&[(target, wish.field())]),
            Some(saved) => self.journal.put_override(saved),
        }
        .map_err(ChangeError::Journal)?;
        // The server is still there and its field as it was: nobody else held the outer lock. Of what checks concluded
        // meanwhile the reserve knows nothing, as it would not had they been a moment later.
        let mut state = self.lock();
        let row = state.rows.get(&target).ok_or(ChangeError::UnknownServer(target))?;
        let (farm_name, server_name) = (row.farm.name.clone(), row.server.name.clone());
        match kept {
            None => state.drop_override(target, wish.field()),
            Some(saved) => state.put_override(saved),
        }
        state.touch(target, now);
        state.renew_order(target, now);
        let mut batch = Batch::default();
        batch.show(target.farm);
        let kind = EventKind::Changed { server: target, farm_name, server_name, from, to: wish, terms, act };
        batch.push(&mut state, kind);
        if wish == Wish::Admin(AdminStatus::Active) {
            self.give_work_again(&mut state, &mut batch, target, now);
        }
        drop(replacing);
        self.finish(state, batch, now);
        Ok(())
    }

    /// Works out what a change comes to; nothing, if it changes nothing.
    fn plan(&self, change: &Change, act: &Act) -> Result<Option<Planned>, ChangeError> {
        let state = self.lock();
        let Change { target, wish, .. } = *change;
        let (field, terms) = (wish.field(), terms_of(change));
        let unknown = || ChangeError::UnknownServer(target);
        let declared = Wish::current(field, state.declared_server(target).ok_or_else(unknown)?);
        let from = state.live_value(target, field).ok_or_else(unknown)?;
        let made = state.overrides.get(&(target, field));
        if from == wish && made.map(|made| made.terms).unwrap_or_default() == terms {
            return Ok(None);
        }
        if change.reserve == Reserve::Kept && takes_out(wish) {
            let table = self.load();
            let capacity = |entry: &ServerEntry| {
                let declared = state.declared_server(ServerKey { server: entry.server.id, ..target });
                let weight = Some(entry.server.weight).filter(|live| live.0 > 0);
                u64::from(weight.or_else(|| declared.map(|server| server.weight)).map_or(0, |weight| weight.0))
            };
            table.farm(target.farm).map_or(Ok(()), |farm| look_at_reserve(farm, target, &capacity))?;
        }
        let made = Override { wish, declared, terms, act: act.clone() };
        let kept = (declared != wish || terms != Terms::default()).then_some(SavedOverride { server: target, made });
        Ok(Some(Planned { from, kept }))
    }
}

/// What a change comes to.
struct Planned {
    /// What the field was.
    from: Wish,
    /// The override that is made; none: the one there is ends.
    kept: Option<SavedOverride>,
}

fn terms_of(change: &Change) -> Terms {
    match change.wish {
        Wish::Admin(AdminStatus::Drain | AdminStatus::Maintenance) => change.terms,
        Wish::Admin(AdminStatus::Active) | Wish::Weight(_) => Terms::default(),
    }
}

fn takes_out(wish: Wish) -> bool {
    match wish {
        Wish::Admin(status) => status != AdminStatus::Active,
        Wish::Weight(weight) => weight == Weight(0),
    }
}

/// Refuses what leaves less of the farm's weight than its reserve, unless the server carries nothing of it now. Servers
/// that would be used only because the farm fails open do not count as left.
fn look_at_reserve(
    farm: &FarmTable,
    target: ServerKey,
    capacity: &dyn Fn(&ServerEntry) -> u64,
) -> Result<(), ChangeError> {
    let without = |entry: &ServerEntry| ServerEntry {
        addr: entry.addr.clone().filter(|_| entry.server.id != target.server),
        ..entry.clone()
    };
    let remaining: Vec<ServerEntry> = farm.servers.iter().map(without).collect();
    let (before, after) = (Left::of(&farm.servers, capacity), Left::of(&remaining, capacity));
    let reserve = farm.farm.reserve;
    let is_short = after.weight * 100 < after.of_weight * u64::from(reserve);
    if is_short && (after.weight < before.weight || after.servers < before.servers) {
        let share = (after.weight * 100 + after.of_weight / 2).checked_div(after.of_weight).unwrap_or(0);
        let share = u8::try_from(share).unwrap_or(100);
        return Err(ChangeError::Reserve { left: after.servers, of: farm.servers.len(), share, reserve });
    }
    Ok(())
}

/// What carries a farm.
struct Left {
    /// Servers that take work.
    servers: usize,
    /// The weight of the primaries among them.
    weight: u64,
    /// The weight of all primaries.
    of_weight: u64,
}

impl Left {
    /// `capacity`: what a server's weight is, or would be were it not taken out.
    fn of(servers: &[ServerEntry], capacity: &dyn Fn(&ServerEntry) -> u64) -> Self {
        let rotation = Rotation::of(servers, FailOpen::Never, Generation(0));
        let primaries = || servers.iter().enumerate().filter(|(_, entry)| entry.server.role == Role::Primary);
        let in_rotation = primaries().filter(|(position, _)| rotation.holds(*position));
        Self {
            servers: rotation.eligible.len(),
            weight: in_rotation.map(|(_, entry)| capacity(entry)).sum(),
            of_weight: primaries().map(|(_, entry)| capacity(entry)).sum(),
        }
    }
}
