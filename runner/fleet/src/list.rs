//! [`workers`] and [`check`]: the workers at a broker, and a check that runs and workers can use it.

use std::io::{self, Cursor};
use std::time::{Duration, Instant};

use async_nats::datetime::parse_rfc3339;
use async_nats::jetstream::kv::{Entry, Operation};
use futures_util::StreamExt as _;
use runner_model::digest;
use serde::Deserialize;
use tokio::time::timeout;

use crate::address::BrokerOptions;
use crate::broker::{Broker, block_on, token};
use crate::error::FleetError;
use crate::presence::RENEW_EVERY;
use crate::wire::{
    MAX_DOCUMENT, OFFERS, PresenceDocument, VERSION, WORKERS, down_subject, join_subject, shown,
    up_subject,
};

/// Time for the next entry of the list. Entries that expire meanwhile do not arrive.
const ENTRY_WITHIN: Duration = Duration::from_secs(1);
/// Time for a command.
const COMMAND_WITHIN: Duration = Duration::from_secs(10);
/// Time for one test of the broker.
const TEST_WITHIN: Duration = Duration::from_millis(1_200);
/// Maximum number of listed workers.
const MAX_WORKERS: usize = 10_000;

/// Labels and runs of a worker in the list.
const MAX_SHOWN: usize = 64;

/// The state of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerReport {
    /// Name of the server. Empty if it has none.
    pub server: String,
    /// Version of the server.
    pub version: String,
    /// Time of a message to the server and back.
    pub round_trip: Duration,
    /// Whether these credentials allow to run a scenario with workers.
    pub allows_runs: bool,
    /// Whether these credentials allow to be a worker.
    pub allows_workers: bool,
    /// Operations that these credentials do not allow, with the reasons.
    pub problems: Vec<String>,
}

/// Returns the workers at a broker, by name.
///
/// # Errors
///
/// The broker cannot be used.
pub fn workers(options: &BrokerOptions) -> Result<Vec<PresenceDocument>, FleetError> {
    let mut workers = bounded(options, async {
        let broker = Broker::connect(options, "runner worker list").await?;
        list(&broker).await
    })?;
    workers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(workers)
}

/// JetStream's response to a request for a bucket's state.
#[derive(Deserialize)]
struct BucketInfo {
    /// The broker's time, in RFC 3339.
    ts: String,
    state: BucketState,
}

#[derive(Deserialize)]
struct BucketState {
    messages: u64,
}

/// Returns workers that have renewed their entries recently. The entry of a killed worker exists until it expires.
pub(crate) async fn list(broker: &Broker) -> Result<Vec<PresenceDocument>, FleetError> {
    let bucket = broker.bucket(WORKERS).await?;
    let subject = format!("STREAM.INFO.KV_{WORKERS}");
    let info = broker.jetstream().request(subject, &()).await;
    let info: BucketInfo = info.map_err(|error| broker.failure(&error))?;
    let now = parse_rfc3339(&info.ts).map_err(|error| broker.failure(&*error))?;
    let mut workers = Vec::new();
    if info.state.messages == 0 {
        return Ok(workers);
    }
    let watch = bucket.watch_with_history(">").await;
    let mut watch = watch.map_err(|error| broker.failure(&error))?;
    while let Ok(Some(Ok(entry))) = timeout(ENTRY_WITHIN, watch.next()).await {
        if now - entry.created < 2 * RENEW_EVERY {
            workers.extend(present(&entry));
        }
        if entry.delta == 0 || workers.len() == MAX_WORKERS {
            break;
        }
    }
    Ok(workers)
}

