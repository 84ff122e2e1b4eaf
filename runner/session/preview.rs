//! What a session would run, before it does: takes no run and creates nothing.

use std::collections::BTreeSet;

use jiff::Timestamp;
use miette::miette;

use super::{
    Host, Observe, Resume, Start, protected, replanning, resume, secrets, selecting, start,
};
use crate::{
    error::Error,
    model::{Grants, Limits, PluginRole, ProviderId, RunStatus, TrialId},
    record::{History, NewRunProvider, NextSession, RunId, Store},
    run::{self, Plan},
    scenario::{self, Scenario, ScenarioError, Selection, Suite},
    view::{PlanHead, PlannedAccess, TrialBefore},
};

/// What a session would run.
pub struct Preview {
    plan: Plan,
    of: Of,
}

enum Of {
    /// A new run; these secrets have no value.
    New { missing: BTreeSet<String> },
    /// A run that exists.
    Existing {
        /// Its id.
        run: RunId,
        /// What is known of it before the session would begin.
        before: Box<History>,
        /// The same with what was asked to run again.
        history: Box<History>,
    },
}

/// A trial that would run.
pub struct PendingTrial<'a> {
    /// The trial.
    pub id: &'a TrialId,
    /// Its place in the plan.
    pub ordinal: u64,
    /// The tags of its test.
    pub tags: &'a [String],
    /// What is known of it from its run, if there is one.
    pub before: Option<TrialBefore>,
}

/// What a provider or a grader would be granted.
pub struct PreviewedAccess<'a> {
    /// Whether it is a provider or a grader.
    pub role: PluginRole,
    /// The provider.
    pub provider: &'a ProviderId,
    /// Its limits.
    pub limits: &'a Limits,
    /// Its grants.
    pub grants: &'a Grants,
    /// Those of its secrets that have no value.
    pub missing: BTreeSet<String>,
}

