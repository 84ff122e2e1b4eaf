//! The report as JUnit's XML: a suite for each provider, a case for each trial.

use std::fmt::{self, Write as _};
use std::{io, iter};

use runner_model::known::Known;
use runner_model::visible::{visible_line, without_commands};
use runner_model::{ErrorClass, GateResult, Outcome, RowRef, row::duration, status::RunVerdict};

use super::cases::{Case, CaseCounts, Cases, FormError};
use crate::{KnownResult, PassRate, RunDocument, failure, known_line, phrases, run_facts};

/// Lines of each value, message and difference of a failure.
const BLOCK_LINES: usize = 200;

/// Writes the report. With a gate that holds, failures are skipped cases unless `is_strict`.
pub(super) fn write(
    document: &RunDocument,
    is_strict: bool,
    writer: &mut dyn io::Write,
) -> Result<(), FormError> {
    let manifest = &document.manifest;
    let cases = Cases::read(document, true)?;
    let known = document.rows.table.known()?;
    let is_held = !is_strict
        && manifest.gate.as_ref().is_some_and(|gate| gate.held)
        && document.run.head.verdict == RunVerdict::Passed;
    let counts = cases.counts(document.tables.providers.len());
    // Else a run that only its gate fails would have no failure.
    let gate = manifest.gate.as_ref().filter(|gate| !gate.held);
    let of_gate = u64::from(gate.is_some());
    let bad = counts.iter().filter(|_| !is_held);
    let failures = bad.clone().map(|of| of.failures).sum::<u64>() + of_gate;
    let errors: u64 = bad.map(|of| of.errors).sum();
    let name = visible_line(&manifest.scenario);
    let tests = counts.iter().map(CaseCounts::trials).sum::<u64>() + of_gate;
    writeln!(writer, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    let time = seconds(counts.iter().map(|counts| counts.duration_ms).sum());
    let numbers =
        format!(r#"tests="{tests}" failures="{failures}" errors="{errors}" time="{time}""#);
    writeln!(writer, r#"<testsuites name="{}" {numbers}>"#, Xml(&name))?;

    let mut starts = counts.iter().enumerate().map(|(provider, counts)| {
        let is_known = cases.order.suite.is_some();
        suite_start(document, provider, counts, is_held, is_known)
    });
    let mut open = 0;
    let places = cases.test_places(manifest);
    cases.each(|provider, case| {
        for start in starts.by_ref().take((provider + 1).saturating_sub(open)) {
            writer.write_all(start.as_bytes())?;
            open += 1;
        }
        let place = places.get(&*case.trial.test);
        let case = case_element(&manifest.scenario, case, place, &known, is_held);
        Ok(writer.write_all(without_commands(&case).as_bytes())?)
    })?;
    for start in starts {
        writer.write_all(start.as_bytes())?;
    }
    if !counts.is_empty() {
        writer.write_all(SUITE_END.as_bytes())?;
    }
    if let Some(gate) = gate {
        let (title, gate) = (gate.title(), run_facts::gate(gate));
        let started = manifest.started_at;
        let suite = format!(
            r#"    <testsuite name="{title}" tests="1" skipped="0" errors="0" failures="1" time="0" timestamp="{started}">
        <testcase name="{title}" classname="{}.{title}">
            <failure message="{}" type="{title}"></failure>
        </testcase>
{SUITE_END}"#,
            Xml(&name),
            Xml(&visible_line(&gate))
        );
        writer.write_all(without_commands(&suite).as_bytes())?;
    }
    Ok(writeln!(writer, "</testsuites>")?)
}

const SUITE_END: &str = "    </testsuite>\n";

/// Returns the end of the suite before it, the start tag of a provider's suite, and its properties.
fn suite_start(
    document: &RunDocument,
    provider: usize,
    of: &CaseCounts,
    is_held: bool,
    is_known: bool,
) -> String {
    let manifest = &document.manifest;
    let counts = &of.counts;
    let bad = if is_held { counts.bad() } else { counts.known };
    let skipped = counts.skipped + of.without_result + bad;
    let [errors, failures] = if is_held { [0, 0] } else { [of.errors, of.failures] };
    let mut text = if provider > 0 { SUITE_END.to_owned() } else { String::new() };
    let name = &document.tables.providers[provider].provider;
    let tests = of.trials();
    let started = manifest.started_at;
    let time = seconds(of.duration_ms);
    let _ = writeln!(
        text,
        r#"    <testsuite name="{}" tests="{tests}" skipped="{skipped}" errors="{errors}" failures="{failures}" time="{time}" timestamp="{started}">
        <properties>"#,
        Xml(name),
    );
    let rate = PassRate::of(counts, true);
    let lost = document.lost_results + document.tables.damaged_lines;
    let gate = manifest.gate.as_ref();
    let properties = [
        ("run", Some(document.run.head.id.clone())),
        ("replay of", document.run.head.replay_of.clone()),
        ("state", Some(phrases::status_text(&document.run.head))),
        ("filter", document.rows.which.filter().map(str::to_owned)),
        ("damaged or lost results", (lost > 0).then(|| lost.to_string())),
        ("stored tests", (!is_known).then(|| "cannot be read".to_owned())),
        ("known failures", (counts.known > 0).then(|| counts.known.to_string())),
        (gate.map_or("gate", GateResult::title), gate.map(run_facts::gate)),
        ("pass rate", rate.map(|rate| format!("{:.4}", rate.rate))),
        (
            "pass rate, 95 % interval",
            rate.map(|rate| format!("{:.4} to {:.4}", rate.interval.0, rate.interval.1)),
        ),
    ];
    for (name, value) in properties {
        if let Some(value) = value {
            let value = visible_line(&value);
            let _ =
                writeln!(text, r#"            <property name="{name}" value="{}"/>"#, Xml(&value));
        }
    }
    text + "        </properties>\n"
}

fn seconds(ms: f64) -> String {
    format!("{:.3}", duration(ms).as_secs_f64())
}

/// Formats a case. `place` is the test's file and line, which readers of these files use for links and annotations, although
/// Jenkins' schema lacks them.
fn case_element(
    scenario: &str,
    case: &Case<'_>,
    place: Option<&(String, usize)>,
    known: &Known,
    is_held: bool,
) -> String {
    let trial = case.trial.to_string();
    let scenario = visible_line(scenario);
    let class = format!("{scenario}.{}", case.trial.provider);
    let mut text =
        format!(r#"        <testcase name="{}" classname="{}""#, Xml(&trial), Xml(&class));
    if let Some(row) = &case.result {
        let _ = write!(text, r#" time="{}""#, seconds(row.duration_ms));
    }
    if let Some((file, line)) = place {
        let _ = write!(text, r#" file="{}" line="{line}""#, Xml(&visible_line(file)));
    }
    text += ">\n";
    let listed = case.result.as_ref().and_then(|row| KnownResult::of(known, row));
    match &case.result {
        None => text += &skipped("no result"),
        Some(row) if row.outcome == Outcome::Skipped => text += &skipped(&failure::headline(row)),
        Some(row) if row.outcome.is_bad() && (is_held || listed.is_some()) => {
            let why = listed.map_or_else(|| "gate passed".to_owned(), |listed| listed.line());
            text += &skipped(&format!("{}; {why}", row.outcome));
            let _ = writeln!(text, "            <system-out>{}</system-out>", Xml(&block(row)));
        }
        Some(row) => {
            if let Some(listed) = listed {
                let line = listed.line();
                let _ = writeln!(
                    text,
                    r#"            <failure message="{}" type="{}"></failure>"#,
                    Xml(&line),
                    listed.state.as_str()
                );
            }
            let mut names = ["flakyFailure", "flakyError"];
            if row.outcome != Outcome::Passed {
                bad_element(&mut text, ["failure", "error"], row, known_line(known, row));
                names = ["rerunFailure", "rerunError"];
            }
            // A pass after a failed service is not flaky.
            let is_shown = |retried: &&RowRef<'_>| {
                row.outcome != Outcome::Passed
                    || retried.outcome.is_bad_attempt(retried.service_failed)
            };
            let retried = case.retried.iter().filter(is_shown);
            retried.for_each(|row| bad_element(&mut text, names, row, None));
        }
    }
    text + "        </testcase>\n"
}

fn skipped(message: &str) -> String {
    format!("            <skipped message=\"{}\"/>\n", Xml(message))
}

/// Adds an attempt as an element: the first name is that of a failure, the second one of an error or timeout. `known` is why the list
/// of known failures does not expect it.
fn bad_element(
    text: &mut String,
    [failure, error]: [&str; 2],
    row: &RowRef<'_>,
    known: Option<String>,
) {
    let name = if row.outcome == Outcome::Failed { failure } else { error };
    let class = row.error.as_ref().and_then(|error| error.class);
    let class = class.map_or(row.outcome.as_str(), ErrorClass::as_str);
    let message = iter::once(failure::headline(row)).chain(known).collect::<Vec<_>>().join("; ");
    let _ = writeln!(
        text,
        r#"            <{name} message="{}" type="{class}">{}</{name}>"#,
        Xml(&message),
        Xml(&block(row))
    );
}

fn block(row: &RowRef<'_>) -> String {
    let lines = failure::block(row, BLOCK_LINES).into_iter().map(|(_, line)| line);
    // The schema of Jenkins has no properties of a case.
    let workspace = row.workspace.map(|left| format!("workspace: {}", phrases::workspace(&left)));
    lines.chain(workspace).collect::<Vec<_>>().join("\n")
}

/// A text as it is written into XML, without the characters that XML does not have.
struct Xml<'a>(&'a str);

impl fmt::Display for Xml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut written = 0;
        for (at, char) in self.0.char_indices() {
            let escaped = match char {
                '<' => "&lt;",
                '>' => "&gt;",
                '&' => "&amp;",
                '"' => "&quot;",
                '\'' => "&apos;",
                '\0'..'\t' | '\x0b' | '\x0c' | '\x0e'..' ' | '\u{fffe}' | '\u{ffff}' => "",
                _ => continue,
            };
            f.write_str(&self.0[written..at])?;
            f.write_str(escaped)?;
            written = at + char.len_utf8();
        }
        f.write_str(&self.0[written..])
    }
}
