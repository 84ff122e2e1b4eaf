//! [`fault_in`]: finds resources that the runner's machine lacks, which are not the guest's fault.

use std::{error::Error, io};

use runner_model::HostFault;
use rustix::io::Errno;

use crate::{interrupt::HostPanic, store::limiter::MemoryBudgetFull};

/// Tokio's panic message if it cannot start a thread.
const NO_THREAD: &str = "OS can't spawn worker thread";

/// Returns the missing resource if an error or one of its causes is about one.
pub(crate) fn fault_in(error: &wasmtime::Error) -> Option<HostFault> {
    error.chain().find_map(fault_in_cause)
}

/// Returns the missing resource if an error of the system is about one.
pub fn host_fault(error: &io::Error) -> Option<HostFault> {
    fault_in_cause(error)
}

fn fault_in_cause(cause: &(dyn Error + 'static)) -> Option<HostFault> {
    if cause.is::<wasmtime::OutOfMemory>() || cause.is::<MemoryBudgetFull>() {
        return Some(HostFault::Memory);
    }
    if let Some(HostPanic(text)) = cause.downcast_ref() {
        return text.contains(NO_THREAD).then_some(HostFault::Threads);
    }
    let errno = match cause.downcast_ref::<io::Error>() {
        Some(error) => Errno::from_io_error(error),
        None => cause.downcast_ref::<Errno>().copied(),
    };
    match errno? {
        Errno::NOMEM => Some(HostFault::Memory),
        Errno::MFILE | Errno::NFILE => Some(HostFault::Files),
        Errno::NOSPC | Errno::DQUOT => Some(HostFault::Storage),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use runner_model::HostFault;
    use rustix::io::Errno;

    use super::fault_in;
    use crate::interrupt::HostPanic;

    #[test]
    fn machine_faults_are_told_from_other_errors() {
        let of = |errno: Errno| {
            let error = wasmtime::Error::from(io::Error::from(errno));
            fault_in(&error.context("instantiate"))
        };
        assert_eq!(of(Errno::NOMEM), Some(HostFault::Memory));
        assert_eq!(of(Errno::MFILE), Some(HostFault::Files));
        assert_eq!(of(Errno::NOSPC), Some(HostFault::Storage));
        assert_eq!(of(Errno::NOENT), None);
        let written = wasmtime::Error::from(Errno::NOSPC).context("write");
        assert_eq!(fault_in(&written), Some(HostFault::Storage));
        // Texts do not count, because they may contain names of the guest.
        let named = wasmtime::Error::msg("in `No space left (os error 28)");
        assert_eq!(fault_in(&named), None);
        let panic = HostPanic("OS can't spawn worker thread: no".to_owned());
        assert_eq!(fault_in(&panic.into()), Some(HostFault::Threads));
        assert_eq!(fault_in(&HostPanic("no".to_owned()).into()), None);
    }
}
