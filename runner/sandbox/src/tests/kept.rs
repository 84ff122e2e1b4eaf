//! Instances that serve several calls, with `setup` and `teardown`.

use std::{collections::BTreeMap, sync::Arc};

use runner_model::Micros;
use serde_json::{Value, json};

use super::support::{Bench, error, guests, output, wait_for_removal};
use crate::{Call, Ended, Ending, Instance, Plugin, Secrets};

/// More than any `teardown` needs.
const LONG: Micros = Micros(60_000_000);

/// A provider that counts its tests.
struct Counter {
    bench: Bench,
    plugin: Plugin,
    config: String,
    kept: Option<Instance>,
}

impl Counter {
    fn new(config: &Value) -> Self {
        let bench = Bench::new();
        Self {
            plugin: bench.guest(&guests::component("counter")),
            bench,
            config: config.to_string(),
            kept: None,
        }
    }

    fn run(&mut self, input: &Value) -> Ended {
        let input = input.to_string();
        let call = Call { config: &self.config, ..self.bench.call(&input) };
        self.bench.runtime.block_on(self.plugin.run(&mut self.kept, call))
    }

    /// Returns the number of tests that the instance has answered, including this one.
    fn count(&mut self) -> u64 {
        let ended = self.run(&json!({}));
        let value: Value = serde_json::from_str(output(&ended)).unwrap();
        assert_eq!(
            (&value["setups"], &value["config_is_that_of_setup"]),
            (&json!(1), &json!(true))
        );
        value["tests"].as_u64().unwrap()
    }

    fn tear_down(&mut self, within: Micros) -> Vec<String> {
        let instance = self.kept.take().unwrap();
        self.bench.runtime.block_on(instance.tear_down(within))
    }
}

#[test]
fn instance_is_set_up_and_torn_down_once() {
    let mut counter = Counter::new(&json!({}));
    for count in 1..=5 {
        assert_eq!(counter.count(), count);
    }
    assert_eq!(counter.tear_down(LONG), ["info: teardown  after 5 tests"]);
    assert_eq!(counter.count(), 1);
}

#[test]
fn instance_is_kept_only_after_an_answer() {
    let mut counter = Counter::new(&json!({}));
    counter.bench.limits.reply = 1024;
    let large = json!({"value": "x".repeat(2_000)});
    for (input, class) in [
        (json!({"do": "trap"}), "trap"),
        (json!({"do": "panic"}), "trap"),
        (json!({"do": "say-stopped"}), "protocol"),
        (large, "limit"),
        // More memory than its limit, which the guest survived.
        (json!({"do": "try-memory"}), "-"),
    ] {
        assert_eq!(counter.count(), 1);
        // An error that the guest returns is an answer.
        let ended = counter.run(&json!({"do": "unavailable"}));
        assert_eq!(error(&ended).0, "unavailable");
        assert_eq!(counter.count(), 3);
        let ended = counter.run(&input);
        if class != "-" {
            assert_eq!(error(&ended).0, class);
        }
        assert!(counter.kept.is_none(), "{class}");
    }
    assert_eq!(counter.count(), 1);
    counter.bench.timeout = std::time::Duration::from_millis(200);
    let ended = counter.run(&json!({"do": "loop"}));
    assert!(matches!(ended.ending, Ending::Timeout), "{ended:?}");
    assert!(counter.kept.is_none());
}

#[test]
fn failed_setup_is_its_attempts_error() {
    let mut counter = Counter::new(&json!({"setup": "unavailable"}));
    let ended = counter.run(&json!({}));
    assert_eq!(error(&ended), ("unavailable", "as-asked", "as it was asked to"));
    assert_eq!(&*ended.said.log[0].message, "setup unavailable");
    assert!(counter.kept.is_none());
}

#[test]
fn output_belongs_to_attempt_and_memory_to_instance() {
    let mut counter = Counter::new(&json!({}));
    let first = counter.run(&json!({"do": "speak"}));
    let messages: Vec<_> = first.said.log.iter().map(|record| &*record.message).collect();
    assert_eq!(messages, ["setup ", "spoken"]);
    let second = counter.run(&json!({"do": "speak"}));
    let messages: Vec<_> = second.said.log.iter().map(|record| &*record.message).collect();
    assert_eq!(messages, ["spoken"]);
    for ended in [first, second] {
        assert_eq!(&*ended.said.stdout, "on standard output\n");
        assert_eq!(&*ended.said.stderr, "on standard error\n");
        assert_eq!(ended.artifacts.len(), 1);
    }
    // Two floods of this size do not fit into one log.
    for _ in 0..2 {
        assert_eq!(counter.run(&json!({"do": "flood-log"})).said.dropped, 0);
    }
    let peak = |counter: &mut Counter| counter.run(&json!({"do": "hoard"})).usage.peak_memory;
    let before = peak(&mut counter);
    let after = (0..4).map(|_| peak(&mut counter)).last().unwrap();
    assert!(after >= before + 4 * (512 << 10), "{before} {after}");
}

