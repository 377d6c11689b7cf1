//! A farm's probes: one without a name or several with, how many of them decide, and the shadow.

use std::sync::Arc;

use crate::config::error::Findings;
use crate::config::lower::{Around, probe};
use crate::config::read::{Section, Value};
use crate::model::probe::PROBES_MAX;
use crate::model::{Name, Probe};

/// What the probe of a farm is called that has one without a name.
const ONLY: &str = "probe";
/// What the shadow is called.
const SHADOW: &str = "shadow";

/// How a farm's servers are checked.
pub(super) struct Probes {
    pub(super) probes: Box<[Arc<Probe>]>,
    pub(super) quorum: Option<u8>,
    pub(super) shadow: Option<Arc<Probe>>,
}

/// Lowers `probe`, `probes`, `quorum` and `shadow`.
pub(super) fn lower(section: &Section<'_>, around: Around<'_>, findings: &mut Findings) -> Probes {
    let (mut lowered, mut declared) = (Vec::new(), 0);
    if let Some(value) = section.get("probe") {
        declared += 1;
        lowered.extend(fixed(&value, ONLY, around, findings));
    }
    if let Some(value) = section.get("probes") {
        if section.get("probe").is_some() {
            value.complain(findings, "probe and probes are both written; move the one into the others");
        }
        let values = value.entries(findings, "probes", PROBES_MAX);
        if value.is_empty() {
            value.complain(findings, "there is no probe; write {NAME: {type: …}}, or remove the key");
        }
        declared += values.len();
        lowered.extend(values.iter().filter_map(|value| named(value, around, findings)));
    }
    let shadow = section.get("shadow").and_then(|value| fixed(&value, SHADOW, around, findings)).map(Arc::new);
    let is_whole = lowered.len() == declared;
    let quorum = section.get("quorum").and_then(|value| quorum(&value, &lowered, is_whole, findings));
    Probes { probes: lowered.into_iter().map(Arc::new).collect(), quorum, shadow }
}

fn fixed(value: &Value<'_>, name: &str, around: Around<'_>, findings: &mut Findings) -> Option<Probe> {
    probe::lower(value, Name::parse(name).ok()?, around, findings)
}

fn named(value: &Value<'_>, around: Around<'_>, findings: &mut Findings) -> Option<Probe> {
    let name = value.key_name(findings);
    if value.key == SHADOW {
        value.complain(findings, "is what the shadow is called; give this probe another name");
    }
    // A probe without a good name is still read, for its errors.
    let probe = probe::lower(value, name.clone().or_else(|| Name::parse(ONLY).ok())?, around, findings);
    probe.filter(|_| name.is_some())
}

/// How many of the probes, agents not counted, must find a server good.
fn quorum(value: &Value<'_>, probes: &[Probe], is_whole: bool, findings: &mut Findings) -> Option<u8> {
    let max = u8::try_from(PROBES_MAX).unwrap_or(u8::MAX);
    let quorum = value.number(findings, &(1..=max), "it counts the probes that must pass")?;
    let counted = probes.iter().filter(|probe| !probe.kind.is_agent()).count();
    if is_whole && usize::from(quorum) > counted {
        let remedy = if counted == 0 { "write probes, or remove it" } else { "lower it or write more probes" };
        value.refuse(
            findings,
            format!("is more than the probes that can pass, {counted} (agents only advise); {remedy}"),
        );
    }
    Some(quorum)
}
