//! `[notify]`: who is told when a run ends, by a server that is well, slow, refuses, breaks down or is down.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::{
    endless::passing,
    runner::{CommandExt as _, Run, Runner, Signal, tests},
    server::{Request, Response, Server},
    wait::wait_until,
};

/// Longer than any bound of these tests, and shorter than what would hang.
const BOUND: Duration = Duration::from_secs(60);

const FAILING: &str = "one | { do = \"echo\", value = 1 } | equals = 2";

fn settings(runner: &Runner, text: &str) {
    runner.write("results/runner.toml", text);
}

fn webhook(server: &Server, more: &str) -> String {
    format!(
        "[notify]\nwait = \"30s\"\n[[notify.webhooks]]\nurl = \"{}\"\n{more}\n",
        server.url("/hook?token=hunter2")
    )
}

/// What stands in a run's own record of what was told.
fn record(run: &Run) -> Vec<Value> {
    let lines = run.read("notifications.jsonl");
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn results(run: &Run) -> Vec<String> {
    let result = |line: &Value| line["result"].as_str().unwrap().to_owned();
    record(run).iter().map(result).collect()
}

fn document(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

#[test]
fn a_webhook_gets_a_signed_document_once_the_end_is_on_disk() {
    let runner = passing();
    let folder = runner.path("");
    let server = Server::start(move |request| {
        let told = document(request);
        let dir = folder.join(told["run"]["run_dir"].as_str().unwrap());
        let manifest = fs_err::read_to_string(dir.join("benchmark.json")).unwrap();
        let manifest: Value = serde_json::from_str(&manifest).unwrap();
        Response::new(if manifest["status"] == "completed" {
            204
        } else {
            403
        })
    });
    settings(
        &runner,
        &webhook(&server, "secret = { env = \"HOOK_SECRET\" }"),
    );
    let secret = b"a secret of some length".to_vec();
    let ran = runner
        .command(&["exec", "scenario.toml"])
        .env("HOOK_SECRET", format!("whsec_{}", STANDARD.encode(&secret)))
        .run()
        .expect(0);
    ran.says(&[&format!("told {} of the end: HTTP 204", server.origin())]);

    let [request] = &server.requests()[..] else {
        panic!("{:?}", server.requests());
    };
    assert_eq!(
        (&*request.method, &*request.path),
        ("POST", "/hook?token=hunter2")
    );
    assert_eq!(request.header("content-type"), Some("application/json"));
    let header = |name| request.header(name).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret).unwrap();
    let signed = [header("webhook-id"), ".", header("webhook-timestamp"), "."].concat();
    mac.update(signed.as_bytes());
    mac.update(&request.body);
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    assert_eq!(header("webhook-signature"), signature);

    let told = document(request);
    runner.assert_valid("notification", std::slice::from_ref(&told));
    let run = runner.only_run();
    assert_eq!(told["run"]["run"], run.id());
    assert_eq!(
        (
            &told["type"],
            &told["run"]["verdict"],
            &told["run"]["exit_code"]
        ),
        (&json!("run.ended"), &json!("passed"), &json!(0))
    );
    assert_eq!(results(&run), ["pending", "delivered"]);
    runner.run(&["verify"]).expect(0);
    // Neither the secret nor the path of the address is written anywhere.
    for entry in walkdir::WalkDir::new(&run.dir) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            let bytes = fs_err::read(entry.path()).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            assert!(
                !text.contains("whsec_") && !text.contains("hunter2"),
                "{entry:?}"
            );
        }
    }
}

