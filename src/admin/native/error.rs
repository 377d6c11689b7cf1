//! `AdminError` → the native shape's status and body.

use axum::response::Response;
use http::{HeaderValue, Method, StatusCode, header};

use crate::admin::aside::NotMade;
use crate::admin::call::Call;
use crate::admin::error::AdminError;
use crate::admin::long::{LONG_CALLS_MAX, LONG_CALLS_OF_ONE_MAX, TooManyOpen};
use crate::objects::EditError;

use super::query::QueryError;
use super::wire::{ErrorBody, ErrorWire};

/// A failed call, ready to be answered.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    code: &'static str,
    message: String,
    details: Vec<String>,
    /// The methods that are allowed instead.
    allow: Option<&'static str>,
}

impl Failure {
    /// The path exists, not with this method.
    pub(super) fn method(method: &Method, allow: &'static str) -> Self {
        let error = AdminError::MethodNotAllowed(super::quoted(method.as_str()));
        Self { allow: Some(allow), ..Self::from(error) }
    }

    /// A fault of our own; the log has it under the request id.
    pub(super) fn bug() -> Self {
        let message = "this is a fault of farmgate itself; see the log for this request id".to_owned();
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, code: "bug", message, details: Vec::new(), allow: None }
    }

    /// A reload that was refused; `reasons` has one a line.
    pub(super) fn reload(reasons: &str) -> Self {
        let details = lines(reasons);
        let count = details.len();
        let message = format!(
            "the reload was refused and nothing was changed: {count} {}; see details",
            if count == 1 { "error" } else { "errors" }
        );
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, code: "reload_refused", message, details, allow: None }
    }

    /// A new process that did not take over; `reasons` has one a line.
    pub(super) fn upgrade(reasons: &str) -> Self {
        let message = "no new process took over and the running one goes on; see details".to_owned();
        let (status, code) = (StatusCode::UNPROCESSABLE_ENTITY, "upgrade_refused");
        Self { status, code, message, details: lines(reasons), allow: None }
    }

    /// So many waits and streams are open that another would keep others out.
    pub(super) fn too_many_open(why: TooManyOpen) -> Self {
        let message = match why {
            TooManyOpen::OfAll => {
                format!("{LONG_CALLS_MAX} waits and streams are open; close one, or ask again later")
            }
            TooManyOpen::OfOne => {
                format!("{LONG_CALLS_OF_ONE_MAX} waits and streams of this credential are open; close one first")
            }
        };
        Self::told(StatusCode::SERVICE_UNAVAILABLE, "too_many_open", message)
    }

    /// What is live holds something that a config file cannot.
    pub(super) fn unwritable(why: &str) -> Self {
        let message = format!("what is live cannot be written as a config file: {why}");
        Self::told(StatusCode::CONFLICT, "unwritable", message)
    }

    /// The journal could not be read; the log has why.
    pub(super) fn unreadable() -> Self {
        let message = "the journal cannot be read; see the log for this request id".to_owned();
        Self::told(StatusCode::SERVICE_UNAVAILABLE, "journal_unreadable", message)
    }

    /// Checks are remembered on disk only.
    pub(super) fn no_history() -> Self {
        let message = "no history of checks is kept; set state_dir in the config and start again".to_owned();
        Self::told(StatusCode::CONFLICT, "no_history", message)
    }

    /// Nothing checks the servers of this farm.
    pub(super) fn no_probe(farm: &str) -> Self {
        Self::told(StatusCode::CONFLICT, "no_probe", format!("farm \"{farm}\" has no probe; declare one in the config"))
    }

    /// The farm has no shadow probe.
    pub(super) fn no_shadow(farm: &str) -> Self {
        let message = format!("farm \"{farm}\" has no shadow probe; declare one as farms.{farm}.shadow in the config");
        Self::told(StatusCode::CONFLICT, "no_shadow", message)
    }

    /// The farm has probes, not this one.
    pub(super) fn unknown_probe(wanted: &str, names: &str) -> Self {
        let message = format!("probe \"{}\" does not exist; this farm has {names}", super::quoted(wanted));
        Self::told(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// The server is neither in drain nor in maintenance.
    pub(super) fn no_order(farm: &str, server: &str) -> Self {
        let message =
            format!("server \"{farm}/{server}\" is neither in drain nor in maintenance; nothing is waited for");
        Self::told(StatusCode::NOT_FOUND, "no_order", message)
    }

    /// Taking the server out would leave too little of its farm.
    pub(super) fn reserve(why: &str) -> Self {
        Self::told(StatusCode::CONFLICT, "reserve", format!("{why}; send force: true to do it all the same"))
    }

    /// The request is not among those that are remembered.
    pub(super) fn forgotten() -> Self {
        let message = "no request of that id among the last ones; ids are in X-Request-Id, in the access log and on error \
                       pages, and a request is known once it has ended";
        Self::told(StatusCode::NOT_FOUND, "not_found", message.to_owned())
    }

    fn told(status: StatusCode, code: &'static str, message: String) -> Self {
        Self { status, code, message, details: Vec::new(), allow: None }
    }

    /// Returns the answer.
    pub(super) fn response(self, call: &Call) -> Response {
        let error = ErrorWire {
            code: self.code.into(),
            message: self.message,
            request_id: call.request_id.clone(),
            details: self.details,
        };
        // Texts cannot fail to be written.
        let mut body = serde_json::to_vec(&ErrorBody { error }).unwrap_or_default();
        body.push(b'\n');
        let mut response = super::json(self.status, body.into());
        let headers = response.headers_mut();
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"farmgate\""));
        }
        response
    }
}

