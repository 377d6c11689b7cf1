//! Tests of what is said of a server that somebody or something took out.

use super::*;

#[test]
fn sentence_of_a_server_that_an_operator_took_out() {
    let order = |admin, terms| Case::up().ordered(admin, terms);
    check(
        &order(AdminStatus::Maintenance, Terms::default()),
        &format!("MAINT since 12:06:11 (1 m): maintenance {MADE}; until somebody says ready; its checks pass"),
    );
    let slow = |case: &mut Case| case.farm.slow_start = Duration::from_secs(30);
    check(
        &order(AdminStatus::Maintenance, terms(Some(300), None)).with(slow),
        &format!(
            "MAINT since 12:06:11 (1 m): maintenance {MADE}; until 12:12:11 (in 5 m), then back by itself through a slow start of 30 s, if its checks pass; its checks pass"
        ),
    );
    check(
        &Case::down().ordered(AdminStatus::Maintenance, terms(Some(300), None)),
        &format!(
            "MAINT since 12:06:11 (1 m): maintenance {MADE}; until 12:12:11 (in 5 m), then back by itself, if its checks pass; also 3 of 3 checks failed, L7STS 503 ×2 then L7TOUT; needs 2 passes; next check in 1.8 s"
        ),
    );
    check(
        &Case::up().out().with(|case| case.server.admin = AdminStatus::Maintenance),
        "MAINT since 12:03:11 (4 m): the file says maintenance; until the file or somebody says otherwise; its checks pass",
    );
    check(
        &order(AdminStatus::Drain, terms(None, Some(90))).with(|case| case.open = 3),
        &format!(
            "DRAIN since 12:06:11 (1 m): drained {MADE}; {NO_NEW}; at 12:08:41 (in 1 m 30 s) what is left is closed; until somebody says ready; 3 open on it; its checks pass"
        ),
    );
    let kept = Terms { at_deadline: Some(Leftovers::Keep), deadline: Some(ago(9)), until: Some(soon(60)) };
    check(
        &order(AdminStatus::Drain, kept),
        &format!(
            "DRAIN since 12:06:11 (1 m): drained {MADE}; no new work, no sticky clients any more; at the deadline, 12:07:02, what was left was kept; until 12:08:11 (in 1 m), then back by itself, if its checks pass; its checks pass"
        ),
    );
    let here = |case: &mut Case| {
        case.overrides[0].act.source = "local".into();
        case.overrides[0].act.reason = None;
    };
    check(
        &order(AdminStatus::Drain, Terms::default()).with(here),
        &format!("DRAIN since 12:06:11 (1 m): drained by ops; {NO_NEW}; until somebody says ready; its checks pass"),
    );
    let drained = Wish::Admin(AdminStatus::Drain);
    let over = |admin| {
        let case = Case::up().overridden(Wish::Admin(admin), drained, terms(Some(60), None)).out();
        case.with(|case| case.farm.slow_start = Duration::from_secs(30))
    };
    check(
        &over(AdminStatus::Drain),
        &format!(
            "DRAIN since 12:06:11 (1 m): drained {MADE}; {NO_NEW}; until 12:08:11 (in 1 m), then back to drain, as the file says; its checks pass"
        ),
    );
    check(
        &over(AdminStatus::Maintenance),
        &format!(
            "MAINT since 12:06:11 (1 m): maintenance {MADE}; until 12:08:11 (in 1 m), then back to drain, as the file says; its checks pass"
        ),
    );
    check(
        &Case::up().out().with(|case| (case.leaving_since, case.open) = (Some(ago(10)), 2)),
        "UP since 12:07:01 (10 s): a reload removed it: no new work, what is open stays; 2 open on it",
    );
}

#[test]
fn sentence_of_a_server_that_its_agent_took_out() {
    let says =
        |admin, health, weight| AgentSays { admin, health, weight, maxconn: None, reason: Some("disk full".into()) };
    let down = Case::up().out().with(|case| case.standing.health = Health::Down);
    check(
        &down.agent(says(None, Some(AgentHealth::Down), None)),
        "DOWN (agent) since 12:03:11 (4 m): its agent says down (\"disk full\"), whatever the probes say; until it says up; its checks pass",
    );
    check(
        &Case::down().agent(says(None, Some(AgentHealth::Down), None)),
        "DOWN (agent) since 12:03:11 (4 m): its agent says down (\"disk full\"), whatever the probes say; until it says up; its checks do not pass either",
    );
    check(
        &Case::up().out().agent(says(Some(AdminStatus::Drain), None, None)),
        "DRAIN (agent) since 12:03:11 (4 m): its agent asks for drain (\"disk full\"); until it says ready; its checks pass",
    );
    check(
        &Case::up().out().agent(says(Some(AdminStatus::Maintenance), None, None)),
        "MAINT since 12:03:11 (4 m): its agent asks for maintenance (\"disk full\"); until it says ready; its checks pass",
    );
    check(
        &Case::up().out().agent(says(None, None, Some(AgentWeight::Percent(0)))),
        "DRAIN (agent) since 12:03:11 (4 m): its agent asks for 0 % of its weight: no new work; until it asks for more; its checks pass",
    );
}

#[test]
fn sentence_of_a_server_that_its_traffic_took_out() {
    let kind = TrafficFault::Connect;
    let ejected = |times| {
        move |case: &mut Case| {
            let ejection = Ejection { since: ago(10), until: soon(20), errors: 5, kind, times };
            case.standing.ejected = Some(ejection);
        }
    };
    check(
        &Case::up().out().with(ejected(1)),
        "DOWN since 12:07:01 (10 s): ejected: 5 failures of its traffic in a row, the last a connection that was not made; until 12:07:31 (in 20 s) or a check that passes; its checks pass; next check in 1.8 s",
    );
    let unprobed = |case: &mut Case| {
        case.farm.probes = Box::default();
        case.set(Health::Off, 0, 0);
    };
    check(
        &Case::up().out().with(unprobed).with(ejected(2)),
        "DOWN since 12:07:01 (10 s): ejected (2 times in a row): 5 failures of its traffic in a row, the last a connection that was not made; until 12:07:31 (in 20 s); it is not checked",
    );
    let both = Case::down().with(ejected(1)).explained().sentence;
    assert!(both.starts_with(FAILED) && both.contains("; also ejected: 5 failures"), "{both}");
}
