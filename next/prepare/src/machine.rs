//! What the machine has: cores, memory and open files.

use std::{fs, path::Path, thread};

use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    system::sysinfo,
};

/// Cores that this process may use.
pub fn cores() -> u32 {
    thread::available_parallelism().map_or(1, |cores| cores.get().try_into().unwrap_or(u32::MAX))
}

/// Files that a session has open: those of the run, the list, the store and the cache, and those of each worker.
const FILES: u64 = 24;
const FILES_OF_WORKER: u64 = 8;

/// Lets this process and its children have as many open files as the system allows, and fails if those are too few for a
/// session.
///
/// # Errors
///
/// Too few, in words with both numbers.
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
    // Without that the limit may do all the same.
    let _ = setrlimit(Resource::Nofile, raised);
    Ok(())
}

/// Bytes that all guests of a run may have together: 75 % of what the machine or the control group has.
pub fn memory() -> u64 {
    let about = sysinfo();
    let machine = (about.totalram as u64).saturating_mul(about.mem_unit.into());
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = group_limit(Path::new("/sys/fs/cgroup"), &own);
    machine.min(group.unwrap_or(u64::MAX)) / 4 * 3
}

/// The smallest limit of a process's control group and all groups above; `own` is its `/proc/self/cgroup`. Only the
/// unified hierarchy is known.
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
    fn the_smallest_limit_of_the_groups_counts() {
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
