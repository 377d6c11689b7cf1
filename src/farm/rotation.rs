//! The truth table: which servers of a farm may take new work now, at what weight, and why these.

use crate::model::{FailOpen, Generation, Health, Role, ServerId};

use super::entry::ServerEntry;

/// A server that may take new work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eligible {
    /// Its position in the farm's table.
    pub position: u32,
    /// Its weight, above 0.
    pub weight: u16,
    /// Its id: what the hashes are keyed by.
    pub id: ServerId,
}

/// Which servers carry a farm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Serving {
    /// No primary is Up: the backups that are.
    Backups,
    /// Nobody is Up: Down servers, since the farm fails open.
    FailOpen,
    /// Nobody may take work.
    Nobody,
    /// The primaries that are Up or not probed.
    Primaries,
    /// Nobody is Up: servers without a verdict yet.
    Unproven,
}

impl Serving {
    /// Returns the word of the native API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backups => "backups",
            Self::FailOpen => "fail_open",
            Self::Nobody => "nobody",
            Self::Primaries => "primaries",
            Self::Unproven => "unproven",
        }
    }
}

/// The servers of a farm that may take new work, in the order written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The generation in which it last changed; a chooser starts afresh when it differs.
    pub version: Generation,
    /// Why these.
    pub serving: Serving,
    /// Who. Never a server in maintenance or drain, without address, or of weight 0.
    pub eligible: Box<[Eligible]>,
}

impl Rotation {
    /// Returns the rotation of these servers.
    #[must_use]
    pub fn of(servers: &[ServerEntry], fail_open: FailOpen, version: Generation) -> Self {
        let tiers = [
            (Serving::Primaries, Role::Primary),
            (Serving::Backups, Role::Backup),
            (Serving::Unproven, Role::Primary),
            (Serving::Unproven, Role::Backup),
            (Serving::FailOpen, Role::Primary),
            (Serving::FailOpen, Role::Backup),
        ];
        let may_carry = |serving, health| match serving {
            Serving::Primaries | Serving::Backups => matches!(health, Health::Up | Health::Off),
            Serving::Unproven => health == Health::Unknown,
            Serving::FailOpen => fail_open != FailOpen::Never,
            Serving::Nobody => false,
        };
        for (serving, role) in tiers {
            let is_in =
                |s: &ServerEntry| s.is_willing() && s.server.role == role && may_carry(serving, s.standing.health);
            let eligible = select(servers, is_in);
            if !eligible.is_empty() {
                return Self { version, serving, eligible };
            }
        }
        Self { version, serving: Serving::Nobody, eligible: Box::default() }
    }

    /// Returns whether `other` lets the same servers in at the same weights for the same reason.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.serving == other.serving && self.eligible == other.eligible
    }

    /// Returns the weight at which the server at `position` takes work now; 0 if it takes none.
    #[must_use]
    pub fn effective_weight(&self, position: usize) -> u16 {
        let at = self.eligible.binary_search_by_key(&position, |e| e.position as usize);
        at.map_or(0, |i| self.eligible[i].weight)
    }
}

fn select(servers: &[ServerEntry], is_in: impl Fn(&ServerEntry) -> bool) -> Box<[Eligible]> {
    let numbered = (0u32..).zip(servers);
    numbered
        .filter(|(_, s)| is_in(s))
        .map(|(position, s)| Eligible { position, weight: s.server.weight.0, id: s.server.id })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::farm::ServerLive;
    use crate::model::{AdminStatus, Epoch, Name, Progress, Server, Standing, Weight};

    fn entry(n: u64, admin: AdminStatus, health: Health, weight: u16, role: Role) -> ServerEntry {
        let name = Name::parse(&format!("s{n}")).unwrap();
        let address: crate::model::ServerAddr = "127.0.0.1:80".parse().unwrap();
        let addr = address.literal();
        let weight = Weight(weight);
        let server = Server { weight, role, admin, ..Server::new(ServerId(n), name, address) };
        let standing = Standing::of(health, Progress { have: 0, need: 1 });
        ServerEntry { server: Arc::new(server), epoch: Epoch(1), addr, standing, live: ServerLive::new(1) }
    }

    fn serving(servers: &[ServerEntry], fail_open: FailOpen) -> (Serving, Vec<u32>) {
        let rotation = Rotation::of(servers, fail_open, Generation(1));
        (rotation.serving, rotation.eligible.iter().map(|e| e.position).collect())
    }

    /// Every admin status × health × fail-open, each beside nothing else: the table of ARCHITECTURE.md.
    #[test]
    fn rotation_of_one_server_follows_the_truth_table() {
        use AdminStatus::{Active, Drain, Maintenance};
        for admin in [Active, Drain, Maintenance] {
            for health in [Health::Down, Health::Off, Health::Stopping, Health::Unknown, Health::Up] {
                for fail_open in [FailOpen::Never, FailOpen::WhenAllDown] {
                    let want = match (admin, health, fail_open) {
                        (Drain | Maintenance, _, _) => Serving::Nobody,
                        (Active, Health::Up | Health::Off, _) => Serving::Primaries,
                        (Active, Health::Unknown, _) => Serving::Unproven,
                        (Active, Health::Down | Health::Stopping, FailOpen::Never) => Serving::Nobody,
                        (Active, Health::Down | Health::Stopping, _) => Serving::FailOpen,
                    };
                    let one = [entry(1, admin, health, 1, Role::Primary)];
                    assert_eq!(serving(&one, fail_open).0, want, "{admin:?} {health:?} {fail_open:?}");
                }
            }
        }
    }

    #[test]
    fn rotation_prefers_up_primaries_then_up_backups_then_the_unproven() {
        use AdminStatus::Active;
        let mut farm = [
            entry(1, Active, Health::Up, 5, Role::Primary),
            entry(2, Active, Health::Unknown, 5, Role::Primary),
            entry(3, Active, Health::Up, 5, Role::Backup),
        ];
        assert_eq!(serving(&farm, FailOpen::Never), (Serving::Primaries, vec![0]));
        farm[0].standing.health = Health::Down;
        assert_eq!(serving(&farm, FailOpen::Never), (Serving::Backups, vec![2]));
        farm[2].standing.health = Health::Down;
        assert_eq!(serving(&farm, FailOpen::Never), (Serving::Unproven, vec![1]));
        farm[1].standing.health = Health::Down;
        assert_eq!(serving(&farm, FailOpen::Never), (Serving::Nobody, vec![]));
        assert_eq!(serving(&farm, FailOpen::WhenAllDown), (Serving::FailOpen, vec![0, 1]));
    }

    #[test]
    fn rotation_never_holds_weight_zero_or_an_unresolved_server() {
        let mut farm = [
            entry(1, AdminStatus::Active, Health::Up, 0, Role::Primary),
            entry(2, AdminStatus::Active, Health::Up, 1, Role::Primary),
        ];
        farm[1].addr = None;
        assert_eq!(serving(&farm, FailOpen::WhenAllDown), (Serving::Nobody, vec![]));
    }
}
