//! `resume`: continues a run with its stored plan or, with `--accept-changes`, with the current files.

use std::collections::HashSet;
use std::{cell::RefCell, fs::File, path::Path, time::Duration};

use runner_model::{Outcome, Places, RunStatus, TrialId, units::plural, visible::shown_path};
use runner_prepare::ContentSource;
use runner_record::{
    Fold, Manifest, NewPlan, NewSession, Owned, RecordError, Rerun, ResultsRoot, RunDir, RunHead,
};
use runner_scenario::{Filter, nearest_names};

use super::closing::set_gate;
use super::reruns::{self, FilterResult, Reruns};
use super::run::{Work, lock_root, prestart, run};
use super::run_parts::keep;
use super::trust::{owner_notices, skipped_notices, usable};
use crate::error::machine_error;
use crate::event::{Ended, Observer, RunEvent, ended};
use crate::plan::{
    Decision, Ids, Plan, PlanDiff, Rejudge, changes_since, load_plan, manifest_providers, metadata,
    selected_filter, selection, stored_plan, tests_of, unreadable,
};
use crate::{EngineError, ResumeRequest, signals, workers::PrestartedWorker};

/// A resumed session before it starts.
struct Prepared {
    plan: Plan,
    fold: Fold,
    /// The fold before this session selected or compared trials.
    before: Fold,
    /// Number of trials that `--rerun` of this session selects.
    selected: u64,
    /// The request's, with the result of a filter.
    rerun: Option<Rerun>,
    reruns: Reruns,
    /// What the filter of `rerun` matched, to be stored.
    filtered: Option<FilterResult>,
    /// A plan that replaces the stored one, and the file with its suite.
    adopted: Option<(NewPlan, File)>,
    /// Trials that ran when the process of the last session died.
    in_flight: HashSet<TrialId>,
    /// Messages for the user.
    notices: Vec<String>,
}

/// Continues an incomplete run, in a session like that of [`exec`](crate::exec). A run without pending trials is not changed.
///
/// # Errors
///
/// The run cannot be continued, read or written.
pub fn resume(request: &ResumeRequest, observer: &mut dyn Observer) -> Result<Ended, EngineError> {
    continue_run(prestart()?, request, observer, None)
}

/// Continues a run. `held` is the run if this process has claimed it already.
pub(super) fn continue_run(
    prestarted: PrestartedWorker,
    request: &ResumeRequest,
    observer: &mut dyn Observer,
    mut held: Option<Owned>,
) -> Result<Ended, EngineError> {
    let in_root;
    let (request, root, dir) = match &held {
        Some(owned) => (request, owned.root().clone(), owned.dir().clone()),
        None => {
            let (found, root, dir, notices) = find(request)?;
            notices.iter().for_each(|notice| observer.event(&RunEvent::Notice(notice)));
            in_root = found;
            (&in_root, root, dir)
        }
    };
    let mut manifest = dir.manifest()?;
    // Claiming a run whose process died records its end, so it is done before any check.
    if held.is_none() && manifest.status == RunStatus::Running {
        lock_root(&root, request.session.share)?;
        held = Some(claim(&root, &dir, &mut manifest)?);
    }
    let (owned, prepared) = loop {
        check_status(&dir, &manifest, request)?;
        let is_explicit = request.rerun.is_some() || request.accept_changes;
        let is_completed = manifest.status == RunStatus::Completed && !is_explicit;
        if is_completed && dir.has_same_rows(&manifest)? && dir.has_all_results(&manifest)? {
            let plan = stored_plan(&root, &dir, &manifest).ok();
            let changed = plan.and_then(|plan| changes_since(&dir, &manifest, &plan));
            return Ok(report_completed(manifest, &dir, changed, observer));
        }
        // Without the lock, another session may start while the rows are read.
        let mut prepared = dir.snapshot(|| {
            if held.is_none() {
                manifest = dir.manifest()?;
                check_status(&dir, &manifest, request)?;
            }
            Prepared::new(&root, &dir, &manifest, request)
        })?;
        let is_done = prepared.has_nothing_to_do(&manifest);
        prepared.check_selection(request, is_done)?;
        if is_done {
            if dir.has_same_rows(&manifest)? {
                return Ok(report_completed(manifest, &dir, None, observer));
            }
        } else {
            // Values of secrets are not stored, and mounted folders may have been removed.
            prepared.plan.prepare_grants(&request.session)?;
        }
        let before = manifest.clone();
        let owned = match held.take() {
            Some(owned) => owned,
            None => {
                lock_root(&root, request.session.share)?;
                claim(&root, &dir, &mut manifest)?
            }
        };
        if before == manifest {
            if is_done {
                return Ok(settle(owned, &prepared, observer)?);
            }
            break (owned, prepared);
        }
        // Another process changed the run between the preparation and the claim.
        held = Some(owned);
    };
    run_prepared(prestarted, request, root, owned, prepared, observer)
}

