use std::fs;

use runner_model::log::Said;
use runner_model::{
    ErrorClass, Outcome, Row,
    outcome::Verdict,
    row::{Check, Hint, Raw, RowError},
    test::Expect,
};
use serde_json::{Value, json};

use super::{
    CompiledCache, Evidence,
    compiled::{MAX_REGEXES, MAX_SCHEMAS},
    judge,
    outcome::judge_error,
    rejudge,
};
use crate::report::{AttemptReport, AttemptResult};
use crate::schema::Schema;

fn expect(json: &Value) -> Expect {
    serde_json::from_value(json.clone()).unwrap()
}

/// The result of an attempt, without its output.
#[derive(Default)]
struct Actual {
    verdict: Option<Verdict>,
    score: Option<f64>,
    own: Vec<Check<'static>>,
    exit_code: Option<i32>,
    json_key: Option<Hint>,
    schema: Option<Result<Schema, String>>,
}

fn judged(expected: &Value, output: &str, actual: &Actual) -> (Outcome, Vec<Check<'static>>) {
    let stored = r#"{"v":4,"trial":"a@p#1","test":"a","provider":"p","repeat":1,"attempt":1,"outcome":"passed",
        "started_at":"2026-11-20T09:18:04.015Z","duration_ms":1.5,"usage":{"peak_memory":65536}}"#;
    let evidence = |exit_code| Evidence {
        transcript: None,
        max_tree: 24 << 20,
        schema: actual.schema.as_ref(),
        exit_code,
        json_key: actual.json_key,
        stderr: "first\nlast words\n",
        workspace: None,
    };
    let cache = CompiledCache::default();
    let blank =
        rejudge(&cache, &Expect::default(), serde_json::from_str(stored).unwrap(), &evidence(None));
    let mut row = Row {
        output: Raw::from_string(output.to_owned()).ok(),
        verdict: actual.verdict,
        score: actual.score,
        checks: actual.own.clone(),
        ..blank
    };
    judge(&cache, &expect(expected), &mut row, &evidence(actual.exit_code));
    let own = row.checks.split_off(row.checks.len() - actual.own.len());
    assert_eq!(own, actual.own);
    (row.outcome, row.checks)
}

/// Returns the checks of an output as JSON.
fn checks(expected: &Value, output: &str) -> Value {
    json!(judged(expected, output, &Actual::default()).1)
}

