//! `resume`: continues a run with its stored plan or, with `--accept-changes`, with the current files.

use std::time::Duration;

use runner_model::{Places as _, RunStatus, TrialId, digest};
use runner_record::{
    Manifest, NewSession, Owned, RecordError, Rerun, ResultsRoot, RunDir, RunHead,
};

use super::ending::set_gate;
use super::resume_plan::{PreparedResume, verdictless_notice};
use super::run::{PlannedSession, lock_root, run_further};
use crate::error::machine_error;
use crate::event::{Ended, Observer, RunEvent};
use crate::plan::{Ids, Plan, changes_since, stored_plan, unreadable};
use crate::run_parts::keep;
use crate::trust::{find_run, skipped_notices};
use crate::workers::prestart;
use crate::{Decision, EngineError, ResumeRequest, signals, workers::PrestartedWorker};

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
    if held.is_none() && (manifest.status == RunStatus::Running || manifest.owes_reports()) {
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
            PreparedResume::new(&root, &dir, &manifest, request)
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
            if !prepared.is_live {
                check_folders(&dir, &prepared.plan)?;
            }
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
    run_prepared(prestarted, request, owned, prepared, observer)
}

/// Fails if a granted folder has another content than at the start of the run: its trials would mix results of both.
fn check_folders(dir: &RunDir, plan: &Plan) -> Result<(), EngineError> {
    let changed = plan.changed_folders();
    if changed.is_empty() {
        return Ok(());
    }
    Err(EngineError::Usage(format!(
        "{} changed since the run started\nrestore the files, or run the trials that may read them again: {}",
        changed.join("; "),
        dir.command("resume", &["--accept-changes"])
    )))
}

/// Runs the session of a claimed run.
fn run_prepared(
    prestarted: PrestartedWorker,
    request: &ResumeRequest,
    owned: Owned,
    prepared: PreparedResume,
    observer: &mut dyn Observer,
) -> Result<Ended, EngineError> {
    for notice in &prepared.notices {
        owned.log(notice);
        observer.event(&RunEvent::Notice(notice));
    }
    let PreparedResume { plan, fold, adopted, rerun, filtered, .. } = prepared;
    for text in filtered.iter().chain(&plan.new_known) {
        owned.root().keep_bytes(text.as_bytes())?;
    }
    let rerun = match (rerun, &filtered) {
        (Some(Rerun::Failed), Some(lines)) => {
            let (filter, trials) = ("unexpected()".to_owned(), digest(lines.as_bytes()));
            Some(Rerun::Filter { filter, trials })
        }
        (rerun, _) => rerun,
    };
    let session = NewSession { rerun, ..plan.session("resume", &request.session) };
    let (plugins, blobs) = (plan.plugins.clone(), plan.blobs.clone());
    let work = PlannedSession::further(&owned, plan, fold, request.session.share);
    let store = move |root: &ResultsRoot| {
        let Some((plan, suite)) = adopted else { return Ok(None) };
        keep(root, suite, &plan.metadata.suite, &plugins, &blobs)?;
        Ok(Some(plan))
    };
    run_further(prestarted, work, owned, session, store, observer)
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
        let prepared = PreparedResume::new(&root, &dir, &manifest, request)?;
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

/// Finds the run that a request names. Without a name, runs of other users are skipped. Returns the request for the root in
/// which the run is, the root, the run, and notices of skipped runs.
fn find(
    request: &ResumeRequest,
) -> Result<(ResumeRequest, ResultsRoot, RunDir, Vec<String>), EngineError> {
    let is_explicit = request.rerun.is_some() || request.accept_changes;
    let (session, root, dir, notices) = find_run(&request.session, |root| match &request.run {
        Some(name) => Ok((root.find(name)?, Vec::new())),
        None if is_explicit => Ok(root.newest_for_use()?),
        None => only_incomplete(root),
    })?;
    Ok((ResumeRequest { session, ..request.clone() }, root, dir, notices))
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
    prepared: &PreparedResume,
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
    let id = &manifest.id;
    let notice = match manifest.lost_report {
        Some(_) => format!(
            "no trial is left in run {id}; the reports that its scenario and flags name are written again"
        ),
        None => format!("nothing is left to do in run {id}"),
    };
    for notice in [Some(notice), changed, verdictless_notice(dir, &manifest)].iter().flatten() {
        observer.event(&RunEvent::Notice(notice));
    }
    Ended::of(manifest, dir.clone(), Duration::ZERO).report(observer)
}
