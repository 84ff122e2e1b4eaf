//! [`FailureKinds`]: the kinds of a failure, by which a known failure can be told from another one.

use globset::GlobSet;

use super::RowRef;
use crate::Outcome;

/// The names of all failed checks and graders of a row. Without any, class and code of its error, `verdict` or `timeout`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailureKinds {
    names: Vec<String>,
    /// The names are those of one error.
    is_error: bool,
}

impl FailureKinds {
    pub fn of(row: &RowRef<'_>) -> Self {
        let mut names: Vec<_> = row.failed_checks().map(str::to_owned).collect();
        names.dedup();
        match &row.error {
            _ if !names.is_empty() => Self { names, is_error: false },
            Some(error) if row.outcome == Outcome::Error => {
                let class = error.class.map(|class| class.to_string());
                names.extend(class);
                if !names.iter().any(|name| **name == *error.code) {
                    names.push(error.code.to_string());
                }
                Self { names, is_error: true }
            }
            _ if row.outcome == Outcome::Failed => Self::one("verdict"),
            _ => Self::one(row.outcome.as_str()),
        }
    }

    /// Returns a failure of one kind.
    pub fn one(name: &str) -> Self {
        Self { names: vec![name.to_owned()], is_error: false }
    }

    /// Returns the kinds of a line, or of a worker's part of one. None of a line that cannot be read, so that nothing expects it.
    pub fn of_line(line: &[u8]) -> Self {
        serde_json::from_slice(line).map(|row| Self::of(&row)).unwrap_or_default()
    }

    /// Returns whether globs match all kinds. Of an error, class or code is enough.
    pub fn are_in(&self, globs: &GlobSet) -> bool {
        let mut names = self.names.iter();
        match self.is_error {
            true => names.any(|name| globs.is_match(name)),
            false => !self.names.is_empty() && names.all(|name| globs.is_match(name)),
        }
    }

    /// Formats them for a sentence: `equals, json`.
    pub fn words(&self) -> String {
        let names = if self.is_error { &self.names[..1] } else { &self.names };
        names.join(", ")
    }
}
