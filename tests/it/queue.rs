//! Servers that may have only so much work at once: never more, the rest waits, first come first served, and no longer
//! than it may. Beside that: the budget of retries, connections that are used again, and the ways of choosing that go by
//! what a server carries.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use farmgate::metrics::Refusal;
use farmgate::model::{
    AdminStatus, Balance, Farm, HashKey, Protocol, QueueRule, RetryBudget, Reuse, Server, Stickiness,
};

use crate::harness::{
    Behaviour, Client, Farmgate, InProcess, Origin, Server as Declared, Setup, TcpBehaviour, TcpOrigin, refused_port,
    until,
};
use crate::to_servers::{answer_each, server};

const LONG: Duration = Duration::from_secs(20);

/// Gives every server so many places, and work that finds none so long.
fn places(farm: &mut Farm, most: u32, timeout: Duration) {
    for server in &mut farm.servers {
        *server = Arc::new(Server { max_connections: Some(most), ..(**server).clone() });
    }
    farm.queue = QueueRule { length: 100, timeout };
}

#[test]
fn place_is_given_back_though_its_bound_came_while_the_work_waited() {
    let [a, b] = ["a", "b"].map(|name| Origin::doing(name, Behaviour::Silent));
    let servers = [("a", a.addr()), ("b", b.addr())];
    let mut plane = InProcess::start(Protocol::Http, &servers, |farm| {
        places(farm, 1, LONG);
        farm.servers[1] =
            Arc::new(Server { max_connections: None, admin: AdminStatus::Maintenance, ..(*farm.servers[1]).clone() });
    });
    let _first = asking(&plane, "/first");
    plane.wait_open("a", [0, 1, 0]);
    let waiting = ["/second", "/third"].map(|path| asking(&plane, path));
    plane.wait_queued(2);
    plane.declare("b", |server| (server.max_connections, server.admin) = (Some(5), AdminStatus::Active));
    plane.wait_open("b", [0, 2, 0]);
    assert_eq!(plane.taken("b"), 2);
    assert_eq!(plane.close("b"), 2);
    plane.wait_open("b", [0, 0, 0]);
    until("every place to be back", || (plane.taken("b") == 0).then_some(()));
    drop(waiting);
}

#[test]
fn agent_says_how_many_connections_its_server_may_have() {
    let echo = TcpOrigin::start("a", TcpBehaviour::Echo);
    let [one, any] = ["maxconn:1", "maxconn:0"].map(|line| TcpOrigin::start(line, TcpBehaviour::CloseFirst));
    let farm = |name: &str, agent: &TcpOrigin, most: u32| {
        let (addr, port) = (echo.addr(), agent.addr().port());
        format!(
            "{name}: {{protocol: tcp, queue: {{timeout: 100ms}}, probe: {{type: agent, port: {port}, interval: 250ms, \
             timeout: 250ms}}, servers: {{a: {{address: \"{addr}\", max_connections: {most}}}}}}}"
        )
    };
    let mut setup = Setup::tcp(&[Declared::new("a", echo.addr(), "probe: false")]);
    for (name, agent, most) in [("one", &one, 9), ("any", &any, 1)] {
        setup = setup
            .another_farm(&farm(name, agent, most))
            .another_frontend(&format!("{name}: {{protocol: tcp, listen: [\"127.0.0.1:0\"], farm: {name}}}"));
    }
    let farmgate = Farmgate::start(&setup);
    let explained = |farm: &str| farmgate.cli(&["explain", &format!("{farm}/a")]).text;
    for (farm, said) in [("one", "at most 1 connection"), ("any", "any number of connections")] {
        until(said, || explained(farm).contains(said).then_some(()));
    }
    let mut first = Client::connect(farmgate.front("one"));
    assert_eq!(first.take(2).unwrap(), b"a\n");
    let mut second = Client::connect(farmgate.front("one"));
    assert_eq!(second.rest(), Ok(Vec::new()), "there was no place for it in time");
    assert!(explained("one").contains("1 of 1 taken"), "{}", explained("one"));
    drop(first);
    until("its place to be free", || explained("one").contains("0 of 1 taken").then_some(()));
    let mut all: Vec<_> = (0..3).map(|_| Client::connect(farmgate.front("any"))).collect();
    all.iter_mut().for_each(|client| assert_eq!(client.take(2).unwrap(), b"a\n"));
    assert!(!explained("any").contains("taken"), "{}", explained("any"));
}

/// One HTTP server of so many places that answers nothing until it is told to.
fn one(most: u32, timeout: Duration) -> (Origin, InProcess) {
    let origin = Origin::doing("a", Behaviour::Silent);
    let plane = InProcess::start(Protocol::Http, &[("a", origin.addr())], |farm| places(farm, most, timeout));
    (origin, plane)
}

