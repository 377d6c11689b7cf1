//! The loop against scripted origins and against a scripted world outside.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::super::Target;
use super::super::origins::{OK, Script, start};
use super::*;
use crate::model::{Aim, FarmId, HttpProbe, Pace, Paced, ProbeKind, ServerId};

const PATIENCE: Duration = Duration::from_secs(20);

/// A source that remembers what it was told.
#[derive(Default)]
struct Source {
    targets: Mutex<Vec<Target>>,
    records: Mutex<Vec<(u64, CheckRecord, Instant)>>,
    resolved: Mutex<Vec<(u64, Option<SocketAddr>)>>,
    is_first_round_done: AtomicBool,
    adopts: AtomicBool,
    /// What it says of the pace, by the status of the record.
    pace: Option<fn(&CheckRecord) -> Pace>,
    next_at: Mutex<Vec<Timestamp>>,
}

impl CheckSource for Source {
    fn targets(&self) -> Vec<Target> {
        self.targets.lock().unwrap().clone()
    }

    fn records(&self, checked: Vec<Checked>) -> Vec<Paced> {
        let mut paced = Vec::new();
        for Checked { server, slot, record, next_at, .. } in checked {
            self.records.lock().unwrap().push((server.server.0, CheckRecord::clone(&record), clock::monotonic()));
            self.next_at.lock().unwrap().push(next_at);
            paced.extend(self.pace.map(|pace| Paced { server, slot, pace: pace(&record) }));
        }
        paced
    }

    fn resolved(&self, server: ServerKey, _epoch: Epoch, addr: Option<SocketAddr>) {
        self.resolved.lock().unwrap().push((server.server.0, addr));
        if self.adopts.load(Ordering::Relaxed) && addr.is_some() {
            let mut targets = self.targets.lock().unwrap();
            targets.iter_mut().filter(|t| t.key == server).for_each(|t| t.addr = addr.map(PeerAddr::Ip));
        }
    }

    fn first_round_done(&self) {
        assert!(!self.is_first_round_done.swap(true, Ordering::Relaxed), "told twice");
    }
}

impl Source {
    fn checks_of(&self, n: u64) -> usize {
        self.records.lock().unwrap().iter().filter(|(server, _, _)| *server == n).count()
    }

    fn is_first_round_done(&self) -> bool {
        self.is_first_round_done.load(Ordering::Relaxed)
    }
}

fn http_probe(interval_ms: u64, timeout_ms: u64) -> Option<Arc<Probe>> {
    let kind = ProbeKind::Http(HttpProbe::get("/"));
    let (interval, timeout) = (Duration::from_millis(interval_ms), Duration::from_millis(timeout_ms));
    Some(Arc::new(Probe { interval, timeout, rise: 1, fall: 1, ..Probe::new(kind) }))
}

fn target(n: u64, address: &str, probe: Option<Arc<Probe>>) -> Target {
    let address: ServerAddr = address.parse().unwrap();
    let key = ServerKey { farm: FarmId(1), server: ServerId(n) };
    Target { key, slot: ProbeSlot::FIRST, epoch: Epoch(1), addr: address.literal(), address, probe }
}

/// A running prober; ends with the test.
struct Run {
    source: Arc<Source>,
    changed: watch::Sender<u64>,
    shutdown: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Run {
    fn start(source: Source, net: impl Net, at_once: usize) -> Self {
        let source = Arc::new(source);
        let (changed, changes) = watch::channel(0);
        let (shutdown, down) = watch::channel(false);
        let rounds = Rounds::new(source.clone(), net, at_once, 42);
        Self { task: tokio::spawn(rounds.run(changes, down)), source, changed, shutdown }
    }

    fn of(targets: Vec<Target>, net: impl Net, at_once: usize) -> Self {
        let source = Source { targets: Mutex::new(targets), ..Source::default() };
        source.adopts.store(true, Ordering::Relaxed);
        Self::start(source, net, at_once)
    }

    fn change(&self, targets: Vec<Target>) {
        *self.source.targets.lock().unwrap() = targets;
        self.changed.send_modify(|n| *n += 1);
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Source) -> bool) {
        let wait = async {
            while !is_so(&self.source) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
    }

    async fn end(self) -> Arc<Source> {
        self.shutdown.send(true).unwrap();
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap();
        self.source
    }
}

/// A world where checks do what `checks` says of an address and names resolve to what `lookups` says.
struct Scripted<C, L> {
    checks: C,
    lookups: L,
}

impl<C, L> Net for Scripted<C, L>
where
    C: Fn(SocketAddr) -> CheckRecord + Clone + Send + Sync + 'static,
    L: Fn(&str) -> Vec<IpAddr> + Send + Sync + 'static,
{
    fn is_for_lane(&self, _: &Aimed) -> bool {
        false
    }

    fn check(&self, aimed: Aimed) -> impl Future<Output = CheckRecord> + Send + 'static {
        let checks = self.checks.clone();
        async move {
            tokio::task::yield_now().await;
            checks(aimed.addr.ip().unwrap())
        }
    }

