//! [`Pool`]: the workers of a session. It starts, prepares and replaces them, passes on their messages, and sends them tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{
    Arc,
    mpsc::{Receiver, Sender},
};
use std::time::{Duration, Instant};
use std::{fs::File, io};

use runner_model::prepare::{Prepare, Ready, SecretValues};
use runner_model::protocol::{FromWorker, Line, MAX_LINE, SlotWord, Task, ToWorker};
use runner_model::{Digest, Reason, TaskId, WorkerId};
use runner_prepare::machine;
use runner_record::JoinedWorker;
use tracing::debug;

use super::copies::Copies;
use super::inputs::{Compared, Connection, Input, Launch, PrestartedWorker};
use super::link::{Phase, WorkerExit};
use super::quota::FrameQuota;
use super::remote::{JoiningWorker, OfferedSession, Remote, RemoteRequest, SourceEvent};
use super::supply::{Content, SessionFile, Supplies, path_text};
use super::worker::PoolWorker;
use crate::schedule::Shape;
use crate::signals::{self, SignalEvent};

/// The session ends when this many workers in a row die before they are ready.
const MAX_FAILED_STARTS: u32 = 3;

/// The workers of a session, and the inputs that its loop waits for.
pub(crate) struct Pool {
    launch: Launch,
    /// The first worker and its events, until it gets its shape.
    first: Option<(Connection, Vec<Input>)>,
    sender: Sender<Input>,
    inputs: Receiver<Input>,
    pub(super) workers: BTreeMap<WorkerId, PoolWorker>,
    /// Number of the newest worker.
    last: u32,
    pub(super) content: Content,
    copies: Copies,
    /// `None` if all workers are on this machine.
    pub(super) remote: Option<Remote>,
    pub(super) plugins: PluginState,
    /// Workers in a row that died before they were ready or while they checked inputs.
    pub(super) failed_starts: u32,
    /// Whether workers may send no more for now; see [`Self::hold_back`].
    pub(super) is_held_back: bool,
    is_paused: bool,
    /// Workers that have exited.
    pub(crate) deaths: u32,
    /// Workers that were killed for a fault.
    pub(crate) faulty: BTreeSet<WorkerId>,
}

/// The progress of the worker that describes the plugins, in order.
#[derive(PartialEq, Eq)]
pub(super) enum PluginState {
    Unknown,
    /// If the worker dies, the next one describes the plugins again.
    Described,
    /// The worker has checked the inputs, too.
    Checked,
}

/// A worker that can take tasks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadyWorker {
    pub(crate) worker: WorkerId,
    pub(crate) shape: Shape,
    /// Whether the worker was started for suspects.
    pub(crate) alone: bool,
}

impl Pool {
    /// Creates a pool without workers; see [`Self::start`].
    ///
    /// # Errors
    ///
    /// The temporary folder cannot be written.
    pub(crate) fn new(
        prestarted: PrestartedWorker,
        supplies: Supplies,
        remote: Option<Remote>,
    ) -> io::Result<Self> {
        let PrestartedWorker { launch, connection, sender, inputs } = prestarted;
        Ok(Self {
            launch,
            first: Some((connection, Vec::new())),
            inputs,
            workers: BTreeMap::new(),
            last: 0,
            copies: Copies::new(sender.clone(), supplies.blobs.clone()),
            content: Content::new(supplies, sender.clone())?,
            sender,
            remote,
            plugins: PluginState::Unknown,
            failed_starts: 0,
            is_held_back: false,
            is_paused: false,
            deaths: 0,
            faulty: BTreeSet::new(),
        })
    }

    /// Waits for an input that the owner acts on. `None` if none came within `wait`, or the pool has handled all that came.
    pub(crate) fn next(&mut self, mut wait: Duration) -> Option<Input> {
        loop {
            let input = self.inputs.recv_timeout(wait).ok()?;
            wait = Duration::ZERO;
            let input = match (input, &mut self.first) {
                // Until then there is no other worker.
                (input @ (Input::Messages(..) | Input::Exited(..)), Some((_, early))) => {
                    early.push(input);
                    None
                }
                (Input::Messages(worker, messages), None) => self.receive(worker, messages),
                (Input::Exited(worker, exit), None) => self.handle_exit(worker, exit),
                (Input::Supplied(content, result), _) => {
                    self.supplied(content, result);
                    None
                }
                (Input::Source(SourceEvent::Joined(joining)), _) => {
                    let joined = self.join(joining);
                    self.check_started(joined);
                    None
                }
                (Input::Source(SourceEvent::Notice(notice)), _) => {
                    if let Some(remote) = &mut self.remote {
                        remote.last_notice = Some(notice.clone());
                    }
                    Some(Input::Notice(notice))
                }
                (input, _) => Some(input),
            };
            if input.is_some() {
                return input;
            }
        }
    }

