//! A grader of programs: it runs a tool on cases that the program cannot see, and compares the results itself.
//!
//! The program runs in a sandbox of its own, so nothing that it does, or plants in its folder, reaches the comparison.

use std::fs;

use runner_sdk::tools::{self, ToolErrorKind};
use runner_sdk::{Check, Error, ErrorKind, Provider, Reply, Result, Test, Verdict, control};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Failed cases in the explanation of a grade.
const MOST_NAMED: usize = 3;
/// Maximum bytes of a text in a message.
const SHOWN: usize = 200;

struct Cases;

/// Cases, or the path of a JSON file with them.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    /// The cases, or the path of a JSON file with them in a granted folder.
    #[schemars(schema_with = "schema_of_cases")]
    cases: Value,
}

/// An input of the tool, and the result that it must have.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("anyOf" = [{"required": ["output"]}, {"required": ["exit_code"]}, {"required": ["stderr"]}]))]
struct Case {
    /// Name of the check. By default the number of the case.
    name: Option<String>,
    /// Input of the tool.
    input: Value,
    /// For a program, the standard output: a text without white space at its ends, or another value as JSON. For other tools, the
    /// whole result.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Value")]
    output: Option<Value>,
    /// Exit code of the program. By default 0.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "u8")]
    exit_code: Option<u8>,
    /// Text that the program's standard error contains, or a table with `contains` or `equals`.
    #[serde(default, deserialize_with = "given")]
    #[schemars(schema_with = "schema_of_stderr")]
    stderr: Option<Stderr>,
}

/// Expectations of a program's standard error.
#[derive(Deserialize)]
#[serde(try_from = "Value")]
struct Stderr {
    contains: Vec<String>,
    /// The whole text, without white space at its ends.
    equals: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StderrTable {
    contains: Option<Value>,
    equals: Option<String>,
}

// By hand: with a derived "any of", messages about a wrong value would describe all forms.
fn schema_of_cases(generator: &mut SchemaGenerator) -> Schema {
    let case = generator.subschema_for::<Case>();
    json_schema!({ "type": ["string", "array"], "minItems": 1, "items": case })
}

fn schema_of_stderr(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["string", "object"],
        "minLength": 1,
        "minProperties": 1,
        "properties": {
            "contains": {
                "type": ["string", "array"],
                "minLength": 1,
                "minItems": 1,
                "items": { "type": "string", "minLength": 1 }
            },
            "equals": { "type": "string" }
        },
        "additionalProperties": false
    })
}

/// Reads a value that may be null. A missing key is `None`.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

impl TryFrom<Value> for Stderr {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let table = match value {
            Value::String(_) => StderrTable { contains: Some(value), equals: None },
            _ => serde_json::from_value(value).map_err(|error| format!("`stderr`: {error}"))?,
        };
        let contains = match table.contains {
            Some(Value::String(text)) => vec![text],
            Some(texts) => serde_json::from_value(texts).map_err(|error| error.to_string())?,
            None => Vec::new(),
        };
        if contains.iter().any(String::is_empty) || contains.is_empty() && table.equals.is_none() {
            return Err("`stderr` expects nothing: an empty text is `{ equals = \"\" }`".to_owned());
        }
        Ok(Self { contains, equals: table.equals })
    }
}

/// Form of the comparison.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Name of the tool.
    tool: String,
}

impl Provider for Cases {
    type Input = Input;
    type Config = Config;

