//! Query filters of list calls. Pure.
//!
//! Parameters that a list does not have are ignored, as are empty ones and the word `null`, which python-ovh sends for
//! None. `like` is SQL's: `%` stands for any run of characters, and without one the whole text must be equal.

use axum::extract::Query as Pairs;
use http::Uri;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::admin::error::AdminError;
use crate::model::{Timestamp, wildcard};

/// Bytes of a date, such as 2026-11-21.
const DATE_BYTES: usize = 10;

/// The parameters of one call.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Returns the parameters of a request target.
    ///
    /// # Errors
    /// [`AdminError::BadValue`] if it has a query that is none.
    pub(super) fn of(uri: &Uri) -> Result<Self, AdminError> {
        let pairs: Result<Pairs<Vec<(String, String)>>, _> = Pairs::try_from_uri(uri);
        let bad = |_| AdminError::BadValue {
            field: "query",
            got: uri.query().unwrap_or_default().to_owned(),
            bound: "name=value pairs joined by &".to_owned(),
        };
        pairs.map(|Pairs(pairs)| Self(pairs)).map_err(bad)
    }

    /// Returns those of a call that has none.
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    /// Returns a parameter, if it was given.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        let value = self.0.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str());
        value.filter(|v| !v.is_empty() && *v != "null")
    }

    /// Returns a parameter that must be an integer. One below 0 is the id of nothing and reads as 0.
    ///
    /// # Errors
    /// [`AdminError::BadValue`] if it is none.
    pub(super) fn integer(&self, key: &'static str) -> Result<Option<u64>, AdminError> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let bound = || "the integers".to_owned();
        let number: i64 =
            text.parse().map_err(|_| AdminError::BadValue { field: key, got: text.to_owned(), bound: bound() })?;
        Ok(Some(u64::try_from(number).unwrap_or(0)))
    }

    /// Returns a parameter that must be one of `words`.
    ///
    /// # Errors
    /// [`AdminError::BadValue`] if it is none of them.
    pub(super) fn one_of(&self, key: &'static str, words: &[&str]) -> Result<Option<&str>, AdminError> {
        match self.text(key) {
            Some(text) if !words.contains(&text) => {
                Err(AdminError::BadValue { field: key, got: text.to_owned(), bound: words.join(", ") })
            }
            given => Ok(given),
        }
    }

    /// Returns a parameter that must be a time.
    ///
    /// # Errors
    /// [`AdminError::BadValue`] if it is none.
    pub(super) fn moment(&self, key: &'static str) -> Result<Option<Timestamp>, AdminError> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let bound = || "the times of RFC 3339, such as 2026-11-21T13:34:20Z".to_owned();
        let at = OffsetDateTime::parse(text, &Rfc3339).ok();
        let at = at.and_then(|at| u64::try_from(at.unix_timestamp_nanos() / 1000).ok()).map(Timestamp);
        at.map(Some).ok_or_else(|| AdminError::BadValue { field: key, got: text.to_owned(), bound: bound() })
    }

    /// Returns a parameter that must be a time, or a date: its first instant.
    ///
    /// # Errors
    /// [`AdminError::BadValue`] if it is neither.
    pub(super) fn day_or_moment(&self, key: &'static str) -> Result<Option<Timestamp>, AdminError> {
        let day = self.text(key).filter(|text| text.len() == DATE_BYTES).map(|day| format!("{day}T00:00:00Z"));
        match day {
            Some(first) => Self(vec![(key.to_owned(), first)]).moment(key),
            None => self.moment(key),
        }
    }

    /// Returns whether what is in that zone passes the filter of that name; capitals do not matter.
    pub(super) fn is_in(&self, key: &str, zone: &str) -> bool {
        self.text(key).is_none_or(|want| want.eq_ignore_ascii_case(zone))
    }

    /// Returns whether what has that value passes the filter of that name, which asks for equality.
    pub(super) fn is(&self, key: &str, value: &str) -> bool {
        self.text(key).is_none_or(|want| want == value)
    }
}

/// Returns whether `text` is LIKE `pattern`.
pub(super) fn is_like(pattern: &str, text: &str) -> bool {
    wildcard::matches(pattern, '%', text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_without_percent_is_equality_and_percent_is_any_run() {
        for (pattern, text, want) in [
            ("80", "80", true),
            ("80", "8080", false),
            ("80%", "8080", true),
            ("%80", "8080", true),
            ("%443%", "22280,443,9000", true),
            ("%443%", "22280", false),
            ("8%8%0", "8080", true),
            ("8%80%80", "8080", false),
            ("%", "", true),
        ] {
            assert_eq!(is_like(pattern, text), want, "{pattern} {text}");
        }
    }

    #[test]
    fn query_null_and_empty_are_not_given_and_words_and_numbers_are_checked() {
        let query = Query::of(&"/x?a=null&b=&c=7&d=-1&e=x%20y&status=active".parse().unwrap()).unwrap();
        assert_eq!((query.text("a"), query.text("b"), query.text("e")), (None, None, Some("x y")));
        assert_eq!((query.integer("c"), query.integer("d"), query.integer("a")), (Ok(Some(7)), Ok(Some(0)), Ok(None)));
        assert!(query.integer("e").is_err());
        assert_eq!(query.one_of("status", &["active"]), Ok(Some("active")));
        assert!(query.one_of("status", &["inactive"]).is_err());
        let query =
            Query::of(&"/x?day=2026-11-21&at=2026-11-21T02:00:00%2B02:00&bad=2026-11-xx&zone=GRA".parse().unwrap());
        let query = query.unwrap();
        assert_eq!(query.day_or_moment("day"), query.day_or_moment("at"));
        assert!(query.day_or_moment("day").unwrap().is_some() && query.day_or_moment("bad").is_err());
        assert!(query.is_in("zone", "gra") && query.is_in("none", "gra") && !query.is_in("zone", "bhs"));
    }
}
