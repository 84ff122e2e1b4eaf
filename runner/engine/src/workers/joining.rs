//! Workers on other machines that join a session: their connection, their slots, and the content that they request.

use std::sync::Arc;
use std::{fs::File, io, mem};

use runner_model::WorkerId;
use runner_prepare::PrepareError;

use super::inputs::{Input, event_sink};
use super::link::{ContentJob, Phase, RequestedContent};
use super::pool::{Pool, PoolWorker};
use super::remote::{JoiningWorker, OfferedSession, RemoteRequest};
use crate::schedule::Shape;

impl Pool {
    /// Offers the session to workers on other machines, if its attempts run there.
    pub(super) fn offer(&mut self) -> io::Result<()> {
        let Some(remote) = &mut self.remote else { return Ok(()) };
        let session = OfferedSession {
            run: self.supplies.run.clone(),
            session: self.supplies.session,
            scenario: self.supplies.scenario.clone(),
        };
        let inputs = self.inputs.clone();
        let sink = Box::new(move |event| {
            // Without a receiver the session has ended.
            let _ = inputs.send(Input::Source(event));
        });
        let offer = remote.request.source.offer(session, sink).map_err(io::Error::other)?;
        remote.offer = Some(offer);
        Ok(())
    }

    /// Returns the request for workers on other machines and the last message about a worker. `None` if a worker is connected
    /// or the session needs none.
    pub(crate) fn lacks_workers(&self) -> Option<(&RemoteRequest, Option<&str>)> {
        let remote = self.remote.as_ref()?;
        // A process that joins and stays silent is no worker.
        let is_worker = |(worker, entry): (&WorkerId, &PoolWorker)| {
            remote.names.contains_key(worker) && entry.phase != Phase::Started
        };
        let lacks = !self.workers.iter().any(is_worker);
        lacks.then_some((&remote.request, remote.last_notice.as_deref()))
    }

    /// Returns the name of a worker on another machine.
    pub(crate) fn name(&self, worker: WorkerId) -> Option<&Arc<str>> {
        self.remote.as_ref()?.names.get(&worker)
    }

    /// Returns the name of a worker for messages, or its number on this machine.
    pub(crate) fn shown(&self, worker: WorkerId) -> String {
        self.name(worker).map_or_else(|| worker.0.to_string(), ToString::to_string)
    }

    pub(super) fn is_remote(&self, worker: WorkerId) -> bool {
        self.name(worker).is_some()
    }

    /// Connects and prepares a worker that joins. A spare one is connected once a suspect needs it.
    pub(super) fn join(&mut self, joining: JoiningWorker) -> io::Result<()> {
        let is_closing = self.is_closing();
        let Some(remote) = self.remote.as_mut().filter(|_| !is_closing) else { return Ok(()) };
        if joining.is_spare && !mem::take(&mut remote.needs_spare) {
            // Otherwise processes of disconnected workers would use up the session's links and threads.
            remote.spare.retain(|spare| !(spare.is_gone)());
            remote.spare.push(joining);
            return Ok(());
        }
        let (worker, shape, is_spare) = (self.new_id(), joining.shape(), joining.is_spare);
        if let Some(remote) = &mut self.remote {
            remote.names.insert(worker, joining.name.into());
        }
        let (sink, unread) = event_sink(worker, &self.inputs);
        self.prepare(worker, (joining.connect)(sink), unread, shape, is_spare)
    }

    /// Connects a spare worker for suspects, or the next one that joins. Returns `false` if attempts do not run on
    /// other machines.
    pub(super) fn connect_spare(&mut self) -> io::Result<bool> {
        let Some(remote) = &mut self.remote else { return Ok(false) };
        remote.needs_spare = true;
        // The newest one is the least likely to have disconnected.
        if let Some(spare) = remote.spare.pop() {
            self.join(spare)?;
        }
        Ok(true)
    }

    /// Returns the slots that a ready worker may use, so that at most the session's `jobs` attempts run at once.
    pub(super) fn usable(&self, worker: WorkerId, shape: Shape) -> Shape {
        let jobs = self.remote.as_ref().and_then(|remote| remote.jobs);
        let Some(jobs) = jobs.filter(|_| self.is_remote(worker)) else { return shape };
        let working = self.workers.values().filter(|entry| entry.phase == Phase::Working);
        let used: u32 = working.filter(|entry| !entry.alone).map(|entry| entry.shape.slots).sum();
        Shape { slots: shape.slots.min(jobs.saturating_sub(used)), ..shape }
    }

    /// Makes requested content available to a worker on another machine. Repeated requests are allowed, because the broker may
    /// lose content.
    pub(super) fn publish(
        &mut self,
        worker: WorkerId,
        content: RequestedContent,
    ) -> Result<(), &'static str> {
        let (digest, is_plugin) = match content {
            RequestedContent::Plugin(digest) | RequestedContent::RemotePlugin(digest) => {
                (digest, true)
            }
            RequestedContent::Blob(digest) | RequestedContent::RemoteBlob(digest) => {
                (digest, false)
            }
        };
        let source = if is_plugin { &self.supplies.plugins } else { &self.supplies.blobs };
        let line = self.folder.path().join("blobs").join(digest.to_string());
        if !source.has(&digest) && (is_plugin || !line.exists()) {
            return Err("requested a file that is not part of the run");
        }
        let offer = self.remote.as_ref().and_then(|remote| remote.offer.clone());
        let Some(offer) = offer else { return Ok(()) };
        let source = source.clone();
        let make = Box::new(move || {
            let content = if source.has(&digest) {
                source.file(&digest)?
            } else {
                File::open(line).map_err(|error| cannot_publish(&error))?
            };
            offer.publish(&digest, content).map_err(|error| cannot_publish(&error))
        });
        let supply = if is_plugin {
            RequestedContent::RemotePlugin(digest)
        } else {
            RequestedContent::RemoteBlob(digest)
        };
        self.supply(worker, ContentJob { supply, event: None, make });
        Ok(())
    }
}

fn cannot_publish(error: &io::Error) -> PrepareError {
    PrepareError::Machine(format!("cannot give workers a file of the run: {error}"))
}
