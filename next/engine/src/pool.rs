//! [`Pool`]: the workers of a session. It starts and replaces them, prepares them, has plugins compiled that they miss, and
//! hands them tasks.

use std::{
    collections::{BTreeMap, HashMap},
    env, fs, io, mem,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use runner_model::{
    Digest, HostFault, Micros, Reason, TaskId, WorkerId,
    cache::is_compile_key,
    digest,
    prepare::{Prepare, Ready, SecretValues},
    protocol::{FromWorker, Line, MAX_LINE, MAX_TASKS, SlotWord, Task, ToWorker},
    provider::PreparedProvider,
    visible::visible_line,
};
use runner_prepare::{ContentSource, compiler};
use runner_record::{PluginCache, Scratch};

use crate::{
    EngineError,
    clock::monotonic,
    coordinator::Input,
    plan::Shape,
    schedule::Blame,
    workers::{EventSink, LinkEvent, WorkerExit, WorkerLink},
};

/// Starts a worker.
pub(crate) type Launch = Box<dyn FnMut(EventSink) -> io::Result<Box<dyn WorkerLink>>>;

/// Tasks of one frame.
const BATCH: usize = 64;
/// How long workers may take that have nothing more to do.
const END_WITHIN: Duration = Duration::from_millis(200);
/// So many workers in a row that die before they are ready end the session.
const MAX_FRUITLESS: u32 = 3;
/// Bytes of what a worker says about a plugin that cannot be used.
const MAX_PROBLEM: usize = 64 << 10;
/// Bytes of one worker in `runner.log`: more than one that works has to say.
const MAX_LOGGED: usize = 1 << 20;
/// Events of a worker that the session has not taken. With more of them its reader waits: a worker that speaks faster than it
/// is heard costs no memory.
const MAX_UNTAKEN: usize = 64;

/// What a worker asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Supply {
    /// A plugin that the cache does not have.
    Plugin(Digest),
    /// An attachment or schema that the session's folder does not have.
    Blob(Digest),
}

impl Supply {
    /// Says that it is there.
    fn ready(self) -> ToWorker {
        match self {
            Self::Plugin(digest) => ToWorker::PluginReady(digest),
            Self::Blob(digest) => ToWorker::BlobReady(digest),
        }
    }
}

/// What a session must know of its workers.
#[derive(Debug)]
pub(crate) enum PoolEvent {
    /// A plugin is being compiled; its name in the scenario.
    Compiling(String),
    /// All plugins were loaded and asked to describe themselves. Some may not be usable; see [`Pool::problems`].
    Described(Ready),
    /// A worker said this, which is about its tasks.
    Said(WorkerId, FromWorker),
    /// A worker is gone.
    Lost(WorkerId, WorkerExit),
    /// The session cannot go on.
    Failed(Reason, String),
}

/// A worker that can take tasks, what it has, and whether it was started for one attempt alone.
pub(crate) type ReadyWorker = (WorkerId, Shape, bool);

/// The first worker of a session. It is started before it is known what it is to do, because starting takes a while.
pub(crate) struct PrestartedWorker {
    launch: Launch,
    link: Box<dyn WorkerLink>,
    untaken: Receiver<()>,
    sender: Sender<Input>,
    inputs: Receiver<Input>,
}

/// What workers are prepared with, and what they may ask for.
#[derive(Debug)]
pub(crate) struct Supplies {
    /// The scenario's name, for messages.
    pub(crate) name: String,
    /// The session's number, from 1.
    pub(crate) session: u32,
    pub(crate) grace: Micros,
    pub(crate) providers: Vec<PreparedProvider>,
    pub(crate) plugins: ContentSource,
    pub(crate) blobs: ContentSource,
    pub(crate) secrets: SecretValues,
    pub(crate) cache: PluginCache,
}

