//! What ends a command early, and the only place where a run becomes an exit code.

use std::{fmt, process::ExitCode};

use miette::miette;

use crate::{
    model::{Reason, RunStatus, StopSignal, Verdict},
    record::{CancelError, ClaimError, Conclusion, FindError, RecordError, RunEntry, Taken},
};

/// That a run was there when it was asked for, and was deleted meanwhile. A report tells its own type and those of its causes,
/// and not that of an error that it was made of.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct DeletedMeanwhile(RecordError);

impl miette::Diagnostic for DeletedMeanwhile {}

/// What a program that asks has to tell from other wrong usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusalKind {
    /// There is nothing with this name.
    Missing,
    /// It cannot be done as things stand, or several may be meant.
    Conflict,
}

/// Why something is refused, where it is known of which kind that is.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Refusal {
    pub(crate) kind: RefusalKind,
    pub(crate) text: String,
    pub(crate) help: String,
}

impl miette::Diagnostic for Refusal {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.help))
    }
}

/// Takes away the bare lines `Error:` that miette puts between the problems of one error.
pub(crate) fn without_titles(text: &str) -> String {
    text.replace("\nError: \n", "\n")
}

/// The exit codes, one by one as in `docs/outcomes.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// Completed, and everything passed; or the command did what it was asked.
    Success,
    /// Completed, and not everything passed.
    NotPassed,
    /// Wrong usage, an invalid scenario or plugin file, an unknown target; nothing was created.
    Usage,
    /// The run could not begin as asked.
    Failed,
    /// The run is incomplete, for another reason than a signal or storage.
    Incomplete,
    /// No test was selected.
    NothingSelected,
    /// A live runner holds the run or its root, or did not answer.
    Busy,
    /// Results could not be stored, or data not be written to standard output.
    Storage,
    /// A bug of the runner.
    Internal,
    /// The run is incomplete because of a signal.
    Signalled(StopSignal),
}

impl ExitStatus {
    /// Every exit code, in ascending order.
    pub const ALL: [Self; 12] = [
        Self::Success,
        Self::NotPassed,
        Self::Usage,
        Self::Failed,
        Self::Incomplete,
        Self::NothingSelected,
        Self::Busy,
        Self::Storage,
        Self::Internal,
        Self::Signalled(StopSignal::HangUp),
        Self::Signalled(StopSignal::Interrupt),
        Self::Signalled(StopSignal::Terminate),
    ];

    /// Makes the exit code of what became of a run.
    pub fn of(conclusion: &Conclusion) -> Self {
        let Conclusion {
            status,
            reason,
            signal,
            verdict,
            ..
        } = *conclusion;
        Self::of_parts(status, reason, signal, verdict)
    }

    /// Makes the exit code of what has become of a run so far.
    pub(crate) fn of_run(run: &RunEntry) -> Self {
        Self::of_parts(run.status, run.reason, run.signal, run.verdict)
    }

    /// Makes the exit code of a process that is ended because its run did not keep the bounds of a stop.
    pub(crate) fn of_unkept_stop(reason: Reason, signal: Option<StopSignal>) -> Self {
        let status = RunStatus::after(Some(reason));
        Self::of_parts(status, Some(reason), signal, Verdict::None)
    }

    /// `reason` and `signal` are set as far as the status has them.
    fn of_parts(
        status: RunStatus,
        reason: Option<Reason>,
        signal: Option<StopSignal>,
        verdict: Verdict,
    ) -> Self {
        match (status, reason, signal) {
            (_, Some(Reason::Internal), _) => Self::Internal,
            (_, Some(Reason::Storage), _) => Self::Storage,
            (RunStatus::Failed, _, _) => Self::Failed,
            (RunStatus::Completed, _, _) if verdict == Verdict::Passed => Self::Success,
            (RunStatus::Completed, _, _) => Self::NotPassed,
            (RunStatus::Incomplete, Some(Reason::Interrupted), Some(signal)) => {
                Self::Signalled(signal)
            }
            (RunStatus::Incomplete | RunStatus::Cancelled | RunStatus::Running, _, _) => {
                Self::Incomplete
            }
        }
    }

    /// The number that the process exits with.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::NotPassed => 1,
            Self::Usage => 2,
            Self::Failed => 3,
            Self::Incomplete => 4,
            Self::NothingSelected => 5,
            Self::Busy => 6,
            Self::Storage => 7,
            // `EX_SOFTWARE` of sysexits.h.
            Self::Internal => 70,
            // 128 + the signal's number, as shells report it.
            Self::Signalled(StopSignal::HangUp) => 129,
            Self::Signalled(StopSignal::Interrupt) => 130,
            Self::Signalled(StopSignal::Terminate) => 143,
        }
    }

    /// Whichever of two says more against what was asked for: of several runs, the exit code is that of the worst.
    pub fn worse(self, other: Self) -> Self {
        let rank = |status: Self| match status {
            Self::Success => 0,
            Self::NotPassed => 1,
            Self::NothingSelected => 2,
            Self::Incomplete => 3,
            Self::Busy => 4,
            Self::Failed => 5,
            Self::Usage => 6,
            Self::Signalled(_) => 7,
            Self::Storage => 8,
            Self::Internal => 9,
        };
        if rank(other) > rank(self) {
            other
        } else {
            self
        }
    }

    /// Reads [`ExitStatus::code`] back.
    pub(crate) fn from_code(code: i32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|status| i32::from(status.code()) == code)
    }

    /// Says in a few words what the code means.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Success => "completed, everything passed",
            Self::NotPassed => "completed, not everything passed",
            Self::Usage => "wrong usage or an invalid file",
            Self::Failed => "the run could not begin as asked",
            Self::Incomplete => "incomplete, or cancelled",
            Self::NothingSelected => "no test was selected",
            Self::Busy => "held by a live runner, or no answer from it",
            Self::Storage => "results or output could not be written",
            Self::Internal => "a bug of the runner",
            Self::Signalled(StopSignal::HangUp) => "incomplete, stopped by SIGHUP",
            Self::Signalled(StopSignal::Interrupt) => "incomplete, stopped by Ctrl-C",
            Self::Signalled(StopSignal::Terminate) => "incomplete, stopped by SIGTERM",
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}

