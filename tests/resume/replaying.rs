//! `exec --replay`: runs that receive the responses of another run, with real guests and servers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::{collections::BTreeMap, fs, thread, time::Duration};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::continuing::{STEPS, agent, model, with_run};
use crate::messages::outputs::snapshot;
use crate::support::{
    processes::Process,
    run::{Run, sealed},
    runner::{Runner, tests},
    running::{Finished, Running},
    server::{Response, Server},
    wait::wait_until,
    web,
};

/// Replays the oldest run. Returns the new one.
#[track_caller]
pub(super) fn replay(runner: &Runner, more: &[&str], code: i32) -> (Finished, Run) {
    let from = runner.runs().remove(0);
    let ran = runner.run(&[&["exec", "scenario.toml", "--replay", from.id()], more].concat());
    let ran = ran.expect(code);
    (ran, runner.runs().pop().unwrap())
}

/// Changes the scenario.
pub(super) fn change(runner: &Runner, from: &str, to: &str) {
    let scenario = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    assert!(scenario.contains(from), "{scenario}");
    runner.scenario(&scenario.replace(from, to));
}

/// Compares the results of a run with those of the oldest one.
#[track_caller]
pub(super) fn assert_equal(runner: &Runner, run: &Run) {
    runner.run(&["compare", "--exact", runner.runs()[0].id(), run.id()]).expect(0);
    runner.run(&["verify"]).expect(0);
}

/// Returns the message of the only row, which must be a `replay` error.
#[track_caller]
fn message(run: &Run) -> String {
    let row = run.row("t0");
    let error = (&row["outcome"], &row["error"]["class"]);
    assert_eq!(error, (&json!("error"), &json!("replay")), "{row}");
    row["error"]["message"].as_str().unwrap().to_owned()
}

/// Returns the exchanges of each trial, in their order.
fn exchanges(run: &Run) -> BTreeMap<String, Vec<Value>> {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for line in run.text("calls.jsonl").lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let exchange = &line["entry"]["exchange"];
        if !exchange.is_null() {
            all.entry(line["trial"].to_string()).or_default().push(exchange.clone());
        }
    }
    // A replay keeps them in the order of the requests.
    for exchanges in all.values_mut() {
        exchanges.sort_by_key(|exchange| exchange["number"].as_u64());
    }
    all
}

/// Six agents and two races, each of whose starts and pauses differ.
fn agents_and_races(server: &Server) -> Runner {
    let agent = json!({ "by": "agent", "url": server.url("/agent"), "size": 20 });
    let race = json!({ "by": "race", "url": server.url("/race"), "size": 20, "timeout": 5 });
    let attempts = [vec![vec![agent]; 6], vec![vec![race]; 2]].concat();
    let runner = web::scenario("", &web::net(&[&server.origin()]), &attempts);
    with_run(&runner, "");
    change(&runner, "clock = 2020-01-01T00:00:00Z\n", "");
    runner
}

fn racing() -> Server {
    Server::start(|request| {
        let pause = u64::from(request.path.bytes().map(u32::from).sum::<u32>() % 17);
        // A delay of the server itself, so that answers race.
        thread::sleep(Duration::from_millis(pause));
        Response::ok(format!("answer to {}", request.path))
    })
}

#[test]
fn replay_has_equal_rows_and_sends_nothing() {
    let server = racing();
    let runner = agents_and_races(&server);
    runner.exec(&["-j", "3"]).expect(0);
    let first = runner.only_run();
    let sent = server.requests().len();
    assert_eq!(sent, 6 * 20 + 2 * 40);
    for jobs in ["1", "16"] {
        let (ran, run) = replay(&runner, &["-j", jobs], 0);
        ran.says(&[&format!("replaying {}: {sent} calls of 8 attempts", first.id())]);
        assert_equal(&runner, &run);
        assert_eq!(exchanges(&run), exchanges(&first));
    }
    // A replay has a journal of its own.
    let id = runner.runs()[1].id().to_owned();
    runner.run(&["exec", "scenario.toml", "--replay", &id]).expect(0);
    assert_equal(&runner, &runner.runs()[3]);
    assert_eq!(server.requests().len(), sent);
}

#[test]
fn replay_does_not_need_the_server() {
    let server = model(Duration::ZERO);
    let runner = agent(&server, "");
    runner.exec(&[]).expect(0);
    drop(server);
    let (_, run) = replay(&runner, &[], 0);
    assert_equal(&runner, &run);
}

