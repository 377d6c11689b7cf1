//! What the file declares: a random topology, and random edits of it.

use std::sync::Arc;
use std::time::Duration;

use farmgate::model::{
    AdminStatus, Balance, DrainRule, FailOpen, Farm, FarmId, FlapGuard, Frontend, FrontendId, HttpProbe, IncidentGuard,
    InstanceId, Leftovers, ListenAddr, Name, Negate, Observe, Probe, ProbeKind, ProbeStart, Protocol, Role, Server,
    ServerId, ServerKey, Service, Topology, Weight,
};

use super::chance::Chance;

const FARMS_MAX: u64 = 3;
const SERVERS_MAX: u64 = 8;

pub(crate) fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(crate) fn service() -> Arc<Service> {
    Arc::new(Service {
        name: name("lb-sim"),
        addresses: Vec::new(),
        api_ports: 1024..=49151,
        api_files: Vec::new(),
        api_sockets: Vec::new(),
        instance_id: InstanceId(1),
        zone: name("local"),
    })
}

/// Returns every declared server with its farm.
pub(crate) fn servers(topology: &Topology) -> impl Iterator<Item = (ServerKey, &Arc<Farm>, &Arc<Server>)> {
    topology.farms.iter().flat_map(|farm| {
        farm.servers.iter().map(move |server| (ServerKey { farm: farm.id, server: server.id }, farm, server))
    })
}

/// Returns the first file of a simulation.
pub(crate) fn first(chance: &mut Chance) -> Topology {
    let farms = chance.between(1, FARMS_MAX);
    let farms = (0..farms).map(|n| Arc::new(farm(chance, n))).collect();
    with_frontends(farms)
}

/// Returns the file after an operator edited it.
pub(crate) fn edited(topology: &Topology, chance: &mut Chance) -> Topology {
    let mut farms: Vec<Farm> = topology.farms.iter().map(|farm| Farm::clone(farm)).collect();
    if chance.one_in(12) && farms.len() > 1 {
        farms.remove(usize::try_from(chance.below(farms.len() as u64)).unwrap());
    } else if chance.one_in(10) {
        let free = (0..FARMS_MAX).find(|n| farms.iter().all(|farm| farm.name != name(&format!("f{n}"))));
        farms.extend(free.map(|n| farm(chance, n)));
    }
    for _ in 0..chance.between(0, 3) {
        let at = usize::try_from(chance.below(farms.len() as u64)).unwrap();
        edit(&mut farms[at], chance);
    }
    with_frontends(farms.into_iter().map(Arc::new).collect())
}

fn edit(farm: &mut Farm, chance: &mut Chance) {
    match chance.below(16) {
        0 => farm.observe = observe(chance),
        1 => farm.flap = flap(chance),
        2 => farm.incident = incident(chance),
        3 => farm.slow_start = slow_start(chance),
        4 => farm.drain = drain(chance),
        5 => farm.fail_open = fail_open(chance),
        6 => farm.quorum = quorum(chance),
        7 => farm.probes = probes(chance),
        8 => farm.shadow = shadow(chance),
        9 | 10 => add_or_remove(farm, chance),
        11 => farm.balance = balance(chance),
        12 => farm.probes = farm.probes.iter().map(|probe| Arc::new(retuned(probe, chance))).collect(),
        _ => {
            let at = usize::try_from(chance.below(farm.servers.len() as u64)).unwrap();
            if let Some(server) = farm.servers.get(at).map(|server| Server::clone(server)) {
                farm.servers[at] = Arc::new(edited_server(server, chance));
            }
        }
    }
}

fn add_or_remove(farm: &mut Farm, chance: &mut Chance) {
    if chance.one_in(2) && !farm.servers.is_empty() {
        farm.servers.remove(usize::try_from(chance.below(farm.servers.len() as u64)).unwrap());
        return;
    }
    let n = chance.below(SERVERS_MAX);
    let fresh = server(farm, n, chance);
    if farm.servers.iter().all(|other| other.id != fresh.id) {
        farm.servers.push(Arc::new(fresh));
    }
}

fn edited_server(server: Server, chance: &mut Chance) -> Server {
    match chance.below(5) {
        0 => Server { weight: weight(chance), ..server },
        1 => Server { admin: admin(chance), ..server },
        2 => Server { role: role(chance), ..server },
        3 => Server { probed: !server.probed, ..server },
        _ => {
            let address = format!("10.8.{}.{}:80", chance.below(3), chance.between(1, 9)).parse().unwrap();
            Server { address, ..server }
        }
    }
}

fn retuned(probe: &Probe, chance: &mut Chance) -> Probe {
    let rise = u16::try_from(chance.between(1, 3)).unwrap();
    let interval = probe.interval + ms(chance.below(2) * 300);
    Probe { rise, fall: 4 - rise, interval, ..probe.clone() }
}

fn with_frontends(farms: Vec<Arc<Farm>>) -> Topology {
    let frontend = |farm: &Arc<Farm>| {
        Arc::new(Frontend {
            listen: vec![ListenAddr::parse("127.0.0.1:80").unwrap()],
            ..Frontend::new(FrontendId::derive(&farm.name), farm.name.clone(), farm.protocol, farm.id)
        })
    };
    Topology { service: service(), frontends: farms.iter().map(frontend).collect(), farms, made: Arc::default() }
}

