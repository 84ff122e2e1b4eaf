//! One line a trial.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
};

use csv::Writer;

use crate::{
    model::{CheckVerdict, Outcome},
    view::{ReportTrial, RunReport},
};

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

/// What there is of each grader, beside what it measured.
const GRADE_COLUMNS: [&str; 5] = ["verdict", "score", "explanation", "attempts", "duration_ms"];

/// Writes a header and a line for each trial. Metrics are columns behind the others: `metric:NAME`; and then what each grader
/// said: `grader:NAME:verdict`, `…:score`, `…:explanation`, `…:attempts`, `…:duration_ms` and `…:metric:NAME`.
pub(super) fn write(report: &RunReport, to: &mut dyn Write) -> io::Result<()> {
    let metrics: BTreeSet<&str> = report
        .trials
        .iter()
        .flat_map(|trial| trial.metrics.iter().map(|metric| &*metric.name))
        .collect();
    let mut writer = Writer::from_writer(to);
    let named = metrics.iter().map(|name| format!("metric:{name}"));
    let graders = graders(report);
    let said = graders.iter().flat_map(|(grader, metrics)| {
        let own = GRADE_COLUMNS.iter().copied().map(str::to_owned);
        let metrics = metrics.iter().map(|name| format!("metric:{name}"));
        own.chain(metrics)
            .map(move |column| format!("grader:{grader}:{column}"))
    });
    let columns = COLUMNS.map(str::to_owned).into_iter();
    writer.write_record(columns.chain(named).chain(said))?;
    for trial in &report.trials {
        let trial = &*report.in_full(trial)?;
        let error = trial.error.as_ref();
        let class = error.and_then(|error| error.class);
        let message = match error {
            Some(error) => &*error.message,
            None => trial.summary.as_deref().unwrap_or_default(),
        };
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
        let said = graders
            .iter()
            .flat_map(|(grader, metrics)| grade_cells(trial, grader, metrics));
        writer.write_record(cells.into_iter().chain(measured).chain(said))?;
    }
    writer.flush()
}

/// Who graded, and what each of them measured.
fn graders(report: &RunReport) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut graders: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for grade in report.trials.iter().flat_map(|trial| &trial.grades) {
        let metrics = grade.metrics.iter().map(|metric| &*metric.name);
        graders.entry(&grade.grader).or_default().extend(metrics);
    }
    graders
}

/// What a grader said of a trial, if it did.
fn grade_cells(trial: &ReportTrial, grader: &str, metrics: &BTreeSet<&str>) -> Vec<String> {
    let mut grades = trial.grades.iter();
    let Some(grade) = grades.find(|grade| grade.grader == grader) else {
        return vec![String::new(); GRADE_COLUMNS.len() + metrics.len()];
    };
    let explanation = grade.explanation.as_deref();
    let error = || grade.error.as_ref().map(|error| &*error.message);
    let own = [
        grade.verdict.map_or("", CheckVerdict::as_str).to_owned(),
        number(grade.score),
        text(explanation.or_else(error).unwrap_or_default()),
        grade.attempts.to_string(),
        grade.duration_ms.to_string(),
    ];
    let measured = metrics.iter().map(|name| {
        let metric = grade.metrics.iter().find(|metric| metric.name == *name);
        number(metric.map(|metric| metric.value))
    });
    own.into_iter().chain(measured).collect()
}

fn number(number: Option<f64>) -> String {
    number.map_or_else(String::new, |it| it.to_string())
}

/// A text as a cell. Spreadsheets take one for a formula that begins like one, and a guest may have chosen it.
fn text(text: &str) -> String {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}