    /// Adds an input.
    pub(super) fn send(&self, input: Input) {
        // This is the receiver.
        let _ = self.sender.send(input);
    }

    /// Returns the problems of providers as lines, with the reason for the run's failure.
    pub(crate) fn problems(&self, ready: &Ready) -> Option<(Reason, String)> {
        self.supplies().problems(ready)
    }

    /// Returns whether workers wait for a plugin or a blob.
    pub(crate) fn is_supplying(&self) -> bool {
        self.content.is_awaited()
    }

    /// Waits until all workers have exited, at most for `time`. A signal ends the wait. Returns their last messages.
    pub(crate) fn wait_for_exits(&mut self, time: Duration) -> Vec<(WorkerId, Vec<FromWorker>)> {
        let until = Instant::now() + time;
        let mut last = Vec::new();
        while !self.workers.is_empty() {
            match self.next(until.saturating_duration_since(Instant::now())) {
                Some(Input::Messages(worker, messages)) => last.push((worker, messages)),
                Some(Input::Signal(SignalEvent::Stop(..))) => break,
                Some(Input::Signal(SignalEvent::Suspend)) => signals::suspend(),
                None if Instant::now() >= until => break,
                _ => {}
            }
        }
        last
    }

    /// Holds back workers whose reports arrive faster than the disk takes the rows, or lets them send again. They may send
    /// the items that their sinks allow.
    pub(crate) fn hold_back(&mut self, is_held_back: bool) {
        self.is_held_back = is_held_back;
        if !is_held_back {
            self.workers.values_mut().for_each(PoolWorker::take_items);
        }
    }

    /// Starts a worker of each shape. The prestarted worker becomes the first. If attempts run on other machines, it only
    /// describes plugins and runs graders.
    ///
    /// # Errors
    ///
    /// No process can be started.
    pub(crate) fn start(&mut self, shapes: &[Shape]) -> io::Result<()> {
        let has_graders = self.has_graders();
        let shapes = shapes
            .iter()
            .map(|shape| Shape { graders: if has_graders { shape.slots } else { 0 }, ..*shape });
        if self.remote.is_none() {
            return shapes.into_iter().try_for_each(|shape| self.add(shape, false));
        }
        let mut all = Shape { slots: 0, graders: 0, memory: 0 };
        for shape in shapes {
            all.graders += shape.graders;
            all.memory += shape.memory;
        }
        self.add(all, false)
    }

    /// Offers the session to workers on other machines, if attempts run there.
    ///
    /// # Errors
    ///
    /// A message for the user.
    pub(crate) fn offer(&mut self) -> Result<(), String> {
        let Supplies { run, session, scenario, .. } = &self.content.supplies;
        let session =
            OfferedSession { run: run.clone(), session: *session, scenario: scenario.clone() };
        let inputs = self.sender();
        let sink = Box::new(move |event| {
            // Without a receiver the session has ended.
            let _ = inputs.send(Input::Source(event));
        });
        if let Some(remote) = &mut self.remote {
            remote.offer = Some(remote.request.source.offer(session, sink)?);
        }
        Ok(())
    }

    /// Ends the prestarted worker.
    pub(crate) fn drop_prestarted(&mut self) {
        if self.first.take().is_some() {
            // The worker's exit is reported under its id, which no other worker may get.
            self.last += 1;
        }
    }

    /// Returns a sender for further inputs of [`Self::next`].
    pub(crate) fn sender(&self) -> Sender<Input> {
        self.sender.clone()
    }

    fn supplies(&self) -> &Supplies {
        &self.content.supplies
    }

    fn has_graders(&self) -> bool {
        self.supplies().providers.iter().any(|prepared| prepared.provider.grading.is_some())
    }

