//! `reuse = "instance"`: one instance for many tests, between its setup and its teardown.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    runner::{CommandExt as _, Run, Runner, Signal, tests},
    spans::{most_at_once, spans},
};

/// A scenario with the counter as its only provider.
fn counter(keys: &str, tests: &str) -> Runner {
    let runner = Runner::new(&["counter"]);
    runner.scenario(&format!(
        "[providers.counter]\nplugin = \"counter.wasm\"\n{keys}\n{tests}"
    ));
    runner
}

fn reusing(keys: &str, tests: &str) -> Runner {
    counter(&format!("reuse = \"instance\"\n{keys}"), tests)
}

fn repeated(count: usize, input: &str) -> String {
    format!("[[tests]]\nid = \"a\"\nrepeat = {count}\ninput = {input}\n")
}

/// Whatever its outcome, the outputs of a run's rows, in the order of the plan.
fn outputs(run: &Run) -> Vec<Value> {
    let mut rows = run.rows();
    rows.sort_by_key(|row| (row["ordinal"].as_u64(), row["attempt"].as_u64()));
    rows.iter().map(|row| row["output"].clone()).collect()
}

/// How many tests each instance has answered.
fn instances(run: &Run) -> BTreeMap<String, u64> {
    let mut instances = BTreeMap::new();
    for output in outputs(run).iter().filter(|output| !output.is_null()) {
        assert_eq!(output["setups"], 1, "{output}");
        assert_eq!(output["config_is_that_of_setup"], true, "{output}");
        let name = output["instance"].as_str().unwrap().to_owned();
        *instances.entry(name).or_default() += 1;
    }
    instances
}

fn teardowns(run: &Run) -> Vec<String> {
    let log = run.read("runner.log");
    let lines = log.lines().filter_map(|line| {
        let (_, said) = line.split_once("teardown of provider `counter`: info: ")?;
        Some(said.to_owned())
    });
    lines.collect()
}

/// The file that an attempt has left, if it has.
fn left(run: &Run, row: &Value, name: &str) -> Option<String> {
    if ["log", "stdout", "stderr"].contains(&name) {
        return run.said(row, name);
    }
    let folder = format!("artifacts/0/{}-{}", row["ordinal"], row["attempt"]);
    fs_err::read_to_string(run.dir.join(folder).join(name)).ok()
}

#[test]
fn without_reuse_every_test_has_an_instance_of_its_own_between_setup_and_teardown() {
    let runner = counter("", &repeated(5, "{}"));
    runner.exec(&["-j", "1"]).expect(0);
    let run = runner.only_run();
    assert_eq!(instances(&run).into_values().collect::<Vec<_>>(), [1; 5]);
    assert_eq!(teardowns(&run), ["teardown  after 1 tests"; 5]);
    assert_eq!(run.manifest()["providers"][0]["reuse"], Value::Null);
}

#[test]
fn one_executor_sets_one_instance_up_for_all_tests_and_tears_it_down_once() {
    let runner = reusing("config = { teardown = \"\" }", &repeated(20, "{}"));
    runner.exec(&["-j", "1"]).expect(0);
    let run = runner.only_run();
    assert_eq!(instances(&run).into_values().collect::<Vec<_>>(), [20]);
    let counts: Vec<_> = outputs(&run)
        .iter()
        .map(|output| output["tests"].as_u64().unwrap())
        .collect();
    assert_eq!(counts, (1..=20).collect::<Vec<_>>());
    assert_eq!(teardowns(&run), ["teardown  after 20 tests"]);
    assert_eq!(run.manifest()["providers"][0]["reuse"], "instance");
    runner.assert_valid("benchmark", &[run.manifest()]);
}

#[test]
fn a_provider_of_the_sdk_keeps_its_value_between_tests() {
    let runner = Runner::new(&["sdk-counter"]);
    let scenario = |first: u64| {
        format!(
            "[providers.counter]\nplugin = \"sdk-counter.wasm\"\nreuse = \"instance\"\nconfig = {{ first = {first} }}\n{}",
            repeated(3, "{}")
        )
    };
    runner.scenario(&scenario(7));
    runner.exec(&["-j", "1"]).expect(0);
    let run = runner.only_run();
    assert_eq!(outputs(&run), [7, 8, 9]);
    assert_eq!(teardowns(&run), ["counted to 9"]);

    runner.scenario(&scenario(0));
    runner.exec(&["-j", "1"]).expect(1);
    for row in runner.runs()[1].rows() {
        assert_eq!(row["error"]["class"], "invalid-config", "{row}");
        assert_eq!(row["error"]["message"], "there is no number before 0");
    }
}

