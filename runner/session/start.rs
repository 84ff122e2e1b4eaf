//! Running a scenario: from its file to the conclusion of a new run.

use std::thread;

use miette::miette;

use super::{
    Host, Notice, Observe, Resume, Start, exclusivity,
    live::{self, Live},
    log_entries, plugins, protected, resume, root_settings, secrets, selecting,
    set_up::SettingUp,
    spreading::Spreading,
};
use crate::{
    error::{Error, ExitStatus},
    model::chain,
    record::{
        Conclusion, History, NewRun, RecordError, ReservedDirectory, RunEntry, RunReader,
        RunRequest, RunShares, Store,
    },
    run::{self, Plan, PlanError},
    scenario::{self, Scenario, Suite},
};

/// How many grants that do nothing are told.
const MAX_IDLE_GRANTS: usize = 10;

/// Runs a scenario, and blocks until the run has ended; where `into` has a run of the same plan, goes on with that.
///
/// # Errors
///
/// Fails if no session can begin: until then no run is created.
pub fn start(request: &Start, host: &Host, observe: &mut dyn Observe) -> Result<Conclusion, Error> {
    let plan = plan(request, host, observe)?;
    start_planned(plan, request, None, host, observe)
}

/// The same for whoever was asked by a request that the run is to name.
pub(super) fn start_requested(
    request: &Start,
    mark: RunRequest,
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<Conclusion, Error> {
    let plan = plan(request, host, observe)?;
    start_planned(plan, request, Some(mark), host, observe)
}

/// The same for what is planned already.
pub(super) fn start_planned(
    mut plan: Plan,
    request: &Start,
    mark: Option<RunRequest>,
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<Conclusion, Error> {
    if let Some(run) = run_to_go_on_with(request, &plan)? {
        let store = open_store(request, host, observe)?;
        return resume::go_on(&Resume::of_start(request, run), &store, host, observe);
    }
    root_settings(request.root())?;
    plan.check_folders(protected::of_start(request, host))
        .map_err(Error::usage)?;
    report_idle_grants(&plan, observe);
    let spreading = Spreading::begin(request.engine.as_ref(), None, &mut plan, host)?;
    secrets::hand_over(&mut plan, &request.secret_files, host, observe)?;
    live::make_room(&mut plan, observe)?;

    host.log.begin();
    let store = open_store(request, host, observe)?;
    let turn = store.shares_turn((host.now)());
    let (swept, shares) = sweep(&store, host, observe);
    let left = live::leave_to_others(&mut plan, &store, &shares, observe);
    let new_run = NewRun {
        request: mark,
        ..plan.new_run((host.now)())
    };
    let place = reserve(request, &store, host)?;
    if let (Some(dir), None) = (&request.into, &place) {
        // Somebody else has begun it since this process looked.
        drop(turn);
        let in_use = || Error::record(RecordError::InUse { path: dir.clone() });
        let run = run_to_go_on_with(request, &plan)?.ok_or_else(in_use)?;
        return resume::go_on(&Resume::of_start(request, run), &store, host, observe);
    }
    let (plan, store) = (&plan, &store);
    thread::scope(|scope| {
        let setting_up = SettingUp::begin(scope, plan, host, store.root());
        let live = Live::begin(plan, store, host, setting_up, observe, |acks| {
            let recorder = match place {
                Some(place) => store.begin_in(place, new_run, acks),
                None => store.begin(new_run, acks),
            }?;
            recorder.tell_share(plan.share(), turn);
            Ok(recorder)
        })?;
        if let Some(swept) = swept {
            tracing::info!("{swept}");
        }
        if let Some(left) = left {
            tracing::info!("{left}");
        }
        let live = live.over(spreading);
        Ok(live.run(History::planned(plan.trial_count()), observe))
    })
}

/// Everything that happens before a run exists.
pub(super) fn plan(request: &Start, host: &Host, observe: &mut dyn Observe) -> Result<Plan, Error> {
    let Start {
        scenario: path,
        selection,
        overrides,
        build,
        ..
    } = request;
    let scenario = scenario::load(path).map_err(Error::usage)?;
    let selection = selecting::looked_up(selection, request.root())?;
    let signals = host.signals.as_ref();
    let plugins = plugins::find(&scenario, &selection, *build, signals, observe)?;
    report_idle_axes(&scenario, observe);
    let plan = Plan::new(scenario, path, &plugins, selection, overrides.clone());
    plan.map_err(|error| Error {
        status: match &error {
            PlanError::NothingSelected { .. } => ExitStatus::NothingSelected,
            _ => ExitStatus::Usage,
        },
        report: error.into(),
    })
}

/// Finds the run that is in the directory of `into` already; another plan's is refused.
pub(super) fn run_to_go_on_with(request: &Start, plan: &Plan) -> Result<Option<RunEntry>, Error> {
    let Some(dir) = &request.into else {
        return Ok(None);
    };
    let Some(run) = RunEntry::in_directory(dir).map_err(Error::record)? else {
        return Ok(None);
    };
    let reader = RunReader::open(dir).map_err(Error::record)?;
    let manifest = reader.manifest();
    // Two shards without a trial have the same digest.
    if plan.has_digest(manifest.metadata.plan_digest) && plan.shard() == manifest.shard {
        return Ok(Some(run));
    }
    Err(Error::usage(miette!(
        help = "`runner resume --from` goes on with it; this plan needs another directory",
        "in `{}` there is a run of another plan: its scenario, its selection or its plugins differ",
        dir.display()
    )))
}

/// Says which grants do nothing, for a scenario of many providers not of all.
pub(super) fn report_idle_grants(plan: &Plan, observe: &mut dyn Observe) {
    let mut idle = plan.idle_grants();
    for (provider, why) in idle.by_ref().take(MAX_IDLE_GRANTS) {
        observe.notice(&Notice::IdleGrant { provider, why });
    }
    let more = idle.count();
    if more > 0 {
        observe.notice(&Notice::MoreIdleGrants(more));
    }
}

/// Says which graders no test names.
pub(super) fn report_idle_graders(
    scenario: &Scenario,
    suite: &Suite,
    observe: &mut dyn Observe,
) -> Result<(), Error> {
    let idle = run::idle_graders(scenario, suite);
    let idle = idle.map_err(|error| Error::internal(miette!("cannot read the tests: {error}")))?;
    for grader in idle {
        observe.notice(&Notice::IdleGrader { grader });
    }
    Ok(())
}

/// Says which keys of matrices make providers that do the same.
pub(super) fn report_idle_axes(scenario: &Scenario, observe: &mut dyn Observe) {
    for (provider, key) in scenario.idle_axes() {
        observe.notice(&Notice::IdleAxis { provider, key });
    }
}

/// Opens the results root, alone if that was asked for.
fn open_store(request: &Start, host: &Host, observe: &mut dyn Observe) -> Result<Store, Error> {
    let store = match &request.into {
        Some(dir) => Store::open_around(dir),
        None => Store::open(&request.results),
    };
    let mut store = store.map_err(Error::record)?;
    exclusivity::take(&mut store, request.exclusivity, host, observe)?;
    Ok(store)
}

/// Gives runs whose processes have died the status that is true of them, and says so; none of them keeps this one from
/// beginning. And what the others work with.
fn sweep(store: &Store, host: &Host, observe: &mut dyn Observe) -> (Option<String>, RunShares) {
    match store.sweep_and_share((host.now)()) {
        Ok((swept, shares)) if swept.is_empty() => (None, shares),
        Ok((swept, shares)) => {
            observe.notice(&Notice::Swept(&swept));
            (Some(log_entries::swept_text(&swept)), shares)
        }
        Err(error) => {
            let error = chain(&error);
            tracing::warn!("runs whose processes have died cannot be swept: {error}");
            (None, Vec::new())
        }
    }
}

/// Takes the directory of `into`; `None` without one, or if a run is in it.
fn reserve(
    request: &Start,
    store: &Store,
    host: &Host,
) -> Result<Option<ReservedDirectory>, Error> {
    let Some(dir) = &request.into else {
        return Ok(None);
    };
    store.reserve(dir, (host.now)()).map_err(Error::record)
}
