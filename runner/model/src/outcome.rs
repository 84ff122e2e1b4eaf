//! [`Outcome`]: the result of an attempt; with classes of errors, verdicts and faults of the machine.

use crate::enum_text::text_enum;

text_enum! {
    /// The result of an attempt.
    #[derive(Default)]
    pub enum Outcome {
        /// Every check passed.
        Passed = "passed",
        /// A check failed, or the provider's own verdict was `fail`.
        Failed = "failed",
        /// The provider could not evaluate the test, or failed. See [`ErrorClass`].
        Error = "error",
        /// A deadline of the attempt or of its trial passed.
        Timeout = "timeout",
        /// The provider's verdict was `skip`.
        Skipped = "skipped",
        /// The attempt was interrupted. Never final.
        #[default]
        Stopped = "stopped",
        /// The provider replied, but no grader has judged the output yet. Never final.
        Ungraded = "ungraded",
    }
}

impl Outcome {
    /// Returns whether a final row with this outcome makes the verdict `failed`.
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::Error | Self::Timeout)
    }

    /// Returns whether an attempt with this outcome makes a later pass of its trial flaky. `service_failed` is that key of its
    /// row: the service could not answer, which the provider did not cause.
    pub fn is_bad_attempt(self, service_failed: bool) -> bool {
        self.is_bad() && !(service_failed && self == Self::Error)
    }

    /// Returns whether a row with this outcome can be final.
    pub fn can_be_final(self) -> bool {
        !matches!(self, Self::Stopped | Self::Ungraded)
    }
}

text_enum! {
    /// The cause of an outcome `error`.
    pub enum ErrorClass {
        /// The guest trapped: a panic, an abort, an invalid memory access, a stack overflow.
        Trap = "trap",
        /// The guest died after it was denied memory.
        OutOfMemory = "out-of-memory",
        /// A reply or another product was larger than its limit.
        Limit = "limit",
        /// The guest broke the contract, for example with a reply that is not valid JSON.
        Protocol = "protocol",
        /// The provider needs a grant that it does not have.
        Denied = "denied",
        /// The provider does not accept the test's input.
        InvalidInput = "invalid-input",
        /// The provider does not accept its configuration.
        InvalidConfig = "invalid-config",
        /// A service that the provider depends on could not be reached.
        Unavailable = "unavailable",
        /// A service that the provider depends on limits its rate.
        RateLimited = "rate-limited",
        /// A failure inside the provider, or of the runner while it served the provider.
        Internal = "internal",
        /// The provider's own `other`.
        Other = "other",
        /// A grader could not judge the output. Scenarios cannot name this class.
        Grader = "grader",
        /// A replayed attempt did something that the other run did not. Scenarios cannot name this class.
        Replay = "replay",
        /// The attempt ended its worker process twice while it ran alone. Scenarios cannot name this class.
        Crash = "crash",
    }
}

impl ErrorClass {
    /// Returns whether the error is one of a service that the provider depends on.
    pub fn is_of_service(self) -> bool {
        matches!(self, Self::Unavailable | Self::RateLimited)
    }

    /// Returns whether `retries.on` and `expect.error` of a scenario can name the class.
    pub fn can_be_named(self) -> bool {
        !matches!(self, Self::Grader | Self::Replay | Self::Crash)
    }
}

text_enum! {
    /// A verdict of a provider, a grader or a check.
    #[derive(Default)]
    pub enum Verdict {
        Pass = "pass",
        Fail = "fail",
        /// Not judged.
        #[default]
        Skip = "skip",
    }
}

text_enum! {
    /// A resource that the runner's own machine lacked during an attempt. The texts are codes of rows.
    pub enum HostFault {
        /// Memory, or address space.
        Memory = "host-memory",
        /// Open files.
        Files = "host-files",
        /// Disk space.
        Storage = "host-storage",
        Threads = "host-threads",
    }
}
