//! [`PreparedResume`]: a resumed session before it starts: its plan, the trials that it runs, and the reasons.

use std::{collections::HashSet, fs::File, path::Path, sync::Arc};

use runner_model::{Outcome, Places, RunStatus, TrialId, units::plural, visible::shown_path};
use runner_record::{Fold, Manifest, NewPlan, Rerun, ResultsRoot, RunDir, TrialState};
use runner_scenario::{Filter, Scenario, Selection, nearest_names};

use super::journals::check_recorded;
use super::reruns::{self, Reruns};
use crate::plan::{
    Ids, Plan, PlannedAccess, Rejudge, changes_since, difference, load_plan_at, manifest_providers,
    metadata, planned_tests, selected_filter, stored_plan, unreadable,
};
use crate::{Decision, EngineError, ResumeRequest, trust::owner_notices};

/// A resumed session before it starts.
pub(super) struct PreparedResume {
    pub(super) plan: Plan,
    /// Whether the plan is that of the current files.
    pub(super) is_live: bool,
    pub(super) fold: Fold,
    /// The fold before this session selected or compared trials.
    pub(super) before: Fold,
    /// Number of trials that `--rerun` of this session selects.
    pub(super) selected: u64,
    /// `--rerun` of the request, with the result of a filter.
    pub(super) rerun: Option<Rerun>,
    pub(super) reruns: Reruns,
    /// The trials that `rerun` selects by a filter or by known failures, to be stored: a line for each id.
    pub(super) filtered: Option<String>,
    /// A plan that replaces the stored one, and the file with its suite.
    pub(super) adopted: Option<(NewPlan, File)>,
    /// Trials that ran when the process of the last session died.
    pub(super) in_flight: HashSet<TrialId>,
    /// Messages for the user.
    pub(super) notices: Vec<String>,
}

impl PreparedResume {
    pub(super) fn new(
        root: &ResultsRoot,
        dir: &RunDir,
        manifest: &Manifest,
        request: &ResumeRequest,
    ) -> Result<Self, EngineError> {
        let mut notices = Vec::new();
        // A failed run has no rows, so it is planned again.
        let is_live = request.accept_changes || dir.has_failed()?;
        let (mut plan, suite) = if is_live {
            let (plan, suite) = live_plan(root, dir, manifest, request)?;
            (plan, Some(suite))
        } else {
            let plan = stored_plan(root, dir, manifest)?;
            notices.extend(changes_since(dir, manifest, &plan));
            (plan, None)
        };
        if let Some(settings) = manifest.settings() {
            plan.settings.clone_from(settings);
        }
        plan.override_by(&request.session)?;
        plan.random_recipe = manifest.metadata.random_recipe;
        if let Some(run) = &manifest.metadata.selection.replay {
            plan.replay(&root.find(run)?)?;
            plan.replayed.iter().try_for_each(|replayed| replayed.check_same(manifest))?;
        }

        let (rerun, filtered) = match &request.rerun {
            Some(Rerun::Glob(text)) if Filter::is_filter(text) && !is_id(&plan, text) => {
                let (rerun, result) = reruns::filtered(text, root, dir)?;
                (Some(rerun), Some(result))
            }
            rerun => (rerun.clone(), None),
        };
        let reruns = Reruns::read(root, dir, manifest, rerun.as_ref(), filtered.as_ref())?;
        let matches = reruns.selector(&plan.suite, &plan.scenario.providers);
        let before = Fold::of(dir, manifest, &plan.suite, &plan.known, &matches)?;
        // A new plan may lack trials of the run, so their rows are not foreign.
        if !is_live {
            check_foreign(dir, &before)?;
        }
        let mut fold = before.clone();
        let is_by_list = rerun == Some(Rerun::Failed) && !plan.known.is_empty();
        let selected = match &rerun {
            // A later list must not change the selection.
            Some(Rerun::Failed) if is_by_list => Some(fold.select_unexpected()),
            rerun => rerun.as_ref().map(|rerun| fold.select(rerun, &matches)),
        };
        drop(matches);
        let filtered = if is_by_list { Some(unexpected(root, &plan, &before)?) } else { filtered };
        let adopted = suite.and_then(|suite| adopted(root, dir, manifest, &plan, suite, &fold));
        let mut sessions = manifest.sessions.iter();
        if adopted.is_some()
            || sessions.any(|session| session.adopted.is_some())
            || before.has_ungraded()
        {
            // The stored plan lacks the expectations of `rescore`, whose judgements are kept.
            let rescores = |session| manifest.rescores(session) && adopted.is_none();
            let Plan { suite, providers, fingerprints, .. } = &plan;
            let found = Rejudge::find(dir, suite, providers, fingerprints, &rescores, &mut fold)?;
            plan.rejudge = found;
        }
        check_recorded(&plan, dir, manifest, &before)?;
        notices.extend(owner_notices(dir, manifest));
        notices.extend(damage_notices(manifest, &before, adopted.is_some()));
        notices.extend(verdictless_notice(dir, manifest).filter(|_| request.rerun.is_none()));
        if fold.left() > 0 {
            plan.count_spending(dir, |trial| fold.trial(trial).is_pending)?;
        }
        let last = manifest.sessions.last();
        let in_flight = last.into_iter().flat_map(|session| &session.in_flight);
        let mut prepared = Self {
            plan,
            is_live,
            fold,
            before,
            selected: selected.unwrap_or(0),
            rerun,
            reruns,
            filtered,
            adopted,
            in_flight: in_flight.map(|attempt| attempt.trial.clone()).collect(),
            notices,
        };
        prepared.notices.extend(prepared.left_out());
        Ok(prepared)
    }

