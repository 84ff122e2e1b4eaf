use runner_results::{RunTable, Scope, Side};
use serde_json::{Value, json};

use super::measures;
use crate::tests::documents::Results;

/// Returns a run of 20 tests with the outcomes of `passed`, whose durations are 100, 110, … ms plus `more`.
fn side(passed: impl Fn(u32) -> bool, more: [f32; 20], metrics: impl Fn(u32) -> Value) -> Side {
    let trials: Vec<_> = (0..20).map(|test| format!("t{test:02}@p#1")).collect();
    let row = |test: u32| {
        let duration = 100.0 + 10.0 * test as f32 + more[test as usize];
        let outcome = if passed(test) { "passed" } else { "failed" };
        let keys = json!({"duration_ms": duration, "metrics": metrics(test)});
        (trials[test as usize].as_str(), outcome, keys)
    };
    let results = Results::of_rows(&(0..20).map(row).collect::<Vec<_>>());
    let table = RunTable::open(&results.run).unwrap();
    Side::new(table, Scope { has_metrics: true, ..Scope::default() }).unwrap()
}

fn assert_close(found: (f64, f64), expected: (f64, f64), tolerance: f64) {
    let is_close = |left: f64, right: f64| (left - right).abs() < tolerance;
    assert!(
        is_close(found.0, expected.0) && is_close(found.1, expected.1),
        "{found:?} is not {expected:?}"
    );
}

/// Values of scipy 1.17.1 and statsmodels 0.15.0: `proportion_confint(method="wilson")`, `binomtest(1, 7)` for McNemar's exact
/// test, `bootstrap(method="percentile")` with a million resamples, and `multipletests(method="holm")`.
#[test]
fn measures_are_those_of_scipy() {
    let more =
        [3, -1, 4, 1, -5, 9, 2, -6, 5, 3, 5, 8, -9, 7, 9, 3, 2, 3, 8, 4].map(|one: i8| one.into());
    let base = side(|test| test < 18, [0.0; 20], |_| json!([]));
    let new = side(|test| (6..19).contains(&test), more, |_| json!([]));
    let measures = |same: bool| measures([&base, &new], &[Some("p".to_owned())], same, 1).0;
    let found = measures(true);
    let [rate, duration] = &found[..] else { panic!("{found:?}") };
    assert_close(rate.base.interval.unwrap(), (69.896635, 97.213352), 1e-5);
    assert_close(rate.new.interval.unwrap(), (43.285428, 81.880818), 1e-5);
    assert_close((rate.change, rate.p.unwrap()), (-25.0, 0.125), 1e-9);
    assert_eq!(rate.change_unit.as_deref(), Some("pp"));
    assert_close((duration.base.value, duration.change), (195.0, 2.75), 1e-9);
    // 10,000 resamples differ by some hundredths.
    assert_close(duration.interval.unwrap(), (0.55, 4.75), 0.15);
    assert_close((duration.p.unwrap(), 0.0), (0.0168, 0.0), 0.004);
    assert_eq!([rate.worse, duration.worse], [false, true]);
    assert_eq!(found, measures(true));
    assert!(!measures(false)[1].worse, "another machine");
}

/// `binomtest(0, 8)` is 0.0078125.
#[test]
fn metrics_weaken_no_failure() {
    let metrics = |test: u32, more: u32| {
        let metric =
            |name: u32| json!({"name": format!("m{name}"), "value": test % 7 + more * (name % 3)});
        (0..20).map(metric).collect::<Value>()
    };
    let sides = [
        side(|_| true, [0.0; 20], |test| metrics(test, 0)),
        side(|test| test >= 8, [0.0; 20], |test| metrics(test, 1)),
    ];
    let (found, _) = measures([&sides[0], &sides[1]], &[Some("p".to_owned())], true, 1);
    let [rate, duration, metrics @ ..] = &found[..] else { panic!("{found:?}") };
    assert_close((rate.p.unwrap(), 0.0), (0.0078125, 0.0), 1e-9);
    assert!(rate.worse);
    // No duration has changed, and all changes of a metric are the same.
    assert_eq!((duration.p, duration.interval, duration.change), (None, None, 0.0));
    assert_eq!(metrics.len(), 20);
    for (place, metric) in metrics.iter().enumerate() {
        assert_eq!(metric.interval, None, "{metric:?}");
        assert_eq!(metric.p.is_some(), place % 3 > 0, "{metric:?}");
    }
}
