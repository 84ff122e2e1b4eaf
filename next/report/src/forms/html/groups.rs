//! [`Groups`]: the failures of a page, grouped by outcome and reason.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead as _, BufReader};

use maud::{Markup, html};
use runner_model::json::Json;
use runner_model::log::{LogLine, Said};
use runner_model::row::{Check, Raw};
use runner_model::units::{grouped, plural, show_duration};
use runner_model::visible::{self, visible};
use runner_model::{Outcome, RowRef, Text, outcome::Verdict};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::sides::sides;
use crate::failure::{self, BlockLine, Tone};
use crate::{RunDocument, call_sections, failures};

/// Failures with all details. The first of each group is one of them, too.
const MOST_FAILURES: usize = 500;
/// Bytes of details, after which failures are only in the table.
const MOST_BYTES: usize = 16 << 20;
const MOST_GROUPS: usize = 1000;
/// Groups whose first failure is unfolded.
const UNFOLDED: usize = 3;
/// Lines of a text from its start.
const FIRST_LINES: usize = 40;
/// Lines of a longer text from its end.
const LAST_LINES: usize = 60;
/// Bytes of JSON on one line.
const SHORT_VALUE: usize = 100;
/// Characters of a line.
const LONG_LINE: usize = 1000;
/// Characters of the reason of a group.
const LONG_REASON: usize = 300;

/// The failures of a run.
pub(super) struct Groups<'a> {
    document: &'a RunDocument,
    groups: Vec<Group>,
    /// Indexes in `groups`.
    places: HashMap<(Outcome, String), usize>,
    /// Failures with details, and their bytes.
    kept: usize,
    bytes: usize,
    /// Failures of groups beyond [`MOST_GROUPS`].
    ungrouped: u64,
}

struct Group {
    outcome: Outcome,
    reason: String,
    trials: u64,
    failures: Vec<Failure>,
}

struct Failure {
    /// From 1. A link to the case has it.
    number: usize,
    /// The number of its row in the table, from 0.
    row: usize,
    test: String,
    head: Markup,
    reasons: Markup,
    details: Markup,
}

/// The reason of a trial in the table.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Reason {
    /// Number of a group, from 1.
    Group(usize),
    Text(String),
}

impl<'a> Groups<'a> {
    pub(super) fn new(document: &'a RunDocument) -> Self {
        let (groups, places) = (Vec::new(), HashMap::new());
        Self { document, groups, places, kept: 0, bytes: 0, ungrouped: 0 }
    }

    /// Adds a failure, the one with this number in the table. Returns its reason, and its number if it has details.
    pub(super) fn add(
        &mut self,
        row: &RowRef<'_>,
        retried: &[RowRef<'_>],
        number: usize,
    ) -> (Reason, Option<usize>) {
        let key = (row.outcome, headline(row));
        let index = match self.places.get(&key) {
            Some(index) => *index,
            None if self.groups.len() == MOST_GROUPS => {
                self.ungrouped += 1;
                return (Reason::Text(key.1), None);
            }
            None => {
                let (outcome, reason) = key.clone();
                self.groups.push(Group { outcome, reason, trials: 0, failures: Vec::new() });
                self.places.insert(key, self.groups.len() - 1);
                self.groups.len() - 1
            }
        };
        let group = &mut self.groups[index];
        group.trials += 1;
        let has_room = self.kept < MOST_FAILURES || group.failures.is_empty();
        if !has_room || self.bytes > MOST_BYTES {
            return (Reason::Group(index + 1), None);
        }
        let failure = Failure {
            number: self.kept + 1,
            row: number,
            test: row.test.to_string(),
            head: head(row),
            reasons: reasons(row, &group.reason),
            details: details(self.document, row, retried),
        };
        self.kept += 1;
        self.bytes += failure.reasons.0.len() + failure.details.0.len();
        group.failures.push(failure);
        (Reason::Group(index + 1), Some(self.kept))
    }

    /// Returns the reason of a group.
    pub(super) fn reason(&self, number: usize) -> &str {
        &self.groups[number - 1].reason
    }

    /// Returns the reasons of all groups, by their numbers.
    pub(super) fn reasons(&self) -> Vec<&str> {
        self.groups.iter().map(|group| group.reason.as_str()).collect()
    }

    /// Formats all groups: errors, timeouts, then failures, each in the order of the plan.
    pub(super) fn section(&self) -> Markup {
        let trials = self.groups.iter().map(|group| group.trials).sum::<u64>() + self.ungrouped;
        let inputs = self.inputs();
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by_key(|group| failures::rank(group.outcome));
        html! {
            @if trials > 0 {
                section #failures {
                    h2 {
                        "Failures"
                        span.count { (plural(trials, "trial", "trials")) ", " (plural(groups.len() as u64, "reason", "reasons")) }
                    }
                    @for (index, group) in groups.iter().enumerate() { (group.markup(index < UNFOLDED, &inputs)) }
                    @if self.ungrouped > 0 {
                        p.quiet { (plural(self.ungrouped, "more failure has", "more failures have")) " other reasons. All are in the table below." }
                    }
                }
            }
        }
    }