    fn run(test: Test<Self>) -> Result<Reply> {
        let cases = cases(test.input.cases)?;
        let mut reply = Reply::new(Value::Null)?;
        let mut passed = 0;
        let mut failed = Vec::new();
        for (number, case) in (1..).zip(&cases) {
            control::progress(Some(f64::from(number - 1) / cases.len() as f64), "");
            let name = case.name.clone().unwrap_or_else(|| format!("case {number}"));
            let check = match difference(&test.config.tool, case)? {
                None => {
                    passed += 1;
                    Check::new(name, Verdict::Pass)
                }
                Some(difference) => {
                    failed.push(format!("{name}: {difference}"));
                    Check::new(name, Verdict::Fail).message(difference)
                }
            };
            reply = reply.check(check);
        }
        let mut summary = format!("{passed} of {} cases", cases.len());
        // A grade has no checks, but these words.
        for reason in failed.iter().take(MOST_NAMED) {
            summary += &format!("; {reason}");
        }
        if let Some(more) = failed.len().checked_sub(MOST_NAMED).filter(|more| *more > 0) {
            summary += &format!("; and {more} more");
        }
        let verdict = if passed == cases.len() { Verdict::Pass } else { Verdict::Fail };
        let score = passed as f64 / cases.len() as f64;
        Ok(reply.verdict(verdict).score(score).summary(summary))
    }
}

/// Reads the cases of an input.
///
/// # Errors
///
/// A file that cannot be read, a case with other keys, and a case that checks nothing.
fn cases(cases: Value) -> Result<Vec<Case>> {
    let cases = match cases {
        Value::String(path) => {
            let invalid =
                |reason: String| Error::invalid_input(format!("cannot read `{path}`: {reason}"));
            let text = fs::read_to_string(&path).map_err(|error| invalid(error.to_string()))?;
            serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?
        }
        cases => cases,
    };
    let Value::Array(cases) = cases else {
        return Err(Error::invalid_input("`cases` is not a list"));
    };
    if cases.is_empty() {
        return Err(Error::invalid_input("there are no cases"));
    }
    let read = |(number, case): (u32, Value)| {
        let case = serde_json::from_value::<Case>(case).map_err(|error| error.to_string());
        let is_checked = |case: &Case| {
            case.output.is_some() || case.exit_code.is_some() || case.stderr.is_some()
        };
        match case {
            Ok(case) if is_checked(&case) => Ok(case),
            Ok(_) => Err(Error::invalid_input(format!(
                "case {number} checks nothing: add `output`, `exit_code` or `stderr`"
            ))),
            Err(reason) => Err(Error::invalid_input(format!("case {number}: {reason}"))),
        }
    };
    (1..).zip(cases).map(read).collect()
}

/// Calls the tool. Returns the difference of its result from the expected one, `None` if they are equal.
fn difference(tool: &str, case: &Case) -> Result<Option<String>> {
    let result = match tools::call(tool, &case.input) {
        Ok(result) => result,
        // The cause is the scenario or the run, and not the judged program.
        Err(error) if matches!(error.kind, ToolErrorKind::Denied | ToolErrorKind::Stopped) => {
            return Err(error.into());
        }
        Err(error) if error.kind == ToolErrorKind::InvalidInput => {
            return Err(Error::new(ErrorKind::InvalidInput, error.message).code("case"));
        }
        Err(error) => return Ok(Some(format!("{}: {}", error.kind, shown(&error.message)))),
    };
    let Some(code) = result.get("exit_code").and_then(Value::as_i64) else {
        if case.exit_code.is_some() || case.stderr.is_some() {
            let message =
                format!("`{tool}` is not a program: it has no `exit_code` and no `stderr`");
            return Err(Error::invalid_input(message));
        }
        let expected = case.output.as_ref().filter(|output| **output != result);
        return Ok(expected.map(|output| different(output, &result)));
    };
    let stderr = result["stderr"].as_str().unwrap_or_default();
    let expected_code = case.exit_code.unwrap_or_default();
    if code != i64::from(expected_code) {
        let expected = case.exit_code.map(|code| format!(" instead of {code}"));
        let last = stderr.lines().next_back().unwrap_or_default();
        return Ok(Some(format!(
            "exit code {code}{}: {}",
            expected.unwrap_or_default(),
            shown(last)
        )));
    }
    if let Some(reason) = case.stderr.as_ref().and_then(|expected| expected.difference(stderr)) {
        return Ok(Some(reason));
    }
    let Some(output) = &case.output else { return Ok(None) };
    let stdout = result["stdout"].as_str().unwrap_or_default().trim();
    let (expected, stdout) = match output {
        Value::String(text) => (text.trim().into(), stdout.into()),
        value => (value.clone(), serde_json::from_str(stdout).unwrap_or_else(|_| stdout.into())),
    };
    Ok((stdout != expected).then(|| different(&expected, &stdout)))
}

