//! Error bodies: `requestId`, `code` and `message`, all text, whatever went wrong.
//!
//! Codes are the published ones where there is one; the rest keep their style (capitals, underscores, `INVALID_…`).
//! `message` is the sentence that every shape shares.

use axum::body::Body;
use axum::response::Response;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use super::wire;
use crate::admin::aside::NotMade;
use crate::admin::error::AdminError;
use crate::admin::gate::Denied;
use crate::admin::guard::quoted;
use crate::objects::EditError;

/// The kind of [`AdminError::NotFound`] that is a load balancer.
pub(super) const LOAD_BALANCER: &str = "load balancer";
/// The kind of [`AdminError::NotFound`] that is a listener.
pub(super) const LISTENER: &str = "listener";

/// A refused call, in this shape's words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// Whether it is of who shows what is no credential.
    is_guess: bool,
}

impl Denied for Refusal {
    fn is_guess(&self) -> bool {
        self.is_guess
    }
}

impl Refusal {
    /// A refusal in these words.
    pub(super) fn new(status: StatusCode, code: &'static str, message: String) -> Self {
        Self { status, code, message, is_guess: false }
    }

    /// Returns the code.
    #[cfg(test)]
    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    /// Unknown key, wrong secret, altered request or a clock that is off; clients tell them from other errors by one
    /// code.
    pub(super) fn bad_signature(message: String) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "AUTHFAILURE_SIGNATURE_FAILURE", message)
    }

    /// An unknown key, or a signature that is not by it.
    pub(super) fn guessed(message: String) -> Self {
        Self { is_guess: true, ..Self::bad_signature(message) }
    }

    /// No credential at all, or an unknown bearer token.
    pub(super) fn not_authorized(message: &str) -> Self {
        let code = "AUTHFAILURE_INVALID_AUTHORIZATION";
        Self { is_guess: true, ..Self::new(StatusCode::UNAUTHORIZED, code, message.to_owned()) }
    }

    /// `X-ZC-Action` is missing.
    pub(super) fn missing_action() -> Self {
        let message = AdminError::Missing("X-ZC-Action").to_string();
        Self::new(StatusCode::BAD_REQUEST, "INVALID_ACTION", message)
    }

    /// `X-ZC-Action` names nothing.
    pub(super) fn unknown_action(action: &str, version: &str) -> Self {
        let message = format!(
            "X-ZC-Action: \"{}\" is no action of this API; see the list of actions of version {version}",
            action.escape_default()
        );
        Self::new(StatusCode::BAD_REQUEST, "INVALID_ACTION", message)
    }

    /// The action has no meaning on one's own machines.
    pub(super) fn not_offered(action: &str, why: &str) -> Self {
        let message = format!("{action} is not offered: {why}");
        Self::new(StatusCode::FORBIDDEN, "OPERATION_DENIED_NOT_OFFERED", message)
    }

    /// No listener of that id in the load balancer.
    pub(super) fn no_listener(id: &str) -> Self {
        AdminError::NotFound { kind: LISTENER, id: quoted(id) }.into()
    }

    /// No load balancer of that id.
    pub(super) fn no_load_balancer(id: &str) -> Self {
        AdminError::NotFound { kind: LOAD_BALANCER, id: quoted(id) }.into()
    }

    /// The load balancer is not in the state that the action needs.
    pub(super) fn wrong_status(message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_LB_STATUS", message)
    }

    /// A value that makes no sense.
    pub(super) fn bad_value(message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_PARAMETER", message)
    }

    /// The action is none of those that the key lists.
    pub(super) fn not_listed(action: &str) -> Self {
        let message =
            format!("this access key may not ask for {}; add it to the actions of the key", action.escape_default());
        Self::new(StatusCode::FORBIDDEN, "OPERATION_DENIED_ACTION", message)
    }

    /// `X-ZC-Version` is not ours.
    pub(super) fn unknown_version(version: &str, want: &str) -> Self {
        let message =
            format!("X-ZC-Version: \"{}\" is not offered; send {want} or leave it out", version.escape_default());
        Self::new(StatusCode::BAD_REQUEST, "INVALID_VERSION", message)
    }

    /// Something that cannot happen did.
    pub(super) fn bug() -> Self {
        let message = "internal error; see the log for this request id".to_owned();
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_SERVER_ERROR", message)
    }

    /// Returns the HTTP answer.
    pub(super) fn response(self, request_id: &str) -> Response {
        let body = wire::Error { request_id, code: self.code, message: &self.message };
        let body = serde_json::to_vec(&body).unwrap_or_else(|_| Vec::new());
        let mut response = answer(self.status, body);
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}

