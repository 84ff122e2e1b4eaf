//! Writing the merged run.

use std::{collections::BTreeSet, io, path::Path};

use jiff::Timestamp;

use super::{
    copy,
    look::ShardRun,
    manifest::{self, Offset},
    places::TrialPlaces,
    rows::MergedRows,
};
use crate::{
    model::{cores, work_in_lanes},
    record::{
        Blob, BlobSource, RunReader, Store,
        disk::{durable, layout::RunDir, lock::Lock, modes, regular},
        error::RecordError,
        failpoint,
        format::shard::ManifestSource,
        store::{content::ContentStore, deletion},
        writing::create,
    },
};

/// What a run was merged of.
pub type MergedFrom = Vec<ManifestSource>;

/// What a run was merged of that is merged of these shards.
///
/// # Errors
///
/// Fails if their rows cannot be read.
pub fn merged_from(shards: &[ShardRun]) -> Result<MergedFrom, RecordError> {
    let mut sources = Vec::new();
    let workers = (0..cores()).map(|_| copy::source_of);
    let read = work_in_lanes(in_order(shards).into_iter(), workers, |source| {
        sources.push(source?);
        Ok::<_, RecordError>(true)
    });
    read.map_err(RecordError::io("read shards beside each other"))??;
    Ok(sources)
}

/// Merges shards into one run in `into`, which is not there or empty, and whose parent is the results root. `places` has, for
/// each shard of the plan in its order, the places that its trials have in the whole.
///
/// No run is in `into` before all of it is on disk.
///
/// # Errors
///
/// Fails if something is in `into`, if a shard has changed since it was read, or if anything cannot be read or written.
pub fn merge(
    store: &Store,
    shards: &[ShardRun],
    places: &[TrialPlaces],
    into: &Path,
    now: Timestamp,
) -> Result<RunReader, RecordError> {
    let shards = in_order(shards);
    let _root_lock = store.session_lock(&store.root)?;
    let is_closed = shards
        .iter()
        .any(|shard| modes::is_closed(shard.reader.dir().path()));
    let (_, dir) = create::new_directory(&store.root, now, is_closed)?;
    let dir = &dir;
    let _lock = Lock::own(&dir.lock(), now)?;
    let merged = fill(store, dir, &shards, places, into, now).and_then(|()| name(dir, into, now));
    match merged {
        Ok(()) => RunReader::open(into),
        Err(error) => {
            if let Err(left) = deletion::remove_failed_creation(dir) {
                tracing::warn!("cannot remove what is left of a merge: {left}");
            }
            Err(error)
        }
    }
}

/// Gives the run its name: its directory the one of `into`, and then its manifest. Until then it counts as one that is being
/// deleted: should this process die, whoever comes next removes it.
fn name(dir: &RunDir, into: &Path, now: Timestamp) -> Result<(), RecordError> {
    let failed = || RecordError::io("give the merged run its name");
    let named = RunDir::new(into);
    if named.is_being_deleted() {
        let lock = Lock::own(&named.lock(), now)?;
        deletion::remove_directory(&named, lock).map_err(failed())?;
    }
    fs_err::rename(dir.path(), into).map_err(|error| match error.kind() {
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory => RecordError::InUse {
            path: into.to_owned(),
        },
        _ => failed()(error),
    })?;
    pass("named")
        .and_then(|()| durable::sync_parent(into))
        .map_err(failed())?;
    fs_err::rename(named.deleted(), named.manifest()).map_err(failed())?;
    durable::sync_directory(into).map_err(failed())
}

fn pass(place: &str) -> io::Result<()> {
    failpoint::pass("merge", place)
}

fn fill(
    store: &Store,
    dir: &RunDir,
    shards: &[&ShardRun],
    places: &[TrialPlaces],
    into: &Path,
    now: Timestamp,
) -> Result<(), RecordError> {
    let failed = || RecordError::io("write the merged run");
    let id = RunDir::new(into).id().ok_or_else(|| RecordError::NoName {
        path: into.to_owned(),
    })?;
    pass("directory").map_err(failed())?;
    let content = add_content(store, shards, now)?;
    pass("content").map_err(failed())?;
    let first = shards[0];
    let scenario = first.reader.scenario_text()?;
    let written = durable::write(&dir.scenario(), scenario.as_bytes());
    written
        .and_then(|file| durable::sync(&file))
        .map_err(failed())?;

    let mut rows = MergedRows::begin(dir).map_err(failed())?;
    let (mut offset, mut offsets, mut sources) = (Offset::default(), Vec::new(), Vec::new());
    let mut own_places = Vec::new();
    for shard in shards {
        let places = &places[shard.shard.index() as usize - 1];
        sources.push(copy::copy_rows(shard, places, offset, dir, &mut rows)?);
        copy_artifacts(shard, places, dir).map_err(failed())?;
        offsets.push(offset);
        own_places.push(places);
        offset.sessions = offset.sessions.saturating_add(shard.manifest.session());
        offset.rows = offset.rows.saturating_add(shard.last_seq);
    }
    rows.finish().map_err(failed())?;
    pass("rows").map_err(failed())?;

    let manifest = manifest::merged(&id, shards, &own_places, &offsets, sources);
    for shard in shards {
        shard.check_unchanged()?;
    }
    manifest.write(&dir.deleted(), "merge")?;
    // Now the manifest keeps the entries from being removed.
    drop(content);
    Ok(())
}

fn in_order(shards: &[ShardRun]) -> Vec<&ShardRun> {
    let mut shards: Vec<_> = shards.iter().collect();
    shards.sort_by_key(|shard| shard.shard);
    shards
}

/// Puts into the content store what the shards have in theirs.
fn add_content(
    store: &Store,
    shards: &[&ShardRun],
    now: Timestamp,
) -> Result<ContentStore, RecordError> {
    let mut content = ContentStore::open(store.root.content())?;
    let (mut blobs, mut added) = (Vec::new(), BTreeSet::new());
    for shard in shards {
        let source = shard.reader.content();
        for digest in shard.manifest.needed() {
            if !added.insert(digest) {
                continue;
            }
            blobs.push(Blob {
                digest,
                source: BlobSource::File(source.path(digest)),
            });
        }
    }
    content.add_all(&blobs, now.into())?;
    content.sync()?;
    Ok(content)
}

/// Gives the merged run the files that attempts of a shard have left. They are never changed, so both runs may have the same.
fn copy_artifacts(shard: &ShardRun, places: &TrialPlaces, dir: &RunDir) -> io::Result<()> {
    for (ordinal, attempt, folder) in shard.reader.dir().all_artifacts()? {
        let Some(place) = places.of(ordinal) else {
            continue;
        };
        let target = dir.artifacts(place, attempt);
        modes::create_inside(&target)?;
        for entry in fs_err::read_dir(&folder)? {
            let entry = entry?;
            let (from, to) = (entry.path(), target.join(entry.file_name()));
            if !entry.file_type()?.is_file() {
                continue;
            }
            // On another file system, or where links are not allowed.
            if fs_err::hard_link(&from, &to).is_err() {
                let bytes = regular::read(&from)?;
                durable::sync(&durable::write(&to, &bytes)?)?;
            }
        }
        durable::sync_directory(&target)?;
        durable::sync_parent(&target)?;
    }
    Ok(())
}
