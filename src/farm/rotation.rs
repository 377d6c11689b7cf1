//! The truth table: which servers of a farm may take new work now, at what weight, and why these.
//!
//! Weights are the servers' effective ones in hundredths, so that an agent's percentage and a warm-up count on small
//! weights too, divided by the greatest number that divides them all: plain farms keep the small numbers of the file.
//! Who carries the farm is the first tier that holds anybody; a farm that fails open takes in every willing server of
//! it once fewer than it asks for are good.

use crate::balance::greatest_common_divisor;
use crate::model::{FailOpen, Generation, Health, Role, ServerId};

use super::entry::ServerEntry;

/// A server that may take new work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eligible {
    /// Its position in the farm's table.
    pub position: u32,
    /// Its weight, above 0, in the rotation's [`unit`](Rotation::unit).
    pub weight: u32,
    /// Its id: what the hashes are keyed by.
    pub id: ServerId,
}

/// Which servers carry a farm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Serving {
    /// No primary is Up: the backups that are.
    Backups,
    /// Too few are Up: every willing server, since the farm fails open.
    FailOpen,
    /// Those of before an incident, some of which are Down by now.
    Held,
    /// Nobody may take work.
    Nobody,
    /// The primaries that are Up or not probed.
    Primaries,
    /// Nobody is Up: servers without a verdict yet.
    Unproven,
}

impl Serving {
    /// Every way, in alphabetical order of its word.
    pub const ALL: [Self; 6] =
        [Self::Backups, Self::FailOpen, Self::Held, Self::Nobody, Self::Primaries, Self::Unproven];

    /// Returns the word of the native API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backups => "backups",
            Self::FailOpen => "fail_open",
            Self::Held => "held",
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
    /// What a weight of 1 among them is worth, in hundredths; at least 1.
    pub unit: u32,
}

impl Rotation {
    /// Returns the rotation of these servers.
    #[must_use]
    pub fn of(servers: &[ServerEntry], fail_open: FailOpen, version: Generation) -> Self {
        let (serving, is_in) = who(servers, fail_open);
        let is_in = |server: &ServerEntry| is_in.holds(server);
        let (eligible, unit) = select(servers, is_in);
        let is_held = eligible.iter().any(|e| servers[e.position as usize].held.is_some());
        let serving = match serving {
            Serving::Backups | Serving::Primaries | Serving::Unproven if is_held => Serving::Held,
            Serving::Backups
            | Serving::FailOpen
            | Serving::Held
            | Serving::Nobody
            | Serving::Primaries
            | Serving::Unproven => serving,
        };
        Self { version, serving, eligible, unit }
    }

    /// Returns whether `other` lets the same servers in, sharing the work in the same way for the same reason.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.serving == other.serving && self.eligible == other.eligible
    }

    /// Returns the weight at which the server at `position` takes work now, rounded up; 0 if it takes none.
    #[must_use]
    pub fn effective_weight(&self, position: usize) -> u16 {
        u16::try_from(self.effective_hundredths(position).div_ceil(100)).unwrap_or(u16::MAX)
    }

    /// Returns the weight at which the server at `position` takes work now, in hundredths; 0 if it takes none.
    #[must_use]
    pub fn effective_hundredths(&self, position: usize) -> u32 {
        let at = self.eligible.binary_search_by_key(&position, |e| e.position as usize);
        at.map_or(0, |i| self.eligible[i].weight * self.unit)
    }

    /// Returns whether the server at `position` may take new work.
    #[must_use]
    pub fn holds(&self, position: usize) -> bool {
        self.eligible.binary_search_by_key(&position, |e| e.position as usize).is_ok()
    }
}

/// Which willing servers are in.
#[derive(Clone, Copy, Debug)]
enum Tier {
    /// Of this role and good.
    Good(Role),
    /// All.
    Everybody,
    /// None.
    Nobody,
    /// Of this role.
    Role(Role),
    /// Of this role and without a verdict.
    Unproven(Role),
}

impl Tier {
    fn holds(self, server: &ServerEntry) -> bool {
        server.is_willing()
            && match self {
                Self::Good(role) => server.server.role == role && is_good(server),
                Self::Everybody => true,
                Self::Nobody => false,
                Self::Role(role) => server.server.role == role,
                Self::Unproven(role) => server.server.role == role && server.used_as() == Health::Unknown,
            }
    }
}

fn is_good(server: &ServerEntry) -> bool {
    matches!(server.used_as(), Health::Up | Health::Off)
}

