//! A results root as a whole: its runs, the content that they share, and `runner.db`, which repeats what manifests say.

pub(super) mod alone;
pub(super) mod content;
pub(super) mod database;
pub(super) mod deletion;
pub(super) mod find;
pub(super) mod group;
pub(super) mod list;
pub(super) mod live;
pub(super) mod memory;
pub(super) mod newest;
pub(super) mod projection;
pub(super) mod queue;
pub(super) mod root;
pub(super) mod run_tests;
pub(super) mod scan;
pub(super) mod shared;
pub(super) mod shares;
pub(super) mod short;
pub(super) mod sql;
