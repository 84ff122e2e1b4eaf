//! [`NatsSource`]: offers a session to workers on other machines, and connects those that join.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use std::{io, thread};

use async_nats::{Message, Subscriber};
use futures_util::StreamExt as _;
use runner_engine::remote::{
    EventSink, JoiningWorker, LinkEvent, Offer, OfferedSession, SourceEvent, SourceSink,
    WorkerLink, WorkerSource,
};
use runner_model::Digest;
use runner_model::{units::plural, visible::quoted};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::address::BrokerOptions;
use crate::broker::{Broker, block_on, host, lock, runtime, token};
use crate::channel::{self, ChannelSender, Role};
use crate::error::FleetError;
use crate::list::{list, test};
use crate::remote_worker::{LinkReader, MAX_SLOTS, Notices, RemoteWorker, close, worker_of};
use crate::wire::{
    JoinAnswer, JoinDocument, MAX_DOCUMENT, OFFERS, OfferDocument, PresenceDocument, VERSION,
    join_subject, shown,
};

/// Interval at which an offer is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(3);
/// Interval at which an offer is renewed after a failure.
const RETRY_EVERY: Duration = Duration::from_millis(500);
/// Time for withdrawing an offer, and for links to end after the session.
const END_WITHIN: Duration = Duration::from_millis(1_500);
/// Maximum number of open links of a session.
const MAX_LINKS: usize = 4_096;
/// Bytes of the stack of a link's thread. Nested JSON of a hostile worker must fit.
const STACK: usize = 512 << 10;

const OUR_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Finds workers on other machines over NATS.
#[derive(Debug)]
pub struct NatsSource {
    options: BrokerOptions,
    labels: BTreeMap<String, String>,
}

impl NatsSource {
    /// Checks the connection to the broker. Workers must have `labels`.
    ///
    /// # Errors
    ///
    /// The broker cannot be used.
    pub fn new(
        options: BrokerOptions,
        labels: BTreeMap<String, String>,
    ) -> Result<Self, FleetError> {
        block_on(async {
            let broker = Broker::connect(&options, "runner").await?;
            // An unreachable broker is no error yet: a cluster may have just lost a server.
            match test(&broker, "offers").await.and(broker.blobs().await) {
                Err(FleetError::Refused(why)) => Err(FleetError::Refused(format!(
                    "these credentials do not allow runs: {why}, or use credentials of the role `runs` in docs/workers.md\n\
                     to list all missing permissions: runner broker check"
                ))),
                Ok(_) | Err(FleetError::Unreachable(_)) => Ok(()),
                Err(error) => Err(error),
            }
        })?;
        Ok(Self { options, labels })
    }
}

impl WorkerSource for NatsSource {
    fn offer(&self, session: OfferedSession, events: SourceSink) -> Result<Arc<dyn Offer>, String> {
        let document = OfferDocument {
            v: VERSION,
            version: OUR_VERSION.to_owned(),
            token: token(),
            run: session.run,
            labels: self.labels.clone(),
            host: host(),
        };
        let runtime = runtime().map_err(|error| error.to_string())?;
        let started = runtime.block_on(start(&self.options, &document));
        let (broker, joins) = started.map_err(|error| error.to_string())?;
        let (handle, (stop, stopped)) = (runtime.handle().clone(), oneshot::channel());
        let session = ServedSession {
            broker: broker.clone(),
            document,
            notices: Arc::new(Notices { events, sent: Mutex::default() }),
            links: Links::default(),
        };
        let thread = thread::Builder::new().name("fleet".to_owned()).spawn(move || {
            runtime.block_on(session.serve(joins, stopped));
            runtime.shutdown_background();
        });
        let thread = thread.map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok(Arc::new(NatsOffer { broker, runtime: handle, stop: Some(stop), thread: Some(thread) }))
    }

    fn address(&self) -> String {
        self.options.shown()
    }

    fn worker_command(&self) -> String {
        let label = |(key, value): (&String, &String)| quoted(&format!("{key}={value}"));
        let labels = self.labels.iter().map(label);
        let labels: String = labels.map(|label| format!(" --label {label}")).collect();
        format!("runner worker --broker {}{labels}", self.options.shown())
    }
}

