//! Compares the files of a run with each other. Repairs nothing.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::{fs::File, io};

use runner_model::row::{BadLine, RowHead, read_line};
use runner_model::{Digest, Places, RowRef, RunStatus};
use serde::Serialize;

use crate::{
    Manifest, RecordError, RunDir,
    disk::{
        content_store::ContentStore,
        layout::{MANIFEST, ROWS, SCENARIO, STORE},
        lock,
    },
    rows::{fold::UnplannedFold, line_reader::ReadLine},
};

/// Faults that are kept, because more of them show nothing new.
const MOST_FAULTS: usize = 10_000;

/// The result of a verification.
#[derive(Debug, Default, Serialize)]
pub struct Verified {
    /// Rows that were read.
    pub rows: u64,
    /// Artifacts that were read.
    pub artifacts: u64,
    /// Contents of the store that were read.
    pub contents: u64,
    /// The first 10,000 faults.
    pub faults: Vec<DiskFault>,
    /// Number of other faults.
    pub left_out: u64,
}

/// A file, or a line of it, that is not as it was written.
#[derive(Debug, Serialize)]
pub struct DiskFault {
    pub path: PathBuf,
    /// Number of the line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The problem, with the next step.
    pub problem: String,
}

impl RunDir {
    /// Opens content of the run in the store, after comparing it with the digest.
    pub fn content(&self, digest: &Digest) -> Result<File, RecordError> {
        ContentStore(self.root.dir(STORE)?).open(digest)
    }

    /// Returns the digests of all attachments and schemas of the run, ascending. Their contents are in the store.
    pub fn blobs(&self, manifest: &Manifest) -> Result<Vec<Digest>, RecordError> {
        let Some(list) = manifest.metadata.blobs else {
            return Ok(Vec::new());
        };
        let lines = io::read_to_string(self.content(&list)?);
        let read = lines.and_then(|lines| {
            let digests: Option<_> = lines.lines().map(Digest::parse).collect();
            digests.ok_or_else(|| {
                io::Error::other("the list of the run's attachments and schemas is damaged")
            })
        });
        read.map_err(|source| self.root.error("read", STORE, source))
    }

    /// Compares rows, artifacts, logs, scenario and stored contents with each other and the manifest. Without `places`,
    /// no row counts as one of another run.
    pub fn verify(&self, places: Option<&dyn Places>) -> Result<Verified, RecordError> {
        // Probed first: if a process still works on the run, its rows and manifest may change until they are read.
        let is_held = lock::is_held(&self.dir);
        let manifest = self.manifest()?;
        let ends_here = !is_held && manifest.status.is_terminal();
        let mut check = RunCheck {
            run: self,
            places,
            manifest: &manifest,
            found: Verified::default(),
            fold: UnplannedFold::new(&manifest),
            next_seq: 1,
            session: 1,
            artifacts: HashSet::new(),
            line: 0,
        };
        check.check_stored(&manifest);
        // Parses a row, and returns whether it names files.
        let names_files = |bytes: &[u8]| {
            let row = read_line(bytes)?;
            Ok(row.logs.is_some() || !row.artifacts.is_empty())
        };
        self.rows_and(0, names_files, &mut |_, (line, names)| {
            check.line += 1;
            match line {
                ReadLine::Row(row, bytes) => check.check_row(&row, bytes, names),
                ReadLine::Damaged(problem) => {
                    check.next_seq += 1;
                    check.fault(&format!("{problem}; `runner resume` runs its trial again"));
                }
                ReadLine::Torn if ends_here => {
                    check.fault("the end of the line is missing; `runner resume` moves it aside");
                }
                ReadLine::Torn => {}
            }
        })?;
        if ends_here {
            check.check_counts(&manifest);
        }
        Ok(check.found)
    }
}

/// A verification in progress.
struct RunCheck<'a> {
    run: &'a RunDir,
    places: Option<&'a dyn Places>,
    manifest: &'a Manifest,
    found: Verified,
    fold: UnplannedFold,
    next_seq: u64,
    session: u32,
    /// Artifacts that were read.
    artifacts: HashSet<Digest>,
    /// Number of the current line.
    line: u64,
}

