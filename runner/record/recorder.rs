//! [`Recorder`]: the right to write one run.

use std::path::{Path, PathBuf};

use super::{
    RecordError,
    database::{self, Database},
    layout::{self, Root, RunDir, RunId},
    lock::Lock,
    manifest::{End, Manifest},
    run_entry::Stamp,
    state::Mark,
    writer::Writer,
};
use crate::model::{Attempt, Digest, Stage};

/// The right to write one run; it exists only while the run's lock is held.
///
/// Dropped without [`Recorder::finish`], it commits what it was given and leaves the run `running` with a free lock, which
/// is what every reader takes for a crash.
pub struct Recorder {
    // The order matters: locks are let go after the last row is written.
    writer: Writer,
    manifest: Manifest,
    id: RunId,
    dir: RunDir,
    root: Root,
    locks: [Lock; 2],
}

/// An attempt to be written, and what its trial makes of it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What happened.
    pub attempt: Attempt,
    /// Whether it settles its trial.
    pub is_final: bool,
    /// Whether its trial passed after an attempt that did not.
    pub is_flaky: bool,
    /// Digest of everything that decides the result.
    pub fingerprint: Digest,
}

/// The acknowledgement of some entries, in the order in which they were handed over.
#[derive(Debug)]
pub struct Written {
    /// The entries, given back.
    pub entries: Vec<Entry>,
    /// Their lines in `index.jsonl`, each with its newline; empty if there is an error.
    pub lines: Vec<u8>,
    /// Set if the entries are not known to be on disk; then no later ones will be, and the session is over.
    pub error: Option<RecordError>,
}

/// A run after its session.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its directory.
    pub run_dir: PathBuf,
    /// Its manifest, as it is on disk.
    pub manifest: Manifest,
}

/// What a birth hands to the recorder.
pub(super) struct Parts {
    pub(super) writer: Writer,
    pub(super) manifest: Manifest,
    pub(super) id: RunId,
    pub(super) dir: RunDir,
    pub(super) root: Root,
    /// The run's own, and the root's.
    pub(super) locks: [Lock; 2],
}

impl Recorder {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            writer: parts.writer,
            manifest: parts.manifest,
            id: parts.id,
            dir: parts.dir,
            root: parts.root,
            locks: parts.locks,
        }
    }

    /// The run's directory.
    pub fn run_dir(&self) -> &Path {
        self.dir.path()
    }

    /// The run's id.
    pub fn run_id(&self) -> &RunId {
        &self.id
    }

    /// The manifest as it is on disk.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where the run's plugins, tests and attachments are.
    pub fn content(&self) -> ContentPaths {
        ContentPaths(self.root.content())
    }

    /// Where the session's tracing output goes.
    pub fn log_path(&self) -> PathBuf {
        self.dir.log()
    }

    /// Notes in the manifest how far the session is.
    pub fn set_stage(&mut self, stage: Stage) -> Result<(), RecordError> {
        if self.manifest.stage == stage {
            return Ok(());
        }
        self.manifest.stage = stage;
        self.manifest.write(&self.dir.manifest())
    }

    /// Hands entries over, and never waits for the disk. They are acknowledged in this order, once they are on it.
    pub fn record(&self, entries: Vec<Entry>) {
        self.writer.record(entries);
    }

    /// Says that nothing more is expected soon, so that what was handed over is committed now.
    pub fn flush(&self) {
        self.writer.flush();
    }

    /// Commits what was handed over, closes the session, and lets the run go.
    pub fn finish(self, end: End) -> Result<Finished, RecordError> {
        let Self {
            writer,
            mut manifest,
            dir,
            root,
            locks,
            id: _,
        } = self;
        drop(writer);

        manifest.close(WRITER, end)?;
        manifest.write(&dir.manifest())?;
        // Opened anew, because the file may have been replaced meanwhile.
        project(&root, &dir, &manifest);
        drop(locks);
        Ok(Finished {
            run_dir: dir.path().to_owned(),
            manifest,
        })
    }
}

/// Finds what is in a content store.
#[derive(Clone, Debug)]
pub struct ContentPaths(PathBuf);

impl ContentPaths {
    /// Where the bytes with this digest are.
    pub fn path(&self, digest: Digest) -> PathBuf {
        layout::content_entry(&self.0, digest)
    }
}

/// Who writes sessions and transitions.
pub(super) const WRITER: &str = "exec";

/// Puts a manifest into `runner.db`, which may fail; gives the database for later use.
pub(super) fn project(root: &Root, dir: &RunDir, manifest: &Manifest) -> Option<Database> {
    // Without a stamp, whoever lists the runs reads the manifest again.
    let stamp = Stamp::of(dir).ok().flatten()?;
    let projected = Database::open(&root.database()).and_then(|mut database| {
        database.project(&[(stamp, manifest.clone())], &[])?;
        Ok(database)
    });
    projected.inspect_err(database::warn).ok()
}

impl Entry {
    /// What of its row will decide state.
    pub fn mark(&self) -> Mark {
        Mark {
            key: (&self.attempt).into(),
            outcome: self.attempt.outcome,
            is_final: self.is_final,
            is_flaky: self.is_flaky,
        }
    }
}
