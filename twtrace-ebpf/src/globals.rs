//! What user space decides before loading. The kernel freezes these, so the
//! verifier folds them and prunes the branches they rule out.

use aya_ebpf::Global;
use twtrace_common::Offsets;

/// Where this kernel keeps its fields; see [`crate::sock`].
#[unsafe(no_mangle)]
static OFFSETS: Offsets = Offsets::UNRESOLVED;

/// Trace only the network namespace with this inode; 0 traces all.
#[unsafe(no_mangle)]
static NETNS_FILTER: Global<u32> = Global::new(0);

/// Wake the reader when a per-CPU counter reaches a multiple of this mask plus
/// one; between these the reader wakes by its own clock. See
/// `docs/decisions/0002-cost-of-a-transition.md`.
#[unsafe(no_mangle)]
static WAKE_MASK: Global<u64> = Global::new(0);

/// Reads one field of [`OFFSETS`] alone, so that it reaches the verifier as a
/// constant in a register and not as a copy of the struct on the stack.
macro_rules! offset {
    ($field:ident) => {
        $crate::globals::load_offset(|offsets| &offsets.$field)
    };
}
pub(crate) use offset;

#[inline(always)]
pub(crate) fn load_offset(field: impl FnOnce(&Offsets) -> &u64) -> u64 {
    // SAFETY: a reference is valid for reads; volatile keeps the compiler from
    // folding the zeros it sees here.
    unsafe { core::ptr::read_volatile(field(&OFFSETS)) }
}

#[inline(always)]
pub(crate) fn netns_filter() -> u32 {
    NETNS_FILTER.load()
}

#[inline(always)]
pub(crate) fn wake_mask() -> u64 {
    WAKE_MASK.load()
}
