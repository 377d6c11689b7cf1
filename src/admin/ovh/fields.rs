//! The fields of farms, servers, frontends, routes and rules: which kind has which, who may write them and what they
//! take. Bodies are read by these tables and answers are trimmed by them. Pure.
//!
//! A field that a kind does not have, or that is read-only, is ignored in a body, as the vendor does. What is wrong is
//! told all at once, each with its field, its value and its bound.

use std::net::Ipv4Addr;

use ipnet::IpNet;
use serde_json::{Map, Value};

use super::path::Kind;
use crate::admin::guard::quoted;
use crate::objects::EditError;

/// The most bytes of a name that is shown.
const NAME_BYTES_MAX: usize = 255;
/// The most bytes of a text without a bound of its own.
const TEXT_BYTES_MAX: usize = 4096;
/// The most bytes of a certificate chain.
const CHAIN_BYTES_MAX: usize = 64 * 1024;
/// The most bytes of the pattern of a rule.
const PATTERN_BYTES_MAX: usize = 255;
/// The most items of a list.
const ITEMS_MAX: usize = 1000;
/// The most sockets that one frontend listens on.
pub(super) const LISTENERS_MAX: usize = 64;
/// The heaviest server.
const WEIGHT_MAX: u64 = 256;
/// The words of `ProxyProtocolVersionEnum`.
const PROXIES: &[&str] = &["v1", "v2", "v2-ssl", "v2-ssl-cn"];
/// The words of `BackendCustomerServerStatusEnum`.
pub(super) const STATUSES: &[&str] = &["active", "inactive"];

const ALL: &[Kind] = &[Kind::Http, Kind::Tcp, Kind::Udp];
const STREAMS: &[Kind] = &[Kind::Http, Kind::Tcp];
const HTTP: &[Kind] = &[Kind::Http];

/// A field.
#[derive(Clone, Copy)]
pub(super) struct Field {
    name: &'static str,
    of: &'static [Kind],
    written: Written,
    takes: Takes,
}

/// When a client may write a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    /// Whenever it likes.
    Always,
    /// It must when the object is made; later it is ignored.
    NeededAtFirst,
    /// It must when the object is made, and may later.
    Needed,
    /// Never: it is ignored.
    Never,
}

/// What a field takes.
#[derive(Clone, Copy)]
enum Takes {
    /// Networks or addresses.
    Blocks,
    /// True or false.
    Flag,
    /// The id of an object.
    Id,
    /// An integer within.
    Integer(u64, u64),
    /// An IPv4 address.
    Ipv4,
    /// An object with these fields.
    Nested(&'static [Field]),
    /// Nothing but null, and why.
    Nothing(&'static str),
    /// A port, a range of ports, or several with commas.
    Ports,
    /// A text of so many bytes.
    Text(usize),
    /// Texts.
    Texts,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of these words: of http, and of other kinds.
    WordOf(&'static [&'static str], &'static [&'static str]),
}

const fn field(name: &'static str, of: &'static [Kind], written: Written, takes: Takes) -> Field {
    Field { name, of, written, takes }
}

const NO_NETWORK: Takes = Takes::Nothing("there is no vRack here");
const NAME: Takes = Takes::Text(NAME_BYTES_MAX);
const PORT: Takes = Takes::Integer(1, u16::MAX as u64);

/// `BackendHttp`, `BackendTcp` and `BackendUdp`.
pub(super) const FARM: &[Field] = &[
    field("farmId", ALL, Written::Never, Takes::Id),
    field("zone", ALL, Written::NeededAtFirst, NAME),
    field("displayName", ALL, Written::Always, NAME),
    field(
        "balance",
        STREAMS,
        Written::Always,
        Takes::WordOf(
            &["first", "leastconn", "roundrobin", "source", "uri"],
            &["first", "leastconn", "roundrobin", "source"],
        ),
    ),
    field("port", STREAMS, Written::Always, PORT),
    field("port", &[Kind::Udp], Written::Needed, PORT),
    field("probe", STREAMS, Written::Always, Takes::Nested(PROBE)),
    field("stickiness", STREAMS, Written::Always, Takes::WordOf(&["cookie", "sourceIp"], &["sourceIp"])),
    field("vrackNetworkId", ALL, Written::Always, NO_NETWORK),
];

