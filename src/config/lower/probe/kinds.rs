//! What a probe speaks: the keys of each type.

use std::path::Path;
use std::sync::Arc;

use super::url::Url;
use super::{Type, WRAPPED, aim, exchange, expect};
use crate::config::bounds::{ARGS_MAX, PGSQL_USER, SMTP_HELLO, TEXT_BYTES_MAX};
use crate::config::error::Findings;
use crate::config::lower::{Around, Commands, secret, text};
use crate::config::read::{Section, Value};
use crate::model::{
    Aim, CommandProbe, Encryption, ExchangeProbe, Expect, HttpProbe, HttpVersion, Negate, ProbeKind, ProbeMethod,
};

const METHODS: &[(&str, ProbeMethod)] =
    &[("GET", ProbeMethod::Get), ("HEAD", ProbeMethod::Head), ("OPTIONS", ProbeMethod::Options)];
const VERSIONS: &[(&str, HttpVersion)] =
    &[("1", HttpVersion::Http1), ("1.1", HttpVersion::Http1), ("2", HttpVersion::Http2)];
/// The most bytes of a user's name, as MySQL and PostgreSQL have it.
const USER_BYTES_MAX: usize = 80;
/// The most bytes of the name given with HELO, as SMTP has it.
const HELLO_BYTES_MAX: usize = 255;

/// Lowers what a probe of that type speaks; a host that its URL names goes into `aim`.
pub(super) fn lower(
    of: Type,
    section: &Section<'_>,
    aim: &mut Aim,
    around: Around<'_>,
    findings: &mut Findings,
) -> Option<ProbeKind> {
    // What the types below keep themselves they take out of the aim.
    if WRAPPED.contains(&of) {
        let encryption = aim.tls.unwrap_or(Encryption::None);
        if encryption == Encryption::None {
            aim::refuse_tls_keys(section, findings);
        }
        aim.tls = Some(encryption).filter(|it| *it == Encryption::Tls);
    }
    Some(match of {
        Type::Agent => {
            let send = section.or(findings, "send", Box::default(), text::free);
            ProbeKind::Agent { send }
        }
        Type::Command => ProbeKind::Command(command(section, around.commands, findings)?),
        Type::Exchange => {
            let encryption = aim.tls.take().unwrap_or(Encryption::None);
            ProbeKind::Exchange(ExchangeProbe { steps: exchange::steps(section, findings)?, encryption })
        }
        Type::Grpc => {
            let encryption = aim.tls.take().unwrap_or(Encryption::None);
            let service = section.or(findings, "service", Box::default(), |value, findings| {
                text::line(value, TEXT_BYTES_MAX, "the name of a service", findings)
            });
            ProbeKind::Grpc { service, encryption }
        }
        Type::Http => ProbeKind::Http(http(section, Encryption::None, aim, findings)),
        Type::Https => ProbeKind::Http(http(section, Encryption::Tls, aim, findings)),
        Type::Mysql => ProbeKind::Mysql { user: section.get("user").and_then(|value| user(&value, findings)) },
        Type::Oco => ProbeKind::Oco,
        Type::Pgsql => ProbeKind::Pgsql { user: section.or(findings, "user", PGSQL_USER.into(), user) },
        Type::Ping => ProbeKind::Ping,
        Type::Redis => {
            let password = secret::optional(section, "password", "password_file", around.read_file, findings);
            ProbeKind::Redis { password }
        }
        Type::Smtp => ProbeKind::Smtp { hello: section.or(findings, "hello", SMTP_HELLO.into(), hello) },
        Type::Tcp => {
            let wanted = section.get("expect").and_then(|value| expect::tcp(&value, findings));
            let (banner, negate) = wanted.unwrap_or((None, Negate::AsWritten));
            ProbeKind::Tcp { banner, negate }
        }
        Type::Tls => ProbeKind::Tls,
    })
}

fn http(section: &Section<'_>, encryption: Encryption, aim: &mut Aim, findings: &mut Findings) -> HttpProbe {
    let method = section.or(findings, "method", ProbeMethod::Get, |value, findings| value.word(findings, METHODS));
    let url = section.or(findings, "url", Url::default(), |value, findings| {
        value.parsed(findings, "a URL", |text| Url::parse(text, encryption))
    });
    if let (Some(value), true) = (section.get("host"), url.host.is_some()) {
        value.complain(findings, "url and host both name a host; keep one of the two");
    }
    aim.host = url.host.or_else(|| aim.host.take());
    let version = section.or(findings, "version", HttpVersion::Http1, |value, findings| value.word(findings, VERSIONS));
    let expect =
        section.or(findings, "expect", Expect::default(), |value, findings| expect::http(value, method, findings));
    HttpProbe { method, path: url.path, version, encryption, expect }
}

fn command(section: &Section<'_>, commands: Commands, findings: &mut Findings) -> Option<CommandProbe> {
    if let (Commands::Refused, Some(value)) = (commands, section.get("type")) {
        let why = "it would let whoever writes this file run any program as the balancer's user";
        value.complain(
            findings,
            format!("a command is not run unless admin says so, since {why}; write admin: {{allow_commands: true}}"),
        );
    }
    let program = section.need(findings, "program", "write program: /absolute/path").and_then(|value| {
        let path = text::path(&value, findings)?;
        if !path.is_absolute() {
            value.refuse(
                findings,
                "is not absolute; write the whole path, since no directory is searched and no shell is asked",
            );
        }
        Some(Arc::<Path>::from(path))
    });
    let args = section.or(findings, "args", Box::default(), |value, findings| {
        Some(value.list(findings, "arguments", ARGS_MAX).iter().filter_map(|item| text::free(item, findings)).collect())
    });
    Some(CommandProbe { program: program?, args })
}

fn user(value: &Value<'_>, findings: &mut Findings) -> Option<Box<str>> {
    text::line(value, USER_BYTES_MAX, "the name of a user", findings)
}

fn hello(value: &Value<'_>, findings: &mut Findings) -> Option<Box<str>> {
    let is_good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    value.parsed(findings, "a host name", |text| {
        if (1..=HELLO_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_good) {
            return Ok(Box::from(text));
        }
        Err("is no host name to say HELO with; write for example \"lb.example.com\"")
    })
}
