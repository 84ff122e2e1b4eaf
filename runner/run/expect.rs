//! The judge: what a test expects against what came.

use std::time::Duration;

use serde_json::{Value, json};

use super::{deadline::Deadline, json as compare};
use crate::{
    model::{AttemptError, Check, CheckVerdict, Metric, Outcome, Usage},
    plugin::{Ending, Reply},
    scenario::{Expect, ExpectedError, Schema},
};

/// How many of the places where an output breaks its schema are named.
const MAX_SCHEMA_ERRORS: usize = 5;

/// How many of the last lines of a command's standard error its failure shows.
const MAX_STDERR_LINES: usize = 8;

/// For a provider that is called as a plain command, and was written for something else.
const PROTOCOL_HINT: &str = "this looks like an answer of the JSON protocol, which a provider speaks with \
                             `protocol = \"json\"`";

/// What an attempt came to, judged.
pub(super) struct Judged {
    pub(super) outcome: Outcome,
    pub(super) checks: Vec<Check>,
    pub(super) error: Option<AttemptError>,
    pub(super) output: Option<Value>,
    pub(super) score: Option<f64>,
    pub(super) metrics: Vec<Metric>,
    pub(super) summary: Option<String>,
}

/// What was measured of an attempt, as far as expectations may speak of it.
#[derive(Clone, Copy)]
pub(super) struct Measured<'a> {
    pub(super) duration: Duration,
    pub(super) usage: Usage,
    pub(super) stderr: &'a str,
    /// What may have led to a bad end.
    pub(super) hint: Option<&'a str>,
}

/// Judges how an attempt ended.
pub(super) fn judge(
    expect: &Expect,
    deadline: &Deadline,
    ending: Ending,
    measured: Measured<'_>,
) -> Judged {
    match ending {
        Ending::Reply(reply) => judge_reply(expect, reply, measured),
        Ending::Error(error) => {
            let came = error.class.map(ExpectedError::Class);
            judge_error(expect, Outcome::Error, came, error)
        }
        Ending::Timeout => {
            let error = timeout_error(deadline);
            judge_error(
                expect,
                Outcome::Timeout,
                Some(ExpectedError::Timeout),
                error,
            )
        }
        Ending::Stopped => without_reply(Outcome::Stopped, Vec::new(), Some(stop_error())),
    }
}

/// What a stopped attempt's row says.
pub(super) fn stop_error() -> AttemptError {
    AttemptError {
        class: None,
        code: "stopped".into(),
        message: "the run was stopped".into(),
        retry_after: None,
        fault: None,
    }
}

fn timeout_error(deadline: &Deadline) -> AttemptError {
    AttemptError {
        class: None,
        code: deadline.rule.code().into(),
        message: deadline.text(),
        retry_after: None,
        fault: None,
    }
}

fn judge_reply(expect: &Expect, reply: Reply, measured: Measured<'_>) -> Judged {
    let mut checks = check_reply(expect, &reply, measured);
    checks.extend(reply.checks);
    if reply.exit_code.is_some() {
        hint_at_protocol(&mut checks, &reply.output);
    }

    let verdicts = || {
        checks
            .iter()
            .map(|check| check.verdict)
            .chain(reply.verdict)
    };
    let outcome = if verdicts().any(|verdict| verdict == CheckVerdict::Fail) {
        Outcome::Failed
    } else if reply.verdict == Some(CheckVerdict::Skip) {
        Outcome::Skipped
    } else {
        Outcome::Passed
    };
    Judged {
        outcome,
        checks,
        error: None,
        output: Some(reply.output),
        score: reply.score,
        metrics: reply.metrics,
        summary: reply.summary,
    }
}

/// Tells whether a plain command's output is what commands of the JSON protocol answer.
fn is_protocol_answer(output: &Value) -> bool {
    let parsed = output
        .as_str()
        .and_then(|text| serde_json::from_str::<Value>(text).ok());
    let object = parsed.as_ref().unwrap_or(output).as_object();
    object.is_some_and(|object| {
        let has = |key, part| {
            object
                .get(key)
                .is_some_and(|answer| answer.get(part).is_some())
        };
        object.len() == 1 && (has("ok", "output") || has("err", "kind"))
    })
}

