//! All runs of a results root.

pub(crate) mod database;
pub(crate) mod find;
pub(crate) mod list;
pub(crate) mod prune;
pub(crate) mod results_root;
pub(crate) mod root_lock;
pub(crate) mod settings;
