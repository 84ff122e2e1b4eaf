//! `repeat = { min, max, width }`: which repeats a run needs, and that nothing else changes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::messages::outputs::snapshot;
use crate::support::{
    run::Run,
    runner::Runner,
    truth::{assert_consistent, assert_numbered, results},
    wait::wait_until,
};

/// Tests whose repeats `passes` pass, each with `keys`.
fn runner(tests: &[(&str, &dyn Fn(u32) -> bool)], keys: &str) -> Runner {
    let mut text = String::new();
    for (id, passes) in tests {
        let passing: Vec<_> = (1..=100).filter(|repeat| passes(*repeat)).collect();
        write!(
            text,
            "[[tests]]\nid = \"{id}\"\n{keys}\ninput = {{ do = \"fail-at\", repeat = 0 }}\nexpect = {{ equals_any = {passing:?} }}\n"
        )
        .unwrap();
    }
    Runner::hostile(&text)
}

/// Tests with the pass rates 1.0, 0.9 and 0.5.
fn rates(keys: &str) -> Runner {
    runner(
        &[
            ("always", &|_| true),
            ("mostly", &|repeat| repeat % 10 != 7),
            ("half", &|repeat| repeat % 2 == 0),
        ],
        keys,
    )
}

const RULE: &str = "repeat = { min = 5, max = 100, width = 0.2 }";
/// Of the 300 trials of [`rates`] with [`RULE`].
const NOT_NEEDED: u64 = 157;

/// Returns the outcomes of all trials with a result.
fn outcomes(run: &Run) -> BTreeMap<String, String> {
    let outcome = |row: Value| row["outcome"].as_str().unwrap().to_owned();
    results(run).into_iter().map(|(trial, row)| (trial, outcome(row))).collect()
}

/// Returns the numbers of results of each test.
fn repeats(run: &Run) -> BTreeMap<String, usize> {
    let mut repeats = BTreeMap::new();
    for trial in results(run).into_keys() {
        *repeats.entry(trial.split('@').next().unwrap().to_owned()).or_default() += 1;
    }
    repeats
}

fn not_needed(run: &Run) -> Value {
    run.manifest()["counts"]["not_needed"].clone()
}

/// Wilson's interval of 95 %, from its textbook form.
fn width(passed: f64, total: f64) -> f64 {
    let z = 1.959_963_984_540_054_f64;
    let rate = passed / total;
    let root = (rate * (1.0 - rate) / total + z * z / (4.0 * total * total)).sqrt();
    2.0 * z * root / (1.0 + z * z / total)
}

#[test]
fn tests_repeat_until_their_interval_is_narrow() {
    let runner = rates(RULE);
    runner.exec(&["-j", "1"]).expect(1);
    let run = runner.only_run();
    let rows = outcomes(&run);
    for (test, total) in repeats(&run) {
        let passed = |first: usize| {
            let ids = (1..=first).map(|repeat| format!("{test}@hostile#{repeat}"));
            ids.filter(|id| rows[id] == "passed").count() as f64
        };
        // Each is the first round at which the interval is narrow, or the last one.
        assert!(width(passed(total), total as f64) <= 0.2 || total == 100, "{test}: {total}");
        for first in 5..total {
            assert!(width(passed(first), first as f64) > 0.2, "{test}: {first} of {total}");
        }
    }
    let expected = [("always", 16), ("half", 93), ("mostly", 34)];
    assert_eq!(repeats(&run), expected.map(|(test, count)| (test.to_owned(), count)).into());
    assert_eq!(not_needed(&run), NOT_NEEDED);
    let [status, ..] = run.ending();
    assert_eq!(status, "completed");
    assert_consistent(&runner);
    runner.run(&["verify", "latest"]).expect(0);
    snapshot(&runner.run(&["resume", "latest"]).expect(1));

    // The number of jobs has no effect.
    let parallel = rates(RULE);
    parallel.exec(&["-j", "16"]).expect(1);
    assert_eq!(outcomes(&parallel.only_run()), rows);
    assert_numbered(&parallel.only_run().rows());
}

#[test]
fn last_repeat_ends_a_wide_interval() {
    let runner = rates("repeat = { min = 2, max = 20, width = 0.1 }");
    let ran = runner.exec(&[]).expect(1);
    ran.says(&["at most 60 trials"]);
    let run = runner.only_run();
    assert_eq!((run.rows().len(), not_needed(&run)), (60, json!(0)));
    // A plain number has no such count, and neither has `--repeat`.
    runner.exec(&["--repeat", "3"]).expect(1).says(&["of 9"]);
    let second = runner.runs().into_iter().find(|other| other.id() != run.id()).unwrap();
    assert_eq!((second.rows().len(), not_needed(&second)), (9, Value::Null));
}

