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

/// A test: whether it exists, its input, whether it passes, and its entry in the list of known failures.
#[derive(Clone, Copy)]
struct State {
    is_there: bool,
    ms: usize,
    passes: bool,
    entry: Entry,
}

/// Keys of an entry of one test, which decides after the group's.
#[derive(Clone, Copy, PartialEq)]
enum Entry {
    None,
    Failed,
    Flaky,
    /// Expects another outcome.
    Error,
    Expired,
}

const ENTRIES: [(Entry, &str); 5] = [
    (Entry::None, ""),
    (Entry::Failed, "outcomes = [\"timeout\", \"failed\"]"),
    (Entry::Flaky, "flaky = true"),
    (Entry::Error, "outcomes = [\"error\"]"),
    (Entry::Expired, "until = 2020-02-29"),
];
/// An entry of several tests, before their own.
const GROUP: &str = "[[failures]]\ntests = [\"t[0-2]\"]\nreason = \"a group\"\n";

impl State {
    /// Returns whether the result is a known failure, and whether it is an unexpected pass.
    fn known(self, is_of_group: bool) -> (bool, bool) {
        let entry = match self.entry {
            Entry::None | Entry::Expired if is_of_group => Entry::Failed,
            Entry::Expired => Entry::None,
            entry => entry,
        };
        match (self.passes, entry) {
            (false, Entry::Failed | Entry::Flaky) => (true, false),
            (true, Entry::Failed | Entry::Error) => (false, true),
            _ => (false, false),
        }
    }
}

/// Changes some tests and entries, and writes the scenario and its list.
fn change(runner: &Runner, states: &mut [State; TESTS], random: &mut Random) {
    let mut text =
        "[known]\nfiles = [\"known.toml\"]\n[providers.hostile]\nplugin = \"hostile.wasm\"\n"
            .to_owned();
    let mut list = GROUP.to_owned();
    for (number, state) in states.iter_mut().enumerate() {
        match random.below(12) {
            0 => state.is_there = !state.is_there,
            1 => state.ms += 1,
            2 | 3 => state.passes = !state.passes,
            4 | 5 => state.entry = ENTRIES[random.below(ENTRIES.len())].0,
            _ => {}
        }
        if let Some((_, keys)) = ENTRIES[1..].iter().find(|(entry, _)| *entry == state.entry) {
            list += &format!("[[failures]]\ntests = [\"t{number}\"]\nreason = \"r\"\n{keys}\n");
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
    runner.write("known.toml", list);
    runner.scenario(&text);
}

#[test]
fn killed_changes_and_reruns_have_equal_results() {
    let mut random = Random::new();
    for _ in 0..times(2, 100) {
        let runner = Runner::hostile_in_memory("");
        let first = State { is_there: true, ms: 10, passes: true, entry: Entry::None };
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
            // The kill comes at a random moment.
            thread::sleep(random.up_to(Duration::from_millis(250)));
            resumed.kill();
            let listed = &runner.list()[0];
            assert_status(&runner, listed["status"].as_str().unwrap());
        }
        change(&runner, &mut states, &mut random);
        let there = states.iter().filter(|state| state.is_there).count();
        let passed = states.iter().filter(|state| state.is_there && state.passes).count();
        let known: Vec<_> = states
            .iter()
            .enumerate()
            .filter(|(_, state)| state.is_there)
            .map(|(number, state)| state.known(number < 3))
            .collect();
        let listed = known.iter().filter(|(is_known, _)| *is_known).count();
        let unexpected_passes = known.iter().filter(|(_, is_unexpected)| *is_unexpected).count();
        let exit = i32::from(there - passed > listed || unexpected_passes > 0);
        // Nothing is left of interrupted sessions, nor of changed tests.
        runner.run(&["resume", "latest", "--accept-changes"]).expect(exit);
        assert_status(&runner, "completed");
        assert_eq!((run.planned(), run.count("passed")), (there as u64, passed as u64));
        let counts = &run.manifest()["counts"];
        let count = |key: &str| counts[key].as_u64().unwrap_or(0) as usize;
        assert_eq!((count("known"), count("unexpected_passes")), (listed, unexpected_passes));
        let results = results(&run);
        for (number, state) in states.iter().enumerate().filter(|(_, state)| state.is_there) {
            let row = &results[&format!("t{number}@hostile#1")];
            assert_eq!(row["outcome"] == "passed", state.passes, "{row}");
            let took = ["duration_ms", "suspended_ms"].map(|key| row[key].as_f64().unwrap_or(0.0));
            assert!(took[0] + took[1] >= state.ms as f64, "{row}");
            assert_eq!(row["output"], json!("slept"));
        }
        runner.run(&["verify", run.id()]).expect(0);
        let rows = run.rows().len();
        runner.run(&["resume", "latest", "--accept-changes"]).expect(exit);
        assert_eq!(run.rows().len(), rows);
    }
}
