//! Creating a run: what must be on disk before anything happens.

use std::{collections::BTreeSet, io, path::PathBuf, sync::Arc};

use fs_err::File;
use jiff::Timestamp;
use serde_json::Value;

use super::{
    log,
    recorder::{Begun, Locks, Recorder, WRITER},
    reserve::{ReservedDirectory, enter, pass},
    writer::Written,
};
use crate::{
    model::{Counts, Digest, Grants, Limits, RunStatus, Stage, Verdict},
    record::{
        disk::{
            durable::{self, Replacement, Unsynced},
            layout::{Root, RunDir, RunId},
            lock::Lock,
            machine::Machine,
            modes, regular,
        },
        error::RecordError,
        failpoint,
        format::{
            counts::ManifestCounts,
            inflight::InFlight,
            limits::ManifestLimits,
            manifest::{FORMAT, Manifest, Others},
            manifest_parts::{ManifestScenario, Metadata},
            manifest_provider::ManifestProvider,
            queued::RunRequest,
            sandbox::ManifestGrants,
            shard::ManifestShard,
        },
        store::{
            content::{Blob, ContentStore},
            deletion,
            root::Store,
        },
    },
};

/// Everything a run is created with.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// The scenario.
    pub scenario: NewRunScenario,
    /// The digest of the plan.
    pub plan_digest: Digest,
    /// How many trials are planned.
    pub planned: u64,
    /// The digest of the normalised tests; one of `blobs`.
    pub suite: Digest,
    /// The part of a larger plan that it has, if it is a shard; its tests are one of `blobs`, too.
    pub shard: Option<ManifestShard>,
    /// The providers, in the scenario's order.
    pub providers: Vec<NewRunProvider>,
    /// The graders that tests name, as they are used.
    pub graders: Vec<NewRunProvider>,
    /// What the run needs for as long as it exists: plugins, tests, attachments.
    pub blobs: Vec<Blob>,
    /// Which tests and providers the command line asked for.
    pub selection: Value,
    /// Options of the command line that are in effect.
    pub options: Value,
    /// Whether a provider is granted a secret: then what is recorded is its owner's alone.
    pub has_secrets: bool,
    /// The request that it is started by.
    pub request: Option<RunRequest>,
    /// When.
    pub now: Timestamp,
}

/// The scenario a run is created with.
#[derive(Clone, Debug)]
pub struct NewRunScenario {
    /// Its name.
    pub name: String,
    /// Its path, as given.
    pub path_as_given: String,
    /// Its text, as read.
    pub text: Arc<str>,
}

/// A provider a run is created with.
#[derive(Clone, Debug)]
pub struct NewRunProvider {
    /// Its name.
    pub name: String,
    /// The digest of its plugin; one of the run's blobs.
    pub plugin_sha256: Digest,
    /// `component` or `command`.
    pub kind: String,
    /// The version of the contract that a component was built for.
    pub contract: Option<String>,
    /// `instance` where one serves many attempts.
    pub reuse: Option<String>,
    /// What one attempt may use.
    pub limits: Limits,
    /// What of the world outside its sandbox it may touch.
    pub grants: Grants,
    /// Where the folders are that it is granted, in the order of the grants.
    pub folders: Vec<PathBuf>,
}

impl Store {
    /// Creates a run. `acks` is called on the recorder's thread, once for every commit, in order; it must not block.
    pub(crate) fn begin(
        &self,
        new_run: NewRun,
        acks: impl Fn(Written) + Send + 'static,
    ) -> Result<Recorder, RecordError> {
        create(&self.root, self.session_lock(&self.root)?, new_run, acks)
    }

    /// Creates a run in a directory that was taken for it.
    pub(crate) fn begin_in(
        &self,
        place: ReservedDirectory,
        new_run: NewRun,
        acks: impl Fn(Written) + Send + 'static,
    ) -> Result<Recorder, RecordError> {
        create_in(place, new_run, acks)
    }
}

/// Creates a run; on failure nothing is left that looks like a run.
pub(in crate::record) fn create(
    root: &Root,
    root_lock: Arc<Lock>,
    new_run: NewRun,
    acks: impl Fn(Written) + Send + 'static,
) -> Result<Recorder, RecordError> {
    let (id, dir) = new_directory(root, new_run.now, new_run.has_secrets)?;
    let recorder = enter(&dir, new_run.now).and_then(|run_lock| {
        let place = ReservedDirectory {
            id,
            dir: dir.clone(),
            locks: Locks::new(run_lock, root_lock),
        };
        fill(root, place, new_run, acks)
    });
    if recorder.is_err()
        && let Err(error) = deletion::remove_failed_creation(&dir)
    {
        tracing::warn!("cannot remove what is left of a failed creation: {error}");
    }
    recorder
}

/// Creates a run in a directory that was reserved for it.
pub(in crate::record) fn create_in(
    place: ReservedDirectory,
    new_run: NewRun,
    acks: impl Fn(Written) + Send + 'static,
) -> Result<Recorder, RecordError> {
    fill(&place.dir.root(), place, new_run, acks)
}

