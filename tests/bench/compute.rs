//! Guests that compute and do nothing else.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::lists::{self, Lists};

/// Rounds of a guest's loop in a microsecond, about.
const ROUNDS: u64 = 1_500;

/// A scenario whose only provider computes.
pub(crate) struct Compute {
    guest: PathBuf,
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
        let guest = lists.path("compute.wasm");
        fs_err::write(&guest, module).expect("the guest can be written");
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
        let compute = Self {
            guest,
            scenario: lists.path("compute.toml"),
            results: lists.path("computed"),
        };
        fs_err::write(&compute.scenario, text).expect("a scenario can be written");
        compute
    }

    /// The same, each of a test of its own in a list.
    pub(crate) fn of_tests(lists: &Lists, each: u64, tests: u64) -> Self {
        let compute = Self::new(lists, each, 1);
        let line = |number| {
            let input = lists::input(number);
            format!(
                "{{\"id\":\"compute-{number:07}\",\"input\":{input},\"expect\":{{\"equals\":\"\"}}}}\n"
            )
        };
        let list: String = (0..tests).map(line).collect();
        fs_err::write(lists.path("compute.jsonl"), list).expect("a list can be written");
        let text = r#"
            name = "compute"
            providers.compute.plugin = "compute.wasm"
            test_lists = [{ files = ["compute.jsonl"] }]
            "#;
        fs_err::write(&compute.scenario, text).expect("a scenario can be written");
        compute
    }

    /// The guest, a module of WASI 0.1 that imports nothing.
    pub(crate) fn guest(&self) -> &Path {
        &self.guest
    }

    /// The scenario.
    pub(crate) fn scenario(&self) -> &Path {
        &self.scenario
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
