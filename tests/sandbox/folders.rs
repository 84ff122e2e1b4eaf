//! Folders that are granted, and what the runner itself reads and writes: no guest gets at more than it was granted by way
//! of either.

use std::{
    os::unix::fs::{DirBuilderExt as _, symlink},
    path::Path,
    thread,
    time::Duration,
};

use crate::support::{
    guests::module,
    runner::{CommandExt as _, Ran, Runner},
    wait::wait_until,
};

/// A folder with a plugin that does with files what its input says, and the folder `work` for it to write to.
fn runner() -> Runner {
    let runner = Runner::new(&[]);
    symlink(module("files-command"), runner.path("files.wasm")).unwrap();
    for folder in ["work/inner", "beside", "tmp"] {
        fs_err::create_dir_all(runner.path(folder)).unwrap();
    }
    runner
}

/// The scenario, with `work` to write to and more tests.
fn scenario(plugin: &str, tests: &str) -> String {
    format!(
        r#"
        [providers.p]
        plugin = "{plugin}"
        args = ["{{{{input}}}}"]
        output = "json"
        limits = {{ scratch = "1MiB" }}
        grants.fs = [{{ path = "work", mount = "/made", mode = "rw" }}]
        [[tests]]
        id = "a"
        input = [["write", "/made/a", "x"]]
        {tests}
        "#
    )
}

fn start(runner: &Runner, args: &[&str]) -> Ran {
    runner.command(args).env("TMPDIR", runner.path("tmp")).run()
}

/// Makes a call of the plugin that may write to `work`.
fn call(runner: &Runner, args: &[&str]) -> Ran {
    let granted = [
        "plugin",
        "run",
        "files.wasm",
        "--limit",
        "scratch=1MiB",
        "--grant",
        "fs=work:/made:rw",
    ];
    start(runner, &[&granted, args].concat())
}

#[track_caller]
fn assert_refused(ran: Ran, what: &str) {
    let ran = ran.expect(2);
    let expected = format!("would let a guest change {what}, `");
    let text = ran.stderr.replace('\n', " ");
    assert!(text.contains(&expected), "{what}: {}", ran.stderr);
}

/// Puts something at a place inside `work`, or where a link there leads to.
fn put(runner: &Runner, name: &str, content: &str, is_linked: bool) {
    let place = runner.path("work").join(name);
    fs_err::create_dir_all(place.parent().unwrap()).unwrap();
    if is_linked {
        let real = Path::new("beside").join(name);
        runner.write(real.to_str().unwrap(), content);
        symlink(runner.path("beside").join(name), &place).unwrap();
    } else {
        fs_err::write(&place, content).unwrap();
    }
}

#[test]
fn nothing_that_a_scenario_is_made_of_is_in_a_writable_folder() {
    let list = r#"{"id": "l", "input": []}"#;
    let lists = |glob: &str| format!("[[test_lists]]\nfiles = [\"{glob}\"]");
    let attached =
        |file: &str| format!("[[tests]]\nid = \"b\"\ninput = []\nfiles = {{ note = \"{file}\" }}");
    let expecting = "[[tests]]\nid = \"b\"\ninput = []\nexpect = { schema = \"work/a.json\" }";
    for (file, content, tests, what) in [
        ("att", "x", attached("work/att"), "an attachment"),
        // A test that is not selected is another time.
        (
            "att",
            "x",
            format!("{}\ntags = [\"no\"]", attached("work/att")),
            "an attachment",
        ),
        ("l.jsonl", list, lists("work/l.jsonl"), "a test list"),
        ("l.jsonl", list, lists("work/*.jsonl"), "a test list"),
        ("a.json", "{}", expecting.to_owned(), "a schema"),
    ] {
        for is_linked in [false, true] {
            let runner = runner();
            put(&runner, file, content, is_linked);
            runner.scenario(&scenario("files.wasm", &tests));
            for args in [
                &["exec", "scenario.toml", "--test", "a"][..],
                &["exec", "scenario.toml", "--dry-run"],
                &["validate", "scenario.toml"],
            ] {
                assert_refused(start(&runner, args), what);
            }
            assert!(!runner.path("results").exists());
            assert!(!runner.path("work/a").exists());
        }
    }

    // What lies nowhere but beside is no matter of it.
    let runner = runner();
    runner.write("beside/att", "x");
    runner.scenario(&scenario("files.wasm", &attached("beside/att")));
    start(&runner, &["validate", "scenario.toml"]).expect(0);
    start(&runner, &["exec", "scenario.toml", "--test", "a"]).expect(0);
}

