//! The maps, under the names by which user space finds them.

use aya_ebpf::{
    macros::map,
    maps::{HashMap, LruHashMap, PerCpuArray, Queue, RingBuf},
};
use twtrace_common::{Counters, ProcessKey};

/// Records for user space. Its size is set at load (`--ring-size`).
#[map]
pub(crate) static RECORDS: RingBuf = RingBuf::with_byte_size(1 << 23, 0);

/// Totals, a slot per network namespace: an array, since the address of its
/// elements is computed in place, where a hash table would be called. User
/// space sets its size at load.
#[map]
pub(crate) static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(64, 0);

/// The slot of each namespace seen; those that found none share
/// [`twtrace_common::OTHER_SLOT`].
#[map]
pub(crate) static SLOTS: HashMap<u32, u32> = HashMap::with_max_entries(64, 0);

/// Slots not given out yet; user space fills it before it attaches anything.
#[map]
pub(crate) static FREE_SLOTS: Queue<u32> = Queue::with_max_entries(64, 0);

/// What the last transition on this CPU was about: the next one is often
/// about the same.
#[map]
pub(crate) static RECENT: PerCpuArray<Recent> = PerCpuArray::with_max_entries(1, 0);

/// Processes that user space has been told about, so that each is named once.
#[map]
pub(crate) static PROCESSES: LruHashMap<ProcessKey, u8> = LruHashMap::with_max_entries(16_384, 0);

/// An element of [`RECENT`]. Zero names no namespace and no process.
#[repr(C)]
pub(crate) struct Recent {
    /// A namespace in the upper half, its slot in the lower: one store, since
    /// kernels without a recursion guard may interrupt between two.
    pub(crate) place: u64,
    /// A process that user space has been told about.
    pub(crate) process: ProcessKey,
}
