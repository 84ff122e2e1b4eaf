//! The closing summary of a run.

use super::{
    format,
    table::{Cell, Column, Table},
};
use crate::{model::Counts, view::ProviderSummary};

/// A column's name, at which rank it goes, and what it counts.
type CountColumn = (&'static str, u8, fn(&Counts) -> u64);

/// The counts, and at which rank their columns go; those that count nothing go before all others.
const COUNTS: [CountColumn; 6] = [
    ("passed", 28, |counts| counts.passed),
    ("failed", 29, |counts| counts.failed),
    ("errors", 27, |counts| counts.error),
    ("timeouts", 26, |counts| counts.timeout),
    ("skipped", 25, |counts| counts.skipped),
    ("flaky", 24, |counts| counts.flaky),
];
/// How much earlier a column goes that counts nothing.
const IDLE: u8 = 20;

/// A table with a line for each provider, in at most `width` characters.
pub(super) fn table(providers: &[ProviderSummary], width: Option<usize>) -> String {
    let counts = COUNTS.map(|(name, rank, count)| {
        let counts = providers.iter().map(|provider| provider.counts.into());
        let is_idle = counts.into_iter().all(|counts| count(&counts) == 0);
        let rank = if is_idle { rank - IDLE } else { rank };
        Column::new(name).right().go(rank)
    });
    let times = [("p50", 11), ("p95", 13), ("max", 12)];
    let times = times.map(|(name, rank)| Column::new(name).right().go(rank));
    // The name is cut a little before anything goes that counts something, and more of it when nothing else is left.
    let provider = Column::new("provider").cut(10, 20).cut(23, 8);
    let columns: Vec<_> = [provider].into_iter().chain(counts).chain(times).collect();
    let mut table = Table::new(columns);
    for provider in providers {
        table.row(cells(provider));
    }
    table.fitted(width)
}

fn cells(provider: &ProviderSummary) -> Vec<Cell<'_>> {
    let times = [provider.p50, provider.p95, Some(provider.max)];
    let times = times.map(|time| time.map(format::duration));
    let counts = Counts::from(provider.counts);
    let counts = COUNTS.map(|(_, _, count)| Some(format::count(count(&counts))));
    let numbers = counts.into_iter().chain(times);
    let numbers = numbers.map(|text| Cell::from(text.unwrap_or_default()));
    [Cell::from(provider.provider.as_str())]
        .into_iter()
        .chain(numbers)
        .collect()
}

/// What a session did that was not the run's first.
pub(super) fn ran_text(ran: Counts) -> String {
    if ran.done() == 0 {
        return "this session finished no trial".to_owned();
    }
    format!(
        "this session ran {}: {}",
        format::plural(ran.done(), "trial"),
        format::counted(ran)
    )
}
