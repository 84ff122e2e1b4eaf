//! The blocks of `docs/workers.md`: two terminals, permissions, a service and a deployment.

#[expect(dead_code, reason = "these tests need only the blocks of one page")]
#[path = "../docs/pages.rs"]
mod pages;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use rcgen::{CertificateParams, KeyPair};
use rustix::process::Signal;

use self::pages::blocks;
use super::network::{Broker, free_port, nats_server, started, wait_for_message};
use super::support::{
    guests::root,
    runner::{PROGRAM, Runner},
    running::{Running, finished},
    truth::assert_whole,
    wait::wait_until,
};

const PAGE: &str = "docs/workers.md";

/// Returns the blocks of a language that this test runs, in their order.
fn texts(language: &str) -> Vec<String> {
    let own = blocks(PAGE).into_iter().filter(|block| block.condition("in") == Some("machines"));
    let texts = own.filter(|block| block.language == language).map(|block| block.text);
    texts.collect()
}

/// Returns a folder with the page's scenario.
fn folder() -> Runner {
    let runner = Runner::new(&[]);
    let scenario = blocks(PAGE).into_iter().find(|block| block.language == "toml");
    runner.scenario(&scenario.unwrap().text);
    runner
}

/// Returns a terminal in which `runner` and `nats-server` can be typed.
fn terminal(runner: &Runner, script: &str) -> Command {
    let _ = fs::create_dir(runner.path("bin"));
    for (name, program) in [("runner", PathBuf::from(PROGRAM)), ("nats-server", nats_server())] {
        let _ = std::os::unix::fs::symlink(program, runner.path("bin").join(name));
    }
    let mut command = runner.program("sh");
    let path = format!("{}:{}", runner.path("bin").display(), env::var("PATH").unwrap());
    command.env("PATH", path).args(["-eu", "-c", script]);
    command
}

#[test]
fn three_terminals_of_the_page_run() {
    let (runner, port) = (folder(), free_port());
    let [server, worker, run, signed] = &texts("sh")[..] else { panic!("{:?}", texts("sh")) };
    // The port of the page may be in use.
    let typed = |script: &str| {
        let script = script.replace("nats-server ", &format!("exec nats-server --port {port} "));
        script.replace("4222", &port.to_string())
    };
    let _server = Running::start(&mut terminal(&runner, &typed(server)));
    wait_until("the server listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let worker = typed(worker).trim().replace("runner worker", "exec runner worker");
    let mut unsigned = started(Running::start(&mut terminal(&runner, &worker)));
    let ran = Running::start(&mut terminal(&runner, &typed(run))).finish().expect(0);
    ran.says(&["passed: 20 of 20"]);
    assert_whole(&runner, 20);
    let public = runner.run(&["broker", "key", "runs.key"]).expect(0).stdout;
    let key = format!("{worker} --broker-key {public}");
    let worker = started(Running::start(&mut terminal(&runner, &key)));
    let export = format!("export RUNNER_BROKER=nats://127.0.0.1:{port}\n");
    let ran = Running::start(&mut terminal(&runner, &(export + signed))).finish().expect(0);
    assert!(ran.stdout.starts_with(&public), "{}", ran.stdout);
    ran.says(&["passed: 20 of 20"]);
    wait_for_message(&mut unsigned, "it is signed, and the worker has no key");
    for worker in [unsigned, worker] {
        worker.end_by(Signal::INT).0.expect(0);
    }
}

#[test]
fn roles_of_the_page_keep_workers_from_offering_runs() {
    let runner = folder();
    let [config] = &texts("text")[..] else { panic!() };
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap().pem();
    fs::write(folder.path().join("server.pem"), &certificate).unwrap();
    fs::write(folder.path().join("server.key"), key.serialize_pem()).unwrap();
    runner.write("ca.pem", &certificate);
    let passwords = [("RUNS_PASSWORD", "run-secret"), ("WORKERS_PASSWORD", "work-secret")];
    let broker = Broker::of_page(folder, config, &passwords);
    let address = |user: &str| format!("nats://{user}@localhost:{}", broker.port);
    let (runs, workers) = (address("runs:run-secret"), address("workers:work-secret"));
    let tls = ["--broker-ca", "ca.pem"];
    let check =
        |address: &str| runner.run(&[&["broker", "check", "--broker", address], &tls[..]].concat());
    check(&runs).expect(0).says(&["allows runs: yes", "allows workers: no"]);
    check(&workers).expect(0).says(&["allows runs: no", "allows workers: yes"]);
    let args = [&["worker", "--broker", &workers, "--store", "store"][..], &tls].concat();
    let worker = started(runner.started(&args));
    let exec = |address: &str| runner.exec(&[&["--broker", address], &tls[..]].concat());
    exec(&runs).expect(0);
    assert_whole(&runner, 20);
    exec(&workers).expect(3).says(&["$KV.runner-offers"]);
    worker.end_by(Signal::INT).0.expect(0);
    // Without the certificate, the server is not trusted.
    runner.exec(&["--broker", &runs]).expect(3).says(&["--broker-ca"]);
}

#[test]
fn service_of_the_page_is_valid() {
    let [unit] = &texts("ini")[..] else { panic!() };
    let runner = Runner::new(&[]);
    runner.write("worker.service", unit.replace("/usr/bin/runner", PROGRAM));
    if !Path::new("/usr/bin/systemd-analyze").exists() {
        return;
    }
    let mut verify = Command::new("/usr/bin/systemd-analyze");
    let printed = finished(verify.arg("verify").arg(runner.path("worker.service"))).stderr;
    // Other units of the machine may have mistakes.
    assert!(!printed.contains("worker.service"), "{printed}");
}

#[test]
fn deployment_of_the_page_is_yaml() {
    let [deployment] = &texts("yaml")[..] else { panic!() };
    let runner = Runner::new(&[]);
    runner.write("deployment.yaml", deployment);
    let script =
        "import sys, yaml; print([one['kind'] for one in yaml.safe_load_all(open(sys.argv[1]))])";
    let python = root().join("target/tools/api/bin/python");
    let mut python = Command::new(python);
    python.args(["-c", script]).arg(runner.path("deployment.yaml"));
    let printed = finished(&mut python).stdout;
    assert_eq!(printed.trim(), "['Deployment', 'HorizontalPodAutoscaler']");
}
