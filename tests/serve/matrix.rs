//! Answers in the matrix of a run.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    http::Site,
    runner::{Runner, tests},
};

#[test]
fn matrix_has_the_start_of_each_answer_on_request() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(
        r#"
        [providers.small]
        plugin = "hostile.wasm"
        [providers.tall]
        plugin = "hostile.wasm"
        [[tests]]
        id = "text"
        input = { do = "echo", value = "one\ntwo" }
        expect = { equals = "one" }
        [[tests]]
        id = "object"
        providers = ["tall"]
        input = { do = "echo", value = { n = 9007199254740993 } }
        [[tests]]
        id = "large"
        input = { do = "huge-reply", bytes = 100_000 }
        [[tests]]
        id = "repeated"
        repeat = 3
        input = { do = "fail-at", repeat = 2 }
        [[tests]]
        id = "passing"
        repeat = 3
        input = { do = "fail-at", repeat = 9 }
        "#,
    );
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    let rows = String::from_utf8(run.bytes("index.jsonl")).unwrap();
    assert!(rows.contains("\"$artifact\""));
    let site = Site::start(&runner, &[]);
    let matrix = |query: &str| site.get(&format!("/runs/latest/matrix?{query}"));
    assert!(matrix("").to_string().find("answers").is_none());
    let page = matrix("answers=true");
    let tests = page["tests"].as_array().unwrap();
    let answers: Vec<_> = tests.iter().map(|test| &test["answers"]).collect();
    assert_eq!(answers[0][0]["output"], "one\ntwo");
    assert!(answers[0][0]["reason"].as_str().unwrap().contains("expected no line"), "{page}");
    assert!(tests[0]["input"].as_str().unwrap().contains("echo"), "{page}");
    assert_eq!(
        (&answers[1][0], &answers[1][1]["output"]),
        (&Value::Null, &json!("{\"n\":9007199254740993}"))
    );
    assert!(!page.to_string().contains("$artifact"));
    let large = format!("{}…", "x".repeat(299));
    assert_eq!(answers[2][1], json!({"output": large, "reason": null}));
    // The second repeat failed, without an output.
    assert_eq!(answers[3][0]["output"], Value::Null);
    assert!(answers[3][0]["reason"].as_str().unwrap().contains("this is the one"), "{page}");
    assert_eq!(answers[4][0], json!({"output": "1", "reason": null}));
    fs::remove_dir_all(run.dir.join("artifacts")).unwrap();
    assert_eq!(matrix("answers=true")["tests"][2]["answers"][0]["output"], Value::Null);
}

#[test]
fn answers_are_read_for_few_tests_at_a_time() {
    let table: String =
        (0..40).map(|at| format!("t-{at:02} | {{ do = \"echo\", value = {at} }} |\n")).collect();
    let runner = Runner::hostile(&tests(&table));
    runner.exec(&[]).expect(0);
    let site = Site::start(&runner, &[]);
    let matrix = |query: &str| site.get(&format!("/runs/latest/matrix?{query}"));
    assert_eq!(matrix("limit=200")["tests"].as_array().unwrap().len(), 40);
    let page = matrix("limit=200&answers=true");
    assert_eq!((page["tests"].as_array().unwrap().len(), &page["total"]), (25, &json!(40)));
    let last = matrix("offset=25&answers=true");
    assert_eq!(last["tests"].as_array().unwrap().len(), 15);
    assert_eq!(last["tests"][14]["answers"][0]["output"], "39");
}
