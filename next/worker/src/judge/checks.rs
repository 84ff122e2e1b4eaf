//! One named check for each expectation that is set.

use std::{borrow::Cow, time::Duration};

use runner_model::{
    Row,
    outcome::Verdict,
    row::{Check, MAX_ROW, Raw, is_deep},
    test::Expect,
    units::show_duration,
};
use runner_sandbox::{cut, stderr_tail};
use serde::Serialize;
use serde_json::Value;

use super::{
    Evidence, Judge,
    diff::{diff, unseen},
    json::{MAX_SHORT, first_mismatch, same, tree_bytes},
};

/// How much of a text is repeated as what came, in bytes. Other values are repeated as a whole, up to this.
const MAX_COPY: usize = 64 << 10;
/// Said behind the message of a check that does not repeat what came.
const NOT_REPEATED: &str = "the output is too large to be repeated here";
/// For a provider that is called as a plain command, and was written for something else.
const PROTOCOL_HINT: &str = "this looks like an answer of the JSON protocol, which a provider speaks with \
                             `protocol = \"json\"`";

/// Makes a check of every expectation that is set, in the order of the documentation.
pub(super) fn check_output(
    judge: &Judge,
    expect: &Expect,
    row: &Row<'_>,
    output: &Raw<'_>,
    of: &Evidence<'_>,
) -> Vec<Check<'static>> {
    let mut checks =
        Checks { output, most_tree: of.most_tree, value: None, made: Vec::new(), copies: MAX_ROW };
    if let Some(expected) = &expect.equals {
        checks.compare("equals", expected, |output| {
            let is_same = same(expected, output);
            (!is_same).then(|| not_equal(expected, output))
        });
        checks.add_diff(expected);
    }
    for part in &expect.contains {
        checks.compare("contains", part, |output| {
            let holds = contains(output, part);
            (!holds).then(|| format!("the output does not contain {}", cut(MAX_SHORT, part)))
        });
    }
    if let Some(pattern) = &expect.matches {
        let text = as_text(output.get());
        let failure = match judge.is_match(pattern, &text) {
            Ok(true) => None,
            Ok(false) => Some(format!("the output does not match `{pattern}`")),
            Err(error) => Some(error),
        };
        checks.output("matches", failure, pattern);
    }
    if let Some(expected) = &expect.json {
        let tolerance = expect.tolerance.unwrap_or(0.0);
        checks.compare("json", expected, |output| first_mismatch(expected, output, tolerance));
        checks.add_diff(expected);
    }
    match of.schema {
        Some(Ok(schema)) => {
            checks.compare("schema", &schema.value, |output| schema.mismatch(output));
        }
        Some(Err(reason)) => {
            checks.output("schema", Some(format!("the schema {reason}")), &expect.schema);
        }
        None => {}
    }
    let mut made = checks.made;
    if let Some(expected) = expect.error {
        let expected = expected.as_str();
        let message = format!("expected `{expected}`, got a reply");
        made.push(failed("error", message, &expected, raw(&Value::Null)));
    }
    made.extend(exit_code(expect.exit_code, of.exit_code, of.stderr));
    made.extend(bounds(expect, row));
    hint_at_protocol(&mut made, output, of);
    made
}

/// Says behind the message of the first check that failed if a plain command seems to speak the JSON protocol.
fn hint_at_protocol(checks: &mut [Check<'static>], output: &Raw<'_>, of: &Evidence<'_>) {
    let mut failed = checks.iter_mut();
    if of.exit_code.is_some()
        && let Some(check) = failed.find(|check| check.verdict == Verdict::Fail)
        && let Some(message) = &mut check.message
        && looks_like_answer(&as_text(output.get()))
    {
        *message = format!("{}; {PROTOCOL_HINT}", &**message).into();
    }
}

fn looks_like_answer(text: &str) -> bool {
    let letters = text.chars().filter(|letter| !letter.is_whitespace());
    let start: String = letters.take(8).collect();
    start.starts_with("{\"ok\":{") || start.starts_with("{\"err\":{")
}

/// The checks of a reply's output.
struct Checks<'a> {
    output: &'a Raw<'a>,
    most_tree: usize,
    /// The output as a value, from the first comparison on; or why it is not compared.
    value: Option<Result<Value, String>>,
    made: Vec<Check<'static>>,
    /// Bytes that may still be repeated: a test may have any number of expectations.
    copies: usize,
}

