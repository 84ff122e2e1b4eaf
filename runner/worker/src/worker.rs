//! `__worker PARENT_PID`: descriptor 0 is the socket to the supervisor, 1 the file with a [`SlotWord`] for each slot, 2
//! receives the reason of a failure.
//!
//! [`SlotWord`]: runner_model::protocol::SlotWord

use std::os::{fd::AsFd as _, unix::net::UnixStream};
use std::sync::{Arc, mpsc};
use std::{fs::File, io, thread};

use runner_model::protocol::{FromWorker, Hello, ToWorker};
use runner_sandbox::{Engines, load_certificates};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGXFSZ};
use signal_hook::flag;

use crate::control::{self, unexpected};
use crate::harden::{Openings, harden};
use crate::link::{Incoming, Outgoing};
use crate::{exit, guests, worker_state::WorkerState};

/// Runs the worker to its end.
pub fn main(arguments: &[&str]) -> Result<(), String> {
    let [parent] = arguments else {
        return Err("expected `__worker PARENT_PID`".into());
    };
    harden(parent)?;
    let failed = |error: io::Error| format!("cannot set up signals and descriptors: {error}");
    ignore_signals().map_err(failed)?;
    let socket = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    let slots = io::stdout().as_fd().try_clone_to_owned().map_err(failed)?;
    let served = serve(socket.into(), slots.into(), |served| exit(exit_result(served)));
    exit_result(served)
}

/// Ignores signals that a terminal sends to the whole process group: the supervisor handles them and sends a frame. Also
/// the one for a file beyond `ulimit -f`, so that the write fails instead.
fn ignore_signals() -> io::Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGXFSZ] {
        // The flag is not read: any handler replaces the signal's default action.
        flag::register(signal, Arc::default())?;
    }
    Ok(())
}

fn exit_result(served: io::Result<()>) -> Result<(), String> {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    match served {
        // Without a supervisor there is no reader of an error.
        Err(error) if matches!(error.kind(), UnexpectedEof | BrokenPipe | ConnectionReset) => {
            Ok(())
        }
        other => other.map_err(|error| error.to_string()),
    }
}

/// Serves tasks over `socket` and writes running tasks to `slots`.
///
/// Calls `leave` on the control thread after `Finish`, at the socket's end or after a bad frame, also while a guest is
/// inside one long instruction.
///
/// # Errors
///
/// A supervisor that is gone or broken, or a thread that cannot be started.
fn serve(
    socket: UnixStream,
    slots: File,
    leave: impl FnOnce(io::Result<()>) + Send + 'static,
) -> io::Result<()> {
    let mut outgoing = Outgoing::new(socket.try_clone()?);
    outgoing.send(&hello())?;
    let mut incoming = Incoming::new(socket);
    let Some(ToWorker::Prepare(prepare)) = incoming.next()? else {
        return Err(unexpected("another one before `Prepare`"));
    };
    // Before the files of the system's certificates are closed to this process.
    let mut grants = prepare.providers.iter().flat_map(|prepared| &prepared.provider.grants.net);
    if grants.any(|grant| grant.to_string().starts_with("https:")) {
        load_certificates();
    }
    // Before any thread, because only this thread and those it starts are restricted.
    let wall = Openings::for_worker(&prepare).close_others();
    let count = prepare.slots + prepare.grader_slots;
    // A tool has a sandbox in addition to that of its caller.
    let has_tools = prepare.providers.iter().any(|prepared| prepared.provider.tool.is_some());
    let engines = Engines::new(count * (1 + u32::from(has_tools)), prepare.memory);
    let interrupt = engines.interrupt();
    let state = Arc::new(WorkerState::new(outgoing, slots, prepare.slots, count, interrupt));
    let (torn_down, wait) = mpsc::channel();
    let control = thread::Builder::new().name("control".into()).spawn({
        let state = state.clone();
        move || {
            let served = control::serve(&mut incoming, &state, &wait);
            state.interrupt.now();
            leave(served);
        }
    })?;
    guests::run(state, &engines, *prepare, wall)?;
    drop(torn_down);
    control.join().map_err(|_| io::Error::other("the control thread panicked"))
}

/// Returns the first frame of a worker.
pub fn hello() -> FromWorker {
    FromWorker::Hello(Hello {
        version: env!("CARGO_PKG_VERSION").into(),
        compile_key: Engines::compile_key(),
    })
}

#[cfg(test)]
#[path = "tests/worker.rs"]
mod tests;
