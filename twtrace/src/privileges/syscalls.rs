//! The system calls that are allowed. Any other fails with EPERM, and the program goes on: at
//! three in the morning an unknown number is better than none at all.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, apply_filter_all_threads,
};

/// What a process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It reads what was attached, and answers on sockets that it listens on already.
    Serve,
    /// It opens for one who serves; see [`crate::host::Helper`].
    Help,
}

/// The rules by the number of a system call; it is allowed if one of them holds, or if there are
/// none.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// What the C library, the allocator and threads need, whatever they do.
const OF_ALL: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_ppoll,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    // What is open: read, ask, write.
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_statx,
    libc::SYS_write,
    libc::SYS_writev,
];

/// What else one who serves needs: connections that come in, timers, its own limits and times, and
/// the exit status of its helper.
const OF_SERVING: &[c_long] = &[
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_faccessat,
    libc::SYS_getcwd,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpeername,
    libc::SYS_getrusage,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_getuid,
    libc::SYS_pipe2,
    libc::SYS_pread64,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_socketpair,
    libc::SYS_statfs,
    libc::SYS_sysinfo,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_uname,
    libc::SYS_wait4,
];

/// Older names of the same, which this architecture still has.
#[cfg(target_arch = "x86_64")]
const OLD: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_epoll_wait,
    libc::SYS_pause,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_stat,
    libc::SYS_lstat,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[c_long] = &[];

/// What may be done with BPF afterwards: look up, go on to the next key, and ask about a program.
/// <https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/bpf.h#L908-L948>
const BPF_COMMANDS: [u32; 3] = [1, 4, 15];

/// What makes the kernel measure programs.
const BPF_ENABLE_STATS: u32 = 32;

/// Turns off what a perf event samples, when all is over; whether a descriptor blocks; and how wide
/// the terminal is.
const IOCTLS: [u32; 4] =
    [0x2401, libc::FIONBIO as u32, libc::TCGETS as u32, libc::TIOCGWINSZ as u32];

const FCNTLS: [u32; 5] = [
    libc::F_GETFD as u32,
    libc::F_SETFD as u32,
    libc::F_GETFL as u32,
    libc::F_SETFL as u32,
    libc::F_DUPFD_CLOEXEC as u32,
];

/// A thread, and no process; and it stays in the namespaces of the others.
const THREAD: u32 = (libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND) as u32;
const NEW: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP) as u32;

/// A file is opened for reading, and is there already.
const NOT_TO_READ: u32 = (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | libc::O_APPEND) as u32;

/// `NETLINK_SOCK_DIAG`.
const SOCK_DIAG: u32 = 4;

/// From now on, in all threads.
pub(super) fn restrict(purpose: Purpose) -> Result<()> {
    // Its arguments are in memory, where a filter does not look: the C library knows what to do
    // where there is no such call. This one first: the next lets none be added.
    let no_such_call = Rules::from([(libc::SYS_clone3, Vec::new())]);
    apply(no_such_call, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))?;
    apply(allowed(purpose)?, SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow)
}

fn apply(rules: Rules, otherwise: SeccompAction, if_so: SeccompAction) -> Result<()> {
    let architecture = std::env::consts::ARCH.try_into().context("no seccomp here")?;
    let filter = SeccompFilter::new(rules, otherwise, if_so, architecture)?;
    let program = BpfProgram::try_from(filter)?;
    apply_filter_all_threads(&program).context(
        "cannot restrict system calls, which takes CONFIG_SECCOMP_FILTER; --privileges keep goes \
         without",
    )
}

fn allowed(purpose: Purpose) -> Result<Rules> {
    let mut rules = Rules::new();
    rules.extend(OF_ALL.iter().chain(OLD).map(|call| (*call, Vec::new())));
    // Answered by the other filter.
    rules.insert(libc::SYS_clone3, Vec::new());
    rules.insert(libc::SYS_clone, vec![both(bits(0, THREAD, THREAD)?, bits(0, NEW, 0)?)?]);
    rules.insert(libc::SYS_fcntl, one_of(1, &FCNTLS)?);
    // What can be executed is there already.
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![rule(bits(2, libc::PROT_EXEC as u32, 0)?)?]);
    }
    rules.insert(libc::SYS_openat, vec![rule(bits(2, NOT_TO_READ, 0)?)?]);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, vec![rule(bits(1, NOT_TO_READ, 0)?)?]);
    // The names of threads, and of memory.
    rules.insert(libc::SYS_prctl, one_of(0, &[libc::PR_SET_NAME as u32, libc::PR_SET_VMA as u32])?);
    let sock_diag = both(is(0, libc::AF_NETLINK as u32)?, is(2, SOCK_DIAG)?)?;
    rules.insert(libc::SYS_socket, vec![sock_diag]);
    match purpose {
        Purpose::Serve => {
            rules.extend(OF_SERVING.iter().map(|call| (*call, Vec::new())));
            rules.insert(libc::SYS_bpf, one_of(0, &BPF_COMMANDS)?);
            rules.insert(libc::SYS_ioctl, one_of(1, &IOCTLS)?);
            // To abort is to signal oneself.
            rules.insert(libc::SYS_tgkill, vec![rule(is(0, std::process::id())?)?]);
            // It asks for limits, and sets none.
            rules.insert(libc::SYS_prlimit64, vec![rule(is(2, 0)?)?]);
        }
        Purpose::Help => {
            rules.insert(libc::SYS_bpf, vec![rule(is(0, BPF_ENABLE_STATS)?)?]);
            rules.insert(libc::SYS_setns, vec![rule(is(1, libc::CLONE_NEWNET as u32)?)?]);
        }
    }
    Ok(rules)
}

fn rule(condition: SeccompCondition) -> Result<SeccompRule> {
    Ok(SeccompRule::new(vec![condition])?)
}

fn both(one: SeccompCondition, other: SeccompCondition) -> Result<SeccompRule> {
    Ok(SeccompRule::new(vec![one, other])?)
}

fn one_of(argument: u8, values: &[u32]) -> Result<Vec<SeccompRule>> {
    values.iter().map(|value| rule(is(argument, *value)?)).collect()
}

fn is(argument: u8, value: u32) -> Result<SeccompCondition> {
    Ok(SeccompCondition::new(argument, Dword, SeccompCmpOp::Eq, value.into())?)
}

/// That of these bits of an argument exactly those of `value` are set.
fn bits(argument: u8, mask: u32, value: u32) -> Result<SeccompCondition> {
    let operator = SeccompCmpOp::MaskedEq(mask.into());
    Ok(SeccompCondition::new(argument, Dword, operator, value.into())?)
}