/// `BackendProbe`.
const PROBE: &[Field] = &[
    field(
        "type",
        STREAMS,
        Written::Always,
        Takes::WordOf(
            &["http", "mysql", "oco", "pgsql", "smtp", "tcp"],
            &["http", "mysql", "oco", "pgsql", "smtp", "tcp"],
        ),
    ),
    field("interval", STREAMS, Written::Always, Takes::Integer(1, u64::MAX)),
    field("port", STREAMS, Written::Always, PORT),
    field("method", STREAMS, Written::Always, Takes::Word(&["GET", "HEAD", "OPTIONS"])),
    field("url", STREAMS, Written::Always, Takes::Text(TEXT_BYTES_MAX)),
    field("match", STREAMS, Written::Always, Takes::Word(&["contains", "default", "matches", "status"])),
    field("pattern", STREAMS, Written::Always, Takes::Text(TEXT_BYTES_MAX)),
    field("negate", STREAMS, Written::Always, Takes::Flag),
    field("forceSsl", STREAMS, Written::Always, Takes::Flag),
];

/// `BackendHTTPServer`, `BackendTCPServer` and `BackendUDPServer`.
pub(super) const SERVER: &[Field] = &[
    field("serverId", ALL, Written::Never, Takes::Id),
    field("backendId", ALL, Written::Never, Takes::Id),
    field("address", ALL, Written::NeededAtFirst, Takes::Ipv4),
    field("status", ALL, Written::Needed, Takes::Word(STATUSES)),
    field("displayName", ALL, Written::Always, NAME),
    field("port", ALL, Written::Always, PORT),
    field("probe", STREAMS, Written::Always, Takes::Flag),
    field("weight", STREAMS, Written::Always, Takes::Integer(0, WEIGHT_MAX)),
    field("backup", STREAMS, Written::Always, Takes::Flag),
    field("ssl", STREAMS, Written::Always, Takes::Flag),
    field("chain", STREAMS, Written::Always, Takes::Text(CHAIN_BYTES_MAX)),
    field("cookie", HTTP, Written::Always, Takes::Text(NAME_BYTES_MAX)),
    field("proxyProtocolVersion", STREAMS, Written::Always, Takes::Word(PROXIES)),
    field("onMarkedDown", STREAMS, Written::Always, Takes::Word(&["shutdown-sessions"])),
    field("serverState", STREAMS, Written::Never, Takes::Texts),
];

/// `FrontendHttp`, `FrontendTcp` and `FrontendUdp`.
pub(super) const FRONTEND: &[Field] = &[
    field("frontendId", ALL, Written::Never, Takes::Id),
    field("zone", ALL, Written::Needed, NAME),
    field("port", ALL, Written::Needed, Takes::Ports),
    field("displayName", ALL, Written::Always, NAME),
    field("defaultFarmId", ALL, Written::Always, Takes::Id),
    field("defaultSslId", STREAMS, Written::Always, Takes::Id),
    field("disabled", ALL, Written::Always, Takes::Flag),
    field("ssl", STREAMS, Written::Always, Takes::Flag),
    field("hsts", HTTP, Written::Always, Takes::Flag),
    field("httpHeader", HTTP, Written::Always, Takes::Texts),
    field("redirectLocation", HTTP, Written::Always, Takes::Text(TEXT_BYTES_MAX)),
    field("allowedSource", STREAMS, Written::Always, Takes::Blocks),
    field("deniedSource", STREAMS, Written::Always, Takes::Blocks),
    field("dedicatedIpfo", ALL, Written::Always, Takes::Blocks),
    field("vrackNetworkId", STREAMS, Written::Never, NO_NETWORK),
    field("vrackVrouterId", STREAMS, Written::Never, NO_NETWORK),
];