    /// Starts the worker for suspects, with one slot. If attempts run on other machines, graders have one of their own here.
    pub(crate) fn start_alone(&mut self, for_grader: bool) -> io::Result<()> {
        if self.remote.is_some() && !for_grader {
            return self.connect_spare();
        }
        let memory = self.workers.values().map(|entry| entry.shape.memory).max();
        let memory = memory.unwrap_or_else(machine::memory);
        let slots = u32::from(self.remote.is_none());
        self.add(Shape { slots, graders: u32::from(self.has_graders()), memory }, true)
    }

    fn new_id(&mut self) -> WorkerId {
        self.last += 1;
        WorkerId(self.last)
    }

    /// Starts and prepares a worker on this machine.
    fn add(&mut self, shape: Shape, alone: bool) -> io::Result<()> {
        let worker = self.new_id();
        let (connection, early) = match self.first.take() {
            Some(first) => first,
            None => (Connection::open(worker, &self.sender, &mut self.launch)?, Vec::new()),
        };
        // The worker sends no more before it is prepared.
        early.into_iter().for_each(|event| self.send(event));
        self.prepare(worker, connection, shape, alone, false)
    }

    /// Connects a worker that joins from another machine, unless it is kept for suspects.
    fn join(&mut self, joining: JoiningWorker) -> io::Result<()> {
        if self.is_closing() {
            return Ok(());
        }
        let remote = self.remote.as_mut();
        let admitted = remote.and_then(|remote| remote.admit(joining));
        admitted.map_or(Ok(()), |joining| self.connect(joining))
    }

    /// Connects a worker for suspects on another machine, or the next one that joins.
    fn connect_spare(&mut self) -> io::Result<()> {
        let spare = self.remote.as_mut().and_then(Remote::take_spare);
        spare.map_or(Ok(()), |spare| self.connect(spare))
    }

    fn connect(&mut self, joining: JoiningWorker) -> io::Result<()> {
        let worker = self.new_id();
        let shape = joining.shape();
        if let Some(remote) = &mut self.remote {
            remote.add(worker, joining.name);
        }
        let connect = |sink| Ok((joining.connect)(sink));
        let connection = Connection::open(worker, &self.sender, connect)?;
        self.prepare(worker, connection, shape, joining.is_spare, true)
    }

    /// Prepares a worker. One on another machine gets no secrets, and its supervisor fills in the folders.
    fn prepare(
        &mut self,
        worker: WorkerId,
        connection: Connection,
        shape: Shape,
        alone: bool,
        is_remote: bool,
    ) -> io::Result<()> {
        let supplies = &self.content.supplies;
        let describes = !is_remote
            && self.plugins == PluginState::Unknown
            && !self.workers.values().any(|entry| entry.describes);
        debug!(worker = worker.0, ?shape, describes, "a worker is started");
        let mut prepare = Prepare {
            run: supplies.run.clone(),
            session: supplies.session,
            cache: String::new(),
            blobs: String::new(),
            scratch: String::new(),
            // Checks of inputs need a slot.
            slots: shape.slots.max(1),
            grader_slots: shape.graders,
            memory: shape.memory,
            grace: supplies.grace,
            describe: describes,
            quick: supplies.quick,
            providers: supplies.providers.clone(),
            secrets: SecretValues::default(),
        };
        if !is_remote {
            prepare.cache = path_text(supplies.cache.path())?;
            prepare.blobs = path_text(&self.content.blobs())?;
            let scratch = self.content.make_scratch(worker)?;
            prepare.scratch = path_text(&scratch)?;
            self.copies.add(worker, scratch);
            prepare.secrets = supplies.secrets.clone();
        }
        let quota = FrameQuota::new(supplies.providers.len(), supplies.blobs.count(), is_remote);
        connection.link.send(ToWorker::Prepare(Box::new(prepare)));
        if self.is_paused {
            connection.link.send(ToWorker::Pause(true));
        }
        let entry = PoolWorker::new(connection, quota, shape, alone, describes, is_remote);
        self.workers.insert(worker, entry);
        Ok(())
    }

