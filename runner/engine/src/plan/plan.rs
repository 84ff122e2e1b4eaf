//! [`Plan`]: a scenario with its suite, plugins and settings.

use std::collections::{HashMap, HashSet};
use std::{
    iter::successors,
    path::{Path, PathBuf},
    sync::Arc,
};

use runner_model::{Budgets, Counts, Places, SessionSettings, digest, row::read_line};
use runner_model::{
    known::Known,
    provider::{PreparedProvider, Provider},
};
use runner_prepare::mounts::{self, FolderReader, Protected};
use runner_prepare::{ContentSource, Fingerprints, Secrets, development, machine, plugins};
use runner_record::{End, Fold, NewSession, PluginCache, ResultsRoot, RunDir};
use runner_scenario::{Problems, Scenario, Suite};

use super::{rejudge::Rejudge, replayed::Replayed};
use crate::schedule::{Bounds, Pending, ScheduleSettings, Shape, Spending, Trials, has_output};
use crate::workers::{Remote, RemoteRequest, Supplies, shapes};
use crate::{EngineError, SessionRequest, trust::usable};

pub(crate) struct Plan {
    pub(crate) scenario: Scenario,
    pub(crate) suite: Suite,
    pub(crate) providers: Vec<PreparedProvider>,
    pub(crate) plugins: ContentSource,
    pub(crate) blobs: ContentSource,
    pub(crate) secrets: Secrets,
    /// The filter of the selection, with the ids of its runs.
    pub(crate) filter: Option<String>,
    /// Messages for the user, shown before the first trial.
    pub(crate) notices: Vec<String>,
    /// Messages about words of the filter that match no test.
    pub(crate) unmatched_words: Vec<String>,
    pub(crate) fingerprints: Fingerprints,
    pub(crate) cache: PluginCache,
    pub(crate) rejudge: Rejudge,
    /// Present if the session only judges the rows of `rejudge`.
    pub(crate) rescored: Option<Rescored>,
    pub(crate) settings: SessionSettings,
    /// The known failures that the session judges by.
    pub(crate) known: Arc<Known>,
    /// The list that the session stores, as JSON. `None` if it judges by that of the session before.
    pub(crate) new_known: Option<String>,
    /// Whether nothing sets the number of jobs. Then attempts without `net` grants have one slot for each core at most.
    has_default_jobs: bool,
    /// Workers on other machines. `None` runs all attempts on this machine.
    pub(super) remote: Option<RemoteRequest>,
    /// Budgets, with the spending of earlier sessions.
    pub(crate) spending: Spending,
    /// The run whose responses guests receive. `None` unless this one replays it.
    pub(crate) replayed: Option<Replayed>,
    /// Number of the recipe for random numbers of deterministic attempts: that of the run, or of the run that is replayed.
    pub(crate) random_recipe: u32,
}

/// A session of `rescore`.
pub(crate) struct Rescored {
    /// The end of the run before the session.
    pub(crate) before: End,
    /// Whether all grades that others than the plan's graders gave are replaced at the end of the session.
    pub(crate) replaces_grades: bool,
}

impl Trials for (&Plan, &Fold) {
    fn next_pending(&self, provider: Option<u16>, from: u64) -> Option<Pending> {
        let (plan, fold) = self;
        let trial = match provider {
            None => plan.rejudge.next(from)?,
            Some(_) if plan.rescored.is_some() => return None,
            Some(provider) => {
                let first = plan.suite.next_trial(provider, from);
                successors(first, |trial| plan.suite.next_trial(provider, trial + 1))
                    .find(|trial| fold.trial(*trial).is_pending && !plan.rejudge.has(*trial))?
            }
        };
        let had_bad = fold.trial(trial).had_bad;
        Some(Pending { trial, attempts: fold.attempts(trial), had_bad })
    }
}

/// Recipe of new runs.
const RANDOM_RECIPE: u32 = 2;

