//! Runs whose providers have files: folders that are granted, artifacts that commands leave, and what is refused beforehand.

use std::path::Path;

use serde_json::json;

use crate::support::{
    files::{names, pipe},
    guests::{guest, module},
    runner::{CommandExt as _, Runner, Running},
};

/// A scenario with a command, as a module or as a component, and an empty folder `tmp` for temporary files.
fn scenario(plugin: &Path, limits: &str, tests: &str) -> Runner {
    let runner = Runner::new(&[]);
    std::os::unix::fs::symlink(plugin, runner.path("files-command.wasm")).unwrap();
    fs_err::create_dir(runner.path("tmp")).unwrap();
    runner.write("note.txt", "attached");
    runner.scenario(&format!(
        r#"
        [providers.p]
        plugin = "files-command.wasm"
        args = ["{{{{input}}}}"]
        output = "json"
        limits = {{ {limits} }}
        {tests}
        "#
    ));
    runner
}

fn start_in(runner: &Runner, tmp: &str, args: &[&str]) -> Running {
    runner.command(args).env("TMPDIR", runner.path(tmp)).start()
}

#[test]
fn a_process_that_begins_with_few_files_opens_as_many_as_it_may() {
    let runner = scenario(
        &module("files-command"),
        "",
        r#"
        grants.fs = [{ path = ".", mount = "/data" }]
        [[tests]]
        id = "hoard"
        input = [["hoard", "/data/note.txt"]]
        "#,
    );
    let limited = r#"ulimit -S -n 100; exec "$runner" exec scenario.toml"#;
    runner.shell(limited).run().expect(0);
    let row = runner.only_run().row("hoard");
    let denied = "having more than 128 files open at once";
    assert_eq!(row["denied"][0]["what"], json!(denied), "{row}");
}

#[test]
fn a_run_keeps_the_artifacts_of_commands_and_nothing_else() {
    for plugin in [guest("files-command"), module("files-command")] {
        let runner = scenario(
            &plugin,
            r#"scratch = "1MiB""#,
            r#"
            [[tests]]
            id = "first"
            files = { "note.txt" = "note.txt" }
            input = [
                ["read", "/files/note.txt"], ["write", "/artifacts/out.txt", "kept"], ["mkdir", "/artifacts/no"],
                ["write", "/scratch/x", "gone"],
            ]
            "#,
        );
        start_in(&runner, "tmp", &["exec", "scenario.toml"])
            .finish()
            .expect(0);
        let run = runner.only_run();
        let row = run.row("first");
        assert_eq!(row["output"][0], json!({"ok": "attached"}), "{row}");
        assert_eq!(run.read("artifacts/0/0-1/out.txt"), "kept");
        // And the host's word about what it did not keep.
        let log = run.said(&row, "log").unwrap();
        assert!(
            log.contains("not kept from `/artifacts`: `no` (not a file)"),
            "{log}"
        );
        assert_eq!(row["artifacts"].as_array().unwrap().len(), 1, "{row}");
        assert_eq!(names(&runner.path("tmp")), [""; 0]);

        // The same in another session.
        start_in(
            &runner,
            "tmp",
            &["resume", "--from", "latest", "--rerun", "all"],
        )
        .finish()
        .expect(0);
        let rows = run.rows();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1]["output"], row["output"]);
        assert_eq!(names(&runner.path("tmp")), [""; 0]);
    }
}

#[test]
fn a_run_says_which_limit_its_command_hit() {
    let runner = scenario(
        &module("files-command"),
        r#"scratch = "1KiB""#,
        r#"
        [[tests]]
        id = "full"
        input = [["write", "/scratch/a", "x"], ["fail"]]
        "#,
    );
    let ran = start_in(&runner, "tmp", &["exec", "scenario.toml"])
        .finish()
        .expect(1);
    ran.says(&["a write to a file was refused, because `limits.scratch` is 1.0 KiB"]);
    let row = runner.only_run().row("full");
    let message = row["checks"][0]["message"].as_str().unwrap();
    assert!(
        message.starts_with(
            "expected exit code 0, got 1; a write to a file was refused, because `limits.scratch` is 1.0 KiB; its \
             standard error ends with"
        ),
        "{message}"
    );
}

#[test]
fn a_run_that_is_stopped_leaves_no_scratch_folder() {
    let runner = scenario(
        &module("files-command"),
        r#"scratch = "1MiB""#,
        r#"
        [[tests]]
        id = "sleeper"
        input = [["write", "/scratch/a", "x"], ["sleep"]]
        "#,
    );
    let mut running = start_in(&runner, "tmp", &["exec", "scenario.toml", "--json"]);
    running.wait_until_running(1);
    let is_written = || {
        let found = walkdir::WalkDir::new(runner.path("tmp")).into_iter();
        found.flatten().any(|entry| entry.file_name() == "a")
    };
    running.wait_for(|_| is_written());
    running.end_by(rustix::process::Signal::INT).0.expect(130);
    assert_eq!(names(&runner.path("tmp")), [""; 0]);
}

