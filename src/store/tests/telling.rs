//! How events reach the sinks.

use std::sync::mpsc::{channel, sync_channel};

use super::*;

fn with_sink(sink: impl Fn(&Arc<Event>) + Send + Sync + 'static) -> Store {
    let store = Store::new(service(), 1, Arc::new(NoJournal), vec![Box::new(sink)]).unwrap();
    let servers = (1..=2).map(|n| server("web", n, 1)).collect();
    store.reload(topology(servers, Some(probe())), &AnyHost, Timestamp(1)).unwrap();
    store
}

/// A sink that waits (a full pipe of the log) holds up the thread that tells, and no check of another.
#[test]
fn sink_that_blocks_holds_up_no_other_thread_and_order_is_kept() {
    let (entered, has_entered) = channel();
    let (let_go, may_go) = sync_channel::<()>(0);
    let (entered, may_go) = (Mutex::new(entered), Mutex::new(may_go));
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = {
        let told = Arc::clone(&told);
        move |event: &Arc<Event>| {
            if matches!(event.kind, EventKind::Transition { to: Health::Down, .. }) {
                entered.lock().unwrap().send(()).unwrap();
                may_go.lock().unwrap().recv().unwrap();
            }
            told.lock().unwrap().push(event.id);
        }
    };
    let store = with_sink(sink);
    std::thread::scope(|threads| {
        threads.spawn(|| store.observe_one(key(1), record(CheckStatus::L4Con, 5)));
        has_entered.recv().unwrap();
        let before = told.lock().unwrap().len();
        store.observe_one(key(2), record(CheckStatus::L7Ok, 6));
        assert_eq!(rotation(&store), (Serving::Primaries, vec![1]));
        assert_eq!(told.lock().unwrap().len(), before, "left to the one that tells");
        let_go.send(()).unwrap();
    });
    let told = told.lock().unwrap();
    assert!(told.len() >= 4 && told.windows(2).all(|two| two[0] + 1 == two[1]), "{told:?}");
}

#[test]
fn event_is_told_after_the_table_that_shows_it_and_without_the_lock() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let store: Arc<OnceLock<Arc<Store>>> = Arc::default();
    let sink = {
        let (seen, store) = (Arc::clone(&seen), Arc::clone(&store));
        move |event: &Arc<Event>| {
            let Some(store) = store.get() else { return };
            // Takes the Store's lock.
            let snapshot = store.snapshot(Timestamp(100));
            seen.lock().unwrap().push((event.generation <= snapshot.generation, snapshot.last_event >= event.id));
        }
    };
    let made = Arc::new(with_sink(sink));
    store.set(Arc::clone(&made)).unwrap();
    made.observe_one(key(1), record(CheckStatus::L7Ok, 5));
    let seen = seen.lock().unwrap();
    assert!(seen.len() == 2 && seen.iter().all(|is_right| *is_right == (true, true)), "{seen:?}");
}

#[test]
fn many_threads_tell_every_event_once_and_in_order() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = {
        let told = Arc::clone(&told);
        move |event: &Arc<Event>| told.lock().unwrap().push(event.id)
    };
    let store = with_sink(sink);
    std::thread::scope(|threads| {
        for n in 1..=2 {
            let store = &store;
            threads.spawn(move || {
                for at in 0..200 {
                    let status = if at % 4 < 2 { CheckStatus::L4Con } else { CheckStatus::L7Ok };
                    store.observe_one(key(n), record(status, 5 + at));
                }
            });
        }
    });
    let told = told.lock().unwrap();
    assert!(told.len() > 100 && told.windows(2).all(|two| two[0] + 1 == two[1]), "{told:?}");
    assert_eq!(told.last().copied(), Some(store.snapshot(Timestamp(u64::MAX / 2)).last_event));
}

#[test]
fn events_beyond_the_outbox_are_counted_and_the_latest_are_told() {
    let (entered, has_entered) = channel();
    let (let_go, may_go) = sync_channel::<()>(0);
    let (entered, may_go) = (Mutex::new(entered), Mutex::new(may_go));
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = {
        let told = Arc::clone(&told);
        move |event: &Arc<Event>| {
            if matches!(event.kind, EventKind::Transition { to: Health::Down, .. }) && told.lock().unwrap().len() < 4 {
                entered.lock().unwrap().send(()).unwrap();
                may_go.lock().unwrap().recv().unwrap();
            }
            told.lock().unwrap().push(event.id);
        }
    };
    let store = with_sink(sink);
    std::thread::scope(|threads| {
        threads.spawn(|| store.observe_one(key(1), record(CheckStatus::L4Con, 5)));
        has_entered.recv().unwrap();
        let weights = (0..20_000u32).map(|n| Weight(u16::from(n.is_multiple_of(2)) + 1));
        weights.for_each(|weight| set(&store, 2, Wish::Weight(weight)));
        let_go.send(()).unwrap();
    });
    let last = store.snapshot(Timestamp(u64::MAX / 2)).last_event;
    let told = told.lock().unwrap();
    assert_eq!(told.last().copied(), Some(last));
    assert_eq!((store.take_untold(), store.take_untold()), (last - told.len() as u64, 0));
}
