//! [`Probe`]: one worker without a run, for all that only asks: `validate`, dry runs, and single calls of a plugin.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    path::{Path, PathBuf},
    slice,
    sync::mpsc::Receiver,
    time::{Duration, Instant},
};

use runner_model::{
    Digest, Limits, StopSignal, WorkerId,
    prepare::Ready,
    protocol::{FromWorker, Task},
    provider::{Description, Provider},
    row::check_row,
};
use runner_prepare::{
    ContentSource, PrepareError, Secrets, compiler, grants, machine,
    mounts::{self, Protected},
    plugins,
};
use runner_record::PluginCache;
use runner_scenario::ProviderProblem;
use signal_hook::{consts::SIGSTOP, low_level::raise};

use crate::{
    EngineError,
    coordinator::Input,
    early,
    plan::Shape,
    pool::{Pool, PoolEvent, PrestartedWorker, Supplies, Supply},
    session::machine as cannot_prepare,
    signals::{self, Listening, SignalEvent},
    workers::WorkerExit,
};

pub use runner_prepare::compiler::Inspection;

/// How often it is looked whether the worker has said something.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A worker that says nothing for so long is stuck. Compiling does not count, nor the time that a call may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A call of a plugin that belongs to no run. Nothing is created but entries of the cache.
#[derive(Clone, Debug)]
pub struct Call {
    /// The provider. Its paths are relative to the current folder.
    pub provider: Provider,
    /// The attachments and schemas of the test, by digest.
    pub files: BTreeMap<Digest, PathBuf>,
    /// Files with values of secrets.
    pub secret_files: Vec<PathBuf>,
    /// The folder that the caller writes artifacts to. No guest may change where it leads.
    pub artifacts: Option<PathBuf>,
    /// The attempt with its test's line; without one the plugin only describes itself.
    pub task: Option<(Task, Vec<u8>)>,
}

