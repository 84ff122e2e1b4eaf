//! [`classify`]: finds out why a guest failed.

use runner_model::{
    ErrorClass, HostFault,
    protocol::INTERRUPTED_CALL,
    row::RowError,
    units::{show_size, show_sizes_apart},
};
use wasmtime::{GcHeapOutOfMemory, ThrownException, Trap, WasmBacktrace};
use wasmtime_wasi::{I32Exit, ResourceTableError};

use super::ended::Ending;
use crate::{
    host_fault::fault_in,
    interrupt::{Halt, HostPanic, UsedUp},
    message::{cut, cut_redacted, failure, stderr_tail},
    net::JournalEnd,
    store::{
        Sandbox,
        limiter::{DeniedGrowth, MemoryBudgetFull},
    },
};

#[cfg(any(test, fuzzing))]
#[path = "../tests/fuzzing/symbols.rs"]
pub(crate) mod fuzzing;

/// Bytes of wasmtime's message that are read, because names in it are the guest's.
const MAX_CAUSE: usize = 1024;
/// Bytes of a function's name in a message.
const MAX_NAME: usize = 256;
/// Longer mangled names are not demangled.
const MAX_MANGLED: usize = 1024;

/// Functions of a backtrace in a message.
const SHOWN_FUNCTIONS: usize = 5;
/// Starts of the names of functions of Rust's libraries.
const RUST_LIBRARIES: [&str; 5] = ["std::", "core::", "<core::", "__rustc::", "__rust"];

/// Converts wasmtime's error to an ending, and sets the host's fault if the machine lacked
/// something.
pub(crate) fn classify(error: &wasmtime::Error, sandbox: &mut Sandbox) -> Ending {
    if let Some(end) = error.downcast_ref::<JournalEnd>() {
        let (class, code) = match end {
            JournalEnd::Diverged(difference) => return Ending::Diverged(difference.clone()),
            JournalEnd::Interrupted(_) => (ErrorClass::Internal, INTERRUPTED_CALL),
            JournalEnd::Replay(_) => (ErrorClass::Replay, "replay"),
            JournalEnd::Full(_) => (ErrorClass::Limit, "journal"),
        };
        return Ending::Error(failure(class, code, end.to_string()));
    }
    if let Some(end) = error.downcast_ref::<UsedUp>() {
        return Ending::Error(failure(ErrorClass::Limit, end.key, end.to_string()));
    }
    match error.downcast_ref::<Halt>() {
        Some(Halt::Timeout) => {
            // Not in the row's message, which is the same for all trials of a group of failures.
            let place = place(error);
            if !place.is_empty() {
                sandbox.host.warn(format!("the guest was interrupted{place}"));
            }
            Ending::Timeout
        }
        Some(Halt::Stopped) => Ending::Stopped,
        None => {
            sandbox.host.fault = fault_in(error);
            let stderr = stderr_tail(&sandbox.stderr.text());
            Ending::Error(RowError { stderr, ..diagnose(error, sandbox) })
        }
    }
}

/// Returns the error of a plugin whose `describe` failed.
pub(crate) fn into_error(ending: Ending) -> RowError<'static> {
    match ending {
        Ending::Error(error) => error,
        Ending::Timeout => failure(None, "timeout", "`describe` did not end within 10 s"),
        Ending::Stopped | Ending::Diverged(_) | Ending::Reply(_) => {
            failure(None, "stopped", "`describe` was stopped")
        }
    }
}

/// Returns the error of a guest that probably failed because it was denied memory or table
/// elements.
pub(crate) fn out_of_memory(sandbox: &Sandbox) -> Option<RowError<'static>> {
    let message = match sandbox.limiter.denial()? {
        DeniedGrowth::Memory { requested, limit } => {
            let [requested, limit] = show_sizes_apart(requested, limit);
            format!(
                "the guest requested {requested} of memory in all, and `limits.memory` is {limit}"
            )
        }
        DeniedGrowth::Table { requested, limit } => format!(
            "the guest requested {requested} table elements in all, and `limits.table_elements` is {limit}"
        ),
    };
    Some(failure(ErrorClass::OutOfMemory, "memory", message))
}