/// A client that has sent a request and reads nothing yet.
fn asking(plane: &InProcess, path: &str) -> Client {
    let mut client = plane.client();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n"));
    client
}

#[test]
fn request_beyond_the_places_waits_until_one_is_free() {
    let (origin, plane) = one(1, LONG);
    let first = asking(&plane, "/first");
    plane.wait_open("a", [0, 1, 0]);
    let mut second = asking(&plane, "/second");
    plane.wait_queued(1);
    assert_eq!(plane.open("a"), [0, 1, 0], "the second has not gone there");
    origin.traffic(Behaviour::Ok);
    plane.close("a");
    assert_eq!(second.response().status, 200);
    drop(first);
    plane.wait_open("a", [0, 0, 0]);
    // A place is given back when the work is open no more.
    until("its place to be back", || (plane.taken("a") == 0).then_some(()));
    assert_eq!(plane.queued(), 0);
    let how: Vec<_> = plane.access(2).iter().flat_map(|line| plane.attempts(line)).map(|(_, by, _)| by).collect();
    assert!(how.contains(&"queue"), "{how:?}");
}

#[test]
fn request_that_waits_too_long_is_503_with_retry_after() {
    let (_origin, plane) = one(1, Duration::from_millis(300));
    let _first = asking(&plane, "/first");
    plane.wait_open("a", [0, 1, 0]);
    let response = plane.client().get("/second");
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")));
    assert!(response.text().contains("every server was full"), "{}", response.text());
    assert_eq!(plane.queued(), 0);
}

#[test]
fn request_that_finds_the_queue_full_is_503_at_once() {
    let origin = Origin::doing("a", Behaviour::Silent);
    let plane = InProcess::start(Protocol::Http, &[("a", origin.addr())], |farm| {
        places(farm, 1, LONG);
        farm.queue.length = 1;
    });
    let _first = asking(&plane, "/first");
    plane.wait_open("a", [0, 1, 0]);
    let _second = asking(&plane, "/second");
    plane.wait_queued(1);
    let third = plane.client().get("/third");
    assert_eq!((third.status, third.header("retry-after")), (503, Some("1")));
    assert_eq!(plane.queued(), 1);
}

#[test]
fn client_that_goes_leaves_the_queue_and_no_place_is_lost() {
    let (origin, plane) = one(1, LONG);
    let _first = asking(&plane, "/first");
    plane.wait_open("a", [0, 1, 0]);
    let second = asking(&plane, "/second");
    plane.wait_queued(1);
    drop(second);
    plane.wait_queued(0);
    origin.traffic(Behaviour::Ok);
    plane.close("a");
    assert_eq!(plane.client().get("/third").status, 200);
    until("every place to be back", || (plane.taken("a") == 0).then_some(()));
    assert!(origin.requests().iter().all(|seen| seen.target != "/second"));
}

#[test]
fn waiting_work_leaves_a_server_that_is_taken_out_and_goes_to_one_that_comes() {
    let origins = [Origin::doing("a", Behaviour::Silent), Origin::start("b")];
    let servers = [("a", origins[0].addr()), ("b", origins[1].addr())];
    let mut plane = InProcess::start(Protocol::Http, &servers, |farm| places(farm, 1, LONG));
    plane.set("b", AdminStatus::Maintenance);
    let _first = asking(&plane, "/first");
    plane.wait_open("a", [0, 1, 0]);
    let mut second = asking(&plane, "/second");
    plane.wait_queued(1);
    plane.set("b", AdminStatus::Active);
    assert_eq!(second.response().origin(), "b");
    plane.set("b", AdminStatus::Maintenance);
    let mut third = asking(&plane, "/third");
    plane.wait_queued(1);
    plane.set("a", AdminStatus::Drain);
    assert_eq!(third.response().status, 503, "nobody is left to wait for");
}

#[test]
fn sticky_client_waits_for_its_own_server() {
    let origins = [Origin::start("a"), Origin::start("b")];
    let servers = [("a", origins[0].addr()), ("b", origins[1].addr())];
    let plane = InProcess::start(Protocol::Http, &servers, |farm| {
        places(farm, 1, LONG);
        farm.stickiness = Stickiness::Header { name: "x-user".into(), idle: LONG, clients_max: 100 };
    });
    let ask = || {
        let mut client = plane.client();
        client.send("GET / HTTP/1.1\r\nHost: t\r\nX-User: ann\r\n\r\n");
        client
    };
    let home = ask().response().origin().to_owned();
    until("its place to be back", || (plane.taken(&home) == 0).then_some(()));
    // Its client is to leave, and nothing to be cut, which might meet the one that takes the place.
    origins.iter().for_each(|origin| origin.traffic(Behaviour::DripBody(Duration::from_millis(5))));
    let busy = ask();
    plane.wait_open(&home, [0, 1, 0]);
    let mut again = ask();
    plane.wait_queued(1);
    let other = if home == "a" { "b" } else { "a" };
    assert_eq!(plane.open(other), [0, 0, 0], "though the other is free");
    origins.iter().for_each(|origin| origin.traffic(Behaviour::Ok));
    drop(busy);
    assert_eq!(again.response().origin(), home);
}