/// Returns the worker of an entry, with texts that can be printed.
fn present(entry: &Entry) -> Option<PresenceDocument> {
    if entry.operation != Operation::Put || entry.value.len() > MAX_DOCUMENT {
        return None;
    }
    let worker: PresenceDocument = serde_json::from_slice(&entry.value).ok()?;
    (worker.v == VERSION).then(|| PresenceDocument {
        version: shown(&worker.version),
        name: shown(&worker.name),
        host: shown(&worker.host),
        since: shown(&worker.since),
        labels: (worker.labels.iter().take(MAX_SHOWN))
            .map(|(key, value)| (shown(key), shown(value)))
            .collect(),
        runs: worker.runs.iter().take(MAX_SHOWN).map(|run| shown(run)).collect(),
        ..worker
    })
}

/// Connects to a broker, and tries each operation of runs and workers.
///
/// # Errors
///
/// The broker cannot be used at all.
pub fn check(options: &BrokerOptions) -> Result<BrokerReport, FleetError> {
    bounded(options, async {
        let broker = Broker::connect(options, "runner broker check").await?;
        let start = Instant::now();
        // `flush` of the client does not wait for the server.
        broker.bucket(OFFERS).await?;
        let round_trip = start.elapsed();
        let (mut problems, mut failed) = (Vec::new(), Vec::new());
        for name in ["messages", "offers", "workers", "blobs"] {
            let tried = timeout(TEST_WITHIN, test(&broker, name)).await;
            // The server reports a lack of permission as an event. The request itself gets no answer.
            let tried = tried
                .unwrap_or_else(|_| Err(broker.failure(&io::Error::from(io::ErrorKind::TimedOut))));
            if let Err(error) = tried {
                failed.push(name);
                problems.push(format!("{name}: {error}"));
            }
        }
        let allows = |needed: &[&str]| failed.iter().all(|name| !needed.contains(name));
        let allows_runs = allows(&["messages", "offers", "blobs"]);
        let allows_workers = allows(&["messages", "workers"]);
        let info = broker.client().server_info();
        // A server without a name sends its id as the name.
        let name = Some(&info.server_name).filter(|name| **name != info.server_id);
        let (server, version) = (shown(name.map_or("", |name| name)), shown(&info.version));
        Ok(BrokerReport { server, version, round_trip, allows_runs, allows_workers, problems })
    })
}

/// Runs a command for at most [`COMMAND_WITHIN`].
fn bounded<T>(
    options: &BrokerOptions,
    command: impl Future<Output = Result<T, FleetError>>,
) -> Result<T, FleetError> {
    let late = || {
        let address = options.shown();
        let wait = COMMAND_WITHIN.as_secs();
        FleetError::Unreachable(format!(
            "the broker at {address} does not answer within {wait} s; try again"
        ))
    };
    block_on(async { timeout(COMMAND_WITHIN, command).await.unwrap_or_else(|_| Err(late())) })
}

/// Tests whether the credentials allow the operation `name` of runs or workers.
pub(crate) async fn test(broker: &Broker, name: &str) -> Result<(), FleetError> {
    let token = token();
    match name {
        "messages" => {
            for subject in
                [join_subject(&token, broker.user()), up_subject(&token), down_subject(&token)]
            {
                let received = broker.client().subscribe(subject.clone()).await;
                let mut received = received.map_err(|error| broker.failure(&error))?;
                let sent = broker.client().publish(subject, "".into()).await;
                sent.map_err(|error| broker.failure(&error))?;
                received.next().await;
            }
        }
        "blobs" => {
            let (digest, content) = (digest(token.as_bytes()), Cursor::new(&token));
            broker.put_blob(&digest, content).await?;
            broker.read(&digest, &mut io::sink(), token.len() as u64).await?;
            // Otherwise it expires.
            let _ = broker.blobs().await?.delete(digest.to_string()).await;
        }
        bucket => {
            let bucket = broker.bucket(if bucket == "offers" { OFFERS } else { WORKERS }).await?;
            // No offer and no worker has this form.
            let put = bucket.put(&token, "".into()).await;
            put.map_err(|error| broker.failure(&error))?;
            let deleted = bucket.delete(&token).await;
            deleted.map_err(|error| broker.failure(&error))?;
        }
    }
    Ok(())
}
