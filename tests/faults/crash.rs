//! A fault at every place where something is written: SIGKILL, a full disk, a disk that is gone.
//!
//! Whatever was there when it happened, the run goes on from what is on disk and ends like one that nothing has disturbed.

use std::{
    collections::{BTreeMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Mutex,
};

use runner::record::failpoint::PLACES;
use serde_json::Value;

use crate::support::{
    rows::row_texts,
    runner::{Run, Runner},
    truth::{
        acknowledged, assert_consistent, assert_kept, assert_listed_truly, assert_same_end,
        assert_whole, every_kind, go_on_until_complete, undisturbed,
    },
};

/// What leads through some of the places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A run from its birth to its end.
    Exec,
    /// The birth of a run in a directory of the user's choice, who asks for it again when it was none.
    Into,
    /// The resume of a run whose process has died in the middle, and whose last row is torn.
    Resume,
    /// The same, where the last row lacks nothing but its newline.
    ResumeWithoutNewline,
    /// Running the failed trials of a run again.
    Rerun,
    /// The resume of a run that could not begin.
    Reborn,
    /// The same, where a process has died while it replaced the run's copy of the scenario.
    HalfReborn,
    /// Dropping a run whose process has died in the middle.
    Cancel,
    /// Pinning a run that is complete.
    Pin,
}

/// Every way that leads through a place of this step; a step that is not here fails the test that goes through them all.
fn ways(place: &str) -> &'static [Way] {
    let step = place.split('.').next().unwrap();
    match (step, place) {
        ("birth", _) => &[Way::Exec, Way::Into],
        ("content", _) => &[Way::Exec, Way::Reborn],
        ("stage", _) => &[Way::Exec, Way::Resume],
        ("row", _) => &[Way::Exec, Way::Resume, Way::Rerun],
        ("rows" | "seal", _) => &[Way::Exec, Way::Resume],
        ("finish", _) => &[Way::Exec, Way::Resume, Way::Rerun],
        ("artifact", _) => &[Way::Exec],
        ("logs", _) => &[Way::Exec],
        ("repair", "repair.newline" | "repair.completed") => &[Way::ResumeWithoutNewline],
        (_, place) if place.starts_with("repair.scenario.") => &[Way::HalfReborn],
        ("repair", _) => &[Way::Resume],
        ("sweep", _) => &[Way::Resume],
        (_, place) if place.starts_with("opening.scenario.") => &[Way::Reborn],
        ("opening", _) => &[Way::Resume, Way::Rerun, Way::Reborn],
        ("cancel", _) => &[Way::Cancel],
        ("pin", _) => &[Way::Pin],
        // Of no run: `tests/runs/queue.rs` leads there.
        ("queue", _) => &[],
        // To a run of others: `tests/runs/shards.rs` leads there.
        ("merge", _) => &[],
        _ => panic!("no test leads through `{place}`"),
    }
}

/// At which passages of a place something happens.
fn passages(place: &str, way: Way, fault: &str) -> &'static [u32] {
    match (place.split('.').next().unwrap(), way) {
        // Rows need no seal, and nothing ends for want of one.
        ("seal", _) if fault != "kill" => &[],
        // What happens after the first of these is what would happen after the second.
        _ if fault != "kill" => &[1],
        // Once for all entries that a run needs.
        _ if place == "content.synced" => &[1],
        ("row" | "artifact" | "content", Way::Exec) | ("row", Way::Resume) => &[1, 2],
        _ => &[1],
    }
}

