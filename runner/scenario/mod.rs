//! From a scenario file to a valid [`Scenario`], and from there to its [`Suite`] of tests.
//!
//! Reads the named files and nothing else: no clock, no WASM. Whatever is wrong is reported together.

mod attachments;
mod budgets;
mod check;
mod csv_quotes;
mod definition;
mod describe;
mod division;
mod error;
mod expect;
mod expectations;
mod expected;
mod expected_error;
mod fail_fast;
mod files;
mod form;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod globs;
mod graders;
mod grant_names;
mod grants;
mod keys;
mod labels;
mod matrix;
mod memos;
mod meta;
mod needs;
mod normalise;
mod notify;
mod outline;
mod project;
mod provider;
mod raw;
mod records;
mod reports;
mod root_settings;
mod run_options;
mod schema;
mod segments;
mod selection;
mod settings;
mod shard;
mod skimmed_test;
mod source;
mod suite;
mod suite_index;
mod template;
mod test;
mod test_digests;
mod test_line;
mod test_list;
mod units;
mod validate;
mod whole_file;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use miette::NamedSource;

use crate::model::FsMode;
use needs::TestNeed;
use settings::Settings;
use test_list::TestList;
use validate::{InlineTest, NamedFiles};

pub use budgets::{BudgetName, Budgets};
pub use check::attachment_name_error;
pub use error::{Mistake, Problem, ScenarioError, SettingsError};
pub use expect::{Expect, Schema};
pub use expectations::{Expectation, ExpectationReader, judgement_of_equals};
pub use expected::Expected;
pub use expected_error::ExpectedError;
pub use fail_fast::FailFast;
pub use graders::Grader;
pub use grant_names::{check_mount, variable_error};
pub use grants::check_variable;
pub use labels::{TestLabel, TestLabels};
pub use normalise::{normalise, normalise_with_part};
pub use notify::check_url as check_webhook;
pub use notify::{Notify, NotifyCommand, RunEnding, Webhook, WebhookUrl};
pub use outline::SuiteOutline;
pub use project::{CreatedProject, ProjectError, create_project};
pub use provider::{OutputForm, Protocol, Provider, Rate, Reuse, Stdin};
pub use root_settings::{Retention, RootSettings, ServeSettings, settings_schema};
pub use run_options::{OptionFlag, RunOption, RunOptions};
pub use schema::json_schema;
pub use segments::{SuiteSegment, SuiteSegments};
pub use selection::{REPEATS, Selection};
pub use settings::{DEFAULT_TIMEOUT, DEFAULT_TIMEOUT_TEXT};
pub use suite::{Suite, SuiteReader};
pub use template::{MissingKey, Template, TemplateError, TemplatePiece};
pub use test::{Attachment, ProviderSet, Repeats, Retries, RetryOn, Test};
pub use units::{EXPECTED_SIZE, parse_duration, parse_size, size_of};

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
    text: Arc<str>,
    directory: PathBuf,
    options: RunOptions,
    providers: Vec<Provider>,
    graders: Vec<Grader>,
    path: PathBuf,
    reports: Vec<String>,
    notify: Notify,
    dimensions: Option<Vec<String>>,
    idle_axes: Vec<(String, String)>,
    defaults: Settings,
    tests: Vec<InlineTest>,
    lists: Vec<TestList>,
    /// What each provider takes from its tests, by its place; empty for a scenario that was stored.
    needs: Vec<Vec<TestNeed>>,
}

impl Scenario {
    /// Its name; the file's stem where it names none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file's text.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The file, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that its paths are relative to.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// How trials are run.
    pub fn options(&self) -> &RunOptions {
        &self.options
    }

    /// The names of the reports that a session leaves in its run's directory; what they end in tells their forms.
    pub fn reports(&self) -> &[String] {
        &self.reports
    }

    /// Who is told when a run of it ends.
    pub fn notify(&self) -> &Notify {
        &self.notify
    }

    /// The keys of its tests' `meta` that results are told by; `None` for all of them.
    pub fn dimensions(&self) -> Option<&[String]> {
        self.dimensions.as_deref()
    }

    /// Tables of providers, and keys of their matrices that no template takes: the providers of such a key do the same.
    pub fn idle_axes(&self) -> impl Iterator<Item = (&str, &str)> {
        let axes = self.idle_axes.iter();
        axes.map(|(table, key)| (&**table, &**key))
    }

    /// Its providers, in the order written; at least one.
    pub fn providers(&self) -> &[Provider] {
        &self.providers
    }

    /// What judges outputs, in the order written.
    pub fn graders(&self) -> &[Grader] {
        &self.graders
    }

    /// Every plugin as the scenario uses it: its providers, and then its graders.
    pub fn plugins(&self) -> impl Iterator<Item = &Provider> {
        let graders = self.graders.iter().map(|grader| &grader.provider);
        self.providers.iter().chain(graders)
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

    /// Tells whether a provider or a grader may write to a folder.
    pub(super) fn grants_writing(&self) -> bool {
        let mut grants = self.plugins().flat_map(|plugin| &plugin.grants.fs);
        grants.any(|grant| grant.mode == FsMode::ReadWrite)
    }
}
