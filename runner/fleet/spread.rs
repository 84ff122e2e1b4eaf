//! [`FleetConnection`]: the side of the run: it says that it would have workers, and lets those in that come.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ops::Range,
    os::unix::{fs::FileExt as _, net::UnixStream},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt as _;
use tokio::{
    runtime::{self, Runtime},
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time,
};
use uuid::Uuid;

use super::{
    EngineAddress, FleetError, SpreadRun,
    blobs::BlobBucket,
    bridge::{Bridge, Patience, carry},
    connection::EngineConnection,
    holding::{EngineName, HeldName},
    is_seat_name, is_worker_name,
    messages::{
        JoinReply, JoinRequest, LANGUAGE, OFFERS, Offer, PRESENCE, WorkerPresence, link_subjects,
        read, write,
    },
};
use crate::{
    model::{Digest, visible},
    record::ContentPaths,
    run::{Bundle, ENGINE, RemoteNews, RemoteWorker, seam::Capacity},
};

/// How often it is said that a run would have workers.
pub(super) const OFFER: Duration = Duration::from_secs(1);
/// Within which a blob that was put there again is not put there once more, unless it is gone.
const AGAIN: Duration = Duration::from_secs(1);
/// For how long there may be no worker until it is said.
const ALONE: Duration = Duration::from_secs(3);
/// How long the end of a run waits for workers to hear of it.
const FAREWELL: Duration = Duration::from_secs(3);
/// A worker that has said nothing for so long is gone: it beats every second.
const PATIENCE: Patience = Patience {
    silence: Duration::from_secs(6),
    outage: Duration::from_secs(60),
};
/// The most processes of workers that one run has.
const MOST_SEATS: usize = 4096;
/// The most attempts that one of them may say that it makes at once, and the most memory in bytes.
const MOST_CAPACITY: Capacity = Capacity {
    slots: 1 << 16,
    memory: 1 << 50,
};

/// A connection to an engine over which a run is to be spread.
pub struct FleetConnection {
    runtime: Runtime,
    engine: EngineConnection,
    bucket: BlobBucket,
    /// The run that is gone on with over it.
    held: Option<HeldName>,
}

/// A run that workers come to, until this value is dropped.
pub struct SpreadGuard {
    runtime: Option<Runtime>,
    end: Option<oneshot::Sender<()>>,
    offering: Option<tokio::task::JoinHandle<()>>,
    _held: HeldName,
}

impl FleetConnection {
    /// Connects.
    ///
    /// # Errors
    ///
    /// Fails if the engine cannot be reached, or cannot do what is needed.
    pub fn connect(address: &EngineAddress) -> Result<Self, FleetError> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("fleet")
            .enable_all()
            .build()
            .map_err(FleetError::io("start threads"))?;
        let (engine, bucket) = runtime.block_on(async {
            let engine = EngineConnection::open(address, "runner exec").await?;
            let bucket = BlobBucket::open(&engine).await?;
            Ok::<_, FleetError>((engine, bucket))
        })?;
        Ok(Self {
            runtime,
            engine,
            bucket,
            held: None,
        })
    }

    /// Where the engine is.
    pub fn place(&self) -> &str {
        &self.engine.at
    }

    /// Makes sure that no other process makes this run over the same engine, in a copy of its directory, from now on.
    ///
    /// # Errors
    ///
    /// Fails if one says that it does, or claims it in the same moment and comes first.
    pub fn claim(&mut self, run: &str, holder: &str) -> Result<(), FleetError> {
        let claimed = HeldName::claim(&self.engine, EngineName::Run(run), holder);
        self.held = Some(self.runtime.block_on(claimed)?);
        Ok(())
    }

    /// Puts what workers need where they find it, and lets them in as they come.
    ///
    /// # Errors
    ///
    /// Fails if something cannot be put there.
    pub fn open(
        self,
        about: SpreadRun,
        bundle: Bundle,
        content: ContentPaths,
    ) -> Result<(SpreadGuard, mpsc::UnboundedReceiver<RemoteWorker>), FleetError> {
        let held = match self.held {
            Some(held) => held,
            None => {
                let run = EngineName::Run(&about.run);
                let of_new = HeldName::of_new(&self.engine, run, &about.holder);
                self.runtime.block_on(of_new)?
            }
        };
        let bytes = bundle.encode();
        let digest = Digest::of(&bytes);
        let offered = Offered {
            engine: self.engine,
            bucket: self.bucket,
            offer: Offer {
                v: LANGUAGE,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                engine: ENGINE.to_owned(),
                run: about.run,
                scenario: about.scenario,
                session: Uuid::new_v4().simple().to_string(),
                bundle: digest.to_string(),
                labels: about.labels,
            },
            bundle,
            encoded: (digest, bytes),
            content,
        };
        let (sender, workers) = mpsc::unbounded_channel();
        let (end, ended) = oneshot::channel();
        self.runtime.block_on(offered.put_all())?;
        let offering = self.runtime.spawn(offered.go_on(sender, ended));
        let open = SpreadGuard {
            runtime: Some(self.runtime),
            end: Some(end),
            offering: Some(offering),
            _held: held,
        };
        Ok((open, workers))
    }
}

