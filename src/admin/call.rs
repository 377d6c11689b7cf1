//! What every shape is handed: the call as it arrived, and the state to answer it from.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, Method, Uri};

use crate::feed::Ring;
use crate::model::settings::{BearerToken, OvhCredential, ZenlayerKey};
use crate::model::{Access, Act, AdminSettings, Timestamp};
use crate::objects::{NoObjects, Objects};
use crate::store::{Chronicle, NoRequests, Requests, Store};

use super::long::LongCalls;
use super::outlets::{NoOutlets, Outlets};

/// One call, its body read whole.
#[derive(Debug)]
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
    /// The id that the answer and the log line carry.
    pub request_id: String,
    /// When it arrived.
    pub now: Timestamp,
}

/// Who makes a call, once a shape has authenticated it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The credential's name.
    pub name: Box<str>,
    /// What it may do.
    pub access: Access,
}

impl Caller {
    /// Returns the act of this caller making `call`.
    #[must_use]
    pub fn act(&self, call: &Call, reason: Option<&str>) -> Act {
        let source = call.peer.to_string().into_boxed_str();
        Act { actor: self.name.clone(), source, reason: reason.map(Into::into), at: call.now }
    }
}

/// Every credential of the config.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Bearer tokens: good for every shape.
    pub tokens: Vec<BearerToken>,
    /// OVHcloud-shape keys.
    pub ovh: Vec<OvhCredential>,
    /// Zenlayer-shape keys.
    pub zenlayer: Vec<ZenlayerKey>,
}

impl Credentials {
    /// Returns those of the config; none without an admin side, which nobody may use then.
    #[must_use]
    pub fn of(admin: Option<&AdminSettings>) -> Self {
        let of = |admin: &AdminSettings| Self {
            tokens: admin.tokens.clone(),
            ovh: admin.ovh.clone(),
            zenlayer: admin.zenlayer.clone(),
        };
        admin.map(of).unwrap_or_default()
    }
}

/// What the admin side asks of the process around it.
pub trait Control: Send + Sync {
    /// Reloads the config file. The error text has every reason, one a line.
    fn reload<'a>(&'a self, act: Act) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;
}

/// What every shape answers from.
#[derive(Clone)]
pub struct AdminState {
    /// The Store.
    pub store: Arc<Store>,
    /// The credentials, of the config that is live.
    pub credentials: Arc<ArcSwap<Credentials>>,
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
    /// What is counted where events go.
    pub outlets: Arc<dyn Outlets>,
    /// Waits and streams.
    pub long_calls: LongCalls,
}

impl AdminState {
    /// Returns the state of a process that keeps nothing on disk; what else there is may be put in its place.
    #[must_use]
    pub fn new(store: Arc<Store>, credentials: Arc<ArcSwap<Credentials>>, control: Arc<dyn Control>) -> Self {
        let feed = Arc::new(Ring::new(0));
        let (requests, outlets, long_calls) = (Arc::new(NoRequests), Arc::new(NoOutlets), LongCalls::default());
        let objects = Arc::new(NoObjects::default());
        Self {
            store,
            credentials,
            control,
            feed,
            chronicle: None,
            has_history: false,
            requests,
            objects,
            outlets,
            long_calls,
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
