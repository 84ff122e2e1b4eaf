//! Reads the plan that is stored with a run.

use std::{collections::HashSet, io, path::Path, sync::Arc};

use runner_model::{Places as _, TrialId, known::KnownState};
use runner_model::{provider::PreparedProvider, status::RunVerdict};
use runner_prepare::ContentSource;
use runner_record::{Fold, Manifest, PluginCache, RecordError, ResultsRoot, RunDir};
use runner_results::{RunTable, short};
use runner_scenario::{Scenario, Suite};

use super::plan::Plan;
use super::stored_scenario::{stored, stored_scenario};
use super::test_line::{Ids, TestLine, tests_at_providers};
use crate::EngineError;

/// Runs that `--last-failed` reads.
const MAX_RUNS: usize = 50;

/// Reads the stored scenario of a run, and the suite with its own trials.
pub(crate) fn stored_tests(
    root: &ResultsRoot,
    dir: &RunDir,
    manifest: &Manifest,
) -> Result<(Scenario, Suite), EngineError> {
    let (scenario, suite) = whole_tests(root, dir, manifest)?;
    let suite = suite.of_shard(manifest.metadata.selection.shard);
    let suite = suite.map_err(|source| unreadable(root, source))?;
    if suite.trials() != manifest.metadata.planned_trial_count {
        let source = io::Error::other("the stored suite has another number of trials than the run");
        return Err(unreadable(root, source).into());
    }
    Ok((scenario, suite))
}

/// Reads the stored scenario of a run, and the suite with the trials of all shards.
pub(crate) fn whole_tests(
    root: &ResultsRoot,
    dir: &RunDir,
    manifest: &Manifest,
) -> Result<(Scenario, Suite), EngineError> {
    let scenario = stored_scenario(dir, manifest)?;
    let content = stored(dir, dir.content(&manifest.metadata.suite))?;
    let suite =
        Suite::open(content, &scenario.providers).map_err(|source| unreadable(root, source))?;
    Ok((scenario, suite))
}

/// Reads the stored plan of a run.
pub(crate) fn stored_plan(
    root: &ResultsRoot,
    dir: &RunDir,
    manifest: &Manifest,
) -> Result<Plan, EngineError> {
    let (scenario, suite) = stored_tests(root, dir, manifest)?;
    let providers = stored_plugins(root, dir, manifest, &scenario)?;
    let plugins = ContentSource::stored(root, providers.iter().map(|prepared| prepared.digest));
    let blobs = ContentSource::stored(root, stored(dir, dir.blobs(manifest))?);
    let cache = PluginCache::open()?;
    let mut plan = Plan::new(scenario, suite, providers, plugins, blobs, cache);
    plan.random_recipe = manifest.metadata.random_recipe;
    plan.known = stored(dir, dir.known(manifest))?;
    Ok(plan)
}

/// The result of [`not_passed`].
#[derive(Debug, Default)]
pub(crate) struct NotPassed {
    /// As `test@provider`.
    pub(crate) tests: HashSet<String>,
    /// Number of trials that passed, and whose test or provider has changed since.
    pub(crate) changed: u64,
    /// Number of known failures that are not selected.
    pub(crate) known: u64,
    /// Number of trials of the plan that none of the runs has planned.
    pub(crate) unplanned: u64,
    /// Ids of the runs, the newest first.
    pub(crate) runs: Vec<String>,
    pub(crate) skipped: Vec<RecordError>,
}

/// The newest result of a trial. A plan of 10⁶ trials has one of each, so it has no names.
#[derive(Clone, Default)]
struct NewestResult {
    /// Whether the result is expected. `None` without a result.
    is_pass: Option<bool>,
    is_known: bool,
    /// The first bytes of both fingerprints.
    fingerprints: [u32; 2],
    /// The run of the result, by its place in [`NotPassed::runs`].
    run: u8,
    is_planned: bool,
}

pub(crate) fn unreadable(root: &ResultsRoot, source: io::Error) -> RecordError {
    RecordError::Io {
        what: "read the stored tests and plugins in",
        path: root.path().to_owned(),
        source,
    }
}

