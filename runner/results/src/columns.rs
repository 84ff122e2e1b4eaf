//! The entries of a table.

use runner_model::Outcome;

use crate::row::{NO_ROW, SETTLES};

/// Bits of [`RowEntry::place`] for the length of a line, which is below 1 MiB.
pub(crate) const LENGTH_BITS: u32 = 20;

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

/// A trial of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TrialEntry {
    pub(crate) test: u32,
    pub(crate) provider: u16,
    pub(crate) repeat: u32,
    /// The row that settles the trial, or else its last one.
    pub(crate) newest: u32,
}

impl TrialEntry {
    pub(crate) fn key(&self) -> (u32, u16, u32) {
        (self.test, self.provider, self.repeat)
    }
}

/// A row of a table, in 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RowEntry {
    /// First byte, and length in the low bits.
    pub(crate) place: u64,
    pub(crate) fingerprints: [u32; 2],
    pub(crate) trial: u32,
    pub(crate) duration_ms: f32,
    pub(crate) ended_ms: u32,
    pub(crate) outcome: Outcome,
    pub(crate) flags: u8,
    /// Number of the worker on another machine, from 1. 0 for this machine.
    pub(crate) worker: u16,
}

/// Replaces the newest row of a trial unless that settles the trial and this one does not.
pub(crate) fn replace_newest(rows: &[RowEntry], newest: &mut u32, row: u32) {
    let settles = |row: u32| rows[row as usize].flags & SETTLES != 0;
    if *newest == NO_ROW || settles(row) || !settles(*newest) {
        *newest = row;
    }
}

/// A column that most runs have no values for: not a number for a row without one. Its end without values is missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sparse(pub(crate) Vec<f64>);

impl Sparse {
    pub(crate) fn get(&self, row: u32) -> Option<f64> {
        self.0.get(row as usize).copied().filter(|value| !value.is_nan())
    }

    pub(crate) fn set(&mut self, row: u32, value: Option<f64>) {
        if let Some(value) = value {
            self.0.resize(row as usize, f64::NAN);
            self.0.push(value);
        }
    }
}
