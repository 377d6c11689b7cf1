//! What can go wrong with a call, in words that every shape shares; each shape adds its own status and body.

use crate::model::Access;

/// Why a call was refused. The sentence is the same in every shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The body is no JSON, or not UTF-8, or of the wrong type.
    #[error("the body is not valid: {0}")]
    BadBody(String),
    /// No host that the request is for, or several.
    #[error("the request has {count} Host fields; send one")]
    BadHost {
        /// How many there are.
        count: usize,
    },
    /// A field has a value outside its range.
    #[error("{field}: {got} is outside {bound}")]
    BadValue {
        /// The field.
        field: &'static str,
        /// The value as given.
        got: String,
        /// What is allowed.
        bound: String,
    },
    /// The body was not there in time.
    #[error("the body was not whole after {seconds} s; send it at once")]
    BodyLate {
        /// How long it was waited for.
        seconds: u64,
    },
    /// The body is longer than is read.
    #[error("the body is longer than {max} bytes; send less")]
    BodyTooLarge {
        /// The bound.
        max: usize,
    },
    /// A body where there must be none.
    #[error("a {0} request must not have a body; send it without one")]
    BodyUnexpected(String),
    /// So many answers are being made, or wait to be.
    #[error("too many answers wait to be made; try again in {seconds} s")]
    Busy {
        /// In how long it is worth while.
        seconds: u64,
    },
    /// The state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// The credential may not do this.
    #[error("credential \"{name}\" has role {}; this needs role {}", has.as_str(), needs.as_str())]
    Forbidden {
        /// The credential's name.
        name: Box<str>,
        /// Its role.
        has: Access,
        /// The least role that would do.
        needs: Access,
    },
    /// The credential may change other farms only.
    #[error("credential \"{name}\" may not change farm \"{farm}\"; add it to the farms of that credential")]
    ForbiddenFarm {
        /// The credential's name.
        name: Box<str>,
        /// The farm.
        farm: String,
    },
    /// A browser sent it on behalf of another site's page.
    #[error("a page of \"{origin}\" may not ask \"{host}\"; send the request without Origin")]
    ForeignOrigin {
        /// The page's origin.
        origin: String,
        /// The host that the request is for.
        host: String,
    },
    /// The path exists, not with this method.
    #[error("method {0} is not allowed here")]
    MethodNotAllowed(String),
    /// A required field is missing.
    #[error("{0} is missing; send it")]
    Missing(&'static str),
    /// No such object.
    #[error("{kind} \"{id}\" does not exist")]
    NotFound {
        /// What kind of object.
        kind: &'static str,
        /// The id or name as given.
        id: String,
    },
    /// The journal or another part of the process failed; the log has the cause under the request id.
    #[error("the change could not be kept; see the log for this request id")]
    NotKept,
    /// Somebody calls too often.
    #[error("too many {what}; try again in {seconds} s, or see admin.rate in the config")]
    TooManyRequests {
        /// Which calls.
        what: String,
        /// In how long one is let in again.
        seconds: u64,
    },
    /// A browser asks under a name that is not known to be ours, as pages of others can have it do.
    #[error("this is not known to be \"{host}\"; use an address or localhost, or add the name to admin.hosts")]
    UnknownHost {
        /// The host that the request is for.
        host: String,
    },
    /// The credential is missing or wrong; the text says how to send one.
    #[error("{0}")]
    Unauthorized(String),
}
