//! [`TrialPage`]: a trial, with the texts that a browser would change if it read them as JSON.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{TrialDocument, failure, failure::Tone};

/// A trial as `show RUN TRIAL` prints it, with texts for pages.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TrialPage {
    #[serde(flatten)]
    pub trial: TrialDocument,
    /// The planned input as JSON, with its numbers as written. `null` if the stored tests cannot be read.
    pub input: Option<String>,
    /// The expectations as JSON.
    pub expected: Option<String>,
    /// The shown attempt's output as JSON. `null` without one.
    pub output: Option<String>,
    /// The expected output as JSON, if one is compared with all of the output.
    pub expected_output: Option<String>,
    /// Reasons of the shown attempt, as lines.
    pub reasons: Vec<ReasonLine>,
}

/// A line of the reasons why a trial did not pass.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ReasonLine {
    pub tone: Tone,
    pub text: String,
}

impl TrialPage {
    #[must_use]
    pub fn new(trial: TrialDocument) -> Self {
        let mut page = Self {
            trial,
            input: None,
            expected: None,
            output: None,
            expected_output: None,
            reasons: Vec::new(),
        };
        let planned = page.trial.planned.as_deref();
        let key = |key: &str| raw(planned?, key);
        let (input, expect) = (key("input"), key("expect"));
        let equals = expect.as_deref().and_then(|expect| raw(expect, "equals"));
        let row = page.trial.row();
        let output = row.as_ref().and_then(|row| Some(row.output.as_ref()?.get().to_owned()));
        let lines = row.iter().flat_map(|row| failure::block(row, usize::MAX));
        let reasons = lines.map(|(tone, text)| ReasonLine { tone, text }).collect();
        let has_other = row.as_ref().is_some_and(|row| page.trial.has_other_expectations(row));
        drop(row);
        let text = |json: Option<Box<RawValue>>| json.map(|json| json.get().to_owned());
        (page.input, page.output, page.reasons) = (text(input), output, reasons);
        if !has_other {
            (page.expected, page.expected_output) = (text(expect), text(equals));
        }
        page
    }
}

/// Returns the value of a key as it is written.
fn raw(object: &RawValue, key: &str) -> Option<Box<RawValue>> {
    let mut keys: std::collections::BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(object.get()).ok()?;
    keys.remove(key)
}
