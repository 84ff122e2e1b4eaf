//! `runner compare --exact`: whether the results of two runs are equal.

use runner_model::visible::{cut, visible_line};
use runner_model::{exit::Exit, units::plural};
use runner_record::RunDir;
use runner_report::{ArtifactDifference, ExactComparison, ExactDocument};

use crate::text::{CommandError, Out};

/// Characters of a value.
const SHOWN: usize = 400;
/// Artifacts that are named.
const MAX_NAMES: usize = 10;

pub fn run(runs: [&RunDir; 2], is_json: bool, out: &Out) -> Result<Exit, CommandError> {
    let document = ExactDocument::read(runs)?;
    out.document_or(is_json, &document, |document| print(&document.comparison, out));
    Ok(if document.comparison.is_equal() { Exit::Success } else { Exit::Bad })
}

/// Prints the comparison as text.
fn print(comparison: &ExactComparison, out: &Out) {
    if comparison.left_out > 0 {
        let attempts = plural(comparison.left_out, "attempt", "attempts");
        out.talk(&format!("not compared: {attempts} that timed out in both runs"));
    }
    if comparison.without_duration > 0 {
        let attempts = plural(comparison.without_duration, "attempt", "attempts");
        out.talk(&format!("not compared: `max_duration` of {attempts}"));
    }
    let Some(first) = &comparison.first else {
        if comparison.equal == 0 {
            out.data("✗ nothing to compare");
            return;
        }
        let attempts = plural(comparison.equal, "attempt is", "attempts are");
        if comparison.lacks_results() {
            out.data(&format!("✗ unclear: {attempts} equal, {}", missing(comparison)));
        } else {
            out.data(&format!("✓ {attempts} equal, but for times and places"));
        }
        return;
    };
    if comparison.lacks_results() {
        out.talk(&missing(comparison));
    }
    let differing = comparison.different - comparison.only_in_base - comparison.only_in_new;
    let counts = [
        (differing, "attempt differs", "attempts differ"),
        (comparison.only_in_base, "attempt is only in base", "attempts are only in base"),
        (comparison.only_in_new, "attempt is only in new", "attempts are only in new"),
    ];
    let counts = counts.into_iter().filter(|(count, ..)| *count > 0);
    let counts = counts.map(|(count, one, many)| plural(count, one, many));
    let counts = counts.collect::<Vec<_>>().join(", ");
    out.data(&format!("✗ {counts}, {} equal", comparison.equal));
    out.data(&format!("  {}, attempt {}: `{}`", first.trial, first.attempt, first.key));
    for ArtifactDifference { name, in_base, in_new } in first.artifacts.iter().take(MAX_NAMES) {
        let how = match (in_base, in_new) {
            (true, false) => "only in base",
            (false, true) => "only in new",
            _ => "other content",
        };
        out.data(&format!("    {}: {how}", visible_line(name)));
    }
    if !first.artifacts.is_empty() {
        let left = first.artifacts.len().saturating_sub(MAX_NAMES) as u64;
        if left > 0 {
            out.data(&format!("    {}", plural(left, "more artifact", "more artifacts")));
        }
        return;
    }
    for (name, value) in [("base", &first.base), ("new", &first.new)] {
        let text = value.as_ref().map_or("nothing", |value| value.get());
        out.data(&format!("  {name:>5} {}", visible_line(&cut(text, SHOWN))));
    }
}

/// Returns the trials without a result as the end of a sentence.
fn missing(comparison: &ExactComparison) -> String {
    let sides = [(comparison.missing_in_base, "in base"), (comparison.missing_in_new, "in new")];
    let sides = sides.iter().filter(|(count, _)| *count > 0);
    let trials: Vec<_> = sides
        .map(|(count, side)| format!("{} {side}", plural(*count, "trial", "trials")))
        .collect();
    let verb =
        if comparison.missing_in_base + comparison.missing_in_new == 1 { "has" } else { "have" };
    let first = comparison.first_missing.iter().map(|trial| format!(", first `{trial}`"));
    format!("{} {verb} no result{}", trials.join(" and "), first.collect::<String>())
}
