//! [`TrialPage`]: a trial, with the texts that a browser would change if it read them as JSON.

use std::collections::BTreeMap;

use runner_model::{Outcome, RowRef, known::KnownState};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{Line, TrialDocument, failure, failure::Tone};

/// A trial as `show RUN TRIAL` prints it, with texts for pages.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TrialPage {
    #[serde(flatten)]
    trial: TrialDocument,
    /// The planned input as JSON, with its numbers as written. `null` if the stored tests cannot be read.
    input: Option<String>,
    /// The expectations as JSON.
    expected: Option<String>,
    /// The test's reference as JSON. `null` without one.
    reference: Option<String>,
    /// The shown attempt's output as JSON. `null` without one.
    output: Option<String>,
    /// The expected output as JSON, if one is compared with all of the output.
    expected_output: Option<String>,
    /// Reasons of the shown attempt, as lines.
    reasons: Vec<ReasonLine>,
    /// Outputs of the shown attempt and of other providers, in the order of their names.
    outputs: Vec<ProviderOutput>,
}

/// The output of a provider for the same test and repeat.
#[derive(Debug, Serialize, JsonSchema)]
struct ProviderOutput {
    provider: String,
    trial: String,
    outcome: Outcome,
    flaky: bool,
    /// `known` for a known failure, `unexpected-pass` for a pass that the list does not expect. Absent for other results.
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<KnownState>,
    duration_ms: f64,
    /// Mean score of the trial. `null` without checks or grades that have one.
    score: Option<f64>,
    /// As JSON, with its numbers as written. `null` without one.
    output: Option<String>,
    /// Reason of the failure, on one line.
    reason: Option<String>,
}

impl ProviderOutput {
    fn new(row: &RowRef<'_>, known: Option<KnownState>) -> Self {
        let has_failed = row.outcome != Outcome::Passed;
        Self {
            provider: row.provider.to_string(),
            trial: row.trial.to_string(),
            outcome: row.outcome,
            flaky: row.flaky,
            known,
            duration_ms: row.duration_ms,
            score: row.trial_score(),
            output: row.output.as_ref().map(|output| output.get().to_owned()),
            reason: has_failed.then(|| failure::headline(row)),
        }
    }
}

/// A line of the reasons why a trial did not pass.
#[derive(Debug, Serialize, JsonSchema)]
struct ReasonLine {
    tone: Tone,
    text: String,
}

impl TrialPage {
    #[must_use]
    pub fn new(trial: TrialDocument) -> Self {
        let planned = trial.planned.as_deref();
        let [input, expected, reference] =
            ["input", "expect", "reference"].map(|key| raw(planned?.get(), key));
        let expected_output = expected.as_deref().and_then(|expect| raw(expect, "equals"));
        let mut row = trial.row();
        // The page has them next to the grades.
        for grade in row.iter_mut().flat_map(|row| &mut row.grades) {
            grade.explanation = None;
        }
        let output = row.as_ref().and_then(|row| Some(row.output.as_ref()?.get().to_owned()));
        let lines = row.iter().flat_map(|row| failure::block(row, usize::MAX));
        let reasons = lines.map(|(tone, text)| ReasonLine { tone, text }).collect();
        let others = trial.others.iter().filter_map(Line::row);
        let mut outputs: Vec<_> =
            others.map(|row| ProviderOutput::new(&row, trial.known_of(&row))).collect();
        let known = trial.known.as_ref().map(|known| known.state);
        outputs.extend(row.as_ref().map(|row| ProviderOutput::new(row, known)));
        outputs.sort_by(|left, right| left.provider.cmp(&right.provider));
        drop(row);
        Self { input, expected, reference, output, expected_output, reasons, outputs, trial }
    }
}

/// Returns the value of a key as it is written.
fn raw(object: &str, key: &str) -> Option<String> {
    let mut keys: BTreeMap<String, Box<RawValue>> = serde_json::from_str(object).ok()?;
    keys.remove(key).map(|json| json.get().to_owned())
}
