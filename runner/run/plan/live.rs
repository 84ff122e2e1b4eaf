//! [`Plan`]: a scenario whose plugins are found and whose trials are known.

use std::{
    collections::HashMap,
    io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytesize::ByteSize;
use jiff::Timestamp;

use super::{
    ceiling::Ceiling,
    error::{PlanError, ProviderError},
    fingerprint, first_recipe, grants,
    planned::PlannedProvider,
};
use crate::{
    model::{Digest, Limits, TrialId},
    plugin::{self, Kind, PluginContent, PluginFile},
    record::{Birth, BirthProvider, BirthScenario, Blob, BlobSource},
    scenario::{self, FailFast, Provider, RunOptions, Scenario, Selection, Suite},
};

/// A scenario whose plugins are found, hashed and sniffed, and whose trials are enumerated. Nothing is compiled yet.
pub struct Plan {
    pub(super) scenario: Scenario,
    pub(super) suite: Suite,
    /// By the provider's place in the scenario; `None` for one without trials.
    pub(super) providers: Vec<Option<PlannedProvider>>,
    /// What holds instead of what the scenario says; it is stored with the run.
    overrides: RunOptions,
    /// What holds.
    options: RunOptions,
    /// `--limit time=…`.
    pub(super) time_cap: Option<Duration>,
    memory: u64,
    /// What this process has room for.
    pub(super) most_jobs: usize,
    path: PathBuf,
    selection: Selection,
}

/// What a plan is put together from.
pub(super) struct Parts {
    pub(super) scenario: Scenario,
    pub(super) suite: Suite,
    pub(super) providers: Vec<Option<PlannedProvider>>,
    pub(super) overrides: RunOptions,
    pub(super) selection: Selection,
    pub(super) path: PathBuf,
}

impl Plan {
    /// Plans `scenario`, which was read from `path`, with the plugins' files in the order of its providers.
    pub fn new(
        scenario: Scenario,
        path: &Path,
        plugins: &[PathBuf],
        selection: Selection,
        overrides: RunOptions,
    ) -> Result<Self, PlanError> {
        let ceiling = Ceiling::of(&overrides)?;
        let suite = scenario::normalise(&scenario, &selection)?;
        if suite.trial_count() == 0 {
            return Err(nothing_selected(path, &selection));
        }
        let providers = plan_providers(&scenario, plugins, &suite, &ceiling)?;
        let parts = Parts {
            scenario,
            suite,
            providers,
            overrides,
            selection,
            path: path.into(),
        };
        Self::of_parts(parts, &ceiling)
    }

    /// Puts the parts of a plan together, wherever they come from.
    pub(super) fn of_parts(parts: Parts, ceiling: &Ceiling) -> Result<Self, PlanError> {
        let options = parts.overrides.over(parts.scenario.options());
        let memory = options.memory;
        let memory = memory.unwrap_or_else(plugin::most_of_the_memory);
        check_memory(&parts.providers, memory)?;
        Ok(Self {
            scenario: parts.scenario,
            suite: parts.suite,
            providers: parts.providers,
            overrides: parts.overrides,
            options,
            time_cap: ceiling.time,
            memory,
            most_jobs: usize::MAX,
            path: parts.path,
            selection: parts.selection,
        })
    }

    /// How many trials there are.
    pub fn trial_count(&self) -> u64 {
        self.suite.trial_count()
    }

    /// The scenario.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Calls `each` with every trial, in the plan's order.
    ///
    /// # Errors
    ///
    /// Fails if the normalised tests cannot be read.
    pub fn each_trial(&self, mut each: impl FnMut(&TrialId)) -> io::Result<()> {
        let mut reader = self.suite.reader();
        for index in 0..self.suite.test_count() {
            let test = reader.test(index)?;
            for provider in test.providers.iter() {
                for repeat in 1..=test.repeat {
                    each(&TrialId {
                        test: test.id.clone(),
                        provider: self.scenario.providers()[provider].id.clone(),
                        repeat,
                    });
                }
            }
        }
        Ok(())
    }

    /// How many providers have trials.
    pub fn provider_count(&self) -> usize {
        self.providers.iter().flatten().count()
    }

    /// How trials are run: by the command line, else by the scenario, else by the defaults.
    pub(super) fn options(&self) -> &RunOptions {
        &self.options
    }

    /// What holds instead of what the scenario says.
    pub fn overrides(&self) -> &RunOptions {
        &self.overrides
    }

    /// Where the scenario is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What the memory limits of running attempts may add up to, in bytes.
    pub(super) fn memory(&self) -> u64 {
        self.memory
    }

    /// The tests.
    pub(super) fn suite(&self) -> &Suite {
        &self.suite
    }

    /// How many attempts run at once.
    ///
    /// Where instances are kept, no more than fit into the memory if each is the largest: an instance holds its memory
    /// between attempts, too, which those who admit attempts by their memory limits do not see. So every executor has an
    /// equal share, of which the largest attempt is a part, and never holds more than that.
    pub fn jobs(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let asked = self.options.jobs;
        let asked = asked
            .map_or_else(cores, NonZeroUsize::get)
            .min(self.most_jobs);

        let providers = || self.providers.iter().flatten();
        if providers().all(|provider| provider.definition.reuse.is_none()) {
            return asked;
        }
        let largest = providers().map(|provider| provider.limits.memory).max();
        let fitting = self.memory / largest.unwrap_or_default().max(1);
        usize::try_from(fitting).map_or(asked, |fitting| asked.min(fitting))
    }

    /// How long the session may take.
    pub fn timeout(&self) -> Duration {
        self.options.timeout()
    }

    /// What sets the session's time, for people: the key or the flag with its minutes.
    pub fn time_limit(&self) -> String {
        let minutes = |time: Duration| (time.as_secs_f64() / 60.0 * 1e6).round() / 1e6;
        match self.overrides.timeout {
            Some(time) => format!("`--timeout-minutes {}`", minutes(time)),
            None => {
                let minutes = minutes(self.timeout());
                format!("`timeout_minutes = {minutes}` of the scenario")
            }
        }
    }

    /// How long guests are asked to stop before they are interrupted.
    pub fn grace(&self) -> Duration {
        self.options.grace()
    }

    /// At how many trials that ended badly the run gives up.
    pub(super) fn fail_fast(&self) -> Option<u64> {
        match self.options.fail_fast() {
            FailFast::Off => None,
            FailFast::Count(count) => Some(count),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a part of the planned trials, and one more"
            )]
            FailFast::Fraction(part) => Some((part * self.trial_count() as f64) as u64 + 1),
        }
    }

    /// SHA-256 over everything that decides the plan's results: no path of the host, no concurrency, no time.
    pub fn digest(&self) -> Digest {
        let providers = self.providers.iter().flatten();
        fingerprint::of_plan(self.suite.digest(), providers, &self.options)
    }

    /// Tells whether a run whose manifest has this digest is one of this plan, whichever version began it.
    pub fn has_digest(&self, digest: Digest) -> bool {
        let providers = self.providers.iter().flatten();
        let seed = self.options.seed();
        digest == self.digest()
            || digest == first_recipe::of_plan(self.suite.digest(), providers, seed)
    }

    /// Everything that a run's birth records.
    pub fn birth(&self, now: Timestamp) -> Birth {
        let providers = || self.providers.iter().flatten();
        let plugins = providers().map(|provider| Blob {
            digest: provider.file.sha256,
            source: match &provider.file.content {
                PluginContent::Memory(bytes) => BlobSource::Bytes(bytes.clone()),
                PluginContent::File(path) => BlobSource::File(path.clone()),
            },
        });
        let files = self.suite.attachments().map(|(digest, path)| Blob {
            digest,
            source: BlobSource::File(path.into()),
        });
        let suite = self.suite.is_new().then(|| Blob {
            digest: self.suite.digest(),
            source: BlobSource::Open(Arc::clone(self.suite.file())),
        });
        Birth {
            scenario: BirthScenario {
                name: self.scenario.name().into(),
                path_as_given: self.path.display().to_string(),
                text: self.scenario.text().clone(),
            },
            plan_digest: self.digest(),
            planned: self.trial_count(),
            providers: providers().map(birth_provider).collect(),
            suite: self.suite.digest(),
            blobs: plugins.chain(files).chain(suite).collect(),
            selection: self.selection.to_stored(),
            options: self.overrides.to_stored(),
            has_secrets: self.secrets().any(|(_, names)| !names.is_empty()),
            now,
        }
    }
}

