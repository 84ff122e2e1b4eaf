//! `__worker PARENT_PID`: descriptor 0 is the socket to the supervisor, 1 the file of slot words, 2 takes last words.

use std::{
    fs::File,
    io,
    os::{fd::AsFd as _, unix::net::UnixStream},
    sync::{Arc, mpsc},
    thread,
};

use runner_model::protocol::{FromWorker, Hello, ToWorker};
use runner_sandbox::{Engines, load_certificates};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP},
    flag,
};

use crate::{
    control::{self, refused},
    exit, guests,
    harden::{Openings, harden},
    link::{Incoming, Outgoing},
    shared::WorkerState,
};

/// Runs the worker to its end.
pub fn main(arguments: &[&str]) -> Result<(), String> {
    let [parent] = arguments else {
        return Err("expected `__worker PARENT_PID`".into());
    };
    harden(parent)?;
    let own = |error: io::Error| format!("cannot take over signals and descriptors: {error}");
    ignore_signals().map_err(own)?;
    let socket = io::stdin().as_fd().try_clone_to_owned().map_err(own)?;
    let slots = io::stdout().as_fd().try_clone_to_owned().map_err(own)?;
    let served = serve(socket.into(), slots.into(), |served| exit(end_of(served)));
    end_of(served)
}

/// Leaves it to the supervisor to answer what a terminal sends to all.
fn ignore_signals() -> io::Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP] {
        // Nothing looks at the flag; a handler is enough to go on.
        flag::register(signal, Arc::default())?;
    }
    Ok(())
}

fn end_of(served: io::Result<()>) -> Result<(), String> {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    match served {
        // The supervisor is gone; there is nobody to tell.
        Err(error) if matches!(error.kind(), UnexpectedEof | BrokenPipe | ConnectionReset) => {
            Ok(())
        }
        other => other.map_err(|error| error.to_string()),
    }
}

/// Serves tasks over `socket`, noting in `slots` what runs. Calls `leave` on the control thread at `Finish`, at the socket's
/// end or if the supervisor is broken, also while a guest is inside one long instruction.
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
    outgoing.say(&hello())?;
    let mut incoming = Incoming::new(socket);
    let Some(ToWorker::Prepare(prepare)) = incoming.next()? else {
        return Err(refused("something else before `Prepare`"));
    };
    // Here no thread exists yet: all will stand behind the wall, and nothing opens the system's certificates there.
    let grants = prepare.providers.iter();
    let mut grants = grants.flat_map(|prepared| &prepared.provider.grants.net);
    if grants.any(|grant| grant.to_string().starts_with("https:")) {
        load_certificates();
    }
    let standing = Openings::of(&prepare).close_others();
    let engines = Engines::new(prepare.slots, prepare.memory);
    let shared = WorkerState::new(outgoing, slots, prepare.slots, engines.interrupt());
    let shared = Arc::new(shared);
    let watched = shared.clone();
    let (torn_down, wait) = mpsc::channel();
    let control = thread::Builder::new().name("control".into()).spawn(move || {
        let served = control::serve(&mut incoming, &watched, &wait);
        watched.interrupt.now();
        leave(served);
    })?;
    guests::run(shared, &engines, *prepare, standing)?;
    drop(torn_down);
    let left = control.join();
    left.map_err(|_| io::Error::other("the control thread panicked"))
}

/// The first frame.
pub fn hello() -> FromWorker {
    FromWorker::Hello(Hello {
        version: env!("CARGO_PKG_VERSION").into(),
        compile_key: Engines::compile_key(),
    })
}

#[cfg(test)]
#[path = "tests/worker.rs"]
mod tests;
