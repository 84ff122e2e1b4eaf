//! Runs that somebody else waits for: wait, logs, runs in the background, alone in their root, or in a directory of choice.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{
    endless::{assert_says, endless, passing, running, running_with, spawn, trials},
    runner::{CommandExt as _, Runner, Running, Signal, tests},
};

#[test]
fn wait_exits_with_the_code_of_the_run() {
    let runner = passing();
    runner.exec(&[]).expect(0);
    runner.run(&["wait"]).expect(0).says(&["passed: 1 of 1"]);
    runner.scenario(&format!(
        "{}\n[providers.hostile]\nplugin = \"hostile.wasm\"\n",
        tests("one | { do = \"echo\", value = 1 } | equals = 2")
    ));
    runner.exec(&[]).expect(1);
    runner.run(&["wait", "latest"]).expect(1);

    let runner = endless();
    let live = running(&runner);
    let mut wait = spawn(&runner, &["wait", "--json"]);
    assert!(wait.is_alive());
    live.end_by(Signal::TERM).0.expect(143);
    let events = wait.finish().expect(143).events();
    let end = &events[0];
    assert_eq!(
        (&end["event"], &end["n"], &end["exit_code"]),
        (&json!("finished"), &json!(1), &json!(143))
    );
    assert_eq!(
        (&end["status"], &end["reason"]),
        (&json!("incomplete"), &json!("interrupted"))
    );
    assert_eq!((&end["counts"]["planned"], events.len()), (&json!(3), 1));
}

#[test]
fn wait_ends_when_the_process_of_the_run_dies() {
    let runner = endless();
    let live = running(&runner);
    let mut wait = spawn(&runner, &["wait", "--json"]);
    assert!(wait.is_alive());
    live.kill();
    let events = wait.finish().expect(4).events();
    assert_eq!(events[0]["reason"], "crashed");
    // It only reads: the sweep is left to others.
    assert_eq!(runner.only_run().ending()[0], "running");
}