    /// Reads the inputs of the tests with details. Without the stored suite there are none.
    fn inputs(&self) -> HashMap<String, String> {
        #[derive(Deserialize)]
        struct Test<'a> {
            #[serde(borrow)]
            id: Text<'a>,
            #[serde(borrow)]
            input: Option<&'a RawValue>,
        }
        let failures = self.groups.iter().flat_map(|group| &group.failures);
        let mut wanted: HashSet<&str> = failures.map(|failure| &*failure.test).collect();
        let mut inputs = HashMap::new();
        let run = &self.document.rows.run;
        let Ok(suite) = run.content(&self.document.manifest.metadata.suite) else { return inputs };
        let mut lines = BufReader::new(suite).lines();
        while !wanted.is_empty()
            && let Some(Ok(line)) = lines.next()
        {
            if let Ok(Test { id, input: Some(input) }) = serde_json::from_str(&line)
                && wanted.remove(&*id)
            {
                inputs.insert(id.to_string(), shown(input));
            }
        }
        inputs
    }
}

impl Group {
    fn markup(&self, unfolds: bool, inputs: &HashMap<String, String>) -> Markup {
        let left = self.trials - self.failures.len() as u64;
        html! {
            section.group {
                h3 {
                    span class=(self.outcome) { (self.outcome) }
                    span.reason { (self.reason) }
                    span.count { (plural(self.trials, "trial", "trials")) }
                }
                @for (index, failure) in self.failures.iter().enumerate() {
                    details.case id={ "f" (failure.number) } data-row=(failure.row) open[unfolds && index == 0] {
                        summary { (failure.head) }
                        div.body {
                            (failure.reasons)
                            @if let Some(input) = inputs.get(&failure.test) { (text("input", input)) }
                            (failure.details)
                        }
                    }
                }
                @if left > 0 && !self.failures.is_empty() {
                    p.case { span.quiet.body { (grouped(left)) " more in the table below" } }
                }
            }
        }
    }
}

/// Returns the reason of a row, which may be a long text of a guest, cut for a line of the page.
pub(super) fn headline(row: &RowRef<'_>) -> String {
    visible::cut(&failure::headline(row), LONG_REASON)
}

fn head(row: &RowRef<'_>) -> Markup {
    html! {
        span.name { (row.test) }
        span.quiet { (row.provider) @if row.repeat > 1 { " #" (row.repeat) } }
        @if row.attempt > 1 { span.quiet { "attempt " (row.attempt) } }
        span.time.quiet { (show_duration(row.duration())) }
    }
}

/// Formats the failed checks, then the other reasons, without lines that repeat the reason of the group.
fn reasons(row: &RowRef<'_>, reason: &str) -> Markup {
    let failed = row.checks.iter().filter(|check| check.verdict == Verdict::Fail);
    let others = RowRef { checks: Vec::new(), ..row.clone() };
    let mut others = failure::block(&others, FIRST_LINES);
    // Without checks, the only line is the outcome.
    others.retain(|(_, line)| line != reason && line != row.outcome.as_str());
    html! { @for check in failed { (self::check(row, check, reason)) } (block(&others)) }
}

/// Formats a failed check, with both values side by side if it compares all of the output.
fn check(row: &RowRef<'_>, check: &Check<'_>, reason: &str) -> Markup {
    // The actual value is in the output below, or next to the expected one.
    let has_values = check.actual.is_some();
    let checks = vec![Check { diff: check.diff.clone().filter(|_| !has_values), ..check.clone() }];
    let (error, grades, denied, summary) = (None, Vec::new(), Vec::new(), None);
    let alone = RowRef { checks, error, grades, denied, summary, ..row.clone() };
    let mut lines = failure::block(&alone, if has_values { usize::MAX } else { FIRST_LINES });
    lines.retain(|(tone, line)| {
        line != reason && (!has_values || matches!(tone, Tone::Reason | Tone::Detail))
    });
    html! {
        (block(&lines))
        @if let Some((expected, actual)) = values(check) { (sides(expected, actual)) }
    }
}

