//! The queue of a results root: what waits survives everything, and is started once.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use crate::support::{
    endless::{endless, passing, running},
    runner::{CommandExt as _, Runner, Signal},
    wait::wait_until,
};

const ENQUEUE: [&str; 3] = ["exec", "--queue", "scenario.toml"];
const WORK: [&str; 4] = ["queue", "work", "--once", "--json"];

/// Puts a run into the queue, and says what its request is called.
#[track_caller]
fn enqueue(runner: &Runner, args: &[&str]) -> String {
    let ran = runner
        .run(&[&ENQUEUE[..], &["--json"], args].concat())
        .expect(0);
    let change = ran.document();
    runner.assert_valid("queue-change", std::slice::from_ref(&change));
    assert_eq!(change["result"], "queued");
    change["id"].as_str().unwrap().to_owned()
}

#[track_caller]
fn queue(runner: &Runner) -> Value {
    let queue = runner.run(&["queue", "--json"]).expect(0).document();
    runner.assert_valid("queue", std::slice::from_ref(&queue));
    queue
}

/// The ids of the requests in this state, in order.
#[track_caller]
fn ids(runner: &Runner, state: &str) -> Vec<String> {
    let queue = queue(runner);
    let requests = queue["requests"].as_array().unwrap().iter();
    requests
        .filter(|request| request["state"] == state)
        .map(|request| request["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Starts what waits, one after the other, until nothing does and all runs have ended.
fn drain(runner: &Runner) {
    for _ in 0..200 {
        let code = runner.run(&WORK).code;
        assert!(matches!(code, Some(0 | 3 | 6)), "{code:?}");
        let queue = queue(runner);
        if queue["requests"] == json!([]) && queue["active"] == json!([]) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{:#}", queue(runner));
}

/// The requests that runs say that they were started by.
fn started_by(runner: &Runner) -> Vec<String> {
    let runs = runner.runs();
    let requests = runs
        .iter()
        .map(|run| run.manifest()["request"]["id"].clone());
    requests
        .map(|id| id.as_str().unwrap_or("none").to_owned())
        .collect()
}

#[test]
fn what_waits_is_listed_and_started_by_priority_and_then_by_time() {
    let runner = passing();
    let (first, second) = (enqueue(&runner, &[]), enqueue(&runner, &[]));
    let urgent = enqueue(&runner, &["--priority", "5"]);
    let late = enqueue(&runner, &["--priority", "-1"]);
    let order = [&urgent, &first, &second, &late].map(String::clone);
    assert_eq!(ids(&runner, "waiting"), order);
    assert!(runner.runs().is_empty());

    let moved = runner.run(&["queue", "move", &late, "--first", "--json"]);
    let moved = moved.expect(0).document();
    assert_eq!(
        (&moved["result"], &moved["place"]),
        (&json!("moved"), &json!(1))
    );
    assert_eq!(moved["priority"], 6);
    runner
        .run(&["queue", "move", &urgent, "--priority", "-3"])
        .expect(0);
    let removed = runner.run(&["queue", "remove", &second]).expect(0);
    assert_eq!(removed.stdout, format!("removed {second}\n"));
    assert_eq!(
        ids(&runner, "waiting"),
        [&late, &first, &urgent].map(String::clone)
    );

    drain(&runner);
    assert_eq!(started_by(&runner), [late, first, urgent]);
    for run in runner.list(&[]) {
        assert_eq!(run["verdict"], "passed");
    }
}

#[test]
fn a_selection_and_options_wait_with_the_scenario() {
    let runner = endless();
    let echo = "[[tests]]\nid = \"echo\"\ninput = { do = \"echo\", value = 1 }\n";
    let scenario = fs_err::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&(echo.to_owned() + &scenario));
    enqueue(&runner, &["-E", "test(echo)", "--repeat", "3", "-j", "2"]);
    drain(&runner);
    let manifest = runner.only_run().manifest();
    assert_eq!(
        manifest["selection"],
        json!({"filter": "test(echo)", "repeat": 3})
    );
    assert_eq!(manifest["counts"]["passed"], 3);
    assert_eq!(manifest["options"]["jobs"], 2);
}

#[test]
fn nothing_is_started_while_as_many_runs_are_active_as_may_be() {
    let runner = endless();
    let mut live = running(&runner);
    let id = enqueue(&runner, &[]);
    let busy = runner.run(&WORK).expect(6);
    busy.says(&["1 run active, of at most 1"]);
    assert_eq!(ids(&runner, "waiting"), [id.as_str()]);
    assert!(live.is_alive());

    // Without `--queue` there is no such bound.
    let other = runner.run(&["exec", "scenario.toml", "--detach"]).expect(0);
    runner.write("results/runner.toml", "max_active_runs = 3\n");
    runner.run(&WORK).expect(0);
    assert_eq!(queue(&runner)["active"].as_array().unwrap().len(), 3);
    runner.run(&WORK).expect(0).says(&["nothing waits"]);

    live.signal(Signal::TERM);
    live.finish().expect(143);
    let active = queue(&runner)["active"].clone();
    assert!(active.to_string().contains(other.stdout.trim()));
    for run in active.as_array().unwrap() {
        runner
            .run(&["stop", "--kill", run["run"].as_str().unwrap()])
            .expect(0);
    }
}

#[test]
fn what_is_wrong_is_said_before_anything_waits() {
    let runner = passing();
    runner.scenario("[providers.a]\n");
    runner
        .run(&ENQUEUE)
        .expect(2)
        .says(&["`plugin` is missing"]);
    assert!(!runner.path("results").exists());
    let runner = passing();
    runner.write("results/runner.toml", "max_active_runs = 0\n[retentoin]\n");
    let refused = runner.run(&ENQUEUE).expect(2);
    refused.says(&[
        "settings results/runner.toml have 2 problems",
        "`max_active_runs` must be an integer from 1 to 1000",
        "did you mean `retention`?",
    ]);
    for command in [&["queue"][..], &WORK] {
        let code = runner.run(command).code;
        assert!(
            code == Some(2) || command == WORK && code == Some(0),
            "{code:?}"
        );
    }
    let refused = runner.run(&["exec", "--queue", "--into", "results/x", "scenario.toml"]);
    refused.expect(2).says(&["cannot be used with"]);
    runner
        .run(&["exec", "--priority", "1", "scenario.toml"])
        .expect(2);
}

#[test]
fn what_cannot_be_started_is_kept_with_the_reason_and_may_wait_again() {
    let runner = passing();
    let id = enqueue(&runner, &[]);
    let scenario = fs_err::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario("nonsense = 1\n");
    let step = runner.run(&WORK).expect(3).document();
    runner.assert_valid("queue-step", std::slice::from_ref(&step));
    assert_eq!(
        (&step["result"], &step["request"]),
        (&json!("refused"), &json!(id))
    );
    assert_eq!(ids(&runner, "refused"), [id.as_str()]);
    let listed = runner.run(&["queue"]).expect(0);
    listed.says(&["cannot be started", "unknown key `nonsense`"]);
    // It is not tried again and again.
    runner.run(&WORK).expect(0).says(&["nothing waits"]);

    runner.scenario(&scenario);
    runner
        .run(&["queue", "move", &id, "--priority", "0"])
        .expect(0);
    drain(&runner);
    assert_eq!(started_by(&runner), [id]);

    let other = enqueue(&runner, &[]);
    fs_err::remove_file(runner.path("scenario.toml")).unwrap();
    runner.run(&WORK).expect(3);
    runner.run(&["queue", "remove", &other]).expect(0);
    assert_eq!(queue(&runner)["requests"], json!([]));
    let unknown = runner.run(&["queue", "remove", &other]).expect(2);
    unknown.says(&["no request"]);
}

#[test]
fn workers_side_by_side_start_each_request_once_whoever_of_them_is_killed() {
    const REQUESTS: usize = 8;
    let runner = passing();
    runner.write("results/runner.toml", "max_active_runs = 2\n");
    let mut expected = BTreeSet::new();
    for _ in 0..REQUESTS {
        expected.insert(enqueue(&runner, &[]));
    }
    let start = || runner.command(&["queue", "work"]).start();
    let mut workers: Vec<_> = (0..3).map(|_| start()).collect();
    let mut most = 0;
    for round in 0.. {
        assert!(round < 600, "{:#}", queue(&runner));
        let queue = queue(&runner);
        most = most.max(queue["active"].as_array().unwrap().len());
        if queue["requests"] == json!([]) && queue["active"] == json!([]) {
            break;
        }
        if round % 5 == 4 {
            let place = round % workers.len();
            std::mem::replace(&mut workers[place], start()).kill();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    workers.into_iter().for_each(|worker| drop(worker.kill()));
    let mut started = started_by(&runner);
    started.sort();
    assert_eq!(started, expected.into_iter().collect::<Vec<_>>());
    assert!(most <= 2, "{most}");
    for run in runner.list(&[]) {
        assert_eq!(run["status"], "completed");
    }
}

#[cfg(debug_assertions)]
mod killed {
    use runner::record::failpoint::PLACES;

    use super::*;

    /// Runs a command that dies at a place, or a process of which does.
    fn kill(runner: &Runner, args: &[&str], place: &str) -> String {
        let mut command = runner.command(args);
        command.env("RUNNER_FAILPOINT", format!("{place}=kill"));
        let said = command.output().unwrap().stdout;
        String::from_utf8(said).unwrap()
    }

    fn places(step: &str) -> impl Iterator<Item = &'static &'static str> {
        let is_of = move |place: &&&str| place.split_once('.').is_some_and(|it| it.0 == step);
        PLACES.iter().filter(is_of)
    }

    /// Fails unless the only request leads to one run.
    #[track_caller]
    fn assert_started_once(runner: &Runner, id: &str, place: &str) {
        drain(runner);
        assert_eq!(started_by(runner), [id], "{place}");
        let left = walkdir::WalkDir::new(runner.path("results/queue"));
        let left = left.into_iter().map(Result::unwrap);
        let left: Vec<_> = left
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| entry.file_name().to_owned())
            .collect();
        assert_eq!(left, [".lock"], "{place}");
    }

    #[test]
    fn whoever_dies_while_it_puts_a_request_into_the_queue_leaves_a_whole_one_or_none() {
        for place in places("queue") {
            let runner = passing();
            let killed = kill(&runner, &ENQUEUE, place);
            let known = ids(&runner, "waiting");
            match known.len() {
                // It was told only if it is there.
                0 => assert_eq!(killed, "", "{place}"),
                _ => assert_started_once(&runner, &known[0], place),
            }
        }
    }

    #[test]
    fn a_request_is_neither_lost_nor_doubled_wherever_its_starter_or_its_own_process_dies() {
        for place in places("queue").chain(places("birth")) {
            let runner = passing();
            let id = enqueue(&runner, &[]);
            kill(&runner, &WORK, place);
            assert_started_once(&runner, &id, place);
        }
    }

    #[test]
    fn a_request_that_goes_back_survives_the_death_of_whoever_puts_it_back() {
        let runner = passing();
        let id = enqueue(&runner, &[]);
        kill(&runner, &WORK, "queue.held");
        kill(&runner, &WORK, "queue.back");
        assert_started_once(&runner, &id, "queue.back");
    }

    #[test]
    fn a_request_whose_process_dies_each_time_is_refused_in_the_end() {
        let runner = passing();
        let id = enqueue(&runner, &[]);
        for _ in 0..4 {
            kill(&runner, &WORK, "birth.lock");
        }
        assert_eq!(ids(&runner, "refused"), [id.as_str()]);
        assert!(runner.runs().is_empty());
        let listed = runner.run(&["queue"]).expect(0);
        listed.says(&["its process has died 3 times"]);
    }
}

#[test]
fn a_resume_whose_processes_have_died_before_its_session_waits_and_is_carried_out_once() {
    let runner = endless();
    let live = runner.start(&[]);
    wait_until("it runs", || !runner.runs().is_empty());
    live.kill();
    let run = runner.only_run().id().to_owned();
    let request = enqueue(&runner, &[]);
    let waiting = runner.path(&format!("results/queue/{request}.json"));
    let text = fs_err::read_to_string(&waiting).unwrap();
    fs_err::remove_file(waiting).unwrap();
    let taken = runner.path(&format!("results/queue/taken/{request}.json"));
    let left_by_the_dead = |sessions: u32| {
        let mut left: Value = serde_json::from_str(&text).unwrap();
        left["tries"] = json!(1);
        left["work"] = json!({
            "command": "resume", "folder": left["work"]["folder"], "run": run, "options": {},
            "sessions": sessions,
        });
        fs_err::write(&taken, left.to_string()).unwrap();
    };
    let sessions = || {
        runner.only_run().manifest()["sessions"]
            .as_array()
            .unwrap()
            .len()
    };
    left_by_the_dead(1);
    let mut worker = runner.command(&["queue", "work"]).start();
    wait_until("it goes on", || sessions() == 2);
    wait_until("it is done with", || !taken.exists());
    // Somebody has gone on with it since.
    left_by_the_dead(1);
    wait_until("it is forgotten", || !taken.exists());
    assert!(worker.is_alive());
    drop(worker);
    assert_eq!(ids(&runner, "waiting"), [""; 0]);
    runner.run(&["cancel"]).expect(0);
    assert_eq!(sessions(), 2);
}

#[test]
fn a_run_that_was_cut_short_waits_until_there_is_room_to_go_on() {
    let runner = endless();
    let live = runner.start(&[]);
    wait_until("it runs", || !runner.runs().is_empty());
    live.kill();
    let args = ["resume", "--queue", "--priority", "4", "--json"];
    let queued = runner.run(&args).expect(0).document();
    runner.assert_valid("queue-change", std::slice::from_ref(&queued));
    assert_eq!(
        (&queued["result"], &queued["priority"]),
        (&json!("queued"), &json!(4))
    );
    assert_eq!(queued["what"], *runner.only_run().id());
    let twice = runner.run(&["resume", "--queue"]).expect(6);
    twice.says(&["waits in the queue already, as request"]);
    assert_eq!(ids(&runner, "waiting").len(), 1);
    let step = runner.run(&WORK).expect(0).document();
    assert_eq!(step["run"], *runner.only_run().id());
    assert_eq!(ids(&runner, "waiting"), [""; 0]);
    assert_eq!(runner.only_run().manifest()["sessions"][1]["n"], 2);
    runner
        .run(&["resume", "--queue", "--from", "latest"])
        .expect(6);
    runner.run(&["cancel"]).expect(0);

    let runner = passing();
    runner.exec(&[]).expect(0);
    let nothing = ["resume", "--queue", "--from", "latest"];
    let refused = runner.run(&nothing).expect(2);
    refused.says(&["no trial of run", "is left to run"]);
    let again = [&nothing[..], &["--rerun", "all", "--json"]].concat();
    runner.run(&again).expect(0);
    drain(&runner);
    assert_eq!(runner.only_run().manifest()["sessions"][1]["n"], 2);
}
