//! What HAProxy's tools read, in the formats that HAProxy writes: the CSV of its statistics, and the servers' state file.
//!
//! Read only, and told from one Snapshot and the cells of its table, so that it agrees with everything else. Frontends
//! are its frontends, farms its backends. A server's `status` comes from the one function that gives HAProxy's text for a
//! state. What is not measured here is an empty column, which readers of the CSV know: none is invented. Who may read it
//! is whoever may read `/metrics`; tools that know no bearer tokens send one as the password of HTTP's Basic scheme.
//! Sources: HAProxy's management guide, 9.1 (columns) and "show servers state".

mod csv;
mod servers_state;

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::clock;
use crate::model::settings::MetricsAccess;

use super::aside::Share;
use super::call::Call;
use super::error::AdminError;
use super::native;
use super::server::Site;

/// The path of the statistics page, which here is the CSV only.
const STATS: &str = "/haproxy/stats";
/// What tools put behind that path.
const STATS_ENDS: [&str; 4] = [";csv", "/;csv", ";csv;norefresh", "/;csv;norefresh"];
/// The path of the state file.
const SERVERS_STATE: &str = "/haproxy/servers-state";

/// Base64 as HTTP's Basic scheme has it, its padding optional.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One of the two texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Csv,
    ServersState,
}

impl Text {
    fn of(path: &str) -> Option<Self> {
        if path == SERVERS_STATE {
            return Some(Self::ServersState);
        }
        path.strip_prefix(STATS).is_some_and(|end| STATS_ENDS.contains(&end)).then_some(Self::Csv)
    }
}

/// Answers a call of one of the texts; none if the path is another's.
pub(super) async fn answer(site: &Site, call: &Call) -> Option<Response> {
    let text = Text::of(call.uri.path())?;
    if !matches!(call.method, Method::GET | Method::HEAD) {
        return Some(native::method_not_allowed(call, "GET, HEAD"));
    }
    if site.metrics == MetricsAccess::Token
        && let Err(error) = let_in(site, call)
    {
        let mut refused = native::refuse(call, &error);
        refused.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"farmgate\""));
        return Some(refused);
    }
    let store = std::sync::Arc::clone(&site.state.store);
    let made = site.state.aside(call, (Share::Scrapes, ""), move || {
        let snapshot = store.snapshot(clock::wall());
        match text {
            Text::Csv => csv::render(&snapshot, &store.load()),
            Text::ServersState => servers_state::render(&snapshot),
        }
    });
    let body = match made.await {
        Ok(body) => body,
        Err(why) => return Some(native::not_made(call, why)),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Some(response)
}

fn let_in(site: &Site, call: &Call) -> Result<(), AdminError> {
    let asked = with_token(call);
    let caller = || native::caller(&site.state.credentials.load(), &asked);
    site.state.let_in(call, native::shown(&asked), caller, |caller| &caller.grant).map(drop)
}

/// The call with the password of HTTP's Basic scheme, if it has one, as its bearer token.
fn with_token(call: &Call) -> Call {
    let mut headers: HeaderMap = call.headers.clone();
    let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let basic = sent.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
    let password = basic.and_then(|(_, text)| String::from_utf8(BASE64.decode(text.trim()).ok()?).ok());
    let token = password.as_deref().and_then(|pair| pair.split_once(':')).map(|(_, password)| password);
    let bearer = token.and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok());
    if let Some(bearer) = bearer {
        headers.insert(header::AUTHORIZATION, bearer);
    }
    call.part(call.uri.clone(), headers)
}

#[cfg(test)]
mod tests;
