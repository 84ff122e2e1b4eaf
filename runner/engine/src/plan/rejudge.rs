//! [`Rejudge`]: trials whose stored output is judged again, because only their expectations have changed.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read as _};

use runner_model::row::{Artifact, LogPlace, OUTPUT_ARTIFACT, RowHead, read_line};
use runner_model::{Digest, ErrorClass, Outcome, Places, RowRef, provider::PreparedProvider};
use runner_prepare::Fingerprints;
use runner_record::{Fold, RecordError, RunDir};
use runner_results::RunTable;
use runner_scenario::Suite;
use serde_json::value::{RawValue, to_raw_value};

use super::test_line::TestLine;

/// Bytes of the largest output that is judged again: row and test must fit into one frame of 16 MiB. A trial with a larger
/// output runs again.
const MAX_OUTPUT: u64 = 8 << 20;

/// The rows of trials whose stored output is judged again, by trial: only their expectations have changed, or graders have not
/// answered.
#[derive(Debug, Default)]
pub(crate) struct Rejudge(pub(super) BTreeMap<u64, RowPlace>);

/// The place of a row in `index.jsonl`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RowPlace {
    pub(crate) at: u64,
    /// Length of the line.
    pub(crate) bytes: u32,
    /// Whether an earlier attempt did not pass, so that a pass is flaky.
    pub(crate) had_bad: bool,
    /// Whether graders have yet to judge the row.
    pub(crate) is_ungraded: bool,
}

impl RowPlace {
    /// Returns the place of a table's row.
    pub(crate) fn of(table: &RunTable, row: u32) -> Self {
        let (at, bytes) = table.place(row);
        Self { at, bytes: bytes as u32, ..Self::default() }
    }
}

/// A row that is judged or graded. The new row has its attempt and logs.
pub(crate) struct StoredRow {
    /// The line in `index.jsonl`.
    pub(crate) line: Vec<u8>,
    /// The row as JSON, with the whole output.
    pub(crate) bytes: Vec<u8>,
    pub(crate) attempt: u32,
    pub(crate) seq: u64,
    /// Whether an earlier attempt did not pass, so that a pass is flaky.
    pub(crate) had_bad: bool,
    pub(crate) logs: Option<LogPlace>,
    pub(crate) worker: Option<String>,
}

impl StoredRow {
    /// Reads a row. `None` if it or its output cannot be read.
    pub(crate) fn read(run: &RunDir, place: RowPlace) -> Option<Self> {
        let line = run.row(place.at, place.bytes as usize).ok()?;
        let row = read_line(&line).ok()?;
        let output = row.output_artifact();
        Some(Self {
            attempt: row.attempt,
            seq: row.seq?,
            had_bad: place.had_bad,
            logs: row.logs,
            worker: row.worker.as_deref().map(ToOwned::to_owned),
            bytes: match output.filter(|output| output.bytes <= MAX_OUTPUT) {
                None => line.clone(),
                Some(output) => with_output(&line, &output_of(run, output.sha256)?)?,
            },
            line,
        })
    }

    /// Returns the part of a row at `place` that a test judges and that cannot be read, as a clause.
    ///
    /// # Errors
    ///
    /// `expect` is malformed.
    pub(super) fn unreadable(
        run: &RunDir,
        row: &RowRef<'_>,
        place: RowPlace,
        test: &TestLine<'_>,
        providers: &[PreparedProvider],
    ) -> io::Result<Option<&'static str>> {
        let is_lost = |artifact: Option<&Artifact<'_>>| {
            artifact.is_some_and(|artifact| run.artifact(&artifact.sha256).is_err())
        };
        let [changes, contents] = row.changes();
        Ok(if row.output_artifact().is_some() && Self::read(run, place).is_none() {
            Some("its output cannot be read")
        } else if is_lost(changes) {
            Some("its `workspace.jsonl` cannot be read")
        } else if is_lost(contents) {
            Some("its `workspace.contents` cannot be read")
        } else if row.workspace.is_some_and(|left| !left.is_kept())
            && (test.expect()?.workspace.is_some() || test.has_workspace_grader(providers)?)
        {
            Some("the changes in its workspace were not kept")
        } else if test.expect()?.transcript.is_some_and(|expected| expected.needs_steps())
            && is_lost(row.transcript_artifact())
        {
            Some("its `transcript.json` cannot be read")
        } else {
            None
        })
    }

    /// Returns whether the row has an answer of a grader.
    pub(crate) fn is_answered_by(&self, grader: &str) -> bool {
        let row = read_line(&self.line);
        let mut grades = row.iter().flat_map(|row| &row.grades);
        grades.any(|grade| grade.error.is_none() && *grade.grader == *grader)
    }

    /// Returns the number of calls of a grader without an answer.
    pub(crate) fn asked(&self, grader: &str) -> u32 {
        let row = read_line(&self.line);
        let grades = row.iter().flat_map(|row| &row.grades);
        let mut failed = grades.filter(|grade| grade.error.is_some() && *grade.grader == *grader);
        failed.next().map_or(0, |grade| grade.attempt)
    }
}

