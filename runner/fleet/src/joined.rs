//! [`JoinedSession`]: the processes of a worker for one session of a run, and their frames on the way to the coordinator and back.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{path::Path, sync::Arc};

use async_nats::StatusCode;
use futures_util::StreamExt as _;
use runner_engine::remote::{EventSink, WorkerExit, WorkerLink, start_worker};
use runner_model::protocol::{FrameBuffer, ToWorker};
use runner_model::{Digest, digest, prepare::Prepare};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout_at};
use tracing::debug;

use crate::broker::{ANSWER_WITHIN, Broker, lock};
use crate::channel::{self, ChannelSender, Incoming};
use crate::key::{AcceptedKeys, DocumentKind};
use crate::relay::{Content, LocalEvent, ProcessTasks, Relay};
use crate::remote_worker::decode;
use crate::seal::KeyExchange;
use crate::store::{
    Missing, ProcessFolders, ProcessShape, RunPlugin, Shared, WorkerStore, fetch_blob,
};
use crate::wire::{
    Control, ExitDocument, JoinAnswer, JoinDocument, OUR_VERSION, OfferDocument, Role, VERSION,
    join_subject, link_of, shown,
};

/// Time for an answer after the server has reported that no coordinator is subscribed.
const ABSENT_WITHIN: Duration = Duration::from_secs(1);
/// Wait before a process joins again.
const REJOIN_AFTER: Duration = Duration::from_secs(1);
/// Maximum number of consecutive processes that end before they are ready.
const MAX_FAILED_STARTS: u32 = 3;
/// Maximum number of fetches of one content.
const MAX_FETCHES: u32 = 8;
/// Pause after a failed fetch. Doubles each time, up to 8 s.
const FETCH_AFTER: Duration = Duration::from_millis(250);
/// Events of a process that are not yet handled.
const MAX_EVENTS: usize = 64;

/// An event of a session. Holds the token of its offer.
pub(crate) enum SessionEvent {
    /// The first process is set up.
    Joined(String),
    /// All processes have exited, and their folders are removed.
    Ended(String),
}

/// A session that a worker has joined.
pub(crate) struct JoinedSession {
    pub(crate) broker: Broker,
    pub(crate) store: Arc<WorkerStore>,
    pub(crate) offer: OfferDocument,
    /// Name of the worker.
    pub(crate) worker: String,
    pub(crate) accepted: Arc<AcceptedKeys>,
    /// Number of requests to stop.
    pub(crate) stop: watch::Receiver<u32>,
    pub(crate) events: mpsc::UnboundedSender<SessionEvent>,
    pub(crate) progress: SessionProgress,
}

/// The state of a joined session that its processes share.
#[derive(Default)]
pub(crate) struct SessionProgress {
    /// Whether the offer has ended. No process joins again.
    pub(crate) is_withdrawn: AtomicBool,
    /// Whether the coordinator has ended the session.
    is_finished: AtomicBool,
    /// Attempts that were reported.
    pub(crate) attempts: Arc<AtomicU64>,
    /// Reason for declining the session. `None` while the worker takes part.
    pub(crate) declined: watch::Sender<Option<String>>,
    pub(crate) has_joined: AtomicBool,
    /// Whether the coordinator has answered a request to join. A forged offer has no coordinator.
    pub(crate) is_answered: AtomicBool,
    /// Consecutive processes that have ended before they were ready.
    failed_starts: AtomicU32,
    /// Files that processes share.
    blobs: Shared,
    /// Locked while a blob is fetched, because processes need the same blobs.
    fetching: tokio::sync::Mutex<()>,
}

