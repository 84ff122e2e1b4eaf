//! Evaluates the `[gate]` of a scenario.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead as _, BufReader};
use std::mem;

use runner_model::known::{KnownEntry, KnownState};
use runner_model::row::FailureKinds;
use runner_model::statistics::wilson_of_rate;
use runner_model::{
    Gate, GateCondition, GateResult, GateRule, GateScope, Outcome, Places as _, RowRef, Text,
};
use runner_record::{Manifest, RecordError, RunDir};
use runner_results::RunTable;
use runner_scenario::{IdGlob, Scenario, Suite};
use serde::Deserialize;

/// A rule with the sums of its trials.
struct RuleTally<'g> {
    rule: &'g GateRule,
    /// The globs of a rule for providers.
    providers: Option<IdGlob>,
    sums: Sums,
    /// By index of its first repeat: the sums of a test on a provider with adaptive repeats.
    adaptive: BTreeMap<u64, Sums>,
}

/// The sums of the trials of a rule.
#[derive(Default)]
struct Sums {
    /// Sums of weights, their squares, weights of passed trials, of trials with a score, and weighted scores.
    weights: f64,
    squares: f64,
    passed: f64,
    scored: f64,
    scores: f64,
    trials: u64,
    scored_trials: u64,
    skipped: u64,
    /// Trials of tests with weight 0: of `trials`, and of `scored_trials`.
    weightless: u64,
    scored_weightless: u64,
    /// Without known failures.
    errors: u64,
}

/// The keys of a test that a gate needs.
#[derive(Deserialize)]
struct GatedTest<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(default = "one")]
    weight: f64,
    #[serde(default, borrow)]
    tags: Vec<Text<'a>>,
}

/// Entries of known failures that a condition names.
const MAX_NAMED: usize = 3;

fn one() -> f64 {
    1.0
}

/// Evaluates the gate of a plan whose trials all have results. Entries of known failures that have to apply are conditions if they
/// do not. `None` without a gate and such entries.
///
/// # Errors
///
/// The rows or the stored tests cannot be read.
pub(crate) fn evaluate(
    scenario: &Scenario,
    suite: &Suite,
    run: &RunDir,
    manifest: &Manifest,
) -> Result<Option<GateResult>, RecordError> {
    let known = run.known(manifest)?;
    let stale = known.failing_entries(manifest.metadata.selection.shard.is_some());
    let stale = (!stale.is_empty()).then(|| stale_entries(&stale, scenario.path()));
    let Some(Gate(rules)) = &scenario.gate else {
        let failed = |stale| GateResult { held: false, conditions: vec![stale] };
        return Ok(stale.map(failed));
    };
    let mut tallies: Vec<_> = rules.iter().map(RuleTally::new).collect();
    let tests = special_tests(rules, run, manifest)?;
    // The folder of a merged run has no manifest yet.
    let table = RunTable::open_as(run, manifest)?;
    let adaptive = suite.adaptive();
    table.each_row(table.settling().map(|row| row.number), |_, row, _| {
        let Some(index) = suite.index(&row.trial) else { return };
        let place = adaptive.partition_point(|repeats| repeats.first <= index).checked_sub(1);
        let repeats = place.map(|place| adaptive[place]);
        let repeats = repeats.filter(|repeats| index - repeats.first < repeats.max.into());
        let (weight, tags) = tests
            .get(&*row.test)
            .map_or((1.0, &[][..]), |(weight, tags)| (*weight, tags.as_slice()));
        for tally in &mut tallies {
            if tally.includes(row, tags) {
                let sums = match repeats {
                    Some(repeats) => tally.adaptive.entry(repeats.first).or_default(),
                    None => &mut tally.sums,
                };
                sums.add(row, weight);
                let is_error = matches!(row.outcome, Outcome::Error | Outcome::Timeout);
                let state =
                    known.state(&row.test, &row.provider, row.outcome, || FailureKinds::of(row));
                tally.sums.errors += u64::from(is_error && state != KnownState::Known);
            }
        }
    })?;
    for tally in &mut tallies {
        for (_, repeats) in mem::take(&mut tally.adaptive) {
            tally.sums.add_repeats(&repeats);
        }
    }
    let conditions = tallies.iter().flat_map(RuleTally::conditions);
    let conditions: Vec<_> = conditions.chain(stale).collect();
    let held = conditions.iter().all(|condition| condition.held);
    Ok(Some(GateResult { held, conditions }))
}

/// Returns the condition that entries of known failures do not hold, which do not apply although they have to.
fn stale_entries(entries: &[&KnownEntry], scenario: &str) -> GateCondition {
    let named = entries.iter().take(MAX_NAMED).filter_map(|entry| {
        let stale = entry.stale?.as_str();
        Some(format!("{}, {stale}", entry.named(scenario)))
    });
    GateCondition {
        scope: GateScope::All,
        key: "known.strict".to_owned(),
        bound: 0.0,
        value: Some(entries.len() as f64),
        interval: None,
        trials: 0,
        left_out: 0,
        weightless: 0,
        entries: named.collect(),
        held: false,
    }
}

/// Returns the notice of a gate that could not be evaluated.
pub(crate) fn not_evaluated(error: &RecordError) -> String {
    format!("the gate could not be evaluated, so it does not hold: {error}")
}

