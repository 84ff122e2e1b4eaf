//! From a scenario file to a valid [`Scenario`], and from there to its [`Suite`] of tests.
//!
//! Reads the named files and nothing else: no clock, no WASM. Whatever is wrong is reported together.

mod attachments;
mod check;
mod error;
mod expect;
mod expected_error;
mod files;
mod form;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod globs;
mod grant_names;
mod grants;
mod keys;
mod needs;
mod normalise;
mod provider;
mod raw;
mod records;
mod schema;
mod settings;
mod source;
mod suite;
mod template;
mod test;
mod test_list;
mod units;
mod validate;

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use miette::NamedSource;
use serde_json::{Map, Value};

use crate::model::FsMode;
use needs::Need;
use settings::Settings;
use test_list::TestList;
use validate::{InlineTest, NamedFiles};

pub use check::attachment_name_error;
pub use error::{Mistake, Problem, ScenarioError};
pub use expect::{Expect, Schema};
pub use expected_error::ExpectedError;
pub use grant_names::{check_mount, variable_error};
pub use grants::check_variable;
pub use normalise::normalise;
pub use provider::{OutputForm, Protocol, Provider, Rate, Reuse, Stdin};
pub use schema::json_schema;
pub use suite::{Suite, SuiteReader};
pub use template::{MissingKey, Piece, Template, TemplateError};
pub use test::{Attachment, ProviderSet, Retries, RetryOn, Test};
pub use units::{MAX_DURATION, parse_duration, size_of};

/// Reads and validates the scenario in `path`. Reports everything that is wrong with it.
pub fn load(path: &Path) -> Result<Scenario, ScenarioError> {
    let bytes = fs_err::read(path).map_err(|source| ScenarioError::Read {
        path: path.to_owned(),
        source,
    })?;
    let text = str::from_utf8(&bytes).map_err(|error| ScenarioError::Encoding {
        path: path.to_owned(),
        line: 1 + bytes[..error.valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count(),
    })?;
    parse(path, text)
}

/// Validates the text of a scenario. Its paths are relative to the folder of `path`.
pub fn parse(path: &Path, text: &str) -> Result<Scenario, ScenarioError> {
    parse_with(path, text, NamedFiles::Needed)
}

/// Validates the text of a scenario whose tests and plugins were stored with a run; the files that it names may be gone.
///
/// It cannot be normalised: its tests are the stored ones.
pub fn parse_stored(path: &Path, text: &str) -> Result<Scenario, ScenarioError> {
    parse_with(path, text, NamedFiles::Stored)
}

fn parse_with(path: &Path, text: &str, files: NamedFiles) -> Result<Scenario, ScenarioError> {
    validate::validate(path, text, files).map_err(|problems| {
        let path = path.display().to_string();
        ScenarioError::Invalid {
            text: NamedSource::new(&path, text.into()),
            path,
            problems,
        }
    })
}

/// A scenario. There is no invalid one.
#[derive(Clone, Debug)]
pub struct Scenario {
    name: String,
    description: Option<String>,
    text: Arc<str>,
    directory: PathBuf,
    timeout: Duration,
    run: RunSettings,
    providers: Vec<Provider>,
    path: PathBuf,
    defaults: Settings,
    tests: Vec<InlineTest>,
    lists: Vec<TestList>,
    /// What each provider takes from its tests, by its place; empty for a scenario that was stored.
    needs: Vec<Vec<Need>>,
}

impl Scenario {
    /// Its name; the file's stem where it names none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is for.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The file's text.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The file, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The text with its name, for messages that point into it.
    pub fn source(&self) -> NamedSource<Arc<str>> {
        NamedSource::new(self.path.display().to_string(), Arc::clone(&self.text))
    }

    /// The folder that its paths are relative to.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// How long a session may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// How trials are run.
    pub fn run(&self) -> &RunSettings {
        &self.run
    }

    /// Its providers, in the order written; at least one.
    pub fn providers(&self) -> &[Provider] {
        &self.providers
    }

    /// What decides which tests it has, beside the scenario itself: test lists, and the folders in which they are looked
    /// for. A stored one has none.
    pub fn list_places(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        self.lists.iter().flat_map(|list| {
            let files = list.files.iter();
            let files = files.map(|file| ("a test list", file.path.as_path()));
            let folders = list.folders.iter().map(PathBuf::as_path);
            files.chain(
                folders.map(|folder| ("a folder in which test lists are looked for", folder)),
            )
        })
    }

    /// Tells whether a provider may write to a folder.
    pub(super) fn grants_writing(&self) -> bool {
        let mut grants = self
            .providers
            .iter()
            .flat_map(|provider| &provider.grants.fs);
        grants.any(|grant| grant.mode == FsMode::ReadWrite)
    }
}

/// How trials are run. Nothing here changes a result.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunSettings {
    /// How many attempts run at once; the number of cores where absent.
    pub concurrency: Option<NonZeroUsize>,
    /// What the memory limits of running attempts may add up to, in bytes.
    pub memory: Option<u64>,
    /// When to give up.
    pub fail_fast: Option<FailFast>,
    /// How long guests are asked to stop before they are interrupted.
    pub grace: Duration,
    /// Handed to providers.
    pub seed: u32,
    /// After how many process deaths in a row a trial is run last and alone; 0 for never.
    pub poison_after: u32,
}

impl RunSettings {
    /// Reads settings that have been checked.
    fn read(table: &Map<String, Value>) -> Self {
        Self {
            concurrency: settings::integer(table, "concurrency").and_then(NonZeroUsize::new),
            memory: table.get("memory").and_then(units::size_of),
            fail_fast: table.get("fail_fast").and_then(check::fail_fast),
            grace: settings::duration(table, "grace").unwrap_or_default(),
            seed: settings::integer(table, "seed").unwrap_or_default(),
            poison_after: settings::integer(table, "poison_after").unwrap_or(3),
        }
    }
}

/// How many trials may end badly before a session gives up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FailFast {
    /// It never gives up.
    Off,
    /// It gives up at this many; at least 1.
    Count(u64),
    /// It gives up once more than this part of the planned trials has ended badly; above 0, and 1 for never.
    Fraction(f64),
}

impl FailFast {
    /// Reads a count such as `3`, a fraction such as `0.25` or `1.0`, or `0` or `off` for never.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "off" {
            return Some(Self::Off);
        }
        if let Ok(count) = text.parse() {
            return Some(match count {
                0 => Self::Off,
                _ => Self::Count(count),
            });
        }
        let fraction: f64 = text.parse().ok()?;
        (0.0 < fraction && fraction <= 1.0).then_some(Self::Fraction(fraction))
    }
}

/// What the command line selects. The default selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Globs over test ids, of which one must match; none means all.
    pub tests: Vec<String>,
    /// Globs over providers' names, of which one must match; none means all.
    pub providers: Vec<String>,
    /// Tags, of which a test must have one; none means all.
    pub tags: Vec<String>,
    /// Globs over test ids, of which none may match.
    pub exclude: Vec<String>,
    /// Overrides every `repeat`.
    pub repeat: Option<u32>,
}