#[test]
fn executors_share_no_instance() {
    let runner = reusing("", &repeated(60, "{ do = \"sleep\" }"));
    runner.exec(&["-j", "3"]).expect(0);
    let run = runner.only_run();
    let instances = instances(&run);
    assert!(instances.len() <= 3, "{instances:?}");
    assert_eq!(instances.values().sum::<u64>(), 60);
    assert_eq!(teardowns(&run).len(), instances.len());
}

#[test]
fn a_component_without_the_export_is_reused_as_well() {
    let runner = Runner::hostile(&tests(
        r#"
        one   | { do = "echo", value = 1 } | equals = 1
        two   | { do = "echo", value = 2 } | equals = 2
        three | { do = "trap" }            | error = "trap"
        four  | { do = "echo", value = 4 } | equals = 4
        "#,
    ));
    let text = fs_err::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&format!("{text}reuse = \"instance\"\n"));
    runner.exec(&["-j", "1"]).expect(0);
}

#[test]
fn after_anything_but_an_answer_the_next_test_has_a_fresh_instance() {
    let runner = reusing(
        "limits = { reply = \"1KiB\" }",
        &tests(&format!(
            r#"
            a1 | {{}}                      |
            a2 | {{ do = "unavailable" }}  | error = "unavailable"
            a3 | {{}}                      |
            b  | {{ do = "trap" }}         | error = "trap"
            c1 | {{}}                      |
            c2 | {{ do = "panic" }}        | error = "trap"
            d1 | {{}}                      |
            d2 | {{ do = "say-stopped" }}  | error = "protocol"
            e1 | {{}}                      |
            e2 | {{ value = "{}" }}        | error = "limit"
            f1 | {{}}                      |
            f2 | {{ value = 1 }}           | equals = "no"
            f3 | {{}}                      |
            g  | {{ do = "loop" }}         | error = "timeout"
            h1 | {{}}                      |
            "#,
            "x".repeat(2_000)
        )),
    );
    runner.exec(&["-j", "1", "--limit", "time=2s"]).expect(1);
    let run = runner.only_run();
    let counted = |test: &str| run.row(test)["output"]["tests"].as_u64().unwrap();
    for (test, count) in [
        // An error that the guest itself reports is an answer, and so is a reply that was not expected.
        ("a1", 1),
        ("a3", 3),
        ("c1", 1),
        ("d1", 1),
        ("e1", 1),
        ("f1", 1),
        ("f2", 2),
        ("f3", 3),
        ("h1", 1),
    ] {
        assert_eq!(counted(test), count, "{test}");
    }
    // Only the last one came to its end.
    assert_eq!(teardowns(&run), ["teardown  after 1 tests"]);
}

#[test]
fn a_retry_after_an_instance_was_lost_has_a_fresh_one() {
    let runner = reusing(
        "",
        &format!(
            "{}retries = {{ max = 1, on = [\"trap\"] }}\n",
            repeated(1, "{ do = \"trap\" }")
        ),
    );
    runner.exec(&["-j", "1"]).expect(1);
    let run = runner.only_run();
    let rows = run.rows();
    assert_eq!(rows.len(), 2);
    for row in &rows {
        let log = left(&run, row, "log").unwrap();
        assert!(log.contains("setup"), "{log}");
    }
    assert_eq!(teardowns(&run), [""; 0]);
}

#[test]
fn a_setup_that_fails_is_the_error_of_its_attempt_and_is_tried_again() {
    let runner = reusing(
        "config = { setup = \"unavailable\" }",
        &format!(
            "{}retries = {{ max = 2 }}\n[[tests]]\nid = \"b\"\n",
            repeated(1, "{}")
        ),
    );
    runner.exec(&["-j", "1"]).expect(1);
    let run = runner.only_run();
    let rows = run.rows();
    assert_eq!(rows.len(), 4);
    for row in &rows {
        assert_eq!(
            row["error"],
            json!({"class": "unavailable", "code": "as-asked", "message": "as it was asked to"})
        );
        let log = left(&run, row, "log").unwrap();
        assert!(log.contains("setup unavailable"), "{log}");
    }
    assert_eq!(teardowns(&run), [""; 0]);

    let runner = reusing("config = { setup = \"trap\" }", &repeated(2, "{}"));
    runner.exec(&[]).expect(1);
    let rows = runner.only_run().rows();
    assert!(rows.iter().all(|row| row["error"]["class"] == "trap"));
}

