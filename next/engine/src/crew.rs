//! [`Crew`]: the workers of a session. It starts and replaces them, prepares them, has plugins compiled that they miss, and
//! hands them tasks.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::Path,
    sync::mpsc::{self, Receiver, Sender},
    time::{Duration, Instant},
};

use runner_model::{
    Digest, Reason, TaskId, WorkerId,
    cache::is_compile_key,
    digest,
    prepare::{Described, Prepare},
    protocol::{FromWorker, Line, MAX_LINE, MAX_TASKS, SlotWord, Task, ToWorker},
    provider::PreparedProvider,
    visible::visible_line,
};
use tempfile::TempDir;

use crate::{
    clock::monotonic,
    compiler::{CompileError, Compiler},
    coordinator::Input,
    plan::{Plan, Shape},
    plugins::Plugins,
    schedule::Blame,
    workers::{Hear, LinkEvent, WorkerLink},
};

/// Starts a worker.
pub(crate) type Launch = Box<dyn FnMut(WorkerId, Hear) -> io::Result<Box<dyn WorkerLink>>>;

/// Tasks of one frame.
const BATCH: usize = 64;
/// How long workers may take that have nothing more to do.
const END_WITHIN: Duration = Duration::from_millis(200);
/// So many workers in a row that die before they are ready end the session.
const MAX_FRUITLESS: u32 = 3;

/// What a session must know of its workers.
#[derive(Debug)]
pub(crate) enum News {
    /// A plugin is being compiled; its name in the scenario.
    Compiling(String),
    /// All plugins were loaded and asked to describe themselves.
    Described(Vec<Described>),
    /// A worker can take tasks.
    Ready {
        worker: WorkerId,
        shape: Shape,
        alone: bool,
    },
    /// A worker said this, which is about its tasks.
    Said(WorkerId, FromWorker),
    /// A worker is gone.
    Lost {
        worker: WorkerId,
        begun: Vec<SlotWord>,
        blame: Option<Blame>,
        how: String,
    },
    /// The session cannot go on.
    Failed(Reason, String),
}

/// The workers of a session.
pub(crate) struct Crew {
    launch: Launch,
    inputs: Sender<Input>,
    members: BTreeMap<WorkerId, Member>,
    last: u32,
    common: Option<Common>,
    is_described: bool,
    /// Workers in a row that died before they were ready.
    fruitless: u32,
    /// Whether no more workers are started.
    is_closing: bool,
    /// How many died after they were ready.
    pub(crate) deaths: u32,
}

/// What all workers are prepared with.
struct Common {
    prepare: Prepare,
    folder: TempDir,
    plugins: Plugins,
    compiler: Compiler,
    /// Who waits for a plugin that is being compiled.
    waiting: HashMap<Digest, Vec<WorkerId>>,
}

struct Member {
    link: Box<dyn WorkerLink>,
    shape: Shape,
    alone: bool,
    describes: bool,
    phase: Phase,
    compile_key: String,
    tasks: Vec<Task>,
    body: Vec<u8>,
    /// Plugins that it did not find in the cache.
    asked: Vec<Digest>,
    /// Why it is being killed, for messages, and the task that it lied about.
    fault: Option<(String, Option<TaskId>)>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Started,
    /// It has said who it is.
    Known,
    Ready,
}

impl Crew {
    /// Starts the first worker before it is known what it is to do, because starting takes a while. What is heard of workers
    /// comes to the receiver.
    pub(crate) fn start(launch: Launch) -> io::Result<(Self, Receiver<Input>)> {
        let (inputs, receiver) = mpsc::channel();
        let mut crew = Self {
            launch,
            inputs,
            members: BTreeMap::new(),
            last: 0,
            common: None,
            is_described: false,
            fruitless: 0,
            is_closing: false,
            deaths: 0,
        };
        crew.launch(Shape::default(), false)?;
        Ok((crew, receiver))
    }

    /// Sends to the receiver that hears of workers.
    pub(crate) fn sender(&self) -> Sender<Input> {
        self.inputs.clone()
    }

