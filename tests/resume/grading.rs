//! Calls of graders in the journal: graders that continue and are replayed, with real guests and servers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, thread, time::Duration};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::continuing::{asked, model, with_run};
use super::replaying::{assert_equal, change, replay};
use crate::support::{
    run::{Run, sealed},
    runner::Runner,
    running::Running,
    server::{Response, Server},
    web,
};

/// Requests of the provider, and of each grader.
const PROVIDER: usize = 5;
const GRADER: usize = 20;

/// An agent whose output two agents judge, one after the other, with further keys of `[run]`.
fn judged(server: &Server, keys: &str) -> Runner {
    let request = json!({ "by": "agent", "url": server.url("/agent"), "size": PROVIDER });
    let runner = web::scenario("", &web::net(&[&server.origin()]), &[vec![request]]);
    graded(&runner, server, keys, &["judge", "second"]);
    runner
}

/// Adds graders to the only test.
fn graded(runner: &Runner, server: &Server, keys: &str, names: &[&str]) {
    let scenario = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    let graders = names.iter().map(|name| {
        let url = server.url(&format!("/{name}"));
        let net = web::net(&[&server.origin()]);
        format!(
            "[graders.{name}]\nplugin = \"web.wasm\"\ngrants = {{ {net} }}\n\
             input = {{ judges = true, requests = [{{ by = \"agent\", url = \"{url}\", size = {GRADER} }}] }}\n"
        )
    });
    let graders: String = graders.collect();
    runner.scenario(&format!("{graders}{scenario}expect = {{ graders = {names:?} }}\n"));
    with_run(runner, keys);
}

/// Returns the exchanges of a grader, or of the provider.
fn exchanges(run: &Run, grader: Option<&str>) -> usize {
    let calls = run.text("calls.jsonl");
    let lines = calls.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of = lines.filter(|line| line["grader"].as_str() == grader);
    of.filter(|line| line["entry"]["exchange"].is_object()).count()
}

/// Returns the paths that were requested more than once.
fn twice(server: &Server) -> Vec<String> {
    let paths = asked(server).into_iter().filter(|(_, count)| *count > 1);
    paths.map(|(path, _)| path).collect()
}

/// Kills a session, with its workers.
fn kill(running: Running) {
    let workers = running.workers();
    running.kill();
    workers.into_iter().for_each(|worker| worker.signal(Signal::KILL));
}

