//! What the machine does not give: files, memory, threads. None of it is a guest's fault, and none of it settles a trial.

use serde_json::json;

use crate::support::runner::{CommandExt as _, Ran, Runner};

/// Eight naps, each in a sandbox with folders of its own.
fn naps() -> Runner {
    let runner = Runner::hostile(
        r#"
        [[tests]]
        id = "nap"
        repeat = 8
        input = { do = "sleep", ms = 300 }
        "#,
    );
    let scenario = fs_err::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&format!("{scenario}limits = {{ scratch = \"1MiB\" }}\n"));
    // The plugin is compiled, so that nothing of it is in what is tested.
    runner.exec(&["--repeat", "1"]).expect(0);
    fs_err::remove_dir_all(runner.path("results")).unwrap();
    runner
}

fn exec_limited(runner: &Runner, limit: &str, jobs: &str) -> Ran {
    let script = format!("{limit}; exec \"$runner\" exec scenario.toml -j {jobs}");
    runner.shell(&script).run()
}

#[test]
fn with_too_few_open_files_a_run_is_refused_or_made_narrower_and_no_row_is_an_error() {
    let runner = naps();
    let mut codes = Vec::new();
    for files in [14, 18, 22, 26, 30, 34, 40, 48, 64] {
        let ran = exec_limited(&runner, &format!("ulimit -n {files}"), "8");
        let code = ran.code.unwrap();
        codes.push(code);
        let Some(run) = runner.runs().pop() else {
            assert_eq!(code, 3, "{ran:?}");
            ran.says(&["open files, and this process may have", "`ulimit -n"]);
            continue;
        };
        assert_eq!(code, 0, "{files}: {ran:?}");
        ran.says(&["attempts run at a time instead of 8", "`ulimit -n"]);
        assert!(run.rows().iter().all(|row| row["outcome"] == "passed"));
        fs_err::remove_dir_all(runner.path("results")).unwrap();
    }
    assert!(codes.contains(&0) && codes.contains(&3), "{codes:?}");
}

#[test]
fn where_the_machine_has_no_memory_for_attempts_the_run_says_so_and_goes_on_later() {
    let runner = naps();
    // Room for one or two sandboxes, which take some GiB of addresses each.
    let ran = exec_limited(&runner, "ulimit -v 8000000", "4").expect(70);
    ran.says(&[
        "incomplete (internal)",
        "the runner's machine has no more memory for it",
        "`ulimit -v`",
    ]);
    let run = runner.only_run();
    assert_eq!(run.ending(), ["incomplete", "internal", "", "none"]);
    let lacking = |row: &&serde_json::Value| row["outcome"] != "passed";
    let rows = run.rows();
    assert!(rows.iter().filter(lacking).count() >= 3, "{rows:?}");
    for row in rows.iter().filter(lacking) {
        assert_eq!(
            [
                &row["final"],
                &row["outcome"],
                &row["error"]["class"],
                &row["error"]["code"]
            ],
            [
                &json!(false),
                &json!("stopped"),
                &json!("internal"),
                &json!("host-memory")
            ]
        );
    }
    runner.assert_valid("row", &run.lines());

    runner.run(&["resume"]).expect(0);
    let counts = &run.manifest()["counts"];
    // What the machine lacked makes no trial flaky.
    assert_eq!(
        (&counts["passed"], &counts["flaky"]),
        (&json!(8), &json!(0))
    );
}

#[test]
fn an_address_space_without_room_for_a_pool_costs_the_pool_and_no_trial() {
    let runner = naps();
    let said = |limit: &str| {
        exec_limited(&runner, limit, "2").expect(0);
        let log = runner.only_run().read("runner.log");
        fs_err::remove_dir_all(runner.path("results")).unwrap();
        log.contains("there is no room for a pool")
    };
    assert_eq!(
        [said("true"), said("ulimit -v 24000000")],
        [false, true],
        "whether the log tells of it"
    );
}

#[test]
fn a_plugin_that_there_is_no_memory_to_ask_is_not_blamed() {
    let runner = naps();
    let ran = exec_limited(&runner, "ulimit -v 3000000", "1").expect(3);
    ran.says(&["the runner's machine has no more memory for it"]);
}

#[cfg(debug_assertions)]
#[test]
fn a_panic_ends_in_a_run_that_is_closed_and_can_be_resumed() {
    for (failpoint, code, reason) in [
        // In the thread that decides, and in the one that writes.
        ("stage.begin=panic", 70, "internal"),
        ("row.begin=panic", 7, "storage"),
    ] {
        let runner = naps();
        let args = ["exec", "scenario.toml"];
        let ran = runner.start_failing(&args, failpoint).finish().expect(code);
        ran.says(&["panicked"]);
        let run = runner.only_run();
        assert_eq!(run.ending()[1], reason);
        assert_ne!(run.manifest()["status"], "running");
        runner.run(&["resume", "--from", "latest"]).expect(0);
        assert_eq!(run.manifest()["counts"]["passed"], 8);
    }
}

#[test]
fn nothing_of_the_tests_is_left_among_temporary_files_by_a_process_that_is_killed() {
    let runner = Runner::hostile("[[tests]]\nid = \"a\"\ninput = { do = \"sleep\" }\n");
    fs_err::create_dir(runner.path("tmp")).unwrap();
    let mut live = runner
        .command(&["exec", "scenario.toml", "--json"])
        .env("TMPDIR", runner.path("tmp"))
        .start();
    live.wait_until_running(1);
    live.kill();
    let left: Vec<_> = fs_err::read_dir(runner.path("tmp")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
