//! Durations, sizes and shares as people write them: an integer and a unit, always.
//!
//! Pure text work, both ways: what `show_*` prints, `parse_*` reads back as the same value.

use std::time::Duration;

const DURATION_UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZE_UNITS: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Why a text is no duration or size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnitError {
    /// Digits only.
    #[error("has no unit; write {0}")]
    NoUnit(String),
    /// Not an integer and a unit.
    #[error("is not an integer with {0}; write for example {1:?}")]
    Shape(&'static str, &'static str),
    /// More than 64 bits hold.
    #[error("is too large")]
    TooLarge,
}

/// Returns the duration written as `500ms`, `2s`, `1m`, `1h` or `1d`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let shape = UnitError::Shape("one of the units ms, s, m, h and d", "2s");
    parse(text, &DURATION_UNITS, |n| format!("\"{n}s\" or \"{n}ms\""), shape).map(Duration::from_millis)
}

/// Returns the number of bytes written as `512B`, `64KiB`, `100MiB` or `1GiB`.
pub(super) fn parse_size(text: &str) -> Result<u64, UnitError> {
    let shape = UnitError::Shape("one of the units B, KiB, MiB and GiB", "64KiB");
    parse(text, &SIZE_UNITS, |n| format!("\"{n}B\" or \"{n}KiB\""), shape)
}

/// Returns the per cent written as `50%`.
pub(super) fn parse_percent(text: &str) -> Result<u64, UnitError> {
    let shape = UnitError::Shape("%", "50%");
    parse(text, &[("%", 1)], |n| format!("\"{n}%\""), shape)
}

/// Returns the share as `50%`.
pub(super) fn show_percent(percent: impl std::fmt::Display) -> String {
    format!("{percent}%")
}

/// Returns the duration in its largest whole unit.
pub(super) fn show_duration(duration: Duration) -> String {
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &DURATION_UNITS)
}

/// Returns the size in its largest whole unit.
pub(super) fn show_size(bytes: u64) -> String {
    show(bytes, &SIZE_UNITS)
}

fn parse(text: &str, units: &[(&str, u64)], hint: fn(&str) -> String, shape: UnitError) -> Result<u64, UnitError> {
    let split = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    if digits.is_empty() {
        return Err(shape);
    }
    if unit.is_empty() {
        return Err(UnitError::NoUnit(hint(if digits.len() > 20 { "1" } else { digits })));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else { return Err(shape) };
    digits.parse::<u64>().ok().and_then(|n| n.checked_mul(*factor)).ok_or(UnitError::TooLarge)
}

fn show(value: u64, units: &[(&str, u64)]) -> String {
    let whole = |(_, factor): &&(&str, u64)| value.is_multiple_of(*factor) && value >= *factor;
    let (unit, factor) = units.iter().rev().find(whole).copied().unwrap_or(units[0]);
    format!("{}{unit}", value / factor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn duration_needs_an_integer_and_a_unit() {
        for (text, want) in
            [("500ms", 500), ("2s", 2000), ("1m", 60_000), ("1h", 3_600_000), ("30d", 2_592_000_000), ("0s", 0)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(want)), "{text}");
        }
        for (text, want) in [
            ("30", "has no unit; write \"30s\" or \"30ms\""),
            ("1.5s", "is not an integer with one of the units ms, s, m, h and d; write for example \"2s\""),
            ("2 s", "is not an integer with one of the units ms, s, m, h and d; write for example \"2s\""),
            ("-2s", "is not an integer with one of the units ms, s, m, h and d; write for example \"2s\""),
            ("s", "is not an integer with one of the units ms, s, m, h and d; write for example \"2s\""),
            ("99999999999999999999h", "is too large"),
            ("18446744073709551615h", "is too large"),
        ] {
            assert_eq!(parse_duration(text).unwrap_err().to_string(), want, "{text}");
        }
    }

    #[test]
    fn size_needs_an_integer_and_a_unit() {
        assert_eq!((parse_size("64KiB"), parse_size("100MiB")), (Ok(65_536), Ok(104_857_600)));
        assert_eq!(parse_size("65536").unwrap_err().to_string(), "has no unit; write \"65536B\" or \"65536KiB\"");
        assert!(parse_size("64k").is_err() && parse_size("64KB").is_err());
    }

    #[test]
    fn percent_needs_its_sign() {
        assert_eq!((parse_percent("50%"), parse_percent("0%")), (Ok(50), Ok(0)));
        for (text, want) in [
            ("50", "has no unit; write \"50%\""),
            ("half", "is not an integer with %; write for example \"50%\""),
            ("0.5%", "is not an integer with %; write for example \"50%\""),
            ("-1%", "is not an integer with %; write for example \"50%\""),
        ] {
            assert_eq!(parse_percent(text).unwrap_err().to_string(), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn shown_values_read_back_the_same(n in 0u64..u64::MAX / 2) {
            prop_assert_eq!(parse_size(&show_size(n)), Ok(n));
            prop_assert_eq!(parse_duration(&show_duration(Duration::from_millis(n))), Ok(Duration::from_millis(n)));
        }
    }
}