    fn look_up(&self, name: Box<str>) -> impl Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static {
        let answer = (self.lookups)(&name);
        async move { if answer.is_empty() { Err(io::Error::other("no such name")) } else { Ok(answer) } }
    }
}

fn passed(_: SocketAddr) -> CheckRecord {
    let content = Content::from_text("OK");
    CheckRecord::new(CheckStatus::L7Ok, Some(200), content, clock::wall(), Duration::ZERO)
}

fn no_names(_: &str) -> Vec<IpAddr> {
    Vec::new()
}

#[tokio::test]
async fn fifty_dripping_servers_do_not_delay_a_healthy_one() {
    let drip = start(Script::Drip(OK, Duration::from_secs(1))).await;
    let healthy = start(Script::Reply(OK)).await;
    // Each asks for a path of its own: what is asked alike is asked once.
    let path = |n: u64| Probe {
        kind: ProbeKind::Http(HttpProbe::get(&format!("/{n}"))),
        ..Probe::clone(&http_probe(400, 400).unwrap())
    };
    let mut targets: Vec<_> = (1..=50).map(|n| target(n, &drip.to_string(), Some(Arc::new(path(n))))).collect();
    targets.push(target(0, &healthy.to_string(), http_probe(200, 200)));
    let run = Run::of(targets, System::default(), 64);
    run.until("10 checks of the healthy server", |source| source.checks_of(0) >= 10).await;
    let source = run.end().await;
    let records = source.records.lock().unwrap();
    let mut last = None;
    for (n, record, at) in records.iter() {
        if *n == 0 {
            assert_eq!(record.status, CheckStatus::L7Ok);
            let gap = last.map_or(Duration::ZERO, |last| at.duration_since(last));
            assert!(gap < Duration::from_millis(220 + 250), "the healthy server waited {gap:?}");
            last = Some(*at);
        } else {
            assert_eq!(record.status, CheckStatus::L7Tout);
            assert!(record.duration < Duration::from_millis(400 + 250), "{record:?}");
        }
    }
    assert!((1..=50).all(|n| records.iter().any(|(of, _, _)| *of == n)));
}

#[tokio::test]
async fn check_that_panics_is_a_failed_check_and_no_more() {
    let bad: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let checks = move |addr| if addr == bad { panic!("made to") } else { passed(addr) };
    let net = Scripted { checks, lookups: no_names };
    let probe = http_probe(20, 20);
    let run = Run::of(vec![target(1, "127.0.0.1:1", probe.clone()), target(2, "127.0.0.1:2", probe)], net, 8);
    run.until("both checked again", |source| source.checks_of(1) >= 3 && source.checks_of(2) >= 3).await;
    let source = run.end().await;
    for (n, record, _) in source.records.lock().unwrap().iter() {
        let want = if *n == 1 { (CheckStatus::SockErr, "bug: check panicked") } else { (CheckStatus::L7Ok, "OK") };
        assert_eq!((record.status, record.content.as_str()), want);
    }
    assert!(source.is_first_round_done());
}

#[tokio::test]
async fn target_that_left_gets_no_record_and_a_new_one_is_checked_at_once() {
    let silent = start(Script::Silent).await;
    let healthy = start(Script::Reply(OK)).await;
    let run = Run::of(vec![target(1, &silent.to_string(), http_probe(60_000, 60_000))], System::default(), 1);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!run.source.is_first_round_done());
    run.change(vec![target(2, &healthy.to_string(), http_probe(60_000, 60_000))]);
    run.until("the new one's record", |source| source.checks_of(2) == 1).await;
    run.until("first round done", Source::is_first_round_done).await;
    let source = run.end().await;
    assert_eq!(source.checks_of(1), 0);
}

