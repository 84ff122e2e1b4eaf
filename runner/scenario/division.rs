//! Which shards the trials of a [`Suite`] belong to.

use std::{io, iter, num::NonZeroU32, ops::Range, os::unix::fs::FileExt as _};

use super::{
    Suite, definition::damaged, skimmed_test::SkimmedTest, suite::DEFINITION,
    test_line::read_repeats,
};
use crate::model::{Shard, cores, lines_of, work_in_lanes};

/// How many blocks of tests a thread takes at once, unless they are as many bytes or trials as this.
const PIECE_BLOCKS: usize = 64;
const PIECE_BYTES: u64 = 1 << 20;
const PIECE_TRIALS: u64 = 1 << 16;

impl Suite {
    /// Calls `each` with the shard of every trial, where there are `count`, in the order of the trials; `providers` are the
    /// names of the scenario's providers.
    ///
    /// # Errors
    ///
    /// Fails if the tests cannot be read, or are none of a scenario with these providers.
    pub fn each_shard(
        &self,
        count: NonZeroU32,
        providers: &[&str],
        mut each: impl FnMut(Shard),
    ) -> io::Result<()> {
        let workers = (0..cores()).map(|_| |blocks| self.shards_in(blocks, count, providers));
        work_in_lanes(self.pieces(), workers, |shards: io::Result<Vec<Shard>>| {
            shards?.into_iter().for_each(&mut each);
            Ok(true)
        })?
    }

    /// All blocks of its tests, some at a time.
    fn pieces(&self) -> impl Iterator<Item = Range<usize>> {
        let blocks = &self.inner.index.blocks;
        let mut begin = 0;
        iter::from_fn(move || {
            let first = blocks.get(begin)?;
            let is_here = |place: &usize| {
                let block = blocks[*place];
                block.offset - first.offset < PIECE_BYTES
                    && block.ordinal - first.ordinal < PIECE_TRIALS
            };
            let more = begin + 1..blocks.len().min(begin + PIECE_BLOCKS);
            let piece = begin..begin + 1 + more.take_while(is_here).count();
            begin = piece.end;
            Some(piece)
        })
    }

    /// The lines of some blocks; those before the first test are with the first block.
    fn lines_in(&self, blocks: Range<usize>) -> io::Result<Vec<u8>> {
        let index = &self.inner.index;
        let begin = match blocks.start {
            0 => 0,
            first => index.blocks[first].offset,
        };
        let next = index.blocks.get(blocks.end);
        let end = next.map_or(index.bytes, |next| next.offset);
        let mut bytes = vec![0; usize::try_from(end - begin).map_err(io::Error::other)?];
        self.file().read_exact_at(&mut bytes, begin)?;
        Ok(bytes)
    }

    /// The shards of the trials of some blocks.
    fn shards_in(
        &self,
        blocks: Range<usize>,
        count: NonZeroU32,
        providers: &[&str],
    ) -> io::Result<Vec<Shard>> {
        let mut shards = Vec::new();
        let mut trial = TrialText::default();
        let lines = self.lines_in(blocks)?;
        let is_test = |line: &&[u8]| !line.starts_with(DEFINITION.as_bytes());
        for line in lines_of(&lines).filter(is_test) {
            let test = SkimmedTest::read(line)?;
            let repeats = read_repeats(test.repeat, test.repeats)?;
            for provider in serde_json::from_str::<Vec<u32>>(test.providers)? {
                let provider = providers.get(provider as usize);
                trial.begin(
                    test.id,
                    provider.ok_or_else(|| damaged("the providers of a test"))?,
                );
                let trials = repeats
                    .iter()
                    .map(|repeat| Shard::of(trial.of(repeat), count));
                shards.extend(trials);
            }
        }
        Ok(shards)
    }
}

/// The ids of the trials of a test on a provider, one after the other.
#[derive(Clone, Default)]
pub(super) struct TrialText {
    text: String,
    /// How much of it is before the repeat.
    begin: usize,
}

impl TrialText {
    pub(super) fn begin(&mut self, test: &str, provider: &str) {
        self.text.clear();
        self.text.extend([test, "@", provider, "#"]);
        self.begin = self.text.len();
    }

    pub(super) fn of(&mut self, repeat: u32) -> &str {
        self.text.truncate(self.begin);
        self.text.push_str(itoa::Buffer::new().format(repeat));
        &self.text
    }
}
