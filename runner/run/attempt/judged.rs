//! From how a provider's call has ended to an attempt: evidence is made of it, and judged.

use super::{
    deadline::Deadline,
    unfinished::{AttemptIdentity, blank, stop_error},
};
use crate::{
    judge::{self, Evidence, Judgement, judge},
    model::{Attempt, AttemptError, CheckVerdict, LogRecord, Outcome},
    plugin::{Ended, Ending, Reply},
    scenario::Expect,
};

/// How a call has ended, in the words of its row.
enum CallEnd {
    Reply(Reply),
    Error(AttemptError),
    Timeout(AttemptError),
    Stopped,
}

/// Turns what happened into an attempt.
pub(in crate::run) fn judged(
    of: AttemptIdentity,
    expect: &Expect,
    deadline: &Deadline,
    ended: Ended,
) -> Attempt {
    let end = match ended.ending {
        Ending::Reply(reply) => CallEnd::Reply(reply),
        Ending::Error(error) => CallEnd::Error(error),
        Ending::Timeout => CallEnd::Timeout(timeout_error(deadline)),
        Ending::Stopped => CallEnd::Stopped,
    };
    let evidence = Evidence {
        ending: end.as_evidence(),
        duration: ended.duration,
        peak_memory: ended.usage.peak_memory,
        stderr: &ended.stderr,
        hint: ended.hint.as_deref(),
    };
    let judgement = judge(expect, &evidence);
    let is_good = matches!(judgement.outcome, Outcome::Passed | Outcome::Stopped);
    let mut attempt = end.into_attempt(of, judgement);
    // A guest may well do without what the machine lacked, and a result not without its artifacts.
    let lacked = ended.lacked.filter(|_| !is_good);
    let is_stopped = attempt.outcome == Outcome::Stopped;
    if let Some(error) = ended.lost.filter(|_| !is_stopped).or(lacked) {
        attempt.outcome = Outcome::Error;
        attempt.error = Some(error);
    }
    Attempt {
        duration: ended.duration,
        usage: ended.usage,
        denied: ended.denied,
        artifacts: ended.artifacts,
        log: with_dropped(ended.log, ended.log_dropped),
        stderr: ended.stderr,
        stdout: ended.stdout,
        ..attempt
    }
}

impl CallEnd {
    fn as_evidence(&self) -> judge::EndEvidence<'_> {
        match self {
            Self::Reply(reply) => judge::EndEvidence::Reply(judge::ReplyEvidence {
                output: &reply.output,
                verdict: reply.verdict,
                has_failed_checks: reply
                    .checks
                    .iter()
                    .any(|check| check.verdict == CheckVerdict::Fail),
                score: reply.score,
                exit_code: reply.exit_code,
            }),
            Self::Error(error) => judge::EndEvidence::Error(error),
            Self::Timeout(error) => judge::EndEvidence::Timeout(error),
            Self::Stopped => judge::EndEvidence::Stopped,
        }
    }

    fn into_attempt(self, of: AttemptIdentity, judgement: Judgement) -> Attempt {
        let Judgement {
            outcome,
            mut checks,
        } = judgement;
        let error = match self {
            Self::Reply(reply) => {
                checks.extend(reply.checks);
                return Attempt {
                    checks,
                    output: Some(reply.output),
                    score: reply.score,
                    verdict: reply.verdict,
                    metrics: reply.metrics,
                    summary: reply.summary,
                    ..blank(of, outcome)
                };
            }
            Self::Error(error) | Self::Timeout(error) => error,
            Self::Stopped => stop_error(),
        };
        Attempt {
            checks,
            error: Some(error),
            ..blank(of, outcome)
        }
    }
}

fn timeout_error(deadline: &Deadline) -> AttemptError {
    AttemptError {
        class: None,
        code: deadline.rule.code().into(),
        message: deadline.text(),
        retry_after: None,
        fault: None,
    }
}

/// Says at a log's end how many records its limits kept out.
fn with_dropped(mut log: Vec<LogRecord>, dropped: u64) -> Vec<LogRecord> {
    if dropped > 0 {
        log.push(LogRecord {
            at: None,
            level: "warn",
            message: format!("{dropped} more records were dropped: the log is full"),
            fields: Vec::new(),
        });
    }
    log
}
