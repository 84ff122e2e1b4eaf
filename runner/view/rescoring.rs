//! [`RescoreReport`]: what came of judging stored outputs again.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::version::DocumentVersion;
use crate::{
    model::{CheckVerdict, Outcome},
    record::{
        ManifestCounts,
        words::{self, WordSchema},
    },
};

/// How many trials a document names of each kind; all of them are counted.
pub const MAX_RESCORED: usize = 10_000;

/// The document of `runner rescore --json`: which trials mean something else now.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RescoreReport {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// Whether nothing was written, and this is what would be.
    pub is_dry_run: bool,
    /// The run.
    pub run: String,
    /// The session that wrote the judgements; `null` if none were written.
    pub session: Option<u32>,
    /// The scenario that trials were judged by.
    pub scenario: PathBuf,
    /// How many trials came to what by that.
    pub rescored: RescoreCounts,
    /// What the run's trials came to before.
    pub before: ManifestCounts,
    /// What they come to by now.
    pub after: ManifestCounts,
    /// The trials that mean something else now, in the order of writing; the first ten thousand.
    pub changes: Vec<RescoredTrial>,
    /// The trials that were not judged again, and why; the first ten thousand.
    pub kept: Vec<KeptTrial>,
    /// The trials of which graders have still to speak, in the order of the plan; the first ten thousand.
    pub ungraded: Vec<UngradedTrial>,
}

/// How many trials came to what when they were judged again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RescoreCounts {
    /// They had ended badly, and do so no more.
    pub fixed: u64,
    /// They end badly now, and did not.
    pub regressed: u64,
    /// They came to something else, as bad or as good.
    pub other: u64,
    /// They came to the same.
    pub same: u64,
    /// They were judged by these expectations already.
    pub unchanged: u64,
    /// They could not be judged again.
    pub kept: u64,
    /// Graders would be asked of them, or were to be when the session was stopped.
    pub ungraded: u64,
}

/// A trial that means something else now.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RescoredTrial {
    /// Its id.
    pub trial: String,
    /// What it came to before.
    #[serde(with = "words::word")]
    #[schemars(with = "WordSchema<Outcome>")]
    pub before: Outcome,
    /// What it comes to now.
    #[serde(with = "words::word")]
    #[schemars(with = "WordSchema<Outcome>")]
    pub after: Outcome,
    /// The checks that came, went or ended otherwise.
    pub checks: Vec<RescoredCheck>,
}

/// A check that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RescoredCheck {
    /// Its name.
    pub name: String,
    /// Whether it held; `null` if it was not made.
    #[serde(with = "words::optional_word")]
    #[schemars(with = "Option<WordSchema<CheckVerdict>>")]
    pub before: Option<CheckVerdict>,
    /// Whether it holds now; `null` if it is not made any more.
    #[serde(with = "words::optional_word")]
    #[schemars(with = "Option<WordSchema<CheckVerdict>>")]
    pub after: Option<CheckVerdict>,
    /// Why it does not hold now.
    pub message: Option<String>,
}

/// A trial that was not judged again.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct KeptTrial {
    /// Its id.
    pub trial: String,
    /// What it came to, and still does.
    #[serde(with = "words::word")]
    #[schemars(with = "WordSchema<Outcome>")]
    pub outcome: Outcome,
    /// Why.
    pub because: String,
}

/// A trial of which graders have still to speak.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct UngradedTrial {
    /// Its id.
    pub trial: String,
    /// What it came to, and still does.
    #[serde(with = "words::word")]
    #[schemars(with = "WordSchema<Outcome>")]
    pub outcome: Outcome,
    /// The graders that are to be asked.
    pub graders: Vec<String>,
}

impl RescoreCounts {
    /// Trials whose judgement is written.
    pub fn judged(&self) -> u64 {
        self.fixed + self.regressed + self.other + self.same
    }

    /// Counts a trial that was judged again.
    pub fn add(&mut self, before: Outcome, after: Outcome) {
        let count = match (before.is_bad(), after.is_bad()) {
            _ if before == after => &mut self.same,
            (true, false) => &mut self.fixed,
            (false, true) => &mut self.regressed,
            (true, true) | (false, false) => &mut self.other,
        };
        *count += 1;
    }
}
