//! [`NatsSource`]: offers a session to workers on other machines, and connects those that join.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, mpsc};
use std::{fs::File, io, path::Path, thread, time::Duration};

use async_nats::{Message, Subscriber};
use futures_util::StreamExt as _;
use runner_engine::remote::{
    EventSink, JoiningWorker, LinkEvent, Offer, OfferedSession, SourceEvent, SourceSink,
    WorkerLink, WorkerSource,
};
use runner_model::{Digest, digest, units::plural, visible::quoted, worker_of};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::broker::{Broker, block_on, host, lock, runtime, token};
use crate::channel::{self, ChannelSender};
use crate::key::{DocumentKind, RunsKey, sign};
use crate::list::{list, prepare_runs};
use crate::remote_worker::{LinkReader, MAX_SLOTS, Notices, RemoteWorker, close};
use crate::seal::{KeyExchange, Opener, Sealer};
use crate::wire::{
    JoinAnswer, JoinDocument, MAX_DOCUMENT, OFFERS, OUR_VERSION, OfferDocument, Role, VERSION,
    join_subject, link_of, shown,
};
use crate::{address::BrokerOptions, error::FleetError};

/// Interval at which an offer is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(3);
/// Interval at which an offer is renewed after a failure.
const RETRY_EVERY: Duration = Duration::from_millis(500);
/// Time for withdrawing an offer, and for links to end after the session.
const END_WITHIN: Duration = Duration::from_millis(1_500);
/// Wait between attempts to connect.
const CONNECT_EVERY: Duration = Duration::from_secs(1);
/// Maximum number of open links of a session.
const MAX_LINKS: usize = 4_096;
/// Maximum number of open links of one user of the broker. Silent processes of one user cannot take the places of the others.
const MAX_LINKS_OF_USER: usize = 1_024;
/// Bytes of the stack of a link's thread. Nested JSON of a hostile worker must fit.
const STACK: usize = 512 << 10;

/// Finds workers on other machines over NATS.
#[derive(Debug)]
pub struct NatsSource {
    options: BrokerOptions,
    labels: BTreeMap<String, String>,
    /// Signs the sessions. `None` for workers that accept unsigned ones.
    key: Option<RunsKey>,
    /// Whether the broker was away. A session then starts without it, and connects later.
    is_away: bool,
}

impl NatsSource {
    /// Checks the connection to the broker. Workers must have `labels`. The file `key` signs the sessions.
    ///
    /// A broker that does not answer is not an error: sessions wait for it.
    ///
    /// # Errors
    ///
    /// The key cannot be used, or the broker refuses the user or cannot be used.
    pub fn new(
        options: BrokerOptions,
        labels: BTreeMap<String, String>,
        key: Option<&Path>,
    ) -> Result<Self, FleetError> {
        let key = key.map(RunsKey::read).transpose()?;
        let checked = block_on(async {
            let broker = Broker::connect(&options, "runner").await?;
            prepare_runs(&broker).await
        });
        let is_away = match checked {
            Ok(()) => false,
            Err(FleetError::Unreachable(_)) => true,
            Err(error) => return Err(error),
        };
        Ok(Self { options, labels, key, is_away })
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
            is_over: false,
        };
        let over = OfferDocument { is_over: true, ..document.clone() };
        let [offer, over] =
            [&document, &over].map(|offer| sign(DocumentKind::Offer, offer, self.key.as_ref()));
        let offer = SignedOffer { document, offer, over };
        let notices = Arc::new(Notices { events, sent: Mutex::default() });
        let runtime = runtime().map_err(|error| error.to_string())?;
        let started = (!self.is_away).then(|| runtime.block_on(start(&self.options, &offer)));
        let started = match started.transpose() {
            Ok(started) => started,
            Err(FleetError::Unreachable(why)) => {
                notices.send(waiting(&why));
                None
            }
            Err(error) => return Err(error.to_string()),
        };
        let (handle, (stop, mut stopped)) = (runtime.handle().clone(), oneshot::channel());
        let (connected, broker) = watch::channel(None);
        let options = self.options.clone();
        let key = self.key.clone();
        let thread = thread::Builder::new().name("fleet".to_owned()).spawn(move || {
            runtime.block_on(async {
                let (broker, joins) = match started {
                    Some(started) => started,
                    None => tokio::select! {
                        started = start_later(&options, &offer, &notices) => started,
                        _ = &mut stopped => return,
                    },
                };
                connected.send_replace(Some(broker.clone()));
                let links = Links::default();
                ServedSession { broker, offer, key, notices, links }.serve(joins, stopped).await;
            });
            runtime.shutdown_background();
        });
        let thread = thread.map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok(Arc::new(NatsOffer { broker, runtime: handle, stop: Some(stop), thread: Some(thread) }))
    }

    fn address(&self) -> String {
        self.options.shown()
    }

    fn worker_command(&self) -> String {
        let labels = quoted_labels(&self.labels).into_iter();
        let labels: String = labels.map(|label| format!(" --label {label}")).collect();
        let insecure = if self.options.insecure { " --broker-insecure" } else { "" };
        let key = self.key.as_ref().map(|key| format!(" --broker-key {}", key.public()));
        let key = key.unwrap_or_default();
        format!("runner worker --broker {}{insecure}{key}{labels}", self.options.shown())
    }
}

