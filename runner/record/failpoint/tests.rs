//! The crash matrix of this room: at every failpoint a process is killed or told of a broken disk, and whoever comes next
//! arrives at the same end.

#![expect(
    clippy::unwrap_used,
    reason = "a test that unwraps fails, as it should"
)]

use std::{
    io::Write as _,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc,
};

#[path = "../../../tests/support/power.rs"]
mod power;

use self::power::Power;
use crate::model::{Counts, Outcome, Reason, RunStatus};
use crate::record::{
    Opening, RecordError, Recorder, RunEntry, RunFilter, RunReader, Store, Verification, Written,
    failpoint,
    testing::{actor, crashed_run, end, entry, fast_directory, new_run, now},
};

const TRIALS: u64 = 5;
const ROOT: &str = "RUNNER_CRASH_ROOT";
const FAILPOINT: &str = "RUNNER_CRASH_FAILPOINT";
const TASK: &str = "RUNNER_CRASH_TASK";

/// What a process finds when it begins.
#[derive(Clone, Copy)]
enum Before {
    Nothing,
    /// A crashed run with this after its second row.
    Torn(&'static str),
    /// A crashed run whose second row lacks its newline.
    NoNewline,
    /// The same as `Torn`, and the process cancels it.
    Cancel,
}

/// What a process does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Task {
    /// Begins the run, or goes on with it.
    Work,
    Cancel,
    Sweep,
}

impl Before {
    fn task(self) -> Task {
        match self {
            Self::Cancel => Task::Cancel,
            Self::Nothing | Self::Torn(_) | Self::NoNewline => Task::Work,
        }
    }
}

impl Task {
    fn as_str(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Cancel => "cancel",
            Self::Sweep => "sweep",
        }
    }
}

/// Every failpoint, and when it is passed.
const PLACES: [(Before, &str, &[&str]); 15] = [
    (
        Before::Nothing,
        "birth",
        &[
            "directory",
            "lock",
            "content",
            "begin",
            "written",
            "renamed",
            "synced",
            "born",
        ],
    ),
    (Before::Nothing, "stage", &["begin"]),
    (Before::Nothing, "row", &["begin", "written", "synced"]),
    (Before::Nothing, "rows", &["begin", "created", "synced"]),
    (Before::Nothing, "seal", REPLACE),
    (Before::Nothing, "logs", &["begin", "written", "synced"]),
    (Before::Nothing, "logs", &["created"]),
    (Before::Nothing, "finish", REPLACE),
    (
        Before::Torn("{\"v\":2,\"se"),
        "repair",
        &["begin", "moved", "truncated", "synced"],
    ),
    (Before::Torn("\0\0\0\n\0"), "repair.aside", REPLACE),
    (
        Before::NoNewline,
        "repair",
        &["newline", "completed", "synced"],
    ),
    (Before::Torn(""), "sweep", REPLACE),
    (
        Before::Torn("x"),
        "opening",
        &["claimed", "tidied", "files"],
    ),
    (Before::Torn("x"), "opening", REPLACE),
    (Before::Cancel, "cancel", REPLACE),
];
const REPLACE: &[&str] = &["begin", "written", "renamed", "synced"];

#[test]
fn whatever_is_cut_short_anywhere_goes_on_to_the_same_end() {
    for (before, step, places) in PLACES {
        for place in places {
            for fault in ["kill", "full", "broken"] {
                // The first rows get through.
                let passes = match (step, *place) {
                    ("row", _) | ("logs", "begin" | "written" | "synced") => 3,
                    _ => 1,
                };
                let mut failpoint = format!("{step}.{place}@{passes}={fault}");
                if matches!(step, "rows" | "seal") {
                    // Each commit fills a file.
                    failpoint.push_str(",full=1");
                }
                let is_killed = fault == "kill";
                check(before, &failpoint, is_killed, false);
                if is_killed {
                    check(before, &failpoint, is_killed, true);
                }
            }
        }
    }
}

