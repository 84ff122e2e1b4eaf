//! Reads the plan that is stored with a run.

use std::collections::{HashMap, HashSet};
use std::{io, path::Path};

use runner_model::{Outcome, Places as _, TrialId, provider::PreparedProvider};
use runner_prepare::ContentSource;
use runner_record::{Fold, Manifest, PluginCache, RecordError, ResultsRoot, RunDir, TrialResult};
use runner_scenario::{Scenario, Suite, parse_stored};

use super::{ids, ids::Ids, plan::Plan, test_line::TestLine};
use crate::EngineError;

/// Runs that `--last-failed` reads.
const MAX_RUNS: usize = 50;

/// Reads the stored scenario and suite of a run.
pub(crate) fn stored_tests(
    root: &ResultsRoot,
    dir: &RunDir,
    manifest: &Manifest,
) -> Result<(Scenario, Suite), EngineError> {
    let text = stored(dir, dir.scenario(manifest))?;
    let mut scenario =
        parse_stored(&text, &manifest.scenario, &manifest.metadata.selection.overrides.vars)
            .map_err(EngineError::Scenario)?;
    scenario.override_by(&manifest.metadata.selection.overrides);
    keep_providers(&mut scenario, manifest);
    let content = stored(dir, dir.content(&manifest.metadata.suite))?;
    let suite =
        Suite::open(content, &scenario.providers).map_err(|source| unreadable(root, source))?;
    if suite.trials() != manifest.metadata.planned_trial_count {
        let source = io::Error::other("the stored suite has another number of trials than the run");
        return Err(unreadable(root, source).into());
    }
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
    Ok(Plan::new(scenario, suite, providers, plugins, blobs, cache))
}

/// Removes the providers that the run's selection left out.
fn keep_providers(scenario: &mut Scenario, manifest: &Manifest) {
    let names: HashSet<_> = manifest.providers.iter().map(|stored| &*stored.name).collect();
    scenario.keep_providers(|provider| names.contains(&*provider.name));
}

