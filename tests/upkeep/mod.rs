//! Upkeep of a results root: finding, listing, cleaning up, deleting, pinning and verifying runs, and sharing the root
//! between processes.

mod advice;
mod deleting;
mod losses;
mod owners;
mod row_order;
mod sharing;
mod trust;
mod truth;
mod verifying;
mod waiting;

use std::fs;

use rustix::process::Signal;
use serde_json::json;

use crate::messages::outputs::snapshot;
use crate::support::{
    random::times, run::Run, runner::Runner, running::Running, truth::assert_consistent,
    wait::wait_until,
};

/// Creates a scenario whose trials take `ms` milliseconds.
fn naps(count: usize, ms: u64) -> Runner {
    Runner::hostile_in_memory(&format!(
        "[[tests]]\nid = \"nap\"\nrepeat = {count}\ninput = {{ do = \"sleep\", ms = {ms} }}\n"
    ))
}

/// Creates three short trials, and `count` trials that do not end before their first session is stopped.
fn held(count: usize) -> Runner {
    Runner::hostile_in_memory(&format!(
        "[[tests]]\nid = \"nap\"\nrepeat = 3\ninput = {{ do = \"sleep\", ms = 1 }}\n\
         [[tests]]\nid = \"held\"\nrepeat = {count}\ntimeout = \"10m\"\n\
         input = {{ do = \"wait-for-stop\", until_attempt = 2 }}\n"
    ))
}

/// Starts a run, and waits for its first rows. Its other trials need longer than a busy machine does for a few commands.
fn going_on(runner: &Runner) -> Running {
    let mut running = runner.start(&["-j", "2"]);
    running.wait_for_rows(3);
    running
}

/// Creates `count` runs that have ended. Returns them oldest first.
fn ended(runner: &Runner, count: usize) -> Vec<Run> {
    for _ in 0..count {
        runner.exec(&["-q"]).expect(0);
    }
    runner.runs()
}

/// Copies a run `count` times.
fn copy_run(run: &Run, count: usize) {
    for number in 0..count {
        let copy = run.dir.with_file_name(format!("2026-11-20_09-18-04-015-copy-{number:08}"));
        fs::create_dir(&copy).unwrap();
        for name in ["benchmark.json", "index.jsonl", "scenario.toml", "lock"] {
            fs::copy(run.dir.join(name), copy.join(name)).unwrap();
        }
    }
}

fn short(run: &Run) -> &str {
    run.id().rsplit('-').next().unwrap()
}

