//! [`AttemptName`], [`PlannedTrial`]: one attempt and one trial, as documents tell of them.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    model::{Outcome, TrialId},
    record::words::{self, WordSchema},
};

/// Which attempt of which trial it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AttemptName {
    /// The trial's id: `test@provider#repeat`, or the trial's place in the plan where its id cannot be found.
    pub trial: String,
    /// Which execution of the trial it is, from 1.
    #[serde(rename = "attempt")]
    pub number: u32,
}

/// A trial that would run.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PlannedTrial<'a> {
    /// Its id: `test@provider#repeat`.
    pub trial: String,
    /// Its place in the plan, from 0.
    pub ordinal: u64,
    /// Its test's id.
    pub test: &'a str,
    /// Its provider's name.
    pub provider: &'a str,
    /// Which repeat of the test it is, from 1.
    pub repeat: u32,
    /// The test's tags.
    pub tags: &'a [String],
    /// What is known of it from the run that would go on; `null` in the plan of a new run.
    pub before: Option<TrialBefore>,
}

/// What is known of a trial from the sessions before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TrialBefore {
    /// What its final row says, where it has one and would run again all the same.
    #[serde(with = "words::optional_word")]
    #[schemars(with = "Option<WordSchema<Outcome>>")]
    pub outcome: Option<Outcome>,
    /// The number of its latest attempt; 0 if it never began.
    pub attempts: u32,
    /// At how many of the latest deaths of the process it was being executed.
    pub deaths: u32,
}

impl<'a> PlannedTrial<'a> {
    /// A trial with the tags of its test.
    pub fn new(
        id: &'a TrialId,
        ordinal: u64,
        tags: &'a [String],
        before: Option<TrialBefore>,
    ) -> Self {
        Self {
            trial: id.to_string(),
            ordinal,
            test: id.test.as_str(),
            provider: id.provider.as_str(),
            repeat: id.repeat,
            tags,
            before,
        }
    }
}
