//! What a person sees: how a run stands, what to type next, and that it fits where it is shown.

use anstream::adapter::strip_str;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr as _;

use crate::support::{
    runner::{CommandExt as _, Runner, Running, Signal, tests},
    terminal::{Screen, on_terminal},
};

const WIDTHS: [u16; 3] = [60, 80, 120];

/// One test that passes, one that fails, and one that does not end by itself.
fn three() -> Runner {
    let name = "a scenario whose name is longer than anybody would like it to be";
    Runner::hostile(&format!(
        "name = \"{name}\"\n{}[[tests]]\nid = \"endless\"\ninput = {{ do = \"loop\" }}\n",
        tests(
            r#"
            pass | { do = "echo", value = "x" }        | equals = "x"
            fail | { do = "echo", value = "one\ntwo" } | equals = "one\n2"
            "#
        )
    ))
}

fn show(runner: &Runner, columns: u16, args: &[&str]) -> Screen {
    on_terminal(runner.command(args), columns).finish()
}

/// Interrupts a run once two of its trials are done.
fn interrupted(runner: &Runner, args: &[&str]) -> Running {
    let mut live = runner.start(args);
    live.wait_for(|event| event["counts"]["failed"] == 1 || event["row"]["test"] == "fail");
    live.signal(Signal::INT);
    live
}

/// The last line of what a program says, if it is not empty.
fn last_line(text: &str) -> &str {
    text.trim_end().lines().last().unwrap_or_default()
}

#[test]
fn what_a_person_reads_last_tells_of_the_tests_once_they_have_been_run() {
    let runner = three();
    for (test, code, line) in [
        ("pass", 0, "✓ passed: 1 of 1"),
        ("fail", 1, "✗ failed: 1 of 1"),
    ] {
        let ran = runner.exec(&["--test", test]).expect(code);
        assert!(last_line(&ran.stderr).starts_with(line), "{}", ran.stderr);
        for command in ["wait", "logs"] {
            let args: &[&str] = match command {
                "logs" => &["logs", "-f"],
                _ => &["wait"],
            };
            let ran = runner.run(args);
            assert!(last_line(&ran.stderr).ends_with(line), "{}", ran.stderr);
        }
        let shown = runner.run(&["show"]).expect(0).stdout;
        assert!(shown.lines().next().unwrap().ends_with(line), "{shown}");
        let again = runner.run(&["stop", "latest"]).expect(0).stdout;
        assert!(
            last_line(&again).ends_with(&format!("had ended already: {line}")),
            "{again}"
        );
    }
    let both = runner.exec(&["--exclude", "endless"]).expect(1);
    assert!(
        last_line(&both.stderr).starts_with("✗ failed: 1 of 2 (1 passed, 1 failed) in "),
        "{}",
        both.stderr
    );
    assert!(
        both.stderr.trim_end().ends_with("; exit code 1"),
        "{}",
        both.stderr
    );
    assert!(!both.stderr.contains("completed"), "{}", both.stderr);

    interrupted(&runner, &["-j", "1"]).finish().expect(130);
    let id = runner.runs().pop().unwrap().id().to_owned();
    let line = "◐ incomplete (interrupted, SIGINT): 2 of 3 done (1 passed, 1 failed)";
    let waited = runner.run(&["wait"]).expect(130);
    assert!(
        last_line(&waited.stderr).ends_with(line),
        "{}",
        waited.stderr
    );

    runner.run(&["cancel", &id]).expect(0);
    let waited = runner.run(&["wait"]).expect(4);
    let line = "⊘ cancelled: 2 of 3 done (1 passed, 1 failed)";
    assert!(
        last_line(&waited.stderr).ends_with(line),
        "{}",
        waited.stderr
    );
    assert!(!waited.stderr.contains("resume"), "{}", waited.stderr);
}

