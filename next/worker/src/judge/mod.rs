//! What a test expects against how an attempt ended. Nothing here executes anything.

mod checks;
mod diff;
mod json;
mod rejudge;

use std::{cell::RefCell, collections::HashMap, fs, io, mem, path::Path, rc::Rc};

use regex::Regex;
use runner_model::{
    Digest, Outcome, Row,
    outcome::Verdict,
    row::{Check, RowError},
    test::{Expect, ExpectedError},
};
use runner_sandbox::cut;

use self::checks::{check_output, failed, passed, raw};
pub use self::{
    json::{most_tree, tree_bytes},
    rejudge::judge_again,
};
use crate::schema::Schema;

/// How much of an error's message a check repeats, in bytes; the row has the error itself.
const MAX_REPEATED: usize = 4 << 10;
/// How many compiled expressions, and how many compiled schemas, are kept.
const MAX_REGEXES: usize = 256;
const MAX_SCHEMAS: usize = 64;

/// Judges attempts. Keeps compiled regular expressions and schemas.
#[derive(Default)]
pub struct Judge {
    regexes: RefCell<HashMap<String, Regex>>,
    schemas: RefCell<HashMap<String, SharedSchema>>,
}

/// A schema that was compiled once, or why it is none.
pub type SharedSchema = Rc<Result<Schema, String>>;

/// What is known of an attempt beside its row.
pub struct Evidence<'a> {
    /// Bytes that the output may take as a tree of values.
    pub most_tree: usize,
    /// The schema that the test expects.
    pub schema: Option<&'a Result<Schema, String>>,
    /// Of a plain command.
    pub exit_code: Option<i32>,
    pub stderr: &'a str,
}

impl Judge {
    /// Judges a row with an output and the provider's own checks, or with an error: sets its outcome, and puts the checks of
    /// the scenario before the provider's.
    pub fn judge(&self, expect: &Expect, row: &mut Row<'_>, of: &Evidence<'_>) {
        let made = if let Some(output) = &row.output {
            let made = check_output(self, expect, row, output, of);
            row.outcome = outcome(made.iter().chain(&row.checks), row.verdict);
            made
        } else if let Some(error) = &row.error {
            let (outcome, made) = judge_error(expect, error);
            row.outcome = outcome;
            made
        } else {
            return;
        };
        let own = mem::replace(&mut row.checks, made);
        row.checks.extend(own);
    }

    /// The schema in a file, compiled.
    pub fn schema(&self, digest: &Digest, file: &Path) -> io::Result<SharedSchema> {
        kept(&self.schemas, MAX_SCHEMAS, &digest.to_string(), || {
            let read = serde_json::from_slice(&fs::read(file)?);
            let read = read.map_err(|error| format!("is not JSON: {error}"));
            Ok(Rc::new(read.and_then(Schema::new)))
        })
    }

    /// Tells whether an expression matches; the error says why it is none.
    fn is_match(&self, pattern: &str, text: &str) -> Result<bool, String> {
        let regex = kept(&self.regexes, MAX_REGEXES, pattern, || {
            Regex::new(pattern).map_err(|error| error.to_string())
        })?;
        Ok(regex.is_match(text))
    }
}

/// What is kept for a key; made if it is not, and kept then. Lists can make a key for each test, so only so many are kept.
fn kept<V: Clone, E>(
    all: &RefCell<HashMap<String, V>>,
    most: usize,
    key: &str,
    make: impl FnOnce() -> Result<V, E>,
) -> Result<V, E> {
    let mut all = all.borrow_mut();
    if let Some(value) = all.get(key) {
        return Ok(value.clone());
    }
    let value = make()?;
    if all.len() >= most {
        all.clear();
    }
    all.insert(key.to_owned(), value.clone());
    Ok(value)
}

/// What a reply comes to, by the checks of the scenario and the provider's own, and by the provider's verdict.
fn outcome<'a>(
    mut checks: impl Iterator<Item = &'a Check<'a>>,
    verdict: Option<Verdict>,
) -> Outcome {
    match verdict {
        _ if checks.any(|check| check.verdict == Verdict::Fail) => Outcome::Failed,
        Some(Verdict::Fail) => Outcome::Failed,
        Some(Verdict::Skip) => Outcome::Skipped,
        Some(Verdict::Pass) | None => Outcome::Passed,
    }
}

/// What an attempt without a reply comes to: it passes only if just this was expected.
fn judge_error(expect: &Expect, error: &RowError<'_>) -> (Outcome, Vec<Check<'static>>) {
    let (outcome, came) = match error.class {
        Some(class) => (Outcome::Error, ExpectedError::Class(class)),
        None => (Outcome::Timeout, ExpectedError::Timeout),
    };
    let Some(expected) = expect.error else {
        return (outcome, Vec::new());
    };
    if came == expected {
        return (Outcome::Passed, vec![passed("error")]);
    }
    let (came, expected) = (came.as_str(), expected.as_str());
    let message = cut(MAX_REPEATED, &error.message);
    let message = format!("expected `{expected}`, got `{came}`: {message}");
    let check = failed("error", message, &expected, raw(&came));
    (outcome, vec![check])
}

#[cfg(test)]
#[path = "../tests/judge.rs"]
mod tests;
