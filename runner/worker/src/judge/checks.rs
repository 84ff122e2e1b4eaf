//! [`check_output`]: one named check for each expectation that is set.

use std::{borrow::Cow, slice, time::Duration};

use runner_model::alike::difference;
use runner_model::json::{Json, JsonFault, Numbers, find_fault};
use runner_model::row::{Check, CheckKind, Hint, MAX_ROW, Metric, Raw, is_deep};
use runner_model::{
    Row, Text,
    outcome::Verdict,
    test::Expect,
    units::{grouped, show_durations_apart, show_sizes_apart},
};
use runner_sandbox::{cut, stderr_tail};
use serde::{Serialize, de::IgnoredAny};
use serde_json::{Value, json};

use super::diff::{self, is_unseen};
use super::json::{Comparison, is_written_as, text_difference, tree_bytes, without_fence};
use super::{compiled::CompiledCache, left::JudgedFiles, search::TextSearch};
use crate::schema::Schema;

/// Bytes of the output in a check's `actual`. Longer texts are cut, other longer values left out.
const MAX_COPY: usize = 64 << 10;
/// Appended to the message of a check without `actual`.
const NOT_REPEATED: &str = "the output is too large to repeat here";
const TOO_MANY_VALUES: &str = "the output has too many values to compare";

/// Facts about an attempt that are not in its row.
pub struct Evidence<'a> {
    /// Most bytes of the output as a tree of values.
    pub max_tree: usize,
    /// The compiled schema of `expect.schema`.
    pub schema: Option<&'a Result<Schema, String>>,
    /// `None` if the provider is not a plain command.
    pub exit_code: Option<i32>,
    /// The key of the provider that makes its output JSON. `None` if it has no such key, or the output is JSON.
    pub json_key: Option<Hint>,
    pub stderr: &'a str,
    /// What the attempt left in its workspace, or why that cannot be read. `None` if there is none, or the test expects nothing
    /// of it.
    pub workspace: Option<&'a Result<JudgedFiles, String>>,
    /// The attempt's transcript, or why it cannot be read. `None` without a transcript, and for a test without expectations of it.
    pub transcript: Option<&'a Result<String, String>>,
}

impl Evidence<'_> {
    /// Returns the key of the provider that makes a text one of these values.
    fn hint(&self, search: TextSearch, expected: &[Value], output: &Json<'_>) -> Option<Hint> {
        let (Some(key), Json::String(text)) = (self.json_key, output) else { return None };
        let is_trimmed = |expected: &Value| search.value(expected).as_str() == Some(text.trim());
        let is_json = || {
            // Models write fences around JSON. A plain command has to print JSON alone.
            let fence = text.find("```").filter(|_| self.exit_code.is_none());
            let text = fence.map_or(&**text, |start| without_fence(&text[start..]));
            !text.trim_start().starts_with('"')
                && !looks_like_answer(text)
                && serde_json::from_str::<IgnoredAny>(text).is_ok()
        };
        if self.exit_code.is_some() && expected.iter().any(is_trimmed) {
            Some(Hint::Trimmed)
        } else if expected.iter().any(|expected| !expected.is_string()) && is_json() {
            Some(key)
        } else {
            None
        }
    }
}

/// Returns one check for each expectation that is set, in the order of the documentation.
pub(super) fn check_output(
    cache: &CompiledCache,
    expect: &Expect,
    row: &Row<'_>,
    output: &Raw<'_>,
    evidence: &Evidence<'_>,
) -> Vec<Check<'static>> {
    let mut made = check_values(cache, expect, output, evidence);
    if let Some(expected) = expect.error {
        let expected = expected.as_str();
        let message = format!("expected `{expected}`, got a reply");
        made.push(failed(CheckKind::Error, message, &expected, raw(&Value::Null)));
    }
    made.extend(check_exit_code(expect.exit_code, evidence.exit_code, evidence.stderr));
    made.extend(check_stderr(cache, expect, evidence.stderr));
    made.extend(check_bounds(expect, row));
    made.extend(check_metrics(expect, &row.metrics));
    if evidence.exit_code.is_some() {
        hint_at_protocol(&mut made, output);
    }
    made
}

