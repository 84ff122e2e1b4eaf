//! The columns of a table.

use runner_model::{Outcome, row::MetricSums};

use crate::row::{NO_ROW, SETTLES, TableRow};

/// Bits of [`RowColumns::place`] for the length of a line, which is below 1 MiB.
const LENGTH_BITS: u32 = 20;

/// Texts by their number, one after another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) text: String,
    pub(crate) ends: Vec<u32>,
}

impl Names {
    pub(crate) fn len(&self) -> u32 {
        self.ends.len() as u32
    }

    pub(crate) fn get(&self, number: u32) -> &str {
        let number = number as usize;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start as usize..self.ends[number] as usize]
    }

    /// Adds a text, and returns its number.
    pub(crate) fn push(&mut self, text: &str) -> u32 {
        self.text.push_str(text);
        self.ends.push(self.text.len() as u32);
        self.len() - 1
    }
}

/// One entry for each trial.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TrialColumns {
    pub(crate) test: Vec<u32>,
    pub(crate) provider: Vec<u16>,
    pub(crate) repeat: Vec<u32>,
    /// The row that settles the trial, or else its last one.
    pub(crate) newest: Vec<u32>,
}

impl TrialColumns {
    /// Returns test, provider and repeat of a trial.
    pub(crate) fn key(&self, trial: u32) -> (u32, u16, u32) {
        let trial = trial as usize;
        (self.test[trial], self.provider[trial], self.repeat[trial])
    }

    /// Adds a trial without rows, and returns its number.
    pub(crate) fn push(&mut self, (test, provider, repeat): (u32, u16, u32)) -> u32 {
        self.test.push(test);
        self.provider.push(provider);
        self.repeat.push(repeat);
        self.newest.push(NO_ROW);
        self.test.len() as u32 - 1
    }
}

/// One entry for each row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RowColumns {
    /// First byte, and length in the low bits.
    pub(crate) place: Vec<u64>,
    pub(crate) trial: Vec<u32>,
    pub(crate) duration_ms: Vec<f32>,
    pub(crate) ended_ms: Vec<u32>,
    pub(crate) fingerprints: Vec<[u32; 2]>,
    pub(crate) outcome: Vec<Outcome>,
    pub(crate) flags: Vec<u8>,
    pub(crate) score: Sparse,
    pub(crate) tokens: Sparse,
    pub(crate) cost_usd: Sparse,
}

/// A column that most runs have no values for: not a number for a row without one. Its end without values is missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sparse(pub(crate) Vec<f64>);

impl Sparse {
    pub(crate) fn get(&self, row: u32) -> Option<f64> {
        self.0.get(row as usize).copied().filter(|value| !value.is_nan())
    }

    fn set(&mut self, row: u32, value: Option<f64>) {
        if let Some(value) = value {
            self.0.resize(row as usize, f64::NAN);
            self.0.push(value);
        }
    }
}

impl RowColumns {
    pub(crate) fn reserve(&mut self, rows: usize) {
        self.place.reserve_exact(rows);
        self.trial.reserve_exact(rows);
        self.duration_ms.reserve_exact(rows);
        self.ended_ms.reserve_exact(rows);
        self.fingerprints.reserve_exact(rows);
        self.outcome.reserve_exact(rows);
        self.flags.reserve_exact(rows);
    }

    /// Adds a row with this number. `at` is its first byte, and `bytes` its length.
    pub(crate) fn push(&mut self, row: TableRow, (at, bytes): (u64, usize), sums: MetricSums) {
        self.place.push(at << LENGTH_BITS | bytes as u64);
        self.trial.push(row.trial);
        self.duration_ms.push(row.duration_ms);
        self.ended_ms.push(row.ended_ms);
        self.outcome.push(row.outcome);
        self.flags.push(row.flags);
        self.score.set(row.number, row.score);
        self.tokens.set(row.number, sums.tokens);
        self.cost_usd.set(row.number, sums.cost_usd);
    }

    pub(crate) fn row(&self, number: u32) -> TableRow {
        let index = number as usize;
        TableRow {
            number,
            trial: self.trial[index],
            outcome: self.outcome[index],
            duration_ms: self.duration_ms[index],
            score: self.score.get(number),
            ended_ms: self.ended_ms[index],
            flags: self.flags[index],
        }
    }

    pub(crate) fn place(&self, row: u32) -> (u64, usize) {
        let place = self.place[row as usize];
        (place >> LENGTH_BITS, (place & ((1 << LENGTH_BITS) - 1)) as usize)
    }

    pub(crate) fn sums(&self, row: u32) -> MetricSums {
        MetricSums { tokens: self.tokens.get(row), cost_usd: self.cost_usd.get(row) }
    }

    /// Replaces the newest row of a row's trial unless that settles the trial and this one does not.
    pub(crate) fn replace_newest(&self, newest: &mut [u32], row: u32) {
        let newest = &mut newest[self.trial[row as usize] as usize];
        let settles = |row: u32| self.flags[row as usize] & SETTLES != 0;
        if *newest == NO_ROW || settles(row) || !settles(*newest) {
            *newest = row;
        }
    }
}
