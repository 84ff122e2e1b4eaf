//! [`Claim`]: a run that has ended, held by this process.

use std::path::Path;

use fs_err::OpenOptions;
use jiff::Timestamp;
use serde_json::Value;

use super::{
    CancelError, ClaimError, RecordError,
    birth::{self, Birth},
    content::Content,
    durable,
    history::{self, History},
    inflight::InFlight,
    layout::{Root, RunDir, RunId},
    lock::Lock,
    manifest::{Manifest, NewSession},
    recorder::{self, Begun, ContentPaths, Locks, Recorder, Written},
    repair,
    rerun::Rerun,
    run_entry::RunEntry,
    store::Store,
    sweep,
};
use crate::model::{Counts, Digest, RunStatus};

/// A run that has ended, held by this process: its lock is taken, its rows are repaired, and it does not say `running`.
#[derive(Debug)]
pub struct Claim {
    root: Root,
    dir: RunDir,
    id: RunId,
    manifest: Manifest,
    last_seq: u64,
    locks: Locks,
}

/// How a claimed run goes on.
#[derive(Clone, Debug)]
pub struct Opening {
    /// When.
    pub now: Timestamp,
    /// The command that asks for it.
    pub opened_by: &'static str,
    /// Which trials that have a final row are run again.
    pub rerun: Option<Rerun>,
    /// Whether a run that a person has dropped may go on.
    pub is_forced: bool,
    /// Options of the command line that are in effect from now on.
    pub options: Value,
    /// What a run is planned with that failed to begin, and so has no rows.
    pub reborn: Option<Birth>,
}

impl Store {
    /// Takes a run's lock, repairs the tail of its rows, and sweeps it if its manifest says `running` still.
    pub fn claim(&self, run: &RunEntry, now: Timestamp) -> Result<Claim, ClaimError> {
        let held = |error| match error {
            RecordError::Held { text, .. } => ClaimError::Held {
                run: run.id.clone(),
                text,
            },
            error => ClaimError::Record(error),
        };
        let dir = RunDir::new(&run.dir);
        let root = dir.root();
        let root_lock = self.session_lock(&root).map_err(held)?;
        let run_lock = Lock::own(&dir.lock(), now).map_err(held)?;
        let locks = Locks::new(run_lock, root_lock);

        let mut manifest = Manifest::read(&dir.manifest())?;
        // A copied directory is a run of its own.
        run.id.as_str().clone_into(&mut manifest.run_id);
        let last_seq = repair::repair(&dir, manifest.session())?;
        if manifest.status == RunStatus::Running {
            sweep::settle(&root, &dir, &mut manifest, now)?;
        }
        Ok(Claim {
            root,
            dir,
            id: run.id.clone(),
            manifest,
            last_seq,
            locks,
        })
    }
}

impl Claim {
    /// The manifest as it is on disk.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The run's directory.
    pub fn run_dir(&self) -> &Path {
        self.dir.path()
    }

    /// The run's id.
    pub fn run_id(&self) -> &RunId {
        &self.id
    }

    /// Where the run's plugins, tests and attachments are.
    pub fn content(&self) -> ContentPaths {
        ContentPaths::new(self.root.content())
    }

    /// The run's own copy of its scenario, if it is unaltered.
    pub fn scenario_text(&self) -> Result<String, RecordError> {
        let path = self.dir.scenario();
        let text = fs_err::read_to_string(&path)
            .map_err(RecordError::io("read the run's copy of its scenario"))?;
        let expected = self.manifest.scenario.sha256;
        let found = Digest::of(text.as_bytes());
        if found != expected {
            return Err(RecordError::Changed {
                path,
                expected,
                found,
            });
        }
        Ok(text)
    }

    /// What the rows come to, in the light of all sessions, and of one that is asked for `rerun` now.
    pub fn history(&self, rerun: Option<&Rerun>) -> Result<History, RecordError> {
        history::fold(vec![self.dir.index()], &self.manifest, rerun)
    }

    /// Opens the next session, which goes on from `counts`: those of the [`Claim::history`] with the same `rerun`.
    ///
    /// `acks` is called as it is by [`Store::begin`].
    pub fn open(
        self,
        opening: Opening,
        counts: Counts,
        acks: impl Fn(Written) + Send + 'static,
    ) -> Result<Recorder, RecordError> {
        let Self {
            root,
            dir,
            id,
            mut manifest,
            last_seq,
            locks,
        } = self;
        let content = match opening.reborn {
            Some(birth) => Some(replan(&root, &dir, &mut manifest, birth)?),
            None => {
                manifest.counts = counts.into();
                None
            }
        };
        manifest.options = opening.options;
        manifest.reopen(NewSession {
            now: opening.now,
            opened_by: opening.opened_by,
            rerun: opening.rerun.map(|rerun| rerun.to_string()),
            is_forced: opening.is_forced,
            from_seq: last_seq,
        })?;

        recorder::tidy(&dir);
        let failed = || RecordError::io("open a session");
        let inflight = InFlight::create(&dir.inflight(), manifest.session()).map_err(failed())?;
        let index = OpenOptions::new()
            .append(true)
            .open(dir.index())
            .map_err(failed())?;
        manifest.write(&dir.manifest(), "opening")?;
        // Now the manifest keeps the entries from being removed.
        drop(content);
        Recorder::start(
            Begun {
                root,
                dir,
                id,
                manifest,
                index,
                inflight,
                last_seq,
                locks,
            },
            acks,
        )
    }

    pub(super) fn dir(&self) -> &RunDir {
        &self.dir
    }

    /// Drops a run that has ended with work left. One that is dropped already stays as it is.
    pub fn cancel(mut self, now: Timestamp) -> Result<Manifest, CancelError> {
        if self.manifest.status == RunStatus::Cancelled {
            return Ok(self.manifest);
        }
        self.manifest.cancel("cancel", now)?;
        self.manifest.write(&self.dir.manifest(), "cancel")?;
        recorder::tidy(&self.dir);
        recorder::project(&self.root, &self.dir, &self.manifest);
        Ok(self.manifest)
    }
}

/// Plans a run anew that failed to begin: with new files in the content store, a new copy of the scenario, a new manifest.
fn replan(
    root: &Root,
    dir: &RunDir,
    manifest: &mut Manifest,
    birth: Birth,
) -> Result<Content, RecordError> {
    if manifest.status != RunStatus::Failed {
        return Err(RecordError::HasRows {
            run: manifest.run_id.clone(),
        });
    }
    let content = birth::store(root, &birth)?;
    durable::replace(
        &dir.scenario(),
        birth.scenario.text.as_bytes(),
        "opening.scenario",
    )
    .map_err(RecordError::io("copy the scenario"))?;
    birth::replan(manifest, birth);
    Ok(content)
}
