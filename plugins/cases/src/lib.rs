//! A grader of programs: it runs a tool on cases that the program cannot see, and compares the results itself.
//!
//! The program runs in a sandbox of its own, so nothing that it does, or plants in its folder, reaches the comparison.

use std::fs;

use runner_sdk::tools::{self, ToolErrorKind};
use runner_sdk::{Check, Error, ErrorKind, Provider, Reply, Result, Test, Verdict, control};
use schemars::JsonSchema;
use serde::Deserialize;
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
    cases: Source,
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum Source {
    File(String),
    List(Vec<Case>),
}

/// An input of the tool, and the result that it must have.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Case {
    /// Name of the check. By default the number of the case.
    name: Option<String>,
    /// Input of the tool.
    input: Value,
    /// For a program, the standard output: a text without white space at its ends, or another value as JSON. For other tools, the
    /// whole result.
    output: Value,
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
        let cases = match test.input.cases {
            Source::List(cases) => cases,
            Source::File(path) => read(&path)?,
        };
        if cases.is_empty() {
            return Err(Error::invalid_input("there are no cases"));
        }
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

fn read(path: &str) -> Result<Vec<Case>> {
    let invalid = |reason: String| Error::invalid_input(format!("cannot read `{path}`: {reason}"));
    let text = fs::read_to_string(path).map_err(|error| invalid(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))
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
        let is_equal = result == case.output;
        return Ok((!is_equal).then(|| different(&case.output, &result)));
    };
    if code != 0 {
        let stderr = result["stderr"].as_str().unwrap_or_default();
        let last = stderr.lines().next_back().unwrap_or_default();
        return Ok(Some(format!("exit code {code}: {}", shown(last))));
    }
    let stdout = result["stdout"].as_str().unwrap_or_default().trim();
    let (expected, stdout) = match &case.output {
        Value::String(text) => (text.trim().into(), stdout.into()),
        value => (value.clone(), serde_json::from_str(stdout).unwrap_or_else(|_| stdout.into())),
    };
    Ok((stdout != expected).then(|| different(&expected, &stdout)))
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
        cases: Value,
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
        let reply = graded(answer, cases).unwrap();
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
        let reply = graded(answer, cases).unwrap();
        let verdicts: Vec<_> = reply.checks().iter().map(|check| check.verdict).collect();
        assert_eq!(verdicts, [Verdict::Pass, Verdict::Fail]);
    }

    #[test]
    fn crash_fails_a_case_and_a_missing_grant_the_grader() {
        let cases = || json!([{ "input": 1, "output": "1" }]);
        let failing = |kind| move |_| Err(ToolError::new(kind, "the reason"));
        let reply = graded(failing(ToolErrorKind::Timeout), cases()).unwrap();
        assert_eq!(reply.checks()[0].message.as_deref(), Some("timeout: the reason"));
        let denied = graded(failing(ToolErrorKind::Denied), cases()).unwrap_err();
        assert_eq!(denied.kind, ErrorKind::Denied);
        let none = graded(failing(ToolErrorKind::Trap), json!([])).unwrap_err();
        assert_eq!(none.kind, ErrorKind::InvalidInput);
        let missing = graded(failing(ToolErrorKind::Trap), json!("/nowhere.json")).unwrap_err();
        assert!(missing.message.contains("/nowhere.json"), "{missing}");
    }
}
