//! [`LiveLog`]: what an attempt says, on disk while it has not ended.

use std::{
    borrow::Cow,
    io::{self, Write as _},
    path::Path,
};

use fs_err::{File, OpenOptions};

use crate::{
    model::TrialId,
    record::{
        disk::{layout::RunDir, modes, regular},
        format::{
            live_line::{LiveHead, LiveText},
            mark::AttemptKey,
        },
    },
};

/// The file of one attempt that has not ended. It is there for whoever wants to read it meanwhile, is never synced, and goes
/// with this value: what was said in attempts that have ended is where their rows say.
#[derive(Debug)]
pub struct LiveLog(File);

impl LiveLog {
    /// Makes the file of an attempt of the run in `run_dir`.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be made or written to.
    pub fn begin(run_dir: &Path, of: AttemptKey, trial: &TrialId) -> io::Result<Self> {
        let path = RunDir::new(run_dir).live(of.ordinal, of.number);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        let mut log = Self(regular::open_to_write(
            modes::set(&mut options, &path),
            &path,
        )?);
        let mut head = LiveText::default();
        head.line(&LiveHead {
            ordinal: of.ordinal,
            trial: Cow::Owned(trial.to_string()),
            attempt: of.number,
        });
        log.append(&head)?;
        Ok(log)
    }

    /// Appends what was said.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be written.
    pub fn append(&mut self, said: &LiveText) -> io::Result<()> {
        self.0.write_all(said.bytes())
    }
}

impl Drop for LiveLog {
    fn drop(&mut self) {
        // It may have been removed with its run. What stays behind goes with the session.
        drop(fs_err::remove_file(self.0.path()));
    }
}

/// Removes what attempts of a session that is over have left.
pub(in crate::record) fn clear(dir: &RunDir) -> io::Result<()> {
    for path in dir.all_live()? {
        fs_err::remove_file(path)?;
    }
    Ok(())
}
