//! What the workers of an engine say of themselves, for whoever asks.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::StreamExt as _;
use tokio::{runtime, time};

use super::{
    EngineAddress, EngineState, FleetError, PresentWorker,
    blobs::BlobBucket,
    connection::EngineConnection,
    messages::{OFFERS, Offer, PRESENCE, WorkerPresence, read},
};

/// How often a worker says that it is there, and a run that it would have workers.
pub(super) const EVERY: Duration = Duration::from_secs(2);

/// Hears the workers of an engine until each that is there has said so, and the runs that would have some.
///
/// # Errors
///
/// Fails if the engine cannot be reached.
pub fn present_workers(
    address: &EngineAddress,
) -> Result<(Vec<PresentWorker>, Vec<String>), FleetError> {
    block_on(async {
        let engine = EngineConnection::open(address, "runner worker list").await?;
        let mut heard = engine.hear(PRESENCE).await?;
        let mut offers = engine.hear(OFFERS).await?;
        let (mut workers, mut runs) = (BTreeMap::new(), BTreeSet::new());
        let end = time::sleep(EVERY + Duration::from_millis(500));
        tokio::pin!(end);
        loop {
            let message = tokio::select! {
                message = heard.next() => message,
                Some(message) = offers.next() => {
                    runs.extend(read::<Offer>(&message.payload).map(|offer| offer.run));
                    continue;
                }
                () = &mut end => break,
            };
            let Some(message) = message else { break };
            let Some(presence) = read::<WorkerPresence>(&message.payload) else {
                continue;
            };
            let worker = PresentWorker {
                name: presence.worker,
                host: presence.host,
                version: presence.version,
                cores: presence.cores,
                labels: presence.labels,
                run: presence.run,
                is_leaving: presence.is_leaving,
            };
            workers.insert(worker.name.clone(), worker);
        }
        Ok((workers.into_values().collect(), runs.into_iter().collect()))
    })
}

/// Asks an engine what it is and can do.
///
/// # Errors
///
/// Fails if it cannot be reached.
pub fn engine_state(address: &EngineAddress) -> Result<EngineState, FleetError> {
    block_on(async {
        let engine = EngineConnection::open(address, "runner engine check").await?;
        let began = time::Instant::now();
        let flushed = engine.client.flush().await;
        flushed.map_err(FleetError::engine("answer"))?;
        let round_trip = began.elapsed();
        let info = engine.client.server_info();
        let (blobs, keeps_nothing) = match BlobBucket::open(&engine).await {
            Ok(bucket) => {
                let blobs = bucket.list().await?;
                let bytes = blobs.iter().map(|blob| blob.bytes).sum();
                ((blobs.len(), bytes), None)
            }
            Err(error) => ((0, 0), Some(error.to_string())),
        };
        Ok(EngineState {
            at: engine.at.clone(),
            version: info.version,
            most_bytes: info.max_payload,
            round_trip,
            blobs,
            keeps_nothing,
        })
    })
}

pub(super) fn block_on<T>(
    asked: impl std::future::Future<Output = Result<T, FleetError>>,
) -> Result<T, FleetError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .map_err(FleetError::io("start threads"))?
        .block_on(asked)
}
