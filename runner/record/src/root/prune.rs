//! Deletes runs by a policy, remains of interrupted creations and deletions, and unused contents of the store.
//!
//! A run is deleted under its lock. First its folder is renamed. If that fails, nothing was changed; from then on there is no
//! run, and the next prune finishes an interrupted deletion.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use runner_model::{RunStatus, Time, status::RunState, visible::quoted_path};
use schemars::JsonSchema;
use serde::Serialize;

use crate::disk::beneath::{Dir, Stamp, random};
use crate::disk::layout::{GONE, MANIFEST, ROWS, STORE, command, is_run_name};
use crate::disk::lock::{self, LOCK, Lock};
use crate::disk::owner::{is_trusted, other_user};
use crate::run::owned::{has_prepared, remove_prepared};
use crate::{
    Holder, Owned, Pin, QueueState, QueuedRequest, RecordError, ResultsRoot, RunDir, RunHead,
    disk::content_store::ContentStore, disk::removal::remove_folder, root::find::has_bytes,
    run::folder::parse_id,
};

/// Longest time for creating a run.
const CREATION: Duration = Duration::from_secs(3600);
/// Contents that were used within this time may belong to a run that is being created.
const UNUSED: Duration = Duration::from_secs(24 * 3600);
/// Contents that are removed under one lock, for which new runs wait.
const AT_ONCE: usize = 64;

/// The runs to delete: those that any of these rules selects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrunePolicy {
    /// Names for [`ResultsRoot::find`].
    pub runs: Vec<String>,
    /// Only runs in one of these states. Without another rule, all of them.
    pub states: Vec<RunState>,
    /// Runs that ended longer ago.
    pub older_than: Option<Duration>,
    /// All but the newest `keep_last` runs.
    pub keep_last: Option<u64>,
    /// The oldest runs, until the rest has at most this many bytes.
    pub max_size: Option<u64>,
    /// Runs that another key has signed stay.
    pub only_own: bool,
    /// Ids of runs that stay unless `runs` names them, each with the reason and the next step.
    pub keep: BTreeMap<String, String>,
}

/// The result of a prune, or of a dry run.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Pruning {
    /// The deleted runs, oldest first.
    pub runs: Vec<Pruned>,
    /// Runs that the policy selects and that stay.
    pub kept: Vec<Kept>,
    /// Folders of interrupted creations and deletions.
    pub leftovers: Vec<String>,
    /// Number of unused contents of the store.
    pub contents: u64,
    /// Bytes of the unused contents.
    pub content_bytes: u64,
    /// Failures, for people.
    pub problems: Vec<String>,
}

/// A deleted run.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Pruned {
    /// The run's id.
    pub run: String,
    /// The scenario's name.
    pub scenario: String,
    /// Status before the deletion.
    pub status: RunStatus,
    /// Status and verdict in one word.
    pub state: RunState,
    /// Start of the first session.
    pub started_at: Time,
    /// Bytes of the run's files.
    pub bytes: u64,
}

/// A selected run that stays.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Kept {
    /// The run's id.
    pub run: String,
    /// A process works on the run.
    pub is_held: bool,
    /// The policy has the run's name.
    pub is_named: bool,
    /// The reason, with the next step.
    pub why: String,
}

