//! A topology becomes a config file again: the export. What is written here loads as an equal topology.
//!
//! Every value is written out, defaults too, so the text means the same under a later release with other defaults. No
//! secret is in a topology; `admin` and `log` are not part of it.

use serde_yaml::Value;

use super::expand::OPENING;
use super::schema::{
    self, AddressText, DurationText, Filled, ListenText, NameText, Named, Number, PortsText, ServerForm, ServiceForm,
    SizeText, Statuses, UrlText,
};
use super::tree::{join, old_line_break};
use super::units::{show_duration, show_size};
use crate::model::{
    AdminStatus, Balance, BodyMatch, FailOpen, Farm, Frontend, Negate, Probe, ProbeKind, ProbeMethod, ProbeStart,
    Protocol, Role, Server, Topology,
};

/// Why a topology cannot be written as a config file.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A text holds what would be filled in from the environment when the file is read.
    #[error("{path}: holds \"${{env:\", which would be filled in on reading; change the text")]
    EnvText {
        /// The key path of the text.
        path: String,
    },
    /// A text holds a character that some YAML tools take for the end of a line and others do not.
    #[error("{path}: holds the character {found:?}, which does not survive every YAML tool; match it with a pattern")]
    LineBreak {
        /// The key path of the text.
        path: String,
        /// The character.
        found: char,
    },
    /// The YAML writer refused.
    #[error("cannot write YAML")]
    Yaml(#[from] serde_yaml::Error),
}

/// Returns the topology as the text of a config file.
///
/// # Errors
/// [`ExportError::EnvText`] and [`ExportError::LineBreak`] for a text that would not be read back as it is; lowering lets
/// no such text in.
pub fn to_yaml(topology: &Topology) -> Result<String, ExportError> {
    let value = serde_yaml::to_value(file(topology))?;
    refuse_lossy(&value, "")?;
    Ok(serde_yaml::to_string(&value)?)
}

fn refuse_lossy(value: &Value, path: &str) -> Result<(), ExportError> {
    match value {
        Value::String(text) if text.contains(OPENING) => Err(ExportError::EnvText { path: path.to_owned() }),
        Value::String(text) => match old_line_break(text) {
            Some(found) => Err(ExportError::LineBreak { path: path.to_owned(), found }),
            None => Ok(()),
        },
        Value::Mapping(map) => {
            map.iter().try_for_each(|(key, value)| refuse_lossy(value, &join(path, key.as_str().unwrap_or_default())))
        }
        Value::Sequence(items) => {
            items.iter().enumerate().try_for_each(|(i, item)| refuse_lossy(item, &format!("{path}[{i}]")))
        }
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::Tagged(_) => Ok(()),
    }
}

fn file(topology: &Topology) -> schema::File {
    let service = &topology.service;
    schema::File {
        service: ServiceForm::Full(schema::Service {
            name: NameText(service.name.to_string()),
            addresses: Some(service.addresses.iter().map(ToString::to_string).collect()),
            api_ports: Some(PortsText(format!("{}-{}", service.api_ports.start(), service.api_ports.end()))),
        }),
        instance_id: Some(Number(service.instance_id.0)),
        zone: Some(NameText(service.zone.to_string())),
        workers: None,
        state_dir: None,
        grace: None,
        checks_at_once: None,
        frontends: Named(topology.frontends.iter().map(|f| (f.name.to_string(), frontend(f, topology))).collect()),
        farms: Named(topology.farms.iter().map(|f| (f.name.to_string(), farm(f))).collect()),
        admin: None,
        log: None,
    }
}

fn frontend(frontend: &Frontend, topology: &Topology) -> schema::Frontend {
    let farm = topology.farm(frontend.farm).map_or_else(String::new, |farm| farm.name.to_string());
    let (timeouts, limits) = (&frontend.timeouts, &frontend.limits);
    schema::Frontend {
        protocol: protocol(frontend.protocol),
        listen: frontend.listen.iter().map(|addr| ListenText(addr.to_string())).collect(),
        farm: NameText(farm),
        trust: Some(frontend.trust.iter().map(ToString::to_string).collect()),
        timeouts: Some(schema::FrontendTimeouts {
            header: duration(timeouts.header),
            body: duration(timeouts.body),
            idle: duration(timeouts.idle),
            write: duration(timeouts.write),
            tunnel: duration(timeouts.tunnel),
        }),
        limits: Some(schema::Limits {
            connections: Some(Number(limits.connections.into())),
            header_bytes: size(limits.header_bytes.into()),
            uri_bytes: size(limits.uri_bytes.into()),
            body_bytes: size(limits.body_bytes),
        }),
    }
}

