//! What a process that runs for months gives up once it has attached: capabilities, root, new
//! privileges, and the system calls that it does not make.
//!
//! Capabilities belong to threads, and no call takes them from other threads: so this happens
//! while there is one thread, and those that it starts later have no more than it has.

mod capabilities;
mod syscalls;

use std::fs;

use anyhow::{Context as _, Result, ensure};
use rustix::thread::CapabilitySet;

pub use self::syscalls::Purpose;

/// What becomes of the rights of a process once it has attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privileges {
    /// It keeps what it was started with.
    Keep,
    /// It gives them up, and a helper has those that are still needed.
    Helper,
    /// It gives them up, and what needs them later is unknown.
    Drop,
}

impl Privileges {
    /// With a helper, if that would have anything that this process may not do without rights.
    pub fn least() -> Self {
        if has_any_for_helper() { Self::Helper } else { Self::Drop }
    }
}

/// What is left of the rights after [`give_up`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Capabilities.
    pub capabilities: CapabilitySet,
    /// Whether this process is root's even so, since it may not become anybody else's.
    pub is_root: bool,
}

/// What entering other network namespaces takes, and looking at other users' processes: `setns`,
/// `/proc/PID/ns` and `/proc/PID/fd`, and the directory that the latter is.
const OF_THE_HELPER: CapabilitySet =
    CapabilitySet::SYS_ADMIN.union(CapabilitySet::SYS_PTRACE).union(CapabilitySet::DAC_READ_SEARCH);

/// What of the capabilities is kept, as far as it is there.
#[derive(Clone, Copy)]
pub enum Keep<'a> {
    /// These.
    Always(CapabilitySet),
    /// These, if what is done here does not succeed without any.
    IfNeeded(CapabilitySet, &'a dyn Fn() -> bool),
}

/// Whether there is anything that a helper would be of use with.
fn has_any_for_helper() -> bool {
    rustix::thread::capabilities(None).is_ok_and(|own| {
        own.effective.intersects(CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_PTRACE)
    })
}

/// Gives up, for good and in all threads to come: every capability but those to `keep`, being
/// root, new privileges, and system calls that `purpose` does not need.
///
/// # Errors
/// Another thread runs already, which would keep what this one gives up; what is to be kept is not
/// enough; or the kernel has no seccomp.
pub fn give_up(keep: Keep<'_>, purpose: Purpose) -> Result<Left> {
    learn_for_good();
    ensure!(is_alone()?, "rights cannot be given up while other threads have them");
    let left = capabilities::keep_only(capabilities::least(keep)?)?;
    rustix::thread::set_no_new_privs(true).context("cannot set no_new_privs")?;
    syscalls::restrict(purpose)?;
    Ok(left)
}

/// What a helper gives up at its start; see [`give_up`].
///
/// # Errors
/// As there.
pub fn become_helper() -> Result<Left> {
    let own = rustix::thread::capabilities(None).context("cannot read the own capabilities")?;
    let mut kept = OF_THE_HELPER;
    if !own.permitted.contains(CapabilitySet::DAC_READ_SEARCH) {
        // It stands for that, in many containers; nothing can be opened for writing.
        kept |= CapabilitySet::DAC_OVERRIDE;
    }
    give_up(Keep::Always(kept), Purpose::Help)
}

/// What the kernel told this process at its start is asked for once and kept: later /proc/self/auxv
/// is root's, since a process that was root is nobody's to look into.
fn learn_for_good() {
    let _ = (rustix::param::page_size(), rustix::param::clock_ticks_per_second());
}

fn is_alone() -> Result<bool> {
    let threads = fs::read_dir("/proc/self/task").context("cannot read /proc/self/task")?;
    Ok(threads.count() == 1)
}
