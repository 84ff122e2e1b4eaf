//! Where a trial is, in two bytes.

use crate::model::Outcome;

/// Where a trial is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It can be assigned.
    Pending,
    /// Its latest attempt is with an executor.
    Assigned,
    /// Its latest attempt is with the recorder.
    HandedOver,
    /// Its latest attempt is on disk, and has yet to be graded.
    Ungraded,
    /// Its final row is on disk.
    Final(Outcome),
}

impl Phase {
    /// Every phase; its place here is what a slot holds.
    const ALL: [Self; 9] = [
        Self::Pending,
        Self::Assigned,
        Self::HandedOver,
        Self::Final(Outcome::Passed),
        Self::Final(Outcome::Failed),
        Self::Final(Outcome::Error),
        Self::Final(Outcome::Timeout),
        Self::Final(Outcome::Skipped),
        Self::Ungraded,
    ];

    fn code(self) -> u16 {
        match self {
            // These settle nothing, whatever a row says.
            Self::Pending | Self::Final(Outcome::Stopped | Outcome::Ungraded) => 0,
            Self::Assigned => 1,
            Self::HandedOver => 2,
            Self::Final(Outcome::Passed) => 3,
            Self::Final(Outcome::Failed) => 4,
            Self::Final(Outcome::Error) => 5,
            Self::Final(Outcome::Timeout) => 6,
            Self::Final(Outcome::Skipped) => 7,
            Self::Ungraded => 8,
        }
    }

    pub(super) fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Final(outcome) => Some(outcome),
            Self::Pending | Self::Assigned | Self::HandedOver | Self::Ungraded => None,
        }
    }
}

/// A phase in the lowest four bits, the latest attempt's number above the fifth. That one tells of a final row whether it
/// is flaky, and of any other trial whether an attempt ended badly.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TrialSlot(u16);

impl TrialSlot {
    const PHASE: u16 = (1 << 4) - 1;
    const FLAKY: u16 = 1 << 4;
    const NUMBER_AT: u16 = 5;
    /// Stands for this number and all above it.
    pub(super) const LARGE: u32 = (u16::MAX >> Self::NUMBER_AT) as u32;

    pub(super) fn new(phase: Phase, number: u32) -> Self {
        let number = u16::try_from(number.min(Self::LARGE)).expect("a capped number fits");
        Self(number << Self::NUMBER_AT | phase.code())
    }

    pub(super) fn phase(self) -> Phase {
        Phase::ALL[usize::from(self.0 & Self::PHASE)]
    }

    pub(super) fn number(self) -> u32 {
        u32::from(self.0 >> Self::NUMBER_AT)
    }

    pub(super) fn is_flaky(self) -> bool {
        self.0 & Self::FLAKY != 0
    }

    pub(super) fn set_flaky(&mut self, is_flaky: bool) {
        self.0 &= !Self::FLAKY;
        self.0 |= u16::from(is_flaky) * Self::FLAKY;
    }
}
