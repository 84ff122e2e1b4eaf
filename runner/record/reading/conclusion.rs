//! [`Conclusion`]: what became of a run.

use std::path::PathBuf;

use super::run_entry::RunEntry;
use crate::{
    model::{Counts, Reason, RunStatus, StopSignal, Verdict},
    record::{disk::layout::RunId, format::manifest::End},
};

/// What became of a run when a session of it was over: the one shape in which an end is handed on and told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conclusion {
    /// The run.
    pub run: RunId,
    /// Its directory.
    pub run_dir: PathBuf,
    /// Its latest session, counted from 1.
    pub session: u32,
    /// Where the run is in its life.
    pub status: RunStatus,
    /// Why it has this status; none if it is completed.
    pub reason: Option<Reason>,
    /// The signal that interrupted it.
    pub signal: Option<StopSignal>,
    /// What its trials showed.
    pub verdict: Verdict,
    /// How many trials came to what, by the rows that are on disk.
    pub counts: Counts,
    /// How many trials were executed, of which graders have still to speak, as far as the session has come to know it.
    pub ungraded: u32,
    /// What went wrong, for people, if the run could not go on or its rows or its end could not be stored.
    pub error: Option<String>,
    /// Whether it was stopped so hard that nobody waits for a summary.
    pub is_forced: bool,
}

impl Conclusion {
    /// What became of a run by the end of its session.
    pub(crate) fn of(run: RunId, run_dir: PathBuf, session: u32, end: &End) -> Self {
        Self {
            run,
            run_dir,
            session,
            status: end.status,
            reason: end.reason,
            signal: end.signal,
            verdict: end.verdict,
            counts: end.counts,
            ungraded: 0,
            error: end.error.clone(),
            is_forced: false,
        }
    }
}

impl From<&RunEntry> for Conclusion {
    fn from(run: &RunEntry) -> Self {
        Self {
            run: run.id.clone(),
            run_dir: run.dir.clone(),
            session: run.sessions,
            status: run.status,
            reason: run.reason,
            signal: run.signal,
            verdict: run.verdict,
            counts: run.counts,
            ungraded: 0,
            error: None,
            is_forced: false,
        }
    }
}
