//! What a child gives up: before it reads anything, what it has inherited ([`harden`]); then, before any thread and any
//! foreign code runs in it, all files, ports and system calls that it does not need ([`Openings::close_others`], the second
//! wall, for guests that get through the first).

mod landlock;
mod seccomp;

#[cfg(test)]
#[cfg(debug_assertions)]
mod tests;

use std::{env, ffi::OsStr, fs, os::fd::RawFd, thread};

use runner_model::{
    NetGrant,
    prepare::{Prepare, WallStatus},
    provider::MountedFolder,
};
use rustix::{
    process::{
        DumpableBehavior, Pid, Resource, Rlimit, Signal, getppid, getrlimit, set_dumpable_behavior,
        set_parent_process_death_signal, setrlimit,
    },
    thread::set_no_new_privs,
};

/// Variables that the parent may hand on: which certificates are trusted. Guests see none of them.
const HANDED_ON: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];
/// Files that a child may have open at once, where the system lets it have so many.
const FILES: u64 = 65_536;

/// Hardens this process. It must have one thread, no environment but what names certificates, and `parent` as its parent.
///
/// # Errors
///
/// What is not as it must be; then the process ends.
pub fn harden(parent: &str) -> Result<(), String> {
    let parent = parent.parse().ok().and_then(Pid::from_raw);
    let parent = parent.ok_or("the argument is not the id of the parent process")?;
    close_inherited().map_err(|error| format!("cannot list the open descriptors: {error}"))?;
    // Removing variables is not possible in safe code, so the parent starts this process without any others.
    let is_other = |name: &OsStr| HANDED_ON.iter().all(|known| name != *known);
    if env::vars_os().any(|(name, _)| is_other(&name)) {
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
    lower(Resource::Core, 0).map_err(failed)?;
    lower(Resource::Nofile, FILES).map_err(failed)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed)?;
    set_no_new_privs(true).map_err(failed)
}

/// Lowers a limit of this process for good. A lower one that was set from outside stays.
pub fn lower(resource: Resource, limit: u64) -> rustix::io::Result<()> {
    let limit = getrlimit(resource).maximum.unwrap_or(limit).min(limit);
    let both = Rlimit { current: Some(limit), maximum: Some(limit) };
    setrlimit(resource, both)
}

/// Closes everything above the standard descriptors that the parent's own parent left open.
fn close_inherited() -> std::io::Result<()> {
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(std::io::Error::other("there are threads already"));
    }
    let entries = fs::read_dir("/proc/self/fd")?;
    // Listed first, closed then: the list's own descriptor is closed by that time.
    let open: Vec<RawFd> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        // Fails for the list's own.
        let _ = nix::unistd::close(descriptor);
    }
    Ok(())
}

/// What the second wall leaves open. Paths are absolute; what is not there opens nothing.
#[derive(Default)]
pub struct Openings<'a> {
    /// Folders whose files may be read, and not listed.
    pub files: Vec<&'a str>,
    /// Folders that may be read, or read and written.
    pub mounts: Vec<&'a MountedFolder>,
    /// A folder that may be read and written.
    pub scratch: Option<&'a str>,
    /// TCP ports that may be connected to, by those who may also look up names; without any, no socket can be made.
    pub ports: Vec<u16>,
}

impl<'a> Openings<'a> {
    /// What a worker needs.
    pub fn of(prepare: &'a Prepare) -> Self {
        let providers = || prepare.providers.iter();
        let grants = providers().flat_map(|prepared| &prepared.provider.grants.net);
        Self {
            files: vec![&prepare.cache, &prepare.blobs],
            mounts: providers().flat_map(|prepared| &prepared.mounts).collect(),
            scratch: Some(&prepare.scratch),
            ports: grants.map(NetGrant::port).collect(),
        }
    }

    /// Closes everything else to this thread and to all that it starts, for good, and tells what of that the kernel can do.
    /// What is open stays open. A kernel that can do nothing fails nothing: this wall is the second one.
    pub fn close_others(&self) -> WallStatus {
        WallStatus {
            landlock: landlock::restrict(self).unwrap_or(0),
            // Last, because it closes the calls that make walls.
            seccomp: seccomp::restrict(!self.ports.is_empty()).is_ok(),
        }
    }
}

/// Tells what this machine's kernel can do for the second wall of workers: a thread that ends at once stands behind one.
pub fn offered() -> WallStatus {
    let behind = thread::spawn(|| Openings::default().close_others());
    behind.join().unwrap_or_default()
}