impl PrunePolicy {
    /// Returns whether no rule is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl ResultsRoot {
    /// Deletes the runs that a policy selects, or only returns them. Running, pinned and dead runs stay, and runs whose
    /// manifest cannot be read.
    pub fn prune(
        &self,
        policy: &PrunePolicy,
        is_dry: bool,
        now: Time,
    ) -> Result<Pruning, RecordError> {
        let root = self.own_dir()?;
        let mut done = Pruning::default();
        // Read before the manifests: a content that a run stores later was used just now.
        let contents = unused_contents(root, now).unwrap_or_else(|error| {
            done.problems.push(error.to_string());
            Vec::new()
        });
        let found = self.runs()?;
        let named = self.named(policy)?;
        let queue = self.queue()?.requests;
        for head in select_runs(root, policy, &found.runs, &named, now).into_iter().rev() {
            let is_named = named.contains(&head.id);
            let kept = policy.keep.get(&head.id).filter(|_| !is_named).cloned();
            if let Some(why) = kept.or_else(|| self.waits(&queue, head)) {
                done.kept.push(Kept { run: head.id.clone(), is_held: false, is_named, why });
                continue;
            }
            // Another prune may have deleted the run.
            let Some(run) = self.open_run(&head.id)? else {
                continue;
            };
            let pruned = Pruned {
                run: head.id.clone(),
                scenario: head.scenario.clone(),
                status: head.status,
                state: head.state(),
                started_at: head.started_at,
                bytes: run.dir.size(),
            };
            match delete_run(&run, is_dry, policy.only_own) {
                Ok(Deletion::Gone(removed)) => {
                    done.runs.push(pruned);
                    let problem = removed.err().filter(|error| !error.is_missing());
                    done.problems.extend(problem.map(|error| error.to_string()));
                }
                Ok(Deletion::Stays((is_held, why))) => {
                    done.kept.push(Kept { run: run.id, is_held, is_named, why });
                }
                Err(error) if error.is_missing() => {}
                Err(error) => done.problems.push(error.to_string()),
            }
        }
        for (run, why) in found.unreadable.into_iter().filter(|(run, _)| named.contains(run)) {
            done.kept.push(Kept { run, is_held: false, is_named: true, why });
        }
        for name in root.folders()? {
            if !is_dry {
                remove_unfinished(root, &name);
            }
            if !is_leftover(root, &name, now) {
                continue;
            }
            let removed = if is_dry { Ok(()) } else { remove_leftover(root, &name) };
            match removed {
                Ok(()) => done.leftovers.push(name),
                Err(error) if error.is_missing() => {}
                // Another prune is removing the folder.
                Err(RecordError::Held { .. }) => {}
                Err(error) => done.problems.push(error.to_string()),
            }
        }
        done.leftovers.sort();
        self.prune_store(&contents, is_dry, &mut done)?;
        if !is_dry {
            // Removes the deleted runs from the list.
            self.listed()?;
        }
        Ok(done)
    }

    /// Returns the reason why a run stays that a request of this user is going to continue.
    fn waits(&self, queue: &[QueuedRequest], run: &RunHead) -> Option<String> {
        let id = &run.id;
        let request = queue.iter().find(|request| {
            let is_valid = request.state != QueueState::Refused && request.foreign.is_none();
            is_valid && request.continues(id, run.group.as_ref())
        })?;
        let remove = self.command(&["queue", "remove", &request.id]);
        Some(format!("run {id} waits in the queue; to remove its request: {remove}"))
    }

    /// Returns the ids of the runs that the policy names.
    fn named(&self, policy: &PrunePolicy) -> Result<BTreeSet<String>, RecordError> {
        let mut ids = BTreeSet::new();
        for name in &policy.runs {
            let run = self.find(name)?;
            let root = self.own_dir()?;
            let its_root = &run.root;
            if !root.stamp.is_same_file(&its_root.stamp) {
                let other = quoted_path(its_root.path());
                let problem = format!("the run is in another results root; add: --results {other}");
                return Err(run.dir.refuse(".", problem));
            }
            ids.insert(run.id);
        }
        Ok(ids)
    }

    fn prune_store(
        &self,
        contents: &[(String, String, Stamp)],
        is_dry: bool,
        done: &mut Pruning,
    ) -> Result<(), RecordError> {
        if contents.is_empty() {
            return Ok(());
        }
        let root = self.own_dir()?;
        let mut needed = BTreeSet::new();
        for name in self.names()? {
            // A dry run has not deleted these runs. Contents that no other run needs count as unused.
            if is_dry && done.runs.iter().any(|run| run.run == name) {
                continue;
            }
            let run = self.open_run(&name);
            match run.and_then(|run| run.as_ref().map(text_of).transpose()) {
                Ok(text) => needed.extend(digests(&text.unwrap_or_default())),
                Err(error) if error.is_missing() => {}
                Err(error) => {
                    let problem =
                        "the store was not cleaned, because the contents of this run are unknown";
                    done.problems.push(format!("{problem}: {error}"));
                    return Ok(());
                }
            }
        }
        let store = ContentStore(root.dir(STORE)?);
        let unneeded: Vec<_> =
            contents.iter().filter(|(_, name, _)| !needed.contains(name)).collect();
        for some in unneeded.chunks(AT_ONCE) {
            let _lock = (!is_dry).then(|| store.lock(true)).transpose()?;
            for (shelf, name, stamp) in some {
                let shelf = store.0.dir(shelf)?;
                // A new run may have used it meanwhile.
                if shelf.stat(name)?.as_ref() != Some(stamp) {
                    continue;
                }
                if !is_dry {
                    shelf.remove(name)?;
                }
                done.contents += 1;
                done.content_bytes += stamp.length;
            }
        }
        Ok(())
    }
}

