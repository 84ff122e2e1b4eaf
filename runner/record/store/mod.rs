//! A results root as a whole: its runs, the content that they share, and `runner.db`, which repeats what manifests say.

pub(super) mod content;
pub(super) mod database;
pub(super) mod projection;
pub(super) mod root;
pub(super) mod short;
