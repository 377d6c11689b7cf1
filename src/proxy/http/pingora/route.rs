//! Where a request goes, decided once for its life, and the answers of those that go nowhere: redirects, refusals by a
//! route, the page of a frontend that is closed.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::{Version, header};
use ::pingora::Result;
use ::pingora::http::{RequestHeader, ResponseHeader};
use ::pingora::proxy::Session;
use bytes::Bytes;

use crate::metrics::Refusal;
use crate::model::trace::{EndPhase, EndedBy};
use crate::model::{Action, MaintenancePage, RateKey, RateLimit, Redirect};
use crate::routing::{Decision, RequestView, host_of};
use crate::store::{FrontendTable, Table};

use super::super::super::rate::Asker;
use super::super::super::turns::TurnOf;
use super::super::control::Connection;
use super::super::exchange::hashed_path;
use super::super::exchange::render;
use super::answer::{page, respond, respond_with};
use super::heads;
use super::state::{Exchange, Route};

/// What the client of a rejecting route is told.
const REJECTED: &str = "a route refuses such requests";
/// What it is told where there is none, and nothing else either.
const TAKEN_BY_NONE: &str = "no route takes such requests";
/// What the log says of an answer of its own kind.
const REDIRECTED: &str = "a route leads elsewhere";
const CHALLENGED: &str = "an authority looks whether a name is ours";
/// What the client is told that asks too often.
const TOO_OFTEN: &str = "too many requests; wait before the next";
const NO_MEMORY: &str = "no memory is left for more requests";
const CLOSED: &str = "the frontend is closed for maintenance";

/// A request as rules see it.
struct View<'a> {
    connection: &'a Connection,
    head: &'a RequestHeader,
    host: Option<Cow<'a, str>>,
    path: &'a [u8],
    query: Option<&'a [u8]>,
}

impl<'a> View<'a> {
    fn new(connection: &'a Connection, head: &'a RequestHeader) -> Self {
        let target = head.raw_path();
        let path = hashed_path(target);
        let query = target.get(path.len() + 1..);
        Self { connection, head, host: authority(head).and_then(host_of), path, query }
    }
}

impl RequestView for View<'_> {
    /// What the request is of, and what carries it.
    fn any_protocol(&self, mut test: impl FnMut(&[u8]) -> bool) -> bool {
        let scheme = self.connection.from.scheme();
        test(scheme.as_bytes()) || test(if scheme == "https" { b"tls" } else { b"tcp" })
    }

    fn source(&self) -> Option<IpAddr> {
        self.connection.from.is_told_apart().then_some(self.connection.client.ip())
    }

    fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    fn method(&self) -> Option<&str> {
        Some(self.head.method.as_str())
    }

    fn path(&self) -> Option<&[u8]> {
        Some(self.path)
    }

    fn query(&self) -> Option<&[u8]> {
        self.query
    }

    fn any_header(&self, name: &str, mut test: impl FnMut(&[u8]) -> bool) -> bool {
        self.head.headers.get_all(name).iter().any(|value| test(value.as_bytes()))
    }
}

/// Returns the host that a request names, as it is written there: `:authority`, or Host.
pub(super) fn authority(head: &RequestHeader) -> Option<&[u8]> {
    let of_uri = || head.uri.authority().map(|authority| authority.as_str().as_bytes());
    let of_field = || head.headers.get(header::HOST).map(|host| host.as_bytes());
    if head.version == Version::HTTP_2 { of_uri().or_else(of_field) } else { of_field().or_else(of_uri) }
}

/// Decides where a request goes. Returns whether it was answered here.
pub(super) async fn decide(
    session: &mut Session,
    exchange: &mut Exchange,
    connection: &Connection,
    (table, frontend): (Arc<Table>, Arc<FrontendTable>),
) -> Result<bool> {
    if let Some(text) = challenge(connection, session.req_header()) {
        exchange.reason = Some(CHALLENGED);
        connection.count_own_answer(200, None);
        let mut head = ResponseHeader::build(200, Some(4))?;
        head.insert_header(header::CONTENT_TYPE, "application/octet-stream")?;
        respond_with(session, exchange, Some(&frontend), head, Bytes::copy_from_slice(text.as_bytes())).await?;
        return Ok(true);
    }
    if let Some(page) = &frontend.frontend.maintenance {
        close(session, exchange, connection, &frontend, page).await?;
        return Ok(true);
    }
    if connection.work.memory().is_over() {
        turn_away(session, exchange, connection, &frontend).await?;
        return Ok(true);
    }
    if let Some(limit) = &frontend.frontend.limits.rate
        && let Err(wait) = connection.work.take_token(frontend.frontend.id, limit, asker(limit, session, connection))
    {
        slow_down(session, exchange, connection, &frontend, wait).await?;
        return Ok(true);
    }
    let turn = |route: Option<&_>| connection.work.turn(frontend.frontend.id, route, TurnOf::Split);
    let routes = &frontend.routes;
    let Decision { place, route, action, feed } = if routes.is_empty() {
        routes.otherwise(turn)
    } else {
        routes.decide(&View::new(connection, session.req_header()), turn)
    };
    exchange.taken_by = route.map(|route| route.id);
    match action {
        Action::Forward(_) => {
            exchange.route = feed.filter(|feed| *feed < frontend.feeds.len()).map(|feed| Route {
                frontend: Arc::clone(&frontend),
                table,
                feed,
                place,
            });
            Ok(false)
        }
        Action::Redirect(redirect) => {
            lead(session, exchange, connection, &frontend, redirect).await?;
            Ok(true)
        }
        Action::Reject(status) => {
            let why = if route.is_some() { REJECTED } else { TAKEN_BY_NONE };
            exchange.reason = Some(why);
            connection.count_own_answer(*status, Some(Refusal::Rejected));
            respond(session, exchange, Some(&frontend), *status, why).await?;
            Ok(true)
        }
    }
}

