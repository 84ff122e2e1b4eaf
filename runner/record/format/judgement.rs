//! [`JudgementLine`]: what an attempt means, where that stands apart from what happened in it.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    cut,
    line::{self, MAX_LINE_BYTES, check_crc, seal},
    mark::Mark,
    numbers::finite,
    row::{APART, Row, RowPlace},
    row_digest::RowDigest,
    row_line::{LineCheck, has_only_held, is_one, is_true, one, yes},
    row_parts::{RowError, RowGrade, RowJudged, is_false},
    words::{self, WordSchema},
};
use crate::model::{self, Digest, Outcome, escape_json};

/// How every line of a judgement begins.
const BEGIN: &[u8] = b"{\"v\":3,\"kind\":\"judgement\",";

/// A judgement of an attempt: a line of `index.jsonl`, behind the attempt's own.
///
/// It stands for what the attempt's line says of the same, and for every judgement of the attempt before it. A grader has
/// spoken, or the attempt was judged again by other expectations. One with the outcome `ungraded` keeps what some graders have
/// answered before others are asked, and settles nothing. As all lines, it ends with its checksum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JudgementLine<'a> {
    /// The version of the format: 3.
    #[schemars(range(min = 3))]
    pub v: u32,
    /// What kind of line it is: `judgement`. An attempt's has no such key.
    pub kind: JudgementKind,
    /// The line's place in the run, from 1.
    pub seq: u64,
    /// The session that wrote it; absent for the first one, which has number 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub session: u32,
    /// The attempt's line, by its `seq`.
    pub of: u64,
    /// The trial's place in the plan, from 0.
    pub ordinal: u64,
    /// Which execution of the trial; absent for the first one, which has number 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub attempt: u32,
    /// Whether this settles the trial; absent where it does.
    #[serde(rename = "final", default = "yes", skip_serializing_if = "is_true")]
    pub is_final: bool,
    /// What the attempt came to.
    #[serde(with = "words::word")]
    #[schemars(with = "WordSchema<Outcome>")]
    pub outcome: Outcome,
    /// Whether the trial passed only after an attempt that did not; absent where it is not so.
    #[serde(rename = "flaky", default, skip_serializing_if = "is_false")]
    pub is_flaky: bool,
    /// The score that counts: the provider's, or what graders made of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// What was checked: the scenario's expectations, then the provider's own checks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<LineCheck<'a>>,
    /// How many of the checks, at the end, are the provider's own; absent where none is.
    #[serde(default, skip_serializing_if = "is_none")]
    pub own_checks: u32,
    /// The exit code of a plain command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// What graders said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grades: Vec<RowGrade<'a>>,
    /// Why there is no verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RowError<'a>>,
    /// The first 16 digits of the digest of everything that decides what the attempt means.
    pub judgement: RowDigest,
    /// The first 16 digits of the digest of the scenario that it was judged by.
    pub scenario: RowDigest,
    /// Whether checks or texts were cut, because a line has at most 256 KiB; absent where they were not.
    #[serde(rename = "truncated", default, skip_serializing_if = "is_false")]
    pub is_truncated: bool,
}

/// What kind of line a judgement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum JudgementKind {
    /// What an attempt means.
    Judgement,
}

/// A judgement on its way to becoming a line.
#[derive(Clone, Debug)]
pub struct JudgementEntry {
    /// Which attempt, what it came to, and whether that settles its trial.
    pub mark: Mark,
    /// The attempt's line, by its `seq`.
    pub of: u64,
    /// What the trial counted as until now, and whether it was flaky; `None` if it was not settled.
    pub before: Option<(Outcome, bool)>,
    /// The score that counts.
    pub score: Option<f64>,
    /// What was checked: the scenario's expectations, then the provider's own checks. Most judgements have the same.
    pub checks: Arc<[model::Check]>,
    /// How many of the checks, at the end, are the provider's own.
    pub own_checks: u32,
    /// The exit code of a plain command.
    pub exit_code: Option<i32>,
    /// What graders said.
    pub grades: Vec<model::Grade>,
    /// Why there is no verdict.
    pub error: Option<model::AttemptError>,
    /// Digest of everything that decides what the attempt means.
    pub fingerprint: Digest,
    /// Digest of the scenario that it is judged by.
    pub scenario: Digest,
}

/// What a judgement changes of its trial.
#[derive(Clone, Copy, Debug)]
pub struct JudgedMark {
    /// Which attempt, what it came to, and whether that settles its trial.
    pub mark: Mark,
    /// What the trial counted as until then, and whether it was flaky; `None` if it was not settled.
    pub before: Option<(Outcome, bool)>,
}

impl JudgedMark {
    /// Tells whether graders have still to speak, and this only keeps what some have answered.
    pub fn is_part(&self) -> bool {
        self.mark.outcome == Outcome::Ungraded
    }
}

impl JudgementEntry {
    /// What it changes of its trial.
    pub(crate) fn judged(&self) -> JudgedMark {
        JudgedMark {
            mark: self.mark,
            before: self.before,
        }
    }

