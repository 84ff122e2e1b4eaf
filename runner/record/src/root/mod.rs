//! All runs of a results root.

pub(crate) mod command;
pub(crate) mod database;
pub(crate) mod find;
pub(crate) mod list;
mod list_thread;
pub(crate) mod prune;
pub(crate) mod queue;
pub(crate) mod results_root;
pub(crate) mod root_lock;
pub(crate) mod settings;
pub(crate) mod trials;
