//! Sessions that accept changes, run trials again and are killed at random times.

use std::{thread, time::Duration};

use serde_json::json;

use super::assert_status;
use crate::support::{
    random::{Random, times},
    runner::Runner,
    truth::results,
};

const TESTS: usize = 8;

/// A test: whether it exists, its input, and whether it passes.
#[derive(Clone, Copy)]
struct State {
    is_there: bool,
    ms: usize,
    passes: bool,
}

/// Changes some tests, and writes the scenario.
fn change(runner: &Runner, states: &mut [State; TESTS], random: &mut Random) {
    let mut text = "[providers.hostile]\nplugin = \"hostile.wasm\"\n".to_owned();
    for (number, state) in states.iter_mut().enumerate() {
        match random.below(12) {
            0 => state.is_there = !state.is_there,
            1 => state.ms += 1,
            2 | 3 => state.passes = !state.passes,
            _ => {}
        }
        // At least one test remains.
        if state.is_there || number == 0 {
            state.is_there = true;
            let State { ms, passes, .. } = state;
            let expected = if *passes { "slept" } else { "woke" };
            text += &format!(
                "[[tests]]\nid = \"t{number}\"\ninput = {{ do = \"sleep\", ms = {ms} }}\nexpect = {{ equals = \"{expected}\" }}\n"
            );
        }
    }
    runner.scenario(&text);
}

#[test]
fn killed_changes_and_reruns_have_equal_results() {
    let mut random = Random::new();
    for _ in 0..times(3, 100) {
        let runner = Runner::hostile_in_memory("");
        let first = State { is_there: true, ms: 10, passes: true };
        let mut states = [first; TESTS];
        change(&runner, &mut states, &mut random);
        runner.exec(&[]);
        let run = runner.only_run();
        for _ in 0..4 {
            let mut args = vec!["resume", "latest", "--json", "-j", "2"];
            if random.below(3) > 0 {
                change(&runner, &mut states, &mut random);
                args.push("--accept-changes");
            }
            if random.below(2) == 0 {
                let rerun = ["all", "failed", "t[1-3]"][random.below(3)];
                args.extend(["--rerun", rerun]);
            }
            let resumed = runner.started(&args);
            thread::sleep(random.up_to(Duration::from_millis(250)));
            resumed.kill();
            let listed = &runner.list()[0];
            assert_status(&runner, listed["status"].as_str().unwrap());
        }
        change(&runner, &mut states, &mut random);
        let there = states.iter().filter(|state| state.is_there).count();
        let passed = states.iter().filter(|state| state.is_there && state.passes).count();
        let exit = i32::from(passed < there);
        // Nothing is left of interrupted sessions, nor of changed tests.
        runner.run(&["resume", "latest", "--accept-changes"]).expect(exit);
        assert_status(&runner, "completed");
        assert_eq!((run.planned(), run.count("passed")), (there as u64, passed as u64));
        let results = results(&run);
        for (number, state) in states.iter().enumerate().filter(|(_, state)| state.is_there) {
            let row = &results[&format!("t{number}@hostile#1")];
            assert_eq!(row["outcome"] == "passed", state.passes, "{row}");
            assert!(row["duration_ms"].as_f64().unwrap() >= state.ms as f64, "{row}");
            assert_eq!(row["output"], json!("slept"));
        }
        runner.run(&["verify", run.id()]).expect(0);
        let rows = run.rows().len();
        runner.run(&["resume", "latest", "--accept-changes"]).expect(exit);
        assert_eq!(run.rows().len(), rows);
    }
}
