//! [`report`]: what a run came to, put together for a report.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Map, Value};

use super::{details::DetailSpool, grader_sums::GraderSums, selecting, statistics::statistics};
use crate::{
    error::Error,
    filter::Filter,
    model::{Counts, Outcome},
    record::{Look, RecordError, Row, RowOutput, RunReader, Tally},
    run::TrialNames,
    scenario::Test,
    view::{
        DocumentVersion, MetricSum, ProviderResult, ProviderSummary, ReportHead, ReportTrial,
        RunDetail, RunReport, TrialEvidence, plain_checks,
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
    damaged: impl FnMut(&dyn std::error::Error),
) -> Result<RunReport, Error> {
    let root = dir.parent().unwrap_or(Path::new("."));
    let filter = filter.map(|filter| selecting::resolve(filter.clone(), root));
    let filter = filter.transpose()?;
    let look = Look::at(dir).map_err(|error| Error::find(error.into()))?;
    make(&look, filter.as_ref(), damaged).map_err(Error::record)
}

/// The most trials of which a screen tells more than their counts where nobody asks for it: their rows are read once more.
const MAX_OVERVIEW: u64 = 20_000;

/// What the run in `dir` came to, for a screen; `None` of one with too many trials, unless it `is_asked_for`.
///
/// # Errors
///
/// Fails as [`report`] does.
pub fn overview(
    dir: &Path,
    detail: &RunDetail,
    is_asked_for: bool,
) -> Result<Option<RunReport>, Error> {
    let has_rows = detail.run.counts.planned > 1;
    if !is_asked_for && (!has_rows || detail.run.counts.planned > MAX_OVERVIEW) {
        return Ok(None);
    }
    // Of damaged lines somebody has heard.
    report(dir, None, |_| {}).map(Some)
}

fn make(
    look: &Look,
    filter: Option<&Filter>,
    damaged: impl FnMut(&dyn std::error::Error),
) -> Result<RunReport, RecordError> {
    let reader = look.reader();
    let mut names = TrialNames::of(reader);
    let dimensions = names
        .as_ref()
        .and_then(|names| names.scenario().dimensions());
    let dimensions = dimensions.map(<[_]>::to_vec);
    let spooled = |source| RecordError::Io {
        action: "keep what is known of trials in a temporary file",
        source,
    };
    let mut spool = DetailSpool::new().map_err(spooled)?;
    let take = |row: &Row<'static>| {
        let mut trial = settled_trial(reader, names.as_mut(), row);
        spool.take(&mut trial, row.attempt);
        trial
    };
    let (results, settled) = reader.settled(take, damaged)?;
    let details = spool.finish(reader).map_err(spooled)?;
    let history = results.history;
    let (run, _) = look.entry(&history)?;

    let mut sums = Sums::new();
    let mut graders = GraderSums::default();
    let mut tally = Tally::default();
    let mut trials = Vec::new();
    for (ordinal, trial) in (0..run.counts.planned).zip(settled) {
        let trial = trial.or_else(|| unsettled_trial(names.as_mut(), ordinal));
        let Some(mut trial) = trial else { continue };
        trial.attempts = history.state.attempts(ordinal);
        if filter.is_some_and(|filter| filter.holds(&trial) != Some(true)) {
            continue;
        }
        add_metrics(&mut sums, &trial);
        graders.add(&trial.grades);
        if let (Some(outcome), Some(duration)) = (trial.outcome, trial.duration()) {
            let mut counts = Counts::default();
            counts.add(outcome, trial.is_flaky);
            tally.settle(&trial.provider, counts, duration);
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
            graders: graders.finish(),
            statistics: statistics(&trials, dimensions.as_deref()),
            manifest: reader.manifest().clone(),
            run: run.id,
        },
        trials,
        details,
    })
}

/// A trial by the row that settles it.
fn settled_trial(
    reader: &RunReader,
    names: Option<&mut TrialNames>,
    row: &Row<'static>,
) -> ReportTrial {
    let test = names.and_then(|names| names.test(row.ordinal));
    let (tags, meta) = of_test(test.as_deref());
    let mut trial = ReportTrial {
        trial: row.trial.to_string(),
        test: row.test.to_string(),
        provider: row.provider.to_string(),
        repeat: row.repeat,
        tags,
        meta,
        outcome: Some(row.outcome),
        is_flaky: row.is_flaky,
        score: row.score,
        started_at: Some(row.started_at),
        duration_ms: Some(row.duration_ms),
        peak_memory: row.usage.peak_memory,
        ..nothing_of(row.ordinal)
    };
    trial.grades.clone_from(&row.grades);
    if row.outcome != Outcome::Passed {
        // What cannot be read any more is damage that `verify` tells of; the report has the rest.
        let said = reader.said(row).unwrap_or_default();
        let input = test.and_then(|test| serde_json::from_str(&test.input).ok());
        trial.evidence = Some(TrialEvidence {
            input: input.unwrap_or_default(),
            log: end_of(said.log),
            stdout: end_of(said.stdout),
            stderr: end_of(said.stderr),
            checks: plain_checks(&row.checks, &row.grades)
                .into_iter()
                .cloned()
                .collect(),
            output: match &row.output {
                Some(RowOutput::Inline(value)) => Some(value.clone().into_owned()),
                Some(RowOutput::Stored(_)) | None => None,
            },
        });
    }
    trial.summary = row.summary.as_deref().map(str::to_owned);
    trial.metrics.clone_from(&row.metrics);
    trial.error.clone_from(&row.error);
    trial.denied.clone_from(&row.denied);
    trial.artifacts.clone_from(&row.artifacts);
    trial
}

/// A trial that nothing has settled, by the stored plan; `None` without one.
pub(super) fn unsettled_trial(names: Option<&mut TrialNames>, ordinal: u64) -> Option<ReportTrial> {
    let names = names?;
    let test = names.test(ordinal);
    let id = names.name(ordinal)?;
    let (tags, meta) = of_test(test.as_deref());
    Some(ReportTrial {
        trial: id.to_string(),
        test: id.test.to_string(),
        provider: id.provider.to_string(),
        repeat: id.repeat,
        tags,
        meta,
        ..nothing_of(ordinal)
    })
}

/// The tags of a test, and what it says of itself.
fn of_test(test: Option<&Test>) -> (Vec<String>, Map<String, Value>) {
    test.map(|test| (test.tags.to_vec(), Map::clone(&test.meta)))
        .unwrap_or_default()
}

fn nothing_of(ordinal: u64) -> ReportTrial {
    ReportTrial {
        trial: String::new(),
        ordinal,
        test: String::new(),
        provider: String::new(),
        repeat: 1,
        tags: Vec::new(),
        meta: Map::new(),
        outcome: None,
        is_flaky: false,
        attempts: 0,
        score: None,
        started_at: None,
        duration_ms: None,
        peak_memory: 0,
        summary: None,
        metrics: Vec::new(),
        grades: Vec::new(),
        error: None,
        denied: Vec::new(),
        artifacts: Vec::new(),
        evidence: None,
    }
}

fn add_metrics(sums: &mut Sums, trial: &ReportTrial) {
    if trial.metrics.is_empty() {
        return;
    }
    let of_provider = sums.entry(trial.provider.clone()).or_default();
    for metric in &trial.metrics {
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
