//! Tests of what is said of a server that its checks took out, or have not judged yet.

use super::*;

#[test]
fn sentence_of_a_server_that_is_down() {
    check(&Case::down(), &format!("{FAILED}; {RETURN}"));
    let coming = |case: &mut Case| case.set(Health::Down, 1, 2);
    check(
        &Case::down().with(coming),
        "DOWN 1/2 since 12:03:11 (4 m): 3 of 3 checks failed, L7STS 503 ×2 then L7TOUT; 1 of 2 passes so far, needs 1 more pass; next check in 1.8 s; earliest return 12:07:12",
    );
    let of_late = |case: &mut Case| case.recent.push(brief(L4Con, None));
    check(&Case::down().with(of_late), &format!("{FAILED}; of late L4CON; {RETURN}"));
    let at_once = |case: &mut Case| {
        case.check(&[L4Tout]);
        case.decided_by.clone_from(&case.recent);
    };
    check(&Case::down().with(at_once), &format!("DOWN since 12:03:11 (4 m): 1 check failed, L4TOUT; {RETURN}"));
    let forgotten = |case: &mut Case| {
        case.decided_by.clear();
        case.recent.clear();
    };
    check(
        &Case::down().with(forgotten),
        "DOWN since 12:03:11 (4 m): it begins Down until its checks pass; needs 2 passes; not checked since this process began; next check in 1.8 s; earliest return 12:07:22",
    );
    check(
        &Case::down().with(|case| case.decided_by.clear()),
        &format!("DOWN since 12:03:11 (4 m): none of the checks that decided is remembered; of late L7TOUT; {RETURN}"),
    );
    check(
        &Case::down().with(|case| case.recent.clear()),
        &format!(
            "{FAILED}; needs 2 passes; not checked since this process began; next check in 1.8 s; earliest return 12:07:22"
        ),
    );
    let said = |status, said: &'static str| {
        move |case: &mut Case| {
            case.check(&[status]);
            case.decided_by.clone_from(&case.recent);
            let last = CheckRecord::new(status, case.recent[0].code, Content::from_text(said), ago(1), Duration::ZERO);
            case.probes[0].last = Some(Arc::new(last));
        }
    };
    check(
        &Case::down().with(said(L4Con, "connection refused")),
        &format!("DOWN since 12:03:11 (4 m): 1 check failed, L4CON (\"connection refused\"); {RETURN}"),
    );
    let plain = format!("DOWN since 12:03:11 (4 m): 1 check failed, L7STS 503; {RETURN}");
    check(&Case::down().with(said(L7Sts, "Service Unavailable")), &plain);
    let codeless = |case: &mut Case| {
        said(L7Sts, "-WRONGPASS invalid username-password pair")(case);
        let mut last = CheckRecord::clone(case.probes[0].last.as_ref().unwrap());
        last.code = None;
        case.recent = vec![last.brief(ProbeSlot::FIRST)];
        case.decided_by.clone_from(&case.recent);
        case.probes[0].last = Some(Arc::new(last));
    };
    check(
        &Case::down().with(codeless),
        &format!(
            "DOWN since 12:03:11 (4 m): 1 check failed, L7STS (\"-WRONGPASS invalid username-password pair\"); {RETURN}"
        ),
    );
    let due = |case: &mut Case| case.probes[0].next_at = Some(ago(1));
    check(&Case::down().with(due), &format!("{FAILED}; needs 2 passes; next check now; earliest return 12:07:20"));
    let fast = |case: &mut Case| {
        let fast_interval = Some(Duration::from_secs(1));
        case.farm.probes = Box::new([Arc::new(Probe { fast_interval, ..Probe::clone(&case.farm.probes[0]) })]);
    };
    check(
        &Case::down().with(fast),
        &format!("{FAILED}; needs 2 passes; next check in 1.8 s; earliest return 12:07:13"),
    );
}

#[test]
fn sentence_of_a_down_server_with_more_to_it() {
    let held = |case: &mut Case| {
        case.held = Some(HeldBy { incident: 17, until: soon(20) });
        case.effective_weight = 10_000;
    };
    check(
        &Case::down().with(held),
        &format!(
            "{FAILED}; {RETURN}; still in rotation with weight 100, 33 % of the rotation: incident 17 suspects the balancer itself and holds the last good rotation until 12:07:31 (in 20 s)"
        ),
    );
    let open = |case: &mut Case| (case.carriers, case.effective_weight) = (Carriers::FailOpen, 10_000);
    check(
        &Case::down().with(open),
        &format!(
            "{FAILED}; {RETURN}; in rotation all the same with weight 100, 33 % of the rotation: the farm fails open"
        ),
    );
    check(
        &Case::down().ordered(AdminStatus::Drain, Terms::default()),
        &format!(
            "{FAILED}; needs 2 passes; next check in 1.8 s; also drained {MADE}; {NO_NEW}; until somebody says ready"
        ),
    );
    let flapping = |case: &mut Case| {
        case.farm.flap =
            Some(FlapGuard { transitions: 4, within: Duration::from_secs(300), hold: Duration::from_secs(60) });
        (case.standing.flap_score, case.standing.held_until) = (5, Some(soon(50)));
        case.standing.held_since = Some(ago(90));
    };
    check(
        &Case::down().with(flapping),
        &format!(
            "{FAILED}; needs 2 passes; next check in 1.8 s; also held down for flapping: 5 changes of health within 5 m; until 12:08:01 (in 50 s), later if it changes again; earliest return 12:08:01"
        ),
    );
    check(
        &Case::up().out().with(flapping),
        "DOWN since 12:05:41 (1 m 30 s): held down for flapping: 5 changes of health within 5 m; until 12:08:01 (in 50 s), later if it changes again; its checks pass",
    );
    let suspect = |kind| {
        move |case: &mut Case| {
            case.standing.suspicion = Some(Suspicion { kind, since: ago(5), good: 58, bad: 2 });
        }
    };
    check(
        &Case::down().with(suspect(SuspicionKind::ProbesFail)),
        &format!("{FAILED}; {RETURN}; suspect: its checks fail, yet only 2 of 60 requests failed in the last 30 s"),
    );
    check(
        &Case::up().with(suspect(SuspicionKind::TrafficFails)),
        &format!(
            "UP since 12:03:11 (4 m): {PASS}; {IN}; suspect: its checks pass, yet 2 of 60 requests failed in the last 30 s"
        ),
    );
}

