//! What a test expects against how an attempt ended. Nothing here executes anything.

mod again;
mod checks;
mod diff;
mod json;

use std::{cell::RefCell, collections::HashMap, time::Duration};

use regex::Regex;
use runner_model::{
    Outcome,
    outcome::Verdict,
    row::{Check, Raw, RowError},
    test::{Expect, ExpectedError},
};
use runner_sandbox::Reply;

pub use self::again::judge_again;
use self::checks::{check_output, exit_code, failed, passed, raw};
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
        let exit = exit_code(reply, stderr);
        let mut checks = check_output(self, expect, &reply.output, took);
        checks.extend(exit);
        (outcome(&checks, &reply.checks, reply.verdict), checks)
    }

    /// What an output comes to of which the provider has said this, and the checks of the scenario.
    pub fn output(
        &self,
        expect: &Expect,
        output: &Raw<'_>,
        verdict: Option<Verdict>,
        own: &[Check<'_>],
        took: Duration,
    ) -> (Outcome, Vec<Check<'static>>) {
        let checks = check_output(self, expect, output, took);
        (outcome(&checks, own, verdict), checks)
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
