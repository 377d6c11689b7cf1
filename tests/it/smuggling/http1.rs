//! Requests of HTTP/1.1, byte by byte.

use std::time::Duration;

use serde::Deserialize;

use crate::harness::Client;

use super::doors::{Door, Doors, send_innocent};
use super::{OneOf, Seen, assert_none, at_once, bytes_of, corpus};

/// How long a connection whose request was refused may stay open.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);
/// Cases that there are at least.
const CASES_MIN: usize = 300;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default, rename = "why")]
    _why: String,
    send: String,
    #[serde(default)]
    repeat: Option<(String, usize)>,
    answers: Vec<OneOf<u16>>,
    #[serde(default)]
    seen: Seen,
    /// What is otherwise where the server speaks HTTP/2.
    #[serde(default)]
    over_2: Option<Otherwise>,
    /// Doors where it is something else.
    #[serde(default)]
    except: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Otherwise {
    answers: Vec<OneOf<u16>>,
    #[serde(default)]
    seen: Seen,
}

/// A case on its way through a door.
struct Run<'a> {
    name: String,
    door: &'a Door,
    case: &'a Case,
}

impl Run<'_> {
    fn bytes(&self) -> Vec<u8> {
        let text = self.case.send.replace("{case}", &self.name);
        let text = match &self.case.repeat {
            Some((part, times)) => text.replace("{repeat}", &part.repeat(*times)),
            None => text,
        };
        bytes_of(&text)
    }

    fn answers(&self) -> &[OneOf<u16>] {
        let otherwise = self.case.over_2.as_ref().filter(|_| self.door.is_over_2);
        otherwise.map_or(&self.case.answers, |otherwise| &otherwise.answers)
    }

    fn seen(&self) -> &Seen {
        let otherwise = self.case.over_2.as_ref().filter(|_| self.door.is_over_2);
        otherwise.map_or(&self.case.seen, |otherwise| &otherwise.seen)
    }
}

#[test]
fn nothing_ambiguous_reaches_a_server() {
    let cases: Vec<(String, Case)> = corpus("");
    assert!(cases.len() >= CASES_MIN, "{} cases", cases.len());
    let doors = Doors::open();
    let mut runs = Vec::new();
    for (file, case) in &cases {
        for door in doors.http1.iter().filter(|door| !case.except.iter().any(|name| name == door.name)) {
            runs.push(Run { name: format!("{}-{file}-{}", door.name, case.name), door, case });
        }
    }
    let mut faults = at_once(&runs, run);
    faults.extend(doors.judge(runs.iter().map(|run| (run.name.clone(), run.seen()))));
    assert_none(&faults, runs.len());
}

/// Sends a case and an innocent request behind it.
fn run(run: &Run<'_>) -> Result<(), String> {
    let name = &run.name;
    let bytes = run.bytes();
    let mut client = Client::connect(run.door.front);
    // A refusal may come before the last byte is taken.
    let _ = client.try_send(&bytes);
    let method = bytes.split(|b| *b == b' ').next().map(|m| String::from_utf8_lossy(m).into_owned());
    let mut last = 0;
    for (n, want) in run.answers().iter().enumerate() {
        let method = if n == 0 { method.as_deref().unwrap_or("GET") } else { "GET" };
        let answer = client.try_response_to(method).map_err(|fault| format!("{name}: answer {n}: {fault:?}"))?;
        if !want.is(&answer.status) {
            return Err(format!("{name}: answer {n} is {} {}", answer.status, answer.text()));
        }
        last = answer.status;
    }
    if last >= 400 && !client.is_closed_within(CLOSE_WITHIN) {
        return Err(format!("{name}: the connection of a refused request stays open"));
    }
    drop(client);
    send_innocent(run.door, name)
}
