//! Receivers that are away, refuse, hang, drop the connection and come back: nothing is lost, nothing overtakes.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::delivery::signature;
use super::*;
use crate::feed::samples::{NOON, every_kind, transition};
use crate::feed::{EventWire, json};
use crate::model::{CheckBrief, CheckRecord, Health, ProbeSlot, Secret, ServerKey, Timestamp};
use crate::store::{EventQuery, JournalError, RecordedEvent};

const PATIENCE: Duration = Duration::from_secs(10);
const SECRET: &str = "a secret of thirty-two bytes....";
const TIMEOUT: Duration = Duration::from_millis(300);

/// A chronicle of events alone, in memory.
#[derive(Default)]
struct Events {
    events: Mutex<Vec<RecordedEvent>>,
    cursors: Mutex<BTreeMap<String, u64>>,
}

impl Events {
    fn add(&self, event: &crate::model::Event) {
        let recorded = RecordedEvent { id: event.id, at: event.at, json: json(event).into() };
        self.events.lock().unwrap().push(recorded);
    }

    fn with_transitions(ids: impl Iterator<Item = u64>) -> Arc<Self> {
        let events = Self::default();
        ids.for_each(|id| events.add(&transition(id, id % 3, NOON, Health::Down, None)));
        Arc::new(events)
    }

    fn cursor_of(&self, receiver: &str) -> Option<u64> {
        self.cursors.lock().unwrap().get(receiver).copied()
    }
}

impl Chronicle for Events {
    fn events(&self, query: &EventQuery) -> Result<Vec<RecordedEvent>, JournalError> {
        let events = self.events.lock().unwrap();
        let after = events.iter().filter(|event| Some(event.id) > query.after);
        Ok(after.take(query.limit).cloned().collect())
    }

    fn evidence(&self, _server: ServerKey, _limit: usize) -> Result<Vec<(ProbeSlot, CheckRecord)>, JournalError> {
        Ok(Vec::new())
    }

    fn history(
        &self,
        _server: ServerKey,
        _slot: ProbeSlot,
        _since: Timestamp,
        _until: Timestamp,
    ) -> Result<Vec<CheckBrief>, JournalError> {
        Ok(Vec::new())
    }

    fn cursor(&self, receiver: &str) -> Result<Option<u64>, JournalError> {
        Ok(self.cursor_of(receiver))
    }

    fn put_cursor(&self, receiver: &str, event: u64) -> Result<(), JournalError> {
        self.cursors.lock().unwrap().insert(receiver.to_owned(), event);
        Ok(())
    }
}

/// What the receiver does with a request.
#[derive(Clone, Copy, Debug)]
enum Does {
    Answer(u16),
    AnswerAndClose,
    CloseWithoutAnswer,
    Hang,
    Redirect,
}

/// A request as it arrived.
#[derive(Debug)]
struct Arrived {
    head: String,
    body: String,
    was_taken: bool,
}

impl Arrived {
    fn field(&self, name: &str) -> &str {
        let line = self.head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:")));
        line.unwrap().split_once(':').unwrap().1.trim()
    }

    fn id(&self) -> u64 {
        EventWire::parse(&self.body).unwrap().id
    }
}

/// Serves `script` one request after the other, then takes everything.
async fn receive(listener: TcpListener, script: Vec<Does>, arrived: mpsc::UnboundedSender<Arrived>) {
    let script = Arc::new(Mutex::new(script.into_iter()));
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, Arc::clone(&script), arrived.clone()));
    }
}

async fn serve(
    mut stream: TcpStream,
    script: Arc<Mutex<std::vec::IntoIter<Does>>>,
    arrived: mpsc::UnboundedSender<Arrived>,
) {
    let mut bytes = Vec::new();
    loop {
        let Some((head, body)) = read_request(&mut stream, &mut bytes).await else { return };
        let does = script.lock().unwrap().next().unwrap_or(Does::Answer(204));
        let was_taken = matches!(does, Does::Answer(200..300) | Does::AnswerAndClose);
        // The test may have seen enough.
        let _ = arrived.send(Arrived { head, body, was_taken });
        let answer = match does {
            Does::Answer(status) => format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok"),
            Does::AnswerAndClose => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
            Does::Redirect => "HTTP/1.1 307 X\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".to_owned(),
            Does::CloseWithoutAnswer => return,
            Does::Hang => return std::future::pending().await,
        };
        let answer =
            if answer.contains(" 204 ") { answer.replace("Content-Length: 2\r\n\r\nok", "\r\n") } else { answer };
        if stream.write_all(answer.as_bytes()).await.is_err() || matches!(does, Does::AnswerAndClose) {
            return;
        }
    }
}

async fn read_request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<(String, String)> {
    loop {
        let text = String::from_utf8_lossy(bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let length: usize = length.unwrap();
            if body.len() >= length {
                bytes.clear();
                return Some((head.to_owned(), body.to_owned()));
            }
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
        }
    }
}

fn webhook(url: &str) -> Webhook {
    let (name, secret) = ("pager".into(), Secret::new(SECRET));
    Webhook { name, url: url.into(), secret, ca: None, timeout: TIMEOUT, per_second_max: 10_000 }
}

