//! [`Store`]: a results root with all its runs.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
};

use super::{
    FindError, RecordError,
    birth::{self, Birth},
    database::{self, Database},
    layout::{Root, RunDir, RunId},
    manifest::Manifest,
    recorder::{Recorder, Written},
    run_entry::{RunEntry, Stamp},
};
use crate::model::RunStatus;

/// How many runs an error names.
const MAX_CANDIDATES: usize = 5;

/// A results root with all its runs.
pub struct Store {
    root: Root,
}

/// Which runs to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only those with one of these statuses; any, if there is none here.
    pub statuses: Vec<RunStatus>,
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
        if let Err(source) = fs_err::create_dir_all(root) {
            let path = root.to_owned();
            return Err(match root.symlink_metadata() {
                Ok(_) if !root.is_dir() => RecordError::RootIsFile { path },
                _ => RecordError::CreateRoot { path, source },
            });
        }
        let store = Self {
            root: Root::new(root),
        };
        store.check_writable()?;
        Ok(store)
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
        })
    }

    /// Gives birth to a run. `acks` is called on the recorder's thread, once for every commit, in order.
    pub fn begin(
        &self,
        birth: Birth,
        acks: impl Fn(Written) + Send + 'static,
    ) -> Result<Recorder, RecordError> {
        birth::give(&self.root, birth, acks)
    }

    /// Lists the runs that a filter asks for.
    pub fn runs(&self, filter: &Filter) -> Result<Runs, RecordError> {
        let mut list = self.listed()?;
        for run in &mut list.runs {
            run.ask_lock()?;
        }
        if !filter.statuses.is_empty() {
            list.runs
                .retain(|run| filter.statuses.contains(&run.status));
        }
        for run in &mut list.runs {
            run.fold_counts()?;
        }
        list.runs
            .sort_unstable_by(|one, other| other.id.cmp(&one.id));
        Ok(list)
    }

    /// Finds a run by its id, a unique part of it, the path of its directory, or `latest`.
    pub fn find(&self, run: &str) -> Result<RunEntry, FindError> {
        let path = Path::new(run);
        let is_path = run.contains('/') || run.starts_with('.');
        if is_path {
            return self.find_directory(path, run);
        }

        let names = self.names()?;
        let name = match self.pick(&names, run) {
            Err(FindError::Unknown { .. }) if path.is_dir() => {
                return self.find_directory(path, run);
            }
            picked => picked?,
        };
        Ok(RunEntry::read(&self.root.run(name))?)
    }

    /// Finds out now, and not in the middle of a birth.
    fn check_writable(&self) -> Result<(), RecordError> {
        fs_err::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.root.lock())
            .map(drop)
            .map_err(|source| RecordError::RootNotWritable {
                path: self.root.path().to_owned(),
                source,
            })
    }

    fn find_directory(&self, path: &Path, run: &str) -> Result<RunEntry, FindError> {
        let dir = RunDir::new(path);
        let is_run = Stamp::of(&dir).is_ok_and(|stamp| stamp.is_some());
        if !is_run {
            return Err(self.unknown(run, &self.names()?));
        }
        Ok(RunEntry::read(&dir)?)
    }

    /// Chooses among names that are sorted, newest first.
    fn pick<'a>(&self, names: &'a [String], run: &str) -> Result<&'a str, FindError> {
        if let Some(exact) = names.iter().find(|name| *name == run) {
            return Ok(exact);
        }
        if run == "latest" {
            return names
                .first()
                .map(String::as_str)
                .ok_or_else(|| self.unknown(run, names));
        }
        let matching: Vec<&String> = names.iter().filter(|name| name.contains(run)).collect();
        match matching[..] {
            [] => Err(self.unknown(run, names)),
            [name] => Ok(name),
            _ => Err(FindError::Ambiguous {
                run: run.to_owned(),
                candidates: matching.into_iter().take(MAX_CANDIDATES).cloned().collect(),
            }),
        }
    }

    fn unknown(&self, run: &str, names: &[String]) -> FindError {
        FindError::Unknown {
            run: run.to_owned(),
            root: self.root.path().to_owned(),
            candidates: names.iter().take(MAX_CANDIDATES).cloned().collect(),
        }
    }

    /// The names of all runs, newest first.
    fn names(&self) -> Result<Vec<String>, RecordError> {
        let mut names: Vec<String> = self.stamps()?.into_iter().map(|(name, _)| name).collect();
        names.sort_unstable_by(|one, other| other.cmp(one));
        Ok(names)
    }

    /// Every directory with a manifest, and the manifest's stamp.
    fn stamps(&self) -> Result<Vec<(String, Stamp)>, RecordError> {
        let failed = || RecordError::io("read the results root");
        let entries = match fs_err::read_dir(self.root.path()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed()(error)),
        };
        let mut stamps = Vec::new();
        for entry in entries {
            let Ok(name) = entry.map_err(failed())?.file_name().into_string() else {
                continue;
            };
            if let Some(stamp) = Stamp::of(&self.root.run(&name)).map_err(failed())? {
                stamps.push((name, stamp));
            }
        }
        Ok(stamps)
    }

    /// What the manifests say: from SQLite where they are unchanged, else from themselves.
    fn listed(&self) -> Result<Runs, RecordError> {
        let stamps = self.stamps()?;
        let mut database = self.database(&stamps);
        let mut known = self.known(&mut database);

        let mut list = Runs::default();
        let mut changed = Vec::new();
        for (name, stamp) in stamps {
            match known.remove(&RunId::of_directory(&name)) {
                Some((at, run)) if at == stamp => list.runs.push(run),
                _ => self.read_changed(&name, stamp, &mut list, &mut changed),
            }
        }

        let gone: Vec<RunId> = known.into_keys().collect();
        if let Some(database) = &mut database
            && (!changed.is_empty() || !gone.is_empty())
            && let Err(error) = database.project(&changed, &gone)
        {
            database::warn(&error);
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
        match Manifest::read(&dir.manifest()) {
            Ok(mut manifest) => {
                // A copied directory is a run of its own.
                name.clone_into(&mut manifest.run_id);
                list.runs.push(RunEntry::of(&dir, &manifest));
                changed.push((stamp, manifest));
            }
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