#[test]
fn colours_tell_passed_failed_open_and_dropped_apart() {
    let runner = three();
    let exec = |args: &[&str]| show(&runner, 100, &[&["exec", "scenario.toml"], args].concat());
    let passed = exec(&["--test", "pass"]).expect(0);
    assert!(
        passed
            .coloured
            .contains("\u{1b}[32m✓ passed: 1 of 1\u{1b}[39m"),
        "{}",
        passed.coloured
    );
    let failed = exec(&["--test", "fail"]).expect(1);
    assert!(
        failed
            .coloured
            .contains("\u{1b}[31m✗ failed: 1 of 1\u{1b}[39m"),
        "{}",
        failed.coloured
    );
    interrupted(&runner, &["-j", "1"]).finish().expect(130);
    interrupted(&runner, &["-j", "1"]).finish().expect(130);
    runner.run(&["cancel", "latest"]).expect(0);

    let listed = show(&runner, 100, &["list"]).expect(0);
    for cell in [
        "\u{1b}[38;5;208m⊘ cancelled\u{1b}[39m",
        "\u{1b}[33m◐ incomplete\u{1b}[39m",
        "\u{1b}[31m✗ 1 failed\u{1b}[39m",
        "\u{1b}[32m✓ passed\u{1b}[39m",
        "● completed  ",
    ] {
        assert!(
            listed.coloured.contains(cell),
            "{cell:?}\n{}",
            listed.coloured
        );
    }
}

#[test]
fn nothing_is_wider_than_the_terminal() {
    let runner = three();
    runner.exec(&["--exclude", "endless"]).expect(1);
    interrupted(&runner, &["-j", "1"]).finish().expect(130);
    let mut live = runner.start(&["-j", "1"]);
    live.wait_for(|event| event["event"] == "row");
    live.kill();
    for columns in WIDTHS {
        for (args, code) in [
            (&["list"][..], 0),
            (&["show"], 0),
            (&["show", "--failed"], 0),
            (&["show", "--history"], 0),
            (&["logs"], 0),
            (&["cleanup"], 0),
            (&["prune", "--keep-last", "0"], 0),
            (&["exec", "scenario.toml", "--exclude", "endless"], 1),
            (&["exec", "scenario.toml", "--dry-run"], 0),
            (&["exec", "missing.toml"], 2),
            (&["resume", "--from", "nothing"], 2),
            (&["stop"], 2),
            (&["show", "nothing"], 2),
            (&["validate", "scenario.toml"], 0),
        ] {
            show(&runner, columns, args).expect(code).fits();
        }
    }
}

#[test]
fn the_bar_fits_however_often_it_is_drawn() {
    let runner = Runner::hostile(&tests(
        r#"
        first | { do = "echo", value = 1 } |
        long-name-of-a-trial-that-takes-its-time | { do = "sleep", ms = 1500 } |
        "#,
    ));
    for columns in WIDTHS {
        let screen = show(&runner, columns, &["exec", "scenario.toml", "-j", "1"]).expect(0);
        let drawn: Vec<_> = screen.coloured.split(['\r', '\n']).collect();
        let drawn: Vec<_> = drawn
            .iter()
            .map(|line| strip_str(line).to_string())
            .collect();
        let is_bar = |line: &String| line.contains(" 1/2  1 passed") && line.contains(" left");
        assert!(drawn.iter().any(is_bar), "{columns}: {drawn:#?}");
        // A second line follows a first one that is filled up with blanks.
        for line in drawn.iter().filter(|line| line.contains("/2")) {
            let columns = usize::from(columns);
            let below: String = line.chars().skip(columns).collect();
            let is_message = |text: &str| text.starts_with("longest") || text.starts_with("compil");
            assert!(line.width() <= 2 * columns, "{columns}: {line:?}");
            assert!(
                below.trim().is_empty() || is_message(&below),
                "{columns}: {line:?}"
            );
        }
    }
}

#[test]
fn what_was_in_flight_when_a_process_died_is_named() {
    let runner = three();
    let mut live = runner.start(&["-j", "1"]);
    live.wait_for(|event| event["row"]["test"] == "fail");
    live.wait_until_running(1);
    live.kill();
    // Before a sweep and after it.
    for _ in 0..2 {
        let shown = runner.run(&["show"]).expect(0).stdout;
        assert!(shown.contains("\ndied with endless@hostile#1\n"), "{shown}");
        let history = runner.run(&["show", "--history"]).expect(0).stdout;
        let line = "\nsession 1 died with endless@hostile#1 in flight\n";
        assert!(history.contains(line), "{history}");
        runner.run(&["cleanup", "--no-dry-run"]).expect(0);
    }
    let mut live = runner.command(&["resume", "--json"]).start();
    live.wait_until_running(1);
    live.end_by(Signal::INT).0.expect(130);
    let shown = runner.run(&["show"]).expect(0).stdout;
    assert!(!shown.contains("died with"), "{shown}");
    let history = runner.run(&["show", "--history"]).expect(0).stdout;
    assert!(history.contains("session 1 died with"), "{history}");
}

