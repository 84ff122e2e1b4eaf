//! [`Suite`]: all resolved tests, on disk, and the indexes of their trials.

mod base;
pub(crate) mod blobs;
pub(crate) mod limit;
mod planner;
pub(crate) mod resolve;
pub(crate) mod selection;
pub(crate) mod threads;
pub(crate) mod unmatched;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader, Seek};
use std::{fs::File, ops::Range, os::unix::fs::FileExt};

use runner_model::provider::Provider;
use runner_model::test::{AdaptiveRepeats, RepeatUntil, Test};
use runner_model::{Digest, Places, ProviderName, Shard, TestId, Text, TrialId};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

pub use self::base::{Base, SuiteFile, read_folder};
use crate::keys::Repeat;

// An index has `INDEX_BITS` in the lookup table.
const MAX_TESTS: usize = 10_000_000;
// `Entry::first_trial` has 32 bits.
const MAX_TRIALS: u64 = 100_000_000;
/// The least number of bytes to read at once.
const BLOCK: usize = 64 << 10;
/// Low bits of an entry of the lookup table, for a test's index. The others are of its id's hash.
const INDEX_BITS: u32 = 24;

/// All resolved tests in order, on disk. Uses about 16 bytes of memory per test.
///
/// Trials have indexes from 0 in plan order: by test, then by provider, then by repeat. Those of a shard count from 0, too.
#[derive(Debug)]
pub struct Suite {
    file: File,
    outline: Outline,
    digest: Digest,
    names: Vec<ProviderName>,
    blobs: BTreeMap<Digest, SuiteFile>,
    bases: BTreeMap<Digest, Base>,
    /// The part of the file that was read last.
    block: RefCell<Block>,
    /// Sorted hashes of ids with the tests' indexes. Created by the first lookup.
    lookup: OnceCell<Vec<u64>>,
    /// The test of the last lookup. Most rows are in the order of the tests.
    last_found: Cell<usize>,
    /// Indexes of the shard's trials in the whole plan, ascending. `None` if the suite has all trials.
    members: Option<Vec<u32>>,
}

/// A trial of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedTrial {
    /// The test's index in the suite.
    pub test: u64,
    /// The provider's index in the scenario.
    pub provider: u16,
    /// From 1.
    pub repeat: u32,
}

#[derive(Debug, Default)]
struct Block {
    start: u64,
    bytes: Vec<u8>,
}

/// The positions of tests in the file, and their trials.
#[derive(Debug, Default)]
struct Outline {
    tests: Vec<Entry>,
    shapes: Vec<Shape>,
    /// By shape.
    facts: Vec<ShapeFacts>,
    bytes: u64,
    trials: u64,
    has_exit_codes: bool,
    has_max_durations: bool,
    graders: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    offset: u64,
    first_trial: u32,
    shape: u32,
}

/// The providers and repeats of a test. Most tests of a suite share one shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Shape {
    providers: Box<[u16]>,
    repeat: u32,
    until: Option<RepeatUntil>,
}

/// Facts about a test, for notices.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TestFacts {
    /// Whether it has no expectation.
    pub(crate) is_unchecked: bool,
    /// [`Expect::may_be_weak`](runner_model::test::Expect::may_be_weak).
    pub(crate) may_be_weak: bool,
    /// Whether it has an input, and no attachment.
    pub(crate) has_only_input: bool,
}

/// Facts about the tests of a shape. Unknown after [`Suite::open`].
#[derive(Clone, Copy, Debug, Default)]
struct ShapeFacts {
    /// Number of tests without expectations.
    unchecked: u64,
    /// Index of the first of them.
    first_unchecked: u64,
    may_be_weak: bool,
    has_only_input: bool,
}

/// Creates a suite from its lines.
#[derive(Default)]
pub(crate) struct SuiteBuilder {
    outline: Outline,
    shapes: HashMap<Shape, u32>,
    hash: Sha256,
}

