//! A frontend: a named entry with its listeners, what it speaks, whom it lets in and how much of them, and where their
//! work goes.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::farm::Protocol;
use super::id::{FarmId, FrontendId, Name};
use super::listen::ListenAddr;
use super::route::{Action, Forward, HeaderRules, Hsts, MaintenancePage, Redirect, Route};
use super::tls::FrontendTls;

/// Deadlines towards clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrontendTimeouts {
    /// For a PROXY header and a TLS handshake, each from its beginning to its end.
    pub handshake: Duration,
    /// From the first byte of a request head to its last: total, however the bytes arrive.
    pub header: Duration,
    /// Between two reads of a request body.
    pub body: Duration,
    /// HTTP: between two requests of a connection. TCP and UDP: the farm's own `idle` rules.
    pub idle: Duration,
    /// For a client to take what is written to it.
    pub write: Duration,
    /// How long an upgraded connection (WebSocket) may be silent.
    pub tunnel: Duration,
    /// TCP: how long a connection may last; for ever where absent.
    pub session: Option<Duration>,
}

impl Default for FrontendTimeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            handshake: seconds(5),
            header: seconds(10),
            body: seconds(30),
            idle: seconds(60),
            write: seconds(30),
            tunnel: seconds(3600),
            session: None,
        }
    }
}

/// Bounds on what clients may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections of this frontend, over all workers; UDP: clients known at once.
    pub connections: u32,
    /// Open connections of one client address, over all workers; 0: no bound.
    pub connections_per_source: u32,
    /// TLS handshakes under way at once, over all workers.
    pub handshakes: u32,
    /// Request line and header fields together, in bytes.
    pub header_bytes: u32,
    /// Header fields of a request.
    pub header_fields: u16,
    /// The request target, in bytes.
    pub uri_bytes: u32,
    /// A request body, in bytes.
    pub body_bytes: u64,
    /// What a request body must come to on average, once `timeouts.body` is over, and what a client must take in
    /// `timeouts.write` of what waits for it, in bytes a second; 0: no bound.
    pub body_rate_min: u32,
    /// Requests under way at once on one HTTP/2 connection.
    pub streams: u32,
    /// How often one client may ask.
    pub rate: Option<RateLimit>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_source: 256,
            handshakes: 1000,
            header_bytes: 64 * 1024,
            header_fields: 128,
            uri_bytes: 16 * 1024,
            body_bytes: 100 * 1024 * 1024,
            body_rate_min: 500,
            streams: 100,
            rate: None,
        }
    }
}

/// How often one client may ask: a bucket of `burst` tokens that fills by `requests` every `window`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Who one client is.
    pub per: RateKey,
    /// How many requests.
    pub requests: u32,
    /// In how long.
    pub window: Duration,
    /// How many at once, after a pause; at least 1.
    pub burst: u32,
}

/// By what clients are told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RateKey {
    /// By the value of a header field, its name in lower case; who has none, by address.
    Header(Box<str>),
    /// By address; of IPv6 the first 64 bits.
    Source,
}

/// Who may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sources {
    /// Everybody.
    All,
    /// Everybody but who is in these networks.
    AllBut(Box<[IpNet]>),
    /// Nobody but who is in these networks.
    Only(Box<[IpNet]>),
}

/// A frontend as declared.
#[derive(Clone, Debug, PartialEq)]
pub struct Frontend {
    /// Its numeric id, derived from its name.
    pub id: FrontendId,
    /// Its name.
    pub name: Name,
    /// What its clients speak; its farms' protocol is the same.
    pub protocol: Protocol,
    /// The addresses it listens on, as written.
    pub listen: Vec<ListenAddr>,
    /// How it is encrypted, if it is.
    pub tls: Option<FrontendTls>,
    /// Whether HTTP/2 is spoken without TLS too, by prior knowledge.
    pub h2c: bool,
    /// Networks that begin with a PROXY header, v1 or v2; nobody else's is read.
    pub accept_proxy: Vec<IpNet>,
    /// Who may connect; by the address of the PROXY header, where there is one.
    pub sources: Sources,
    /// Which work goes elsewhere than to `otherwise`, in the order in which routes are looked at.
    pub routes: Vec<Arc<Route>>,
    /// What is done with the work that no route takes.
    pub otherwise: Action,
    /// Networks whose X-Forwarded-*, Via, request ids and trace contexts are kept and added to, rather than replaced.
    pub trust: Vec<IpNet>,
    /// What is said to every client while the frontend is closed for maintenance.
    pub maintenance: Option<MaintenancePage>,
    /// Strict-Transport-Security, said to clients that came in TLS.
    pub hsts: Option<Hsts>,
    /// Changes of every head towards a server, before those of the route.
    pub request_headers: Arc<HeaderRules>,
    /// Changes of every head towards a client, after those of the route.
    pub response_headers: Arc<HeaderRules>,
    /// Deadlines towards clients.
    pub timeouts: FrontendTimeouts,
    /// Bounds on what a client may send.
    pub limits: Limits,
}

impl Frontend {
    /// Returns a frontend that gives everything to one farm, with the values of a file that says nothing else.
    #[must_use]
    pub fn new(id: FrontendId, name: Name, protocol: Protocol, farm: FarmId) -> Self {
        Self {
            id,
            name,
            protocol,
            listen: Vec::new(),
            tls: None,
            h2c: false,
            accept_proxy: Vec::new(),
            sources: Sources::All,
            routes: Vec::new(),
            otherwise: Action::Forward(Forward::to(farm)),
            trust: Vec::new(),
            maintenance: None,
            hsts: None,
            request_headers: Arc::default(),
            response_headers: Arc::default(),
            timeouts: FrontendTimeouts::default(),
            limits: Limits::default(),
        }
    }

    /// Returns the farm that takes what no route takes, where it is one.
    #[must_use]
    pub fn default_farm(&self) -> Option<FarmId> {
        match &self.otherwise {
            Action::Forward(forward) => forward.shares.first().map(|share| share.farm),
            Action::Redirect(_) | Action::Reject(_) => None,
        }
    }

    /// Returns the redirect that answers what no route takes, if it is one.
    #[must_use]
    pub fn default_redirect(&self) -> Option<&Redirect> {
        match &self.otherwise {
            Action::Redirect(redirect) => Some(redirect),
            Action::Forward(_) | Action::Reject(_) => None,
        }
    }

    /// Returns every farm that it may feed, mirrors included, each once, the default one first.
    #[must_use]
    pub fn farms(&self) -> Vec<FarmId> {
        let mut farms = Vec::new();
        let actions = std::iter::once(&self.otherwise).chain(self.routes.iter().map(|route| &route.action));
        for action in actions {
            let Action::Forward(forward) = action else { continue };
            let of_action = forward.shares.iter().map(|share| share.farm).chain(forward.mirror.map(|m| m.farm));
            for farm in of_action {
                if !farms.contains(&farm) {
                    farms.push(farm);
                }
            }
        }
        farms
    }
}
