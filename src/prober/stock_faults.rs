//! Faults of pingora-load-balancing 0.9.1 that were found by reading it, each shown there and absent here.
//!
//! Where a test shows the stock crate's fault and an update mends it, drop that half of the test.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora_load_balancing::discovery::ServiceDiscovery;
use pingora_load_balancing::health_check::{HealthCheck, HttpHealthCheck};
use pingora_load_balancing::selection::{BackendIter, BackendSelection, RoundRobin};
use pingora_load_balancing::{Backend, Backends, LoadBalancer};

use super::origins::{OK, Script, start};
use super::pingora_adapter::{ProbeCheck, Share, Shares, SmoothTurns, backend};
use crate::clock;
use crate::farm::{FarmTable, ServerEntry, ServerLive};
use crate::model::{
    BodyMatch, Epoch, Expect, Farm, FarmId, Generation, Health, HttpProbe, Name, Probe, ProbeKind, Progress, Protocol,
    Server, ServerAddr, ServerId, Standing, Weight,
};

const TIMEOUT: Duration = Duration::from_millis(300);

fn addr(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 80))
}

/// The same servers in the stock form (weight in the identity) and in ours (weight in the share).
fn both(weights: &[u16]) -> (BTreeSet<Backend>, BTreeSet<Backend>) {
    let stock = |(n, w): (u8, &u16)| Backend::new_with_weight(&addr(n).to_string(), usize::from(*w)).unwrap();
    let ours = |(n, w): (u8, &u16)| backend(addr(n), Share::new(ServerId(n.into()), Weight(*w)));
    ((1..).zip(weights).map(stock).collect(), (1..).zip(weights).map(ours).collect())
}

/// A discovery whose answer the test changes.
#[derive(Clone)]
struct Listed(Arc<Mutex<BTreeSet<Backend>>>);

#[async_trait]
impl ServiceDiscovery for Listed {
    async fn discover(&self) -> pingora::Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        Ok((self.0.lock().unwrap().clone(), HashMap::new()))
    }
}

async fn balancer<S>(list: BTreeSet<Backend>, check: Option<ProbeCheck>) -> (LoadBalancer<S>, Listed)
where
    S: BackendSelection<Config = ()> + Send + Sync + 'static,
    S::Iter: BackendIter,
{
    let listed = Listed(Arc::new(Mutex::new(list)));
    let mut balancer = LoadBalancer::from_backends(Backends::new(Box::new(listed.clone())));
    if let Some(check) = check {
        balancer.set_health_check(Box::new(check));
    }
    balancer.update().await.unwrap();
    (balancer, listed)
}

/// How often each of servers 1, 2, 3 is chosen of so many times while 1 is down.
fn shares_without_the_first<S>(balancer: &LoadBalancer<S>, many: usize) -> [usize; 3]
where
    S: BackendSelection + Send + Sync + 'static,
    S::Iter: BackendIter,
{
    let mut count = [0; 3];
    for _ in 0..many {
        let is_up = |backend: &Backend, _: bool| backend.addr.as_inet() != Some(&addr(1));
        let chosen = balancer.select_with(b"", 256, is_up).unwrap();
        let n = (1..=3).position(|n| chosen.addr.as_inet() == Some(&addr(n))).unwrap();
        count[n] += 1;
    }
    count
}

fn longest_run<S>(balancer: &LoadBalancer<S>) -> usize
where
    S: BackendSelection + Send + Sync + 'static,
    S::Iter: BackendIter,
{
    let order: Vec<Backend> = (0..300).map(|_| balancer.select(b"", 256).unwrap()).collect();
    order.chunk_by(|a, b| a.addr == b.addr).map(<[Backend]>::len).max().unwrap()
}

#[tokio::test]
async fn weights_do_not_make_bursts() {
    let (stock, ours) = both(&[100, 100, 100]);
    assert_eq!(longest_run(&balancer::<RoundRobin>(stock, None).await.0), 100);
    assert_eq!(longest_run(&balancer::<SmoothTurns>(ours, None).await.0), 1);
}

#[tokio::test]
async fn shares_stay_exact_when_a_server_is_down() {
    let (stock, ours) = both(&[10, 1, 1]);
    let [_, second, third] = shares_without_the_first(&balancer::<RoundRobin>(stock, None).await.0, 1200);
    assert!(second.abs_diff(third) > 120, "stock: {second} and {third}");
    assert_eq!(shares_without_the_first(&balancer::<SmoothTurns>(ours, None).await.0, 1200), [0, 600, 600]);
}

#[tokio::test]
async fn all_weights_zero_is_nobody_and_no_panic() {
    let (stock, ours) = both(&[0, 0]);
    let stock = balancer::<RoundRobin>(stock, None).await.0;
    assert!(catch_unwind(AssertUnwindSafe(|| stock.select(b"", 256))).is_err());
    let ours = balancer::<SmoothTurns>(ours, None).await.0;
    assert!(ours.select(b"", 256).is_none());
    assert!(balancer::<SmoothTurns>(BTreeSet::new(), None).await.0.select(b"", 256).is_none());
}

