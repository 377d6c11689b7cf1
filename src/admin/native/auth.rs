//! Bearer tokens and clients' certificates → who calls. A token that is sent counts, whatever certificate was shown. Every known token is compared, so that how long it takes does not tell which one fits.

use http::{HeaderValue, header};

use crate::admin::call::{Call, Caller, Credentials};
use crate::admin::error::AdminError;
use crate::admin::gate::Shown;
use crate::admin::secret;

/// Returns whose token the call carries, or whose certificate was shown.
pub(in crate::admin) fn caller(credentials: &Credentials, call: &Call) -> Result<Caller, AdminError> {
    let refuse = |why: &str| Err(AdminError::Unauthorized(why.to_owned()));
    if let Some(shown) = call.certificate.as_ref().filter(|_| !call.headers.contains_key(header::AUTHORIZATION)) {
        let found = credentials.holders.iter().find(|holder| shown.is(&holder.certificate));
        return found.map(|holder| Caller::of(&holder.grant)).ok_or_else(|| {
            let why =
                "the certificate that was shown stands for no credential; name it in admin.tokens, or send a token";
            AdminError::Unauthorized(why.to_owned())
        });
    }
    let mut sent = call.headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (sent.next(), sent.next()) else {
        return refuse("no token, or more than one; send \"Authorization: Bearer TOKEN\" with a token of admin.tokens");
    };
    let Some(token) = value.to_str().ok().and_then(bearer) else {
        return refuse("no bearer token; send \"Authorization: Bearer TOKEN\" with a token of admin.tokens");
    };
    let mut found = None;
    for known in &credentials.tokens {
        let is_it = secret::is_same(known.token.reveal(), token);
        if is_it && found.is_none() {
            found = Some(Caller::of(&known.grant));
        }
    }
    match found {
        Some(caller) => Ok(caller),
        None => refuse("the token is none of admin.tokens; check it for a typing error or a line end too many"),
    }
}

/// Returns what a call shows to say who makes it, if anything.
pub(in crate::admin) fn shown(call: &Call) -> Option<Shown> {
    let mut sent = call.headers.get_all(header::AUTHORIZATION).iter().map(HeaderValue::as_bytes).peekable();
    if sent.peek().is_some() {
        return Some(Shown::of(&sent.collect::<Vec<_>>()));
    }
    call.certificate.as_ref().map(|certificate| Shown::of(&[&certificate.sha256]))
}

/// The scheme's name has no case (RFC 9110).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