/// Reads the plugin of every provider that has trials; each file once.
fn plan_providers(
    scenario: &Scenario,
    plugins: &[PathBuf],
    suite: &Suite,
    ceiling: &Ceiling,
) -> Result<Vec<Option<PlannedProvider>>, PlanError> {
    let used = providers_with_trials(suite, scenario.providers().len())?;
    let mut files = HashMap::new();
    let mut planned = Vec::new();
    let mut problems = Vec::new();
    for (index, definition) in scenario.providers().iter().enumerate() {
        if !used[index] {
            planned.push(None);
            continue;
        }
        let limits = ceiling.cap(definition.limits);
        let file = read_plugin(&mut files, &plugins[index], definition, &limits);
        let mounts = grants::mounts(&definition.grants, scenario.directory())
            .map_err(|problem| ProviderError::new(&definition.id, problem));
        match file.and_then(|file| Ok((file, mounts?))) {
            Ok((file, mounts)) => planned.push(Some(PlannedProvider {
                definition: definition.clone(),
                file,
                limits,
                mounts,
                secrets: Arc::default(),
            })),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(PlanError::Providers { problems });
    }
    Ok(planned)
}

/// Tells of each provider whether a test runs on it.
fn providers_with_trials(suite: &Suite, providers: usize) -> io::Result<Vec<bool>> {
    let mut used = vec![false; providers];
    let mut reader = suite.reader();
    for index in 0..suite.test_count() {
        for provider in reader.test(index)?.providers.iter() {
            used[provider] = true;
        }
        if used.iter().all(|used| *used) {
            break;
        }
    }
    Ok(used)
}

fn read_plugin(
    files: &mut HashMap<PathBuf, PluginFile>,
    path: &Path,
    definition: &Provider,
    limits: &Limits,
) -> Result<PluginFile, ProviderError> {
    let id = &definition.id;
    let file = match files.get(path) {
        Some(file) if file.size <= limits.file => file.clone(),
        _ => {
            PluginFile::read(path, limits.file).map_err(|error| ProviderError::file(id, &error))?
        }
    };
    files.insert(path.into(), file.clone());

    if let Some(expected) = definition
        .sha256
        .filter(|expected| *expected != file.sha256)
    {
        let (expected, actual) = (expected.to_string(), file.sha256.to_string());
        return Err(ProviderError::digest(id, &expected, &actual));
    }
    let misplaced = match file.kind {
        Kind::Component { .. } => command_key(definition).map(|key| (key, "commands")),
        Kind::Command(_) => definition.reuse.map(|_| ("reuse", "components")),
    };
    match misplaced {
        Some((key, kinds)) => Err(ProviderError::misplaced(id, key, kinds, file.kind)),
        None => Ok(file),
    }
}

/// A provider whose single attempt does not fit would never start one.
fn check_memory(providers: &[Option<PlannedProvider>], budget: u64) -> Result<(), PlanError> {
    let too_large = |provider: &&PlannedProvider| provider.limits.memory > budget;
    let problems: Vec<_> = providers
        .iter()
        .flatten()
        .filter(too_large)
        .map(|provider| {
            let (limit, budget) = (ByteSize(provider.limits.memory), ByteSize(budget));
            let problem = format!("its `limits.memory` of {limit} is more than all attempts may take together, {budget}");
            ProviderError::new(&provider.definition.id, problem)
                .with_help("lower it, or raise `memory` in `[run]`")
        })
        .collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(PlanError::Providers { problems })
}

/// A key of the provider that only commands have.
fn command_key(definition: &Provider) -> Option<&'static str> {
    if definition.protocol.is_some() {
        return Some("protocol");
    }
    if !definition.args.is_empty() {
        return Some("args");
    }
    if definition.stdin.is_some() {
        return Some("stdin");
    }
    (definition.output != scenario::OutputForm::default()).then_some("output")
}

fn nothing_selected(path: &Path, selection: &Selection) -> PlanError {
    let is_everything = *selection == Selection::default();
    PlanError::NothingSelected {
        scenario: path.into(),
        help: if is_everything {
            "its test lists hold no test".into()
        } else {
            format!(
                "`runner exec {} --dry-run` without a selection lists every test",
                path.display()
            )
        },
    }
}

fn birth_provider(provider: &PlannedProvider) -> BirthProvider {
    BirthProvider {
        name: provider.definition.id.to_string(),
        plugin_sha256: provider.file.sha256,
        kind: provider.file.kind.as_str().into(),
        contract: match &provider.file.kind {
            Kind::Component { contract } => Some(contract.to_string()),
            Kind::Command(_) => None,
        },
        reuse: provider.definition.reuse.map(|reuse| reuse.as_str().into()),
        limits: provider.limits,
        grants: provider.definition.grants.clone(),
        folders: provider
            .mounts
            .iter()
            .map(|mount| mount.host.clone())
            .collect(),
    }
}
