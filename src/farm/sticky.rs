//! How a client is brought back to the server it had: by a sealed cookie ([`seal`]) or by its address ([`source`]).
//! Pure: keys and time are handed in. Sticky work takes nobody's turn: the algorithms of `balance` are asked only where
//! there is no server to go back to.

pub mod seal;
pub mod source;

pub use seal::{Seals, StickyKey, presented};
pub use source::Sources;

use crate::model::{AdminStatus, Health};

use super::entry::ServerEntry;

/// Returns whether a client that had this server may go back to it. Drain and weight 0 keep their clients, as do
/// checks that pass on condition; maintenance, a server that is down, ejected or held down, and one without address
/// do not.
#[must_use]
pub fn takes_sticky(entry: &ServerEntry) -> bool {
    let standing = &entry.standing;
    let is_wanted = match standing.admin_with_agent(entry.server.admin) {
        AdminStatus::Active | AdminStatus::Drain => true,
        AdminStatus::Maintenance => false,
    };
    let is_able = match standing.health {
        Health::Off | Health::Stopping | Health::Unknown | Health::Up => true,
        Health::Down => false,
    };
    is_wanted && is_able && standing.ejected.is_none() && standing.held_until.is_none() && entry.addr.is_some()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::farm::ServerLive;
    use crate::model::{Epoch, Name, Progress, Server, ServerId, Standing, Timestamp, Weight};

    fn entry(admin: AdminStatus, health: Health) -> ServerEntry {
        let address: crate::model::ServerAddr = "127.0.0.1:80".parse().unwrap();
        let server = Server { admin, ..Server::new(ServerId(1), Name::parse("a").unwrap(), address.clone()) };
        ServerEntry {
            server: Arc::new(server),
            epoch: Epoch(1),
            addr: address.literal(),
            standing: Standing::of(health, Progress { have: 0, need: 1 }),
            live: ServerLive::new(1),
        }
    }

    #[test]
    fn clients_go_back_unless_their_server_is_out() {
        use AdminStatus::{Active, Drain, Maintenance};
        for (admin, health, want) in [
            (Active, Health::Up, true),
            (Active, Health::Off, true),
            (Active, Health::Unknown, true),
            (Active, Health::Stopping, true),
            (Active, Health::Down, false),
            (Drain, Health::Up, true),
            (Drain, Health::Down, false),
            (Maintenance, Health::Up, false),
        ] {
            assert_eq!(takes_sticky(&entry(admin, health)), want, "{admin:?} {health:?}");
        }
    }

    #[test]
    fn server_of_weight_zero_keeps_its_clients_and_one_held_down_or_without_address_does_not() {
        let mut server = entry(AdminStatus::Active, Health::Up);
        server.server = Arc::new(Server { weight: Weight(0), ..(*server.server).clone() });
        assert!(takes_sticky(&server));
        server.standing.held_until = Some(Timestamp(1));
        assert!(!takes_sticky(&server));
        server.standing.held_until = None;
        server.addr = None;
        assert!(!takes_sticky(&server));
    }
}
