//! Runs and contents that are deleted, and those that stay.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use runner_model::{Time, digest, row::Actor, status::RunState};

use super::{PrunePolicy, Pruning};
use crate::{
    End, ResultsRoot, RunDir,
    disk::fault::now,
    tests::{begin, dead_run, folder, new_run, write_rows},
};

/// Creates a run that has ended and is newer than all others.
fn ended(root: &ResultsRoot) -> RunDir {
    let begun = now();
    while now() == begun {}
    let owned = root.create(new_run(1)).unwrap();
    write_rows(&owned, 1..=1);
    let run = owned.dir().clone();
    let fold = crate::tests::fold(&owned, 1);
    let end = End { at: now(), ..End::default() };
    owned.finish(end, &fold).unwrap();
    run
}

fn in_a_year() -> Time {
    Time::from(SystemTime::now() + Duration::from_secs(365 * 24 * 3600))
}

fn ids(pruning: &Pruning) -> Vec<&str> {
    pruning.runs.iter().map(|run| run.run.as_str()).collect()
}

fn age(path: &Path, hours: u64) {
    let then = SystemTime::now() - Duration::from_secs(hours * 3600);
    let file = fs::File::open(path).unwrap();
    file.set_modified(then).unwrap();
}

fn keep_last(number: u64) -> PrunePolicy {
    PrunePolicy { keep_last: Some(number), ..PrunePolicy::default() }
}

fn actor() -> Actor {
    Actor { user: "kim".into(), host: "here".into(), reason: Some("the baseline".into()) }
}

#[test]
fn the_oldest_runs_go_and_the_others_stay() {
    let folder = folder();
    let root = ResultsRoot::open(folder.path()).unwrap();
    let runs: Vec<_> = (0..4).map(|_| ended(&root)).collect();
    let size = runs[0].dir.size();
    assert!(size > 500);
    let by_size = PrunePolicy { max_size: Some(2 * size + size / 2), ..PrunePolicy::default() };
    let by_age = PrunePolicy { older_than: Some(Duration::from_secs(1)), ..PrunePolicy::default() };
    let by_state = |state| PrunePolicy { states: vec![state], ..PrunePolicy::default() };
    let oldest = [runs[0].id(), runs[1].id()];
    let all: Vec<_> = runs.iter().map(RunDir::id).collect();
    for (policy, expected) in [
        (keep_last(2), &oldest[..]),
        (by_size.clone(), &oldest[..]),
        (by_age, &all[..]),
        (by_state(RunState::Passed), &all[..]),
        (by_state(RunState::Failed), &[]),
        (PrunePolicy::default(), &[]),
    ] {
        let dry = root.prune(&policy, true, in_a_year()).unwrap();
        assert_eq!(ids(&dry), expected, "{policy:?}");
        assert!(dry.problems.is_empty() && dry.kept.is_empty());
    }
    // A run that stays counts against the size.
    root.claim(&runs[0]).unwrap().pin(Some(actor())).unwrap();
    let done = root.prune(&by_size, false, now()).unwrap();
    assert_eq!(ids(&done), [runs[1].id(), runs[2].id()]);
    assert!(!runs[1].path().exists() && runs[0].path().exists() && runs[3].path().exists());
    assert_eq!(root.runs().unwrap().runs.len(), 2);
}

#[test]
fn runs_that_live_are_pinned_or_foreign_stay() {
    let folder = folder();
    let (root, live) = begin(folder.path(), 1);
    let pinned = ended(&root);
    assert!(root.claim(&pinned).unwrap().pin(Some(actor())).unwrap());
    assert!(!root.claim(&pinned).unwrap().pin(Some(actor())).unwrap());
    let (_, dead) = dead_run(folder.path(), 2, 1);
    let claimed = ended(&root);
    let holds = root.claim(&claimed).unwrap();
    let foreign = folder.path().join("2026-11-20_09-18-04-015-other-0a1b2c3d");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("benchmark.json"), r#"{"format": 7}"#).unwrap();
    fs::write(folder.path().join("mine.txt"), "mine").unwrap();
    fs::create_dir_all(folder.path().join("mine/deep")).unwrap();
    age(&folder.path().join("mine"), 48);

    let policy = PrunePolicy {
        runs: [live.dir().id(), pinned.id(), dead.id(), claimed.id()].map(str::to_owned).to_vec(),
        keep_last: Some(0),
        ..PrunePolicy::default()
    };
    let done = root.prune(&policy, false, in_a_year()).unwrap();
    assert!(done.runs.is_empty(), "{done:?}");
    let why = |run: &RunDir| {
        let kept = done.kept.iter().find(|kept| kept.run == run.id()).unwrap();
        assert!(kept.is_named);
        (kept.is_held, kept.why.as_str())
    };
    assert!(why(live.dir()).0 && why(&claimed).0 && !why(&pinned).0 && !why(&dead).0);
    assert!(why(&pinned).1.contains("the baseline") && why(&dead).1.contains("runner cleanup"));
    assert!(foreign.join("benchmark.json").exists() && folder.path().join("mine/deep").exists());
    drop(holds);
    root.claim(&pinned).unwrap().pin(None).unwrap();
    let done = root.prune(&policy, false, now()).unwrap();
    assert_eq!(ids(&done).len(), 2);
}