/// Returns who carries the farm: the first tier that holds anybody, unless the farm fails open.
fn who(servers: &[ServerEntry], fail_open: FailOpen) -> (Serving, Tier) {
    let holds_any = |tier: Tier| servers.iter().any(|server| tier.holds(server));
    let tiers = [
        (Serving::Primaries, Tier::Good(Role::Primary)),
        (Serving::Backups, Tier::Good(Role::Backup)),
        (Serving::Unproven, Tier::Unproven(Role::Primary)),
        (Serving::Unproven, Tier::Unproven(Role::Backup)),
    ];
    let carrying = tiers.into_iter().find(|(_, tier)| holds_any(*tier));
    if !fails_open(servers, fail_open) {
        return carrying.unwrap_or((Serving::Nobody, Tier::Nobody));
    }
    let everybody = match carrying {
        // Whoever is in stays in.
        Some((_, Tier::Good(Role::Backup) | Tier::Unproven(Role::Backup))) => Tier::Everybody,
        Some(_) | None if holds_any(Tier::Role(Role::Primary)) => Tier::Role(Role::Primary),
        Some(_) | None => Tier::Role(Role::Backup),
    };
    if holds_any(everybody) { (Serving::FailOpen, everybody) } else { (Serving::Nobody, Tier::Nobody) }
}

/// Returns whether so few servers are good that the farm uses the others too. Those without a verdict are not held
/// against it: failing open answers failures.
fn fails_open(servers: &[ServerEntry], fail_open: FailOpen) -> bool {
    let willing = || servers.iter().filter(|server| server.is_willing());
    let able = willing().filter(|server| is_good(server) || server.used_as() == Health::Unknown).count();
    match fail_open {
        FailOpen::Below(least) => able < usize::from(least) && able < willing().count(),
        FailOpen::BelowShare(percent) => able * 100 < willing().count() * usize::from(percent),
        FailOpen::Never => false,
        FailOpen::WhenAllDown => able == 0,
    }
}