/// A session that is offered.
struct NatsOffer {
    broker: Broker,
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Offer for NatsOffer {
    fn publish(&self, digest: &Digest, content: File) -> io::Result<()> {
        let (broker, digest) = (self.broker.clone(), *digest);
        let (done, result) = oneshot::channel();
        self.runtime.spawn(async move {
            // Without a receiver the session has ended.
            let _ = done.send(broker.put_blob(&digest, content).await);
        });
        let ended = |_| io::Error::other("the session has ended");
        result.blocking_recv().map_err(ended)?.map_err(io::Error::other)
    }
}

impl Drop for NatsOffer {
    /// Withdraws the offer. Otherwise workers would request to join a session that has ended.
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Connects, and offers the session for the first time.
async fn start(
    options: &BrokerOptions,
    document: &OfferDocument,
) -> Result<(Broker, Subscriber), FleetError> {
    let broker = Broker::connect(options, &format!("runner exec {}", document.run)).await?;
    let joins = broker.client().subscribe(join_subject(&document.token)).await;
    let joins = joins.map_err(|error| broker.failure(&error))?;
    offer(&broker, document).await?;
    Ok((broker, joins))
}

/// Writes the offer into the bucket of offers.
async fn offer(broker: &Broker, document: &OfferDocument) -> Result<(), FleetError> {
    let content = serde_json::to_vec(document).unwrap_or_default();
    // Opened each time, because a broker without its store has no bucket.
    let offers = broker.bucket(OFFERS).await?;
    let put = offers.put(&document.token, content.into()).await;
    put.map(drop).map_err(|error| broker.failure(&error))
}

/// Senders of the open links, by token.
type Links = Arc<Mutex<HashMap<String, ChannelSender>>>;

/// A session, on the thread that serves it.
struct ServedSession {
    broker: Broker,
    document: OfferDocument,
    notices: Arc<Notices>,
    links: Links,
}

impl ServedSession {
    /// Keeps the offer and answers workers until `stopped`.
    async fn serve(&self, mut joins: Subscriber, mut stopped: oneshot::Receiver<()>) {
        tokio::select! {
            () = self.keep_offer() => {}
            () = async {
                while let Some(message) = joins.next().await {
                    self.answer(message).await;
                }
            } => {}
            _ = &mut stopped => {}
        }
        // Workers also notice the end by the silence of the coordinator.
        if self.broker.connected_for().is_none() {
            return;
        }
        let ended = async {
            while !lock(&self.links).is_empty() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let withdrawn = timeout(END_WITHIN, async { tokio::join!(self.withdraw(), ended) }).await;
        debug!(?withdrawn, "an offer has ended");
    }

    async fn keep_offer(&self) {
        self.report_labels().await;
        let mut wait = RENEW_EVERY;
        loop {
            sleep(wait).await;
            wait = match offer(&self.broker, &self.document).await {
                Ok(()) => RENEW_EVERY,
                Err(error) => {
                    debug!(%error, "an offer is not renewed");
                    self.notices.send(match error {
                        FleetError::Unreachable(_) => "the broker is away; connecting again".into(),
                        error => error.to_string(),
                    });
                    RETRY_EVERY
                }
            };
        }
    }

    /// Reports that workers are connected and none of them has the session's labels.
    async fn report_labels(&self) {
        if self.document.labels.is_empty() {
            return;
        }
        let workers = list(&self.broker).await.unwrap_or_default();
        let is_selected = |worker: &PresenceDocument| self.document.selects(&worker.labels);
        if !workers.is_empty() && !workers.iter().any(is_selected) {
            let count = plural(workers.len() as u64, "worker is", "workers are");
            let label = |(key, value)| quoted(&format!("{key}={value}"));
            let labels: Vec<_> = self.document.labels.iter().map(label).collect();
            let labels = labels.join(" ");
            self.notices.send(format!("{count} connected, but none has the labels {labels}"));
        }
    }

    async fn withdraw(&self) -> Result<(), FleetError> {
        let offers = self.broker.bucket(OFFERS).await?;
        let deleted = offers.delete(&self.document.token).await;
        deleted.map_err(|error| self.broker.failure(&error))
    }

    async fn answer(&self, message: Message) {
        let Some(reply) = message.reply else { return };
        if self.is_full() {
            // The worker retries a request without an answer. An error would make it decline the run.
            let text =
                format!("the session is full with {MAX_LINKS} worker processes; others wait");
            return self.notices.send(text);
        }
        let problem = match parse(&message.payload) {
            Ok(join) => self.join(join).await.err(),
            Err(problem) => Some(problem),
        };
        let answer = JoinAnswer { v: VERSION, problem };
        let content = serde_json::to_vec(&answer).unwrap_or_default();
        let _ = self.broker.client().publish(reply, content.into()).await;
    }

    /// Opens the link of a worker.
    async fn join(&self, join: JoinDocument) -> Result<(), String> {
        if let Some(problem) = problem(&join) {
            let worker = shown(worker_of(&join.name));
            self.notices.send(format!("worker {worker} cannot join: {problem}"));
            return Err(problem);
        }
        // A forged request: workers create a random token for each link.
        if lock(&self.links).contains_key(&join.link) {
            return Ok(());
        }
        let opened = channel::open(&self.broker, &join.link, Role::Coordinator).await;
        let (sender, mut received) = opened.map_err(|error| error.to_string())?;
        lock(&self.links).insert(join.link.clone(), sender.clone());
        let open = OpenLink { link: join.link.clone(), links: Arc::clone(&self.links) };
        let mut reader = LinkReader {
            name: join.name.clone(),
            running: Arc::default(),
            notices: Arc::clone(&self.notices),
            requested: HashSet::new(),
            stored: Arc::clone(self.broker.stored()),
        };
        let remote = RemoteWorker { sender: sender.clone(), running: Arc::clone(&reader.running) };
        let kept = sender.clone();
        let (sink, sinks) = mpsc::channel::<EventSink>();
        let thread = thread::Builder::new().name("fleet-link".to_owned()).stack_size(STACK);
        let spawned = thread.spawn(move || {
            // Without a sink the session does not connect this worker.
            if let Ok(sink) = sinks.recv() {
                let exit = reader.forward(&mut received, &sink);
                sink(LinkEvent::Exited(exit));
            }
            close(&sender);
            // The link is open until its last message is sent.
            while received.blocking_recv().is_some() {}
            drop(open);
        });
        spawned.map_err(|error| format!("the coordinator cannot start a thread: {error}"))?;
        let connect = Box::new(move |events| -> Box<dyn WorkerLink> {
            // The thread waits for it.
            let _ = sink.send(events);
            Box::new(remote)
        });
        let JoinDocument { name, slots, memory, is_spare, .. } = join;
        let is_gone = Box::new(move || kept.is_closed());
        let joining = JoiningWorker { name, slots, memory, is_spare, is_gone, connect };
        (self.notices.events)(SourceEvent::Joined(joining));
        Ok(())
    }

    /// Returns whether the session has [`MAX_LINKS`] open links. Counts the open ones only at the limit, because closed links
    /// of spare processes stay until the next spare process joins.
    fn is_full(&self) -> bool {
        let links = lock(&self.links);
        let open = || links.values().filter(|link| !link.is_closed()).count();
        links.len() >= MAX_LINKS && open() >= MAX_LINKS
    }
}

/// Parses a request to join.
fn parse(content: &[u8]) -> Result<JoinDocument, String> {
    let join = (content.len() <= MAX_DOCUMENT).then(|| serde_json::from_slice(content).ok());
    join.flatten()
        .ok_or_else(|| "the request to join has another form; use the same version".into())
}

/// Returns why a worker cannot join.
fn problem(join: &JoinDocument) -> Option<String> {
    if join.v != VERSION || join.version != OUR_VERSION {
        let version = shown(&join.version);
        return Some(format!("its version is {version}, and the run's is {OUR_VERSION}"));
    }
    let is_link = join.link.len() == 16
        && join.link.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_process_name(&join.name) || !is_link {
        return Some("its name or its link's is not valid".to_owned());
    }
    if !(1..=MAX_SLOTS).contains(&join.slots) || join.memory == 0 {
        return Some(format!("it needs 1 to {MAX_SLOTS} slots, and memory"));
    }
    None
}

/// Returns whether a text is the name of a worker process: the worker's, `/` and a number.
fn is_process_name(text: &str) -> bool {
    text.rsplit_once('/').is_some_and(|(worker, number)| {
        is_worker_name(worker)
            && number.len() <= 5
            && number.parse().is_ok_and(|value: u32| value.to_string() == number)
    })
}

/// Returns whether a text can be the name of a worker, which is in rows and logs.
pub(crate) fn is_worker_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(is_allowed)
}

/// Removes a link from the session's links on drop.
struct OpenLink {
    link: String,
    links: Links,
}

impl Drop for OpenLink {
    fn drop(&mut self) {
        lock(&self.links).remove(&self.link);
    }
}

#[cfg(test)]
#[path = "tests/source.rs"]
mod tests;