/// The effect of a changed plan on a trial with a result.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Nothing,
    /// Only the expectations differ, and the stored output can be judged by them.
    Judge,
    Run,
}

/// The rows of a run beside a changed plan.
#[derive(Default)]
struct Seen {
    /// Here a row of an outdated test leaves its trial open, so only a later row settles it, unlike in the run's own fold.
    fold: Fold,
    rows: BTreeMap<u64, RowPlace>,
    /// Trials with a bad attempt at the plan's own test. Only such an attempt makes a later pass flaky.
    bad: HashSet<u64>,
}

impl Rejudge {
    /// Compares the fingerprints of final rows with those of the plan, and marks trials in `fold` that must run or be judged
    /// again. A trial that is pending anyway runs and is not judged. `keeps` returns whether a session's judgements are kept.
    pub(crate) fn find(
        run: &RunDir,
        suite: &Suite,
        providers: &[PreparedProvider],
        fingerprints: &Fingerprints,
        keeps: &dyn Fn(u32) -> bool,
        fold: &mut Fold,
    ) -> Result<Self, RecordError> {
        let new = || Seen { fold: Fold::new(suite.trials()), ..Seen::default() };
        let mut line = Vec::new();
        let seen = run.fold_rows(&new, &mut |Seen { fold, rows, bad }, at, head, bytes| {
            let Some(index) = suite.index(&head.trial) else { return };
            let effect = fold.add(index, (&head).into());
            let settles = effect.is_some_and(|effect| effect.settles);
            let is_ungraded = head.outcome == Outcome::Ungraded;
            if settles || rows.get(&index).is_some_and(|place: &RowPlace| place.is_ungraded) {
                rows.remove(&index);
            }
            if !settles && !is_ungraded && !head.outcome.is_bad() {
                return;
            }
            let is_kept = !is_ungraded && keeps(head.session);
            let change = change(suite, fingerprints, index, &head, bytes, is_kept, &mut line);
            // The row cannot be judged, or the test cannot be read, which sending its task reports.
            let mut change = change.unwrap_or(Change::Run);
            if settles && change == Change::Judge || is_ungraded && change != Change::Run {
                let had_bad = bad.contains(&index);
                let place = RowPlace { at, bytes: bytes.len() as u32, had_bad, is_ungraded };
                let is_readable = is_readable(run, bytes, place, &line, providers);
                if is_readable.is_ok_and(|is_readable| is_readable) {
                    rows.insert(index, place);
                } else {
                    change = Change::Run;
                }
            }
            if settles && change != Change::Nothing {
                fold.mark(index);
            }
            if head.outcome.is_bad_attempt(head.service_failed) && change == Change::Nothing {
                bad.insert(index);
            }
        })?;
        let Seen { fold: seen, mut rows, bad } = seen;
        for index in 0..suite.trials() {
            let state = seen.trial(index);
            if state.had_bad && !bad.contains(&index) {
                fold.forget_bad(index);
            }
            let is_outdated = state.outcome.is_some() && state.is_pending;
            let before = fold.trial(index);
            // A selected trial runs, and an interrupted `rescore` has left the result as it was.
            if !(if before.is_pending { before.ungraded } else { is_outdated }) {
                rows.remove(&index);
            }
            if is_outdated {
                fold.mark(index);
            }
        }
        Ok(Self(rows))
    }

