//! [`work`]: joins the sessions that an engine offers, until the worker is stopped.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{mem, process};

use async_nats::Message;
use futures_util::StreamExt as _;
use runner_engine::remote::start_worker;
use runner_prepare::machine;
use runner_record::now;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{interval, timeout};
use tracing::debug;

use crate::address::EngineOptions;
use crate::ceiling::Ceiling;
use crate::engine::{Engine, block_on, host, token};
use crate::error::FleetError;
use crate::joined::{JoinedSession, SessionProgress};
use crate::presence::Presence;
use crate::source::is_worker_name;
use crate::store::{ProcessShape, WorkerStore};
use crate::wire::{
    ENTRY_SECONDS, MAX_DOCUMENT, OFFERS, OfferDocument, PresenceDocument, VERSION, shown,
};

/// Time after which an offer that is not renewed has ended.
const OFFER_ENDS: Duration = Duration::from_secs(ENTRY_SECONDS);
/// Time for processes to exit after the second request to stop.
const KILL_WITHIN: Duration = Duration::from_secs(3);
/// Time for reading the offers at the start. All are renewed soon after.
const LIST_WITHIN: Duration = Duration::from_secs(2);
/// Interval at which leftovers of killed workers are removed.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Sessions at once, and offers that are remembered.
const MAX_SESSIONS: usize = 64;
const MAX_OFFERS: usize = 4_096;
/// Declined runs that are shown in [`SWEEP_EVERY`]. A stranger could offer any number.
const MAX_SHOWN: u32 = 20;

/// Settings of a worker.
#[derive(Clone, Debug, Default)]
pub struct WorkerOptions {
    /// The engine.
    pub engine: EngineOptions,
    /// Name of the worker. `None` for one that no other worker has.
    pub name: Option<String>,
    /// Labels, which sessions may require.
    pub labels: BTreeMap<String, String>,
    /// Attempts that run at once. `None` for the number of cores. Each session gets all of them.
    pub jobs: Option<u32>,
    /// Bytes for the memories of all guests of a session. `None` for 75 % of the machine's.
    pub memory: Option<u64>,
    /// The most that sessions are granted.
    pub ceiling: Ceiling,
    /// Files with values of secrets, in addition to the environment.
    pub secret_files: Vec<PathBuf>,
    /// Folder for files of running sessions. `None` for the folder of temporary files.
    pub store: Option<PathBuf>,
}