/// Runs the session of a claimed run.
fn run_prepared(
    prestarted: PrestartedWorker,
    request: &ResumeRequest,
    root: ResultsRoot,
    owned: Owned,
    prepared: Prepared,
    observer: &mut dyn Observer,
) -> Result<Ended, EngineError> {
    for notice in &prepared.notices {
        owned.log(notice);
        observer.event(&RunEvent::Notice(notice));
    }
    let Prepared { plan, fold, adopted, rerun, filtered, .. } = prepared;
    if let Some(result) = filtered {
        root.keep_bytes(result.lines.as_bytes())?;
    }
    let is_free = lock_root(&root, request.session.share)?;
    let session = NewSession {
        last_seq: fold.last_seq(),
        rerun,
        pending: Some(fold.left()),
        removed: fold.removed(),
        waits: !is_free,
        ..plan.session("resume", &request.session)
    };
    let work = Work {
        id: owned.dir().id().to_owned(),
        session: owned.manifest().sessions.len() as u32 + 1,
        fold,
        root: root.clone(),
        share: request.session.share,
        plan,
    };
    let (plugins, blobs) = (work.plan.plugins.clone(), work.plan.blobs.clone());
    let reopen = move || reopen(&root, owned, session, adopted, &plugins, &blobs);
    run(prestarted, work, !is_free, reopen, observer)
}

/// Previews [`resume`](crate::resume): calls `notice` with each message for the user, then `each` for every trial in the order
/// of the plan. Returns the run. Writes to the plugin cache only, and does not record the end of a run whose process died.
///
/// # Errors
///
/// Errors that `resume` would return before it claims the run.
pub fn preview(
    request: &ResumeRequest,
    notice: &mut dyn FnMut(&str),
    each: &mut dyn FnMut(&TrialId, &Decision),
) -> Result<RunDir, EngineError> {
    // New plugins are inspected by child processes, for which this prepares the process.
    let _prestarted = prestart()?;
    let (request, root, dir, notices) = find(request)?;
    let request = &request;
    notices.iter().for_each(|text| notice(text));
    let prepared = dir.snapshot(|| {
        let on_disk = dir.manifest()?;
        // The counts on disk show whether results are lost.
        let manifest = if on_disk.status.is_terminal() { on_disk } else { dir.truth()? };
        check_status(&dir, &manifest, request)?;
        let prepared = Prepared::new(&root, &dir, &manifest, request)?;
        prepared.check_selection(request, prepared.has_nothing_to_do(&manifest))?;
        Ok::<_, EngineError>(prepared)
    })?;
    prepared.notices.iter().for_each(|text| notice(text));
    let mut ids = Ids::new(&prepared.plan.suite, &prepared.plan.scenario.providers);
    for trial in 0..prepared.plan.suite.trials() {
        let id = ids.trial(trial).map_err(|source| unreadable(&root, source))?;
        each(&id, &prepared.decision(trial, &id));
    }
    Ok(dir)
}

/// Claims a run. From then on a signal is kept for the session.
pub(super) fn claim(
    root: &ResultsRoot,
    dir: &RunDir,
    manifest: &mut Manifest,
) -> Result<Owned, EngineError> {
    signals::take_over().map_err(machine_error)?;
    let owned = root.claim(dir)?;
    signals::pass("claimed");
    manifest.clone_from(owned.manifest());
    Ok(owned)
}

/// Stores the adopted plan, if there is one, and starts the session in the manifest.
fn reopen(
    root: &ResultsRoot,
    mut owned: Owned,
    session: NewSession,
    adopted: Option<(NewPlan, File)>,
    plugins: &ContentSource,
    blobs: &ContentSource,
) -> Result<Owned, RecordError> {
    let plan = match adopted {
        Some((plan, suite)) => {
            keep(root, suite, &plan.metadata.suite, plugins, blobs)?;
            Some(plan)
        }
        None => None,
    };
    owned.open_session(session, plan)?;
    Ok(owned)
}

