//! What keeps a run from being resumed, and what happens to the ground under a run that lives.

use serde_json::json;

use crate::support::{
    runner::{CommandExt as _, Runner, Running, Signal, tests},
    truth::{assert_same_end, assert_whole, every_kind, undisturbed},
};

/// A run that lasts, has a row, and is waited for until then.
fn live(runner: &Runner) -> Running {
    let mut live = runner.start(&["-j", "2"]);
    live.wait_for(|event| event["event"] == "row");
    live
}

fn long() -> Runner {
    Runner::hostile(&format!(
        "{}[[tests]]\nid = \"nap\"\nrepeat = 2\ninput = {{ do = \"sleep\", ms = 3000 }}\n",
        tests(r#"a | { do = "echo", value = 1 } | equals = 1"#)
    ))
}

fn crashed() -> Runner {
    let runner = every_kind();
    // One after another, they take more than two commits on the slowest disk.
    let args = ["exec", "scenario.toml", "-j", "1"];
    runner
        .start_failing(&args, "row.written@2=kill")
        .finish_killed();
    runner
}

#[test]
fn a_run_that_is_held_is_not_resumed_and_its_holder_is_named() {
    let runner = long();
    let live = live(&runner);
    let ran = runner.run(&["resume", "--from", "latest"]).expect(6);
    ran.says(&[&format!("pid {}", live.id()), "host ", "since "]);
    let ran = runner.run(&["resume"]).expect(2);
    ran.says(&["there is no incomplete run"]);
    live.finish().expect(0);
    assert_eq!(
        runner.only_run().manifest()["sessions"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn of_two_resumes_at_once_one_wins() {
    let runner = long();
    live(&runner).kill();
    let args = ["resume", "--from", "latest", "--json"];
    let both = [(); 2].map(|()| runner.command(&args).start());
    let mut codes = both.map(|running| running.finish().code.unwrap());
    codes.sort_unstable();
    assert_eq!(codes, [0, 6]);
    assert_whole(&runner);
    assert_eq!(
        runner.only_run().manifest()["sessions"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn a_resume_gets_through_while_a_hundred_lists_probe() {
    let runner = crashed();
    let mut lists = Vec::new();
    let mut resumed = None;
    for n in 0..100 {
        lists.push(runner.command(&["list", "--json"]).start());
        if n == 50 {
            resumed = Some(runner.command(&["resume", "--json"]).start());
        }
    }
    resumed.unwrap().finish().expect(1);
    for list in lists {
        let ran = list.finish().expect(0);
        let document = ran.document();
        assert_eq!(document["runs"].as_array().unwrap().len(), 1);
    }
    assert_whole(&runner);
}

#[test]
fn stored_bytes_that_are_altered_or_missing_are_named_and_nothing_is_changed() {
    let stored = |runner: &Runner, digest: &serde_json::Value| {
        let digest = digest.as_str().unwrap().to_owned();
        runner.path(&format!("results/store/{}/{digest}", &digest[..2]))
    };
    for what in ["plugin", "suite", "attachment", "scenario"] {
        for is_deleted in [false, true] {
            let runner = crashed();
            runner.run(&["cleanup", "--no-dry-run"]).expect(0);
            let run = runner.only_run();
            let manifest = run.manifest();
            let path = match what {
                "plugin" => stored(&runner, &manifest["providers"][0]["plugin_sha256"]),
                "suite" => stored(&runner, &manifest["metadata"]["suite"]),
                "scenario" => run.dir.join("scenario.toml"),
                _ => walkdir::WalkDir::new(runner.path("results/store"))
                    .into_iter()
                    .flatten()
                    .map(walkdir::DirEntry::into_path)
                    .find(|path| path.is_file() && fs_err::read(path).unwrap() == b"attached")
                    .unwrap(),
            };
            if is_deleted {
                fs_err::remove_file(&path).unwrap();
            } else {
                let mut bytes = fs_err::read(&path).unwrap();
                let half = bytes.len() / 2;
                bytes[half] ^= 1;
                fs_err::write(&path, bytes).unwrap();
            }
            let before = (run.read("benchmark.json"), run.read("index.jsonl"));
            let ran = runner.run(&["resume"]).expect(2);
            let name = path.file_name().unwrap().to_str().unwrap();
            ran.says(&[if what == "scenario" { "scenario" } else { name }]);
            assert!(before == (run.read("benchmark.json"), run.read("index.jsonl")));
        }
    }
}

#[test]
fn the_database_may_vanish_or_be_locked_or_read_only_under_a_live_run() {
    for fault in ["deleted", "locked", "read-only", "garbage"] {
        let runner = every_kind();
        let mut live = runner.start(&["-j", "2"]);
        live.wait_for(|event| event["event"] == "started");
        let database = runner.path("results/runner.db");
        let holder = rusqlite::Connection::open(&database).unwrap();
        match fault {
            "deleted" => {
                for name in ["runner.db", "runner.db-wal", "runner.db-shm"] {
                    _ = fs_err::remove_file(runner.path("results").join(name));
                }
            }
            "locked" => holder.execute_batch("BEGIN EXCLUSIVE").unwrap(),
            "read-only" => {
                let mut permissions = fs_err::metadata(&database).unwrap().permissions();
                permissions.set_readonly(true);
                fs_err::set_permissions(&database, permissions).unwrap();
            }
            _ => fs_err::write(&database, "no database").unwrap(),
        }
        let ran = live.finish().expect(1);
        drop(holder);
        // Of a database that is only busy nothing is to be made anew.
        let is_to_be_made_anew = ran.stderr.contains("reindex");
        assert!(fault != "locked" || !is_to_be_made_anew, "{}", ran.stderr);
        assert_same_end(&runner.only_run(), &undisturbed());
        assert_whole(&runner);
    }
}

#[test]
fn a_run_whose_directory_is_moved_away_ends_honestly_and_can_be_resumed_where_it_is() {
    let runner = long();
    let live = live(&runner);
    let run = runner.only_run();
    let moved = runner.path("elsewhere");
    fs_err::create_dir_all(&moved).unwrap();
    fs_err::rename(runner.path("results"), moved.join("results")).unwrap();
    let ran = live.finish().expect(7);
    let end = ran.events().pop().unwrap();
    assert_eq!(
        (&end["status"], &end["reason"]),
        (&json!("incomplete"), &json!("storage"))
    );
    let path = moved.join("results").join(run.id());
    runner
        .run(&["resume", "--from", path.to_str().unwrap()])
        .expect(0);
    fs_err::rename(moved.join("results"), runner.path("results")).unwrap();
    assert_whole(&runner);
}

#[test]
#[cfg(target_os = "linux")]
fn a_stop_while_a_resumed_run_compiles_leaves_it_as_resumable_as_before() {
    let runner = crashed();
    let mut command = runner.command(&["resume", "--json"]);
    // Without a cache the plugin is compiled again, which takes a debug build seconds.
    command.env("RUNNER_CACHE", runner.path("cache"));
    let mut live = command.start();
    live.wait_for(|event| event["event"] == "started");
    let ran = live.end_by(Signal::INT).0.expect(130);
    assert_eq!(ran.events().last().unwrap()["status"], "incomplete");
    let run = runner.only_run();
    assert_eq!(
        run.ending(),
        ["incomplete", "interrupted", "SIGINT", "none"]
    );
    runner.run(&["resume"]).expect(1);
    assert_same_end(&run, &undisturbed());
    assert_whole(&runner);
}

#[test]
fn a_run_whose_plan_cannot_be_made_again_is_read_and_says_who_began_it() {
    let runner = crashed();
    let run = runner.only_run();
    let mut manifest = run.manifest();
    manifest["metadata"]["plan_digest"] = json!("0".repeat(64));
    manifest["runner_version"] = json!("0.0.9");
    run.write("benchmark.json", manifest.to_string());

    let rows = run.read("index.jsonl");
    let refused = runner.run(&["resume", "--from", "latest"]).expect(2);
    refused.says(&[
        "the run's plan cannot be made again",
        "version 0.0.9 of the runner began it",
        "`runner exec` begins anew",
    ]);
    assert_eq!(run.read("index.jsonl"), rows);
    for command in ["list", "show", "verify"] {
        runner.run(&[command]).expect(0);
    }
}
