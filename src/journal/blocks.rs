//! The blocks of the history that are not on disk yet: the open one of each probe, and those sealed and waiting.
//!
//! Shared by the writer, which adds and seals, and by readers, which copy; nobody waits for the disk under its lock.
//! A probe's open block takes 96 bytes of table and at most 256 of runs.
//! A block is forgotten here only after the disk has it, so a reader that copies here first and reads the disk second
//! misses none and tells doubles by their beginning.

use std::collections::{HashMap, VecDeque};

use crate::model::{CheckBrief, ProbeSlot, ServerKey, Timestamp};

use super::history::{Block, OpenBlock};

/// Sealed blocks that wait for the disk; beyond it the oldest is lost, and counted.
pub(super) const SEALED_BLOCKS_MAX: usize = 65_536;

/// Whose history.
pub(super) type Series = (ServerKey, ProbeSlot);

/// See the module's doc.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    open: HashMap<Series, OpenBlock>,
    sealed: VecDeque<(Series, Block)>,
    lost_checks: u64,
}

impl Blocks {
    /// Adds a check to its block; a block that is whole is sealed.
    pub(super) fn add(&mut self, server: ServerKey, brief: &CheckBrief) {
        let series = (server, brief.slot);
        if self.open.get_mut(&series).is_some_and(|block| block.add(brief)) {
            return;
        }
        if let Some(whole) = self.open.insert(series, OpenBlock::begin(brief)) {
            self.push(series, whole.sealed());
        }
    }

    /// Seals the blocks that span their time, whoever is still checked or not.
    pub(super) fn seal_due(&mut self, now: Timestamp) {
        self.seal(|block| block.is_due(now));
    }

    /// Seals every block.
    pub(super) fn seal_all(&mut self) {
        self.seal(|_| true);
    }

    fn seal(&mut self, is_wanted: impl Fn(&OpenBlock) -> bool) {
        let mut whole: Vec<_> = self.open.extract_if(|_, block| is_wanted(block)).collect();
        whole.sort_unstable_by_key(|(series, _)| *series);
        for (series, block) in whole {
            self.push(series, block.sealed());
        }
    }

    fn push(&mut self, series: Series, block: Block) {
        if self.sealed.len() == SEALED_BLOCKS_MAX
            && let Some((_, lost)) = self.sealed.pop_front()
        {
            self.lost_checks += u64::from(lost.checks);
        }
        self.sealed.push_back((series, block));
    }

    /// Returns copies of the first sealed blocks; they stay until [`Self::written`].
    pub(super) fn waiting(&self, limit: usize) -> Vec<(Series, Block)> {
        self.sealed.iter().take(limit).cloned().collect()
    }

    /// Forgets the first `count` sealed blocks: the disk has them.
    pub(super) fn written(&mut self, count: usize) {
        self.sealed.drain(..count.min(self.sealed.len()));
    }

    /// Returns how many checks were lost with blocks since the last call.
    pub(super) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost_checks)
    }

    /// Returns copies of what is here of a series, the oldest first.
    pub(super) fn of(&self, series: Series) -> Vec<Block> {
        let sealed = self.sealed.iter().filter(|(whose, _)| *whose == series).map(|(_, block)| block.clone());
        sealed.chain(self.open.get(&series).map(OpenBlock::sealed)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::feed::samples::{NOON, brief, server};
    use crate::model::CheckStatus;

    fn check(seconds: u64) -> CheckBrief {
        brief(CheckStatus::L7Ok, Some(200), NOON + Duration::from_secs(seconds))
    }

    #[test]
    fn open_block_is_as_small_as_is_said() {
        assert!(size_of::<(Series, OpenBlock)>() <= 96, "{}", size_of::<(Series, OpenBlock)>());
    }

    #[test]
    fn blocks_that_span_their_time_are_sealed_though_nobody_checks_any_more() {
        let mut blocks = Blocks::default();
        blocks.add(server(1).0, &check(0));
        blocks.add(server(2).0, &check(300));
        blocks.seal_due(NOON + Duration::from_secs(599));
        assert_eq!(blocks.waiting(9).len(), 0);
        blocks.seal_due(NOON + Duration::from_secs(600));
        let waiting = blocks.waiting(9);
        assert_eq!(waiting.len(), 1);
        assert_eq!(waiting[0].0, (server(1).0, ProbeSlot::FIRST));
        assert_eq!(blocks.of(waiting[0].0), [waiting[0].1.clone()]);
        blocks.written(1);
        assert_eq!((blocks.waiting(9).len(), blocks.of(waiting[0].0).len()), (0, 0));
        blocks.seal_all();
        assert_eq!(blocks.waiting(9).len(), 1);
    }

    #[test]
    fn blocks_that_no_disk_takes_are_lost_beyond_the_bound_and_counted() {
        let mut blocks = Blocks::default();
        for n in 0..=SEALED_BLOCKS_MAX as u64 + 2 {
            blocks.add(server(1).0, &check(n * 600));
        }
        assert_eq!(blocks.waiting(usize::MAX).len(), SEALED_BLOCKS_MAX);
        assert_eq!((blocks.take_lost(), blocks.take_lost()), (2, 0));
    }
}
