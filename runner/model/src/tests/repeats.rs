use super::RepeatUntil;
use crate::Outcome;
use crate::statistics::wilson;

/// The end of adaptive repeats at a pass rate: the probability that the interval contains the rate, the probability that it is
/// narrow enough, and the mean number of repeats.
struct Ends {
    coverage: f64,
    narrow: f64,
    repeats: f64,
}

/// Computes the ends exactly: the probability of each number of passes, repeat by repeat, without those that have ended.
fn ends(rate: f64, until: RepeatUntil, max: u64) -> Ends {
    let mut open = vec![1.0];
    let mut ends = Ends { coverage: 0.0, narrow: 0.0, repeats: 0.0 };
    for total in 1..=max {
        let mut next = vec![0.0; open.len() + 1];
        for (passed, probability) in open.iter().enumerate() {
            next[passed + 1] += probability * rate;
            next[passed] += probability * (1.0 - rate);
        }
        for (passed, probability) in (0..).zip(&mut next) {
            let is_narrow = total >= u64::from(until.min) && until.is_narrow(passed, total);
            if !is_narrow && total < max {
                continue;
            }
            let (low, high) = wilson(passed, total);
            // The bounds of 1 and 0 are inexact.
            let (low, high) = (low - 1e-12, high + 1e-12);
            ends.coverage += if (low..=high).contains(&rate) { *probability } else { 0.0 };
            ends.narrow += if is_narrow { *probability } else { 0.0 };
            ends.repeats += *probability * total as f64;
            *probability = 0.0;
        }
        open = next;
    }
    ends
}

/// Returns the lowest coverage at the rates from `least` to 1 - `least`, in steps of 1 / `steps`, with its rate.
fn lowest(until: RepeatUntil, max: u64, least: f64, steps: u32) -> (f64, f64) {
    let rates = (1..steps).map(|step| f64::from(step) / f64::from(steps));
    let rates = rates.filter(|rate| (least..=1.0 - least).contains(rate));
    let all = rates.map(|rate| (ends(rate, until, max).coverage, rate));
    all.min_by(|left, right| left.0.total_cmp(&right.0)).unwrap()
}

/// Intervals of a fixed number of repeats have such lows, too: Wilson's for 100 repeats covers 0.9275 at 0.055.
#[test]
#[expect(clippy::print_stderr, reason = "the figures that the docs name")]
fn intervals_of_adaptive_repeats_cover_the_rate() {
    let wide = RepeatUntil { min: 5, width: 0.1 };
    let narrow = RepeatUntil { min: 5, width: 0.05 };
    for (until, max, least, steps, bar) in [
        (wide, 100, 0.05, 100, 0.92),
        // Between these rates, the lowest is 0.9190 at 0.875.
        (wide, 100, 0.05, 1000, 0.9189),
        (narrow, 400, 0.1, 100, 0.94),
    ] {
        let (coverage, rate) = lowest(until, max, least, steps);
        let RepeatUntil { width, .. } = until;
        eprintln!("max {max}, width {width}, steps {steps}: at least {coverage:.4}, at {rate}");
        assert!(coverage >= bar, "max {max}, width {width}: {coverage} at {rate}");
    }
    for (until, max) in [(wide, 100), (narrow, 400)] {
        for rate in [0.5, 0.9, 1.0] {
            let Ends { coverage, narrow, repeats } = ends(rate, until, max);
            let width = until.width;
            eprintln!(
                "max {max}, width {width}, rate {rate}: coverage {coverage:.4}, {repeats:.1} repeats, narrow {narrow:.4}"
            );
        }
    }
}

#[test]
fn repeats_end_once_the_interval_is_narrow() {
    let until = RepeatUntil { min: 5, width: 0.2 };
    let is_decided = |results: &[Option<Outcome>]| until.is_decided(results.iter().copied());
    let passed = Some(Outcome::Passed);
    let mut results = vec![None; 100];
    for (repeat, decided) in [(5, false), (15, false), (16, true), (17, true)] {
        results[..repeat].fill(passed);
        assert_eq!(is_decided(&results), decided, "{repeat}");
    }
    // A result after a missing one does not count.
    results[2] = None;
    assert!(!is_decided(&results));
    for outcome in [Outcome::Failed, Outcome::Error, Outcome::Timeout, Outcome::Skipped] {
        results[..17].fill(Some(outcome));
        assert!(is_decided(&results), "{outcome}");
    }
    for (repeat, result) in results.iter_mut().enumerate() {
        *result = if repeat % 2 == 0 { passed } else { Some(Outcome::Error) };
    }
    assert!(!is_decided(&[&results[..80], &[None; 20]].concat()));
    assert!(is_decided(&results));
    // The last planned repeat ends them in any case.
    assert!(is_decided(&results[..6]));
}
