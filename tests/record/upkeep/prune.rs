//! `prune`, `pin` and `unpin`: what goes, what stays, and what is left of it.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::{crash, document, finished, hold, recorded, stored};
use crate::support::{
    files::contents,
    runner::{CommandExt as _, Run, Runner},
    wait::wait_until,
};

/// Fails unless the run directories are these.
#[track_caller]
fn assert_left(runner: &Runner, runs: &[Run]) {
    let left: Vec<_> = runs.iter().map(Run::id).collect();
    assert_eq!(runner.ids(), left);
}

/// Makes everything in the content store look as if nobody had used it for two days.
fn age(runner: &Runner) {
    for path in stored(runner) {
        let file = fs_err::File::open(path).unwrap();
        let two_days_ago = SystemTime::now() - Duration::from_secs(48 * 3600);
        file.set_modified(two_days_ago).unwrap();
    }
}

#[test]
fn a_pinned_run_is_marked_and_stays() {
    let runner = finished(2);
    let run = &runner.runs()[0];
    let pin = runner.run(&["pin", run.id(), "--reason", "release 1"]);
    assert_eq!(pin.expect(0).stdout, "");
    runner.run(&["pin", run.id()]).expect(0);
    assert_eq!(run.manifest()["pinned"]["reason"], "release 1");

    let list = runner.run(&["list"]).stdout;
    let marked: Vec<_> = list
        .lines()
        .filter(|line| line.ends_with(" pinned"))
        .collect();
    assert_eq!(marked.len(), 1);
    assert!(marked[0].contains(run.id()), "{list}");
    let show = runner.run(&["show", run.id()]).stdout;
    assert!(show.contains("UTC: release 1"), "{show}");
    let document = document(&runner, &["list"]);
    assert_eq!(document["runs"][0]["pinned"], Value::Null);
    assert_eq!(document["runs"][1]["pinned"]["reason"], "release 1");

    let prune = ["prune", "--keep-last", "0", "--no-dry-run"];
    let pruned = runner.run(&prune);
    assert!(pruned.stdout.contains("stays: it is pinned"), "{pruned:?}");
    assert_left(&runner, std::slice::from_ref(run));
    runner.run(&["unpin", "latest"]).expect(0);
    runner.run(&["unpin", "latest"]).expect(0);
    runner.run(&prune).expect(0);
    assert!(runner.runs().is_empty());
}

#[test]
fn a_run_that_somebody_holds_is_not_pinned() {
    let runner = finished(1);
    let run = &runner.runs()[0];
    let before = contents(&run.dir);
    let lock = hold(&run.dir.join("lock"));
    let pin = runner.run(&["pin", "latest"]).expect(6);
    assert!(pin.stderr.contains("is being worked on"), "{pin:?}");
    drop(lock);
    assert_eq!(contents(&run.dir), before);
}

