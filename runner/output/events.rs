//! The last event of the stream of `--json`, which is made of a conclusion.

use crate::{
    error::ExitStatus,
    model::{Counts, Reason},
    record::{Conclusion, ManifestCounts},
    view::StreamEvent,
};

/// The last event of a run, with what its latest session ran if that is not its first.
pub(super) fn finished<'a>(
    conclusion: &'a Conclusion,
    run_dir: &'a str,
    ran: Option<Counts>,
) -> StreamEvent<'a> {
    StreamEvent::Finished {
        status: conclusion.status.as_str(),
        reason: conclusion.reason.map(Reason::as_str),
        verdict: conclusion.verdict.as_str(),
        exit_code: ExitStatus::of(conclusion).code(),
        run_dir,
        counts: conclusion.counts.into(),
        ran: ran.map(ManifestCounts::from),
        error: conclusion.error.as_deref(),
    }
}
