//! The MySQL probe: the server's greeting and, where a user is named, a login as that user without a password.
//!
//! A client that goes away after the greeting is an interrupted handshake to the server, and as many in a row as its
//! `max_connect_errors` shut our address out (error 1129). So where no user is named the greeting is the verdict, and
//! is answered after it all the same, in the name of nobody: whether nobody is let in or denied, the handshake is
//! whole, and a denial is not counted among those. A denial may be logged by a server with `log_warnings` above 1;
//! a user made for the probe (`CREATE USER farmgate`, without any right) is the quiet way. Both ends with COM_QUIT.
//! Source: the client/server protocol of MySQL and MariaDB, version 10 greeting, 4.1 handshake response.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::model::CheckStatus;
use crate::model::expect::BODY_BYTES_LOOKED_AT;

use super::super::check::Finding;
use super::heard;
use super::talk::{Parsed, Talk};

const HEAD_BYTES: usize = 4;
const PROTOCOL_10: u8 = 10;
const OK: u8 = 0x00;
const AUTH_MORE_DATA: u8 = 0x01;
const AUTH_SWITCH: u8 = 0xfe;
const ERR: u8 = 0xff;

/// CLIENT_LONG_PASSWORD, CLIENT_PROTOCOL_41, CLIENT_SECURE_CONNECTION, CLIENT_PLUGIN_AUTH.
const CAPABILITIES: u32 = 0x1 | 0x200 | 0x8000 | 0x8_0000;
const PACKET_BYTES_MAX: u32 = 1 << 24;
/// utf8mb4_general_ci.
const CHARSET: u8 = 45;
const PLUGIN: &[u8] = b"mysql_native_password\0";
/// COM_QUIT, first of its sequence.
const QUIT: &[u8] = &[1, 0, 0, 0, 1];
/// Answers to a login before it is given up.
const ANSWERS_MAX: usize = 4;
/// What MariaDB puts before its version for clients that would take 10 for less than 5.
const VERSION_PREFIX: &str = "5.5.5-";

#[derive(Debug, PartialEq, Eq)]
struct Packet {
    sequence: u8,
    payload: Vec<u8>,
}

pub(super) async fn talk<S>(talk: &mut Talk<'_, S>, user: Option<&str>) -> Result<Finding, Finding>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let greeting = talk.next("greeting", packet).await?;
    let version = match greeting.payload.split_first() {
        Some((&PROTOCOL_10, rest)) => version(rest),
        Some((&ERR, rest)) => return Ok(refusal(rest)),
        Some(_) | None => return Err(strange("greeting", &greeting)),
    };
    let response = login(greeting.sequence.wrapping_add(1), user.unwrap_or_default());
    let Some(_) = user else {
        talk.part_with(&[&response, QUIT].concat());
        return Ok(passed(&version));
    };
    talk.send(&response).await;
    for _ in 0..ANSWERS_MAX {
        let answer = talk.next("answer to the login", packet).await?;
        match answer.payload.split_first() {
            Some((&OK, _)) => {
                talk.part_with(QUIT);
                return Ok(passed(&version));
            }
            Some((&ERR, rest)) => return Ok(refusal(rest)),
            Some((&AUTH_SWITCH, _)) => talk.send(&framed(answer.sequence.wrapping_add(1), &[])).await,
            Some((&AUTH_MORE_DATA, _)) => {
                return Err(Finding::new(CheckStatus::L7Rsp, None, "the server wants more than an empty password"));
            }
            Some(_) | None => return Err(strange("answer to the login", &answer)),
        }
    }
    Err(Finding::new(CheckStatus::L7Rsp, None, "the server asks again and again for another way to log in"))
}

fn passed(version: &str) -> Finding {
    Finding::new(CheckStatus::L7Ok, None, &format!("version {version}"))
}

/// An error: its number, since 4.1 `#` and five characters of SQLSTATE, and what it is.
fn refusal(rest: &[u8]) -> Finding {
    let Some((number, text)) = rest.split_first_chunk() else {
        return Finding::new(CheckStatus::L7Rsp, None, "error without a number");
    };
    let number = u16::from_le_bytes(*number);
    let (state, text) = match text.strip_prefix(b"#").and_then(|text| text.split_at_checked(5)) {
        Some((state, text)) => ([state, b": "].concat(), text),
        None => (Vec::new(), text),
    };
    heard(CheckStatus::L7Sts, Some(number), &[&state, text].concat())
}

