//! Finding a run by what a person calls it.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{
    list::{RunFilter, Runs},
    root::Store,
    short::ShortIds,
};
use crate::record::{
    disk::{
        layout::{LATEST, RunDir},
        stamp::Stamp,
    },
    error::RecordError,
    format::manifest::Manifest,
    reading::run_entry::RunEntry,
};

/// How many runs an error names.
const MAX_CANDIDATES: usize = 5;

/// Why a run could not be found.
#[derive(Debug, Error)]
pub enum FindError {
    /// No run has this name.
    #[error("no run `{run}` in `{root}`{}", newest(candidates))]
    Unknown {
        /// What was asked for.
        run: String,
        /// Where it was looked for.
        root: PathBuf,
        /// The newest runs there are, newest first.
        candidates: Vec<String>,
    },
    /// Several runs have this in their name.
    #[error("`{run}` may be any of several runs{}", listed(":", candidates))]
    Ambiguous {
        /// What was asked for.
        run: String,
        /// The runs it may be, newest first.
        candidates: Vec<String>,
    },
    /// The run was found and cannot be read.
    #[error(transparent)]
    Unreadable(#[from] RecordError),
}

impl Store {
    /// Finds a run by its id, a unique part of it, the path of its directory, or `latest`.
    pub fn find(&self, run: &str) -> Result<RunEntry, FindError> {
        Ok(RunEntry::read(&RunDir::new(&self.locate(run)?))?)
    }

    /// Finds a run as [`Store::find`] does, for whoever claims it: what has become of it since its manifest was written, its
    /// rows tell that one.
    pub(crate) fn find_to_claim(&self, run: &str) -> Result<RunEntry, FindError> {
        let dir = RunDir::new(&self.locate(run)?);
        Ok(RunEntry::of(&dir, &Manifest::read(&dir.manifest())?))
    }

    /// Finds the runs of a group by its id or a unique part of it, in the group's order; `None` if the name means no group,
    /// or a run beside it.
    ///
    /// # Errors
    ///
    /// Fails if the results root cannot be read.
    pub fn find_group(&self, name: &str) -> Result<Option<Vec<RunEntry>>, RecordError> {
        let runs = self.runs(&RunFilter::default())?.runs;
        let mut members: Vec<RunEntry> = runs
            .into_iter()
            .filter(|run| means(name, run.id.as_str()))
            .collect();
        let group = members.first().and_then(|run| run.id.group());
        let Some(group) = group.filter(|group| group.contains(name)) else {
            return Ok(None);
        };
        if members.iter().any(|run| run.id.group() != Some(group)) {
            return Ok(None);
        }
        members.sort_by_key(|run| run.id.place_in_group());
        Ok(Some(members))
    }

    /// Finds the directory of a run as [`Store::find`] does, and does not read what is in it.
    pub(crate) fn locate(&self, run: &str) -> Result<PathBuf, FindError> {
        let path = Path::new(run);
        let is_path = run.contains('/') || [".", ".."].contains(&run);
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
    pub(crate) fn short_ids(&self) -> ShortIds {
        // Whatever lies there: a name that is no run's makes an id longer than it had to be, and nothing worse.
        let entries = fs_err::read_dir(self.root.path()).into_iter().flatten();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        ShortIds::new(names.collect())
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
        if run == LATEST {
            let latest = names.first().cloned();
            return latest.ok_or_else(|| self.unknown(run, &names));
        }
        let matching: Vec<&String> = names.iter().filter(|name| means(run, name)).collect();
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
}

/// The first of some names, as they can be typed.
fn short<'a>(some: impl Iterator<Item = &'a String>, names: &[String]) -> Vec<String> {
    let short = ShortIds::new(names.to_vec());
    some.take(MAX_CANDIDATES)
        .map(|name| short.of_name(name).to_owned())
        .collect()
}

fn newest(candidates: &[String]) -> String {
    match candidates {
        [] => ": there are no runs".into(),
        _ => listed("; the newest are", candidates),
    }
}

fn listed(introduction: &str, candidates: &[String]) -> String {
    let names: Vec<String> = candidates.iter().map(|name| format!("`{name}`")).collect();
    format!("{introduction} {}", names.join(", "))
}

/// Tells whether a part of an id means this one. An empty one is mostly a variable of a script that was not set, and means none.
fn means(part: &str, id: &str) -> bool {
    !part.is_empty() && id.contains(part)
}

#[cfg(test)]
mod tests {
    use super::Store;
    use crate::record::{
        FindError,
        testing::{finished_run, list},
    };

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
