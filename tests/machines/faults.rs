//! Workers, brokers and coordinators that are killed, suspended and cut off. The rows stay those of one machine.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::json;

use super::network::{
    Broker, Cable, Client, alone, canonical, join_request, numbered, start_new_worker,
    start_worker, started, used_workers, wait_for_message, worker_command,
};
use super::support::{
    random::{Random, times},
    runner::Runner,
    running::Running,
    server::{Response, Server},
    truth::{assert_kept, assert_whole},
    wait::{STOP_WITHIN, wait_for, wait_until},
    web,
};

/// Returns the seconds of a short and of a full test.
fn seconds(few: usize, many: usize) -> Duration {
    Duration::from_secs(times(few, many) as u64)
}

/// Waits for the time of a fault.
fn last(time: Duration) {
    // A cut lasts for a time, and not until a condition holds.
    std::thread::sleep(time);
}

#[test]
fn storm_of_kills_changes_no_row() {
    let (runner, mut broker) = (Runner::new(&["hostile"]), Broker::start());
    let (trials, machines, kills) = (times(600, 40_000), times(4, 10), times(6, 30));
    numbered(&runner, trials / 2, times(150, 30) as u64);
    let (address, expected) = (broker.address(), alone(&runner));
    let start = |number: usize| {
        let name = format!("w{number}");
        Running::start(&mut worker_command(&runner, &address, &name, &["--jobs", "2"]))
    };
    let mut workers: Vec<Running> = (0..machines).map(start).map(started).collect();
    let mut running = runner.start(&["--broker", &address]);
    let mut random = Random::new();
    for kill in 0..kills {
        // The last kill comes after half of the run, however long a worker takes to start.
        running.wait_for_rows(10 + kill * trials / (2 * kills));
        if kill == kills / 2 {
            broker.restart();
        }
        let victim = workers.swap_remove(random.below(workers.len()));
        victim.kill();
        workers.push(start(machines + kill));
    }
    assert!(running.is_alive(), "it ended before the last kill:\n{}", running.shown());
    running.finish().expect(0);
    assert_eq!(canonical(&assert_whole(&runner, trials)), expected);
}

#[test]
fn restarted_and_wiped_brokers_change_no_row() {
    let (runner, mut broker) = (Runner::new(&["hostile"]), Broker::start());
    // The second worker joins long before the end, also on a busy machine.
    numbered(&runner, 200, 300);
    let (address, expected) = (broker.address(), alone(&runner));
    let _first = start_worker(&runner, &address, "a", &[]);
    let mut running = runner.start(&["--broker", &address]);
    running.wait_for_rows(20);
    broker.restart();
    running.wait_for_rows(60);
    broker.wipe();
    last(seconds(1, 80));
    broker.restart();
    // The content that it needs is stored again.
    let _second = start_new_worker(&runner, &address, "b", "16");
    running.finish().expect(0);
    let run = assert_whole(&runner, 400);
    assert_eq!(canonical(&run), expected);
    assert!(run.rows().iter().all(|row| row["attempt"] == 1), "an attempt was made twice");
    assert_eq!(used_workers(&run), ["a", "b"]);
}

/// Cuts the cable of the coordinator or of the worker during a run.
fn cut(is_of_worker: bool) {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    numbered(&runner, 100, 100);
    let expected = alone(&runner);
    let (cable, direct) = (Cable::to(&broker), broker.address());
    let (far, near) =
        if is_of_worker { (cable.address(), direct) } else { (direct, cable.address()) };
    let _worker = start_worker(&runner, &far, "a", &[]);
    let mut running = runner.start(&["--broker", &near]);
    running.wait_for_rows(20);
    cable.cut(true);
    last(seconds(3, 30));
    cable.cut(false);
    running.finish().expect(0);
    let run = assert_whole(&runner, 200);
    assert_eq!(canonical(&run), expected);
    assert!(run.rows().iter().all(|row| row["attempt"] == 1), "an attempt was made twice");
}

#[test]
fn cut_worker_makes_no_attempt_twice() {
    cut(true);
}

#[test]
fn cut_coordinator_makes_no_attempt_twice() {
    cut(false);
}

#[test]
fn killed_coordinator_is_resumed_with_same_workers() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    // The coordinator is killed long before the end, also on a busy machine.
    numbered(&runner, 200, 100);
    let (address, expected) = (broker.address(), alone(&runner));
    let mut worker = start_worker(&runner, &address, "a", &[]);
    let mut running = runner.start(&["--broker", &address]);
    running.wait_for_rows(30);
    let told = running.kill().acknowledged();
    runner.run(&["resume", "--broker", &address]).expect(0);
    let run = assert_whole(&runner, 400);
    assert_kept(&run, &told);
    assert_eq!(canonical(&run), expected);
    // The worker stops its attempts for the dead coordinator.
    wait_for_message(&mut worker, "left run");
}