#[test]
fn killed_run_continues_to_the_same_rows() {
    let whole = rates(RULE);
    whole.exec(&[]).expect(1);
    let expected = outcomes(&whole.only_run());
    let mut seen = BTreeSet::new();
    let killed = |rows: usize| {
        let runner = rates(RULE);
        let mut running = runner.start(&["-j", "4"]);
        wait_until("there are rows", || {
            running.printed().matches("\"event\":\"row\"").count() >= rows || !running.is_alive()
        });
        running.kill();
        (runner.only_run().ending()[0] == "running").then_some(runner)
    };
    for rows in [1, 40, 110] {
        // The trials are quick, so a run may end before it is killed.
        let runner = (0..20).find_map(|_| killed(rows)).expect("one is killed");
        let run = runner.only_run();
        seen.insert(run.rows().len());
        assert_consistent(&runner);
        // A line without its end is as lost as one that was never written.
        let text = run.text("index.jsonl");
        run.write("index.jsonl", &text[..text.len() - 20]);
        let listed = runner.run(&["resume", "latest", "--dry-run"]).expect(0).stdout;
        assert!(listed.lines().all(|trial| expected.contains_key(trial)), "{listed}");
        runner.run(&["resume", "latest", "-j", "3"]).expect(1);
        assert_eq!(outcomes(&run), expected, "killed after {rows} rows");
        assert_eq!(not_needed(&run), NOT_NEEDED);
        assert_numbered(&run.rows());
        assert_consistent(&runner);
    }
    assert!(seen.len() > 1, "{seen:?}");
}

#[test]
fn documents_and_reports_count_trials_that_are_not_needed() {
    let runner = rates(RULE);
    let ran = runner.exec(&["--json"]).expect(1);
    let ended = ran.events().pop().unwrap();
    assert_eq!(ended["counts"]["not_needed"], NOT_NEEDED, "{ended}");
    let run = runner.only_run();
    for document in [runner.list()[0].clone(), runner.show(&run)["run"].clone()] {
        assert_eq!(document["counts"]["not_needed"], NOT_NEEDED);
        assert_eq!(document["counts"]["planned"], 300);
    }
    snapshot(&runner.run(&["show", "latest"]).expect(0));
    runner.run(&["list"]).expect(0).says(&["143/143"]);
    // Reports have no entry for a trial that did not have to run.
    for (form, [case, missing]) in [
        ("junit.xml", ["always@hostile#16", "always@hostile#17"]),
        ("r.csv", ["half@hostile#93", "half@hostile#94"]),
        ("r.html", ["<b>157</b> not needed", "half@hostile#94"]),
        ("r.md", ["157 not needed", "no result"]),
    ] {
        runner.run(&["report", "latest", "-o", form]).expect(0);
        let text = std::fs::read_to_string(runner.path(form)).unwrap();
        assert!(text.contains(case), "{form} lacks {case}: {text}");
        assert!(!text.contains(missing), "{form} has {missing}: {text}");
    }
}

#[test]
fn gate_weighs_tests_alike_however_often_they_repeat() {
    // 16 of 16, 31 of 34 and 46 of 93 passed: 65 % of the trials.
    let rates = rates(RULE);
    let text = std::fs::read_to_string(rates.path("scenario.toml")).unwrap();
    rates.write("scenario.toml", format!("[gate]\npass_rate = 0.8\n{text}"));
    rates.exec(&[]).expect(0);
    let condition = rates.only_run().manifest()["gate"]["conditions"][0].clone();
    let rate = (1.0 + 31.0 / 34.0 + 46.0 / 93.0) / 3.0;
    let value = condition["value"].as_f64().unwrap();
    assert!((value - rate).abs() < 1e-9, "{condition}");
    assert_eq!(condition["trials"], 143, "{condition}");
}

#[test]
fn reruns_decide_anew_and_rescores_do_not() {
    let runner = rates(RULE);
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    let before = repeats(&run);
    let text = std::fs::read_to_string(runner.path("scenario.toml")).unwrap();

    // Two passes of `always` become failures, so its interval is wide, and no provider is called.
    let first: Vec<_> = (3..=100).collect();
    let all: Vec<_> = (1..=100).collect();
    let all = format!("equals_any = {all:?}");
    assert!(text.contains(&all), "{text}");
    runner.write("scenario.toml", text.replace(&all, &format!("equals_any = {first:?}")));
    runner.run(&["rescore", "latest"]).expect(1);
    assert_eq!(repeats(&run), before);
    assert_eq!(not_needed(&run), NOT_NEEDED);
    assert_consistent(&runner);
    runner.run(&["verify", "latest"]).expect(0);
    snapshot(&runner.run(&["resume", "latest"]).expect(1));

    // The stored expectations are those of the run, so all pass again.
    runner.run(&["resume", "latest", "--rerun", "always*"]).expect(1);
    assert_eq!(repeats(&run), before);
    // With the current ones, the two failures make further repeats needed.
    runner.run(&["resume", "latest", "--accept-changes", "--rerun", "always*"]).expect(1);
    let after = repeats(&run);
    assert!(after["always"] > 16 && after["always"] < 100, "{after:?}");
    let total: usize = after.values().sum();
    assert_eq!(not_needed(&run), 300 - total);
    assert_consistent(&runner);
    runner.run(&["verify", "latest"]).expect(0);
    snapshot(&runner.run(&["resume", "latest"]).expect(1));
}

#[test]
fn shards_of_adaptive_repeats_are_refused() {
    let runner = rates(RULE);
    snapshot(&runner.refused(&["--shard", "1/2"], &[]));
    assert!(runner.runs().is_empty());
    // A number of repeats in their place can be divided.
    runner.exec(&["--shard", "1/2", "--repeat", "4"]).expect(1);
}
