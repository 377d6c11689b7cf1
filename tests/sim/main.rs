//! Simulation: the whole machine under a virtual clock, with seeded faults.
//!
//! One number decides everything: the file and its edits, what servers and the network do, what operators do and when,
//! how the wall clock is set, where the process dies between two writes of the journal. Driven are the real Store,
//! health, schedule, rotation and choosers; around them are played servers and network ([`servers`]), the prober's loop
//! ([`prober`]), the journal ([`journal`]), sessions, operators and the file. Nothing sleeps, no thread but those that
//! share the seeds out, no real time. After every turn [`watch`] holds what must hold against models of its own:
//!
//! 1. No work for a server in maintenance or drain, of weight 0, Down, ejected or held down, unless the farm fails open
//!    or an incident holds it.
//! 2. A farm with somebody good serves; failing open leaves no farm empty.
//! 3. Health and progress are what another formulation of the rule makes of the same checks.
//! 4. What was answered survives a crash between any two writes; who was Down is Down from the first table on.
//! 5. Ids of events increase for ever; whatever changed in a table was told once.
//! 6. A drain closes exactly what is left at its deadline; orders end in time; a slow start only grows.
//! 7. Checks begin when they are due, keep their pace, and never run twice or too many at once.
//! 8. Ejections, holds and incidents last no longer than they may.
//! 9. Removed servers stay visible until they are idle.
//! 10. Snapshot, table and explanation agree.
//! 11. After a tick nothing is due; time goes on.
//!
//! `FARMGATE_SIM_SEEDS` says how many seeds; `FARMGATE_SIM_SEED=N` replays one and prints every turn.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "what the simulation cannot do is a failed test; it is read by people"
)]

mod chance;
mod declared;
mod journal;
mod naive;
mod operator;
mod prober;
mod servers;
mod sessions;
mod views;
mod watch;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use world::World;

/// Seeds that every run tries.
const SEEDS: u64 = 1_000;
/// Turns of one seed.
const TURNS: u32 = 700;

/// What holds, or which invariant does not.
pub(crate) type Held = Result<(), String>;

/// Returns the breach of an invariant unless it holds: `must!(holds, "(1) its name", "details {x}")`.
macro_rules! must {
    ($holds:expr, $name:literal, $($details:tt)*) => {
        if !$holds {
            return Err(format!("invariant {}: {}", $name, format_args!($($details)*)));
        }
    };
}
pub(crate) use must;

/// What is broken on purpose, to show that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// Checks begin later than planned.
    LateChecks,
    /// The journal forgets healths.
    LostHealths,
    /// The journal says that it kept an override, and did not.
    LostOverrides,
    /// Work is given to servers in maintenance.
    MaintenanceIgnored,
    /// After a crash ids of events begin where the last durable one was.
    RepeatedIds,
}

/// Runs one seed.
fn run(seed: u64, sabotage: Option<Sabotage>, is_traced: bool) -> Held {
    let mut world = World::new(seed, sabotage, is_traced).map_err(|breach| format!("at the start: {breach}"))?;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..TURNS {
            world.turn()?;
        }
        world.end()
    }));
    let outcome = outcome.unwrap_or_else(|panic| {
        let words =
            panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("invariant: nothing panics: {}", words.unwrap_or("a panic")))
    });
    outcome.map_err(|breach| {
        format!("seed {seed} failed at step {} (virtual time {} µs): {breach}", world.step, world.mono)
    })
}

/// Runs so many seeds on all cores; returns the first failure of each core.
fn run_all(seeds: u64, sabotage: Option<Sabotage>) -> Vec<String> {
    let (next, failures) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while failures.lock().unwrap().is_empty() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let replay = format!("; replay: FARMGATE_SIM_SEED={seed} cargo test --test sim");
                    failures.lock().unwrap().extend(run(seed, sabotage, false).err().map(|breach| breach + &replay));
                }
            });
        }
    });
    failures.into_inner().unwrap()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text:?}")))
}

#[test]
fn sim_holds_every_invariant_for_every_seed() {
    if let Some(seed) = number("FARMGATE_SIM_SEED") {
        let outcome = run(seed, None, true);
        assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
        return;
    }
    let failures = run_all(number("FARMGATE_SIM_SEEDS").unwrap_or(SEEDS), None);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn sim_of_one_seed_is_always_the_same() {
    let trail = |seed| {
        let mut world = World::new(seed, None, false).unwrap();
        (0..200).for_each(|_| world.turn().unwrap());
        (world.mono, world.wall())
    };
    for seed in 0..3 {
        assert_eq!(trail(seed), trail(seed));
    }
}

#[test]
fn sim_comes_to_everything_that_can_be_told() {
    let mut heard = std::collections::BTreeSet::new();
    for seed in 0..60 {
        let mut world = World::new(seed, None, false).unwrap();
        (0..TURNS).for_each(|_| world.turn().unwrap());
        heard.extend(world.heard());
    }
    let want = [
        "agent_said",
        "believed",
        "began",
        "changed",
        "deadline",
        "ejected",
        "ejection_ended",
        "farm_serving",
        "held_down",
        "hold_ended",
        "idle",
        "impossible",
        "left",
        "possible",
        "recovered",
        "reloaded",
        "transition",
        "until",
        "warmup_began",
        "warmup_ended",
    ];
    let missing: Vec<_> = want.iter().filter(|word| !heard.contains(**word)).collect();
    assert!(missing.is_empty(), "{missing:?} of {heard:?}");
}

fn assert_caught(sabotage: Sabotage, invariant: &str) {
    let failures = run_all(200, Some(sabotage));
    assert!(failures.iter().any(|failure| failure.contains(invariant)), "{sabotage:?}: {failures:?}");
}

#[test]
fn sim_catches_a_journal_that_loses_what_was_answered() {
    assert_caught(Sabotage::LostOverrides, "(4) an answer survives any crash");
}

#[test]
fn sim_catches_a_journal_that_forgets_who_was_down() {
    assert_caught(Sabotage::LostHealths, "(4) a durable transition is remembered");
}

#[test]
fn sim_catches_ids_that_are_given_out_twice() {
    assert_caught(Sabotage::RepeatedIds, "(5) ids increase for ever");
}

#[test]
fn sim_catches_work_given_to_servers_in_maintenance() {
    assert_caught(Sabotage::MaintenanceIgnored, "(1) no work for who may take none");
}

#[test]
fn sim_catches_checks_that_are_late() {
    assert_caught(Sabotage::LateChecks, "(7) a check begins when it is due");
}
