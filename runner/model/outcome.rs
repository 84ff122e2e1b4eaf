//! What an attempt came to.

use std::fmt;

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Every check held.
    Passed,
    /// A check did not hold, or the provider's own verdict was `fail`.
    Failed,
    /// The provider could not evaluate the test, or broke; see [`ErrorClass`].
    Error,
    /// A deadline of the attempt or of its trial fired.
    Timeout,
    /// The provider's verdict was `skip`.
    Skipped,
    /// The run was stopped meanwhile. Never final.
    Stopped,
    /// It was executed, and a grader has still to speak. Never final.
    Ungraded,
}

impl Outcome {
    /// Every outcome, in the order in which tables show them.
    pub const ALL: [Self; 7] = [
        Self::Passed,
        Self::Failed,
        Self::Error,
        Self::Timeout,
        Self::Skipped,
        Self::Stopped,
        Self::Ungraded,
    ];

    /// The word for it in rows, tables and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Skipped => "skipped",
            Self::Stopped => "stopped",
            Self::Ungraded => "ungraded",
        }
    }

    /// Reads [`Outcome::as_str`] back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|outcome| outcome.as_str() == word)
    }

    /// Tells whether a final row with this outcome makes the verdict `failed`.
    pub fn is_bad(self) -> bool {
        match self {
            Self::Failed | Self::Error | Self::Timeout => true,
            Self::Passed | Self::Skipped | Self::Stopped | Self::Ungraded => false,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Why an attempt is an [`Outcome::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The guest trapped: a panic, an abort, a stray memory access, a stack overflow.
    Trap,
    /// The guest died after it was denied memory.
    OutOfMemory,
    /// A reply or another product of the guest was larger than its limit.
    Limit,
    /// The guest broke the contract, for example with a reply that is not JSON.
    Protocol,
    /// Something that was not granted.
    Denied,
    /// The provider refused the test's input.
    InvalidInput,
    /// The provider refused its configuration.
    InvalidConfig,
    /// What the provider depends on could not be reached.
    Unavailable,
    /// What the provider depends on asked it to slow down.
    RateLimited,
    /// A failure inside the provider, or inside the runner while it served it.
    Internal,
    /// The provider's own `other`.
    Other,
    /// The trial ended the whole process again and again.
    Poison,
    /// A grader came to no judgement of the output.
    Grader,
}

impl ErrorClass {
    /// Every class, in the order of the documentation.
    pub const ALL: [Self; 13] = [
        Self::Trap,
        Self::OutOfMemory,
        Self::Limit,
        Self::Protocol,
        Self::Denied,
        Self::InvalidInput,
        Self::InvalidConfig,
        Self::Unavailable,
        Self::RateLimited,
        Self::Internal,
        Self::Other,
        Self::Poison,
        Self::Grader,
    ];

    /// The word for it in rows, scenarios and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::OutOfMemory => "out-of-memory",
            Self::Limit => "limit",
            Self::Protocol => "protocol",
            Self::Denied => "denied",
            Self::InvalidInput => "invalid-input",
            Self::InvalidConfig => "invalid-config",
            Self::Unavailable => "unavailable",
            Self::RateLimited => "rate-limited",
            Self::Internal => "internal",
            Self::Other => "other",
            Self::Poison => "poison",
            Self::Grader => "grader",
        }
    }

    /// Reads [`ErrorClass::as_str`] back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == word)
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
