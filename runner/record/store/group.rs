//! The process that lets the runs of a group follow each other, as others find it in the moment between two of them.
//!
//! It holds a lock for as long as the group lasts, and a request to end the group names that holding: nobody obeys one that
//! was left for somebody else, and what a process leaves that was killed is a lock that nobody holds.

use jiff::Timestamp;

use super::root::Store;
use crate::record::{
    disk::{
        durable,
        layout::GroupFiles,
        lock::{self, Lock},
        regular,
    },
    error::RecordError,
};

/// The right to let the runs of a group follow each other.
#[derive(Debug)]
pub struct HeldGroup {
    files: GroupFiles,
    lock: Lock,
}

impl Store {
    /// Takes the group for as long as the answer lives.
    ///
    /// # Errors
    ///
    /// Fails if another process has it, or its lock cannot be made.
    pub(crate) fn hold_group(&self, group: &str, now: Timestamp) -> Result<HeldGroup, RecordError> {
        let files = self.root.group(group);
        let lock = Lock::own(&files.lock(), now)?;
        Ok(HeldGroup { files, lock })
    }

    /// Leaves a request for whoever has the group that no other run of it begins; tells whether there is somebody.
    pub(crate) fn ask_group_to_end(&self, group: &str) -> Result<bool, RecordError> {
        let files = self.root.group(group);
        let Some(holder) = lock::holder(&files.lock()) else {
            return Ok(false);
        };
        let token = holder.token.unwrap_or_default();
        durable::replace_unsynced(&files.request(), token.as_bytes())
            .map_err(RecordError::io("leave a request for a group"))?;
        Ok(true)
    }

    /// Removes what processes have left that let the runs of a group follow each other and were killed. What cannot be removed
    /// is left for the next time.
    pub(crate) fn sweep_groups(&self, now: Timestamp) {
        for group in self.root.groups() {
            if self.is_group_held(&group) {
                continue;
            }
            // Whoever takes it now removes it.
            if let Err(error) = self.hold_group(&group, now) {
                tracing::debug!("cannot remove what a dead process has left: {error}");
            }
        }
    }

    /// Tells whether somebody lets the runs of the group follow each other.
    pub(crate) fn is_group_held(&self, group: &str) -> bool {
        lock::is_held(&self.root.group(group).lock())
    }
}

impl HeldGroup {
    /// Tells whether somebody has asked that no other run begins.
    pub fn is_to_end(&self) -> bool {
        let asked = regular::read(&self.files.request());
        asked.is_ok_and(|asked| {
            let token = self.lock.token();
            token.is_some_and(|token| asked == token.as_bytes())
        })
    }
}

impl Drop for HeldGroup {
    fn drop(&mut self) {
        // What cannot be removed means nothing to whoever comes next.
        for file in [self.files.request(), self.files.lock()] {
            drop(fs_err::remove_file(file));
        }
    }
}
