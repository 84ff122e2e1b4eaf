//! [`Pool`]: the workers of a session. It starts, prepares and replaces them, and sends them tasks.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    env, fs, io, mem,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender},
    },
    time::{Duration, Instant},
};

use runner_model::prepare::{Prepare, SecretValues};
use runner_model::protocol::{FromWorker, Line, MAX_LINE, MAX_TASKS, SlotWord, Task, ToWorker};
use runner_model::visible::shown_path;
use runner_model::{Digest, Reason, TaskId, WorkerId, digest};
use runner_prepare::machine;
use runner_record::Scratch;
use tracing::debug;

use super::inputs::{Input, Launch, PrestartedWorker, event_sink};
use super::link::{
    ContentJob, LinkEvent, Phase, PoolEvent, RequestedContent, Supplies, WorkerExit, WorkerLink,
};
use super::quota::FrameQuota;
use super::remote::{Remote, SourceEvent};
use crate::clock::monotonic;
use crate::schedule::{Blame, Shape};
use crate::signals::{self, SignalEvent};

/// Tasks in one frame.
const BATCH: usize = 64;
/// The session ends when this many workers in a row die before they are ready.
const MAX_FAILED_STARTS: u32 = 3;

/// An input for the owner of the pool.
pub(crate) enum Next {
    Pool(PoolEvent),
    /// The pool has handled the input, and the owner has nothing to do.
    Handled,
    /// An input that is not from a worker.
    Input(Input),
}

/// The workers of a session, and the inputs that its loop waits for.
pub(crate) struct Pool {
    pub(super) launch: Launch,
    /// The first worker, until it gets its shape.
    pub(super) prestarted: Option<(Box<dyn WorkerLink>, Receiver<()>)>,
    /// Events of the first worker before it gets its shape.
    early: Vec<LinkEvent>,
    pub(super) inputs: Sender<Input>,
    received: Receiver<Input>,
    pub(super) events: VecDeque<PoolEvent>,
    last_input: Instant,
    pub(super) workers: BTreeMap<WorkerId, PoolWorker>,
    pub(super) last: u32,
    pub(super) supplies: Supplies,
    pub(super) folder: Scratch,
    /// Set once no more workers are started. Compilations check it and end early.
    pub(super) is_closing: Arc<AtomicBool>,
    /// Workers that wait for a compilation or a copy.
    pub(super) waiting: HashMap<RequestedContent, Vec<WorkerId>>,
    /// Compilations and copies that have not started.
    pub(super) queued: VecDeque<ContentJob>,
    /// Number of running compilations and copies.
    pub(super) supplying: usize,
    /// Whether workers may send no more for now; see [`Self::hold_back`].
    is_held_back: bool,
    pub(super) is_described: bool,
    /// Whether the describing worker has finished checking inputs.
    pub(super) is_checked: bool,
    /// Workers in a row that died before they were ready or while they checked inputs.
    pub(super) failed_starts: u32,
    /// Failures in a row to publish content that workers on other machines wait for.
    pub(super) failed_supplies: u32,
    pub(super) is_paused: bool,
    /// `None` if all workers are on this machine.
    pub(super) remote: Option<Remote>,
    /// Workers that have exited.
    pub(crate) deaths: u32,
}

