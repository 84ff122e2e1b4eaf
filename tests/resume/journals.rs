//! Interrupted attempts of runs with `journal`, and damage of `calls.jsonl`.

use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::continuing::{Model, STEPS, agent, interrupt, model, with_run};
#[cfg(debug_assertions)]
use crate::faults::power::{lose_power, noting};
use crate::messages::outputs::snapshot;
use crate::support::{
    random::Random,
    run::{Run, calls, sealed},
    runner::Runner,
    running::Running,
    server::{Response, Server},
    wait::wait_until,
    web,
};

const START: &str = r#"{"start":{"clock":"2026-11-20T09:18:04.015Z","timeout_us":1,"compile_key":"0123456789abcdef"}}"#;

/// Returns an exchange of an attempt.
fn exchange(number: u32) -> String {
    format!(
        r#"{{"exchange":{{"number":{number},"at_ns":1,"took_us":1,"used_us":1,"request":{{"method":"GET","url":"http://x/"}},"response":{{"status":200}}}}}}"#
    )
}

#[test]
fn interrupted_attempt_leaves_no_row_and_keeps_its_number() {
    let runner = Runner::endless(2, "sleep", "journal = true");
    for (args, signal) in [
        (&["exec", "scenario.toml", "-j", "2"][..], Signal::INT),
        (&["resume"], Signal::KILL),
        (&["resume"], Signal::TERM),
    ] {
        let since = SystemTime::now();
        let mut running = runner.started(args);
        running.wait_until_running(&runner, 2);
        let run = runner.only_run();
        let expected = [1, 2].map(|repeat| (format!("guest@hostile#{repeat}"), 1));
        wait_until("both run", || {
            let mut attempts = run.in_flight(since);
            attempts.sort_unstable();
            attempts == expected
        });
        running.end_by(signal);
        assert_eq!(run.text("index.jsonl"), "");
    }
    runner.run(&["verify"]).expect(0);
}

/// Runs a trial again, whose attempt has the journal that `change` leaves. Says why it is not used.
fn assert_unused(runner: &Runner, run: &Run, why: &str, change: impl Fn(&mut Vec<String>)) {
    let rows = run.rows();
    let newest = rows.iter().rfind(|row| row["trial"] == "a@hostile#1").unwrap();
    let attempt = newest["attempt"].as_u64().unwrap() + 1;
    let fingerprint = newest["fingerprint"].as_str().unwrap();
    let entries = [START, &exchange(1), &exchange(2)];
    let session = &run.manifest()["sessions"][0];
    let mut lines = calls("a@hostile#1", attempt, session, fingerprint, &entries);
    change(&mut lines);
    run.write("calls.jsonl", lines.concat());
    let resumed = runner.run(&["resume", run.id(), "--rerun", "a@hostile#1"]).expect(0);
    let starts = "1 attempt starts anew (`a@hostile#1`): the journal cannot be used, because ";
    resumed.says(&[&format!("{starts}{why}")]);
    let rows = run.rows();
    let last = rows.last().unwrap();
    assert_eq!((&last["attempt"], &last["outcome"]), (&attempt.into(), &"passed".into()));
    assert_eq!(last["continued"], Value::Null);
}

#[test]
fn journals_that_cannot_be_trusted_are_not_used() {
    let runner = Runner::hostile(
        "[run]\njournal = true\n[[tests]]\nid = \"a\"\nrepeat = 2\ninput = { do = \"echo\", value = 1 }\n",
    );
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let check = |why: &str, change: &dyn Fn(&mut Vec<String>)| {
        assert_unused(&runner, &run, why, change);
    };
    check("line 2 of calls.jsonl is damaged", &|lines| {
        lines[1] = lines[1].replace("http", "ftp");
    });
    let changed = ": another program has changed the file";
    let repeated = format!("line 4 of calls.jsonl repeats line 2 of its attempt{changed}");
    check(&repeated, &|lines| lines.push(lines[1].clone()));
    for place in [0, 1] {
        let (line, next) = (place + 1, place + 2);
        let missing = format!(
            "line {line} of calls.jsonl is line {next} of its attempt, and line {line} belongs here{changed}"
        );
        check(&missing, &|lines| drop(lines.remove(place)));
    }
    check("line 1 of calls.jsonl is of another run", &|lines| {
        let key = &run.manifest()["sessions"][0]["key"];
        for line in lines {
            *line = sealed(&line.replace(&format!("\"key\":{key},"), "\"key\":0,")) + "\n";
        }
    });
    check("line 3 of calls.jsonl is of session 77, which the run does not have", &|lines| {
        lines[2] = sealed(&lines[2].replace("\"session\":1", "\"session\":77")) + "\n";
    });
    check("line 3 of calls.jsonl is of another version", &|lines| {
        lines[2] = sealed(&lines[2].replace("{\"v\":1", "{\"v\":3")) + "\n";
    });
    check("a secret in a response was replaced by a mark", &|lines| {
        let redacted = lines[2].replace("\"used_us\":1", "\"used_us\":1,\"redacted\":true");
        lines[2] = sealed(&redacted) + "\n";
    });
    check("its worker was killed for a fault", &|lines| {
        let void = "{\"void\":{\"reason\":\"its worker was killed for a fault\"}}";
        let exchange = exchange(2);
        lines.push(
            sealed(&lines[2].replace(&exchange, void).replace("\"line\":3", "\"line\":4")) + "\n",
        );
    });
    check("its test or provider has changed", &|lines| {
        for line in lines {
            let key = line.find("\"fingerprint\":\"").unwrap() + 15;
            let other = if &line[key..=key] == "0" { "1" } else { "0" };
            line.replace_range(key..=key, other);
            *line = sealed(line) + "\n";
        }
    });
    runner.run(&["verify"]).expect(0);
}

