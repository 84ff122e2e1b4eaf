//! [`ExpectationReader`]: what the tests of a suite expect, read without the rest of them.

use std::{io, sync::Arc};

use super::{
    Expect, Suite,
    expected::read_expect,
    skimmed_test::{SkimmedTest, TestLineEnd, skimmed_expect, top_keys},
    suite::{TestLines, out_of_range},
    test_digests::{judgement_digest, with_reference},
};
use crate::model::Digest;

/// Bytes of the file that a reader keeps.
const MOST_BYTES: usize = 512 * 1024;

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
    lines: TestLines,
    /// How the last line ends of which all was read.
    last_end: TestLineEnd,
    /// What was expected last, with its text: the next test mostly expects the same, or each something of its own.
    last: Option<LastExpectation>,
}

/// The text of an expectation, and what that means without a reference.
#[derive(Clone, Debug)]
struct LastExpectation {
    text: Box<str>,
    means: Expectation,
}

/// What a test is judged by that expects an output that is written like this, and nothing else.
pub fn judgement_of_equals(output: &str) -> Digest {
    judgement_digest(&format!("{{\"equals\":{output}}}"))
}

impl ExpectationReader {
    /// Makes a reader for the tests of rows: they come as workers have made them.
    pub fn new(suite: &Suite) -> Self {
        Self {
            lines: TestLines::new(suite, MOST_BYTES),
            last_end: TestLineEnd::default(),
            last: None,
        }
    }

    /// The place of the test of the trial with this ordinal.
    ///
    /// # Errors
    ///
    /// Fails if there is none, or its test cannot be read.
    pub fn place_of(&mut self, ordinal: u64) -> io::Result<u64> {
        self.lines.place_of(ordinal)
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
        let line = self.lines.line(index)?;
        let expect = match skimmed_expect(line) {
            Some(expect) => expect,
            None => SkimmedTest::read(line)?.expect,
        };
        let Some(keys) = top_keys(expect) else {
            return Ok(None);
        };
        let checks = keys.iter().map(|(key, _)| match *key {
            "equals" | "json" | "matches" | "max_duration" | "max_memory" | "schema" => Some(1),
            "tolerance" => Some(0),
            _ => None,
        });
        Ok(checks.sum())
    }

    /// If a test is there that has this id, and expects nothing but what an output that is written like this has: the checks
    /// of that, which hold then, and what it is judged by.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read.
    pub fn held_by(
        &mut self,
        index: u64,
        id: &str,
        output: &str,
    ) -> io::Result<Option<(Vec<&'static str>, Digest)>> {
        if index >= self.lines.suite.test_count() {
            return Ok(None);
        }
        let line = self.lines.line(index)?;
        let (expect, is_id, reference) = match self.last_end.expect_and_id(line) {
            Some((expect, found)) => (expect, found == id, None),
            None => {
                let test = SkimmedTest::read(line)?;
                self.last_end = TestLineEnd::of(line);
                (test.expect, test.id == id, test.reference)
            }
        };
        let Some(keys) = top_keys(expect).filter(|_| is_id) else {
            return Ok(None);
        };
        let held = keys.iter().map(|(key, value)| match *key {
            "equals" if *value == output => Some("equals"),
            "json" if *value == output => Some("json"),
            _ => None,
        });
        let held: Option<Vec<_>> = held.collect();
        Ok(held.map(|held| {
            let judgement = judgement_digest(expect);
            let judgement = match reference {
                Some(reference) => with_reference(judgement, reference),
                None => judgement,
            };
            (held, judgement)
        }))
    }

    /// The same if a test is there that has this id.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read.
    pub fn at_if(&mut self, index: u64, id: &str) -> io::Result<Option<Expectation>> {
        match index < self.lines.suite.test_count() {
            true => self.read(index, |test| test.id == id),
            false => Ok(None),
        }
    }

    fn read(
        &mut self,
        index: u64,
        is_meant: impl FnOnce(&SkimmedTest<'_>) -> bool,
    ) -> io::Result<Option<Expectation>> {
        let schemas = Arc::clone(&self.lines.suite.inner.schemas);
        let Self { lines, last, .. } = self;
        let test = SkimmedTest::read(lines.line(index)?)?;
        if !is_meant(&test) {
            return Ok(None);
        }
        let known = last.as_ref().filter(|last| *last.text == *test.expect);
        let mut means = match known {
            Some(last) => last.means.clone(),
            None => {
                let means = Expectation {
                    expect: Arc::new(read_expect(test.expect, &schemas)?),
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
        SkimmedTest::read(self.lines.line(index)?).map(|test| test.id)
    }
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write as _, path::Path};

    use super::{ExpectationReader, judgement_of_equals};
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
            assert_eq!(read.expect.told(), test.expect.whole().told());
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
            let held = part.held_by(test.index, id, "1").unwrap();
            let is_one = judgement_of_equals("1") == test.judgement;
            assert_eq!(is_one, test.index < 40);
            let checks = match test.index {
                0..40 => Some(vec!["equals"]),
                index if index % 7 == 0 => Some(vec![]),
                _ => None,
            };
            assert_eq!(held, checks.map(|checks| (checks, test.judgement)));
            let others = part.held_by(test.index, id, "2").unwrap();
            assert_eq!(others.is_some(), held.is_some() && test.index >= 40);
            assert_eq!(part.held_by(test.index, "another", "1").unwrap(), None);
        }
        assert!(part.place_of(suite.trial_count()).is_err());
        assert!(part.at(suite.test_count()).is_err());
        assert_eq!(part.held_by(suite.test_count(), "t0", "1").unwrap(), None);
        assert!(part.at_if(suite.test_count(), "t0").unwrap().is_none());
    }
}
