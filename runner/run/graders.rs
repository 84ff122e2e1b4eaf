//! Graders as a session has them: what they are, their lanes, and the pool that executes them in this process.
//!
//! Their slots are beside those of the run, so that a slow grader keeps no provider waiting.

use std::{io, iter, path::Path, sync::Arc};

use tokio::{runtime::Handle, sync::mpsc::UnboundedSender};

use super::{
    attempt::Budget,
    dispatcher::{GradingParts, Lane},
    grading::{Backlog, GraderRole, Graders, Ungraded, UngradedParts, Unjudged},
    local::{Executor, Pool, PoolHost, ReadyProvider},
    plan::{Fingerprints, Plan, PlannedGrader, PlannedProvider, of_grader},
    seam::{Capacity, FromExecutors, GRADERS, MachineName},
};
use crate::{
    judge::AnswerForm,
    model::Digest,
    plugin::{Interrupt, MemoryBudget},
    record::{ContentPaths, GradingDeaths, InFlight, LineError, RunReader, State, WrittenAttempt},
    scenario::OutputForm,
};

/// What graders are executed with.
pub(super) struct GraderHost<'a> {
    pub(super) plan: &'a Plan,
    /// What all attempts wait for where not all of them can have all that they may.
    pub(super) memory: Option<MemoryBudget>,
    pub(super) dispatcher: UnboundedSender<FromExecutors>,
    /// Where guests run.
    pub(super) guests: Handle,
    /// Ends them.
    pub(super) interrupt: Interrupt,
    /// Where plugins are.
    pub(super) content: ContentPaths,
    /// Where it is noted what they are asked.
    pub(super) in_flight: InFlight,
}

impl GraderHost<'_> {
    /// Begins with the pool of the graders, if there are any, and says that it has joined.
    pub(super) fn begin(
        self,
        graders: Vec<Option<ReadyProvider>>,
    ) -> (Option<Pool>, Option<FromExecutors>) {
        let slots = self.plan.grader_slots();
        if slots == 0 {
            return (None, None);
        }
        let content = self.content;
        let executor = Executor {
            providers: graders,
            seed: self.plan.options().seed(),
            blobs: Box::new(move |digest| content.path(digest)),
            budget: Budget {
                cap: self.plan.time_cap,
            },
            memory_share: self.plan.memory_share(),
            memory: self.memory,
        };
        let host = PoolHost {
            who: GRADERS,
            guests: self.guests,
            interrupt: self.interrupt,
            in_flight: Some(self.in_flight.for_graders(self.plan.jobs())),
            run_dir: None,
            dispatcher: self.dispatcher,
            closed: Box::new(|_| ()),
        };
        let mut pool = Pool::new(executor, host);
        (0..slots).for_each(|slot| pool.open(slot));
        let joined = FromExecutors::Joined {
            who: GRADERS,
            // The pool itself waits for memory, with all others.
            capacity: Capacity {
                slots,
                memory: u64::MAX,
            },
            machine: MachineName::default(),
        };
        (Some(pool), Some(joined))
    }
}

/// What grades in a session of a run with so many trials, what is on disk to be judged, and what may have killed the process
/// when it was graded.
pub(super) fn parts(
    plan: &Plan,
    graders: Arc<Graders>,
    planned: u64,
    backlog: Backlog,
    deaths: GradingDeaths,
) -> GradingParts {
    let lanes = plan.graders.iter().enumerate();
    GradingParts {
        lanes: lanes
            .filter_map(|(place, grader)| {
                let grader = grader.as_ref()?;
                let PlannedProvider {
                    definition, limits, ..
                } = &grader.plugin;
                let most = plan.grader_concurrency(grader);
                Some(Lane::of_grader(place, definition, most, limits.memory))
            })
            .collect(),
        backlog,
        planned,
        graders,
        deaths,
        poison_after: plan.options().poison_after(),
    }
}

/// The graders of a plan.
pub(super) fn of_plan(plan: &Plan) -> Arc<Graders> {
    let roles = plan
        .graders
        .iter()
        .map(|grader| Some(role(grader.as_ref()?, plan)));
    Arc::new(Graders {
        roles: roles.collect(),
        plain: plan
            .providers
            .iter()
            .map(|provider| {
                provider
                    .as_ref()
                    .is_some_and(|provider| provider.is_plain())
            })
            .collect(),
        scenario: Digest::of(plan.scenario().text().as_bytes()),
    })
}

fn role(grader: &PlannedGrader, plan: &Plan) -> GraderRole {
    let form = match grader.plugin.is_plain() {
        false => AnswerForm::Reply,
        true => AnswerForm::of_command(grader.plugin.definition.output == OutputForm::Json),
    };
    GraderRole {
        definition: grader.definition.clone(),
        form,
        digest: of_grader(grader, plan.options()),
    }
}

/// The attempts of earlier sessions that have yet to be graded, in the order of their rows.
///
/// # Errors
///
/// Fails if the run cannot be read.
pub(super) fn ungraded(
    plan: &Plan,
    state: &State,
    run_dir: &Path,
    fingerprints: &Arc<Fingerprints>,
    graders: &Arc<Graders>,
) -> io::Result<Backlog> {
    if !(0..plan.trial_count()).any(|ordinal| state.is_ungraded(ordinal)) {
        return Ok(Box::new(iter::empty()));
    }
    let reader = RunReader::open(run_dir).map_err(io::Error::other)?;
    let mut tests = plan.suite().reader();
    let state = state.clone();
    let (fingerprints, graders) = (Arc::clone(fingerprints), Arc::clone(graders));
    let attempts = reader.written_attempts().map_err(io::Error::other)?;
    Ok(Box::new(attempts.map(move |attempt| {
        let WrittenAttempt { row, answers, .. } = match attempt {
            Ok(attempt) => attempt,
            Err(LineError::Damaged { .. }) => return Ok(None),
            Err(LineError::Io(error)) => return Err(error),
        };
        let is_latest = state.attempts(row.ordinal) == row.attempt;
        if !is_latest || !state.is_ungraded(row.ordinal) {
            return Ok(None);
        }
        let (test, provider, _) = tests.at(row.ordinal)?;
        let parts = UngradedParts {
            is_plain: graders.is_plain(provider),
            fingerprint: fingerprints.judgement(&test),
            answers,
            row,
            test,
        };
        Ok(Some(Unjudged::ungraded(Ungraded::stored(parts, &reader))))
    })))
}