#[test]
fn cleanup_shows_then_writes_down() {
    let runner = naps(400, 100);
    going_on(&runner).kill();
    let run = runner.only_run();
    let (manifest, rows) = (run.bytes("benchmark.json"), run.rows().len());
    runner.run(&["cleanup"]).expect(0).says(&[
        run.id(),
        &format!("{rows}/400"),
        "runner cleanup --yes",
    ]);
    let shown = runner.run(&["cleanup", "--json"]).expect(0).document();
    assert_eq!(shown["dry_run"], true);
    assert_eq!(shown["runs"][0]["run"], run.id());
    assert_eq!(shown["runs"][0]["done"], rows);
    assert_eq!(shown["runs"][0]["providers"], json!(["hostile"]));
    runner
        .run(&["cleanup", "--stale-hours", "0.5", "--no-dry-run"])
        .expect(0)
        .says(&["no dead process has left a run open"]);
    assert_eq!(run.bytes("benchmark.json"), manifest, "it was only shown");
    runner.run(&["cleanup", "--no-dry-run", "--stale-hours", "0"]).expect(0);
    assert_eq!(run.ending()[..2], ["incomplete", "crashed"]);
    assert!(run.manifest()["completed_at"].is_string());
    assert!(
        runner.run(&["cleanup", "--yes", "--json"]).document()["runs"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    assert_consistent(&runner);
}

#[test]
fn lists_hold_what_is_asked_for() {
    let runner = naps(400, 100);
    going_on(&runner).end_by(Signal::INT).0.expect(130);
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&format!("name = \"quick\"\n{}", text.replace("repeat = 400", "repeat = 1")));
    runner.exec(&["-q", "--label", "team=night"]).expect(0);
    let [cut, whole] = runner.runs().try_into().unwrap();
    let ids = |args: &[&str]| {
        let listed = runner.run(&[&["list", "--json"], args].concat()).expect(0).document();
        let runs = listed["runs"].as_array().unwrap().iter();
        runs.map(|run| run["run"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (both, first, second) = ([whole.id(), cut.id()], [cut.id()], [whole.id()]);
    assert_eq!(ids(&["--status", "completed,incomplete"]), both);
    assert_eq!(ids(&["--since", "1h"]), both);
    assert_eq!(ids(&["--since", "2000-01-01"]), both);
    assert_eq!(ids(&["--since", "2999-01-01T09:30"]), [""; 0]);
    assert_eq!(ids(&["--status", "incomplete"]), first);
    assert_eq!(ids(&["--verdict", "none"]), first);
    assert_eq!(ids(&["--scenario", "qu*"]), second);
    assert_eq!(ids(&["--label", "team=night"]), second);
    assert_eq!(ids(&["-n", "1"]), second);
    for args in [["--status", "ended"], ["--since", "yesterday"], ["--scenario", "["]] {
        runner.run(&[&["list"][..], &args].concat()).expect(2).says(&[args[1]]);
    }
    runner.run(&["list"]).expect(0);
    snapshot(&runner.run(&["list", "--status", "failed"]).expect(0));
}

#[test]
fn reindex_makes_the_list_anew() {
    let runner = naps(1, 1);
    ended(&runner, 2);
    let database = runner.path("results/runner.db");
    fs::write(&database, "this is no database").unwrap();
    runner.run(&["reindex"]).expect(0);
    let list = rusqlite::Connection::open(&database).unwrap();
    let count = |sql: &str| list.query_one(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM runs WHERE status = 'completed' AND planned = 1"), 2);
    drop(list);
    for name in ["runner.db", "runner.db-wal", "runner.db-shm"] {
        let _ = fs::remove_file(runner.path("results").join(name));
    }
    fs::create_dir(&database).unwrap();
    runner.run(&["reindex"]).expect(7).says(&["runner.db", "a folder"]);
    assert_eq!(runner.list().len(), 2);
}

#[test]
fn other_users_settings_do_not_count() {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    let runner = naps(1, 1);
    let runs = ended(&runner, 2);
    let file = runner.path("results/runner.toml");
    runner.write("results/runner.toml", "[retention]\nkeep_last = 1\n");
    let pruned = |runner: &Runner| {
        let ran = runner.run(&["prune", "--json"]);
        (ran.document()["runs"].as_array().unwrap().len(), ran)
    };
    let (count, ran) = pruned(&runner);
    assert_eq!((count, ran.stderr.as_str()), (1, ""));

    let mode = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&file, 0o666);
    let (count, ran) = pruned(&runner);
    assert_eq!(count, 0);
    let real = file.canonicalize().unwrap();
    ran.says(&["is ignored", &format!("chmod go-w {}", real.display())]);
    mode(&file, 0o600);
    let root = runner.path("results");
    mode(&root, 0o777);
    assert_eq!(pruned(&runner).0, 0);
    let mut trusting = runner.command(&["prune", "--json"]);
    trusting.env("RUNNER_TRUST_ROOT", &root);
    let ran = Running::start(&mut trusting).finish().expect(0);
    assert_eq!(ran.document()["runs"].as_array().unwrap().len(), 1);
    mode(&root, 0o700);
    // Only root can change a file's owner.
    if chown(&file, Some(4242), None).is_ok() {
        let (count, ran) = pruned(&runner);
        assert_eq!(count, 0);
        ran.says(&["belongs to another user (uid 4242)"]);
        chown(&file, Some(rustix::process::geteuid().as_raw()), None).unwrap();
    }
    runner.write("results/runner.toml", "[retention]\nkeep_lasst = 1\n");
    snapshot(&runner.run(&["prune", "--yes"]).expect(2));
    runner.write("results/runner.toml", "[retention]\nkeep_last = 1\n");
    runner.run(&["prune", "--yes"]).expect(0);
    assert!(!runs[0].dir.exists() && runs[1].dir.exists());
}

#[test]
fn strange_folders_are_no_runs() {
    let runner = naps(1, 1);
    ended(&runner, 1);
    let root = runner.path("results");
    fs::write(root.join("notes.txt"), "mine").unwrap();
    fs::create_dir_all(root.join("mine/deep")).unwrap();
    fs::create_dir_all(root.join("foreign")).unwrap();
    let foreign = root.join("foreign/benchmark.json");
    fs::write(&foreign, r#"{"format": 9, "status": "running"}"#).unwrap();
    std::os::unix::fs::symlink("/etc", root.join("link")).unwrap();
    snapshot(&runner.run(&["list"]).expect(0));
    for args in [
        &["cleanup", "--yes"][..],
        &["prune", "--keep-last", "0", "--yes"],
        &["pin", "foreign"],
        &["resume", "foreign"],
        &["prune", "foreign", "--yes"],
        &["verify", "foreign"],
        &["cancel", "foreign"],
    ] {
        let ran = runner.run(args);
        assert_eq!(
            fs::read_to_string(&foreign).unwrap(),
            r#"{"format": 9, "status": "running"}"#,
            "{ran:?}"
        );
        assert_eq!(fs::read_dir(root.join("foreign")).unwrap().count(), 1, "{ran:?}");
    }
    assert!(root.join("mine/deep").exists() && root.join("notes.txt").exists());
    assert!(root.join("link").is_symlink());
    wait_until("the run is gone", || runner.runs().iter().all(|run| run.id() == "foreign"));
}

#[test]
fn reading_commands_write_nothing() {
    let runner = naps(400, 100);
    going_on(&runner).kill();
    let run = runner.only_run();
    let look = || {
        let files = fs::read_dir(&run.dir).unwrap().map(|file| {
            let path = file.unwrap().path();
            let about = fs::metadata(&path).unwrap();
            (path, about.len(), about.modified().unwrap())
        });
        let mut files: Vec<_> = files.collect();
        files.sort();
        files
    };
    let before = look();
    for (args, code) in [
        (&["list"][..], 0),
        (&["list", "--json"], 0),
        (&["show"], 0),
        (&["show", "--json"], 0),
        (&["show", "latest", "nap@hostile#1"], 0),
        (&["logs"], 0),
        (&["verify"], 0),
        (&["cleanup"], 0),
        (&["prune", "--keep-last", "0"], 0),
        (&["prune", "--keep-last", "0", "--yes"], 0),
        (&["reindex"], 0),
        (&["wait"], 4),
    ] {
        runner.run(args).expect(code);
        assert_eq!(look(), before, "{args:?}");
    }
}

#[test]
fn upkeep_side_by_side_agrees() {
    let runner = naps(1, 1);
    let runs = ended(&runner, 5);
    for _ in 0..times(2, 20) {
        let more = ended(&runner, 1);
        copy_run(&more[0], 150);
        let commands = [
            &["prune", "--keep-last", "1", "--yes"][..],
            &["list"],
            &["prune", "--keep-last", "1", "--yes"],
            &["cleanup", "--yes"],
            &["reindex"],
            &["prune", "--keep-last", "1", "--yes"],
            &["list"],
        ];
        let running: Vec<_> = commands.iter().map(|args| runner.started(args)).collect();
        for (running, args) in running.into_iter().zip(commands) {
            let ran = running.finish().expect(0);
            assert!(!ran.stderr.contains("warning"), "{args:?}: {}", ran.stderr);
        }
        runner.run(&["prune", "--keep-last", "1", "--yes"]).expect(0);
        let left: Vec<_> = runner.runs().iter().map(|run| run.id().to_owned()).collect();
        assert_eq!(left, [more.last().unwrap().id()]);
        assert_eq!(runner.list().len(), 1);
    }
    assert!(!runs[0].dir.exists());
    let folders = fs::read_dir(runner.path("results")).unwrap();
    let folders = folders.filter(|entry| entry.as_ref().unwrap().path().is_dir());
    assert_eq!(folders.count(), 2, "the run and the store");
}

#[test]
fn resume_names_the_newest_of_many_runs() {
    let runner = naps(100, 100);
    let mut running = runner.start(&["-j", "1"]);
    running.wait_for_rows(1);
    running.end_by(Signal::INT).0.expect(130);
    let run = runner.only_run();
    copy_run(&run, 7);
    let ran = runner.run(&["resume"]).expect(2);
    snapshot(&ran);
    assert_eq!(ran.stderr.matches("/100  incomplete (SIGINT)").count(), 5, "{}", ran.stderr);
    fs::remove_dir_all(runner.path("results/store")).unwrap();
    let lost = runner.run(&["resume", run.id()]).expect(2);
    lost.says(&[&format!("runner resume {} --accept-changes", run.id())]);
    runner.run(&["resume", run.id(), "--accept-changes", "-j", "20"]).expect(0);
}
