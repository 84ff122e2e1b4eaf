//! [`Comparison`]: what is different between two runs, or two providers of one.

mod measures;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::{version::DocumentVersion, written};
use crate::{
    model::{Outcome, Reason, RunStatus, Verdict, count},
    record::{
        ManifestCounts, RunId,
        words::{self, InstantSchema, WordSchema},
    },
};

pub use measures::{ComparedMeasure, MeasureKind, MeasureTest, MeasureWords};

/// What is different between two runs, or two providers of one.
///
/// The same rows give the same document.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Comparison {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// The filter that means a trial of each test of this comparison; `null` where it is about all of them.
    pub filter: Option<String>,
    /// What is compared with.
    pub base: ComparedRun,
    /// What is compared.
    pub new: ComparedRun,
    /// Why not everything of this may mean what it seems to.
    pub warnings: Vec<UnfairComparison>,
    /// How many tests came to what, each counted for each of its providers.
    pub counts: CaseCounts,
    /// The same by provider, and what its trials measured.
    pub providers: Vec<ComparedProvider>,
    /// The tests, each with a provider, that have not just passed in both; in the order of the new plan, those that are
    /// gone at the end.
    pub cases: Vec<ComparedCase>,
    /// What is different about how the two came about.
    pub differences: Vec<ComparedPart>,
}

/// One side of a comparison.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ComparedRun {
    /// The run's id.
    #[serde(serialize_with = "written::shown")]
    #[schemars(with = "String")]
    pub run: RunId,
    /// The scenario's name.
    pub scenario: String,
    /// The only provider that is meant, if only one is.
    pub provider: Option<String>,
    /// Where the run is in its life.
    #[serde(with = "words::word")]
    #[schemars(with = "WordSchema<RunStatus>")]
    pub status: RunStatus,
    /// Why it has this status.
    #[serde(with = "words::optional_word")]
    #[schemars(with = "Option<WordSchema<Reason>>")]
    pub reason: Option<Reason>,
    /// What its trials showed.
    #[serde(with = "words::word")]
    #[schemars(with = "WordSchema<Verdict>")]
    pub verdict: Verdict,
    /// When its first session began.
    #[schemars(with = "InstantSchema")]
    pub started_at: Timestamp,
    /// How many of the run's trials came to what.
    pub counts: ManifestCounts,
}

/// Why a comparison may not mean what it seems to.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct UnfairComparison {
    /// Why, in a word.
    pub kind: UnfairKind,
    /// The same in a sentence.
    pub text: String,
}

/// Why a comparison may not mean what it seems to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnfairKind {
    /// The scenarios have different names.
    OtherScenario,
    /// A run goes on.
    Running,
    /// A run has ended before all of its trials were settled.
    Partial,
    /// Tests are on one side alone.
    OtherTests,
    /// Tests have another input.
    OtherInput,
    /// Tests have another expectation.
    OtherExpectation,
    /// Tests are repeated another number of times.
    OtherRepeats,
    /// The runs were made on different machines.
    OtherMachine,
    /// Nothing is on both sides.
    NothingShared,
}

/// What a test came to on both sides, with one provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CaseClass {
    /// It has passed, each time, and now does not.
    Regressed,
    /// It has not passed each time, and now does.
    Fixed,
    /// It has passed on neither side.
    StillFailing,
    /// It has passed on both sides, and somewhere only after an attempt that did not; or its repeats are not of one mind, and
    /// it is neither regressed nor fixed.
    Flaky,
    /// It has passed on both sides.
    StillPassing,
    /// It is on the new side alone.
    New,
    /// It is on the base side alone.
    Gone,
    /// On one side nothing of it was judged: it has not run to its end, or was skipped.
    NotJudged,
}

/// How many tests came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CaseCounts {
    /// Passed before, and now not.
    pub regressed: u64,
    /// Passed not, and now do.
    pub fixed: u64,
    /// Passed on neither side.
    pub still_failing: u64,
    /// Passed here and there.
    pub flaky: u64,
    /// Passed on both sides.
    pub still_passing: u64,
    /// On the new side alone.
    pub new: u64,
    /// On the base side alone.
    pub gone: u64,
    /// Not judged on one side.
    pub not_judged: u64,
}

/// What a provider's tests came to.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ComparedProvider {
    /// Its name on the new side.
    pub provider: String,
    /// Its name on the base side, where that is another.
    pub base_provider: Option<String>,
    /// How many of its tests came to what.
    pub counts: CaseCounts,
    /// What its trials measured on both sides.
    pub measures: Vec<ComparedMeasure>,
}

/// A test with a provider.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ComparedCase {
    /// The test's id.
    pub test: String,
    /// The provider's name; on the new side, unless the test is gone.
    pub provider: String,
    /// What it came to.
    pub class: CaseClass,
    /// What its trials came to on the base side; `null` if it is new.
    pub base: Option<CaseSide>,
    /// What they came to on the new side; `null` if it is gone.
    pub new: Option<CaseSide>,
    /// Why the first of its new trials that did not pass has not: an error or a check, in so many words as fit on a line.
    pub why: Option<String>,
}

