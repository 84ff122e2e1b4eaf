//! From how a session ended to what is written down and said of it.

use miette::miette;

use crate::{
    error::{Error, ExitStatus, chain},
    model::{Counts, Reason, RunStatus, Stage, StopSignal, Verdict},
    output::{Finish, Report},
    record::{End, Recorder},
    run::{Ending, SessionError},
};

/// How a run's session ends.
pub(super) struct Closing {
    status: RunStatus,
    reason: Option<Reason>,
    signal: Option<StopSignal>,
    stage: Stage,
    verdict: Verdict,
    counts: Counts,
    /// What went wrong, for people.
    error: Option<String>,
}

impl Closing {
    /// Closes a session that ended by itself or by a stop.
    pub(super) fn of(ended: Result<Ending, SessionError>, planned: u64) -> Self {
        match ended {
            Ok(ending) => Self::of_ending(ending),
            Err(SessionError::Ready(error)) => Self {
                stage: Stage::Plan,
                error: Some(error.to_string()),
                ..Self::without_rows(RunStatus::Failed, Reason::Plugin, planned)
            },
            Err(SessionError::Stopped { reason, signal }) => Self {
                signal,
                stage: Stage::Plan,
                ..Self::without_rows(RunStatus::Incomplete, reason, planned)
            },
            Err(SessionError::Run { error, counts }) => Self {
                counts,
                error: Some(error),
                ..Self::without_rows(
                    match counts.done() {
                        0 => RunStatus::Failed,
                        _ => RunStatus::Incomplete,
                    },
                    Reason::Internal,
                    planned,
                )
            },
        }
    }

    /// Closes a session whose engine or threads could not be had.
    pub(super) fn not_set_up(problem: String, planned: u64) -> Self {
        Self {
            stage: Stage::Plan,
            error: Some(problem),
            ..Self::without_rows(RunStatus::Failed, Reason::Setup, planned)
        }
    }

    fn of_ending(ending: Ending) -> Self {
        let Some(reason) = ending.reason else {
            return Self {
                status: RunStatus::Completed,
                reason: None,
                signal: None,
                stage: Stage::Finish,
                verdict: match ending.counts.bad() {
                    0 => Verdict::Passed,
                    _ => Verdict::Failed,
                },
                counts: ending.counts,
                error: None,
            };
        };
        Self {
            status: RunStatus::Incomplete,
            reason: Some(reason),
            signal: ending.signal,
            stage: Stage::Run,
            verdict: match reason {
                Reason::FailFast => Verdict::Failed,
                _ => Verdict::None,
            },
            counts: ending.counts,
            error: ending.storage.map(|error| chain(&error)),
        }
    }

    fn without_rows(status: RunStatus, reason: Reason, planned: u64) -> Self {
        Self {
            status,
            reason: Some(reason),
            signal: None,
            stage: Stage::Run,
            verdict: Verdict::None,
            counts: Counts {
                planned,
                ..Counts::default()
            },
            error: None,
        }
    }
}

/// Writes the end of a session down, and tells it.
pub(super) fn close(
    recorder: Recorder,
    report: Report,
    closing: Closing,
) -> Result<ExitStatus, Error> {
    let Closing {
        status,
        reason,
        signal,
        stage,
        verdict,
        counts,
        error,
    } = closing;
    let run_dir = recorder.run_dir().to_owned();
    let finished = recorder.finish(End {
        now: crate::run::wall_clock(),
        status,
        reason,
        signal,
        stage,
        verdict,
        counts,
    });
    let exit = ExitStatus::of(status, reason, signal, verdict);
    report.finish(&Finish {
        run_dir: &run_dir,
        status,
        reason,
        signal,
        verdict,
        counts,
        exit,
        error,
    });
    match finished {
        Ok(_) => Ok(exit),
        Err(error) => Err(Error::storage(miette!(
            "the end of the run could not be written down: {}",
            chain(&error)
        ))),
    }
}