#[test]
fn cut_calls_end_the_session() {
    let server = model(Duration::from_millis(20));
    let runner = agent(&server, "");
    server.hold_from(10);
    let running = runner.started(&["exec", "scenario.toml"]);
    server.wait_for_requests(10);
    let run = runner.only_run();
    let calls = run.text("calls.jsonl");
    run.write("calls.jsonl", calls.split_inclusive('\n').take(5).collect::<String>());
    server.open();
    let ended = running.finish().expect(7);
    ended.says(&["calls.jsonl", "another program has cut it or written into it"]);
    runner.run(&["resume", run.id()]).expect(0).says(&["continuing 1 attempt: "]);
    assert_eq!(run.row("t0")["continued"], 1);
    runner.run(&["verify"]).expect(0);
}

/// `runner trust` allows what the run executes, and not what its guests have received.
#[test]
fn journals_of_other_keys_continue_nothing() {
    for in_flight in ["send-again", "stop"] {
        let server = model(Duration::ZERO);
        let runner = agent(&server, &format!("in_flight = \"{in_flight}\""));
        interrupt(&runner, &server);
        let before = server.requests().len();
        std::fs::remove_dir_all(runner.path(".local/state/runner")).unwrap();
        let replay = runner.run(&["exec", "scenario.toml", "--replay", "latest"]).expect(2);
        snapshot(&replay);
        runner.run(&["trust", "--yes"]).expect(0);
        let resumed = runner.run(&["resume"]).expect(i32::from(in_flight == "stop"));
        resumed.says(&["the journal cannot be used, because the run was not made with your key"]);
        let row = runner.only_run().row("t0");
        if in_flight == "stop" {
            assert_eq!(
                (&row["error"]["code"], server.requests().len()),
                (&json!("interrupted-call"), before)
            );
            continue;
        }
        assert_eq!((&row["attempt"], &row["continued"]), (&json!(1), &Value::Null));
        assert_eq!(server.requests().len(), before + STEPS);
        runner.run(&["verify"]).expect(0);
    }
}

/// A secret that the plugin reads would not be found in a compressed response, or in parts of one.
#[test]
fn compressed_secrets_are_in_no_journal() {
    const SECRET: &str = "correct-horse-battery-staple";
    // The reverse takes the place of a compression.
    let server = Server::start(|request| {
        let seen = request.header("authorization").unwrap_or_default();
        let body: String = seen.chars().rev().collect();
        Response::ok(body).header("content-encoding", "gzip")
    });
    let headers = json!([
        ["authorization", "Bearer {{secret.KEY}}"],
        ["accept-encoding", "gzip"],
        ["range", "bytes=0-20"],
    ]);
    let request = |by: &str| json!({ "by": by, "url": server.url(""), "headers": headers });
    let net = web::net(&[&server.origin()]);
    let grants = format!("{net}\nsecrets = [\"KEY\"]\nenv = {{ KEY = \"{{{{secret.KEY}}}}\" }}");
    let runner = web::scenario("", &grants, &[web::WAYS.map(request).to_vec()]);
    let mut command = runner.command(&["exec", "scenario.toml", "--journal"]);
    Running::start(command.env("KEY", SECRET)).finish().expect(0);
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert!(request.header("authorization").unwrap().contains(SECRET));
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        assert_eq!(request.header("range"), None);
    }
    let calls = runner.only_run().text("calls.jsonl");
    assert_eq!(calls.matches("sent a compressed response").count(), 2, "{calls}");
    let reverse: String = SECRET.chars().rev().collect();
    assert!(!calls.contains(SECRET) && !calls.contains(&reverse), "{calls}");
}

