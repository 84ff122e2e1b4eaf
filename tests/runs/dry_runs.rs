//! Dry runs write nothing, and what a repair does is said.

use serde_json::{Value, json};

use crate::support::{
    files::contents,
    runner::{Ran, Run, Runner, tests},
};

/// Some completed trials.
fn completed() -> Runner {
    let runner = Runner::hostile(&tests(
        r#"
        a | { do = "echo", value = 1 } | equals = 1
        b | { do = "echo", value = 2 } | equals = 2
        c | { do = "echo", value = 3 } | equals = 3
        "#,
    ));
    runner.exec(&["-j1"]).expect(0);
    runner
}

/// Makes a run look as if its process had died after its second row, in the middle of the third.
fn tear(run: &Run) {
    run.forget_its_end();
    let index = run.read("index.jsonl");
    let second = index
        .split_inclusive('\n')
        .take(2)
        .map(str::len)
        .sum::<usize>();
    run.write("index.jsonl", &index[..second + 40]);
}

#[test]
fn whatever_is_only_asked_for_writes_nothing_into_a_run() {
    let runner = completed();
    let run = runner.only_run();
    tear(&run);
    let before = contents(&run.dir);
    let dir = run.dir.to_str().unwrap();
    for args in [
        &["resume", "--dry-run"][..],
        &["resume", "--from", "latest", "--dry-run"],
        &["resume", "--from", dir, "--explain"],
        &["resume", "--from", dir, "--explain", "--rerun", "all"],
        &["exec", "scenario.toml", "--into", dir, "--dry-run"],
        &["cleanup"],
        &["prune", "--keep-last", "0"],
        &["list"],
        &["show", "latest"],
        &["verify", "latest"],
    ] {
        runner.run(args).expect(0);
        assert!(contents(&run.dir) == before, "{args:?}");
    }
    let would = runner
        .run(&["resume", "--from", dir, "--dry-run"])
        .expect(0);
    assert_eq!(would.stdout, "c@hostile#1\n");

    let lock = fs_err::File::open(run.dir.join("lock")).unwrap();
    lock.try_lock().unwrap();
    runner
        .run(&["resume", "--from", dir, "--dry-run"])
        .expect(6);
}

/// The lines of a plan, each as its schema says.
#[track_caller]
fn plan(runner: &Runner, ran: &Ran) -> Vec<Value> {
    let lines = ran.stdout.lines();
    let lines: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    runner.assert_valid("plan", &lines);
    lines
}

#[test]
fn a_plan_is_printed_as_json_lines_and_nothing_is_run() {
    let scenario = r#"
        name = "planned"
        [providers.quick]
        plugin = "hostile.wasm"
        limits = { memory = "64MiB" }
        grants = { net = ["https://a.example"], secrets = ["NO_SUCH_KEY"] }
        [providers.other]
        plugin = "hostile.wasm"
        [[tests]]
        id = "a"
        tags = ["smoke", "fast"]
        input = 1
        [[tests]]
        id = "b"
        input = 2
        repeat = 2
        providers = ["quick"]
        "#;
    let runner = Runner::new(&["hostile"]);
    runner.write("scenario.toml", scenario);
    let ran = runner.exec(&["--dry-run", "--json", "-j3"]).expect(0);
    let lines = plan(&runner, &ran);
    assert!(ran.stderr.is_empty(), "{}", ran.stderr);
    assert!(!runner.path("results").exists());

    let head = &lines[0];
    assert_eq!(head["part"], "plan");
    assert_eq!(
        (&head["scenario"], &head["run"]),
        (&json!("planned"), &Value::Null)
    );
    assert_eq!(
        [&head["planned"], &head["pending"], &head["jobs"]],
        [&json!(4), &json!(4), &json!(3)]
    );
    let quick = &head["providers"][0];
    assert_eq!(quick["limits"]["memory"], 64 << 20);
    assert_eq!(quick["grants"]["net"], json!(["https://a.example"]));
    assert_eq!(quick["missing_secrets"], json!(["NO_SUCH_KEY"]));
    assert_eq!(head["providers"][1]["missing_secrets"], json!([]));
    let trials: Vec<_> = lines[1..].iter().map(|line| &line["trial"]).collect();
    assert_eq!(trials, ["a@quick#1", "a@other#1", "b@quick#1", "b@quick#2"]);
    let first = &lines[1];
    assert_eq!(first["tags"], json!(["fast", "smoke"]));
    assert_eq!(
        [&first["test"], &first["provider"], &first["repeat"]],
        [&json!("a"), &json!("quick"), &json!(1)]
    );
    assert_eq!(first["before"], Value::Null);
    assert_eq!(lines[4]["ordinal"], 3);
}

