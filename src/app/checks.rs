//! The Store as the prober sees it: targets out of the table, records into the machine.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::clock;
use crate::farm::ServerEntry;
use crate::model::{Checked, Epoch, Farm, Paced, Probe, ProbeSlot, ServerKey};
use crate::prober::{CheckSource, Target};
use crate::store::Store;

use super::own::AdminPlace;

/// See the module's doc.
pub(super) struct StoreChecks {
    pub(super) store: Arc<Store>,
    /// Where no server may be.
    pub(super) own: AdminPlace,
}

impl CheckSource for StoreChecks {
    /// One target for every probe of every server that is checked; one without a probe for every other, so that its
    /// name is resolved.
    fn targets(&self) -> Vec<Target> {
        let table = self.store.load();
        let mut targets = Vec::new();
        for farm in &table.farms {
            for entry in &farm.servers {
                push_targets(&farm.farm, entry, &mut targets);
            }
        }
        targets
    }

    fn records(&self, checked: Vec<Checked>) -> Vec<Paced> {
        self.store.observe(checked)
    }

    fn resolved(&self, server: ServerKey, epoch: Epoch, addr: Option<SocketAddr>) {
        let addr = addr.filter(|addr| !self.is_own(server, *addr));
        if addr.is_none() {
            self.tell_of_failure(server);
        }
        self.store.resolved(server, epoch, addr, clock::wall());
    }

    fn first_round_done(&self) {
        tracing::info!("first round of checks done");
        self.store.first_round_done();
    }
}

fn push_targets(farm: &Farm, entry: &ServerEntry, targets: &mut Vec<Target>) {
    let target = |slot: ProbeSlot, probe: Option<Arc<Probe>>| Target {
        key: ServerKey { farm: farm.id, server: entry.server.id },
        slot,
        epoch: entry.epoch,
        address: entry.server.address.clone(),
        addr: entry.addr.clone(),
        probe,
    };
    let before = targets.len();
    if entry.server.probed {
        let aimed = |(slot, probe): (ProbeSlot, &Arc<Probe>)| target(slot, Some(probe.aimed(&entry.server.aim)));
        targets.extend(farm.probes_with_slots().map(aimed));
    }
    if targets.len() == before {
        targets.push(target(ProbeSlot::FIRST, None));
    }
}

impl StoreChecks {
    /// A name that leads to the admin side leads nowhere.
    fn is_own(&self, key: ServerKey, addr: SocketAddr) -> bool {
        let is_own = self.own.is(addr) || self.is_checked_there(key, addr);
        if is_own {
            let (farm, server) = (key.farm.0, key.server.0);
            tracing::error!(farm, server, %addr, "name of server leads to the admin side: not used");
        }
        is_own
    }

    fn is_checked_there(&self, key: ServerKey, addr: SocketAddr) -> bool {
        let table = self.store.load();
        let Some(farm) = table.farm(key.farm) else { return false };
        let server = farm.position(key.server).map(|position| &farm.servers[position].server);
        server.is_some_and(|server| self.own.checked(&farm.farm, server, Some(addr.ip())).is_some())
    }

