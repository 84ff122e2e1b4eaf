//! Runs that released versions have made, which every later one reads, goes on with and keeps.
//!
//! They are in `tests/formats`, a folder for each version, with how they were made.

use std::{collections::BTreeMap, path::Path};

use runner::model::Digest;
use serde_json::Value;

use crate::support::{
    rows::row_texts,
    runner::{Run, Runner},
    truth::{assert_kept, canonical, whole_lines, whole_rows},
};

/// What the runs are for, how they ended, and how many of their trials have a result. Those that nobody has swept yet
/// are shown as whoever reads them sees fit.
const RUNS: [(&str, &str, u64, u64); 17] = [
    ("passed", "completed", 2, 2),
    ("failed", "completed", 17, 17),
    ("pinned", "completed", 2, 2),
    ("interrupted", "incomplete", 2, 6),
    ("terminated", "incomplete", 2, 6),
    ("cancelled", "cancelled", 2, 6),
    ("timed-out", "incomplete", 2, 6),
    ("gave-up", "incomplete", 4, 16),
    ("failed-to-begin", "failed", 0, 1),
    ("granted", "completed", 1, 1),
    ("resumed", "completed", 6, 6),
    ("repaired", "completed", 6, 6),
    ("changed", "completed", 16, 16),
    ("chosen", "completed", 2, 2),
    ("crashed", "", 2, 6),
    ("crashed-complete", "", 2, 2),
    ("crashed-adopting", "completed", 16, 16),
];

/// A copy of what a version has made.
struct Made {
    runner: Runner,
    /// The ids of its runs, by what they are for.
    ids: BTreeMap<String, String>,
}

impl Made {
    fn by(version: &str) -> Self {
        let made = Path::new("tests/formats").join(version);
        let runner = Runner::new(&[]);
        for (from, to) in [("work", "."), ("results", "results")] {
            let from = made.join(from);
            for entry in walkdir::WalkDir::new(&from).min_depth(1) {
                let entry = entry.unwrap();
                let place = entry.path().strip_prefix(&from).unwrap();
                let to = runner.path(to).join(place);
                if entry.file_type().is_dir() {
                    fs_err::create_dir_all(to).unwrap();
                } else {
                    fs_err::create_dir_all(to.parent().unwrap()).unwrap();
                    fs_err::copy(entry.path(), to).unwrap();
                }
            }
        }
        let names = fs_err::read_to_string(made.join("names.txt")).unwrap();
        let ids = names.lines().map(|line| line.split_once(' ').unwrap());
        Self {
            runner,
            ids: ids.map(|(name, id)| (name.into(), id.into())).collect(),
        }
    }

    fn id(&self, name: &str) -> &str {
        &self.ids[name]
    }

    fn run(&self, name: &str) -> Run {
        let mut runs = self.runner.runs().into_iter();
        runs.find(|run| run.id() == self.id(name)).unwrap()
    }

    /// What `list` says of a run.
    #[track_caller]
    fn listed(&self, name: &str) -> Value {
        let mut listed = self.runner.list(&[]).into_iter();
        listed.find(|shown| shown["run"] == self.id(name)).unwrap()
    }

    /// Every file of the results root but the projection, with what its bytes hash to.
    fn everything(&self) -> BTreeMap<String, String> {
        let files = walkdir::WalkDir::new(self.runner.path("results"));
        let files = files.into_iter().map(Result::unwrap);
        let files = files.filter(|entry| entry.file_type().is_file());
        files
            .map(|file| file.into_path())
            .filter(|path| !path.to_str().unwrap().contains("/runner.db"))
            .map(|path| {
                let digest = Digest::of(&fs_err::read(&path).unwrap());
                (path.to_str().unwrap().to_owned(), digest.to_string())
            })
            .collect()
    }

    /// Goes on with a run to its end, which keeps all of its rows and breaks nothing.
    #[track_caller]
    fn goes_on(&self, name: &str, args: &[&str], code: i32) {
        let run = self.run(name);
        let rows = whole_rows(&run);
        let before = row_texts(run.read("index.jsonl").as_bytes());

        let args = [&["resume", "--from", self.id(name), "--json"], args].concat();
        let ran = self.runner.run(&args).expect(code);
        self.runner.assert_valid("events", &ran.events());
        assert_kept(&run, &before);
        assert_eq!(run.manifest()["status"], "completed", "{name}");
        let planned = self.listed(name)["counts"]["planned"].as_u64().unwrap();
        assert_eq!(canonical(&run).len() as u64, planned, "{name}");
        assert!(whole_rows(&run).len() >= rows.len());
        self.runner.run(&["verify", self.id(name)]).expect(0);
        self.runner.assert_valid("benchmark", &[run.manifest()]);
        self.runner.assert_valid("row", &run.lines());
    }
}

