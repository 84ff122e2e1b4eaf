//! [`Plan`]: a scenario whose plugins are found and whose trials are known; and its [`PlannedProvider`]s.

use std::{
    collections::BTreeMap,
    io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytesize::ByteSize;

use super::{
    ceiling::Ceiling,
    error::{PlanError, ProviderError},
    names::{TrialNames, stored_scenario},
};
use crate::{
    model::{Limits, TrialId, cores},
    plugin::{self, Kind, Mount, PluginFile, SandboxPool, Secrets},
    record::{RecordError, RunReader},
    run::spending::Spending,
    scenario::{
        Budgets, FailFast, Grader, Protocol, Provider, RunOptions, Scenario, Selection, Suite, Test,
    },
};

/// How many attempts run at once, if nobody says so, where some wait for servers: as many as a server that limits its rate
/// bears from one client.
const NET_JOBS: usize = 16;

/// A scenario whose plugins are found, hashed and sniffed, and whose trials are enumerated. Nothing is compiled yet.
pub struct Plan {
    pub(in crate::run) scenario: Scenario,
    pub(in crate::run) suite: Suite,
    /// The tests of the whole plan, where this one has the trials of a shard; known of a plan of live files alone.
    pub(super) whole: Option<Suite>,
    /// By the provider's place in the scenario; `None` for one without trials.
    pub(in crate::run) providers: Vec<Option<PlannedProvider>>,
    /// By the grader's place in the scenario; `None` for one that no test names.
    pub(in crate::run) graders: Vec<Option<PlannedGrader>>,
    /// What holds instead of what the scenario says; it is stored with the run.
    pub(super) overrides: RunOptions,
    /// What holds.
    pub(super) options: RunOptions,
    /// `--limit time=…`.
    pub(in crate::run) time_cap: Option<Duration>,
    pub(super) memory: u64,
    /// What this process has room for.
    pub(super) most_jobs: usize,
    /// The cores that others leave.
    pub(in crate::run) cores: usize,
    pub(super) path: PathBuf,
    pub(super) selection: Selection,
    /// What may be used up of what attempts measure, and is by earlier sessions.
    pub(in crate::run) spending: Spending,
    /// The values of the secrets that are granted, by name; empty until [`Plan::set_secrets`].
    pub(super) secrets: BTreeMap<String, String>,
    /// Whether workers on other machines make its attempts.
    pub(super) is_spread: bool,
}

/// Which processes make the attempts of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::run) enum Staffing {
    /// This one.
    Own,
    /// So many workers, from the first attempt on.
    Workers(usize),
    /// This one, and so many workers as soon as there is enough to do.
    OnceItPays(usize),
}

/// What a plan is put together from.
pub(super) struct PlanParts {
    pub(super) scenario: Scenario,
    pub(super) suite: Suite,
    pub(super) whole: Option<Suite>,
    pub(super) providers: Vec<Option<PlannedProvider>>,
    pub(super) graders: Vec<Option<PlannedGrader>>,
    pub(super) overrides: RunOptions,
    pub(super) selection: Selection,
    pub(super) path: PathBuf,
}

impl Plan {
    /// Puts the parts of a plan together, wherever they come from.
    pub(super) fn of_parts(parts: PlanParts, ceiling: &Ceiling) -> Result<Self, PlanError> {
        let options = parts.overrides.over(parts.scenario.options());
        let memory = options.memory;
        let memory = memory.unwrap_or_else(plugin::most_of_the_memory);
        let graders = parts.graders.iter().flatten();
        let plugins = graders.map(|grader| &grader.plugin);
        check_memory(parts.providers.iter().flatten().chain(plugins), memory)?;
        let graders = parts.scenario.graders().iter().map(Grader::name);
        let budgets = budgets(&parts.scenario, &parts.overrides)?;
        let spending = Spending::new(&budgets).with_graders(graders);
        Ok(Self {
            scenario: parts.scenario,
            suite: parts.suite,
            whole: parts.whole,
            providers: parts.providers,
            graders: parts.graders,
            overrides: parts.overrides,
            options,
            time_cap: ceiling.time,
            memory,
            most_jobs: usize::MAX,
            cores: cores(),
            path: parts.path,
            selection: parts.selection,
            spending,
            secrets: BTreeMap::new(),
            is_spread: false,
        })
    }

