//! The fields of an event in JSON, and how they are read back.
//!
//! Flat: what every event has, then what its type has; absent fields are left out. Names are those of the config file,
//! times RFC 3339 in UTC with milliseconds, `*_ms` milliseconds with a fraction. `type` says which fields to expect:
//!
//! | type | fields beside the common ones |
//! |---|---|
//! | `certificate` | frontend, certificate, change, until, error |
//! | `changed` | farm, server, field, from, to, act, until, deadline, at_deadline |
//! | `checking` | farm, probe, change: impossible or possible, error |
//! | `commanded` | command, act |
//! | `credential` | credential, application, change, fields, act |
//! | `edited` | object, object_id, path, edit, fields, act |
//! | `farm_serving` | farm, serving |
//! | `incident` | incident, phase, farms, servers, until |
//! | `left` | farm, server, closed |
//! | `order_ended` | farm, server, order, ending, closed |
//! | `refresh` | task, zones, phase, changes, error, act |
//! | `reloaded` | added, removed, overrides_dropped |
//! | `standing_changed` | farm, server, change, and by it: agent, ejection, until, score, suspicion |
//! | `transition` | farm, server, from, to, check, chain, progress, incident |

use serde::{Deserialize, Serialize};

use crate::model::{
    Act, AdminStatus, AgentHealth, AgentSays, AgentWeight, CertificateChange, CheckBrief, CheckRecord, CheckingChange,
    Ejection, Event, EventKind, FarmId, FieldChange, Name, ProbeSlot, RefreshPhase, ServerKey, StandingChange,
    Suspicion, Terms, Timestamp, Weight, Wish,
};

/// An event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventWire {
    /// Strictly increasing; with a `state_dir` across restarts too.
    pub id: u64,
    /// When.
    pub at: String,
    /// The table that shows it.
    pub generation: u64,
    /// What happened, in one word.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// What happened, in one sentence.
    pub text: String,
    /// What the type has.
    #[serde(flatten)]
    pub details: Details,
}

/// The types of an [`EventWire`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventType {
    /// A certificate that clients are shown was renewed, comes to its end, or cannot be.
    Certificate,
    /// An operator changed a server.
    Changed,
    /// A farm's checks cannot be made, or can be made again.
    Checking,
    /// Something was asked of the process itself.
    Commanded,
    /// A credential was asked for, or something was made of it.
    Credential,
    /// An object was made, changed or removed through an API.
    Edited,
    /// A farm serves in another way.
    FarmServing,
    /// Most of what is observed fails at once, or does so no longer.
    Incident,
    /// A removed server has nothing open any more.
    Left,
    /// A drain or maintenance came to its deadline or end.
    OrderEnded,
    /// A refresh of what is staged begins, or is over.
    Refresh,
    /// A new config is live.
    Reloaded,
    /// Something other than the probes' verdict changed what is made of a server.
    StandingChanged,
    /// A server's health changed.
    Transition,
}

/// What only some types of events have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Details {
    /// The farm's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub farm: Option<String>,
    /// The farm's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub farm_id: Option<u64>,
    /// The server's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The server's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_id: Option<u64>,
    /// The probe's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// The frontend's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frontend: Option<String>,
    /// The first name of a certificate, or the file that cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Why something could not be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The field that was changed: `status` or `weight`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The value or health before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The value or health now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The check that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckWire>,
    /// The checks that led to it, the oldest first, the deciding one last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<BriefWire>,
    /// Rise or fall progress after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<ProgressWire>,
    /// Who, from where and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act: Option<ActWire>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// When what is open counts as left over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// What happens to leftovers then: `close` or `keep`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_deadline: Option<String>,
    /// How the farm serves: primaries, backups, unproven, fail_open, nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serving: Option<String>,
    /// The incident that it is or is part of; the id of the event that began it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident: Option<u64>,
    /// Of an incident: began, believed, recovered; of a refresh: begun, done, failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// The farms of an incident.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub farms: Vec<String>,
    /// How many servers of an incident failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub servers: Option<usize>,
    /// What ended: drain or maintenance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// How it ended: deadline, idle, until.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ending: Option<String>,
    /// Connections closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed: Option<u64>,
    /// Servers that are new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub added: Option<usize>,
    /// Servers that are gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed: Option<usize>,
    /// Overrides dropped because the file's own value changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overrides_dropped: Option<usize>,
    /// What changed of a certificate, a credential, a farm's checks or a server's standing, in one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// What the agent said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentWire>,
    /// Why traffic had it taken out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ejection: Option<EjectionWire>,
    /// Changes of health counted by the flap guard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<u16>,
    /// How probes and traffic disagree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspicion: Option<SuspicionWire>,
    /// What was asked of the process: reload, upgrade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The number of a credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<u64>,
    /// The application that asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// The task that carries a refresh out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<u64>,
    /// The zones of a refresh; absent: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<String>,
    /// How many objects and fields a refresh made live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<usize>,
    /// What kind of object was written: farm, server, frontend, route, rule, certificate, service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_id: Option<u64>,
    /// Its key path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What became of it: created, changed, deleted, staged, overtaken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edit: Option<String>,
    /// What it says now and said before; secrets masked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldWire>,
}

