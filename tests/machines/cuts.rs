//! Networks in which nothing arrives any more and nobody is told: each of engine, run and worker is on a machine of its own, as
//! far as the kernel can make it so.

use std::{
    mem,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    nats::{Engine, assert_whole, finals, has_joined, log, wait_for_rows, workers_of},
    support::{
        runner::{CommandExt as _, Runner, Running, Signal},
        truth,
        wait::{wait_for, wait_until},
    },
};

/// Longer than a run waits for a worker that is silent.
const LONG_CUT: Duration = Duration::from_secs(9);
/// How long what is left of a run may take after a cut, on a busy machine.
const REST: Duration = Duration::from_secs(60);
/// How long most trials take, in milliseconds.
const SHORT: u64 = 200;
/// The same of those that are all in flight for as long as it takes to look.
const LONG: u64 = 1500;

/// Machines at one switch, which are gone with this value. They need no rights: their owner is one only among themselves.
struct Network {
    /// Holds the switch.
    switch: Child,
    machines: Vec<(&'static str, Child)>,
}

impl Network {
    fn of(names: &[&'static str]) -> Self {
        let switch = held(&["unshare", "--user", "--map-root-user", "--net"]);
        let mut network = Self {
            switch,
            machines: Vec::new(),
        };
        // With an address of its own that no port has: what comes from a port that is out is for nobody.
        network.ip("link add switch address 02:00:00:00:00:01 type bridge");
        network.ip("link set switch up");
        for (index, name) in names.iter().enumerate() {
            let entered = network.entered(network.switch.id());
            let entered: Vec<_> = entered.iter().map(String::as_str).collect();
            let machine = held(&[&entered[..], &["unshare", "--net"]].concat());
            let pid = machine.id();
            network.machines.push((name, machine));
            network.ip(&format!(
                "link add {name} type veth peer name eth0 netns {pid}"
            ));
            network.ip(&format!("link set {name} master switch up"));
            for line in [
                "link set lo up".to_owned(),
                format!("address add {}/24 dev eth0", address(index)),
                "link set eth0 up".to_owned(),
            ] {
                let line: Vec<_> = line.split(' ').collect();
                let done = network.on(name, &[&["ip"][..], &line].concat()).status();
                assert!(done.unwrap().success(), "{line:?}");
            }
        }
        network
    }

    /// From now on nothing that a machine says arrives, nor does anything arrive there.
    fn cut(&self, name: &str) {
        self.ip(&format!("link set {name} nomaster"));
    }

    fn heal(&self, name: &str) {
        self.ip(&format!("link set {name} master switch"));
    }

    /// A command on one of the machines.
    fn on(&self, name: &str, args: &[&str]) -> Command {
        let entered = self.entering(name);
        let mut command = Command::new(&entered[0]);
        command.args(&entered[1..]).args(args);
        command
    }

    /// What is put before a program to have it started on one of the machines.
    fn entering(&self, name: &str) -> Vec<String> {
        let (_, machine) = self.machines.iter().find(|(own, _)| *own == name).unwrap();
        self.entered(machine.id())
    }

    fn entered(&self, pid: u32) -> Vec<String> {
        let args = ["nsenter", "--target", &pid.to_string(), "--user", "--net"];
        let args = args.iter().chain(&["--preserve-credentials"]);
        args.map(|arg| (*arg).to_owned()).collect()
    }

    fn ip(&self, line: &str) {
        let entered = self.entered(self.switch.id());
        let mut command = Command::new(&entered[0]);
        command.args(&entered[1..]).arg("ip").args(line.split(' '));
        assert!(command.status().unwrap().success(), "ip {line}");
    }

    /// The runner on one of the machines.
    fn runner(&self, name: &str, runner: &Runner, args: &[&str]) -> Running {
        let mut command = runner.shell("exec \"$@\"");
        command.arg("sh").args(self.entering(name));
        command.arg(env!("CARGO_BIN_EXE_runner")).args(args);
        command.start()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for machine in self.machines.iter_mut().map(|(_, machine)| machine) {
            machine.kill().unwrap();
            machine.wait().unwrap();
        }
        self.switch.kill().unwrap();
        self.switch.wait().unwrap();
    }
}

/// The address of a machine, by its place.
fn address(index: usize) -> String {
    format!("10.77.0.{}", index + 1)
}

/// What keeps a machine there: a process that has entered it and says so.
fn held(args: &[&str]) -> Child {
    use std::io::BufRead as _;

    let mut child = Command::new(args[0])
        .args(&args[1..])
        .args(["sh", "-c", "echo there; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    std::io::BufReader::new(stdout)
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "there\n", "{args:?}: this machine makes no networks");
    child
}

/// A run and two workers, each on a machine of its own, and the engine on another one.
struct Fleet {
    network: Network,
    runner: Runner,
    live: Running,
    workers: Vec<Running>,
    engine: Engine,
}

impl Fleet {
    /// Starts a run of so many trials that each take so many milliseconds.
    fn start(trials: usize, each: u64) -> Self {
        let network = Network::of(&["engine", "run", "one", "two"]);
        let runner = Runner::hostile(&format!(
            "[[tests]]\nid = \"sleeper\"\ninput = {{ do = \"sleep\", ms = {each} }}\nrepeat = {trials}\n"
        ));
        let engine = Engine::start_on(&address(0), network.entering("engine"));
        let url = engine.url();
        wait_until("the engine is heard", || {
            let check = ["engine", "check", "--engine-insecure", &url];
            network.runner("run", &runner, &check).finish().code == Some(0)
        });
        let live = [
            "exec",
            "scenario.toml",
            "--engine",
            &url,
            "--engine-insecure",
        ];
        let live = network.runner("run", &runner, &live);
        let worker = |name: &'static str| {
            let args = [
                "worker",
                "--engine",
                &url,
                "--engine-insecure",
                "--name",
                name,
            ];
            let store = format!("store-{name}");
            let args = [&args[..], &["-j2", "--store", &store]].concat();
            network.runner(name, &runner, &args)
        };
        let workers = vec![worker("one"), worker("two")];
        wait_until("both make attempts", || {
            has_joined(&runner, "one") && has_joined(&runner, "two")
        });
        Self {
            network,
            runner,
            live,
            workers,
            engine,
        }
    }

    fn log(&self) -> String {
        log(&self.runner.only_run())
    }

    /// Stops the run, and goes on with it over the engine.
    fn stop_and_resume(&mut self) {
        let url = self.engine.url();
        self.live.signal(Signal::INT);
        wait_until("it is stopped", || !self.live.is_alive());
        let resume = ["resume", "--from", "latest", "--engine-insecure"];
        let resume = [&resume[..], &["--engine", &url]].concat();
        let live = self.network.runner("run", &self.runner, &resume);
        mem::replace(&mut self.live, live).finish().expect(130);
    }

    /// Waits for the end of the run, and looks at what it came to.
    #[track_caller]
    fn finish(self, trials: usize) -> Runner {
        let began = Instant::now();
        let ran = self.live.finish();
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(began.elapsed() < REST, "{:?}", began.elapsed());
        assert_whole(&self.runner, trials);
        assert_end_of_one_machine(&self.runner);
        for name in ["run", "one", "two"] {
            self.network.heal(name);
        }
        for worker in self.workers {
            // It may be on the way to a second end, and hears the first one all the same.
            worker.signal(Signal::TERM);
            let ran = worker.finish();
            assert_eq!(ran.code, Some(0), "{ran:?}");
        }
        self.runner
    }
}

/// Fails unless the run has come to what its scenario comes to on one machine.
#[track_caller]
fn assert_end_of_one_machine(runner: &Runner) {
    runner.exec(&["--results", "alone", "-j", "50"]).expect(0);
    let folders = fs_err::read_dir(runner.path("alone")).unwrap();
    let mut folders = folders.map(|folder| folder.unwrap().path());
    let alone = folders.find(|path| path.join("benchmark.json").exists());
    let alone = runner.run_at(alone.unwrap().to_str().unwrap());
    truth::assert_same_end(&runner.only_run(), &truth::canonical(&alone));
}

fn lost(runner: &Runner) -> usize {
    let rows = runner.only_run().lines();
    rows.iter()
        .filter(|row| row["error"]["code"] == "lost")
        .count()
}

#[test]
fn a_worker_that_is_cut_off_for_a_moment_loses_nothing() {
    let fleet = Fleet::start(150, SHORT);
    fleet.network.cut("one");
    // That this time passes is what is tested.
    thread::sleep(Duration::from_secs(1));
    fleet.network.heal("one");
    let runner = fleet.finish(150);
    assert_eq!(lost(&runner), 0);
}

#[test]
fn a_worker_that_nothing_reaches_is_given_up_and_comes_back_and_nothing_of_it_counts_twice() {
    let fleet = Fleet::start(250, SHORT);
    fleet.network.cut("one");
    wait_until("it is given up", || {
        fleet.log().contains("worker one/1 has left")
    });
    fleet.network.heal("one");
    wait_until("it makes attempts again", || {
        let log = fleet.log();
        let (_, behind) = log.split_once("worker one/1 has left").unwrap();
        behind.contains("worker one/1 makes attempts")
    });
    let runner = fleet.finish(250);
    assert_eq!(workers_of(&runner.only_run()), ["one", "two"]);
}

#[test]
fn a_run_that_nothing_reaches_goes_on_when_it_is_reached_again() {
    let fleet = Fleet::start(150, SHORT);
    fleet.network.cut("run");
    thread::sleep(LONG_CUT);
    fleet.network.heal("run");
    fleet.finish(150);
}

#[test]
fn a_run_that_is_cut_off_is_stopped_in_time_and_gone_on_with_without_an_engine() {
    let fleet = Fleet::start(300, SHORT);
    fleet.network.cut("run");
    let before = finals(&fleet.runner.only_run());
    let (ran, took) = fleet.live.end_by(Signal::INT);
    ran.expect(130).says(&["incomplete (interrupted, SIGINT)"]);
    assert!(took < Duration::from_secs(30), "{took:?}");
    let run = fleet.runner.only_run();
    assert_eq!(run.manifest()["status"], "incomplete");
    assert!(wait_for("there are rows", || Some(finals(&run))) >= before);
    let resume = ["resume", "--from", "latest", "-j", "50"];
    fleet.runner.run(&resume).expect(0);
    assert_whole(&fleet.runner, 300);
    assert_end_of_one_machine(&fleet.runner);
}

#[test]
fn a_run_that_is_gone_on_with_and_cut_off_goes_on_when_it_is_reached_again() {
    const TRIALS: usize = 200;

    let mut fleet = Fleet::start(TRIALS, SHORT);
    wait_for_rows(&fleet.runner, 5);
    let comings = |fleet: &Fleet| fleet.log().matches("makes attempts").count();
    let first = comings(&fleet);
    fleet.stop_and_resume();
    wait_until("workers have come again", || comings(&fleet) >= first + 2);
    wait_for_rows(&fleet.runner, finals(&fleet.runner.only_run()) + 4);
    fleet.network.cut("run");
    thread::sleep(LONG_CUT);
    let in_the_middle = finals(&fleet.runner.only_run());
    assert!(in_the_middle < TRIALS, "the cut came too late");
    fleet.network.heal("run");
    fleet.finish(TRIALS);
}

/// Waits until nothing is left but what is being executed.
fn wait_for_the_last(fleet: &Fleet, trials: usize) {
    wait_for_rows(&fleet.runner, trials - 4);
    let finals = finals(&fleet.runner.only_run());
    assert!(finals < trials, "it is over");
}

#[test]
fn a_worker_that_is_cut_off_with_the_last_attempts_does_not_keep_the_run_from_its_end() {
    let fleet = Fleet::start(12, LONG);
    wait_for_the_last(&fleet, 12);
    fleet.network.cut("one");
    // It stays cut off: others make what it has begun.
    let runner = fleet.finish(12);
    assert!(lost(&runner) > 0);
}

#[test]
fn a_run_that_is_cut_off_from_the_last_attempts_comes_to_its_end_when_it_is_reached_again() {
    let fleet = Fleet::start(12, LONG);
    wait_for_the_last(&fleet, 12);
    fleet.network.cut("run");
    thread::sleep(LONG_CUT);
    assert!(finals(&fleet.runner.only_run()) < 12);
    fleet.network.heal("run");
    fleet.finish(12);
}
