//! `runner resume`.

use std::{ops::Range, path::Path};

use miette::miette;

use super::{
    Surroundings, differences,
    live::{self, Around, Live},
    matching::Trials,
    naming::Named,
    plugins::{self, Build},
    protected, secrets,
    session_log::SessionLog,
};
use crate::{
    cli::ResumeArgs,
    error::{Error, ExitStatus},
    model::RunStatus,
    output::{self, Follow, Output, Report, Shown, Tally},
    record::{Asked, History, LineError, Manifest, Opening, Rerun, RunEntry, RunReader, Store},
    run::{self, Overrides, Plan, Protected, StopSignals},
    scenario, session,
    view::{DocumentVersion, RunDetail, RunSummary},
};

/// A run to go on with, and the store that it is in.
pub(super) struct Target {
    pub(super) run: RunEntry,
    pub(super) store: Store,
}

/// Finds a run that was cut short, and goes on with it.
pub(super) fn resume(
    args: &ResumeArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let signals = StopSignals::install()
        .map_err(|error| Error::internal(miette!("cannot handle signals: {error}")))?;
    let screen = output.clone();
    signals.pause_by(move |pause| screen.aside(pause));
    let run = choose(args, surroundings, output)?;
    let store = Store::existing_around(&run.dir).map_err(Error::record)?;
    go_on(args, &Target { run, store }, &signals, surroundings, output)
}

/// Goes on with a run in its own directory.
pub(super) fn go_on(
    args: &ResumeArgs,
    target: &Target,
    signals: &StopSignals,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let Target { run, store } = target;
    let log = SessionLog::start(surroundings.log_filter.as_deref(), output);
    if args.dry_run || args.explain {
        return explain(args, target, signals, surroundings, output);
    }
    let claim = store.claim(run, run::wall_clock()).map_err(Error::claim)?;
    let stored = claim.reader();
    check_status(args, stored.manifest())?;

    let Planned {
        mut plan,
        is_new,
        rerun,
        read,
    } = plan(args, &stored, signals, output)?;
    let asked = Asked {
        rerun: rerun.as_ref(),
        planned: Some(plan.trial_count()),
    };
    let history = claim.history(asked).map_err(Error::record)?;
    // A run whose last rows are there but whose end could not be written has its end still to come.
    let is_completed = claim.manifest().status == RunStatus::Completed;
    if is_completed && history.state.is_complete() {
        return nothing_left(args, run, &history, output);
    }
    let mut protected = protected::of_resume(args, &run.dir, store.root(), surroundings);
    protected.extend(read);
    plan.check_folders(protected).map_err(Error::usage)?;
    secrets::give(&mut plan, &args.secrets, surroundings, output)?;
    live::make_room(&mut plan, output)?;
    if rerun.is_none() {
        hint_at_rerun(&history, output);
    }
    // A completed run goes on only with something to run again; without having been asked, that is what damage took.
    let damaged = || is_completed.then_some(Rerun::Damaged);
    let opening = Opening {
        now: run::wall_clock(),
        opened_by: "resume",
        rerun: rerun.or_else(damaged),
        is_forced: args.force,
        counts: history.state.counts(),
        options: plan.options_json(),
        replanned: is_new.then(|| plan.birth(run::wall_clock())),
    };
    let around = Around {
        signals,
        log: &log,
        surroundings,
        waits: store.is_to_be_alone(),
    };
    let mode = live::mode(args.json, &args.talk, surroundings);
    let report = Report::new(output.clone(), mode, args.talk.verbose);
    let mut live = Live::begin(&plan, &around, report, |acks| claim.open(opening, acks))?;
    if surroundings.is_detached {
        live.detach(mode, output);
    }
    if store.is_to_be_alone() {
        live.wait_until_alone(store);
    }
    Ok(live.run(history, surroundings, store.root()))
}

