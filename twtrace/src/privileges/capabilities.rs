//! Capabilities, and being root, which is more than they are: root's files are root's to write.

use anyhow::{Context as _, Result, bail};
use rustix::{
    io::Errno,
    process::{Gid, Uid, getegid, geteuid, getgid, getuid},
    thread::{
        CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
        remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities,
        set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    },
};

use super::{Keep, Left};

/// Whoever has nothing: `nobody` and `nogroup`, or the kernel's own overflow ids.
const NOBODY: u32 = 65_534;

/// The least of what may be kept that is there and is enough.
pub(super) fn least(keep: Keep<'_>) -> Result<CapabilitySet> {
    let own = capabilities(None).context("cannot read the own capabilities")?;
    let (set_of_them, is_enough) = match keep {
        Keep::Always(these) => return Ok(these & own.permitted),
        Keep::IfNeeded(these, is_enough) => (these & own.permitted, is_enough),
    };
    let enough_with = |effective| {
        set(CapabilitySets { effective, ..own })?;
        Ok::<_, anyhow::Error>(is_enough())
    };
    let least = match enough_with(CapabilitySet::empty())? {
        true => CapabilitySet::empty(),
        false if enough_with(set_of_them)? => set_of_them,
        false => bail!(
            "before Linux 5.19 BPF maps are read with CAP_BPF: give CAP_BPF, or use --privileges keep"
        ),
    };
    // Giving up the others takes some of them.
    set(own)?;
    Ok(least)
}

/// Leaves these, in the permitted and in the effective set alone.
pub(super) fn keep_only(kept: CapabilitySet) -> Result<Left> {
    clear_bounding_set()?;
    let is_root = !leave_root()?;
    let nothing = CapabilitySet::empty();
    set(CapabilitySets { effective: kept, permitted: kept, inheritable: nothing })?;
    match clear_ambient_capability_set() {
        // Before Linux 4.3 there is none.
        Ok(()) | Err(Errno::INVAL) => Ok(Left { capabilities: kept, is_root }),
        Err(errno) => Err(errno).context("cannot clear the ambient capabilities"),
    }
}

fn set(sets: CapabilitySets) -> Result<()> {
    set_capabilities(None, sets).context("cannot give up capabilities")
}

/// What could come back by executing a file. Without `CAP_SETPCAP` it stays, and does nothing:
/// nothing can be executed, and nothing would be gained by it.
fn clear_bounding_set() -> Result<()> {
    for number in 0..u64::BITS {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            // This kernel has no more of them.
            Err(Errno::INVAL) => break,
            Ok(()) | Err(Errno::PERM) => {}
            Err(errno) => return Err(errno).context("cannot clear the bounding set"),
        }
    }
    Ok(())
}

/// Becomes nobody if this is root; returns whether it is nobody who is root any more.
fn leave_root() -> Result<bool> {
    let is_root = getuid().is_root() || geteuid().is_root();
    let is_roots_group = getgid().is_root() || getegid().is_root();
    if !is_root && !is_roots_group {
        return Ok(true);
    }
    // Otherwise what shall be left would go with root.
    set_keep_capabilities(true).context("cannot keep capabilities")?;
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    let left = set_thread_groups(&[])
        .and_then(|()| set_thread_res_gid(gid, gid, gid))
        .and_then(|()| if is_root { set_thread_res_uid(uid, uid, uid) } else { Ok(()) });
    set_keep_capabilities(false).context("cannot keep capabilities")?;
    match left {
        Ok(()) => Ok(true),
        // Without CAP_SETUID and CAP_SETGID, or in a user namespace that has no such id.
        Err(Errno::PERM | Errno::INVAL) => Ok(!is_root),
        Err(errno) => Err(errno).context("cannot become nobody"),
    }
}
