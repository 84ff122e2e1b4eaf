//! [`Store`]: a results root with all its runs.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;

use super::{
    database::{self, Database},
    short::ShortIds,
};
use crate::{
    model::RunStatus,
    record::{
        disk::{
            layout::{Root, RunDir, RunId},
            lock::{self, Busy, Lock},
            modes,
        },
        error::{FindError, RecordError, Taken},
        format::manifest::Manifest,
        reading::run_entry::{self, RunEntry, Stamp},
        writing::{
            birth::{self, Birth, Place},
            recorder::{Recorder, Written},
        },
    },
};

/// How many runs an error names.
const MAX_CANDIDATES: usize = 5;
/// What file systems have in their own roots, where nobody but the administrator may look.
const NO_RUN: &str = "lost+found";

/// A results root with all its runs.
pub struct Store {
    pub(in crate::record) root: Root,
    /// Held if nobody else may work in this root, or to be taken once nobody does.
    alone: Option<Arc<Lock>>,
    is_to_be_alone: bool,
}

/// Which runs to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only those with one of these statuses; any, if there is none here.
    pub statuses: Vec<RunStatus>,
}

/// The manifests of a store, and what could not be read.
#[derive(Debug, Default)]
pub(in crate::record) struct Manifests {
    pub(in crate::record) manifests: Vec<Found>,
    pub(in crate::record) unreadable: Vec<(PathBuf, RecordError)>,
}

/// The entries of a results root.
#[derive(Debug, Default)]
pub(in crate::record) struct Stamps {
    /// The names of the directories with a manifest, and the manifests' stamps.
    pub(in crate::record) found: Vec<(String, Stamp)>,
    /// What cannot be looked into, or cannot be named.
    pub(in crate::record) odd: Vec<(PathBuf, RecordError)>,
}

/// A run's manifest, as it was found.
#[derive(Debug)]
pub(in crate::record) struct Found {
    pub(in crate::record) dir: RunDir,
    pub(in crate::record) stamp: Stamp,
    pub(in crate::record) manifest: Manifest,
}

/// The runs of a store, and what could not be read.
#[derive(Debug, Default)]
pub struct Runs {
    /// The runs, newest first.
    pub runs: Vec<RunEntry>,
    /// Directories that hold a run which cannot be read, and why.
    pub unreadable: Vec<(PathBuf, RecordError)>,
}

impl Store {
    /// Opens a results root for writing and creates it where it is missing.
    pub fn open(root: &Path) -> Result<Self, RecordError> {
        if let Err(source) = modes::create_directories(root) {
            let path = root.to_owned();
            return Err(match root.symlink_metadata() {
                Ok(_) if !root.is_dir() => RecordError::RootIsFile { path },
                _ => RecordError::CreateRoot { path, source },
            });
        }
        let store = Self {
            root: Root::new(root),
            alone: None,
            is_to_be_alone: false,
        };
        store.check_writable()?;
        Ok(store)
    }

    /// Opens the results root that a run directory belongs to, for writing.
    pub fn open_around(dir: &Path) -> Result<Self, RecordError> {
        Self::open(RunDir::real(dir).root().path())
    }

    /// Opens a results root for reading; one that is missing has no runs.
    pub fn existing(root: &Path) -> Result<Self, RecordError> {
        if root.exists() && !root.is_dir() {
            return Err(RecordError::RootIsFile {
                path: root.to_owned(),
            });
        }
        Ok(Self {
            root: Root::new(root),
            alone: None,
            is_to_be_alone: false,
        })
    }

    /// Opens the results root that a run directory belongs to, as [`Store::existing`] does.
    pub fn existing_around(dir: &Path) -> Result<Self, RecordError> {
        Self::existing(RunDir::real(dir).root().path())
    }