#[test]
fn a_server_that_breaks_down_is_told_again_by_the_same_id() {
    let runner = passing();
    let count = AtomicUsize::new(0);
    let server = Server::start(move |_| {
        Response::new(match count.fetch_add(1, Ordering::Relaxed) {
            0 => 500,
            1 => 429,
            _ => 200,
        })
    });
    settings(&runner, &webhook(&server, ""));
    runner.exec(&[]).expect(0);
    let requests = server.requests();
    let ids: Vec<_> = requests.iter().map(|it| it.header("webhook-id")).collect();
    assert_eq!(ids.len(), 3);
    assert!(
        ids[0].is_some() && ids.iter().all(|id| *id == ids[0]),
        "{ids:?}"
    );
    assert_eq!(requests[0].header("webhook-signature"), None);
    let run = runner.only_run();
    assert_eq!(results(&run), ["pending", "failed", "failed", "delivered"]);
    assert_eq!(record(&run)[1]["answer"], "HTTP 500 Internal Server Error");
    let told = runner.run(&["notify", "--json"]).expect(0).document();
    runner.assert_valid("notify", std::slice::from_ref(&told));
    assert_eq!(
        (&told["already_told"], &told["targets"]),
        (&json!(1), &json!([]))
    );
    assert_eq!(server.requests().len(), 3);
    runner.run(&["notify", "--again"]).expect(0);
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn a_server_that_refuses_is_asked_once_and_the_run_is_what_it_was() {
    let runner = Runner::hostile(&tests(FAILING));
    let server = Server::start(|_| Response::new(410));
    settings(&runner, &webhook(&server, ""));
    runner
        .exec(&[])
        .expect(1)
        .says(&["refused to be told of the end: HTTP 410"]);
    assert_eq!(server.requests().len(), 1);
    let run = runner.only_run();
    assert_eq!(run.ending(), ["completed", "", "", "failed"]);
    assert_eq!(results(&run), ["pending", "refused"]);
    // Whoever asks for it means it.
    runner.run(&["notify"]).expect(1);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_server_that_is_slow_or_down_holds_the_run_for_a_bounded_time_and_is_told_later() {
    let runner = passing();
    let server = Server::raw(|_, wire| wire.wait_for_close());
    let hook = |url: &str| {
        format!(
            "[notify]\nwait = \"1s\"\n[[notify.webhooks]]\nurl = \"{url}\"\ntimeout = \"200ms\"\n"
        )
    };
    settings(&runner, &hook(&server.url("/")));
    let began = Instant::now();
    let ran = runner.exec(&[]).expect(0);
    assert!(began.elapsed() < BOUND);
    ran.says(&["could not be told of the end: no answer within 0.2 s"]);
    assert!(!server.requests().is_empty());
    let run = runner.only_run();
    assert_eq!(results(&run)[..2], ["pending", "failed"]);

    let gone = Server::start(|_| Response::new(200));
    let address = gone.url("/");
    drop(gone);
    settings(&runner, &hook(&address));
    let refused = runner.run(&["notify"]).expect(1);
    refused.says(&["could not be told of the end: tcp connect error"]);

    let well = Server::start(|_| Response::new(200));
    settings(&runner, &hook(&well.url("/")));
    runner.run(&["notify"]).expect(0);
    assert_eq!(well.requests().len(), 1);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn a_signal_ends_the_wait_and_not_what_the_run_came_to() {
    let runner = passing();
    let server = Server::raw(|_, wire| wire.wait_for_close());
    settings(
        &runner,
        &webhook(&server, "timeout = \"2s\"").replace("30s", "1h"),
    );
    let mut live = runner.start(&[]);
    server.wait_for_requests(1);
    assert!(live.is_alive());
    let began = Instant::now();
    live.signal(Signal::TERM);
    live.finish().expect(0);
    assert!(began.elapsed() < BOUND);
    assert_eq!(runner.only_run().ending()[0], "completed");
}

#[test]
fn an_ending_that_was_told_is_not_told_twice_and_another_one_is() {
    let runner = Runner::hostile(&tests(FAILING));
    let server = Server::start(|_| Response::new(200));
    settings(&runner, &webhook(&server, ""));
    runner.exec(&[]).expect(1);
    runner.run(&["resume", "--rerun", "failed"]).expect(1);
    assert_eq!(server.requests().len(), 1);
    let scenario = fs_err::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&scenario.replace("equals = 2", "equals = 1"));
    runner
        .run(&["resume", "--from", "latest", "--accept-changes"])
        .expect(0);
    let verdicts: Vec<_> = server.requests().iter().map(document).collect();
    let verdicts: Vec<_> = verdicts
        .iter()
        .map(|told| &told["run"]["verdict"])
        .collect();
    assert_eq!(verdicts, ["failed", "passed"]);
    let ids: Vec<_> = server.requests();
    assert_ne!(ids[0].header("webhook-id"), ids[1].header("webhook-id"));
}

#[test]
fn scenario_and_root_both_tell_on_the_endings_that_they_name() {
    let runner = Runner::hostile(&tests(FAILING));
    let server = Server::start(|_| Response::new(200));
    let hook = |path: &str, on: &str| {
        let url = server.url(path);
        format!("[[notify.webhooks]]\nurl = \"{url}\"\non = [\"{on}\"]\n")
    };
    settings(
        &runner,
        &(hook("/failed", "tests-failed") + &hook("/cancelled", "cancelled")),
    );
    let scenario = fs_err::read_to_string(runner.path("scenario.toml")).unwrap();
    let hooks = hook("/completed", "completed") + &hook("/passed", "tests-passed");
    runner.scenario(&(scenario + &hooks));
    runner.exec(&[]).expect(1);
    let mut paths: Vec<_> = server.requests().into_iter().map(|it| it.path).collect();
    paths.sort();
    assert_eq!(paths, ["/completed", "/failed"]);
}

#[test]
fn a_command_gets_the_run_in_its_environment_and_is_killed_when_its_time_is_up() {
    let runner = passing();
    let script = "cat > told.json; echo $RUNNER_RUN $RUNNER_STATUS $RUNNER_VERDICT > told.txt";
    settings(
        &runner,
        &format!(
            "[notify]\nwait = \"20s\"\n\
             [[notify.commands]]\ncommand = [\"sh\", \"-c\", \"{script}\"]\n\
             [[notify.commands]]\ncommand = [\"sh\", \"-c\", \"sleep 1000 & echo $! > pid; wait\"]\ntimeout = \"500ms\"\n\
             [[notify.commands]]\ncommand = [\"sh\", \"-c\", \"echo no luck >&2; exit 3\"]\n\
             [[notify.commands]]\ncommand = [\"no-such-program\"]\n"
        ),
    );
    let ran = runner.exec(&[]).expect(0);
    ran.says(&[
        "told sh of the end",
        "it did not end within 0.5 s",
        "exit status: 3: no luck",
        "No such file",
    ]);
    let run = runner.only_run();
    let told = fs_err::read_to_string(runner.path("results/told.txt")).unwrap();
    assert_eq!(told, format!("{} completed passed\n", run.id()));
    let document = fs_err::read_to_string(runner.path("results/told.json")).unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["run"]["run"], run.id());
    let pid = fs_err::read_to_string(runner.path("results/pid")).unwrap();
    let stat = format!("/proc/{}/stat", pid.trim());
    wait_until("what it has started is gone", || {
        let stat = fs_err::read_to_string(&stat);
        stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z "))
    });
}

#[test]
fn what_is_wrong_with_the_settings_is_said_before_there_is_a_run() {
    let runner = passing();
    settings(&runner, "[[notify.webhooks]]\nurl = \"nowhere\"\n");
    runner
        .exec(&[])
        .expect(2)
        .says(&["`url` must be a URL", "`nowhere` is none"]);
    assert!(runner.runs().is_empty());
    let scenario = fs_err::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&(scenario + "[[notify.commands]]\ncommand = [\"rm\"]\n"));
    settings(&runner, "");
    let refused = runner.exec(&[]).expect(2);
    refused.says(&["a scenario starts no program outside of the sandbox"]);
    assert!(runner.runs().is_empty());
}

