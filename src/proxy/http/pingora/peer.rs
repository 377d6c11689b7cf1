//! How a server is connected to.

use ::pingora::proxy::Session;
use ::pingora::upstreams::peer::HttpPeer;

use super::reuse;
use super::state::Exchange;

/// Returns the peer of the attempt that has begun, with every deadline; nothing without an attempt.
pub(super) fn of(session: &Session, exchange: &Exchange) -> Option<Box<HttpPeer>> {
    let (route, position) = exchange.route.as_ref().zip(exchange.position)?;
    let farm = route.farm();
    let entry = &farm.servers[position];
    let addr = entry.addr?;
    let mut peer = HttpPeer::new(addr, false, String::new());
    let timeouts = farm.farm.timeouts;
    if let Some(connection) = &exchange.connection {
        connection.expect_answer_within(timeouts.connect + timeouts.response);
    }
    peer.group_key = reuse::group_of(farm, entry, exchange.id.number);
    peer.options.connection_timeout = Some(timeouts.connect);
    peer.options.total_connection_timeout = Some(timeouts.connect);
    // Pingora's read deadline stays when a connection is upgraded. One long enough for a tunnel would hold a
    // stalled answer as long, for any client that writes Upgrade: so the stream watches both instead.
    peer.options.read_timeout = (!session.is_upgrade_req()).then_some(timeouts.response);
    peer.options.write_timeout = Some(timeouts.response);
    let idle = exchange.connection.as_ref().map(|connection| reuse::idle_for(&connection.work, farm, entry));
    peer.options.idle_timeout = Some(idle.unwrap_or(timeouts.idle));
    Some(Box::new(peer))
}
