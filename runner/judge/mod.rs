//! What a test expects against what is known of how an attempt went.
//!
//! Nothing here executes anything: an attempt can be judged where it was made, and again from what was stored of it.

mod checks;
mod copies;
mod evidence;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod grades;
mod json;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

pub use evidence::{EndEvidence, Evidence, ReplyEvidence};
pub use grades::{AnswerForm, Answered, decide, grade, judge_grades, not_asked};

use self::checks::{check_reply, compared};
use crate::{
    model::{AttemptError, BoundedText, Check, CheckVerdict, Outcome},
    scenario::{Expect, ExpectedError},
};

/// How much of an error's message a check repeats, in bytes; the row has the error itself.
const MAX_REPEATED_BYTES: usize = 4 * 1024;

/// For a provider that is called as a plain command, and was written for something else.
const PROTOCOL_HINT: &str = "this looks like an answer of the JSON protocol, which a provider speaks with \
                             `protocol = \"json\"`";

/// What an attempt is judged to have come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// What it came to.
    pub outcome: Outcome,
    /// The scenario's expectations, as far as they could be looked at; the provider's own checks are none of them.
    pub checks: Vec<Check>,
}

/// Judges an attempt by what its test expects.
pub fn judge(expect: &Expect, evidence: &Evidence<'_>) -> Judgement {
    match &evidence.ending {
        EndEvidence::Reply(reply) => judge_reply(expect, reply, evidence),
        EndEvidence::Error(error) => {
            let came = error.class.map(ExpectedError::Class);
            judge_error(expect, Outcome::Error, came, error)
        }
        EndEvidence::Timeout(error) => {
            let came = Some(ExpectedError::Timeout);
            judge_error(expect, Outcome::Timeout, came, error)
        }
        EndEvidence::Stopped => Judgement {
            outcome: Outcome::Stopped,
            checks: Vec::new(),
        },
    }
}

fn judge_reply(expect: &Expect, reply: &ReplyEvidence<'_>, evidence: &Evidence<'_>) -> Judgement {
    let mut checks = check_reply(expect, reply, evidence);
    if reply.exit_code.is_some() {
        hint_at_protocol(&mut checks, reply.output);
    }
    let has_failed = |check: &Check| check.verdict == CheckVerdict::Fail;
    let is_bad = checks.iter().any(has_failed)
        || reply.has_failed_checks
        || reply.verdict == Some(CheckVerdict::Fail);
    let outcome = match reply.verdict {
        _ if is_bad => Outcome::Failed,
        Some(CheckVerdict::Skip) => Outcome::Skipped,
        Some(CheckVerdict::Pass | CheckVerdict::Fail) | None => Outcome::Passed,
    };
    Judgement { outcome, checks }
}

/// Tells whether a plain command's output is what commands of the JSON protocol answer.
fn is_protocol_answer(output: &Value) -> bool {
    /// Nothing of it is kept, however large it is.
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum ReplyEnvelope {
        Ok {
            #[serde(rename = "output")]
            _output: IgnoredAny,
        },
        Err {
            #[serde(rename = "kind")]
            _kind: IgnoredAny,
        },
    }
    match output {
        Value::String(text) => serde_json::from_str::<ReplyEnvelope>(text).is_ok(),
        output => ReplyEnvelope::deserialize(output).is_ok(),
    }
}

/// Says behind the message of the first check that failed if a plain command seems to speak the JSON protocol.
fn hint_at_protocol(checks: &mut [Check], output: &Value) {
    let mut failed = checks
        .iter_mut()
        .filter(|check| check.verdict == CheckVerdict::Fail);
    if let Some(message) = failed.next().and_then(|check| check.message.as_mut())
        && is_protocol_answer(output)
    {
        message.push_str("; ");
        message.push_str(PROTOCOL_HINT);
    }
}

/// Judges an attempt that gave no reply: it passes only if just this was expected.
fn judge_error(
    expect: &Expect,
    outcome: Outcome,
    came: Option<ExpectedError>,
    error: &AttemptError,
) -> Judgement {
    let Some(expected) = expect.error else {
        return Judgement {
            outcome,
            checks: Vec::new(),
        };
    };
    let came = came.map_or("internal", ExpectedError::as_str);
    let is_expected = came == expected.as_str();
    let check = compared(
        "error",
        is_expected,
        || (json!(expected.as_str()), json!(came)),
        || {
            format!(
                "expected `{}`, got `{came}`: {}",
                expected.as_str(),
                BoundedText::of(MAX_REPEATED_BYTES, &error.message)
            )
        },
    );
    Judgement {
        outcome: match is_expected {
            true => Outcome::Passed,
            false => outcome,
        },
        checks: vec![check],
    }
}
