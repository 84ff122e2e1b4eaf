//! Attacks of native code that has escaped from wasmtime's sandbox, against the sandbox of workers.

use std::{
    env,
    fs::{self, File, Permissions},
    io,
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            fs::{PermissionsExt as _, chown, symlink},
            net::{SocketAddr, UnixDatagram, UnixStream},
        },
    },
    path::{Path, PathBuf},
    process::Command,
};

use runner_model::prepare::Prepare;
use rustix::{
    fs::{AtFlags, CWD, FileType, FlockOperation, Mode, Timestamps, flock, mknodat, utimensat},
    net::{AddressFamily, SendFlags, SocketType, connect, ipproto::MPTCP, listen, sendto, socket},
    process::{
        DumpableBehavior, Pid, Resource, getpriority_process, getrlimit, prlimit,
        set_dumpable_behavior, set_parent_process_death_signal, setpriority_process,
        test_kill_process,
    },
    thread::{sched_getaffinity, sched_setaffinity},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Targets of the attacks. All of them exist, and no attack harms them.
#[derive(Clone, Debug, Deserialize)]
pub struct Targets {
    /// A folder with a file `secret`, not granted.
    pub home: PathBuf,
    /// A folder with a file `rows`, such as a run's.
    pub run: PathBuf,
    /// The cache, with a file `entry`.
    pub cache: PathBuf,
    /// The worker's scratch folder.
    #[serde(default)]
    pub scratch: PathBuf,
    /// A file of a base of workspaces in another worker's scratch folder.
    #[serde(default)]
    pub base: PathBuf,
    /// A file of a base in the folder of another session.
    pub old_base: PathBuf,
    /// A file in the session's store, from which bases are copied.
    #[serde(default)]
    pub content: PathBuf,
    /// The id of another process of the user.
    #[serde(default)]
    pub process: i32,
    /// A TCP port of this machine with a listener.
    pub port: u16,
    /// The path of a stream socket with a listener.
    pub socket: PathBuf,
    /// The path of a datagram socket.
    pub datagrams: PathBuf,
    /// The name of an abstract stream socket with a listener.
    pub abstract_socket: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub enum AttackResult {
    Done,
    /// The error number, or -1 for other errors.
    Failed(i32),
}

type Attack = (&'static str, fn(&Targets) -> io::Result<()>);

/// Tries every attack.
pub fn attack(targets: &Targets) -> Vec<(&'static str, AttackResult)> {
    let try_one = |(name, attack): Attack| {
        let result = match attack(targets) {
            Ok(()) => AttackResult::Done,
            Err(error) => AttackResult::Failed(error.raw_os_error().unwrap_or(-1)),
        };
        (name, result)
    };
    [FILES, SOCKETS, PROCESSES].concat().into_iter().map(try_one).collect()
}

const FILES: &[Attack] = &[
    ("read a file of the home", |targets| fs::read(targets.home.join("secret")).map(drop)),
    ("read it by a link in scratch", |targets| {
        let link = targets.scratch.join("link");
        // Left by the attacks outside of the sandbox.
        let _ = fs::remove_file(&link);
        symlink(targets.home.join("secret"), &link)?;
        fs::read(link).map(drop)
    }),
    ("take it into scratch by a hard link", |targets| {
        let link = targets.scratch.join("hard");
        let _ = fs::remove_file(&link);
        fs::hard_link(targets.home.join("secret"), link)
    }),
    ("list the home", |targets| fs::read_dir(&targets.home).map(drop)),
    ("list the root", |_| fs::read_dir("/").map(drop)),
    ("list the cache", |targets| fs::read_dir(&targets.cache).map(drop)),
    ("read the users of the machine", |_| fs::read("/etc/passwd").map(drop)),
    ("read a run", |targets| fs::read(targets.run.join("rows")).map(drop)),
    ("add to a run", |targets| File::create(targets.run.join("planted")).map(drop)),
    ("cut a run's rows", |targets| {
        let rows = File::options().write(true).open(targets.run.join("rows"))?;
        rows.set_len(0)
    }),
    ("replace a run's rows", |targets| {
        let (rows, other) = (targets.run.join("rows"), targets.run.join("other"));
        fs::rename(&rows, &other)?;
        fs::rename(&other, &rows)
    }),
    ("add to the cache", |targets| File::create(targets.cache.join("planted")).map(drop)),
    ("write into the cache", |targets| {
        File::options().write(true).open(targets.cache.join("entry")).map(drop)
    }),
    ("move a file out of scratch", |targets| {
        fs::write(targets.scratch.join("file"), "x")?;
        fs::rename(targets.scratch.join("file"), targets.run.join("moved"))
    }),
    ("write into the base of another worker", |targets| {
        File::options().append(true).open(&targets.base).map(drop)
    }),
    ("cut a file of the base of another worker", |targets| truncate(&targets.base)),
    ("replace a file of the base of another worker", |targets| {
        let other = targets.base.with_extension("other");
        fs::rename(&targets.base, &other)?;
        fs::rename(&other, &targets.base)
    }),
    ("take a file of the base of another worker by a hard link", |targets| {
        let link = targets.scratch.join("base");
        let _ = fs::remove_file(&link);
        fs::hard_link(&targets.base, link)
    }),
    ("add a file to the base of another worker by a hard link", |targets| {
        let own = targets.scratch.join("own");
        fs::write(&own, "planted")?;
        let added = targets.base.with_extension("added");
        fs::hard_link(own, &added)?;
        fs::remove_file(added)
    }),
    ("cut a file of the base of another session", |targets| truncate(&targets.old_base)),
    ("write into a content of the store", |targets| {
        File::options().append(true).open(&targets.content).map(drop)
    }),
    ("take a content of the store by a hard link", |targets| {
        let link = targets.scratch.join("content");
        let _ = fs::remove_file(&link);
        fs::hard_link(&targets.content, link)
    }),
    ("make a pipe", |targets| {
        let pipe = targets.scratch.join("pipe");
        let _ = fs::remove_file(&pipe);
        Ok(mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0)?)
    }),
    ("change the mode of a file of the home", |targets| {
        fs::set_permissions(targets.home.join("secret"), Permissions::from_mode(0o644))
    }),
    ("change its owner", |targets| chown(targets.home.join("secret"), None, None)),
    ("change its times", |targets| {
        let no_time = rustix::fs::Timespec { tv_sec: 0, tv_nsec: 0 };
        let times = Timestamps { last_access: no_time, last_modification: no_time };
        let file = targets.home.join("secret");
        Ok(utimensat(CWD, &file, &times, AtFlags::empty())?)
    }),
    ("lock an entry of the cache", |targets| {
        let entry = File::open(targets.cache.join("entry"))?;
        Ok(flock(entry, FlockOperation::NonBlockingLockShared)?)
    }),
    ("change the folder", |_| env::set_current_dir("/proc/self/cwd")),
    ("see how large a file of the home is", |targets| {
        fs::metadata(targets.home.join("secret")).map(drop)
    }),
    ("read an entry of the cache", |targets| fs::read(targets.cache.join("entry")).map(drop)),
];

const SOCKETS: &[Attack] = &[
    ("connect by TCP", |targets| TcpStream::connect((Ipv4Addr::LOCALHOST, targets.port)).map(drop)),
    ("connect by MPTCP", |targets| {
        let mptcp = socket(AddressFamily::INET, SocketType::STREAM, Some(MPTCP))?;
        Ok(connect(mptcp, &address(targets))?)
    }),
    ("connect with the first bytes of TCP", |targets| {
        const MSG_FASTOPEN: u32 = 0x2000_0000;
        let tcp = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        let flags = SendFlags::from_bits_retain(MSG_FASTOPEN);
        sendto(tcp, b"x", flags, &address(targets))?;
        Ok(())
    }),
    ("send by UDP", |targets| {
        let udp = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
        sendto(udp, b"x", SendFlags::empty(), &address(targets))?;
        Ok(())
    }),
    ("listen at a port", |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map(drop)),
    ("listen without a port", |_| {
        let tcp = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        Ok(listen(tcp, 1)?)
    }),
    ("connect to a socket of the user", |targets| UnixStream::connect(&targets.socket).map(drop)),
    ("send to a socket of the user from one of a pair", |targets| {
        let (one, _other) = UnixDatagram::pair()?;
        one.send_to(b"x", &targets.datagrams).map(drop)
    }),
    ("connect to a socket without a path", |targets| {
        let address = SocketAddr::from_abstract_name(&targets.abstract_socket)?;
        UnixStream::connect_addr(&address).map(drop)
    }),
    ("ask the kernel by netlink", |_| {
        socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
        Ok(())
    }),
];

const PROCESSES: &[Attack] = &[
    ("read a process's command", |targets| {
        fs::read(format!("/proc/{}/cmdline", targets.process)).map(drop)
    }),
    ("signal a process", |targets| Ok(test_kill_process(targets.pid()?)?)),
    ("limit a process", |targets| {
        // The present limit, which harms nothing.
        let limit = getrlimit(Resource::Core);
        prlimit(Some(targets.pid()?), Resource::Core, limit)?;
        Ok(())
    }),
    ("slow a process", |targets| {
        let pid = Some(targets.pid()?);
        Ok(setpriority_process(pid, getpriority_process(pid)?)?)
    }),
    ("bind a process to processors", |targets| {
        let pid = Some(targets.pid()?);
        Ok(sched_setaffinity(pid, &sched_getaffinity(pid)?)?)
    }),
    ("start a program", |_| Command::new("/bin/true").status().map(drop)),
    ("be dumped", |_| Ok(set_dumpable_behavior(DumpableBehavior::Dumpable)?)),
    ("outlive the parent", |_| Ok(set_parent_process_death_signal(None)?)),
];

/// Cuts a file to its own length, which harms nothing.
fn truncate(path: &Path) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    file.set_len(file.metadata()?.len())
}

fn address(targets: &Targets) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, targets.port)
}

impl Targets {
    /// Reads the targets of a provider's configuration. `None` if there are none.
    pub fn new(config: Option<&Value>, prepare: &Prepare, parent: &str) -> Option<Self> {
        let mut targets = Self::deserialize(config?).ok()?;
        targets.scratch = prepare.scratch.clone().into();
        targets.process = parent.parse().ok()?;
        let neighbour = targets.scratch.with_file_name("worker-other");
        fs::create_dir_all(neighbour.join("base")).ok()?;
        targets.base = neighbour.join("base/0");
        targets.content = Path::new(&prepare.blobs).join("content");
        [&targets.base, &targets.content]
            .iter()
            .try_for_each(|path| fs::write(path, "content"))
            .ok()?;
        Some(targets)
    }

    fn pid(&self) -> io::Result<Pid> {
        Pid::from_raw(self.process).ok_or_else(|| io::Error::other("no process"))
    }
}
