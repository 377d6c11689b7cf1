//! Exactness of the turns, and checks through the foreign trait.

use std::time::Duration;

use proptest::prelude::*;

use super::super::origins::{OK, Script, start};
use super::*;
use crate::model::{BodyMatch, Expect, HttpProbe, ProbeKind};

fn selection(weights: &[u16]) -> Arc<SmoothTurns> {
    let of = |(n, weight): (u16, &u16)| {
        backend(SocketAddr::from(([10, 0, 0, 1], n)), Share::new(ServerId(n.into()), Weight(*weight)))
    };
    Arc::new(SmoothTurns::build(&(1..).zip(weights).map(of).collect()))
}

fn id(backend: &Backend) -> u64 {
    backend.ext.get::<Arc<Share>>().unwrap().id().0
}

/// Makes so many choices, never of the servers that are down; returns how often each was chosen.
fn choices(selection: &Arc<SmoothTurns>, many: usize, down: &[u64]) -> BTreeMap<u64, usize> {
    let mut count = BTreeMap::new();
    for _ in 0..many {
        let mut turns = selection.iter(b"");
        while let Some(n) = turns.next().map(id) {
            if !down.contains(&n) {
                *count.entry(n).or_default() += 1;
                break;
            }
        }
    }
    count
}

#[test]
fn turns_interleave_by_weight() {
    let selection = selection(&[5, 3, 2]);
    let order: Vec<u64> = (0..20).map(|_| id(selection.iter(b"").next().unwrap())).collect();
    assert_eq!(order[..10], [1, 2, 3, 1, 1, 2, 1, 3, 2, 1]);
    assert_eq!(order[..10], order[10..]);
}

#[test]
fn turns_of_one_request_try_everybody_once() {
    let selection = selection(&[9, 0, 1]);
    let mut turns = selection.iter(b"");
    let tried: Vec<u64> = std::iter::from_fn(|| turns.next().map(id)).collect();
    assert_eq!(tried, [1, 3]);
}

#[test]
fn weight_changed_in_place_takes_effect_without_a_burst() {
    let selection = selection(&[1, 1]);
    choices(&selection, 1000, &[]);
    selection.servers[0].1.set_weight(Weight(3));
    let across = choices(&selection, 400, &[]);
    assert!(across[&1].abs_diff(300) <= 1, "{across:?}");
    assert_eq!(choices(&selection, 400, &[]), BTreeMap::from([(1, 300), (2, 100)]));
    selection.servers[0].1.set_weight(Weight(0));
    assert_eq!(choices(&selection, 10, &[]), BTreeMap::from([(2, 10)]));
    selection.servers[0].1.set_weight(Weight(1));
    let after = choices(&selection, 10, &[]);
    assert!(after[&1] <= 6 && after[&2] <= 6, "{after:?}");
}

#[test]
fn server_that_comes_back_makes_up_for_nothing() {
    let selection = selection(&[100, 1, 1]);
    choices(&selection, 1000, &[1]);
    let back = choices(&selection, 102, &[]);
    assert_eq!(back, BTreeMap::from([(1, 100), (2, 1), (3, 1)]));
}

#[tokio::test]
async fn probe_check_keeps_the_evidence_that_its_result_loses() {
    let expect = Expect { body: Some(BodyMatch::Contains("all ok".into())), ..Expect::default() };
    let kind = ProbeKind::Http(HttpProbe { expect, ..HttpProbe::get("/") });
    let probe = Probe { timeout: Duration::from_secs(2), ..Probe::new(kind) };
    let check = ProbeCheck::new(Arc::new(probe));
    assert_eq!((check.health_threshold(true), check.health_threshold(false)), (2, 3));

    let good = backend(start(Script::Reply(OK)).await, Share::new(ServerId(1), Weight(1)));
    check.check(&good).await.unwrap();
    let bad = Script::Reply("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    let bad = backend(start(bad).await, Share::new(ServerId(2), Weight(1)));
    let error = check.check(&bad).await.unwrap_err();
    assert_eq!(error.etype(), &ErrorType::CustomCode("L7STS", 503));
    let record = bad.ext.get::<Arc<Share>>().unwrap().last_check().unwrap();
    assert_eq!((record.code, record.content.as_str()), (Some(503), "Service Unavailable"));
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

proptest! {
    /// Whoever is down, a whole round among the others is exact, wherever it begins.
    #[test]
    fn shares_are_exact_with_anybody_down(
        weights in prop::collection::vec(0..12u16, 1..7),
        down in prop::collection::btree_set(1..7u64, 0..4),
        before in 0..50usize,
    ) {
        let selection = selection(&weights);
        let down: Vec<u64> = down.into_iter().collect();
        let up: BTreeMap<u64, u64> = (1..)
            .zip(&weights)
            .map(|(n, weight)| (n, u64::from(*weight)))
            .filter(|(n, weight)| *weight > 0 && !down.contains(n))
            .collect();
        choices(&selection, before, &down);
        let divisor = up.values().copied().fold(0, gcd).max(1);
        let round = up.values().sum::<u64>() / divisor;
        let got = choices(&selection, usize::try_from(round).unwrap(), &down);
        let want: BTreeMap<u64, usize> = up.iter().map(|(n, w)| (*n, usize::try_from(w / divisor).unwrap())).collect();
        prop_assert_eq!(got, want);
    }
}
