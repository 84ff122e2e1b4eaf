//! The report as CSV: a line for each trial.

use std::{borrow::Cow, collections::BTreeSet, io};

use csv::WriterBuilder;
use runner_model::visible::{visible, visible_line, without_commands};
use runner_record::RecordError;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::cases::{Case, Cases, FormError};
use crate::{RunDocument, failure, trials::output};

/// Characters of a value. A cell of a spreadsheet has at most 32,767 units of UTF-16.
const MOST_CHARACTERS: usize = 16_000;
/// Bytes that are read of an output in a file. A character that is escaped as two surrogates has 12 of them.
const MOST_BYTES: u64 = 13 * MOST_CHARACTERS as u64;
/// The columns after those of metrics.
const VALUES: [&str; 3] = ["input", "output", "meta"];

const COLUMNS: [&str; 11] = [
    "trial",
    "test",
    "provider",
    "repeat",
    "outcome",
    "flaky",
    "attempt",
    "started_at",
    "duration_ms",
    "score",
    "reason",
];

/// The column of a run with a list of known failures, after [`COLUMNS`]: empty, `known` or `unexpected-pass`.
const KNOWN: &str = "known";

/// Writes the report.
pub(super) fn write(document: &RunDocument, writer: &mut dyn io::Write) -> Result<(), FormError> {
    let metrics = metrics(document);
    let known = document.manifest.known().map(|_| KNOWN);
    let mut csv = WriterBuilder::new().from_writer(writer);
    let named = metrics.iter().map(|name| Cow::from(format!("metrics.{}", visible_line(name))));
    let names = COLUMNS.map(Cow::from).into_iter().chain(known.map(Cow::from)).chain(named);
    let names = names.chain(VALUES.map(Cow::from));
    csv.write_record(names.map(|name| text(&name))).map_err(io_error)?;
    let cases = Cases::read(document, false)?;
    let mut line = Vec::new();
    cases.each(|_, case| {
        let mut record = record(case, &metrics, known.is_some());
        let planned = case.test.zip(cases.order.suite.as_ref());
        if let Some((test, suite)) = planned {
            suite.line(test, &mut line).map_err(|source| {
                let path = document.run.run_dir.clone();
                RecordError::Io { what: "read the stored tests of", path, source }
            })?;
        }
        let Planned { input, meta } =
            planned.and_then(|_| serde_json::from_slice(&line).ok()).unwrap_or_default();
        let row = case.result.as_ref();
        let output = row
            .and_then(|row| output::start(document.rows.table.run(), row, MOST_BYTES))
            .map(|text| cell(&visible(&text)));
        let [input, meta] = [input, meta].map(|json| json.map(|json| value(json.get())));
        record.extend([input, output, meta].map(Option::unwrap_or_default));
        Ok(csv.write_record(record).map_err(io_error)?)
    })?;
    Ok(csv.flush()?)
}

/// Returns the error of the writer, which may be a reader that stopped early.
fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        problem => io::Error::other(format!("{problem:?}")),
    }
}

/// Returns the names of the providers' metrics.
fn metrics(document: &RunDocument) -> Vec<String> {
    let all = document.tables.providers.iter().flat_map(|table| &table.results.metrics);
    let names: BTreeSet<_> = all.map(|metric| metric.name.to_string()).collect();
    names.into_iter().collect()
}

fn record(case: &Case<'_>, metrics: &[String], has_known: bool) -> Vec<String> {
    let trial = &case.trial;
    let mut record = vec![
        text(&trial.to_string()),
        text(&trial.test),
        text(&trial.provider),
        trial.repeat.to_string(),
    ];
    let Some(row) = &case.result else {
        record.push("no result".to_owned());
        record.resize(COLUMNS.len() + usize::from(has_known) + metrics.len(), String::new());
        return record;
    };
    let has_reason = row.outcome.is_bad() || row.summary.is_some();
    record.extend([
        row.outcome.to_string(),
        row.flaky.to_string(),
        row.attempt.to_string(),
        row.started_at.to_string(),
        row.duration_ms.to_string(),
        row.trial_score().map(|score| score.to_string()).unwrap_or_default(),
        if has_reason { cell(&failure::headline(row)) } else { String::new() },
    ]);
    record.extend(has_known.then(|| case.state.as_str().to_owned()));
    record.extend(metrics.iter().map(|name| {
        let metric = row.metrics.iter().find(|metric| *metric.name == **name);
        metric.map(|metric| metric.value.to_string()).unwrap_or_default()
    }));
    record
}

/// Values of a test in the stored suite.
#[derive(Default, Deserialize)]
struct Planned<'a> {
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    meta: Option<&'a RawValue>,
}

/// Returns a JSON text itself, and any other value as JSON.
fn value(json: &str) -> String {
    cell(&visible(&output::text(json)))
}

/// Returns a text of any length, cut to [`MOST_CHARACTERS`].
fn cell(long: &str) -> String {
    let shown = text(long);
    match shown.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown,
    }
}

/// Adds `'` to the start of a text that a spreadsheet would evaluate as a formula.
fn text(text: &str) -> String {
    let text = without_commands(text);
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    if is_formula { format!("'{text}") } else { text.into_owned() }
}

#[cfg(test)]
mod tests {
    use super::{MOST_BYTES, MOST_CHARACTERS, value};

    #[test]
    fn cut_text_of_escapes_ends_with_a_mark() {
        for (escape, character) in
            [(r"\ud83d\ude00", '\u{1f600}'), (r"\u00e9", '\u{e9}'), ("x", 'x')]
        {
            for more in [0, 1, 100_000] {
                let json = format!("\"{}\"", escape.repeat(MOST_CHARACTERS + more));
                let shown = value(&json[..json.len().min(MOST_BYTES as usize)]);
                let mark = if more > 0 { "…" } else { "" };
                let expected = character.to_string().repeat(MOST_CHARACTERS) + mark;
                assert!(shown == expected, "{escape} {more}: {} bytes", shown.len());
            }
        }
    }
}
