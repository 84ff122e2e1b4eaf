//! [`Content`]: compiled plugins, attachments, schemas and large tests, which workers request. Each is compiled or copied once, on
//! a separate thread, and the machine's memory bounds the number of compilers.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, Ordering},
    mpsc::Sender,
};
use std::{env, fs, fs::File, io, slice, thread};

use runner_model::prepare::{Described, Problem, Ready, RefusedPart, SecretValues};
use runner_model::provider::{PreparedProvider, Provider, code_forms};
use runner_model::visible::{quoted, shown_path, visible_line};
use runner_model::{Digest, ErrorClass, HostFault, Micros, Reason, WorkerId, digest};
use runner_prepare::mounts::{self, Protected};
use runner_prepare::{ContentSource, PrepareError, compiler, development, machine, plugins};
use runner_record::{PluginCache, Scratch};
use runner_scenario::ProviderProblem;
use tracing::debug;

use super::link::{Fault, RequestedContent};
use super::{inputs::Input, remote::Offer};

/// Bytes of a worker's message about a plugin.
const MAX_PROBLEM: usize = 64 << 10;

/// Data that workers are prepared with, and content that they may request.
#[derive(Debug)]
pub(crate) struct Supplies {
    /// The run's id, for templates.
    pub(crate) run: String,
    /// The session's number, from 1.
    pub(crate) session: u32,
    /// Name of the scenario.
    pub(crate) scenario: String,
    pub(crate) grace: Micros,
    pub(crate) providers: Vec<PreparedProvider>,
    pub(crate) plugins: ContentSource,
    pub(crate) blobs: ContentSource,
    pub(crate) secrets: SecretValues,
    pub(crate) cache: PluginCache,
    /// Whether plugins are compiled without optimization.
    pub(crate) quick: bool,
}

impl Supplies {
    /// Finds a provider outside of a plan, with its plugin and its folders, whose paths are relative to `folder`. `run` is the name
    /// of a run for templates, and `protected` returns the files and folders that no guest may write to. Returns the problems of the
    /// provider, too.
    ///
    /// # Errors
    ///
    /// The cache cannot be used.
    pub(crate) fn of_provider(
        run: &str,
        provider: &Provider,
        folder: &Path,
        blobs: ContentSource,
        protected: impl FnOnce(&PluginCache) -> Vec<Protected>,
    ) -> Result<(Self, Vec<ProviderProblem>), PrepareError> {
        let cache = PluginCache::open()?;
        let (mut providers, plugins, mut problems) =
            plugins::find(slice::from_ref(provider), folder, &cache)?;
        if problems.is_empty() {
            problems = mounts::find(&mut providers, folder, || protected(&cache));
        }
        let supplies = Self {
            run: run.to_owned(),
            session: 1,
            scenario: String::new(),
            grace: Micros(0),
            providers,
            plugins,
            blobs,
            secrets: SecretValues::default(),
            cache,
            quick: false,
        };
        Ok((supplies, problems))
    }

    /// Returns the problems of providers as lines, with the reason for the run's failure: a lack of memory or files is not the
    /// plugin's fault.
    pub(super) fn problems(&self, ready: &Ready) -> Option<(Reason, String)> {
        let mut reason = Reason::Plugin;
        let mut lines = Vec::new();
        for about in &ready.providers {
            let Some(problem) = &about.problem else { continue };
            reason = HostFault::parse(&problem.code).map_or(reason, HostFault::reason);
            if let Some(prepared) = self.providers.get(usize::from(about.provider)) {
                let PreparedProvider { provider, .. } = prepared;
                let most = problem.message.floor_char_boundary(MAX_PROBLEM);
                let is_slow = problem.code == "timeout"
                    && development::is_development(&self.cache, &prepared.digest);
                let advice = is_slow.then(|| {
                    format!(
                        "; a development form loads its source in each attempt; to build the final form: runner plugin build {}",
                        quoted(&provider.plugin)
                    )
                });
                lines.push(format!(
                    "{} `{}`: plugin `{}` {}{}",
                    provider.role(),
                    provider.name,
                    provider.plugin,
                    visible_line(&problem.message[..most]),
                    advice.unwrap_or_default()
                ));
            }
        }
        (!lines.is_empty()).then(|| (reason, lines.join("\n")))
    }
}