fn farm(chance: &mut Chance, n: u64) -> Farm {
    let name = name(&format!("f{n}"));
    let mut farm = Farm {
        balance: balance(chance),
        probes: probes(chance),
        quorum: quorum(chance),
        shadow: shadow(chance),
        observe: observe(chance),
        slow_start: slow_start(chance),
        flap: flap(chance),
        incident: incident(chance),
        on_down: leftovers(chance),
        drain: drain(chance),
        reserve: chance.any([0, 0, 50, 100]),
        retry_attempts: 1,
        fail_open: fail_open(chance),
        ..Farm::new(FarmId::derive(&name), name, Protocol::Http)
    };
    for n in 0..chance.any([1, 2, 3, 3, 4, 4, SERVERS_MAX]) {
        let server = server(&farm, n, chance);
        farm.servers.push(Arc::new(server));
    }
    farm
}

/// Returns a server; one in ten is declared by a name that must be resolved first.
fn server(farm: &Farm, n: u64, chance: &mut Chance) -> Server {
    let name = name(&format!("s{n}"));
    let id = ServerId::derive(&farm.name, &name);
    let farm = farm.name.as_str().trim_start_matches('f');
    let host = if chance.one_in(10) { format!("s{n}.f{farm}.example") } else { format!("10.{farm}.0.{n}") };
    let server = Server::new(id, name, format!("{host}:80").parse().unwrap());
    let probed = !chance.one_in(20);
    Server { weight: weight(chance), admin: admin(chance), role: role(chance), probed, ..server }
}

fn probes(chance: &mut Chance) -> Box<[Arc<Probe>]> {
    let count = chance.any([0, 1, 1, 1, 1, 1, 1, 2, 2, 3]);
    let mut probes: Vec<_> = (0..count).map(|n| Arc::new(probe(chance, n))).collect();
    if chance.one_in(5) {
        let agent = Probe { name: name("agent"), kind: ProbeKind::Agent { send: "".into() }, ..probe(chance, 9) };
        probes.insert(usize::try_from(chance.below(count + 1)).unwrap(), Arc::new(agent));
    }
    probes.into()
}

fn probe(chance: &mut Chance, n: u64) -> Probe {
    let interval = ms(chance.any([500, 800, 1000, 1500, 2000]));
    let fast = chance.one_in(3).then(|| interval / 2);
    let timeout = fast.unwrap_or(interval).mul_f64(chance.any([0.2, 0.5, 1.0]));
    let kind = match chance.below(3) {
        0 => ProbeKind::Tcp { banner: None, negate: Negate::AsWritten },
        _ => ProbeKind::Http(HttpProbe::get("/")),
    };
    Probe {
        name: name(&format!("p{n}")),
        interval,
        fast_interval: fast,
        down_interval: chance.one_in(3).then(|| interval * 2),
        timeout,
        rise: chance.any([1, 2, 2, 3]),
        fall: chance.any([1, 2, 2, 3]),
        start: chance.any([ProbeStart::Check, ProbeStart::Check, ProbeStart::Down, ProbeStart::Up]),
        ..Probe::new(kind)
    }
}

fn shadow(chance: &mut Chance) -> Option<Arc<Probe>> {
    chance.one_in(6).then(|| Arc::new(probe(chance, 8)))
}

fn quorum(chance: &mut Chance) -> Option<u8> {
    chance.any([None, Some(1), Some(2)])
}

fn observe(chance: &mut Chance) -> Option<Observe> {
    let eject = ms(chance.any([500, 1000, 2000]));
    let share_max = chance.any([30, 50, 100]);
    let observe =
        Observe { errors: 2, connect: true, status: true, response: true, eject, eject_max: eject * 4, share_max };
    chance.one_in(2).then_some(observe)
}

fn flap(chance: &mut Chance) -> Option<FlapGuard> {
    let transitions = chance.any([2, 3, 4]);
    chance.one_in(2).then(|| FlapGuard { transitions, within: ms(8000), hold: ms(2500) })
}

fn incident(chance: &mut Chance) -> Option<IncidentGuard> {
    let (share, hold) = (chance.any([30, 50, 60]), ms(chance.any([1500, 3000, 6000])));
    (!chance.one_in(3)).then_some(IncidentGuard { share, hold })
}

fn slow_start(chance: &mut Chance) -> Duration {
    ms(chance.any([0, 0, 1000, 4000]))
}

fn leftovers(chance: &mut Chance) -> Leftovers {
    chance.any([Leftovers::Close, Leftovers::Keep])
}

fn drain(chance: &mut Chance) -> DrainRule {
    let deadline = chance.any([None, Some(ms(700)), Some(ms(3000))]);
    DrainRule { deadline, at_deadline: leftovers(chance) }
}

fn fail_open(chance: &mut Chance) -> FailOpen {
    chance.any([FailOpen::Never, FailOpen::Never, FailOpen::WhenAllDown, FailOpen::Below(2), FailOpen::BelowShare(40)])
}

fn balance(chance: &mut Chance) -> Balance {
    chance.any([Balance::RoundRobin, Balance::LeastConn, Balance::First, Balance::Source, Balance::Uri])
}

fn weight(chance: &mut Chance) -> Weight {
    Weight(chance.any([0, 1, 1, 1, 1, 2, 5, 100]))
}

fn role(chance: &mut Chance) -> Role {
    chance.any([Role::Primary, Role::Primary, Role::Primary, Role::Backup])
}

fn admin(chance: &mut Chance) -> AdminStatus {
    use AdminStatus::{Active, Drain, Maintenance};
    chance.any([Active, Active, Active, Active, Active, Active, Active, Active, Drain, Maintenance])
}