    /// Counts what earlier sessions have used up of the run's budgets.
    ///
    /// # Errors
    ///
    /// Fails if the rows cannot be read.
    pub fn count_spent(&mut self, run: &RunReader) -> Result<(), RecordError> {
        self.spending.read(run)
    }

    /// Tells whether another plan is run in the same way: with the same options and budgets.
    pub fn goes_as(&self, other: &Self) -> bool {
        self.options == other.options && self.spending == other.spending
    }

    /// Which budgets keep every trial that `is_pending` from beginning; `None` if one may begin.
    ///
    /// # Errors
    ///
    /// Fails if the tests cannot be read.
    pub fn used_up(&self, is_pending: impl Fn(u64) -> bool) -> io::Result<Option<String>> {
        if let Some(used_up) = self.spending.used_up() {
            return Ok(Some(used_up));
        }
        let Some(used_up) = self.spending.used_up_by_providers() else {
            return Ok(None);
        };
        let mut tests = self.suite.reader();
        let mut is_any_pending = false;
        for ordinal in (0..self.trial_count()).filter(|ordinal| is_pending(*ordinal)) {
            is_any_pending = true;
            let (_, provider, _) = tests.at(ordinal)?;
            let provider = &self.scenario.providers()[provider];
            if !self.spending.is_used_up_by(provider.id.as_str()) {
                return Ok(None);
            }
        }
        Ok(is_any_pending.then_some(used_up))
    }

    /// Which budget of the run or of a grader keeps every grader from being asked; `None` if none does.
    pub fn used_up_by_graders(&self) -> Option<String> {
        self.spending.used_up()
    }

    /// How many trials there are.
    pub fn trial_count(&self) -> u64 {
        self.suite.trial_count()
    }

    /// The scenario.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Calls `each` with every trial and its test, in the plan's order.
    ///
    /// # Errors
    ///
    /// Fails if the normalised tests cannot be read.
    pub fn each_trial(&self, mut each: impl FnMut(&TrialId, &Test)) -> io::Result<()> {
        let mut reader = self.suite.reader();
        for index in 0..self.suite.test_count() {
            let test = reader.test(index)?;
            for provider in test.providers.iter() {
                for repeat in test.repeats.iter() {
                    let trial = TrialId {
                        test: test.id.clone(),
                        provider: self.scenario.providers()[provider].id.clone(),
                        repeat,
                    };
                    each(&trial, &test);
                }
            }
        }
        Ok(())
    }

    /// The plugins of its providers, and then those of its graders.
    pub(in crate::run) fn plugins(&self) -> impl Iterator<Item = &PlannedProvider> {
        let graders = self.graders.iter().flatten();
        let providers = self.providers.iter().flatten();
        providers.chain(graders.map(|grader| &grader.plugin))
    }

    /// The same, to be changed.
    pub(super) fn plugins_mut(&mut self) -> impl Iterator<Item = &mut PlannedProvider> {
        let graders = self.graders.iter_mut().flatten();
        let providers = self.providers.iter_mut().flatten();
        providers.chain(graders.map(|grader| &mut grader.plugin))
    }

    /// Tells whether tests name graders.
    pub fn has_graders(&self) -> bool {
        self.graders.iter().any(Option::is_some)
    }

    /// How many providers have trials.
    pub fn provider_count(&self) -> usize {
        self.providers.iter().flatten().count()
    }

    /// How trials are run: by the command line, else by the scenario, else by the defaults.
    pub(in crate::run) fn options(&self) -> &RunOptions {
        &self.options
    }

    /// What holds instead of what the scenario says.
    pub fn overrides(&self) -> &RunOptions {
        &self.overrides
    }

    /// Where the scenario is.
    pub(in crate::run) fn path(&self) -> &Path {
        &self.path
    }

    /// What the memory limits of running attempts may add up to, in bytes.
    pub(in crate::run) fn memory(&self) -> u64 {
        self.memory
    }

    /// The ids of the trials, by their places.
    pub fn names(&self) -> TrialNames {
        TrialNames::with(self.scenario.clone(), &self.suite)
    }

