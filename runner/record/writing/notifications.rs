//! [`NotificationLog`]: a run's `notifications.jsonl`, for whoever is telling somebody of its end.

use std::{io, io::Write as _, path::Path};

use fs_err::{File, OpenOptions};

use crate::record::{
    disk::{durable, layout::RunDir, modes, regular},
    format::notification::NotificationLine,
};

/// The right to tell of a run's end, and the file in which that is written. Nobody else has it meanwhile.
pub struct NotificationLog {
    file: File,
}

impl NotificationLog {
    /// Takes the right; `None` while somebody else has it.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written.
    pub fn take(dir: &Path) -> io::Result<Option<Self>> {
        let path = RunDir::new(dir).notifications();
        let mut options = OpenOptions::new();
        options.append(true).read(true).create(true);
        let file = regular::open_to_write(modes::set(&mut options, &path), &path)?;
        Ok(file.try_lock().is_ok().then_some(Self { file }))
    }

    /// Appends a line, for good.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be written.
    pub fn append(&mut self, line: &NotificationLine) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let before = regular::read(self.file.path())?;
        // What a death has torn stays on a line of its own.
        if !before.is_empty() && !before.ends_with(b"\n") {
            text.insert(0, b'\n');
        }
        self.file.write_all(&text)?;
        durable::sync(&self.file)
    }
}