/// Returns weight and tags of the tests that have another weight than 1, or a tag of a rule.
fn special_tests(
    rules: &[GateRule],
    run: &RunDir,
    manifest: &Manifest,
) -> Result<HashMap<String, (f64, Vec<String>)>, RecordError> {
    let is_of_rule = |tag: &Text<'_>| {
        rules.iter().any(|rule| matches!(&rule.scope, GateScope::Tag(name) if *name == **tag))
    };
    let read = || -> io::Result<_> {
        let suite = run.content(&manifest.metadata.suite).map_err(io::Error::other)?;
        let mut tests = HashMap::new();
        for line in BufReader::new(suite).lines() {
            let line = line?;
            // Most tests have neither, and parsing takes longer than this search.
            if !line.contains("\"weight\":") && !line.contains("\"tags\":") {
                continue;
            }
            let GatedTest { id, weight, tags } = serde_json::from_str(&line)?;
            let tags: Vec<_> = tags.iter().filter(|tag| is_of_rule(tag)).collect();
            if !tags.is_empty() || (weight - 1.0).abs() > 0.0 {
                let tags = tags.into_iter().map(ToString::to_string).collect();
                tests.insert(id.to_string(), (weight, tags));
            }
        }
        Ok(tests)
    };
    read().map_err(|source| RecordError::Io {
        what: "read the stored tests of",
        path: run.path(),
        source,
    })
}

impl<'g> RuleTally<'g> {
    fn new(rule: &'g GateRule) -> Self {
        let providers = match &rule.scope {
            // The scenario has checked the glob.
            GateScope::Provider(glob) => IdGlob::new(glob).ok(),
            GateScope::All | GateScope::Tag(_) => None,
        };
        Self { rule, providers, sums: Sums::default(), adaptive: BTreeMap::new() }
    }

    fn includes(&self, row: &RowRef<'_>, tags: &[String]) -> bool {
        match &self.rule.scope {
            GateScope::All => true,
            GateScope::Tag(tag) => tags.contains(tag),
            GateScope::Provider(_) => {
                self.providers.as_ref().is_some_and(|glob| glob.is_match(&row.provider))
            }
        }
    }

    fn conditions(&self) -> Vec<GateCondition> {
        /// Sums of weights are rounded.
        const TOLERANCE: f64 = 1e-9;
        let rule = self.rule;
        let sums = &self.sums;
        let condition = |key: &str, bound, value: Option<f64>, trials, held| GateCondition {
            scope: rule.scope.clone(),
            key: key.to_owned(),
            bound,
            // The sums are inexact, and the condition holds.
            value: value
                .map(|value| if (value - bound).abs() <= TOLERANCE { bound } else { value }),
            interval: None,
            trials,
            left_out: sums.trials - trials + sums.skipped,
            weightless: 0,
            entries: Vec::new(),
            held,
        };
        let is_least = |bound: f64, value: Option<f64>, without| {
            value.map_or(without, |value| value >= bound - TOLERANCE)
        };
        // A selection may leave a rule without trials. Trials that were all skipped show nothing.
        let is_empty = sums.trials + sums.skipped == 0;
        let mut conditions = Vec::new();
        if let Some(bound) = rule.pass_rate {
            let rate = (sums.weights > 0.0).then(|| sums.passed / sums.weights);
            let held = is_least(bound, rate, is_empty);
            conditions.push(GateCondition {
                // The squares of tiny weights are 0.
                interval: rate.filter(|_| sums.squares > 0.0).map(|rate| sums.interval(rate)),
                weightless: sums.weightless,
                ..condition("pass_rate", bound, rate, sums.trials - sums.weightless, held)
            });
        }
        if let Some(bound) = rule.min_score {
            let mean = (sums.scored > 0.0).then(|| sums.scores / sums.scored);
            let held = is_least(bound, mean, is_empty);
            let weightless = sums.scored_weightless;
            conditions.push(GateCondition {
                weightless,
                ..condition("min_score", bound, mean, sums.scored_trials - weightless, held)
            });
        }
        if let Some(most) = rule.max_errors {
            let errors = sums.errors as f64;
            let held = sums.errors <= most;
            // Errors are counted, and not averaged.
            conditions.push(GateCondition {
                left_out: 0,
                ..condition("max_errors", most as f64, Some(errors), sums.trials, held)
            });
        }
        conditions
    }
}

impl Sums {
    fn add(&mut self, row: &RowRef<'_>, weight: f64) {
        if row.outcome == Outcome::Skipped {
            self.skipped += 1;
            return;
        }
        let weightless = u64::from(weight <= 0.0);
        self.trials += 1;
        self.weightless += weightless;
        self.weights += weight;
        self.squares += weight * weight;
        if row.outcome == Outcome::Passed {
            self.passed += weight;
        }
        if let Some(score) = row.trial_score() {
            self.scored += weight;
            self.scores += weight * score;
            self.scored_trials += 1;
            self.scored_weightless += weightless;
        }
    }

    /// Adds the trials of a test on a provider with adaptive repeats. Together they have the weight of one trial: uncertain tests
    /// have the most repeats, so a mean of trials would be one of uncertain tests.
    fn add_repeats(&mut self, repeats: &Self) {
        let rated = (repeats.trials - repeats.weightless).max(1) as f64;
        let scored = (repeats.scored_trials - repeats.scored_weightless).max(1) as f64;
        self.weights += repeats.weights / rated;
        self.squares += repeats.squares / (rated * rated);
        self.passed += repeats.passed / rated;
        self.scored += repeats.scored / scored;
        self.scores += repeats.scores / scored;
        self.trials += repeats.trials;
        self.scored_trials += repeats.scored_trials;
        self.skipped += repeats.skipped;
        self.weightless += repeats.weightless;
        self.scored_weightless += repeats.scored_weightless;
    }

    /// Returns Wilson's interval of a rate. Weighted trials count as Kish's effective sample size, (Σw)² ÷ Σw².
    fn interval(&self, rate: f64) -> (f64, f64) {
        let size = self.weights * self.weights / self.squares;
        wilson_of_rate(rate, size)
    }
}
