//! `journal`: how much of what happened is kept.

use crate::config::bounds::{EVIDENCE, HISTORY, JOURNAL_BYTES, TIMELINE};
use crate::config::error::Findings;
use crate::config::keys;
use crate::config::read::Section;
use crate::model::settings::JournalLimits;

/// Lowers `journal`.
pub(super) fn lower(file: &Section<'_>, findings: &mut Findings) -> JournalLimits {
    file.or(findings, "journal", JournalLimits::DEFAULT, |value, findings| {
        let section = value.section(findings, keys::JOURNAL)?;
        let remedy = "it counts failing checks of one server";
        Some(JournalLimits {
            timeline: section.duration(findings, "timeline", &TIMELINE),
            history: section.duration(findings, "history", &HISTORY),
            bytes_max: section.size(findings, "size_max", &JOURNAL_BYTES),
            evidence_per_server: section.number(findings, "evidence_per_server", &EVIDENCE, remedy),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journal_defaults_of_the_file_are_the_models() {
        let limits = JournalLimits {
            timeline: TIMELINE.default,
            history: HISTORY.default,
            bytes_max: JOURNAL_BYTES.default,
            evidence_per_server: EVIDENCE.default,
        };
        assert_eq!(limits, JournalLimits::DEFAULT);
    }
}
