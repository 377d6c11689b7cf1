//! Whose doing the end of a request is, by the error that the engine ends it with. Pure.

use ::pingora::ErrorType::{ConnectTimedout, InvalidHTTPHeader, ReadTimedout, TLSHandshakeTimedout, WriteTimedout};
use ::pingora::{Error, ErrorSource};

use crate::model::trace::EndedBy;

use super::super::head::Fault;

/// Returns whether a client did not take a piece of its answer in time.
pub(super) fn is_slow_client(error: &Error) -> bool {
    *error.esource() == ErrorSource::Downstream && *error.etype() == WriteTimedout
}

/// Returns who ended a request; nothing, where what is known already (`is_known`) says more than the error does.
pub(super) fn of(fault: Option<Fault>, error: &Error, is_known: bool) -> Option<EndedBy> {
    if let Some(fault) = fault {
        return Some(fault.ended_by());
    }
    if is_known {
        return None;
    }
    let is_late = matches!(error.etype(), ConnectTimedout | ReadTimedout | TLSHandshakeTimedout | WriteTimedout);
    Some(match error.esource() {
        ErrorSource::Downstream if *error.etype() == InvalidHTTPHeader => EndedBy::Proxy,
        ErrorSource::Downstream if is_late => EndedBy::ClientTimeout,
        ErrorSource::Downstream => EndedBy::Client,
        ErrorSource::Internal | ErrorSource::Unset => EndedBy::Bug,
        ErrorSource::Upstream if is_late => EndedBy::ServerTimeout,
        ErrorSource::Upstream => EndedBy::Server,
    })
}
