//! [`Once`]: one worker without a run, for all that only asks: `validate`, dry runs, and single calls of a plugin.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
    sync::mpsc::Receiver,
    time::{Duration, Instant},
};

use runner_model::{
    Digest, HostFault, Limits, StopSignal, TaskId, WorkerId,
    prepare::Ready,
    protocol::{FromWorker, ReportHead, Task, TaskKind},
    provider::{PluginKind, PreparedProvider, Provider},
    row::check_row,
};
use runner_record::PluginCache;
use runner_scenario::ProviderProblem;
use signal_hook::{consts::SIGSTOP, low_level::raise};

use crate::{
    EngineError,
    blobs::Blobs,
    compiler::{self, CompileError},
    coordinator::Input,
    crew::{Crew, Early, News, Supplies, Supply},
    early, machine,
    mounts::{self, Protected},
    plan::Shape,
    plugins,
    secrets::Secrets,
    session::machine as cannot_prepare,
    signals::{self, Heard, Listening},
};

/// Tasks that are sent and not yet answered.
const WINDOW: usize = 64;
/// How often it is looked whether the worker has said something.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Calls of plugins that belong to no run. Nothing is created but entries of the cache.
#[derive(Clone, Debug)]
pub struct Calls {
    /// The providers, which tasks name by their index.
    pub providers: Vec<Provider>,
    /// The folder that their paths are relative to.
    pub folder: PathBuf,
    /// The attachments and schemas of the tests, by digest.
    pub files: BTreeMap<Digest, PathBuf>,
    /// Files with values of secrets.
    pub secret_files: Vec<PathBuf>,
    /// The folder that the caller writes artifacts to. No guest may change where it leads.
    pub artifacts: Option<PathBuf>,
    /// How long guests may go on after a stop.
    pub grace: Duration,
    /// A worker that says nothing for so long is ended. Compiling does not count.
    pub patience: Duration,
}

