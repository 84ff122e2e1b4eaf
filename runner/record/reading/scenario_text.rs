//! Where the text of a run's scenario is: in the run's own copy, or aside in the content store.

use std::{io, path::PathBuf};

use crate::{
    model::Digest,
    record::{
        disk::{
            layout::{self, Root, RunDir},
            regular,
        },
        error::RecordError,
        format::manifest::Manifest,
    },
};

/// Where a run's scenario is.
#[derive(Debug)]
pub(in crate::record) enum ScenarioPlace {
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
        ScenarioPlace::Here(text) | ScenarioPlace::Aside(text) => Ok(text),
        ScenarioPlace::Altered(found) => Err(RecordError::Changed {
            path: dir.scenario(),
            expected: manifest.scenario.sha256,
            found,
        }),
    }
}

/// Tells whether the scenario that the manifest names is in the content store alone.
pub(in crate::record) fn is_aside(root: &Root, dir: &RunDir, manifest: &Manifest) -> bool {
    matches!(find(root, dir, manifest), Ok(ScenarioPlace::Aside(_)))
}

pub(in crate::record) fn find(
    root: &Root,
    dir: &RunDir,
    manifest: &Manifest,
) -> Result<ScenarioPlace, RecordError> {
    let expected = manifest.scenario.sha256;
    let failed = || RecordError::io("read the run's copy of its scenario");
    let here = regular::read(&dir.scenario());
    if let Ok(bytes) = &here
        && Digest::of(bytes) == expected
    {
        return text(bytes).map(ScenarioPlace::Here).map_err(failed());
    }
    if let Ok(bytes) = regular::read(&aside(root, expected))
        && Digest::of(&bytes) == expected
    {
        return text(&bytes).map(ScenarioPlace::Aside).map_err(failed());
    }
    let bytes = here.map_err(failed())?;
    Ok(ScenarioPlace::Altered(Digest::of(&bytes)))
}

fn aside(root: &Root, digest: Digest) -> PathBuf {
    layout::content_entry(&root.content(), digest)
}

fn text(bytes: &[u8]) -> io::Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(io::Error::other)
}
