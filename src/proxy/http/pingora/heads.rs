//! What becomes of the heads on their way: of the request towards the server, of the answer towards the client.

use std::fmt::Display;

use ::http::header::{self, HeaderValue};
use ::http::{StatusCode, Version};
use ::pingora::ErrorType::InvalidHTTPHeader;
use ::pingora::http::{RequestHeader, ResponseHeader};
use ::pingora::proxy::Session;
use ::pingora::{Error, Result};

use crate::model::Frontend;

use super::super::control::Connection;
use super::super::exchange::framing::{self, INTERIMS_MAX};
use super::super::exchange::render::{self, Values};
use super::super::exchange::rewrite::rewritten;
use super::super::exchange::{self, Origin};
use super::answer::{close_if_retired, close_unless_in_step};
use super::route::authority;
use super::state::Exchange;

/// Makes the head of a request what its server is to see.
pub(super) fn towards_server(session: &Session, head: &mut RequestHeader, exchange: &Exchange) {
    framing::make_length_plain(head);
    if let (Some(connection), Some(route)) = (&exchange.connection, &exchange.route) {
        let version = session.req_header().version;
        let origin = Origin { client: &connection.client_text, scheme: connection.from.scheme(), version };
        let is_trusted = exchange::is_trusted(connection.client.ip(), &route.frontend.frontend.trust);
        exchange::set_forwarded(head, &origin, is_trusted);
        exchange::set_request_id(head, &exchange.shown_id());
        exchange.seen.traced.towards_server(head);
        let frontend = &route.frontend.frontend;
        let Some(forward) = route.forward() else { return };
        if let Some(rewrite) = &forward.rewrite
            && let Some(target) = rewritten(rewrite, head.raw_path())
        {
            // What is made of a target that was taken is one that is.
            let _ = head.set_raw_path(&target);
        }
        let all = [&frontend.request_headers, &forward.request_headers];
        if all.iter().any(|rules| !rules.is_empty()) {
            let id = exchange.shown_id();
            let values = values(session.req_header(), &id, connection, frontend);
            all.iter().for_each(|rules| render::apply(rules, &values, head));
        }
    }
}

/// Returns what the variables of header rules and redirects stand for.
pub(super) fn values<'a>(
    head: &'a RequestHeader,
    id: &'a dyn Display,
    connection: &'a Connection,
    frontend: &'a Frontend,
) -> Values<'a> {
    let tls = connection.from.tls.as_deref();
    let certificate = tls.and_then(|peer| peer.client.as_ref()).filter(|shown| shown.is_verified);
    Values {
        client_ip: connection.client_text.as_bytes(),
        client_port: connection.client.port(),
        port: connection.from.local.port(),
        scheme: connection.from.scheme(),
        frontend: frontend.name.as_str(),
        host: authority(head).unwrap_or_default(),
        // Of a request about the server as a whole (OPTIONS *), the path is that of the whole.
        target: if head.raw_path() == b"*" { b"/" } else { head.raw_path() },
        id,
        sni: tls.and_then(|peer| peer.sni.as_deref()).unwrap_or_default(),
        tls_version: tls.map_or("", |peer| peer.version),
        client_certificate: certificate.map_or(("", ""), |shown| (&shown.digest, &shown.subject_cn)),
    }
}

/// Changes the head of an answer by the frontend's rules; `asked` is the head of the request.
pub(super) fn own(
    asked: &RequestHeader,
    head: &mut ResponseHeader,
    exchange: &Exchange,
    connection: &Connection,
    frontend: &Frontend,
) {
    if let Some(hsts) = frontend.hsts.filter(|_| connection.from.tls.is_some()) {
        render::set_hsts(hsts, head);
    }
    if !frontend.response_headers.is_empty() {
        render::apply(&frontend.response_headers, &values(asked, &exchange.shown_id(), connection, frontend), head);
    }
}

/// Changes the head of a server's answer by the rules of its route and frontend.
fn by_rules(asked: &RequestHeader, head: &mut ResponseHeader, exchange: &Exchange) {
    let (Some(connection), Some(route)) = (&exchange.connection, &exchange.route) else { return };
    let frontend = &route.frontend.frontend;
    if let Some(forward) = route.forward().filter(|forward| !forward.response_headers.is_empty()) {
        render::apply(&forward.response_headers, &values(asked, &exchange.shown_id(), connection, frontend), head);
    }
    own(asked, head, exchange, connection, frontend);
}

/// Takes in the head of a server's answer.
pub(super) fn from_server(session: &Session, head: &mut ResponseHeader, exchange: &mut Exchange) -> Result<()> {
    // Pingora 0.9.1 only refuses a switch that one side asked for and the other did not see.
    if head.status == StatusCode::SWITCHING_PROTOCOLS && !session.is_upgrade_req() {
        return Err(Error::explain(InvalidHTTPHeader, "101 without an Upgrade").into_up());
    }
    if !framing::is_coding_plain(head) {
        return Err(Error::explain(InvalidHTTPHeader, "a Transfer-Encoding that is not chunked").into_up());
    }
    if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
        exchange.answer_began(head.status, session.is_upgrade_req());
    } else {
        exchange.interims += 1;
        if exchange.interims > INTERIMS_MAX {
            return Err(Error::explain(InvalidHTTPHeader, "too many interim answers").into_up());
        }
    }
    framing::make_length_plain(head);
    framing::strip_framing_of_no_body(head);
    exchange::strip_hop_by_hop(head);
    Ok(())
}

/// Makes the head of an answer what its client is to see.
pub(super) fn towards_client(session: &mut Session, head: &mut ResponseHeader, exchange: &mut Exchange) -> Result<()> {
    let is_switch = head.status == StatusCode::SWITCHING_PROTOCOLS;
    if is_switch {
        exchange.upgraded();
    }
    if (is_switch || !head.status.is_informational())
        && let Some(line) = exchange.set_cookie()
    {
        head.append_header(header::SET_COOKIE, line)?;
    }
    if is_switch || !head.status.is_informational() {
        exchange::set_request_id(head, &exchange.shown_id());
        by_rules(session.req_header(), head, exchange);
    }
    if !is_switch {
        // What this side speaks, whatever the server does.
        head.set_version(Version::HTTP_11);
    }
    if !head.status.is_informational() {
        close_unless_in_step(session);
        close_if_retired(session, exchange);
    }
    // An HTTP/1.0 client cannot read chunks: the end of the connection ends the body.
    if session.req_header().version == Version::HTTP_10 && head.headers.contains_key(header::TRANSFER_ENCODING) {
        head.remove_header(&header::TRANSFER_ENCODING);
        head.insert_header(header::CONNECTION, HeaderValue::from_static("close"))?;
        session.set_keepalive(None);
        exchange.is_ended_by_close = true;
    }
    Ok(())
}