fn check(before: Before, failpoint: &str, is_killed: bool, is_power_lost: bool) {
    let directory = fast_directory();
    let root = directory.path();
    prepare(before, root);
    let power = Power::of(root);
    let armed = power.armed(failpoint);
    let acknowledged = run_child(before.task(), root, &armed, is_killed);
    if is_power_lost {
        power.lose(root);
    }

    if matches!(before, Before::Cancel) {
        let run = only_run(root).expect("it was there before");
        let store = Store::open(root).unwrap();
        let cancelled = store
            .claim(&run, now())
            .unwrap()
            .cancel(&actor(None), now())
            .unwrap();
        assert_eq!(cancelled.status, RunStatus::Cancelled, "{failpoint}");
        assert_eq!(cancelled.transitions.len(), 3, "{failpoint}");
        return;
    }
    work(root, |_| ()).unwrap_or_else(|error| panic!("{failpoint}: {error}"));
    check_end(root, &acknowledged, failpoint);
}

fn prepare(before: Before, root: &Path) {
    if matches!(before, Before::Nothing) {
        return;
    }
    let entries = (0..2).map(|ordinal| entry(ordinal, 1, Outcome::Passed));
    let index = crashed_run(root, TRIALS, entries.collect()).join("index.jsonl");
    let mut bytes = fs_err::read(&index).unwrap();
    match before {
        Before::Torn(tail) => bytes.extend_from_slice(tail.as_bytes()),
        Before::NoNewline => _ = bytes.pop(),
        Before::Nothing | Before::Cancel => {}
    }
    fs_err::write(&index, bytes).unwrap();
}

/// Runs [`child`] in a process of its own, and gives the trials whose rows it was told are on disk.
fn run_child(task: Task, root: &Path, failpoint: &str, is_killed: bool) -> Vec<u64> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "record::failpoint::tests::child", "--nocapture"])
        .env(ROOT, root)
        .env(TASK, task.as_str())
        .env(FAILPOINT, failpoint)
        .output()
        .unwrap();
    let signal = is_killed.then_some(9);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.signal(), signal, "{failpoint}: {text}");
    text.lines()
        .filter_map(|line| line.strip_prefix("acknowledged "))
        .map(|ordinal| ordinal.parse().unwrap())
        .collect()
}

/// Does nothing but what [`run_child`] asks for.
#[test]
fn child() {
    let Some(root) = std::env::var_os(ROOT).map(PathBuf::from) else {
        return;
    };
    failpoint::arm(&std::env::var(FAILPOINT).unwrap());
    let mut stdout = std::io::stdout();
    let task = std::env::var(TASK).unwrap();
    let store = Store::open(&root).unwrap();
    if task == Task::Cancel.as_str() {
        let run = only_run(&root).unwrap();
        _ = store
            .claim(&run, now())
            .unwrap()
            .cancel(&actor(None), now());
        return;
    }
    if task == Task::Sweep.as_str() {
        store.sweep(now()).unwrap();
        return;
    }
    _ = work(&root, |ordinal| {
        writeln!(stdout, "\nacknowledged {ordinal}").unwrap();
        stdout.flush().unwrap();
    });
}

#[test]
fn what_another_process_believes_is_on_disk_by_then() {
    let believers = [
        (Task::Sweep, ""),
        (Task::Cancel, ""),
        (Task::Work, "opening.synced=kill"),
        (Task::Work, "row.begin=kill"),
        (Task::Work, "finish.synced=kill"),
    ];
    for row in 1..=TRIALS {
        for (task, failpoint) in believers {
            let what = format!("row {row}, {}, {failpoint}", task.as_str());
            let directory = fast_directory();
            let root = directory.path();
            let power = Power::of(root);
            let killed = power.armed(&format!("row.written@{row}=kill"));
            let acknowledged = run_child(Task::Work, root, &killed, true);
            let is_complete = row == TRIALS;
            if is_complete && task != Task::Sweep {
                // Nothing is left that these could write.
                continue;
            }
            run_child(task, root, &power.armed(failpoint), !failpoint.is_empty());
            let believed = RunReader::open(&only_run(root).unwrap().dir).unwrap();

            power.lose(root);
            let reader = RunReader::open(&only_run(root).unwrap().dir).unwrap();
            assert_eq!(reader.manifest(), believed.manifest(), "{what}");
            let counts = reader.state().unwrap().counts();
            let told = Counts::from(believed.manifest().counts);
            assert!(counts.done() >= told.done(), "{what}: {counts:?}");
            if task != Task::Cancel {
                work(root, |_| ()).unwrap();
                check_end(root, &acknowledged, &what);
            }
        }
    }
}

fn only_run(root: &Path) -> Option<RunEntry> {
    let runs = Store::open(root).unwrap().runs(&RunFilter::default());
    let mut runs = runs.unwrap().runs;
    assert!(runs.len() <= 1);
    runs.pop()
}

