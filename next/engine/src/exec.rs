//! `exec`: the birth of a run.

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io::{self, Seek},
    path::Path,
};

use runner_model::{Digest, Places, digest};
use runner_prepare::{ContentSource, plugins};
use runner_record::{
    Fold, ManifestProvider, Metadata, NewRun, NewSession, Owned, PluginCache, RecordError,
    ResultsRoot, RunDir, Selected,
};
use runner_scenario::{Selection, load, resolve};

use crate::{
    Ended, EngineError, ExecRequest, Observer, ResumeRequest, early,
    plan::Plan,
    resume,
    session::{self, Work, machine},
};

/// Runs a scenario: reads, resolves, plans, births the run, runs all trials, ends. Continues the run that is in the folder
/// already which the request names.
///
/// # Errors
///
/// Nothing was begun, or the run cannot be written.
pub fn exec(request: &ExecRequest, observer: &mut dyn Observer) -> Result<Ended, EngineError> {
    let early = early()?;
    let (plan, suite) = planned(request)?;
    let root = ResultsRoot::open(&request.session.results)?;
    let is_free = session::share(&root, request.session.share)?;
    let (work, mut birth) = prepare(request, root, plan, suite)?;
    if let Some(name) = &request.folder
        && let Some(there) = work.root.run_in(name)?
    {
        check_same_plan(&birth.new, &there)?;
        // It is taken again there.
        drop((work, birth));
        let request = ResumeRequest {
            run: Some(name.clone()),
            rerun: None,
            accept_changes: false,
            force: false,
            session: request.session.clone(),
        };
        return resume::resume(early, &request, observer, None);
    }
    birth.new.session.waits = !is_free;
    session::begin(early, work, || birth.create(), is_free, observer)
}

/// Reads and plans the scenario of a request, and reads the secrets that it grants.
pub(crate) fn planned(request: &ExecRequest) -> Result<(Plan, File), EngineError> {
    let (mut plan, suite) = selected_plan(request)?;
    plan.prepare_grants(&request.session)?;
    Ok((plan, suite))
}

/// Reads and plans the scenario of a request, as [`plan`] does.
pub(crate) fn selected_plan(request: &ExecRequest) -> Result<(Plan, File), EngineError> {
    let options = &request.session;
    let only = match request.selection.last_failed {
        true => {
            let name = load(&request.scenario).map_err(EngineError::Scenario)?.name;
            Some(resume::not_passed(&options.results, &name)?)
        }
        false => None,
    };
    let selection = selection(&request.selection, only);
    let (mut plan, suite) = plan(&request.scenario, &selection)?;
    if plan.suite.trials() == 0 {
        return Err(EngineError::NothingSelected);
    }
    plan.override_by(options)?;
    Ok((plan, suite))
}

/// All that the run of a plan is born from and works on.
pub(crate) fn prepare(
    request: &ExecRequest,
    root: ResultsRoot,
    plan: Plan,
    suite: File,
) -> Result<(Work, RunParts), EngineError> {
    let options = &request.session;
    let session = plan.session("exec", &options.command);
    let mut new = new_run(&plan, &request.scenario, session)?;
    new.labels.clone_from(&request.labels);
    new.folder.clone_from(&request.folder);
    new.metadata.selection.clone_from(&request.selection);
    let birth = RunParts {
        root: root.clone(),
        suite,
        plugins: plan.plugins.clone(),
        blobs: plan.blobs.clone(),
        new,
    };
    let work =
        Work { fold: Fold::new(plan.suite.trials()), plan, session: 1, root, share: options.share };
    Ok((work, birth))
}

/// Fails if the run that is there is of another plan than the new one would be.
fn check_same_plan(new: &NewRun, there: &RunDir) -> Result<(), EngineError> {
    let manifest = there.manifest()?;
    let (old, asked) = (&manifest.metadata, &new.metadata);
    let differs = if old.scenario_sha256 != asked.scenario_sha256 {
        "its scenario is another one, or has changed"
    } else if old.suite != asked.suite {
        "its tests or what is selected of them have changed"
    } else if !have_same_plugins(&manifest.providers, &new.providers) {
        "a plugin has changed"
    } else {
        return Ok(());
    };
    Err(EngineError::Usage(format!(
        "{} holds a run of another plan: {differs}\nname another folder, or continue that run as it is: runner resume {0}",
        there.path().display()
    )))
}

