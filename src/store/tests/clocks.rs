//! Clocks that are set: what ends by time ends in time all the same.

use super::retuned::{is_ejected, observed};
use super::*;
use crate::model::TrafficFault;

#[test]
fn ejection_lasts_no_longer_than_its_length_after_the_clock_was_set_back() {
    let store = store(observed(true));
    store.tick(second(7_000)).unwrap();
    store.traffic_failed(key(1), 1, TrafficFault::Connect, second(7_200));
    store.tick(second(7_200)).unwrap();
    store.tick(second(100)).unwrap();
    store.tick(second(109)).unwrap();
    assert!(is_ejected(&store));
    store.tick(second(110)).unwrap();
    assert!(!is_ejected(&store));
}

#[test]
fn ejection_of_an_earlier_process_with_a_clock_ahead_ends_in_time() {
    let ledger = Arc::new(Ledger::default());
    let first = store_with(observed(true), &ledger);
    first.traffic_failed(key(1), 1, TrafficFault::Connect, second(7_200));
    drop(first);
    let second_process = store_with(observed(true), &ledger);
    second_process.tick(second(100)).unwrap();
    assert!(is_ejected(&second_process));
    second_process.tick(second(110)).unwrap();
    assert!(!is_ejected(&second_process));
}