    /// Prepares the first worker and starts the others.
    pub(crate) fn prepare(
        &mut self,
        plan: &Plan,
        session: u32,
        shapes: &[Shape],
        seconds: Option<u32>,
    ) -> io::Result<()> {
        let folder = tempfile::Builder::new().prefix("runner-").tempdir()?;
        let blobs = folder.path().join("blobs");
        fs::create_dir(&blobs)?;
        let done = self.inputs.clone();
        let compiler = Compiler::start(plan.cache.clone(), seconds, move |digest, result| {
            // Without a receiver the session has ended.
            let _ = done.send(Input::Compiled(digest, result));
        })?;
        self.common = Some(Common {
            prepare: Prepare {
                run: plan.scenario.name.clone(),
                session,
                cache: path_text(plan.cache.path())?,
                blobs: path_text(&blobs)?,
                scratch: String::new(),
                slots: 0,
                memory: 0,
                grace: plan.scenario.run.grace,
                describe: false,
                providers: plan.providers.clone(),
            },
            folder,
            plugins: plan.plugins.clone(),
            compiler,
            waiting: HashMap::new(),
        });
        let mut shapes = shapes.iter();
        let early: Vec<_> = self.members.keys().copied().collect();
        for (worker, shape) in early.into_iter().zip(&mut shapes) {
            if let Some(member) = self.members.get_mut(&worker) {
                member.shape = *shape;
            }
            self.send_prepare(worker)?;
        }
        for shape in shapes {
            self.add(*shape, false)?;
        }
        Ok(())
    }

    /// Starts a worker and prepares it.
    fn add(&mut self, shape: Shape, alone: bool) -> io::Result<()> {
        if self.is_closing {
            return Ok(());
        }
        let worker = self.launch(shape, alone)?;
        self.send_prepare(worker)
    }

    /// Starts a worker with one slot for an attempt that may end it.
    pub(crate) fn start_alone(&mut self) -> io::Result<()> {
        let memory = self.members.values().map(|member| member.shape.memory);
        let memory = memory.max().unwrap_or_else(crate::machine::memory);
        self.add(Shape { slots: 1, memory }, true)
    }

    fn launch(&mut self, shape: Shape, alone: bool) -> io::Result<WorkerId> {
        self.last += 1;
        let worker = WorkerId(self.last);
        let inputs = self.inputs.clone();
        let hear = Box::new(move |event| {
            // Without a receiver the session has ended.
            let _ = inputs.send(Input::Link(worker, event));
        });
        let link = (self.launch)(worker, hear)?;
        self.members.insert(
            worker,
            Member {
                link,
                shape,
                alone,
                describes: false,
                phase: Phase::Started,
                compile_key: String::new(),
                tasks: Vec::new(),
                body: Vec::new(),
                asked: Vec::new(),
                fault: None,
            },
        );
        Ok(worker)
    }

    fn send_prepare(&mut self, worker: WorkerId) -> io::Result<()> {
        let is_asked = self.is_described || self.members.values().any(|member| member.describes);
        let (Some(common), Some(member)) = (&self.common, self.members.get_mut(&worker)) else {
            return Ok(());
        };
        let scratch = common.folder.path().join(format!("worker-{}", worker.0));
        fs::create_dir(&scratch)?;
        member.describes = !is_asked;
        member.link.send(ToWorker::Prepare(Box::new(Prepare {
            scratch: path_text(&scratch)?,
            slots: member.shape.slots,
            memory: member.shape.memory,
            describe: member.describes,
            ..common.prepare.clone()
        })));
        Ok(())
    }

    /// Takes what was heard of a worker.
    pub(crate) fn hear(&mut self, worker: WorkerId, event: LinkEvent, news: &mut Vec<News>) {
        match event {
            LinkEvent::Messages(messages) => {
                for message in messages {
                    self.hear_message(worker, message, news);
                }
            }
            LinkEvent::Lost { begun, blame, how } => self.lose(worker, (begun, blame, how), news),
        }
    }

    fn hear_message(&mut self, worker: WorkerId, message: FromWorker, news: &mut Vec<News>) {
        let Some(member) = self.members.get_mut(&worker) else {
            return;
        };
        // What a worker says after a fault is not believed.
        if member.fault.is_some() {
            return;
        }
        let phase = member.phase;
        match message {
            FromWorker::Hello {
                version,
                compile_key,
            } if phase == Phase::Started => {
                (member.phase, member.compile_key) = (Phase::Known, compile_key);
                self.check_version(worker, &version, news);
            }
            FromWorker::NeedPlugin(plugin) if phase == Phase::Known => {
                self.compile(worker, plugin, news);
            }
            FromWorker::Ready(described) if phase == Phase::Known => {
                self.hear_ready(worker, described, news);
            }
            FromWorker::Log(_) | FromWorker::Doing(_) | FromWorker::Bye
                if phase > Phase::Started =>
            {
                news.push(News::Said(worker, message));
            }
            FromWorker::Returned(_) | FromWorker::Artifact { .. } | FromWorker::Report { .. }
                if phase == Phase::Ready =>
            {
                news.push(News::Said(worker, message));
            }
            _ => self.fault(
                worker,
                None,
                "said what it may not say at that time".to_owned(),
            ),
        }
    }

    fn check_version(&mut self, worker: WorkerId, version: &str, news: &mut Vec<News>) {
        const OURS: &str = env!("CARGO_PKG_VERSION");
        if version != OURS {
            let version = visible_line(version);
            news.push(News::Failed(
                Reason::Internal,
                format!("a worker is of version {version} and this program of version {OURS}; start it again"),
            ));
        } else if !self
            .members
            .get(&worker)
            .is_some_and(|member| is_compile_key(&member.compile_key))
        {
            self.fault(worker, None, "named an impossible compile key".to_owned());
        }
    }