impl RunId {
    /// Names a group of runs that begins at `now`.
    pub fn new_group(now: Timestamp) -> Self {
        Self::new(now, random_suffix())
    }
}

/// Makes a directory that nobody else has; what is in it has to be its owner's alone if it `is_closed`.
pub(in crate::record) fn new_directory(
    root: &Root,
    now: Timestamp,
    is_closed: bool,
) -> Result<(RunId, RunDir), RecordError> {
    make_directory(root, now, is_closed, random_suffix)
        .map_err(RecordError::io("create a run directory"))
}

/// The same, however many runs begin at the same instant.
fn make_directory(
    root: &Root,
    now: Timestamp,
    is_closed: bool,
    mut suffix: impl FnMut() -> u32,
) -> io::Result<(RunId, RunDir)> {
    loop {
        let id = RunId::new(now, suffix());
        let dir = root.run(id.as_str());
        match modes::create_directory(dir.path(), is_closed) {
            Ok(()) => return Ok((id, dir)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

fn fill(
    root: &Root,
    place: ReservedDirectory,
    new_run: NewRun,
    acks: impl Fn(Written) + Send + 'static,
) -> Result<Recorder, RecordError> {
    let failed = || RecordError::io("fill a run directory");
    let ReservedDirectory { id, dir, locks } = place;
    close(&dir, &new_run);
    let (mut content, replaced) = add(root, &new_run)?;
    pass("content").map_err(failed())?;
    let scenario = durable::write(&dir.scenario(), new_run.scenario.text.as_bytes())
        .map_err(RecordError::io("copy the scenario"))?;
    pass("scenario").map_err(failed())?;
    let mut options = fs_err::OpenOptions::new();
    modes::set(options.append(true).create(true), &dir.index());
    let index = regular::open_to_write(&mut options, &dir.index())
        .map_err(RecordError::io("create the file for rows"))?;
    let inflight = InFlight::create(&dir.inflight(), 1).map_err(failed())?;
    pass("files").map_err(failed())?;

    let now = new_run.now;
    let manifest = manifest(new_run, &id);
    name(&manifest, root, &dir, &mut content, &scenario)?;
    // Now the manifest keeps the entries from being removed.
    drop(content);
    // Only now: a log that an interrupted creation leaves would keep the next one out of the directory.
    for told in &replaced {
        log::warn(&dir, told, now);
    }
    pass("born").map_err(failed())?;
    Recorder::start(
        Begun {
            root: root.clone(),
            dir,
            id,
            manifest,
            rows: 1,
            index,
            inflight,
            last_seq: 0,
            locks,
        },
        acks,
    )
}

/// Shuts others out of the directory of a run with secrets, as far as it can be.
pub(in crate::record) fn close(dir: &RunDir, new_run: &NewRun) {
    if new_run.has_secrets
        && let Err(error) = modes::close(dir.path())
    {
        tracing::warn!("others may read what is recorded: {error}");
    }
}

/// Gives the manifest its name, once all that it names is on disk.
fn name(
    manifest: &Manifest,
    root: &Root,
    dir: &RunDir,
    content: &mut ContentStore,
    scenario: &File,
) -> Result<(), RecordError> {
    let failed = || RecordError::io("write a manifest");
    let path = dir.manifest();
    let bytes = manifest.encode(&path)?;
    let written = Replacement::write(&path, &bytes, "birth").map_err(failed())?;
    let scenario = Unsynced::Content(scenario.file(), scenario.path());
    content.sync_with(&[scenario, written.content()])?;
    written.rename().map_err(failed())?;
    let names = [dir.path(), root.path()].map(Unsynced::Names);
    durable::sync_together(&names).map_err(RecordError::io("sync the results root"))?;
    failpoint::pass("birth", "synced").map_err(failed())
}

/// Puts into the content store what the run needs for as long as it exists, and says what it has replaced there.
pub(in crate::record) fn store(
    root: &Root,
    new_run: &NewRun,
) -> Result<(ContentStore, Vec<String>), RecordError> {
    let (mut content, replaced) = add(root, new_run)?;
    content.sync()?;
    Ok((content, replaced))
}

/// The same, of which the names have yet to be synced.
fn add(root: &Root, new_run: &NewRun) -> Result<(ContentStore, Vec<String>), RecordError> {
    let mut content = ContentStore::open(root.content())?;
    let mut replaced = Vec::new();
    for blob in &new_run.blobs {
        replaced.extend(content.add(blob, new_run.now.into())?);
    }
    Ok((content, replaced))
}

/// The manifest of a run that is created, with its first session open.
fn manifest(new_run: NewRun, id: &RunId) -> Manifest {
    let content: BTreeSet<Digest> = new_run.blobs.iter().map(|blob| blob.digest).collect();
    let is_graded = !new_run.graders.is_empty();
    let mut manifest = Manifest {
        format: FORMAT,
        run_id: id.to_string(),
        runner_version: env!("CARGO_PKG_VERSION").to_owned(),
        scenario: ManifestScenario {
            name: new_run.scenario.name,
            path: new_run.scenario.path_as_given,
            sha256: Digest::of(new_run.scenario.text.as_bytes()),
        },
        created_at: new_run.now,
        metadata: Metadata {
            planned_test_count: new_run.planned,
            plan_digest: new_run.plan_digest,
            suite: new_run.suite,
        },
        shard: new_run.shard,
        merged_from: Vec::new(),
        providers: new_run
            .providers
            .into_iter()
            .map(NewRunProvider::manifest)
            .collect(),
        graders: new_run
            .graders
            .into_iter()
            .map(NewRunProvider::manifest)
            .collect(),
        content: content.into_iter().collect(),
        selection: new_run.selection,
        options: new_run.options,
        status: RunStatus::Running,
        reason: None,
        signal: None,
        stage: Stage::Plan,
        verdict: Verdict::None,
        counts: ManifestCounts::from(Counts {
            planned: new_run.planned,
            ..Counts::default()
        }),
        started_at: new_run.now,
        completed_at: None,
        sessions: Vec::new(),
        transitions: Vec::new(),
        pinned: None,
        request: new_run.request,
        others: Others::new(),
    };
    if is_graded {
        manifest.judge_apart();
    }
    manifest.open(WRITER, new_run.now);
    manifest.runs_on(Machine::here().into());
    manifest
}

/// Plans a run anew that failed to begin; its sessions and transitions stay.
pub(in crate::record) fn replan(manifest: &mut Manifest, new_run: NewRun) {
    let id = RunId::of_directory(&manifest.run_id);
    let planned = self::manifest(new_run, &id);
    *manifest = Manifest {
        // Rows of another plan may be there already.
        format: manifest.format.max(planned.format),
        status: manifest.status,
        created_at: manifest.created_at,
        started_at: manifest.started_at,
        completed_at: manifest.completed_at,
        sessions: std::mem::take(&mut manifest.sessions),
        transitions: std::mem::take(&mut manifest.transitions),
        pinned: manifest.pinned.take(),
        merged_from: std::mem::take(&mut manifest.merged_from),
        request: manifest.request.take(),
        others: std::mem::take(&mut manifest.others),
        ..planned
    };
}

impl NewRunProvider {
    /// The provider as the manifest of its run has it.
    pub fn manifest(self) -> ManifestProvider {
        ManifestProvider {
            name: self.name,
            plugin_sha256: self.plugin_sha256,
            kind: self.kind,
            contract: self.contract,
            reuse: self.reuse,
            limits: ManifestLimits(self.limits),
            grants: ManifestGrants::new(&self.grants, &self.folders),
        }
    }
}

fn random_suffix() -> u32 {
    uuid::Uuid::new_v4().as_fields().0
}

#[cfg(test)]
mod tests {
    use super::{Root, make_directory};
    use crate::{
        model::Digest,
        record::{
            BlobSource, RecordError, Store,
            testing::{ignore, new_run, now},
        },
    };

    #[test]
    fn two_runs_that_begin_at_the_same_instant_get_two_directories() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        let mut suffixes = [7, 7, 7, 8].into_iter();
        let mut make = || make_directory(&root, now(), false, || suffixes.next().unwrap()).unwrap();
        let ((first, _), (second, _)) = (make(), make());
        assert_eq!(first.as_str(), "2026-11-20_04-39-12-123-00000007");
        assert_eq!(second.as_str(), "2026-11-20_04-39-12-123-00000008");

        let store = Store::open(directory.path()).unwrap();
        let first = store.begin(new_run(1), ignore).unwrap();
        let second = store.begin(new_run(1), ignore).unwrap();
        assert_ne!(first.run_dir(), second.run_dir());
    }

    #[test]
    fn a_run_is_created_with_its_scenario_and_its_blobs() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let recorder = store.begin(new_run(1), ignore).unwrap();
        let scenario = recorder.run_dir().join("scenario.toml");
        assert_eq!(
            fs_err::read_to_string(scenario).unwrap(),
            "name = \"tour\"\n"
        );
        let blob = recorder.content().path(Digest::of(b"plugin"));
        assert_eq!(fs_err::read(blob).unwrap(), b"plugin");
    }

    #[test]
    fn a_creation_that_fails_leaves_nothing_that_looks_like_a_run() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let mut new_run = new_run(1);
        new_run.blobs[0].digest = Digest::of(b"something else");
        let path = directory.path().join("plugin.wasm");
        fs_err::write(&path, "plugin").unwrap();
        new_run.blobs[0].source = BlobSource::File(path);

        let error = store.begin(new_run, ignore).err().unwrap();
        assert!(matches!(error, RecordError::Changed { .. }), "{error}");
        let mut left: Vec<_> = directory
            .path()
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, [".lock", "plugin.wasm", "store"]);
    }
}