/// Returns the checks of a value or a text, and of its schema.
pub(super) fn check_values(
    cache: &CompiledCache,
    expect: &Expect,
    output: &Raw<'_>,
    evidence: &Evidence<'_>,
) -> Vec<Check<'static>> {
    let mut checks = Checks {
        output,
        evidence,
        search: search(false),
        value: None,
        made: Vec::new(),
        copies: MAX_ROW,
    };
    checks.add_texts(cache, expect);
    if let Some(expected) = &expect.json {
        let tolerance = expect.tolerance.unwrap_or(0.0);
        let comparison = Comparison { tolerance, allows_more_keys: true };
        checks.search_by(search(false));
        checks.compare_all(CheckKind::Json, expected, comparison, false);
    }
    match evidence.schema {
        Some(Ok(schema)) => {
            let mismatch = schema_mismatch(schema, output.get(), evidence.max_tree);
            checks.add(passed(CheckKind::Schema), mismatch, &schema.value);
        }
        Some(Err(reason)) => {
            checks.add(
                passed(CheckKind::Schema),
                Some(format!("the schema {reason}")),
                &expect.schema,
            );
        }
        None => {}
    }
    checks.made
}

/// Sets the hint of the first failed comparison if the output of a plain command looks like one of the JSON protocol.
fn hint_at_protocol(checks: &mut [Check<'static>], output: &Raw<'_>) {
    let is_comparison = |check: &&mut Check<'_>| {
        let is_equals_any = check.kind == Some(CheckKind::EqualsAny);
        check.verdict == Verdict::Fail
            && (is_equals_any || check.kind.is_some_and(CheckKind::compares_output))
    };
    if let Some(check) = checks.iter_mut().find(is_comparison)
        && looks_like_answer(&as_text(output.get()))
    {
        check.hint = Some(Hint::Protocol);
    }
}

/// Returns the rules by which an output is searched.
fn search(ignores_case: bool) -> TextSearch {
    TextSearch { subject: "the output", ignores_case }
}

fn looks_like_answer(text: &str) -> bool {
    let letters = text.chars().filter(|letter| !letter.is_whitespace());
    let start: String = letters.take(8).collect();
    start.starts_with("{\"ok\":{") || start.starts_with("{\"err\":{")
}

/// Makes the checks of a reply's output.
struct Checks<'a> {
    output: &'a Raw<'a>,
    evidence: &'a Evidence<'a>,
    search: TextSearch,
    /// The parsed output as it is searched, or why it cannot be compared. `None` before the first comparison.
    value: Option<Result<Json<'a>, String>>,
    made: Vec<Check<'static>>,
    /// Bytes left for copies of the output: a test may have any number of expectations.
    copies: usize,
}

