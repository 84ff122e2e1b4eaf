//! Runs that `prune` deletes, and runs that it keeps.

use std::{
    fs, thread,
    time::{Duration, SystemTime},
};

use rustix::process::Signal;

use super::{ended, going_on, naps, short};
use crate::messages::outputs::snapshot;
use crate::support::{
    random::{Random, times},
    runner::Runner,
    truth::assert_consistent,
};

#[test]
fn prune_shows_before_it_deletes() {
    let runner = naps(1, 1);
    let runs = ended(&runner, 3);
    let old = SystemTime::now() - Duration::from_secs(25 * 3600);
    let age_store = || {
        for shelf in fs::read_dir(runner.path("results/store")).unwrap() {
            let shelf = shelf.unwrap().path();
            for entry in fs::read_dir(shelf).into_iter().flatten() {
                fs::File::open(entry.unwrap().path()).unwrap().set_modified(old).unwrap();
            }
        }
    };
    age_store();
    let stored = || {
        let shelves = fs::read_dir(runner.path("results/store")).unwrap();
        let entries = shelves.filter_map(|shelf| fs::read_dir(shelf.unwrap().path()).ok());
        entries.map(|shelf| shelf.count()).sum::<usize>()
    };
    let before = stored();
    assert!(before >= 2);
    let shown = runner.run(&["prune", "--keep-last", "1"]).expect(0);
    shown.says(&[runs[0].id(), runs[1].id()]);
    assert_eq!(runner.runs().len(), 3);
    runner.run(&["pin", runs[0].id(), "--reason", "the baseline"]).expect(0);
    runner.run(&["show", short(&runs[0])]).expect(0).says(&["the baseline"]);
    runner.run(&["prune", "--keep-last", "1", "--no-dry-run"]).expect(0);
    let left: Vec<_> = runner.runs().iter().map(|run| run.id().to_owned()).collect();
    assert_eq!(left, [runs[0].id(), runs[2].id()]);
    assert_eq!(stored(), before, "both need what is stored");
    runner.run(&["prune", runs[0].id(), "--yes"]).expect(2).says(&[
        "is pinned",
        "the baseline",
        "runner unpin",
    ]);
    runner.run(&["unpin", runs[0].id()]).expect(0);
    snapshot(&runner.run(&["unpin", runs[0].id()]).expect(0));
    let deleted =
        runner.run(&["prune", runs[0].id(), "latest", "--yes", "--json"]).expect(0).document();
    assert_eq!(deleted["runs"].as_array().unwrap().len(), 2);
    assert_eq!(deleted["contents"], before);
    assert_eq!((runner.runs().len(), stored()), (0, 0));
    assert_consistent(&runner);
}

#[test]
fn ignored_settings_are_the_only_advice() {
    let runner = Runner::hostile("[[tests]]\nid = \"a\"\ninput = { do = \"echo\" }\n");
    runner.exec(&[]).expect(0);
    let of_all = [&["prune", "--yes"][..], &["notify"], &["notify", "latest", "--again"]];
    let all = || of_all.map(|args| runner.run(args).expect(0));
    for ran in all() {
        snapshot(&ran);
    }
    // Written by the user, and not confirmed.
    fs::write(runner.path("results/runner.toml"), "[retention]\nkeep_last = 9\n").unwrap();
    for printed in all().map(|ran| ran.stderr) {
        assert!(printed.contains("runner trust"), "{printed}");
        for advice in ["no policy is set", "no notification is due", "no receiver is notified"] {
            assert!(!printed.contains(advice), "{printed}");
        }
    }
}

#[test]
fn live_runs_are_not_deleted() {
    let runner = naps(40, 400);
    let running = going_on(&runner);
    let run = runner.only_run();
    runner.run(&["prune", "--keep-last", "0", "--yes"]).expect(0);
    snapshot(&runner.run(&["prune", run.id(), "--yes"]).expect(6));
    runner.run(&["pin", run.id()]).expect(6);
    running.kill();
    runner.run(&["prune", run.id(), "--yes"]).expect(2).says(&["runner cleanup"]);
    let mut resumed = runner.started(&["resume", run.id(), "--json"]);
    resumed.wait_for_rows(1);
    runner.run(&["prune", run.id(), "--older-than", "0s", "--yes"]).expect(6);
    resumed.end_by(Signal::INT).0.expect(130);
    runner.run(&["resume", run.id(), "-j", "20"]).expect(0);
    runner.run(&["verify"]).expect(0);
    runner.run(&["prune", run.id(), "--yes"]).expect(0);
    assert!(!run.dir.exists());
}

#[test]
fn killed_prunes_leave_no_half_run() {
    let runner = naps(1, 1);
    let run = ended(&runner, 1).remove(0);
    let mut random = Random::new();
    for round in 0..times(8, 100) {
        for number in 0..40 {
            let name = format!("2026-11-20_09-18-04-015-copy-{round:04x}{number:04x}");
            let copy = runner.path("results").join(name);
            fs::create_dir(&copy).unwrap();
            for file in fs::read_dir(&run.dir).unwrap() {
                let file = file.unwrap();
                if file.path().is_file() {
                    fs::copy(file.path(), copy.join(file.file_name())).unwrap();
                }
            }
        }
        let pruning = runner.started(&["prune", "--status", "completed", "--yes"]);
        // The kill comes at a random moment.
        thread::sleep(random.up_to(Duration::from_millis(30)));
        pruning.kill();
        // Every remaining run is whole.
        for run in runner.runs() {
            assert_eq!(run.rows().len(), 1);
        }
        assert_eq!(runner.list().len(), runner.runs().len());
        if runner.runs().iter().all(|left| left.id() != run.id()) {
            break;
        }
    }
    runner.run(&["prune", "--status", "completed", "--yes"]).expect(0);
    let left = fs::read_dir(runner.path("results")).unwrap();
    let left = left.filter(|entry| entry.as_ref().unwrap().path().is_dir());
    assert_eq!(left.count(), 1, "only the store");
}

#[test]
fn new_runs_keep_their_files_from_prunes() {
    let runner = naps(1, 1);
    let old = SystemTime::now() - Duration::from_secs(25 * 3600);
    for _ in 0..times(5, 60) {
        for shelf in fs::read_dir(runner.path("results/store")).into_iter().flatten() {
            for entry in fs::read_dir(shelf.unwrap().path()).into_iter().flatten() {
                let _ = fs::File::open(entry.unwrap().path()).map(|file| file.set_modified(old));
            }
        }
        let born = runner.start(&[]);
        let prunes: Vec<_> =
            (0..3).map(|_| runner.started(&["prune", "--keep-last", "1", "--yes"])).collect();
        born.finish().expect(0);
        for prune in prunes {
            prune.finish();
        }
        runner.run(&["verify"]).expect(0);
    }
    assert_consistent(&runner);
}
