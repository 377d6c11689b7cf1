//! What is said of a return comes true: no sooner than the sentence says, and about then.

use super::{Told, behind, farm, seconds_of_day};
use crate::harness::{Behaviour, Origin, until_within};

#[test]
fn server_is_back_no_sooner_than_said_and_about_then() {
    let [a, fine] = ["a", "fine"].map(Origin::start);
    let probe = "{type: http, url: /healthz, interval: 1s, timeout: 500ms, rise: 4, fall: 1}";
    let farmgate = farm(probe, &[&a, &fine]);
    farmgate.wait_for_state("a", "UP");
    a.health(Behaviour::Status(503));
    farmgate.wait_for_state("a", "DOWN");
    a.health(Behaviour::Ok);
    let mut said: Vec<(u64, String)> = Vec::new();
    let back = until_within(super::SOON, || {
        let told = Told::now(&farmgate, "web/a");
        if told.text("state") == "UP" {
            return Some(told);
        }
        let sentence = told.sentence();
        let left = 4 - sentence.split("1 check failed, L7STS 503; ").nth(1).map_or(0, |rest| match &rest[..1] {
            "n" => 0,
            have => have.parse().unwrap(),
        });
        let needs = if left == 1 { "needs 1 more pass;".to_owned() } else { format!("needs {left} ") };
        assert!(sentence.contains(&needs), "{needs:?}: {sentence}");
        if said.last().is_none_or(|(_, last)| last != sentence) {
            said.push((told.time("earliest return ").unwrap(), sentence.to_owned()));
        }
        None
    });
    let back = back.expect("it comes back");
    let back_at = back.time("since ").unwrap();
    assert!(said.len() > 2, "{said:?}");
    for (earliest, sentence) in &said {
        let late = behind(*earliest, back_at);
        assert!(late < 3, "back at {back_at} s of the day, said {earliest}: {sentence}");
    }
    assert!(behind(back_at, seconds_of_day(&back.text("at")[11..19])) < 2, "{}", back.sentence());
}