impl Drop for SpreadGuard {
    /// Lets workers know that the run needs them no more.
    fn drop(&mut self) {
        drop(self.end.take());
        if let (Some(runtime), Some(offering)) = (self.runtime.take(), self.offering.take()) {
            // Where they do not hear it, they will miss the run's beats.
            drop(runtime.block_on(async { time::timeout(FAREWELL, offering).await }));
            runtime.shutdown_background();
        }
    }
}

/// A run that is offered to workers.
struct Offered {
    engine: EngineConnection,
    bucket: BlobBucket,
    offer: Offer,
    /// What workers need. The pieces of the list of tests are put there once a worker asks for them.
    bundle: Bundle,
    /// Its digest, and itself as it travels.
    encoded: (Digest, Vec<u8>),
    content: ContentPaths,
}

impl Offered {
    async fn put_all(&self) -> Result<(), FleetError> {
        (self.bucket.put_bytes(self.encoded.0, &self.encoded.1)).await?;
        for blob in self.bundle.blobs() {
            self.put(*blob).await?;
        }
        Ok(())
    }

    async fn put(&self, blob: Digest) -> Result<(), FleetError> {
        let path = self.content.path(blob);
        self.bucket.put_file(blob, &path).await
    }

    async fn go_on(
        self,
        workers: mpsc::UnboundedSender<RemoteWorker>,
        mut ended: oneshot::Receiver<()>,
    ) {
        let client = &self.engine.client;
        let (asked, present) = (
            self.engine.hear(self.offer.replies()).await,
            self.engine.hear(PRESENCE).await,
        );
        let (Ok(mut asked), Ok(mut present)) = (asked, present) else {
            tracing::error!("the engine lets nobody hear: no worker can come");
            return;
        };
        let mut seats = Seats::default();
        let mut offers = time::interval(OFFER);
        let mut alone_since = time::Instant::now();
        let mut has_told = false;
        loop {
            tokio::select! {
                _ = &mut ended => break,
                _ = offers.tick() => {
                    self.say().await;
                    if !seats.links.is_empty() {
                        alone_since = time::Instant::now();
                        has_told = false;
                    } else if alone_since.elapsed() > ALONE && !has_told {
                        has_told = true;
                        tracing::warn!(
                            "no worker makes attempts: start one with `runner worker --engine {}`",
                            self.engine.at
                        );
                    }
                }
                Some(message) = present.next() => {
                    let presence = read::<WorkerPresence>(&message.payload);
                    if presence.is_some_and(|presence| presence.run.is_none() && !presence.is_leaving) {
                        self.say().await;
                    }
                }
                Some(message) = asked.next() => {
                    let Some(request) = read::<JoinRequest>(&message.payload) else {
                        continue;
                    };
                    let reply = self.answer(request, &mut seats, &workers).await;
                    if let Some(to) = message.reply {
                        drop(client.publish(to, write(&reply)).await);
                    }
                }
                Some(_) = seats.links.join_next() => {}
            }
        }
        // Their sockets are closed by now, which is the end of their links.
        while seats.links.join_next().await.is_some() {}
    }

    /// Says that the run would have workers.
    async fn say(&self) {
        let said = self.engine.client.publish(OFFERS, write(&self.offer));
        // It is said again.
        drop(said.await);
    }

    async fn answer(
        &self,
        request: JoinRequest,
        seats: &mut Seats,
        workers: &mpsc::UnboundedSender<RemoteWorker>,
    ) -> JoinReply {
        let done = match request {
            JoinRequest::Seat {
                name,
                link,
                slots,
                memory,
            } => {
                let capacity = Capacity { slots, memory };
                self.let_in(name, &link, capacity, seats, workers).await
            }
            JoinRequest::Declined { worker, reason } => {
                if is_worker_name(&worker) && seats.declined.insert(worker.clone()) {
                    let reason: String = reason.chars().take(2_000).collect();
                    tracing::warn!("worker {worker} cannot make attempts: {}", visible(&reason));
                }
                Ok(())
            }
            JoinRequest::Missing { blobs } => self.put_again(&blobs, &mut seats.put).await,
        };
        JoinReply {
            ok: done.is_ok(),
            reason: done.err().unwrap_or_default(),
        }
    }

