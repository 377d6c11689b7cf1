//! Micro benches of the pure code. Each asks a question.
//!
//! `cargo bench --bench micro` as released (fat link), with `--profile quick` nearly as fast and linked in a fraction of
//! the time, with `-- choose` some of them. Seeds and sizes are fixed, input is built outside the loop, results are
//! consumed; one iteration is one operation. Compare medians of two runs one right after the other on one machine, no
//! others. Allocations are counted beside the times and must not occur in any `choose_*`, which a test of `farm::choose`
//! holds as well.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use divan::{AllocProfiler, Bencher, black_box};
use farmgate::balance::{LeastConn, Maglev, Rendezvous, Turns};
use farmgate::farm::{Choosers, FarmTable, Key, Rotation, ServerEntry, ServerLive, Tried};
use farmgate::health::{Machine, Rule};
use farmgate::metrics::WorkerIx;
use farmgate::model::{
    self, Action, Balance, Epoch, FailOpen, Farm, FarmId, Forward, Frontend, FrontendId, Generation, Health, Host,
    Name, ProbeStart, Progress, Protocol, Route, RouteId, Server, ServerAddr, ServerId, Standing, Subject, Test,
    Verdict, Weight,
};
use farmgate::routing::{Conversation, RouteTable};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

const SEED: u64 = 42;
/// Small, usual and largest farm that the targets speak of.
const SIZES: [usize; 3] = [3, 100, 1000];

fn main() {
    divan::main();
}

/// Weights of which no two are equal: the dearest case of round robin.
fn different(count: usize) -> Vec<u16> {
    (1..).take(count).collect()
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap_or_else(|error| unreachable!("{text}: {error}"))
}

fn entries(weights: &[u16]) -> Box<[ServerEntry]> {
    let farm = name("web");
    let entry = |(i, weight): (usize, &u16)| {
        let name = name(&format!("s{i}"));
        let address = ServerAddr { host: Host::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)), port: 80 };
        let addr = address.literal();
        let server = Server::new(ServerId::derive(&farm, &name), name, address);
        let server = Arc::new(Server { weight: Weight(*weight), ..server });
        let standing = Standing::of(Health::Up, Progress { have: 3, need: 3 });
        ServerEntry::new(server, Epoch(1), addr, standing, ServerLive::new(2))
    };
    weights.iter().enumerate().map(entry).collect()
}

fn table(balance: Balance, weights: &[u16]) -> FarmTable {
    let servers = entries(weights);
    let farm = Farm {
        balance,
        servers: servers.iter().map(|entry| Arc::clone(&entry.server)).collect(),
        ..Farm::new(FarmId::derive(&name("web")), name("web"), Protocol::Http)
    };
    FarmTable::new(Arc::new(farm), servers, Generation(1))
}

/// Chooses again and again, a different client each time, time standing still.
fn choose(bencher: Bencher<'_, '_>, balance: Balance, weights: &[u16]) {
    let table = table(balance, weights);
    let mut choosers = Choosers::new(WorkerIx(0), SEED);
    let tried = Tried::none();
    let mut client = 0u32;
    let mut once = || {
        client = client.wrapping_add(1);
        let key = Key { source: IpAddr::V4(Ipv4Addr::from_bits(client)), uri: Some(b"/images/logo.png?v=3") };
        choosers.choose(black_box(&table), black_box(key), &tried, 0)
    };
    // The first choice makes the chooser.
    black_box(once());
    bencher.bench_local(once);
}

/// Does a turn among servers of equal weight stay below 60 ns and free of allocations at 1,000?
#[divan::bench(args = SIZES, sample_size = 1000)]
fn choose_round_robin_equal(bencher: Bencher<'_, '_>, count: usize) {
    choose(bencher, Balance::RoundRobin, &vec![100; count]);
}

/// And among servers of which no two weigh the same?
#[divan::bench(args = SIZES, sample_size = 1000)]
fn choose_round_robin_different(bencher: Bencher<'_, '_>, count: usize) {
    choose(bencher, Balance::RoundRobin, &different(count));
}

