//! The Snapshot: the contract with everyone who reads `--json`.
//!
//! A key is present, or `null` where the number is unknown; never 0 for
//! unknown. `docs/json.md` explains each key, `docs/snapshot.schema.json` is
//! generated from here.

use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

use schemars::JsonSchema;
use serde::Serialize;
use twtrace_common::TcpState;

use crate::{
    frame::Population,
    probes::{Exactness, Hooks, Tier},
};

/// The version of this contract: fields may be added within it, meanings stay.
pub const SCHEMA: u32 = 1;

/// Everything twtrace knows, cumulative since attach.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Snapshot {
    /// 1.
    pub schema: u32,
    /// When this was true: RFC 3339, UTC.
    pub time: String,
    /// Seconds since counting began.
    pub elapsed_s: f64,
    /// Where.
    pub host: Host,
    /// By which hooks, and how exact that makes each key.
    pub probes: Probes,
    /// What was lost; `null` when nothing is traced.
    pub loss: Option<Loss>,
    /// Over the last interval.
    pub rates: Rates,
    /// State transitions of TCP sockets.
    pub transitions: Option<Transitions>,
    /// How connects ended.
    pub connects: Option<Connects>,
    /// How sockets closed.
    pub closes: Option<Closes>,
    /// The kernel's timewait mini-sockets of both substates.
    pub time_wait: Option<TimeWait>,
    /// Those of them in substate FIN_WAIT2. `null` in this version.
    pub fin_wait2: Option<()>,
    /// Who closes first, by `active_closes`.
    pub closers: Option<Vec<Closer>>,
    /// What the search for a free local port costs. `null` in this version.
    pub port_search: Option<()>,
    /// Which destination runs out of ports. `null` in this version.
    pub destinations: Option<()>,
    /// Quadruplets in use towards listening ports. `null` in this version.
    pub clients: Option<()>,
    /// Sockets that their process does not close. `null` in this version.
    pub close_wait: Option<()>,
    /// Sockets by state, now.
    pub states: BTreeMap<&'static str, Option<u64>>,
    /// The kernel's own counters. `null` in this version.
    pub kernel: Option<()>,
    /// The difference to the kernel's own counters. `null` in this version.
    pub reconcile: Option<()>,
    /// Histograms as HdrHistogram V2. `null` in this version.
    pub hdr: Option<()>,
}

/// Where a Snapshot was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Host {
    /// The host's name.
    pub hostname: String,
    /// `uname -r`.
    pub kernel: String,
    /// The kernel's id of this boot.
    pub boot_id: String,
}

/// The tier of each capability, `null` where it has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Probes {
    /// Transitions, closes, connects, closers.
    pub transitions: Option<Tier>,
    /// TIME_WAIT births and ends.
    pub time_wait: Option<Tier>,
    /// What ended each TIME_WAIT socket.
    pub end_cause: Option<Tier>,
    /// Searches for a free local port.
    pub port_search: Option<Tier>,
    /// How exact each key is; `null` where the key is.
    pub exactness: BTreeMap<String, Option<Exactness>>,
}

impl Probes {
    /// What `hooks` deliver; `states` has a word of its own, since it depends
    /// on what sock_diag answered too.
    pub fn new(hooks: Hooks, states: Option<Exactness>) -> Self {
        let polls = hooks.transitions == Tier::None;
        let mut exactness = hooks.exactness();
        exactness.insert("states".to_owned(), states);
        if polls {
            exactness.insert("time_wait.now".to_owned(), states);
        }
        Self {
            transitions: (!polls).then_some(hooks.transitions),
            time_wait: polls.then_some(Tier::None),
            end_cause: None,
            port_search: None,
            exactness,
        }
    }
}

/// Four losses, never mixed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Loss {
    /// Records that found no room in the ring buffer; totals still count them.
    pub ring_full: u64,
    /// Times a program did not run: nothing counts these. `null` where the
    /// kernel does not tell.
    pub missed: Option<u64>,
    /// Transitions of sockets that should have been known and were not.
    pub unmatched: u64,
    /// Sockets forgotten because the table was full.
    pub evicted: u64,
}

/// Rates over the last interval, per second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Rates {
    /// Sockets that became ESTABLISHED, by connect or by accept.
    pub opens_per_s: Option<f64>,
    /// Active closes.
    pub active_closes_per_s: Option<f64>,
    /// TIME_WAIT births. `null` in this version.
    pub births_per_s: Option<f64>,
    /// TIME_WAIT ends. `null` in this version.
    pub ends_per_s: Option<f64>,
}

/// State transitions of TCP sockets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Transitions {
    /// All of them.
    pub total: u64,
    /// By `OLD>NEW`, where any happened.
    pub by_pair: BTreeMap<String, u64>,
}

/// How connects ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Connects {
    /// Connected.
    pub ok: u64,
    /// `ECONNREFUSED`.
    pub refused: Option<u64>,
    /// `ETIMEDOUT`.
    pub timed_out: Option<u64>,
    /// `EADDRNOTAVAIL`: no free local port.
    pub no_port: Option<u64>,
    /// Given up by the process, or any other error.
    pub other: Option<u64>,
}

