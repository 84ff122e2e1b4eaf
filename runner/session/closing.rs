//! The end of a session is written down, told to the run's log, and handed to observers.

use super::{Host, Observe, log_entries, notifying, reports};
use crate::{
    model::{Reason, RunStatus, Stage, Verdict, chain},
    plugin::clock,
    record::{Conclusion, RecordError, Recorder},
    run::{Plan, SessionEnd, Watchdog},
};

/// Writes the end of a session of a plan down, and tells it; then the reports that the scenario asks for.
///
/// The watchdog watches until the former is done: a long summary is no reason to end the process.
pub(super) fn close(
    mut recorder: Recorder,
    watchdog: Watchdog,
    ended: SessionEnd,
    plan: &Plan,
    host: &Host,
    observe: &mut dyn Observe,
) -> Conclusion {
    let limit = &plan.time_limit();
    recorder.set_suspended(clock::suspended());
    tell_of_early_stop(&ended, limit);
    let (is_forced, ungraded) = (ended.is_forced, ended.ungraded);
    let end = ended.into_end(limit, (host.now)());
    let (run, dir) = (recorder.run_id().clone(), recorder.run_dir().to_owned());
    notifying::expect_end(&dir, recorder.session(), plan.scenario().notify(), host);
    let mut conclusion = Conclusion::of(run, dir, recorder.session(), &end);
    conclusion.is_forced = is_forced;
    conclusion.ungraded = ungraded;
    let told = recorder.finish_with(&end, |status| {
        // One that has begun is not failed, and only the recorder knows that.
        conclusion.status = status;
        tell(&conclusion, end.stage);
    });
    if let Err(error) = told {
        conclusion = unwritten(conclusion, &error);
        tell(&conclusion, end.stage);
    }
    drop(watchdog);
    // Whoever has asked twice is in a hurry.
    if !is_forced {
        reports::write(&conclusion.run_dir, plan.scenario().reports(), observe);
    }
    observe.conclude(&conclusion);
    if !is_forced {
        let notify = plan.scenario().notify();
        notifying::tell_of_end(&conclusion.run_dir, notify, host, observe);
    }
    conclusion
}

/// Tells the run's log of a stop before the first trial: no dispatcher was there yet to tell it.
fn tell_of_early_stop(ended: &SessionEnd, limit: &str) {
    let cause = ended.cause.as_ref();
    if let Some(cause) = cause.filter(|_| ended.stage == Stage::Plan && ended.error.is_none()) {
        let why = cause.text("asked", limit);
        tracing::info!("stopping before the first trial: {why}");
    }
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
    // That its time was up, or a budget, was told when it was stopped for it.
    let is_told =
        matches!(conclusion.reason, Some(Reason::Timeout | Reason::Budget)) && stage != Stage::Plan;
    if let Some(error) = conclusion.error.as_ref().filter(|_| !is_told) {
        tracing::info!("{error}");
    }
    log_entries::end(conclusion);
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::unwritten;
    use crate::{
        error::ExitStatus,
        model::{Counts, Reason, RunStatus, Stage, StopMode, StopSignal, Verdict},
        record::{Conclusion, RecordError, RunId},
        run::{Cause, SessionEnd, StopRequest},
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

    /// How a session ends that has run trials.
    fn ended(cause: Option<Cause>) -> SessionEnd {
        SessionEnd {
            stage: match cause {
                None => Stage::Finish,
                Some(_) => Stage::Run,
            },
            cause,
            counts: counts(),
            ungraded: 0,
            error: None,
            is_forced: false,
        }
    }

    /// What becomes of a run whose session ends so.
    fn of(ended: SessionEnd) -> Conclusion {
        let run = RunId::of_directory("a-run");
        let end = ended.into_end(LIMIT, Timestamp::UNIX_EPOCH);
        Conclusion::of(run, "results/a-run".into(), 1, &end)
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
        let stopped = |cause| ended(Some(cause));
        let term = stop(StopMode::Stop, Some(StopSignal::Terminate));
        for (ended, status, reason, code) in [
            (ended(None), RunStatus::Completed, None, 1),
            (
                stopped(term),
                RunStatus::Incomplete,
                Some(Reason::Interrupted),
                143,
            ),
            (
                stopped(stop(StopMode::Cancel, None)),
                RunStatus::Cancelled,
                Some(Reason::Cancelled),
                4,
            ),
            (
                stopped(stop(StopMode::Drain, None)),
                RunStatus::Incomplete,
                Some(Reason::Stopped),
                4,
            ),
            (
                stopped(Cause::of(Reason::FailFast)),
                RunStatus::Incomplete,
                Some(Reason::FailFast),
                4,
            ),
            (
                SessionEnd::stopped_early(Cause::of(Reason::Timeout), counts()),
                RunStatus::Incomplete,
                Some(Reason::Timeout),
                4,
            ),
            (
                SessionEnd::not_stored(&full_disk(), counts()),
                RunStatus::Incomplete,
                Some(Reason::Storage),
                7,
            ),
            (
                SessionEnd::broken("a bug".to_owned(), counts()),
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
        let not_set_up = of(SessionEnd::not_set_up("no threads".into(), counts()));
        assert_eq!(not_set_up.reason, Some(Reason::Setup));
        assert_eq!(ExitStatus::of(&not_set_up), ExitStatus::Failed);
    }

    #[test]
    fn what_the_machine_lacked_is_said_before_what_set_the_time() {
        let mut late = ended(Some(Cause::of(Reason::Timeout)));
        let error = of(late).error.unwrap();
        assert!(error.contains(LIMIT), "{error}");
        late = ended(Some(Cause::of(Reason::Timeout)));
        late.error = Some("it lacked memory".to_owned());
        assert_eq!(of(late).error.unwrap(), "it lacked memory");
    }

    #[test]
    fn a_session_that_never_ran_a_trial_ends_in_its_plan() {
        let stage = |ended: SessionEnd| ended.into_end(LIMIT, Timestamp::UNIX_EPOCH).stage;
        let stopped = SessionEnd::stopped_early(Cause::of(Reason::Stopped), counts());
        assert_eq!(stage(stopped), Stage::Plan);
        assert_eq!(stage(ended(None)), Stage::Finish);
    }

    #[test]
    fn an_end_that_cannot_be_written_down_is_one_of_storage_whatever_it_was() {
        let interrupt = Cause {
            reason: Reason::Interrupted,
            signal: Some(StopSignal::Interrupt),
            actor: None,
            budget: None,
        };
        let interrupted = of(SessionEnd::stopped_early(interrupt, counts()));
        for conclusion in [of(ended(None)), interrupted] {
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
