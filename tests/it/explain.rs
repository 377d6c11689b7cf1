//! What is said of a server, a farm and a request in each situation that there is: the situation is staged with the real
//! binary, and the whole sentence of the API and of the command line is compared, times and lengths masked.
//!
//! Every sentence that is read on the way, also while a situation only comes about, must agree with the rest of what the
//! API says at that instant (see [`Told::check`]). Times are checked beside the sentences.

mod checks;
mod farms;
mod orders;
mod probes;
mod requests;
mod returns;
mod traffic;

use std::collections::BTreeSet;
use std::time::Duration;

use regex::Regex;
use serde_json::Value;

use crate::harness::{Farmgate, Origin, Server, Setup, until_within};

/// How long a situation may take to come about.
const SOON: Duration = Duration::from_secs(20);

/// Every 250 ms; three failures take out, two passes bring back.
const QUICK: &str = "{type: http, url: /healthz, interval: 250ms, timeout: 250ms, rise: 2, fall: 3}";
/// Like [`QUICK`], and then no check for a minute: whatever state comes stays.
const STAYS: &str = "{type: http, url: /healthz, interval: 250ms, fast_interval: 1m, down_interval: 1m, timeout: 250ms, \
                     rise: 2, fall: 3}";

/// An explanation of a server.
struct Told {
    json: Value,
}

/// Masks what differs from run to run: times of day are `T`, lengths of time `D`, the number of an
/// incident, which is that of an event, `N`.
fn masked(sentence: &str) -> String {
    let of = |pattern| Regex::new(pattern).unwrap();
    let text = of(r"(\d{4}-\d\d-\d\d[ T])?\d\d:\d\d:\d\d(\.\d{3}Z)?").replace_all(sentence, "T").into_owned();
    let text = of(r"(<1|\b\d+(\.\d+)?) (ms|s|m|h|d)\b( \d+ (s|m|h)\b)?").replace_all(&text, "D").into_owned();
    let text = of(r"incident \d+").replace_all(&text, "incident N").into_owned();
    text.replace("next check now", "next check in D").replace("T (now)", "T (in D)")
}

impl Told {
    /// Asks once.
    #[track_caller]
    fn now(farmgate: &Farmgate, scope: &str) -> Self {
        let (farm, server) = scope.split_once('/').unwrap();
        let (status, json) = farmgate.admin_get(&format!("/api/v1/farms/{farm}/servers/{server}/explain"));
        assert_eq!(status, 200, "{scope}: {json}");
        let told = Self { json };
        told.check();
        told
    }

    fn sentence(&self) -> &str {
        self.json["sentence"].as_str().unwrap()
    }

    fn text(&self, key: &str) -> &str {
        self.json[key].as_str().unwrap()
    }

    /// Requires that the sentence contradicts nothing else that is said at the same instant.
    #[track_caller]
    fn check(&self) {
        let (sentence, state) = (self.sentence(), self.text("state"));
        let rest = sentence.strip_prefix(state).unwrap_or_else(|| panic!("{state} is not said first: {sentence}"));
        assert!(rest.starts_with(" since ") || rest.starts_with(": "), "{sentence}");
        let weight = self.json["effective_weight"].as_u64().unwrap();
        let claims = sentence.replace("not in rotation", "").contains("in rotation");
        assert_eq!(claims, weight > 0, "effective weight {weight}: {sentence}");
        let tree = self.json["tree"].to_string();
        let takes = tree.contains("takes new work with weight");
        assert_eq!(takes, weight > 0, "effective weight {weight}: {tree}");
        for ugly in ["; ;", "  ", ": ;", ", ,", "()", "\u{fffd}", " 1 passes", " 1 checks", "None", "Some("] {
            assert!(!sentence.contains(ugly), "{ugly:?} in {sentence}");
        }
        assert!(!sentence.ends_with(['.', ';', ' ', ':']), "{sentence}");
        let now = seconds_of_day(&self.text("at")[11..19]);
        if let Some(since) = self.time("since ") {
            assert!(behind(since, now) < 3600, "since a time to come, at {}: {sentence}", self.text("at"));
        }
        if let Some(back) = self.time("earliest return ") {
            assert!(behind(now, back) < 3600, "back before now, {}: {sentence}", self.text("at"));
        }
    }

    /// Returns the first time of day behind `words`, as seconds of the day.
    fn time(&self, words: &str) -> Option<u64> {
        let found = Regex::new(&format!("{words}(\\d{{4}}-\\d\\d-\\d\\d )?(\\d\\d:\\d\\d:\\d\\d)")).unwrap();
        found.captures(self.sentence()).map(|found| seconds_of_day(&found[2]))
    }

    /// Returns the newest piece of evidence that ended so.
    #[track_caller]
    fn evidence(&self, status: &str) -> &Value {
        let all = self.json["evidence"].as_array().unwrap();
        all.iter().find(|one| one["status"] == status).unwrap_or_else(|| panic!("no {status} among {all:?}"))
    }

