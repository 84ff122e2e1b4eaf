//! Reads test lists: [`ListReader`] cuts a file into pieces of whole records, and a [`Piece`] reads its records.

use std::{
    borrow::Cow,
    cell::OnceCell,
    collections::HashMap,
    fs::File,
    io::{self, Read},
    mem,
    ops::Range,
    path::Path,
    sync::Arc,
};

use runner_model::Text;
use serde_json::{Map, Value, value::RawValue};

use crate::{
    csv::{Cell, Quotes, cells, first_record},
    document::Document,
    form::{AnyTable, Form, List, Sub},
    problem::{Place, Problem, Source},
    reading::{At, Part, Places, Reading, Step},
    scenario::not_utf8,
};

/// Bytes of a record, and of a file that is read as a whole, so that a list takes little memory whatever is in it.
const MAX_RECORD: usize = 16 << 20;
/// Bytes that are read at once.
const PIECE: usize = 128 << 10;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListFormat {
    /// A JSON object on each line.
    Lines,
    /// A header, and a record for each test.
    Csv,
    /// An array of objects.
    Json,
    /// Tables `[[tests]]`.
    Toml,
}

impl ListFormat {
    /// Tells the format of a file by the end of its name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        match Path::new(name).extension()?.to_str()? {
            "jsonl" => Some(Self::Lines),
            "csv" => Some(Self::Csv),
            "json" => Some(Self::Json),
            "toml" => Some(Self::Toml),
            _ => None,
        }
    }
}

/// A list that is read piece by piece. After a problem there is no further piece.
pub(crate) struct ListReader {
    /// For people.
    path: Arc<str>,
    format: ListFormat,
    file: File,
    /// What was read and is in no piece yet.
    begun: Vec<u8>,
    /// The line of the next piece in the file and the number of its first record, from 1.
    line: usize,
    number: u64,
    quotes: Quotes,
    columns: Option<Arc<[String]>>,
    is_over: bool,
}

/// Whole records of a list, one after the other.
pub(crate) struct Piece {
    path: Arc<str>,
    format: ListFormat,
    bytes: Vec<u8>,
    line: usize,
    number: u64,
    /// Of CSV, the names in the header.
    columns: Arc<[String]>,
    /// Its last record has too many bytes, and is not whole.
    is_cut: bool,
}

/// A record of a list, which knows where its values stand.
pub(crate) struct Entry<'a> {
    path: &'a str,
    content: Content<'a>,
    /// The number of the first line of `within`, or of the record.
    line: usize,
    source: OnceCell<Arc<Source>>,
}

enum Content<'a> {
    /// A record of JSON, within the lines that it stands in.
    Json { record: &'a str, within: &'a str },
    Csv {
        columns: &'a [String],
        cells: Vec<Cell<'a>>,
        record: &'a str,
    },
    Toml {
        document: &'a Document<'a>,
        index: usize,
        value: Value,
    },
}

impl ListReader {
    pub(crate) fn open(path: &Path, format: ListFormat, shown: &str) -> Result<Self, Problem> {
        let file = File::open(path).map_err(|error| cannot_read(shown, &error))?;
        Ok(Self {
            path: shown.into(),
            format,
            file,
            begun: Vec::new(),
            line: 1,
            number: 1,
            quotes: Quotes::default(),
            columns: None,
            is_over: false,
        })
    }

    fn read(&mut self) -> Result<Option<Piece>, Problem> {
        let mut bytes = mem::take(&mut self.begun);
        let mut end = None;
        while end.is_none() && !self.is_over && bytes.len() <= MAX_RECORD {
            let start = bytes.len();
            let limited = (&mut self.file).take(PIECE as u64);
            let read = { limited }.read_to_end(&mut bytes);
            self.is_over = read.map_err(|error| cannot_read(&self.path, &error))? < PIECE;
            if start == 0 && self.line == 1 && bytes.starts_with(BYTE_ORDER_MARK) {
                bytes.drain(..BYTE_ORDER_MARK.len());
            }
            end = self.end_of_records(&bytes, start);
        }
        let is_cut = end.is_none() && bytes.len() > MAX_RECORD;
        match end {
            Some(end) if !self.is_over => self.begun = bytes.split_off(end),
            _ => self.is_over = true,
        }
        if self.columns.is_none() {
            let header = match self.format {
                ListFormat::Csv => self.header(&mut bytes)?,
                _ => Vec::new(),
            };
            self.columns = Some(header.into());
        }
        let piece = Piece {
            path: Arc::clone(&self.path),
            format: self.format,
            line: self.line,
            number: self.number,
            columns: self.columns.clone().unwrap_or_default(),
            bytes,
            is_cut,
        };
        self.line += lines(&piece.bytes);
        self.number += piece.records().count() as u64;
        Ok((!piece.bytes.is_empty()).then_some(piece))
    }

