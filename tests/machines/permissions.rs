//! The permissions of `docs/workers.md`: all that runs and workers need, and no more.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::faults::supervised_worker;
use super::network::{
    Broker, Client, RawMessage, alone, canonical, numbered, start_new_worker, start_worker,
    started, used_workers, wait_for_message, worker_command,
};
use super::support::{
    guests::{component, counted, root},
    runner::{Runner, tests},
    running::Running,
    truth::assert_whole,
    wait::wait_until,
};

/// Returns the documented users and their permissions.
fn roles() -> String {
    let page = fs::read_to_string(root().join("docs/workers.md")).unwrap();
    let (_, roles) = page.split_once("\nruns = ").unwrap();
    let (roles, _) = roles.split_once("```").unwrap();
    format!("runs = {roles}").replace("$RUNS_PASSWORD", "p").replace("$WORKERS_PASSWORD", "p")
}

const RUNS: &str = "runs:p";
const WORKERS: &str = "workers:p";

fn address(broker: &Broker, user: &str) -> String {
    format!("nats://{user}@127.0.0.1:{}", broker.port)
}

/// Starts a server with the documented roles, and creates its stores.
fn broker_with_roles(runner: &Runner) -> Broker {
    let broker = Broker::with(&roles());
    runner.run(&["broker", "check", "--broker", &address(&broker, RUNS)]).expect(0);
    broker
}

/// Returns the document of `broker check`.
#[track_caller]
fn checked(runner: &Runner, address: &str) -> Value {
    runner.run(&["broker", "check", "--json", "--broker", address]).expect(0).document()
}

#[test]
fn roles_allow_secrets_large_plugins_and_attachments() {
    let runner = Runner::new(&[]);
    let broker = broker_with_roles(&runner);
    // A section that programs ignore.
    let padding = [b"\x07padding".to_vec(), vec![b'x'; 10 << 20]].concat();
    let plugin = fs::read(component("hostile")).unwrap();
    runner.write("plugin.wasm", [plugin, vec![0], counted(&padding)].concat());
    runner.write("large.bin", vec![7; 3 << 20]);
    runner.write("worker.env", "KEY=hunter2 of the worker");
    runner.scenario(&format!(
        "[providers.hostile]\nplugin = \"plugin.wasm\"\ngrants = {{ secrets = [\"KEY\"] }}\n{}\n{}",
        tests("a | { do = \"secret\" } | equals = \"[secret KEY]\""),
        "[[tests]]\nid = \"files\"\ninput = { do = \"echo\", value = 1 }\nfiles = { \"large.bin\" = \"large.bin\" }\n"
    ));
    let args = ["--ceiling", "secret=KEY", "--secret-file", "worker.env"];
    let mut command = worker_command(&runner, &address(&broker, WORKERS), "a", &args);
    command.env("RUNNER_CACHE", runner.path("cache-a"));
    let worker = started(Running::start(&mut command));
    runner.exec(&["--broker", &address(&broker, RUNS)]).expect(0);
    assert_eq!(used_workers(&assert_whole(&runner, 2)), ["a"]);
    worker.end_by(Signal::INT).0.expect(0);
    let log = broker.log();
    let violation = log.lines().find(|line| line.contains("Violation") && !line.contains("check"));
    assert_eq!(violation, None);
}

#[test]
fn roles_survive_restarts_and_a_lost_store() {
    let runner = Runner::new(&["hostile"]);
    // The second worker joins long before the end, also on a busy machine.
    numbered(&runner, 200, 300);
    let expected = alone(&runner);
    let mut broker = broker_with_roles(&runner);
    let (runs, workers) = (address(&broker, RUNS), address(&broker, WORKERS));
    let _first = start_worker(&runner, &workers, "a", &[]);
    let mut running = runner.start(&["--broker", &runs]);
    running.wait_for_rows(20);
    broker.restart();
    running.wait_for_rows(60);
    broker.wipe();
    broker.restart();
    // The run creates the stores again, and stores the plugins that this worker needs.
    let _second = start_new_worker(&runner, &workers, "b", "16");
    wait_until("both workers are listed", || {
        let list = ["worker", "list", "--json", "--broker", &runs];
        let listed = runner.run(&list).expect(0).document();
        listed["workers"].as_array().unwrap().len() == 2
    });
    running.finish().expect(0);
    let run = assert_whole(&runner, 400);
    assert_eq!(canonical(&run), expected);
    assert!(run.rows().iter().all(|row| row["attempt"] == 1), "an attempt was made twice");
    assert_eq!(used_workers(&run), ["a", "b"]);
}

