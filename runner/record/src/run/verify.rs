//! Compares the files of a run with each other. Repairs nothing.

use std::collections::{BTreeSet, HashSet};
use std::{fmt::Display, mem, path::PathBuf};

use runner_model::protocol::CallLine;
use runner_model::row::{BadLine, Grade, RowHead, read_line};
use runner_model::{Digest, Places, RowRef, RunStatus, TrialId, id_glob, units::plural};
use schemars::JsonSchema;
use serde::Serialize;

use crate::disk::layout::{CALLS, LOGS, MANIFEST, ROWS, SCENARIO, STORE};
use crate::disk::lock;
use crate::rows::adaptive::hash;
use crate::rows::calls::{Journal, JournalKey, Journals};
use crate::rows::fold::UnplannedFold;
use crate::rows::line_reader::ReadLine;
use crate::{Live, Manifest, RecordError, Rerun, RunDir, SessionEntry};

/// Faults that are kept, because more of them show nothing new.
const MOST_FAULTS: usize = 10_000;

/// The result of a verification.
#[derive(Debug, Default, Serialize, JsonSchema)]
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
    /// The first 10,000 damaged, moved or doubled lines that cost no result of the run.
    pub harmless: Vec<DiskFault>,
}

/// A file, or a line of it, that is not as it was written.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DiskFault {
    /// The damaged file.
    pub path: PathBuf,
    /// Number of the line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The problem, for people.
    pub problem: String,
    /// The command that repairs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl RunDir {
    /// Compares rows, artifacts, logs, calls, scenario and stored contents with each other and the manifest. Without `places`,
    /// no row counts as one of another run. Call it in [`Self::snapshot`], because a session that starts meanwhile changes all
    /// of them.
    pub fn verify(&self, places: Option<&dyn Places>) -> Result<Verified, RecordError> {
        // Probed first: if a process still works on the run, its rows and manifest may change until they are read.
        let is_held = lock::is_held(&self.dir);
        let manifest = self.manifest()?;
        let ends_here = !is_held && manifest.status.is_terminal();
        // Before the rows: they only grow, so fewer rows than in `live.json` are a fault.
        let live = self.live();
        // Its loss is reported below.
        let known = self.known(&manifest).unwrap_or_default();
        let adaptive = self.adaptive(&manifest);
        let (journals, damaged_calls) = self.check_calls(&manifest)?;
        let new = || RunCheck {
            run: self,
            places,
            manifest: &manifest,
            verified: Verified::default(),
            fold: UnplannedFold::new(&manifest, &known, &adaptive),
            removed: UnplannedFold::removed(&known),
            damaged: Vec::new(),
            more_damaged: 0,
            of_rows: Vec::new(),
            next_seq: 1,
            damaged_lines: 0,
            row_line: 0,
            artifacts: HashSet::new(),
            changes: HashSet::new(),
            // A running session has written the calls of newer rows after they were read.
            journals: Some(&journals).filter(|_| !is_held),
            line: 0,
            failed: None,
        };
        let mut check = self.fold_lines(
            &new,
            // Parses a row, and returns whether it names files.
            |bytes| {
                let row = read_line(bytes)?;
                let has_calls = row.calls.is_some() || !row.grades.is_empty();
                Ok(row.logs.is_some() || has_calls || !row.artifacts.is_empty())
            },
            &mut |check, place, (line, names)| {
                let number = place.number;
                check.line = number;
                match line {
                    ReadLine::Row(row, bytes) => check.check_row(&row, bytes, names),
                    ReadLine::Damaged(problem) => {
                        check.damaged_lines += 1;
                        check.damaged_line(&problem);
                    }
                    ReadLine::Torn if ends_here => {
                        let remedy = Some(check.resume(&[]));
                        let problem = "the end of the line is missing".to_owned();
                        check.add(DiskFault { remedy, ..check.line_fault(problem) });
                    }
                    ReadLine::Torn => {}
                }
            },
        )?;
        if let Some(live) = live {
            check.check_live(&live);
        }
        for fault in damaged_calls.into_iter().filter(|_| !is_held) {
            check.add_harmless(fault);
        }
        if let Some(session) = journals.lost_session(&manifest).filter(|_| !is_held) {
            let problem = format!("it has lost the calls of session {session}");
            check.add_file(self.dir.path().join(CALLS), problem);
        }
        check.check_stored(&manifest);
        if let Some(error) = check.failed {
            return Err(error);
        }
        let counts = if ends_here { check.check_counts() } else { Vec::new() };
        check.sort_damage(ends_here && counts.is_empty());
        counts.into_iter().for_each(|fault| check.add(fault));
        Ok(check.verified)
    }

    /// Reads the calls by the hash of their trial. Also returns the lines with problems. They cost no result by themselves: rows
    /// have the hash of their calls, and attempts without a row start anew.
    fn check_calls(&self, manifest: &Manifest) -> Result<(Journals, Vec<DiskFault>), RecordError> {
        let path = self.dir.path().join(CALLS);
        let mut faults = Vec::new();
        let number = |call: &CallLine<'_>| Some(hash(&call.trial));
        let journals = Journals::read(self, manifest, &number, &mut |line, problem| {
            if faults.len() < MOST_FAULTS {
                let (path, problem) = (path.clone(), format!("it {problem}"));
                faults.push(DiskFault { path, line: Some(line), problem, remedy: None });
            }
        })?;
        Ok((journals, faults))
    }
}