#[test]
fn spare_processes_of_gone_workers_are_not_kept() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    numbered(&runner, 10, 1);
    let mut client = Client::connect(&broker);
    client.subscribe("$KV.runner-offers.>");
    let running = runner.start(&["--broker", &broker.address()]);
    // The first entry tests the credentials, and is removed again.
    let tested = client.next();
    let offer = wait_for("the session is offered", || {
        let subject = client.next();
        (subject != tested).then_some(subject)
    });
    let session = offer.rsplit('.').next().unwrap();
    let subject = format!("runner.join.{session}.anonymous");
    let threads = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", running.process().0));
        tasks.unwrap().count()
    };
    let mut joined = 0;
    // Nothing has subscribed at the other ends of the links, as after the death of a worker.
    let mut join = || {
        let join = join_request(session, joined, env!("CARGO_PKG_VERSION"));
        client.publish(&subject, join.as_bytes());
        joined += 1;
        Instant::now()
    };
    for _ in 0..200 {
        join();
    }
    // The first ones may be dropped before the last ones have joined.
    wait_until("they have joined", || {
        let are_there = threads() >= 200;
        if !are_there {
            join();
        }
        are_there
    });
    let mut last = Instant::now();
    wait_until("they are dropped", || {
        if last.elapsed() > Duration::from_millis(200) {
            last = join();
        }
        threads() < 100
    });
    running.end_by(Signal::INT);
}

#[test]
fn attempts_of_a_killed_worker_run_elsewhere_soon() {
    let (runner, broker) = (Runner::endless(2, "loop", ""), Broker::start());
    let address = broker.address();
    let first = start_worker(&runner, &address, "a", &[]);
    let mut running = runner.start(&["--broker", &address]);
    running.wait_until_running(&runner, 2);
    let second = start_worker(&runner, &address, "b", &[]);
    first.kill();
    let killed = Instant::now();
    wait_until("they run again", || {
        assert!(running.is_alive(), "{}", running.shown());
        let attempts = runner.only_run().in_flight(std::time::SystemTime::UNIX_EPOCH);
        attempts.len() == 2 && attempts.iter().all(|(_, attempt)| *attempt == 2)
    });
    // The coordinator itself has to be connected for 10 s. A worker that is only silent is lost after 60 s.
    assert!(killed.elapsed() < Duration::from_secs(40), "{:?}", killed.elapsed());
    running.end_by(Signal::INT);
    drop(second);
}

#[test]
fn agents_of_a_killed_worker_continue_elsewhere() {
    let is_killed = Arc::<AtomicBool>::default();
    let may_continue = Arc::clone(&is_killed);
    let server = Server::start(move |request| {
        // No agent ends before its worker is killed: each waits in its eleventh step.
        let step = request.path.rsplit('/').next().unwrap().parse::<u32>().unwrap();
        wait_until("the worker is killed", || step <= 10 || may_continue.load(Ordering::SeqCst));
        Response::ok(format!("answer to {} of {} bytes", request.path, request.body.len()))
    });
    let net = web::net(&[&server.origin()]);
    let agents = [0, 1].map(|agent| {
        vec![json!({ "by": "agent", "url": server.url(&format!("/{agent}")), "size": 40 })]
    });
    let runner = web::scenario("", &net, &agents);
    let scenario = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&format!("[run]\njournal = true\n{scenario}"));
    let broker = Broker::start();
    let address = broker.address();
    let ceiling = format!("net={}", server.origin());
    let start = |name: &str| start_worker(&runner, &address, name, &["--ceiling", &ceiling]);
    let first = start("a");
    let running = runner.start(&["--broker", &address]);
    server.wait_for_requests(22);
    let _second = start("b");
    first.kill();
    is_killed.store(true, Ordering::SeqCst);
    running.finish().expect(0);
    let run = assert_whole(&runner, 2);
    let rows = run.rows();
    assert!(rows.iter().all(|row| row["continued"] == 1 && row["attempt"] == 1), "{rows:?}");
    assert!(rows.iter().all(|row| row["worker"].as_str().unwrap().starts_with("b/")), "{rows:?}");
    // Each agent had one request in flight.
    let requests = server.requests().len();
    assert!((80..=82).contains(&requests), "{requests}");
    runner.run(&["verify"]).expect(0);
}