    /// Keeps every other session out of this root, for as long as this store and the runs that it begins or claims live.
    pub fn exclusive(&mut self, busy: Busy, now: Timestamp) -> Result<(), RecordError> {
        let lock = Lock::exclude(&self.root.lock(), busy, now)?;
        self.alone = Some(Arc::new(lock));
        Ok(())
    }

    /// Lets sessions begin in this store that are to be alone in its root, and have to wait for [`Store::try_alone`] before
    /// they do anything: until then they keep nobody out, and nobody keeps their runs from being born.
    pub fn be_alone_later(&mut self) -> Result<(), RecordError> {
        self.alone = Some(Arc::new(Lock::intended(&self.root.lock())?));
        self.is_to_be_alone = true;
        Ok(())
    }

    /// Tells whether sessions of this store have to wait for [`Store::try_alone`].
    pub fn is_to_be_alone(&self) -> bool {
        self.is_to_be_alone
    }

    /// Keeps every other session out from now on, as [`Store::exclusive`] does, unless one is there.
    pub fn try_alone(&self, now: Timestamp) -> Result<bool, RecordError> {
        self.alone
            .as_ref()
            .map_or(Ok(true), |lock| lock.try_alone(now))
    }

    /// The results root's directory.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Gives birth to a run. `acks` is called on the recorder's thread, once for every commit, in order; it must not block.
    pub fn begin(
        &self,
        birth: Birth,
        acks: impl Fn(Written) + Send + 'static,
    ) -> Result<Recorder, RecordError> {
        birth::give(&self.root, self.session_lock(&self.root)?, birth, acks)
    }

    /// Takes a directory of the caller's choice for a run, which may be there if nothing is in it; `None` if a run is in it.
    /// The run's id is the directory's name, and its root the directory's parent.
    pub fn reserve(&self, dir: &Path, now: Timestamp) -> Result<Option<Place>, RecordError> {
        let dir = RunDir::real(dir);
        birth::reserve(&dir, self.session_lock(&dir.root())?, now)
    }

    /// Gives birth to a run in a directory that was taken for it.
    pub fn begin_in(
        &self,
        place: Place,
        birth: Birth,
        acks: impl Fn(Written) + Send + 'static,
    ) -> Result<Recorder, RecordError> {
        birth::give_in(place, birth, acks)
    }

    /// Lists the runs that a filter asks for.
    pub fn runs(&self, filter: &Filter) -> Result<Runs, RecordError> {
        let mut list = self.listed()?;
        list.settle(RunEntry::ask_lock);
        if !filter.statuses.is_empty() {
            list.runs
                .retain(|run| filter.statuses.contains(&run.status));
        }
        list.settle(RunEntry::fold_counts);
        list.runs.sort_unstable_by(RunEntry::newest_first);
        Ok(list)
    }

    /// Finds a run by its id, a unique part of it, the path of its directory, or `latest`.
    pub fn find(&self, run: &str) -> Result<RunEntry, FindError> {
        Ok(RunEntry::read(&RunDir::new(&self.locate(run)?))?)
    }

    /// Finds the directory of a run as [`Store::find`] does, and does not read what is in it.
    pub fn locate(&self, run: &str) -> Result<PathBuf, FindError> {
        let path = Path::new(run);
        let is_path = run.contains('/') || run.starts_with('.');
        if is_path {
            return self.locate_directory(path, run);
        }

        let name = match self.pick(run) {
            Err(FindError::Unknown { .. }) if path.is_dir() => {
                return self.locate_directory(path, run);
            }
            picked => picked?,
        };
        let dir = RunDir::real(self.root.run(&name).path());
        Ok(dir.path().to_owned())
    }

    /// What to call the runs of this root, so that [`Store::find`] finds them.
    pub fn short_ids(&self) -> ShortIds {
        // Whatever lies there: a name that is no run's makes an id longer than it had to be, and nothing worse.
        let entries = fs_err::read_dir(self.root.path()).into_iter().flatten();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        ShortIds::new(names.collect())
    }

