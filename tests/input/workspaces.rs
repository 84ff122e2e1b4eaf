//! Workspaces in plans: their bases in previews, stores and fingerprints, and the room that they need.

use std::{fs, os::unix::fs::symlink, thread};

use serde_json::Value;

use crate::messages::outputs::snapshot;
use crate::support::{
    guests::printing,
    run::Run,
    runner::Runner,
    running::{Finished, Running, finished},
};

/// Two tasks on two providers with a base each, and on one without a workspace.
const TASKS: &str = r#"
[providers.agent]
plugin = "bundled:echo"
workspace = { from = "fixtures/{{input.task}}" }

[providers.other]
plugin = "bundled:echo"
workspace = { from = "fixtures/{{input.task}}", mount = "/src", keep = "none" }

[providers.plain]
plugin = "bundled:echo"

[providers.fresh]
plugin = "bundled:echo"
workspace = {}

[[tests]]
id = "a"
input = { task = "a" }
expect = { json = { task = "a" } }

[[tests]]
id = "b"
input = { task = "b" }
expect = { json = { task = "b" } }
"#;

const GRADED: &str = r#"
[providers.agent]
plugin = "bundled:echo"
workspace = {}

[graders.check]
plugin = "bundled:echo"
workspace = "read"
hidden = { "/work/hidden" = "hidden" }

[[tests]]
id = "a"
input = 1
expect = { graders = ["check"] }
"#;