#[test]
fn roles_survive_a_killed_server_of_a_cluster() {
    let (runner, mut cluster) = (Runner::new(&["hostile"]), Broker::cluster_with(&roles()));
    numbered(&runner, 100, 30);
    let expected = alone(&runner);
    let addresses = |user: &str| cluster.each_ref().map(|server| address(server, user)).join(",");
    let (runs, workers) = (addresses(RUNS), addresses(WORKERS));
    let first = Running::start(&mut worker_command(&runner, &workers, "a", &["-j2"]));
    let mut running = runner.start(&["--broker", &runs]);
    let _first = started(first);
    running.wait_for_rows(20);
    cluster[0].kill();
    let _second = supervised_worker(&runner, &workers, "b");
    running.finish().expect(0);
    let run = assert_whole(&runner, 200);
    assert_eq!(canonical(&run), expected);
    assert!(run.rows().iter().all(|row| row["attempt"] == 1), "an attempt was made twice");
}

#[test]
fn worker_waits_for_stores_that_it_may_not_create() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::with(&roles()));
    numbered(&runner, 5, 1);
    let workers = address(&broker, WORKERS);
    runner.exec(&["--broker", &workers]).expect(3).says(&["do not allow runs"]);
    let mut worker = Running::start(&mut worker_command(&runner, &workers, "a", &[]));
    wait_for_message(&mut worker, "credentials of the role `runs`; the worker keeps trying");
    assert_eq!(checked(&runner, &workers)["allows_workers"], true);
    runner.exec(&["--broker", &address(&broker, RUNS)]).expect(0);
    assert_eq!(used_workers(&assert_whole(&runner, 10)), ["a"]);
    worker.end_by(Signal::INT).0.expect(0);
}

#[test]
fn printed_permissions_are_the_documented_ones() {
    let runner = Runner::new(&[]);
    let broker = broker_with_roles(&runner);
    let block: Vec<_> = roles().lines().take(2).map(ToOwned::to_owned).collect();
    for (user, runs, workers) in [(RUNS, "yes", "no"), (WORKERS, "no", "yes")] {
        let ran = runner.run(&["broker", "check", "--broker", &address(&broker, user)]).expect(0);
        ran.says(&[&format!("allows runs: {runs}"), &format!("allows workers: {workers}")]);
        let printed: Vec<_> = ran.stdout.lines().filter(|line| line.contains(" = {")).collect();
        assert_eq!(printed, block);
        let document = checked(&runner, &address(&broker, user));
        for (role, line) in [("runs", &block[0]), ("workers", &block[1])] {
            let subjects = document["permissions"][role].as_array().unwrap();
            let subjects: Vec<_> = subjects.iter().map(ToString::to_string).collect();
            assert_eq!(*line, format!("{role} = {{ publish: [ {} ] }}", subjects.join(", ")));
        }
    }
}

#[test]
fn each_permission_is_needed() {
    let (runner, open) = (Runner::new(&[]), Broker::start());
    let address_of = |broker: &Broker, user: &str| address(broker, &format!("{user}:p"));
    let mut users = Vec::new();
    for role in ["runs", "workers"] {
        let subjects = |user: &str| -> Vec<String> {
            let document = checked(&runner, &address_of(&open, user));
            serde_json::from_value(document["permissions"][role].clone()).unwrap()
        };
        for number in 0..subjects("x").len() {
            let user = format!("{role}-{number}");
            let mut allowed = subjects(&user);
            let missing = allowed.remove(number);
            users.push((role, user, missing, allowed));
        }
    }
    let listed = users.iter().map(|(_, user, _, allowed)| {
        let permissions = json!({"publish": allowed});
        json!({"user": user, "password": "p", "permissions": permissions}).to_string()
    });
    let listed: Vec<_> = listed.collect();
    let all = r#"{"user": "all", "password": "p"}"#;
    let users_of_server = format!("authorization: {{ users: [{all}, {}] }}", listed.join(", "));
    let broker = Broker::with(&users_of_server);
    runner.run(&["broker", "check", "--broker", &address_of(&broker, "all")]).expect(0);
    for (role, user, missing, _) in users {
        let address = address_of(&broker, &user);
        let ran = runner.run(&["broker", "check", "--json", "--broker", &address]);
        if missing.contains("STREAM.INFO") {
            ran.expect(3).says(&["$JS.API.STREAM.INFO."]);
            continue;
        }
        let document = ran.document();
        assert_eq!(document[format!("allows_{role}")], false, "{missing}: {document}");
        let problems = document["problems"].as_array().unwrap();
        let own = problems.iter().filter_map(|problem| problem.as_str()?.strip_prefix(role));
        assert_eq!(own.collect::<Vec<_>>(), [format!(": no permission to publish on `{missing}`")]);
    }
}

