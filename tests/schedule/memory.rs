//! Memory of all running attempts together.

use std::sync::Barrier;

use serde_json::Value;

use crate::messages::outputs::snapshot;
use crate::support::runner::Runner;
use crate::support::server::{Response, Server};
use crate::support::truth::assert_consistent;

#[test]
fn limits_above_all_memory_are_refused() {
    let runner = Runner::hostile(
        r#"
        [run]
        memory = "1MiB"
        [[tests]]
        id = "a"
        input = { do = "grow-memory", count = 100 }
        repeat = 3
        "#,
    );
    snapshot(&runner.refused(&["-j", "2"], &[]));
}

#[test]
fn full_share_makes_attempt_again() {
    let runner = Runner::hostile(
        r#"
        [run]
        memory = "256MiB"
        [defaults]
        timeout = "3s"
        [[tests]]
        id = "small"
        input = { do = "echo", value = 1 }
        repeat = 10
        [[tests]]
        id = "large"
        input = { do = "fill-memory" }
        expect = { error = "timeout" }
        repeat = 2
        "#,
    );
    runner.exec(&["-j", "2"]).expect(0);
    let run = runner.only_run();
    // Twice the peak of the small attempts is reserved, and two large ones do not fit together.
    let rows = run.rows_of("large");
    let told: Vec<_> =
        rows.iter().map(|row| (row["outcome"].as_str().unwrap(), row["final"] == true)).collect();
    let mut outcomes = told.clone();
    outcomes.sort_unstable();
    assert_eq!(outcomes, [("passed", true), ("passed", true), ("stopped", false)], "{told:?}");
    let stopped = rows.iter().find(|row| row["outcome"] == "stopped").unwrap();
    assert_eq!(stopped["error"]["code"], "host-memory");
    let message = stopped["error"]["message"].as_str().unwrap();
    assert!(message.contains("`memory` in `[run]`"), "{message}");
    assert_consistent(&runner);
}

#[test]
fn large_stacks_count_as_memory() {
    two_fit(r#"limits = { memory = "2MiB", stack = "16MiB" }"#);
}

/// Also once smaller peaks have been measured, which are without tools.
#[test]
fn largest_tool_counts_as_memory() {
    two_fit(
        r#"
        limits = { memory = "2MiB" }
        grants = { tools = ["small", "large"] }
        [tools.small]
        plugin = "bundled:echo"
        limits = { memory = "2MiB" }
        [tools.large]
        plugin = "bundled:echo"
        limits = { memory = "16MiB" }
        "#,
    );
}

/// A tool has a place in addition to that of its caller.
#[test]
fn all_attempts_of_a_worker_are_in_a_tool_at_once() {
    let barrier = Barrier::new(4);
    let server = Server::start(move |_| {
        // This is a thread of the server, which ends with the tests.
        barrier.wait();
        Response::ok("all")
    });
    let runner = Runner::new(&["contract-0-1-1-everything"]);
    runner.scenario(&format!(
        r#"
        [run]
        memory = "1GiB"
        # The memory is enough for one worker with it.
        [providers.large]
        plugin = "bundled:echo"
        limits.memory = "600MiB"
        [providers.agent]
        plugin = "contract-0-1-1-everything.wasm"
        limits.memory = "16MiB"
        grants.tools = ["fetch"]
        [tools.fetch]
        plugin = "contract-0-1-1-everything.wasm"
        limits.memory = "16MiB"
        grants.net = ["{}"]
        [[tests]]
        id = "large"
        providers = ["large"]
        input = 1
        [[tests]]
        id = "a"
        providers = ["agent"]
        input = {{ call = "fetch", input = {{ get = "{}" }} }}
        expect.equals = {{ ok = "all" }}
        repeat = 4
        "#,
        server.origin(),
        server.url("/")
    ));
    runner.exec(&["-j", "4"]).expect(0);
}

/// Runs attempts of a provider with these keys, two of which fit into the memory of the run.
#[track_caller]
fn two_fit(keys: &str) {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&format!(
        r#"
        [run]
        memory = "36MiB"
        [providers.hostile]
        plugin = "hostile.wasm"
        {keys}
        [[tests]]
        id = "a"
        input = {{ do = "sleep", ms = 300 }}
        repeat = 14
        "#,
    ));
    runner.exec(&["-j", "6"]).expect(0);
    let rows = runner.only_run().rows();
    let start = |row: &Value| {
        let time = row["started_at"].as_str().unwrap();
        let (minutes, seconds) = time[14..23].split_once(':').unwrap();
        minutes.parse::<f64>().unwrap() * 60e3 + seconds.parse::<f64>().unwrap() * 1e3
    };
    for row in &rows {
        // A start within the first half of another attempt is at the same time for certain.
        let after = rows.iter().map(|other| (start(row) - start(other)).rem_euclid(3600e3));
        let together = after.filter(|after| *after < 150.0).count();
        assert!(together <= 2, "{rows:?}");
    }
}