impl Plan {
    /// Creates a plan without secrets and mounts; see [`Self::prepare_grants`].
    pub(crate) fn new(
        scenario: Scenario,
        suite: Suite,
        mut providers: Vec<PreparedProvider>,
        plugins: ContentSource,
        blobs: ContentSource,
        cache: PluginCache,
    ) -> Self {
        let fingerprints = Fingerprints::new(&providers, scenario.run.seed);
        for (index, prepared) in (0..).zip(&mut providers) {
            if let Some(grading) = &mut prepared.provider.grading {
                grading.fingerprint = Some(fingerprints.provider(index));
            }
        }
        Self {
            fingerprints,
            has_default_jobs: scenario.run.concurrency.is_none(),
            settings: SessionSettings {
                jobs: scenario.run.concurrency.unwrap_or_else(|| machine::default_jobs(&scenario)),
                timeout: scenario.timeout,
                grace: scenario.run.grace.into(),
                fail_fast: scenario.run.fail_fast,
                // Only a command line sets the others.
                ..SessionSettings::default()
            },
            known: Arc::default(),
            new_known: None,
            remote: None,
            spending: Spending::default(),
            replayed: None,
            random_recipe: RANDOM_RECIPE,
            secrets: Secrets::default(),
            filter: None,
            notices: Vec::new(),
            unmatched_words: Vec::new(),
            rejudge: Rejudge::default(),
            rescored: None,
            suite,
            scenario,
            providers,
            plugins,
            blobs,
            cache,
        }
    }

    /// Applies the settings of a command line, and resets the spending.
    ///
    /// # Errors
    ///
    /// A budget names an unknown provider.
    pub(crate) fn override_by(&mut self, session: &SessionRequest) -> Result<(), EngineError> {
        self.settings.apply(&session.overrides);
        self.has_default_jobs &= session.overrides.jobs.is_none();
        self.remote.clone_from(&session.remote);
        self.spending = spending(&self.scenario, &self.settings.budgets)?;
        Ok(())
    }

    /// Lets guests receive the responses of another run.
    pub(crate) fn replay(&mut self, run: &RunDir) -> Result<(), EngineError> {
        let mut replayed = Replayed::read(usable(run)?, &self.suite)?;
        self.notices.push(replayed.notice());
        if self.suite.has_max_durations() {
            let notice =
                "`max_duration` is not judged: the time of a replay is not that of the run";
            self.notices.push(notice.to_owned());
        }
        self.replayed = Some(replayed);
        self.random_recipe = run.manifest()?.metadata.random_recipe;
        Ok(())
    }

    /// Returns whether the session runs or judges a trial.
    pub(crate) fn is_left(&self, trial: u64, fold: &Fold) -> bool {
        self.rejudge.has(trial) || self.rescored.is_none() && fold.trial(trial).is_pending
    }

    /// Returns the number of trials that the session runs or judges.
    pub(crate) fn left(&self, fold: &Fold) -> u64 {
        if self.rescored.is_some() { self.rejudge.count() } else { fold.left() }
    }

    /// Returns the manifest's entry of a session that does not wait and selects no trials to run again.
    pub(crate) fn session(&self, writer: &'static str, request: &SessionRequest) -> NewSession {
        NewSession {
            last_seq: 0,
            writer,
            command: request.command.clone(),
            request: request.request.clone(),
            settings: self.settings.clone(),
            suite: None,
            known: self.new_known.as_ref().map(|list| digest(list.as_bytes())),
            graders: Vec::new(),
            replays: self.replayed.as_ref().map(|run| run.key),
            rerun: None,
            pending: None,
            removed: Counts::default(),
            waits: false,
        }
    }

    /// Finds the granted folders: relative to the scenario, or at their stored paths. Returns the problems of the grants.
    /// Writable folders that would expose the secret files or the results root are refused.
    pub(crate) fn find_folders(
        &mut self,
        secret_files: &[PathBuf],
        results: Option<&Path>,
    ) -> Problems {
        let scenario = &self.scenario;
        let cache = &self.cache;
        let path = Path::new(scenario.path());
        let found = mounts::find(&mut self.providers, &scenario.folder, || {
            let mut all = Protected::for_process(cache);
            all.extend(Protected::for_scenario(scenario, path));
            all.extend(
                self.blobs.files().map(|file| Protected::file("an attachment or schema", file)),
            );
            all.extend(secret_files.iter().map(|file| Protected::file("a file of secrets", file)));
            all.extend(results.map(|root| Protected::folder("the results root", root)));
            all
        });
        scenario.provider_problems(&found)
    }

