//! What belongs to the processor that runs.

use aya_ebpf::{helpers::generated, maps::PerCpuArray};

/// This processor's own element of `map`, which has one.
///
/// # Safety
/// Who holds it is not interrupted by another of its users, or bears that their
/// stores mix.
#[inline(always)]
#[expect(clippy::mut_from_ref, reason = "the map's memory is the kernel's")]
pub(crate) unsafe fn own<T>(map: &'static PerCpuArray<T>) -> Option<&'static mut T> {
    // SAFETY: the element lives as long as the map, and the program cannot migrate;
    // the rest by the caller's promise.
    map.get_ptr_mut(0).map(|element| unsafe { &mut *element })
}

/// The clock of short times: cheaper than the one of records.
#[inline(always)]
pub(crate) fn jiffies() -> u64 {
    // SAFETY: the helper takes no argument that could be wrong.
    unsafe { generated::bpf_jiffies64() }
}
