//! Wall-clock time as a value: microseconds since 1970, printed as RFC 3339 in UTC.
//!
//! Only `clock` makes one from the system; everything else is handed it.

use std::fmt;
use std::time::Duration;

/// A wall-clock instant, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Returns whole seconds since 1970.
    #[must_use]
    pub fn unix_seconds(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Returns the date in UTC, e.g. `2026-11-21`.
    #[must_use]
    pub fn date(self) -> String {
        let mut text = self.to_string();
        text.truncate("2026-11-21".len());
        text
    }

    /// Returns the time of day in UTC, e.g. `13:34:20`.
    #[must_use]
    pub fn time_of_day(self) -> String {
        self.to_string().chars().skip("2026-11-21T".len()).take("13:34:20".len()).collect()
    }

    /// Returns how long after `earlier` this is; zero if it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// RFC 3339 with milliseconds, e.g. `2026-11-21T13:34:20.123Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = i128::from(self.0 / 1000 * 1000) * 1000;
        let at = time::OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.millisecond()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamp_prints_rfc3339_utc() {
        assert_eq!(Timestamp(1_672_250_806_123_456).to_string(), "2022-12-28T18:06:46.123Z");
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn timestamp_gives_date_and_time_of_day() {
        let at = Timestamp(1_672_250_806_123_456);
        assert_eq!((at.date(), at.time_of_day()), ("2022-12-28".to_owned(), "18:06:46".to_owned()));
    }
}