/// Finds the run that a request names. Without a name, runs of other users are skipped. Returns the request for the root in
/// which the run is, the root, the run, and notices of skipped runs.
fn find(
    request: &ResumeRequest,
) -> Result<(ResumeRequest, ResultsRoot, RunDir, Vec<String>), EngineError> {
    let root = &ResultsRoot::existing(&request.session.results)?;
    let (dir, skipped) = match &request.run {
        Some(name) => (root.find(name)?, Vec::new()),
        None if request.rerun.is_some() || request.accept_changes => root.newest_for_use()?,
        None => only_incomplete(root)?,
    };
    let root = dir.results_root()?;
    let mut request = request.clone();
    request.session.results = root.path().to_owned();
    Ok((request, root, usable(&dir)?, skipped_notices(&skipped)))
}

/// Finds the only incomplete run of a root. Also returns the refusals of the runs of other users.
fn only_incomplete(root: &ResultsRoot) -> Result<(RunDir, Vec<RecordError>), EngineError> {
    // `runs` reads all rows of a dead run, which takes seconds for a large one, and claiming it reads them again.
    let (cut_short, skipped) = root.cut_short()?;
    if let [only] = cut_short.as_slice() {
        return Ok((root.find(&only.id)?, skipped));
    }
    let runs = root.runs()?.runs;
    let is_cut_short = |run: &&RunHead| {
        run.status == RunStatus::Incomplete && cut_short.iter().any(|one| one.id == run.id)
    };
    let open: Vec<_> = runs.iter().filter(is_cut_short).map(|run| run.id.clone()).collect();
    match open.as_slice() {
        [run] => Ok((root.find(run)?, skipped)),
        _ => Err(EngineError::NotOneIncomplete {
            root: root.path().to_owned(),
            candidates: open,
            skipped: skipped_notices(&skipped),
        }),
    }
}

/// Fails if a row can only be of another run.
pub(super) fn check_foreign(dir: &RunDir, fold: &Fold) -> Result<(), EngineError> {
    let Some((line, why)) = fold.foreign() else { return Ok(()) };
    let rows = dir.path().join("index.jsonl");
    Err(EngineError::Usage(format!(
        "{}, line {line}: {why}\nnothing was changed; to list all such rows: {}",
        shown_path(&rows),
        dir.command("verify", &[])
    )))
}

fn check_status(
    dir: &RunDir,
    manifest: &Manifest,
    request: &ResumeRequest,
) -> Result<(), EngineError> {
    if manifest.status == RunStatus::Cancelled && !request.force {
        return Err(EngineError::Usage(format!(
            "run {} was cancelled\nto continue it anyway: {}",
            dir.id(),
            dir.command("resume", &["--force"])
        )));
    }
    Ok(())
}

/// Ends a claim of a completed run whose rows another program has changed, and that has all results. The claim has repaired
/// the end of the rows.
fn settle(
    mut owned: Owned,
    prepared: &Prepared,
    observer: &mut dyn Observer,
) -> Result<Ended, RecordError> {
    set_gate(&mut owned, &prepared.plan, observer);
    owned.settle(&prepared.fold)?;
    for notice in owned.notices() {
        observer.event(&RunEvent::Notice(notice));
    }
    Ok(report_completed(owned.manifest().clone(), owned.dir(), None, observer))
}

/// Reports a run without pending trials.
fn report_completed(
    manifest: Manifest,
    dir: &RunDir,
    changed: Option<String>,
    observer: &mut dyn Observer,
) -> Ended {
    let notice = format!("nothing is left to do in run {}", manifest.id);
    for notice in [Some(notice), changed, verdictless_notice(dir, &manifest)].iter().flatten() {
        observer.event(&RunEvent::Notice(notice));
    }
    ended(manifest, dir.path(), Duration::ZERO, observer)
}

/// Returns a notice of trials without a verdict, with the command that runs them again.
fn verdictless_notice(dir: &RunDir, manifest: &Manifest) -> Option<String> {
    let trials = manifest.counts.error + manifest.counts.timeout;
    (trials > 0).then(|| {
        format!(
            "{} ended in an error or a timeout; to run those again: {}",
            plural(trials, "trial", "trials"),
            dir.command("resume", &["--rerun", "errors"])
        )
    })
}