/// Does finding the least loaded of idle equals (each pick moves one to the end) stay below 60 ns at 1,000?
#[divan::bench(args = SIZES, sample_size = 1000)]
fn choose_least_conn(bencher: Bencher<'_, '_>, count: usize) {
    choose(bencher, Balance::LeastConn, &vec![100; count]);
}

/// Is taking the first free of nanoseconds whatever the size?
#[divan::bench(args = SIZES, sample_size = 1000)]
fn choose_first(bencher: Bencher<'_, '_>, count: usize) {
    choose(bencher, Balance::First, &vec![100; count]);
}

/// Do two draws and a look at what the two carry stay below 60 ns at 1,000?
#[divan::bench(args = SIZES, sample_size = 1000)]
fn choose_random(bencher: Bencher<'_, '_>, count: usize) {
    choose(bencher, Balance::Random, &different(count));
}

/// And at how quick they are as well?
#[divan::bench(args = SIZES, sample_size = 1000)]
fn choose_ewma(bencher: Bencher<'_, '_>, count: usize) {
    choose(bencher, Balance::Ewma, &different(count));
}

/// Does a look into the table cost the same for any number, below 60 ns?
#[divan::bench(args = SIZES, sample_size = 1000)]
fn choose_maglev(bencher: Bencher<'_, '_>, count: usize) {
    choose(bencher, Balance::Maglev, &different(count));
}

/// What does a choice by the client's address cost a server? (It is O(n), by decision.)
#[divan::bench(args = SIZES, sample_size = 1000)]
fn choose_source(bencher: Bencher<'_, '_>, count: usize) {
    choose(bencher, Balance::Source, &vec![100; count]);
}

/// And by the path?
#[divan::bench(args = SIZES, sample_size = 1000)]
fn choose_uri(bencher: Bencher<'_, '_>, count: usize) {
    choose(bencher, Balance::Uri, &different(count));
}

/// What does one piece of work cost a least-work farm in all: choose, count its start and the end of an earlier one,
/// 64 under way, and every 10 ms of a clock that gains 1 ms in 100 a look at the other workers?
#[divan::bench(args = SIZES, sample_size = 1000)]
fn work_least_conn(bencher: Bencher<'_, '_>, count: usize) {
    let table = table(Balance::LeastConn, &vec![100; count]);
    let mut choosers = Choosers::new(WorkerIx(0), SEED);
    let tried = Tried::none();
    let key = Key { source: IpAddr::V4(Ipv4Addr::LOCALHOST), uri: None };
    let mut open = [0; 64];
    let requests = Cell::new(0usize);
    bencher.bench_local(|| {
        let n = requests.replace(requests.get() + 1);
        let chosen = choosers.choose(black_box(&table), key, &tried, n as u64 / 100).unwrap_or(0);
        choosers.started(&table, chosen);
        if n >= open.len() {
            let entry = &table.servers[open[n % open.len()]];
            choosers.ended(table.farm.id, entry.server.id, &entry.live);
        }
        open[n % open.len()] = chosen;
    });
}

/// What does a change of rotation cost each worker: are the turns of 1,000 servers made in less than 100 µs?
#[divan::bench(args = SIZES)]
fn build_turns(bencher: Bencher<'_, '_>, count: usize) {
    let weights: Vec<u32> = different(count).into_iter().map(u32::from).collect();
    bencher.bench_local(|| Turns::new(black_box(&weights), SEED));
}

/// Is a table for 1,000 servers made, once for all workers, in less than 10 ms?
#[divan::bench(args = SIZES)]
fn build_maglev(bencher: Bencher<'_, '_>, count: usize) {
    let servers: Vec<_> = (1..).map(ServerId).zip(different(count).into_iter().map(u32::from)).collect();
    bencher.bench_local(|| Maglev::new(black_box(&servers).iter().copied(), count));
}

/// And the ranking by least work?
#[divan::bench(args = SIZES)]
fn build_least_conn(bencher: Bencher<'_, '_>, count: usize) {
    let weights: Vec<u32> = different(count).into_iter().map(u32::from).collect();
    bencher.bench_local(|| LeastConn::new(black_box(&weights), SEED));
}