fn probe(body: Option<&str>) -> Arc<Probe> {
    let expect = Expect { body: body.map(|text| BodyMatch::Contains(text.into())), ..Expect::default() };
    let kind = ProbeKind::Http(HttpProbe { expect, ..HttpProbe::get("/") });
    Arc::new(Probe { interval: TIMEOUT, timeout: TIMEOUT, rise: 1, fall: 1, ..Probe::new(kind) })
}

fn table(server_addr: SocketAddr, servers: &[(u16, Health)]) -> FarmTable {
    let name = |text: &str| Name::parse(text).unwrap();
    let farm = Farm::new(FarmId(1), name("web"), Protocol::Http);
    let entries = (1..).zip(servers).map(|(n, (weight, health))| {
        let address: ServerAddr = server_addr.to_string().parse().unwrap();
        let server = Server { weight: Weight(*weight), ..Server::new(ServerId(n), name(&format!("s{n}")), address) };
        let standing = Standing::of(*health, Progress { have: 0, need: 1 });
        let (epoch, live) = (Epoch(1), ServerLive::new(1));
        ServerEntry::new(Arc::new(server), epoch, Some(server_addr.into()), standing, live)
    });
    FarmTable::new(Arc::new(farm), entries.collect(), Generation(1))
}

#[tokio::test]
async fn new_weight_does_not_bring_a_down_server_back() {
    let down = start(Script::Reply("HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n")).await;
    let stock = |weight| BTreeSet::from([Backend::new_with_weight(&down.to_string(), weight).unwrap()]);
    let (balancer_of_stock, list) = balancer::<RoundRobin>(stock(10), Some(ProbeCheck::new(probe(None)))).await;
    balancer_of_stock.backends().run_health_check(true).await;
    assert!(balancer_of_stock.select(b"", 256).is_none());
    *list.0.lock().unwrap() = stock(20);
    balancer_of_stock.update().await.unwrap();
    assert!(balancer_of_stock.select(b"", 256).is_some(), "stock: a new weight is a new, healthy server");

    let mut shares = Shares::default();
    let list = shares.backends(&table(down, &[(10, Health::Up)]));
    let (ours, listed) = balancer::<SmoothTurns>(list, Some(ProbeCheck::new(probe(None)))).await;
    ours.backends().run_health_check(true).await;
    *listed.0.lock().unwrap() = shares.backends(&table(down, &[(20, Health::Up)]));
    ours.update().await.unwrap();
    assert!(ours.select(b"", 256).is_none());
    let share = ours.backends().get_backend().first().unwrap().ext.get::<Arc<Share>>().unwrap().clone();
    assert_eq!(share.weight(), Weight(20));
}

#[tokio::test]
async fn server_without_a_verdict_takes_nothing_beside_one_that_is_up() {
    let (stock, _) = both(&[1]);
    assert!(balancer::<RoundRobin>(stock, None).await.0.select(b"", 256).is_some(), "stock: never checked, healthy");
    let backends = Shares::default().backends(&table(addr(1), &[(1, Health::Unknown), (1, Health::Up)]));
    let ids: Vec<u64> = backends.iter().map(|b| b.ext.get::<Arc<Share>>().unwrap().id().0).collect();
    assert_eq!(ids, [2]);
}

#[tokio::test]
async fn endless_and_dripping_bodies_hold_no_round_up() {
    let endless = start(Script::EndlessBody).await;
    let drip = start(Script::Drip(OK, Duration::from_millis(200))).await;
    let healthy = start(Script::Reply(OK)).await;

    let stock = HttpHealthCheck::new("origin.test", false);
    let target = Backend::new(&endless.to_string()).unwrap();
    let in_time = tokio::time::timeout(Duration::from_millis(1500), stock.check(&target)).await;
    assert!(in_time.is_err(), "stock: reads a body for as long as it comes");

    let shares = [(1, endless), (2, drip), (3, healthy)];
    let list = shares.map(|(n, addr)| backend(addr, Share::new(ServerId(n), Weight(1)))).into_iter().collect();
    let (ours, _) = balancer::<SmoothTurns>(list, Some(ProbeCheck::new(probe(Some("all ok"))))).await;
    let began: Instant = clock::monotonic();
    ours.backends().run_health_check(true).await;
    let took = clock::monotonic().duration_since(began);
    assert!(took < TIMEOUT + Duration::from_millis(700), "{took:?}");
    for _ in 0..6 {
        assert_eq!(ours.select(b"", 256).unwrap().addr.as_inet(), Some(&healthy));
    }
}
