//! The line of a grade's explanation for lists.

use runner_model::row::Grade;

/// Parts of the lines that explain a failure in logs of tests. Lines before them are progress and frames, those after them totals:
/// a log of `unittest` starts with `F` and ends with `FAILED (failures=1)`, whatever failed.
const EXPLAINING: [&str; 3] = ["Error", "assert", "expected"];
/// The start of a total in logs of Maven and Gradle, whatever failed.
const TOTAL: &str = "Errors: ";

/// Returns the line that explains, and the other lines. Of the output of a program, that is the last line with one of
/// [`EXPLAINING`], or else the last that is not empty. Models and components write the reason first.
pub(super) fn explanation<'a>(grade: &'a Grade<'_>) -> (Option<&'a str>, Vec<&'a str>) {
    let text = grade.explanation.as_deref().unwrap_or_default();
    let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let mut lines: Vec<_> = lines.collect();
    let explains = |line: &&str| {
        let line = line.replace(TOTAL, "");
        EXPLAINING.iter().any(|one| line.contains(one))
    };
    let place = match lines.len().checked_sub(1) {
        Some(last) if grade.printed => Some(lines.iter().rposition(explains).unwrap_or(last)),
        last => last.map(|_| 0),
    };
    (place.map(|place| lines.remove(place).trim_start()), lines)
}