fn select(servers: &[ServerEntry], is_in: impl Fn(&ServerEntry) -> bool) -> (Box<[Eligible]>, u32) {
    let numbered = (0u32..).zip(servers).filter(|(_, server)| is_in(server));
    let of = |(position, s): (u32, &ServerEntry)| Eligible { position, weight: s.weight_hundredths(), id: s.server.id };
    let mut eligible: Box<[_]> = numbered.map(of).collect();
    let unit = eligible.iter().map(|e| e.weight).fold(0, greatest_common_divisor).max(1);
    eligible.iter_mut().for_each(|e| e.weight /= unit);
    (eligible, unit)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::farm::ServerLive;
    use crate::model::{
        AdminStatus, AgentHealth, AgentSays, AgentWeight, Ejection, Epoch, Name, Progress, Server, Standing, Timestamp,
        TrafficFault, Warmup, Weight,
    };

    fn entry(n: u64, admin: AdminStatus, health: Health, weight: u16, role: Role) -> ServerEntry {
        let name = Name::parse(&format!("s{n}")).unwrap();
        let address: crate::model::ServerAddr = "127.0.0.1:80".parse().unwrap();
        let addr = address.literal();
        let weight = Weight(weight);
        let server = Server { weight, role, admin, ..Server::new(ServerId(n), name, address) };
        let standing = Standing::of(health, Progress { have: 0, need: 1 });
        ServerEntry::new(Arc::new(server), Epoch(1), addr, standing, ServerLive::new(1))
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

    #[test]
    fn rotation_leaves_out_whom_traffic_flapping_or_the_agent_speak_against() {
        let farm = |change: &dyn Fn(&mut Standing)| {
            let mut farm = [1, 2].map(|n| entry(n, AdminStatus::Active, Health::Up, 1, Role::Primary));
            change(&mut farm[0].standing);
            serving(&farm, FailOpen::Never)
        };
        let says = |says: AgentSays| Some(Arc::new(says));
        let (since, until) = (Timestamp(1), Timestamp(2));
        let ejection = Ejection { since, until, errors: 5, kind: TrafficFault::Status, times: 1 };
        assert_eq!(farm(&|s| s.ejected = Some(ejection)), (Serving::Primaries, vec![1]));
        assert_eq!(farm(&|s| s.held_until = Some(until)), (Serving::Primaries, vec![1]));
        for said in [
            AgentSays { health: Some(AgentHealth::Down), ..AgentSays::default() },
            AgentSays { admin: Some(AdminStatus::Drain), ..AgentSays::default() },
            AgentSays { weight: Some(AgentWeight::Percent(0)), ..AgentSays::default() },
        ] {
            assert_eq!(farm(&|s| s.agent = says(said.clone())), (Serving::Primaries, vec![1]), "{said:?}");
        }
        let up = AgentSays { health: Some(AgentHealth::Up), ..AgentSays::default() };
        assert_eq!(farm(&|s| s.agent = says(up.clone())), (Serving::Primaries, vec![0, 1]));
    }

    #[test]
    fn rotation_weighs_in_hundredths_and_keeps_small_numbers() {
        let mut farm = [5, 3, 2].map(|n| entry(n.into(), AdminStatus::Active, Health::Up, n, Role::Primary));
        let weights = |farm: &[ServerEntry]| {
            let rotation = Rotation::of(farm, FailOpen::Never, Generation(1));
            let whole: Vec<u16> = (0..farm.len()).map(|i| rotation.effective_weight(i)).collect();
            (rotation.eligible.iter().map(|e| e.weight).collect::<Vec<_>>(), rotation.unit, whole)
        };
        assert_eq!(weights(&farm), (vec![5, 3, 2], 100, vec![5, 3, 2]));
        farm[2].standing.warmup = Some(Warmup { since: Timestamp(1), until: Timestamp(9), percent: 10 });
        assert_eq!(weights(&farm), (vec![25, 15, 1], 20, vec![5, 3, 1]));
        assert_eq!(weights(&farm[..1]), (vec![1], 500, vec![5]));
    }

    #[test]
    fn rotation_fails_open_below_the_number_or_share_asked_for() {
        use Health::{Down, Stopping, Unknown, Up};
        let farm = |healths: &[Health]| -> Vec<ServerEntry> {
            let numbered = (1..).zip(healths);
            numbered.map(|(n, h)| entry(n, AdminStatus::Active, *h, 1, Role::Primary)).collect()
        };
        let four = |healths| serving(&farm(healths), FailOpen::Below(2));
        assert_eq!(four(&[Up, Up, Down, Down]), (Serving::Primaries, vec![0, 1]));
        assert_eq!(four(&[Up, Down, Stopping, Down]), (Serving::FailOpen, vec![0, 1, 2, 3]));
        assert_eq!(four(&[Up, Unknown, Unknown, Down]), (Serving::Primaries, vec![0]), "not known is not failed");
        assert_eq!(four(&[Up]), (Serving::Primaries, vec![0]), "nobody else is there");
        let half = |healths| serving(&farm(healths), FailOpen::BelowShare(50));
        assert_eq!(half(&[Up, Up, Down, Down]), (Serving::Primaries, vec![0, 1]));
        assert_eq!(half(&[Up, Down, Down]), (Serving::FailOpen, vec![0, 1, 2]));
        let mut with_backup = farm(&[Down, Down, Up]);
        with_backup[2] = entry(3, AdminStatus::Active, Up, 1, Role::Backup);
        assert_eq!(serving(&with_backup, FailOpen::Below(2)), (Serving::FailOpen, vec![0, 1, 2]));
    }

    #[test]
    fn rotation_that_an_incident_holds_is_the_one_before_and_says_so() {
        let mut farm = [1, 2, 3].map(|n| entry(n, AdminStatus::Active, Health::Up, 1, Role::Primary));
        for server in &mut farm[..2] {
            server.standing.health = Health::Down;
            server.held = Some(Health::Up);
        }
        assert_eq!(serving(&farm, FailOpen::Never), (Serving::Held, vec![0, 1, 2]));
        farm[0].held = None;
        farm[1].held = Some(Health::Unknown);
        assert_eq!(serving(&farm, FailOpen::Never), (Serving::Primaries, vec![2]));
    }

    fn any_entry() -> impl Strategy<Value = ServerEntry> {
        use AdminStatus::{Active, Drain, Maintenance};
        let admin = prop_oneof![3 => Just(Active), 1 => Just(Drain), 1 => Just(Maintenance)];
        let healths = [Health::Down, Health::Off, Health::Stopping, Health::Unknown, Health::Up];
        let role = prop_oneof![Just(Role::Primary), Just(Role::Backup)];
        let odd = (any::<bool>(), any::<bool>(), any::<bool>(), prop_oneof![Just(0u8), 1..100u8]);
        (admin, prop::sample::select(healths.to_vec()), 0..4u16, role, odd).prop_map(
            |(admin, health, weight, role, odd)| {
                let (is_held_down, is_resolved, is_held, percent) = odd;
                let mut server = entry(1, admin, health, weight, role);
                server.standing.held_until = is_held_down.then_some(Timestamp(9));
                server.addr = server.addr.filter(|_| is_resolved);
                server.held = is_held.then_some(Health::Up);
                let warm = Warmup { since: Timestamp(1), until: Timestamp(9), percent };
                server.standing.warmup = (percent > 0).then_some(warm);
                server
            },
        )
    }

    proptest! {
        #[test]
        fn rotation_of_anything_keeps_its_promises(
            servers in prop::collection::vec(any_entry(), 0..8),
            least in 1..5u16,
            share in 1..=100u8,
        ) {
            let closed = Rotation::of(&servers, FailOpen::Never, Generation(1));
            for fail_open in [FailOpen::Never, FailOpen::WhenAllDown, FailOpen::Below(least), FailOpen::BelowShare(share)] {
                let rotation = Rotation::of(&servers, fail_open, Generation(1));
                for eligible in &rotation.eligible {
                    let server = &servers[eligible.position as usize];
                    prop_assert!(server.server.admin == AdminStatus::Active && server.addr.is_some());
                    prop_assert!(eligible.weight > 0 && server.server.weight.0 > 0);
                    prop_assert_eq!(eligible.weight * rotation.unit, server.weight_hundredths());
                }
                if fail_open != FailOpen::Never && servers.iter().any(ServerEntry::is_willing) {
                    prop_assert!(!rotation.eligible.is_empty(), "{fail_open:?} leaves nobody");
                }
                prop_assert!(closed.eligible.iter().all(|e| rotation.holds(e.position as usize)), "{fail_open:?}");
                prop_assert_eq!(rotation.eligible.is_empty(), rotation.serving == Serving::Nobody);
            }
        }
    }
}