/// `RouteHttp` and `RouteTcp`.
pub(super) const ROUTE: &[Field] = &[
    field("routeId", STREAMS, Written::Never, Takes::Id),
    field("displayName", STREAMS, Written::Always, NAME),
    field("frontendId", STREAMS, Written::Always, Takes::Id),
    field("weight", STREAMS, Written::Always, Takes::Integer(0, 255)),
    field("action", STREAMS, Written::Needed, Takes::Nested(ACTION)),
    field("rules", STREAMS, Written::Never, Takes::Texts),
    field("status", STREAMS, Written::Never, NAME),
];

/// `RouteHttpAction` and `RouteTcpAction`.
pub(super) const ACTION: &[Field] = &[
    field("type", STREAMS, Written::Needed, Takes::WordOf(&["farm", "redirect", "reject"], &["farm", "reject"])),
    field("target", STREAMS, Written::Always, Takes::Text(TEXT_BYTES_MAX)),
    field("status", HTTP, Written::Always, Takes::Integer(100, 599)),
];

/// `RouteRule`.
pub(super) const RULE: &[Field] = &[
    field("ruleId", STREAMS, Written::Never, Takes::Id),
    field("displayName", STREAMS, Written::Always, NAME),
    field("field", STREAMS, Written::Needed, Takes::WordOf(RULE_FIELDS, &["host", "protocol", "source"])),
    field("match", STREAMS, Written::Needed, Takes::Word(RULE_MATCHES)),
    field("negate", STREAMS, Written::Always, Takes::Flag),
    field("pattern", STREAMS, Written::Always, Takes::Text(PATTERN_BYTES_MAX)),
    field("subField", STREAMS, Written::Always, Takes::Text(NAME_BYTES_MAX)),
];
const RULE_FIELDS: &[&str] = &["cookie", "header", "host", "method", "param", "protocol", "source", "uri"];
const RULE_MATCHES: &[&str] = &["contains", "endswith", "exists", "in", "is", "matches", "startswith"];

/// The one field of `POST /refresh`.
pub(super) const REFRESH: &[Field] = &[field("zone", ALL, Written::Always, NAME)];

/// What a body is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To change an object: what is absent stays.
    Change,
    /// To make one.
    Make,
}

/// Returns the fields that a body writes, each checked; null where it is cleared.
///
/// # Errors
/// [`EditError::Invalid`] with everything that is wrong.
pub(super) fn read(
    body: &[u8],
    kind: Kind,
    fields: &[Field],
    purpose: Purpose,
) -> Result<Map<String, Value>, EditError> {
    checked(&given(body)?, kind, fields, purpose)
}

/// Returns the fields that a body changes of an object that is told so. Clients send back whole what they read, so a
/// field that says what is told already is not looked at: it may be what others say and this shape cannot.
///
/// # Errors
/// [`EditError::Invalid`] with everything that is wrong.
pub(super) fn read_change(
    body: &[u8],
    kind: Kind,
    fields: &[Field],
    told: &Map<String, Value>,
) -> Result<Map<String, Value>, EditError> {
    let mut given = given(body)?;
    given.retain(|field, value| told.get(field).is_none_or(|told| !is_same(told, value)));
    checked(&given, kind, fields, Purpose::Change)
}

/// Leaves out of an answer what its kind does not have.
pub(super) fn trim(body: &mut Map<String, Value>, kind: Kind, fields: &[Field]) {
    body.retain(|key, _| fields.iter().any(|field| field.name == key && field.of.contains(&kind)));
    for field in fields {
        if let (Takes::Nested(inner), Some(Value::Object(nested))) = (field.takes, body.get_mut(field.name)) {
            trim(nested, kind, inner);
        }
    }
}

/// Returns whether a client may write a field of that name.
pub(super) fn is_written(name: &str, kind: Kind, fields: &[Field]) -> bool {
    fields.iter().any(|field| field.name == name && field.of.contains(&kind) && field.written != Written::Never)
}

/// Returns the error that a value is outside its bound.
pub(super) fn outside(field: &str, got: impl std::fmt::Display, bound: &str) -> EditError {
    EditError::fault(field, &outside_text(got, bound))
}

/// Returns the error that a field is missing.
pub(super) fn missing(field: &str) -> EditError {
    EditError::fault(field, "is missing; send it")
}

