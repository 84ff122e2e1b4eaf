//! [`measured`]: what trials measured on both sides, test by test, and how far a difference is no chance.

use std::{collections::HashMap, thread};

use super::{
    cases::{Case, Cases, mean},
    pair::ProviderPair,
    side::{Side, SideTrial},
};
use crate::{
    model::{Digest, holm, resampled, sign_test},
    view::{ComparedMeasure, MeasureKind, MeasureTest},
};

/// The least p-value that is no sign of a difference.
const SIGNIFICANT: f64 = 0.05;
/// How many metrics are compared, the first by name: a guest may measure as many as it likes.
const MAX_METRICS: usize = 50;

/// Something that is measured, with what each test has of it.
struct Measured {
    pair: usize,
    kind: MeasureKind,
    name: String,
    unit: Option<String>,
    /// The means of a test on both sides.
    tests: Vec<(f64, f64)>,
}

/// What the trials of each pair of providers measured.
pub(super) fn measured(
    base: &Side,
    new: &Side,
    cases: &Cases,
    pairs: &[ProviderPair],
) -> Vec<Vec<ComparedMeasure>> {
    let mut all = Vec::new();
    for pair in 0..pairs.len() {
        collect(base, new, cases, pair, &mut all);
    }
    let digest = |side: &Side| side.manifest.metadata.plan_digest.to_string();
    let seed = digest(base) + &digest(new);
    let compared = |measured: &Measured| {
        let pair = &pairs[measured.pair];
        let names = [pair.base.as_deref(), pair.new.as_deref()].map(Option::unwrap_or_default);
        let text = format!(
            "{seed}\n{}\n{}\n{}",
            names.join("\n"),
            measured.kind.word(),
            measured.name
        );
        let digest = Digest::of(text.as_bytes());
        let (first, _) = digest
            .as_bytes()
            .split_first_chunk()
            .expect("a digest has 32 bytes");
        compare(measured, u64::from_le_bytes(*first))
    };
    let mut results = on_threads(&all, compared);
    let known: Vec<usize> = (0..results.len())
        .filter(|at| results[*at].p.is_some())
        .collect();
    let values: Vec<f64> = known.iter().filter_map(|at| results[*at].p).collect();
    for (at, p) in known.into_iter().zip(holm(&values)) {
        results[at].p_corrected = Some(p);
        results[at].is_significant = p < SIGNIFICANT;
    }
    let mut by_pair = vec![Vec::new(); pairs.len()];
    for (measured, result) in all.iter().zip(results) {
        by_pair[measured.pair].push(result);
    }
    by_pair
}

/// Does the work for each item, on as many threads as there are cores; the results have the order of the items.
fn on_threads<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(items.len());
    let next = std::sync::atomic::AtomicUsize::new(0);
    let take = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let Some(item) = items.get(at) else {
                return done;
            };
            done.push((at, work(item)));
        }
    };
    let mut results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(take)).collect();
        let joined = threads.into_iter().map(|thread| match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.flatten().collect()
    });
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

fn compare(measured: &Measured, seed: u64) -> ComparedMeasure {
    let tests = &measured.tests;
    let differences: Vec<f64> = tests.iter().map(|(base, new)| new - base).collect();
    let side = |value: fn(&(f64, f64)) -> f64| mean(tests.iter().map(value)).unwrap_or_default();
    let resampled = resampled(&differences, seed);
    let is_pass = measured.kind == MeasureKind::PassRate;
    let p = match is_pass {
        false => resampled.map(|resampled| resampled.p),
        true => {
            let fallen = differences.iter().filter(|change| **change < 0.0).count() as u64;
            let risen = differences.iter().filter(|change| **change > 0.0).count() as u64;
            resampled.map(|_| sign_test(fallen, risen))
        }
    };
    ComparedMeasure {
        kind: measured.kind,
        name: measured.name.clone(),
        unit: measured.unit.clone(),
        tests: tests.len() as u64,
        base: side(|(base, _)| *base),
        new: side(|(_, new)| *new),
        change: mean(differences.into_iter()).unwrap_or_default(),
        interval: resampled.map(|resampled| resampled.interval),
        resamples: resampled.map_or(0, |resampled| resampled.resamples as u64),
        p,
        p_corrected: None,
        test: match is_pass {
            true => MeasureTest::McNemar,
            false => MeasureTest::Bootstrap,
        },
        is_significant: false,
    }
}

