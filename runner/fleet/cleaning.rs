//! [`clean_blobs`]: removes from an engine what no run needs any more.

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use futures::StreamExt as _;
use tokio::time;

use super::{
    BlobCleaning, EngineAddress, FleetError,
    blobs::BlobBucket,
    connection::EngineConnection,
    messages::{OFFERS, Offer, read},
    presence::block_on,
    spread::OFFER,
};
use crate::{model::Digest, run::Bundle};

/// Removes what nobody needs; says how many blobs that are, and how many bytes. What a run that would have workers needs stays.
///
/// # Errors
///
/// Fails if the engine cannot be reached, or does not do it.
pub fn clean_blobs(
    address: &EngineAddress,
    cleaning: BlobCleaning,
) -> Result<(usize, u64), FleetError> {
    block_on(async {
        let engine = EngineConnection::open(address, "runner engine clean").await?;
        let Some(bucket) = BlobBucket::existing(&engine).await else {
            return Ok((0, 0));
        };
        let needed = needed(&engine, &bucket).await?;
        let mut blobs = bucket.list().await?;
        blobs.extend(bucket.list_unnamed(&blobs).await?);
        let (mut count, mut bytes) = (0, 0);
        for blob in blobs {
            let is_needed = (blob.name.as_ref()).is_some_and(|name| needed.contains(name));
            if is_needed || blob.modified >= cleaning.before {
                continue;
            }
            if !cleaning.is_dry {
                bucket.remove(&blob).await?;
            }
            count += 1;
            bytes += blob.bytes;
        }
        Ok((count, bytes))
    })
}

/// The names of what the runs need that would have workers now.
async fn needed(
    engine: &EngineConnection,
    bucket: &BlobBucket,
) -> Result<HashSet<String>, FleetError> {
    let mut heard = engine.hear(OFFERS).await?;
    let mut bundles = BTreeSet::new();
    let end = time::sleep(OFFER * 2 + Duration::from_millis(500));
    tokio::pin!(end);
    loop {
        let message = tokio::select! {
            message = heard.next() => message,
            () = &mut end => break,
        };
        let Some(message) = message else { break };
        let offer = read::<Offer>(&message.payload);
        bundles.extend(offer.and_then(|offer| Digest::parse(&offer.bundle)));
    }
    let mut needed = HashSet::new();
    for bundle in bundles {
        needed.insert(bundle.to_string());
        // Of one that is not there its run puts again what a worker asks for.
        let bundle = bucket.bytes(bundle).await;
        let Some(bundle) = bundle.and_then(|bytes| Bundle::decode(&bytes)) else {
            continue;
        };
        needed.extend(bundle.blobs().iter().map(ToString::to_string));
        let segments = bundle.segments().pieces.iter();
        needed.extend(segments.map(|segment| segment.digest.to_string()));
    }
    Ok(needed)
}
