//! [`Exit`]: the exit codes. Those of runs depend only on the manifest.

use crate::{Reason, RunStatus, StopSignal, status::RunVerdict};

// The order of the variants is that of `worse`.
/// An exit code of the command. Worse ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// All trials passed, or the command succeeded.
    Success,
    /// The run is completed with bad trials.
    Bad,
    /// No test was selected.
    NothingSelected,
    /// The run is cancelled, or incomplete for a reason without another code.
    Incomplete,
    /// Another live runner holds the run or the results root.
    Held,
    /// The run could not start as requested.
    Failed,
    /// Wrong usage, an invalid scenario or plugin file, or an unknown run. Nothing was created.
    Usage,
    /// A signal stopped the run.
    Signal(StopSignal),
    /// Rows of the run are lost or changed.
    Damaged,
    /// Results could not be stored, or output could not be written.
    Storage,
    /// A bug of the runner.
    Internal,
}

impl Exit {
    const CODES: [(Self, u8); 13] = [
        (Self::Success, 0),
        (Self::Bad, 1),
        (Self::Usage, 2),
        (Self::Failed, 3),
        (Self::Incomplete, 4),
        (Self::NothingSelected, 5),
        (Self::Held, 6),
        (Self::Storage, 7),
        (Self::Damaged, 8),
        (Self::Internal, 70),
        (Self::Signal(StopSignal::HangUp), 129),
        (Self::Signal(StopSignal::Interrupt), 130),
        (Self::Signal(StopSignal::Terminate), 143),
    ];

    /// Returns the process's exit code.
    pub fn code(self) -> u8 {
        Self::CODES.iter().find(|(exit, _)| *exit == self).map_or(70, |(_, code)| *code)
    }

    /// Parses the number of [`Self::code`].
    pub fn of_code(code: u8) -> Option<Self> {
        Self::CODES.iter().find(|(_, known)| *known == code).map(|(exit, _)| *exit)
    }

    /// Returns the exit code of a run, the same in every command.
    pub fn of_run(
        status: RunStatus,
        reason: Option<Reason>,
        signal: Option<StopSignal>,
        verdict: RunVerdict,
        has_lost_report: bool,
    ) -> Self {
        let exit = match (status, reason) {
            _ if verdict == RunVerdict::Damaged => Self::Damaged,
            (RunStatus::Completed, _) if verdict == RunVerdict::Failed => Self::Bad,
            (RunStatus::Completed, _) => Self::Success,
            (_, Some(Reason::Internal)) => Self::Internal,
            (_, Some(Reason::Storage)) => Self::Storage,
            (RunStatus::Failed, _) => Self::Failed,
            (RunStatus::Incomplete, Some(Reason::Interrupted)) => {
                signal.map_or(Self::Incomplete, Self::Signal)
            }
            (RunStatus::Running | RunStatus::Incomplete | RunStatus::Cancelled, _) => {
                Self::Incomplete
            }
        };
        if has_lost_report { exit.without_output() } else { exit }
    }

    /// Returns the exit code of a command whose results have this one, and whose output or report is lost.
    #[must_use]
    pub fn without_output(self) -> Self {
        match self {
            Self::Success | Self::Bad => Self::Storage,
            worse => worse,
        }
    }

    /// Returns the exit code of two runs or results.
    pub fn worse(self, other: Self) -> Self {
        self.max(other)
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;
    use crate::{Reason, RunStatus, StopSignal, status::RunVerdict};

    #[test]
    fn each_end_has_its_documented_code() {
        let code = |status, reason, signal, verdict| {
            Exit::of_run(status, reason, signal, verdict, false).code()
        };
        assert_eq!(code(RunStatus::Completed, None, None, RunVerdict::Passed), 0);
        assert_eq!(code(RunStatus::Completed, None, None, RunVerdict::Failed), 1);
        let lost = |status, verdict| Exit::of_run(status, None, None, verdict, true).code();
        assert_eq!(lost(RunStatus::Completed, RunVerdict::Passed), 7);
        assert_eq!(lost(RunStatus::Completed, RunVerdict::Failed), 7);
        assert_eq!(lost(RunStatus::Completed, RunVerdict::Damaged), 8);
        assert_eq!(lost(RunStatus::Incomplete, RunVerdict::None), 4);
        for status in [RunStatus::Completed, RunStatus::Incomplete] {
            assert_eq!(code(status, None, None, RunVerdict::Damaged), 8);
        }
        assert_eq!(code(RunStatus::Failed, Some(Reason::Plugin), None, RunVerdict::None), 3);
        assert_eq!(code(RunStatus::Failed, Some(Reason::Internal), None, RunVerdict::None), 70);
        for (reason, expected) in [
            (Reason::Timeout, 4),
            (Reason::FailFast, 4),
            (Reason::Budget, 4),
            (Reason::Stopped, 4),
            (Reason::Crashed, 4),
            (Reason::Holes, 4),
            (Reason::Plugin, 4),
            (Reason::Storage, 7),
            (Reason::Internal, 70),
        ] {
            assert_eq!(
                code(RunStatus::Incomplete, Some(reason), None, RunVerdict::None),
                expected,
                "{reason}"
            );
        }
        assert_eq!(code(RunStatus::Cancelled, Some(Reason::Cancelled), None, RunVerdict::None), 4);
        for (signal, expected) in
            [(StopSignal::Interrupt, 130), (StopSignal::Terminate, 143), (StopSignal::HangUp, 129)]
        {
            let reason = Some(Reason::Interrupted);
            assert_eq!(
                code(RunStatus::Incomplete, reason, Some(signal), RunVerdict::None),
                expected
            );
        }
    }

    #[test]
    fn several_runs_end_as_the_worst() {
        let signal = Exit::Signal(StopSignal::Interrupt);
        for (exits, worst) in [
            ([Exit::Success, Exit::Success], Exit::Success),
            ([Exit::Bad, Exit::Success], Exit::Bad),
            ([Exit::Bad, Exit::Incomplete], Exit::Incomplete),
            ([Exit::Failed, Exit::Incomplete], Exit::Failed),
            ([Exit::Incomplete, signal], signal),
            ([signal, Exit::Damaged], Exit::Damaged),
            ([Exit::Internal, Exit::Storage], Exit::Internal),
        ] {
            let [one, other] = exits;
            assert_eq!((one.worse(other), other.worse(one)), (worst, worst));
            assert_eq!(Exit::of_code(worst.code()), Some(worst));
        }
    }
}
