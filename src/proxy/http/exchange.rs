//! What happens to one request, as pure steps on its heads. Both the head towards the server and the head towards
//! the client pass through here, whatever engine moves the bytes.

use std::net::IpAddr;
use std::sync::Arc;

use ::http::Version;
use ::http::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use ipnet::IpNet;
use pingora::http::{RequestHeader, ResponseHeader};

use crate::routing::authority_of;

pub mod attempt;
pub mod framing;
pub mod render;
pub mod rewrite;
pub mod short;

use short::{SHORT_BYTES_MAX, ShortText, Shown};

/// What Via gets for a request of either version.
const VIA_1_0: &str = "1.0 farmgate";
const VIA_1_1: &str = "1.1 farmgate";
const VIA: OwnField = OwnField::new("via");
const X_FORWARDED_FOR: OwnField = OwnField::new("x-forwarded-for");
const X_FORWARDED_HOST: OwnField = OwnField::new("x-forwarded-host");
const X_FORWARDED_PROTO: OwnField = OwnField::new("x-forwarded-proto");
const X_REQUEST_ID: OwnField = OwnField::new("x-request-id");
/// Bytes of an id that is accepted from outside.
pub const OUTSIDE_ID_BYTES_MAX: usize = SHORT_BYTES_MAX;
/// Fields that say where a request came from: a stranger's are dropped, ours are put in their place.
const ORIGIN_FIELDS: [&str; 7] =
    ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-real-ip"];
/// Response fields that concern one connection only (RFC 9110 §7.6.1); Connection and Transfer-Encoding are the
/// engine's own.
const RESPONSE_HOP_BY_HOP: [HeaderName; 5] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-authentication-info"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("te"),
];

/// Request fields that concern one connection only, and that HTTP/2 forbids (RFC 9113 §8.2.2).
const REQUEST_HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-authorization"),
    HeaderName::from_static("proxy-connection"),
    ::http::header::TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What is known of the client when its request goes on.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The client's address, written once a connection.
    pub client: &'a HeaderValue,
    /// `http` or `https`: what the client spoke to us.
    pub scheme: &'static str,
    /// The version of its request.
    pub version: Version,
}

/// Returns whether `client` may tell us where a request came from.
#[must_use]
pub fn is_trusted(client: IpAddr, trust: &[IpNet]) -> bool {
    trust.iter().any(|net| net.contains(&client))
}

/// Returns the id that a trusted client gave its request; nothing, if it gave none, several, or one that is no id: not
/// visible ASCII, or longer than [`OUTSIDE_ID_BYTES_MAX`].
#[must_use]
pub fn accepted_id(headers: &HeaderMap, client: IpAddr, trust: &[IpNet]) -> Option<Arc<str>> {
    if trust.is_empty() {
        return None;
    }
    let mut given = headers.get_all(X_REQUEST_ID.name).iter();
    let (id, None) = (given.next()?.as_bytes(), given.next()) else { return None };
    let is_id = (1..=OUTSIDE_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic);
    if !is_id || !is_trusted(client, trust) {
        return None;
    }
    std::str::from_utf8(id).ok().map(Arc::from)
}

/// Sets X-Request-Id, in whichever direction the head goes.
pub fn set_request_id<H: Head>(head: &mut H, id: &(impl Shown + ?Sized)) {
    set_shown(head, X_REQUEST_ID.text, id);
}

/// Sets a field to what is shown in visible ASCII, in no more than [`SHORT_BYTES_MAX`] bytes.
pub fn set_shown<H: Head>(head: &mut H, name: &'static str, it: &(impl Shown + ?Sized)) {
    if let Some(value) = ShortText::of(it).bytes().and_then(|bytes| HeaderValue::from_bytes(bytes).ok()) {
        head.set_field(name, value);
    }
}

/// A head of either direction.
pub trait Head {
    /// Puts a field in the place of all of its name. A name that is a text of the program costs no allocation.
    fn set_field(&mut self, name: &'static str, value: HeaderValue);
    /// Returns its fields.
    fn fields(&self) -> &HeaderMap;
}

impl Head for RequestHeader {
    fn set_field(&mut self, name: &'static str, value: HeaderValue) {
        // Fails only for values that are no header values; this is one by its type.
        let _ = self.insert_header(name, value);
    }

    fn fields(&self) -> &HeaderMap {
        &self.headers
    }
}

impl Head for ResponseHeader {
    fn set_field(&mut self, name: &'static str, value: HeaderValue) {
        let _ = self.insert_header(name, value);
    }