#[test]
fn pruning_shows_first_and_deletes_when_told() {
    let runner = finished(3);
    let runs = runner.runs();
    age(&runner);
    let before = recorded(&runner);

    let dry = runner.run(&["prune", "--keep-last", "1"]).expect(0);
    assert!(dry.stdout.contains("would delete 2 runs ("), "{dry:?}");
    assert!(dry.stderr.contains("`--no-dry-run` deletes"), "{dry:?}");
    assert_eq!(recorded(&runner), before);

    let real = document(&runner, &["prune", "--keep-last", "1", "--no-dry-run"]);
    assert_eq!(real["is_dry_run"], false);
    assert_eq!(real["runs"][0]["run"], runs[1].id());
    assert_eq!(real["runs"][1]["because_of"][0], "keep-last");
    assert_eq!(real["left"]["count"], 1);
    assert_left(&runner, &runs[2..]);
    assert_eq!(
        document(&runner, &["list"])["runs"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    runner.run(&["verify"]).expect(0);

    // What nobody needs any more goes with the last run, and a new run brings it back.
    let real = document(&runner, &["prune", "--older-than", "0s", "--no-dry-run"]);
    assert_eq!(real["stored_files"]["count"], 3);
    assert!(stored(&runner).is_empty());
    runner.run(&["exec", "--quiet", "scenario.toml"]).expect(0);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn runs_are_pruned_by_name_and_by_status() {
    let runner = finished(3);
    let runs = runner.runs();
    let cancelled = runs[1].id().to_owned();
    crash(&runs[1]);
    runner.run(&["cancel", &cancelled]).expect(0);

    let dry = runner.run(&["prune", "--status", "cancelled,failed"]);
    assert!(dry.stdout.contains("would delete 1 run ("), "{dry:?}");
    assert!(dry.stdout.contains(&cancelled), "{dry:?}");
    let none = document(
        &runner,
        &["prune", "--status", "cancelled", "--older-than", "1d"],
    );
    assert_eq!(none["runs"].as_array().unwrap().len(), 0);

    runner.run(&["pin", runs[0].id()]).expect(0);
    let pinned = runner
        .run(&["prune", "--no-dry-run", runs[0].id()])
        .expect(2);
    assert!(pinned.stdout.contains("stays: it is pinned"), "{pinned:?}");
    let lock = hold(&runs[2].dir.join("lock"));
    runner
        .run(&["prune", "--no-dry-run", runs[2].id()])
        .expect(6);
    drop(lock);
    assert_left(&runner, &runs);

    let real = document(
        &runner,
        &["prune", "--no-dry-run", runs[2].id(), &cancelled],
    );
    assert_eq!(real["runs"].as_array().unwrap().len(), 2);
    assert_eq!(real["runs"][0]["because_of"][0], "named");
    assert_left(&runner, &runs[..1]);

    runner.run(&["prune", "2031"]).expect(2);
    runner
        .run(&["prune", "latest", "--keep-last", "1"])
        .expect(2);
}

#[test]
fn without_a_policy_no_run_goes() {
    let runner = finished(1);
    age(&runner);
    let real = document(&runner, &["prune", "--no-dry-run"]);
    assert_eq!(real["runs"].as_array().unwrap().len(), 0);
    runner.run(&["verify"]).expect(0);
    for args in [
        ["--older-than", "30d"],
        ["--max-size", "1GiB"],
        ["--keep-last", "1"],
    ] {
        let real = document(
            &runner,
            &[&["prune", "--no-dry-run"], args.as_slice()].concat(),
        );
        assert_eq!(real["runs"].as_array().unwrap().len(), 0, "{args:?}");
    }
    for args in [
        ["--older-than", "soon"],
        ["--max-size", "big"],
        ["--keep-last", "-1"],
    ] {
        runner
            .run(&[&["prune"], args.as_slice()].concat())
            .expect(2);
    }
}

#[test]
fn the_retention_of_the_results_root_is_the_policy_where_the_command_line_has_none() {
    let runner = finished(3);
    let [oldest, old, newest] = &runner.ids()[..] else {
        panic!("{:?}", runner.ids());
    };
    runner.write("results/runner.toml", "[retention]\nkeep_last = 1\n");
    let doomed = |args: &[&str]| -> Vec<String> {
        let ran = runner.run(&[&["prune", "--json"], args].concat()).expect(0);
        let runs = ran.document()["runs"].as_array().unwrap().clone();
        let id = |run: &serde_json::Value| run["run"].as_str().unwrap().to_owned();
        runs.iter().map(id).collect()
    };
    assert_eq!(doomed(&[]), [old.as_str(), oldest]);
    // Whoever says something on the command line means that alone.
    assert_eq!(doomed(&["--keep-last", "2"]), [oldest.as_str()]);
    assert_eq!(doomed(&[newest]), [newest.as_str()]);
    runner.run(&["pin", old]).expect(0);
    assert_eq!(doomed(&["--no-dry-run"]), [oldest.as_str()]);
    assert_eq!(runner.ids(), [old.as_str(), newest]);

    runner.write("results/runner.toml", "[retention]\nkeep = 1\n");
    let refused = runner.run(&["prune", "--no-dry-run"]).expect(2);
    refused.says(&["unknown key `keep`"]);
    assert_eq!(runner.ids(), [old.as_str(), newest]);
}

#[test]
fn a_server_applies_the_retention_of_its_results_root() {
    let runner = finished(3);
    let ids = runner.ids();
    runner.run(&["pin", &ids[0]]).expect(0);
    runner.write("results/runner.toml", "[retention]\nkeep_last = 1\n");
    let server = runner
        .command(&["serve", "--listen", "unix:socket"])
        .start();
    let kept = [ids[0].clone(), ids[2].clone()];
    wait_until("the one between has gone", || runner.ids() == kept);
    server.kill();
    runner.run(&["verify", &ids[2]]).expect(0);
}

#[test]
fn results_that_are_too_large_lose_their_oldest_run() {
    let runner = finished(3);
    let runs = runner.runs();
    let all = document(&runner, &["prune"])["left"]["bytes"]
        .as_u64()
        .unwrap();
    let limit = (all - 1).to_string();
    let real = document(&runner, &["prune", "--max-size", &limit, "--no-dry-run"]);
    assert_eq!(real["runs"][0]["because_of"][0], "max-size");
    assert!(real["left"]["bytes"].as_u64().unwrap() < all);
    assert_left(&runner, &runs[1..]);
}

#[test]
fn while_a_run_is_born_nothing_of_the_content_store_goes() {
    let runner = finished(1);
    age(&runner);
    let birth = fs_err::File::open(runner.path("results/store/.lock")).unwrap();
    birth.try_lock_shared().unwrap();
    let prune = ["prune", "--keep-last", "0", "--no-dry-run"];
    let busy = runner.run(&prune).expect(6);
    assert!(
        busy.stderr.contains("is held by another process"),
        "{busy:?}"
    );
    assert_eq!((runner.runs().len(), stored(&runner).len()), (0, 3));

    drop(birth);
    runner.run(&prune).expect(0);
    assert!(stored(&runner).is_empty());
}

#[test]
fn a_run_that_cannot_be_deleted_is_reported_and_the_others_go() {
    let runner = finished(3);
    let runs = runner.runs();
    // So deep that the few files which the program may open at a time do not reach its bottom.
    let depth = "deep/".repeat(200);
    fs_err::create_dir_all(runs[1].dir.join("artifacts").join(depth)).unwrap();
    let script = "ulimit -n 100; exec \"$runner\" prune --keep-last 0 --no-dry-run";
    let ran = runner.shell(script).run().expect(7);
    assert!(ran.stderr.contains("cannot be pruned"), "{ran:?}");
    assert!(ran.stdout.contains("deleted 2 runs"), "{ran:?}");
    assert_eq!(
        [0, 1, 2].map(|n| runs[n].dir.exists()),
        [false, true, false]
    );
    // What is left of it is no run, and goes once it is old enough to belong to nobody.
    assert_eq!(document(&runner, &["list"])["runs"], Value::Array(vec![]));
}

#[test]
fn a_link_to_a_run_is_never_followed() {
    let (runner, elsewhere) = (finished(1), finished(1));
    let target = &elsewhere.runs()[0];
    let link = runner.path("results").join(target.id());
    std::os::unix::fs::symlink(&target.dir, &link).unwrap();
    let before = contents(&target.dir);

    let ran = runner.run(&["prune", "--keep-last", "0", "--no-dry-run"]);
    assert!(ran.stdout.contains("it is a symbolic link"), "{ran:?}");
    assert!(ran.stdout.contains("deleted 1 run "), "{ran:?}");
    assert_eq!(contents(&target.dir), before);
    assert!(link.is_symlink());
}