#[test]
fn a_setup_is_inside_the_deadline_of_the_first_attempt() {
    let runner = reusing(
        "config = { setup = \"loop\" }\nlimits = { time = \"200ms\" }",
        &repeated(2, "{}"),
    );
    runner.exec(&["-j", "1"]).expect(1);
    let rows = runner.only_run().rows();
    assert_eq!(rows.len(), 2);
    for row in &rows {
        assert_eq!(row["outcome"], "timeout", "{row}");
        // The clock of the deadline begins a moment before that of the duration.
        assert!(row["duration_ms"].as_f64().unwrap() > 190.0, "{row}");
    }
}

#[test]
fn what_one_test_leaves_is_not_found_with_the_next() {
    let runner = reusing(
        "",
        &tests(
            r#"
            first | { do = "speak" } |
            next  | {}               |
            again | { do = "speak" } |
            "#,
        ),
    );
    runner.exec(&["-j", "1"]).expect(0);
    let run = runner.only_run();
    let left = |test: &str, name: &str| left(&run, &run.row(test), name);

    let log = left("first", "log").unwrap();
    assert!(log.contains("setup") && log.contains("spoken"), "{log}");
    for name in ["log", "stderr", "spoken.txt"] {
        assert_eq!(left("next", name), None, "{name}");
    }
    let log = left("again", "log").unwrap();
    assert_eq!((log.lines().count(), log.contains("setup")), (1, false));
    assert_eq!(left("again", "stderr").unwrap(), "on standard error\n");
    assert_eq!(left("again", "spoken.txt").unwrap(), "in an artifact");
    let used = |test: &str| run.row(test)["usage"]["bytes_out"].clone();
    assert!(used("next").as_u64() < used("again").as_u64());
    assert_eq!(
        run.row("again")["output"]["instance"],
        run.row("first")["output"]["instance"]
    );
}

#[test]
fn limits_of_an_attempt_are_its_own_and_those_of_memory_are_the_instances() {
    let runner = reusing(
        "limits = { memory = \"8MiB\" }",
        &tests(
            r#"
            log1   | { do = "flood-log" }  |
            log2   | { do = "flood-log" }  |
            denied | { do = "try-memory" } |
            trap   | { do = "trap" }       | error = "trap"
            "#,
        ),
    );
    runner.exec(&["-j", "1"]).expect(0);
    let run = runner.only_run();
    for test in ["log1", "log2"] {
        let log = left(&run, &run.row(test), "log").unwrap();
        assert!(!log.contains("dropped"), "{test}");
    }
    assert_eq!(run.row("denied")["output"]["tests"], 3);

    // What a guest hoards counts until its instance is gone, and then another one begins with nothing.
    let runner = reusing(
        "limits = { memory = \"8MiB\" }",
        &repeated(40, "{ do = \"hoard\" }"),
    );
    runner.exec(&["-j", "1"]).expect(1);
    let rows = runner.only_run().rows();
    let died: Vec<_> = rows
        .iter()
        .filter(|row| row["error"]["class"] == "out-of-memory")
        .collect();
    assert!((2..=5).contains(&died.len()), "{}", died.len());
    let peaks = rows
        .iter()
        .map(|row| row["usage"]["peak_memory"].as_u64().unwrap());
    assert!(peaks.max().unwrap() <= 8 << 20);
}

#[test]
fn what_an_instance_has_written_counts_until_it_is_gone() {
    let runner = reusing(
        "limits = { scratch = \"64KiB\" }",
        &repeated(12, "{ do = \"write\" }"),
    );
    runner.exec(&["-j", "1"]).expect(1);
    let run = runner.only_run();
    let rows = run.rows();
    // Each test leaves a file of 16 KiB, and some blocks for their names; nobody ever finds the disk full for good.
    let tests: Vec<_> = outputs(&run)
        .iter()
        .map(|output| output["tests"].as_u64())
        .collect();
    assert_eq!(tests[..5], [Some(1), Some(2), Some(3), None, Some(1)]);
    for row in rows.iter().filter(|row| row["outcome"] == "error") {
        let message = row["error"]["message"].as_str().unwrap();
        assert!(message.contains("`limits.scratch` is 64.0 KiB"), "{row}");
    }
    let written = |index: usize| rows[index]["usage"]["bytes_out"].as_u64().unwrap();
    assert!((16 << 10..20 << 10).contains(&written(2)), "{}", written(2));
}

