//! `known`: the entries beside the results of a run, and lists that are updated from it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::json;

use crate::support::{
    random::{Random, times},
    runner::Runner,
};

const HEAD: &str =
    "[providers.echo]\nplugin = \"bundled:echo\"\n[known]\nfiles = [\"known.toml\"]\n";

/// Returns a test, which passes if its output is `right`.
fn test(id: &str, output: &str) -> String {
    format!("[[tests]]\nid = \"{id}\"\ninput = \"{output}\"\nexpect = {{ equals = \"right\" }}\n")
}

/// Returns a scenario with these tests.
fn scenario(tests: &[(&str, &str)]) -> String {
    let tests: String = tests.iter().map(|(id, output)| test(id, output)).collect();
    format!("{HEAD}{tests}")
}

/// Returns a folder with a scenario and a list.
fn runner(known: &str, tests: &[(&str, &str)]) -> Runner {
    let runner = Runner::new(&[]);
    runner.scenario(&scenario(tests));
    runner.write("known.toml", known);
    runner
}

fn read(runner: &Runner) -> String {
    fs::read_to_string(runner.path("known.toml")).unwrap()
}

/// Updates the list from the newest run. Fails unless the next run is green, and the next update changes nothing.
#[track_caller]
fn update(runner: &Runner) {
    runner.run(&["known", "--update", "--yes", "--reason", "issue 375"]).expect(0);
    runner.run(&["rescore"]).expect(0);
    runner.exec(&[]).expect(0);
    let known = read(runner);
    runner.run(&["known", "--update", "--yes"]).expect(0).says(&["nothing to update"]);
    assert_eq!(read(runner), known);
}

/// Fails unless the update is refused with these texts, and writes nothing.
#[track_caller]
fn refuses(runner: &Runner, texts: &[&str]) {
    let known = read(runner);
    runner.run(&["known", "--update", "--yes"]).expect(2).says(texts);
    assert_eq!(read(runner), known);
}

#[test]
fn updated_lists_make_runs_green() {
    let tests = [("a/1", "x"), ("a/2", "x"), ("a/3", "x"), ("b", "right"), ("c", "x")];
    let runner = runner("# Failures of the suite.\n", &tests);
    runner.exec(&[]).expect(1);
    let asked = runner.run(&["known", "--update"]).expect(2);
    asked.says(&["+[[failures]]", "nothing was written", "2 added in 1 file", "--yes"]);
    assert_eq!(read(&runner), "# Failures of the suite.\n");
    let wrote = runner.run(&["known", "--update", "--yes"]).expect(0);
    wrote.says(&["wrote 1 file: 2 added", "empty `reason`", "runner rescore"]);
    let known = read(&runner);
    assert!(
        known.starts_with(
            "# Failures of the suite.\n\n[[failures]]\ntests = [\"a/*\"]\nreason = \"\"\n"
        ),
        "{known}"
    );
    // A draft is refused until its reason is written.
    runner.exec(&[]).expect(2).says(&["known.toml", "`reason` is empty"]);
    runner.write("known.toml", known.replace("\"\"", "\"issue 375\""));
    runner.exec(&[]).expect(0);

    // One is fixed, one is new.
    runner.scenario(&scenario(&[
        ("a/1", "x"),
        ("a/2", "right"),
        ("a/3", "x"),
        ("b", "x"),
        ("c", "x"),
    ]));
    runner.exec(&[]).expect(1);
    update(&runner);
    let known = read(&runner);
    for text in ["# Failures of the suite.", "[\"a/1\", \"a/3\"]", "[\"b\"]", "[\"c\"]"] {
        assert!(known.contains(text), "{text}:\n{known}");
    }
    // All are fixed.
    runner.scenario(&scenario(&tests.map(|(id, _)| (id, "right"))));
    runner.exec(&[]).expect(1);
    update(&runner);
    assert_eq!(read(&runner), "# Failures of the suite.\n");
}

#[test]
fn random_lists_become_green_and_stay() {
    let mut random = Random::new();
    let ids = ["a/1", "a/2", "a/3", "a/b/1", "a/b/2", "b", "c[1]"];
    for _ in 0..times(3, 60) {
        let mut draw = || {
            let outputs = ids.map(|id| (id, if random.below(2) == 0 { "x" } else { "right" }));
            scenario(&outputs)
        };
        let scenarios = [draw(), draw(), draw()];
        let runner = runner("", &[]);
        for scenario in scenarios {
            runner.scenario(&scenario);
            runner.exec(&[]);
            update(&runner);
        }
    }
}

#[test]
fn changed_tests_and_lists_are_refused() {
    let tests = [("a", "x"), ("b", "right")];
    let runner = runner("", &tests);
    runner.exec(&[]).expect(1);
    for (tests, why) in [
        (&[("a", "y"), ("b", "right")][..], "`a@echo#1` has changed since it ran"),
        (&[("a", "x")], "the scenario has no test `b`"),
        (&[("a", "x"), ("b", "right"), ("c", "x")], "it lacks the test `c` on `echo`"),
    ] {
        runner.scenario(&scenario(tests));
        refuses(&runner, &["has other tests than the scenario", why, "runner resume"]);
    }
    runner
        .scenario(&scenario(&tests).replace("{ equals = \"right\" }", "{ contains = \"right\" }"));
    refuses(&runner, &["the expectations of `a@echo#1` have changed", "runner rescore"]);
    runner.scenario(&scenario(&tests));
    runner.write("known.toml", "[[failures]]\ntests = [\"a\"]\nreason = \"r\"\n");
    refuses(&runner, &["the known failures have changed since run", "runner rescore"]);
    runner.run(&["rescore"]).expect(0);
    runner.run(&["known", "--update", "--yes"]).expect(0).says(&["nothing to update"]);
    // A comment is no change of the failures.
    runner.write("known.toml", "# Why.\n[[failures]]\ntests = [\"a\"]\nreason = \"r\"\n");
    runner.run(&["known", "--update", "--yes"]).expect(0).says(&["nothing to update"]);
    // Without a list, there is nothing to write to.
    runner.scenario(&scenario(&tests).replace("files = [\"known.toml\"]", ""));
    runner.exec(&[]).expect(1);
    refuses(&runner, &["names no list of known failures"]);
}

