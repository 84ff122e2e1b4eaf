//! The event stream of `--json`, as `output` makes it.

pub(super) use crate::view::{EventLine as Line, Longest, StreamEvent as Event};
use crate::{
    model::{Counts, Reason, RunStatus, Verdict},
    record::ManifestCounts,
};

/// How a run ended.
pub(super) struct End<'a> {
    pub(super) status: RunStatus,
    pub(super) reason: Option<Reason>,
    pub(super) verdict: Verdict,
    pub(super) exit_code: u8,
    pub(super) run_dir: &'a str,
    pub(super) counts: Counts,
    pub(super) ran: Option<Counts>,
    pub(super) error: Option<&'a str>,
}

impl<'a> From<End<'a>> for Event<'a> {
    fn from(end: End<'a>) -> Self {
        Self::Finished {
            status: end.status.as_str(),
            reason: end.reason.map(Reason::as_str),
            verdict: end.verdict.as_str(),
            exit_code: end.exit_code,
            run_dir: end.run_dir,
            counts: end.counts.into(),
            ran: end.ran.map(ManifestCounts::from),
            error: end.error,
        }
    }
}
