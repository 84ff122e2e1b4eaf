//! [`Plan`]: a scenario with its suite and plugins; what a session works through.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use runner_model::{Budgets, Places, SessionSettings, provider::PreparedProvider, row::read_line};
use runner_prepare::{
    ContentSource, Fingerprints, Secrets, grants, machine,
    mounts::{self, Protected},
};
use runner_record::{Fold, NewSession, PluginCache, ReadLine, ResultsRoot, RunDir};
use runner_scenario::{Problems, Scenario, Suite};

use super::rejudge::Rejudge;
use crate::{
    EngineError, SessionRequest,
    schedule::{Bounds, Pending, ScheduleSettings, Spending, Trials},
    workers::{Shape, Supplies, shapes},
};

/// A scenario with its suite and plugins.
pub(crate) struct Plan {
    pub(crate) scenario: Scenario,
    pub(crate) suite: Suite,
    pub(crate) providers: Vec<PreparedProvider>,
    pub(crate) plugins: ContentSource,
    pub(crate) blobs: ContentSource,
    pub(crate) secrets: Secrets,
    /// What is to be said before the first trial, for people.
    pub(crate) notices: Vec<String>,
    pub(crate) fingerprints: Fingerprints,
    pub(crate) cache: PluginCache,
    /// The trials whose stored output is judged again.
    pub(crate) rejudge: Rejudge,
    pub(crate) settings: SessionSettings,
    /// What of all budgets was used up before this session.
    pub(crate) spending: Spending,
}

impl Trials for (&Suite, &Fold) {
    fn next_pending(&self, provider: u16, mut from: u64) -> Option<Pending> {
        let (suite, fold) = self;
        loop {
            let trial = suite.next_trial(provider, from)?;
            let state = fold.trial(trial);
            if state.is_pending {
                return Some(Pending {
                    trial,
                    attempts: fold.attempts(trial),
                    had_bad: state.had_bad,
                });
            }
            from = trial + 1;
        }
    }
}

impl Plan {
    /// What a scenario says, with its tests, its plugins, and its attachments and schemas. No secrets and folders are found yet.
    pub(crate) fn new(
        scenario: Scenario,
        suite: Suite,
        providers: Vec<PreparedProvider>,
        plugins: ContentSource,
        blobs: ContentSource,
        cache: PluginCache,
    ) -> Self {
        Self {
            fingerprints: Fingerprints::new(&providers, scenario.run.seed),
            settings: SessionSettings {
                jobs: scenario.run.concurrency.unwrap_or_else(machine::cores),
                timeout: scenario.timeout,
                grace: scenario.run.grace.into(),
                fail_fast: scenario.run.fail_fast,
                budgets: Budgets::default(),
            },
            spending: Spending::default(),
            secrets: Secrets::default(),
            notices: Vec::new(),
            rejudge: Rejudge::default(),
            suite,
            scenario,
            providers,
            plugins,
            blobs,
            cache,
        }
    }

    /// Lets what a command line says go before what is set.
    ///
    /// # Errors
    ///
    /// A budget of a provider that there is not.
    pub(crate) fn override_by(&mut self, session: &SessionRequest) -> Result<(), EngineError> {
        self.settings.apply(&session.overrides);
        self.spending = spending(&self.scenario, &self.settings.budgets)?;
        Ok(())
    }

    /// A session of the plan, which does not wait and selects nothing to run again.
    pub(crate) fn session(&self, writer: &'static str, command: &[String]) -> NewSession {
        NewSession {
            writer,
            command: command.to_vec(),
            settings: self.settings.clone(),
            rerun: None,
            pending: None,
            waits: false,
        }
    }

    /// Finds the folders that its providers are granted: relative to the scenario, or where they were when the run began.
    /// No guest may write to files of secrets or to the results root either. Gives what is wrong; it may be nothing.
    pub(crate) fn find_folders(
        &mut self,
        secret_files: &[PathBuf],
        results: Option<&Path>,
    ) -> Problems {
        let (scenario, cache) = (&self.scenario, &self.cache);
        let path = Path::new(scenario.path());
        let protected = || {
            let mut all = Protected::of_process(cache);
            all.extend(Protected::of_scenario(scenario, path));
            all.extend(
                self.blobs.files().map(|file| Protected::file("an attachment or schema", file)),
            );
            let files = secret_files.iter();
            all.extend(files.map(|file| Protected::file("a file of secrets", file)));
            all.extend(results.map(|root| Protected::folder("the results root", root)));
            all
        };
        let found = mounts::find(&mut self.providers, &scenario.folder, protected);
        scenario.provider_problems(&found)
    }

