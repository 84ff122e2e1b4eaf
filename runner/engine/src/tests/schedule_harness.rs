//! Shared parts of the schedule's tests: a small plan, rows, and [`Harness`].

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use runner_model::{
    Budgets, ErrorClass, FailFast, HostFault, Micros, Reason, RunTime, SessionSettings, TaskId,
    WorkerId, row::RowRef, test::ExpectedError,
};

use super::{
    Assignment, Blame, Bounds, Effect, LostReason, Next, Pending, Policy, Schedule,
    ScheduleSettings, Shape, Spending, StopMode, Trials,
};

/// A plan in which every test runs once on every provider.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub(super) tests: u64,
    pub(super) providers: u16,
}

impl Grid {
    pub(super) fn provider(self, index: u64) -> u16 {
        (index % u64::from(self.providers)) as u16
    }

    pub(super) fn count(self) -> u64 {
        self.tests * u64::from(self.providers)
    }
}

/// The pending trials of a grid, each with its attempts on disk, and whether one of them did not pass.
#[derive(Clone, Debug)]
pub(super) struct Todo {
    pub(super) grid: Grid,
    pub(super) pending: Vec<Option<(u32, bool)>>,
    /// The pending trials whose stored rows are judged.
    pub(super) judged: HashSet<u64>,
}

impl Trials for Todo {
    fn next_pending(&self, provider: Option<u16>, from: u64) -> Option<Pending> {
        (from..self.grid.count()).find_map(|trial| {
            let is_judged = self.judged.contains(&trial);
            let own = (!is_judged).then(|| self.grid.provider(trial));
            let state = self.pending[trial as usize];
            let (attempts, had_bad) = state.filter(|_| own == provider)?;
            Some(Pending { trial, attempts, had_bad })
        })
    }
}

/// Returns the shape of a local worker.
pub(super) fn shape(schedule: &Schedule, slots: u32, memory: u64) -> Shape {
    let has_graders = schedule.settings.providers.iter().any(|bounds| bounds.is_grader);
    Shape { slots, graders: if has_graders { slots } else { 0 }, memory }
}

impl Todo {
    pub(super) fn schedule(&self, settings: ScheduleSettings) -> Schedule {
        let left = self.pending.iter().flatten().count();
        Schedule::new(settings, left as u64, self)
    }
}

/// A trial without rows.
pub(super) const FRESH: (u32, bool) = (0, false);

pub(super) const ALONE: bool = true;
/// More than any worker needs.
pub(super) const MEMORY: u64 = 1 << 40;

pub(super) fn settings(concurrency: &[u32]) -> ScheduleSettings {
    ScheduleSettings {
        session: session(64),
        planned: 1000,
        providers: concurrency.iter().map(|most| bounds(*most)).collect(),
        spending: Spending::default(),
    }
}

/// Settings with an hour of time, a second of grace and no budgets.
pub(super) fn session(jobs: u32) -> SessionSettings {
    SessionSettings {
        jobs,
        timeout: Duration::from_secs(3_600),
        grace: Duration::from_secs(1),
        fail_fast: FailFast::Off,
        budgets: Budgets::default(),
    }
}

/// Returns bounds with a concurrency and 1 MiB of memory.
pub(super) fn bounds(concurrency: u32) -> Bounds {
    Bounds {
        concurrency,
        rate: None,
        memory: 1 << 20,
        unmeasured: 0,
        is_grader: false,
        has_journal: false,
    }
}

pub(super) fn ms(millis: u64) -> RunTime {
    RunTime(millis * 1_000)
}

