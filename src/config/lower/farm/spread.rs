//! How a farm's work is spread and what becomes of work that finds no place: balance, hash, queue, retries, reuse.

use crate::config::bounds::{
    AGE_MAX, IDLE_MAX, LOAD_MAX, QUEUE_LENGTH, QUEUE_TIMEOUT, REQUESTS_MAX, RETRY_ATTEMPTS, RETRY_PER_SECOND,
    RETRY_SHARE, SERVER_CONNECTIONS, SERVER_STREAMS,
};
use crate::config::error::Findings;
use crate::config::keys;
use crate::config::lower::frontend::by_header;
use crate::config::read::{Section, Switch, Value};
use crate::model::{Balance, HashKey, HashRule, Protocol, QueueRule, RetryBudget, Reuse};

const BALANCES: &[(&str, Balance)] = &[
    ("roundrobin", Balance::RoundRobin),
    ("leastconn", Balance::LeastConn),
    ("first", Balance::First),
    ("source", Balance::Source),
    ("uri", Balance::Uri),
    ("random", Balance::Random),
    ("ewma", Balance::Ewma),
    ("maglev", Balance::Maglev),
];
/// Returns the word of a protocol that has no requests.
pub(super) fn without_requests(protocol: Option<Protocol>) -> Option<&'static str> {
    protocol.filter(|protocol| *protocol != Protocol::Http).map(Protocol::as_str)
}

/// Lowers `balance`.
pub(super) fn balance(section: &Section<'_>, protocol: Option<Protocol>, findings: &mut Findings) -> Balance {
    section.or(findings, "balance", Balance::RoundRobin, |value, findings| {
        let balance = value.word(findings, BALANCES)?;
        if let (Balance::Uri | Balance::Ewma, Some(word)) = (balance, without_requests(protocol)) {
            let remedy = "write roundrobin, leastconn, first, source, random or maglev";
            value.refuse(findings, format!("needs requests, and this farm is {word}; {remedy}"));
        }
        Some(balance)
    })
}

/// Lowers `hash`; what the balance does not look at is as if it were not written.
pub(super) fn hash(
    section: &Section<'_>,
    balance: Balance,
    protocol: Option<Protocol>,
    findings: &mut Findings,
) -> HashRule {
    section.or(findings, "hash", HashRule::default(), |value, findings| {
        let section = value.section(findings, keys::HASH)?;
        let has_key = balance == Balance::Maglev;
        let has_load = has_key || matches!(balance, Balance::Source | Balance::Uri);
        let key = section.or(findings, "key", HashKey::default(), |value, findings| {
            if !has_key {
                value.warn(findings, "has no effect but with balance: maglev; the others hash what their name says");
            }
            hash_key(value, protocol, findings).filter(|_| has_key)
        });
        let load_max = section.get("load_max").and_then(|value| {
            if !has_load {
                value.warn(findings, "has no effect but with balance: maglev, source or uri; remove it");
            }
            value.percent(findings, &LOAD_MAX).filter(|_| has_load)
        });
        Some(HashRule { key, load_max })
    })
}

fn hash_key(value: &Value<'_>, protocol: Option<Protocol>, findings: &mut Findings) -> Option<HashKey> {
    let key = if value.is_scalar() {
        let wanted = "source, uri or {header: NAME}";
        value.parsed(findings, wanted, |text| match text {
            "source" => Ok(HashKey::Source),
            "uri" => Ok(HashKey::Uri),
            _ => Err(format!("is not {wanted}; write one of them")),
        })?
    } else {
        HashKey::Header(by_header(value, findings)?)
    };
    if let (HashKey::Header(_) | HashKey::Uri, Some(word)) = (&key, without_requests(protocol)) {
        value.complain(findings, format!("needs requests, and this farm is {word}; write key: source"));
    }
    Some(key)
}

/// Lowers `queue`.
pub(super) fn queue(section: &Section<'_>, protocol: Option<Protocol>, findings: &mut Findings) -> QueueRule {
    let defaults = QueueRule { length: QUEUE_LENGTH.default, timeout: QUEUE_TIMEOUT.default };
    section.or(findings, "queue", defaults, |value, findings| {
        let section = value.section(findings, keys::QUEUE)?;
        let rule = QueueRule {
            length: section.number(findings, "length", &QUEUE_LENGTH, "0 lets nothing wait"),
            timeout: section.duration(findings, "timeout", &QUEUE_TIMEOUT),
        };
        if protocol == Some(Protocol::Udp) {
            value.warn(findings, "has no effect on a udp farm, whose datagrams never wait; remove it");
            return None;
        }
        Some(rule)
    })
}

/// Lowers `retries`: how many other servers are tried, and how much may be.
pub(super) fn retries(section: &Section<'_>, findings: &mut Findings) -> (u8, Option<RetryBudget>) {
    let budget = RetryBudget { share: RETRY_SHARE.default, per_second_min: RETRY_PER_SECOND.default };
    section.or(findings, "retries", (RETRY_ATTEMPTS.default, Some(budget)), |value, findings| {
        let section = value.section(findings, keys::RETRIES)?;
        let attempts = section.number(findings, "attempts", &RETRY_ATTEMPTS, "each attempt is one more server tried");
        let budget = section.or(findings, "budget", Some(budget), |value, findings| {
            Some(match value.switch(findings, keys::RETRY_BUDGET)? {
                Switch::Off => None,
                Switch::On => Some(budget),
                Switch::Set(section) => Some(RetryBudget {
                    share: section.percent(findings, "share", &RETRY_SHARE),
                    per_second_min: section.number(findings, "per_second_min", &RETRY_PER_SECOND, "it counts retries"),
                }),
            })
        });
        Some((attempts, budget))
    })
}

/// Lowers `reuse`.
pub(super) fn reuse(section: &Section<'_>, protocol: Option<Protocol>, findings: &mut Findings) -> Reuse {
    section.or(findings, "reuse", Reuse::default(), |value, findings| {
        let section = value.section(findings, keys::REUSE)?;
        let age_max = section.get("age_max").and_then(|value| value.duration(findings, &AGE_MAX));
        let requests_max = section
            .get("requests_max")
            .and_then(|value| value.number(findings, &REQUESTS_MAX, "remove the key for any number"));
        let reuse = Reuse {
            idle_max: section.number(findings, "idle_max", &IDLE_MAX, "0 keeps none"),
            age_max,
            requests_max,
            streams: section.number(findings, "streams", &SERVER_STREAMS, "write a number within"),
            connections: section.number(findings, "connections", &SERVER_CONNECTIONS, "write a number within"),
        };
        if let Some(word) = without_requests(protocol) {
            value.warn(findings, format!("has no effect on a {word} farm; remove it"));
            return None;
        }
        Some(reuse)
    })
}

/// Lowers `http2`.
pub(super) fn http2(section: &Section<'_>, protocol: Option<Protocol>, findings: &mut Findings) -> bool {
    section.or(findings, "http2", false, |value, findings| {
        let is_on = value.flag(findings)?;
        if let Some(word) = without_requests(protocol).filter(|_| is_on) {
            value.refuse(findings, format!("needs requests, and this farm is {word}; remove it"));
        }
        Some(is_on)
    })
}
