//! Reads test lists record by record: each [`Entry`] returns its value and the places of its parts.

use std::io::{self, BufRead, BufReader, Read};
use std::ops::{ControlFlow, Range};
use std::{
    borrow::Cow, cell::OnceCell, collections::HashMap, fs::File, iter, path::Path, sync::Arc,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use runner_model::json::{self, JsonFault, Numbers, find_fault};
use runner_model::{Text, without_mark};
use serde_json::{Map, Value, value::RawValue};

use crate::{
    keys::ListFormat,
    lists::csv::{Cell, QuoteState, cells},
    problem::{Place, Problem, Source, line_breaks},
    reading::{
        AnyTable, Document, List, MAX_BYTES, Part, Step, TableForm, kind, not_utf8, open_named,
        read_text,
    },
};

// Some editors on Windows write it at the start of a file.
const BYTE_ORDER_MARK: &str = "\u{feff}";
pub(crate) const TOML_LIST: TableForm<Vec<Value>> =
    TableForm("a test list in TOML", |table| Some(table.or("tests", &List(0, AnyTable), "[]")));

/// A record of a list.
pub(crate) struct Entry<'a> {
    path: &'a str,
    content: Content<'a>,
    /// The lines of the record, or all of a JSON list. Empty for TOML, whose text is in the document.
    text: &'a str,
    /// The number of the first line in `text`, from 1.
    line: usize,
    source: OnceCell<Arc<Source>>,
}

enum Content<'a> {
    /// The part of `text` that is the record.
    Json(&'a str),
    Csv {
        columns: &'a [String],
        cells: Vec<Cell<'a>>,
    },
    Toml {
        document: &'a Document<'a>,
        index: usize,
        value: Value,
    },
    /// A whole file.
    File(Value),
}

/// Consecutive records of a list. Another thread may split and parse them.
pub(crate) struct Chunk<'a> {
    path: &'a str,
    /// The names in the header of a CSV file.
    columns: Option<Arc<[String]>>,
    bytes: Vec<u8>,
    /// The ranges of records in `bytes`, and the numbers of their first lines.
    lines: Vec<(Range<usize>, usize)>,
    /// Records of a list that is read whole, or problems of the file. These follow `lines`.
    others: Vec<Result<Entry<'a>, Problem>>,
}

/// Least number of bytes of a chunk of lines, if it has fewer records than it may have.
const CHUNK_BYTES: usize = 64 << 10;

/// Receives each record or problem. May end the visit.
pub(crate) type VisitEntry<'v> = dyn FnMut(Result<Entry<'_>, Problem>) -> ControlFlow<()> + 'v;
/// Receives the chunks of a file. May end the visit.
pub(crate) type VisitChunks<'v> =
    dyn FnMut(&mut dyn Iterator<Item = Chunk<'_>>) -> ControlFlow<()> + 'v;

/// Visits the records of a file in order, in chunks of at most `size` records. `shown` is its path for people.
pub(crate) fn visit_chunks(
    format: ListFormat,
    path: &Path,
    shown: &str,
    size: usize,
    visit: &mut VisitChunks<'_>,
) -> ControlFlow<()> {
    let whole = match format {
        ListFormat::Lines | ListFormat::Csv => {
            let file = match open_named(path) {
                Ok(file) => BufReader::with_capacity(64 << 10, file),
                Err(error) => {
                    return visit(&mut in_chunks(size, [Err(cannot_read(shown, &error))]));
                }
            };
            let mut lines =
                LineReader { file, shown, format, columns: None, line: 1, has_ended: false };
            return visit(&mut iter::from_fn(|| lines.chunk(size)));
        }
        ListFormat::Json => visit_json,
        ListFormat::Toml => visit_toml,
        ListFormat::File => return visit(&mut in_chunks(size, [file_entry(path, shown)])),
    };
    let help = "`.jsonl` and `.csv` files are read record by record, and have no such limit";
    match read_text(path, shown, "test list", help) {
        Ok(text) => whole(without_mark(&text), shown, size, visit),
        Err(problem) => visit(&mut in_chunks(size, [Err(problem)])),
    }
}

fn in_chunks<'a>(
    size: usize,
    entries: impl IntoIterator<Item = Result<Entry<'a>, Problem>>,
) -> impl Iterator<Item = Chunk<'a>> {
    let mut entries = entries.into_iter();
    iter::from_fn(move || {
        let chunk = Chunk { others: entries.by_ref().take(size).collect(), ..Chunk::new("") };
        (chunk.count() > 0).then_some(chunk)
    })
}

