//! Prints an error with its causes on one line: `what: why: root`.

use std::error::Error;
use std::fmt;

/// Returns a view of `error` whose `Display` prints it and each of its sources, joined by `: `.
///
/// A source whose text the level above already holds is not repeated; capitals do not matter.
#[must_use]
pub fn report<'a>(error: &'a (dyn Error + 'static)) -> Report<'a> {
    Report(error)
}

/// See [`report`].
#[derive(Debug)]
pub struct Report<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            let text = error.to_string();
            if !last.to_lowercase().contains(&text.to_lowercase()) {
                write!(f, ": {text}")?;
                last = text;
            }
            next = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read the config")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn report_prints_the_chain() {
        let error = Outer(std::io::Error::other("disk on fire"));
        assert_eq!(report(&error).to_string(), "cannot read the config: disk on fire");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the journal: {}; check the disk", .0.to_string().to_lowercase())]
    struct Whole(#[source] std::io::Error);

    #[test]
    fn report_says_nothing_twice() {
        let error = Whole(std::io::Error::other("Disk on fire"));
        assert_eq!(report(&error).to_string(), "cannot open the journal: disk on fire; check the disk");
    }
}
