//! [`Event`]: what a session lets the world see.

use std::time::Duration;

use crate::{
    model::{Counts, Grants, Outcome, ProviderId, Reason, StopMode},
    record::{Entry, Row, RowCheck},
};

/// What a session lets the world see while it goes on.
pub enum Event<'a> {
    /// A plugin is compiled, unless that is in the cache, and checked.
    Linking {
        /// The provider it is for.
        provider: &'a ProviderId,
    },
    /// That is done.
    Linked {
        /// The provider it is for.
        provider: &'a ProviderId,
        /// How long it took.
        took: Duration,
    },
    /// A plugin asks for more than its provider is granted.
    Requests {
        /// The provider.
        provider: &'a ProviderId,
        /// What is not granted, in the plugin's words.
        requests: &'a [&'a str],
        /// What to grant so that it has what it asks for; absent where nobody knows what that is.
        grants: Option<&'a Grants>,
        /// Whether these need a limit of what may be written, and there is none.
        lacks_scratch: bool,
    },
    /// Plugins are ready, and trials are begun.
    Begun {
        /// What earlier sessions have come to.
        counts: Counts,
    },
    /// Rows are on disk.
    Rows {
        /// The attempts that they record.
        entries: &'a [Entry],
        /// The rows as written, one for each entry, each with its newline; no judgements.
        lines: &'a [u8],
        /// All that is on disk.
        counts: Counts,
    },
    /// Judgements are on disk: graders have spoken of attempts whose rows were there before.
    Judged {
        /// The attempts, and what they have come to.
        trials: &'a [JudgedTrial],
        /// All that is on disk.
        counts: Counts,
    },
    /// Some time has passed.
    Progress {
        /// All that is on disk.
        counts: Counts,
        /// How many attempts are being executed.
        running: usize,
        /// How many trials have been executed and have yet to be graded.
        ungraded: u64,
        /// The one that began first.
        longest: Option<Running<'a>>,
        /// What keeps more attempts from being executed, if anything does.
        shortage: Option<Shortage>,
    },
    /// No new trials are begun.
    Stopping {
        /// How hard.
        mode: StopMode,
        /// Why.
        reason: Reason,
        /// The same for people.
        why: &'a str,
        /// How many attempts have begun and not ended.
        in_flight: usize,
    },
    /// Somebody has paused the session: no attempt begins, guests wait where they are, and no time of it passes.
    Paused {
        /// Who, and why.
        by: &'a str,
    },
    /// It goes on.
    Unpaused,
    /// A stop takes long.
    Awaiting {
        /// How hard it is.
        mode: StopMode,
        /// What is being executed.
        running: &'a [Running<'a>],
        /// How many rows are on their way to the disk.
        rows: usize,
    },
}

/// An attempt of which graders have spoken.
#[derive(Debug)]
pub struct JudgedTrial {
    /// Its row, as they have judged it.
    pub(crate) row: Row<'static>,
}

impl JudgedTrial {
    /// Its trial's id: `test@provider#repeat`.
    pub fn trial(&self) -> &str {
        &self.row.trial
    }

    /// What it has come to.
    pub fn outcome(&self) -> Outcome {
        self.row.outcome
    }

    /// Its trial's place in the plan, from 0.
    pub fn ordinal(&self) -> u64 {
        self.row.ordinal
    }

    /// What was checked in it, with what graders said.
    pub(crate) fn checks(&self) -> impl Iterator<Item = &RowCheck<'static>> {
        self.row.checks.iter()
    }

    /// Whether the trial passed only after an attempt that did not.
    pub fn is_flaky(&self) -> bool {
        self.row.is_flaky
    }
}

/// What there is too little of for more attempts to be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// Attempts that are being executed leave no memory to others.
    Memory,
    /// Workers on other machines are to make the attempts, and none is there.
    Workers,
}

/// An attempt that is being executed.
pub struct Running<'a> {
    /// Its trial.
    pub trial: &'a str,
    /// For how long.
    pub elapsed: Duration,
}
