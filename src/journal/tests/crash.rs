//! What is left of a process that was killed: everything that was answered, and events without a hole.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

/// Set for the process that is to be killed: its state_dir.
const DIR: &str = "FARMGATE_TEST_CRASH_DIR";
const ROUNDS: u64 = 12;

/// Not a test of its own: what the next one starts and kills. It says each act once it is kept.
#[test]
fn process_that_is_killed() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let journal = open(Path::new(&dir));
    let first = journal.last_event_id().unwrap() + 1;
    let mut out = std::io::stdout();
    for id in first.. {
        note(&journal, transition(id, 1, seconds(id % 1000), Health::Down, None));
        let weight = Weight(u16::try_from(id % 60_000).unwrap() + 1);
        journal.put_override(&saved(id % 5, Wish::Weight(weight), Wish::Weight(Weight(0)))).unwrap();
        journal.put_cursor("pager", id).unwrap();
        writeln!(out, "kept {} {} {id}", id % 5, weight.0).unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn killed_process_loses_nothing_that_it_answered_and_leaves_no_hole() {
    let dir = tempfile::tempdir().unwrap();
    let mut cut_before = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "journal::tests::crash::process_that_is_killed", "--nocapture"]);
        let mut child = child.env(DIR, dir.path()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Killed after another number of acts each time, so at another point of the writer's 50 ms.
        let mut acts = 0;
        let mut kept = std::collections::BTreeMap::new();
        let mut last = 0;
        let mut take = |line: &str| {
            let Some((_, act)) = line.split_once("kept ") else { return false };
            let numbers: Vec<u64> = act.split(' ').map(|n| n.parse().unwrap()).collect();
            kept.insert(numbers[0], numbers[1]);
            last = numbers[2];
            true
        };
        while acts < 5 + round * 7 {
            acts += u64::from(take(&lines.next().unwrap().unwrap()));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        lines.map_while(Result::ok).filter(|line| line.ends_with(|c: char| c.is_ascii_digit())).for_each(|line| {
            take(&line);
        });

        let journal = open(dir.path());
        let overrides = journal.overrides().unwrap();
        for (n, weight) in &kept {
            let found = overrides.iter().find(|saved| saved.server == server(*n).0).unwrap();
            let Wish::Weight(found) = found.made.wish else { panic!("{found:?}") };
            // The one after the last answer may have been kept too.
            assert!(u64::from(found.0) == *weight || u64::from(found.0) == last % 60_000 + 2, "round {round}");
        }
        assert!(journal.cursor("pager").unwrap().unwrap() >= last);
        let of_round = ids(&journal, &EventQuery { after: Some(cut_before), ..EVERYTHING });
        let expected = cut_before + 1..=cut_before + of_round.len() as u64;
        assert_eq!(of_round, expected.collect::<Vec<_>>(), "round {round}");
        // Nothing that the killed process may have told of is told again under the same id.
        cut_before = journal.last_event_id().unwrap();
        assert!(cut_before > last + 1000);
    }
}