fn diagnose(error: &wasmtime::Error, sandbox: &Sandbox) -> RowError<'static> {
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        // Programs also exit like this after a failed allocation.
        return out_of_memory(sandbox).unwrap_or_else(|| {
            let message = format!("the guest exited with {} instead of returning", exit.0);
            failure(ErrorClass::Protocol, "exit", message)
        });
    }
    if error.is::<ResourceTableError>() {
        let message =
            "the guest holds too many host resources at once, such as streams and futures";
        return failure(ErrorClass::Limit, "resources", message);
    }
    if error.is::<MemoryBudgetFull>() {
        let message = MemoryBudgetFull.to_string();
        return failure(ErrorClass::Internal, HostFault::Memory.as_str(), message);
    }
    if let Some(fault) = sandbox.host.fault {
        let message = format!("{}: {}", host_fault_reason(fault), cause(error, sandbox));
        return failure(ErrorClass::Internal, fault.as_str(), message);
    }
    if let Some(HostPanic(text)) = error.downcast_ref() {
        let message = format!("the runner itself failed: {}", cut(MAX_CAUSE, text));
        return failure(ErrorClass::Internal, "panic", message);
    }
    if error.is::<GcHeapOutOfMemory<()>>() {
        // `None` if the heap itself is full, because then the limiter denied nothing.
        return out_of_memory(sandbox).unwrap_or_else(|| {
            let message =
                format!("the guest's heap is full: {}{}", cause(error, sandbox), place(error));
            failure(ErrorClass::OutOfMemory, "memory", message)
        });
    }
    if error.is::<ThrownException>() {
        let message = format!("the guest threw an exception that nothing caught{}", place(error));
        return failure(ErrorClass::Trap, "uncaught-exception", message);
    }
    match error.downcast_ref::<Trap>() {
        Some(trap) => diagnose_trap(*trap, error, sandbox),
        None => diagnose_other(error, sandbox),
    }
}

fn diagnose_trap(trap: Trap, error: &wasmtime::Error, sandbox: &Sandbox) -> RowError<'static> {
    let text = trap.to_string();
    let name = text.trim_start_matches("wasm trap: ");
    let (class, what) = match trap {
        // Panics and failed allocations both end in this trap.
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
        | Trap::UnalignedPointer => (ErrorClass::Protocol, "passed a malformed value"),
        _ => (ErrorClass::Trap, "trapped"),
    };
    let mut message = format!("the guest {what}: {name}{}", place(error));
    if trap == Trap::StackOverflow {
        message += &format!("; `limits.stack` is {}", show_size(sandbox.host.stack));
    }
    if trap == Trap::CannotBlockSyncTask {
        message += "; only `wasi:cli/run` of WASI 0.3 can wait in `async` functions: `run` of the contract and of WASI 0.2 are synchronous";
    }
    if trap == Trap::WaitableSyncAndAsync {
        message += "; components of wit-bindgen before 0.59 end like this as soon as they wait: build it with newer tools";
    }
    failure(class, trap_code(trap), message)
}

/// Converts a trap's name, such as `StackOverflow`, to a code, such as `stack-overflow`.
fn trap_code(trap: Trap) -> String {
    let mut code = String::new();
    for letter in format!("{trap:?}").chars() {
        if letter.is_uppercase() && !code.is_empty() {
            code.push('-');
        }
        code.extend(letter.to_lowercase());
    }
    code
}

/// Diagnoses errors of wasmtime and WASI that differ in their text alone.
fn diagnose_other(error: &wasmtime::Error, sandbox: &Sandbox) -> RowError<'static> {
    use ErrorClass::{Limit, Protocol};
    let cause = cause(error, sandbox);
    let says = |text: &str| cause.contains(text);
    let (class, code, message) = if says("fuel allocated for hostcalls has been exhausted") {
        let (most, rule) = sandbox.handover;
        let most = show_size(most);
        let message = format!("passed more than {most} in one call, {rule}");
        (Limit, "reply", message)
    } else if says("store handle limit exceeded") {
        (Limit, "handles", "holds too many handles at once".into())
    } else if says("resource limit exceeded") {
        let message = format!("has too many parts: {cause}");
        (Limit, "instances", message)
    } else if says("total size of fields") {
        let message = "sets more header fields than it may";
        (Limit, "headers", message.into())
    } else if says("exceeds limit") {
        (Limit, "random", format!("requested too much: {cause}"))
    } else if let Some(denied) = out_of_memory(sandbox).filter(|_| says("minimum size")) {
        // The initial memories or tables are too large.
        return denied;
    } else {
        let message = format!("broke the contract: {cause}{}", place(error));
        (Protocol, "contract", message)
    };
    failure(class, code, format!("the guest {message}"))
}

/// Returns the resource that the machine lacks, and the setting to change.
pub fn host_fault_reason(fault: HostFault) -> &'static str {
    match fault {
        HostFault::Memory => {
            "the runner's machine has no more memory for the guest, lower `-j` or raise `ulimit -v`"
        }
        HostFault::Files => {
            "the runner's machine lets the guest open no more files, raise `ulimit -n`"
        }
        HostFault::Storage => {
            "the runner's machine has no space or no inode left on a disk, free some or set `TMPDIR` to another folder"
        }
        HostFault::Threads => {
            "the runner's machine lets the guest start no more threads, raise `ulimit -u`"
        }
    }
}

