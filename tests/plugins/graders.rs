//! Plugins as graders, before there is a scenario with them.

use serde_json::json;

use crate::support::runner::Runner;

#[test]
fn a_reply_is_read_as_a_run_would_read_that_of_a_grader() {
    let runner = Runner::new(&["echo", "command"]);
    let run = |args: &[&str]| runner.run(&[&["plugin", "run"], args].concat());
    let input = r#"{"score": 0.6, "explanation": "meh"}"#;
    let graded = ["echo.wasm", "--grade", "--input", input, "--min-score"];
    let low = run(&[&graded[..], &["0.7"]].concat()).expect(1);
    low.says(&["replied in", "fail, score 0.6 of at least 0.7 meh"]);
    let high = run(&[&graded[..], &["0.5", "--json"]].concat()).expect(0);
    let high = high.document();
    runner.assert_valid("plugin-run", std::slice::from_ref(&high));
    assert_eq!(
        high["grade"],
        json!({"verdict": "pass", "score": 0.6, "least": 0.5, "explanation": "meh", "error": null})
    );

    run(&["echo.wasm", "--grade", "--input", "\"perhaps\""])
        .expect(1)
        .says(&["no verdict its answer is no JSON"]);
    run(&["command.wasm", "--grade", "--", "fail", "too long"])
        .expect(1)
        .says(&["fail too long"]);
    run(&["command.wasm", "--grade", "--", "say", "well done"])
        .expect(0)
        .says(&["pass well done"]);
    // Nothing would use it.
    run(&["echo.wasm", "--min-score", "1"]).expect(2);
    run(&["echo.wasm", "--grade", "--min-score", "nan"])
        .expect(2)
        .says(&["a score is a finite number"]);
}

#[test]
fn it_is_told_how_a_plugin_answers_as_a_grader() {
    let runner = Runner::new(&["echo", "command"]);
    runner.wat("plain.wasm", r#"(module (func (export "_start")))"#);
    for (plugin, by, words) in [
        ("echo.wasm", "reply", "verdict, score and checks"),
        ("command.wasm", "reply", "verdict, score and checks"),
        ("plain.wasm", "exit-code", "exit code 0 passes"),
    ] {
        let told = runner.run(&["plugin", "inspect", plugin, "--json"]);
        let told = told.expect(0).document();
        runner.assert_valid("plugin-inspect", std::slice::from_ref(&told));
        assert_eq!(told["grades_by"], by);
        let shown = runner.run(&["plugin", "inspect", plugin]).expect(0);
        shown.prints(words);
    }
}
