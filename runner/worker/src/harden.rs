//! Reduces what a child process can do. [`harden`] drops inherited descriptors and rights before the child reads anything.
//! [`Openings::close_others`] closes all files, ports and system calls that it does not need, before any thread and any
//! foreign code runs in it. This is the outer sandbox, for guests that escape from wasmtime's.

mod landlock;
mod seccomp;

#[cfg(test)]
#[cfg(debug_assertions)]
mod tests;

use std::{env, fs, os::fd::RawFd, thread};

use runner_model::prepare::WallStatus;
use rustix::process::{
    DumpableBehavior, Pid, Resource, Rlimit, Signal, getppid, getrlimit, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};
use rustix::time::{ClockId, clock_gettime};

pub use self::landlock::Openings;

/// Environment variables that the parent may pass: the trusted certificates. Guests do not see them.
const PASSED_ON: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];
/// Open files of a child, if the system allows that many.
const FILES: u64 = 65_536;

/// Hardens this process. It must have one thread, no environment variables except those of certificates, and `parent` as
/// its parent.
///
/// # Errors
///
/// A condition that is not met. The process must then end.
pub fn harden(parent: &str) -> Result<(), String> {
    let parent = parent.parse().ok().and_then(Pid::from_raw);
    let parent = parent.ok_or("the argument is not the id of the parent process")?;
    close_inherited().map_err(|error| format!("cannot list the open descriptors: {error}"))?;
    // Safe code cannot remove variables, so the parent starts this process without any others.
    if env::vars_os().any(|(name, _)| PASSED_ON.iter().all(|known| name != *known)) {
        return Err("the environment is not empty".into());
    }
    let failed = |error: rustix::io::Errno| format!("cannot harden the process: {error}");
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed)?;
    // After the signal is set: a parent that died before sends none.
    if getppid() != Some(parent) {
        return Err("the parent process is gone".into());
    }
    // If memory is short, the kernel should kill a worker, whose attempts run again. Before the process is not dumpable,
    // because root then owns its files in `/proc`.
    let _ = fs::write("/proc/self/oom_score_adj", "500");
    lower(Resource::Core, 0).map_err(failed)?;
    lower(Resource::Nofile, FILES).map_err(failed)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed)?;
    set_no_new_privs(true).map_err(failed)?;
    drop_capabilities().map_err(failed)
}

/// Gives up the capabilities of root. Files of other users then open to this process only as their modes allow.
fn drop_capabilities() -> rustix::io::Result<()> {
    // Fails without `CAP_SETPCAP`. Then there is nothing to give up: without new privileges, the set only bounds others.
    let _ = (0..u64::BITS).try_for_each(|bit| {
        remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit))
    });
    clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}

/// Lowers a limit of this process for good. Keeps a lower one that was inherited.
pub fn lower(resource: Resource, limit: u64) -> rustix::io::Result<()> {
    let limit = getrlimit(resource).maximum.unwrap_or(limit).min(limit);
    let both = Rlimit { current: Some(limit), maximum: Some(limit) };
    setrlimit(resource, both)
}

/// Closes all descriptors above the standard ones. The parent's own parent may have left some open.
fn close_inherited() -> std::io::Result<()> {
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(std::io::Error::other("there are threads already"));
    }
    // Collected before any is closed, because closing changes the folder.
    let open: Vec<RawFd> = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        // Fails for the descriptor of the folder itself, which is closed already.
        let _ = nix::unistd::close(descriptor);
    }
    Ok(())
}

impl Openings<'_> {
    /// Closes everything else to this thread and the threads that it starts, for good. Open descriptors stay open.
    ///
    /// Returns the layers that the kernel supports. A kernel without any is not an error: wasmtime's sandbox remains.
    pub fn close_others(&self) -> WallStatus {
        // rustix looks for the vDSO at the first reading of the clock. Later it would find none, and every reading would
        // be a system call: four per attempt.
        let _ = clock_gettime(ClockId::Monotonic);
        WallStatus {
            landlock: landlock::restrict(self).unwrap_or(0),
            // Last, because it closes the system calls of Landlock.
            seccomp: seccomp::restrict(!self.ports.is_empty()).is_ok(),
        }
    }
}

/// Returns the layers that this machine's kernel supports, tried in a short thread.
pub fn offered() -> WallStatus {
    thread::spawn(|| Openings::default().close_others()).join().unwrap_or_default()
}
