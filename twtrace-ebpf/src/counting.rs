//! Totals by network namespace, which hold whether or not a record finds room.

use core::arch::asm;

use aya_ebpf::bindings::BPF_NOEXIST;
use twtrace_common::{Change, Counters, OTHER_SLOT, Search, TcpState, pair_index, substate_index};

use crate::maps::{COUNTERS, FREE_SLOTS, RECENT, SLOTS};

/// The totals of one namespace on this CPU.
pub(crate) struct Counting(&'static mut Counters);

impl Counting {
    /// This CPU's counters of a namespace, or those of all namespaces that
    /// found no slot.
    #[inline(always)]
    pub(crate) fn of(netns: u32) -> Option<Self> {
        Self::at(counters(netns)?)
    }

    /// This CPU's counters in a slot that is known.
    #[inline(always)]
    pub(crate) fn of_slot(slot: u32) -> Option<Self> {
        Self::at(COUNTERS.get_ptr_mut(slot)?)
    }

    #[inline(always)]
    #[expect(clippy::unnecessary_wraps, reason = "its callers return it")]
    fn at(counters: *mut Counters) -> Option<Self> {
        // SAFETY: the element is this CPU's own and lives as long as the map; the
        // program cannot migrate. The same program does not interrupt itself: the
        // kernel's recursion guard keeps it out and counts it as missed; on kernels
        // that have none (5.10) it runs, and may cost a count, but nothing out of
        // bounds. Others may, so what several count is incremented atomically.
        Some(Self(unsafe { &mut *counters }))
    }

    /// Counts a transition.
    ///
    /// Indexing with `get`: a bounds check that panics would survive as a call
    /// that the verifier refuses.
    #[inline(always)]
    pub(crate) fn transition(&mut self, change: &Change) {
        if let Some(outcome) = change.outcome() {
            increment(self.0.outcomes.get_mut(unproven(outcome as usize)));
        }
        if let Some(search) = change.search() {
            self.search(search);
        }
        increment(self.0.pairs.get_mut(unproven(pair_index(change.old, change.new))));
    }

    #[inline(always)]
    pub(crate) fn birth(&mut self, substate: TcpState) {
        increment_shared(self.0.births.get_mut(unproven(substate_index(substate))));
    }

    /// An end, by the number of its [`twtrace_common::End`].
    #[inline(always)]
    pub(crate) fn end(&mut self, end: u8, substate: TcpState) {
        increment_shared(self.0.ends.get_mut(unproven(usize::from(end))));
        if matches!(substate, TcpState::FinWait2) {
            increment_shared(Some(&mut self.0.ends_in_fin_wait2));
        }
    }

    #[inline(always)]
    pub(crate) fn step(&mut self) {
        increment_shared(Some(&mut self.0.steps));
    }

    #[inline(always)]
    pub(crate) fn rearmed(&mut self) {
        increment_shared(Some(&mut self.0.rearmed));
    }

    #[inline(always)]
    pub(crate) fn refused(&mut self) {
        increment_shared(Some(&mut self.0.refused));
    }

    #[inline(always)]
    pub(crate) fn search(&mut self, search: Search) {
        increment_shared(self.0.searches.get_mut(unproven(search as usize)));
    }

    /// A search whose function was probed.
    #[inline(always)]
    pub(crate) fn probed_search(&mut self, search: Search, failed: bool) {
        increment_shared(self.0.probed_searches.get_mut(unproven(search as usize)));
        if failed {
            increment_shared(self.0.failed_searches.get_mut(unproven(search as usize)));
        }
    }

    #[inline(always)]
    pub(crate) fn ring_full(&mut self) {
        increment_shared(Some(&mut self.0.ring_full));
    }
}

/// Of what one program counts, which does not interrupt itself and runs so often that
/// an atomic increment would show.
#[inline(always)]
fn increment(count: Option<&mut u64>) {
    if let Some(count) = count {
        *count += 1;
    }
}

/// Of what several programs count, of which one may interrupt another, and of what a
/// program counts that may be preempted, or be interrupted by itself where the kernel
/// has no guard (5.10).
#[inline(always)]
fn increment_shared(count: Option<&mut u64>) {
    if let Some(count) = count {
        // SAFETY: one instruction on a valid, aligned number; Rust's atomics are not
        // made for this target.
        unsafe {
            asm!(
                "lock *(u64 *)({count} + 0) += {one}",
                count = in(reg) core::ptr::from_mut(count),
                one = in(reg) 1u64,
                options(nostack, preserves_flags),
            );
        }
    }
}

/// An index that the compiler knows nothing about, so that it keeps the bounds
/// check: it knows the ranges of our enums, the verifier does not.
#[inline(always)]
fn unproven(mut index: usize) -> usize {
    // SAFETY: moves a register onto itself. An empty template would leave two
    // source lines at one instruction, which the kernel refuses.
    unsafe {
        asm!("{0} = {0}", inout(reg) index, options(pure, nomem, nostack, preserves_flags));
    }
    index
}

#[inline(always)]
fn counters(netns: u32) -> Option<*mut Counters> {
    let recent = RECENT.get_ptr_mut(0)?;
    // SAFETY: this CPU's own element; see `Counting::of`.
    let recent = unsafe { &mut *recent };
    // SAFETY: a field of it. One whole load: whatever runs in between may change it.
    let place = unsafe { core::ptr::read_volatile(&raw const recent.place) };
    if (place >> 32) as u32 == netns {
        return COUNTERS.get_ptr_mut(place as u32);
    }
    let slot = slot(netns);
    recent.place = u64::from(netns) << 32 | u64::from(slot);
    COUNTERS.get_ptr_mut(slot)
}

/// The slot of a namespace; a new one takes a free slot.
#[inline(always)]
fn slot(netns: u32) -> u32 {
    if let Some(slot) = known_slot(netns) {
        return slot;
    }
    let Ok(Some(free)) = FREE_SLOTS.pop() else {
        return OTHER_SLOT;
    };
    if SLOTS.insert(netns, free, u64::from(BPF_NOEXIST)).is_ok() {
        return free;
    }
    // Another CPU was faster, or the table is full.
    let _ = FREE_SLOTS.push(free, 0);
    known_slot(netns).unwrap_or(OTHER_SLOT)
}

#[inline(always)]
fn known_slot(netns: u32) -> Option<u32> {
    // SAFETY: nothing deletes entries, so what the pointer names stays.
    SLOTS.get_ptr(netns).map(|slot| unsafe { *slot })
}
