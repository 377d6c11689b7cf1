//! One server of a farm as the data plane reads it, and the two questions asked of it: new work, sticky clients.

use std::sync::Arc;

use crate::model::{AdminStatus, AgentHealth, Epoch, Health, PeerAddr, Server, Standing};

use super::live::ServerLive;

/// A server at one instant.
#[derive(Clone, Debug)]
pub struct ServerEntry {
    /// The definition, overrides applied.
    pub server: Arc<Server>,
    /// Its incarnation.
    pub epoch: Epoch,
    /// Where connections go; none while its name has no address.
    pub addr: Option<PeerAddr>,
    /// What is concluded of it.
    pub standing: Standing,
    /// The health that it is used by instead, while an incident holds the last good rotation.
    pub held: Option<Health>,
    /// Whether its drain has come to its deadline.
    pub is_past_deadline: bool,
    /// How many connections it may have at once, after its agent.
    pub max_connections: Option<u32>,
    /// Its counters.
    pub live: Arc<ServerLive>,
}

impl ServerEntry {
    /// Returns a server that no incident holds and whose deadline, if any, is to come.
    #[must_use]
    pub fn new(
        server: Arc<Server>,
        epoch: Epoch,
        addr: Option<PeerAddr>,
        standing: Standing,
        live: Arc<ServerLive>,
    ) -> Self {
        let max_connections = standing.max_connections(&server);
        Self { server, epoch, addr, standing, held: None, is_past_deadline: false, max_connections, live }
    }

    /// Returns the admin status that counts: the operator's and the agent's, the stricter of the two.
    #[must_use]
    pub fn admin(&self) -> AdminStatus {
        self.standing.admin_with_agent(self.server.admin)
    }

    /// Returns its share in hundredths, after agent and warm-up.
    #[must_use]
    pub fn weight_hundredths(&self) -> u32 {
        self.standing.weight_hundredths(self.server.weight)
    }

    /// Returns whether the server would take new work if its health allowed it.
    #[must_use]
    pub fn is_willing(&self) -> bool {
        self.admin() == AdminStatus::Active && self.weight_hundredths() > 0 && self.addr.is_some()
    }

    /// Returns the health by which it is used: Down for what traffic, flapping or its agent say against it, else the
    /// held one during an incident.
    #[must_use]
    pub fn used_as(&self) -> Health {
        let Standing { health, ejected, held_until, agent, .. } = &self.standing;
        let is_agent_against = agent.as_ref().is_some_and(|agent| agent.health == Some(AgentHealth::Down));
        let is_out = ejected.is_some() || held_until.is_some() || is_agent_against;
        if is_out { Health::Down } else { self.held.unwrap_or(*health) }
    }

    /// Returns whether a client that is bound to this server is still sent there: not to one that is Down, in
    /// maintenance, without address, or drained beyond its deadline.
    #[must_use]
    pub fn takes_sticky(&self) -> bool {
        let is_admitted = match self.admin() {
            AdminStatus::Active => true,
            AdminStatus::Drain => !self.is_past_deadline,
            AdminStatus::Maintenance => false,
        };
        is_admitted && self.addr.is_some() && self.used_as() != Health::Down
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{
        AgentSays, Ejection, Name, Progress, ServerAddr, ServerId, Timestamp, TrafficFault, Warmup, Weight,
    };

    fn entry(admin: AdminStatus, health: Health, weight: u16) -> ServerEntry {
        let address: ServerAddr = "127.0.0.1:80".parse().unwrap();
        let addr = address.literal();
        let server = Server::new(ServerId(1), Name::parse("s1").unwrap(), address);
        let server = Server { admin, weight: Weight(weight), ..server };
        let standing = Standing::of(health, Progress { have: 0, need: 1 });
        ServerEntry::new(Arc::new(server), Epoch(1), addr, standing, ServerLive::new(1))
    }

    fn ejection() -> Ejection {
        let (since, until) = (Timestamp(1), Timestamp(1) + Duration::from_secs(30));
        Ejection { since, until, errors: 5, kind: TrafficFault::Connect, times: 1 }
    }

    fn says(admin: Option<AdminStatus>, health: Option<AgentHealth>) -> Option<Arc<AgentSays>> {
        Some(Arc::new(AgentSays { admin, health, ..AgentSays::default() }))
    }

    /// Every admin status × health × weight × deadline: the table of ARCHITECTURE.md.
    #[test]
    fn sticky_clients_follow_the_truth_table() {
        use AdminStatus::{Active, Drain, Maintenance};
        for admin in [Active, Drain, Maintenance] {
            for health in [Health::Down, Health::Off, Health::Stopping, Health::Unknown, Health::Up] {
                for (weight, is_past_deadline) in [(0, false), (1, false), (0, true), (1, true)] {
                    let server = ServerEntry { is_past_deadline, ..entry(admin, health, weight) };
                    let want = match (admin, health) {
                        (Maintenance, _) | (_, Health::Down) => false,
                        (Drain, _) => !is_past_deadline,
                        (Active, _) => true,
                    };
                    assert_eq!(server.takes_sticky(), want, "{admin:?} {health:?} {weight} {is_past_deadline}");
                }
            }
        }
    }

    #[test]
    fn sticky_clients_leave_what_traffic_flapping_or_the_agent_speak_against() {
        let up = entry(AdminStatus::Active, Health::Up, 1);
        let with = |change: &dyn Fn(&mut Standing)| {
            let mut server = up.clone();
            change(&mut server.standing);
            (server.takes_sticky(), server.used_as())
        };
        assert_eq!(with(&|_| {}), (true, Health::Up));
        assert_eq!(with(&|s| s.ejected = Some(ejection())), (false, Health::Down));
        assert_eq!(with(&|s| s.held_until = Some(Timestamp(9))), (false, Health::Down));
        assert_eq!(with(&|s| s.agent = says(None, Some(AgentHealth::Down))), (false, Health::Down));
        assert_eq!(with(&|s| s.agent = says(Some(AdminStatus::Maintenance), None)), (false, Health::Up));
        assert_eq!(with(&|s| s.agent = says(Some(AdminStatus::Drain), None)), (true, Health::Up));
        let held = ServerEntry { held: Some(Health::Up), ..entry(AdminStatus::Active, Health::Down, 1) };
        assert!(held.takes_sticky());
        let mut flapping = held;
        flapping.standing.held_until = Some(Timestamp(9));
        assert!(!flapping.takes_sticky(), "an incident brings nobody back who was out before");
        let unresolved = ServerEntry { addr: None, ..up };
        assert!(!unresolved.takes_sticky() && !unresolved.is_willing());
    }

    #[test]
    fn willing_is_who_wants_work_whatever_its_health() {
        let mut server = entry(AdminStatus::Active, Health::Down, 1);
        assert!(server.is_willing());
        server.standing.warmup = Some(Warmup { since: Timestamp(1), until: Timestamp(9), percent: 1 });
        assert_eq!((server.is_willing(), server.weight_hundredths()), (true, 1));
        server.standing.agent = says(Some(AdminStatus::Drain), None);
        assert!(!server.is_willing());
        assert!(!entry(AdminStatus::Drain, Health::Up, 1).is_willing());
        assert!(!entry(AdminStatus::Active, Health::Up, 0).is_willing());
    }
}