/// The content that workers of a session may request.
pub(super) struct Content {
    pub(super) supplies: Supplies,
    sender: Sender<Input>,
    folder: Scratch,
    /// Set once no more workers are started. Compilations check it and end early.
    is_closing: Arc<AtomicBool>,
    /// Workers that wait for a compilation or a copy.
    waiting: HashMap<RequestedContent, Vec<WorkerId>>,
    /// Compilations and copies that have not started.
    queued: VecDeque<ContentJob>,
    /// Number of running compilations and copies.
    running: usize,
    /// Artifacts of stored rows that tasks need.
    artifacts: HashMap<Digest, Weak<SessionFile>>,
}

/// A file in the session's folder that is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct SessionFile(PathBuf);

impl Drop for SessionFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A compilation or a copy that has not started.
struct ContentJob {
    content: RequestedContent,
    /// Sent when it starts.
    event: Option<Input>,
    make: Box<dyn FnOnce() -> Result<(), PrepareError> + Send>,
}

impl Content {
    /// # Errors
    ///
    /// The temporary folder cannot be written.
    pub(super) fn new(supplies: Supplies, sender: Sender<Input>) -> io::Result<Self> {
        let folder = Scratch::make(&env::temp_dir()).map_err(io::Error::other)?;
        fs::create_dir(folder.path().join("blobs"))?;
        Ok(Self {
            supplies,
            sender,
            folder,
            is_closing: Arc::default(),
            waiting: HashMap::new(),
            queued: VecDeque::new(),
            running: 0,
            artifacts: HashMap::new(),
        })
    }

    /// Returns the folder of blobs and large tests.
    pub(super) fn blobs(&self) -> PathBuf {
        self.folder.path().join("blobs")
    }

    /// Returns the session's folder.
    pub(super) fn folder(&self) -> &Scratch {
        &self.folder
    }

    /// Creates a worker's folder.
    pub(super) fn make_scratch(&self, worker: WorkerId) -> io::Result<PathBuf> {
        let scratch = self.folder.path().join(format!("worker-{}", worker.0));
        fs::create_dir(&scratch).map(|()| scratch)
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }

