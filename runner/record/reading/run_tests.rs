//! [`RunTests`]: what each test of a run came to, in some dozen bytes each.

use std::{collections::HashMap, fmt::Write as _, str::Split};

use super::reader::RunReader;
use crate::{
    model::Outcome,
    record::{
        error::RecordError,
        format::{row::Row, row_digest::LineFingerprint},
    },
};

/// What stands between the parts of a line.
const TAB: char = '\t';

/// What each test of a run came to with each of its providers, as lines of text: of many runs there are a great many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunTests(String);

/// What a test came to with a provider.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunTest<'a> {
    /// Its test and its provider, with a tab between them.
    pub key: &'a str,
    /// How many of its trials passed.
    pub passed: u32,
    /// How many passed, failed, ended in an error or timed out.
    pub judged: u32,
    /// What the first of them came to that did not pass, or else the first of all.
    pub outcome: Outcome,
    /// Whether one passed only after an attempt that did not, or some passed and some did not.
    pub is_flaky: bool,
    /// The mean of the durations of those that passed or failed, in microseconds; 0 without any.
    pub micros: u64,
    /// Four bytes of the digests of everything that decides what it comes to.
    pub fingerprint: u32,
}

/// What is gathered of a test and its provider.
struct Gathered {
    passed: u32,
    judged: u32,
    first: Outcome,
    bad: Option<Outcome>,
    is_flaky: bool,
    micros: u128,
    timed: u32,
    fingerprint: u32,
}

/// As much of a row as is gathered.
struct Seen {
    key: String,
    outcome: Outcome,
    is_flaky: bool,
    micros: u128,
    fingerprint: u32,
}

impl RunTests {
    /// Reads the rows of a run; damaged lines count as not written.
    ///
    /// # Errors
    ///
    /// Fails if the rows cannot be read.
    pub(in crate::record) fn read(reader: &RunReader) -> Result<Self, RecordError> {
        let (_, rows) = reader.settled(Seen::of, |_| {})?;
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut tests: Vec<(String, Gathered)> = Vec::new();
        for seen in rows.into_iter().flatten() {
            let place = *places.entry(seen.key.clone()).or_insert_with(|| {
                tests.push((seen.key.clone(), Gathered::of(seen.outcome)));
                tests.len() - 1
            });
            tests[place].1.add(&seen);
        }
        let mut text = String::new();
        for (key, gathered) in &tests {
            gathered.write(key, &mut text);
        }
        Ok(Self(text))
    }

    /// What was kept earlier.
    pub(in crate::record) fn kept(text: String) -> Self {
        Self(text)
    }

    /// To be kept.
    pub(in crate::record) fn as_str(&self) -> &str {
        &self.0
    }

    /// The tests, each with a provider, in the order of the plan.
    pub fn iter(&self) -> impl Iterator<Item = RunTest<'_>> {
        self.0.lines().filter_map(parse)
    }
}

impl Seen {
    fn of(row: &Row<'_>) -> Self {
        // What somebody else has written may have any id.
        let plain = |id: &str| id.replace(char::is_control, " ");
        let is_answer = matches!(row.outcome, Outcome::Passed | Outcome::Failed);
        let (execution, judgement) =
            LineFingerprint::of(row.fingerprint, row.judgement_fingerprint).parts();
        let [first, second] = [execution, judgement]
            .map(|part| u32::from_le_bytes([part[0], part[1], part[2], part[3]]));
        Self {
            key: format!("{}{TAB}{}", plain(&row.test), plain(&row.provider)),
            outcome: row.outcome,
            is_flaky: row.is_flaky,
            // The least that is told from nothing.
            micros: match is_answer {
                true => row.duration().as_micros().max(1),
                false => 0,
            },
            fingerprint: first ^ second.rotate_left(1),
        }
    }
}

impl Gathered {
    fn of(first: Outcome) -> Self {
        Self {
            passed: 0,
            judged: 0,
            first,
            bad: None,
            is_flaky: false,
            micros: 0,
            timed: 0,
            fingerprint: 0,
        }
    }

    fn add(&mut self, seen: &Seen) {
        if seen.outcome == Outcome::Passed {
            self.passed += 1;
            self.judged += 1;
        } else if seen.outcome.is_bad() {
            self.judged += 1;
            self.bad.get_or_insert(seen.outcome);
        }
        self.is_flaky |= seen.is_flaky;
        self.micros += seen.micros;
        self.timed += u32::from(seen.micros > 0);
        self.fingerprint = seen.fingerprint;
    }

    fn write(&self, key: &str, text: &mut String) {
        let is_flaky = self.is_flaky || (self.passed > 0 && self.passed < self.judged);
        let outcome = self.bad.unwrap_or(self.first).as_str();
        let (passed, judged) = (self.passed, self.judged);
        let micros = self
            .micros
            .checked_div(self.timed.into())
            .unwrap_or_default();
        let fingerprint = self.fingerprint;
        writeln!(
            text,
            "{key}{TAB}{outcome}{TAB}{passed}{TAB}{judged}{TAB}{}{TAB}{micros}{TAB}{fingerprint}",
            u8::from(is_flaky)
        )
        .expect("a string can be written to");
    }
}

/// Reads a line of [`Gathered::write`].
fn parse(line: &str) -> Option<RunTest<'_>> {
    let test = line.find(TAB)?;
    let provider = line[test + 1..].find(TAB)?;
    let (key, rest) = line.split_at(test + 1 + provider);
    let mut parts: Split<'_, char> = rest[1..].split(TAB);
    let outcome = Outcome::parse(parts.next()?)?;
    let mut number = || parts.next()?.parse::<u64>().ok();
    let mut small = || u32::try_from(number()?).ok();
    Some(RunTest {
        key,
        outcome,
        passed: small()?,
        judged: small()?,
        is_flaky: small()? == 1,
        micros: number()?,
        fingerprint: u32::try_from(number()?).ok()?,
    })
}
