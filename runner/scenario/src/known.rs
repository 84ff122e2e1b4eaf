//! Reads the known failures of a scenario: its lists, then its own entries.

use std::path::PathBuf;

use runner_model::known::{KnownEntry, KnownList};
use serde_json::Value;

use crate::keys::{KNOWN_LIST, WrittenKnown, files};
use crate::problem::{Place, Problem, Problems, line_breaks};
use crate::reading::{At, Document, Form as _, Part, Reader, Step, keys, read_text};
use crate::scenario::{MAX_SHOWN, Scenario};

/// Entries of all lists of a scenario.
const MAX_ENTRIES: usize = 100_000;

impl Scenario {
    /// Returns the lists of its known failures, in order, with their names in the scenario. Empty for a stored scenario.
    pub fn known_files(&self) -> impl Iterator<Item = (&str, PathBuf)> {
        let files = self.known.iter().flat_map(|known| &known.files);
        files.map(|file| (file.as_str(), self.folder.join(file)))
    }

    /// Reads its known failures: the entries of the lists, in the order of the files, then its own. `None` without `[known]`.
    /// `allows_drafts` accepts entries without a reason.
    ///
    /// # Errors
    ///
    /// Problems of the lists, and entries without a reason.
    pub fn known_list(&self, allows_drafts: bool) -> Result<Option<KnownList>, Problems> {
        let Some(known) = &self.known else { return Ok(None) };
        let WrittenKnown { strict, strict_entries, .. } = *known;
        let mut list = KnownList { strict, strict_entries, entries: Vec::new() };
        let mut problems = Vec::new();
        let mut drafts = Vec::new();
        for (name, path) in self.known_files() {
            let shown = files::display_path(&path);
            let help = "split it into several lists";
            let text = match read_text(&path, &shown, "list of known failures", help) {
                Ok(text) => text,
                Err(problem) => {
                    problems.push(problem);
                    continue;
                }
            };
            match read_list(&shown, &text) {
                Ok((document, entries)) => {
                    let places = Places { document: &document, path: &[] };
                    places.add(entries, Some(name), &mut list.entries, &mut drafts);
                }
                Err(found) => problems.extend(found),
            }
        }
        match self.document() {
            Ok(document) => {
                let places = Places { document: &document, path: &["known"] };
                places.add(known.entries.clone(), None, &mut list.entries, &mut drafts);
            }
            Err(found) => problems.extend(found),
        }
        if !allows_drafts && !drafts.is_empty() {
            let message = match drafts.len() {
                1 => "`reason` is empty: write why these tests fail".to_owned(),
                count => format!("`reason` is empty in {count} entries: write why they fail"),
            };
            problems.push(Problem::new(message).at(drafts.swap_remove(0)));
        }
        if list.entries.len() > MAX_ENTRIES {
            let count = list.entries.len();
            problems.push(Problem::new(format!(
                "the scenario has {count} known failures; at most {MAX_ENTRIES} are allowed: write globs"
            )));
        }
        if problems.is_empty() { Ok(Some(list)) } else { Err(Problems::first(MAX_SHOWN, problems)) }
    }
}

/// Parses a list. Returns its entries without their places.
fn read_list<'t>(
    path: &str,
    text: &'t str,
) -> Result<(Document<'t>, Vec<KnownEntry>), Vec<Problem>> {
    let document = Document::parse(path, text)?;
    let mut reader = Reader::new(&document);
    let mut root: Value = document.value(&mut reader.problems);
    // TOML has no null. Each is a number that was reported above.
    reader.refused_nulls = true;
    let entries = KNOWN_LIST.read(&At::ROOT, &mut root, &mut reader);
    let problems = reader.problems;
    if problems.is_empty() { Ok((document, entries.unwrap_or_default())) } else { Err(problems) }
}

/// The places of entries in a file.
struct Places<'a> {
    document: &'a Document<'a>,
    /// The path of the table that has the entries.
    path: &'a [&'a str],
}

impl Places<'_> {
    /// Adds entries with their places to `list`, and the places of empty reasons to `drafts`.
    fn add(
        &self,
        entries: Vec<KnownEntry>,
        file: Option<&str>,
        list: &mut Vec<KnownEntry>,
        drafts: &mut Vec<Place>,
    ) {
        let table = keys(self.path.iter().copied().chain(["failures"]));
        // A list may have 100,000 entries, and counting from its start takes seconds.
        let (mut line, mut counted) = (1, 0);
        for (index, entry) in entries.into_iter().enumerate() {
            let mut path = table.clone();
            path.push(Step::Item(index));
            let Place { source, span, .. } = self.document.place(&path, Part::Value, "");
            let start = span.start.max(counted);
            line += line_breaks(&source.text.as_bytes()[counted..start]) as u32;
            counted = start;
            if entry.reason.trim().is_empty() {
                path.push(Step::Key("reason".to_owned()));
                drafts.push(self.document.place(&path, Part::Value, "empty"));
            }
            list.push(KnownEntry { file: file.map(str::to_owned), line, ..entry });
        }
    }
}
