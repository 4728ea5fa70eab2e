//! Counting what was seen and writing its record.

use aya_ebpf::{helpers::generated, maps::ring_buf::RingBufEntry};
use twtrace_common::{
    Change, ConnectRecord, OTHER_SLOT, ProcessKey, RecordKind, SampleRecord, Search, SearchRecord,
    TimeWaitRecord, TransitionRecord, transition_flags,
};

use crate::{counting::Counting, maps::RECORDS, memory, mini, sock::Addresses, wanted};

/// The reader looks by its own clock. To wake it is to raise an interrupt on this
/// CPU, after which softirqs run while this program still counts as running:
/// what it should have seen of them is missed.
const BPF_RB_NO_WAKEUP: u64 = 1;

/// A transition, with everything that is written about it.
pub(crate) struct Seen {
    pub(crate) change: Change,
    pub(crate) sk: u64,
    pub(crate) netns: u32,
    pub(crate) rport: u16,
    pub(crate) addresses: Addresses,
    /// See [`TransitionRecord::own_range`].
    pub(crate) own_range: [u16; 2],
    pub(crate) has_owner: bool,
    /// When it started and its number, 0 both if it has none: the payload of an
    /// `Option` would stay unwritten, and Linux 5.10 refuses to read stack that was
    /// never written. Apart, since the compiler would fill a key byte by byte.
    pub(crate) owner: (u64, u32),
}

/// Counts `seen`, then writes its record, if it has one and the ring has room.
#[inline(always)]
pub(crate) fn transition(seen: &Seen) {
    let Some(mut counting) = Counting::of(seen.netns) else {
        return;
    };
    counting.transition(&seen.change);
    if !seen.change.has_record() {
        return;
    }
    if let Some(mut entry) = reserve::<TransitionRecord>(&mut counting) {
        write_transition(entry.as_mut_ptr(), seen);
        entry.submit(BPF_RB_NO_WAKEUP);
    }
}

/// Counts a transition of which nothing is written.
#[inline(always)]
pub(crate) fn counted(netns: u32, change: &Change) {
    if let Some(mut counting) = Counting::of(netns) {
        counting.transition(change);
    }
}

/// Counts what happened to a mini-socket and writes its record, unless it is not
/// wanted.
#[inline(always)]
pub(crate) fn time_wait_if_wanted(record: &TimeWaitRecord) {
    if wanted::mini(record)
        && let Some(counting) = Counting::of(record.netns)
    {
        time_wait(counting, record);
    }
}

/// Counts that the timer of a mini-socket was set back, which has no record.
#[inline(always)]
pub(crate) fn rearmed_if_wanted(record: &TimeWaitRecord) {
    if wanted::mini(record)
        && let Some(mut counting) = Counting::of(record.netns)
    {
        counting.rearmed();
    }
}

#[inline(always)]
fn time_wait(mut counting: Counting, record: &TimeWaitRecord) {
    const BIRTH: u8 = RecordKind::Birth as u8;
    const STEP: u8 = RecordKind::Step as u8;
    const REFUSED: u8 = RecordKind::Refused as u8;
    let substate = mini::substate(record);
    match record.kind {
        BIRTH => counting.birth(substate),
        STEP => counting.step(),
        REFUSED => counting.refused(),
        _ => counting.end(record.end, substate),
    }
    if let Some(mut entry) = reserve::<TimeWaitRecord>(&mut counting) {
        // SAFETY: the ring handed out room for one record, aligned to 8 bytes.
        unsafe { memory::copy(record, entry.as_mut_ptr()) };
        entry.submit(BPF_RB_NO_WAKEUP);
    }
}

/// Writes that the connect of `sk` has its port.
#[inline(always)]
pub(crate) fn connect(sk: u64, lport: u16) {
    // It was counted when it began; only the loss of this record is counted here.
    let Some(mut counting) = Counting::of_slot(OTHER_SLOT) else {
        return;
    };
    if let Some(mut entry) = reserve::<ConnectRecord>(&mut counting) {
        let record = entry.as_mut_ptr();
        // SAFETY: as above. The first word is written as one: its padding would be filled
        // byte by byte.
        unsafe {
            record.cast::<u64>().write(u64::from(RecordKind::Connect as u8));
            (&raw mut (*record).lport).write(lport);
            (&raw mut (*record).time_ns).write(now_ns());
            (&raw mut (*record).sk).write(sk);
        }
        entry.submit(BPF_RB_NO_WAKEUP);
    }
}

/// Writes that `owner` was found searching.
#[inline(always)]
pub(crate) fn sample(connects: bool, owner: ProcessKey) {
    // Nothing but user space counts samples.
    let Some(mut counting) = Counting::of_slot(OTHER_SLOT) else {
        return;
    };
    if let Some(mut entry) = reserve::<SampleRecord>(&mut counting) {
        entry.write(SampleRecord {
            kind: RecordKind::Sample as u8,
            connects: u8::from(connects),
            padding: [0; 2],
            tgid: owner.tgid,
            time_ns: now_ns(),
            start_time_ns: owner.start_time_ns,
        });
        entry.submit(BPF_RB_NO_WAKEUP);
    }
}

/// Counts a bind that got its port and writes its record, unless its namespace is
/// not wanted.
#[inline(always)]
pub(crate) fn bind_if_wanted(bind: Search, record: &SearchRecord) {
    if wanted::netns(record.netns)
        && let Some(mut counting) = Counting::of(record.netns)
    {
        counting.search(bind);
        search(counting, record);
    }
}

/// Counts a search, or a check, whose function has returned, and writes its record,
/// unless its namespace is not wanted.
#[inline(always)]
pub(crate) fn probed_search_if_wanted(kind: Search, record: &SearchRecord) {
    if wanted::netns(record.netns)
        && let Some(mut counting) = Counting::of(record.netns)
    {
        counting.probed_search(kind, record.error != 0);
        search(counting, record);
    }
}

#[inline(always)]
fn search(mut counting: Counting, record: &SearchRecord) {
    if let Some(mut entry) = reserve::<SearchRecord>(&mut counting) {
        // SAFETY: the ring handed out room for one record, aligned to 8 bytes.
        unsafe { memory::copy(record, entry.as_mut_ptr()) };
        entry.submit(BPF_RB_NO_WAKEUP);
    }
}

/// The clock of all records.
#[inline(always)]
pub(crate) fn now_ns() -> u64 {
    // SAFETY: the helper takes no argument that could be wrong.
    unsafe { generated::bpf_ktime_get_ns() }
}

#[inline(always)]
fn reserve<T: 'static>(counting: &mut Counting) -> Option<RingBufEntry<T>> {
    let entry = RECORDS.reserve::<T>(0);
    if entry.is_none() {
        counting.ring_full();
    }
    entry
}

#[inline(always)]
fn write_transition(record: *mut TransitionRecord, seen: &Seen) {
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
        (&raw mut (*record).time_ns).write(now_ns());
        (&raw mut (*record).sk).write(seen.sk);
        (&raw mut (*record).start_time_ns).write(seen.owner.0);
        (&raw mut (*record).tgid).write(seen.owner.1);
        (&raw mut (*record).lport).write(change.lport);
        (&raw mut (*record).rport).write(seen.rport);
        (&raw mut (*record).error).write(change.error);
        (&raw mut (*record).shutdown).write(change.shutdown);
        (&raw mut (*record).padding).write(0);
        (&raw mut (*record).own_range).write(seen.own_range);
        (&raw mut (*record).laddr).cast::<[u64; 2]>().write(seen.addresses.local);
        (&raw mut (*record).raddr).cast::<[u64; 2]>().write(seen.addresses.remote);
    }
}
