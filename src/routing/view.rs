//! What rules may know of a request or a connection. Pure; each edge shows its own through the trait.

use std::borrow::Cow;
use std::net::IpAddr;

use super::host::host_of;

/// What came in, as rules see it. What is not there is `None`, or no value at all: no test holds of it, and every
/// negated one does.
pub trait RequestView {
    /// Returns whether `test` holds of a word for what is spoken: `http` or `https`; `tcp` or `tls`, and what is offered
    /// in the handshake.
    fn any_protocol(&self, test: impl FnMut(&[u8]) -> bool) -> bool;

    /// Returns the client's address; none where it has none.
    fn source(&self) -> Option<IpAddr>;

    /// Returns the host that is asked for, as [`host_of`] makes it.
    fn host(&self) -> Option<&str>;

    /// Returns the method.
    fn method(&self) -> Option<&str>;

    /// Returns the path as it was received, up to `?`.
    fn path(&self) -> Option<&[u8]>;

    /// Returns the query as it was received, without its `?`.
    fn query(&self) -> Option<&[u8]>;

    /// Returns whether `test` holds of the whole value of a field of that name, which is in lower case.
    fn any_header(&self, name: &str, test: impl FnMut(&[u8]) -> bool) -> bool;
}

/// A raw TCP connection, as its rules see it.
#[derive(Clone, Debug)]
pub struct Conversation<'a, A> {
    source: Option<IpAddr>,
    is_tls: bool,
    is_http: bool,
    server_name: Option<Cow<'a, str>>,
    alpn: &'a [A],
}

impl<'a, A: AsRef<[u8]>> Conversation<'a, A> {
    /// Returns the view of a connection that begins with no TLS handshake, perhaps with a request.
    #[must_use]
    pub fn plain(source: Option<IpAddr>, is_http: bool) -> Self {
        Self { source, is_tls: false, is_http, server_name: None, alpn: &[] }
    }

    /// Returns the view of a connection whose client asks for that name, if for any, and offers these protocols.
    #[must_use]
    pub fn tls(source: Option<IpAddr>, server_name: Option<&'a str>, alpn: &'a [A]) -> Self {
        Self {
            source,
            is_tls: true,
            is_http: false,
            server_name: server_name.and_then(|name| host_of(name.as_bytes())),
            alpn,
        }
    }
}

impl<A: AsRef<[u8]>> RequestView for Conversation<'_, A> {
    /// `h2` is offered by that name and by OVHcloud's, `http/2.0`; who offers HTTP of any version speaks `https`.
    fn any_protocol(&self, mut test: impl FnMut(&[u8]) -> bool) -> bool {
        if !self.is_tls {
            return test(b"tcp") || (self.is_http && test(b"http"));
        }
        let mut offered = self.alpn.iter().map(AsRef::as_ref);
        let is_http = |id: &[u8]| id == b"h2" || id.starts_with(b"http/");
        test(b"tls")
            || offered.any(|id| test(id) || (id == b"h2" && test(b"http/2.0")) || (is_http(id) && test(b"https")))
    }

    fn source(&self) -> Option<IpAddr> {
        self.source
    }

    fn host(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    fn method(&self) -> Option<&str> {
        None
    }

    fn path(&self) -> Option<&[u8]> {
        None
    }

    fn query(&self) -> Option<&[u8]> {
        None
    }

    fn any_header(&self, _name: &str, _test: impl FnMut(&[u8]) -> bool) -> bool {
        false
    }
}
