//! Tests of what is said where checks cannot be made.

use super::*;

/// Longer than what other sentences quote, and wanted whole.
const NO_ADDRESS: &str = "cannot connect from source fd00::1:2:3:4: Cannot assign requested address (os error 99); remove the key or write another";
const UNMADE: &str = "its checks cannot be made: cannot connect from source fd00::1:2:3:4: Cannot assign requested address (os error 99); remove the key or write another";
const STALE: &str = "last verdict L7OK 200 5 m ago";

fn unmade(slot: usize, verdict: Option<CheckStatus>) -> impl Fn(&mut Case) {
    move |case| {
        let content = Content::from_text(NO_ADDRESS);
        let last = CheckRecord::new(CheckStatus::SockErr, None, content, ago(1), Duration::ZERO);
        case.recent = vec![last.brief(ProbeSlot::FIRST); 16];
        case.probes[slot].last = Some(Arc::new(last));
        let code = |status| (status == L7Ok).then_some(200);
        let brief = |status| CheckBrief { at: ago(300), ..brief(status, code(status)) };
        case.probes[slot].last_verdict = verdict.map(brief);
    }
}

#[test]
fn sentence_of_a_server_whose_checks_cannot_be_made() {
    let passed = || unmade(0, Some(L7Ok));
    check(
        &Case::up().with(passed()),
        &format!("UP since 12:03:11 (4 m): {UNMADE}; {STALE}; next check in 1.8 s; {IN}"),
    );
    check(
        &Case::up().with(unmade(0, None)),
        &format!("UP since 12:03:11 (4 m): {UNMADE}; no verdict since this process began; next check in 1.8 s; {IN}"),
    );
    let unknown = |case: &mut Case| {
        case.set(Health::Unknown, 0, 2);
        unmade(0, None)(case);
    };
    check(
        &Case::up().out().with(unknown),
        &format!("no check: {UNMADE}; next check in 1.8 s; takes work only while nobody of the farm is Up"),
    );
    let shaken = |case: &mut Case| {
        case.set(Health::Up, 1, 3);
        unmade(0, Some(L7Tout))(case);
    };
    check(
        &Case::up().with(shaken),
        &format!(
            "UP 1/3 since 12:03:11 (4 m): one more failure takes it out; {UNMADE}; last verdict L7TOUT 5 m ago; next check in 1.8 s; {IN}"
        ),
    );
    check(
        &Case::down().with(unmade(0, Some(L7Tout))),
        &format!("{FAILED}; needs 2 passes; {UNMADE}; last verdict L7TOUT 5 m ago; next check in 1.8 s"),
    );
    let never = |case: &mut Case| {
        unmade(0, None)(case);
        case.decided_by.clear();
    };
    check(
        &Case::down().with(never),
        &format!(
            "DOWN since 12:03:11 (4 m): it begins Down until its checks pass; needs 2 passes; {UNMADE}; no verdict since this process began; next check in 1.8 s"
        ),
    );
    check(
        &Case::up().with(passed()).ordered(AdminStatus::Maintenance, Terms::default()),
        &format!("MAINT since 12:06:11 (1 m): maintenance {MADE}; until somebody says ready; {UNMADE}; {STALE}"),
    );
}

#[test]
fn sentence_names_the_probe_whose_checks_cannot_be_made_where_there_are_several() {
    let two = |case: &mut Case| {
        case.farm.probes = Box::new([named(ProbeKind::Tls, "port"), named(ProbeKind::Oco, "login")]);
        case.set(Health::Up, 3, 3);
        unmade(1, Some(L7Ok))(case);
        let passed = brief(L7Ok, Some(200));
        case.recent = vec![passed, case.recent[0]];
    };
    let login = UNMADE.replace("its checks", "the checks of probe \"login\"");
    check(
        &Case::up().with(two),
        &format!(
            "UP since 12:03:11 (4 m): its checks pass, the last L7OK 200 in 3 ms; {login}; {STALE}; next check in 1.8 s; {IN}"
        ),
    );
    let first = |case: &mut Case| {
        two(case);
        case.set(Health::Unknown, 0, 2);
        unmade(1, None)(case);
        (case.probes[0].health, case.standing.health, case.farm.quorum) = (Health::Up, Health::Up, Some(1));
        case.standing.progress = Progress { have: 3, need: 3 };
    };
    check(
        &Case::up().with(first),
        &format!(
            "UP since 12:03:11 (4 m): 1 of 2 probes passes, 1 must; probe \"login\" has no verdict yet; {login}; next check in 1.8 s; {IN}"
        ),
    );
}
