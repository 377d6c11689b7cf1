//! One probe of a farm: what it speaks (`kinds`), where it goes and as whom (`aim`), when (`timing`) and what counts as
//! a pass (`expect`).
//!
//! Which key belongs to which type is one table here; a key of another type is refused by name.

mod aim;
mod exchange;
mod expect;
mod kinds;
mod timing;
mod url;

pub(super) use self::aim::{lower as lower_aim, parse_sni, warn_of_unused};
pub(super) use self::expect::last_line;
use super::Around;
use crate::config::error::Findings;
use crate::config::keys;
use crate::config::read::{Section, Value};
use crate::model::{Name, Probe};

/// The types of probe, before their own keys are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Agent,
    Command,
    Exchange,
    Grpc,
    Http,
    Https,
    Mysql,
    Oco,
    Pgsql,
    Ping,
    Redis,
    Smtp,
    Tcp,
    Tls,
}

/// The words of `type`, in the order that a message lists them.
const TYPES: &[(&str, Type)] = &[
    ("http", Type::Http),
    ("https", Type::Https),
    ("tcp", Type::Tcp),
    ("tls", Type::Tls),
    ("ping", Type::Ping),
    ("grpc", Type::Grpc),
    ("smtp", Type::Smtp),
    ("mysql", Type::Mysql),
    ("pgsql", Type::Pgsql),
    ("redis", Type::Redis),
    ("oco", Type::Oco),
    ("exchange", Type::Exchange),
    ("agent", Type::Agent),
    ("command", Type::Command),
];

/// Types that speak in the clear, or inside TLS where `tls` says so.
const WRAPPED: &[Type] =
    &[Type::Grpc, Type::Exchange, Type::Tcp, Type::Smtp, Type::Mysql, Type::Pgsql, Type::Redis, Type::Oco];
/// Types that can be inside TLS.
const ENCRYPTED: &[Type] = &[
    Type::Https,
    Type::Tls,
    Type::Grpc,
    Type::Exchange,
    Type::Tcp,
    Type::Smtp,
    Type::Mysql,
    Type::Pgsql,
    Type::Redis,
    Type::Oco,
];

/// Keys that some types have, with those types.
const OWNERS: &[(&str, &[Type])] = &[
    ("method", &[Type::Http, Type::Https]),
    ("url", &[Type::Http, Type::Https]),
    ("version", &[Type::Http, Type::Https]),
    ("host", &[Type::Http, Type::Https, Type::Grpc]),
    ("expect", &[Type::Http, Type::Https, Type::Tcp]),
    ("service", &[Type::Grpc]),
    ("hello", &[Type::Smtp]),
    ("user", &[Type::Mysql, Type::Pgsql]),
    ("password", &[Type::Redis]),
    ("password_file", &[Type::Redis]),
    ("steps", &[Type::Exchange]),
    ("tls", WRAPPED),
    ("send", &[Type::Agent]),
    ("program", &[Type::Command]),
    ("args", &[Type::Command]),
    ("sni", ENCRYPTED),
    ("verify", ENCRYPTED),
    ("ca", ENCRYPTED),
];

/// Keys that every type has but these.
const STRANGERS: &[(&str, &[Type])] =
    &[("port", &[Type::Ping]), ("proxy", &[Type::Ping, Type::Command]), ("source", &[Type::Command])];

/// Lowers a probe of that name; nothing where what it speaks cannot be told.
pub(super) fn lower(value: &Value<'_>, name: Name, around: Around<'_>, findings: &mut Findings) -> Option<Probe> {
    let section = value.section(findings, keys::PROBE)?;
    let of = section
        .need(findings, "type", "write type: http, tcp or another")
        .and_then(|value| value.word(findings, TYPES));
    if let Some(of) = of {
        refuse_keys_of_others(of, &section, findings);
    }
    let timing = timing::lower(&section, findings);
    let mut aim = aim::lower(&section, around, findings);
    let kind = kinds::lower(of?, &section, &mut aim, around, findings)?;
    Some(Probe {
        name,
        kind,
        aim,
        interval: timing.interval,
        fast_interval: timing.fast_interval,
        down_interval: timing.down_interval,
        timeout: timing.timeout,
        rise: timing.rise,
        fall: timing.fall,
        start: timing.start,
    })
}

fn refuse_keys_of_others(of: Type, section: &Section<'_>, findings: &mut Findings) {
    for (key, owners) in OWNERS {
        if let Some(value) = section.get(key).filter(|_| !owners.contains(&of)) {
            let owners: Vec<_> = owners.iter().map(|owner| word(*owner)).collect();
            let (owners, of) = (owners.join(", "), word(of));
            value.complain(findings, format!("belongs to type: {owners}, and this probe is {of}; remove it"));
        }
    }
    for (key, strangers) in STRANGERS {
        if let Some(value) = section.get(key).filter(|_| strangers.contains(&of)) {
            value.complain(findings, format!("means nothing to type: {}; remove it", word(of)));
        }
    }
}

fn word(of: Type) -> &'static str {
    TYPES.iter().find(|(_, it)| *it == of).map_or("", |(word, _)| word)
}