/// Reads a file as a record: its `text`, or its `bytes` in base64 if they are not UTF-8, and the value of valid JSON as `json`.
fn file_entry<'a>(path: &Path, shown: &'a str) -> Result<Entry<'a>, Problem> {
    let mut bytes = Vec::new();
    let file = open_named(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    file.map_err(|error| cannot_read(shown, &error))?;
    if bytes.len() as u64 > MAX_BYTES {
        let message = "a file that is a record has at most 16 MiB";
        let help = "attach larger files by `files` of a test";
        return Err(Problem::for_file(shown, message.to_owned()).with_help(help));
    }
    let mut record = Map::new();
    match String::from_utf8(bytes) {
        Ok(text) => {
            let is_json = path.extension().is_some_and(|end| end == "json");
            if let Some(Ok(json)) = is_json.then(|| json::parse(without_mark(&text))) {
                record.insert("json".to_owned(), json);
            }
            record.insert("text".to_owned(), text.into());
        }
        Err(error) => {
            record.insert("bytes".to_owned(), BASE64_STANDARD.encode(error.as_bytes()).into());
        }
    }
    let content = Content::File(record.into());
    Ok(Entry { content, ..Entry::from_text(shown, "", "", 1) })
}

fn cannot_read(shown: &str, error: &io::Error) -> Problem {
    Problem::for_file(shown, format!("cannot read the test list: {error}"))
}

/// Reads records of one line, or of several where CSV has line breaks in quotes.
struct LineReader<'a> {
    file: BufReader<File>,
    shown: &'a str,
    format: ListFormat,
    columns: Option<Arc<[String]>>,
    /// The number of the next line, from 1.
    line: usize,
    has_ended: bool,
}

impl<'a> LineReader<'a> {
    fn chunk(&mut self, size: usize) -> Option<Chunk<'a>> {
        let mut chunk = Chunk::new(self.shown);
        while !self.has_ended && chunk.count() < size && chunk.bytes.len() < CHUNK_BYTES {
            self.has_ended = match self.record(&mut chunk) {
                Ok(is_read) => !is_read,
                // No later record is readable.
                Err(problem) => {
                    chunk.others.push(Err(problem));
                    true
                }
            };
        }
        chunk.columns.clone_from(&self.columns);
        (chunk.count() > 0).then_some(chunk)
    }

    /// Adds the next record to a chunk, unless it is an empty line or the header. Returns `false` at the end of the file.
    fn record(&mut self, chunk: &mut Chunk<'a>) -> Result<bool, Problem> {
        let mut start = chunk.bytes.len();
        let first = self.line;
        let bytes = &mut chunk.bytes;
        let read = read_record(&mut self.file, self.format, bytes);
        if !read.map_err(|error| cannot_read(self.shown, &error))? {
            return Err(too_long(self.shown, &bytes[start..], first));
        }
        if bytes.len() == start {
            return Ok(false);
        }
        self.line += line_breaks(&bytes[start..]);
        if first == 1 && bytes.starts_with(BYTE_ORDER_MARK.as_bytes()) {
            start = BYTE_ORDER_MARK.len();
        }
        let record = &bytes[start..];
        if record.trim_ascii().is_empty() {
            bytes.truncate(start);
        } else if self.format == ListFormat::Csv && self.columns.is_none() {
            self.columns = Some(Entry::from_line(self.shown, record, first)?.header()?.into());
            bytes.truncate(start);
        } else {
            chunk.lines.push((start..bytes.len(), first));
        }
        Ok(true)
    }
}

/// Adds one record with its line break, or nothing at the end of the file. Returns `false` if it has more than
/// [`MAX_BYTES`].
fn read_record(
    file: &mut BufReader<File>,
    format: ListFormat,
    bytes: &mut Vec<u8>,
) -> io::Result<bool> {
    let mut quotes = QuoteState::default();
    // One byte more shows that the record is too long.
    let mut left = MAX_BYTES + 1;
    loop {
        let start = bytes.len();
        let count = file.by_ref().take(left).read_until(b'\n', bytes)?;
        left -= count as u64;
        if left == 0 {
            return Ok(false);
        }
        if count == 0
            || format != ListFormat::Csv
            || bytes[start..].iter().any(|byte| quotes.advance(*byte))
        {
            return Ok(true);
        }
    }
}

fn too_long(shown: &str, start: &[u8], line: usize) -> Problem {
    const SHOWN: usize = 80;
    let text = String::from_utf8_lossy(&start[..SHOWN]);
    let source = Entry::from_text(shown, "", &text, line);
    let place = Place::new(source.source(), 0..0, "it starts here");
    Problem::new("a record has more than 16 MiB; the rest of the list was not read").at(place)
}

