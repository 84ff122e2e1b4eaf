//! [`Stage`]: the data of a session that exists only in one of its stages.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::mem;
use std::sync::mpsc::Receiver;

use runner_model::{RunTime, TaskId, WorkerId, prepare::Ready, protocol::FromWorker};
use runner_record::{Journals, LiveThread, Manifest, Owned, RowFacts, Writer};
use runner_scenario::Problems;

use super::{in_flight::TasksInFlight, run_log::WorkerLog};
use crate::plan::{Checks, RowPlace};
use crate::workers::ReadyWorker;

/// The stage of a session, in order. A session starts as [`Checking`], and waits only if other sessions use its results root.
pub(super) enum Stage {
    /// The run is being created, and a worker describes the plugins and checks the tests.
    Checking(Checking),
    /// The run exists, and starts once no other session uses its results root.
    Waiting(Owned),
    /// Trials run.
    Running(Running),
    /// The session's end is being written.
    Ending,
}

/// A run on disk whose trials can run.
pub(super) struct ActiveRun {
    pub(super) owned: Owned,
    pub(super) writer: Writer,
    pub(super) live: LiveThread,
    /// Number of the session.
    pub(super) session: u32,
    pub(super) worker_log: WorkerLog,
    /// Message of the first failed write.
    pub(super) failure: Option<String>,
}

impl Stage {
    /// Returns the open run. `None` before it is created and while it waits.
    pub(super) fn run(&mut self) -> Option<&mut ActiveRun> {
        match self {
            Self::Checking(checking) => checking.run.as_mut(),
            Self::Running(running) => Some(&mut running.run),
            Self::Waiting(_) | Self::Ending => None,
        }
    }

    /// Takes the run out of a session that ends. Its writer is closed.
    pub(super) fn end(&mut self) -> Option<Owned> {
        match mem::replace(self, Self::Ending) {
            Self::Checking(checking) => checking.run.map(|run| run.owned),
            Self::Waiting(owned) => Some(owned),
            Self::Running(running) => Some(running.run.owned),
            Self::Ending => None,
        }
    }

    /// Returns the run on disk, also while it waits.
    pub(super) fn owned(&mut self) -> Option<&mut Owned> {
        match self {
            Self::Waiting(owned) => Some(owned),
            stage => stage.run().map(|run| &mut run.owned),
        }
    }

    /// Returns whether the run is new and its checks have not passed. Such a run is removed if it is refused or stopped.
    pub(super) fn is_unreported(&self) -> bool {
        matches!(self, Self::Checking(checking) if checking.is_new)
    }
}

/// A session whose plugins and tests are being checked.
pub(super) struct Checking {
    /// `None` until the run is created.
    pub(super) run: Option<ActiveRun>,
    /// Whether the run is new and not reported.
    pub(super) is_new: bool,
    /// `None` until a worker has described the plugins.
    pub(super) checks: Option<DescribedPlugins>,
    /// Notices from before the run's log exists.
    pub(super) early_notices: Vec<String>,
    /// Problems of a run to remove, without and with their places.
    pub(super) refused: Option<(String, Problems)>,
    /// The compiler that was killed or too slow.
    pub(super) interrupted: Option<String>,
}

/// Described plugins, and the checks of their tests.
pub(super) struct DescribedPlugins {
    pub(super) ready: Ready,
    /// The worker that has described them, and checks the tests.
    pub(super) worker: ReadyWorker,
    pub(super) checks: Checks,
}

impl Checking {
    pub(super) fn new(is_new: bool) -> Self {
        Self {
            run: None,
            is_new,
            checks: None,
            early_notices: Vec::new(),
            refused: None,
            interrupted: None,
        }
    }

    /// Handles a worker's message about a check.
    pub(super) fn receive(&mut self, message: &FromWorker) {
        if let Some(plugins) = &mut self.checks
            && let FromWorker::Report { head, body } = message
        {
            plugins.checks.receive(head, body);
        }
    }