/// What is heard meanwhile.
#[derive(Debug)]
pub enum Answer<'a> {
    /// A plugin is being compiled; its name in the scenario.
    Compiling(&'a str),
    /// Something that a user should know.
    Notice(&'a str),
    /// The providers were loaded, and have described themselves. Tasks follow.
    Ready {
        /// What was found out about them.
        ready: &'a Ready,
        /// What they are.
        providers: &'a [PreparedProvider],
    },
    /// A piece of an artifact; the pieces of an attempt come before its report. Neither names nor sizes are checked.
    Artifact {
        /// The attempt.
        task: &'a Task,
        /// The artifact's index in the row.
        index: u32,
        /// The next bytes.
        bytes: &'a [u8],
    },
    /// An attempt has ended.
    Report {
        /// The attempt.
        task: &'a Task,
        /// Its row, which was checked as those of runs are; of a [`TaskKind::Check`] whatever the worker said.
        row: &'a [u8],
        /// What was said in it: JSON as [`runner_model::log`] reads it, not checked. Empty if nothing was.
        log: &'a [u8],
        /// What the machine lacked.
        host_fault: Option<HostFault>,
    },
    /// A line for people, not checked.
    Log(&'a str),
}

/// How calls ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallsEnd {
    /// There are no more tasks, and all are answered.
    Done,
    /// A signal stopped them; what was in flight may have been answered.
    Stopped(StopSignal),
    /// The worker died; the rest of a sentence that begins with it.
    Lost(String),
    /// The worker said nothing for too long.
    Late,
}

/// Starts one worker and gives it tasks. `next` is asked for the next task with its body, the test's line, whenever one may be
/// sent; `hear` is told what comes.
///
/// # Errors
///
/// Plugins that cannot be used, secrets without a value, or what `next` says.
pub fn call(
    calls: Calls,
    next: &mut dyn FnMut() -> io::Result<Option<(Task, Vec<u8>)>>,
    hear: &mut dyn FnMut(Answer<'_>),
) -> Result<CallsEnd, EngineError> {
    let early = early()?;
    let cache = PluginCache::open()?;
    let found = plugins::find(&calls.providers, &calls.folder, &cache, None)?;
    let (mut providers, plugins) = found.map_err(|problems| messages(&problems))?;
    let problems = mounts::find(&mut providers, &calls.folder, || {
        let plugins = calls.providers.iter().map(|provider| &provider.plugin);
        let plugins = plugins.map(|plugin| Protected::file("a plugin", calls.folder.join(plugin)));
        let files = calls.files.values().chain(&calls.secret_files);
        let files = files.map(|file| Protected::file("a file of this command", file));
        let artifacts = calls.artifacts.iter();
        let artifacts = artifacts.map(|path| Protected::folder("the folder of artifacts", path));
        let mut protected = Protected::of_process(&cache);
        protected.extend(plugins.chain(files).chain(artifacts));
        protected
    });
    if !problems.is_empty() {
        return Err(messages(&problems));
    }
    let secrets = Secrets::read(&providers, &calls.secret_files)?;
    if let Some((_, name)) = secrets.missing.first() {
        return Err(EngineError::Usage(format!(
            "secret `{name}` has no value\nset it in the environment, or name a file with `--secret-file FILE`"
        )));
    }
    let idle = providers.iter().flat_map(|prepared| {
        let plugin = plugins.get(&prepared.digest);
        plugin.map_or_else(Vec::new, |plugin| crate::grants::idle(prepared, plugin))
    });
    for notice in secrets.notices.iter().cloned().chain(idle) {
        hear(Answer::Notice(&notice));
    }
    let supplies = Supplies {
        name: "plugin".to_owned(),
        session: 1,
        grace: calls.grace.into(),
        providers: providers.clone(),
        plugins,
        blobs: Blobs::of_files(calls.files),
        secrets: secrets.values,
        cache,
        seconds: None,
    };
    let mut once = Once::start(early, supplies, calls.patience)?;
    let ready = match once.prepare(hear)? {
        Ok(ready) => ready,
        Err(end) => return Ok(end),
    };
    if let Some(problems) = once.crew.problems(&ready) {
        return Err(EngineError::Usage(problems));
    }
    hear(Answer::Ready {
        ready: &ready,
        providers: &providers,
    });
    once.work(next, hear)
}

fn messages(problems: &[ProviderProblem]) -> EngineError {
    let lines = problems.iter().map(|problem| match &problem.help {
        Some(help) => format!("{}\n{help}", problem.message),
        None => problem.message.clone(),
    });
    EngineError::Usage(lines.collect::<Vec<_>>().join("\n"))
}

/// What a plugin's file is.
#[derive(Clone, Debug)]
pub struct Looked {
    /// Its SHA-256.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
    /// What it is.
    pub kind: PluginKind,
    /// The version of the contract that it exports.
    pub contract: Option<String>,
    /// What it imports.
    pub imports: Vec<String>,
    /// What it exports.
    pub exports: Vec<String>,
}

/// Looks at a plugin, as a scenario in `folder` would name it.
///
/// # Errors
///
/// Why it is no plugin.
pub fn look(plugin: &str, folder: &Path) -> Result<Looked, EngineError> {
    let cache = PluginCache::open()?;
    let refused = |problem| EngineError::Usage(format!("plugin `{plugin}` {problem}"));
    let bytes = plugins::read(plugin, folder, Limits::default().file).map_err(refused)?;
    let digest = runner_model::digest(&bytes);
    let found = match compiler::inspect(&cache, &digest, &bytes, None) {
        Ok(found) => found,
        Err(CompileError::Refused(problem)) => return Err(refused(problem)),
        Err(CompileError::Cache(error)) => return Err(error.into()),
    };
    Ok(Looked {
        digest,
        bytes: bytes.len() as u64,
        kind: found.kind,
        contract: found.contract,
        imports: found.imports,
        exports: found.exports,
    })
}

/// One worker without a run.
pub(crate) struct Once {
    crew: Crew,
    inputs: Receiver<Input>,
    patience: Duration,
    heard: Instant,
    /// Plugins that are being compiled; the worker waits for them.
    compiling: usize,
    signal: Option<StopSignal>,
    /// The worker, once it takes tasks.
    worker: Option<WorkerId>,
    providers: Vec<PreparedProvider>,
    in_flight: HashMap<TaskId, Task>,
    _listening: Listening,
}

impl Once {
    /// Starts the worker.
    ///
    /// # Errors
    ///
    /// What the machine lacks.
    pub(crate) fn start(
        early: Early,
        supplies: Supplies,
        patience: Duration,
    ) -> Result<Self, EngineError> {
        let shape = Shape {
            slots: 1,
            memory: machine::memory(),
        };
        let providers = supplies.providers.clone();
        let crew = Crew::new(early, supplies, &[shape]);
        let (crew, inputs) = crew.map_err(cannot_prepare)?;
        let sender = crew.sender();
        let listening = signals::listen(move |heard| {
            // Without a receiver all has ended.
            let _ = sender.send(Input::Signal(heard));
        });
        Ok(Self {
            crew,
            inputs,
            patience,
            heard: Instant::now(),
            compiling: 0,
            signal: None,
            worker: None,
            providers,
            in_flight: HashMap::new(),
            _listening: listening.map_err(cannot_prepare)?,
        })
    }

    /// Waits until the worker has loaded the plugins and they have described themselves. Some may not be usable.
    ///
    /// # Errors
    ///
    /// A plugin that cannot be compiled, or a worker that cannot be used.
    pub(crate) fn prepare(
        &mut self,
        hear: &mut dyn FnMut(Answer<'_>),
    ) -> Result<Result<Ready, CallsEnd>, EngineError> {
        let mut ready = None;
        loop {
            if let Some(end) = self.step(hear, &mut ready)? {
                return Ok(Err(end));
            }
            if let Some(ready) = ready.take() {
                return Ok(Ok(ready));
            }
        }
    }

    /// Sends tasks and hears of them until there are no more. The providers can be used.
    ///
    /// # Errors
    ///
    /// What `next` says, or a worker that lies.
    pub(crate) fn work(
        &mut self,
        next: &mut dyn FnMut() -> io::Result<Option<(Task, Vec<u8>)>>,
        hear: &mut dyn FnMut(Answer<'_>),
    ) -> Result<CallsEnd, EngineError> {
        self.worker = self.crew.next_ready().map(|(worker, ..)| worker);
        let Some(worker) = self.worker else {
            return Ok(CallsEnd::Lost("was never ready".to_owned()));
        };
        let mut is_over = false;
        loop {
            while !is_over && self.signal.is_none() && self.in_flight.len() < WINDOW {
                let Some((task, body)) = next().map_err(cannot_prepare)? else {
                    is_over = true;
                    break;
                };
                self.in_flight.insert(task.id, task.clone());
                let assigned = self.crew.assign(worker, task, &body);
                assigned.map_err(cannot_prepare)?;
            }
            self.crew.flush();
            if self.in_flight.is_empty() {
                self.crew.finish();
                return Ok(self.end(CallsEnd::Done));
            }
            if let Some(end) = self.step(hear, &mut None)? {
                return Ok(end);
            }
        }
    }

    /// Takes what comes next, and gives the end if nothing more will.
    fn step(
        &mut self,
        hear: &mut dyn FnMut(Answer<'_>),
        ready: &mut Option<Ready>,
    ) -> Result<Option<CallsEnd>, EngineError> {
        let input = self.inputs.recv_timeout(LOOK_EVERY);
        if input.is_ok() {
            self.heard = Instant::now();
        }
        let mut news = Vec::new();
        match input {
            Ok(Input::Link(worker, event)) => self.crew.hear(worker, event, &mut news),
            Ok(Input::Supplied(supply, result)) => {
                if matches!(supply, Supply::Plugin(_)) {
                    self.compiling = self.compiling.saturating_sub(1);
                }
                self.crew.supplied(supply, result, &mut news);
            }
            Ok(Input::Signal(Heard::Stop(signal, is_second))) => {
                self.signal = Some(signal);
                self.crew.stop(is_second);
                if self.in_flight.is_empty() {
                    return Ok(Some(CallsEnd::Stopped(signal)));
                }
            }
            Ok(Input::Signal(Heard::Suspend)) => {
                let _ = raise(SIGSTOP);
            }
            _ => {}
        }
        for news in news {
            match news {
                News::Described(described) => *ready = Some(described),
                News::Failed(_, message) => return Err(EngineError::Usage(message)),
                News::Lost { how, .. } if self.worker.is_some() => {
                    return Ok(Some(self.end(CallsEnd::Lost(how))));
                }
                // Another one is started.
                News::Lost { .. } => {}
                News::Compiling(plugin) => {
                    self.compiling += 1;
                    hear(Answer::Compiling(&plugin));
                }
                News::Said(_, message) => self.take(message, hear)?,
            }
        }
        let is_late = self.compiling == 0 && self.heard.elapsed() > self.patience;
        Ok(is_late.then(|| self.end(CallsEnd::Late)))
    }

    fn take(
        &mut self,
        message: FromWorker,
        hear: &mut dyn FnMut(Answer<'_>),
    ) -> Result<(), EngineError> {
        match message {
            FromWorker::Report { head, body } => return self.report(&head, &body, hear),
            FromWorker::Artifact { task, index, bytes } => {
                if let Some(task) = self.in_flight.get(&task) {
                    hear(Answer::Artifact {
                        task,
                        index,
                        bytes: &bytes,
                    });
                }
            }
            FromWorker::Returned(tasks) => self.in_flight.retain(|id, _| !tasks.contains(id)),
            FromWorker::Log(line) => hear(Answer::Log(&line)),
            _ => {}
        }
        Ok(())
    }

    fn report(
        &mut self,
        head: &ReportHead,
        body: &[u8],
        hear: &mut dyn FnMut(Answer<'_>),
    ) -> Result<(), EngineError> {
        // A second report of a task is as good as none.
        let Some(task) = self.in_flight.remove(&head.task) else {
            return Ok(());
        };
        let (row, log) = body.split_at(head.row_bytes as usize);
        let provider = self.providers.get(usize::from(task.provider));
        if let Some(provider) = provider.filter(|_| task.kind != TaskKind::Check) {
            let checked = check_row(row, &task, &provider.provider.limits);
            checked.map_err(|error| EngineError::Usage(format!("the worker reported {error}")))?;
        }
        hear(Answer::Report {
            task: &task,
            row,
            log,
            host_fault: head.host_fault,
        });
        Ok(())
    }

    /// How it ended: by the signal, if there was one.
    fn end(&self, end: CallsEnd) -> CallsEnd {
        self.signal.map_or(end, CallsEnd::Stopped)
    }
}

impl Drop for Once {
    /// Waits a moment for the worker's end; one that takes longer is killed.
    fn drop(&mut self) {
        self.crew.finish();
        self.crew.wait(&self.inputs);
    }
}
