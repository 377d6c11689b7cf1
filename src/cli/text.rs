//! How commands write numbers, lengths of time and what the other side sent. Pure.

use std::time::Duration;

use super::client::plain;

/// Lines of what was sent or received that are printed.
const LINES_MAX: usize = 24;
/// Characters of such a line.
const LINE_CHARS_MAX: usize = 160;

/// `1 request`, `3 requests`.
pub(super) fn plural(count: u64, thing: &str) -> String {
    if count == 1 {
        return format!("1 {thing}");
    }
    match thing.split_once(" of ") {
        Some((first, rest)) => format!("{count} {first}s of {rest}"),
        None => format!("{count} {thing}s"),
    }
}

/// A length of time in the largest unit that says it well: `350 ms`, `12 s`, `7 min`, `3 h`, `2 d`.
pub(super) fn distance(length: Duration) -> String {
    match length.as_secs() {
        0 => format!("{} ms", length.as_millis()),
        s @ 1..120 => format!("{s} s"),
        s @ 120..7_200 => format!("{} min", s / 60),
        s @ 7_200..172_800 => format!("{} h", s / 3_600),
        s => format!("{} d", s / 86_400),
    }
}

/// Lines of a text behind `mark`, each without control characters; what is too much is counted.
pub(super) fn quoted(mark: &str, text: &str) -> Vec<String> {
    let line = |line: &str| {
        let shown: String = line.chars().take(LINE_CHARS_MAX).collect();
        let more = if shown.len() < line.len() { "…" } else { "" };
        format!("{mark} {}{more}", plain(&shown)).trim_end().to_owned()
    };
    let mut lines: Vec<_> = text.lines().take(LINES_MAX).map(line).collect();
    let left = text.lines().count().saturating_sub(LINES_MAX);
    if left > 0 {
        lines.push(format!("{mark} … {}", plural(left as u64, "more line")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_counted_and_times_have_one_unit() {
        assert_eq!((plural(1, "tunnel"), plural(2, "tunnel")), ("1 tunnel".to_owned(), "2 tunnels".to_owned()));
        assert_eq!(plural(2, "piece of work"), "2 pieces of work");
        for (ms, want) in [(0, "0 ms"), (999, "999 ms"), (1000, "1 s"), (120_000, "2 min"), (7_200_000, "2 h")] {
            assert_eq!(distance(Duration::from_millis(ms)), want);
        }
        assert_eq!(distance(Duration::from_secs(200_000)), "2 d");
    }

    #[test]
    fn quoted_text_is_bounded_and_cannot_steer_a_terminal() {
        assert_eq!(quoted("<", "a\n\u{1b}[2Jb\n\nc"), ["< a", "< ?[2Jb", "<", "< c"]);
        let long = format!("{}\n{}", "x".repeat(400), "y\n".repeat(100));
        let lines = quoted(">", &long);
        assert_eq!((lines.len(), lines[0].chars().count()), (LINES_MAX + 1, LINE_CHARS_MAX + 3));
        assert_eq!(lines[LINES_MAX], "> … 77 more lines");
    }
}