    fn fields(&self) -> &HeaderMap {
        &self.headers
    }
}

/// The name of a field of ours: to look for, and to write.
struct OwnField {
    name: HeaderName,
    text: &'static str,
}

impl OwnField {
    const fn new(text: &'static str) -> Self {
        Self { name: HeaderName::from_static(text), text }
    }
}

/// Sets X-Forwarded-For/-Proto/-Host and Via on the head towards the server. From a stranger, what it sent of the
/// kind is dropped first, misspelt forms (`X_Forwarded_For`) included; from a trusted proxy it is kept and added to.
pub fn set_forwarded(head: &mut RequestHeader, origin: &Origin<'_>, trusted: bool) {
    let host = head.headers.get(::http::header::HOST).cloned();
    if !trusted {
        let strange: Vec<HeaderName> = head.headers.keys().filter(|name| is_origin_field(name)).cloned().collect();
        for name in strange {
            head.remove_header(&name);
        }
    }
    let via = if origin.version == Version::HTTP_10 { VIA_1_0 } else { VIA_1_1 };
    append(head, &X_FORWARDED_FOR, origin.client.clone());
    append(head, &VIA, HeaderValue::from_static(via));
    if !head.headers.contains_key(X_FORWARDED_PROTO.name) {
        head.set_field(X_FORWARDED_PROTO.text, HeaderValue::from_static(origin.scheme));
    }
    if let Some(host) = host
        && !head.headers.contains_key(X_FORWARDED_HOST.name)
    {
        head.set_field(X_FORWARDED_HOST.text, host);
    }
}

/// Whether a field is one of [`ORIGIN_FIELDS`], or reads as one where `_` and `.` pass for `-`.
fn is_origin_field(name: &HeaderName) -> bool {
    let name = name.as_str();
    if !matches!(name.as_bytes().first(), Some(b'f' | b'v' | b'x')) {
        return false;
    }
    let same = |a: u8, b: u8| a == b || (b == b'-' && matches!(a, b'_' | b'.'));
    ORIGIN_FIELDS
        .iter()
        .any(|field| field.len() == name.len() && name.bytes().zip(field.bytes()).all(|(a, b)| same(a, b)))
}

/// Adds one element to a comma-separated field, in one line. Allocates only where there is a list already.
fn append(head: &mut RequestHeader, field: &OwnField, element: HeaderValue) {
    if !head.headers.contains_key(&field.name) {
        return head.set_field(field.text, element);
    }
    let mut list: Vec<u8> = Vec::new();
    for value in head.headers.get_all(&field.name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(element.as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&list) {
        head.set_field(field.text, value);
    }
}

/// Removes from the head towards the client what concerned only the connection to the server: the standard fields
/// and those that Connection names. Framing and, on a 101, Connection and Upgrade stay.
pub fn strip_hop_by_hop(head: &mut ResponseHeader) {
    let is_upgrade = head.status == ::http::StatusCode::SWITCHING_PROTOCOLS;
    for name in nominated(&head.headers) {
        let stays =
            name == TRANSFER_ENCODING || name == ::http::header::CONTENT_LENGTH || (is_upgrade && name == UPGRADE);
        if !stays {
            head.remove_header(&name);
        }
    }
    for name in &RESPONSE_HOP_BY_HOP {
        head.remove_header(name);
    }
    if !is_upgrade {
        head.remove_header(&UPGRADE);
        head.remove_header(&CONNECTION);
    }
}

/// Removes from the head towards a server of HTTP/2 what concerned only the client's connection: the standard fields and
/// those that Connection names. Returns whether it may go on: not where those are what it is about.
#[must_use]
pub fn strip_for_http2(head: &mut RequestHeader) -> bool {
    for name in nominated(&head.headers) {
        if name == ::http::header::HOST || name == ::http::header::CONTENT_LENGTH {
            return false;
        }
        head.remove_header(&name);
    }
    for name in &REQUEST_HOP_BY_HOP {
        head.remove_header(name);
    }
    true
}

/// The fields that Connection names; the usual `keep-alive` and `close` name none that stays anyway.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(CONNECTION).iter();
    let tokens = values.flat_map(|value| value.as_bytes().split(|b| *b == b','));
    tokens.filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok()).collect()
}

/// Returns whether any Connection field of a request says that it is the last on its connection.
#[must_use]
pub fn asks_to_close(headers: &HeaderMap) -> bool {
    let tokens = headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    tokens.map(<[u8]>::trim_ascii).any(|token| token.eq_ignore_ascii_case(b"close"))
}

