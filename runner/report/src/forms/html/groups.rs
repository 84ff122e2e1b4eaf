//! [`Groups`]: the failures of a page, grouped by outcome and reason.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead as _, BufReader};

use maud::{Markup, html};
use runner_model::units::{plural, show_duration};
use runner_model::visible::visible_line;
use runner_model::{Outcome, RowRef, Text};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::details::{details, headline, reasons, shown, text};
use crate::{RunDocument, failures};

/// Failures with all details. The first of each group is one of them, too.
const MOST_FAILURES: usize = 500;
/// Bytes of details, after which failures are only in the table.
const MOST_BYTES: usize = 16 << 20;
const MOST_GROUPS: usize = 1000;
/// Groups whose first failure is unfolded.
const UNFOLDED: usize = 3;

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
    /// Number of the failure in links, from 1.
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

    /// Adds the failure with this number in the table. Returns its reason, and the number of its details if they are kept.
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
                        span.count { (plural(trials, "trial", "trials")) ", " @if self.ungrouped > 0 { "over " } (plural(groups.len() as u64, "reason", "reasons")) }
                    }
                    @for (index, group) in groups.iter().enumerate() { (group.markup(index < UNFOLDED, &inputs)) }
                    @if self.ungrouped > 0 {
                        p.quiet { (plural(self.ungrouped, "more failure has", "more failures have")) " other reasons. All are in the table below." }
                    }
                }
            }
        }
    }

    /// Reads the inputs of the tests with details. Empty if the stored suite cannot be read.
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
                @if left > 0 { p.case { span.quiet.body { (plural(left, "trial is", "trials are")) " in the table only" } } }
            }
        }
    }
}

fn head(row: &RowRef<'_>) -> Markup {
    html! {
        span.name { (visible_line(&row.test)) }
        span.quiet { (visible_line(&row.provider)) @if row.repeat > 1 { " #" (row.repeat) } }
        @if row.attempt > 1 { span.quiet { "attempt " (row.attempt) } }
        span.time.quiet { (show_duration(row.duration())) }
    }
}