/// How sockets closed; both ends of a loopback connection count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Closes {
    /// We sent the first FIN.
    pub active: u64,
    /// The peer sent the first FIN.
    pub passive: u64,
    /// Both FINs crossed; not counted as active.
    pub simultaneous: u64,
    /// Cut while established, by RST or timeout.
    pub reset: u64,
    /// Cut by a process on this host.
    pub reset_local: Option<u64>,
    /// Cut by the peer, or by a timeout.
    pub reset_remote: Option<u64>,
}

/// The kernel's timewait mini-sockets of both substates, what sockstat calls `tw`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TimeWait {
    /// Alive now.
    pub now: Option<u64>,
    /// Alive when counting began. `null` in this version.
    pub seeded: Option<u64>,
    /// Created since. `null` in this version.
    pub born: Option<u64>,
    /// Wanted by the kernel and not made. `null` in this version.
    pub refused: Option<u64>,
    /// Timer restarts. `null` in this version.
    pub rearmed: Option<u64>,
    /// What ended them. `null` in this version.
    pub ended: Option<()>,
    /// Birth to end. `null` in this version.
    pub lifetime_s: Option<()>,
    /// Lifetimes by what ended them. `null` in this version.
    pub lifetime_by_end: Option<()>,
    /// Time in substate TIME_WAIT. `null` in this version.
    pub time_wait_s: Option<()>,
}

impl TimeWait {
    /// What polling tells.
    pub(super) fn polled(population: &Population) -> Self {
        Self {
            now: Some(population.time_wait),
            seeded: None,
            born: None,
            refused: None,
            rearmed: None,
            ended: None,
            lifetime_s: None,
            lifetime_by_end: None,
            time_wait_s: None,
        }
    }
}

/// One process in one namespace and role, or the sum of the rows not shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Closer {
    /// Present and `true` in the row that sums the rest.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other: bool,
    /// Thread group id; `null` for the rows `kernel` and `unknown`.
    pub pid: Option<u32>,
    /// When the process started: RFC 3339, UTC.
    pub start_time: Option<String>,
    /// Its name; `kernel` for kernel threads, `unknown` where nobody saw who closed.
    pub comm: Option<String>,
    /// Path of its cgroup.
    pub cgroup: Option<String>,
    /// Container id, where the cgroup's path shows one.
    pub container: Option<String>,
    /// Inode of the sockets' network namespace.
    pub netns: Option<u32>,
    /// `client`, `server` or `unknown`.
    pub role: Option<&'static str>,
    /// Sockets on which it sent the first FIN.
    pub active_closes: u64,
    /// Its part of `closes.active`, 0 to 1.
    pub share: Option<f64>,
    /// Sockets on which it answered the peer's FIN.
    pub peer_closes: u64,
    /// Established connections it cut; `null` where the hook cannot tell who did.
    pub resets: Option<u64>,
    /// Refused TIME_WAIT births of its closes. `null` in this version.
    pub refused: Option<u64>,
    /// TIME_WAIT sockets alive from its closes. `null` in this version.
    pub time_wait_now: Option<u64>,
    /// Σ over those of end or now − birth. `null` in this version.
    pub port_seconds: Option<f64>,
}

/// The numbers of a [`Closer`].
#[derive(Clone, Copy, Debug)]
pub(super) struct CloserCounts {
    pub(super) active_closes: u64,
    pub(super) share: Option<f64>,
    pub(super) peer_closes: u64,
    pub(super) resets: Option<u64>,
}

impl Closer {
    pub(super) fn of(counts: &CloserCounts) -> Self {
        Self {
            active_closes: counts.active_closes,
            share: counts.share,
            peer_closes: counts.peer_closes,
            resets: counts.resets,
            ..Self::default()
        }
    }

    pub(super) fn other(counts: &CloserCounts) -> Self {
        Self { other: true, ..Self::of(counts) }
    }
}

/// Every state, none of them counted: nothing is traced and sock_diag is silent.
pub(super) fn unknown_states() -> BTreeMap<&'static str, Option<u64>> {
    shown_states().map(|state| (state.name(), None)).collect()
}

/// The states of the Snapshot: closed sockets are none.
fn shown_states() -> impl Iterator<Item = TcpState> {
    TcpState::ALL.into_iter().filter(|state| *state != TcpState::Close)
}

/// What sock_diag counted: every state, as ss shows it.
pub(super) fn polled_states(population: &Population) -> BTreeMap<&'static str, Option<u64>> {
    shown_states()
        .map(|state| {
            let count = population.states.iter().find(|(found, _)| *found == state);
            (state.name(), Some(count.map_or(0, |(_, count)| *count)))
        })
        .collect()
}

/// What the tracker counts. Half-open requests (SYN_RECV) and mini-sockets
/// (TIME_WAIT) emit no transition, so their number is unknown.
pub(super) fn tracked_states(
    count: impl Fn(TcpState) -> u64,
) -> BTreeMap<&'static str, Option<u64>> {
    shown_states()
        .map(|state| {
            let known = !matches!(state, TcpState::SynRecv | TcpState::TimeWait);
            (state.name(), known.then(|| count(state)))
        })
        .collect()
}

/// RFC 3339 in UTC, to the millisecond.
pub(super) fn rfc3339(wall_ns: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_nanos(wall_ns)).to_string()
}
