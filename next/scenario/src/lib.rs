//! Scenarios: TOML to a [`Scenario`], or every problem at once with its place; test lists to a [`Suite`].
//!
//! A key is stated once, in the function that reads its table; parsing, unknown keys, suggestions, the JSON Schema and the
//! tables of `docs/` come from that call. What a key is for stands in `keys.md`. This crate may know `model`, reads files that a scenario names, and writes
//! nothing but the suite it is asked for.
//!
//! Begin reading at [`load`]. `table.rs` and `form.rs` are how keys are read; `scenario.rs`, `provider_keys.rs`,
//! `grant_keys.rs` and `test_keys.rs` are the keys; `matrix.rs` writes matrices out before they are read. `lists.rs` reads
//! test lists, `records.rs` makes tests of their records, and `suite_writer.rs` the suite of these.

mod blobs;
mod check;
mod csv;
mod document;
mod files;
mod form;
mod globs;
mod grant_keys;
mod lists;
mod matrix;
mod problem;
mod provider_keys;
mod reading;
mod records;
mod resolve;
mod scalar;
mod scenario;
mod schema;
mod selection;
mod settings;
mod suite;
mod suite_writer;
mod table;
mod template_inputs;
mod test_keys;

pub use globs::IdGlob;
pub use problem::Problems;
pub use resolve::resolve;
pub use scenario::{ProviderProblem, RunOptions, Scenario, TestProblem, load, parse_stored};
pub use schema::{reference, schema};
pub use selection::Selection;
pub use settings::{Retention, RootSettings};
pub use suite::{PlannedTrial, Suite};

#[cfg(test)]
#[path = "tests/docs.rs"]
mod docs;
#[cfg(test)]
#[path = "tests/lists.rs"]
mod list_tests;
#[cfg(test)]
#[path = "tests/messages.rs"]
mod messages;
#[cfg(test)]
#[path = "tests/suites.rs"]
mod suites;
