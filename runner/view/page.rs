//! [`TrialPage`]: one trial, with all that is known of it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{attempt_logs::SpokenAttempt, version::DocumentVersion, written};
use crate::record::{Row, RunId};

/// The document of `runner show RUN TRIAL --json`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TrialPage {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// The run's id.
    #[serde(serialize_with = "written::shown")]
    #[schemars(with = "String")]
    pub run: RunId,
    /// The run's directory.
    #[serde(serialize_with = "written::path")]
    #[schemars(with = "String")]
    pub run_dir: PathBuf,
    /// The trial's id: `test@provider#repeat`.
    pub trial: String,
    /// Its test's id.
    pub test: String,
    /// Its provider's name.
    pub provider: String,
    /// Its test as it was planned; `null` if that is not in the content store any more.
    pub planned: Option<PlannedTest>,
    /// The number of the attempt that a screen shows: the one that was asked for, else the one that settles the trial, else
    /// the latest; `null` if none has ended or said anything.
    pub shown: Option<u32>,
    /// Its attempts that have ended, or said something, in order.
    pub attempts: Vec<PageAttempt>,
    /// The command that makes such an attempt again, outside of any run; `null` where the plan is not there any more.
    pub command: Option<String>,
}

/// A test as a plan has it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PlannedTest {
    /// The trial's place in the plan, from 0.
    pub ordinal: u64,
    /// Which repeat of the test it is, from 1.
    pub repeat: u32,
    /// Its tags.
    pub tags: Vec<String>,
    /// What it says of itself.
    pub meta: Map<String, Value>,
    /// What the provider gets.
    pub input: Value,
    /// What must come: the keys of `expect`.
    pub expect: Map<String, Value>,
    /// The files that are handed over with it.
    pub files: Vec<PageFile>,
}

/// One attempt at the trial of a page.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PageAttempt {
    /// What was said in it, and what it came to.
    #[serde(flatten)]
    pub said: SpokenAttempt,
    /// Its row; `null` while it goes on.
    pub row: Option<Row<'static>>,
    /// What it produced, in full; `null` as well where that cannot be read any more.
    pub output: Option<Value>,
    /// The files that it left.
    pub artifacts: Vec<PageFile>,
}

/// A file of a test or an attempt.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PageFile {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub media_type: String,
    /// Its length.
    pub bytes: u64,
    /// Where it is.
    #[serde(serialize_with = "written::path")]
    #[schemars(with = "String")]
    pub path: PathBuf,
}

impl TrialPage {
    /// The attempt that a screen shows.
    pub fn shown(&self) -> Option<&PageAttempt> {
        let number = self.shown?;
        let mut attempts = self.attempts.iter();
        attempts.find(|attempt| attempt.said.name.number == number)
    }
}

impl PageAttempt {
    /// Tells whether it settled its trial when it ended.
    pub fn is_final(&self) -> bool {
        self.row.as_ref().is_some_and(|row| row.is_final)
    }
}
