//! One named check for each expectation that is set.

use std::{borrow::Cow, time::Duration};

use serde_json::{Value, json};

use super::{
    copies::Copies,
    evidence::{Evidence, ReplyEvidence},
    json as compare,
};
use crate::{
    model::{BoundedText, Check, CheckVerdict, ShownDuration, json_cost_of},
    scenario::{Expect, Schema},
};

/// How many of the places where an output breaks its schema are named.
const MAX_SCHEMA_ERRORS: usize = 5;
/// How much is reported of each of them, in bytes: a validator writes the whole value that is wrong.
const MAX_SCHEMA_ERROR_BYTES: usize = 1024;
/// How much memory an output may take in which such places are looked for: a validator may find one in every value and
/// make a list of all before the first is reported. Whether a larger output is valid is all that is asked.
const MAX_EXPLAINED_BYTES: u64 = 1024 * 1024;
/// Said behind the message of a check that does not repeat what came.
const NOT_REPEATED: &str = "the output is too large to be repeated here";
/// How many of the last lines of a command's standard error its failure shows.
const MAX_STDERR_LINES: usize = 8;

/// Makes a named check of every expectation that is set, in the order of the documentation.
pub(super) fn check_reply(
    expect: &Expect,
    reply: &ReplyEvidence<'_>,
    evidence: &Evidence<'_>,
) -> Vec<Check> {
    let output = reply.output;
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
    checks.extend(exit_code(expect, reply, evidence));
    checks.extend(thresholds(expect, reply, evidence));
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
    if json_cost_of(output, MAX_EXPLAINED_BYTES) == MAX_EXPLAINED_BYTES {
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
fn exit_code(expect: &Expect, reply: &ReplyEvidence<'_>, evidence: &Evidence<'_>) -> Option<Check> {
    let Some(code) = reply.exit_code else {
        let expected = expect.exit_code?;
        return Some(compared(
            "exit_code",
            false,
            || (json!(expected), Value::Null),
            || "the provider has no exit code: it is not a plain command".into(),
        ));
    };
    let expected = expect.exit_code.unwrap_or(0);
    let check = compared(
        "exit_code",
        code == expected,
        || (json!(expected), json!(code)),
        || exit_message(expected, code, evidence),
    );
    let is_worth_a_check = expect.exit_code.is_some() || check.verdict == CheckVerdict::Fail;
    is_worth_a_check.then_some(check)
}

/// Says what a command had to say for itself.
fn exit_message(expected: i32, code: i32, evidence: &Evidence<'_>) -> String {
    let mut message = format!("expected exit code {expected}, got {code}");
    if let Some(hint) = evidence.hint {
        message = format!("{message}; {hint}");
    }
    let lines: Vec<_> = evidence.stderr.trim_end().lines().collect();
    if lines.is_empty() {
        return message;
    }
    let tail = &lines[lines.len().saturating_sub(MAX_STDERR_LINES)..];
    format!(
        "{message}; its standard error ends with\n{}",
        tail.join("\n")
    )
}

fn thresholds(expect: &Expect, reply: &ReplyEvidence<'_>, evidence: &Evidence<'_>) -> Vec<Check> {
    let mut checks = Vec::new();
    // With graders it is theirs.
    if let Some(least) = expect.min_score.filter(|_| expect.graders.is_empty()) {
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
        let took = evidence.duration;
        checks.push(compared(
            "max_duration",
            took <= most,
            || {
                #[expect(clippy::cast_precision_loss, reason = "no time is that long")]
                let millis = |time: Duration| json!(time.as_nanos() as f64 / 1e6);
                (millis(most), millis(took))
            },
            || {
                let (most, took) = (ShownDuration(most), ShownDuration(took));
                format!("expected at most {most}, took {took:.1}")
            },
        ));
    }
    if let Some(most) = expect.max_memory {
        let peak = evidence.peak_memory;
        checks.push(compared(
            "max_memory",
            peak <= most,
            || (json!(most), json!(peak)),
            || format!("expected at most {most} bytes, used {peak}"),
        ));
    }
    checks
}

/// Makes a check; the values and the message are kept only where they say something.
pub(super) fn compared<A: Into<Option<Value>>>(
    name: impl Into<Cow<'static, str>>,
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
