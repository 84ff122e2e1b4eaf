//! [`WorkerSource`]: workers on other machines, which join a session while it runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, fs::File, io, mem};

use runner_model::{Digest, Time, WorkerId, worker_of};
use runner_record::{JoinedWorker, now};

use super::link::{EventSink, WorkerLink};
use crate::schedule::Shape;

/// A session whose attempts run on other machines. Plugins are described and checked on this machine, and graders run here.
#[derive(Clone, Debug)]
pub struct RemoteRequest {
    /// Finds the workers.
    pub source: Arc<dyn WorkerSource>,
    /// Time without any worker after which the session ends.
    pub patience: Duration,
}

/// A way to find workers on other machines.
pub trait WorkerSource: fmt::Debug + Send + Sync {
    /// Offers a session to workers until the result is dropped. Sends events from other threads.
    ///
    /// # Errors
    ///
    /// A message for the user.
    fn offer(&self, session: OfferedSession, events: SourceSink) -> Result<Arc<dyn Offer>, String>;

    /// Returns the address at which workers find the session, for messages. It has no password.
    fn address(&self) -> String;

    /// Returns the command that starts a worker for the session, for messages.
    fn worker_command(&self) -> String;
}

/// The session that workers are offered.
#[derive(Clone, Debug)]
pub struct OfferedSession {
    /// The run's id.
    pub run: String,
    /// The session's number, from 1.
    pub session: u32,
    /// Name of the scenario.
    pub scenario: String,
}

/// A session that workers can join.
pub trait Offer: Send + Sync {
    /// Makes requested content available to workers. Returns once they can fetch it.
    ///
    /// # Errors
    ///
    /// The content cannot be read or passed on.
    fn publish(&self, digest: &Digest, content: File) -> io::Result<()>;
}

/// Receives the events of a source.
pub type SourceSink = Box<dyn Fn(SourceEvent) + Send + Sync>;

/// An event of a source.
pub enum SourceEvent {
    /// A worker joins the session.
    Joined(JoiningWorker),
    /// A message for the user and `runner.log`.
    Notice(String),
}

/// A worker process on another machine, before it gets a number.
pub struct JoiningWorker {
    /// Name of the worker and number of the process, such as `gpu-3f2a/1`.
    pub name: String,
    /// Attempts that run at once.
    pub slots: u32,
    /// Bytes for the memories of all guests together.
    pub memory: u64,
    /// Whether the process is spare: only for attempts that may have ended a worker, with one slot.
    pub is_spare: bool,
    /// Returns whether the worker has disconnected and can be dropped.
    pub is_gone: Box<dyn Fn() -> bool + Send>,
    /// Connects the worker. The worker's events go to the sink, and [`LinkEvent::Exited`](super::LinkEvent) is the last.
    pub connect: Box<dyn FnOnce(EventSink) -> Box<dyn WorkerLink> + Send>,
}

impl JoiningWorker {
    pub(super) fn shape(&self) -> Shape {
        Shape { slots: if self.is_spare { 1 } else { self.slots }, graders: 0, memory: self.memory }
    }
}

/// The state of a session whose attempts run on other machines.
pub(crate) struct Remote {
    pub(super) request: RemoteRequest,
    /// Attempts that may run at once on all workers together. `None` without a bound.
    pub(super) jobs: Option<u32>,
    /// Workers for suspects that no suspect has needed yet. Dropped before the offer, which waits for them to end.
    spare: Vec<JoiningWorker>,
    /// `None` before the session starts.
    pub(super) offer: Option<Arc<dyn Offer>>,
    /// Whether a suspect waits for a spare worker.
    needs_spare: bool,
    /// Last message about a worker. It may explain why the run has no worker.
    pub(super) last_notice: Option<String>,
    /// Failures to publish content that workers wait for, since content was published or a task reported.
    pub(super) failed_supplies: u32,
    /// Last message about such a failure.
    pub(super) supply_notice: Option<String>,
    /// Names of all processes that have joined.
    pub(super) names: HashMap<WorkerId, Arc<str>>,
    /// Number of connected processes by worker, and the time at which the last one was lost.
    joined: BTreeMap<String, (u32, Option<Time>)>,
}

impl Remote {
    pub(crate) fn new(request: RemoteRequest, jobs: Option<u32>) -> Self {
        Self {
            request,
            jobs,
            spare: Vec::new(),
            offer: None,
            needs_spare: false,
            last_notice: None,
            failed_supplies: 0,
            supply_notice: None,
            names: HashMap::new(),
            joined: BTreeMap::new(),
        }
    }

    /// Adds a process that is being connected.
    pub(super) fn add(&mut self, process: WorkerId, name: String) {
        let (processes, lost_at) = self.joined.entry(worker_of(&name).to_owned()).or_default();
        *processes += 1;
        *lost_at = None;
        self.names.insert(process, name.into());
    }

    /// Removes a process that has exited.
    pub(super) fn remove(&mut self, process: WorkerId) {
        let name = self.names.get(&process).map(|name| worker_of(name));
        if let Some((processes, lost_at)) = name.and_then(|name| self.joined.get_mut(name)) {
            *processes -= 1;
            *lost_at = (*processes == 0).then(now);
        }
    }

    /// Returns the workers that have joined, by name.
    pub(super) fn joined(&self) -> impl Iterator<Item = JoinedWorker> {
        let joined = self.joined.iter();
        joined.map(|(worker, (_, lost_at))| JoinedWorker {
            worker: worker.clone(),
            lost_at: *lost_at,
        })
    }

    /// Returns a worker that joins if it is to be connected now. A spare one is kept until a suspect needs it.
    pub(super) fn admit(&mut self, joining: JoiningWorker) -> Option<JoiningWorker> {
        if !joining.is_spare || mem::take(&mut self.needs_spare) {
            return Some(joining);
        }
        // Otherwise processes of disconnected workers would use up the session's links and threads.
        self.spare.retain(|spare| !(spare.is_gone)());
        self.spare.push(joining);
        None
    }

    /// Returns a worker for suspects. If there is none, the next one that joins is for them.
    pub(super) fn take_spare(&mut self) -> Option<JoiningWorker> {
        // The newest one is the least likely to have disconnected.
        let spare = self.spare.pop();
        self.needs_spare = spare.is_none();
        spare
    }
}