#[test]
fn the_plan_of_a_run_that_would_go_on_is_that_of_its_manifest_and_says_why() {
    let runner = completed();
    let run = runner.only_run();
    tear(&run);
    let manifest = run.manifest();
    let resume = |args: &[&str]| {
        let args = [&["resume", "--from", "latest", "--json"], args].concat();
        plan(&runner, &runner.run(&args).expect(0))
    };
    let lines = resume(&["--dry-run"]);
    let head = &lines[0];
    assert_eq!(head["run"], run.id());
    assert_eq!(head["plan_digest"], manifest["metadata"]["plan_digest"]);
    assert_eq!(
        head["providers"][0]["plugin_sha256"],
        manifest["providers"][0]["plugin_sha256"]
    );
    assert_eq!((&head["planned"], &head["pending"]), (&json!(3), &json!(1)));
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["trial"], "c@hostile#1");
    assert_eq!(lines[1]["before"]["outcome"], Value::Null);

    let lines = resume(&["--explain", "--rerun", "a"]);
    let trials: Vec<_> = lines[1..].iter().map(|line| &line["trial"]).collect();
    assert_eq!(trials, ["a@hostile#1", "c@hostile#1"]);
    assert_eq!(
        lines[1]["before"],
        json!({ "outcome": "passed", "attempts": 1, "deaths": 0 })
    );
}

#[test]
fn what_a_repair_moves_is_said_on_the_screen_and_in_the_log() {
    for args in [
        &["resume", "--from", "latest"][..],
        &["cleanup", "--no-dry-run"],
        &["exec", "scenario.toml"],
        &["stop", "latest"],
        &["cancel", "latest"],
    ] {
        let runner = completed();
        let run = runner.only_run();
        tear(&run);
        let from = run.read("index.jsonl").rfind('\n').unwrap() + 1;
        let ran = runner.run(args);
        let says = format!("the last 40 bytes of the rows, from byte {from} on, gave no row");
        ran.says(&[&says, "index.torn-1", "no checksum at its end"]);
        let log = run.read("runner.log");
        assert_eq!(log.matches(&says).count(), 1, "{args:?}: {log}");
    }
}

#[test]
fn rows_with_foreign_line_ends_are_whole() {
    let runner = completed();
    let run = runner.only_run();
    let foreign = run.read("index.jsonl").replace('\n', "\r\n");
    run.write("index.jsonl", &foreign);
    runner.run(&["verify", "latest"]).expect(0);
    let resumed = runner.run(&["resume", "--from", "latest"]).expect(0);
    resumed.says(&["nothing is left to run"]);
    assert_eq!(run.read("index.jsonl"), foreign);

    // Also without the last line end, or half of it; and rows go on behind them.
    for end in [1, 2] {
        let runner = completed();
        let run = runner.only_run();
        run.forget_its_end();
        let cut = &foreign_of(&run);
        run.write("index.jsonl", &cut[..cut.len() - end]);
        runner
            .run(&["resume", "--from", "latest", "--rerun", "b"])
            .expect(0);
        assert_eq!(run.rows().len(), 4);
        assert!(!run.dir.join("index.torn-1").exists());
        runner.run(&["verify", "latest"]).expect(0);
    }
}

fn foreign_of(run: &Run) -> String {
    run.read("index.jsonl").replace('\n', "\r\n")
}
