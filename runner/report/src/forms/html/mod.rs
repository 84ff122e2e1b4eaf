//! The report as one page for a browser, which needs no other file and no network: the pages of `runner serve` with the
//! documents of a run.
//!
//! Texts of guests are text: `maud` escapes markup, [`data`] escapes JSON for a script element, and a policy in the page
//! refuses every other script and style.

mod bundle;
mod details;
mod overview;

use std::{collections::BTreeSet, io};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use runner_model::visible::{cut, visible_line, without_commands};
use runner_model::{Outcome, RowRef, digest, known::KnownState};
use runner_record::{Live, Manifest};
use serde::Serialize;

use self::bundle::data;
use self::details::Details;
use self::overview::LONG_REASON;
use super::cases::{Case, Cases, FormError};
use crate::list::RunSummary;
use crate::{
    ChangedLines, Class, FailuresPage, KnownResult, RunActions, RunCharts, RunDocument, RunTables,
    SincePrevious, failure, phrases, run_facts,
};

/// Bins of each chart.
const BINS: usize = 40;

/// The document of the page of a run. It has no time of the answer: ages are those at the time of reading.
#[derive(Serialize)]
struct RunOfReport<'a> {
    run: &'a RunSummary,
    actions: RunActions,
    manifest: &'a Manifest,
    live: &'a Option<Live>,
    lost_results: u64,
    rev: u32,
    #[serde(flatten)]
    tables: &'a RunTables,
    gate: Vec<String>,
    advice: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    since_previous: Option<&'a SincePrevious>,
}

/// Writes the page.
///
/// # Errors
///
/// The rows cannot be read, or the writer fails.
pub(super) fn write(
    document: &RunDocument,
    changed_lines: Option<ChangedLines>,
    writer: &mut dyn io::Write,
) -> Result<(), FormError> {
    let cases = Cases::read(document, false)?;
    let failures = document.rows.failures_in(&cases.order)?;
    let advice = advice(document, cases.order.suite.is_some());
    let style = bundle::style();
    let script = bundle::script();
    let page = html! {
        (DOCTYPE)
        (PreEscaped("<html lang=\"en\">"))
        (head(document, &style, &script))
        (PreEscaped("<body>"))
        header { span.brand { "runner" } span #root .quiet { "report" } button #keys type="button" aria-label="Keys" title="Keys" { "?" } }
        main #main tabindex="-1" { (overview::view(document, &failures, &advice)) }
    };
    writer.write_all(without_commands(&page.0).as_bytes())?;
    // Written while the rows are read. The details of failures are collected meanwhile.
    writer.write_all(b"<script id=\"trials\" type=\"application/json\">[")?;
    let mut details = Details::new(document, cases.order.suite.as_ref(), changed_lines)?;
    let gate = document.manifest.gate.as_ref().map(run_facts::gate_lines).unwrap_or_default();
    let table = &document.rows.table;
    let is_over = document.run.head.status.is_terminal();
    let since = SincePrevious::read(&details.root, table.run(), &details.manifest);
    let since = since.ok().flatten().filter(|_| is_over);
    details.push(
        "",
        &RunOfReport {
            run: &document.run,
            actions: RunActions::of(&document.run.head, true, false),
            manifest: &document.manifest,
            live: &document.live,
            lost_results: document.lost_results,
            rev: table.rows(),
            tables: &document.tables,
            gate,
            advice: &advice,
            since_previous: since.as_ref(),
        },
    )?;
    details.push("/summary", &RunCharts::read(table, &document.manifest, BINS)?)?;
    let groups = FailuresPage::of(&failures, since.as_ref());
    details.push("/failures", &groups)?;
    let known = table.known()?;
    let mut separator = "";
    cases.each(|_, case| {
        // Finding the place of a failure takes longer than formatting a trial.
        let result = case.result.as_ref();
        let known = result.and_then(|row| KnownResult::of(&known, row));
        let failed = result.filter(|row| row.outcome != Outcome::Passed || known.is_some());
        let failed = failed.map(|row| failures.places(row, known.as_ref())).unwrap_or_default();
        let keys: BTreeSet<_> =
            failed.iter().flatten().filter_map(|place| groups.key(*place)).collect();
        let keys = keys.into_iter().collect::<Vec<_>>().join(" ");
        let key = (!keys.is_empty()).then_some(&*keys);
        let change = since.as_ref().filter(|_| !failed.is_empty());
        let change = change.and_then(|since| since.class(&case.trial.to_string()));
        let is_new = matches!(change, Some(Class::Regressed | Class::New))
            && case.state != KnownState::Known;
        write!(writer, "{separator}{}", trial(case, key, known.as_ref(), is_new)?)?;
        separator = ",\n";
        details.add(case, &failed)
    })?;
    let run = data(&document.run.head.id)?;
    let documents = details.documents;
    write!(
        writer,
        "]</script>\n<script id=\"data\" type=\"application/json\">{{\"run\":{run},\"documents\":{{\n{documents}}}}}</script>\n<script>{script}</script>\n"
    )?;
    Ok(())
}

fn head(document: &RunDocument, style: &str, script: &str) -> Markup {
    let [style_hash, script] =
        [style, script].map(|text| BASE64_STANDARD.encode(digest(text.as_bytes()).0));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style_hash}'; script-src 'sha256-{script}'; base-uri 'none'; form-action 'none'"
    );
    let run = &document.run.head;
    html! {
        head {
            meta charset="utf-8";
            meta http-equiv="Content-Security-Policy" content=(policy);
            meta name="viewport" content="width=device-width, initial-scale=1";
            title { (visible_line(&run.scenario)) ": " (phrases::status_text(run)) }
            style { (PreEscaped(style)) }
        }
    }
}

