//! Error bodies and the headers of every answer.
//!
//! A body carries both generations of the vendor's fields: `class` and `message` (today's) and `errorCode` and
//! `httpCode` (which python-ovh maps to its exception types). `message` is the sentence that every shape shares.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::wire;
use crate::admin::aside::NotMade;
use crate::admin::error::AdminError;
use crate::admin::gate::Denied;
use crate::model::Timestamp;
use crate::objects::EditError;

const FIXED_HEADERS: [(&str, &str); 6] = [
    ("content-type", "application/json; charset=utf-8"),
    ("cache-control", "no-cache, no-store"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("access-control-allow-origin", "*"),
    (
        "access-control-allow-headers",
        "X-Ovh-Timestamp, X-Ovh-Consumer, X-Ovh-Application, X-Ovh-Signature, X-Ovh-Session, Authorization, Content-Type",
    ),
];

/// A refused call, in this shape's words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    class: &'static str,
    code: &'static str,
    message: String,
    /// The methods that are allowed instead.
    allow: Option<&'static str>,
    /// Whether it is of who shows what is no credential.
    is_guess: bool,
}

impl Denied for Refusal {
    fn is_guess(&self) -> bool {
        self.is_guess
    }
}

impl Refusal {
    /// A signed or bearer call was expected and there is no credential at all.
    pub(super) fn not_logged_in() -> Self {
        let message = "You must login first: sign the request with an application key, its secret and a consumer key, \
                       or send Authorization: Bearer with a token";
        Self::new(StatusCode::UNAUTHORIZED, "Client::Unauthorized", "NOT_LOGGED_IN", message.to_owned())
    }

    /// The application key is in no credential of the config.
    pub(super) fn unknown_application() -> Self {
        Self { is_guess: true, ..Self::forbidden("INVALID_KEY", "This application key is invalid") }
    }

    /// The application key is in credentials of the config only.
    pub(super) fn may_not_ask() -> Self {
        let message =
            "This application key may not ask for credentials; add it to admin.ovh.applications of the config";
        Self::forbidden("FORBIDDEN", message)
    }

    /// The application key is known, the consumer key is not one of its.
    pub(super) fn unknown_consumer() -> Self {
        Self { is_guess: true, ..Self::forbidden("NOT_CREDENTIAL", "This credential does not exist") }
    }

    /// The credential is pending, refused or expired.
    pub(super) fn not_valid(state: &str) -> Self {
        Self::forbidden("INVALID_CREDENTIAL", &format!("This credential is not valid: it is {state}"))
    }

    /// The credential is for calls from elsewhere.
    pub(super) fn not_from(peer: std::net::IpAddr) -> Self {
        Self::forbidden("FORBIDDEN", &format!("This credential is not for calls from {peer}; see its allowedIPs"))
    }

    /// A credential of the config cannot be ended by its owner.
    pub(super) fn of_the_config(name: &str) -> Self {
        let message = format!("credential \"{name}\" is of the config file; remove it there and reload");
        Self::forbidden("FORBIDDEN", &message)
    }

    /// So many of them are there already.
    pub(super) fn too_many(message: &str) -> Self {
        let status = StatusCode::TOO_MANY_REQUESTS;
        Self::new(status, "Client::TooManyRequests", "TOO_MANY_REQUESTS", message.to_owned())
    }

    /// The credential's rules do not have this call.
    pub(super) fn not_granted() -> Self {
        Self::forbidden("NOT_GRANTED_CALL", "This call has not been granted")
    }

    /// The bearer token is in no credential of the config.
    pub(super) fn unknown_token(why: &AdminError) -> Self {
        let message = format!("This credential is not valid: {why}");
        Self { is_guess: true, ..Self::forbidden("INVALID_CREDENTIAL", &message) }
    }

    /// The timestamp is no timestamp, or too far from our clock.
    pub(super) fn out_of_time(got: &str, now: u64) -> Self {
        let message = format!(
            "Query out of time: X-Ovh-Timestamp \"{}\" is not ten digits within {} s of {now}; ask /auth/time",
            got.escape_default(),
            super::auth::SKEW_SECONDS_MAX,
        );
        Self::new(StatusCode::BAD_REQUEST, "Client::BadRequest", "QUERY_OUT_OF_TIME", message)
    }