#[test]
fn environment_and_secrets_are_those_of_the_provider_in_teardown_too() {
    let runner = reusing(
        "config = { teardown = \"tell\" }\ngrants = { env = { TOLD = \"key {{secret.KEY}}\" } }",
        &repeated(2, "{ do = \"tell\" }"),
    );
    runner
        .command(&["exec", "scenario.toml", "-j", "1"])
        .env("KEY", "do-not-tell-anybody")
        .run()
        .expect(0);
    let run = runner.only_run();
    for row in run.rows() {
        let log = left(&run, &row, "log").unwrap();
        assert!(log.contains("told key [secret KEY]"), "{log}");
    }
    assert_eq!(
        teardowns(&run),
        ["teardown tell after 2 tests", "told key [secret KEY]"]
    );
}

#[test]
fn a_stop_ends_idle_instances_and_running_ones_alike() {
    let runner = reusing(
        "config = { teardown = \"loop\" }",
        &tests(
            r#"
            a | {}              |
            b | { do = "loop" } |
            "#,
        ),
    );
    let mut live = runner.start(&["-j", "2"]);
    live.wait_for(|event| event["row"]["test"] == "a" || event["test"] == "a");
    let (ran, took) = live.end_by(Signal::INT);
    ran.expect(130);
    assert!(took < Duration::from_secs(5), "{took:?}");
    let run = runner.only_run();
    assert_eq!(
        run.ending(),
        ["incomplete", "interrupted", "SIGINT", "none"]
    );
    // Without grace nothing is torn down.
    assert_eq!(teardowns(&run), [""; 0]);
}

#[test]
fn a_grace_lets_idle_instances_be_torn_down() {
    let runner = Runner::new(&["counter"]);
    let provider = "plugin = \"counter.wasm\"\nreuse = \"instance\"\n";
    runner.scenario(&format!(
        r#"
        [run]
        grace = "60s"
        [providers.counter]
        {provider}
        [providers.waiting]
        {provider}
        [[tests]]
        id = "quick"
        providers = ["counter"]
        [[tests]]
        id = "waits"
        providers = ["waiting"]
        input = {{ do = "wait-for-stop" }}
        "#
    ));
    let mut live = runner.start(&["-j", "1"]);
    live.wait_for(|event| event["event"] == "row");
    live.wait_until_running(1);
    let (ran, _) = live.end_by(Signal::INT);
    ran.expect(130);
    let run = runner.only_run();
    assert_eq!(run.row("quick")["outcome"], "passed");
    assert_eq!(teardowns(&run), ["teardown  after 1 tests"]);
}

#[test]
fn a_teardown_that_hangs_or_fails_changes_nothing_but_the_log() {
    let hanging = reusing("config = { teardown = \"loop\" }", &repeated(2, "{}"));
    let started = Instant::now();
    let ran = hanging.exec(&["-j", "1"]).expect(0);
    assert!(started.elapsed() >= Duration::from_secs(5));
    ran.says(&["the teardown of provider `counter` failed: its deadline passed"]);
    let run = hanging.only_run();
    assert_eq!(run.ending(), ["completed", "", "", "passed"]);
    assert_eq!(teardowns(&run), ["teardown loop after 2 tests"]);

    let trapping = reusing("config = { teardown = \"panic\" }", &repeated(2, "{}"));
    let ran = trapping.exec(&["-j", "1"]).expect(0);
    ran.says(&["the teardown of provider `counter` failed: the guest trapped"]);
    assert_eq!(
        trapping.only_run().ending(),
        ["completed", "", "", "passed"]
    );
}

