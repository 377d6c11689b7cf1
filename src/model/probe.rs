//! A probe: how a farm's servers are checked, and what counts as a pass.
//!
//! Everything is validated: ranges hold, patterns are compiled. `rise` and `fall` are HAProxy's.

use std::fmt;
use std::time::Duration;

/// Bytes of a reply that `contains` and `matches` look at.
pub const BODY_BYTES_LOOKED_AT: usize = 16 * 1024;

/// How servers of a farm are checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// What is spoken.
    pub kind: ProbeKind,
    /// From the start of one check to the start of the next, at most: jitter only shortens it.
    pub interval: Duration,
    /// The hard deadline of one check, connect and all; shorter than or equal to `interval`.
    pub timeout: Duration,
    /// Passes in a row that bring a Down server back; at least 1.
    pub rise: u16,
    /// Failures in a row that take an Up server out; at least 1.
    pub fall: u16,
    /// What a server counts as before its first check.
    pub start: ProbeStart,
    /// The port to probe where it is not the server's own.
    pub port: Option<u16>,
}

/// What a probe speaks.
#[derive(Clone, Debug, PartialEq)]
pub enum ProbeKind {
    /// HTTP/1.1 request.
    Http(HttpProbe),
    /// TCP connect; with an expectation, the first bytes that the server sends on its own are matched.
    Tcp {
        /// What the banner must hold, if anything.
        banner: Option<BodyMatch>,
        /// Whether the match is inverted.
        negate: Negate,
    },
}

impl ProbeKind {
    /// Returns the word of the config file and of OVHcloud's `probe.type`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Tcp { .. } => "tcp",
        }
    }
}

/// One HTTP request and what its answer must be.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpProbe {
    /// The method.
    pub method: ProbeMethod,
    /// Host header; the server's own address where absent.
    pub host: Option<Box<str>>,
    /// Path and query, beginning with `/`.
    pub path: Box<str>,
    /// What counts as a pass.
    pub expect: Expect,
}

/// The request method of an HTTP probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProbeMethod {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// OPTIONS.
    Options,
}

impl ProbeMethod {
    /// Returns the method's wire word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
        }
    }
}

/// What an HTTP answer must be: the status in the set and, where asked, the body matching.
#[derive(Clone, Debug, PartialEq)]
pub struct Expect {
    /// Statuses that pass. 200-399 unless told (HAProxy's own rule).
    pub status: StatusSet,
    /// What the first [`BODY_BYTES_LOOKED_AT`] bytes of the body must hold.
    pub body: Option<BodyMatch>,
    /// Whether the whole expectation is inverted.
    pub negate: Negate,
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

/// What a server counts as before its first check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProbeStart {
    /// Unknown: used only while nothing of the farm is Up; its first check decides at once.
    Check,
    /// Down: needs `rise` passes.
    Down,
    /// Up: one failed first check takes it out.
    Up,
}

impl ProbeStart {
    /// Returns the word of the config file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Down => "down",
            Self::Up => "up",
        }
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
