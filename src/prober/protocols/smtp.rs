//! The SMTP probe: greeting, HELO, both answered with 2xx; QUIT after the verdict.
//!
//! The code of the record is that of the answer that decided. Source: RFC 5321, 4.2 (replies) and 4.3.1 (sequence).

use tokio::io::{AsyncRead, AsyncWrite};

use crate::model::CheckStatus;

use super::super::check::Finding;
use super::heard;
use super::talk::{Parsed, Talk};

const CODE_DIGITS: usize = 3;

/// A reply of one line or more.
#[derive(Debug, PartialEq, Eq)]
struct Reply {
    code: u16,
    /// As it was sent, without the last line's end.
    text: Vec<u8>,
}

pub(super) async fn talk<S>(talk: &mut Talk<'_, S>, hello: &str) -> Result<Finding, Finding>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let greeting = talk.next("greeting", reply).await?;
    talk.part_with(b"QUIT\r\n");
    if !is_positive(&greeting) {
        return Ok(refused("greeting", &greeting));
    }
    talk.send(format!("HELO {hello}\r\n").as_bytes()).await;
    let answer = talk.next("answer to HELO", reply).await?;
    if !is_positive(&answer) {
        return Ok(refused("answer to HELO", &answer));
    }
    Ok(heard(CheckStatus::L7Ok, Some(answer.code), &answer.text))
}

fn is_positive(reply: &Reply) -> bool {
    (200..300).contains(&reply.code)
}

fn refused(which: &str, reply: &Reply) -> Finding {
    let said = [which.as_bytes(), b": ", &reply.text].concat();
    heard(CheckStatus::L7Sts, Some(reply.code), &said)
}

/// Reads lines of one code, `250-` until `250 `.
fn reply(bytes: &[u8]) -> Parsed<Reply> {
    let mut begin = 0;
    let mut first = None;
    loop {
        let rest = &bytes[begin..];
        let end = rest.iter().position(|byte| *byte == b'\n');
        let line = &rest[..end.unwrap_or(rest.len())];
        // Said before the line has ended, so that one who speaks something else is not waited for.
        if line.iter().take(CODE_DIGITS).any(|byte| !byte.is_ascii_digit()) {
            return Parsed::Not("not of SMTP");
        }
        let Some(end) = end else { return Parsed::Incomplete };
        let Some(code) = line.get(..CODE_DIGITS).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok())
        else {
            return Parsed::Not("not of SMTP");
        };
        if *first.get_or_insert(code) != code {
            return Parsed::Not("of several codes");
        }
        begin += end + 1;
        match line.get(CODE_DIGITS) {
            Some(b'-') => {}
            None | Some(b' ' | b'\r') => {
                return Parsed::Is(Reply { code, text: bytes[..begin].trim_ascii_end().to_vec() }, begin);
            }
            Some(_) => return Parsed::Not("not of SMTP"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is(code: u16, text: &str, bytes: usize) -> Parsed<Reply> {
        Parsed::Is(Reply { code, text: text.into() }, bytes)
    }

    #[test]
    fn reply_is_read_row_by_row() {
        for (bytes, want) in [
            ("220 mail ESMTP\r\n", is(220, "220 mail ESMTP", 16)),
            ("220-hello\r\n220 mail\r\nrest", is(220, "220-hello\r\n220 mail", 21)),
            ("250\r\n", is(250, "250", 5)),
            ("250\n", is(250, "250", 4)),
            ("554 no\n", is(554, "554 no", 7)),
            ("", Parsed::Incomplete),
            ("22", Parsed::Incomplete),
            ("220 mail", Parsed::Incomplete),
            ("220-mail\r\n", Parsed::Incomplete),
            ("220-mail\r\n2", Parsed::Incomplete),
            ("SSH-2.0", Parsed::Not("not of SMTP")),
            ("22\r\n", Parsed::Not("not of SMTP")),
            ("22\n", Parsed::Not("not of SMTP")),
            ("220_x\r\n", Parsed::Not("not of SMTP")),
            ("2200 x\r\n", Parsed::Not("not of SMTP")),
            ("220-a\r\nx", Parsed::Not("not of SMTP")),
            ("220-a\r\n250 b\r\n", Parsed::Not("of several codes")),
        ] {
            assert_eq!(reply(bytes.as_bytes()), want, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            reply(&bytes);
        }

        /// How a reply is cut changes nothing: its beginning is incomplete, what follows it is left.
        #[test]
        fn reply_cut_anywhere_is_incomplete(lines in 0..3usize, code in 100..1000u16, text in "[ -~]{0,9}", cut in 0..60usize) {
            let whole = format!("{code}-{text}\r\n").repeat(lines) + &format!("{code} {text}\r\n");
            let cut = cut.min(whole.len() - 1);
            prop_assert_eq!(reply(&whole.as_bytes()[..cut]), Parsed::Incomplete);
            prop_assert_eq!(reply((whole.clone() + "next").as_bytes()), is(code, whole.trim_ascii_end(), whole.len()));
        }
    }
}
