//! [`classify`]: what it means that a guest did not come to its end.

use bytesize::ByteSize;
use wasmtime::{GcHeapOutOfMemory, ThrownException, Trap, WasmBacktrace};
use wasmtime_wasi::{I32Exit, ResourceTableError};

use super::{ended::Ending, symbol::readable, trap_code::trap_code};
use crate::{
    model::{AttemptError, BoundedText, ErrorClass},
    plugin::{
        failure::{failure, stderr_tail},
        host_fault::{fault_error, fault_in},
        interrupt::Halt,
        sandbox::{
            limits::{DeniedGrowth, InstancesDenied},
            store::Sandbox,
        },
    },
};

/// What is read of what wasmtime says, in bytes: names in it are the guest's.
const MAX_CAUSE_BYTES: usize = 1024;

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

fn diagnose(error: &wasmtime::Error, sandbox: &Sandbox) -> AttemptError {
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        // Programs end so too when an allocation fails.
        return out_of_memory(sandbox).unwrap_or_else(|| {
            let message = format!("the guest exited with {} instead of returning", exit.0);
            failure(ErrorClass::Protocol, "exit", message)
        });
    }
    if error.is::<ResourceTableError>() {
        let message = "the guest holds too many host resources at once";
        return failure(ErrorClass::Limit, "resources", message);
    }
    if let Some(fault) = fault_in(error.chain()) {
        return fault_error(fault, &cause(error));
    }
    if error.is::<GcHeapOutOfMemory<()>>() {
        // Where the heap itself is full, and not the memory, nothing was denied.
        return out_of_memory(sandbox).unwrap_or_else(|| {
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
            if let Some(denied) = out_of_memory(sandbox) {
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
        out_of_memory(sandbox).filter(|_| says("minimum size") || error.is::<InstancesDenied>())
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
pub(in crate::plugin) fn out_of_memory(sandbox: &Sandbox) -> Option<AttemptError> {
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
