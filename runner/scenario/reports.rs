//! `[report]`: which reports a session leaves in its run's directory.

use serde_json::{Map, Value};

use super::form::{Form, Key, optional};
use crate::model::is_file_name;

/// The keys of `[report]`, each with the file that `true` means.
const FILES: [(&str, &str); 5] = [
    ("html", "report.html"),
    ("junit", "junit.xml"),
    ("markdown", "report.md"),
    ("csv", "report.csv"),
    ("jsonl", "report.jsonl"),
];

/// What names of a run's own files begin with that end like those of a report.
const OWN: [&str; 3] = ["index", "live-", "logs-"];

/// The keys of `[report]`.
pub(super) const REPORT: &[Key] = &[
    optional(
        "html",
        Form::ReportFile("html"),
        "One page for a browser: `true` for `report.html`, or the name of the file.",
    ),
    optional(
        "junit",
        Form::ReportFile("xml"),
        "JUnit's XML, for CI systems: `true` for `junit.xml`, or the name of the file.",
    ),
    optional(
        "markdown",
        Form::ReportFile("md"),
        "Markdown, for a comment of a pull request: `true` for `report.md`, or the name of the file.",
    ),
    optional(
        "csv",
        Form::ReportFile("csv"),
        "One line a trial: `true` for `report.csv`, or the name of the file.",
    ),
    optional(
        "jsonl",
        Form::ReportFile("jsonl"),
        "JSON Lines, the run and then a line a trial: `true` for `report.jsonl`, or the name of the file.",
    ),
];

/// Reads the names of the files, whose table has been checked.
pub(super) fn read(table: &Map<String, Value>) -> Vec<String> {
    let named = FILES
        .iter()
        .filter_map(|(key, usual)| match table.get(*key)? {
            Value::Bool(true) => Some((*usual).to_owned()),
            Value::String(name) => Some(name.clone()),
            _ => None,
        });
    named.collect()
}

/// Tells why a report with this extension cannot have this name.
pub(super) fn name_error(name: &str, extension: &str) -> Option<String> {
    if !is_file_name(name) {
        return Some(format!(
            "`{name}` is no name of a file in the run's directory"
        ));
    }
    let stem = name.strip_suffix(extension);
    let stem = stem.and_then(|stem| stem.strip_suffix('.'));
    if stem.is_none_or(str::is_empty) || name.starts_with('.') {
        return Some(format!("`{name}` does not end in `.{extension}`"));
    }
    let is_own = extension == "jsonl" && OWN.iter().any(|own| name.starts_with(own));
    is_own.then(|| format!("files of a run itself are named like `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::name_error;

    #[test]
    fn a_report_has_no_name_that_a_run_has_for_its_own_files() {
        for own in ["index.jsonl", "live-0-1.jsonl", "logs-1-1.jsonl"] {
            assert!(name_error(own, "jsonl").is_some(), "{own}");
        }
        assert_eq!(name_error("live.jsonl", "jsonl"), None);
        assert_eq!(name_error("index.html", "html"), None);
    }
}
