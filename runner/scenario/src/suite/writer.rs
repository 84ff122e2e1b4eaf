//! [`SuiteWriter`]: writes the lines of planned tests.

use std::fs::File;
use std::io::{BufWriter, Write};

use crate::{
    problem::Problem,
    suite::{
        SuiteBuilder,
        planner::{Block, cannot_write},
    },
};

/// Writes the lines of planned tests.
pub(crate) struct SuiteWriter<'f> {
    builder: SuiteBuilder,
    out: BufWriter<&'f mut File>,
    /// The hashes of the ids of all tests, selected or not.
    pub(crate) hashes: Vec<u64>,
}

impl<'f> SuiteWriter<'f> {
    pub(crate) fn new(into: &'f mut File) -> Self {
        let out = BufWriter::with_capacity(64 << 10, into);
        Self { builder: SuiteBuilder::default(), out, hashes: Vec::new() }
    }

    /// Writes the tests of a block. No more can be added after an error.
    pub(crate) fn add(&mut self, block: &Block) -> Result<(), Problem> {
        let mut start = 0;
        for test in &block.tests {
            self.hashes.push(test.hash);
            if test.providers.is_empty() {
                continue;
            }
            let line = &block.lines[start..test.end];
            start = test.end;
            self.builder.push(line, &test.providers, test.repeat).map_err(|bound| {
                Problem::new(format!("a run has at most {bound}, but the scenario has more"))
                    .with_help("select some with `--test` or `--provider`, or lower `repeat`")
            })?;
            self.out.write_all(line).map_err(|error| cannot_write(&error))?;
        }
        Ok(())
    }

    /// Flushes the lines.
    pub(crate) fn finish(mut self) -> Result<SuiteBuilder, Problem> {
        self.out.flush().map_err(|error| cannot_write(&error))?;
        Ok(self.builder)
    }
}
