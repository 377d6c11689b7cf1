//! A tournament: n entries, of which the least is known at once and any can be replaced in O(log n).
//!
//! A full binary tree in one array: node 1 is the final, node `i` the match of `2i` and `2i + 1`, the entries are
//! `n..2n`; each node holds a copy of its winner. Replacing an entry replays its path to the final. An entry carries
//! its own position where its owner needs it. Against an indexed heap: no map from position to place, the same few
//! steps every time, all their addresses known beforehand, and no branch that is hard to foresee.

use std::hint::select_unpredictable;

/// The least of n entries. No two may be equal.
#[derive(Clone, Debug)]
pub(super) struct Tournament<T> {
    /// Matches, then entries; 0 is not used.
    nodes: Box<[T]>,
}

impl<T: PartialOrd + Copy> Tournament<T> {
    /// Returns the tournament of these entries.
    pub(super) fn new(entries: &[T]) -> Self {
        let mut tournament = Self { nodes: [entries, entries].concat().into() };
        tournament.replay_all();
        tournament
    }

    /// Returns the least entry.
    pub(super) fn winner(&self) -> Option<T> {
        self.nodes.get(1).copied()
    }

    /// Returns every entry, by position.
    pub(super) fn entries(&self) -> &[T] {
        &self.nodes[self.nodes.len() / 2..]
    }

    /// Replaces the entry at `position`.
    pub(super) fn set(&mut self, position: usize, entry: T) {
        let mut node = position + self.nodes.len() / 2;
        let mut best = entry;
        self.nodes[node] = best;
        while node > 1 {
            let rival = self.nodes[node ^ 1];
            best = select_unpredictable(rival < best, rival, best);
            node /= 2;
            self.nodes[node] = best;
        }
    }

    /// Replaces every entry by what `renew` makes of its position and itself. O(n).
    pub(super) fn set_all(&mut self, renew: impl Fn(usize, T) -> T) {
        let count = self.nodes.len() / 2;
        for (position, entry) in self.nodes[count..].iter_mut().enumerate() {
            *entry = renew(position, *entry);
        }
        self.replay_all();
    }

    fn replay_all(&mut self) {
        for node in (1..self.nodes.len() / 2).rev() {
            let (one, other) = (self.nodes[2 * node], self.nodes[2 * node + 1]);
            self.nodes[node] = select_unpredictable(other < one, other, one);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tournament_of_nobody_has_no_winner() {
        assert_eq!(Tournament::<u64>::new(&[]).winner(), None);
    }

    #[test]
    fn tournament_of_one_is_won_by_it() {
        let mut one = Tournament::new(&[7u64]);
        one.set(0, 9);
        assert_eq!((one.winner(), one.entries()), (Some(9), &[9u64][..]));
    }

    proptest! {
        #[test]
        fn tournament_winner_is_the_least_entry_after_any_changes(
            entries in prop::collection::vec(0..20u8, 1..40),
            changes in prop::collection::vec((any::<prop::sample::Index>(), 0..20u8), 0..60),
        ) {
            let mut naive: Vec<_> = entries.into_iter().enumerate().map(|(i, n)| (n, i)).collect();
            let mut tournament = Tournament::new(&naive);
            for (at, number) in changes {
                let at = at.index(naive.len());
                naive[at].0 = number;
                tournament.set(at, naive[at]);
                prop_assert_eq!(tournament.winner(), naive.iter().min().copied());
            }
            let renew = |i: usize, (number, at): (u8, usize)| (number ^ u8::from(i.is_multiple_of(2)), at);
            tournament.set_all(renew);
            let renewed: Vec<_> = naive.iter().enumerate().map(|(i, entry)| renew(i, *entry)).collect();
            prop_assert_eq!(tournament.entries(), &renewed[..]);
            prop_assert_eq!(tournament.winner(), renewed.iter().min().copied());
        }
    }
}
