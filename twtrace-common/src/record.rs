//! What the BPF programs write to the ring buffer.
//!
//! Each record starts with its kind; all numbers are in host order, all
//! addresses are 16 bytes with IPv4 mapped into IPv6 (`::ffff:a.b.c.d`).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The first byte of a record. Gaps are left for the kinds of other hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// A [`TransitionRecord`].
    Transition = 1,
    /// A [`TimeWaitRecord`]: a mini-socket was born.
    Birth = 2,
    /// A [`TimeWaitRecord`]: a mini-socket ended.
    End = 3,
    /// A [`ConnectRecord`].
    Connect = 4,
    /// A [`SearchRecord`].
    Search = 5,
    /// A [`TimeWaitRecord`]: the peer of a FIN_WAIT2 mini-socket closed.
    Step = 6,
    /// A [`TimeWaitRecord`]: a socket was to leave a mini-socket, and the kernel made none.
    Refused = 7,
    /// A [`SampleRecord`].
    Sample = 8,
    /// A [`ProcessRecord`].
    Process = 16,
}

/// Bits of [`TransitionRecord::flags`].
pub mod transition_flags {
    /// A process held the socket lock. Read where it decides whom to credit, and
    /// nowhere else.
    pub const PROCESS_CONTEXT: u8 = 1;
    /// `netns`, `error` and `shutdown` were read; without it they are 0 and mean nothing.
    pub const FIELDS_KNOWN: u8 = 2;
    /// `tgid` and `start_time_ns` name the process that caused the transition.
    pub const OWNER: u8 = 4;
}

/// One TCP socket went from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct TransitionRecord {
    /// [`RecordKind::Transition`].
    pub kind: u8,
    /// The state left, by the kernel's number.
    pub old_state: u8,
    /// The state entered, by the kernel's number.
    pub new_state: u8,
    /// Bits of [`transition_flags`].
    pub flags: u8,
    /// Inode of the socket's network namespace.
    pub netns: u32,
    /// Nanoseconds since boot, suspend left out (`CLOCK_MONOTONIC`): the cheaper
    /// clock to read.
    pub time_ns: u64,
    /// Address of the socket: its name until its transition to CLOSE, then reused.
    pub sk: u64,
    /// When the process started, in nanoseconds since boot, suspend included;
    /// 0 if not read.
    pub start_time_ns: u64,
    /// The process (thread group) that caused the transition.
    pub tgid: u32,
    /// Local port, 0 if none yet.
    pub lport: u16,
    /// Remote port, 0 if none yet.
    pub rport: u16,
    /// `sk_err`, a positive errno.
    pub error: u16,
    /// `sk_shutdown`.
    pub shutdown: u8,
    /// Always 0.
    pub padding: u8,
    /// Of a socket that goes to SYN_SENT, the first and the last port of the range it
    /// asked for (IP_LOCAL_PORT_RANGE); 0 where it left that open, or nobody can tell.
    pub own_range: [u16; 2],
    /// Local address.
    pub laddr: [u8; 16],
    /// Remote address.
    pub raddr: [u8; 16],
}

const _: () = assert!(size_of::<TransitionRecord>() == 80);

/// Bits of [`TimeWaitRecord::flags`].
pub mod time_wait_flags {
    /// Whether there were timestamps was read: of births, where the kernel tells.
    pub const TIMESTAMPS_KNOWN: u32 = 1;
    /// The peer had sent timestamps.
    pub const TIMESTAMPS: u32 = 2;
}

/// A timewait mini-socket was born, went from FIN_WAIT2 to TIME_WAIT, or ended;
/// or was never made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct TimeWaitRecord {
    /// [`RecordKind::Birth`], [`RecordKind::Step`], [`RecordKind::End`] or
    /// [`RecordKind::Refused`].
    pub kind: u8,
    /// What ended it, by [`crate::End`]; 0 otherwise.
    pub end: u8,
    /// FIN_WAIT2 or TIME_WAIT, by the kernel's number.
    pub substate: u8,
    /// Always 0.
    pub padding: u8,
    /// Inode of its network namespace.
    pub netns: u32,
    /// As in [`TransitionRecord::time_ns`].
    pub time_ns: u64,
    /// Address of the mini-socket: its name from birth to end, then reused. Of
    /// one that was never made, 0.
    pub tw: u64,
    /// Local port.
    pub lport: u16,
    /// Remote port.
    pub rport: u16,
    /// Bits of [`time_wait_flags`].
    pub flags: u32,
    /// Local address.
    pub laddr: [u8; 16],
    /// Remote address.
    pub raddr: [u8; 16],
}

