//! [`RescorePass`]: one reading of all rows, in which trials are judged again.

use std::{collections::BTreeMap, io, ops::Range};

use miette::miette;

use crate::{
    error::Error,
    model::{CheckVerdict, Outcome},
    record::{JudgementEntry, LineError, Row, RowCheck, RunReader, WrittenAttempts},
    run::{JudgedTrial, Rejudged, Rejudging, TrialToGrade, Unjudged, judged},
    session::selecting::RowFilter,
    view::{KeptTrial, MAX_RESCORED, RescoreCounts, RescoredCheck, RescoredTrial, UngradedTrial},
};

/// One reading of all rows, in which trials are judged again.
pub(super) struct RescorePass {
    reader: RunReader,
    attempts: WrittenAttempts,
    judging: Rejudging,
    means: MeantTrials,
    pub(super) counts: RescoreCounts,
    pub(super) changes: Vec<RescoredTrial>,
    pub(super) kept: Vec<KeptTrial>,
    /// The trials of which graders have still to speak, by ordinal.
    ungraded: BTreeMap<u64, BeforeGrading>,
}

/// Which trials are judged.
pub(super) enum MeantTrials {
    All,
    Filter(Box<RowFilter>),
    /// Those in these ranges of ordinals, each without its end.
    Ordinals(Vec<Range<u64>>),
}

/// A trial of which graders have still to speak.
struct BeforeGrading {
    trial: String,
    outcome: Outcome,
    checks: Vec<RowCheck<'static>>,
    graders: Vec<String>,
}

/// What a line comes to.
enum Passed {
    Nothing,
    /// A judgement, and the row as it was written.
    Judged(Box<JudgementEntry>, Box<Row<'static>>),
    ToGrade(Box<TrialToGrade>),
}

/// Why a line comes to nothing, and the pass perhaps to its end.
enum PassFailure {
    Line(LineError),
    Tests(io::Error),
}

impl RescorePass {
    /// How many judgements are written at once.
    const BATCH: usize = 8 * 1024;

    /// Begins with a run.
    pub(super) fn new(reader: &RunReader, judging: Rejudging, means: MeantTrials) -> Self {
        Self {
            attempts: reader.written_attempts(),
            reader: reader.clone(),
            judging,
            means,
            counts: RescoreCounts::default(),
            changes: Vec::new(),
            kept: Vec::new(),
            ungraded: BTreeMap::new(),
        }
    }

    /// Judges all trials that are meant, and hands the judgements over in batches until `take` wants no more.
    pub(super) fn judge_all(
        &mut self,
        damaged: &mut dyn FnMut(&LineError),
        mut take: impl FnMut(Vec<JudgementEntry>) -> bool,
    ) -> Result<(), Error> {
        let mut batch = Vec::new();
        while let Some(passed) = self.next() {
            match passed {
                Ok(Passed::Judged(entry, _)) => batch.push(*entry),
                Ok(Passed::Nothing | Passed::ToGrade(_)) => {}
                Err(PassFailure::Line(error @ LineError::Damaged { .. })) => damaged(&error),
                Err(PassFailure::Line(LineError::Io(source))) => {
                    return Err(Error::record(self.reader.rows_failed(source)));
                }
                Err(PassFailure::Tests(error)) => {
                    return Err(Error::internal(miette!("cannot read the tests: {error}")));
                }
            }
            if batch.len() == Self::BATCH && !take(std::mem::take(&mut batch)) {
                return Ok(());
            }
        }
        if !batch.is_empty() {
            take(batch);
        }
        Ok(())
    }

    /// Judges the next attempt for a session that asks graders; an item without anything says that there are more.
    pub(super) fn next_unjudged(&mut self) -> Option<io::Result<Option<Unjudged>>> {
        Some(match self.next()? {
            Ok(Passed::Nothing) | Err(PassFailure::Line(LineError::Damaged { .. })) => Ok(None),
            Ok(Passed::Judged(entry, row)) => Ok(Some(judged(*entry, *row))),
            Ok(Passed::ToGrade(trial)) => Ok(Some(trial.into_unjudged())),
            Err(PassFailure::Line(LineError::Io(error)) | PassFailure::Tests(error)) => Err(error),
        })
    }

    fn next(&mut self) -> Option<Result<Passed, PassFailure>> {
        let attempt = match self.attempts.next()? {
            Ok(attempt) => attempt,
            Err(error) => return Some(Err(PassFailure::Line(error))),
        };
        let passed = {
            let judged = attempt.judged();
            match self.judging.next(&attempt, &judged) {
                Err(error) => return Some(Err(PassFailure::Tests(error))),
                Ok(Rejudged::NotSettled) => return Some(Ok(Passed::Nothing)),
                Ok(_) if !self.means.mean(&judged) => return Some(Ok(Passed::Nothing)),
                Ok(rejudged) => self.note(&judged, rejudged),
            }
        };
        Some(Ok(match passed {
            Noted::Nothing => Passed::Nothing,
            Noted::Judged(entry) => Passed::Judged(entry, Box::new(attempt.row)),
            Noted::ToGrade(trial) => Passed::ToGrade(trial),
        }))
    }

