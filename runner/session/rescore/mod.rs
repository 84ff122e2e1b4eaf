//! Judging stored outputs again, by the expectations and the graders of a scenario as it is now: no provider runs.

mod changed_checks;
mod grading;
mod pass;
mod trial_judge;
mod writing;

use std::{ops::Range, panic::resume_unwind, path::PathBuf, thread};

use miette::miette;

use self::{grading::grade, pass::RescorePass, trial_judge::MeantTrials, writing::Writing};
use super::{
    Host, Observe, Rescore,
    live::make_room,
    plugins::{self, Build},
    protected, secrets,
    selecting::{self, RowFilter},
};
use crate::{
    error::{Error, ExitStatus},
    model::{Counts, Digest, RunStatus},
    record::{
        Claim, Conclusion, History, LineError, MissingRows, NextSession, RecordError, RunEntry,
        RunReader, State, Store,
    },
    run::{Plan, PlannedWith, Rejudging},
    scenario::{self, RunOptions, Scenario, Selection, Suite},
    view::{DocumentVersion, RescoreReport},
};

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
    /// With its graders, if tests name some and they are asked.
    plan: Option<Plan>,
}

/// Judges the trials of a run again, and blocks until what has changed is on disk. What is judged by the same already is left
/// as it is, so that doing it again changes nothing. Graders are asked where what they were asked before is another question,
/// or had no answer.
///
/// # Errors
///
/// Fails if the scenario is invalid, the run is worked on, was cancelled or has no rows, if a grader cannot be planned, or if
/// nothing can be written.
pub fn rescore(
    request: &Rescore,
    host: &Host,
    observe: &mut dyn Observe,
    damaged: impl FnMut(&LineError),
) -> Result<Rescored, Error> {
    rescore_of(request, None, host, observe, damaged)
}

/// The same, of those trials alone that are in these ranges of ordinals, each without its end.
pub(super) fn rescore_of(
    request: &Rescore,
    only: Option<&[Range<u64>]>,
    host: &Host,
    observe: &mut dyn Observe,
    mut damaged: impl FnMut(&LineError),
) -> Result<Rescored, Error> {
    let run = &request.run;
    let store = Store::existing_around(&run.dir).map_err(Error::record)?;
    let reader = RunReader::open(&run.dir).map_err(Error::record)?;
    check_status(&reader)?;
    let by = Expectations::read(request, &reader, host, observe)?;
    let filter = request.filter.as_ref();
    let filter = filter.map(|filter| selecting::resolve(filter.clone(), store.root()));
    let filter = filter.transpose()?;
    let means = |reader: &RunReader| match (&filter, only) {
        (_, Some(ranges)) => MeantTrials::Ordinals(ranges.to_vec()),
        (Some(filter), None) => {
            let filter = RowFilter::new(filter.expression().clone(), reader);
            MeantTrials::Filter(Box::new(filter))
        }
        (None, None) => MeantTrials::All,
    };
    if request.is_dry_run {
        let (history, stored) = read_both(&reader, || reader.history())?;
        let judging = by.judging((&reader, stored), &history.state);
        let mut pass = RescorePass::new(&reader, judging, means(&reader));
        let (before, mut state) = (history.state.counts(), history.state);
        pass.judge_all(&mut damaged, |batch| {
            for entry in batch {
                state.judged(entry.mark);
            }
            true
        })?;
        let counts = (before, state.counts());
        return Ok(Rescored {
            report: report(pass, None, counts, request, &by),
            conclusion: as_it_is(run)?,
        });
    }
    host.log.begin();
    let claim = store.claim(run, (host.now)()).map_err(Error::claim)?;
    write(claim, &means, request, by, (&store, host), observe)
}

fn as_it_is(run: &RunEntry) -> Result<Conclusion, Error> {
    let mut run = run.clone();
    run.refresh().map_err(Error::record)?;
    Ok(Conclusion::from(&run))
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
    /// Reads the scenario that is named, or else the run's as it is now, and plans its graders if they are asked.
    fn read(
        request: &Rescore,
        reader: &RunReader,
        host: &Host,
        observe: &mut dyn Observe,
    ) -> Result<Self, Error> {
        let own = || PathBuf::from(&reader.manifest().scenario.path);
        let path = request.scenario.clone().unwrap_or_else(own);
        let scenario = scenario::load(&path).map_err(Error::usage)?;
        let suite = scenario::normalise(&scenario, &Selection::default()).map_err(Error::usage)?;
        let mut by = Self {
            scenario: Digest::of(scenario.text().as_bytes()),
            path,
            suite,
            plan: None,
        };
        if request.asks_graders && !scenario.graders().is_empty() {
            by.plan = by.plan(scenario, reader, host, observe)?;
        }
        Ok(by)
    }

    /// Plans the graders that tests name, if they name any.
    fn plan(
        &self,
        scenario: Scenario,
        reader: &RunReader,
        host: &Host,
        observe: &mut dyn Observe,
    ) -> Result<Option<Plan>, Error> {
        let options = RunOptions::of_stored(&reader.manifest().options);
        let signals = host.signals.as_ref();
        let files = plugins::find_graders(&scenario, Build::Ask, signals, observe)?;
        let plan = Plan::to_judge(scenario, &self.path, &files, self.suite.clone(), options);
        let mut plan = plan.map_err(Error::usage)?;
        plan.count_spent(reader).map_err(Error::record)?;
        Ok(plan.has_graders().then_some(plan))
    }

    fn judging(&self, run: (&RunReader, PlannedWith), state: &State) -> Rejudging {
        match &self.plan {
            Some(plan) => Rejudging::by_plan(run, state, plan),
            None => Rejudging::new(run, state, &self.suite, self.scenario),
        }
    }
}

