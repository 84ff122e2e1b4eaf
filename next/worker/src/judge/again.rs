//! Judges a stored row again, by what its test expects now. No guest is called.

use std::io;

use runner_model::{
    Outcome, Row, RowRef,
    log::Said,
    outcome::Verdict,
    row::Check,
    test::{Expect, ExpectedError},
};

use super::{Evidence, Judge, judge_error};
use crate::{attempt::Made, schema::Schema};

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

/// What is judged again, and what is known of it beside the row.
pub struct Stored<'a, 's> {
    pub row: &'a [u8],
    /// Whether the provider is a plain command.
    pub is_plain: bool,
    /// Bytes that the output may take as a tree of values.
    pub most_tree: usize,
    /// The schema that the test expects.
    pub schema: Option<&'s Result<Schema, String>>,
}

/// Judges the row that is stored of an attempt. Its times, its output and what the provider said stay as they are.
///
/// # Errors
///
/// Bytes that are no row.
pub fn judge_again<'a>(
    judge: &Judge,
    expect: &Expect,
    stored: &Stored<'a, '_>,
) -> io::Result<Made<'a>> {
    let row: RowRef<'a> = serde_json::from_slice(stored.row)?;
    let took = row.duration();
    let (own, exit) = split(row.checks, stored.is_plain);
    let (outcome, mut checks) = match (&row.output, &row.error) {
        (Some(output), _) => {
            let code = exit.as_ref().and_then(|exit| exit.actual.as_ref());
            let code = code.and_then(|code| code.get().parse().ok()).unwrap_or(0);
            judge.output(
                expect,
                &Evidence {
                    output,
                    most_tree: stored.most_tree,
                    schema: stored.schema,
                    verdict: row.verdict,
                    score: row.score,
                    own: &own,
                    exit_code: stored.is_plain.then_some(code),
                    // The check that told it is kept.
                    stderr: "",
                    took,
                    peak_memory: row.usage.peak_memory,
                },
            )
        }
        (None, Some(error)) => {
            let (outcome, came) = match error.class {
                Some(class) => (Outcome::Error, ExpectedError::Class(class)),
                None => (Outcome::Timeout, ExpectedError::Timeout),
            };
            judge_error(expect, outcome, came, error)
        }
        (None, None) => return Err(io::Error::other("a row without an output and an error")),
    };
    let is_exit = |check: &&mut Check<'_>| *check.name == *EXIT_CODE;
    if let (Some(made), Some(exit)) = (checks.iter_mut().find(is_exit), exit)
        && made.expected == exit.expected
    {
        made.message = exit.message.map(|message| message.to_string().into());
    }
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
    Ok(Made {
        row,
        said: Said::default(),
        left: Vec::new(),
        host_fault: None,
    })
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
