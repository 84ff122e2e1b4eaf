//! [`StoredEvidence`]: an attempt's row and files as evidence, so that it can be judged again.

use std::{borrow::Cow, io, time::Duration};

use serde_json::Value;
use thiserror::Error;

use crate::{
    judge::{EndEvidence, Evidence, ReplyEvidence, judge},
    model::{AttemptError, CheckVerdict, Outcome},
    record::{JudgementLine, Row, RowCheck, RowError, RowOutput, RunReader, SaidError},
    scenario::Expect,
};

/// What was stored of an attempt, to be judged again.
///
/// It is what the attempt was judged by, but that times are known to the microsecond, and that hints are not stored apart
/// from the messages that have them.
#[derive(Debug)]
pub struct StoredEvidence<'a> {
    end: StoredEnd<'a>,
    duration: Duration,
    peak_memory: u64,
    stderr: String,
    /// How many of the row's checks, at the end, are the provider's own.
    own_checks: usize,
}

/// What is known of how an attempt was judged before, which is needed to tell what its row says of the provider.
enum JudgedBefore<'a> {
    /// By this, when its row was written.
    By(&'a Expect),
    /// By something of which no more is known than how many checks a reply to it has. No plain command has given the reply.
    Checks(usize),
    /// By what is stored no more; a judgement apart says what is needed.
    Apart(&'a JudgementLine<'a>),
}

/// Why an attempt cannot be judged again.
#[derive(Debug, Error)]
pub enum NotEnough {
    /// The row was too long for its line.
    #[error("the row was cut, because a line has at most 256 KiB")]
    Cut,
    /// The output has a file of its own, which cannot be read or is not what it was.
    #[error("its output cannot be read")]
    Output(#[source] io::Error),
    /// What the attempt said cannot be read or is not what it was.
    #[error(transparent)]
    Said(#[from] SaidError),
    /// A version that did not write down verdicts has written the row, and an expectation did not hold: nobody knows whether
    /// the provider had refused it, too.
    #[error("the row does not say what the provider's own verdict was")]
    Verdict,
}

#[derive(Debug)]
enum StoredEnd<'a> {
    Reply {
        output: Cow<'a, Value>,
        verdict: Option<CheckVerdict>,
        has_failed_checks: bool,
        score: Option<f64>,
        exit_code: Option<i32>,
    },
    Error(AttemptError),
    Timeout(AttemptError),
    Stopped,
}

impl<'a> StoredEvidence<'a> {
    /// Reads what was stored of an attempt. `then` is what its test expected when the row was written, and `is_plain` tells
    /// whether its provider is called as a plain command, which has an exit code.
    ///
    /// # Errors
    ///
    /// Fails where something is missing that the judgement might depend on.
    pub fn read(
        reader: &RunReader,
        row: &'a Row<'_>,
        then: &Expect,
        is_plain: bool,
    ) -> Result<Self, NotEnough> {
        Self::read_judged(reader, row, &JudgedBefore::By(then), is_plain)
    }

    /// The same of an attempt with an output of which it is known that its test expected so many checks of it, and that its
    /// provider is not called as a plain command.
    ///
    /// # Errors
    ///
    /// Fails as [`StoredEvidence::read`] does.
    pub fn read_of_checks(
        reader: &RunReader,
        row: &'a Row<'_>,
        checks: usize,
    ) -> Result<Self, NotEnough> {
        Self::read_judged(reader, row, &JudgedBefore::Checks(checks), false)
    }

    /// The same of an attempt that was judged apart from its row, which is given as it was written: what its test expected
    /// then need not be known.
    ///
    /// # Errors
    ///
    /// Fails as [`StoredEvidence::read`] does.
    pub fn read_again(
        reader: &RunReader,
        row: &'a Row<'_>,
        judgement: &JudgementLine<'_>,
        is_plain: bool,
    ) -> Result<Self, NotEnough> {
        Self::read_judged(reader, row, &JudgedBefore::Apart(judgement), is_plain)
    }

