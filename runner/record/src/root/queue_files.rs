//! Documents in the folders of the queue, into which other users may write.

use std::{fs::File, io::Read as _};

use serde::{Serialize, de::DeserializeOwned};

use crate::disk::fault::{self, Place};
use crate::disk::owner::{other_user, user};
use crate::{RecordError, disk::beneath::Dir};

/// A larger file is not read.
const MAX_BYTES: u64 = 1 << 20;

pub(super) fn file_name(id: &str) -> String {
    format!("{id}.json")
}

pub(super) fn is_request(name: &str) -> bool {
    name.ends_with(".json") && !name.starts_with('.')
}

/// A document, its open file, and the reason why this user may not use it.
pub(super) type Document<T> = (T, File, Option<String>);

/// Reads a document. `None` if the file is empty.
pub(super) fn read_file<T: DeserializeOwned>(
    dir: &Dir,
    name: &str,
) -> Result<Option<Document<T>>, RecordError> {
    let file = dir.read(name)?;
    let failed = dir.failure("read", name);
    let length = file.metadata().map_err(failed)?.len();
    if length == 0 {
        return Ok(None);
    }
    if length > MAX_BYTES {
        return Err(dir.refuse(name, format!("it is larger than {MAX_BYTES} bytes; remove it")));
    }
    let mut bytes = Vec::new();
    (&file).take(MAX_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    let document = serde_json::from_slice(&bytes)
        .map_err(|error| dir.refuse(name, format!("it is damaged: {error}; remove it")))?;
    let owner = rustix::fs::fstat(&file).map_err(|error| failed(error.into()))?.st_uid;
    let foreign = match owner == rustix::process::geteuid().as_raw() {
        true => other_user(&file, &dir.path().join(name)).map_err(failed)?,
        false => Some(format!("belongs to {}", user(owner))),
    };
    Ok(Some((document, file, foreign)))
}

/// Writes a document so that it survives a loss of power.
pub(super) fn write_file(
    dir: &Dir,
    id: &str,
    document: &impl Serialize,
) -> Result<(), RecordError> {
    let name = file_name(id);
    let failed = dir.failure("write", &name);
    fault::pass(Place::QueueWrite).map_err(failed)?;
    let bytes = serde_json::to_vec_pretty(document).unwrap_or_default();
    dir.prepare(&name, &bytes)?.sync_all().map_err(failed)?;
    dir.replace(&name)?;
    dir.sync()
}

pub(super) fn remove_file(dir: &Dir, id: &str) -> Result<(), RecordError> {
    dir.remove(&file_name(id))?;
    dir.sync()
}
