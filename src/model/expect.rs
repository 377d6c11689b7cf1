//! What a reply must be to pass: statuses, texts, patterns. Validated: ranges hold, patterns are compiled.

use std::fmt;

/// Bytes of a reply that `contains` and `matches` look at.
pub const BODY_BYTES_LOOKED_AT: usize = 16 * 1024;

/// What an HTTP answer must be: the status in the set and, where asked, the body matching.
#[derive(Clone, Debug, PartialEq)]
pub struct Expect {
    /// Statuses that pass. 200-399 unless told (HAProxy's own rule).
    pub status: StatusSet,
    /// Statuses that pass on condition: the server finishes what it has and takes no new work (HAProxy's
    /// `disable-on-404`). Empty unless told.
    pub stopping: StatusSet,
    /// What the first [`BODY_BYTES_LOOKED_AT`] bytes of the body must hold.
    pub body: Option<BodyMatch>,
    /// Whether the whole expectation is inverted.
    pub negate: Negate,
}

/// Any 2xx or 3xx, whatever the body.
impl Default for Expect {
    fn default() -> Self {
        let status = StatusSet::two_and_three_hundreds();
        Self { status, stopping: StatusSet::none(), body: None, negate: Negate::AsWritten }
    }
}

/// Whether an expectation is inverted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Negate {
    /// As written.
    AsWritten,
    /// Inverted: a match fails.
    Inverted,
}

/// Inclusive ranges of HTTP statuses, 100..=599, in the order written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusSet(Box<[(u16, u16)]>);

impl StatusSet {
    /// Returns HAProxy's default: any 2xx or 3xx.
    #[must_use]
    pub fn two_and_three_hundreds() -> Self {
        Self(Box::new([(200, 399)]))
    }

    /// Returns the set of no status.
    #[must_use]
    pub fn none() -> Self {
        Self(Box::new([]))
    }

    /// Returns whether no status is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the set written as `200-399,404`, or nothing if it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let code = |s: &str| s.trim().parse::<u16>().ok().filter(|c| (100..=599).contains(c));
        let range = |part: &str| match part.split_once('-') {
            Some((low, high)) => Some((code(low)?, code(high)?)).filter(|(low, high)| low <= high),
            None => code(part).map(|c| (c, c)),
        };
        text.split(',').map(range).collect::<Option<Box<[_]>>>().map(Self)
    }

    /// Returns whether `status` is in the set.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|(low, high)| (*low..=*high).contains(&status))
    }
}

impl fmt::Display for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (low, high)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            if low == high { write!(f, "{comma}{low}")? } else { write!(f, "{comma}{low}-{high}")? }
        }
        Ok(())
    }
}

/// What the first bytes of a reply must hold.
#[derive(Clone, Debug)]
pub enum BodyMatch {
    /// These bytes, anywhere.
    Contains(Box<str>),
    /// A match of this linear-time regular expression, anywhere.
    Matches(regex::bytes::Regex),
}

impl BodyMatch {
    /// Returns whether `body` holds it. Looks at no more than [`BODY_BYTES_LOOKED_AT`] bytes.
    #[must_use]
    pub fn is_in(&self, body: &[u8]) -> bool {
        let body = &body[..body.len().min(BODY_BYTES_LOOKED_AT)];
        match self {
            Self::Contains(text) if text.is_empty() => true,
            Self::Contains(text) => body.windows(text.len()).any(|w| w == text.as_bytes()),
            Self::Matches(regex) => regex.is_match(body),
        }
    }

    /// Returns the pattern as written.
    #[must_use]
    pub fn pattern(&self) -> &str {
        match self {
            Self::Contains(text) => text,
            Self::Matches(regex) => regex.as_str(),
        }
    }
}

impl PartialEq for BodyMatch {
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other) && self.pattern() == other.pattern()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_set_reads_ranges_and_lists() {
        let set = StatusSet::parse("200-299, 404").unwrap();
        assert!(set.contains(204) && set.contains(404) && !set.contains(300));
        assert_eq!(set.to_string(), "200-299,404");
        for bad in ["", "99", "600", "300-200", "2xx", "200-"] {
            assert_eq!(StatusSet::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn body_match_looks_at_the_first_16_kib_only() {
        let mut body = vec![b'x'; BODY_BYTES_LOOKED_AT - 2];
        body.extend_from_slice(b"needle");
        assert!(!BodyMatch::Contains("needle".into()).is_in(&body));
        assert!(BodyMatch::Contains("x".into()).is_in(&body));
    }
}