    /// Reads every manifest, whatever SQLite knows.
    pub(in crate::record) fn manifests(&self) -> Result<Manifests, RecordError> {
        let stamps = self.stamps()?;
        let mut all = Manifests {
            unreadable: stamps.odd,
            ..Manifests::default()
        };
        for (name, stamp) in stamps.found {
            let dir = self.root.run(&name);
            match read_as(&dir, name) {
                Ok(manifest) => all.manifests.push(Found {
                    dir,
                    stamp,
                    manifest,
                }),
                Err(_) if run_entry::is_gone(&dir) => {}
                Err(error) => all.unreadable.push((dir.path().to_owned(), error)),
            }
        }
        Ok(all)
    }

    /// The lock that every session in a root holds.
    pub(in crate::record) fn session_lock(&self, root: &Root) -> Result<Arc<Lock>, RecordError> {
        if let Some(lock) = &self.alone
            && is_same(root.path(), self.root.path())
        {
            return Ok(Arc::clone(lock));
        }
        match Lock::share(&root.lock()) {
            Err(RecordError::Held { .. }) => Err(self.taken(root).into()),
            lock => lock.map(Arc::new),
        }
    }

    /// Says who is alone in a root: the run, where it can be found.
    fn taken(&self, root: &Root) -> Taken {
        let holder = lock::holder(&root.lock()).unwrap_or_default();
        let filter = Filter {
            statuses: vec![RunStatus::Running],
        };
        let around = Self::existing(root.path());
        let runs = around.and_then(|store| store.runs(&filter));
        let mut runs = runs.unwrap_or_default().runs.into_iter();
        let is_its = |run: &RunEntry| {
            let owner = lock::holder(&RunDir::new(&run.dir).lock());
            owner.is_some_and(|owner| (owner.pid, owner.host) == (holder.pid, holder.host.clone()))
        };
        let run = runs.find(is_its);
        let who = match &run {
            Some(run) => format!("run `{}`", run.id),
            None => "another process".to_owned(),
        };
        let known = holder.to_string();
        let is_own = is_same(root.path(), self.root.path());
        Taken {
            root: if is_own { self.root() } else { root.path() }.to_owned(),
            by: match known.is_empty() {
                true => who,
                false => format!("{who} ({known})"),
            },
            run: run.map(|run| run.dir),
        }
    }

    /// Finds out now, and not in the middle of a birth.
    fn check_writable(&self) -> Result<(), RecordError> {
        let mut options = fs_err::OpenOptions::new();
        let path = self.root.lock();
        modes::set(options.append(true).create(true), &path)
            .open(&path)
            .map(drop)
            .map_err(|source| RecordError::RootNotWritable {
                path: self.root.path().to_owned(),
                source,
            })
    }

    fn locate_directory(&self, path: &Path, run: &str) -> Result<PathBuf, FindError> {
        let dir = RunDir::real(path);
        let is_run = Stamp::of(&dir).is_ok_and(|stamp| stamp.is_some());
        if !is_run {
            return Err(self.unknown(run, &self.names()?));
        }
        Ok(dir.path().to_owned())
    }

    /// Chooses among the names of all runs.
    fn pick(&self, run: &str) -> Result<String, FindError> {
        // A name that is given in full needs no look at any other run.
        if matches!(Stamp::of(&self.root.run(run)), Ok(Some(_))) {
            return Ok(run.to_owned());
        }
        let names = self.names()?;
        if run == "latest" {
            let latest = names.first().cloned();
            return latest.ok_or_else(|| self.unknown(run, &names));
        }
        let matching: Vec<&String> = names.iter().filter(|name| name.contains(run)).collect();
        match matching[..] {
            [] => Err(self.unknown(run, &names)),
            [name] => Ok(name.clone()),
            _ => Err(FindError::Ambiguous {
                run: run.to_owned(),
                candidates: short(matching.into_iter(), &names),
            }),
        }
    }