impl Checks<'_> {
    /// Changes the rules for the next checks.
    fn search_by(&mut self, search: TextSearch) {
        if self.search.ignores_case != search.ignores_case {
            self.value = None;
        }
        self.search = search;
    }

    /// Adds the checks to which `ignore_case` applies.
    fn add_texts(&mut self, cache: &CompiledCache, expect: &Expect) {
        let search = search(expect.ignore_case);
        let evidence = self.evidence;
        let json = self.output.get();
        self.search_by(search);
        if let Some(expected) = &expect.equals {
            if is_written_as(expected, json) && tree_bytes(json) <= evidence.max_tree {
                // Parsing the output as a tree takes longer than all other checks.
                self.made.push(passed(CheckKind::Equals));
            } else {
                self.compare_all(CheckKind::Equals, expected, Comparison::EXACT, expect.trim);
            }
        } else if let Some(file) = &expect.file {
            let message = format!("no such file yet: `runner accept` writes `{file}`");
            self.add(passed(CheckKind::Equals), Some(message), &Value::Null);
            // There is no expected value, which would be shown in place of the message.
            self.made.iter_mut().for_each(|check| check.expected = None);
        }
        let any = &expect.equals_any;
        let parts = &expect.contains_any;
        if !any.is_empty() {
            self.compare(CheckKind::EqualsAny, any, |output, check| {
                let failure = search.is_none_of(output, any)?;
                check.hint = evidence.hint(search, any, output);
                Some(failure)
            });
        }
        for part in &expect.contains {
            self.compare(CheckKind::Contains, part, |output, _| search.lacks(output, part));
        }
        if !parts.is_empty() {
            let kind = CheckKind::ContainsAny;
            self.compare(kind, parts, |output, _| search.lacks_all(output, parts));
        }
        if let Some(pattern) = &expect.matches {
            let mismatch = search.mismatch(cache, &as_text(json), pattern);
            self.add(passed(CheckKind::Matches), mismatch, pattern);
        }
        if let Some(unwanted) = &expect.not.equals {
            let kind = CheckKind::NotEquals;
            self.compare(kind, unwanted, |output, _| search.is(output, unwanted));
        }
        for unwanted in &expect.not.contains {
            self.compare(CheckKind::NotContains, unwanted, |output, _| {
                search.has(output, unwanted, || as_text(json))
            });
        }
        if let Some(pattern) = &expect.not.matches {
            let found = search.matches(cache, &as_text(json), pattern);
            self.add(passed(CheckKind::NotMatches), found, pattern);
        }
    }

    /// Adds a check that compares the output as a value. `mismatch` returns why it fails, and may set other keys.
    fn compare(
        &mut self,
        kind: CheckKind,
        expected: &impl Serialize,
        mismatch: impl FnOnce(&Json<'_>, &mut Check<'static>) -> Option<String>,
    ) {
        let value = self.value.get_or_insert_with(|| {
            parse(self.output, self.evidence.max_tree).map(|value| self.search.json(value))
        });
        let mut check = passed(kind);
        let failure = match value {
            Ok(value) => mismatch(value, &mut check),
            Err(message) => Some(message.clone()),
        };
        self.add(check, failure, expected);
    }

    /// Adds a check that compares all of the output; with `trims` two texts without white space at their ends. If it fails, it
    /// lists the differences of two objects or arrays, and has a diff of two texts.
    fn compare_all(
        &mut self,
        kind: CheckKind,
        expected: &Value,
        comparison: Comparison,
        trims: bool,
    ) {
        let search = self.search;
        let evidence = self.evidence;
        self.compare(kind, expected, |output, check| {
            let mut folded = search.value(expected);
            let trimmed;
            let mut output = output;
            if let (Value::String(old), Json::String(new), true) = (&*folded, output, trims) {
                trimmed = Json::String(new.trim().into());
                output = &trimmed;
                folded = Cow::Owned(old.trim().into());
            }
            let differences = comparison.differences(&folded, output);
            if differences.count == 0 {
                return None;
            }
            if expected.is_object() && matches!(output, Json::Object(_))
                || expected.is_array() && matches!(output, Json::Array(_))
            {
                check.differences = differences.listed;
                check.difference_count = differences.count;
                return Some(String::new());
            }
            check.diff = diff::diff(&folded, output).map(Into::into);
            check.code_points = text_difference(&folded, output);
            check.hint = evidence.hint(search, slice::from_ref(expected), output);
            check.ignore_case = search.ignores_case;
            let case = if search.ignores_case { ", ignoring case" } else { "" };
            Some(if is_unseen(&folded, output) {
                "the output differs only in white space or invisible characters".to_owned()
            } else {
                format!("the output differs from the expected one{case}")
            })
        });
    }

    /// Adds a check of the output, which failed if there is a `failure`. Only a check with differences has an empty one.
    fn add(
        &mut self,
        mut check: Check<'static>,
        failure: Option<String>,
        expected: &impl Serialize,
    ) {
        if let Some(mut message) = failure {
            check.actual = self.copy();
            if check.actual.is_none() {
                message += if message.is_empty() { "" } else { "; " };
                message += NOT_REPEATED;
            }
            check.message = Some(message.into()).filter(|message: &Text<'_>| !message.is_empty());
            check.verdict = Verdict::Fail;
            check.expected = raw(expected);
        }
        self.made.push(check);
    }

    /// Returns the output for `actual`, a long text without its end. `None` if it is too large, too deep for a row, or if
    /// copies have used up their bytes.
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

fn parse<'a>(output: &'a Raw<'_>, max_tree: usize) -> Result<Json<'a>, String> {
    if tree_bytes(output.get()) > max_tree {
        return Err(TOO_MANY_VALUES.into());
    }
    Json::of(&output.0).ok_or_else(|| "the output has too many levels to compare".into())
}

/// Describes why an output does not match a schema.
fn schema_mismatch(schema: &Schema, output: &str, max_tree: usize) -> Option<String> {
    if tree_bytes(output) > max_tree {
        return Some(TOO_MANY_VALUES.into());
    }
    if let Some(JsonFault { path, message, .. }) = find_fault(output, Numbers::Kept) {
        return Some(format!("at {path}: {message}, too many for a schema"));
    }
    match serde_json::from_str(output) {
        Ok(output) => schema.mismatch(output),
        Err(error) => Some(format!("cannot compare the output: {error}")),
    }
}

/// Returns the text of a JSON string, or any other value as JSON.
fn as_text(output: &str) -> Cow<'_, str> {
    serde_json::from_str::<String>(output).map_or(Cow::Borrowed(output), Cow::Owned)
}

