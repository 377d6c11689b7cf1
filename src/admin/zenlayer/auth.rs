//! The ZC2-HMAC-SHA256 signature and bearer tokens. Reads the call and the credentials, nothing else.
//!
//! Signed are the method, the signed headers (content-type and host at least), the body and the timestamp; neither the
//! action nor the path. Header values are taken as sent first, as the SDKs sign them, then lower-cased and trimmed, as
//! the reference says. Equal requests within a second carry equal signatures and the Go SDK resends a signed request as
//! it is, so none is refused for having been seen.

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::error::Refusal;
use super::request::header;
use crate::admin::call::{Call, Caller, Credentials};
use crate::admin::gate::Shown;
use crate::admin::guard::quoted;
use crate::admin::{native, secret};
use crate::model::settings::Actions;

const SCHEME: &str = "ZC2-HMAC-SHA256";
const SKEW_SECONDS_MAX: u64 = 300;
const TIMESTAMP_DIGITS: usize = 10;
const HEADERS_REQUIRED: [&str; 2] = ["content-type", "host"];
/// The published clients sign two.
const HEADERS_MAX: usize = 16;
/// The text that is signed, without the body; no header that was let in is longer.
const CANONICAL_BYTES_MAX: usize = 64 * 1024;

/// Returns who makes the call, and which actions its credential lists.
///
/// # Errors
/// A [`Refusal`] that says what was wrong, without saying what would be right.
pub(super) fn authenticate(credentials: &Credentials, call: &Call) -> Result<(Caller, Actions), Refusal> {
    let Some(fields) = header(call, "authorization").and_then(|value| value.strip_prefix(SCHEME)) else {
        let caller = native::caller(credentials, call).map_err(|why| {
            Refusal::not_authorized(&format!("{why}, or sign with {SCHEME} and one of admin.zenlayer.access_keys"))
        })?;
        return Ok((caller, Actions::Every));
    };
    let sent = Authorization::parse(fields).ok_or_else(|| {
        Refusal::bad_signature("Authorization must have Credential=…, SignedHeaders=…, Signature=…".to_owned())
    })?;
    let timestamp = header(call, "x-zc-timestamp").unwrap_or_default();
    check_time(timestamp, call.now.unix_seconds())?;
    check_headers(&sent)?;
    let key = credentials.zenlayer.iter().find(|key| *key.id == *sent.credential).ok_or_else(|| {
        let id = quoted(sent.credential);
        let id = id.escape_default();
        Refusal::guessed(format!("access key \"{id}\" does not exist; use one of the config's"))
    })?;
    let fits = |form: Form| {
        let canonical = canonical_request(call, &sent.signed_headers, form)?;
        let expected = signature(key.secret.reveal(), timestamp, &canonical)?;
        Some(secret::is_same(&expected, sent.signature))
    };
    if fits(Form::AsSent) == Some(true) || fits(Form::Normal) == Some(true) {
        return Ok((Caller::of(&key.grant), key.actions.clone()));
    }
    Err(Refusal::guessed(
        "the signature does not match the request; check the access key password, the host and the body".to_owned(),
    ))
}

/// Returns what a call shows to say who makes it, if anything: of a signature the id of the key that it is by.
pub(in crate::admin) fn shown(call: &Call) -> Option<Shown> {
    let key = header(call, "authorization").and_then(|value| Authorization::parse(value.strip_prefix(SCHEME)?));
    key.map(|sent| Shown::of(&[sent.credential.as_bytes()])).or_else(|| native::shown(call))
}

/// Returns whether what a call shows is known, as far as that can be told without its body.
pub(super) fn is_known(credentials: &Credentials, call: &Call) -> bool {
    match header(call, "authorization").and_then(|value| value.strip_prefix(SCHEME)) {
        Some(fields) => Authorization::parse(fields)
            .is_some_and(|sent| credentials.zenlayer.iter().any(|key| *key.id == *sent.credential)),
        None => native::caller(credentials, call).is_ok(),
    }
}

/// What follows the scheme's name: `Credential=…, SignedHeaders=…, Signature=…`
struct Authorization<'a> {
    credential: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    fn parse(fields: &'a str) -> Option<Self> {
        let fields = fields.strip_prefix(' ')?;
        let field = |name: &str| {
            let mut found = fields.split(',').filter_map(|f| f.trim().strip_prefix(name)?.strip_prefix('='));
            found.next().filter(|value| !value.is_empty())
        };
        Some(Self {
            credential: field("Credential")?,
            signed_headers: field("SignedHeaders")?.split(';').collect(),
            signature: field("Signature")?,
        })
    }
}

