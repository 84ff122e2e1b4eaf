//! [`SuiteSegments`]: the pieces in which the file of a suite travels, each known by its digest.
//!
//! Who makes some of a run's attempts needs the pieces with the tests of these, and not the whole file, which may have
//! gigabytes. Pieces begin where blocks begin, so whoever has a piece can read each of its blocks.

use std::{
    collections::BTreeSet,
    io,
    num::NonZero,
    ops::Range,
    os::unix::fs::FileExt as _,
    panic::resume_unwind,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::{
    suite::{Suite, out_of_range},
    suite_index::SuiteIndex,
};
use crate::model::Digest;

/// How many tests a segment has at most.
const SEGMENT_TESTS: u64 = 4096;
/// How many bytes it has at most, unless one block has more.
const SEGMENT_BYTES: u64 = 4 << 20;

/// A piece of the file of a suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuiteSegment {
    /// Where in the file it is.
    pub bytes: Range<u64>,
    /// The first trial of its tests.
    pub first_ordinal: u64,
    /// What it hashes to.
    pub digest: Digest,
}

/// All pieces of the file of a suite, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SuiteSegments {
    /// The pieces.
    pub pieces: Vec<SuiteSegment>,
    /// Those with lines that define schemas: nobody reads a test without them.
    pub defining: BTreeSet<usize>,
}

impl SuiteSegments {
    /// Cuts the file of `suite`, which is read for it, on every core.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read.
    pub fn of(suite: &Suite) -> io::Result<Self> {
        let index = &suite.inner.index;
        let places = cut(index);
        let digests = hash(suite, &places)?;
        let pieces = places
            .into_iter()
            .zip(digests)
            .map(|((bytes, first_ordinal), digest)| SuiteSegment {
                bytes,
                first_ordinal,
                digest,
            });
        let mut segments = Self {
            pieces: pieces.collect(),
            defining: BTreeSet::new(),
        };
        let definitions = index.definitions.iter();
        segments.defining = definitions
            .flat_map(|(offset, length)| segments.holding(*offset..*offset + *length))
            .collect();
        Ok(segments)
    }

    /// The place of the segment with the test of this trial.
    pub fn of_trial(&self, ordinal: u64) -> Option<usize> {
        let begin = |piece: &SuiteSegment| piece.first_ordinal <= ordinal;
        self.pieces.partition_point(begin).checked_sub(1)
    }

    /// Where in the file the segment with this digest is.
    pub fn find(&self, digest: Digest) -> Option<Range<u64>> {
        let mut pieces = self.pieces.iter();
        let found = pieces.find(|piece| piece.digest == digest)?;
        Some(found.bytes.clone())
    }

    /// The places of those that have some of these bytes.
    fn holding(&self, bytes: Range<u64>) -> Range<usize> {
        let behind = |piece: &SuiteSegment| piece.bytes.end <= bytes.start;
        let before = |piece: &SuiteSegment| piece.bytes.start < bytes.end;
        self.pieces.partition_point(behind)..self.pieces.partition_point(before)
    }
}

/// Where segments are, and the first trial of each. What stands before the first block is in the first one.
fn cut(index: &SuiteIndex) -> Vec<(Range<u64>, u64)> {
    let mut cut: Vec<(Range<u64>, u64)> = Vec::new();
    let mut first_test = 0;
    for (number, block) in index.blocks.iter().enumerate() {
        let next = index.blocks.get(number + 1);
        let end = next.map_or(index.bytes, |next| next.offset);
        let tests = next.map_or(index.tests, |next| next.test);
        match cut.last_mut() {
            Some((bytes, _))
                if end - bytes.start <= SEGMENT_BYTES && tests - first_test <= SEGMENT_TESTS =>
            {
                bytes.end = end;
            }
            last => {
                let start = last.map_or(0, |(bytes, _)| bytes.end);
                first_test = block.test;
                cut.push((start..end, block.ordinal));
            }
        }
    }
    cut
}

