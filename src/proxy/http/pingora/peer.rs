//! How a server is connected to, and which of its connections may be used again for whom.
//!
//! A connection is used again only for the same farm; where it is more than TCP, also only for the same address, name,
//! trust and version of HTTP, and where a PROXY header was sent on it only for the client that this one told of.

use std::hash::{Hash, Hasher};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ::pingora::proxy::Session;
use ::pingora::upstreams::peer::HttpPeer;
use xxhash_rust::xxh3::Xxh3Default;

use crate::farm::{FarmTable, ServerEntry};
use crate::model::tls::ServerTls;
use crate::model::{FarmTimeouts, PeerAddr};

use super::super::super::upstream_tls::{Look, Offer, server_name};
use super::super::control::Connection;
use super::super::exchange::framing::asks_for_websocket;
use super::super::h2::head::is_grpc;
use super::dial::{Dial, Lines, Tls};
use super::http2::Terms;
use super::reuse;
use super::state::Exchange;

/// Returns what to wait for before it is asked how the attempt that has begun goes: that files are looked at.
pub(super) fn look(exchange: &Exchange, lines: &Lines, offer: Offer) -> Option<Look> {
    let (route, position) = exchange.route.as_ref().zip(exchange.position)?;
    let settings = route.farm().servers[position].server.tls.as_ref()?;
    lines.configs.look(settings, offer)
}

/// Returns the peer of the attempt that has begun, for HTTP/1.1, with every deadline; nothing without an attempt.
pub(super) fn of(session: &Session, exchange: &mut Exchange, lines: &Arc<Lines>) -> Option<Box<HttpPeer>> {
    let (route, position) = exchange.route.as_ref().zip(exchange.position)?;
    let farm = route.farm();
    let entry = &farm.servers[position];
    let connection = exchange.connection.as_ref()?;
    let timeouts = farm.farm.timeouts;
    connection.expect_answer_within(timeouts.connect + timeouts.response);
    let group = reuse::group_of(farm, entry, exchange.id.number);
    let way = way(farm, entry, connection, lines, group)?;
    let mut peer = HttpPeer::new(way.shown, false, String::new());
    peer.group_key = way.key;
    peer.options.custom_l4 = way.dial.map(|dial| Arc::new(dial) as _);
    peer.options.connection_timeout = Some(timeouts.connect);
    peer.options.total_connection_timeout = Some(timeouts.connect);
    // Pingora's read deadline stays when a connection is upgraded. One long enough for a tunnel would hold a
    // stalled answer as long, for any client that writes Upgrade: so the stream watches both instead. A call of gRPC may
    // be silent for long; over HTTP/1 there is none, whatever a client writes.
    let is_watched = session.is_upgrade_req() || (connection.progress().is_some() && is_grpc(session.req_header()));
    peer.options.read_timeout = (!is_watched).then_some(timeouts.response);
    peer.options.write_timeout = Some(timeouts.response);
    peer.options.idle_timeout = Some(reuse::idle_for(&connection.work, farm, entry));
    exchange.is_over_tls = way.is_tls;
    Some(Box::new(peer))
}

/// How an attempt goes over HTTP/2.
pub(super) struct Shared {
    /// Of the connections that it may share.
    pub(super) key: u64,
    pub(super) dial: Dial,
    pub(super) terms: Terms,
    pub(super) is_tls: bool,
}

