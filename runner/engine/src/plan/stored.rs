//! Reads the plan that is stored with a run.

use std::collections::{HashMap, HashSet};
use std::{io, path::Path};

use runner_model::{Outcome, Places as _, TrialId, provider::PreparedProvider};
use runner_prepare::ContentSource;
use runner_record::{
    Fold, Manifest, PluginCache, RecordError, ResultsRoot, RunDir, ShortFingerprints,
};
use runner_scenario::{Scenario, Suite, parse_stored};

use super::plan::Plan;
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
    let text = stored(dir, dir.scenario(manifest))?;
    let mut scenario =
        parse_stored(&text, &manifest.scenario, &manifest.metadata.selection.overrides.vars)
            .map_err(EngineError::Scenario)?;
    scenario.override_by(&manifest.metadata.selection.overrides);
    keep_providers(&mut scenario, manifest);
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
    Ok(Plan::new(scenario, suite, providers, plugins, blobs, cache))
}

/// Removes the providers that the run's selection left out.
fn keep_providers(scenario: &mut Scenario, manifest: &Manifest) {
    let names: HashSet<_> = manifest.planned().map(|stored| &*stored.name).collect();
    scenario.keep_providers(|provider| names.contains(&*provider.name));
}

/// The fingerprints of a trial's newest result if it passed.
type Newest = Option<ShortFingerprints>;

/// The result of [`not_passed`].
#[derive(Debug, Default)]
pub(crate) struct NotPassed {
    /// As `test@provider`.
    pub(crate) tests: HashSet<String>,
    passed: HashMap<TrialId, ShortFingerprints>,
    /// Number of trials that passed, and whose test or provider has changed since.
    pub(crate) changed: u64,
    /// Number of trials of the plan that none of the runs has planned.
    pub(crate) unplanned: u64,
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

/// Returns the tests of a scenario with a trial whose newest result is bad, or that was planned and has no result. Reads
/// this user's runs from the newest back: until one is of the whole scenario and each trial so far has a result, at most
/// [`MAX_RUNS`]. Runs of another file than `path`, which is absolute, do not count. Also returns the names of the read runs, and
/// the errors of damaged runs, of those of other users, and of those that another key has signed.
pub(crate) fn not_passed(
    results: &Path,
    scenario: &str,
    path: &Path,
) -> Result<NotPassed, EngineError> {
    let root = ResultsRoot::existing(results)?;
    let mut found = NotPassed::default();
    // The newest results. `None` for a planned trial without a result.
    let mut trials: HashMap<TrialId, Option<Newest>> = HashMap::new();
    let mut is_whole = false;
    let mut results = root.trials()?;
    for run in root.runs_of(scenario, path)? {
        if found.runs.len() == MAX_RUNS || is_whole && !trials.values().any(Option::is_none) {
            break;
        }
        let own = run.and_then(|(dir, manifest)| Ok((dir.for_use()?, manifest)));
        let (dir, manifest) = match own {
            Err(error @ (RecordError::NotOwn { .. } | RecordError::Foreign { .. })) => {
                found.skipped.push(error);
                continue;
            }
            own => own?,
        };
        let mut read = results.of_run(&dir, &Vec::new, &mut |all: &mut Vec<_>, result| {
            let is_pass = matches!(result.outcome, Outcome::Passed | Outcome::Skipped);
            all.push((result.trial, is_pass.then_some(result.fingerprints)));
        })?;
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
            read.results.retain(|(trial, _)| suite.index(trial).is_some());
            let mut ids = Ids::new(&suite, &scenario.providers);
            for index in 0..suite.trials() {
                let id = ids.trial(index).map_err(|source| unreadable(&root, source))?;
                let newest = trials.entry(id).or_default();
                *newest = newest.or(is_damaged.then_some(None));
            }
        }
        for (trial, newest) in read.results {
            trials.entry(trial).or_default().get_or_insert(newest);
        }
        is_whole |= manifest.metadata.selection.is_whole();
        found.runs.push(dir.id().to_owned());
    }
    if found.runs.is_empty() && !found.skipped.is_empty() {
        return Err(found.skipped.swap_remove(0).into());
    }
    for (trial, newest) in trials {
        match newest.flatten() {
            Some(fingerprints) => {
                found.passed.insert(trial, fingerprints);
            }
            None => {
                found.tests.insert(test_at(&trial));
            }
        }
    }
    Ok(found)
}

impl NotPassed {
    /// Returns the tests with a trial that passed.
    pub(crate) fn passed_tests(&self) -> HashSet<String> {
        self.passed.keys().map(test_at).collect()
    }

    /// Adds the tests of the plan with a trial that passed, and whose test or provider has changed since. Counts the trials that no
    /// run has planned, if no other test is selected.
    pub(crate) fn add_changed(&mut self, plan: &Plan) {
        let mut line = Vec::new();
        let place = |(trial, passed)| Some((plan.suite.index(trial)?, trial, passed));
        let mut planned: Vec<_> = self.passed.iter().filter_map(place).collect();
        // In the order of the suite, whose lines are read in blocks.
        planned.sort_unstable_by_key(|(index, ..)| *index);
        self.unplanned = plan.suite.trials() - planned.len() as u64;
        for (index, trial, passed) in planned {
            let planned = plan.suite.trial(index);
            let fingerprints = plan.suite.line(planned.test, &mut line).and_then(|()| {
                Ok(TestLine::read(&line)?.fingerprints(&plan.fingerprints, planned.provider)?)
            });
            // If the test cannot be read, sending its task reports the error.
            if !fingerprints.is_ok_and(|now| passed.are(now)) {
                self.tests.insert(test_at(trial));
                self.changed += 1;
            }
        }
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
