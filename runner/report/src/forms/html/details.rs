//! [`Details`]: the documents of the first failures, each as the server would send it.

use std::collections::HashSet;
use std::{io, iter, slice};

use runner_model::tree::{LeftEntry, PathChange};
use runner_record::{Manifest, ResultsRoot};
use runner_scenario::Suite;
use serde::Serialize;

use super::bundle::data;
use crate::forms::cases::{Case, FormError};
use crate::trials::MAX_TEXT;
use crate::{
    ChangedLines, RunDocument, StepPlace, StepQuery, TrialDocument, TrialPage,
    failures::FailurePlace, suite_line, write_diff,
};

/// Failures with details. The first of each group is one of them, too.
const MOST_FAILURES: usize = 500;
/// Bytes of details, after which failures are only in the list of trials.
const MOST_BYTES: usize = 16 << 20;
/// Changes in the workspace of an attempt.
const MOST_CHANGES: usize = 200;
/// Bytes of all files of an attempt that are compared for diffs.
const MOST_COMPARED: u64 = 256 << 10;
/// Entries of workspaces that are read, after which no failure has changes. An attempt has all those of its base, which
/// take some 2 µs each.
const MOST_ENTRIES: usize = 50_000;
/// Steps of the transcript of an attempt.
const MOST_STEPS: u64 = 100;
/// Replaces a diff whose files exceed [`MOST_COMPARED`].
const NO_ROOM: &str = "the report has no room for this diff: runner show RUN TRIAL --diff";

pub(super) struct Details<'a> {
    document: &'a RunDocument,
    pub(super) root: ResultsRoot,
    /// The true manifest of the run, which is read once for all trials.
    pub(super) manifest: Manifest,
    suite: Option<&'a Suite>,
    changed_lines: Option<ChangedLines>,
    /// The groups of failures that have one with details.
    groups: HashSet<FailurePlace>,
    kept: usize,
    /// Entries of workspaces so far.
    entries: usize,
    /// Members of a JSON object: a document by the end of its path.
    pub(super) documents: String,
}

impl<'a> Details<'a> {
    pub(super) fn new(
        document: &'a RunDocument,
        suite: Option<&'a Suite>,
        changed_lines: Option<ChangedLines>,
    ) -> Result<Self, FormError> {
        let run = document.rows.table.run();
        Ok(Self {
            document,
            root: run.results_root(),
            manifest: run.truth()?,
            suite,
            changed_lines,
            groups: HashSet::new(),
            kept: 0,
            entries: 0,
            documents: String::new(),
        })
    }

    /// Adds the document of a path below that of the run.
    pub(super) fn push(&mut self, path: &str, document: &impl Serialize) -> io::Result<()> {
        let document = format!("{}:{}", data(&path)?, data(document)?);
        self.documents += if self.documents.is_empty() { "" } else { ",\n" };
        self.documents += &document;
        Ok(())
    }

