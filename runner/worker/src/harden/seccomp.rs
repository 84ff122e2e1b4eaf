//! seccomp: restricts a process to listed system calls. All others fail with `EPERM`, after which libraries try another way.

use std::{collections::BTreeMap, env, process};

use nix::libc;
use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// Restricts this thread and the threads that it starts.
///
/// # Errors
///
/// A kernel without seccomp, or an unknown processor.
pub fn restrict(has_sockets: bool) -> Result<(), Error> {
    for program in programs(has_sockets)? {
        seccompiler::apply_filter(&program)?;
    }
    Ok(())
}

/// Returns the filters. The kernel runs both, and the stricter answer counts.
pub fn programs(has_sockets: bool) -> Result<[BpfProgram; 2], BackendError> {
    // Flags of `clone3` are in memory that a filter cannot read. Without it the C library uses `clone`.
    let absent = SeccompFilter::new(
        BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS as u32),
        TargetArch::try_from(env::consts::ARCH)?,
    )?;
    let allowed = SeccompFilter::new(
        allowed(has_sockets)?,
        SeccompAction::Errno(libc::EPERM as u32),
        SeccompAction::Allow,
        TargetArch::try_from(env::consts::ARCH)?,
    )?;
    Ok([absent.try_into()?, allowed.try_into()?])
}

type Calls = BTreeMap<i64, Vec<SeccompRule>>;

fn allowed(has_sockets: bool) -> Result<Calls, BackendError> {
    let mut calls: Calls =
        [CALLS, OLD_CALLS].concat().into_iter().map(|call| (call, Vec::new())).collect();
    for (call, argument, mask, values) in argument_rules() {
        let rules = values.iter().map(|value| rule([masked(argument, mask, *value)]));
        calls.insert(call, rules.collect::<Result<_, _>>()?);
    }
    // Only without a path: Landlock does not check changes of times.
    let is_open = SeccompCondition::new(1, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0);
    calls.insert(libc::SYS_utimensat, vec![rule([is_open])?]);
    let mut options = vec![OWN_SOCKET];
    if has_sockets {
        calls.insert(libc::SYS_connect, Vec::new());
        calls.insert(libc::SYS_socket, sockets()?);
        options.extend(CLIENT_SOCKETS);
    }
    let options: Result<_, _> = options
        .into_iter()
        .map(|(level, name)| rule([masked(1, ALL, level), masked(2, ALL, name)]))
        .collect();
    calls.insert(libc::SYS_setsockopt, options?);
    Ok(calls)
}

/// Level and name of the option that workers set on the socket to their coordinator: its timeout, for teardowns.
const OWN_SOCKET: (i32, i32) = (libc::SOL_SOCKET, libc::SO_RCVTIMEO);

/// Level and name of the options that the HTTP client and the C library's look-ups of names set. Not `TCP_ULP`, which
/// makes the kernel itself parse TLS or SMC.
const CLIENT_SOCKETS: [(i32, i32); 4] = [
    (libc::IPPROTO_TCP, libc::TCP_NODELAY),
    // Errors of name servers, in glibc.
    (libc::IPPROTO_IP, libc::IP_RECVERR),
    (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    // One socket for all name servers, in musl.
    (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
];

/// Allows plain TCP and UDP. Other protocols bypass Landlock, or reach the kernel or services of this machine.
fn sockets() -> Result<Vec<SeccompRule>, BackendError> {
    let mut sockets = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        for (kind, protocol) in [
            (libc::SOCK_STREAM, 0),
            (libc::SOCK_STREAM, libc::IPPROTO_TCP),
            (libc::SOCK_DGRAM, 0),
            (libc::SOCK_DGRAM, libc::IPPROTO_UDP),
        ] {
            sockets.push(rule([
                masked(0, ALL, family),
                // Without the higher bits, which are flags such as `SOCK_CLOEXEC`.
                masked(1, 0xf, kind),
                masked(2, ALL, protocol),
            ])?);
        }
    }
    Ok(sockets)
}

fn rule<const N: usize>(
    conditions: [Result<SeccompCondition, BackendError>; N],
) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(conditions.into_iter().collect::<Result<_, _>>()?)
}

