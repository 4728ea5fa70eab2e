//! Counting a transition and writing its record.

use core::arch::asm;

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated};
use twtrace_common::{
    Change, Counters, OTHER_SLOT, ProcessKey, RecordKind, TransitionRecord, pair_index,
    transition_flags,
};

use crate::{
    globals,
    maps::{COUNTERS, FREE_SLOTS, RECENT, RECORDS, SLOTS},
    sock::Addresses,
};

const BPF_RB_NO_WAKEUP: u64 = 1;
const BPF_RB_FORCE_WAKEUP: u64 = 2;

/// A transition, with everything that is written about it.
pub(crate) struct Seen {
    pub(crate) change: Change,
    pub(crate) sk: u64,
    pub(crate) netns: u32,
    pub(crate) rport: u16,
    pub(crate) addresses: Addresses,
    pub(crate) has_owner: bool,
    /// All zero if it has none: the payload of an `Option` would stay unwritten,
    /// and Linux 5.10 refuses to read stack that was never written.
    pub(crate) owner: ProcessKey,
}

/// Counts `seen`, then writes its record, if it has one and the ring has room.
#[inline(always)]
pub(crate) fn transition(seen: &Seen) {
    let Some(counters) = counters(seen.netns) else {
        return;
    };
    // SAFETY: the element is this CPU's own and lives as long as the map; the
    // program cannot migrate. What interrupts it on this CPU is kept out by the
    // kernel's recursion guard and counted as missed; on kernels that have none
    // (5.10) it runs, and may cost a count, but nothing out of bounds.
    let counters = unsafe { &mut *counters };
    let wakeup = count(counters, &seen.change);
    if !seen.change.has_record() {
        return;
    }
    match RECORDS.reserve::<TransitionRecord>(0) {
        Some(mut entry) => {
            write(entry.as_mut_ptr(), seen);
            entry.submit(wakeup);
        }
        None => counters.ring_full += 1,
    }
}

/// Counts a transition; returns whether its record wakes the reader.
///
/// Indexing with `get`: a bounds check that panics would survive as a call
/// that the verifier refuses.
#[inline(always)]
fn count(counters: &mut Counters, change: &Change) -> u64 {
    if let Some(outcome) = change.outcome()
        && let Some(count) = counters.outcomes.get_mut(unproven(outcome as usize))
    {
        *count += 1;
    }
    match counters.pairs.get_mut(unproven(pair_index(change.old, change.new))) {
        Some(pair) => {
            *pair += 1;
            if *pair & globals::wake_mask() == 0 { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP }
        }
        None => BPF_RB_NO_WAKEUP,
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

/// This CPU's counters of a namespace, or those of all namespaces that found
/// no slot.
#[inline(always)]
fn counters(netns: u32) -> Option<*mut Counters> {
    let recent = RECENT.get_ptr_mut(0)?;
    // SAFETY: this CPU's own element; see `transition`.
    let recent = unsafe { &mut *recent };
    let place = recent.place;
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

#[inline(always)]
fn write(record: *mut TransitionRecord, seen: &Seen) {
    let change = &seen.change;
    let mut flags = 0;
    if change.process_context {
        flags |= transition_flags::PROCESS_CONTEXT;
    }
    if change.fields_known {
        flags |= transition_flags::FIELDS_KNOWN;
    }
    if seen.has_owner {
        flags |= transition_flags::OWNER;
    }
    // SAFETY: the ring handed out room for one record, aligned to 8 bytes. Field
    // by field, so that the record is built in place and not on the stack.
    unsafe {
        (&raw mut (*record).kind).write(RecordKind::Transition as u8);
        (&raw mut (*record).old_state).write(change.old as u8);
        (&raw mut (*record).new_state).write(change.new as u8);
        (&raw mut (*record).flags).write(flags);
        (&raw mut (*record).netns).write(seen.netns);
        (&raw mut (*record).time_ns).write(generated::bpf_ktime_get_ns());
        (&raw mut (*record).sk).write(seen.sk);
        (&raw mut (*record).start_time_ns).write(seen.owner.start_time_ns);
        (&raw mut (*record).tgid).write(seen.owner.tgid);
        (&raw mut (*record).lport).write(change.lport);
        (&raw mut (*record).rport).write(seen.rport);
        (&raw mut (*record).error).write(change.error);
        (&raw mut (*record).shutdown).write(change.shutdown);
        (&raw mut (*record).padding).write([0; 5]);
        (&raw mut (*record).laddr).cast::<[u64; 2]>().write(seen.addresses.local);
        (&raw mut (*record).raddr).cast::<[u64; 2]>().write(seen.addresses.remote);
    }
}
