//! Routes: which work of a frontend goes where, by rules on what it looks like. The matrix is OVHcloud's.
//!
//! Every rule of a route must hold; a route without rules always does. Routes that redirect or reject come before those
//! that forward; among these, the smaller priority first, then the older one.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use regex::Regex;

use super::id::{FarmId, Name, RouteId};
use super::template::Template;

/// A route.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Its numeric id, derived from the frontend's and its own name.
    pub id: RouteId,
    /// Its name, unique within the frontend.
    pub name: Name,
    /// The smaller, the earlier; 0..=255.
    pub priority: u8,
    /// What must hold, all of it.
    pub rules: Box<[Rule]>,
    /// What is done.
    pub action: Action,
}

/// Something that must hold of a request, or of a connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// What is looked at.
    pub subject: Subject,
    /// What it must be.
    pub test: Test,
    /// Whether it must not be that.
    pub is_negated: bool,
}

/// What a rule looks at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The value of a cookie; HTTP only.
    Cookie(Box<str>),
    /// The value of a header field, its name in lower case; HTTP only.
    Header(Box<str>),
    /// HTTP: the host that the request names, without its port, in lower case. TCP: the name that the client asks for
    /// in its TLS handshake.
    Host,
    /// The method; HTTP only.
    Method,
    /// The first value of a parameter of the query; HTTP only.
    Param(Box<str>),
    /// What is spoken: `tcp`, `tls`, `http`, `https`, and for TCP what the client offers in its handshake.
    Protocol,
    /// The client's address.
    Source,
    /// The path, up to `?`; HTTP only.
    Uri,
}

/// What the subject of a rule must be.
#[derive(Clone, Debug)]
pub enum Test {
    /// It has this in it.
    Contains(Box<str>),
    /// It ends so.
    EndsWith(Box<str>),
    /// It is there.
    Exists,
    /// It is one of these.
    In(Box<[Box<str>]>),
    /// It is this.
    Is(Box<str>),
    /// The expression is found in it.
    Matches(Regex),
    /// It is within one of these networks; of [`Subject::Source`] only, which has no other test.
    Within(Box<[IpNet]>),
    /// It begins so.
    StartsWith(Box<str>),
}

impl Test {
    /// Returns whether it is one of whole words, and that word among them.
    #[must_use]
    pub fn names(&self, word: &str) -> bool {
        match self {
            Self::Is(it) => **it == *word,
            Self::In(all) => all.iter().any(|it| **it == *word),
            Self::Contains(_)
            | Self::EndsWith(_)
            | Self::Exists
            | Self::Matches(_)
            | Self::StartsWith(_)
            | Self::Within(_) => false,
        }
    }
}

impl PartialEq for Test {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Contains(a), Self::Contains(b))
            | (Self::EndsWith(a), Self::EndsWith(b))
            | (Self::Is(a), Self::Is(b))
            | (Self::StartsWith(a), Self::StartsWith(b)) => a == b,
            (Self::Exists, Self::Exists) => true,
            (Self::In(a), Self::In(b)) => a == b,
            (Self::Matches(a), Self::Matches(b)) => a.as_str() == b.as_str(),
            (Self::Within(a), Self::Within(b)) => a == b,
            (
                Self::Contains(_)
                | Self::EndsWith(_)
                | Self::Exists
                | Self::In(_)
                | Self::Is(_)
                | Self::Matches(_)
                | Self::Within(_)
                | Self::StartsWith(_),
                _,
            ) => false,
        }
    }
}

/// What a route does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Gives the work to a farm.
    Forward(Forward),
    /// Answers with another place to go; HTTP only.
    Redirect(Redirect),
    /// Answers with this status; TCP: closes.
    Reject(u16),
}

/// Where work goes, and what is made of it on the way.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// The farm, or several by share; at least one, and not all of weight 0.
    pub shares: Box<[Share]>,
    /// What becomes of the path; HTTP only.
    pub rewrite: Option<Rewrite>,
    /// Who sees a copy; HTTP only.
    pub mirror: Option<Mirror>,
    /// Changes of the head towards the server; HTTP only.
    pub request_headers: Arc<HeaderRules>,
    /// Changes of the head towards the client; HTTP only.
    pub response_headers: Arc<HeaderRules>,
}

impl Forward {
    /// Returns what gives all work to that farm as it is.
    #[must_use]
    pub fn to(farm: FarmId) -> Self {
        Self {
            shares: Box::new([Share { farm, weight: 1 }]),
            rewrite: None,
            mirror: None,
            request_headers: Arc::default(),
            response_headers: Arc::default(),
        }
    }
}

/// A farm's part of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The farm.
    pub farm: FarmId,
    /// Its weight among the others; 0: none.
    pub weight: u32,
}

/// What becomes of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// A path that begins with this, at the end of a segment …
    pub prefix: Box<str>,
    /// … has this instead.
    pub with: Box<str>,
}

/// A farm that sees a copy of the work; what it answers is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The farm.
    pub farm: FarmId,
    /// How much of it, in per cent, 1..=100.
    pub share: u8,
}

/// An answer that says where to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// The place.
    pub target: Template,
}

/// Changes of a head, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderRules {
    /// Fields that are left out; names in lower case.
    pub remove: Box<[Box<str>]>,
    /// Fields that have this value and no other; names as written.
    pub set: Box<[(Box<str>, Template)]>,
    /// Fields that have this value beside any other.
    pub add: Box<[(Box<str>, Template)]>,
}

impl HeaderRules {
    /// Returns whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

/// What is said of a frontend that is closed for maintenance, whatever its farms could do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaintenancePage {
    /// The status, 503 unless written otherwise.
    pub status: u16,
    /// The page.
    pub body: Arc<str>,
    /// Its media type.
    pub content_type: Box<str>,
    /// When clients may come back.
    pub retry_after: Option<Duration>,
}

/// Strict-Transport-Security.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hsts {
    /// How long browsers keep to it.
    pub max_age: Duration,
    /// Whether it holds for names below, too.
    pub includes_subdomains: bool,
}
