//! The pages for people, farms and the API: files that are part of the program, served as they are and open to all.
//!
//! They hold no state: the page of farms signs in with a token of the operator's and asks the native API; that of the API
//! shows `/openapi.json`. The policy lets them load and speak to nothing but their own origin, and run nothing that is not
//! in `page.js` and `api.js`.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, header};

use super::call::Call;
use super::native;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the page.
struct Asset {
    path: &'static str,
    content_type: &'static str,
    body: &'static str,
}

static ASSETS: [Asset; 7] = [
    Asset { path: "/", content_type: "text/html; charset=utf-8", body: include_str!("page/index.html") },
    Asset { path: "/api", content_type: "text/html; charset=utf-8", body: include_str!("page/api.html") },
    Asset { path: "/api.css", content_type: "text/css; charset=utf-8", body: include_str!("page/api.css") },
    Asset { path: "/api.js", content_type: "text/javascript; charset=utf-8", body: include_str!("page/api.js") },
    Asset { path: "/page.css", content_type: "text/css; charset=utf-8", body: include_str!("page/page.css") },
    Asset { path: "/page.js", content_type: "text/javascript; charset=utf-8", body: include_str!("page/page.js") },
    Asset { path: "/page.svg", content_type: "image/svg+xml", body: include_str!("page/page.svg") },
];

/// Answers a call of the page; none if the path is another's.
pub(super) fn answer(call: &Call) -> Option<Response> {
    let asset = ASSETS.iter().find(|asset| asset.path == call.uri.path())?;
    if !matches!(call.method, Method::GET | Method::HEAD) {
        return Some(native::method_not_allowed(call, "GET, HEAD"));
    }
    let mut response = Response::new(Body::from(asset.body));
    guard(response.headers_mut());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    Some(response)
}

fn guard(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // A newer program brings a newer page; an old one must not speak to it.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fixture::Running;

    #[test]
    fn page_is_served_to_all_under_a_policy_that_allows_only_itself() {
        let running = Running::start();
        for asset in &ASSETS {
            let reply = running.send("GET", asset.path, &[], b"");
            assert_eq!((reply.status, reply.body.as_str()), (200, asset.body), "{}", asset.path);
            assert_eq!(reply.field("content-type"), Some(asset.content_type));
            assert_eq!(reply.field("content-security-policy"), Some(POLICY));
            assert_eq!(reply.field("referrer-policy"), Some("no-referrer"));
            assert_eq!(reply.field("x-content-type-options"), Some("nosniff"));
            assert_eq!(reply.field("cache-control"), Some("no-cache"));
            assert_eq!(running.send("HEAD", asset.path, &[], b"").body, "");
            let wrong = running.send("POST", asset.path, &[], b"");
            assert_eq!((wrong.status, wrong.field("allow")), (405, Some("get, head")));
        }
    }

    #[test]
    fn page_names_no_other_place_and_holds_nothing_inline() {
        for page in ASSETS.iter().filter(|asset| asset.content_type.starts_with("text/html")) {
            for forbidden in ["http:", "https:", "<style", " style=", " onclick="] {
                assert!(!page.body.contains(forbidden), "{forbidden} in {}", page.path);
            }
            for name in page.body.split('"').filter(|part| part.starts_with("page.") || part.starts_with("api.")) {
                assert!(ASSETS.iter().any(|asset| asset.path.trim_start_matches('/') == name), "{name} is not served");
            }
        }
    }
}