    /// Returns every text of the tree under that label.
    fn facts(&self, label: &str) -> Vec<String> {
        let mut found = Vec::new();
        collect(&self.json["tree"], label, &mut found);
        found
    }
}

fn collect(branches: &Value, label: &str, found: &mut Vec<String>) {
    for branch in branches.as_array().unwrap() {
        if branch["label"] == label {
            found.push(branch["text"].as_str().unwrap().to_owned());
        }
        collect(&branch["children"], label, found);
    }
}

fn seconds_of_day(text: &str) -> u64 {
    let part = |at: usize| text[at..at + 2].parse::<u64>().unwrap();
    part(0) * 3600 + part(3) * 60 + part(6)
}

/// By how many seconds `earlier` is before `later`, over midnight too.
fn behind(earlier: u64, later: u64) -> u64 {
    (later + 86_400 - earlier) % 86_400
}

/// Waits until the API says exactly this of a server, times masked, and the command line the same.
#[track_caller]
fn says(farmgate: &Farmgate, scope: &str, want: &str) -> Told {
    let mut last = String::new();
    let told = until_within(SOON, || {
        let told = Told::now(farmgate, scope);
        last = told.sentence().to_owned();
        (masked(&last) == want).then_some(told)
    });
    let told = told.unwrap_or_else(|| panic!("{scope}, wanted and said at last:\n  {want}\n  {last}"));
    printed(farmgate, &["explain", scope], want);
    shown(scope, told.sentence());
    told
}

/// Waits until the API says exactly this of a farm, times masked, and the command line the same.
#[track_caller]
fn farm_says(farmgate: &Farmgate, farm: &str, want: &str) -> Value {
    let mut last = String::new();
    let told = until_within(SOON, || {
        let (status, told) = farmgate.admin_get(&format!("/api/v1/farms/{farm}/explain"));
        assert_eq!(status, 200, "{told}");
        last = told["sentence"].as_str().unwrap().to_owned();
        (masked(&last) == want).then_some(told)
    });
    let told = told.unwrap_or_else(|| panic!("{farm}, wanted and said at last:\n  {want}\n  {last}"));
    printed(farmgate, &["explain", farm], want);
    shown(farm, &last);
    told
}

/// Waits until a command's first line is this, times masked.
#[track_caller]
fn printed(farmgate: &Farmgate, args: &[&str], want: &str) {
    let mut last = String::new();
    let found = until_within(SOON, || {
        let ended = farmgate.cli(args);
        last = ended.text;
        assert_eq!(ended.code, Some(0), "{args:?}: {last}");
        (masked(last.lines().next().unwrap_or_default()) == want).then_some(())
    });
    assert!(found.is_some(), "farmgate {args:?}, wanted and printed at last:\n  {want}\n  {last}");
}

/// Prints a sentence, for whoever reads them all with `--nocapture`.
#[expect(clippy::print_stderr, reason = "people read the sentences of a run")]
fn shown(scope: &str, sentence: &str) {
    eprintln!("{scope}: {sentence}");
}

/// Requires that these servers, and no others, get the farm's next requests.
#[track_caller]
fn served_by(farmgate: &Farmgate, names: &[&str]) {
    let mut client = farmgate.client();
    let seen: BTreeSet<String> = (0..8).map(|_| client.get("/").origin().to_owned()).collect();
    assert_eq!(seen, names.iter().map(|name| (*name).to_owned()).collect());
}

/// A started farm `web` of these origins, each of its own name, and nothing that would hide a server's own state.
fn farm(probe: &str, origins: &[&Origin]) -> Farmgate {
    Farmgate::start(&setup(probe, origins))
}

fn setup(probe: &str, origins: &[&Origin]) -> Setup {
    let servers: Vec<_> = origins.iter().map(|origin| Server::new(origin.name(), origin.addr(), "")).collect();
    Setup::http(&servers).probe(probe).farm("incident: off").farm("flap: off")
}

/// A farm of one server of a probe of its own, for [`Setup::another_farm`].
fn single(name: &str, probe: &str, origin: &Origin) -> String {
    format!("{name}: {{protocol: http, incident: off, probe: {probe}, servers: {{a: \"{}\"}}}}", origin.addr())
}

#[test]
fn masks_leave_nothing_that_differs_from_run_to_run() {
    let said =
        "UP since 12:00:01 (1.5 s): last L7OK 200 in <1 ms; next check now; until 2026-01-02 03:04:05 (in 2 h 5 m)";
    assert_eq!(masked(said), "UP since T (D): last L7OK 200 in D; next check in D; until T (in D)");
    assert_eq!(masked("weight 1, 33 % of the rotation"), "weight 1, 33 % of the rotation");
}
