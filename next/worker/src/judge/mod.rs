//! What a test expects against how an attempt ended. Nothing here executes anything.

mod checks;
mod diff;
mod json;

use std::{cell::RefCell, collections::HashMap, time::Duration};

use regex::Regex;
use runner_model::{
    Outcome,
    outcome::Verdict,
    row::{Check, RowError},
    test::{Expect, ExpectedError},
};
use runner_sandbox::Reply;

use self::checks::{check_reply, failed, passed, raw};
use crate::report::beginning;

/// How much of an error's message a check repeats, in bytes; the row has the error itself.
const MAX_REPEATED: usize = 4 << 10;
/// How many compiled expressions are kept.
const MAX_REGEXES: usize = 256;
/// Judges attempts. Keeps compiled regular expressions.
#[derive(Default)]
pub struct Judge {
    regexes: RefCell<HashMap<String, Regex>>,
}

impl Judge {
    /// What a reply comes to, and the checks of the scenario; the provider's own checks are not among them.
    pub fn reply(
        &self,
        expect: &Expect,
        reply: &Reply,
        took: Duration,
        stderr: &str,
    ) -> (Outcome, Vec<Check<'static>>) {
        let checks = check_reply(self, expect, reply, took, stderr);
        let has_failed = |check: &Check<'_>| check.verdict == Verdict::Fail;
        let is_bad = checks.iter().chain(&reply.checks).any(has_failed)
            || reply.verdict == Some(Verdict::Fail);
        let outcome = match reply.verdict {
            _ if is_bad => Outcome::Failed,
            Some(Verdict::Skip) => Outcome::Skipped,
            Some(Verdict::Pass | Verdict::Fail) | None => Outcome::Passed,
        };
        (outcome, checks)
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
