//! Documents of `runner serve` that no command prints.

mod actions;
mod failures;
mod index;
mod live;
mod run;
mod runs;
mod scenarios;
mod server;
mod tables;
mod trial;

pub use actions::{RunAction, RunActions};
pub use failures::{FailedTrials, FailuresPage};
pub use index::{
    MatrixPage, PageStart, ProviderDurations, RunCharts, RunIndex, TimeBin, TrialItem, TrialOrder,
    TrialQuery, TrialsPage,
};
pub use live::LivePage;
pub use run::RunPage;
pub use runs::{RunItem, RunsPage, RunsQuery};
pub use scenarios::{ScenarioItem, ScenariosPage};
pub use server::ServerDocument;
pub use tables::RunTables;
pub use trial::{ReasonLine, TrialPage};
