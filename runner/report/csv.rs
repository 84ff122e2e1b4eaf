//! One line a trial.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use csv::Writer;

use crate::{model::Outcome, view::RunReport};

const COLUMNS: [&str; 15] = [
    "trial",
    "test",
    "provider",
    "repeat",
    "tags",
    "outcome",
    "flaky",
    "attempts",
    "score",
    "started_at",
    "duration_ms",
    "peak_memory",
    "error_class",
    "error_code",
    "message",
];

/// Writes a header and a line for each trial. Metrics are columns behind the others: `metric:NAME`.
pub(super) fn write(report: &RunReport, to: &mut dyn Write) -> io::Result<()> {
    let metrics: BTreeSet<&str> = report
        .trials
        .iter()
        .flat_map(|trial| trial.metrics.iter().map(|metric| &*metric.name))
        .collect();
    let mut writer = Writer::from_writer(to);
    let named = metrics.iter().map(|name| format!("metric:{name}"));
    writer.write_record(COLUMNS.map(str::to_owned).into_iter().chain(named))?;
    for trial in &report.trials {
        let trial = &*report.in_full(trial)?;
        let error = trial.error.as_ref();
        let class = error.and_then(|error| error.class);
        let message = match error {
            Some(error) => &*error.message,
            None => trial.summary.as_deref().unwrap_or_default(),
        };
        let number = |number: Option<f64>| number.map_or_else(String::new, |it| it.to_string());
        let cells = [
            text(&trial.trial),
            text(&trial.test),
            text(&trial.provider),
            trial.repeat.to_string(),
            text(&trial.tags.join(" ")),
            trial.outcome.map_or("", Outcome::as_str).to_owned(),
            trial.is_flaky.to_string(),
            trial.attempts.to_string(),
            number(trial.score),
            trial
                .started_at
                .map_or_else(String::new, |at| at.to_string()),
            number(trial.duration_ms),
            trial.peak_memory.to_string(),
            class.map_or_else(String::new, |class| class.to_string()),
            text(error.map_or("", |error| &*error.code)),
            text(message),
        ];
        let measured = metrics.iter().map(|name| {
            let metric = trial.metrics.iter().find(|metric| metric.name == *name);
            number(metric.map(|metric| metric.value))
        });
        writer.write_record(cells.into_iter().chain(measured))?;
    }
    writer.flush()
}

/// A text as a cell. Spreadsheets take one for a formula that begins like one, and a guest may have chosen it.
fn text(text: &str) -> String {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}
