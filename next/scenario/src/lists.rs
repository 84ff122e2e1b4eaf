//! Reads test lists: a JSON object on each line.

use std::{
    borrow::Cow,
    cell::OnceCell,
    collections::HashMap,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    ops::Range,
    path::Path,
    sync::Arc,
};

use runner_model::Text;
use serde_json::{Value, value::RawValue};

use crate::{
    problem::{Place, Problem, Source},
    reading::{Part, Step},
    scenario::not_utf8,
};

/// Bytes of a record, so that a list takes little memory whatever is in it.
const MAX_RECORD: u64 = 16 << 20;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A list that is read line by line.
pub(crate) struct ListReader {
    /// For people.
    path: String,
    file: BufReader<File>,
    line: Vec<u8>,
    /// The number of the line, from 1.
    number: usize,
    /// Nothing more can be read.
    is_over: bool,
}

/// A line of a list, which knows where its values stand.
pub(crate) struct Line<'a> {
    path: &'a str,
    number: usize,
    text: &'a str,
    source: OnceCell<Arc<Source>>,
}

impl ListReader {
    pub(crate) fn open(path: &Path, shown: String) -> Result<Self, Problem> {
        let file = File::open(path).map_err(|error| cannot_read(&shown, &error))?;
        Ok(Self {
            path: shown,
            file: BufReader::with_capacity(64 << 10, file),
            line: Vec::new(),
            number: 0,
            is_over: false,
        })
    }

    /// The next line that is not blank; `None` at the end of the file.
    pub(crate) fn next(&mut self) -> Option<Result<Line<'_>, Problem>> {
        self.line.clear();
        while !self.is_over && self.line.trim_ascii().is_empty() {
            self.line.clear();
            self.number += 1;
            let mut limited = (&mut self.file).take(MAX_RECORD + 1);
            match limited.read_until(b'\n', &mut self.line) {
                Ok(count) if count as u64 <= MAX_RECORD => self.is_over = count == 0,
                end => {
                    self.is_over = true;
                    return Some(Err(match end {
                        Ok(_) => self.too_long(),
                        Err(error) => cannot_read(&self.path, &error),
                    }));
                }
            }
            if self.number == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
                self.line.drain(..BYTE_ORDER_MARK.len());
            }
        }
        if self.is_over {
            return None;
        }
        let bytes = self.line.trim_ascii_end();
        let line = |text| Line {
            path: &self.path,
            number: self.number,
            text,
            source: OnceCell::new(),
        };
        let text = std::str::from_utf8(bytes);
        Some(
            text.map(line)
                .map_err(|_| not_utf8(&self.path, self.number, bytes)),
        )
    }

    fn too_long(&self) -> Problem {
        const SHOWN: usize = 80;
        let source = Source {
            path: self.path.clone(),
            text: String::from_utf8_lossy(&self.line[..SHOWN]).into_owned(),
            first_line: self.number,
        };
        let place = Place::new(&Arc::new(source), 0..0, "it begins here");
        Problem::new("a record has more than 16 MiB, and the list is not read further").at(place)
    }
}

fn cannot_read(path: &str, error: &io::Error) -> Problem {
    Problem::of_file(path, format!("cannot read the test list: {error}"))
}

impl Line<'_> {
    /// The line as JSON.
    pub(crate) fn parse(&self) -> Result<Value, Problem> {
        serde_json::from_str(self.text).map_err(|error| {
            let message = error.to_string();
            // The line that it counts is always the first.
            let message = message.split(" at line ").next().unwrap_or_default();
            let mut at = error.column().saturating_sub(1).min(self.text.len());
            while !self.text.is_char_boundary(at) {
                at -= 1;
            }
            let place = Place::new(self.source(), at..at, "here");
            Problem::new(format!("not valid JSON: {message}")).at(place)
        })
    }

    pub(crate) fn place(&self, path: &[Step], part: Part, label: &str) -> Place {
        Place::new(self.source(), self.span(path, part), label)
    }

    /// Where the texts of a key and its value stand that are parts of the line.
    fn range(&self, part: &str) -> Range<usize> {
        let start = part.as_ptr() as usize - self.text.as_ptr() as usize;
        start..start + part.len()
    }

    fn source(&self) -> &Arc<Source> {
        self.source.get_or_init(|| {
            Arc::new(Source {
                path: self.path.to_owned(),
                text: self.text.to_owned(),
                first_line: self.number,
            })
        })
    }

    fn span(&self, path: &[Step], part: Part) -> Range<usize> {
        let whole = self.text.trim_start();
        let (mut key, mut value) = (self.range(whole), whole);
        for step in path {
            let next = match step {
                Step::Key(name) => entry(value, name),
                Step::Index(index) => item(value, *index).map(|item| (item, item)),
            };
            let Some((next_key, next)) = next else { break };
            (key, value) = (self.range(next_key), next);
        }
        match part {
            Part::Key => key,
            Part::Value => self.range(value),
        }
    }
}

/// The texts of a key and its value in an object. The text of a key with escapes is that of its value.
fn entry<'a>(object: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let entries: HashMap<Text<'a>, &'a RawValue> = serde_json::from_str(object).ok()?;
    let (key, value) = entries.into_iter().find(|(key, _)| **key == *name)?;
    let key = match key.0 {
        Cow::Borrowed(key) => key,
        Cow::Owned(_) => value.get(),
    };
    Some((key, value.get()))
}

fn item(array: &str, index: usize) -> Option<&str> {
    let items: Vec<&RawValue> = serde_json::from_str(array).ok()?;
    items.get(index).map(|item| item.get())
}