#[test]
fn agent_of_two_killed_and_cut_workers_pays_once_but_for_requests_in_flight() {
    // In a short test, the agent lasts for several of the deaths, also if these come late.
    let pause = Duration::from_millis(times(80, 5) as u64);
    let server = Server::start(move |request| {
        // A delay of the server itself.
        thread::sleep(pause);
        Response::ok(format!("answer to {} of {} bytes", request.path, request.body.len()))
    });
    let (steps, most) = (times(60, 200), times(4, 50));
    let request = json!({ "by": "agent", "url": server.url(""), "size": steps });
    let limits = "[providers.web.limits]\nhttp_requests = 300";
    let runner = web::scenario(limits, &web::net(&[&server.origin()]), &[vec![request]]);
    let scenario = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    let run = "[run]\njournal = true\nclock = 2020-01-01T00:00:00Z\n";
    runner.scenario(&[run, &scenario].concat());
    let broker = Broker::start();
    let (cable, direct) = (Cable::to(&broker), broker.address());
    let ceiling = format!("net={}", server.origin());
    let start_workers = |round: usize| {
        [("near", &direct), ("far", &cable.address())].map(|(name, address)| {
            start_worker(&runner, address, &format!("{name}-{round}"), &["--ceiling", &ceiling])
        })
    };
    let mut random = Random::new();
    let wait_for_request = |running: &mut Running| {
        let before = server.requests().len();
        wait_until("the agent continues or ends", || {
            server.requests().len() > before || !running.is_alive()
        });
    };
    let mut workers = start_workers(0);
    let mut deaths = 0;
    for round in 0.. {
        let args: &[&str] = if runner.runs().is_empty() {
            &["exec", "scenario.toml"]
        } else {
            &["resume", "latest"]
        };
        let mut running = runner.started(&[args, &["--broker", &direct]].concat());
        if deaths >= most {
            running.finish().expect(0);
            break;
        }
        wait_for_request(&mut running);
        last(random.up_to(Duration::from_millis(30)));
        match round % 3 {
            // The coordinator alone.
            0 => {}
            1 => {
                cable.cut(true);
                last(random.up_to(Duration::from_millis(300)));
                cable.cut(false);
            }
            // The session continues the attempt after one death of a worker, and not after a second one.
            _ => {
                workers.into_iter().for_each(|worker| drop(worker.kill()));
                deaths += 1;
                workers = start_workers(round);
                wait_for_request(&mut running);
                last(random.up_to(Duration::from_millis(30)));
            }
        }
        running.kill();
        if runner.runs().first().is_some_and(|run| !run.text("index.jsonl").is_empty()) {
            break;
        }
        deaths += 1;
    }
    assert!(deaths >= most / 2, "{deaths} deaths until the end");
    let requests = server.requests().len();
    assert!((steps..=steps + deaths + 1).contains(&requests), "{requests}, {deaths} deaths");
    assert!(assert_whole(&runner, 1).rows().iter().all(|row| row["attempt"] == 1));
    alone(&runner);
    runner.run(&["compare", "--exact", "latest", "alone/run"]).expect(0);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn suspended_worker_is_replaced_and_its_late_reports_dropped() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    numbered(&runner, 100, 20);
    let (address, expected) = (broker.address(), alone(&runner));
    let first = start_worker(&runner, &address, "a", &[]);
    let mut running = runner.start(&["--broker", &address]);
    running.wait_for_rows(10);
    first.process().signal(Signal::STOP);
    let _second = start_worker(&runner, &address, "b", &[]);
    // A suspended process stays connected: it counts as dead after 60 s.
    let suspended = seconds(2, 70);
    last(suspended);
    first.process().signal(Signal::CONT);
    running.finish().expect(0);
    let run = assert_whole(&runner, 200);
    assert_eq!(canonical(&run), expected);
    // Before, its trials may all wait for it.
    let is_replaced = used_workers(&run).contains(&"b".to_owned());
    assert!(is_replaced || suspended < Duration::from_secs(60));
}

#[test]
fn slow_connections_change_no_row() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    numbered(&runner, 100, 5);
    let expected = alone(&runner);
    let [near, far] = [Cable::slow(&broker), Cable::slow(&broker)];
    let _worker = start_worker(&runner, &far.address(), "a", &[]);
    let mut running = runner.start(&["--broker", &near.address()]);
    running.wait_for_rows(1);
    let started = Instant::now();
    running.finish().expect(0);
    assert_eq!(canonical(&assert_whole(&runner, 200)), expected);
    // A worker has enough tasks for a round trip: 200 of them one after another would take 80 s.
    assert!(started.elapsed() < Duration::from_secs(40), "{:?}", started.elapsed());
}