#[test]
fn lists_show_what_fits_and_a_program_gets_all_of_it() {
    let runner = three();
    runner.exec(&["--test", "fail"]).expect(1);
    let id = runner.only_run().id().to_owned();
    let short = &id[id.len() - 8..];
    let name = "a scenario whose name is longer than anybody would like it to be";

    let narrow = show(&runner, 80, &["list"]).expect(0);
    narrow.fits().says(&[
        short,
        "● completed",
        "✗ 1 failed",
        "a scenario",
        "1/1",
        "began (UTC)",
    ]);
    assert!(
        !narrow.text.contains(&id) && !narrow.text.contains(name),
        "{}",
        narrow.text
    );
    show(&runner, 200, &["list"]).expect(0).says(&[&id, name]);

    let piped = runner.run(&["list"]).expect(0).stdout;
    let header: Vec<_> = piped
        .lines()
        .next()
        .unwrap()
        .split("  ")
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(
        header,
        [
            "run",
            "status",
            "verdict",
            "scenario",
            "done",
            "began (UTC)",
            "took"
        ]
    );
    assert!(piped.contains(&id) && piped.contains(name), "{piped}");
}

#[test]
fn an_ending_that_leaves_work_says_what_to_type_next() {
    let runner = three();
    let ran = interrupted(&runner, &["-j", "1"]).finish().expect(130);
    assert!(!ran.stdout.contains("resume with"), "{}", ran.stdout);
    let id = runner.only_run().id().to_owned();
    let next = format!("resume with: runner resume --from {}", &id[id.len() - 8..]);
    for args in [
        &["wait"][..],
        &["logs", "-f"],
        &["list"],
        &["stop", "latest"],
    ] {
        runner.run(args).says(&[&next]);
    }
    let shown = runner.run(&["show"]).expect(0).stdout;
    assert!(
        shown.contains(&next.replace("resume with:", "resume   ")),
        "{shown}"
    );

    // What is offered does what it says.
    let offered: Vec<_> = next.split(' ').skip(3).collect();
    runner
        .run(&[&offered[..], &["--dry-run"]].concat())
        .expect(0)
        .says(&["1 of 3 trials would run"]);
    let elsewhere = ["--results", "other root"];
    runner
        .exec(
            &[
                &["--fail-fast", "--test", "fail", "--repeat", "2", "-j1"][..],
                &elsewhere,
            ]
            .concat(),
        )
        .expect(4)
        .says(&["--results 'other root' "]);
    runner
        .run(&[&["list"], &elsewhere[..]].concat())
        .expect(0)
        .says(&["--results 'other root'"]);

    // Another run whose id ends in the same way makes it longer, by the digit before the dash.
    let (head, tail) = id.split_at(id.len() - 9);
    let digit = if head.ends_with('0') { '1' } else { '0' };
    let twin = format!("2026-01-01_00-00-00-00{digit}{tail}");
    fs_err::create_dir(runner.path(&format!("results/{twin}"))).unwrap();
    runner
        .run(&["list"])
        .expect(0)
        .says(&[&format!("--from {}", &id[id.len() - 10..])]);
}

#[test]
fn ids_that_are_offered_are_short() {
    let runner = three();
    for _ in 0..2 {
        interrupted(&runner, &["-j", "1"]).finish().expect(130);
    }
    let ids = runner.ids();
    let short: Vec<_> = ids
        .iter()
        .map(|id| format!("`{}`", &id[id.len() - 8..]))
        .collect();
    for args in [&["resume"][..], &["show", "nothing"], &["show", "2026"]] {
        runner.run(args).expect(2).says(&[&short[0], &short[1]]);
    }
}

