//! Attacks by threads in the sandbox of workers, which binds only its thread.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::TcpListener,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            fs::MetadataExt as _,
            net::{SocketAddr, UnixDatagram, UnixListener},
        },
    },
    path::Path,
    process::{Child, Command},
    thread,
};

use nix::libc;
use runner_model::{grants::FsMode, prepare::WallStatus, provider::MountedFolder};
use tempfile::TempDir;

use super::{Openings, offered, seccomp::programs};
use crate::lie::attacks::{AttackResult, Targets, attack};

/// The targets of attacks and their listeners.
struct Victim {
    folder: TempDir,
    tcp: TcpListener,
    process: Child,
    _sockets: ([UnixListener; 2], UnixDatagram),
    targets: Targets,
}

impl Victim {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, file) in [
            ("home", "secret"),
            ("run", "rows"),
            ("cache", "entry"),
            ("scratch", "own"),
            ("worker-other/base", "0"),
            ("old/worker-1/base", "0"),
            ("blobs", "content"),
        ] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join(file), "content").unwrap();
        }
        let path = |name: &str| folder.path().join(name);
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        let process = Command::new("sleep").arg("1000").spawn().unwrap();
        let name = format!("runner-test-{}-{port}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let sockets = [
            UnixListener::bind(path("socket")).unwrap(),
            UnixListener::bind_addr(&address).unwrap(),
        ];
        let datagrams = UnixDatagram::bind(path("datagrams")).unwrap();
        let targets = Targets {
            home: path("home"),
            run: path("run"),
            cache: path("cache"),
            scratch: path("scratch"),
            base: path("worker-other/base/0"),
            old_base: path("old/worker-1/base/0"),
            content: path("blobs/content"),
            process: process.id() as i32,
            port,
            socket: path("socket"),
            datagrams: path("datagrams"),
            abstract_socket: name,
        };
        Self { folder, tcp, process, _sockets: (sockets, datagrams), targets }
    }

    fn path(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        path.to_str().unwrap().to_owned()
    }

    /// Attacks from a sandbox with open ports. Returns the attacks that succeed, and the error numbers of the others. All
    /// must succeed outside of the sandbox.
    fn attack(&self, ports: Vec<u16>) -> (Vec<&'static str>, BTreeMap<&'static str, i32>) {
        let [cache, blobs, scratch] = ["cache", "blobs", "scratch"].map(|name| self.path(name));
        let targets = self.targets.clone();
        let attacks = move || {
            for (name, result) in attack(&targets) {
                // Not every kernel has MPTCP.
                assert!(
                    result == AttackResult::Done || name.contains("MPTCP"),
                    "{name}: {result:?}"
                );
            }
            let openings = Openings {
                files: vec![&cache, &blobs],
                scratch: Some(&scratch),
                ports,
                ..Openings::default()
            };
            openings.close_others();
            attack(&targets)
        };
        let mut done = Vec::new();
        let mut failed = BTreeMap::new();
        for (name, result) in thread::spawn(attacks).join().unwrap() {
            match result {
                AttackResult::Done => done.push(name),
                AttackResult::Failed(number) => drop(failed.insert(name, number)),
            }
        }
        (done, failed)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Asserts that each attack was refused, and did not just miss its target.
#[track_caller]
fn assert_refused(failed: &BTreeMap<&str, i32>) {
    let refusals = [libc::EPERM, libc::EACCES, libc::EXDEV];
    for (name, number) in failed {
        assert!(refusals.contains(number), "{name}: {number}");
    }
}

#[test]
fn wall_refuses_escaped_guests() {
    let victim = Victim::new();
    let (done, failed) = victim.attack(Vec::new());
    assert_eq!(done, ["see how large a file of the home is", "read an entry of the cache"]);
    assert_refused(&failed);
}

#[test]
fn granted_ports_open_nothing_else() {
    let victim = Victim::new();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let granted = other.local_addr().unwrap().port();
    let (done, failed) = victim.attack(vec![granted]);
    let is_udp_open = offered().landlock < 10;
    let udp = is_udp_open.then_some("send by UDP");
    let open = ["see how large a file of the home is", "read an entry of the cache"];
    assert_eq!(done, open.into_iter().chain(udp).collect::<Vec<_>>());
    assert_refused(&failed);
    // The target's port, granted.
    let port = victim.tcp.local_addr().unwrap().port();
    let (done, _) = victim.attack(vec![port]);
    assert!(done.contains(&"connect by TCP"), "{done:?}");
    assert!(!done.contains(&"connect by MPTCP"), "{done:?}");
}

#[test]
fn permitted_work_passes_the_wall() {
    let victim = Victim::new();
    let mount = |name, mode| {
        let host = victim.path(name);
        let found = fs::metadata(&host).unwrap();
        MountedFolder {
            guest: format!("/{name}"),
            device: found.dev(),
            inode: found.ino(),
            content: None,
            host,
            mode,
        }
    };
    let read = mount("home", FsMode::ReadOnly);
    let mut swapped = mount("run", FsMode::ReadWrite);
    swapped.inode += 1;
    let write = mount("cache", FsMode::ReadWrite);
    let scratch = victim.path("scratch");
    let run = victim.path("run");
    let work = move || {
        let openings = Openings {
            mounts: vec![&read, &write, &swapped],
            scratch: Some(&scratch),
            ports: vec![1],
            ..Openings::default()
        };
        openings.close_others();
        let [home, cache, scratch, run] = [&read.host, &write.host, &scratch, &run].map(Path::new);
        assert_eq!(fs::read(home.join("secret")).unwrap(), b"content");
        fs::write(home.join("new"), "x").unwrap_err();
        fs::read(run.join("rows")).unwrap_err();

        fs::create_dir_all(scratch.join("a/b")).unwrap();
        fs::write(scratch.join("a/file"), "text").unwrap();
        fs::rename(scratch.join("a/file"), scratch.join("a/b/file")).unwrap();
        fs::rename(scratch.join("a/b/file"), cache.join("file")).unwrap();
        fs::hard_link(cache.join("file"), scratch.join("file")).unwrap();
        let file = File::options().append(true).open(scratch.join("file"));
        file.unwrap().set_len(2).unwrap();
        assert_eq!(fs::read(cache.join("file")).unwrap(), b"te");
        assert_eq!(fs::read_dir(scratch).unwrap().count(), 3);
        fs::remove_dir_all(scratch.join("a")).unwrap();

        assert_eq!(thread::spawn(|| 1).join().unwrap(), 1);
        // From `/etc/hosts`.
        let named = std::net::ToSocketAddrs::to_socket_addrs("localhost:1");
        assert!(named.unwrap().all(|address| address.ip().is_loopback()));
    };
    thread::spawn(work).join().unwrap();
}

#[test]
fn this_kernel_offers_both_layers() {
    let offered = offered();
    assert!(offered.landlock >= 4 && offered.seccomp, "{offered:?}");
}

#[test]
fn missing_walls_are_no_error() {
    let again = || {
        Openings::default().close_others();
        // The first filter refuses the system calls of the second, as a kernel without them would.
        Openings::default().close_others()
    };
    assert_eq!(thread::spawn(again).join().unwrap(), WallStatus::default());
}

/// Runs a filter as the kernel does. Returns the error number, or `None` if the call is allowed.
fn run_filter(program: &[seccompiler::sock_filter], call: i64, arguments: [u64; 6]) -> Option<u32> {
    let processor = match std::env::consts::ARCH {
        "x86_64" => 0xc000_003e,
        _ => 0xc000_00b7_u32,
    };
    let mut data = [call as u32, processor, 0, 0].map(u32::to_le_bytes).concat();
    data.extend(arguments.iter().flat_map(|argument| argument.to_le_bytes()));
    let (mut at, mut value) = (0, 0);
    loop {
        let step = &program[at];
        at += 1;
        let mut jump = |is_true: bool| at += usize::from(if is_true { step.jt } else { step.jf });
        match step.code {
            0x20 => {
                let word = &data[step.k as usize..][..4];
                value = u32::from_le_bytes(word.try_into().unwrap());
            }
            0x54 => value &= step.k,
            0x05 => at += step.k as usize,
            0x15 => jump(value == step.k),
            0x25 => jump(value > step.k),
            0x35 => jump(value >= step.k),
            0x06 => {
                let is_allowed = step.k == libc::SECCOMP_RET_ALLOW;
                return (!is_allowed).then_some(step.k & 0xffff);
            }
            other => panic!("the instruction {other:#x}"),
        }
    }
}

/// Returns the kernel's error for a call. Of two errors it takes that of the last filter.
fn errno(has_sockets: bool, call: i64, arguments: &[u64]) -> Option<u32> {
    let [absent, allowed] = programs(has_sockets).unwrap();
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    run_filter(&absent, call, all).or_else(|| run_filter(&allowed, call, all))
}

#[test]
fn calls_beyond_the_list_are_refused() {
    let refused = |call, arguments: &[u64]| {
        for has_sockets in [true, false] {
            let errno = errno(has_sockets, call, arguments);
            assert_eq!(errno, Some(libc::EPERM as u32), "{call} {arguments:x?}");
        }
    };
    for call in [
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_open,
        libc::SYS_pidfd_getfd,
        libc::SYS_pidfd_send_signal,
        libc::SYS_kill,
        libc::SYS_tkill,
        libc::SYS_rt_sigqueueinfo,
        libc::SYS_setsid,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_open_tree,
        libc::SYS_fsopen,
        libc::SYS_io_uring_setup,
        libc::SYS_userfaultfd,
        libc::SYS_perf_event_open,
        libc::SYS_bpf,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_keyctl,
        libc::SYS_shmget,
        libc::SYS_msgget,
        libc::SYS_semget,
        libc::SYS_mq_open,
        libc::SYS_inotify_init1,
        libc::SYS_fanotify_init,
        libc::SYS_open_by_handle_at,
        libc::SYS_setxattr,
        libc::SYS_removexattr,
        libc::SYS_fchmod,
        libc::SYS_fchmodat,
        libc::SYS_fchownat,
        libc::SYS_truncate,
        libc::SYS_mknodat,
        libc::SYS_setuid,
        libc::SYS_setresuid,
        libc::SYS_capset,
        libc::SYS_reboot,
        libc::SYS_init_module,
        libc::SYS_syslog,
        libc::SYS_seccomp,
        libc::SYS_landlock_restrict_self,
        libc::SYS_accept4,
        libc::SYS_bind,
        libc::SYS_listen,
        libc::SYS_kcmp,
        libc::SYS_setrlimit,
        libc::SYS_sched_setaffinity,
        libc::SYS_setpriority,
        libc::SYS_setpgid,
        libc::SYS_personality,
        libc::SYS_process_madvise,
        // The x32 ABI has the same calls under other numbers.
        0x4000_0000 | libc::SYS_read,
    ] {
        refused(call, &[]);
    }
    // Their type differs between C libraries.
    let requests = [libc::TIOCSTI, libc::TIOCLINUX, libc::FIOASYNC].map(|request| request as u32);
    for request in requests {
        refused(libc::SYS_ioctl, &[2, request.into()]);
    }
    refused(libc::SYS_fcntl, &[0, libc::F_SETOWN as u64, 1]);
    refused(libc::SYS_fcntl, &[0, 10, libc::SIGKILL as u64]);
    refused(libc::SYS_clone, &[libc::SIGCHLD as u64]);
    refused(libc::SYS_clone, &[libc::CLONE_NEWUSER as u64]);
    let with_network = libc::CLONE_THREAD | libc::CLONE_NEWNET;
    refused(libc::SYS_clone, &[with_network as u64]);
    refused(libc::SYS_tgkill, &[1, 1, libc::SIGKILL as u64]);
    refused(libc::SYS_prctl, &[libc::PR_SET_DUMPABLE as u64, 1]);
    refused(libc::SYS_prctl, &[libc::PR_SET_PDEATHSIG as u64, 0]);
    refused(libc::SYS_prlimit64, &[1, 0]);
    refused(libc::SYS_utimensat, &[0, 0x7fff_0000_0000]);
    refused(libc::SYS_sendto, &[3, 0, 0, libc::MSG_FASTOPEN as u64]);
    refused(libc::SYS_sendmsg, &[3, 0, libc::MSG_FASTOPEN as u64]);
    refused(libc::SYS_sendmmsg, &[3, 0, 1, libc::MSG_FASTOPEN as u64]);
    // TLS and SMC in the kernel, network filters, devices, routes, and options of other sockets.
    for (level, option) in [
        (libc::IPPROTO_TCP, libc::TCP_ULP),
        (libc::IPPROTO_TCP, libc::TCP_CONGESTION),
        (libc::IPPROTO_TCP, libc::TCP_REPAIR),
        (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER),
        (libc::SOL_SOCKET, libc::SO_BINDTODEVICE),
        (libc::SOL_SOCKET, libc::TCP_NODELAY),
        (libc::IPPROTO_IP, libc::IP_OPTIONS),
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO),
    ] {
        refused(libc::SYS_setsockopt, &[3, level as u64, option as u64]);
    }
    for kind in [libc::SOCK_DGRAM, libc::SOCK_SEQPACKET] {
        let arguments = [libc::AF_UNIX, kind, 0].map(|number| number as u64);
        refused(libc::SYS_socketpair, &arguments);
    }
    for (family, kind, protocol) in [
        (libc::AF_UNIX, libc::SOCK_STREAM, 0),
        (libc::AF_NETLINK, libc::SOCK_RAW, 0),
        (libc::AF_VSOCK, libc::SOCK_STREAM, 0),
        (libc::AF_PACKET, libc::SOCK_RAW, 0),
        (libc::AF_ALG, libc::SOCK_SEQPACKET, 0),
        (libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_TCP),
        (libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP),
        (libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_SCTP),
        (libc::AF_INET6, libc::SOCK_DGRAM, libc::IPPROTO_ICMPV6),
    ] {
        let arguments = [family, kind, protocol].map(|number| number as u64);
        refused(libc::SYS_socket, &arguments);
    }
}

