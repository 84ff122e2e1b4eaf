//! Scenarios: TOML to a [`Scenario`], or every problem at once with its place; test lists to a [`Suite`].
//!
//! Depends on `model` and `files`. Reads the files that a scenario names. Writes only the suite, and digests of files into the
//! caller's cache.
//!
//! A key is stated once, in the function that reads its table. Parsing, unknown keys, suggestions, the JSON Schema and the
//! tables in `docs/` come from that call. `keys.md` has a sentence about each key, and `gone.md` advice about removed keys,
//! flags and commands.
//!
//! Read [`load`] first. Then `reading/table.rs` and `reading/form.rs`, by which `keys/` reads tables;
//! `lists/entries.rs`, which reads test lists; `lists/mod.rs`, which makes tests of their records; `suite/planner.rs`, which
//! resolves these on several threads; and `suite/resolve.rs`, which writes the suite.

mod accepted;
mod filter;
mod golden;
mod grants_toml;
mod keys;
mod known;
mod known_update;
mod late_problems;
mod lists;
mod problem;
mod project;
mod reading;
mod scenario;
mod settings;
mod stored_files;
mod suite;

pub use accepted::{AcceptedOutputs, FileEdit, ReadFile, accept_outputs};
pub use filter::{AttemptFiles, Facts, Filter, InRun, RowFilter, TestLabels};
pub use golden::GoldenFiles;
pub use grants_toml::{GrantsToml, key_and_value, toml_key, written_name};
pub use keys::{Notify, NotifyCommand, NotifyEvents, Vars, Webhook, WebhookUrl};
pub use keys::{files::check_kind, template_inputs::unseen_values};
pub use known_update::{
    KnownResults, KnownSource, KnownUpdate, PairResults, known_sources, update_known,
};
pub use late_problems::{ProviderProblem, TestProblem};
pub use lists::plugin::ListPlugin;
pub use problem::{ListedProblem, Problems};
pub use project::{holds_results, is_run};
pub use reading::{files_beside, gone, open_named, similar};
pub use runner_model::globs::IdGlob;
pub use scenario::{RunOptions, Scenario, load, load_selected, parse_stored, schema};
pub use settings::{Retention, RootSettings, ServeSettings, settings_schema};
pub use stored_files::{ListDigests, ListRecords};
pub use suite::resolve::{resolve, resolve_selected};
pub use suite::unmatched::{Unmatched, nearest_names};
pub use suite::{Base, PlannedTrial, Suite, SuiteFile, read_folder, selection::Selection};

#[cfg(test)]
#[path = "tests/docs.rs"]
mod docs;
#[cfg(test)]
#[path = "tests/key_tables.rs"]
mod key_tables;
#[cfg(test)]
#[path = "tests/lists.rs"]
mod list_tests;
#[cfg(test)]
#[path = "tests/messages.rs"]
mod messages;
#[cfg(test)]
#[path = "tests/project.rs"]
mod project_tests;
#[cfg(test)]
#[path = "tests/suites.rs"]
mod suites;
#[cfg(test)]
#[path = "tests/threads.rs"]
mod thread_tests;
#[cfg(test)]
#[path = "tests/workspaces.rs"]
mod workspace_tests;