#[test]
fn a_session_removes_the_folders_of_those_that_were_killed_and_of_no_other() {
    let runner = scenario(
        &module("files-command"),
        r#"scratch = "1MiB""#,
        r#"
        [[tests]]
        id = "sleeper"
        input = [["write", "/scratch/a", "x"], ["sleep"]]
        [[tests]]
        id = "quick"
        input = [["write", "/scratch/b", "x"]]
        "#,
    );
    let folders = || {
        let mut names = names(&runner.path("tmp"));
        names.retain(|name| name.starts_with("runner-"));
        names
    };
    let is_written = |folder: &String| runner.path("tmp").join(folder).join("scratch/a").exists();
    let sleep = || {
        let args = ["exec", "scenario.toml", "--test", "sleeper", "--json"];
        let mut running = start_in(&runner, "tmp", &args);
        running.wait_until_running(1);
        running
    };
    let mut killed = sleep();
    killed.wait_for(|_| folders().iter().any(is_written));
    let left = folders();
    drop(killed.kill());
    assert_eq!(folders(), left);

    let mut alive = sleep();
    alive.wait_for(|_| {
        folders()
            .iter()
            .any(|name| is_written(name) && !left.contains(name))
    });
    let used = folders();
    assert_eq!(used.len(), 1, "{used:?} beside {left:?}");
    let args = ["exec", "scenario.toml", "--test", "quick"];
    start_in(&runner, "tmp", &args).finish().expect(0);
    assert_eq!(folders(), used);
    alive.end_by(rustix::process::Signal::INT).0.expect(130);
    assert_eq!(folders(), [""; 0]);
}

#[test]
fn a_run_gives_its_provider_the_folders_and_variables_of_its_grants() {
    for plugin in [guest("files-command"), module("files-command")] {
        let runner = scenario(
            &plugin,
            r#"scratch = "1MiB""#,
            r#"
            [providers.p.grants]
            env = { LANG = "C.UTF-8" }
            fs = [{ path = "in", mount = "/in" }, { path = "out", mount = "/out", mode = "rw" }]
            [[tests]]
            id = "both"
            input = [
                ["env"], ["read", "/in/a"], ["write", "/in/a", "x"], ["append", "/out/a", "x"],
                ["rename", "/out/a", "/out/b"], ["read", "/in/../note.txt"], ["read", "/in/pipe"],
            ]
            "#,
        );
        runner.write("in/a", "content");
        runner.write("out/a", "");
        pipe(&runner.path("in/pipe"));

        start_in(&runner, "tmp", &["exec", "scenario.toml"])
            .finish()
            .expect(0);
        let run = runner.only_run();
        let row = run.row("both");
        assert_eq!(
            row["output"],
            json!([
                {"ok": {"LANG": "C.UTF-8"}}, {"ok": "content"}, {"err": "perm"}, {"ok": null}, {"ok": null},
                {"err": "perm"}, {"err": "perm"},
            ])
        );
        let denied = row["denied"].as_array().unwrap();
        let denied: Vec<_> = denied
            .iter()
            .map(|denied| denied["what"].as_str().unwrap())
            .collect();
        assert_eq!(
            denied,
            [
                "reading `../note.txt`, which leads out of its folder",
                "opening `pipe`, which is neither a file nor a folder",
            ]
        );
        assert_eq!(names(&runner.path("out")), ["b"]);

        // Another session has the same.
        fs_err::rename(runner.path("out/b"), runner.path("out/a")).unwrap();
        start_in(
            &runner,
            "tmp",
            &["resume", "--from", "latest", "--rerun", "all"],
        )
        .finish()
        .expect(0);
        assert_eq!(run.rows()[1]["output"], row["output"]);
        assert_eq!(fs_err::read_to_string(runner.path("out/b")).unwrap(), "xx");
        assert_eq!(names(&runner.path("tmp")), [""; 0]);
    }
}

/// A scenario in `project` whose only provider is granted `grants.fs`.
fn granting(folders: &str) -> Runner {
    let runner = scenario(
        &module("files-command"),
        r#"scratch = "1MiB""#,
        &format!(
            r#"
            grants.fs = [{folders}]
            [[tests]]
            id = "a"
            input = [["write", "/made/a", "x"]]
            "#
        ),
    );
    for folder in ["work/inner/deep", "beside"] {
        fs_err::create_dir_all(runner.path(folder)).unwrap();
    }
    runner
}

