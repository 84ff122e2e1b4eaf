//! [`classify`]: what it means that a guest did not come to its end.

use bytesize::ByteSize;
use wasmtime::{GcHeapOutOfMemory, ThrownException, Trap, WasmBacktrace};
use wasmtime_wasi::{I32Exit, ResourceTableError};

use super::{request::Ending, symbol::readable, trap_code::trap_code};
use crate::{
    model::{AttemptError, BoundedText, ErrorClass, quoted_text},
    plugin::{
        interrupt::Halt,
        lacking::{fault_in, lacking},
        sandbox::{
            limits::{DeniedGrowth, InstancesDenied},
            store::Sandbox,
        },
    },
};

/// What is read of what wasmtime says, in bytes: names in it are the guest's.
const MAX_CAUSE_BYTES: usize = 1024;
const SHOWN_STDERR_LINES: usize = 8;
const SHOWN_STDERR_BYTES: usize = 2_000;
const SHOWN_CHARACTERS: usize = 100;

/// Turns wasmtime's error into an ending.
pub(in crate::plugin) fn classify(error: &wasmtime::Error, sandbox: &Sandbox) -> Ending {
    if let Some(ending) = halted(error) {
        return ending;
    }
    let broken = diagnose(error, sandbox);
    let stderr = stderr_tail(&sandbox.stderr.text());
    Ending::Error(AttemptError {
        message: broken.message + &stderr,
        ..broken
    })
}

/// The ending of a guest that the host has ended; none where it has come to its own.
pub(in crate::plugin) fn halted(error: &wasmtime::Error) -> Option<Ending> {
    error.downcast_ref::<Halt>().map(|halt| (*halt).into())
}

/// An error of a class, with a code and a message.
pub(in crate::plugin) fn failure(
    class: ErrorClass,
    code: impl Into<String>,
    message: impl Into<String>,
) -> AttemptError {
    AttemptError {
        class: Some(class),
        code: code.into(),
        message: message.into(),
        retry_after: None,
        fault: None,
    }
}

/// The last lines of standard error, as the end of a message; empty if there is nothing.
pub(super) fn stderr_tail(stderr: &str) -> String {
    let text = stderr.trim_end();
    if text.is_empty() {
        return String::new();
    }
    let lines = text.rmatch_indices('\n').map(|(index, _)| index + 1);
    let start = lines
        .take(SHOWN_STDERR_LINES)
        .nth(SHOWN_STDERR_LINES - 1)
        .unwrap_or(0);
    let most = text.ceil_char_boundary(text.len().saturating_sub(SHOWN_STDERR_BYTES));
    let cut = if most > start { "…" } else { "" };
    format!(
        "; its standard error ends with:\n{cut}{}",
        &text[start.max(most)..]
    )
}

/// The first characters of something that is not what it should be, as the end of a message.
pub(in crate::plugin) fn beginning(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "; it is empty".to_owned();
    }
    let first = &bytes[..bytes.len().min(4 * SHOWN_CHARACTERS)];
    let text = String::from_utf8_lossy(first);
    let mut shown: String = text.chars().take(SHOWN_CHARACTERS).collect();
    if shown.len() < bytes.len() {
        shown.push('…');
    }
    format!("; it begins with {}", quoted_text(&shown))
}

fn diagnose(error: &wasmtime::Error, sandbox: &Sandbox) -> AttemptError {
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        // Programs end so too when an allocation fails.
        return denied(sandbox).unwrap_or_else(|| {
            let message = format!("the guest exited with {} instead of returning", exit.0);
            failure(ErrorClass::Protocol, "exit", message)
        });
    }
    if error.is::<ResourceTableError>() {
        let message = "the guest holds too many host resources at once";
        return failure(ErrorClass::Limit, "resources", message);
    }
    if let Some(fault) = fault_in(error.chain()) {
        return lacking(fault, &cause(error));
    }
    if error.is::<GcHeapOutOfMemory<()>>() {
        // Where the heap itself is full, and not the memory, nothing was denied.
        return denied(sandbox).unwrap_or_else(|| {
            let message = format!("the guest's heap is full: {}{}", cause(error), place(error));
            failure(ErrorClass::OutOfMemory, "memory", message)
        });
    }
    if error.is::<ThrownException>() {
        let message = format!(
            "the guest threw an exception that nothing caught{}",
            place(error)
        );
        return failure(ErrorClass::Trap, "uncaught-exception", message);
    }
    match error.downcast_ref::<Trap>() {
        Some(trap) => diagnose_trap(*trap, error, sandbox),
        None => diagnose_other(error, sandbox),
    }
}

