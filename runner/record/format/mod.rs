//! What stands in the files: serialised forms and names, with no more I/O than reading and replacing.

pub(super) mod brief;
pub(super) mod by;
pub(super) mod counts;
pub(super) mod cut;
pub(super) mod entry;
pub(super) mod glance;
pub(super) mod inflight;
pub mod last_words;
pub(super) mod limits;
pub(super) mod line;
pub(super) mod live_line;
pub(super) mod log_line;
pub(super) mod machine;
pub(super) mod manifest;
pub(super) mod manifest_file;
pub(super) mod mark;
pub(super) mod numbers;
pub mod request;
pub(super) mod rerun;
pub(super) mod row;
pub(super) mod row_digest;
pub(super) mod row_line;
pub(super) mod sandbox;
pub(super) mod schema;
pub(super) mod status;
pub(crate) mod words;