    fn unknown(&self, run: &str, names: &[String]) -> FindError {
        FindError::Unknown {
            run: run.to_owned(),
            root: self.root.path().to_owned(),
            candidates: short(names.iter(), names),
        }
    }

    /// The names of all runs, newest first; those that cannot be read, whose age nobody knows, come last.
    fn names(&self) -> Result<Vec<String>, RecordError> {
        let Runs {
            mut runs,
            unreadable,
        } = self.listed()?;
        runs.sort_unstable_by(RunEntry::newest_first);
        let readable = runs.into_iter().map(|run| run.id.to_string());
        let unreadable = unreadable
            .iter()
            .filter_map(|(dir, _)| dir.file_name()?.to_str());
        Ok(readable.chain(unreadable.map(str::to_owned)).collect())
    }

    /// Every directory with a manifest, and the manifest's stamp.
    pub(in crate::record) fn stamps(&self) -> Result<Stamps, RecordError> {
        let failed = || RecordError::io("read the results root");
        let entries = match fs_err::read_dir(self.root.path()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stamps::default()),
            Err(error) => return Err(failed()(error)),
        };
        let mut stamps = Stamps::default();
        for entry in entries {
            let entry = entry.map_err(failed())?;
            if entry.file_name() == NO_RUN {
                continue;
            }
            let path = entry.path();
            match (
                Stamp::of(&RunDir::new(&path)),
                entry.file_name().into_string(),
            ) {
                (Ok(None), _) => {}
                (Ok(Some(stamp)), Ok(name)) => stamps.found.push((name, stamp)),
                (Ok(Some(_)), Err(_)) => {
                    let problem = io::Error::other("its name is not valid UTF-8");
                    stamps.odd.push((path, RecordError::Odd(problem)));
                }
                (Err(error), _) => stamps.odd.push((path, RecordError::Odd(error))),
            }
        }
        Ok(stamps)
    }

    /// What the manifests say: from SQLite where they are unchanged, else from themselves.
    pub(in crate::record) fn listed(&self) -> Result<Runs, RecordError> {
        let stamps = self.stamps()?;
        let mut database = self.database(&stamps.found);
        let mut known = self.known(&mut database);

        let mut list = Runs {
            runs: Vec::with_capacity(stamps.found.len()),
            unreadable: stamps.odd,
        };
        let mut changed = Vec::new();
        for (name, stamp) in stamps.found {
            match known.remove(&RunId::of_directory(&name)) {
                Some((at, run)) if at == stamp => list.runs.push(run),
                _ => self.read_changed(&name, stamp, &mut list, &mut changed),
            }
        }

        let gone: Vec<RunId> = known.into_keys().collect();
        if let Some(database) = &mut database
            && (!changed.is_empty() || !gone.is_empty())
        {
            match database.project(&changed, &gone) {
                Ok(refused) => database::warn_refused(&refused),
                Err(error) => database::warn(&error),
            }
        }
        Ok(list)
    }

    fn read_changed(
        &self,
        name: &str,
        stamp: Stamp,
        list: &mut Runs,
        changed: &mut Vec<(Stamp, Manifest)>,
    ) {
        let dir = self.root.run(name);
        match read_as(&dir, name.to_owned()) {
            Ok(manifest) => {
                list.runs.push(RunEntry::of(&dir, &manifest));
                changed.push((stamp, manifest));
            }
            Err(_) if run_entry::is_gone(&dir) => {}
            Err(error) => list.unreadable.push((dir.path().to_owned(), error)),
        }
    }

    /// Opens `runner.db`, unless there is nothing that it could be asked about.
    fn database(&self, stamps: &[(String, Stamp)]) -> Option<Database> {
        if stamps.is_empty() {
            return None;
        }
        Database::open(&self.root.database())
            .inspect_err(database::warn)
            .ok()
    }

    fn known(&self, database: &mut Option<Database>) -> HashMap<RunId, (Stamp, RunEntry)> {
        let known = database.as_ref().map(|open| open.known(self.root.path()));
        match known {
            Some(Ok(known)) => known,
            Some(Err(error)) => {
                database::warn(&error);
                *database = None;
                HashMap::new()
            }
            None => HashMap::new(),
        }
    }
}

