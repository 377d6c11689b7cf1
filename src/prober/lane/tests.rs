//! Drives a lane by hand. What its checks find is tested with those of the other way, in `check::tests`.

use std::net::SocketAddr;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::super::origins::{OK, Script, black_hole, play, serve, start};
use super::*;
use crate::health::{CheckId, Schedule};
use crate::model::{Aim, CheckStatus, Host, HttpProbe};

fn tickets(count: u64) -> Vec<Ticket> {
    let mut schedule = Schedule::new(1000, 1);
    (0..count).for_each(|n| schedule.add(CheckId(n), (), Duration::from_secs(9), Duration::ZERO));
    std::iter::from_fn(|| schedule.start(Duration::ZERO)).collect()
}

fn probe(timeout_ms: u64) -> Probe {
    let timeout = Duration::from_millis(timeout_ms);
    Probe { timeout, interval: timeout, ..Probe::new(ProbeKind::Http(HttpProbe::get("/"))) }
}

fn aimed(addr: SocketAddr, probe: Probe) -> Aimed {
    Aimed::new(addr, Host::Name("origin.test".into()), probe.into())
}

/// Starts an origin that replies and closes, and returns where, and what hears of each connection when that is done.
async fn leaving(reply: &'static str) -> (SocketAddr, UnboundedReceiver<()>) {
    let (told, left) = unbounded_channel();
    let each = move |stream| {
        let told = told.clone();
        async move {
            play(stream, Script::Reply(reply)).await;
            told.send(()).unwrap();
        }
    };
    (serve(each).await, left)
}