#[tokio::test]
async fn changed_address_cuts_the_old_check_short() {
    let silent = start(Script::Silent).await;
    let healthy = start(Script::Reply(OK)).await;
    let run = Run::of(vec![target(1, &silent.to_string(), http_probe(60_000, 60_000))], System::default(), 1);
    tokio::time::sleep(Duration::from_millis(50)).await;
    run.change(vec![target(1, &healthy.to_string(), http_probe(60_000, 60_000))]);
    run.until("a record", |source| source.checks_of(1) == 1).await;
    let source = run.end().await;
    assert_eq!(source.records.lock().unwrap()[0].1.status, CheckStatus::L7Ok);
}

#[tokio::test]
async fn first_round_is_done_when_everybody_has_a_record_or_can_have_none() {
    let run = Run::of(Vec::new(), System::default(), 1);
    run.until("done with nobody", Source::is_first_round_done).await;
    run.end().await;

    let lookups = |name: &str| if name == "good" { vec!["127.0.0.1".parse().unwrap()] } else { Vec::new() };
    let probe = http_probe(60_000, 1000);
    let list = vec![target(1, "good:1", probe.clone()), target(2, "bad:1", probe), target(3, "127.0.0.1:1", None)];
    let run = Run::of(list, Scripted { checks: passed, lookups }, 1);
    run.until("done", Source::is_first_round_done).await;
    let source = run.end().await;
    assert_eq!((source.checks_of(1), source.checks_of(2), source.checks_of(3)), (1, 0, 0));
    let mut resolved = source.resolved.lock().unwrap().clone();
    resolved.sort();
    assert_eq!(resolved, [(1, Some("127.0.0.1:1".parse().unwrap())), (2, None)]);
}

#[tokio::test]
async fn first_round_waits_for_no_check_that_counts_for_nothing() {
    let (healthy, silent) = (start(Script::Reply(OK)).await, start(Script::Silent).await);
    let aim = Aim { port: Some(silent.port()), ..Aim::default() };
    let hung = |slot, kind| {
        let long = Duration::from_secs(3600);
        let probe = Probe { aim: aim.clone(), interval: long, timeout: long, ..Probe::new(kind) };
        Target { slot, ..target(1, &healthy.to_string(), Some(Arc::new(probe))) }
    };
    let shadow = hung(ProbeSlot::SHADOW, ProbeKind::Http(HttpProbe::get("/")));
    let agent = hung(ProbeSlot(1), ProbeKind::Agent { send: "".into() });
    let list = vec![shadow, agent, target(1, &healthy.to_string(), http_probe(60_000, 5000))];
    let run = Run::of(list, System::default(), 8);
    run.until("done", Source::is_first_round_done).await;
    assert_eq!(run.end().await.checks_of(1), 1);
}

#[tokio::test]
async fn name_shared_by_servers_is_looked_up_once_and_probed_at_the_probes_port() {
    static LOOKUPS: AtomicUsize = AtomicUsize::new(0);
    let lookups = |_: &str| {
        LOOKUPS.fetch_add(1, Ordering::Relaxed);
        vec!["127.0.0.9".parse().unwrap(), "127.0.0.3".parse().unwrap()]
    };
    let checks = |addr: SocketAddr| {
        assert_eq!(addr.to_string(), "127.0.0.3:9000");
        passed(addr)
    };
    let mut probe = Probe::clone(&http_probe(60_000, 1000).unwrap());
    probe.aim.port = Some(9000);
    let list = (0..5).map(|n| target(n, &format!("shared:{}", 80 + n), Some(Arc::new(probe.clone())))).collect();
    let run = Run::of(list, Scripted { checks, lookups }, 8);
    run.until("all checked", Source::is_first_round_done).await;
    run.change(run.source.targets().into_iter().chain([target(9, "shared:99", None)]).collect());
    run.until("the new one resolved", |source| source.resolved.lock().unwrap().len() == 6).await;
    let source = run.end().await;
    assert_eq!(LOOKUPS.load(Ordering::Relaxed), 1, "the new one has the answer that is known");
    assert!(source.records.lock().unwrap().iter().all(|(_, record, _)| record.status == CheckStatus::L7Ok));
    assert_eq!(source.resolved.lock().unwrap()[5], (9, Some("127.0.0.3:99".parse().unwrap())));
}

