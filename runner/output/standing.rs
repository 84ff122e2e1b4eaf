//! [`Standing`]: how a run stands, as every command says it.

use std::borrow::Cow;

use super::{format, table::Cell, tone::Tone};
use crate::{
    model::{Counts, Reason, RunStatus, StopSignal, Verdict},
    record::{Conclusion, RunEntry},
    view::RunSummary,
};

/// How a run stands. The status tells of its life and the verdict of its tests; what a person reads last tells of the tests
/// once they have been run, and of its life until then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) status: RunStatus,
    pub(super) reason: Option<Reason>,
    pub(super) signal: Option<StopSignal>,
    pub(super) verdict: Verdict,
    pub(super) counts: Counts,
    /// How many trials were executed and have yet to be graded, as far as that is known.
    pub(super) ungraded: u32,
    pub(super) is_not_yet_swept: bool,
    pub(super) is_paused: bool,
}

impl From<&RunSummary> for Standing {
    fn from(run: &RunSummary) -> Self {
        Self {
            status: run.status,
            reason: run.reason,
            signal: run.signal,
            verdict: run.verdict,
            counts: run.counts.into(),
            ungraded: 0,
            is_not_yet_swept: run.is_not_yet_swept,
            is_paused: run.paused.is_some(),
        }
    }
}

impl From<&RunEntry> for Standing {
    fn from(run: &RunEntry) -> Self {
        Self {
            status: run.status,
            reason: run.reason,
            signal: run.signal,
            verdict: run.verdict,
            counts: run.counts,
            ungraded: 0,
            is_not_yet_swept: run.is_not_yet_swept,
            is_paused: run.pauses.last().is_some_and(|pause| pause.until.is_none()),
        }
    }
}

impl Standing {
    /// How a run stands after a session.
    pub(super) fn after(conclusion: &Conclusion) -> Self {
        Self {
            status: conclusion.status,
            reason: conclusion.reason,
            signal: conclusion.signal,
            verdict: conclusion.verdict,
            counts: conclusion.counts,
            ungraded: conclusion.ungraded,
            is_not_yet_swept: false,
            is_paused: false,
        }
    }

    /// The line that a person reads last: `✗ failed: 3 of 8 (5 passed, 3 failed)`.
    pub(super) fn line(&self) -> String {
        let counts = &self.counts;
        let (head, number) = match (self.status, self.verdict) {
            (RunStatus::Completed, Verdict::Passed) => ("✓ passed".to_owned(), counts.passed),
            (RunStatus::Completed, Verdict::Failed) => ("✗ failed".to_owned(), counts.bad()),
            (RunStatus::Failed, _) => {
                let head = format!("{}: it could not begin", self.status_text());
                return self.tone().paint(&head).into_owned();
            }
            _ => (self.status_text().into_owned(), counts.done()),
        };
        let done = match (self.status, self.verdict) {
            (RunStatus::Completed, Verdict::Passed | Verdict::Failed) => "",
            _ => " done",
        };
        let head = format!(
            "{head}: {} of {}{done}",
            format::count(number),
            format::count(counts.planned)
        );
        let ungraded = match self.ungraded {
            0 => String::new(),
            count => format!(
                ", executed and not yet graded: {}",
                format::count(count.into())
            ),
        };
        format!("{}{}{ungraded}", self.tone().paint(&head), self.detail())
    }

    /// The status with its sign and why it is so: `◐ incomplete (interrupted, SIGINT)`, `○ running (paused)`.
    pub(super) fn status_text(&self) -> Cow<'static, str> {
        let status = brief_status_text(self.status);
        let why = match (self.reason, self.signal) {
            (None, _) if self.is_paused => " (paused)".to_owned(),
            // It is its own reason.
            (Some(Reason::Cancelled) | None, _) if !self.is_not_yet_swept => return status.into(),
            (Some(Reason::Cancelled) | None, _) => String::new(),
            (Some(reason), Some(signal)) => format!(" ({reason}, {})", signal.as_str()),
            (Some(reason), None) => format!(" ({reason})"),
        };
        let sweep = if self.is_not_yet_swept {
            ", not yet swept"
        } else {
            ""
        };
        format!("{status}{why}{sweep}").into()
    }

    /// The status as a cell, which leaves out the reason where there is no room.
    pub(super) fn status_cell(&self) -> Cell<'static> {
        let brief: Cow<'_, _> = match self.is_paused {
            true => "○ paused".into(),
            false => brief_status_text(self.status).into(),
        };
        Cell::new(self.status_text()).or(brief).painted(self.life())
    }

    /// The verdict as a cell: `✓ passed`, `✗ 3 failed`.
    pub(super) fn verdict_cell(&self) -> Cell<'static> {
        let failed = || format!("✗ {} failed", format::count(self.counts.bad()));
        match self.verdict {
            Verdict::Passed => Cell::new("✓ passed").painted(Tone::Good),
            Verdict::Failed => Cell::new(failed()).painted(Tone::Bad),
            Verdict::None if self.counts.bad() > 0 => Cell::new(failed()).painted(Tone::Bad),
            Verdict::None => Cell::new(""),
        }
    }

    /// What the counts say beyond the number that was told.
    fn detail(&self) -> String {
        let counts = &self.counts;
        let is_told = match self.verdict {
            Verdict::Passed => counts.passed == counts.planned && counts.flaky == 0,
            Verdict::Failed => counts.failed == counts.planned,
            Verdict::None => counts.done() == 0,
        };
        if is_told {
            return String::new();
        }
        format!(" ({})", format::counted(*counts))
    }

    /// How good it is, tests included.
    fn tone(&self) -> Tone {
        match (self.status, self.verdict) {
            (RunStatus::Completed, Verdict::Passed) => Tone::Good,
            (RunStatus::Completed, Verdict::Failed) => Tone::Bad,
            _ => self.life(),
        }
    }

    /// Where it is in its life; that a run has come to its end says nothing of its tests.
    fn life(&self) -> Tone {
        match self.status {
            RunStatus::Completed => Tone::Plain,
            RunStatus::Failed => Tone::Bad,
            RunStatus::Running => Tone::Live,
            RunStatus::Incomplete => Tone::Open,
            RunStatus::Cancelled => Tone::Dropped,
        }
    }
}

/// A status with its sign; those of verdicts are others.
fn brief_status_text(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Completed => "● completed",
        RunStatus::Failed => "✗ failed",
        RunStatus::Running => "○ running",
        RunStatus::Incomplete => "◐ incomplete",
        RunStatus::Cancelled => "⊘ cancelled",
    }
}