impl Way {
    /// A folder with all that is there before the fault.
    fn prepare(self) -> Runner {
        let runner = every_kind();
        match self {
            Self::Exec | Self::Into => {}
            Self::Resume => {
                die_in_the_middle(&runner);
                let run = runner.only_run();
                let mut index = fs_err::read(run.dir.join("index.jsonl")).unwrap();
                index.extend_from_slice(b"{\"v\":2,\"seq\":\xe2\x9c");
                run.write("index.jsonl", index);
            }
            Self::ResumeWithoutNewline => {
                die_in_the_middle(&runner);
                let run = runner.only_run();
                let index = run.read("index.jsonl");
                run.write("index.jsonl", index.trim_end());
            }
            Self::Rerun | Self::Pin => drop(runner.exec(&["-j", "2"]).expect(1)),
            Self::Cancel => die_in_the_middle(&runner),
            Self::Reborn => {
                let good = fs_err::read_to_string(runner.path("scenario.toml")).unwrap();
                runner.wat(
                    "odd.wasm",
                    r#"(module (import "odd" "odd" (func)) (func (export "_start")))"#,
                );
                runner.scenario(&good.replace("hostile.wasm", "odd.wasm"));
                runner.exec(&["-j", "2"]).expect(3);
                runner.scenario(&good);
            }
            Self::HalfReborn => {
                let runner = Self::Reborn.prepare();
                let place = "opening.scenario.synced=kill";
                runner.start_failing(self.args(), place).finish_killed();
                return runner;
            }
        }
        runner
    }

    fn args(self) -> &'static [&'static str] {
        match self {
            Self::Exec => &["exec", "scenario.toml", "--json", "-j", "2"],
            Self::Into => &INTO,
            Self::Resume | Self::ResumeWithoutNewline | Self::Reborn | Self::HalfReborn => {
                &["resume", "--from", "latest", "--json"]
            }
            Self::Cancel => &["cancel", "latest", "--json"],
            Self::Pin => &["pin", "latest"],
            Self::Rerun => &["resume", "--from", "latest", "--json", "--rerun", "failed"],
        }
    }

    #[track_caller]
    fn assert_end(self, runner: &Runner) {
        if self == Self::Rerun {
            // Those that were run again have their old row beside the new one.
            assert_consistent(runner);
        } else {
            assert_whole(runner);
        }
    }
}

const INTO: [&str; 7] = [
    "exec",
    "scenario.toml",
    "--json",
    "-j",
    "2",
    "--into",
    "results/mine",
];

/// Kills a run right after rows were written, before anybody was told of the last ones.
fn die_in_the_middle(runner: &Runner) {
    let args = ["exec", "scenario.toml", "-j", "2"];
    runner
        .start_failing(&args, "row.written=kill")
        .finish_killed();
}

/// Copies what was prepared once into a folder of its own.
fn copy_of(prepared: &Runner) -> Runner {
    let runner = every_kind();
    let from = prepared.path("results");
    if !from.exists() {
        return runner;
    }
    for entry in walkdir::WalkDir::new(&from).min_depth(1) {
        let entry = entry.unwrap();
        let to = runner
            .path("results")
            .join(entry.path().strip_prefix(&from).unwrap());
        if entry.file_type().is_dir() {
            fs_err::create_dir_all(to).unwrap();
        } else {
            copy(entry.path(), &to);
        }
    }
    runner
}

fn copy(from: &Path, to: &Path) {
    fs_err::create_dir_all(to.parent().unwrap()).unwrap();
    fs_err::copy(from, to).unwrap();
}

/// Puts the fault into each passage of each place on each way.
fn everywhere(fault: &str, check: impl Fn(&Case<'_>) + Sync) {
    let expected = undisturbed();
    let failed = Mutex::new(Vec::new());
    for way in [
        Way::Exec,
        Way::Into,
        Way::Resume,
        Way::ResumeWithoutNewline,
        Way::Rerun,
        Way::Reborn,
        Way::HalfReborn,
        Way::Cancel,
        Way::Pin,
    ] {
        let prepared = way.prepare();
        let before = prepared.runs().iter().flat_map(known_rows).collect();
        let cases: Vec<_> = PLACES
            .iter()
            .filter(|place| ways(place).contains(&way))
            .flat_map(|place| {
                passages(place, way, fault)
                    .iter()
                    .map(move |n| (*place, *n))
            })
            .collect();
        let cases = Mutex::new(cases.into_iter());
        let next = || cases.lock().unwrap().next();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some((place, n)) = next() {
                        let case = Case {
                            way,
                            failpoint: armed(place, n, fault),
                            runner: copy_of(&prepared),
                            before: &before,
                            expected: &expected,
                        };
                        // One case that fails does not hide the others.
                        if catch_unwind(AssertUnwindSafe(|| check(&case))).is_err() {
                            failed.lock().unwrap().push((case.way, case.failpoint));
                        }
                    }
                });
            }
        });
    }
    assert_eq!(failed.into_inner().unwrap(), [], "see above");
}

