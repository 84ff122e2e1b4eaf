//! [`preview_rescore`]: a worker judges the stored outputs of a run by their expectations. No grader is called, and the run is
//! not changed.

use std::collections::BTreeMap;

use runner_model::{Outcome, Places as _, RunTime, TaskId, TrialId, WorkerId};
use runner_record::{Fold, RunDir};

use super::in_flight::{TasksInFlight, left_of};
use super::rescore::{PreparedRescore, changed, find};
use crate::plan::{Ids, Plan, StoredRow, unreadable};
use crate::schedule::Assignment;
use crate::validate::{describe, read_secrets};
use crate::workers::{PrestartedWorker, prestart};
use crate::{Decision, EngineError, RescoreRequest, SessionRequest, error::machine_error};

/// Judgements that the worker has at the same time.
const WINDOW: usize = 64;

/// The sums of a preview of `rescore`.
#[derive(Debug)]
pub struct RescorePreview {
    /// Number of trials that would be judged.
    pub judged: u64,
    /// Changes of outcomes, such as `3 failed → passed`. Those that graders decide about become `ungraded`.
    pub changes: Vec<String>,
    /// By the name of a grader the number of outputs that it would be called for.
    pub graders: BTreeMap<String, u64>,
}

/// The judgement of a stored output, without calls of graders.
#[derive(Debug)]
pub struct Rejudgement {
    /// The present outcome.
    pub before: Outcome,
    /// `Ungraded` if graders would be called.
    pub after: Outcome,
    /// The graders that would be called.
    pub graders: Vec<String>,
}

/// Previews [`rescore`](crate::rescore): calls `notice` with each message for the user, then `each` for every trial in the order
/// of the plan. Writes to the plugin cache only.
///
/// # Errors
///
/// Errors that `rescore` would return before it claims the run, or a worker that fails.
pub fn preview_rescore(
    request: &RescoreRequest,
    notice: &mut dyn FnMut(&str),
    each: &mut dyn FnMut(&TrialId, &Decision, Option<&Rejudgement>),
) -> Result<RescorePreview, EngineError> {
    let prestarted = prestart()?;
    let (request, root, dir, notices) = find(request)?;
    let PreparedRescore { plan: mut rescored, fold, notices: further } = dir.snapshot(|| {
        let manifest = dir.truth()?;
        PreparedRescore::new(&root, &dir, &manifest, &request)
    })?;
    notices.iter().chain(&further).for_each(|text| notice(text));
    let judged = judge(prestarted, &mut rescored.plan, &fold, &dir, &request.session)?;
    let plan = &rescored.plan;
    let mut ids = Ids::new(&plan.suite, &plan.scenario.providers);
    for trial in 0..plan.suite.trials() {
        let id = ids.trial(trial).map_err(|source| unreadable(&root, source))?;
        each(&id, &rescored.decision(trial), judged.get(&trial));
    }
    let (mut changes, mut graders) = (BTreeMap::new(), BTreeMap::new());
    for Rejudgement { before, after, graders: called } in judged.into_values() {
        *changes.entry((before, after)).or_default() += 1;
        for grader in called {
            *graders.entry(grader).or_default() += 1;
        }
    }
    Ok(RescorePreview { judged: plan.rejudge.count(), changes: changed(&changes), graders })
}

/// Judges the selected outputs of a run in a worker. Returns the judgements by trial.
fn judge(
    prestarted: PrestartedWorker,
    plan: &mut Plan,
    fold: &Fold,
    dir: &RunDir,
    session: &SessionRequest,
) -> Result<BTreeMap<u64, Rejudgement>, EngineError> {
    let (mut judged, mut next) = (BTreeMap::new(), plan.rejudge.next(0));
    if next.is_none() {
        return Ok(judged);
    }
    let mut problems = plan.find_folders(&session.secret_files, Some(&session.results));
    // No guest is called, so secrets need no values.
    read_secrets(plan, &session.secret_files)?;
    let (mut probe, _, found) = describe(prestarted, plan)?;
    problems.extend(plan.scenario.provider_problems(&found));
    EngineError::check(problems)?;
    let mut in_flight = TasksInFlight::default();
    loop {
        while in_flight.all.len() < WINDOW
            && let Some(trial) = next
        {
            next = plan.rejudge.next(trial + 1);
            let place = plan.rejudge.place(trial);
            let stored = place.and_then(|place| StoredRow::read(dir, place));
            // Another process has changed the run since.
            let Some(stored) = stored else { continue };
            let assignment = Assignment {
                task: TaskId(trial + 1),
                trial,
                grader: None,
                attempt: 1,
                tries: 1,
                trial_started: None,
            };
            let left = left_of(plan, dir, probe.pool(), &assignment, &stored);
            let left = left.map_err(machine_error)?;
            let (now, worker) = (RunTime(0), WorkerId(0));
            let task = in_flight.add(plan, now, worker, &assignment, Some(stored), None);
            let sent = task.and_then(|(task, line)| probe.assign(task, line));
            in_flight.keep(assignment.task, left);
            sent.map_err(machine_error)?;
        }
        if in_flight.all.is_empty() {
            return Ok(judged);
        }
        let report = probe.next_report();
        let (head, body) = report.map_err(|error| error.into_error("outputs were judged"))?;
        let Some(flight) = in_flight.all.remove(&head.task) else { continue };
        let report = flight.check_judged(&head, &body, 0, None).map_err(bad_report)?;
        let row = report.row().map_err(bad_report)?;
        let rejudgement = Rejudgement {
            before: fold.trial(flight.trial).outcome.unwrap_or(Outcome::Ungraded),
            after: row.outcome,
            graders: flight.next_graders(&row).map(|grader| grader.name.to_string()).collect(),
        };
        judged.insert(flight.trial, rejudgement);
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn bad_report(fault: String) -> EngineError {
    EngineError::Usage(format!("the worker {fault}"))
}