/// A key of an object and its value before and after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldWire {
    /// The key.
    pub key: String,
    /// Its value before; null: it was not there.
    #[serde(default)]
    pub before: serde_json::Value,
    /// Its value now; null: it is there no more.
    #[serde(default)]
    pub after: serde_json::Value,
}

/// A check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckWire {
    /// Which of the farm's probes, from 0; 255 is the shadow.
    pub probe: u8,
    /// HAProxy's word for how it ended.
    pub status: String,
    /// The code, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// Reason phrase, first bytes, or the error in words.
    pub content: String,
    /// When it ended.
    pub at: String,
    /// How long it took.
    pub duration_ms: f64,
}

/// A check of the chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BriefWire {
    /// Which of the farm's probes.
    pub probe: u8,
    /// HAProxy's word for how it ended.
    pub status: String,
    /// The code, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// When it ended.
    pub at: String,
    /// How long it took.
    pub duration_ms: f64,
}

/// How far a server is from changing its health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressWire {
    /// How many are there.
    pub have: u16,
    /// How many make a full set.
    pub need: u16,
}

/// Who asked, from where and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActWire {
    /// The credential's name.
    pub actor: String,
    /// The client's address, or `local`.
    pub source: String,
    /// The operator's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What an agent asks for; absent: nothing said of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentWire {
    /// The share of the declared weight, as `50%`, or a weight of its own, as `50`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<String>,
    /// The most connections at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxconn: Option<u32>,
    /// The admin status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
    /// `up` or `down`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// Its reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl AgentWire {
    /// Returns what an agent said, in the schema.
    #[must_use]
    pub fn of(says: &AgentSays) -> Self {
        let AgentSays { weight, maxconn, admin, health, reason } = says;
        let health_word = |health: AgentHealth| match health {
            AgentHealth::Down => "down".to_owned(),
            AgentHealth::Up => "up".to_owned(),
        };
        Self {
            weight: weight.map(|weight| match weight {
                AgentWeight::Percent(percent) => format!("{percent}%"),
                AgentWeight::Weight(weight) => weight.to_string(),
            }),
            maxconn: *maxconn,
            admin: admin.map(|admin| admin.as_str().to_owned()),
            health: health.map(health_word),
            reason: reason.as_deref().map(str::to_owned),
        }
    }

    /// Reads it back; a word that nobody says is none.
    #[must_use]
    pub fn says(&self) -> AgentSays {
        let weight = self.weight.as_deref().and_then(|weight| match weight.strip_suffix('%') {
            Some(percent) => percent.parse().ok().filter(|percent| *percent <= 100).map(AgentWeight::Percent),
            None => weight.parse().ok().and_then(Weight::new).map(AgentWeight::Weight),
        });
        let health = self.health.as_deref().and_then(|word| match word {
            "down" => Some(AgentHealth::Down),
            "up" => Some(AgentHealth::Up),
            _ => None,
        });
        let admin = self.admin.as_deref().and_then(AdminStatus::parse);
        AgentSays { weight, maxconn: self.maxconn, admin, health, reason: self.reason.as_deref().map(Box::from) }
    }
}

/// Why traffic had a server taken out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EjectionWire {
    /// Failures in a row.
    pub errors: u16,
    /// What the last one was: connect, response, status.
    pub kind: String,
    /// How many times in a row.
    pub times: u16,
}

/// How probes and traffic disagree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspicionWire {
    /// `probes_fail` or `traffic_fails`.
    pub kind: String,
    /// Work that went well in the last window.
    pub good: u64,
    /// Work that failed in the last window.
    pub bad: u64,
}

impl EventWire {
    /// Returns an event in the schema.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        let (kind, details) = type_and_details(&event.kind);
        Self {
            id: event.id,
            at: event.at.to_string(),
            generation: event.generation.0,
            kind,
            text: super::sentence(event),
            details,
        }
    }

    /// Returns it as JSON on one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Numbers, texts and lists of such always have a JSON form: an empty object can only be a bug of ours.
        serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned())
    }

    /// Reads what [`Self::to_json`] wrote, by this build or another.
    ///
    /// # Errors
    /// In words, if it is not an event.
    pub fn parse(json: &str) -> Result<Self, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }
}