fn lines(reasons: &str) -> Vec<String> {
    reasons.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Bad(error) => error.into(),
            QueryError::Escape { .. } | QueryError::Twice(_) => {
                Self::told(StatusCode::BAD_REQUEST, "bad_value", error.to_string())
            }
            QueryError::Unknown { .. } => Self::told(StatusCode::BAD_REQUEST, "unknown_parameter", error.to_string()),
        }
    }
}

impl From<EditError> for Failure {
    fn from(error: EditError) -> Self {
        let (status, code) = match &error {
            EditError::FileMade { .. } => (StatusCode::CONFLICT, "file_made"),
            EditError::InUse { .. } => (StatusCode::CONFLICT, "in_use"),
            EditError::Invalid { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            EditError::NameTaken { .. } => (StatusCode::CONFLICT, "name_taken"),
            EditError::NotKept(_) => return AdminError::NotKept.into(),
            EditError::NotOpened { .. } => (StatusCode::CONFLICT, "not_opened"),
            EditError::PortTaken { .. } => (StatusCode::CONFLICT, "port_taken"),
            EditError::Stale { .. } => (StatusCode::PRECONDITION_FAILED, "changed_meanwhile"),
            EditError::TooMany { .. } => (StatusCode::CONFLICT, "too_many"),
            EditError::Unknown { .. } | EditError::UnknownName { .. } => (StatusCode::NOT_FOUND, "not_found"),
        };
        let details: Vec<String> = match &error {
            EditError::Invalid { faults } => faults.iter().map(ToString::to_string).collect(),
            EditError::NotOpened { reasons, .. } => reasons.clone(),
            EditError::FileMade { .. }
            | EditError::InUse { .. }
            | EditError::NameTaken { .. }
            | EditError::NotKept(_)
            | EditError::PortTaken { .. }
            | EditError::Stale { .. }
            | EditError::TooMany { .. }
            | EditError::Unknown { .. }
            | EditError::UnknownName { .. } => Vec::new(),
        };
        let message = match details.as_slice() {
            [] => error.to_string(),
            [one] => one.clone(),
            several => format!("nothing was changed: {} errors; see details", several.len()),
        };
        Self { status, code, message, details, allow: None }
    }
}

impl From<NotMade> for Failure {
    fn from(why: NotMade) -> Self {
        why.refusal().map_or_else(Self::bug, Self::from)
    }
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        let (status, code) = match &error {
            AdminError::BadBody(_) => (StatusCode::BAD_REQUEST, "bad_body"),
            AdminError::BadHost { .. } => (StatusCode::BAD_REQUEST, "bad_host"),
            AdminError::BadValue { .. } => (StatusCode::BAD_REQUEST, "bad_value"),
            AdminError::BodyLate { .. } => (StatusCode::REQUEST_TIMEOUT, "body_late"),
            AdminError::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            AdminError::BodyUnexpected(_) => (StatusCode::BAD_REQUEST, "body_unexpected"),
            AdminError::Busy { .. } => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            AdminError::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            AdminError::Forbidden { .. } | AdminError::ForbiddenFarm { .. } => (StatusCode::FORBIDDEN, "forbidden"),
            AdminError::ForeignOrigin { .. } => (StatusCode::FORBIDDEN, "foreign_origin"),
            AdminError::MethodNotAllowed(_) => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            AdminError::Missing(_) => (StatusCode::BAD_REQUEST, "missing"),
            AdminError::NotFound { .. } => (StatusCode::NOT_FOUND, "not_found"),
            AdminError::NotKept => (StatusCode::SERVICE_UNAVAILABLE, "not_kept"),
            AdminError::TooManyRequests { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_requests"),
            AdminError::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "unauthorized"),
            AdminError::UnknownHost { .. } => (StatusCode::MISDIRECTED_REQUEST, "unknown_host"),
        };
        Self { status, code, message: error.to_string(), details: Vec::new(), allow: None }
    }
}