#[test]
fn held_expectations_have_no_message() {
    for (expected, output, names) in [
        (json!({}), "1", &[][..]),
        (json!({"equals": {"a": [1.0]}}), r#"{"a":[1]}"#, &["equals"]),
        (json!({"equals": null}), "null", &["equals"]),
        (json!({"contains": ["some", "text"]}), r#""some text""#, &["contains", "contains"]),
        (json!({"contains": [{"a": 1}]}), r#"[0,{"a":1}]"#, &["contains"]),
        (json!({"matches": "^s.*t$"}), r#""some\u0020text""#, &["matches"]),
        (json!({"matches": "^\\{.a.:1\\}$"}), r#"{"a":1}"#, &["matches"]),
        (json!({"json": {"b": 2}, "tolerance": 0.1}), r#"{"a":1,"b":2.04}"#, &["json"]),
        (json!({"max_duration": 1500}), "1", &["max_duration"]),
        (json!({"min_score": 0.5, "max_memory": 65536}), "1", &["min_score", "max_memory"]),
    ] {
        let actual = Actual { score: Some(0.5), ..Actual::default() };
        let (outcome, checks) = judged(&expected, output, &actual);
        assert_eq!(outcome, Outcome::Passed, "{expected}");
        let passed = |kind: &&str| json!({"kind": kind, "verdict": "pass"});
        let expected: Vec<_> = names.iter().map(passed).collect();
        assert_eq!(json!(checks), json!(expected));
    }
}

#[test]
fn failed_expectations_show_both_sides() {
    let failed = |kind: &str, message: &str, expected: Value, actual: Value| json!([{"kind": kind, "verdict": "fail", "message": message, "expected": expected, "actual": actual}]);
    assert_eq!(
        checks(&json!({"equals": "two"}), r#""one""#),
        failed("equals", "the output differs from the expected one", json!("two"), json!("one"))
    );
    assert_eq!(
        checks(&json!({"equals": "a b"}), r#""a b ""#),
        failed(
            "equals",
            "the output differs only in white space or invisible characters",
            json!("a b"),
            json!("a b ")
        )
    );
    assert_eq!(
        checks(&json!({"contains": ["c"]}), r#"["a"]"#),
        failed("contains", "the output does not contain \"c\"", json!("c"), json!(["a"]))
    );
    for (key, value, part) in
        [("contains", "42", "\"c\""), ("contains_any", r#"{"a": "c"}"#, "[\"c\"]")]
    {
        let found = checks(&json!({key: ["c"]}), value);
        let message =
            format!("the output is not a string or an array, so it cannot be searched for {part}");
        assert_eq!(found[0]["message"], message, "{found}");
    }
    assert_eq!(
        checks(&json!({"matches": "^x"}), r#""text""#),
        failed("matches", "the output does not match `^x`", json!("^x"), json!("text"))
    );
    assert_eq!(
        checks(&json!({"error": "timeout"}), "1"),
        failed("error", "expected `timeout`, got a reply", json!("timeout"), json!(null))
    );
    assert_eq!(
        checks(&json!({"max_duration": 1000}), "1"),
        failed("max_duration", "expected at most 1 ms, took 1.5 ms", json!(1.0), json!(1.5))
    );
    assert_eq!(
        checks(&json!({"max_duration": 1499}), "1"),
        failed("max_duration", "expected at most 1.499 ms, took 1.5 ms", json!(1.499), json!(1.5))
    );
    assert_eq!(
        checks(&json!({"min_score": 0.5}), "1"),
        failed(
            "min_score",
            "expected a score of at least 0.5, got no score",
            json!(0.5),
            json!(null)
        )
    );
    assert_eq!(
        checks(&json!({"max_memory": 65535}), "1"),
        failed("max_memory", "expected at most 65535 B, used 65536 B", json!(65535), json!(65536))
    );
    assert_eq!(
        checks(&json!({"exit_code": 3}), "1"),
        failed(
            "exit_code",
            "the provider has no exit code: it is not a plain command",
            json!(3),
            json!(null)
        )
    );
    let both = checks(&json!({"equals": {"a": 1, "b": 2}, "json": {"a": 1}}), r#"{"a":2,"c":[]}"#);
    let changed = json!({"path": "$.a", "expected": "1", "actual": "2"});
    let missing = json!({"path": "$.b", "expected": "2"});
    let unexpected = json!({"path": "$.c", "actual": "[]"});
    assert_eq!(both[0]["differences"], json!([changed, missing, unexpected]));
    assert_eq!((&both[0]["difference_count"], both[0].get("message")), (&json!(3), None));
    assert_eq!(both[1]["differences"], json!([changed]));
    assert_eq!((both[0].get("diff"), both[1].get("diff")), (None, None));
}

#[test]
fn choices_and_exclusions_hold_or_give_the_reason() {
    let made = |expected: Value, output: &str| {
        let made = checks(&expected, output);
        let made = made.as_array().unwrap().iter();
        let line = |check: &Value| {
            let message = check["message"].as_str().unwrap_or("held");
            format!("{}: {message}", check["kind"].as_str().unwrap())
        };
        made.map(line).collect::<Vec<_>>()
    };
    let sorry = r#""First line.\nI am really very very sorry, but I can't.""#;
    for (expected, output, lines) in [
        (json!({"equals_any": ["a", 4.0]}), "4", &["equals_any: held"][..]),
        (
            json!({"equals_any": ["a", 4]}),
            r#""4""#,
            &[r#"equals_any: the output is none of ["a",4]"#],
        ),
        (json!({"contains_any": ["x", "line"]}), sorry, &["contains_any: held"]),
        (json!({"contains_any": ["x", 1]}), "[2,1.0]", &["contains_any: held"]),
        (
            json!({"contains_any": ["q", "w"]}),
            sorry,
            &[r#"contains_any: the output contains none of ["q","w"]"#],
        ),
        (
            json!({"not": {"equals": "no", "contains": ["a", "b"], "matches": "^z"}}),
            r#""c""#,
            &["not.equals: held", "not.contains: held", "not.contains: held", "not.matches: held"],
        ),
        (
            json!({"not": {"equals": null, "contains": ["sorry"]}}),
            "null",
            &[
                "not.equals: the output is null",
                r#"not.contains: the output is not a string or an array, so it cannot be searched for "sorry""#,
            ],
        ),
        (
            json!({"not": {"contains": ["absent", "sorry"], "matches": "(?m)^I"}}),
            sorry,
            &[
                "not.contains: held",
                r#"not.contains: the output contains "sorry" at line 2, column 23: "… am really very very sorry, but I can't.""#,
                r#"not.matches: the output matches `(?m)^I` at line 2, column 1: "I am really very very sorry, but I can't.""#,
            ],
        ),
        (
            json!({"not": {"contains": [{"a": 1}]}}),
            r#"[0,{"a":1}]"#,
            &[r#"not.contains: the output contains {"a":1} at $[1]"#],
        ),
    ] {
        assert_eq!(made(expected.clone(), output), lines, "{expected}");
    }
}

#[test]
fn case_is_ignored_in_all_texts_but_json() {
    let all = json!({
        "equals": "STRASSE Σ",
        "equals_any": ["straße", "strasse ς"],
        "contains": ["ASS"],
        "contains_any": ["x", "σ"],
        "matches": "^STR.* σ$",
    });
    let outcome = |expected: &Value, output: &str| judged(expected, output, &Actual::default()).0;
    let with = |expected: &Value, key: &str, value: Value| {
        let mut expected = expected.clone();
        expected[key] = value;
        expected
    };
    let output = r#""Strasse ς""#;
    assert_eq!(outcome(&all, output), Outcome::Failed);
    assert_eq!(outcome(&with(&all, "ignore_case", json!(true)), output), Outcome::Passed);
    // Numbers, keys and `json` are compared as without it.
    for (expected, output, outcome_) in [
        (json!({"equals": {"a": ["X", 1]}}), r#"{"a":["x",1.0]}"#, Outcome::Passed),
        (json!({"equals": {"A": "x"}}), r#"{"a":"x"}"#, Outcome::Failed),
        (json!({"equals": "a", "json": "A"}), r#""a""#, Outcome::Failed),
        (json!({"equals": "A", "json": "a"}), r#""a""#, Outcome::Passed),
        (json!({"stderr": {"matches": "LAST"}}), "1", Outcome::Failed),
    ] {
        let expected = with(&expected, "ignore_case", json!(true));
        assert_eq!(outcome(&expected, output), outcome_, "{expected}");
    }
    // The message has the text with its case.
    let unwanted = json!({"not": {"equals": "é SORRY", "contains": ["sorry"], "matches": "SORRY"}, "ignore_case": true});
    let made = checks(&unwanted, r#""É SoRRy""#);
    let messages: Vec<_> = made.as_array().unwrap().iter().map(|made| &made["message"]).collect();
    assert_eq!(
        messages,
        [
            r#"the output is "é SORRY""#,
            r#"the output contains "sorry" at line 1, column 3: "É SoRRy""#,
            r#"the output matches `SORRY` at line 1, column 3: "É SoRRy""#,
        ]
    );
    // Only lines that differ otherwise are in the difference.
    let made = checks(&json!({"equals": "One\nTwo", "ignore_case": true}), r#""ONE\ntoo""#);
    assert_eq!(made[0]["message"], "the output differs from the expected one, ignoring case");
    assert_eq!(made[0]["ignore_case"], true);
    assert!(made[0]["diff"].as_str().unwrap().contains(" one\n-two\n"), "{made}");
}

#[test]
fn standard_error_has_the_same_checks() {
    let message = |expected: Value| {
        let made = checks(&json!({"stderr": expected}), "1");
        made[0]["message"].as_str().unwrap_or_default().to_owned()
    };
    for held in [
        json!({"equals": "FIRST\nlast words\n", "contains": ["first", "WORDS"], "matches": "^first", "ignore_case": true}),
        json!({"contains_any": ["x", "last"], "not": {"equals": "x", "contains": ["panic"], "matches": "^last"}}),
    ] {
        assert_eq!(message(held), "");
    }
    let all = json!({
        "contains": ["first", "x"], "contains_any": ["y", "z"],
        "not": {"equals": "FIRST\nlast words\n", "contains": ["WORDS"], "matches": "l.st"}, "ignore_case": true,
    });
    let says = [
        r#"the standard error does not contain "x""#,
        r#"the standard error contains none of ["y","z"]"#,
        r#"the standard error is "FIRST\nlast words\n""#,
        r#"the standard error contains "WORDS" at line 2, column 6: "last words""#,
        r#"the standard error matches `l.st` at line 2, column 1: "last words""#,
    ];
    assert!(message(all.clone()).starts_with(&says.join("; ")), "{}", message(all));
}

#[test]
fn forms_of_the_output_are_named_where_they_help() {
    let hint = |expected: Value, output: &str, exit_code, json_key| {
        let actual = Actual { exit_code, json_key, ..Actual::default() };
        judged(&expected, output, &actual).1[0].hint
    };
    let (trimmed, json, model) = (Some(Hint::Trimmed), Some(Hint::Json), Some(Hint::ModelJson));
    for (expected, output, of_command, of_model) in [
        (json!({"equals": "hello"}), r#""hello\n""#, trimmed, None),
        (json!({"equals_any": ["x", "HELLO"], "ignore_case": true}), r#""hello\n""#, trimmed, None),
        (json!({"equals": "hello"}), r#""hallo\n""#, None, None),
        (json!({"equals": 4}), r#""4\n""#, json, model),
        (json!({"json": {"a": 1}}), r#""{\"a\": 2}""#, json, model),
        (json!({"json": {"a": 1}}), r#""```json\n{\"a\": 1}\n```""#, None, model),
        (json!({"equals": [1]}), r#""Sure:\n```\n[1]\n```\n""#, None, model),
        (json!({"equals": [1]}), r#""```python\n[1]\n```""#, None, None),
        (json!({"equals": true}), r#""yes""#, None, None),
        (json!({"equals": 4}), "5", None, None),
        (json!({"equals": 4}), r#""\"4\"""#, None, None),
    ] {
        for (exit_code, key, expected_hint) in
            [(Some(0), json, of_command), (None, model, of_model)]
        {
            assert_eq!(hint(expected.clone(), output, exit_code, key), expected_hint, "{output}");
        }
        // A component has no such key.
        assert_eq!(hint(expected, output, None, None), None);
    }
}

#[test]
fn own_verdicts_and_checks_decide_with_the_expectations() {
    let own = |verdict| Check::own("own", verdict);
    for (expected, verdict, check, outcome) in [
        (json!({}), None, None, Outcome::Passed),
        (json!({}), Some(Verdict::Pass), None, Outcome::Passed),
        (json!({}), Some(Verdict::Skip), None, Outcome::Skipped),
        (json!({}), Some(Verdict::Fail), None, Outcome::Failed),
        (json!({}), Some(Verdict::Pass), Some(Verdict::Fail), Outcome::Failed),
        (json!({}), None, Some(Verdict::Skip), Outcome::Passed),
        (json!({"equals": 2}), Some(Verdict::Skip), None, Outcome::Failed),
    ] {
        let actual =
            Actual { verdict, own: check.map(own).into_iter().collect(), ..Actual::default() };
        assert_eq!(judged(&expected, "1", &actual).0, outcome, "{expected} {verdict:?} {check:?}");
    }
}

#[test]
fn a_command_must_exit_as_expected() {
    let judge = |expected: Value, code| {
        let actual = Actual { exit_code: Some(code), ..Actual::default() };
        judged(&expected, "\"\"", &actual)
    };
    assert_eq!(judge(json!({}), 0), (Outcome::Passed, Vec::new()));
    let (outcome, checks) = judge(json!({"exit_code": 3}), 3);
    assert_eq!(outcome, Outcome::Passed);
    let passed = json!([{"kind": "exit_code", "verdict": "pass", "actual": 3}]);
    assert_eq!(json!(checks), passed);
    assert_eq!(judge(json!({"exit_code": 3}), 0).0, Outcome::Failed);
    let (outcome, checks) = judge(json!({}), 3);
    assert_eq!(outcome, Outcome::Failed);
    assert_eq!(
        json!(checks),
        json!([{
            "kind": "exit_code",
            "verdict": "fail",
            "message": "expected exit code 0, got 3",
            "stderr": "first\nlast words",
            "expected": 0,
            "actual": 3,
        }])
    );
}

#[test]
fn a_command_that_speaks_the_protocol_has_hint() {
    let hint = |output: &str, exit_code| {
        let actual = Actual { exit_code, ..Actual::default() };
        let (_, checks) = judged(&json!({"equals": 1, "contains": ["x"]}), output, &actual);
        assert_eq!(checks[1].hint, None);
        checks[0].hint
    };
    for (output, exit_code, has_hint) in [
        (r#""{\"ok\":{\"output\":1}}\n""#, Some(0), true),
        (r#"{"ok":{"output":1}}"#, Some(0), true),
        (r#"{"err":{"kind":"other"}}"#, Some(1), true),
        (r#"{"ok":{"output":1}}"#, None, false),
        (r#"{"ok":1}"#, Some(0), false),
        (r#""text""#, Some(0), false),
    ] {
        assert_eq!(hint(output, exit_code), has_hint.then_some(Hint::Protocol), "{output}");
    }
}

#[test]
fn an_error_passes_only_if_it_was_expected() {
    let judge = |expected: Value, class: Option<ErrorClass>| {
        let error = RowError {
            class,
            code: "unreachable".into(),
            message: "it trapped".into(),
            ..RowError::default()
        };
        let (outcome, checks) = judge_error(&expect(&expected), &error);
        (outcome, json!(checks))
    };
    let trap = Some(ErrorClass::Trap);
    assert_eq!(judge(json!({"equals": 1}), trap), (Outcome::Error, json!([])));
    assert_eq!(
        judge(json!({"error": "trap"}), trap),
        (Outcome::Passed, json!([{"kind": "error", "verdict": "pass"}]))
    );
    assert_eq!(
        judge(json!({"error": "trap"}), None),
        (
            Outcome::Timeout,
            json!([{
                "kind": "error",
                "verdict": "fail",
                "message": "expected `trap`, got `timeout`",
                "expected": "trap",
                "actual": "timeout",
            }])
        )
    );
}

#[test]
fn copies_of_an_output_are_bounded() {
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    let check = &checks(&json!({"matches": "y"}), &large)[0];
    assert_eq!(check["actual"].as_str().unwrap().len(), (64 << 10) + "…".len());
    let list = format!("[{}]", vec!["0"; 40_000].join(","));
    let check = &checks(&json!({"equals": 1}), &list)[0];
    assert_eq!(check.get("actual"), None);
    assert_eq!(
        check["message"],
        "the output differs from the expected one; the output is too large to repeat here"
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
    assert!(message.starts_with("the output has too many values to compare"), "{message}");
    let deep = format!("{}{}", "[".repeat(127), "]".repeat(127));
    assert_eq!(checks(&json!({"json": []}), &deep)[0]["verdict"], "fail");
}

#[test]
fn cache_of_expressions_is_bounded() {
    let cache = CompiledCache::default();
    for n in 0..3 * MAX_REGEXES {
        assert!(cache.regex(&format!("^{n}$"), false).unwrap().is_match(&n.to_string()));
        assert!(!cache.regex("^a$", true).unwrap().is_match("b"));
        assert!(cache.regexes.borrow().len() <= MAX_REGEXES);
    }
    assert!(cache.regex("(", false).is_err());
}

#[test]
fn schema_mismatch_names_the_place() {
    let schema = json!({"items": {"type": "integer"}});
    let with_schema =
        |schema: Value| Actual { schema: Some(Schema::new(schema)), ..Actual::default() };
    let (outcome, checks) = judged(&json!({}), "[1]", &with_schema(schema.clone()));
    assert_eq!(outcome, Outcome::Passed);
    assert_eq!(json!(checks), json!([{"kind": "schema", "verdict": "pass"}]));
    let (outcome, checks) = judged(&json!({}), "[1,2.5]", &with_schema(schema.clone()));
    assert_eq!(outcome, Outcome::Failed);
    assert_eq!(
        json!(checks),
        json!([{
            "kind": "schema",
            "verdict": "fail",
            "message": "`$[1]` must be an integer, not a number",
            "expected": schema,
            "actual": [1, 2.5],
        }])
    );
    let (outcome, checks) = judged(&json!({}), "[1]", &with_schema(json!({"type": "x"})));
    assert_eq!(outcome, Outcome::Failed);
    let message = checks[0].message.as_ref().unwrap();
    assert!(message.starts_with("the schema is not a valid JSON Schema"), "{message:?}");
}

#[test]
fn cache_of_schemas_is_bounded() {
    let cache = CompiledCache::default();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("schema");
    let digest = |n: usize| runner_model::digest(&n.to_le_bytes());
    for n in 0..3 * MAX_SCHEMAS {
        fs::write(&file, "{}").unwrap();
        assert!(cache.schema(&digest(n), &file).unwrap().is_ok());
        // The file is not read again.
        fs::remove_file(&file).unwrap();
        assert!(cache.schema(&digest(n), &file).unwrap().is_ok());
        assert!(cache.schemas.borrow().len() <= MAX_SCHEMAS);
    }
    fs::write(&file, "{").unwrap();
    let schema = cache.schema(&digest(0), &file).unwrap();
    assert!(schema.as_ref().as_ref().is_err_and(|reason| reason.starts_with("is not JSON")));
}

#[test]
fn exit_code_is_rejudged_by_its_check() {
    let row = |checks: &str| {
        format!(
            r#"{{"v":4,"trial":"a@p#1","test":"a","provider":"p","repeat":1,"attempt":1,"outcome":"failed","started_at":"2026-11-20T09:18:04.015Z","duration_ms":1.0,"usage":{{"peak_memory":1,"bytes_in":1,"bytes_out":1}},"output":"x"{checks}}}"#
        )
    };
    let again = |expected: Value, checks: &str, is_plain: bool| {
        let row = row(checks);
        let evidence = Evidence {
            transcript: None,
            max_tree: 1 << 20,
            schema: None,
            exit_code: is_plain.then_some(0),
            json_key: None,
            stderr: "",
            workspace: None,
        };
        let cache = CompiledCache::default();
        let row =
            rejudge(&cache, &expect(&expected), serde_json::from_str(&row).unwrap(), &evidence);
        let result = AttemptResult {
            row,
            said: Said::default(),
            left: Vec::new(),
            of_host: Vec::new(),
            host_fault: None,
        };
        let report = AttemptReport::new(result, None, |_, _| Ok(())).unwrap();
        let row: Value = serde_json::from_slice(&report.row).unwrap();
        (row["outcome"].as_str().unwrap().to_owned(), row["checks"].clone())
    };
    const FAILED: &str = r#","checks":[{"kind":"exit_code","verdict":"fail","message":"expected exit code 0, got 3","stderr":"why","expected":0,"actual":3}]"#;
    const PASSED: &str = r#","checks":[{"kind":"exit_code","verdict":"pass","actual":3}]"#;
    for stored in [FAILED, PASSED] {
        assert_eq!(again(json!({"exit_code": 3}), stored, true).0, "passed");
        assert_eq!(again(json!({"exit_code": 4}), stored, true).0, "failed");
        assert_eq!(again(json!({}), stored, true).0, "failed");
    }
    assert_eq!(again(json!({"exit_code": 0}), "", true).0, "passed");
    assert_eq!(again(json!({"exit_code": 1}), "", true).0, "failed");
    // The standard error of the failed check is kept.
    let (_, checks) = again(json!({}), FAILED, true);
    assert_eq!(checks[0]["stderr"], "why");
    // The provider's own checks are kept, even with the scenario's names.
    let own = r#","checks":[{"kind":"exit_code","verdict":"fail","message":"m"},{"name":"equals","verdict":"pass"}]"#;
    let (_, checks) = again(json!({"equals": "x"}), own, false);
    assert_eq!(
        checks,
        json!([{"kind": "equals", "verdict": "pass"}, {"name": "equals", "verdict": "pass"}])
    );
}

#[test]
fn equal_text_with_too_many_values_fails() {
    let value = json!(vec![json!({"": 0}); 200_000]);
    let check = &checks(&json!({"equals": value}), &value.to_string())[0];
    assert_eq!(check["verdict"], "fail");
    assert!(check["message"].as_str().unwrap().contains("too many values"), "{check}");
}

#[test]
fn texts_that_look_alike_are_told_apart() {
    let check = |expected: Value, output: &str| {
        let output = serde_json::to_string(output).unwrap();
        let (outcome, mut checks) = judged(&expected, &output, &Actual::default());
        assert_eq!(outcome, Outcome::Failed);
        let check = checks.remove(0);
        (check.message.unwrap().to_string(), check.code_points.map(|points| points.to_string()))
    };
    let points = "U+00E9, got U+0065 U+0301";
    let alike = "the output differs from the expected one";
    let with = |message: &str, points: &str| (message.to_owned(), Some(points.to_owned()));
    assert_eq!(check(json!({"equals": "café"}), "cafe\u{301}"), with(alike, points));
    let unseen = "the output differs only in white space or invisible characters";
    let expected = with(unseen, "U+0062, got U+200D");
    assert_eq!(check(json!({"equals": "ab"}), "a\u{200d}b"), expected);
    let (contains, _) = check(json!({"contains": ["café"]}), "the cafe\u{301} is open");
    let lacks = "the output does not contain \"café\", but a text that looks alike";
    assert_eq!(contains, format!("{lacks} (first difference: {points})"));
    assert_eq!(check(json!({"equals": "Москва"}), "Киев"), (alike.to_owned(), None));
}

#[test]
fn keys_that_look_alike_are_told_apart() {
    let expected = json!({"json": {"clé": 1, "b": "café"}});
    let found =
        judged(&expected, "{\"cle\u{301}\": 1, \"b\": \"cafe\u{301}\"}", &Actual::default());
    let lines: Vec<_> = found.1[0].differences.iter().map(ToString::to_string).collect();
    let points = "(first difference: U+00E9, got U+0065 U+0301)";
    let expected = [
        format!("$.b: expected \"café\", got \"cafe\u{301}\" {points}"),
        format!("$.clé: missing, expected 1; the output has a key that looks alike {points}"),
    ];
    assert_eq!(lines, expected);
    let found = checks(&json!({"contains": ["café"]}), "[\"tea\", \"cafe\u{301}\"]");
    let message = found[0]["message"].as_str().unwrap();
    assert!(message.ends_with(&format!("but a text that looks alike {points}")), "{message}");
}

#[test]
fn standard_error_that_looks_alike_is_told_apart() {
    let expected =
        json!({"stderr": {"equals": "first\nl\u{430}st words\n", "contains": ["l\u{430}st"]}});
    let found = checks(&expected, "1");
    let message = found[0]["message"].as_str().unwrap();
    let points = "(first difference: U+0430, got U+0061)";
    for words in ["differs from the expected one ", "but a text that looks alike "] {
        assert!(message.contains(&format!("{words}{points}")), "{message}");
    }
}

/// A row with the end of an agent and metrics, judged by an expectation. Returns the outcome and the messages.
fn judged_end(expected: &Value, ended: Option<&str>) -> (Outcome, Vec<String>) {
    let mut row = json!({"v":4,"trial":"a@p#1","test":"a","provider":"p","repeat":1,"attempt":1,"outcome":"passed",
        "started_at":"2026-11-20T09:18:04.015Z","duration_ms":1.5,"usage":{},"output":"a",
        "metrics":[{"name":"cost_usd","value":0.25},{"name":"total_tokens","value":1_200}]});
    row["transcript"] = json!({"sha256": null, "steps": 1, "ended": ended});
    let evidence = Evidence {
        transcript: None,
        max_tree: 24 << 20,
        schema: None,
        exit_code: None,
        json_key: None,
        stderr: "",
        workspace: None,
    };
    let text = row.to_string();
    let stored = serde_json::from_str(&text).unwrap();
    let row = rejudge(&CompiledCache::default(), &expect(expected), stored, &evidence);
    (
        row.outcome,
        row.checks.iter().filter_map(|check| Some(check.message.as_ref()?.to_string())).collect(),
    )
}

#[test]
fn end_of_an_agent_is_judged_by_its_word() {
    let transcript = |ended: Value| json!({ "transcript": { "ended": ended } });
    for (expected, ended, message) in [
        (json!({}), None, ""),
        (json!({}), Some("done"), ""),
        (json!({}), Some("context"), "expected the agent to end as `done`, got `context`"),
        (
            json!({"transcript": {"max_calls": 1}}),
            Some("other"),
            "expected the agent to end as `done`, got `other`",
        ),
        (transcript(json!(["turns", "limit"])), Some("limit"), ""),
        (
            transcript(json!(["turns"])),
            Some("done"),
            "expected the agent to end as `turns`, got `done`",
        ),
        (
            transcript(json!(["done", "turns"])),
            None,
            "expected the agent to end as `done` or `turns`, but it has not reported how it ended",
        ),
    ] {
        let (outcome, messages) = judged_end(&expected, ended);
        assert_eq!(messages.join("; "), message, "{expected} {ended:?}");
        let expected = if message.is_empty() { Outcome::Passed } else { Outcome::Failed };
        assert_eq!(outcome, expected);
    }
}

#[test]
fn metrics_are_in_their_range() {
    for (expected, message) in [
        (json!({"cost_usd": {}, "total_tokens": {"min": 1200, "max": 1200}}), ""),
        (json!({"cost_usd": {"max": 0.1}}), "`cost_usd`: expected at most 0.1, got 0.25"),
        (
            json!({"total_tokens": {"min": 1201}}),
            "`total_tokens`: expected at least 1,201, got 1,200",
        ),
        (json!({"turns": {}}), "`turns`: the attempt has no such metric"),
    ] {
        let (_, messages) = judged_end(&json!({ "metrics": expected }), None);
        assert_eq!(messages.join("; "), message);
    }
}
