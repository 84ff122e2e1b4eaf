//! [`TrialJudge`]: judges one attempt after the other again, for one of several threads.

use std::{io, ops::Range};

use super::changed_checks::{JudgedCheck, changed_checks};
use crate::{
    model::Outcome,
    record::{
        AttemptBatch, JudgementEntry, JudgementWindow, LineError, Mark, PlainAttempt, Row,
        RowCheck, WrittenAttempt,
    },
    run::{Rejudged, Rejudging, TrialToGrade},
    session::selecting::RowFilter,
    view::{KeptTrial, RescoredTrial},
};

/// Judges attempts again, of the trials that are meant. A clone of it is for another thread.
#[derive(Clone)]
pub(super) struct TrialJudge {
    judging: Rejudging,
    means: MeantTrials,
}

/// Which trials are judged.
#[derive(Clone)]
pub(super) enum MeantTrials {
    All,
    Filter(Box<RowFilter>),
    /// Those in these ranges of ordinals, each without its end.
    Ordinals(Vec<Range<u64>>),
}

/// An attempt that was looked at.
pub(super) struct PassedAttempt {
    /// What it meant so far.
    pub(super) mark: Mark,
    pub(super) came_to: PassedAs,
}

/// What an attempt's trial comes to.
#[expect(
    clippy::large_enum_variant,
    reason = "most are judgements, and one thread would free what another has allocated"
)]
pub(super) enum PassedAs {
    /// It is not judged.
    Nothing,
    Unchanged,
    Kept(Box<KeptTrial>),
    /// With what is to be told of it, if it means something else now.
    Judged(JudgementEntry, Option<Box<RescoredTrial>>),
    ToGrade(Box<TrialToGrade>, Box<BeforeGrading>),
}

/// A trial of which graders have still to speak.
pub(super) struct BeforeGrading {
    pub(super) trial: String,
    pub(super) outcome: Outcome,
    pub(super) checks: Vec<RowCheck<'static>>,
    pub(super) graders: Vec<String>,
}

/// Why a line comes to nothing, and the pass perhaps to its end.
pub(super) enum PassFailure {
    Line(LineError),
    Tests(io::Error),
}

impl TrialJudge {
    pub(super) fn new(judging: Rejudging, means: MeantTrials) -> Self {
        Self { judging, means }
    }

    /// Judges the attempts of a batch.
    pub(super) fn judge_batch(
        &mut self,
        batch: io::Result<AttemptBatch>,
    ) -> Vec<Result<PassedAttempt, PassFailure>> {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => return vec![Err(PassFailure::Line(error.into()))],
        };
        let mut window = JudgementWindow::default();
        let attempts = batch.lines().map(|line| {
            let line = line.map_err(PassFailure::Line)?;
            if let Some(plain) = line.plain(&mut window)
                && let Some(passed) = self.judge_plain(&plain).map_err(PassFailure::Tests)?
            {
                return Ok(passed);
            }
            let attempt = line.whole().map_err(PassFailure::Line)?;
            self.judge(&attempt).map_err(PassFailure::Tests)
        });
        attempts.collect()
    }

    /// The same of an attempt of which there is no more to tell than of most; `None` if all of it has to be looked at.
    fn judge_plain(&mut self, attempt: &PlainAttempt<'_>) -> io::Result<Option<PassedAttempt>> {
        let ordinal = attempt.mark.key.ordinal;
        let is_meant = match &self.means {
            MeantTrials::All => true,
            MeantTrials::Filter(_) => return Ok(None),
            MeantTrials::Ordinals(ranges) => is_in(ranges, ordinal),
        };
        let came_to = match self.judging.judge_plain(attempt)? {
            Some(Rejudged::Judged(_) | Rejudged::Unchanged) if !is_meant => PassedAs::Nothing,
            Some(Rejudged::Judged(entry)) => PassedAs::Judged(entry, None),
            Some(Rejudged::Unchanged) => PassedAs::Unchanged,
            _ => return Ok(None),
        };
        Ok(Some(PassedAttempt {
            mark: attempt.mark,
            came_to,
        }))
    }

    /// Judges an attempt.
    ///
    /// # Errors
    ///
    /// Fails if the tests cannot be read.
    pub(super) fn judge(&mut self, attempt: &WrittenAttempt) -> io::Result<PassedAttempt> {
        let judged = attempt.judged();
        let rejudged = self.judging.judge(attempt, &judged)?;
        let came_to = match rejudged {
            Rejudged::NotSettled => PassedAs::Nothing,
            _ if !self.means.mean(&judged) => PassedAs::Nothing,
            Rejudged::Unchanged => PassedAs::Unchanged,
            Rejudged::Kept(because) => PassedAs::Kept(Box::new(KeptTrial {
                trial: judged.trial.clone().into_owned(),
                outcome: judged.outcome,
                because,
            })),
            Rejudged::Judged(entry) => {
                let change = changed(&judged, &entry);
                PassedAs::Judged(entry, change.map(Box::new))
            }
            Rejudged::ToGrade(trial) => {
                let before = BeforeGrading {
                    trial: judged.trial.clone().into_owned(),
                    outcome: judged.outcome,
                    checks: judged.checks.clone(),
                    graders: trial.graders.clone(),
                };
                PassedAs::ToGrade(trial, Box::new(before))
            }
        };
        Ok(PassedAttempt {
            mark: judged.mark(),
            came_to,
        })
    }
}

impl MeantTrials {
    fn mean(&mut self, row: &Row<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Filter(filter) => filter.means(row, row.outcome != Outcome::Ungraded),
            Self::Ordinals(ranges) => is_in(ranges, row.ordinal),
        }
    }
}

fn is_in(ranges: &[Range<u64>], ordinal: u64) -> bool {
    ranges.iter().any(|range| range.contains(&ordinal))
}

/// What is to be told of a trial, if it means something else now.
fn changed(judged: &Row<'_>, by: &JudgementEntry) -> Option<RescoredTrial> {
    let (before, after) = (judged.outcome, by.mark.outcome);
    if before == after {
        return None;
    }
    let now = by.checks.iter().map(|check| JudgedCheck {
        name: &check.name,
        verdict: check.verdict,
        message: check.message.as_deref(),
    });
    Some(RescoredTrial {
        trial: judged.trial.clone().into_owned(),
        before,
        after,
        checks: changed_checks(&judged.checks, now),
    })
}