/// The workers of a session.
pub(crate) struct Pool {
    launch: Launch,
    inputs: Sender<Input>,
    workers: BTreeMap<WorkerId, PoolWorker>,
    last: u32,
    supplies: Supplies,
    folder: Scratch,
    /// Set once no more workers are started and no plugin is needed any more.
    is_closing: Arc<AtomicBool>,
    /// Who waits for what is being made.
    waiting: HashMap<Supply, Vec<WorkerId>>,
    is_described: bool,
    /// Whether what the one that has described the plugins was to check is checked.
    is_checked: bool,
    /// Workers in a row that died before they were ready, or while they checked.
    fruitless: u32,
    /// Whether all guests are to wait.
    is_paused: bool,
    /// How many have died.
    pub(crate) deaths: u32,
}

struct PoolWorker {
    link: Box<dyn WorkerLink>,
    /// One for each event that was not taken.
    untaken: Receiver<()>,
    shape: Shape,
    alone: bool,
    describes: bool,
    phase: Phase,
    compile_key: String,
    tasks: Vec<Task>,
    body: Vec<u8>,
    /// Plugins that it did not find in the cache.
    asked: Vec<Digest>,
    /// Answers that it owes to `TakeBack`.
    owes_tasks: u32,
    /// Bytes that it has said for `runner.log`.
    logged: usize,
    /// Why it is being killed, for messages, and the task that it lied about.
    fault: Option<(String, Option<TaskId>)>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Started,
    /// It has said who it is.
    Known,
    /// It has loaded all plugins.
    Ready,
    /// The session knows of it and may send tasks.
    Working,
}

impl PrestartedWorker {
    /// Starts the worker.
    pub(crate) fn start(mut launch: Launch) -> io::Result<Self> {
        let (sender, inputs) = mpsc::channel();
        let (hear, untaken) = hear(WorkerId(1), &sender);
        let link = launch(hear)?;
        Ok(Self { launch, link, untaken, sender, inputs })
    }
}

/// Sends what is heard of a worker to the session, and waits while too much of it was not taken. Whoever takes an event takes
/// one from the receiver, too.
fn hear(worker: WorkerId, inputs: &Sender<Input>) -> (EventSink, Receiver<()>) {
    let inputs = inputs.clone();
    let (told, untaken) = mpsc::sync_channel(MAX_UNTAKEN);
    let hear = Box::new(move |event| {
        // Without a receiver the worker is gone, or the session has ended.
        let _ = told.send(());
        let _ = inputs.send(Input::Link(worker, event));
    });
    (hear, untaken)
}

impl Pool {
    /// Prepares the first worker and starts the others. What is heard of them comes to the receiver.
    pub(crate) fn new(
        early: PrestartedWorker,
        supplies: Supplies,
        shapes: &[Shape],
    ) -> io::Result<(Self, Receiver<Input>)> {
        let folder = Scratch::make(&env::temp_dir()).map_err(io::Error::other)?;
        fs::create_dir(folder.path().join("blobs"))?;
        let mut crew = Self {
            launch: early.launch,
            inputs: early.sender,
            workers: BTreeMap::new(),
            last: 0,
            supplies,
            folder,
            is_closing: Arc::default(),
            waiting: HashMap::new(),
            is_described: false,
            is_checked: false,
            fruitless: 0,
            is_paused: false,
            deaths: 0,
        };
        let mut first = Some((early.link, early.untaken));
        for shape in shapes {
            crew.add(*shape, false, first.take())?;
        }
        Ok((crew, early.inputs))
    }

    /// Sends to the receiver that hears of workers.
    pub(crate) fn sender(&self) -> Sender<Input> {
        self.inputs.clone()
    }

    /// Starts a worker with one slot for an attempt that may end it.
    pub(crate) fn start_alone(&mut self) -> io::Result<()> {
        let memory = self.workers.values().map(|worker_state| worker_state.shape.memory);
        let memory = memory.max().unwrap_or_else(runner_prepare::machine::memory);
        self.add(Shape { slots: 1, memory }, true, None)
    }

