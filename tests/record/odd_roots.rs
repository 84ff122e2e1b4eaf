//! Results roots in which something odd lies, which odd ways lead to, or which have odd names.

use std::{
    ffi::OsStr,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::Path,
};

use serde_json::Value;

use crate::support::{
    files::{paths, pipe},
    runner::{CommandExt as _, Run, Runner, tests},
};

fn scenario() -> Runner {
    Runner::hostile(&tests(
        r#"
        a | { do = "echo", value = 1 } | equals = 1
        b | { do = "echo", value = 2 } | equals = 3
        "#,
    ))
}

/// A run that is completed, and failed.
fn completed() -> (Runner, Run) {
    let runner = scenario();
    runner.exec(&["-j1"]).expect(1);
    let run = runner.only_run();
    (runner, run)
}

fn run_manifest(run: &Path) -> Value {
    serde_json::from_slice(&fs_err::read(run.join("benchmark.json")).unwrap()).unwrap()
}

#[test]
fn what_is_no_run_is_left_out_by_name_and_disturbs_no_command() {
    let (runner, run) = completed();
    let root = runner.path("results");
    symlink("loop", root.join("loop")).unwrap();
    pipe(&root.join("pipe"));
    fs_err::write(root.join("file"), "").unwrap();
    fs_err::create_dir_all(root.join("folder/benchmark.json")).unwrap();
    fs_err::create_dir(root.join("piped")).unwrap();
    pipe(&root.join("piped/benchmark.json"));
    // As nobody but an administrator may look there, nobody is told of it.
    fs_err::create_dir(root.join("lost+found")).unwrap();
    symlink("benchmark.json", root.join("lost+found/benchmark.json")).unwrap();
    let unnamed = root.join(OsStr::from_bytes(b"caf\xe9"));
    fs_err::create_dir(&unnamed).unwrap();
    fs_err::copy(
        run.dir.join("benchmark.json"),
        unnamed.join("benchmark.json"),
    )
    .unwrap();

    let odd = ["loop", "folder", "piped", "caf\u{fffd}"];
    for args in [&["list"][..], &["prune"], &["reindex"]] {
        let ran = runner.run(args).expect(0);
        for name in odd {
            let told = format!("`results/{name}` is left out");
            assert_eq!(ran.stderr.matches(&told).count(), 1, "{args:?}: {ran:?}");
        }
        assert!(!ran.stderr.contains("lost+found"), "{ran:?}");
        assert!(!ran.stderr.contains("`results/pipe`"), "{ran:?}");
    }
    assert_eq!(runner.list(&[]).len(), 1);

    // Whoever names one run hears of no other.
    let (id, dir) = (run.id(), run.dir.to_str().unwrap());
    for name in [id, &id[24..], dir, "latest"] {
        for (args, code) in [
            (["show", name].as_slice(), 0),
            (&["verify", name], 0),
            (&["wait", name], 1),
            (&["logs", name], 0),
            (&["pin", name], 0),
            (&["unpin", name], 0),
            (&["stop", name], 0),
            (&["resume", "--from", name, "--rerun", "failed"], 1),
        ] {
            let ran = runner.run(args).expect(code);
            assert!(!ran.stderr.contains("left out"), "{args:?}: {ran:?}");
        }
    }
    for name in odd {
        runner.run(&["show", name]).expect(2);
    }
    runner.run(&["cleanup", "--no-dry-run"]).expect(0);
    runner.exec(&[]).expect(1);
    assert_eq!(runner.list(&[]).len(), 2);
}