/// Says behind the message of the first check that failed if a plain command seems to speak the JSON protocol.
fn hint_at_protocol(checks: &mut [Check], output: &Value) {
    let mut failed = checks
        .iter_mut()
        .filter(|check| check.verdict == CheckVerdict::Fail);
    if let Some(message) = failed.next().and_then(|check| check.message.as_mut())
        && is_protocol_answer(output)
    {
        message.push_str("; ");
        message.push_str(PROTOCOL_HINT);
    }
}

/// Judges an attempt that gave no reply: it passes only if just this was expected.
fn judge_error(
    expect: &Expect,
    outcome: Outcome,
    came: Option<ExpectedError>,
    error: AttemptError,
) -> Judged {
    let Some(expected) = expect.error else {
        return without_reply(outcome, Vec::new(), Some(error));
    };
    let came = came.map_or("internal", ExpectedError::as_str);
    let is_expected = came == expected.as_str();
    let check = compared(
        "error",
        is_expected,
        || (json!(expected.as_str()), json!(came)),
        || {
            format!(
                "expected `{}`, got `{came}`: {}",
                expected.as_str(),
                error.message
            )
        },
    );
    let outcome = if is_expected {
        Outcome::Passed
    } else {
        outcome
    };
    without_reply(outcome, vec![check], Some(error))
}

fn without_reply(outcome: Outcome, checks: Vec<Check>, error: Option<AttemptError>) -> Judged {
    Judged {
        outcome,
        checks,
        error,
        output: None,
        score: None,
        metrics: Vec::new(),
        summary: None,
    }
}

/// Makes a named check of every expectation that is set, in the order of the documentation.
fn check_reply(expect: &Expect, reply: &Reply, measured: Measured<'_>) -> Vec<Check> {
    let output = &reply.output;
    let mut checks = Vec::new();
    if let Some(expected) = &expect.equals {
        checks.push(equals(expected, output));
    }
    checks.extend(
        expect
            .contains
            .iter()
            .map(|needle| contains(needle, output)),
    );
    if let Some(pattern) = &expect.matches {
        checks.push(matches(pattern, output));
    }
    if let Some(expected) = &expect.json {
        checks.push(subset(expected, output, expect.tolerance.unwrap_or(0.0)));
    }
    if let Some(schema) = &expect.schema {
        checks.push(conforms(schema, output));
    }
    if let Some(expected) = expect.error {
        checks.push(compared(
            "error",
            false,
            || (json!(expected.as_str()), Value::Null),
            || format!("expected `{}`, got a reply", expected.as_str()),
        ));
    }
    checks.extend(exit_code(expect, reply, measured));
    checks.extend(thresholds(expect, reply, measured));
    checks
}

fn equals(expected: &Value, output: &Value) -> Check {
    let mut check = compared(
        "equals",
        compare::same(expected, output),
        || (expected.clone(), output.clone()),
        || "the output is not what was expected".into(),
    );
    if check.verdict == CheckVerdict::Fail {
        check.diff = compare::diff(expected, output);
    }
    check
}

fn contains(needle: &Value, output: &Value) -> Check {
    let holds = match (output, needle) {
        (Value::String(text), Value::String(part)) => text.contains(part.as_str()),
        (Value::Array(items), needle) => items.iter().any(|item| compare::same(item, needle)),
        _ => false,
    };
    compared(
        "contains",
        holds,
        || (needle.clone(), output.clone()),
        || format!("the output does not contain {needle}"),
    )
}

fn matches(pattern: &regex::Regex, output: &Value) -> Check {
    let text = compare::as_text(output);
    compared(
        "matches",
        pattern.is_match(&text),
        || (json!(pattern.as_str()), output.clone()),
        || format!("the output does not match `{}`", pattern.as_str()),
    )
}

