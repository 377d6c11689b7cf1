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

use super::super::super::upstream_tls::{Offer, server_name};
use super::super::control::Connection;
use super::super::h2::head::is_grpc;
use super::dial::{Dial, Lines, Tls};
use super::reuse;
use super::state::Exchange;

/// Returns the peer of the attempt that has begun, with every deadline; nothing without an attempt.
pub(super) fn of(session: &Session, exchange: &mut Exchange, lines: &Arc<Lines>) -> Option<Box<HttpPeer>> {
    let (route, position) = exchange.route.as_ref().zip(exchange.position)?;
    let farm = route.farm();
    let entry = &farm.servers[position];
    let connection = exchange.connection.as_ref()?;
    let timeouts = farm.farm.timeouts;
    connection.expect_answer_within(timeouts.connect + timeouts.response);
    let group = reuse::group_of(farm, entry, exchange.id.number);
    let way = way(session, farm, entry, connection, lines, group)?;
    let mut peer = HttpPeer::new(way.shown, false, String::new());
    peer.group_key = way.key;
    peer.options.custom_l4 = way.dial.map(|dial| Arc::new(dial) as _);
    if way.is_http2 {
        // The version was agreed on below the engine, or is known beforehand.
        peer.options.set_http_version(2, 2);
        peer.options.max_h2_streams = farm.farm.reuse.streams.max(1) as usize;
    }
    peer.options.connection_timeout = Some(timeouts.connect);
    peer.options.total_connection_timeout = Some(timeouts.connect);
    // Pingora's read deadline stays when a connection is upgraded. One long enough for a tunnel would hold a
    // stalled answer as long, for any client that writes Upgrade: so the stream watches both instead. A call of gRPC may
    // be silent for long, and its deadline would end the connection for all others; over HTTP/1 there is none, whatever
    // a client writes.
    let is_watched = session.is_upgrade_req() || (connection.progress().is_some() && is_grpc(session.req_header()));
    peer.options.read_timeout = (!is_watched).then_some(timeouts.response);
    peer.options.write_timeout = Some(timeouts.response);
    peer.options.idle_timeout = Some(reuse::idle_for(&connection.work, farm, entry));
    exchange.goes_over = way.over;
    Some(Box::new(peer))
}

/// What the request goes over, once it is connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Over {
    /// HTTP/2, which other requests share.
    pub(super) is_http2: bool,
    /// TLS.
    pub(super) is_tls: bool,
}

struct Way {
    /// The address that the engine compares kept connections with.
    shown: SocketAddr,
    key: u64,
    dial: Option<Dial>,
    is_http2: bool,
    over: Over,
}

fn way(
    session: &Session,
    farm: &FarmTable,
    entry: &ServerEntry,
    connection: &Connection,
    lines: &Arc<Lines>,
    group: u64,
) -> Option<Way> {
    let addr = entry.addr?;
    let server = &entry.server;
    let farm_key = farm.farm.id.0;
    // What is upgraded is HTTP/1.1.
    let wants_http2 = farm.farm.http2 && !session.is_upgrade_req();
    let header = server.proxy_protocol.map(|form| connection.from.proxy_header(form));
    let Some(settings) = server.tls.as_ref() else {
        let over = Over { is_http2: wants_http2, is_tls: false };
        let key = if wants_http2 || header.is_some() {
            hashed(|hasher| (group, wants_http2, &header).hash(hasher))
        } else {
            group
        };
        let dial = header.map(|header| Dial { lines: Arc::clone(lines), addr, header: Some(header), tls: None });
        return Some(Way { shown: addr, key, dial, is_http2: wants_http2, over });
    };
    let name = server_name(settings, &server.address.host);
    let asked = hashed(|hasher| (farm_key, addr, server.id.0, format!("{name:?}")).hash(hasher));
    let is_http2 = wants_http2 && !lines.is_http1_only(asked);
    let offer = if is_http2 { Offer::Http2 } else { Offer::Http1 };
    let profile = lines.configs.profile(settings, offer);
    let version = profile.as_ref().map_or(0, |profile| profile.version);
    let key = hashed(|hasher| (asked, group, version, is_http2, &header).hash(hasher));
    let with = profile.and_then(|profile| Ok((profile.config, name?)));
    let tls = Tls { with, is_http2, key: asked };
    // The engine asks the system whom a kept connection is to, and sees no more of it than its own end of a pair, which
    // an address of zeroes fits; the real one is in the key.
    let shown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, addr.port()));
    let dial = Dial { lines: Arc::clone(lines), addr, header, tls: Some(tls) };
    Some(Way { shown, key, dial: Some(dial), is_http2, over: Over { is_http2, is_tls: true } })
}

fn hashed(feed: impl FnOnce(&mut Xxh3Default)) -> u64 {
    let mut hasher = Xxh3Default::new();
    feed(&mut hasher);
    hasher.finish()
}
