//! Requests that are sent again: of two with the same key one is carried out.

use miette::miette;

use crate::{
    error::Error,
    record::{KnownRequest, LockedQueue, QueuedRequest, Store},
};

/// What has become of a request with the same key, if there was one.
pub(super) fn known(
    store: &Store,
    queue: &LockedQueue,
    request: &QueuedRequest,
) -> Result<Option<KnownRequest>, Error> {
    let Some(key) = &request.key else {
        return Ok(None);
    };
    match queue.known(store, key).map_err(Error::record)? {
        None => Ok(None),
        Some((known, before)) if before == *key => Ok(Some(known)),
        Some(_) => Err(Error::usage(miette!(
            help = "take another key for each request, and the same where one is sent again",
            "something else was asked for with the key `{}`",
            key.text
        ))),
    }
}
