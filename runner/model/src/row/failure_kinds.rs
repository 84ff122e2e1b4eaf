//! [`FailureKinds`]: the kinds of a failure, by which a known failure can be told from another one.

use globset::GlobSet;

use super::RowRef;
use super::row_check::{Check, MAX_KEPT};
use crate::{Outcome, outcome::Verdict};

/// All that fails in a row, each once: checks and graders by their names, the `verdict` of a provider without failed checks of its
/// own, the error by its class and code, and `timeout`. One without names is unknown, since the row lacks it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailureKinds(Vec<Vec<String>>);

/// Kinds in a sentence.
const MAX_SHOWN: usize = 5;

impl FailureKinds {
    pub fn of(row: &RowRef<'_>) -> Self {
        let mut kinds: Vec<_> = row.failed_checks().map(|name| vec![name.to_owned()]).collect();
        let mut failed = row.checks.iter().filter(|check| check.verdict == Verdict::Fail);
        if row.verdict == Some(Verdict::Fail) && failed.all(|check| check.kind.is_some()) {
            kinds.push(vec!["verdict".to_owned()]);
        }
        match &row.error {
            Some(error) if row.outcome == Outcome::Error => {
                let class = error.class.map(|class| class.to_string());
                let mut names: Vec<_> = class.into_iter().chain([error.code.to_string()]).collect();
                names.dedup();
                kinds.push(names);
            }
            _ if row.outcome != Outcome::Failed => kinds.push(vec![row.outcome.to_string()]),
            _ if kinds.is_empty() => kinds.push(vec!["verdict".to_owned()]),
            _ => {}
        }
        let mut distinct = Vec::new();
        for kind in kinds {
            if !distinct.contains(&kind) {
                distinct.push(kind);
            }
        }
        if has_lost_checks(row) {
            distinct.push(Vec::new());
        }
        Self(distinct)
    }

    /// Returns a failure of one kind.
    pub fn one(name: &str) -> Self {
        Self(vec![vec![name.to_owned()]])
    }

    /// Returns the kinds of a line, or of a worker's part of one. None of a line that cannot be read, so that nothing expects it.
    pub fn of_line(line: &[u8]) -> Self {
        serde_json::from_slice(line).map(|row| Self::of(&row)).unwrap_or_default()
    }

    /// Returns whether globs match all kinds. Of an error, class or code is enough.
    pub fn are_in(&self, globs: &GlobSet) -> bool {
        !self.0.is_empty() && self.0.iter().all(|names| names.iter().any(|one| globs.is_match(one)))
    }

    /// Returns a name of each kind. `None` if a kind is unknown.
    pub fn names(&self) -> Option<Vec<&str>> {
        self.0.iter().map(|names| names.first().map(String::as_str)).collect()
    }

    /// Formats the kinds for a sentence: `equals, json, unavailable (http-503)`.
    pub fn words(&self) -> String {
        let words = self.0.iter().map(|names| match names.as_slice() {
            [] => "checks that the row lacks".to_owned(),
            [name] => name.clone(),
            [class, code, ..] => format!("{class} ({code})"),
        });
        let shown: Vec<_> = words.take(MAX_SHOWN).collect();
        let more = self.0.len().saturating_sub(MAX_SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        shown.join(", ") + &more
    }
}

/// Returns whether a row that was cut may lack kinds of failed checks: it keeps one of each kind before others.
fn has_lost_checks(row: &RowRef<'_>) -> bool {
    let last = row.checks.get(MAX_KEPT - 1);
    row.truncated
        && last.is_some_and(|last| {
            let is_same = |check: &Check<'_>| check.label() == last.label();
            last.verdict == Verdict::Fail && !row.checks[..MAX_KEPT - 1].iter().any(is_same)
        })
}
