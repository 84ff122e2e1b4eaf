//! `worker list`, `broker check`, names of workers, and addresses that cannot be used.

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    time::{Duration, Instant},
};

use boon::{Compiler, Schemas};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::network::{
    Broker, Client, numbered, start_worker, started, wait_for_message, worker_command,
};
use super::support::{
    guests::root, runner::Runner, running::Running, truth::assert_whole, wait::wait_until,
};

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
    let (runner, broker) = (Runner::endless(2, "loop", ""), Broker::start());
    let address = broker.address();
    let list = ["worker", "list", "--broker", &address];
    runner.run(&list).expect(0).says(&["no worker is connected"]);
    let first = start_worker(&runner, &address, "gpu", &["--label", "zone=a"]);
    let second = start_worker(&runner, &address, "cpu", &["--memory", "1GiB"]);
    let mut running = runner.start(&["--broker", &address, "--worker-label", "zone=a"]);
    running.wait_until_running(&runner, 2);
    let json = [&list[..], &["--json"]].concat();
    wait_until("the worker is listed with its run", || {
        let document = runner.run(&json).expect(0).document();
        assert_described("workers", &document);
        let workers = document["workers"].as_array().unwrap();
        // A worker that was suspended is listed again once it has renewed its entry.
        let [cpu, gpu] = &workers[..] else { return false };
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
    let (runner, broker) = (Runner::new(&[]), Broker::start());
    let first = start_worker(&runner, &broker.address(), "a", &[]);
    let mut command = worker_command(&runner, &broker.address(), "a", &[]);
    Running::start(&mut command).finish().expect(2).says(&["`a`", "--name"]);
    first.end_by(Signal::INT).0.expect(0);
    start_worker(&runner, &broker.address(), "a", &[]).end_by(Signal::INT).0.expect(0);
}

#[test]
fn entries_that_are_not_renewed_are_not_listed() {
    let (runner, broker) = (Runner::new(&[]), Broker::start());
    runner.run(&["broker", "check", "--broker", &broker.address()]).expect(0);
    let list = ["worker", "list", "--broker", &broker.address()];
    let entry = json!({"v": 1, "version": "9", "name": "a", "instance": "x", "host": "elsewhere",
        "pid": 1, "since": "today", "slots": 1, "memory": 1, "labels": {}, "keys": [], "runs": []});
    let mut client = Client::connect(&broker);
    // An entry expires after 10 s. The list must drop the worker earlier. Where a list takes seconds, this may need some tries.
    wait_until("it is dropped before it expires", || {
        let mut written = Instant::now();
        wait_until("it is listed", || {
            written = Instant::now();
            client.publish("$KV.runner-workers.a", entry.to_string().as_bytes());
            runner.run(&list).expect(0).stdout.contains("elsewhere")
        });
        wait_until("it is no longer listed", || {
            runner.run(&list).expect(0).stdout.contains("no worker is connected")
        });
        written.elapsed() < Duration::from_secs(9)
    });
}

#[test]
fn long_list_of_workers_is_complete() {
    let (runner, broker) = (Runner::new(&[]), Broker::start());
    runner.run(&["broker", "check", "--broker", &broker.address()]).expect(0);
    let mut client = Client::connect(&broker);
    wait_until("all are listed", || {
        // Entries that are not renewed are not listed for long.
        for number in 0..1_500 {
            // More than the server sends for one request, in entries and in bytes.
            let label = "x".repeat(if number < 300 { 40_000 } else { 1 });
            let entry = json!({"v": 1, "version": "9", "name": number.to_string(), "instance": "x", "host": "h",
                "pid": 1, "since": "today", "slots": 1, "memory": 1, "labels": {"a": label}, "keys": [], "runs": []});
            let subject = format!("$KV.runner-workers.{number}");
            client.publish(&subject, entry.to_string().as_bytes());
        }
        let list = ["worker", "list", "--json", "--broker", &broker.address()];
        let document = runner.run(&list).expect(0).document();
        document["workers"].as_array().unwrap().len() == 1_500
    });
}

#[test]
fn worker_waits_for_its_broker() {
    let (runner, mut broker) = (Runner::new(&[]), Broker::start());
    broker.kill();
    let command = &mut worker_command(&runner, &broker.address(), "a", &[]);
    let mut worker = Running::start(command);
    wait_for_message(&mut worker, "keeps trying");
    broker.restart();
    started(worker).end_by(Signal::INT).0.expect(0);
}

#[test]
fn unusable_ceilings_and_memory_are_noted() {
    let (runner, broker) = (Runner::new(&[]), Broker::start());
    runner.write("worker.env", "export GIVEN=value\n");
    let args = ["--secret-file", "worker.env", "--memory", "100000GiB"];
    let ceiling = ["fs=/no/such/folder", "fs=/", "secret=GIVEN", "secret=NO_SUCH_SECRET"];
    let ceiling = ceiling.into_iter().flat_map(|grant| ["--ceiling", grant]);
    let args: Vec<_> = args.into_iter().chain(ceiling).collect();
    let worker = start_worker(&runner, &broker.address(), "a", &args);
    let (ran, _) = worker.end_by(Signal::INT);
    ran.says(&["fs=/no/such/folder`: the folder", "secret=NO_SUCH_SECRET`: the", "`--memory` is"]);
    assert_eq!(ran.stderr.matches("note: ").count(), 4, "{}", ran.stderr);
}

#[test]
fn missing_labels_are_reported() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    numbered(&runner, 1, 1);
    let _worker = start_worker(&runner, &broker.address(), "a", &["--label", "gpu=no"]);
    let label = ["--worker-label", "gpu=yes", "--wait-for-workers", "5s"];
    let ran = runner.exec(&[&["--broker", &broker.address()], &label[..]].concat()).expect(4);
    ran.says(&["1 worker is connected, but none has the labels gpu=yes"]);
}

