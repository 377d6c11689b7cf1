//! Servers and the network to them, scripted under virtual time: what a check finds, and what becomes of work.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use farmgate::model::{AdminStatus, AgentHealth, AgentSays, AgentWeight, CheckStatus, Probe, TrafficFault, Weight};

use super::chance::Chance;

/// How a server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// It answers as it should, on condition that nobody new comes.
    Conditional,
    /// It accepts and sends byte by byte, never a whole reply.
    Dripping,
    /// It is well and ill in turns of so many microseconds.
    Flapping(u64),
    /// It refuses connections.
    Refusing,
    /// It answers 503.
    Sick,
    /// It answers just before the deadline.
    Slow,
    /// It answers.
    Up,
}

/// What one check found.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: CheckStatus,
    pub(crate) code: Option<u16>,
    pub(crate) took: Duration,
    pub(crate) agent: Option<Arc<AgentSays>>,
}

/// See the module's doc.
#[derive(Debug, Default)]
pub(crate) struct Network {
    behaviours: BTreeMap<IpAddr, Behaviour>,
    /// Those that no packet comes to.
    cut_off: BTreeSet<IpAddr>,
    /// The balancer's own sockets fail.
    is_own_fault: bool,
}

impl Network {
    /// Something happens to the network or to a few of these servers.
    pub(crate) fn happens(&mut self, ips: &[IpAddr], chance: &mut Chance) -> String {
        self.is_own_fault = chance.one_in(12);
        match chance.below(8) {
            0 => self.cut_off.extend(ips.iter().filter(|_| !chance.one_in(4))),
            1 | 2 => self.cut_off.clear(),
            3 => {
                self.behaviours.clear();
                self.cut_off.clear();
            }
            _ => {
                for _ in 0..chance.between(1, 3) {
                    let behaviour = any_behaviour(chance);
                    if let Some(ip) = chance.pick(ips) {
                        self.behaviours.insert(*ip, behaviour);
                    }
                }
            }
        }
        format!("{:?}, cut off {:?}, own fault {}", self.behaviours, self.cut_off, self.is_own_fault)
    }

    fn behaviour(&self, ip: IpAddr, mono: u64) -> Behaviour {
        match self.behaviours.get(&ip).copied().unwrap_or(Behaviour::Up) {
            Behaviour::Flapping(turn) if (mono / turn).is_multiple_of(2) => Behaviour::Sick,
            Behaviour::Flapping(_) => Behaviour::Up,
            other @ (Behaviour::Conditional
            | Behaviour::Dripping
            | Behaviour::Refusing
            | Behaviour::Sick
            | Behaviour::Slow
            | Behaviour::Up) => other,
        }
    }

    /// Returns what a check of that server finds that begins now.
    pub(crate) fn check(&self, ip: IpAddr, probe: &Probe, mono: u64, chance: &mut Chance) -> Answer {
        let quick = Duration::from_micros(chance.between(200, 20_000)).min(probe.timeout);
        let plain = |status, took| Answer { status, code: None, took, agent: None };
        if self.is_own_fault {
            return plain(CheckStatus::SockErr, quick);
        }
        if probe.kind.is_agent() {
            let is_reached = !self.cut_off.contains(&ip) && self.behaviour(ip, mono) != Behaviour::Refusing;
            let agent = (is_reached && chance.one_in(3)).then(|| Arc::new(advice(chance)));
            return Answer { agent, ..plain(CheckStatus::Checked, quick) };
        }
        if self.cut_off.contains(&ip) {
            return plain(CheckStatus::L4Tout, probe.timeout);
        }
        match self.behaviour(ip, mono) {
            Behaviour::Conditional => plain(CheckStatus::L7Okc, quick),
            Behaviour::Dripping => plain(CheckStatus::L7Tout, probe.timeout),
            Behaviour::Refusing => plain(CheckStatus::L4Con, quick),
            Behaviour::Sick => Answer { code: Some(503), ..plain(CheckStatus::L7Sts, quick) },
            Behaviour::Slow => plain(CheckStatus::L7Ok, probe.timeout.mul_f64(0.99)),
            Behaviour::Flapping(_) | Behaviour::Up => plain(CheckStatus::L7Ok, quick),
        }
    }

    /// Returns what goes wrong with work given to that server, if anything does.
    pub(crate) fn work(&self, ip: IpAddr, mono: u64) -> Option<TrafficFault> {
        if self.is_own_fault || self.cut_off.contains(&ip) {
            return Some(TrafficFault::Connect);
        }
        match self.behaviour(ip, mono) {
            Behaviour::Dripping => Some(TrafficFault::Response),
            Behaviour::Refusing => Some(TrafficFault::Connect),
            Behaviour::Sick => Some(TrafficFault::Status),
            Behaviour::Conditional | Behaviour::Flapping(_) | Behaviour::Slow | Behaviour::Up => None,
        }
    }
}

fn any_behaviour(chance: &mut Chance) -> Behaviour {
    use Behaviour::{Conditional, Dripping, Flapping, Refusing, Sick, Slow, Up};
    let turn = chance.any([700_000, 1_500_000, 4_000_000]);
    chance.any([Up, Up, Conditional, Dripping, Refusing, Refusing, Sick, Sick, Slow, Flapping(turn), Flapping(turn)])
}

/// One line of an agent.
fn advice(chance: &mut Chance) -> AgentSays {
    use AdminStatus::{Active, Drain, Maintenance};
    let none = AgentSays::default();
    match chance.below(9) {
        0 => AgentSays { health: Some(AgentHealth::Down), reason: Some("sim".into()), ..none },
        1 => AgentSays { admin: Some(chance.any([Drain, Maintenance])), ..none },
        2 => AgentSays { weight: Some(AgentWeight::Percent(chance.any([0, 20, 100]))), ..none },
        3 => AgentSays { weight: Some(AgentWeight::Weight(Weight(7))), ..none },
        _ => AgentSays {
            admin: Some(Active),
            health: Some(AgentHealth::Up),
            weight: Some(AgentWeight::Percent(100)),
            ..none
        },
    }
}
