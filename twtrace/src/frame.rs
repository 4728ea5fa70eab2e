//! What a source delivers, and what a recording holds.
//!
//! Everything the Snapshot is made of arrives as a frame, in one order, so
//! that a live run and the replay of its recording cannot differ.

use bytes::Bytes;
use twtrace_common::{Counters, ProcessKey, TcpState};

use crate::{event::Tuple, probes::Hooks};

/// One step of a run.
#[derive(Clone, Debug)]
pub enum Frame {
    /// Sockets that existed before the hooks attached.
    Seed {
        /// Those that still did when sock_diag looked.
        sockets: Vec<SeedSocket>,
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
    /// The kernel's totals and losses so far.
    Totals(Totals),
    /// All sockets of the host at one moment, counted; only where nothing is
    /// traced. `None`: sock_diag did not answer.
    Population(Option<Population>),
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

/// All sockets at one moment, by sock_diag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Population {
    /// Sockets by state, as ss counts them.
    pub states: Vec<(TcpState, u64)>,
    /// Timewait mini-sockets of both substates, as sockstat's `tw` counts them.
    pub time_wait: u64,
    /// Whether every namespace was looked at.
    pub complete: bool,
}
