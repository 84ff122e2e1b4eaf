//! The report as JUnit's XML: a suite for each provider, a case for each trial.

use std::io;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestRerun, TestSuite};
use runner_model::visible::{visible_line, without_commands};
use runner_model::{ErrorClass, Outcome, RowRef, row::duration, status::RunVerdict};

use super::cases::{Case, CaseCounts, Cases, FormError};
use crate::{PassRate, RunDocument, failure, phrases, run_facts};

/// Lines of each value, message and difference of a failure.
const BLOCK_LINES: usize = 200;
/// Cases that are serialized together.
const BATCH: usize = 256;
/// The end of a suite, as the library writes it.
const SUITE_END: &str = "    </testsuite>\n";

/// Writes the report. With a gate that holds, failures are skipped cases unless `is_strict`.
pub(super) fn write(
    document: &RunDocument,
    is_strict: bool,
    writer: &mut dyn io::Write,
) -> Result<(), FormError> {
    let cases = Cases::read(document, true)?;
    let is_held = !is_strict
        && document.manifest.gate.as_ref().is_some_and(|gate| gate.held)
        && document.manifest.verdict == RunVerdict::Passed;
    let frame = frame(document, &cases, is_held)?;
    let mut heads = frame.split(SUITE_END);
    let mut batch = Batch { cases: Vec::new(), writer };
    batch.writer.write_all(heads.next().unwrap_or_default().as_bytes())?;
    let (mut suite, mut next_suite) = (0, |batch: &mut Batch<'_>| {
        batch.flush()?;
        let head = heads.next().unwrap_or_default();
        batch.writer.write_all(SUITE_END.as_bytes())?;
        batch.writer.write_all(head.as_bytes())
    });
    cases.each(|provider, case| {
        for _ in suite..provider {
            next_suite(&mut batch)?;
        }
        suite = provider;
        batch.add(new_case(&document.manifest.scenario, case, is_held))
    })?;
    for _ in suite..document.providers.len() {
        next_suite(&mut batch)?;
    }
    Ok(())
}

/// Cases that are not written yet. A report may have millions.
struct Batch<'a> {
    cases: Vec<TestCase>,
    writer: &'a mut dyn io::Write,
}

impl Batch<'_> {
    fn add(&mut self, case: TestCase) -> io::Result<()> {
        self.cases.push(case);
        if self.cases.len() < BATCH { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.cases.is_empty() {
            return Ok(());
        }
        let (mut report, mut suite) = (Report::new(""), TestSuite::new(""));
        suite.add_test_cases(self.cases.drain(..));
        report.add_test_suite(suite);
        let text = report.to_string().map_err(io::Error::other)?;
        let start = text.find("        <testcase").unwrap_or(text.len());
        let end = text.rfind(SUITE_END).unwrap_or(text.len());
        self.writer.write_all(without_commands(&text[start..end]).as_bytes())
    }
}

/// Returns the report without cases.
fn frame(document: &RunDocument, cases: &Cases<'_>, is_held: bool) -> io::Result<String> {
    let manifest = &document.manifest;
    let mut report = Report::new(&*visible_line(&manifest.scenario));
    let all = cases.counts(manifest.providers.len());
    for (table, CaseCounts { counts, without_result }) in document.providers.iter().zip(all) {
        let mut suite = TestSuite::new(table.provider.as_str());
        let bad = [counts.failed, counts.error + counts.timeout].map(|count| count as usize);
        let tolerated = if is_held { counts.bad() as usize } else { 0 };
        [suite.failures, suite.errors] = if is_held { [0, 0] } else { bad };
        suite.disabled = (counts.skipped + without_result) as usize + tolerated;
        suite.tests = (counts.done() + without_result) as usize;
        let state = phrases::status_text(&document.run.head);
        let rate = PassRate::of(&counts, true);
        let interval = rate.map(|rate| rate.interval);
        let lost = document.lost_results + document.damaged_lines;
        let properties = [
            ("run", Some(document.run.head.id.clone())),
            ("state", Some(state)),
            ("filter", document.rows.which.filter().map(str::to_owned)),
            ("damaged or lost results", (lost > 0).then(|| lost.to_string())),
            ("stored tests", cases.suite.is_none().then(|| "cannot be read".to_owned())),
            ("gate", manifest.gate.as_ref().map(run_facts::gate)),
            ("pass rate", rate.map(|rate| format!("{:.4}", rate.rate))),
            (
                "pass rate, 95 % interval",
                interval.map(|(low, high)| format!("{low:.4} to {high:.4}")),
            ),
        ];
        for (name, value) in properties {
            value.iter().for_each(|value| {
                suite.add_property((name, &*visible_line(value)));
            });
        }
        let started = manifest.started_at.to_string();
        suite.extra.insert("timestamp".into(), started.as_str().into());
        report.add_test_suite(suite);
    }
    // Readers know the library's `disabled` as `skipped`. In values, quotes are escaped.
    let text = report.to_string().map_err(io::Error::other)?;
    Ok(text.replace(" disabled=\"", " skipped=\""))
}

fn new_case(scenario: &str, case: &Case<'_>, is_held: bool) -> TestCase {
    let mut details = None;
    let status = match &case.result {
        Some(row) if row.outcome.is_bad() && is_held => {
            details = Some(block(row));
            let mut status = TestCaseStatus::skipped();
            status.set_message(format!("{}; gate held", row.outcome));
            status
        }
        Some(row) => status(row, &case.retried),
        None => {
            let mut status = TestCaseStatus::skipped();
            status.set_message("no result");
            status
        }
    };
    let mut new = TestCase::new(case.trial.to_string(), status);
    new.set_classname(format!("{}.{}", visible_line(scenario), case.trial.provider));
    if let Some(row) = &case.result {
        new.set_time(duration(row.duration_ms));
    }
    new.system_out = details.map(Into::into);
    new
}

fn status(row: &RowRef<'_>, retried: &[RowRef<'_>]) -> TestCaseStatus {
    let mut status = match row.outcome {
        Outcome::Passed => TestCaseStatus::success(),
        Outcome::Skipped => TestCaseStatus::skipped(),
        outcome => TestCaseStatus::non_success(kind(outcome)),
    };
    // A success has no message.
    if row.outcome != Outcome::Passed {
        status.set_message(failure::headline(row));
    }
    if row.outcome.is_bad() {
        status.set_type(kind_of(row)).set_description(block(row));
    }
    status.add_reruns(retried.iter().map(|row| {
        let mut rerun = TestRerun::new(kind(row.outcome));
        rerun.set_message(failure::headline(row)).set_type(kind_of(row));
        rerun.set_description(block(row));
        rerun
    }));
    status
}

fn kind(outcome: Outcome) -> NonSuccessKind {
    if outcome == Outcome::Failed { NonSuccessKind::Failure } else { NonSuccessKind::Error }
}

/// Returns the class of the error, or else the outcome.
fn kind_of(row: &RowRef<'_>) -> &'static str {
    let class = row.error.as_ref().and_then(|error| error.class);
    class.map_or(row.outcome.as_str(), ErrorClass::as_str)
}

fn block(row: &RowRef<'_>) -> String {
    let lines = failure::block(row, BLOCK_LINES).into_iter().map(|(_, line)| line);
    lines.collect::<Vec<_>>().join("\n")
}