/// Fails unless the grades have all calls and the row is that of an undisturbed run.
#[track_caller]
fn assert_as_undisturbed(runner: &Runner, server: &Server) {
    let run = runner.only_run();
    let row = run.row("t0");
    let calls = |value: &Value| value["calls"]["count"].clone();
    assert_eq!((&row["outcome"], calls(&row)), (&json!("passed"), json!(PROVIDER)), "{row}");
    let grades: Vec<_> = row["grades"].as_array().unwrap().iter().map(calls).collect();
    assert_eq!(grades, [json!(GRADER), json!(GRADER)]);
    let other = judged(server, "");
    other.exec(&[]).expect(0);
    let runs = [&other.only_run(), &run].map(|run| run.dir.to_str().unwrap().to_owned());
    runner.run(&["compare", "--exact", &runs[0], &runs[1]]).expect(0);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn killed_graders_continue_and_pay_once() {
    let server = model(Duration::ZERO);
    let runner = judged(&server, "");
    let mut args = &["exec", "scenario.toml"][..];
    // The first grader, then the second one.
    for requests in [PROVIDER + 10, PROVIDER + GRADER + 10] {
        server.hold_from(requests);
        let running = runner.started(args);
        server.wait_for_requests(requests);
        kill(running);
        args = &["resume"];
    }
    server.open();
    let run = runner.only_run();
    let before = exchanges(&run, Some("second"));
    let resumed = runner.run(args).expect(0);
    resumed.says(&[&format!("continuing 1 attempt: {before} calls are in the journal")]);
    let twice = twice(&server);
    assert!(twice.len() <= 2, "{twice:?}");
    assert_eq!(asked(&server).len(), PROVIDER + 2 * GRADER);
    assert_eq!(exchanges(&run, None), PROVIDER);
    assert_eq!(exchanges(&run, Some("judge")), GRADER);
    assert_as_undisturbed(&runner, &server);
}

#[test]
fn stopped_grader_and_one_whose_worker_died_continue() {
    let server = model(Duration::ZERO);
    let runner = judged(&server, "");
    server.hold_from(PROVIDER + 7);
    let running = runner.started(&["exec", "scenario.toml"]);
    server.wait_for_requests(PROVIDER + 7);
    running.end_by(Signal::INT).0.expect(130);
    server.hold_from(PROVIDER + 14);
    let running = runner.started(&["resume"]);
    server.wait_for_requests(PROVIDER + 14);
    running.workers().iter().for_each(|worker| worker.signal(Signal::KILL));
    server.open();
    running.finish().expect(0);
    let twice = twice(&server);
    assert!(twice.len() <= 2 && twice.iter().all(|path| path.starts_with("/judge/")), "{twice:?}");
    assert_as_undisturbed(&runner, &server);
}

#[test]
fn request_of_a_grader_in_flight_is_not_sent_again_if_it_must_not_be() {
    let server = model(Duration::ZERO);
    let runner = judged(&server, "in_flight = \"stop\"");
    server.hold_from(PROVIDER + 10);
    let running = runner.started(&["exec", "scenario.toml"]);
    server.wait_for_requests(PROVIDER + 10);
    running.end_by(Signal::INT);
    server.open();
    runner.run(&["resume"]).expect(1);
    let row = runner.only_run().row("t0");
    let error = &row["error"];
    assert_eq!(
        (&row["outcome"], &error["class"], &error["code"]),
        (&json!("error"), &json!("grader"), &json!("interrupted-call"))
    );
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("grader `judge`: request 10, `POST "), "{message}");
    assert_eq!(twice(&server), [""; 0]);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn continued_grader_has_the_rest_of_its_time() {
    let server = Server::start(|request| {
        // A delay of the server itself. The second request of the grader has no answer in time.
        thread::sleep(Duration::from_millis(match request.path.as_str() {
            "/judge/1" => 700,
            "/judge/2" => 60_000,
            _ => 0,
        }));
        Response::ok("answer")
    });
    let runner = judged(&server, "");
    change(&runner, "[graders.judge]\n", "[graders.judge]\ntimeout = \"8s\"\n");
    let running = runner.started(&["exec", "scenario.toml"]);
    server.wait_for_requests(PROVIDER + 2);
    kill(running);
    runner.run(&["resume"]).expect(1);
    let grade = &runner.only_run().row("t0")["grades"][0];
    let message = grade["error"]["message"].as_str().unwrap();
    assert!(message.contains("no reply within 8s, set by the grader's"), "{message}");
    assert_eq!(grade["calls"]["count"], 1);
}

/// Changes a line of the grader `judge`.
fn change_call(run: &Run, number: usize, change: impl Fn(&str) -> String) {
    let calls = run.text("calls.jsonl");
    let (grader, number) = ("\"grader\":\"judge\"", format!("\"number\":{number},"));
    let lines = calls.lines().map(|line| match line.contains(grader) && line.contains(&number) {
        true => change(line) + "\n",
        false => format!("{line}\n"),
    });
    run.write("calls.jsonl", lines.collect::<String>());
}

/// Changes the line of a call.
type ChangeLine = fn(&str) -> String;

#[test]
fn grader_with_a_void_journal_starts_anew_and_its_provider_does_not() {
    let changes: [(&str, ChangeLine); 2] = [
        ("1 attempt starts anew (`t0@web#1`): the journal cannot be used, because line ", |line| {
            line.replacen("answer", "Answer", 1)
        }),
        (
            "`t0@web#1` starts anew: grader `judge`: the attempt cannot continue: the body of request 5 differs",
            |line| sealed(&line.replace("\\\"step\\\":5", "\\\"step\\\":6")),
        ),
    ];
    for (says, change) in changes {
        let server = model(Duration::ZERO);
        let runner = judged(&server, "");
        server.hold_from(PROVIDER + 10);
        let running = runner.started(&["exec", "scenario.toml"]);
        server.wait_for_requests(PROVIDER + 10);
        running.end_by(Signal::INT);
        server.open();
        change_call(&runner.only_run(), 5, change);
        runner.run(&["resume"]).expect(0).says(&[says]);
        let twice = twice(&server);
        assert!(twice.iter().all(|path| path.starts_with("/judge/")), "{twice:?}");
        assert!((9..=10).contains(&twice.len()), "{twice:?}");
        let run = runner.only_run();
        let row = run.row("t0");
        assert_eq!((&row["attempt"], &row["grades"][0]["attempt"]), (&json!(1), &json!(1)));
        assert_eq!(row["grades"][0]["calls"]["count"], GRADER);
        runner.run(&["verify"]).expect(0);
        assert_eq!(exchanges(&run, Some("second")), GRADER);
    }
}

#[test]
fn replay_answers_graders_and_names_their_first_other_request() {
    let server = model(Duration::ZERO);
    let runner = judged(&server, "");
    // Then a grader's clock starts at that of the attempt.
    change(&runner, "clock = 2020-01-01T00:00:00Z\n", "");
    runner.exec(&[]).expect(0);
    let total = PROVIDER + 2 * GRADER;
    let (ran, run) = replay(&runner, &[], 0);
    ran.says(&[&format!("{total} calls of 1 attempt, and nothing is sent")]);
    assert_equal(&runner, &run);
    // A replay has a journal of its own.
    runner.run(&["exec", "scenario.toml", "--replay", run.id()]).expect(0);
    assert_equal(&runner, &runner.runs()[2]);

    for (from, to, says) in [
        ("/judge\"", "/other\"", "the URL of request 1 differs"),
        ("size = 20 }] }", "size = 21 }] }", "its request 21, `POST "),
    ] {
        change(&runner, from, to);
        let (_, run) = replay(&runner, &[], 1);
        let row = run.row("t0");
        let error = &row["grades"][0]["error"];
        assert_eq!((&error["class"], &row["error"]["code"]), (&json!("replay"), &json!("replay")));
        let message = row["error"]["message"].as_str().unwrap();
        assert!(message.contains("grader `judge`: ") && message.contains(says), "{message}");
        change(&runner, to, from);
    }
    assert_eq!(server.requests().len(), total);
}

#[test]
fn trial_and_each_grader_are_replayed_alone() {
    let server = model(Duration::ZERO);
    let runner = judged(&server, "");
    runner.exec(&[]).expect(0);
    let (run, sent) = (runner.only_run(), server.requests().len());
    let row = run.row("t0");
    let args = ["plugin", "run", "--from", "latest", "--trial", "t0", "--replay"];
    let replay = |more: &[&str]| runner.run(&[&args[..], more].concat());
    // Its graders are not called.
    let alone = replay(&[]).expect(1);
    alone.says(&["replaying attempt 1: 5 calls are in the journal", "ungraded"]);
    for (place, grader) in ["judge", "second"].into_iter().enumerate() {
        let ran = replay(&["--grader", grader, "--json"]).expect(0);
        ran.says(&["replaying attempt 1: 20 calls are in the journal, and nothing is sent"]);
        let grade = ran.document()["grade"].clone();
        let stored = &row["grades"][place];
        for key in ["verdict", "calls", "explanation"] {
            assert_eq!(grade[key], stored[key], "{key}");
        }
    }
    change_call(&run, 5, |line| sealed(&line.replacen("answer", "Answer", 1)));
    let why = "cannot be used, because its row is of other calls";
    replay(&["--grader", "judge"]).expect(2).says(&[why, "runner verify"]);
    replay(&["--grader", "second"]).expect(0);
    assert_eq!(server.requests().len(), sent);
}

#[test]
fn provider_without_net_has_a_grader_with_a_journal() {
    let server = model(Duration::ZERO);
    let runner = web::scenario("", "", &[Vec::new()]);
    graded(&runner, &server, "", &["judge"]);
    change(&runner, "clock = 2020-01-01T00:00:00Z\n", "");
    server.hold_from(10);
    let running = runner.started(&["exec", "scenario.toml"]);
    server.wait_for_requests(10);
    kill(running);
    server.open();
    runner.run(&["resume"]).expect(0).says(&["continuing 1 attempt: "]);
    assert!(twice(&server).len() <= 1);
    let row = runner.only_run().row("t0");
    assert_eq!(
        (&row["calls"], &row["grades"][0]["calls"]["count"]),
        (&Value::Null, &json!(GRADER))
    );
    let (_, run) = replay(&runner, &[], 0);
    assert_equal(&runner, &run);
}

#[test]
fn each_attempt_of_a_grader_has_its_own_calls() {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |_| match count.fetch_add(1, Ordering::Relaxed) {
        0 => Response::new(503).body("no"),
        number => {
            // The session is killed meanwhile.
            thread::sleep(Duration::from_secs(if number == 1 { 60 } else { 0 }));
            let answer = json!({"verdict": "pass", "explanation": "right"}).to_string();
            let message = json!({"role": "assistant", "content": answer});
            let choice = json!({"index": 0, "finish_reason": "stop", "message": message});
            Response::ok(json!({"model": "m", "choices": [choice]}).to_string())
        }
    });
    let origin = server.origin();
    let runner = Runner::hostile(&format!(
        "[run]\njournal = true\n[graders.judge]\nplugin = \"bundled:chat\"\n\
         config = {{ base_url = \"{origin}/v1\", model = \"m\", api_key_secret = \"\" }}\n\
         grants = {{ net = [\"{origin}\"] }}\ninput = \"right?\"\nretries = {{ max = 2, backoff = \"1ms\" }}\n\
         [[tests]]\nid = \"t0\"\ninput = {{ do = \"echo\", value = 1 }}\nexpect = {{ graders = [\"judge\"] }}\n"
    ));
    let running = runner.started(&["exec", "scenario.toml"]);
    server.wait_for_requests(2);
    kill(running);
    runner.run(&["resume"]).expect(0).says(&["continuing 1 attempt: 1 call is in the journal"]);
    // The first attempt has its response, and only the second one is sent again.
    assert_eq!(server.requests().len(), 3);
    let run = runner.only_run();
    assert_eq!(run.row("t0")["grades"][0]["attempt"], 2);
    runner.run(&["verify"]).expect(0);
    let list = runner.run(&["show", "latest", "t0", "--calls"]).expect(0);
    list.says(&["2 calls", "judge:1 POST ", "judge:2:1 POST ", "503, "]);
    let logs = runner.run(&["logs", "latest", "--calls"]).expect(0);
    logs.says(&["t0@hostile#1 judge (attempt 2):", "1 POST ", ": 200, "]);
    let whole = runner.run(&["show", "latest", "t0", "--call", "judge:2:1"]).expect(0);
    whole.says(&["response body {\"choices\":"]);
    let (_, replayed) = replay(&runner, &[], 0);
    assert_equal(&runner, &replayed);
    let args = ["plugin", "run", "--from", run.id(), "--trial", "t0", "--grader", "judge"];
    let again = runner.run(&[&args[..], &["--replay"]].concat()).expect(0);
    again.says(&["replaying attempt 2: 1 call is in the journal", "explanation right"]);
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn changed_calls_of_a_grader_are_found() {
    let server = model(Duration::ZERO);
    let runner = judged(&server, "");
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    change_call(&run, 5, |line| sealed(&line.replacen("answer", "Answer", 1)));
    let verified = runner.run(&["verify"]).expect(1);
    verified.says(&["the calls of its grader `judge` are lost: calls.jsonl has other ones"]);
}

#[test]
fn changed_calls_of_a_grader_are_found_in_another_session() {
    // In the second case, the session adopts a changed plan, by which a grader may be called again.
    for is_adopted in [false, true] {
        let server = model(Duration::ZERO);
        let runner = judged(&server, "");
        change(&runner, "[[tests]]\n", "[[tests]]\nrepeat = 2\n");
        runner.exec(&[]).expect(0);
        if is_adopted {
            change(&runner, "repeat = 2", "repeat = 3");
            runner.run(&["resume", "latest", "--accept-changes"]).expect(0);
        } else {
            runner.run(&["resume", "latest", "--rerun", "t0@web#2"]).expect(0);
        }
        let run = runner.only_run();
        runner.run(&["verify"]).expect(0);
        let sessions = &run.manifest()["sessions"];
        let key = |session: usize| {
            format!("\"session\":{},\"key\":{},", session + 1, sessions[session]["key"])
        };
        let calls = run.text("calls.jsonl");
        let lines = calls.lines().map(|line| {
            let is_own = line.contains("t0@web#1") && line.contains("\"grader\":\"judge\"");
            let changed = line.replace(&key(0), &key(1)).replace("answer", "Answer");
            if is_own { sealed(&changed) + "\n" } else { format!("{line}\n") }
        });
        run.write("calls.jsonl", lines.collect::<String>());
        let verified = runner.run(&["verify"]).expect(1);
        verified.says(&["the calls of its grader `judge` are lost: calls.jsonl has other ones"]);
    }
}

#[test]
fn another_grader_of_rescore_is_asked_and_not_recorded() {
    let server = model(Duration::ZERO);
    let runner = judged(&server, "");
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let before = run.text("calls.jsonl");
    change(&runner, "/judge\"", "/other\"");
    runner.run(&["rescore", "latest"]).expect(0);
    assert_eq!(run.text("calls.jsonl"), before);
    assert_eq!(server.requests().len(), PROVIDER + 3 * GRADER);
    let rows = run.rows();
    assert_eq!(rows.last().unwrap()["grades"][0]["calls"], Value::Null);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn grader_that_was_changed_is_asked_anew() {
    let server = model(Duration::ZERO);
    let runner = judged(&server, "");
    server.hold_from(PROVIDER + GRADER + 10);
    let running = runner.started(&["exec", "scenario.toml"]);
    server.wait_for_requests(PROVIDER + GRADER + 10);
    running.end_by(Signal::INT);
    server.open();
    change(&runner, "/judge\"", "/other\"");
    let resumed = runner.run(&["resume", "--accept-changes"]).expect(0);
    resumed.says(&["1 attempt starts anew", "its test or provider has changed"]);
    let run = runner.only_run();
    assert_eq!(run.row("t0")["grades"][0]["calls"]["count"], GRADER);
    assert_eq!(exchanges(&run, None), PROVIDER);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn merged_run_has_the_calls_of_graders() {
    const TRIAL: usize = PROVIDER + 2 * GRADER;
    let server = model(Duration::ZERO);
    let runner = judged(&server, "");
    change(&runner, "[[tests]]\n", "[[tests]]\nrepeat = 4\n");
    let shard = |index: &str| {
        let into = format!("shards/{index}");
        let shard = format!("{index}/2");
        runner.started(&["exec", "scenario.toml", "-j", "1", "--shard", &shard, "--into", &into])
    };
    shard("1").finish().expect(0);
    // The first grader of the last trial is interrupted.
    server.hold_from(3 * TRIAL + PROVIDER + 10);
    let running = shard("2");
    server.wait_for_requests(3 * TRIAL + PROVIDER + 10);
    running.end_by(Signal::INT).0.expect(130);
    server.open();
    let before = server.requests().len();
    let args = ["merge", "--into", "results/whole", "shards/1", "shards/2", "--allow-holes"];
    runner.run(&args).expect(4);
    let verified = || runner.run(&["verify"]).expect(0);
    verified();
    let run = runner.only_run();
    let kept =
        exchanges(&run, None) + exchanges(&run, Some("judge")) + exchanges(&run, Some("second"));
    assert!((before - 1..=before).contains(&kept), "{kept} of {before}");
    // The merged run does not need its shards.
    runner.run(&["prune", "--results", "shards", "1", "2", "--yes"]).expect(0);
    runner.run(&["resume", "whole"]).expect(0).says(&["continuing 1 attempt: "]);
    let asked = server.requests().len();
    assert!((4 * TRIAL..=4 * TRIAL + 1).contains(&asked), "{asked}");
    verified();
    for row in run.rows().iter().filter(|row| row["final"] == true) {
        let grades = row["grades"].as_array().unwrap().iter();
        let calls: Vec<_> = grades.map(|grade| &grade["calls"]["count"]).collect();
        assert_eq!(calls, [&json!(GRADER), &json!(GRADER)]);
    }
    runner.exec(&["--replay", "whole"]).expect(0);
    runner.run(&["compare", "--exact", "whole", "latest"]).expect(0);
    assert_eq!(server.requests().len(), asked);
    // A changed line of a grader is found in a merged run, too.
    change_call(&run, 5, |line| sealed(&line.replacen("answer", "Answer", 1)));
    let found = runner.run(&["verify", "whole"]).expect(1);
    found.says(&["the calls of its grader `judge` are lost: calls.jsonl has other ones"]);
}
