//! Limits of the machine: cores, memory and open files.

use std::{env, fmt::Display, fs, io, path::Path, sync::OnceLock, thread};

use runner_model::{test_setting, units::show_sizes_apart, visible::shown_path};
use runner_record::{advice, is_full};
use runner_scenario::Scenario;
use rustix::fs::{Mode, statfs, statvfs};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use rustix::system::sysinfo;

/// Returns the number of cores that this process may use.
pub fn cores() -> u32 {
    // Reads files of the control group, and the coordinator asks often.
    static CORES: OnceLock<u32> = OnceLock::new();
    *CORES.get_or_init(|| {
        let cores = thread::available_parallelism();
        cores.map_or(1, |cores| cores.get().try_into().unwrap_or(u32::MAX))
    })
}

/// Default number of jobs if a provider has `net` grants.
const NET_JOBS: u32 = 16;

/// Open files of a session: of the run, the list of runs, the store and the cache, and of each worker.
const FILES: u64 = 24;
const FILES_OF_WORKER: u64 = 8;

/// Bytes of addresses of a worker: a memory of a guest reserves 4 GiB.
const ADDRESSES: u64 = 6 << 30;
/// Bytes of a process's own memory.
const DATA: u64 = 512 << 20;
/// Bytes of the stack of a process's first thread. Debug builds parse arguments with half of it.
const STACK: u64 = 1 << 20;

/// Options of `ulimit`, each with a part of the errors that it causes.
const CAUSES: [(&str, &str); 6] = [
    ("-u", "(os error 11)"),
    // An error of a thread pool in its debugging format.
    ("-u", "code: 11,"),
    ("-v", "(os error 12)"),
    ("-v", "memory allocation of"),
    ("-n", "(os error 24)"),
    ("-f", "(os error 27)"),
];

/// Checks that the machine lets this process and its children run a session, and raises the limit of open files to the maximum.
/// Without these checks a process that runs out would abort, or blame a plugin.
///
/// # Errors
///
/// The limit that is too low, and how to raise it.
pub fn check() -> Result<(), String> {
    for (resource, needed, what, flag) in
        [(Resource::As, ADDRESSES, "addresses", "-v"), (Resource::Data, DATA, "memory", "-d")]
    {
        if let Some(most) = getrlimit(resource).current.filter(|most| *most < needed) {
            let [needed, most] = show_sizes_apart(needed, most);
            return Err(format!(
                "a session needs {needed} of {what}, and this process may have {most}: raise the limit (`ulimit {flag}`)"
            ));
        }
    }
    // Children are started by it, and the paths of open files are read there.
    if !Path::new("/proc/self/exe").exists() {
        return Err(
            "`/proc` is not mounted, and plugins cannot run without it: mount -t proc proc /proc"
                .to_owned(),
        );
    }
    raise_open_files()?;
    match tempfile::tempfile() {
        Ok(_) => Ok(()),
        Err(error) => Err(no_temporary_file(&error)),
    }
}

/// Prepares this process for any command. Call it before threads exist.
///
/// # Errors
///
/// The limit of the stack is too low.
pub fn prepare_process() -> Result<(), String> {
    // With a umask such as 0277 this user could not use the files and folders that the process creates.
    let mask = umask(Mode::RWXG | Mode::RWXO);
    umask(mask - Mode::RWXU);
    let limit = getrlimit(Resource::Stack);
    let Some(most) = limit.current.filter(|most| *most < STACK) else { return Ok(()) };
    setrlimit(Resource::Stack, Rlimit { current: Some(STACK), ..limit }).map_err(|_| {
        let [needed, most] = show_sizes_apart(STACK, most);
        format!("a command needs {needed} of stack, and this process may have {most}: raise the limit (`ulimit -Hs`)")
    })
}

/// Describes a failure, with the limit of this process that caused it.
pub fn failure(what: &str, error: impl Display) -> String {
    let text = format!("{what}: {error}");
    with_limit(&text).unwrap_or(text)
}

/// Adds the limit that an error's text shows. `None` if no limit of this process caused the error.
pub fn with_limit(error: &str) -> Option<String> {
    let (option, _) = CAUSES.iter().find(|(_, cause)| error.contains(cause))?;
    Some(format!("{error}; raise the limit (`ulimit {option}`)"))
}