/// Returns the ports of a frontend's `port`.
///
/// # Errors
/// What is allowed.
pub(super) fn ports(text: &str) -> Result<Vec<u16>, String> {
    let bound = || {
        format!("ports 1..=65535, single, as a range LOW-HIGH or several with commas, at most {LISTENERS_MAX} together")
    };
    let port = |text: &str| {
        let plain = text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>().ok().filter(|port| *port > 0 && plain).ok_or_else(bound)
    };
    let mut ports = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let (low, high) = (port(low.trim())?, port(high.trim())?);
        if low > high || usize::from(high - low) >= LISTENERS_MAX {
            return Err(bound());
        }
        ports.extend(low..=high);
    }
    let mut unique = Vec::with_capacity(ports.len());
    for port in ports {
        if !unique.contains(&port) {
            unique.push(port);
        }
    }
    if unique.len() > LISTENERS_MAX { Err(bound()) } else { Ok(unique) }
}

/// Returns the network that a text is; an address is a network of one.
pub(super) fn block(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse().ok().map(|ip: std::net::IpAddr| IpNet::from(ip)))
}

type Faults = Vec<(String, String)>;

fn given(body: &[u8]) -> Result<Map<String, Value>, EditError> {
    let body = if body.is_empty() { b"{}" } else { body };
    match serde_json::from_slice(body) {
        Ok(Value::Object(given)) => Ok(given),
        Ok(_) | Err(_) => Err(EditError::fault("body", "is not an object; send {\"field\": value}")),
    }
}

fn checked(
    given: &Map<String, Value>,
    kind: Kind,
    fields: &[Field],
    purpose: Purpose,
) -> Result<Map<String, Value>, EditError> {
    let mut faults = Vec::new();
    let read = read_object(given, kind, (fields, ""), purpose, &mut faults);
    if faults.is_empty() { Ok(read) } else { Err(EditError::faults(faults)) }
}

/// Returns whether two values say the same; inside an object what is null may be left out.
fn is_same(one: &Value, other: &Value) -> bool {
    let (Value::Object(one), Value::Object(other)) = (one, other) else { return one == other };
    let says = |map: &Map<String, Value>, of: &Map<String, Value>| {
        let mut said = map.iter().filter(|(_, value)| !value.is_null());
        said.all(|(key, value)| of.get(key) == Some(value))
    };
    says(one, other) && says(other, one)
}

fn read_object(
    given: &Map<String, Value>,
    kind: Kind,
    (fields, above): (&[Field], &str),
    purpose: Purpose,
    faults: &mut Faults,
) -> Map<String, Value> {
    let mut read = Map::new();
    for field in fields.iter().filter(|field| field.of.contains(&kind)) {
        let is_first = purpose == Purpose::Make;
        let is_taken = match field.written {
            Written::Always | Written::Needed => true,
            Written::NeededAtFirst => is_first,
            Written::Never => false,
        };
        let is_needed = matches!(field.written, Written::Needed | Written::NeededAtFirst);
        let path = if above.is_empty() { field.name.to_owned() } else { format!("{above}.{}", field.name) };
        match given.get(field.name) {
            _ if !is_taken => {}
            None if is_needed && is_first => faults.push((path, "is missing; send it".to_owned())),
            None => {}
            Some(Value::Null) if is_needed => faults.push((path, "is missing; send it".to_owned())),
            Some(value) => {
                if let Some(value) = check(&path, field.takes, kind, value, faults) {
                    read.insert(field.name.to_owned(), value);
                }
            }
        }
    }
    read
}

