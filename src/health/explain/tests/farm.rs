//! Tests of what is said of a farm.

use super::*;

/// The sentence of a farm of these servers, named web-1 and on.
fn farm_sentence(carriers: Carriers, fail_open: FailOpen, mut cases: Vec<Case>) -> String {
    for (n, case) in (1..).zip(&mut cases) {
        case.server.name = name(&format!("web-{n}"));
        case.carriers = carriers;
    }
    let states: Vec<String> = cases.iter().map(Case::state).collect();
    let servers: Vec<_> = cases.iter().zip(&states).map(|(case, state)| case.facts(state)).collect();
    let farm = Farm { fail_open, ..Case::up().farm };
    let explained = explain_farm(&FarmFacts { farm: &farm, carriers, servers: &servers, now: NOW });
    assert_eq!(explained.tree.len(), cases.len());
    explained.sentence
}

#[test]
fn sentence_of_a_farm() {
    let (never, primaries) = (FailOpen::Never, Carriers::Primaries);
    let backup = || Case::up().with(|case| case.server.role = Role::Backup);
    let maintained = || Case::up().out().with(|case| case.server.admin = AdminStatus::Maintenance);
    let check = |carriers, fail_open, cases, want: &str| {
        assert_eq!(farm_sentence(carriers, fail_open, cases), want);
    };
    check(primaries, never, vec![Case::up(), Case::up()], "served by all its 2 servers");
    check(
        primaries,
        never,
        vec![Case::up(), Case::down(), backup().out()],
        "served by 1 of 3 servers; not in rotation: web-2 DOWN (L7STS 503 ×2 then L7TOUT), web-3 UP (backup)",
    );
    check(
        Carriers::Backups,
        never,
        vec![Case::down(), maintained(), backup()],
        "served by 1 backup because none of its 2 primary servers may take work: web-1 DOWN (L7STS 503 ×2 then L7TOUT), web-2 MAINT",
    );
    let open = || Case::down().with(|case| case.effective_weight = 10_000);
    check(
        Carriers::FailOpen,
        FailOpen::WhenAllDown,
        vec![open(), open()],
        "fails open because none of its servers is good: 2 of 2 take work, these of them not good: web-1 DOWN (L7STS 503 ×2 then L7TOUT), web-2 DOWN (L7STS 503 ×2 then L7TOUT)",
    );
    check(
        Carriers::FailOpen,
        FailOpen::Below(2),
        vec![Case::up(), open()],
        "fails open because fewer than 2 servers may take work: 2 of 2 take work, these of them not good: web-2 DOWN (L7STS 503 ×2 then L7TOUT)",
    );
    check(
        Carriers::FailOpen,
        FailOpen::BelowShare(60),
        vec![Case::up(), open()],
        "fails open because less than 60 % of its servers may take work: 2 of 2 take work, these of them not good: web-2 DOWN (L7STS 503 ×2 then L7TOUT)",
    );
    check(
        Carriers::Nobody,
        never,
        (0..7).map(|_| maintained()).collect(),
        "served by nobody because none of its 7 servers may take work: web-1 MAINT, web-2 MAINT, web-3 MAINT, web-4 MAINT, web-5 MAINT and 2 more",
    );
    check(
        Carriers::Nobody,
        never,
        vec![Case::down()],
        "served by nobody because its only server may not take work: web-1 DOWN (L7STS 503 ×2 then L7TOUT)",
    );
    check(Carriers::Nobody, never, vec![], "served by nobody because it has no server");
    let unknown = || Case::up().with(|case| case.set(Health::Unknown, 0, 2));
    check(
        Carriers::Unproven,
        never,
        vec![unknown(), Case::down()],
        "served by 1 server without a verdict yet, because nobody is Up",
    );
    let held = open().with(|case| case.held = Some(HeldBy { incident: 17, until: soon(20) }));
    check(
        Carriers::Held,
        never,
        vec![Case::up(), held, maintained()],
        "served by 2 of 3 servers, these of them not good: web-2 DOWN (L7STS 503 ×2 then L7TOUT); incident 17 suspects the balancer itself and holds the last good rotation until 12:07:31 (in 20 s)",
    );
}

#[test]
fn carriers_are_known_by_every_word_for_how_a_farm_serves() {
    for (word, want) in [
        ("backups", Carriers::Backups),
        ("fail_open", Carriers::FailOpen),
        ("held", Carriers::Held),
        ("nobody", Carriers::Nobody),
        ("primaries", Carriers::Primaries),
        ("unproven", Carriers::Unproven),
    ] {
        assert_eq!(Carriers::parse(word), Some(want), "{word}");
    }
    assert_eq!(Carriers::parse("others"), None);
}
