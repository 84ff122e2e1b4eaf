//! [`FileSystems`]: the mounted file systems, and which of them are the kernel's own.

use std::path::{Path, PathBuf};
use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _};

/// The list of mounts, see proc_pid_mountinfo(5).
const MOUNTS: &str = "/proc/self/mountinfo";

/// Folders of the kernel's file systems, which are refused with any mount on them.
const KERNEL_PLACES: [&str; 3] = ["/proc", "/sys", "/dev"];
/// Shared memory: plain files inside `/dev`.
const SHARED_MEMORY: &str = "/dev/shm";

/// File systems in which the kernel shows processes, devices and its settings. Reading them reveals data of the runner, and
/// writing them changes the machine.
const KERNEL_TYPES: &str = "proc sysfs devtmpfs devpts cgroup cgroup2 cpuset debugfs tracefs securityfs selinuxfs smackfs \
    configfs efivarfs pstore bpf mqueue binfmt_misc nsfs";

/// The mounted file systems.
#[derive(Debug, Default)]
pub(super) struct FileSystems {
    /// Mounts in the order of mounting.
    mounts: Vec<MountPoint>,
}

#[derive(Debug)]
struct MountPoint {
    device: String,
    /// The mounted folder of the file system.
    root: PathBuf,
    at: PathBuf,
    kind: String,
}

impl FileSystems {
    /// Reads the mounts of this process. Empty if that fails.
    pub(super) fn mounted() -> Self {
        Self::parse(&fs::read(MOUNTS).unwrap_or_default())
    }

    pub(super) fn parse(text: &[u8]) -> Self {
        let lines = text.split(|byte| *byte == b'\n');
        Self { mounts: lines.filter_map(MountPoint::parse).collect() }
    }

    /// Returns all paths of a folder: its file system may be mounted at several places.
    pub(super) fn paths_of(&self, folder: &Path) -> Vec<PathBuf> {
        let mut paths = vec![folder.to_owned()];
        let Some(mount) = self.around(folder) else {
            return paths;
        };
        let below = folder.strip_prefix(&mount.at).unwrap_or(folder);
        let place = mount.root.join(below);
        let mounts = self.mounts.iter();
        for other in mounts.filter(|other| other.device == mount.device) {
            if let Ok(below) = place.strip_prefix(&other.root) {
                paths.push(other.at.join(below));
            } else if other.root.starts_with(&place) {
                paths.push(other.at.clone());
            }
        }
        paths
    }

    /// Returns the mount point of a file system of the kernel that contains `folder` or is in it.
    pub(super) fn kernel_mount(&self, folder: &Path) -> Option<PathBuf> {
        if folder.starts_with(SHARED_MEMORY) {
            return None;
        }
        let below = self.mounts.iter().filter(|mount| mount.at.starts_with(folder));
        let mounted = self.around(folder).into_iter().chain(below);
        let mut mounted =
            mounted.filter(|mount| KERNEL_TYPES.split(' ').any(|kind| kind == mount.kind));
        let places = KERNEL_PLACES.into_iter().map(PathBuf::from);
        let mut places = places.filter(|place| {
            folder.starts_with(place) || place.starts_with(folder) && place.exists()
        });
        places.next().or_else(|| Some(mounted.next()?.at.clone()))
    }

    /// Returns the mount of a path: the innermost and, of several at the same place, the newest.
    fn around(&self, path: &Path) -> Option<&MountPoint> {
        let around = self.mounts.iter().filter(|mount| path.starts_with(&mount.at));
        around.max_by_key(|mount| mount.at.components().count())
    }
}

impl MountPoint {
    /// Parses `36 35 98:0 /root /at options optional… - kind source options`.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let device = str::from_utf8(fields.nth(2)?).ok()?;
        let root = unescaped(fields.next()?);
        let at = unescaped(fields.next()?);
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        Some(Self {
            device: device.to_owned(),
            root,
            at,
            kind: str::from_utf8(kind).ok()?.to_owned(),
        })
    }
}

/// Decodes a path in which the kernel writes spaces and backslashes as `\040` and `\134`.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut parts = field.split(|byte| *byte == b'\\');
    let mut bytes = parts.next().unwrap_or_default().to_vec();
    for part in parts {
        let digits = part.get(..3).and_then(|part| str::from_utf8(part).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.extend(byte);
        bytes.extend_from_slice(part.get(3..).unwrap_or_default());
    }
    OsStr::from_bytes(&bytes).into()
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::FileSystems;

    #[test]
    fn kernel_mounts_are_found_around_and_in_folders() {
        let systems = FileSystems::parse(
            b"1 0 8:1 / / rw shared:1 - ext4 /dev/a rw\n\
              2 1 0:5 / /jail/proc rw - proc proc rw\n\
              3 1 0:6 / /odd\\040place rw master:1 shared:2 - cgroup2 cgroup rw\n\
              4 1 0:7 / /over rw - sysfs sysfs rw\n\
              5 1 8:2 / /over rw - ext4 /dev/b rw\n\
              a line of another kind\n",
        );
        let kernels = |folder: &str| systems.kernel_mount(Path::new(folder));
        for (folder, place) in [
            ("/", "/proc"),
            ("/proc", "/proc"),
            ("/proc/self/task", "/proc"),
            ("/sys/none", "/sys"),
            ("/dev", "/dev"),
            ("/dev/pts", "/dev"),
            ("/jail", "/jail/proc"),
            ("/jail/proc/1", "/jail/proc"),
            ("/odd place/x", "/odd place"),
        ] {
            assert_eq!(kernels(folder), Some(PathBuf::from(place)), "{folder}");
        }
        for folder in ["/home", "/jail/home", "/over/x", "/dev/shm", "/dev/shm/x", "/process"] {
            assert_eq!(kernels(folder), None, "{folder}");
        }
    }
    #[test]
    fn folders_mounted_twice_are_one() {
        let systems = FileSystems::parse(
            b"1 0 8:1 / / rw - ext4 /dev/a rw\n\
              2 1 8:1 /data/work /mounted/a\\040b rw - ext4 /dev/a rw\n\
              3 1 8:2 / /other rw - ext4 /dev/b rw\n",
        );
        for (inner, outer, is_within) in [
            ("/mounted/a b/c", "/data/work", true),
            ("/mounted/a b/c", "/data", true),
            ("/data/work/c", "/mounted/a b", true),
            ("/data/worker", "/mounted/a b", false),
            ("/other/data/work/c", "/data/work", false),
            ("/mounted/c", "/data/work", false),
        ] {
            let paths = systems.paths_of(Path::new(outer));
            let found = paths.iter().any(|path| Path::new(inner).starts_with(path));
            assert_eq!(found, is_within, "{inner} in {outer}");
        }
    }
}
