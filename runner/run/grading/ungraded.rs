//! [`Ungraded`]: an attempt that is on disk, of which graders have still to speak.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value};

use crate::{
    judge::{EndEvidence, Evidence, ReplyEvidence, judge},
    model::{Check, Digest, Grade, Outcome},
    record::{AttemptKey, Row, RowCheck, RowGrade, RowOutput, RunReader},
    scenario::{Grader, Test},
};

/// An attempt that is on disk, of which graders have still to speak.
pub(in crate::run) struct Ungraded {
    /// Its row, as it was written.
    pub(in crate::run) row: Row<'static>,
    pub(in crate::run) test: Arc<Test>,
    /// What it has put out where the row does not have it; the error says why that is not known any more.
    output: Result<Option<Value>, String>,
    /// The exit code of a plain command.
    pub(super) exit_code: Option<i32>,
    /// What was checked by the scenario's expectations.
    pub(super) expected: Vec<Check>,
    /// What the provider has checked.
    pub(super) own: Vec<Check>,
    /// Whether an attempt of its trial before it is known to have ended badly.
    pub(in crate::run) was_shaky: bool,
    /// What its trial counts as, and whether it is flaky; `None` if nothing has settled it.
    pub(super) before: Option<(Outcome, bool)>,
    /// What graders have said of it before.
    grades: Vec<RowGrade<'static>>,
    /// What they have answered since then, before the process that asked them ended.
    answers: Vec<RowGrade<'static>>,
    /// Digest of everything that decides what the attempt means.
    pub(super) fingerprint: Digest,
}

/// What an ungraded attempt is made of.
pub(in crate::run) struct UngradedParts {
    pub(in crate::run) row: Row<'static>,
    pub(in crate::run) test: Arc<Test>,
    /// Whether its provider is called as a plain command.
    pub(in crate::run) is_plain: bool,
    /// What graders have answered, before the process that asked them ended.
    pub(in crate::run) answers: Vec<RowGrade<'static>>,
    /// Digest of everything that decides what the attempt means.
    pub(in crate::run) fingerprint: Digest,
}

/// What is known of an attempt that is judged again.
pub(in crate::run) struct RejudgedParts {
    pub(in crate::run) row: Row<'static>,
    pub(in crate::run) test: Arc<Test>,
    pub(in crate::run) output: Value,
    pub(in crate::run) exit_code: Option<i32>,
    pub(in crate::run) expected: Vec<Check>,
    pub(in crate::run) own: Vec<Check>,
    pub(in crate::run) before: Option<(Outcome, bool)>,
    pub(in crate::run) grades: Vec<RowGrade<'static>>,
    pub(in crate::run) answers: Vec<RowGrade<'static>>,
    pub(in crate::run) fingerprint: Digest,
}

impl Ungraded {
    /// One whose output is still known.
    pub(in crate::run) fn new(parts: UngradedParts, output: Value) -> Self {
        let is_inline = matches!(parts.row.output, Some(RowOutput::Inline(_)));
        Self::of(parts, Ok((!is_inline).then_some(output)))
    }

    /// One of an earlier session, whose output is on disk.
    pub(in crate::run) fn stored(parts: UngradedParts, reader: &RunReader) -> Self {
        let output = match &parts.row.output {
            Some(RowOutput::Inline(_)) => Ok(None),
            Some(RowOutput::Stored(stored)) => match reader.output(&parts.row, stored) {
                Ok(output) => Ok(Some(output)),
                Err(error) => Err(format!("the output cannot be read: {error}")),
            },
            None => Err("the row has no output".to_owned()),
        };
        Self::of(parts, output)
    }

    /// One that is judged again, and of which all else has held.
    pub(in crate::run) fn again(parts: RejudgedParts) -> Self {
        let RejudgedParts {
            row,
            test,
            output,
            exit_code,
            expected,
            own,
            before,
            grades,
            answers,
            fingerprint,
        } = parts;
        let is_inline = matches!(row.output, Some(RowOutput::Inline(_)));
        Self {
            row,
            test,
            output: Ok((!is_inline).then_some(output)),
            exit_code,
            expected,
            own,
            was_shaky: false,
            before,
            grades,
            answers,
            fingerprint,
        }
    }

