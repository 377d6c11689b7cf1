//! Who is served when, and that no place is lost or given twice.

use std::sync::atomic::AtomicBool;
use std::task::Wake;

use super::*;

const A: ServerId = ServerId(1);
const B: ServerId = ServerId(2);

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

fn any() -> Wish {
    Wish::default()
}

fn only(server: ServerId) -> Wish {
    Wish { only: Some(server), ..any() }
}

fn is_served(seat: &Seat) -> bool {
    seat.poll_given(Waker::noop()).is_ready()
}

fn left_with(seat: Seat) -> Option<ServerId> {
    seat.leave().map(|given| given.server)
}

/// Server A with so many places, all of them taken.
fn full(count: u32) -> Given {
    let live = ServerLive::new(1);
    (0..count).for_each(|_| assert!(live.places.try_take(count)));
    Given { server: A, live }
}

fn taken(a: &Given) -> u32 {
    a.live.places.taken()
}

#[test]
fn place_goes_to_the_first_in_line_and_is_never_free_in_between() {
    let (queue, a) = (Arc::new(Queue::default()), full(1));
    let woken = Arc::new(Woken::default());
    let (first, second) = (queue.join(any(), 10).unwrap(), queue.join(any(), 10).unwrap());
    assert!(first.poll_given(&Waker::from(Arc::clone(&woken))).is_pending());
    queue.give_back(&a, || 1, |_| true);
    assert!(woken.0.load(SeqCst));
    assert_eq!((is_served(&first), is_served(&second), queue.length(), taken(&a)), (true, false, 1, 1));
    assert_eq!(left_with(first), Some(A));
    queue.give_back(&a, || 1, |_| true);
    assert_eq!(left_with(second), Some(A));
    queue.give_back(&a, || 1, |_| true);
    assert_eq!((queue.length(), taken(&a)), (0, 0));
}

#[test]
fn place_passes_by_whoever_may_not_have_it() {
    let (queue, a) = (Arc::new(Queue::default()), full(1));
    let for_b = queue.join(only(B), 10).unwrap();
    let tried_a = queue.join(Wish { not: vec![A], ..any() }, 10).unwrap();
    let for_a = queue.join(only(A), 10).unwrap();
    assert_eq!([A, B].map(|server| queue.length_for(server)), [1, 2]);
    queue.give_back(&a, || 1, |wish| wish.only.is_some());
    assert_eq!([&for_b, &tried_a, &for_a].map(is_served), [false, false, true]);
    assert_eq!(left_with(for_a), Some(A));
    queue.give_back(&a, || 1, |_| true);
    assert_eq!((taken(&a), queue.length()), (0, 2), "nobody in line wants it");
    for_b.wish(any());
    assert_eq!(queue.length_for(A), 1);
    assert_eq!((left_with(for_b), left_with(tried_a), queue.length()), (None, None, 0));
}

#[test]
fn line_is_as_long_as_it_may_be_and_no_longer() {
    let queue = Arc::new(Queue::default());
    assert!(queue.join(any(), 0).is_none());
    let seats: Vec<_> = (0..3).filter_map(|_| queue.join(any(), 2)).collect();
    assert_eq!((seats.len(), queue.length()), (2, 2));
    drop(seats);
    assert_eq!(queue.length(), 0);
    assert!(queue.join(any(), 1).is_some());
}

#[test]
fn bound_that_was_lowered_is_come_down_to_before_anybody_is_served() {
    let (queue, a) = (Arc::new(Queue::default()), full(3));
    let seat = queue.join(any(), 10).unwrap();
    queue.give_back(&a, || 1, |_| true);
    queue.give_back(&a, || 1, |_| true);
    assert_eq!((is_served(&seat), taken(&a)), (false, 1));
    queue.give_back(&a, || 1, |_| true);
    assert_eq!((left_with(seat), taken(&a)), (Some(A), 1));
}

#[test]
fn bound_that_was_raised_serves_as_many_of_the_line_as_there_are_places() {
    let (queue, a) = (Arc::new(Queue::default()), full(1));
    let seats: Vec<_> = (0..4).filter_map(|_| queue.join(any(), 10)).collect();
    queue.give_back(&a, || 3, |_| true);
    assert_eq!(seats.iter().map(is_served).collect::<Vec<_>>(), [true, true, true, false]);
    assert_eq!((taken(&a), queue.length()), (3, 1));
    queue.give_back(&a, || 9, |_| false);
    assert_eq!((taken(&a), queue.length()), (2, 1), "nobody in line may have it");
    assert_eq!(seats.into_iter().filter_map(left_with).count(), 3);
}

/// Eight threads, two places, everybody waits for a turn: never three at once, and in the end nothing is taken.
#[test]
fn eight_threads_share_two_places_and_none_is_lost() {
    const TURNS: usize = 500;
    let (queue, a) = (Arc::new(Queue::default()), full(0));
    let (inside, most) = (AtomicU32::new(0), AtomicU32::new(0));
    let take = || {
        if a.live.places.try_take(2) {
            return;
        }
        let seat = queue.join(any(), 100).unwrap();
        // As whoever waits does: a place may have become free before the line was joined.
        if a.live.places.try_take(2) {
            if seat.leave().is_some() {
                queue.give_back(&a, || 2, |_| true);
            }
            return;
        }
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        while seat.poll_given(&waker).is_pending() {
            std::thread::park_timeout(std::time::Duration::from_secs(20));
        }
        assert_eq!(left_with(seat), Some(A));
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..TURNS {
                    take();
                    most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                    std::thread::yield_now();
                    inside.fetch_sub(1, SeqCst);
                    queue.give_back(&a, || 2, |_| true);
                }
            });
        }
    });
    assert!((1..=2).contains(&most.load(SeqCst)), "{most:?}");
    assert_eq!((taken(&a), queue.length()), (0, 0));
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