fn check_time(timestamp: &str, now: u64) -> Result<(), Refusal> {
    let is_plain = timestamp.len() == TIMESTAMP_DIGITS && timestamp.bytes().all(|b| b.is_ascii_digit());
    let seconds = timestamp.parse::<u64>().ok().filter(|_| is_plain);
    match seconds {
        Some(seconds) if seconds.abs_diff(now) <= SKEW_SECONDS_MAX => Ok(()),
        _ => Err(Refusal::bad_signature(format!(
            "X-ZC-Timestamp \"{}\" is not ten digits within {SKEW_SECONDS_MAX} s of {now}; set the clock",
            quoted(timestamp).escape_default()
        ))),
    }
}

/// Each header once and few of them, so that the text to sign is no longer than what was sent.
fn check_headers(sent: &Authorization<'_>) -> Result<(), Refusal> {
    let names = &sent.signed_headers;
    if names.len() > HEADERS_MAX {
        let count = names.len();
        return Err(Refusal::bad_signature(format!("SignedHeaders names {count} headers; sign at most {HEADERS_MAX}")));
    }
    let is_repeated = |(at, name): (usize, &&str)| names[..at].iter().any(|n| n.eq_ignore_ascii_case(name));
    if names.iter().enumerate().any(is_repeated) {
        return Err(Refusal::bad_signature("SignedHeaders names a header twice; name each once".to_owned()));
    }
    if HEADERS_REQUIRED.iter().all(|name| names.contains(name)) {
        return Ok(());
    }
    Err(Refusal::bad_signature("SignedHeaders must name content-type and host".to_owned()))
}

#[derive(Clone, Copy)]
enum Form {
    AsSent,
    Normal,
}

/// The text whose hash is signed; none if a signed header was not sent, or the text is longer than any honest one.
fn canonical_request(call: &Call, signed_headers: &[&str], form: Form) -> Option<String> {
    let mut text = format!("{}\n/\n\n", call.method);
    for name in signed_headers {
        let value = match (*name, header(call, name)) {
            ("host", None) => call.uri.authority()?.as_str(),
            (_, value) => value?,
        };
        text.push_str(name);
        text.push(':');
        match form {
            Form::AsSent => text.push_str(value),
            Form::Normal => text.push_str(&value.trim().to_lowercase()),
        }
        text.push('\n');
        if text.len() > CANONICAL_BYTES_MAX {
            return None;
        }
    }
    text.push('\n');
    text.push_str(&signed_headers.join(";"));
    text.push('\n');
    text.push_str(&hex::encode(Sha256::digest(&call.body)));
    Some(text)
}

