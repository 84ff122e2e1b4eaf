//! Numbers of runs: the order in which a results root has recorded them. Clocks are set, and those of several machines differ,
//! so no time decides which run is the newest.
//!
//! `.number` saves reading all manifests for each new run. Without it, or if runs came or went in another way, the next number
//! follows from the manifests. Sessions hold the root's `.lock` for their whole time, so this file has a lock of its own.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::{fs::File, io::Read as _, os::unix::fs::FileExt as _, time::Duration};

use runner_model::Time;

use crate::disk::layout::{MANIFEST, NUMBER};
use crate::disk::lock::{Held, lock_within};
use crate::{
    RecordError, ResultsRoot, disk::beneath::Dir, disk::fault::now, run::folder::parse_id,
    run::run_head::is_ahead,
};

/// Time that other processes may take for their numbers. After it, two runs can get the same one, and their starts decide.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of the file that are read.
const MAX_BYTES: u64 = 100;

/// The number and the start of a new run.
pub(crate) struct NewNumber {
    pub(crate) number: u64,
    pub(crate) now: Time,
    /// The latest start of the runs before, if it is later than `now`.
    pub(crate) later: Option<Time>,
}

/// The content of the file.
#[derive(Clone, Copy, Default)]
struct LastNumber {
    number: u64,
    /// Sum of the hashes of the folders.
    folders: u64,
    /// Latest start of a run.
    started_at: Time,
}

impl LastNumber {
    fn read(mut file: &File) -> Option<Self> {
        let mut text = String::new();
        file.by_ref().take(MAX_BYTES).read_to_string(&mut text).ok()?;
        let mut words = text.strip_suffix('\n')?.split(' ');
        let number = words.next()?.parse().ok()?;
        let folders = words.next()?.parse().ok()?;
        Some(Self { number, folders, started_at: Time::from_millis(words.next()?.parse().ok()?) })
    }

    /// Writes the file. Ignores errors: the next run reads the manifests.
    fn write(&self, file: &File) {
        let Self { number, folders, started_at } = self;
        let text = format!("{number} {folders} {}\n", started_at.as_millis());
        let _ = file.set_len(0).and_then(|()| file.write_all_at(text.as_bytes(), 0));
    }
}

impl ResultsRoot {
    /// Takes the number of a new run, whose folder exists already or never appears under this name before the run is complete.
    pub(crate) fn take_number(&self, id: &str) -> Result<NewNumber, RecordError> {
        let root = self.own_dir()?;
        // The file may be another user's.
        let file = root.write(NUMBER).ok();
        let is_locked = |file: &File| {
            lock_within(file, true, PATIENCE, |source| root.error("take", NUMBER, source))
                .unwrap_or(false)
        };
        let file = file.filter(is_locked).map(Held);
        let known = file.as_ref().and_then(|Held(file)| LastNumber::read(file));
        let mut last = known.unwrap_or_default();
        let mut names = self.names()?;
        names.retain(|name| name != id);
        let folders = names.iter().map(|name| hash(root, name)).fold(0, u64::wrapping_add);
        if known.is_none() || last.folders != folders {
            let runs = self.listed()?.runs;
            let numbers = runs.iter().filter_map(|run| run.number);
            last.number = numbers.fold(last.number, u64::max);
            last.started_at =
                runs.iter().map(|run| run.started_at).max().unwrap_or(last.started_at);
        }
        let number = last.number.saturating_add(1);
        let now = now();
        let later = Some(last.started_at).filter(|start| is_ahead(*start, now));
        if let Some(Held(file)) = &file {
            let folders = folders.wrapping_add(hash(root, id));
            LastNumber { number, folders, started_at: last.started_at.max(now) }.write(file);
        }
        Ok(NewNumber { number, now, later })
    }
}

/// Returns the hash of a folder. Folders with a unique name have the same content for ever.
fn hash(root: &Dir, name: &str) -> u64 {
    let is_unique = parse_id(name).is_some();
    let manifest =
        if is_unique { None } else { root.stat(&format!("{name}/{MANIFEST}")).ok().flatten() };
    let mut hasher = DefaultHasher::new();
    (name, manifest.map(|stamp| (stamp.inode, stamp.modified))).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
#[path = "tests/number.rs"]
mod tests;