fn visit_json(
    text: &str,
    shown: &str,
    size: usize,
    visit: &mut VisitChunks<'_>,
) -> ControlFlow<()> {
    // All records may be on one line, so they share the text.
    let source = Source::new(shown, text, 1);
    let text = &source.text;
    let records: Vec<&RawValue> = match serde_json::from_str(text) {
        Ok(records) => records,
        Err(error) => {
            let at = error_offset(text, &error);
            let place = Place::new(&source, at..at, "here");
            let fault = match text.trim() {
                "" => "it is empty".to_owned(),
                text if error.is_data() && text.starts_with('{') => {
                    "it is an object; put it into `[…]`".to_owned()
                }
                text if error.is_data() => {
                    let value = serde_json::from_str(text).unwrap_or_default();
                    format!("it is {}", kind(&value))
                }
                _ => message_of(&error),
            };
            let problem = Problem::new(format!("not a JSON array: {fault}")).at(place);
            return visit(&mut in_chunks(size, [Err(problem)]));
        }
    };
    let entries = records.into_iter().map(|record| {
        let entry = Entry::from_text(shown, record.get(), text, 1);
        Ok(Entry { source: Arc::clone(&source).into(), ..entry })
    });
    visit(&mut in_chunks(size, entries))
}

fn visit_toml(
    text: &str,
    shown: &str,
    size: usize,
    visit: &mut VisitChunks<'_>,
) -> ControlFlow<()> {
    let read = Document::parse(shown, text).and_then(|document| {
        let records = document.read(&TOML_LIST)?;
        Ok((document, records))
    });
    let (document, records) = match read {
        Ok(read) => read,
        Err(problems) => return visit(&mut in_chunks(size, problems.into_iter().map(Err))),
    };
    let entries = records.into_iter().enumerate().map(|(index, value)| {
        let content = Content::Toml { document: &document, index, value };
        Ok(Entry { content, ..Entry::from_text(shown, "", "", 1) })
    });
    visit(&mut in_chunks(size, entries))
}

impl<'a> Chunk<'a> {
    fn new(path: &'a str) -> Self {
        Self { path, columns: None, bytes: Vec::new(), lines: Vec::new(), others: Vec::new() }
    }

    /// Returns a problem of a file in place of its records.
    pub(crate) fn refused(problem: Problem) -> Self {
        Self { others: vec![Err(problem)], ..Self::new("") }
    }

    /// Returns the number of records and problems.
    pub(crate) fn count(&self) -> usize {
        self.lines.len() + self.others.len()
    }

    /// Returns the number of bytes that only this chunk holds.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Visits the records in order.
    pub(crate) fn visit(self, visit: &mut VisitEntry<'_>) -> ControlFlow<()> {
        for (range, line) in self.lines {
            let entry = Entry::from_line(self.path, &self.bytes[range], line);
            visit(match &self.columns {
                Some(columns) => entry.and_then(|entry| entry.with_cells(columns)),
                None => entry,
            })?;
        }
        self.others.into_iter().try_for_each(visit)
    }
}

impl<'a> Entry<'a> {
    fn from_text(path: &'a str, record: &'a str, text: &'a str, line: usize) -> Self {
        Self { path, content: Content::Json(record), text, line, source: OnceCell::new() }
    }

    /// Returns the record in lines that end with their line break.
    fn from_line(path: &'a str, bytes: &'a [u8], line: usize) -> Result<Self, Problem> {
        let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        match std::str::from_utf8(text) {
            Ok(text) => Ok(Self::from_text(path, text.trim_ascii(), text, line)),
            Err(_) => Err(not_utf8(path, line, bytes)),
        }
    }

    /// Returns the names in a header.
    fn header(&self) -> Result<Vec<String>, Problem> {
        let cells = self.cells()?;
        if let [(span, name)] = &cells[..]
            && let Some(separator) = name.find([';', '\t'])
        {
            let separator = &name[separator..=separator];
            let message = format!("cells are separated by `,` in CSV, not by `{separator}`");
            let place = Place::new(self.source(), span.clone(), "one cell");
            return Err(Problem::new(message).at(place));
        }
        let mut seen = HashMap::new();
        for (span, name) in &cells {
            if let Some(first) = seen.insert(name, span) {
                let message = format!("the header has the column `{name}` twice");
                let place =
                    |span: &Range<usize>, label| Place::new(self.source(), span.clone(), label);
                let problem = Problem::new(message).at(place(span, "again here"));
                return Err(problem.at(place(first, "first here")));
            }
        }
        Ok(cells.into_iter().map(|(_, name)| name.into_owned()).collect())
    }

    /// Splits the record into cells of a CSV file.
    fn with_cells(mut self, columns: &'a [String]) -> Result<Self, Problem> {
        let cells = self.cells()?;
        let expected = columns.len();
        let found = cells.len();
        if expected != found {
            let message = format!("the header has {expected} columns, but this record has {found}");
            let place = Place::new(self.source(), 0..self.text.len(), "this record");
            return Err(Problem::new(message).at(place));
        }
        self.content = Content::Csv { columns, cells };
        Ok(self)
    }