    /// Where the last whole record ends in what was read; the bytes from `start` on are new. Formats that are read as a whole
    /// have one record.
    fn end_of_records(&mut self, bytes: &[u8], start: usize) -> Option<usize> {
        let new = bytes.get(start..).unwrap_or_default();
        let end = match self.format {
            ListFormat::Lines => new.iter().rposition(|byte| *byte == b'\n'),
            ListFormat::Csv => {
                let ends = new.iter().enumerate();
                ends.filter(|(_, byte)| self.quotes.take(**byte))
                    .last()
                    .map(|(at, _)| at)
            }
            ListFormat::Json | ListFormat::Toml => None,
        };
        end.map(|end| start + end + 1)
    }

    /// Takes the header away from the first records of a CSV file.
    fn header(&mut self, bytes: &mut Vec<u8>) -> Result<Vec<String>, Problem> {
        let mut record = first_record(bytes).to_vec();
        while !record.is_empty() && record.trim_ascii().is_empty() {
            self.line += 1;
            bytes.drain(..record.len());
            record = first_record(bytes).to_vec();
        }
        let text = std::str::from_utf8(record.trim_ascii_end());
        let text = text.map_err(|_| not_utf8(&self.path, self.line, &record))?;
        let place = |span: Range<usize>, label: &str| {
            let source = Source {
                path: self.path.to_string(),
                text: text.to_owned(),
                first_line: self.line,
            };
            Place::new(&Arc::new(source), span, label)
        };
        let cells = cells(text);
        let cells = cells.map_err(|(at, what)| Problem::new(what).at(place(at..at, "here")))?;
        for (index, (span, name)) in cells.iter().enumerate() {
            if cells[..index].iter().any(|(_, earlier)| earlier == name) {
                let message = format!("the column `{name}` is there twice");
                return Err(Problem::new(message).at(place(span.clone(), "again here")));
            }
        }
        let names = cells
            .into_iter()
            .map(|(_, name)| name.into_owned())
            .collect();
        self.line += lines(&record);
        bytes.drain(..record.len());
        Ok(names)
    }
}

impl Iterator for ListReader {
    type Item = Result<Piece, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_over {
            let read = self.read();
            self.is_over |= read.is_err();
            if let Some(piece) = read.transpose() {
                return Some(piece);
            }
        }
        None
    }
}

fn cannot_read(path: &str, error: &io::Error) -> Problem {
    Problem::of_file(path, format!("cannot read the test list: {error}"))
}

fn lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

impl Piece {
    /// Reads its records; each has its number in the file.
    pub(crate) fn each(&self, visit: &mut dyn FnMut(u64, Result<Entry<'_>, Problem>)) {
        match self.format {
            ListFormat::Json | ListFormat::Toml if self.is_cut => {
                let message = "the list has more than 16 MiB";
                let help =
                    "`.jsonl` and `.csv` files are read record by record, and have no such limit";
                visit(
                    self.number,
                    Err(Problem::of_file(&self.path, message).with_help(help)),
                );
            }
            ListFormat::Lines | ListFormat::Csv => {
                let numbers = self.number..;
                for (number, (range, line)) in numbers.zip(self.records()) {
                    let is_last = range.end == self.bytes.len();
                    let entry = match self.is_cut && is_last {
                        true => Err(self.too_long(range, line)),
                        false => self.entry(&self.bytes[range], line),
                    };
                    visit(number, entry);
                }
            }
            ListFormat::Json | ListFormat::Toml => match std::str::from_utf8(&self.bytes) {
                Err(_) => visit(self.number, Err(not_utf8(&self.path, 1, &self.bytes))),
                Ok(text) if self.format == ListFormat::Json => self.each_of_json(text, visit),
                Ok(text) => self.each_of_toml(text, visit),
            },
        }
    }

    /// Where its records stand that are not blank, and their lines.
    fn records(&self) -> impl Iterator<Item = (Range<usize>, usize)> + '_ {
        let (mut start, mut line) = (0, self.line);
        let next = move || {
            let rest = &self.bytes[start..];
            let record = match self.format {
                ListFormat::Csv => first_record(rest),
                _ => rest.split_inclusive(|byte| *byte == b'\n').next()?,
            };
            let found = (start..start + record.len(), line);
            start += record.len();
            line += lines(record);
            (!record.is_empty()).then_some(found)
        };
        let is_blank = |range: &Range<usize>| self.bytes[range.clone()].trim_ascii().is_empty();
        std::iter::from_fn(next).filter(move |(range, _)| !is_blank(range))
    }

