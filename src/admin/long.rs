//! Calls that stay open for as long as something is waited for or told: waits and streams.
//!
//! They are few at once, so that enough connections are left for everybody else, fewer of one credential, and all of them
//! end when the admin side stops. A stream ends too when its credential is one no more. A stream is fed by a task of its own through a short queue: a reader that does not take it in time is cut off
//! with a comment and can resume. Runs on the admin runtime.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, header};
use hyper::body::Frame;
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::sync::watch;
use tokio::time::timeout;

use super::call::{AdminState, Call, Caller, Credentials};
use super::native;

/// Waits and streams open at once.
pub(super) const LONG_CALLS_MAX: usize = 64;
/// Those of them that one credential may have.
pub(super) const LONG_CALLS_OF_ONE_MAX: usize = 8;
/// Pieces of a stream that wait for its reader.
const PIECES_WAITING_MAX: usize = 4;
/// How long a reader may leave them there.
const READER_DEADLINE: Duration = Duration::from_secs(10);
/// The last word of a stream whose credential was taken away.
pub(super) const NOT_HELD: &str = ": the credential of this stream is one no more\n\n";
/// How often a silent stream says that it is alive.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);

/// Who may stay open, and until when; see the module's doc.
#[derive(Clone, Debug)]
pub struct LongCalls {
    /// How many each credential has.
    open: Arc<Mutex<BTreeMap<Box<str>, usize>>>,
    closing: Arc<watch::Sender<bool>>,
}

impl Default for LongCalls {
    fn default() -> Self {
        Self { open: Arc::default(), closing: Arc::new(watch::channel(false).0) }
    }
}

/// Why another call may not stay open: how many are, and whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TooManyOpen {
    /// Everybody's.
    OfAll,
    /// Those of the same credential.
    OfOne,
}

impl LongCalls {
    /// Returns leave to stay open for a call with the credential of that name.
    pub(super) fn begin(&self, who: &str) -> Result<LongCall, TooManyOpen> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let own = open.get(who).copied().unwrap_or(0);
        if own >= LONG_CALLS_OF_ONE_MAX {
            return Err(TooManyOpen::OfOne);
        }
        if open.values().sum::<usize>() >= LONG_CALLS_MAX {
            return Err(TooManyOpen::OfAll);
        }
        open.insert(who.into(), own + 1);
        drop(open);
        Ok(LongCall { open: Arc::clone(&self.open), who: who.into(), closing: self.closing.subscribe() })
    }

    /// Ends every one of them, and those to come.
    pub(super) fn close(&self) {
        self.closing.send_replace(true);
    }
}

/// Leave to stay open, until it is dropped.
#[derive(Debug)]
pub(super) struct LongCall {
    open: Arc<Mutex<BTreeMap<Box<str>, usize>>>,
    who: Box<str>,
    closing: watch::Receiver<bool>,
}

impl Drop for LongCall {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.who) {
            Some(own) if *own > 1 => *own -= 1,
            Some(_) | None => drop(open.remove(&self.who)),
        }
    }
}

/// The credential of a call that stays open: it may be taken away meanwhile.
#[derive(Debug)]
pub(super) struct Held {
    credentials: Arc<ArcSwap<Credentials>>,
    /// Those that it was last looked for in.
    seen: Arc<Credentials>,
    call: Call,
    name: Box<str>,
}

impl Held {
    /// Returns that of a call of this shape.
    pub(super) fn of(state: &AdminState, call: &Call, caller: &Caller) -> Self {
        let credentials = Arc::clone(&state.credentials);
        let seen = credentials.load_full();
        Self { credentials, seen, call: call.clone(), name: caller.grant.name.clone() }
    }

    /// Returns whether others are in force than those that it was last looked for in.
    pub(super) fn is_to_look(&self) -> bool {
        !Arc::ptr_eq(&self.seen, &self.credentials.load())
    }

    /// Looks for it again, and returns whether it is still that of whoever called.
    pub(super) fn is_good(&mut self) -> bool {
        self.seen = self.credentials.load_full();
        native::caller(&self.seen, &self.call).is_ok_and(|caller| caller.grant.name == self.name)
    }
}

impl LongCall {
    /// Returns once the admin side stops.
    pub(super) async fn closed(&self) {
        let mut closing = self.closing.clone();
        // The sender lives as long as the state that every call is answered from.
        let _ = closing.wait_for(|closing| *closing).await;
    }

    /// Waits for `duration`; false if the admin side stops before.
    pub(super) async fn rest(&self, duration: Duration) -> bool {
        tokio::select! {
            () = self.closed() => false,
            () = tokio::time::sleep(duration) => true,
        }
    }
}

/// The writing end of a stream of server-sent events.
#[derive(Debug)]
pub(super) struct Stream {
    pieces: mpsc::Sender<Bytes>,
    last_word: Option<OwnedPermit<Bytes>>,
    pub(super) call: LongCall,
    /// Tells the connection that nothing is under way any more.
    _open: watch::Sender<()>,
}

