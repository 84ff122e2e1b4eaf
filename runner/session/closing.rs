//! From how a session ended to what is written down and handed on.

use super::{Host, Observe, story};
use crate::{
    model::{Counts, Reason, RunStatus, Stage, Verdict, chain},
    plugin::clock,
    record::{By, Conclusion, End, RecordError, Recorder},
    run::{Cause, Ending, SessionError, Watchdog, wall_clock},
};

/// How a session ended, before that is written down.
pub(super) struct Closing {
    end: End,
    /// Whether nobody waits for a summary.
    is_forced: bool,
}

impl Closing {
    /// Closes a session that ended by itself or by a stop; `limit` is what sets its time.
    pub(super) fn of(ended: Result<Ending, SessionError>, counts: Counts, limit: &str) -> Self {
        let is_forced = matches!(&ended, Ok(ending) if ending.is_forced);
        let end = match ended {
            Ok(ending) => of_ending(ending, limit),
            Err(SessionError::Ready(error)) => End {
                stage: Stage::Plan,
                error: Some(error.to_string()),
                ..before_new_rows(RunStatus::Failed, Reason::Plugin, counts)
            },
            Err(SessionError::Stopped(cause)) => {
                let why = cause.text("asked", limit);
                // No dispatcher was there yet to tell it.
                tracing::info!("stopping before the first trial: {why}");
                End {
                    stage: Stage::Plan,
                    ..stopped(&cause, counts, limit)
                }
            }
            Err(SessionError::Storage(error)) => End {
                stage: Stage::Plan,
                error: Some(chain(&error)),
                ..before_new_rows(RunStatus::Incomplete, Reason::Storage, counts)
            },
            Err(SessionError::Run { error, counts }) => End {
                error: Some(error),
                ..before_new_rows(RunStatus::Failed, Reason::Internal, counts)
            },
        };
        Self { end, is_forced }
    }

    /// Closes a session whose engine or threads could not be had.
    pub(super) fn not_set_up(problem: String, counts: Counts) -> Self {
        let end = End {
            stage: Stage::Plan,
            error: Some(problem),
            ..before_new_rows(RunStatus::Failed, Reason::Setup, counts)
        };
        Self {
            end,
            is_forced: false,
        }
    }
}

fn of_ending(ending: Ending, limit: &str) -> End {
    let Some(cause) = ending.cause else {
        return End {
            status: RunStatus::Completed,
            reason: None,
            signal: None,
            stage: Stage::Finish,
            verdict: ending.counts.verdict(),
            counts: ending.counts,
            error: None,
            by: None,
            now: wall_clock(),
        };
    };
    let stopped = stopped(&cause, ending.counts, limit);
    let storage = ending.storage.map(|error| chain(&error));
    End {
        error: storage.or(ending.lacked).or(stopped.error),
        ..stopped
    }
}

/// The end of a session that was stopped.
fn stopped(cause: &Cause, counts: Counts, limit: &str) -> End {
    let status = match cause.reason {
        Reason::Cancelled => RunStatus::Cancelled,
        _ => RunStatus::Incomplete,
    };
    End {
        verdict: match cause.reason {
            Reason::FailFast => Verdict::Failed,
            _ => Verdict::None,
        },
        error: (cause.reason == Reason::Timeout).then(|| cause.text("", limit)),
        signal: cause.signal,
        by: cause.actor.as_deref().map(By::from),
        ..before_new_rows(status, cause.reason, counts)
    }
}

fn before_new_rows(status: RunStatus, reason: Reason, counts: Counts) -> End {
    End {
        status,
        reason: Some(reason),
        signal: None,
        stage: Stage::Run,
        verdict: Verdict::None,
        counts,
        error: None,
        by: None,
        now: wall_clock(),
    }
}

/// Writes the end of a session down, and tells it.
///
/// The watchdog watches until the former is done: a long summary is no reason to end the process.
pub(super) fn close(
    mut recorder: Recorder,
    watchdog: Watchdog,
    closing: Closing,
    host: &Host,
    observe: &mut dyn Observe,
) -> Conclusion {
    recorder.set_suspended(clock::suspended());
    let Closing { end, is_forced } = closing;
    let end = End {
        now: (host.now)(),
        ..end
    };
    let (run, dir) = (recorder.run_id().clone(), recorder.run_dir().to_owned());
    let mut conclusion = Conclusion::of(run, dir, recorder.session(), &end);
    conclusion.is_forced = is_forced;
    let told = recorder.finish_telling(&end, |status| {
        // One that has begun is not failed, and only the recorder knows that.
        conclusion.status = status;
        tell(&conclusion, end.stage);
    });
    if let Err(error) = told {
        conclusion = unwritten(conclusion, &error);
        tell(&conclusion, end.stage);
    }
    drop(watchdog);
    observe.conclude(&conclusion);
    conclusion
}

/// What becomes of a run whose own end cannot be stored: what is not on disk was not reached.
fn unwritten(conclusion: Conclusion, error: &RecordError) -> Conclusion {
    let unwritten = || {
        format!(
            "the end of the run cannot be written down: {}",
            chain(error)
        )
    };
    Conclusion {
        status: RunStatus::Incomplete,
        reason: Some(Reason::Storage),
        signal: None,
        verdict: Verdict::None,
        error: conclusion.error.or_else(|| Some(unwritten())),
        ..conclusion
    }
}

/// Tells the run's log how the session ended; observers have it from the conclusion.
fn tell(conclusion: &Conclusion, stage: Stage) {
    // That its time was up was told when it was stopped for it.
    let is_told = conclusion.reason == Some(Reason::Timeout) && stage != Stage::Plan;
    if let Some(error) = conclusion.error.as_ref().filter(|_| !is_told) {
        tracing::info!("{error}");
    }
    story::end(conclusion);
}

