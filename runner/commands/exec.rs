//! `runner exec`.

use std::collections::BTreeSet;

use miette::miette;

use super::{
    Surroundings, detach,
    live::{self, Around, Live},
    plugins::{self, Build},
    protected,
    resume::{self, Target},
    secrets,
    session_log::SessionLog,
};
use crate::{
    cli::{ExecArgs, ResumeArgs},
    error::{Error, ExitStatus},
    model::{RunStatus, chain},
    output::{self, Output, Report},
    record::{Busy, Filter, History, Place, RecordError, RunEntry, RunReader, Store},
    run::{self, Overrides, Plan, PlanError, StopSignals},
    scenario::{self, Selection},
};

/// How many warnings about grants are printed.
const MAX_WARNINGS: usize = 10;

/// Runs a scenario.
pub(super) fn exec(
    args: &ExecArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    if args.detach && !surroundings.is_detached {
        return detach::start(surroundings, output);
    }
    let signals = StopSignals::install()
        .map_err(|error| Error::internal(miette!("cannot handle signals: {error}")))?;
    let screen = output.clone();
    signals.pause_by(move |pause| screen.aside(pause));
    let mut plan = plan(args, &signals, output)?;
    let go_on = |run, store| {
        let target = Target { run, store };
        resume::go_on(&as_resume(args), &target, &signals, surroundings, output)
    };
    if let Some(run) = run_to_go_on_with(args, &plan)? {
        let store = match args.dry_run {
            true => Store::existing_around(&run.dir).map_err(Error::record)?,
            false => open_store(args, surroundings, output)?,
        };
        return go_on(run, store);
    }
    plan.check_folders(protected::of_exec(args, surroundings))
        .map_err(Error::usage)?;
    warn_of_idle_grants(&plan, output);
    if args.dry_run {
        let missing = secrets::missing(&plan, &args.secrets, surroundings, output)?;
        return dry_run(&plan, &missing, output);
    }
    secrets::give(&mut plan, &args.secrets, surroundings, output)?;
    live::make_room(&mut plan, output)?;

    let log = SessionLog::start(surroundings.log_filter.as_deref(), output);
    let store = open_store(args, surroundings, output)?;
    let swept = sweep(&store, args.talk.quiet, output);
    let around = Around {
        signals: &signals,
        log: &log,
        surroundings,
        waits: store.is_to_be_alone(),
    };
    let mode = live::mode(args.json, &args.talk, surroundings);
    let report = Report::new(output.clone(), mode, args.talk.verbose);
    let birth = plan.birth(run::wall_clock());
    let place = reserve(args, &store)?;
    if let (Some(dir), None) = (&args.into, &place) {
        // Somebody else has begun it since this process looked.
        let run = run_to_go_on_with(args, &plan)?;
        let in_use = || Error::record(RecordError::InUse { path: dir.clone() });
        return go_on(run.ok_or_else(in_use)?, store);
    }
    let mut live = Live::begin(&plan, &around, report, |acks| match place {
        Some(place) => store.begin_in(place, birth, acks),
        None => store.begin(birth, acks),
    })?;
    if let Some(swept) = swept {
        tracing::info!("{swept}");
    }
    if surroundings.is_detached {
        live.detach(mode, output);
    }
    if store.is_to_be_alone() {
        live.wait_until_alone(&store);
    }
    let history = History::planned(plan.trial_count());
    Ok(live.run(history, surroundings, store.root()))
}

/// Gives runs whose processes have died the status that is true of them, and says so; none of them keeps this one from
/// beginning.
fn sweep(store: &Store, is_quiet: bool, output: &Output) -> Option<String> {
    match store.sweep(run::wall_clock()) {
        Ok(swept) if swept.is_empty() => None,
        Ok(swept) => {
            let text = output::swept_text(&swept);
            if !is_quiet {
                output.talk(&text);
            }
            Some(text)
        }
        Err(error) => {
            let error = chain(&error);
            tracing::warn!("runs whose processes have died cannot be swept: {error}");
            None
        }
    }
}

/// Everything that happens before a run exists.
fn plan(args: &ExecArgs, signals: &StopSignals, output: &Output) -> Result<Plan, Error> {
    let scenario = scenario::load(&args.scenario).map_err(Error::usage)?;
    let build = if args.build {
        Build::Always
    } else {
        Build::Ask
    };
    let selection = Selection {
        tests: args.tests.clone(),
        providers: args.providers.clone(),
        tags: args.tags.clone(),
        exclude: args.exclude.clone(),
        repeat: args.repeat,
    };
    let plugins = plugins::find(&scenario, &selection, build, signals, output)?;
    let overrides = Overrides {
        jobs: args.jobs,
        timeout: args.timeout_minutes,
        limits: args.limits.clone(),
        fail_fast: args.fail_fast,
        grace: args.grace,
    };
    let plan = Plan::new(scenario, &args.scenario, &plugins, selection, overrides);
    plan.map_err(|error| Error {
        status: match &error {
            PlanError::NothingSelected { .. } => ExitStatus::NothingSelected,
            _ => ExitStatus::Usage,
        },
        report: error.into(),
    })
}