/// Requires an argument to have this value in the bits of the mask.
fn masked(argument: u8, mask: i32, value: i32) -> Result<SeccompCondition, BackendError> {
    let operator = SeccompCmpOp::MaskedEq(u64::from(mask as u32));
    let value = u64::from(value as u32);
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

/// The mask of all bits.
const ALL: i32 = !0;

/// The flags of `clone` that create namespaces.
const NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// Returns calls with a checked argument: the call, the argument's index, its checked bits and their allowed values.
fn argument_rules() -> [(i64, u8, i32, Vec<i32>); 10] {
    [
        // Threads in the same namespaces, but no processes.
        (libc::SYS_clone, 0, libc::CLONE_THREAD | NAMESPACES, vec![libc::CLONE_THREAD]),
        // `abort` needs it. No signals to other processes.
        (libc::SYS_tgkill, 0, ALL, vec![process::id() as i32]),
        // Not `F_SETOWN`, which makes the kernel send signals to any process.
        (
            libc::SYS_fcntl,
            1,
            ALL,
            vec![
                libc::F_DUPFD,
                libc::F_DUPFD_CLOEXEC,
                libc::F_GETFD,
                libc::F_SETFD,
                libc::F_GETFL,
                libc::F_SETFL,
                libc::F_ADD_SEALS,
                libc::F_GET_SEALS,
            ],
        ),
        // `TCGETS` for `isatty`. Not `TIOCSTI`, which types into the terminal.
        (
            libc::SYS_ioctl,
            1,
            ALL,
            [libc::FIONBIO, libc::FIONREAD, libc::TCGETS].map(|request| request as i32).into(),
        ),
        // Names of threads and mappings. `harden` has set all else, which must not be undone.
        (libc::SYS_prctl, 0, ALL, vec![libc::PR_SET_NAME, libc::PR_SET_VMA]),
        // Pid 0 is this process. With another pid, the call changes limits of any process of the user.
        (libc::SYS_prlimit64, 0, ALL, vec![0]),
        // Not datagrams: they could be sent to any socket of the user that has a path.
        (libc::SYS_socketpair, 1, 0xf, vec![libc::SOCK_STREAM]),
        // Landlock does not check connections by TCP Fast Open.
        (libc::SYS_sendto, 3, libc::MSG_FASTOPEN, vec![0]),
        (libc::SYS_sendmsg, 2, libc::MSG_FASTOPEN, vec![0]),
        (libc::SYS_sendmmsg, 3, libc::MSG_FASTOPEN, vec![0]),
    ]
}

/// Calls that are allowed with all arguments. The test `wasi_calls_pass_the_wall` makes guests use them.
const CALLS: &[i64] = &[
    // Threads and memory. The other filter refuses `clone3`.
    libc::SYS_clone3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_membarrier,
    libc::SYS_memfd_create,
    // Facts about the system and this process, which no call here can change.
    libc::SYS_getrandom,
    libc::SYS_uname,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getrusage,
    libc::SYS_sysinfo,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    // Use of descriptors. Landlock and the rules above decide which ones the process can get.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_pipe2,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_ppoll,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    // Files, which Landlock restricts.
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_statfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_getcwd,
    libc::SYS_umask,
    // Sockets that are open, or that `SYS_socket` allows.
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
];

/// Calls with newer forms. Newer architectures lack them.
#[cfg(target_arch = "x86_64")]
const OLD_CALLS: &[i64] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_mkdir,
    libc::SYS_unlink,
    libc::SYS_rmdir,
    libc::SYS_rename,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_poll,
    libc::SYS_epoll_wait,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_CALLS: &[i64] = &[];
