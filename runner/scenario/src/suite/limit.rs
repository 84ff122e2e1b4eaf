//! [`TestLimit`]: limits a plan to some of its tests.

use std::collections::{BinaryHeap, HashSet};
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

use runner_model::{digest, provider::Provider, test::Test};

use super::{Suite, SuiteBuilder, TestFacts, id_of};
use crate::{keys::Repeat, suite::selection::Selection};

/// The tests of a plan that a selection's `first` or `sample` leaves.
pub(crate) enum TestLimit {
    All,
    First(usize),
    Sample {
        count: usize,
        seed: u32,
        /// The keys and indexes of the tests with the smallest keys so far.
        smallest: BinaryHeap<(u64, usize)>,
    },
}

impl TestLimit {
    pub(crate) fn new(selection: &Selection, seed: u32) -> Self {
        match (selection.selected.first, selection.selected.sample) {
            (Some(count), _) => Self::First(count as usize),
            (None, Some(count)) => {
                Self::Sample { count: count as usize, seed, smallest: BinaryHeap::new() }
            }
            (None, None) => Self::All,
        }
    }

    /// Returns whether a test may be one of the plan. `index` is the number of tests that were taken before.
    // Only a few tests more than the sample are taken, so that lists of any size can be sampled.
    pub(crate) fn takes(&mut self, line: &[u8], index: usize) -> bool {
        match self {
            Self::All => true,
            Self::First(count) => index < *count,
            Self::Sample { count, seed, smallest } => {
                let entry = (sample_key(*seed, &id_of(line).unwrap_or_default()), index);
                if smallest.len() == *count {
                    if smallest.peek().is_none_or(|largest| entry >= *largest) {
                        return false;
                    }
                    smallest.pop();
                }
                smallest.push(entry);
                true
            }
        }
    }

    /// Removes the taken tests that are not in the sample after all, and the files of tests that were not taken.
    ///
    /// # Errors
    ///
    /// The suite's file cannot be read or written.
    pub(crate) fn finish(self, suite: Suite, providers: &[Provider]) -> io::Result<Suite> {
        let tests = match self {
            Self::All => return Ok(suite),
            Self::First(_) => (0..suite.tests()).collect(),
            Self::Sample { smallest, .. } => {
                let mut tests: Vec<_> =
                    smallest.into_iter().map(|(_, index)| index as u64).collect();
                tests.sort_unstable();
                tests
            }
        };
        let has_files = !suite.blobs.is_empty() || !suite.bases.is_empty();
        if tests.len() as u64 == suite.tests() && !has_files {
            return Ok(suite);
        }
        keep(suite, &tests, providers)
    }
}

/// Returns a pseudo-random number of a test. It depends on nothing else, so that other tests do not change the sample.
fn sample_key(seed: u32, id: &str) -> u64 {
    let text = format!("runner-sample-1\0{seed}\0{id}");
    digest(text.as_bytes()).0.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// Keeps only some tests of a suite, in its file. `tests` are ascending.
fn keep(suite: Suite, tests: &[u64], providers: &[Provider]) -> io::Result<Suite> {
    let mut builder = SuiteBuilder::default();
    let mut line = Vec::new();
    let mut used = HashSet::new();
    for test in tests {
        suite.line(*test, &mut line)?;
        let test: Test<'_> = serde_json::from_slice(&line)?;
        used.extend(test.files.iter().map(|file| file.sha256).chain(test.expect.schema));
        used.extend(test.bases.values().chain(test.grader_files.values()));
        let facts = TestFacts {
            is_unchecked: test.expect.is_empty(),
            may_be_weak: test.expect.may_be_weak(),
            has_only_input: test.has_only_input(),
        };
        let providers = test.providers;
        let repeat = Repeat { max: test.repeat, until: test.until };
        line.push(b'\n');
        // A line moves to the front or stays, so lines that follow are not overwritten.
        suite.file.write_all_at(&line, builder.outline.bytes)?;
        builder.push(&line, &providers, repeat, facts).map_err(io::Error::other)?;
    }
    let mut file = suite.file;
    file.set_len(builder.outline.bytes)?;
    file.seek(SeekFrom::End(0))?;
    let (mut blobs, mut bases) = (suite.blobs, suite.bases);
    blobs.retain(|digest, _| used.contains(digest));
    bases.retain(|digest, _| used.contains(digest));
    Ok(builder.finish(file, providers, (blobs, bases)))
}
