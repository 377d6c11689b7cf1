//! What takes long, off the admin thread, so that it goes on taking calls: answers, a few at once, and what waits for the
//! disk.
//!
//! Told of ten thousand servers, a scrape or a status takes a core for a second or more. Each [`Share`] of the work has
//! turns and a queue of its own, so that no kind of call keeps another from being answered: a queue that is full refuses
//! at once, and of one queue a caller may fill a part only. What is written is on the disk before it is answered, and
//! disks stall.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;

use super::call::{AdminState, Call};
use super::error::AdminError;
use super::long::LONG_CALLS_MAX;

/// In how many seconds a call that found the queue full may be made again.
const BUSY_SECONDS: u64 = 1;

/// By how much threads that make answers give way to those that carry traffic; a niceness once given stays, so each
/// answer has a thread of its own.
const NICENESS: i32 = 10;

/// What is made: each has turns of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// Another look for somebody who waits, and what a stream has missed.
    Looks,
    /// Whatever is asked for, but the others.
    Reads,
    /// What other rules would have made of checks that are remembered.
    Replays,
    /// What is scraped.
    Scrapes,
}

impl Share {
    const ALL: [Self; 4] = [Self::Looks, Self::Reads, Self::Replays, Self::Scrapes];

    fn bounds(self) -> Bounds {
        match self {
            // Each of the long calls looks once at a time; the others are told how an order stands.
            Self::Looks => Bounds { at_once: 1, places: 2 * LONG_CALLS_MAX, of_one: 2 * LONG_CALLS_MAX },
            Self::Reads => Bounds { at_once: 2, places: 64, of_one: 16 },
            Self::Replays => Bounds { at_once: 1, places: 16, of_one: 4 },
            Self::Scrapes => Bounds { at_once: 1, places: 16, of_one: 16 },
        }
    }
}

/// How much of a share's work there may be.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// How many are made at once, whoever asks; more would take the data plane's cores from it.
    at_once: usize,
    /// How many are made or wait for their turn.
    places: usize,
    /// How many of these one caller may have.
    of_one: usize,
}

/// Why nothing was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotMade {
    /// So much waits already.
    Busy,
    /// It panicked, which its thread has reported.
    Broken,
}

impl NotMade {
    /// Returns what a caller is told; none: that it is a fault of our own.
    pub(super) fn refusal(self) -> Option<AdminError> {
        match self {
            Self::Busy => Some(AdminError::Busy { seconds: BUSY_SECONDS }),
            Self::Broken => None,
        }
    }
}

/// Turns of every share; see the module's doc.
#[derive(Debug)]
pub struct Turns([Arc<Lane>; Share::ALL.len()]);

/// The turns of one share.
#[derive(Debug)]
struct Lane {
    bounds: Bounds,
    turns: Semaphore,
    /// How many places each caller has.
    taken: Mutex<BTreeMap<Box<str>, usize>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self(Share::ALL.map(|share| {
            let bounds = share.bounds();
            Arc::new(Lane { bounds, turns: Semaphore::new(bounds.at_once), taken: Mutex::default() })
        }))
    }
}

impl AdminState {
    /// Makes a part of the answer to `call`, of whoever is called `who`, on a thread of its own.
    ///
    /// # Errors
    /// [`NotMade`].
    pub(super) async fn aside<T: Send + 'static>(
        &self,
        call: &Call,
        (share, who): (Share, &str),
        make: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotMade> {
        let made = self.turns.made(share, who, make).await;
        if made.as_ref().is_err_and(|why| *why == NotMade::Busy) {
            // A call is refused once.
            let _ = call.retry_after.set(BUSY_SECONDS);
        }
        made
    }
}

impl Turns {
    /// Returns what `make` returns, made on a thread of its own.
    ///
    /// # Errors
    /// [`NotMade`].
    pub(super) async fn made<T: Send + 'static>(
        &self,
        share: Share,
        who: &str,
        make: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotMade> {
        let lane = &self.0[share as usize];
        let place = Place::take(lane, who).ok_or(NotMade::Busy)?;
        let Ok(turn) = place.0.turns.acquire().await else { return Err(NotMade::Broken) };
        turn.forget();
        let turn = Turn(place);
        let (told, made) = oneshot::channel();
        let runtime = Handle::current();
        // The turn ends with the work, not with the client's patience.
        let work = move || {
            let _turn = turn;
            let _within = runtime.enter();
            // Where it is not allowed, the work is done all the same.
            let _ = rustix::process::nice(NICENESS);
            // Whoever asked may have left.
            let _ = told.send(make());
        };
        std::thread::Builder::new().name("aside".to_owned()).spawn(work).map_err(|error| {
            tracing::error!(%error, "no thread for an answer");
            NotMade::Broken
        })?;
        made.await.map_err(|_| NotMade::Broken)
    }
}

/// A place in a queue, given back when it is dropped.
struct Place(Arc<Lane>, Box<str>);