    /// Says, in the operator's names, that the name of a server has no address. One that has left needs none.
    fn tell_of_failure(&self, key: ServerKey) {
        let table = self.store.load();
        let Some(farm) = table.farm(key.farm) else { return };
        let Some(entry) = farm.position(key.server).map(|position| &farm.servers[position]) else { return };
        let (server, address) = (&entry.server.name, &entry.server.address);
        tracing::warn!(farm = %farm.farm.name, %server, %address, "name of server not resolved");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::farm::ServerLive;
    use crate::model::{
        Aim, Encryption, FarmId, Health, HttpProbe, Name, ProbeKind, Progress, Protocol, ProxyHeader, Server,
        ServerAddr, ServerId, Standing, Verify,
    };

    fn targets(farm: &Farm, server: Server) -> Vec<Target> {
        let standing = Standing::of(Health::Unknown, Progress { have: 0, need: 1 });
        let (epoch, addr, live) = (Epoch(3), server.address.literal(), ServerLive::new(1));
        let mut targets = Vec::new();
        push_targets(farm, &ServerEntry::new(Arc::new(server), epoch, addr, standing, live), &mut targets);
        targets
    }

    fn server() -> Server {
        let address: ServerAddr = "10.0.0.1:80".parse().unwrap();
        Server::new(ServerId(1), Name::parse("a").unwrap(), address)
    }

    #[test]
    fn server_is_a_target_of_every_probe_and_of_the_shadow() {
        let probe = |path| Arc::new(Probe::new(ProbeKind::Http(HttpProbe::get(path))));
        let mut farm = Farm::new(FarmId(1), Name::parse("web").unwrap(), Protocol::Http);
        farm.probes = [probe("/a"), probe("/b")].into();
        farm.shadow = Some(probe("/c"));
        let all = targets(&farm, server());
        let slots: Vec<ProbeSlot> = all.iter().map(|target| target.slot).collect();
        assert_eq!(slots, [ProbeSlot(0), ProbeSlot(1), ProbeSlot::SHADOW]);
        assert!(Arc::ptr_eq(all[1].probe.as_ref().unwrap(), &farm.probes[1]), "no copy where nothing differs");
        assert_eq!((all[0].epoch, &all[0].addr), (Epoch(3), &"10.0.0.1:80".parse::<ServerAddr>().unwrap().literal()));

        let aim = Aim { port: Some(9000), ..Aim::default() };
        let aimed = targets(&farm, Server { aim, ..server() });
        assert!(aimed.iter().all(|target| target.probe.as_ref().unwrap().aim.port == Some(9000)));
    }

    #[test]
    fn agent_is_asked_where_it_is_whatever_the_server_says_of_its_checks() {
        let probe = |kind, aim| Arc::new(Probe { aim, ..Probe::new(kind) });
        let web = probe(ProbeKind::Http(HttpProbe::get("/a")), Aim::default());
        let agent = ProbeKind::Agent { send: "".into() };
        let agent = probe(agent, Aim { port: Some(9707), ..Aim::default() });
        let mut farm = Farm::new(FarmId(1), Name::parse("web").unwrap(), Protocol::Http);
        farm.probes = [web, agent].into();
        let (port, host, sni) = (Some(8443), Some("www.example.com".into()), Some("www.example.com".into()));
        let (tls, verify, proxy) = (Some(Encryption::Tls), Some(Verify::Off), Some(ProxyHeader::V1));
        let words = Aim { port, host, sni, tls, verify, proxy, ..Aim::default() };
        let aims = |aim| {
            let all = targets(&farm, Server { aim, ..server() });
            [0, 1].map(|n: usize| all[n].probe.as_ref().unwrap().aim.clone())
        };
        let [of_web, of_agent] = aims(words.clone());
        assert_eq!((of_web, of_agent), (words.clone(), Aim { port: Some(9707), ..Aim::default() }));
        let all = targets(&farm, Server { aim: words.clone(), ..server() });
        assert!(Arc::ptr_eq(all[1].probe.as_ref().unwrap(), &farm.probes[1]), "no copy where nothing differs");
        let (address, source) = (Some("10.0.0.9".parse().unwrap()), Some("10.0.0.1".parse().unwrap()));
        let [_, of_agent] = aims(Aim { address, source, ..words });
        assert_eq!(of_agent, Aim { port: Some(9707), address, source, ..Aim::default() });
    }

    #[test]
    fn server_that_is_not_checked_is_still_a_name_to_resolve() {
        let mut farm = Farm::new(FarmId(1), Name::parse("web").unwrap(), Protocol::Http);
        let no_probe = |all: &[Target]| all.len() == 1 && all[0].probe.is_none() && all[0].slot == ProbeSlot::FIRST;
        assert!(no_probe(&targets(&farm, server())));
        farm.probes = [Arc::new(Probe::new(ProbeKind::Tls))].into();
        assert!(no_probe(&targets(&farm, Server { probed: false, ..server() })));
    }
}
