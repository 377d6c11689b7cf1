//! What a farm does when servers fail: observing traffic, ejecting, holding flappers and incidents, failing open.

use std::time::Duration;

use super::spread::without_requests;
use crate::config::bounds::{
    BELOW, BELOW_SHARE, EJECT, EJECT_MAX, FLAP_HOLD, FLAP_WITHIN, INCIDENT_HOLD, INCIDENT_SHARE, OBSERVE_ERRORS,
    SHARE_MAX, TRANSITIONS,
};
use crate::config::error::Findings;
use crate::config::keys;
use crate::config::read::{Section, Switch, Value};
use crate::config::units::{parse_percent, show_duration};
use crate::model::{FailOpen, FlapGuard, IncidentGuard, Observe, Protocol};

/// A failure that traffic can show.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Connect,
    Response,
    Status,
}

const SEEN: &[(&str, Seen)] = &[("connect", Seen::Connect), ("status", Seen::Status), ("response", Seen::Response)];

/// Lowers `observe`.
pub(super) fn observe(section: &Section<'_>, protocol: Option<Protocol>, findings: &mut Findings) -> Option<Observe> {
    let value = section.get("observe")?;
    let has_status = without_requests(protocol).is_none();
    let defaults = Observe {
        errors: OBSERVE_ERRORS.default,
        connect: true,
        status: has_status,
        response: true,
        eject: EJECT.default,
        eject_max: EJECT_MAX.default,
        share_max: SHARE_MAX.default,
    };
    let section = match value.switch(findings, keys::OBSERVE)? {
        Switch::Off => return None,
        Switch::On => return Some(defaults),
        Switch::Set(section) => section,
    };
    let errors = section.number(findings, "errors", &OBSERVE_ERRORS, "it counts failures in a row that eject a server");
    let counted = section.get("count").map(|value| count(&value, has_status, findings));
    let holds = |seen, default| counted.as_ref().map_or(default, |counted| counted.contains(&seen));
    let eject = section.duration(findings, "eject", &EJECT);
    Some(Observe {
        errors,
        connect: holds(Seen::Connect, defaults.connect),
        status: holds(Seen::Status, defaults.status),
        response: holds(Seen::Response, defaults.response),
        eject,
        eject_max: eject_max(&section, eject, findings),
        share_max: section.percent(findings, "share_max", &SHARE_MAX),
    })
}

/// A longest ejection that is not written gives way to a longer first one; one that is written must fit.
fn eject_max(section: &Section<'_>, eject: Duration, findings: &mut Findings) -> Duration {
    let default = EJECT_MAX.default.max(eject);
    let Some(value) = section.get("eject_max") else { return default };
    let longest = value.duration(findings, &EJECT_MAX.range).unwrap_or(default);
    if longest < eject {
        let eject = show_duration(eject);
        value.refuse(findings, format!("is shorter than eject, {eject}; lengthen it or shorten eject"));
    }
    longest
}

fn count(value: &Value<'_>, has_status: bool, findings: &mut Findings) -> Vec<Seen> {
    let words = "connect, status, response";
    let items = value.list(findings, "failures", SEEN.len());
    if value.is_empty() {
        value.complain(findings, format!("nothing would be counted; write some of {words}, or observe: off"));
    }
    let word = |item: &Value<'_>, findings: &mut Findings| {
        let seen = item.word(findings, SEEN)?;
        if seen == Seen::Status && !has_status {
            item.refuse(findings, "needs responses, and this farm has none; write connect or response");
        }
        Some(seen)
    };
    items.iter().filter_map(|item| word(item, findings)).collect()
}

/// Lowers `flap`: on unless it is switched off.
pub(super) fn flap(section: &Section<'_>, findings: &mut Findings) -> Option<FlapGuard> {
    let defaults = FlapGuard { transitions: TRANSITIONS.default, within: FLAP_WITHIN.default, hold: FLAP_HOLD.default };
    section.or(findings, "flap", Some(defaults), |value, findings| {
        Some(match value.switch(findings, keys::FLAP)? {
            Switch::Off => None,
            Switch::On => Some(defaults),
            Switch::Set(section) => {
                let remedy = "it counts changes of health that hold a server down";
                Some(FlapGuard {
                    transitions: section.number(findings, "transitions", &TRANSITIONS, remedy),
                    within: section.duration(findings, "within", &FLAP_WITHIN),
                    hold: section.duration(findings, "hold", &FLAP_HOLD),
                })
            }
        })
    })
}

/// Lowers `incident`: on unless it is switched off. It needs three probed servers to be one, whatever is written.
pub(super) fn incident(section: &Section<'_>, findings: &mut Findings) -> Option<IncidentGuard> {
    let defaults = IncidentGuard { share: INCIDENT_SHARE.default, hold: INCIDENT_HOLD.default };
    section.or(findings, "incident", Some(defaults), |value, findings| {
        Some(match value.switch(findings, keys::INCIDENT)? {
            Switch::Off => None,
            Switch::On => Some(defaults),
            Switch::Set(section) => Some(IncidentGuard {
                share: section.percent(findings, "share", &INCIDENT_SHARE),
                hold: section.duration(findings, "hold", &INCIDENT_HOLD),
            }),
        })
    })
}

/// Lowers `fail_open`.
pub(super) fn fail_open(section: &Section<'_>, findings: &mut Findings) -> FailOpen {
    let is_probed = ["probe", "probes", "observe"].iter().any(|key| section.get(key).is_some());
    section.or(findings, "fail_open", FailOpen::Never, |value, findings| {
        let wanted = match value.text(findings, FAIL_OPEN_FORMS)? {
            "true" | "false" => match value.flag(findings)? {
                true => FailOpen::WhenAllDown,
                false => FailOpen::Never,
            },
            _ => value.parsed(findings, FAIL_OPEN_FORMS, parse_fail_open)?,
        };
        if wanted != FailOpen::Never && !is_probed {
            value.warn(findings, "has no effect without a probe: no server is ever Down");
        }
        Some(wanted)
    })
}

const FAIL_OPEN_FORMS: &str = "true, false, all_down, never, \"below N\" or \"below N%\"";

fn parse_fail_open(text: &str) -> Result<FailOpen, String> {
    let number = match text {
        "all_down" => return Ok(FailOpen::WhenAllDown),
        "never" => return Ok(FailOpen::Never),
        _ => text.strip_prefix("below ").ok_or_else(|| format!("is not {FAIL_OPEN_FORMS}; write one of them"))?,
    };
    if let Ok(percent) = parse_percent(number) {
        let share = u8::try_from(percent).ok().filter(|share| BELOW_SHARE.contains(share));
        let (low, high) = (BELOW_SHARE.start(), BELOW_SHARE.end());
        return share
            .map(FailOpen::BelowShare)
            .ok_or_else(|| format!("names a share outside {low}%..={high}%; write one within"));
    }
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err("names neither servers nor a share; write for example \"below 2\" or \"below 50%\"".to_owned());
    }
    let servers = number.parse::<u16>().ok().filter(|servers| BELOW.contains(servers));
    let (low, high) = (BELOW.start(), BELOW.end());
    servers
        .map(FailOpen::Below)
        .ok_or_else(|| format!("names a number of servers outside {low}..={high}; write one within"))
}