impl Prepared {
    fn new(
        root: &ResultsRoot,
        dir: &RunDir,
        manifest: &Manifest,
        request: &ResumeRequest,
    ) -> Result<Self, EngineError> {
        let mut notices = Vec::new();
        // A failed run has no rows, so it is planned again.
        let is_live = request.accept_changes || manifest.status == RunStatus::Failed;
        let (mut plan, suite) = if is_live {
            let (plan, suite) = live_plan(root, dir, manifest, request)?;
            (plan, Some(suite))
        } else {
            let plan = stored_plan(root, dir, manifest)?;
            notices.extend(changes_since(dir, manifest, &plan));
            (plan, None)
        };
        restore_settings(&mut plan, manifest);
        plan.override_by(&request.session)?;

        let (rerun, filtered) = match &request.rerun {
            Some(Rerun::Glob(text)) if Filter::is_filter(text) => {
                let (rerun, result) = reruns::filtered(text, root, dir, manifest)?;
                (Some(rerun), Some(result))
            }
            rerun => (rerun.clone(), None),
        };
        let reruns = Reruns::read(root, dir, manifest, rerun.as_ref(), filtered.as_ref())?;
        let ids = RefCell::new(Ids::new(&plan.suite, &plan.scenario.providers));
        let matches = |selected: &str, trial| {
            // If the test cannot be read, sending its task reports the error.
            let id = ids.borrow_mut().trial(trial);
            id.is_ok_and(|id| reruns.matches(selected, &id))
        };
        let before = Fold::of(dir, manifest, &plan.suite, &matches)?;
        // A new plan may lack trials of the run, so their rows are not foreign.
        if !is_live {
            check_foreign(dir, &before)?;
        }
        let mut fold = before.clone();
        let selected = rerun.as_ref().map(|rerun| fold.select(rerun, &matches));
        let adopted = suite.and_then(|suite| adopted(root, dir, manifest, &plan, suite, &fold));
        let mut sessions = manifest.sessions.iter();
        if adopted.is_some()
            || sessions.any(|session| session.adopted.is_some())
            || before.has_ungraded()
        {
            // The stored plan lacks the expectations of `rescore`, whose judgements are kept.
            let rescores = |session| manifest.rescores(session) && adopted.is_none();
            let (suite, fingerprints) = (&plan.suite, &plan.fingerprints);
            plan.rejudge = Rejudge::find(dir, suite, fingerprints, &rescores, &mut fold)?;
        }
        notices.extend(owner_notices(dir, &plan.scenario.providers));
        notices.extend(damage_notices(manifest, &before, adopted.is_some()));
        notices.extend(verdictless_notice(dir, manifest).filter(|_| request.rerun.is_none()));
        if fold.left() > 0 {
            plan.count_spending(dir, |trial| fold.trial(trial).is_pending)?;
        }
        let last = manifest.sessions.last();
        let in_flight = last.into_iter().flat_map(|session| &session.in_flight);
        Ok(Self {
            plan,
            fold,
            before,
            selected: selected.unwrap_or(0),
            rerun,
            reruns,
            filtered,
            adopted,
            in_flight: in_flight.map(|attempt| attempt.trial.clone()).collect(),
            notices,
        })
    }

    /// Fails if `--rerun` selects no trial and nothing else is to do, or if its glob matches no trial of the plan.
    fn check_selection(&self, request: &ResumeRequest, is_done: bool) -> Result<(), EngineError> {
        let Some(rerun) = self.rerun.as_ref().filter(|_| self.selected == 0) else {
            return Ok(());
        };
        let Rerun::Glob(glob) = rerun else {
            let is_refused = is_done && !request.accept_changes;
            let nothing = EngineError::NothingMeant(rerun.clone(), String::new());
            return if is_refused { Err(nothing) } else { Ok(()) };
        };
        let suite = &self.plan.suite;
        let mut ids = Ids::new(suite, &self.plan.scenario.providers);
        let mut trials = (0..suite.trials()).filter_map(|trial| ids.trial(trial).ok());
        // A trial without a result runs in any case.
        if trials.any(|id| self.reruns.matches(glob, &id)) {
            return Ok(());
        }
        let trials = (0..suite.trials()).filter_map(|trial| ids.trial(trial).ok());
        let nearest = nearest_names(glob, trials.map(|id| id.to_string()));
        Err(EngineError::NothingMeant(rerun.clone(), format!("; {nearest}")))
    }

    fn has_nothing_to_do(&self, manifest: &Manifest) -> bool {
        manifest.status == RunStatus::Completed && self.adopted.is_none() && self.fold.left() == 0
    }

