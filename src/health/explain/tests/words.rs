//! Tests of the words for states and checks.

use super::*;

#[test]
fn state_words_follow_the_truth_table() {
    use AdminStatus::{Active, Drain, Maintenance};
    let p = |have, need| Progress { have, need };
    for (admin, weight, health, progress, want) in [
        (Active, 1, Health::Up, p(3, 3), "UP"),
        (Active, 1, Health::Up, p(1, 3), "UP 1/3"),
        (Active, 1, Health::Down, p(0, 2), "DOWN"),
        (Active, 1, Health::Down, p(1, 2), "DOWN 1/2"),
        (Active, 1, Health::Stopping, p(2, 3), "NOLB 2/3"),
        (Active, 1, Health::Off, p(0, 0), "no check"),
        (Active, 1, Health::Unknown, p(0, 2), "no check"),
        (Active, 0, Health::Up, p(3, 3), "DRAIN"),
        (Active, 0, Health::Down, p(0, 2), "DOWN"),
        (Drain, 1, Health::Up, p(3, 3), "DRAIN"),
        (Drain, 1, Health::Up, p(1, 3), "DRAIN 1/3"),
        (Drain, 1, Health::Down, p(0, 2), "DOWN"),
        (Maintenance, 1, Health::Up, p(3, 3), "MAINT"),
        (Maintenance, 1, Health::Down, p(0, 2), "MAINT"),
    ] {
        let standing = Standing::of(health, progress);
        assert_eq!(haproxy_state(admin, Weight(weight), &standing, true), want, "{admin:?} {health:?}");
    }
    let down = Standing::of(Health::Down, p(0, 2));
    assert_eq!(haproxy_state(Active, Weight(1), &down, false), "MAINT (resolution)");
}

#[test]
fn state_words_of_every_combination() {
    use std::collections::BTreeMap;
    let p = |have, need| Progress { have, need };
    let healths = [
        (Health::Off, vec![p(0, 0)]),
        (Health::Unknown, vec![p(0, 2)]),
        (Health::Up, vec![p(3, 3), p(1, 3)]),
        (Health::Stopping, vec![p(3, 3), p(2, 3)]),
        (Health::Down, vec![p(0, 2), p(1, 2)]),
    ];
    let agents = [
        ("silent", AgentSays::default()),
        ("agent down", AgentSays { health: Some(AgentHealth::Down), ..AgentSays::default() }),
        ("agent drain", AgentSays { admin: Some(AdminStatus::Drain), ..AgentSays::default() }),
        ("agent maint", AgentSays { admin: Some(AdminStatus::Maintenance), ..AgentSays::default() }),
        ("agent 0%", AgentSays { weight: Some(AgentWeight::Percent(0)), ..AgentSays::default() }),
        ("agent 50%", AgentSays { weight: Some(AgentWeight::Percent(50)), ..AgentSays::default() }),
    ];
    let besides = ["", "ejected", "held", "warming up", "unresolved", "weight 0"];
    let admins = [AdminStatus::Active, AdminStatus::Drain, AdminStatus::Maintenance];
    let mut words: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (health, progresses) in healths {
        for (progress, (agent, says), beside) in progresses
            .iter()
            .flat_map(|progress| agents.iter().map(move |agent| (progress, agent)))
            .flat_map(|(progress, agent)| besides.iter().map(move |beside| (progress, agent, beside)))
        {
            let mut standing = Standing::of(health, *progress);
            standing.agent = Some(Arc::new(says.clone()));
            match *beside {
                "ejected" => {
                    let kind = TrafficFault::Status;
                    standing.ejected = Some(Ejection { since: NOW, until: NOW, errors: 5, kind, times: 1 });
                }
                "held" => standing.held_until = Some(NOW),
                "warming up" => standing.warmup = Some(Warmup { since: NOW, until: NOW, percent: 1 }),
                _ => {}
            }
            let weight = if *beside == "weight 0" { Weight(0) } else { Weight(1) };
            let of = |admin| haproxy_state(admin, weight, &standing, *beside != "unresolved");
            let row = format!("{} | {} | {}", of(admins[0]), of(admins[1]), of(admins[2]));
            let case = format!("{} {}/{} {agent} {beside}", health.as_str(), progress.have, progress.need);
            words.entry(row).or_default().push(case.trim_end().to_owned());
        }
    }
    let table: Vec<String> = words.iter().map(|(row, cases)| format!("{row}\n    {}", cases.join("\n    "))).collect();
    insta::assert_snapshot!(format!("active | drain | maintenance\n\n{}", table.join("\n")));
}

#[test]
fn check_word_is_that_of_traffic_the_last_check_or_none() {
    let of = |health, ejected: bool, last: Option<CheckStatus>| {
        let mut standing = Standing::of(health, Progress { have: 0, need: 0 });
        let kind = TrafficFault::Status;
        standing.ejected = ejected.then_some(Ejection { since: NOW, until: NOW, errors: 5, kind, times: 1 });
        let record = |status| CheckRecord::new(status, None, Content::from_text(""), NOW, Duration::ZERO);
        check_status_word(&standing, last.map(record).as_ref())
    };
    assert_eq!(of(Health::Up, true, Some(L7Ok)), "HANA");
    assert_eq!(of(Health::Up, false, Some(L7Ok)), "L7OK");
    assert_eq!(of(Health::Unknown, false, None), "INI");
    assert_eq!(of(Health::Off, false, None), "UNK");
}