pub(super) struct PoolWorker {
    pub(super) link: Box<dyn WorkerLink>,
    /// Items for the unread events; see [`event_sink`].
    pub(super) unread: Receiver<()>,
    /// Items to take while workers are held back.
    read: usize,
    quota: FrameQuota,
    pub(super) shape: Shape,
    pub(super) alone: bool,
    pub(super) describes: bool,
    pub(super) phase: Phase,
    pub(super) compile_key: String,
    pub(super) tasks: Vec<Task>,
    pub(super) body: Vec<u8>,
    /// Plugins that the worker has requested, because the cache lacked them.
    pub(super) requested_plugins: Vec<Digest>,
    /// `TakeBack` messages without an answer.
    pub(super) open_take_backs: u32,
    /// The fault that the worker is being killed for, as the rest of a sentence, and the task of an invalid report.
    pub(super) fault: Option<(String, Option<TaskId>)>,
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
        let folder = Scratch::make(&env::temp_dir()).map_err(io::Error::other)?;
        fs::create_dir(folder.path().join("blobs"))?;
        let PrestartedWorker { launch, link, unread, sender, inputs } = prestarted;
        Ok(Self {
            launch,
            prestarted: Some((link, unread)),
            early: Vec::new(),
            inputs: sender,
            received: inputs,
            events: VecDeque::new(),
            last_input: Instant::now(),
            workers: BTreeMap::new(),
            last: 0,
            supplies,
            folder,
            is_closing: Arc::default(),
            waiting: HashMap::new(),
            queued: VecDeque::new(),
            supplying: 0,
            is_held_back: false,
            is_described: false,
            is_checked: false,
            failed_starts: 0,
            failed_supplies: 0,
            is_paused: false,
            remote,
            deaths: 0,
        })
    }

    /// Waits for one input. `None` if none came within `wait`.
    pub(crate) fn next(&mut self, wait: Duration) -> Option<Next> {
        if self.events.is_empty() {
            let input = self.received.recv_timeout(wait).ok()?;
            self.last_input = Instant::now();
            match input {
                // Until then there is no other worker.
                Input::Link(_, event) if self.prestarted.is_some() => self.early.push(event),
                Input::Link(worker, event) => self.receive(worker, event),
                Input::Supplied(supply, result) => self.supplied(supply, result),
                Input::Source(SourceEvent::Joined(joining)) => {
                    let joined = self.join(joining);
                    self.check_started(joined);
                }
                Input::Source(SourceEvent::Notice(notice)) => {
                    if let Some(remote) = &mut self.remote {
                        remote.last_notice = Some(notice.clone());
                    }
                    self.events.push_back(PoolEvent::Notice(notice));
                }
                input => return Some(Next::Input(input)),
            }
        }
        Some(self.events.pop_front().map_or(Next::Handled, Next::Pool))
    }

    /// Time since the last input.
    pub(crate) fn silence(&self) -> Duration {
        self.last_input.elapsed()
    }

    fn receive(&mut self, worker: WorkerId, event: LinkEvent) {
        if let Some(entry) = self.workers.get_mut(&worker) {
            entry.read += event.items();
            if !self.is_held_back {
                entry.take_items();
            }
        }
        match event {
            LinkEvent::Messages(messages) => {
                for message in messages {
                    // Messages after a fault are not trusted.
                    let entry = self.workers.get_mut(&worker);
                    let Some(entry) = entry.filter(|entry| entry.fault.is_none()) else { break };
                    let received = match (entry.quota.count(&message), &message) {
                        (Err(fault), _) => Err(fault),
                        (Ok(()), FromWorker::Report { .. } | FromWorker::Artifact { .. })
                            if entry.phase == Phase::Working =>
                        {
                            Ok(Some(PoolEvent::Message(worker, message)))
                        }
                        (Ok(()), _) => self.receive_message(worker, message),
                    };
                    match received {
                        Ok(event) => self.events.extend(event),
                        Err(fault) => self.fault(worker, None, fault.to_owned()),
                    }
                }
            }
            LinkEvent::Exited(exit) => self.handle_exit(worker, exit),
        }
    }

    /// Waits until all workers have exited, at most for `time`. A signal ends the wait. Returns their last events.
    pub(crate) fn wait_for_exits(&mut self, time: Duration) -> VecDeque<PoolEvent> {
        let (until, mut events) = (Instant::now() + time, VecDeque::new());
        while !self.workers.is_empty() {
            match self.next(until.saturating_duration_since(Instant::now())) {
                Some(Next::Pool(event)) => events.push_back(event),
                Some(Next::Input(Input::Signal(SignalEvent::Stop(..)))) => break,
                Some(Next::Input(Input::Signal(SignalEvent::Suspend))) => signals::suspend(),
                Some(Next::Input(_) | Next::Handled) => {}
                None if Instant::now() >= until => break,
                None => {}
            }
        }
        events
    }

    /// Holds back workers whose reports arrive faster than the disk takes the rows, or lets them send again. They may send
    /// the items that [`event_sink`] allows.
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
    /// No process can be started, or workers on other machines cannot be offered the session.
    pub(crate) fn start(&mut self, shapes: &[Shape]) -> io::Result<()> {
        let has_graders = self.has_graders();
        let graders = |shape: &Shape| if has_graders { shape.slots } else { 0 };
        if self.remote.is_none() {
            let with_graders = |shape: &Shape| Shape { graders: graders(shape), ..*shape };
            return shapes.iter().try_for_each(|shape| self.add(with_graders(shape), false));
        }
        let graders = shapes.iter().map(graders).sum();
        let memory = shapes.iter().map(|shape| shape.memory).sum();
        self.add(Shape { slots: 0, graders, memory }, false)?;
        self.offer()
    }

    /// Ends the prestarted worker.
    pub(crate) fn drop_prestarted(&mut self) {
        if self.prestarted.take().is_some() {
            self.early.clear();
            // The worker's exit is reported under its id, which no other worker may get.
            self.last += 1;
        }
    }

    /// Returns a sender for further inputs of [`Self::next`].
    pub(crate) fn sender(&self) -> Sender<Input> {
        self.inputs.clone()
    }

    fn has_graders(&self) -> bool {
        let mut providers = self.supplies.providers.iter();
        providers.any(|prepared| prepared.provider.grading.is_some())
    }

    /// Starts the worker for suspects, with one slot. If attempts run on other machines, graders have one of their own here.
    pub(crate) fn start_alone(&mut self, for_grader: bool) -> io::Result<()> {
        if !for_grader && self.connect_spare()? {
            return Ok(());
        }
        let memory = self.workers.values().map(|entry| entry.shape.memory).max();
        let memory = memory.unwrap_or_else(machine::memory);
        let slots = u32::from(self.remote.is_none());
        self.add(Shape { slots, graders: u32::from(self.has_graders()), memory }, true)
    }

    pub(super) fn new_id(&mut self) -> WorkerId {
        self.last += 1;
        WorkerId(self.last)
    }

    /// Starts and prepares a worker on this machine.
    fn add(&mut self, shape: Shape, alone: bool) -> io::Result<()> {
        let worker = self.new_id();
        let (link, unread) = match self.prestarted.take() {
            Some(started) => started,
            None => {
                let (sink, unread) = event_sink(worker, &self.inputs);
                ((self.launch)(sink)?, unread)
            }
        };
        self.prepare(worker, link, unread, shape, alone)
    }

    /// Prepares a worker. One on another machine gets no secrets, and its supervisor fills in the folders.
    pub(super) fn prepare(
        &mut self,
        worker: WorkerId,
        link: Box<dyn WorkerLink>,
        unread: Receiver<()>,
        shape: Shape,
        alone: bool,
    ) -> io::Result<()> {
        let is_remote = self.is_remote(worker);
        let scratch = self.folder.path().join(format!("worker-{}", worker.0));
        if !is_remote {
            fs::create_dir(&scratch)?;
        }
        let path = |path: &Path| if is_remote { Ok(String::new()) } else { path_text(path) };
        let describes =
            !is_remote && !self.is_described && !self.workers.values().any(|entry| entry.describes);
        debug!(worker = worker.0, ?shape, describes, "a worker is started");
        let supplies = &self.supplies;
        link.send(ToWorker::Prepare(Box::new(Prepare {
            run: supplies.run.clone(),
            session: supplies.session,
            cache: path(supplies.cache.path())?,
            blobs: path(&self.folder.path().join("blobs"))?,
            scratch: path(&scratch)?,
            // Checks of inputs need a slot.
            slots: shape.slots.max(1),
            grader_slots: shape.graders,
            memory: shape.memory,
            grace: supplies.grace,
            describe: describes,
            quick: supplies.quick,
            providers: supplies.providers.clone(),
            secrets: if is_remote { SecretValues::default() } else { supplies.secrets.clone() },
        })));
        if self.is_paused {
            link.send(ToWorker::Pause(true));
        }
        let (plugins, blobs) = (supplies.providers.len(), supplies.blobs.count());
        let quota = if is_remote {
            FrameQuota::for_remote(plugins, blobs)
        } else {
            FrameQuota::new(plugins, blobs)
        };
        let entry = PoolWorker {
            link,
            unread,
            read: 0,
            quota,
            shape,
            alone,
            describes,
            phase: Phase::Started,
            compile_key: String::new(),
            tasks: Vec::new(),
            body: Vec::new(),
            requested_plugins: Vec::new(),
            open_take_backs: 0,
            fault: None,
        };
        self.workers.insert(worker, entry);
        for event in mem::take(&mut self.early) {
            self.receive(worker, event);
        }
        Ok(())
    }

    fn handle_exit(&mut self, worker: WorkerId, mut exit: WorkerExit) {
        let Some(entry) = self.workers.remove(&worker) else {
            return;
        };
        for waiting in self.waiting.values_mut() {
            waiting.retain(|waiting| *waiting != worker);
        }
        if let Some((fault, task)) = entry.fault {
            // The worker may have cleared the slot of the task already. The task still counts as started.
            let task = task.filter(|task| exit.started.iter().all(|word| word.task != task.0));
            exit.started.extend(task.map(|TaskId(task)| SlotWord { task, started: monotonic() }));
            exit.blame = Some(Blame::Died);
            exit.how = format!("was killed, because it {fault}");
        }
        let is_remote = self.is_remote(worker);
        let has_checked = self.is_checked || !entry.describes;
        self.is_described &= has_checked;
        let failed_to_start = !is_remote && (entry.phase < Phase::Ready || !has_checked);
        self.failed_starts += u32::from(failed_to_start);
        let ends_session =
            failed_to_start && self.failed_starts == MAX_FAILED_STARTS && !self.is_closing();
        if ends_session {
            // No guest has run in a worker of the first phase.
            let (reason, how) = match (entry.phase, machine::with_limit(&exit.how)) {
                (Phase::Started, Some(how)) => (Reason::Machine, how),
                (Phase::Started, None) => (Reason::Internal, exit.how.clone()),
                _ => (Reason::Plugin, exit.how.clone()),
            };
            let message = format!(
                "{MAX_FAILED_STARTS} workers in a row ended before they were ready; the last one {how}"
            );
            self.events.push_back(PoolEvent::Failed(reason, message));
        }
        self.events.push_back(PoolEvent::Exited(worker, exit));
        self.deaths += 1;
        // The schedule starts another worker for suspects by itself, but only if it knew this one.
        if self.is_closing() || ends_session || entry.alone && entry.phase == Phase::Working {
            return;
        }
        // A worker on another machine joins again by itself.
        let started = match (is_remote, entry.alone) {
            (true, false) => Ok(()),
            (true, true) => self.connect_spare().map(drop),
            (false, alone) => self.add(entry.shape, alone),
        };
        self.check_started(started);
    }

    fn check_started(&mut self, started: io::Result<()>) {
        if let Err(error) = started {
            let message = machine::failure("cannot start a worker", error);
            self.events.push_back(PoolEvent::Failed(Reason::Machine, message));
        }
    }

    /// Kills a broken or hostile worker. `fault` completes a sentence that starts with it, `task` is the task of an invalid report.
    pub(crate) fn fault(&mut self, worker: WorkerId, task: Option<TaskId>, fault: String) {
        if let Some(entry) = self.workers.get_mut(&worker) {
            debug!(worker = worker.0, fault, "a worker is killed");
            entry.fault.get_or_insert((fault, task));
            entry.link.kill();
        }
    }

    /// Returns whether messages of a worker still count: not while it is being killed for a fault.
    pub(crate) fn trusts(&self, worker: WorkerId) -> bool {
        let entry = self.workers.get(&worker);
        entry.is_some_and(|entry| entry.fault.is_none())
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
        body: &[u8],
    ) -> io::Result<()> {
        let Some(entry) = self.workers.get_mut(&worker) else {
            return Ok(());
        };
        let (line, row) = body.split_at(body.len() - task.row_bytes as usize);
        if line.len() > MAX_LINE {
            let digest = digest(line);
            let blob = self.folder.path().join("blobs").join(digest.to_string());
            if !blob.exists() {
                fs::write(blob, line)?;
            }
            task.line = Line::Digest(digest);
            entry.quota.add_large_test();
        }
        let body = if line.len() > MAX_LINE { row } else { body };
        if entry.body.len() + body.len() > MAX_TASKS {
            entry.flush();
        }
        entry.body.extend_from_slice(body);
        if let Some(prepared) = self.supplies.providers.get(usize::from(task.provider)) {
            entry.quota.add_task(&prepared.provider.limits);
        }
        entry.tasks.push(task);
        if entry.tasks.len() == BATCH {
            entry.flush();
        }
        Ok(())
    }

    /// Sends all queued tasks.
    pub(crate) fn flush(&mut self) {
        for entry in self.workers.values_mut() {
            entry.flush();
        }
    }

    /// Requests that a worker returns all but `keep` of the tasks that it has not started.
    pub(crate) fn take_back(&mut self, worker: WorkerId, keep: u32) {
        if let Some(entry) = self.workers.get_mut(&worker) {
            entry.open_take_backs += 1;
            entry.quota.add_frame();
            entry.link.send(ToWorker::TakeBack { keep });
        }
    }

    /// Pauses or continues all guests, including those of later workers.
    pub(crate) fn pause(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
        for entry in self.workers.values() {
            entry.link.send(ToWorker::Pause(is_paused));
        }
    }

    /// Sends workers a stop, and kills those that are not ready. No more workers are started.
    pub(crate) fn stop(&mut self, kill: bool) {
        let grace = self.supplies.grace;
        self.close(&ToWorker::Stop { grace, kill });
    }

    /// Lets ready workers exit after their last task, and kills the others. No more workers are started.
    pub(crate) fn finish(&mut self) {
        let teardown = self.keeps_instances();
        self.close(&ToWorker::Finish { teardown });
    }

    /// Returns whether workers keep instances, which they tear down before they exit.
    pub(crate) fn keeps_instances(&self) -> bool {
        self.supplies.providers.iter().any(|prepared| prepared.provider.reuse.is_some())
    }

    fn close(&mut self, last: &ToWorker) {
        self.is_closing.store(true, Ordering::Release);
        for entry in self.workers.values() {
            if entry.phase < Phase::Ready {
                entry.link.kill();
            } else {
                entry.link.send(last.clone());
            }
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }

    pub(crate) fn len(&self) -> usize {
        self.workers.len()
    }

    /// Returns the slots of all workers with a running task.
    pub(crate) fn slots(&self) -> impl Iterator<Item = SlotWord> + '_ {
        self.workers.values().flat_map(|entry| entry.link.slots())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.is_closing.store(true, Ordering::Release);
    }
}

impl PoolWorker {
    /// Marks the items of received events as read.
    fn take_items(&mut self) {
        while self.read > 0 {
            self.read -= 1;
            let _ = self.unread.try_recv();
        }
    }

    fn flush(&mut self) {
        if !self.tasks.is_empty() {
            self.quota.add_frame();
            self.link.send(ToWorker::Tasks {
                tasks: mem::take(&mut self.tasks),
                body: mem::take(&mut self.body),
            });
        }
    }
}

fn path_text(path: &Path) -> io::Result<String> {
    let path = std::path::absolute(path)?;
    path.into_os_string()
        .into_string()
        .map_err(|path| io::Error::other(format!("{} is not UTF-8", shown_path(path.as_ref()))))
}
