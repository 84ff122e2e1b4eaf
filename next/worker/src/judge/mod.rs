//! What a test expects against how an attempt ended. Nothing here executes anything.

mod again;
mod checks;
mod diff;
mod json;

use std::{cell::RefCell, collections::HashMap, rc::Rc, time::Duration};

use regex::Regex;
use runner_model::{
    Digest, Outcome,
    outcome::Verdict,
    row::{Check, Raw, RowError},
    test::{Expect, ExpectedError},
};

use self::checks::{check_output, failed, passed, raw};
pub use self::{
    again::{Stored, judge_again},
    json::{most_tree, tree_bytes},
};
use crate::{report::beginning, schema::Schema};

/// How much of an error's message a check repeats, in bytes; the row has the error itself.
const MAX_REPEATED: usize = 4 << 10;
/// How many compiled expressions, and how many compiled schemas, are kept.
const MAX_REGEXES: usize = 256;
const MAX_SCHEMAS: usize = 64;

/// Judges attempts. Keeps compiled regular expressions and schemas.
#[derive(Default)]
pub struct Judge {
    regexes: RefCell<HashMap<String, Regex>>,
    schemas: RefCell<HashMap<Digest, SharedSchema>>,
}

/// A schema that was compiled once, or why it is none.
pub type SharedSchema = Rc<Result<Schema, String>>;

/// What is known of an attempt that came to an output.
pub struct Evidence<'a> {
    pub output: &'a Raw<'a>,
    /// Bytes that the output may take as a tree of values.
    pub most_tree: usize,
    /// The schema that the test expects.
    pub schema: Option<&'a Result<Schema, String>>,
    /// The provider's own verdict, score and checks.
    pub verdict: Option<Verdict>,
    pub score: Option<f64>,
    pub own: &'a [Check<'a>],
    /// Of a plain command.
    pub exit_code: Option<i32>,
    pub stderr: &'a str,
    pub took: Duration,
    /// Bytes of the guest's memories together.
    pub peak_memory: u64,
}

impl Judge {
    /// What an output comes to, and the checks of the scenario; the provider's own checks are not among them.
    pub fn output(&self, expect: &Expect, of: &Evidence<'_>) -> (Outcome, Vec<Check<'static>>) {
        let checks = check_output(self, expect, of);
        (outcome(&checks, of.own, of.verdict), checks)
    }

    /// A schema that is known already.
    pub fn schema(&self, digest: &Digest) -> Option<SharedSchema> {
        self.schemas.borrow().get(digest).cloned()
    }

    /// Compiles a schema from its file.
    pub fn add_schema(&self, digest: Digest, file: &[u8]) -> SharedSchema {
        let read = serde_json::from_slice(file);
        let read = read.map_err(|error| format!("is not JSON: {error}"));
        let schema = Rc::new(read.and_then(Schema::new));
        let mut schemas = self.schemas.borrow_mut();
        // Lists can name a schema for each test.
        if schemas.len() >= MAX_SCHEMAS {
            schemas.clear();
        }
        schemas.insert(digest, schema.clone());
        schema
    }

    /// Tells whether an expression matches; the error says why it is none.
    fn is_match(&self, pattern: &str, text: &str) -> Result<bool, String> {
        let mut regexes = self.regexes.borrow_mut();
        if let Some(regex) = regexes.get(pattern) {
            return Ok(regex.is_match(text));
        }
        let regex = Regex::new(pattern).map_err(|error| error.to_string())?;
        let is_match = regex.is_match(text);
        // Lists can make an expression for each test.
        if regexes.len() >= MAX_REGEXES {
            regexes.clear();
        }
        regexes.insert(pattern.to_owned(), regex);
        Ok(is_match)
    }
}

/// What a reply comes to, by the checks of the scenario, and by the provider's own and its verdict.
fn outcome(checks: &[Check<'_>], own: &[Check<'_>], verdict: Option<Verdict>) -> Outcome {
    let has_failed = |check: &Check<'_>| check.verdict == Verdict::Fail;
    match verdict {
        _ if checks.iter().chain(own).any(has_failed) => Outcome::Failed,
        Some(Verdict::Fail) => Outcome::Failed,
        Some(Verdict::Skip) => Outcome::Skipped,
        Some(Verdict::Pass) | None => Outcome::Passed,
    }
}

/// What an attempt without a reply comes to: it passes only if just this was expected.
pub fn judge_error(
    expect: &Expect,
    outcome: Outcome,
    came: ExpectedError,
    error: &RowError<'_>,
) -> (Outcome, Vec<Check<'static>>) {
    let Some(expected) = expect.error else {
        return (outcome, Vec::new());
    };
    if came == expected {
        return (Outcome::Passed, vec![passed("error")]);
    }
    let (came, expected) = (came.as_str(), expected.as_str());
    let message = beginning(&error.message, MAX_REPEATED);
    let message = format!("expected `{expected}`, got `{came}`: {message}");
    (
        outcome,
        vec![failed("error", message, &expected, raw(&came))],
    )
}

#[cfg(test)]
#[path = "../tests/judge.rs"]
mod tests;