#[test]
fn certificates_that_cannot_be_used_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap().pem();
    fs::write(folder.path().join("server.pem"), &certificate).unwrap();
    fs::write(folder.path().join("server.key"), key.serialize_pem()).unwrap();
    let config =
        "jetstream { store_dir: nats }\ntls { cert_file: server.pem, key_file: server.key }";
    let broker = Broker::of_page(folder, config, &[]);
    let runner = Runner::new(&[]);
    runner.write("ca.pem", &certificate);
    runner.write("key.pem", key.serialize_pem());
    let address = format!("tls://localhost:{}", broker.port);
    let check =
        |ca: &str| runner.run(&["broker", "check", "--broker", &address, "--broker-ca", ca]);
    check("ca.pem").expect(3).says(&["issuer's certificate", "CA:FALSE"]);
    check("key.pem").expect(2).says(&["`key.pem` has no certificate", "issuer"]);
}

#[test]
fn broker_check_describes_a_usable_server() {
    let (runner, broker) = (Runner::new(&[]), Broker::start());
    let check = ["broker", "check", "--broker", &broker.address()];
    runner.run(&check).expect(0).says(&[
        &broker.address(),
        "nats-server 2.",
        "allows runs: yes",
        "allows workers: yes",
    ]);
    // The server has no name.
    assert!(!runner.run(&check).stdout.contains('('));
    let document = runner.run(&[&check[..], &["--json"]].concat()).expect(0).document();
    assert_described("broker", &document);
    assert_eq!(
        (&document["address"], &document["problems"]),
        (&json!(broker.address()), &json!([]))
    );
    let mut command = runner.command(&["broker", "check"]);
    Running::start(command.env("RUNNER_BROKER", broker.address())).finish().expect(0);
}

/// Commands that fail if no broker answers.
const CONNECTING: &[&str] = &["exec scenario.toml", "worker list", "broker check"];
const WORKER: &str = "worker --store store";

/// Fails unless each command exits with code 3, prints `words` and leaves no run. Returns the output of all commands.
#[track_caller]
fn refused(runner: &Runner, commands: &[&str], address: &str, words: &[&str]) -> String {
    let mut printed = String::new();
    for command in commands {
        let args: Vec<_> = command.split(' ').chain(["--broker", address]).collect();
        let ran = runner.run(&args).expect(3);
        ran.says(words);
        printed += &(ran.stdout + &ran.stderr);
    }
    assert!(runner.runs().is_empty());
    printed
}

/// Fails unless a worker prints `words` and keeps waiting for the broker.
#[track_caller]
fn awaited(runner: &Runner, address: &str, words: &[&str]) {
    let args: Vec<_> = WORKER.split(' ').chain(["--broker", address]).collect();
    let mut worker = runner.started(&args);
    wait_for_message(&mut worker, "keeps trying");
    worker.end_by(Signal::INT).0.expect(0).says(words);
}

#[test]
fn wrong_password_is_refused_before_a_run() {
    let broker = Broker::with("authorization { user: me, password: right }");
    let runner = Runner::new(&["hostile"]);
    numbered(&runner, 1, 1);
    let address = format!("nats://me:wr0ng@127.0.0.1:{}", broker.port);
    let (all, words) = ([CONNECTING, &[WORKER]].concat(), ["127.0.0.1", "--broker-creds"]);
    let printed = refused(&runner, &all, &address, &words);
    assert!(!printed.contains("wr0ng"), "{printed}");
    refused(&runner, &all, &broker.address(), &words);
}

#[test]
fn server_for_small_messages_is_refused() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::with("max_payload: 64KB"));
    numbered(&runner, 1, 1);
    let all = [CONNECTING, &[WORKER]].concat();
    refused(&runner, &all, &broker.address(), &["65536 bytes", "max_payload: 1MB"]);
}