    /// Adds a failure if there is room for it: its deciding attempt, and those before.
    pub(super) fn add(
        &mut self,
        case: &Case<'_>,
        failed: &[Option<FailurePlace>],
    ) -> Result<(), FormError> {
        let result = case.result.as_ref();
        if !result.is_some_and(|row| case.state.is_unexpected(row.outcome)) {
            return Ok(());
        }
        let mut is_first = false;
        for place in failed.iter().flatten().filter(|place| matches!(place, FailurePlace::Part(_)))
        {
            is_first |= self.groups.insert(*place);
        }
        let has_room = self.kept < MOST_FAILURES || is_first;
        if !has_room || self.documents.len() > MOST_BYTES {
            return Ok(());
        }
        self.kept += 1;
        let table = &self.document.rows.table;
        let trial = &case.trial;
        let planned = self.suite.and_then(|suite| suite_line(suite, &trial.test));
        for attempt in iter::once(None).chain(case.retried.iter().map(|row| Some(row.attempt))) {
            let (manifest, planned) = (&self.manifest, planned.clone());
            let mut document =
                TrialDocument::of(&self.root, table, manifest, trial.clone(), planned)?;
            let mut query = String::new();
            if let Some(attempt) = attempt {
                document.show_attempt(&self.root, attempt).map_err(io::Error::other)?;
                query = format!("?attempt={attempt}");
            }
            let mut logs = document.logs.iter();
            let log = match document.row() {
                _ if logs.any(|log| Some(log.seq) == document.shown && log.said.is_none()) => {
                    "The log cannot be read.\n".to_owned()
                }
                Some(row) => document.log_text(&row),
                None => String::new(),
            };
            document.logs.iter_mut().for_each(|log| log.said = None);
            let shown = document.shown;
            let attempt = document.row().map(|row| row.attempt);
            // Earlier rows of the attempt lack its last grades.
            document.rows.retain(|line| {
                line.row().is_some_and(|row| row.seq == shown || Some(row.attempt) != attempt)
            });
            self.push(&format!("/trials/{trial}/log{query}"), &log)?;
            // Half of the room is left for the documents of other failures.
            if self.documents.len() < MOST_BYTES / 2 {
                // The page shows an error in place of a document that cannot be read.
                let _ = self.add_changes(&document);
                let _ = self.add_steps(&document);
            }
            self.push(&format!("/trials/{trial}{query}"), &TrialPage::new(document))?;
        }
        Ok(())
    }

    /// Adds the first changes in the workspace of the shown attempt, with their diffs.
    fn add_changes(&mut self, document: &TrialDocument) -> Result<(), FormError> {
        let run = self.document.rows.table.run();
        let Some(lines) = self.changed_lines.filter(|_| self.entries < MOST_ENTRIES) else {
            return Ok(());
        };
        let Some((workspace, files)) = document.workspace(run)? else { return Ok(()) };
        self.entries += files.tree.entries.len();
        let changes = document.changes_of(workspace, &files, 0..MOST_CHANGES);
        let (trial, attempt) = (&document.trial, changes.attempt);
        self.push(&format!("/trials/{trial}/changes?attempt={attempt}"), &changes)?;
        let mut room = MOST_COMPARED;
        for (at, change) in files.tree.changes.iter().take(MOST_CHANGES).enumerate() {
            let path = format!("/trials/{trial}/attempts/{attempt}/changes/{at}");
            let PathChange { before, after, .. } = change;
            let bytes = [before, after].into_iter().flatten().map(|left| left.entry.bytes);
            // A file without a diff is not read.
            let is_named = bytes.clone().any(|bytes| bytes > MAX_TEXT);
            let bytes = bytes.filter(|_| !is_named);
            let Some(left) = room.checked_sub(bytes.fold(0, u64::saturating_add)) else {
                self.push(&path, &NO_ROOM)?;
                continue;
            };
            room = left;
            let read = |left: &LeftEntry| files.read(left);
            let mut text = Vec::new();
            write_diff(slice::from_ref(change), &read, lines, &mut |_, line| {
                text.extend_from_slice(line);
                text.push(b'\n');
            })?;
            self.push(&path, &String::from_utf8_lossy(&text))?;
        }
        Ok(())
    }

    /// Adds steps of the shown attempt's transcript: the first ones, or those around the first call that made a check fail.
    fn add_steps(&mut self, document: &TrialDocument) -> Result<(), FormError> {
        let run = self.document.rows.table.run();
        let steps = |from| {
            document
                .transcript(run, StepQuery { tool: None, from, limit: MOST_STEPS, is_full: false })
        };
        let Some(mut found) = steps(StepPlace::Offset(0))? else { return Ok(()) };
        if let Some(failed) = found.failed.first().filter(|failed| failed.step > MOST_STEPS) {
            found = steps(StepPlace::Near(failed.step))?.unwrap_or(found);
        }
        let (trial, attempt) = (&found.trial, found.attempt);
        Ok(self.push(&format!("/trials/{trial}/transcript?attempt={attempt}"), &found)?)
    }
}
