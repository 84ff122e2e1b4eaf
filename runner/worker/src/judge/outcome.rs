//! [`judge`]: the outcome of a row, and its checks. [`rejudge`]: those of a stored row by the current `expect`.

use std::mem;

use runner_model::row::{Check, CheckKind, RowError, limit_of};
use runner_model::test::{Expect, ExpectedError};
use runner_model::{ErrorClass, Outcome, Row, RowRef, Text, outcome::Verdict};

use super::checks::{Evidence, check_metrics, check_output, check_stderr, failed, passed, raw};
use super::compiled::CompiledCache;
use super::transcript::check_transcript;
use super::workspace::check_workspace;

/// Judges a row that has an output and the provider's own checks, or an error. Sets its outcome, and inserts the checks of
/// the scenario before the provider's.
pub fn judge(cache: &CompiledCache, expect: &Expect, row: &mut Row<'_>, evidence: &Evidence<'_>) {
    let checks = if let Some(output) = &row.output {
        let mut checks = check_output(cache, expect, row, output, evidence);
        checks.extend(check_workspace(cache, expect, evidence));
        checks.extend(check_transcript(cache, expect, row.transcript, evidence));
        row.outcome = reply_outcome(checks.iter().chain(&row.checks), row.verdict);
        checks
    } else if let Some(error) = &row.error {
        let (outcome, mut checks) = judge_error(expect, error);
        row.outcome = outcome;
        if outcome == Outcome::Passed {
            checks.extend(check_stderr(cache, expect, evidence.stderr));
            checks.extend(check_metrics(expect, &row.metrics));
            checks.extend(check_workspace(cache, expect, evidence));
            checks.extend(check_transcript(cache, expect, row.transcript, evidence));
            row.outcome = reply_outcome(checks.iter(), None);
        }
        checks
    } else {
        return;
    };
    let own = mem::replace(&mut row.checks, checks);
    row.checks.extend(own);
}

/// Marks the row of an attempt that was cut off and whose workspace is kept. If the test judges such attempts, adds the checks of
/// the workspace, which decide once no retry follows.
pub fn judge_cut(
    cache: &CompiledCache,
    expect: &Expect,
    row: &mut Row<'_>,
    evidence: &Evidence<'_>,
) {
    let error = row.error.as_ref().filter(|_| expect.error.is_none());
    let limit = error.and_then(|error| limit_of(row.outcome, error));
    row.cut_by = limit.map(Text::into_owned);
    if row.cut_by.is_some() && expect.judge_partial {
        let mut checks: Vec<_> = check_metrics(expect, &row.metrics).collect();
        checks.extend(check_workspace(cache, expect, evidence));
        // Otherwise an agent that never ends could make the calls that its test forbids.
        checks.extend(check_transcript(cache, expect, row.transcript, evidence));
        row.checks.splice(0..0, checks);
    }
}

/// Returns the outcome of a reply with these checks, the scenario's and the provider's own, and the provider's verdict.
fn reply_outcome<'a>(
    mut checks: impl Iterator<Item = &'a Check<'a>>,
    verdict: Option<Verdict>,
) -> Outcome {
    match verdict {
        _ if checks.any(|check| check.verdict == Verdict::Fail) => Outcome::Failed,
        Some(Verdict::Fail) => Outcome::Failed,
        Some(Verdict::Skip) => Outcome::Skipped,
        Some(Verdict::Pass) | None => Outcome::Passed,
    }
}

/// Judges an attempt without a reply. It passes only if the test expects this error.
pub(super) fn judge_error(expect: &Expect, error: &RowError<'_>) -> (Outcome, Vec<Check<'static>>) {
    let (outcome, actual) = match error.class {
        Some(class) => (Outcome::Error, ExpectedError::Class(class)),
        None => (Outcome::Timeout, ExpectedError::Timeout),
    };
    let Some(expected) = expect.error else {
        return (outcome, Vec::new());
    };
    if actual == expected {
        return (Outcome::Passed, vec![passed(CheckKind::Error)]);
    }
    let actual = actual.as_str();
    let expected = expected.as_str();
    // The row has the error.
    let message = format!("expected `{expected}`, got `{actual}`");
    (outcome, vec![failed(CheckKind::Error, message, &expected, raw(&actual))])
}

/// Judges a stored row again by the test's current `expect`, without a call and without graders. Replaces the outcome and the checks of the scenario; all else stays.
///
/// `evidence.exit_code` must be `Some(0)` for a plain command. The row's check `exit_code` replaces it. A check `stderr` stays
/// as it is, because the standard error is not in the row.
pub fn rejudge<'a>(
    cache: &CompiledCache,
    expect: &Expect,
    stored: RowRef<'a>,
    evidence: &Evidence<'_>,
) -> Row<'a> {
    let is_cut = stored.workspace.is_some_and(|left| left.is_kept() && left.partial);
    let mut row = Row { artifacts: Vec::new(), ..stored.into() };
    if row.cut_by.is_some() {
        row.error.take_if(|error| error.class == Some(ErrorClass::Grader));
        row.restore_error();
        row.cut_by = None;
    }
    let (own, old): (Vec<_>, _) =
        mem::take(&mut row.checks).into_iter().partition(|check| check.kind.is_none());
    row.checks = own;
    let is_exit = |check: &Check<'_>| check.kind == Some(CheckKind::ExitCode);
    let (old_exit, others): (Vec<_>, Vec<_>) = old.into_iter().partition(is_exit);
    let old_exit = old_exit.into_iter().next().filter(|_| evidence.exit_code.is_some());
    let actual = old_exit.as_ref().and_then(|check| check.actual.as_ref());
    let code = actual.and_then(|code| code.get().parse().ok());
    let evidence = Evidence { exit_code: code.or(evidence.exit_code), ..*evidence };
    let expect = Expect { stderr: None, ..expect.clone() };
    judge(cache, &expect, &mut row, &evidence);
    if is_cut {
        judge_cut(cache, &expect, &mut row, &evidence);
    }
    let new_exit = row.checks.iter_mut().find(|check| is_exit(check));
    if let (Some(new), Some(old)) = (new_exit, old_exit)
        && new.expected == old.expected
    {
        // A judgement has no standard error. Older rows have it in the message.
        new.message = old.message;
        new.stderr = old.stderr;
    }
    let stderr = others.into_iter().find(|check| check.kind == Some(CheckKind::Stderr));
    row.checks.splice(0..0, stderr);
    row
}