/// Returns a value as it is kept; nothing if it is wrong.
fn check(path: &str, takes: Takes, kind: Kind, value: &Value, faults: &mut Faults) -> Option<Value> {
    let bound = match (takes, value) {
        // Inside a probe null is told as it was said.
        (Takes::Flag, Value::Null) if !path.contains('.') => return Some(Value::Bool(false)),
        (Takes::Blocks | Takes::Texts, Value::Null) => return Some(Value::Array(Vec::new())),
        (_, Value::Null) => return Some(Value::Null),
        (Takes::Nothing(why), _) => format!("null: {why}"),
        (Takes::Flag, Value::Bool(_)) => return Some(value.clone()),
        (Takes::Flag, _) => "true, false".to_owned(),
        (Takes::Id, _) => match value.as_u64() {
            Some(_) => return Some(value.clone()),
            None => "the ids of objects, which are integers".to_owned(),
        },
        (Takes::Integer(low, high), _) => match value.as_u64() {
            Some(number) if (low..=high).contains(&number) => return Some(value.clone()),
            Some(_) | None if high == u64::MAX => format!("the integers from {low} on"),
            Some(_) | None => format!("{low}..={high}"),
        },
        (Takes::Nested(fields), Value::Object(given)) => {
            let nested = read_object(given, kind, (fields, path), Purpose::Make, faults);
            return Some(Value::Object(nested));
        }
        (Takes::Nested(_), _) => "the objects".to_owned(),
        (Takes::Blocks, Value::Array(items)) => {
            return list(path, items, is_block, "networks such as 10.0.0.0/8", faults);
        }
        (Takes::Texts, Value::Array(items)) => return list(path, items, is_text, "texts", faults),
        (Takes::Blocks, _) => "the lists of networks such as 10.0.0.0/8".to_owned(),
        (Takes::Texts, _) => "the lists of texts".to_owned(),
        (_, Value::String(text)) => match check_text(takes, kind, text) {
            Ok(()) => return Some(value.clone()),
            Err(bound) => bound,
        },
        (Takes::Ports, _) => "the texts; send ports as \"80\" or \"8000-8010,8080\"".to_owned(),
        (Takes::Ipv4 | Takes::Text(_) | Takes::Word(_) | Takes::WordOf(..), _) => "the texts".to_owned(),
    };
    faults.push((path.to_owned(), outside_text(value, &bound)));
    None
}

fn check_text(takes: Takes, kind: Kind, text: &str) -> Result<(), String> {
    let of_words = |words: &[&str]| if words.contains(&text) { Ok(()) } else { Err(words.join(", ")) };
    match takes {
        Takes::Ipv4 => text.parse::<Ipv4Addr>().map(drop).map_err(|_| "the IPv4 addresses".to_owned()),
        Takes::Ports => ports(text).map(drop),
        Takes::Text(max) if text.len() > max => Err(format!("texts of at most {max} bytes")),
        Takes::Text(_) if text.contains('\0') => Err("texts without NUL".to_owned()),
        Takes::Text(_) => Ok(()),
        Takes::Word(words) => of_words(words),
        Takes::WordOf(http, _) if kind == Kind::Http => of_words(http),
        Takes::WordOf(_, others) => of_words(others),
        Takes::Blocks | Takes::Texts => Err("lists".to_owned()),
        Takes::Flag => Err("true, false".to_owned()),
        Takes::Id | Takes::Integer(..) => Err("integers".to_owned()),
        Takes::Nested(_) => Err("objects".to_owned()),
        Takes::Nothing(why) => Err(format!("null: {why}")),
    }
}

fn list(path: &str, items: &[Value], is_good: fn(&str) -> bool, what: &str, faults: &mut Faults) -> Option<Value> {
    if items.len() > ITEMS_MAX {
        faults.push((
            path.to_owned(),
            outside_text(format!("{} of them", items.len()), &format!("0..={ITEMS_MAX} items")),
        ));
        return None;
    }
    let bad = items.iter().enumerate().find(|(_, item)| !item.as_str().is_some_and(is_good));
    if let Some((i, item)) = bad {
        faults.push((format!("{path}[{i}]"), outside_text(item, what)));
        return None;
    }
    Some(Value::Array(items.to_vec()))
}

fn is_block(text: &str) -> bool {
    block(text).is_some()
}

fn is_text(text: &str) -> bool {
    (1..=TEXT_BYTES_MAX).contains(&text.len())
}

