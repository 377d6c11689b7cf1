//! What is done with work: given to farms, redirected or rejected.

use super::{Ground, heads};
use crate::config::bounds::{FIELD_BYTES_MAX, MIRROR_SHARE, SHARE_WEIGHT, SHARES_MAX};
use crate::config::error::{Findings, did_you_mean, quoted};
use crate::config::keys;
use crate::config::read::{Section, Value};
use crate::config::tree::Content;
use crate::model::{Action, FarmId, Forward, Mirror, Redirect, Rewrite, Share, Template};

/// The status of a rejection that names none; tcp closes, whatever it is.
pub(super) const CLOSED: u16 = 403;
const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];
/// What a redirect answers with that says nothing else.
const FOUND: u16 = 302;
const REJECTIONS: [u16; 10] = [200, 400, 403, 405, 408, 429, 500, 502, 503, 504];
/// Keys that mean something beside a farm only.
const OF_FORWARDS: [&str; 4] = ["rewrite", "mirror", "request_headers", "response_headers"];

/// Lowers the action of a route.
pub(super) fn lower(value: &Value<'_>, ground: Ground<'_>, findings: &mut Findings) -> Option<Action> {
    let section = value.section(findings, keys::ACTION)?;
    let kinds = ["farm", "farms", "redirect", "reject"];
    let mut written = kinds.iter().filter_map(|key| section.get(key));
    let forms = "farm: NAME, farms: {NAME: WEIGHT}, redirect: URL or reject: STATUS";
    let Some(first) = written.next() else {
        value.complain(findings, format!("does nothing; write {forms}"));
        return None;
    };
    if let Some(second) = written.next() {
        second.complain(findings, format!("{} and {} are both written; keep one of the two", first.key, second.key));
    }
    let is_forward = matches!(first.key, "farm" | "farms");
    for value in OF_FORWARDS.iter().filter_map(|key| section.get(key)).filter(|_| !is_forward) {
        value.complain(findings, format!("goes with farm or farms, not with {}; remove it", first.key));
    }
    if let Some(value) = section.get("status").filter(|_| first.key != "redirect") {
        value.complain(findings, "goes with redirect; write reject: STATUS, or remove it");
    }
    match first.key {
        "farm" => {
            let farm = farm(&first, ground, findings);
            forward(&section, farm.map(|farm| vec![Share { farm, weight: 1 }]), ground, findings).map(Action::Forward)
        }
        "farms" => {
            let shares = shares(&first, ground, findings);
            forward(&section, shares, ground, findings).map(Action::Forward)
        }
        "redirect" => {
            ground.refuse_without_requests(&first, findings);
            let status = redirect_status(&section, findings);
            target(&first, findings).map(|target| Action::Redirect(Redirect { status, target }))
        }
        _ => reject(&first, ground, findings).map(Action::Reject),
    }
}

/// Reads the name of a farm that speaks what the frontend does.
pub(super) fn farm(value: &Value<'_>, ground: Ground<'_>, findings: &mut Findings) -> Option<FarmId> {
    named_farm(value.text(findings, "the name of a farm")?, ground).map_err(|why| value.refuse(findings, why)).ok()
}

fn named_farm(text: &str, ground: Ground<'_>) -> Result<FarmId, String> {
    let Some(known) = ground.protocols.get(text) else {
        let mut names: Vec<_> = ground.protocols.keys().copied().collect();
        names.sort_unstable();
        return Err(format!("is the name of no farm; {}", did_you_mean(text, names.into_iter())));
    };
    if let (Some(ours), Some(theirs)) = (ground.protocol, known.protocol)
        && ours != theirs
    {
        let (ours, theirs) = (ours.as_str(), theirs.as_str());
        return Err(format!("speaks {theirs} and this frontend {ours}; give both the same protocol"));
    }
    Ok(known.id)
}

fn shares(value: &Value<'_>, ground: Ground<'_>, findings: &mut Findings) -> Option<Vec<Share>> {
    let entries = value.entries(findings, "farms", SHARES_MAX);
    let mut shares = Vec::new();
    for entry in &entries {
        let farm = named_farm(entry.key, ground)
            .map_err(|why| findings.error(entry.key_at, &entry.path, format!("{} {why}", quoted(entry.key))));
        let weight = entry.number(findings, &SHARE_WEIGHT, "only ratios matter, divide all weights of this route");
        if let (Ok(farm), Some(weight)) = (farm, weight) {
            shares.push(Share { farm, weight });
        }
    }
    let is_whole = shares.len() == entries.len() && matches!(value.tree.content, Content::Map(_));
    if is_whole && shares.iter().all(|share| share.weight == 0) {
        value.complain(findings, "no farm would take the work; write {NAME: WEIGHT} with a weight above 0");
        return None;
    }
    is_whole.then_some(shares)
}