    /// The tests.
    pub(in crate::run) fn suite(&self) -> &Suite {
        &self.suite
    }

    /// How many attempts run at once.
    ///
    /// Where instances are kept, no more than fit into the memory if each is the largest: an instance holds its memory
    /// between attempts, too, which those who admit attempts by their memory limits do not see. So every executor has an
    /// equal share, of which the largest attempt is a part, and never holds more than that.
    pub fn jobs(&self) -> usize {
        let asked = self.options.jobs.map(NonZeroUsize::get);
        let asked = asked
            .unwrap_or_else(|| self.default_jobs())
            .min(self.most_jobs);

        let providers = || self.providers.iter().flatten();
        if providers().all(|provider| provider.definition.reuse.is_none()) {
            return asked;
        }
        let largest = providers().map(|provider| provider.limits.memory).max();
        let fitting = self.memory / largest.unwrap_or_default().max(1);
        usize::try_from(fitting).map_or(asked, |fitting| asked.min(fitting))
    }

    /// As many as there are cores, or more where a provider may wait for servers instead of computing.
    pub(in crate::run) fn default_jobs(&self) -> usize {
        match self.reaches_servers() {
            true => self.cores.max(NET_JOBS),
            false => self.cores,
        }
    }

    /// How many threads its attempts compute on at once.
    pub fn threads(&self) -> usize {
        self.jobs().min(self.cores)
    }

    /// Tells whether a provider may send requests to servers.
    pub(super) fn reaches_servers(&self) -> bool {
        let mut providers = self.providers.iter().flatten();
        providers.any(PlannedProvider::reaches_servers)
    }

    /// How many attempts of a provider run at once, if not as many as there is room for. Those that only compute leave the
    /// executors beyond the cores to others, which nobody has asked for.
    pub(in crate::run) fn concurrency(&self, provider: &PlannedProvider) -> Option<usize> {
        let own = provider.definition.concurrency.map(Into::into);
        if self.is_spread {
            return own;
        }
        let is_default = self.options.jobs.is_none() && self.jobs() > self.cores;
        own.or((is_default && !provider.reaches_servers()).then_some(self.cores))
    }

    /// How many attempts of a grader run at once: those of graders have executors of their own.
    pub(in crate::run) fn grader_concurrency(&self, grader: &PlannedGrader) -> usize {
        if let Some(own) = grader.plugin.definition.concurrency {
            return own.into();
        }
        let most = match grader.plugin.reaches_servers() {
            true => self.cores.max(NET_JOBS),
            false => self.cores,
        };
        let asked = self.options.jobs.map_or(most, NonZeroUsize::get);
        asked.min(most)
    }

    /// How many attempts of graders run at once.
    pub(in crate::run) fn grader_slots(&self) -> usize {
        let graders = self.graders.iter().flatten();
        graders.map(|grader| self.grader_concurrency(grader)).sum()
    }

    /// Which processes make the attempts.
    ///
    /// Each worker has its part of the memory, which the largest attempt must fit into.
    pub(in crate::run) fn staffing(&self) -> Staffing {
        let providers = || self.providers.iter().flatten();
        let largest = providers().map(|provider| provider.limits.memory).max();
        let fitting = self.memory / largest.unwrap_or_default().max(1);
        let most = usize::try_from(fitting)
            .unwrap_or(usize::MAX)
            .min(self.jobs());
        if self.is_spread || providers().next().is_none() {
            // Nothing runs here but graders, which have executors of their own.
            return Staffing::Own;
        }
        let Some(asked) = self.options.workers else {
            let workers = self.cores.min(most);
            // An instance that is kept is not made again for each attempt, which is what workers are quicker at; and to move
            // to another process it would be torn down.
            let keeps = providers().any(|provider| provider.definition.reuse.is_some());
            // Attempts that wait for each other's memory do so in one process.
            return match workers > 1 && !keeps && !self.is_memory_scarce() {
                true => Staffing::OnceItPays(workers),
                false => Staffing::Own,
            };
        };
        match usize::try_from(asked).unwrap_or(usize::MAX).min(most) {
            0 => Staffing::Own,
            workers => Staffing::Workers(workers),
        }
    }

