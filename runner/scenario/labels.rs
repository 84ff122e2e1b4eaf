//! [`TestLabels`]: what the tests of a stored suite say of themselves, read without the rest of them.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader},
};

use super::{skimmed_test::SkimmedTest, suite::DEFINITION, whole_file::WholeFile};

/// What the tests of a suite say of themselves, by the ordinals of their trials.
#[derive(Debug, Default)]
pub struct TestLabels {
    /// Tests that follow each other and say the same are one.
    ranges: Vec<LabelledTrials>,
    end: u64,
}

#[derive(Debug)]
struct LabelledTrials {
    /// The ordinal of their first trial.
    from: u64,
    label: TestLabel,
}

/// What a test says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestLabel {
    /// Its tags.
    pub tags: Vec<String>,
    /// Its metadata as JSON, as it is stored; empty if it has none.
    pub meta: String,
}

impl TestLabels {
    /// Reads them of the file of a stored suite.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read or is damaged.
    pub fn read(file: &File) -> io::Result<Self> {
        let mut labels = Self::default();
        let mut reader = BufReader::with_capacity(1 << 18, WholeFile::new(file));
        let mut line = Vec::new();
        let mut last = (String::new(), String::new());
        while reader.read_until(b'\n', &mut line)? > 0 {
            if !line.starts_with(DEFINITION.as_bytes()) {
                let test = SkimmedTest::read(&line)?;
                let meta = test.meta.unwrap_or_default();
                let is_next = labels.ranges.is_empty();
                if is_next || last.0 != test.tags || last.1 != meta {
                    last = (test.tags.to_owned(), meta.to_owned());
                    labels.begin(serde_json::from_str(test.tags)?, meta);
                }
                labels.end += test.trials()?;
            }
            line.clear();
        }
        Ok(labels)
    }

    fn begin(&mut self, tags: Vec<String>, meta: &str) {
        self.ranges.push(LabelledTrials {
            from: self.end,
            label: TestLabel {
                tags,
                meta: meta.to_owned(),
            },
        });
    }

    /// What the test of the trial with this ordinal says of itself; `None` if there is no such trial.
    pub fn of(&self, ordinal: u64) -> Option<&TestLabel> {
        let behind = self.ranges.partition_point(|range| range.from <= ordinal);
        let range = self.ranges.get(behind.checked_sub(1)?)?;
        (ordinal < self.end).then_some(&range.label)
    }
}
