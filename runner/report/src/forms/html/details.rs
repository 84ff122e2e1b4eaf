//! [`Details`]: the documents of the first failures, each as the server would send it.

use std::collections::HashSet;
use std::{io, iter};

use runner_record::{Manifest, ResultsRoot};
use runner_scenario::Suite;
use serde::Serialize;

use super::bundle::data;
use crate::forms::cases::{Case, FormError};
use crate::{RunDocument, TrialDocument, TrialPage, failures::FailurePlace, suite_line};

/// Failures with details. The first of each group is one of them, too.
const MOST_FAILURES: usize = 500;
/// Bytes of details, after which failures are only in the list of trials.
const MOST_BYTES: usize = 16 << 20;

pub(super) struct Details<'a> {
    document: &'a RunDocument,
    pub(super) root: ResultsRoot,
    /// The true manifest of the run, which is read once for all trials.
    pub(super) manifest: Manifest,
    suite: Option<&'a Suite>,
    /// The groups of failures that have one with details.
    groups: HashSet<u16>,
    kept: usize,
    /// Members of a JSON object: a document by the end of its path.
    pub(super) documents: String,
}

impl<'a> Details<'a> {
    pub(super) fn new(
        document: &'a RunDocument,
        suite: Option<&'a Suite>,
    ) -> Result<Self, FormError> {
        let run = document.rows.table.run();
        Ok(Self {
            document,
            root: run.results_root()?,
            manifest: run.truth()?,
            suite,
            groups: HashSet::new(),
            kept: 0,
            documents: String::new(),
        })
    }

    /// Adds the document of a path below that of the run.
    pub(super) fn push(&mut self, path: &str, document: &impl Serialize) -> io::Result<()> {
        self.documents += if self.documents.is_empty() { "" } else { ",\n" };
        self.documents += &format!("{}:{}", data(&path)?, data(document)?);
        Ok(())
    }

    /// Adds a failure if there is room for it: its deciding attempt, and those before.
    pub(super) fn add(
        &mut self,
        case: &Case<'_>,
        failed: Option<FailurePlace>,
    ) -> Result<(), FormError> {
        let result = case.result.as_ref();
        if !result.is_some_and(|row| case.state.is_unexpected(row.outcome)) {
            return Ok(());
        }
        let part = failed.and_then(|failed| failed.part);
        let is_first = part.is_some_and(|part| self.groups.insert(part));
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
            self.push(&format!("/trials/{trial}{query}"), &TrialPage::new(document))?;
        }
        Ok(())
    }
}
