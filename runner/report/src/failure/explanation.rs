//! The line of a grade's explanation for lists.

use runner_model::row::Grade;

/// Parts of the lines that explain a failure in logs of tests. Lines before them are progress and frames, those after them totals:
/// a log of `unittest` starts with `F` and ends with `FAILED (failures=1)`, whatever failed.
const EXPLAINING: [&str; 3] = ["Error", "assert", "expected"];

/// Returns the line that explains, which is the last with one of [`EXPLAINING`], or else the last that is not empty. Also returns the
/// other lines.
pub(super) fn explanation<'a>(grade: &'a Grade<'_>) -> (Option<&'a str>, Vec<&'a str>) {
    let text = grade.explanation.as_deref().unwrap_or_default();
    let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let mut lines: Vec<_> = lines.collect();
    let explaining = lines.iter().rposition(|line| EXPLAINING.iter().any(|one| line.contains(one)));
    let place = explaining.or(lines.len().checked_sub(1));
    (place.map(|place| lines.remove(place).trim_start()), lines)
}