/// What the trials of a test with a provider came to.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CaseSide {
    /// How many there are.
    pub trials: u32,
    /// How many have passed.
    pub passed: u32,
    /// How many have a final row.
    pub settled: u32,
    /// Whether one of them passed only after an attempt that did not.
    #[serde(rename = "flaky")]
    pub is_flaky: bool,
    /// What the first of them came to that did not pass, or else the first of all; `null` if nothing has settled it.
    #[serde(with = "words::optional_word")]
    #[schemars(with = "Option<WordSchema<Outcome>>")]
    pub outcome: Option<Outcome>,
    /// The mean of their scores.
    pub score: Option<f64>,
    /// The mean of the durations of those that passed or failed, in milliseconds.
    pub duration_ms: Option<f64>,
}

/// Something about how the two sides came about, which is different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ComparedPart {
    /// What it is.
    pub what: String,
    /// What it is on the base side; `null` if it is not there.
    pub base: Option<String>,
    /// What it is on the new side; `null` if it is not there.
    pub new: Option<String>,
}

impl CaseClass {
    /// All of them, in the order in which people want to know.
    pub const ALL: [Self; 8] = [
        Self::Regressed,
        Self::Fixed,
        Self::StillFailing,
        Self::Flaky,
        Self::NotJudged,
        Self::New,
        Self::Gone,
        Self::StillPassing,
    ];

    /// The words for it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Regressed => "regressed",
            Self::Fixed => "fixed",
            Self::StillFailing => "still failing",
            Self::Flaky => "flaky",
            Self::StillPassing => "still passing",
            Self::New => "new",
            Self::Gone => "gone",
            Self::NotJudged => "not judged on both sides",
        }
    }
}

impl CaseCounts {
    /// Counts one more.
    pub fn add(&mut self, class: CaseClass) {
        *self.slot(class) += 1;
    }

    /// Counts what somebody else has counted.
    pub fn add_all(&mut self, other: Self) {
        for class in CaseClass::ALL {
            *self.slot(class) += other.of(class);
        }
    }

    /// How many are of a class.
    pub fn of(mut self, class: CaseClass) -> u64 {
        *self.slot(class)
    }

    /// Those that there are: `2 regressed, 1 fixed, 96 still passing`.
    pub fn words(self) -> String {
        let present = CaseClass::ALL
            .into_iter()
            .filter(|class| self.of(*class) > 0);
        let parts: Vec<_> = present
            .map(|class| format!("{} {}", count(self.of(class)), class.words()))
            .collect();
        match parts.is_empty() {
            true => "nothing to compare".to_owned(),
            false => parts.join(", "),
        }
    }

    fn slot(&mut self, class: CaseClass) -> &mut u64 {
        match class {
            CaseClass::Regressed => &mut self.regressed,
            CaseClass::Fixed => &mut self.fixed,
            CaseClass::StillFailing => &mut self.still_failing,
            CaseClass::Flaky => &mut self.flaky,
            CaseClass::StillPassing => &mut self.still_passing,
            CaseClass::New => &mut self.new,
            CaseClass::Gone => &mut self.gone,
            CaseClass::NotJudged => &mut self.not_judged,
        }
    }
}

impl Comparison {
    /// The cases of a class.
    pub fn of_class(&self, class: CaseClass) -> impl Iterator<Item = &ComparedCase> {
        self.cases.iter().filter(move |case| case.class == class)
    }

    /// Tells whether something is significantly worse, as far as it is known what worse is: fewer passes, a lower score, a
    /// longer duration on the same machine.
    pub fn is_significantly_worse(&self) -> bool {
        let is_other = |warning: &UnfairComparison| warning.kind == UnfairKind::OtherMachine;
        let has_times = !self.warnings.iter().any(is_other);
        let measures = self
            .providers
            .iter()
            .flat_map(|provider| &provider.measures);
        measures
            .filter(|measure| has_times || measure.kind != MeasureKind::Duration)
            .any(|measure| measure.is_significant && measure.is_worse() == Some(true))
    }
}

impl ComparedRun {
    /// What became of the run: `completed, failed`, or `incomplete (stopped)`.
    pub fn standing(&self) -> String {
        let reason = self.reason.map(|reason| format!(" ({reason})"));
        let verdict = match self.verdict {
            Verdict::None => String::new(),
            verdict => format!(", {}", verdict.as_str()),
        };
        format!("{}{}{verdict}", self.status, reason.unwrap_or_default())
    }
}

impl CaseSide {
    /// What they came to: a word for one trial, `7 of 10 passed` for several.
    pub fn words(&self) -> String {
        let word = match self.outcome {
            _ if self.settled == 0 => "not run".to_owned(),
            Some(outcome) if self.trials == 1 => outcome.to_string(),
            _ => format!("{} of {} passed", self.passed, self.trials),
        };
        match self.is_flaky {
            true => format!("{word}, flaky"),
            false => word,
        }
    }
}

impl ComparedCase {
    /// Its test and its provider, as the ids of trials begin.
    pub fn name(&self) -> String {
        format!("{}@{}", self.test, self.provider)
    }

    /// What it came to: `passed → failed`.
    pub fn change(&self) -> String {
        match (&self.base, &self.new) {
            (Some(base), Some(new)) => format!("{} → {}", base.words(), new.words()),
            (Some(side), None) | (None, Some(side)) => side.words(),
            (None, None) => String::new(),
        }
    }
}