/// Makes a target that is a whole URI the path and query that a server expects; its authority is in Host as well. HTTP/1.0
/// need not send Host, and servers are spoken to in HTTP/1.1, which must: it is added, and is where the client came to
/// unless the target says (RFC 9112 §3.3).
pub fn make_origin_form(head: &mut RequestHeader, came_to: impl FnOnce() -> String) {
    if head.version != Version::HTTP_2 && !head.headers.contains_key(HOST) {
        let named = authority_of(head.raw_path()).map(HeaderValue::from_bytes);
        if let Ok(host) = named.unwrap_or_else(|| HeaderValue::try_from(came_to())) {
            // Fails only where there are more fields than a map can hold, which are bounded.
            head.insert_header(HOST, host).ok();
        }
    }
    if !matches!(head.raw_path().first(), Some(b'/' | b'*'))
        && let Some(target) = head.uri.path_and_query().cloned()
    {
        head.set_uri(target.into());
    }
}

/// Returns the part of a request target that the `uri` balance hashes: up to `?`.
#[must_use]
pub fn hashed_path(target: &[u8]) -> &[u8] {
    memchr::memchr(b'?', target).map_or(target, |at| &target[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(fields: &[(&'static str, &str)], trusted: bool) -> Vec<String> {
        let mut head = RequestHeader::build("GET", b"/", None).unwrap();
        head.insert_header("Host", "example.com").unwrap();
        for (name, value) in fields {
            head.append_header(*name, *value).unwrap();
        }
        let client = HeaderValue::from_static("192.0.2.7");
        let origin = Origin { client: &client, scheme: "http", version: Version::HTTP_11 };
        set_forwarded(&mut head, &origin, trusted);
        let mut lines: Vec<_> = head
            .headers
            .iter()
            .filter(|(name, _)| *name != ::http::header::HOST)
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines
    }

    const OURS: [&str; 4] =
        ["via: 1.1 farmgate", "x-forwarded-for: 192.0.2.7", "x-forwarded-host: example.com", "x-forwarded-proto: http"];

    #[test]
    fn forwarded_fields_of_a_stranger_are_replaced() {
        assert_eq!(forwarded(&[], false), OURS);
        let lies = [
            ("X-Forwarded-For", "1.1.1.1"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "evil"),
            ("X_Forwarded_For", "1.1.1.1"),
            ("X-Real-IP", "1.1.1.1"),
            ("Forwarded", "for=1.1.1.1"),
            ("Via", "1.1 evil"),
        ];
        assert_eq!(forwarded(&lies, false), OURS);
    }

    #[test]
    fn forwarded_fields_of_a_trusted_proxy_are_added_to() {
        let chain = [("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-For", "2.2.2.2"), ("X-Forwarded-Proto", "https")];
        assert_eq!(
            forwarded(&chain, true),
            [
                "via: 1.1 farmgate",
                "x-forwarded-for: 1.1.1.1, 2.2.2.2, 192.0.2.7",
                "x-forwarded-host: example.com",
                "x-forwarded-proto: https"
            ]
        );
    }

    #[test]
    fn other_fields_beginning_alike_stay() {
        assert!(forwarded(&[("X-Forwarded-Forest", "1")], false).contains(&"x-forwarded-forest: 1".to_owned()));
    }

    fn stripped(status: u16, fields: &[(&'static str, &str)]) -> Vec<String> {
        let mut head = ResponseHeader::build(status, None).unwrap();
        for (name, value) in fields {
            head.append_header(*name, *value).unwrap();
        }
        strip_hop_by_hop(&mut head);
        head.headers.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn hop_by_hop_fields_of_a_response_are_removed() {
        let fields = [
            ("Connection", "keep-alive, X-Secret"),
            ("Keep-Alive", "timeout=5"),
            ("X-Secret", "1"),
            ("Proxy-Connection", "keep-alive"),
            ("Upgrade", "h2c"),
            ("Transfer-Encoding", "chunked"),
            ("X-Kept", "1"),
        ];
        assert_eq!(stripped(200, &fields), ["transfer-encoding", "x-kept"]);
    }

    #[test]
    fn switching_protocols_keeps_its_upgrade() {
        let fields = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
        assert_eq!(stripped(101, &fields), ["connection", "upgrade"]);
    }

    #[test]
    fn head_for_http_2_has_nothing_of_one_connection() {
        let stripped = |fields: &[(&'static str, &str)]| {
            let mut head = RequestHeader::build("GET", b"/", None).unwrap();
            for (name, value) in fields {
                head.append_header(*name, *value).unwrap();
            }
            strip_for_http2(&mut head).then(|| head.headers.keys().map(|name| name.to_string()).collect::<Vec<_>>())
        };
        let all = [
            ("connection", "keep-alive, X-Hop"),
            ("connection", "x-too"),
            ("keep-alive", "1"),
            ("proxy-authorization", "x"),
            ("proxy-connection", "x"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("x-hop", "1"),
            ("x-too", "1"),
            ("x-stays", "1"),
        ];
        assert_eq!(stripped(&all).unwrap(), ["x-stays"]);
        assert_eq!(stripped(&[("host", "a"), ("content-length", "1")]).unwrap(), ["host", "content-length"]);
        for named in ["host", "Content-Length", "x, HOST"] {
            assert_eq!(stripped(&[("host", "a"), ("content-length", "1"), ("connection", named)]), None, "{named}");
        }
    }

    #[test]
    fn request_id_is_accepted_from_trusted_networks_if_it_is_one() {
        let trust = ["10.0.0.0/8".parse().unwrap()];
        let (near, far): (IpAddr, IpAddr) = ("10.1.2.3".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let accepted = |ids: &[&[u8]], client, trust: &[IpNet]| {
            let mut headers = HeaderMap::new();
            for id in ids {
                headers.append(X_REQUEST_ID.name, HeaderValue::from_bytes(id).unwrap());
            }
            accepted_id(&headers, client, trust)
        };
        let longest = [b'a'; OUTSIDE_ID_BYTES_MAX];
        assert_eq!(accepted(&[b"a-1"], near, &trust).as_deref(), Some("a-1"));
        assert!(accepted(&[&longest], near, &trust).is_some());
        assert!(accepted(&[&[&longest[..], b"a"].concat()], near, &trust).is_none());
        let refused: [&[&[u8]]; 5] = [&[], &[b""], &[b"a b"], &[b"a\xc3\xa9"], &[b"a", b"b"]];
        for ids in refused {
            assert!(accepted(ids, near, &trust).is_none(), "{ids:?}");
        }
        assert!(accepted(&[b"a-1"], far, &trust).is_none() && accepted(&[b"a-1"], near, &[]).is_none());
    }

    #[test]
    fn request_id_replaces_what_was_there() {
        let mut head = ResponseHeader::build(200, None).unwrap();
        head.append_header("X-Request-Id", "theirs").unwrap();
        head.append_header("X-Request-Id", "theirs too").unwrap();
        set_request_id(&mut head, "ours");
        let ids: Vec<_> = head.headers.get_all("x-request-id").iter().collect();
        assert_eq!(ids, ["ours"]);
    }

    #[test]
    fn close_in_any_connection_field_is_meant() {
        for (values, want) in [
            (&["close"][..], true),
            (&["keep-alive", "Close"], true),
            (&["keep-alive, close"], true),
            (&["keep-alive"], false),
            (&["enclose"], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONNECTION, value.parse().unwrap());
            }
            assert_eq!(asks_to_close(&headers), want, "{values:?}");
        }
    }

    #[test]
    fn whole_uri_becomes_a_path_and_a_path_stays() {
        for (target, want) in
            [("http://a/b?c", "/b?c"), ("http://a", "/"), ("/b?c", "/b?c"), ("//a/b", "//a/b"), ("*", "*")]
        {
            let mut head = RequestHeader::build("GET", b"/", None).unwrap();
            head.set_raw_path(target.as_bytes()).unwrap();
            make_origin_form(&mut head, || "192.0.2.1:80".to_owned());
            assert_eq!(String::from_utf8_lossy(head.raw_path()), want, "{target}");
            let host = if target.starts_with("http") { "a" } else { "192.0.2.1:80" };
            assert_eq!(head.headers[HOST], host, "{target}");
        }
        let mut head = RequestHeader::build("GET", b"/", None).unwrap();
        head.insert_header(HOST, "b").unwrap();
        make_origin_form(&mut head, || unreachable!("it says itself"));
        assert_eq!(head.headers[HOST], "b");
    }

    #[test]
    fn trust_is_by_network() {
        let trust = ["10.0.0.0/8".parse().unwrap()];
        assert!(is_trusted("10.1.2.3".parse().unwrap(), &trust));
        assert!(!is_trusted("192.0.2.1".parse().unwrap(), &trust));
        assert!(!is_trusted("10.1.2.3".parse().unwrap(), &[]));
    }
}
