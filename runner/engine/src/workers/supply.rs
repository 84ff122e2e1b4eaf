//! Supplies workers with compiled plugins and blobs. Each is compiled or copied once, on a separate thread, and the machine's
//! memory bounds the number of compilers.

use std::{path::Path, sync::Arc, thread};

use runner_model::prepare::{Described, Problem, Ready, RefusedPart};
use runner_model::{Digest, ErrorClass, Reason, WorkerId, provider::PreparedProvider};
use runner_prepare::{PrepareError, compiler, machine};
use tracing::debug;

use super::inputs::Input;
use super::link::{ContentJob, PoolEvent, RequestedContent, Supplies};
use super::pool::{Pool, PoolWorker};

/// The session ends when workers on other machines lack content that could not be published this many times in a row.
const MAX_FAILED_SUPPLIES: u32 = 3;

impl Pool {
    /// Returns whether workers wait for a plugin or a blob.
    pub(crate) fn is_supplying(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn compile(&mut self, worker: WorkerId, digest: Digest) -> Result<(), &'static str> {
        let (Some(provider), Some(entry)) =
            (with_plugin(&self.supplies, &digest), self.workers.get_mut(&worker))
        else {
            return Err("requested a plugin that is not part of the run");
        };
        if entry.requested_plugins.contains(&digest) {
            return Err("requested a plugin twice");
        }
        entry.requested_plugins.push(digest);
        let (plugins, key) = (self.supplies.plugins.clone(), entry.compile_key.clone());
        let compiling = PoolEvent::Compiling(shown_plugin(provider));
        let (cache, quick) = (self.supplies.cache.clone(), self.supplies.quick);
        let is_cancelled = Arc::clone(&self.is_closing);
        let make = Box::new(move || {
            compiler::compile(&cache, &digest, plugins.file(&digest)?, &key, quick, &is_cancelled)
        });
        let supply = RequestedContent::Plugin(digest);
        self.supply(worker, ContentJob { supply, event: Some(compiling), make });
        Ok(())
    }

    /// Adds a worker to those that wait for the content of `job`. The first one queues the job.
    pub(super) fn supply(&mut self, worker: WorkerId, job: ContentJob) {
        debug!(worker = worker.0, supply = ?job.supply, "a worker waits");
        let waiting = self.waiting.entry(job.supply).or_default();
        if waiting.is_empty() {
            self.queued.push_back(job);
        }
        if !waiting.contains(&worker) {
            waiting.push(worker);
        }
        self.start_jobs();
    }

    /// Starts queued jobs, each on its own thread: as many as there may be compilers at once.
    fn start_jobs(&mut self) {
        while self.supplying < compiler::at_once()
            && let Some(ContentJob { supply, event, make }) = self.queued.pop_front()
        {
            self.supplying += 1;
            let inputs = self.inputs.clone();
            let make = move || {
                // Without a receiver the session has ended.
                let _ = inputs.send(Input::Supplied(supply, make()));
            };
            let thread = thread::Builder::new().name("supply".into()).spawn(make);
            self.events.extend(match thread {
                Ok(_) => event,
                Err(error) => {
                    let message = machine::failure("cannot start a thread", error);
                    Some(PoolEvent::Failed(Reason::Machine, message))
                }
            });
        }
    }

    /// Handles the result of a compilation or a blob copy.
    pub(crate) fn supplied(&mut self, supply: RequestedContent, result: Result<(), PrepareError>) {
        self.supplying -= 1;
        self.start_jobs();
        if let RequestedContent::Plugin(digest) = supply
            && let Some(provider) = with_plugin(&self.supplies, &digest)
        {
            self.events.push_back(PoolEvent::Compiled(shown_plugin(provider)));
        }
        let waiting = self.waiting.remove(&supply).unwrap_or_default();
        for worker in &waiting {
            if let Some(entry) = self.workers.get(worker).filter(|_| result.is_ok()) {
                entry.link.send(supply.ready());
            }
        }
        match result {
            Ok(()) => self.failed_supplies = 0,
            // Closing cancels compilations.
            Err(_) if self.is_closing() => {}
            // Without the content, the workers that have requested it cannot run their tasks.
            Err(error) if supply.is_remote() => {
                self.failed_supplies += u32::from(!waiting.is_empty());
                let is_busy = |(worker, entry): (&WorkerId, &PoolWorker)| {
                    !waiting.contains(worker) && !entry.link.slots().is_empty()
                };
                if self.failed_supplies < MAX_FAILED_SUPPLIES {
                    self.events.push_back(PoolEvent::Notice(error.to_string()));
                } else if !self.workers.iter().any(is_busy) {
                    // Otherwise this would end the attempts of workers that have the content.
                    self.events.push_back(PoolEvent::Failed(Reason::Workers, error.to_string()));
                }
                waiting.into_iter().for_each(|worker| self.kill(worker));
            }
            Err(PrepareError::Refused(message)) => {
                let mut providers = self.supplies.providers.iter();
                let provider =
                    providers.position(|one| supply == RequestedContent::Plugin(one.digest));
                let (class, code) = (ErrorClass::Protocol, "compile".to_owned());
                self.events.push_back(match provider {
                    Some(provider) => PoolEvent::Described(Ready {
                        providers: vec![Described {
                            provider: provider as u16,
                            description: None,
                            problem: Some(Problem {
                                class,
                                code,
                                message,
                                refused: RefusedPart::default(),
                            }),
                        }],
                        ..Ready::default()
                    }),
                    None => PoolEvent::Failed(Reason::Plugin, message),
                });
            }
            Err(PrepareError::Machine(problem)) => {
                self.events.push_back(PoolEvent::Failed(Reason::Machine, problem));
            }
            Err(PrepareError::Record(error)) => {
                self.events.push_back(PoolEvent::Failed(Reason::Setup, error.to_string()));
            }
        }
    }

    /// Copies a blob into the session's folder, unless it is there.
    pub(super) fn put_blob(
        &mut self,
        worker: WorkerId,
        digest: Digest,
    ) -> Result<(), &'static str> {
        if !self.supplies.blobs.has(&digest) {
            return Err("requested a file that is not part of the run");
        }
        let folder = self.folder.path().join("blobs");
        let blobs = self.supplies.blobs.clone();
        let make = Box::new(move || {
            if folder.join(digest.to_string()).exists() {
                return Ok(());
            }
            Ok(blobs.put(&digest, &folder)?)
        });
        self.supply(
            worker,
            ContentJob { supply: RequestedContent::Blob(digest), event: None, make },
        );
        Ok(())
    }
}

/// Formats a provider and its plugin for the start of a message.
pub(super) fn plugin_of(prepared: &PreparedProvider) -> String {
    let provider = &prepared.provider;
    format!("{} `{}`: plugin `{}`", provider.role(), provider.name, provider.plugin)
}

/// Returns the plugin as the scenario names it, or the provider's name in place of a folder such as `.`.
fn shown_plugin(prepared: &PreparedProvider) -> String {
    let plugin = &prepared.provider.plugin;
    let has_name = Path::new(plugin).file_name().is_some();
    if has_name { plugin.clone() } else { prepared.provider.name.to_string() }
}

/// Returns the first provider with this plugin.
fn with_plugin<'a>(supplies: &'a Supplies, digest: &Digest) -> Option<&'a PreparedProvider> {
    let mut providers = supplies.providers.iter();
    providers.find(|prepared| prepared.digest == *digest)
}
