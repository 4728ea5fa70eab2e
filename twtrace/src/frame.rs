//! What a source delivers, and what a recording holds.
//!
//! Everything the Snapshot is made of arrives as a frame, in one order, so
//! that a live run and the replay of its recording cannot differ.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    net::Ipv4Addr,
    num::{NonZeroU32, NonZeroU64},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use twtrace_common::{Counters, ProcessKey, TcpState, pair_index};

use crate::{
    event::{PortRange, Role, Tuple},
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
    /// What has changed among the sockets that wait for their process to close them, since
    /// the frame before. `None`: sock_diag did not answer.
    CloseWaits(Option<CloseWaits>),
    /// Records that were read and found no room on their way to the file.
    Lost {
        /// How many.
        records: u64,
    },
    /// Settings of namespaces: the first time of all that can be entered, then of those
    /// that are new or where something has changed.
    Sysctls(Vec<Sysctls>),
    /// What was there when a recording went on in another file.
    Carried(Carried),
    /// An interval has passed: time for a Snapshot.
    Tick {
        /// On the clock of records.
        time_ns: u64,
        /// The wall clock's, in nanoseconds since 1970: it may be set meanwhile.
        wall_ns: u64,
    },
}

/// What a run is: where, since when, by which hooks. It comes before the first frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Whether counting began after the hooks attached: what their programs had counted
    /// by the first [`Totals`] is left out, and what was there is [`Frame::Carried`].
    pub continues: bool,
}

/// A cgroup of the v2 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

impl Totals {
    /// What was counted since `base` was read.
    pub fn since(&self, base: &Self) -> Self {
        let before = |netns| base.by_netns.iter().find(|(known, _)| *known == netns);
        let since = |(netns, counters): &(Option<u32>, Counters)| {
            let since = match before(*netns) {
                Some((_, base)) => since_base(counters, base),
                None => *counters,
            };
            (*netns, since)
        };
        Self {
            by_netns: self.by_netns.iter().map(since).collect(),
            missed: self.missed.map(|missed| missed.saturating_sub(base.missed.unwrap_or(0))),
        }
    }
}

fn since_base(counters: &Counters, base: &Counters) -> Counters {
    Counters {
        pairs: less(&counters.pairs, &base.pairs),
        outcomes: less(&counters.outcomes, &base.outcomes),
        births: less(&counters.births, &base.births),
        ends: less(&counters.ends, &base.ends),
        searches: less(&counters.searches, &base.searches),
        probed_searches: less(&counters.probed_searches, &base.probed_searches),
        failed_searches: less(&counters.failed_searches, &base.failed_searches),
        ends_in_fin_wait2: counters.ends_in_fin_wait2.saturating_sub(base.ends_in_fin_wait2),
        steps: counters.steps.saturating_sub(base.steps),
        rearmed: counters.rearmed.saturating_sub(base.rearmed),
        refused: counters.refused.saturating_sub(base.refused),
        ring_full: counters.ring_full.saturating_sub(base.ring_full),
    }
}

fn less<const N: usize>(counts: &[u64; N], base: &[u64; N]) -> [u64; N] {
    std::array::from_fn(|index| counts[index].saturating_sub(base[index]))
}

/// The settings of one network namespace that decide what becomes of its sockets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sysctls {
    /// Its inode.
    pub netns: u32,
    /// By name, as in `net.ipv4.tcp_tw_reuse`; those that the kernel does not have are
    /// left out.
    pub values: BTreeMap<String, String>,
}

/// A part of what was there when a recording went on in another file: the tracker's state,
/// in the order of these variants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carried {
    /// What local ports are taken towards.
    Destinations(Vec<CarriedDestination>),
    /// Sockets that were met.
    Sockets(Vec<CarriedSocket>),
    /// Who connected the sockets of mini-sockets, where another process closed them.
    Openers(Vec<CarriedOpener>),
    /// Mini-sockets whose birth was seen.
    Minis(Vec<CarriedMini>),
    /// What sock_diag had listed, and was not met since.
    Seeds {
        /// When, on the clock of records.
        time_ns: u64,
        /// Full sockets.
        sockets: Vec<SeedSocket>,
        /// Mini-sockets.
        minis: Vec<SeedMini>,
    },
    /// Counts; they come last.
    Counts(CarriedCounts),
}

/// How many there were; a list may be incomplete.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedCounts {
    /// Mini-sockets by namespace.
    pub minis: Vec<(u32, u64)>,
    /// Of these, in FIN_WAIT2.
    pub in_fin_wait2: u64,
    /// Ends by namespace that were counted, and which mini-socket ended is not known.
    pub untold_ends: Vec<(u32, u64)>,
    /// Whether every socket and mini-socket was known.
    pub complete: bool,
    /// When sock_diag had listed what existed before the hooks attached: what records tell
    /// of before may have been told already.
    pub seeded_until_ns: u64,
}

/// A socket that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarriedSocket {
    /// Its kernel address.
    pub sk: u64,
    /// Its state; `None` if it was not counted in any.
    pub state: Option<TcpState>,
    /// How it came to be connected.
    pub role: Role,
    /// The process that connected it.
    pub owner: Option<ProcessKey>,
    /// The process that sent its FIN; `Some(None)` if nobody saw who it was.
    pub closer: Option<Option<ProcessKey>>,
    /// What it keeps from others.
    pub held: Held,
}

/// Who connected the socket of a mini-socket that another process closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarriedOpener {
    /// The mini-socket's kernel address.
    pub tw: u64,
    /// The process.
    pub process: ProcessKey,
}

