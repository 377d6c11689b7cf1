//! What is wrong with a config file: every error with its place, key path and remedy, and warnings in the same form.
//!
//! [`Findings`] collects while a file is read; [`ConfigErrors`] is what the caller gets: never empty, in file order.
//! Nothing here knows a key. Values from the file are cut before they are shown, so a message stays one short line.

use std::fmt;

use super::tree::Position;

/// The most errors of one file that are kept; more are counted.
pub(super) const ERRORS_KEPT_MAX: usize = 1000;
/// The most characters of a value or a key that a message shows.
const SHOWN_CHARS_MAX: usize = 80;

/// Every error of a config file, in file order. Prints one error a line, then a line with the count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    file: Box<str>,
    errors: Vec<ConfigError>,
    total: usize,
}

impl ConfigErrors {
    /// Makes the error of a file that cannot be read at all.
    pub(super) fn unreadable(file: &str, why: &str) -> Self {
        let error = ConfigError { file: file.into(), at: None, path: Box::default(), text: why.into() };
        Self { file: file.into(), errors: vec![error], total: 1 }
    }

    /// Returns the errors, in file order.
    #[must_use]
    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.errors {
            writeln!(f, "{error}")?;
        }
        let unseen = self.total - self.errors.len();
        if unseen > 0 {
            writeln!(f, "{}: {unseen} more not shown", self.file)?;
        }
        write!(f, "{}: {} {}", self.file, self.total, if self.total == 1 { "error" } else { "errors" })
    }
}

impl std::error::Error for ConfigErrors {}

/// One error of a config file; prints as `file:line:column key.path: what is wrong; the remedy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    file: Box<str>,
    at: Option<Position>,
    path: Box<str>,
    text: Box<str>,
}

impl ConfigError {
    /// Returns the line, counted from 1, where there is one.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.at.map(|at| at.line)
    }

    /// Returns the column in characters, counted from 1, where there is one.
    #[must_use]
    pub fn column(&self) -> Option<usize> {
        self.at.map(|at| at.column)
    }

    /// Returns the key path; empty where the file as a whole is meant.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        match self.at {
            Some(at) => write!(f, ":{}", Finding { at, path: self.path.clone(), text: self.text.clone() }),
            None => write!(f, ": {}", self.text),
        }
    }
}

/// One thing to say about the file, without the file's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// Where.
    pub(super) at: Position,
    /// The key path; empty for the file as a whole.
    pub(super) path: Box<str>,
    /// What, and the remedy.
    pub(super) text: Box<str>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.path.is_empty() { "" } else { " " };
        write!(f, "{}{space}{}: {}", self.at, self.path, self.text)
    }
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Errors, in the order found, no more than [`ERRORS_KEPT_MAX`].
    pub(super) errors: Vec<Finding>,
    /// Warnings, in the order found.
    pub(super) warnings: Vec<Finding>,
    uncounted: usize,
}

impl Findings {
    /// Adds an error.
    pub(super) fn error(&mut self, at: Position, path: &str, text: impl Into<String>) {
        if self.errors.len() < ERRORS_KEPT_MAX {
            self.errors.push(Finding { at, path: path.into(), text: text.into().into() });
        } else {
            self.uncounted += 1;
        }
    }

    /// Counts an error and returns true where no more are kept, so that its text need not be made.
    pub(super) fn is_full(&mut self) -> bool {
        let is_full = self.errors.len() >= ERRORS_KEPT_MAX;
        self.uncounted += usize::from(is_full);
        is_full
    }

    /// Adds a warning.
    pub(super) fn warn(&mut self, at: Position, path: &str, text: impl Into<String>) {
        if self.warnings.len() < ERRORS_KEPT_MAX {
            self.warnings.push(Finding { at, path: path.into(), text: text.into().into() });
        }
    }

    /// Makes this the only error: after a syntax error nothing else that was found can be trusted.
    pub(super) fn only(&mut self, at: Position, text: String) {
        *self = Self::default();
        self.error(at, "", text);
    }

