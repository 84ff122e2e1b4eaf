//! The results of a run, read once: [`RunTable`], and the questions that it answers.
//!
//! `record`'s fold decides whether a row settles its trial. This crate picks the row with a trial's result: the last one that
//! settles it, or else the last one. Few files of other crates read rows by themselves. A test of the repository lists them, each
//! with its reason. A table is kept in the user's cache folder; without it, the rows are read again. Depends on `model`, `scenario`
//! and `record`.
//!
//! Start reading at [`RunTable`]. `read.rs` makes it and `cache.rs` keeps it, `planned.rs` adds the plan, `select.rs` and
//! `search.rs` find rows, `sums.rs` and `meta.rs` sum them up, `join.rs` joins two tables, and
//! `exact.rs` compares the rows of two runs.

mod cache;
mod columns;
mod exact;
mod join;
mod meta;
pub mod plan;
mod planned;
mod query;
mod read;
mod row;
mod search;
mod select;
mod sums;
mod table;

pub use exact::{ArtifactDifference, Difference, ExactComparison};
pub use join::{Scope, Side, hash, keep_selected, key, pairs};
pub use meta::{MetaCounts, MetaResults, ProviderCounts, TestMeta};
pub use planned::{Page, PlanOrder, PlannedTable, rank};
pub use query::{TrialOrder, TrialQuery};
pub use read::short;
pub use row::TableRow;
pub use select::{RowSelection, report_unreadable, row_filter};
pub use sums::{Column, PassRate, Results, columns, quantile};
pub use table::{Paid, RunTable, Totals};

#[cfg(test)]
mod tests;
