//! A probe as the file writes it.

use std::path::Path;

use super::{Secrets, duration, flag};
use crate::config::expand::OPENING;
use crate::config::schema::{self, Filled, HexText, IpText, Number, Statuses, UrlText, VersionText};
use crate::config::tree::old_line_break;
use crate::model::{
    Aim, BodyMatch, Encryption, HttpProbe, HttpVersion, Negate, Probe, ProbeKind, ProbeMethod, ProbeStart, ProxyHeader,
    StatusSet, Step, Verify,
};

/// Returns a probe.
pub(super) fn probe(probe: &Probe, secrets: Secrets) -> schema::Probe {
    let common = common(probe);
    let of = |it| Filled::Value(it);
    match &probe.kind {
        ProbeKind::Agent { send } => schema::Probe { r#type: of(schema::ProbeType::Agent), send: some(send), ..common },
        ProbeKind::Command(command) => schema::Probe {
            r#type: of(schema::ProbeType::Command),
            program: Some(show_path(&command.program)),
            args: Some(command.args.iter().map(ToString::to_string).collect()),
            ..common
        },
        ProbeKind::Exchange(exchange) => schema::Probe {
            r#type: of(schema::ProbeType::Exchange),
            steps: Some(exchange.steps.iter().map(step).collect()),
            tls: encrypted(exchange.encryption),
            ..common
        },
        ProbeKind::Grpc { service, encryption } => schema::Probe {
            r#type: of(schema::ProbeType::Grpc),
            service: some(service),
            tls: encrypted(*encryption),
            ..common
        },
        ProbeKind::Http(http) => self::http(http, common),
        ProbeKind::Mysql { user } => {
            schema::Probe { r#type: of(schema::ProbeType::Mysql), user: user.as_deref().map(str::to_owned), ..common }
        }
        ProbeKind::Oco => schema::Probe { r#type: of(schema::ProbeType::Oco), ..common },
        ProbeKind::Pgsql { user } => {
            schema::Probe { r#type: of(schema::ProbeType::Pgsql), user: Some(user.to_string()), ..common }
        }
        ProbeKind::Ping => schema::Probe { r#type: of(schema::ProbeType::Ping), ..common },
        ProbeKind::Redis { password } => {
            let password = password.as_ref().filter(|_| secrets == Secrets::Written);
            let password = password.map(|password| password.reveal().to_owned());
            schema::Probe { r#type: of(schema::ProbeType::Redis), password, ..common }
        }
        ProbeKind::Smtp { hello } => {
            schema::Probe { r#type: of(schema::ProbeType::Smtp), hello: Some(hello.to_string()), ..common }
        }
        ProbeKind::Tcp { banner, negate } => {
            let expect = banner.as_ref().map(|banner| expect(Some(banner), *negate));
            schema::Probe { r#type: of(schema::ProbeType::Tcp), expect, ..common }
        }
        ProbeKind::Tls => schema::Probe { r#type: of(schema::ProbeType::Tls), ..common },
    }
}

/// Returns where probes go and as whom.
pub(super) fn aim(aim: &Aim) -> schema::Aim {
    schema::Aim {
        port: aim.port.map(|port| Number(port.into())),
        address: aim.address.map(|ip| IpText(ip.to_string())),
        host: aim.host.as_deref().map(str::to_owned),
        tls: aim.tls.and_then(encrypted),
        sni: aim.sni.as_deref().map(str::to_owned),
        verify: aim.verify.map(verify),
        ca: aim.ca.as_deref().map(show_path),
        proxy: aim.proxy.map(|proxy| {
            Filled::Value(match proxy {
                ProxyHeader::V1 => schema::ProxyHeader::V1,
                ProxyHeader::V2 => schema::ProxyHeader::V2,
            })
        }),
        source: aim.source.map(|ip| IpText(ip.to_string())),
    }
}

fn encrypted(encryption: Encryption) -> Option<Filled<bool>> {
    flag(encryption == Encryption::Tls)
}

/// Returns whether, and of what, a certificate is verified.
pub(super) fn verify(verify: Verify) -> Filled<schema::Verify> {
    Filled::Value(match verify {
        Verify::Chain => schema::Verify::Part(schema::VerifiedPart::Chain),
        Verify::Off => schema::Verify::Flag(false),
        Verify::On => schema::Verify::Flag(true),
    })
}

/// What every type has; the type itself is the caller's to say.
fn common(probe: &Probe) -> schema::Probe {
    let aim = aim(&probe.aim);
    schema::Probe {
        r#type: Filled::Value(schema::ProbeType::Tcp),
        method: None,
        url: None,
        version: None,
        expect: None,
        service: None,
        hello: None,
        user: None,
        password: None,
        password_file: None,
        steps: None,
        tls: aim.tls,
        send: None,
        program: None,
        args: None,
        port: aim.port,
        address: aim.address,
        host: aim.host,
        sni: aim.sni,
        verify: aim.verify,
        ca: aim.ca,
        proxy: aim.proxy,
        source: aim.source,
        interval: duration(probe.interval),
        fast_interval: probe.fast_interval.and_then(duration),
        down_interval: probe.down_interval.and_then(duration),
        timeout: duration(probe.timeout),
        rise: Some(Number(probe.rise.into())),
        fall: Some(Number(probe.fall.into())),
        retries: None,
        retry_interval: None,
        start: Some(Filled::Value(match probe.start {
            ProbeStart::Check => schema::ProbeStart::Check,
            ProbeStart::Down => schema::ProbeStart::Down,
            ProbeStart::Up => schema::ProbeStart::Up,
        })),
    }
}

fn http(http: &HttpProbe, common: schema::Probe) -> schema::Probe {
    let statuses = |set: &StatusSet| Statuses::List(set.to_string());
    schema::Probe {
        r#type: Filled::Value(match http.encryption {
            Encryption::None => schema::ProbeType::Http,
            Encryption::Tls => schema::ProbeType::Https,
        }),
        method: Some(Filled::Value(match http.method {
            ProbeMethod::Get => schema::ProbeMethod::Get,
            ProbeMethod::Head => schema::ProbeMethod::Head,
            ProbeMethod::Options => schema::ProbeMethod::Options,
        })),
        url: Some(UrlText(http.path.to_string())),
        version: Some(VersionText(match http.version {
            HttpVersion::Http1 => "1.1".to_owned(),
            HttpVersion::Http2 => "2".to_owned(),
        })),
        expect: Some(schema::Expect {
            status: Some(statuses(&http.expect.status)),
            stopping: Some(&http.expect.stopping).filter(|set| !set.is_empty()).map(statuses),
            ..expect(http.expect.body.as_ref(), http.expect.negate)
        }),
        ..common
    }
}

fn expect(body: Option<&BodyMatch>, negate: Negate) -> schema::Expect {
    let (contains, matches) = match body {
        None => (None, None),
        Some(BodyMatch::Contains(text)) => (Some(text.to_string()), None),
        Some(BodyMatch::Matches(regex)) => (None, Some(regex.as_str().to_owned())),
    };
    let negate = flag(negate == Negate::Inverted);
    schema::Expect { status: None, stopping: None, contains, matches, negate }
}

fn step(step: &Step) -> schema::Step {
    let nothing = schema::Step::default();
    match step {
        Step::ExpectBytes(bytes) => match as_text(bytes) {
            Some(text) => schema::Step { expect: Some(text), ..nothing },
            None => schema::Step { expect_hex: Some(hex(bytes)), ..nothing },
        },
        Step::ExpectMatch(BodyMatch::Contains(text)) => schema::Step { expect: Some(text.to_string()), ..nothing },
        Step::ExpectMatch(BodyMatch::Matches(regex)) => {
            schema::Step { matches: Some(regex.as_str().to_owned()), ..nothing }
        }
        Step::Send(bytes) => match as_text(bytes) {
            Some(text) => schema::Step { send: Some(text), ..nothing },
            None => schema::Step { send_hex: Some(hex(bytes)), ..nothing },
        },
    }
}

/// Returns the text of bytes that are one a person reads and that reads back as it is.
fn as_text(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let is_plain = |c: char| !c.is_control() || matches!(c, '\t' | '\r' | '\n');
    let survives = !text.contains(OPENING) && old_line_break(text).is_none();
    (text.chars().all(is_plain) && survives).then(|| text.to_owned())
}

fn hex(bytes: &[u8]) -> HexText {
    HexText(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "))
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// A path of the file was a text there, so nothing is lost.
fn show_path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
