//! `__worker PARENT_PID`: descriptor 0 is the socket to the supervisor, 1 the file of slot words, 2 takes last words.

use std::{
    fs::File,
    io,
    net::Shutdown,
    os::{fd::AsFd as _, unix::net::UnixStream},
    sync::{
        Arc,
        mpsc::{self, TryRecvError},
    },
    thread,
};

use runner_model::{
    prepare::Prepare,
    protocol::{FromWorker, ToWorker},
};
use runner_sandbox::Engines;

use crate::{
    control,
    guests::Guests,
    harden::harden,
    link::{Incoming, Outgoing},
    shared::Shared,
};

/// Runs the worker to its end.
pub fn main(arguments: &[&str]) -> Result<(), String> {
    let [parent] = arguments else {
        return Err("expected `__worker PARENT_PID`".into());
    };
    harden(parent)?;
    let own = |error: io::Error| format!("cannot take over the standard descriptors: {error}");
    let socket = io::stdin().as_fd().try_clone_to_owned().map_err(own)?;
    let slots = io::stdout().as_fd().try_clone_to_owned().map_err(own)?;
    match serve(socket.into(), slots.into()) {
        // The supervisor is gone; there is nobody to tell.
        Err(error) if is_gone(&error) => Ok(()),
        other => other.map_err(|error| error.to_string()),
    }
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | BrokenPipe | ConnectionReset)
}

/// Serves tasks over `socket`, noting in `slots` what runs, until `Finish` or the socket's end. The guest thread may still
/// be inside one long instruction then.
///
/// # Errors
///
/// The socket's end, a supervisor that is broken, or a thread that cannot be started.
pub fn serve(socket: UnixStream, slots: File) -> io::Result<()> {
    let mut outgoing = Outgoing::new(socket.try_clone()?);
    let (mut incoming, prepare) = meet(socket, &mut outgoing)?;
    // Here no thread exists yet: a second wall around this process would begin here.
    let engines = Engines::new(prepare.slots);
    let interrupt = engines.interrupt();
    let shared = Arc::new(Shared::new(outgoing, slots, prepare.slots));
    let guests = Guests {
        shared: shared.clone(),
        engines,
        prepare: *prepare,
    };
    let lifeline = Lifeline(incoming.stream().try_clone()?);
    let (sender, ended) = mpsc::channel();
    thread::Builder::new()
        .name("guests".into())
        .spawn(move || {
            // Dropped in reverse order, also by a panic: what became of the thread is known before the reading ends.
            let _lifeline = lifeline;
            let sender = sender;
            sender.send(guests.run())
        })?;
    let served = control::serve(&mut incoming, &shared, &interrupt);
    interrupt.now();
    match ended.try_recv() {
        Err(TryRecvError::Empty) => served,
        Ok(result) => result.and(served),
        Err(TryRecvError::Disconnected) => Err(io::Error::other("the guest thread panicked")),
    }
}

/// Says who this is, and reads what it is to do.
fn meet(socket: UnixStream, outgoing: &mut Outgoing) -> io::Result<(Incoming, Box<Prepare>)> {
    outgoing.say(&hello())?;
    let mut incoming = Incoming::new(socket);
    match incoming.next()? {
        Some(ToWorker::Prepare(prepare)) => Ok((incoming, prepare)),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the supervisor did not begin with `Prepare`",
        )),
    }
}

/// The first frame.
pub fn hello() -> FromWorker {
    FromWorker::Hello {
        version: env!("CARGO_PKG_VERSION").into(),
        compile_key: Engines::compile_key(),
    }
}

/// Ends the control thread's reading when the guest thread ends, however it ends: nothing would be left that works.
struct Lifeline(UnixStream);

impl Drop for Lifeline {
    fn drop(&mut self) {
        // Fails if the supervisor is gone, which ends the reading, too.
        let _ = self.0.shutdown(Shutdown::Read);
    }
}

#[cfg(test)]
#[path = "tests/worker.rs"]
mod tests;