#[test]
fn first_other_request_ends_a_replay() {
    let server = model(Duration::ZERO);
    let runner = agent(&server, "");
    runner.exec(&[]).expect(0);
    for (from, to, says) in [
        ("size = 40", "size = 41", "its request 41, `POST "),
        (
            "by = \"agent\"",
            "by = \"agent\", headers = [[\"x\", \"y\"]]",
            "a header of request 1 differs",
        ),
    ] {
        change(&runner, from, to);
        let (_, run) = replay(&runner, &[], 1);
        let message = message(&run);
        assert!(message.contains(says), "{message}");
        change(&runner, to, from);
    }
    let url = server.url("");
    change(&runner, &format!("url = \"{url}"), &format!("url = \"{url}/new"));
    let (_, run) = replay(&runner, &[], 1);
    let message = message(&run);
    assert!(
        message.contains("the URL of request 1 differs") && message.contains("/new/1` now"),
        "{message}"
    );
    assert_eq!(server.requests().len(), STEPS);
}

#[test]
fn attempt_that_timed_out_cannot_be_replayed() {
    // A busy machine and a slow disk may need longer for four responses.
    let timed_out = [3, 15, 60].into_iter().find_map(|seconds| {
        let server = Server::start(|request| {
            let is_last = request.path.ends_with("/5");
            // A delay of the server itself, longer than each timeout.
            thread::sleep(Duration::from_secs(if is_last { 120 } else { 0 }));
            Response::ok("answer")
        });
        let runner = agent(&server, "");
        let scenario = fs::read_to_string(runner.path("scenario.toml")).unwrap();
        runner.scenario(&format!("{scenario}timeout = \"{seconds}s\"\n"));
        runner.exec(&[]).expect(1);
        (server.requests().len() == 5).then_some((server, runner))
    });
    let (server, runner) = timed_out.expect("a minute is enough");
    assert_eq!(runner.only_run().row("t0")["outcome"], "timeout");
    let message = message(&replay(&runner, &[], 1).1);
    assert!(message.starts_with("its request 5, `POST "), "{message}");
    assert!(message.contains("has no recorded response"), "{message}");
    assert_eq!(server.requests().len(), 5);
}

#[test]
fn trial_that_the_run_lacks_can_make_no_request() {
    let server = model(Duration::ZERO);
    let requests = ["/a", "/b"].map(|path| vec![web::get(server.url(path))]);
    let runner = web::scenario("", &web::net(&[&server.origin()]), &requests);
    with_run(&runner, "");
    runner.exec(&["--test", "t1"]).expect(0);
    let (_, run) = replay(&runner, &[], 1);
    let message = message(&run);
    assert!(message.contains("/a`, has no recorded response"), "{message}");
    assert_eq!((&run.row("t1")["outcome"], server.requests().len()), (&json!("passed"), 1));
}

#[test]
fn replays_are_no_results_of_their_scenario() {
    let server = model(Duration::ZERO);
    let runner = agent(&server, "");
    runner.exec(&[]).expect(0);
    change(&runner, "size = 40", "size = 41");
    replay(&runner, &[], 1);
    change(&runner, "size = 41", "size = 40");
    // The newest result that is not of a replay is a pass.
    runner.exec(&["--last-failed"]).expect(5);
    let history = runner.run(&["history", "--json"]).expect(0);
    let history: Value = serde_json::from_str(&history.stdout).unwrap();
    let runs: Vec<_> = history["runs"].as_array().unwrap().iter().map(|run| &run["run"]).collect();
    assert_eq!(runs, [runner.runs()[0].id()]);
    let trial = runner.run(&["show", runner.runs()[0].id(), "t0", "--json"]).expect(0);
    let trial: Value = serde_json::from_str(&trial.stdout).unwrap();
    assert_eq!(trial["history"].as_array().unwrap().len(), 1, "{trial}");
}

