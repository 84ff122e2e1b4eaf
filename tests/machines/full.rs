//! Disks that are full: of a worker, of the run, and of the engine.

use std::process::Command;

use serde_json::json;

use crate::{
    nats::{Engine, assert_whole, end, exec, exec_unread, log, worker, workers_of},
    support::{
        runner::{CommandExt as _, Run, Runner, Running},
        wait::wait_until,
    },
};

/// Trials that each leave two files of this size.
fn of_files(trials: usize, bytes: usize) -> Runner {
    Runner::hostile(&format!(
        "[[tests]]\nid = \"file\"\nrepeat = {trials}\n\
         input = {{ do = \"flood-artifacts\", count = 2, bytes = {bytes} }}\n"
    ))
}

/// A script in whose namespace this folder is a disk of so many bytes.
fn on_a_small_disk(runner: &Runner, folder: &str, bytes: usize, script: &str) -> Command {
    runner.write(&format!("{folder}/.keep"), "");
    // Whoever mounts owns no more than the folders of this process.
    let mut command = runner.shell("exec unshare --user --map-root-user --mount sh -c \"$@\"");
    let mount = format!("mount -t tmpfs -o size={bytes} none {folder} && {script}");
    command.args(["sh", &mount]);
    command
}

/// A worker with a disk of so many bytes, on which it has this folder.
fn worker_on_a_small_disk(runner: &Runner, engine: &Engine, folder: &str, bytes: usize) -> Running {
    for name in ["small-tmp", "small-store"] {
        runner.write(&format!("{name}/.keep"), "");
    }
    let script = format!(
        "TMPDIR=\"$PWD/small-tmp\" exec \"$runner\" worker --engine {} --name small --store small-store",
        engine.url()
    );
    on_a_small_disk(runner, folder, bytes, &script).start()
}

#[test]
fn a_worker_whose_disk_has_no_room_for_a_plugin_says_so_and_others_make_the_attempts() {
    let engine = Engine::start();
    let runner = of_files(4, 100_000);
    let small = worker_on_a_small_disk(&runner, &engine, "small-store", 64 << 10);
    let live = exec(&runner, &engine, &[]);
    wait_until("it was asked", || {
        let run = runner.runs().pop();
        run.is_some_and(|run| log(&run).contains("worker small cannot"))
    });
    let large = worker(&runner, &engine, "large", &[]);
    let ran = live.finish().expect(0);
    ran.says(&[
        "worker small cannot make attempts",
        "No space left on device",
    ]);
    assert_whole(&runner, 4);
    assert_eq!(workers_of(&runner.only_run()), ["large"]);
    let said = end(small);
    assert!(said.contains("No space left on device"), "{said}");
    end(large);
}

#[test]
fn a_worker_whose_disk_has_no_room_for_what_attempts_leave_costs_no_row() {
    let engine = Engine::start();
    // More than is kept in memory.
    let runner = of_files(10, 800_000);
    let small = worker_on_a_small_disk(&runner, &engine, "small-tmp", 128 << 10);
    let ran = exec(&runner, &engine, &[]).finish().expect(7);
    assert!(ran.stdout.contains("No space left on device"), "{ran:?}");
    let run = runner.only_run();
    assert_eq!(run.ending()[1], "storage");
    // It was tried there, and settles nothing.
    let rows = run.rows();
    assert!(!rows.is_empty());
    for row in &rows {
        let settles = (&row["final"], &row["outcome"], &row["error"]["code"]);
        assert_eq!(
            settles,
            (&json!(false), &json!("stopped"), &json!("host-storage"))
        );
    }
    assert_eq!(workers_of(&run), ["small"]);
    end(small);

    let large = worker(&runner, &engine, "large", &[]);
    let url = engine.url();
    let resume = ["resume", "--from", "latest", "--engine", &url];
    runner.run(&resume).expect(0);
    assert_whole(&runner, 10);
    assert_eq!(run.manifest()["counts"]["passed"], 10);
    end(large);
}