/// Returns advice that the document of the run lacks.
fn advice(document: &RunDocument, has_plan: bool) -> Vec<String> {
    let run = &document.run;
    let mut advice = Vec::new();
    if !run.head.status.is_terminal() {
        advice.push("The run was running when this report was written.".to_owned());
    } else if run.is_resumable() {
        advice.push(format!("To continue the run: {}", run.resume_command(&run.short)));
    }
    if !has_plan {
        let missing = "The stored tests cannot be read: trials without a result are missing below.";
        advice.push(missing.to_owned());
    }
    if let Some(filter) = document.rows.which.filter() {
        let filter = visible_line(filter);
        advice.push(format!(
            "Failures and trials are those that match {filter}. Other numbers are of the whole run."
        ));
    }
    advice
}

/// Formats a trial for the list: id, outcome, attempt, milliseconds, reason, score, the keys of its failures' groups, and 1 for a failure
/// that the previous run lacks. The key of a known failure starts with `known`.
fn trial(
    case: &Case<'_>,
    key: Option<&str>,
    known: Option<&KnownResult>,
    is_new: bool,
) -> io::Result<String> {
    let row = case.result.as_ref();
    let outcome = row.map(|row| if row.flaky { "flaky" } else { row.outcome.as_str() });
    let reason = row.or(case.unsettled.as_ref());
    let reason = reason.filter(|row| row.outcome != Outcome::Passed || row.summary.is_some());
    let is_known = case.state == KnownState::Known;
    let reason = match known.filter(|_| !is_known) {
        Some(passes) => Some(passes.line()),
        None => reason.map(|row| cut(&failure::headline(row), LONG_REASON)),
    };
    let mut text = data(&(
        case.trial.to_string(),
        outcome,
        row.map(|row| row.attempt),
        row.map(|row| row.duration_ms),
        reason,
        row.and_then(RowRef::trial_score),
    ))?;
    let key = key.or(is_known.then_some("known"));
    if key.is_some() || is_new {
        let change = if is_new { ",1" } else { "" };
        text.insert_str(text.len() - 1, &format!(",{}{change}", data(&key)?));
    }
    Ok(text)
}
