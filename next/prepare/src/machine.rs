//! Limits of the machine: cores, memory and open files.

use std::{fs, path::Path, thread};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::system::sysinfo;

/// Returns the number of cores that this process may use.
pub fn cores() -> u32 {
    thread::available_parallelism().map_or(1, |cores| cores.get().try_into().unwrap_or(u32::MAX))
}

/// Open files of a session: of the run, the list of runs, the store and the cache, and of each worker.
const FILES: u64 = 24;
const FILES_OF_WORKER: u64 = 8;

/// Raises the limit of open files of this process and its children to the maximum.
///
/// # Errors
///
/// The maximum is too low for a session.
pub fn raise_open_files() -> Result<(), String> {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    let needed = FILES + FILES_OF_WORKER * u64::from(cores());
    if most < needed {
        return Err(format!(
            "a session needs up to {needed} open files, and this process may have {most}: raise the limit (`ulimit -Hn`)"
        ));
    }
    let raised = Rlimit { current: limit.maximum, ..limit };
    // If this fails, the current limit may be high enough.
    let _ = setrlimit(Resource::Nofile, raised);
    Ok(())
}

/// Returns the default memory for all guests of a run, in bytes: 75 % of the memory of the machine or the control group.
pub fn memory() -> u64 {
    let about = sysinfo();
    let machine = (about.totalram as u64).saturating_mul(about.mem_unit.into());
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = group_limit(Path::new("/sys/fs/cgroup"), &own);
    machine.min(group.unwrap_or(u64::MAX)) / 4 * 3
}

/// Returns the smallest memory limit of a process's control group and its ancestors, in bytes. `own` is the content of
/// `/proc/self/cgroup`. Supports only cgroup v2.
fn group_limit(root: &Path, own: &str) -> Option<u64> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let groups = Path::new(path).ancestors();
    let limits = groups.filter_map(|group| {
        let limit = fs::read_to_string(root.join(group).join("memory.max")).ok()?;
        limit.trim().parse().ok()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{cores, group_limit, memory};

    #[test]
    fn smallest_limit_of_control_groups_counts() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        for (group, limit) in [("a", "4096\n"), ("a/b", "max\n")] {
            fs::write(root.path().join(group).join("memory.max"), limit).unwrap();
        }
        assert_eq!(group_limit(root.path(), "1:x:/y\n0::/a/b\n"), Some(4096));
        assert_eq!(group_limit(root.path(), "0::/"), None);
        assert!(cores() > 0 && memory() > 0);
    }
}