impl SuiteBuilder {
    /// Adds a test's line, with its line break.
    ///
    /// # Errors
    ///
    /// The exceeded bound.
    pub(crate) fn push(
        &mut self,
        line: &[u8],
        providers: &[u16],
        Repeat { max: repeat, until }: Repeat,
        facts: TestFacts,
    ) -> Result<(), &'static str> {
        let outline = &mut self.outline;
        if outline.tests.len() == MAX_TESTS {
            return Err("10,000,000 tests");
        }
        let trials = outline.trials + providers.len() as u64 * u64::from(repeat);
        if trials > MAX_TRIALS {
            return Err("100,000,000 trials");
        }
        let last = outline.tests.last().map_or(0, |test| test.shape);
        // Most tests have the shape of the one before, which saves a lookup.
        let is_last = outline.shapes.get(last as usize).is_some_and(|shape| {
            *shape.providers == *providers && shape.repeat == repeat && shape.until == until
        });
        let shape = if is_last {
            last
        } else {
            let shape = Shape { providers: providers.into(), repeat, until };
            *self.shapes.entry(shape).or_insert_with_key(|shape| {
                outline.shapes.push(shape.clone());
                outline.facts.push(ShapeFacts::default());
                (outline.shapes.len() - 1) as u32
            })
        };
        let of_shape = &mut outline.facts[shape as usize];
        of_shape.has_only_input |= facts.has_only_input;
        of_shape.may_be_weak |= facts.may_be_weak;
        if facts.is_unchecked {
            if of_shape.unchecked == 0 {
                of_shape.first_unchecked = outline.tests.len() as u64;
            }
            of_shape.unchecked += 1;
        }
        outline.tests.push(Entry {
            offset: outline.bytes,
            first_trial: outline.trials as u32,
            shape,
        });
        const EXIT_CODE: &[u8] = br#""exit_code":"#;
        const MAX_DURATION: &[u8] = br#""max_duration":"#;
        let has = |key: &[u8]| line.windows(key.len()).any(|part| part == key);
        outline.has_exit_codes |= has(EXIT_CODE);
        outline.has_max_durations |= has(MAX_DURATION);
        const GRADERS: &[u8] = br#""graders":"#;
        if line.windows(GRADERS.len()).any(|part| part == GRADERS)
            && let Ok(test) = serde_json::from_slice::<Test<'_>>(line)
        {
            outline.graders.extend(test.expect.graders);
        }
        outline.trials = trials;
        outline.bytes += line.len() as u64;
        self.hash.update(line);
        Ok(())
    }

    pub(crate) fn finish(
        mut self,
        file: File,
        providers: &[Provider],
        (blobs, bases): (BTreeMap<Digest, SuiteFile>, BTreeMap<Digest, Base>),
    ) -> Suite {
        // Growing may have reserved twice the memory.
        self.outline.tests.shrink_to_fit();
        Suite {
            file,
            outline: self.outline,
            digest: Digest(self.hash.finalize().into()),
            names: providers.iter().map(|provider| provider.name.clone()).collect(),
            blobs,
            bases,
            block: RefCell::default(),
            lookup: OnceCell::new(),
            last_found: Cell::new(0),
            members: None,
        }
    }
}