impl Checks<'_> {
    /// Makes a check that needs the output as a value. `mismatch` says why it does not hold.
    fn compare(
        &mut self,
        name: &'static str,
        expected: &Value,
        mismatch: impl FnOnce(&Value) -> Option<String>,
    ) {
        let value = self.value.get_or_insert_with(|| parse(self.output.get(), self.most_tree));
        let failure = match value {
            Ok(value) => mismatch(value),
            Err(message) => Some(message.clone()),
        };
        self.output(name, failure, expected);
    }

    /// Makes a check of the output; `failure` says why it does not hold.
    fn output(&mut self, name: &'static str, failure: Option<String>, expected: &impl Serialize) {
        let check = match failure {
            None => passed(name),
            Some(message) => {
                let actual = self.copy();
                let message = match actual {
                    Some(_) => message,
                    None => format!("{message}; {NOT_REPEATED}"),
                };
                failed(name, message, expected, actual)
            }
        };
        self.made.push(check);
    }

    /// Adds a diff to the last check if that did not hold.
    fn add_diff(&mut self, expected: &Value) {
        if let Some(check) = self.made.last_mut()
            && check.verdict == Verdict::Fail
            && let Some(Ok(output)) = &self.value
        {
            check.diff = diff(expected, output).map(Into::into);
        }
    }

    /// The output, of a long text its beginning; none where it is too large, or others have repeated it too often.
    fn copy(&mut self) -> Option<Raw<'static>> {
        let json = self.output.get();
        let copy = if json.len() <= MAX_COPY {
            (!is_deep(json)).then(|| Raw(Cow::Owned((*self.output.0).to_owned())))
        } else {
            let text: String = serde_json::from_str(json).ok()?;
            raw(&cut(MAX_COPY, text))
        }?;
        self.copies = self.copies.checked_sub(copy.get().len())?;
        Some(copy)
    }
}

fn parse(output: &str, most_tree: usize) -> Result<Value, String> {
    if tree_bytes(output) > most_tree {
        return Err("the output has too many values to be compared".into());
    }
    serde_json::from_str(output).map_err(|error| format!("the output cannot be compared: {error}"))
}

fn not_equal(expected: &Value, output: &Value) -> String {
    match unseen(expected, output) {
        Some((expected, output)) => format!(
            "the output differs from what was expected in characters that are not seen: expected `{expected}`, got \
             `{output}`"
        ),
        None => "the output is not what was expected".into(),
    }
}

fn contains(output: &Value, part: &Value) -> bool {
    match (output, part) {
        (Value::String(text), Value::String(part)) => text.contains(part.as_str()),
        (Value::Array(items), part) => items.iter().any(|item| same(item, part)),
        _ => false,
    }
}

/// A text as it is, any other value as JSON.
fn as_text(output: &str) -> Cow<'_, str> {
    serde_json::from_str::<String>(output).map_or(Cow::Borrowed(output), Cow::Owned)
}

/// A plain command must exit with 0 unless the test says otherwise. The check tells the code, by which the row can be judged
/// again; there is none of a command that exits with 0, as it does mostly.
fn exit_code(expected: Option<i32>, came: Option<i32>, stderr: &str) -> Option<Check<'static>> {
    let Some(code) = came else {
        let message = "the provider has no exit code: it is not a plain command";
        return expected
            .map(|expected| failed("exit_code", message.into(), &expected, raw(&Value::Null)));
    };
    if code == expected.unwrap_or(0) {
        return expected.map(|_| Check { actual: raw(&code), ..passed("exit_code") });
    }
    let expected = expected.unwrap_or(0);
    let end = stderr_tail(stderr);
    let message = format!("expected exit code {expected}, got {code}{end}");
    Some(failed("exit_code", message, &expected, raw(&code)))
}

/// The checks of a row's numbers.
fn bounds(expect: &Expect, row: &Row<'_>) -> impl Iterator<Item = Check<'static>> {
    let score = expect.min_score.map(|least| {
        let got = row.score.map_or("none".to_owned(), |score| score.to_string());
        let message = format!("expected a score of at least {least}, got {got}");
        let holds = row.score >= Some(least);
        bound("min_score", holds, message, &least, &row.score)
    });
    let duration = expect.max_duration.map(|most| {
        let took = Duration::try_from_secs_f64(row.duration_ms / 1e3).unwrap_or_default();
        let (most, most_ms) = (show_duration(most.into()), most.0 as f64 / 1e3);
        let message = format!("expected at most {most}, took {}", show_duration(took));
        let holds = row.duration_ms <= most_ms;
        bound("max_duration", holds, message, &most_ms, &row.duration_ms)
    });
    let memory = expect.max_memory.map(|most| {
        let peak = row.usage.peak_memory;
        let message = format!("expected at most {most} bytes, used {peak}");
        bound("max_memory", peak <= most, message, &most, &peak)
    });
    [score, duration, memory].into_iter().flatten()
}

fn bound(
    name: &'static str,
    holds: bool,
    message: String,
    expected: &impl Serialize,
    came: &impl Serialize,
) -> Check<'static> {
    match holds {
        true => passed(name),
        false => failed(name, message, expected, raw(came)),
    }
}

/// A check that held.
pub(super) fn passed(name: &'static str) -> Check<'static> {
    Check::new(name, Verdict::Pass)
}

/// A check that did not hold.
pub(super) fn failed(
    name: &'static str,
    message: String,
    expected: &impl Serialize,
    actual: Option<Raw<'static>>,
) -> Check<'static> {
    Check {
        verdict: Verdict::Fail,
        message: Some(message.into()),
        expected: raw(expected),
        actual,
        ..passed(name)
    }
}

/// A value as JSON; none if it has none, such as a number that is not finite.
pub(super) fn raw(value: &impl Serialize) -> Option<Raw<'static>> {
    Raw::of(value).ok()
}
