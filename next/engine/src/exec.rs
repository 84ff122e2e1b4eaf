//! `exec`: the birth of a run.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Seek},
    path::Path,
    rc::Rc,
};

use runner_model::{Budgets, Places, digest};
use runner_record::{
    Fold, ManifestProvider, Metadata, NewRun, NewSession, Owned, PluginCache, RecordError,
    ResultsRoot, Selected,
};
use runner_scenario::{Selection, load, resolve};

use crate::{
    Ended, EngineError, ExecRequest, Observer,
    crew::Early,
    fingerprint::Fingerprints,
    machine::cores,
    plan::Plan,
    plugins::{self, Plugins},
    session::{self, Work, machine},
};

/// Reads and plans a scenario, births its run, and runs all trials.
pub(crate) fn exec(
    early: Early,
    request: &ExecRequest,
    observer: &mut dyn Observer,
) -> Result<Ended, EngineError> {
    let options = &request.session;
    let (plan, suite_file) = plan(
        &request.scenario,
        &request.selection,
        options.compile_seconds,
    )?;
    if plan.suite.trials() == 0 {
        return Err(EngineError::NothingSelected);
    }
    let mut plan = Plan {
        jobs: options.jobs.unwrap_or(plan.jobs).max(1),
        timeout: options.timeout.unwrap_or(plan.timeout),
        fail_fast: options.fail_fast.unwrap_or(plan.fail_fast),
        given_budgets: options.budgets.clone(),
        ..plan
    };
    if let Some(grace) = options.grace {
        plan.scenario.run.grace = grace.into();
    }
    let root = ResultsRoot::open(&options.results)?;
    let session = NewSession {
        writer: "exec",
        command: options.command.clone(),
        jobs: plan.jobs,
        timeout: plan.timeout,
        rerun: None,
        pending: None,
        grace: plan.scenario.run.grace.into(),
        fail_fast: plan.fail_fast,
        budgets: plan.given_budgets.clone(),
    };
    let birth = Birth {
        root: root.clone(),
        suite: suite_file,
        plugins: plan.plugins.clone(),
        new: new_run(&plan, &request.scenario, session)?,
    };
    let work = Work {
        fold: Fold::new(plan.suite.trials()),
        plan,
        session: 1,
        root,
        compile_seconds: options.compile_seconds,
    };
    session::run(early, work, || birth.create(), observer)
}

/// Plans a scenario, with its tests in a file without a name. Nothing is created but entries of the cache.
pub(crate) fn plan(
    path: &Path,
    selection: &Selection,
    compile_seconds: Option<u32>,
) -> Result<(Plan, File), EngineError> {
    let scenario = load(path).map_err(EngineError::Scenario)?;
    let cache = PluginCache::open()?;
    let (providers, plugins) = plugins::find(&scenario, &scenario.folder, &cache, compile_seconds)?;
    let mut file = tempfile::tempfile().map_err(machine)?;
    let suite = resolve(&scenario, selection, &mut file).map_err(EngineError::Scenario)?;
    let plan = Plan {
        prints: Fingerprints::new(&providers, scenario.run.seed),
        jobs: scenario.run.concurrency.unwrap_or_else(cores),
        timeout: scenario.timeout,
        fail_fast: scenario.run.fail_fast,
        given_budgets: Budgets::default(),
        suite: Rc::new(suite),
        scenario,
        providers,
        plugins,
        cache,
    };
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
        metadata: Metadata {
            planned_test_count: plan.suite.tests(),
            planned_trial_count: plan.suite.trials(),
            suite: plan.suite.digest(),
            scenario_sha256: digest(scenario.text.as_bytes()),
            runner_version: env!("CARGO_PKG_VERSION").to_owned(),
            selection: Selected::default(),
        },
        providers: manifest_providers(plan),
        session,
    })
}

/// The providers as the manifest has them, before plugins have described themselves.
pub(crate) fn manifest_providers(plan: &Plan) -> Vec<ManifestProvider> {
    let providers = plan.providers.iter().map(|prepared| ManifestProvider {
        name: prepared.provider.name.to_string(),
        plugin: prepared.provider.plugin.clone(),
        digest: prepared.digest,
        kind: prepared.kind,
        limits: prepared.provider.limits.clone(),
        description: None,
    });
    providers.collect()
}

/// All that a run is born from.
pub(crate) struct Birth {
    pub(crate) root: ResultsRoot,
    pub(crate) suite: File,
    pub(crate) plugins: Plugins,
    pub(crate) new: NewRun,
}

impl Birth {
    /// Stores tests and plugins, then creates the run.
    pub(crate) fn create(mut self) -> Result<Owned, RecordError> {
        let mut draft = self.root.draft()?;
        self.suite
            .rewind()
            .and_then(|()| io::copy(&mut self.suite, &mut draft))
            .map_err(|source| RecordError::Io {
                what: "store the tests in",
                path: self.root.path().to_owned(),
                source,
            })?;
        self.root.keep(draft, &self.new.metadata.suite)?;
        for plugin in self.plugins.values() {
            self.root.keep_bytes(plugin)?;
        }
        self.root.create(self.new)
    }
}