/// Starts a task with short rests.
fn start(events: &Arc<Events>, webhook: &Webhook, latest: &watch::Sender<u64>, begin_after: u64) -> Arc<ReceiverCells> {
    let receiver = Receiver::new(webhook).unwrap();
    let cells = receiver.cells();
    let chronicle: Arc<dyn Chronicle> = Arc::clone(events) as Arc<dyn Chronicle>;
    let task = Task::new(receiver, chronicle, latest.subscribe(), 1);
    let task = task.with_rests(Duration::from_millis(5), Duration::from_millis(20));
    tokio::spawn(task.run(begin_after));
    cells
}

async fn next(arrivals: &mut mpsc::UnboundedReceiver<Arrived>) -> Arrived {
    tokio::time::timeout(PATIENCE, arrivals.recv()).await.expect("nothing arrives").unwrap()
}

/// Returns the ids of what was taken, up to and with `last`; every attempt until it is taken is of the same event.
async fn taken_up_to(arrivals: &mut mpsc::UnboundedReceiver<Arrived>, last: u64) -> Vec<u64> {
    let mut taken: Vec<u64> = Vec::new();
    let mut under_way = None;
    while taken.last() != Some(&last) {
        let arrived = next(arrivals).await;
        assert!(under_way.is_none_or(|id| id == arrived.id()), "{} overtakes {under_way:?}", arrived.id());
        under_way = (!arrived.was_taken).then(|| arrived.id());
        if arrived.was_taken {
            taken.push(arrived.id());
        }
    }
    taken
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"));
}

#[tokio::test]
async fn receiver_that_fails_in_every_way_gets_every_event_in_order() {
    let events = Events::with_transitions(1..=200);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?a=b", listener.local_addr().unwrap());
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let mut script = Vec::new();
    for does in [
        Does::Answer(500),
        Does::CloseWithoutAnswer,
        Does::Hang,
        Does::Redirect,
        Does::Answer(404),
        Does::AnswerAndClose,
        Does::Answer(200),
        Does::Answer(503),
    ] {
        script.extend([does, Does::Answer(202), Does::Answer(200)]);
    }
    tokio::spawn(receive(listener, script, arrived));
    let (latest, _) = watch::channel(200);
    let cells = start(&events, &webhook(&url), &latest, 0);
    assert_eq!(taken_up_to(&mut arrivals, 200).await, (1..=200).collect::<Vec<_>>());
    until("the last event to be counted", || cells.delivered() == 200 && cells.lag() == 0).await;
    assert_eq!(events.cursor_of("pager"), Some(200));
    assert!(cells.failed() >= 5, "{}", cells.failed());
}

#[tokio::test]
async fn receiver_that_is_away_gets_what_it_missed_once_it_is_back() {
    let events = Events::with_transitions(1..=50);
    let place = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (latest, _) = watch::channel(50);
    let cells = start(&events, &webhook(&format!("http://{place}")), &latest, 10);
    until("attempts to fail", || cells.failed() >= 3).await;
    assert_eq!((cells.delivered(), cells.lag(), events.cursor_of("pager")), (0, 40, Some(10)));
    (51..=60).for_each(|id| events.add(&transition(id, 1, NOON, Health::Up, None)));
    latest.send_replace(60);
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    tokio::spawn(receive(TcpListener::bind(place).await.unwrap(), vec![], arrived));
    assert_eq!(taken_up_to(&mut arrivals, 60).await, (11..=60).collect::<Vec<_>>());
    events.add(&transition(61, 1, NOON, Health::Up, None));
    latest.send_replace(61);
    assert_eq!(taken_up_to(&mut arrivals, 61).await, [61]);
    until("the lag to be nothing", || cells.lag() == 0).await;
}

#[tokio::test]
async fn receiver_goes_on_where_an_earlier_process_stood() {
    let events = Events::with_transitions(1..=9);
    events.put_cursor("pager", 7).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    tokio::spawn(receive(listener, vec![], arrived));
    let (latest, _) = watch::channel(9);
    start(&events, &webhook(&url), &latest, 9);
    assert_eq!(taken_up_to(&mut arrivals, 9).await, [8, 9]);
}

#[tokio::test]
async fn events_that_went_before_they_were_taken_are_counted_and_ids_never_given_out_are_not() {
    for (kept, cursor, missed) in [(vec![5, 6], 2, 2), (vec![3, 4], 2, 0), (vec![2, 90], 2, 0), (vec![5], 4, 0)] {
        let last = *kept.last().unwrap();
        let events = Events::with_transitions(kept.iter().copied());
        events.put_cursor("pager", cursor).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (arrived, mut arrivals) = mpsc::unbounded_channel();
        tokio::spawn(receive(listener, vec![], arrived));
        let (latest, _) = watch::channel(last);
        let cells = start(&events, &webhook(&url), &latest, last);
        taken_up_to(&mut arrivals, last).await;
        assert_eq!(cells.missed(), missed, "{kept:?} after {cursor}");
    }
}

