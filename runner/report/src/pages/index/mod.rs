//! [`RunIndex`]: the rows of a run in memory, for pages about runs of any size.
//!
//! Rows are only added to their file. So the first `rev` rows are a snapshot, and a page of them is the same at any time.
//!
//! Read `rows.rs` first. `select.rs` selects and sorts trials, `search.rs` reads their texts, `trials.rs` makes pages of them,
//! `trial.rs` reads one, and `tables.rs`, `failures.rs`, `charts.rs` and `matrix.rs` sum them up.

mod charts;
mod failures;
mod matrix;
mod plan;
mod query;
mod recent;
mod rows;
mod search;
mod select;
mod tables;
mod trial;
mod trials;

pub use charts::{ProviderDurations, RunCharts, TimeBin};
pub use matrix::MatrixPage;
pub use query::{PageStart, TrialOrder, TrialQuery};
pub use rows::RunIndex;
pub use trials::{TrialItem, TrialsPage};