    fn handle_exit(&mut self, worker: WorkerId, mut exit: WorkerExit) -> Option<Input> {
        let entry = self.workers.remove(&worker)?;
        self.content.forget(worker);
        // The end of the session removes all folders at once.
        self.copies.exited(worker, (!self.is_closing()).then(|| self.content.folder()));
        let PoolWorker { shape, alone, describes, is_remote, phase, .. } = entry;
        if !entry.is_trusted() {
            self.faulty.insert(worker);
        }
        entry.explain(&mut exit);
        let has_checked = self.plugins == PluginState::Checked || !describes;
        if !has_checked {
            self.plugins = PluginState::Unknown;
        }
        let failed_to_start = !is_remote && (phase < Phase::Ready || !has_checked);
        self.failed_starts += u32::from(failed_to_start);
        let ends_session =
            failed_to_start && self.failed_starts == MAX_FAILED_STARTS && !self.is_closing();
        if ends_session {
            // No guest has run in a worker of the first phase. Only other processes and the system send SIGKILL: the pool's own
            // kills have another description.
            let (reason, how) = match (phase, machine::with_limit(&exit.how)) {
                _ if exit.how.ends_with("by signal 9") => {
                    let how = format!("{}, as by a system that is short of memory", exit.how);
                    (Reason::Machine, how)
                }
                (Phase::Started, Some(how)) => (Reason::Machine, how),
                (Phase::Started, None) => (Reason::Internal, exit.how.clone()),
                _ => (Reason::Plugin, exit.how.clone()),
            };
            let message = format!(
                "{MAX_FAILED_STARTS} workers in a row ended before they were ready; the last one {how}"
            );
            self.send(Input::Failed(reason, message));
        }
        self.deaths += 1;
        // Workers that exit at the end of a session are not lost.
        if let Some(remote) = self.remote.as_mut().filter(|_| !self.content.is_closing()) {
            remote.remove(worker);
        }
        // The schedule starts another worker for suspects by itself, but only if it knew this one.
        let is_last = self.is_closing() || ends_session || alone && phase == Phase::Working;
        if !is_last {
            // A worker on another machine joins again by itself.
            let started = match (is_remote, alone) {
                (true, false) => Ok(()),
                (true, true) => self.connect_spare(),
                (false, alone) => self.add(shape, alone),
            };
            self.check_started(started);
        }
        Some(Input::Exited(worker, exit))
    }

    fn check_started(&mut self, started: io::Result<()>) {
        if let Err(error) = started {
            let message = machine::failure("cannot start a worker", error);
            self.send(Input::Failed(Reason::Machine, message));
        }
    }

    /// Returns the request for workers on other machines and the last message about a worker. `None` if a worker is connected
    /// or the session needs none.
    pub(crate) fn lacks_workers(&self) -> Option<(&RemoteRequest, Option<&str>)> {
        let remote = self.remote.as_ref()?;
        // A process that joins and stays silent is not a worker.
        let has_worker =
            self.workers.values().any(|entry| entry.is_remote && entry.phase > Phase::Started);
        (!has_worker).then_some((&remote.request, remote.last_notice.as_deref()))
    }

    /// Returns the workers on other machines that have joined, by name.
    pub(crate) fn joined(&self) -> impl Iterator<Item = JoinedWorker> {
        self.remote.iter().flat_map(Remote::joined)
    }

    /// Returns the name of a worker on another machine, also after its exit.
    pub(crate) fn name(&self, worker: WorkerId) -> Option<&Arc<str>> {
        self.remote.as_ref()?.names.get(&worker)
    }

    /// Returns the name of a worker for messages, or its number on this machine.
    pub(crate) fn shown(&self, worker: WorkerId) -> String {
        self.name(worker).map_or_else(|| worker.0.to_string(), ToString::to_string)
    }

    /// Kills a broken or hostile worker. `fault` completes a sentence that starts with it, `task` is the task of an invalid report.
    pub(crate) fn fault(&mut self, worker: WorkerId, task: Option<TaskId>, fault: String) {
        if let Some(entry) = self.workers.get_mut(&worker) {
            debug!(worker = worker.0, fault, "a worker is killed");
            entry.fault(task, fault);
        }
    }

    /// Returns whether messages of a worker still count: not while it is being killed for a fault.
    pub(crate) fn trusts(&self, worker: WorkerId) -> bool {
        self.workers.get(&worker).is_some_and(PoolWorker::is_trusted)
    }

    /// Records a row whose attempt or grader has used a worker's copy of a base. `is_doubted` if the call did not end by itself.
    pub(crate) fn used_base(
        &mut self,
        worker: WorkerId,
        trial: u64,
        base: Digest,
        is_doubted: bool,
    ) {
        self.copies.add_row(worker, trial, base, is_doubted);
    }

