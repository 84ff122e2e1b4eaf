//! `reuse = "instance"`: one instance for many tests, between its setup and its teardown.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use rustix::process::Signal;

use crate::support::{
    run::Run,
    runner::{Runner, tests},
};

/// Writes a scenario with the counter as its only provider.
fn counter(keys: &str, tests: &str) -> Runner {
    let runner = Runner::new(&["counter"]);
    runner.scenario(&format!("[providers.counter]\nplugin = \"counter.wasm\"\n{keys}\n{tests}"));
    runner
}

fn reusing(keys: &str, tests: &str) -> Runner {
    counter(&format!("reuse = \"instance\"\n{keys}"), tests)
}

fn repeated(count: usize, input: &str) -> String {
    format!("[[tests]]\nid = \"a\"\nrepeat = {count}\ninput = {input}\n")
}

/// Returns the number of tests that each instance has answered.
fn instances(run: &Run) -> BTreeMap<String, u64> {
    let mut instances = BTreeMap::new();
    for row in run.rows() {
        let output = &row["output"];
        if output.is_object() {
            assert_eq!(output["setups"], 1, "{output}");
            assert_eq!(output["config_is_that_of_setup"], true, "{output}");
            let name = output["instance"].as_str().unwrap().to_owned();
            *instances.entry(name).or_default() += 1;
        }
    }
    instances
}

/// Returns the log of guests during teardown.
fn teardowns(run: &Run) -> Vec<String> {
    let log = run.text("runner.log");
    let lines = log.lines().filter_map(|line| {
        let (_, said) = line.split_once("teardown of provider `counter`: info: ")?;
        Some(said.to_owned())
    });
    lines.collect()
}

#[test]
fn each_test_without_reuse_has_its_instance() {
    let runner = counter("", &repeated(5, "{}"));
    runner.exec(&["-j", "1"]).expect(0);
    let run = runner.only_run();
    assert_eq!(instances(&run).into_values().collect::<Vec<_>>(), [1; 5]);
    assert_eq!(teardowns(&run), ["teardown  after 1 tests"; 5]);
}

#[test]
fn one_slot_sets_up_one_instance_once() {
    let runner = reusing("config = { teardown = \"\" }", &repeated(20, "{}"));
    runner.exec(&["-j", "1"]).expect(0);
    let run = runner.only_run();
    assert_eq!(instances(&run).into_values().collect::<Vec<_>>(), [20]);
    assert_eq!(teardowns(&run), ["teardown  after 20 tests"]);
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
fn stop_ends_idle_and_running_instances() {
    let runner = reusing(
        "config = { teardown = \"loop\" }",
        &tests(
            r#"
            a | {}              |
            b | { do = "loop" } |
            "#,
        ),
    );
    let mut running = runner.start(&["-j", "2"]);
    running.wait_for_rows(1);
    let (ran, took) = running.end_by(Signal::INT);
    ran.expect(130);
    // The guests would never end.
    assert!(took < Duration::from_secs(10), "{took:?}");
    // Without grace there is no teardown.
    assert_eq!(teardowns(&runner.only_run()), [""; 0]);
}

#[test]
fn failed_teardown_changes_only_the_log() {
    let runner = reusing("config = { teardown = \"panic\" }", &repeated(2, "{}"));
    runner.exec(&["-j", "1"]).expect(0);
    let run = runner.only_run();
    assert_eq!(run.ending(), ["completed", "", "", "passed"]);
    let log = run.text("runner.log");
    assert!(log.contains("teardown of provider `counter`: failed: the guest trapped"), "{log}");
}

#[test]
fn teardowns_fill_no_log() {
    let runner = counter("config = { teardown = \"flood-log\" }", &repeated(6, "{}"));
    runner.exec(&["-j", "1"]).expect(0);
    let log = runner.only_run().text("runner.log");
    assert_eq!(log.matches("during teardown is not logged").count(), 1);
    assert!((300 << 10..1 << 20).contains(&log.len()), "{} bytes", log.len());
}

#[test]
fn signal_ends_a_hanging_teardown() {
    let runner = reusing("config = { teardown = \"loop\" }", &repeated(1, "{}"));
    let mut running = runner.start(&["-j", "1"]);
    running.wait_for_rows(1);
    let (ran, took) = running.end_by(Signal::TERM);
    // All trials had ended before the signal, which comes too late to change the result.
    ran.expect(0);
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn kept_instances_fit_into_memory() {
    for (memory, kept) in [("2GiB", 2), ("1536MiB", 10)] {
        let runner = Runner::new(&["counter"]);
        let provider =
            "plugin = \"counter.wasm\"\nreuse = \"instance\"\nlimits = { memory = \"1GiB\" }";
        let mut text = format!(
            "[run]\nmemory = \"{memory}\"\n[providers.one]\n{provider}\n[providers.two]\n{provider}\n"
        );
        for test in 0..5 {
            write!(text, "[[tests]]\nid = \"{test}\"\n").unwrap();
        }
        runner.scenario(&text);
        runner.exec(&["-j", "1"]).expect(0);
        assert_eq!(instances(&runner.only_run()).len(), kept, "{memory}");
    }
}
