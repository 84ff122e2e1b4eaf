//! [`SessionEnd`]: how a session has ended, and what its run becomes by that.

use jiff::Timestamp;

use super::{ready::ReadyError, stop::Cause};
use crate::{
    model::{Counts, Reason, RunStatus, Stage, StopSignal, Verdict, chain},
    record::{By, End, RecordError},
};

/// How a session has ended: all was done, somebody or something stopped it, or it could not go on.
#[derive(Debug)]
pub struct SessionEnd {
    /// Why work remains; `None` if nothing is left to do.
    pub cause: Option<Cause>,
    /// How far the session came.
    pub stage: Stage,
    /// What is on disk.
    pub counts: Counts,
    /// How many trials were executed, of which graders have still to speak.
    pub ungraded: u32,
    /// What went wrong, for people, where the cause does not say it.
    pub error: Option<String>,
    /// Whether somebody did not want to wait for anything more.
    pub is_forced: bool,
}

impl SessionEnd {
    /// A stop came before the first trial.
    pub fn stopped_early(cause: Cause, counts: Counts) -> Self {
        Self {
            cause: Some(cause),
            stage: Stage::Plan,
            counts,
            ungraded: 0,
            error: None,
            is_forced: false,
        }
    }

    /// Plugins are not usable.
    pub(super) fn not_ready(error: &ReadyError, counts: Counts) -> Self {
        Self::early(Reason::Plugin, error.to_string(), counts)
    }

    /// What the run needs on disk could not be had before the first trial.
    pub fn not_stored(error: &RecordError, counts: Counts) -> Self {
        Self::early(Reason::Storage, chain(error), counts)
    }

    /// The engine or the threads could not be had.
    pub fn not_set_up(problem: String, counts: Counts) -> Self {
        Self::early(Reason::Setup, problem, counts)
    }

    /// The runner itself could not go on.
    pub fn broken(error: String, counts: Counts) -> Self {
        Self {
            stage: Stage::Run,
            ..Self::early(Reason::Internal, error, counts)
        }
    }

    /// Trials have run. What kept rows from the disk is said before what the machine `lacked`.
    pub(super) fn after_trials(
        cause: Option<Cause>,
        storage: Option<&RecordError>,
        lacked: Option<String>,
        counts: Counts,
    ) -> Self {
        let cause = storage.map(|_| Cause::of(Reason::Storage)).or(cause);
        Self {
            stage: match cause {
                None => Stage::Finish,
                Some(_) => Stage::Run,
            },
            cause,
            counts,
            ungraded: 0,
            error: storage.map(|error| chain(&error)).or(lacked),
            is_forced: false,
        }
    }

    /// The same of a session that has only judged: trials that are left to run are left for the reason that they were left for
    /// before.
    pub fn of_judging(self, reason: Option<Reason>, signal: Option<StopSignal>) -> Self {
        let is_left = self.counts.done() < self.counts.planned;
        if self.cause.is_some() || !is_left {
            return self;
        }
        Self {
            cause: Some(Cause {
                signal,
                // A completed run of which a row is damaged by now, and its trial is left to run.
                ..Cause::of(reason.unwrap_or(Reason::Crashed))
            }),
            stage: Stage::Run,
            ..self
        }
    }

    fn early(reason: Reason, error: String, counts: Counts) -> Self {
        Self {
            error: Some(error),
            ..Self::stopped_early(Cause::of(reason), counts)
        }
    }

    /// What is written down of it: the run's status, reason and verdict. `limit` is what sets the session's time.
    pub fn into_end(self, limit: &str, now: Timestamp) -> End {
        let Self {
            cause,
            stage,
            counts,
            ungraded: _,
            error,
            is_forced: _,
        } = self;
        let reason = cause.as_ref().map(|cause| cause.reason);
        let is_up = |cause: &Cause| {
            let is_limit = matches!(cause.reason, Reason::Timeout | Reason::Budget);
            is_limit.then(|| cause.text("", limit))
        };
        End {
            status: RunStatus::after(reason),
            reason,
            signal: cause.as_ref().and_then(|cause| cause.signal),
            stage,
            verdict: match reason {
                None => counts.verdict(),
                Some(Reason::FailFast) => Verdict::Failed,
                Some(_) => Verdict::None,
            },
            counts,
            error: error.or_else(|| cause.as_ref().and_then(is_up)),
            by: cause.and_then(|cause| cause.actor.as_deref().map(By::from)),
            now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SessionEnd;
    use crate::{
        model::{Counts, Reason},
        record::RecordError,
        run::Cause,
    };

    #[test]
    fn what_kept_rows_from_the_disk_is_said_before_anything_else() {
        let full_disk = RecordError::Io {
            action: "write a row",
            source: std::io::ErrorKind::StorageFull.into(),
        };
        let lacked = Some("it lacked memory".to_owned());
        let cause = Some(Cause::of(Reason::Timeout));
        let ended = SessionEnd::after_trials(cause, Some(&full_disk), lacked, Counts::default());
        assert_eq!(ended.cause, Some(Cause::of(Reason::Storage)));
        let error = ended.error.unwrap();
        assert!(error.contains("write a row"), "{error}");
    }
}