#[test]
fn a_variable_names_the_run_where_the_command_line_names_none() {
    let runner = three();
    runner.exec(&["--test", "pass"]).expect(0);
    runner.exec(&["--test", "fail"]).expect(1);
    let ids = runner.ids();
    let run = |args: &[&str], name: &str| runner.command(args).env("RUNNER_RUN", name).run();
    for args in [
        &["show"][..],
        &["wait"],
        &["logs"],
        &["verify"],
        &["stop"],
        &["pin"],
        &["unpin"],
    ] {
        let ran = run(args, &ids[0]).expect(0);
        assert!(
            !ran.stdout.contains(&ids[1]) && !ran.stderr.contains(&ids[1]),
            "{ran:?}"
        );
        run(args, "nothing")
            .expect(2)
            .says(&["no run `nothing`", "`RUNNER_RUN`"]);
    }
    run(&["cancel"], &ids[0])
        .expect(2)
        .says(&[&ids[0], "completed"]);
    run(&["resume"], &ids[0])
        .expect(0)
        .says(&["nothing is left"]);
    // An empty one is none, and what is typed goes first.
    run(&["wait"], "").expect(1);
    run(&["wait", &ids[1]], &ids[0]).expect(1);
    let ran = run(&["show", "nothing"], &ids[0]).expect(2);
    assert!(!ran.stderr.contains("RUNNER_RUN"), "{}", ran.stderr);
    runner.run(&["pin"]).expect(2).says(&["name a run"]);
}

#[test]
fn documents_have_times_counts_and_the_exit_code() {
    let runner = three();
    let mut live = runner.start(&["-j", "1"]);
    live.wait_for(|event| event["row"]["test"] == "fail");
    let document = |args: &[&str]| -> Value { runner.run(args).expect(0).document() };
    assert_eq!(
        document(&["show", "--json"])["run"]["exit_code"],
        Value::Null
    );
    let stopped = document(&["stop", "--json"]);
    live.finish().expect(4);
    assert_eq!(stopped["result"], "stopped");
    let listed = document(&["list", "--json"])["runs"][0].clone();
    let shown = document(&["show", "--json"])["run"].clone();
    for run in [&stopped, &listed, &shown] {
        assert_eq!(
            (&run["exit_code"], &run["counts"]["passed"]),
            (&json!(4), &json!(1))
        );
        assert!(
            run["started_at"].is_string() && run["completed_at"].is_string(),
            "{run}"
        );
        assert!(run["elapsed_ms"].as_f64().unwrap() > 0.0, "{run}");
    }
    let cancelled = document(&["cancel", "latest", "--json"]);
    assert_eq!(
        (&cancelled["status"], &cancelled["exit_code"]),
        (&json!("cancelled"), &json!(4))
    );
    runner.exec(&["--test", "pass"]).expect(0);
    assert_eq!(document(&["list", "--json"])["runs"][0]["exit_code"], 0);
}

#[test]
fn a_run_that_somebody_works_on_is_shown_with_its_progress_and_what_is_in_flight() {
    let runner = three();
    let mut live = runner.start(&["-j", "1"]);
    live.wait_for(|event| event["row"]["test"] == "fail");
    live.wait_until_running(1);
    let shown = runner.run(&["show"]).expect(0).stdout;
    for text in [
        "○ running: 2 of 3 done (1 passed, 1 failed)",
        "running   for ",
        &format!("owner     pid {} on ", live.id()),
        "progress  2 of 3 (66 %), ",
        "in flight endless@hostile#1 for ",
    ] {
        assert!(shown.contains(text), "`{text}` is not in\n{shown}");
    }
    let document = runner.run(&["show", "--json"]).expect(0).document();
    let seen = &document["live"];
    assert_eq!(
        (&seen["pid"], &seen["done"]),
        (&json!(live.id()), &json!(2))
    );
    let attempt = &seen["in_flight"][0];
    assert_eq!(
        (&attempt["trial"], &attempt["attempt"]),
        (&json!("endless@hostile#1"), &json!(1))
    );
    assert!(attempt["elapsed_ms"].is_number(), "{attempt}");

    live.end_by(Signal::INT).0.expect(130);
    let shown = runner.run(&["show"]).expect(0).stdout;
    assert!(
        !shown.contains("in flight") && !shown.contains("owner"),
        "{shown}"
    );
}