    fn read_judged(
        reader: &RunReader,
        row: &'a Row<'_>,
        before: &JudgedBefore<'_>,
        is_plain: bool,
    ) -> Result<Self, NotEnough> {
        if row.is_truncated {
            return Err(NotEnough::Cut);
        }
        let end = match (row.outcome, &row.output, &row.error) {
            (Outcome::Stopped, ..) | (_, None, None) => StoredEnd::Stopped,
            (_, None, Some(error)) => match error.class {
                Some(_) => StoredEnd::Error(error_of(error)),
                None => StoredEnd::Timeout(error_of(error)),
            },
            (_, Some(output), _) => StoredEnd::Reply {
                output: match output {
                    RowOutput::Inline(output) => Cow::Borrowed(output.as_ref()),
                    RowOutput::Stored(stored) => {
                        let output = reader.output(row, stored);
                        Cow::Owned(output.map_err(NotEnough::Output)?)
                    }
                },
                verdict: verdict(row),
                has_failed_checks: false,
                score: row.score,
                exit_code: is_plain.then(|| exit_code(row, before)),
            },
        };
        let mut stored = Self {
            end,
            duration: Duration::from_secs_f64(row.duration_ms.max(0.0) / 1e3),
            peak_memory: row.usage.peak_memory,
            stderr: reader.said(row)?.stderr,
            own_checks: 0,
        };
        stored.find_own_checks(row, before)?;
        Ok(stored)
    }

    /// How many of the row's checks, at the end, are the provider's own.
    pub fn own_checks(&self) -> usize {
        self.own_checks
    }

    /// The exit code, of a plain command that has answered.
    pub fn exit_code(&self) -> Option<i32> {
        match self.end {
            StoredEnd::Reply { exit_code, .. } => exit_code,
            StoredEnd::Error(_) | StoredEnd::Timeout(_) | StoredEnd::Stopped => None,
        }
    }

    /// What was put out; nothing where there was no reply.
    pub fn into_output(self) -> Value {
        match self.end {
            StoredEnd::Reply { output, .. } => output.into_owned(),
            StoredEnd::Error(_) | StoredEnd::Timeout(_) | StoredEnd::Stopped => Value::Null,
        }
    }

    /// Why there was no reply, where there was none.
    pub fn error(&self) -> Option<&AttemptError> {
        match &self.end {
            StoredEnd::Error(error) | StoredEnd::Timeout(error) => Some(error),
            StoredEnd::Reply { .. } | StoredEnd::Stopped => None,
        }
    }

    /// What an attempt is judged by.
    pub fn evidence(&self) -> Evidence<'_> {
        Evidence {
            ending: match &self.end {
                StoredEnd::Reply {
                    output,
                    verdict,
                    has_failed_checks,
                    score,
                    exit_code,
                } => EndEvidence::Reply(ReplyEvidence {
                    output,
                    verdict: *verdict,
                    has_failed_checks: *has_failed_checks,
                    score: *score,
                    exit_code: *exit_code,
                }),
                StoredEnd::Error(error) => EndEvidence::Error(error),
                StoredEnd::Timeout(error) => EndEvidence::Timeout(error),
                StoredEnd::Stopped => EndEvidence::Stopped,
            },
            duration: self.duration,
            peak_memory: self.peak_memory,
            stderr: &self.stderr,
            hint: None,
        }
    }

    /// Tells the provider's own checks from those of the scenario, which stand before them in the row.
    fn find_own_checks(
        &mut self,
        row: &Row<'_>,
        before: &JudgedBefore<'_>,
    ) -> Result<(), NotEnough> {
        let of_scenario = match before {
            JudgedBefore::By(then) if !row.checks.is_empty() => {
                judge(then, &self.evidence()).checks.len()
            }
            JudgedBefore::By(_) => 0,
            JudgedBefore::Checks(checks) => *checks,
            JudgedBefore::Apart(judgement) => row
                .checks
                .len()
                .saturating_sub(judgement.own_checks as usize),
        };
        let StoredEnd::Reply {
            has_failed_checks,
            verdict,
            ..
        } = &mut self.end
        else {
            return Ok(());
        };
        let is_failed = |check: &RowCheck<'_>| check.verdict == CheckVerdict::Fail;
        let (of_scenario, own) = row.checks.split_at(of_scenario.min(row.checks.len()));
        *has_failed_checks = own.iter().any(is_failed);
        self.own_checks = own.len();
        if is_old(row) && row.outcome == Outcome::Failed && !*has_failed_checks {
            if of_scenario.iter().any(is_failed) {
                return Err(NotEnough::Verdict);
            }
            *verdict = Some(CheckVerdict::Fail);
        }
        Ok(())
    }
}

/// Tells whether a version has written the row that did not write down verdicts: another key has come with that one.
fn is_old(row: &Row<'_>) -> bool {
    row.judgement_fingerprint.is_none()
}

/// The provider's own verdict, as far as it is known without a look at checks.
fn verdict(row: &Row<'_>) -> Option<CheckVerdict> {
    let is_skipped = is_old(row) && row.outcome == Outcome::Skipped;
    row.verdict.or(is_skipped.then_some(CheckVerdict::Skip))
}

