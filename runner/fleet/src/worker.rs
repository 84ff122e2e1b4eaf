//! [`work`]: joins the sessions that a broker offers, until the worker is stopped.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};
use std::{path::PathBuf, process, sync::Arc, sync::atomic::Ordering};

use async_nats::Message;
use futures_util::StreamExt as _;
use runner_prepare::machine;
use runner_record::now;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{interval, sleep, timeout, timeout_at};
use tracing::debug;

use crate::broker::{Broker, block_on, host, token};
use crate::joined::{JoinedSession, SessionEvent, SessionProgress};
use crate::key::{AcceptedKeys, DocumentKind, Refusal, unverified};
use crate::store::{ProcessShape, WorkerStore};
use crate::wire::{
    ENTRY_SECONDS, MAX_DOCUMENT, OFFERS, OUR_VERSION, OfferDocument, PresenceDocument, VERSION,
    shown,
};
use crate::{
    address::BrokerOptions, ceiling::Ceiling, error::FleetError, presence::Presence,
    source::is_worker_name,
};

/// Time after which an offer that is not renewed has ended.
const OFFER_ENDS: Duration = Duration::from_secs(ENTRY_SECONDS);
/// Time for processes to exit after the second request to stop.
const KILL_WITHIN: Duration = Duration::from_secs(3);
/// Time for reading the offers at the start. All are renewed soon after.
const LIST_WITHIN: Duration = Duration::from_secs(2);
/// Interval at which leftovers of killed workers are removed.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Maximum number of joined sessions, and of remembered offers.
const MAX_SESSIONS: usize = 64;
const MAX_OFFERS: usize = 4_096;
/// Wait before the worker joins a session again whose coordinator has not answered.
const UNANSWERED_WAIT: Duration = Duration::from_secs(10);
/// Wait between attempts to connect at the start.
const CONNECT_EVERY: Duration = Duration::from_secs(1);
/// Declined runs that are shown in [`SWEEP_EVERY`]. A stranger could offer any number.
const MAX_SHOWN: u32 = 20;

