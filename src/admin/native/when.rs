//! Times and durations as people write them in a query, a body or on the command line. Pure: `now` is handed in.
//!
//! A time is RFC 3339, or a duration counted from now: backwards where one reads, forwards where one orders.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::model::Timestamp;

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// What a duration in place of a time means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sense {
    /// So long ago.
    Ago,
    /// So long from now.
    FromNow,
}

/// Returns the duration of an integer and ms, s, m, h or d, such as `30s`.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let split = text.bytes().position(|b| !b.is_ascii_digit())?;
    let (digits, unit) = text.split_at(split);
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
    digits.parse::<u64>().ok()?.checked_mul(*factor).map(Duration::from_millis)
}

/// Returns the instant that `text` names.
#[must_use]
pub fn moment(text: &str, now: Timestamp, sense: Sense) -> Option<Timestamp> {
    if let Some(distance) = duration(text) {
        let micros = u64::try_from(distance.as_micros()).ok()?;
        return Some(match sense {
            Sense::Ago => Timestamp(now.0.saturating_sub(micros)),
            Sense::FromNow => now + distance,
        });
    }
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(at.unix_timestamp_nanos() / 1000).ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_is_an_integer_with_a_unit() {
        for (text, ms) in [("0s", 0), ("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("2h", 7_200_000)] {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(duration("1d"), Some(Duration::from_secs(86_400)));
        for text in ["", "30", "s", "1.5s", "-1s", "1 s", "1w", "99999999999999999999s", "18446744073709551615h"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn moment_is_a_time_or_a_distance_from_now() {
        let now = Timestamp(1_763_732_060_000_000);
        assert_eq!(moment("1h", now, Sense::Ago), Some(Timestamp(1_763_728_460_000_000)));
        assert_eq!(moment("1h", now, Sense::FromNow), Some(Timestamp(1_763_735_660_000_000)));
        for text in ["2025-11-21T13:34:20Z", "2025-11-21T13:34:20.000Z", "2025-11-21T14:34:20+01:00"] {
            assert_eq!(moment(text, Timestamp(0), Sense::Ago), Some(now), "{text}");
        }
        assert_eq!(moment(&now.to_string(), Timestamp(0), Sense::Ago), Some(now), "what is printed is read back");
        assert_eq!(moment("100000d", now, Sense::Ago), Some(Timestamp(0)));
        for text in ["", "now", "2025-11-21", "13:34", "1969-12-31T23:59:59Z", "2025-13-21T13:34:20Z"] {
            assert_eq!(moment(text, now, Sense::Ago), None, "{text}");
        }
    }
}