/// With an answer whose body is still being made: ends when it is made.
#[derive(Clone, Debug)]
pub(super) struct StillOpen(watch::Receiver<()>);

impl StillOpen {
    /// Returns once the stream was told to its end.
    pub(super) async fn ended(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

/// Why a stream is not told any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Over;

impl Stream {
    /// Opens a stream: what is answered, and what it is written with.
    pub(super) fn open(call: LongCall) -> (Response, Self) {
        let (pieces, reader) = mpsc::channel(PIECES_WAITING_MAX + 1);
        let (open, still_open) = watch::channel(());
        let mut response = Response::new(Body::new(Pieces(reader)));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        response.extensions_mut().insert(StillOpen(still_open));
        let last_word = pieces.clone().try_reserve_owned().ok();
        (response, Self { pieces, last_word, call, _open: open })
    }

    /// Hands a piece to the reader, waiting for room.
    pub(super) async fn send(&mut self, piece: impl Into<Bytes>) -> Result<(), Over> {
        let sent = tokio::select! {
            () = self.call.closed() => return Err(Over),
            sent = timeout(READER_DEADLINE, self.pieces.send(piece.into())) => sent,
        };
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Over),
            Err(_) => {
                self.end(": cut off: read too slowly; resume with Last-Event-ID or after=\n\n");
                Err(Over)
            }
        }
    }

    /// Says that it is alive.
    pub(super) async fn beat(&mut self) -> Result<(), Over> {
        self.send(Bytes::from_static(b":\n\n")).await
    }

    /// Says a last word, for which there is always room.
    pub(super) fn end(&mut self, word: &'static str) {
        if let Some(room) = self.last_word.take() {
            room.send(Bytes::from_static(word.as_bytes()));
        }
    }

    /// Returns once nobody reads any more.
    pub(super) async fn is_left(&self) {
        self.pieces.closed().await;
    }
}

/// One event as it stands in a stream.
pub(super) fn event(id: Option<u64>, kind: &str, data: &str) -> String {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    debug_assert!(!data.contains('\n'), "one line of JSON");
    format!("{id}event: {kind}\ndata: {data}\n\n")
}

struct Pieces(mpsc::Receiver<Bytes>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[test]
    fn long_calls_are_few_and_give_their_place_back() {
        let calls = LongCalls::default();
        let who = |n: usize| (n / LONG_CALLS_OF_ONE_MAX).to_string();
        let mut open: Vec<_> = (0..LONG_CALLS_MAX).map(|n| calls.begin(&who(n)).unwrap()).collect();
        assert_eq!(calls.begin("new").err(), Some(TooManyOpen::OfAll));
        open.pop();
        assert!(calls.begin("new").is_ok());
    }

    #[test]
    fn credential_has_few_long_calls_and_leaves_others_theirs() {
        let calls = LongCalls::default();
        let mut open: Vec<_> = (0..LONG_CALLS_OF_ONE_MAX).map(|_| calls.begin("a").unwrap()).collect();
        assert_eq!(calls.begin("a").err(), Some(TooManyOpen::OfOne));
        assert!(calls.begin("b").is_ok());
        open.pop();
        assert!(calls.begin("a").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn rest_ends_early_when_the_admin_side_stops() {
        let calls = LongCalls::default();
        let call = calls.begin("a").unwrap();
        assert!(call.rest(Duration::from_secs(1)).await);
        calls.close();
        assert!(!call.rest(Duration::from_secs(1)).await);
        assert!(!calls.begin("a").unwrap().rest(Duration::from_secs(1)).await, "nor does a later one wait");
    }

    #[tokio::test(start_paused = true)]
    async fn reader_that_does_not_read_is_cut_off_with_a_word() {
        let calls = LongCalls::default();
        let (response, mut stream) = Stream::open(calls.begin("a").unwrap());
        for _ in 0..PIECES_WAITING_MAX {
            assert_eq!(stream.send("data: 1\n\n").await, Ok(()));
        }
        assert_eq!(stream.send("data: 2\n\n").await, Err(Over));
        drop(stream);
        let all = response.into_body().collect().await.unwrap().to_bytes();
        let all = String::from_utf8(all.to_vec()).unwrap();
        assert_eq!(all.matches("data: 1\n").count(), PIECES_WAITING_MAX);
        assert!(all.ends_with(": cut off: read too slowly; resume with Last-Event-ID or after=\n\n"), "{all}");
    }

    #[tokio::test]
    async fn stream_of_a_reader_that_left_is_over() {
        let (response, mut stream) = Stream::open(LongCalls::default().begin("a").unwrap());
        drop(response);
        stream.is_left().await;
        assert_eq!(stream.beat().await, Err(Over));
    }

    #[test]
    fn event_is_written_as_the_standard_asks() {
        assert_eq!(event(Some(7), "changed", "{}"), "id: 7\nevent: changed\ndata: {}\n\n");
        assert_eq!(event(None, "drain", "{}"), "event: drain\ndata: {}\n\n");
    }
}
