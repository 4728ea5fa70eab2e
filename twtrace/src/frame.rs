//! What a source delivers, and what a recording holds.
//!
//! Everything the Snapshot is made of arrives as a frame, in one order, so
//! that a live run and the replay of its recording cannot differ.

use std::{collections::BTreeMap, num::NonZeroU32};

use bytes::Bytes;
use twtrace_common::{Counters, ProcessKey, TcpState, pair_index};

use crate::{
    event::{PortRange, Tuple},
    probes::Hooks,
};

/// One step of a run.
#[derive(Clone, Debug)]
pub enum Frame {
    /// Sockets that existed before the hooks attached.
    Seed {
        /// Full sockets that still did when sock_diag looked.
        sockets: Vec<SeedSocket>,
        /// Timewait mini-sockets that still did.
        minis: Vec<SeedMini>,
        /// When it had looked at all, on the clock of records: a socket that
        /// is met before this and is not listed was gone before its turn.
        until_ns: u64,
        /// Whether every namespace found was looked at.
        complete: bool,
    },
    /// Raw records, back to back, each as long as its kind says.
    Records(Bytes),
    /// What /proc says about processes that records introduced.
    Processes(Vec<ProcessFacts>),
    /// Our programs' totals and losses so far.
    Totals(Totals),
    /// What the kernel itself counts, read together with the [`Totals`] before
    /// this: the first time of all namespaces, to count from; then of some. One
    /// that was not among the first was made since. Where nothing is traced: of
    /// all namespaces, after the first look and before every later one, so that
    /// it counts no birth that the looks could not see.
    Kernel(Vec<KernelCounters>),
    /// What namespaces offer to the search for a local port: the first time of all that
    /// can be entered, then of those that are new or where it has changed.
    Ports(Vec<PortFacts>),
    /// All sockets of the host at one moment; only where nothing is traced: at
    /// the start and before every tick. `None`: sock_diag did not answer.
    Polled(Option<Polled>),
    /// An interval has passed: time for a Snapshot.
    Tick {
        /// On the clock of records.
        time_ns: u64,
        /// The wall clock's, in nanoseconds since 1970: it may be set meanwhile.
        wall_ns: u64,
    },
}

/// What a run is: where, since when, by which hooks. It comes before the first frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The host's name.
    pub hostname: String,
    /// `uname -r`.
    pub kernel: String,
    /// Which boot of the host.
    pub boot_id: String,
    /// When counting started, on the clock of records.
    pub started_ns: u64,
    /// What to add to a process's start, in nanoseconds since boot, for the wall
    /// clock's, in nanoseconds since 1970.
    pub wall_at_boot_ns: u64,
    /// The hooks that attached.
    pub hooks: Hooks,
    /// The namespace that `kernel` and `reconcile` are about: the one selected,
    /// or the caller's. `None` if that is not known.
    pub home_netns: Option<u32>,
    /// How far a search goes from one port to the next in a range that the socket asked
    /// for (IP_LOCAL_PORT_RANGE).
    pub own_range_step: u16,
    /// Whether this kernel's TW and TWKilled count births (since 5.18) and not
    /// timers that fired; `None` if that is not known.
    pub tw_counts_births: Option<bool>,
    /// How often each processor is looked at, per second; `None` for never.
    pub sample_hz: Option<NonZeroU32>,
    /// Whose port searches count: those of the processes that were in this cgroup when
    /// they were introduced; `None`: everybody's.
    pub searches_of: Option<Cgroup>,
}

/// A cgroup of the v2 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// Its id.
    pub id: u64,
    /// Its path from the root of the hierarchy.
    pub path: String,
}

/// A socket that existed before the hooks attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeedSocket {
    /// Its network namespace; `None` where the hooks cannot tell theirs, so
    /// that seed and records are matched by tuple alone.
    pub netns: Option<u32>,
    /// Its state when sock_diag looked.
    pub state: TcpState,
    /// Its ends.
    pub tuple: Tuple,
}