    /// The signature is not that of this request.
    pub(super) fn bad_signature() -> Self {
        let message = "Invalid signature".to_owned();
        let refusal = Self::new(StatusCode::BAD_REQUEST, "Client::BadRequest", "INVALID_SIGNATURE", message);
        Self { is_guess: true, ..refusal }
    }

    /// The path can be read, and is not written through this shape.
    pub(super) fn write_not_offered(method: &Method) -> Self {
        Self::not_with(method, "GET, HEAD")
    }

    /// The path takes POST alone.
    pub(super) fn writes_alone(method: &Method) -> Self {
        Self::not_with(method, "POST")
    }

    /// The path takes other methods.
    pub(super) fn not_with(method: &Method, allow: &'static str) -> Self {
        let message = format!("{}; it takes {allow}", AdminError::MethodNotAllowed(method.to_string()));
        let status = StatusCode::METHOD_NOT_ALLOWED;
        let refusal = Self::new(status, "Client::MethodNotAllowed", "METHOD_NOT_ALLOWED", message);
        Self { allow: Some(allow), ..refusal }
    }

    /// Refused with this status, in these words.
    pub(super) fn because(status: StatusCode, message: String) -> Self {
        let (class, code) = match status {
            StatusCode::BAD_REQUEST => ("Client::BadRequest", "BAD_REQUEST"),
            StatusCode::CONFLICT => ("Client::Conflict", "CONFLICT"),
            StatusCode::NOT_FOUND => ("Client::NotFound", "NOT_FOUND"),
            StatusCode::NOT_IMPLEMENTED => ("Server::NotImplemented", "NOT_IMPLEMENTED"),
            _ => ("Client::Error", "ERROR"),
        };
        Self::new(status, class, code, message)
    }

    /// Something that cannot happen did.
    pub(super) fn bug() -> Self {
        let message = "internal error; see the log for this request id".to_owned();
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Server::InternalServerError", "INTERNAL_ERROR", message)
    }

    /// Returns the HTTP answer.
    pub(super) fn response(self, request_id: &str, now: Timestamp) -> Response {
        let code = self.status;
        let http_code = format!("{} {}", code.as_u16(), code.canonical_reason().unwrap_or_default());
        let body =
            wire::Error { class: self.class, message: &self.message, error_code: self.code, http_code: &http_code };
        let body = serde_json::to_vec(&body).unwrap_or_else(|_| b"{\"message\":\"internal error\"}".to_vec());
        let mut response = answer(code, request_id, now, body);
        if let Some(allow) = self.allow {
            response.headers_mut().insert(http::header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }

    fn forbidden(code: &'static str, message: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Client::Forbidden", code, message.to_owned())
    }

    fn new(status: StatusCode, class: &'static str, code: &'static str, message: String) -> Self {
        Self { status, class, code, message, allow: None, is_guess: false }
    }
}

impl From<&AdminError> for Refusal {
    fn from(error: &AdminError) -> Self {
        let (status, class, code) = match error {
            AdminError::BadBody(_)
            | AdminError::BadHost { .. }
            | AdminError::BadValue { .. }
            | AdminError::BodyUnexpected(_)
            | AdminError::Missing(_) => (StatusCode::BAD_REQUEST, "Client::BadRequest", "BAD_REQUEST"),
            AdminError::BodyLate { .. } => (StatusCode::REQUEST_TIMEOUT, "Client::RequestTimeout", "REQUEST_TIMEOUT"),
            AdminError::BodyTooLarge { .. } => {
                (StatusCode::PAYLOAD_TOO_LARGE, "Client::PayloadTooLarge", "PAYLOAD_TOO_LARGE")
            }
            AdminError::Busy { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "Server::ServiceUnavailable", "SERVICE_UNAVAILABLE")
            }
            AdminError::Conflict(_) => (StatusCode::CONFLICT, "Client::Conflict", "CONFLICT"),
            AdminError::Forbidden { .. } | AdminError::ForbiddenFarm { .. } | AdminError::ForeignOrigin { .. } => {
                (StatusCode::FORBIDDEN, "Client::Forbidden", "FORBIDDEN")
            }
            AdminError::MethodNotAllowed(_) => {
                (StatusCode::METHOD_NOT_ALLOWED, "Client::MethodNotAllowed", "METHOD_NOT_ALLOWED")
            }
            AdminError::NotFound { .. } => (StatusCode::NOT_FOUND, "Client::NotFound", "NOT_FOUND"),
            AdminError::NotKept => (StatusCode::INTERNAL_SERVER_ERROR, "Server::InternalServerError", "INTERNAL_ERROR"),
            AdminError::TooManyRequests { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, "Client::TooManyRequests", "TOO_MANY_REQUESTS")
            }
            AdminError::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "Client::Unauthorized", "NOT_LOGGED_IN"),
            AdminError::UnknownHost { .. } => {
                (StatusCode::MISDIRECTED_REQUEST, "Client::MisdirectedRequest", "MISDIRECTED_REQUEST")
            }
        };
        Self::new(status, class, code, error.to_string())
    }
}