#[test]
fn where_a_new_test_list_would_be_found_nobody_may_write() {
    for (glob, is_refused) in [
        ("**/*.jsonl", true),
        ("*/*.jsonl", true),
        ("beside/*.jsonl", false),
    ] {
        let runner = runner();
        runner.write("beside/l.jsonl", r#"{"id": "l", "input": []}"#);
        runner.scenario(&scenario(
            "files.wasm",
            &format!("[[test_lists]]\nfiles = [\"{glob}\"]"),
        ));
        let ran = start(&runner, &["exec", "scenario.toml", "--dry-run"]);
        if is_refused {
            assert_refused(ran, "a folder in which test lists are looked for");
        } else {
            ran.expect(0);
        }
    }
}

#[test]
fn what_a_path_leads_through_counts_as_much_as_where_it_ends() {
    let runner = runner();
    runner.write("beside/att", "x");
    symlink("work/inner/way/att", runner.path("att")).unwrap();
    symlink("../../beside", runner.path("work/inner/way")).unwrap();
    let tests = "[[tests]]\nid = \"b\"\ninput = []\nfiles = { note = \"att\" }";
    runner.scenario(&scenario("files.wasm", tests));
    let ran = start(&runner, &["exec", "scenario.toml"]);
    assert_refused(ran, "an attachment");

    let over = tests.replace("\"att\"", "\"work/inner/../../beside/att\"");
    runner.scenario(&scenario("files.wasm", &over));
    assert_refused(start(&runner, &["exec", "scenario.toml"]), "an attachment");
}

#[test]
fn the_source_of_a_plugin_is_not_in_a_writable_folder_nor_is_one_in_it() {
    let wasm = fs_err::read(module("files-command")).unwrap();
    let plugin = |runner: &Runner, folder: &str| {
        runner.write(
            &format!("{folder}/plugin.toml"),
            "name = \"p\"\nlanguage = \"rust\"\nkind = \"command\"\n",
        );
        runner.write(&format!("{folder}/dist/plugin.wasm"), &wasm);
    };
    for (folder, crates, granted) in [
        ("work/inner", "", "work"),
        ("work", "", "work/inner"),
        ("beside", "work/inner", "work"),
        ("beside", "work", "work/inner"),
    ] {
        let runner = runner();
        plugin(&runner, folder);
        if !crates.is_empty() {
            let manifest = format!("[dependencies]\nother = {{ path = \"../{crates}\" }}\n");
            runner.write("beside/Cargo.toml", manifest);
        }
        let text = scenario(folder, "");
        runner.scenario(&text.replace("path = \"work\"", &format!("path = \"{granted}\"")));
        for args in [
            &["exec", "scenario.toml"][..],
            &["exec", "scenario.toml", "--dry-run"],
            // No tool is started, or it would complain of what is no crate.
            &["exec", "scenario.toml", "--build"],
            &["validate", "scenario.toml"],
        ] {
            let ran = start(&runner, args);
            assert!(!ran.stderr.contains("building"), "{}", ran.stderr);
            assert_refused(ran, "the source of a plugin");
        }
        let grant = format!("fs={granted}:/made:rw");
        let args = [
            "plugin",
            "run",
            folder,
            "--limit",
            "scratch=1MiB",
            "--grant",
            &grant,
            "--",
            "[]",
        ];
        assert_refused(start(&runner, &args), "the source of the plugin");
    }
}

#[test]
fn what_this_process_uses_is_not_in_a_writable_folder() {
    let runner = runner();
    runner.scenario(&scenario("files.wasm", ""));
    runner.write("work/secrets", "A=b");
    let dry = ["exec", "scenario.toml", "--dry-run"];
    let args = [&dry[..], &["--secret-file", "work/secrets"]].concat();
    assert_refused(start(&runner, &args), "a file of secrets");
    let with = |name: &str, value: &Path| {
        runner
            .command(&dry)
            .env("TMPDIR", runner.path("tmp"))
            .env(name, value)
            .run()
    };
    let inner = runner.path("work/inner");
    assert_refused(with("TMPDIR", &inner), "the temporary folder");
    assert_refused(
        with("RUNNER_CACHE", &inner),
        "the cache of compiled plugins",
    );
    assert_refused(with("PATH", &inner), "a folder of programs");
    assert_refused(with("CARGO_HOME", &inner), "a folder of build tools");
    for name in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
        assert_refused(with(name, &inner), "the certificates that are trusted");
    }
    assert_refused(
        with("RUSTUP_HOME", &runner.path(".")),
        "a folder of build tools",
    );
    assert_refused(
        with("RUNNER_RESULTS", &runner.path("work/results")),
        "the results root",
    );

    // The results root leads to a place in it, as a whole or for its content alone.
    fs_err::create_dir(runner.path("root")).unwrap();
    symlink("../work/inner", runner.path("root/store")).unwrap();
    let args = [&dry[..], &["--into", "root/run"]].concat();
    assert_refused(start(&runner, &args), "the content store");
    symlink("work/inner", runner.path("linked")).unwrap();
    let args = [&dry[..], &["--results", "linked"]].concat();
    assert_refused(start(&runner, &args), "the results root");

    // The program is its own compiler.
    let mut copied = std::process::Command::new(runner.path("work/runner"));
    fs_err::copy(env!("CARGO_BIN_EXE_runner"), runner.path("work/runner")).unwrap();
    copied.args(dry).current_dir(runner.path("."));
    copied.env_clear().env("TMPDIR", runner.path("tmp"));
    assert_refused(copied.run(), "the runner's program");
}