/// The versions whose runs are there.
fn versions() -> Vec<String> {
    let folders = fs_err::read_dir("tests/formats").unwrap();
    let names = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let versions: Vec<_> = names.collect();
    assert!(versions.contains(&"0.1.0".to_owned()));
    versions
}

#[test]
fn runs_of_released_versions_are_read_and_reading_changes_nothing() {
    for version in versions() {
        let made = Made::by(&version);
        let before = made.everything();
        assert_eq!(made.runner.list(&[]).len(), RUNS.len());
        for (name, status, done, planned) in RUNS {
            let id = made.id(name);
            let shown = made.listed(name);
            let counts = ["passed", "failed", "error", "timeout", "skipped"];
            let counts = counts.map(|count| shown["counts"][count].as_u64().unwrap());
            assert_eq!(shown["counts"]["planned"], planned, "{name}: {shown}");
            assert_eq!(counts.iter().sum::<u64>(), done, "{name}: {shown}");
            if !status.is_empty() {
                assert_eq!(shown["status"], status, "{name}: {shown}");
            }
            for args in [&["show"][..], &["show", "--history"], &["logs"]] {
                made.runner.run(&[args, &[id]].concat()).expect(0);
            }
            let run = made.run(name);
            let told = made.runner.run(&["logs", id, "--json"]).expect(0);
            let rows: Vec<Value> = told.events();
            let rows = rows.iter().filter(|event| event["event"] == "row");
            assert_eq!(rows.count(), whole_rows(&run).len(), "{name}");
            let show = made.runner.run(&["show", id, "--json"]).expect(0);
            serde_json::from_str::<Value>(&show.stdout).unwrap();
            made.runner.run(&["verify", id]).expect(0);
            made.runner.assert_valid("benchmark", &[run.manifest()]);
            made.runner.assert_valid("row", &whole_lines(&run));
        }
        assert_eq!(made.everything(), before);
    }
}

#[test]
fn runs_of_released_versions_are_compared_and_told_of_and_that_changes_nothing() {
    for version in versions() {
        let made = Made::by(&version);
        let before = made.everything();
        let document = |args: &[&str]| made.runner.run(args).expect(0).document();
        let (interrupted, resumed) = (made.id("interrupted"), made.id("resumed"));
        let compared = document(&["compare", interrupted, resumed, "--json"]);
        made.runner
            .assert_valid("compare", std::slice::from_ref(&compared));
        assert_eq!(compared["warnings"][0]["kind"], "partial");
        assert_eq!(compared["counts"]["still_passing"], 1);

        let told = document(&["history", "slow", "--last", "100", "--json"]);
        made.runner
            .assert_valid("history", std::slice::from_ref(&told));
        let runs = told["runs"].as_array().unwrap();
        let of = |name: &str| runs.iter().find(|run| run["run"] == made.id(name)).unwrap();
        assert_eq!(
            [&of("interrupted")["judged"], &of("resumed")["judged"]],
            [2, 6]
        );
        assert!(made.everything() == before, "something was written");
    }
}

#[test]
fn runs_of_released_versions_go_on_to_their_end() {
    for version in versions() {
        let made = Made::by(&version);
        for name in ["interrupted", "terminated", "timed-out", "crashed"] {
            made.goes_on(name, &["-j", "4"], 0);
        }
        made.goes_on("crashed-complete", &[], 0);
        let row = |name: &str, test: &str| made.run(name).row(test);
        made.goes_on("gave-up", &["-j", "2", "--fail-fast=100"], 1);
        // What would be refused today was stored, and runs as it did then.
        for name in ["gave-up", "failed"] {
            let error = &row(name, "say/lacks-a-text")["error"];
            assert_eq!(error["class"], "invalid-input");
            assert_eq!(error["message"], "there is no `input.text`");
        }
        made.goes_on("resumed", &["--rerun", "naps@say#1"], 0);
        assert_eq!(whole_rows(&made.run("resumed")).len(), 8 + 1);
        made.goes_on("failed", &["--rerun", "failed"], 1);
        let kinds = fs_err::read_to_string(made.runner.path("kinds.toml")).unwrap();
        let now = kinds.replace("{ do = \"print\" }", "{ do = \"print\", text = \"\" }");
        made.runner.write("changing.toml", now);
        made.goes_on("crashed-adopting", &["--accept-changes"], 1);

        let cancelled = ["resume", "--from", made.id("cancelled")];
        made.runner.run(&cancelled).expect(2);
        made.goes_on("cancelled", &["--force", "-j", "4"], 0);

        let odd = ["resume", "--from", made.id("failed-to-begin")];
        made.runner.run(&odd).expect(3);
        fs_err::copy(made.runner.path("say.wasm"), made.runner.path("odd.wasm")).unwrap();
        made.goes_on("failed-to-begin", &[], 0);
        // Another session of a run in which there is nothing to do leaves it as it is.
        let said =
            |name: &str| ["benchmark.json", "index.jsonl"].map(|file| made.run(name).read(file));
        let before = ["changed", "passed"].map(said);
        made.goes_on("changed", &[], 1);
        made.goes_on("passed", &[], 0);
        assert_eq!(["changed", "passed"].map(said), before);
        let into = ["exec", "passes.toml", "--into", "results/chosen"];
        made.runner.run(&into).expect(0);
        made.runner.run(&["exec", "passes.toml"]).expect(0);
    }
}