/// Tells whether providers have the same names and plugins.
pub(crate) fn have_same_plugins(some: &[ManifestProvider], others: &[ManifestProvider]) -> bool {
    let plugin = |provider: &ManifestProvider| (provider.name.clone(), provider.digest);
    some.iter().map(plugin).eq(others.iter().map(plugin))
}

/// Plans a scenario, with its tests in a file without a name. Nothing is created but entries of the cache.
pub(crate) fn plan(path: &Path, selection: &Selection) -> Result<(Plan, File), EngineError> {
    let scenario = load(path).map_err(EngineError::Scenario)?;
    let cache = PluginCache::open()?;
    let mut file = tempfile::tempfile().map_err(machine)?;
    let (providers, plugins, found) = plugins::find(&scenario.providers, &scenario.folder, &cache)?;
    let suite = resolve(&scenario, selection, &mut file);
    let suite = match suite {
        Ok(suite) if found.is_empty() => suite,
        suite => {
            let mut problems = suite.err().unwrap_or_default();
            problems.extend(scenario.provider_problems(&found));
            return Err(EngineError::Scenario(problems));
        }
    };
    let blobs = ContentSource::of_files(suite.blobs().clone());
    let plan = Plan::new(scenario, suite, providers, plugins, blobs, cache);
    Ok((plan, file))
}

pub(crate) fn new_run(
    plan: &Plan,
    path: &Path,
    session: NewSession,
) -> Result<NewRun, EngineError> {
    let scenario = &plan.scenario;
    let path = std::path::absolute(path).map_err(machine)?;
    Ok(NewRun {
        scenario: scenario.name.clone(),
        scenario_path: path.to_string_lossy().into_owned(),
        text: scenario.text.clone(),
        labels: BTreeMap::new(),
        group: None,
        folder: None,
        metadata: metadata(plan),
        providers: manifest_providers(plan),
        session,
    })
}

/// Numbers and digests of a plan. The caller adds what was selected of its scenario.
pub(crate) fn metadata(plan: &Plan) -> Metadata {
    Metadata {
        planned_test_count: plan.suite.tests(),
        planned_trial_count: plan.suite.trials(),
        suite: plan.suite.digest(),
        blobs: plan.blobs.list().map(|list| digest(list.as_bytes())),
        scenario_sha256: digest(plan.scenario.text.as_bytes()),
        runner_version: env!("CARGO_PKG_VERSION").to_owned(),
        selection: Selected::default(),
    }
}

/// The selection that a manifest keeps, with the tests that it means if it names them.
pub(crate) fn selection(selected: &Selected, only: Option<HashSet<String>>) -> Selection {
    Selection {
        tests: selected.tests.clone(),
        providers: selected.providers.clone(),
        tags: selected.tags.clone(),
        only,
    }
}

/// The providers as the manifest has them, before plugins have described themselves.
pub(crate) fn manifest_providers(plan: &Plan) -> Vec<ManifestProvider> {
    let providers = plan.providers.iter().map(|prepared| ManifestProvider {
        name: prepared.provider.name.to_string(),
        plugin: prepared.provider.plugin.clone(),
        digest: prepared.digest,
        kind: prepared.kind,
        limits: prepared.provider.limits.clone(),
        grants: prepared.provider.grants.clone(),
        mounts: prepared.mounts.clone(),
        description: None,
    });
    providers.collect()
}

/// All that a run is born from.
pub(crate) struct RunParts {
    pub(crate) root: ResultsRoot,
    pub(crate) suite: File,
    pub(crate) plugins: ContentSource,
    pub(crate) blobs: ContentSource,
    pub(crate) new: NewRun,
}

impl RunParts {
    /// Stores all that the run is made of, then creates it.
    pub(crate) fn create(self) -> Result<Owned, RecordError> {
        let suite = &self.new.metadata.suite;
        keep(&self.root, self.suite, suite, &self.plugins, &self.blobs)?;
        self.root.create(self.new)
    }
}

/// Stores tests, plugins, attachments and schemas.
pub(crate) fn keep(
    root: &ResultsRoot,
    mut suite: File,
    digest: &Digest,
    plugins: &ContentSource,
    blobs: &ContentSource,
) -> Result<(), RecordError> {
    let mut draft = root.draft()?;
    suite.rewind().and_then(|()| io::copy(&mut suite, &mut draft)).map_err(|source| {
        RecordError::Io { what: "store the tests in", path: root.path().to_owned(), source }
    })?;
    root.keep(draft, digest)?;
    plugins.keep(root)?;
    blobs.keep(root)?;
    if let Some(list) = blobs.list() {
        root.keep_bytes(list.as_bytes())?;
    }
    Ok(())
}
