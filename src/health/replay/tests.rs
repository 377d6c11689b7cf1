//! Tests of the replay: the same rules give the same health, others what they should.

use proptest::prelude::*;

use super::*;
use crate::model::{BodyMatch, HttpProbe, ProbeSlot};

fn http() -> Probe {
    Probe::new(ProbeKind::Http(HttpProbe::get("/")))
}

fn at(seconds: u64) -> Timestamp {
    Timestamp(1_000_000_000 + seconds * 1_000_000)
}

fn brief(status: CheckStatus, code: Option<u16>, seconds: u64, millis: u64) -> CheckBrief {
    CheckBrief { slot: ProbeSlot::FIRST, status, code, at: at(seconds), duration: Duration::from_millis(millis) }
}

/// A check every 2 s: `.` passes, `x` is a 503, `t` times out, `s` passes slowly, `4` is a 404, `e` is our own failure.
fn history(text: &str) -> Vec<CheckBrief> {
    let of = |(n, c): (u64, char)| match c {
        '.' => brief(CheckStatus::L7Ok, Some(200), n * 2, 5),
        's' => brief(CheckStatus::L7Ok, Some(200), n * 2, 800),
        'x' => brief(CheckStatus::L7Sts, Some(503), n * 2, 5),
        '4' => brief(CheckStatus::L7Sts, Some(404), n * 2, 5),
        't' => brief(CheckStatus::L7Tout, None, n * 2, 1000),
        'e' => brief(CheckStatus::SockErr, None, n * 2, 0),
        other => panic!("no check is written {other:?}"),
    };
    (0..).zip(text.chars()).map(of).collect()
}

/// Transitions as seconds and the new health, and checks used.
fn run(text: &str, change: impl Fn(&mut Replay)) -> (Vec<(u64, Health)>, usize) {
    let mut changed = Replay::of(&http());
    change(&mut changed);
    let replayed = replay(&history(text), &http(), &changed);
    let seconds = |when: Timestamp| when.since(at(0)).as_secs();
    (replayed.transitions.iter().map(|(when, _, to)| (seconds(*when), *to)).collect(), replayed.checks_used)
}

#[test]
fn replay_answers_what_another_rule_would_have_done() {
    use Health::{Down, Up};
    let seconds = Duration::from_secs;
    assert_eq!(run("..xxx..", |_| {}), (vec![(8, Down), (12, Up)], 7));
    assert_eq!(run("..xxx..", |r| r.fall = 4), (vec![], 7));
    assert_eq!(run("..xxx..", |r| r.fall = 1), (vec![(4, Down), (12, Up)], 7));
    assert_eq!(run("..xxx..", |r| r.rise = 3), (vec![(8, Down)], 7));
    assert_eq!(run("..sss..", |_| {}), (vec![], 7));
    assert_eq!(run("..sss..", |r| r.timeout = Duration::from_millis(500)), (vec![(8, Down), (12, Up)], 7));
    assert_eq!(run("..ttt..", |r| r.timeout = seconds(5)), (vec![(8, Down), (12, Up)], 7));
    assert_eq!(run("..444..", |r| r.statuses = StatusSet::parse("200-404")), (vec![], 7));
    assert_eq!(run("..xxx..", |r| r.statuses = StatusSet::parse("200-404")), (vec![(8, Down), (12, Up)], 7));
    assert_eq!(run("......", |r| r.statuses = StatusSet::parse("204")), (vec![], 6), "Down from the first check on");
    assert_eq!(run("..eee..", |_| {}), (vec![], 7));
    assert_eq!(run("..xxx....", |r| r.interval = seconds(4)), (vec![], 5), "only every second check is made");
    assert_eq!(run(".........", |r| r.interval = seconds(3)).1, 6, "on average every 3 s");
    assert_eq!(run("x.x.x.x.x", |r| r.interval = seconds(4)), (vec![], 5));
}

#[test]
fn replay_sums_the_time_down_to_the_end_of_the_record() {
    let replayed = replay(&history("..xxx"), &http(), &Replay { fall: 1, ..Replay::of(&http()) });
    assert_eq!((replayed.downs.clone(), replayed.down_time), (vec![(at(4), at(8))], Duration::from_secs(4)));
    assert_eq!(replayed.window, Some((at(0), at(8))));
}

