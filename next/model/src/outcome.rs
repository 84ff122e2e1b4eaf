//! What an attempt came to.

use crate::{Reason, enum_text::text_enum};

text_enum! {
    /// What an attempt came to.
    pub enum Outcome {
        /// Every check held.
        Passed = "passed",
        /// A check did not hold, or the provider's own verdict was `fail`.
        Failed = "failed",
        /// The provider could not evaluate the test, or it broke; see [`ErrorClass`].
        Error = "error",
        /// A deadline of the attempt or of its trial passed.
        Timeout = "timeout",
        /// The provider's verdict was `skip`.
        Skipped = "skipped",
        /// The attempt was cut short. Never final.
        Stopped = "stopped",
        /// The provider replied, and a grader has still to judge the output. Never final.
        Ungraded = "ungraded",
    }
}

impl Outcome {
    /// Tells whether a final row with this outcome makes the verdict `failed`.
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::Error | Self::Timeout)
    }

    /// Tells whether a row with this outcome can be final.
    pub fn can_be_final(self) -> bool {
        !matches!(self, Self::Stopped | Self::Ungraded)
    }
}

text_enum! {
    /// Why an attempt is an [`Outcome::Error`].
    pub enum ErrorClass {
        /// The guest trapped: a panic, an abort, an invalid memory access, a stack overflow.
        Trap = "trap",
        /// The guest died after it was denied memory.
        OutOfMemory = "out-of-memory",
        /// A reply or another product was larger than its limit.
        Limit = "limit",
        /// The guest broke the contract, for example with a reply that is not valid JSON.
        Protocol = "protocol",
        /// It needs something that it was not granted.
        Denied = "denied",
        /// The provider does not accept the test's input.
        InvalidInput = "invalid-input",
        /// The provider does not accept its configuration.
        InvalidConfig = "invalid-config",
        /// Something that the provider depends on could not be reached.
        Unavailable = "unavailable",
        /// Something that the provider depends on asked it to slow down.
        RateLimited = "rate-limited",
        /// A failure inside the provider, or of the runner while it served the provider.
        Internal = "internal",
        /// The provider's own `other`.
        Other = "other",
        /// A grader came to no judgement of the output. A scenario cannot name this class.
        Grader = "grader",
        /// The attempt ended its worker process, twice and alone. A scenario cannot name this class.
        Crash = "crash",
    }
}

impl ErrorClass {
    /// Tells whether `retries.on` and `expect.error` of a scenario can name it.
    pub fn can_be_named(self) -> bool {
        !matches!(self, Self::Grader | Self::Crash)
    }
}

text_enum! {
    /// A verdict of a provider, a grader or a check.
    pub enum Verdict {
        /// It held.
        Pass = "pass",
        /// It did not hold.
        Fail = "fail",
        /// It was not judged.
        Skip = "skip",
    }
}

text_enum! {
    /// What the runner's own machine lacked during an attempt; no fault of the guest. The words are codes of rows.
    pub enum HostFault {
        /// Memory, or address space.
        Memory = "host-memory",
        /// Files that may be open at once.
        Files = "host-files",
        /// Space on a disk.
        Storage = "host-storage",
        /// Threads.
        Threads = "host-threads",
    }
}

impl HostFault {
    /// The reason of a run that ends for want of it.
    pub fn reason(self) -> Reason {
        match self {
            Self::Storage => Reason::Storage,
            Self::Memory | Self::Files | Self::Threads => Reason::Internal,
        }
    }
}
