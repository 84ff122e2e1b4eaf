//! Documents of `runner serve` that no command prints.

mod actions;
mod run;
mod runs;
mod server;

pub use actions::{RunAction, RunActions};
pub use run::RunPage;
pub use runs::{RunItem, RunsPage, RunsQuery};
pub use server::ServerDocument;
