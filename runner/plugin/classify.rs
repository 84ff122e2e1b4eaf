//! [`classify`]: what it means that a guest did not come to its end.

use bytesize::ByteSize;
use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::{I32Exit, ResourceTableError};

use super::{Ending, interrupt::Halt, limits::Denial, sandbox::Sandbox};
use crate::model::{AttemptError, ErrorClass};

const SHOWN_FRAMES: usize = 5;
const SHOWN_STDERR_LINES: usize = 8;
const SHOWN_STDERR_BYTES: usize = 2_000;

/// Turns wasmtime's error into an ending.
pub(super) fn classify(error: &wasmtime::Error, sandbox: &Sandbox) -> Ending {
    match error.downcast_ref::<Halt>() {
        Some(Halt::Timeout) => return Ending::Timeout,
        Some(Halt::Stopped) => return Ending::Stopped,
        None => {}
    }
    let broken = diagnose(error, sandbox);
    let stderr = stderr_tail(&sandbox.stderr.text());
    Ending::Error(AttemptError {
        message: broken.message + &stderr,
        ..broken
    })
}

/// An error of a class, with a code and a message.
pub(super) fn failure(
    class: ErrorClass,
    code: impl Into<String>,
    message: impl Into<String>,
) -> AttemptError {
    AttemptError {
        class: Some(class),
        code: code.into(),
        message: message.into(),
        retry_after: None,
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
    let start = text.ceil_char_boundary(start.max(text.len().saturating_sub(SHOWN_STDERR_BYTES)));
    format!("; its standard error ends with:\n{}", &text[start..])
}

fn diagnose(error: &wasmtime::Error, sandbox: &Sandbox) -> AttemptError {
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        // Programs end so too when an allocation fails.
        return denied(sandbox).unwrap_or_else(|| {
            failure(
                ErrorClass::Protocol,
                "exit",
                format!("the guest exited with {} instead of returning", exit.0),
            )
        });
    }
    if error.is::<ResourceTableError>() {
        return failure(
            ErrorClass::Limit,
            "resources",
            "the guest holds too many host resources at once",
        );
    }
    if error.is::<wasmtime::OutOfMemory>() {
        return failure(
            ErrorClass::Internal,
            "host-memory",
            "the runner itself is out of memory",
        );
    }
    match error.downcast_ref::<Trap>() {
        Some(trap) => diagnose_trap(*trap, error, sandbox),
        None => diagnose_other(error, sandbox),
    }
}

fn diagnose_trap(trap: Trap, error: &wasmtime::Error, sandbox: &Sandbox) -> AttemptError {
    let place = place(error);
    let code = kebab(&format!("{trap:?}"));
    let name = trap.to_string();
    let name = name.trim_start_matches("wasm trap: ");
    match trap {
        // A panic, a failed allocation and an uncaught exception all look like this.
        Trap::UnreachableCodeReached | Trap::AllocationTooLarge if denied(sandbox).is_some() => {
            denied(sandbox).expect("it was just there")
        }
        Trap::StringOutOfBounds
        | Trap::ListOutOfBounds
        | Trap::InvalidDiscriminant
        | Trap::InvalidChar
        | Trap::UnalignedPointer => failure(
            ErrorClass::Protocol,
            code,
            format!("the guest handed over a malformed value: {name}{place}"),
        ),
        _ => failure(
            ErrorClass::Trap,
            code,
            format!("the guest trapped: {name}{place}"),
        ),
    }
}

/// Errors that wasmtime and its WASI tell apart by text alone.
fn diagnose_other(error: &wasmtime::Error, sandbox: &Sandbox) -> AttemptError {
    let cause = error.root_cause().to_string();
    if cause.contains("fuel allocated for hostcalls has been exhausted") {
        let most = ByteSize(sandbox.handover);
        let message = format!(
            "the guest handed over more than {most} in one call, which `limits.reply` sets"
        );
        return failure(ErrorClass::Limit, "reply", message);
    }
    if cause.contains("store handle limit exceeded") {
        return failure(
            ErrorClass::Limit,
            "handles",
            "the guest holds too many handles at once",
        );
    }
    if cause.contains("exceeds limit") {
        return failure(
            ErrorClass::Limit,
            "random",
            format!("the guest asked for too much: {cause}"),
        );
    }
    if cause.contains("invalid exit status") {
        return failure(
            ErrorClass::Trap,
            "exit",
            "the guest exited with a status outside of 0 to 125",
        );
    }
    // Memories and tables that are too large from the start.
    if let Some(denied) = denied(sandbox).filter(|_| cause.contains("minimum size")) {
        return denied;
    }
    failure(
        ErrorClass::Protocol,
        "contract",
        format!("the guest broke the contract: {cause}{}", place(error)),
    )
}

fn denied(sandbox: &Sandbox) -> Option<AttemptError> {
    let message = match sandbox.limiter.denial()? {
        Denial::Memory { wanted, limit } => format!(
            "the guest asked for {} of memory in all, and `limits.memory` is {}",
            ByteSize(wanted),
            ByteSize(limit)
        ),
        Denial::Table { wanted, limit } => format!(
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
    // Its display is the only place where names are demangled.
    let text = backtrace.to_string();
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once(" - ")?.1.split_once('!'))
        .map(|(_, name)| name)
        .filter(|name| !name.starts_with("<wasm function"))
        .take(SHOWN_FRAMES)
        .collect();
    if names.is_empty() {
        return String::new();
    }
    format!(" in `{}`", names.join("`, called by `"))
}

/// `UnreachableCodeReached` becomes `unreachable-code-reached`.
fn kebab(name: &str) -> String {
    let mut text = String::new();
    for (index, character) in name.char_indices() {
        if character.is_ascii_uppercase() && index > 0 {
            text.push('-');
        }
        text.push(character.to_ascii_lowercase());
    }
    text
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