    /// The sandboxes that live at a time, on so many threads: one for each executor and for each instance that it keeps, and
    /// one in which plugins say what they are.
    pub fn pool(&self, threads: usize) -> SandboxPool {
        let providers = || self.providers.iter().flatten();
        let reused = providers().filter(|provider| provider.definition.reuse.is_some());
        let graders = self.grader_slots() / (1 + reused.count());
        let mut pool = self.pool_of(self.jobs() + graders, threads);
        for grader in self.graders.iter().flatten() {
            pool.add(&grader.plugin.file, &grader.plugin.limits);
        }
        pool
    }

    /// The same for so many of the executors.
    pub(in crate::run) fn pool_of(&self, executors: usize, threads: usize) -> SandboxPool {
        let providers = || self.providers.iter().flatten();
        let reused = providers().filter(|provider| provider.definition.reuse.is_some());
        let each = 1 + reused.count();
        let mut pool = SandboxPool::new(executors.saturating_mul(each).saturating_add(1), threads);
        for provider in providers() {
            pool.add(&provider.file, &provider.limits);
        }
        pool
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
    pub(in crate::run) fn fail_fast(&self) -> Option<u64> {
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
}

/// The budgets of a run and of its providers; what the command line or an earlier session says goes first.
fn budgets(scenario: &Scenario, overrides: &RunOptions) -> Result<Budgets, PlanError> {
    let said = overrides.budget.clone().unwrap_or_default();
    for (of, _) in said.iter() {
        let Some(provider) = &of.provider else {
            continue;
        };
        let mut known = scenario.plugins();
        if !known.any(|known| known.id.as_str() == provider) {
            return Err(PlanError::Budget {
                budget: of.to_string(),
                provider: provider.clone(),
            });
        }
    }
    let own = scenario.options().budget.clone().unwrap_or_default();
    let plugins = scenario.plugins();
    let all = plugins.fold(own, |all, provider| all.with(&provider.budgets));
    Ok(all.with(&said))
}

/// What to say with `--budget` when the run is gone on with whose budgets are used up, as far as that can be read.
pub fn larger_budgets(run: &RunReader) -> Option<Vec<String>> {
    let scenario = stored_scenario(run)?;
    let overrides = RunOptions::of_stored(&run.manifest().options);
    let mut spending = Spending::new(&budgets(&scenario, &overrides).ok()?);
    spending.read(run).ok()?;
    Some(spending.larger())
}

/// A grader that tests name.
pub(in crate::run) struct PlannedGrader {
    pub(in crate::run) definition: Grader,
    pub(in crate::run) plugin: PlannedProvider,
}

/// A provider that has trials, or a grader that tests name.
pub(in crate::run) struct PlannedProvider {
    pub(in crate::run) definition: Provider,
    pub(in crate::run) file: PluginFile,
    pub(in crate::run) limits: Limits,
    /// The folders that it is granted.
    pub(in crate::run) mounts: Vec<Mount>,
    /// Empty until [`Plan::set_secrets`].
    pub(in crate::run) secrets: Arc<Secrets>,
}

impl PlannedProvider {
    /// Tells whether it may send requests to servers.
    fn reaches_servers(&self) -> bool {
        !self.definition.grants.net.is_empty()
    }

    /// Tells whether it is a command that is called as the scenario says.
    pub(in crate::run) fn is_plain(&self) -> bool {
        matches!(self.file.kind, Kind::Command(_))
            && self.definition.protocol != Some(Protocol::Json)
    }
}

/// A provider whose single attempt does not fit would never start one.
fn check_memory<'a>(
    providers: impl Iterator<Item = &'a PlannedProvider>,
    budget: u64,
) -> Result<(), PlanError> {
    let too_large = |provider: &&PlannedProvider| provider.limits.memory > budget;
    let problems: Vec<_> = providers
        .filter(too_large)
        .map(|provider| {
            let (limit, budget) = (ByteSize(provider.limits.memory), ByteSize(budget));
            let problem = format!("its `limits.memory` of {limit} is more than all attempts may take together, {budget}");
            ProviderError::new(&provider.definition.id, problem)
                .of(provider.definition.role)
                .with_help("lower it, or raise `memory` in `[run]`")
        })
        .collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(PlanError::Providers { problems })
}
