//! A plain copy of everything at one instant, for everybody outside: API shapes, CLI, metrics, page.
//!
//! Definitions are shared (`Arc`); numbers are copied. Whoever answers a question reads exactly one of these, so that
//! all answers of an instant agree.

use std::sync::Arc;

use crate::farm::Serving;
use crate::model::{
    Act, AdminStatus, CheckBrief, CheckRecord, Farm, FarmId, Frontend, Generation, Health, InstanceId, Leftovers, Made,
    Name, Override, PeerAddr, ProbeStanding, Server, ServerId, ServerKey, Service, SessionGroup, Standing, Timestamp,
};

/// Everything at one instant.
#[derive(Debug)]
pub struct Snapshot {
    /// When.
    pub at: Timestamp,
    /// The table it is of.
    pub generation: Generation,
    /// Whether every server was checked once.
    pub is_ready: bool,
    /// The service.
    pub service: Arc<Service>,
    /// The balancer instances that carry it, this process among them.
    pub instances: Vec<InstanceRow>,
    /// Frontends, in the order written.
    pub frontends: Vec<FrontendRow>,
    /// Farms, in the order written.
    pub farms: Vec<FarmRow>,
    /// What of it was made through APIs.
    pub made: Arc<Made>,
    /// Servers that left with their farm and on which something is open.
    pub leaving: Vec<LeavingRow>,
    /// What makes the balancer suspect itself, if anything.
    pub incident: Option<IncidentRow>,
    /// The id of the last event; 0 if there was none.
    pub last_event: u64,
}

/// A balancer instance at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceRow {
    /// Which.
    pub id: InstanceId,
    /// The zone that it is in.
    pub zone: Name,
    /// Whether it checked every server once.
    pub is_ready: bool,
    /// When this was so.
    pub at: Timestamp,
}

/// What one balancer instance sees of a server.
#[derive(Clone, Debug)]
pub struct Sight {
    /// Which instance.
    pub instance: InstanceId,
    /// The state in HAProxy's words.
    pub state: Box<str>,
    /// Its last check, if there was one.
    pub last_check: Option<Arc<CheckRecord>>,
    /// What it concludes.
    pub health: Health,
}

/// A frontend at one instant.
#[derive(Debug)]
pub struct FrontendRow {
    /// The definition.
    pub frontend: Arc<Frontend>,
    /// The positions in [`Snapshot::farms`] of the farms that it may feed, the default one first, where there is one.
    pub farms: Vec<usize>,
    /// Connections open now.
    pub connections_open: u64,
}

impl FrontendRow {
    /// Returns the position in [`Snapshot::farms`] of the farm that takes what no route takes, where one does.
    #[must_use]
    pub fn default_farm(&self) -> Option<usize> {
        self.frontend.default_farm().and_then(|_| self.farms.first().copied())
    }
}

/// A farm at one instant.
#[derive(Debug)]
pub struct FarmRow {
    /// The definition, overrides applied.
    pub farm: Arc<Farm>,
    /// Which servers carry it.
    pub serving: Serving,
    /// Its servers, in the order written.
    pub servers: Vec<ServerRow>,
    /// Servers that are declared no more and on which something is open, by id.
    pub leaving: Vec<LeavingRow>,
}

