//! Deterministic calls: their results depend on nothing but their inputs.

use runner_model::{Time, provider::OutputForm};
use serde_json::Value;

use super::support::{Bench, guests, output};
use crate::{Call, Plugin};

/// 2020-01-01, in milliseconds.
const START: i64 = 1_577_836_800_000;

#[derive(Clone, Copy)]
struct Sources {
    seed: u32,
    attempt: u32,
    deterministic: bool,
}

const FIRST: Sources = Sources { seed: 0, attempt: 1, deterministic: true };

fn sources(plugin: &Plugin, bench: &Bench, with: Sources) -> Value {
    let mut call = Call {
        seed: with.seed,
        attempt: with.attempt,
        deterministic: with.deterministic.then_some(Time::from_millis(START)),
        ..bench.plain_call(OutputForm::Json)
    };
    call.command.as_mut().unwrap().args = vec!["sources".to_owned()];
    let ended = bench.runtime.block_on(plugin.run(&mut None, call));
    serde_json::from_str(output(&ended)).unwrap()
}

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.limits.scratch = 1 << 20;
    // Each bench has another folder, as runs have.
    bench.access.scratch = bench.cache.path().to_owned();
    bench
}

#[test]
fn deterministic_calls_are_equal() {
    for path in guests::programs("command") {
        let benches = [bench(), bench()];
        let plugins = benches.each_ref().map(|bench| bench.guest(&path));
        let [first, second] = [0, 1].map(|index| sources(&plugins[index], &benches[index], FIRST));
        assert_eq!(first, second, "{path:?}");

        assert_eq!(first["reading"], "1000");
        let wall: i64 = first["wall"].as_str().unwrap().parse().unwrap();
        assert_eq!(wall / 1_000_000, START);
        let slept: u64 = first["slept"].as_str().unwrap().parse().unwrap();
        assert!((30_000_000..30_100_000).contains(&slept), "{slept}");
        let names = first["names"].as_array().unwrap();
        assert!(names.len() == 100 && names.is_sorted_by_key(|name| name.as_str()), "{names:?}");
        assert_eq!(first["bytes"], 4 + 50 * 9);
        let start = format!("{}000000", START);
        assert_eq!(
            first["times"],
            serde_json::json!([format!("0 {start}"), format!("454 {start}")])
        );

        let (plugin, bench) = (&plugins[0], &benches[0]);
        for other in [Sources { seed: 1, ..FIRST }, Sources { attempt: 2, ..FIRST }] {
            assert_ne!(sources(plugin, bench, other)["random"], first["random"]);
        }
        let real = sources(plugin, bench, Sources { deterministic: false, ..FIRST });
        assert_ne!(real["wall"], first["wall"]);
    }
}
