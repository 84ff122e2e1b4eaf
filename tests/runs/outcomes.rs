//! Outcomes of trials: every expectation, and every way in which a guest can end.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    run::Run,
    runner::{Runner, tests},
    truth::assert_told_truly,
    wait::wait_until,
};

/// Runs tests on the hostile guest.
#[track_caller]
fn run(table: &str, code: i32) -> (Runner, Run) {
    let runner = Runner::hostile(&tests(table));
    runner.exec(&[]).expect(code);
    assert_told_truly(&runner);
    let run = runner.only_run();
    (runner, run)
}

/// Fails unless the row is an error of this class with this text in its message.
#[track_caller]
fn assert_error(row: &Value, class: &str, message: &str) {
    assert_eq!(
        (&row["outcome"], &row["error"]["class"]),
        (&json!("error"), &json!(class)),
        "{row}"
    );
    let text = row["error"]["message"].as_str().unwrap();
    assert!(text.contains(message), "`{message}` is not in `{text}`");
    let is_visible = |char: char| !char.is_control() || char == '\n' || char == '\t';
    assert!(text.chars().all(is_visible), "{text:?} cannot be read");
    assert!(text.len() < 2_000, "{} bytes", text.len());
}

#[test]
fn every_end_has_its_class() {
    let cases = [
        ("trap", "trap", "unreachable"),
        ("panic", "trap", "the guest's own words"),
        ("divide", "trap", "divide by zero"),
        ("recurse", "trap", "the guest trapped"),
        ("grow-memory", "out-of-memory", "256"),
        ("invalid-json", "protocol", "not JSON"),
        ("nan-score", "protocol", "score"),
        ("infinite-metric", "protocol", "m"),
        ("exit", "protocol", "exited"),
        ("say-stopped", "protocol", "stop"),
        ("unheard-of", "invalid-input", "cannot do `unheard-of`"),
    ];
    let table: String =
        cases.iter().map(|(what, ..)| format!("{what} | {{ do = \"{what}\" }} |\n")).collect();
    let (_runner, run) = run(&table, 1);
    for (what, class, message) in cases {
        let row = run.row(what);
        assert_error(&row, class, message);
        assert_eq!(row.get("output"), None, "{row}");
    }
    assert_eq!(run.count("error"), cases.len() as u64);
    assert_eq!(run.ending(), ["completed", "", "", "failed"]);
}

#[test]
fn typed_errors_keep_their_words() {
    let kinds = [
        "invalid-config",
        "invalid-input",
        "denied",
        "unavailable",
        "rate-limited",
        "internal",
        "other",
    ];
    let line = |kind| {
        format!(
            "{kind} | {{ do = \"error\", kind = \"{kind}\", code = \"E1\", message = \"why\" }} |\n"
        )
    };
    let (_runner, run) = run(&kinds.map(line).concat(), 1);
    for kind in kinds {
        let row = run.row(kind);
        assert_error(&row, kind, "why");
        assert_eq!(row["error"]["code"], "E1");
    }
}

#[test]
fn deadlines_end_loops_and_sleeps() {
    let list = tests(
        r#"
        loop   | { do = "loop" }  |
        sleep  | { do = "sleep" } |
        fill   | { do = "fill-memory" } |
        wanted | { do = "loop" }  | error = "timeout"
        "#,
    );
    let runner = Runner::hostile(&format!("[defaults]\ntimeout = \"150ms\"\n{list}"));
    runner.exec(&["-j", "4"]).expect(1);
    let run = runner.only_run();
    for test in ["loop", "sleep", "fill"] {
        let row = run.row(test);
        assert_eq!(
            (&row["outcome"], &row["error"]["code"]),
            (&json!("timeout"), &json!("timeout")),
            "{row}"
        );
        let message = row["error"]["message"].as_str().unwrap();
        assert!(message.contains("150ms") && message.contains("`timeout"), "{message}");
        assert!(row["duration_ms"].as_f64().unwrap() >= 100.0, "{row}");
    }
    assert_eq!(run.row("wanted")["outcome"], "passed");
    assert_eq!((run.count("timeout"), run.count("passed")), (3, 1));
    assert_told_truly(&runner);
}

