//! Pins: which runs `prune` leaves alone.

use runner_model::row::Actor;

use crate::{Owned, Pin, RecordError, run::now};

impl Owned {
    /// Lets `prune` leave the run alone, or with `None` delete it again. Returns whether that changed the manifest.
    pub fn pin(&mut self, by: Option<Actor>) -> Result<bool, RecordError> {
        let old = self.manifest.pinned.take();
        let is_changed = match (&old, &by) {
            (Some(old), Some(by)) => old.by != *by,
            (None, None) => false,
            _ => true,
        };
        if !is_changed {
            self.manifest.pinned = old;
            return Ok(false);
        }
        self.log(if by.is_some() {
            "the run is pinned"
        } else {
            "the run is no longer pinned"
        });
        self.manifest.pinned = by.map(|by| Pin { at: now(), by });
        self.lock.release_reserve();
        self.replace_manifest()?;
        self.root.note(&self.manifest);
        Ok(true)
    }
}