impl From<&AdminError> for Refusal {
    fn from(error: &AdminError) -> Self {
        let (status, code) = match error {
            AdminError::BadBody(_) | AdminError::BodyUnexpected(_) => (StatusCode::BAD_REQUEST, "INVALID_REQUEST_BODY"),
            AdminError::BadHost { .. } => (StatusCode::BAD_REQUEST, "INVALID_HOST"),
            AdminError::BadValue { .. } => (StatusCode::BAD_REQUEST, "INVALID_PARAMETER"),
            AdminError::BodyLate { .. } => (StatusCode::REQUEST_TIMEOUT, "REQUEST_TIMED_OUT"),
            AdminError::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "REQUEST_BODY_TOO_LARGE"),
            AdminError::Busy { .. } => (StatusCode::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE"),
            AdminError::Conflict(_) => (StatusCode::CONFLICT, "OPERATION_CONFLICT"),
            AdminError::Forbidden { .. } | AdminError::ForbiddenFarm { .. } => {
                (StatusCode::FORBIDDEN, "OPERATION_DENIED_ROLE")
            }
            AdminError::ForeignOrigin { .. } => (StatusCode::FORBIDDEN, "OPERATION_DENIED_FOREIGN_ORIGIN"),
            AdminError::MethodNotAllowed(_) => (StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"),
            AdminError::Missing(_) => (StatusCode::BAD_REQUEST, "MISSING_PARAMETER"),
            AdminError::NotFound { kind, .. } => (StatusCode::NOT_FOUND, not_found_code(kind)),
            AdminError::NotKept => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_SERVER_ERROR"),
            AdminError::TooManyRequests { .. } => (StatusCode::TOO_MANY_REQUESTS, "REQUEST_LIMIT_EXCEEDED"),
            AdminError::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "AUTHFAILURE_INVALID_AUTHORIZATION"),
            AdminError::UnknownHost { .. } => (StatusCode::MISDIRECTED_REQUEST, "INVALID_HOST"),
        };
        Self { status, code, message: error.to_string(), is_guess: false }
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

impl From<EditError> for Refusal {
    fn from(error: EditError) -> Self {
        let (status, code) = match &error {
            EditError::FileMade { .. } => (StatusCode::CONFLICT, "OPERATION_DENIED_FILE_MADE"),
            EditError::InUse { .. } => (StatusCode::CONFLICT, "OPERATION_DENIED_IN_USE"),
            EditError::Invalid { faults } => {
                (StatusCode::BAD_REQUEST, fault_code(faults.first().map_or("", |fault| &fault.path)))
            }
            EditError::NameTaken { .. } | EditError::Stale { .. } => (StatusCode::CONFLICT, "OPERATION_CONFLICT"),
            EditError::NotKept(why) => {
                tracing::error!(error = &**why, "write not kept");
                return AdminError::NotKept.into();
            }
            EditError::NotOpened { address: Some(_), .. } | EditError::PortTaken { .. } => {
                (StatusCode::BAD_REQUEST, "INVALID_LISTENER_PORT_CONFLICT")
            }
            EditError::NotOpened { address: None, .. } => (StatusCode::BAD_REQUEST, "INVALID_PARAMETER"),
            EditError::TooMany { what: "frontends", .. } => (StatusCode::BAD_REQUEST, "INVALID_LISTENER_QUOTA_EXCEED"),
            EditError::TooMany { .. } => (StatusCode::CONFLICT, "OPERATION_CONFLICT"),
            EditError::Unknown { .. } | EditError::UnknownName { .. } => {
                (StatusCode::NOT_FOUND, "OPERATION_FAILED_RESOURCE_NOT_FOUND")
            }
        };
        Self { status, code, message: error.to_string(), is_guess: false }
    }
}

/// What is wrong, by where it is.
fn fault_code(path: &str) -> &'static str {
    if path.starts_with("frontends.") && path.contains(".listen") {
        "INVALID_PORT_RANGE"
    } else if path.ends_with(".address") {
        "INVALID_BACKEND_IP_ADDRESS"
    } else {
        "INVALID_PARAMETER"
    }
}

fn not_found_code(kind: &str) -> &'static str {
    match kind {
        LOAD_BALANCER => "INVALID_LB_NOT_FOUND",
        LISTENER => "INVALID_LB_LISTENER_NOT_FOUND",
        _ => "INVALID_PATH_NOT_FOUND",
    }
}

/// Returns the one form of success: exactly 200.
pub(super) fn success(body: Vec<u8>) -> Response {
    answer(StatusCode::OK, body)
}

fn answer(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
