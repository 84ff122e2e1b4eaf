//! The queue, notifications and upkeep of a results root: for `queue work`, `notify`, `serve` and the end of a session.
//!
//! Starts runs as processes of their own, and changes a root only through `record`. Depends on `model`, `prepare`,
//! `record`, `report` and `scenario`.

pub mod launch;
pub mod notify;
pub mod preview;
pub mod queue;
pub mod settings;
pub mod upkeep;