#[tokio::test]
async fn servers_that_share_a_check_are_asked_once_and_all_told() {
    static CHECKS: AtomicUsize = AtomicUsize::new(0);
    let checks = |addr| {
        CHECKS.fetch_add(1, Ordering::Relaxed);
        passed(addr)
    };
    let list: Vec<Target> = (0..5).map(|n| target(n, "127.0.0.1:80", http_probe(60_000, 1000))).collect();
    let mut other = list[4].clone();
    other.slot = ProbeSlot::SHADOW;
    other.probe = http_probe(60_000, 2000);
    let run = Run::of(list.into_iter().chain([other]).collect(), Scripted { checks, lookups: no_names }, 8);
    run.until("first round done", Source::is_first_round_done).await;
    run.until("the shadow too", |source| source.checks_of(4) == 2).await;
    let source = run.end().await;
    assert_eq!(CHECKS.load(Ordering::Relaxed), 2, "one for the five, one for the shadow");
    let told: Vec<usize> = (0..5).map(|n| source.checks_of(n)).collect();
    assert_eq!(told, [1, 1, 1, 1, 2]);
}

#[tokio::test]
async fn failure_is_followed_by_a_check_at_the_fast_interval() {
    let checks = |addr| CheckRecord { status: CheckStatus::L4Con, ..passed(addr) };
    let pace = |record: &CheckRecord| if record.status == CheckStatus::L7Ok { Pace::Steady } else { Pace::Changing };
    let fast =
        Probe { fast_interval: Some(Duration::from_millis(40)), ..Probe::clone(&http_probe(60_000, 20).unwrap()) };
    let list = vec![target(1, "127.0.0.1:1", Some(Arc::new(fast)))];
    let source = Source { targets: Mutex::new(list), pace: Some(pace), ..Source::default() };
    let run = Run::start(source, Scripted { checks, lookups: no_names }, 8);
    run.until("five checks", |source| source.checks_of(1) >= 5).await;
    let source = run.end().await;
    let records = source.records.lock().unwrap();
    let next_at = source.next_at.lock().unwrap();
    for (i, next) in next_at.iter().enumerate().skip(1) {
        let interval = next.since(records[i].1.at);
        assert!(interval <= Duration::from_millis(40), "told after {interval:?}");
    }
}

#[tokio::test]
async fn probe_with_an_address_of_its_own_waits_for_no_name() {
    let checks = |addr: SocketAddr| {
        assert_eq!(addr.to_string(), "127.0.0.7:80");
        passed(addr)
    };
    let mut probe = Probe::clone(&http_probe(60_000, 1000).unwrap());
    probe.aim.address = Some("127.0.0.7".parse().unwrap());
    let run = Run::of(vec![target(1, "nowhere:80", Some(Arc::new(probe)))], Scripted { checks, lookups: no_names }, 8);
    run.until("done", Source::is_first_round_done).await;
    assert_eq!(run.end().await.checks_of(1), 1);
}

#[tokio::test]
async fn probe_whose_kind_has_a_port_goes_there_unless_told_another() {
    let checks = |addr: SocketAddr| {
        assert!([79, 9000].contains(&addr.port()), "{addr}");
        passed(addr)
    };
    let oco = Probe::new(ProbeKind::Oco);
    let aim = Aim { port: Some(9000), ..Aim::default() };
    let told = Probe { aim, ..oco.clone() };
    let list = [(1, "127.0.0.1:80", oco), (2, "127.0.0.2:80", told)];
    let list = list.map(|(n, address, probe)| target(n, address, Some(Arc::new(probe))));
    let run = Run::of(list.into(), Scripted { checks, lookups: no_names }, 8);
    run.until("done", Source::is_first_round_done).await;
    let source = run.end().await;
    let of = |n| source.records.lock().unwrap().iter().find(|(server, ..)| *server == n).unwrap().1.status;
    assert_eq!((of(1), of(2)), (CheckStatus::L7Ok, CheckStatus::L7Ok));
}

#[tokio::test]
async fn real_resolver_finds_localhost() {
    let healthy = start(Script::Reply(OK)).await;
    let list = vec![target(1, &format!("localhost:{}", healthy.port()), http_probe(60_000, 5000))];
    let run = Run::of(list, System::default(), 1);
    run.until("checked", |source| source.checks_of(1) == 1).await;
    let source = run.end().await;
    assert_eq!(source.resolved.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn loop_ends_when_the_senders_are_gone() {
    let run = Run::of(vec![target(1, "127.0.0.1:1", http_probe(10, 10))], System::default(), 1);
    run.until("a record", |source| source.checks_of(1) > 0).await;
    drop(run.changed);
    let before = run.source.records.lock().unwrap().len();
    let wait = async {
        while run.source.records.lock().unwrap().len() < before + 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
    drop(run.shutdown);
    tokio::time::timeout(PATIENCE, run.task).await.unwrap().unwrap();
}
