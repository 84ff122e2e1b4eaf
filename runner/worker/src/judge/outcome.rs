//! [`judge`]: the outcome of a row, and its checks.

use std::mem;

use runner_model::row::{Check, RowError};
use runner_model::test::{Expect, ExpectedError};
use runner_model::{Outcome, Row, outcome::Verdict};
use runner_sandbox::cut;

use super::cache::CompiledCache;
use super::checks::{Evidence, check_output, check_stderr, failed, passed, raw};

/// Bytes of an error's message in a check. The row has the whole error.
const MAX_MESSAGE: usize = 4 << 10;

/// Judges a row that has an output and the provider's own checks, or an error. Sets its outcome, and inserts the checks of
/// the scenario before the provider's.
pub fn judge(cache: &CompiledCache, expect: &Expect, row: &mut Row<'_>, evidence: &Evidence<'_>) {
    let checks = if let Some(output) = &row.output {
        let checks = check_output(cache, expect, row, output, evidence);
        row.outcome = reply_outcome(checks.iter().chain(&row.checks), row.verdict);
        checks
    } else if let Some(error) = &row.error {
        let (outcome, mut checks) = judge_error(expect, error);
        row.outcome = outcome;
        if let Some(check) =
            check_stderr(cache, expect, evidence.stderr).filter(|_| outcome == Outcome::Passed)
        {
            if check.verdict == Verdict::Fail {
                row.outcome = Outcome::Failed;
            }
            checks.push(check);
        }
        checks
    } else {
        return;
    };
    let own = mem::replace(&mut row.checks, checks);
    row.checks.extend(own);
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
        return (Outcome::Passed, vec![passed("error")]);
    }
    let (actual, expected) = (actual.as_str(), expected.as_str());
    let message = cut(MAX_MESSAGE, &error.message);
    let message = format!("expected `{expected}`, got `{actual}`: {message}");
    (outcome, vec![failed("error", message, &expected, raw(&actual))])
}