/// Takes the directory of `--into`; `None` without one, or if a run is in it.
fn reserve(args: &ExecArgs, store: &Store) -> Result<Option<Place>, Error> {
    let Some(dir) = &args.into else {
        return Ok(None);
    };
    store.reserve(dir, run::wall_clock()).map_err(Error::record)
}

/// Says which grants do nothing, for a scenario of many providers not of all.
fn warn_of_idle_grants(plan: &Plan, output: &Output) {
    let mut idle = plan.idle_grants();
    for (provider, why) in idle.by_ref().take(MAX_WARNINGS) {
        output.warn(&format!("provider `{provider}`: {why}"));
    }
    let more = idle.count();
    if more > 0 {
        output.warn(&format!("{more} more grants do nothing"));
    }
}

/// Finds the run that is in the directory of `--into` already; another plan's is refused.
fn run_to_go_on_with(args: &ExecArgs, plan: &Plan) -> Result<Option<RunEntry>, Error> {
    let Some(dir) = &args.into else {
        return Ok(None);
    };
    let Some(run) = RunEntry::in_directory(dir).map_err(Error::record)? else {
        return Ok(None);
    };
    let reader = RunReader::open(dir).map_err(Error::record)?;
    if plan.has_digest(reader.manifest().metadata.plan_digest) {
        return Ok(Some(run));
    }
    Err(Error::usage(miette!(
        help = "`runner resume --from` goes on with it; this plan needs another directory",
        "in `{}` there is a run of another plan: its scenario, its selection or its plugins differ",
        dir.display()
    )))
}

/// The same command line as `resume` knows it.
fn as_resume(args: &ExecArgs) -> ResumeArgs {
    ResumeArgs {
        from: None,
        rerun: None,
        accept_changes: false,
        force: false,
        dry_run: args.dry_run,
        explain: false,
        jobs: args.jobs,
        timeout_minutes: args.timeout_minutes,
        fail_fast: args.fail_fast,
        grace: args.grace,
        secrets: args.secrets.clone(),
        results: args.results.clone(),
        json: args.json,
        talk: args.talk.clone(),
    }
}

/// Opens the results root, alone if that was asked for.
fn open_store(
    args: &ExecArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<Store, Error> {
    let store = match &args.into {
        Some(dir) => Store::open_around(dir),
        None => Store::open(&args.results.root),
    };
    let mut store = store.map_err(Error::record)?;
    if args.exclusive {
        let waiting = match (args.wait, surroundings.is_detached) {
            (false, _) => Waiting::Never,
            (true, false) => Waiting::First,
            (true, true) => Waiting::Later,
        };
        exclude(&mut store, waiting, output)?;
    }
    Ok(store)
}

/// When a session waits for the others in its root.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Never,
    /// Before there is a run.
    First,
    /// Once its run can be named, listed and stopped: nobody sees that it waits.
    Later,
}

fn exclude(store: &mut Store, waiting: Waiting, output: &Output) -> Result<(), Error> {
    match (store.exclusive(Busy::Refuse, run::wall_clock()), waiting) {
        (Ok(()), _) => return Ok(()),
        (Err(error @ RecordError::Held { .. }), Waiting::Never) => return Err(busy(store, &error)),
        (Err(RecordError::Held { .. }), Waiting::First) => {}
        (Err(RecordError::Held { .. }), Waiting::Later) => {
            return store.be_alone_later().map_err(Error::record);
        }
        (Err(error), _) => return Err(Error::record(error)),
    }
    output.plain(&format!(
        "waiting for the other runs in `{}` to end",
        store.root().display()
    ));
    let alone = store.exclusive(Busy::Wait, run::wall_clock());
    alone.map_err(Error::record)
}

/// Says which runs keep this one from being alone.
fn busy(store: &Store, error: &RecordError) -> Error {
    let filter = Filter {
        statuses: vec![RunStatus::Running],
    };
    let running = store.runs(&filter).unwrap_or_default().runs;
    let held = running.iter().filter_map(|run| {
        let holder = RunReader::open(&run.dir).ok()?.holder()?;
        Some(format!("run `{}` ({holder})", run.id))
    });
    let held: Vec<_> = held.collect();
    let by = match held[..] {
        // Whoever held it has just let it go, or sweeps.
        [] => chain(error),
        _ => held.join(", "),
    };
    Error {
        status: ExitStatus::Busy,
        report: miette!(
            help = "`--wait` waits until they have ended",
            "the results root `{}` is in use: {by}",
            store.root().display()
        ),
    }
}

/// Prints the trials that would run, and what is granted; `missing` are the secrets without a value.
fn dry_run(plan: &Plan, missing: &BTreeSet<String>, output: &Output) -> Result<ExitStatus, Error> {
    plan.each_trial(|trial| output.data(&trial.to_string()))
        .map_err(|error| Error::internal(miette!("cannot read the normalised tests: {error}")))?;
    output.talk(&format!(
        "{} would run",
        output::plural(plan.trial_count(), "trial")
    ));
    for ((provider, limits, grants), (_, mut secrets)) in plan.access().zip(plan.secrets()) {
        secrets.retain(|name| missing.contains(name));
        let text = output::granted_text(provider, limits, grants, &secrets);
        output.talk(&text);
    }
    Ok(ExitStatus::Success)
}