impl Suite {
    /// Opens a suite that [`crate::resolve`] wrote. `providers` are those of the scenario.
    ///
    /// # Errors
    ///
    /// The file is unreadable or damaged.
    pub fn open(mut file: File, providers: &[Provider]) -> io::Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            providers: Vec<u16>,
            #[serde(default = "one")]
            repeat: u32,
            until: Option<RepeatUntil>,
        }
        fn one() -> u32 {
            1
        }
        file.rewind()?;
        let mut builder = SuiteBuilder::default();
        let mut reader = BufReader::with_capacity(BLOCK, &file);
        let mut line = Vec::new();
        while {
            line.clear();
            reader.read_until(b'\n', &mut line)? > 0
        } {
            let bad = || {
                let number = builder.outline.tests.len() + 1;
                let message = format!("line {number} of the suite is damaged");
                io::Error::new(io::ErrorKind::InvalidData, message)
            };
            let test = line.strip_suffix(b"\n").ok_or_else(bad)?;
            let head: Head = serde_json::from_slice(test).map_err(|_| bad())?;
            let is_valid = id_of(test).is_some()
                && head.repeat > 0
                && !head.providers.is_empty()
                && head.providers.is_sorted_by(|a, b| a < b)
                && head.providers.iter().all(|index| usize::from(*index) < providers.len());
            if !is_valid {
                return Err(bad());
            }
            let facts = TestFacts::default();
            let repeat = Repeat { max: head.repeat, until: head.until };
            builder.push(&line, &head.providers, repeat, facts).map_err(|_| {
                io::Error::new(io::ErrorKind::InvalidData, "the suite is too large")
            })?;
        }
        Ok(builder.finish(file, providers, Default::default()))
    }

    /// Returns the suite with the trials of a shard only, and all tests.
    ///
    /// # Errors
    ///
    /// The file is unreadable.
    pub fn of_shard(mut self, shard: Option<Shard>) -> io::Result<Self> {
        if let Some(shard) = shard {
            let shards = (0..).zip(self.shards(shard.count())?);
            self.members =
                Some(shards.filter(|(_, of)| *of == shard.index()).map(|(own, _)| own).collect());
        }
        Ok(self)
    }

    /// Returns the shard's number, from 1, of each trial of the whole plan if there are `count` shards. Reads all ids.
    ///
    /// # Errors
    ///
    /// The file is unreadable.
    pub fn shards(&self, count: u32) -> io::Result<Vec<u32>> {
        let mut shards = Vec::with_capacity(self.outline.trials as usize);
        for test in 0..self.outline.tests.len() {
            let id =
                self.with_line(test, |line| TestId::parse(&id_of(line).unwrap_or_default()))?;
            let (id, (_, shape)) = (id.map_err(io::Error::other)?, self.outline.entry(test));
            for provider in &shape.providers {
                let provider = &self.names[usize::from(*provider)];
                shards.extend((1..=shape.repeat).map(|repeat| {
                    let trial = TrialId { test: id.clone(), provider: provider.clone(), repeat };
                    Shard::of(&trial, count).index()
                }));
            }
        }
        Ok(shards)
    }

    /// Returns whether the repeats of a test end by a rule.
    pub fn is_adaptive(&self) -> bool {
        self.outline.shapes.iter().any(|shape| shape.until.is_some())
    }

    /// Returns whether a test may expect an exit code.
    pub fn has_exit_codes(&self) -> bool {
        self.outline.has_exit_codes
    }

    /// Returns whether a test may expect a duration.
    pub fn has_max_durations(&self) -> bool {
        self.outline.has_max_durations
    }

    /// Returns the number of tests without expectations, and the id of the first, of those that run on a provider for which
    /// `is_counted` returns true. `None` without such a test, and after [`Suite::open`].
    pub fn unchecked(&self, is_counted: impl Fn(u16) -> bool) -> Option<(u64, String)> {
        let found = self.outline.shapes.iter().zip(&self.outline.facts).filter(|(shape, facts)| {
            facts.unchecked > 0 && shape.providers.iter().any(|provider| is_counted(*provider))
        });
        let facts: Vec<_> = found.map(|(_, facts)| *facts).collect();
        let first = facts.iter().map(|facts| facts.first_unchecked).min()?;
        Some((facts.iter().map(|facts| facts.unchecked).sum(), self.id(first)?))
    }

    /// Returns whether a test may have a check that passes whatever an attempt does. False after [`Suite::open`].
    pub fn may_be_weak(&self) -> bool {
        self.outline.facts.iter().any(|facts| facts.may_be_weak)
    }

    /// Returns whether a test on a provider has an input and no attachment. False after [`Suite::open`].
    pub fn has_only_input(&self, provider: u16) -> bool {
        let mut shapes = self.outline.shapes.iter().zip(&self.outline.facts);
        shapes.any(|(shape, facts)| facts.has_only_input && shape.providers.contains(&provider))
    }

    /// Returns the names of the graders that judge outputs of a test.
    pub fn graders(&self) -> &BTreeSet<String> {
        &self.outline.graders
    }

    /// Returns the SHA-256 of the file.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the attachments and schemas of its tests by digest. Empty after [`Suite::open`]: then they are stored.
    pub fn blobs(&self) -> &BTreeMap<Digest, SuiteFile> {
        &self.blobs
    }

    /// Returns the bases of workspaces by digest. Empty after [`Suite::open`].
    pub fn bases(&self) -> &BTreeMap<Digest, Base> {
        &self.bases
    }

    /// Returns the id of a test. `None` if the file is unreadable.
    pub fn id(&self, test: u64) -> Option<String> {
        self.with_line(test as usize, |line| Some(id_of(line)?.to_string())).ok()?
    }

    /// Returns the names of the providers that a test runs on.
    pub fn providers(&self, test: u64) -> impl Iterator<Item = &str> {
        let (_, shape) = self.outline.entry(test as usize);
        shape.providers.iter().filter_map(|index| Some(&**self.names.get(usize::from(*index))?))
    }

    /// Returns the number of tests.
    pub fn tests(&self) -> u64 {
        self.outline.tests.len() as u64
    }

    /// Reads a test's line, without its line break, into `line`, which is cleared first. Tests in order share system calls.
    ///
    /// # Errors
    ///
    /// The file is unreadable.
    ///
    /// # Panics
    ///
    /// If there is no such test.
    pub fn line(&self, test: u64, line: &mut Vec<u8>) -> io::Result<()> {
        line.clear();
        self.with_line(test as usize, |bytes| line.extend_from_slice(bytes))
    }

    fn with_line<T>(&self, test: usize, read: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
        let start = self.outline.tests[test].offset;
        let end = match self.outline.tests.get(test + 1) {
            Some(next) => next.offset,
            None => self.outline.bytes,
        } - 1;
        let mut block = self.block.borrow_mut();
        if start < block.start || end > block.start + block.bytes.len() as u64 {
            let length = (end - start).max(BLOCK as u64).min(self.outline.bytes - start);
            block.start = start;
            block.bytes.resize(length as usize, 0);
            // A failed read leaves unknown bytes in the block.
            self.file
                .read_exact_at(&mut block.bytes, start)
                .inspect_err(|_| block.bytes.clear())?;
        }
        let at = (start - block.start) as usize;
        Ok(read(&block.bytes[at..at + (end - start) as usize]))
    }

    /// Returns the trial of an index below [`Places::trials`].
    ///
    /// # Panics
    ///
    /// If there is no such trial.
    pub fn trial(&self, index: u64) -> PlannedTrial {
        self.whole_trial(self.members.as_ref().map_or(index, |all| all[index as usize].into()))
    }

    fn whole_trial(&self, index: u64) -> PlannedTrial {
        let test = self.outline.test_of(index);
        let (entry, shape) = self.outline.entry(test);
        let within = (index - u64::from(entry.first_trial)) as u32;
        PlannedTrial {
            test: test as u64,
            provider: shape.providers[(within / shape.repeat) as usize],
            repeat: within % shape.repeat + 1,
        }
    }

    /// Returns the id of the trial of an index below [`Places::trials`]. `None` if the file is unreadable.
    pub fn trial_id(&self, index: u64) -> Option<TrialId> {
        let PlannedTrial { test, provider, repeat } = self.trial(index);
        let provider = self.names.get(usize::from(provider))?.clone();
        Some(TrialId { test: TestId::parse(&self.id(test)?).ok()?, provider, repeat })
    }

    /// Returns the first trial of `provider` with an index of at least `from`.
    pub fn next_trial(&self, provider: u16, from: u64) -> Option<u64> {
        if from >= self.trials() {
            return None;
        }
        if self.members.is_some() {
            return (from..self.trials()).find(|index| self.trial(*index).provider == provider);
        }
        (self.outline.test_of(from)..self.outline.tests.len()).find_map(|test| {
            let trials = self.outline.trials_of(test, provider)?;
            (from < trials.end).then(|| trials.start.max(from))
        })
    }

    /// Returns the index of the test with an id.
    pub fn test(&self, id: &str) -> Option<usize> {
        let has_id = |test: &usize| {
            self.with_line(*test, |line| id_of(line).is_some_and(|own| *own == *id))
                .unwrap_or(false)
        };
        let last = self.last_found.get();
        let tests = self.outline.tests.len();
        let near = (last..tests.min(last + 2)).find(has_id);
        let found = near.or_else(|| self.look_up(id, has_id));
        self.last_found.set(found.unwrap_or(last));
        found
    }

    fn look_up(&self, id: &str, has_id: impl Fn(&usize) -> bool) -> Option<usize> {
        let table = self.lookup.get_or_init(|| self.new_lookup());
        let id_hash = hash(id) >> INDEX_BITS;
        let first = table.partition_point(|entry| entry >> INDEX_BITS < id_hash);
        // Ids may share a hash, so the line decides.
        table[first..]
            .iter()
            .take_while(|entry| **entry >> INDEX_BITS == id_hash)
            .map(|entry| (entry & ((1 << INDEX_BITS) - 1)) as usize)
            .find(has_id)
    }

    fn new_lookup(&self) -> Vec<u64> {
        let entries = (0..self.outline.tests.len()).map(|index| {
            let hash = self.with_line(index, |line| hash(&id_of(line).unwrap_or_default()));
            hash.unwrap_or_default() >> INDEX_BITS << INDEX_BITS | index as u64
        });
        let mut table: Vec<u64> = entries.collect();
        table.sort_unstable();
        table
    }
}

