//! Flags that replace values of the scenario.

use std::collections::BTreeSet;

use crate::messages::outputs::snapshot;
use crate::support::{
    run::Run,
    runner::{Runner, tests},
    truth::{assert_whole, results},
};

const FLAGS: [&str; 13] = [
    "--exclude",
    "*/skip",
    "--repeat",
    "2",
    "--retries",
    "1",
    "--seed",
    "7",
    "--limit",
    "memory=64MiB",
    "--limit",
    "reply=1GiB",
    "--journal",
];

fn fingerprints(run: &Run) -> BTreeSet<String> {
    run.rows().iter().map(|row| row["fingerprint"].to_string()).collect()
}

#[test]
fn replaced_values_stay_for_all_sessions() {
    let runner = Runner::hostile(&tests(
        r#"
        a/echo | { do = "echo", value = 1 } | equals = 1
        a/skip | { do = "trap" } |
        late | { do = "fail-until", attempt = 2 } |
        "#,
    ));
    runner.exec(&["--exclude", "*/skip"]).expect(1);
    let plain = fingerprints(&runner.only_run());
    runner.run(&["prune", "latest", "--yes"]).expect(0);
    let ran = runner.exec(&[&FLAGS[..], &["--dry-run"]].concat()).expect(0);
    snapshot(&ran);
    runner.exec(&FLAGS).expect(0);
    let run = assert_whole(&runner, 4);
    let trials = ["a/echo@hostile#1", "a/echo@hostile#2", "late@hostile#1", "late@hostile#2"];
    assert_eq!(results(&run).into_keys().collect::<Vec<_>>(), trials);
    assert_eq!(run.count("flaky"), 2);
    let limits = &run.manifest()["providers"][0]["limits"];
    assert_eq!((&limits["memory"], &limits["reply"]), (&(64 << 20).into(), &(4 << 20).into()));
    let replaced = fingerprints(&run);
    assert_eq!(replaced.len(), 2);
    assert!(replaced.is_disjoint(&plain), "seed and limits decide results");
    // Sessions with the stored plan and with the current files have the same values.
    let rows = run.rows().len();
    let ran = runner.run(&["resume", "latest", "--accept-changes"]).expect(0);
    assert!(ran.stderr.contains("nothing is left to do"), "{}", ran.stderr);
    assert_eq!(run.rows().len(), rows);
    runner.run(&["resume", "latest", "--rerun", "all"]).expect(0);
    assert_eq!(fingerprints(&run), replaced);
}

#[test]
fn folder_with_other_replaced_values_is_refused() {
    let runner = Runner::hostile(&tests("a | { do = \"echo\", value = 1 } |"));
    runner.exec(&["--into", "results/x", "--seed", "1"]).expect(0);
    runner.exec(&["--into", "results/x", "--seed", "1"]).expect(0);
    runner.exec(&["--into", "results/x", "--seed", "2"]).expect(2).says(&["`--seed`"]);
}

#[test]
fn number_after_fail_fast_is_its_value() {
    let runner = Runner::hostile(&tests("a | { do = \"trap\" } |\nb | { do = \"trap\" } |"));
    let ran = runner.run(&["exec", "--fail-fast", "2", "-j1", "scenario.toml"]);
    ran.expect(1);
    assert_eq!(runner.only_run().rows().len(), 2);
    // A file of this name is a scenario.
    runner.run(&["prune", "latest", "--yes"]).expect(0);
    runner.link(&runner.path("scenario.toml"), "2");
    runner.run(&["exec", "--fail-fast", "2", "-j1"]).expect(4);
    assert_eq!(runner.only_run().rows().len(), 1);
}
