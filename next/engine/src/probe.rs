//! [`Probe`]: one worker without a run, for all that only asks: `validate`, dry runs, and single calls of a plugin.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    slice,
    time::Duration,
};

use runner_model::{
    Digest, Limits, StopSignal, WorkerId,
    prepare::Ready,
    protocol::{FromWorker, Task},
    provider::{Description, Provider},
    row::check_row,
};
pub use runner_prepare::compiler::Inspection;
use runner_prepare::{
    ContentSource, PrepareError, Secrets, compiler, grants, machine as limits,
    mounts::{self, Protected},
    plugins,
};
use runner_record::PluginCache;
use runner_scenario::ProviderProblem;
use signal_hook::{consts::SIGSTOP, low_level::raise};

use crate::{
    EngineError,
    error::machine,
    input::Input,
    session::prestart,
    signals::{self, ListenerGuard, SignalEvent},
    workers::{Next, Pool, PoolEvent, PrestartedWorker, Shape, Supplies, WorkerExit},
};

/// Time for the worker to exit at the end.
const EXIT_WITHIN: Duration = Duration::from_millis(200);
/// How often it is looked whether the worker has said something.
const POLL_EVERY: Duration = Duration::from_millis(100);
/// A worker that says nothing for so long is stuck. Compiling does not count, nor the time that a call may take.
const MAX_SILENCE: Duration = Duration::from_secs(60);

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

/// Starts one worker and makes a call. `on_answer` is told what comes.
///
/// # Errors
///
/// A plugin that cannot be used, secrets without a value, or a worker that lies.
pub fn call(call: Call, on_answer: &mut dyn FnMut(Answer<'_>)) -> Result<CallEnd, EngineError> {
    let prestarted = prestart()?;
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
        on_answer(Answer::Notice(&notice));
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
    let mut probe = Probe::start(prestarted, supplies)?;
    let described = probe.describe(&mut |plugin| on_answer(Answer::Compiling(plugin)))?;
    let ready = match described {
        Ok(ready) => ready,
        Err(end) => return Ok(end),
    };
    if let Some((_, problems)) = probe.pool.problems(&ready) {
        return Err(EngineError::Usage(problems));
    }
    let mut about = ready.providers.into_iter();
    on_answer(Answer::Described(about.next().and_then(|about| about.description)));
    match call.task {
        Some((task, line)) => probe.attempt(&task, &line, &call.provider.limits, on_answer),
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
pub fn inspect(plugin: &str) -> Result<(Digest, u64, Inspection), EngineError> {
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
    pool: Pool,
    /// Longest silence of the worker.
    max_silence: Duration,
    signal: Option<StopSignal>,
    /// The worker, once it takes tasks.
    worker: Option<WorkerId>,
    _listener: ListenerGuard,
}

impl Probe {
    /// Starts the worker.
    ///
    /// # Errors
    ///
    /// What the machine lacks.
    pub(crate) fn start(
        prestarted: PrestartedWorker,
        supplies: Supplies,
    ) -> Result<Self, EngineError> {
        let mut pool = Pool::new(prestarted, supplies).map_err(machine)?;
        pool.start(&[Shape { slots: 1, memory: limits::memory() }]).map_err(machine)?;
        let sender = pool.sender();
        let listening = signals::add_listener(move |signal| {
            // Without a receiver all has ended.
            let _ = sender.send(Input::Signal(signal));
        });
        Ok(Self {
            pool,
            max_silence: MAX_SILENCE,
            signal: None,
            worker: None,
            _listener: listening.map_err(machine)?,
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
            self.worker = self.pool.next_ready().map(|ready| ready.worker);
        }
        if let Some(worker) = self.worker {
            self.pool.assign(worker, task, line)?;
        }
        Ok(())
    }

    /// Waits for the next event. Returns the end of the call if there will be none.
    ///
    /// # Errors
    ///
    /// A plugin that cannot be compiled, or a worker that cannot be used.
    pub(crate) fn next(&mut self) -> Result<Result<PoolEvent, CallEnd>, EngineError> {
        loop {
            self.pool.flush();
            match self.pool.next(POLL_EVERY) {
                Some(Next::Pool(PoolEvent::Failed(_, message))) => {
                    return Err(EngineError::Usage(message));
                }
                Some(Next::Pool(PoolEvent::Exited(_, WorkerExit { how, .. }))) => {
                    // The pool replaces a worker that dies before it takes tasks.
                    if self.worker.is_some() || self.signal.is_some() {
                        return Ok(Err(self.end(CallEnd::Lost(how))));
                    }
                }
                Some(Next::Pool(event)) => return Ok(Ok(event)),
                Some(Next::Input(Input::Signal(SignalEvent::Stop(signal, is_second)))) => {
                    self.signal = Some(signal);
                    // The worker's exit ends the call.
                    self.pool.stop(is_second);
                }
                Some(Next::Input(Input::Signal(SignalEvent::Suspend))) => {
                    let _ = raise(SIGSTOP);
                }
                Some(Next::Input(_)) => {}
                None => {
                    if self.pool.silence() > self.max_silence && !self.pool.is_supplying() {
                        return Ok(Err(self.end(CallEnd::Late)));
                    }
                }
            }
        }
    }

    /// Makes an attempt.
    fn attempt(
        &mut self,
        task: &Task,
        line: &[u8],
        limits: &Limits,
        on_answer: &mut dyn FnMut(Answer<'_>),
    ) -> Result<CallEnd, EngineError> {
        self.max_silence += Duration::from(task.timeout);
        self.assign(task.clone(), line).map_err(machine)?;
        loop {
            let message = match self.next()? {
                Ok(PoolEvent::Message(_, message)) => message,
                Ok(_) => continue,
                Err(end) => return Ok(end),
            };
            match message {
                FromWorker::Artifact { task: id, index, bytes } if id == task.id => {
                    on_answer(Answer::Artifact { index, bytes: &bytes });
                }
                FromWorker::Report { head, body } if head.task == task.id => {
                    let (row, log) = body.split_at(head.row_bytes as usize);
                    check_row(row, task, limits).map_err(|error| {
                        EngineError::Usage(format!("the worker reported {error}"))
                    })?;
                    on_answer(Answer::Report { row, log });
                    return Ok(self.end(CallEnd::Done));
                }
                FromWorker::Log(line) => on_answer(Answer::Log(&line)),
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
        self.pool.finish();
        self.pool.wait_for_exits(EXIT_WITHIN);
    }
}
