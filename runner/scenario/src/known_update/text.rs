//! [`ListText`]: a file with known failures whose entries are edited in place, so that all other text stays as it is.

use std::ops::Range;

use runner_model::known::{Judged, KnownEntry};
use runner_model::without_mark;
use serde_json::{Map, Value, json};

use crate::grants_toml::toml_string;
use crate::keys::KNOWN_LIST;
use crate::reading::{At, Document, Form as _, Part, Reader, Step, keys};

/// Columns of an array on one line.
const MAX_COLUMNS: usize = 100;
/// Members of an entry on one line.
const LINE_MEMBERS: usize = 10;

/// A list, or a scenario with entries of its own, and the edits of its text.
pub(super) struct ListText<'t> {
    /// Byte order mark of the file.
    mark: &'t str,
    text: &'t str,
    document: Document<'t>,
    /// The path of the array of entries.
    table: Vec<Step>,
    is_list: bool,
    /// The entries as they are written.
    entries: Vec<Value>,
    /// New texts of ranges, which do not overlap.
    edits: Vec<(Range<usize>, String)>,
}

/// An entry to be written.
pub(super) struct NewEntry {
    pub(super) tests: Vec<String>,
    /// Empty for all.
    pub(super) providers: Vec<String>,
    pub(super) reason: String,
    pub(super) until: Option<String>,
    pub(super) outcomes: Vec<&'static str>,
    pub(super) kinds: Vec<String>,
    pub(super) flaky: bool,
    pub(super) judged: Option<Judged>,
}

impl<'t> ListText<'t> {
    /// Parses a list, or a scenario if `is_list` is false. `None` if the text is not valid TOML.
    pub(super) fn new(text: &'t str, is_list: bool) -> Option<Self> {
        let path = if is_list { &["failures"][..] } else { &["known", "failures"] };
        let body = without_mark(text);
        let document = Document::parse("", body).ok()?;
        let root = document.value(&mut Vec::new());
        let pointer = format!("/{}", path.join("/"));
        let entries = root.pointer(&pointer).and_then(Value::as_array).cloned();
        Some(Self {
            mark: &text[..text.len() - body.len()],
            text: body,
            document,
            table: keys(path.iter().copied()),
            is_list,
            entries: entries.unwrap_or_default(),
            edits: Vec::new(),
        })
    }

    /// Reads the entries. `None` if one is invalid.
    pub(super) fn read(&self) -> Option<Vec<KnownEntry>> {
        let mut reader = Reader::new(&self.document);
        let mut root = json!({ "failures": self.entries });
        let entries = KNOWN_LIST.read(&At::ROOT, &mut root, &mut reader);
        if reader.problems.is_empty() { entries } else { None }
    }