#[test]
fn a_worker_whose_disk_is_full_gets_no_more_attempts_and_comes_back_with_room() {
    const FILES: usize = 16;
    const NAPS: usize = 60;

    let engine = Engine::start();
    let naps = |id: &str| {
        format!(
            "[[tests]]\nid = \"{id}\"\nrepeat = {NAPS}\ninput = {{ do = \"sleep\", ms = 200 }}\n"
        )
    };
    // Both are there when the first file is made, and the run goes on for some time after the last one.
    let runner = Runner::hostile(&format!(
        "{}[[tests]]\nid = \"file\"\nrepeat = {FILES}\n\
         input = {{ do = \"flood-artifacts\", count = 2, bytes = 800_000 }}\n{}",
        naps("before"),
        naps("after"),
    ));
    let small = worker_on_a_small_disk(&runner, &engine, "small-tmp", 128 << 10);
    let large = worker(&runner, &engine, "large", &["-j2"]);
    let live = exec_unread(&runner, &engine);
    let logged = || runner.runs().first().map(log).unwrap_or_default();
    let is_aside = "worker small has failed 3 attempts in a row";
    wait_until("it is set aside", || logged().contains(is_aside));
    // It has none of this run, and could have one of another.
    // Without the breaks of lines.
    let said = end(small);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for says in [
        "has set this worker aside",
        "3 attempts in a row have failed here, file@hostile#",
        "No space left on device",
        "start this worker again",
        "is done with",
    ] {
        assert!(said.contains(says), "`{says}` is not in {said}");
    }
    assert_eq!(said.matches("has set this worker aside").count(), 1);
    let small = worker(&runner, &engine, "small", &["-j2"]);
    wait_until("it makes attempts again", || {
        let log = logged();
        let (_, behind) = log.split_once(is_aside).unwrap();
        behind.contains("worker small/1 makes attempts")
    });
    let ran = live.finish().expect(0);
    ran.says(&[is_aside, "No space left on device", "started again"]);
    assert_whole(&runner, FILES + 2 * NAPS);
    let run = runner.only_run();
    assert_eq!(run.manifest()["counts"]["passed"], FILES + 2 * NAPS);
    let failed = run.rows();
    let failed = failed
        .iter()
        .filter(|row| row["error"]["code"] == "host-storage");
    assert!(failed.count() >= 3);
    for worker in [small, large] {
        end(worker);
    }
}

/// Fails if the worker was let go, or is blamed for what the run's own machine lacks.
#[track_caller]
fn assert_not_set_aside(run: &Run, said: &str) {
    let log = log(run);
    assert!(!log.contains("in a row"), "{log}");
    assert!(!log.contains("started again"), "{log}");
    assert!(said.contains("is done with"), "{said}");
}

#[test]
fn a_run_that_has_no_room_for_what_attempts_leave_elsewhere_ends_for_that_and_blames_no_worker() {
    let engine = Engine::start();
    // More than is kept in memory.
    let runner = of_files(10, 800_000);
    let workers = ["one", "two"].map(|name| worker(&runner, &engine, name, &["-j2"]));
    let script = format!(
        "TMPDIR=\"$PWD/own-tmp\" exec \"$runner\" exec scenario.toml --engine {}",
        engine.url()
    );
    let ran = on_a_small_disk(&runner, "own-tmp", 512 << 10, &script).run();
    let ran = ran.expect(7);
    ran.says(&["No space left on device", "own-tmp"]);
    let run = runner.only_run();
    assert_eq!(run.ending()[1], "storage");
    let rows = run.rows();
    // Three in a row, and what was begun beside them.
    assert!((3..=3 + 4 + 4).contains(&rows.len()), "{rows:#?}");
    for row in &rows {
        let settles = (&row["final"], &row["outcome"], &row["error"]["code"]);
        assert_eq!(
            settles,
            (&json!(false), &json!("stopped"), &json!("host-storage"))
        );
    }
    // The same workers go on with it where there is room.
    let url = engine.url();
    let resume = ["resume", "--from", "latest", "--engine", &url];
    runner.run(&resume).expect(0);
    assert_whole(&runner, 10);
    for said in workers.map(end) {
        assert_not_set_aside(&run, &said);
    }
}

#[test]
fn a_run_whose_results_have_no_room_ends_for_that_and_is_gone_on_with_by_the_same_worker() {
    let engine = Engine::start();
    let runner = of_files(10, 400_000);
    let only = worker(&runner, &engine, "only", &["-j2"]);
    let url = engine.url();
    // What is on that disk is gone with the namespace.
    let script = format!(
        "\"$runner\" exec scenario.toml --engine {url}; echo code $?; \
         mount -o remount,size=64m results && \
         \"$runner\" resume --from latest --engine {url} && cp -r results copied"
    );
    let ran = on_a_small_disk(&runner, "results", 4 << 20, &script).run();
    let ran = ran.expect(0);
    ran.says(&["No space left on device"]);
    assert!(ran.stdout.contains("code 7"), "{ran:?}");
    fs_err::remove_dir_all(runner.path("results")).unwrap();
    fs_err::rename(runner.path("copied"), runner.path("results")).unwrap();
    assert_whole(&runner, 10);
    let run = runner.only_run();
    assert_eq!(run.manifest()["counts"]["passed"], 10);
    assert_not_set_aside(&run, &end(only));
}

