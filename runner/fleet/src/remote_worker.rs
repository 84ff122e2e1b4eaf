//! [`RemoteWorker`]: a worker process on another machine, as the coordinator sees it.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::{Arc, Mutex};

use runner_engine::remote::{
    EventSink, LinkEvent, SourceEvent, SourceSink, WorkerExit, WorkerLink, monotonic,
};
use runner_model::protocol::{FrameBuffer, FromWorker, Message, SlotWord, ToWorker};
use runner_model::{Digest, worker_of};
use tokio::sync::mpsc::Receiver;

use crate::broker::{Stored, lock};
use crate::channel::{ChannelSender, Incoming};
use crate::wire::{Control, shown};

/// Maximum number of slots of a worker process.
pub(crate) const MAX_SLOTS: u32 = 4_096;
/// Maximum number of messages about workers in a session.
pub(crate) const MAX_NOTICES: usize = 100;

/// Running tasks, each with the monotonic time of the first report, in microseconds.
pub(crate) type Running = Arc<Mutex<HashMap<u64, u64>>>;

/// A worker process on another machine.
pub(crate) struct RemoteWorker {
    pub(crate) sender: ChannelSender,
    pub(crate) running: Running,
}

impl WorkerLink for RemoteWorker {
    fn send(&self, message: ToWorker) {
        let mut frames = Vec::new();
        message.encode(&mut frames);
        self.sender.send_frames(&frames);
    }

    fn kill(&self) {
        close(&self.sender);
    }

    fn slots(&self) -> Vec<SlotWord> {
        words(&self.running)
    }
}

impl Drop for RemoteWorker {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn close(sender: &ChannelSender) {
    sender.send_control(Control::Close);
    sender.close();
}

fn words(running: &Running) -> Vec<SlotWord> {
    let running = lock(running);
    running.iter().map(|(task, started)| SlotWord { task: *task, started: *started }).collect()
}

/// Decodes the messages of a link.
pub(crate) struct LinkReader {
    pub(crate) name: String,
    pub(crate) running: Running,
    pub(crate) notices: Arc<Notices>,
    /// Blobs that the worker has requested. A second request means that a fetch has failed.
    pub(crate) requested: HashSet<Digest>,
    pub(crate) stored: Stored,
}

impl LinkReader {
    /// Forwards messages to the sink until the link ends.
    pub(crate) fn forward(
        &mut self,
        received: &mut Receiver<Incoming>,
        sink: &EventSink,
    ) -> WorkerExit {
        let mut frames = FrameBuffer::default();
        let opened = monotonic();
        let how = loop {
            match received.blocking_recv() {
                Some(Incoming::Frames(bytes)) => {
                    let mut messages = Vec::new();
                    let decoded = decode(&mut frames, &bytes, &mut messages);
                    self.track(&messages);
                    if !messages.is_empty() {
                        sink(LinkEvent::Messages(messages));
                    }
                    if let Err(bad) = decoded {
                        break format!("was disconnected, because it sent {bad}");
                    }
                }
                Some(Incoming::Control(Control::Exited(exit))) => {
                    let mut exit = WorkerExit::from(exit);
                    // A lying worker could report attempts that are older than the link.
                    let started = exit.started.iter_mut();
                    started.for_each(|word| word.started = word.started.max(opened));
                    return exit;
                }
                Some(Incoming::Control(Control::Declined(reason))) => {
                    let worker = worker_of(&self.name);
                    let reason = shown(&reason);
                    self.notices
                        .send(format!("worker {worker} runs no attempts of this run: {reason}"));
                    break "runs no attempts of this run".to_owned();
                }
                Some(Incoming::Control(Control::Close)) => break "has closed the link".to_owned(),
                Some(Incoming::Lost(how)) => break how,
                None => break "was disconnected".to_owned(),
            }
        };
        // Only the worker's supervisor can blame a task. The machine, the network or a lying worker may have ended the link.
        WorkerExit { started: words(&self.running), blame: None, how }
    }

    /// Updates the running tasks and the requested blobs from the worker's messages.
    fn track(&mut self, messages: &[FromWorker]) {
        let mut running = lock(&self.running);
        for message in messages {
            match message {
                FromWorker::Doing(doing) => {
                    let known = mem::take(&mut *running);
                    let now = monotonic();
                    let tasks = doing.iter().take(MAX_SLOTS as usize).map(|doing| doing.task.0);
                    running.extend(tasks.map(|task| (task, *known.get(&task).unwrap_or(&now))));
                }
                FromWorker::Report { head, .. } => {
                    running.remove(&head.task.0);
                }
                // The worker repeats a request if it could not fetch the blob.
                FromWorker::NeedPlugin(digest) | FromWorker::NeedBlob(digest)
                    if !self.requested.insert(*digest) =>
                {
                    lock(&self.stored).remove(digest);
                }
                _ => {}
            }
        }
    }
}

/// Appends all messages that `bytes` complete.
pub(crate) fn decode<M: Message>(
    frames: &mut FrameBuffer<M>,
    mut bytes: &[u8],
    messages: &mut Vec<M>,
) -> Result<(), String> {
    while !bytes.is_empty() {
        frames.fill(&mut bytes).map_err(|error| error.to_string())?;
        while let Some(message) = frames.next().map_err(|bad| bad.to_string())? {
            messages.push(message);
        }
    }
    Ok(())
}

/// Sends the events of a session, with a bounded number of messages.
pub(crate) struct Notices {
    pub(crate) events: SourceSink,
    /// Texts that were sent.
    pub(crate) sent: Mutex<HashSet<String>>,
}

impl Notices {
    /// Sends a text, unless it was sent before or [`MAX_NOTICES`] texts were sent.
    pub(crate) fn send(&self, text: String) {
        let mut sent = lock(&self.sent);
        if sent.len() >= MAX_NOTICES || !sent.insert(text.clone()) {
            return;
        }
        (self.events)(SourceEvent::Notice(text));
        if sent.len() == MAX_NOTICES {
            let last = "further messages about workers that cannot join are not shown";
            (self.events)(SourceEvent::Notice(last.to_owned()));
        }
    }
}