impl Place {
    fn take(lane: &Arc<Lane>, who: &str) -> Option<Self> {
        let mut taken = lane.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(who).copied().unwrap_or(0);
        if own >= lane.bounds.of_one || taken.values().sum::<usize>() >= lane.bounds.places {
            return None;
        }
        taken.insert(who.into(), own + 1);
        drop(taken);
        Some(Self(Arc::clone(lane), who.into()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.1) {
            Some(own) if *own > 1 => *own -= 1,
            Some(_) | None => drop(taken.remove(&self.1)),
        }
    }
}

/// A turn, given back when it is dropped.
struct Turn(Place);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.0.turns.add_permits(1);
    }
}

/// Returns what `act` returns, done on a thread of its own, to its end even if the client leaves meanwhile; none if it
/// panicked, which its thread has reported. No more wait than there are calls under way.
pub(super) async fn done<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    spawn_blocking(act).await.ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn thread_that_asks_goes_on_meanwhile() {
        let turns = Arc::new(Turns::default());
        let (go, wait) = mpsc::channel::<()>();
        let long = async move { turns.made(Share::Reads, "a", move || wait.recv_timeout(PATIENCE).is_ok()).await };
        let long = tokio::spawn(long);
        tokio::task::yield_now().await;
        // On this only thread: it could never be sent were the work done here.
        go.send(()).unwrap();
        assert_eq!(long.await.unwrap(), Ok(true));
    }

    #[tokio::test]
    async fn few_are_made_at_once_even_if_nobody_waits_for_them() {
        let turns = Arc::new(Turns::default());
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let asked: Vec<_> = (0..10)
            .map(|_| {
                let (turns, now, most) = (Arc::clone(&turns), Arc::clone(&now), Arc::clone(&most));
                let work = move || {
                    most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                    std::thread::sleep(Duration::from_millis(20));
                    now.fetch_sub(1, SeqCst);
                };
                tokio::spawn(async move { turns.made(Share::Reads, "a", work).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(10)).await;
        asked.iter().step_by(2).for_each(tokio::task::JoinHandle::abort);
        for one in asked {
            let _ = one.await;
        }
        assert_eq!(turns.made(Share::Reads, "a", || 7).await, Ok(7));
        assert!((1..=2).contains(&most.load(SeqCst)), "{most:?}");
    }

    /// Holds both the turns of a share and every other place until what is returned is dropped.
    async fn filled(turns: &Arc<Turns>, share: Share) -> mpsc::Sender<()> {
        let (go, wait) = mpsc::channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        let bounds = share.bounds();
        for n in 0..bounds.places {
            let (turns, wait) = (Arc::clone(turns), Arc::clone(&wait));
            let who = (n / bounds.of_one).to_string();
            // Over when the sender is dropped.
            let work = move || wait.lock().unwrap().recv_timeout(PATIENCE).is_ok();
            tokio::spawn(async move { turns.made(share, &who, work).await });
        }
        while turns.0[share as usize].taken.lock().unwrap().values().sum::<usize>() < bounds.places {
            tokio::task::yield_now().await;
        }
        go
    }

    #[tokio::test]
    async fn share_that_is_full_refuses_and_keeps_no_other_from_its_turn() {
        for full in Share::ALL {
            let turns = Arc::new(Turns::default());
            let go = filled(&turns, full).await;
            for share in Share::ALL {
                let made = turns.made(share, "new", || 7).await;
                assert_eq!(made, if share == full { Err(NotMade::Busy) } else { Ok(7) }, "{full:?} {share:?}");
            }
            drop(go);
            while !turns.0[full as usize].taken.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
            assert_eq!(turns.made(full, "new", || 7).await, Ok(7), "every place was given back");
        }
    }

    #[tokio::test]
    async fn caller_has_some_places_and_leaves_others_theirs() {
        let turns = Arc::new(Turns::default());
        let (go, wait) = mpsc::channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        let of_one = Share::Replays.bounds().of_one;
        for _ in 0..of_one {
            let (turns, wait) = (Arc::clone(&turns), Arc::clone(&wait));
            let work = move || wait.lock().unwrap().recv_timeout(PATIENCE).is_ok();
            tokio::spawn(async move { turns.made(Share::Replays, "greedy", work).await });
        }
        while turns.0[Share::Replays as usize].taken.lock().unwrap().get("greedy") != Some(&of_one) {
            tokio::task::yield_now().await;
        }
        assert_eq!(turns.made(Share::Replays, "greedy", || 7).await, Err(NotMade::Busy));
        let other = Arc::clone(&turns);
        let other = tokio::spawn(async move { other.made(Share::Replays, "other", || 7).await });
        drop(go);
        assert_eq!(other.await.unwrap(), Ok(7));
    }

    #[tokio::test]
    async fn work_that_panics_gives_its_turn_back() {
        let turns = Turns::default();
        for _ in 0..3 {
            let made: Result<(), _> = turns.made(Share::Replays, "a", || panic!("on purpose")).await;
            assert_eq!(made, Err(NotMade::Broken));
        }
        assert_eq!(turns.made(Share::Replays, "a", || 7).await, Ok(7));
    }
}