#[test]
fn sentence_of_a_server_with_several_probes() {
    let two = |case: &mut Case| {
        case.farm.probes = Box::new([named(ProbeKind::Tls, "port"), named(ProbeKind::Oco, "login")]);
        case.set(Health::Up, 3, 3);
        case.set(Health::Down, 0, 2);
        case.probes[0].health = Health::Up;
        for brief in &mut case.decided_by {
            brief.slot = ProbeSlot(1);
        }
    };
    check(
        &Case::down().with(two),
        &format!(
            "DOWN since 12:03:11 (4 m): 3 of 3 checks of probe \"login\" failed, L7STS 503 ×2 then L7TOUT; 1 of 2 probes passes, 2 must; {RETURN}"
        ),
    );
    let enough = |case: &mut Case| {
        two(case);
        case.standing.health = Health::Up;
        case.standing.progress = Progress { have: 3, need: 3 };
        case.farm.quorum = Some(1);
    };
    check(
        &Case::up().with(enough),
        &format!(
            "UP since 12:03:11 (4 m): 1 of 2 probes passes, 1 must; probe \"login\" fails; next check in 1.8 s; {IN}"
        ),
    );
    let neither = |case: &mut Case| {
        two(case);
        case.probes[0].health = Health::Down;
        case.probes[0].next_at = Some(soon(30));
        case.farm.quorum = Some(1);
    };
    check(
        &Case::down().with(neither),
        &format!(
            "DOWN since 12:03:11 (4 m): 3 of 3 checks of probe \"login\" failed, L7STS 503 ×2 then L7TOUT; 0 of 2 probes pass, 1 must; {RETURN}"
        ),
    );
    let both = |case: &mut Case| {
        neither(case);
        case.farm.quorum = None;
    };
    check(
        &Case::down().with(both),
        "DOWN since 12:03:11 (4 m): 3 of 3 checks of probe \"login\" failed, L7STS 503 ×2 then L7TOUT; 0 of 2 probes pass, 2 must; needs 2 passes; next check in 1.8 s; earliest return 12:07:50",
    );
}

#[test]
fn sentence_of_a_server_without_a_verdict_or_a_primary_before_it() {
    let unknown = |case: &mut Case| {
        case.set(Health::Unknown, 0, 2);
        case.recent.clear();
    };
    check(
        &Case::up().out().with(unknown),
        "no check: its first check has not ended yet; next check in 1.8 s; takes work only while nobody of the farm is Up",
    );
    check(
        &Case::up().with(unknown).with(|case| case.carriers = Carriers::Unproven),
        "no check: its first check has not ended yet; next check in 1.8 s; in rotation with weight 100, 33 % of the rotation: nobody of the farm is Up",
    );
    let unprobed = |case: &mut Case| {
        case.farm.probes = Box::default();
        case.set(Health::Off, 0, 0);
    };
    check(&Case::up().with(unprobed), &format!("no check: the farm has no probe; {IN}"));
    let opted_out = |case: &mut Case| {
        case.set(Health::Off, 0, 0);
        case.server.probed = false;
        case.probes.clear();
    };
    check(&Case::up().with(opted_out), &format!("no check: its probes are switched off (`probe: false`); {IN}"));
    let backup = |case: &mut Case| case.server.role = Role::Backup;
    check(
        &Case::up().out().with(backup),
        &format!("UP since 12:03:11 (4 m): {PASS}; waits as a backup: primaries serve"),
    );
    check(
        &Case::up().with(backup).with(|case| case.carriers = Carriers::Backups),
        &format!(
            "UP since 12:03:11 (4 m): {PASS}; in rotation as a backup with weight 100, 33 % of the rotation: no primary may serve"
        ),
    );
    let stopping = |case: &mut Case| {
        case.set(Health::Stopping, 3, 3);
        case.check(&[L7Okc]);
        case.decided_by.clone_from(&case.recent);
    };
    check(
        &Case::up().out().with(stopping),
        &format!(
            "NOLB since 12:03:11 (4 m): its checks pass on condition, L7OKC 404: {NO_NEW}; back with the next check that passes whole; next check in 1.8 s"
        ),
    );
    let nameless = |case: &mut Case| {
        case.server.address = "app.example:80".parse().unwrap();
        case.is_resolved = false;
        case.set(Health::Unknown, 0, 2);
    };
    check(
        &Case::up().out().with(nameless),
        "MAINT (resolution) since 12:03:11 (4 m): the name of \"app.example:80\" has no address, so there is nowhere to send work or checks; back when the name is found, if its checks pass",
    );
}