const _: () = assert!(size_of::<TimeWaitRecord>() == 64);

/// A connect has its local port and is about to send the SYN: the search that
/// began with its transition to SYN_SENT, if there was one, is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct ConnectRecord {
    /// [`RecordKind::Connect`].
    pub kind: u8,
    /// Always 0.
    pub padding: [u8; 5],
    /// The local port.
    pub lport: u16,
    /// As in [`TransitionRecord::time_ns`].
    pub time_ns: u64,
    /// Address of the socket, as in [`TransitionRecord::sk`].
    pub sk: u64,
}

const _: () = assert!(size_of::<ConnectRecord>() == 24);

/// Bits of [`SearchRecord::flags`].
pub mod search_flags {
    /// Somebody counts the ports that searches look at.
    pub const TRIED_KNOWN: u8 = 1;
}

/// A search for a local port, or the check of one, is over. Where no function may
/// be probed only binds that got their port are told so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct SearchRecord {
    /// [`RecordKind::Search`].
    pub kind: u8,
    /// Which kind of search, by [`crate::Search`].
    pub search: u8,
    /// A positive errno; 0 if there is a port.
    pub error: u16,
    /// Inode of the socket's network namespace.
    pub netns: u32,
    /// When it was over, as in [`TransitionRecord::time_ns`].
    pub time_ns: u64,
    /// How long it took, in nanoseconds.
    pub latency_ns: u64,
    /// When the process started, as in [`ProcessKey::start_time_ns`].
    pub start_time_ns: u64,
    /// Address of the socket, as in [`TransitionRecord::sk`].
    pub sk: u64,
    /// The process.
    pub tgid: u32,
    /// The port that it has, in host order; of a check that failed, the port asked
    /// for; 0 if none.
    pub lport: u16,
    /// The remote port of a connect; 0 of a bind.
    pub rport: u16,
    /// The remote address of a connect; unspecified of a bind.
    pub raddr: [u8; 16],
    /// How many ports that others have it looked at.
    pub tried: u32,
    /// Bits of [`search_flags`].
    pub flags: u8,
    /// Always 0.
    pub padding: [u8; 3],
}

const _: () = assert!(size_of::<SearchRecord>() == 72);

/// A processor was found searching a local port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct SampleRecord {
    /// [`RecordKind::Sample`].
    pub kind: u8,
    /// 1 if it searched for a connect, 0 for a bind.
    pub connects: u8,
    /// Always 0.
    pub padding: [u8; 2],
    /// The process.
    pub tgid: u32,
    /// As in [`TransitionRecord::time_ns`].
    pub time_ns: u64,
    /// When the process started, as in [`ProcessKey::start_time_ns`].
    pub start_time_ns: u64,
}

const _: () = assert!(size_of::<SampleRecord>() == 24);

/// The kernel's `TASK_COMM_LEN`.
pub const COMM_LEN: usize = 16;

/// What names a process for as long as the host runs: numbers are reused,
/// but not within one clock tick of one boot.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
)]
#[repr(C)]
pub struct ProcessKey {
    /// When it started, in nanoseconds since boot.
    pub start_time_ns: u64,
    /// Its thread group id in the initial pid namespace.
    pub tgid: u32,
    /// Always 0; a map compares all bytes of its keys.
    pub padding: u32,
}

/// Bits of [`ProcessRecord::flags`].
pub mod process_flags {
    /// A kernel thread (`PF_KTHREAD`).
    pub const KERNEL_THREAD: u8 = 1;
}

/// The first transition that a process caused, or the first after it was forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct ProcessRecord {
    /// [`RecordKind::Process`].
    pub kind: u8,
    /// Bits of [`process_flags`].
    pub flags: u8,
    /// Always 0.
    pub padding: [u8; 2],
    /// Its thread group id in the initial pid namespace.
    pub tgid: u32,
    /// When it started, in nanoseconds since boot; 0 if not read.
    pub start_time_ns: u64,
    /// Id of its cgroup in the v2 hierarchy: the inode of the cgroup's directory.
    pub cgroup_id: u64,
    /// The name of its first thread, NUL-terminated unless it fills the array.
    pub comm: [u8; COMM_LEN],
}

const _: () = assert!(size_of::<ProcessRecord>() == 40);