/// A run of which a worker was set aside, with that worker and another one that has left.
fn forsaken(engine: &Engine, files: usize) -> (Runner, Running, Running) {
    let nap = "input = { do = \"sleep\", ms = 200 }";
    // Both are there when the first file is made.
    let runner = Runner::hostile(&format!(
        "[[tests]]\nid = \"before\"\nrepeat = 20\n{nap}\n\
         [[tests]]\nid = \"file\"\nrepeat = {files}\n\
         input = {{ do = \"flood-artifacts\", count = 2, bytes = 800_000 }}\n\
         [[tests]]\nid = \"after\"\nrepeat = 200\n{nap}\n"
    ));
    let small = worker_on_a_small_disk(&runner, engine, "small-tmp", 128 << 10);
    let large = worker(&runner, engine, "large", &["-j2"]);
    let live = exec_unread(&runner, engine);
    let logged = || runner.runs().first().map(log).unwrap_or_default();
    wait_until("it is set aside", || {
        logged().contains("worker small has failed 3 attempts in a row")
    });
    end(large);
    wait_until("it is said that nobody is left", || {
        logged().contains("nobody is left who makes attempts")
    });
    (runner, live, small)
}

#[test]
fn a_run_that_is_left_with_a_worker_that_was_set_aside_waits_for_another_one() {
    let engine = Engine::start();
    let (runner, live, small) = forsaken(&engine, 16);
    let again = worker(&runner, &engine, "large", &["-j8"]);
    let ran = live.finish().expect(0);
    ran.says(&[
        "but for what was set aside: worker small: ",
        "No space left on device",
        "the run ends in 30s unless somebody comes",
    ]);
    assert_whole(&runner, 236);
    for worker in [small, again] {
        end(worker);
    }
}

#[test]
fn a_run_that_nobody_else_comes_to_ends_for_what_the_worker_lacked_that_was_set_aside() {
    let engine = Engine::start();
    let (runner, live, small) = forsaken(&engine, 16);
    let ran = live.finish().expect(7);
    ran.says(&["error: worker small: ", "No space left on device"]);
    let run = runner.only_run();
    assert_eq!(run.ending()[1], "storage");
    let error = &run.manifest()["sessions"][0]["error"];
    assert!(
        error.as_str().unwrap().contains("worker small: "),
        "{error}"
    );
    // It is heard again by the one that was set aside: that is another session.
    let large = worker(&runner, &engine, "large", &["-j8"]);
    let url = engine.url();
    let resume = ["resume", "--from", "latest", "--engine", &url];
    runner.run(&resume).expect(0);
    assert_whole(&runner, 236);
    for worker in [small, large] {
        end(worker);
    }
}

#[cfg(debug_assertions)]
#[test]
fn a_run_whose_disk_is_full_ends_honestly_and_is_gone_on_with_by_the_same_worker() {
    let engine = Engine::start();
    for failpoint in [
        "row.begin=full",
        "artifact.begin@3=full",
        "finish.begin=full",
    ] {
        let runner = of_files(12, 100_000);
        let only = worker(&runner, &engine, "only", &[]);
        let url = engine.url();
        let args = ["exec", "scenario.toml", "--engine", &url];
        let ran = runner.start_failing(&args, failpoint).finish();
        assert_eq!(ran.code, Some(7), "{failpoint}: {ran:?}");
        assert!(ran.stderr.contains("No space left"), "{ran:?}");
        let run = runner.only_run();
        if failpoint != "finish.begin=full" {
            assert_eq!(run.ending()[1], "storage", "{failpoint}");
        }
        let resume = ["resume", "--from", "latest", "--engine", &url];
        runner.run(&resume).expect(0);
        assert_whole(&runner, 12);
        assert_eq!(workers_of(&run), ["only"], "{failpoint}");
        end(only);
    }
}

#[test]
fn an_engine_whose_disk_is_full_ends_a_run_with_the_reason_and_it_is_gone_on_with_without_one() {
    let engine = Engine::start_small();
    let runner = of_files(4, 100_000);
    let ran = exec(&runner, &engine, &[]).finish();
    assert!(matches!(ran.code, Some(3 | 7)), "{ran:?}");
    assert!(ran.stdout.contains("keep what workers need"), "{ran:?}");
    let listed = runner.list(&[]);
    assert_ne!(listed[0]["status"], json!("running"), "{listed:?}");
    let ran = runner.run(&["resume", "--from", "latest"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_whole(&runner, 4);
}