    /// Counts a trial, and gives what is to be done with it.
    fn note(&mut self, judged: &Row<'static>, rejudged: Rejudged) -> Noted {
        match rejudged {
            Rejudged::NotSettled => Noted::Nothing,
            Rejudged::Unchanged => {
                self.counts.unchanged += 1;
                Noted::Nothing
            }
            Rejudged::Kept(because) => {
                self.counts.kept += 1;
                if self.kept.len() < MAX_RESCORED {
                    self.kept.push(KeptTrial {
                        trial: judged.trial.clone().into_owned(),
                        outcome: judged.outcome,
                        because,
                    });
                }
                Noted::Nothing
            }
            Rejudged::Judged(entry) => {
                let after = entry.checks.iter();
                let after = after.map(|check| JudgedCheck {
                    name: &check.name,
                    verdict: check.verdict,
                    message: check.message.as_deref(),
                });
                let (before, now) = (judged.outcome, entry.mark.outcome);
                self.settle(&judged.trial, (before, now), &judged.checks, after);
                Noted::Judged(entry)
            }
            Rejudged::ToGrade(trial) => {
                let before = BeforeGrading {
                    trial: judged.trial.clone().into_owned(),
                    outcome: judged.outcome,
                    checks: judged.checks.clone(),
                    graders: trial.graders.clone(),
                };
                self.counts.ungraded += 1;
                self.ungraded.insert(judged.ordinal, before);
                Noted::ToGrade(trial)
            }
        }
    }

    /// Notes what graders have said, once that is on disk.
    pub(super) fn graded(&mut self, trial: &JudgedTrial) {
        let Some(before) = self.ungraded.remove(&trial.ordinal()) else {
            return;
        };
        self.counts.ungraded -= 1;
        let after = trial.checks().map(|check| JudgedCheck {
            name: &check.name,
            verdict: check.verdict,
            message: check.message.as_deref(),
        });
        let outcomes = (before.outcome, trial.outcome());
        self.settle(&before.trial, outcomes, &before.checks, after);
    }

    fn settle<'c>(
        &mut self,
        trial: &str,
        (before, after): (Outcome, Outcome),
        checks: &[RowCheck<'_>],
        now: impl Iterator<Item = JudgedCheck<'c>>,
    ) {
        self.counts.add(before, after);
        if before != after && self.changes.len() < MAX_RESCORED {
            self.changes.push(RescoredTrial {
                trial: trial.to_owned(),
                before,
                after,
                checks: changed_checks(checks, now),
            });
        }
    }

    /// The trials of which graders have still to speak.
    pub(super) fn take_ungraded(&mut self) -> Vec<UngradedTrial> {
        let trials = std::mem::take(&mut self.ungraded).into_values();
        trials
            .take(MAX_RESCORED)
            .map(|of| UngradedTrial {
                trial: of.trial,
                outcome: of.outcome,
                graders: of.graders,
            })
            .collect()
    }
}

/// What is to be done with a trial that was counted.
enum Noted {
    Nothing,
    Judged(Box<JudgementEntry>),
    ToGrade(Box<TrialToGrade>),
}

impl MeantTrials {
    fn mean(&mut self, row: &Row<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Filter(filter) => filter.means(row, row.outcome != Outcome::Ungraded),
            Self::Ordinals(ranges) => ranges.iter().any(|range| range.contains(&row.ordinal)),
        }
    }
}

/// A check as it is now.
struct JudgedCheck<'a> {
    name: &'a str,
    verdict: CheckVerdict,
    message: Option<&'a str>,
}

/// The checks that came, went or ended otherwise: those of the same name are compared in their order.
fn changed_checks<'a>(
    before: &[RowCheck<'_>],
    after: impl Iterator<Item = JudgedCheck<'a>>,
) -> Vec<RescoredCheck> {
    let mut before: Vec<_> = before.iter().map(Some).collect();
    let mut changed = Vec::new();
    for check in after {
        let same_name =
            |old: &&mut Option<&RowCheck<'_>>| old.is_some_and(|old| *old.name == *check.name);
        let was = before.iter_mut().find(same_name).and_then(Option::take);
        let was: Option<CheckVerdict> = was.map(|was| was.verdict);
        if was != Some(check.verdict) {
            changed.push(RescoredCheck {
                name: check.name.to_owned(),
                before: was,
                after: Some(check.verdict),
                message: check.message.map(str::to_owned),
            });
        }
    }
    changed.extend(before.into_iter().flatten().map(|gone| RescoredCheck {
        name: gone.name.clone().into_owned(),
        before: Some(gone.verdict),
        after: None,
        message: None,
    }));
    changed
}
