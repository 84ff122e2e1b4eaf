//! The unexpected results of a run in words.

use runner_model::known::KnownState;
use runner_model::{Counts, units::plural};
use runner_record::RunDir;
use runner_results::{RunTable, key};

use super::class::Class;
use super::since_previous::{MAX_TRIALS, SincePrevious};
use crate::failure::PASSES;

/// Formats the unexpected results of a run with these counts. Empty if known failures change none, and if reading the run would take
/// seconds.
#[must_use]
pub fn unexpected_of(run: &RunDir, counts: &Counts, since: Option<&SincePrevious>) -> String {
    let is_needed = counts.has_known() && counts.unexpected() > 0;
    let table = (is_needed && counts.done() <= MAX_TRIALS).then(|| RunTable::open(run).ok());
    table.flatten().map(|table| unexpected(&table, since)).unwrap_or_default()
}

/// Formats the unexpected results of a run by the list of known failures: those that fail newly, the others by outcome, and passes, such as
/// `1 newly failing, 1 error, 1 passes although known`. Empty if no result is unexpected, or known failures change none.
pub(crate) fn unexpected(table: &RunTable, since: Option<&SincePrevious>) -> String {
    let (mut counts, mut new, mut has_known) = (Counts::default(), 0, false);
    for row in table.settling() {
        has_known |= row.state != KnownState::Unlisted;
        if row.state == KnownState::UnexpectedPass {
            counts.add_state(row.state);
        } else if row.is_unexpected() {
            let class = since.and_then(|since| {
                let (test, provider) = table.names(row.trial);
                since.class_of(key(test, provider))
            });
            match class {
                Some(Class::Regressed) => new += 1,
                _ => counts.add(row.outcome, false),
            }
        }
    }
    if !has_known {
        return String::new();
    }
    let passes = counts.unexpected_passes;
    let passes = (passes > 0).then(|| plural(passes, PASSES, "pass although known"));
    let others = Counts { unexpected_passes: 0, ..counts }.to_string();
    let new = (new > 0).then(|| plural(new, "newly failing", "newly failing"));
    let parts = [new, Some(others).filter(|text| !text.is_empty()), passes];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