/// Names the guest's functions on the stack, if they have names: " in `a`, called by `b`".
fn place(error: &wasmtime::Error) -> String {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return String::new();
    };
    // `Display` of a backtrace would write names of any length.
    let frames = backtrace.frames().iter();
    let mut names: Vec<String> =
        frames.filter_map(|frame| frame.func_name().map(readable)).collect();
    // The functions of a panic would hide the one that panicked.
    names.retain(|name| !RUST_LIBRARIES.iter().any(|start| name.starts_with(start)));
    // The frames of a recursion would hide its callers.
    let shown = names.chunk_by(|left, right| left == right).map(|same| {
        let recursive = if same.len() > 1 { " (recursive)" } else { "" };
        format!("`{}`{recursive}", same[0])
    });
    let shown: Vec<_> = shown.take(SHOWN_FUNCTIONS).collect();
    if shown.is_empty() { String::new() } else { format!(" in {}", shown.join(", called by ")) }
}

/// Shortens a function's name. Names of Rust are demangled, without the compiler's hash.
fn readable(name: &str) -> String {
    // A mangled name can refer to its own parts, so a few hundred bytes can demangle to gigabytes.
    let mangled = (name.len() <= MAX_MANGLED).then_some(name);
    match mangled.and_then(|name| rustc_demangle::try_demangle(name).ok()) {
        Some(demangled) => cut(MAX_NAME, format_args!("{demangled:#}")),
        None => cut(MAX_NAME, name),
    }
}

/// Returns the root cause in wasmtime's words, redacted.
fn cause(error: &wasmtime::Error, sandbox: &Sandbox) -> String {
    cut_redacted(MAX_CAUSE, error.root_cause(), sandbox.host.redactor())
}

#[cfg(test)]
mod tests {
    use runner_model::{Limits, Micros};
    use wasmtime::Trap;

    use super::{Sandbox, diagnose_trap, readable, trap_code};
    use crate::interrupt::{Guard, Interrupt};

    #[test]
    fn traps_of_older_tools_name_their_version() {
        let limits = Limits::default();
        let sandbox = Sandbox::bare(&limits, Guard::new(Interrupt::default(), Micros(1)));
        let trap = Trap::WaitableSyncAndAsync;
        let error = diagnose_trap(trap, &trap.into(), &sandbox);
        assert_eq!(&*error.code, "waitable-sync-and-async");
        assert!(error.message.contains("wit-bindgen before 0.59"), "{}", error.message);
    }

    #[test]
    fn every_trap_has_a_code() {
        for (trap, word) in [
            (Trap::StackOverflow, "stack-overflow"),
            (Trap::MemoryOutOfBounds, "memory-out-of-bounds"),
            (Trap::UnreachableCodeReached, "unreachable-code-reached"),
        ] {
            assert_eq!(trap_code(trap), word);
        }
        // A new version of the engine may add traps.
        let words: Vec<_> = (0..=u8::MAX).filter_map(Trap::from_u8).map(trap_code).collect();
        assert_eq!(words.len(), 50);
        let is_word =
            |word: &String| word.bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase());
        assert!(words.iter().all(is_word), "{words:?}");
    }

    #[test]
    fn function_names_are_demangled() {
        for (name, shown) in [
            ("_RNvNtCs1_6answer5inner4fail", "answer::inner::fail"),
            ("_ZN6answer4fail17h0123456789abcdefE", "answer::fail"),
            ("_ZN3foo3barEv", "_ZN3foo3barEv"),
            ("main", "main"),
        ] {
            assert_eq!(readable(name), shown);
        }
    }

    #[test]
    fn exploding_mangled_name_is_cut() {
        // A list of types, each of which is a pair of its predecessor.
        let mut name = "_RINvCs1_4bomb1f".to_owned();
        let mut last = "l".to_owned();
        for _ in 0..60 {
            let place = name.len() - "_R".len();
            name += &format!("T{last}{last}E");
            last = format!("B{}", base_62(place));
        }
        let shown = readable(&(name + "E"));
        assert!(shown.starts_with("bomb::f::<") && shown.len() < 300, "{shown}");
    }

    fn base_62(number: usize) -> String {
        let digits = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let mut rest = number - 1;
        let mut text = vec![b'_'];
        loop {
            text.insert(0, digits[rest % 62]);
            rest /= 62;
            if rest == 0 {
                return String::from_utf8(text).unwrap();
            }
        }
    }
}
