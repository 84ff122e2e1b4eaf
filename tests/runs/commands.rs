//! Plain WASI programs as providers.

use std::fs;

use crate::messages::outputs::snapshot;
use crate::support::{
    guests::{command, printing},
    runner::{Runner, tests},
};

/// Writes a scenario with the provider `p`, the command guest, and a table of tests.
fn scenario(keys: &str, table: &str) -> Runner {
    let runner = Runner::new(&[]);
    runner.link(&command(), "command.wasm");
    runner.scenario(&format!("[providers.p]\nplugin = \"command.wasm\"\n{keys}\n{}", tests(table)));
    runner
}

#[test]
fn list_of_input_is_all_arguments() {
    let runner = scenario(
        "args = \"{{input.args}}\"",
        r#"
        good | { args = ["argv", "a b", 7] } | equals = "command.wasm argv a b 7"
        bad  | { args = ["argv", [1]] }      | error = "invalid-input"
        "#,
    );
    runner.exec(&[]).expect(0);
    let error = &runner.only_run().row("bad")["error"]["message"];
    assert_eq!(error, "`input.args` is not a list of texts and numbers, which `args` needs");
    runner.run(&["validate", "scenario.toml"]).expect(2).says(&["`input.args`", "scenario.toml:"]);
    for args in ["x", "{{input.arg}}"] {
        let refused = scenario(&format!("args = \"{args}\""), "a | { args = [] } |");
        snapshot(&refused.refused(&[], &[]));
    }
}

#[test]
fn standard_error_is_an_expectation() {
    let keys = "args = [\"fail\", \"{{input}}\"]\nlimits = { stdio = 16 }";
    let runner = scenario(
        keys,
        r#"
        good | "its words"                               | exit_code = 1, stderr = { equals = "its words\n", contains = "its", matches = "^its" }
        bad  | "its words"                               | exit_code = 1, stderr = { contains = "other" }
        cut  | "a text of more than twice sixteen bytes" | exit_code = 1, stderr = { contains = "twice" }
        "#,
    );
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    assert_eq!(run.row("good")["outcome"], "passed");
    let message = |test: &str| {
        let checks = run.row(test)["checks"].clone();
        let check = checks.as_array().unwrap().iter().find(|check| check["kind"] == "stderr");
        check.unwrap()["message"].as_str().unwrap().to_owned()
    };
    assert!(message("bad").starts_with("the standard error does not contain \"other\""));
    assert!(message("cut").contains("`limits.stdio` has cut its middle"));
    // Rows do not have the standard error, so the trial runs again.
    let text = std::fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&text.replace("contains = \"other\"", "contains = \"words\""));
    runner.run(&["resume", "latest", "--accept-changes"]).expect(1);
    let rows = run.rows_of("bad");
    assert_eq!((rows.len(), &rows[1]["outcome"]), (2, &"passed".into()));
}

#[test]
fn hostile_commands_end_with_their_class() {
    let runner = scenario(
        "args = [\"{{input.do}}\", \"{{input.with}}\"]",
        r#"
        panic | { do = "unheard-of", with = "" } |
        flood | { do = "flood", with = "6" } |
        "#,
    );
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    assert_eq!(run.row("panic")["error"]["class"], "trap");
    assert_eq!(run.row("flood")["error"]["class"], "limit");
    for what in ["loop", "sleep", "flood-forever"] {
        let runner = scenario(&format!("args = [\"{what}\"]"), "");
        let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
        runner.scenario(&format!("{text}[[tests]]\nid = \"a\"\ntimeout = \"300ms\"\n"));
        runner.exec(&[]).expect(1);
        let row = runner.only_run().row("a");
        assert_eq!(row["outcome"], "timeout", "{what}: {row}");
    }
}