/// A mini-socket whose birth was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarriedMini {
    /// Its kernel address.
    pub tw: u64,
    /// When it was born, on the clock of records.
    pub born_ns: u64,
    /// FIN_WAIT2 or TIME_WAIT, then.
    pub substate: TcpState,
    /// Since when it is in TIME_WAIT; `None` if that was not seen.
    pub time_wait_ns: Option<NonZeroU64>,
    /// Whether its connection had timestamps, if that is known.
    pub timestamps: Option<bool>,
    /// Its network namespace.
    pub netns: u32,
    /// Whose it is.
    pub of: MiniOf,
}

/// Whose a mini-socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MiniOf {
    /// Of a socket that has said goodbye.
    Closed {
        /// The process that closed first, if anybody saw who it was.
        process: Option<ProcessKey>,
        /// How the socket came to be connected.
        role: Role,
        /// What it keeps from others.
        held: Held,
    },
    /// Of the socket with these ends, which is about to.
    Closing(Tuple),
}

/// What a socket or its mini-socket keeps from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Nothing that is counted.
    Nothing,
    /// The port that it listens on.
    Listener {
        /// The network namespace.
        netns: u32,
        /// The port; 0 as long as it is searched.
        lport: u16,
        /// Whether its address is of IPv4.
        is_v4: bool,
    },
    /// A port towards a destination.
    Port {
        /// The network namespace.
        netns: u32,
        /// Both addresses and the remote port; `None` where there was no room for it.
        destination: Option<HeldDestination>,
        /// The port; 0 as long as it is searched.
        lport: u16,
        /// Whether a process had bound it.
        bound: bool,
    },
    /// A quadruplet of a client; `None` where there was no room for it.
    Quadruplet(Option<HeldClient>),
}

impl Held {
    /// Which namespace it is in, and between which ends; `None` where there was no room for
    /// these. Of a listener's address the family alone is known.
    pub fn ends(&self) -> Option<(u32, Tuple)> {
        match *self {
            Self::Nothing | Self::Port { destination: None, .. } | Self::Quadruplet(None) => None,
            Self::Listener { netns, lport, is_v4 } => {
                let any = if is_v4 { ANY_V4 } else { [0; 16] };
                Some((netns, Tuple { laddr: any, raddr: any, lport, rport: 0 }))
            }
            Self::Port { netns, destination: Some(destination), lport, .. } => {
                let HeldDestination { laddr, raddr, rport } = destination;
                Some((netns, Tuple { laddr, raddr, lport, rport }))
            }
            Self::Quadruplet(Some(HeldClient { netns, laddr, lport, raddr, rport })) => {
                Some((netns, Tuple { laddr, raddr, lport, rport }))
            }
        }
    }
}

const ANY_V4: [u8; 16] = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().octets();

/// Towards what a port is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HeldDestination {
    /// Local address.
    pub laddr: [u8; 16],
    /// Remote address.
    pub raddr: [u8; 16],
    /// Remote port.
    pub rport: u16,
}

/// Whose quadruplet is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldClient {
    /// The network namespace.
    pub netns: u32,
    /// Local address.
    pub laddr: [u8; 16],
    /// Local port.
    pub lport: u16,
    /// The client's address.
    pub raddr: [u8; 16],
    /// The client's port.
    pub rport: u16,
}

/// What local ports are taken towards, besides which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarriedDestination {
    /// The network namespace.
    pub netns: u32,
    /// The rest of what names it.
    pub destination: HeldDestination,
    /// Which range connects have asked for.
    pub asked: AskedRange,
    /// When, and whose connect came last.
    pub last_opened: Option<(u64, ProcessKey)>,
}

/// Which range the connects towards a destination walk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AskedRange {
    /// None has searched yet.
    #[default]
    Nothing,
    /// All the namespace's, or all one of their own.
    Alike(Option<PortRange>),
    /// Not all the same: nothing can be said of how full it is.
    Mixed,
}

impl AskedRange {
    /// What these connects walk and those.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, asked) | (asked, Self::Nothing) => asked,
            (asked, same) if asked == same => asked,
            _ => Self::Mixed,
        }
    }
}

/// What the kernel itself counts in one network namespace, since that was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelCounters {
    /// Its inode.
    pub netns: u32,
    /// Timewait mini-sockets now, by sockstat.
    pub tw_sockstat: Option<u64>,
    /// By the kernel's names; those that it does not have are left out.
    pub counters: BTreeMap<Cow<'static, str>, u64>,
}

/// What one network namespace offers to the search for a local port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// Sockets in CLOSE_WAIT that are told of at once, at most: so many are there, and no more
/// are remembered of any file.
pub const MAX_CLOSE_WAITS: usize = 131_072;

/// What a look at the sockets in CLOSE_WAIT has shown that was not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloseWaits {
    /// When it was taken, on the clock of records. What is found out later of the same
    /// look has its time.
    pub time_ns: u64,
    /// Whether all that there are have been told.
    pub complete: bool,
    /// Those that are new; one that was told before is told anew.
    pub appeared: Vec<CloseWaiting>,
    /// The cookies of those that are no longer there.
    pub gone: Vec<u64>,
}

/// A socket in CLOSE_WAIT: its peer has closed, its process has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseWaiting {
    /// Its cookie, by which sock_diag names it as long as it lives.
    pub cookie: u64,
    /// Its network namespace.
    pub netns: u32,
    /// Its ends.
    pub tuple: Tuple,
    /// The look that showed it first, on the clock of records.
    pub seen_ns: u64,
    /// Since when at least it is in this state: that, or earlier.
    pub since_ns: u64,
    /// Whether a process has accepted or connected it: else it waits in a listener's queue.
    pub accepted: bool,
    /// The process that holds it, once that is known.
    pub holder: Option<ProcessKey>,
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