/// Returns what an authority is to be told that looks whether a name is ours; every frontend answers it.
fn challenge(connection: &Connection, head: &RequestHeader) -> Option<Arc<str>> {
    connection.work.challenges.text(std::str::from_utf8(head.raw_path()).ok()?)
}

/// Who a request counts for.
fn asker<'a>(limit: &RateLimit, session: &'a Session, connection: &Connection) -> Asker<'a> {
    let value = match &limit.per {
        RateKey::Header(name) => session.req_header().headers.get(&**name),
        RateKey::Source => None,
    };
    value.map_or_else(|| Asker::Source(connection.client.ip()), |value| Asker::Value(value.as_bytes()))
}

async fn slow_down(
    session: &mut Session,
    exchange: &mut Exchange,
    connection: &Connection,
    frontend: &FrontendTable,
    wait: Duration,
) -> Result<()> {
    exchange.reason = Some(TOO_OFTEN);
    let (mut head, body) = page(exchange, 429, TOO_OFTEN)?;
    head.insert_header(header::RETRY_AFTER, wait.as_secs() + 1)?;
    connection.count_own_answer(429, Some(Refusal::Rate));
    respond_with(session, exchange, Some(frontend), head, body).await
}

async fn lead(
    session: &mut Session,
    exchange: &mut Exchange,
    connection: &Connection,
    frontend: &FrontendTable,
    redirect: &Redirect,
) -> Result<()> {
    exchange.reason = Some(REDIRECTED);
    let place = {
        let id = exchange.shown_id();
        let values = heads::values(session.req_header(), &id, connection, &frontend.frontend);
        render::location(&redirect.target, &values)
    };
    let mut head = ResponseHeader::build(redirect.status, Some(6))?;
    if let Some(place) = place {
        head.insert_header(header::LOCATION, place)?;
    }
    if !matches!(redirect.status, 301 | 308) {
        head.insert_header(header::CACHE_CONTROL, "no-cache")?;
    }
    connection.count_own_answer(redirect.status, None);
    respond_with(session, exchange, Some(frontend), head, Bytes::new()).await
}

/// Refuses a request for which there is no memory, and the client's next one, which may find some elsewhere.
async fn turn_away(
    session: &mut Session,
    exchange: &mut Exchange,
    connection: &Connection,
    frontend: &FrontendTable,
) -> Result<()> {
    exchange.reason = Some(NO_MEMORY);
    exchange.seen.ended_in(EndedBy::Local, EndPhase::Request);
    connection.count_own_answer(503, Some(Refusal::Memory));
    session.set_keepalive(None);
    respond(session, exchange, Some(frontend), 503, NO_MEMORY).await
}

async fn close(
    session: &mut Session,
    exchange: &mut Exchange,
    connection: &Connection,
    frontend: &FrontendTable,
    page: &MaintenancePage,
) -> Result<()> {
    exchange.reason = Some(CLOSED);
    exchange.seen.ended_in(EndedBy::Local, EndPhase::Request);
    let mut head = ResponseHeader::build(page.status, Some(8))?;
    head.insert_header(header::CONTENT_TYPE, &*page.content_type)?;
    head.insert_header(header::CACHE_CONTROL, "no-store")?;
    if let Some(after) = page.retry_after {
        head.insert_header(header::RETRY_AFTER, after.as_secs())?;
    }
    connection.count_own_answer(page.status, Some(Refusal::Maintenance));
    respond_with(session, exchange, Some(frontend), head, Bytes::copy_from_slice(page.body.as_bytes())).await
}