    /// Starts a worker, unless it was started already, and prepares it.
    fn add(
        &mut self,
        shape: Shape,
        alone: bool,
        started: Option<(Box<dyn WorkerLink>, Receiver<()>)>,
    ) -> io::Result<()> {
        self.last += 1;
        let worker = WorkerId(self.last);
        let (link, untaken) = match started {
            Some(started) => started,
            None => {
                let (hear, untaken) = hear(worker, &self.inputs);
                ((self.launch)(hear)?, untaken)
            }
        };
        let scratch = self.folder.path().join(format!("worker-{}", worker.0));
        fs::create_dir(&scratch)?;
        let is_asked =
            self.is_described || self.workers.values().any(|worker_state| worker_state.describes);
        let of = &self.supplies;
        link.send(ToWorker::Prepare(Box::new(Prepare {
            run: of.name.clone(),
            session: of.session,
            cache: path_text(of.cache.path())?,
            blobs: path_text(&self.folder.path().join("blobs"))?,
            scratch: path_text(&scratch)?,
            slots: shape.slots,
            memory: shape.memory,
            grace: of.grace,
            describe: !is_asked,
            providers: of.providers.clone(),
            secrets: of.secrets.clone(),
        })));
        if self.is_paused {
            link.send(ToWorker::Pause(true));
        }
        let worker_state = PoolWorker {
            link,
            untaken,
            shape,
            alone,
            describes: !is_asked,
            phase: Phase::Started,
            compile_key: String::new(),
            tasks: Vec::new(),
            body: Vec::new(),
            asked: Vec::new(),
            owes_tasks: 0,
            logged: 0,
            fault: None,
        };
        self.workers.insert(worker, worker_state);
        Ok(())
    }

    /// Takes what was heard of a worker.
    pub(crate) fn hear(&mut self, worker: WorkerId, event: LinkEvent, news: &mut Vec<PoolEvent>) {
        if let Some(worker_state) = self.workers.get(&worker) {
            let _ = worker_state.untaken.try_recv();
        }
        match event {
            LinkEvent::Messages(messages) => {
                for message in messages {
                    match self.hear_message(worker, message) {
                        Ok(said) => news.extend(said),
                        Err(fault) => self.fault(worker, None, fault.to_owned()),
                    }
                }
            }
            LinkEvent::Lost(loss) => self.lose(worker, loss, news),
        }
    }