#[test]
fn loop_in_start_times_out() {
    let runner = Runner::new(&[]);
    runner.wat(
        "spin.wasm",
        "(module (func $spin (loop (br 0))) (start $spin) (func (export \"_start\")))",
    );
    runner.scenario(
        "[providers.p]\nplugin = \"spin.wasm\"\n[[tests]]\nid = \"a\"\ntimeout = \"100ms\"\n",
    );
    runner.exec(&[]).expect(1);
    assert_eq!(runner.only_run().row("a")["outcome"], "timeout");
}

#[test]
fn unread_answers_are_reported_once() {
    let runner = Runner::new(&[]);
    let plain =
        [("fails", r#"{"err": {"kind": "other"}}"#), ("replies", r#"{"ok": {"output": 1}}"#)];
    let mut scenario = String::new();
    for (name, text) in plain {
        runner.wat(&format!("{name}.wasm"), &printing(text));
        scenario += &format!("[providers.{name}]\nplugin = \"{name}.wasm\"\n");
    }
    runner.scenario(&format!("{scenario}[[tests]]\nid = \"a\"\nrepeat = 3\n"));
    let ran = runner.exec(&[]).expect(0);
    for (name, _) in plain {
        let notice = format!("provider `{name}` prints answers of the JSON protocol");
        assert_eq!(ran.stderr.matches(&notice).count(), 1, "{}", ran.stderr);
    }
    let expecting = scenario + "[[tests]]\nid = \"a\"\nexpect = { contains = \"{\" }\n";
    runner.scenario(&expecting);
    let ran = runner.exec(&[]).expect(0);
    assert!(!ran.stderr.contains("answers"), "{}", ran.stderr);
}

#[test]
fn ids_of_run_and_trial_fill_templates() {
    let ids = "{{run.id}} {{trial.id}}";
    let runner = Runner::new(&[]);
    runner.link(&command(), "command.wasm");
    let provider =
        |name: &str, keys: &str| format!("[providers.{name}]\nplugin = \"command.wasm\"\n{keys}\n");
    let providers = [
        provider("args", &format!("args = [\"say\", \"{ids}\"]")),
        provider("stdin", &format!("args = [\"cat\"]\nstdin = \"{ids}\"")),
        provider("env", &format!("args = [\"env\", \"IDS\"]\ngrants.env = {{ IDS = \"{ids}\" }}")),
        provider("trap", &format!("args = [\"{ids}\"]")),
    ];
    let grader =
        format!("[graders.judge]\nplugin = \"command.wasm\"\nargs = [\"say\", \"judged {ids}\"]\n");
    let tests = r#"
        [[tests]]
        id = "a"
        providers = ["args", "stdin", "env"]
        expect = { graders = ["judge"] }
        [[tests]]
        id = "b"
        providers = ["trap"]
        retries = { max = 1, on = ["trap"] }
    "#;
    runner.scenario(&(providers.concat() + &grader + tests));
    runner.exec(&[]).expect(1);
    runner.run(&["resume", "--rerun", "all"]).expect(1);
    let run = runner.only_run();
    let rows = run.rows_of("a");
    let final_rows: Vec<_> = rows.iter().filter(|row| row["final"] == true).collect();
    assert_eq!(final_rows.len(), 6);
    for row in final_rows {
        let ids = format!("{} a@{}#1", run.id(), row["provider"].as_str().unwrap());
        assert_eq!(row["output"], ids);
        assert_eq!(row["grades"][0]["explanation"], format!("judged {ids}"));
    }
    // The guest prints its arguments, in both attempts of both sessions.
    assert_eq!(run.text("logs.jsonl").matches(&format!("{} b@trap#1", run.id())).count(), 4);
    let fingerprints: std::collections::BTreeSet<_> =
        rows.iter().map(|row| row["fingerprint"].as_str().unwrap().to_owned()).collect();
    assert_eq!(fingerprints.len(), 3);

    runner.exec(&["--into", "results/named"]).expect(1);
    let named = &runner.runs()[1];
    assert!(named.rows_of("a")[0]["output"].as_str().unwrap().starts_with("named a@"));
    let call = ["plugin", "run", "command.wasm", "--", "say", ids];
    runner.run(&call).expect(0).says(&["plugin-run call@"]);
}
