//! Guests that compute and do nothing else, and plain loops that do as much.

use std::{
    hint::black_box,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use super::lists::{self, Lists};

/// Rounds of a guest's loop in a microsecond, about.
const ROUNDS: u64 = 1_500;
/// Rounds of a plain loop on each thread: long enough that what it takes to start one does not count.
const PLAIN_ROUNDS: u64 = 400_000_000;

/// A scenario whose only provider computes.
pub(crate) struct Compute {
    scenario: PathBuf,
    results: PathBuf,
}

impl Compute {
    /// Trials that take this many microseconds each, about.
    pub(crate) fn new(lists: &Lists, each: u64, trials: u64) -> Self {
        let rounds = ROUNDS * each;
        let text = format!(
            r#"(module
              (memory (export "memory") 1)
              (func (export "_start") (local $left i64) (local $x i64)
                (local.set $left (i64.const {rounds}))
                (loop $next
                  (local.set $x (i64.mul (i64.xor (local.get $x) (local.get $left)) (i64.const 0x9e3779b97f4a7c15)))
                  (local.set $left (i64.sub (local.get $left) (i64.const 1)))
                  (br_if $next (i64.ne (local.get $left) (i64.const 0))))
                (i64.store (i32.const 0) (local.get $x))))"#
        );
        let module = wat::parse_str(text).expect("the guest is valid");
        fs_err::write(lists.path("compute.wasm"), module).expect("the guest can be written");
        let scenario = lists.path("compute.toml");
        let text = format!(
            r#"
            name = "compute"
            providers.compute.plugin = "compute.wasm"
            [[tests]]
            id = "compute"
            repeat = {trials}
            input = ""
            expect = {{ equals = "" }}
            "#
        );
        fs_err::write(&scenario, text).expect("a scenario can be written");
        Self {
            scenario,
            results: lists.path("computed"),
        }
    }

    /// How long `runner exec` takes with this many jobs.
    pub(crate) fn time(&self, lists: &Lists, jobs: u64) -> Duration {
        self.time_with(lists, &["--jobs", &jobs.to_string()])
    }

    /// How long `runner exec` takes with these flags.
    pub(crate) fn time_with(&self, lists: &Lists, flags: &[&str]) -> Duration {
        let mut command = lists.program(&["exec", "--quiet"]);
        command.args(flags);
        let took = lists::time(
            command
                .arg("--results")
                .arg(&self.results)
                .arg(&self.scenario),
        );
        fs_err::remove_dir_all(&self.results).expect("results can go");
        took
    }
}

/// How long a loop takes that runs on each of so many threads.
pub(crate) fn plain_loops(threads: u64) -> Duration {
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut x: u64 = 0;
                for left in (1..=black_box(PLAIN_ROUNDS)).rev() {
                    x = (x ^ left).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                }
                black_box(x)
            });
        }
    });
    started.elapsed()
}
