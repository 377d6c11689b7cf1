//! What a TLS client says first: the name that it asks for and the protocols that it offers.
//!
//! Pure, and only looks: the bytes go on to a server that answers for itself (RFC 8446 §4.1.2 and §5.1, RFC 6066 §3,
//! RFC 7301 §3.1). A hello may be spread over records and packets, and with post-quantum keys be several kilobytes. One
//! that cannot be taken apart is refused rather than passed on unread: the server might read in it what we did not.

/// The longest hello that is looked at, record heads included.
pub(super) const BYTES_MAX: usize = 64 * 1024;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const RECORD_HEAD_BYTES: usize = 5;
const RECORD_BYTES_MAX: usize = 1 << 14;
const MESSAGE_HEAD_BYTES: usize = 4;
const RANDOM_BYTES: usize = 32;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const HOST_NAME: u8 = 0;

/// What a client says first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hello {
    /// The name that it asks for, in lower case.
    pub(super) server_name: Option<String>,
    /// The protocols that it offers, the most wanted first.
    pub(super) alpn: Vec<Vec<u8>>,
}

/// What is known of a connection from its first bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// It is TLS, with that hello.
    Hello(Hello),
    /// It begins as TLS does, and goes on as it must not.
    Malformed(&'static str),
    /// It may be TLS: more must come.
    Partial,
    /// It is something else.
    Plain,
}

/// Reads what a client sends first.
pub(super) fn read(bytes: &[u8]) -> Reading {
    // A record of a handshake, in a version whose first byte is 3, whose first message is a hello.
    let looks = [(0, HANDSHAKE), (1, 3), (RECORD_HEAD_BYTES, CLIENT_HELLO)];
    if looks.iter().any(|(at, want)| bytes.get(*at).is_some_and(|byte| byte != want)) {
        return Reading::Plain;
    }
    // Until the byte after the head of the first record has come, it may be something else.
    if bytes.len() <= RECORD_HEAD_BYTES {
        return Reading::Partial;
    }
    match message(bytes) {
        Ok(Some(message)) => hello(&message).map_or(Reading::Malformed(UNREADABLE), Reading::Hello),
        Ok(None) => Reading::Partial,
        Err(why) => Reading::Malformed(why),
    }
}

const UNREADABLE: &str = "the TLS client hello cannot be read";
pub(super) const TOO_LONG: &str = "the TLS client hello is too long";

/// Returns the first message of a handshake, put together from its records, once it is whole.
fn message(bytes: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        let length = message_length(&message)?;
        if let Some(length) = length.filter(|length| *length <= message.len()) {
            message.truncate(length);
            return Ok(Some(message.split_off(MESSAGE_HEAD_BYTES)));
        }
        let Some((head, fragment)) = rest.split_first_chunk::<RECORD_HEAD_BYTES>() else { return Ok(None) };
        let [kind, major, _, high, low] = *head;
        let record = usize::from(u16::from_be_bytes([high, low]));
        if kind != HANDSHAKE || major != 3 || record == 0 || record > RECORD_BYTES_MAX {
            return Err(UNREADABLE);
        }
        let taken = record.min(fragment.len());
        message.extend_from_slice(&fragment[..taken]);
        if taken < record {
            // Its length is known by now, perhaps, and with it whether to wait for the rest.
            message_length(&message)?;
            return Ok(None);
        }
        rest = &fragment[taken..];
    }
}

/// Returns how long the message is with its head, once that can be known.
fn message_length(message: &[u8]) -> Result<Option<usize>, &'static str> {
    let Some([kind, a, b, c]) = message.first_chunk::<MESSAGE_HEAD_BYTES>() else { return Ok(None) };
    let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
    if *kind != CLIENT_HELLO {
        return Err(UNREADABLE);
    }
    if length > BYTES_MAX / 2 { Err(TOO_LONG) } else { Ok(Some(MESSAGE_HEAD_BYTES + length)) }
}

/// Takes the message apart; nothing, where a length is wrong or what may stand once stands twice.
fn hello(message: &[u8]) -> Option<Hello> {
    let mut rest = message.get(2 + RANDOM_BYTES..)?;
    vector(&mut rest, 1)?;
    vector(&mut rest, 2)?;
    vector(&mut rest, 1)?;
    let mut hello = Hello::default();
    if rest.is_empty() {
        return Some(hello);
    }
    let mut extensions = vector(&mut rest, 2)?;
    if !rest.is_empty() {
        return None;
    }
    let (mut has_name, mut has_alpn) = (false, false);
    while !extensions.is_empty() {
        let kind = number(&mut extensions, 2)?;
        let body = vector(&mut extensions, 2)?;
        if kind == usize::from(SERVER_NAME) {
            if std::mem::replace(&mut has_name, true) {
                return None;
            }
            hello.server_name = Some(server_name(body)?);
        } else if kind == usize::from(ALPN) {
            if std::mem::replace(&mut has_alpn, true) {
                return None;
            }
            hello.alpn = protocols(body)?;
        }
    }
    Some(hello)
}

/// Returns the one host name of the extension; names of other kinds have never been defined.
fn server_name(mut body: &[u8]) -> Option<String> {
    let mut names = vector(&mut body, 2)?;
    let kind = number(&mut names, 1)?;
    let name = vector(&mut names, 2)?;
    let is_one = body.is_empty() && names.is_empty() && kind == usize::from(HOST_NAME);
    let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    let name = std::str::from_utf8(name).ok().filter(|_| is_one && is_name)?;
    Some(name.to_ascii_lowercase())
}

fn protocols(mut body: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut names = vector(&mut body, 2)?;
    let mut protocols = Vec::new();
    while !names.is_empty() {
        let name = vector(&mut names, 1)?;
        if name.is_empty() {
            return None;
        }
        protocols.push(name.to_vec());
    }
    (body.is_empty() && !protocols.is_empty()).then_some(protocols)
}

/// Takes a number of so many bytes off the front.
fn number(rest: &mut &[u8], bytes: usize) -> Option<usize> {
    let (number, after) = rest.split_at_checked(bytes)?;
    *rest = after;
    Some(number.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
}

/// Takes a vector off the front whose length stands before it in so many bytes.
fn vector<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let length = number(rest, bytes)?;
    let (vector, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(vector)
}

#[cfg(test)]
mod tests;