#[test]
fn runs_of_released_versions_are_kept_in_order() {
    for version in versions() {
        let made = Made::by(&version);
        let run = |args: &[&str]| made.runner.run(args).expect(0);
        run(&["cleanup", "--no-dry-run"]);
        assert_eq!(made.listed("crashed")["status"], "incomplete");
        assert_eq!(made.listed("crashed-complete")["status"], "completed");
        run(&["cancel", made.id("interrupted")]);
        run(&["cancel", made.id("crashed")]);
        assert_eq!(made.listed("crashed")["status"], "cancelled");
        run(&["stop", made.id("terminated")]);
        run(&["pin", made.id("failed"), "--reason", "kept"]);

        let before = made.runner.list(&[]);
        run(&["reindex"]);
        assert_eq!(made.runner.list(&[]), before);
        fs_err::remove_file(made.runner.path("results/runner.db")).unwrap();
        assert_eq!(made.runner.list(&[]), before);

        run(&["prune", "--keep-last", "1"]);
        assert_eq!(made.runner.list(&[]), before);
        run(&["prune", "--keep-last", "1", "--no-dry-run"]);
        let kept = made.runner.runs();
        let is_kept = |name: &str| kept.iter().any(|run| run.id() == made.id(name));
        assert!(
            is_kept("pinned") && is_kept("failed"),
            "pinned runs are gone"
        );
        assert!(!is_kept("passed"));
        for run in &kept {
            made.runner.run(&["verify", run.id()]).expect(0);
        }
        // What whoever died was about to adopt is not lost with what nobody needs.
        assert!(is_kept("crashed-adopting"));
        made.goes_on("crashed-adopting", &["--rerun", "failed"], 1);
        made.goes_on("failed", &["--rerun", "failed"], 1);
        run(&["unpin", made.id("pinned")]);
        run(&["prune", "--older-than", "0d", "--no-dry-run"]);
        assert_eq!(made.runner.runs().len(), 1);
        run(&["verify", made.id("failed")]);
    }
}

#[test]
fn runs_of_released_versions_are_judged_again_and_come_to_the_same() {
    for version in versions() {
        let made = Made::by(&version);
        // What would be refused today was stored, and has no output.
        let kinds = fs_err::read_to_string(made.runner.path("kinds.toml")).unwrap();
        let now = kinds.replace("{ do = \"print\" }", "{ do = \"print\", text = \"\" }");
        made.runner.write("kinds.toml", now);
        for (name, code) in [
            ("passed", 0),
            ("resumed", 0),
            ("failed", 1),
            ("interrupted", 130),
            ("crashed-complete", 0),
        ] {
            let run = made.run(name);
            let before = row_texts(run.read("index.jsonl").as_bytes());
            let rescore = ["rescore", made.id(name), "--json"];
            let done = made.runner.run(&rescore).expect(code).document();
            assert_eq!(done["before"], done["after"], "{name}: {done:#}");
            // The expectations' digests were of another recipe, so that all of them look new.
            let same = done["rescored"]["same"].as_u64().unwrap();
            let kept = done["rescored"]["kept"].as_u64().unwrap();
            assert!(same > 0, "{name}: {done:#}");
            assert_kept(&run, &before);
            made.runner.assert_valid("row", &run.lines());
            made.runner.assert_valid("benchmark", &[run.manifest()]);
            made.runner.run(&["verify", made.id(name)]).expect(0);
            let again = made.runner.run(&rescore).expect(code).document();
            assert_eq!(again["session"], Value::Null, "{name}: {again:#}");
            assert_eq!(again["rescored"]["unchanged"], same, "{name}: {again:#}");
            assert_eq!(again["rescored"]["kept"], kept, "{name}: {again:#}");
        }
    }
}
