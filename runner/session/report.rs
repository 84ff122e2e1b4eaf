//! [`report`]: what a run came to, put together for a report.

use std::{collections::BTreeMap, path::Path};

use crate::{
    error::Error,
    model::Outcome,
    record::{LineError, Look, RecordError, Row, RowOutput, RunReader, RunResults, Wanted},
    run::TrialNames,
    view::{
        DocumentVersion, MetricSum, ProviderResult, ProviderSummary, ReportHead, ReportTrial,
        RunReport, TrialEvidence,
    },
};

/// Bytes of a log, of a standard output and of a standard error that a report has: the end of it.
const MAX_TEXT: usize = 64 * 1024;

/// By provider, and by name and unit of the metric.
type Sums = BTreeMap<String, BTreeMap<(String, Option<String>), (f64, u64)>>;

/// Puts together what the run in `dir` came to; `damaged` hears of lines that give no row.
///
/// # Errors
///
/// Fails if the run or its rows cannot be read.
pub fn report(dir: &Path, damaged: impl FnMut(&LineError)) -> Result<RunReport, Error> {
    let look = Look::at(dir).map_err(|error| Error::find(error.into()))?;
    make(&look, damaged).map_err(Error::record)
}

fn make(look: &Look, damaged: impl FnMut(&LineError)) -> Result<RunReport, RecordError> {
    let reader = look.reader();
    let wants = |row: &Row<'_>| match row.is_final {
        true => Wanted::IfCurrent,
        false => Wanted::No,
    };
    let results = reader.results(wants, damaged)?;
    let (run, _) = look.entry(&results.history)?;
    let RunResults {
        history,
        tally,
        rows,
        ..
    } = results;

    let mut settled: BTreeMap<u64, Row<'static>> = BTreeMap::new();
    for row in rows {
        settled.insert(row.ordinal, row);
    }
    let mut names = TrialNames::of(reader);
    let mut sums = Sums::new();
    let mut trials = Vec::new();
    for ordinal in 0..run.counts.planned {
        let row = settled.remove(&ordinal);
        if let Some(row) = &row {
            add_metrics(&mut sums, row);
        }
        let attempts = history.state.attempts(ordinal);
        trials.extend(trial(reader, names.as_mut(), ordinal, attempts, row));
    }
    let providers = ProviderSummary::all(&tally);
    let providers = providers.into_iter().map(|summary| {
        let sums = sums.remove(&summary.provider).unwrap_or_default();
        ProviderResult::new(summary, metrics(sums))
    });
    Ok(RunReport {
        head: ReportHead {
            v: DocumentVersion,
            scenario: run.scenario.clone(),
            status: run.status,
            reason: run.reason,
            signal: run.signal,
            verdict: run.verdict,
            created_at: run.created_at,
            completed_at: run.completed_at,
            worked_ms: run.worked.as_micros() as f64 / 1e3,
            counts: run.counts.into(),
            providers: providers.collect(),
            manifest: reader.manifest().clone(),
            run: run.id,
        },
        trials,
    })
}

/// A trial, by the row that settled it or else by the stored plan; `None` if it has neither.
fn trial(
    reader: &RunReader,
    mut names: Option<&mut TrialNames>,
    ordinal: u64,
    attempts: u32,
    row: Option<Row<'static>>,
) -> Option<ReportTrial> {
    let test = names.as_mut().and_then(|names| names.test(ordinal));
    let tags = test.as_ref().map(|test| test.tags.to_vec());
    let mut trial = ReportTrial {
        trial: String::new(),
        ordinal,
        test: String::new(),
        provider: String::new(),
        repeat: 1,
        tags: tags.unwrap_or_default(),
        outcome: None,
        is_flaky: false,
        attempts,
        score: None,
        started_at: None,
        duration_ms: None,
        peak_memory: 0,
        summary: None,
        metrics: Vec::new(),
        error: None,
        denied: Vec::new(),
        artifacts: Vec::new(),
        evidence: None,
    };
    let Some(row) = row else {
        let id = names?.name(ordinal)?;
        trial.trial = id.to_string();
        trial.test = id.test.to_string();
        trial.provider = id.provider.to_string();
        trial.repeat = id.repeat;
        return Some(trial);
    };
    if row.outcome != Outcome::Passed {
        // What cannot be read any more is damage that `verify` tells of; the report has the rest.
        let said = reader.said(&row).unwrap_or_default();
        let input = test.and_then(|test| serde_json::from_str(&test.input).ok());
        trial.evidence = Some(TrialEvidence {
            input: input.unwrap_or_default(),
            log: end_of(said.log),
            stdout: end_of(said.stdout),
            stderr: end_of(said.stderr),
            checks: row.checks,
            output: match row.output {
                Some(RowOutput::Inline(value)) => Some(value.into_owned()),
                Some(RowOutput::Stored(_)) | None => None,
            },
        });
    }
    trial.trial = row.trial.into_owned();
    trial.test = row.test.into_owned();
    trial.provider = row.provider.into_owned();
    trial.repeat = row.repeat;
    trial.outcome = Some(row.outcome);
    trial.is_flaky = row.is_flaky;
    trial.score = row.score;
    trial.started_at = Some(row.started_at);
    trial.duration_ms = Some(row.duration_ms);
    trial.peak_memory = row.usage.peak_memory;
    trial.summary = row.summary.map(Into::into);
    trial.metrics = row.metrics;
    trial.error = row.error;
    trial.denied = row.denied;
    trial.artifacts = row.artifacts;
    Some(trial)
}

fn add_metrics(sums: &mut Sums, row: &Row<'_>) {
    if row.metrics.is_empty() {
        return;
    }
    let of_provider = sums.entry(row.provider.to_string()).or_default();
    for metric in &row.metrics {
        let unit = metric.unit.as_ref().map(ToString::to_string);
        let (sum, trials) = of_provider
            .entry((metric.name.to_string(), unit))
            .or_default();
        *sum += metric.value;
        *trials += 1;
    }
}

fn metrics(sums: BTreeMap<(String, Option<String>), (f64, u64)>) -> Vec<MetricSum> {
    let each = sums.into_iter();
    each.map(|((name, unit), (sum, trials))| MetricSum {
        name,
        unit,
        sum,
        trials,
    })
    .collect()
}

/// The end of a text, from a line's beginning on where it is cut.
fn end_of(text: String) -> String {
    if text.len() <= MAX_TEXT {
        return text;
    }
    let from = text.ceil_char_boundary(text.len() - MAX_TEXT);
    let text = &text[from..];
    let line = text.find('\n').map_or(text, |end| &text[end + 1..]);
    format!("…\n{line}")
}