/// Sixteen clients, three places: what the server sees at once is never more, everybody is served, nothing is left over.
#[test]
fn places_hold_over_all_workers_and_everybody_is_served() {
    let (now, most, all) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let seen = Arc::new((now, most, all));
    let counted = Arc::clone(&seen);
    let (addr, _) = server(move |mut stream| {
        let (now, most, all) = &*counted;
        answer_each(&mut stream, |_| {
            all.fetch_add(1, SeqCst);
            most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            thread::sleep(Duration::from_millis(3));
            now.fetch_sub(1, SeqCst);
        });
    });
    let plane = InProcess::start(Protocol::Http, &[("a", addr)], |farm| places(farm, 3, LONG));
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for n in 0..12 {
                    assert_eq!(plane.client().get(&format!("/{n}")).status, 200);
                }
            });
        }
    });
    until("every place to be back", || (plane.taken("a") == 0).then_some(()));
    let (_, most, all) = &*seen;
    assert!((1..=3).contains(&most.load(SeqCst)), "{} at once", most.load(SeqCst));
    assert_eq!((plane.queued(), all.load(SeqCst)), (0, 16 * 12));
    assert!(plane.waits() > 0, "somebody waited");
}

#[test]
fn raw_connection_waits_for_a_place_too() {
    let origin = TcpOrigin::start("a", TcpBehaviour::Echo);
    let plane = InProcess::start(Protocol::Tcp, &[("a", origin.addr())], |farm| places(farm, 1, LONG));
    let mut first = plane.client();
    first.send("one");
    plane.wait_open("a", [1, 0, 0]);
    let mut second = plane.client();
    second.send("two");
    plane.wait_queued(1);
    first.finish_writes();
    first.rest().unwrap();
    second.finish_writes();
    assert!(String::from_utf8_lossy(&second.rest().unwrap()).contains("two"));
    until("every place to be back", || (plane.taken("a") == 0).then_some(()));
}

/// Server `a` cannot be reached, `b` has no place for who comes then.
#[test]
fn retry_that_finds_the_next_server_full_is_503_with_retry_after() {
    for length in [0, 100] {
        let (_held, refused) = refused_port();
        let origin = Origin::doing("b", Behaviour::Silent);
        let servers = [("a", refused), ("b", origin.addr())];
        let plane = InProcess::start(Protocol::Http, &servers, |farm| {
            places(farm, 1, Duration::from_millis(300));
            farm.balance = Balance::First;
            farm.queue.length = length;
        });
        let _first = asking(&plane, "/first");
        plane.wait_open("b", [0, 1, 0]);
        let second = plane.client().get("/second");
        assert_eq!((second.status, second.header("retry-after")), (503, Some("1")), "{length}");
        assert!(second.text().contains("server was full") == (length > 0), "{}", second.text());
        let why = if length == 0 { Refusal::QueueFull } else { Refusal::QueueTimeout };
        assert_eq!(plane.refused(why), 1, "{length}");
        assert_eq!(plane.access(1)[0]["termination"], if length == 0 { "PQ" } else { "sQ" });
        until("nobody in line", || (plane.queued() == 0 && plane.taken("a") == 0).then_some(()));
    }
}

/// However long it may wait: twenty seconds.
#[test]
fn raw_client_that_leaves_gives_its_turn_up_at_once() {
    let origin = TcpOrigin::start("a", TcpBehaviour::Echo);
    let plane = InProcess::start(Protocol::Tcp, &[("a", origin.addr())], |farm| places(farm, 1, LONG));
    let mut first = plane.client();
    first.send("one");
    plane.wait_open("a", [1, 0, 0]);
    let mut stays = plane.client();
    stays.send("asks and ends its half");
    stays.finish_writes();
    plane.wait_queued(1);
    let began = Instant::now();
    let says_nothing = plane.client();
    plane.wait_queued(2);
    drop(says_nothing);
    plane.wait_queued(1);
    let mut says_something = plane.client();
    says_something.send("two");
    plane.wait_queued(2);
    says_something.reset();
    plane.wait_queued(1);
    assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
    let lines = plane.access(2);
    assert!(lines.iter().all(|line| line["termination"] == "CQ"), "{lines:?}");
    first.finish_writes();
    first.rest().unwrap();
    assert!(String::from_utf8_lossy(&stays.rest().unwrap()).contains("asks and ends its half"));
    until("every place to be back", || (plane.taken("a") == 0).then_some(()));
}