#[cfg(test)]
mod tests {
    use super::{Closing, unwritten};
    use crate::{
        error::ExitStatus,
        model::{Counts, Reason, RunStatus, Stage, StopMode, StopSignal, Verdict},
        record::{Conclusion, RecordError, RunId},
        run::{Cause, Ending, SessionError, StopRequest},
    };

    const LIMIT: &str = "`timeout` of the scenario";

    fn counts() -> Counts {
        Counts {
            planned: 3,
            passed: 2,
            failed: 1,
            ..Counts::default()
        }
    }

    fn full_disk() -> RecordError {
        RecordError::Io {
            action: "write a row",
            source: std::io::ErrorKind::StorageFull.into(),
        }
    }

    fn ending(cause: Option<Cause>) -> Ending {
        Ending {
            cause,
            is_forced: false,
            counts: counts(),
            storage: None,
            lacked: None,
        }
    }

    /// What becomes of a run whose session ends so.
    fn concluded(closing: &Closing) -> Conclusion {
        let run = RunId::of_directory("a-run");
        Conclusion::of(run, "results/a-run".into(), 1, &closing.end)
    }

    fn of(ended: Result<Ending, SessionError>) -> Conclusion {
        concluded(&Closing::of(ended, counts(), LIMIT))
    }

    #[test]
    fn every_way_to_end_has_one_conclusion_and_one_exit_code() {
        let stop = |mode, signal| {
            let request = StopRequest {
                mode,
                signal,
                actor: None,
            };
            request.cause()
        };
        let ended = |cause| Ok(ending(Some(cause)));
        let term = stop(StopMode::Stop, Some(StopSignal::Terminate));
        for (ended, status, reason, code) in [
            (Ok(ending(None)), RunStatus::Completed, None, 1),
            (
                ended(term),
                RunStatus::Incomplete,
                Some(Reason::Interrupted),
                143,
            ),
            (
                ended(stop(StopMode::Cancel, None)),
                RunStatus::Cancelled,
                Some(Reason::Cancelled),
                4,
            ),
            (
                ended(stop(StopMode::Drain, None)),
                RunStatus::Incomplete,
                Some(Reason::Stopped),
                4,
            ),
            (
                ended(Cause::of(Reason::FailFast)),
                RunStatus::Incomplete,
                Some(Reason::FailFast),
                4,
            ),
            (
                Err(SessionError::Stopped(Cause::of(Reason::Timeout))),
                RunStatus::Incomplete,
                Some(Reason::Timeout),
                4,
            ),
            (
                Err(SessionError::Storage(full_disk())),
                RunStatus::Incomplete,
                Some(Reason::Storage),
                7,
            ),
            (
                Err(SessionError::Run {
                    error: "a bug".to_owned(),
                    counts: counts(),
                }),
                RunStatus::Failed,
                Some(Reason::Internal),
                70,
            ),
        ] {
            let conclusion = of(ended);
            assert_eq!(conclusion.status, status);
            assert_eq!(conclusion.reason, reason);
            assert_eq!(ExitStatus::of(&conclusion).code(), code, "{conclusion:?}");
            assert_eq!(conclusion.counts, counts());
        }
        let not_set_up = concluded(&Closing::not_set_up("no threads".into(), counts()));
        assert_eq!(not_set_up.reason, Some(Reason::Setup));
        assert_eq!(ExitStatus::of(&not_set_up), ExitStatus::Failed);
    }

    #[test]
    fn what_kept_rows_from_the_disk_is_said_before_anything_else() {
        let mut ended = ending(Some(Cause::of(Reason::Storage)));
        ended.storage = Some(full_disk());
        ended.lacked = Some("it lacked memory".to_owned());
        let error = of(Ok(ended)).error.unwrap();
        assert!(error.contains("write a row"), "{error}");

        let mut ended = ending(Some(Cause::of(Reason::Timeout)));
        let error = of(Ok(ended)).error.unwrap();
        assert!(error.contains(LIMIT), "{error}");
        ended = ending(Some(Cause::of(Reason::Timeout)));
        ended.lacked = Some("it lacked memory".to_owned());
        assert_eq!(of(Ok(ended)).error.unwrap(), "it lacked memory");
    }

    #[test]
    fn a_session_that_never_ran_a_trial_ends_in_its_plan() {
        let stopped = SessionError::Stopped(Cause::of(Reason::Stopped));
        let closing = Closing::of(Err(stopped), counts(), LIMIT);
        assert_eq!(closing.end.stage, Stage::Plan);
        let closing = Closing::of(Ok(ending(None)), counts(), LIMIT);
        assert_eq!(closing.end.stage, Stage::Finish);
    }

    #[test]
    fn an_end_that_cannot_be_written_down_is_one_of_storage_whatever_it_was() {
        let interrupted = of(Err(SessionError::Stopped(Cause {
            reason: Reason::Interrupted,
            signal: Some(StopSignal::Interrupt),
            actor: None,
        })));
        for conclusion in [of(Ok(ending(None))), interrupted] {
            let conclusion = unwritten(conclusion, &full_disk());
            assert_eq!(conclusion.status, RunStatus::Incomplete);
            assert_eq!(conclusion.verdict, Verdict::None);
            assert_eq!(conclusion.signal, None);
            assert_eq!(ExitStatus::of(&conclusion), ExitStatus::Storage);
            let error = conclusion.error.unwrap();
            assert!(error.contains("cannot be written down"), "{error}");
        }
    }
}
