//! Credentials that applications asked for: shown to, granted, refused and revoked by whoever has role admin. One that is
//! for some farms grants and revokes what is for those alone. What is decided is kept on disk by a thread of its own.

use std::sync::Arc;

use axum::response::Response;

use crate::admin::aside;
use crate::admin::asked::AskError;
use crate::admin::audit;
use crate::admin::call::{AdminState, Call, Caller, Credentials};
use crate::admin::error::AdminError;
use crate::model::credential::{AskedCredential, Granted, Verdict};
use crate::model::{Access, CredentialChange, Name, Timestamp};
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
    let found = known(state, id).ok_or_else(|| AdminError::NotFound { kind: "credential", id: id.to_string() })?;
    Ok(to_wire(&state.credentials.load(), &found, now))
}

/// Grants, refuses or revokes one and answers with it as it is then.
pub(super) async fn act(
    state: &AdminState,
    call: &Call,
    caller: &Caller,
    (id, act): (&str, CredentialAct),
) -> Result<Response, Failure> {
    let (state, call, caller, id) = (state.clone(), call.clone(), caller.clone(), id.to_owned());
    let acted = aside::done(move || act_now(&state, &call, &caller, (&id, act)));
    acted.await.unwrap_or_else(|| Err(Failure::bug()))
}

/// Does it; waits for the disk.
fn act_now(
    state: &AdminState,
    call: &Call,
    caller: &Caller,
    (id, act): (&str, CredentialAct),
) -> Result<Response, Failure> {
    let id = number(id)?;
    let before = known(state, id);
    let (done, change, done_by) = match act {
        CredentialAct::Grant => {
            let (wanted, reason) = from_wire::grant(&call.body, call.now)?;
            let access = access_to_grant(state, id, wanted.access)?;
            let farms = caller.farms_to_grant(wanted.farms)?;
            let granted = Granted { access, farms, until: wanted.until };
            let act = caller.act(call, reason.as_deref());
            let done = state.asked.decide(id, Verdict { granted: Some(granted), act: act.clone() });
            (done, CredentialChange::Granted, act)
        }
        CredentialAct::Refuse => {
            let reason = from_wire::order(&call.body)?.reason;
            // What waits is for every farm until somebody narrows it down.
            caller.may_change_all()?;
            let act = caller.act(call, reason.as_deref());
            let done = state.asked.decide(id, Verdict { granted: None, act: act.clone() });
            (done, CredentialChange::Refused, act)
        }
        CredentialAct::Revoke => {
            if let Some(asked) = &before {
                may_end(caller, asked)?;
            }
            (state.asked.revoke(id), CredentialChange::Revoked, caller.act(call, None))
        }
    };
    let credential = done.map_err(|error| refused(call, &error))?;
    let after = (change != CredentialChange::Revoked).then_some(&*credential);
    audit::credential(state, (before.as_deref(), after), change, done_by);
    answered(&to_wire(&state.credentials.load(), &credential, call.now))
}

/// Returns the role of a grant, which is at most that of the application: that, unless another is wanted.
fn access_to_grant(state: &AdminState, id: u64, wanted: Option<Access>) -> Result<Access, AdminError> {
    let credentials = state.credentials.load();
    let application = known(state, id).and_then(|asked| {
        credentials.ovh_applications.iter().find(|application| application.key == asked.application_key)
    });
    let most = application.map_or(Access::Read, |application| application.access);
    let access = wanted.unwrap_or(most);
    if access > most {
        let bound = format!("the role of its application, {}", most.as_str());
        return Err(AdminError::BadValue { field: "role", got: access.as_str().into(), bound });
    }
    Ok(access)
}

/// A credential is ended by whoever may change all that it may change. What was never granted is for every farm.
fn may_end(caller: &Caller, asked: &AskedCredential) -> Result<(), AdminError> {
    let granted = asked.verdict.as_ref().and_then(|verdict| verdict.granted.as_ref());
    caller.may_change_each(granted.and_then(|granted| granted.farms.as_deref()))
}

fn known(state: &AdminState, id: u64) -> Option<Arc<AskedCredential>> {
    state.asked.all().into_iter().find(|asked| asked.id == id)
}

/// What a grant says; a role that is absent is the application's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) access: Option<Access>,
    pub(super) farms: Option<Arc<[Name]>>,
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