    /// Handles the exit of a worker. If it made the checks, the next one describes the plugins and makes them again.
    pub(super) fn lose(&mut self, worker: WorkerId) {
        self.checks.take_if(|plugins| plugins.worker.worker == worker);
    }

    /// Keeps a notice for the log of the run.
    pub(super) fn add_notice(&mut self, notice: &str) {
        if self.run.is_none() {
            self.early_notices.push(notice.to_owned());
        }
    }
}

/// A session whose trials run.
pub(super) struct Running {
    pub(super) run: ActiveRun,
    /// Start of the stage, in which the first tasks are sent.
    pub(super) started: RunTime,
    pub(super) tasks: TasksInFlight,
    /// Trials and facts of the rows that are not on disk yet, in the order of writing.
    pub(super) unacked: VecDeque<(u64, RowFacts)>,
    /// Calls of attempts without a row.
    pub(super) journals: Journals,
    /// Tasks whose calls are not on disk yet, in the order of writing.
    pub(super) unkept: VecDeque<(WorkerId, TaskId)>,
    /// The newest rows of trials that graders have yet to judge, by trial. Their places are known once they are on disk.
    pub(super) ungraded: BTreeMap<u64, RowPlace>,
    /// Trials with a final row on disk to which graders have yet to add their grades.
    pub(super) partial: BTreeSet<u64>,
    /// Start of the time without a connected worker, and the message about it once that is sent. `None` while a worker is
    /// connected or none is needed.
    pub(super) without_workers: Option<(RunTime, Option<String>)>,
    pub(super) has_lacked_memory: bool,
    /// Plain commands that have printed an answer of the JSON protocol, by index.
    pub(super) answering: HashSet<u16>,
    /// End of the last long wait of a trial.
    pub(super) long_wait: u64,
    /// Selections of trials whose rows are not trusted, each with the number of the last row before it, until that row counts.
    pub(super) reselected: VecDeque<(u64, BTreeSet<u64>)>,
    /// Trials of those selections whose outputs graders are still judging.
    pub(super) distrusted: BTreeSet<u64>,
    /// Comparisons of this session that have found a difference.
    pub(super) differences: u32,
    /// Run time until which a session that is stopped waits for comparisons. `None` before it waits.
    pub(super) compare_until: Option<RunTime>,
}

impl Running {
    pub(super) fn new(run: ActiveRun, started: RunTime) -> Self {
        Self {
            run,
            started,
            tasks: TasksInFlight::default(),
            unacked: VecDeque::new(),
            journals: Journals::default(),
            unkept: VecDeque::new(),
            ungraded: BTreeMap::new(),
            partial: BTreeSet::new(),
            without_workers: None,
            has_lacked_memory: false,
            answering: HashSet::new(),
            long_wait: 0,
            reselected: VecDeque::new(),
            distrusted: BTreeSet::new(),
            differences: 0,
            compare_until: None,
        }
    }

    /// Returns whether rows are not on disk yet.
    pub(super) fn awaits_acks(&self) -> bool {
        !self.unacked.is_empty()
    }

    /// Returns the message about the lack of connected workers, once it is reported.
    pub(super) fn lack_of_workers(&self) -> Option<String> {
        self.without_workers.as_ref().and_then(|(_, lack)| lack.clone())
    }
}

/// The sweep of the results root, which runs on threads of its own.
pub(super) struct Sweep {
    /// Run time of the next one, in microseconds.
    pub(super) next: u64,
    /// The runs that the current one ends. Disconnected at its end.
    pub(super) running: Option<Receiver<Vec<Manifest>>>,
    /// Ids of dead runs that the session has ended.
    pub(super) swept: Vec<String>,
}

impl Sweep {
    pub(super) fn new() -> Self {
        Self { next: u64::MAX, running: None, swept: Vec::new() }
    }
}