/// Returns the runs that a policy selects, newest first.
fn select_runs<'a>(
    root: &Dir,
    policy: &PrunePolicy,
    runs: &'a [RunHead],
    named: &BTreeSet<String>,
    now: Time,
) -> Vec<&'a RunHead> {
    let has_rule = policy.older_than.is_some()
        || policy.keep_last.is_some()
        || policy.max_size.is_some()
        || !policy.runs.is_empty();
    let is_meant =
        |run: &&RunHead| policy.states.is_empty() || policy.states.contains(&run.state());
    let size_of = |run: &RunHead| root.dir(&run.id).map_or(0, |dir| dir.size());
    let stays = |run: &&RunHead| run.pinned.is_some() || run.status == RunStatus::Running;
    let mut size: u64 = 0;
    if policy.max_size.is_some() {
        // Runs that stay in any case count against the size.
        let staying = runs.iter().filter(is_meant).filter(stays);
        size = staying.map(size_of).sum();
    }
    let mut going = Vec::new();
    let mut place = 0;
    for run in runs {
        let is_meant = is_meant(&run);
        let mut goes = named.contains(&run.id);
        if is_meant {
            goes |= !has_rule && !policy.states.is_empty();
            goes |= policy
                .older_than
                .is_some_and(|age| run.completed_at.is_some_and(|ended| now.since(ended) > age));
            goes |= policy.keep_last.is_some_and(|last| place >= last);
            place += 1;
        }
        if let (true, false, Some(most)) = (is_meant && !stays(&run), goes, policy.max_size) {
            size += size_of(run);
            goes = size > most;
        }
        if goes {
            going.push(run);
        }
    }
    going
}

/// Whether a process works on the run, and the reason why it stays.
type Stays = (bool, String);

/// Returns the reason why a run must stay, if there is one.
fn reason_to_stay(run: &RunDir, only_own: bool) -> Result<Option<Stays>, RecordError> {
    let id = &run.id;
    let own = if only_own { run.for_use() } else { run.for_change() };
    let manifest = match own {
        Err(error @ RecordError::NotOwn { .. }) => return Ok(Some((false, error.to_string()))),
        own => own?.manifest()?,
    };
    if let Some(Pin { by, .. }) = manifest.pinned {
        let reason = by.reason.iter().map(|reason| format!(": {reason}"));
        let user = &by.user;
        let reason = reason.collect::<String>();
        let unpin = run.command("unpin", &[]);
        let why = format!("run {id} is pinned by {user}{reason}; to release it: {unpin}");
        return Ok(Some((false, why)));
    }
    if let Some(Holder { pid, .. }) = lock::holder(&run.dir) {
        let why = format!("process {pid} works on run {id}: stop it, or wait until it ends");
        return Ok(Some((true, why)));
    }
    let is_dead = manifest.status == RunStatus::Running;
    Ok(is_dead.then(|| {
        let cleanup = command(run.root.path(), &["cleanup", "--yes"]);
        let why = format!("run {id} stays: its process died; to write its status: {cleanup}");
        (false, why)
    }))
}

/// The end of a deletion.
enum Deletion {
    Stays(Stays),
    /// The run is gone. The error if files of it are left.
    Gone(Result<(), RecordError>),
}

impl ResultsRoot {
    /// Removes a run of a group whose creation was cut short. A run that cannot be removed stays, as a dead one.
    pub(crate) fn remove_unstarted(&self, run: &str) {
        // A claim writes the true status, without which no run is deleted.
        if let Ok(Some(run)) = self.open_run(run)
            && self.claim(&run).is_ok()
        {
            let _ = delete_run(&run, false, false);
        }
    }
}

/// Deletes a run, unless it must stay or `is_dry`. After an error the run is as it was.
fn delete_run(run: &RunDir, is_dry: bool, only_own: bool) -> Result<Deletion, RecordError> {
    if let Some(stays) = reason_to_stay(run, only_own)? {
        return Ok(Deletion::Stays(stays));
    }
    if is_dry {
        return Ok(Deletion::Gone(Ok(())));
    }
    let lock = match Lock::take(&run.dir, &run.id) {
        Err(error @ RecordError::Held { .. }) => {
            return Ok(Deletion::Stays((true, error.to_string())));
        }
        taken => taken?,
    };
    // The lock reserves room for a last manifest, which a deleted run does not need.
    lock.release_reserve();
    // Another process may have had the lock meanwhile.
    let manifest = run.manifest()?;
    if manifest.pinned.is_some() || !manifest.status.is_terminal() {
        let why = format!("run {} has just changed; try again", run.id);
        return Ok(Deletion::Stays((false, why)));
    }
    let gone = move_away(run)?;
    Ok(Deletion::Gone(run.root.sync().and_then(|()| remove_folder(&run.root, &run.dir, &gone))))
}

