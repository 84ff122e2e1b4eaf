//! Answers about runs: pages, reports, comparisons, history, schemas, and shards that are merged.

mod accept;
mod calls;
mod changes;
mod ci;
mod classes;
mod compare;
mod exact;
mod forms;
mod history;
mod html;
mod known;
mod known_update;
mod matrix;
mod merge;
pub(crate) mod schemas;
mod shards;
mod snapshots;
mod trial_page;
