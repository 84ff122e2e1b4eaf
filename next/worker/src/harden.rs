//! What a child gives up before it reads anything: inherited descriptors, its life after its parent, core files, and
//! privileges that a program could gain.

use std::{env, fs, os::fd::RawFd};

use rustix::{
    process::{
        DumpableBehavior, Pid, Resource, Rlimit, Signal, getppid, set_dumpable_behavior,
        set_parent_process_death_signal, setrlimit,
    },
    thread::set_no_new_privs,
};

/// Hardens this process. It must have one thread, no environment, and `parent` as its parent.
///
/// # Errors
///
/// What is not as it must be; then the process ends.
pub fn harden(parent: &str) -> Result<(), String> {
    let parent = parent.parse().ok().and_then(Pid::from_raw);
    let parent = parent.ok_or("the argument is not the id of the parent process")?;
    close_inherited().map_err(|error| format!("cannot list the open descriptors: {error}"))?;
    // Removing variables is not possible in safe code, so the parent starts this process without any.
    if env::vars_os().next().is_some() {
        return Err("the environment is not empty".into());
    }
    let failed = |error: rustix::io::Errno| format!("cannot harden the process: {error}");
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed)?;
    // Asked after the signal was set: the parent may have died before.
    if getppid() != Some(parent) {
        return Err("the parent process is gone".into());
    }
    // Where memory is short, the kernel takes a worker, whose attempts are made again. Where that cannot be said, nothing
    // else changes. Written before the process is not dumpable, because its files are root's then.
    let _ = fs::write("/proc/self/oom_score_adj", "500");
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).map_err(failed)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed)?;
    set_no_new_privs(true).map_err(failed)
}

/// Closes everything above the standard descriptors that the parent's own parent left open.
fn close_inherited() -> std::io::Result<()> {
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(std::io::Error::other("there are threads already"));
    }
    let entries = fs::read_dir("/proc/self/fd")?;
    // Listed first, closed then: the list's own descriptor is closed by that time.
    let open: Vec<RawFd> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        // Fails for the list's own.
        let _ = nix::unistd::close(descriptor);
    }
    Ok(())
}