    /// Fails if `--rerun` selects no trial and nothing else is to do, or if its glob matches no trial of the plan.
    pub(super) fn check_selection(
        &self,
        request: &ResumeRequest,
        is_done: bool,
    ) -> Result<(), EngineError> {
        let Some(rerun) = self.rerun.as_ref().filter(|_| self.selected == 0) else {
            return Ok(());
        };
        let Rerun::Glob(glob) = rerun else {
            let is_refused = is_done && !request.accept_changes;
            let known = self.left_out().map(|known| format!("; {known}")).unwrap_or_default();
            let nothing = EngineError::NothingMeant(rerun.clone(), known);
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

    /// Returns the number of known failures that `--rerun failed` leaves out, as a notice.
    fn left_out(&self) -> Option<String> {
        let known = self.before.counts().known;
        let is_left_out = self.rerun == Some(Rerun::Failed) && known > 0;
        let known = plural(known, "known failure", "known failures");
        is_left_out.then(|| format!("`--rerun failed` leaves out {known}"))
    }

    pub(super) fn has_nothing_to_do(&self, manifest: &Manifest) -> bool {
        manifest.status == RunStatus::Completed
            && self.adopted.is_none()
            && self.plan.new_known.is_none()
            && self.fold.left() == 0
    }

    /// Decides about a trial.
    pub(super) fn decision(&self, trial: u64, id: &TrialId) -> Decision {
        let TrialState { outcome, state, .. } = self.fold.trial(trial);
        let ended = outcome.map_or("", verb);
        let is_selected = |rerun: &&Rerun| {
            outcome.is_some_and(|outcome| rerun.is_of(outcome, state))
                && rerun.ids().is_none_or(|ids| self.reruns.matches(&ids, id))
        };
        let (is_pending, why) = match self.rerun.as_ref().filter(is_selected) {
            _ if self.before.trial(trial).ungraded && self.plan.rejudge.has(trial) => {
                (true, "not all of its graders have answered".to_owned())
            }
            _ if outcome.is_none() && !self.fold.trial(trial).is_pending => {
                (false, "the results of its test do not need it".to_owned())
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
        let is_judged = is_pending && self.plan.rejudge.has(trial);
        Decision { is_pending, is_judged, why }
    }
}

/// Returns the ids of the trials whose results are unexpected, which `--rerun failed` selects: a line for each.
fn unexpected(root: &ResultsRoot, plan: &Plan, fold: &Fold) -> Result<String, EngineError> {
    let mut ids = Ids::new(&plan.suite, &plan.scenario.providers);
    let is_unexpected = |trial: &u64| {
        let TrialState { outcome, state, .. } = fold.trial(*trial);
        outcome.is_some_and(|outcome| Rerun::Failed.is_of(outcome, state))
    };
    let mut lines = String::new();
    for trial in (0..plan.suite.trials()).filter(is_unexpected) {
        let id = ids.trial(trial).map_err(|source| unreadable(root, source))?;
        lines.push_str(&format!("{id}\n"));
    }
    Ok(lines)
}

/// Returns the access of the run's plan, with the command of a request that allows more.
fn planned_access<'a>(
    dir: &'a RunDir,
    manifest: &'a Manifest,
    request: &ResumeRequest,
) -> PlannedAccess<'a> {
    let rerun = request.rerun.as_ref().map(ToString::to_string);
    let mut words = Vec::from_iter(request.accept_changes.then_some("--accept-changes"));
    words.extend(rerun.iter().flat_map(|rerun| ["--rerun", rerun]));
    words.push("--accept-access");
    let command = (!request.accept_access).then(|| dir.command("resume", &words));
    PlannedAccess { command, ..PlannedAccess::new(dir, manifest) }
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
    let reason = difference(manifest, &new.metadata, new.providers.iter());
    let is_needed = reason.is_some() || stored_plan(root, dir, manifest).is_err();
    is_needed.then_some((new, suite))
}

/// Plans the scenario of a run from the current files. Returns its suite in a file, too.
fn live_plan(
    root: &ResultsRoot,
    dir: &RunDir,
    manifest: &Manifest,
    request: &ResumeRequest,
) -> Result<(Plan, File), EngineError> {
    let selected = &manifest.metadata.selection;
    let only = selected.has_fixed_tests().then(|| planned_tests(root, dir, manifest));
    let selection = Selection {
        only: only.transpose()?.map(Arc::new),
        filter: selected_filter(selected, &request.session.results)?,
        selected: selected.clone(),
    };
    let path = Path::new(&manifest.scenario_path);
    let access = planned_access(dir, manifest, request);
    let check = |scenario: &Scenario| access.check(scenario, &[]);
    let (mut plan, suite) = load_plan_at(path, &selection, manifest.started_at, &check)?;
    plan.keep_known(dir, manifest);
    // A word may have matched a test that is gone.
    plan.notices.append(&mut plan.unmatched_words);
    let session = &request.session;
    // The adopted plan stores the mounts.
    EngineError::check(plan.find_folders(&session.secret_files, Some(&session.results)))?;
    access.check(&plan.scenario, &manifest_providers(&plan))?;
    plan.read_folders(&session.results)?;
    Ok((plan, suite))
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

/// Returns a notice of trials without a verdict, with the command that runs them again.
pub(super) fn verdictless_notice(dir: &RunDir, manifest: &Manifest) -> Option<String> {
    let trials = manifest.counts.error + manifest.counts.timeout;
    (trials > 0).then(|| {
        format!(
            "{} ended in an error or a timeout; to run those again: {}",
            plural(trials, "trial", "trials"),
            dir.command("resume", &["--rerun", "errors"])
        )
    })
}

/// Returns whether a text is the id of a trial or test of a plan.
fn is_id(plan: &Plan, text: &str) -> bool {
    let is_trial = |trial: TrialId| plan.suite.index(&trial).is_some();
    plan.suite.test(text).is_some() || TrialId::parse(text).is_ok_and(is_trial)
}
