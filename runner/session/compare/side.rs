//! [`Side`]: as much of a run as a comparison needs, some dozen bytes a trial.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::{
    filter::Filter,
    model::{CheckVerdict, Digest, Outcome},
    record::{Look, Manifest, RecordError, Row, RunEntry},
    run::TrialNames,
    session::selecting::RowFilter,
};

/// Characters of why a trial has not passed.
const MAX_WHY: usize = 160;

/// A run, as far as it is compared.
pub(super) struct Side {
    pub(super) run: RunEntry,
    pub(super) manifest: Manifest,
    /// Its trials, in the order of its plan.
    pub(super) trials: Vec<SideTrial>,
    /// The ids of its tests, by number.
    pub(super) tests: Words,
    /// The names of its providers, by number.
    pub(super) providers: Words,
    /// What its trials measured, name and unit, by number.
    pub(super) metrics: Vec<(String, Option<String>)>,
    values: Vec<(u32, f64)>,
    /// Digests of what its tests are, by the number of the test; empty if they are the other side's too, or not known.
    pub(super) contents: Vec<Option<TestContent>>,
}

/// A trial, as far as it is compared.
pub(super) struct SideTrial {
    pub(super) test: u32,
    pub(super) provider: u32,
    pub(super) repeat: u32,
    /// `None` if nothing has settled it.
    pub(super) outcome: Option<Outcome>,
    pub(super) is_flaky: bool,
    pub(super) score: Option<f64>,
    pub(super) duration_ms: f64,
    /// Where its metrics are.
    metrics: (usize, usize),
    pub(super) why: Option<Box<str>>,
    /// Whether the filter means it.
    pub(super) is_meant: bool,
}

/// Digests of a test: what decides what its provider does, and what that means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct TestContent {
    pub(super) execution: Digest,
    pub(super) judgement: Digest,
}

/// Words by number.
#[derive(Default)]
pub(super) struct Words {
    numbers: HashMap<Box<str>, u32>,
    words: Vec<Box<str>>,
}

impl Words {
    pub(super) fn number(&mut self, word: &str) -> u32 {
        if let Some(number) = self.numbers.get(word) {
            return *number;
        }
        let number = u32::try_from(self.words.len()).expect("a run has fewer tests");
        self.words.push(word.into());
        self.numbers.insert(word.into(), number);
        number
    }

    pub(super) fn find(&self, word: &str) -> Option<u32> {
        self.numbers.get(word).copied()
    }

    pub(super) fn word(&self, number: u32) -> &str {
        &self.words[number as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.words.len()
    }
}

impl Side {
    pub(super) fn read(
        look: &Look,
        are_same_tests: bool,
        filter: Option<&Filter>,
        damaged: &Mutex<impl FnMut(&dyn std::error::Error) + Send>,
    ) -> Result<Self, RecordError> {
        let reader = look.reader();
        let mut filter = filter.map(|filter| RowFilter::new(filter.expression().clone(), reader));
        let mut taking = Taking::default();
        let tell = |error: &dyn std::error::Error| {
            let mut damaged = damaged.lock().unwrap_or_else(PoisonError::into_inner);
            damaged(error);
        };
        let (results, rows) = reader.settled(
            |row| SideTrial {
                is_meant: filter.as_mut().is_none_or(|filter| filter.means(row, true)),
                ..taking.trial(row)
            },
            tell,
        )?;
        let (run, _) = look.entry(&results.history)?;
        let mut names = TrialNames::of(reader);
        let mut trials = Vec::new();
        for (ordinal, row) in (0..).zip(rows) {
            let trial = row.or_else(|| {
                let names = names.as_mut()?;
                let trial = taking.not_settled(names, ordinal)?;
                let filter = filter.as_mut();
                let is_meant = filter.is_none_or(|filter| filter.means_unsettled(names, ordinal));
                Some(SideTrial { is_meant, ..trial })
            });
            trials.extend(trial);
        }
        let mut side = Self {
            run,
            manifest: reader.manifest().clone(),
            trials,
            tests: taking.tests,
            providers: taking.providers,
            metrics: taking.metric_names,
            values: taking.values,
            contents: Vec::new(),
        };
        if let (false, Some(names)) = (are_same_tests, names) {
            side.read_contents(names);
        }
        Ok(side)
    }

