//! The run's own copy of its scenario, and how another one takes its place.
//!
//! The manifest names the copy by its digest. While another scenario is adopted, the one that the manifest names is in the
//! content store as well, from before the copy is replaced until the manifest names the new one: at every moment between
//! it can be found, and whoever claims the run next puts it back.

use std::{io, path::PathBuf};

use jiff::Timestamp;

use crate::{
    model::Digest,
    record::{
        disk::{
            durable,
            layout::{self, Root, RunDir},
            regular,
        },
        error::RecordError,
        format::manifest::Manifest,
        store::content::{Blob, BlobSource, Content},
    },
};

/// Where a run's scenario is.
#[derive(Debug)]
enum Copy {
    /// In the run's directory.
    Here(String),
    /// In the content store alone: the process that was adopting another one has died.
    Aside(String),
    /// Nowhere; this is what is in its place.
    Altered(Digest),
}

/// Reads the scenario that the manifest names.
pub(in crate::record) fn read(
    root: &Root,
    dir: &RunDir,
    manifest: &Manifest,
) -> Result<String, RecordError> {
    match find(root, dir, manifest)? {
        Copy::Here(text) | Copy::Aside(text) => Ok(text),
        Copy::Altered(found) => Err(RecordError::Changed {
            path: dir.scenario(),
            expected: manifest.scenario.sha256,
            found,
        }),
    }
}

/// Tells whether the scenario that the manifest names is in the content store alone.
pub(in crate::record) fn is_aside(root: &Root, dir: &RunDir, manifest: &Manifest) -> bool {
    matches!(find(root, dir, manifest), Ok(Copy::Aside(_)))
}

/// Puts the scenario that the manifest names back where somebody else had begun to put another one; says so if it did.
pub(in crate::record) fn restore(
    root: &Root,
    dir: &RunDir,
    manifest: &Manifest,
) -> Result<Option<String>, RecordError> {
    // One that is nowhere is reported by whoever needs it.
    let Ok(Copy::Aside(text)) = find(root, dir, manifest) else {
        return Ok(None);
    };
    durable::replace(&dir.scenario(), text.as_bytes(), "repair.scenario")
        .map_err(RecordError::io("put the run's scenario back"))?;
    let told = "its scenario was put back: a process died while it was adopting another one";
    Ok(Some(told.into()))
}

/// Replaces the copy by another text, which the manifest is about to name instead of `old`.
pub(in crate::record) fn replace(
    content: &Content,
    dir: &RunDir,
    old: Digest,
    text: &str,
    now: Timestamp,
) -> Result<(), RecordError> {
    match regular::read(&dir.scenario()) {
        Ok(bytes) if Digest::of(&bytes) == old => {
            let aside = Blob {
                digest: old,
                source: BlobSource::Bytes(bytes.into()),
            };
            content.add(&aside, now.into())?;
        }
        // What nobody could use before need not be found again.
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(RecordError::io("read the old scenario")(error)),
    }
    durable::replace(&dir.scenario(), text.as_bytes(), "opening.scenario")
        .map_err(RecordError::io("copy the scenario"))
}

fn find(root: &Root, dir: &RunDir, manifest: &Manifest) -> Result<Copy, RecordError> {
    let expected = manifest.scenario.sha256;
    let failed = || RecordError::io("read the run's copy of its scenario");
    let here = regular::read(&dir.scenario());
    if let Ok(bytes) = &here
        && Digest::of(bytes) == expected
    {
        return text(bytes).map(Copy::Here).map_err(failed());
    }
    if let Ok(bytes) = regular::read(&aside(root, expected))
        && Digest::of(&bytes) == expected
    {
        return text(&bytes).map(Copy::Aside).map_err(failed());
    }
    let bytes = here.map_err(failed())?;
    Ok(Copy::Altered(Digest::of(&bytes)))
}

fn aside(root: &Root, digest: Digest) -> PathBuf {
    layout::content_entry(&root.content(), digest)
}

fn text(bytes: &[u8]) -> io::Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(io::Error::other)
}
