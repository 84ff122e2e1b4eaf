//! [`Trials`]: the table of all trials, as markup for the first ones and as JSON for the script.

use std::io;

use maud::{Markup, html};
use runner_model::units::{plural, show_duration};
use runner_model::visible::visible_line;
use runner_model::{Outcome, RowRef};
use serde::Serialize;

use super::details::headline;
use super::groups::{Groups, Reason};
use crate::forms::cases::Case;
use crate::{RunDocument, phrases};

/// Trials in the page itself. The script shows all.
const MOST_ROWS: usize = 2000;
/// Outcomes by their numbers in JSON.
const OUTCOMES: [&str; 7] =
    ["passed", "failed", "error", "timeout", "skipped", "flaky", "no result"];

/// The table of trials.
pub(super) struct Trials<'a> {
    document: &'a RunDocument,
    rows: String,
    /// Number of rows.
    pub(super) count: usize,
    has_scores: bool,
}

impl<'a> Trials<'a> {
    pub(super) fn new(document: &'a RunDocument) -> Self {
        Self { document, rows: String::new(), count: 0, has_scores: false }
    }

    /// Adds a trial, and writes it as JSON for the script: test, provider, repeat, outcome, milliseconds, reason, number of
    /// the failure, score.
    pub(super) fn add(
        &mut self,
        case: &Case<'_>,
        groups: &mut Groups<'_>,
        writer: &mut dyn io::Write,
    ) -> io::Result<()> {
        let result = case.result.as_ref();
        let (reason, failure) = match (result, &case.unsettled) {
            (Some(row), _) if row.outcome.is_bad() => groups.add(row, &case.retried, self.count),
            (Some(row), _) if row.outcome == Outcome::Passed || row.summary.is_none() => {
                (Reason::Text(String::new()), None)
            }
            (Some(row), _) | (None, Some(row)) => (Reason::Text(headline(row)), None),
            (None, None) => (Reason::Text(String::new()), None),
        };
        let score = result.and_then(RowRef::trial_score);
        self.has_scores |= score.is_some();
        if self.count < MOST_ROWS {
            let reason = match &reason {
                Reason::Group(number) => groups.reason(*number),
                Reason::Text(text) => text,
            };
            self.rows += &line(case, reason, failure, score).0;
        }
        let mut providers = self.document.providers.iter();
        let row = (
            visible_line(&case.trial.test),
            providers.position(|table| *table.provider == *case.trial.provider),
            case.trial.repeat,
            OUTCOMES.iter().position(|word| *word == outcome(result)),
            result.map(|row| row.duration_ms),
            reason,
            failure.unwrap_or(0),
            score,
        );
        writer.write_all(if self.count == 0 { b"" } else { b",\n" })?;
        self.count += 1;
        writer.write_all(data(&row)?.as_bytes())
    }

    pub(super) fn section(&self) -> Markup {
        let left = self.count.saturating_sub(MOST_ROWS);
        html! {
            section #trials {
                h2 { "Trials" span.count #shown { (plural(self.count as u64, "trial", "trials")) } }
                table.trials.no-score[!self.has_scores].no-provider[self.document.providers.len() == 1] {
                    thead {
                        tr {
                            th.outcome scope="col" { "Outcome" }
                            th.test scope="col" { "Test" }
                            th.provider scope="col" { "Provider" }
                            th.score.number scope="col" { "Score" }
                            th.reason scope="col" { "Reason" }
                            th.time.number scope="col" { "Duration" }
                        }
                    }
                    tbody { (maud::PreEscaped(&self.rows)) }
                }
                @if left > 0 { p #rest .quiet { (plural(left as u64, "more trial needs", "more trials need")) " scripts to be shown." } }
            }
        }
    }
}

fn outcome(result: Option<&RowRef<'_>>) -> &'static str {
    result.map_or("no result", |row| if row.flaky { "flaky" } else { row.outcome.as_str() })
}

fn line(case: &Case<'_>, reason: &str, failure: Option<usize>, score: Option<f64>) -> Markup {
    let (trial, outcome) = (&case.trial, outcome(case.result.as_ref()));
    let test = visible_line(&trial.test);
    html! {
        tr {
            td.outcome { span class=(outcome) { (outcome) } }
            td.test.name {
                @match failure { Some(number) => a href={ "#f" (number) } { (test) }, None => (test) }
                @if trial.repeat > 1 { span.quiet { " #" (trial.repeat) } }
            }
            td.provider { (visible_line(&trial.provider)) }
            td.score.number { @if let Some(score) = score { (phrases::number(score)) } }
            td.reason { (reason) }
            td.time.number { @if let Some(row) = &case.result { (show_duration(row.duration())) } }
        }
        "\n"
    }
}

/// Serializes a value for an element `script`, which no text of the value can end, and without commands of jobs.
pub(super) fn data(value: &impl Serialize) -> io::Result<String> {
    Ok(serde_json::to_string(value)?.replace('<', r"\u003c").replace("##[", r"##\u005b"))
}