#[test]
fn writes_of_a_kept_instance_stay_counted() {
    let mut counter = Counter::new(&json!({}));
    let scratch = tempfile::tempdir().unwrap();
    counter.bench.access.scratch = scratch.path().to_owned();
    counter.bench.limits.scratch = 64 << 10;
    // Each leaves a file of 16 KiB, and a block for its name.
    for _ in 0..3 {
        let written = counter.run(&json!({"do": "write"})).usage.bytes_out;
        assert!((16 << 10..20 << 10).contains(&written), "{written}");
    }
    let ended = counter.run(&json!({"do": "write"}));
    let (class, _, message) = error(&ended);
    assert_eq!(class, "internal");
    assert!(message.contains("`limits.scratch` is 64 KiB"), "{message}");
    assert!(ended.denied[0].what.contains("`limits.scratch`"), "{ended:?}");
    assert!(counter.kept.is_none());
    wait_for_removal(scratch.path());
    assert_eq!(counter.count(), 1);
    assert_eq!(scratch.path().read_dir().unwrap().count(), 1);
    counter.tear_down(LONG);
    wait_for_removal(scratch.path());
}

#[test]
fn instance_with_many_resources_is_not_kept() {
    let mut counter = Counter::new(&json!({}));
    let scratch = tempfile::tempdir().unwrap();
    counter.bench.access.scratch = scratch.path().to_owned();
    counter.bench.limits.scratch = 4 << 20;
    counter.run(&json!({"do": "write"}));
    assert!(counter.kept.is_some());
    counter.run(&json!({"do": "hold"}));
    assert!(counter.kept.is_none());
}

#[test]
fn hanging_or_failing_teardown_is_reported() {
    let mut hanging = Counter::new(&json!({"teardown": "loop"}));
    // On a busy machine, 20 ms may be too short for the log record.
    let is_told = [20_000, 1_000_000, 30_000_000].into_iter().any(|within| {
        hanging.count();
        let lines = hanging.tear_down(Micros(within));
        assert_eq!(lines.last().unwrap(), "failed: timed out");
        lines[0] == "info: teardown loop after 1 tests"
    });
    assert!(is_told);
    let mut trapping = Counter::new(&json!({"teardown": "panic"}));
    trapping.count();
    let lines = trapping.tear_down(LONG);
    assert!(lines[1].starts_with("failed: the guest trapped"), "{lines:?}");
    assert!(lines[1].contains("the guest's own words"), "{lines:?}");
    // After an interrupt, `teardown` is not called.
    hanging.count();
    hanging.bench.engines.interrupt().now();
    assert_eq!(hanging.tear_down(LONG), [""; 0]);
}

#[test]
fn teardown_output_is_redacted() {
    let mut counter = Counter::new(&json!({"teardown": "tell"}));
    let values = BTreeMap::from([("KEY".to_owned(), "do-not-tell-anybody".to_owned())]);
    counter.bench.access.secrets = Arc::new(Secrets::new(&values, BTreeMap::new()));
    let env = [("TOLD".to_owned(), "key do-not-tell-anybody".to_owned())];
    let call =
        Call { env: &env, config: &counter.config, ..counter.bench.call(r#"{"do":"tell"}"#) };
    let ended = counter.bench.runtime.block_on(counter.plugin.run(&mut counter.kept, call));
    assert_eq!(&*ended.said.log[1].message, "told key [secret KEY]");
    let lines = counter.tear_down(LONG);
    assert_eq!(lines[1], "info: told key [secret KEY]");
}

#[test]
fn component_without_lifecycle_is_kept() {
    let bench = Bench::new();
    let echo = bench.bundled("echo");
    let mut kept = None;
    for input in ["1", "2"] {
        let ended = bench.runtime.block_on(echo.run(&mut kept, bench.call(input)));
        assert_eq!(output(&ended), input);
        assert!(kept.is_some());
    }
    let torn = bench.runtime.block_on(kept.unwrap().tear_down(LONG));
    assert_eq!(torn, [""; 0]);
}
