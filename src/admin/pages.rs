//! What is asked of the process itself: by machines `/healthz` and `/readyz`, open to all, and `/metrics`; by people the
//! page.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, Method, StatusCode, header};

use crate::model::settings::MetricsAccess;
use crate::report::report;

use super::aside::Share;
use super::call::Call;
use super::server::Site;
use super::{haproxy, native, page};

/// Answers a call of one of the process's own pages; none if the path is another's.
pub(super) async fn answer(site: &Site, call: &Call) -> Option<Response> {
    let path = call.uri.path();
    if !matches!(path, "/healthz" | "/metrics" | "/readyz") {
        return match native::openapi::answer(call).or_else(|| page::answer(call)) {
            Some(response) => Some(response),
            None => haproxy::answer(site, call).await,
        };
    }
    if !matches!(call.method, Method::GET | Method::HEAD) {
        return Some(native::method_not_allowed(call, "GET, HEAD"));
    }
    Some(match path {
        "/healthz" => healthz(),
        "/metrics" => metrics(site, call).await,
        _ => readyz(site),
    })
}

/// The process is alive: it answers.
fn healthz() -> Response {
    text(StatusCode::OK, "text/plain; charset=utf-8", "ok\n".to_owned())
}

/// The process may be given traffic: every server was checked once.
fn readyz(site: &Site) -> Response {
    const JSON: &str = "application/json";
    if site.state.store.is_ready() {
        return text(StatusCode::OK, JSON, "{\"ready\":true}\n".to_owned());
    }
    let why = "{\"ready\":false,\"reason\":\"the first round of checks is not done\"}\n";
    text(StatusCode::SERVICE_UNAVAILABLE, JSON, why.to_owned())
}

async fn metrics(site: &Site, call: &Call) -> Response {
    if site.metrics == MetricsAccess::Token
        && let Err(error) = site.state.let_in(
            call,
            native::shown(call),
            || native::caller(&site.state.credentials.load(), call),
            |caller| &caller.grant,
        )
    {
        return native::refuse(call, &error);
    }
    let collector = site.collector.clone();
    match site.state.aside(call, (Share::Scrapes, ""), move || collector.render()).await {
        Err(why) => native::not_made(call, why),
        Ok(Ok(exposition)) => text(StatusCode::OK, prometheus::TEXT_FORMAT, exposition),
        Ok(Err(error)) => {
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
