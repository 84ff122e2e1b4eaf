//! Notifications.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use runner_model::Time;
use rustix::process::Signal;
use serde_json::Value;

use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::{
    processes::Process,
    run::Run,
    runner::Runner,
    running::{Running, finished},
    server::{Authority, Request, Response, Server, Wire},
    wait::{STOP_WITHIN, wait_for, wait_until},
};

const PASSED: &str = "[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n";
const FAILED: &str =
    "[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\nexpect = { equals = 2 }\n";

/// Creates a scenario with these tests, and a results root with these settings.
fn runner(tests: &str, settings: &str) -> Runner {
    let runner = Runner::hostile_in_memory(tests);
    fs::create_dir(runner.path("results")).unwrap();
    runner.write("results/runner.toml", settings);
    runner
}

/// Returns the settings with a webhook of this server.
fn webhook(server: &Server, more: &str) -> String {
    let url = server.url("/secret-path?token=secret-token");
    format!("[[notify.webhooks]]\nurl = \"{url}\"\nprivate = true\n{more}\n")
}

fn accepting() -> Server {
    Server::start(|_| Response::new(204))
}

/// Starts a server that answers requests by their number, from 0.
fn counting(answer: impl Fn(usize, &mut Wire<'_>) + Send + Sync + 'static) -> Server {
    let count = AtomicUsize::new(0);
    Server::raw(move |_, wire| answer(count.fetch_add(1, Ordering::SeqCst), wire))
}

fn answer(wire: &mut Wire<'_>, head: &str, body: &str) {
    let length = body.len();
    wire.send(format!(
        "HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    ));
}

fn status(wire: &mut Wire<'_>, line: &str) {
    wire.send(format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"));
}

fn document(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

fn lines(run: &Run) -> Vec<Value> {
    let text = run.text("notifications.jsonl");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn results(run: &Run) -> Vec<String> {
    lines(run).iter().map(|line| line["result"].as_str().unwrap().to_owned()).collect()
}

/// Returns the notifications that are left.
fn left(runner: &Runner) -> Vec<Value> {
    let ran = runner.run(&["notify", "--dry-run", "--json"]).expect(0);
    ran.document()["notifications"].as_array().unwrap().clone()
}

#[test]
fn ended_run_is_posted_with_its_state() {
    let server = accepting();
    let runner = runner(FAILED, &webhook(&server, ""));
    let ran = runner.exec(&[]).expect(1);
    ran.says(&[&format!("{}: notified (HTTP 204)", server.origin())]);
    let [request] = &server.requests()[..] else { panic!("{:?}", server.requests()) };
    assert_eq!((&*request.method, &*request.path), ("POST", "/secret-path?token=secret-token"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("webhook-signature"), None);
    let (document, run) = (document(request), runner.only_run());
    assert_eq!((&document["v"], &document["type"]), (&1.into(), &"run.ended".into()));
    assert_eq!(document["timestamp"], run.manifest()["completed_at"]);
    assert_eq!([&document["data"]["run"], &document["data"]["state"]], [run.id(), "failed"]);
    assert_eq!(document["data"]["run_dir"], run.dir.to_str().unwrap());
    assert_eq!(results(&run), ["delivered"]);
    assert!(left(&runner).is_empty());
    // Only scheme, host and port are kept and shown.
    for text in [run.text("notifications.jsonl"), run.text("runner.log"), ran.stderr] {
        assert!(!text.contains("secret"), "{text}");
    }
}

#[test]
fn requests_are_signed_by_standard_webhooks() {
    let server = accepting();
    let secret = "secret = { env = \"HOOK_SECRET\" }";
    let runner = runner(PASSED, &webhook(&server, secret));
    let exec = || runner.command(&["exec", "scenario.toml"]);
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    finished(exec().env("HOOK_SECRET", secret)).expect(0);
    let request = &server.requests()[0];
    let header = |name| request.header(name).unwrap();
    let script = "printf '%s.%s.' \"$ID\" \"$TIME\" | cat - body.json | \
                  openssl dgst -sha256 -mac HMAC -macopt hexkey:$KEY -binary | base64";
    runner.write("body.json", &request.body);
    // The secret's bytes.
    let key = "31f290f6bf06298aab4f08d43c3f082cf648a362da2da4b0";
    let mut sign = runner.shell(script);
    sign.env("ID", header("webhook-id")).env("TIME", header("webhook-timestamp")).env("KEY", key);
    let signed = finished(&mut sign).expect(0).stdout;
    assert_eq!(header("webhook-signature"), format!("v1,{}", signed.trim()));
    // Without its secret, a request is not sent unsigned.
    snapshot(&runner.exec(&[]).expect(0));
    assert_eq!(server.requests().len(), 1);
    for run in runner.runs() {
        assert!(!run.text("notifications.jsonl").contains("MfKQ9"));
    }
}

#[test]
fn temporary_failures_are_repeated_with_the_same_id() {
    let server = counting(|count, wire| match count {
        0 => status(wire, "503 Busy"),
        1 => status(wire, "429 Slow down"),
        2 => {}
        _ => status(wire, "200 OK"),
    });
    let runner = runner(PASSED, &format!("[notify]\nwait = \"2m\"\n{}", webhook(&server, "")));
    snapshot(&runner.exec(&[]).expect(0));
    let requests = server.requests();
    let ids: Vec<_> = requests.iter().map(|request| request.header("webhook-id")).collect();
    assert!(ids.len() == 4 && ids.iter().all(|id| *id == ids[0] && id.is_some()), "{ids:?}");
    assert!(requests.iter().all(|request| request.body == requests[0].body));
    assert_eq!(results(&runner.only_run()), ["failed", "failed", "failed", "delivered"]);
}

#[test]
fn refusals_and_redirects_are_not_repeated() {
    let other = accepting();
    let location = format!("location: {}", other.url("/"));
    for line in ["404 Not found".to_owned(), format!("307 Elsewhere\r\n{location}")] {
        let server = counting(move |_, wire| status(wire, &line));
        let runner = runner(PASSED, &webhook(&server, ""));
        let ran = runner.exec(&[]).expect(0);
        snapshot(&ran);
        assert_eq!(server.requests().len(), 1);
        assert_eq!(results(&runner.only_run()), ["refused"]);
        // Only a command about the run tries again.
        assert!(left(&runner).is_empty());
        runner.run(&["notify"]).expect(0);
        assert_eq!(server.requests().len(), 1);
        runner.run(&["notify", "latest"]).expect(1);
        assert_eq!(server.requests().len(), 2);
    }
    assert!(other.requests().is_empty());
}

#[test]
fn refusal_has_the_reason_of_its_receiver() {
    let long = "x".repeat(100_000);
    for (body, reason) in [
        (
            r#"{"message": "Cannot send an empty message", "code": 50006}"#,
            ": Cannot send an empty message",
        ),
        (
            r#"{"ok": false, "error": {"message": "bad\u001b[31m \u202ekey"}}"#,
            r": bad\u{1b}[31m \u{202e}key",
        ),
        ("invalid_payload\nsecond line", ": invalid_payload"),
        ("<!DOCTYPE html><p>no", ""),
        (&*long, &format!(": {}…", &long[..199])),
        // Texts of the address and of variables are secrets, with any escapes.
        (
            r#"{"error": "no hook \/secret-path for secret\u002dtoken and hidden-value"}"#,
            ": no hook ",
        ),
    ] {
        let body = body.to_owned();
        let server = counting(move |_, wire| answer(wire, "400 Bad Request", &body));
        let runner = runner(PASSED, &webhook(&server, "secret = { env = \"HOOK_SECRET\" }"));
        let mut exec = runner.command(&["exec", "scenario.toml"]);
        let ran = Running::start(exec.env("HOOK_SECRET", "hidden-value")).finish();
        let answer = format!("HTTP 400{reason}");
        ran.says(&[&format!("refused ({answer}")]);
        let run = runner.only_run();
        let line = lines(&run).remove(0);
        assert!(line["answer"].as_str().unwrap().starts_with(&answer), "{line}");
        for text in [ran.stderr, run.text("notifications.jsonl")] {
            for secret in ["secret-path", "secret-token", "hidden-value", "second"] {
                assert!(!text.contains(secret), "{secret}: {text}");
            }
        }
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn receiver_may_ask_for_a_pause() {
    // The date of the response is that of its clock.
    let date = "date: Fri, 27 Nov 2026 10:00:00 GMT\r\nretry-after: Fri, 27 Nov 2026 10:00:01 GMT";
    let servers = ["429 Slow\r\nretry-after: 1", &format!("503 Busy\r\n{date}")].map(|line| {
        let line = line.to_owned();
        counting(move |count, wire| match count {
            0 => answer(wire, &line, ""),
            _ => status(wire, "200 OK"),
        })
    });
    let started = servers.each_ref().map(|server| {
        let runner = runner(PASSED, &webhook(server, ""));
        (runner.started(&["exec", "scenario.toml"]), runner)
    });
    for (running, runner) in started {
        running.finish().expect(0).says(&["notified (HTTP 200)"]);
        let lines = lines(&runner.only_run());
        assert_eq!(lines[0]["retry_after_ms"], 1000);
        let times = lines.iter().map(|line| Time::parse(line["at"].as_str().unwrap()).unwrap());
        let times: Vec<_> = times.collect();
        assert!(times[1].since(times[0]).as_millis() >= 990, "{times:?}");
    }
    // A pause of ten minutes ends the wait of the session, and upkeep tries later.
    let server =
        counting(|_, wire| answer(wire, "503 Busy\r\nretry-after: 600", "{\"error\": \"down\"}"));
    let runner = runner(PASSED, &format!("[notify]\nwait = \"10m\"\n{}", webhook(&server, "")));
    runner.exec(&[]).expect(0).says(&["not notified: HTTP 503: down"]);
    tend(&runner, 500_000);
    assert_eq!(server.requests().len(), 1);
    tend(&runner, 700_000);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn webhook_mistakes_are_reported_before_the_run() {
    let server = accepting();
    let hook = |url: &str, more: &str| {
        format!("[[notify.webhooks]]\nurl = {url}\nprivate = true\n{more}\n")
    };
    let url = format!("\"{}\"", server.url("/"));
    let settings = [
        "[notify]\nwait = \"10m\"\n".to_owned(),
        hook("{ env = \"NOT_SET\" }", ""),
        hook("{ env = \"NO_ADDRESS\" }", ""),
        hook(&url, "secret = { env = \"SHORT\" }"),
    ];
    let runner = runner(PASSED, &settings.concat());
    let with_variables = |args: &[&str]| {
        let mut command = runner.command(args);
        command.env("NO_ADDRESS", "mailto:secret@example.com").env("SHORT", "whsec_YQ==");
        Running::start(&mut command).finish()
    };
    let mistakes = [
        "will not be notified: the environment variable `NOT_SET` is not set",
        "will not be notified: `NO_ADDRESS` is not valid",
        "will not be notified: the secret in `SHORT` has 1 byte after `whsec_`",
    ];
    let ran = with_variables(&["exec", "scenario.toml"]).expect(0);
    ran.says(&mistakes);
    let place = |text: &str| ran.stderr.find(text).unwrap();
    assert!(place(mistakes[2]) < place("1 trial on 1 provider"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("secret@example"), "{}", ran.stderr);
    // One attempt each.
    assert_eq!(results(&runner.only_run()), ["refused"; 3]);
    with_variables(&["exec", "--dry-run", "scenario.toml"]).expect(0).says(&mistakes);
    with_variables(&["queue", "work", "--once"]).expect(0).says(&mistakes);
    assert_eq!(results(&runner.only_run()).len(), 3);
    runner.write(
        "own.toml",
        format!(
            "{}{PASSED}{}",
            hook("{ env = \"NOT_SET\" }", ""),
            "[providers.hostile]\nplugin = \"hostile.wasm\"\n"
        ),
    );
    let ran = with_variables(&["validate", "own.toml"]).expect(0);
    snapshot(&ran);
    assert!(server.requests().is_empty());
    // With the variables, the command about the run sends them.
    let mut notify = runner.command(&["notify", "latest"]);
    let notify = notify
        .env("NOT_SET", server.url("/"))
        .env("NO_ADDRESS", server.url("/"))
        .env("SHORT", "long enough");
    Running::start(notify).finish().expect(0);
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn endless_response_is_not_read() {
    let endless = |status: &'static str| {
        Server::raw(move |_, wire| {
            wire.send(format!("HTTP/1.1 {status}\r\ntransfer-encoding: chunked\r\n\r\n"));
            while wire.send("8\r\n12345678\r\n") {}
        })
    };
    let (server, refusing) = (endless("200 OK"), endless("400 Bad Request"));
    let runner = runner(PASSED, &(webhook(&server, "") + &webhook(&refusing, "")));
    let ran = runner.exec(&[]).expect(0);
    snapshot(&ran);
    // Headers that do not end are cut off.
    let server = Server::raw(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\n");
        while wire.send("a: b\r\n") {}
    });
    runner.write("results/runner.toml", webhook(&server, "") + "[notify]\nwait = \"300ms\"\n");
    runner.exec(&[]).expect(0).says(&["not notified"]);
}

#[test]
fn silent_receiver_holds_neither_screen_nor_exit_code() {
    let server = Server::raw(|_, wire| wire.wait_for_close());
    let command = "[[notify.commands]]\ncommand = [\"sleep\", \"600\"]\ntimeout = \"10m\"\n";
    let webhook = webhook(&server, "timeout = \"10m\"");
    let runner = runner(FAILED, &format!("[notify]\nwait = \"10m\"\n{webhook}{command}"));
    let running = runner.started(&["exec", "scenario.toml"]);
    server.wait_for_requests(1);
    wait_until("the verdict is shown", || running.printed().contains("failed"));
    assert_eq!(runner.only_run().ending()[0], "completed");
    // A signal ends the wait, and the exit code is that of the run.
    let (ran, took) = running.end_by(Signal::INT);
    snapshot(&ran.expect(1));
    assert!(took < STOP_WITHIN, "{took:?}");
    assert_eq!(left(&runner).len(), 2);
}

#[test]
fn silent_receiver_holds_up_no_request() {
    let server = Server::raw(|_, wire| wire.wait_for_close());
    let webhook = webhook(&server, "timeout = \"10m\"");
    let runner = runner(PASSED, &format!("[notify]\nwait = \"0s\"\n{webhook}"));
    runner.exec(&[]).expect(0);
    let poller = runner.started(&["queue", "work"]);
    server.wait_for_requests(1);
    runner.exec(&["--queue"]).expect(0);
    wait_until("the request is started", || runner.runs().len() == 2);
    poller.kill();
}

#[test]
fn wait_bounds_the_end_of_a_session() {
    let server = Server::raw(|_, wire| wire.wait_for_close());
    // The timeout is far beyond the bound below.
    let webhook = webhook(&server, "timeout = \"10m\"");
    let settings = |wait: &str| format!("[notify]\nwait = \"{wait}\"\n{webhook}");
    // In the wait, a slow machine has to send the request.
    let runs = ["500ms", "20s"].map(|wait| {
        (server.requests().is_empty()).then(|| {
            let runner = runner(PASSED, &settings(wait));
            snapshot(&runner.exec(&[]).expect(0));
            runner
        })
    });
    let runner = runs.into_iter().flatten().last().unwrap();
    runner.write("results/runner.toml", settings("0s"));
    let started = Instant::now();
    runner.exec(&["--quiet"]).expect(0);
    assert!(started.elapsed() < Duration::from_secs(60));
    assert_eq!(server.requests().len(), 1);
    assert_eq!(left(&runner).len(), 2);
}

#[test]
fn killed_process_loses_no_notification() {
    let server = counting(|count, wire| match count {
        0 => wire.wait_for_close(),
        _ => status(wire, "200 OK"),
    });
    let runner = runner(PASSED, &webhook(&server, "timeout = \"10m\""));
    let running = runner.started(&["exec", "scenario.toml"]);
    server.wait_for_requests(1);
    running.kill();
    assert_eq!(runner.only_run().ending()[0], "completed");
    assert_eq!(left(&runner).len(), 1);
    let sent = runner.run(&["notify", "--json"]).expect(0).document();
    assert_eq!(sent["notifications"][0]["result"], "delivered");
    let [first, second] = &server.requests()[..] else { panic!("{:?}", server.requests()) };
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    snapshot(&runner.run(&["notify"]).expect(0));
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn cleanup_notifies_of_dead_runs() {
    let server = accepting();
    let runner = Runner::endless(1, "sleep", "");
    fs::create_dir(runner.path("results")).unwrap();
    runner.write("results/runner.toml", webhook(&server, "on = [\"failed\", \"incomplete\"]"));
    let mut running = runner.start(&[]);
    running.wait_until_running(&runner, 1);
    running.kill();
    runner.run(&["cleanup", "--yes"]).expect(0).says(&["notified (HTTP 204)"]);
    assert_eq!(document(&server.requests()[0])["data"]["reason"], "crashed");
    runner.run(&["notify"]).expect(0);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn short_session_ends_dead_runs_and_notifies() {
    let server = accepting();
    let runner =
        runner("[[tests]]\nid = \"a\"\ninput = { do = \"sleep\" }\n", &webhook(&server, ""));
    let mut running = runner.start(&[]);
    running.wait_until_running(&runner, 1);
    running.kill();
    let dead = runner.only_run();
    runner.scenario(&format!("{PASSED}[providers.hostile]\nplugin = \"hostile.wasm\"\n"));
    let ran = runner.exec(&[]).expect(0);
    ran.says(&[&format!("the process of run {} has died; the run is now incomplete", dead.id())]);
    assert_eq!(dead.ending()[..2], ["incomplete", "crashed"]);
    assert_eq!(results(&dead), ["delivered"]);
    assert_eq!(server.requests().len(), 2);
    assert!(left(&runner).is_empty());
}

#[test]
fn receivers_get_the_ends_they_name() {
    let server = accepting();
    let on = |words: &str| webhook(&server, &format!("on = [{words}]"));
    let runner = runner(FAILED, &on("\"tests-passed\", \"incomplete\""));
    runner.exec(&[]).expect(1);
    assert!(server.requests().is_empty());
    runner.write("results/runner.toml", on("\"tests-failed\""));
    runner.exec(&[]).expect(1);
    assert_eq!(server.requests().len(), 1);
    runner.write("results/runner.toml", on(""));
    runner.exec(&[]).expect(1);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn same_end_of_next_session_is_no_news() {
    let server = accepting();
    let runner = runner(FAILED, &webhook(&server, ""));
    runner.exec(&[]).expect(1);
    runner.run(&["resume", "latest", "--rerun", "all"]).expect(1);
    assert_eq!(server.requests().len(), 1);
    snapshot(&runner.run(&["notify"]).expect(0));
    let changed = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&changed.replace("equals = 2", "equals = 1"));
    runner.run(&["rescore", "latest"]).expect(0);
    let states = server.requests();
    let states: Vec<_> = states.iter().map(|one| document(one)["data"]["state"].clone()).collect();
    assert_eq!(states, ["failed", "passed"]);
}

#[test]
fn new_receiver_is_not_notified_of_old_runs() {
    let server = accepting();
    let runner = runner(PASSED, "");
    runner.exec(&[]).expect(0);
    let ended = fs::metadata(runner.only_run().dir.join("benchmark.json")).unwrap();
    let file = runner.path("results/runner.toml");
    // Times of files may be coarser than those of runs.
    wait_until("the settings are newer", || {
        runner.write("results/runner.toml", webhook(&server, ""));
        let changed = fs::metadata(&file).unwrap().modified().unwrap();
        changed.duration_since(ended.modified().unwrap()).is_ok_and(|age| age.as_millis() > 5)
    });
    assert!(left(&runner).is_empty());
    runner.run(&["notify"]).expect(0);
    assert!(server.requests().is_empty());
    runner.run(&["notify", "latest"]).expect(0).says(&["notified"]);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn scenario_names_receivers_of_its_own() {
    let (own, both) = (accepting(), accepting());
    let runner = runner(&format!("{}{PASSED}", webhook(&own, "")), &webhook(&both, ""));
    runner.exec(&[]).expect(0);
    assert_eq!((own.requests().len(), both.requests().len()), (1, 1));
    // It is read from the copy in the run.
    fs::remove_file(runner.path("scenario.toml")).unwrap();
    fs::remove_file(runner.only_run().dir.join("notifications.jsonl")).unwrap();
    runner.run(&["notify", "latest"]).expect(0);
    assert_eq!(own.requests().len(), 2);
}

#[test]
fn private_addresses_need_their_key() {
    let server = accepting();
    let port = server.port();
    let hosts = ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"];
    let hook = |host| format!("[[notify.webhooks]]\nurl = \"http://{host}:{port}/\"\n");
    let runner = runner(PASSED, &(hosts.map(hook).concat() + "[notify]\nwait = \"2m\"\n"));
    let ran = runner.exec(&[]).expect(0);
    let says = ["not notified", "loopback", "`private = true`"];
    let refused = |line: &&str| says.iter().all(|text| line.contains(text));
    assert_eq!(ran.stderr.lines().filter(refused).count(), hosts.len(), "{ran:?}");
    assert_eq!(server.connections(), 0);
}

#[test]
fn commands_get_document_and_variables() {
    let script = "cat > got.json; env > got.env; pwd > got.pwd";
    let runner = runner(
        FAILED,
        &format!("[[notify.commands]]\ncommand = [\"sh\", \"-c\", \"{script}\", \"$HOME;x\"]\n"),
    );
    snapshot(&runner.exec(&[]).expect(1));
    let read = |name: &str| fs::read_to_string(runner.path("results").join(name)).unwrap();
    let got: Value = serde_json::from_str(&read("got.json")).unwrap();
    let run = runner.only_run();
    assert_eq!([&got["type"], &got["data"]["run"]], ["run.ended", run.id()]);
    let root = fs::canonicalize(runner.path("results")).unwrap();
    assert_eq!(read("got.pwd").trim(), root.to_str().unwrap());
    for variable in [
        format!("RUNNER_RUN={}", run.id()),
        format!("RUNNER_RUN_DIR={}", run.dir.display()),
        format!("RUNNER_RESULTS={}", runner.path("results").display()),
        "RUNNER_SCENARIO=scenario".to_owned(),
        "RUNNER_STATUS=completed".to_owned(),
        "RUNNER_REASON=".to_owned(),
        "RUNNER_VERDICT=failed".to_owned(),
    ] {
        assert!(read("got.env").lines().any(|line| line == variable), "{variable}");
    }
}

#[test]
fn late_command_is_killed_with_its_children() {
    let script = "sleep 600 & echo $! > child; wait";
    let run_for = |timeout: &str| {
        let runner = runner(
            PASSED,
            &format!(
                "[notify]\nwait = \"2m\"\n[[notify.commands]]\ncommand = [\"sh\", \"-c\", \"{script}\"]\ntimeout = \"{timeout}\"\n"
            ),
        );
        snapshot(&runner.exec(&[]).expect(0));
        let child = fs::read_to_string(runner.path("results/child")).ok();
        Some((child.filter(|child| child.ends_with('\n'))?, runner))
    };
    // A slow machine needs more time to start a child.
    let (child, runner) = run_for("500ms").or_else(|| run_for("20s")).unwrap();
    wait_until("the child is dead", || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.trim()));
        stat.map_or(true, |stat| stat.contains(") Z "))
    });
    let failing = "[[notify.commands]]\ncommand = [\"sh\", \"-c\", \"echo no way >&2; exit 3\"]\n\
                   [[notify.commands]]\ncommand = [\"./missing\\u001b\"]\n";
    runner.write("results/runner.toml", failing);
    let ran = runner.exec(&[]).expect(0);
    snapshot(&ran);
    assert!(!ran.stderr.contains('\u{1b}'));
}

#[test]
fn messages_of_commands_are_cut_and_redacted() {
    let runner = Runner::hostile_with(
        "[providers.hostile.grants]\nenv = { KEY = \"{{secret.API_KEY}}\" }",
        PASSED,
    );
    let script =
        "head -c 300000 /dev/zero | tr '\\\\0' x >&2; printf %s $API_KEY $HOOK_URL >&2; exit 3";
    fs::create_dir(runner.path("results")).unwrap();
    let settings = format!(
        "[[notify.commands]]\ncommand = [\"sh\", \"-c\", \"{script}\"]\n\
         [[notify.webhooks]]\nurl = {{ env = \"HOOK_URL\" }}\non = []\n"
    );
    runner.write("results/runner.toml", settings);
    let mut exec = runner.command(&["exec", "scenario.toml"]);
    let exec = exec.env("API_KEY", "zq81-planted").env("HOOK_URL", "https://hooks.example/u7w3");
    finished(exec).expect(0);
    let run = runner.only_run();
    let answer = lines(&run)[0]["answer"].as_str().unwrap().to_owned();
    assert!(answer.starts_with("exited with code 3: xxx") && answer.len() < 1100, "{answer}");
    assert!(answer.ends_with("x[secret API_KEY][secret HOOK_URL]"), "{answer}");
    for text in [run.text("notifications.jsonl"), run.text("runner.log")] {
        assert!(!text.contains("planted") && !text.contains("u7w3"), "{text}");
    }
}

#[test]
fn command_dies_with_a_killed_process() {
    let command = "command = [\"sh\", \"-c\", \"sleep 600 & echo $! > child; wait\"]";
    let settings = "[notify]\nwait = \"10m\"\n[[notify.commands]]\ntimeout = \"10m\"\n";
    let runner = runner(PASSED, &format!("{settings}{command}\n"));
    let running = runner.started(&["exec", "scenario.toml"]);
    let child = wait_for("it runs", || {
        let number = fs::read_to_string(runner.path("results/child")).ok()?;
        Some(Process(number.strip_suffix('\n')?.parse().unwrap()))
    });
    assert!(child.is_alive());
    running.kill();
    wait_until("the child is dead", || !child.is_alive());
    assert_eq!(left(&runner).len(), 1);
}

#[test]
fn invalid_settings_stop_a_run_before_its_start() {
    let mut transcript = Transcript::default();
    let runner = runner(PASSED, "[notify]\nwebhook = []\n");
    transcript.refused(&runner, &[]);
    transcript.run(&runner, &["notify"]).expect(2);
    transcript.check("invalid_settings_stop_a_run_before_its_start");
}

/// Does the upkeep of the results root once, `later` milliseconds from now.
fn tend(runner: &Runner, later: u64) {
    runner.write("clock", later.to_string());
    let mut work = runner.command(&["queue", "work", "--once"]);
    finished(work.env("RUNNER_TEST_CLOCK", runner.path("clock"))).expect(0);
}

#[test]
fn upkeep_ends_dead_runs_and_notifies() {
    let server = accepting();
    let runner = Runner::endless(1, "sleep", "");
    fs::create_dir(runner.path("results")).unwrap();
    runner.write("results/runner.toml", webhook(&server, ""));
    let mut running = runner.start(&[]);
    running.wait_until_running(&runner, 1);
    tend(&runner, 0);
    assert!(server.requests().is_empty());
    running.kill();
    tend(&runner, 0);
    tend(&runner, 0);
    let [request] = &server.requests()[..] else { panic!("{:?}", server.requests()) };
    assert_eq!(document(request)["data"]["reason"], "crashed");
    assert_eq!(runner.only_run().ending()[1], "crashed");
}

#[test]
fn long_session_is_reported_once() {
    let server = accepting();
    let runner = Runner::endless(1, "sleep", "");
    fs::create_dir(runner.path("results")).unwrap();
    let settings = webhook(&server, "on = []\nlonger_than = \"1ms\"");
    runner.write("results/runner.toml", settings);
    let mut running = runner.start(&[]);
    running.wait_until_running(&runner, 1);
    // A session is long once it has worked for the time in the settings, by its files.
    wait_until("the session is reported", || {
        tend(&runner, 0);
        !server.requests().is_empty()
    });
    tend(&runner, 0);
    let [request] = &server.requests()[..] else { panic!("{:?}", server.requests()) };
    let document = document(request);
    assert_eq!(
        (&document["type"], &document["data"]["status"]),
        (&"run.long".into(), &"running".into())
    );
    running.end_by(Signal::TERM).0.expect(143);
    // The next session is reported, too.
    let mut resumed = runner.started(&["resume", "latest", "--json"]);
    resumed.wait_until_running(&runner, 1);
    wait_until("the next session is reported", || {
        tend(&runner, 0);
        server.requests().len() == 2
    });
    resumed.kill();
}

#[test]
fn upkeep_pauses_between_failed_attempts() {
    let server = Server::start(|_| Response::new(503));
    let settings = format!("[notify]\nwait = \"0s\"\n{}", webhook(&server, ""));
    let runner = runner(PASSED, &settings);
    runner.exec(&[]).expect(0);
    assert!(server.requests().is_empty());
    tend(&runner, 0);
    tend(&runner, 0);
    assert_eq!(server.requests().len(), 1);
    tend(&runner, 61_000);
    assert_eq!(server.requests().len(), 2);
    // After a day, only a command about the run sends it.
    tend(&runner, 25 * 60 * 60 * 1000);
    assert_eq!(server.requests().len(), 2);
    runner.run(&["notify", "latest"]).expect(1);
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn upkeep_applies_retention() {
    let runner = runner(PASSED, "[retention]\nkeep_last = 1\n");
    (0..3).for_each(|_| drop(runner.exec(&[]).expect(0)));
    tend(&runner, 0);
    assert_eq!(runner.runs().len(), 1);
}

#[test]
fn retention_keeps_runs_with_notifications_left() {
    let server = Server::start(|_| Response::new(503));
    let hook = webhook(&server, "");
    let settings = format!("[notify]\nwait = \"0s\"\n{hook}[retention]\nkeep_last = 0\n");
    let runner = runner(PASSED, &settings);
    (0..3).for_each(|_| drop(runner.exec(&[]).expect(0)));
    tend(&runner, 0);
    let notify = format!("runner notify {}", runner.runs()[0].id());
    let ran = runner.run(&["prune", "--yes"]).expect(0);
    snapshot(&ran);
    ran.says(&[&notify]);
    assert_eq!(runner.runs().len(), 3);
    // A run that is named is deleted.
    runner.run(&["prune", "latest", "--yes"]).expect(0);
    let runs = runner.runs();
    assert_eq!(runs.len(), 2);
    let log = runs[0].dir.join("notifications.jsonl");
    fs::remove_file(&log).unwrap();
    fs::create_dir(&log).unwrap();
    snapshot(&runner.run(&["prune", "--yes"]).expect(0));
    assert_eq!(runner.runs().len(), 2);
    fs::remove_dir(&log).unwrap();
    // After a day no notification is sent any more.
    tend(&runner, 25 * 60 * 60 * 1000);
    assert!(runner.runs().is_empty());
}

#[test]
fn dry_run_lists_receivers() {
    let (own, both) = (accepting(), accepting());
    let scenario = webhook(&own, "on = [\"tests-failed\"]\nlonger_than = \"1h\"");
    let settings = webhook(&both, "") + "[[notify.commands]]\ncommand = [\"mail\", \"secret\"]\n";
    let runner = runner(&format!("{scenario}{PASSED}"), &settings);
    let ran = runner.exec(&["--dry-run"]).expect(0);
    snapshot(&ran);
    ran.says(&[
        &format!("notifies {} (scenario): tests-failed, longer than 60 min", own.origin()),
        &format!("notifies {} (runner.toml): completed, failed, incomplete", both.origin()),
    ]);
    assert!(!ran.stderr.contains("secret"), "{}", ran.stderr);
    let plan = runner.exec(&["--dry-run", "--json"]).expect(0).events();
    let receivers = plan[0]["receivers"].as_array().unwrap();
    assert_eq!(receivers.len(), 3);
    assert_eq!(receivers[2]["to"], own.origin());
    assert_eq!(own.requests().len() + both.requests().len(), 0);
}

#[test]
fn settings_of_others_start_no_program() {
    let runner = runner(PASSED, "[[notify.commands]]\ncommand = [\"touch\", \"started\"]\n");
    let file = runner.path("results/runner.toml");
    fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
    snapshot(&runner.exec(&[]).expect(0));
    snapshot(&runner.run(&["notify", "latest"]).expect(0));
    tend(&runner, 0);
    assert!(!runner.path("results/started").exists());
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    runner.run(&["notify", "latest"]).expect(0);
    assert!(runner.path("results/started").exists());
}

#[test]
fn one_of_many_senders_notifies() {
    let server = accepting();
    let settings = format!("[notify]\nwait = \"0s\"\n{}", webhook(&server, ""));
    let runner = runner(PASSED, &settings);
    runner.exec(&[]).expect(0);
    let senders: Vec<_> = (0..6).map(|_| runner.started(&["notify", "latest"])).collect();
    for sender in senders {
        let ran = sender.finish();
        assert!([Some(0), Some(6)].contains(&ran.code), "{ran:?}");
    }
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn background_runs_and_groups_notify() {
    let server = accepting();
    let runner = runner(PASSED, &webhook(&server, ""));
    runner.exec(&["--detach"]).expect(0);
    server.wait_for_requests(1);
    let log = || runner.only_run().text("runner.log");
    wait_until("the log has it", || log().contains("notified (HTTP 204)"));
    runner.write("other.toml", fs::read(runner.path("scenario.toml")).unwrap());
    runner.run(&["exec", "scenario.toml", "other.toml"]).expect(0);
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn torn_lines_of_the_log_are_skipped() {
    let server = counting(|count, wire| match count {
        0 => status(wire, "404 Not found"),
        _ => status(wire, "200 OK"),
    });
    let runner = runner(PASSED, &webhook(&server, ""));
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let text = run.text("notifications.jsonl");
    run.write("notifications.jsonl", format!("\u{1b}{{\n{}", &text[..text.len() / 2]));
    snapshot(&runner.run(&["notify", "latest"]).expect(0));
    snapshot(&runner.run(&["notify", "latest"]).expect(0));
    assert_eq!(server.requests().len(), 2);
    let text = run.text("notifications.jsonl");
    let last = text.lines().last().unwrap();
    assert_eq!(serde_json::from_str::<Value>(last).unwrap()["result"], "delivered");
}

#[test]
fn delivered_notification_is_sent_again_with_new_id() {
    let server = counting(|count, wire| match count {
        1 => status(wire, "404 Not found"),
        _ => status(wire, "200 OK"),
    });
    let runner = runner(PASSED, &webhook(&server, ""));
    runner.exec(&[]).expect(0);
    let again = |more: &[&str]| runner.run(&[&["notify", "latest", "--again"], more].concat());
    snapshot(&again(&["--dry-run"]).expect(0));
    snapshot(&again(&[]).expect(1));
    // The run's notification itself is delivered.
    snapshot(&runner.run(&["notify", "latest"]).expect(0));
    snapshot(&again(&[]).expect(0));
    again(&[]).expect(0);
    let requests = server.requests();
    let ids: Vec<_> = requests.iter().map(|request| request.header("webhook-id")).collect();
    let [first, refused, second, third] = ids[..] else { panic!("{ids:?}") };
    assert_eq!(refused, second);
    assert!(first != second && second != third && third != first, "{ids:?}");
    snapshot(&runner.run(&["notify", "--again"]).expect(2));
    runner.write("results/runner.toml", webhook(&server, "on = [\"failed\"]"));
    snapshot(&again(&[]).expect(0));
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn https_receivers_need_trusted_certificates() {
    let authority = Authority::new("notifications");
    let server = Server::secure(&authority, "localhost", |_| Response::new(200));
    let url = format!("https://localhost:{}/", server.port());
    let hook = format!("[[notify.webhooks]]\nurl = \"{url}\"\nprivate = true\n");
    let runner = runner(PASSED, &format!("{hook}[notify]\nwait = \"0s\"\n"));
    runner.exec(&[]).expect(0);
    // The command makes one attempt, with its whole timeout.
    let ran = runner.run(&["notify", "latest"]).expect(1);
    ran.says(&["not notified", "does not trust its certificate"]);
    runner.write("authority.pem", authority.pem());
    let mut notify = runner.command(&["notify", "latest"]);
    finished(notify.env("SSL_CERT_FILE", runner.path("authority.pem"))).expect(0);
    assert_eq!(server.requests().len(), 1);
}
