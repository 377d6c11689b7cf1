//! What machines ask of the process itself: `/healthz` and `/readyz`, open to all, and `/metrics`.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, Method, StatusCode, header};

use crate::model::settings::MetricsAccess;
use crate::report::report;

use super::call::Call;
use super::native;
use super::server::Site;

/// Answers a call of one of the process's own pages; none if the path is another's.
pub(super) fn answer(site: &Site, call: &Call) -> Option<Response> {
    let page: fn(&Site, &Call) -> Response = match call.uri.path() {
        "/healthz" => healthz,
        "/metrics" => metrics,
        "/readyz" => readyz,
        _ => return None,
    };
    if !matches!(call.method, Method::GET | Method::HEAD) {
        return Some(native::method_not_allowed(call, "GET, HEAD"));
    }
    Some(page(site, call))
}

/// The process is alive: it answers.
fn healthz(_site: &Site, _call: &Call) -> Response {
    text(StatusCode::OK, "text/plain; charset=utf-8", "ok\n".to_owned())
}

/// The process may be given traffic: every server was checked once.
fn readyz(site: &Site, _call: &Call) -> Response {
    const JSON: &str = "application/json";
    if site.state.store.is_ready() {
        return text(StatusCode::OK, JSON, "{\"ready\":true}\n".to_owned());
    }
    let why = "{\"ready\":false,\"reason\":\"the first round of checks is not done\"}\n";
    text(StatusCode::SERVICE_UNAVAILABLE, JSON, why.to_owned())
}

fn metrics(site: &Site, call: &Call) -> Response {
    if site.metrics == MetricsAccess::Token
        && let Err(error) = native::caller(&site.state.credentials.load(), call)
    {
        return native::refuse(call, &error);
    }
    match site.collector.render() {
        Ok(exposition) => text(StatusCode::OK, prometheus::TEXT_FORMAT, exposition),
        Err(error) => {
            tracing::error!(request_id = call.request_id, error = %report(&error), "metrics cannot be rendered");
            native::bug(call)
        }
    }
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