/// A verification in progress.
struct RunCheck<'a> {
    run: &'a RunDir,
    places: Option<&'a dyn Places>,
    manifest: &'a Manifest,
    verified: Verified,
    fold: UnplannedFold,
    /// Rows of trials that the plan lacks. Empty without the plan.
    removed: UnplannedFold,
    /// The first damaged or moved lines, and the number of the others.
    damaged: Vec<DiskFault>,
    more_damaged: u64,
    /// Faults of rows, each with the number of its trial in `fold`.
    of_rows: Vec<(usize, DiskFault)>,
    /// Number of the row that follows.
    next_seq: u64,
    /// Damaged lines. Each may be a row whose number is missing.
    damaged_lines: u64,
    /// Number of the last row's line.
    row_line: u64,
    /// Artifacts that are not damaged. A later row of the trial, such as a graded one, needs damaged ones as well.
    artifacts: HashSet<Digest>,
    /// Lists of changes that are not damaged.
    changes: HashSet<Digest>,
    /// By the hash of the trial. `None` while a session runs.
    journals: Option<&'a Journals>,
    /// Number of the current line.
    line: u64,
    /// An error that shows nothing about the run.
    failed: Option<RecordError>,
}

impl RunCheck<'_> {
    /// Adds a fault of a file other than the rows.
    fn add_file(&mut self, path: PathBuf, problem: String) {
        self.add(DiskFault { path, line: None, problem, remedy: None });
    }

    /// Returns a fault of the current line.
    fn line_fault(&self, problem: String) -> DiskFault {
        let path = self.run.dir.path().join(ROWS);
        DiskFault { path, line: Some(self.line), problem, remedy: None }
    }

    fn damaged_line(&mut self, problem: &dyn Display) {
        if self.damaged.len() < MOST_FAULTS {
            self.damaged.push(self.line_fault(problem.to_string()));
        } else {
            self.more_damaged += 1;
        }
    }

    fn add(&mut self, fault: DiskFault) {
        if self.verified.faults.len() >= MOST_FAULTS {
            self.verified.left_out += 1;
            return;
        }
        self.verified.faults.push(fault);
    }

    /// Adds the damaged lines: as harmless if the rows have all results of the run. A damaged line has no trial, so otherwise
    /// any of them may be the one that is missing.
    fn sort_damage(&mut self, is_whole: bool) {
        for mut fault in mem::take(&mut self.damaged) {
            if is_whole {
                self.add_harmless(fault);
            } else {
                fault.remedy = Some(self.resume(&[]));
                self.add(fault);
            }
        }
        self.verified.left_out += if is_whole { 0 } else { self.more_damaged };
        for (_, fault) in mem::take(&mut self.of_rows) {
            self.add(fault);
        }
        self.verified.faults.sort_by_key(|fault| fault.line);
        self.verified.harmless.sort_by_key(|fault| fault.line);
    }

    fn add_harmless(&mut self, fault: DiskFault) {
        if self.verified.harmless.len() < MOST_FAULTS {
            self.verified.harmless.push(fault);
        }
    }

    fn check_row(&mut self, row: &RowHead, bytes: &[u8], names: Option<Result<bool, BadLine>>) {
        let added = self.fold.add(row, bytes);
        let trial = added.map_or(usize::MAX, |(trial, _)| trial);
        if added.is_some_and(|(_, effect)| effect.settles) {
            // The trial has a newer result, so damage of older ones costs nothing.
            let older = self.of_rows.extract_if(.., |(of, _)| *of == trial);
            for (_, fault) in older.collect::<Vec<_>>() {
                self.add_harmless(fault);
            }
        }
        self.check_place(row.seq);
        let is_planned = self.places.is_none_or(|places| places.index(&row.trial).is_some());
        if !is_planned {
            self.removed.add(row, bytes);
        }
        let foreign = self.manifest.foreign(&row.trial, (row.session, row.seq), is_planned);
        if let Some(problem) = foreign {
            self.add(self.line_fault(problem));
        }
        match names {
            Some(Err(problem)) => {
                let problem = format!("{problem}; its result still counts");
                self.row_fault(trial, &row.trial, &problem);
            }
            Some(Ok(false)) => self.verified.rows += 1,
            _ => {
                self.verified.rows += 1;
                if let Ok(row) = read_line(bytes) {
                    self.check_references(trial, &row);
                }
            }
        }
    }

    /// Compares a row's place in the file with its number. Rows come in the order in which they were written.
    fn check_place(&mut self, seq: u64) {
        let expected = self.next_seq;
        let problem = if let Some(gap) = seq.checked_sub(expected) {
            self.next_seq = seq + 1;
            if self.line < mem::replace(&mut self.row_line, self.line) {
                "it is not in the place where it was written".to_owned()
            } else if gap > self.damaged_lines {
                format!("it is row {seq}, and row {expected} belongs here")
            } else {
                self.damaged_lines -= gap;
                return;
            }
        } else {
            format!("it repeats row {seq}")
        };
        self.damaged_line(&format!("{problem}: another program has changed the file"));
    }

    /// Adds a fault of a row's own parts, with the command that replaces the row.
    fn row_fault(&mut self, number: usize, trial: &TrialId, problem: &str) {
        let remedy = Some(self.resume(&["--rerun", &id_glob(&trial.to_string())]));
        let fault = DiskFault { remedy, ..self.line_fault(problem.to_owned()) };
        if self.of_rows.len() < MOST_FAULTS {
            self.of_rows.push((number, fault));
        } else {
            self.verified.left_out += 1;
        }
    }

    /// Returns the command that continues the run, with `more` arguments.
    fn resume(&self, more: &[&str]) -> String {
        let is_cancelled = self.manifest.status == RunStatus::Cancelled;
        let force: &[&str] = if is_cancelled { &["--force"] } else { &[] };
        self.run.command("resume", &[force, more].concat())
    }

    /// Checks the artifacts of a row, its changes, its calls and its line in `logs.jsonl`.
    fn check_references(&mut self, trial: usize, row: &RowRef<'_>) {
        let changes = row.workspace.and_then(|workspace| workspace.changes);
        let mut changes = changes.filter(|list| !self.changes.contains(list));
        for artifact in &row.artifacts {
            if self.artifacts.contains(&artifact.sha256) {
                continue;
            }
            self.verified.artifacts += 1;
            if let Err(error) = self.run.artifact_or(&artifact.sha256, "") {
                let name = &artifact.name;
                let why = self.cause(error);
                let problem = format!("its artifact `{name}` is lost: {why}");
                self.row_fault(trial, &row.trial, &problem);
                changes = None;
            } else {
                self.artifacts.insert(artifact.sha256);
            }
        }
        if let Some(list) = changes {
            if let Err(error) = self.run.workspace(row).and_then(|files| files.check()) {
                let problem = format!("its changes are lost: {}", self.cause(error));
                self.row_fault(trial, &row.trial, &problem);
            } else {
                self.changes.insert(list);
            }
        }
        if let (Some(_), Some(journals)) = (row.calls, self.journals) {
            let journal = journals.get(&JournalKey::new(hash(&row.trial), row.attempt));
            if journal.and_then(Journal::calls) != row.calls {
                let problem = format!("its calls are lost: {CALLS} has other ones");
                self.row_fault(trial, &row.trial, &problem);
            }
        }
        let lost = row.grades.iter().filter(|grade| {
            self.journals.is_some_and(|all| all.lack(self.manifest, hash(&row.trial), row, grade))
        });
        if let Some(Grade { grader, .. }) = lost.into_iter().next() {
            let problem =
                format!("the calls of its grader `{grader}` are lost: {CALLS} has other ones");
            self.row_fault(trial, &row.trial, &problem);
        }
        if let Some(place) = row.logs
            && let Err(problem) = self.run.log_line(row, place)
        {
            let problem = self.cause(self.run.dir.error("read", LOGS, problem));
            let problem = format!("its attempt's output is lost: {problem}");
            self.row_fault(trial, &row.trial, &problem);
        }
    }

    /// Checks the copy of the scenario and the contents in the store.
    fn check_stored(&mut self, manifest: &Manifest) {
        if let Err(error) = self.run.scenario(manifest) {
            let problem = self.cause(error);
            self.add_file(self.run.dir.path().join(SCENARIO), problem);
        }
        let needed = manifest.plugins().chain([manifest.metadata.suite]);
        let mut needed: BTreeSet<_> = needed.chain(manifest.metadata.blobs).collect();
        let reruns = manifest.sessions.iter().flat_map(SessionEntry::reruns);
        needed.extend(reruns.filter_map(|(_, rerun)| match rerun {
            Rerun::Filter { trials, .. } => Some(*trials),
            _ => None,
        }));
        let lists = manifest.sessions.iter().flat_map(|session| [session.suite, session.known]);
        needed.extend(lists.flatten());
        // The loop below reports a list that cannot be read.
        needed.extend(self.run.blobs(manifest).unwrap_or_default());
        for digest in needed {
            self.verified.contents += 1;
            if let Err(error) = self.run.content(&digest) {
                let problem = self.cause(error);
                self.add_file(self.run.root.path().join(STORE).join(digest.path()), problem);
            }
        }
    }

    /// Returns an error without its path, which the fault has.
    fn cause(&mut self, error: RecordError) -> String {
        let cause = match &error {
            RecordError::Io { source, .. } => source.to_string(),
            RecordError::Foreign { problem, .. } => problem.clone(),
            error => error.to_string(),
        };
        if error.is_exhausted() {
            self.failed.get_or_insert(error);
        }
        cause
    }

    /// Compares the number of the last row with that of the session that works on the run.
    fn check_live(&mut self, live: &Live) {
        let last = self.next_seq - 1;
        if last + self.damaged_lines < live.last_seq {
            let problem = format!(
                "it ends after row {last}, and the session that works on the run has written row {}: another program has changed the file; wait until the session has ended",
                live.last_seq
            );
            let path = self.run.dir.path().join(ROWS);
            let remedy = Some(self.resume(&[]));
            self.add(DiskFault { path, line: None, problem, remedy });
        }
    }

    /// Compares the counts of the rows with the manifest of a run that has ended.
    fn check_counts(&mut self) -> Vec<DiskFault> {
        let mut manifest = self.manifest.clone();
        let mut faults = Vec::new();
        // Without the row of a trial that the plan lacks, nothing of the run is lost.
        if self.places.is_some() {
            manifest.set_removed(self.removed.counts());
        }
        let (rows, missing) = self.fold.sums().finish(&manifest);
        let counted = manifest.counts;
        let fault = |problem| DiskFault {
            path: self.run.dir.path().join(MANIFEST),
            line: None,
            problem,
            remedy: Some(self.resume(&[])),
        };
        if rows != counted {
            let stored = rows.done();
            let one = rows.done() == 1;
            let verb = if one { "is" } else { "are" };
            faults.push(fault(format!(
                "it counts {} ({} passed), and {stored} ({} passed) {verb} stored",
                plural(counted.done(), "result", "results"),
                counted.passed,
                rows.passed
            )));
        }
        if manifest.status == RunStatus::Completed && missing > 0 {
            let planned = manifest.metadata.planned_trial_count;
            let of = if rows.is_whole(planned) { " of the last session" } else { "" };
            let trials = plural(missing, "trial has no result", "trials have no result");
            faults.push(fault(format!("{trials}{of}")));
        }
        faults
    }
}

#[cfg(test)]
#[path = "tests/verify.rs"]
mod tests;