// A test whose line became unreadable has no trials.
impl Places for Suite {
    fn index(&self, trial: &TrialId) -> Option<u64> {
        let provider = self.names.iter().position(|name| *name == trial.provider)?;
        let test = self.test(&trial.test)?;
        let trials = self.outline.trials_of(test, provider as u16)?;
        let index = trials.start + u64::from(trial.repeat.checked_sub(1)?);
        let index = trials.contains(&index).then_some(index)?;
        match &self.members {
            Some(members) => members.binary_search(&(index as u32)).ok().map(|own| own as u64),
            None => Some(index),
        }
    }

    fn trials(&self) -> u64 {
        self.members.as_ref().map_or(self.outline.trials, |members| members.len() as u64)
    }

    /// Empty in a shard, whose trials are any repeats: plans refuse the combination.
    fn adaptive(&self) -> Vec<AdaptiveRepeats> {
        let mut adaptive = Vec::new();
        if !self.is_adaptive() || self.members.is_some() {
            return adaptive;
        }
        for test in 0..self.outline.tests.len() {
            let (entry, Shape { providers, repeat, until }) = self.outline.entry(test);
            let Some(until) = *until else { continue };
            let first = u64::from(entry.first_trial);
            adaptive.extend((0..providers.len() as u64).map(|place| AdaptiveRepeats {
                first: first + place * u64::from(*repeat),
                max: *repeat,
                until,
            }));
        }
        adaptive
    }
}

impl Outline {
    fn entry(&self, test: usize) -> (Entry, &Shape) {
        let entry = self.tests[test];
        (entry, &self.shapes[entry.shape as usize])
    }

    /// Returns the test of a trial.
    fn test_of(&self, trial: u64) -> usize {
        self.tests.partition_point(|entry| u64::from(entry.first_trial) <= trial) - 1
    }

    /// Returns the trials of a test on a provider.
    fn trials_of(&self, test: usize, provider: u16) -> Option<Range<u64>> {
        let (entry, shape) = self.entry(test);
        let position = shape.providers.binary_search(&provider).ok()?;
        let repeat = u64::from(shape.repeat);
        let first = u64::from(entry.first_trial) + position as u64 * repeat;
        Some(first..first + repeat)
    }
}

/// Returns the id in a test's line, which is the first key.
fn id_of(line: &[u8]) -> Option<Text<'_>> {
    let rest = line.strip_prefix(br#"{"id":"#)?;
    Text::deserialize(&mut serde_json::Deserializer::from_slice(rest)).ok()
}

/// Returns the hash of a test's id. It is never written to disk, since it may change with the toolchain.
pub(crate) fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}