    /// Takes that an attempt of the trial before this one has ended badly.
    pub fn follow_a_bad_attempt(&mut self) {
        self.mark.is_flaky |= self.mark.outcome == Outcome::Passed;
    }

    /// Appends its line.
    pub(in crate::record) fn encode(&self, place: RowPlace, lines: &mut Vec<u8>) {
        let start = lines.len();
        if self.is_plain() {
            self.write_plain(place, lines);
            escape_json(lines, start);
            seal(lines, start);
            if lines.len() - start <= MAX_LINE_BYTES {
                return;
            }
            lines.truncate(start);
        }
        JudgementLine::new(self, place).encode(lines);
    }

    /// Tells whether there is no more to tell of it than of most: every check has held, and nobody was asked.
    fn is_plain(&self) -> bool {
        finite(self.score).is_none()
            && self.own_checks == 0
            && self.exit_code.is_none()
            && self.grades.is_empty()
            && self.error.is_none()
            && !self.checks.is_empty()
            && self.checks.iter().all(has_only_held)
    }

    /// Writes the line of a plain one as its keys come, in a third of the time.
    fn write_plain(&self, place: RowPlace, line: &mut Vec<u8>) {
        let mark = self.mark;
        line.extend_from_slice(BEGIN);
        number(line, "\"seq\":", place.seq);
        if !is_one(&place.session) {
            number(line, ",\"session\":", place.session);
        }
        number(line, ",\"of\":", self.of);
        number(line, ",\"ordinal\":", mark.key.ordinal);
        if !is_one(&mark.key.number) {
            number(line, ",\"attempt\":", mark.key.number);
        }
        if !mark.is_final {
            line.extend_from_slice(b",\"final\":false");
        }
        text(line, ",\"outcome\":", mark.outcome.as_str());
        if mark.is_flaky {
            line.extend_from_slice(b",\"flaky\":true");
        }
        let mut begin = ",\"checks\":[";
        for check in &*self.checks {
            text(line, begin, &check.name);
            begin = ",";
        }
        line.push(b']');
        for (key, digest) in [
            (",\"judgement\":\"", self.fingerprint),
            (",\"scenario\":\"", self.scenario),
        ] {
            line.extend_from_slice(key.as_bytes());
            line.extend_from_slice(&RowDigest::digits_of(digest));
            line.push(b'"');
        }
        line.push(b'}');
    }
}

impl<'a> JudgementLine<'a> {
    /// The line of a judgement.
    pub(in crate::record) fn new(entry: &'a JudgementEntry, place: RowPlace) -> Self {
        let mark = entry.mark;
        Self {
            v: APART,
            kind: JudgementKind::Judgement,
            seq: place.seq,
            session: place.session,
            of: entry.of,
            ordinal: mark.key.ordinal,
            attempt: mark.key.number,
            is_final: mark.is_final,
            outcome: mark.outcome,
            is_flaky: mark.is_flaky,
            score: finite(entry.score),
            checks: entry.checks.iter().map(LineCheck::shortest).collect(),
            own_checks: entry.own_checks,
            exit_code: entry.exit_code,
            grades: entry.grades.iter().map(RowGrade::new).collect(),
            error: entry.error.as_ref().map(RowError::new),
            judgement: RowDigest::beginning_of(entry.fingerprint),
            scenario: RowDigest::beginning_of(entry.scenario),
            is_truncated: false,
        }
    }

    /// Appends the line; one that would be too long is cut.
    pub(in crate::record) fn encode(mut self, lines: &mut Vec<u8>) {
        let start = lines.len();
        self.write(lines);
        for (bytes, items) in cut::STEPS {
            if lines.len() - start <= MAX_LINE_BYTES {
                return;
            }
            lines.truncate(start);
            self.cut(bytes, items);
            self.write(lines);
        }
    }

    /// Tells whether graders have still to speak, and this only keeps what some have answered.
    pub(in crate::record) fn is_part(&self) -> bool {
        self.outcome == Outcome::Ungraded
    }

    /// Tells whether it stands for what an attempt was taken for that had settled its trial, or had not: whoever judges an attempt
    /// again takes nothing back before all graders have spoken.
    pub(in crate::record) fn stands_for_one(&self, is_final: bool) -> bool {
        !(self.is_part() && is_final)
    }

    fn write(&self, line: &mut Vec<u8>) {
        let start = line.len();
        serde_json::to_writer(&mut *line, self)
            .expect("a judgement has no value that JSON cannot hold");
        escape_json(line, start);
        seal(line, start);
    }

    fn cut(&mut self, bytes: usize, items: usize) {
        self.is_truncated = true;
        // Those of the scenario go first, so that what is counted from the end stays right.
        let more = self.checks.len().saturating_sub(items);
        self.checks.drain(..more);
        let kept = u32::try_from(self.checks.len()).unwrap_or(u32::MAX);
        self.own_checks = self.own_checks.min(kept);
        for check in &mut self.checks {
            match check {
                LineCheck::Held(name) => cut::cut_text(name, bytes),
                LineCheck::Told(check) => cut::cut_check(check, bytes),
            }
        }
        self.grades.truncate(items);
        for grade in &mut self.grades {
            cut::cut_optional(&mut grade.explanation, bytes);
            grade.metrics.truncate(items);
            cut::cut_metrics(&mut grade.metrics, bytes);
            cut::cut_error(&mut grade.error, bytes);
            grade.log.clear();
            cut::cut_text(&mut grade.stdout, bytes);
            cut::cut_text(&mut grade.stderr, bytes);
        }
        cut::cut_error(&mut self.error, bytes);
    }

