//! How many threads this process can start.

use std::{fs, io, path::Path, sync::mpsc, thread};

use rustix::process::{Resource, getrlimit};

/// Where Linux mounts the control groups of version 2, alone or beside those of version 1.
const GROUPS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// Where it mounts those of version 1 that limit threads.
const GROUPS_V1: [&str; 1] = ["/sys/fs/cgroup/pids"];
/// So many threads more than are wanted have to fit below a limit for nobody to try it.
const SPARE: u64 = 512;

/// How many of `wanted` threads this process can start.
///
/// Where the limits that the system shows are far away, none is started to find out: on 64 cores that would be 73 threads
/// for a run of a single trial. A limit that it does not show stops the run when it is reached, with the same advice.
pub(super) fn startable(wanted: usize) -> usize {
    match is_there_ample_room(wanted as u64) {
        Some(true) => wanted,
        _ => started(wanted),
    }
}

/// Starts as many of `wanted` threads as can be, all of them there at once for a moment.
fn started(wanted: usize) -> usize {
    let mut waiting = Vec::with_capacity(wanted);
    for _ in 0..wanted {
        let (release, released) = mpsc::channel::<()>();
        let started: io::Result<_> = thread::Builder::new()
            .name("trial".into())
            .spawn(move || released.recv().is_err());
        let Ok(thread) = started else { break };
        waiting.push((release, thread));
    }
    let count = waiting.len();
    for (release, thread) in waiting {
        drop(release);
        // It does nothing that could panic.
        drop(thread.join());
    }
    count
}

/// Tells whether no limit is near; `None` where the system does not tell.
fn is_there_ample_room(wanted: u64) -> Option<bool> {
    let wanted = wanted + SPARE;
    if getrlimit(Resource::As).current.is_some() {
        return Some(false);
    }
    if let Some(most) = getrlimit(Resource::Nproc).current {
        // Those of everybody; the limit counts those of this user.
        let all = threads_in(&fs::read_to_string("/proc/loadavg").ok()?)?;
        if all + wanted > most {
            return Some(false);
        }
    }
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    Some(groups.lines().all(|line| may_start(line, wanted)))
}

/// Tells whether there may be so many more threads in a group, which is a line of `/proc/self/cgroup`.
fn may_start(line: &str, wanted: u64) -> bool {
    // `8:pids:/user.slice/work`, or `0::/user.slice/work`
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
        return false;
    };
    let mounted: &[&str] = match controllers {
        "" => &GROUPS,
        _ if controllers.split(',').any(|name| name == "pids") => &GROUPS_V1,
        _ => return true,
    };
    let mut mounted = mounted.iter().map(Path::new);
    mounted.all(|mounted| may_start_in(mounted, path, wanted))
}

/// The number of threads in what `/proc/loadavg` says, as in `0.13 0.64 0.99 2/80 27405`.
fn threads_in(loads: &str) -> Option<u64> {
    let (_, all) = loads.split(' ').nth(3)?.split_once('/')?;
    all.parse().ok()
}

/// Tells whether there may be so many more in the group of this path, and in the groups that it is in, as far as they are
/// `mounted`.
fn may_start_in(mounted: &Path, path: &str, wanted: u64) -> bool {
    let innermost = mounted.join(path.trim_start_matches('/'));
    innermost
        .ancestors()
        .take_while(|group| group.starts_with(mounted))
        .all(|group| {
            let most = match fs::read_to_string(group.join("pids.max")) {
                Ok(most) => most,
                // The outermost has no limit, and a hierarchy without this controller has none anywhere.
                Err(error) => return error.kind() == io::ErrorKind::NotFound,
            };
            if most.trim() == "max" {
                return true;
            }
            let current = fs::read_to_string(group.join("pids.current"));
            let number = |text: &str| text.trim().parse::<u64>().ok();
            match (number(&most), current.ok().as_deref().and_then(number)) {
                (Some(most), Some(current)) => current.saturating_add(wanted) <= most,
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{may_start, may_start_in, started, threads_in};

    #[test]
    fn threads_are_started_where_the_limits_are_near() {
        assert_eq!(started(3), 3);
    }

    #[test]
    fn the_system_tells_how_many_threads_there_are() {
        assert_eq!(threads_in("0.13 0.64 0.99 2/80 27405\n"), Some(80));
        assert_eq!(threads_in("0.13 0.64"), None);
        assert_eq!(threads_in("0.13 0.64 0.99 many 1"), None);
    }

    #[test]
    fn a_limit_of_any_group_around_this_process_counts() {
        let mounted = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = mounted.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        };
        let may = |path: &str| may_start_in(mounted.path(), path, 10);
        // A group of the machine that this container does not see.
        assert!(may("/unseen/work"));
        write("user/pids.max", "30\n");
        write("user/pids.current", "20\n");
        write("user/work/pids.max", "max\n");
        assert!(may("/user/work"));
        write("user/pids.current", "21\n");
        assert!(!may("/user/work"));
        assert!(may("/other"));
        write("user/pids.max", "some\n");
        assert!(!may("/user/work"));
        assert!(!may_start_in(Path::new("/dev/null"), "/", 1));

        assert!(may_start("7:blkio,cpu:/user", u64::MAX));
        assert!(!may_start("no group", 1));
    }
}
