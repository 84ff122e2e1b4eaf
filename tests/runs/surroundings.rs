//! What surrounds a run and may be broken, missing or in use: the compile cache, the results root, the environment.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::json;

use crate::support::runner::{CommandExt as _, Runner, Running, tests};

fn one_test() -> Runner {
    Runner::hostile(&tests(r#"a | { do = "echo", value = 1 } | equals = 1"#))
}

fn exec_with_cache(runner: &Runner, cache: &str) -> Running {
    runner
        .command(&["exec", "scenario.toml"])
        .env("RUNNER_CACHE", cache)
        .start()
}

/// The compiled plugins in the folder `cache`.
fn artefacts(runner: &Runner) -> Vec<PathBuf> {
    let files = fs_err::read_dir(runner.path("cache")).unwrap();
    files.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_plugin_that_is_damaged_in_the_store_is_compiled_from_its_file_and_replaced() {
    let runner = one_test();
    exec_with_cache(&runner, "cache").finish().expect(0);
    let manifest = runner.only_run().manifest();
    let digest = manifest["providers"][0]["plugin_sha256"].as_str().unwrap();
    let entry = runner.path(&format!("results/store/{}/{digest}", &digest[..2]));
    let good = fs_err::read(&entry).unwrap();
    let mut bytes = good.clone();
    *bytes.last_mut().unwrap() ^= 1;
    fs_err::write(&entry, bytes).unwrap();
    let verified = runner.run(&["verify"]).expect(1);
    assert!(verified.stdout.contains(digest), "{}", verified.stdout);

    exec_with_cache(&runner, "another cache").finish().expect(0);
    assert!(fs_err::read(&entry).unwrap() == good, "it is still damaged");
    runner.run(&["verify"]).expect(0);
}

#[test]
fn a_damaged_artefact_in_the_compile_cache_is_made_anew() {
    let runner = one_test();
    exec_with_cache(&runner, "cache").finish().expect(0);
    let artefact = artefacts(&runner).remove(0);
    let good = fs_err::read(&artefact).unwrap();

    let half = good.len() / 2;
    let mut flipped = good.clone();
    // Machine code lies there: it would be run.
    flipped[good.len() / 4..half]
        .iter_mut()
        .for_each(|byte| *byte ^= 0x5a);
    let mut zeroed = good.clone();
    zeroed[half..].fill(0);
    for damaged in [
        &b""[..],
        b"hello",
        &good[..half],
        &good[..good.len() - 1],
        &flipped,
        &zeroed,
    ] {
        fs_err::write(&artefact, damaged).unwrap();
        exec_with_cache(&runner, "cache").finish().expect(0);
        assert!(
            fs_err::read(&artefact).unwrap() == good,
            "it is still damaged"
        );
    }
}

#[test]
fn a_cache_that_cannot_be_used_costs_a_warning_and_no_run() {
    let runner = one_test();
    runner.write("file", "");
    for cache in ["file", "/dev/null/cache"] {
        let ran = exec_with_cache(&runner, cache).finish().expect(0);
        ran.says(&[&format!(
            "warning: the compile cache `{cache}` cannot be used"
        )]);
    }
}

#[test]
fn a_cache_below_a_folder_that_others_may_write_is_not_used_and_nothing_is_left_of_it() {
    let runner = one_test();
    let above = runner.path("above");
    let temporary = runner.path("temporary");
    for folder in [&above, &temporary] {
        fs_err::create_dir(folder).unwrap();
    }
    let mode = |mode| fs_err::set_permissions(&above, Permissions::from_mode(mode)).unwrap();
    let exec = || {
        let mut command = runner.command(&["exec", "scenario.toml"]);
        command.env("RUNNER_CACHE", above.join("cache"));
        command.env("TMPDIR", &temporary);
        command.run().expect(0)
    };
    let count = |folder: &Path| fs_err::read_dir(folder).unwrap().count();
    mode(0o775);
    exec().says(&[
        "cannot be used, and plugins are compiled anew each time",
        "above it may be written to by others",
    ]);
    assert_eq!(count(&above.join("cache")), 0);
    // As the system's folder for temporary files.
    mode(0o1777);
    let ran = exec();
    assert!(!ran.stderr.contains("cannot be used"), "{}", ran.stderr);
    assert_eq!(count(&above.join("cache")), 1);
    // What lies there already is not run either, once others may have put it there.
    mode(0o777);
    exec().says(&["cannot be used"]);
    assert_eq!(count(&temporary), 0);
}

#[test]
fn runs_that_compile_the_same_plugin_at_once_all_succeed() {
    let runner = one_test();
    let together: Vec<_> = (0..3).map(|_| exec_with_cache(&runner, "cache")).collect();
    for running in together {
        running.finish().expect(0);
    }
    assert_eq!(artefacts(&runner).len(), 1);
}

#[test]
fn without_any_environment_the_cache_is_in_the_results_root_and_is_no_run() {
    let runner = one_test();
    runner
        .command(&["exec", "scenario.toml"])
        .env_clear()
        .run()
        .expect(0);
    assert!(runner.path("results/.cache").is_dir());
    assert_eq!(runner.list(&[]).len(), 1);
}

#[test]
fn what_is_no_run_in_the_results_root_is_left_alone() {
    let runner = one_test();
    runner.exec(&[]).expect(0);
    runner.write("results/notes.txt", "");
    fs_err::create_dir(runner.path("results/other")).unwrap();
    runner.write("results/broken/benchmark.json", "{");

    let ran = runner.run(&["list", "--json"]).expect(0);
    ran.says(&["warning: run `results/broken` cannot be read"]);
    assert_eq!(runner.list(&[]).len(), 1);
    runner.run(&["show", "broken"]).expect(2);
    runner.run(&["show", "other"]).expect(2);
    runner.exec(&[]).expect(0);
    assert_eq!(runner.list(&[]).len(), 2);
}

#[test]
fn a_run_whose_directory_is_deleted_is_not_told_to_be_completed() {
    let runner =
        Runner::hostile("[[tests]]\nid = \"nap\"\ninput = { do = \"sleep\", ms = 2500 }\n");
    let mut live = runner.start(&[]);
    live.wait_until_running(1);
    fs_err::remove_dir_all(runner.path("results")).unwrap();
    let ran = live.finish().expect(7);
    let end = ran.events().pop().unwrap();
    assert_eq!(
        [
            &end["event"],
            &end["status"],
            &end["reason"],
            &end["verdict"],
            &end["exit_code"]
        ],
        [
            &json!("finished"),
            &json!("incomplete"),
            &json!("storage"),
            &json!("none"),
            &json!(7)
        ]
    );
    assert!(
        end["error"]
            .as_str()
            .unwrap()
            .contains("was removed or replaced"),
        "{end}"
    );
}

#[test]
fn a_moved_folder_has_the_same_plan_and_fingerprints() {
    let told = |folder: &str| {
        let runner = Runner::new(&["hostile"]);
        runner.write(
            &format!("{folder}/scenario.toml"),
            format!(
                "[providers.p]\nplugin = \"../hostile.wasm\"\n{}files = {{ f = \"data.txt\" }}\n",
                tests(r#"a | { do = "read-file", name = "f" } | equals = "content""#)
            ),
        );
        runner.write(&format!("{folder}/data.txt"), "content");
        runner
            .run(&["exec", &format!("{folder}/scenario.toml")])
            .expect(0);
        let run = runner.only_run();
        (
            run.manifest()["metadata"].clone(),
            run.row("a")["fingerprint"].clone(),
        )
    };
    assert_eq!(told("here"), told("over-there"));
}

#[test]
fn a_row_that_would_be_too_long_is_cut_and_says_so() {
    let long = "x".repeat(200_000);
    let runner = Runner::hostile(&format!(
        "[[tests]]\nid = \"long\"\ninput = {{ do = \"echo\", value = \"{long}\" }}\nexpect = {{ equals = \"{long}y\" }}\n"
    ));
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    let row = run.row("long");
    assert_eq!(
        (&row["outcome"], &row["truncated"]),
        (&json!("failed"), &json!(true))
    );
    assert_eq!(row["output"]["bytes"], 200_002);
    assert!(run.read("index.jsonl").len() <= 256 * 1024);
    assert_eq!(runner.list(&[])[0]["counts"]["failed"], 1);
}

#[test]
fn drafts_of_compilers_that_died_go_with_the_next_one() {
    let runner = one_test();
    let mut dying = exec_with_cache(&runner, "cache");
    let has_draft = || {
        let entries = fs_err::read_dir(runner.path("cache")).into_iter().flatten();
        let mut names = entries.map(|entry| entry.unwrap().file_name());
        names.any(|name| name.to_string_lossy().starts_with(".draft-"))
    };
    dying.wait_while_alive("it could be caught", has_draft);
    dying.kill();
    runner.write("cache/.draft-dead", "half");
    runner.write("cache/.draft-alive", "half");
    let alive = fs_err::File::open(runner.path("cache/.draft-alive")).unwrap();
    alive.lock().unwrap();

    // A compiler may live on for a moment without whoever started it; it holds its draft as well.
    let mut rounds = 0;
    while artefacts(&runner).len() > 2 {
        for path in artefacts(&runner) {
            if !path.to_string_lossy().contains(".draft-") {
                fs_err::remove_file(path).unwrap();
            }
        }
        exec_with_cache(&runner, "cache").finish().expect(0);
        rounds += 1;
        assert!(rounds < 20, "{:?}", artefacts(&runner));
    }
    let left = artefacts(&runner);
    assert!(
        left.contains(&runner.path("cache/.draft-alive")),
        "{left:?}"
    );
}

#[test]
fn what_processes_left_that_died_while_they_wrote_is_swept() {
    let runner = one_test();
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let folders = [runner.path("results"), run.dir.clone()];
    let leave = || {
        for folder in &folders {
            fs_err::write(folder.join(".new-dead"), "half").unwrap();
        }
    };
    let left = || {
        folders
            .iter()
            .filter(|folder| folder.join(".new-dead").exists())
            .count()
    };
    leave();
    runner.run(&["verify", "latest"]).expect(0);
    runner.run(&["prune"]).expect(0);
    assert_eq!(left(), 2);
    let writer = fs_err::File::open(run.dir.join(".new-dead")).unwrap();
    writer.lock().unwrap();
    runner.run(&["prune", "--no-dry-run"]).expect(0);
    assert_eq!(left(), 1);
    drop(writer);
    runner.run(&["resume", "--from", "latest"]).expect(0);
    assert_eq!(left(), 0);
    leave();
    runner.exec(&[]).expect(0);
    assert!(!runner.path("results/.new-dead").exists());
}