    fn cells(&self) -> Result<Vec<Cell<'a>>, Problem> {
        cells(self.text)
            .map_err(|(at, what)| Problem::new(what).at(Place::new(self.source(), at..at, "here")))
    }

    fn source(&self) -> &Arc<Source> {
        self.source.get_or_init(|| Source::new(self.path, self.text, self.line))
    }

    /// Returns the position of a slice of the text.
    fn offset(&self, part: &str) -> usize {
        part.as_ptr() as usize - self.text.as_ptr() as usize
    }

    /// Returns the record as JSON.
    pub(crate) fn value(&self) -> Result<Value, Problem> {
        match &self.content {
            Content::Json(record) => {
                let value = serde_json::from_str(record).map_err(|error| {
                    let at = self.offset(record) + error_offset(record, &error);
                    let place = Place::new(self.source(), at..at, "here");
                    Problem::new(format!("not valid JSON: {}", message_of(&error))).at(place)
                })?;
                match find_fault(record, Numbers::Kept) {
                    Some(fault) => Err(self.refuse(&fault, self.offset(record))),
                    None => Ok(value),
                }
            }
            Content::Csv { columns, cells } => {
                let values = cells.iter().map(|(_, text)| Value::from(&**text));
                Ok(Value::Object(columns.iter().cloned().zip(values).collect::<Map<_, _>>()))
            }
            Content::Toml { value, .. } | Content::File(value) => Ok(value.clone()),
        }
    }

    /// Returns the problem of a fault in JSON that starts at `start`.
    fn refuse(&self, fault: &JsonFault, start: usize) -> Problem {
        let places = fault.places.iter().zip(["here", "first here"]).map(|(span, label)| {
            Place::new(self.source(), start + span.start..start + span.end, label)
        });
        let places = places.collect();
        let help = match fault.places.len() {
            1 => "write it as a string, or with fewer digits",
            _ => "remove one of them",
        };
        Problem::new(fault.message.clone()).at_all(places).with_help(help)
    }

    pub(crate) fn place(&self, path: &[Step], part: Part, label: &str) -> Place {
        match &self.content {
            Content::Json(record) => {
                let span = json_span(record, path, part);
                let start = self.offset(record);
                Place::new(self.source(), start + span.start..start + span.end, label)
            }
            Content::Csv { columns, cells } => {
                let column = match path.first() {
                    Some(Step::Key(key)) => columns.iter().position(|column| column == key),
                    _ => None,
                };
                let cell = column.and_then(|column| cells.get(column));
                let span = cell.map_or(0..self.text.len(), |(span, _)| span.clone());
                Place::new(self.source(), span, label)
            }
            Content::Toml { document, index, .. } => {
                let record = [Step::Key("tests".to_owned()), Step::Item(*index)];
                document.place(&[&record, path].concat(), part, label)
            }
            Content::File(_) => Place::new(self.source(), 0..0, label),
        }
    }
}

/// Returns serde's message without the line, which is relative to the record.
fn message_of(error: &serde_json::Error) -> String {
    error.to_string().split(" at line ").take(1).collect()
}

/// Returns the position of serde's error in a text.
fn error_offset(text: &str, error: &serde_json::Error) -> usize {
    let lines = text.split_inclusive('\n');
    let before: usize = lines.take(error.line().saturating_sub(1)).map(str::len).sum();
    let mut at = (before + error.column().saturating_sub(1)).min(text.len());
    // Columns of serde count bytes, and may be inside a character.
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Returns the range of a value, or of its key, in a record's text.
// Only problems have places, so the record is parsed again, and valid records cost nothing.
pub(crate) fn json_span(record: &str, path: &[Step], part: Part) -> Range<usize> {
    let mut key = record;
    let mut value = record;
    for step in path {
        let next = match step {
            Step::Key(name) => json_entry(value, name),
            Step::Item(index) => json_item(value, *index).map(|item| (item, item)),
        };
        let Some((next_key, next)) = next else { break };
        (key, value) = (next_key, next);
    }
    let found = match part {
        Part::Key => key,
        Part::Value => value,
    };
    let start = found.as_ptr() as usize - record.as_ptr() as usize;
    start..start + found.len()
}

/// Returns the texts of a key and its value in an object. A key with escapes has the text of its value.
fn json_entry<'a>(object: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let entries: HashMap<Text<'a>, &'a RawValue> = serde_json::from_str(object).ok()?;
    let (key, value) = entries.into_iter().find(|(key, _)| **key == *name)?;
    let key = match key.0 {
        Cow::Borrowed(key) => key,
        Cow::Owned(_) => value.get(),
    };
    Some((key, value.get()))
}

fn json_item(array: &str, index: usize) -> Option<&str> {
    let items: Vec<&RawValue> = serde_json::from_str(array).ok()?;
    items.get(index).map(|item| item.get())
}