/// Checks the exit code of a plain command, which must be 0 unless the test expects another. `None` if it is 0 as usual.
///
/// The check has the code in `actual`, which rejudging needs.
fn check_exit_code(
    expected: Option<i32>,
    actual: Option<i32>,
    stderr: &str,
) -> Option<Check<'static>> {
    let Some(code) = actual else {
        let message = "the provider has no exit code: it is not a plain command";
        return expected.map(|expected| {
            failed(CheckKind::ExitCode, message.into(), &expected, raw(&Value::Null))
        });
    };
    if code == expected.unwrap_or(0) {
        return expected.map(|_| Check { actual: raw(&code), ..passed(CheckKind::ExitCode) });
    }
    let expected = expected.unwrap_or(0);
    let message = format!("expected exit code {expected}, got {code}");
    let check = failed(CheckKind::ExitCode, message, &expected, raw(&code));
    Some(Check { stderr: stderr_tail(stderr), ..check })
}

/// Checks the standard error.
pub(super) fn check_stderr(
    cache: &CompiledCache,
    expect: &Expect,
    stderr: &str,
) -> Option<Check<'static>> {
    let expected = expect.stderr.as_ref()?;
    let search = TextSearch { subject: "the standard error", ignores_case: expected.ignore_case };
    let text = search.text(stderr);
    let mut failures = Vec::new();
    if let Some(whole) = expected.equals.as_ref().filter(|whole| search.text(whole) != text) {
        let points = difference(&search.text(whole), &text);
        failures.push(format!("the standard error differs from the expected one{points}"));
    }
    let value = Json::String(text);
    let parts = &expected.contains_any;
    let not = &expected.not;
    failures.extend(expected.contains.iter().filter_map(|part| search.lacks(&value, part)));
    failures.extend(search.lacks_all(&value, parts).filter(|_| !parts.is_empty()));
    let pattern = expected.matches.as_ref();
    failures.extend(pattern.and_then(|pattern| search.mismatch(cache, stderr, pattern)));
    failures.extend(not.equals.as_ref().and_then(|unwanted| search.is(&value, unwanted)));
    let has = |unwanted| search.has(&value, unwanted, || Cow::Borrowed(stderr));
    failures.extend(not.contains.iter().filter_map(has));
    let pattern = not.matches.as_ref();
    failures.extend(pattern.and_then(|pattern| search.matches(cache, stderr, pattern)));
    if failures.is_empty() {
        return Some(passed(CheckKind::Stderr));
    }
    if stderr.contains(" left out\n") {
        failures.push("`limits.stdio` has cut its middle".to_owned());
    }
    let check = failed(CheckKind::Stderr, failures.join("; "), expected, None);
    Some(Check { stderr: stderr_tail(stderr), ..check })
}

