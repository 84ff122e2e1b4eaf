//! [`workers`] and [`check`]: the workers at a broker, and a check that runs and workers can use it.

use std::collections::BTreeMap;
use std::io::{self, Cursor};
use std::time::{Duration, Instant};

use async_nats::datetime::parse_rfc3339;
use runner_model::digest;
use serde::Deserialize;
use serde_json::json;
use tokio::{task::yield_now, time::timeout};

use crate::address::{ANONYMOUS, BrokerOptions};
use crate::broker::{Broker, block_on, token};
use crate::wire::{
    BLOBS, OFFERS, PresenceDocument, VERSION, WORKERS, down_subject, join_subject, shown,
    up_subject,
};
use crate::{error::FleetError, presence::RENEW_EVERY, streams::BucketEntry};

/// Names of the roles, as in `docs/workers.md`.
const RUNS_ROLE: &str = "runs";
const WORKERS_ROLE: &str = "workers";
/// Time for a command.
const COMMAND_WITHIN: Duration = Duration::from_secs(10);
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
    /// Reasons why these credentials do not allow runs or workers.
    pub problems: Vec<String>,
    /// Subjects on which users of the broker must be allowed to publish, by role: `runs` and `workers`.
    pub permissions: BTreeMap<&'static str, Vec<String>>,
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
}

/// Returns workers that have renewed their entries recently. The entry of a killed worker exists until it expires.
pub(crate) async fn list(broker: &Broker) -> Result<Vec<PresenceDocument>, FleetError> {
    let entries = broker.entries(WORKERS, MAX_WORKERS).await.map_err(|error| match error {
        FleetError::Refused(why) => FleetError::Refused(format!(
            "only credentials of the role `runs` in docs/workers.md allow a list of workers: {why}"
        )),
        error => error,
    })?;
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let info = broker.jetstream.request(format!("STREAM.INFO.KV_{WORKERS}"), &()).await;
    let info: BucketInfo = info.map_err(|error| broker.failure(&error))?;
    let now = parse_rfc3339(&info.ts).map_err(|error| broker.failure(&*error))?;
    let recent = entries.iter().filter(|entry| now - entry.written < 2 * RENEW_EVERY);
    Ok(recent.filter_map(present).collect())
}

/// Returns the worker of an entry, with texts that can be printed.
fn present(entry: &BucketEntry) -> Option<PresenceDocument> {
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

/// Connects to a broker, and checks that runs and workers can use it. Creates its stores.
///
/// # Errors
///
/// The broker cannot be used at all.
pub fn check(options: &BrokerOptions) -> Result<BrokerReport, FleetError> {
    bounded(options, async {
        let broker = Broker::connect(options, "runner broker check").await?;
        let start = Instant::now();
        // `flush` of the client does not wait for the server.
        broker.answer().await?;
        let round_trip = start.elapsed();
        let (mut problems, mut allowed) = (Vec::new(), BTreeMap::new());
        for role in [RUNS_ROLE, WORKERS_ROLE] {
            let missing = missing(&broker, role).await?;
            allowed.insert(role, missing.is_empty());
            let missing = missing.iter();
            problems.extend(
                missing.map(|subject| format!("{role}: no permission to publish on `{subject}`")),
            );
        }
        if allowed[RUNS_ROLE]
            && let Err(error) = test_stores(&broker).await
        {
            allowed.insert(RUNS_ROLE, false);
            problems.push(error.to_string());
        }
        // The credentials are not those of a worker, or the broker has no users yet.
        let is_other = allowed[RUNS_ROLE] && !allowed[WORKERS_ROLE] || broker.user == ANONYMOUS;
        let permissions = permissions(if is_other { WORKERS_ROLE } else { &broker.user });
        let info = broker.client.server_info();
        // A server without a name sends its id as the name.
        let name = Some(&info.server_name).filter(|name| **name != info.server_id);
        Ok(BrokerReport {
            server: shown(name.map_or("", |name| name)),
            version: shown(&info.version),
            round_trip,
            allows_runs: allowed[RUNS_ROLE],
            allows_workers: allowed[WORKERS_ROLE],
            problems,
            permissions,
        })
    })
}

/// Returns the subjects on which users of each role publish. `user` is the name of the workers' user.
///
/// Workers must not read the bucket of workers, because the reader chooses the subject of the response, see `presence`.
fn permissions(user: &str) -> BTreeMap<&'static str, Vec<String>> {
    let runs = vec![
        down_subject("*"),
        "_INBOX.>".to_owned(),
        format!("$KV.{OFFERS}.>"),
        format!("$O.{BLOBS}.>"),
        "$JS.API.STREAM.CREATE.*".to_owned(),
        "$JS.API.STREAM.INFO.*".to_owned(),
        format!("$JS.API.STREAM.PURGE.OBJ_{BLOBS}"),
        "$JS.API.DIRECT.GET.>".to_owned(),
    ];
    let workers = vec![
        join_subject("*", user),
        up_subject("*"),
        format!("$KV.{WORKERS}.>"),
        "$JS.API.STREAM.INFO.*".to_owned(),
        format!("$JS.API.DIRECT.GET.KV_{OFFERS}"),
        format!("$JS.API.DIRECT.GET.OBJ_{BLOBS}"),
        format!("$JS.API.DIRECT.GET.OBJ_{BLOBS}.>"),
    ];
    BTreeMap::from([(RUNS_ROLE, runs), (WORKERS_ROLE, workers)])
}