    /// Decides about a trial.
    fn decision(&self, trial: u64, id: &TrialId) -> Decision {
        let outcome = self.fold.trial(trial).outcome;
        let ended = outcome.map_or("", verb);
        let is_selected = |rerun: &&Rerun| {
            outcome.is_some_and(|outcome| rerun.is_of(outcome))
                && rerun.ids().is_none_or(|ids| self.reruns.matches(&ids, id))
        };
        let (is_pending, why) = match self.rerun.as_ref().filter(is_selected) {
            _ if self.before.trial(trial).ungraded && self.plan.rejudge.has(trial) => {
                (true, "not all of its graders have answered".to_owned())
            }
            _ if outcome.is_none() && self.in_flight.contains(id) => {
                (true, "it has no result: it ran when the process died".to_owned())
            }
            _ if outcome.is_none() => (true, "it has no result".to_owned()),
            Some(rerun) => (true, format!("it {ended}, and `--rerun {rerun}` selects it")),
            None if self.before.trial(trial).is_pending => {
                (true, "an earlier session selected it, but did not run it".to_owned())
            }
            None if self.plan.rejudge.has(trial) => {
                (true, "only its expectations have changed: its output is judged again".to_owned())
            }
            None if self.fold.trial(trial).is_pending => {
                (true, "its test or provider has changed".to_owned())
            }
            None => (false, format!("it {ended}")),
        };
        Decision { is_pending, why }
    }
}

/// Returns notices of results and lines that `index.jsonl` has lost.
fn damage_notices(manifest: &Manifest, fold: &Fold, is_adopted: bool) -> Vec<String> {
    let mut notices = Vec::new();
    let lost = manifest.counts.done().saturating_sub(fold.counts().done());
    // A new plan may lack trials of the run, so it does not show which results are lost.
    if lost > 0 && !is_adopted {
        let (one, many) = (
            "result is lost: benchmark.json counts more than index.jsonl has; its trial runs again",
            "results are lost: benchmark.json counts more than index.jsonl has; their trials run again",
        );
        notices.push(plural(lost, one, many));
    }
    let damaged = plural(
        fold.damaged(),
        "line of index.jsonl is damaged",
        "lines of index.jsonl are damaged",
    );
    match fold.damaged() {
        0 => {}
        _ if fold.left() == 0 => notices.push(format!("{damaged}; no result is lost")),
        1 => notices.push(format!("{damaged}; if it was a result, its trial runs again")),
        _ => notices.push(format!("{damaged}; if they were results, their trials run again")),
    }
    notices
}

fn verb(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::Error => "ended in an error",
        Outcome::Timeout => "timed out",
        Outcome::Skipped => "was skipped",
        Outcome::Stopped | Outcome::Ungraded => "has no result",
    }
}

/// Returns the plan that replaces the stored one. `None` if they are equal and the stored one is whole.
fn adopted(
    root: &ResultsRoot,
    dir: &RunDir,
    manifest: &Manifest,
    plan: &Plan,
    suite: File,
    fold: &Fold,
) -> Option<(NewPlan, File)> {
    let mut new = NewPlan {
        scenario: plan.scenario.name.clone(),
        text: plan.scenario.text.clone(),
        metadata: metadata(plan),
        providers: manifest_providers(plan),
        counts: fold.counts(),
    };
    // The manifest keeps the selection and the version of the run's first session.
    new.metadata.selection.clone_from(&manifest.metadata.selection);
    new.metadata.runner_version.clone_from(&manifest.metadata.runner_version);
    let diff = PlanDiff::new(manifest, &new.metadata, &new.providers);
    let is_needed = diff.reason().is_some() || stored_plan(root, dir, manifest).is_err();
    is_needed.then_some((new, suite))
}

/// Restores the settings of the run's last session.
fn restore_settings(plan: &mut Plan, manifest: &Manifest) {
    if let Some(last) = manifest.sessions.last() {
        plan.settings = last.settings.clone();
    }
}

/// Plans the scenario of a run from the current files. Returns its suite in a file, too.
fn live_plan(
    root: &ResultsRoot,
    dir: &RunDir,
    manifest: &Manifest,
    request: &ResumeRequest,
) -> Result<(Plan, File), EngineError> {
    let selected = &manifest.metadata.selection;
    let only = selected.last_failed.then(|| tests_of(root, dir, manifest, |_| true));
    let filter = selected_filter(selected, &request.session.results)?;
    let selection = selection(selected, only.transpose()?, filter);
    let path = Path::new(&manifest.scenario_path);
    let (mut plan, suite) = load_plan(path, &selection)?;
    let session = &request.session;
    // The adopted plan stores the mounts.
    EngineError::check(plan.find_folders(&session.secret_files, Some(&session.results)))?;
    Ok((plan, suite))
}