#[test]
fn listed_calls_are_checked_by_argument() {
    let allowed = |call, arguments: &[u64]| {
        for has_sockets in [true, false] {
            assert_eq!(errno(has_sockets, call, arguments), None, "{call}");
        }
    };
    let own = u64::from(std::process::id());
    allowed(libc::SYS_read, &[]);
    allowed(libc::SYS_tgkill, &[own, 1, libc::SIGABRT as u64]);
    allowed(libc::SYS_clone, &[libc::CLONE_THREAD as u64]);
    allowed(libc::SYS_fcntl, &[3, libc::F_DUPFD_CLOEXEC as u64]);
    allowed(libc::SYS_prlimit64, &[0, 7]);
    allowed(libc::SYS_sendto, &[0, 0, 0, libc::MSG_NOSIGNAL as u64]);
    allowed(libc::SYS_utimensat, &[3, 0]);
    allowed(libc::SYS_setsockopt, &[0, libc::SOL_SOCKET as u64, libc::SO_RCVTIMEO as u64]);
    // The C library then uses `clone`.
    for has_sockets in [true, false] {
        assert_eq!(errno(has_sockets, libc::SYS_clone3, &[]), Some(libc::ENOSYS as u32));
    }
    let tcp = [libc::AF_INET6, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0];
    let tcp = tcp.map(|number| number as u64);
    let refused = Some(libc::EPERM as u32);
    assert_eq!(errno(true, libc::SYS_socket, &tcp), None);
    assert_eq!(errno(false, libc::SYS_socket, &tcp), refused);
    assert_eq!(errno(true, libc::SYS_connect, &[]), None);
    assert_eq!(errno(false, libc::SYS_connect, &[]), refused);
    let no_delay = [3, libc::IPPROTO_TCP as u64, libc::TCP_NODELAY as u64];
    assert_eq!(errno(true, libc::SYS_setsockopt, &no_delay), None);
    assert_eq!(errno(false, libc::SYS_setsockopt, &no_delay), refused);
}