#[test]
fn error_of_a_replay_has_the_nearest_recorded_request() {
    let server = model(Duration::ZERO);
    let [a, b, c] = ["/a", "/b", "/c"].map(|path| web::get(server.url(path)));
    let requests = |all: &[&Value]| format!("requests = {}", web::toml(&json!(all)));
    let recorded = requests(&[&a, &b]);
    let net = web::net(&[&server.origin()]);
    let runner = web::scenario("", &net, &[vec![a.clone(), b.clone()]]);
    with_run(&runner, "");
    runner.exec(&[]).expect(0);
    for (edited, says) in [
        (
            vec![&a, &b, &c],
            [
                "/c`, has no recorded response; compared with the nearest recorded request, the URL of request 2",
                "/b` before, ",
            ],
        ),
        (vec![&b], ["the URL of request 1 differs", "; it equals recorded request 2"]),
        (vec![&c], ["the URL of request 1 differs", "/c` now"]),
    ] {
        let edited = requests(&edited);
        change(&runner, &recorded, &edited);
        let message = message(&replay(&runner, &[], 1).1);
        assert!(says.iter().all(|part| message.contains(part)), "{message}");
        change(&runner, &edited, &recorded);
    }
}

#[test]
fn replay_is_named_as_one() {
    let server = model(Duration::ZERO);
    let requests = ["/a", "/b", "/c"].map(|path| vec![web::get(server.url(path))]);
    let runner = web::scenario("", &web::net(&[&server.origin()]), &requests);
    with_run(&runner, "");
    runner.exec(&[]).expect(0);
    let (_, run) = replay(&runner, &[], 0);
    let first = runner.runs().remove(0);
    let (base, short) = (first.id(), first.id().rsplit('-').next().unwrap());
    let words = format!("a replay of {short}");
    for flags in [&[][..], &["--history"]] {
        runner.run(&[&["show", run.id()], flags].concat()).expect(0).says(&[&words]);
        let shown = runner.run(&[&["show", base], flags].concat()).expect(0).stdout;
        assert!(!shown.contains("replay"), "{shown}");
    }
    let report = |form: &str| runner.run(&["report", run.id(), form]).expect(0).stdout;
    assert!(report("--markdown").contains(&format!(", a replay of `{short}`.")));
    assert!(report("--html").contains(&format!("<span>Replay of {short}</span>")));
    assert!(report("--junit").contains(&format!(r#"name="replay of" value="{base}""#)));
    let list = runner.run(&["list"]).expect(0).stdout;
    let marked: Vec<_> = list.lines().filter(|line| line.contains("(replay)")).collect();
    assert!(marked.len() == 1 && marked[0].contains(run.id()), "{list}");

    let compared = runner.run(&["compare", base, run.id()]).expect(0);
    compared.says(&[&format!("new is {words}, so durations may differ")]);
    assert!(!compared.stdout.contains("only selected tests"), "{}", compared.stdout);
    let (_, second) = replay(&runner, &[], 0);
    let compared = runner.run(&["compare", run.id(), second.id()]).expect(0);
    compared.says(&[&format!("base is {words}"), &format!("new is {words}")]);
    assert!(!compared.stdout.contains("durations may differ"), "{}", compared.stdout);

    // Of a part of the trials, and with a difference.
    change(&runner, &server.url("/c"), &server.url("/d"));
    let (_, part) = replay(&runner, &["--test", "t2"], 1);
    let compared = runner.run(&["compare", base, part.id()]);
    compared.says(&["new ran only selected tests", &format!("new is {words}")]);
    let compared = runner.run(&["compare", "--exact", base, part.id()]).expect(1);
    compared.says(&["✗ 1 attempt differs, 2 attempts are only in base, 0 equal", "t2@web#1"]);
    let document = runner.run(&["compare", "--exact", part.id(), base, "--json"]).document();
    let counts = ["different", "only_in_base", "only_in_new"].map(|key| document[key].as_u64());
    assert_eq!(counts, [Some(3), Some(0), Some(2)]);
}

#[test]
fn replay_may_end_before_the_recorded_requests() {
    let server = model(Duration::ZERO);
    let runner = agent(&server, "");
    runner.exec(&[]).expect(0);
    change(&runner, "size = 40", "size = 39");
    let (_, run) = replay(&runner, &[], 0);
    assert_eq!(run.row("t0")["calls"]["count"], STEPS - 1);
    let compared = runner.run(&["compare", "--exact", runner.runs()[0].id(), run.id()]);
    compared.expect(1);
}

#[test]
fn only_a_run_with_a_journal_is_replayed() {
    let server = model(Duration::ZERO);
    let runner = agent(&server, "");
    change(&runner, "journal = true", "deterministic = true");
    runner.exec(&[]).expect(0);
    let id = runner.only_run().id().to_owned();
    let replay = |run: &str| runner.run(&["exec", "scenario.toml", "--replay", run]).expect(2);
    snapshot(&replay(&id));
    replay("yesterday").says(&["yesterday"]);
    assert_eq!((runner.runs().len(), server.requests().len()), (1, STEPS));
}

/// The lines of an attempt are compared with its row, and with each other.
#[test]
fn changed_calls_are_not_replayed() {
    let server = model(Duration::ZERO);
    let runner = agent(&server, "");
    runner.exec(&[]).expect(0);
    runner.exec(&[]).expect(0);
    let run = runner.runs().remove(0);
    let (whole, other) = (run.text("calls.jsonl"), runner.runs()[1].text("calls.jsonl"));
    let lines: Vec<_> = whole.lines().collect();
    let without = |place: usize| {
        let left = lines.iter().enumerate().filter(|(at, _)| *at != place);
        left.map(|(_, line)| format!("{line}\n")).collect::<String>()
    };
    let earlier = sealed(&lines[0].replace("2020-01-01", "2019-01-01"));
    for (calls, why) in [
        (without(STEPS), "its row is of other calls"),
        (without(7), "line 8 of calls.jsonl is line 9 of its attempt, and line 8 belongs here"),
        (without(0), "line 1 of calls.jsonl is line 2 of its attempt, and line 1 belongs here"),
        (whole.replace(lines[0], &earlier), "its row is of other calls"),
        (whole.clone() + lines[7] + "\n", "line 42 of calls.jsonl repeats line 8 of its attempt"),
        (other, "line 1 of calls.jsonl is of another run"),
        (String::new(), "its row is of other calls"),
    ] {
        run.write("calls.jsonl", calls);
        let (_, replay) = replay(&runner, &[], 1);
        let said = message(&replay);
        assert!(said.contains(why), "{said}");
        let args = ["plugin", "run", "--from", run.id(), "--trial", "t0", "--replay"];
        runner.run(&args).expect(2).says(&[why, "runner verify"]);
        // A doubled line costs no result.
        let verified = runner.run(&["verify", run.id()]);
        if why.contains("repeats") {
            snapshot(&verified.expect(0));
        } else {
            snapshot(&verified.expect(1));
        }
    }
    run.write("calls.jsonl", whole);
    snapshot(&runner.run(&["verify", run.id()]).expect(0));
    assert_eq!(server.requests().len(), 2 * STEPS);
}

#[test]
fn real_time_is_not_judged_in_a_replay() {
    let server = model(Duration::from_millis(5));
    let runner = agent(&server, "");
    let scenario = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&(scenario + "expect = { max_duration = \"100ms\" }\n"));
    runner.exec(&[]).expect(1);
    let (ran, run) = replay(&runner, &[], 0);
    snapshot(&ran);
    assert_eq!(run.row("t0")["checks"], Value::Null);
    let compared = runner.run(&["compare", "--exact", runner.runs()[0].id(), run.id()]).expect(0);
    snapshot(&compared);
}

#[test]
fn moved_run_is_replayed() {
    let server = model(Duration::ZERO);
    let runner = agent(&server, "");
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    fs::rename(&run.dir, run.dir.with_file_name("baseline")).unwrap();
    runner.run(&["exec", "scenario.toml", "--replay", "baseline"]).expect(0);
    snapshot(&runner.run(&["verify"]).expect(0));
    assert_eq!(server.requests().len(), STEPS);
}

#[test]
fn secrets_that_the_host_fills_in_are_not_needed() {
    let server = model(Duration::ZERO);
    let request = json!({
        "by": "agent", "url": server.url(""), "size": 5,
        "headers": [["authorization", "Bearer {{secret.KEY}}"]],
    });
    let grants = format!("{}\nsecrets = [\"KEY\"]", web::net(&[&server.origin()]));
    let runner = web::scenario("", &grants, &[vec![request]]);
    with_run(&runner, "");
    let mut command = runner.command(&["exec", "scenario.toml"]);
    Running::start(command.env("KEY", "correct-horse-battery-staple")).finish().expect(0);
    let (_, run) = replay(&runner, &[], 0);
    assert_equal(&runner, &run);
    let args = ["plugin", "run", "--from", run.id(), "--trial", "t0", "--replay"];
    runner.run(&args).expect(0).says(&["5 calls are in the journal"]);
    assert_eq!(server.requests().len(), 5);

    // The guest reads it, and may do something else without it.
    change(
        &runner,
        "secrets = [\"KEY\"]",
        "secrets = [\"KEY\"]\nenv = { KEY = \"{{secret.KEY}}\" }",
    );
    let (ran, _) = replay(&runner, &[], 2);
    ran.says(&["secret `KEY` has no value"]);
}

#[test]
fn interrupted_replay_is_resumed_as_a_replay() {
    let server = racing();
    let runner = agents_and_races(&server);
    runner.exec(&["-j", "8"]).expect(0);
    let first = runner.only_run();
    let sent = server.requests().len();
    let interrupted = |signal: Signal| {
        let number = runner.runs().len();
        let args = ["exec", "scenario.toml", "--replay", first.id(), "-j", "1"];
        let mut running = runner.started(&args);
        let replayed = || runner.runs().get(number).map(|run| run.dir.join("calls.jsonl"));
        wait_until("some calls are replayed", || {
            let calls = replayed().and_then(|path| fs::read_to_string(path).ok());
            !running.is_alive() || calls.is_some_and(|calls| calls.lines().count() > 25)
        });
        let workers: Vec<Process> = running.workers();
        running.end_by(signal);
        workers.into_iter().for_each(|worker| worker.signal(Signal::KILL));
        let run = runner.runs().remove(number);
        (run.rows().len() < 8).then_some(run)
    };
    for signal in [Signal::INT, Signal::KILL] {
        // A replay needs no server, so it may end before the signal.
        let run = (0..20).find_map(|_| interrupted(signal)).expect("one is interrupted");
        runner.run(&["resume", run.id()]).expect(0);
        assert_equal(&runner, &run);
    }
    assert_eq!(server.requests().len(), sent);
}

#[test]
fn interrupted_replay_is_not_resumed_with_another_run() {
    let server = racing();
    let runner = agents_and_races(&server);
    runner.exec(&["--into", "results/first"]).expect(0);
    runner.exec(&["--into", "results/second"]).expect(0);
    let interrupted = |into: &str| {
        let args = ["exec", "scenario.toml", "--replay", "first", "--into", into];
        let args = [&args[..], &["-j", "1", "--json"]].concat();
        // A replay needs no server, so it may end before the signal.
        let is_interrupted = (0..20).any(|_| {
            let _ = fs::remove_dir_all(runner.path(into));
            let mut running = runner.started(&args);
            wait_until("there is a row", || {
                running.printed().contains("\"event\":\"row\"") || !running.is_alive()
            });
            let code = running.end_by(Signal::INT).0.code;
            assert!(matches!(code, Some(0 | 130)), "{code:?}");
            code == Some(130)
        });
        assert!(is_interrupted);
    };
    interrupted("results/replay");
    let folder = |name: &str| runner.path("results").join(name);
    let swap = || {
        fs::rename(folder("first"), folder("other")).unwrap();
        fs::rename(folder("second"), folder("first")).unwrap();
        fs::rename(folder("other"), folder("second")).unwrap();
    };
    swap();
    let resume = ["resume", "replay"];
    let refused = runner.run(&resume).expect(2);
    snapshot(&refused);
    swap();
    runner.run(&resume).expect(0);
    runner.run(&["compare", "--exact", "first", "replay"]).expect(0);

    interrupted("results/later");
    runner.run(&["resume", "first", "--rerun", "t0@web#1"]).expect(0);
    snapshot(&runner.run(&["resume", "later"]).expect(2));
}

#[test]
fn each_attempt_of_a_trial_has_its_own_responses() {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |_| match count.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => Response::new(503).body("no"),
        _ => {
            let message = json!({"role": "assistant", "content": "42"});
            let choice = json!({"index": 0, "finish_reason": "stop", "message": message});
            Response::ok(json!({"model": "m", "choices": [choice]}).to_string())
        }
    });
    let origin = server.origin();
    let runner = Runner::new(&[]);
    runner.scenario(&format!(
        "[run]\njournal = true\n[defaults]\nretries = {{ max = 2, backoff = \"1ms\" }}\n[providers.chat]\nplugin = \"bundled:chat\"\n\
         config = {{ base_url = \"{origin}/v1\", model = \"m\", api_key_secret = \"\" }}\n\
         grants = {{ net = [\"{origin}\"] }}\n\
         [[tests]]\nid = \"t0\"\ninput = \"question\"\nexpect = {{ equals = \"42\" }}\n"
    ));
    runner.exec(&[]).expect(0);
    let sent = server.requests().len();
    let (_, run) = replay(&runner, &[], 0);
    let rows = run.rows();
    let ends: Vec<_> = rows.iter().map(|row| row["outcome"].as_str().unwrap()).collect();
    assert_eq!(ends, ["error", "error", "passed"]);
    assert_equal(&runner, &run);
    for run in runner.runs() {
        let failed = run.rows().into_iter().map(|row| row["service_failed"].clone());
        assert_eq!(failed.collect::<Vec<_>>(), [json!(true), json!(true), Value::Null]);
        assert_eq!(run.count("flaky"), 0);
    }
    let args = ["plugin", "run", "--from", run.id(), "--trial", "t0", "--replay"];
    runner.run(&args).expect(0).says(&["replaying attempt 3"]);
    assert_eq!(server.requests().len(), sent);
}