/// Returns a row. `outcome` is the class of an error, or the outcome.
pub(super) fn row(outcome: &str, duration_ms: f64, retry_after_ms: Option<u32>) -> String {
    let mut error = String::new();
    let mut outcome = outcome;
    if let Some(class) = ErrorClass::parse(outcome) {
        outcome = "error";
        error = format!(r#""class":"{class}","#);
    }
    if let Some(millis) = retry_after_ms {
        error += &format!(r#""retry_after_ms":{millis},"#);
    }
    if matches!(outcome, "error" | "timeout" | "stopped") {
        error = format!(r#","error":{{{error}"code":"code","message":"why"}}"#);
    }
    format!(
        r#"{{"v":4,"trial":"t@p#1","test":"t","provider":"p","repeat":1,"attempt":1,"outcome":"{outcome}","started_at":"2026-11-20T09:18:04.015Z","duration_ms":{duration_ms:?},"usage":{{}}{error}}}"#
    )
}

pub(super) fn read(row: &str) -> RowRef<'_> {
    serde_json::from_str(row).unwrap()
}

/// Returns a policy with up to `max` retries of `unavailable` and timeouts.
pub(super) fn retries(max: u32, backoff_ms: u64) -> Policy {
    let mut policy = Policy::default();
    policy.retries.max = max;
    policy.retries.backoff = Micros(backoff_ms * 1_000);
    policy.retries.on = vec![ExpectedError::Class(ErrorClass::Unavailable), ExpectedError::Timeout];
    policy
}

/// Drives a schedule step by step. Rows stay unacknowledged until [`Harness::ack`].
pub(super) struct Harness {
    pub(super) schedule: Schedule,
    pub(super) now: RunTime,
    pub(super) policy: Policy,
    todo: Todo,
    sent: HashMap<TaskId, Assignment>,
}

impl Harness {
    pub(super) fn new(settings: ScheduleSettings, tests: u64) -> Self {
        Self::with(settings, tests, |_| Some(FRESH))
    }

    pub(super) fn with(
        settings: ScheduleSettings,
        tests: u64,
        pending: impl FnMut(u64) -> Option<(u32, bool)>,
    ) -> Self {
        Self::judging(settings, tests, pending, &[])
    }

    /// Creates a session that judges the stored rows of `judged`.
    pub(super) fn judging(
        settings: ScheduleSettings,
        tests: u64,
        pending: impl FnMut(u64) -> Option<(u32, bool)>,
        judged: &[u64],
    ) -> Self {
        let providers = settings.providers.iter().filter(|bounds| !bounds.is_grader).count() as u16;
        let grid = Grid { tests, providers };
        let pending = (0..grid.count()).map(pending).collect();
        let todo = Todo { grid, pending, judged: judged.iter().copied().collect() };
        Self {
            schedule: todo.schedule(settings),
            now: RunTime(0),
            policy: retries(0, 0),
            todo,
            sent: HashMap::new(),
        }
    }

    pub(super) fn apply(&mut self, event: impl FnOnce(&mut Schedule)) -> Vec<Effect> {
        self.schedule.apply(self.now, event)
    }

    pub(super) fn tick(&mut self) -> Vec<Effect> {
        let todo = self.todo.clone();
        let effects = self.apply(|schedule| schedule.tick(&todo));
        for effect in &effects {
            if let Effect::Send { assignment, .. } = effect {
                self.sent.insert(assignment.task, *assignment);
            }
        }
        effects
    }

    /// Returns the rows of lost attempts: trial, attempt, reason and whether the row is final.
    pub(super) fn lost_attempts(&self, effects: &[Effect]) -> Vec<(u64, u32, LostReason, bool)> {
        let lost = effects.iter().map(|effect| match effect {
            Effect::Write { task, lost: Some(reason), is_final, flaky: false, .. } => {
                let attempt = self.sent[task];
                (attempt.trial, attempt.attempt, *reason, *is_final)
            }
            other => panic!("{other:?} is not the row of a lost attempt"),
        });
        lost.collect()
    }

    pub(super) fn tick_at(&mut self, millis: u64) -> Vec<Effect> {
        self.now = ms(millis);
        self.tick()
    }

    /// Adds a worker and returns the tasks that are sent.
    pub(super) fn ready(&mut self, worker: u32, slots: u32, alone: bool) -> Vec<Sent> {
        self.add_worker(worker, slots, MEMORY, alone);
        sent(&self.tick())
    }

    pub(super) fn add_worker(&mut self, worker: u32, slots: u32, memory: u64, alone: bool) {
        let worker = WorkerId(worker);
        let shape = shape(&self.schedule, slots, memory);
        let effects = self.apply(|schedule| schedule.worker_ready(worker, shape, alone));
        assert_eq!(effects, []);
    }

    pub(super) fn returned(&mut self, worker: u32, tasks: &[TaskId]) {
        let effects = self.apply(|schedule| schedule.returned(WorkerId(worker), tasks));
        assert_eq!(effects, []);
    }

    pub(super) fn report(&mut self, worker: u32, task: TaskId, row: &str) -> Vec<Effect> {
        self.report_fault(worker, task, row, None)
    }

    pub(super) fn report_fault(
        &mut self,
        worker: u32,
        task: TaskId,
        row: &str,
        host_fault: Option<HostFault>,
    ) -> Vec<Effect> {
        let policy = self.policy.clone();
        self.apply(|schedule| {
            schedule.report(WorkerId(worker), task, &read(row), Next::Nothing, host_fault, &policy);
        })
    }

    /// Reports a row that this follows.
    pub(super) fn report_next(
        &mut self,
        worker: u32,
        task: TaskId,
        row: &str,
        next: Next,
    ) -> Vec<Effect> {
        let policy = self.policy.clone();
        self.apply(|schedule| {
            schedule.report(WorkerId(worker), task, &read(row), next, None, &policy);
        })
    }

    /// Reports an output or a grade, after which the grader with this index is called.
    pub(super) fn ungraded(&mut self, worker: u32, task: TaskId, grader: u16) -> Vec<Effect> {
        let (policy, row) = (self.policy.clone(), row("ungraded", 1.0, None));
        self.apply(|schedule| {
            schedule.report(
                WorkerId(worker),
                task,
                &read(&row),
                Next::Grader(grader),
                None,
                &policy,
            );
        })
    }

    /// Acknowledges all rows, of which the newest one of `trial` waits for a grader.
    pub(super) fn ack_ungraded(&mut self, trial: u64) -> Vec<Effect> {
        let effects = self.apply(|schedule| schedule.is_on_disk(trial));
        assert_eq!(effects, []);
        self.ack()
    }

    /// Reports a passed attempt.
    pub(super) fn pass(&mut self, worker: u32, task: TaskId, duration_ms: f64) -> Vec<Effect> {
        self.report(worker, task, &row("passed", duration_ms, None))
    }

    pub(super) fn lost(
        &mut self,
        worker: u32,
        started: &[TaskId],
        blame: Option<Blame>,
    ) -> Vec<Effect> {
        let policy = self.policy.clone();
        self.apply(|schedule| {
            schedule.worker_lost(WorkerId(worker), started, blame, &|_| Some(&policy));
        })
    }

    pub(super) fn stop(&mut self, mode: StopMode) -> Vec<Effect> {
        self.apply(|schedule| schedule.stop(mode, Reason::Interrupted, None))
    }

    pub(super) fn acked(&mut self, rows: u64, bytes: u64) {
        let effects = self.apply(|schedule| schedule.acked(rows, bytes));
        assert_eq!(effects, []);
    }

    /// Acknowledges all rows.
    pub(super) fn ack(&mut self) -> Vec<Effect> {
        self.acked(0, 0);
        self.tick()
    }
}

/// Returns bounds of a grader.
pub(super) fn grader(concurrency: u32) -> Bounds {
    Bounds { is_grader: true, ..bounds(concurrency) }
}

/// A sent task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) worker: u32,
    pub(super) task: TaskId,
    pub(super) trial: u64,
    pub(super) attempt: u32,
    pub(super) grader: Option<u16>,
}

impl Sent {
    fn new(worker: WorkerId, assignment: Assignment) -> Self {
        Self {
            worker: worker.0,
            task: assignment.task,
            trial: assignment.trial,
            attempt: assignment.attempt,
            grader: assignment.grader,
        }
    }
}

/// Returns the tasks among effects.
pub(super) fn sent(effects: &[Effect]) -> Vec<Sent> {
    let sent = effects.iter().filter_map(|effect| match effect {
        Effect::Send { worker, assignment } => Some(Sent::new(*worker, *assignment)),
        _ => None,
    });
    sent.collect()
}

/// Returns the trials of tasks.
pub(super) fn trials(sent: &[Sent]) -> Vec<u64> {
    sent.iter().map(|sent| sent.trial).collect()
}

pub(super) fn finish(reason: Option<Reason>) -> Effect {
    Effect::Finish { reason, message: None }
}