fn type_and_details(kind: &EventKind) -> (EventType, Details) {
    match kind {
        EventKind::Certificate { frontend, certificate, change } => {
            (EventType::Certificate, certificate_details(frontend, certificate, change))
        }
        EventKind::Changed { server, farm_name, server_name, from, to, terms, act } => {
            let server = of_server(*server, farm_name, server_name);
            (EventType::Changed, changed_details(*from, *to, terms, act, server))
        }
        EventKind::Checking { farm, farm_name, probe, change } => {
            (EventType::Checking, checking_details(*farm, farm_name, probe, change))
        }
        EventKind::Commanded { command, act } => {
            let command = Some(command.as_str().to_owned());
            (EventType::Commanded, Details { command, act: Some(act_wire(act)), ..Details::default() })
        }
        EventKind::Credential { .. } => (EventType::Credential, credential_details(kind)),
        EventKind::Edited { .. } => (EventType::Edited, edited_details(kind)),
        EventKind::FarmServing { farm, farm_name, serving } => {
            let (farm, farm_id) = (Some(farm_name.to_string()), Some(farm.0));
            let details = Details { farm, farm_id, serving: Some((*serving).to_owned()), ..Details::default() };
            (EventType::FarmServing, details)
        }
        EventKind::Incident { incident, phase, farms, servers, until } => {
            let details = Details {
                incident: Some(*incident),
                phase: Some(phase.as_str().to_owned()),
                farms: farms.iter().map(|(_, name)| name.to_string()).collect(),
                servers: Some(*servers),
                until: Some(time(*until)),
                ..Details::default()
            };
            (EventType::Incident, details)
        }
        EventKind::Left { server, farm_name, server_name, closed } => {
            let details = Details { closed: Some(*closed), ..of_server(*server, farm_name, server_name) };
            (EventType::Left, details)
        }
        EventKind::OrderEnded { server, farm_name, server_name, order, ending, closed } => {
            let details = Details {
                order: Some(order.as_str().to_owned()),
                ending: Some(ending.as_str().to_owned()),
                closed: Some(*closed),
                ..of_server(*server, farm_name, server_name)
            };
            (EventType::OrderEnded, details)
        }
        EventKind::Refresh { .. } => (EventType::Refresh, refresh_details(kind)),
        EventKind::Reloaded { added, removed, overrides_dropped } => {
            let (added, removed) = (Some(*added), Some(*removed));
            let overrides_dropped = Some(*overrides_dropped);
            (EventType::Reloaded, Details { added, removed, overrides_dropped, ..Details::default() })
        }
        EventKind::StandingChanged { server, farm_name, server_name, change } => {
            (EventType::StandingChanged, standing_details(change, of_server(*server, farm_name, server_name)))
        }
        EventKind::Transition { .. } => (EventType::Transition, transition_details(kind)),
    }
}

fn refresh_details(kind: &EventKind) -> Details {
    let EventKind::Refresh { task, zones, phase, act } = kind else { return Details::default() };
    let (changes, error) = match phase {
        RefreshPhase::Begun => (None, None),
        RefreshPhase::Done { changes } => (Some(*changes), None),
        RefreshPhase::Failed { why } => (None, Some(why.to_string())),
    };
    Details {
        task: Some(task.0),
        zones: zones.iter().map(ToString::to_string).collect(),
        phase: Some(phase.as_str().to_owned()),
        changes,
        error,
        act: Some(act_wire(act)),
        ..Details::default()
    }
}

fn transition_details(kind: &EventKind) -> Details {
    let EventKind::Transition { server, farm_name, server_name, from, to, slot, check, chain, progress, incident } =
        kind
    else {
        return Details::default();
    };
    Details {
        from: Some(from.as_str().to_owned()),
        to: Some(to.as_str().to_owned()),
        check: Some(check_wire(*slot, check)),
        chain: chain.iter().map(brief_wire).collect(),
        progress: Some(ProgressWire { have: progress.have, need: progress.need }),
        incident: *incident,
        ..of_server(*server, farm_name, server_name)
    }
}

fn credential_details(kind: &EventKind) -> Details {
    let EventKind::Credential { id, application, change, fields, act } = kind else { return Details::default() };
    Details {
        credential: Some(*id),
        application: Some(application.to_string()),
        change: Some(change.as_str().to_owned()),
        fields: fields.iter().map(field_wire).collect(),
        act: Some(act_wire(act)),
        ..Details::default()
    }
}

fn edited_details(kind: &EventKind) -> Details {
    let EventKind::Edited { object, id, path, edit, fields, act } = kind else { return Details::default() };
    Details {
        object: Some(object.as_str().to_owned()),
        object_id: Some(id.0),
        path: Some(path.to_string()),
        edit: Some(edit.as_str().to_owned()),
        fields: fields.iter().map(field_wire).collect(),
        act: Some(act_wire(act)),
        ..Details::default()
    }
}