#[cfg(debug_assertions)]
#[test]
fn a_dead_run_whose_rows_are_all_there_is_shown_as_a_sweep_will_call_it() {
    let runner = Runner::hostile(&tests(
        "one | { do = \"echo\", value = 1 } |
        two | { do = \"echo\", value = 1 } | equals = 2",
    ));
    let args = ["exec", "scenario.toml", "-j1"];
    runner
        .start_failing(&args, "finish.begin=kill")
        .finish_killed();
    let run = runner.only_run();
    let shown = runner.list(&["--status", "completed"]).remove(0);
    assert_eq!(
        (
            &shown["verdict"],
            &shown["counts"]["failed"],
            &shown["is_not_yet_swept"]
        ),
        (&json!("failed"), &json!(1), &json!(true))
    );
    runner.run(&["wait"]).expect(1);
    let followed = runner.run(&["logs", "-f", "--json"]).expect(0).events();
    assert_eq!(followed.last().unwrap()["exit_code"], 1);
    let text = runner.run(&["show"]).expect(0).stdout;
    assert!(text.contains("completed, not yet swept"), "{text}");
    runner
        .run(&["resume"])
        .expect(2)
        .says(&["there is no incomplete run"]);
    assert_eq!(run.ending()[0], "running");

    runner.run(&["cleanup", "--no-dry-run"]).expect(0);
    let mut swept = runner.list(&[]).remove(0);
    assert_eq!(run.ending(), ["completed", "", "", "failed"]);
    swept["is_not_yet_swept"] = json!(true);
    assert_eq!(swept, shown);
}

#[test]
fn logs_prints_rows_and_follows_them_until_the_end() {
    let runner = Runner::hostile(&format!(
        "{}{}",
        tests("one | { do = \"echo\", value = 1 } | equals = 2"),
        trials(1, r#"{ do = "loop" }"#)
    ));
    let mut live = runner.start(&["-j", "2"]);
    live.wait_until_running(1);
    let mut logs = spawn(&runner, &["logs", "-f", "--json"]);
    let row = logs.wait_for(|event| event["event"] == "row");
    assert_eq!(
        (&row["row"]["test"], &row["row"]["outcome"]),
        (&json!("one"), &json!("failed"))
    );
    assert!(logs.is_alive());
    // The reader leaves after one line, and nothing more comes that would tell.
    let head = runner.shell("$runner logs -f | head -n 1").start();
    let head = head.finish().expect(0);
    assert!(
        head.stdout.starts_with("✗ failed one@hostile#1"),
        "{head:?}"
    );

    runner.run(&["stop"]).expect(0);
    live.finish().expect(4);
    let events = logs.finish().expect(0).events();
    let names: Vec<_> = events.iter().map(|event| &event["event"]).collect();
    assert_eq!(names, ["row", "row", "finished"]);
    assert_eq!(events[1]["row"]["outcome"], "stopped");
    assert_eq!(events[2]["exit_code"], 4);

    let ran = runner.run(&["logs"]).expect(0);
    assert!(ran.stdout.contains("stopped guest@hostile#1"), "{ran:?}");
    let rows: Vec<_> = runner.run(&["logs", "--json"]).expect(0).events();
    let run = runner.only_run();
    let rows: Vec<_> = rows.into_iter().map(|event| event["row"].clone()).collect();
    assert_eq!(rows, run.rows());
}

#[test]
fn a_detached_run_has_a_session_of_its_own_and_can_be_stopped_by_its_id() {
    let runner = endless();
    let script = "$runner stop --json $($runner exec scenario.toml --detach)";
    let ran = runner.shell(script).run().expect(0);
    let run = runner.only_run();
    assert_says(&ran, &run, "stopped", "incomplete", json!("stopped"));

    let ran = runner.exec(&["--detach", "--json"]).expect(0);
    let run = runner.runs().pop().unwrap();
    let events = ran.events();
    assert_eq!(
        (&events[0]["event"], &events[0]["run"]),
        (&json!("started"), &json!(run.id()))
    );
    assert_eq!(events.len(), 1);
    let pid = run.read("lock").lines().next().unwrap().replace("pid ", "");
    let mut ps = Command::new("ps");
    let said = ps.args(["-o", "pgid=,tty=", "-p", &pid]).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert_eq!(said.split_whitespace().collect::<Vec<_>>(), [&pid, "?"]);

    runner.run(&["stop"]).expect(0);
    runner.run(&["wait", run.id()]).expect(4);
}

#[test]
fn what_is_wrong_before_a_detached_run_is_born_is_said_at_once() {
    let runner = passing();
    runner
        .exec(&["--detach", "--test", "nothing"])
        .expect(5)
        .says(&["no test is selected"]);
    runner.scenario("");
    let ran = runner.exec(&["--detach"]).expect(2);
    assert_eq!(ran.stdout, "");
    assert!(runner.runs().is_empty());
    runner.exec(&["--detach", "--dry-run"]).expect(2);
}

#[test]
fn an_exclusive_run_is_alone_in_its_root() {
    let runner = endless();
    let live = running_with(&runner, &["--exclusive"]);
    let refused = runner.exec(&[]).expect(6);
    let says = [
        "the results root `results` is in use: run `",
        &format!("pid {}, host ", live.id()),
        ", since ",
        "`runner wait results/",
    ];
    refused.says(&says);
    let into = runner.exec(&["--into", "results/mine"]).expect(6);
    into.says(&says[1..3]);
    runner.exec(&["--exclusive"]).expect(6);
    runner.run(&["stop"]).expect(0);
    live.finish().expect(4);

    let live = running(&runner);
    let refused = runner.exec(&["--exclusive"]).expect(6);
    refused.says(&[
        "the results root `results` is in use: run `",
        &format!("pid {}, host ", live.id()),
        ", since ",
        "`--wait`",
    ]);
    let mut queued = [(); 2].map(|()| runner.start(&["--exclusive", "--wait"]));
    assert!(queued.iter_mut().all(Running::is_alive));
    let [given_up, mut next] = queued;
    // The signal ends the process, which a shell reports as 130: there is no run yet that could say why.
    assert_eq!(given_up.end_by(Signal::INT).0.code, None);
    assert_eq!(runner.runs().len(), 2);
    live.end_by(Signal::INT).0.expect(130);
    next.wait_until_running(2);
    runner.exec(&[]).expect(6);
    next.end_by(Signal::INT).0.expect(130);
}

#[test]
fn a_run_begins_in_a_directory_of_choice_and_goes_on_there() {
    let runner = endless();
    let mut live = runner.start(&["--into", "here/mine", "-j", "2"]);
    live.wait_until_running(2);
    runner
        .exec(&["--into", "here/mine"])
        .expect(6)
        .says(&["is being worked on"]);
    live.end_by(Signal::INT).0.expect(130);
    let stop = ["stop", "here/mine", "--results", "here"];
    runner.run(&stop).expect(0);

    let mut again = runner.start(&["--into", "here/mine", "-j", "2"]);
    again.wait_until_running(2);
    again.end_by(Signal::INT).0.expect(130);
    let manifest: Value =
        serde_json::from_slice(&fs_err::read(runner.path("here/mine/benchmark.json")).unwrap())
            .unwrap();
    assert_eq!(manifest["run_id"], "mine");
    assert_eq!(manifest["sessions"].as_array().unwrap().len(), 2);

    let refused = runner
        .exec(&["--into", "here/mine", "--repeat", "2"])
        .expect(2);
    refused.says(&["a run of another plan"]);
    runner.write("full/file", "");
    runner.exec(&["--into", "full"]).expect(2);
}

#[test]
fn the_newest_run_is_the_one_that_began_last_whatever_it_is_called() {
    let runner = passing();
    runner.exec(&["--into", "results/nightly"]).expect(0);
    runner.exec(&[]).expect(0);
    runner.exec(&["--into", "results/0-first"]).expect(0);
    let named = || -> Vec<String> {
        let runs = runner.list(&[]).into_iter();
        runs.map(|run| run["run"].as_str().unwrap().to_owned())
            .collect()
    };
    let names = named();
    assert_eq!((&*names[0], &*names[2]), ("0-first", "nightly"));
    let shown = runner.run(&["show", "--json"]).expect(0).stdout;
    assert!(shown.contains("\"run\": \"0-first\""), "{shown}");
    // A part of several names is answered with the newest first.
    fs_err::remove_file(runner.path("results/runner.db")).unwrap();
    assert_eq!(named(), names);
    runner
        .run(&["show", "no-such-run"])
        .expect(2)
        .says(&[&format!(
            "the newest are `0-first`, `{}`, `nightly`",
            &names[1][24..]
        )]);
    runner
        .run(&["prune", "--keep-last", "2", "--no-dry-run"])
        .expect(0);
    assert_eq!(named(), names[..2]);
}

#[test]
fn of_several_that_begin_in_one_directory_at_once_one_does_and_the_others_name_it() {
    let runner = endless();
    let begin = || runner.start(&["--into", "here/mine", "-j", "2"]);
    let mut all = [begin(), begin(), begin(), begin()];
    let run = runner.path("here/mine/benchmark.json");
    let has_begun = || {
        let text = fs_err::read_to_string(&run).unwrap_or_default();
        text.contains("\"running\"")
    };
    while !has_begun()
        || all
            .iter_mut()
            .filter_map(|one| one.is_alive().then_some(()))
            .count()
            > 1
    {
        std::thread::yield_now();
    }
    for mut one in all {
        if one.is_alive() {
            one.wait_until_running(2);
            one.end_by(Signal::INT).0.expect(130);
        } else {
            let ran = one.finish().expect(6);
            ran.says(&["pid ", "host ", "since "]);
        }
    }
}

#[cfg(debug_assertions)]
#[test]
fn a_directory_in_which_somebody_begins_a_run_is_held_and_one_that_died_there_is_not() {
    let runner = passing();
    let exec = ["exec", "scenario.toml", "--into", "here/mine"];
    for place in ["birth.lock", "birth.files"] {
        let mut first = runner.start_failing(&exec, &format!("{place}=halt"));
        first.wait_until_halted();
        let pid = format!("pid {}", first.id());
        runner
            .run(&exec)
            .expect(6)
            .says(&["is held by another process", &pid]);
        first.kill();
    }
    runner.run(&exec).expect(0);
    runner
        .run(&exec)
        .expect(0)
        .says(&["nothing is left to run"]);
    // Whoever reads the id has nothing else to read.
    let id = runner.run_at("here/mine").id().to_owned();
    for args in [&exec[..], &["resume", "--from", "here/mine"]] {
        let ran = runner.run(&[args, &["--detach"]].concat()).expect(0);
        assert_eq!(ran.stdout, format!("{id}\n"));
        ran.says(&["nothing is left to run"]);
    }
}

#[test]
fn a_detached_run_that_waits_to_be_alone_has_its_id_at_once_and_can_be_stopped() {
    let runner = endless();
    let live = running(&runner);
    let queue = || {
        let said = runner
            .exec(&["--detach", "--exclusive", "--wait", "-j2"])
            .expect(0);
        said.stdout.trim().to_owned()
    };
    let (given_up, next) = (queue(), queue());
    let of = |id: &str| {
        let runs = runner.list(&[]);
        runs.into_iter().find(|run| run["run"] == id).unwrap()
    };
    for id in [&given_up, &next] {
        assert_eq!(
            (&of(id)["status"], &of(id)["stage"]),
            (&json!("running"), &json!("plan"))
        );
    }
    runner
        .run(&["stop", &given_up, "--reason", "not today"])
        .expect(0);
    runner.run(&["wait", &given_up]).expect(4);
    assert_eq!(of(&given_up)["reason"], "stopped");
    assert_eq!(of(&next)["stage"], "plan");

    live.end_by(Signal::INT).0.expect(130);
    while of(&next)["stage"] != "run" {
        assert_eq!(of(&next)["status"], "running");
    }
    runner
        .exec(&[])
        .expect(6)
        .says(&[&format!("is in use: run `{next}` (pid ")]);
    runner.run(&["stop", &next]).expect(0);
    runner.run(&["wait", &next]).expect(4);
    runner
        .exec(&["--exclusive", "--timeout-minutes", "0.02"])
        .expect(4);
}
