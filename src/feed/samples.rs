//! One event of every kind, for tests.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    Act, AdminStatus, AgentHealth, AgentSays, AgentWeight, CertificateChange, CheckBrief, CheckRecord, CheckStatus,
    CheckingChange, CommandKind, Content, CredentialChange, EditKind, Ejection, Event, EventKind, FarmId, FieldChange,
    Generation, Health, IncidentPhase, Leftovers, Name, ObjectId, ObjectKind, OrderEnding, ProbeSlot, Progress,
    RefreshPhase, ServerId, ServerKey, StandingChange, Suspicion, SuspicionKind, TaskId, Terms, Timestamp,
    TrafficFault, Weight, Wish,
};

/// 2026-11-21T12:03:11.250Z.
pub(crate) const NOON: Timestamp = Timestamp(1_795_262_591_250_000);

pub(crate) fn farm() -> Name {
    Name::parse("api").unwrap()
}

pub(crate) fn server(n: u64) -> (ServerKey, Name) {
    let name = Name::parse(&format!("web-{n}")).unwrap();
    (ServerKey { farm: FarmId::derive(&farm()), server: ServerId::derive(&farm(), &name) }, name)
}

pub(crate) fn brief(status: CheckStatus, code: Option<u16>, at: Timestamp) -> CheckBrief {
    CheckBrief { slot: ProbeSlot::FIRST, status, code, at, duration: Duration::from_micros(3_456) }
}

/// Server `n` goes down, or comes up.
pub(crate) fn transition(id: u64, n: u64, at: Timestamp, to: Health, incident: Option<u64>) -> Event {
    let ((server, server_name), seconds) = (server(n), |s: u64| Timestamp(at.0 - s * 1_000_000));
    let (from, chain, content) = match to {
        Health::Up => {
            let passed = |at| brief(CheckStatus::L7Ok, Some(200), at);
            (Health::Down, vec![passed(seconds(2)), passed(at)], "OK")
        }
        Health::Down | Health::Off | Health::Stopping | Health::Unknown => {
            let failed = |at| brief(CheckStatus::L7Sts, Some(503), at);
            let last = brief(CheckStatus::L7Tout, None, at);
            (Health::Up, vec![failed(seconds(4)), failed(seconds(2)), last], "")
        }
    };
    let CheckBrief { status, code, duration, .. } = *chain.last().unwrap();
    let check = Arc::new(CheckRecord::new(status, code, Content::from_text(content), at, duration));
    let progress = Progress { have: 0, need: 2 };
    let slot = ProbeSlot::FIRST;
    let kind = EventKind::Transition {
        server,
        farm_name: farm(),
        server_name,
        from,
        to,
        slot,
        check,
        chain,
        progress,
        incident,
    };
    Event { id, at, generation: Generation(42), kind }
}

/// One event of every kind, numbered from 1.
pub(crate) fn every_kind() -> Vec<Event> {
    let (farm_name, (server, server_name)) = (farm(), server(1));
    let later = NOON + Duration::from_secs(600);
    let act = |reason: Option<&str>| Act {
        actor: "ops".into(),
        source: "10.0.0.9".into(),
        reason: reason.map(Into::into),
        at: NOON,
    };
    let changed = |from, to, terms, act| EventKind::Changed {
        server,
        farm_name: farm_name.clone(),
        server_name: server_name.clone(),
        from,
        to,
        terms,
        act,
    };
    let admin = |to| (Wish::Admin(AdminStatus::Active), Wish::Admin(to));
    let (active, drain) = admin(AdminStatus::Drain);
    let terms = Terms { until: None, deadline: Some(later), at_deadline: Some(Leftovers::Close) };
    let mut kinds = vec![
        changed(active, drain, terms, act(Some("kernel \"update\""))),
        changed(active, admin(AdminStatus::Maintenance).1, Terms { until: Some(later), ..Terms::default() }, act(None)),
        changed(Wish::Weight(Weight(5)), Wish::Weight(Weight(2)), Terms::default(), act(None)),
    ];
    for serving in ["primaries", "backups", "unproven", "fail_open", "nobody"] {
        kinds.push(EventKind::FarmServing { farm: server.farm, farm_name: farm_name.clone(), serving });
    }
    for change in
        [CheckingChange::Impossible { why: "Cannot assign requested address".into() }, CheckingChange::Possible]
    {
        let probe = Name::fixed("probe");
        kinds.push(EventKind::Checking { farm: server.farm, farm_name: farm_name.clone(), probe, change });
    }
    for phase in [IncidentPhase::Began, IncidentPhase::Believed, IncidentPhase::Recovered] {
        let shop = Name::parse("shop").unwrap();
        let farms = vec![(server.farm, farm_name.clone()), (FarmId::derive(&shop), shop)];
        kinds.push(EventKind::Incident { incident: 9, phase, farms, servers: 7, until: later });
    }
    kinds.push(EventKind::Left { server, farm_name: farm_name.clone(), server_name: server_name.clone(), closed: 1 });
    for (order, ending, closed) in [
        (AdminStatus::Drain, OrderEnding::Deadline, 3),
        (AdminStatus::Drain, OrderEnding::Idle, 0),
        (AdminStatus::Maintenance, OrderEnding::Until, 0),
    ] {
        let (farm_name, server_name) = (farm_name.clone(), server_name.clone());
        kinds.push(EventKind::OrderEnded { server, farm_name, server_name, order, ending, closed });
    }
    kinds.push(EventKind::Reloaded { added: 2, removed: 1, overrides_dropped: 0 });
    kinds.extend(certificates(later));
    for change in standing_changes(later) {
        let (farm_name, server_name) = (farm_name.clone(), server_name.clone());
        kinds.push(EventKind::StandingChanged { server, farm_name, server_name, change });
    }
    for (to, incident) in [
        (Health::Down, None),
        (Health::Down, Some(9)),
        (Health::Up, None),
        (Health::Stopping, None),
        (Health::Unknown, None),
    ] {
        kinds.push(transition(0, 1, NOON, to, incident).kind);
    }
    kinds.extend(edits(server));
    kinds.extend(audits(&act(Some("for ci"))));
    let numbered = |(id, kind)| Event { id, at: NOON, generation: Generation(42), kind };
    (1..).zip(kinds).map(numbered).collect()
}