#[test]
fn a_signal_ends_a_teardown_that_hangs() {
    let runner = reusing("config = { teardown = \"loop\" }", &repeated(1, "{}"));
    let mut live = runner.start(&["-j", "1"]);
    live.wait_for(|event| event["event"] == "row");
    let (ran, took) = live.end_by(Signal::TERM);
    // All was done before the signal came, which is too late to change that.
    ran.expect(0);
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// Two providers whose tests take turns.
fn in_turns(memory: &str, repeat: usize) -> Runner {
    let runner = Runner::new(&["counter"]);
    let provider =
        "plugin = \"counter.wasm\"\nreuse = \"instance\"\nlimits = { memory = \"1GiB\" }";
    runner.scenario(&format!(
        "[run]\nmemory = \"{memory}\"\n[providers.one]\n{provider}\n[providers.two]\n{provider}\n{}",
        (0..repeat)
            .map(|test| format!("[[tests]]\nid = \"{test}\"\ninput = {{ do = \"sleep\" }}\n"))
            .collect::<String>()
    ));
    runner
}

#[test]
fn instances_of_several_providers_are_kept_as_far_as_the_memory_allows() {
    // Both fit.
    let runner = in_turns("2GiB", 5);
    runner.exec(&["-j", "1"]).expect(0);
    assert_eq!(instances(&runner.only_run()).len(), 2);

    // One has to go before the other comes.
    let runner = in_turns("1536MiB", 5);
    runner.exec(&["-j", "1"]).expect(0);
    assert_eq!(instances(&runner.only_run()).len(), 10);

    // Two executors share the memory, however many are asked for, and each keeps one.
    let runner = in_turns("2GiB", 20);
    runner.exec(&["-j", "8"]).expect(0);
    let run = runner.only_run();
    assert!(most_at_once(&spans(&run.rows())) <= 2);
}

#[test]
fn an_idle_instance_gives_way_to_an_attempt_that_needs_its_memory() {
    let runner = Runner::new(&["counter"]);
    runner.scenario(
        r#"
        [run]
        memory = "2GiB"
        [providers.counter]
        plugin = "counter.wasm"
        reuse = "instance"
        limits = { memory = "1GiB" }
        [providers.large]
        plugin = "counter.wasm"
        limits = { memory = "2GiB" }
        [[tests]]
        id = "one"
        providers = ["counter"]
        [[tests]]
        id = "two"
        providers = ["counter"]
        [[tests]]
        id = "three"
        providers = ["large"]
        [[tests]]
        id = "four"
        providers = ["counter"]
        "#,
    );
    // Only one of the large ones fits, so there is one executor; else idle memory could be anywhere.
    runner.exec(&["-j", "4"]).expect(0);
    let run = runner.only_run();
    let count = |test: &str| run.row(test)["output"]["tests"].clone();
    assert_eq!(["one", "two", "four"].map(count), [1, 2, 1]);
    assert_eq!(
        teardowns(&run),
        ["teardown  after 2 tests", "teardown  after 1 tests"]
    );
}

#[test]
fn a_command_cannot_be_reused() {
    let runner = Runner::new(&["command"]);
    runner.scenario(
        "[providers.p]\nplugin = \"command.wasm\"\nreuse = \"instance\"\n[[tests]]\nid = \"a\"\n",
    );
    runner.refused(
        &[],
        &[
            "provider `p`: `reuse` is for components, and its plugin is a command",
            "remove `reuse`",
        ],
    );
    runner.scenario(
        "[providers.p]\nplugin = \"command.wasm\"\nreuse = \"process\"\n[[tests]]\nid = \"a\"\n",
    );
    runner.refused(&[], &["`reuse`", "instance"]);
}

#[test]
fn reuse_decides_results() {
    let runner = reusing("", &repeated(1, "{}"));
    runner.exec(&[]).expect(0);
    let text = fs_err::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&text.replace("reuse = \"instance\"", ""));
    runner.exec(&[]).expect(0);
    let runs = runner.runs();
    let prints: BTreeSet<_> = runs
        .iter()
        .map(|run| run.row("a")["fingerprint"].to_string())
        .collect();
    let digests: BTreeSet<_> = runs
        .iter()
        .map(|run| run.manifest()["metadata"]["plan_digest"].to_string())
        .collect();
    assert_eq!((prints.len(), digests.len()), (2, 2));
}

#[test]
fn an_instance_that_makes_the_host_hold_much_is_not_kept() {
    let runner = reusing(
        "limits = { scratch = \"4MiB\" }",
        &tests(
            r#"
            a1 | {}               |
            a2 | { do = "write" } |
            a3 | { do = "hold" }  |
            b1 | {}               |
            "#,
        ),
    );
    runner.exec(&["-j", "1"]).expect(0);
    let run = runner.only_run();
    let counted = |test: &str| run.row(test)["output"]["tests"].as_u64().unwrap();
    assert_eq!(["a1", "a2", "a3", "b1"].map(counted), [1, 2, 3, 1]);
}
