//! Messages and requests of workers until they can take tasks.

use runner_model::{Digest, Reason, WorkerId, prepare::Ready, protocol::FromWorker};
use runner_prepare::PrepareError;

use super::inputs::Input;
use super::link::{Fault, Phase, RequestedContent};
use super::pool::{PluginState, Pool, ReadyWorker};
use super::worker::PoolWorker;
use crate::schedule::Shape;

/// The session ends when workers on other machines lack content that could not be published this many times in a row, and no
/// other worker can run attempts.
const MAX_FAILED_SUPPLIES: u32 = 3;

impl Pool {
    /// Handles messages of a worker. Returns those about tasks and for the log.
    pub(super) fn receive(&mut self, worker: WorkerId, messages: Vec<FromWorker>) -> Option<Input> {
        let is_closing = self.content.is_closing();
        self.workers.get_mut(&worker)?.count(&messages, self.is_held_back);
        let mut passed_on = Vec::with_capacity(messages.len());
        for message in messages {
            // Messages after a fault are not trusted.
            let entry = self.workers.get_mut(&worker).filter(|entry| entry.is_trusted());
            let Some(entry) = entry else { break };
            let handled = match entry.check(&message, is_closing) {
                Ok(()) => self.handle(worker, message),
                Err(fault) => Err(fault),
            };
            if let (Ok(Some(FromWorker::Report { .. })), Some(remote)) =
                (&handled, &mut self.remote)
            {
                remote.failed_supplies = 0;
            }
            match handled {
                Ok(message) => passed_on.extend(message),
                Err(fault) => self.fault(worker, None, fault.to_owned()),
            }
        }
        (!passed_on.is_empty()).then_some(Input::Messages(worker, passed_on))
    }

    /// Handles a message. Returns it if it is about tasks or for the log.
    ///
    /// # Errors
    ///
    /// A fault of the worker, as the rest of a sentence.
    fn handle(
        &mut self,
        worker: WorkerId,
        message: FromWorker,
    ) -> Result<Option<FromWorker>, Fault> {
        match message {
            FromWorker::Hello(hello) => {
                if let Some(entry) = self.workers.get_mut(&worker)
                    && let Some(problem) = entry.receive_hello(hello)?
                {
                    self.send(Input::Failed(Reason::Internal, problem));
                }
            }
            FromWorker::NeedPlugin(plugin) => self.supply(worker, plugin, true)?,
            FromWorker::NeedBlob(blob) => self.supply(worker, blob, false)?,
            FromWorker::Ready(ready) => self.receive_ready(worker, ready)?,
            message => return Ok(Some(message)),
        }
        Ok(None)
    }

    /// Makes requested content available to a worker.
    fn supply(&mut self, worker: WorkerId, digest: Digest, is_plugin: bool) -> Result<(), Fault> {
        let Some(entry) = self.workers.get_mut(&worker) else { return Ok(()) };
        let content = RequestedContent { digest, is_plugin, is_remote: entry.is_remote };
        if content.is_remote {
            let offer = self.remote.as_ref().and_then(|remote| remote.offer.clone());
            self.content.publish(worker, content, offer)
        } else if is_plugin {
            self.content.compile(worker, content, entry.compile_key(digest)?)
        } else {
            self.content.put_blob(worker, content)
        }
    }