    fn compile(&mut self, worker: WorkerId, digest: Digest, news: &mut Vec<News>) {
        let (Some(common), Some(member)) = (&mut self.common, self.members.get_mut(&worker)) else {
            return;
        };
        let Some(bytes) = common.plugins.get(&digest) else {
            self.fault(
                worker,
                None,
                "asked for a plugin that the run does not have".to_owned(),
            );
            return;
        };
        let plugin = first_with(&common.prepare, &digest);
        let asked = member.asked.iter().filter(|asked| **asked == digest);
        if asked.count() >= 2 {
            let cache = &common.prepare.cache;
            news.push(News::Failed(
                Reason::Setup,
                format!(
                    "{plugin} was compiled, and a worker does not find it in the cache {cache}"
                ),
            ));
            return;
        }
        member.asked.push(digest);
        let waiting = common.waiting.entry(digest).or_default();
        if waiting.is_empty() {
            let key = member.compile_key.clone();
            common.compiler.order(digest, bytes.clone(), key);
            news.push(News::Compiling(plugin));
        }
        waiting.push(worker);
    }

    /// Takes the result of the compiler.
    pub(crate) fn compiled(
        &mut self,
        digest: Digest,
        result: Result<(), CompileError>,
        news: &mut Vec<News>,
    ) {
        let Some(common) = self.common.as_mut().filter(|_| !self.is_closing) else {
            return;
        };
        let plugin = first_with(&common.prepare, &digest);
        let waiting = common.waiting.remove(&digest).unwrap_or_default();
        match result {
            Ok(()) => {
                for worker in waiting {
                    if let Some(member) = self.members.get(&worker) {
                        member.link.send(ToWorker::PluginReady(digest));
                    }
                }
            }
            Err(CompileError::Refused(problem)) => {
                news.push(News::Failed(Reason::Plugin, format!("{plugin} {problem}")));
            }
            Err(CompileError::Cache(error)) => {
                news.push(News::Failed(Reason::Setup, error.to_string()));
            }
        }
    }

    fn hear_ready(&mut self, worker: WorkerId, described: Vec<Described>, news: &mut Vec<News>) {
        let (Some(common), Some(member)) = (&self.common, self.members.get_mut(&worker)) else {
            return;
        };
        let mut problems = Vec::new();
        for about in &described {
            let Some(prepared) = common.prepare.providers.get(usize::from(about.provider)) else {
                self.fault(
                    worker,
                    None,
                    "described a provider that does not exist".to_owned(),
                );
                return;
            };
            if let Some(problem) = &about.problem {
                let plugin = plugin_of(prepared);
                problems.push(format!("{plugin} {}", visible_line(&problem.message)));
            }
        }
        if !problems.is_empty() {
            news.push(News::Failed(Reason::Plugin, problems.join("\n")));
            return;
        }
        member.phase = Phase::Ready;
        self.fruitless = 0;
        if member.describes {
            self.is_described = true;
            news.push(News::Described(described));
        }
        news.push(News::Ready {
            worker,
            shape: member.shape,
            alone: member.alone,
        });
    }

    fn lose(
        &mut self,
        worker: WorkerId,
        (mut begun, mut blame, mut how): (Vec<SlotWord>, Option<Blame>, String),
        news: &mut Vec<News>,
    ) {
        let Some(member) = self.members.remove(&worker) else {
            return;
        };
        if let Some(common) = &mut self.common {
            for waiting in common.waiting.values_mut() {
                waiting.retain(|waiting| *waiting != worker);
            }
        }
        if let Some((fault, task)) = member.fault {
            // Its slot may say that it has ended.
            if let Some(TaskId(task)) = task
                && begun.iter().all(|word| word.task != task)
            {
                begun.push(SlotWord {
                    task,
                    began: monotonic(),
                });
            }
            (blame, how) = (Some(Blame::Died), format!("was killed, because it {fault}"));
        }
        let is_ready = member.phase == Phase::Ready;
        let failure = (!is_ready).then(|| {
            let reason = match member.phase {
                Phase::Started => Reason::Internal,
                Phase::Known | Phase::Ready => Reason::Plugin,
            };
            let message = format!(
                "{MAX_FRUITLESS} workers in a row ended before they were ready; the last one {how}"
            );
            (reason, message)
        });
        news.push(News::Lost {
            worker,
            begun,
            blame,
            how,
        });
        if self.is_closing {
            return;
        }
        self.deaths += 1;
        if let Some((reason, message)) = failure {
            self.fruitless += 1;
            if self.fruitless == MAX_FRUITLESS {
                news.push(News::Failed(reason, message));
                return;
            }
        }
        // The schedule asks for another one to run an attempt alone, unless this one never came so far.
        if !(is_ready && member.alone)
            && let Err(error) = self.add(member.shape, member.alone)
        {
            let message = format!("a worker cannot be started: {error}");
            news.push(News::Failed(Reason::Internal, message));
        }
    }

