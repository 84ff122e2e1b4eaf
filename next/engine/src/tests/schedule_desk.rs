//! What tests of the schedule share: a small plan, rows, and one who tells events and keeps the effects.

use runner_model::{
    ErrorClass, HostFault, Micros, Reason, RunTime, TaskId, WorkerId,
    row::RowRef,
    test::{ExpectedError, Retries},
};

use super::{
    Assignment, Blame, Bounds, Effect, Event, Pending, Policy, Schedule, Settings, Spending,
    StopMode, Trials,
};

/// Every test runs once on every provider.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub(super) tests: u64,
    pub(super) providers: u16,
}

impl Trials for Grid {
    fn count(&self) -> u64 {
        self.tests * u64::from(self.providers)
    }

    fn next_trial(&self, provider: u16, from: u64) -> Option<u64> {
        (from..self.count()).find(|index| self.provider(*index) == provider)
    }
}

impl Grid {
    pub(super) fn provider(self, index: u64) -> u16 {
        (index % u64::from(self.providers)) as u16
    }
}

/// No row, and nothing that did not pass.
pub(super) const FRESH: Pending = Pending {
    attempts: 0,
    had_bad: false,
};

pub(super) const ALONE: bool = true;
/// More than any worker needs.
pub(super) const MEMORY: u64 = 1 << 40;

pub(super) fn settings(concurrency: &[u32]) -> Settings {
    Settings {
        jobs: 64,
        providers: concurrency.iter().map(|most| bounds(*most)).collect(),
        fail_fast: None,
        spending: Spending::default(),
        timeout: ms(3_600_000),
        grace: Micros(1_000_000),
    }
}

/// So many at once, each with a MiB of memory.
pub(super) fn bounds(concurrency: u32) -> Bounds {
    Bounds {
        concurrency,
        rate: None,
        memory: 1 << 20,
    }
}

pub(super) fn ms(millis: u64) -> RunTime {
    RunTime(millis * 1_000)
}

/// A row with a word for its outcome, which for an error is its class, and how long it took.
pub(super) fn row(outcome: &str, duration_ms: f64, retry_after_ms: Option<u32>) -> String {
    let mut error = String::new();
    let mut word = outcome;
    if let Some(class) = ErrorClass::parse(outcome) {
        word = "error";
        error = format!(r#""class":"{class}","#);
    }
    if let Some(millis) = retry_after_ms {
        error += &format!(r#""retry_after_ms":{millis},"#);
    }
    if matches!(word, "error" | "timeout" | "stopped") {
        error = format!(r#","error":{{{error}"code":"code","message":"why"}}"#);
    }
    format!(
        r#"{{"v":4,"trial":"t@p#1","test":"t","provider":"p","repeat":1,"attempt":1,"outcome":"{word}","started_at":"2026-11-20T09:18:04.015Z","duration_ms":{duration_ms:?},"usage":{{}}{error}}}"#
    )
}

pub(super) fn read(row: &str) -> RowRef<'_> {
    serde_json::from_str(row).unwrap()
}

/// So many retries of what is unavailable or timed out.
pub(super) fn retries(max: u32, backoff_ms: u64) -> Policy {
    Policy {
        retries: Retries {
            max,
            backoff: Micros(backoff_ms * 1_000),
            on: vec![
                ExpectedError::Class(ErrorClass::Unavailable),
                ExpectedError::Timeout,
            ],
        },
        trial_timeout: None,
    }
}

/// Leads a schedule by hand; acknowledges nothing by itself.
pub(super) struct Desk {
    pub(super) schedule: Schedule<Grid>,
    pub(super) now: RunTime,
    pub(super) policy: Policy,
}

impl Desk {
    pub(super) fn new(settings: Settings, tests: u64) -> Self {
        Self::with(settings, tests, |_| Some(FRESH))
    }

    pub(super) fn with(
        settings: Settings,
        tests: u64,
        pending: impl FnMut(u64) -> Option<Pending>,
    ) -> Self {
        let providers = settings.providers.len() as u16;
        let grid = Grid { tests, providers };
        Self {
            schedule: Schedule::new(settings, grid, pending),
            now: RunTime(0),
            policy: retries(0, 0),
        }
    }

    pub(super) fn tell(&mut self, event: Event<'_>) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.schedule.on(self.now, event, &mut effects);
        effects
    }

    pub(super) fn tick(&mut self) -> Vec<Effect> {
        self.tell(Event::Tick)
    }

    pub(super) fn tick_at(&mut self, millis: u64) -> Vec<Effect> {
        self.now = ms(millis);
        self.tick()
    }

    /// A worker is ready; what is sent then.
    pub(super) fn ready(&mut self, worker: u32, slots: u32, alone: bool) -> Vec<Sent> {
        let effects = self.tell(Event::WorkerReady {
            worker: WorkerId(worker),
            slots,
            memory: MEMORY,
            alone,
        });
        assert_eq!(effects, []);
        sent(&self.tick())
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
        self.tell(Event::Report {
            worker: WorkerId(worker),
            task,
            row: &read(row),
            host_fault,
            policy: &policy,
        })
    }

    /// An attempt passes in so many milliseconds.
    pub(super) fn pass(&mut self, worker: u32, task: TaskId, duration_ms: f64) -> Vec<Effect> {
        self.report(worker, task, &row("passed", duration_ms, None))
    }

    pub(super) fn lost(
        &mut self,
        worker: u32,
        begun: &[TaskId],
        blame: Option<Blame>,
    ) -> Vec<Effect> {
        let policy = self.policy.clone();
        self.tell(Event::WorkerLost {
            worker: WorkerId(worker),
            begun,
            blame,
            policy: Some(&policy),
        })
    }

    pub(super) fn stop(&mut self, mode: StopMode) -> Vec<Effect> {
        self.tell(Event::Stop {
            mode,
            reason: Reason::Interrupted,
            message: None,
        })
    }

    /// Everything is on disk.
    pub(super) fn ack(&mut self) -> Vec<Effect> {
        let effects = self.tell(Event::Acked { rows: 0, bytes: 0 });
        assert_eq!(effects, []);
        self.tick()
    }
}

/// What a task is, with few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) worker: u32,
    pub(super) task: TaskId,
    pub(super) trial: u64,
    pub(super) attempt: u32,
}

impl Sent {
    fn new(worker: WorkerId, assignment: Assignment) -> Self {
        Self {
            worker: worker.0,
            task: assignment.task,
            trial: assignment.trial,
            attempt: assignment.attempt,
        }
    }
}

/// The tasks among effects.
pub(super) fn sent(effects: &[Effect]) -> Vec<Sent> {
    let sent = effects.iter().filter_map(|effect| match effect {
        Effect::Send { worker, assignment } => Some(Sent::new(*worker, *assignment)),
        _ => None,
    });
    sent.collect()
}

/// The indexes of the trials among them.
pub(super) fn trials(sent: &[Sent]) -> Vec<u64> {
    sent.iter().map(|sent| sent.trial).collect()
}

pub(super) fn finish(reason: Option<Reason>) -> Effect {
    Effect::Finish {
        reason,
        message: None,
    }
}