#[test]
fn retries_stop_where_the_budget_is_used_up() {
    let (resets, origin) = (Origin::doing("a", Behaviour::Reset), Origin::start("b"));
    let plane = InProcess::start(Protocol::Http, &[("a", resets.addr()), ("b", origin.addr())], |farm| {
        farm.retry_budget = Some(RetryBudget { share: 0, per_second_min: 1 });
    });
    let answers: Vec<_> = (0..100).map(|_| plane.client().get("/").status).collect();
    let failed = answers.iter().filter(|status| **status == 502).count();
    assert!(failed > 0, "half of a hundred want a retry, and few more than ten may have one");
    assert!(answers.iter().all(|status| matches!(status, 200 | 502)));
    assert_eq!(plane.retries_refused(), failed as u64);
}

/// Nobody was asked for anything, so nobody is asked for more.
#[test]
fn refused_connections_are_tried_again_whatever_the_budget() {
    let (_held, refused) = refused_port();
    for protocol in [Protocol::Http, Protocol::Tcp] {
        let origin = Origin::start("b");
        let plane = InProcess::start(protocol, &[("a", refused), ("b", origin.addr())], |farm| {
            farm.retry_budget = Some(RetryBudget { share: 0, per_second_min: 0 });
        });
        assert!((0..40).all(|_| plane.client().get("/").status == 200));
        assert_eq!(plane.retries_refused(), 0);
    }
}

#[test]
fn farm_that_keeps_no_connection_uses_none_again() {
    let origin = Origin::start("a");
    let connections = |reuse: Reuse| {
        let before = origin.requests().len();
        let plane = InProcess::start(Protocol::Http, &[("a", origin.addr())], |farm| farm.reuse = reuse);
        let mut client = plane.client();
        (0..10).for_each(|_| assert_eq!(client.get("/").status, 200));
        let seen = origin.requests().split_off(before);
        seen.iter().map(|seen| seen.connection).collect::<BTreeSet<_>>().len()
    };
    assert_eq!(connections(Reuse::default()), 1);
    assert_eq!(connections(Reuse { idle_max: 0, ..Reuse::default() }), 10);
    assert_eq!(connections(Reuse { requests_max: Some(5), ..Reuse::default() }), 2);
    assert_eq!(connections(Reuse { age_max: Some(Duration::ZERO), ..Reuse::default() }), 10);
}

#[test]
fn header_brings_a_client_back_and_without_it_work_is_spread() {
    let origins: Vec<_> = ["a", "b", "c"].map(Origin::start).into();
    let servers: Vec<_> = ["a", "b", "c"].into_iter().zip(origins.iter().map(Origin::addr)).collect();
    let plane = InProcess::start(Protocol::Http, &servers, |farm| {
        farm.stickiness = Stickiness::Header { name: "x-user".into(), idle: LONG, clients_max: 100 };
    });
    let ask = |headers: &[(&str, &str)]| plane.client().request("GET", "/", headers, b"").origin().to_owned();
    let home = ask(&[("X-User", "ann")]);
    assert!((0..10).all(|_| ask(&[("X-User", "ann")]) == home));
    assert_eq!(plane.attempts(plane.access(11).last().unwrap())[0].1, "sticky_header");
    let spread: BTreeSet<_> = (0..12).map(|_| ask(&[])).collect();
    assert_eq!(spread.len(), 3);
}

#[test]
fn maglev_keeps_a_users_work_together_and_random_and_ewma_serve() {
    let origins: Vec<_> = ["a", "b", "c"].map(Origin::start).into();
    let servers: Vec<_> = ["a", "b", "c"].into_iter().zip(origins.iter().map(Origin::addr)).collect();
    let served = |balance: Balance| {
        let plane = InProcess::start(Protocol::Http, &servers, |farm| {
            farm.balance = balance;
            farm.hash.key = HashKey::Header("x-user".into());
        });
        let by = |user: &str| plane.client().request("GET", "/", &[("X-User", user)], b"").origin().to_owned();
        let one: BTreeSet<_> = (0..20).map(|_| by("ann")).collect();
        let all: BTreeSet<_> = (0..60).map(|n| by(&format!("user{n}"))).collect();
        assert_eq!(plane.attempts(&plane.access(1)[0])[0].1, balance.as_str());
        (one.len(), all.len())
    };
    assert_eq!(served(Balance::Maglev), (1, 3));
    assert_eq!(served(Balance::Random).1, 3);
    assert!(served(Balance::Ewma).1 > 1);
}