impl JoinedSession {
    /// Keeps a process of each shape, and a spare one for attempts that may have ended a worker, until the session is over.
    pub(crate) async fn run(self: &Arc<Self>, shapes: &[ProcessShape]) {
        let mut processes = JoinSet::new();
        let memory = shapes.first().map_or(0, |shape| shape.memory);
        let spare = ProcessShape { slots: 1, memory };
        for (number, shape) in (1..).zip(shapes.iter().chain([&spare])) {
            let is_spare = number as usize > shapes.len();
            processes.spawn(Arc::clone(self).keep_process(number, *shape, is_spare));
        }
        while processes.join_next().await.is_some() {}
        let blobs = lock(&self.progress.blobs).take();
        // Removing a folder may take half a second.
        let _ = spawn_blocking(move || drop(blobs)).await;
        // Without a receiver the worker is ending, and needs no events.
        let _ = self.events.send(SessionEvent::Ended(self.offer.token.clone()));
    }

    async fn keep_process(self: Arc<Self>, number: u32, shape: ProcessShape, is_spare: bool) {
        let mut stop = self.stop.clone();
        while !self.is_ending() {
            self.join(number, shape, is_spare).await;
            if self.is_ending() || !self.progress.is_answered.load(Ordering::Acquire) {
                return;
            }
            tokio::select! {
                () = sleep(REJOIN_AFTER) => {}
                _ = stop.wait_for(|stops| *stops > 0) => {}
            }
        }
    }

    fn is_ending(&self) -> bool {
        let flags = [&self.progress.is_withdrawn, &self.progress.is_finished];
        let is_over = flags.iter().any(|flag| flag.load(Ordering::Acquire));
        is_over || *self.stop.borrow() > 0 || self.progress.declined.borrow().is_some()
    }

    /// Opens a link and relays the frames of a process until the link or the process ends.
    async fn join(self: &Arc<Self>, number: u32, shape: ProcessShape, is_spare: bool) {
        let Some(exchange) = KeyExchange::new() else { return };
        let join = JoinDocument {
            v: VERSION,
            version: OUR_VERSION.to_owned(),
            name: format!("{}/{number}", self.worker),
            session: self.offer.token.clone(),
            key: exchange.public,
            slots: shape.slots,
            memory: shape.memory,
            is_spare,
        };
        let content = serde_json::to_vec(&join).unwrap_or_default();
        let link = link_of(&content);
        // Subscribed before the coordinator can send the first frame.
        let pieces = channel::subscribe(&self.broker, &link, Role::Worker).await;
        let Ok(pieces) = pieces else { return };
        let answer = self.request(&content).await;
        self.progress.is_answered.fetch_or(answer.is_some(), Ordering::AcqRel);
        // Without an answer, the broker or the coordinator is unreachable, or the session is full.
        let Some(answer) = answer else {
            return debug!(name = join.name, "a request to join has no answer");
        };
        if let Some(problem) = answer.problem {
            return self.decline(&problem);
        }
        let Some(keys) = exchange.agree(Role::Worker, &answer.key, &content) else { return };
        let (sender, mut received) = channel::open(&self.broker, &link, Role::Worker, pieces, keys);
        let (local, mut events) = mpsc::channel(MAX_EVENTS);
        let process = JoinedProcess {
            session: Arc::clone(self),
            shape,
            tasks: Arc::default(),
            sender: sender.clone(),
            local,
            link: None,
            folders: None,
            compile_key: String::new(),
            plugins: BTreeMap::new(),
            is_ready: false,
            requested: HashSet::new(),
            failed: HashMap::new(),
            fetches: JoinSet::new(),
            is_cancelled: Arc::default(),
        };
        process.run(&mut received, &mut events).await;
        sender.close();
        // The link is open until its last message is sent.
        while received.recv().await.is_some() {}
    }