/// Why a command could not do its work.
#[derive(Debug)]
pub struct Error {
    /// Decides the exit code.
    pub status: ExitStatus,
    /// What is shown.
    pub report: miette::Report,
}

impl Error {
    /// The user's input is wrong; nothing was created.
    pub(crate) fn usage(report: impl Into<miette::Report>) -> Self {
        Self {
            status: ExitStatus::Usage,
            report: report.into(),
        }
    }

    /// The results root cannot be used, or a result could not be written.
    pub(crate) fn storage(report: impl Into<miette::Report>) -> Self {
        Self {
            status: ExitStatus::Storage,
            report: report.into(),
        }
    }

    /// A results root or a run in it cannot be used.
    pub(crate) fn record(error: RecordError) -> Self {
        if let RecordError::Taken(taken) = error {
            return Self::taken(&taken);
        }
        Self {
            status: match &error {
                RecordError::Held { .. } => ExitStatus::Busy,
                RecordError::Gone { .. }
                | RecordError::InUse { .. }
                | RecordError::NoName { .. }
                | RecordError::TooMany { .. }
                | RecordError::Newer { .. } => ExitStatus::Usage,
                _ => ExitStatus::Storage,
            },
            report: match error {
                gone @ RecordError::Gone { .. } => miette::Report::new(DeletedMeanwhile(gone)),
                error => miette::Report::from_err(error),
            },
        }
    }

    /// A run cannot be taken over.
    pub(crate) fn claim(error: ClaimError) -> Self {
        match error {
            ClaimError::Record(error) => Self::record(error),
            ClaimError::Taken(taken) => Self::taken(&taken),
            ClaimError::Held { ref run, .. } => Self {
                status: ExitStatus::Busy,
                report: miette!(
                    help = format!(
                        "`runner wait {run}` waits until it has ended, and `runner stop {run}` stops it"
                    ),
                    "{error}"
                ),
            },
        }
    }

    /// Somebody is alone in the results root.
    fn taken(taken: &Taken) -> Self {
        let what = match &taken.run {
            // By its path it is found from whatever root is meant.
            Some(run) => format!("`runner wait {}` waits until it has ended", run.display()),
            None => "try again when it has ended".to_owned(),
        };
        Self {
            status: ExitStatus::Busy,
            report: miette!(help = format!("it is to be alone there; {what}"), "{taken}"),
        }
    }

    /// A run cannot be cancelled.
    pub(crate) fn cancel(error: CancelError) -> Self {
        match error {
            CancelError::Record(error) => Self::record(error),
            CancelError::Refused(_) => Self::usage(miette::Report::from_err(error)),
        }
    }

    /// A run that was asked for cannot be found or read.
    pub(crate) fn find(error: FindError) -> Self {
        Self::usage(miette::Report::from_err(error))
    }

    /// The runner could not do something that it needs for its work.
    pub(crate) fn internal(report: impl Into<miette::Report>) -> Self {
        Self {
            status: ExitStatus::Internal,
            report: report.into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.report.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::ExitStatus;
    use crate::model::{Reason, RunStatus, StopSignal, Verdict};

    #[test]
    fn an_interrupted_run_never_exits_0() {
        for status in RunStatus::ALL {
            for verdict in [Verdict::Passed, Verdict::Failed, Verdict::None] {
                for reason in [None, Some(Reason::Interrupted), Some(Reason::Timeout)] {
                    let exit =
                        ExitStatus::of_parts(status, reason, Some(StopSignal::Interrupt), verdict);
                    let may_be_0 = status == RunStatus::Completed && verdict == Verdict::Passed;
                    assert_eq!(exit.code() == 0, may_be_0, "{status} {reason:?} {verdict}");
                }
            }
        }
    }

    #[test]
    fn each_ending_has_its_code() {
        let code = |status, reason, signal, verdict| {
            ExitStatus::of_parts(status, reason, signal, verdict).code()
        };
        use RunStatus::{Completed, Failed, Incomplete};
        assert_eq!(code(Completed, None, None, Verdict::Passed), 0);
        assert_eq!(code(Completed, None, None, Verdict::Failed), 1);
        assert_eq!(code(Failed, Some(Reason::Plugin), None, Verdict::None), 3);
        assert_eq!(
            code(Incomplete, Some(Reason::Timeout), None, Verdict::None),
            4
        );
        assert_eq!(
            code(Incomplete, Some(Reason::FailFast), None, Verdict::Failed),
            4
        );
        assert_eq!(
            code(Incomplete, Some(Reason::Storage), None, Verdict::None),
            7
        );
        assert_eq!(
            code(Incomplete, Some(Reason::Internal), None, Verdict::None),
            70
        );
        for (signal, expected) in [
            (StopSignal::Interrupt, 130),
            (StopSignal::Terminate, 143),
            (StopSignal::HangUp, 129),
        ] {
            let reason = Some(Reason::Interrupted);
            assert_eq!(
                code(Incomplete, reason, Some(signal), Verdict::None),
                expected
            );
        }
    }
}