#[test]
fn lists_keep_to_what_is_asked_for_and_tell_nothing_found_from_nothing_there() {
    let runner = three();
    runner
        .run(&["list", "--status", "failed"])
        .expect(0)
        .says(&["no runs in `results`"]);
    runner.exec(&["--test", "pass"]).expect(0);
    runner.exec(&["--test", "fail"]).expect(1);
    interrupted(&runner, &["-j", "1"]).finish().expect(130);
    let ids = runner.ids();
    for (args, wanted) in [
        (
            &["--status", "completed", "--status", "incomplete"][..],
            &[2, 1, 0][..],
        ),
        (&["--status", "incomplete,failed"], &[2]),
        (&["--verdict", "failed"], &[1]),
        (&["--verdict", "passed", "--scenario", "a scenario*"], &[0]),
        (&["--scenario", "other"], &[]),
        (&["--since", "1h"], &[2, 1, 0]),
        (&["--since", "2020-01-01"], &[2, 1, 0]),
        (&["--since", "2020-01-01T10:00"], &[2, 1, 0]),
        (&["--since", "2999-01-01"], &[]),
        (&["--since", "0s"], &[]),
    ] {
        let listed = runner.list(args);
        let listed: Vec<_> = listed
            .iter()
            .map(|run| run["run"].as_str().unwrap())
            .collect();
        let wanted: Vec<_> = wanted.iter().map(|index| ids[*index].as_str()).collect();
        assert_eq!(listed, wanted, "{args:?}");
    }
    runner
        .run(&["list", "--status", "cancelled"])
        .expect(0)
        .says(&["no runs with that status in `results` (3 others)"]);
    runner
        .run(&["list", "--scenario", "other"])
        .expect(0)
        .says(&["no runs like that in `results` (3 others)"]);
    runner
        .run(&["list", "--since", "yesterday"])
        .expect(2)
        .says(&["2026-11-20"]);
    runner.run(&["list", "--scenario", "["]).expect(2);

    let listed = runner
        .command(&["list"])
        .env("TZ", "Asia/Tokyo")
        .run()
        .expect(0)
        .stdout;
    assert!(
        listed.contains("began (JST)") || listed.contains("began (UTC)"),
        "{listed}"
    );
}

#[test]
fn the_runners_log_tells_the_story_of_every_session() {
    let runner = three();
    interrupted(&runner, &["-j", "1"]).finish().expect(130);
    runner.run(&["resume", "--dry-run"]).expect(0);
    let mut live = runner.command(&["resume", "--json"]).start();
    live.wait_until_running(1);
    live.end_by(Signal::TERM).0.expect(143);

    let log = runner.run(&["logs", "--runner"]).expect(0).stdout;
    assert_eq!(log, runner.only_run().read("runner.log"));
    let story = [
        "command: runner exec scenario.toml --json -j 1",
        &format!("runner {}, wasmtime ", env!("CARGO_PKG_VERSION")),
        ", session 1: scenario `a scenario",
        "provider `hostile` is granted nothing",
        "provider `hostile` is ready",
        "stopping (stop, interrupted): asked by SIGINT; 1 attempt in flight",
        "ended: incomplete (interrupted, SIGINT), verdict none, 2 of 3 done: 1 passed, 1 failed",
        "exit code 130",
        "command: runner resume --json",
        ", session 2: ",
        "ended: incomplete (interrupted, SIGTERM)",
        "exit code 143",
    ];
    let mut rest = log.as_str();
    for text in story {
        let (_, after) = rest
            .split_once(text)
            .unwrap_or_else(|| panic!("`{text}` is not in\n{log}"));
        rest = after;
    }
}

#[test]
fn the_runners_log_can_be_followed_and_tells_a_stop_of_a_detached_run_once() {
    let runner = three();
    let id = runner.exec(&["--detach", "-j", "1"]).expect(0).stdout;
    let follow = runner
        .command(&["logs", id.trim(), "--runner", "-f"])
        .start();
    runner.run(&["stop", "--reason", "over and out"]).expect(0);
    let followed = follow.finish().expect(0).stdout;
    assert!(
        followed.contains("ended: incomplete (stopped)"),
        "{followed}"
    );
    let log = runner.only_run().read("runner.log");
    assert!(log.starts_with(&followed), "{log}\n{followed}");
    assert_eq!(log.matches("over and out").count(), 1, "{log}");
    assert_eq!(log.matches("stopping").count(), 1, "{log}");
    runner
        .exec(&["--detach", "-j", "1", "--timeout-minutes", "0.01"])
        .expect(0);
    runner.run(&["wait"]).expect(4);
    let told = runner.run(&["logs", "--runner"]).expect(0).stdout;
    assert_eq!(told.matches("the run's time is up").count(), 1, "{told}");
}