/// Settings of a worker.
#[derive(Clone, Debug, Default)]
pub struct WorkerOptions {
    /// The broker.
    pub broker: BrokerOptions,
    /// Name of the worker. `None` for one that no other worker has.
    pub name: Option<String>,
    /// Public keys of the runs to accept. Empty to accept unsigned runs.
    pub keys: Vec<String>,
    /// Whether to accept unsigned runs of a broker on another machine.
    pub accept_unsigned: bool,
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
    /// The worker runs attempts of a run.
    Joined { run: &'a str, host: &'a str },
    /// A session has ended.
    Left { run: &'a str, attempts: u64 },
    /// The worker runs no attempts of a run.
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

/// Runs attempts of sessions until `stop`.
///
/// # Errors
///
/// The broker cannot be used, or another worker has the name.
pub fn work(
    options: WorkerOptions,
    events: &mut dyn FnMut(WorkerEvent<'_>),
    stop: &Stop,
) -> Result<(), FleetError> {
    machine::check().map_err(FleetError::Usage)?;
    let mut stopped = stop.0.subscribe();
    let (events_of_sessions, mut received) = mpsc::unbounded_channel();
    block_on(async {
        let connected = tokio::select! {
            connected = Worker::connect(options, stop, events_of_sessions, events) => connected,
            _ = stopped.wait_for(|stops| *stops > 0) => return Ok(()),
        };
        let (mut worker, mut presence) = connected?;
        let runs = worker.runs.subscribe();
        let (messages, mut notices) = mpsc::unbounded_channel();
        let result = tokio::select! {
            never = presence.keep(runs, messages) => match never {},
            result = worker.serve(&mut received, &mut notices) => result,
        };
        drop(worker);
        presence.remove().await;
        result
    })
}

/// Returns the keys of the runs to accept, and reports if any run is accepted.
fn accepted_keys(
    options: &WorkerOptions,
    events: &mut dyn FnMut(WorkerEvent<'_>),
) -> Result<AcceptedKeys, FleetError> {
    let accepted = AcceptedKeys::parse(&options.keys)?;
    if matches!(accepted, AcceptedKeys::Unsigned) {
        let is_here = options.broker.servers()?.is_here;
        if !is_here && !options.accept_unsigned {
            return Err(FleetError::Usage(
                "a worker of a broker on another machine needs the public key of its runs\n\
                 create a key: runner broker key FILE\n\
                 give it to both: runner exec --broker-key FILE, runner worker --broker-key PUBLIC\n\
                 or accept runs of everybody who can publish there: runner worker --accept-unsigned"
                    .to_owned(),
            ));
        }
        events(WorkerEvent::Notice(
            "runs need no signature: everybody who can publish at the broker can run plugins here, below the ceiling",
        ));
    }
    Ok(accepted)
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
    (0..count)
        .map(|number| ProcessShape {
            slots: slots / count + u32::from(number < slots % count),
            memory: memory / u64::from(count),
        })
        .collect()
}

/// Connects, and takes the worker's name.
async fn connect(
    options: &BrokerOptions,
    document: &PresenceDocument,
) -> Result<(Broker, Presence), FleetError> {
    let broker = Broker::connect(options, &format!("runner worker {}", document.name)).await?;
    let presence = Presence::take(&broker, document.clone()).await?;
    Ok((broker, presence))
}

/// An offer that the worker has considered.
struct KnownOffer {
    renewed: Instant,
    /// `None` if the worker has declined it, or the session has ended.
    session: Option<Arc<JoinedSession>>,
    /// Time before which a renewed offer is ignored. `None` if the worker has declined the offer.
    retry_at: Option<Instant>,
}

/// A worker that is connected.
struct Worker<'a> {
    broker: Broker,
    name: String,
    accepted: Arc<AcceptedKeys>,
    labels: BTreeMap<String, String>,
    shapes: Vec<ProcessShape>,
    store: Arc<WorkerStore>,
    /// Number of requests to stop.
    stop: watch::Receiver<u32>,
    sessions: mpsc::UnboundedSender<SessionEvent>,
    /// Ids of the runs whose sessions the worker has joined.
    runs: watch::Sender<Vec<String>>,
    /// Known offers by token.
    offers: HashMap<String, KnownOffer>,
    running: JoinSet<()>,
    events: &'a mut dyn FnMut(WorkerEvent<'_>),
    /// Declined runs that were shown since the last sweep.
    shown: u32,
    /// Shown runs of other keys. Emptied by a sweep that finds it full.
    refused: HashSet<String>,
}

impl<'a> Worker<'a> {
    /// Waits until the broker answers, connects, and takes the worker's name.
    async fn connect(
        options: WorkerOptions,
        stop: &Stop,
        sessions: mpsc::UnboundedSender<SessionEvent>,
        events: &'a mut dyn FnMut(WorkerEvent<'_>),
    ) -> Result<(Self, Presence), FleetError> {
        let accepted = accepted_keys(&options, events)?;
        let name = options.name.unwrap_or_else(new_name);
        if !is_worker_name(&name) {
            return Err(FleetError::Usage(format!(
                "invalid name of a worker `{}`: use letters, digits, `-`, `_`, `.` and `:`, at most 128",
                shown(&name)
            )));
        }
        let slots = options.jobs.unwrap_or_else(machine::cores).max(1);
        let memory = options.memory.unwrap_or_else(machine::memory);
        let store = WorkerStore::open(options.ceiling, options.secret_files, options.store)?;
        store.notices(memory).iter().for_each(|notice| events(WorkerEvent::Notice(notice)));
        let document = PresenceDocument {
            v: VERSION,
            version: OUR_VERSION.to_owned(),
            name: name.clone(),
            instance: token(),
            host: host(),
            pid: process::id(),
            since: now().to_string(),
            slots,
            memory,
            labels: options.labels.clone(),
            keys: accepted.keys().to_vec(),
            runs: Vec::new(),
        };
        let mut last = String::new();
        let (broker, presence) = loop {
            match connect(&options.broker, &document).await {
                Err(FleetError::Unreachable(why)) => {
                    if why != last {
                        events(WorkerEvent::Notice(&format!("{why}; the worker keeps trying")));
                        last = why;
                    }
                    sleep(CONNECT_EVERY).await;
                }
                connected => break connected?,
            }
        };
        let shapes = shapes(slots, machine::cores(), memory);
        events(WorkerEvent::Connected { name: &name, slots, processes: shapes.len() as u32 });
        let worker = Self {
            broker,
            name,
            accepted: Arc::new(accepted),
            labels: options.labels,
            shapes,
            store: Arc::new(store),
            stop: stop.0.subscribe(),
            sessions,
            runs: watch::Sender::default(),
            offers: HashMap::new(),
            running: JoinSet::new(),
            events,
            shown: 0,
            refused: HashSet::new(),
        };
        Ok((worker, presence))
    }

    async fn serve(
        &mut self,
        received: &mut mpsc::UnboundedReceiver<SessionEvent>,
        notices: &mut mpsc::UnboundedReceiver<String>,
    ) -> Result<(), FleetError> {
        // A watcher of the bucket would have to be created again after each failure of the broker.
        let subject = format!("$KV.{OFFERS}.>");
        let offers = self.broker.client.subscribe(subject).await;
        let mut offers = offers.map_err(|error| self.broker.failure(&error))?;
        let listed = timeout(LIST_WITHIN, self.list()).await;
        debug!(?listed, "offers at the start");
        let mut ticks = interval(Duration::from_secs(1));
        let mut sweeps = interval(SWEEP_EVERY);
        let mut stop = self.stop.clone();
        let mut killed = self.stop.clone();
        let mut is_connected = true;
        while *self.stop.borrow() == 0 || self.has_sessions() {
            tokio::select! {
                Some(message) = offers.next() => self.receive(&message),
                Some(event) = received.recv() => self.handle(&event),
                Some(notice) = notices.recv() => (self.events)(WorkerEvent::Notice(&notice)),
                _ = ticks.tick() => {
                    self.end_offers();
                    self.show_connection(&mut is_connected);
                }
                _ = sweeps.tick() => {
                    self.shown = 0;
                    if self.refused.len() >= MAX_SHOWN as usize {
                        self.refused.clear();
                    }
                    let store = Arc::clone(&self.store);
                    spawn_blocking(move || store.sweep());
                }
                Ok(_) = stop.wait_for(|stops| *stops > 0), if *self.stop.borrow() == 0 => {}
                Ok(_) = killed.wait_for(|stops| *stops > 1) => break,
            }
        }
        let until = Instant::now() + KILL_WITHIN;
        while self.has_sessions()
            && let Ok(Some(event)) = timeout_at(until.into(), received.recv()).await
        {
            self.handle(&event);
        }
        Ok(())
    }

    fn has_sessions(&self) -> bool {
        self.offers.values().any(|known| known.session.is_some())
    }

    /// Considers all current offers.
    async fn list(&mut self) -> Result<(), FleetError> {
        for entry in self.broker.entries(OFFERS, MAX_OFFERS).await? {
            self.consider(&entry.key, &entry.value);
        }
        Ok(())
    }

    /// Handles a change of the bucket of offers.
    fn receive(&mut self, message: &Message) {
        let Some(token) = message.subject.rsplit('.').next() else { return };
        self.consider(token, &message.payload);
    }

    /// Joins a session that is offered, if it is for this worker and new.
    fn consider(&mut self, token: &str, content: &[u8]) {
        if content.len() > MAX_DOCUMENT {
            return;
        }
        let offer = match self.accepted.open::<OfferDocument>(DocumentKind::Offer, content) {
            Ok(offer) if offer.token != token => return,
            Ok(offer) if offer.is_over => return self.end_offer(token),
            Ok(offer) => offer,
            Err(Refusal::Key(why)) => return self.refuse(content, &why),
            Err(Refusal::Invalid) => return,
        };
        if let Some(known) = self.offers.get_mut(token) {
            known.renewed = Instant::now();
            if let Some(session) = &known.session {
                session.progress.is_withdrawn.store(false, Ordering::Release);
                return;
            }
            if known.retry_at.is_none_or(|at| at > Instant::now()) {
                return;
            }
        }
        while self.running.try_join_next().is_some() {}
        let is_full = self.offers.len() >= MAX_OFFERS || self.running.len() >= MAX_SESSIONS;
        if !offer.selects(&self.labels) || is_full || *self.stop.borrow() > 0 {
            return;
        }
        let run = shown(&offer.run);
        let mut known = KnownOffer { renewed: Instant::now(), session: None, retry_at: None };
        if offer.v != VERSION || offer.version != OUR_VERSION {
            let other = shown(&offer.version);
            self.decline(
                &run,
                &format!("its version is {other}, and the worker's is {OUR_VERSION}"),
            );
        } else {
            let session = Arc::new(JoinedSession {
                broker: self.broker.clone(),
                store: Arc::clone(&self.store),
                worker: self.name.clone(),
                accepted: Arc::clone(&self.accepted),
                stop: self.stop.clone(),
                events: self.sessions.clone(),
                progress: SessionProgress::default(),
                offer,
            });
            known.session = Some(Arc::clone(&session));
            let shapes = self.shapes.clone();
            self.running.spawn(async move { session.run(&shapes).await });
        }
        self.offers.insert(token.to_owned(), known);
    }

    /// Declines an offer of another key, without keeping it: a stranger can write any number of them, also under the name of an
    /// honest session.
    fn refuse(&mut self, content: &[u8], why: &str) {
        let Some(offer) = unverified::<OfferDocument>(content) else { return };
        let run = shown(&offer.run);
        if offer.selects(&self.labels)
            && self.refused.len() < MAX_SHOWN as usize
            && self.refused.insert(run.clone())
        {
            self.decline(&run, why);
        }
    }

    /// Ends offers that are not renewed. Renewals are impossible while the broker is away, and shortly after.
    fn end_offers(&mut self) {
        let is_connected = self.broker.connected_for().is_some_and(|time| time > OFFER_ENDS);
        let ended = self
            .offers
            .iter()
            .filter(|(_, known)| is_connected && known.renewed.elapsed() > OFFER_ENDS);
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

    fn handle(&mut self, event: &SessionEvent) {
        let (SessionEvent::Joined(token) | SessionEvent::Ended(token)) = event;
        let Some(known) = self.offers.get_mut(token) else { return };
        let Some(session) = known.session.clone() else { return };
        let run = shown(&session.offer.run);
        if matches!(event, SessionEvent::Joined(_)) {
            let host = shown(&session.offer.host);
            (self.events)(WorkerEvent::Joined { run: &run, host: &host });
            self.runs.send_modify(|runs| runs.push(run));
            return;
        }
        // The coordinator may still be running, and renew the offer.
        known.session = None;
        let declined = session.progress.declined.borrow().clone();
        let is_answered = session.progress.is_answered.load(Ordering::Acquire);
        let wait = if is_answered { Duration::ZERO } else { UNANSWERED_WAIT };
        known.retry_at = declined.is_none().then(|| Instant::now() + wait);
        if session.progress.has_joined.load(Ordering::Acquire) {
            let attempts = session.progress.attempts.load(Ordering::Acquire);
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
        let is_connected = self.broker.connected_for().is_some();
        if is_connected != *was_connected {
            let notice = if is_connected {
                "connected again"
            } else {
                "the broker is away; connecting again"
            };
            (self.events)(WorkerEvent::Notice(notice));
        }
        *was_connected = is_connected;
    }
}

#[cfg(test)]
#[path = "tests/worker.rs"]
mod tests;