/// Returns labels as arguments of a command.
fn quoted_labels(labels: &BTreeMap<String, String>) -> Vec<String> {
    labels.iter().map(|(key, value)| quoted(&format!("{key}={value}"))).collect()
}

/// A session that is offered.
struct NatsOffer {
    /// `None` until the session is connected.
    broker: watch::Receiver<Option<Broker>>,
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Offer for NatsOffer {
    fn publish(&self, digest: &Digest, content: File) -> io::Result<()> {
        let mut broker = self.broker.clone();
        let digest = *digest;
        let (done, result) = oneshot::channel();
        self.runtime.spawn(async move {
            let connected = broker.wait_for(Option::is_some).await;
            let Some(broker) = connected.ok().and_then(|broker| broker.clone()) else { return };
            // Without a receiver the session has ended.
            let _ = done.send(broker.put_blob(&digest, content).await);
        });
        result
            .blocking_recv()
            .map_err(|_| io::Error::other("the session has ended"))?
            .map_err(io::Error::other)
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

/// An offer, and its signed forms.
struct SignedOffer {
    document: OfferDocument,
    offer: Vec<u8>,
    /// The offer that ends the session.
    over: Vec<u8>,
}

/// Connects, and offers the session for the first time.
async fn start(
    options: &BrokerOptions,
    offer: &SignedOffer,
) -> Result<(Broker, Subscriber), FleetError> {
    let OfferDocument { run, token, .. } = &offer.document;
    let broker = Broker::connect(options, &format!("runner exec {run}")).await?;
    let joins = broker.client.subscribe(join_subject(token, "*")).await;
    let joins = joins.map_err(|error| broker.failure(&error))?;
    put(&broker, token, &offer.offer).await?;
    Ok((broker, joins))
}

/// Starts once the broker answers.
async fn start_later(
    options: &BrokerOptions,
    offer: &SignedOffer,
    notices: &Notices,
) -> (Broker, Subscriber) {
    loop {
        match start(options, offer).await {
            Ok(started) => return started,
            Err(error) => notices.send(waiting(&error.to_string())),
        }
        sleep(CONNECT_EVERY).await;
    }
}

fn waiting(why: &str) -> String {
    format!("{why}; the run waits for the broker")
}

/// Writes an offer into the bucket of offers.
async fn put(broker: &Broker, token: &str, content: &[u8]) -> Result<(), FleetError> {
    // Opened each time, because a broker without its store has no bucket.
    let put = broker.bucket(OFFERS).await?.put(token, content.to_vec().into()).await;
    put.map_err(|error| broker.failure(&error))?;
    // Workers may not be allowed to create theirs.
    broker.prepare().await
}

/// The open links, by token.
type Links = Arc<Mutex<HashMap<String, Link>>>;

struct Link {
    sender: ChannelSender,
    /// Name of the worker's user of the broker.
    user: String,
    /// Answer to the request to join, for a request that arrives twice.
    answer: Vec<u8>,
}

/// A session, on the thread that serves it.
struct ServedSession {
    broker: Broker,
    offer: SignedOffer,
    key: Option<RunsKey>,
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
        self.report_workers().await;
        let mut wait = RENEW_EVERY;
        loop {
            sleep(wait).await;
            wait = match put(&self.broker, &self.offer.document.token, &self.offer.offer).await {
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

    /// Reports that workers are connected and none of them can join.
    async fn report_workers(&self) {
        let document = &self.offer.document;
        let key = self.key.as_ref().map(RunsKey::public);
        let workers = list(&self.broker).await.unwrap_or_default();
        let met = workers.iter().map(|worker| {
            let accepts =
                key.as_ref().map_or(worker.keys.is_empty(), |key| worker.keys.contains(key));
            [document.selects(&worker.labels), worker.version == document.version, accepts]
                .into_iter()
                .take_while(|is_met| *is_met)
                .count()
        });
        let lacking = match met.max() {
            Some(0) => format!("has the labels {}", quoted_labels(&document.labels).join(" ")),
            Some(1) => format!("has version {}, as the run", document.version),
            Some(2) if key.is_some() => "has the key of the run".to_owned(),
            Some(2) => "accepts unsigned runs; start the run with `--broker-key FILE`".to_owned(),
            _ => return,
        };
        let count = plural(workers.len() as u64, "worker is", "workers are");
        self.notices.send(format!("{count} connected, but none {lacking}"));
    }

    async fn withdraw(&self) -> Result<(), FleetError> {
        let token = &self.offer.document.token;
        put(&self.broker, token, &self.offer.over).await?;
        let deleted = self.broker.bucket(OFFERS).await?.delete(token).await;
        deleted.map_err(|error| self.broker.failure(&error))
    }

    async fn answer(&self, message: Message) {
        // The coordinator may publish where strangers may not, so they must not choose any subject.
        let Some(reply) = message.reply.filter(|reply| reply.starts_with("_INBOX.")) else {
            return;
        };
        let link = link_of(&message.payload);
        let user = user_of(&message.subject);
        // A stranger may have repeated the request with another subject for the answer, and been faster than the worker.
        let repeated = lock(&self.links).get(&link).map(|link| link.answer.clone());
        let answer = match repeated {
            Some(answer) => answer,
            None => {
                // The worker retries a request without an answer. An error would make it decline the run.
                if let Some(limit) = self.limit(user) {
                    return self.notices.send(limit);
                }
                let Some(exchange) = KeyExchange::new() else { return };
                let join = digest(&message.payload);
                let session = self.offer.document.token.clone();
                let mut answer =
                    JoinAnswer { v: VERSION, session, join, key: exchange.public, problem: None };
                let key = self.key.as_ref();
                let accepted = sign(DocumentKind::Answer, &answer, key);
                let opened = async {
                    let join = self.parse(&message.payload)?;
                    let keys = exchange.agree(Role::Coordinator, &join.key, &message.payload);
                    let keys = keys.ok_or("its key is not valid")?;
                    self.open(&link, join, keys, user.to_owned(), accepted.clone()).await
                };
                match opened.await {
                    Ok(()) => accepted,
                    Err(problem) => {
                        answer.problem = Some(problem);
                        sign(DocumentKind::Answer, &answer, key)
                    }
                }
            }
        };
        let _ = self.broker.client.publish(reply, answer.into()).await;
    }

    /// Parses a request to join, and checks it.
    fn parse(&self, content: &[u8]) -> Result<JoinDocument, String> {
        let join = parse(content)?;
        match problem(&join, &self.offer.document.token) {
            None => Ok(join),
            Some(problem) => {
                let worker = shown(worker_of(&join.name));
                self.notices.send(format!("worker {worker} cannot join: {problem}"));
                Err(problem)
            }
        }
    }

    /// Opens the link of a worker.
    async fn open(
        &self,
        link: &str,
        join: JoinDocument,
        keys: (Sealer, Opener),
        user: String,
        answer: Vec<u8>,
    ) -> Result<(), String> {
        let pieces = channel::subscribe(&self.broker, link, Role::Coordinator).await;
        let pieces = pieces.map_err(|error| error.to_string())?;
        let opened = channel::open(&self.broker, link, Role::Coordinator, pieces, keys);
        let (sender, mut received) = opened;
        lock(&self.links).insert(link.to_owned(), Link { sender: sender.clone(), user, answer });
        let open = OpenLink { link: link.to_owned(), links: Arc::clone(&self.links) };
        let mut reader = LinkReader {
            name: join.name.clone(),
            running: Arc::default(),
            notices: Arc::clone(&self.notices),
            requested: HashSet::new(),
            stored: Arc::clone(&self.broker.stored),
        };
        let remote = RemoteWorker { sender: sender.clone(), running: Arc::clone(&reader.running) };
        let kept = sender.clone();
        let (sink, sinks) = mpsc::channel::<EventSink>();
        let thread = thread::Builder::new().name("fleet-link".to_owned()).stack_size(STACK);
        let spawned = thread.spawn(move || {
            // Without a sink the session does not connect this worker.
            if let Ok(sink) = sinks.recv() {
                sink(LinkEvent::Exited(reader.forward(&mut received, &sink)));
            }
            close(&sender);
            // The link is open until its last message is sent.
            while received.blocking_recv().is_some() {}
            drop(open);
        });
        spawned.map_err(|error| format!("the coordinator cannot start a thread: {error}"))?;
        let connect = Box::new(move |events| -> Box<dyn WorkerLink> {
            // The thread of the link waits for this end before it forwards messages.
            let _ = sink.send(events);
            Box::new(remote)
        });
        let JoinDocument { name, slots, memory, is_spare, .. } = join;
        let is_gone = Box::new(move || kept.is_closed());
        let joining = JoiningWorker { name, slots, memory, is_spare, is_gone, connect };
        (self.notices.events)(SourceEvent::Joined(joining));
        Ok(())
    }

    /// Returns the reason why no further process of this user can join. `None` if it can. Closed links of spare processes, which
    /// stay until the next spare process joins, do not count.
    fn limit(&self, user: &str) -> Option<String> {
        let links = lock(&self.links);
        let open: Vec<_> = links.values().filter(|link| !link.sender.is_closed()).collect();
        if open.len() >= MAX_LINKS {
            return Some(format!(
                "the session is full with {MAX_LINKS} worker processes; others wait"
            ));
        }
        (open.iter().filter(|link| link.user == user).count() >= MAX_LINKS_OF_USER).then(|| {
            format!(
                "the broker's user `{}` has {MAX_LINKS_OF_USER} worker processes in the session, and its others wait; to use \
                 more, give workers different users",
                shown(user)
            )
        })
    }
}

/// Returns the user in the subject of a request to join.
fn user_of(subject: &str) -> &str {
    subject.rsplit('.').next().unwrap_or_default()
}

/// Parses a request to join.
fn parse(content: &[u8]) -> Result<JoinDocument, String> {
    let join = (content.len() <= MAX_DOCUMENT).then(|| serde_json::from_slice(content).ok());
    join.flatten()
        .ok_or_else(|| "the request to join has another form; use the same version".into())
}

/// Returns the reason why a worker cannot join.
fn problem(join: &JoinDocument, session: &str) -> Option<String> {
    if join.v != VERSION || join.version != OUR_VERSION {
        let version = shown(&join.version);
        return Some(format!("its version is {version}, and the run's is {OUR_VERSION}"));
    }
    if !is_process_name(&join.name) || join.session != session {
        return Some("its name or its session's is not valid".to_owned());
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
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
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
