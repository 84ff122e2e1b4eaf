//! The word for each trap of the engine.

use wasmtime::Trap;

/// A trap that this runner does not know.
const OTHER: &str = "other-trap";

/// Names a trap in rows and messages.
pub(super) fn trap_code(trap: Trap) -> &'static str {
    match trap {
        Trap::StackOverflow => "stack-overflow",
        Trap::MemoryOutOfBounds => "memory-out-of-bounds",
        Trap::HeapMisaligned => "heap-misaligned",
        Trap::TableOutOfBounds => "table-out-of-bounds",
        Trap::IndirectCallToNull => "indirect-call-to-null",
        Trap::BadSignature => "bad-signature",
        Trap::IntegerOverflow => "integer-overflow",
        Trap::IntegerDivisionByZero => "integer-division-by-zero",
        Trap::BadConversionToInteger => "bad-conversion-to-integer",
        Trap::UnreachableCodeReached => "unreachable-code-reached",
        Trap::Interrupt => "interrupt",
        Trap::OutOfFuel => "out-of-fuel",
        Trap::AtomicWaitNonSharedMemory => "atomic-wait-non-shared-memory",
        Trap::NullReference => "null-reference",
        Trap::ArrayOutOfBounds => "array-out-of-bounds",
        Trap::AllocationTooLarge => "allocation-too-large",
        Trap::CastFailure => "cast-failure",
        Trap::CannotEnterComponent => "cannot-enter-component",
        Trap::NoAsyncResult => "no-async-result",
        Trap::UnhandledTag => "unhandled-tag",
        Trap::ContinuationAlreadyConsumed => "continuation-already-consumed",
        Trap::DisabledOpcode => "disabled-opcode",
        Trap::AsyncDeadlock => "async-deadlock",
        Trap::CannotLeaveComponent => "cannot-leave-component",
        Trap::CannotBlockSyncTask => "cannot-block-sync-task",
        Trap::InvalidChar => "invalid-char",
        Trap::DebugAssertStringEncodingFinished => "debug-assert-string-encoding-finished",
        Trap::DebugAssertEqualCodeUnits => "debug-assert-equal-code-units",
        Trap::DebugAssertPointerAligned => "debug-assert-pointer-aligned",
        Trap::DebugAssertUpperBitsUnset => "debug-assert-upper-bits-unset",
        Trap::StringOutOfBounds => "string-out-of-bounds",
        Trap::ListOutOfBounds => "list-out-of-bounds",
        Trap::InvalidDiscriminant => "invalid-discriminant",
        Trap::UnalignedPointer => "unaligned-pointer",
        Trap::TaskCancelNotCancelled => "task-cancel-not-cancelled",
        Trap::TaskCancelOrReturnTwice => "task-cancel-or-return-twice",
        Trap::SubtaskCancelAfterTerminal => "subtask-cancel-after-terminal",
        Trap::TaskReturnInvalid => "task-return-invalid",
        Trap::WaitableSetDropHasWaiters => "waitable-set-drop-has-waiters",
        Trap::SubtaskDropNotResolved => "subtask-drop-not-resolved",
        Trap::ThreadNewIndirectInvalidType => "thread-new-indirect-invalid-type",
        Trap::ThreadNewIndirectUninitialized => "thread-new-indirect-uninitialized",
        Trap::BackpressureOverflow => "backpressure-overflow",
        Trap::UnsupportedCallbackCode => "unsupported-callback-code",
        Trap::CannotResumeThread => "cannot-resume-thread",
        Trap::ConcurrentFutureStreamOp => "concurrent-future-stream-op",
        Trap::ReferenceCountOverflow => "reference-count-overflow",
        Trap::StreamOpTooBig => "stream-op-too-big",
        Trap::WaitableSyncAndAsync => "waitable-sync-and-async",
        Trap::UncaughtException => "uncaught-exception",
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{OTHER, Trap, trap_code};

    #[test]
    fn every_trap_of_the_engine_has_a_word_of_its_own() {
        let traps: Vec<_> = (0..=u8::MAX).filter_map(Trap::from_u8).collect();
        let words: HashSet<_> = traps.iter().map(|trap| trap_code(*trap)).collect();
        assert_eq!(words.len(), traps.len());
        assert!(!words.contains(OTHER), "a new engine has new traps");
    }
}
