//! Going on with a run that was cut short, or running trials of one again.

use std::{io::ErrorKind, panic::resume_unwind, thread};

use miette::miette;

use super::{
    Host, NothingLeft, Notice, Observe, Resume,
    live::{self, Live},
    protected,
    replanning::{self, Replanned},
    root_settings, secrets, selecting,
    set_up::SettingUp,
    spreading::Spreading,
};
use crate::{
    error::Error,
    model::RunStatus,
    record::{
        Claim, Conclusion, History, Manifest, MissingRows, NextSession, Opening, RecordError,
        Rerun, RunEntry, RunReader, SampledTrial, State, Store,
    },
    run::Plan,
};

/// Goes on with a run in its own directory, and blocks until it has ended.
///
/// # Errors
///
/// Fails if no session can begin; the run is as it was then, but swept.
pub fn resume(
    request: &Resume,
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<Conclusion, Error> {
    let store = Store::existing_around(&request.run.dir).map_err(Error::record)?;
    go_on(request, &store, host, observe)
}

/// The same, in a results root that is open.
pub(super) fn go_on(
    request: &Resume,
    store: &Store,
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<Conclusion, Error> {
    root_settings(store.root())?;
    host.log.begin();
    let run = &request.run;
    let reader = RunReader::open(&run.dir).map_err(Error::record)?;
    check_status(request, reader.manifest())?;
    if let Some(rescored) = replanning::rejudge(request, &reader, host, observe)?
        && rescored.report.rescored.ungraded > 0
    {
        // It was stopped before it could go on.
        observe.conclude(&rescored.conclusion);
        return Ok(rescored.conclusion);
    }
    let claim = store.claim(run, (host.now)()).map_err(Error::claim)?;
    let stored = claim.reader();
    check_status(request, stored.manifest())?;

    let asked = selecting::rerun(request.rerun.as_ref(), &stored, store.root())?;
    let again = asked.as_ref();
    let (replanned, history) = plan_and_fold(request, again, &claim, &stored, host, observe);
    let Replanned {
        mut plan,
        is_new,
        rerun,
        read,
        is_rejudging,
    } = replanned?;
    let is_of_the_plan =
        |history: &History| !is_new && history.state.counts().planned == plan.trial_count();
    let history = match history {
        Some(Ok(history)) if is_of_the_plan(&history) => Ok(history),
        _ => claim.history(NextSession {
            rerun: rerun.as_ref(),
            planned: Some(plan.trial_count()),
        }),
    };
    let history = history.map_err(Error::record)?;
    check_trials(&stored, &plan)?;
    // A run whose last rows are there but whose end could not be written has its end still to come.
    let is_completed = claim.manifest().status == RunStatus::Completed;
    if is_completed && history.state.is_complete() && !is_rejudging {
        return nothing_left(run, &history, observe);
    }
    claim.tell_missing(&history, MissingRows::run_again, (host.now)());
    check_budgets(&mut plan, &stored, &history.state)?;
    let mut protected = protected::of_resume(request, store.root(), host);
    protected.extend(read);
    plan.check_folders(protected).map_err(Error::usage)?;
    let spreading = Spreading::begin(request.engine.as_ref(), Some(&run.id), &mut plan, host)?;
    secrets::hand_over(&mut plan, &request.secret_files, host, observe)?;
    live::make_room(&mut plan, observe)?;
    if rerun.is_none() {
        report_unjudged(&history, observe);
    }
    // A completed run goes on only with something to run again; without having been asked, that is what damage took.
    let damaged = || is_completed.then_some(Rerun::Damaged);
    let opening = Opening {
        now: (host.now)(),
        opened_by: "resume",
        rerun: rerun.or_else(damaged),
        is_forced: request.force,
        counts: history.state.counts(),
        options: plan.overrides().to_stored(),
        replanned: is_new.then(|| plan.new_run((host.now)())),
        is_judged_apart: plan.has_graders(),
    };
    // What cannot be listed keeps nobody from going on.
    let turn = store.shares_turn((host.now)());
    let shares = store.shares().unwrap_or_default();
    let left = live::leave_to_others(&mut plan, store, &shares, observe);
    let plan = &plan;
    thread::scope(|scope| {
        let setting_up = SettingUp::begin(scope, plan, host, store.root());
        let live = Live::begin(plan, store, host, setting_up, observe, |acks| {
            let recorder = claim.open(opening, acks)?;
            recorder.tell_share(plan.share(), turn);
            Ok(recorder)
        })?;
        if let Some(left) = left {
            tracing::info!("{left}");
        }
        Ok(live.over(spreading).run(history, observe))
    })
}

/// What a session is to run, and what the rows come to if it goes on with the plan that is stored; either takes a good part
/// of a second for a million trials.
fn plan_and_fold(
    request: &Resume,
    rerun: Option<&Rerun>,
    claim: &Claim,
    stored: &RunReader,
    host: &Host,
    observe: &mut dyn Observe,
) -> (
    Result<Replanned, Error>,
    Option<Result<History, RecordError>>,
) {
    thread::scope(|scope| {
        let asked = NextSession {
            rerun,
            planned: None,
        };
        let fold = move || claim.history(asked);
        // Without a thread the rows are read afterwards; with other files, what is to run again is known only then.
        let folding = match request.accept_changes {
            true => None,
            false => thread::Builder::new().spawn_scoped(scope, fold).ok(),
        };
        let replanned = replanning::plan(request, rerun, stored, false, host, observe);
        let history = folding.map(|thread| thread.join());
        let history = history.map(|joined| joined.unwrap_or_else(|panic| resume_unwind(panic)));
        (replanned, history)
    })
}

/// Refuses a run that was cancelled, unless it is gone on with all the same.
pub(super) fn check_status(request: &Resume, manifest: &Manifest) -> Result<(), Error> {
    if manifest.status != RunStatus::Cancelled || request.force {
        return Ok(());
    }
    Err(Error::usage(miette!(
        help = "`--force` goes on with it all the same",
        "run `{}` was cancelled",
        manifest.run_id
    )))
}

/// Refuses a run among whose rows are another run's. Of very many rows only some are looked at: `verify` looks at all.
pub(super) fn check_trials(stored: &RunReader, plan: &Plan) -> Result<(), Error> {
    let sampled = match stored.sampled_trials() {
        // They are begun by the session.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        sampled => sampled.map_err(|error| Error::record(stored.rows_failed(error)))?,
    };
    let mut names = plan.names();
    for SampledTrial {
        seq,
        ordinal,
        trial,
    } in sampled
    {
        let Some(planned) = names.name(ordinal).map(|id| id.to_string()) else {
            continue;
        };
        if trial != planned {
            return Err(Error::usage(miette!(
                help = "`runner verify` names all rows that do not fit; where `index.jsonl` is moved away, all trials run again",
                "row {seq} of run `{}` is of the trial `{trial}`, and in its plan `{planned}` has that place: it is another run's row",
                stored.id()
            )));
        }
    }
    Ok(())
}

/// Refuses to go on with a run of which budgets let nothing begin that is left.
pub(super) fn check_budgets(
    plan: &mut Plan,
    stored: &RunReader,
    state: &State,
) -> Result<(), Error> {
    plan.count_spent(stored).map_err(Error::record)?;
    let used_up = plan.used_up(|ordinal| state.is_pending(ordinal));
    let used_up = used_up.map_err(|error| Error::storage(miette::Report::from_err(error)))?;
    match used_up {
        None => Ok(()),
        Some(used_up) => Err(Error::usage(miette!(
            help = "`--budget METRIC=VALUE` gives more, and so does a larger one in the scenario with `--accept-changes`",
            "{used_up}"
        ))),
    }
}

/// Hands on what a run that needs nothing more came to, and changes nothing.
fn nothing_left(
    run: &RunEntry,
    history: &History,
    observe: &mut dyn Observe,
) -> Result<Conclusion, Error> {
    let reader = RunReader::open(&run.dir).map_err(Error::record)?;
    let mut run = run.clone();
    run.refresh().map_err(Error::record)?;
    observe.nothing_left(&NothingLeft {
        run: &run,
        unjudged: unjudged(history),
    });
    let manifest = reader.manifest();
    Ok(Conclusion {
        status: manifest.status,
        reason: manifest.reason,
        signal: manifest.signal,
        verdict: history.state.counts().verdict(),
        ..Conclusion::from(&run)
    })
}

/// Tells of trials that came to no verdict: they run again only if that is asked for.
fn report_unjudged(history: &History, observe: &mut dyn Observe) {
    let unjudged = unjudged(history);
    if unjudged > 0 {
        observe.notice(&Notice::Unjudged(unjudged));
    }
}

fn unjudged(history: &History) -> u64 {
    let counts = history.state.counts();
    counts.error + counts.timeout
}