    /// Handles the result of a compilation or a copy.
    pub(super) fn supplied(&mut self, content: RequestedContent, result: Result<(), PrepareError>) {
        let waiting = self.content.finish(content, result.is_ok());
        let remote = self.remote.as_mut().filter(|_| content.is_remote);
        match (result, remote) {
            (Ok(()), remote) => {
                if let Some(remote) = remote {
                    remote.failed_supplies = 0;
                }
                for worker in waiting {
                    if let Some(entry) = self.workers.get(&worker) {
                        entry.link.send(content.ready());
                    }
                }
            }
            // Closing cancels compilations.
            (Err(_), _) if self.content.is_closing() => {}
            (Err(error), None) => self.send(self.content.failure(content, error)),
            // Without the content, the workers that have requested it cannot run their tasks.
            (Err(error), Some(remote)) => {
                remote.failed_supplies += u32::from(!waiting.is_empty());
                let message = error.to_string();
                if remote.failed_supplies < MAX_FAILED_SUPPLIES {
                    if remote.supply_notice.replace(message.clone()).as_ref() != Some(&message) {
                        self.send(Input::Notice(message));
                    }
                } else {
                    let awaits = |worker: &WorkerId, entry: &PoolWorker| {
                        // A worker that runs an attempt can end it, even if others of its attempts wait for content.
                        self.content.awaits(*worker) && entry.link.slots().is_empty()
                    };
                    let workers = self.workers.iter();
                    let others = workers.filter(|(worker, entry)| awaits(worker, entry));
                    let all = waiting.iter().chain(others.map(|(worker, _)| worker));
                    let lacking = all.copied().collect();
                    self.send(Input::NotSupplied { lacking, message });
                }
                waiting.into_iter().for_each(|worker| self.kill(worker));
            }
        }
    }

    fn receive_ready(&mut self, worker: WorkerId, ready: Ready) -> Result<(), Fault> {
        let described = ready.providers.iter().map(|about| usize::from(about.provider));
        if !described.eq(0..self.content.supplies.providers.len()) {
            return Err("described the wrong providers");
        }
        let problems = self.content.supplies.problems(&ready);
        let shown = self.shown(worker);
        let Some(entry) = self.workers.get_mut(&worker) else { return Ok(()) };
        match &problems {
            Some((_, lines)) if entry.is_remote => {
                entry.link.kill();
                let notice = format!("worker {shown} cannot join: {lines}");
                self.send(Input::Notice(notice));
                return Ok(());
            }
            Some(_) => {}
            None => {
                entry.phase = Phase::Ready;
                if entry.describes {
                    self.plugins = PluginState::Described;
                } else {
                    self.failed_starts = 0;
                }
            }
        }
        if entry.describes || problems.is_some() {
            self.send(Input::Described(ready));
        }
        Ok(())
    }

    /// Returns the next ready worker, or `None` until the plugins are described. The worker that described them is the first.
    pub(crate) fn next_ready(&mut self) -> Option<ReadyWorker> {
        if self.plugins == PluginState::Unknown {
            return None;
        }
        let ready = self.workers.iter().filter(|(_, entry)| {
            entry.phase == Phase::Ready
                && (entry.alone || !entry.is_remote || self.usable(entry).slots > 0)
        });
        let (worker, entry) = ready.min_by_key(|(_, entry)| !entry.describes)?;
        let (worker, alone) = (*worker, entry.alone);
        let shape = if alone { entry.shape } else { self.usable(entry) };
        let entry = self.workers.get_mut(&worker)?;
        (entry.phase, entry.shape) = (Phase::Working, shape);
        Some(ReadyWorker { worker, shape, alone })
    }

    /// Returns the slots that a ready worker may use, so that at most the session's `jobs` attempts run at once.
    fn usable(&self, entry: &PoolWorker) -> Shape {
        let jobs = self.remote.as_ref().and_then(|remote| remote.jobs);
        let Some(jobs) = jobs.filter(|_| entry.is_remote) else { return entry.shape };
        let working =
            self.workers.values().filter(|entry| entry.phase == Phase::Working && !entry.alone);
        let used: u32 = working.map(|entry| entry.shape.slots).sum();
        Shape { slots: entry.shape.slots.min(jobs.saturating_sub(used)), ..entry.shape }
    }

    /// Marks the checks as passed. From then on the describing worker may be lost without repeating them.
    pub(crate) fn checked(&mut self) {
        (self.plugins, self.failed_starts) = (PluginState::Checked, 0);
    }
}