fn forward(
    section: &Section<'_>,
    shares: Option<Vec<Share>>,
    ground: Ground<'_>,
    findings: &mut Findings,
) -> Option<Forward> {
    let rewrite = section.get("rewrite").and_then(|value| rewrite(&value, ground, findings));
    let mirror = section.get("mirror").and_then(|value| mirror(&value, ground, findings));
    let request_headers = heads::rules(section, "request_headers", ground, findings);
    let response_headers = heads::rules(section, "response_headers", ground, findings);
    Some(Forward { shares: shares?.into(), rewrite, mirror, request_headers, response_headers })
}

fn rewrite(value: &Value<'_>, ground: Ground<'_>, findings: &mut Findings) -> Option<Rewrite> {
    ground.refuse_without_requests(value, findings);
    let section = value.section(findings, keys::REWRITE)?;
    let mut path = |key: &str, remedy: &str| {
        section.need(findings, key, remedy).and_then(|value| value.parsed(findings, "a path", parse_path))
    };
    let prefix = path("prefix", "write the beginning of a path, as /api");
    let with = path("with", "write what stands there instead, as /");
    Some(Rewrite { prefix: prefix?, with: with? })
}

fn parse_path(text: &str) -> Result<Box<str>, String> {
    let is_good = text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && !b"?#".contains(&b));
    if is_good && text.len() <= FIELD_BYTES_MAX {
        return Ok(text.into());
    }
    Err(format!("is no path of 1 to {FIELD_BYTES_MAX} visible ASCII characters; write for example \"/api\""))
}

fn mirror(value: &Value<'_>, ground: Ground<'_>, findings: &mut Findings) -> Option<Mirror> {
    ground.refuse_without_requests(value, findings);
    let section = value.section(findings, keys::MIRROR)?;
    let farm = section
        .need(findings, "farm", "write the farm that sees a copy")
        .and_then(|value| farm(&value, ground, findings));
    let share = section.percent(findings, "share", &MIRROR_SHARE);
    Some(Mirror { farm: farm?, share })
}

/// Lowers a redirect, as a text or with its status.
pub(super) fn redirect(value: &Value<'_>, findings: &mut Findings) -> Option<Redirect> {
    if value.is_scalar() {
        return target(value, findings).map(|target| Redirect { status: FOUND, target });
    }
    let section = value.section(findings, keys::REDIRECT)?;
    let status = redirect_status(&section, findings);
    let to = section.need(findings, "to", "write where to go, as https://${host}${uri}")?;
    target(&to, findings).map(|target| Redirect { status, target })
}

fn redirect_status(section: &Section<'_>, findings: &mut Findings) -> u16 {
    section.or(findings, "status", FOUND, |value, findings| status(value, &REDIRECTS, findings))
}

fn target(value: &Value<'_>, findings: &mut Findings) -> Option<Template> {
    let is_good = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
    let target = heads::template(value, is_good, "is no URL; write visible ASCII without spaces", findings)?;
    if target.pieces().is_empty() {
        value.refuse(findings, "is no place to go; write a URL, as https://${host}${uri}");
        return None;
    }
    Some(target)
}

/// Reads how work is rejected: the status, or true.
pub(super) fn reject(value: &Value<'_>, ground: Ground<'_>, findings: &mut Findings) -> Option<u16> {
    let mut unheard = Findings::default();
    if value.flag(&mut unheard) == Some(true) {
        return Some(CLOSED);
    }
    if ground.without_requests().is_some() {
        value.refuse(findings, "is not true, and a connection has no status; write reject: true, which closes it");
        return None;
    }
    status(value, &REJECTIONS, findings)
}

fn status(value: &Value<'_>, allowed: &[u16], findings: &mut Findings) -> Option<u16> {
    let words: Vec<_> = allowed.iter().map(u16::to_string).collect();
    let remedy = format!("write one of {}", words.join(", "));
    let status = value.number(findings, &(100..=599), &remedy)?;
    if !allowed.contains(&status) {
        value.refuse(findings, format!("is no status of this; {remedy}"));
        return None;
    }
    Some(status)
}