#[test]
fn a_pipe_in_the_place_of_a_runs_file_lets_no_command_wait() {
    let (runner, run) = completed();
    let id = run.id().to_owned();
    let root = runner.path("results");
    let (good, odd) = (root.join("good"), root.join(&id));
    fs_err::rename(&odd, &good).unwrap();
    for name in [
        "lock",
        "index.jsonl",
        "inflight",
        "scenario.toml",
        "runner.log",
        "last-words.json",
        "request-stop.json",
    ] {
        for status in ["completed", "running"] {
            fs_err::create_dir(&odd).unwrap();
            for file in ["benchmark.json", "lock", "index.jsonl", "scenario.toml"] {
                fs_err::copy(good.join(file), odd.join(file)).unwrap();
            }
            let mut manifest = run_manifest(&odd);
            manifest["status"] = status.into();
            fs_err::write(odd.join("benchmark.json"), manifest.to_string()).unwrap();
            _ = fs_err::remove_file(odd.join(name));
            pipe(&odd.join(name));

            for args in [
                &["list"][..],
                &["show", &id, "--history"],
                &["verify", &id],
                &["logs", &id],
                &["logs", &id, "--runner"],
                &["resume", "--from", &id, "--dry-run"],
                &["resume", "--from", &id, "--rerun", "failed"],
                &["stop", &id, "--kill"],
                &["cancel", &id],
                &["cleanup", "--no-dry-run"],
                &["prune", &id],
            ] {
                // Each comes to its end; one that hangs is a failure of `finish`.
                let ran = runner.run(args);
                assert!(
                    !matches!(ran.code, None | Some(70 | 101)),
                    "{name}, {args:?}: {ran:?}"
                );
            }
            let listed = runner.run(&["list"]).expect(0);
            assert!(listed.stdout.contains("good"), "{name}: {listed:?}");
            fs_err::remove_dir_all(&odd).unwrap();
        }
    }
}

#[test]
fn a_link_to_a_run_leads_to_its_own_root() {
    let (runner, run) = completed();
    let elsewhere = runner.path("elsewhere");
    fs_err::create_dir(&elsewhere).unwrap();
    symlink(&run.dir, elsewhere.join("link")).unwrap();
    symlink(runner.path("results"), runner.path("root-link")).unwrap();
    let before = paths(&elsewhere);

    let through_root = format!("root-link/{}", run.id());
    for name in [
        "elsewhere/link",
        "elsewhere/link/",
        "elsewhere/link/.",
        "./elsewhere/../elsewhere/link",
        &through_root,
    ] {
        for (args, code) in [
            (["show", name].as_slice(), 0),
            (&["verify", name], 0),
            (&["pin", name], 0),
            (&["unpin", name], 0),
            (&["stop", name], 0),
            (&["wait", name], 1),
            (&["resume", "--from", name, "--dry-run"], 0),
            (&["resume", "--from", name, "--rerun", "all"], 1),
            (&["exec", "scenario.toml", "--into", name], 1),
        ] {
            runner.run(args).expect(code);
        }
        assert_eq!(paths(&elsewhere), before, "{name}");
    }
    assert_eq!(run.manifest()["run_id"], run.id());

    // From inside of it, and from another folder by what a link there is called.
    for (folder, name) in [(&run.dir, "."), (&elsewhere, "./link")] {
        runner
            .command(&["resume", "--rerun", "all", "--from", name])
            .current_dir(folder)
            .run()
            .expect(1);
    }
    assert_eq!(paths(&elsewhere), before);

    // A link in another root is a way to the run, and no run of that root.
    fs_err::create_dir(runner.path("other")).unwrap();
    symlink(&run.dir, runner.path("other/alias")).unwrap();
    runner
        .run(&[
            "resume",
            "--results",
            "other",
            "--from",
            "alias",
            "--rerun",
            "all",
        ])
        .expect(1);
    assert!(!runner.path("other/store").exists());
    runner.run(&["verify", run.id()]).expect(0);
}

#[test]
fn a_root_whose_name_is_no_text_is_a_root_like_any_other() {
    let runner = scenario();
    let root = runner.path("").join(OsStr::from_bytes(b"caf\xe9"));
    let run = |args: &[&str], code: i32| {
        runner
            .command(args)
            .env("RUNNER_RESULTS", &root)
            .run()
            .expect(code)
    };
    run(&["exec", "scenario.toml"], 1);
    run(&["exec", "scenario.toml", "--json"], 1);
    for (args, code) in [
        (&["list"][..], 0),
        (&["show", "latest"], 0),
        (&["verify", "latest"], 0),
        (&["cleanup"], 0),
        (&["stop", "latest"], 0),
        (&["wait", "latest"], 1),
        (&["resume", "--from", "latest"], 1),
        (&["resume", "--from", "latest", "--rerun", "all"], 1),
        (&["cancel", "latest"], 2),
        (&["prune", "--keep-last", "1"], 0),
    ] {
        run(args, code);
        let json = run(&[args, &["--json"]].concat(), code);
        for document in serde_json::Deserializer::from_str(&json.stdout).into_iter::<Value>() {
            document.unwrap();
        }
    }
    run(&["pin", "latest"], 0);
    run(&["reindex"], 0);
    let listed: Value = serde_json::from_str(&run(&["list", "--json"], 0).stdout).unwrap();
    let dir = listed["runs"][0]["run_dir"].as_str().unwrap();
    assert!(dir.contains("caf\u{fffd}"), "{dir}");
}

