//! Answers in the matrix of a run, and its scores by grader.

use std::{fs, time::Duration, time::SystemTime};

use serde_json::{Value, json};

use crate::support::{
    http::Site,
    run::sealed,
    runner::{Runner, tests},
};

/// Two graders of every answer. One gives 0.22, the other one 0.92.
const GRADERS: &str = r#"
    [graders.strict]
    plugin = "hostile.wasm"
    input = { do = "measure", score = 0.22, tokens = 1 }
    min_score = 0.5
    [graders.kind]
    plugin = "hostile.wasm"
    input = { do = "measure", score = 0.92, tokens = 1 }
    min_score = 0.5
    "#;

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

#[test]
fn scores_are_counted_by_grader_and_provider() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&format!(
        "{GRADERS}{}",
        r#"
        [providers.one]
        plugin = "hostile.wasm"
        [providers.two]
        plugin = "hostile.wasm"
        [[tests]]
        id = "both"
        input = { do = "echo", value = 1 }
        expect = { graders = ["strict", "kind"] }
        [[tests]]
        id = "kind"
        input = { do = "echo", value = 2 }
        expect = { graders = ["kind"] }
        [[tests]]
        id = "own"
        input = { do = "measure", score = 0.52, tokens = 1 }
        "#
    ));
    runner.exec(&[]).expect(1);
    let site = Site::start(&runner, &[]);
    let charts = site.get("/runs/latest/summary");
    let scores = charts["scores"].as_array().unwrap().iter();
    let shown: Vec<_> = scores
        .map(|of| {
            let counts = of["counts"].as_array().unwrap();
            let bin = counts.iter().position(|count| *count != 0).unwrap();
            json!([of["grader"], of["provider"], bin, counts[bin]])
        })
        .collect();
    assert_eq!(
        json!(shown),
        json!([
            [null, "one", 10, 1],
            [null, "two", 10, 1],
            ["kind", "one", 18, 2],
            ["kind", "two", 18, 2],
            ["strict", "one", 4, 1],
            ["strict", "two", 4, 1],
        ])
    );
    assert_eq!(charts["score_sample"], Value::Null);
    // The report has the same document.
    let report = runner.run(&["report", "--html"]).expect(0).stdout;
    assert!(report.contains(r#""grader":"strict""#));
}

#[test]
fn grades_of_many_trials_are_sampled() {
    const TRIALS: usize = 20_100;
    let runner = Runner::hostile(&format!(
        "[[tests]]\nid = \"t\"\nrepeat = {TRIALS}\ninput = {{ do = \"echo\", value = 1 }}\nexpect = {{ graders = [\"strict\", \"kind\"] }}\n{GRADERS}"
    ));
    runner.exec(&["-j", "1", "--fail-fast"]).expect(4);
    let run = runner.only_run();
    let rows = String::from_utf8(run.bytes("index.jsonl")).unwrap();
    let graded = rows.lines().find(|row| row.contains("#1\"") && row.contains("\"final\":true"));
    let graded = graded.unwrap();
    let seq = serde_json::from_str::<Value>(graded).unwrap()["seq"].as_u64().unwrap();
    let row = |number: usize| {
        let row = graded.replacen("#1\"", &format!("#{number}\""), 1);
        let row = row.replacen("\"repeat\":1,", &format!("\"repeat\":{number},"), 1);
        sealed(&row.replacen(&format!("\"seq\":{seq},"), &format!("\"seq\":{number},"), 1)) + "\n"
    };
    run.write("index.jsonl", (1..=TRIALS).map(row).collect::<String>());
    let file = fs::File::options().write(true).open(run.dir.join("index.jsonl")).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    let site = Site::start(&runner, &[]);
    let charts = site.get("/runs/latest/summary");
    assert_eq!(charts["score_sample"], 20_000);
    for of in charts["scores"].as_array().unwrap() {
        let counts = of["counts"].as_array().unwrap().iter();
        assert_eq!(counts.map(|count| count.as_u64().unwrap()).sum::<u64>(), 20_000, "{of}");
    }
    assert_eq!(charts["scores"].as_array().unwrap().len(), 2);
}
