//! The Redis probe: AUTH where a password is set, then PING; `+PONG` passes.
//!
//! An error (`-LOADING`, `-NOAUTH`, `-MASTERDOWN`, …) is the server's own word that it cannot serve, and is shown; the
//! password never is, not even where a server quotes it back. Source: the Redis serialization protocol (RESP2).

use tokio::io::{AsyncRead, AsyncWrite};

use crate::model::{CheckStatus, Secret};

use super::super::check::Finding;
use super::talk::{Parsed, Talk, line};
use super::{heard, hide};

/// What a server answers.
#[derive(Debug, PartialEq, Eq)]
enum Reply {
    /// `-`: it cannot.
    Error(Vec<u8>),
    /// `+`: this.
    Simple(Vec<u8>),
}

pub(super) async fn talk<'a, S>(talk: &mut Talk<'a, S>, password: Option<&'a Secret>) -> Result<Finding, Finding>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    if let Some(password) = password {
        talk.keep_secret(password.reveal());
        talk.send(&command(&["AUTH", password.reveal()])).await;
        match talk.next("answer to AUTH", reply).await? {
            Reply::Error(said) => {
                return Ok(heard(CheckStatus::L7Sts, None, &hide(password.reveal().as_bytes(), &said)));
            }
            Reply::Simple(_) => {}
        }
    }
    talk.send(&command(&["PING"])).await;
    Ok(match talk.next("answer to PING", reply).await? {
        Reply::Error(said) => heard(CheckStatus::L7Sts, None, &said),
        Reply::Simple(said) if said == b"PONG" => heard(CheckStatus::L7Ok, None, &said),
        Reply::Simple(said) => heard(CheckStatus::L7Rsp, None, &[b"answer to PING is +", &said[..]].concat()),
    })
}

fn command(words: &[&str]) -> Vec<u8> {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text += &format!("${}\r\n{word}\r\n", word.len());
    }
    text.into_bytes()
}

fn reply(bytes: &[u8]) -> Parsed<Reply> {
    match (bytes.first(), line(bytes)) {
        (None, _) => Parsed::Incomplete,
        (Some(b'+' | b'-'), Parsed::Incomplete) => Parsed::Incomplete,
        (Some(b'+'), Parsed::Is(line, used)) => Parsed::Is(Reply::Simple(line[1..].to_vec()), used),
        (Some(b'-'), Parsed::Is(line, used)) => Parsed::Is(Reply::Error(line[1..].to_vec()), used),
        (Some(_), _) => Parsed::Not("not of Redis"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reply_is_read_row_by_row() {
        for (bytes, want) in [
            ("+PONG\r\n", Parsed::Is(Reply::Simple(b"PONG".into()), 7)),
            ("-ERR no\r\n+x", Parsed::Is(Reply::Error(b"ERR no".into()), 9)),
            ("+\n", Parsed::Is(Reply::Simple(b"".into()), 2)),
            ("", Parsed::Incomplete),
            ("+PON", Parsed::Incomplete),
            (":1\r\n", Parsed::Not("not of Redis")),
            ("HTTP/1.1", Parsed::Not("not of Redis")),
            ("\r\n", Parsed::Not("not of Redis")),
        ] {
            assert_eq!(reply(bytes.as_bytes()), want, "{bytes:?}");
        }
    }

    #[test]
    fn command_counts_bytes_not_characters() {
        assert_eq!(command(&["AUTH", "é"]), "*2\r\n$4\r\nAUTH\r\n$2\r\né\r\n".as_bytes());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            reply(&bytes);
        }

        #[test]
        fn reply_cut_anywhere_is_incomplete(text in "[+-][ -~]{0,20}", cut in 0..20usize) {
            let whole = text.clone() + "\r\n";
            prop_assert_eq!(reply(&whole.as_bytes()[..cut.min(text.len())]), Parsed::Incomplete);
            prop_assert_ne!(reply(whole.as_bytes()), Parsed::Incomplete);
        }
    }
}