    /// Takes a message.
    ///
    /// # Errors
    ///
    /// What the worker has done, as the rest of a sentence.
    fn hear_message(
        &mut self,
        worker: WorkerId,
        message: FromWorker,
    ) -> Result<Option<PoolEvent>, &'static str> {
        let is_closing = self.is_closing();
        // What a worker says after a fault is not believed.
        let worker_state = self.workers.get_mut(&worker);
        let Some(worker_state) = worker_state.filter(|worker_state| worker_state.fault.is_none())
        else {
            return Ok(None);
        };
        let said = match (worker_state.phase, message) {
            (Phase::Started, FromWorker::Hello(hello)) => {
                const OURS: &str = env!("CARGO_PKG_VERSION");
                if hello.version != OURS || !is_compile_key(&hello.compile_key) {
                    let version = visible_line(&hello.version);
                    let message = format!(
                        "a worker is of version {version} and this program of version {OURS}; start it again"
                    );
                    return Ok(Some(PoolEvent::Failed(Reason::Internal, message)));
                }
                (worker_state.phase, worker_state.compile_key) = (Phase::Known, hello.compile_key);
                return Ok(None);
            }
            (Phase::Known, FromWorker::NeedPlugin(plugin)) => return self.compile(worker, plugin),
            (Phase::Known, FromWorker::Ready(ready)) => return self.hear_ready(worker, ready),
            (phase, FromWorker::NeedBlob(blob)) if phase >= Phase::Known => {
                return self.put_blob(worker, blob);
            }
            (phase, FromWorker::Log(line)) if phase >= Phase::Known => {
                worker_state.logged += line.len();
                if worker_state.logged > MAX_LOGGED {
                    return Err("said too much for `runner.log`");
                }
                FromWorker::Log(line)
            }
            (Phase::Working, FromWorker::Returned(tasks)) => {
                // One that stops gives back what still comes, too.
                if !is_closing {
                    let unasked = "gave back tasks that nobody wanted back";
                    worker_state.owes_tasks =
                        worker_state.owes_tasks.checked_sub(1).ok_or(unasked)?;
                }
                FromWorker::Returned(tasks)
            }
            (phase, message @ (FromWorker::Doing(_) | FromWorker::Bye))
                if phase >= Phase::Known =>
            {
                message
            }
            (
                Phase::Working,
                message @ (FromWorker::Artifact { .. } | FromWorker::Report { .. }),
            ) => message,
            _ => return Err("said what it may not say at that time"),
        };
        Ok(Some(PoolEvent::Said(worker, said)))
    }

    fn compile(
        &mut self,
        worker: WorkerId,
        digest: Digest,
    ) -> Result<Option<PoolEvent>, &'static str> {
        let (Some(provider), Some(worker_state)) =
            (with_plugin(&self.supplies, &digest), self.workers.get_mut(&worker))
        else {
            return Err("asked for a plugin that the run does not have");
        };
        let asked = worker_state.asked.iter().filter(|asked| **asked == digest);
        if asked.count() >= 2 {
            let cache = self.supplies.cache.path().display();
            let plugin = plugin_of(provider);
            let message = format!("{plugin} was compiled and is not in the cache {cache}");
            return Ok(Some(PoolEvent::Failed(Reason::Setup, message)));
        }
        worker_state.asked.push(digest);
        let (plugins, key) = (self.supplies.plugins.clone(), worker_state.compile_key.clone());
        let compiling = PoolEvent::Compiling(provider.provider.plugin.clone());
        let cache = self.supplies.cache.clone();
        let is_cancelled = Arc::clone(&self.is_closing);
        let supply = Supply::Plugin(digest);
        Ok(self.supply(worker, supply, Some(compiling), move || {
            let plugin = (&digest, plugins.file(&digest)?);
            Ok(compiler::compile(&cache, plugin, &key, &is_cancelled)?)
        }))
    }

    /// Lets a worker wait for what it asks for. The first one that does has it made, on a thread of its own, which is `news`.
    fn supply(
        &mut self,
        worker: WorkerId,
        supply: Supply,
        news: Option<PoolEvent>,
        make: impl FnOnce() -> Result<(), EngineError> + Send + 'static,
    ) -> Option<PoolEvent> {
        let waiting = self.waiting.entry(supply).or_default();
        waiting.push(worker);
        if waiting.len() > 1 {
            return None;
        }
        let inputs = self.inputs.clone();
        let make = move || {
            // Without a receiver the session has ended.
            let _ = inputs.send(Input::Supplied(supply, make()));
        };
        let thread = thread::Builder::new().name("supply".into()).spawn(make);
        match thread {
            Ok(_) => news,
            Err(error) => Some(PoolEvent::Failed(Reason::Internal, error.to_string())),
        }
    }

    /// Takes what came of making what workers wait for.
    pub(crate) fn supplied(
        &mut self,
        supply: Supply,
        result: Result<(), EngineError>,
        news: &mut Vec<PoolEvent>,
    ) {
        for worker in self.waiting.remove(&supply).unwrap_or_default() {
            if let Some(worker_state) = self.workers.get(&worker).filter(|_| result.is_ok()) {
                worker_state.link.send(supply.ready());
            }
        }
        match result {
            Err(_) if self.is_closing() => {}
            Ok(()) => {}
            Err(EngineError::Usage(problem)) => {
                let (Supply::Plugin(digest) | Supply::Blob(digest)) = supply;
                let provider = with_plugin(&self.supplies, &digest);
                let plugin = provider.map(plugin_of).unwrap_or_default();
                news.push(PoolEvent::Failed(Reason::Plugin, format!("{plugin} {problem}")));
            }
            Err(error) => {
                news.push(PoolEvent::Failed(Reason::Setup, error.to_string()));
            }
        }
    }

    /// Puts a blob into the session's folder, unless it is there.
    fn put_blob(
        &mut self,
        worker: WorkerId,
        digest: Digest,
    ) -> Result<Option<PoolEvent>, &'static str> {
        if !self.supplies.blobs.has(&digest) {
            return Err("asked for a file that the run does not have");
        }
        let folder = self.folder.path().join("blobs");
        let blobs = self.supplies.blobs.clone();
        let put = move || match folder.join(digest.to_string()).exists() {
            true => Ok(()),
            false => Ok(blobs.put(&digest, &folder)?),
        };
        Ok(self.supply(worker, Supply::Blob(digest), None, put))
    }

    fn hear_ready(
        &mut self,
        worker: WorkerId,
        ready: Ready,
    ) -> Result<Option<PoolEvent>, &'static str> {
        let described = ready.providers.iter();
        let described = described.map(|about| usize::from(about.provider));
        if !described.eq(0..self.supplies.providers.len()) {
            return Err("described other providers than it has");
        }
        let problems = self.problems(&ready);
        let Some(worker_state) = self.workers.get_mut(&worker) else {
            return Ok(None);
        };
        if problems.is_none() {
            worker_state.phase = Phase::Ready;
            self.is_described |= worker_state.describes;
            if !worker_state.describes {
                self.fruitless = 0;
            }
        }
        Ok(match problems {
            _ if worker_state.describes => Some(PoolEvent::Described(ready)),
            problems => problems.map(|(reason, problems)| PoolEvent::Failed(reason, problems)),
        })
    }

    /// Why providers cannot be used, a line each; none if all can. What the machine lacks is no plugin's fault.
    pub(crate) fn problems(&self, ready: &Ready) -> Option<(Reason, String)> {
        let mut reason = Reason::Plugin;
        let lines = ready.providers.iter().filter_map(|about| {
            let problem = about.problem.as_ref()?;
            reason = HostFault::parse(&problem.code).map_or(reason, HostFault::reason);
            let provider = self.supplies.providers.get(usize::from(about.provider))?;
            let most = problem.message.floor_char_boundary(MAX_PROBLEM);
            let message = visible_line(&problem.message[..most]);
            Some(format!("{} {message}", plugin_of(provider)))
        });
        let lines: Vec<_> = lines.collect();
        (!lines.is_empty()).then(|| (reason, lines.join("\n")))
    }

    /// A worker that is ready and was not named yet. There is none before the plugins were described; the one that has described
    /// them is the first.
    pub(crate) fn next_ready(&mut self) -> Option<ReadyWorker> {
        let workers = self.workers.iter_mut().filter(|_| self.is_described);
        let ready = workers.filter(|(_, worker_state)| worker_state.phase == Phase::Ready);
        let (worker, worker_state) =
            ready.min_by_key(|(_, worker_state)| !worker_state.describes)?;
        worker_state.phase = Phase::Working;
        Some((*worker, worker_state.shape, worker_state.alone))
    }

    /// Notes that inputs were checked: the one that has done so is needed no longer.
    pub(crate) fn checked(&mut self) {
        (self.is_checked, self.fruitless) = (true, 0);
    }

    fn lose(&mut self, worker: WorkerId, mut loss: WorkerExit, news: &mut Vec<PoolEvent>) {
        let Some(worker_state) = self.workers.remove(&worker) else {
            return;
        };
        for waiting in self.waiting.values_mut() {
            waiting.retain(|waiting| *waiting != worker);
        }
        if let Some((fault, task)) = worker_state.fault {
            // The slot of a task that was reported may be empty.
            let task = task.filter(|task| loss.begun.iter().all(|word| word.task != task.0));
            loss.begun.extend(task.map(|TaskId(task)| SlotWord { task, began: monotonic() }));
            loss.blame = Some(Blame::Died);
            loss.how = format!("was killed, because it {fault}");
        }
        let has_checked = self.is_checked || !worker_state.describes;
        self.is_described &= has_checked;
        let is_fruitless = worker_state.phase < Phase::Ready || !has_checked;
        self.fruitless += u32::from(is_fruitless);
        let is_last_straw = is_fruitless && self.fruitless == MAX_FRUITLESS && !self.is_closing();
        if is_last_straw {
            let reason = match worker_state.phase {
                Phase::Started => Reason::Internal,
                _ => Reason::Plugin,
            };
            let message = format!(
                "{MAX_FRUITLESS} workers in a row ended before they were ready; the last one {}",
                loss.how
            );
            news.push(PoolEvent::Failed(reason, message));
        }
        news.push(PoolEvent::Lost(worker, loss));
        self.deaths += 1;
        // The schedule asks for another one to run an attempt alone, unless this one never came so far.
        if self.is_closing() || is_last_straw || worker_state.alone && !is_fruitless {
            return;
        }
        if let Err(error) = self.add(worker_state.shape, worker_state.alone, None) {
            let message = format!("a worker cannot be started: {error}");
            news.push(PoolEvent::Failed(Reason::Internal, message));
        }
    }

    /// Kills a worker that is broken or hostile; `fault` says what it did, in a report of `task`.
    pub(crate) fn fault(&mut self, worker: WorkerId, task: Option<TaskId>, fault: String) {
        if let Some(worker_state) = self.workers.get_mut(&worker) {
            worker_state.fault.get_or_insert((fault, task));
            worker_state.link.kill();
        }
    }

    /// Tells whether what a worker says still counts: not once it is being killed for what it said before.
    pub(crate) fn believes(&self, worker: WorkerId) -> bool {
        let worker_state = self.workers.get(&worker);
        worker_state.is_some_and(|worker_state| worker_state.fault.is_none())
    }

    /// Kills a worker that has not answered in time.
    pub(crate) fn kill(&self, worker: WorkerId) {
        if let Some(worker_state) = self.workers.get(&worker) {
            worker_state.link.kill();
        }
    }

    /// Hands a task over, to be sent with others by [`Self::flush`]. `body` is its test's line, then its stored row if it has one.
    pub(crate) fn assign(
        &mut self,
        worker: WorkerId,
        mut task: Task,
        body: &[u8],
    ) -> io::Result<()> {
        let Some(worker_state) = self.workers.get_mut(&worker) else {
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
        }
        let body = if line.len() > MAX_LINE { row } else { body };
        if worker_state.body.len() + body.len() > MAX_TASKS {
            worker_state.flush();
        }
        worker_state.body.extend_from_slice(body);
        worker_state.tasks.push(task);
        if worker_state.tasks.len() == BATCH {
            worker_state.flush();
        }
        Ok(())
    }

    /// Sends all tasks that were assigned.
    pub(crate) fn flush(&mut self) {
        for worker_state in self.workers.values_mut() {
            worker_state.flush();
        }
    }

    /// Asks a worker for tasks that it has not begun; it may keep so many.
    pub(crate) fn take_back(&mut self, worker: WorkerId, keep: u32) {
        if let Some(worker_state) = self.workers.get_mut(&worker) {
            worker_state.owes_tasks += 1;
            worker_state.link.send(ToWorker::TakeBack { keep });
        }
    }

    /// Lets all guests wait, or go on; those of workers that come later, too.
    pub(crate) fn pause(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
        for worker_state in self.workers.values() {
            worker_state.link.send(ToWorker::Pause(is_paused));
        }
    }

    /// Tells workers to stop, ends those that cannot take tasks yet, and starts no more.
    pub(crate) fn stop(&mut self, kill: bool) {
        let grace = self.supplies.grace;
        self.close(&ToWorker::Stop { grace, kill });
    }

    /// Tells workers that nothing more will come.
    pub(crate) fn finish(&mut self) {
        let teardown = self.keeps_instances();
        self.close(&ToWorker::Finish { teardown });
    }

    /// Whether workers that were told to end tear down instances first.
    pub(crate) fn keeps_instances(&self) -> bool {
        let mut providers = self.supplies.providers.iter();
        providers.any(|prepared| prepared.provider.reuse.is_some())
    }

    fn close(&mut self, last: &ToWorker) {
        self.is_closing.store(true, Ordering::Release);
        for worker_state in self.workers.values() {
            if worker_state.phase < Phase::Ready {
                worker_state.link.kill();
            } else {
                worker_state.link.send(last.clone());
            }
        }
    }

    /// Waits a moment for workers that were told to end; those that are left are killed when this is dropped.
    pub(crate) fn wait(&mut self, inputs: &Receiver<Input>) {
        self.wait_for(END_WITHIN, inputs, &mut Vec::new());
    }

    /// Waits so long until workers have ended that were told to. A signal ends that.
    pub(crate) fn wait_for(
        &mut self,
        time: Duration,
        inputs: &Receiver<Input>,
        news: &mut Vec<PoolEvent>,
    ) {
        let until = Instant::now() + time;
        while !self.workers.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            match inputs.recv_timeout(left) {
                Ok(Input::Link(worker, event)) => self.hear(worker, event, news),
                Ok(Input::Signal(_)) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }

    /// How many workers there are.
    pub(crate) fn len(&self) -> usize {
        self.workers.len()
    }

    /// What all slots have begun.
    pub(crate) fn slots(&self) -> impl Iterator<Item = SlotWord> + '_ {
        self.workers.values().flat_map(|worker_state| worker_state.link.slots())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.is_closing.store(true, Ordering::Release);
    }
}