fn strange(which: &str, packet: &Packet) -> Finding {
    let said = [which.as_bytes(), b" is not of MySQL, received: ", &packet.payload].concat();
    heard(CheckStatus::L7Rsp, None, &said)
}

/// The text after the protocol's number, up to its zero byte.
fn version(rest: &[u8]) -> String {
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    let version = String::from_utf8_lossy(&rest[..end]).into_owned();
    version.strip_prefix(VERSION_PREFIX).map(str::to_owned).unwrap_or(version)
}

/// The response to a greeting: that user, and an empty password.
fn login(sequence: u8, user: &str) -> Vec<u8> {
    let mut payload = CAPABILITIES.to_le_bytes().to_vec();
    payload.extend_from_slice(&PACKET_BYTES_MAX.to_le_bytes());
    payload.push(CHARSET);
    payload.extend_from_slice(&[0; 23]);
    payload.extend_from_slice(user.as_bytes());
    // The end of the name, and the length of the password.
    payload.extend_from_slice(&[0, 0]);
    payload.extend_from_slice(PLUGIN);
    framed(sequence, &payload)
}

fn framed(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
    [&length[..3], &[sequence], payload].concat()
}

fn packet(bytes: &[u8]) -> Parsed<Packet> {
    let Some(&[low, middle, high, sequence]) = bytes.first_chunk::<HEAD_BYTES>() else { return Parsed::Incomplete };
    let end = HEAD_BYTES + usize::from(low) + (usize::from(middle) << 8) + (usize::from(high) << 16);
    if end > BODY_BYTES_LOOKED_AT {
        return Parsed::Not("not of MySQL");
    }
    match bytes.get(HEAD_BYTES..end) {
        Some(payload) => Parsed::Is(Packet { sequence, payload: payload.to_vec() }, end),
        None => Parsed::Incomplete,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packet_is_read_row_by_row() {
        let is = |sequence, payload: &[u8], used| Parsed::Is(Packet { sequence, payload: payload.to_vec() }, used);
        for (bytes, want) in [
            (&[2, 0, 0, 7, 1, 2, 9][..], is(7, &[1, 2], 6)),
            (&[0, 0, 0, 1], is(1, &[], 4)),
            (&[], Parsed::Incomplete),
            (&[2, 0, 0], Parsed::Incomplete),
            (&[2, 0, 0, 7, 1], Parsed::Incomplete),
            (b"SSH-2.0", Parsed::Not("not of MySQL")),
            (&[0xff, 0xff, 0xff, 0], Parsed::Not("not of MySQL")),
        ] {
            assert_eq!(packet(bytes), want, "{bytes:?}");
        }
    }

    #[test]
    fn refusal_tells_number_state_and_words() {
        let told = |rest: &[u8]| {
            let Finding { status, code, content, .. } = refusal(rest);
            (status, code, content.as_str().to_owned())
        };
        let busy = (CheckStatus::L7Sts, Some(1040), "08004: Too many connections".to_owned());
        assert_eq!(told(b"\x10\x04#08004Too many connections"), busy);
        let blocked = (CheckStatus::L7Sts, Some(1129), "Host is blocked".to_owned());
        assert_eq!(told(b"\x69\x04Host is blocked"), blocked);
        assert_eq!(told(b"\x69\x04#12").2, "#12");
        assert_eq!(told(b"\x69").0, CheckStatus::L7Rsp);
    }

    #[test]
    fn version_is_without_the_prefix_of_mariadb() {
        assert_eq!(version(b"8.0.36\0rest"), "8.0.36");
        assert_eq!(version(b"5.5.5-10.11.6-MariaDB\0rest"), "10.11.6-MariaDB");
        assert_eq!(version(b"unended"), "unended");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            packet(&bytes);
            refusal(&bytes);
            version(&bytes);
        }

        #[test]
        fn packet_cut_anywhere_is_incomplete(payload in prop::collection::vec(any::<u8>(), 0..400), cut in 0..404usize) {
            let whole = framed(3, &payload);
            prop_assert_eq!(packet(&whole[..cut.min(whole.len() - 1)]), Parsed::Incomplete);
            prop_assert_eq!(packet(&whole), Parsed::Is(Packet { sequence: 3, payload }, whole.len()));
        }
    }
}
