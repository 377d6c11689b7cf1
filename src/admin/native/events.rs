//! The stream of events: what a reader missed out of the journal, then what comes, without a gap and nothing twice.
//!
//! Both parts are joined by the events' ids: the reader's last one only grows, and what the memory of the process no
//! longer holds is read from the journal up to exactly where the memory begins. Runs on the admin runtime; the journal
//! is read aside.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use http::HeaderName;
use serde::Deserialize;
use tokio::time::{Interval, interval};

use crate::feed::{Ring, Since};
use crate::store::{Chronicle, EventQuery, JournalError, Order};

use crate::admin::aside::{NotMade, Share, Turns};
use crate::admin::call::{AdminState, Call, Caller};
use crate::admin::error::AdminError;
use crate::admin::guard::quoted;
use crate::admin::long::{HEARTBEAT, Held, NOT_HELD, Over, Stream, event};

use super::error::Failure;
use super::query::Query;
use super::timeline::{About, unreadable};

/// Events that are written at once.
const AT_ONCE: usize = 32;
/// How often the memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often the journal is asked again for what is on its way to the disk.
const ASK_AGAIN_MAX: u32 = 100;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Opens the stream that a query asks for: from `after` or the field Last-Event-ID, else from now.
pub(super) fn stream(state: &AdminState, call: &Call, caller: &Caller, query: &Query) -> Result<Response, Failure> {
    let about = super::about_named(&state.store.snapshot(call.now), query)?;
    query.limit()?;
    let resumed = match call.headers.get(LAST_EVENT_ID) {
        None => None,
        Some(id) => {
            let text = String::from_utf8_lossy(id.as_bytes());
            let bound = "0..=18446744073709551615, an event's id".to_owned();
            let got = format!("\"{}\"", quoted(&text));
            let bad = || AdminError::BadValue { field: "Last-Event-ID", got, bound };
            Some(text.trim().parse().map_err(|_| bad())?)
        }
    };
    // A browser that lost the stream repeats its first target: what it says in the field is newer.
    let after = resumed.or(query.after()?);
    let long = state.long_calls.begin(&caller.grant.name).map_err(Failure::too_many_open)?;
    let (response, stream) = Stream::open(long);
    let feed = Arc::clone(&state.feed);
    let last = after.unwrap_or_else(|| feed.latest());
    let (chronicle, heartbeat) = (state.chronicle.clone(), interval(HEARTBEAT));
    let (held, turns) = (Held::of(state, call, caller), Arc::clone(&state.turns));
    tokio::spawn(Teller { feed, chronicle, about, last, heartbeat, asked: 0, stream, held, turns }.run());
    Ok(response)
}

/// Tells one reader.
struct Teller {
    feed: Arc<Ring>,
    chronicle: Option<Arc<dyn Chronicle>>,
    about: About,
    /// The last event that the reader was told or that is none of its business.
    last: u64,
    heartbeat: Interval,
    /// How often the journal was asked in vain.
    asked: u32,
    stream: Stream,
    held: Held,
    turns: Arc<Turns>,
}

impl Teller {
    async fn run(mut self) {
        // At once, so that a client knows that it is heard.
        let opened = self.stream.send(": farmgate events\nretry: 1000\n\n").await;
        if opened.is_ok() {
            while self.step().await.is_ok() {}
        }
    }

    /// Tells what there is, or waits for more.
    async fn step(&mut self) -> Result<(), Over> {
        if self.held.is_to_look() {
            self.look_again()?;
        }
        if self.last > self.feed.latest() {
            // Without a state_dir the ids begin anew with each process.
            self.stream.send(": the ids began anew\n\n").await?;
            self.last = 0;
        }
        match self.feed.after(self.last, AT_ONCE) {
            Since::Events(events) => match events.last() {
                None => self.wait().await,
                Some(newest) => {
                    self.last = newest.id;
                    let wanted = events.iter().filter(|told| self.about.takes(told));
                    let text: String = wanted.map(|told| written(told.id, &told.json)).collect();
                    self.tell(text).await
                }
            },
            Since::Gap { missing_up_to } => self.tell_from_journal(missing_up_to).await,
        }
    }

