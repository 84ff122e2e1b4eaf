//! The life of one run as its owner writes it: created, claimed, recorded, repaired.

pub(super) mod artifacts;
pub(super) mod claim;
pub(super) mod claim_error;
pub(super) mod create;
pub(super) mod likeness;
pub(super) mod live_log;
pub(super) mod log;
pub(super) mod log_files;
pub(super) mod notifications;
pub(super) mod opening;
pub(super) mod recorder;
pub(super) mod repair;
pub(super) mod report_file;
pub(super) mod reserve;
pub(super) mod row_appender;
pub(super) mod scenario_copy;
pub(super) mod sealing;
pub(super) mod writer;