    /// Reads the content of the read-only folders, which is part of the fingerprints. `results` is the results root.
    ///
    /// # Errors
    ///
    /// A folder of a deterministic attempt cannot be read as a whole.
    pub(crate) fn read_folders(&mut self, results: &Path) -> Result<(), EngineError> {
        let notices = FolderReader::new(&self.cache).read_all(&mut self.providers, Some(results));
        self.notices.extend(notices);
        self.check_deterministic(results)?;
        let seed = self.scenario.run.seed;
        for (index, prepared) in (0..).zip(&mut self.providers) {
            // Others have their fingerprints, and the stored providers of `rescore` have no mounts any more.
            if prepared.mounts.iter().all(|folder| folder.content.is_none()) {
                continue;
            }
            self.fingerprints.set(index, prepared, seed);
        }
        // The fingerprint of a grader includes those of its tools.
        for (index, prepared) in (0..).zip(&mut self.providers) {
            if let Some(grading) = &mut prepared.provider.grading {
                grading.fingerprint = Some(self.fingerprints.provider(index));
            }
        }
        Ok(())
    }

    /// Refuses folders whose content is not known or changes with each run, if attempts must be deterministic.
    fn check_deterministic(&self, results: &Path) -> Result<(), EngineError> {
        let results = results.canonicalize().unwrap_or_else(|_| results.to_owned());
        let has_journal = self.scenario.run.deterministic.is_some_and(|run| run.journal.is_some());
        let key = if has_journal { "journal" } else { "deterministic" };
        let mut unread = self.providers.iter().filter(|one| one.provider.deterministic.is_some());
        let unread = unread.find_map(|one| {
            one.mounts.iter().find_map(|folder| {
                let why = if folder.content.is_none() {
                    "is too large to be part of fingerprints"
                } else if results.starts_with(&*folder.host) {
                    "has the results in it"
                } else {
                    return None;
                };
                Some(format!(
                    "the folder `{}` of `{}` {why}, so `{key}` of `[run]` cannot hold",
                    folder.host, one.provider.name
                ))
            })
        });
        unread.map_or(Ok(()), |problem| Err(EngineError::Usage(problem)))
    }

    /// Returns the folders whose content has changed since it was read.
    pub(crate) fn changed_folders(&self) -> Vec<String> {
        FolderReader::new(&self.cache).changed(&self.providers)
    }

    /// Reads the granted secrets, and collects notices on all grants. Returns a problem for each secret without a value.
    ///
    /// # Errors
    ///
    /// A file of secrets cannot be read, or a value cannot be used.
    pub(crate) fn read_secrets(&mut self, files: &[PathBuf]) -> Result<Problems, EngineError> {
        let has_graders = self.providers.iter().any(|one| one.provider.grading.is_some());
        let judge_seed = self.scenario.run.judge_seed.as_deref().filter(|_| has_graders);
        self.secrets = Secrets::read(&self.providers, judge_seed, files)?;
        self.notices.extend(self.secrets.notices.iter().cloned());
        self.notices.extend(plugins::unused_keys(&self.providers, &self.plugins));
        self.notices.extend(development::notices(&self.providers, &self.cache));
        let mut missing = self.secrets.problems(&self.providers);
        // Workers on other machines have the secrets of providers and their tools. Graders and their tools run here.
        // A replay sends nothing, so the host fills in no secrets.
        missing.retain(|problem| self.replayed.is_none() || problem.key == "grants.env");
        let all = self.providers.iter().map(|prepared| &prepared.provider);
        let graders = all.clone().enumerate().filter(|(_, one)| one.grading.is_some());
        let graders = graders.flat_map(|(place, one)| one.tools(all.clone()).chain([place]));
        let here: HashSet<_> = graders.collect();
        missing.retain(|problem| {
            self.remote.is_none() || here.contains(&usize::from(problem.provider))
        });
        let mut problems = self.scenario.provider_problems(&missing);
        if let Some(name) = judge_seed.filter(|_| self.secrets.judge_seed.is_none()) {
            let message = format!("secret `{name}` has no value");
            problems.extend(self.scenario.judge_seed_problem(message, self.secrets.help(name)));
        }
        Ok(problems)
    }

