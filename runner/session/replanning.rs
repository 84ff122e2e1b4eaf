//! What a session of a run that exists is to run: by what was stored, or by the files as they are now.

use std::{collections::BTreeSet, ops::Range, path::Path};

use miette::miette;

use super::{
    Build, Host, Notice, Observe, Rescore, Rescored, Resume, TrialGlob, differences, plugins,
    rescore::rescore_of, selecting,
};
use crate::{
    error::Error,
    model::{RunStatus, add_to_ranges},
    record::{NextSession, Rerun, RunReader},
    run::{Plan, PlanChanges, Protected},
    scenario::{self, RunOptions, Selection},
    toolchain::Source,
};

/// What a session is to run.
pub(super) struct Replanned {
    pub(super) plan: Plan,
    /// Whether it is another plan than the stored one.
    pub(super) is_new: bool,
    /// Which trials that have a final row run again.
    pub(super) rerun: Option<Rerun>,
    /// What was read for it that is no part of it.
    pub(super) read: Vec<Protected>,
    /// Whether trials are judged by it otherwise than by the stored one, and need not run for that.
    pub(super) is_rejudging: bool,
}

/// Plans from what was stored, unless the live files are asked for or the run could not begin with the old ones. `rerun` says
/// which trials that have a final row are asked for. What is only foreseen takes all for judged that can be by what is on disk.
pub(super) fn plan(
    request: &Resume,
    rerun: Option<&Rerun>,
    stored: &RunReader,
    is_foreseen: bool,
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<Replanned, Error> {
    if stored.manifest().status == RunStatus::Failed && !stored.has_begun() {
        return Ok(Replanned {
            plan: live_plan(request, stored, host, observe)?,
            is_new: true,
            rerun: None,
            read: Vec::new(),
            is_rejudging: false,
        });
    }
    let plan = Plan::of_run(stored, &request.overrides).map_err(Error::usage)?;
    if request.accept_changes {
        let live = live_plan(request, stored, host, observe)?;
        check_glob(rerun, &live)?;
        let read = live.read();
        let planned = adopt(rerun, stored, (plan, live), is_foreseen, observe)?;
        return Ok(Replanned { read, ..planned });
    }
    check_glob(rerun, &plan)?;
    differences::tell(stored, observe);
    Ok(Replanned {
        plan,
        is_new: false,
        rerun: rerun.cloned(),
        read: Vec::new(),
        is_rejudging: false,
    })
}

/// Plans from the live files, with what was selected and set when the run was born.
fn live_plan(
    request: &Resume,
    stored: &RunReader,
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<Plan, Error> {
    let manifest = stored.manifest();
    let root = request.root();
    let path = Path::new(&manifest.scenario.path);
    let scenario = scenario::load(path).map_err(Error::usage)?;
    let selection = Selection::of_stored(&manifest.selection).map_err(Error::usage)?;
    let selection = selecting::looked_up(&selection, root)?;
    let signals = host.signals.as_ref();
    let plugins = plugins::find(&scenario, &selection, Build::Ask, signals, observe)?;
    let overrides = RunOptions::of_stored(&manifest.options).resumed_with(&request.overrides);
    Plan::new(scenario, path, &plugins, selection, overrides).map_err(Error::usage)
}

/// Refuses a glob that means no trial.
fn check_glob(rerun: Option<&Rerun>, plan: &Plan) -> Result<(), Error> {
    let Some(Rerun::Glob(glob)) = rerun else {
        return Ok(());
    };
    let mut trials = TrialGlob::new(glob).map_err(|error| Error::usage(miette!("{error}")))?;
    plan.each_trial(|trial, _| {
        trials.means(&trial.to_string());
    })
    .map_err(|error| Error::internal(miette!("cannot read the run's tests: {error}")))?;
    trials.check("of the run")
}

/// Takes the live plan for a run that has rows: what it changes runs again with what `rerun` names, and what it adds runs.
///
/// Ordinals are kept. Rows name trials by their place in the plan, so the trials of the run must be the first ones of the
/// live plan, in the same order; what has moved or is gone is refused. Rows that are copied under other ordinals would make
/// one attempt two rows. What has changed is stored with the session as a `rerun` of ordinals, so that the fold of all rows
/// serves this case too.
fn adopt(
    rerun: Option<&Rerun>,
    run: &RunReader,
    (stored, live): (Plan, Plan),
    is_foreseen: bool,
    observe: &mut dyn Observe,
) -> Result<Replanned, Error> {
    if live.digest() == stored.digest() && live.goes_as(&stored) {
        observe.notice(&Notice::NothingChanged);
        return Ok(Replanned {
            plan: stored,
            is_new: false,
            rerun: rerun.cloned(),
            read: Vec::new(),
            is_rejudging: false,
        });
    }
    let PlanChanges {
        execution,
        judgement,
    } = changes(&live, &stored)?;
    let is_rejudging = !judgement.is_empty();
    let changes = match run.has_begun() && is_foreseen {
        true => execution,
        false => with_unjudged(execution, &judgement, run, &live)?,
    };
    differences::grants(stored.scenario(), live.scenario(), |provider| {
        observe.notice(&Notice::GrantsAdopted { provider });
    });
    let changed: u64 = changes.iter().map(|range| range.end - range.start).sum();
    let added = live.trial_count() - stored.trial_count();
    observe.notice(&Notice::Adopting { changed, added });
    let again = match rerun {
        Some(rerun) => with_named(changes, rerun, run, stored.trial_count())?,
        None => changes,
    };
    Ok(Replanned {
        plan: live,
        is_new: true,
        rerun: Some(Rerun::Changed(again)),
        read: Vec::new(),
        is_rejudging,
    })
}

/// What has changed from the stored plan to the live one.
fn changes(live: &Plan, stored: &Plan) -> Result<PlanChanges, Error> {
    live.changes_since(stored).map_err(|error| {
        Error::usage(miette!(
            help = "tests and providers may be changed, and added behind the others; for anything else begin a new run",
            "the changes cannot be adopted: {error}"
        ))
    })
}

/// Adds to the trials that have changed those that could not be judged again by what is on disk: they run.
fn with_unjudged(
    execution: Vec<Range<u64>>,
    judgement: &[Range<u64>],
    run: &RunReader,
    live: &Plan,
) -> Result<Vec<Range<u64>>, Error> {
    if judgement.is_empty() {
        return Ok(execution);
    }
    let unjudged = live.judged_otherwise(run, judgement);
    let unjudged = unjudged.map_err(|source| Error::record(run.rows_failed(source)))?;
    let all: BTreeSet<u64> = execution.into_iter().chain(unjudged).flatten().collect();
    let mut ranges = Vec::new();
    for ordinal in all {
        add_to_ranges(&mut ranges, ordinal);
    }
    Ok(ranges)
}

/// Judges the trials again of which only that has changed by which they are judged, before the changes are adopted: what is
/// cut short is left to the next time, because the run keeps its plan until then. `None` if there are none.
///
/// # Errors
///
/// Fails if the changes cannot be adopted, or if trials cannot be judged.
pub(super) fn rejudge(
    request: &Resume,
    stored: &RunReader,
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<Option<Rescored>, Error> {
    let is_failed = stored.manifest().status == RunStatus::Failed;
    if !request.accept_changes || is_failed || !stored.has_begun() {
        return Ok(None);
    }
    let plan = Plan::of_run(stored, &request.overrides).map_err(Error::usage)?;
    let live = live_plan(request, stored, host, &mut Unheard(observe))?;
    if live.digest() == plan.digest() {
        return Ok(None);
    }
    let ranges = changes(&live, &plan)?.judgement;
    drop((plan, live));
    if ranges.is_empty() {
        return Ok(None);
    }
    let changed = ranges.iter().map(|range| range.end - range.start).sum();
    observe.notice(&Notice::JudgingAgain { changed });
    let rescore = Rescore {
        run: request.run.clone(),
        scenario: None,
        filter: None,
        is_dry_run: false,
        asks_graders: true,
        secret_files: request.secret_files.clone(),
    };
    rescore_of(&rescore, Some(&ranges), host, observe, |_| {}).map(Some)
}

/// Sees nothing of what is found out twice.
struct Unheard<'a>(&'a mut dyn Observe);

impl Observe for Unheard<'_> {
    fn notice(&mut self, _: &Notice<'_>) {}

    fn may_build(&mut self, source: &Source) -> bool {
        self.0.may_build(source)
    }
}

/// Adds to the trials that have changed those that `rerun` names now, by their ordinals: what a later fold finds does not
/// depend on what the changed ones come to.
fn with_named(
    changes: Vec<Range<u64>>,
    rerun: &Rerun,
    run: &RunReader,
    trials: u64,
) -> Result<Vec<Range<u64>>, Error> {
    let asked = NextSession {
        rerun: Some(rerun),
        planned: None,
    };
    let named = run.history_with(asked).map_err(Error::record)?.state;
    let mut changed = changes.into_iter().flatten().peekable();
    let mut all = Vec::new();
    for ordinal in 0..trials {
        let is_changed = changed.next_if_eq(&ordinal).is_some();
        if !is_changed && !named.is_pending(ordinal) {
            continue;
        }
        add_to_ranges(&mut all, ordinal);
    }
    Ok(all)
}