/// Adds what the trials of a pair of providers measured.
fn collect(base: &Side, new: &Side, cases: &Cases, pair: usize, all: &mut Vec<Measured>) {
    let of_pair: Vec<&Case> = cases
        .in_order()
        .iter()
        .filter(|case| case.pair == pair && !case.base.is_empty() && !case.new.is_empty())
        .collect();
    let mut add = |kind, name: &str, unit: Option<String>, value: &Value<'_>| {
        let each = of_pair.iter();
        let tests: Vec<_> = each
            .filter_map(|case| paired(base, new, case, value))
            .collect();
        if !tests.is_empty() {
            all.push(Measured {
                pair,
                kind,
                name: name.to_owned(),
                unit,
                tests,
            });
        }
    };
    add(MeasureKind::PassRate, "pass rate", None, &|_, trial| {
        trial.pass()
    });
    add(MeasureKind::Score, "score", None, &|_, trial| trial.score);
    add(MeasureKind::Duration, "duration", None, &|_, trial| {
        trial.has_duration().then_some(trial.duration_ms)
    });
    for (name, unit) in shared_metrics(base, new) {
        let number = |side: &Side| {
            let mut names = side.metrics.iter();
            names.position(|known| known.0 == name && known.1 == unit)
        };
        let numbers = (number(base), number(new));
        add(MeasureKind::Metric, &name, unit.clone(), &|side, trial| {
            let number = if side.is_base { numbers.0 } else { numbers.1 };
            let mut values = side.side.metrics_of(trial).iter();
            let found = values.find(|(metric, _)| Some(*metric as usize) == number);
            found.map(|(_, value)| *value)
        });
    }
}

/// A side, and which.
struct Sided<'a> {
    side: &'a Side,
    is_base: bool,
}

/// What a trial has of something.
type Value<'a> = dyn Fn(&Sided<'_>, &SideTrial) -> Option<f64> + 'a;

/// The means of a test on both sides: over the repeats that have it on both, or over all if there are not as many.
fn paired(base: &Side, new: &Side, case: &Case, value: &Value<'_>) -> Option<(f64, f64)> {
    let (base, new) = (
        Sided {
            side: base,
            is_base: true,
        },
        Sided {
            side: new,
            is_base: false,
        },
    );
    let values = |sided: &Sided<'_>, places: &[u32]| -> Vec<(u32, f64)> {
        let trials = places
            .iter()
            .map(|place| &sided.side.trials[*place as usize]);
        trials
            .filter_map(|trial| Some((trial.repeat, value(sided, trial)?)))
            .filter(|(_, value)| value.is_finite())
            .collect()
    };
    let (before, now) = (values(&base, &case.base), values(&new, &case.new));
    if let ([(one, first)], [(other, second)]) = (&before[..], &now[..])
        && one == other
    {
        return Some((*first, *second));
    }
    if case.has_other_repeats() {
        let all = |values: &[(u32, f64)]| mean(values.iter().map(|(_, value)| *value));
        return all(&before).zip(all(&now));
    }
    let now: HashMap<u32, f64> = now.into_iter().collect();
    let both: Vec<_> = before
        .iter()
        .filter_map(|(repeat, value)| Some((*value, *now.get(repeat)?)))
        .collect();
    let first = mean(both.iter().map(|(base, _)| *base));
    first.zip(mean(both.iter().map(|(_, new)| *new)))
}

/// The metrics that both sides have, by name and unit.
fn shared_metrics(base: &Side, new: &Side) -> Vec<(String, Option<String>)> {
    let mut shared: Vec<_> = new
        .metrics
        .iter()
        .filter(|metric| base.metrics.contains(metric))
        .cloned()
        .collect();
    shared.sort();
    shared.truncate(MAX_METRICS);
    shared
}
