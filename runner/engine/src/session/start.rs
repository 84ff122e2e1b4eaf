//! `exec`: plans a scenario, creates the run and runs it.

use std::{collections::HashSet, fs::File, mem, path::Path, sync::Arc};

use runner_model::{Selected, Shard, units::plural, visible::shown_path};
use runner_record::{Fold, ResultsRoot};
use runner_scenario::{Selection, load_selected};

use super::resume;
use super::run::{PlannedSession, PreparedSession, lock_root};
use crate::event::{Ended, Observer};
use crate::plan::{
    Plan, Replayed, difference, known_tests, load_plan, new_access, not_passed, selected_filter,
};
use crate::run_parts::{RunParts, new_run, scenario_path};
use crate::trust::{skipped_notices, usable};
use crate::workers::prestart;
use crate::{EngineError, ExecRequest, ResumeRequest};

/// Runs a scenario: plans it, creates the run, and runs all trials. If the request names a folder that holds a run of the same
/// plan, continues that run. Returns once the session has ended, also if trials failed or the run was stopped.
///
/// Workers are child processes of this program, so `main` must start with `runner_worker::main_if_child()`. SIGINT, SIGTERM and
/// SIGHUP stop the session. The second signal kills its guests, and the third ends this process. The handlers stay after the
/// session; see [`exit_on_signal`](crate::exit_on_signal).
///
/// # Errors
///
/// The run cannot be planned, created or written. [`EngineError::exit`] returns the exit code.
pub fn exec(request: &ExecRequest, observer: &mut dyn Observer) -> Result<Ended, EngineError> {
    let prestarted = prestart()?;
    let (plan, suite) = planned(request)?;
    let root = ResultsRoot::open(&request.session.results)?;
    let is_free = lock_root(&root, request.session.share)?;
    let (work, mut parts) = prepare(request, root, plan, suite)?;
    if let Some(name) = &request.folder
        && let Some(there) = work.root.run_in(name)?
    {
        let manifest = usable(&there)?.manifest()?;
        let reason = difference(&manifest, &parts.new.metadata, parts.new.providers.iter());
        let of = |shard: Option<Shard>| match shard {
            None => "the whole plan".to_owned(),
            Some(shard) => format!("shard {shard}"),
        };
        let [old, new] = [manifest.metadata.selection.shard, request.selection.shard];
        let other = (old != new).then(|| format!("it has {}, not {}", of(old), of(new)));
        let has_other_known = !work.plan.has_known_of(&there, &manifest);
        let other = other.or(has_other_known.then(|| "its known failures have changed".to_owned()));
        if let Some(reason) = reason.map(str::to_owned).or(other) {
            return Err(EngineError::Usage(format!(
                "{} holds a run of another plan: {reason}\nchoose another folder, or continue that run with its own plan: {}",
                shown_path(&there.path()),
                there.command("resume", &[])
            )));
        }
        // `resume` locks the root itself.
        drop((work, parts));
        let session = request.session.clone();
        let request = ResumeRequest { session, ..ResumeRequest::new(name, "") };
        return resume::continue_run(prestarted, &request, observer, None);
    }
    parts.new.session.waits = !is_free;
    PreparedSession::new(prestarted, &work, !is_free)?.run(work, || parts.create(), observer)
}

/// Plans the scenario of a request, with its mounts and secrets.
pub(crate) fn planned(request: &ExecRequest) -> Result<(Plan, File), EngineError> {
    let (mut plan, suite) = selected_plan(request)?;
    plan.prepare_grants(&request.session)?;
    plan.read_folders(&request.session.results)?;
    Ok((plan, suite))
}

/// Plans the scenario of a request, without mounts and secrets. Returns its suite in a file, too.
pub(crate) fn selected_plan(request: &ExecRequest) -> Result<(Plan, File), EngineError> {
    let options = &request.session;
    // The manifest has the path as text, and `resume` opens it.
    if scenario_path(&request.scenario).is_ok_and(|path| path.to_str().is_none()) {
        return Err(EngineError::Usage(format!(
            "the path of {} is not UTF-8; rename the file or its folder",
            shown_path(&request.scenario)
        )));
    }
    let mut notices = Vec::new();
    let is_last_failed = request.selection.last_failed;
    let only = is_last_failed.then(|| last_failed(request, &mut notices)).transpose()?;
    let selection = Selection {
        only: only.map(Arc::new),
        filter: selected_filter(&request.selection, &options.results)?,
        selected: request.selection.clone(),
    };
    let (mut plan, suite) = load_plan(&request.scenario, &selection)?;
    let words = mem::take(&mut plan.unmatched_words);
    if !words.is_empty() && !request.is_shared {
        return Err(EngineError::Usage(words.join("\n")));
    }
    plan.notices.extend(words);
    plan.notices.extend(notices);
    plan.filter = selection.filter.map(|filter| filter.text().to_owned());
    plan.override_by(options)?;
    plan.notices.extend(plan.spending.unlikely());
    if let Some(run) = &request.selection.replay {
        plan.replay(&ResultsRoot::existing(&options.results)?.find(run)?)?;
    }
    Ok((plan, suite))
}

