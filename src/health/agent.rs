//! Reads the line that an agent says of its server, in the words of HAProxy's `agent-check`.
//!
//! Pure: the prober reads the line, this file says what it asks for, `health::server` what becomes of it. Words stand
//! in any order and any case, apart by spaces, tabs or commas; what follows `#` is the reason. The last word of a sort
//! wins, as in HAProxy. A word that is not known changes nothing; a line without a single known word is none.

use crate::model::{AdminStatus, AgentHealth, AgentSays, AgentWeight, Content, Weight};

/// Bytes that a line may have, its end included.
pub const LINE_BYTES_MAX: usize = 256;

/// Returns what the line asks for, or nothing when it holds no word that an agent may say.
#[must_use]
pub fn read(line: &[u8]) -> Option<AgentSays> {
    let (words, reason) = match line.iter().position(|byte| *byte == b'#') {
        Some(at) => (&line[..at], line[at + 1..].trim_ascii()),
        None => (line, &b""[..]),
    };
    let mut says = AgentSays::default();
    let mut is_known = false;
    for word in words.split(|byte| byte.is_ascii_whitespace() || *byte == b',').filter(|word| !word.is_empty()) {
        is_known |= std::str::from_utf8(word).is_ok_and(|word| hear(&word.to_ascii_lowercase(), &mut says));
    }
    if !reason.is_empty() {
        says.reason = Some(Content::from_bytes(reason).as_str().into());
    }
    is_known.then_some(says)
}

/// Takes one word in lower case; returns whether it is one of an agent's.
fn hear(word: &str, says: &mut AgentSays) -> bool {
    match word {
        "up" => says.health = Some(AgentHealth::Up),
        "down" | "fail" | "stopped" => says.health = Some(AgentHealth::Down),
        "ready" => says.admin = Some(AdminStatus::Active),
        "drain" => says.admin = Some(AdminStatus::Drain),
        "maint" => says.admin = Some(AdminStatus::Maintenance),
        _ => return hear_number(word, says),
    }
    true
}

fn hear_number(word: &str, says: &mut AgentSays) -> bool {
    if let Some(maxconn) = word.strip_prefix("maxconn:") {
        let Some(maxconn) = number(maxconn) else { return false };
        says.maxconn = Some(maxconn);
        return true;
    }
    let weight = match (word.strip_prefix("weight:"), word.strip_suffix('%')) {
        (Some(weight), None) => number(weight).and_then(|n| Weight::new(n.into())).map(AgentWeight::Weight),
        (_, Some(percent)) => number(percent.strip_prefix("weight:").unwrap_or(percent))
            .and_then(|percent| u8::try_from(percent).ok())
            .filter(|percent| *percent <= 100)
            .map(AgentWeight::Percent),
        (None, None) => None,
    };
    says.weight = weight.or(says.weight);
    weight.is_some()
}

/// Digits only: `parse` alone would take a sign.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use AdminStatus::{Active, Drain, Maintenance};
    use AgentHealth::{Down, Up};
    use AgentWeight::{Percent, Weight as Exactly};

    fn says() -> AgentSays {
        AgentSays::default()
    }

    fn because(reason: &str) -> AgentSays {
        AgentSays { health: Some(Down), reason: Some(reason.into()), ..says() }
    }

    #[test]
    fn line_is_read_row_by_row() {
        for (line, want) in [
            ("75%", AgentSays { weight: Some(Percent(75)), ..says() }),
            ("0%\r", AgentSays { weight: Some(Percent(0)), ..says() }),
            ("weight:30", AgentSays { weight: Some(Exactly(Weight(30))), ..says() }),
            ("weight:30%", AgentSays { weight: Some(Percent(30)), ..says() }),
            ("maxconn:1000", AgentSays { maxconn: Some(1000), ..says() }),
            ("ready", AgentSays { admin: Some(Active), ..says() }),
            ("drain", AgentSays { admin: Some(Drain), ..says() }),
            ("maint", AgentSays { admin: Some(Maintenance), ..says() }),
            ("up", AgentSays { health: Some(Up), ..says() }),
            ("DOWN", AgentSays { health: Some(Down), ..says() }),
            ("fail#disk is full ", because("disk is full")),
            ("stopped # by hand", because("by hand")),
            ("down#a\x01b", because("a\\x01b")),
            (
                "up ready, 50%\tmaxconn:30",
                AgentSays {
                    weight: Some(Percent(50)),
                    maxconn: Some(30),
                    admin: Some(Active),
                    health: Some(Up),
                    reason: None,
                },
            ),
            ("10% 20%", AgentSays { weight: Some(Percent(20)), ..says() }),
            ("20% 101% hello up", AgentSays { weight: Some(Percent(20)), health: Some(Up), ..says() }),
        ] {
            assert_eq!(read(line.as_bytes()), Some(want), "{line:?}");
        }
    }

    #[test]
    fn line_without_a_known_word_is_none() {
        for line in [
            "",
            " \r\n",
            "#down",
            "hello",
            "75",
            "%",
            "101%",
            "-5%",
            "+5%",
            "weight:",
            "weight:65536",
            "weight:70000%",
            "maxconn:",
            "maxconn:-1",
            "maxconn:4294967296",
            "upp",
            "HTTP/1.1 400 Bad Request",
        ] {
            assert_eq!(read(line.as_bytes()), None, "{line:?}");
        }
        assert_eq!(read(b"\xff\xfe 5\xff%"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(line in prop::collection::vec(any::<u8>(), 0..300)) {
            let reason = read(&line).and_then(|says| says.reason);
            prop_assert!(reason.is_none_or(|reason| !reason.contains(char::is_control)));
        }

        #[test]
        fn any_words_keep_their_bounds(line in "[a-z0-9%:#, -]{0,40}") {
            if let Some(AgentSays { weight: Some(Percent(percent)), .. }) = read(line.as_bytes()) {
                prop_assert!(percent <= 100);
            }
        }
    }
}