#[test]
fn a_folder_that_is_granted_below_a_name_that_is_no_text_keeps_no_run_from_being_born() {
    let runner = scenario();
    let folder = runner.path("").join(OsStr::from_bytes(b"caf\xe9"));
    fs_err::create_dir_all(folder.join("granted")).unwrap();
    let text = fs_err::read_to_string(runner.path("scenario.toml")).unwrap();
    let text = text.replace("hostile.wasm", "../hostile.wasm");
    let grant = "grants.fs = [{ path = \"granted\", mount = \"/granted\" }]\n";
    fs_err::write(folder.join("scenario.toml"), text + grant).unwrap();
    runner
        .command(&["exec", "scenario.toml", "--json"])
        .current_dir(&folder)
        .run()
        .expect(1);
}

#[test]
fn prunes_and_lists_at_the_same_time_are_in_nobodys_way() {
    let (runner, _) = completed();
    for _ in 0..3 {
        for _ in 0..4 {
            runner.exec(&["-j1", "--quiet"]).expect(1);
        }
        let prune = ["prune", "--keep-last", "0", "--no-dry-run"];
        let commands: [&[&str]; 10] = [
            &prune,
            &["list"],
            &prune,
            &["cleanup"],
            &prune,
            &["list"],
            &prune,
            &["reindex"],
            &prune,
            &["list"],
        ];
        let running: Vec<_> = commands
            .iter()
            .map(|args| (args, runner.command(args).start()))
            .collect();
        for (args, running) in running {
            let ran = running.finish().expect(0);
            assert!(!ran.stderr.contains("warning"), "{args:?}: {ran:?}");
        }
        let left: Vec<_> = fs_err::read_dir(runner.path("results"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("20"))
            .collect();
        assert_eq!(left, [""; 0]);
    }
}

#[test]
fn what_is_damaged_in_the_content_store_is_replaced_by_the_run_that_needs_it() {
    let (runner, run) = completed();
    let store = runner.path("results/store");
    let manifest = run_manifest(&run.dir);
    let digests = manifest["content"].as_array().unwrap();
    let elsewhere = runner.path("elsewhere");
    for digest in digests.iter().map(|digest| digest.as_str().unwrap()) {
        let entry = store.join(&digest[..2]).join(digest);
        let good = fs_err::read(&entry).unwrap();
        fs_err::write(&elsewhere, &good).unwrap();
        let damages: [&dyn Fn(); 5] = [
            &|| fs_err::write(&entry, &good[..good.len() / 2]).unwrap(),
            &|| fs_err::write(&entry, "").unwrap(),
            &|| fs_err::write(&entry, vec![b' '; good.len()]).unwrap(),
            &|| symlink(&elsewhere, &entry).unwrap(),
            &|| pipe(&entry),
        ];
        for damage in damages {
            fs_err::remove_file(&entry).unwrap();
            damage();
            let ran = runner.exec(&[]).expect(1);
            let log = runner.run(&["logs", "latest", "--runner"]).expect(0);
            for said in [&ran.stderr, &log.stdout] {
                assert_eq!(said.matches("has been replaced: it").count(), 1, "{said}");
                assert!(said.contains(digest), "{said}");
            }
            assert!(fs_err::symlink_metadata(&entry).unwrap().is_file());
            assert_eq!(fs_err::read(&entry).unwrap(), good);

            runner
                .run(&["resume", "--from", "latest", "--rerun", "failed"])
                .expect(1);
            runner.run(&["verify", "latest"]).expect(0);
        }
        assert_eq!(fs_err::read(&elsewhere).unwrap(), good);
    }
    assert!(!runner.exec(&[]).expect(1).stderr.contains("replaced"));
}
