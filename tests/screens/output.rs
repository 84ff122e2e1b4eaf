//! What is printed, by `exec`, `list` and `show`, to a reader that is no terminal.

use serde_json::{Value, json};

use crate::support::{
    masks::masked_table,
    runner::{CommandExt as _, Runner, Signal, tests},
};

/// One trial of each kind.
const MIXED: &str = r#"
pass    | { do = "echo", value = "x" }        | equals = "x"
fail    | { do = "echo", value = "one\ntwo" } | equals = "one\n2"
trap    | { do = "error", kind = "denied", code = "E1", message = "may not" } |
skip    | { do = "verdict", verdict = "skip" } |
"#;

/// A scenario with one trial of each outcome, one of which is flaky.
fn mixed() -> Runner {
    Runner::hostile(&format!(
        r#"name = "mixed"
        {}
        [[tests]]
        id = "late"
        timeout = "20ms"
        input = {{ do = "sleep" }}
        [[tests]]
        id = "flaky"
        retries = {{ max = 1 }}
        input = {{ do = "fail-until" }}
        "#,
        tests(MIXED)
    ))
}

#[test]
fn a_piped_run_prints_plain_lines_to_standard_error_and_nothing_to_standard_output() {
    let ran = mixed().exec(&["-j", "1"]).expect(1);
    assert_eq!(ran.stdout, "");
    insta::assert_snapshot!(masked_table(&ran.stderr), @r#"
    mixed: 6 trials on 1 provider, 1 at a time
    results: results/[run]
    note: provider `hostile` asks for more than it is granted: net:https://example.com
      the scenario grants it with
        [providers.hostile.grants]
        net = ["https://example.com"]
    ✗ failed fail@hostile#1 [time]
        equals: the output is not what was expected
           one
          -2
          +two
    ✗ error trap@hostile#1 [time]
        denied E1: may not
    ⧖ timeout late@hostile#1 [time]
        timeout: no reply within 20ms, set by the attempt's `timeout = "20ms"`

    provider  passed  failed  errors  timeouts  skipped  flaky  p50  p95  max
    hostile  2  1  1  1  1  1  [time]  [time]  [time]

    flaky
    flaky@hostile#1, passed after 2 attempts

    results: results/[run]
    ✗ failed: 3 of 6 (2 passed, 1 failed, 1 error, 1 timeout, 1 skipped, 1 flaky) in [time]; exit code 1
    "#);
}

#[test]
fn a_quiet_run_says_nothing_if_all_is_well_and_what_went_wrong_if_not() {
    let runner = Runner::hostile(&tests(r#"a | { do = "echo", value = 1 } | equals = 1"#));
    let ran = runner.exec(&["--quiet"]).expect(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));

    let ran = mixed().exec(&["--quiet"]).expect(1);
    assert_eq!(ran.stdout, "");
    ran.says(&[
        "failed fail@hostile#1",
        "error trap@hostile#1",
        "exit code 1",
    ]);
    assert!(!ran.stderr.contains("pass@hostile"), "{}", ran.stderr);
}

#[test]
fn a_verbose_run_tells_every_attempt() {
    let ran = mixed().exec(&["--verbose"]).expect(1);
    for trial in ["pass", "fail", "trap", "skip", "late", "flaky"] {
        assert!(
            ran.stderr.contains(&format!("{trial}@hostile#1")),
            "{trial}\n{}",
            ran.stderr
        );
    }
    ran.says(&[
        "flaky@hostile#1 (attempt 1, not final)",
        "flaky@hostile#1 (attempt 2)",
    ]);
}

#[test]
fn nothing_is_coloured_where_nobody_can_see_it() {
    let runner = mixed();
    let ran = runner
        .command(&["exec", "scenario.toml"])
        .env_remove("NO_COLOR")
        .run()
        .expect(1);
    assert!(!ran.stderr.contains('\u{1b}'), "{}", ran.stderr);

    let ran = runner
        .command(&["list"])
        .env_remove("NO_COLOR")
        .run()
        .expect(0);
    assert!(!ran.stdout.contains('\u{1b}'), "{}", ran.stdout);
}

#[test]
fn list_shows_the_newest_first_and_what_a_filter_asks_for() {
    let runner = mixed();
    assert_eq!(runner.list(&[]), Vec::<Value>::new());
    runner
        .run(&["list"])
        .expect(0)
        .says(&["no runs in `results`"]);

    runner.exec(&[]).expect(1);
    runner.exec(&["--test", "pass"]).expect(0);
    runner
        .exec(&["--fail-fast", "-j1", "--test", "fail", "--test", "skip"])
        .expect(4);

    let all = runner.list(&[]);
    let ids: Vec<_> = all
        .iter()
        .map(|run| run["run"].as_str().unwrap().to_owned())
        .collect();
    let runs = runner.runs();
    let mut newest_first: Vec<_> = runs.iter().map(|run| run.id()).collect();
    newest_first.reverse();
    assert_eq!(ids, newest_first);
    assert_eq!(all[0]["reason"], "fail-fast");
    assert_eq!(
        (&all[1]["status"], &all[1]["verdict"]),
        (&json!("completed"), &json!("passed"))
    );
    assert_eq!(
        all[2]["counts"],
        json!({"planned": 6, "passed": 2, "failed": 1, "error": 1, "timeout": 1, "skipped": 1, "flaky": 1})
    );

    let of = |status: &str| runner.list(&["--status", status]);
    assert_eq!(of("completed"), all[1..]);
    assert_eq!(of("incomplete"), all[..1]);
    for status in ["running", "failed", "cancelled"] {
        assert_eq!(of(status), Vec::<Value>::new());
    }
    assert_eq!(runner.list(&["-n", "1"]), all[..1]);
    runner.run(&["list", "--status", "done"]).expect(2).says(&[
        "completed",
        "incomplete",
        "cancelled",
    ]);

    insta::assert_snapshot!(masked_table(&runner.run(&["list"]).expect(0).stdout), @r"
    run  status  verdict  scenario  done  began (UTC)  took
    [run]  ◐ incomplete (fail-fast)  ✗ 1 failed  mixed  1/2  [instant]  [time]
    [run]  ● completed  ✓ passed  mixed  1/1  [instant]  [time]
    [run]  ● completed  ✗ 3 failed  mixed  6/6  [instant]  [time]
    ");
}

#[test]
fn show_tells_what_a_run_came_to() {
    let runner = mixed();
    runner.exec(&["-j", "1"]).expect(1);
    insta::assert_snapshot!(masked_table(&runner.run(&["show"]).expect(0).stdout), @r"
    [run] ✗ failed: 3 of 6 (2 passed, 1 failed, 1 error, 1 timeout, 1 skipped, 1 flaky)
    scenario  mixed (scenario.toml)
    directory results/[run]
    began  [instant] UTC
    ended  [instant] UTC, after [time]
    status  ● completed
    verdict  failed
    trials  6 of 6: 2 passed, 1 failed, 1 error, 1 timeout, 1 skipped, 1 flaky

    provider  passed  failed  errors  timeouts  skipped  flaky  p50  p95  max
    hostile  2  1  1  1  1  1  [time]  [time]  [time]

    flaky
    flaky@hostile#1, passed after 2 attempts
    ");
}

#[test]
fn show_prints_the_rows_that_are_asked_for() {
    let runner = mixed();
    runner.exec(&["-j", "1"]).expect(1);
    let failed = runner.run(&["show", "latest", "--failed"]).expect(0).stdout;
    for trial in ["fail@", "trap@", "late@"] {
        assert!(failed.contains(trial), "{failed}");
    }
    for trial in ["pass@", "skip@", "flaky@"] {
        assert!(!failed.contains(trial), "{failed}");
    }
    assert!(failed.contains("-2") && failed.contains("+two"), "{failed}");

    let one = runner.run(&["show", "--trial", "fla*"]).expect(0).stdout;
    assert_eq!(one.matches("flaky@hostile#1").count(), 2, "{one}");
    assert!(!one.contains("fail@"), "{one}");
    runner.run(&["show", "--trial", "["]).expect(2);

    let json = |args: &[&str]| -> Value {
        let shown = runner.run(&[&["show", "--json"], args].concat()).expect(0);
        shown.document()
    };
    let run = runner.only_run();
    let document = json(&[]);
    assert_eq!(document["manifest"], run.manifest());
    assert_eq!(document["run"]["run"], run.id());
    assert_eq!(document["rows"].as_array().unwrap().len(), 7);
    let rows = json(&["--failed"])["rows"].clone();
    let trials: Vec<_> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["test"].as_str().unwrap())
        .collect();
    assert_eq!(trials, ["fail", "trap", "late"]);
    // With what its test says, which rows do not repeat.
    let mut row = run.row("fail");
    row["tags"] = json!([]);
    row["meta"] = json!({});
    row["input"] = json!({"do": "echo", "value": "one\ntwo"});
    assert_eq!(json(&["--trial", "fail@hostile#1"])["rows"], json!([row]));
}

#[test]
fn a_live_run_is_running_with_the_counts_of_its_rows_until_it_ends() {
    let runner = Runner::hostile(&format!(
        "{}[[tests]]\nid = \"endless\"\ninput = {{ do = \"loop\" }}\n",
        tests(r#"a | { do = "echo", value = 1 } |"#)
    ));
    let mut live = runner.start(&["-j", "1"]);
    live.wait_for(|event| event["event"] == "row");
    let listed = runner.list(&["--status", "running"]);
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["is_alive"], true);
    assert_eq!(
        (
            &listed[0]["counts"]["passed"],
            &listed[0]["counts"]["planned"]
        ),
        (&json!(1), &json!(2))
    );
    assert_eq!(listed[0]["completed_at"], Value::Null);
    let shown = runner.run(&["show"]).expect(0).stdout;
    assert!(shown.contains("running"), "{shown}");
    let manifest = runner.only_run().read("benchmark.json");

    live.end_by(Signal::INT).0.expect(130);
    assert_eq!(runner.list(&["--status", "running"]), Vec::<Value>::new());
    assert!(manifest.contains("\"status\": \"running\"") && !manifest.contains("completed_at"));
}

#[test]
fn a_run_whose_process_was_killed_is_shown_as_crashed_and_nothing_is_written_to_it() {
    let runner = Runner::hostile("[[tests]]\nid = \"endless\"\ninput = { do = \"loop\" }\n");
    let mut live = runner.start(&["-j", "1"]);
    live.wait_until_running(1);
    live.kill();
    let run = runner.only_run();
    let before = run.read("benchmark.json");
    for _ in 0..2 {
        let listed = runner.list(&["--status", "incomplete"]);
        assert_eq!(
            (&listed[0]["reason"], &listed[0]["is_alive"]),
            (&json!("crashed"), &json!(false))
        );
        let shown = runner.run(&["show"]).expect(0).stdout;
        assert!(
            shown.contains("incomplete (crashed), not yet swept"),
            "{shown}"
        );
    }
    assert_eq!(run.read("benchmark.json"), before);
}

#[test]
fn no_answer_changes_when_the_database_is_deleted_damaged_or_cannot_be_written() {
    let runner = mixed();
    runner.exec(&[]).expect(1);
    runner.exec(&["--test", "pass"]).expect(0);
    let database = runner.path("results/runner.db");
    let answers = || {
        ["list", "show"].map(|command| {
            let ran = runner.run(&[command, "--json"]).expect(0);
            (ran.stdout, ran.stderr)
        })
    };
    let before = answers();
    assert!(
        before.iter().all(|(_, stderr)| stderr.is_empty()),
        "{before:?}"
    );

    let remove = || {
        for suffix in ["", "-wal", "-shm"] {
            let _ = fs_err::remove_file(runner.path(&format!("results/runner.db{suffix}")));
        }
    };
    remove();
    assert_eq!(answers(), before);
    assert!(database.exists(), "it is made anew");

    remove();
    fs_err::write(
        &database,
        "this is no database, and long enough to be looked at as one",
    )
    .unwrap();
    let after = answers();
    assert_eq!((&after[0].0, &after[1].0), (&before[0].0, &before[1].0));
    assert!(
        after[0].1.contains("runner.db"),
        "it says nothing of the damage: {}",
        after[0].1
    );
    // A run goes on without it, too.
    let ran = runner.exec(&["--test", "pass"]).expect(0);
    ran.says(&["runner.db", "passed: 1 of 1"]);
    assert_eq!(runner.list(&[]).len(), 3);

    fs_err::remove_file(&database).unwrap();
    fs_err::create_dir(&database).unwrap();
    assert_eq!(runner.list(&[]).len(), 3);
}

#[test]
fn damage_in_the_middle_of_the_rows_is_told_with_its_line_and_a_torn_end_is_left_alone() {
    let runner = mixed();
    runner.exec(&["-j", "1"]).expect(1);
    let run = runner.only_run();
    let index = run.read("index.jsonl");
    let mut lines: Vec<_> = index.lines().map(str::to_owned).collect();
    lines[2] = lines[2].replace("outcome", "outcame");
    fs_err::write(
        run.dir.join("index.jsonl"),
        lines.join("\n") + "\n{\"v\":1,\"seq",
    )
    .unwrap();

    let ran = runner.run(&["show", "--json"]).expect(0);
    let document = ran.document();
    assert_eq!(document["rows"].as_array().unwrap().len(), 6);
    assert_eq!(ran.stderr.matches("warning").count(), 1, "{}", ran.stderr);
    ran.says(&["index.jsonl", "line 3"]);
}

#[test]
fn a_reader_that_goes_early_is_no_error() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"a\"\nrepeat = 3000\ninput = { do = \"echo\", value = 1 }\n",
    );
    let script = |command: &str| {
        // `pipefail` is no part of every shell.
        let script = format!(r#"{{ "$runner" {command}; echo "code $?" >&2; }} | head -n 1"#);
        runner.shell(&script).run().expect(0)
    };
    let ran = script("exec scenario.toml --json");
    assert!(ran.stdout.contains("\"started\""), "{}", ran.stdout);
    assert_eq!(ran.stderr, "code 0\n");
    assert_eq!(runner.only_run().rows().len(), 3000);

    for command in [
        "show --json",
        "show --trial '*'",
        "schema scenario",
        "exec scenario.toml --dry-run",
        "man",
    ] {
        let ran = script(command);
        assert_eq!(ran.stdout.lines().count(), 1, "{command}");
        assert!(
            ran.stderr.ends_with("code 0\n"),
            "{command}: {}",
            ran.stderr
        );
        assert!(!ran.stderr.contains("panic"), "{command}: {}", ran.stderr);
    }
}

#[test]
fn validate_checks_without_running_or_creating_anything() {
    let runner = mixed();
    let ran = runner.run(&["validate", "scenario.toml"]).expect(0);
    assert!(!runner.path("results").exists());
    runner.write("broken.toml", "name = 1\n");
    runner.write("other.toml", "nome = \"x\"\n");
    let ran_both = runner
        .run(&["validate", "broken.toml", "scenario.toml", "other.toml"])
        .expect(2);
    ran_both.says(&["broken.toml", "other.toml", "`nome`"]);
    drop(ran);
}

#[test]
fn schemas_completions_and_manual_pages_are_printed() {
    let runner = Runner::new(&[]);
    for name in ["scenario", "row", "benchmark", "events"] {
        let schema = runner.run(&["schema", name]).expect(0).document();
        assert!(jsonschema::meta::is_valid(&schema), "{name}");
        assert!(schema["title"].is_string(), "{name}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = runner.run(&["completions", shell]).expect(0).stdout;
        assert!(
            script.contains("timeout-minutes") && !script.contains("__compile"),
            "{shell}"
        );
    }
    assert!(runner.run(&["man"]).expect(0).stdout.starts_with(".ie"));
    runner.run(&["man", "pages"]).expect(0);
    let page = fs_err::read_to_string(runner.path("pages/runner-exec.1")).unwrap();
    assert!(page.contains("fail\\-fast"), "{page}");
}