    /// What a trial measured, by the number of the metric.
    pub(super) fn metrics_of(&self, trial: &SideTrial) -> &[(u32, f64)] {
        &self.values[trial.metrics.0..trial.metrics.1]
    }

    fn read_contents(&mut self, mut names: TrialNames) {
        self.contents = vec![None; self.tests.len()];
        for ordinal in 0..self.manifest.metadata.planned_test_count {
            let Some(test) = names.test(ordinal) else {
                continue;
            };
            if let Some(number) = self.tests.find(test.id.as_str()) {
                self.contents[number as usize] = Some(TestContent {
                    execution: test.execution,
                    judgement: test.judgement,
                });
            }
        }
    }
}

/// What is taken of rows while they are read.
#[derive(Default)]
struct Taking {
    tests: Words,
    providers: Words,
    metrics: HashMap<String, Vec<u32>>,
    metric_names: Vec<(String, Option<String>)>,
    values: Vec<(u32, f64)>,
}

impl Taking {
    fn trial(&mut self, row: &Row<'_>) -> SideTrial {
        let first = self.values.len();
        for metric in &row.metrics {
            let number = self.metric(&metric.name, metric.unit.as_deref());
            self.values.push((number, metric.value));
        }
        SideTrial {
            test: self.tests.number(&row.test),
            provider: self.providers.number(&row.provider),
            repeat: row.repeat,
            outcome: Some(row.outcome),
            is_flaky: row.is_flaky,
            score: row.score,
            duration_ms: row.duration_ms,
            metrics: (first, self.values.len()),
            why: row.outcome.is_bad().then(|| why(row)).flatten(),
            is_meant: true,
        }
    }

    /// A trial that nothing has settled.
    fn not_settled(&mut self, names: &mut TrialNames, ordinal: u64) -> Option<SideTrial> {
        let id = names.name(ordinal)?;
        Some(SideTrial {
            test: self.tests.number(id.test.as_str()),
            provider: self.providers.number(id.provider.as_str()),
            repeat: id.repeat,
            outcome: None,
            is_flaky: false,
            score: None,
            duration_ms: 0.0,
            metrics: (0, 0),
            why: None,
            is_meant: true,
        })
    }

    fn metric(&mut self, name: &str, unit: Option<&str>) -> u32 {
        let known = self.metrics.get(name);
        let known = known.into_iter().flatten();
        for number in known {
            if self.metric_names[*number as usize].1.as_deref() == unit {
                return *number;
            }
        }
        let number = u32::try_from(self.metric_names.len()).expect("a run measures fewer things");
        self.metric_names
            .push((name.to_owned(), unit.map(str::to_owned)));
        self.metrics
            .entry(name.to_owned())
            .or_default()
            .push(number);
        number
    }
}

/// Why a trial has not passed, on one line: its error, or the first check that does not hold.
fn why(row: &Row<'_>) -> Option<Box<str>> {
    let text = match (&row.error, &row.summary) {
        (Some(error), _) => error.told(),
        (None, summary) => {
            let mut checks = row.checks.iter();
            let check = checks.find(|check| check.verdict == CheckVerdict::Fail);
            match (check, summary) {
                (Some(check), _) => match &check.message {
                    Some(message) => format!("{}: {message}", check.name),
                    None => check.name.to_string(),
                },
                (None, Some(summary)) => summary.to_string(),
                (None, None) => return None,
            }
        }
    };
    let line = text.lines().next().unwrap_or_default();
    let kept: String = line.chars().take(MAX_WHY).collect();
    let more = if kept.len() < text.trim_end().len() {
        "…"
    } else {
        ""
    };
    Some(format!("{kept}{more}").into())
}
