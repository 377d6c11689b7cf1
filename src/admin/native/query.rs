//! The query of a request target → typed values. Pure. Every error names the key, the value as given and the bound.
//!
//! A key that a path does not take, or that comes twice, is refused: a filter that is misspelt must not widen an answer.

use std::time::Duration;

use crate::admin::error::AdminError;
use crate::admin::guard::quoted;
use crate::model::Timestamp;
use crate::store::Order;

use super::when::{self, Sense};

/// The most things that one answer lists.
pub(super) const LIMIT_MAX: usize = 1000;
/// How many it lists unless told.
pub(super) const LIMIT_USUAL: usize = 100;
/// The longest wait.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(600);

const WHEN: &str = "a time of RFC 3339 such as 2026-11-21T13:34:20Z, or how long ago such as 15m";

/// Why a query was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum QueryError {
    /// A value outside its bound.
    #[error(transparent)]
    Bad(AdminError),
    /// A key twice.
    #[error("{0} is given twice; send it once")]
    Twice(String),
    /// A key that the path does not take.
    #[error("unknown query parameter \"{got}\"; this path takes {takes}")]
    Unknown { got: String, takes: String },
    /// A `%` that two hexadecimal digits do not follow, or bytes that are no UTF-8.
    #[error("{key}: \"{got}\" is not percent-encoded UTF-8; write %25 for a percent sign")]
    Escape { key: String, got: String },
}

/// A query taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(&'static str, String)>);

impl Query {
    /// Takes a query apart; `takes`: the keys that the path knows.
    pub(super) fn parse(query: Option<&str>, takes: &[&'static str]) -> Result<Self, QueryError> {
        let mut pairs = Vec::new();
        for part in query.unwrap_or("").split('&').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let Some(known) = takes.iter().find(|known| **known == key) else {
                let takes = if takes.is_empty() { "none".to_owned() } else { takes.join(", ") };
                return Err(QueryError::Unknown { got: quoted(key), takes });
            };
            if pairs.iter().any(|(earlier, _)| earlier == known) {
                return Err(QueryError::Twice((*known).to_owned()));
            }
            let value =
                decoded(value).ok_or_else(|| QueryError::Escape { key: (*known).to_owned(), got: quoted(value) })?;
            pairs.push((*known, value));
        }
        Ok(Self(pairs))
    }

    /// Returns the value of a key.
    pub(super) fn get(&self, key: &'static str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == key).map(|(_, value)| value.as_str())
    }

    /// `limit`: how many things the answer lists.
    pub(super) fn limit(&self) -> Result<usize, QueryError> {
        let Some(text) = self.get("limit") else { return Ok(LIMIT_USUAL) };
        let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
        limit.ok_or_else(|| bad("limit", text, &format!("1..={LIMIT_MAX}")))
    }

    /// `order`: which come first.
    pub(super) fn order(&self) -> Result<Order, QueryError> {
        match self.get("order") {
            None | Some("newest") => Ok(Order::NewestFirst),
            Some("oldest") => Ok(Order::OldestFirst),
            Some(text) => Err(bad("order", text, "newest and oldest")),
        }
    }

    /// `since` or `until` of what is read.
    pub(super) fn ago(&self, key: &'static str, now: Timestamp) -> Result<Option<Timestamp>, QueryError> {
        let Some(text) = self.get(key) else { return Ok(None) };
        when::moment(text, now, Sense::Ago).map(Some).ok_or_else(|| bad(key, text, WHEN))
    }

    /// `after`: the id of the last event already known.
    pub(super) fn after(&self) -> Result<Option<u64>, QueryError> {
        let Some(text) = self.get("after") else { return Ok(None) };
        text.parse().map(Some).map_err(|_| bad("after", text, "0..=18446744073709551615, an event's id"))
    }

