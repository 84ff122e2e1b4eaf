//! One typed document for each question about runs: the output of `--json`, and the source of all texts about runs.
//!
//! Reads runs through `results` and `record`, and writes into no run. Depends on `model`, `scenario`, `record` and `results`.
//! [`failure`] formats the reasons of failures, [`json`] writes documents that cannot control a terminal, and [`write_report`]
//! writes files.
//!
//! Start reading at [`RunDocument`]. The folder `web` has the pages of `runner serve`, which are also the report as HTML.
//! `rows.rs` reads selected rows of a table, whose sums are in `results.rs`. `compare/` joins two runs, `trials/` has one trial
//! and the history of a scenario, `commands/` the documents without results that several crates print, and `pages/` those of
//! `runner serve` alone. `failures/` groups failed trials; `phrases.rs` and `run_facts.rs` have texts that
//! several of them share.

mod commands;
mod compare;
mod denials;
pub mod failure;
mod failures;
mod forms;
pub mod json;
mod list;
mod logs;
mod pages;
pub mod phrases;
mod results;
mod rows;
mod run;
pub mod run_facts;
mod schema;
mod trials;
mod web;

pub use commands::*;
pub use compare::*;
pub use denials::{Denial, Denials, MissingGrants, table_with};
pub use failure::{KnownResult, KnownTrial, known_line};
pub use failures::{FailureGroup, Failures, KnownReason, StaleEntry};
pub use forms::*;
pub use list::{RunList, RunSummary, Unreadable, short_id, short_of};
pub use logs::{LiveLines, LogEntry, Reading, Stream};
pub use pages::*;
pub use results::{ResultRow, other_metrics};
pub use rows::{Line, Rows, StoredRow};
pub use run::{GraderTable, ProviderTable, RunDocument, RunTables};
pub use runner_results::{
    ArtifactDifference, ExactComparison, MetaCounts, MetaResults, PassRate, PlanOrder, Results,
    RowSelection, RunTable, plan, report_unreadable,
};
pub use schema::schema_settings;
/// For documents that only one command has, which are next to it.
pub use schemars;
pub use trials::*;
pub use web::WEB;

/// Version of every document, its `v`.
pub const VERSION: u8 = 1;

#[cfg(test)]
mod tests;