impl Stderr {
    fn difference(&self, stderr: &str) -> Option<String> {
        let stderr = stderr.trim();
        if let Some(equals) = self.equals.as_ref().filter(|equals| equals.trim() != stderr) {
            return Some(format!("stderr: {}", different(&equals.trim().into(), &stderr.into())));
        }
        let missing = self.contains.iter().find(|text| !stderr.contains(&***text))?;
        let [missing, stderr] =
            [missing.as_str(), stderr].map(|text| shown(&Value::from(text).to_string()));
        Some(format!("stderr does not contain {missing}: {stderr}"))
    }
}

fn different(expected: &Value, actual: &Value) -> String {
    let [expected, actual] = [expected, actual].map(|value| shown(&value.to_string()));
    format!("expected {expected}, got {actual}")
}

/// Cuts a text for a message.
fn shown(text: &str) -> String {
    match text.len() {
        0..=SHOWN => text.to_owned(),
        _ => format!("{}…", &text[..text.floor_char_boundary(SHOWN)]),
    }
}

runner_sdk::export!(Cases);

#[cfg(test)]
mod tests {
    use runner_sdk::testing::Host;
    use runner_sdk::tools::{ToolError, ToolErrorKind};
    use runner_sdk::{ErrorKind, Reply, Result, Verdict};
    use serde_json::{Value, json};

    use super::Cases;

    fn graded(
        answer: impl FnMut(Value) -> Result<Value, ToolError> + 'static,
        cases: &Value,
    ) -> Result<Reply> {
        let host = Host::new().tool("app", "The program", answer);
        host.run::<Cases>(json!({ "cases": cases }), json!({ "tool": "app" }))
    }

    fn printing(text: &str, code: i32) -> Result<Value, ToolError> {
        Ok(json!({ "exit_code": code, "stdout": text, "stderr": "Traceback\nValueError: no\n" }))
    }

    #[test]
    fn each_case_is_a_check() {
        let cases = json!([
            { "name": "one", "input": { "args": [1] }, "output": "1" },
            { "input": { "args": [2] }, "output": 4 },
            { "input": { "args": [3] }, "output": "9" },
            { "input": { "args": [4] }, "output": { "total": 6, "of": [2, 4] } },
            { "input": { "args": [5] }, "output": null },
        ]);
        let answer = |input: Value| match input["args"][0].as_i64().unwrap() {
            1 => printing("1\n", 0),
            2 => printing("5", 0),
            4 => printing("{\"of\": [2, 4],\n \"total\": 6}\n", 0),
            5 => printing("None", 0),
            _ => printing("9", 1),
        };
        let reply = graded(answer, &cases).unwrap();
        let checks: Vec<_> = reply
            .checks()
            .iter()
            .map(|check| (check.name.as_str(), check.verdict, check.message.as_deref()))
            .collect();
        assert_eq!(
            checks,
            [
                ("one", Verdict::Pass, None),
                ("case 2", Verdict::Fail, Some("expected 4, got 5")),
                ("case 3", Verdict::Fail, Some("exit code 1: ValueError: no")),
                ("case 4", Verdict::Pass, None),
                ("case 5", Verdict::Fail, Some("expected null, got \"None\"")),
            ]
        );
    }

