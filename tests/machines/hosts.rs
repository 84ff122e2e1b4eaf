//! Runs over a network that delays packets, loses packets and is cut. The broker, the coordinator and each worker have their
//! own network namespace. `network.py` forwards the packets, because not every kernel has `tc netem`.
//!
//! Needs root, Debian's `iproute2` and Python. The tests are skipped where no namespace can be created.

#![expect(clippy::print_stderr, reason = "skipped tests print the reason")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

use rustix::process::Signal;

use super::network::{
    alone, canonical, nats_server, numbered, started, used_workers, wait_for_message,
};
use super::support::{
    guests::root,
    random::times,
    runner::{PROGRAM, Runner},
    running::Running,
    truth::assert_whole,
    wait::wait_until,
};

const BROKER: usize = 1;
const RUN: usize = 2;
const ADDRESS: &str = "nats://10.0.0.1:4222";

/// Hosts in a network, removed on drop.
struct Hosts {
    program: Child,
    commands: Option<ChildStdin>,
    prefix: String,
}

impl Hosts {
    /// Creates a host for the broker, one for the run, and two for workers. Each packet takes `delay` seconds, and a fraction
    /// `loss` of packets is lost. `None` if the user may not create namespaces or the kernel has none.
    fn new(delay: f64, loss: f64) -> Option<Self> {
        let script = root().join("tests/machines/network.py");
        let mut command = Command::new("python3");
        command.arg(script).args(["4", &delay.to_string(), &loss.to_string()]);
        let mut program = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let commands = program.stdin.take();
        let mut prefix = String::new();
        BufReader::new(program.stdout.take().unwrap()).read_line(&mut prefix).unwrap();
        if prefix.is_empty() {
            eprintln!("skipped: network namespaces need root, `ip` and `/dev/net/tun`");
            // It has closed its output at its end.
            program.wait().unwrap();
            return None;
        }
        Some(Self { program, commands, prefix: prefix.trim().to_owned() })
    }

    /// Cuts a host off, or connects it again.
    fn cut(&mut self, host: usize, is_cut: bool) {
        let command = format!("{} {host}\n", if is_cut { "cut" } else { "join" });
        // One write: `writeln!` would write in parts, and `network.py` expects a whole line in each read.
        self.commands.as_mut().unwrap().write_all(command.as_bytes()).unwrap();
    }

    /// Starts a program on a host.
    fn start(&self, host: usize, runner: &Runner, program: &str, args: &[&str]) -> Running {
        let mut command = runner.program("ip");
        let namespace = format!("{}-{host}", self.prefix);
        command.args(["netns", "exec", &namespace, program]).args(args);
        Running::start(&mut command)
    }

    #[track_caller]
    fn start_broker(&self, runner: &Runner) -> Running {
        let args = ["--addr", "10.0.0.1", "--jetstream", "--store_dir", "nats"];
        let mut server = self.start(BROKER, runner, nats_server().to_str().unwrap(), &args);
        wait_for_message(&mut server, "Server is ready");
        server
    }

    #[track_caller]
    fn start_worker(&self, host: usize, runner: &Runner) -> Running {
        let name = format!("host-{host}");
        let args = [
            "worker",
            "--broker",
            ADDRESS,
            "--broker-insecure",
            "--accept-unsigned",
            "--name",
            &name,
        ];
        let own = ["--store", &format!("store-{host}"), "--jobs", "2"];
        started(self.start(host, runner, PROGRAM, &[&args[..], &own].concat()))
    }

    fn start_run(&self, runner: &Runner) -> Running {
        let args = ["exec", "scenario.toml", "--json", "--broker", ADDRESS, "--broker-insecure"];
        self.start(RUN, runner, PROGRAM, &args)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        drop(self.commands.take());
        // It removes the network at the end of its input.
        let _ = self.program.wait();
    }
}

#[test]
fn lossy_network_with_a_cut_changes_no_row() {
    let runner = Runner::new(&["hostile"]);
    let Some(mut hosts) = Hosts::new(0.05, 0.05) else { return };
    // Both workers join long before the end, also if their first packets are lost.
    numbered(&runner, 60, 400);
    let expected = alone(&runner);
    let _broker = hosts.start_broker(&runner);
    let _workers = [3, 4].map(|host| hosts.start_worker(host, &runner));
    let mut running = hosts.start_run(&runner);
    running.wait_for_rows(20);
    hosts.cut(3, true);
    // The length of the cut is what the test varies, so there is no condition to wait for.
    std::thread::sleep(Duration::from_secs(times(2, 30) as u64));
    hosts.cut(3, false);
    running.finish().expect(0);
    let run = assert_whole(&runner, 120);
    assert_eq!(canonical(&run), expected);
    assert!(run.rows().iter().all(|row| row["attempt"] == 1), "an attempt ran twice");
    assert_eq!(used_workers(&run), ["host-3", "host-4"]);
}

#[test]
fn attempts_of_a_host_that_stays_cut_off_run_elsewhere() {
    if times(0, 1) == 0 {
        return;
    }
    let runner = Runner::endless(2, "loop", "");
    let Some(mut hosts) = Hosts::new(0.0, 0.0) else { return };
    let _broker = hosts.start_broker(&runner);
    let _first = hosts.start_worker(3, &runner);
    let mut running = hosts.start_run(&runner);
    running.wait_until_running(&runner, 2);
    let _second = hosts.start_worker(4, &runner);
    hosts.cut(3, true);
    let cut = Instant::now();
    wait_until("they run again", || {
        assert!(running.is_alive(), "{}", running.shown());
        let attempts = runner.only_run().in_flight(SystemTime::UNIX_EPOCH);
        attempts.len() == 2 && attempts.iter().all(|(_, attempt)| *attempt == 2)
    });
    assert!(cut.elapsed() < Duration::from_secs(65), "{:?}", cut.elapsed());
    running.end_by(Signal::INT);
}
