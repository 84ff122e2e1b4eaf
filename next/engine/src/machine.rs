//! What the machine has: cores and memory.

use std::{fs, path::Path, thread};

use rustix::system::sysinfo;

/// Cores that this process may use.
pub(crate) fn cores() -> u32 {
    thread::available_parallelism().map_or(1, |cores| cores.get().try_into().unwrap_or(u32::MAX))
}

/// Bytes that all guests of a run may have together: 75 % of what the machine or the control group has.
pub(crate) fn memory() -> u64 {
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