fn field_wire(field: &FieldChange) -> FieldWire {
    let value =
        |text: &Option<Box<str>>| text.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    FieldWire { key: field.key.to_string(), before: value(&field.before), after: value(&field.after) }
}

fn checking_details(farm: FarmId, farm_name: &Name, probe: &Name, change: &CheckingChange) -> Details {
    let error = match change {
        CheckingChange::Impossible { why } => Some(why.to_string()),
        CheckingChange::Possible => None,
    };
    Details {
        farm: Some(farm_name.to_string()),
        farm_id: Some(farm.0),
        probe: Some(probe.to_string()),
        change: Some(change.as_str().to_owned()),
        error,
        ..Details::default()
    }
}

fn certificate_details(frontend: &Name, certificate: &str, change: &CertificateChange) -> Details {
    let (until, error) = match change {
        CertificateChange::Expired { until }
        | CertificateChange::Expiring { until, .. }
        | CertificateChange::Renewed { until } => (Some(time(*until)), None),
        CertificateChange::NotObtained { why } | CertificateChange::Refused { why } => (None, Some(why.to_string())),
    };
    Details {
        frontend: Some(frontend.to_string()),
        certificate: Some(certificate.to_owned()),
        change: Some(change.as_str().to_owned()),
        until,
        error,
        ..Details::default()
    }
}

fn changed_details(from: Wish, to: Wish, terms: &Terms, act: &Act, server: Details) -> Details {
    Details {
        field: Some(from.field().as_str().to_owned()),
        from: Some(from.to_string()),
        to: Some(to.to_string()),
        act: Some(act_wire(act)),
        until: terms.until.map(time),
        deadline: terms.deadline.map(time),
        at_deadline: terms.at_deadline.map(|leftovers| leftovers.as_str().to_owned()),
        ..server
    }
}

fn standing_details(change: &StandingChange, server: Details) -> Details {
    let details = Details { change: Some(change_word(change).to_owned()), ..server };
    match change {
        StandingChange::AgentSaid(says) => Details { agent: Some(AgentWire::of(says)), ..details },
        StandingChange::Ejected(Ejection { until, errors, kind, times, .. }) => {
            let ejection = EjectionWire { errors: *errors, kind: kind.as_str().to_owned(), times: *times };
            Details { ejection: Some(ejection), until: Some(time(*until)), ..details }
        }
        StandingChange::HeldDown { until, score } => {
            Details { until: Some(time(*until)), score: Some(*score), ..details }
        }
        StandingChange::Suspected(Suspicion { kind, good, bad, .. }) => {
            let suspicion = SuspicionWire { kind: kind.as_str().to_owned(), good: *good, bad: *bad };
            Details { suspicion: Some(suspicion), ..details }
        }
        StandingChange::WarmupBegan { until } => Details { until: Some(time(*until)), ..details },
        StandingChange::EjectionEnded
        | StandingChange::HoldEnded
        | StandingChange::SuspicionEnded
        | StandingChange::WarmupEnded => details,
    }
}

/// Returns the schema's word for a change of a server's standing.
#[must_use]
pub fn change_word(change: &StandingChange) -> &'static str {
    match change {
        StandingChange::AgentSaid(_) => "agent_said",
        StandingChange::Ejected(_) => "ejected",
        StandingChange::EjectionEnded => "ejection_ended",
        StandingChange::HeldDown { .. } => "held_down",
        StandingChange::HoldEnded => "hold_ended",
        StandingChange::Suspected(_) => "suspected",
        StandingChange::SuspicionEnded => "suspicion_ended",
        StandingChange::WarmupBegan { .. } => "warmup_began",
        StandingChange::WarmupEnded => "warmup_ended",
    }
}

fn of_server(key: ServerKey, farm: &Name, server: &Name) -> Details {
    Details {
        farm: Some(farm.to_string()),
        farm_id: Some(key.farm.0),
        server: Some(server.to_string()),
        server_id: Some(key.server.0),
        ..Details::default()
    }
}

fn check_wire(slot: ProbeSlot, check: &CheckRecord) -> CheckWire {
    CheckWire {
        probe: slot.0,
        status: check.status.as_str().to_owned(),
        code: check.code,
        content: check.content.as_str().to_owned(),
        at: time(check.at),
        duration_ms: check.duration.as_micros() as f64 / 1e3,
    }
}

fn brief_wire(brief: &CheckBrief) -> BriefWire {
    BriefWire {
        probe: brief.slot.0,
        status: brief.status.as_str().to_owned(),
        code: brief.code,
        at: time(brief.at),
        duration_ms: brief.duration.as_micros() as f64 / 1e3,
    }
}

fn act_wire(act: &Act) -> ActWire {
    let reason = act.reason.as_deref().map(str::to_owned);
    ActWire { actor: act.actor.to_string(), source: act.source.to_string(), reason }
}

fn time(at: Timestamp) -> String {
    at.to_string()
}