/// An event of a worker. Texts are on one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of the fields are enough")]
pub enum WorkerEvent<'a> {
    /// The worker is connected.
    Connected { name: &'a str, slots: u32, processes: u32 },
    /// The worker makes attempts of a run.
    Joined { run: &'a str, host: &'a str },
    /// A session has ended.
    Left { run: &'a str, attempts: u64 },
    /// The worker makes no attempts of a run.
    Declined { run: &'a str, why: &'a str },
    /// A message for the user.
    Notice(&'a str),
}

/// Stops a worker: the first request lets running attempts end, the second one ends them.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<watch::Sender<u32>>);

impl Stop {
    /// Requests the worker to stop.
    pub fn raise(&self) {
        self.0.send_modify(|stops| *stops += 1);
    }
}

/// Works on sessions until `stop`.
///
/// # Errors
///
/// The engine cannot be used, or another worker has the name.
pub fn work(
    options: WorkerOptions,
    events: &mut dyn FnMut(WorkerEvent<'_>),
    stop: &Stop,
) -> Result<(), FleetError> {
    machine::check().map_err(FleetError::Usage)?;
    block_on(async {
        let given = options.name.as_deref();
        if let Some(name) = given.filter(|name| !is_worker_name(name)) {
            return Err(FleetError::Usage(format!(
                "invalid name of a worker `{}`: use letters, digits, `-`, `_`, `.` and `:`, at most 128",
                shown(name)
            )));
        }
        let name = options.name.clone().unwrap_or_else(new_name);
        let engine = Engine::connect(&options.engine, &format!("runner worker {name}")).await?;
        let slots = options.jobs.unwrap_or_else(machine::cores).max(1);
        let memory = options.memory.unwrap_or_else(machine::memory);
        let document = PresenceDocument {
            v: VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: name.clone(),
            instance: token(),
            host: host(),
            pid: process::id(),
            since: now().to_string(),
            slots,
            memory,
            labels: options.labels.clone(),
            runs: Vec::new(),
        };
        let WorkerOptions { ceiling, secret_files, store, labels, .. } = options;
        let store = WorkerStore::open(ceiling, secret_files, store)?;
        let mut presence = Presence::take(&engine, document).await?;
        let shapes = shapes(slots, machine::cores(), memory);
        events(WorkerEvent::Connected { name: &name, slots, processes: shapes.len() as u32 });
        let (joined, mut joins) = mpsc::unbounded_channel();
        let mut worker = Worker {
            engine,
            name,
            labels,
            shapes,
            store: Arc::new(store),
            stop: stop.0.subscribe(),
            joined,
            runs: watch::Sender::default(),
            offers: HashMap::new(),
            running: JoinSet::new(),
            events,
            shown: 0,
        };
        let runs = worker.runs.subscribe();
        // Without its name the worker must stop, because rows and lists would confuse it with another one.
        let result = tokio::select! {
            lost = presence.keep(runs) => lost,
            result = worker.serve(&mut joins) => result,
        };
        let Worker { running, .. } = worker;
        drop(running);
        presence.remove().await;
        result
    })
}

/// Returns a name that no other worker has.
fn new_name() -> String {
    let host: String = host().chars().take(100).collect();
    let host = host.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
    format!("{host}-{}", &token()[..4])
}

/// Splits slots and memory among processes, at most one per core.
fn shapes(slots: u32, cores: u32, memory: u64) -> Vec<ProcessShape> {
    let count = cores.min(slots).max(1);
    let shape = |number| ProcessShape {
        slots: slots / count + u32::from(number < slots % count),
        memory: memory / u64::from(count),
    };
    (0..count).map(shape).collect()
}

/// An offer that the worker has considered.
struct KnownOffer {
    renewed: Instant,
    /// `None` if the worker has declined it, or the session has ended.
    session: Option<Arc<JoinedSession>>,
    is_declined: bool,
    /// Whether [`WorkerEvent::Joined`] was sent.
    is_joined: bool,
}

/// A worker that is connected.
struct Worker<'a> {
    engine: Engine,
    name: String,
    labels: BTreeMap<String, String>,
    shapes: Vec<ProcessShape>,
    store: Arc<WorkerStore>,
    /// Number of requests to stop.
    stop: watch::Receiver<u32>,
    /// Receives the tokens of sessions that have a process.
    joined: mpsc::UnboundedSender<String>,
    /// Runs that the worker works on.
    runs: watch::Sender<Vec<String>>,
    /// By token.
    offers: HashMap<String, KnownOffer>,
    /// Ends with the tokens of their offers.
    running: JoinSet<String>,
    events: &'a mut dyn FnMut(WorkerEvent<'_>),
    /// Declined runs that were shown since the last sweep.
    shown: u32,
}

impl Worker<'_> {
    async fn serve(
        &mut self,
        joins: &mut mpsc::UnboundedReceiver<String>,
    ) -> Result<(), FleetError> {
        // A watcher of the bucket would have to be created again after each failure of the engine.
        let subject = format!("$KV.{OFFERS}.>");
        let offers = self.engine.client().subscribe(subject).await;
        let mut offers = offers.map_err(|error| self.engine.failure(&error))?;
        let listed = timeout(LIST_WITHIN, self.list()).await;
        debug!(?listed, "offers at the start");
        let (mut ticks, mut sweeps) = (interval(Duration::from_secs(1)), interval(SWEEP_EVERY));
        let (mut stop, mut killed) = (self.stop.clone(), self.stop.clone());
        let mut is_connected = true;
        while *self.stop.borrow() == 0 || !self.running.is_empty() {
            tokio::select! {
                Some(message) = offers.next() => self.receive(&message),
                Some(token) = joins.recv() => self.joined(&token),
                Some(Ok(token)) = self.running.join_next() => self.ended(&token),
                _ = ticks.tick() => {
                    self.end_offers();
                    self.show_connection(&mut is_connected);
                }
                _ = sweeps.tick() => {
                    self.shown = 0;
                    let store = Arc::clone(&self.store);
                    spawn_blocking(move || store.sweep());
                }
                Ok(_) = stop.wait_for(|stops| *stops > 0), if *self.stop.borrow() == 0 => {}
                Ok(_) = killed.wait_for(|stops| *stops > 1) => break,
            }
        }
        let ended = async {
            while let Some(ended) = self.running.join_next().await {
                ended.iter().for_each(|token| self.ended(token));
            }
        };
        let _ = timeout(KILL_WITHIN, ended).await;
        Ok(())
    }

    /// Considers the offers that are there.
    async fn list(&mut self) -> Result<(), FleetError> {
        let bucket = self.engine.bucket(OFFERS).await?;
        let keys = bucket.keys().await.map_err(|error| self.engine.failure(&error))?;
        let keys: Vec<_> = keys.take(MAX_OFFERS).collect().await;
        for key in keys.into_iter().flatten() {
            if let Ok(Some(value)) = bucket.get(&key).await {
                self.consider(&key, &value);
            }
        }
        Ok(())
    }

    /// Handles a change of the bucket of offers.
    fn receive(&mut self, message: &Message) {
        let Some(token) = message.subject.rsplit('.').next() else { return };
        let headers = message.headers.as_ref();
        if headers.is_some_and(|headers| headers.get("KV-Operation").is_some()) {
            self.end_offer(token);
        } else {
            self.consider(token, &message.payload);
        }
    }

    /// Joins a session that is offered, if it is for this worker and new.
    fn consider(&mut self, token: &str, content: &[u8]) {
        if let Some(known) = self.offers.get_mut(token) {
            known.renewed = Instant::now();
            if let Some(session) = &known.session {
                session.progress.is_withdrawn.store(false, Ordering::Release);
            }
            if known.is_declined || known.session.is_some() {
                return;
            }
        }
        let offer = (content.len() <= MAX_DOCUMENT).then(|| serde_json::from_slice(content).ok());
        let Some(offer) = offer.flatten().filter(|offer: &OfferDocument| offer.token == token)
        else {
            return;
        };
        let is_ours = offer.labels.iter().all(|(key, value)| self.labels.get(key) == Some(value));
        let is_full = self.offers.len() >= MAX_OFFERS || self.running.len() >= MAX_SESSIONS;
        if !is_ours || is_full || *self.stop.borrow() > 0 {
            return;
        }
        let (version, run) = (env!("CARGO_PKG_VERSION"), shown(&offer.run));
        let mut known = KnownOffer {
            renewed: Instant::now(),
            session: None,
            is_declined: false,
            is_joined: false,
        };
        if offer.v != VERSION || offer.version != version {
            known.is_declined = true;
            let other = shown(&offer.version);
            self.decline(&run, &format!("its version is {other}, and the worker's is {version}"));
        } else {
            let session = Arc::new(JoinedSession {
                engine: self.engine.clone(),
                store: Arc::clone(&self.store),
                start: start_worker,
                worker: self.name.clone(),
                stop: self.stop.clone(),
                joined: self.joined.clone(),
                progress: SessionProgress::default(),
                offer,
            });
            known.session = Some(Arc::clone(&session));
            let (token, shapes) = (token.to_owned(), self.shapes.clone());
            self.running.spawn(async move {
                session.run(&shapes).await;
                token
            });
        }
        self.offers.insert(token.to_owned(), known);
    }

    /// Ends offers that are not renewed. They cannot be while the engine is away, and soon after.
    fn end_offers(&mut self) {
        let is_connected = self.engine.connected_for().is_some_and(|time| time > OFFER_ENDS);
        let old = |known: &KnownOffer| known.renewed.elapsed() > OFFER_ENDS;
        let ended = self.offers.iter().filter(|(_, known)| is_connected && old(known));
        for token in ended.map(|(token, _)| token.clone()).collect::<Vec<_>>() {
            self.end_offer(&token);
        }
    }

    /// Lets no process join again. The running ones end with their links.
    fn end_offer(&mut self, token: &str) {
        let Some(known) = self.offers.get(token) else { return };
        match &known.session {
            Some(session) => session.progress.is_withdrawn.store(true, Ordering::Release),
            None => drop(self.offers.remove(token)),
        }
    }

    fn joined(&mut self, token: &str) {
        if let Some(known) = self.offers.get_mut(token)
            && let Some(session) = known.session.as_ref().filter(|_| !known.is_joined)
        {
            known.is_joined = true;
            let (run, host) = (shown(&session.offer.run), shown(&session.offer.host));
            (self.events)(WorkerEvent::Joined { run: &run, host: &host });
            self.runs.send_modify(|runs| runs.push(run));
        }
    }

    /// Handles the end of a session. Its offer is considered again if it is renewed.
    fn ended(&mut self, token: &str) {
        let known = self.offers.get(token).and_then(|known| known.session.as_ref());
        if known.is_some_and(|session| session.progress.has_joined.load(Ordering::Acquire)) {
            // The event may still be in its queue.
            self.joined(token);
        }
        let Some(known) = self.offers.get_mut(token) else { return };
        let Some(session) = known.session.take() else { return };
        let (run, progress) = (shown(&session.offer.run), &session.progress);
        let declined = progress.declined.borrow().clone();
        known.is_declined = declined.is_some();
        if mem::take(&mut known.is_joined) {
            let attempts = progress.attempts.load(Ordering::Acquire);
            (self.events)(WorkerEvent::Left { run: &run, attempts });
            self.runs.send_modify(|runs| {
                if let Some(at) = runs.iter().position(|one| *one == run) {
                    runs.remove(at);
                }
            });
        }
        if let Some(why) = declined {
            self.decline(&run, &why);
        }
    }

    fn decline(&mut self, run: &str, why: &str) {
        self.shown += 1;
        if self.shown <= MAX_SHOWN {
            (self.events)(WorkerEvent::Declined { run, why });
        }
    }

    fn show_connection(&mut self, was_connected: &mut bool) {
        let is_connected = self.engine.connected_for().is_some();
        if is_connected != *was_connected {
            let notice = if is_connected {
                "connected again"
            } else {
                "the engine is away; connecting again"
            };
            (self.events)(WorkerEvent::Notice(notice));
        }
        *was_connected = is_connected;
    }
}

#[cfg(test)]
#[path = "tests/worker.rs"]
mod tests;
