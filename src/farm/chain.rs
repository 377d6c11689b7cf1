//! Items in chains, in one store: put in at a chain's end, taken out or moved from anywhere, all in constant time. Room
//! that was given up is used again, so nothing is allocated once the most that were there at a time have been.

/// The place of an item in its [`Chains`]; valid until it is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place(u32);

const NONE: u32 = u32::MAX;

/// See the module's doc.
#[derive(Clone, Debug)]
pub struct Chains<T> {
    links: Vec<Link<T>>,
    /// The first link without an item; they are chained by `next`.
    free: u32,
}

#[derive(Clone, Debug)]
struct Link<T> {
    before: u32,
    next: u32,
    item: Option<T>,
}

/// One chain: its items are held by a [`Chains`], always the same one.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    first: u32,
    last: u32,
    count: u32,
}

impl Default for Chain {
    fn default() -> Self {
        Self { first: NONE, last: NONE, count: 0 }
    }
}

impl Chain {
    /// Returns how many items are in it.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Returns the place of the item that was put in first.
    #[must_use]
    pub fn first(&self) -> Option<Place> {
        (self.first != NONE).then_some(Place(self.first))
    }
}

impl<T> Default for Chains<T> {
    fn default() -> Self {
        Self { links: Vec::new(), free: NONE }
    }
}

impl<T> Chains<T> {
    /// Puts an item in at the end of a chain. Nothing, if there are more than 4 billion.
    pub fn push(&mut self, chain: &mut Chain, item: T) -> Option<Place> {
        let at = if self.free == NONE {
            let at = u32::try_from(self.links.len()).ok().filter(|at| *at != NONE)?;
            self.links.push(Link { before: NONE, next: NONE, item: Some(item) });
            at
        } else {
            let at = self.free;
            let link = self.links.get_mut(at as usize)?;
            self.free = link.next;
            link.item = Some(item);
            at
        };
        self.join(chain, at);
        Some(Place(at))
    }

    /// Takes an item out of the chain that it is in.
    pub fn remove(&mut self, chain: &mut Chain, place: Place) -> Option<T> {
        let item = self.links.get_mut(place.0 as usize)?.item.take()?;
        self.part(chain, place.0);
        self.links[place.0 as usize].next = self.free;
        self.free = place.0;
        Some(item)
    }

    /// Moves an item from the chain that it is in to the end of another, or of the same if `to` is nothing.
    pub fn pass(&mut self, from: &mut Chain, to: Option<&mut Chain>, place: Place) {
        if self.get(place).is_some() {
            self.part(from, place.0);
            self.join(to.unwrap_or(from), place.0);
        }
    }

    /// Returns an item.
    #[must_use]
    pub fn get(&self, place: Place) -> Option<&T> {
        self.links.get(place.0 as usize)?.item.as_ref()
    }

    /// Returns an item for a change.
    pub fn get_mut(&mut self, place: Place) -> Option<&mut T> {
        self.links.get_mut(place.0 as usize)?.item.as_mut()
    }

    /// Returns the item after that one in its chain.
    #[must_use]
    pub fn after(&self, place: Place) -> Option<Place> {
        let next = self.links.get(place.0 as usize)?.next;
        (next != NONE).then_some(Place(next))
    }

    fn join(&mut self, chain: &mut Chain, at: u32) {
        let link = &mut self.links[at as usize];
        (link.before, link.next) = (chain.last, NONE);
        if chain.last == NONE {
            chain.first = at;
        } else {
            self.links[chain.last as usize].next = at;
        }
        chain.last = at;
        chain.count += 1;
    }

    fn part(&mut self, chain: &mut Chain, at: u32) {
        let Link { before, next, .. } = self.links[at as usize];
        if before == NONE {
            chain.first = next;
        } else {
            self.links[before as usize].next = next;
        }
        if next == NONE {
            chain.last = before;
        } else {
            self.links[next as usize].before = before;
        }
        chain.count -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(chains: &Chains<u32>, chain: &Chain) -> Vec<u32> {
        let places = std::iter::successors(chain.first(), |place| chains.after(*place));
        places.map(|place| *chains.get(place).unwrap()).collect()
    }

    #[test]
    fn items_stay_in_order_whichever_is_taken_out() {
        for taken in 0..3 {
            let (mut chains, mut chain) = (Chains::default(), Chain::default());
            let places: Vec<_> = (0..3).map(|n| chains.push(&mut chain, n).unwrap()).collect();
            assert_eq!(chains.remove(&mut chain, places[taken as usize]), Some(taken));
            assert_eq!(chains.remove(&mut chain, places[taken as usize]), None);
            assert_eq!(items(&chains, &chain), (0..3).filter(|n| *n != taken).collect::<Vec<_>>());
            assert_eq!(chain.count(), 2);
        }
    }

    #[test]
    fn item_that_is_passed_on_is_the_last_of_its_new_chain() {
        let (mut chains, mut a, mut b) = (Chains::default(), Chain::default(), Chain::default());
        let places: Vec<_> = (0..3).map(|n| chains.push(&mut a, n).unwrap()).collect();
        chains.push(&mut b, 9).unwrap();
        chains.pass(&mut a, Some(&mut b), places[1]);
        chains.pass(&mut a, None, places[0]);
        assert_eq!((items(&chains, &a), items(&chains, &b)), (vec![2, 0], vec![9, 1]));
    }

    #[test]
    fn room_that_was_given_up_is_used_again() {
        let (mut chains, mut chain) = (Chains::default(), Chain::default());
        for n in 0..10_000 {
            let place = chains.push(&mut chain, n).unwrap();
            chains.remove(&mut chain, place);
        }
        assert_eq!(chains.links.len(), 1);
    }
}