impl Owned {
    /// Removes a new run, as if it had not been created: a folder that was there stays. The caller writes nothing into it
    /// afterwards.
    ///
    /// # Errors
    ///
    /// The run is still there.
    pub fn discard(&self) -> Result<(), RecordError> {
        let RunDir { root, dir, .. } = &self.run;
        if self.had_folder {
            dir.remove(MANIFEST)?;
            self.lock.release_reserve();
            // The next run in this folder removes files that stay.
            let _ = dir.clear(&[LOCK]).and_then(|()| dir.remove(LOCK));
            return Ok(());
        }
        let gone = move_away(&self.run)?;
        self.lock.release_reserve();
        // Files that stay are leftovers, which the next prune removes.
        let _ = remove_folder(root, dir, &gone);
        Ok(())
    }
}

/// Gives the folder of a run a name that is not of a run. Returns the name.
fn move_away(run: &RunDir) -> Result<String, RecordError> {
    let gone = format!("{GONE}{:016x}", random());
    run.root.move_away(&run.id, &gone)?;
    Ok(gone)
}

/// Returns whether a dead process left the folder while it created or deleted a run.
fn is_leftover(root: &Dir, name: &str, now: Time) -> bool {
    let Ok(dir) = root.dir(name) else {
        return false;
    };
    if !is_trusted(root) && !matches!(other_user(&dir, dir.path()), Ok(None)) {
        return false;
    }
    let is_run = || has_bytes(&dir, MANIFEST) || has_bytes(&dir, ROWS);
    let is_old = now.since(dir.stamp.changed()) > CREATION;
    (name.starts_with(GONE) || is_run_name(name) && parse_id(name).is_some() && is_old && !is_run())
        && !lock::is_held(&dir)
}

/// Removes the files that a process prepared for a run before it was killed. An ended run may have no further session.
fn remove_unfinished(root: &Dir, name: &str) {
    if let Ok(Some(run)) = RunDir::open(root, name)
        && has_prepared(&run.dir)
        && !lock::is_held(&run.dir)
        && let Ok(run) = run.for_change()
        && let Ok(lock) = Lock::take(&run.dir, name)
    {
        remove_prepared(&run.dir);
        lock.release_reserve();
    }
}

fn remove_leftover(root: &Dir, name: &str) -> Result<(), RecordError> {
    let dir = root.dir(name)?;
    let _lock = Lock::take(&dir, name)?;
    // Another process may have created a run in it.
    if !name.starts_with(GONE) && RunDir::open(root, name)?.is_some() {
        return Ok(());
    }
    remove_folder(root, &dir, name)
}

/// Returns the contents of the store that no process has used for a day: folder, name and file.
fn unused_contents(root: &Dir, now: Time) -> Result<Vec<(String, String, Stamp)>, RecordError> {
    let store = match root.dir(STORE) {
        Err(error) if error.is_missing() => return Ok(Vec::new()),
        opened => opened?,
    };
    let mut contents = Vec::new();
    for shelf in store.folders()? {
        let dir = store.dir(&shelf)?;
        for name in dir.names()? {
            if let Some(found) = dir.stat(&name)?
                && found.is_file
                && now.since(found.changed()) > UNUSED
            {
                contents.push((shelf.clone(), name, found));
            }
        }
    }
    Ok(contents)
}

/// Returns all text of a run that may name contents: its manifest, and its list of attachments and schemas.
fn text_of(run: &RunDir) -> Result<String, RecordError> {
    let (manifest, mut text, _) = run.read_manifest()?;
    match run.blobs(&manifest) {
        // Without the list the run cannot be resumed.
        Err(error) if error.is_missing() => {}
        blobs => text.extend(blobs?.iter().map(|blob| format!("\"{blob}\""))),
    }
    Ok(text)
}

/// Returns every digest in a JSON text, under any key.
fn digests(text: &str) -> impl Iterator<Item = String> {
    let texts = text.split('"');
    let is_digest =
        |text: &&str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    texts.filter(is_digest).map(str::to_owned)
}

#[cfg(test)]
#[path = "tests/prune.rs"]
mod tests;