fn diagnose_trap(trap: Trap, error: &wasmtime::Error, sandbox: &Sandbox) -> AttemptError {
    let text = trap.to_string();
    let name = text.trim_start_matches("wasm trap: ");
    let (class, what) = match trap {
        // A panic and a failed allocation look like this.
        Trap::UnreachableCodeReached | Trap::AllocationTooLarge => {
            if let Some(denied) = denied(sandbox) {
                return denied;
            }
            (ErrorClass::Trap, "trapped")
        }
        Trap::StringOutOfBounds
        | Trap::ListOutOfBounds
        | Trap::InvalidDiscriminant
        | Trap::InvalidChar
        | Trap::UnalignedPointer => (ErrorClass::Protocol, "handed over a malformed value"),
        _ => (ErrorClass::Trap, "trapped"),
    };
    let message = format!("the guest {what}: {name}{}", place(error));
    failure(class, trap_code(trap), message)
}

/// Errors that wasmtime and its WASI tell apart by text alone.
fn diagnose_other(error: &wasmtime::Error, sandbox: &Sandbox) -> AttemptError {
    let cause = cause(error);
    let says = |text: &str| cause.contains(text);
    let (class, code, message) = if says("fuel allocated for hostcalls has been exhausted") {
        let most = ByteSize(sandbox.handover);
        let message =
            format!("handed over more than {most} in one call, which `limits.reply` sets");
        (ErrorClass::Limit, "reply", message)
    } else if says("store handle limit exceeded") {
        (
            ErrorClass::Limit,
            "handles",
            "holds too many handles at once".to_owned(),
        )
    } else if says("resource limit exceeded") {
        (
            ErrorClass::Limit,
            "instances",
            format!("is made of too many parts: {cause}"),
        )
    } else if says("total size of fields exceeds limit") {
        let message = "holds more headers in one set than can be sent";
        (ErrorClass::Limit, "headers", message.to_owned())
    } else if says("exceeds limit") {
        (
            ErrorClass::Limit,
            "random",
            format!("asked for too much: {cause}"),
        )
    } else if says("invalid exit status") {
        let message = "exited with a status outside of 0 to 125".to_owned();
        (ErrorClass::Trap, "exit", message)
    } else if let Some(denied) =
        denied(sandbox).filter(|_| says("minimum size") || error.is::<InstancesDenied>())
    {
        // Memories and tables that are too large from the start.
        return denied;
    } else {
        let message = format!("broke the contract: {cause}{}", place(error));
        (ErrorClass::Protocol, "contract", message)
    };
    failure(class, code, format!("the guest {message}"))
}

/// The error of a guest that may have ended over memory, or tables, that it was denied.
pub(in crate::plugin) fn denied(sandbox: &Sandbox) -> Option<AttemptError> {
    let message = match sandbox.limiter.denial()? {
        DeniedGrowth::Memory { wanted, limit } => format!(
            "the guest asked for {} of memory in all, and `limits.memory` is {}",
            ByteSize(wanted),
            ByteSize(limit)
        ),
        DeniedGrowth::Instances { wanted, limit } => format!(
            "the guest's instances take {} of the runner's memory for globals, imports and function references, and \
             `limits.memory`, which they count for, is {}",
            ByteSize(wanted),
            ByteSize(limit)
        ),
        DeniedGrowth::Table { wanted, limit } => format!(
            "the guest asked for {wanted} table elements in all, and `limits.table_elements` is {limit}"
        ),
    };
    Some(failure(ErrorClass::OutOfMemory, "memory", message))
}

/// Where in the guest it happened, if its functions have names: " in `a`, called by `b`".
fn place(error: &wasmtime::Error) -> String {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return String::new();
    };
    // Not by its display, which writes whatever names there are.
    let frames = backtrace.frames().iter();
    let names: Vec<String> = frames
        .filter_map(|frame| frame.func_name().map(readable))
        .collect();
    if names.is_empty() {
        return String::new();
    }
    format!(" in `{}`", names.join("`, called by `"))
}

/// What wasmtime says went wrong, without where.
fn cause(error: &wasmtime::Error) -> String {
    BoundedText::of(MAX_CAUSE_BYTES, error.root_cause())
}

#[cfg(test)]
mod tests {
    use super::stderr_tail;

    #[test]
    fn a_message_ends_with_the_last_lines_of_stderr() {
        assert_eq!(stderr_tail(" \n"), "");
        assert_eq!(stderr_tail("one\n"), "; its standard error ends with:\none");
        let lines: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        assert_eq!(
            stderr_tail(&lines.join("\n")),
            "; its standard error ends with:\n12\n13\n14\n15\n16\n17\n18\n19"
        );
        assert!(stderr_tail(&"ä".repeat(5_000)).len() < 2_100);
    }
}