    /// Puts there what a worker did not find, or found to be something else.
    async fn put_again(
        &self,
        missing: &[String],
        put: &mut HashMap<Digest, time::Instant>,
    ) -> Result<(), String> {
        let own: BTreeSet<_> = self.bundle.blobs().iter().copied().collect();
        let missing = missing.iter().filter_map(|blob| Digest::parse(blob));
        let all = async {
            // The bucket itself may be gone.
            let bucket = BlobBucket::open(&self.engine).await?;
            for blob in missing {
                // Several ask at once for what one of them has been given.
                let is_there = put.get(&blob).is_some_and(|at| at.elapsed() < AGAIN);
                if is_there && bucket.has(blob).await {
                    continue;
                }
                if blob == self.encoded.0 {
                    bucket.replace_bytes(blob, &self.encoded.1).await?;
                } else if let Some(range) = self.bundle.segments().find(blob) {
                    bucket.replace_bytes(blob, &self.read_suite(range)?).await?;
                } else if own.contains(&blob) {
                    (bucket.replace_file(blob, &self.content.path(blob))).await?;
                } else {
                    continue;
                }
                put.insert(blob, time::Instant::now());
            }
            Ok::<_, FleetError>(())
        };
        all.await.map_err(|error| error.to_string())
    }

    /// Reads a piece of the list of tests.
    fn read_suite(&self, range: Range<u64>) -> Result<Vec<u8>, FleetError> {
        let read = || {
            let file = fs_err::File::open(self.content.path(self.bundle.suite()))?;
            let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
            file.file().read_exact_at(&mut bytes, range.start)?;
            Ok(bytes)
        };
        read().map_err(FleetError::io("read the list of tests"))
    }

    async fn let_in(
        &self,
        name: String,
        link: &str,
        capacity: Capacity,
        seats: &mut Seats,
        workers: &mpsc::UnboundedSender<RemoteWorker>,
    ) -> Result<(), String> {
        if !is_seat_name(&name) || Uuid::try_parse(link).is_err() || capacity.slots == 0 {
            return Err("it makes no sense".to_owned());
        }
        let capacity = Capacity {
            slots: capacity.slots.min(MOST_CAPACITY.slots),
            memory: capacity.memory.min(MOST_CAPACITY.memory),
        };
        // It has asked before, and the answer was lost.
        if seats.known.contains(link) {
            return Ok(());
        }
        if seats.links.len() >= MOST_SEATS {
            return Err(format!(
                "the run has {MOST_SEATS} workers, which are all that it can have"
            ));
        }
        let [down, up] = link_subjects(link);
        // Before it is answered: it may speak as soon as it has the answer.
        let heard = self.engine.hear(up).await;
        let heard = heard.map_err(|error| error.to_string())?;
        let (ours, theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
        let (news, told) = mpsc::unbounded_channel();
        let (noting, notes) = mpsc::unbounded_channel();
        let worker = RemoteWorker {
            name: name.into(),
            capacity,
            socket: theirs,
            news: told,
            notes: noting,
            segments: Arc::clone(self.bundle.segments()),
        };
        workers
            .send(worker)
            .map_err(|_| "the run is over".to_owned())?;
        seats.known.insert(link.to_owned());
        let engine = self.engine.clone();
        seats.links.spawn(async move {
            let mut noted = |note: &[u8]| {
                if let Some(told) = RemoteNews::decode(note) {
                    // Whoever hears it may be gone before it.
                    drop(news.send(told));
                }
            };
            let bridge = Bridge {
                engine,
                speaks: down,
                heard,
                patience: PATIENCE,
                noted: &mut noted,
                notes,
                // What a worker notes is told, and nothing is to be done for it.
                undone: watch::channel(0).1,
            };
            if let Err(error) = carry(bridge, ours, || None).await {
                tracing::warn!("a worker cannot be spoken with: {error}");
            }
        });
        Ok(())
    }
}

/// Who has come.
#[derive(Default)]
struct Seats {
    links: JoinSet<()>,
    known: HashSet<String>,
    declined: HashSet<String>,
    /// What was put on the engine again for one of them, and when.
    put: HashMap<Digest, time::Instant>,
}
