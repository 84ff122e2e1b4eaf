//! From how a session ended to what is written down and said of it.

use std::{path::Path, sync::Arc};

use super::{Surroundings, naming, story};
use crate::{
    error::ExitStatus,
    model::{Actor, Counts, Reason, RunStatus, Stage, StopSignal, Verdict, chain},
    output::{Finish, Report, Tally},
    plugin::clock,
    record::{By, End, RecordError, Recorder, RunReader},
    run::{Cause, Ending, SessionError, Watchdog},
};

/// How a run's session ends.
pub(super) struct Closing {
    status: RunStatus,
    reason: Option<Reason>,
    signal: Option<StopSignal>,
    /// Who asked for it from another process.
    actor: Option<Arc<Actor>>,
    stage: Stage,
    verdict: Verdict,
    counts: Counts,
    /// Whether nobody waits for a summary.
    is_forced: bool,
    /// What went wrong, for people.
    error: Option<String>,
}

impl Closing {
    /// Closes a session that ended by itself or by a stop; `limit` is what sets its time.
    pub(super) fn of(ended: Result<Ending, SessionError>, counts: Counts, limit: &str) -> Self {
        match ended {
            Ok(ending) => Self::of_ending(ending, limit),
            Err(SessionError::Ready(error)) => Self {
                stage: Stage::Plan,
                error: Some(error.to_string()),
                ..Self::before_new_rows(RunStatus::Failed, Reason::Plugin, counts)
            },
            Err(SessionError::Stopped(cause)) => {
                let why = cause.text("asked", limit);
                // No dispatcher was there yet to tell it.
                tracing::info!("stopping before the first trial: {why}");
                Self {
                    stage: Stage::Plan,
                    ..Self::stopped(cause, counts, limit)
                }
            }
            Err(SessionError::Storage(error)) => Self {
                stage: Stage::Plan,
                error: Some(chain(&error)),
                ..Self::before_new_rows(RunStatus::Incomplete, Reason::Storage, counts)
            },
            Err(SessionError::Run { error, counts }) => Self {
                error: Some(error),
                ..Self::before_new_rows(RunStatus::Failed, Reason::Internal, counts)
            },
        }
    }

    /// Closes a session whose engine or threads could not be had.
    pub(super) fn not_set_up(problem: String, counts: Counts) -> Self {
        Self {
            stage: Stage::Plan,
            error: Some(problem),
            ..Self::before_new_rows(RunStatus::Failed, Reason::Setup, counts)
        }
    }

    fn of_ending(ending: Ending, limit: &str) -> Self {
        let Some(cause) = ending.cause else {
            return Self {
                status: RunStatus::Completed,
                reason: None,
                signal: None,
                actor: None,
                stage: Stage::Finish,
                verdict: ending.counts.verdict(),
                counts: ending.counts,
                is_forced: false,
                error: None,
            };
        };
        let stopped = Self::stopped(cause, ending.counts, limit);
        let storage = ending.storage.map(|error| chain(&error));
        Self {
            is_forced: ending.is_forced,
            error: storage.or(ending.lacked).or(stopped.error),
            ..stopped
        }
    }

    /// Closes a session that was stopped.
    fn stopped(cause: Cause, counts: Counts, limit: &str) -> Self {
        let status = match cause.reason {
            Reason::Cancelled => RunStatus::Cancelled,
            _ => RunStatus::Incomplete,
        };
        Self {
            verdict: match cause.reason {
                Reason::FailFast => Verdict::Failed,
                _ => Verdict::None,
            },
            error: (cause.reason == Reason::Timeout).then(|| cause.text("", limit)),
            signal: cause.signal,
            actor: cause.actor,
            ..Self::before_new_rows(status, cause.reason, counts)
        }
    }

    /// Turns into the end of a run whose own end cannot be stored: what is not on disk was not reached.
    fn unwritten(self, error: &RecordError) -> Self {
        let unwritten = || {
            format!(
                "the end of the run cannot be written down: {}",
                chain(error)
            )
        };
        Self {
            status: RunStatus::Incomplete,
            reason: Some(Reason::Storage),
            signal: None,
            actor: None,
            verdict: Verdict::None,
            error: self.error.or_else(|| Some(unwritten())),
            ..self
        }
    }

    fn end(&self) -> End {
        End {
            now: crate::run::wall_clock(),
            status: self.status,
            reason: self.reason,
            signal: self.signal,
            stage: self.stage,
            verdict: self.verdict,
            counts: self.counts,
            error: self.error.clone(),
            by: self.actor.as_deref().map(By::from),
        }
    }

    /// Tells the run's log how the session ended; the screen has it from the report.
    fn tell(&self) -> ExitStatus {
        // That its time was up was told when it was stopped for it.
        let is_told = self.reason == Some(Reason::Timeout) && self.stage != Stage::Plan;
        if let Some(error) = self.error.as_ref().filter(|_| !is_told) {
            tracing::info!("{error}");
        }
        let exit = ExitStatus::of_parts(self.status, self.reason, self.signal, self.verdict);
        story::end(&self.end(), exit);
        exit
    }

    fn before_new_rows(status: RunStatus, reason: Reason, counts: Counts) -> Self {
        Self {
            status,
            reason: Some(reason),
            signal: None,
            actor: None,
            stage: Stage::Run,
            verdict: Verdict::None,
            counts,
            is_forced: false,
            error: None,
        }
    }
}

/// Writes the end of a session down, and tells it.
///
/// The watchdog watches until the former is done: a long summary is no reason to end the process.
pub(super) fn close(
    mut recorder: Recorder,
    watchdog: Watchdog,
    mut report: Report,
    mut closing: Closing,
    surroundings: &Surroundings,
) -> ExitStatus {
    recorder.set_suspended(clock::suspended());
    let run_dir = recorder.run_dir().to_owned();
    let (id, is_resumed) = (recorder.run_id().clone(), recorder.session() > 1);
    let told = recorder.finish_telling(&closing.end(), |status| {
        // One that has begun is not failed, and only the recorder knows that.
        closing.status = status;
        closing.tell()
    });
    let exit = match told {
        Ok((_, exit)) => exit,
        Err(error) => {
            closing = closing.unwritten(&error);
            closing.tell()
        }
    };
    drop(watchdog);
    if is_resumed {
        report.tell_of_session();
    }
    if is_resumed && report.has_summary() {
        report.replace_tally(tally_of(&run_dir));
    }
    report.finish(&Finish {
        run_dir: &run_dir,
        status: closing.status,
        reason: closing.reason,
        signal: closing.signal,
        verdict: closing.verdict,
        counts: closing.counts,
        exit,
        is_forced: closing.is_forced,
        error: closing.error,
        resume: naming::resume(&run_dir, &id, closing.status, surroundings),
    });
    exit
}

/// Gathers all sessions' rows: a resumed run reports every trial, and not only the new ones.
fn tally_of(run_dir: &Path) -> Option<Tally> {
    let reader = RunReader::open(run_dir).ok()?;
    let state = reader.state().ok()?;
    // Damaged lines were told when the run was opened.
    Some(Tally::of_run(&reader, &state, |_, _| {}, |_| {}))
}