    /// Cancels compilations.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
    }

    /// Returns whether workers wait for content.
    pub(super) fn is_awaited(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns whether a worker waits for content.
    pub(super) fn awaits(&self, worker: WorkerId) -> bool {
        self.waiting.values().any(|waiting| waiting.contains(&worker))
    }

    /// Stops waiting for content on behalf of a worker that has exited.
    pub(super) fn forget(&mut self, worker: WorkerId) {
        self.waiting.values_mut().for_each(|waiting| waiting.retain(|one| *one != worker));
    }

    /// Stores the line of a large test or the lines of a journal, which workers request by their digest.
    pub(super) fn put_lines(&self, line: &[u8]) -> io::Result<Digest> {
        let digest = digest(line);
        let blob = self.blobs().join(digest.to_string());
        if !blob.exists() {
            fs::write(blob, line)?;
        }
        Ok(digest)
    }

    /// Copies an artifact of a stored row into the session's folder, where it stays as long as the result. `None` if it is
    /// there anyway.
    pub(super) fn put_artifact(
        &mut self,
        digest: Digest,
        open: impl FnOnce() -> io::Result<File>,
    ) -> io::Result<Option<Arc<SessionFile>>> {
        let path = self.blobs().join(digest.to_string());
        if let Some(file) = self.artifacts.get(&digest).and_then(Weak::upgrade) {
            return Ok(Some(file));
        }
        if self.supplies.blobs.has(&digest) || path.exists() {
            return Ok(None);
        }
        self.artifacts.retain(|_, file| file.strong_count() > 0);
        let file = Arc::new(SessionFile(path));
        // Workers take a file that is there for a whole one.
        let SessionFile(path) = &*file;
        let part = path.with_extension("part");
        io::copy(&mut open()?, &mut File::create(&part)?)?;
        fs::rename(part, path)?;
        self.artifacts.insert(digest, Arc::downgrade(&file));
        Ok(Some(file))
    }

    /// Compiles a plugin into the cache.
    pub(super) fn compile(
        &mut self,
        worker: WorkerId,
        content: RequestedContent,
        key: String,
    ) -> Result<(), Fault> {
        let Some(provider) = self.with_plugin(content) else {
            return Err("requested a plugin that is not part of the run");
        };
        let event = Some(Input::Compiling(shown_plugin(provider)));
        let Supplies { plugins, cache, quick, providers, .. } = &self.supplies;
        let (plugins, cache) = (plugins.clone(), cache.clone());
        let forms = code_forms(providers, &content.digest, *quick);
        let is_cancelled = Arc::clone(&self.is_closing);
        let make = Box::new(move || {
            let plugin = plugins.file(&content.digest)?;
            compiler::compile(&cache, &content.digest, &plugin, &key, &forms, &is_cancelled)
        });
        self.supply(worker, ContentJob { content, event, make })
    }

    /// Copies a blob into the session's folder, unless it is there.
    pub(super) fn put_blob(
        &mut self,
        worker: WorkerId,
        content: RequestedContent,
    ) -> Result<(), Fault> {
        let digest = content.digest;
        if !self.supplies.blobs.has(&digest) {
            return Err("requested a file that is not part of the run");
        }
        let folder = self.blobs();
        let blobs = self.supplies.blobs.clone();
        let make = Box::new(move || {
            if folder.join(digest.to_string()).exists() {
                return Ok(());
            }
            Ok(blobs.put(&digest, &folder)?)
        });
        self.supply(worker, ContentJob { content, event: None, make })
    }

    /// Makes content available to a worker on another machine. Repeated requests are allowed, because the broker may lose content.
    pub(super) fn publish(
        &mut self,
        worker: WorkerId,
        content: RequestedContent,
        offer: Option<Arc<dyn Offer>>,
    ) -> Result<(), Fault> {
        let RequestedContent { digest, is_plugin, .. } = content;
        let source = if is_plugin { &self.supplies.plugins } else { &self.supplies.blobs };
        let line = self.blobs().join(digest.to_string());
        if !source.has(&digest) && (is_plugin || !line.exists()) {
            return Err("requested a file that is not part of the run");
        }
        let Some(offer) = offer else { return Ok(()) };
        let source = source.clone();
        // The file may be gone once the job starts.
        let line = (!source.has(&digest)).then(|| File::open(line));
        let make = Box::new(move || {
            let content = match line {
                None => source.file(&digest)?,
                Some(line) => line.map_err(|error| cannot_publish(&error))?,
            };
            offer.publish(&digest, content).map_err(|error| cannot_publish(&error))
        });
        self.supply(worker, ContentJob { content, event: None, make })
    }

    /// Adds a worker to those that wait for the content of `job`. The first one queues the job.
    fn supply(&mut self, worker: WorkerId, job: ContentJob) -> Result<(), Fault> {
        let content = job.content;
        debug!(worker = worker.0, ?content, "a worker waits");
        // Content has an entry until its job has ended, even if no worker waits any more.
        if !self.waiting.contains_key(&content) {
            self.queued.push_back(job);
        }
        let waiting = self.waiting.entry(content).or_default();
        if !waiting.contains(&worker) {
            waiting.push(worker);
        }
        self.start_jobs();
        Ok(())
    }

    /// Starts queued jobs, each on its own thread: as many as there may be compilers at once.
    fn start_jobs(&mut self) {
        while self.running < compiler::at_once()
            && let Some(ContentJob { content, event, make }) = self.queued.pop_front()
        {
            self.running += 1;
            event.into_iter().for_each(|event| self.send(event));
            let sender = self.sender.clone();
            let make = move || {
                // Without a receiver the session has ended.
                let _ = sender.send(Input::Supplied(content, make()));
            };
            if let Err(error) = thread::Builder::new().name("supply".into()).spawn(make) {
                let message = machine::failure("cannot start a thread", error);
                self.send(Input::Failed(Reason::Machine, message));
            }
        }
    }

    /// Sends an event to the session.
    fn send(&self, event: Input) {
        // The pool is the receiver.
        let _ = self.sender.send(event);
    }

    /// Handles the end of a compilation or a copy, which may have failed. Returns the workers that wait for it.
    pub(super) fn finish(&mut self, content: RequestedContent, is_made: bool) -> Vec<WorkerId> {
        self.running -= 1;
        self.start_jobs();
        let is_compiled = is_made && !content.is_remote;
        if let Some(provider) = self.with_plugin(content).filter(|_| is_compiled) {
            self.send(Input::Compiled(shown_plugin(provider)));
        }
        self.waiting.remove(&content).unwrap_or_default()
    }

    /// Returns the end of a session that lacks content on this machine.
    pub(super) fn failure(&self, content: RequestedContent, error: PrepareError) -> Input {
        let message = match error {
            PrepareError::Machine(problem) => return Input::Failed(Reason::Machine, problem),
            PrepareError::Record(error) => {
                return Input::Failed(Reason::Setup, error.to_string());
            }
            PrepareError::Interrupted(problem) => {
                let plugin = self.with_plugin(content).map(shown_plugin).unwrap_or_default();
                return Input::Interrupted(format!("plugin `{plugin}` {problem}"));
            }
            PrepareError::Refused(message) => message,
        };
        let mut providers = self.supplies.providers.iter();
        let Some(provider) = providers.position(|prepared| has_plugin(prepared, content)) else {
            return Input::Failed(Reason::Plugin, message);
        };
        let refused = RefusedPart::default();
        let (class, code) = (ErrorClass::Protocol, "compile".to_owned());
        Input::Described(Ready {
            providers: vec![Described {
                provider: provider as u16,
                description: None,
                problem: Some(Problem { class, code, message, refused }),
            }],
            ..Ready::default()
        })
    }

    /// Returns the first provider with a requested plugin.
    fn with_plugin(&self, content: RequestedContent) -> Option<&PreparedProvider> {
        self.supplies.providers.iter().find(|prepared| has_plugin(prepared, content))
    }
}

fn has_plugin(prepared: &PreparedProvider, content: RequestedContent) -> bool {
    content.is_plugin && prepared.digest == content.digest
}

fn cannot_publish(error: &io::Error) -> PrepareError {
    PrepareError::Machine(format!("cannot give workers a file of the run: {error}"))
}

/// Returns the plugin as the scenario names it, or the provider's name in place of a folder such as `.`.
fn shown_plugin(prepared: &PreparedProvider) -> String {
    let plugin = &prepared.provider.plugin;
    let has_name = Path::new(plugin).file_name().is_some();
    if has_name { plugin.clone() } else { prepared.provider.name.to_string() }
}

/// Returns the absolute path as text, for a worker.
pub(super) fn path_text(path: &Path) -> io::Result<String> {
    let path = std::path::absolute(path)?;
    path.into_os_string()
        .into_string()
        .map_err(|path| io::Error::other(format!("{} is not UTF-8", shown_path(path.as_ref()))))
}

impl Drop for Content {
    fn drop(&mut self) {
        self.close();
    }
}