#[test]
fn nobody_writes_into_another_run_or_into_the_private_folder_of_an_attempt() {
    let runner = runner();
    runner.scenario(&scenario("files.wasm", ""));
    start(&runner, &["exec", "scenario.toml", "--into", "root/old"]).expect(0);
    let private = format!("tmp/runner-attempt-{}", "0".repeat(32));
    fs_err::create_dir_all(runner.path(&private).join("scratch")).unwrap();
    let text = scenario("files.wasm", "");
    let args = ["exec", "scenario.toml", "--into", "root/new"];
    for (folder, what) in [
        ("root/old".to_owned(), "a run"),
        (
            format!("{private}/scratch"),
            "the private folder of an attempt",
        ),
    ] {
        runner.scenario(&text.replace("path = \"work\"", &format!("path = \"{folder}\"")));
        assert_refused(start(&runner, &args), what);
    }
}

#[test]
fn a_run_does_not_go_on_with_a_writable_folder_around_what_it_reads() {
    let runner = runner();
    let attached = "[[tests]]\nid = \"b\"\ninput = []\nfiles = { note = \"att\" }";
    runner.write("att", "x");
    runner.scenario(&scenario("files.wasm", attached));
    start(&runner, &["exec", "scenario.toml"]).expect(0);
    runner.write("work/secrets", "A=b");
    let resume = ["resume", "--from", "latest", "--rerun", "all"];
    let args = [&resume[..], &["--secret-file", "work/secrets"]].concat();
    for more in [&[][..], &["--dry-run"], &["--explain"]] {
        let ran = start(&runner, &[&args[..], more].concat());
        assert_refused(ran, "a file of secrets");
    }
    start(&runner, &resume).expect(0);

    // The file is in the folder by now, and the run is to adopt that.
    runner.write("work/att", "x");
    runner.scenario(&scenario(
        "files.wasm",
        &attached.replace("\"att\"", "\"work/att\""),
    ));
    for more in [&[][..], &["--dry-run"]] {
        let ran = start(
            &runner,
            &[&resume[..], &["--accept-changes"], more].concat(),
        );
        assert_refused(ran, "an attachment");
    }
    start(&runner, &resume).expect(0);
}

#[test]
fn what_a_call_is_given_is_not_in_a_writable_folder() {
    let runner = runner();
    for file in ["input", "config", "stdin", "secrets", "att"] {
        runner.write(&format!("work/{file}"), "{}");
    }
    for (args, what) in [
        (&["--input", "@work/input"][..], "the input"),
        (&["--config", "@work/config"], "the configuration"),
        (&["--stdin", "@work/stdin"], "the standard input"),
        (&["--secret-file", "work/secrets"], "a file of secrets"),
        (&["--file", "att=work/att"], "an attachment"),
        (&["--artifacts", "work/out"], "the folder of its artifacts"),
        (
            &["--artifacts", "work/inner/../out"],
            "the folder of its artifacts",
        ),
        (&["--artifacts", "."], "the folder of its artifacts"),
    ] {
        let args = [args, &["--", "[]"]].concat();
        assert_refused(call(&runner, &args), what);
    }
    assert!(!runner.path("work/out").exists());
    call(&runner, &["--artifacts", "out", "--", "[]"]).expect(0);
    // No way for the guest to have it lead elsewhere.
    symlink("../out", runner.path("work/link")).unwrap();
    let args = ["--artifacts", "work/link", "--", "[]"];
    assert_refused(call(&runner, &args), "the folder of its artifacts");
}