/// Finds the run that is meant.
fn choose(
    args: &ResumeArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<RunEntry, Error> {
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    if let Some(named) = Named::of(args.from.as_deref(), surroundings) {
        return named.find(&store);
    }
    // What has failed is wanted of the run that was just looked at, which is mostly completed.
    if args.rerun.is_some() || args.accept_changes {
        let run = Named::or_latest(None, surroundings).find(&store)?;
        output.talk(&format!("resuming {}", run.id));
        return Ok(run);
    }
    let run = session::only_incomplete(&store)?;
    output.talk(&format!("resuming {}", run.id));
    Ok(run)
}

fn check_status(args: &ResumeArgs, manifest: &Manifest) -> Result<(), Error> {
    if manifest.status != RunStatus::Cancelled || args.force {
        return Ok(());
    }
    Err(Error::usage(miette!(
        help = "`--force` goes on with it all the same",
        "run `{}` was cancelled",
        manifest.run_id
    )))
}

/// What a session is to run.
struct Planned {
    plan: Plan,
    /// Whether it is another plan than the stored one.
    is_new: bool,
    /// Which trials that have a final row run again.
    rerun: Option<Rerun>,
    /// What was read for it that is no part of it.
    read: Vec<Protected>,
}

/// Plans from what was stored, unless the live files are asked for or the run could not begin with the old ones.
fn plan(
    args: &ResumeArgs,
    stored: &RunReader,
    signals: &StopSignals,
    output: &Output,
) -> Result<Planned, Error> {
    if stored.manifest().status == RunStatus::Failed && !stored.has_begun() {
        return Ok(Planned {
            plan: live_plan(args, stored, signals, output)?,
            is_new: true,
            rerun: None,
            read: Vec::new(),
        });
    }
    let plan = Plan::of_run(stored, &overrides(args)).map_err(Error::usage)?;
    if args.accept_changes {
        let live = live_plan(args, stored, signals, output)?;
        check_glob(args.rerun.as_ref(), &live)?;
        let read = live.read();
        let planned = adopt(args.rerun.as_ref(), stored, plan, live, output)?;
        return Ok(Planned { read, ..planned });
    }
    check_glob(args.rerun.as_ref(), &plan)?;
    differences::tell(stored, output);
    Ok(Planned {
        plan,
        is_new: false,
        rerun: args.rerun.clone(),
        read: Vec::new(),
    })
}

/// Plans from the live files, with what was selected and set when the run was born.
fn live_plan(
    args: &ResumeArgs,
    stored: &RunReader,
    signals: &StopSignals,
    output: &Output,
) -> Result<Plan, Error> {
    let manifest = stored.manifest();
    let path = Path::new(&manifest.scenario.path);
    let scenario = scenario::load(path).map_err(Error::usage)?;
    let selection = run::stored_selection(manifest);
    let plugins = plugins::find(&scenario, &selection, Build::Ask, signals, output)?;
    let overrides = run::stored_overrides(manifest).overridden_by(&overrides(args));
    Plan::new(scenario, path, &plugins, selection, overrides).map_err(Error::usage)
}

/// Refuses a glob that means no trial.
fn check_glob(rerun: Option<&Rerun>, plan: &Plan) -> Result<(), Error> {
    let Some(Rerun::Glob(glob)) = rerun else {
        return Ok(());
    };
    let mut trials = Trials::new(glob).map_err(|error| Error::usage(miette!("{error}")))?;
    plan.each_trial(|trial| {
        trials.means(&trial.to_string());
    })
    .map_err(|error| Error::internal(miette!("cannot read the run's tests: {error}")))?;
    trials.check("of the run")
}

/// Takes the live plan for a run that has rows: what it changes runs again with what `rerun` names, and what it adds runs.
fn adopt(
    rerun: Option<&Rerun>,
    run: &RunReader,
    stored: Plan,
    live: Plan,
    output: &Output,
) -> Result<Planned, Error> {
    if live.digest() == stored.digest() {
        output.talk("nothing has changed since the run began");
        return Ok(Planned {
            plan: stored,
            is_new: false,
            rerun: rerun.cloned(),
            read: Vec::new(),
        });
    }
    let changes = live.changes_since(&stored).map_err(|error| {
        Error::usage(miette!(
            help = "tests and providers may be changed, and added behind the others; for anything else begin a new run",
            "the changes cannot be adopted: {error}"
        ))
    })?;
    differences::grants(stored.scenario(), live.scenario(), |provider| {
        output.talk(&format!("the grants of provider `{provider}` have changed"));
    });
    let changed: u64 = changes.iter().map(|range| range.end - range.start).sum();
    let added = live.trial_count() - stored.trial_count();
    output.talk(&format!(
        "adopting changes: {} changed, {added} added",
        output::plural(changed, "trial")
    ));
    let again = match rerun {
        Some(rerun) => with_named(changes, rerun, run, stored.trial_count())?,
        None => changes,
    };
    Ok(Planned {
        plan: live,
        is_new: true,
        rerun: Some(Rerun::Changed(again)),
        read: Vec::new(),
    })
}

/// Adds to the trials that have changed those that `rerun` names now, by their ordinals: what a later fold finds does not
/// depend on what the changed ones come to.
fn with_named(
    changes: Vec<Range<u64>>,
    rerun: &Rerun,
    run: &RunReader,
    trials: u64,
) -> Result<Vec<Range<u64>>, Error> {
    let asked = Asked {
        rerun: Some(rerun),
        planned: None,
    };
    let named = run.history_with(asked).map_err(Error::record)?.state;
    let mut changed = changes.into_iter().flatten().peekable();
    let mut all: Vec<Range<u64>> = Vec::new();
    for ordinal in 0..trials {
        let is_changed = changed.next_if_eq(&ordinal).is_some();
        if !is_changed && !named.is_pending(ordinal) {
            continue;
        }
        match all.last_mut() {
            Some(last) if last.end == ordinal => last.end += 1,
            _ => all.push(ordinal..ordinal + 1),
        }
    }
    Ok(all)
}

fn overrides(args: &ResumeArgs) -> Overrides {
    Overrides {
        jobs: args.jobs,
        timeout: args.timeout_minutes,
        limits: Vec::new(),
        fail_fast: args.fail_fast,
        grace: args.grace,
    }
}

/// Prints the trials that would run, and why if that was asked for. Takes no run and writes nothing.
fn explain(
    args: &ResumeArgs,
    target: &Target,
    signals: &StopSignals,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let foreseen = target.store.foresee(&target.run, run::wall_clock());
    let stored = foreseen.map_err(Error::claim)?;
    check_status(args, stored.manifest())?;
    let planned = plan(args, &stored, signals, output)?;
    let (mut plan, rerun) = (planned.plan, planned.rerun);
    let (dir, root) = (&target.run.dir, target.store.root());
    let mut protected = protected::of_resume(args, dir, root, surroundings);
    protected.extend(planned.read);
    plan.check_folders(protected).map_err(Error::usage)?;
    let asked = |rerun| Asked {
        rerun,
        planned: Some(plan.trial_count()),
    };
    let history = |rerun| stored.history_with(asked(rerun)).map_err(Error::record);
    let (before, history) = (history(None)?, history(rerun.as_ref())?);
    let mut ordinal = 0;
    let mut count = 0;
    plan.each_trial(|trial| {
        if history.state.is_pending(ordinal) {
            count += 1;
            let trial = trial.to_string();
            let why = output::why_pending(&before, ordinal);
            output.data(&if args.explain {
                format!("{trial}  {why}")
            } else {
                trial
            });
        }
        ordinal += 1;
    })
    .map_err(|error| Error::internal(miette!("cannot read the run's tests: {error}")))?;
    output.talk(&format!(
        "{count} of {} would run",
        output::plural(plan.trial_count(), "trial")
    ));
    Ok(ExitStatus::Success)
}

/// Shows what a run that needs nothing more came to, and changes nothing.
fn nothing_left(
    args: &ResumeArgs,
    run: &RunEntry,
    history: &History,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let reader = RunReader::open(&run.dir).map_err(Error::record)?;
    let warn = |error: &LineError| output.warn(&error.to_string());
    let tally = Tally::of_run(&reader, &history.state, |_, _| {}, warn);
    let verdict = history.state.counts().verdict();
    let manifest = reader.manifest();
    if args.json {
        let mut run = run.clone();
        run.refresh().map_err(Error::record)?;
        Follow::new(output.clone(), args.json).finish(&run, None);
    } else {
        let detail = RunDetail {
            v: DocumentVersion,
            run: RunSummary::new(run, run::wall_clock()),
            live: None,
            manifest: manifest.clone(),
            rows: Vec::new(),
        };
        let shown = Shown {
            detail: &detail,
            tally: &tally,
            death: None,
            resume: None,
        };
        output.show(&output::show_text(&shown, output.columns()));
        output.talk("nothing is left to run");
        hint_at_rerun(history, output);
    }
    Ok(ExitStatus::of_parts(
        manifest.status,
        manifest.reason,
        manifest.signal,
        verdict,
    ))
}

/// Names the way to run trials again that came to no verdict.
fn hint_at_rerun(history: &History, output: &Output) {
    let counts = history.state.counts();
    let unjudged = counts.error + counts.timeout;
    if unjudged > 0 {
        output.talk(&format!(
            "{} ended in an error or timed out; `--rerun errors` runs {} again",
            output::plural(unjudged, "trial"),
            if unjudged == 1 { "it" } else { "them" }
        ));
    }
}