    /// Returns the number of trials whose stored output is judged again.
    pub(crate) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// Returns whether the trial's stored output is judged again.
    pub(crate) fn has(&self, trial: u64) -> bool {
        self.place(trial).is_some()
    }

    /// Returns the first trial with an index of at least `from` whose stored output is judged again.
    pub(crate) fn next(&self, from: u64) -> Option<u64> {
        self.0.range(from..).next().map(|(trial, _)| *trial)
    }

    /// Returns the place of the stored row of a trial. `None` for a trial that must run.
    pub(crate) fn place(&self, trial: u64) -> Option<RowPlace> {
        self.0.get(&trial).copied()
    }
}

/// Compares the final row of a trial with the plan.
fn change(
    suite: &Suite,
    fingerprints: &Fingerprints,
    index: u64,
    head: &RowHead,
    bytes: &[u8],
    is_kept: bool,
    line: &mut Vec<u8>,
) -> io::Result<Change> {
    let planned = suite.trial(index);
    suite.line(planned.test, line)?;
    let test = TestLine::read(line)?;
    let (execution, judgement) = test.fingerprints(fingerprints, planned.provider)?;
    Ok(if head.fingerprint != execution {
        Change::Run
    } else if is_kept || head.judgement_fingerprint == judgement {
        Change::Nothing
    } else if unjudgeable(&read_line(bytes).map_err(io::Error::other)?, &test)?.is_none() {
        Change::Judge
    } else {
        Change::Run
    })
}

/// Returns the reason why a row cannot be judged, as a clause.
///
/// # Errors
///
/// `expect` is malformed.
pub(super) fn unjudgeable(
    row: &RowRef<'_>,
    test: &TestLine<'_>,
) -> io::Result<Option<&'static str>> {
    let class = row.error.as_ref().and_then(|error| error.class);
    let is_too_large = row.output_artifact().is_some_and(|output| output.bytes > MAX_OUTPUT);
    let expect = test.expect()?;
    Ok(if class == Some(ErrorClass::Crash) {
        Some("its worker crashed, so it has no output")
    } else if row.truncated && expect.metrics.is_some() {
        Some("its row is cut, and may lack metrics")
    } else if row.truncated && !row.checks.is_empty() {
        Some("its row is cut, and may lack checks of its provider")
    } else if expect.stderr.is_some() {
        Some("its test checks the standard error, which is not stored")
    } else if is_too_large {
        Some("its output has more than 8 MiB")
    } else {
        None
    })
}

/// Returns whether the row at `place` has all that the test in `line` judges.
fn is_readable(
    run: &RunDir,
    bytes: &[u8],
    place: RowPlace,
    line: &[u8],
    providers: &[PreparedProvider],
) -> io::Result<bool> {
    let row = read_line(bytes).map_err(io::Error::other)?;
    Ok(StoredRow::unreadable(run, &row, place, &TestLine::read(line)?, providers)?.is_none())
}

fn output_of(run: &RunDir, digest: Digest) -> Option<Box<RawValue>> {
    let mut text = String::new();
    let file = run.artifact(&digest).ok()?;
    file.take(MAX_OUTPUT).read_to_string(&mut text).ok()?;
    RawValue::from_string(text).ok()
}

/// Replaces the artifact of a row by its output.
fn with_output(line: &[u8], output: &RawValue) -> Option<Vec<u8>> {
    let mut row: BTreeMap<&str, &RawValue> = serde_json::from_slice(line).ok()?;
    let mut artifacts: Vec<Artifact<'_>> =
        serde_json::from_str(row.get("artifacts")?.get()).ok()?;
    artifacts.retain(|artifact| *artifact.name != *OUTPUT_ARTIFACT);
    let artifacts = to_raw_value(&artifacts).ok()?;
    row.insert("artifacts", &artifacts);
    row.insert("output", output);
    serde_json::to_vec(&row).ok()
}