/// What each piece of the file hashes to.
fn hash(suite: &Suite, places: &[(Range<u64>, u64)]) -> io::Result<Vec<Digest>> {
    let next = AtomicUsize::new(0);
    let hash_some = || {
        let (mut done, mut piece) = (Vec::new(), Vec::new());
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some((bytes, _)) = places.get(number) else {
                return Ok::<_, io::Error>(done);
            };
            let length = usize::try_from(bytes.end - bytes.start).map_err(|_| out_of_range())?;
            piece.resize(length, 0);
            suite.file().read_exact_at(&mut piece, bytes.start)?;
            done.push((number, Digest::of(&piece)));
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let others = threads.min(places.len()).saturating_sub(1);
    let mut done = thread::scope(|scope| {
        // Where a thread cannot be started, the others do its part.
        let others: Vec<_> = (0..others)
            .filter_map(|_| thread::Builder::new().spawn_scoped(scope, hash_some).ok())
            .collect();
        let mut done = hash_some()?;
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic))?);
        }
        Ok::<_, io::Error>(done)
    })?;
    done.sort_unstable_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, digest)| digest).collect())
}

#[cfg(test)]
mod tests {
    use super::{SEGMENT_BYTES, SEGMENT_TESTS, SuiteSegments, cut};
    use crate::scenario::suite_index::SuiteIndex;

    fn index_of(tests: u64, trials_each: u64, line: u64) -> SuiteIndex {
        let mut index = SuiteIndex::default();
        for test in 0..tests {
            if test % 1000 == 0 {
                index.define(10);
                index.bytes += 10;
            }
            index.add(trials_each);
            index.bytes += line;
        }
        index
    }

    #[test]
    fn segments_follow_each_other_and_have_the_whole_file() {
        for (tests, trials_each, line) in [
            (1, 1, 50),
            (32, 3, 50),
            (4096, 1, 50),
            (4097, 2, 50),
            (20_000, 1, 900),
            (9_000, 1, 100_000),
            (7, 1, 9 << 20),
        ] {
            let index = index_of(tests, trials_each, line);
            let cut = cut(&index);
            let mut end = 0;
            for (number, (bytes, ordinal)) in cut.iter().enumerate() {
                assert_eq!(bytes.start, end, "{tests} tests");
                end = bytes.end;
                let next = cut.get(number + 1).map_or(index.trials, |next| next.1);
                let count = (next - ordinal) / trials_each;
                assert!((1..=SEGMENT_TESTS).contains(&count), "{count} tests");
                // A test that is longer is a segment by itself.
                let most = SEGMENT_BYTES.max((line + 10) * 2);
                assert!(bytes.end - bytes.start <= most, "{bytes:?}");
                let block = index.blocks.iter().find(|block| block.ordinal == *ordinal);
                let offset = block.expect("a segment begins with a block").offset;
                assert!(offset == bytes.start || number == 0);
            }
            assert_eq!(end, index.bytes);
        }
        assert_eq!(cut(&SuiteIndex::default()), []);
    }

    #[test]
    fn a_segment_is_found_by_a_trial_and_by_its_bytes() {
        let index = index_of(10_000, 2, 50);
        let segments = SuiteSegments {
            pieces: cut(&index)
                .into_iter()
                .map(|(bytes, first_ordinal)| super::SuiteSegment {
                    digest: crate::model::Digest::of(&first_ordinal.to_le_bytes()),
                    bytes,
                    first_ordinal,
                })
                .collect(),
            ..SuiteSegments::default()
        };
        assert_eq!(segments.pieces.len(), 3);
        for (ordinal, place) in [(0, 0), (8191, 0), (8192, 1), (16_384, 2), (19_999, 2)] {
            assert_eq!(segments.of_trial(ordinal), Some(place), "trial {ordinal}");
        }
        let second = segments.pieces[1].clone();
        assert_eq!(segments.find(second.digest), Some(second.bytes.clone()));
        assert_eq!(segments.holding(second.bytes.clone()), 1..2);
        assert_eq!(segments.holding(0..1), 0..1);
        assert_eq!(
            segments.holding(second.bytes.end - 1..second.bytes.end + 1),
            1..3
        );
    }
}