#[test]
fn the_log_and_the_streams_of_a_trial_are_shown_by_attempt() {
    let runner = Runner::new(&["command"]);
    runner.scenario(
        r#"
        [providers.plain]
        plugin = "command.wasm"
        args = ["fail", "its own words"]
        [providers.json]
        plugin = "command.wasm"
        protocol = "json"
        [[tests]]
        id = "says"
        input = { do = "log" }
        providers = ["json"]
        [[tests]]
        id = "again"
        providers = ["plain"]
        "#,
    );
    runner.exec(&[]).expect(1);
    let shown = runner.run(&["logs", "latest", "says*"]).expect(0).stdout;
    assert!(
        shown.contains("says@json#1") && shown.contains("\n  log\n"),
        "{shown}"
    );
    assert!(
        shown.contains("careful") && !shown.contains("again@"),
        "{shown}"
    );
    let shown = runner
        .run(&["logs", "--trial", "again@plain#1"])
        .expect(0)
        .stdout;
    assert!(shown.contains("\n  stderr\n    its own words"), "{shown}");
    let document = runner
        .run(&["logs", "latest", "again", "--json"])
        .expect(0)
        .document();
    assert_eq!(document["attempts"][0]["stderr"], "its own words\n");
    runner
        .run(&["logs", "--trial", "nothing"])
        .expect(5)
        .says(&["no attempt of `nothing`"]);
    runner.run(&["logs", "latest", "again", "-f"]).expect(2);
    runner.run(&["logs", "--trial", "["]).expect(2);
}

#[test]
fn verbose_lines_have_their_place_and_failures_are_told_once() {
    let runner = three();
    let args = ["--exclude", "endless", "-j", "1"];
    let ran = runner.exec(&[&args[..], &["-v"]].concat()).expect(1);
    ran.says(&["1/2 ✓ passed pass@hostile#1", "2/2 ✗ failed fail@hostile#1"]);
    for extra in [&["-v"][..], &["-q"], &[]] {
        let ran = runner.exec(&[&args[..], extra].concat()).expect(1);
        assert_eq!(
            ran.stderr.matches("fail@hostile#1").count(),
            1,
            "{}",
            ran.stderr
        );
    }
    // What an earlier session told is told again, once, by the one that goes on.
    let runner = three();
    interrupted(&runner, &["-j", "1"]).finish().expect(130);
    let mut live = runner.command(&["resume", "-j", "1"]).start();
    live.wait_while_alive("it told of its session", || {
        runner.only_run().read("runner.log").contains("session 2")
    });
    let ran = live.end_by(Signal::INT).0.expect(130);
    assert_eq!(
        ran.stderr.matches("fail@hostile#1").count(),
        1,
        "{}",
        ran.stderr
    );
}

#[test]
fn small_things_are_said_as_people_say_them() {
    let runner = Runner::hostile(&tests(
        r#"a | { do = "echo", value = "x\n" } | equals = "x""#,
    ));
    let ran = runner.run(&["validate", "scenario.toml"]).expect(0);
    assert_eq!(ran.stdout, "scenario.toml: valid, 1 test makes 1 trial\n");
    for args in [["list", "-n", "x"], ["prune", "--keep-last", "-1x"]] {
        let ran = runner.run(&args).expect(2);
        assert!(!ran.stderr.contains("digit"), "{}", ran.stderr);
    }
    runner
        .exec(&["--dry-run"])
        .expect(0)
        .says(&["1 trial would run"]);
    let ran = runner.exec(&[]).expect(1);
    assert!(!ran.stderr.contains("No newline"), "{}", ran.stderr);
    ran.says(&["expected \"x\"", "got \"x\\n\""]);

    runner.write("broken.toml", "nome = \"x\"\n[providers.p]\nplugins = 1\n");
    let ran = runner.run(&["validate", "broken.toml"]).expect(2);
    assert!(!ran.stderr.contains("Error:"), "{}", ran.stderr);
    ran.says(&["`nome`", "`plugins`"]);

    let listed = runner
        .command(&["list", "--json"])
        .env("RUNNER_RESULTS", "")
        .env("RUNNER_LOG", "")
        .run()
        .expect(0)
        .stdout;
    assert!(listed.contains("\"run\""), "{listed}");
    let ran = runner.run(&["run", "scenario.toml"]).expect(2);
    ran.says(&["`runner exec SCENARIO` runs a scenario"]);
}
