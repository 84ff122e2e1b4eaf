//! seccomp: the system calls that are left to a process. All others answer `EPERM`, because libraries then find other ways.

use std::{collections::BTreeMap, env, process};

use nix::libc;
use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// Restricts this thread and all that it starts.
///
/// # Errors
///
/// A kernel without seccomp, or a processor without a list.
pub fn restrict(has_sockets: bool) -> Result<(), Error> {
    for program in programs(has_sockets)? {
        seccompiler::apply_filter(&program)?;
    }
    Ok(())
}

/// The filters, of which the stricter answer counts.
pub fn programs(has_sockets: bool) -> Result<[BpfProgram; 2], BackendError> {
    let processor = || TargetArch::try_from(env::consts::ARCH);
    let errno = |number: i32| SeccompAction::Errno(number as u32);
    // The C library falls back to `clone`, whose flags a filter can see.
    let absent = SeccompFilter::new(
        BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
        SeccompAction::Allow,
        errno(libc::ENOSYS),
        processor()?,
    )?;
    let allowed = SeccompFilter::new(
        allowed(has_sockets)?,
        errno(libc::EPERM),
        SeccompAction::Allow,
        processor()?,
    )?;
    Ok([absent.try_into()?, allowed.try_into()?])
}

type Calls = BTreeMap<i64, Vec<SeccompRule>>;

fn allowed(has_sockets: bool) -> Result<Calls, BackendError> {
    let mut calls: Calls =
        [CALLS, OLD_CALLS].concat().into_iter().map(|call| (call, Vec::new())).collect();
    for (call, argument, mask, values) in looked_at() {
        let rules = values.iter().map(|value| rule([masked(argument, mask, *value)]));
        calls.insert(call, rules.collect::<Result<_, _>>()?);
    }
    // Times of what is open: Landlock does not look at those of what is named.
    let is_open = SeccompCondition::new(1, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0);
    calls.insert(libc::SYS_utimensat, vec![rule([is_open])?]);
    if has_sockets {
        calls.insert(libc::SYS_connect, Vec::new());
        calls.insert(libc::SYS_socket, sockets()?);
    }
    Ok(calls)
}

/// Plain TCP and UDP. The other protocols get around Landlock, or reach into the kernel or to this machine's services.
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
                // Beside the kind are flags.
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

/// An argument must have this value in the bits of the mask.
fn masked(argument: u8, mask: i32, value: i32) -> Result<SeccompCondition, BackendError> {
    let operator = SeccompCmpOp::MaskedEq(u64::from(mask as u32));
    let value = u64::from(value as u32);
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

/// The mask of all bits.
const ALL: i32 = !0;

/// Flags of `clone` for all namespaces that it can make.
#[rustfmt::skip]
const NAMESPACES: i32 = libc::CLONE_NEWNS | libc::CLONE_NEWCGROUP | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER | libc::CLONE_NEWPID | libc::CLONE_NEWNET;

/// Calls of which one argument is looked at: which, which of its bits, and what these may be.
#[rustfmt::skip]
fn looked_at() -> [(i64, u8, i32, Vec<i32>); 10] {
    [
        // Threads in their process's namespaces, and no processes.
        (libc::SYS_clone, 0, libc::CLONE_THREAD | NAMESPACES, vec![libc::CLONE_THREAD]),
        // `abort`, and no signals to others.
        (libc::SYS_tgkill, 0, ALL, vec![process::id() as i32]),
        // Not whom a descriptor's signals go to.
        (libc::SYS_fcntl, 1, ALL, vec![
            libc::F_DUPFD, libc::F_DUPFD_CLOEXEC, libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL,
            libc::F_ADD_SEALS, libc::F_GET_SEALS,
        ]),
        // Nothing of terminals but whether something is one.
        (libc::SYS_ioctl, 1, ALL, [libc::FIONBIO, libc::FIONREAD, libc::TCGETS].map(|request| request as i32).into()),
        // Names of threads and mappings. That it may not be dumped and dies with its parent is settled.
        (libc::SYS_prctl, 0, ALL, vec![libc::PR_SET_NAME, libc::PR_SET_VMA]),
        // Limits of its own only.
        (libc::SYS_prlimit64, 0, ALL, vec![0]),
        // From one for datagrams they could be sent to any socket of the user's that has a path.
        (libc::SYS_socketpair, 1, 0xf, vec![libc::SOCK_STREAM]),
        // No connection that Landlock is not asked about.
        (libc::SYS_sendto, 3, libc::MSG_FASTOPEN, vec![0]),
        (libc::SYS_sendmsg, 2, libc::MSG_FASTOPEN, vec![0]),
        (libc::SYS_sendmmsg, 3, libc::MSG_FASTOPEN, vec![0]),
    ]
}

/// Calls whose arguments are not looked at. `wasi_calls_pass_the_wall` makes guests use them.
#[rustfmt::skip]
const CALLS: &[i64] = &[
    // Threads and memory; `clone3` is absent by the other filter.
    libc::SYS_clone3, libc::SYS_exit, libc::SYS_exit_group, libc::SYS_set_robust_list, libc::SYS_rseq, libc::SYS_futex,
    libc::SYS_sched_yield, libc::SYS_sched_getaffinity, libc::SYS_gettid, libc::SYS_getpid, libc::SYS_getppid,
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_sigaltstack,
    libc::SYS_restart_syscall, libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mprotect, libc::SYS_mremap, libc::SYS_madvise,
    libc::SYS_brk, libc::SYS_membarrier, libc::SYS_memfd_create,
    // What the system tells of itself.
    libc::SYS_getrandom, libc::SYS_uname, libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid,
    libc::SYS_getrusage, libc::SYS_sysinfo, libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep, libc::SYS_gettimeofday,
    // Descriptors.
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64, libc::SYS_pwrite64,
    libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_preadv2, libc::SYS_pwritev2, libc::SYS_lseek, libc::SYS_close,
    libc::SYS_dup, libc::SYS_pipe2, libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_ftruncate, libc::SYS_fallocate,
    libc::SYS_fadvise64, libc::SYS_copy_file_range, libc::SYS_sendfile, libc::SYS_ppoll, libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_eventfd2, libc::SYS_timerfd_create, libc::SYS_timerfd_settime,
    // Files: Landlock says which.
    libc::SYS_openat, libc::SYS_openat2, libc::SYS_fstat, libc::SYS_newfstatat, libc::SYS_statx, libc::SYS_fstatfs,
    libc::SYS_statfs, libc::SYS_faccessat, libc::SYS_faccessat2, libc::SYS_readlinkat, libc::SYS_getdents64,
    libc::SYS_mkdirat, libc::SYS_unlinkat, libc::SYS_renameat, libc::SYS_renameat2, libc::SYS_linkat, libc::SYS_symlinkat,
    libc::SYS_getcwd, libc::SYS_umask,
    // Sockets that are there, or that can be made.
    libc::SYS_recvfrom, libc::SYS_recvmsg, libc::SYS_recvmmsg, libc::SYS_shutdown,
    libc::SYS_getsockopt, libc::SYS_setsockopt, libc::SYS_getsockname, libc::SYS_getpeername,
];

/// Calls with newer forms, which newer architectures do not have.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const OLD_CALLS: &[i64] = &[
    libc::SYS_open, libc::SYS_stat, libc::SYS_lstat, libc::SYS_access, libc::SYS_readlink, libc::SYS_mkdir,
    libc::SYS_unlink, libc::SYS_rmdir, libc::SYS_rename, libc::SYS_link, libc::SYS_symlink, libc::SYS_poll,
    libc::SYS_epoll_wait,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_CALLS: &[i64] = &[];