    /// Finds the granted folders and reads the granted secrets.
    ///
    /// # Errors
    ///
    /// All problems of the grants.
    pub(crate) fn prepare_grants(&mut self, session: &SessionRequest) -> Result<(), EngineError> {
        let mut problems = self.find_folders(&session.secret_files, Some(&session.results));
        problems.extend(self.read_secrets(&session.secret_files)?);
        EngineError::check(problems)
    }

    /// Returns everything that workers of a session of `run`, an id, are prepared with. Plugins and blobs are read from the store
    /// of `root` if it is given, or from their files until they are stored there.
    pub(crate) fn supplies(&self, run: &str, session: u32, root: Option<&ResultsRoot>) -> Supplies {
        let read = |contents: &ContentSource| match root {
            Some(root) => contents.stored_in(root),
            None => contents.clone(),
        };
        Supplies {
            run: run.to_owned(),
            session,
            scenario: self.scenario.name.to_string(),
            grace: self.settings.grace.into(),
            providers: self.providers.clone(),
            plugins: read(&self.plugins),
            blobs: read(&self.blobs),
            secrets: self.secrets.values.clone(),
            cache: self.cache.clone(),
            // A new loader is compiled in half of the time, and its author waits.
            quick: development::is_any(&self.providers, &self.cache),
        }
    }

    /// Returns the workers on other machines, and the number of attempts that may run there at once.
    pub(crate) fn remote_workers(&self) -> Option<Remote> {
        let jobs = (!self.has_own_jobs()).then_some(self.settings.jobs);
        self.remote.clone().map(|request| Remote::new(request, jobs))
    }

    /// Returns the place at which workers on other machines find the session.
    pub(crate) fn broker_address(&self) -> Option<String> {
        self.remote.as_ref().map(|remote| remote.source.address())
    }

    /// Returns whether the number of jobs is that of this machine. Without it workers elsewhere run as many attempts as they can.
    fn has_own_jobs(&self) -> bool {
        self.has_default_jobs && self.settings.jobs == machine::default_jobs(&self.scenario)
    }

    /// Returns the settings of the schedule.
    pub(crate) fn schedule_settings(&self) -> ScheduleSettings {
        let providers = self.providers.iter().map(|prepared| &prepared.provider);
        let cores = machine::cores();
        let is_elsewhere = self.remote.is_some();
        let mut session = self.settings.clone();
        if is_elsewhere && self.has_own_jobs() {
            session.jobs = u32::MAX;
        }
        let all = providers.clone();
        let bounds = providers.map(|provider| Bounds {
            concurrency: provider.concurrency.unwrap_or_else(|| {
                let waits = provider.uses_net(all.clone());
                let is_bounded = self.has_default_jobs && !is_elsewhere && !waits;
                if is_bounded && self.settings.jobs > cores { cores } else { 0 }
            }),
            rate: provider.rate,
            memory: reserved_memory(provider, all.clone()),
            unmeasured: provider
                .limits
                .more_stack()
                .saturating_add(provider.tool_memory(all.clone())),
            is_grader: provider.grading.is_some(),
            has_journal: provider.journal().is_some(),
        });
        ScheduleSettings {
            session,
            providers: bounds.collect(),
            planned: self.suite.trials(),
            spending: self.spending.clone(),
        }
    }