impl RunCheck<'_> {
    /// Adds a fault of the current line.
    fn fault(&mut self, problem: &str) {
        let path = self.run.dir.path().join(ROWS);
        self.add(path, Some(self.line), problem.to_owned());
    }

    fn add(&mut self, path: PathBuf, line: Option<u64>, problem: String) {
        if self.found.faults.len() >= MOST_FAULTS {
            self.found.left_out += 1;
            return;
        }
        self.found.faults.push(DiskFault { path, line, problem });
    }

    fn check_row(&mut self, row: &RowHead, bytes: &[u8], names: Option<Result<bool, BadLine>>) {
        self.fold.add(&row.trial, row.into());
        let (seq, session) = (row.seq, row.session);
        if seq != self.next_seq {
            let expected = self.next_seq;
            self.fault(&format!("it is row {seq}, and row {expected} belongs here: another program has changed the file"));
        }
        self.next_seq = seq + 1;
        if session < self.session {
            let last = self.session;
            self.fault(&format!("it is of session {session}, but follows rows of session {last}"));
        }
        self.session = session;
        let is_planned = |places: &dyn Places| places.index(&row.trial).is_some();
        let is_planned = self.places.is_none_or(is_planned);
        let foreign = self.manifest.foreign(&row.trial, (session, seq), is_planned);
        if let Some(problem) = foreign {
            self.fault(&problem);
        }
        match names {
            Some(Err(problem)) => self.fault(&format!("{problem}; its result still counts")),
            Some(Ok(false)) => self.found.rows += 1,
            _ => {
                self.found.rows += 1;
                if let Ok(row) = read_line(bytes) {
                    self.check_references(&row);
                }
            }
        }
    }

    /// Checks the artifacts of a row and its line in `logs.jsonl`.
    fn check_references(&mut self, row: &RowRef<'_>) {
        for artifact in &row.artifacts {
            if !self.artifacts.insert(artifact.sha256) {
                continue;
            }
            self.found.artifacts += 1;
            if let Err(error) = self.run.artifact(&artifact.sha256) {
                let (name, why) = (&artifact.name, cause(&error));
                self.fault(&format!("its artifact `{name}` is lost: {why}"));
            }
        }
        if let Some(place) = row.logs
            && let Err(problem) = self.run.log_line(row, place)
        {
            self.fault(&format!("its attempt's output is lost: {problem}"));
        }
    }

    /// Checks the copy of the scenario and the contents in the store.
    fn check_stored(&mut self, manifest: &Manifest) {
        if let Err(error) = self.run.scenario(manifest) {
            self.add(self.run.dir.path().join(SCENARIO), None, cause(&error));
        }
        let plugins = manifest.providers.iter().map(|provider| provider.digest);
        let needed = plugins.chain([manifest.metadata.suite]);
        let mut needed: BTreeSet<_> = needed.chain(manifest.metadata.blobs).collect();
        // The loop below reports a list that cannot be read.
        needed.extend(self.run.blobs(manifest).unwrap_or_default());
        for digest in needed {
            self.found.contents += 1;
            if let Err(error) = self.run.content(&digest) {
                let path = Path::new(STORE).join(digest.path());
                self.add(self.run.root.path().join(path), None, cause(&error));
            }
        }
    }

    /// Compares the counts of the rows with the manifest of a run that has ended.
    fn check_counts(&mut self, manifest: &Manifest) {
        let (rows, is_complete) = self.fold.finish(manifest);
        let counted = manifest.counts;
        let path = self.run.dir.path().join(MANIFEST);
        if rows != counted {
            let problem = format!(
                "it counts {} trials with a final row, {} of them passed, and the rows have {} and {}: `runner resume` counts again",
                counted.done(),
                counted.passed,
                rows.done(),
                rows.passed
            );
            self.add(path.clone(), None, problem);
        }
        if manifest.status == RunStatus::Completed && !is_complete {
            let planned = manifest.metadata.planned_trial_count;
            let problem = format!(
                "the run is completed, and {} of its {planned} trials have no final row",
                planned.saturating_sub(rows.done())
            );
            self.add(path, None, problem);
        }
    }
}

/// Returns an error without its path, which the fault has.
fn cause(error: &RecordError) -> String {
    match error {
        RecordError::Io { source, .. } => source.to_string(),
        RecordError::Foreign { problem, .. } => problem.clone(),
        error => error.to_string(),
    }
}

#[cfg(test)]
#[path = "tests/verify.rs"]
mod tests;