    /// Requests to join. `None` if the coordinator does not answer.
    async fn request(&self, join: &[u8]) -> Option<JoinAnswer> {
        let client = &self.broker.client;
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await.ok()?;
        let subject = join_subject(&self.offer.token, &self.broker.user);
        client.publish_with_reply(subject, inbox, join.to_vec().into()).await.ok()?;
        let join = digest(join);
        let mut until = Instant::now() + ANSWER_WITHIN;
        loop {
            let answer = timeout_at(until.into(), answers.next()).await.ok()??;
            // Any user of the broker may answer first, so only an answer with the key of the run ends the wait.
            if answer.status == Some(StatusCode::NO_RESPONDERS) {
                until = until.min(Instant::now() + ABSENT_WITHIN);
            }
            let answer = self.accepted.open(DocumentKind::Answer, &answer.payload);
            let is_ours =
                |answer: &JoinAnswer| answer.join == join && answer.session == self.offer.token;
            if let Some(answer) = answer.ok().filter(is_ours) {
                return Some(answer);
            }
        }
    }

    async fn fetch_blob(&self, digest: Digest, folder: &Path) -> Result<(), Missing> {
        let _one = self.progress.fetching.lock().await;
        if folder.join(digest.to_string()).exists() {
            return Ok(());
        }
        fetch_blob(&self.broker, &digest, folder).await
    }

    /// Declines the session.
    fn decline(&self, why: &str) {
        let why = shown(why);
        self.progress.declined.send_if_modified(|declined| {
            let is_first = declined.is_none();
            declined.get_or_insert(why);
            is_first
        });
    }
}

/// Whether relaying continues, or the last message of the link.
type Step = ControlFlow<Option<Control>>;

/// A link and, after `Prepare`, its process.
struct JoinedProcess {
    session: Arc<JoinedSession>,
    shape: ProcessShape,
    tasks: Arc<ProcessTasks>,
    sender: ChannelSender,
    local: mpsc::Sender<LocalEvent>,
    link: Option<Box<dyn WorkerLink>>,
    folders: Option<ProcessFolders>,
    compile_key: String,
    plugins: BTreeMap<Digest, RunPlugin>,
    is_ready: bool,
    /// Requests to the coordinator without an answer.
    requested: HashSet<Content>,
    /// Failed fetches.
    failed: HashMap<Content, u32>,
    fetches: JoinSet<(Content, Result<(), Missing>)>,
    /// Set at the end. A compilation checks it.
    is_cancelled: Arc<AtomicBool>,
}

impl JoinedProcess {
    async fn run(
        mut self,
        received: &mut mpsc::Receiver<Incoming>,
        events: &mut mpsc::Receiver<LocalEvent>,
    ) {
        let mut frames = FrameBuffer::default();
        let mut declined = self.session.progress.declined.subscribe();
        let mut stop = self.session.stop.clone();
        // The values of now count, too.
        declined.mark_changed();
        stop.mark_changed();
        let last = loop {
            let step = tokio::select! {
                incoming = received.recv() => self.receive(incoming, &mut frames).await,
                Some(event) = events.recv() => self.handle(event),
                Some(Ok((content, result))) = self.fetches.join_next() => self.fetched(content, result),
                Ok(()) = stop.changed() => self.stop(*stop.borrow_and_update()),
                Ok(()) = declined.changed() => match declined.borrow_and_update().clone() {
                    Some(why) => Break(Some(Control::Declined(why))),
                    None => Continue(()),
                },
            };
            if let Break(last) = step {
                break last;
            }
        };
        self.is_cancelled.store(true, Ordering::Release);
        self.fetches.abort_all();
        match last {
            Some(last) => self.sender.send_control(last),
            // Otherwise the process could wait for room on the link.
            None => self.sender.close(),
        }
        if let Some(link) = self.link.take() {
            link.kill();
            drop(link);
            // The folder of the process is removed once the process has exited.
            while !matches!(events.recv().await, Some(LocalEvent::Exited(_)) | None) {}
        }
        let folders = self.folders.take();
        let _ = spawn_blocking(move || drop(folders)).await;
    }