/// Returns the providers with their stored plugins, whose digests are checked.
pub(crate) fn stored_plugins(
    root: &ResultsRoot,
    dir: &RunDir,
    manifest: &Manifest,
    scenario: &Scenario,
) -> Result<Vec<PreparedProvider>, EngineError> {
    let mut prepared = Vec::new();
    let mut checked = HashSet::new();
    for provider in &scenario.providers {
        let stored =
            manifest.planned().find(|stored| stored.name == *provider.name).ok_or_else(|| {
                let source = io::Error::other(format!("there is no provider `{}`", provider.name));
                unreadable(root, source)
            })?;
        if checked.insert(stored.digest) {
            self::stored(dir, dir.content(&stored.digest))?;
        }
        // Another folder would be mounted in its place: the one at this path in the working directory.
        if stored.mounts.len() != provider.grants.fs.len() {
            let run = dir.id();
            return Err(EngineError::Usage(format!(
                "the manifest of run {run} lacks folders that `{}` is granted: another program has changed it; start a new run",
                provider.name
            )));
        }
        prepared.push(PreparedProvider {
            provider: provider.clone(),
            digest: stored.digest,
            kind: stored.kind,
            mounts: stored.mounts.clone(),
        });
    }
    Ok(prepared)
}

/// Returns the tests of a plan with a trial whose newest result is unexpected, that was planned and has no result, or that passed and
/// whose test or provider has changed since. Reads this user's runs from the newest back: until one is of the whole scenario and
/// each trial so far has a result, at most [`MAX_RUNS`]. Runs of another file than `path`, which is absolute, do not count. Also
/// returns the names of the read runs, and the errors of damaged runs, of those of other users, and of those that another key has
/// signed.
pub(crate) fn not_passed(
    root: &ResultsRoot,
    path: &Path,
    plan: &Plan,
) -> Result<NotPassed, EngineError> {
    let mut found = NotPassed::default();
    let mut newest = vec![NewestResult::default(); plan.suite.trials() as usize];
    let mut is_whole = false;
    for run in root.runs_of(&plan.scenario.name, path)? {
        if found.runs.len() == MAX_RUNS || is_whole && !newest.iter().any(NewestResult::is_open) {
            break;
        }
        let Some((dir, manifest)) = own_run(run, &mut found.skipped)? else { continue };
        let number = found.runs.len() as u8;
        let table = dir.snapshot(|| RunTable::open(&dir))?;
        table.check_version()?;
        for row in table.settling() {
            let index = table.trial_id(row.trial).and_then(|trial| plan.suite.index(&trial));
            let Some(trial) = index.and_then(|index| newest.get_mut(index as usize)) else {
                continue;
            };
            if trial.is_pass.is_none() {
                trial.is_pass = Some(!row.is_unexpected());
                trial.is_known = row.state == KnownState::Known;
                (trial.fingerprints, trial.run) = (table.fingerprints(row.number), number);
            }
        }
        let is_damaged = table.is_foreign(&manifest) || manifest.verdict == RunVerdict::Damaged;
        let counts = table.fold_sums().counts;
        let has_other_plan = manifest.sessions.iter().any(|session| session.adopted.is_some());
        let planned = manifest.metadata.planned_trial_count;
        if is_damaged || has_other_plan || !counts.is_whole(planned) {
            let (scenario, suite) = stored_tests(root, &dir, &manifest)?;
            let fold = Fold::of(&dir, &manifest, &suite, &Arc::default(), &|_, _| false)?;
            let is_damaged = is_damaged || fold.foreign().is_some();
            if is_damaged {
                let problem = "the run is damaged, so none of its tests counts as passed";
                let path = dir.path();
                let problem = problem.to_owned();
                found.skipped.push(RecordError::Foreign { path, problem });
            }
            for (index, trial) in newest.iter_mut().enumerate() {
                let is_planned = || {
                    plan.suite.trial_id(index as u64).is_some_and(|id| suite.index(&id).is_some())
                };
                if trial.is_pass.is_some() && trial.run == number && (is_damaged || !is_planned()) {
                    trial.is_pass = None;
                }
            }
            let mut ids = Ids::new(&suite, &scenario.providers);
            let is_needed = |index: &u64| {
                let state = fold.trial(*index);
                state.is_pending || state.outcome.is_some()
            };
            for index in (0..suite.trials()).filter(is_needed) {
                let id = ids.trial(index).map_err(|source| unreadable(root, source))?;
                let Some(index) = plan.suite.index(&id) else { continue };
                let trial = &mut newest[index as usize];
                trial.is_planned = true;
                trial.is_pass = trial.is_pass.or(is_damaged.then_some(false));
            }
        }
        is_whole |= manifest.metadata.selection.is_whole();
        found.runs.push(dir.id().to_owned());
    }
    if found.runs.is_empty() && !found.skipped.is_empty() {
        return Err(found.skipped.swap_remove(0).into());
    }
    found.select(plan, &newest).map_err(|source| unreadable(root, source))?;
    Ok(found)
}