/// Returns the subjects of a role on which this user may not publish.
async fn missing(broker: &Broker, role: &str) -> Result<Vec<String>, FleetError> {
    let token = token();
    let subject = |pattern: &String| pattern.replace(['*', '>'], &token);
    let purge = json!({"filter": format!("$O.{BLOBS}.C.{token}")}).to_string();
    let mut patterns = permissions(&broker.user).remove(role).unwrap_or_default();
    for pattern in &patterns {
        // No offer and no worker has these forms. As requests, they create and purge nothing.
        let content = if pattern.contains("PURGE") { &purge } else { "{}" };
        let sent = broker.client.publish(subject(pattern), content.to_owned().into()).await;
        sent.map_err(|error| broker.failure(&error))?;
    }
    // The server has reported all violations when it answers a later request.
    broker.answer().await?;
    yield_now().await;
    patterns.retain(|pattern| broker.has_complaint(&subject(pattern)));
    Ok(patterns)
}

/// Checks that the user may offer runs, and creates the stores.
pub(crate) async fn prepare_runs(broker: &Broker) -> Result<(), FleetError> {
    let missing = missing(broker, RUNS_ROLE).await?;
    if missing.is_empty() {
        return broker.prepare().await;
    }
    let missing = missing.join("`, `");
    Err(FleetError::Refused(format!(
        "these credentials do not allow runs: the broker does not allow the user to publish on `{missing}`; allow that there, \
         or use credentials of the role `runs` in docs/workers.md\n\
         to list all missing permissions: runner broker check"
    )))
}

/// Creates the stores, and tests the one for blobs.
async fn test_stores(broker: &Broker) -> Result<(), FleetError> {
    broker.prepare().await?;
    let content = token();
    let digest = digest(content.as_bytes());
    broker.put_blob(&digest, Cursor::new(&content)).await?;
    broker.read(&digest, &mut io::sink(), content.len() as u64).await?;
    broker.blobs().await?.delete(digest.to_string()).await.map_err(|error| broker.failure(&error))
}

/// Runs a command for at most [`COMMAND_WITHIN`].
fn bounded<T>(
    options: &BrokerOptions,
    command: impl Future<Output = Result<T, FleetError>>,
) -> Result<T, FleetError> {
    block_on(async {
        timeout(COMMAND_WITHIN, command).await.unwrap_or_else(|_| {
            let address = options.shown();
            let wait = COMMAND_WITHIN.as_secs();
            Err(FleetError::Unreachable(format!(
                "the broker at {address} does not answer within {wait} s; try again"
            )))
        })
    })
}
