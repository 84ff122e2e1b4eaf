//! The regular work of a server.

use crate::support::{http::Site, runner::Runner, running::Running, wait::wait_until};

/// Starts a server that maintains its root every 50 ms.
fn busy_server(runner: &Runner) -> Site {
    let args = ["serve", "--listen", "127.0.0.1:0", "--token-file", "token"];
    let mut command = runner.command(&args);
    Site::started(runner, Running::start(command.env("RUNNER_TEST_SWEEP_MS", "50")))
}

#[test]
fn servers_end_dead_runs_and_start_requests() {
    let runner = Runner::endless(1, "sleep", "");
    let mut running = runner.start(&[]);
    running.wait_until_running(&runner, 1);
    running.kill();
    let dead = runner.only_run();
    assert_eq!(dead.ending()[0], "running");
    let site = busy_server(&runner);
    wait_until("the dead run is ended", || dead.ending()[..2] == ["incomplete", "crashed"]);
    runner.run(&["exec", "scenario.toml", "--queue"]).expect(0);
    wait_until("the request is started", || runner.runs().len() == 2);
    // The run outlives the server that has started it, and another one stops it.
    let started = runner.runs().pop().unwrap();
    site.running.kill();
    let site = Site::start(&runner, &[]);
    assert_eq!(site.get("/runs")["counts"]["running"], 1);
    site.post(&format!("/runs/{}/stop", started.id()), &serde_json::json!({})).expect(200);
    assert_eq!(started.ending()[..2], ["incomplete", "stopped"]);
}

#[test]
fn problems_of_the_regular_work_are_printed_once() {
    let runner = Runner::new(&[]);
    std::fs::create_dir(runner.path("results")).unwrap();
    let site = busy_server(&runner);
    runner.write("results/runner.toml", "max_active_runs = 0\n");
    wait_until("the problem is printed", || site.running.shown().contains("max_active_runs"));
    let says = ["/problems/invalid-settings", "`runner.toml`", "max_active_runs"];
    site.ask("GET", "/queue", None).refuses(422, &says);
    // The server answers all the same.
    site.get("/runs");
}