fn subset(expected: &Value, output: &Value, tolerance: f64) -> Check {
    let mismatch = compare::first_mismatch(expected, output, tolerance);
    let mut check = compared(
        "json",
        mismatch.is_none(),
        || (expected.clone(), output.clone()),
        || mismatch.clone().unwrap_or_default(),
    );
    if check.verdict == CheckVerdict::Fail {
        check.diff = compare::diff(expected, output);
    }
    check
}

fn conforms(schema: &Schema, output: &Value) -> Check {
    let errors: Vec<_> = schema
        .validator()
        .iter_errors(output)
        .take(MAX_SCHEMA_ERRORS)
        .map(|error| match error.instance_path().as_str() {
            "" => error.to_string(),
            path => format!("at `{path}`: {error}"),
        })
        .collect();
    let message = || errors.join("; ");
    compared(
        "schema",
        errors.is_empty(),
        || (schema.value().clone(), output.clone()),
        message,
    )
}

/// A plain command must exit with 0 unless the test says otherwise.
fn exit_code(expect: &Expect, reply: &Reply, measured: Measured<'_>) -> Option<Check> {
    let Some(code) = reply.exit_code else {
        let expected = expect.exit_code?;
        return Some(compared(
            "exit_code",
            false,
            || (json!(expected), Value::Null),
            || "the provider has no exit code: it is no plain command".into(),
        ));
    };
    let expected = expect.exit_code.unwrap_or(0);
    let check = compared(
        "exit_code",
        code == expected,
        || (json!(expected), json!(code)),
        || exit_message(expected, code, measured),
    );
    let is_worth_a_check = expect.exit_code.is_some() || check.verdict == CheckVerdict::Fail;
    is_worth_a_check.then_some(check)
}

/// Says what a command had to say for itself.
fn exit_message(expected: i32, code: i32, measured: Measured<'_>) -> String {
    let mut message = format!("expected exit code {expected}, got {code}");
    if let Some(hint) = measured.hint {
        message = format!("{message}; {hint}");
    }
    let lines: Vec<_> = measured.stderr.trim_end().lines().collect();
    if lines.is_empty() {
        return message;
    }
    let tail = &lines[lines.len().saturating_sub(MAX_STDERR_LINES)..];
    format!(
        "{message}; its standard error ends with\n{}",
        tail.join("\n")
    )
}

fn thresholds(expect: &Expect, reply: &Reply, measured: Measured<'_>) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(least) = expect.min_score {
        let holds = reply.score.is_some_and(|score| score >= least);
        checks.push(compared(
            "min_score",
            holds,
            || (json!(least), json!(reply.score)),
            || match reply.score {
                Some(score) => format!("expected a score of at least {least}, got {score}"),
                None => format!("expected a score of at least {least}, got none"),
            },
        ));
    }
    if let Some(most) = expect.max_duration {
        let took = measured.duration;
        checks.push(compared(
            "max_duration",
            took <= most,
            || {
                let millis = |time: Duration| json!(time.as_secs_f64() * 1e3);
                (millis(most), millis(took))
            },
            || format!("expected at most {most:?}, took {took:.1?}"),
        ));
    }
    if let Some(most) = expect.max_memory {
        let peak = measured.usage.peak_memory;
        checks.push(compared(
            "max_memory",
            peak <= most,
            || (json!(most), json!(peak)),
            || format!("expected at most {most} bytes, used {peak}"),
        ));
    }
    checks
}

/// Makes a check; the values and the message are kept only where they tell something.
fn compared(
    name: &str,
    holds: bool,
    values: impl FnOnce() -> (Value, Value),
    message: impl FnOnce() -> String,
) -> Check {
    let (verdict, message, expected, actual) = if holds {
        (CheckVerdict::Pass, None, None, None)
    } else {
        let (expected, actual) = values();
        (
            CheckVerdict::Fail,
            Some(message()),
            Some(expected),
            Some(actual),
        )
    };
    Check {
        name: name.into(),
        verdict,
        score: None,
        message,
        expected,
        actual,
        diff: None,
        details: None,
    }
}