#[test]
fn a_folder_inside_a_writable_one_is_refused() {
    let runner = granting(
        r#"{ path = "work", mount = "/made", mode = "rw" }, { path = "work/inner", mount = "/inner" }"#,
    );
    for args in [
        &["exec", "scenario.toml"][..],
        &["exec", "scenario.toml", "--dry-run"],
    ] {
        let ran = start_in(&runner, "tmp", args).finish().expect(2);
        for part in [
            "provider `p`",
            "work/inner`, granted as `/inner`, lies or is linked to in",
            "granted as `/made` with mode `rw`",
            "in its place",
            "grant `rw` only of folders in which no other granted folder lies",
        ] {
            assert!(ran.stderr.contains(part), "{}", ran.stderr);
        }
    }
    assert!(!runner.path("results").exists());

    // What a guest has left there may lead anywhere by now.
    fs_err::rename(runner.path("work/inner"), runner.path("moved")).unwrap();
    std::os::unix::fs::symlink("../beside", runner.path("work/inner")).unwrap();
    let ran = start_in(&runner, "tmp", &["exec", "scenario.toml"]).finish();
    let ran = ran.expect(2);
    assert!(
        ran.stderr
            .contains("beside`, granted as `/inner`, lies or is linked to in"),
        "{}",
        ran.stderr
    );

    // The same holds for a call outside of any run, and beside another provider's folder.
    let args = [
        "plugin",
        "run",
        "files-command.wasm",
        "--limit",
        "scratch=1MiB",
        "--grant",
        "fs=work:/made:rw",
        "--grant",
        "fs=work/inner:/inner:rw",
        "--",
        "[]",
    ];
    let ran = start_in(&runner, "tmp", &args).finish().expect(2);
    assert!(
        ran.stderr.contains("lies or is linked to in"),
        "{}",
        ran.stderr
    );

    let other = r#"
        [[tests]]
        id = "a"
        input = []
        [providers.q]
        plugin = "files-command.wasm"
        args = ["[]"]
        grants.fs = [{ path = "work/inner/deep", mount = "/deep" }]
        "#;
    let runner = granting(r#"{ path = "work", mount = "/made", mode = "rw" }"#);
    runner.scenario(&format!(
        r#"
        [providers.p]
        plugin = "files-command.wasm"
        args = ["[]"]
        limits = {{ scratch = "1MiB" }}
        grants.fs = [{{ path = "work", mount = "/made", mode = "rw" }}]
        {other}
        "#
    ));
    let ran = start_in(&runner, "tmp", &["exec", "scenario.toml"])
        .finish()
        .expect(2);
    assert!(ran.stderr.contains("provider `q`"), "{}", ran.stderr);
}

#[test]
fn a_writable_folder_around_what_decides_or_records_is_refused() {
    let work = r#"{ path = "work", mount = "/made", mode = "rw" }"#;
    let run = |folders: &str, args: &[&str], what: &str| {
        let runner = granting(folders);
        fs_err::create_dir_all(runner.path("work/inner/results")).unwrap();
        let args = [&["exec", "scenario.toml", "--dry-run"], args].concat();
        let ran = start_in(&runner, "tmp", &args).finish();
        if what.is_empty() {
            ran.expect(0);
            return;
        }
        let ran = ran.expect(2);
        let expected = format!("would let a guest change {what}, `");
        assert!(ran.stderr.contains(&expected), "{}", ran.stderr);
    };
    run(work, &[], "");
    run(work, &["--results", "work/made/later"], "the results root");
    run(work, &["--into", "work/run"], "the results root");
    let inner = r#"{ path = "work/inner", mount = "/made", mode = "rw" }"#;
    run(inner, &["--results", "work"], "the results root");
    run(inner, &["--into", "work/inner"], "the run");
    run(inner, &["--into", "work/run"], "");
    let root = r#"{ path = "work", mount = "/", mode = "rw" }"#;
    run(root, &[], "");
    run(root, &["--results", "work/later"], "the results root");
    let all = r#"{ path = ".", mount = "/", mode = "rw" }"#;
    run(all, &[], "the results root");
    let tmp = r#"{ path = "tmp", mount = "/made", mode = "rw" }"#;
    run(tmp, &[], "the temporary folder");

    // The scenario, or its plugin, is in the folder itself.
    let runner = granting(work);
    let text = fs_err::read_to_string(runner.path("scenario.toml")).unwrap();
    let plugin = fs_err::read(runner.path("files-command.wasm")).unwrap();
    fs_err::write(runner.path("work/files-command.wasm"), plugin).unwrap();
    let inside = text.replace("\"files-command", "\"../files-command");
    let inside = inside.replace("path = \"work\"", "path = \".\"");
    runner.write("work/scenario.toml", &inside);
    let beside = text.replace("\"files-command", "\"work/files-command");
    runner.write("scenario.toml", &beside);
    for (scenario, what) in [
        ("work/scenario.toml", "the scenario"),
        ("scenario.toml", "a plugin"),
    ] {
        let ran = start_in(&runner, "tmp", &["exec", scenario]).finish();
        let expected = format!("would let a guest change {what}, `");
        let ran = ran.expect(2);
        assert!(ran.stderr.contains(&expected), "{}", ran.stderr);
    }
}

#[test]
fn a_run_does_not_go_on_with_a_link_in_the_place_of_its_folder() {
    let runner = granting(r#"{ path = "work", mount = "/made", mode = "rw" }"#);
    start_in(&runner, "tmp", &["exec", "scenario.toml"])
        .finish()
        .expect(0);
    fs_err::rename(runner.path("work"), runner.path("moved")).unwrap();
    std::os::unix::fs::symlink("beside", runner.path("work")).unwrap();
    let args = ["resume", "--from", "latest", "--rerun", "all"];
    let ran = start_in(&runner, "tmp", &args).finish().expect(2);
    let expected = "cannot be used any more: it is behind a symbolic link by now";
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    assert_eq!(names(&runner.path("beside")), [""; 0]);
}
