//! Judging stored outputs again, by the expectations of a scenario as it is now: no provider runs.

mod writing;

use std::path::PathBuf;

use miette::miette;

use self::writing::Writing;
use super::{
    Host,
    selecting::{self, RowFilter},
};
use crate::{
    error::{Error, ExitStatus},
    filter::{Expression, Filter},
    model::{CheckVerdict, Digest, RunStatus},
    record::{
        Claim, Conclusion, JudgementEntry, LineError, NextSession, Row, RowCheck, RunEntry,
        RunReader, State, Store,
    },
    run::{Rejudged, Rejudging},
    scenario::{self, Selection, Suite},
    view::{
        DocumentVersion, KeptTrial, MAX_RESCORED, RescoreCounts, RescoreReport, RescoredCheck,
        RescoredTrial,
    },
};

/// What is asked for: that the trials of a run are judged again.
#[derive(Clone, Debug)]
pub struct Rescore {
    /// The run.
    pub run: RunEntry,
    /// The scenario with the expectations; the run's own as it is now where there is none.
    pub scenario: Option<PathBuf>,
    /// Only the trials that this means.
    pub filter: Option<Filter>,
    /// Whether it is only told what would change.
    pub is_dry_run: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Rescored {
    /// Which trials mean something else now.
    pub report: RescoreReport,
    /// What became of the run; of a dry run what it is.
    pub conclusion: Conclusion,
}

/// What trials are judged by.
struct Expectations {
    path: PathBuf,
    suite: Suite,
    scenario: Digest,
}

/// Judges the trials of a run again, and blocks until what has changed is on disk. What is judged by the same expectations
/// already is left as it is, so that doing it again changes nothing.
///
/// # Errors
///
/// Fails if the scenario is invalid, the run is worked on, was cancelled or has no rows, or if nothing can be written.
pub fn rescore(
    request: &Rescore,
    host: &Host,
    mut damaged: impl FnMut(&LineError),
) -> Result<Rescored, Error> {
    let run = &request.run;
    let store = Store::existing_around(&run.dir).map_err(Error::record)?;
    let reader = RunReader::open(&run.dir).map_err(Error::record)?;
    check_status(&reader)?;
    let by = Expectations::read(request, &reader)?;
    let filter = match &request.filter {
        Some(filter) => selecting::resolve(filter.clone(), store.root())?
            .expression()
            .clone(),
        None => Expression::All(Vec::new()),
    };
    if request.is_dry_run {
        let history = reader.history().map_err(Error::record)?;
        let mut pass = RescorePass::new(&reader, &history.state, filter, request, &by)?;
        let mut state = history.state.clone();
        pass.judge_all(&mut damaged, |batch| {
            for entry in batch {
                state.judged(entry.mark);
            }
            true
        })?;
        let mut run = run.clone();
        run.refresh().map_err(Error::record)?;
        return Ok(Rescored {
            report: pass.report(None, &state),
            conclusion: Conclusion::from(&run),
        });
    }
    host.log.begin();
    let claim = store.claim(run, (host.now)()).map_err(Error::claim)?;
    write(claim, filter, request, &by, host)
}

/// Refuses a run of which nothing can be judged.
fn check_status(reader: &RunReader) -> Result<(), Error> {
    let manifest = reader.manifest();
    if manifest.status == RunStatus::Cancelled {
        return Err(Error::usage(miette!(
            help = "`runner resume --force` goes on with it, and then it can be judged again",
            "run `{}` was cancelled",
            manifest.run_id
        )));
    }
    if reader.has_begun() {
        return Ok(());
    }
    Err(Error::usage(miette!(
        help = "`runner resume` runs it",
        "run `{}` has no rows that could be judged",
        manifest.run_id
    )))
}

impl Expectations {
    /// Reads the scenario that is named, or else the run's as it is now.
    fn read(request: &Rescore, reader: &RunReader) -> Result<Self, Error> {
        let own = || PathBuf::from(&reader.manifest().scenario.path);
        let path = request.scenario.clone().unwrap_or_else(own);
        let scenario = scenario::load(&path).map_err(Error::usage)?;
        let suite = scenario::normalise(&scenario, &Selection::default()).map_err(Error::usage)?;
        Ok(Self {
            scenario: Digest::of(scenario.text().as_bytes()),
            path,
            suite,
        })
    }
}

/// Judges in a session of its own, if anything has changed.
fn write(
    claim: Claim,
    filter: Expression,
    request: &Rescore,
    by: &Expectations,
    host: &Host,
) -> Result<Rescored, Error> {
    let reader = claim.reader();
    check_status(&reader)?;
    let history = claim
        .history(NextSession::default())
        .map_err(Error::record)?;
    let mut pass = RescorePass::new(&reader, &history.state, filter, request, by)?;
    let mut writing = Writing::new(claim, history.state.clone(), host);
    let judged = pass.judge_all(&mut |_| {}, |batch| writing.take(batch));
    let written = writing.close();
    judged?;
    let (conclusion, state) = written?;
    let session = conclusion.as_ref().map(|conclusion| conclusion.session);
    let conclusion = match conclusion {
        Some(conclusion) => conclusion,
        None => {
            let mut run = request.run.clone();
            run.refresh().map_err(Error::record)?;
            Conclusion::from(&run)
        }
    };
    Ok(Rescored {
        report: pass.report(session, &state),
        conclusion,
    })
}

/// One reading of all rows, in which trials are judged again.
struct RescorePass<'a> {
    reader: &'a RunReader,
    before: &'a State,
    judging: Rejudging<'a>,
    filter: Option<RowFilter>,
    request: &'a Rescore,
    by: &'a Expectations,
    counts: RescoreCounts,
    changes: Vec<RescoredTrial>,
    kept: Vec<KeptTrial>,
}

