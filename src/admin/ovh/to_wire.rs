//! Snapshot → wire, for all but farms, servers, frontends and routes. Pure.

use super::credential::Known;
use super::path::Kind;
use super::wire;
use super::write::{REDIRECTS, REJECTIONS, SUBJECTS};
use crate::admin::call::Credentials;
use crate::model::settings::CallRule;
use crate::model::{Access, Service, Task, Timestamp};
use crate::objects::View;
use crate::store::Snapshot;
use crate::store::snapshot::InstanceRow;

const NEGATABLE: &[&str] = &["contains", "matches"];

/// Returns the service. Its address is the first declared one, else the first that a frontend listens on.
pub(super) fn service(snapshot: &Snapshot) -> wire::Service<'_> {
    let service = &snapshot.service;
    let listened =
        snapshot.frontends.iter().flat_map(|row| &row.frontend.listen).filter_map(|addr| Some(addr.ip()?.ip()));
    let first = service.addresses.iter().copied().chain(listened).next();
    wire::Service {
        service_name: service.name.as_str(),
        display_name: service.name.as_str().into(),
        ip_loadbalancing: first.map_or_else(|| "0.0.0.0".to_owned(), |ip| ip.to_string()),
        ipv4: service.addresses.iter().find(|ip| ip.is_ipv4()).map(ToString::to_string),
        ipv6: service.addresses.iter().find(|ip| ip.is_ipv6()).map(ToString::to_string),
        zone: [service.zone.as_str()],
        offer: "farmgate",
        orderable_zone: [],
        ssl_configuration: None,
        state: "ok",
        vrack_eligibility: false,
        vrack_name: None,
        metrics_token: None,
        iam: None,
    }
}

/// Returns the instances. Before the first round of checks one is "not started yet".
pub(super) fn instances<'s>(snapshot: &'s Snapshot, view: &View) -> Vec<wire::InstanceState<'s>> {
    let state = |row: &InstanceRow| {
        let is_of = |task: &&Task| {
            let zones = &task.zones;
            task.is_refresh
                && !task.status.is_final()
                && (zones.is_empty() || zones.iter().any(|it| **it == *row.zone.as_str()))
        };
        match view.tasks.iter().find(is_of) {
            _ if !row.is_ready => "unknown",
            Some(_) => "reload",
            None => "running",
        }
    };
    let one = |row: &'s InstanceRow| wire::InstanceState {
        internal_id: row.id.0,
        state: state(row),
        zone: row.zone.as_str(),
        last_update_date: row.at.to_string(),
    };
    snapshot.instances.iter().map(one).collect()
}

/// Returns what probes can do.
pub(super) fn farm_probes() -> Vec<wire::FarmProbe> {
    let plain = |kind, port| wire::FarmProbe {
        kind,
        port,
        url: false,
        method: None,
        matches: &["default"],
        negatable_matches: &[],
    };
    vec![
        wire::FarmProbe {
            kind: "http",
            port: true,
            url: true,
            method: Some(&["GET", "HEAD", "OPTIONS"]),
            matches: &["default", "status", "contains", "matches"],
            negatable_matches: &["status", "contains", "matches"],
        },
        wire::FarmProbe {
            kind: "tcp",
            port: true,
            url: false,
            method: None,
            matches: &["default", "contains", "matches"],
            negatable_matches: NEGATABLE,
        },
        plain("smtp", true),
        plain("mysql", true),
        plain("pgsql", true),
        plain("oco", false),
    ]
}

/// Returns what routes can do.
pub(super) fn route_actions() -> [wire::AvailableAction; 5] {
    let of = |name, kind, status, destination| wire::AvailableAction { name, kind, status, destination };
    [
        of("farm", "http", None, Some("farmId")),
        of("redirect", "http", Some(REDIRECTS), Some("url")),
        of("reject", "http", Some(REJECTIONS), None),
        of("farm", "tcp", None, Some("farmId")),
        of("reject", "tcp", None, None),
    ]
}

/// Returns what routes can look at.
pub(super) fn route_rules() -> Vec<wire::AvailableRule> {
    let of = |kind: Kind| {
        let known = SUBJECTS.iter().filter(move |subject| kind == Kind::Http || subject.is_of_tcp);
        known.map(move |subject| wire::AvailableRule {
            name: subject.name,
            kind: kind.as_str(),
            has_sub_field: subject.has_sub_field,
            matches: subject.matches,
            pattern: subject.pattern,
            words: subject.words(kind),
        })
    };
    of(Kind::Http).chain(of(Kind::Tcp)).collect()
}

/// Returns the zone of this process.
pub(super) fn zone(service: &Service) -> wire::Zone<'_> {
    wire::Zone { name: service.zone.as_str(), state: "active" }
}

/// Returns where connections to servers come from: the routing table decides, so no block is named.
pub(super) fn nat_ips(service: &Service) -> [wire::NatIps<'_>; 1] {
    [wire::NatIps { zone: service.zone.as_str(), ip: [] }]
}

/// Returns who the caller is.
pub(super) fn details(known: &Known) -> wire::Details<'_> {
    wire::Details {
        account: &known.caller.grant.name,
        method: "account",
        identities: [],
        roles: [known.caller.grant.access.as_str()],
        user: None,
        description: None,
        allowed_routes: routes(known),
    }
}

/// Returns the caller's credential. When one of the config was made is not known, and says 1970.
pub(super) fn credential<'k>(
    credentials: &Credentials,
    known: &'k Known,
    position: usize,
    now: Timestamp,
) -> wire::Credential<'k> {
    let Some(asked) = &known.asked else {
        return wire::Credential {
            credential_id: position as u64,
            application_id: position,
            status: "validated",
            creation: Timestamp::default().to_string(),
            expiration: None,
            last_use: Some(now.to_string()),
            ovh_support: false,
            allowed_ips: None,
            rules: routes(known),
        };
    };
    let applications = &credentials.ovh_applications;
    let application = applications.iter().position(|known| known.key == asked.application_key);
    let nets = asked.allowed_ips.iter().map(ToString::to_string).collect::<Vec<_>>();
    wire::Credential {
        credential_id: asked.id,
        application_id: application.map_or(0, |at| at + 1),
        status: asked.state(now).as_str(),
        creation: asked.asked_at.to_string(),
        expiration: asked.granted(now).and_then(|granted| granted.until).map(|until| until.to_string()),
        last_use: asked.last_use.or(Some(now)).map(|at| at.to_string()),
        ovh_support: false,
        allowed_ips: (!nets.is_empty()).then_some(nets),
        rules: routes(known),
    }
}

/// The rules, held against what the role allows.
fn routes(known: &Known) -> Vec<wire::CallRule<'_>> {
    let may_write = known.caller.grant.access > Access::Read;
    let is_allowed = |rule: &&CallRule| may_write || &*rule.method == "GET";
    known
        .rules
        .iter()
        .filter(is_allowed)
        .map(|rule| wire::CallRule { method: &rule.method, path: &rule.path })
        .collect()
}