#[test]
fn full_server_ends_the_run() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::with_small_store());
    runner.write("large.txt", "x".repeat(3 << 20));
    runner.scenario(
        "[providers.hostile]\nplugin = \"hostile.wasm\"\n[[tests]]\nid = \"files\"\ninput = { do = \"echo\" }\nfiles = { \"large.txt\" = \"large.txt\" }\n",
    );
    let _worker = start_worker(&runner, &broker.address(), "a", &[]);
    let ran = runner.exec(&["--broker", &broker.address()]);
    ran.says(&["has no space left", "insufficient resources", "max_file_store", "runner resume"]);
    assert_eq!(runner.only_run().ending()[0], "incomplete");
}

#[test]
fn missing_and_silent_brokers_are_reported_in_time() {
    let runner = Runner::new(&["hostile"]);
    numbered(&runner, 1, 1);
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = format!("nats://{}", listener.local_addr().unwrap());
    let began = std::time::Instant::now();
    let words = [&*address, "nats-server"];
    refused(&runner, &CONNECTING[1..], &address, &words);
    awaited(&runner, &address, &words);
    assert!(began.elapsed().as_secs() < 90, "{:?}", began.elapsed());
    drop(listener);
    refused(&runner, &CONNECTING[1..], &address, &words);
    let ran = runner.exec(&["--broker", &address, "--wait-for-workers", "1s"]).expect(4);
    ran.says(&["the run waits for the broker", "the run had no worker for 1 s"]);
}

#[test]
fn runs_wait_for_their_broker() {
    let (runner, mut broker) = (Runner::new(&["hostile"]), Broker::start());
    numbered(&runner, 10, 1);
    broker.kill();
    let address = broker.address();
    let mut running = runner.started(&["exec", "scenario.toml", "--broker", &address]);
    wait_for_message(&mut running, "the run waits for the broker");
    wait_for_message(&mut running, "the run has no worker");
    running.end_by(Signal::INT).0.expect(130);
    let mut resumed = runner.started(&["resume", "--broker", &address]);
    wait_for_message(&mut resumed, "the run waits for the broker");
    broker.restart();
    let _worker = start_worker(&runner, &address, "a", &[]);
    resumed.finish().expect(0);
    assert_whole(&runner, 20);
}

#[test]
fn earlier_name_of_the_variable_is_an_error() {
    let runner = Runner::new(&["hostile"]);
    numbered(&runner, 1, 1);
    for args in [&["exec", "scenario.toml"][..], &["resume"], &["worker"], &["broker", "check"]] {
        let mut command = runner.command(args);
        let ran = Running::start(command.env("RUNNER_ENGINE", "nats://127.0.0.1:1")).finish();
        ran.expect(2).says(&["`RUNNER_ENGINE` is set; unset it", "use `RUNNER_BROKER`"]);
    }
    assert!(runner.runs().is_empty());
}

#[test]
fn server_without_jetstream_is_refused() {
    let broker = Broker::without_jetstream();
    let runner = Runner::new(&["hostile"]);
    numbered(&runner, 1, 1);
    let all = [CONNECTING, &[WORKER]].concat();
    refused(&runner, &all, &broker.address(), &["has no JetStream", "nats-server --jetstream"]);
}

#[test]
fn other_machines_need_tls() {
    let runner = Runner::new(&["hostile"]);
    numbered(&runner, 1, 1);
    // No packet leaves: nothing answers at an address for documentation.
    let address = ["--broker", "nats://192.0.2.1:4222"];
    runner.exec(&[&address[..], &["--wait-for-workers", "1s"]].concat()).expect(4);
    let worker = [&["worker"], &address[..]].concat();
    runner.run(&worker).expect(2).says(&["runner broker key FILE", "--accept-unsigned"]);
}

#[test]
fn flags_without_a_broker_are_refused() {
    let runner = Runner::new(&["hostile"]);
    numbered(&runner, 1, 1);
    for flag in
        ["--worker-label=a=b", "--wait-for-workers=1s", "--broker-ca=x", "--broker-insecure"]
    {
        let name = flag.split('=').next().unwrap();
        runner.refused(&[flag], &[name, "`--broker ADDRESS`"]);
    }
    for args in [&["worker"][..], &["worker", "list"], &["broker", "check"]] {
        runner.run(args).expect(2).says(&["`--broker ADDRESS` is missing", "RUNNER_BROKER"]);
    }
    runner.pipe("pipe");
    let args = ["worker", "list", "--broker", "nats://127.0.0.1:1", "--broker-ca", "pipe"];
    runner.run(&args).expect(2).says(&["cannot use `pipe`: it is not a regular file"]);
    for ceiling in ["all=1", "net", "secret=a b", "fs=relative", "scratch=x", "x=y"] {
        let args = ["worker", "--broker", "nats://127.0.0.1:1", "--ceiling", ceiling];
        runner.run(&args).expect(2).says(&[&format!("invalid ceiling `{ceiling}`")]);
    }
}
