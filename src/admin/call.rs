//! What every shape is handed: the call as it arrived, and the state to answer it from.

use std::future::Future;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, Method, Uri};

use crate::feed::Ring;
use crate::model::settings::{
    BearerToken, CallRate, CertificateHolder, Grant, OvhApplication, OvhBounds, OvhCredential, ZenlayerKey,
};
use crate::model::{Access, Act, AdminSettings, Name, Timestamp};
use crate::objects::{NoObjects, Objects, View};
use crate::store::{Chronicle, NoRequests, Requests, Store};

use super::aside::Turns;
use super::asked::Asked;
use super::error::AdminError;
use super::gate::Gate;
use super::long::LongCalls;
use super::minutes::Minutes;
use super::outlets::{NoOutlets, Outlets};
use super::tls::ShownCertificate;
use super::traffic::Meter;

/// One call, its body read whole.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// The request target as sent.
    pub uri: Uri,
    /// The header fields as sent.
    pub headers: HeaderMap,
    /// The body as sent; bounded.
    pub body: Bytes,
    /// The client's address.
    pub peer: IpAddr,
    /// Whether it came over TLS.
    pub is_tls: bool,
    /// The certificate that the client showed.
    pub certificate: Option<Arc<ShownCertificate>>,
    /// The id that the answer and the log line carry.
    pub request_id: String,
    /// When it arrived.
    pub now: Timestamp,
    /// In how many seconds it may be tried again, where it was refused for coming too often.
    pub retry_after: OnceLock<u64>,
}

impl Call {
    /// Returns a read of the same client's, of another target or with other fields, that is a part of this call.
    #[must_use]
    pub fn part(&self, uri: Uri, headers: HeaderMap) -> Self {
        Self {
            method: Method::GET,
            uri,
            headers,
            body: Bytes::new(),
            peer: self.peer,
            is_tls: self.is_tls,
            certificate: self.certificate.clone(),
            request_id: self.request_id.clone(),
            now: self.now,
            retry_after: OnceLock::new(),
        }
    }
}

/// Who makes a call, once a shape has authenticated it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its credential's.
    pub grant: Grant,
}

impl Caller {
    /// Returns who has that credential.
    #[must_use]
    pub fn of(grant: &Grant) -> Self {
        Self { grant: grant.clone() }
    }

    /// Checks that it may do what needs this role.
    ///
    /// # Errors
    /// [`AdminError::Forbidden`].
    pub fn needs(&self, needs: Access) -> Result<(), AdminError> {
        let Grant { name, access: has, .. } = &self.grant;
        if *has >= needs { Ok(()) } else { Err(AdminError::Forbidden { name: name.clone(), has: *has, needs }) }
    }

    /// Checks that it may change that farm and what belongs to it.
    ///
    /// # Errors
    /// [`AdminError::ForbiddenFarm`].
    pub fn may_change(&self, farm: &Name) -> Result<(), AdminError> {
        let is_allowed = self.grant.may_change(farm);
        let refused = || AdminError::ForbiddenFarm { name: self.grant.name.clone(), farm: farm.to_string() };
        is_allowed.then_some(()).ok_or_else(refused)
    }

    /// Checks that it may change every farm, as what belongs to no single one asks for.
    ///
    /// # Errors
    /// [`AdminError::ForbiddenFarm`].
    pub fn may_change_all(&self) -> Result<(), AdminError> {
        let refused = |_: &Arc<[Name]>| AdminError::ForbiddenFarm {
            name: self.grant.name.clone(),
            farm: "(all of them)".to_owned(),
        };
        self.grant.farms.as_ref().map(refused).map_or(Ok(()), Err)
    }

    /// Checks that it may change whatever one may change that is for `farms`; none: for all.
    ///
    /// # Errors
    /// [`AdminError::ForbiddenFarm`].
    pub fn may_change_each(&self, farms: Option<&[Name]>) -> Result<(), AdminError> {
        farms.map_or_else(|| self.may_change_all(), |farms| farms.iter().try_for_each(|farm| self.may_change(farm)))
    }

    /// Checks that it may make live what waits for these zones; none: for all. Whoever operates and whoever may change
    /// certain farms only may, where that is no more than what it could do itself.
    ///
    /// # Errors
    /// [`AdminError::Forbidden`] or [`AdminError::ForbiddenFarm`].
    pub fn may_refresh(&self, view: &View, zones: Option<&[Box<str>]>) -> Result<(), AdminError> {
        self.needs(Access::Operate)?;
        if self.grant.farms.is_some() {
            let due = view.farms_due(zones);
            due.iter()
                .flatten()
                .filter_map(|farm| Name::parse(farm).ok())
                .try_for_each(|farm| self.may_change(&farm))?;
            if due.contains(&None) {
                self.may_change_all()?;
            }
        }
        if view.is_due_operational(zones) { Ok(()) } else { self.needs(Access::Admin) }
    }

    /// Returns the farms of a credential that it grants: those that are wanted, its own unless any are. Nobody gives
    /// away more than they have.
    ///
    /// # Errors
    /// [`AdminError::ForbiddenFarm`] names the first farm that it may not change itself.
    pub fn farms_to_grant(&self, wanted: Option<Arc<[Name]>>) -> Result<Option<Arc<[Name]>>, AdminError> {
        let Some(wanted) = wanted else { return Ok(self.grant.farms.clone()) };
        self.may_change_each(Some(&wanted))?;
        Ok(Some(wanted))
    }

