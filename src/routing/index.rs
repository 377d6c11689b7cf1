//! Which routes may hold at all, by the host and the path of a request, so that the others cost nothing. Pure.
//!
//! A route is filed under one of its rules, which it then need not look at again: under the hosts that it names, else
//! the ends of hosts, else paths, else the beginnings of paths; with none of these it is looked at for every request. Ends
//! and beginnings are looked up once for each length that occurs, which grows with the length of names and not with the
//! number of routes. Nothing that a client sends is ever put into these tables.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};

use crate::model::{Rule, Subject, Test};

use super::view::RequestView;

/// Places of routes by a text; those of one text in order.
type Places = HashMap<Box<[u8]>, Box<[u32]>, BuildHasherDefault<DefaultHasher>>;
/// The same while they are gathered.
type Gathered = BTreeMap<Box<[u8]>, Vec<u32>>;

/// See the module's doc.
#[derive(Debug, Default)]
pub(super) struct Index {
    hosts: Places,
    host_ends: Affixes,
    paths: Places,
    path_starts: Affixes,
    /// Those that are filed nowhere.
    rest: Box<[u32]>,
}

/// Places by how a text begins or ends.
#[derive(Debug, Default)]
struct Affixes {
    places: Places,
    lengths: Box<[usize]>,
}

/// By what a route may be filed, the most telling first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Drawer {
    Host,
    HostEnd,
    Path,
    PathStart,
}

impl Index {
    /// Files the routes whose rules these are, in their order, and takes away the rule under which each is filed.
    pub(super) fn new(routes: &mut [Vec<Rule>]) -> Self {
        let mut drawers = [Gathered::new(), Gathered::new(), Gathered::new(), Gathered::new()];
        let mut rest = Vec::new();
        for (place, rules) in (0u32..).zip(routes) {
            let fit = rules.iter().enumerate().filter_map(|(at, rule)| Some((drawer(rule)?, at)));
            let Some((drawer, at)) = fit.min() else {
                rest.push(place);
                continue;
            };
            for text in texts(&rules.remove(at).test) {
                let places = drawers[drawer as usize].entry(text.as_bytes().into()).or_default();
                if places.last() != Some(&place) {
                    places.push(place);
                }
            }
        }
        let [hosts, host_ends, paths, path_starts] = drawers;
        Self {
            hosts: places(hosts),
            host_ends: Affixes::new(host_ends),
            paths: places(paths),
            path_starts: Affixes::new(path_starts),
            rest: rest.into(),
        }
    }

    /// Shows every list in which a route that holds may be; each list is in order.
    pub(super) fn lists(&self, view: &impl RequestView, mut look: impl FnMut(&[u32])) {
        if let Some(host) = view.host() {
            self.hosts.get(host.as_bytes()).into_iter().for_each(|places| look(places));
            self.host_ends.lists(|length| host.len().checked_sub(length).map(|at| &host.as_bytes()[at..]), &mut look);
        }
        if let Some(path) = view.path() {
            self.paths.get(path).into_iter().for_each(|places| look(places));
            self.path_starts.lists(|length| path.get(..length), &mut look);
        }
        look(&self.rest);
    }
}

impl Affixes {
    fn new(gathered: Gathered) -> Self {
        let mut lengths: Vec<_> = gathered.keys().map(|text| text.len()).collect();
        lengths.sort_unstable();
        lengths.dedup();
        Self { places: places(gathered), lengths: lengths.into() }
    }

    /// `part` returns so much of the text; nothing where it is shorter.
    fn lists<'a>(&self, part: impl Fn(usize) -> Option<&'a [u8]>, look: &mut impl FnMut(&[u32])) {
        let parts = self.lengths.iter().map_while(|length| part(*length));
        parts.filter_map(|part| self.places.get(part)).for_each(|places| look(places));
    }
}

fn places(gathered: Gathered) -> Places {
    gathered.into_iter().map(|(text, places)| (text, places.into_boxed_slice())).collect()
}

fn drawer(rule: &Rule) -> Option<Drawer> {
    if rule.is_negated {
        return None;
    }
    match (&rule.subject, &rule.test) {
        (Subject::Host, Test::Is(_) | Test::In(_)) => Some(Drawer::Host),
        (Subject::Host, Test::EndsWith(_)) => Some(Drawer::HostEnd),
        (Subject::Uri, Test::Is(_) | Test::In(_)) => Some(Drawer::Path),
        (Subject::Uri, Test::StartsWith(_)) => Some(Drawer::PathStart),
        (
            Subject::Host
            | Subject::Uri
            | Subject::Cookie(_)
            | Subject::Header(_)
            | Subject::Method
            | Subject::Param(_)
            | Subject::Protocol
            | Subject::Source,
            _,
        ) => None,
    }
}

fn texts(test: &Test) -> &[Box<str>] {
    match test {
        Test::EndsWith(text) | Test::Is(text) | Test::StartsWith(text) => std::slice::from_ref(text),
        Test::In(texts) => texts,
        Test::Contains(_) | Test::Exists | Test::Matches(_) | Test::Within(_) => &[],
    }
}