/// None only if the key could not be used, which HMAC has no case of.
fn signature(secret: &str, timestamp: &str, canonical: &str) -> Option<String> {
    let hash = hex::encode(Sha256::digest(canonical));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(format!("{SCHEME}\n{timestamp}\n{hash}").as_bytes());
    Some(hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::vendor_fixture;
    use crate::model::settings::{Grant, ZenlayerKey};
    use crate::model::{Access, Secret, Timestamp};

    const BODY: &str = r#"{"pageSize":10,"pageNum":1,"zoneId":"HKG-A"}"#;
    const SIGNED: &str = "efb356c32e55c781e10dc676da59462c22596d82e91c57803666243379555b2f";

    fn published(content_type: &str, at: u64) -> Call {
        let authorization =
            format!("ZC2-HMAC-SHA256 Credential=key-id, SignedHeaders=content-type;host, Signature={SIGNED}");
        let mut call = vendor_fixture::call("POST", "/api/v2/zlb", BODY);
        for (name, value) in [
            ("content-type", content_type),
            ("host", "console.zenlayer.com"),
            ("x-zc-timestamp", "1673361177"),
            ("authorization", &authorization),
        ] {
            vendor_fixture::put_header(&mut call, name, value);
        }
        call.now = Timestamp(at * 1_000_000);
        call
    }

    fn credentials() -> Credentials {
        let key = ZenlayerKey {
            grant: Grant { name: "ci".into(), access: Access::Read, farms: None },
            id: "key-id".into(),
            secret: Secret::new("Gu5t9xGARNpq86cd98joQYCN3"),
            actions: Actions::Reads,
        };
        Credentials { zenlayer: vec![key], ..Credentials::default() }
    }

    fn is_let_in(call: &Call) -> bool {
        authenticate(&credentials(), call).is_ok()
    }

    #[test]
    fn signature_of_the_published_vector_is_right() {
        let call = published("application/json; charset=utf-8", 1_673_361_177);
        let canonical = canonical_request(&call, &HEADERS_REQUIRED, Form::AsSent).unwrap();
        assert_eq!(
            hex::encode(Sha256::digest(&canonical)),
            "29396f9dfa0f03820b931e8aa06e20cda197e73285ebd76aceb83f7dede493ee"
        );
        assert_eq!(signature("Gu5t9xGARNpq86cd98joQYCN3", "1673361177", &canonical).as_deref(), Some(SIGNED));
        assert!(is_let_in(&call));
    }

    #[test]
    fn signature_is_refused_when_anything_signed_was_altered() {
        let good = || published("application/json; charset=utf-8", 1_673_361_177);
        let mut body = good();
        body.body = BODY.replace("10", "11").into();
        assert!(!is_let_in(&body));
        for (name, value) in [
            ("host", "console.zenlayer.com:8080"),
            ("content-type", "application/json"),
            ("x-zc-timestamp", "1673361178"),
            ("x-zc-timestamp", "01673361177"),
            ("x-zc-timestamp", "+167336117"),
            ("authorization", "ZC2-HMAC-SHA256 Credential=key-id, SignedHeaders=host, Signature=00"),
            ("authorization", "ZC2-HMAC-SHA256 Credential=key-id, Signature=00"),
            ("authorization", "Basic eDp5"),
        ] {
            let mut call = good();
            vendor_fixture::put_header(&mut call, name, value);
            assert!(!is_let_in(&call), "{name}: {value}");
        }
        let mut bare = good();
        bare.headers.remove("authorization");
        assert!(!is_let_in(&bare));
    }

    /// Signs `call` over `names` as a client would and returns why it is refused, if it is.
    fn refused_over(names: &[&str]) -> Option<String> {
        let mut call = published("application/json; charset=utf-8", 1_673_361_177);
        vendor_fixture::put_header(&mut call, "x-long", &"x".repeat(1000));
        let canonical = canonical_request(&call, names, Form::AsSent).unwrap();
        let signature = signature("Gu5t9xGARNpq86cd98joQYCN3", "1673361177", &canonical).unwrap();
        let names = names.join(";");
        let authorization = format!("{SCHEME} Credential=key-id, SignedHeaders={names}, Signature={signature}");
        vendor_fixture::put_header(&mut call, "authorization", &authorization);
        authenticate(&credentials(), &call).err().map(|refusal| format!("{refusal:?}"))
    }

    #[test]
    fn signed_headers_are_few_and_each_is_named_once() {
        assert_eq!(refused_over(&["content-type", "host", "x-long"]), None);
        for twice in [["content-type", "host", "x-long", "x-long"], ["content-type", "host", "x-long", "X-Long"]] {
            let refused = refused_over(&twice).unwrap();
            assert!(refused.contains("AUTHFAILURE_SIGNATURE_FAILURE") && refused.contains("twice"), "{refused}");
        }
        let refused = refused_over(&[&HEADERS_REQUIRED[..], &["x-long"; 15]].concat()).unwrap();
        assert!(refused.contains("AUTHFAILURE_SIGNATURE_FAILURE") && refused.contains("at most 16"), "{refused}");
    }

    #[test]
    fn canonical_text_is_bounded() {
        let call = published(&"x".repeat(CANONICAL_BYTES_MAX), 1_673_361_177);
        assert_eq!(canonical_request(&call, &HEADERS_REQUIRED, Form::AsSent), None);
    }

    #[test]
    fn signature_is_good_for_300_seconds_either_way_and_again_and_again() {
        let at = |seconds| is_let_in(&published("application/json; charset=utf-8", seconds));
        assert!(at(1_673_361_177 + 300) && at(1_673_361_177 - 300) && at(1_673_361_177 - 300));
        assert!(!at(1_673_361_177 + 301) && !at(1_673_361_177 - 301));
    }

    #[test]
    fn signature_over_lower_cased_values_is_taken_too() {
        assert!(is_let_in(&published("Application/JSON; charset=UTF-8", 1_673_361_177)));
    }
}
