//! Judges a stored row again, by what its test expects now. No guest is called.

use std::io;

use runner_model::{Row, RowRef, outcome::Verdict, row::Check, test::Expect};

use super::{Evidence, Judge};

/// The names of the scenario's checks, in their order.
const NAMES: [&str; 10] = [
    "equals",
    "contains",
    "matches",
    "json",
    "schema",
    "error",
    EXIT_CODE,
    "min_score",
    "max_duration",
    "max_memory",
];
const EXIT_CODE: &str = "exit_code";

/// Judges the row that is stored of an attempt. Its times, its output and what the provider said stay as they are. Of a
/// plain command there is an exit code in the evidence, and the one that counts is in the row.
///
/// # Errors
///
/// Bytes that are no row.
pub fn judge_again<'a>(
    judge: &Judge,
    expect: &Expect,
    stored: &'a [u8],
    of: &Evidence<'_>,
) -> io::Result<Row<'a>> {
    let stored: RowRef<'a> = serde_json::from_slice(stored)?;
    let (own, exit) = split(stored.checks, of.exit_code.is_some());
    let code = exit.as_ref().and_then(|exit| exit.actual.as_ref());
    let code = code.and_then(|code| code.get().parse().ok());
    let of = Evidence { exit_code: of.exit_code.map(|none| code.unwrap_or(none)), ..*of };
    let mut row = Row {
        v: stored.v,
        test: stored.trial.test.clone(),
        provider: stored.trial.provider.clone(),
        trial: stored.trial,
        repeat: stored.repeat,
        attempt: stored.attempt,
        outcome: stored.outcome,
        started_at: stored.started_at,
        duration_ms: stored.duration_ms,
        usage: stored.usage,
        output: stored.output,
        verdict: stored.verdict,
        score: stored.score,
        checks: own,
        grades: stored.grades,
        metrics: stored.metrics,
        error: stored.error,
        denied: stored.denied,
        artifacts: Vec::new(),
        truncated: stored.truncated,
        suspended_ms: stored.suspended_ms,
    };
    judge.judge(expect, &mut row, &of);
    // The words of the check that told it are kept: they show the command's standard error.
    let is_exit = |check: &&mut Check<'_>| *check.name == *EXIT_CODE;
    if let (Some(made), Some(exit)) = (row.checks.iter_mut().find(is_exit), exit)
        && made.expected == exit.expected
    {
        made.message = exit.message;
    }
    Ok(row)
}

/// The checks that no expectation has made, and the one of the exit code of a plain command, which makes none of its own.
/// The scenario's come first, in the order of their names; each says no more than that it held, or what was expected.
fn split(checks: Vec<Check<'_>>, is_plain: bool) -> (Vec<Check<'_>>, Option<Check<'_>>) {
    if is_plain {
        let exit = checks.into_iter().find(|check| *check.name == *EXIT_CODE);
        return (Vec::new(), exit);
    }
    let mut from = 0;
    let mut is_own = |check: &Check<'_>| {
        let place = NAMES.iter().position(|name| **name == *check.name);
        let is_bare = check.score.is_none() && check.details.is_none();
        let is_said = match check.verdict {
            Verdict::Pass => check.message.is_none(),
            Verdict::Fail => check.expected.is_some(),
            Verdict::Skip => false,
        };
        from = match place.filter(|place| *place >= from && is_bare && is_said) {
            Some(place) => place,
            None => NAMES.len(),
        };
        from == NAMES.len()
    };
    let own = checks.into_iter().filter(|check| is_own(check)).collect();
    (own, None)
}
