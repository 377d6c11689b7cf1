//! Requests to servers over HTTP/2, made here rather than by the engine, which has the client's side only.
//!
//! Pingora 0.9.1 opens connections without bound, gives up a whole connection where one answer is late, cannot end one
//! request of a connection and cannot tell which requests were never sent. So the connections are ours ([`links`],
//! [`link`], over the `h2` crate), and so is the passing of heads, bodies and trailers ([`pass`]); heads change and
//! failures are judged by the same rules as those of HTTP/1.1. A request that is upgraded, and one to a server that
//! agrees to HTTP/1.1 only, goes the engine's way.

use std::sync::Arc;

use ::pingora::ErrorType::HTTPStatus;
use ::pingora::proxy::Session;
use ::pingora::{Error, Result};

use super::super::super::upstream_tls::Offer;
use super::Engine;
use super::failure;
use super::peer::{self, Shared};
use super::state::Exchange;

mod link;
mod links;
mod pass;
mod upload;
mod wire;

pub(super) use links::{Links, Terms};

/// Attempts of one request. Each that fails leaves a server or a connection fewer to try, long before that.
const ATTEMPTS_MAX: usize = 255;

/// Serves a request over HTTP/2, by one server after the other as far as it may be tried again. Returns whether the
/// engine is to go on with it, in HTTP/1.1.
pub(super) async fn serve(engine: &Engine, session: &mut Session, exchange: &mut Exchange) -> Result<bool> {
    for _ in 0..ATTEMPTS_MAX {
        engine.begin_attempt(session, exchange).await?;
        if let Some(look) = peer::look(exchange, &engine.lines, Offer::Http2) {
            look.await;
        }
        let Some(shared) = peer::over_http2(session, exchange, &engine.lines) else { return Ok(true) };
        let Shared { key, dial, terms, is_tls } = shared;
        if let Some(connection) = &exchange.connection {
            // The answer is late only after a connection may have been.
            connection.expect_answer_within(terms.connect + terms.response);
        }
        let is_repeatable = session.req_header().method.is_idempotent() && session.as_mut().is_body_empty();
        let lease = match engine.links.take(key, &dial, terms, !is_repeatable).await {
            Ok(lease) => lease,
            Err(error) => {
                let error = error.into_up();
                if !failure::not_connected(session, exchange, &error, &engine.lines) {
                    return Err(error);
                }
                continue;
            }
        };
        drop(dial);
        let is_kept = lease.is_kept;
        let passed = pass::Pass::new(engine, session, exchange, Arc::new(lease), terms, is_tls).run().await;
        match passed {
            Ok(()) => return Ok(false),
            Err(error) if failure::broken_off(session, exchange, &error, is_kept && is_of_connection(&error)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::explain(HTTPStatus(502), "tried too often").into_up())
}

/// Returns whether it is the connection that failed, not only what was said of one request.
fn is_of_connection(error: &Error) -> bool {
    let cause = error.root_cause().downcast_ref::<h2::Error>();
    cause.is_some_and(|cause| cause.is_io() || cause.is_go_away())
}
