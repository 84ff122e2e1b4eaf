//! [`ListText`]: a file with known failures whose entries are edited in place, so that all other text stays as it is.

use std::ops::Range;

use runner_model::known::{Judged, KnownEntry};
use runner_model::{Outcome, without_mark};
use serde_json::{Value, json};

use crate::grants_toml::toml_string;
use crate::reading::{Document, Part, Step, keys};

/// Columns of an array on one line.
const MAX_COLUMNS: usize = 100;
/// Members of an entry on one line.
const LINE_MEMBERS: usize = 10;

/// A list of known failures, or the scenario with its own ones.
#[derive(Clone, Debug)]
pub struct KnownSource {
    /// The list as the scenario names it. `None` for the scenario.
    pub file: Option<String>,
    /// The path relative to the scenario's folder, in its simplest form.
    pub path: String,
    pub text: String,
}

/// A list, or a scenario with entries of its own, and the edits of its text.
pub(super) struct ListText<'t> {
    pub(super) source: &'t KnownSource,
    /// Number of entries that were compared with results.
    pub(super) compared: usize,
    /// Number of entries that change.
    pub(super) changes: usize,
    /// Number of entries without a reason.
    pub(super) drafts: u64,
    /// The text without its byte order mark.
    text: &'t str,
    document: Document<'t>,
    /// The path of the array of entries.
    table: Vec<Step>,
    /// The entries as they are written.
    entries: Vec<Value>,
    /// New texts of ranges, which do not overlap.
    edits: Vec<(Range<usize>, String)>,
}

impl<'t> ListText<'t> {
    /// Parses a source.
    pub(super) fn new(source: &'t KnownSource) -> Result<Self, String> {
        let is_list = source.file.is_some();
        let path = if is_list { &["failures"][..] } else { &["known", "failures"] };
        let text = without_mark(&source.text);
        let document = Document::parse("", text)
            .map_err(|_| format!("{} is not valid TOML", place(source.file.as_deref())))?;
        let root = document.value(&mut Vec::new());
        let pointer = format!("/{}", path.join("/"));
        let entries = root.pointer(&pointer).and_then(Value::as_array).cloned();
        Ok(Self {
            source,
            compared: 0,
            changes: 0,
            drafts: 0,
            text,
            document,
            table: keys(path.iter().copied()),
            entries: entries.unwrap_or_default(),
            edits: Vec::new(),
        })
    }

    fn path(&self, index: usize, key: &str) -> Vec<Step> {
        let mut path = self.table.clone();
        path.extend([Step::Item(index), Step::Key(key.to_owned())]);
        path
    }