    /// Returns the warnings in file order, or all errors in file order if there is one.
    ///
    /// # Errors
    /// Every error found.
    pub(super) fn finish(mut self, file: &str) -> Result<Vec<String>, ConfigErrors> {
        self.errors.sort_by_key(|finding| finding.at);
        self.warnings.sort_by_key(|finding| finding.at);
        if self.errors.is_empty() {
            return Ok(self.warnings.iter().map(|warning| format!("{file}:{warning}")).collect());
        }
        let total = self.errors.len() + self.uncounted;
        let place = |f: Finding| ConfigError { file: file.into(), at: Some(f.at), path: f.path, text: f.text };
        Err(ConfigErrors { file: file.into(), errors: self.errors.into_iter().map(place).collect(), total })
    }
}

/// Returns `text` in quotes, cut to a length that a person reads.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((cut, _)) => format!("{:?}…", &text[..cut]),
        None => format!("{text:?}"),
    }
}

/// Returns a key as a key path shows it: as it is where that is plain, else in quotes.
pub(super) fn path_segment(key: &str) -> String {
    let is_plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if is_plain && key.len() <= SHOWN_CHARS_MAX { key.to_owned() } else { quoted(key) }
}

/// Returns the remedy for a word that is none of `words`: the nearest one if it is near, else what there is.
pub(super) fn did_you_mean<'w>(word: &str, words: impl Iterator<Item = &'w str> + Clone) -> String {
    let near = |w: &&str| edits(word, w);
    match words.clone().min_by_key(near) {
        Some(best) if near(&best) <= (best.len() / 3).clamp(1, 3) => format!("did you mean {best:?}?"),
        Some(_) => {
            let shown: Vec<_> = words.clone().take(20).collect();
            let more = if words.count() > shown.len() { ", …" } else { "" };
            format!("known here: {}{more}", shown.join(", "))
        }
        None => "nothing is known here".to_owned(),
    }
}

/// How many letters must be added, removed, changed or swapped with the next to make `a` into `b`; long words count as
/// far apart.
fn edits(a: &str, b: &str) -> usize {
    if a.len() > SHOWN_CHARS_MAX || b.len() > SHOWN_CHARS_MAX {
        return usize::MAX;
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let above = &rows[i - 1];
            let change = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_come_in_file_order_with_their_count() {
        let mut findings = Findings::default();
        findings.error(Position { line: 9, column: 1 }, "b", "is late");
        findings.error(Position { line: 2, column: 7 }, "a.b", "is early");
        let errors = findings.finish("f.yaml").unwrap_err();
        assert_eq!(errors.to_string(), "f.yaml:2:7 a.b: is early\nf.yaml:9:1 b: is late\nf.yaml: 2 errors");
        assert_eq!((errors.errors()[0].line(), errors.errors()[0].column()), (Some(2), Some(7)));
    }

    #[test]
    fn errors_beyond_the_bound_are_counted() {
        let mut findings = Findings::default();
        (0..ERRORS_KEPT_MAX + 5).for_each(|_| findings.error(Position::START, "", "no"));
        let text = findings.finish("f.yaml").unwrap_err().to_string();
        assert!(text.ends_with("f.yaml: 5 more not shown\nf.yaml: 1005 errors"), "{}", text.len());
    }

    #[test]
    fn nearest_word_is_offered_only_when_near() {
        let words = ["address", "weight", "backup"];
        assert_eq!(did_you_mean("wieght", words.into_iter()), "did you mean \"weight\"?");
        assert_eq!(did_you_mean("web", ["db", "wbe"].into_iter()), "did you mean \"wbe\"?");
        assert_eq!(did_you_mean("port", words.into_iter()), "known here: address, weight, backup");
        assert_eq!(did_you_mean("x", std::iter::empty()), "nothing is known here");
    }

    #[test]
    fn shown_values_are_cut() {
        assert_eq!(quoted("a\"b"), r#""a\"b""#);
        assert_eq!(quoted(&"é".repeat(500)).chars().count(), SHOWN_CHARS_MAX + 3);
        assert_eq!((path_segment("web-1"), path_segment("a b")), ("web-1".into(), "\"a b\"".into()));
    }
}