/// Describes a failure to create or write a temporary file.
pub fn no_temporary_file(error: &io::Error) -> String {
    let folder = env::temp_dir();
    let full = advice(&folder, error).strip_prefix("; ").filter(|_| is_full(error));
    let named = match env::var_os("TMPDIR") {
        _ if let Some(full) = full => &format!("{full}, or set `TMPDIR` to another folder"),
        Some(_) => "`TMPDIR` names this folder: create it, or name another one",
        None => "set `TMPDIR` to a folder in which you may create files",
    };
    let text = format!("cannot write a temporary file in {}: {error}", shown_path(&folder));
    with_limit(&text).unwrap_or_else(|| format!("{text}\n{named}"))
}

/// Raises the limit of open files to the maximum.
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

/// Returns the number of attempts that run at once if nothing sets it: one for each core, and more if providers wait for the
/// network, as far as their memory allows.
pub fn default_jobs(scenario: &Scenario) -> u32 {
    let all = scenario.providers.iter();
    let callers = all.clone().filter(|one| one.tool.is_none() && one.uses_net(all.clone()));
    let limits = callers.map(|one| one.limits.memory.saturating_add(one.tool_memory(all.clone())));
    let largest = limits.max();
    let memory = scenario.run.memory.unwrap_or_else(memory);
    let waiting = largest.map_or(0, |limit| memory.checked_div(limit).unwrap_or(u64::MAX));
    cores().max(waiting.min(u64::from(NET_JOBS)) as u32)
}

/// Returns the bytes that this user may still write to the file system of a folder, and the number of its free inodes.
pub fn free_space(folder: &Path) -> io::Result<[u64; 2]> {
    let found = statvfs(folder)?;
    // Some file systems count none.
    let inodes = if found.f_files == 0 { u64::MAX } else { found.f_favail };
    Ok([found.f_bavail.saturating_mul(found.f_frsize), inodes])
}

/// Returns whether a folder is in a tmpfs, which counts each link of a file as an inode.
pub fn counts_links(folder: &Path) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    statfs(folder).is_ok_and(|found| found.f_type as u64 == TMPFS)
}

/// Checks that files in the folder for temporary files can have links, of which workspaces consist.
///
/// # Errors
///
/// They cannot, as on exFAT and on some network file systems.
pub fn check_links() -> Result<(), String> {
    let folder = env::temp_dir();
    let link = || {
        if test_setting("RUNNER_TEST_NO_LINKS").is_some() {
            return Err(Errno::PERM.into());
        }
        let made = tempfile::tempdir()?;
        let file = made.path().join("file");
        fs::write(&file, "")?;
        fs::hard_link(&file, made.path().join("link"))
    };
    link().map_err(|error: io::Error| match is_full(&error) {
        true => no_temporary_file(&error),
        false => format!(
            "workspaces consist of hard links, and files in {} can have none: {error}\nset `TMPDIR` to a folder on another file system",
            shown_path(&folder)
        ),
    })
}

/// Returns the default memory for all guests of a run, in bytes: 75 % of the memory of the machine or the control group.
pub fn memory() -> u64 {
    // Read once: the coordinator asks for each content that a worker needs.
    static MEMORY: OnceLock<u64> = OnceLock::new();
    *MEMORY.get_or_init(|| {
        let about = sysinfo();
        let machine = (about.totalram as u64).saturating_mul(about.mem_unit.into());
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let group = group_limit(Path::new("/sys/fs/cgroup"), &own);
        machine.min(group.unwrap_or(u64::MAX)) / 4 * 3
    })
}

/// Returns the smallest memory limit of a process's control group and its ancestors, in bytes. `own` is the content of
/// `/proc/self/cgroup`. Supports only cgroup v2.
fn group_limit(root: &Path, own: &str) -> Option<u64> {
    let groups = Path::new(own.lines().find_map(|line| line.strip_prefix("0::/"))?).ancestors();
    let limits = groups.filter_map(|group| {
        fs::read_to_string(root.join(group).join("memory.max")).ok()?.trim().parse().ok()
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