    #[test]
    fn results_of_providers_are_compared_whole() {
        let cases = json!([{ "input": 1, "output": { "a": [1] } }, { "input": 2, "output": 2 }]);
        let answer =
            |input: Value| Ok(if input == 1 { json!({ "a": [1] }) } else { json!({ "b": 2 }) });
        let reply = graded(answer, &cases).unwrap();
        let verdicts: Vec<_> = reply.checks().iter().map(|check| check.verdict).collect();
        assert_eq!(verdicts, [Verdict::Pass, Verdict::Fail]);
    }

    #[test]
    fn crash_fails_a_case_and_a_missing_grant_the_grader() {
        let cases = || json!([{ "input": 1, "output": "1" }]);
        let failing = |kind| move |_| Err(ToolError::new(kind, "the reason"));
        let reply = graded(failing(ToolErrorKind::Timeout), &cases()).unwrap();
        assert_eq!(reply.checks()[0].message.as_deref(), Some("timeout: the reason"));
        let denied = graded(failing(ToolErrorKind::Denied), &cases()).unwrap_err();
        assert_eq!(denied.kind, ErrorKind::Denied);
        let none = graded(failing(ToolErrorKind::Trap), &json!([])).unwrap_err();
        assert_eq!(none.kind, ErrorKind::InvalidInput);
        let missing = graded(failing(ToolErrorKind::Trap), &json!("/nowhere.json")).unwrap_err();
        assert!(missing.message.contains("/nowhere.json"), "{missing}");
    }

    #[test]
    fn exit_code_and_standard_error_are_expected() {
        for (case, message) in [
            (json!({ "exit_code": 1 }), None),
            (json!({ "exit_code": 1, "stderr": "ValueError", "output": "out" }), None),
            (json!({ "exit_code": 1, "stderr": { "contains": ["Trace", "no"] } }), None),
            (json!({ "exit_code": 1, "stderr": { "equals": "Traceback\nValueError: no" } }), None),
            (json!({ "exit_code": 0 }), Some("exit code 1 instead of 0: ValueError: no")),
            (json!({ "exit_code": 2 }), Some("exit code 1 instead of 2: ValueError: no")),
            (json!({ "stderr": "ValueError" }), Some("exit code 1: ValueError: no")),
            (
                json!({ "exit_code": 1, "stderr": "KeyError" }),
                Some("stderr does not contain \"KeyError\": \"Traceback\\nValueError: no\""),
            ),
            (
                json!({ "exit_code": 1, "stderr": { "equals": "" } }),
                Some("stderr: expected \"\", got \"Traceback\\nValueError: no\""),
            ),
            (json!({ "exit_code": 1, "output": "in" }), Some("expected \"in\", got \"out\"")),
        ] {
            let mut case = case;
            case["input"] = 1.into();
            let reply = graded(|_| printing("out\n", 1), &json!([case])).unwrap();
            assert_eq!(reply.checks()[0].message.as_deref(), message, "{case}");
        }
        let component = graded(|_| Ok(json!(1)), &json!([{ "input": 1, "exit_code": 0 }]));
        assert_eq!(component.unwrap_err().kind, ErrorKind::InvalidInput);
    }

    #[test]
    fn cases_that_check_nothing_are_refused() {
        let case = json!({ "input": 1, "output": null });
        for (wrong, reason) in [
            (json!({ "input": 1 }), "case 2 checks nothing: add `output`"),
            (json!({ "input": 1, "outpt": 1 }), "case 2: unknown field `outpt`"),
            (json!({ "output": 1 }), "case 2: missing field `input`"),
            (json!({ "input": 1, "exit_code": null }), "case 2: "),
            (json!({ "input": 1, "stderr": "" }), "`stderr` expects nothing"),
            (json!({ "input": 1, "stderr": {} }), "`stderr` expects nothing"),
            (json!({ "input": 1, "stderr": { "matches": "a" } }), "unknown field `matches`"),
        ] {
            let error = graded(|_| printing("null", 0), &json!([case, wrong])).unwrap_err();
            assert!(error.message.contains(reason), "{error}");
        }
    }
}
