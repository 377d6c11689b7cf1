//! A farm and its servers as the file writes them.

use super::{Secrets, duration, flag, probe, protocol};
use crate::config::schema::{
    self, AddressText, BelowText, Filled, Named, Number, Off, PercentText, ServerForm, ServerProbe, StickinessForm,
    StickinessWord, Switch,
};
use crate::config::units::show_percent;
use crate::model::{
    AdminStatus, Aim, Balance, CookieRule, Encryption, FailOpen, Farm, FlapGuard, HashKey, IncidentGuard, Leftovers,
    Observe, Probe, Protocol, ProxyOut, Reuse, Role, SameSite, Server, ServerTls, Stickiness,
};

/// Returns a farm and its servers.
pub(super) fn farm(farm: &Farm) -> schema::Farm {
    let servers = farm.servers.iter().map(|s| (s.name.to_string(), ServerForm::Full(Box::new(server(s)))));
    schema::Farm { servers: Named(servers.collect()), ..head(farm, Secrets::Written) }
}

/// Returns a farm without its servers.
pub(super) fn head(farm: &Farm, secrets: Secrets) -> schema::Farm {
    let timeouts = &farm.timeouts;
    let is_http = farm.protocol == Protocol::Http;
    let (one, several) = probes(farm, secrets);
    schema::Farm {
        protocol: protocol(farm.protocol),
        balance: Some(Filled::Value(match farm.balance {
            Balance::Ewma => schema::Balance::Ewma,
            Balance::First => schema::Balance::First,
            Balance::LeastConn => schema::Balance::LeastConn,
            Balance::Maglev => schema::Balance::Maglev,
            Balance::Random => schema::Balance::Random,
            Balance::RoundRobin => schema::Balance::RoundRobin,
            Balance::Source => schema::Balance::Source,
            Balance::Uri => schema::Balance::Uri,
        })),
        hash: hash(farm),
        http2: flag(farm.http2).filter(|_| is_http),
        tls: None,
        proxy_protocol: None,
        reuse: is_http.then(|| reuse(&farm.reuse)),
        queue: (farm.protocol != Protocol::Udp).then(|| schema::Queue {
            length: Some(Number(farm.queue.length.into())),
            timeout: duration(farm.queue.timeout),
        }),
        probe: one,
        probes: several,
        quorum: farm.quorum.map(|n| Number(n.into())),
        shadow: farm.shadow.as_ref().map(|shadow| probe::probe(shadow, secrets)),
        observe: Some(switch(farm.observe.as_ref().map(observe))),
        slow_start: duration(farm.slow_start),
        flap: Some(switch(farm.flap.map(flap))),
        incident: Some(switch(farm.incident.map(incident))),
        on_down: Some(leftovers(farm.on_down)),
        drain: Some(schema::Drain {
            deadline: farm.drain.deadline.and_then(duration),
            at_deadline: Some(leftovers(farm.drain.at_deadline)),
        }),
        reserve: Some(percent(farm.reserve)),
        stickiness: Some(stickiness(&farm.stickiness, secrets)),
        timeouts: Some(schema::FarmTimeouts {
            connect: duration(timeouts.connect),
            response: duration(timeouts.response),
            idle: duration(timeouts.idle),
        }),
        retries: Some(schema::Retries {
            attempts: Some(Number(farm.retry_attempts.into())),
            budget: Some(switch(farm.retry_budget.map(|budget| schema::RetryBudget {
                share: Some(percent(budget.share)),
                per_second_min: Some(Number(budget.per_second_min.into())),
            }))),
        }),
        fail_open: Some(schema::FailOpen::Text(BelowText(match farm.fail_open {
            FailOpen::Below(servers) => format!("below {servers}"),
            FailOpen::BelowShare(share) => format!("below {}", show_percent(share)),
            FailOpen::Never => "never".to_owned(),
            FailOpen::WhenAllDown => "all_down".to_owned(),
        }))),
        servers: Named(Vec::new()),
    }
}

/// One probe that has no name of its own is written as `probe`, all others as `probes`.
fn probes(farm: &Farm, secrets: Secrets) -> (Option<schema::Probe>, Option<Named<schema::Probe>>) {
    match &*farm.probes {
        [] => (None, None),
        [one] if one.name == Probe::new(one.kind.clone()).name => (Some(probe::probe(one, secrets)), None),
        several => {
            let named = several.iter().map(|one| (one.name.to_string(), probe::probe(one, secrets)));
            (None, Some(Named(named.collect())))
        }
    }
}

fn switch<T>(set: Option<T>) -> Switch<T> {
    set.map_or(Switch::Off(Off::Off), Switch::Set)
}

fn observe(observe: &Observe) -> schema::Observe {
    let counted = [
        (observe.connect, schema::Counted::Connect),
        (observe.status, schema::Counted::Status),
        (observe.response, schema::Counted::Response),
    ];
    schema::Observe {
        errors: Some(Number(observe.errors.into())),
        count: Some(
            counted.into_iter().filter_map(|(is_counted, it)| is_counted.then_some(Filled::Value(it))).collect(),
        ),
        eject: duration(observe.eject),
        eject_max: duration(observe.eject_max),
        share_max: Some(percent(observe.share_max)),
    }
}

fn flap(guard: FlapGuard) -> schema::Flap {
    schema::Flap {
        transitions: Some(Number(guard.transitions.into())),
        within: duration(guard.within),
        hold: duration(guard.hold),
    }
}

fn incident(guard: IncidentGuard) -> schema::Incident {
    schema::Incident { share: Some(percent(guard.share)), hold: duration(guard.hold) }
}

