//! Judges a stored row again, by what its test expects now. No guest is called.

use std::io;

use runner_model::{
    Outcome, Row, RowRef,
    log::Said,
    outcome::Verdict,
    row::Check,
    test::{Expect, ExpectedError},
};

use super::{Judge, judge_error};
use crate::report::Report;

/// The names of the scenario's checks, in their order.
const NAMES: [&str; 6] = [
    "equals",
    "contains",
    "matches",
    "json",
    "error",
    "max_duration",
];

/// Judges the row that is stored of an attempt. Its times, its output and what the provider said stay as they are.
///
/// # Errors
///
/// Bytes that are no row.
pub fn judge_again<'a>(judge: &Judge, expect: &Expect, stored: &'a [u8]) -> io::Result<Report<'a>> {
    let row: RowRef<'a> = serde_json::from_slice(stored)?;
    let took = row.duration();
    let own = own_checks(row.checks);
    let (outcome, mut checks) = match (&row.output, &row.error) {
        (Some(output), _) => judge.output(expect, output, row.verdict, &own, took),
        (None, Some(error)) => {
            let (outcome, came) = match error.class {
                Some(class) => (Outcome::Error, ExpectedError::Class(class)),
                None => (Outcome::Timeout, ExpectedError::Timeout),
            };
            judge_error(expect, outcome, came, error)
        }
        (None, None) => return Err(io::Error::other("a row without an output and an error")),
    };
    checks.extend(own);
    let row = Row {
        v: row.v,
        test: row.trial.test.clone(),
        provider: row.trial.provider.clone(),
        trial: row.trial,
        repeat: row.repeat,
        attempt: row.attempt,
        outcome,
        started_at: row.started_at,
        duration_ms: row.duration_ms,
        usage: row.usage,
        output: row.output,
        verdict: row.verdict,
        score: row.score,
        checks,
        grades: row.grades,
        metrics: row.metrics,
        error: row.error,
        denied: row.denied,
        artifacts: Vec::new(),
        truncated: row.truncated,
        suspended_ms: row.suspended_ms,
    };
    Ok(Report::new(row, Said::default(), None))
}

/// The checks that no expectation has made. The scenario's come first, in the order of their names; each says no more than
/// that it held, or what was expected. The exit code of a command is checked whatever a test expects.
fn own_checks(checks: Vec<Check<'_>>) -> Vec<Check<'_>> {
    let mut from = 0;
    let mut is_own = |check: &Check<'_>| {
        let place = NAMES.iter().position(|name| **name == *check.name);
        let is_plain = check.score.is_none() && check.details.is_none();
        let is_said = match check.verdict {
            Verdict::Pass => check.message.is_none(),
            Verdict::Fail => check.expected.is_some(),
            Verdict::Skip => false,
        };
        match place.filter(|place| *place >= from && is_plain && is_said) {
            Some(place) => from = place,
            None if *check.name == *"exit_code" && check.expected.is_some() => return true,
            None => from = NAMES.len(),
        }
        from == NAMES.len()
    };
    checks.into_iter().filter(|check| is_own(check)).collect()
}