/// Finds out what [`start`](super::start()) would run. Plugins are built if that was asked for.
///
/// # Errors
///
/// Fails where no session could begin, as far as that can be known.
pub fn preview_start(
    request: &Start,
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<Preview, Error> {
    let mut plan = start::plan(request, host, observe)?;
    if let Some(run) = start::run_to_go_on_with(request, &plan)? {
        return preview_resume(&Resume::of_start(request, run), host, observe);
    }
    plan.check_folders(protected::of_start(request, host))
        .map_err(Error::usage)?;
    start::report_idle_grants(&plan, observe);
    let missing = secrets::missing(&plan, &request.secret_files, host, observe)?;
    let of = Of::New { missing };
    Ok(Preview { plan, of })
}

/// Finds out what [`resume`](super::resume()) would run.
///
/// # Errors
///
/// Fails where no session could begin, as far as that can be known.
pub fn preview_resume(
    request: &Resume,
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<Preview, Error> {
    let store = Store::existing_around(&request.run.dir).map_err(Error::record)?;
    host.log.begin();
    let foreseen = store.foresee(&request.run, (host.now)());
    let stored = foreseen.map_err(Error::claim)?;
    resume::check_status(request, stored.manifest())?;
    let rerun = selecting::rerun(request.rerun.as_ref(), &stored, store.root())?;
    let planned = replanning::plan(request, rerun.as_ref(), &stored, true, host, observe)?;
    let (mut plan, rerun) = (planned.plan, planned.rerun);
    let mut protected = protected::of_resume(request, store.root(), host);
    protected.extend(planned.read);
    plan.check_folders(protected).map_err(Error::usage)?;
    resume::check_trials(&stored, &plan)?;
    let history = |rerun| {
        let planned = Some(plan.trial_count());
        let history = stored.history_with(NextSession { rerun, planned });
        history.map(Box::new).map_err(Error::record)
    };
    let (before, history) = (history(None)?, history(rerun.as_ref())?);
    if stored.manifest().status != RunStatus::Completed || rerun.is_some() {
        resume::check_budgets(&mut plan, &stored, &history.state)?;
    }
    let of = Of::Existing {
        run: request.run.id.clone(),
        before,
        history,
    };
    Ok(Preview { plan, of })
}

impl Preview {
    /// How many trials the plan has, those included that have run already.
    pub fn trial_count(&self) -> u64 {
        self.plan.trial_count()
    }

    /// Tells whether it is of a run that exists.
    pub fn is_of_existing_run(&self) -> bool {
        matches!(self.of, Of::Existing { .. })
    }

    /// Tells each trial that would run, in the plan's order, and how many these are.
    ///
    /// # Errors
    ///
    /// Fails if the tests cannot be read back.
    pub fn each_trial(&self, mut tell: impl FnMut(&PendingTrial<'_>)) -> Result<u64, Error> {
        let (before, tests) = match &self.of {
            Of::New { .. } => (None, "the normalised tests"),
            Of::Existing { before, .. } => (Some(before), "the run's tests"),
        };
        let (mut ordinal, mut count) = (0, 0);
        let told = self.plan.each_trial(|id, test| {
            if self.is_pending(ordinal) {
                count += 1;
                tell(&PendingTrial {
                    id,
                    ordinal,
                    tags: &test.tags,
                    before: before.map(|before| trial_before(before, ordinal)),
                });
            }
            ordinal += 1;
        });
        told.map_err(|error| Error::internal(miette!("cannot read {tests}: {error}")))?;
        Ok(count)
    }

    /// Tells whether any trial would run.
    pub(super) fn has_pending(&self) -> bool {
        (0..self.plan.trial_count()).any(|ordinal| self.is_pending(ordinal))
    }

    /// Tells whether a trial of the plan would run.
    fn is_pending(&self, ordinal: u64) -> bool {
        match &self.of {
            Of::New { .. } => true,
            Of::Existing { history, .. } => history.state.is_pending(ordinal),
        }
    }

    /// The plan without its trials, as it is `now`.
    pub(crate) fn head(&self, now: Timestamp) -> PlanHead {
        let new_run = self.plan.new_run(now);
        let (run, missing) = match &self.of {
            Of::New { missing } => (None, Some(missing)),
            Of::Existing { run, .. } => (Some(run.to_string()), None),
        };
        let mut secrets = self.plan.secrets().map(|(_, names)| names);
        let mut access = |plugins: Vec<NewRunProvider>| -> Vec<_> {
            let plugins = plugins.into_iter().zip(&mut secrets);
            plugins
                .map(|(plugin, mut secrets)| {
                    secrets.retain(|name| missing.is_some_and(|missing| missing.contains(name)));
                    PlannedAccess {
                        provider: plugin.manifest(),
                        missing_secrets: secrets.into_iter().collect(),
                    }
                })
                .collect()
        };
        PlanHead {
            scenario: new_run.scenario.name,
            path: new_run.scenario.path_as_given,
            plan_digest: new_run.plan_digest,
            run,
            planned: new_run.planned,
            pending: (0..new_run.planned)
                .filter(|ordinal| self.is_pending(*ordinal))
                .count() as u64,
            jobs: self.plan.jobs(),
            providers: access(new_run.providers),
            graders: access(new_run.graders),
        }
    }

    /// What providers of a new run would be granted; nothing of a run that exists, which has it in its manifest.
    pub fn access(&self) -> impl Iterator<Item = PreviewedAccess<'_>> {
        let missing = match &self.of {
            Of::New { missing } => Some(missing),
            Of::Existing { .. } => None,
        };
        let providers =
            missing.map(|missing| (missing, self.plan.access().zip(self.plan.secrets())));
        providers.into_iter().flat_map(|(missing, providers)| {
            providers.map(|((role, provider, limits, grants), (_, mut secrets))| {
                secrets.retain(|name| missing.contains(name));
                PreviewedAccess {
                    role,
                    provider,
                    limits,
                    grants,
                    missing: secrets,
                }
            })
        })
    }
}

/// What is known of a trial before the session that would run it.
fn trial_before(before: &History, ordinal: u64) -> TrialBefore {
    TrialBefore {
        outcome: before.state.outcome(ordinal),
        attempts: before.state.attempts(ordinal),
        deaths: before.deaths.get(&ordinal).copied().unwrap_or(0),
    }
}

/// Checks a scenario, its tests, and the folders that it grants; the observer hears what does nothing in it. Plugins have to
/// be there, but are not opened.
///
/// # Errors
///
/// Fails with everything that is wrong with the scenario, or with the first folder that may not be granted.
pub fn validate(
    scenario: &std::path::Path,
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<(Scenario, Suite), Error> {
    let scenario = scenario::load(scenario).map_err(Error::usage)?;
    start::report_idle_axes(&scenario, observe);
    let everything = Selection::default();
    let suite = scenario::normalise(&scenario, &everything);
    let suite = suite.map_err(|error: ScenarioError| Error::usage(error))?;
    start::report_idle_graders(&scenario, &suite, observe)?;
    let protected = protected::of_process(host);
    run::check_scenario(&scenario, Some(&suite), &everything, protected).map_err(Error::usage)?;
    Ok((scenario, suite))
}
