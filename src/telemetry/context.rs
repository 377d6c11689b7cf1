//! The W3C trace context of a request, as `traceparent` has it: which trace it is part of. Pure; strict, since what is
//! malformed would make a trace that nobody can put together.

use std::fmt;

/// Bytes of the fields that every version has: `00-<32 hex>-<16 hex>-<2 hex>`.
pub const LENGTH: usize = 55;
/// The flag that says that whoever sent the request records it.
pub const SAMPLED: u8 = 1;
/// The flag that says that the trace's number was drawn (level 2 of the recommendation).
const RANDOM: u8 = 2;

/// See the module's doc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; never 0.
    pub trace: u128,
    /// The part of it that sent the request; never 0.
    pub parent: u64,
    /// Bit 0: whoever sent the request records it.
    pub flags: u8,
}

impl TraceContext {
    /// Returns the context that is written so; nothing, if it is none.
    ///
    /// A version after 00 may have more fields behind a dash; version ff is none.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (known, more) = text.split_at_checked(LENGTH)?;
        let [b'-', b'-', b'-'] = [known[2], known[35], known[52]] else { return None };
        let version = hex(&known[..2])?;
        let ends_well = if version == 0 { more.is_empty() } else { more.is_empty() || more[0] == b'-' };
        let trace = hex(&known[3..35])?;
        let parent = u64::try_from(hex(&known[36..52])?).ok()?;
        let flags = u8::try_from(hex(&known[53..])?).ok()?;
        let is_one = version != 0xff && ends_well && trace != 0 && parent != 0;
        is_one.then_some(Self { trace, parent, flags })
    }

    /// Returns what shows the trace as logs and collectors have it.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        TraceId(self.trace)
    }

    /// Returns whether whoever sent the request records it.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Returns the context of what `parent` sends on within the same trace.
    #[must_use]
    pub fn from_parent(&self, parent: u64, is_sampled: bool) -> Self {
        let sampled = if is_sampled { SAMPLED } else { 0 };
        // Of the other flags, one says how the trace's number came about; the rest are for whoever knows them.
        Self { trace: self.trace, parent, flags: self.flags & RANDOM | sampled }
    }
}

/// Shown as version 00 of the field.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.parent, self.flags)
    }
}

/// A trace, shown as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub u128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Reads lower-case hexadecimal digits, and nothing else.
fn hex(text: &[u8]) -> Option<u128> {
    text.iter().try_fold(0, |number, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0b1902b7-01";

    #[test]
    fn context_is_read_strictly() {
        let context = TraceContext::parse(GOOD.as_bytes()).unwrap();
        assert_eq!((context.parent, context.flags), (0x00f0_67aa_0b19_02b7, 1));
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(TraceContext::parse(GOOD.replacen("00", "cc", 1).as_bytes()).is_some());
        assert!(TraceContext::parse(format!("{}-more", GOOD.replacen("00", "cc", 1)).as_bytes()).is_some());
        let bad = [
            String::new(),
            GOOD.to_uppercase(),
            format!("{GOOD}-more"),
            format!("{GOOD} "),
            format!(" {GOOD}"),
            GOOD.replacen("00", "ff", 1),
            format!("{}more", GOOD.replacen("00", "cc", 1)),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            GOOD.replace("00f067aa0b1902b7", &"0".repeat(16)),
            GOOD.replace('-', "_"),
            GOOD[..54].to_owned(),
            GOOD.replace("-01", "-0g"),
        ];
        for text in bad {
            assert_eq!(TraceContext::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn context_is_written_as_it_was_read_and_its_child_has_another_parent() {
        let context = TraceContext::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(context.to_string(), GOOD);
        assert_eq!(context.to_string().len(), LENGTH);
        assert!(context.is_sampled());
        let child = context.from_parent(7, false);
        assert_eq!(child.to_string(), "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000007-00");
        let unknown = TraceContext { flags: 0xfe, ..context };
        assert!(!unknown.is_sampled());
        assert_eq!(unknown.from_parent(7, true).flags, 3, "flags that nobody here knows are not ours to set");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = TraceContext::parse(&bytes);
        }

        #[test]
        fn context_with_one_byte_changed_is_another_or_none(at in 0_usize..55, byte in any::<u8>()) {
            let mut bytes = GOOD.as_bytes().to_vec();
            let is_same = std::mem::replace(&mut bytes[at], byte) == byte;
            let context = TraceContext::parse(&bytes);
            let is_same_context = context == TraceContext::parse(GOOD.as_bytes());
            // The version is no part of the context.
            prop_assert!(is_same_context == is_same || at < 2);
        }
    }
}
