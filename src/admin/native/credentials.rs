//! Credentials that applications asked for: shown to, granted, refused and revoked by whoever has role admin.

use axum::response::Response;

use crate::admin::asked::AskError;
use crate::admin::call::{AdminState, Call, Caller, Credentials};
use crate::admin::error::AdminError;
use crate::model::credential::{AskedCredential, Granted, Verdict};
use crate::model::{Access, Name, Timestamp};
use crate::report::report;

use super::error::Failure;
use super::wire::{CredentialList, CredentialWire, GrantOrder, RuleWire};
use super::{answered, from_wire};

/// What is done to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CredentialAct {
    Grant,
    Refuse,
    Revoke,
}

/// Lists all.
pub(super) fn list(state: &AdminState, now: Timestamp) -> CredentialList {
    let known = state.credentials.load();
    CredentialList { credentials: state.asked.all().iter().map(|asked| to_wire(&known, asked, now)).collect() }
}

/// Shows one.
pub(super) fn one(state: &AdminState, id: &str, now: Timestamp) -> Result<CredentialWire, Failure> {
    let id = number(id)?;
    let found = state.asked.all().into_iter().find(|asked| asked.id == id);
    let found = found.ok_or_else(|| AdminError::NotFound { kind: "credential", id: id.to_string() })?;
    Ok(to_wire(&state.credentials.load(), &found, now))
}

/// Grants, refuses or revokes one and answers with it as it is then.
pub(super) fn act(
    state: &AdminState,
    call: &Call,
    caller: &Caller,
    (id, act): (&str, CredentialAct),
) -> Result<Response, Failure> {
    let id = number(id)?;
    let done = match act {
        CredentialAct::Grant => {
            let (granted, reason) = from_wire::grant(&call.body, call.now)?;
            let credentials = state.credentials.load();
            let asked = state.asked.all().into_iter().find(|asked| asked.id == id);
            let application = asked.and_then(|asked| {
                credentials.ovh_applications.iter().find(|known| known.key == asked.application_key).cloned()
            });
            let most = application.map_or(Access::Read, |application| application.access);
            let access = granted.access.unwrap_or(most);
            if access > most {
                let bound = format!("the role of its application, {}", most.as_str());
                return Err(AdminError::BadValue { field: "role", got: access.as_str().into(), bound }.into());
            }
            let granted = Granted { access, farms: granted.farms, until: granted.until };
            state.asked.decide(id, Verdict { granted: Some(granted), act: caller.act(call, reason.as_deref()) })
        }
        CredentialAct::Refuse => {
            let reason = from_wire::order(&call.body)?.reason;
            state.asked.decide(id, Verdict { granted: None, act: caller.act(call, reason.as_deref()) })
        }
        CredentialAct::Revoke => state.asked.revoke(id),
    };
    let credential = done.map_err(|error| refused(call, &error))?;
    let action = match act {
        CredentialAct::Grant => "grant",
        CredentialAct::Refuse => "refuse",
        CredentialAct::Revoke => "revoke",
    };
    tracing::info!(
        request_id = call.request_id,
        actor = %caller.grant.name,
        source = %call.peer,
        credential = id,
        action,
        "admin credential"
    );
    answered(&to_wire(&state.credentials.load(), &credential, call.now))
}

/// What a grant says; a role that is absent is the application's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) access: Option<Access>,
    pub(super) farms: Option<std::sync::Arc<[Name]>>,
    pub(super) until: Option<Timestamp>,
}

impl Wanted {
    /// Reads the words of an order; `until` is read already.
    pub(super) fn of(order: &GrantOrder, until: Option<Timestamp>) -> Result<Self, AdminError> {
        let bad = |field, got: &str, bound: &str| {
            let got = crate::admin::guard::quoted(got);
            AdminError::BadValue { field, got, bound: bound.to_owned() }
        };
        let access = |role: &String| Access::parse(role).ok_or_else(|| bad("role", role, "read, operate and admin"));
        let name = |name: &String| Name::parse(name).map_err(|_| bad("farms", name, "names of farms"));
        let farms = |farms: &Vec<String>| farms.iter().map(name).collect::<Result<_, _>>();
        Ok(Self {
            access: order.role.as_ref().map(access).transpose()?,
            farms: order.farms.as_ref().map(farms).transpose()?,
            until,
        })
    }
}

fn number(id: &str) -> Result<u64, AdminError> {
    id.parse().map_err(|_| AdminError::NotFound { kind: "credential", id: crate::admin::guard::quoted(id) })
}

fn refused(call: &Call, error: &AskError) -> Failure {
    match error {
        AskError::Journal(error) => {
            tracing::error!(request_id = call.request_id, error = %report(error), "credential not kept");
            AdminError::NotKept.into()
        }
        AskError::Unknown(id) => AdminError::NotFound { kind: "credential", id: id.to_string() }.into(),
        AskError::NoRoom(_) | AskError::NotPending { .. } => AdminError::Conflict(error.to_string()).into(),
    }
}

fn to_wire(known: &Credentials, asked: &AskedCredential, now: Timestamp) -> CredentialWire {
    let application = known.ovh_applications.iter().find(|application| application.key == asked.application_key);
    let granted = asked.verdict.as_ref().and_then(|verdict| verdict.granted.as_ref());
    let act = asked.verdict.as_ref().map(|verdict| &verdict.act);
    CredentialWire {
        id: asked.id,
        application: application.map_or(&asked.application_key, |application| &application.name).to_string(),
        state: asked.state(now).as_str().to_owned(),
        rules: asked
            .rules
            .iter()
            .map(|rule| RuleWire { method: rule.method.to_string(), path: rule.path.to_string() })
            .collect(),
        allowed_ips: asked.allowed_ips.iter().map(ToString::to_string).collect(),
        asked_at: asked.asked_at.to_string(),
        role: granted.map(|granted| granted.access.as_str().to_owned()),
        farms: granted
            .and_then(|granted| granted.farms.as_ref())
            .map(|farms| farms.iter().map(ToString::to_string).collect()),
        until: granted.and_then(|granted| granted.until).map(|until| until.to_string()),
        decided_by: act.map(|act| act.actor.to_string()),
        decided_at: act.map(|act| act.at.to_string()),
        reason: act.and_then(|act| act.reason.as_ref()).map(ToString::to_string),
        last_use: asked.last_use.map(|at| at.to_string()),
    }
}