    /// Kills a worker that is broken or hostile; `fault` says what it did, in a report of `task`.
    pub(crate) fn fault(&mut self, worker: WorkerId, task: Option<TaskId>, fault: String) {
        if let Some(member) = self.members.get_mut(&worker) {
            member.fault.get_or_insert((fault, task));
            member.link.kill();
        }
    }

    /// Kills a worker that does not answer in time.
    pub(crate) fn kill(&self, worker: WorkerId) {
        if let Some(member) = self.members.get(&worker) {
            member.link.kill();
        }
    }

    /// Hands a task over, to be sent with others by [`Self::flush`]. `line` is its test's.
    pub(crate) fn assign(
        &mut self,
        worker: WorkerId,
        mut task: Task,
        line: &[u8],
    ) -> io::Result<()> {
        let (Some(common), Some(member)) = (&self.common, self.members.get_mut(&worker)) else {
            return Ok(());
        };
        if line.len() > MAX_LINE {
            let digest = digest(line);
            let blob = common.folder.path().join("blobs").join(digest.to_string());
            if !blob.exists() {
                fs::write(blob, line)?;
            }
            task.line = Line::Digest(digest);
        } else {
            if member.body.len() + line.len() > MAX_TASKS {
                member.flush();
            }
            task.line = Line::Bytes(line.len() as u32);
            member.body.extend_from_slice(line);
        }
        member.tasks.push(task);
        if member.tasks.len() == BATCH {
            member.flush();
        }
        Ok(())
    }

    /// Sends all tasks that were assigned.
    pub(crate) fn flush(&mut self) {
        for member in self.members.values_mut() {
            member.flush();
        }
    }

    /// Asks a worker for tasks that it has not begun.
    pub(crate) fn take_back(&self, worker: WorkerId, keep: u32) {
        if let Some(member) = self.members.get(&worker) {
            member.link.send(ToWorker::TakeBack { keep });
        }
    }

    /// Tells workers to stop, ends those that cannot take tasks yet, and starts no more.
    pub(crate) fn stop(&mut self, kill: bool) {
        let grace = self.common.as_ref().map(|common| common.prepare.grace);
        let grace = grace.unwrap_or_default();
        self.close(&ToWorker::Stop { grace, kill });
    }

    /// Tells workers that nothing more will come.
    pub(crate) fn finish(&mut self) {
        self.close(&ToWorker::Finish { teardown: false });
    }

    fn close(&mut self, last: &ToWorker) {
        self.is_closing = true;
        if let Some(common) = &self.common {
            common.compiler.cancel();
        }
        for member in self.members.values() {
            match member.phase {
                Phase::Ready => member.link.send(last.clone()),
                Phase::Started | Phase::Known => member.link.kill(),
            }
        }
    }

    /// Waits a moment for workers that were told to end; those that are left are killed when this is dropped.
    pub(crate) fn wait(&mut self, inputs: &Receiver<Input>) {
        let until = Instant::now() + END_WITHIN;
        let mut news = Vec::new();
        while !self.members.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            match inputs.recv_timeout(left) {
                Ok(Input::Link(worker, event)) => self.hear(worker, event, &mut news),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    /// How many workers there are.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// What all slots have begun.
    pub(crate) fn slots(&self) -> impl Iterator<Item = SlotWord> + '_ {
        self.members.values().flat_map(|member| member.link.slots())
    }
}

impl Member {
    fn flush(&mut self) {
        if !self.tasks.is_empty() {
            self.link.send(ToWorker::Tasks {
                tasks: std::mem::take(&mut self.tasks),
                body: std::mem::take(&mut self.body),
            });
        }
    }
}

fn plugin_of(prepared: &PreparedProvider) -> String {
    let provider = &prepared.provider;
    format!("provider `{}`: plugin `{}`", provider.name, provider.plugin)
}

/// The first provider with this plugin, as the beginning of a sentence.
fn first_with(prepare: &Prepare, digest: &Digest) -> String {
    let mut providers = prepare.providers.iter();
    let provider = providers.find(|prepared| prepared.digest == *digest);
    provider.map_or_else(|| format!("plugin {digest}"), plugin_of)
}

fn path_text(path: &Path) -> io::Result<String> {
    let path = std::path::absolute(path)?;
    path.into_os_string()
        .into_string()
        .map_err(|path| io::Error::other(format!("{} is not UTF-8", path.display())))
}