/// And the competition for keys: are 1,000 servers far below 20 ms?
#[divan::bench(args = SIZES)]
fn build_rendezvous(bencher: Bencher<'_, '_>, count: usize) {
    let servers: Vec<_> = (1..).map(ServerId).zip(different(count).into_iter().map(u32::from)).collect();
    bencher.bench_local(|| Rendezvous::new(black_box(&servers).iter().copied()));
}

/// Is the rotation of 1,000 servers, made at every change of one of them, made in less than 20 µs?
#[divan::bench(args = SIZES)]
fn build_rotation(bencher: Bencher<'_, '_>, count: usize) {
    let servers = entries(&different(count));
    bencher.bench_local(|| Rotation::of(black_box(&servers), FailOpen::Never, Generation(1)));
}

/// Is counting a check a matter of nanoseconds? (Two passes, then three failures, over and over.)
#[divan::bench]
fn record_check(bencher: Bencher<'_, '_>) {
    let mut machine = Machine::new(Rule { rise: 2, fall: 3 }, ProbeStart::Check);
    let verdicts = [Verdict::Passed, Verdict::Passed, Verdict::Failed, Verdict::Failed, Verdict::Failed];
    let mut next = verdicts.iter().cycle();
    bencher.bench_local(|| next.next().map(|verdict| machine.record(black_box(*verdict))));
}

/// Routes that each name a host, and one that looks at every connection's client.
fn host_routes(count: usize, test: impl Fn(usize) -> Test) -> RouteTable {
    let (web, to) = (name("web"), FarmId::derive(&name("other")));
    let route = |(text, rule): (String, model::Rule)| {
        let name = name(&text);
        let action = Action::Forward(Forward::to(to));
        Arc::new(Route { id: RouteId::derive(&web, &name), name, priority: 0, rules: Box::new([rule]), action })
    };
    let rule = |subject, test| model::Rule { subject, test, is_negated: false };
    let hosts = (0..count).map(|n| (format!("r{n}"), rule(Subject::Host, test(n))));
    let networks = Box::new([ipnet::IpNet::from(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)))]);
    let source = ("source".to_owned(), rule(Subject::Source, Test::Within(networks)));
    let routes = hosts.chain([source]).map(route).collect();
    RouteTable::new(&Frontend { routes, ..Frontend::new(FrontendId::derive(&web), web.clone(), Protocol::Tcp, to) })
}

/// Asks for one host after the other, the last of them declared by no route.
fn route_by(bencher: Bencher<'_, '_>, count: usize, table: &RouteTable) {
    let names: Vec<_> = (0..=count).map(|n| format!("h{n:03}.example.com")).collect();
    let client = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let views: Vec<_> = names.iter().map(|name| Conversation::<&[u8]>::tls(client, Some(name.as_str()), &[])).collect();
    let mut next = views.iter().cycle();
    bencher.bench_local(|| next.next().map(|view| table.decide(black_box(view), |_| 0).feed));
}

/// Is a decision no slower at 1,000 host routes than at 10, and free of allocations?
#[divan::bench(args = [10, 1000], sample_size = 1000)]
fn route_by_host(bencher: Bencher<'_, '_>, count: usize) {
    route_by(bencher, count, &host_routes(count, |n| Test::Is(format!("h{n:03}.example.com").into())));
}

/// And where they name the ends of hosts?
#[divan::bench(args = [10, 1000], sample_size = 1000)]
fn route_by_host_end(bencher: Bencher<'_, '_>, count: usize) {
    route_by(bencher, count, &host_routes(count, |n| Test::EndsWith(format!("{n:03}.example.com").into())));
}

/// What does a reload pay for compiling them?
#[divan::bench(args = [10, 1000])]
fn build_routes(bencher: Bencher<'_, '_>, count: usize) {
    bencher.bench_local(|| host_routes(black_box(count), |n| Test::Is(format!("h{n:03}.example.com").into())));
}
