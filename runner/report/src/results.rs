//! [`ResultRow`]: a row in a table of results.

use runner_model::row::MetricSums;
use runner_model::units::{grouped, show_duration};
use runner_model::{Counts, provider::COST, visible::visible_line};
use runner_results::Results;

use crate::{GraderTable, phrases};

/// Titles of [`ResultRow::cells`].
pub(crate) const RESULT_TITLES: [&str; 7] =
    ["pass rate", "score", "tokens", "cost", "p50", "p95", "max"];
/// Units of metrics whose sum has no meaning, because calls run at the same time.
const TIME_UNITS: &[&str] = &["ns", "us", "µs", "μs", "ms", "s", "sec", "seconds", "min", "h"];

/// A row in a table of results: of a provider, a grader or a value of `meta`.
#[derive(Clone, Debug)]
pub struct ResultRow {
    /// One line, made visible.
    pub name: String,
    pub counts: Counts,
    /// Texts by [`RESULT_TITLES`]. Empty without a value.
    pub cells: [String; RESULT_TITLES.len()],
}

impl ResultRow {
    /// Creates the row of `counts`, and of `results` if there are more than counts.
    pub fn new(name: &str, counts: Counts, results: Option<&Results>) -> Self {
        let sums = results.map(|results| MetricSums::of(&results.metrics)).unwrap_or_default();
        let durations = results.map(Results::durations).unwrap_or_default();
        let [p50, p95, max] = durations.map(|time| time.map(show_duration));
        let cells = [
            Some(phrases::pass_rate(&counts)),
            results.and_then(|results| Some(phrases::number(results.score?.into()))),
            sums.tokens.map(phrases::number),
            sums.cost_usd.map(phrases::cost),
            p50,
            p95,
            max,
        ];
        let cells = cells.map(Option::unwrap_or_default);
        Self { name: visible_line(name).into_owned(), counts, cells }
    }

    /// Creates the row of what a grader's calls took. `None` without tokens and cost.
    pub fn of_grader(GraderTable { grader, results, .. }: &GraderTable) -> Option<Self> {
        let name = format!("{grader} (grader)");
        let mut row = Self::new(&name, Counts::default(), Some(results));
        let [_, score, tokens, cost, ..] = &mut row.cells;
        score.clear();
        (!tokens.is_empty() || !cost.is_empty()).then_some(row)
    }

    /// Returns the columns of counts and results, without names and without columns that no row has a value for.
    pub fn columns(rows: &[Self]) -> Vec<(&'static str, Vec<String>)> {
        let titles = ["passed", "failed", "errors", "timeouts", "known", "skipped", "flaky"];
        let titles = titles.into_iter().chain(RESULT_TITLES);
        let columns = titles.enumerate().map(|(index, title)| {
            let cells = rows.iter().map(|row| {
                let Counts { passed, failed, error, timeout, known, skipped, flaky, .. } =
                    row.counts;
                let counts = [passed, failed, error, timeout, known, skipped, flaky];
                match counts.get(index) {
                    Some(0) => String::new(),
                    Some(count) => grouped(*count),
                    None => row.cells[index - counts.len()].clone(),
                }
            });
            (title, cells.collect::<Vec<_>>())
        });
        columns.filter(|(_, cells)| cells.iter().any(|cell| !cell.is_empty())).collect()
    }
}

/// Formats the metrics that [`ResultRow`] lacks, without those of time.
pub fn other_metrics(results: &Results) -> Vec<String> {
    let others = results.metrics.iter().filter(|metric| {
        let is_time = metric.unit.as_ref().is_some_and(|unit| TIME_UNITS.contains(&&**unit));
        !is_time && !metric.name.ends_with("tokens") && *metric.name != *COST
    });
    others.map(|metric| visible_line(&phrases::metric(metric)).into_owned()).collect()
}
