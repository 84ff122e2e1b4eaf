//! Guests and workers that cannot be interrupted.

use std::{
    hint,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::SystemTime,
};

use rustix::process::{Signal, setpriority_process};
use serde_json::json;

use crate::support::{
    processes::Process,
    runner::{Runner, tests},
    running::Running,
    truth::assert_whole,
    wait::{wait_for, wait_until},
};

/// Keeps processors busy until it is dropped, so that a thread of low priority hardly runs.
struct Busy<'a>(&'a AtomicBool);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[test]
fn stuck_guest_is_killed_after_deadline() {
    let runner = Runner::new(&["hostile"]);
    // One instruction that writes 3 GiB. It cannot be interrupted.
    runner.wat(
        "fill.wasm",
        r#"(module (memory (export "memory") 49152)
             (func (export "_start") (memory.fill (i32.const 0) (i32.const 7) (i32.const 0xbfffffff))))"#,
    );
    // The guest is killed two seconds after its start, and must not be the last that runs: these wait for the stop.
    let naps = tests(r#"nap | { do = "wait-for-stop", until_attempt = 2 } |"#);
    runner.scenario(&format!(
        r#"
        [providers.stuck]
        plugin = "fill.wasm"
        limits = {{ memory = "4GiB" }}
        [providers.hostile]
        plugin = "hostile.wasm"
        [[tests]]
        id = "fill"
        providers = ["stuck"]
        timeout = "300ms"
        {naps}
        providers = ["hostile"]
        repeat = 5
        timeout = "10m"
        "#
    ));
    let is_busy = AtomicBool::new(true);
    let ran = thread::scope(|scope| {
        let busy = Busy(&is_busy);
        let mut running = runner.start(&["-j", "6"]);
        let (worker, thread) = wait_for("the guest computes", || {
            assert!(running.is_alive(), "it ended before");
            // The worker that has much of the memory. Another one may compute, too, while it starts.
            let is_filling =
                |worker: &Process| worker.anonymous_memory().is_some_and(|bytes| bytes > 300 << 20);
            let worker = running.workers().into_iter().find(is_filling)?;
            Some((worker, worker.busiest_thread(15)?))
        });
        setpriority_process(Some(thread), 19).unwrap();
        let cores = thread::available_parallelism().map_or(2, usize::from);
        for _ in 0..2 * cores {
            scope.spawn(|| {
                while is_busy.load(Ordering::Relaxed) {
                    hint::spin_loop();
                }
            });
        }
        running.wait_for_event(|event| event["row"]["test"] == "fill");
        drop(busy);
        wait_until("its worker is killed", || !worker.is_alive());
        assert!(running.is_alive(), "the worker ended with the run");
        // Naps on the killed worker are made again, and end.
        wait_until("each nap has started", || {
            let run = runner.only_run();
            let ended = run.rows_of("nap").iter().filter(|row| row["final"] == true).count();
            run.in_flight(SystemTime::UNIX_EPOCH).len() + ended == 5
        });
        running.end_by(Signal::INT).0
    });
    ran.expect(130);
    runner.run(&["resume", "latest"]).expect(1);
    let run = assert_whole(&runner, 6);
    let row = run.row("fill");
    assert_eq!((&row["outcome"], &row["attempt"]), (&json!("timeout"), &json!(1)), "{row}");
    for row in run.rows_of("nap") {
        let codes = ["lost", "stopped"].map(|code| row["error"]["code"] == code);
        let is_stopped = row["outcome"] == "stopped" && codes.contains(&true);
        assert!(is_stopped || row["outcome"] == "passed", "{row}");
    }
    assert_eq!(run.count("passed"), 5);
}

#[test]
fn stopped_worker_is_replaced() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"nap\"\nrepeat = 12\ninput = { do = \"sleep\", ms = 300 }\n",
    );
    let mut command = runner.command(&["exec", "scenario.toml", "--json", "-j", "2"]);
    // Otherwise ten seconds. Release builds ignore it.
    let mut running = Running::start(command.env("RUNNER_TEST_SILENCE_MS", "3000"));
    running.wait_for_rows(2);
    let worker = running.workers()[0];
    worker.signal(Signal::STOP);
    running.finish().expect(0);
    assert!(!worker.is_alive());
    let run = assert_whole(&runner, 12);
    let lost = run.rows().into_iter().filter(|row| row["outcome"] == "stopped").count();
    assert!(lost <= 2, "{lost}");
}