fn outside_text(got: impl std::fmt::Display, bound: &str) -> String {
    format!("{} is outside {bound}", quoted(&got.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(fields: &[Field], kind: Kind, purpose: Purpose, body: &Value) -> String {
        read(body.to_string().as_bytes(), kind, fields, purpose).unwrap_err().to_string()
    }

    #[test]
    fn every_fault_of_a_body_is_told_with_field_value_and_bound() {
        let body = json!({"address": "10.0.0.256", "status": "up", "port": 0, "weight": 257, "probe": "yes",
            "proxyProtocolVersion": "v3"});
        let told = refused(SERVER, Kind::Http, Purpose::Make, &body);
        for line in [
            "address: \"10.0.0.256\" is outside the IPv4 addresses",
            "status: \"up\" is outside active, inactive",
            "port: 0 is outside 1..=65535",
            "weight: 257 is outside 0..=256",
            "probe: \"yes\" is outside true, false",
            "proxyProtocolVersion: \"v3\" is outside v1, v2, v2-ssl, v2-ssl-cn",
        ] {
            assert!(told.lines().any(|told| told == line), "{line}: {told}");
        }
        assert_eq!(told.lines().count(), 6);
        let told = refused(FARM, Kind::Tcp, Purpose::Make, &json!({"balance": "uri", "probe": {"method": "PUT"}}));
        assert_eq!(
            told,
            "zone: is missing; send it\nbalance: \"uri\" is outside first, leastconn, roundrobin, source\n\
             probe.method: \"PUT\" is outside GET, HEAD, OPTIONS"
        );
        assert_eq!(refused(RULE, Kind::Http, Purpose::Change, &json!({"field": null})), "field: is missing; send it");
        assert_eq!(
            refused(FRONTEND, Kind::Tcp, Purpose::Change, &json!({"allowedSource": ["8.8.8.8/32", "x"]})),
            "allowedSource[1]: \"x\" is outside networks such as 10.0.0.0/8"
        );
        for (body, said) in [
            (json!({"vrackNetworkId": 3}), "vrackNetworkId: 3 is outside null: there is no vRack here"),
            (json!({"probe": 5}), "probe: 5 is outside the objects"),
            (json!([]), "body: is not an object; send {\"field\": value}"),
        ] {
            assert_eq!(refused(FARM, Kind::Http, Purpose::Change, &body), said);
        }
    }

    #[test]
    fn absent_is_not_null_and_what_is_not_to_be_written_is_ignored() {
        let read = |body: Value, kind| {
            Value::Object(read(body.to_string().as_bytes(), kind, SERVER, Purpose::Change).unwrap())
        };
        let body =
            json!({"serverId": 7, "address": "x", "serverState": [], "nobody": 1, "weight": null, "backup": null});
        assert_eq!(read(body, Kind::Http), json!({"weight": null, "backup": false}));
        assert_eq!(read(json!({"weight": 9, "probe": true, "port": 80}), Kind::Udp), json!({"port": 80}));
        assert_eq!(read(json!({"cookie": "a"}), Kind::Tcp), json!({}));
    }

    #[test]
    fn value_that_is_told_already_is_not_looked_at() {
        let told = json!({"weight": 300, "probe": {"type": "internal", "port": null, "interval": 2}, "port": ""});
        let told = told.as_object().unwrap();
        let read = |body: Value| read_change(body.to_string().as_bytes(), Kind::Http, FARM, told).map(Value::Object);
        let probe = json!({"type": "internal", "interval": 2});
        assert_eq!(read(json!({"port": "", "probe": told["probe"], "balance": null})), Ok(json!({"balance": null})));
        assert_eq!(read(json!({"probe": probe})), Ok(json!({})), "what is null may be left out");
        let other = json!({"type": "internal", "interval": 3});
        assert!(read(json!({"probe": other})).is_err() && read(json!({"port": "80"})).is_err());
    }

    #[test]
    fn ports_are_single_ranges_and_lists_within_their_bound() {
        for (text, want) in [
            ("80", Some(vec![80])),
            ("22280,22443", Some(vec![22280, 22443])),
            ("8000-8002, 8001,9", Some(vec![8000, 8001, 8002, 9])),
            ("65535", Some(vec![65535])),
            ("0", None),
            ("", None),
            ("80,", None),
            ("+80", None),
            ("9-8", None),
            ("65536", None),
            ("1-65535", None),
        ] {
            assert_eq!(ports(text).ok(), want, "{text:?}");
        }
        assert_eq!(ports("1000-1063").map(|ports| ports.len()), Ok(64));
        assert!(ports("1000-1063,80").is_err());
    }
}
