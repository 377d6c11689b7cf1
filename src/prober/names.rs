//! Which names are looked up when, and which of its addresses a server gets.
//!
//! Pure bookkeeping: `rounds` makes the look-ups. A name that several servers share is looked up once a round. A name
//! is looked up when it first appears and then every [`ROUND`]; so many at once and no more. An answer is kept until
//! the next good one: failures change nothing that is known.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

/// From one look-up of a name to the next.
pub(super) const ROUND: Duration = Duration::from_secs(10);
/// How long a look-up may take.
pub(super) const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// Look-ups under way at once.
const LOOKUPS_AT_ONCE: usize = 8;

/// The names in use.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: BTreeMap<Box<str>, Option<Box<[IpAddr]>>>,
    queue: VecDeque<Box<str>>,
    /// The same names as in the queue.
    queued: BTreeSet<Box<str>>,
    under_way: BTreeSet<Box<str>>,
    next_round: Duration,
}

impl Names {
    /// Uses exactly these names from now on; new ones are looked up next.
    pub(super) fn set<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        let used: BTreeSet<Box<str>> = names.map(Box::from).collect();
        self.known.retain(|name, _| used.contains(name));
        self.queue.retain(|name| used.contains(name));
        self.queued.retain(|name| used.contains(name));
        for name in used {
            if !self.known.contains_key(&name) {
                self.known.insert(name.clone(), None);
                self.enqueue(name);
            }
        }
    }

    /// Returns the next name to look up, if one is due and the bound allows it; hand it back to [`Self::ended`].
    pub(super) fn start(&mut self, now: Duration) -> Option<Box<str>> {
        if now >= self.next_round {
            self.next_round = now + ROUND;
            let names: Vec<Box<str>> = self.known.keys().cloned().collect();
            names.into_iter().for_each(|name| self.enqueue(name));
        }
        if self.under_way.len() >= LOOKUPS_AT_ONCE {
            return None;
        }
        let name = self.queue.pop_front()?;
        self.queued.remove(&name);
        self.under_way.insert(name.clone());
        Some(name)
    }

    /// Returns when the next round begins; nothing while no name is in use.
    pub(super) fn next_due(&self) -> Option<Duration> {
        (!self.known.is_empty()).then_some(self.next_round)
    }

    /// Takes the answer to a look-up; nothing where it failed or held no address.
    pub(super) fn ended(&mut self, name: &str, answer: Option<Vec<IpAddr>>) {
        self.under_way.remove(name);
        let answer = answer.filter(|addrs| !addrs.is_empty());
        if let (Some(known), Some(mut addrs)) = (self.known.get_mut(name), answer) {
            addrs.sort_unstable();
            addrs.dedup();
            *known = Some(addrs.into_boxed_slice());
        }
    }

    /// Returns the address of a server of that name that is at `current` now: that one while the name still has it,
    /// so that several addresses in changing order move nobody; otherwise the lowest, IPv4 before IPv6.
    pub(super) fn choose(&self, name: &str, current: Option<IpAddr>) -> Option<IpAddr> {
        let addrs = self.known.get(name)?.as_deref()?;
        current.filter(|addr| addrs.contains(addr)).or_else(|| addrs.first().copied())
    }

    fn enqueue(&mut self, name: Box<str>) {
        if !self.under_way.contains(&name) && self.queued.insert(name.clone()) {
            self.queue.push_back(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn start_all(names: &mut Names, now: Duration) -> Vec<Box<str>> {
        std::iter::from_fn(|| names.start(now)).collect()
    }

    #[test]
    fn name_is_looked_up_at_once_and_then_once_a_round() {
        let mut names = Names::default();
        assert_eq!(names.next_due(), None);
        names.set(["b", "a", "a"].into_iter());
        assert_eq!(start_all(&mut names, Duration::ZERO), ["a".into(), "b".into()]);
        names.ended("a", None);
        assert_eq!(start_all(&mut names, ROUND - Duration::from_millis(1)), []);
        assert_eq!(names.next_due(), Some(ROUND));
        assert_eq!(start_all(&mut names, ROUND), ["a".into()], "b is still under way");
        names.set(["a", "c"].into_iter());
        assert_eq!(start_all(&mut names, ROUND), ["c".into()]);
    }

    #[test]
    fn lookups_are_bounded() {
        let mut names = Names::default();
        let many: Vec<String> = (0..100).map(|n| format!("n{n:02}")).collect();
        names.set(many.iter().map(String::as_str));
        assert_eq!(start_all(&mut names, Duration::ZERO).len(), LOOKUPS_AT_ONCE);
        names.ended("n00", None);
        assert_eq!(start_all(&mut names, Duration::ZERO), ["n08".into()]);
    }

    #[test]
    fn address_in_use_is_kept_while_the_name_has_it_and_through_failures() {
        let mut names = Names::default();
        names.set(["a"].into_iter());
        assert_eq!(names.choose("a", None), None);
        names.ended("a", Some(vec![ip("::1"), ip("10.0.0.2"), ip("10.0.0.1")]));
        assert_eq!(names.choose("a", None), Some(ip("10.0.0.1")));
        assert_eq!(names.choose("a", Some(ip("10.0.0.2"))), Some(ip("10.0.0.2")));
        assert_eq!(names.choose("a", Some(ip("10.0.0.9"))), Some(ip("10.0.0.1")));
        for failed in [None, Some(vec![])] {
            names.ended("a", failed);
            assert_eq!(names.choose("a", None), Some(ip("10.0.0.1")));
        }
    }
}
