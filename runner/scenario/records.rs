//! Reads the records of a test list, one after the other, whatever it is written in.

use std::{
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use serde_json::{Map, Value, value::RawValue};

use super::{
    Problem,
    check::{self, At},
    csv_quotes::CsvQuotes,
    files::ListFormat,
    keys,
    raw::{Document, Lines},
};

/// JSON and TOML have to be read as a whole.
const WHOLE_FILE_BYTES: u64 = 16 << 20;

/// A record, or why there is none; with its line from 1, or `None` where the whole file is meant.
pub(super) type Visit<'v> = dyn FnMut(Option<u64>, Result<Map<String, Value>, String>) + 'v;

/// Reads the records of the file in `path` and hands each to `visit`.
pub(super) fn read(path: &Path, format: ListFormat, visit: &mut Visit<'_>) {
    let done = match format {
        ListFormat::JsonLines => json_lines(path, visit),
        ListFormat::Json => whole(path).map(|text| json(&text, visit)),
        ListFormat::Csv => csv(path, visit),
        ListFormat::Toml => whole(path).map(|text| toml(&text, visit)),
    };
    if let Err(error) = done {
        visit(None, Err(error.to_string()));
    }
}

fn json_lines(path: &Path, visit: &mut Visit<'_>) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 16, fs_err::File::open(path)?);
    let mut line = Vec::new();
    let mut number = 0;
    while reader.read_until(b'\n', &mut line)? > 0 {
        number += 1;
        let record = if number == 1 {
            without_mark(&line)
        } else {
            &line
        };
        let record = record.trim_ascii();
        if !record.is_empty() {
            visit(Some(number), object(record));
        }
        line.clear();
    }
    Ok(())
}

fn json(text: &str, visit: &mut Visit<'_>) {
    let records: Vec<&RawValue> = match serde_json::from_str(text) {
        Ok(records) => records,
        Err(error) => {
            let message = format!("is not a JSON array: {}", without_place(&error));
            return visit(Some(error.line() as u64), Err(message));
        }
    };
    let mut lines = Lines::new(text);
    for record in records {
        let offset = record.get().as_ptr().addr() - text.as_ptr().addr();
        visit(Some(lines.at(offset)), object(record.get().as_bytes()));
    }
}

fn csv(path: &Path, visit: &mut Visit<'_>) -> io::Result<()> {
    let file = CsvQuotes::new(fs_err::File::open(path)?);
    let mut reader = csv::Reader::from_reader(file);
    let headers = match reader.headers() {
        Ok(headers) => headers.clone(),
        Err(error) => return csv_error(error, visit),
    };
    for (index, header) in headers.iter().enumerate() {
        if headers.iter().take(index).any(|earlier| earlier == header) {
            visit(
                Some(1),
                Err(format!("the column `{header}` is there twice")),
            );
            return Ok(());
        }
    }
    let mut record = csv::StringRecord::new();
    loop {
        match reader.read_record(&mut record) {
            Ok(false) => {
                if let Some((line, problem)) = reader.get_ref().problem() {
                    visit(Some(line), Err(problem.to_owned()));
                }
                return Ok(());
            }
            Ok(true) => {
                let cells = headers.iter().zip(&record);
                let cells = cells.map(|(header, cell)| (header.to_owned(), cell.into()));
                visit(
                    record.position().map(csv::Position::line),
                    Ok(cells.collect()),
                );
            }
            Err(error) => csv_error(error, visit)?,
        }
    }
}

/// Reports a mistake in a record; an error of the file itself ends the reading.
fn csv_error(error: csv::Error, visit: &mut Visit<'_>) -> io::Result<()> {
    let line = error.position().map(csv::Position::line);
    let message = match error.into_kind() {
        csv::ErrorKind::Io(error) => return Err(error),
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("the header has {expected_len} columns, and this record {len}"),
        csv::ErrorKind::Utf8 { .. } => "is not UTF-8".to_owned(),
        other => format!("is not CSV: {other:?}"),
    };
    visit(line, Err(message));
    Ok(())
}

fn toml(text: &str, visit: &mut Visit<'_>) {
    let mut lines = Lines::new(text);
    let mut problems = Vec::new();
    let mut records = Vec::new();
    match Document::parse(text) {
        Ok(document) => records = toml_records(&document, &mut problems),
        Err(syntax) => problems = syntax,
    }
    for problem in problems {
        visit(Some(lines.at(problem.offset())), Err(problem.to_string()));
    }
    for (offset, record) in records {
        visit(Some(lines.at(offset)), Ok(record));
    }
}

/// The records, with where they begin.
fn toml_records(
    document: &Document<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<(usize, Map<String, Value>)> {
    let mut value = document.value(problems);
    let mut findings = Vec::new();
    check::check(&value, &keys::TOML_LIST, &At::ROOT, &mut findings);
    problems.extend(findings.into_iter().map(|finding| document.locate(finding)));

    let mut records = Vec::new();
    let items = value.get_mut("tests").and_then(Value::as_array_mut);
    for (index, item) in items.into_iter().flatten().enumerate() {
        if let Value::Object(record) = item.take() {
            records.push((document.item("tests", index), record));
        }
    }
    records
}

fn whole(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    let file = fs_err::File::open(path)?;
    file.take(WHOLE_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > WHOLE_FILE_BYTES {
        return Err(io::Error::other(
            "it is larger than 16 MiB; JSON Lines and CSV have no such limit",
        ));
    }
    String::from_utf8(without_mark(&bytes).to_vec())
        .map_err(|_| io::Error::other("it is not UTF-8"))
}

pub(super) fn object(text: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err("a record must be a JSON object".to_owned()),
        Err(error) => Err(format!("is not JSON: {}", without_place(&error))),
    }
}

/// Some editors put a byte order mark at the beginning of a file.
pub(super) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text)
}

/// The line in the message would be the one within the record.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((message, _)) if error.column() > 0 => {
            format!("{message}, in column {}", error.column())
        }
        Some((message, _)) => message.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::{ListFormat, read};

    fn messages(name: &str, write: impl FnOnce(&fs_err::File)) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        write(&fs_err::File::create(&path).unwrap());
        let mut messages = Vec::new();
        read(
            &path,
            ListFormat::of(&path).unwrap(),
            &mut |line, record| {
                messages.push(format!("{line:?} {record:?}"));
            },
        );
        messages
    }

    #[test]
    fn what_must_be_read_as_a_whole_has_a_largest_size() {
        for name in ["a.json", "a.toml"] {
            let messages = messages(name, |file| file.set_len((16 << 20) + 1).unwrap());
            assert!(messages[0].contains("larger than 16 MiB"), "{messages:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_with_their_line() {
        let write = |text: &'static [u8]| {
            move |mut file: &fs_err::File| std::io::Write::write_all(&mut file, text).unwrap()
        };
        let lines = messages("a.jsonl", write(b"{}\n{\"a\": \"\xff\"}\n"));
        assert!(lines[1].starts_with("Some(2) Err"), "{lines:?}");
        let cells = messages("a.csv", write(b"a\nx\n\xff\n"));
        assert!(cells[1].starts_with("Some(3) Err"), "{cells:?}");
        let text = messages("a.toml", write(b"# \xff\n"));
        assert!(text[0].contains("not UTF-8"), "{text:?}");
    }
}