/// Turns the lane until so many checks are over.
async fn until_ended(lane: &mut Lane, count: usize) -> Vec<Ended> {
    let mut ended = Vec::new();
    while ended.len() < count {
        lane.turn();
        ended.extend(lane.take_ended());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    ended
}

/// Runs one check in a lane of its own.
pub(in super::super) async fn run(addr: SocketAddr, host: &Host, probe: &Probe) -> CheckRecord {
    assert!(takes(probe));
    let mut lane = Lane::new().unwrap();
    lane.start(tickets(1)[0], &Aimed::new(addr, host.clone(), probe.clone().into()));
    let ended = until_ended(&mut lane, 1).await.pop().unwrap();
    assert!(lane.next_deadline().is_none() && !lane.is_busy());
    ended.record.unwrap()
}

#[tokio::test]
async fn checks_of_many_servers_end_each_with_its_own_result() {
    let (good, silent) = (start(Script::Reply(OK)).await, start(Script::Silent).await);
    let (hole, _guard) = black_hole().await;
    let mut lane = Lane::new().unwrap();
    let tickets = tickets(60);
    for (n, ticket) in tickets.iter().enumerate() {
        lane.start(*ticket, &aimed([good, silent, hole][n % 3], probe(if n % 2 == 0 { 200 } else { 300 })));
    }
    let began = clock::monotonic();
    for ended in until_ended(&mut lane, 60).await {
        let n = tickets.iter().position(|ticket| *ticket == ended.ticket).unwrap();
        let want = [CheckStatus::L7Ok, CheckStatus::L7Tout, CheckStatus::L4Tout][n % 3];
        let record = ended.record.unwrap();
        assert_eq!((record.status, ended.addr), (want, [good, silent, hole][n % 3].into()));
        let timeout = Duration::from_millis(if n % 2 == 0 { 200 } else { 300 });
        assert_eq!(record.duration >= timeout, n % 3 != 0, "{record:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(lane.places.iter().all(|place| place.conn.is_none()) && lane.free.len() == lane.places.len());
    assert_eq!(lane.next_deadline(), None);
}

#[tokio::test]
async fn check_that_is_cut_short_has_no_result_and_leaves_its_place() {
    let silent = start(Script::Silent).await;
    let mut lane = Lane::new().unwrap();
    let tickets = tickets(2);
    tickets.iter().for_each(|ticket| lane.start(*ticket, &aimed(silent, probe(50))));
    lane.cut_short(tickets[0]);
    let ended = until_ended(&mut lane, 1).await;
    assert_eq!((ended[0].ticket, lane.free.len()), (tickets[1], 2));
    lane.start(tickets[0], &aimed(silent, probe(50)));
    assert_eq!((until_ended(&mut lane, 1).await[0].ticket, lane.places.len()), (tickets[0], 2));
}

#[tokio::test]
async fn who_has_answered_by_the_first_turn_is_looked_at_and_who_has_not_is_told_of() {
    let ((good, mut left), silent) = (leaving(OK).await, start(Script::Silent).await);
    let mut lane = Lane::new().unwrap();
    let tickets = tickets(2);
    lane.start(tickets[0], &aimed(good, probe(5000)));
    lane.start(tickets[1], &aimed(silent, probe(5000)));
    assert!(lane.is_busy() && lane.places.iter().all(|place| !place.conn.as_ref().unwrap().is_watched));
    left.recv().await.unwrap();
    lane.turn();
    let ended: Vec<Ended> = lane.take_ended().collect();
    assert_eq!(ended.iter().map(|ended| ended.ticket).collect::<Vec<_>>(), [tickets[0]]);
    assert!(lane.places[1].conn.as_ref().unwrap().is_watched && !lane.is_busy());
}

#[tokio::test]
async fn checks_one_after_the_other_share_a_socket_and_nothing_else() {
    let busy = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let (mut good, mut sick) = (leaving(OK).await, leaving(busy).await);
    let mut lane = Lane::new().unwrap();
    for (n, ticket) in tickets(6).into_iter().enumerate() {
        let ((addr, left), code, reply) = if n % 2 == 0 { (&mut good, 200, OK) } else { (&mut sick, 503, busy) };
        let addr = *addr;
        lane.start(ticket, &aimed(addr, probe(5000)));
        // Nobody looks before it has answered and left.
        left.recv().await.unwrap();
        let record = until_ended(&mut lane, 1).await.pop().unwrap().record.unwrap();
        let evidence = record.evidence.unwrap();
        assert_eq!((record.code, evidence.errno, &*evidence.received), (Some(code), None, reply.as_bytes()));
        assert!(lane.spares.take(&"[::1]:80".parse::<SocketAddr>().unwrap().into(), &Aim::default()).is_none());
        let spare = lane.spares.take(&addr.into(), &Aim::default()).unwrap();
        assert!(lane.spares.take(&addr.into(), &Aim::default()).is_none(), "one serves all");
        lane.spares.put(spare, &addr.into(), &Aim::default());
    }
}

#[tokio::test]
async fn event_that_is_late_is_not_taken_for_the_next_one_at_its_place() {
    let silent = start(Script::Silent).await;
    let mut lane = Lane::new().unwrap();
    let tickets = tickets(2);
    lane.start(tickets[0], &aimed(silent, probe(50)));
    let late = Key { place: 0, stamp: lane.places[0].stamp };
    lane.cut_short(tickets[0]);
    lane.start(tickets[1], &aimed(silent, probe(50)));
    lane.go_on(late, true);
    assert!(!lane.places[0].conn.as_ref().unwrap().is_closed);
    assert_eq!(Key::of(late.token()), late);
}

#[tokio::test]
async fn endless_reply_has_its_turn_and_lets_others_have_theirs() {
    let endless = start(Script::EndlessHead).await;
    let mut lane = Lane::new().unwrap();
    lane.start(tickets(1)[0], &aimed(endless, probe(5000)));
    let ended = until_ended(&mut lane, 1).await.pop().unwrap();
    assert_eq!(ended.record.unwrap().status, CheckStatus::L7Rsp);
}

#[test]
fn common_checks_are_made_here_and_no_others() {
    use crate::model::{Encryption, HttpVersion, Negate, ProxyHeader};
    let of = |kind| takes(&Probe::new(kind));
    let http = HttpProbe::get("/");
    assert!(of(ProbeKind::Http(http.clone())));
    assert!(of(ProbeKind::Tcp { banner: None, negate: Negate::AsWritten }));
    assert!(!of(ProbeKind::Http(HttpProbe { encryption: Encryption::Tls, ..http.clone() })));
    assert!(!of(ProbeKind::Http(HttpProbe { version: HttpVersion::Http2, ..http })));
    assert!(!of(ProbeKind::Tls) && !of(ProbeKind::Ping) && !of(ProbeKind::Oco));
    let connect = ProbeKind::Tcp { banner: None, negate: Negate::AsWritten };
    for aim in
        [Aim { proxy: Some(ProxyHeader::V1), ..Aim::default() }, Aim { tls: Some(Encryption::Tls), ..Aim::default() }]
    {
        assert!(!takes(&Probe { aim: aim.clone(), ..probe(1) }));
        assert!(!takes(&Probe { aim, ..Probe::new(connect.clone()) }));
    }
}