/// Checks the score, duration and memory of a row.
fn check_bounds(expect: &Expect, row: &Row<'_>) -> impl Iterator<Item = Check<'static>> {
    // With graders, `min_score` is about their scores.
    let score = expect.min_score.filter(|_| expect.graders.is_empty()).map(|min| {
        if row.score >= Some(min) {
            return passed(CheckKind::MinScore);
        }
        let got = row.score.map_or("no score".to_owned(), |score| score.to_string());
        let message = format!("expected a score of at least {min}, got {got}");
        failed(CheckKind::MinScore, message, &min, raw(&row.score))
    });
    let duration = expect.max_duration.map(|max| {
        let max_ms = max.0 as f64 / 1e3;
        if row.duration_ms <= max_ms {
            return passed(CheckKind::MaxDuration);
        }
        let took = Duration::try_from_secs_f64(row.duration_ms / 1e3).unwrap_or_default();
        let [took, max] = show_durations_apart(took, max.into());
        let message = format!("expected at most {max}, took {took}");
        failed(CheckKind::MaxDuration, message, &max_ms, raw(&row.duration_ms))
    });
    let memory = expect.max_memory.map(|max| {
        let peak = row.usage.peak_memory;
        if peak <= max {
            return passed(CheckKind::MaxMemory);
        }
        let [used, max_size] = show_sizes_apart(peak, max);
        let message = format!("expected at most {max_size}, used {used}");
        failed(CheckKind::MaxMemory, message, &max, raw(&peak))
    });
    [score, duration, memory].into_iter().flatten()
}

/// Returns a check for each expected metric. Metrics with the same name add up, as in budgets.
pub(super) fn check_metrics(
    expect: &Expect,
    metrics: &[Metric<'_>],
) -> impl Iterator<Item = Check<'static>> {
    expect.metrics.iter().map(|(name, expected)| {
        let values = metrics.iter().filter(|metric| *metric.name == **name);
        let Some(value) = values.map(|metric| metric.value).reduce(|sum, more| sum + more) else {
            let message = format!("`{name}`: the attempt has no such metric");
            return failed(CheckKind::Metrics, message, &json!({ name: expected }), None);
        };
        let least = expected.min.filter(|min| value < *min).map(|min| ("least", min));
        let wrong = least.or(expected.max.filter(|max| value > *max).map(|max| ("most", max)));
        let Some((bound, number)) = wrong else { return passed(CheckKind::Metrics) };
        let [got, number] = [value, number].map(show_number);
        let message = format!("`{name}`: expected at {bound} {number}, got {got}");
        let actual = raw(&json!({ name: value }));
        failed(CheckKind::Metrics, message, &json!({ name: expected }), actual)
    })
}

/// Formats a number with all its digits.
fn show_number(number: f64) -> String {
    // Above it, floats skip whole numbers.
    const WHOLE: f64 = 9e15;
    if number.fract() == 0.0 && (0.0..WHOLE).contains(&number) {
        return grouped(number as u64);
    }
    number.to_string()
}

pub(super) fn passed(kind: CheckKind) -> Check<'static> {
    Check::new(kind, Verdict::Pass)
}

pub(super) fn failed(
    kind: CheckKind,
    message: String,
    expected: &impl Serialize,
    actual: Option<Raw<'static>>,
) -> Check<'static> {
    Check {
        message: Some(message.into()),
        expected: raw(expected),
        actual,
        ..Check::new(kind, Verdict::Fail)
    }
}

/// Serializes a value. `None` if JSON cannot hold it, such as an infinite number.
pub(super) fn raw(value: &impl Serialize) -> Option<Raw<'static>> {
    Raw::of(value).ok()
}
