//! What operators want, and what the simulation expects to come of it: overrides, their ends, what the file ends.

use std::collections::BTreeMap;

use farmgate::model::{
    Act, AdminStatus, Change, Field, Leftovers, Override, Reserve, Server, ServerKey, Terms, Timestamp, Topology,
    Weight, Wish,
};

use super::chance::Chance;
use super::declared::{ms, servers};

/// Overrides that were answered for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted(pub(crate) BTreeMap<(ServerKey, Field), Override>);

impl Wanted {
    /// Returns the value that a field is to have.
    pub(crate) fn value(&self, key: ServerKey, declared: &Server, field: Field) -> Wish {
        self.0.get(&(key, field)).map_or_else(|| Wish::current(field, declared), |made| made.wish)
    }

    pub(crate) fn admin(&self, key: ServerKey, declared: &Server) -> AdminStatus {
        match self.value(key, declared, Field::Admin) {
            Wish::Admin(admin) => admin,
            Wish::Weight(_) => AdminStatus::Active,
        }
    }

    pub(crate) fn weight(&self, key: ServerKey, declared: &Server) -> Weight {
        match self.value(key, declared, Field::Weight) {
            Wish::Weight(weight) => weight,
            Wish::Admin(_) => Weight(0),
        }
    }

    /// Follows a change that was made.
    pub(crate) fn changed(&mut self, change: &Change, declared: &Server, act: Act) {
        let Change { target, wish, .. } = *change;
        let (field, terms) = (wish.field(), terms_of(change));
        let made = self.0.get(&(target, field));
        let before = self.value(target, declared, field);
        if before == wish && made.map(|made| made.terms).unwrap_or_default() == terms {
            return;
        }
        let declared = Wish::current(field, declared);
        if declared == wish && terms == Terms::default() {
            self.0.remove(&(target, field));
        } else {
            self.0.insert((target, field), Override { wish, declared, terms, act });
        }
    }

    /// Returns what ends by itself by then.
    pub(crate) fn ended(&self, now: Timestamp) -> Vec<(ServerKey, Field)> {
        let is_over = |made: &Override| made.terms.until.is_some_and(|until| until <= now);
        self.0.iter().filter(|(_, made)| is_over(made)).map(|(field, _)| *field).collect()
    }

    /// Returns what a new file ends.
    pub(crate) fn stale(&self, file: &Topology) -> Vec<(ServerKey, Field)> {
        let declared: BTreeMap<_, _> = servers(file).map(|(key, _, server)| (key, server)).collect();
        let is_stale = |(key, field): (ServerKey, Field), made: &Override| {
            declared.get(&key).is_none_or(|server| Wish::current(field, server) != made.declared)
        };
        self.0.iter().filter(|(field, made)| is_stale(**field, made)).map(|(field, _)| *field).collect()
    }

    pub(crate) fn drop_all(&mut self, fields: &[(ServerKey, Field)]) {
        fields.iter().for_each(|field| drop(self.0.remove(field)));
    }
}

/// Only drain and maintenance have terms.
fn terms_of(change: &Change) -> Terms {
    let has_terms = matches!(change.wish, Wish::Admin(AdminStatus::Drain | AdminStatus::Maintenance));
    if has_terms { change.terms } else { Terms::default() }
}

/// Returns what an operator does next.
pub(crate) fn act(file: &Topology, now: Timestamp, chance: &mut Chance) -> Option<(Change, Act)> {
    let all: Vec<_> = servers(file).map(|(key, _, _)| key).collect();
    let target = *chance.pick(&all)?;
    let wish = match chance.below(10) {
        0..=2 => Wish::Admin(AdminStatus::Drain),
        3 | 4 => Wish::Admin(AdminStatus::Maintenance),
        5..=7 => Wish::Admin(AdminStatus::Active),
        _ => Wish::Weight(Weight(chance.any([0, 1, 3, 10]))),
    };
    let mut at = |n| chance.one_in(n).then(|| now + ms(chance.any([0, 300, 900, 2500, 5000])));
    let (until, deadline) = (at(3), at(2));
    let at_deadline = chance.any([None, Some(Leftovers::Close), Some(Leftovers::Keep)]);
    let terms = Terms { until, deadline, at_deadline };
    let reserve = chance.any([Reserve::Ignored, Reserve::Kept]);
    let act = Act { actor: "ops".into(), source: "local".into(), reason: None, at: now };
    Some((Change { target, wish, terms, reserve }, act))
}
