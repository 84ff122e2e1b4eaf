//! [`report`]: what a run came to, put together for a report.

use std::{collections::BTreeMap, path::Path};

use super::{selecting, statistics::statistics};
use crate::{
    error::Error,
    filter::Filter,
    model::{Counts, Outcome},
    record::{
        LineError, Look, RecordError, Row, RowOutput, RunReader, RunResults, Tallied, Tally, Wanted,
    },
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

/// Puts together what the run in `dir` came to, or those of its trials that `filter` means; `damaged` hears of lines that
/// give no row.
///
/// # Errors
///
/// Fails if the run or its rows cannot be read, or a run that the filter asks about.
pub fn report(
    dir: &Path,
    filter: Option<&Filter>,
    damaged: impl FnMut(&LineError),
) -> Result<RunReport, Error> {
    let root = dir.parent().unwrap_or(Path::new("."));
    let filter = filter.map(|filter| selecting::resolve(filter.clone(), root));
    let filter = filter.transpose()?;
    let look = Look::at(dir).map_err(|error| Error::find(error.into()))?;
    make(&look, filter.as_ref(), damaged).map_err(Error::record)
}

fn make(
    look: &Look,
    filter: Option<&Filter>,
    damaged: impl FnMut(&LineError),
) -> Result<RunReport, RecordError> {
    let reader = look.reader();
    let wants = |row: &Row<'_>| match row.is_final {
        true => Wanted::IfCurrent,
        false => Wanted::No,
    };
    let results = reader.results(wants, damaged)?;
    let (run, _) = look.entry(&results.history)?;
    let RunResults { history, rows, .. } = results;

    let mut settled: BTreeMap<u64, Row<'static>> = BTreeMap::new();
    for row in rows {
        settled.insert(row.ordinal, row);
    }
    let mut names = TrialNames::of(reader);
    let mut sums = Sums::new();
    let mut tally = Tally::default();
    let mut trials = Vec::new();
    for ordinal in 0..run.counts.planned {
        let row = settled.remove(&ordinal);
        let attempts = history.state.attempts(ordinal);
        let trial = trial(reader, names.as_mut(), ordinal, attempts, row.clone());
        let is_meant =
            |trial: &ReportTrial| filter.is_none_or(|filter| filter.holds(trial) == Some(true));
        let Some(trial) = trial.filter(is_meant) else {
            continue;
        };
        if let Some(row) = &row {
            add_metrics(&mut sums, row);
            tally.add(&Tallied::from(row), true);
        }
        trials.push(trial);
    }
    let counts = match filter {
        None => run.counts,
        Some(_) => Counts {
            planned: trials.len() as u64,
            ..tally.counts()
        },
    };
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
            counts: counts.into(),
            filter: filter.map(ToString::to_string),
            providers: providers.collect(),
            statistics: statistics(&trials),
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
