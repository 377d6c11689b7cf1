//! Copies of requests for a second farm, taken as they pass towards the first.

use ::http::header;
use ::pingora::http::RequestHeader;
use ::pingora::proxy::Session;
use bytes::Bytes;

use crate::routing::is_among;

use super::super::super::mirror::{COPY_BODY_BYTES_MAX, Draft, Head};
use super::super::super::turns::TurnOf;
use super::state::Exchange;

/// Begins a copy of a request whose head, as its server is to see it, is this; sends it at once where there is no body.
/// A request that goes to another server is copied once: what was not sent yet begins with its body again.
pub(super) fn begin(session: &mut Session, head: &RequestHeader, exchange: &mut Exchange) {
    if let Some(draft) = &mut exchange.draft {
        return draft.begin_again();
    }
    let (Some(connection), Some(route)) = (&exchange.connection, &exchange.route) else { return };
    let Some(mirror) = route.forward().and_then(|forward| forward.mirror) else { return };
    let Some(feed) = route.frontend.routes.mirror_at(route.place) else { return };
    if exchange.attempts.retries() > 0 || session.is_upgrade_req() {
        return;
    }
    let (_, taken_by) = route.frontend.routes.at(route.place);
    let turn = connection.work.turn(route.frontend.frontend.id, taken_by.map(|route| &**route), TurnOf::Mirror);
    if !is_among(mirror.share, turn) {
        return;
    }
    let of_copy = Head {
        method: head.method.clone(),
        target: Bytes::copy_from_slice(head.raw_path()),
        fields: head.headers.clone(),
    };
    let draft = Draft::new(&route.table, &route.frontend, feed, connection.client.ip(), of_copy);
    let length = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if session.as_mut().is_body_empty() {
        draft.send(&connection.work);
    } else if length.is_some_and(|length: usize| length > COPY_BODY_BYTES_MAX) {
        draft.skip(&connection.work);
    } else {
        exchange.draft = Some(Box::new(draft));
    }
}

/// Takes in a piece of the body, and sends the copy after the last one.
pub(super) fn add(exchange: &mut Exchange, piece: Option<&[u8]>, is_last: bool) {
    let Some(mut draft) = exchange.draft.take() else { return };
    let Some(connection) = &exchange.connection else { return };
    if !draft.add(piece.unwrap_or_default()) {
        draft.skip(&connection.work);
    } else if is_last {
        draft.send(&connection.work);
    } else {
        exchange.draft = Some(draft);
    }
}

/// Lets a copy be whose request has ended before it was whole.
pub(super) fn abandon(exchange: &mut Exchange) {
    if let (Some(draft), Some(connection)) = (exchange.draft.take(), &exchange.connection) {
        draft.skip(&connection.work);
    }
}