    fn entry<'a>(&'a self, bytes: &'a [u8], line: usize) -> Result<Entry<'a>, Problem> {
        let text = std::str::from_utf8(bytes.trim_ascii_end());
        let text = text.map_err(|_| not_utf8(&self.path, line, bytes))?;
        let mut entry = Entry {
            path: &self.path,
            line,
            source: OnceCell::new(),
            content: Content::Json {
                record: text.trim_ascii_start(),
                within: text,
            },
        };
        if self.format != ListFormat::Csv {
            return Ok(entry);
        }
        let cells = cells(text).map_err(|(at, what)| {
            let place = Place::new(entry.source(text), at..at, "here");
            Problem::new(what).at(place)
        })?;
        let (expected, found) = (self.columns.len(), cells.len());
        if expected != found {
            let message = format!("the header has {expected} columns, and this record {found}");
            let place = Place::new(entry.source(text), 0..text.len(), "this record");
            return Err(Problem::new(message).at(place));
        }
        entry.content = Content::Csv {
            columns: &self.columns,
            cells,
            record: text,
        };
        Ok(entry)
    }

    fn each_of_json(&self, text: &str, visit: &mut dyn FnMut(u64, Result<Entry<'_>, Problem>)) {
        let records: Vec<&RawValue> = match serde_json::from_str(text) {
            Ok(records) => records,
            Err(error) => {
                let at = offset_of(text, &error);
                let start = text[..at].rfind('\n').map_or(0, |at| at + 1);
                let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
                let source = Source {
                    path: self.path.to_string(),
                    text: text[start..end].to_owned(),
                    first_line: self.line + lines(&text.as_bytes()[..start]),
                };
                let place = Place::new(&Arc::new(source), at - start..at - start, "here");
                let message = format!("not a JSON array: {}", message_of(&error));
                return visit(self.number, Err(Problem::new(message).at(place)));
            }
        };
        let (mut line, mut counted) = (self.line, 0);
        for (number, record) in (self.number..).zip(records) {
            let record = record.get();
            let at = record.as_ptr() as usize - text.as_ptr() as usize;
            let start = text[..at].rfind('\n').map_or(0, |at| at + 1);
            let end = at + record.len();
            let end = text[end..].find('\n').map_or(text.len(), |rest| end + rest);
            line += lines(&text.as_bytes()[counted..start.max(counted)]);
            counted = start.max(counted);
            let entry = Entry {
                path: &self.path,
                line,
                source: OnceCell::new(),
                content: Content::Json {
                    record,
                    within: &text[start..end],
                },
            };
            visit(number, Ok(entry));
        }
    }

    fn each_of_toml(&self, text: &str, visit: &mut dyn FnMut(u64, Result<Entry<'_>, Problem>)) {
        const TOML_LIST: Sub<Vec<Value>> = Sub("a test list in TOML", |table| {
            table.required(
                "tests",
                &List(0, AnyTable),
                "The records: tables `[[tests]]`.",
            )
        });
        let mut problems = Vec::new();
        let document = match Document::parse(&self.path, text) {
            Ok(document) => document,
            Err(problems) => {
                let problems = problems.into_iter();
                return problems.for_each(|problem| visit(self.number, Err(problem)));
            }
        };
        let mut value = document.value(&mut problems);
        let mut reading = Reading::new(&document);
        let records = TOML_LIST.read(&At::ROOT, &mut value, &mut reading);
        problems.append(&mut reading.problems);
        if !problems.is_empty() {
            let problems = problems.into_iter();
            return problems.for_each(|problem| visit(self.number, Err(problem)));
        }
        for (index, value) in records.into_iter().flatten().enumerate() {
            let content = Content::Toml {
                document: &document,
                index,
                value,
            };
            let entry = Entry {
                path: &self.path,
                line: 1,
                source: OnceCell::new(),
                content,
            };
            visit(self.number + index as u64, Ok(entry));
        }
    }

    fn too_long(&self, range: Range<usize>, line: usize) -> Problem {
        const SHOWN: usize = 80;
        let begun = &self.bytes[range];
        let source = Source {
            path: self.path.to_string(),
            text: String::from_utf8_lossy(&begun[..begun.len().min(SHOWN)]).into_owned(),
            first_line: line,
        };
        let place = Place::new(&Arc::new(source), 0..0, "it begins here");
        Problem::new("a record has more than 16 MiB, and the list is not read further").at(place)
    }
}

impl Entry<'_> {
    /// The record as JSON.
    pub(crate) fn value(&self) -> Result<Value, Problem> {
        match &self.content {
            Content::Json { record, within } => serde_json::from_str(record).map_err(|error| {
                let begin = record.as_ptr() as usize - within.as_ptr() as usize;
                let at = begin + offset_of(record, &error);
                let place = Place::new(self.source(within), at..at, "here");
                Problem::new(format!("not valid JSON: {}", message_of(&error))).at(place)
            }),
            Content::Csv { columns, cells, .. } => {
                let cells = columns.iter().zip(cells);
                let cells = cells.map(|(name, (_, text))| (name.clone(), Value::from(&**text)));
                Ok(Value::Object(cells.collect::<Map<_, _>>()))
            }
            Content::Toml { value, .. } => Ok(value.clone()),
        }
    }

    pub(crate) fn place(&self, path: &[Step], part: Part, label: &str) -> Place {
        match &self.content {
            Content::Json { record, within } => {
                let span = json_span(record, path, part);
                let begin = record.as_ptr() as usize - within.as_ptr() as usize;
                Place::new(
                    self.source(within),
                    begin + span.start..begin + span.end,
                    label,
                )
            }
            Content::Csv {
                columns,
                cells,
                record,
            } => {
                let column = match path.first() {
                    Some(Step::Key(key)) => columns.iter().position(|column| column == key),
                    _ => None,
                };
                let cell = column.and_then(|column| cells.get(column));
                let span = cell.map_or(0..record.len(), |(span, _)| span.clone());
                Place::new(self.source(record), span, label)
            }
            Content::Toml {
                document, index, ..
            } => {
                let record = [Step::Key("tests".to_owned()), Step::Index(*index)];
                let mut places = document.places(&[&record, path].concat(), part, label);
                places.remove(0)
            }
        }
    }

    fn source(&self, text: &str) -> &Arc<Source> {
        self.source.get_or_init(|| {
            Arc::new(Source {
                path: self.path.to_owned(),
                text: text.to_owned(),
                first_line: self.line,
            })
        })
    }
}

/// What serde says, without the line, which would be the one within the record.
fn message_of(error: &serde_json::Error) -> String {
    let message = error.to_string();
    message
        .split(" at line ")
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Where in a text serde found a mistake.
fn offset_of(text: &str, error: &serde_json::Error) -> usize {
    let lines = text.split_inclusive('\n');
    let before: usize = lines
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum();
    let mut at = (before + error.column().saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Where a value of a record, or its key, stands in the record's text.
fn json_span(record: &str, path: &[Step], part: Part) -> Range<usize> {
    let range = |part: &str| {
        let start = part.as_ptr() as usize - record.as_ptr() as usize;
        start..start + part.len()
    };
    let (mut key, mut value) = (range(record), record);
    for step in path {
        let next = match step {
            Step::Key(name) => json_entry(value, name),
            Step::Index(index) => json_item(value, *index).map(|item| (item, item)),
        };
        let Some((next_key, next)) = next else { break };
        (key, value) = (range(next_key), next);
    }
    match part {
        Part::Key => key,
        Part::Value => range(value),
    }
}

/// The texts of a key and its value in an object. The text of a key with escapes is that of its value.
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