    /// Waits until something comes; meanwhile says that the stream is alive.
    async fn wait(&mut self) -> Result<(), Over> {
        while self.feed.latest() == self.last && !self.held.is_to_look() {
            tokio::select! {
                () = self.stream.call.closed() => {
                    self.stream.end(": farmgate stops\n\n");
                    return Err(Over);
                }
                () = self.stream.is_left() => return Err(Over),
                _ = self.heartbeat.tick() => {
                    self.look_again()?;
                    self.stream.beat().await?;
                }
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        Ok(())
    }

    /// Ends the stream if its credential is one no more.
    fn look_again(&mut self) -> Result<(), Over> {
        if self.held.is_good() {
            return Ok(());
        }
        self.stream.end(NOT_HELD);
        Err(Over)
    }

    async fn tell(&mut self, text: String) -> Result<(), Over> {
        if text.is_empty() {
            return Ok(());
        }
        self.heartbeat.reset();
        self.stream.send(text).await
    }

    /// Tells some of what the memory no longer holds, which ends with `missing_up_to`.
    async fn tell_from_journal(&mut self, missing_up_to: u64) -> Result<(), Over> {
        let chronicle = self.chronicle.clone().filter(|_| self.asked < ASK_AGAIN_MAX);
        let Some(chronicle) = chronicle else {
            let first = self.last + 1;
            (self.last, self.asked) = (missing_up_to, 0);
            return self.stream.send(format!(": events {first} to {missing_up_to} are not held any more\n\n")).await;
        };
        let (about, last) = (self.about, self.last);
        let read = self.turns.made(Share::Looks, "", move || part(&*chronicle, about, last, missing_up_to)).await;
        match read {
            Ok(Ok(Part::Events { text, up_to })) => {
                (self.last, self.asked) = (up_to, 0);
                self.tell(text).await
            }
            Err(NotMade::Busy) => {
                if self.stream.call.rest(LOOK_EVERY).await {
                    Ok(())
                } else {
                    Err(Over)
                }
            }
            Ok(Ok(Part::OnItsWay)) => {
                self.asked += 1;
                if self.stream.call.rest(LOOK_EVERY).await { Ok(()) } else { Err(Over) }
            }
            Ok(Err(error)) => {
                let _ = unreadable(&error);
                self.stream.end(": the journal cannot be read; see the log\n\n");
                Err(Over)
            }
            Err(NotMade::Broken) => Err(Over),
        }
    }
}

/// A part of what the journal has.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// These, as they stand in the stream, and everything else up to that id is none of the reader's business.
    Events { text: String, up_to: u64 },
    /// The journal is not that far yet.
    OnItsWay,
}

/// Reads what the journal has after `last`, up to `end`.
fn part(chronicle: &dyn Chronicle, about: About, last: u64, end: u64) -> Result<Part, JournalError> {
    let all = EventQuery {
        server: None,
        farm: None,
        after: Some(last),
        since: None,
        until: None,
        order: Order::OldestFirst,
        limit: AT_ONCE,
    };
    // What the journal kept last, before the question: only what is older than that is known to be there or not at all.
    let newest = chronicle.events(&EventQuery { after: None, order: Order::NewestFirst, limit: 1, ..all })?;
    let reached = newest.first().map_or(0, |event| event.id);
    let wanted = EventQuery { server: about.server, farm: about.farm, ..all };
    let mut events = chronicle.events(&wanted)?;
    let is_whole = events.len() < AT_ONCE;
    events.retain(|event| event.id <= end);
    let up_to = match events.last() {
        Some(newest) if !is_whole => newest.id,
        Some(_) | None if reached >= end => end,
        Some(newest) => newest.id,
        None if reached > last => reached.min(end),
        None => return Ok(Part::OnItsWay),
    };
    Ok(Part::Events { text: events.iter().map(|event| written(event.id, &event.json)).collect(), up_to })
}

/// An event as it stands in a stream.
fn written(id: u64, json: &str) -> String {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(rename = "type", borrow)]
        kind: std::borrow::Cow<'a, str>,
    }
    // Our own JSON; a later process's schema has a type too.
    let kind = serde_json::from_str::<Kind<'_>>(json).map_or_else(|_| "event".into(), |head| head.kind);
    event(Some(id), &kind, json)
}

#[cfg(test)]
mod tests;
