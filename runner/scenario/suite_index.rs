//! [`SuiteIndex`]: where in the file of a suite blocks of tests begin, which is all that is remembered of it.

/// As many as are assigned to a worker at once, about: of a larger block each of them would read what is for others.
const BLOCK_TESTS: u64 = 32;
const BLOCK_BYTES: u64 = 1 << 20;

/// Where blocks of tests begin.
#[derive(Clone, Debug, Default)]
pub(super) struct SuiteIndex {
    pub(super) blocks: Vec<TestBlock>,
    pub(super) bytes: u64,
    pub(super) tests: u64,
    pub(super) trials: u64,
    /// Where the lines are that define schemas, and how long each is.
    pub(super) definitions: Vec<(u64, u64)>,
}

/// Where a block begins: its first byte, and the places of its first test and of that test's first trial.
#[derive(Clone, Copy, Debug)]
pub(super) struct TestBlock {
    pub(super) offset: u64,
    pub(super) test: u64,
    pub(super) ordinal: u64,
}

impl SuiteIndex {
    /// Tells whether each test of a block makes one trial, as mostly.
    pub(super) fn has_one_trial_each(&self, number: usize) -> bool {
        let (block, next) = (self.blocks[number], self.blocks.get(number + 1));
        let tests = next.map_or(self.tests, |next| next.test);
        let trials = next.map_or(self.trials, |next| next.ordinal);
        tests.checked_sub(block.test) == trials.checked_sub(block.ordinal)
    }

    /// Takes the next line, which defines a schema and has so many bytes.
    pub(super) fn define(&mut self, length: u64) {
        self.definitions.push((self.bytes, length));
    }

    /// Takes the next test, which makes so many trials.
    pub(super) fn add(&mut self, trials: u64) {
        let is_full = self.blocks.last().is_none_or(|block| {
            self.tests - block.test == BLOCK_TESTS || self.bytes - block.offset >= BLOCK_BYTES
        });
        if is_full {
            self.blocks.push(TestBlock {
                offset: self.bytes,
                test: self.tests,
                ordinal: self.trials,
            });
        }
        self.tests += 1;
        self.trials = self.trials.saturating_add(trials);
    }
}