fn farm(farm: &Farm) -> schema::Farm {
    let timeouts = &farm.timeouts;
    schema::Farm {
        protocol: protocol(farm.protocol),
        balance: Some(Filled::Value(match farm.balance {
            Balance::First => schema::Balance::First,
            Balance::LeastConn => schema::Balance::LeastConn,
            Balance::RoundRobin => schema::Balance::RoundRobin,
            Balance::Source => schema::Balance::Source,
            Balance::Uri => schema::Balance::Uri,
        })),
        probe: farm.main_probe().map(|main| probe(main)),
        timeouts: Some(schema::FarmTimeouts {
            connect: duration(timeouts.connect),
            response: duration(timeouts.response),
            idle: duration(timeouts.idle),
        }),
        retries: Some(schema::Retries { attempts: Some(Number(farm.retry_attempts.into())) }),
        fail_open: flag(farm.fail_open == FailOpen::WhenAllDown),
        servers: Named(farm.servers.iter().map(|s| (s.name.to_string(), ServerForm::Full(server(s)))).collect()),
    }
}

fn probe(probe: &Probe) -> schema::Probe {
    let common = schema::Probe {
        r#type: Filled::Value(schema::ProbeType::Tcp),
        method: None,
        url: None,
        host: None,
        port: probe.aim.port.map(|port| Number(port.into())),
        expect: None,
        interval: duration(probe.interval),
        timeout: duration(probe.timeout),
        rise: Some(Number(probe.rise.into())),
        fall: Some(Number(probe.fall.into())),
        start: Some(Filled::Value(match probe.start {
            ProbeStart::Check => schema::ProbeStart::Check,
            ProbeStart::Down => schema::ProbeStart::Down,
            ProbeStart::Up => schema::ProbeStart::Up,
        })),
    };
    match &probe.kind {
        ProbeKind::Http(http) => schema::Probe {
            r#type: Filled::Value(schema::ProbeType::Http),
            method: Some(Filled::Value(match http.method {
                ProbeMethod::Get => schema::ProbeMethod::Get,
                ProbeMethod::Head => schema::ProbeMethod::Head,
                ProbeMethod::Options => schema::ProbeMethod::Options,
            })),
            url: Some(UrlText(http.path.to_string())),
            host: probe.aim.host.as_deref().map(str::to_owned),
            expect: Some(schema::Expect {
                status: Some(Statuses::List(http.expect.status.to_string())),
                ..expect(http.expect.body.as_ref(), http.expect.negate)
            }),
            ..common
        },
        ProbeKind::Tcp { banner, negate } => schema::Probe { expect: Some(expect(banner.as_ref(), *negate)), ..common },
        ProbeKind::Agent { .. }
        | ProbeKind::Command(_)
        | ProbeKind::Exchange(_)
        | ProbeKind::Grpc { .. }
        | ProbeKind::Mysql { .. }
        | ProbeKind::Oco
        | ProbeKind::Pgsql { .. }
        | ProbeKind::Ping
        | ProbeKind::Redis { .. }
        | ProbeKind::Smtp { .. }
        | ProbeKind::Tls => common,
    }
}

fn expect(body: Option<&BodyMatch>, negate: Negate) -> schema::Expect {
    let (contains, matches) = match body {
        None => (None, None),
        Some(BodyMatch::Contains(text)) => (Some(text.to_string()), None),
        Some(BodyMatch::Matches(regex)) => (None, Some(regex.as_str().to_owned())),
    };
    schema::Expect { status: None, contains, matches, negate: flag(negate == Negate::Inverted) }
}

fn server(server: &Server) -> schema::Server {
    schema::Server {
        address: AddressText(server.address.to_string()),
        weight: Some(Number(server.weight.0.into())),
        backup: flag(server.role == Role::Backup),
        probe: flag(server.probed),
        status: Some(Filled::Value(match server.admin {
            AdminStatus::Active => schema::AdminStatus::Active,
            AdminStatus::Drain => schema::AdminStatus::Drain,
            AdminStatus::Maintenance => schema::AdminStatus::Maintenance,
        })),
    }
}

fn protocol(protocol: Protocol) -> Filled<schema::Protocol> {
    Filled::Value(match protocol {
        Protocol::Http => schema::Protocol::Http,
        Protocol::Tcp => schema::Protocol::Tcp,
    })
}

fn duration(duration: std::time::Duration) -> Option<DurationText> {
    Some(DurationText(show_duration(duration)))
}

fn size(bytes: u64) -> Option<SizeText> {
    Some(SizeText(show_size(bytes)))
}

fn flag(is_set: bool) -> Option<Filled<bool>> {
    Some(Filled::Value(is_set))
}
