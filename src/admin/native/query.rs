//! The query of a request target → typed values. Pure. Every error names the key, the value as given and the bound.
//!
//! A key that a path does not take, or that comes twice, is refused: a filter that is misspelt must not widen an answer.

use std::time::Duration;

use crate::admin::error::AdminError;
use crate::admin::guard::quoted;
use crate::model::{AdminStatus, Health, Name, Protocol, Timestamp, wildcard};
use crate::store::Order;

use super::when::{self, Sense};

/// The most things that one answer lists.
pub(super) const LIMIT_MAX: usize = 1000;
/// How many it lists unless told.
pub(super) const LIMIT_USUAL: usize = 100;
/// How far into a list a page may begin.
const OFFSET_MAX: usize = 1_000_000;
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

    /// Which things of a list are wanted: `name`, `origin`, `protocol`, `health`, `admin`, and the page of them.
    pub(super) fn filter(&self) -> Result<Filter, QueryError> {
        const PROTOCOLS: [Protocol; 3] = [Protocol::Http, Protocol::Tcp, Protocol::Udp];
        const HEALTHS: [Health; 5] = [Health::Down, Health::Off, Health::Stopping, Health::Unknown, Health::Up];
        const ADMINS: [AdminStatus; 3] = [AdminStatus::Active, AdminStatus::Drain, AdminStatus::Maintenance];
        Ok(Filter {
            name: self.get("name").map(str::to_owned),
            origin: self.word("origin", &["api", "file"], |word| *word)?.copied(),
            protocol: self.word("protocol", &PROTOCOLS, |it| it.as_str())?.copied(),
            health: self.word("health", &HEALTHS, |it| it.as_str())?.copied(),
            admin: self.word("admin", &ADMINS, |it| it.as_str())?.copied(),
            page: self.page()?,
        })
    }

    /// `limit` and `offset`: which page of a list; all of it unless told.
    pub(super) fn page(&self) -> Result<Page, QueryError> {
        let limit = self.get("limit").map(|_| self.limit()).transpose()?;
        let offset = match self.get("offset") {
            None => 0,
            Some(text) => {
                let offset = text.parse().ok().filter(|offset| *offset <= OFFSET_MAX);
                offset.ok_or_else(|| bad("offset", text, &format!("0..={OFFSET_MAX}")))?
            }
        };
        Ok(Page { offset, limit })
    }

    /// The one of these that a key names by its word.
    pub(super) fn word<'a, T>(
        &self,
        key: &'static str,
        all: &'a [T],
        word: impl Fn(&T) -> &'static str,
    ) -> Result<Option<&'a T>, QueryError> {
        let Some(text) = self.get(key) else { return Ok(None) };
        let found = all.iter().find(|it| word(it) == text);
        let words = || all.iter().map(&word).collect::<Vec<_>>().join(", ");
        found.map(Some).ok_or_else(|| bad(key, text, &format!("its words: {}", words())))
    }

    /// `wait`: how long the answer may be held back.
    pub(super) fn wait(&self) -> Result<Option<Duration>, QueryError> {
        let Some(text) = self.get("wait") else { return Ok(None) };
        let wait = when::duration(text).filter(|wait| *wait <= WAIT_MAX);
        wait.map(Some).ok_or_else(|| bad("wait", text, "0s..=10m, such as 30s"))
    }
}

/// Which things of a list are wanted; what is absent does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    /// The name; each `*` stands for anything.
    pub(super) name: Option<String>,
    /// `api` or `file`.
    pub(super) origin: Option<&'static str>,
    pub(super) protocol: Option<Protocol>,
    pub(super) health: Option<Health>,
    pub(super) admin: Option<AdminStatus>,
    pub(super) page: Page,
}

impl Filter {
    /// Returns whether what has that name and origin is wanted.
    pub(super) fn takes(&self, name: &Name, origin: &str) -> bool {
        self.name.as_ref().is_none_or(|pattern| wildcard::matches(pattern, '*', name.as_str()))
            && self.origin.is_none_or(|wanted| wanted == origin)
    }
}

/// A page of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    offset: usize,
    limit: Option<usize>,
}

impl Page {
    /// Returns how many there are, and those of this page.
    pub(super) fn of<T>(self, all: Vec<T>) -> (usize, Vec<T>) {
        let total = all.len();
        (total, all.into_iter().skip(self.offset).take(self.limit.unwrap_or(usize::MAX)).collect())
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

    #[test]
    fn filter_takes_words_patterns_and_a_page() {
        const KEYS: [&str; 7] = ["admin", "health", "limit", "name", "offset", "origin", "protocol"];
        let filter = |text: &str| Query::parse(Some(text), &KEYS).unwrap().filter();
        let name = |text: &str| Name::parse(text).unwrap();
        let wanted = filter("name=web-*&origin=api&protocol=udp&health=down&admin=drain&limit=2&offset=1").unwrap();
        assert!(wanted.takes(&name("web-1"), "api"));
        assert!(!wanted.takes(&name("web-1"), "file") && !wanted.takes(&name("db"), "api"));
        assert_eq!((wanted.protocol, wanted.health), (Some(Protocol::Udp), Some(Health::Down)));
        assert_eq!((wanted.admin, wanted.page.of(vec![1, 2, 3, 4])), (Some(AdminStatus::Drain), (4, vec![2, 3])));
        assert_eq!(filter(""), Ok(Filter::default()));
        for (text, want) in [
            ("origin=ovh", "origin: \"ovh\" is outside its words: api, file"),
            ("protocol=HTTP", "protocol: \"HTTP\" is outside its words: http, tcp, udp"),
            ("offset=-1", "offset: \"-1\" is outside 0..=1000000"),
            ("limit=0", "limit: \"0\" is outside 1..=1000"),
        ] {
            assert_eq!(filter(text).unwrap_err().to_string(), want);
        }
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