    /// Returns the act of this caller making `call`.
    #[must_use]
    pub fn act(&self, call: &Call, reason: Option<&str>) -> Act {
        let source = call.peer.to_string().into_boxed_str();
        Act { actor: self.grant.name.clone(), source, reason: reason.map(Into::into), at: call.now }
    }
}

/// Every credential of the config, and what bounds their writes.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Bearer tokens: good for every shape.
    pub tokens: Vec<BearerToken>,
    /// Certificates of clients that are as good as those.
    pub holders: Vec<CertificateHolder>,
    /// OVHcloud-shape keys.
    pub ovh: Vec<OvhCredential>,
    /// Applications that may ask for further ones.
    pub ovh_applications: Vec<OvhApplication>,
    /// Zenlayer-shape keys.
    pub zenlayer: Vec<ZenlayerKey>,
    /// Names that browsers may ask for.
    pub hosts: Vec<Box<str>>,
    /// How often each may be used.
    pub rate: CallRate,
    /// Bounds of what the OVHcloud shape may write.
    pub ovh_bounds: OvhBounds,
    /// The URL at which clients of the OVHcloud shape know it, where that is another than requests tell.
    pub ovh_public_url: Option<Box<str>>,
}

impl Credentials {
    /// Returns those of the config; none without an admin side, which nobody may use then.
    #[must_use]
    pub fn of(admin: Option<&AdminSettings>) -> Self {
        let of = |admin: &AdminSettings| Self {
            tokens: admin.tokens.clone(),
            holders: admin.holders.clone(),
            ovh: admin.ovh.clone(),
            ovh_applications: admin.ovh_applications.clone(),
            zenlayer: admin.zenlayer.clone(),
            hosts: admin.hosts.clone(),
            rate: admin.rate,
            ovh_bounds: admin.ovh_bounds,
            ovh_public_url: admin.ovh_public_url.clone(),
        };
        admin.map(of).unwrap_or_default()
    }
}

/// What the admin side asks of the process around it.
pub trait Control: Send + Sync {
    /// Reloads the config file. The error text has every reason, one a line.
    fn reload<'a>(&'a self, act: Act) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

    /// Has a new process take over, of `binary` or of the program that the running one was started as. The error text
    /// has every reason, one a line; the running process goes on then.
    fn upgrade<'a>(
        &'a self,
        act: Act,
        binary: Option<PathBuf>,
    ) -> Pin<Box<dyn Future<Output = Result<Succession, String>> + Send + 'a>>;
}

/// Who serves instead of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Succession {
    /// The process that serves now.
    pub pid: u32,
    /// The one that did, and finishes what is open.
    pub replaced: u32,
}

/// What every shape answers from.
#[derive(Clone)]
pub struct AdminState {
    /// The Store.
    pub store: Arc<Store>,
    /// The credentials, of the config that is live.
    pub credentials: Arc<ArcSwap<Credentials>>,
    /// Credentials that applications ask for.
    pub asked: Arc<Asked>,
    /// The process.
    pub control: Arc<dyn Control>,
    /// The last events, in memory.
    pub feed: Arc<Ring>,
    /// What the journal keeps, if there is one.
    pub chronicle: Option<Arc<dyn Chronicle>>,
    /// Whether the journal keeps the history of checks.
    pub has_history: bool,
    /// What became of recent requests.
    pub requests: Arc<dyn Requests>,
    /// Objects made through APIs: what there is, what is staged, tasks, and the way to write.
    pub objects: Arc<dyn Objects>,
    /// How many bytes go through, by month.
    pub traffic: Arc<Meter>,
    /// Whether certificates can be obtained from an authority.
    pub obtains: bool,
    /// What is counted where events go.
    pub outlets: Arc<dyn Outlets>,
    /// Waits and streams.
    pub long_calls: LongCalls,
    /// How often may be called.
    pub gate: Arc<Gate>,
    /// What is made beside the admin thread.
    pub turns: Arc<Turns>,
    /// What frontends did, minute by minute.
    pub minutes: Arc<Minutes>,
}

impl AdminState {
    /// Returns the state of a process that keeps nothing on disk; what else there is may be put in its place.
    #[must_use]
    pub fn new(store: Arc<Store>, credentials: Arc<ArcSwap<Credentials>>, control: Arc<dyn Control>) -> Self {
        let feed = Arc::new(Ring::new(0));
        let asked = Arc::new(Asked::nowhere());
        let (requests, outlets, long_calls) = (Arc::new(NoRequests), Arc::new(NoOutlets), LongCalls::default());
        let objects = Arc::new(NoObjects::default());
        Self {
            store,
            credentials,
            asked,
            control,
            feed,
            chronicle: None,
            has_history: false,
            requests,
            objects,
            traffic: Arc::new(Meter::nowhere()),
            obtains: false,
            outlets,
            long_calls,
            gate: Arc::default(),
            turns: Arc::default(),
            minutes: Arc::default(),
        }
    }
}

impl AdminState {
    /// Returns the journal, if it keeps the history of checks.
    #[must_use]
    pub fn history(&self) -> Option<&dyn Chronicle> {
        self.chronicle.as_deref().filter(|_| self.has_history)
    }
}

impl std::fmt::Debug for AdminState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminState").finish_non_exhaustive()
    }
}