/// Returns how the attempt that has begun goes over HTTP/2; nothing where it does not.
pub(super) fn over_http2(session: &Session, exchange: &Exchange, lines: &Arc<Lines>) -> Option<Shared> {
    let (route, position) = exchange.route.as_ref().zip(exchange.position)?;
    let farm = route.farm();
    let entry = &farm.servers[position];
    let connection = exchange.connection.as_ref()?;
    // A WebSocket begins in HTTP/1.1.
    if !farm.farm.http2 || asks_for_websocket(session.req_header()) {
        return None;
    }
    let (addr, server) = (entry.addr.as_ref()?, &entry.server);
    let header = server.proxy_protocol.map(|form| connection.from.proxy_header(form));
    let group = reuse::group_of(farm, entry, exchange.id.number);
    let (tls, version) = match server.tls.as_ref() {
        None => (None, 0),
        Some(settings) => {
            let asked = asked_of(farm, entry, addr, settings);
            if lines.is_http1_only(asked) {
                return None;
            }
            let (tls, version) = spoken(lines, settings, entry, asked, Offer::Http2);
            (Some(tls), version)
        }
    };
    let key = hashed(|hasher| (group, addr, tls.as_ref().map(|tls| tls.key), version, &header).hash(hasher));
    let FarmTimeouts { connect, response, idle } = farm.farm.timeouts;
    let terms = Terms { reuse: farm.farm.reuse, connect, response, idle };
    let is_tls = tls.is_some();
    Some(Shared { key, dial: Dial { lines: Arc::clone(lines), addr: addr.clone(), header, tls }, terms, is_tls })
}

struct Way {
    /// The address that the engine compares kept connections with.
    shown: SocketAddr,
    key: u64,
    dial: Option<Dial>,
    is_tls: bool,
}

fn way(farm: &FarmTable, entry: &ServerEntry, connection: &Connection, lines: &Arc<Lines>, group: u64) -> Option<Way> {
    let addr = entry.addr.as_ref()?;
    // The engine asks the system whom a kept connection is to, and sees a Unix socket where it is to one, or where TLS is
    // spoken below it, which an address of zeroes fits; the server is in the key.
    let hidden = SocketAddr::from((Ipv4Addr::UNSPECIFIED, addr.port()));
    let server = &entry.server;
    let header = server.proxy_protocol.map(|form| connection.from.proxy_header(form));
    let Some(settings) = server.tls.as_ref() else {
        let key = if header.is_some() { hashed(|hasher| (group, &header).hash(hasher)) } else { group };
        let is_dialled = header.is_some() || addr.ip().is_none();
        let dial = is_dialled.then(|| Dial { lines: Arc::clone(lines), addr: addr.clone(), header, tls: None });
        return Some(Way { shown: addr.ip().unwrap_or(hidden), key, dial, is_tls: false });
    };
    let asked = asked_of(farm, entry, addr, settings);
    let (tls, version) = spoken(lines, settings, entry, asked, Offer::Http1);
    let key = hashed(|hasher| (asked, group, version, &header).hash(hasher));
    let dial = Dial { lines: Arc::clone(lines), addr: addr.clone(), header, tls: Some(tls) };
    Some(Way { shown: hidden, key, dial: Some(dial), is_tls: true })
}

/// What a server that is spoken to in TLS is remembered by.
fn asked_of(farm: &FarmTable, entry: &ServerEntry, addr: &PeerAddr, settings: &ServerTls) -> u64 {
    let name = server_name(settings, &entry.server.address.host);
    hashed(|hasher| (farm.farm.id.0, addr, entry.server.id.0, format!("{name:?}")).hash(hasher))
}

/// How TLS is spoken to a server, and the version of what it is spoken with.
fn spoken(lines: &Lines, settings: &ServerTls, entry: &ServerEntry, asked: u64, offer: Offer) -> (Tls, u64) {
    let profile = lines.configs.profile(settings, offer);
    let version = profile.as_ref().map_or(0, |profile| profile.version);
    let name = server_name(settings, &entry.server.address.host);
    let with = profile.and_then(|profile| Ok((profile.config, name?)));
    (Tls { with, is_http2: offer == Offer::Http2, key: asked }, version)
}

fn hashed(feed: impl FnOnce(&mut Xxh3Default)) -> u64 {
    let mut hasher = Xxh3Default::new();
    feed(&mut hasher);
    hasher.finish()
}
