//! Who waits for a server of a farm whose servers are full: one line for all workers, the first in it served first.
//!
//! A place that is given back goes straight to the first in line that may have it, so nobody who comes later takes it
//! away; it is woken, takes it, and leaves. Whoever leaves the line with a place in hand (its client went, its time was
//! up) has the place handed to the next. The lock is held for a few steps, for a search of the line where the first may
//! not have the place. Knows wakers and no runtime; who may have a place is asked of the caller.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use crate::model::ServerId;

use super::chain::{Chain, Chains, Place};
use super::live::ServerLive;

/// See the module's doc.
#[derive(Debug, Default)]
pub struct Queue {
    line: Mutex<Line>,
    /// How many wait, those with a place in hand left out.
    length: AtomicU32,
    /// How many ever came.
    came: AtomicU64,
}

#[derive(Debug, Default)]
struct Line {
    all: Chains<Waiting>,
    /// Those without a place, in the order in which they came.
    waiting: Chain,
    /// Those who have one in hand.
    served: Chain,
}

#[derive(Debug)]
struct Waiting {
    wish: Wish,
    given: Option<Given>,
    waker: Option<Waker>,
}

/// A place that was given: whoever has this has the place.
#[derive(Clone, Debug)]
pub struct Given {
    /// Of which server.
    pub server: ServerId,
    /// Where its places are counted.
    pub live: Arc<ServerLive>,
}

/// Whose place somebody waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// This server's only; anybody's where absent.
    pub only: Option<ServerId>,
    /// None of these.
    pub not: Vec<ServerId>,
}

impl Wish {
    /// Returns whether a place of that server is wished for.
    #[must_use]
    pub fn is_for(&self, server: ServerId) -> bool {
        self.only.is_none_or(|only| only == server) && !self.not.contains(&server)
    }
}

/// Somebody in line; leaves it when dropped.
#[derive(Debug)]
pub struct Seat {
    queue: Arc<Queue>,
    place: Option<Place>,
}

impl Queue {
    /// Joins the line at its end, if fewer than `length_max` wait.
    #[must_use]
    pub fn join(self: &Arc<Self>, wish: Wish, length_max: u32) -> Option<Seat> {
        let mut line = self.line();
        let Line { all, waiting, .. } = &mut *line;
        if waiting.count() >= length_max {
            return None;
        }
        let place = all.push(waiting, Waiting { wish, given: None, waker: None })?;
        self.length.store(waiting.count(), SeqCst);
        self.came.fetch_add(1, SeqCst);
        drop(line);
        Some(Seat { queue: Arc::clone(self), place: Some(place) })
    }

    /// Returns how many wait.
    #[must_use]
    pub fn length(&self) -> u32 {
        self.length.load(SeqCst)
    }

    /// Returns how many wait that would take a place of that server.
    #[must_use]
    pub fn length_for(&self, server: ServerId) -> u32 {
        if self.length() == 0 {
            return 0;
        }
        let line = self.line();
        let for_it = line.in_line().filter(|(_, waiting)| waiting.wish.is_for(server));
        u32::try_from(for_it.count()).unwrap_or(u32::MAX)
    }

    /// Gives back a place of a server, or hands it to the first in line for whom `may` is true of what it wishes; nobody
    /// gets it that way where more are taken than there are. How many there are, `most` says; it and `may` are asked only
    /// while somebody waits.
    pub fn give_back(&self, place: &Given, most: impl Fn() -> u32, may: impl Fn(&Wish) -> bool) {
        loop {
            let came = self.came.load(SeqCst);
            if self.length() > 0 && place.live.places.taken() <= most() && self.hand_over(place, &may) {
                // Where there are more places than there were, the next in line is served as well.
                if self.length() == 0 || !place.live.places.try_take(most()) {
                    return;
                }
                continue;
            }
            place.live.places.give_back();
            // Whoever came since has found no place, perhaps, and is not to wait for another one.
            if self.came.load(SeqCst) == came || !place.live.places.try_take(most()) {
                return;
            }
        }
    }

    fn hand_over(&self, given: &Given, may: &impl Fn(&Wish) -> bool) -> bool {
        let mut line = self.line();
        let first = line.in_line().find(|(_, waiting)| waiting.wish.is_for(given.server) && may(&waiting.wish));
        let Some(place) = first.map(|(place, _)| place) else { return false };
        let Line { all, waiting, served } = &mut *line;
        all.pass(waiting, Some(served), place);
        self.length.store(waiting.count(), SeqCst);
        let waker = all.get_mut(place).and_then(|first| {
            first.given = Some(given.clone());
            first.waker.take()
        });
        drop(line);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn in_line(&self) -> impl Iterator<Item = (Place, &Waiting)> {
        let places = std::iter::successors(self.waiting.first(), |place| self.all.after(*place));
        places.filter_map(|place| Some((place, self.all.get(place)?)))
    }
}

impl Seat {
    /// Ready once a place was given, which [`Self::leave`] returns.
    pub fn poll_given(&self, waker: &Waker) -> Poll<()> {
        let mut line = self.queue.line();
        let Some(waiting) = self.place.and_then(|place| line.all.get_mut(place)) else { return Poll::Pending };
        if waiting.given.is_some() {
            return Poll::Ready(());
        }
        if !waiting.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            waiting.waker = Some(waker.clone());
        }
        Poll::Pending
    }

    /// Leaves the line; returns the place that was given, which the caller now has.
    #[must_use]
    pub fn leave(mut self) -> Option<Given> {
        self.go()
    }

    /// Wishes for something else from now on.
    pub fn wish(&self, wish: Wish) {
        let mut line = self.queue.line();
        if let Some(waiting) = self.place.and_then(|place| line.all.get_mut(place)) {
            waiting.wish = wish;
        }
    }

    fn go(&mut self) -> Option<Given> {
        let place = self.place.take()?;
        let mut line = self.queue.line();
        let Line { all, waiting, served } = &mut *line;
        let chain = if all.get(place)?.given.is_some() { served } else { &mut *waiting };
        let gone = all.remove(chain, place)?;
        self.queue.length.store(waiting.count(), SeqCst);
        gone.given
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // Whoever may have been given a place asks for it by `leave`.
        let given = self.go();
        debug_assert!(given.is_none(), "a place was given and lost");
    }
}

#[cfg(test)]
mod tests;