/// A timewait mini-socket that existed before the hooks attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeedMini {
    /// Its network namespace.
    pub netns: u32,
    /// FIN_WAIT2 or TIME_WAIT.
    pub substate: TcpState,
    /// Milliseconds until its timer is due.
    pub expires_ms: u32,
    /// Its ends.
    pub tuple: Tuple,
}

/// What /proc says about one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessFacts {
    /// Which process.
    pub key: ProcessKey,
    /// Its cgroup's path; `None` if it was gone before it could be read.
    pub cgroup: Option<String>,
    /// The container id in that path, if it shows one.
    pub container: Option<String>,
}

/// The kernel side's totals, cumulative since attach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Counters by network namespace, summed over CPUs; `None` for those that
    /// found no slot of their own.
    pub by_netns: Vec<(Option<u32>, Counters)>,
    /// Times a program did not run because it was running on that CPU; `None`
    /// where the kernel does not count this.
    pub missed: Option<u64>,
}

/// How many more sockets said goodbye than mini-sockets were born: closes that
/// are followed by a mini-socket as a rule, and were not.
pub fn closes_without_mini(counters: &Counters) -> u64 {
    use TcpState::{Close, Closing, FinWait1, FinWait2};
    let pair = |old| counters.pairs[pair_index(old, Close)];
    let goodbyes = pair(FinWait1) + pair(FinWait2) + pair(Closing);
    goodbyes.saturating_sub(counters.births.iter().sum())
}

/// What the kernel itself counts in one network namespace, since that was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelCounters {
    /// Its inode.
    pub netns: u32,
    /// Timewait mini-sockets now, by sockstat.
    pub tw_sockstat: Option<u64>,
    /// By the kernel's names; those that it does not have are left out.
    pub counters: BTreeMap<&'static str, u64>,
}

/// What one network namespace offers to the search for a local port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortFacts {
    /// Its inode.
    pub netns: u32,
    /// ip_local_port_range.
    pub range: Option<PortRange>,
    /// ip_local_reserved_ports, in ascending order.
    pub reserved: Vec<PortRange>,
    /// ip_local_port_step_width; `None` where the kernel has no such setting.
    pub step_width: Option<u32>,
    /// tcp_tw_reuse.
    pub tw_reuse: Option<u8>,
    /// tcp_tw_reuse_delay, in milliseconds; `None` where the kernel has no such setting.
    pub tw_reuse_delay_ms: Option<u64>,
}

impl PortFacts {
    /// Of a namespace of which nothing could be read.
    pub fn unknown(netns: u32) -> Self {
        Self {
            netns,
            range: None,
            reserved: Vec::new(),
            step_width: None,
            tw_reuse: None,
            tw_reuse_delay_ms: None,
        }
    }
}

/// All sockets at one moment, by sock_diag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// When it began to look, on the clock of records.
    pub time_ns: u64,
    /// When it had looked at all.
    pub until_ns: u64,
    /// Sockets by state, as ss counts them.
    pub states: Vec<(TcpState, u64)>,
    /// Listeners and connections of the namespaces looked at.
    pub sockets: Vec<SeedSocket>,
    /// Every timewait mini-socket of the namespaces looked at; one may come twice.
    pub minis: Vec<PolledMini>,
    /// The namespaces it looked at.
    pub looked_at: Vec<u32>,
    /// Those that are there and that it could not look at.
    pub failed: Vec<u32>,
    /// Whether every namespace was looked at: some may not even be found.
    pub complete: bool,
}

/// A timewait mini-socket, by sock_diag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolledMini {
    /// Its network namespace.
    pub netns: u32,
    /// Its cookie: its name there from birth to end.
    pub cookie: u64,
    /// FIN_WAIT2 or TIME_WAIT.
    pub substate: TcpState,
    /// Milliseconds until its timer is due; it fires up to a bucket of the
    /// timer wheel later.
    pub expires_ms: u32,
    /// Its ends.
    pub tuple: Tuple,
}
