//! What concerns the service itself rather than its farms and frontends: its name and settings, zones, certificates,
//! quotas; paging of every list; the documents that describe this API; and what is refused.
//!
//! A path is parsed into a [`Place`] and answered from the objects made through APIs and one Snapshot. A body is read
//! leniently where the shape is lenient ([`fields`]): what is absent stays, null clears, read-only fields are passed over.
//! Blocking work is done on a thread of its own.
//!
//! What has no meaning on one's own machines is refused with the reason (`nothing`): vRack, contacts, orders and
//! terminations of zones and of the service, log subscriptions, metrics tokens. `DELETE` of a zone is refused likewise:
//! the one zone is what the config's key `zone` names.

mod fields;
mod followers;
mod free;
mod nothing;
pub(super) mod paging;
mod pem;
pub(super) mod schema;
mod settings;
pub(super) mod ssl;
pub(super) mod traffic;
mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::{Method, StatusCode};
use serde::Serialize;

use crate::admin::call::{AdminState, Call};
use crate::admin::error::AdminError;
use crate::model::{Access, Act};
use crate::objects::{Edit, EditError, Edited, Objects, View, When};

use super::credential::Known;
use super::error::Refusal;
use super::filter::Query;
use super::to_wire;
use super::{Reading, write::SHAPE};
use nothing::Nothing;

pub(super) use followers::{certificates, tls};
pub(super) use pem::check_authorities;
pub(super) use settings::configuration;

/// What a path below a service names, where it is the business of this room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// One certificate.
    Certificate(&'a str),
    /// Certificates.
    Certificates,
    /// Addresses that are routed to the service: none.
    Failover,
    /// Where certificates are ordered that cost nothing.
    FreeCertificate,
    /// One month.
    History(&'a str),
    /// Months.
    Histories,
    /// What is known of the contract: there is none.
    Infos,
    /// The balancer instances.
    Instances,
    /// The service.
    Itself,
    /// Where connections to servers come from.
    NatIp,
    /// What has no meaning here.
    Nothing(&'static Nothing),
    /// What went through a zone.
    Quota(&'a str),
    /// Zones with a quota.
    Quotas,
    /// One zone.
    Zone(&'a str),
    /// Zones.
    Zones,
}

impl Place<'_> {
    /// Returns the methods that it takes.
    fn methods(self) -> &'static str {
        match self {
            Self::Certificate(_) => "GET, HEAD, PUT, DELETE",
            Self::Certificates => "GET, HEAD, POST",
            Self::FreeCertificate => "POST",
            Self::Infos | Self::Itself | Self::Quota(_) => "GET, HEAD, PUT",
            Self::Failover
            | Self::Histories
            | Self::History(_)
            | Self::Instances
            | Self::NatIp
            | Self::Nothing(_)
            | Self::Quotas
            | Self::Zone(_)
            | Self::Zones => "GET, HEAD",
        }
    }
}

/// Returns what a path names, the service's name taken off.
pub(super) fn parse<'a>(part: &[&'a str]) -> Option<Place<'a>> {
    Some(match *part {
        [] => Place::Itself,
        ["failover"] => Place::Failover,
        ["freeCertificate"] => Place::FreeCertificate,
        ["instancesState"] => Place::Instances,
        ["natIp"] => Place::NatIp,
        ["quota"] => Place::Quotas,
        ["quota", zone] => Place::Quota(zone),
        ["quotaHistory"] => Place::Histories,
        ["quotaHistory", id] => Place::History(id),
        ["serviceInfos"] => Place::Infos,
        ["ssl"] => Place::Certificates,
        ["ssl", id] => Place::Certificate(id),
        ["zone"] => Place::Zones,
        ["zone", name] => Place::Zone(name),
        _ => Place::Nothing(nothing::at(part)?),
    })
}

/// Answers a call of somebody known that is no read.
///
/// # Errors
/// A [`Refusal`]; nothing was changed.
pub(super) async fn answer(
    state: &AdminState,
    call: &Call,
    known: &Known,
    place: Place<'_>,
) -> Result<Vec<u8>, Refusal> {
    if let Place::Nothing(nothing) = place {
        return Err(nothing.refusal());
    }
    let desk = Writing::of(state, call, known, Access::Admin)?;
    match (&call.method, place) {
        (&Method::DELETE, Place::Certificate(id)) => ssl::delete(&desk, id).await,
        (&Method::DELETE, Place::Zone(_)) => Err(nothing::ZONE.refusal()),
        (&Method::POST, Place::Certificates) => ssl::create(&desk).await,
        (&Method::POST, Place::FreeCertificate) => free::order(&desk).await,
        (&Method::PUT, Place::Certificate(id)) => ssl::put(&desk, id).await,
        (&Method::PUT, Place::Infos) => settings::put_infos(&desk),
        (&Method::PUT, Place::Itself) => settings::put(&desk).await,
        (&Method::PUT, Place::Quota(zone)) => traffic::put(&desk, zone).await,
        (method, place) => Err(Refusal::not_with(method, place.methods())),
    }
}

