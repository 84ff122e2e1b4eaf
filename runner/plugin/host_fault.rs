//! Tells what the runner's own machine lacked from what a guest did wrong.

use std::{error::Error, io};

use bytesize::ByteSize;
use rustix::{
    io::Errno,
    process::{Resource, getrlimit},
};

use crate::model::{AttemptError, ErrorClass, HostFault};

/// How tokio says that it could not start a thread for what blocks.
const NO_THREAD: &str = "OS can't spawn worker thread";

/// What an error of the host's is about, if it is about something that the machine lacks.
pub fn fault_of(error: &io::Error) -> Option<HostFault> {
    let own = Errno::from_io_error(error);
    // Whoever has added a path keeps of the system's error only its words.
    own.or_else(|| errno_at_end(&error.to_string()))
        .and_then(of_errno)
}

/// Reads the number in `… (os error 28)`.
fn errno_at_end(text: &str) -> Option<Errno> {
    let (_, number) = text.strip_suffix(')')?.rsplit_once("(os error ")?;
    number.parse().ok().map(Errno::from_raw_os_error)
}

/// The same for an error with causes.
pub(super) fn fault_in<'a>(
    chain: impl IntoIterator<Item = &'a (dyn Error + 'static)>,
) -> Option<HostFault> {
    chain.into_iter().find_map(|cause| {
        if cause.is::<wasmtime::OutOfMemory>() {
            return Some(HostFault::Memory);
        }
        let errno = cause.downcast_ref::<Errno>().copied();
        let io = cause.downcast_ref().and_then(fault_of);
        errno.and_then(of_errno).or(io)
    })
}

/// The same for a panic of the host's.
pub(super) fn fault_of_panic(text: &str) -> Option<HostFault> {
    text.contains(NO_THREAD).then_some(HostFault::Threads)
}

/// The error of an attempt that the machine could not carry; `what` is what it said.
pub fn fault_error(fault: HostFault, what: &str) -> AttemptError {
    AttemptError {
        class: Some(ErrorClass::Internal),
        code: fault.code().to_owned(),
        message: format!(
            "the runner's machine {}: {what}; {}",
            lacks(fault),
            advice(fault)
        ),
        retry_after: None,
        fault: Some(fault),
    }
}

fn of_errno(errno: Errno) -> Option<HostFault> {
    match errno {
        Errno::NOMEM => Some(HostFault::Memory),
        Errno::MFILE | Errno::NFILE => Some(HostFault::Files),
        Errno::NOSPC | Errno::DQUOT => Some(HostFault::Storage),
        _ => None,
    }
}

fn lacks(fault: HostFault) -> &'static str {
    match fault {
        HostFault::Memory => "has no more memory for it",
        HostFault::Files => "lets it open no more files",
        HostFault::Storage => "has no space left on a disk",
        HostFault::Threads => "lets it start no more threads",
    }
}

/// Which limit it is, as far as that is known, and what to do.
fn advice(fault: HostFault) -> String {
    let limit = |resource| getrlimit(resource).current;
    match fault {
        HostFault::Memory => match limit(Resource::As) {
            Some(most) => format!(
                "its address space is limited to {} (`ulimit -v`), and an attempt takes some GiB of that: raise the limit, or lower `--jobs`",
                ByteSize(most)
            ),
            None => "lower `--jobs`, or `memory` under `[run]`".to_owned(),
        },
        HostFault::Files => match limit(Resource::Nofile) {
            Some(most) => {
                format!("it may have {most} open (`ulimit -n`): raise the limit, or lower `--jobs`")
            }
            None => "lower `--jobs`".to_owned(),
        },
        HostFault::Storage => "make room in the folder for temporary files".to_owned(),
        HostFault::Threads => {
            "raise `ulimit -u`, or `pids.max` of its control group, or lower `--jobs`".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustix::io::Errno;

    use super::{fault_error, fault_in, fault_of};
    use crate::model::HostFault;

    #[test]
    fn what_the_machine_lacks_is_told_from_other_errors() {
        let of = |errno: Errno| fault_of(&io::Error::from(errno));
        assert_eq!(of(Errno::NOMEM), Some(HostFault::Memory));
        assert_eq!(of(Errno::MFILE), Some(HostFault::Files));
        assert_eq!(of(Errno::NOSPC), Some(HostFault::Storage));
        assert_eq!(of(Errno::NOENT), None);
        assert_eq!(fault_of(&io::Error::other("full")), None);
        // With a path, as `fs_err` adds it.
        let full = fs_err::write("/dev/full", "x").unwrap_err();
        assert_eq!(full.raw_os_error(), None);
        assert_eq!(fault_of(&full), Some(HostFault::Storage));

        let error = wasmtime::Error::from(io::Error::from(Errno::NOMEM)).context("instantiate");
        assert_eq!(fault_in(error.chain()), Some(HostFault::Memory));
        let error = wasmtime::Error::from(Errno::MFILE);
        assert_eq!(fault_in(error.chain()), Some(HostFault::Files));
        assert_eq!(fault_in(wasmtime::Error::msg("no").chain()), None);
    }

    #[test]
    fn who_lacks_something_is_told_what_and_what_to_do() {
        let error = fault_error(HostFault::Files, "Too many open files");
        assert_eq!(error.code, "host-files");
        assert!(error.message.contains("`ulimit -n`"), "{}", error.message);
    }
}
