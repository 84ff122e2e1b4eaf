//! One typed document for each question about runs: the output of `--json`, and the source of all texts about runs.
//!
//! This crate reads runs through `record` and changes no file. It may know `model`, `scenario` and `record`. [`failure`]
//! formats the reasons of failures, [`json`] writes documents that cannot control a terminal, and [`write_report`] writes files.
//!
//! Start reading at [`RunDocument`]. `rows.rs` finds the rows that count, and `results.rs` and `stored_tests.rs` sum them up. `compare/`
//! joins two runs, `trials/` has one trial and the history of a scenario, `commands/` the documents without results, and
//! `pages/` those of `runner serve` alone. `failures.rs` groups failed trials; `phrases.rs` and `run_facts.rs` have texts that
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
mod stored_tests;
mod trials;

pub use commands::{
    BrokerDocument, ConnectedWorker, QueueChange, QueueDocument, QueueEntry, QueueResult, QueueRun,
    QueueStep, StepResult, WorkersDocument,
};
pub use commands::{
    CleanupDocument, DeadRun, DoctorDocument, Event, GradeDocument, InspectDocument, MergeDocument,
    Notification, NotificationKind, NotifyDocument, NumberedEvent, PlanLine, PlanPart,
    PlannedReceiver, PluginRunDocument, PruneDocument, ReceiverKind, RequestResult, RescoreChange,
    RescoreLine, ResumeLine, ScenarioProblem, SentNotification, Started, ToolStatus,
    VerifyDocument,
};
pub use compare::{
    Change, Changes, Class, ClassCounts, ComparisonDocument, Estimate, LostMeasure, Measure,
    Outcomes, SincePrevious,
};
pub use denials::{Denial, Denials, MissingGrants, table_with};
pub use failures::{FailureGroup, Failures};
pub use forms::{Form, FormError, FormOptions, markdown_code, selected_failures, write_report};
pub use list::{RunList, RunSummary, Unreadable, short_id, short_of};
pub use logs::{LiveLines, LogEntry, Reading, Stream};
pub use pages::{
    FailedTrials, FailuresPage, LivePage, MatrixPage, PageStart, ProviderDurations, ReasonLine,
    RunAction, RunActions, RunCharts, RunIndex, RunItem, RunPage, RunTables, RunsPage, RunsQuery,
    ScenarioItem, ScenariosPage, ServerDocument, TimeBin, TrialItem, TrialOrder, TrialPage,
    TrialQuery, TrialsPage,
};
pub use results::{PassRate, Results};
pub use rows::{Line, RowSelection, Rows};
pub use run::{GraderTable, ProviderTable, RunDocument, WorkerTable};
pub use schema::{NamedSchema, SCHEMAS, schema_settings};
pub use stored_tests::{MetaCounts, MetaResults};
pub use trials::{
    ArtifactFile, FoundTrials, HistoryDocument, HistoryGroups, HistoryQuery, LogText, Mark,
    MatrixCell, MatrixDocument, MatrixTest, MatrixTests, PastResult, PastResults, PastRun, PastSum,
    PastTest, PastTests, Section, TrialDocument, TrialPart, call_sections, find_trial,
};

/// Version of every document, its `v`.
pub const VERSION: u8 = 1;

#[cfg(test)]
mod tests;