#[test]
fn artifacts_go_into_the_folder_that_was_there_before_the_plugin_ran() {
    let runner = runner();
    let out = runner.path("out");
    let mut command = runner.command(&[
        "plugin",
        "run",
        "files.wasm",
        "--limit",
        "scratch=1MiB",
        "--artifacts",
        "out",
        "--",
        r#"[["write", "/artifacts/report.txt", "x"]]"#,
    ]);
    // Compiling takes long enough.
    command.env("RUNNER_CACHE", runner.path("cache"));
    let mut running = command.start();
    wait_until("the folder is made", || out.exists());
    thread::sleep(Duration::from_millis(50));
    fs_err::rename(&out, runner.path("moved")).unwrap();
    symlink("beside", &out).unwrap();
    assert!(running.is_alive());
    running.finish().expect(0);
    assert!(runner.path("moved/report.txt").exists());
    assert!(!runner.path("beside/report.txt").exists());
}

#[test]
fn what_the_kernel_shows_as_files_is_not_granted() {
    let runner = runner();
    symlink("/proc/self", runner.path("link")).unwrap();
    let text = scenario("files.wasm", "");
    for (folder, place) in [
        ("/", "`/`, granted as `/made`, has `/proc` in it"),
        ("/proc", "is in `/proc`"),
        ("/proc/self", "is in `/proc`"),
        ("/proc/self/root", "has `/proc` in it"),
        ("/sys", "is in `/sys`"),
        ("/sys/kernel", "is in `/sys`"),
        ("/dev", "is in `/dev`"),
        ("link", "is in `/proc`"),
        ("link/task", "is in `/proc`"),
    ] {
        for mode in ["ro", "rw"] {
            let text = text.replace("path = \"work\"", &format!("path = \"{folder}\""));
            runner.scenario(&text.replace("mode = \"rw\"", &format!("mode = \"{mode}\"")));
            let grant = format!("fs={folder}:/made:{mode}");
            for args in [
                &["exec", "scenario.toml"][..],
                &["exec", "scenario.toml", "--dry-run"],
                &["validate", "scenario.toml"],
                &[
                    "plugin",
                    "run",
                    "files.wasm",
                    "--limit",
                    "scratch=1MiB",
                    "--grant",
                    &grant,
                    "--",
                    "[]",
                ],
            ] {
                let ran = start(&runner, args).expect(2);
                let said = ran.stderr.replace('\n', " ");
                assert!(said.contains(place), "{folder}: {}", ran.stderr);
                assert!(said.contains("the runner's environment"), "{said}");
            }
        }
    }
    // The guest's own name for a folder may be any of these.
    let named = text.replace("mount = \"/made\"", "mount = \"/proc\"");
    runner.scenario(&named.replace("\"/made/a\"", "\"/proc/a\""));
    start(&runner, &["exec", "scenario.toml"]).expect(0);
    assert!(runner.path("work/a").exists());
}

#[test]
fn a_session_deletes_nothing_but_what_an_attempt_has_left() {
    let runner = runner();
    runner.scenario(&scenario("files.wasm", ""));
    // A run among temporary files, called as the folders of attempts were once, and folders of somebody else's.
    let args = ["exec", "scenario.toml", "--into", "tmp/runner-x"];
    start(&runner, &args).expect(0);
    let token = "5".repeat(32);
    let named = format!("tmp/runner-attempt-{token}");
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(runner.path(&named))
        .unwrap();
    runner.write(&format!("{named}/lock"), "mine");
    runner.write("tmp/runner-old/lock", "");
    runner.write("tmp/runner-old/scratch/a", "mine");
    start(&runner, &["exec", "scenario.toml"]).expect(0);
    for stays in [
        "tmp/runner-x/index.jsonl",
        "tmp/runner-x/benchmark.json",
        "tmp/runner-old/scratch/a",
        &format!("{named}/lock"),
    ] {
        assert!(runner.path(stays).exists(), "{stays}");
    }
    start(&runner, &["verify", "tmp/runner-x"]).expect(0);
}
