//! [`ExpectationReader`]: what the tests of a suite expect, read without the rest of them.

use std::{collections::HashMap, io, ops::Range, sync::Arc};

use super::{
    Expect, Suite,
    skimmed_test::{SkimmedTest, top_keys},
    suite::{DEFINITION, out_of_range},
    test_digests::{judgement_digest, with_reference},
    test_line::read_expect,
};
use crate::model::{Digest, lines_of};

/// Bytes of the file that a reader keeps.
const MOST_BYTES: usize = 1 << 20;

/// What a test expects.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// What must come.
    pub expect: Arc<Expect>,
    /// SHA-256 of what decides what an output means: the expectation, and the reference if there is one.
    pub judgement: Digest,
}

/// Reads what tests expect, by their places in the suite.
#[derive(Clone, Debug)]
pub struct ExpectationReader {
    suite: Suite,
    /// The blocks that were read lately, by their places.
    blocks: HashMap<usize, ExpectationBlock>,
    bytes: usize,
    /// What was expected last, with its text: the next test mostly expects the same, or each something of its own.
    last: Option<LastExpectation>,
}

/// The text of an expectation, and what that means without a reference.
#[derive(Clone, Debug)]
struct LastExpectation {
    text: Box<str>,
    means: Expectation,
}

#[derive(Clone, Debug)]
struct ExpectationBlock {
    bytes: Vec<u8>,
    /// Where the line of each test is.
    lines: Vec<Range<usize>>,
    /// The first trial of each test, counted from the first one of the block; empty until somebody asks.
    firsts: Vec<u64>,
}

impl ExpectationReader {
    /// Makes a reader for the tests of rows: they come as workers have made them.
    pub fn new(suite: &Suite) -> Self {
        Self {
            suite: suite.clone(),
            blocks: HashMap::new(),
            bytes: 0,
            last: None,
        }
    }

    /// The place of the test of the trial with this ordinal.
    ///
    /// # Errors
    ///
    /// Fails if there is none, or its test cannot be read.
    pub fn place_of(&mut self, ordinal: u64) -> io::Result<u64> {
        let index = &self.suite.inner.index;
        let blocks = &index.blocks;
        let number = blocks.partition_point(|block| block.ordinal <= ordinal);
        let number = number.checked_sub(1).ok_or_else(out_of_range)?;
        if ordinal >= index.trials {
            return Err(out_of_range());
        }
        let (block, next) = (blocks[number], blocks.get(number + 1));
        let tests = next.map_or(index.tests, |next| next.test) - block.test;
        let trials = next.map_or(index.trials, |next| next.ordinal) - block.ordinal;
        if tests == trials {
            return Ok(block.test + (ordinal - block.ordinal));
        }
        self.load(number)?;
        let loaded = self.blocks.get_mut(&number).ok_or_else(out_of_range)?;
        let behind = loaded.behind(ordinal - block.ordinal)?;
        Ok(block.test + behind - 1)
    }

    /// What the test at `index` expects.
    ///
    /// # Errors
    ///
    /// Fails if there is none, or it cannot be read.
    pub fn at(&mut self, index: u64) -> io::Result<Expectation> {
        let read = self.read(index, |_| true)?;
        read.ok_or_else(out_of_range)
    }

    /// How many checks a reply comes to by what the test at `index` expects, unless a plain command has given it; `None` if that
    /// takes a look at the reply, or at all of the expectation.
    ///
    /// # Errors
    ///
    /// Fails if there is none, or it cannot be read.
    pub fn checks_at(&mut self, index: u64) -> io::Result<Option<usize>> {
        let place = self.find(index)?;
        let test = SkimmedTest::read(self.blocks[&place.0].line(place.1)?)?;
        let Some(keys) = top_keys(test.expect) else {
            return Ok(None);
        };
        let checks = keys.iter().map(|key| match *key {
            "equals" | "json" | "matches" | "max_duration" | "max_memory" | "schema" => Some(1),
            "tolerance" => Some(0),
            _ => None,
        });
        Ok(checks.sum())
    }

    /// The same if a test is there that has this id.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read.
    pub fn at_if(&mut self, index: u64, id: &str) -> io::Result<Option<Expectation>> {
        match index < self.suite.test_count() {
            true => self.read(index, |test| test.id == id),
            false => Ok(None),
        }
    }