/// Starts a worker until it is connected, as a service does. While servers elect a leader, it may end.
pub(crate) fn supervised_worker(runner: &Runner, addresses: &str, name: &str) -> Running {
    wait_for("a worker connects", || {
        let mut worker = Running::start(&mut worker_command(runner, addresses, name, &["-j2"]));
        wait_until("it is connected or ends", || {
            worker.shown().contains(" at a time in ") || !worker.is_alive()
        });
        worker.is_alive().then_some(worker)
    })
}

#[test]
fn cluster_survives_a_killed_server() {
    let (runner, mut cluster) = (Runner::new(&["hostile"]), Broker::cluster());
    numbered(&runner, 100, 30);
    let (expected, addresses) = (alone(&runner), cluster.each_ref().map(Broker::address).join(","));
    let _worker = supervised_worker(&runner, &addresses, "a");
    let mut running = runner.start(&["--broker", &addresses]);
    running.wait_for_rows(20);
    cluster[0].kill();
    let _second = supervised_worker(&runner, &addresses, "b");
    running.finish().expect(0);
    let run = assert_whole(&runner, 200);
    assert_eq!(canonical(&run), expected);
    assert!(run.rows().iter().all(|row| row["attempt"] == 1), "an attempt was made twice");
}

#[test]
fn merged_shards_had_workers_each() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    numbered(&runner, 50, 5);
    let (address, expected) = (broker.address(), alone(&runner));
    let _workers = ["a", "b"].map(|name| start_worker(&runner, &address, name, &[]));
    let shards = ["1/2", "2/2"].map(|shard| {
        let flags = ["--shard", shard, "--into", "shards/{shard}", "--broker", &address];
        runner.start(&flags)
    });
    for shard in shards {
        shard.finish().expect(0);
    }
    let merge = ["merge", "shards/1-of-2", "shards/2-of-2", "--into", "results/whole"];
    runner.run(&merge).expect(0);
    assert_eq!(canonical(&assert_whole(&runner, 100)), expected);
}

#[test]
fn suspended_coordinator_continues_its_run() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    numbered(&runner, 100, 20);
    let (address, expected) = (broker.address(), alone(&runner));
    let _worker = start_worker(&runner, &address, "a", &[]);
    let mut running = runner.start(&["--broker", &address]);
    running.wait_for_rows(10);
    running.process().signal(Signal::STOP);
    last(seconds(2, 70));
    running.process().signal(Signal::CONT);
    running.finish().expect(0);
    assert_eq!(canonical(&assert_whole(&runner, 200)), expected);
}

#[test]
fn suspect_of_a_grader_runs_alone_here() {
    let (runner, broker) = (Runner::new(&[]), Broker::start());
    runner.scenario(
        r#"
        [providers.echo]
        plugin = "bundled:echo"
        [graders.deadly]
        plugin = "bundled:echo"
        [[tests]]
        id = "graded"
        repeat = 3
        input = 1
        expect = { graders = ["deadly"] }
        [[tests]]
        id = "other"
        input = 2
        repeat = 20
        expect = { equals = 2 }
        "#,
    );
    let address = broker.address();
    let _worker = start_worker(&runner, &address, "a", &[]);
    // Processes on the machine of the run die on each task of a grader. The worker's processes are normal.
    let mut command = runner.command(&["exec", "scenario.toml", "--broker", &address]);
    command.env("RUNNER_TEST_WORKER", "__lie");
    Running::start(&mut command).finish().expect(1);
    let run = assert_whole(&runner, 23);
    assert_eq!(run.count("passed"), 20);
    for repeat in 1..=3 {
        let trial = format!("graded@echo#{repeat}");
        let row = run.rows().into_iter().rfind(|row| row["trial"] == *trial).unwrap();
        assert_eq!(row["error"]["class"], "grader", "{row}");
        assert_eq!(row["grades"][0]["error"]["class"], "crash", "{row}");
    }
    assert_eq!(used_workers(&run), ["a"], "an attempt ran on the machine of the run");
}

#[test]
fn stop_without_a_broker_has_its_summary_and_report() {
    for is_killed in [true, false] {
        let (runner, mut broker) = (Runner::new(&["hostile"]), Broker::start());
        numbered(&runner, 100, 300);
        let _worker = start_worker(&runner, &broker.address(), "a", &[]);
        let cable = Cable::to(&broker);
        let mut running = runner.start(&["--broker", &cable.address(), "--report", "report.md"]);
        running.wait_for_rows(2);
        if is_killed {
            broker.kill()
        } else {
            cable.cut(true)
        }
        let (ran, took) = running.end_by(Signal::INT);
        ran.expect(130).says(&["\"exit_code\":130"]);
        assert!(runner.path("report.md").exists());
        assert!(took < STOP_WITHIN, "{took:?}");
    }
}
