//! What runs of one results root leave each other of the machine.

use std::thread::available_parallelism;

use crate::support::{
    runner::{CommandExt as _, Runner, Running, tests},
    wait::wait_until,
};

/// Two scenarios: one whose attempts are asleep until somebody ends it, and one that is over at once.
fn runner(memory: &str) -> Runner {
    let runner = Runner::new(&["hostile"]);
    let plugin =
        format!("[providers.p]\nplugin = \"hostile.wasm\"\nlimits.memory = \"{memory}\"\n");
    let asleep =
        "[[tests]]\nid = \"asleep\"\nrepeat = 2000\ninput = { do = \"sleep\", ms = 60000 }\n";
    let asleep = format!("name = \"asleep\"\nrun.memory = \"100TiB\"\n{plugin}{asleep}");
    runner.write("asleep.toml", asleep);
    let quick = tests(
        "one | { do = \"echo\", value = 1 } | equals = 1\ntwo | { do = \"echo\", value = 1 } | equals = 1",
    );
    runner.write("quick.toml", format!("name = \"quick\"\n{plugin}{quick}"));
    runner
}

/// A run that goes on.
fn asleep(runner: &Runner, args: &[&str]) -> Running {
    let args = [&["exec", "asleep.toml", "--into", "results/asleep"], args].concat();
    let running = runner.command(&args).start();
    let shares = || {
        let lock = fs_err::read_to_string(runner.path("results/asleep/lock"));
        lock.is_ok_and(|lock| lock.contains("\nshare "))
    };
    wait_until("it says what it works with", shares);
    running
}

fn quick(runner: &Runner, name: &str, args: &[&str]) -> (String, String) {
    let into = format!("results/{name}");
    let args = [&["exec", "quick.toml", "--into", &into], args].concat();
    let ran = runner.run(&args).expect(0);
    let log = fs_err::read_to_string(runner.path(&format!("{into}/runner.log"))).unwrap();
    (
        ran.stderr.split_whitespace().collect::<Vec<_>>().join(" "),
        log,
    )
}

#[test]
fn a_run_leaves_others_the_cores_that_they_work_with_until_they_are_gone() {
    let cores = available_parallelism().unwrap().get();
    let runner = runner("64MiB");
    let running = asleep(&runner, &[]);
    let left =
        format!("this run works with 1 of {cores} cores, because run `asleep` works with {cores};");
    let (said, log) = quick(&runner, "beside", &[]);
    if cores > 1 {
        assert!(said.contains(&left), "{said}");
        assert!(log.contains(&left), "{log}");
        assert!(log.contains("2 trials on 1 provider, 1 at a time"), "{log}");
    }
    // Who says how many gets as many.
    for (name, args) in [("jobs", ["-j", "2"]), ("workers", ["--workers", "2"])] {
        let (said, log) = quick(&runner, name, &args);
        assert!(
            !said.contains("cores, because") && !log.contains("cores, because"),
            "{said} {log}"
        );
    }

    // Nobody has cleaned up behind it.
    running.kill();
    let (said, log) = quick(&runner, "after", &[]);
    assert!(!said.contains("this run works with"), "{said}");
    assert!(!log.contains("this run works with"), "{log}");
}

#[test]
fn of_runs_that_begin_at_the_same_moment_each_sees_what_the_others_have() {
    let cores = available_parallelism().unwrap().get();
    let runner = runner("64MiB");
    let names = ["one", "two", "three", "four"];
    let running = names.map(|name| {
        let into = format!("results/{name}");
        runner
            .command(&["exec", "asleep.toml", "--into", &into])
            .start()
    });
    let share = |name: &str| -> Option<usize> {
        let lock = fs_err::read_to_string(runner.path(&format!("results/{name}/lock"))).ok()?;
        let share = lock.lines().find_map(|line| line.strip_prefix("share "))?;
        share.split_once(' ')?.0.parse().ok()
    };
    wait_until("all say what they work with", || {
        names.iter().all(|name| share(name).is_some())
    });
    let mut shares = names.map(|name| share(name).unwrap());
    shares.sort_unstable();
    assert_eq!(shares, [1, 1, 1, cores]);
    running.into_iter().for_each(|running| drop(running.kill()));
}

/// No machine that tests run on has so much memory.
#[test]
fn a_run_leaves_others_the_memory_that_their_attempts_may_hold() {
    let runner = runner("1GiB");
    let running = asleep(&runner, &["-j", "300"]);
    let lock = fs_err::read_to_string(runner.path("results/asleep/lock")).unwrap();
    assert!(lock.contains(&format!(" {}\n", 300_u64 << 30)), "{lock}");
    let (said, log) = quick(&runner, "beside", &["-j", "2"]);
    let left = "this run works with 1.0 GiB of memory, because attempts of run `asleep` may hold 300.0 GiB;";
    assert!(said.contains(left), "{said}");
    assert!(log.contains(left), "{log}");

    let text = fs_err::read_to_string(runner.path("quick.toml")).unwrap();
    let text = text.replace(
        "name = \"quick\"",
        "name = \"quick\"\nrun.memory = \"2GiB\"",
    );
    runner.write("quick.toml", text);
    let (said, _) = quick(&runner, "explicit", &["-j", "2"]);
    assert!(!said.contains("of memory, because"), "{said}");
    running.kill();
}
