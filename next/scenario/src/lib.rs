//! Scenarios: TOML to a [`Scenario`], or every problem at once with its place; test lists to a [`Suite`].
//!
//! A key is stated once, in the function that reads its table; parsing, unknown keys, suggestions, the JSON Schema and the
//! tables of `docs/` come from that call. This crate may know `model`, reads files that a scenario names, and writes
//! nothing but the suite it is asked for.
//!
//! Begin reading at [`load`].

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use runner_model::{Digest, Micros, Places, TrialId, provider::Provider};

/// A scenario that was read and checked. Test lists are read by [`resolve`].
#[derive(Debug)]
pub struct Scenario {
    /// `name`, or the file's name without its extension.
    pub name: String,
    /// The file's text, as it is stored with a run.
    pub text: String,
    /// The folder that paths in it are relative to.
    pub folder: PathBuf,
    /// How long a session may take.
    pub timeout: Duration,
    /// `[run]`.
    pub run: RunOptions,
    /// The providers by name, ascending. A suite names them by their index.
    pub providers: Vec<Provider>,
}

/// `[run]` of a scenario.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// How many attempts run at once; none: the number of cores.
    pub concurrency: Option<u32>,
    /// How long guests are asked to stop before they are interrupted.
    pub grace: Micros,
    /// A number that is handed to every provider.
    pub seed: u32,
}

/// What was selected on the command line: globs; an empty list selects everything.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Globs over test ids.
    pub tests: Vec<String>,
    /// Globs over provider names.
    pub providers: Vec<String>,
    /// Tags, any of which a test must have.
    pub tags: Vec<String>,
}

/// Problems of a scenario and its lists, each with its place. Never empty.
#[derive(Debug)]
pub struct Problems;

impl Problems {
    /// All problems as rustc prints them, with colours if asked, at most `width` columns wide.
    pub fn render(&self, color: bool, width: usize) -> String {
        todo!("{color} {width}")
    }

    /// How many problems there are.
    pub fn count(&self) -> usize {
        todo!()
    }
}

/// Reads and checks a scenario; looks at no list and no plugin.
///
/// # Errors
///
/// All of its problems.
pub fn load(path: &Path) -> Result<Scenario, Problems> {
    todo!("{path:?}")
}

/// Reads a scenario that is stored with a run. No other file is looked at, so it works where the originals are gone.
/// `name` is the run's scenario name.
///
/// # Errors
///
/// Its problems; there are some only if it was changed or is of another version.
pub fn parse_stored(text: &str, name: &str) -> Result<Scenario, Problems> {
    todo!("{text} {name}")
}

/// Reads all tests and lists, and writes the resolved and selected tests into `into`, an empty file: one line for each
/// test ([`runner_model::test::Test`]), in order.
///
/// # Errors
///
/// Problems of lists and tests. A selection that selects nothing is no problem: the suite has no trials.
pub fn resolve(
    scenario: &Scenario,
    selection: &Selection,
    into: &mut File,
) -> Result<Suite, Problems> {
    todo!("{scenario:?} {selection:?} {into:?}")
}

/// All tests resolved, on disk, in order; in memory some 16 bytes a test.
///
/// Trials are numbered from 0 in plan order: tests in order, of each its providers ascending, of each its repeats.
#[derive(Debug)]
pub struct Suite;

/// A trial of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedTrial {
    /// The test's index in the suite.
    pub test: u64,
    /// The provider's index in the scenario.
    pub provider: u16,
    /// From 1.
    pub repeat: u32,
}

impl Suite {
    /// Opens a suite that [`resolve`] wrote. `providers` are the scenario's names by index, which [`Places`] needs.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is no suite.
    pub fn open(file: File, providers: &[Provider]) -> io::Result<Self> {
        todo!("{file:?} {providers:?}")
    }

    /// The SHA-256 of the file.
    pub fn digest(&self) -> Digest {
        todo!()
    }

    /// Number of tests.
    pub fn tests(&self) -> u64 {
        todo!()
    }

    /// Reads a test's line (without its line break) into `line`, which is cleared first. Neighbouring tests cost no
    /// system call each.
    ///
    /// # Errors
    ///
    /// A file that cannot be read.
    pub fn line(&self, test: u64, line: &mut Vec<u8>) -> io::Result<()> {
        todo!("{test} {line:?}")
    }

    /// The trial of an index below [`Places::trials`].
    pub fn trial(&self, index: u64) -> PlannedTrial {
        todo!("{index}")
    }

    /// The first trial of `provider` with an index of at least `from`. Amortized constant time when called in order.
    pub fn next_trial(&self, provider: u16, from: u64) -> Option<u64> {
        todo!("{provider} {from}")
    }
}

impl Places for Suite {
    fn index(&self, trial: &TrialId) -> Option<u64> {
        todo!("{trial}")
    }

    fn trials(&self) -> u64 {
        todo!()
    }
}

/// The JSON Schema of a scenario.
pub fn schema() -> serde_json::Value {
    todo!()
}

/// The tables of all keys, in Markdown, for the page on scenarios.
pub fn reference() -> String {
    todo!()
}