    fn read(
        &mut self,
        index: u64,
        is_meant: impl FnOnce(&SkimmedTest<'_>) -> bool,
    ) -> io::Result<Option<Expectation>> {
        let place = self.find(index)?;
        let Self {
            suite,
            blocks,
            last,
            ..
        } = self;
        let test = SkimmedTest::read(blocks[&place.0].line(place.1)?)?;
        if !is_meant(&test) {
            return Ok(None);
        }
        let known = last.as_ref().filter(|last| *last.text == *test.expect);
        let mut means = match known {
            Some(last) => last.means.clone(),
            None => {
                let means = Expectation {
                    expect: Arc::new(read_expect(test.expect, &suite.inner.schemas)?),
                    judgement: judgement_digest(test.expect),
                };
                *last = Some(LastExpectation {
                    text: test.expect.into(),
                    means: means.clone(),
                });
                means
            }
        };
        if let Some(reference) = test.reference {
            means.judgement = with_reference(means.judgement, reference);
        }
        Ok(Some(means))
    }

    /// The id of the test at `index`.
    ///
    /// # Errors
    ///
    /// Fails if there is none, or it cannot be read.
    pub fn id_at(&mut self, index: u64) -> io::Result<&str> {
        let place = self.find(index)?;
        let line = self.blocks[&place.0].line(place.1)?;
        SkimmedTest::read(line).map(|test| test.id)
    }

    /// In which block a test is, and which of that it is; the block is there then.
    fn find(&mut self, index: u64) -> io::Result<(usize, usize)> {
        let blocks = &self.suite.inner.index.blocks;
        let number = blocks.partition_point(|block| block.test <= index);
        let number = number.checked_sub(1).ok_or_else(out_of_range)?;
        let nth = index - blocks[number].test;
        self.load(number)?;
        Ok((number, usize::try_from(nth).map_err(|_| out_of_range())?))
    }

    fn load(&mut self, number: usize) -> io::Result<()> {
        if self.blocks.contains_key(&number) {
            return Ok(());
        }
        let mut bytes = Vec::new();
        self.suite.inner.read_block(number, &mut bytes)?;
        if self.bytes + bytes.len() > MOST_BYTES {
            self.blocks.clear();
            self.bytes = 0;
        }
        self.bytes += bytes.len();
        self.blocks.insert(number, ExpectationBlock::new(bytes));
        Ok(())
    }
}

impl ExpectationBlock {
    fn new(bytes: Vec<u8>) -> Self {
        let mut lines = Vec::new();
        let mut start = 0;
        for line in lines_of(&bytes) {
            let range = start..start + line.len();
            start = range.end;
            if !line.starts_with(DEFINITION.as_bytes()) {
                lines.push(range);
            }
        }
        Self {
            bytes,
            lines,
            firsts: Vec::new(),
        }
    }

    fn line(&self, nth: usize) -> io::Result<&[u8]> {
        let range = self.lines.get(nth).ok_or_else(out_of_range)?;
        Ok(&self.bytes[range.clone()])
    }

    /// How many tests begin at a trial of the block or before it.
    fn behind(&mut self, trial: u64) -> io::Result<u64> {
        if self.firsts.is_empty() {
            let mut first = 0;
            for range in &self.lines {
                self.firsts.push(first);
                first += SkimmedTest::read(&self.bytes[range.clone()])?.trials()?;
            }
        }
        Ok(self.firsts.partition_point(|first| *first <= trial) as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write as _, path::Path};

    use super::ExpectationReader;
    use crate::scenario::{self, Selection};

    #[test]
    fn a_test_expects_what_it_does_where_all_of_it_is_read() {
        let mut text =
            "name = \"read\"\nproviders.a.plugin = \"plugins/echo\"\nproviders.b.plugin = \"plugins/echo\"\n"
                .to_owned();
        for number in 0..100 {
            write!(text, "[[tests]]\nid = \"t{number}\"\n").unwrap();
            // Blocks in which each test has one trial, and others.
            let more = match number {
                0..40 => "providers = [\"a\"]\nexpect.equals = 1\n".to_owned(),
                _ if number % 7 == 0 => "repeat = 3\nreference = \"good\"\n".to_owned(),
                _ => format!("expect = {{ contains = \"{number}\", min_score = 0.5 }}\n"),
            };
            text.push_str(&more);
        }
        let scenario = scenario::parse(Path::new("read.toml"), &text).unwrap();
        let suite = scenario::normalise(&scenario, &Selection::default()).unwrap();
        let (mut whole, mut part) = (suite.reader_of_rows(), ExpectationReader::new(&suite));
        for ordinal in 0..suite.trial_count() {
            let (test, ..) = whole.at(ordinal).unwrap();
            assert_eq!(part.place_of(ordinal).unwrap(), test.index);
            let read = part.at(test.index).unwrap();
            assert_eq!(read.judgement, test.judgement);
            assert_eq!(read.expect.told(), test.expect.told());
            let counted = part.checks_at(test.index).unwrap();
            assert_eq!(
                counted,
                (test.index < 40)
                    .then_some(1)
                    .or((test.index % 7 == 0).then_some(0))
            );
            let id = test.id.as_str();
            assert_eq!(part.id_at(test.index).unwrap(), id);
            assert!(part.at_if(test.index, id).unwrap().is_some());
            assert!(part.at_if(test.index, "another").unwrap().is_none());
        }
        assert!(part.place_of(suite.trial_count()).is_err());
        assert!(part.at(suite.test_count()).is_err());
        assert!(part.at_if(suite.test_count(), "t0").unwrap().is_none());
    }
}