#[test]
fn echoed_secret_of_a_plugin_voids_its_journal() {
    const SECRET: &str = "correct-horse-battery-staple";
    let server =
        Model::start(|request| Response::ok(request.header("authorization").unwrap_or_default()));
    server.hold_from(10);
    let request = json!({
        "by": "agent", "url": server.url(""), "size": STEPS,
        "headers": [["authorization", "Bearer {{secret.KEY}}"]],
    });
    let net = web::net(&[&server.origin()]);
    let grants = format!("{net}\nsecrets = [\"KEY\"]\nenv = {{ KEY = \"{{{{secret.KEY}}}}\" }}");
    let runner = web::scenario("", &grants, &[vec![request]]);
    with_run(&runner, "");
    let start = |args: &[&str]| Running::start(runner.command(args).env("KEY", SECRET));
    let running = start(&["exec", "scenario.toml"]);
    server.wait_for_requests(10);
    running.end_by(Signal::INT).0.expect(130);
    server.open();
    let run = runner.only_run();
    let calls = run.text("calls.jsonl");
    assert!(calls.contains("\"redacted\":true") && !calls.contains(SECRET), "{calls}");

    let why = "a secret in a response was replaced by a mark";
    let starts = "1 attempt starts anew (`t0@web#1`): the journal cannot be used, because ";
    start(&["resume"]).finish().expect(0).says(&[&format!("{starts}{why}")]);
    let row = run.row("t0");
    assert_eq!((&row["continued"], &row["calls"]["count"]), (&Value::Null, &json!(STEPS)));
    let sent = server.requests().len();
    start(&["exec", "scenario.toml", "--replay", run.id()]).finish().expect(1);
    let error = &runner.runs().pop().unwrap().row("t0")["error"];
    assert_eq!(error["class"], "replay");
    assert!(error["message"].as_str().unwrap().contains(why), "{error}");
    assert_eq!(server.requests().len(), sent);
}

#[test]
fn headers_of_a_connection_are_in_no_journal() {
    let server = web::broken(
        "HTTP/1.1 200 OK\r\nconnection: close, X-Hop\r\nkeep-alive: timeout=5\r\nx-hop: 7\r\n\
         transfer-encoding: chunked\r\nx-one: 1\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
    let requests = web::both(&web::get(server.url("/")));
    let runner = web::scenario("", &web::net(&[&server.origin()]), &requests);
    with_run(&runner, "");
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    for test in ["t0", "t1"] {
        let answer = &run.row(test)["output"][0];
        let expected = (&json!("hello"), &json!([["x-one", "1"]]));
        assert_eq!((&answer["body"], &answer["headers"]), expected);
    }
    let calls = run.text("calls.jsonl");
    assert_eq!(calls.matches("\"headers\":[[\"x-one\",\"1\"]]").count(), 2, "{calls}");
}

/// The last calls are written and not synced when the power is lost.
#[cfg(debug_assertions)]
#[test]
fn unsynced_calls_lose_no_response_that_a_guest_has() {
    const STEPS: u64 = 30;
    let (mut random, mut lost) = (Random::new(), 0);
    for how in 0..4 {
        let server = Server::start(|request| Response::ok(format!("{} bytes", request.body.len())));
        let request = json!({ "by": "agent", "url": server.url(""), "size": STEPS });
        let runner = web::scenario("", &web::net(&[&server.origin()]), &[vec![request]]);
        let scenario = std::fs::read_to_string(runner.path("scenario.toml")).unwrap();
        runner.scenario(&format!("[run]\njournal = true\n{scenario}"));
        let mut deaths = 0;
        for fault in ["calls-write:kill:8", "calls-write:kill:5", "calls-write:kill:2"] {
            let args: &[&str] =
                if deaths == 0 { &["exec", "scenario.toml"] } else { &["resume", "latest"] };
            noting(&runner, args, Some(fault));
            lost += lose_power(&runner, &runner.only_run(), how, &mut random);
            deaths += 1;
        }
        noting(&runner, &["resume", "latest"], None).expect(0);
        let row = &runner.only_run().rows()[0];
        assert_eq!((&row["attempt"], &row["outcome"]), (&json!(1), &json!("passed")));
        assert_eq!(row["calls"]["count"], STEPS);
        // At each death, one request had no response on disk.
        let asked = server.requests().len() as u64;
        assert!((STEPS..=STEPS + deaths).contains(&asked), "{asked} requests");
        runner.run(&["verify"]).expect(0);
    }
    assert!(lost > 0, "nothing was unsynced");
}