impl From<AdminError> for Refusal {
    fn from(error: AdminError) -> Self {
        Self::from(&error)
    }
}

impl From<NotMade> for Refusal {
    fn from(why: NotMade) -> Self {
        why.refusal().map_or_else(Self::bug, Self::from)
    }
}

/// What a write may not do, in the vendor's classes; the log has what is our own fault.
impl From<EditError> for Refusal {
    fn from(error: EditError) -> Self {
        let conflict = |class| (StatusCode::CONFLICT, class, "CONFLICT");
        let (status, class, code) = match &error {
            EditError::FileMade { .. } => conflict("Client::Conflict::FileMade"),
            EditError::InUse { .. } => conflict("Client::Conflict::InUse"),
            EditError::Invalid { .. } => (StatusCode::BAD_REQUEST, "Client::BadRequest", "BAD_REQUEST"),
            EditError::NameTaken { .. } => conflict("Client::Conflict::NameTaken"),
            EditError::NotKept(_) => return AdminError::NotKept.into(),
            EditError::NotOpened { .. } => conflict("Client::Conflict::NotOpened"),
            EditError::PortTaken { .. } => conflict("Client::Conflict::PortTaken"),
            EditError::Stale { .. } => conflict("Client::Conflict"),
            EditError::TooMany { .. } => conflict("Client::Conflict::TooMany"),
            EditError::Unknown { .. } | EditError::UnknownName { .. } => {
                (StatusCode::NOT_FOUND, "Client::NotFound", "NOT_FOUND")
            }
        };
        // One line, as clients print it.
        Self::new(status, class, code, error.to_string().lines().collect::<Vec<_>>().join("; "))
    }
}

/// Returns the one form of success: exactly 200, whatever was asked.
pub(super) fn success(request_id: &str, now: Timestamp, body: Vec<u8>) -> Response {
    answer(StatusCode::OK, request_id, now, body)
}

fn answer(status: StatusCode, request_id: &str, now: Timestamp, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in FIXED_HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if let Ok(id) = HeaderValue::try_from(query_id(request_id, now)) {
        headers.insert(HeaderName::from_static("x-ovh-queryid"), id);
    }
    response
}

/// Region, front, second in hex, process, request: the form that support tools of the vendor take apart.
fn query_id(request_id: &str, now: Timestamp) -> String {
    format!("FG.admin.{:x}.{}.{request_id}", now.unix_seconds(), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_id_has_five_parts_with_the_second_in_hex() {
        let id = query_id("27b4f1fc", Timestamp(1_672_250_806_123_456));
        let parts: Vec<_> = id.split('.').collect();
        assert_eq!((parts.len(), parts[2], parts[4]), (5, "63ac85b6", "27b4f1fc"));
    }
}
