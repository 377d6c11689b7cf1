//! When a probe runs and how many results decide: in HAProxy's words, or with keepalived's pair.

use std::time::Duration;

use crate::config::bounds::{CHECK_TIMEOUT, FALL, INTERVAL, PROBE_RETRIES, RISE};
use crate::config::error::Findings;
use crate::config::read::{Section, Value};
use crate::config::units::show_duration;
use crate::model::ProbeStart;

const STARTS: &[(&str, ProbeStart)] =
    &[("check", ProbeStart::Check), ("up", ProbeStart::Up), ("down", ProbeStart::Down)];

/// When a probe runs and how many results decide.
pub(super) struct Timing {
    pub(super) interval: Duration,
    pub(super) fast_interval: Option<Duration>,
    pub(super) down_interval: Option<Duration>,
    pub(super) timeout: Duration,
    pub(super) rise: u16,
    pub(super) fall: u16,
    pub(super) start: ProbeStart,
}

/// Lowers the keys of time of a probe.
pub(super) fn lower(section: &Section<'_>, findings: &mut Findings) -> Timing {
    for (key, twin) in [("retries", "fall"), ("retry_interval", "fast_interval")] {
        if let (Some(value), Some(_)) = (section.get(key), section.get(twin)) {
            value.complain(findings, format!("{key} and {twin} say the same thing; keep one of the two"));
        }
    }
    let interval = section.duration(findings, "interval", &INTERVAL);
    let fast_key = if section.get("retry_interval").is_some() { "retry_interval" } else { "fast_interval" };
    let fast_interval = optional(section, fast_key, findings);
    let down_interval = optional(section, "down_interval", findings);
    let rise = section.number(findings, "rise", &RISE, "it counts passes in a row that bring a server back");
    let fall = section.number(findings, "fall", &FALL, "it counts failures in a row that take a server out");
    let fall = section.or(findings, "retries", fall, |value, findings| {
        let remedy = "it counts the checks after the first failure that must fail too";
        Some(value.number(findings, &PROBE_RETRIES, remedy)? + 1)
    });
    let start = section.or(findings, "start", ProbeStart::Check, |value, findings| value.word(findings, STARTS));
    let intervals = [("interval", Some(interval)), (fast_key, fast_interval), ("down_interval", down_interval)];
    let shortest = intervals.into_iter().filter_map(|(key, it)| Some((it?, key))).min_by_key(|(it, _)| *it);
    let timeout = timeout(section, shortest.unwrap_or((interval, "interval")), findings);
    Timing { interval, fast_interval, down_interval, timeout, rise, fall, start }
}

fn optional(section: &Section<'_>, key: &str, findings: &mut Findings) -> Option<Duration> {
    section.get(key).and_then(|value: Value<'_>| value.duration(findings, &INTERVAL.range))
}

/// A timeout that is not written gives way to a shorter interval; one that is written must fit.
fn timeout(section: &Section<'_>, shortest: (Duration, &str), findings: &mut Findings) -> Duration {
    let (interval, key) = shortest;
    let Some(value) = section.get("timeout") else { return CHECK_TIMEOUT.default.min(interval) };
    let timeout = value.duration(findings, &CHECK_TIMEOUT.range).unwrap_or(CHECK_TIMEOUT.default);
    if timeout > interval {
        let interval = show_duration(interval);
        value.refuse(findings, format!("is longer than {key}, {interval}; shorten it or lengthen {key}"));
    }
    timeout
}
