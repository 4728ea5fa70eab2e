//! The maps, under the names by which user space finds them.

use aya_ebpf::{
    macros::map,
    maps::{HashMap, LruHashMap, PerCpuArray, Queue, RingBuf},
};
use twtrace_common::{Counters, ProcessKey, TimeWaitRecord};

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

/// What the last event of a mini-socket's timer on this CPU left open.
#[map]
pub(crate) static PENDING: PerCpuArray<Pending> = PerCpuArray::with_max_entries(1, 0);

/// The connect that began last on this CPU, as long as it may be searching.
#[map]
pub(crate) static CONNECTING: PerCpuArray<Connecting> = PerCpuArray::with_max_entries(1, 0);

/// Binds under way, by thread. A bind that failed leaves its entry to the
/// thread's next one.
#[map]
pub(crate) static BINDS: LruHashMap<u64, BindStart> = LruHashMap::with_max_entries(4096, 0);

/// What was last said of mini-sockets on this CPU.
#[map]
pub(crate) static VERDICT: PerCpuArray<Verdict> = PerCpuArray::with_max_entries(1, 0);

/// Mini-sockets that a thread is about to end, by address, and how. A claim that
/// comes to nothing leaves when room is needed.
#[map]
pub(crate) static CLAIMS: LruHashMap<u64, u64> = LruHashMap::with_max_entries(4096, 0);

/// Threads that clear away a network namespace.
#[map]
pub(crate) static PURGING: LruHashMap<u64, u8> = LruHashMap::with_max_entries(64, 0);

/// What a thread asks for whose answer comes without the question: a mini-socket's
/// address, and in the lowest bit whether a connect's port is bound.
#[map]
pub(crate) static ASKING: LruHashMap<u64, u64> = LruHashMap::with_max_entries(1024, 0);

/// Sockets whose mini-socket the kernel is about to make, where nothing tells
/// directly that it did not.
#[map]
pub(crate) static WANTED: LruHashMap<u64, u8> = LruHashMap::with_max_entries(4096, 0);

/// Searches for a port under way, by thread.
#[map]
pub(crate) static SEARCHING: LruHashMap<u64, SearchStart> = LruHashMap::with_max_entries(4096, 0);

/// An element of [`VERDICT`]; see [`crate::verdict`].
#[repr(C)]
pub(crate) struct Verdict {
    /// The mini-socket whose timer fires.
    pub(crate) firing_tw: u64,
    /// The one that a segment came for; 0 if the segment left it alone.
    pub(crate) segment_tw: u64,
    /// How it will have ended, if it does.
    pub(crate) segment_end: u64,
    /// Its substate before the segment.
    pub(crate) substate: u64,
    /// When it was judged.
    pub(crate) judged: u64,
    /// When the timer fired.
    pub(crate) fired: u64,
}

/// An element of [`SEARCHING`].
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct SearchStart {
    pub(crate) time_ns: u64,
    pub(crate) sk: u64,
    /// A [`twtrace_common::Search`].
    pub(crate) search: u16,
    /// The port that a bind asks for; 0 if it is to be found.
    pub(crate) wanted_port: u16,
    /// How many ports that others have it has looked at so far.
    pub(crate) tried: u32,
}

/// An element of [`PENDING`]; see [`crate::probes::time_wait`].
#[repr(C)]
pub(crate) struct Pending {
    /// [`Pending::NOTHING`], [`Pending::DUE`] or [`Pending::REARMED`].
    pub(crate) what: u64,
    /// About which mini-socket.
    pub(crate) record: TimeWaitRecord,
}

impl Pending {
    /// Nothing is open.
    pub(crate) const NOTHING: u64 = 0;
    /// A timer that was due was stopped: to fire, as a rule.
    pub(crate) const DUE: u64 = 1;
    /// A timer was stopped to be started again.
    pub(crate) const REARMED: u64 = 2;
}

/// An element of [`CONNECTING`]; see [`crate::connecting`].
#[repr(C)]
pub(crate) struct Connecting {
    /// The socket; 0 once its search is over.
    pub(crate) sk: u64,
    /// The thread that searches.
    pub(crate) thread: u64,
    /// When it began.
    pub(crate) jiffies: u64,
    /// Its remote port, and whether it was bound to a local one.
    pub(crate) rport: u16,
    pub(crate) bound: u16,
    /// Whether somebody tells, on this CPU, when searches are over.
    pub(crate) is_told: u32,
    /// Its remote address.
    pub(crate) remote: [u64; 2],
}

/// An element of [`BINDS`].
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct BindStart {
    pub(crate) time_ns: u64,
    /// 1 if the process named the port.
    pub(crate) explicit: u64,
}

/// An element of [`RECENT`]. Zero names no namespace and no process.
#[repr(C)]
pub(crate) struct Recent {
    /// A namespace in the upper half, its slot in the lower: one store, since
    /// kernels without a recursion guard may interrupt between two.
    pub(crate) place: u64,
    /// A process that user space has been told about.
    pub(crate) process: ProcessKey,
}
