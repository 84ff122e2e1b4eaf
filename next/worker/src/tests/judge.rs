use std::time::Duration;

use runner_model::{
    ErrorClass, Outcome,
    outcome::Verdict,
    row::{Check, Raw, RowError},
    test::{Expect, ExpectedError},
};
use runner_sandbox::Reply;
use serde_json::{Value, json};

use super::{Judge, MAX_REGEXES, judge_error};

fn expect(json: &Value) -> Expect {
    serde_json::from_value(json.clone()).unwrap()
}

fn reply(output: &str) -> Reply {
    Reply {
        output: Raw::from_string(output.to_owned()).unwrap(),
        verdict: None,
        score: None,
        checks: Vec::new(),
        metrics: Vec::new(),
        exit_code: None,
    }
}

fn judged(expected: &Value, reply: &Reply) -> (Outcome, Vec<Check<'static>>) {
    let took = Duration::from_micros(1500);
    Judge::default().reply(&expect(expected), reply, took, "first\nlast words\n")
}

/// The checks as JSON, of an output that is judged alone.
fn checks(expected: &Value, output: &str) -> Value {
    json!(judged(expected, &reply(output)).1)
}

#[test]
fn expectations_that_hold_are_checks_without_words() {
    for (expected, output, names) in [
        (json!({}), "1", &[][..]),
        (json!({"equals": {"a": [1.0]}}), r#"{"a":[1]}"#, &["equals"]),
        (json!({"equals": null}), "null", &["equals"]),
        (
            json!({"contains": ["some", "text"]}),
            r#""some text""#,
            &["contains", "contains"],
        ),
        (
            json!({"contains": [{"a": 1}]}),
            r#"[0,{"a":1}]"#,
            &["contains"],
        ),
        (
            json!({"matches": "^s.*t$"}),
            r#""some\u0020text""#,
            &["matches"],
        ),
        (
            json!({"matches": "^\\{.a.:1\\}$"}),
            r#"{"a":1}"#,
            &["matches"],
        ),
        (
            json!({"json": {"b": 2}, "tolerance": 0.1}),
            r#"{"a":1,"b":2.04}"#,
            &["json"],
        ),
        (json!({"max_duration": 1500}), "1", &["max_duration"]),
    ] {
        let (outcome, checks) = judged(&expected, &reply(output));
        assert_eq!(outcome, Outcome::Passed, "{expected}");
        let passed = |name: &&str| json!({"name": name, "verdict": "pass"});
        let wanted: Vec<_> = names.iter().map(passed).collect();
        assert_eq!(json!(checks), json!(wanted));
    }
}

#[test]
fn expectations_that_do_not_hold_say_both_sides() {
    let failed = |name: &str, message: &str, expected: Value, actual: Value| json!([{"name": name, "verdict": "fail", "message": message, "expected": expected, "actual": actual}]);
    assert_eq!(
        checks(&json!({"equals": "two"}), r#""one""#),
        failed(
            "equals",
            "the output is not what was expected",
            json!("two"),
            json!("one")
        )
    );
    assert_eq!(
        checks(&json!({"equals": "a b"}), r#""a b ""#),
        failed(
            "equals",
            "the output differs from what was expected in characters that are not seen: expected `a b`, got `a b·`",
            json!("a b"),
            json!("a b ")
        )
    );
    assert_eq!(
        checks(&json!({"contains": ["c"]}), r#"["a"]"#),
        failed(
            "contains",
            "the output does not contain \"c\"",
            json!("c"),
            json!(["a"])
        )
    );
    assert_eq!(
        checks(&json!({"matches": "^x"}), r#""text""#),
        failed(
            "matches",
            "the output does not match `^x`",
            json!("^x"),
            json!("text")
        )
    );
    assert_eq!(
        checks(&json!({"error": "timeout"}), "1"),
        failed(
            "error",
            "expected `timeout`, got a reply",
            json!("timeout"),
            json!(null)
        )
    );
    assert_eq!(
        checks(&json!({"max_duration": 1000}), "1"),
        failed(
            "max_duration",
            "expected at most 1.0 ms, took 1.5 ms",
            json!(1.0),
            json!(1.5)
        )
    );
    let both = checks(&json!({"equals": {"a": 1}, "json": {"a": 1}}), r#"{"a":2}"#);
    for check in both.as_array().unwrap() {
        assert!(
            check["diff"]
                .as_str()
                .unwrap()
                .contains("-  \"a\": 1\n+  \"a\": 2\n")
        );
    }
    assert_eq!(both[1]["message"], "at `$.a`: expected 1, got 2");
}

#[test]
fn own_verdicts_and_checks_decide_with_the_expectations() {
    let own = |verdict| Check {
        verdict,
        ..super::passed("own")
    };
    for (expected, verdict, check, outcome) in [
        (json!({}), None, None, Outcome::Passed),
        (json!({}), Some(Verdict::Pass), None, Outcome::Passed),
        (json!({}), Some(Verdict::Skip), None, Outcome::Skipped),
        (json!({}), Some(Verdict::Fail), None, Outcome::Failed),
        (
            json!({}),
            Some(Verdict::Pass),
            Some(Verdict::Fail),
            Outcome::Failed,
        ),
        (json!({}), None, Some(Verdict::Skip), Outcome::Passed),
        (
            json!({"equals": 2}),
            Some(Verdict::Skip),
            None,
            Outcome::Failed,
        ),
    ] {
        let reply = Reply {
            verdict,
            checks: check.map(own).into_iter().collect(),
            ..reply("1")
        };
        assert_eq!(
            judged(&expected, &reply).0,
            outcome,
            "{expected} {verdict:?} {check:?}"
        );
    }
}

#[test]
fn a_command_must_exit_with_0() {
    let exited = |code, output| Reply {
        exit_code: Some(code),
        ..reply(output)
    };
    assert_eq!(judged(&json!({}), &exited(0, "\"\"")).0, Outcome::Passed);
    let (outcome, checks) = judged(&json!({}), &exited(3, "\"\""));
    assert_eq!(outcome, Outcome::Failed);
    assert_eq!(
        json!(checks),
        json!([{
            "name": "exit_code",
            "verdict": "fail",
            "message": "expected exit code 0, got 3; its standard error ends with\nfirst\nlast words",
            "expected": 0,
            "actual": 3,
        }])
    );
}

#[test]
fn an_error_passes_only_if_it_was_expected() {
    let error = RowError {
        class: Some(ErrorClass::Trap),
        code: "unreachable".into(),
        message: "it trapped".into(),
        retry_after_ms: None,
        details: None,
    };
    let trap = ExpectedError::Class(ErrorClass::Trap);
    let judge = |expected: Value, outcome, came| {
        let (outcome, checks) = judge_error(&expect(&expected), outcome, came, &error);
        (outcome, json!(checks))
    };
    assert_eq!(
        judge(json!({"equals": 1}), Outcome::Error, trap),
        (Outcome::Error, json!([]))
    );
    assert_eq!(
        judge(json!({"error": "trap"}), Outcome::Error, trap),
        (
            Outcome::Passed,
            json!([{"name": "error", "verdict": "pass"}])
        )
    );
    assert_eq!(
        judge(
            json!({"error": "trap"}),
            Outcome::Timeout,
            ExpectedError::Timeout
        ),
        (
            Outcome::Timeout,
            json!([{
                "name": "error",
                "verdict": "fail",
                "message": "expected `trap`, got `timeout`: it trapped",
                "expected": "trap",
                "actual": "timeout",
            }])
        )
    );
}

#[test]
fn only_so_much_of_an_output_is_repeated() {
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    let check = &checks(&json!({"matches": "y"}), &large)[0];
    assert_eq!(
        check["actual"].as_str().unwrap().len(),
        (64 << 10) + "…".len()
    );
    let list = format!("[{}]", vec!["0"; 40_000].join(","));
    let check = &checks(&json!({"equals": 1}), &list)[0];
    assert_eq!(check.get("actual"), None);
    assert_eq!(
        check["message"],
        "the output is not what was expected; the output is too large to be repeated here"
    );
    let deep = format!("{}{}", "[".repeat(110), "]".repeat(110));
    assert_eq!(checks(&json!({"equals": 1}), &deep)[0].get("actual"), None);
    // All copies of an attempt together are bounded.
    let text = format!("\"{}\"", "x".repeat(60_000));
    let made = checks(&json!({"contains": vec!["y"; 100]}), &text);
    let made = made.as_array().unwrap();
    let repeated = made.iter().filter(|check| check.get("actual").is_some());
    assert_eq!((made.len(), repeated.count()), (100, 4));
}

#[test]
fn an_output_with_too_many_values_is_not_compared() {
    let objects = vec![r#"{"":0}"#; 200_000].join(",");
    let check = &checks(&json!({"json": []}), &format!("[{objects}]"))[0];
    let message = check["message"].as_str().unwrap();
    assert!(
        message.starts_with("the output has too many values to be compared"),
        "{message}"
    );
    let deep = format!("{}{}", "[".repeat(127), "]".repeat(127));
    assert_eq!(checks(&json!({"json": []}), &deep)[0]["verdict"], "fail");
}

#[test]
fn expressions_are_compiled_once_and_some_are_kept() {
    let judge = Judge::default();
    for n in 0..3 * MAX_REGEXES {
        assert_eq!(judge.is_match(&format!("^{n}$"), &n.to_string()), Ok(true));
        assert_eq!(judge.is_match("^a$", "b"), Ok(false));
        assert!(judge.regexes.borrow().len() <= MAX_REGEXES);
    }
    assert!(judge.is_match("(", "").is_err());
}