/// Text that arms a process with a fault in the nth passage of a place.
fn armed(place: &str, n: u32, fault: &str) -> String {
    let small = match place.split('.').next() {
        Some("rows" | "seal") => ",full=500",
        _ => "",
    };
    format!("{place}@{n}={fault}{small}")
}

/// A fault on a way.
struct Case<'a> {
    way: Way,
    failpoint: String,
    runner: Runner,
    before: &'a HashSet<String>,
    expected: &'a BTreeMap<String, Value>,
}

impl Case<'_> {
    /// Fails unless the run, gone on with, ends as it would have without the fault, with all rows that were told of.
    fn assert_recovers(&self, told: &str) {
        assert_listed_truly(&self.runner);
        let mut told = acknowledged(told);
        told.extend(self.before.iter().cloned());
        for run in self.runner.runs() {
            assert_kept(&run, &told);
        }
        if self.way == Way::Into && self.runner.runs().is_empty() {
            self.runner.run(&INTO).expect(1);
        }
        let later = go_on_until_complete(&self.runner);
        assert_listed_truly(&self.runner);
        let run = self.runner.only_run();
        assert_kept(&run, &told);
        assert_kept(&run, &later);
        assert_same_end(&run, self.expected);
        self.way.assert_end(&self.runner);
        if self.way == Way::Rerun {
            self.assert_ran_again(&run);
        }
    }

    /// Fails if a session that was asked to run trials again has forgotten that it was.
    fn assert_ran_again(&self, run: &Run) {
        let manifest = run.manifest();
        let sessions = manifest["sessions"].as_array().unwrap();
        if sessions.iter().any(|session| session["rerun"] == "failed") {
            let rows = crate::support::truth::whole_rows(run);
            let again = rows.iter().filter(|row| {
                row["final"] == true && row["outcome"] != "passed" && row["session"] != 1
            });
            assert_eq!(again.count(), 3);
        }
    }
}

/// The rows of a run before the fault, all of which are known to be on disk.
fn known_rows(run: &Run) -> HashSet<String> {
    row_texts(&run.index())
}

#[test]
fn whoever_is_killed_at_any_place_goes_on_to_the_same_end() {
    everywhere("kill", |case| {
        let dying = case.runner.start_failing(case.way.args(), &case.failpoint);
        let told = dying.finish_killed().stdout;
        case.assert_recovers(&told);
    });
}

#[test]
fn a_full_disk_at_any_place_ends_the_session_honestly_and_it_goes_on_to_the_same_end() {
    everywhere("full", |case| {
        let ran = case.runner.start_failing(case.way.args(), &case.failpoint);
        let told = ran.finish().expect(7).stdout;
        case.assert_recovers(&told);
    });
}

#[test]
fn a_disk_that_is_gone_at_any_place_ends_the_session_honestly_and_it_goes_on_to_the_same_end() {
    everywhere("broken", |case| {
        let ran = case.runner.start_failing(case.way.args(), &case.failpoint);
        let told = ran.finish().expect(7).stdout;
        case.assert_recovers(&told);
    });
}

#[test]
fn a_way_leads_through_every_place() {
    let is_of_runs = |place: &&&str| !place.starts_with("queue.") && !place.starts_with("merge.");
    for place in PLACES.iter().filter(is_of_runs) {
        assert!(!ways(place).is_empty(), "`{place}` is never reached");
    }
}