    fn span(&self, path: &[Step], part: Part) -> Range<usize> {
        self.document.place(path, part, "").span
    }

    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |end| end + 1)
    }

    /// Returns the position after the line break of a position's line.
    fn line_end(&self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |end| at + end + 1)
    }

    /// Returns the text from an entry's header to the end of its last line. `None` if it is not a table with a header.
    fn entry(&self, index: usize) -> Option<Range<usize>> {
        let mut path = self.table.clone();
        path.push(Step::Item(index));
        let start = self.span(&path, Part::Value).start;
        let keys = self.entries.get(index)?.as_object()?.keys();
        let ends = keys.map(|key| self.span(&self.path(index, key), Part::Value).end);
        let end = ends.max()?;
        let is_table = self.text.get(start..end)?.starts_with("[[");
        is_table.then(|| self.line_start(start)..self.line_end(end))
    }

    /// Returns whether an entry is written in a form that can be edited, with these globs.
    pub(super) fn has(&self, index: usize, entry: &KnownEntry) -> bool {
        let tests = self.entries.get(index).map(|written| &written["tests"]);
        tests == Some(&json!(entry.tests)) && self.entry(index).is_some()
    }

    /// Removes an entry with the comment directly above it, unless that starts the file.
    pub(super) fn remove(&mut self, index: usize) {
        let Some(Range { mut start, end }) = self.entry(index) else { return };
        let mut above = start;
        while above > 0 {
            let line = self.line_start(above - 1);
            if !self.text[line..above].trim_start().starts_with('#') {
                start = above;
                break;
            }
            above = line;
        }
        self.edits.push((start..end, String::new()));
    }

    /// Sets the keys of an entry whose values change.
    pub(super) fn change(&mut self, index: usize, old: &KnownEntry, new: &KnownEntry) {
        let old = key_values(old);
        for (key, value) in key_values(new).into_iter().filter(|pair| !old.contains(pair)) {
            if self.entries[index].get(key).is_some() {
                let span = self.span(&self.path(index, key), Part::Value);
                self.edits.push((span, value));
            } else {
                self.add_after(index, format!("{key} = {value}\n"));
            }
        }
    }

    /// Adds lines after those of an entry.
    fn add_after(&mut self, index: usize, lines: String) {
        let Some(Range { end, .. }) = self.entry(index) else { return };
        self.edits.push((end..end, lines));
    }

    /// Adds an entry after another one.
    pub(super) fn add_entry_after(&mut self, index: usize, entry: &KnownEntry) {
        self.add_after(index, self.written(entry));
    }

    /// Adds an entry at the end.
    pub(super) fn append(&mut self, entry: &KnownEntry) {
        let end = self.text.len();
        self.edits.push((end..end, self.written(entry)));
    }

    /// Formats an entry after a blank line.
    fn written(&self, entry: &KnownEntry) -> String {
        let is_list = self.source.file.is_some();
        let header = if is_list { "[[failures]]" } else { "[[known.failures]]" };
        let lines = key_values(entry).into_iter().map(|(key, value)| format!("{key} = {value}\n"));
        format!("\n{header}\n{}", lines.collect::<String>())
    }

    /// Adds a part of the old text to the new one. Blank lines around a removed entry become those before it.
    fn push(&self, new: &mut String, range: Range<usize>) {
        let is_after_edit = range.start > 0;
        let mut part = &self.text[range];
        if is_after_edit && (new.is_empty() || is_blank(new)) {
            while let Some((line, after)) = part.split_once('\n')
                && line.trim().is_empty()
            {
                part = after;
            }
        }
        new.push_str(part);
    }

    /// Returns the text with all edits. `None` without any.
    ///
    /// # Errors
    ///
    /// Entries were not compared: an editor has saved the list after it was read for the comparison.
    pub(super) fn finish(mut self) -> Result<Option<String>, String> {
        if self.compared != self.entries.len() {
            return Err(format!("{} has changed", place(self.source.file.as_deref())));
        }
        if self.edits.is_empty() {
            return Ok(None);
        }
        self.edits.sort_by_key(|(range, _)| (range.start, range.end));
        let line_break = if self.text.contains("\r\n") { "\r\n" } else { "\n" };
        let mut new = String::new();
        let mut end = 0;
        for (range, text) in &self.edits {
            self.push(&mut new, end..range.start);
            let is_at_end = range.is_empty() && range.start == self.text.len();
            if is_at_end && !new.is_empty() && !new.ends_with('\n') {
                new.push_str(line_break);
            }
            let is_after_blank = new.is_empty() || is_blank(&new);
            let text = text.strip_prefix('\n').filter(|_| is_after_blank).unwrap_or(text);
            new.push_str(&text.replace('\n', line_break));
            end = range.end;
        }
        self.push(&mut new, end..self.text.len());
        while is_blank(&new) && !is_blank(self.text) {
            new.truncate(new.len() - line_break.len());
        }
        let mark = self.source.text.strip_suffix(self.text).unwrap_or_default();
        Ok(Some(mark.to_owned() + &new))
    }
}

/// Formats the place of entries in a message.
pub(super) fn place(file: Option<&str>) -> String {
    file.map_or_else(|| "the scenario".to_owned(), |file| format!("`{file}`"))
}

/// Returns whether the last line of a text is blank.
fn is_blank(text: &str) -> bool {
    text.ends_with("\n\n") || text.ends_with("\n\r\n")
}

/// Returns the keys that an entry needs, with their values in TOML.
fn key_values(entry: &KnownEntry) -> Vec<(&'static str, String)> {
    let KnownEntry { tests, providers, reason, until, outcomes, kinds, flaky, judged, .. } = entry;
    let outcomes = match &**outcomes {
        [Outcome::Failed] => Vec::new(),
        outcomes => outcomes.iter().map(|outcome| outcome.as_str().to_owned()).collect(),
    };
    let texts = |key, texts: &[String]| (!texts.is_empty()).then(|| (key, array_of(texts, key)));
    let pairs = [
        texts("tests", tests),
        texts("providers", providers),
        Some(("reason", toml_string(reason))),
        until.clone().map(|day| ("until", day)),
        texts("outcomes", &outcomes),
        texts("kinds", kinds),
        flaky.then(|| ("flaky", "true".to_owned())),
        judged.as_ref().map(|judged| ("judged", judged_text(judged))),
    ];
    pairs.into_iter().flatten().collect()
}

/// Formats `judged` of an entry in TOML.
pub(super) fn judged_text(judged: &Judged) -> String {
    let members = match judged {
        Judged::Test(test) => return format!("\"{test}\""),
        Judged::Tests(members) => members,
    };
    let members: Vec<_> = members.iter().map(|member| format!("\"{member}\"")).collect();
    array(&members, members.len() <= LINE_MEMBERS, LINE_MEMBERS)
}

/// Formats an array of texts in TOML.
fn array_of(texts: &[String], key: &str) -> String {
    let values: Vec<_> = texts.iter().map(|text| toml_string(text)).collect();
    let line = array(&values, true, 1);
    let is_short = key.len() + " = ".len() + line.len() <= MAX_COLUMNS;
    if is_short { line } else { array(&values, false, 1) }
}

/// Formats an array in TOML: on one line, or with `per_line` values a line.
fn array(values: &[String], is_line: bool, per_line: usize) -> String {
    if is_line {
        return format!("[{}]", values.join(", "));
    }
    let lines = values.chunks(per_line).map(|line| format!("  {},\n", line.join(", ")));
    format!("[\n{}]", lines.collect::<String>())
}