#[test]
fn replay_says_what_the_record_cannot_tell_and_nothing_else() {
    let caveats = |probe: &Probe, text: &str, change: &dyn Fn(&mut Replay)| {
        let mut changed = Replay::of(probe);
        change(&mut changed);
        replay(&history(text), probe, &changed).caveats
    };
    let mut with_body = HttpProbe::get("/");
    with_body.expect.body = Some(BodyMatch::Contains("ok".into()));
    let with_body = Probe::new(ProbeKind::Http(with_body));
    let fast = Probe { fast_interval: Some(Duration::from_millis(500)), ..http() };
    let tls = Probe::new(ProbeKind::Tls);
    let slower = |r: &mut Replay| r.interval = Duration::from_secs(8);
    insta::assert_debug_snapshot!([
        caveats(&http(), "..xx", &|_| {}),
        caveats(&http(), "", &|_| {}),
        caveats(&http(), "..tt", &|r| r.timeout = Duration::from_secs(3)),
        caveats(&http(), "..xx", &|r| r.timeout = Duration::from_secs(3)),
        caveats(&http(), "..xx", &|r| r.interval = Duration::from_secs(1)),
        caveats(&http(), "..xx", &slower),
        caveats(&fast, "..xx", &slower),
        caveats(&tls, "..xx", &|r| r.statuses = StatusSet::parse("200")),
        caveats(&with_body, "..44", &|r| r.statuses = StatusSet::parse("200-404")),
    ]);
}

#[test]
fn share_lost_is_the_largest_at_once() {
    let down = |spans: &[(u64, u64)]| Replayed {
        transitions: Vec::new(),
        downs: spans.iter().map(|(from, to)| (at(*from), at(*to))).collect(),
        down_time: Duration::ZERO,
        checks_used: 0,
        window: None,
        caveats: Vec::new(),
    };
    let (a, b, c) = (down(&[(0, 10), (20, 30)]), down(&[(10, 20), (25, 40)]), down(&[]));
    let lost = share_lost(&[(Weight(1), &a), (Weight(2), &b), (Weight(3), &c)]);
    assert_eq!(lost, Some(ShareLost { percent: 50, servers: 2, at: at(25) }));
    assert_eq!(share_lost(&[(Weight(1), &c)]), None);
    let weightless = share_lost(&[(Weight(0), &a)]);
    assert_eq!(weightless, Some(ShareLost { percent: 0, servers: 1, at: at(0) }));
}

fn any_check() -> impl Strategy<Value = (CheckStatus, u64, u64)> {
    (prop::sample::select(CheckStatus::ALL.to_vec()), 1..4000u64, 0..1000u64)
}

proptest! {
    #[test]
    fn replay_with_unchanged_rules_is_what_the_machine_did(
        rise in 1..5u16, fall in 1..5u16, checks in prop::collection::vec(any_check(), 0..100)
    ) {
        let probe = Probe { rise, fall, ..http() };
        let mut machine = Machine::new(Rule::of(&probe), ProbeStart::Check);
        let (mut now, mut history, mut did) = (at(0), Vec::new(), Vec::new());
        for (status, gap, millis) in checks {
            now = now + Duration::from_millis(gap);
            let check = CheckBrief { at: now, ..brief(status, Some(200), 0, millis) };
            history.push(check);
            if let Some((from, to)) = machine.record(status.verdict()).filter(|(from, _)| *from != Health::Unknown) {
                did.push((now, from, to));
            }
        }
        let replayed = replay(&history, &probe, &Replay::of(&probe));
        prop_assert_eq!(replayed.transitions, did);
        prop_assert_eq!(replayed.checks_used, history.len());
    }

    #[test]
    fn replay_never_survives_longer_with_a_smaller_fall(text in "[.xt]{0,60}") {
        let down = |fall| replay(&history(&text), &http(), &Replay { fall, rise: 1, ..Replay::of(&http()) }).down_time;
        prop_assert!(down(1) >= down(2) && down(2) >= down(3));
    }
}