fn leftovers(leftovers: Leftovers) -> Filled<schema::Leftovers> {
    Filled::Value(match leftovers {
        Leftovers::Close => schema::Leftovers::Close,
        Leftovers::Keep => schema::Leftovers::Keep,
    })
}

fn stickiness(stickiness: &Stickiness, secrets: Secrets) -> StickinessForm {
    let nothing = schema::Stickiness::default();
    StickinessForm::Full(Box::new(match stickiness {
        Stickiness::None => return StickinessForm::Word(Filled::Value(StickinessWord::None)),
        Stickiness::Cookie(rule) => schema::Stickiness { cookie: Some(cookie(rule, secrets)), ..nothing },
        Stickiness::Header { name, idle, clients_max } => {
            let clients_max = Some(Number((*clients_max).into()));
            let header = schema::StickyHeader { name: name.to_string(), idle: duration(*idle), clients_max };
            schema::Stickiness { header: Some(schema::StickyHeaderForm::Full(header)), ..nothing }
        }
        Stickiness::Source { idle, clients_max } => {
            let clients_max = Some(Number((*clients_max).into()));
            schema::Stickiness { source: Some(schema::StickySource { idle: duration(*idle), clients_max }), ..nothing }
        }
    }))
}

fn cookie(rule: &CookieRule, secrets: Secrets) -> schema::StickyCookie {
    schema::StickyCookie {
        name: Some(rule.name.to_string()),
        max_age: rule.max_age.and_then(duration),
        secure: flag(rule.is_secure),
        http_only: flag(rule.is_http_only),
        same_site: Some(Filled::Value(match rule.same_site {
            SameSite::Lax => schema::SameSite::Lax,
            SameSite::None => schema::SameSite::None,
            SameSite::Strict => schema::SameSite::Strict,
        })),
        key: rule.key.as_ref().filter(|_| secrets == Secrets::Written).map(|key| key.reveal().to_owned()),
        key_file: None,
    }
}

/// What the balance looks at, if it is anything.
fn hash(farm: &Farm) -> Option<schema::Hash> {
    let key = (farm.balance == Balance::Maglev).then(|| match &farm.hash.key {
        HashKey::Header(name) => schema::HashKey::Header(schema::ByHeader { header: name.to_string() }),
        HashKey::Source => schema::HashKey::Word(Filled::Value(schema::HashWord::Source)),
        HashKey::Uri => schema::HashKey::Word(Filled::Value(schema::HashWord::Uri)),
    });
    let load_max = farm.hash.load_max.map(|share| PercentText(show_percent(share)));
    (key.is_some() || load_max.is_some()).then_some(schema::Hash { key, load_max })
}

fn reuse(reuse: &Reuse) -> schema::Reuse {
    schema::Reuse {
        idle_max: Some(Number(reuse.idle_max.into())),
        age_max: reuse.age_max.and_then(duration),
        requests_max: reuse.requests_max.map(|requests| Number(requests.into())),
        streams: Some(Number(reuse.streams.into())),
        connections: Some(Number(reuse.connections.into())),
    }
}

/// Returns a server.
pub(super) fn server(server: &Server) -> schema::Server {
    schema::Server {
        address: AddressText(server.address.to_string()),
        weight: Some(Number(server.weight.0.into())),
        backup: flag(server.role == Role::Backup),
        probe: Some(if server.aim == Aim::default() {
            ServerProbe::Flag(Filled::Value(server.probed))
        } else {
            ServerProbe::Aim(probe::aim(&written(server)))
        }),
        tls: server.tls.as_deref().map(|it| Switch::Set(tls(it))),
        proxy_protocol: server.proxy_protocol.map(|form| Filled::Value(proxy(form))),
        max_connections: server.max_connections.map(|most| Number(most.into())),
        cookie: server.cookie.as_deref().map(str::to_owned),
        on_down: server.on_down.map(leftovers),
        status: Some(Filled::Value(match server.admin {
            AdminStatus::Active => schema::AdminStatus::Active,
            AdminStatus::Drain => schema::AdminStatus::Drain,
            AdminStatus::Maintenance => schema::AdminStatus::Maintenance,
        })),
    }
}

/// Returns the aim of a server without what its own `tls` says of it anyway.
fn written(server: &Server) -> Aim {
    let mut aim = server.aim.clone();
    if let (Some(Encryption::Tls), Some(tls)) = (aim.tls, &server.tls) {
        if aim.sni == tls.sni {
            aim.sni = None;
        }
        if (aim.verify, &aim.ca) == (Some(tls.verify), &tls.ca) {
            (aim.verify, aim.ca) = (None, None);
        }
    }
    aim
}

fn tls(tls: &ServerTls) -> schema::ServerTls {
    let file = |path: &std::sync::Arc<std::path::Path>| path.to_string_lossy().into_owned();
    schema::ServerTls {
        ca: tls.ca.as_ref().map(file),
        sni: tls.sni.as_deref().map(str::to_owned),
        verify: Some(probe::verify(tls.verify)),
        cert: tls.identity.as_ref().map(|files| file(&files.cert)),
        key: tls.identity.as_ref().map(|files| file(&files.key)),
    }
}

fn proxy(form: ProxyOut) -> schema::ProxyOut {
    match form {
        ProxyOut::V1 => schema::ProxyOut::V1,
        ProxyOut::V2 => schema::ProxyOut::V2,
        ProxyOut::V2Ssl => schema::ProxyOut::V2Ssl,
        ProxyOut::V2SslCn => schema::ProxyOut::V2SslCn,
    }
}

fn percent(percent: u8) -> PercentText {
    PercentText(show_percent(percent))
}
