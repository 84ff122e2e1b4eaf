//! The judge: what a test expects against what came.

use std::time::Duration;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

use super::{copies::Copies, deadline::Deadline, json as compare, unmade::stop_error};
use crate::{
    model::{AttemptError, BoundedText, Check, CheckVerdict, Metric, Outcome, Usage},
    plugin::{Ending, Reply, cost_of},
    scenario::{Expect, ExpectedError, Schema},
};

/// How many of the places where an output breaks its schema are named.
const MAX_SCHEMA_ERRORS: usize = 5;
/// How much is told of each of them, in bytes: a validator writes the whole value that is wrong.
const MAX_SCHEMA_ERROR_BYTES: usize = 1024;
/// How much memory an output may take in which such places are looked for: a validator may find one in every value and
/// make a list of all before the first is told. Whether a larger output is valid is all that is asked.
const MAX_EXPLAINED_BYTES: u64 = 1024 * 1024;
/// How much of an error's message a check repeats, in bytes; the row has the error itself.
const MAX_REPEATED_BYTES: usize = 4 * 1024;
/// Said behind the message of a check that does not repeat what came.
const NOT_REPEATED: &str = "the output is too large to be repeated here";

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
    /// Nothing of it is kept, however large it is.
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Answer {
        Ok {
            #[serde(rename = "output")]
            _output: IgnoredAny,
        },
        Err {
            #[serde(rename = "kind")]
            _kind: IgnoredAny,
        },
    }
    match output {
        Value::String(text) => serde_json::from_str::<Answer>(text).is_ok(),
        output => Answer::deserialize(output).is_ok(),
    }
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
                BoundedText::of(MAX_REPEATED_BYTES, &error.message)
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
    let copies = &Copies::new();
    let mut checks = Vec::new();
    if let Some(expected) = &expect.equals {
        checks.push(equals(expected, output, copies));
    }
    checks.extend(
        expect
            .contains
            .iter()
            .map(|needle| contains(needle, output, copies)),
    );
    if let Some(pattern) = &expect.matches {
        checks.push(matches(pattern, output, copies));
    }
    if let Some(expected) = &expect.json {
        let tolerance = expect.tolerance.unwrap_or(0.0);
        checks.push(subset(expected, output, tolerance, copies));
    }
    if let Some(schema) = &expect.schema {
        checks.push(conforms(schema, output, copies));
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

fn equals(expected: &Value, output: &Value, copies: &Copies) -> Check {
    let mut check = compared(
        "equals",
        compare::same(expected, output),
        || (expected.clone(), copies.of(output)),
        || "the output is not what was expected".into(),
    );
    if check.verdict == CheckVerdict::Fail {
        check.diff = compare::diff(expected, output);
    }
    check
}

fn contains(needle: &Value, output: &Value, copies: &Copies) -> Check {
    let holds = match (output, needle) {
        (Value::String(text), Value::String(part)) => text.contains(part.as_str()),
        (Value::Array(items), needle) => items.iter().any(|item| compare::same(item, needle)),
        _ => false,
    };
    compared(
        "contains",
        holds,
        || (needle.clone(), copies.of(output)),
        || format!("the output does not contain {needle}"),
    )
}

fn matches(pattern: &regex::Regex, output: &Value, copies: &Copies) -> Check {
    let text = compare::as_text(output);
    compared(
        "matches",
        pattern.is_match(&text),
        || (json!(pattern.as_str()), copies.of(output)),
        || format!("the output does not match `{}`", pattern.as_str()),
    )
}

fn subset(expected: &Value, output: &Value, tolerance: f64, copies: &Copies) -> Check {
    let mismatch = compare::first_mismatch(expected, output, tolerance);
    let mut check = compared(
        "json",
        mismatch.is_none(),
        || (expected.clone(), copies.of(output)),
        || mismatch.clone().unwrap_or_default(),
    );
    if check.verdict == CheckVerdict::Fail {
        check.diff = compare::diff(expected, output);
    }
    check
}

fn conforms(schema: &Schema, output: &Value, copies: &Copies) -> Check {
    compared(
        "schema",
        schema.validator().is_valid(output),
        || (schema.value().clone(), copies.of(output)),
        || schema_message(schema, output),
    )
}

fn schema_message(schema: &Schema, output: &Value) -> String {
    if cost_of(output, MAX_EXPLAINED_BYTES) == MAX_EXPLAINED_BYTES {
        return "the output is not valid by the schema, and too large to look for where".into();
    }
    let errors = schema.validator().iter_errors(output);
    let errors: Vec<_> = errors
        .take(MAX_SCHEMA_ERRORS)
        .map(|error| match error.instance_path().as_str() {
            "" => BoundedText::of(MAX_SCHEMA_ERROR_BYTES, error),
            path => BoundedText::of(MAX_SCHEMA_ERROR_BYTES, format_args!("at `{path}`: {error}")),
        })
        .collect();
    errors.join("; ")
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
fn compared<A: Into<Option<Value>>>(
    name: &str,
    holds: bool,
    values: impl FnOnce() -> (Value, A),
    message: impl FnOnce() -> String,
) -> Check {
    let (verdict, message, expected, actual) = if holds {
        (CheckVerdict::Pass, None, None, None)
    } else {
        let (expected, actual) = values();
        let actual = actual.into();
        let mut message = message();
        if actual.is_none() {
            message = format!("{message}; {NOT_REPEATED}");
        }
        (CheckVerdict::Fail, Some(message), Some(expected), actual)
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