    /// Compares the copies of bases that rows have used since the last comparison. Returns whether comparisons are running.
    pub(crate) fn compare_copies(&mut self) -> bool {
        self.copies.start_all()
    }

    /// Drops all comparisons of copies of bases. Returns the number of rows that none covers.
    pub(crate) fn give_up_comparisons(&mut self) -> u64 {
        self.copies.give_up()
    }

    /// Handles the end of a comparison. Returns the trials of the worker's rows since the last one without a difference.
    pub(crate) fn compared(&mut self, compared: &Compared) -> BTreeSet<u64> {
        self.copies.finish(compared)
    }

    /// Kills a worker that has not answered in time.
    pub(crate) fn kill(&self, worker: WorkerId) {
        if let Some(entry) = self.workers.get(&worker) {
            entry.link.kill();
        }
    }

    /// Queues a task for the next [`Self::flush`]. `body` is its test's line, then the row to judge again if it has one.
    pub(crate) fn assign(
        &mut self,
        worker: WorkerId,
        mut task: Task,
        mut body: &[u8],
    ) -> io::Result<()> {
        let Some(entry) = self.workers.get_mut(&worker) else { return Ok(()) };
        let (line, row) = body.split_at(body.len() - task.row_bytes as usize);
        if line.len() > MAX_LINE {
            task.line = Line::Digest(self.content.put_lines(line)?);
            body = row;
        }
        let provider = self.content.supplies.providers.get(usize::from(task.provider));
        entry.assign(task, body, provider.map(|prepared| &prepared.provider.limits));
        Ok(())
    }

    /// Stores lines for workers, which request them by their digest unless they find them in the session's folder.
    pub(crate) fn put_lines(&self, lines: &[u8]) -> io::Result<Digest> {
        self.content.put_lines(lines)
    }

    /// Copies an artifact of a stored row into the session's folder; see [`SessionFile`].
    pub(crate) fn put_artifact(
        &mut self,
        digest: Digest,
        open: impl FnOnce() -> io::Result<File>,
    ) -> io::Result<Option<Arc<SessionFile>>> {
        self.content.put_artifact(digest, open)
    }

    /// Answers the oldest entry of a task without an answer.
    pub(crate) fn answer_entry(&self, worker: WorkerId, task: TaskId) {
        if let Some(entry) = self.workers.get(&worker) {
            entry.link.send(ToWorker::EntryKept(task));
        }
    }

    /// Sends all queued tasks.
    pub(crate) fn flush(&mut self) {
        self.workers.values_mut().for_each(PoolWorker::flush);
    }

    /// Requests that a worker returns all but `keep` of the tasks that it has not started.
    pub(crate) fn take_back(&mut self, worker: WorkerId, keep: u32) {
        if let Some(entry) = self.workers.get_mut(&worker) {
            entry.take_back(keep);
        }
    }

    /// Pauses or continues all guests, including those of later workers.
    pub(crate) fn pause(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
        self.workers.values().for_each(|entry| entry.link.send(ToWorker::Pause(is_paused)));
    }

    /// Sends workers a stop, and kills those that are not ready. No more workers are started.
    pub(crate) fn stop(&mut self, kill: bool) {
        let grace = self.supplies().grace;
        self.close(&ToWorker::Stop { grace, kill });
    }

    /// Lets ready workers exit after their last task, and kills the others. No more workers are started.
    pub(crate) fn finish(&mut self) {
        let teardown = self.keeps_instances();
        self.close(&ToWorker::Finish { teardown });
    }

    /// Returns whether workers keep instances, which they tear down before they exit.
    pub(crate) fn keeps_instances(&self) -> bool {
        self.supplies().providers.iter().any(|prepared| prepared.provider.reuse.is_some())
    }

    fn close(&mut self, last: &ToWorker) {
        self.content.close();
        for entry in self.workers.values() {
            if entry.phase >= Phase::Ready {
                entry.link.send(last.clone());
            } else {
                entry.link.kill();
            }
        }
    }

    fn is_closing(&self) -> bool {
        self.content.is_closing()
    }

    pub(crate) fn len(&self) -> usize {
        self.workers.len()
    }

    /// Returns the slots of all workers with a running task.
    pub(crate) fn slots(&self) -> impl Iterator<Item = SlotWord> + '_ {
        self.workers.values().flat_map(|entry| entry.link.slots())
    }
}