/// A scenario whose guest passes in its third attempt.
fn third_passes(backoff: &str) -> Runner {
    let retries =
        format!("retries = {{ max = 2, backoff = \"{backoff}\", on = [\"unavailable\"] }}");
    Runner::hostile(&format!(
        "[run]\njournal = true\n[defaults]\n{retries}\n[[tests]]\nid = \"t0\"\n\
         input = {{ do = \"fail-until\", attempt = 3 }}\nexpect = {{ equals = 3 }}\n"
    ))
}

fn outcomes(run: &Run) -> Vec<String> {
    run.rows().iter().map(|row| row["outcome"].as_str().unwrap().to_owned()).collect()
}

/// A guest sees how many attempts came before, without those that were stopped, in each session.
#[test]
fn stops_between_attempts_do_not_change_their_numbers() {
    let runner = third_passes("5m");
    for command in [["exec", "scenario.toml"], ["resume", "latest"]] {
        let mut running = runner.started(&[&command[..], &["--json"]].concat());
        running.wait_for_rows(1);
        running.end_by(Signal::INT).0.expect(130);
    }
    runner.run(&["resume"]).expect(0);
    assert_eq!(outcomes(&runner.only_run()), ["error", "error", "passed"]);
    change(&runner, "5m", "1ms");
    let (_, replayed) = replay(&runner, &[], 0);
    assert_eq!(outcomes(&replayed), ["error", "error", "passed"]);
    assert_equal(&runner, &replayed);
}

