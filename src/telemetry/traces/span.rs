//! A span: one part of a request's way, as it is told to whoever collects traces. Plain data.

/// One part of a request's way.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The trace that it is part of.
    pub trace: u128,
    /// Its own number.
    pub id: u64,
    /// What it is a part of; nothing, where the trace begins here.
    pub parent: Option<Parent>,
    /// What others keep in `tracestate`.
    pub state: Box<str>,
    /// Which side of a request it tells of.
    pub role: Role,
    /// What it is called: the request's method.
    pub name: Box<str>,
    /// When it began, in nanoseconds since 1970.
    pub began_ns: u64,
    /// When it ended.
    pub ended_ns: u64,
    /// What is told of it.
    pub attributes: Vec<(&'static str, Value)>,
    /// Whether it failed.
    pub is_failed: bool,
}

/// What a span is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its number.
    pub id: u64,
    /// Whether it is another process's.
    pub is_remote: bool,
}

/// Which side of a request a span tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The request was sent, to a server.
    Client,
    /// The request was received, and answered.
    Server,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Number(i64),
    /// A text.
    Text(Box<str>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

#[cfg(test)]
impl Span {
    /// A span for tests.
    pub(super) fn sample() -> Self {
        Self {
            trace: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
            id: 0x00f0_67aa_0ba9_02b7,
            parent: Some(Parent { id: 7, is_remote: true }),
            state: "a=1".into(),
            role: Role::Server,
            name: "GET".into(),
            began_ns: 1_000,
            ended_ns: 3_000,
            attributes: vec![("url.path", "/x".into()), ("http.response.status_code", 503_u16.into())],
            is_failed: true,
        }
    }
}