    /// Handles frames of the coordinator.
    async fn receive(
        &mut self,
        incoming: Option<Incoming>,
        frames: &mut FrameBuffer<ToWorker>,
    ) -> Step {
        let Some(Incoming::Frames(bytes)) = incoming else { return Break(None) };
        let mut messages = Vec::new();
        let decoded = decode(frames, &bytes, &mut messages);
        for message in messages {
            self.receive_message(message).await?;
        }
        match decoded {
            Ok(()) => Continue(()),
            Err(bad) => self.decline(&format!("the coordinator sent {bad}")),
        }
    }

    async fn receive_message(&mut self, message: ToWorker) -> Step {
        let Some(link) = &self.link else {
            return match message {
                ToWorker::Prepare(prepare) => self.prepare(*prepare).await,
                // The coordinator repeats these after `Prepare` if they still apply.
                _ => Continue(()),
            };
        };
        match message {
            ToWorker::Prepare(_) => return self.decline("the coordinator sent a second `Prepare`"),
            ToWorker::PluginReady(digest) => self.fetch(Content::Plugin(digest)),
            ToWorker::BlobReady(digest) => self.fetch(Content::Blob(digest)),
            // The tasks run elsewhere once this process has exited.
            ToWorker::Tasks { .. } if self.tasks.is_stopping() => {}
            ToWorker::Tasks { tasks, body } => {
                if !self.tasks.add(&tasks) {
                    return self.decline("the coordinator sent too many tasks");
                }
                link.send(ToWorker::Tasks { tasks, body });
            }
            message => {
                if matches!(message, ToWorker::Stop { .. } | ToWorker::Finish { .. }) {
                    self.session.progress.is_finished.store(true, Ordering::Release);
                }
                link.send(message);
            }
        }
        Continue(())
    }

    /// Starts the process.
    async fn prepare(&mut self, prepare: Prepare) -> Step {
        let session = Arc::clone(&self.session);
        let shape = self.shape;
        let set_up =
            spawn_blocking(move || session.store.set_up(prepare, shape, &session.progress.blobs))
                .await;
        let set_up = set_up.unwrap_or_else(|error| Err(error.to_string()));
        let (prepare, folders) = match set_up {
            Ok(set_up) => set_up,
            Err(why) => return self.decline(&why),
        };
        self.plugins = RunPlugin::all(&prepare.providers);
        self.folders = Some(folders);
        let link = match start_worker(self.sink()) {
            Ok(link) => link,
            Err(error) => return self.decline(&format!("cannot start a process: {error}")),
        };
        link.send(ToWorker::Prepare(Box::new(prepare)));
        self.link = Some(link);
        if !self.session.progress.has_joined.swap(true, Ordering::AcqRel) {
            let token = self.session.offer.token.clone();
            let _ = self.session.events.send(SessionEvent::Joined(token));
        }
        Continue(())
    }

    fn sink(&self) -> EventSink {
        let relay = Relay {
            attempts: Arc::clone(&self.session.progress.attempts),
            tasks: Arc::clone(&self.tasks),
            sender: self.sender.clone(),
            local: self.local.clone(),
        };
        Box::new(move |event| relay.forward(event))
    }

    /// Handles an event of the process.
    fn handle(&mut self, event: LocalEvent) -> Step {
        match event {
            LocalEvent::Hello(key) => self.compile_key = key,
            LocalEvent::Needs(content) => self.need(content),
            LocalEvent::Problem(why) => return self.decline(&why),
            LocalEvent::Ready => {
                self.is_ready = true;
                self.session.progress.failed_starts.store(0, Ordering::Release);
            }
            LocalEvent::Idle => self.finish(),
            LocalEvent::Exited(exit) => return self.exited(exit),
        }
        Continue(())
    }

    fn exited(&mut self, exit: WorkerExit) -> Step {
        self.link = None;
        let progress = &self.session.progress;
        let mut exit = ExitDocument::from(exit);
        if self.tasks.is_stopping() {
            exit.how = STOPPED.to_owned();
        } else if !self.is_ready && !progress.is_finished.load(Ordering::Acquire) {
            let failed = progress.failed_starts.fetch_add(1, Ordering::AcqRel) + 1;
            if failed >= MAX_FAILED_STARTS {
                return self.decline(&format!(
                    "{MAX_FAILED_STARTS} processes of the worker in a row ended before they were ready; the last one {}",
                    exit.how
                ));
            }
        }
        Break(Some(Control::Exited(exit)))
    }

