//! `known`: the entries beside the results of a run, and lists that are updated from it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::{Value, json};

use crate::messages::outputs::snapshot;
use crate::support::{
    random::{Random, times},
    runner::Runner,
    running::Finished,
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

/// Fails unless the update is refused, and writes nothing.
#[track_caller]
fn refused(runner: &Runner) -> Finished {
    let known = read(runner);
    let ran = runner.run(&["known", "--update", "--yes"]).expect(2);
    assert_eq!(read(runner), known);
    ran
}

#[test]
fn updated_lists_make_runs_green() {
    let tests = [("a/1", "x"), ("a/2", "x"), ("a/3", "x"), ("b", "right"), ("c", "x")];
    let runner = runner("# Failures of the suite.\n", &tests);
    runner.exec(&[]).expect(1);
    let asked = runner.run(&["known", "--update"]).expect(2);
    snapshot(&asked);
    let shown = runner.run(&["known", "--update", "--dry-run"]).expect(0);
    shown.says(&["+[[failures]]", "2 added in 1 file; nothing was written"]);
    assert_eq!(read(&runner), "# Failures of the suite.\n");
    let wrote = runner.run(&["known", "--update", "--yes"]).expect(0);
    wrote.says(&["wrote 1 file: 2 added", "first write 2 reasons in known.toml", "runner rescore"]);
    let known = read(&runner);
    assert!(
        known.starts_with(
            "# Failures of the suite.\n\n[[failures]]\ntests = [\"a/*\"]\nreason = \"\"\n"
        ),
        "{known}"
    );
    // A draft is refused until its reason is written.
    for command in ["exec", "rescore"] {
        let args = if command == "exec" { &[command, "scenario.toml"][..] } else { &[command] };
        let refused = runner.run(args).expect(2);
        snapshot(&refused);
        assert_eq!(refused.stderr.matches("is empty").count(), 1, "{}", refused.stderr);
    }
    runner.write("known.toml", known.replace("\"\"", "\"issue 375\""));
    runner.exec(&[]).expect(0);

    // One has changed.
    runner.scenario(&scenario(&[&[("a/1", "y")], &tests[1..]].concat()));
    runner.exec(&[]).expect(1).says(&[
        "`known.toml:3` (a/*) do not apply to tests whose input or expectations have changed",
    ]);

    // One is fixed, and of the new ones, one is below the folder of the others.
    runner.scenario(&scenario(&[
        ("a/1", "x"),
        ("a/2", "right"),
        ("a/3", "x"),
        ("a/4", "x"),
        ("b", "x"),
        ("c", "x"),
    ]));
    runner
        .exec(&[])
        .expect(1)
        .says(&["2 unexpected (1 newly failing, 1 failed), 1 passed, 3 known"]);
    runner.run(&["show", "latest", "a/4"]).says(&["changed: issue 375 (known.toml:3)"]);
    update(&runner);
    let known = read(&runner);
    for text in ["# Failures of the suite.", "[\"a/*\"]", "[\"a/4\"]", "[\"b\"]", "[\"c\"]"] {
        assert!(known.contains(text), "{text}:\n{known}");
    }
    // All are fixed.
    let fixed = ["a/1", "a/2", "a/3", "a/4", "b", "c"].map(|id| (id, "right"));
    runner.scenario(&scenario(&fixed));
    runner.exec(&[]).expect(0).says(&["`known.toml:3` (a/*), ", "their tests have changed"]);
    update(&runner);
    assert_eq!(read(&runner), "# Failures of the suite.\n");

    // An entry for several tests can be confirmed.
    runner.scenario(&scenario(&tests));
    let judged = "judged = \"00000000000000000000000000000000\"\n";
    runner
        .write("known.toml", format!("[[failures]]\ntests = [\"a/*\"]\nreason = \"r\"\n{judged}"));
    runner.exec(&[]).expect(1).says(&["to confirm them: runner known --update"]);
    update(&runner);

    // Not if a test may be new: its failure has no reason yet.
    let others = tests.map(|(id, output)| (id, if output == "x" { "y" } else { output }));
    runner.scenario(&scenario(&[&others[..], &[("a/new", "y")]].concat()));
    runner.exec(&[]).expect(1);
    let wrote = runner.run(&["known", "--update", "--yes"]).expect(0);
    wrote.says(&["a/new@echo", "first write"]);
    snapshot(&runner.exec(&[]).expect(2));
}

#[test]
fn random_lists_become_green_and_stay() {
    let mut random = Random::new();
    let ids = ["a/1", "a/2", "a/3", "a/b/1", "a/b/2", "b", "c[1]"];
    for _ in 0..times(1, 60) {
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
    for tests in [
        &[("a", "y"), ("b", "right")][..],
        &[("a", "x")],
        &[("a", "x"), ("b", "right"), ("c", "x")],
    ] {
        runner.scenario(&scenario(tests));
        snapshot(&refused(&runner));
    }
    runner
        .scenario(&scenario(&tests).replace("{ equals = \"right\" }", "{ contains = \"right\" }"));
    snapshot(&refused(&runner));
    runner.scenario(&scenario(&tests));
    runner.write("known.toml", "[[failures]]\ntests = [\"a\"]\nreason = \"r\"\n");
    snapshot(&refused(&runner));
    runner.run(&["rescore"]).expect(0);
    snapshot(&runner.run(&["known", "--update", "--yes"]).expect(0));
    // A comment is no change of the failures.
    runner.write("known.toml", "# Why.\n[[failures]]\ntests = [\"a\"]\nreason = \"r\"\n");
    snapshot(&runner.run(&["known", "--update", "--yes"]).expect(0));
    // Without a list, there is nothing to write to.
    runner.scenario(&scenario(&tests).replace("files = [\"known.toml\"]", ""));
    runner.exec(&[]).expect(1);
    snapshot(&refused(&runner));
}

#[test]
fn links_and_generated_lists_are_refused() {
    let tests = [("a", "x")];
    let runner = runner("", &tests);
    runner.exec(&[]).expect(1);
    for name in ["scenario.toml", "known.toml"] {
        fs::set_permissions(runner.path(name), Permissions::from_mode(0o444)).unwrap();
    }
    snapshot(&refused(&runner));
    fs::rename(runner.path("known.toml"), runner.path("other.toml")).unwrap();
    fs::set_permissions(runner.path("other.toml"), Permissions::from_mode(0o644)).unwrap();
    symlink("other.toml", runner.path("known.toml")).unwrap();
    snapshot(&refused(&runner));
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
    snapshot(&refused(&runner));
    runner.run(&["cancel"]).expect(0);
    running.finish();
    snapshot(&refused(&runner));

    let runner = self::runner("", &[("a", "x"), ("b", "x")]);
    runner.exec(&[]).expect(1);
    let rows = runner.only_run().dir.join("index.jsonl");
    let text = fs::read_to_string(&rows).unwrap();
    fs::write(&rows, text.lines().next().unwrap().to_owned() + "\n").unwrap();
    snapshot(&refused(&runner));
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
    snapshot(&updated);
    updated.says(&["known.toml:1: expired on 2020-01-01, and 1 test still fails"]);
    assert_eq!(read(&runner), known);
    runner.exec(&[]).expect(1);
}

#[test]
fn failures_of_another_kind_are_unexpected() {
    let known = "[[failures]]\ntests = [\"*\"]\nreason = \"case\"\nkinds = [\"equals\"]\n";
    let runner = runner(known, &[("a", "x"), ("b", "x")]);
    runner.exec(&[]).expect(0);
    // The same test fails by another check, too.
    let scenario = scenario(&[("a", "x"), ("b", "x")]);
    let other = scenario.replacen("equals = \"right\"", "equals = \"right\", contains = \"y\"", 1);
    assert_ne!(other, scenario);
    runner.scenario(&other);
    let stopped = runner.exec(&["--fail-fast", "1", "-j", "1"]).expect(4);
    snapshot(&stopped);
    let ran = runner.exec(&[]).expect(1);
    let words = "known as equals, now equals, contains: case (known.toml:1)";
    snapshot(&ran);
    ran.says(&[words]);
    for args in [
        &["show", "latest", "a@echo#1"][..],
        &["show", "-E", "unexpected()"],
        &["report", "--junit"],
    ] {
        runner.run(args).expect(0).says(&[words]);
    }
    let compared = runner.run(&["compare", "--fail-on", "regressed"]).expect(1);
    compared.says(&["worse: 1 regressed", "known → failed"]);
    let trial = runner.run(&["show", "latest", "a@echo#1", "--json"]).expect(0);
    let trial: Value = serde_json::from_str(&trial.stdout).unwrap();
    assert_eq!((trial.get("known"), &trial["stale"][0]["why"]), (None, &"outcome".into()));
    let none = runner.run(&["show", "-E", "known() & test(a)"]).expect(0);
    assert!(!none.stdout.contains("a@echo#1"), "{}", none.stdout);
    snapshot(&runner.run(&["known"]).expect(0));
    runner.run(&["verify"]).expect(0);
    // An update keeps the entry with its kinds for the other test, and adds one for this failure.
    let wrote = runner.run(&["known", "--update", "--yes", "--reason", "new"]).expect(0);
    wrote.says(&["1 added", "1 changed"]);
    let updated = read(&runner);
    assert!(
        updated.contains("tests = [\"b\"]\nreason = \"case\"\nkinds = [\"equals\"]"),
        "{updated}"
    );
    runner.run(&["rescore"]).expect(0);
    snapshot(&runner.run(&["known", "--update", "--yes"]).expect(0));
}

#[test]
fn filters_know_failures_by_their_kinds() {
    let known = |kind: &str| {
        format!("[[failures]]\ntests = [\"a\"]\nreason = \"case\"\nkinds = [\"{kind}\"]\n")
    };
    let runner = runner(&known("equals"), &[("a", "x"), ("b", "right")]);
    let selects = |filter: &str| {
        let shown = runner.run(&["show", "-E", filter]).expect(0);
        shown.stdout.contains("a@echo#1")
    };
    runner.exec(&[]).expect(0);
    assert!(selects("known()") && !selects("unexpected()"));
    // Without its checks, this row would be one of the verdict alone.
    runner.write("known.toml", known("verdict"));
    runner.exec(&[]).expect(1);
    assert!(selects("unexpected()") && !selects("known()"));
    let report = runner.run(&["report", "--output", "r.junit.xml", "-E", "unexpected()"]).expect(0);
    let written = fs::read_to_string(runner.path("r.junit.xml")).unwrap();
    assert!(written.contains("failures=\"1\""), "{written} {}", report.stderr);
}

#[test]
fn entries_are_shown_by_state() {
    let known = "[[failures]]\ntests = [\"a/*\"]\nreason = \"slow\"\n[[failures]]\ntests = [\"b\"]\nreason = \"fixed\"\n[[failures]]\ntests = [\"gone\"]\nreason = \"old\"\n[[failures]]\ntests = [\"c\"]\nreason = \"late\"\nuntil = 2020-01-01\n";
    let runner = runner(known, &[("a/1", "x"), ("a/2", "x"), ("b", "right"), ("c", "right")]);
    runner.exec(&[]).expect(1);
    let shown = runner.run(&["known"]).expect(0);
    shown.says(&["known.toml:4 fixed", "2020-01-01 known.toml:10 late", "0 gone"]);
    snapshot(&shown);

    // The advice is true without judging the run again.
    runner.write("known.toml", known.replacen("\"slow\"\n", "\"slow\"\njudged = []\n", 1));
    runner.run(&["known", "--update", "--yes"]).expect(0).says(&["1 changed"]);
    let listed = read(&runner).lines().nth(3).unwrap().matches(", ").count();
    assert_eq!(listed, 1, "{}", read(&runner));
    let document = runner.run(&["known", "--json"]).expect(0).document();
    let states = ["known", "unexpected", "unmatched", "expired"].map(|state| json!(state));
    for (number, state) in states.iter().enumerate() {
        assert_eq!(document["entries"][number]["state"], *state, "{document}");
    }
    assert_eq!(document["entries"][0]["trials"], 2);
    // A failure that is known for another outcome.
    runner.write(
        "known.toml",
        "[[failures]]\ntests = [\"a/1\"]\nreason = \"slow\"\noutcomes = [\"timeout\", \"error\"]\n",
    );
    let words = "known as timeout or error, now failed: slow (known.toml:1)";
    runner.exec(&[]).expect(1).says(&[words]);
    runner.run(&["show", "latest", "a/1"]).says(&[words]);
    runner.scenario(&scenario(&[("a", "right")]).replace("[known]\nfiles = [\"known.toml\"]", ""));
    runner.exec(&[]).expect(0);
    snapshot(&runner.run(&["known"]).expect(0));
}

#[test]
fn entry_is_fixed_if_its_passes_are_accepted() {
    let known = "[[failures]]\ntests = [\"a\"]\nreason = \"r\"\n";
    let known = format!("{known}{}flaky = true\n", known.replace("\"a\"", "\"b\""));
    let runner = runner(&known, &[("a", "right"), ("b", "right"), ("c", "right")]);
    let scenario = scenario(&[("a", "right"), ("b", "right"), ("c", "right")]);
    runner.scenario(&scenario.replacen("[known]\n", "[known]\nstrict = false\n", 1));
    runner.exec(&[]).expect(0);
    snapshot(&runner.run(&["known"]).expect(0));
    let document = runner.run(&["known", "--json"]).expect(0).document();
    let states = [0, 1].map(|entry| document["entries"][entry]["state"].clone());
    assert_eq!(states, ["fixed", "known"]);
    runner.run(&["known", "--update", "--yes"]).expect(0).says(&["1 removed"]);
    // Entries that the run has not tried are not fixed.
    runner.exec(&["--test", "c"]).expect(0);
    let document = runner.run(&["known", "--json"]).expect(0).document();
    assert_eq!(document["entries"][0]["state"], "known");
}

#[test]
fn filters_give_each_group_its_reason() {
    let known = "[[failures]]\ntests = [\"fixed\"]\nreason = \"r\"\n";
    let tests = [
        ("invalid/1", "x"),
        ("invalid/2", "x"),
        ("invalid/3", "x"),
        ("b", "x"),
        ("fixed", "right"),
    ];
    let runner = runner(known, &tests);
    runner.exec(&[]).expect(1);
    let update = |filters: &[&str], reason| {
        let filters = filters.iter().flat_map(|filter| ["-E", filter]);
        let args = ["known", "--update", "--yes", "--reason", reason].into_iter().chain(filters);
        runner.run(&args.collect::<Vec<_>>())
    };
    update(&["test(none)"], "n").expect(5);
    update(&["test(invalid/*)", "outcome(failed)"], "too lenient").expect(0);
    let new = "\n[[failures]]\ntests = [\"invalid/*\"]\nreason = \"too lenient\"\njudged = [\"";
    let list = read(&runner);
    assert!(list.starts_with(&format!("{known}{new}")) && list.lines().count() == 8, "{list}");
    runner.run(&["rescore"]).expect(1);
    snapshot(&update(&["!test(b)"], "n").expect(0));
    runner.run(&["rescore"]).expect(1);
    update(&["test(b)"], "another").expect(0);
    runner.exec(&[]).expect(0);
    let list = read(&runner);
    assert!(list.starts_with(new.trim_start()) && list.contains("reason = \"another\""), "{list}");
}

#[test]
fn fixed_entries_are_removed_alone() {
    let kept = "[[failures]]\ntests = [\"a/*\"]\nreason = \"r\"\n";
    let known = format!("[[failures]]\ntests = [\"b\"]\nreason = \"r\"\n\n{kept}");
    let new = ["c", "d", "e", "f", "g", "h"].map(|id| (id, "x"));
    let tests = [&[("a/1", "x"), ("a/2", "right"), ("b", "right")][..], &new].concat();
    let runner = runner(&known, &tests);
    runner.exec(&[]).expect(1);
    let asked = runner.run(&["known", "--update"]).expect(2);
    snapshot(&asked);
    asked.says(&["`--fixed`"]);
    let fixed = runner.run(&["known", "--update", "--fixed", "--yes"]).expect(0);
    snapshot(&fixed);
    assert!(!fixed.stderr.contains("newly"), "{}", fixed.stderr);
    assert_eq!(read(&runner), kept);
    runner.run(&["rescore"]).expect(1);
    let again = runner.run(&["known", "--update", "--fixed", "--yes"]).expect(0);
    snapshot(&again);
}

#[test]
fn entries_without_a_test_are_named() {
    let entry = |test| format!("[[failures]]\ntests = [\"{test}\"]\nreason = \"r\"\n");
    let known = [entry("gone"), entry("a"), entry("typo/*")].concat();
    let runner = runner(&known, &[("a", "x"), ("b", "right")]);
    // A test that is not selected is still matched.
    runner.exec(&["--test", "b"]).expect(0);
    let updated = runner.run(&["known", "--update", "--yes"]).expect(0);
    snapshot(&updated);

    assert_eq!(read(&runner), known);
}

#[test]
fn adaptive_repeats_that_are_not_needed_are_left_out() {
    let rule = "repeat = { min = 2, max = 20, width = 0.9 }\n";
    let tests = [test("a", "x"), test("b", "right")].map(|test| test + rule).concat();
    let runner = runner("", &[]);
    runner.scenario(&format!("{HEAD}{tests}"));
    runner.exec(&[]).expect(1);
    assert!(runner.only_run().manifest()["counts"]["not_needed"].as_u64() > Some(0));
    update(&runner);
    let known = read(&runner);
    assert!(known.contains("[\"a\"]") && !known.contains("[\"b\"]"), "{known}");
}