#[test]
fn rerun_trial_is_replayed_from_its_first_attempt() {
    let runner = third_passes("1ms");
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    runner.run(&["resume", run.id(), "--rerun", "all"]).expect(0);
    assert_eq!(run.rows().len(), 6);
    let args = ["plugin", "run", "--from", run.id(), "--trial", "t0", "--replay"];
    runner.run(&args).expect(0).says(&["replaying attempt 6"]);
    // Another program has sorted and doubled the rows.
    let text = run.text("index.jsonl");
    let reversed: Vec<_> = text.lines().chain(text.lines()).rev().collect();
    for rows in [text.clone(), reversed.join("\n") + "\n"] {
        run.write("index.jsonl", rows);
        let (_, replayed) = replay(&runner, &[], 0);
        assert_eq!(outcomes(&replayed), ["error", "error", "passed"]);
        runner.run(&["compare", "--exact", run.id(), replayed.id()]).expect(0);
    }
    // So are the new attempts of a replay.
    runner.run(&["resume", "latest", "--rerun", "all"]).expect(0);
    runner.run(&["compare", "--exact", run.id(), "latest"]).expect(0).says(&["✓ 3 attempts"]);
}

#[test]
fn replay_is_no_part_of_another_run() {
    let runner = Runner::new(&[]);
    runner.scenario(&format!("[providers.p]\nplugin = \"bundled:echo\"\n{}", tests("a | 1")));
    let exec = |options: &[&str], into: &str| runner.exec(&[options, &["--into", into]].concat());
    let (recorded, replayed) = (["--journal"], ["--replay", "first"]);
    exec(&recorded, "results/first").expect(0);
    exec(&replayed, "results/replay").expect(0);
    exec(&replayed, "results/replay").expect(0).says(&["nothing is left to do"]);
    snapshot(&exec(&recorded, "results/replay").expect(2));
    snapshot(&exec(&replayed, "results/first").expect(2));
    exec(&["--journal", "--shard", "1/2"], "shards/1").expect(0);
    exec(&["--replay", "results/first", "--shard", "2/2"], "shards/2").expect(0);
    snapshot(&runner.run(&["merge", "shards/1", "shards/2", "--into", "shards/all"]).expect(2));
}
