//! [`Workers`]: how many workers a session has, and what each is told first.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::{
    process::WorkerProgram,
    said_buffer::WINDOW_HERE,
    setup::{Setup, WorkerEngine},
};
use crate::{
    plugin::EngineOptions,
    record::Recorder,
    run::plan::{Plan, Staffing},
};

/// What workers are started with.
#[derive(Clone, Debug)]
pub struct WorkerHost {
    /// Where engines are set up; the compiler is the program that workers are, too.
    pub engine: EngineOptions,
    /// Whether their sandboxes may be pooled.
    pub pools_sandboxes: bool,
    /// The whole environment of a worker.
    pub env: Vec<(&'static str, OsString)>,
}

/// How many workers a session has, and what each is told first.
pub(in crate::run) struct Workers<'a> {
    pub(super) staffing: Staffing,
    pub(super) program: WorkerProgram,
    /// How many slots each has at most.
    pub(super) slots: usize,
    threads: usize,
    count: usize,
    plan: &'a Plan,
    run_dir: PathBuf,
    suite: PathBuf,
    session: u32,
    engine: WorkerEngine,
}

impl<'a> Workers<'a> {
    /// Those of a session of `plan`, which share its jobs.
    pub(in crate::run) fn of(
        plan: &'a Plan,
        recorder: &Recorder,
        host: &WorkerHost,
        scratch_root: &Path,
    ) -> Self {
        let staffing = plan.staffing();
        let count = match staffing {
            Staffing::Own => 1,
            Staffing::Workers(count) | Staffing::OnceItPays(count) => count,
        };
        let slots = plan.jobs().div_ceil(count);
        Self {
            staffing,
            program: WorkerProgram {
                path: host.engine.compiler.clone(),
                env: host.env.clone(),
                scratch_root: scratch_root.to_owned(),
            },
            slots,
            threads: plan.cores.div_ceil(count).min(slots),
            count,
            plan,
            run_dir: recorder.run_dir().to_owned(),
            suite: recorder.content().path(plan.suite().digest()),
            session: recorder.session(),
            engine: WorkerEngine::of(&host.engine, host.pools_sandboxes),
        }
    }

    /// What each is told first. Most sessions are over before there is one.
    pub(super) fn setup(&self) -> Vec<u8> {
        let setup = Setup {
            parent: std::process::id(),
            run_dir: self.run_dir.clone(),
            session: self.session,
            plan: self.plan.handed(),
            suite: self.suite.clone(),
            memory_share: self.plan.memory_share(),
            memory: self
                .plan
                .is_memory_scarce()
                .then(|| self.plan.memory() / self.count as u64),
            slots: self.slots,
            threads: self.threads,
            window: WINDOW_HERE,
            scratch_root: self.program.scratch_root.clone(),
            engine: self.engine.clone(),
        };
        setup.encode()
    }
}