/// The first of some names, as they can be typed.
fn short<'a>(some: impl Iterator<Item = &'a String>, names: &[String]) -> Vec<String> {
    let short = ShortIds::new(names.to_vec());
    some.take(MAX_CANDIDATES)
        .map(|name| short.of_name(name).to_owned())
        .collect()
}

/// Reads the manifest of a directory; a copied one is a run of its own.
fn read_as(dir: &RunDir, name: String) -> Result<Manifest, RecordError> {
    let mut manifest = Manifest::read(&dir.manifest())?;
    manifest.run_id = name;
    Ok(manifest)
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (fs_err::canonicalize(one), fs_err::canonicalize(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

impl Runs {
    /// Asks more of every run; one that cannot answer does not keep the others from being listed.
    fn settle(&mut self, ask: fn(&mut RunEntry) -> Result<(), RecordError>) {
        let Self { runs, unreadable } = self;
        runs.retain_mut(|run| match ask(run) {
            Ok(()) => true,
            Err(_) if run_entry::is_gone(&RunDir::new(&run.dir)) => false,
            Err(error) => {
                unreadable.push((run.dir.clone(), error));
                false
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Filter, Store};
    use crate::{
        model::{Counts, Outcome, Reason, RunStatus, Verdict},
        record::{
            FindError, RecordError, RunEntry,
            testing::{birth, end, entry, finished_run, ignore},
        },
    };

    fn list(root: &Path) -> Vec<RunEntry> {
        let list = Store::existing(root)
            .unwrap()
            .runs(&Filter::default())
            .unwrap();
        assert!(list.unreadable.is_empty(), "{:?}", list.unreadable);
        list.runs
    }

    #[test]
    fn a_root_that_cannot_be_used_is_named_with_its_reason() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs_err::write(&file, "").unwrap();
        let error = |path: &Path| Store::open(path).err().unwrap();

        assert!(matches!(error(&file), RecordError::RootIsFile { .. }));
        assert!(matches!(
            error(&file.join("results")),
            RecordError::CreateRoot { .. }
        ));
        assert!(matches!(
            error(Path::new("/proc/results")),
            RecordError::CreateRoot { .. }
        ));
        assert!(matches!(
            error(Path::new("/proc")),
            RecordError::RootNotWritable { .. }
        ));
        assert!(matches!(
            Store::existing(&file).err().unwrap(),
            RecordError::RootIsFile { .. }
        ));
        assert_eq!(list(&directory.path().join("missing")), []);
    }

    #[test]
    fn a_live_run_is_running_and_counts_its_rows() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let recorder = store.begin(birth(3), ignore).unwrap();
        recorder.record(vec![
            entry(0, 1, Outcome::Passed),
            entry(1, 1, Outcome::Failed),
        ]);
        let dir = recorder.run_dir().to_owned();

        let runs = list(directory.path());
        assert_eq!(runs[0].status, RunStatus::Running);
        assert!(!runs[0].is_not_yet_swept);

        recorder.finish(&end(RunStatus::Completed, 3)).unwrap();
        let run = store.find("latest").unwrap();
        assert_eq!(
            (run.status, run.verdict),
            (RunStatus::Completed, Verdict::Passed)
        );
        assert_eq!(run.dir, dir);
        assert_eq!(list(directory.path()), [run]);
    }

    #[test]
    fn a_run_whose_owner_is_gone_is_shown_as_crashed_with_what_it_wrote() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let recorder = store.begin(birth(3), ignore).unwrap();
        recorder.record(vec![
            entry(0, 1, Outcome::Passed),
            entry(1, 1, Outcome::Failed),
        ]);
        let manifest = recorder.run_dir().join("benchmark.json");
        drop(recorder);

        let before = fs_err::read(&manifest).unwrap();
        let run = &list(directory.path())[0];
        assert_eq!(run.status, RunStatus::Incomplete);
        assert_eq!(run.reason, Some(Reason::Crashed));
        assert!(run.is_not_yet_swept);
        let counts = Counts {
            planned: 3,
            passed: 1,
            failed: 1,
            ..Counts::default()
        };
        assert_eq!(run.counts, counts);
        assert_eq!(fs_err::read(&manifest).unwrap(), before);

        let filter = Filter {
            statuses: vec![RunStatus::Running],
        };
        assert!(store.runs(&filter).unwrap().runs.is_empty());
        let filter = Filter {
            statuses: vec![RunStatus::Incomplete],
        };
        assert_eq!(store.runs(&filter).unwrap().runs.len(), 1);
    }

    #[test]
    fn lists_answer_the_same_whatever_happens_to_the_database() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("runner.db");
        for _ in 0..3 {
            finished_run(directory.path());
        }
        let expected = list(directory.path());
        assert_eq!(expected.len(), 3);

        for damage in [b"".as_slice(), b"not a database", &[0; 5000]] {
            for suffix in ["", "-wal", "-shm"] {
                _ = fs_err::remove_file(format!("{}{suffix}", database.display()));
            }
            fs_err::write(&database, damage).unwrap();
            assert_eq!(list(directory.path()), expected);
            let finished = finished_run(directory.path());
            assert_eq!(list(directory.path()).len(), expected.len() + 1);
            fs_err::remove_dir_all(&finished.run_dir).unwrap();
            assert_eq!(list(directory.path()), expected);
        }

        fs_err::remove_file(&database).unwrap();
        fs_err::create_dir(&database).unwrap();
        assert_eq!(list(directory.path()), expected);
        finished_run(directory.path());
        assert_eq!(list(directory.path()).len(), 4);
    }

    #[test]
    fn a_damaged_manifest_is_reported_and_hides_no_other_run() {
        let directory = tempfile::tempdir().unwrap();
        let first = finished_run(directory.path());
        let second = finished_run(directory.path());
        fs_err::write(first.run_dir.join("benchmark.json"), "{").unwrap();

        let list = Store::existing(directory.path())
            .unwrap()
            .runs(&Filter::default())
            .unwrap();
        assert_eq!(list.runs.len(), 1);
        assert_eq!(list.runs[0].dir, second.run_dir);
        assert_eq!(list.unreadable.len(), 1);
        assert_eq!(list.unreadable[0].0, first.run_dir);
    }

    #[test]
    fn a_run_is_found_by_id_part_path_and_latest() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let unknown = store.find("latest").unwrap_err();
        assert!(matches!(unknown, FindError::Unknown { .. }), "{unknown}");

        for _ in 0..2 {
            finished_run(directory.path());
        }
        let runs = list(directory.path());
        let [newest, oldest] = &runs[..] else {
            panic!("two runs");
        };
        let find = |run: &str| store.find(run).unwrap();
        assert_eq!(&find("latest"), newest);
        assert_eq!(&find(newest.id.as_str()), newest);
        assert_eq!(&find(&oldest.id.as_str()[15..]), oldest);
        assert_eq!(&find(oldest.dir.to_str().unwrap()), oldest);

        let ambiguous = store.find("2026-").unwrap_err().to_string();
        assert!(ambiguous.contains(&newest.id.as_str()[24..]), "{ambiguous}");
        assert!(ambiguous.contains(&oldest.id.as_str()[24..]), "{ambiguous}");
        let unknown = store.find("nonsense").unwrap_err().to_string();
        assert!(unknown.contains(&newest.id.as_str()[24..]), "{unknown}");
        let unknown = store.find("./nonsense").unwrap_err();
        assert!(matches!(unknown, FindError::Unknown { .. }), "{unknown}");
    }
}