/// Returns the expected and the actual value of a check of all of the output.
fn values<'a, 'b>(check: &'a Check<'b>) -> Option<(&'a Raw<'b>, &'a Raw<'b>)> {
    let is_compared = !check.own && matches!(&*check.name, "equals" | "json");
    Some((check.expected.as_ref()?, check.actual.as_ref()?)).filter(|_| is_compared)
}

fn block(lines: &[BlockLine]) -> Markup {
    let is_reason = |(tone, _): &BlockLine| *tone == Tone::Reason;
    html! {
        @for lines in lines.chunk_by(|left, right| is_reason(left) == is_reason(right)) {
            @if is_reason(&lines[0]) {
                @for (_, line) in lines { p.why { (cut(line)) } }
            } @else {
                pre {
                    @for (tone, line) in lines {
                        @let class = match tone { Tone::Expected => "passed", Tone::Actual => "failed", _ => "quiet" };
                        span class=(class) { (cut(line)) }
                    }
                }
            }
        }
    }
}

/// Formats output, earlier attempts, log and usage of an attempt, and the command that makes it again.
fn details(document: &RunDocument, row: &RowRef<'_>, retried: &[RowRef<'_>]) -> Markup {
    let mut failed = row.checks.iter().filter(|check| check.verdict == Verdict::Fail);
    let is_shown = failed.any(|check| values(check).is_some());
    let output = row.output.as_ref().filter(|_| !is_shown);
    let line = document.rows.run.log(row);
    let said = match &line {
        Ok(Some(line)) => serde_json::from_str(line).ok().map(|line: LogLine<'_>| line.said),
        Ok(None) => Some(Said::default()),
        Err(_) => None,
    };
    let is_lost = said.is_none();
    let sections = call_sections(row, &said.unwrap_or_default());
    let attempt = |row: &RowRef<'_>| format!("{}: {}\n", row.attempt, headline(row));
    let trial = row.trial.to_string();
    let mut words = vec!["--from", &document.run.short, "--trial", &trial];
    if let Some(grade) = failure::deciding_grade(row) {
        words.extend(["--grader", &grade.grader]);
    }
    html! {
        @if let Some(output) = output { (text("output", &shown(&output.0))) }
        @if !retried.is_empty() { (text("earlier attempts", &retried.iter().map(attempt).collect::<String>())) }
        @if is_lost { p.why { "The log cannot be read." } }
        @for section in &sections { @if section.title != "usage" { (text(section.title, &section.text)) } }
        @for section in &sections { @if section.title == "usage" { p.facts { (section.text) } } }
        h4 { "reproduce" }
        div.command { pre { (document.run.command("plugin", "run", &words)) } }
    }
}

/// Formats JSON: a text as it is, other values with indentation if they are long.
fn shown(json: &RawValue) -> String {
    match Json::of(json) {
        Some(Json::String(text)) => text.into_owned(),
        Some(value) if json.get().len() > SHORT_VALUE => format!("{value:#}"),
        _ => json.get().to_owned(),
    }
}

/// Formats a text with a title: its first and last lines.
fn text(title: &str, text: &str) -> Markup {
    let text = visible(text.trim_end_matches('\n'));
    let lines: Vec<_> = text.lines().collect();
    let all = lines.len();
    let is_long = all > FIRST_LINES + LAST_LINES;
    let (start, end) = if is_long { (FIRST_LINES, all - LAST_LINES) } else { (all, all) };
    html! {
        h4 { (title) }
        pre {
            @for line in &lines[..start] { (cut(line)) }
            @if start < end { span.quiet { "… " (plural((end - start) as u64, "line", "lines")) " …\n" } }
            @for line in &lines[end..] { (cut(line)) }
            @if lines.is_empty() { span.quiet { "(empty)" } }
        }
    }
}

fn cut(line: &str) -> Markup {
    let end = line.char_indices().nth(LONG_LINE).map(|(end, _)| end);
    html! {
        (line[..end.unwrap_or(line.len())])
        @if let Some(end) = end { span.quiet { "… " (plural((line.len() - end) as u64, "more byte", "more bytes")) } }
        "\n"
    }
}