/// Begins or resumes the run of this root, and goes on until its end or a failure.
fn work(root: &Path, mut acknowledged: impl FnMut(u64)) -> Result<(), RecordError> {
    let (sender, acks) = mpsc::channel::<Written>();
    let store = Store::open(root)?;
    let (recorder, mut state): (Recorder, _) = match only_run(root) {
        None => {
            let recorder =
                store.begin(new_run(TRIALS), move |written| drop(sender.send(written)))?;
            (recorder, crate::record::State::planned(TRIALS))
        }
        Some(run) => {
            let claimed = store.claim(&run, now()).map_err(|error| match error {
                crate::record::ClaimError::Record(error) => error,
                crate::record::ClaimError::Held { .. } | crate::record::ClaimError::Taken(_) => {
                    panic!("{error}")
                }
            })?;
            let history = claimed.history(crate::record::NextSession::default())?;
            if claimed.manifest().status == RunStatus::Completed {
                return Ok(());
            }
            let opening = Opening {
                now: now(),
                opened_by: "resume",
                rerun: None,
                counts: history.state.counts(),
                is_forced: false,
                options: serde_json::json!({}),
                replanned: None,
                is_judged_apart: false,
            };
            let recorder = claimed.open(opening, move |written| drop(sender.send(written)))?;
            (recorder, history.state)
        }
    };
    recorder.begin_run_stage()?;

    let mut end = end(RunStatus::Completed, TRIALS);
    while let Some(ordinal) = state.next_pending(0) {
        let mut entry = entry(ordinal, state.assign(ordinal), Outcome::Passed);
        entry.attempt.stderr = said(ordinal);
        let mark = entry.mark();
        recorder.record(vec![entry]);
        recorder.flush();
        if acks.recv().unwrap().error.is_some() {
            (end.status, end.reason) = (RunStatus::Incomplete, Some(Reason::Storage));
            end.counts = state.counts();
            break;
        }
        crate::record::accept(&mut state, mark.key);
        state.written(mark);
        acknowledged(ordinal);
    }
    recorder.finish(&end).map(drop)
}

/// What is said in the attempt of a trial.
fn said(ordinal: u64) -> String {
    format!("trial {ordinal} says so\n")
}

fn check_end(root: &Path, acknowledged: &[u64], failpoint: &str) {
    let run = only_run(root).expect("there is a run at the end");
    assert_eq!(run.status, RunStatus::Completed, "{failpoint}");
    assert_eq!(run.counts.passed, TRIALS, "{failpoint}");
    let reader = RunReader::open(&run.dir).unwrap();
    let rows: Vec<_> = reader.rows().map(Result::unwrap).collect();
    let seqs: Vec<u64> = rows.iter().map(|row| row.seq).collect();
    assert!(seqs.iter().copied().eq(1..=TRIALS), "{failpoint}: {seqs:?}");
    let mut ordinals: Vec<u64> = rows.iter().map(|row| row.ordinal).collect();
    assert!(
        ordinals.windows(2).all(|pair| pair[0] < pair[1]),
        "{failpoint}"
    );
    ordinals.retain(|ordinal| acknowledged.contains(ordinal));
    assert_eq!(ordinals, acknowledged, "{failpoint}");

    // What a process has prepared that found a run has said nothing.
    for row in rows.iter().filter(|row| row.logs.is_some()) {
        let found = reader.said(row).unwrap();
        assert_eq!(found.stderr, said(row.ordinal), "{failpoint}");
    }
    assert_eq!(
        rows.iter().filter(|row| row.logs.is_none()).count(),
        rows.iter().take_while(|row| row.logs.is_none()).count(),
    );
    assert!(rows.last().is_some_and(|row| row.logs.is_some()));
    assert!(
        Verification::of(&run.dir, |_| |_| None)
            .unwrap()
            .is_intact(),
        "{failpoint}"
    );

    let manifest = reader.manifest();
    let ends = manifest.transitions.iter().map(|change| change.to);
    let mut ends: Vec<RunStatus> = ends.collect();
    assert_eq!(ends.pop(), Some(RunStatus::Completed), "{failpoint}");
    assert_eq!(run.id.as_str(), manifest.run_id);
    let sessions = manifest.sessions.iter();
    assert!(sessions.clone().all(|session| session.closed_at.is_some()));
    assert!(sessions.map(|session| session.n).eq(1..=manifest.session()));
}
