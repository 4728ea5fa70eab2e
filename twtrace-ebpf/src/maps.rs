//! The maps, under the names by which user space finds them.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{LruHashMap, PerCpuHashMap, RingBuf},
};
use twtrace_common::{Counters, ProcessKey};

/// Records for user space. Its size is set at load (`--ring-size`).
#[map]
pub(crate) static RECORDS: RingBuf = RingBuf::with_byte_size(1 << 23, 0);

/// Totals per network namespace. User space sets its size at load and inserts
/// [`twtrace_common::OTHER_NETNS`] before it attaches anything.
#[map]
pub(crate) static COUNTERS: PerCpuHashMap<u32, Counters> =
    PerCpuHashMap::with_max_entries(1024, BPF_F_NO_PREALLOC);

/// Processes that user space has been told about, so that each is named once.
#[map]
pub(crate) static PROCESSES: LruHashMap<ProcessKey, u8> = LruHashMap::with_max_entries(16_384, 0);
