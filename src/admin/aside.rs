//! What takes long, off the admin thread, so that it goes on taking calls: answers, a few at once, and what waits for the
//! disk.
//!
//! Told of ten thousand servers, a scrape or a status takes a core for a second or more. What is written is on the disk
//! before it is answered, and disks stall.

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// How many are made at once, whoever asks; more would take the data plane's cores from it.
const AT_ONCE: usize = 2;

static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);

/// Returns what `make` returns, made on a thread of its own; none if it panicked, which its thread has reported.
pub(super) async fn made<T: Send + 'static>(make: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let turn = TURNS.acquire().await;
    // The turn ends with the work, not with the client's patience.
    let made = spawn_blocking(move || {
        let _turn = turn;
        make()
    });
    made.await.ok()
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

    static NOW: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);

    #[tokio::test]
    async fn thread_that_asks_goes_on_meanwhile() {
        let (go, wait) = mpsc::channel::<()>();
        let long = tokio::spawn(made(move || wait.recv_timeout(Duration::from_secs(20)).is_ok()));
        tokio::task::yield_now().await;
        // On this only thread: it could never be sent were the work done here.
        go.send(()).unwrap();
        assert_eq!(long.await.unwrap(), Some(true));
    }

    #[tokio::test]
    async fn few_are_made_at_once_even_if_nobody_waits_for_them() {
        let work = || {
            MOST.fetch_max(NOW.fetch_add(1, SeqCst) + 1, SeqCst);
            std::thread::sleep(Duration::from_millis(20));
            NOW.fetch_sub(1, SeqCst);
        };
        let asked: Vec<_> = (0..10).map(|_| tokio::spawn(made(work))).collect();
        tokio::time::sleep(Duration::from_millis(10)).await;
        asked.iter().step_by(2).for_each(tokio::task::JoinHandle::abort);
        for one in asked {
            let _ = one.await;
        }
        assert_eq!(made(|| 7).await, Some(7));
        assert!((1..=AT_ONCE).contains(&MOST.load(SeqCst)), "{MOST:?}");
    }
}