    /// Returns the whole file as JSON without the entries.
    pub(super) fn others(&self) -> Value {
        let mut root = self.document.value(&mut Vec::new());
        let table = if self.is_list { Some(&mut root) } else { root.get_mut("known") };
        if let Some(table) = table.and_then(Value::as_object_mut) {
            table.remove("failures");
        }
        // `[[known.failures]]` alone makes the table.
        let known = root.get("known").and_then(Value::as_object).map(Map::len);
        if let (false, None | Some(0), Some(root)) = (self.is_list, known, root.as_object_mut()) {
            root.remove("known");
        }
        root
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

    /// Sets a key of an entry to a value in TOML.
    pub(super) fn set(&mut self, index: usize, key: &str, value: &str) {
        if self.entries[index].get(key).is_some() {
            let span = self.span(&self.path(index, key), Part::Value);
            self.edits.push((span, value.to_owned()));
        } else {
            self.add_after(index, &format!("{key} = {value}\n"));
        }
    }

    /// Adds lines after those of an entry.
    pub(super) fn add_after(&mut self, index: usize, lines: &str) {
        let Some(Range { end, .. }) = self.entry(index) else { return };
        self.edits.push((end..end, lines.to_owned()));
    }

    /// Adds an entry after another one.
    pub(super) fn add_entry_after(&mut self, index: usize, entry: &NewEntry) {
        self.add_after(index, &format!("\n{}", self.written(entry)));
    }

    /// Adds an entry at the end.
    pub(super) fn append(&mut self, entry: &NewEntry) {
        let end = self.text.len();
        let entry = self.written(entry);
        self.edits.push((end..end, format!("\n{entry}")));
    }

    fn written(&self, entry: &NewEntry) -> String {
        let NewEntry { tests, providers, reason, until, outcomes, kinds, flaky, judged } = entry;
        let mut lines = vec![
            if self.is_list { "[[failures]]" } else { "[[known.failures]]" }.to_owned(),
            format!("tests = {}", array_of(tests, "tests")),
        ];
        if !providers.is_empty() {
            lines.push(format!("providers = {}", array_of(providers, "providers")));
        }
        lines.push(format!("reason = {}", toml_string(reason)));
        lines.extend(until.iter().map(|day| format!("until = {day}")));
        if **outcomes != ["failed"] {
            lines.push(format!("outcomes = {}", array_of(outcomes, "outcomes")));
        }
        if !kinds.is_empty() {
            lines.push(format!("kinds = {}", array_of(kinds, "kinds")));
        }
        lines.extend(flaky.then(|| "flaky = true".to_owned()));
        lines.extend(judged.iter().map(|judged| format!("judged = {}", judged_text(judged))));
        lines.join("\n") + "\n"
    }

    /// Adds a part of the old text to the new one. Blank lines around a removed entry become those before it.
    fn push(&self, new: &mut String, range: Range<usize>) {
        let is_after_edit = range.start > 0;
        let mut part = &self.text[range];
        if is_after_edit && (new.len() == self.mark.len() || is_blank(new)) {
            while let Some((line, after)) = part.split_once('\n')
                && line.trim().is_empty()
            {
                part = after;
            }
        }
        new.push_str(part);
    }

    /// Returns the text with all edits. `None` without any.
    pub(super) fn finish(mut self) -> Option<String> {
        if self.edits.is_empty() {
            return None;
        }
        self.edits.sort_by_key(|(range, _)| (range.start, range.end));
        let line_break = if self.text.contains("\r\n") { "\r\n" } else { "\n" };
        let mut new = self.mark.to_owned();
        let mut end = 0;
        for (range, text) in &self.edits {
            self.push(&mut new, end..range.start);
            let is_at_end = range.is_empty() && range.start == self.text.len();
            if is_at_end && new.len() > self.mark.len() && !new.ends_with('\n') {
                new.push_str(line_break);
            }
            let is_after_blank = new.len() == self.mark.len() || is_blank(&new);
            let text = text.strip_prefix('\n').filter(|_| is_after_blank).unwrap_or(text);
            new.push_str(&text.replace('\n', line_break));
            end = range.end;
        }
        self.push(&mut new, end..self.text.len());
        while is_blank(&new) && !is_blank(self.text) {
            new.truncate(new.len() - line_break.len());
        }
        Some(new)
    }
}

/// Returns whether the last line of a text is blank.
fn is_blank(text: &str) -> bool {
    text.ends_with("\n\n") || text.ends_with("\n\r\n")
}

/// Formats `judged` of an entry in TOML.
pub(super) fn judged_text(judged: &Judged) -> String {
    let members = match judged {
        Judged::Test(test) => return format!("\"{test}\""),
        Judged::Tests(members) => members,
    };
    let lines = members.chunks(LINE_MEMBERS).map(|members| {
        let members: Vec<_> = members.iter().map(|member| format!("\"{member}\"")).collect();
        members.join(", ")
    });
    match &*lines.collect::<Vec<_>>() {
        [] => "[]".to_owned(),
        [line] => format!("[{line}]"),
        lines => {
            format!("[\n{}]", lines.iter().map(|line| format!("  {line},\n")).collect::<String>())
        }
    }
}

/// Formats an array of texts in TOML.
pub(super) fn array_of<T: AsRef<str>>(texts: &[T], key: &str) -> String {
    let values: Vec<_> = texts.iter().map(|text| toml_string(text.as_ref())).collect();
    let line = format!("[{}]", values.join(", "));
    if key.len() + " = ".len() + line.len() <= MAX_COLUMNS {
        return line;
    }
    format!("[\n{}]", values.iter().map(|value| format!("  {value},\n")).collect::<String>())
}