/// Returns the tests of the plans and results of the runs that [`not_passed`] may read.
pub(crate) fn known_tests(
    root: &ResultsRoot,
    scenario: &str,
    path: &Path,
) -> Result<HashSet<String>, EngineError> {
    let mut tests = HashSet::new();
    for run in root.runs_of(scenario, path)?.take(MAX_RUNS) {
        let Some((dir, manifest)) = own_run(run, &mut Vec::new())? else { continue };
        tests.extend(planned_tests(root, &dir, &manifest)?);
        let table = RunTable::open(&dir)?;
        tests.extend(table.settling().filter_map(|row| Some(test_at(&table.trial_id(row.trial)?))));
    }
    Ok(tests)
}

/// Opens a run for use. `None`, with an error in `skipped`, for a run of another user or key.
fn own_run(
    run: Result<(RunDir, Manifest), RecordError>,
    skipped: &mut Vec<RecordError>,
) -> Result<Option<(RunDir, Manifest)>, RecordError> {
    match run.and_then(|(dir, manifest)| Ok((dir.for_use()?, manifest))) {
        Err(error @ (RecordError::NotOwn { .. } | RecordError::Foreign { .. })) => {
            skipped.push(error);
            Ok(None)
        }
        own => own.map(Some),
    }
}

impl NewestResult {
    fn is_open(&self) -> bool {
        self.is_planned && self.is_pass.is_none()
    }
}

impl NotPassed {
    /// Selects the tests by the newest results of the plan's trials.
    fn select(&mut self, plan: &Plan, newest: &[NewestResult]) -> io::Result<()> {
        let mut ids = Ids::new(&plan.suite, &plan.scenario.providers);
        let mut line = Vec::new();
        for (index, newest) in (0..).zip(newest) {
            let is_selected = match newest.is_pass {
                None if !newest.is_planned => {
                    // Of adaptive repeats, further ones may not have been needed.
                    let is_first = || plan.suite.trial(index).repeat == 1;
                    self.unplanned += u64::from(!plan.suite.is_adaptive() || is_first());
                    false
                }
                Some(true) => {
                    let planned = plan.suite.trial(index);
                    let now = plan.suite.line(planned.test, &mut line).and_then(|()| {
                        Ok(TestLine::read(&line)?
                            .fingerprints(&plan.fingerprints, planned.provider)?)
                    });
                    // If the test cannot be read, sending its task reports the error.
                    let is_changed = !now.is_ok_and(|(execution, judgement)| {
                        newest.fingerprints == [execution, judgement].map(short)
                    });
                    self.changed += u64::from(is_changed);
                    self.known += u64::from(newest.is_known && !is_changed);
                    is_changed
                }
                None | Some(false) => true,
            };
            if is_selected {
                self.tests.insert(test_at(&ids.trial(index)?));
            }
        }
        Ok(())
    }
}

fn test_at(trial: &TrialId) -> String {
    format!("{}@{}", trial.test, trial.provider)
}

/// Returns the planned tests of a run, of all shards, as `test@provider`.
pub(crate) fn planned_tests(
    root: &ResultsRoot,
    dir: &RunDir,
    manifest: &Manifest,
) -> Result<HashSet<String>, EngineError> {
    let (scenario, suite) = whole_tests(root, dir, manifest)?;
    let tests = tests_at_providers(&suite, &scenario.providers, |_| true);
    Ok(tests.map_err(|source| unreadable(root, source))?)
}