impl<'a> RescorePass<'a> {
    /// How many judgements are written at once.
    const BATCH: usize = 8 * 1024;

    fn new(
        reader: &'a RunReader,
        state: &'a State,
        filter: Expression,
        request: &'a Rescore,
        by: &'a Expectations,
    ) -> Result<Self, Error> {
        let judging = Rejudging::new(reader, state, &by.suite, by.scenario);
        let judging = judging.ok_or_else(|| Error {
            status: ExitStatus::Storage,
            report: miette!(
                help = "`runner verify` says what is missing",
                "what the run was planned with cannot be read any more"
            ),
        })?;
        let is_narrowed = request.filter.is_some();
        Ok(Self {
            reader,
            before: state,
            judging,
            filter: is_narrowed.then(|| RowFilter::new(filter, reader)),
            request,
            by,
            counts: RescoreCounts::default(),
            changes: Vec::new(),
            kept: Vec::new(),
        })
    }

    /// Judges all trials that are meant, and hands the judgements over in batches until `take` wants no more.
    fn judge_all(
        &mut self,
        damaged: &mut dyn FnMut(&LineError),
        mut take: impl FnMut(Vec<JudgementEntry>) -> bool,
    ) -> Result<(), Error> {
        let mut batch = Vec::new();
        for attempt in self.reader.written_attempts() {
            let attempt = match attempt {
                Ok(attempt) => attempt,
                Err(error @ LineError::Damaged { .. }) => {
                    damaged(&error);
                    continue;
                }
                Err(LineError::Io(source)) => {
                    return Err(Error::record(self.reader.rows_failed(source)));
                }
            };
            let judged = attempt.judged();
            let rejudged = self.judging.next(&attempt, &judged);
            let rejudged = rejudged
                .map_err(|error| Error::internal(miette!("cannot read the tests: {error}")))?;
            if let Rejudged::NotSettled = rejudged {
                continue;
            }
            if let Some(filter) = &mut self.filter
                && !filter.means(&judged, true)
            {
                continue;
            }
            batch.extend(self.note(&judged, rejudged));
            if batch.len() == Self::BATCH && !take(std::mem::take(&mut batch)) {
                return Ok(());
            }
        }
        if !batch.is_empty() {
            take(batch);
        }
        Ok(())
    }

    /// Counts a trial, and gives its judgement if it has a new one.
    fn note(&mut self, judged: &Row<'_>, rejudged: Rejudged) -> Option<JudgementEntry> {
        match rejudged {
            Rejudged::NotSettled => None,
            Rejudged::Unchanged => {
                self.counts.unchanged += 1;
                None
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
                None
            }
            Rejudged::Judged(entry) => {
                self.counts.add(judged.outcome, entry.mark.outcome);
                if judged.outcome != entry.mark.outcome && self.changes.len() < MAX_RESCORED {
                    self.changes.push(RescoredTrial {
                        trial: judged.trial.clone().into_owned(),
                        before: judged.outcome,
                        after: entry.mark.outcome,
                        checks: changed_checks(&judged.checks, &entry),
                    });
                }
                Some(*entry)
            }
        }
    }

    fn report(self, session: Option<u32>, after: &State) -> RescoreReport {
        RescoreReport {
            v: DocumentVersion,
            is_dry_run: self.request.is_dry_run,
            run: self.request.run.id.to_string(),
            session,
            scenario: self.by.path.clone(),
            rescored: self.counts,
            before: self.before.counts().into(),
            after: after.counts().into(),
            changes: self.changes,
            kept: self.kept,
        }
    }
}

/// The checks that came, went or ended otherwise: those of the same name are compared in their order.
fn changed_checks(before: &[RowCheck<'_>], after: &JudgementEntry) -> Vec<RescoredCheck> {
    let mut before: Vec<_> = before.iter().map(Some).collect();
    let mut changed = Vec::new();
    for check in &after.checks {
        let same_name =
            |old: &&mut Option<&RowCheck<'_>>| old.is_some_and(|old| *old.name == check.name);
        let was = before.iter_mut().find(same_name).and_then(Option::take);
        let was: Option<CheckVerdict> = was.map(|was| was.verdict);
        if was != Some(check.verdict) {
            changed.push(RescoredCheck {
                name: check.name.clone(),
                before: was,
                after: Some(check.verdict),
                message: check.message.clone(),
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