    /// `wait`: how long the answer may be held back.
    pub(super) fn wait(&self) -> Result<Option<Duration>, QueryError> {
        let Some(text) = self.get("wait") else { return Ok(None) };
        let wait = when::duration(text).filter(|wait| *wait <= WAIT_MAX);
        wait.map(Some).ok_or_else(|| bad("wait", text, "0s..=10m, such as 30s"))
    }
}

fn bad(field: &'static str, got: &str, bound: &str) -> QueryError {
    QueryError::Bad(AdminError::BadValue { field, got: format!("\"{}\"", quoted(got)), bound: bound.to_owned() })
}

/// Undoes percent-encoding. `+` is itself: no value here holds a space, and a time may hold a plus.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (high, low) = (rest.next()?, rest.next()?);
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(high)? << 4 | digit(low)?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TAKES: [&str; 6] = ["after", "limit", "order", "since", "until", "wait"];
    const NOW: Timestamp = Timestamp(1_763_732_060_000_000);

    fn parsed(query: &str) -> Query {
        Query::parse(Some(query), &TAKES).unwrap()
    }

    #[test]
    fn query_values_are_typed_and_have_their_usual_value() {
        let query = parsed("limit=7&order=oldest&since=1h&until=2025-11-21T13%3A34%3A20%2B00:00&after=9&wait=30s");
        assert_eq!((query.limit(), query.order(), query.after()), (Ok(7), Ok(Order::OldestFirst), Ok(Some(9))));
        assert_eq!(query.ago("since", NOW), Ok(Some(Timestamp(NOW.0 - 3_600_000_000))));
        assert_eq!((query.ago("until", NOW), query.wait()), (Ok(Some(NOW)), Ok(Some(Duration::from_secs(30)))));
        let none = Query::parse(None, &TAKES).unwrap();
        assert_eq!((none.limit(), none.order(), none.after()), (Ok(100), Ok(Order::NewestFirst), Ok(None)));
        assert_eq!((none.ago("since", NOW), none.wait()), (Ok(None), Ok(None)));
    }

    #[test]
    fn query_error_names_key_value_and_bound() {
        let said = |query: &str| {
            let query = match Query::parse(Some(query), &TAKES) {
                Err(error) => return error.to_string(),
                Ok(query) => query,
            };
            let first = [
                query.limit().err(),
                query.order().err(),
                query.after().err(),
                query.wait().err(),
                query.ago("since", NOW).err(),
            ];
            first.into_iter().flatten().map(|error| error.to_string()).collect()
        };
        for (query, want) in [
            ("limit=0", "limit: \"0\" is outside 1..=1000"),
            ("limit=1001", "limit: \"1001\" is outside 1..=1000"),
            ("limit=", "limit: \"\" is outside 1..=1000"),
            ("order=up", "order: \"up\" is outside newest and oldest"),
            ("after=-1", "after: \"-1\" is outside 0..=18446744073709551615, an event's id"),
            ("wait=11m", "wait: \"11m\" is outside 0s..=10m, such as 30s"),
            ("wait=30", "wait: \"30\" is outside 0s..=10m, such as 30s"),
            ("limit=1&limit=2", "limit is given twice; send it once"),
            ("limt=5", "unknown query parameter \"limt\"; this path takes after, limit, order, since, until, wait"),
            ("since=%4", "since: \"%4\" is not percent-encoded UTF-8; write %25 for a percent sign"),
            ("since=%ff", "since: \"%ff\" is not percent-encoded UTF-8; write %25 for a percent sign"),
        ] {
            assert_eq!(said(query), want, "{query}");
        }
        assert!(said("since=yesterday").starts_with("since: \"yesterday\" is outside a time of RFC 3339"));
    }

    proptest! {
        #[test]
        fn any_query_is_read_or_refused(text in ".{0,80}") {
            if let Ok(query) = Query::parse(Some(&text), &TAKES) {
                let _ = (query.limit(), query.order(), query.after(), query.wait(), query.ago("since", NOW));
            }
        }
    }
}