#[test]
fn floods_are_cut_without_failing() {
    let list = tests(
        r#"
        stdout   | { do = "flood-stdout" } | equals = "flooded"
        stderr   | { do = "flood-stderr", count = 10 } | equals = "flooded"
        log      | { do = "flood-log" } | equals = "flooded"
        long-log | { do = "flood-log", bytes = 100000, count = 100 } | equals = "flooded"
        "#,
    );
    let runner = Runner::hostile_with("limits = { stdio = \"1KiB\" }", &list);
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    // At most 1 MiB of log each and 2 KiB of a stream, plus JSON's overhead.
    let logs = run.bytes("logs.jsonl").len();
    assert!((100_000..8 << 20).contains(&logs), "{logs} bytes of logs");
    assert!(run.bytes("index.jsonl").len() < 10_000);
}

#[test]
fn huge_reply_exceeds_its_limit() {
    let list = tests(r#"huge | { do = "huge-reply", bytes = 100000000 } |"#);
    let runner = Runner::hostile_with("limits = { memory = \"1GiB\" }", &list);
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    assert_error(&run.row("huge"), "limit", "limits.reply");
    assert!(run.bytes("index.jsonl").len() < 10_000);
}

#[test]
fn small_memory_limit_is_kept() {
    let list = tests(
        r#"
        fits | { do = "grow-memory", count = 4 } | equals = 4
        dies | { do = "grow-memory", count = 40 } | error = "out-of-memory"
        asks | { do = "try-memory" } | equals = true
        "#,
    );
    let runner = Runner::hostile_with("limits = { memory = \"16MiB\" }", &list);
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let peak = run.row("fits")["usage"]["peak_memory"].as_u64().unwrap();
    assert!((4 << 20..16 << 20).contains(&peak), "{peak}");
}

#[test]
fn nothing_is_granted_by_default() {
    let (_runner, run) = run(
        r#"
        environment | { do = "environment" } | equals = { variables = 0, root = false }
        socket      | { do = "open-socket" } | equals = true
        file        | { do = "names" }       | equals = []
        "#,
        0,
    );
    let denied = run.row("socket")["denied"][0]["what"].to_string();
    assert!(denied.contains("a socket"), "{denied}");
}

#[test]
fn met_expectations_are_named_checks() {
    let (_runner, run) = run(
        r#"
        equals   | { do = "echo", value = { a = [1] } } | equals = { a = [1.0] }
        contains | { do = "echo", value = "some text" } | contains = ["some", "text"]
        matches  | { do = "echo", value = "some text" } | matches = "^s.*t$"
        json     | { do = "echo", value = { a = 1, b = 2.04 } } | json = { b = 2 }, tolerance = 0.1
        error    | { do = "error", kind = "denied" } | error = "denied"
        trap     | { do = "trap" } | error = "trap"
        bound    | { do = "echo", value = 1 } | max_duration = "30s"
        nothing  | { do = "echo", value = 1 } |
        skipped  | { do = "verdict", verdict = "skip" } |
        "#,
        0,
    );
    for (test, names) in [
        ("equals", &["equals"][..]),
        ("contains", &["contains", "contains"]),
        ("matches", &["matches"]),
        ("json", &["json"]),
        ("error", &["error"]),
        ("trap", &["error"]),
        ("bound", &["max_duration"]),
        ("nothing", &[]),
    ] {
        let row = run.row(test);
        assert_eq!(row["outcome"], "passed", "{row}");
        let checks = row["checks"].as_array().cloned().unwrap_or_default();
        let passed: Vec<_> = checks
            .iter()
            .filter(|check| check["verdict"] == "pass")
            .map(|check| &check["name"])
            .collect();
        assert_eq!(passed, names, "{row}");
    }
    assert_eq!((run.count("passed"), run.count("skipped")), (8, 1));
    assert_eq!(run.ending(), ["completed", "", "", "passed"]);
}

#[test]
fn unmet_expectations_say_both_sides() {
    let (_runner, run) = run(
        r#"
        equals   | { do = "echo", value = "one" } | equals = "two"
        contains | { do = "echo", value = ["a", "b"] } | contains = ["a", "c"]
        matches  | { do = "echo", value = "text" } | matches = "^x"
        json     | { do = "echo", value = { a = { b = 1 } } } | json = { a = { b = 2 } }
        reply    | { do = "echo", value = 3 } | error = "trap"
        duration | { do = "sleep", ms = 20 } | max_duration = "10ms"
        both     | { do = "echo", value = "text" } | equals = "text", matches = "^x"
        "#,
        1,
    );
    for (test, name, expected, actual) in [
        ("equals", "equals", json!("two"), json!("one")),
        ("contains", "contains", json!("c"), json!(["a", "b"])),
        ("matches", "matches", json!("^x"), json!("text")),
        ("json", "json", json!({"a": {"b": 2}}), json!({"a": {"b": 1}})),
        ("both", "matches", json!("^x"), json!("text")),
    ] {
        let check = failed_check(&run.row(test));
        assert_eq!(
            (&check["name"], &check["expected"], &check["actual"]),
            (&json!(name), &expected, &actual),
            "{check}"
        );
        assert!(!check["message"].as_str().unwrap().is_empty(), "{check}");
    }
    assert_eq!(failed_check(&run.row("reply"))["name"], "error");
    assert_eq!(failed_check(&run.row("duration"))["name"], "max_duration");
    assert_eq!(run.count("failed"), 7);
}

#[test]
fn unexpected_errors_stay_errors() {
    let (_runner, run) = run(
        r#"
        timeout | { do = "trap" } | error = "timeout"
        other   | { do = "error", kind = "denied", message = "no" } | error = "unavailable"
        output  | { do = "trap" } | equals = 1
        "#,
        1,
    );
    for (test, class) in [("timeout", "trap"), ("other", "denied"), ("output", "trap")] {
        assert_error(&run.row(test), class, "");
    }
    assert_eq!(run.count("error"), 3);
}

#[test]
fn own_verdicts_decide_the_outcome() {
    let (_runner, run) = run(
        r#"
        judge | { do = "judge" } |
        fail  | { do = "verdict", verdict = "fail" } |
        skip  | { do = "verdict", verdict = "skip" } |
        unmet | { do = "verdict", verdict = "skip" } | equals = 1
        pass  | { do = "verdict", verdict = "pass" } |
        "#,
        1,
    );
    let outcomes =
        ["judge", "fail", "skip", "unmet", "pass"].map(|test| run.row(test)["outcome"].clone());
    assert_eq!(json!(outcomes), json!(["failed", "failed", "skipped", "failed", "passed"]));
    let row = run.row("judge");
    assert_eq!((&row["verdict"], &row["score"]), (&json!("fail"), &json!(0.25)));
    assert_eq!(row["metrics"], json!([{"name": "length", "value": 3.0, "unit": "lines"}]));
    let check = failed_check(&row);
    assert_eq!((&check["name"], &check["message"]), (&json!("style"), &json!("too long")));
}

/// Returns the first check of a failed row that did not hold.
#[track_caller]
fn failed_check(row: &Value) -> Value {
    assert_eq!(row["outcome"], "failed", "{row}");
    let checks = row["checks"].as_array().unwrap();
    checks.iter().find(|check| check["verdict"] == "fail").unwrap().clone()
}

#[test]
fn running_guests_show_their_wait() {
    let runner = Runner::hostile(&tests(
        r#"
        says  | { do = "log", ms = 3_600_000 } |
        waits | { do = "sleep" }               |
        "#,
    ));
    let running = runner.start(&["-j", "2"]);
    let mut told = Vec::new();
    wait_until("what both guests do", || {
        let live = runner.runs().pop().map(|run| run.dir.join("live.json"));
        let live = live.and_then(|path| fs::read(path).ok()).unwrap_or_default();
        let live: Value = serde_json::from_slice(&live).unwrap_or_default();
        let in_flight = live["in_flight"].as_array().cloned().unwrap_or_default();
        assert!(in_flight.iter().all(|attempt| attempt["since"].is_string()), "{live}");
        let step = |attempt: &Value| json!([attempt["phase"], attempt["what"]]);
        told = in_flight.iter().map(step).collect();
        told.sort_by_key(Value::to_string);
        told == [json!(["waiting", "50 % half way"]), json!(["waiting", "sleep"])]
    });
    running.kill();
}