#[test]
fn links_and_generated_lists_are_refused() {
    let tests = [("a", "x")];
    let runner = runner("", &tests);
    runner.exec(&[]).expect(1);
    for name in ["scenario.toml", "known.toml"] {
        fs::set_permissions(runner.path(name), Permissions::from_mode(0o444)).unwrap();
    }
    refuses(&runner, &["known.toml", "read-only"]);
    fs::rename(runner.path("known.toml"), runner.path("other.toml")).unwrap();
    fs::set_permissions(runner.path("other.toml"), Permissions::from_mode(0o644)).unwrap();
    symlink("other.toml", runner.path("known.toml")).unwrap();
    refuses(&runner, &["known.toml", "link"]);
    fs::remove_file(runner.path("known.toml")).unwrap();
    runner.write("known.toml", "");
    // The scenario does not change.
    runner.run(&["known", "--update", "--yes"]).expect(0);
}

#[test]
fn unfinished_and_damaged_runs_are_refused() {
    let list = "[known]\nfiles = [\"known.toml\"]\n";
    let runner = Runner::endless(1, "loop", "");
    let scenario = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&format!("{scenario}{list}"));
    runner.write("known.toml", "");
    let mut running = runner.start(&[]);
    running.wait_until_running(&runner, 1);
    refuses(&runner, &["is running", "runner wait"]);
    runner.run(&["cancel"]).expect(0);
    running.finish();
    refuses(&runner, &["has not completed", "runner resume"]);

    let runner = self::runner("", &[("a", "x"), ("b", "x")]);
    runner.exec(&[]).expect(1);
    let rows = runner.only_run().dir.join("index.jsonl");
    let text = fs::read_to_string(&rows).unwrap();
    fs::write(&rows, text.lines().next().unwrap().to_owned() + "\n").unwrap();
    refuses(&runner, &["is damaged", "runner verify"]);
}

#[test]
fn a_selection_leaves_other_entries_alone() {
    let known = "[[failures]]\ntests = [\"a\", \"b\"]\nreason = \"r\"\n";
    let runner = runner(known, &[("a", "right"), ("b", "right"), ("c", "x")]);
    runner.exec(&["--test", "[ac]"]).expect(1);
    runner.run(&["known", "--update", "--yes", "--reason", "new"]).expect(0);
    let new = read(&runner);
    assert!(
        new.starts_with(
            "[[failures]]\ntests = [\"b\"]\nreason = \"r\"\n\n[[failures]]\ntests = [\"c\"]\n"
        ),
        "{new}"
    );
}

#[test]
fn expired_entries_are_named_and_stay() {
    let known = "[[failures]]\ntests = [\"a\"]\nreason = \"r\"\nuntil = 2020-01-01\n";
    let runner = runner(known, &[("a", "x"), ("b", "right")]);
    runner.exec(&[]).expect(1);
    let updated = runner.run(&["known", "--update", "--yes"]).expect(0);
    updated.says(&[
        "known.toml:1: expired on 2020-01-01, and 1 test still fails",
        "nothing to update",
    ]);
    assert_eq!(read(&runner), known);
    runner.exec(&[]).expect(1);
}

#[test]
fn entries_are_shown_by_state() {
    let known = "[[failures]]\ntests = [\"a/*\"]\nreason = \"slow\"\n[[failures]]\ntests = [\"b\"]\nreason = \"fixed\"\n[[failures]]\ntests = [\"gone\"]\nreason = \"old\"\n[[failures]]\ntests = [\"c\"]\nreason = \"late\"\nuntil = 2020-01-01\n";
    let runner = runner(known, &[("a/1", "x"), ("a/2", "x"), ("b", "right"), ("c", "right")]);
    runner.exec(&[]).expect(1);
    let shown = runner.run(&["known"]).expect(0);
    shown.says(&["known.toml:4 fixed", "2020-01-01 known.toml:10 late", "0 gone"]);
    shown.says(&["✗ 2 known failures, 1 entry unexpected, 1 entry expired, 1 entry unmatched"]);
    shown.says(&["runner known", "--update"]);
    let document = runner.run(&["known", "--json"]).expect(0).document();
    let states = ["known", "unexpected", "unmatched", "expired"].map(|state| json!(state));
    for (number, state) in states.iter().enumerate() {
        assert_eq!(document["entries"][number]["state"], *state, "{document}");
    }
    assert_eq!(document["entries"][0]["trials"], 2);
    runner.scenario(&scenario(&[("a", "right")]).replace("[known]\nfiles = [\"known.toml\"]", ""));
    runner.exec(&[]).expect(0);
    runner.run(&["known"]).expect(0).says(&["no list of known failures"]);
}