    /// Reads the secrets that its providers are granted, and notes what is to be said of them and of the other grants. Gives
    /// which have no value; it may be none.
    ///
    /// # Errors
    ///
    /// What cannot be read.
    pub(crate) fn read_secrets(&mut self, files: &[PathBuf]) -> Result<Problems, EngineError> {
        self.secrets = Secrets::read(&self.providers, files)?;
        self.notices = self.secrets.notices.clone();
        self.notices.extend(grants::idle(&self.providers, &self.plugins));
        let missing = self.secrets.problems(&self.providers);
        Ok(self.scenario.provider_problems(&missing))
    }

    /// Finds the folders and reads the secrets for a session.
    ///
    /// # Errors
    ///
    /// All that is wrong.
    pub(crate) fn prepare_grants(&mut self, session: &SessionRequest) -> Result<(), EngineError> {
        let mut problems = self.find_folders(&session.secret_files, Some(&session.results));
        problems.extend(self.read_secrets(&session.secret_files)?);
        match problems.count() {
            0 => Ok(()),
            _ => Err(EngineError::Scenario(problems)),
        }
    }

    /// What its workers are prepared with. ContentSource are read from the store of `root`, if there is one.
    pub(crate) fn supplies(&self, session: u32, root: Option<&ResultsRoot>) -> Supplies {
        let read = |contents: &ContentSource| match root {
            Some(root) => contents.stored_in(root),
            None => contents.clone(),
        };
        Supplies {
            name: self.scenario.name.clone(),
            session,
            grace: self.settings.grace.into(),
            providers: self.providers.clone(),
            plugins: read(&self.plugins),
            blobs: read(&self.blobs),
            secrets: self.secrets.values.clone(),
            cache: self.cache.clone(),
        }
    }

    /// What the schedule goes by; the session's time began at 0.
    pub(crate) fn settings(&self) -> ScheduleSettings {
        let providers = self.providers.iter().map(|prepared| &prepared.provider);
        let bounds = providers.map(|provider| Bounds {
            concurrency: provider.concurrency.unwrap_or(0),
            rate: provider.rate,
            memory: provider.limits.memory,
        });
        ScheduleSettings {
            session: self.settings.clone(),
            providers: bounds.collect(),
            planned: self.suite.trials(),
            spending: self.spending.clone(),
        }
    }

    /// Takes from the budgets what the rows of earlier sessions have measured.
    ///
    /// # Errors
    ///
    /// The rows cannot be read, or what is used up lets no trial begin that is pending.
    pub(crate) fn count_spending(
        &mut self,
        run: &RunDir,
        is_pending: impl Fn(u64) -> bool,
    ) -> Result<(), EngineError> {
        if self.spending.is_empty() {
            return Ok(());
        }
        let names = self.scenario.providers.iter().map(|provider| &*provider.name);
        let places: HashMap<&str, u16> = names.zip(0..).collect();
        run.rows(&mut |_, line| {
            // A row that was judged again has the metrics of the row that it stands for.
            if let ReadLine::Row(head, bytes) = line
                && head.judged.is_none()
                && let Ok(row) = read_line(bytes)
                && let Some(provider) = places.get(&*row.provider)
            {
                self.spending.add(*provider, &row.metrics);
            }
        })?;
        let is_closed = |trial| {
            let provider = self.suite.trial(trial).provider;
            self.spending.is_used_up_by(provider)
        };
        let mut pending = (0..self.suite.trials()).filter(|trial| is_pending(*trial));
        let text = match self.spending.used_up() {
            Some(text) => text,
            None if self.spending.larger().is_empty() || !pending.all(is_closed) => return Ok(()),
            None => self.spending.used_up_by_providers(),
        };
        let larger = self.spending.larger().join(" --budget ");
        Err(EngineError::Usage(format!(
            "{text}, so nothing could begin; give more: `runner resume {} --budget {larger}`",
            run.id()
        )))
    }

    /// The workers that the session starts for so many trials. Their slots are together as many as attempts run at once.
    pub(crate) fn shapes(&self, pending: u64) -> Vec<Shape> {
        let limits = self.providers.iter();
        let largest = limits.map(|prepared| prepared.provider.limits.memory).max();
        shapes(
            u64::from(self.settings.jobs).min(pending) as u32,
            machine::cores(),
            self.scenario.run.memory.unwrap_or_else(machine::memory),
            largest.unwrap_or(0),
        )
    }
}

/// The budgets of a scenario and of a command line, before anything is used up.
///
/// # Errors
///
/// A budget of a provider that there is not.
fn spending(scenario: &Scenario, given: &Budgets) -> Result<Spending, EngineError> {
    let mut budgets = scenario.run.budget.clone();
    for provider in &scenario.providers {
        budgets.extend(&provider.budget);
    }
    budgets.extend(given);
    let names: Vec<_> = scenario.providers.iter().map(|provider| &*provider.name).collect();
    Spending::new(&budgets, &names).map_err(|name| {
        let names = names.join("`, `");
        EngineError::Usage(format!(
            "there is a budget for provider `{name}`, and the scenario has `{names}`"
        ))
    })
}
