//! What the process holds in memory: bounded as a whole, and let go when its clients go.

use std::time::{Duration, Instant};

use crate::harness::{Behaviour, Client, Farmgate, Origin, Server, Setup, until};

/// Bytes of a head that does not end: each client has the process keep so many.
const HELD_BYTES: usize = 60_000;
/// What clients may fill beyond what the process holds at rest.
const ROOM_BYTES: f64 = 40.0 * MIB;
const MIB: f64 = 1024.0 * 1024.0;
/// Clients that come: together they would fill it twice.
const CLIENTS: usize = 1200;

fn setup(origin: &Origin) -> Setup {
    let server = Server::new("a", origin.addr(), "");
    let limits = "limits: {connections_per_source: 0, header_bytes: 64KiB}";
    Setup::http(&[server]).frontend(limits).frontend("timeouts: {header: 5m, idle: 5m}").top("workers: 1")
}

fn resident(farmgate: &Farmgate) -> f64 {
    farmgate.metric("farmgate_memory_resident_bytes", &[]).unwrap()
}

fn refused(farmgate: &Farmgate) -> f64 {
    farmgate.metric("farmgate_frontend_refused_total", &["reason=\"memory\""]).unwrap_or(0.0)
}

/// A client that has the process hold what it sends, if it is let in.
fn greedy(farmgate: &Farmgate) -> Client {
    let mut client = farmgate.client();
    client.set_write_patience(Duration::from_millis(200));
    let _ = client.try_send(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(HELD_BYTES)));
    client
}

/// The bound is kept under many clients: who is in is served, who is not is told, and once they have gone all is well.
#[test]
#[expect(clippy::print_stdout, reason = "the figures are what people want to read of it")]
fn memory_is_bounded_under_many_clients_and_comes_back_when_they_go() {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let origin = Origin::start("a");
    origin.traffic(Behaviour::Ok);
    let at_rest = resident(&Farmgate::start(&setup(&origin)));
    let bound = ((at_rest + ROOM_BYTES) / MIB).ceil() * MIB;
    let farmgate = Farmgate::start(&setup(&origin).top(&format!("limits: {{memory: \"{bound}B\"}}")));
    assert_eq!(farmgate.metric("farmgate_memory_bound_bytes", &[]), Some(bound));
    let mut first = farmgate.client();
    assert_eq!(first.get("/").status, 200);
    let mut most: f64 = 0.0;
    let mut clients = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(120);
    while clients.len() < CLIENTS && Instant::now() < deadline {
        clients.push(greedy(&farmgate));
        if clients.len() % 50 == 0 {
            most = most.max(resident(&farmgate));
        }
    }
    until("clients to be refused for want of memory", || (refused(&farmgate) > 0.0).then_some(()));
    most = most.max(resident(&farmgate));
    println!("bound {:.1} MiB, at rest {:.1} MiB, most {:.1} MiB", bound / MIB, at_rest / MIB, most / MIB);
    assert!(most > 0.8 * bound, "the clients never filled it: {most} of {bound}");
    assert!(most < bound, "{most} of {bound}");
    assert_eq!(first.get("/").status, 200, "who is in is served");
    assert_eq!(farmgate.open_get("/readyz").status, 200);
    drop(clients);
    until("newcomers to be served again", || {
        let served = farmgate.client().try_request("GET", "/", &[], b"").is_ok_and(|response| response.status == 200);
        served.then_some(())
    });
    let before = refused(&farmgate);
    for _ in 0..20 {
        assert_eq!(farmgate.client().get("/").status, 200);
    }
    assert!((refused(&farmgate) - before).abs() < 0.1, "nobody is refused any more");
}
