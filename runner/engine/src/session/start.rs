//! `exec`: plans a scenario, creates the run and runs it.

use std::{fs::File, mem, path::Path};

use runner_model::{Places as _, Shard, units::plural, visible::shown_path};
use runner_record::{Fold, ResultsRoot, Selected};
use runner_scenario::load_selected;

use super::resume;
use super::run::{PlannedSession, lock_root, prestart, run};
use super::run_parts::{RunParts, new_run, scenario_path};
use crate::event::{Ended, Observer};
use crate::plan::{
    Plan, difference, load_plan, new_access, not_passed, selected_filter, selection,
};
use crate::trust::{skipped_notices, usable};
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
    run(prestarted, work, !is_free, || parts.create(), observer)
}

/// Plans the scenario of a request, with its mounts and secrets.
pub(crate) fn planned(request: &ExecRequest) -> Result<(Plan, File), EngineError> {
    let (mut plan, suite) = selected_plan(request)?;
    plan.prepare_grants(&request.session)?;
    plan.read_folders(&request.session.results);
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
    let only = if request.selection.last_failed {
        let scenario = load_selected(&request.scenario, &selection(&request.selection, None, None));
        let name = scenario.map_err(EngineError::Scenario)?.name;
        let path = scenario_path(&request.scenario).unwrap_or_default();
        let mut found = not_passed(&options.results, &name, &path)?;
        let root = ResultsRoot::existing(&options.results)?;
        let exec = || root.command(&["exec", &request.scenario.to_string_lossy()]);
        if found.runs.is_empty() {
            let [scenario, results] = [&request.scenario, root.path()].map(shown_path);
            return Err(EngineError::Usage(format!(
                "there are no runs of {scenario} in {results}, and `--last-failed` needs one\nto run all of its tests: {}",
                exec()
            )));
        }
        // Only the plan of tests that passed is needed, but a selection of a million tests takes a second more.
        let selected = Selected { first: None, sample: None, ..request.selection.clone() };
        let whole = load_plan(&request.scenario, &selection(&selected, None, None));
        let plan = whole.or_else(|_| {
            let passed = selection(&selected, Some(found.passed_tests()), None);
            load_plan(&request.scenario, &passed)
        });
        match plan {
            Ok((mut plan, _)) => {
                // Problems of folders are reported with the plan of the selected tests.
                let _ = plan.find_folders(&[], None);
                plan.read_folders(&options.results);
                found.add_changed(&plan);
            }
            Err(EngineError::NothingSelected(_)) => {}
            Err(error) => return Err(error),
        }
        notices = skipped_notices(&found.skipped);
        if found.tests.is_empty() {
            let unplanned = (found.unplanned > 0).then(|| {
                let trials = plural(found.unplanned, "trial was", "trials were");
                format!(
                    "{trials} not planned in these runs; to run all of the scenario: {}",
                    exec()
                )
            });
            let lines = notices.into_iter().chain(unplanned).map(|line| format!("\n{line}"));
            return Err(EngineError::NothingFailed(lines.collect()));
        }
        if let [_, .., oldest] = found.runs.as_slice() {
            let count = found.runs.len();
            notices.push(format!(
                "`--last-failed` uses the results of {count} runs; the oldest is {oldest}"
            ));
        }
        if found.changed > 0 {
            let trials = plural(found.changed, "trial", "trials");
            notices.push(format!("`--last-failed` selects {trials} that passed and changed since"));
        }
        Some(found.tests)
    } else {
        None
    };
    let filter = selected_filter(&request.selection, &options.results)?;
    let filter_text = filter.as_ref().map(|filter| filter.text().to_owned());
    let selection = selection(&request.selection, only, filter);
    let (mut plan, suite) = load_plan(&request.scenario, &selection)?;
    let words = mem::take(&mut plan.unmatched_words);
    if !words.is_empty() && !request.is_shared {
        return Err(EngineError::Usage(words.join("\n")));
    }
    plan.notices.extend(words);
    plan.notices.extend(notices);
    plan.filter = filter_text;
    plan.override_by(options)?;
    Ok((plan, suite))
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
    new.metadata.selection = Selected { filter: plan.filter.clone(), ..request.selection.clone() };
    let id = new.id.clone();
    let parts = RunParts {
        root: root.clone(),
        suite,
        plugins: plan.plugins.clone(),
        blobs: plan.blobs.clone(),
        new,
    };
    let work = PlannedSession {
        id,
        fold: Fold::new(plan.suite.trials()),
        plan,
        session: 1,
        root,
        share: options.share,
    };
    Ok((work, parts))
}