/// The exit code of a plain command: what a check of it did not expect, or else what was expected.
fn exit_code(row: &Row<'_>, before: &JudgedBefore<'_>) -> i32 {
    let then = match before {
        JudgedBefore::By(then) => then,
        JudgedBefore::Checks(_) => return 0,
        JudgedBefore::Apart(judgement) => return judgement.exit_code.unwrap_or_default(),
    };
    // Such a command has no checks of its own.
    let mut checks = row.checks.iter();
    let check = checks.find(|check| check.name == "exit_code");
    let actual = check.and_then(|check| check.actual.as_deref()?.as_i64());
    let actual = actual.and_then(|code| i32::try_from(code).ok());
    actual.or(then.exit_code).unwrap_or_default()
}

fn error_of(error: &RowError<'_>) -> AttemptError {
    AttemptError {
        class: error.class,
        code: error.code.clone().into_owned(),
        message: error.message.clone().into_owned(),
        retry_after: error
            .retry_after_ms
            .map(|millis| Duration::from_secs_f64(millis.max(0.0) / 1e3)),
        fault: None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::{NotEnough, StoredEvidence};
    use crate::{
        judge::judge,
        model::{
            Attempt, AttemptError, Check, CheckVerdict, Digest, ErrorClass, Fingerprint, Outcome,
            ProviderId, RunStatus, TestId, TrialId,
        },
        plugin::{Ended, Ending, Moment, Reply},
        record::{
            Entry, Row, RunReader, Store,
            testing::{end, ignore, new_run},
        },
        run::{
            attempt::{
                deadline::{Deadline, Rule},
                judged::judged,
                unfinished::AttemptIdentity,
            },
            clock::wall_clock,
        },
        scenario::{Expect, ExpectedError},
    };

    fn reply(output: Value) -> Reply {
        Reply {
            output,
            verdict: None,
            score: None,
            summary: None,
            checks: Vec::new(),
            metrics: Vec::new(),
            exit_code: None,
        }
    }

    fn own_check(verdict: CheckVerdict) -> Check {
        Check {
            verdict,
            ..Check::held("equals")
        }
    }

    /// How attempts end, and whether the provider is called as a plain command.
    fn endings() -> Vec<(bool, Ending)> {
        let plain = |code| Reply {
            exit_code: Some(code),
            ..reply("hello".into())
        };
        let with_verdict = |verdict| Reply {
            verdict: Some(verdict),
            score: Some(0.7),
            ..reply("hello".into())
        };
        let with_check = |verdict| Reply {
            checks: vec![own_check(CheckVerdict::Pass), own_check(verdict)],
            ..reply(json!({ "ok": "no protocol" }))
        };
        let trap = AttemptError {
            class: Some(ErrorClass::Trap),
            code: "unreachable".into(),
            message: "it ran into `unreachable`".into(),
            retry_after: None,
            fault: None,
        };
        vec![
            (true, Ending::Reply(plain(0))),
            (true, Ending::Reply(plain(3))),
            (false, Ending::Reply(reply("hello".into()))),
            (false, Ending::Reply(reply(Value::Null))),
            (false, Ending::Reply(reply("x".repeat(100_000).into()))),
            (false, Ending::Reply(with_verdict(CheckVerdict::Pass))),
            (false, Ending::Reply(with_verdict(CheckVerdict::Fail))),
            (false, Ending::Reply(with_verdict(CheckVerdict::Skip))),
            (false, Ending::Reply(with_check(CheckVerdict::Pass))),
            (false, Ending::Reply(with_check(CheckVerdict::Fail))),
            (false, Ending::Error(trap)),
            (false, Ending::Timeout),
            (false, Ending::Stopped),
        ]
    }

    fn expectations() -> Vec<Expect> {
        let base = Expect::default;
        let equals = |value: &str| Some(value.into());
        let error = |error| Expect {
            error: Some(error),
            ..base()
        };
        vec![
            base(),
            Expect {
                equals: equals("hello"),
                max_memory: Some(1024),
                ..base()
            },
            Expect {
                equals: equals("bye"),
                exit_code: Some(3),
                ..base()
            },
            Expect {
                exit_code: Some(0),
                min_score: Some(0.5),
                ..base()
            },
            Expect {
                contains: vec!["ell".into(), "x".into()],
                max_duration: Some(Duration::from_millis(4)),
                ..base()
            },
            error(ExpectedError::Timeout),
            error(ExpectedError::Class(ErrorClass::Trap)),
            error(ExpectedError::Class(ErrorClass::Limit)),
        ]
    }

    /// The attempt of an ending, as an executor makes it.
    fn attempt(ordinal: u64, expect: &Expect, ending: Ending) -> Attempt {
        let of = AttemptIdentity {
            ordinal,
            trial: TrialId {
                test: TestId::parse("test").unwrap(),
                provider: ProviderId::parse("echo").unwrap(),
                repeat: 1,
            },
            number: 1,
            started_at: wall_clock(),
        };
        let deadline = Deadline {
            at: Moment::now(),
            after: Duration::from_secs(1),
            rule: Rule::Attempt,
            set: Duration::from_secs(1),
        };
        let mut ended = Ended::without_sandbox(ending);
        ended.duration = Duration::from_millis(5);
        ended.usage.peak_memory = 4096;
        ended.stderr = "oh no\n".into();
        judged(of, expect, &deadline, ended)
    }

    /// Writes every ending down, judged by every expectation, and gives `look` what was read.
    fn each(mut look: impl FnMut(&RunReader, &mut Row<'static>, &Expect, usize)) {
        let expectations = expectations();
        let count = endings().len();
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let planned = (count * expectations.len()) as u64;
        let recorder = store.begin(new_run(planned), ignore).unwrap();
        for (index, then) in expectations.iter().enumerate() {
            for (place, (_, ending)) in endings().into_iter().enumerate() {
                let ordinal = (index * count + place) as u64;
                recorder.record(vec![Entry {
                    attempt: attempt(ordinal, then, ending),
                    is_final: true,
                    is_flaky: false,
                    fingerprint: Fingerprint {
                        execution: Digest::of(b"execution"),
                        judgement: Digest::of(b"judgement"),
                    },
                }]);
            }
        }
        let finished = recorder
            .finish(&end(RunStatus::Completed, planned))
            .unwrap();
        let reader = RunReader::open(&finished.run_dir).unwrap();
        let mut seen = 0;
        for row in reader.rows() {
            let mut row = row.unwrap();
            let ordinal = row.ordinal as usize;
            let (then, place) = (&expectations[ordinal / count], ordinal % count);
            look(&reader, &mut row, then, place);
            seen += 1;
        }
        assert_eq!(seen, planned);
    }

    #[test]
    fn an_attempt_is_judged_again_from_its_row_as_it_was_where_it_was_made() {
        each(|reader, row, then, place| {
            let (is_plain, _) = endings()[place];
            let stored = StoredEvidence::read(reader, row, then, is_plain).unwrap();
            if !is_plain && row.output.is_some() {
                let checks = judge(then, &stored.evidence()).checks.len();
                let counted = StoredEvidence::read_of_checks(reader, row, checks).unwrap();
                assert_eq!(format!("{counted:?}"), format!("{stored:?}"));
            }
            for now in expectations() {
                let again = judge(&now, &stored.evidence());
                let (_, ending) = endings().swap_remove(place);
                let made = attempt(row.ordinal, &now, ending);
                assert_eq!(again.outcome, made.outcome, "{place} {then:?} {now:?}");
                assert_eq!(again.checks, made.checks[..again.checks.len()]);
            }
        });
    }

    #[test]
    fn of_rows_without_verdicts_only_those_are_judged_again_of_which_it_is_certain() {
        let mut unknown = 0;
        each(|reader, row, then, place| {
            let (is_plain, ending) = endings().swap_remove(place);
            row.verdict = None;
            row.judgement_fingerprint = None;
            let verdict = match ending {
                Ending::Reply(reply) => reply.verdict,
                _ => None,
            };
            match StoredEvidence::read(reader, row, then, is_plain) {
                Ok(stored) => {
                    let again = judge(then, &stored.evidence());
                    assert_eq!(again.outcome, row.outcome, "{place} {then:?}");
                    let lenient = judge(&Expect::default(), &stored.evidence());
                    let is_refused = verdict == Some(CheckVerdict::Fail);
                    assert!(!is_refused || lenient.outcome == Outcome::Failed);
                }
                Err(NotEnough::Verdict) => {
                    assert_eq!(row.outcome, Outcome::Failed);
                    unknown += 1;
                }
                Err(error) => panic!("{error}"),
            }
        });
        assert!(unknown > 0);
    }

    #[test]
    fn what_was_cut_or_altered_is_not_judged_again() {
        each(|reader, row, then, place| {
            let (is_plain, _) = endings()[place];
            let folder = reader.attempt_folder(row);
            if let Some(file) = row.artifacts.iter().find(|file| file.name == "output.json") {
                fs_err::write(folder.join(&*file.name), "\"another\"").unwrap();
                let read = StoredEvidence::read(reader, row, then, is_plain);
                assert!(matches!(read, Err(NotEnough::Output(_))));
            }
            row.is_truncated = true;
            let read = StoredEvidence::read(reader, row, then, is_plain);
            assert!(matches!(read, Err(NotEnough::Cut)));
        });
    }
}