fn tasks(scenario: &str) -> Runner {
    let runner = Runner::new(&[]);
    for (file, text) in [("a/x.txt", "ax"), ("a/deep/y.txt", "ay"), ("b/x.txt", "bx")] {
        let path = runner.path("fixtures").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    symlink("x.txt", runner.path("fixtures/b/link")).unwrap();
    runner.scenario(scenario);
    runner
}

/// Returns the number of rows of each trial with more than one.
fn repeated(run: &Run) -> Vec<String> {
    let rows = run.rows();
    let trials = rows.iter().map(|row| row["trial"].as_str().unwrap().to_owned());
    let mut trials: Vec<_> = trials.collect();
    trials.sort_unstable();
    let repeated = trials.chunk_by(|one, other| one == other).filter(|rows| rows.len() > 1);
    repeated.map(|rows| rows[0].clone()).collect()
}

#[test]
fn previews_describe_workspaces() {
    let runner = tasks(TASKS);
    let lines = [
        "provider `agent` works in `/work`, a copy of `fixtures/{{input.task}}`: one of 2 bases, at most 2 files, 4 B",
        "provider `other` works in `/src`, a copy of `fixtures/{{input.task}}`: one of 2 bases, at most 2 files, 4 B",
        "provider `fresh` works in `/work`, which starts empty",
    ];
    let ran = runner.exec(&["--dry-run"]).expect(0);
    ran.says(&lines);
    snapshot(&ran);
    let ran = runner.exec(&["--dry-run", "--json", "--test", "b"]).expect(0);
    let plan: Value = serde_json::from_str(ran.stdout.lines().next().unwrap()).unwrap();
    let access: Vec<_> = plan["access"].as_array().unwrap().iter().collect();
    assert_eq!(
        *access[0],
        "provider `agent` works in `/work`, a copy of `fixtures/{{input.task}}`: 1 file, 2 B"
    );
    assert_eq!(access.len(), 3);
    runner.run(&["validate", "scenario.toml"]).expect(0);
    // Deterministic runs may have workspaces.
    for key in ["deterministic", "journal"] {
        runner.scenario(&format!("[run]\n{key} = true\n{TASKS}"));
        runner.run(&["validate", "scenario.toml"]).expect(0);
    }
    assert!(!runner.path("results").exists());
}

/// A provider with a workspace, and a test with a grader that has these keys.
fn graded(keys: &str) -> String {
    format!(
        r#"
providers.agent = {{ plugin = "bundled:echo", workspace = {{}} }}
providers.plain = {{ plugin = "bundled:echo" }}
providers.other = {{ plugin = "bundled:echo", workspace = {{ mount = "/src" }} }}
tests = [{{ id = "a", input = {{ task = "a" }}, providers = ["agent"], expect = {{ graders = ["judge"] }} }}]
[graders.judge]
plugin = "bundled:echo"
{keys}
"#
    )
}

/// Returns [`graded`] with only one path of workspaces.
fn graded_at(keys: &str) -> String {
    graded(keys).replace(", workspace = { mount = \"/src\" }", "")
}

#[test]
fn contradictions_of_graders_and_workspaces_are_refused() {
    let runner = tasks(TASKS);
    let files = |files: &str| graded_at(&format!("workspace = \"read\"\nhidden = {{ {files} }}"));
    let read = || graded_at("workspace = \"read\"");
    for (scenario, texts) in [
        (
            graded_at("hidden = { \"/work/x\" = \"fixtures\" }"),
            ["`hidden` files are put into a workspace", "add `workspace = \"read\"` to the grader"],
        ),
        (
            graded_at("workspace = \"rw\""),
            ["`rw` is not a value of `workspace`", "choose from: `read`, `write`"],
        ),
        (files(""), ["must not be empty", ""]),
        (
            graded_at("workspace = \"read\"\nreuse = \"instance\""),
            ["cannot have a new workspace for each", "or remove `workspace`"],
        ),
        (
            graded_at("workspace = \"write\"\nlimits = { scratch = 0 }"),
            ["without `limits.scratch`, the grader cannot write", "the default is then 64 MiB"],
        ),
        (
            read() + "grants.fs = [{ path = \"fixtures\", mount = \"/work/deep\" }]\n",
            ["the folder at `/work/deep` and the workspace at `/work` overlap", "the workspace"],
        ),
        (
            read() + "grants.fs = [{ path = \"fixtures\", mount = \"/x\", mode = \"rw\" }]\n",
            ["`rw` needs a limit of written bytes", ""],
        ),
        (
            read().replace(", workspace = {}", ""),
            ["no provider has a workspace", "add `workspace = { from = \"FOLDER\" }`"],
        ),
        (
            graded("workspace = \"read\"\nhidden = { \"/work/x\" = \"fixtures\" }"),
            ["`hidden` files need one path for all workspaces", "the same `mount`"],
        ),
        (
            files("\"/src/x\" = \"fixtures\""),
            ["`/src/x` is not in the workspace, which is at `/work`", "such as `/work/tests`"],
        ),
        (files("\"/work\" = \"fixtures\""), ["`/work` is not in the workspace", ""]),
        (files("\"work/x\" = \"fixtures\""), ["`work/x` does not start with `/`", ""]),
        (files("\"/work/../x\" = \"fixtures\""), ["has a part that is empty, `.` or `..`", ""]),
        (
            files("\"/work/x\" = \"fixtures\", \"/work/x/y\" = \"fixtures/b\""),
            ["`/work/x/y` is in `/work/x`", "the other one"],
        ),
        (
            files("\"/work/x\" = \"hidden/{{input.other}}\""),
            ["test `a` has no `input.other`", "needed here"],
        ),
        (files("\"/work/x\" = \"hidden\""), ["`hidden` of grader `judge` does not exist", ""]),
        (
            files("\"/work/x\" = \"../{{input.task}}\"").replace("task = \"a\"", "task = \"..\""),
            ["is chosen by its test", "state other folders in `hidden`"],
        ),
        (files("\"/work/x\" = \"/etc\""), ["leads out of the project", ""]),
        (files("\"/work/x\" = \"{{config.x}}\""), ["this template", ""]),
        (
            read().replace("[\"agent\"]", "[\"plain\"]"),
            [
                "grader `judge` reads a workspace, and provider `plain` has no workspace",
                "restrict `providers` of the test, or give it a `workspace`",
            ],
        ),
        (
            read().replace("workspace = {}", "workspace = { keep = \"none\" }"),
            [
                "provider `agent` keeps no changes of its workspace",
                "remove `keep = \"none\"` there",
            ],
        ),
        (
            read().replace("workspace = {}", "workspace = { mount = \"/scratch\" }"),
            ["must be the absolute path of a free folder: `/scratch` is the attempt's own", ""],
        ),
    ] {
        runner.scenario(&scenario);
        runner.refused(&[], &texts);
    }
}

#[test]
fn previews_name_the_files_of_graders() {
    let runner = tasks(TASKS);
    runner.scenario(&graded("workspace = \"write\""));
    snapshot(&runner.exec(&["--dry-run"]).expect(0));
    runner.scenario(&graded_at(
        "workspace = \"read\"\nhidden = { \"/work/x\" = \"fixtures/{{input.task}}\" }",
    ));
    let ran = runner.exec(&["--dry-run"]).expect(0);
    snapshot(&ran);
    runner.run(&["validate", "scenario.toml"]).expect(0);
}

#[test]
fn lowered_scratch_leaves_no_workspace() {
    let runner = tasks(TASKS);
    snapshot(&runner.refused(&["exec", "scenario.toml", "--limit", "scratch=0"], &[]));
    snapshot(&runner.exec(&["--limit", "scratch=1MiB", "--dry-run"]).expect(0));
}

#[test]
fn changed_base_runs_exactly_its_trials_again() {
    let runner = tasks(TASKS);
    runner.exec(&["--into", "results/one"]).expect(0);
    let run = runner.only_run();
    let before = run.rows();
    runner.write("fixtures/a/deep/y.txt", "changed");
    snapshot(&runner.exec(&["--into", "results/one"]).expect(2));
    snapshot(&runner.run(&["resume", "one"]).expect(0));
    assert_eq!(run.rows(), before);
    runner.exec(&["--last-failed", "--dry-run"]).expect(0).says(&["a@agent#1", "a@other#1"]);
    runner.run(&["resume", "one", "--accept-changes"]).expect(0);
    assert_eq!(repeated(&run), ["a@agent#1", "a@other#1"]);
    // A mode, a link and an empty folder are parts of a base, too.
    fs::create_dir(runner.path("fixtures/b/empty")).unwrap();
    runner.run(&["resume", "one", "--accept-changes"]).expect(0);
    assert_eq!(repeated(&run), ["a@agent#1", "a@other#1", "b@agent#1", "b@other#1"]);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn resumed_run_keeps_its_stored_base() {
    let runner = tasks(&TASKS.replace("json = { task = \"a\" }", "equals = 1"));
    runner.exec(&["--fail-fast", "-j1", "--provider", "agent"]);
    let run = runner.only_run();
    assert_eq!(run.ending()[0], "incomplete");
    fs::remove_dir_all(runner.path("fixtures")).unwrap();
    runner.run(&["prune", "--yes", "--older-than", "1d"]).expect(0);
    runner.run(&["verify"]).expect(0);
    runner.run(&["resume", "--fail-fast=off"]).expect(1);
    assert_eq!(run.row("b")["outcome"], "passed");

    // Both the files of a base and their list are in the store, and cannot be replaced unnoticed.
    let shelves = fs::read_dir(runner.path("results/store")).unwrap();
    let shelves = shelves.filter_map(|shelf| fs::read_dir(shelf.unwrap().path()).ok());
    let files: Vec<_> = shelves.flatten().map(|file| file.unwrap().path()).collect();
    let is_base = |bytes: &[u8]| bytes.starts_with(b"{\"path\":\"deep\"");
    for is_wanted in [|bytes: &[u8]| bytes == b"ay", is_base] {
        let file = files.iter().find(|file| is_wanted(&fs::read(file).unwrap())).unwrap();
        let before = fs::read(file).unwrap();
        fs::write(file, "replaced").unwrap();
        runner.run(&["verify"]).expect(1);
        fs::write(file, before).unwrap();
    }
    runner.run(&["verify"]).expect(0);
}

#[test]
fn rescore_judges_outputs_of_the_same_base() {
    let runner = tasks(TASKS);
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    // The first provider moves the indexes of the others.
    let more = "[providers.aaa]\nplugin = \"bundled:echo\"\n";
    runner.scenario(&format!("{more}{}", TASKS.replace("json = { task", "json = { other")));
    runner.write("fixtures/b/x.txt", "changed");
    let ran = runner.run(&["rescore", "--dry-run", "--explain"]).expect(0);
    for (trial, why) in [
        ("a@agent#1", "its expectations or graders have changed"),
        ("a@plain#1", "its expectations or graders have changed"),
        ("b@agent#1", "its test or provider has changed since it ran"),
        ("b@other#1", "its test or provider has changed since it ran"),
        ("b@fresh#1", "its expectations or graders have changed"),
    ] {
        let line = ran.stdout.lines().find(|line| line.contains(trial));
        assert!(line.is_some_and(|line| line.contains(why)), "{trial}: {}", ran.stdout);
    }
    runner.run(&["rescore"]).expect(1);
    let failed = run.rows().iter().filter(|row| row["outcome"] == "failed").count();
    assert_eq!(failed, 6);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn shards_merge_with_their_bases() {
    let runner = tasks(TASKS);
    for shard in ["1/2", "2/2"] {
        runner.exec(&["--shard", shard, "--into", "shards/{shard}", "--scheduler-exit"]).expect(0);
    }
    let merge = ["merge", "--into", "results/whole", "shards/1-of-2", "shards/2-of-2"];
    runner.run(&merge).expect(0);
    runner.run(&["verify", "results/whole"]).expect(0);
    fs::remove_dir_all(runner.path("fixtures")).unwrap();
    fs::remove_dir_all(runner.path("shards")).unwrap();
    runner.run(&["resume", "results/whole", "--rerun", "all"]).expect(0);
}

#[test]
fn base_of_many_files_needs_few_open_ones() {
    let runner = tasks(TASKS);
    for number in 0..400 {
        runner.write(&format!("fixtures/a/{number}"), number.to_string());
    }
    // On one core: a session needs eight files for the worker of each.
    let script = r#"cpu=$(sed -n 's/^Cpus_allowed_list:[^0-9]*\([0-9]*\).*/\1/p' /proc/self/status)
        ulimit -n 500; exec taskset -c "$cpu" "$runner" exec scenario.toml"#;
    Running::start(&mut runner.shell(script)).finish().expect(0);
    let verified = runner.run(&["verify", "--json"]).expect(0).document();
    assert!(verified["contents"].as_u64() > Some(400), "{verified}");
}

fn in_small_folder(runner: &Runner, command: &str) -> Finished {
    in_folder(runner, "size=4m", command)
}

/// Runs a command with a folder for temporary files that is mounted with these options.
fn in_folder(runner: &Runner, options: &str, command: &str) -> Finished {
    let script = format!(
        r#"mkdir -p small && exec unshare -Urm sh -c '
        mount -t tmpfs -o {options} tmpfs small && TMPDIR=$PWD/small exec "$runner" {command}'"#
    );
    Running::start(&mut runner.shell(&script)).finish()
}

#[test]
fn run_without_room_for_its_bases_does_not_start() {
    let runner = tasks(TASKS);
    let mut unlinked = runner.command(&["exec", "scenario.toml"]);
    let ran = Running::start(unlinked.env("RUNNER_TEST_NO_LINKS", "1")).finish().expect(3);
    ran.says(&[
        "workspaces consist of hard links",
        "set `TMPDIR` to a folder on another file system",
    ]);
    let call = ["plugin", "run", "bundled:echo", "--workspace", "fixtures/a"];
    let mut unlinked = runner.command(&call);
    let ran = Running::start(unlinked.env("RUNNER_TEST_NO_LINKS", "1")).finish().expect(3);
    ran.says(&["workspaces consist of hard links"]);
    let mount = finished(&mut runner.shell("unshare -Urm mount -t tmpfs tmpfs /mnt"));
    if mount.code != Some(0) {
        return;
    }
    // Of two copies for workers and one for the session, one does not fit.
    runner.write("fixtures/a/large", vec![0; 3 << 19]);
    // On one core, one worker has both jobs.
    let has_two = thread::available_parallelism().unwrap().get() > 1;
    let refused = if has_two { &["-j 2", "-j 2 --dry-run"][..] } else { &[] };
    for args in refused {
        let ran = in_small_folder(&runner, &format!("exec scenario.toml {args}")).expect(3);
        ran.says(&[
            "the bases of the workspaces and the files of graders need 4.6 MiB",
            "small, for the session and 2 worker",
        ]);
        ran.says(&["set `TMPDIR` to another folder, or lower `-j`"]);
    }
    let ran = in_folder(&runner, "nr_inodes=12", "exec scenario.toml -j 1").expect(3);
    ran.says(&["inodes in", "are free", "remove some files, set `TMPDIR`"]);
    // A copy for the session and one for the worker fit, but not the links of an attempt.
    fs::create_dir(runner.path("fixtures/a/many")).unwrap();
    for number in 0..100 {
        runner.write(&format!("fixtures/a/many/{number}"), number.to_string());
    }
    let ran = in_folder(&runner, "nr_inodes=280", "exec scenario.toml -j 1").expect(3);
    ran.says(&["inodes in", "are free", "remove some files, set `TMPDIR`"]);
    fs::remove_dir_all(runner.path("fixtures/a/many")).unwrap();
    let ran = in_folder(&runner, "nr_inodes=1", "validate scenario.toml").expect(3);
    ran.says(&["its file system has no inode left", "or set `TMPDIR` to another folder"]);
    assert!(runner.runs().is_empty());
    // No attempt starts from the large base.
    in_small_folder(&runner, "exec scenario.toml -j 2 --test b").expect(0);
    in_small_folder(&runner, "exec scenario.toml -j 1").expect(0);
    // The files of a grader are stored as well, and copied by a worker.
    fs::create_dir(runner.path("hidden")).unwrap();
    runner.write("hidden/large", vec![1; 5 << 19]);
    runner.scenario(GRADED);
    let ran = in_small_folder(&runner, "exec scenario.toml -j 1").expect(3);
    ran.says(&["the files of graders need 5 MiB"]);
}

/// A grader that reads a workspace needs a copy of its base, also if no attempt starts here.
#[test]
fn graders_have_room_for_the_bases_that_they_read() {
    let runner = tasks(TASKS);
    let mount = finished(&mut runner.shell("unshare -Urm mount -t tmpfs tmpfs /mnt"));
    if mount.code != Some(0) {
        return;
    }
    runner.write("fixtures/a/large", vec![0; 5 << 19]);
    let graded = |expect: &str| {
        runner.scenario(&format!(
            "[providers.agent]\nplugin = \"bundled:echo\"\nworkspace.from = \"fixtures/a\"\n\
             [graders.reader]\nplugin = \"bundled:echo\"\nworkspace = \"read\"\n\
             [graders.other]\nplugin = \"bundled:echo\"\n\
             [[tests]]\nid = \"a\"\ninput = 1\n{expect}"
        ));
    };
    graded("");
    runner.exec(&[]).expect(0);
    graded("expect.graders = [\"reader\"]");
    let needs = "the bases of the workspaces and the files of graders need 5 MiB";
    in_small_folder(&runner, "rescore").expect(3).says(&[needs]);
    let broker = "exec scenario.toml --broker nats://127.0.0.1:9 --test a";
    in_small_folder(&runner, broker).expect(3).says(&[needs]);
    graded("expect.graders = [\"other\"]");
    // An echo is no grade.
    in_small_folder(&runner, "rescore").expect(1);
}

#[test]
fn checks_that_cannot_fail_are_named() {
    let runner = tasks("");
    let agent = "[providers.agent]\nplugin = \"bundled:echo\"\nworkspace.from = \"fixtures/a\"\n[providers.fresh]\nplugin = \"bundled:echo\"\nworkspace = {}\n";
    let validated = |expect: &[&str]| {
        let tests = expect.iter().enumerate().map(|(number, expect)| {
            format!("[[tests]]\nid = \"t{number}\"\ninput = 1\nexpect = {{ {expect} }}\n")
        });
        runner.scenario(&(agent.to_owned() + &tests.collect::<String>()));
        runner.run(&["validate", "scenario.toml"]).expect(0)
    };
    let near = |glob: &str, path: &str| {
        format!(
            "`unchanged = [\"{glob}\"]` in test `t0`: no path in `base` matches; did you mean `{path}`?"
        )
    };
    for (glob, path) in [
        ("deap/**", "deep/**"),
        ("deeps", "deep"),
        ("dep/y.txt", "deep/y.txt"),
        ("deep/y.tx", "deep/y.txt"),
    ] {
        let ran = validated(&[&format!("workspace.unchanged = [\"{glob}\", \"x.txt\"]")]);
        ran.says(&[&near(glob, path)]);
        assert_eq!(ran.stderr.matches("did you mean").count(), 1, "{}", ran.stderr);
    }
    // These forbid new files, also in a workspace that starts empty.
    let others = r#"workspace.unchanged = ["conftest.py", "deep/*.bak", "deep/z", "**/a.py", "[x].txt", "deep"]"#;
    let ran = validated(&[others, "equals = 1"]);
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    let empty =
        ["json = {}", "json = {}", "stderr = {}, equals = 1", "workspace = {}", "transcript = {}"];
    snapshot(&validated(&empty));
    runner.wat("plain.wasm", &printing("hello"));
    let agent = agent.replace("bundled:echo", "plain.wasm");
    runner.scenario(&format!("{agent}[[tests]]\nid = \"a\"\nexpect.transcript.max_calls = 3\n"));
    snapshot(&runner.run(&["validate", "scenario.toml"]).expect(0));
}

#[test]
fn globs_that_match_no_path_of_a_workspace_are_refused() {
    let runner = Runner::new(&[]);
    for (key, glob) in
        [("unchanged", "/work/src/**"), ("changed", "./src/**"), ("unchanged", "src/")]
    {
        runner.scenario(&format!(
            "[providers.p]\nplugin = \"bundled:echo\"\nworkspace = {{}}\n\
             [[tests]]\nid = \"a\"\nexpect.workspace.{key} = [\"{glob}\"]\n"
        ));
        let says = format!("write a path below the workspace, such as `src/**`, not `{glob}`");
        runner.refused(&[], &[&says]);
    }
}
