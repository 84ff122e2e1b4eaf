//! Where the processor time of a trial goes: to which threads of the program and of its workers.

use std::{collections::BTreeMap, process::Command, thread, time::Duration};

use super::{
    bare::{Bare, Sandboxes},
    lists::Lists,
    table::{Bench, figure, median, micros, title},
};

/// How often the threads of a running program are looked at: the last look is what counts.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How many of these looks come to one at the memory of workers.
const LOOKS_A_WALK: u32 = 20;

/// Shows what each kind of thread takes of a trial, and what a worker holds in memory.
pub(super) fn threads(bench: &mut Bench) {
    title("processor time of a trial at -j 2, by the threads that take it");
    let bare = Bare::load(&Lists::plugin(), Sandboxes::Pooled).expect("the echo can be loaded");
    let trials = bench.pick(100_000, 30_000);
    bench.lists.write(trials);
    let (list, repeated) = (format!("{trials}.toml"), bench.lists.write_repeated(trials));
    let mut rounds = Vec::new();
    for _ in 0..bench.pick(5, 3) {
        let loops = micros(bare.run(trials, 1)) / trials as f64;
        let [of_list, of_one] =
            [&list, &repeated].map(|scenario| bench.lists.run_and_look(scenario, 2, look));
        rounds.push(Round {
            bare: loops,
            of_list: of_list.of_each(trials),
            outside_of_one: outside(&of_one.of_each(trials)),
            worker_memory: of_list.worker_memory as f64 / 1e6,
        });
    }
    let median_of = |get: &dyn Fn(&Round) -> f64| median(rounds.iter().map(get));
    let bare = median_of(&|round| round.bare);
    figure("bare loop, pooled, 1 thread", bare, "µs");
    for role in Role::ALL {
        figure(role.name(), median_of(&|round| round.of_list[&role]), "µs");
    }
    let outside_of_list = median_of(&|round| outside(&round.of_list));
    figure("  outside the sandbox", outside_of_list, "µs");
    bench.ratio(
        "outside the sandbox against the bare loop",
        outside_of_list / bare,
        None,
    );
    // What remains once no test is read from a list, by the dispatcher and then by a worker.
    let outside_of_one = median_of(&|round| round.outside_of_one);
    figure(
        "  outside it, of one test again and again",
        outside_of_one,
        "µs",
    );
    figure(
        "memory of a worker that no other process has",
        median_of(&|round| round.worker_memory),
        "MB",
    );
}

/// What one round has measured, of each trial in microseconds.
struct Round {
    bare: f64,
    /// With a test for each trial.
    of_list: BTreeMap<Role, f64>,
    /// With one test for all of them.
    outside_of_one: f64,
    /// In megabytes.
    worker_memory: f64,
}

/// What threads take together that are not guests'.
fn outside(times: &BTreeMap<Role, f64>) -> f64 {
    let others = times.iter().filter(|(role, _)| **role != Role::Guests);
    others.map(|(_, took)| took).sum()
}

/// What a thread is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Guests,
    Messages,
    Dispatcher,
    Recorder,
    Rest,
}

impl Role {
    const ALL: [Self; 5] = [
        Self::Guests,
        Self::Messages,
        Self::Dispatcher,
        Self::Recorder,
        Self::Rest,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Guests => "guests: instantiate, call, judge, reset",
            Self::Messages => "workers' messages: read tests, encode",
            Self::Dispatcher => "dispatcher: assign, decode, accept",
            Self::Recorder => "recorder: row and commit",
            Self::Rest => "signals, clocks",
        }
    }

    fn of(thread: &str, is_worker: bool) -> Self {
        match (thread, is_worker) {
            ("guest", _) => Self::Guests,
            ("runner", true) => Self::Messages,
            ("runner", false) => Self::Dispatcher,
            ("recorder", _) => Self::Recorder,
            _ => Self::Rest,
        }
    }
}

/// How much memory a process has that is no other's, in bytes.
fn private_memory(process: u32) -> Option<u64> {
    let rollup = fs_err::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
    let lines = rollup
        .lines()
        .filter_map(|line| line.strip_prefix("Private_"));
    let kibibytes = lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    Some(kibibytes.sum::<u64>() * 1024)
}

/// What was seen of a program.
#[derive(Default)]
struct Looked {
    times: BTreeMap<Role, Duration>,
    /// What the largest worker has for itself, in bytes: of the program's code there is one copy for all processes.
    worker_memory: u64,
}

impl Looked {
    /// The processor time of each of so many trials, in microseconds.
    fn of_each(&self, trials: u64) -> BTreeMap<Role, f64> {
        let of = |role| self.times.get(&role).map_or(0.0, |took| micros(*took));
        let all = Role::ALL.into_iter();
        all.map(|role| (role, of(role) / trials as f64)).collect()
    }
}

/// Runs a program to its end and looks at its threads meanwhile.
fn look(command: &mut Command) -> Looked {
    let mut child = command.spawn().expect("the program starts");
    let mut threads = BTreeMap::new();
    let mut worker_memory = 0;
    for looks in 0.. {
        if !matches!(child.try_wait(), Ok(None)) {
            break;
        }
        look_at(child.id(), false, &mut threads);
        for worker in children(child.id()) {
            look_at(worker, true, &mut threads);
            // The kernel walks all of its memory for that.
            if looks % LOOKS_A_WALK == 0 {
                worker_memory = worker_memory.max(private_memory(worker).unwrap_or_default());
            }
        }
        thread::sleep(LOOK_EVERY);
    }
    let status = child.wait().expect("a child can be waited for");
    assert!(status.success(), "{status}");
    let mut looked = Looked {
        worker_memory,
        ..Looked::default()
    };
    for (role, took) in threads.into_values() {
        *looked.times.entry(role).or_default() += took;
    }
    looked
}

/// Notes how long each thread of a process has had a processor, as Linux tells it.
fn look_at(process: u32, is_worker: bool, threads: &mut BTreeMap<String, (Role, Duration)>) {
    let tasks = fs_err::read_dir(format!("/proc/{process}/task"));
    for task in tasks.into_iter().flatten().flatten() {
        let read = |name| fs_err::read_to_string(task.path().join(name));
        // A thread that has ended meanwhile was seen before.
        let (Ok(name), Ok(times)) = (read("comm"), read("schedstat")) else {
            continue;
        };
        let first = times.split_whitespace().next();
        let Some(took) = first.and_then(|took| took.parse().ok()) else {
            continue;
        };
        let seen = (Role::of(name.trim(), is_worker), Duration::from_nanos(took));
        threads.insert(task.file_name().to_string_lossy().into_owned(), seen);
    }
}

fn children(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let listed = fs_err::read_to_string(path).unwrap_or_default();
    let listed = listed.split_whitespace();
    listed.filter_map(|child| child.parse().ok()).collect()
}
