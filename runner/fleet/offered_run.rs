//! [`OfferedRun`]: a run, as a worker speaks with it that has heard of it.

use std::{path::Path, time::Duration};

use tokio::{sync::Mutex, time};

use super::{
    blobs::BlobBucket,
    connection::EngineConnection,
    messages::{JoinReply, JoinRequest, Offer, read, write},
};
use crate::{
    model::Digest,
    run::{Bundle, SuiteCopy},
};

/// How often a blob that is missing is asked for again.
const MOST_TRIES: u32 = 5;
/// How long it takes until it is asked again for a segment that was not to be had.
const PAUSE: Duration = Duration::from_millis(500);
/// How long an answer of a run is waited for.
const ANSWER: Duration = Duration::from_secs(5);

/// How a worker is done with what it asked of a run, or with the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    /// As it was to be.
    Over,
    /// The run is not heard any more.
    Gone,
}

/// A run that would have workers, and the worker's store.
#[derive(Clone, Copy)]
pub(super) struct OfferedRun<'a> {
    pub(super) engine: &'a EngineConnection,
    pub(super) offer: &'a Offer,
    /// Where what it needs is kept.
    pub(super) root: &'a Path,
}

impl OfferedRun<'_> {
    /// Asks a run for something; it is gone if it does not answer.
    pub(super) async fn ask(&self, request: &JoinRequest) -> Result<Served, String> {
        let asked = self
            .engine
            .client
            .request(self.offer.replies(), write(request));
        let answer = match time::timeout(ANSWER, asked).await {
            Ok(Ok(answer)) => read::<JoinReply>(&answer.payload),
            Ok(Err(_)) | Err(_) => None,
        };
        match answer {
            Some(JoinReply { ok: true, .. }) => Ok(Served::Over),
            Some(JoinReply { reason, .. }) => Err(reason),
            None => Ok(Served::Gone),
        }
    }

    /// Brings segments of the list of tests to where the processes read them; the error says why that is impossible. While
    /// the run does not answer it waits: whether that is gone is seen by its link.
    pub(super) async fn bring(
        &self,
        tests: &Mutex<SuiteCopy>,
        places: Vec<usize>,
    ) -> Result<(), String> {
        let content = Bundle::content(self.root);
        for place in places {
            // The other processes need mostly the same ones.
            let mut tests = tests.lock().await;
            let mut tries = 0..MOST_TRIES;
            while let Some(digest) = tests.lacks(place).map_err(|error| error.to_string())? {
                let problem = match self.fetch(&[digest]).await {
                    Ok(Served::Over) => {
                        let taken = tests.take(place, &content);
                        if taken.map_err(|error| format!("cannot keep its tests: {error}"))? {
                            continue;
                        }
                        "its tests are altered in the worker's store".to_owned()
                    }
                    Ok(Served::Gone) => {
                        time::sleep(PAUSE).await;
                        continue;
                    }
                    Err(reason) => reason,
                };
                if tries.next().is_none() {
                    return Err(problem);
                }
                time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// Fetches blobs into the worker's store, unless they are there; tells whether the run is.
    pub(super) async fn fetch(&self, blobs: &[Digest]) -> Result<Served, String> {
        let content = Bundle::content(self.root);
        for _ in 0..MOST_TRIES {
            let mut missing = Vec::new();
            // The bucket may have been removed and made again.
            let bucket = BlobBucket::open(self.engine).await;
            for blob in blobs {
                let has = match &bucket {
                    Ok(bucket) => bucket.fetch(*blob, &content.path(*blob)).await,
                    Err(_) => Ok(false),
                };
                if !has.map_err(|error| error.to_string())? {
                    missing.push(blob.to_string());
                }
            }
            if missing.is_empty() {
                return Ok(Served::Over);
            }
            match self.ask(&JoinRequest::Missing { blobs: missing }).await {
                Ok(Served::Over) => {}
                Ok(Served::Gone) => return Ok(Served::Gone),
                Err(reason) => {
                    return Err(format!("the run cannot give what is missing: {reason}"));
                }
            }
        }
        Err("what it needs is not on the engine".to_owned())
    }
}
