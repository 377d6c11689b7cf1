//! Which route takes a request, or a connection, and which of the frontend's farms it then goes to.
//!
//! A [`RouteTable`] is compiled once for each frontend as declared and shared by all tables until that changes. It may
//! know neither sockets nor engines: what came in is seen through a [`RequestView`]. Pure: no clock, no chance; the only
//! thing that changes from one decision to the next, whose turn it is in a weighted split, is counted by the caller and
//! handed in.
//!
//! The first route holds of which every rule does. Routes that redirect or reject stand before those that forward; among
//! these the smaller priority comes first, then the order declared. An index by host and path keeps the cost of a decision
//! independent of how many routes name other hosts; it changes nothing of the order, since rules have no effects and
//! of all routes that hold the one with the smallest place wins, in whatever order they are looked at. A decision allocates
//! nothing. The matrix of fields and matches is OVHcloud's; the meaning of parameters and cookies is HAProxy's.

use std::sync::Arc;

use crate::model::{Action, FarmId, Frontend, Route, Rule, Subject, Test};

mod host;
mod index;
mod rule;
mod spread;
#[cfg(test)]
mod tests;
mod view;

pub use host::{authority_of, host_of, is_authority};
use index::Index;
pub use spread::{Spread, is_among};
pub use view::{Conversation, RequestView};

/// What becomes of one request or connection.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    /// Which place of the table it is, for [`RouteTable::at`].
    pub place: Place,
    /// The route that takes it; none if no route does.
    pub route: Option<&'a Arc<Route>>,
    /// What is done: the route's action, or what the frontend does otherwise.
    pub action: &'a Action,
    /// The farm that it goes to, as a position in [`Frontend::farms`]; none if it goes to no farm.
    pub feed: Option<usize>,
}

/// A place in a [`RouteTable`]: that of a route, or of what is done otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

/// The routes of one frontend, ready to be asked.
#[derive(Debug)]
pub struct RouteTable {
    /// In the order in which they are looked at.
    routes: Box<[Compiled]>,
    otherwise: Compiled,
    index: Index,
}

/// A route, or what is done with what no route takes.
#[derive(Debug)]
struct Compiled {
    route: Option<Arc<Route>>,
    action: Action,
    /// What must hold beside what the index says, the cheapest first.
    rules: Box<[Rule]>,
    /// The positions of the farms, of those that have a share, and how work is spread over them.
    feeds: Box<[usize]>,
    spread: Spread,
    mirror: Option<usize>,
}

impl RouteTable {
    /// Compiles the routes of a frontend.
    #[must_use]
    pub fn new(frontend: &Frontend) -> Self {
        let farms = frontend.farms();
        let mut ordered: Vec<_> = frontend.routes.iter().collect();
        ordered.sort_by_key(|route| (matches!(route.action, Action::Forward(_)), route.priority));
        let mut rules: Vec<_> = ordered.iter().map(|route| compiled_rules(route)).collect();
        let index = Index::new(&mut rules);
        let compiled = ordered.into_iter().zip(rules);
        let routes = compiled.map(|(route, rules)| Compiled::new(&route.action, Some(route), rules, &farms)).collect();
        Self { routes, otherwise: Compiled::new(&frontend.otherwise, None, Vec::new(), &farms), index }
    }

    /// Returns whether every request is treated alike: there are no routes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// Returns what becomes of what `view` shows. `turn` is asked only where work is split, at most once: how many such
    /// decisions were made for that route (for what is done otherwise where it is `None`) before; from any start, and one
    /// more each time. Any Σw/gcd of them in a row hold each farm exactly by its weight.
    pub fn decide(&self, view: &impl RequestView, turn: impl FnOnce(Option<&Route>) -> u64) -> Decision<'_> {
        let mut first = self.routes.len();
        self.index.lists(view, |places| {
            for place in places.iter().map(|place| *place as usize).take_while(|place| *place < first) {
                if self.routes[place].holds(view) {
                    first = place;
                    return;
                }
            }
        });
        // A frontend has far fewer routes than that.
        let place = Place(u32::try_from(first).unwrap_or(u32::MAX));
        self.take(place, turn)
    }

    /// Returns what becomes of anything that no route takes; `turn` as in [`Self::decide`].
    pub fn otherwise(&self, turn: impl FnOnce(Option<&Route>) -> u64) -> Decision<'_> {
        self.take(Place(u32::MAX), turn)
    }

    /// Returns the action of a place of this table, and its route if it is one's.
    #[must_use]
    pub fn at(&self, place: Place) -> (&Action, Option<&Arc<Route>>) {
        let compiled = self.compiled(place);
        (&compiled.action, compiled.route.as_ref())
    }

    /// Returns the farm that sees copies of what a place forwards, as a position in [`Frontend::farms`].
    #[must_use]
    pub fn mirror_at(&self, place: Place) -> Option<usize> {
        self.compiled(place).mirror
    }

    fn compiled(&self, place: Place) -> &Compiled {
        self.routes.get(place.0 as usize).unwrap_or(&self.otherwise)
    }

    fn take(&self, place: Place, turn: impl FnOnce(Option<&Route>) -> u64) -> Decision<'_> {
        let compiled = self.compiled(place);
        let route = compiled.route.as_ref();
        let feed = match &*compiled.feeds {
            [] => None,
            [only] => Some(*only),
            several => several.get(compiled.spread.of(turn(route.map(|route| &**route)))).copied(),
        };
        Decision { place, route, action: &compiled.action, feed }
    }
}

impl Compiled {
    fn new(action: &Action, route: Option<&Arc<Route>>, rules: Vec<Rule>, farms: &[FarmId]) -> Self {
        let position = |farm: FarmId| farms.iter().position(|known| *known == farm);
        let (mut feeds, mut weights, mut mirror) = (Vec::new(), Vec::new(), None);
        if let Action::Forward(forward) = action {
            for share in forward.shares.iter().filter(|share| share.weight > 0) {
                feeds.extend(position(share.farm));
                weights.push(share.weight);
            }
            mirror = forward.mirror.and_then(|mirror| position(mirror.farm));
        }
        Self {
            route: route.cloned(),
            action: action.clone(),
            rules: rules.into(),
            feeds: feeds.into(),
            spread: Spread::new(&weights),
            mirror,
        }
    }

    fn holds(&self, view: &impl RequestView) -> bool {
        self.rules.iter().all(|rule| rule::holds(rule, view))
    }
}

/// Returns the rules of a route, the cheapest first; what hosts are compared with in lower case, as they are.
fn compiled_rules(route: &Route) -> Vec<Rule> {
    let mut rules = route.rules.to_vec();
    for rule in rules.iter_mut().filter(|rule| rule.subject == Subject::Host) {
        rule.test = lowered(&rule.test);
    }
    rules.sort_by_key(|rule| matches!(rule.test, Test::Matches(_)));
    rules
}

fn lowered(test: &Test) -> Test {
    let lower = |text: &str| text.to_ascii_lowercase().into_boxed_str();
    match test {
        Test::Contains(text) => Test::Contains(lower(text)),
        Test::EndsWith(text) => Test::EndsWith(lower(text)),
        Test::In(texts) => Test::In(texts.iter().map(|text| lower(text)).collect()),
        Test::Is(text) => Test::Is(lower(text)),
        Test::StartsWith(text) => Test::StartsWith(lower(text)),
        Test::Exists | Test::Matches(_) | Test::Within(_) => test.clone(),
    }
}
