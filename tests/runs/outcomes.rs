//! What a trial comes to: every expectation, and every way in which a guest can end, from the scenario to the row.

use serde_json::{Value, json};

use crate::support::runner::{Run, Runner, tests};

/// Runs tests on the hostile guest.
#[track_caller]
fn run(table: &str, code: i32) -> Run {
    let runner = Runner::hostile(&tests(table));
    runner.exec(&[]).expect(code);
    runner.only_run()
}

#[test]
fn every_expectation_that_holds_is_a_check_that_passed() {
    let runner = Runner::hostile(&tests(
        r#"
        equals    | { do = "echo", value = { a = [1] } }        | equals = { a = [1.0] }
        contains  | { do = "echo", value = "some text" }        | contains = ["some", "text"]
        matches   | { do = "echo", value = "some text" }        | matches = "^s.*t$"
        json      | { do = "echo", value = { a = 1, b = 2.04 } } | json = { b = 2 }, tolerance = 0.1
        schema    | { do = "echo", value = 12 }                 | schema = "number.json"
        error     | { do = "error", kind = "denied" }           | error = "denied"
        trap      | { do = "trap" }                             | error = "trap"
        bounds    | { do = "echo", value = 1 }                  | max_duration = "30s", max_memory = "64MiB"
        nothing   | { do = "echo", value = 1 }                  |
        verdict   | { do = "verdict", verdict = "pass" }        |
        "#,
    ));
    runner.write("number.json", r#"{"type": "number", "minimum": 10}"#);
    runner.exec(&[]).expect(0);

    let names = |test: &str| -> Vec<String> {
        let row = runner.only_run().row(test);
        assert_eq!(row["outcome"], "passed");
        let checks = row["checks"].as_array().cloned().unwrap_or_default();
        assert!(
            checks.iter().all(|check| check["verdict"] == "pass"),
            "{row}"
        );
        checks
            .iter()
            .map(|check| check["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("equals"), ["equals"]);
    assert_eq!(names("contains"), ["contains", "contains"]);
    assert_eq!(names("matches"), ["matches"]);
    assert_eq!(names("json"), ["json"]);
    assert_eq!(names("schema"), ["schema"]);
    assert_eq!(names("error"), ["error"]);
    assert_eq!(names("trap"), ["error"]);
    assert_eq!(names("bounds"), ["max_duration", "max_memory"]);
    assert!(names("nothing").is_empty());
    assert!(names("verdict").is_empty());
}

#[test]
fn every_expectation_that_does_not_hold_names_what_was_expected_and_what_came() {
    let runner = Runner::hostile(&tests(
        r#"
        equals    | { do = "echo", value = "one\ntwo\nthree" } | equals = "one\n2\nthree"
        contains  | { do = "echo", value = ["a", "b"] }  | contains = ["a", "c"]
        matches   | { do = "echo", value = "text" }      | matches = "^x"
        json      | { do = "echo", value = { a = { b = 1 } } } | json = { a = { b = 2 } }
        schema    | { do = "echo", value = 3 }           | schema = "number.json"
        reply     | { do = "echo", value = 3 }           | error = "trap"
        timeout   | { do = "trap" }                      | error = "timeout"
        other     | { do = "error", kind = "denied", message = "no" } | error = "unavailable"
        score     | { do = "judge" }                     | min_score = 0.5
        duration  | { do = "sleep", ms = 20 }            | max_duration = "10ms"
        memory    | { do = "grow-memory", count = 8 }    | max_memory = "2MiB"
        exit      | { do = "echo", value = 3 }           | exit_code = 3
        "#,
    ));
    runner.write("number.json", r#"{"type": "number", "minimum": 10}"#);
    let ran = runner.exec(&[]).expect(1);
    let run = runner.only_run();
    assert_eq!(run.ending(), ["completed", "", "", "failed"]);

    let failed = |test: &str| -> Value {
        let row = run.row(test);
        let checks = row["checks"].as_array().unwrap().iter();
        let mut failed = checks.filter(|check| check["verdict"] == "fail");
        failed.next().unwrap_or_else(|| panic!("{row}")).clone()
    };
    let assert_check = |test: &str, name: &str, expected: Value, actual: Value| {
        let check = failed(test);
        assert_eq!(check["name"], name);
        assert_eq!((&check["expected"], &check["actual"]), (&expected, &actual));
        assert!(!check["message"].as_str().unwrap().is_empty());
        check
    };
    let check = assert_check(
        "equals",
        "equals",
        json!("one\n2\nthree"),
        json!("one\ntwo\nthree"),
    );
    let diff = check["diff"].as_str().unwrap();
    assert!(diff.contains(" one\n-2\n+two\n three"), "{diff}");
    assert_check("contains", "contains", json!("c"), json!(["a", "b"]));
    assert_check("matches", "matches", json!("^x"), json!("text"));
    let check = assert_check(
        "json",
        "json",
        json!({"a": {"b": 2}}),
        json!({"a": {"b": 1}}),
    );
    assert!(
        check["message"].as_str().unwrap().contains("a.b"),
        "{check}"
    );
    assert!(check["diff"].is_string(), "{check}");
    let check = failed("schema");
    assert_eq!(
        (&check["name"], &check["actual"]),
        (&json!("schema"), &json!(3))
    );
    assert!(check["message"].as_str().unwrap().contains("10"), "{check}");
    assert_check("reply", "error", json!("trap"), Value::Null);
    assert_check("timeout", "error", json!("timeout"), json!("trap"));
    let check = assert_check("other", "error", json!("unavailable"), json!("denied"));
    assert_eq!(check["message"], "expected `unavailable`, got `denied`: no");
    assert_check("score", "min_score", json!(0.5), json!(0.25));
    assert_check("exit", "exit_code", json!(3), Value::Null);
    let check = failed("duration");
    assert_eq!(
        (&check["name"], &check["expected"]),
        (&json!("max_duration"), &json!(10.0))
    );
    assert!(check["actual"].as_f64().unwrap() >= 20.0, "{check}");
    let shown = runner.run(&["show", "latest", "duration"]).expect(0);
    shown.prints("expected at most 10ms, took ");
    assert!(!shown.stdout.contains("expected 10.0"), "{}", shown.stdout);
    for form in ["--markdown", "--junit", "--html"] {
        let report = runner.run(&["report", "latest", form]).expect(0);
        report.prints("expected at most 10ms, took ");
        assert!(!report.stdout.contains("expected: 10"), "{form}");
    }
    let check = failed("memory");
    assert_eq!(
        (&check["name"], &check["expected"]),
        (&json!("max_memory"), &json!(2 << 20))
    );
    assert!(check["actual"].as_u64().unwrap() > 8 << 20, "{check}");

    let outcome = |test: &str| run.row(test)["outcome"].as_str().unwrap().to_owned();
    for test in [
        "equals", "contains", "matches", "json", "schema", "reply", "score", "duration", "memory",
        "exit",
    ] {
        assert_eq!(outcome(test), "failed", "{test}");
    }
    // An error that is another one than expected stays an error.
    assert_eq!(outcome("timeout"), "error");
    assert_eq!(outcome("other"), "error");
    ran.says(&["failed equals@hostile#1", "-2", "+two", "exit code 1"]);
}

#[test]
fn a_providers_own_judgement_decides_the_outcome_and_is_in_the_row() {
    let run = run(
        r#"
        judge   | { do = "judge" }                      |
        fail    | { do = "verdict", verdict = "fail" }  |
        skip    | { do = "verdict", verdict = "skip" }  |
        unmet   | { do = "verdict", verdict = "skip" }  | equals = 1
        "#,
        1,
    );
    let row = run.row("judge");
    assert_eq!(
        (&row["outcome"], &row["score"]),
        (&json!("failed"), &json!(0.25))
    );
    assert_eq!(row["summary"], "not good");
    assert_eq!(
        row["checks"],
        json!([{"name": "style", "verdict": "fail", "score": 0.5, "message": "too long", "details": {"lines": 3}}])
    );
    assert_eq!(
        row["metrics"],
        json!([{"name": "length", "value": 3.0, "unit": "lines"}])
    );
    assert_eq!(run.row("fail")["outcome"], "failed");
    assert_eq!(run.row("skip")["outcome"], "skipped");
    assert_eq!(run.row("unmet")["outcome"], "failed");
    let counts = &run.manifest()["counts"];
    assert_eq!(
        (&counts["failed"], &counts["skipped"]),
        (&json!(3), &json!(1))
    );
}

#[test]
fn skipped_trials_alone_do_not_fail_a_run() {
    let run = run(r#"skip | { do = "verdict", verdict = "skip" } |"#, 0);
    assert_eq!(run.ending(), ["completed", "", "", "passed"]);
}

#[test]
fn every_way_a_guest_can_end_has_its_class_and_a_message_that_can_be_read() {
    let cases = [
        (
            "trap",
            "trap",
            "the guest trapped: wasm `unreachable` instruction executed",
        ),
        ("panic", "trap", "the guest's own words"),
        ("divide", "trap", "attempt to divide by zero"),
        (
            "recurse",
            "trap",
            "the guest trapped: out of bounds memory access",
        ),
        ("grow-memory", "out-of-memory", "256"),
        ("invalid-json", "protocol", "the output is not JSON"),
        ("nan-score", "protocol", "the score is NaN"),
        ("infinite-metric", "protocol", "is inf"),
        (
            "exit",
            "protocol",
            "the guest exited with 0 instead of returning",
        ),
        ("say-stopped", "protocol", "nobody had asked it to"),
        ("unheard-of", "invalid-input", "cannot do `unheard-of`"),
    ];
    let table: String = cases
        .iter()
        .map(|(what, _, _)| format!("{what} | {{ do = \"{what}\" }} |\n"))
        .collect();
    let run = run(&table, 1);
    for (what, class, message) in cases {
        let row = run.row(what);
        assert_eq!(
            (&row["outcome"], &row["error"]["class"]),
            (&json!("error"), &json!(class)),
            "{row}"
        );
        assert!(
            row["error"]["message"].as_str().unwrap().contains(message),
            "{row}"
        );
        assert_eq!(row.get("output"), None);
    }
    let counts = &run.manifest()["counts"];
    assert_eq!(counts["error"], cases.len());
    assert_eq!(run.ending(), ["completed", "", "", "failed"]);
}

#[test]
fn a_reply_of_100_mb_is_over_its_limit_and_not_kept() {
    let runner = Runner::new(&["hostile"]);
    let scenario = tests(r#"huge | { do = "huge-reply", bytes = 100000000 } |"#);
    runner.scenario(&format!(
        "{scenario}[providers.hostile]\nplugin = \"hostile.wasm\"\nlimits = {{ memory = \"1GiB\" }}\n"
    ));
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    let row = run.row("huge");
    assert_eq!(
        (&row["outcome"], &row["error"]["class"]),
        (&json!("error"), &json!("limit"))
    );
    let message = row["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("more than 4.1 MiB in one call, which `limits.reply` sets"),
        "{message}"
    );
    assert!(run.read("index.jsonl").len() < 10_000);
}

#[test]
fn typed_errors_keep_their_class_code_and_message() {
    let kinds = [
        "invalid-config",
        "invalid-input",
        "denied",
        "unavailable",
        "rate-limited",
        "internal",
        "other",
    ];
    let table: String = kinds
        .iter()
        .map(|kind| format!("{kind} | {{ do = \"error\", kind = \"{kind}\", code = \"E1\", message = \"why\" }} |\n"))
        .collect();
    let run = run(&table, 1);
    for kind in kinds {
        let row = run.row(kind);
        assert_eq!(row["outcome"], "error");
        let error = &row["error"];
        assert_eq!(
            (&error["class"], &error["code"], &error["message"]),
            (&json!(kind), &json!("E1"), &json!("why"))
        );
    }
}

#[test]
fn guests_that_loop_or_sleep_end_at_their_timeout_which_is_named() {
    let runner = Runner::hostile(&format!(
        "[defaults]\ntimeout = \"150ms\"\n{}",
        tests(
            r#"
            loop   | { do = "loop" }  |
            sleep  | { do = "sleep" } |
            wanted | { do = "loop" }  | error = "timeout"
            "#
        )
    ));
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    for test in ["loop", "sleep"] {
        let row = run.row(test);
        assert_eq!(row["outcome"], "timeout");
        assert_eq!(
            row["error"],
            json!({"code": "timeout", "message": "no reply within 150ms, set by the attempt's `timeout = \"150ms\"`"})
        );
        // The deadline is set a little before the guest starts.
        assert!(row["duration_ms"].as_f64().unwrap() >= 100.0, "{row}");
    }
    assert_eq!(run.row("wanted")["outcome"], "passed");
    assert_eq!(run.manifest()["counts"]["timeout"], 2);
}

#[test]
fn floods_are_cut_and_do_not_fail_the_guest() {
    let runner = Runner::hostile(&tests(
        r#"
        stdout    | { do = "flood-stdout" }    | equals = "flooded"
        stderr    | { do = "flood-stderr", count = 10 } | equals = "flooded"
        log       | { do = "flood-log" }       | equals = "flooded"
        long-log  | { do = "flood-log", bytes = 100000, count = 100 } | equals = "flooded"
        artifacts | { do = "flood-artifacts" } |
        "#,
    ));
    // Standard error is written byte by byte, so little of it must be a flood.
    runner.exec(&["--limit", "stdio=1KiB"]).expect(0);
    let run = runner.only_run();
    assert_eq!(run.rows().len(), 5);

    let appended = run.row("artifacts")["output"].as_array().unwrap().clone();
    assert_eq!(appended.iter().filter(|error| error.is_null()).count(), 100);
    assert!(
        appended[100..].iter().all(|error| error == "too-many"),
        "{appended:?}"
    );
    assert_eq!(
        run.row("artifacts")["artifacts"].as_array().unwrap().len(),
        100
    );

    let read = |test: &str, what: &str| run.said(&run.row(test), what).unwrap();
    // 1 KiB from the start and 1 KiB from the end of 10 000 bytes.
    let stderr = read("stderr", "stderr");
    assert!(
        stderr.starts_with("000") && stderr.ends_with("0009\n"),
        "{stderr}"
    );
    assert!(stderr.contains("[7952 bytes dropped]"), "{stderr}");
    let log = read("log", "log");
    assert_eq!(log.lines().count(), 10_001);
    assert!(
        log.lines()
            .last()
            .unwrap()
            .contains("10000 more records were dropped"),
        "{log}"
    );
    assert!(read("long-log", "log").len() < 1_100_000);
}

#[test]
fn guests_have_nothing_that_they_were_not_granted() {
    let run = run(
        r#"
        environment | { do = "environment" } | equals = { variables = 0, root = false }
        socket      | { do = "open-socket" } | equals = true
        secret      | { do = "secret" }      | json = { error = "denied" }
        http        | { do = "http" }        | contains = "Denied"
        "#,
        0,
    );
    assert_eq!(run.rows().len(), 4);
}

#[test]
fn the_guest_gets_the_test_as_the_scenario_has_it() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(
        r#"
        [run]
        seed = 7
        [providers.mine]
        plugin = "hostile.wasm"
        config = { unit = "km" }
        [[tests]]
        id = "a/b"
        repeat = 2
        tags = ["t1", "t2"]
        input = { do = "test", n = 1.5 }
        expect = { json = { test = "a/b", provider = "mine", attempt = 1, seed = 7, config = { unit = "km" }, tags = ["t1", "t2"], input = { do = "test", n = 1.5 } } }
        [[tests]]
        id = "names"
        files = { "a.txt" = "data/a.txt" }
        input = { do = "names" }
        expect = { equals = [["a.txt", "text/plain", 5]] }
        [[tests]]
        id = "content"
        files = { "a.txt" = "data/a.txt" }
        input = { do = "read-file", name = "a.txt", offset = 1, length = 3 }
        expect = { equals = "ell" }
        "#,
    );
    runner.write("data/a.txt", "hello");
    runner.exec(&[]).expect(0);
    let rows = runner.only_run().rows();
    let outputs: Vec<_> = rows
        .iter()
        .filter(|row| row["test"] == "a/b")
        .map(|row| &row["output"])
        .collect();
    let mut trials: Vec<_> = outputs
        .iter()
        .map(|output| output["trial"].as_str().unwrap())
        .collect();
    trials.sort_unstable();
    assert_eq!(trials, ["a/b@mine#1", "a/b@mine#2"]);
}

#[test]
fn a_large_output_is_kept_beside_the_rows_with_its_digest() {
    let run = run(r#"large | { do = "huge-reply", bytes = 100000 } |"#, 0);
    let output = &run.row("large")["output"];
    assert_eq!(output["bytes"], 100_002);
    let path = run
        .dir
        .join("artifacts/0/0-1")
        .join(output["artifact"].as_str().unwrap());
    let path = if path.exists() {
        path
    } else {
        run.dir
            .join("artifacts")
            .join(output["artifact"].as_str().unwrap())
    };
    let text = fs_err::read_to_string(path).unwrap();
    assert_eq!(text, format!("\"{}\"", "x".repeat(100_000)));
}

#[test]
fn test_lists_of_every_kind_become_tests() {
    let runner = Runner::hostile(
        r#"
        [[test_lists]]
        files = ["cases/*"]
        id = "{{file.stem}}/{{row.name}}"
        input = { do = "echo", value = "{{row.text}}" }
        expect = { equals = "{{row.want}}" }
        exclude = ["*-slow"]
        "#,
    );
    runner.write("cases/a.jsonl", "{\"name\": \"x\", \"text\": 1, \"want\": 1}\n{\"name\": \"y-slow\", \"text\": 1, \"want\": 1}\n");
    runner.write(
        "cases/b.json",
        r#"[{"name": "x", "text": {"k": []}, "want": {"k": []}}]"#,
    );
    runner.write("cases/c.csv", "name,text,want\nx,1,1\n");
    runner.write(
        "cases/d.toml",
        "[[tests]]\nname = \"x\"\ntext = 1.5\nwant = 1.5\n",
    );
    runner.exec(&[]).expect(0);
    let mut rows = runner.only_run().rows();
    rows.sort_by_key(|row| row["ordinal"].as_u64());
    let outputs: Vec<_> = rows
        .iter()
        .map(|row| (row["test"].as_str().unwrap(), &row["output"]))
        .collect();
    assert_eq!(
        outputs,
        [
            ("a/x", &json!(1)),
            ("b/x", &json!({"k": []})),
            ("c/x", &json!("1")),
            ("d/x", &json!(1.5))
        ]
    );
}