/// A server at one instant.
#[derive(Debug)]
pub struct ServerRow {
    /// The definition, overrides applied.
    pub server: Arc<Server>,
    /// The state in HAProxy's words.
    pub state: String,
    /// Where connections go; none while its name has no address.
    pub addr: Option<PeerAddr>,
    /// What is concluded of it.
    pub standing: Standing,
    /// What each balancer instance sees of it.
    pub sights: Vec<Sight>,
    /// Each probe's part, the shadow's last; none while it is not probed.
    pub probes: Vec<ProbeStanding>,
    /// The last checks, the oldest first.
    pub recent: Vec<CheckBrief>,
    /// The checks that made its health what it is, the oldest first.
    pub decided_by: Vec<CheckBrief>,
    /// The weight at which it takes new work now, rounded up; 0 while it takes none.
    pub effective_weight: u16,
    /// The same in hundredths.
    pub effective_hundredths: u32,
    /// Requests or connections under way.
    pub in_flight: u64,
    /// How many wait for a place at it, where it has only so many.
    pub queued: u32,
    /// The last check, if there was one.
    pub last_check: Option<Arc<CheckRecord>>,
    /// When health, admin status or weight last changed.
    pub since: Timestamp,
    /// When its health became what it is.
    pub health_since: Timestamp,
    /// When the word for its state last changed, progress aside.
    pub state_since: Timestamp,
    /// The drain or maintenance that it is under.
    pub order: Option<OrderRow>,
    /// Why it is wanted to take no new work, all reasons; empty where it is wanted to.
    pub causes: Vec<AdminCause>,
    /// Whether an incident keeps it in rotation although its checks fail, or would.
    pub is_held_by_incident: bool,
    /// Fields whose live value is not the file's.
    pub overrides: Vec<Override>,
}

/// Why a server is wanted to take no new work: drain, maintenance, weight 0 or no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AdminCause {
    /// Its agent asks for it.
    Agent,
    /// The file says so.
    File,
    /// An operator said so at run time.
    Override,
    /// Its name has no address.
    Unresolved,
}

impl AdminCause {
    /// Returns the word of the native API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::File => "file",
            Self::Override => "override",
            Self::Unresolved => "unresolved",
        }
    }
}

/// A drain or maintenance at one instant.
#[derive(Clone, Debug)]
pub struct OrderRow {
    /// Drain or maintenance.
    pub admin: AdminStatus,
    /// Who ordered it; nobody where the file declares it.
    pub act: Option<Act>,
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// When what is open counts as left over.
    pub deadline: Option<Timestamp>,
    /// Whether that time has come.
    pub is_past_deadline: bool,
    /// What happens then.
    pub at_deadline: Leftovers,
    /// How much was open when it began.
    pub began_with: u64,
    /// What is open now, by kind.
    pub sessions: Vec<SessionGroup>,
}

/// A server that is declared no more and on which something is open, at one instant.
#[derive(Clone, Debug)]
pub struct LeavingRow {
    /// Which it was.
    pub key: ServerKey,
    /// Its farm's name.
    pub farm_name: Name,
    /// The definition that it had.
    pub server: Arc<Server>,
    /// Where its connections go.
    pub addr: Option<PeerAddr>,
    /// When it left.
    pub since: Timestamp,
    /// When what is open counts as left over.
    pub deadline: Option<Timestamp>,
    /// What happens then.
    pub at_deadline: Leftovers,
    /// Requests or connections under way.
    pub in_flight: u64,
    /// What is open, by kind.
    pub sessions: Vec<SessionGroup>,
}

/// What makes the balancer suspect itself, at one instant.
#[derive(Clone, Debug)]
pub struct IncidentRow {
    /// Its number.
    pub id: u64,
    /// Since when.
    pub since: Timestamp,
    /// Until when the rotation is held at the latest.
    pub until: Timestamp,
    /// The farms concerned, in the order of their ids.
    pub farms: Vec<Name>,
    /// The servers that failed; those that are Down are held.
    pub servers: Vec<ServerKey>,
}

impl Snapshot {
    /// Returns a farm by its id or its name.
    #[must_use]
    pub fn farm_named(&self, id_or_name: &str) -> Option<&FarmRow> {
        let id = id_or_name.parse().ok().map(FarmId);
        self.farms.iter().find(|f| Some(f.farm.id) == id || f.farm.name.as_str() == id_or_name)
    }
}

impl FarmRow {
    /// Returns a server by its id or its name.
    #[must_use]
    pub fn server_named(&self, id_or_name: &str) -> Option<&ServerRow> {
        let id = id_or_name.parse().ok().map(ServerId);
        self.servers.iter().find(|s| Some(s.server.id) == id || s.server.name.as_str() == id_or_name)
    }
}
