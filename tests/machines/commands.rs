//! `worker list`, `engine check`, names of workers, and addresses that cannot be used.

use std::{fs, net::TcpListener, path::PathBuf};

use boon::{Compiler, Schemas};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::network::{Engine, numbered, start_worker, worker_command};
use super::support::{guests::root, runner::Runner, running::Running, wait::wait_until};

/// Fails unless the published schema describes a document.
#[track_caller]
fn assert_described(name: &str, document: &Value) {
    let path: PathBuf = root().join(format!("schemas/documents/{name}.schema.json"));
    let schema: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let known = schema["properties"].as_object().unwrap();
    let unknown = document.as_object().unwrap().keys().find(|key| !known.contains_key(*key));
    assert_eq!(unknown, None);
    let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
    compiler.add_resource("urn:document", schema).unwrap();
    let index = compiler.compile("urn:document", &mut schemas).unwrap();
    if let Err(error) = schemas.validate(document, index) {
        panic!("{error:#}");
    }
}

#[test]
fn workers_are_listed_with_their_runs() {
    let (runner, engine) = (Runner::endless(2, "loop", ""), Engine::start());
    let address = engine.address();
    let list = ["worker", "list", "--engine", &address];
    runner.run(&list).expect(0).says(&["no worker is connected"]);
    let first = start_worker(&runner, &address, "gpu", &["--label", "zone=a"]);
    let second = start_worker(&runner, &address, "cpu", &["--memory", "1GiB"]);
    let mut running = runner.start(&["--engine", &address, "--worker-label", "zone=a"]);
    running.wait_until_running(&runner, 2);
    let json = [&list[..], &["--json"]].concat();
    wait_until("the worker is listed with its run", || {
        let document = runner.run(&json).expect(0).document();
        assert_described("workers", &document);
        let workers = document["workers"].as_array().unwrap();
        let [cpu, gpu] = &workers[..] else { panic!("{document}") };
        assert_eq!((&cpu["name"], &gpu["name"]), (&json!("cpu"), &json!("gpu")));
        assert_eq!((&cpu["memory"], &cpu["slots"]), (&json!(1 << 30), &json!(2)));
        assert_eq!(gpu["labels"], json!({"zone": "a"}));
        assert_eq!(gpu["pid"], first.process().0);
        assert_eq!(cpu["runs"], json!([]));
        gpu["runs"] == json!([runner.only_run().id()])
    });
    runner.run(&list).expect(0).says(&["gpu", "zone=a", "1 GiB"]);
    running.end_by(Signal::INT);
    for worker in [first, second] {
        worker.end_by(Signal::INT).0.expect(0);
    }
    // Workers remove their entries at their end.
    runner.run(&list).expect(0).says(&["no worker is connected"]);
}

#[test]
fn name_of_a_connected_worker_is_taken() {
    let (runner, engine) = (Runner::new(&[]), Engine::start());
    let first = start_worker(&runner, &engine.address(), "a", &[]);
    let mut command = worker_command(&runner, &engine.address(), "a", &[]);
    Running::start(&mut command).finish().expect(2).says(&["`a`", "--name"]);
    first.end_by(Signal::INT).0.expect(0);
    start_worker(&runner, &engine.address(), "a", &[]).end_by(Signal::INT).0.expect(0);
}

#[test]
fn engine_check_describes_a_usable_server() {
    let (runner, engine) = (Runner::new(&[]), Engine::start());
    let check = ["engine", "check", "--engine", &engine.address()];
    runner.run(&check).expect(0).says(&[
        &engine.address(),
        "nats-server 2.",
        "allows runs: yes",
        "allows workers: yes",
    ]);
    let document = runner.run(&[&check[..], &["--json"]].concat()).expect(0).document();
    assert_described("engine", &document);
    assert_eq!(
        (&document["address"], &document["problems"]),
        (&json!(engine.address()), &json!([]))
    );
    let mut command = runner.command(&["engine", "check"]);
    Running::start(command.env("RUNNER_ENGINE", engine.address())).finish().expect(0);
}

/// Commands that connect.
const CONNECTING: &[&str] =
    &["exec scenario.toml", "worker --store store", "worker list", "engine check"];

/// Fails unless each command ends with code 3 and these words, and no run is left. Returns their output.
#[track_caller]
fn refused(runner: &Runner, address: &str, words: &[&str]) -> String {
    let mut printed = String::new();
    for command in CONNECTING {
        let args: Vec<_> = command.split(' ').chain(["--engine", address]).collect();
        let ran = runner.run(&args).expect(3);
        ran.says(words);
        printed += &(ran.stdout + &ran.stderr);
    }
    assert!(runner.runs().is_empty());
    printed
}

#[test]
fn wrong_password_is_refused_before_a_run() {
    let engine = Engine::with("authorization { user: me, password: right }");
    let runner = Runner::new(&["hostile"]);
    numbered(&runner, 1, 1);
    let address = format!("nats://me:wr0ng@127.0.0.1:{}", engine.port);
    let printed = refused(&runner, &address, &["127.0.0.1", "--engine-creds"]);
    assert!(!printed.contains("wr0ng"), "{printed}");
    refused(&runner, &engine.address(), &["127.0.0.1", "--engine-creds"]);
}

#[test]
fn missing_and_silent_engines_are_reported_in_time() {
    let runner = Runner::new(&["hostile"]);
    numbered(&runner, 1, 1);
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = format!("nats://{}", listener.local_addr().unwrap());
    let began = std::time::Instant::now();
    refused(&runner, &address, &[&address, "nats-server"]);
    assert!(began.elapsed().as_secs() < 45, "{:?}", began.elapsed());
    drop(listener);
    refused(&runner, &address, &[&address, "nats-server"]);
}

#[test]
fn server_without_jetstream_is_refused() {
    let engine = Engine::without_jetstream();
    let runner = Runner::new(&["hostile"]);
    numbered(&runner, 1, 1);
    refused(&runner, &engine.address(), &["JetStream"]);
}

#[test]
fn other_machines_need_tls() {
    let runner = Runner::new(&["hostile"]);
    numbered(&runner, 1, 1);
    // No packet leaves: the address is refused, or nothing answers at an address for documentation.
    let ran = runner.exec(&["--engine", "nats://192.0.2.1:4222"]);
    assert!(matches!(ran.code, Some(2 | 3)), "{ran:?}");
    assert!(runner.runs().is_empty());
}

#[test]
fn flags_without_an_engine_are_refused() {
    let runner = Runner::new(&["hostile"]);
    numbered(&runner, 1, 1);
    for flag in
        ["--worker-label=a=b", "--wait-for-workers=1s", "--engine-ca=x", "--engine-insecure"]
    {
        let name = flag.split('=').next().unwrap();
        runner.refused(&[flag], &[name, "`--engine ADDRESS`"]);
    }
    for args in [&["worker"][..], &["worker", "list"], &["engine", "check"]] {
        runner.run(args).expect(2).says(&["`--engine ADDRESS` is missing", "RUNNER_ENGINE"]);
    }
    for ceiling in ["all=1", "net", "secret=a b", "fs=relative", "x=y"] {
        let args = ["worker", "--engine", "nats://127.0.0.1:1", "--ceiling", ceiling];
        runner.run(&args).expect(2).says(&[&format!("invalid ceiling `{ceiling}`")]);
    }
}