/// Reads what the rows of a run come to, and beside that what it was planned with.
fn read_both(
    reader: &RunReader,
    history: impl FnOnce() -> Result<History, RecordError>,
) -> Result<(History, PlannedWith), Error> {
    let (history, stored) = thread::scope(|scope| {
        let opening = thread::Builder::new().spawn_scoped(scope, || PlannedWith::of(reader));
        let history = history();
        let stored = match opening {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => PlannedWith::of(reader),
        };
        (history, stored)
    });
    let stored = stored.ok_or_else(|| Error {
        status: ExitStatus::Storage,
        report: miette!(
            help = "`runner verify` says what is missing",
            "what the run was planned with cannot be read any more"
        ),
    })?;
    Ok((history.map_err(Error::record)?, stored))
}

/// Judges in a session of its own, if anything has changed.
fn write(
    claim: Claim,
    means: &dyn Fn(&RunReader) -> MeantTrials,
    request: &Rescore,
    mut by: Expectations,
    (store, host): (&Store, &Host),
    observe: &mut dyn Observe,
) -> Result<Rescored, Error> {
    let reader = claim.reader();
    check_status(&reader)?;
    let (history, stored) = read_both(&reader, || claim.history(NextSession::default()))?;
    claim.tell_missing(&history, MissingRows::make_again, (host.now)());
    let before = history.state.counts();
    let to_grade = match by.plan {
        None => 0,
        Some(_) => {
            let judging = by.judging((&reader, stored.clone()), &history.state);
            let mut look = RescorePass::new(&reader, judging, means(&reader));
            look.judge_all(&mut |_| {}, |_| true)?;
            look.counts.ungraded
        }
    };
    let judging = by.judging((&reader, stored), &history.state);
    let mut pass = RescorePass::new(&reader, judging, means(&reader));
    if let Some(plan) = by.plan.as_mut().filter(|_| to_grade > 0) {
        check_plan(plan, request, (store, host), observe)?;
        let (conclusion, mut pass) = grade(claim, history, plan, pass, (store, host), observe)?;
        // What was not even looked at before a stop is left, too.
        let judged = pass.counts.judged();
        pass.counts.ungraded = pass.counts.ungraded.max(to_grade.saturating_sub(judged));
        let counts = (before, conclusion.counts);
        let session = Some(conclusion.session);
        return Ok(Rescored {
            report: report(pass, session, counts, request, &by),
            conclusion,
        });
    }
    let mut writing = Writing::new(claim, history.state, host);
    let judged = pass.judge_all(&mut |_| {}, |batch| writing.take(batch));
    let written = writing.close();
    judged?;
    let (conclusion, state) = written?;
    let session = conclusion.as_ref().map(|conclusion| conclusion.session);
    let conclusion = match conclusion {
        Some(conclusion) => conclusion,
        None => as_it_is(&request.run)?,
    };
    let counts = (before, state.counts());
    Ok(Rescored {
        report: report(pass, session, counts, request, &by),
        conclusion,
    })
}

/// Refuses graders that could do what no guest may, or that have nothing left to spend, and hands them their secrets.
fn check_plan(
    plan: &mut Plan,
    request: &Rescore,
    (store, host): (&Store, &Host),
    observe: &mut dyn Observe,
) -> Result<(), Error> {
    if let Some(used_up) = plan.used_up_by_graders() {
        return Err(Error::usage(miette!(
            help = "a larger budget in the scenario gives more",
            "{used_up}"
        )));
    }
    plan.check_folders(protected::of_rescore(request, store.root(), host))
        .map_err(Error::usage)?;
    secrets::hand_over(plan, &request.secret_files, host, observe)?;
    make_room(plan, observe)
}

fn report(
    mut pass: RescorePass,
    session: Option<u32>,
    (before, after): (Counts, Counts),
    request: &Rescore,
    by: &Expectations,
) -> RescoreReport {
    RescoreReport {
        v: DocumentVersion,
        is_dry_run: request.is_dry_run,
        run: request.run.id.to_string(),
        session,
        scenario: by.path.clone(),
        rescored: pass.counts,
        before: before.into(),
        after: after.into(),
        ungraded: pass.take_ungraded(),
        changes: pass.changes,
        kept: pass.kept,
    }
}
