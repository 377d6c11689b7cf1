//! How many bytes went through in a month. Plain data; months are those of UTC.

use std::time::Duration;

use super::time::Timestamp;

const DAY_US: u64 = 86_400_000_000;
/// Longer than the longest month.
const BEYOND_A_MONTH: Duration = Duration::from_secs(32 * 86_400);

/// What was counted in one month, of one zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonthTraffic {
    /// Its id; never given to another; 0 before it was kept.
    pub id: u64,
    /// The zone.
    pub zone: Box<str>,
    /// The first instant of the month.
    pub since: Timestamp,
    /// Bytes between clients and servers, both ways.
    pub bytes: u64,
    /// When they were last counted.
    pub counted_at: Timestamp,
}

impl MonthTraffic {
    /// Returns the first instant of the month after it.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        month_of(self.since + BEYOND_A_MONTH)
    }
}

/// Returns the first instant of the month that `at` is in.
#[must_use]
pub fn month_of(at: Timestamp) -> Timestamp {
    let day: u64 = at.date().rsplit('-').next().and_then(|day| day.parse().ok()).unwrap_or(1);
    Timestamp((at.0 / DAY_US).saturating_sub(day.saturating_sub(1)) * DAY_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn month_begins_with_its_first_instant_and_ends_with_that_of_the_next() {
        // 2024-02-29T12:00:00Z, 2025-12-31T23:59:59Z, 1970-01-01T00:00:00Z.
        for (at, since, until) in [
            (1_709_208_000, "2024-02-01T00:00:00.000Z", "2024-03-01T00:00:00.000Z"),
            (1_767_225_599, "2025-12-01T00:00:00.000Z", "2026-01-01T00:00:00.000Z"),
            (0, "1970-01-01T00:00:00.000Z", "1970-02-01T00:00:00.000Z"),
        ] {
            let since_at = month_of(Timestamp(at * 1_000_000));
            let month =
                MonthTraffic { id: 0, zone: "z".into(), since: since_at, bytes: 0, counted_at: Timestamp::default() };
            assert_eq!((month.since.to_string(), month.until().to_string()), (since.to_owned(), until.to_owned()));
        }
    }
}