    /// Adds the metrics of earlier sessions' rows to the spending.
    ///
    /// # Errors
    ///
    /// The rows cannot be read, or no pending trial can start within the budgets.
    pub(crate) fn count_spending(
        &mut self,
        run: &RunDir,
        is_pending: impl Fn(u64) -> bool,
    ) -> Result<(), EngineError> {
        if !self.spending.is_metered() {
            return Ok(());
        }
        let names = self.scenario.providers.iter().map(|provider| &*provider.name);
        let places: HashMap<&str, u16> = names.zip(0..).collect();
        // A judged row repeats the metrics and grades of the row that it replaces.
        let new = || (self.spending.clone(), HashSet::new());
        let mut refused = Ok(());
        let spent = run.fold_rows(&new, &mut |(spending, counted), _, head, bytes| {
            let row = match read_line(bytes) {
                Ok(row) => row,
                // Without its metrics, a budget would allow too much.
                Err(problem) => {
                    let trial = head.trial;
                    refused = Err(run.refuse_rows(format!(
                        "a line of `{trial}`: {problem}; to run the trial again, remove the line"
                    )));
                    return;
                }
            };
            if row.judged.is_none()
                && let Some(provider) = places.get(&*row.provider)
            {
                spending.add(*provider, &row.metrics);
                if has_output(&row) {
                    spending.count_output(*provider, &row.metrics);
                }
            }
            for grade in &row.grades {
                // Attempts of a grader count from 1 in each session.
                let attempt = (row.attempt, grade.session, grade.attempt);
                let answer = (&row.trial, &*grade.grader, grade.asked, attempt);
                if let Some(grader) = places.get(&*grade.grader)
                    && (!grade.metrics.is_empty() || grade.verdict.is_some())
                    && counted.insert(digest(format!("{answer:?}").as_bytes()))
                {
                    spending.add(*grader, &grade.metrics);
                    if grade.verdict.is_some() {
                        spending.count_output(*grader, &grade.metrics);
                    }
                }
            }
        })?;
        refused?;
        self.spending = spent.0;
        let is_closed = |trial| {
            let provider = self.suite.trial(trial).provider;
            !self.rejudge.has(trial) && self.spending.is_used_up_by(provider)
        };
        let mut pending = (0..self.suite.trials()).filter(|trial| is_pending(*trial));
        let text = match self.spending.used_up() {
            Some(text) => text,
            None if self.spending.larger().is_empty() || !pending.all(is_closed) => return Ok(()),
            None => self.spending.used_up_by_providers(),
        };
        let larger = self.spending.larger();
        let raise: Vec<_> = larger.iter().flat_map(|larger| ["--budget", larger]).collect();
        Err(EngineError::Usage(format!(
            "{text}, so no trial could start; to raise it: {}",
            run.command("resume", &raise)
        )))
    }

    /// Returns the shapes of the workers for `pending` trials.
    pub(crate) fn shapes(&self, pending: u64) -> Vec<Shape> {
        let all = self.providers.iter().map(|prepared| &prepared.provider);
        let largest = all.clone().map(|provider| reserved_memory(provider, all.clone())).max();
        shapes(
            u64::from(self.settings.jobs).min(pending) as u32,
            machine::cores(),
            self.scenario.run.memory.unwrap_or_else(machine::memory),
            largest.unwrap_or(0),
        )
    }
}

/// Returns the bytes to reserve for an attempt and the largest of its tools. A tool has no attempts of its own.
fn reserved_memory<'p>(
    provider: &Provider,
    all: impl DoubleEndedIterator<Item = &'p Provider> + ExactSizeIterator + Clone,
) -> u64 {
    if provider.tool.is_some() {
        return 0;
    }
    provider.limits.all_memory().saturating_add(provider.tool_memory(all))
}

/// Returns the unspent budgets of a scenario and a command line, whose budgets override the scenario's.
///
/// # Errors
///
/// A budget names an unknown provider.
fn spending(scenario: &Scenario, given: &Budgets) -> Result<Spending, EngineError> {
    let mut budgets = scenario.run.budget.clone();
    for provider in &scenario.providers {
        budgets.extend(&provider.budget);
    }
    budgets.extend(given);
    // Tools have no metrics, so each gets the empty name, which no provider has.
    let names = scenario.providers.iter();
    let names: Vec<_> = names.map(|one| if one.tool.is_some() { "" } else { &*one.name }).collect();
    let mut spending = Spending::new(&budgets, &names).map_err(|name| {
        let names: Vec<_> = names.iter().copied().filter(|name| !name.is_empty()).collect();
        let names = names.join("`, `");
        EngineError::Usage(format!(
            "unknown provider `{name}` in a budget; the scenario has `{names}`"
        ))
    })?;
    spending.meter(&scenario.providers);
    Ok(spending)
}
