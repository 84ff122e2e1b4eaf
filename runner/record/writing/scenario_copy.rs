//! The run's own copy of its scenario, and how another one takes its place.
//!
//! The manifest names the copy by its digest. While another scenario is adopted, the one that the manifest names is in the
//! content store as well, from before the copy is replaced until the manifest names the new one: at every moment between
//! it can be found, and whoever claims the run next puts it back.

use std::io;

use jiff::Timestamp;

use crate::{
    model::Digest,
    record::{
        disk::{
            durable,
            layout::{Root, RunDir},
            regular,
        },
        error::RecordError,
        format::manifest::Manifest,
        reading::scenario_text::{self, ScenarioPlace},
        store::content::{Blob, BlobSource, ContentStore},
    },
};

/// Puts the scenario that the manifest names back where somebody else had begun to put another one; says so if it did.
pub(in crate::record) fn restore(
    root: &Root,
    dir: &RunDir,
    manifest: &Manifest,
) -> Result<Option<String>, RecordError> {
    // One that is nowhere is reported by whoever needs it.
    let Ok(ScenarioPlace::Aside(text)) = scenario_text::find(root, dir, manifest) else {
        return Ok(None);
    };
    durable::replace(&dir.scenario(), text.as_bytes(), "repair.scenario")
        .map_err(RecordError::io("put the run's scenario back"))?;
    let told = "its scenario was put back: a process died while it was adopting another one";
    Ok(Some(told.into()))
}

/// Replaces the copy by another text, which the manifest is about to name instead of `old`. Says so if something in the
/// content store was damaged.
pub(in crate::record) fn replace(
    content: &mut ContentStore,
    dir: &RunDir,
    old: Digest,
    text: &str,
    now: Timestamp,
) -> Result<Option<String>, RecordError> {
    let replaced = match regular::read(&dir.scenario()) {
        Ok(bytes) if Digest::of(&bytes) == old => {
            let aside = Blob {
                digest: old,
                source: BlobSource::Bytes(bytes.into()),
            };
            let replaced = content.add(&aside, now.into())?;
            content.sync()?;
            replaced
        }
        // What nobody could use before need not be found again.
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(RecordError::io("read the old scenario")(error)),
    };
    durable::replace(&dir.scenario(), text.as_bytes(), "opening.scenario")
        .map_err(RecordError::io("copy the scenario"))?;
    Ok(replaced)
}
