//! A comment of a pull request: what the run came to, a line a provider, and the failures folded.

use std::io::{self, Write};

use super::words::{duration_or_dash, millis, outcome_words, percent};
use crate::{
    model::{CheckVerdict, Outcome, count, number, plural},
    view::{ReportTrial, RunReport, TrialEvidence, grade_costs, grade_words, measured_words},
};

/// How many failures it tells of.
const MAX_FAILURES: usize = 20;
/// Characters of each text of a guest.
const MAX_TEXT: usize = 1_000;

pub(super) fn write(report: &RunReport, to: &mut dyn Write) -> io::Result<()> {
    let head = &report.head;
    let counts = &head.counts;
    let sign = match head.verdict.as_str() {
        "passed" => "✅",
        "failed" => "❌",
        _ => "⚪",
    };
    let name = cell(&head.scenario);
    writeln!(to, "### {sign} {name}: {}\n", outcome_words(report))?;
    let done = counts.passed + counts.failed + counts.error + counts.timeout + counts.skipped;
    let took = millis(head.worked_ms);
    writeln!(
        to,
        "{} of {} in {took} · run `{}`\n",
        count(done),
        plural(counts.planned, "trial"),
        head.run
    )?;
    if let Some(filter) = &head.filter {
        writeln!(to, "Only trials that the filter means: {}\n", cell(filter))?;
    }

    writeln!(
        to,
        "| provider | passed | failed | errors | timeouts | skipped | flaky | pass rate (95 %) | p50 | p95 |"
    )?;
    writeln!(
        to,
        "| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |"
    )?;
    for provider in &head.providers {
        let counts = &provider.summary.counts;
        let rate = provider.pass_rate.zip(provider.pass_rate_interval);
        writeln!(
            to,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            cell(&provider.summary.provider),
            counts.passed,
            counts.failed,
            counts.error,
            counts.timeout,
            counts.skipped,
            counts.flaky,
            rate.map_or_else(
                || "–".to_owned(),
                |(rate, interval)| percent(rate, interval)
            ),
            duration_or_dash(provider.summary.p50),
            duration_or_dash(provider.summary.p95),
        )?;
    }

    graders(report, to)?;
    several_attempts(report, to)?;

    let bad: Vec<_> = report
        .trials
        .iter()
        .filter(|trial| trial.is_bad())
        .collect();
    if bad.is_empty() {
        return Ok(());
    }
    let title = plural(bad.len() as u64, "trial");
    writeln!(to, "\n<details>\n<summary>{title} did not pass</summary>\n")?;
    for trial in bad.iter().take(MAX_FAILURES) {
        failure(&*report.in_full(trial)?, to)?;
    }
    if bad.len() > MAX_FAILURES {
        writeln!(to, "… and {} more\n", bad.len() - MAX_FAILURES)?;
    }
    writeln!(to, "</details>")
}

/// What each grader said of all trials together.
fn graders(report: &RunReport, to: &mut dyn Write) -> io::Result<()> {
    let graders = &report.head.graders;
    if graders.is_empty() {
        return Ok(());
    }
    writeln!(
        to,
        "\n| grader | pass | fail | skip | no verdict | mean score | measured |"
    )?;
    writeln!(to, "| --- | --: | --: | --: | --: | --: | --- |")?;
    for grader in graders {
        let metrics = grader.metrics.iter();
        let metrics: Vec<_> = metrics
            .map(|metric| measured_words(&metric.name, metric.sum, metric.unit.as_deref()))
            .collect();
        writeln!(
            to,
            "| {} | {} | {} | {} | {} | {} | {} |",
            cell(&grader.grader),
            grader.passed,
            grader.failed,
            grader.skipped,
            grader.errors,
            grader.mean_score.map_or_else(|| "–".to_owned(), number),
            cell(&metrics.join(", ")),
        )?;
    }
    Ok(())
}

/// What several attempts at a test come to, for each provider that has made some.
fn several_attempts(report: &RunReport, to: &mut dyn Write) -> io::Result<()> {
    let all = report.head.statistics.iter();
    for group in all.filter(|group| group.of().is_none()) {
        if let Some(several) = group.attempts.last() {
            writeln!(
                to,
                "\n{}: of {} attempts at a test, at least one passes with {:.1} %, all pass with {:.1} %",
                cell(&group.provider),
                count(several.k),
                several.any * 100.0,
                several.all * 100.0
            )?;
        }
    }
    Ok(())
}

fn failure(trial: &ReportTrial, to: &mut dyn Write) -> io::Result<()> {
    let outcome = trial.outcome.map_or("", Outcome::as_str);
    writeln!(to, "#### {} · {outcome}\n", cell(&trial.trial))?;
    if let Some(error) = &trial.error {
        block(to, "", &error.told())?;
    }
    for grade in &trial.grades {
        writeln!(
            to,
            "grader `{}` {}\n",
            cell(&grade.grader).replace('`', "'"),
            cell(&format!("{} ({})", grade_words(grade), grade_costs(grade)))
        )?;
        if let Some(explanation) = &grade.explanation {
            block(to, "", explanation)?;
        }
    }
    let Some(TrialEvidence { checks, .. }) = &trial.evidence else {
        return Ok(());
    };
    let failed = checks.iter();
    for check in failed.filter(|check| check.verdict == CheckVerdict::Fail) {
        let message = check.message.as_deref().unwrap_or_default();
        writeln!(
            to,
            "`{}` {}\n",
            cell(&check.name).replace('`', "'"),
            cell(message)
        )?;
        match (&check.diff, check.compared()) {
            (Some(diff), _) => block(to, "diff", diff)?,
            (None, [Some(expected), Some(actual)]) => {
                block(to, "", &format!("expected: {expected}\nactual:   {actual}"))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// A text in a block of its own, which no run of backticks in it can end.
fn block(to: &mut dyn Write, language: &str, text: &str) -> io::Result<()> {
    let text = text.trim_end_matches('\n');
    let kept: String = text.chars().take(MAX_TEXT).collect();
    let more = if kept.len() < text.len() { "\n…" } else { "" };
    let mut longest = 0;
    let mut run = 0;
    for character in kept.chars() {
        run = if character == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest.max(2) + 1);
    let kept = crate::model::visible(&kept);
    writeln!(to, "{fence}{language}\n{kept}{more}\n{fence}\n")
}

/// A text on one line, without any mark that means something.
pub(super) fn cell(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in crate::model::visible_line(text).chars().take(MAX_TEXT) {
        match character {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            // Nobody is told of a report by the name that a guest has written.
            '@' => safe.push_str("&#64;"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '#' | '|' | '~' | '!' => {
                safe.push('\\');
                safe.push(character);
            }
            other => safe.push(other),
        }
    }
    safe
}
