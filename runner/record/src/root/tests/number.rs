//! The order of recording.

use std::time::{Duration, Instant};
use std::{fs, thread};

use runner_model::Time;
use serde_json::{Value, json};

use super::PATIENCE;
use crate::tests::{folder, new_run};
use crate::{Manifest, ResultsRoot, clock_caution};

/// Creates a run of the scenario `basic`. Returns its manifest.
fn create(root: &ResultsRoot) -> Manifest {
    root.create(new_run(1)).unwrap().manifest().clone()
}

fn number(root: &ResultsRoot) -> u64 {
    create(root).number.unwrap()
}

/// Changes keys of a run's manifest on disk, as a copy from elsewhere or a run of an earlier version has them.
fn edit(root: &ResultsRoot, run: &Manifest, edit: impl Fn(&mut Value)) {
    let path = root.path().join(&run.id).join("benchmark.json");
    let mut manifest = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut manifest);
    fs::write(&path, manifest.to_string()).unwrap();
}

/// Sets the start of a run by its clock.
fn start_at(root: &ResultsRoot, run: &Manifest, at: Time) {
    edit(root, run, |manifest| {
        manifest["started_at"] = json!(at);
        manifest["sessions"][0]["started_at"] = json!(at);
    });
}

fn ids(root: &ResultsRoot) -> Vec<String> {
    root.runs().unwrap().runs.into_iter().map(|run| run.id).collect()
}

#[test]
fn newest_run_is_the_last_recorded_one() {
    let folder = folder();
    let root = ResultsRoot::open(folder.path()).unwrap();
    let old = [create(&root), create(&root)];
    for (run, hours) in old.iter().zip([2, 1]) {
        edit(&root, run, |manifest| drop(manifest.as_object_mut().unwrap().remove("number")));
        start_at(&root, run, crate::now() + Duration::from_secs(hours * 3600));
    }
    let ahead = create(&root);
    start_at(&root, &ahead, crate::now() + Duration::from_secs(5 * 3600));
    let runs = [create(&root), create(&root)];
    // Runs without a number come first, by their starts.
    let expected = [&runs[1], &runs[0], &ahead, &old[0], &old[1]].map(|run| run.id.clone());
    for _ in 0..2 {
        assert_eq!(ids(&root), expected);
        let latest = |name: &str| root.find(name).unwrap().id().to_owned();
        for (back, id) in expected.iter().enumerate() {
            assert_eq!(latest(&format!("latest~{back}")), *id);
            assert_eq!(latest(&format!("latest~{back}:basic")), *id);
        }
        let earlier = |run| root.earlier_runs(run).unwrap().map(|(_, run)| run.id);
        assert_eq!(earlier(&runs[1]).collect::<Vec<_>>(), expected[1..]);
        assert_eq!(root.newest_for_use().unwrap().0.id(), runs[1].id);
        let caution = clock_caution(&root.runs().unwrap().runs, crate::now()).unwrap();
        assert!(caution.contains(&ahead.id), "{caution}");
        fs::remove_file(folder.path().join("runner.db")).unwrap();
    }
}

#[test]
fn number_follows_the_largest_of_the_root() {
    let folder = folder();
    let root = ResultsRoot::open(&folder.path().join("here")).unwrap();
    let other = ResultsRoot::open(&folder.path().join("there")).unwrap();
    let there: Vec<_> = (0..5).map(|_| create(&other)).collect();
    assert_eq!(there.iter().map(|run| run.number.unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let here = create(&root);
    // A run that was moved in from another root.
    fs::rename(other.path().join(&there[4].id), root.path().join(&there[4].id)).unwrap();
    assert_eq!(number(&root), 6);
    // A run under a name that another run had.
    let mut named = new_run(1);
    named.id = "ci".into();
    root.create(named).unwrap();
    fs::remove_dir_all(root.path().join("ci")).unwrap();
    fs::rename(other.path().join(&there[3].id), root.path().join("ci")).unwrap();
    fs::rename(other.path().join(&there[2].id), root.path().join(&there[2].id)).unwrap();
    edit(&root, &there[2], |manifest| manifest["number"] = json!(50));
    let newest = create(&root);
    assert_eq!(newest.number, Some(51));
    fs::remove_dir_all(root.path().join(&newest.id)).unwrap();
    fs::remove_dir_all(root.path().join(&there[2].id)).unwrap();
    // Deleted runs may be restored.
    assert!(number(&root) > 50);
    for lost in [".number", "runner.db"] {
        fs::remove_file(root.path().join(lost)).unwrap();
        let largest = root.runs().unwrap().runs.iter().filter_map(|run| run.number).max();
        assert_eq!(Some(number(&root)), largest.map(|number| number + 1), "{lost}");
    }
    fs::write(root.path().join(".number"), "99999999999999999999 x\n").unwrap();
    let before = ids(&root);
    let run = create(&root);
    assert_eq!(ids(&root), [&[run.id], &before[..]].concat());
    assert_eq!(before.last(), Some(&here.id));
}

#[test]
fn equal_numbers_go_by_start_and_id() {
    let folder = folder();
    let root = ResultsRoot::open(folder.path()).unwrap();
    let mut runs: Vec<_> = (0..4).map(|_| create(&root)).collect();
    let at = crate::now();
    for (run, later) in runs.iter().zip([1, 3, 3, 2]) {
        edit(&root, run, |manifest| manifest["number"] = json!(9));
        start_at(&root, run, at + Duration::from_millis(later));
    }
    if runs[1].id > runs[2].id {
        runs.swap(1, 2);
    }
    let expected = [2, 1, 3, 0].map(|place: usize| runs[place].id.clone());
    assert_eq!(ids(&root), expected);
}

#[test]
fn runs_created_at_once_have_different_numbers() {
    let numbers = || {
        let folder = folder();
        let create = || {
            // Each with an own handle, as processes have.
            let root = ResultsRoot::open(folder.path()).unwrap();
            (0..5).map(|_| number(&root)).collect::<Vec<_>>()
        };
        let mut numbers: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(create)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        numbers.sort_unstable();
        numbers
    };
    // No run waits longer for its number, so a machine that stands still that long can make equal ones.
    let are_different = (0..10).any(|_| {
        let began = Instant::now();
        let numbers = numbers();
        let are_different = numbers.iter().copied().eq(1..=20);
        assert!(are_different || began.elapsed() > PATIENCE, "{numbers:?}");
        are_different
    });
    assert!(are_different);
}

#[test]
fn number_of_a_run_reads_no_other_manifest() {
    let folder = folder();
    let root = ResultsRoot::open(folder.path()).unwrap();
    let run = create(&root);
    // A changed manifest that is not read does not count.
    edit(&root, &run, |manifest| manifest["number"] = json!(70));
    assert_eq!(number(&root), 2);
}
