//! Times, shares and checks as people read them.

use std::time::Duration;

use crate::model::{CheckBrief, Timestamp};

/// Returns a length of time with two figures or so: `<1 ms`, `930 ms`, `1.8 s`, `42 s`, `4 m`, `2 h 5 m`, `3 d 4 h`.
#[must_use]
pub fn span(length: Duration) -> String {
    let (millis, seconds) = (length.as_millis(), length.as_secs());
    let pair = |large: u64, unit: &str, small: u64, part: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {part}"),
    };
    match seconds {
        0 if millis == 0 && !length.is_zero() => "<1 ms".to_owned(),
        0 => format!("{millis} ms"),
        1..10 if millis % 1000 >= 100 => format!("{}.{} s", seconds, millis % 1000 / 100),
        1..60 => format!("{seconds} s"),
        60..600 if seconds % 60 != 0 && seconds < 120 => pair(seconds / 60, "m", seconds % 60, "s"),
        60..3600 => format!("{} m", seconds / 60),
        3600..86_400 => pair(seconds / 3600, "h", seconds % 3600 / 60, "m"),
        _ => pair(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

/// Returns the time of day, with the date in front unless it is that of `now`.
#[must_use]
pub fn clock(at: Timestamp, now: Timestamp) -> String {
    if at.date() == now.date() { at.time_of_day() } else { format!("{} {}", at.date(), at.time_of_day()) }
}

/// Returns hundredths as a number: `100`, `0.35`, `12.5`.
#[must_use]
pub fn hundredths(value: u64) -> String {
    let (whole, part) = (value / 100, value % 100);
    match part {
        0 => whole.to_string(),
        part if part % 10 == 0 => format!("{whole}.{}", part / 10),
        part => format!("{whole}.{part:02}"),
    }
}

/// Returns `n` things, in the plural where there is not one.
#[must_use]
pub fn count(n: u64, thing: &str) -> String {
    if n == 1 { format!("1 {thing}") } else { format!("{n} {thing}s") }
}

/// Returns ` in 5 s`-like words for a time to come, and `now` for one that is there.
pub(super) fn when(at: Timestamp, now: Timestamp) -> String {
    if at <= now { "now".to_owned() } else { format!("in {}", span(at.since(now))) }
}

/// `12:03:11 (4 m)`: since when, and how long that is.
pub(super) fn since(at: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", clock(at, now), span(now.since(at)))
}

/// `12:03:11 (in 4 m)`: until when, and how long that is.
pub(super) fn until(at: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", clock(at, now), when(at, now))
}

/// How checks ended, equal ones in a row together: `L7STS 503 ×2 then L7TOUT`.
pub(super) fn checks(briefs: &[CheckBrief]) -> String {
    let mut runs: Vec<(String, usize)> = Vec::new();
    for brief in briefs {
        let word = check(brief);
        match runs.last_mut() {
            Some((last, times)) if *last == word => *times += 1,
            Some(_) | None => runs.push((word, 1)),
        }
    }
    let texts = runs.into_iter().map(|(word, times)| if times == 1 { word } else { format!("{word} ×{times}") });
    texts.collect::<Vec<_>>().join(" then ")
}

/// How a check ended: `L7STS 503`.
pub(super) fn check(brief: &CheckBrief) -> String {
    match brief.code {
        Some(code) => format!("{} {code}", brief.status.as_str()),
        None => brief.status.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn span_has_two_figures_or_so() {
        for (millis, want) in [
            (0, "0 ms"),
            (930, "930 ms"),
            (1000, "1 s"),
            (1850, "1.8 s"),
            (9050, "9 s"),
            (42_900, "42 s"),
            (60_000, "1 m"),
            (90_000, "1 m 30 s"),
            (250_000, "4 m"),
            (3_600_000, "1 h"),
            (7_500_000, "2 h 5 m"),
            (273_600_000, "3 d 4 h"),
        ] {
            assert_eq!(span(Duration::from_millis(millis)), want, "{millis}");
        }
    }

    #[test]
    fn clock_has_the_date_of_another_day_only() {
        let noon = Timestamp(1_672_228_800_000_000);
        assert_eq!(clock(noon, noon + Duration::from_secs(60)), "12:00:00");
        assert_eq!(clock(noon, noon + Duration::from_secs(86_400)), "2022-12-28 12:00:00");
    }

    #[test]
    fn hundredths_are_as_short_as_they_can_be() {
        for (value, want) in [(10_000, "100"), (35, "0.35"), (1250, "12.5"), (5, "0.05"), (0, "0")] {
            assert_eq!(hundredths(value), want);
        }
    }
}