#[tokio::test]
async fn transitions_of_an_incident_are_not_sent_and_the_incident_is() {
    let events = Arc::new(Events::default());
    let mut incident = every_kind().swap_remove(8);
    incident.id = 1;
    events.add(&incident);
    (2..=5).for_each(|id| events.add(&transition(id, id, NOON, Health::Down, Some(1))));
    events.add(&transition(6, 1, NOON, Health::Down, None));
    (7..=9).for_each(|id| events.add(&transition(id, id, NOON, Health::Up, Some(1))));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    tokio::spawn(receive(listener, vec![], arrived));
    let (latest, _) = watch::channel(9);
    let cells = start(&events, &webhook(&url), &latest, 0);
    assert_eq!(taken_up_to(&mut arrivals, 6).await, [1, 6]);
    until("the rest to be passed over", || events.cursor_of("pager") == Some(9) && cells.lag() == 0).await;
    assert_eq!(cells.delivered(), 2);
}

#[tokio::test]
async fn delivery_is_signed_and_named_for_each_attempt() {
    let events = Events::with_transitions(7..=7);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap();
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    tokio::spawn(receive(listener, vec![Does::Answer(500)], arrived));
    let (latest, _) = watch::channel(7);
    start(&events, &webhook(&format!("http://{place}/hook?a=b")), &latest, 0);
    for attempt in ["7-1", "7-2"] {
        let arrived = next(&mut arrivals).await;
        assert!(arrived.head.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{}", arrived.head);
        assert_eq!(arrived.field("host"), place.to_string());
        assert_eq!(arrived.field("content-type"), "application/json");
        assert_eq!((arrived.field("farmgate-event"), arrived.field("farmgate-delivery")), ("7", attempt));
        let seconds = arrived.field("farmgate-signature").split(['=', ',']).nth(1).unwrap().parse::<u64>().unwrap();
        let now = Timestamp(seconds * 1_000_000);
        assert_eq!(arrived.field("farmgate-signature"), signature(&Secret::new(SECRET), now, arrived.body.as_bytes()));
    }
}

#[test]
fn signature_is_what_any_other_program_computes() {
    // printf '1795262591.{"id":1}' | openssl dgst -sha256 -hmac secret
    let expected = "t=1795262591,v1=28a0f67bc805d7f1d4cf7763d4d46e7133497a1793e384e3eb77380d1b8bcd29";
    assert_eq!(signature(&Secret::new("secret"), NOON, br#"{"id":1}"#), expected);
}

#[tokio::test]
async fn deliveries_keep_to_their_rate() {
    let events = Events::with_transitions(1..=6);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    tokio::spawn(receive(listener, vec![], arrived));
    let (latest, _) = watch::channel(6);
    let began = crate::clock::monotonic();
    start(&events, &Webhook { per_second_max: 20, ..webhook(&url) }, &latest, 0);
    assert_eq!(taken_up_to(&mut arrivals, 6).await, [1, 2, 3, 4, 5, 6]);
    // The first goes at once, the five others 50 ms apart.
    assert!(began.elapsed() >= Duration::from_millis(240), "{:?}", began.elapsed());
}

#[tokio::test]
async fn certificate_that_is_not_trusted_is_told_nothing() {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut bytes = vec![0; 16_384];
                while stream.read(&mut bytes).await.is_ok_and(|n| n > 0) {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                }
            });
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let cell = |name: &str, pem: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, pem).unwrap();
        Webhook { ca: Some(path), ..webhook(&url) }
    };
    let (latest, _) = watch::channel(1);
    let (good, bad) = (Events::with_transitions(1..=1), Events::with_transitions(1..=1));
    let trusted = start(&good, &cell("made.pem", made.cert.pem()), &latest, 0);
    let refused = start(&bad, &cell("other.pem", other.cert.pem()), &latest, 0);
    until("the trusted one to take it", || trusted.delivered() == 1).await;
    until("the other to be refused", || refused.failed() >= 2).await;
    assert_eq!(refused.delivered(), 0);
}

#[test]
fn receiver_that_cannot_be_told_says_why() {
    let refused = |webhook: Webhook| crate::report::report(&Receiver::new(&webhook).unwrap_err()).to_string();
    assert_eq!(
        refused(webhook("ftp://a")),
        "webhook \"pager\": url \"ftp://a\" cannot be used: it begins with neither http:// nor https://"
    );
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let refused = refused(Webhook { ca: Some(empty.clone()), ..webhook("https://a") });
    let why = format!("cannot use the authorities in {empty:?}: it holds no certificate in PEM");
    assert_eq!(refused, format!("webhook \"pager\": ca: {why}; give a PEM file with certificates"));
}

#[tokio::test]
async fn run_ends_when_it_is_stopped() {
    let events = Events::with_transitions(1..=1);
    let place = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let receivers = vec![Receiver::new(&webhook(&format!("http://{place}"))).unwrap()];
    let (_latest, latest) = watch::channel(1);
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(run(receivers, events, latest, 0, 1, stopped));
    stop.send_replace(true);
    tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap();
}