    fn of(parts: UngradedParts, output: Result<Option<Value>, String>) -> Self {
        let UngradedParts {
            row,
            test,
            is_plain,
            answers,
            fingerprint,
        } = parts;
        // Everything has held.
        let exit_code = is_plain.then(|| test.expect.whole().exit_code.unwrap_or_default());
        let evidence = |output| Evidence {
            ending: EndEvidence::Reply(ReplyEvidence {
                output,
                verdict: row.verdict,
                has_failed_checks: false,
                score: row.score,
                exit_code,
            }),
            duration: Duration::from_secs_f64(row.duration_ms.max(0.0) / 1e3),
            peak_memory: row.usage.peak_memory,
            stderr: "",
            hint: None,
        };
        let expected = find(&row, &output).map_or(row.checks.len(), |output| {
            judge(test.expect.whole(), &evidence(output)).checks.len()
        });
        let (expected, own) = row.checks.split_at(expected.min(row.checks.len()));
        let checks = |checks: &[RowCheck<'_>]| -> Vec<Check> {
            checks.iter().map(RowCheck::to_check).collect()
        };
        Self {
            expected: checks(expected),
            own: checks(own),
            exit_code,
            was_shaky: false,
            before: None,
            grades: Vec::new(),
            answers,
            row,
            test,
            output,
            fingerprint,
        }
    }

    /// Which attempt it is.
    pub(in crate::run) fn key(&self) -> AttemptKey {
        self.row.mark().key
    }

    /// About how much memory it takes, in bytes.
    pub(in crate::run) fn size(&self) -> u64 {
        self.row.usage.bytes_out
    }

    /// What a grader has answered before to the same question.
    pub(super) fn said(&self, grader: &str, question: Digest) -> Option<Grade> {
        let is_same = |grade: &&RowGrade<'_>| {
            grade.grader == grader && grade.asked.is_some_and(|asked| asked.begins(question))
        };
        // What was answered since is a part of the judgement that is being made, and not of one before.
        let (said, is_kept) = match self.answers.iter().find(is_same) {
            Some(answer) => (answer, answer.is_kept),
            None => (self.grades.iter().find(is_same)?, true),
        };
        Some(Grade {
            asked: Some(question),
            is_kept,
            ..said.to_answer()?
        })
    }

    /// What a grader gets of it; the error says what is missing.
    pub(super) fn input(&self, grader: &Grader) -> Result<Value, String> {
        let output = find(&self.row, &self.output)?;
        let parse = |text: &str| serde_json::from_str::<Value>(text);
        let input = parse(&self.test.input).expect("a suite holds valid JSON");
        let reference = self.test.reference.as_deref().map(parse);
        let reference = reference.transpose().expect("a suite holds valid JSON");
        let reference = reference.unwrap_or_default();
        let metrics = self.row.metrics.iter();
        let metrics: Map<_, _> = metrics
            .map(|metric| (metric.name.clone().into_owned(), metric.value.into()))
            .collect();
        let metrics = Value::Object(metrics);
        let test = Value::from(self.test.id.as_str());
        let provider = Value::from(&*self.row.provider);
        let roots = [
            ("input", &input),
            ("output", output),
            ("reference", &reference),
            ("metrics", &metrics),
            ("test", &test),
            ("provider", &provider),
        ];
        grader.input(&roots).map_err(|error| error.to_string())
    }
}

/// The output of an attempt: in its row, or beside it.
fn find<'a>(
    row: &'a Row<'_>,
    beside: &'a Result<Option<Value>, String>,
) -> Result<&'a Value, String> {
    if let Some(RowOutput::Inline(output)) = &row.output {
        return Ok(output);
    }
    let beside = beside.as_ref().map_err(String::clone)?;
    beside
        .as_ref()
        .ok_or_else(|| "the output is not known any more".to_owned())
}
