//! The plan as it is stored with a run.

use std::{collections::HashSet, io, path::Path};

use runner_model::{Outcome, Places as _, provider::PreparedProvider};
use runner_prepare::ContentSource;
use runner_record::{Fold, Manifest, PluginCache, RecordError, ResultsRoot, RunDir};
use runner_scenario::{Scenario, Suite, parse_stored};

use super::{ids, plan::Plan};
use crate::EngineError;

/// The scenario and the tests as they are stored with the run.
pub(crate) fn stored_tests(
    root: &ResultsRoot,
    dir: &RunDir,
    manifest: &Manifest,
) -> Result<(Scenario, Suite), EngineError> {
    let text = dir.scenario(manifest)?;
    let scenario = parse_stored(&text, &manifest.scenario).map_err(EngineError::Scenario)?;
    let content = stored(dir.content(&manifest.metadata.suite))?;
    let suite =
        Suite::open(content, &scenario.providers).map_err(|source| unreadable(root, source))?;
    if suite.trials() != manifest.metadata.planned_trial_count {
        let source = io::Error::other("the stored tests are not those of the run");
        return Err(unreadable(root, source).into());
    }
    Ok((scenario, suite))
}

/// The plan as it is stored with the run.
pub(crate) fn stored_plan(
    root: &ResultsRoot,
    dir: &RunDir,
    manifest: &Manifest,
) -> Result<Plan, EngineError> {
    let (scenario, suite) = stored_tests(root, dir, manifest)?;
    let providers = stored_plugins(root, dir, manifest, &scenario)?;
    let plugins = ContentSource::stored(root, providers.iter().map(|prepared| prepared.digest));
    let blobs = ContentSource::stored(root, dir.blobs(manifest)?);
    let cache = PluginCache::open()?;
    Ok(Plan::new(scenario, suite, providers, plugins, blobs, cache))
}

pub(crate) fn unreadable(root: &ResultsRoot, source: io::Error) -> RecordError {
    RecordError::Io {
        what: "read the stored tests and plugins in",
        path: root.path().to_owned(),
        source,
    }
}

/// The plugins as they are stored.
pub(crate) fn stored_plugins(
    root: &ResultsRoot,
    dir: &RunDir,
    manifest: &Manifest,
    scenario: &Scenario,
) -> Result<Vec<PreparedProvider>, EngineError> {
    let (mut prepared, mut checked) = (Vec::new(), HashSet::new());
    for provider in &scenario.providers {
        let stored = manifest.providers.iter();
        let mut stored = stored.filter(|stored| stored.name == *provider.name);
        let stored = stored.next().ok_or_else(|| {
            let source = io::Error::other(format!("there is no provider `{}`", provider.name));
            unreadable(root, source)
        })?;
        if checked.insert(stored.digest) {
            self::stored(dir.content(&stored.digest))?;
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

/// A content that is damaged or gone is not the disk's fault: nothing was changed, and another try changes nothing.
pub(crate) fn stored<T>(content: Result<T, RecordError>) -> Result<T, EngineError> {
    content.map_err(|error| EngineError::Usage(error.to_string()))
}

/// The tests on providers that did not pass in the newest run of a scenario, as `test@provider`.
pub(crate) fn not_passed(results: &Path, scenario: &str) -> Result<HashSet<String>, EngineError> {
    let root = ResultsRoot::existing(results)?;
    let dir = root.find(&format!("latest:{scenario}"))?;
    let manifest = dir.truth()?;
    let has_passed = |outcome| matches!(outcome, Some(Outcome::Passed | Outcome::Skipped));
    tests_of(&root, &dir, &manifest, |outcome| !has_passed(outcome))
}

/// The tests of a run on their providers, as `test@provider`, that have a trial for which `is_meant` says so.
pub(crate) fn tests_of(
    root: &ResultsRoot,
    dir: &RunDir,
    manifest: &Manifest,
    is_meant: impl Fn(Option<Outcome>) -> bool,
) -> Result<HashSet<String>, EngineError> {
    let (scenario, suite) = stored_tests(root, dir, manifest)?;
    let fold = Fold::of(dir, manifest, &suite, &|_, _| false)?;
    let is_meant = |trial| is_meant(fold.trial(trial).outcome);
    let tests = ids::tests(&suite, &scenario.providers, is_meant);
    Ok(tests.map_err(|source| unreadable(root, source))?)
}
