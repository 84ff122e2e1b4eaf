//! What failed: as blocks while it happens, and as a short list at the end.

use std::collections::BTreeMap;

use runner_model::{
    RowRef,
    units::{plural, show_duration},
    visible::visible_line,
};
use runner_report::failure::{self, Tone};

use super::{
    layout::{cut, width},
    style,
};

/// Groups that a list names.
const MOST_GROUPS: usize = 10;
/// Columns of the longest outcome of a failure, with its sign.
const OUTCOME_WIDTH: usize = 9;
/// A reason with less room stands on a line of its own.
const NARROWEST_REASON: usize = 30;
/// Lines of each value, message and difference in a block.
pub const BLOCK_LINES: usize = 12;

/// Trials that did not pass, grouped by test and reason.
#[derive(Default)]
pub struct Failures {
    groups: Vec<Group>,
    /// From test and reason to the group.
    places: BTreeMap<(String, String), usize>,
    trials: u64,
}

struct Group {
    test: String,
    reason: String,
    outcome: runner_model::Outcome,
    /// Repeats by provider.
    providers: BTreeMap<String, Vec<u32>>,
}

impl Failures {
    /// Takes note of a row that settles its trial badly.
    pub fn add(&mut self, row: &RowRef<'_>) {
        self.trials += 1;
        let reason = failure::headline(row);
        let key = (row.test.to_string(), reason);
        let place = match self.places.get(&key) {
            Some(place) => *place,
            None if self.groups.len() == MOST_GROUPS => return,
            None => {
                self.groups.push(Group {
                    test: key.0.clone(),
                    reason: key.1.clone(),
                    outcome: row.outcome,
                    providers: BTreeMap::new(),
                });
                self.places.insert(key, self.groups.len() - 1);
                self.groups.len() - 1
            }
        };
        let providers = &mut self.groups[place].providers;
        let repeats = providers.entry(row.provider.to_string()).or_default();
        repeats.push(row.repeat);
    }

    /// How many trials there are.
    pub fn trials(&self) -> u64 {
        self.trials
    }

    /// A line for each group, and one for what is left out. On a screen, reasons end where it ends.
    pub fn lines(&self, screen: Option<usize>) -> Vec<String> {
        let mut lines: Vec<_> = self.groups.iter().map(|group| group.line(screen)).collect();
        let named: usize = self.groups.iter().map(Group::trials).sum();
        let left = self.trials - named as u64;
        if left > 0 {
            lines.push(format!(
                "  … and {}",
                plural(left, "more trial", "more trials")
            ));
        }
        lines
    }
}

impl Group {
    fn trials(&self) -> usize {
        self.providers.values().map(Vec::len).sum()
    }

    fn line(&self, screen: Option<usize>) -> String {
        let name = match self.providers.iter().next() {
            Some((provider, repeats)) if self.providers.len() == 1 => match repeats.as_slice() {
                [only] => format!("{}@{provider}#{only}", self.test),
                _ => format!("{}@{provider}, {} repeats", self.test, repeats.len()),
            },
            _ => {
                let providers: Vec<_> = self.providers.keys().map(String::as_str).collect();
                format!("{} on {}", self.test, providers.join(", "))
            }
        };
        let outcome = style::outcome(self.outcome);
        let space = " ".repeat(OUTCOME_WIDTH.saturating_sub(width(&outcome)));
        let head = format!("  {outcome}{space}  {}", visible_line(&name));
        let Some(screen) = screen else {
            return format!("{head}  {}", style::dim(&self.reason));
        };
        let room = screen.saturating_sub(width(&head) + 2);
        if room >= NARROWEST_REASON {
            format!("{head}  {}", style::dim(&cut(&self.reason, room)))
        } else {
            let room = screen.saturating_sub(6);
            format!("{head}\n      {}", style::dim(&cut(&self.reason, room)))
        }
    }
}

/// A row as one line: what it came to, its trial and how long it took.
pub fn row_line(row: &RowRef<'_>) -> String {
    let attempt = if row.attempt > 1 {
        format!(" (attempt {})", row.attempt)
    } else {
        String::new()
    };
    let flaky = if row.flaky { " flaky" } else { "" };
    format!(
        "{} {}{attempt}{} {}",
        style::outcome(row.outcome),
        row.trial,
        style::yellow(flaky),
        style::dim(&show_duration(row.duration()))
    )
}

/// A row with its reasons.
pub fn row_block(row: &RowRef<'_>, most: usize) -> String {
    let mut text = row_line(row);
    for (tone, line) in failure::block(row, most) {
        text.push('\n');
        text.push_str(&match tone {
            Tone::Reason => format!("    {line}"),
            Tone::Detail => format!("      {}", style::dim(&line)),
            Tone::Expected => format!("      {}", style::green(&line)),
            Tone::Actual => format!("      {}", style::red(&line)),
        });
    }
    text
}
