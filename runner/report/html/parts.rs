//! Parts of pages that look alike wherever they are.

use jiff::Timestamp;
use maud::{Markup, html};

use crate::view::{TrialGrade, said_line, said_record};

/// A table that may be wider than the screen: whoever has no mouse moves it with the keyboard.
pub(in crate::report) fn wide(label: &str, table: &Markup) -> Markup {
    html! { div class="wide" role="region" aria-label=(label) tabindex="0" { (table) } }
}

/// A text as it is, which the keyboard moves where it is long.
pub(super) fn block(text: &str) -> Markup {
    html! { pre tabindex="0" { (text) } }
}

/// A log as people read it: a record a line, with its time, which is that of no zone.
pub(super) fn said(log: &str) -> String {
    let lines = log.lines().map(|line| said_line(line, clock));
    lines.collect::<Vec<_>>().join("\n")
}

/// The log of a grader, the same way.
pub(super) fn said_by_grader(grade: &TrialGrade) -> String {
    let lines = grade.log.iter().map(|record| said_record(record, clock));
    lines.collect::<Vec<_>>().join("\n")
}

fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%S.%3fZ").to_string()
}

/// A value with its unit. That of a plain number is 1, which nobody says.
pub(super) fn measured(value: &str, unit: Option<&str>) -> String {
    match unit {
        None | Some("" | "1") => value.to_owned(),
        Some(unit) => format!("{value} {unit}"),
    }
}

/// What is linked to in a page, which may have several runs: each of these has names of its own.
#[derive(Clone, Copy, Debug)]
pub(in crate::report) struct Anchors {
    /// Which of several runs it is, from 1.
    run: Option<usize>,
}

impl Anchors {
    /// Those of the only run of a page.
    pub(super) const ALONE: Self = Self { run: None };

    /// Those of one of several runs, by its place from 1.
    pub(super) fn of_run(place: usize) -> Self {
        Self { run: Some(place) }
    }

    /// The name of a part of the page.
    pub(super) fn of(self, part: &str) -> String {
        match self.run {
            None => part.to_owned(),
            Some(run) => format!("{part}-{run}"),
        }
    }

    /// How the names of trials begin, whose places in the plan follow.
    pub(super) fn trials(self) -> String {
        format!("{}-", self.of("trial"))
    }

    /// The name of the trial in this place of the plan.
    pub(super) fn trial(self, ordinal: u64) -> String {
        format!("{}{ordinal}", self.trials())
    }
}
