//! The PostgreSQL probe: a start-up packet; a server that then speaks of authentication passes, whatever it asks for.
//!
//! So no password is needed, and none is sent; a server that refuses with an error (starting up, shutting down, too
//! many clients, an address that it does not serve) does not pass. The verdict of HAProxy's `pgsql-check`; a role or a
//! database that does not exist is found out later, and not waited for. The database is that of the user's name: one
//! that is there keeps the server's log clean. A client that goes away when a password is asked for leaves no trace in
//! that log, and one that is let in says Terminate.
//! Source: PostgreSQL documentation, Frontend/Backend Protocol 3.0.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::model::CheckStatus;
use crate::model::expect::BODY_BYTES_LOOKED_AT;

use super::super::check::Finding;
use super::talk::{Parsed, Talk};

const PROTOCOL_3_0: u32 = 3 << 16;
const TERMINATE: &[u8] = b"X\0\0\0\x04";
/// A message's tag and length.
const HEAD_BYTES: usize = 5;
/// Messages before the one that decides: notices, and what the server cannot do.
const ASIDES_MAX: usize = 8;

/// What a server says first.
#[derive(Debug, PartialEq, Eq)]
enum Message {
    /// Something that decides nothing.
    Aside,
    /// It wants, or does not want, to know who is there.
    Authentication(u32),
    /// It refuses.
    Error { severity: String, code: String, text: String },
}

pub(super) async fn talk<S>(talk: &mut Talk<'_, S>, user: &str) -> Result<Finding, Finding>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    talk.send(&start_up(user)).await;
    for _ in 0..ASIDES_MAX {
        match talk.next("answer to the start-up", message).await? {
            Message::Aside => {}
            Message::Authentication(how) => {
                if how == 0 {
                    talk.part_with(TERMINATE);
                }
                let words = format!("authentication: {}", authentication(how));
                return Ok(Finding::new(CheckStatus::L7Ok, None, &words));
            }
            Message::Error { severity, code, text } => {
                return Ok(Finding::new(CheckStatus::L7Sts, None, &format!("{severity} {code}: {text}")));
            }
        }
    }
    Ok(Finding::new(CheckStatus::L7Rsp, None, "only notices in answer to the start-up"))
}

fn start_up(user: &str) -> Vec<u8> {
    let mut body = PROTOCOL_3_0.to_be_bytes().to_vec();
    for word in ["user", user, "database", user, "application_name", "farmgate", ""] {
        body.extend_from_slice(word.as_bytes());
        body.push(0);
    }
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], &body].concat()
}

/// The protocol's name of a kind of authentication.
fn authentication(how: u32) -> String {
    match how {
        0 => "none needed".to_owned(),
        2 => "Kerberos V5".to_owned(),
        3 => "cleartext password".to_owned(),
        5 => "MD5 password".to_owned(),
        7 => "GSSAPI".to_owned(),
        9 => "SSPI".to_owned(),
        10 => "SASL".to_owned(),
        other => format!("kind {other}"),
    }
}

fn message(bytes: &[u8]) -> Parsed<Message> {
    let Some(tag) = bytes.first() else { return Parsed::Incomplete };
    if !matches!(tag, b'E' | b'N' | b'R' | b'v') {
        return Parsed::Not("not of PostgreSQL");
    }
    let Some(length) = bytes.get(1..HEAD_BYTES).and_then(|length| length.try_into().ok()).map(u32::from_be_bytes)
    else {
        return Parsed::Incomplete;
    };
    let end = usize::try_from(length).ok().and_then(|length| length.checked_add(1));
    let Some(end) = end.filter(|end| (HEAD_BYTES..=BODY_BYTES_LOOKED_AT).contains(end)) else {
        return Parsed::Not("not of PostgreSQL");
    };
    let Some(body) = bytes.get(HEAD_BYTES..end) else { return Parsed::Incomplete };
    match tag {
        b'R' => match body.get(..4).and_then(|how| how.try_into().ok()) {
            Some(how) => Parsed::Is(Message::Authentication(u32::from_be_bytes(how)), end),
            None => Parsed::Not("not of PostgreSQL"),
        },
        b'E' => Parsed::Is(error(body), end),
        _ => Parsed::Is(Message::Aside, end),
    }
}

/// Fields: a letter and a text that ends with a zero byte, until a zero byte instead of a letter.
fn error(body: &[u8]) -> Message {
    let field = |letter: u8| {
        let text = body.split(|byte| *byte == 0).find(|field| field.first() == Some(&letter));
        text.map(|text| String::from_utf8_lossy(&text[1..]).into_owned())
    };
    Message::Error {
        // The unlocalized severity, which servers before 9.6 do not tell.
        severity: field(b'V').or_else(|| field(b'S')).unwrap_or_else(|| "ERROR".to_owned()),
        code: field(b'C').unwrap_or_else(|| "?????".to_owned()),
        text: field(b'M').unwrap_or_else(|| "no message".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[tag], &length[..], body].concat()
    }

    fn refusal() -> Vec<u8> {
        framed(b'E', b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0Fpostmaster.c\0\0")
    }

    #[test]
    fn message_is_read_row_by_row() {
        let told = |severity: &str, code: &str, text: &str| Message::Error {
            severity: severity.into(),
            code: code.into(),
            text: text.into(),
        };
        for (bytes, want) in [
            (framed(b'R', &[0, 0, 0, 0]), Parsed::Is(Message::Authentication(0), 9)),
            (framed(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0"), Parsed::Is(Message::Authentication(10), 24)),
            (refusal(), Parsed::Is(told("FATAL", "57P03", "the database system is starting up"), refusal().len())),
            (framed(b'E', b"\0"), Parsed::Is(told("ERROR", "?????", "no message"), 6)),
            (framed(b'N', b"SNOTICE\0\0"), Parsed::Is(Message::Aside, 14)),
            (vec![], Parsed::Incomplete),
            (vec![b'R', 0, 0], Parsed::Incomplete),
            (vec![b'R', 0, 0, 0, 8, 0], Parsed::Incomplete),
            (vec![b'R', 0, 0, 0, 3], Parsed::Not("not of PostgreSQL")),
            (framed(b'R', &[0]), Parsed::Not("not of PostgreSQL")),
            (b"R\xff\xff\xff\xff".into(), Parsed::Not("not of PostgreSQL")),
            (b"Ecould not fork new process".into(), Parsed::Not("not of PostgreSQL")),
            (b"HTTP/1.1 400".into(), Parsed::Not("not of PostgreSQL")),
        ] {
            assert_eq!(message(&bytes), want, "{bytes:?}");
        }
    }

    #[test]
    fn start_up_is_length_version_and_names() {
        let packet = start_up("u");
        assert_eq!(packet[..8], [0, 0, 0, 53, 0, 3, 0, 0]);
        assert_eq!(&packet[8..], b"user\0u\0database\0u\0application_name\0farmgate\0\0");
        assert_eq!(packet.len(), 53);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            tag in prop::sample::select(b"RENvX".to_vec()),
            body in prop::collection::vec(any::<u8>(), 0..80),
            raw in any::<bool>(),
        ) {
            let bytes = if raw { [&[tag], &body[..]].concat() } else { framed(tag, &body) };
            message(&bytes);
        }

        #[test]
        fn message_cut_anywhere_is_incomplete(cut in 0..60usize) {
            let whole = refusal();
            prop_assert_eq!(message(&whole[..cut.min(whole.len() - 1)]), Parsed::Incomplete);
        }
    }
}