fn certificates(until: Timestamp) -> Vec<EventKind> {
    let mut kinds = Vec::new();
    let why =
        "frontend \"web\": tls.certificates.key: \"/etc/web.key\" holds no private key; give a PEM file that does";
    for change in [
        CertificateChange::Expired { until },
        CertificateChange::Expiring { until, days: 3 },
        CertificateChange::NotObtained { why: "no certificate within 300s; tried again in 60s".into() },
        CertificateChange::Refused { why: why.into() },
        CertificateChange::Renewed { until },
    ] {
        let frontend = Name::parse("web").unwrap();
        kinds.push(EventKind::Certificate { frontend, certificate: "shop.test".into(), change });
    }
    kinds
}

fn edits(server: ServerKey) -> Vec<EventKind> {
    let mut kinds = Vec::new();
    for edit in [EditKind::Created, EditKind::Changed, EditKind::Deleted, EditKind::Staged, EditKind::Overtaken] {
        let act = Act { actor: "ops".into(), source: "127.0.0.1".into(), reason: None, at: NOON };
        let (before, after) = (Some("\"first\"".into()), None);
        let fields = vec![FieldChange { key: "balance".into(), before, after }];
        let (object, id, path) = (ObjectKind::Farm, ObjectId(server.farm.0), "farms.web".into());
        kinds.push(EventKind::Edited { object, id, path, edit, fields, act });
    }
    kinds
}

fn audits(act: &Act) -> Vec<EventKind> {
    let mut kinds = Vec::new();
    for command in [CommandKind::Reload, CommandKind::Upgrade] {
        kinds.push(EventKind::Commanded { command, act: act.clone() });
    }
    for change in [
        CredentialChange::Asked,
        CredentialChange::Granted,
        CredentialChange::Refused,
        CredentialChange::Revoked,
        CredentialChange::LoggedOut,
    ] {
        let (before, after) = (Some("\"pendingValidation\"".into()), Some("\"validated\"".into()));
        let fields = vec![FieldChange { key: "state".into(), before, after }];
        kinds.push(EventKind::Credential { id: 7, application: "terraform".into(), change, fields, act: act.clone() });
    }
    let why = "farms.shop: is declared twice".into();
    for (zones, phase) in [
        (vec![], RefreshPhase::Begun),
        (vec!["gra".into()], RefreshPhase::Done { changes: 3 }),
        (vec!["gra".into(), "rbx".into()], RefreshPhase::Failed { why }),
    ] {
        kinds.push(EventKind::Refresh { task: TaskId(12), zones, phase, act: act.clone() });
    }
    kinds
}

fn standing_changes(until: Timestamp) -> Vec<StandingChange> {
    let says = AgentSays {
        weight: Some(AgentWeight::Percent(50)),
        maxconn: Some(30),
        admin: Some(AdminStatus::Drain),
        health: Some(AgentHealth::Down),
        reason: Some("backup runs".into()),
    };
    let weight = AgentSays { weight: Some(AgentWeight::Weight(Weight(7))), ..AgentSays::default() };
    let ejection = Ejection { since: NOON, until, errors: 5, kind: TrafficFault::Connect, times: 2 };
    let suspicion = |kind| StandingChange::Suspected(Suspicion { kind, since: NOON, good: 120, bad: 3 });
    vec![
        StandingChange::AgentSaid(Arc::new(says)),
        StandingChange::AgentSaid(Arc::new(weight)),
        StandingChange::Ejected(ejection),
        StandingChange::EjectionEnded,
        StandingChange::HeldDown { until, score: 6 },
        StandingChange::HoldEnded,
        suspicion(SuspicionKind::ProbesFail),
        suspicion(SuspicionKind::TrafficFails),
        StandingChange::SuspicionEnded,
        StandingChange::WarmupBegan { until },
        StandingChange::WarmupEnded,
    ]
}