#[cfg(debug_assertions)]
#[test]
fn an_end_that_its_own_process_did_not_live_to_tell_is_told_by_whoever_looks_after_the_root() {
    for (place, keeper) in [
        ("finish.begin=kill", &["queue", "work"][..]),
        ("finish.synced=kill", &["serve", "--listen", "unix:socket"]),
    ] {
        let runner = passing();
        let server = Server::start(|_| Response::new(200));
        settings(&runner, &webhook(&server, ""));
        runner
            .start_failing(&["exec", "scenario.toml"], place)
            .finish_killed();
        assert_eq!(server.requests().len(), 0, "{place}");
        let run = runner.only_run();
        assert_eq!(results(&run), ["pending"], "{place}");

        // Its own process would have had so long.
        thread::sleep(Duration::from_secs(6));
        let worker = runner.command(keeper).start();
        server.wait_for_requests(1);
        wait_until("it is written down", || results(&run).len() == 2);
        worker.kill();
        assert_eq!(
            document(&server.requests()[0])["run"]["status"],
            "completed"
        );
        runner.run(&["notify"]).expect(0);
        assert_eq!(server.requests().len(), 1, "{place}");
    }
}

#[test]
fn a_run_that_goes_on_for_too_long_is_told_once_and_its_end_as_well() {
    let runner = Runner::hostile(
        "[defaults]\ntimeout = \"1h\"\n[[tests]]\nid = \"a\"\ninput = { do = \"sleep\" }\n",
    );
    let server = Server::start(|_| Response::new(200));
    let patient = format!(
        "{}[[notify.webhooks]]\nurl = \"{}\"\non = [\"completed\"]\nlonger_than = \"1h\"\n",
        webhook(&server, "on = [\"incomplete\"]\nlonger_than = \"100ms\""),
        server.url("/patient")
    );
    settings(&runner, &patient);
    let mut live = runner.start(&[]);
    live.wait_until_running(1);
    thread::sleep(Duration::from_millis(200));
    // Each looks after the root once when it begins.
    for _ in 0..2 {
        let keeper = runner.command(&["queue", "work"]).start();
        server.wait_for_requests(1);
        thread::sleep(Duration::from_millis(500));
        drop(keeper);
    }
    live.end_by(Signal::INT).0.expect(130);
    let told: Vec<_> = server.requests();
    let kinds: Vec<_> = told
        .iter()
        .map(|told| document(told)["type"].clone())
        .collect();
    assert_eq!(kinds, ["run.long", "run.ended"]);
    let first = document(&told[0]);
    runner.assert_valid("notification", std::slice::from_ref(&first));
    assert_eq!(first["run"]["status"], "running");
    assert!(told.iter().all(|told| told.path.starts_with("/hook")));
    assert_ne!(told[0].header("webhook-id"), told[1].header("webhook-id"));
}
