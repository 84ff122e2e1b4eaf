//! [`RescorePass`]: one reading of all rows, in which trials are judged again.

use std::{collections::BTreeMap, io};

use miette::miette;

use super::{
    changed_checks::{JudgedCheck, changed_checks},
    trial_judge::{BeforeGrading, MeantTrials, PassFailure, PassedAs, PassedAttempt, TrialJudge},
};
use crate::{
    error::Error,
    model::{cores, work_in_lanes},
    record::{JudgementEntry, LineError, RunReader, WrittenAttempts},
    run::{JudgedTrial, Rejudging, ShakyTrials, TrialToGrade, Unjudged, judged},
    view::{KeptTrial, MAX_RESCORED, RescoreCounts, RescoredTrial, UngradedTrial},
};

/// One reading of all rows, in which trials are judged again.
pub(super) struct RescorePass {
    reader: RunReader,
    judge: TrialJudge,
    shaky: ShakyTrials,
    /// What graders are asked of, once they are.
    attempts: Option<WrittenAttempts>,
    pub(super) counts: RescoreCounts,
    pub(super) changes: Vec<RescoredTrial>,
    pub(super) kept: Vec<KeptTrial>,
    /// The trials of which graders have still to speak, by ordinal.
    ungraded: BTreeMap<u64, BeforeGrading>,
}

impl RescorePass {
    /// How many judgements are written at once.
    const BATCH: usize = 1024;
    /// More threads than these would wait for the one that writes.
    const MOST_THREADS: usize = 8;

    /// Begins with a run.
    pub(super) fn new(reader: &RunReader, judging: Rejudging, means: MeantTrials) -> Self {
        Self {
            shaky: ShakyTrials::new(reader.manifest().metadata.planned_test_count),
            reader: reader.clone(),
            judge: TrialJudge::new(judging, means),
            attempts: None,
            counts: RescoreCounts::default(),
            changes: Vec::new(),
            kept: Vec::new(),
            ungraded: BTreeMap::new(),
        }
    }

    /// Judges all trials that are meant, on as many threads as there are cores, and hands the judgements over in batches and
    /// in the order of the rows, until `take` wants no more.
    pub(super) fn judge_all(
        &mut self,
        damaged: &mut dyn FnMut(&LineError),
        mut take: impl FnMut(Vec<JudgementEntry>) -> bool,
    ) -> Result<(), Error> {
        let batches = self.reader.attempt_batches().map_err(Error::record)?;
        let workers = vec![self.judge.clone(); cores().min(Self::MOST_THREADS)];
        let workers = workers
            .into_iter()
            .map(|mut judge| move |batch| judge.judge_batch(batch));
        let mut judged = Vec::new();
        let mut is_wanted = true;
        let worked = work_in_lanes(batches, workers, |batch| {
            for passed in batch {
                match passed {
                    Ok(passed) => {
                        if let Some(Next::Judged(entry)) = self.note(passed) {
                            judged.push(entry);
                        }
                    }
                    Err(PassFailure::Line(error @ LineError::Damaged { .. })) => damaged(&error),
                    Err(PassFailure::Line(LineError::Io(source))) => {
                        return Err(Error::record(self.reader.rows_failed(source)));
                    }
                    Err(PassFailure::Tests(error)) => {
                        return Err(Error::internal(miette!("cannot read the tests: {error}")));
                    }
                }
            }
            if judged.len() >= Self::BATCH {
                is_wanted = take(std::mem::take(&mut judged));
            }
            Ok(is_wanted)
        });
        let no_thread =
            |error| Error::internal(miette!("cannot start a thread that judges: {error}"));
        worked.map_err(no_thread)??;
        if is_wanted && !judged.is_empty() {
            take(judged);
        }
        Ok(())
    }

    /// Judges the next attempt for a session that asks graders; an item without anything says that there are more.
    pub(super) fn next_unjudged(&mut self) -> Option<io::Result<Option<Unjudged>>> {
        let attempts = match &mut self.attempts {
            Some(attempts) => attempts,
            None => match self.reader.written_attempts() {
                Ok(attempts) => self.attempts.insert(attempts),
                Err(error) => return Some(Err(io::Error::other(error))),
            },
        };
        let attempt = match attempts.next()? {
            Ok(attempt) => attempt,
            Err(LineError::Damaged { .. }) => return Some(Ok(None)),
            Err(LineError::Io(error)) => return Some(Err(error)),
        };
        let passed = match self.judge.judge(&attempt) {
            Ok(passed) => passed,
            Err(error) => return Some(Err(error)),
        };
        Some(Ok(self.note(passed).map(|next| match next {
            Next::Judged(entry) => judged(entry, attempt.row),
            Next::ToGrade(trial) => trial.into_unjudged(),
        })))
    }

    /// Counts an attempt, and says what is to be done with its trial.
    fn note(&mut self, passed: PassedAttempt) -> Option<Next> {
        let was_shaky = self.shaky.note(passed.mark);
        match passed.came_to {
            PassedAs::Nothing => None,
            PassedAs::Unchanged => {
                self.counts.unchanged += 1;
                None
            }
            PassedAs::Kept(trial) => {
                self.counts.kept += 1;
                if self.kept.len() < MAX_RESCORED {
                    self.kept.push(*trial);
                }
                None
            }
            PassedAs::Judged(mut entry, change) => {
                if was_shaky {
                    entry.follow_a_bad_attempt();
                }
                self.counts.add(passed.mark.outcome, entry.mark.outcome);
                self.changed(change.map(|change| *change));
                Some(Next::Judged(entry))
            }
            PassedAs::ToGrade(mut trial, before) => {
                if was_shaky {
                    trial.follow_a_bad_attempt();
                }
                self.counts.ungraded += 1;
                self.ungraded.insert(passed.mark.key.ordinal, *before);
                Some(Next::ToGrade(trial))
            }
        }
    }

    /// Notes what graders have said, once that is on disk.
    pub(super) fn graded(&mut self, trial: &JudgedTrial) {
        let Some(before) = self.ungraded.remove(&trial.ordinal()) else {
            return;
        };
        self.counts.ungraded -= 1;
        self.counts.add(before.outcome, trial.outcome());
        let after = trial.checks().map(|check| JudgedCheck {
            name: &check.name,
            verdict: check.verdict,
            message: check.message.as_deref(),
        });
        let is_other = before.outcome != trial.outcome();
        self.changed(is_other.then(|| RescoredTrial {
            checks: changed_checks(&before.checks, after),
            trial: before.trial,
            before: before.outcome,
            after: trial.outcome(),
        }));
    }

    fn changed(&mut self, change: Option<RescoredTrial>) {
        if self.changes.len() < MAX_RESCORED {
            self.changes.extend(change);
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
#[expect(
    clippy::large_enum_variant,
    reason = "most are judgements, and one thread would free what another has allocated"
)]
enum Next {
    Judged(JudgementEntry),
    ToGrade(Box<TrialToGrade>),
}
