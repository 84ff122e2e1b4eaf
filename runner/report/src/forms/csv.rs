//! The report as CSV: a line for each trial.

use std::{borrow::Cow, io};

use csv::WriterBuilder;
use runner_model::row::Metric;
use runner_model::visible::{visible_line, without_commands};

use super::cases::{Case, Cases, FormError};
use crate::{RunDocument, failure};

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

/// Writes the report.
pub(super) fn write(document: &RunDocument, writer: &mut dyn io::Write) -> Result<(), FormError> {
    let metrics = metrics(document);
    let mut csv = WriterBuilder::new().from_writer(writer);
    let named = metrics.iter().map(|name| Cow::from(format!("metrics.{}", visible_line(name))));
    csv.write_record(COLUMNS.map(Cow::from).into_iter().chain(named).map(|name| text(&name)))
        .map_err(io::Error::from)?;
    Cases::read(document, false)?.each(|_, case| Ok(csv.write_record(record(case, &metrics))?))?;
    Ok(csv.flush()?)
}

/// Returns the names of the providers' metrics.
fn metrics(document: &RunDocument) -> Vec<String> {
    let all = document.providers.iter().flat_map(|table| &table.results.metrics);
    let mut names: Vec<_> = all.map(|metric| metric.name.to_string()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn record(case: &Case<'_>, metrics: &[String]) -> Vec<String> {
    let trial = &case.trial;
    let mut record = vec![
        trial.to_string(),
        trial.test.to_string(),
        text(&trial.provider),
        trial.repeat.to_string(),
    ];
    let Some(row) = &case.result else {
        record.push("no result".to_owned());
        record.resize(COLUMNS.len() + metrics.len(), String::new());
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
        if has_reason { text(&failure::headline(row)) } else { String::new() },
    ]);
    record.extend(metrics.iter().map(|name| {
        let same = |metric: &&Metric<'_>| *metric.name == **name;
        row.metrics.iter().find(same).map(|metric| metric.value.to_string()).unwrap_or_default()
    }));
    record
}

/// Adds `'` to the start of a text that a spreadsheet would evaluate as a formula.
fn text(text: &str) -> String {
    let text = without_commands(text);
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    if is_formula { format!("'{text}") } else { text.into_owned() }
}
