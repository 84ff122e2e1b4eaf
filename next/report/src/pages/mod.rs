//! Documents of `runner serve` that no command prints.

mod actions;
mod live;
mod run;
mod runs;
mod scenarios;
mod server;
mod trial;

pub use actions::{RunAction, RunActions};
pub use live::LivePage;
pub use run::RunPage;
pub use runs::{RunItem, RunsPage, RunsQuery};
pub use scenarios::{ScenarioItem, ScenariosPage};
pub use server::ServerDocument;
pub use trial::{ReasonLine, TrialPage};