#[test]
fn a_deletion_that_was_cut_short_is_finished() {
    let folder = folder();
    let root = ResultsRoot::open(folder.path()).unwrap();
    let runs: Vec<_> = (0..2).map(|_| ended(&root)).collect();
    let gone = ".gone-0123456789abcdef";
    fs::rename(runs[0].path(), folder.path().join(gone)).unwrap();
    assert_eq!(root.runs().unwrap().runs.len(), 1);
    // An interrupted creation. A younger one may still continue.
    for (name, hours, rows) in [
        ("2026-11-20_09-18-04-015-basic-0a1b2c3d", 2, ""),
        ("2026-11-20_09-18-04-015-basic-0a1b2c3e", 0, ""),
        // Its manifest is lost.
        ("2026-11-20_09-18-04-015-basic-0a1b2c3f", 2, "{}\n"),
    ] {
        let path = folder.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("index.jsonl"), rows).unwrap();
        age(&path, hours);
    }
    let done = root.prune(&PrunePolicy::default(), false, now()).unwrap();
    assert!(done.runs.is_empty());
    assert_eq!(done.leftovers, [gone, "2026-11-20_09-18-04-015-basic-0a1b2c3d"]);
    let left = fs::read_dir(folder.path()).unwrap();
    let left = left.filter(|entry| entry.as_ref().unwrap().path().is_dir());
    assert_eq!(left.count(), 3, "the other run, the young folder and the one with rows");
}

#[test]
fn needed_and_recently_used_contents_stay() {
    let folder = folder();
    let root = ResultsRoot::open(folder.path()).unwrap();
    let [needed, unused, used] = ["needed", "unused", "used"].map(|text| {
        let digest = root.keep_bytes(text.as_bytes()).unwrap();
        let path = folder.path().join("store").join(digest.path());
        (digest, path)
    });
    // A list of the run names an attachment.
    let attached = root.keep_bytes(b"attached").unwrap();
    let list = root.keep_bytes(format!("{attached}\n").as_bytes()).unwrap();
    let attached = [attached, list].map(|digest| folder.path().join("store").join(digest.path()));
    let mut new = new_run(1);
    new.metadata.suite = needed.0;
    new.metadata.blobs = Some(list);
    drop(root.create(new).unwrap());
    attached.iter().for_each(|path| age(path, 25));
    for (_, path) in [&needed, &unused, &used] {
        age(path, 25);
    }
    let dry = root.prune(&PrunePolicy::default(), true, now()).unwrap();
    assert_eq!((dry.contents, dry.content_bytes), (2, 10));
    assert_eq!(root.keep_bytes(b"used").unwrap(), digest(b"used"));
    let done = root.prune(&PrunePolicy::default(), false, now()).unwrap();
    assert_eq!((done.contents, done.content_bytes), (1, 6));
    assert!(needed.1.exists() && used.1.exists() && !unused.1.exists());
    assert!(attached.iter().all(|path| path.exists()));

    // A run that cannot be read may need any content.
    root.keep_bytes(b"unused").unwrap();
    age(&unused.1, 25);
    let foreign = folder.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("benchmark.json"), r#"{"format": 7}"#).unwrap();
    let manifest = fs::read_to_string(foreign.join("benchmark.json")).unwrap();
    let done = root.prune(&PrunePolicy::default(), false, now()).unwrap();
    assert_eq!(done.contents, 0, "{done:?}");
    assert!(unused.1.exists() && done.problems[0].contains("format is 7"));
    assert_eq!(fs::read_to_string(foreign.join("benchmark.json")).unwrap(), manifest);
}
