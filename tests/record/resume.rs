//! `runner resume`: which trials run again, with what, and what it says.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    endless::trials,
    runner::{CommandExt as _, Ran, Run, Runner, Signal, tests},
    truth::{
        assert_consistent, assert_same_end, assert_whole, canonical, every_kind, undisturbed,
        whole_rows,
    },
};

const KILLED_AT: &str = "row.written@2=kill";

/// A run whose process has died in the middle.
fn crashed() -> Runner {
    let runner = every_kind();
    let args = ["exec", "scenario.toml", "-j", "2"];
    runner.start_failing(&args, KILLED_AT).finish_killed();
    runner
}

/// Everything in a run's directory that says what came of it.
fn bytes(run: &Run) -> [Vec<u8>; 2] {
    ["benchmark.json", "index.jsonl"].map(|name| fs_err::read(run.dir.join(name)).unwrap())
}

fn finals(run: &Run, session: u64) -> Vec<String> {
    let rows = whole_rows(run).into_iter();
    rows.filter(|row| row["final"] == true && row["session"] == session)
        .map(|row| row["test"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_run_that_needs_nothing_more_is_shown_and_not_changed() {
    let runner = every_kind();
    runner.exec(&["-j", "2"]).expect(1);
    let run = runner.only_run();
    let before = bytes(&run);
    for _ in 0..2 {
        let ran = runner.run(&["resume", "--from", "latest"]).expect(1);
        ran.says(&["nothing is left to run", "`--rerun errors`"]);
        assert!(ran.stdout.contains("15 of 15"), "{}", ran.stdout);
    }
    let ran = runner.run(&["resume", "--from", "latest", "--json"]);
    let events = ran.expect(1).events();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["event"], "finished");
    assert_eq!(events[0]["counts"]["planned"], 15);
    assert!(bytes(&run) == before, "it was changed");

    let good = Runner::hostile(&tests(r#"a | { do = "echo", value = 1 } | equals = 1"#));
    good.exec(&[]).expect(0);
    good.run(&["resume", "--from", "latest"]).expect(0);
}

#[test]
fn stored_bytes_are_used_so_that_originals_may_be_edited_or_gone() {
    let expected = undisturbed();
    for is_deleted in [false, true] {
        let runner = crashed();
        if is_deleted {
            for name in ["scenario.toml", "reference.txt", "hostile.wasm"] {
                fs_err::remove_file(runner.path(name)).unwrap();
            }
        } else {
            let text = fs_err::read_to_string(runner.path("scenario.toml")).unwrap();
            runner.scenario(&text.replace("equals = 2", "equals = 1"));
            runner.write("reference.txt", "edited");
            fs_err::remove_file(runner.path("hostile.wasm")).unwrap();
            runner.wat("hostile.wasm", r#"(module (func (export "_start")))"#);
        }
        let ran = runner.run(&["resume"]).expect(1);
        let says = [
            "scenario `scenario.toml` has changed since the run began; the stored one is used",
            "equals = 1",
            "the plugin of provider `hostile` has changed since the run began",
        ];
        if is_deleted {
            assert!(!ran.stderr.contains("has changed"), "{}", ran.stderr);
        } else {
            ran.says(&says);
        }
        assert_same_end(&runner.only_run(), &expected);
        assert_whole(&runner);
    }
}

#[test]
fn rerun_runs_what_it_names_again_and_a_later_resume_inherits_what_is_left_of_it() {
    let runner = every_kind();
    let expected = undisturbed();
    runner.exec(&["-j", "2"]).expect(1);
    let rerun = |which: &str| runner.run(&["resume", "--from", "latest", "--rerun", which]);
    let sorted = |session: u64| {
        let mut tests = finals(&runner.only_run(), session);
        tests.sort();
        tests
    };
    rerun("errors").expect(1);
    assert_eq!(sorted(2), ["refuses", "traps"]);
    rerun("failed").expect(1);
    assert_eq!(sorted(3), ["fails", "refuses", "traps"]);
    let ran = rerun("naps@*").expect(1);
    ran.says(&["this session ran 6 trials: 6 passed", "failed: 3 of 15"]);
    assert_eq!(sorted(4), ["naps"; 6]);
    rerun("all").expect(1);
    assert_eq!(sorted(5).len(), 15);
    let refused = rerun("nap*z").expect(5);
    refused.says(&[
        "no trial of the run matches `nap*z`",
        "the nearest are `naps`",
    ]);
    assert_eq!(
        runner.only_run().manifest()["sessions"]
            .as_array()
            .unwrap()
            .len(),
        5
    );

    // The selection of a session that has died is what the next one has to finish.
    let args = ["resume", "--from", "latest", "--rerun", "all", "-j", "2"];
    runner.start_failing(&args, KILLED_AT).finish_killed();
    runner.run(&["resume", "--from", "latest"]).expect(1);
    assert_eq!(sorted(6).len() + sorted(7).len(), 15);
    assert!(!sorted(6).is_empty() && !sorted(7).is_empty());
    // It comes round at its second attempt, and is at its third and fourth now.
    let [actual, expected] = [canonical(&runner.only_run()), expected].map(|mut rows| {
        rows.remove("comes-round@hostile#1").unwrap();
        rows
    });
    assert!(actual == expected, "another end");
    assert_consistent(&runner);
}

#[test]
fn a_dry_run_tells_what_would_run_and_why_and_runs_nothing() {
    let runner = crashed();
    runner.run(&["resume", "--dry-run"]).expect(0);
    let before = bytes(&runner.only_run());
    let settled = canonical(&runner.only_run());
    let told = runner.run(&["resume", "--dry-run"]).expect(0).stdout;
    let pending: Vec<&str> = told.lines().collect();
    assert_eq!(pending.len() + settled.len(), 15, "{told}");
    assert!(pending.iter().all(|trial| !settled.contains_key(*trial)));
    let why = runner.run(&["resume", "--explain"]).expect(0).stdout;
    assert_eq!(why.lines().count(), pending.len());
    assert!(
        why.lines().all(|line| line.split_once("  ").is_some()),
        "{why}"
    );
    assert!(bytes(&runner.only_run()) == before, "it was changed");
}

#[test]
fn without_a_name_the_only_incomplete_run_is_resumed_and_of_several_all_are_named() {
    let runner = crashed();
    let ran = runner.run(&["resume", "--dry-run"]).expect(0);
    ran.says(&[&format!("resuming {}", runner.only_run().id())]);
    let args = ["exec", "scenario.toml"];
    runner.start_failing(&args, KILLED_AT).finish_killed();
    let runs = runner.runs();
    let ran = runner.run(&["resume"]).expect(2);
    ran.says(&[
        "there are several incomplete runs",
        &runs[0].id()[24..],
        &runs[1].id()[24..],
        "`--from`",
    ]);

    // By a path, a unique part, the latest; a part of both is none.
    let path = runs[0].dir.to_str().unwrap();
    for (name, run) in [
        (path, &runs[0]),
        (&runs[0].id()[11..], &runs[0]),
        ("latest", &runs[1]),
    ] {
        let before = run.manifest();
        runner
            .run(&["resume", "--from", name, "--dry-run"])
            .expect(0);
        assert_eq!(run.manifest(), before);
    }
    runner
        .run(&["resume", "--from", &runs[0].id()[..10]])
        .expect(2)
        .says(&[&runs[1].id()[24..]]);
    runner.run(&["resume", "--from", "no-such-run"]).expect(2);

    for run in &runs {
        runner.run(&["resume", "--from", run.id()]).expect(1);
    }
    runner
        .run(&["resume"])
        .expect(2)
        .says(&["there is no incomplete run"]);
    // What is to run again is wanted of a run that has just completed.
    runner
        .run(&["resume", "--rerun", "failed", "--dry-run"])
        .expect(0)
        .says(&[&format!("resuming {}", runs[1].id())]);
}

#[test]
fn a_run_that_could_not_begin_is_planned_again_once_its_plugin_is_repaired() {
    let runner = every_kind();
    let good = fs_err::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.wat(
        "odd.wasm",
        r#"(module (import "odd" "odd" (func)) (func (export "_start")))"#,
    );
    runner.scenario(&good.replace("hostile.wasm", "odd.wasm"));
    runner.exec(&["-j", "1"]).expect(3);
    runner.run(&["resume", "--from", "latest"]).expect(3);
    let failed = runner.only_run();
    assert_eq!(failed.ending()[..2], ["failed", "plugin"]);

    runner.scenario(&good);
    runner.run(&["resume", "--from", "latest"]).expect(1);
    let run = runner.only_run();
    assert_eq!(run.read("scenario.toml"), good);
    assert_eq!(run.manifest()["sessions"].as_array().unwrap().len(), 3);
    assert_eq!(run.manifest()["options"]["jobs"], 1);
    assert_same_end(&run, &undisturbed());
    assert_whole(&runner);
}

#[test]
fn a_run_with_a_row_never_fails_and_never_takes_another_scenario() {
    let runner = Runner::hostile(&trials(1, r#"{ do = "loop" }"#));
    let mut live = runner.start(&["-j", "1"]);
    live.wait_until_running(1);
    live.end_by(Signal::INT).0.expect(130);
    let run = runner.only_run();
    let stored = run.read("scenario.toml");
    let other = stored.replace(r#"do = "loop""#, r#"do = "echo", value = 1"#);
    runner.scenario(&other.replace("guest", "other"));

    let before = run.manifest();
    for descriptors in [20, 29] {
        let script = format!("ulimit -n {descriptors}; exec $runner resume --timeout-minutes 0.02");
        let ran = runner.shell(&script).run();
        ran.expect(3).says(&["the run cannot begin"]);
        assert_eq!(run.manifest(), before);
    }
    // What fails after the session has begun leaves the run as resumable as it was.
    let mut panicking = runner.command(&["resume", "--timeout-minutes", "0.02"]);
    panicking.env("RUNNER_FAILPOINT", "stage.begin=panic");
    panicking.run().expect(70);
    assert_eq!(run.ending()[..2], ["incomplete", "internal"]);
    assert_eq!(run.read("scenario.toml"), stored);

    // As a runner of before left such a run.
    let failed = run
        .read("benchmark.json")
        .replace("\"incomplete\"", "\"failed\"");
    run.write("benchmark.json", failed);
    let args = ["resume", "--from", "latest", "--timeout-minutes", "0.02"];
    runner.run(&args).expect(4);
    assert_eq!(run.read("scenario.toml"), stored);
    assert!(run.rows().iter().all(|row| row["test"] == "guest"));
    assert_eq!(run.ending()[..2], ["incomplete", "timeout"]);
    runner.run(&["verify", "latest"]).expect(0);
}

#[test]
fn what_is_set_anew_holds_for_the_rest_and_everything_else_stays() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"a\"\nrepeat = 3\ntimeout = \"10m\"\ninput = { do = \"wait-for-stop\" }\n",
    );
    let mut live = runner.start(&["-j", "3", "--grace", "60s", "--timeout-minutes", "9"]);
    live.wait_until_running(3);
    live.end_by(Signal::INT).0.expect(130);
    let run = runner.only_run();
    let options = || run.manifest()["options"].clone();
    let first = options();

    let resume = |args: &[&str]| runner.run(&[&["resume"], args].concat());
    resume(&["--timeout-minutes", "0.02"])
        .expect(4)
        .says(&["incomplete (timeout)"]);
    assert_eq!(run.ending(), ["incomplete", "timeout", "", "none"]);
    assert_eq!(
        (&options()["jobs"], &options()["grace"]),
        (&first["jobs"], &first["grace"])
    );
    assert_ne!(options(), first);

    let mut live = runner
        .command(&[
            "resume",
            "--json",
            "-j",
            "1",
            "--grace",
            "0s",
            "--timeout-minutes",
            "5",
        ])
        .start();
    live.wait_until_running(1);
    std::thread::sleep(Duration::from_millis(200));
    live.end_by(Signal::TERM).0.expect(143);
    let rows = run.rows();
    let of_session = |n: u64| rows.iter().filter(|row| row["session"] == n).count();
    assert_eq!([1, 2, 3].map(of_session), [3, 3, 1]);
    assert_eq!(options()["jobs"], 1);
    let attempts: Vec<&Value> = rows.iter().map(|row| &row["attempt"]).collect();
    assert_eq!(
        attempts
            .iter()
            .filter(|attempt| ***attempt == json!(2))
            .count(),
        3
    );
}

#[test]
fn fail_fast_can_be_given_anew() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"a\"\nrepeat = 40\ninput = { do = \"sleep\", ms = 20 }\nexpect = { equals = 1 }\n",
    );
    let args = ["exec", "scenario.toml", "-j", "1"];
    runner.start_failing(&args, KILLED_AT).finish_killed();
    let rows = || runner.only_run().rows().len();
    let before = rows();
    assert!(before > 0);
    // What ended badly before is no reason to give up: each session gets as far as its own bad ones.
    for more in 1..=2 {
        let ran: Ran = runner.run(&["resume", "-j", "1", "--fail-fast"]).expect(4);
        ran.says(&["incomplete (fail-fast)"]);
        assert_eq!(rows(), before + more);
    }
    assert_eq!(
        runner.only_run().ending(),
        ["incomplete", "fail-fast", "", "failed"]
    );
    assert!(runner.only_run().rows().len() < 40);
}

#[test]
fn a_stop_while_resuming_or_running_again_leaves_a_run_that_can_be_resumed() {
    let runner = Runner::hostile(&format!(
        "{}[[tests]]\nid = \"nap\"\nrepeat = 3\ninput = {{ do = \"sleep\", ms = 1500 }}\n",
        tests(r#"a | { do = "echo", value = 1 } | equals = 1"#)
    ));
    let mut live = runner.start(&["-j", "3"]);
    live.wait_until_running(3);
    live.kill();
    for args in [
        &["resume", "--json"][..],
        &["resume", "--json", "--rerun", "a@*"],
    ] {
        let mut live = runner.command(args).start();
        live.wait_for(|event| event["running"].as_u64() > Some(0));
        let (ran, _) = live.end_by(Signal::INT);
        let ran = ran.expect(130);
        let run = runner.only_run();
        assert_eq!(
            run.ending(),
            ["incomplete", "interrupted", "SIGINT", "none"]
        );
        assert_eq!(ran.events().last().unwrap()["status"], "incomplete");
    }
    runner.run(&["resume"]).expect(0);
    assert_consistent(&runner);
    assert_eq!(runner.only_run().ending(), ["completed", "", "", "passed"]);
}

#[test]
fn a_bad_line_in_the_middle_stays_is_shown_and_its_trial_runs_again() {
    let runner = every_kind();
    runner.exec(&["-j", "1"]).expect(1);
    let run = runner.only_run();
    let index = run.read("index.jsonl");
    let damaged: Vec<String> = index
        .lines()
        .enumerate()
        .map(|(n, line)| {
            if n == 3 {
                line.replacen("\"seq\":", "\"seq", 1)
            } else {
                line.into()
            }
        })
        .collect();
    let damaged = damaged.join("\n") + "\n";
    run.write("index.jsonl", &damaged);
    let ran = runner.run(&["resume", "--from", "latest"]).expect(1);
    ran.says(&["index.jsonl", "line 4"]);
    // Nothing but that is run again.
    assert_eq!(finals(&run, 2).len(), 1);
    assert!(
        run.read("index.jsonl").starts_with(&damaged),
        "it was removed"
    );
    assert_same_end(&run, &undisturbed());
}

#[test]
fn neither_a_clock_that_jumped_nor_a_pid_that_is_used_again_decides_anything() {
    let expected = undisturbed();
    for year in ["1999", "2099"] {
        let runner = crashed();
        let run = runner.only_run();
        // As if the clock had been elsewhere, and as if the owner's pid were now that of a process that lives.
        let manifest = run.dir.join("benchmark.json");
        let text = fs_err::read_to_string(&manifest).unwrap();
        let now = run.manifest()["created_at"].as_str().unwrap()[..4].to_owned();
        let jumped = text.replace(&format!("\"{now}-"), &format!("\"{year}-"));
        assert_ne!(jumped, text);
        fs_err::write(&manifest, jumped).unwrap();
        fs_err::write(
            run.dir.join("lock"),
            format!("pid {}\n", std::process::id()),
        )
        .unwrap();

        assert_eq!(runner.list(&[])[0]["status"], "incomplete", "{year}");
        runner.run(&["resume", "--from", "latest", "-j2"]).expect(1);
        assert_same_end(&runner.only_run(), &expected);
    }
}
