//! What fuzz targets have in common: bytes that are like right ones, and how long to go on with them. For tests alone.
//!
//! Each target gets ever new values for as long as `FARMGATE_FUZZ_SECONDS` says, a quarter of a second if it says
//! nothing; what breaks its property is made as small as it can be and shown.

use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{TestCaseError, TestRunner};

/// Values that are tried before the time is looked at.
const ROUND: u32 = 8;
const SECONDS_USUALLY: f64 = 0.25;

/// Runs `check` on ever new values until the time is over.
pub(crate) fn fuzz<S: Strategy>(strategy: &S, check: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let seconds = std::env::var("FARMGATE_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let within = Duration::from_secs_f64(seconds.unwrap_or(SECONDS_USUALLY));
    let config = ProptestConfig { cases: ROUND, failure_persistence: None, ..ProptestConfig::default() };
    let began = now();
    while now() - began < within {
        // One that had its round has no more values to try.
        if let Err(failure) = TestRunner::new(config.clone()).run(strategy, &check) {
            panic!("{failure}");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a test goes on is no time of the program's")]
fn now() -> Instant {
    Instant::now()
}

/// What is done to bytes.
#[derive(Clone, Debug)]
enum Edit {
    Insert(Index, Vec<u8>),
    Remove(Index, u8),
    Repeat(Index, u8),
    Set(Index, u8),
}

/// Bytes that are one of these, or like it: at some places something else, more, or less.
pub(crate) fn like(seeds: Vec<Vec<u8>>, pieces: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    let edit = prop_oneof![
        (any::<Index>(), select(pieces)).prop_map(|(at, piece)| Edit::Insert(at, piece.to_vec())),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Insert(at, vec![byte])),
        (any::<Index>(), 1..20u8).prop_map(|(at, count)| Edit::Remove(at, count)),
        (any::<Index>(), 1..40u8).prop_map(|(at, count)| Edit::Repeat(at, count)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
    ];
    (select(seeds), vec(edit, 0..6)).prop_map(|(mut bytes, edits)| {
        edits.iter().for_each(|edit| apply(&mut bytes, edit));
        bytes
    })
}

fn apply(bytes: &mut Vec<u8>, edit: &Edit) {
    let place = |at: &Index| at.index(bytes.len() + 1);
    match edit {
        Edit::Insert(at, piece) => {
            let at = place(at);
            bytes.splice(at..at, piece.iter().copied());
        }
        Edit::Remove(at, count) => {
            let at = place(at);
            bytes.drain(at..(at + usize::from(*count)).min(bytes.len()));
        }
        Edit::Repeat(at, count) => {
            let at = place(at);
            let again = bytes[at..(at + usize::from(*count)).min(bytes.len())].to_vec();
            bytes.splice(at..at, again);
        }
        Edit::Set(at, byte) => {
            let at = place(at);
            if let Some(place) = bytes.get_mut(at) {
                *place = *byte;
            }
        }
    }
}