#[test]
fn workers_are_listed_for_runs_only() {
    let runner = Runner::new(&[]);
    let broker = broker_with_roles(&runner);
    let _worker = start_worker(&runner, &address(&broker, WORKERS), "a", &[]);
    let list = |user: &str| runner.run(&["worker", "list", "--broker", &address(&broker, user)]);
    list(RUNS).expect(0).says(&["a"]);
    list(WORKERS).expect(3).says(&["credentials of the role `runs`"]);
}

#[test]
fn own_entry_of_a_worker_is_not_sent_as_an_offer() {
    let runner = Runner::new(&[]);
    let broker = broker_with_roles(&runner);
    let [mut offers, mut links] = [(); 2].map(|()| Client::login(&broker, "workers"));
    offers.subscribe("$KV.runner-offers.>");
    links.subscribe("runner.link.*.down");
    let mut hostile = Client::login(&broker, "workers");
    hostile.publish("$KV.runner-workers.a", b"a forged offer");
    // The responses of the server, which needs no permission, have the content of the entry.
    for reply in ["$KV.runner-offers.a", "runner.link.a.down"] {
        for (request, payload) in [
            ("DIRECT.GET.KV_runner-workers", r#"{"seq":1,"next_by_subj":"$KV.runner-workers.a"}"#),
            ("DIRECT.GET.KV_runner-workers.$KV.runner-workers.a", ""),
            ("STREAM.MSG.GET.KV_runner-workers", r#"{"last_by_subj":"$KV.runner-workers.a"}"#),
        ] {
            let request = RawMessage::new(format!("$JS.API.{request}"), payload);
            hostile.put(&RawMessage { reply: reply.to_owned(), ..request });
        }
    }
    let refused = || broker.log().matches("user:workers\" - Publish Violation").count();
    wait_until("the requests are refused", || refused() == 6);
    let mut runs = Client::login(&broker, "runs");
    for (client, subject) in
        [(&mut offers, "$KV.runner-offers.b"), (&mut links, "runner.link.b.down")]
    {
        runs.publish(subject, b"");
        assert_eq!(client.next(), subject);
    }
}

/// Starts a server whose account requires a bound of each stream.
fn bounded_account(limits: &str) -> Broker {
    Broker::with(&format!(
        "accounts {{ A {{ jetstream {{ max_bytes_required: true, {limits} }}, users: [{{ user: a, password: p }}] }} }}"
    ))
}

#[test]
fn account_may_require_bounds() {
    let broker = bounded_account("max_mem: 64MB, max_file: 100MB");
    let runner = Runner::new(&["hostile"]);
    numbered(&runner, 10, 1);
    let address = address(&broker, "a:p");
    let _worker = start_worker(&runner, &address, "a", &[]);
    runner.exec(&["--broker", &address]).expect(0);
    assert_whole(&runner, 20);
    let document = checked(&runner, &address);
    assert_eq!(
        (&document["allows_runs"], &document["allows_workers"]),
        (&json!(true), &json!(true))
    );
}

#[test]
fn account_without_room_is_explained() {
    let runner = Runner::new(&["hostile"]);
    numbered(&runner, 1, 1);
    for (limits, setting) in [
        ("max_mem: 100KB, max_file: 1GB", "max_mem"),
        ("max_mem: 1GB, max_file: 100KB", "max_file"),
        ("max_mem: 1GB, max_file: 1GB, max_streams: 1", "max_streams"),
    ] {
        let broker = bounded_account(limits);
        let ran = runner.exec(&["--broker", &address(&broker, "a:p")]).expect(3);
        ran.says(&["has no space left", &format!("`{setting}` of the account")]);
        assert!(!ran.stderr.contains("credentials"), "{}", ran.stderr);
    }
}
