//! Dry runs of starts, resumes and rescores.
//!
//! Each runs the command line with `--dry-run --json` as a process, which can be ended after a time: a dry run compiles plugins.

use std::{collections::BTreeMap, ffi::OsString, ops::ControlFlow, time::Duration};

use runner_operations::{launch::LaunchError, preview::preview};
use runner_record::ManifestProvider;
use runner_report::{
    MissingGrants, PlanLine, PlanPart, RescoreChange, RescoreLine, ResumeLine, VERSION,
};
use runner_scenario::GrantsToml;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::{runtime::Handle, sync::Semaphore};

use super::{HttpProblem, Result, command_words::CommandWords};

/// Number of dry runs at the same time, of all connections.
static DRY_RUNS: Semaphore = Semaphore::const_new(2);
/// Time limit of a dry run, which may compile plugins.
const WITHIN: Duration = Duration::from_secs(120);
/// Trials that an answer lists.
const MAX_LISTED: usize = 100;

/// The plan of a start.
#[derive(Serialize, JsonSchema)]
pub(super) struct PlanDocument {
    /// Always [`VERSION`].
    v: u8,
    #[schemars(with = "PlanLine<'static>")]
    plan: Box<RawValue>,
    /// Grants of the providers and graders, as tables of a scenario.
    grants: Vec<String>,
    /// The real folders, files and secrets that the scenario uses, a sentence for each.
    access: Vec<String>,
    /// Access that plugins request and the scenario does not grant.
    missing_grants: Vec<MissingGrants>,
    /// The first trials, up to 100.
    trials: Vec<String>,
    /// The command that starts the same run.
    command: String,
}

/// Trials that a resume would run.
#[derive(Serialize, JsonSchema)]
pub(super) struct ResumePlan {
    /// Always [`VERSION`].
    v: u8,
    /// Number of trials that would run.
    pending: u64,
    /// The first of these trials, up to 100.
    trials: Vec<PendingTrial>,
    /// The command that does the same.
    command: String,
}

#[derive(Serialize, JsonSchema)]
struct PendingTrial {
    trial: String,
    /// Reason, for people.
    why: String,
}

/// Trials that a rescore would judge.
#[derive(Serialize, JsonSchema)]
pub(super) struct RescorePlan {
    /// Always [`VERSION`].
    v: u8,
    /// Number of trials that would be judged.
    judged: u64,
    /// Number of trials whose outcome would change.
    changed: u64,
    outcomes: Vec<OutcomeChange>,
    /// Outputs for which a grader would be called, by the grader's name.
    graders: BTreeMap<String, u64>,
    /// The command that does the same.
    command: String,
}

/// Trials with the same outcomes before and after.
#[derive(Serialize, JsonSchema)]
struct OutcomeChange {
    before: String,
    /// `ungraded` if a grader has to decide.
    after: String,
    trials: u64,
}

/// Plans a start.
pub(super) fn plan(words: &CommandWords<'_>) -> Result<PlanDocument> {
    let mut plan = None;
    let mut trials = Vec::new();
    let mut problems = Vec::new();
    let mut grants = Vec::new();
    let mut access = Vec::new();
    let mut missing_grants = Vec::new();
    let ended = dry_run(words, &mut |line| {
        match serde_json::from_str::<PlanLine<'_>>(line).map(|line| line.part) {
            Ok(PlanPart::Plan { providers, access: lines, .. }) => {
                access = lines.into_owned();
                plan = RawValue::from_string(line.to_owned()).ok();
                grants = providers.iter().flat_map(tables).collect();
                missing_grants = providers.iter().filter_map(MissingGrants::of).collect();
            }
            Ok(PlanPart::Trial { trial }) => trials.push(trial.to_string()),
            Ok(PlanPart::Problem { problem }) => problems.push(problem),
            Err(_) => {}
        }
        if trials.len() < MAX_LISTED { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    match (ended, plan) {
        (Err(LaunchError::Ended { messages, .. }), _) if !problems.is_empty() => {
            Err(HttpProblem::of_scenario(problems, messages))
        }
        (ended, plan) => {
            ended?;
            let plan = plan.ok_or_else(HttpProblem::internal)?;
            let command = words.shown();
            Ok(PlanDocument { v: VERSION, plan, grants, access, missing_grants, trials, command })
        }
    }
}

/// Returns the grants of a provider as a table of a scenario.
fn tables(provider: &ManifestProvider) -> Vec<String> {
    GrantsToml::from(&provider.grants).table(provider.table(), &provider.name)
}

/// Previews a resume.
pub(super) fn resume(words: &CommandWords<'_>) -> Result<ResumePlan> {
    let mut pending = 0;
    let mut trials = Vec::new();
    dry_run(words, &mut |line| {
        if let Ok(ResumeLine { trial, why, runs: true, .. }) = serde_json::from_str(line) {
            pending += 1;
            if trials.len() < MAX_LISTED {
                trials.push(PendingTrial { trial: trial.to_string(), why: why.into_owned() });
            }
        }
        ControlFlow::Continue(())
    })??;
    Ok(ResumePlan { v: VERSION, pending, trials, command: words.shown() })
}

/// Previews a rescore.
pub(super) fn rescore(words: &CommandWords<'_>) -> Result<RescorePlan> {
    let mut judged = 0;
    let mut outcomes = BTreeMap::<_, u64>::new();
    let mut graders = BTreeMap::<_, u64>::new();
    dry_run(words, &mut |line| {
        let rescored = serde_json::from_str::<RescoreLine<'_>>(line).ok();
        if let Some(rescored) = rescored.filter(|rescored| rescored.judged) {
            judged += 1;
            if let Some(RescoreChange { before, after, graders: called }) = rescored.change {
                *outcomes.entry((before.to_string(), after.to_string())).or_default() += 1;
                for grader in called.iter() {
                    *graders.entry(grader.clone()).or_default() += 1;
                }
            }
        }
        ControlFlow::Continue(())
    })??;
    let change = |((before, after), trials)| OutcomeChange { before, after, trials };
    let outcomes: Vec<_> = outcomes.into_iter().map(change).collect();
    let changes = outcomes.iter().filter(|change| change.before != change.after);
    let changed = changes.map(|change| change.trials).sum();
    Ok(RescorePlan { v: VERSION, judged, changed, outcomes, graders, command: words.shown() })
}

/// Runs a command with `--dry-run --json`, and calls `each` with the lines of its output.
fn dry_run(
    words: &CommandWords<'_>,
    each: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> Result<Result<(), LaunchError>> {
    let words = words.words(&["--dry-run", "--json"])?;
    let words: Vec<_> = words.into_iter().map(OsString::from).collect();
    let _permit = Handle::current().block_on(DRY_RUNS.acquire());
    Ok(preview(&words, WITHIN, each))
}