impl PoolWorker {
    fn flush(&mut self) {
        if !self.tasks.is_empty() {
            self.link.send(ToWorker::Tasks {
                tasks: mem::take(&mut self.tasks),
                body: mem::take(&mut self.body),
            });
        }
    }
}

/// A provider's plugin, as the beginning of a sentence.
fn plugin_of(prepared: &PreparedProvider) -> String {
    let provider = &prepared.provider;
    format!("provider `{}`: plugin `{}`", provider.name, provider.plugin)
}

/// The first provider with this plugin.
fn with_plugin<'a>(supplies: &'a Supplies, digest: &Digest) -> Option<&'a PreparedProvider> {
    let mut providers = supplies.providers.iter();
    providers.find(|prepared| prepared.digest == *digest)
}

fn path_text(path: &Path) -> io::Result<String> {
    let path = std::path::absolute(path)?;
    path.into_os_string()
        .into_string()
        .map_err(|path| io::Error::other(format!("{} is not UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        thread,
        time::Duration,
    };

    use runner_model::WorkerId;

    use super::{LinkEvent, MAX_UNTAKEN, hear};

    #[test]
    fn reader_waits_for_untaken_events() {
        let (sender, _inputs) = mpsc::channel();
        let (hear, untaken) = hear(WorkerId(1), &sender);
        let told = AtomicUsize::new(0);
        let is_told = |count| {
            while told.load(Ordering::SeqCst) < count {
                thread::yield_now();
            }
            // One that does not wait would go on now.
            thread::sleep(Duration::from_millis(20));
            told.load(Ordering::SeqCst) == count
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                // Moved, so that it ends with this thread.
                let hear = hear;
                for _ in 0..MAX_UNTAKEN + 10 {
                    hear(LinkEvent::Messages(Vec::new()));
                    told.fetch_add(1, Ordering::SeqCst);
                }
            });
            assert!(is_told(MAX_UNTAKEN));
            untaken.recv().unwrap();
            assert!(is_told(MAX_UNTAKEN + 1));
            // Of a worker that is gone nothing is waited for.
            drop(untaken);
            assert!(is_told(MAX_UNTAKEN + 10));
        });
    }
}