    /// Requests content from the coordinator, unless it is here.
    fn need(&mut self, content: Content) {
        if let (Content::Blob(digest), Some(folders), Some(link)) =
            (content, &self.folders, &self.link)
            && folders.blobs().join(digest.to_string()).exists()
        {
            link.send(content.ready());
            return;
        }
        self.requested.insert(content);
        let mut frame = Vec::new();
        content.request().encode(&mut frame);
        self.sender.send_frames(&frame);
    }

    /// Fetches content that the broker has now. Does nothing if it was not requested.
    fn fetch(&mut self, content: Content) {
        let Some(folders) = self.folders.as_ref().filter(|_| self.requested.remove(&content))
        else {
            return;
        };
        let session = Arc::clone(&self.session);
        let blobs = folders.blobs();
        match content {
            Content::Plugin(digest) => {
                let key = self.compile_key.clone();
                let folder = folders.private();
                let plugin = self.plugins.get(&digest).cloned().unwrap_or_default();
                let is_cancelled = Arc::clone(&self.is_cancelled);
                self.fetches.spawn(async move {
                    let JoinedSession { store, broker, .. } = &*session;
                    let compile = store.compile(broker, digest, key, plugin, folder, is_cancelled);
                    (content, compile.await)
                });
            }
            Content::Blob(digest) => {
                self.fetches
                    .spawn(async move { (content, session.fetch_blob(digest, &blobs).await) });
            }
        }
    }

    fn fetched(&mut self, content: Content, result: Result<(), Missing>) -> Step {
        match result {
            Ok(()) => {
                if let Some(link) = &self.link {
                    link.send(content.ready());
                }
            }
            Err(Missing::Unusable(why)) => return self.decline(&why),
            Err(Missing::Postponed) => self.need(content),
            Err(Missing::NotFetched(why)) => {
                let failed = self.failed.entry(content).or_default();
                *failed += 1;
                if *failed >= MAX_FETCHES {
                    // Others can replace content at the broker. That must not end the attempts of other processes.
                    debug!(?content, why, "a process ends without content");
                    if let Some(link) = &self.link {
                        link.kill();
                    }
                    return Continue(());
                }
                let pause = FETCH_AFTER * (1 << (*failed - 1).min(5));
                debug!(?content, why, ?pause, "content is requested again");
                self.fetches.spawn(async move {
                    sleep(pause).await;
                    (content, Err(Missing::Postponed))
                });
            }
        }
        Continue(())
    }

    /// Handles the request to stop with this number. 0 if there is no request.
    fn stop(&mut self, number: u32) -> Step {
        if number == 0 {
            return Continue(());
        }
        self.tasks.is_stopping.store(true, Ordering::Release);
        let Some(link) = &self.link else {
            let exit = WorkerExit { started: Vec::new(), blame: None, how: STOPPED.to_owned() };
            return Break(Some(Control::Exited(exit.into())));
        };
        if number > 1 {
            link.kill();
        } else if !self.is_ready || self.tasks.is_empty() {
            self.finish();
        } else {
            link.send(ToWorker::TakeBack { keep: 0 });
        }
        Continue(())
    }

    /// Ends a process that has no task.
    fn finish(&self) {
        match &self.link {
            Some(link) if self.is_ready => link.send(ToWorker::Finish { teardown: true }),
            Some(link) => link.kill(),
            None => {}
        }
    }

    fn decline(&self, why: &str) -> Step {
        self.session.decline(why);
        Break(Some(Control::Declined(shown(why))))
    }
}

/// Completes a sentence that starts with a process.
const STOPPED: &str = "was stopped on its machine";