    /// Reads a line without its newline; the text of the error says what is wrong with it.
    pub(in crate::record) fn decode(line: &[u8]) -> Result<JudgementLine<'static>, String> {
        check_crc(line)?;
        line::parse(line)
    }
}

impl Row<'static> {
    /// Lets the judgement in a line stand for what its attempt was taken for until then. The line has no newline.
    ///
    /// # Errors
    ///
    /// Fails with what is wrong with the line.
    pub fn judge_by(&mut self, line: &[u8]) -> Result<(), String> {
        self.judge(JudgementLine::decode(line)?);
        Ok(())
    }

    /// Lets a judgement stand for what its attempt was taken for until then.
    pub(in crate::record) fn judge(&mut self, by: JudgementLine<'static>) {
        if !by.stands_for_one(self.is_final) {
            return;
        }
        self.is_final = by.is_final;
        self.outcome = by.outcome;
        self.is_flaky = by.is_flaky;
        self.score = by.score;
        self.checks = by.checks.into_iter().map(LineCheck::into_check).collect();
        self.grades = by.grades;
        self.error = by.error;
        self.judgement_fingerprint = Some(by.judgement);
        self.is_truncated |= by.is_truncated;
        self.judged = Some(RowJudged {
            seq: by.seq,
            session: by.session,
            scenario: by.scenario,
        });
    }
}

/// Tells a judgement's line from an attempt's.
pub fn is_judgement(line: &[u8]) -> bool {
    line.starts_with(BEGIN)
}

fn number(line: &mut Vec<u8>, key: &str, value: impl itoa::Integer) {
    line.extend_from_slice(key.as_bytes());
    line.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn text(line: &mut Vec<u8>, key: &str, value: &str) {
    line.extend_from_slice(key.as_bytes());
    serde_json::to_writer(line, value).expect("a text is JSON");
}

fn is_none(number: &u32) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::{JudgementEntry, JudgementLine, MAX_LINE_BYTES};
    use crate::{
        model::{Check, Outcome},
        record::{
            format::{
                mark::{AttemptKey, Mark},
                row::RowPlace,
            },
            testing::{attempt_error, judgement},
        },
    };

    proptest! {
        #[test]
        fn what_is_written_in_half_of_the_time_is_the_same(
            (seq, of, ordinal) in (1..u64::MAX, 1..u64::MAX, 0..u64::MAX),
            (session, number) in (1..3_u32, 1..3_u32),
            (is_final, is_flaky) in any::<(bool, bool)>(),
            names in prop::collection::vec(any::<String>(), 1..4),
        ) {
            let key = AttemptKey { ordinal, number };
            let mut entry = judgement(of, Mark { key, outcome: Outcome::Passed, is_final, is_flaky });
            entry.checks = names.into_iter().map(Check::held).collect();
            let place = RowPlace { seq, session };
            let mut plain = Vec::new();
            entry.write_plain(place, &mut plain);
            prop_assert!(entry.is_plain());
            prop_assert_eq!(plain, serde_json::to_vec(&JudgementLine::new(&entry, place)).unwrap());
            let (mut short, mut whole) = (Vec::new(), Vec::new());
            entry.encode(place, &mut short);
            JudgementLine::new(&entry, place).encode(&mut whole);
            prop_assert_eq!(short, whole);
        }
    }

    #[test]
    fn what_has_more_to_tell_is_not() {
        let key = AttemptKey {
            ordinal: 3,
            number: 1,
        };
        let mark = Mark {
            key,
            outcome: Outcome::Passed,
            is_final: true,
            is_flaky: false,
        };
        let place = RowPlace { seq: 7, session: 1 };
        let changes: [fn(&mut JudgementEntry); 7] = [
            |entry| entry.score = Some(0.5),
            |entry| entry.own_checks = 1,
            |entry| entry.exit_code = Some(0),
            |entry| Arc::make_mut(&mut entry.checks)[0].message = Some("why".to_owned()),
            |entry| Arc::make_mut(&mut entry.checks)[0].score = Some(1.0),
            |entry| entry.error = Some(attempt_error()),
            |entry| Arc::make_mut(&mut entry.checks)[0].name = "a".repeat(MAX_LINE_BYTES).into(),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut entry = judgement(5, mark);
            entry.checks = [Check::held("equals")].into();
            change(&mut entry);
            let is_too_long = entry.checks[0].name.len() == MAX_LINE_BYTES;
            assert_eq!(entry.is_plain(), is_too_long, "{number}");
            let (mut line, mut whole) = (Vec::new(), Vec::new());
            entry.encode(place, &mut line);
            JudgementLine::new(&entry, place).encode(&mut whole);
            assert_eq!(line, whole, "{number}");
        }
    }
}