/// Returns the tests that `--last-failed` selects, as `test@provider`, and adds notices about them.
fn last_failed(
    request: &ExecRequest,
    notices: &mut Vec<String>,
) -> Result<HashSet<String>, EngineError> {
    let all = Selection::from(Selected { first: None, sample: None, ..request.selection.clone() });
    let scenario = load_selected(&request.scenario, &all);
    let name = scenario.map_err(EngineError::Scenario)?.name;
    let path = scenario_path(&request.scenario).unwrap_or_default();
    let root = ResultsRoot::existing(&request.session.results)?;
    let exec = root.command(&["exec", &request.scenario.to_string_lossy()]);
    if root.runs_of(&name, &path)?.next().is_none() {
        let [scenario, results] = [&request.scenario, root.path()].map(shown_path);
        return Err(EngineError::Usage(format!(
            "there are no runs of {scenario} in {results}, and `--last-failed` needs one\nto run all of its tests: {exec}"
        )));
    }
    // If the plan has mistakes, they may be in tests without a run, which are not selected.
    let (mut plan, _) = load_plan(&request.scenario, &all).or_else(|_| {
        let only = Some(Arc::new(known_tests(&root, &name, &path)?));
        load_plan(&request.scenario, &Selection { only, ..all })
    })?;
    // Problems of folders are reported with the plan of the selected tests.
    let _ = plan.find_folders(&[], None);
    plan.read_folders(&request.session.results)?;
    let left = not_passed(&root, &path, &plan)?;
    notices.extend(skipped_notices(&left.skipped));
    if left.known > 0 {
        let known = plural(left.known, "known failure", "known failures");
        notices.push(format!("`--last-failed` leaves out {known}"));
    }
    if left.tests.is_empty() {
        if left.unplanned > 0 {
            let trials = plural(left.unplanned, "trial was", "trials were");
            notices.push(format!(
                "{trials} not planned in these runs; to run all of the scenario: {exec}"
            ));
        }
        return Err(EngineError::NothingFailed(
            notices.iter().map(|line| format!("\n{line}")).collect(),
        ));
    }
    if let [_, .., oldest] = left.runs.as_slice() {
        let count = left.runs.len();
        notices.push(format!(
            "`--last-failed` uses the results of {count} runs; the oldest is {oldest}"
        ));
    }
    if left.changed > 0 {
        let trials = plural(left.changed, "trial", "trials");
        notices.push(format!("`--last-failed` selects {trials} that passed and changed since"));
    }
    Ok(left.tests)
}

/// Splits a plan into the parts for creating its run and for working on it.
pub(crate) fn prepare(
    request: &ExecRequest,
    root: ResultsRoot,
    mut plan: Plan,
    suite: File,
) -> Result<(PlannedSession, RunParts), EngineError> {
    let options = &request.session;
    let session = plan.session("exec", options);
    let mut new = new_run(&plan, &request.scenario, session)?;
    let unseen = new_access(&root, &plan, Path::new(&new.scenario_path));
    plan.notices.splice(..0, unseen);
    new.labels.clone_from(&request.labels);
    new.id = request.folder.clone().unwrap_or(new.id);
    new.metadata.selection = Selected {
        filter: plan.filter.clone(),
        replay: plan.replayed.as_ref().map(Replayed::path),
        ..request.selection.clone()
    };
    let id = new.id.clone();
    let parts = RunParts {
        root: root.clone(),
        suite,
        plugins: plan.plugins.clone(),
        blobs: plan.blobs.clone(),
        known: plan.new_known.clone(),
        new,
    };
    let work = PlannedSession {
        id,
        fold: Fold::of_plan(&plan.suite, None),
        plan,
        session: 1,
        root,
        share: options.share,
    };
    Ok((work, parts))
}