/// The result of [`not_passed`].
#[derive(Debug, Default)]
pub(crate) struct NotPassed {
    pub(crate) tests: HashSet<String>,
    /// Number of trials that passed, and whose test or provider has changed since.
    pub(crate) changed: u64,
    /// Ids of the runs, the newest first.
    pub(crate) runs: Vec<String>,
    pub(crate) skipped: Vec<RecordError>,
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
    let (mut prepared, mut checked) = (Vec::new(), HashSet::new());
    for provider in &scenario.providers {
        let mut stored = manifest.providers.iter();
        let stored = stored.find(|stored| stored.name == *provider.name).ok_or_else(|| {
            let source = io::Error::other(format!("there is no provider `{}`", provider.name));
            unreadable(root, source)
        })?;
        if checked.insert(stored.digest) {
            self::stored(dir, dir.content(&stored.digest))?;
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

/// Turns missing or damaged content into a usage error: unlike with an error of the disk, nothing was changed, and trying again
/// does not help.
fn stored<T>(dir: &RunDir, content: Result<T, RecordError>) -> Result<T, EngineError> {
    content.map_err(|error| {
        EngineError::Usage(format!(
            "{error}\nto take the current files in place of the stored ones: {}",
            dir.command("resume", &["--accept-changes"])
        ))
    })
}

/// Returns the tests of a plan with a trial whose newest result is not passed or is of another test, or that was planned and has
/// no result, as `test@provider`. Reads this user's runs from the newest back: until one is of the whole scenario and each trial
/// so far has a result, at most [`MAX_RUNS`]. Runs of another file than `path`, which is absolute, do not count. Also returns the
/// names of the read runs, and the errors of damaged runs and of those of other users.
pub(crate) fn not_passed(
    results: &Path,
    plan: &Plan,
    path: &Path,
) -> Result<NotPassed, EngineError> {
    let (root, scenario) = (ResultsRoot::existing(results)?, &plan.scenario.name);
    let mut found = NotPassed::default();
    // Whether a trial has passed. `None` without a result.
    let mut trials: HashMap<TrialId, Option<bool>> = HashMap::new();
    let mut is_whole = false;
    let (mut results, mut line) = (root.trials()?, Vec::new());
    for run in root.runs_of(scenario, path)? {
        if found.runs.len() == MAX_RUNS || is_whole && !trials.values().any(Option::is_none) {
            break;
        }
        let (dir, manifest) = match run {
            Err(error @ (RecordError::OtherUser { .. } | RecordError::Foreign { .. })) => {
                found.skipped.push(error);
                continue;
            }
            run => run?,
        };
        let mut add = |all: &mut Vec<_>, result: TrialResult| {
            let is_pass = matches!(result.outcome, Outcome::Passed | Outcome::Skipped);
            let is_changed = is_pass
                && trials.get(&result.trial).is_none_or(Option::is_none)
                && has_changed(plan, &result, &mut line);
            all.push((result.trial, is_pass, is_changed));
        };
        let mut read = results.of_run(&dir, &Vec::new, &mut add)?;
        let has_other_plan = manifest.sessions.iter().any(|session| session.adopted.is_some());
        let planned = manifest.metadata.planned_trial_count;
        if read.is_damaged || has_other_plan || read.trials != planned {
            let (scenario, suite) = stored_tests(&root, &dir, &manifest)?;
            let fold = Fold::of(&dir, &manifest, &suite, &|_, _| false)?;
            let is_damaged = read.is_damaged || fold.foreign().is_some();
            if is_damaged {
                let problem = "the run is damaged, so none of its tests counts as passed";
                let (path, problem) = (dir.path(), problem.to_owned());
                found.skipped.push(RecordError::Foreign { path, problem });
            }
            read.results.retain(|(trial, ..)| suite.index(trial).is_some());
            let mut ids = Ids::new(&suite, &scenario.providers);
            for index in 0..suite.trials() {
                let id = ids.trial(index).map_err(|source| unreadable(&root, source))?;
                let newest = trials.entry(id).or_default();
                *newest = newest.or(is_damaged.then_some(false));
            }
        }
        for (trial, is_pass, is_changed) in read.results {
            let newest = trials.entry(trial).or_default();
            if newest.is_none() {
                *newest = Some(is_pass && !is_changed);
                found.changed += u64::from(is_changed);
            }
        }
        is_whole |= manifest.metadata.selection.is_whole();
        found.runs.push(dir.id().to_owned());
    }
    if found.runs.is_empty() {
        let (name, root) = (format!("latest:{scenario}"), root.path().to_owned());
        let unknown = RecordError::Unknown { name, root };
        return Err(found.skipped.into_iter().next().unwrap_or(unknown).into());
    }
    trials.retain(|_, has_passed| *has_passed != Some(true));
    found.tests = trials.keys().map(|id| format!("{}@{}", id.test, id.provider)).collect();
    Ok(found)
}

/// Returns whether the plan's test or provider differs from those of a result.
fn has_changed(plan: &Plan, result: &TrialResult, line: &mut Vec<u8>) -> bool {
    let Some(trial) = plan.suite.index(&result.trial) else { return false };
    let planned = plan.suite.trial(trial);
    let fingerprints = plan.suite.line(planned.test, line).and_then(|()| {
        Ok(TestLine::read(line)?.fingerprints(&plan.fingerprints, planned.provider)?)
    });
    // If the test cannot be read, sending its task reports the error.
    !fingerprints.is_ok_and(|(execution, judgement)| result.is_of(execution, judgement))
}

/// Returns the tests of a run, as `test@provider`, with a trial whose outcome satisfies `is_selected`.
pub(crate) fn tests_of(
    root: &ResultsRoot,
    dir: &RunDir,
    manifest: &Manifest,
    is_selected: impl Fn(Option<Outcome>) -> bool,
) -> Result<HashSet<String>, EngineError> {
    let (scenario, suite) = stored_tests(root, dir, manifest)?;
    let fold = Fold::of(dir, manifest, &suite, &|_, _| false)?;
    let is_selected = |trial| is_selected(fold.trial(trial).outcome);
    let tests = ids::tests(&suite, &scenario.providers, is_selected);
    Ok(tests.map_err(|source| unreadable(root, source))?)
}