/// Stages what encrypted frontends are behind the certificates: one that was obtained came by itself.
///
/// # Errors
/// A [`Refusal`]; nothing was changed.
pub(super) async fn follow(state: &AdminState, call: &Call, known: &Known) -> Result<(), Refusal> {
    ssl::follow(&Writing::of(state, call, known, Access::Admin)?).await
}

/// Answers a read of somebody known.
///
/// # Errors
/// A [`Refusal`].
pub(super) fn read(reading: Reading<'_>, place: Place<'_>) -> Result<Vec<u8>, Refusal> {
    let Reading { state, call, snapshot, view, .. } = reading;
    let query = Query::of(&call.uri)?;
    let (service, zone) = (&snapshot.service, snapshot.service.zone.as_str());
    match place {
        Place::Certificate(id) => ssl::one(view, id),
        Place::Certificates => ssl::list(view, &query),
        Place::Failover => json(&[(); 0]),
        Place::Histories => traffic::list(state, call.now, &query),
        Place::History(id) => traffic::past(state, call.now, id),
        Place::Infos => json(&settings::infos(service)),
        Place::Instances => json(&to_wire::instances(snapshot, view)),
        Place::Itself => json(&settings::service(view, snapshot)),
        Place::NatIp if query.is_in("zone", zone) => json(&to_wire::nat_ips(service)),
        Place::NatIp => json(&[(); 0]),
        Place::Quota(wanted) if wanted == zone => json(&traffic::quota(state, call.now, zone)),
        Place::Quota(wanted) => Err(not_found("quota", wanted)),
        Place::Quotas | Place::Zones => json(&[zone]),
        Place::Zone(wanted) if wanted == zone => json(&to_wire::zone(service)),
        Place::Zone(wanted) => Err(not_found("zone", wanted)),
        Place::FreeCertificate => Err(Refusal::writes_alone(&call.method)),
        Place::Nothing(nothing) => Err(nothing.refusal()),
    }
}

/// A write by somebody who may.
struct Writing<'c> {
    state: &'c AdminState,
    call: &'c Call,
    act: Act,
    /// The zone that it is for.
    zone: String,
}

impl<'c> Writing<'c> {
    fn of(state: &'c AdminState, call: &'c Call, known: &Known, needs: Access) -> Result<Self, Refusal> {
        let caller = &known.caller;
        caller.needs(needs)?;
        if caller.grant.farms.is_some() {
            // What concerns the whole service concerns every farm.
            let farm = "(all of them)".to_owned();
            return Err(AdminError::ForbiddenFarm { name: caller.grant.name.clone(), farm }.into());
        }
        let zone = state.store.load().service.zone.to_string();
        Ok(Self { state, call, act: caller.act(call, None), zone })
    }

    fn view(&self) -> Arc<View> {
        self.state.objects.view()
    }

    /// Plans and makes a write, on a thread that may block. `zone`: it waits for the refresh of that zone.
    async fn edit(
        &self,
        zone: Option<&str>,
        plan: impl Fn(&crate::objects::Desk<'_>) -> Result<Vec<Edit>, EditError> + Send + Sync + 'static,
    ) -> Result<Edited, Refusal> {
        let zone = zone.map(str::to_owned);
        let act = self.act.clone();
        let edited = self
            .blocking(move |objects| {
                let when = zone.as_deref().map_or(When::Live, |zone| When::Staged { zone });
                objects.edit(&plan, when, &act)
            })
            .await?;
        let Self { call, act, .. } = self;
        let (actor, path, changes) = (&act.actor, call.uri.path(), edited.changes);
        tracing::info!(request_id = call.request_id, %actor, source = %call.peer, method = %call.method, path, changes, "admin write");
        Ok(edited)
    }

    /// Does what may wait for the disk.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Objects) -> Result<T, EditError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let objects = Arc::clone(&self.state.objects);
        let done = tokio::task::spawn_blocking(move || work(&*objects)).await;
        done.map_err(|_| Refusal::bug())?.map_err(Refusal::from)
    }
}

fn not_found(kind: &'static str, id: &str) -> Refusal {
    AdminError::NotFound { kind, id: crate::admin::guard::quoted(id) }.into()
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(value).map_err(|_| Refusal::bug())
}