/// What is heard meanwhile.
#[derive(Debug)]
pub enum Answer<'a> {
    /// A plugin is being compiled; its name in the scenario.
    Compiling(&'a str),
    /// Something that a user should know.
    Notice(&'a str),
    /// The plugin was loaded, and says this of itself, if it does.
    Described(Option<Description>),
    /// A piece of an artifact; all pieces come before the report. Neither names nor sizes are checked.
    Artifact {
        /// The artifact's index in the row.
        index: u32,
        /// The next bytes.
        bytes: &'a [u8],
    },
    /// The attempt has ended.
    Report {
        /// Its row, which was checked as those of runs are.
        row: &'a [u8],
        /// What was said in it: JSON as [`runner_model::log`] reads it, not checked. Empty if nothing was.
        log: &'a [u8],
    },
    /// A line for people, not checked.
    Log(&'a str),
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallEnd {
    /// All was answered.
    Done,
    /// A signal stopped it; it may have been answered.
    Stopped(StopSignal),
    /// The worker died; the rest of a sentence that begins with it.
    Lost(String),
    /// The worker said nothing for too long.
    Late,
}

/// Starts one worker and makes a call. `hear` is told what comes.
///
/// # Errors
///
/// A plugin that cannot be used, secrets without a value, or a worker that lies.
pub fn call(call: Call, hear: &mut dyn FnMut(Answer<'_>)) -> Result<CallEnd, EngineError> {
    let early = early()?;
    let cache = PluginCache::open()?;
    let provider = slice::from_ref(&call.provider);
    let (mut providers, plugins, problems) = plugins::find(provider, Path::new("."), &cache)?;
    refuse(&problems)?;
    let problems = mounts::find(&mut providers, Path::new("."), || {
        let files = call.files.values().chain(&call.secret_files);
        let files = files.map(|file| Protected::file("a file of this command", file));
        let artifacts = call.artifacts.iter();
        let artifacts = artifacts.map(|path| Protected::folder("the folder of artifacts", path));
        let mut protected = Protected::of_process(&cache);
        protected.push(Protected::file("a plugin", &call.provider.plugin));
        protected.extend(files.chain(artifacts));
        protected
    });
    refuse(&problems)?;
    let secrets = Secrets::read(&providers, &call.secret_files)?;
    refuse(&secrets.problems(&providers))?;
    let notices = secrets.notices.iter().cloned();
    for notice in notices.chain(grants::idle(&providers, &plugins)) {
        hear(Answer::Notice(&notice));
    }
    let supplies = Supplies {
        name: "plugin".to_owned(),
        session: 1,
        grace: Default::default(),
        providers,
        plugins,
        blobs: ContentSource::of_files(call.files),
        secrets: secrets.values,
        cache,
    };
    let mut once = Probe::start(early, supplies)?;
    let described = once.describe(&mut |plugin| hear(Answer::Compiling(plugin)))?;
    let ready = match described {
        Ok(ready) => ready,
        Err(end) => return Ok(end),
    };
    if let Some((_, problems)) = once.crew.problems(&ready) {
        return Err(EngineError::Usage(problems));
    }
    let mut about = ready.providers.into_iter();
    hear(Answer::Described(about.next().and_then(|about| about.description)));
    match call.task {
        Some((task, line)) => once.attempt(&task, &line, &call.provider.limits, hear),
        None => Ok(CallEnd::Done),
    }
}

fn refuse(problems: &[ProviderProblem]) -> Result<(), EngineError> {
    let lines = problems.iter().map(|problem| match &problem.help {
        Some(help) => format!("{}\n{help}", problem.message),
        None => problem.message.clone(),
    });
    match problems.is_empty() {
        true => Ok(()),
        false => Err(EngineError::Usage(lines.collect::<Vec<_>>().join("\n"))),
    }
}

/// Looks at a plugin in the current folder. Gives the SHA-256 of its file, its length, and what it is.
///
/// # Errors
///
/// Why it is no plugin.
pub fn look(plugin: &str) -> Result<(Digest, u64, Inspection), EngineError> {
    let cache = PluginCache::open()?;
    let refused = |problem| EngineError::Usage(format!("plugin `{plugin}` {problem}"));
    let found = plugins::read(plugin, Path::new("."), Limits::default().file).map_err(refused)?;
    match compiler::inspect(&cache, &found.digest, found.copy) {
        Ok(inspection) => Ok((found.digest, found.bytes, inspection)),
        Err(PrepareError::Refused(problem)) => Err(refused(problem)),
        Err(error) => Err(error.into()),
    }
}

/// One worker without a run.
pub(crate) struct Probe {
    crew: Pool,
    inputs: Receiver<Input>,
    news: VecDeque<PoolEvent>,
    /// How long the worker may say nothing.
    patience: Duration,
    heard: Instant,
    /// Plugins that are being compiled; the worker waits for them.
    compiling: usize,
    signal: Option<StopSignal>,
    /// The worker, once it takes tasks.
    worker: Option<WorkerId>,
    _listening: Listening,
}

impl Probe {
    /// Starts the worker.
    ///
    /// # Errors
    ///
    /// What the machine lacks.
    pub(crate) fn start(early: PrestartedWorker, supplies: Supplies) -> Result<Self, EngineError> {
        let shape = Shape { slots: 1, memory: machine::memory() };
        let crew = Pool::new(early, supplies, &[shape]);
        let (crew, inputs) = crew.map_err(cannot_prepare)?;
        let sender = crew.sender();
        let listening = signals::listen(move |heard| {
            // Without a receiver all has ended.
            let _ = sender.send(Input::Signal(heard));
        });
        Ok(Self {
            crew,
            inputs,
            news: VecDeque::new(),
            patience: PATIENCE,
            heard: Instant::now(),
            compiling: 0,
            signal: None,
            worker: None,
            _listening: listening.map_err(cannot_prepare)?,
        })
    }

    /// Waits until the worker has loaded the plugins and they have described themselves. Some may not be usable.
    ///
    /// # Errors
    ///
    /// A plugin that cannot be compiled, or a worker that cannot be used.
    pub(crate) fn describe(
        &mut self,
        compiling: &mut dyn FnMut(&str),
    ) -> Result<Result<Ready, CallEnd>, EngineError> {
        loop {
            match self.next()? {
                Ok(PoolEvent::Described(ready)) => return Ok(Ok(ready)),
                Ok(PoolEvent::Compiling(plugin)) => compiling(&plugin),
                Ok(_) => {}
                Err(end) => return Ok(Err(end)),
            }
        }
    }

    /// Hands a task over with its test's line, to be sent when [`Self::next`] waits. All providers can be used.
    ///
    /// # Errors
    ///
    /// The disk.
    pub(crate) fn assign(&mut self, task: Task, line: &[u8]) -> io::Result<()> {
        if self.worker.is_none() {
            self.worker = self.crew.next_ready().map(|(worker, ..)| worker);
        }
        if let Some(worker) = self.worker {
            self.crew.assign(worker, task, line)?;
        }
        Ok(())
    }

    /// Waits for what the worker says or does next, and gives the end if nothing more will come.
    ///
    /// # Errors
    ///
    /// A plugin that cannot be compiled, or a worker that cannot be used.
    pub(crate) fn next(&mut self) -> Result<Result<PoolEvent, CallEnd>, EngineError> {
        loop {
            match self.news.pop_front() {
                Some(PoolEvent::Failed(_, message)) => return Err(EngineError::Usage(message)),
                // Another one is started while plugins are described.
                Some(PoolEvent::Lost(_, WorkerExit { how, .. }))
                    if self.worker.is_some() || self.signal.is_some() =>
                {
                    return Ok(Err(self.end(CallEnd::Lost(how))));
                }
                Some(PoolEvent::Lost(..)) => {}
                Some(news) => {
                    self.compiling += usize::from(matches!(news, PoolEvent::Compiling(_)));
                    return Ok(Ok(news));
                }
                None if self.compiling == 0 && self.heard.elapsed() > self.patience => {
                    return Ok(Err(self.end(CallEnd::Late)));
                }
                None => self.listen(),
            }
        }
    }

    /// Takes what comes next, if something comes soon.
    fn listen(&mut self) {
        self.crew.flush();
        let Ok(input) = self.inputs.recv_timeout(LOOK_EVERY) else {
            return;
        };
        let mut news = Vec::new();
        match input {
            Input::Link(worker, event) => self.crew.hear(worker, event, &mut news),
            Input::Supplied(supply, result) => {
                if matches!(supply, Supply::Plugin(_)) {
                    self.compiling = self.compiling.saturating_sub(1);
                }
                self.crew.supplied(supply, result, &mut news);
            }
            Input::Signal(SignalEvent::Stop(signal, is_second)) => {
                self.signal = Some(signal);
                // It ends, and is lost.
                self.crew.stop(is_second);
            }
            Input::Signal(SignalEvent::Suspend) => {
                let _ = raise(SIGSTOP);
            }
            _ => {}
        }
        // Also after it was suspended.
        self.heard = Instant::now();
        self.news.extend(news);
    }

    /// Makes an attempt.
    fn attempt(
        &mut self,
        task: &Task,
        line: &[u8],
        limits: &Limits,
        hear: &mut dyn FnMut(Answer<'_>),
    ) -> Result<CallEnd, EngineError> {
        self.patience += Duration::from(task.timeout);
        self.assign(task.clone(), line).map_err(cannot_prepare)?;
        loop {
            let message = match self.next()? {
                Ok(PoolEvent::Said(_, message)) => message,
                Ok(_) => continue,
                Err(end) => return Ok(end),
            };
            match message {
                FromWorker::Artifact { task: of, index, bytes } if of == task.id => {
                    hear(Answer::Artifact { index, bytes: &bytes });
                }
                FromWorker::Report { head, body } if head.task == task.id => {
                    let (row, log) = body.split_at(head.row_bytes as usize);
                    check_row(row, task, limits).map_err(|error| {
                        EngineError::Usage(format!("the worker reported {error}"))
                    })?;
                    hear(Answer::Report { row, log });
                    return Ok(self.end(CallEnd::Done));
                }
                FromWorker::Log(line) => hear(Answer::Log(&line)),
                _ => {}
            }
        }
    }

    /// How it ended: by the signal, if there was one.
    fn end(&self, end: CallEnd) -> CallEnd {
        self.signal.map_or(end, CallEnd::Stopped)
    }
}

impl Drop for Probe {
    /// Waits a moment for the worker's end; one that takes longer is killed.
    fn drop(&mut self) {
        self.crew.finish();
        self.crew.wait(&self.inputs);
    }
}
