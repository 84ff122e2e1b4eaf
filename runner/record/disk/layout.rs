//! The names of everything on disk.

use std::{
    collections::BTreeSet,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;

use crate::model::{Digest, StopMode};

/// How the names begin of what is there of a group while its runs follow each other.
const GROUP: &str = ".group-";
/// How the name of a request to end a group ends.
const ENDING: &str = ".end";
/// What people call the newest run.
pub(in crate::record) const LATEST: &str = "latest";
/// What file systems have in their own roots, where nobody but the administrator may look.
pub(in crate::record) const NO_RUN: &str = "lost+found";

/// The id of a run: the name of its directory, `YYYY-MM-DD_HH-MM-SS-mmm-<8 hex>` in UTC, so that names sort by time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(Arc<str>);

impl RunId {
    /// Names a run that begins at `now`; `suffix` tells it from others of the same instant.
    pub(in crate::record) fn new(now: Timestamp, suffix: u32) -> Self {
        let time = now.strftime("%Y-%m-%d_%H-%M-%S-%3f");
        Self(format!("{time}-{suffix:08x}").into())
    }

    /// Takes the name of a directory that is known to hold a run.
    pub(crate) fn of_directory(name: &str) -> Self {
        Self(name.into())
    }

    /// Tells whether a directory is called as the runner itself calls new runs.
    pub(in crate::record) fn is_generated(name: &str) -> bool {
        const SHAPE: &str = "dddd-dd-dd_dd-dd-dd-ddd-xxxxxxxx";
        name.len() == SHAPE.len()
            && name
                .bytes()
                .zip(SHAPE.bytes())
                .all(|(byte, shape)| match shape {
                    b'd' => byte.is_ascii_digit(),
                    b'x' => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
                    _ => byte == shape,
                })
    }

    /// The id as shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The group that it is a run of, by its name: `GROUP.PLACE-NAME`, where the group is called as the runner calls new runs.
    pub fn group(&self) -> Option<&str> {
        let (group, rest) = self.0.split_once('.')?;
        let (place, _) = rest.split_once('-')?;
        (Self::is_generated(group) && place.parse::<u32>().is_ok()).then_some(group)
    }

    /// Its place in its group, from 1; 0 without one.
    pub fn place_in_group(&self) -> u32 {
        let rest = self.group().map(|group| &self.0[group.len() + 1..]);
        let place = rest.and_then(|rest| rest.split('-').next());
        place.and_then(|place| place.parse().ok()).unwrap_or(0)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The names below a results root.
#[derive(Clone, Debug)]
pub(in crate::record) struct Root(PathBuf);

impl Root {
    pub(in crate::record) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(in crate::record) fn path(&self) -> &Path {
        &self.0
    }

    pub(in crate::record) fn lock(&self) -> PathBuf {
        self.0.join(".lock")
    }

    /// The lock of whoever looks at what others work with and says what it works with itself.
    pub(in crate::record) fn shares_lock(&self) -> PathBuf {
        self.0.join(".shares")
    }

    pub(in crate::record) fn database(&self) -> PathBuf {
        self.0.join("runner.db")
    }

    pub(in crate::record) fn content(&self) -> PathBuf {
        self.0.join("store")
    }

    pub(in crate::record) fn queue(&self) -> QueueDir {
        QueueDir(self.0.join("queue"))
    }

    pub(in crate::record) fn group(&self, id: &str) -> GroupFiles {
        GroupFiles(self.0.join(format!("{GROUP}{id}")))
    }

    /// The groups of which something is there beside their runs.
    pub(in crate::record) fn groups(&self) -> BTreeSet<String> {
        let entries = fs_err::read_dir(&self.0).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let groups = names.filter_map(|name| {
            let id = name.strip_prefix(GROUP)?;
            Some(id.strip_suffix(ENDING).unwrap_or(id).to_owned())
        });
        groups.collect()
    }

    pub(in crate::record) fn run(&self, id: &str) -> RunDir {
        RunDir::new(&self.0.join(id))
    }
}

/// The names of what is there of a group while its runs follow each other.
#[derive(Clone, Debug)]
pub(in crate::record) struct GroupFiles(PathBuf);

impl GroupFiles {
    /// The lock of the process that begins them.
    pub(in crate::record) fn lock(&self) -> PathBuf {
        self.0.clone()
    }

    /// Where others ask that none begins any more.
    pub(in crate::record) fn request(&self) -> PathBuf {
        let mut name = self.0.clone().into_os_string();
        name.push(ENDING);
        name.into()
    }
}

/// The names inside the queue of a results root.
#[derive(Clone, Debug)]
pub(in crate::record) struct QueueDir(PathBuf);

impl QueueDir {
    /// Where requests wait.
    pub(in crate::record) fn path(&self) -> &Path {
        &self.0
    }

    pub(in crate::record) fn lock(&self) -> PathBuf {
        self.0.join(".lock")
    }

    /// Where those are that are being started.
    pub(in crate::record) fn taken(&self) -> PathBuf {
        self.0.join("taken")
    }

    /// Where those are that could not be started.
    pub(in crate::record) fn refused(&self) -> PathBuf {
        self.0.join("refused")
    }

    /// The file of a request in one of these.
    pub(in crate::record) fn file(folder: &Path, id: &str) -> PathBuf {
        folder.join(format!("{id}.json"))
    }
}

/// The file with the settings of a results root.
pub fn settings_file(root: &Path) -> PathBuf {
    root.join("runner.toml")
}

/// What the names of files begin with that have what is said in attempts that have not ended.
const LIVE_PREFIX: &str = "live-";

/// How the names of files of rows begin and end that come behind the first one.
const INDEX_PREFIX: &str = "index-";
const INDEX_END: &str = ".jsonl";

fn row_file_number(name: &str) -> Option<u32> {
    let digits = name.strip_prefix(INDEX_PREFIX)?.strip_suffix(INDEX_END)?;
    let number = digits.parse().ok().filter(|number| *number > 1)?;
    (digits == u32::to_string(&number)).then_some(number)
}

/// The names inside a run directory.
#[derive(Clone, Debug)]
pub(in crate::record) struct RunDir(PathBuf);

impl RunDir {
    /// The results root that it belongs to, which is its parent.
    pub(in crate::record) fn root(&self) -> Root {
        match (self.0.file_name(), self.0.parent()) {
            (None, _) => Root(self.0.join("..")),
            (Some(_), Some(parent)) if parent != Path::new("") => Root::new(parent),
            (Some(_), _) => Root::new(Path::new(".")),
        }
    }

    pub(in crate::record) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The directory itself where a path leads to it by a symbolic link, or by nothing but dots: its name and its root are
    /// not the link's. One that is not there is where the path says.
    pub(in crate::record) fn real(path: &Path) -> Self {
        // Without what follows a name and changes nothing, as in `run/.`.
        let path: PathBuf = path.components().collect();
        if path.file_name().is_none() || path.is_symlink() {
            return Self(fs_err::canonicalize(&path).unwrap_or(path));
        }
        Self(path)
    }

    pub(in crate::record) fn path(&self) -> &Path {
        &self.0
    }

    pub(in crate::record) fn manifest(&self) -> PathBuf {
        self.0.join("benchmark.json")
    }

    /// What the manifest is called once the run is being deleted: whoever dies over it has left nothing that anybody wants.
    pub(in crate::record) fn deleted(&self) -> PathBuf {
        self.0.join("deleted.json")
    }

    /// Tells whether somebody has begun to delete the run that was here.
    pub(in crate::record) fn is_being_deleted(&self) -> bool {
        self.deleted().is_file()
    }

    pub(in crate::record) fn scenario(&self) -> PathBuf {
        self.0.join("scenario.toml")
    }

    /// The first file of rows.
    pub(in crate::record) fn index(&self) -> PathBuf {
        self.0.join("index.jsonl")
    }

    /// The file of rows with this number, from 1.
    pub(in crate::record) fn row_file(&self, number: u32) -> PathBuf {
        match number {
            0 | 1 => self.index(),
            _ => self.0.join(format!("{INDEX_PREFIX}{number}{INDEX_END}")),
        }
    }

    /// The number of the last file of rows.
    ///
    /// # Errors
    ///
    /// Fails if one before it is missing.
    pub(in crate::record) fn last_row_file(&self) -> io::Result<u32> {
        let mut numbers = BTreeSet::new();
        for entry in fs_err::read_dir(&self.0)? {
            let name = entry?.file_name();
            numbers.extend(name.to_str().and_then(row_file_number));
        }
        let last = numbers.last().copied().unwrap_or(1);
        match (2..last).find(|number| !numbers.contains(number)) {
            None => Ok(last),
            Some(missing) => {
                let (missing, last) = (self.row_file(missing), self.row_file(last));
                let problem = format!(
                    "`{}` is missing, and `{}` is there",
                    missing.display(),
                    last.display()
                );
                Err(io::Error::new(io::ErrorKind::NotFound, problem))
            }
        }
    }

    /// What a file of rows was when it was full.
    pub(in crate::record) fn row_seal(&self, number: u32) -> PathBuf {
        self.0.join(format!("index.seal-{number}"))
    }

    pub(in crate::record) fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    pub(in crate::record) fn log(&self) -> PathBuf {
        self.0.join("runner.log")
    }

    /// Bytes that a repair after this session moved aside.
    pub(in crate::record) fn torn(&self, session: u32) -> PathBuf {
        self.0.join(format!("index.torn-{session}"))
    }

    pub(in crate::record) fn inflight(&self) -> PathBuf {
        self.0.join("inflight")
    }

    pub(in crate::record) fn request(&self, mode: StopMode) -> PathBuf {
        self.0.join(format!("request-{}.json", mode.as_str()))
    }

    pub(in crate::record) fn pauses(&self) -> PathBuf {
        self.0.join("pauses.json")
    }

    /// Where it is asked that a run pauses, or goes on.
    pub(in crate::record) fn pause_request(&self) -> PathBuf {
        self.0.join("request-pause.json")
    }

    /// What was done about telling others of the run's end.
    pub(in crate::record) fn notifications(&self) -> PathBuf {
        self.0.join("notifications.jsonl")
    }

    pub(in crate::record) fn last_words(&self) -> PathBuf {
        self.0.join("last-words.json")
    }

    /// Where what is said in the attempts of a session goes.
    pub(in crate::record) fn logs(&self, session: u32, file: u32) -> PathBuf {
        self.0.join(format!("logs-{session}-{file}.jsonl"))
    }

    /// Where what an attempt says is while it has not ended.
    pub(in crate::record) fn live(&self, ordinal: u64, attempt: u32) -> PathBuf {
        self.0
            .join(format!("{LIVE_PREFIX}{ordinal}-{attempt}.jsonl"))
    }

    /// All such files.
    pub(in crate::record) fn all_live(&self) -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs_err::read_dir(&self.0)? {
            let entry = entry?;
            if entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(LIVE_PREFIX.as_bytes())
            {
                paths.push(entry.path());
            }
        }
        Ok(paths)
    }

    /// Where the files of attempts are, with the trial's place in the plan and the attempt's number.
    pub(in crate::record) fn all_artifacts(&self) -> io::Result<Vec<(u64, u32, PathBuf)>> {
        let mut folders = Vec::new();
        let shelves = match fs_err::read_dir(self.0.join("artifacts")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(folders),
            shelves => shelves?,
        };
        // Whoever has put a link there means files of somebody else.
        let is_folder =
            |entry: &fs_err::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        for shelf in shelves {
            let shelf = shelf?;
            if !is_folder(&shelf) {
                continue;
            }
            for folder in fs_err::read_dir(shelf.path())? {
                let folder = folder?;
                let name = folder.file_name();
                let numbers = name.to_str().and_then(|name| name.split_once('-'));
                let numbers = numbers.and_then(|(ordinal, attempt)| {
                    Some((ordinal.parse().ok()?, attempt.parse().ok()?))
                });
                if let Some((ordinal, attempt)) = numbers.filter(|_| is_folder(&folder)) {
                    folders.push((ordinal, attempt, folder.path()));
                }
            }
        }
        Ok(folders)
    }

    /// Where the files of one attempt go; at most a thousand trials share a parent.
    pub(in crate::record) fn artifacts(&self, ordinal: u64, attempt: u32) -> PathBuf {
        self.0
            .join("artifacts")
            .join((ordinal / 1000).to_string())
            .join(format!("{ordinal}-{attempt}"))
    }

    /// The id of a run in it, which is its name; `None` if that is no text, or stands for something else in a results root.
    pub(in crate::record) fn id(&self) -> Option<RunId> {
        let name = self.path().file_name()?.to_str()?;
        let kept = kept_in_root(self.root().path());
        let is_taken = kept.iter().any(|(_, path)| path.file_name() == self.path().file_name())
            // The database has files beside it.
            || name.starts_with("runner.")
            || [LATEST, NO_RUN].contains(&name);
        (!is_taken && !name.contains(char::is_control)).then(|| RunId::of_directory(name))
    }
}

/// Tells whether a directory has what a run has that exists, or that is being deleted.
pub fn is_run(directory: &Path) -> bool {
    let dir = RunDir::new(directory);
    dir.index().is_file() && (dir.manifest().is_file() || dir.deleted().is_file())
}

/// What is kept in a results root beside its runs, with what it is.
pub fn kept_in_root(root: &Path) -> [(&'static str, PathBuf); 6] {
    let settings = settings_file(root);
    let root = Root::new(root);
    [
        ("the content store", root.content()),
        ("the list of runs", root.database()),
        ("the lock of the results root", root.lock()),
        ("the lock of what runs share", root.shares_lock()),
        ("the settings of the results root", settings),
        ("the queue", root.queue().0),
    ]
}

/// The lock of a content store: whoever creates a run holds it shared.
pub(in crate::record) fn content_lock(store: &Path) -> PathBuf {
    store.join(".lock")
}

/// Where a content store keeps the bytes with this digest.
pub(in crate::record) fn content_entry(store: &Path, digest: Digest) -> PathBuf {
    let name = digest.to_string();
    store.join(&name[..2]).join(name)
}

/// Finds what is in a content store.
#[derive(Clone, Debug)]
pub struct ContentPaths(PathBuf);

impl ContentPaths {
    pub(in crate::record) fn new(store: PathBuf) -> Self {
        Self(store)
    }

    /// Where the bytes with this digest are.
    pub fn path(&self, digest: Digest) -> PathBuf {
        content_entry(&self.0, digest)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{RunDir, RunId};

    #[test]
    fn a_run_is_named_by_its_instant_in_utc() {
        let now = "2026-11-20T04:39:12.123987Z".parse().unwrap();
        let id = RunId::new(now, 0x7f3a_9c1e);
        assert_eq!(id.as_str(), "2026-11-20_04-39-12-123-7f3a9c1e");
        assert!(RunId::is_generated(id.as_str()));
        for other in ["2026-11-20", "2026-11-20_04-39-12-123-7F3A9C1E", "store"] {
            assert!(!RunId::is_generated(other), "{other}");
        }
    }

    #[test]
    fn a_file_of_rows_that_is_missing_among_others_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let dir = RunDir::new(directory.path());
        for name in [
            "index-02.jsonl",
            "index-1.jsonl",
            "index-x.jsonl",
            "index.jsonl",
        ] {
            fs_err::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(dir.last_row_file().unwrap(), 1);
        for number in [2, 3, 4] {
            fs_err::write(dir.row_file(number), "").unwrap();
            assert_eq!(dir.last_row_file().unwrap(), number);
        }
        fs_err::remove_file(dir.row_file(3)).unwrap();
        let problem = dir.last_row_file().unwrap_err().to_string();
        assert!(problem.contains("index-3.jsonl` is missing"), "{problem}");
    }

    #[test]
    fn a_run_belongs_to_the_root_around_it_however_it_is_named() {
        for (run, root) in [
            ("results/run", "results"),
            ("/run", "/"),
            ("run", "."),
            (".", "./.."),
            ("..", "../.."),
        ] {
            assert_eq!(RunDir::new(Path::new(run)).root().path(), Path::new(root));
        }
    }
}
