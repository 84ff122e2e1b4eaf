//! Settings of a results root. They start programs and delete runs, so they count only in the text that the user has
//! confirmed, and only if no other user can have written them.

use std::{io, os::unix::ffi::OsStrExt as _};

use runner_model::{Digest, Time, digest, visible::shown_path};

use crate::disk::permissions::{TRUSTED, check_trust};
use crate::disk::user_key::{self, UserKey};
use crate::{RecordError, ResultsRoot, disk::owner::is_trusted};

const SETTINGS: &str = "runner.toml";
/// A larger file is refused.
const MAX_BYTES: u64 = 1 << 20;

/// `runner.toml` of a results root.
#[derive(Debug, PartialEq, Eq)]
pub enum SettingsFile {
    Absent,
    /// The file does not count, for this reason.
    Ignored(String),
    /// The user has not confirmed this text.
    Unconfirmed {
        text: String,
        /// Digest of the text and of the root's path.
        digest: Digest,
        /// Reason to ignore the file.
        why: String,
    },
    Text {
        text: String,
        /// Last change of the file.
        changed: Time,
    },
}

impl ResultsRoot {
    /// Reads `runner.toml`.
    pub fn settings(&self) -> Result<SettingsFile, RecordError> {
        let Some(root) = self.dir() else {
            return Ok(SettingsFile::Absent);
        };
        let bytes = match root.read_all(SETTINGS, MAX_BYTES) {
            Err(error) if error.is_missing() => return Ok(SettingsFile::Absent),
            bytes => bytes,
        };
        let check = || {
            let folder = root.path().canonicalize()?;
            // Where others can write, they can also place a link or a pipe.
            check_trust(&bytes.as_ref().map_or(folder.clone(), |_| folder.join(SETTINGS)))
        };
        if !is_trusted(root)
            && let Err(problem) = check()
        {
            let path = root.path().join(SETTINGS);
            return Ok(SettingsFile::Ignored(format!(
                "{} is ignored: {problem}, or set {TRUSTED} to the results root",
                shown_path(&path)
            )));
        }
        let changed = root.stat(SETTINGS)?.map_or_else(Time::default, |stamp| stamp.changed());
        let text = String::from_utf8(bytes?)
            .map_err(|error| root.error("read", SETTINGS, io::Error::other(error.utf8_error())))?;
        // A program that the text names may be in the root, so it counts only there.
        let real = root.real_path().map_err(|source| root.error("look at", ".", source))?;
        let digest = digest(&[real.as_os_str().as_bytes(), b"\0", text.as_bytes()].concat());
        if is_trusted(root) || user_key::is_confirmed(digest) {
            return Ok(SettingsFile::Text { text, changed });
        }
        let why = format!(
            "{} is ignored, because you have not confirmed this text: {}",
            shown_path(&root.path().join(SETTINGS)),
            self.command(&["trust"])
        );
        Ok(SettingsFile::Unconfirmed { text, digest, why })
    }

    /// Returns the reason why this process can sign nothing in this root. `None` if it has a key, or needs none.
    pub fn signing_problem(&self) -> Option<String> {
        let is_trusted = self.dir().is_some_and(is_trusted);
        UserKey::get().err().filter(|_| !is_trusted).map(str::to_owned)
    }

    /// Confirms the text of `runner.toml` that has this digest of [`SettingsFile::Unconfirmed`].
    pub fn confirm_settings(&self, digest: Digest) -> Result<(), RecordError> {
        user_key::confirm(digest)
    }
}

#[cfg(test)]
#[path = "tests/settings.rs"]
mod tests;
