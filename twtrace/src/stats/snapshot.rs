//! The Snapshot: the contract with everyone who reads `--json`.
//!
//! A key is present, or `null` where the number is unknown; never 0 for
//! unknown. `docs/json.md` explains each key, `docs/snapshot.schema.json` is
//! generated from here.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

use schemars::JsonSchema;
use serde::Serialize;
use twtrace_common::TcpState;

pub use super::encoded::Encoded;
use crate::probes::{Capability, Exactness, Hooks, Tier};

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
    /// What alone is counted here, as on the command line; not present where everything is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
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
    /// The same by the role of the process, and births, as far as records tell.
    pub roles: Option<Roles>,
    /// The kernel's timewait mini-sockets of both substates.
    pub time_wait: Option<TimeWait>,
    /// Those of them in substate FIN_WAIT2.
    pub fin_wait2: Option<FinWait2>,
    /// Who closes first, by `active_closes`.
    pub closers: Option<Vec<Closer>>,
    /// What the search for a free local port costs.
    pub port_search: Option<PortSearch>,
    /// Which destination runs out of ports, by `used_ratio`.
    pub destinations: Option<Vec<Destination>>,
    /// Quadruplets in use towards listening ports, by `quadruplets_used`.
    pub clients: Option<Vec<Client>>,
    /// Processes whose mini-sockets keep ports towards destinations and quadruplets of
    /// their clients busy, by the sum of both.
    pub proxies: Option<Vec<Proxy>>,
    /// What each network namespace lets connects take of ports in TIME_WAIT.
    pub tw_reuse: Option<Vec<TwReuse>>,
    /// Who does not close sockets whose peer has closed (CLOSE_WAIT), by `count`; `null` if
    /// sock_diag does not answer, and before its first answer.
    pub close_wait: Option<Vec<CloseWait>>,
    /// Sockets by state, now.
    pub states: BTreeMap<&'static str, Option<u64>>,
    /// The kernel's own counters of one namespace.
    pub kernel: Option<Kernel>,
    /// Ours minus the kernel's, in that namespace, since attach.
    pub reconcile: Option<Reconcile>,
    /// Histograms as HdrHistogram V2, deflated, base64.
    pub hdr: Option<Hdr>,
}

/// A distribution: how many values, and where they lie.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Summary<T> {
    /// Values seen.
    pub count: u64,
    /// The smallest.
    pub min: Option<T>,
    /// Their mean.
    pub mean: Option<T>,
    /// Half of them are no more than this.
    pub p50: Option<T>,
    /// 90 % of them are no more than this.
    pub p90: Option<T>,
    /// 99 % of them are no more than this.
    pub p99: Option<T>,
    /// The largest.
    pub max: Option<T>,
}

impl<T> Summary<T> {
    /// Of no values at all.
    pub(super) const EMPTY: Self =
        Self { count: 0, min: None, mean: None, p50: None, p90: None, p99: None, max: None };
}

/// Lifetimes by the name of what ended them.
pub type LifetimesByEnd = BTreeMap<&'static str, Summary<f64>>;

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
    /// What these searches cost in CPU.
    pub cpu_share: Option<Tier>,
    /// How many ports each looks at.
    pub ports_tried: Option<Tier>,
    /// Whether transitions are counted and not told one by one (`--light`): what depends on
    /// whose they are is `null`.
    pub light: bool,
    /// How exact each key is; `null` where the key is.
    pub exactness: BTreeMap<String, Option<Exactness>>,
}

impl Probes {
    /// What `hooks` deliver that follow mini-sockets. `states` and what is
    /// `seeded` have words of their own, since they depend on what sock_diag
    /// answered too.
    pub fn followed(hooks: Hooks, states: Option<Exactness>, seeded: Exactness) -> Self {
        let mut words = vec![("states", states)];
        words.extend(["time_wait.now", "time_wait.seeded"].map(|key| (key, Some(seeded))));
        if hooks.probes_functions(Capability::EndCause) {
            words.push(("fin_wait2.now", Some(seeded)));
        }
        Self::new(hooks, &words)
    }

    /// What `hooks` deliver where sock_diag is polled for mini-sockets, or for
    /// all: `now` is the word of what the last look showed, `seeded` of what was
    /// there before.
    pub fn polled(
        hooks: Hooks,
        states: Option<Exactness>,
        now: Option<Exactness>,
        seeded: Option<Exactness>,
    ) -> Self {
        let mut words = vec![("states", states)];
        if hooks.time_wait.is_some() {
            let shown = ["time_wait.now", "time_wait.remaining_s", "fin_wait2.now"];
            words.extend(shown.map(|key| (key, now)));
            words.push(("time_wait.seeded", seeded));
        }
        Self::new(hooks, &words)
    }

    /// What `hooks` deliver, with other words for some keys.
    fn new(hooks: Hooks, words: &[(&str, Option<Exactness>)]) -> Self {
        let mut exactness = hooks.exactness();
        exactness.extend(words.iter().map(|(key, word)| ((*key).to_owned(), *word)));
        Self {
            transitions: hooks.tier(Capability::Transitions),
            time_wait: hooks.tier(Capability::TimeWait),
            end_cause: hooks.tier(Capability::EndCause),
            port_search: hooks.tier(Capability::PortSearch),
            cpu_share: hooks.tier(Capability::CpuShare),
            ports_tried: hooks.tier(Capability::PortsTried),
            light: hooks.light,
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
    /// Births of mini-sockets.
    pub births_per_s: Option<f64>,
    /// Ends of mini-sockets.
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

/// What processes did that connected, that accepted, and of which that is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Roles {
    /// It called connect().
    pub client: RoleCounts,
    /// A listener accepted it.
    pub server: RoleCounts,
    /// It was there before twtrace, or nobody saw whose it was.
    pub unknown: RoleCounts,
}

/// What processes of one role did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RoleCounts {
    /// They sent the first FIN.
    pub active: u64,
    /// The peer sent the first FIN.
    pub passive: u64,
    /// Both FINs crossed; not counted as active.
    pub simultaneous: u64,
    /// Cut while established, by RST or timeout.
    pub reset: u64,
    /// Mini-sockets that their closes left.
    pub time_wait_born: Option<u64>,
}

/// The kernel's timewait mini-sockets of both substates, what sockstat calls `tw`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct TimeWait {
    /// Alive now.
    pub now: Option<u64>,
    /// Alive when counting began.
    pub seeded: Option<u64>,
    /// Created since.
    pub born: Option<u64>,
    /// Wanted by the kernel and not made.
    pub refused: Option<u64>,
    /// Timer restarts; `null` where they are silent.
    pub rearmed: Option<u64>,
    /// What ended them.
    pub ended: Ended,
    /// Birth to end, of those born and ended since.
    pub lifetime_s: Option<Summary<f64>>,
    /// Lifetimes by what ended them, where anything did.
    pub lifetime_by_end: Option<LifetimesByEnd>,
    /// Time in substate TIME_WAIT; `null` where the step is silent.
    pub time_wait_s: Option<Summary<f64>>,
    /// Time until the timer of those alive is due. Only where nothing is traced.
    pub remaining_s: Option<Summary<f64>>,
}

/// Mini-sockets ended since, those seeded among them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Ended {
    /// Timer, in substate TIME_WAIT.
    pub expired: Option<u64>,
    /// Timer, in substate FIN_WAIT2: the peer never closed.
    pub fin_wait2_timeout: Option<u64>,
    /// Taken by an outgoing connect.
    pub reused: Option<u64>,
    /// Of these, by one that was bound to the port.
    pub reused_bound: Option<u64>,
    /// Made room for an incoming connection.
    pub replaced: Option<u64>,
    /// RST received.
    pub reset: Option<u64>,
    /// Answered with RST.
    pub rejected: Option<u64>,
    /// `ss -K`, BPF.
    pub aborted: Option<u64>,
    /// The network namespace went.
    pub purged: Option<u64>,
    /// TPROXY, or a cause that could not be told.
    pub other: Option<u64>,
    /// No longer there, and nobody saw the end.
    pub unseen: Option<u64>,
}

/// Mini-sockets in substate FIN_WAIT2: the peer has not closed yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct FinWait2 {
    /// Alive now, in that substate.
    pub now: Option<u64>,
    /// Created in that substate.
    pub born: Option<u64>,
    /// Of these, known to have become TIME_WAIT since; `null` until one is.
    pub to_time_wait: Option<u64>,
    /// Time in that substate; `null` where the step is silent.
    pub time_s: Option<Summary<f64>>,
}

/// What the search for a free local port costs.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PortSearch {
    /// The path of the cgroup whose processes' searches alone are counted here; not
    /// present where everybody's are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only_cgroup: Option<String>,
    /// By bind to port 0, and by listen without a port.
    pub bind: PortSearchKind,
    /// Checks of a port that the process chose.
    pub bind_explicit: BindExplicit,
    /// By connect of a socket without a port.
    pub connect: PortSearchKind,
    /// By process and kind, by `total_ns`.
    pub by_process: Vec<SearchingProcess>,
    /// By the remote end of connects, by `total_ns`.
    pub by_destination: Vec<SearchedDestination>,
    /// By network namespace and kind, by `total_ns`.
    pub by_netns: Vec<SearchedNetns>,
    /// Searches that failed, by process and remote end, by `count`.
    pub failures: Vec<SearchFailure>,
    /// Processes that bind a port before they connect, which keeps it from every other
    /// destination, by `count`.
    pub bind_before_connect: Vec<BoundConnects>,
    /// CPU samples of all processors; `null` where they are not taken.
    pub samples: Option<Samples>,
}

/// CPU samples: each processor is looked at many times a second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Samples {
    /// How often each processor is looked at, per second.
    pub hz: u64,
    /// Samples that met a search by bind.
    pub bind: u64,
    /// Samples that met a search by connect.
    pub connect: u64,
}

/// Where the ports lie that searches found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Halves {
    /// In the half that is searched first: of connect the ports as even or odd as the
    /// first of the range, of bind the others.
    pub first_half: u64,
    /// In the other: every port of the first half was taken.
    pub second_half: u64,
    /// Not known: outside the range, or the port or the range is not known.
    pub unknown: u64,
}

/// The searches in one network namespace.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct SearchedNetns {
    /// Present and `true` in the row that sums the rest.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other: bool,
    /// Its inode.
    pub netns: Option<u32>,
    /// By which call; `null` in the row that sums the rest.
    pub op: Option<SearchOp>,
    /// Searches.
    pub count: u64,
    /// By errno; `null` where failures are not seen.
    pub failed: Option<Failures>,
    /// How long they took at most.
    pub latency_ns: Summary<u64>,
    /// Σ of these.
    pub total_ns: u64,
}

/// Searches of one process that failed alike.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct SearchFailure {
    /// Present and `true` in the row that sums the rest.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other: bool,
    /// Thread group id; `null` if nobody saw who it was.
    pub pid: Option<u32>,
    /// Its name; `unknown` if nobody saw who it was.
    pub comm: Option<String>,
    /// Inode of the network namespace.
    pub netns: Option<u32>,
    /// `connect`, `bind` or `bind_explicit`; `null` in the row that sums the rest.
    pub op: Option<&'static str>,
    /// The errno's name; `null` in the row that sums the rest.
    pub error: Option<&'static str>,
    /// Of a connect, the local address.
    pub laddr: Option<String>,
    /// Of a connect, the remote address.
    pub raddr: Option<String>,
    /// Of a connect, the remote port.
    pub rport: Option<u16>,
    /// Of `bind_explicit`, the port that was asked for; `null` where that is not told.
    pub lport: Option<u16>,
    /// How often.
    pub count: u64,
    /// The state of the port range when it last happened; `null` if that is not known.
    pub last: Option<RangeState>,
}

/// A port range at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RangeState {
    /// The first port of the range.
    pub low: u16,
    /// The last port of the range.
    pub high: u16,
    /// Of a connect, the ports taken towards the destination; of a bind, the ports that
    /// any socket had.
    pub ports_used: u64,
    /// The ports that the range offers.
    pub ports_available: u64,
}

/// A process that binds before it connects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BoundConnects {
    /// Present and `true` in the row that sums the rest.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other: bool,
    /// Thread group id; `null` if nobody saw who it was.
    pub pid: Option<u32>,
    /// Its name; `unknown` if nobody saw who it was.
    pub comm: Option<String>,
    /// Inode of the network namespace.
    pub netns: Option<u32>,
    /// Connects of sockets that had a port.
    pub count: u64,
    /// Of these, those whose port lies in the automatic range; `null` where that is not
    /// known.
    pub in_range: Option<u64>,
}

/// Local ports taken towards one remote end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Destination {
    /// Present and `true` in the row that sums the rest.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other: bool,
    /// Inode of the network namespace.
    pub netns: Option<u32>,
    /// Local address.
    pub laddr: Option<String>,
    /// Remote address.
    pub raddr: Option<String>,
    /// Remote port.
    pub rport: Option<u16>,
    /// Local ports taken, by connections and by mini-sockets.
    pub ports_used: u64,
    /// Of these, by mini-sockets.
    pub ports_time_wait: u64,
    /// What the automatic search may give: the range without the reserved ports and the
    /// odd last one.
    pub ports_available: Option<u64>,
    /// Of these, those that the search passes over because a process has bound them.
    pub ports_bound: Option<u64>,
    /// Mini-sockets whose port tcp_tw_reuse would give up now.
    pub ports_reusable: Option<u64>,
    /// `ports_used` by `ports_available`.
    pub used_ratio: Option<f64>,
    /// The range that the search walks: the namespace's, or the sockets' own.
    pub range: Option<SearchRange>,
    /// Ports taken per second, over the last ten.
    pub opens_per_s: Option<f64>,
    /// Seconds until half of the ports are taken, from where on each connect searches
    /// the other half too: 0 when past, `null` when not approaching, where there is no
    /// knee, and where it is not known.
    pub knee_in_s: Option<f64>,
    /// Seconds until no port is left: 0 when there is none, `null` when not approaching,
    /// and where it is not known.
    pub exhausted_in_s: Option<f64>,
    /// Connects that failed, by the name of their errno.
    pub connect_errors: Failures,
    /// Where the ports lie that were found.
    pub found: Halves,
    /// Mini-sockets whose port a connect took.
    pub reused: u64,
    /// The process that took the last port.
    pub pid: Option<u32>,
    /// Its name.
    pub comm: Option<String>,
}

/// The ports that a connect's search walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SearchRange {
    /// The first port.
    pub low: u16,
    /// The last port.
    pub high: u16,
    /// Whether the socket asked for it (IP_LOCAL_PORT_RANGE).
    pub own: bool,
    /// 2: first the ports as even or odd as the first one, then the others. 1: one after
    /// the other. `null`: at random.
    pub step: Option<u16>,
}

/// Quadruplets in use between one client address and a listening port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Client {
    /// Present and `true` in the row that sums the rest.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other: bool,
    /// Inode of the network namespace.
    pub netns: Option<u32>,
    /// Local address.
    pub laddr: Option<String>,
    /// Local port.
    pub lport: Option<u16>,
    /// The client's address.
    pub raddr: Option<String>,
    /// Remote ports in use, by connections and by mini-sockets.
    pub quadruplets_used: u64,
    /// Of these, by mini-sockets.
    pub time_wait: u64,
}

/// A process that pays on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Proxy {
    /// Thread group id.
    pub pid: Option<u32>,
    /// Its name.
    pub comm: Option<String>,
    /// Inode of the network namespace.
    pub netns: Option<u32>,
    /// Mini-sockets of connections that it opened.
    pub outbound_time_wait: u64,
    /// Mini-sockets of connections that it accepted.
    pub inbound_time_wait: u64,
}

/// What one network namespace lets connects take of ports in TIME_WAIT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TwReuse {
    /// Its inode.
    pub netns: u32,
    /// tcp_tw_reuse: 0 never, 1 always, 2 on loopback.
    pub setting: Option<u8>,
    /// How old they must be, in milliseconds.
    pub delay_ms: Option<u64>,
    /// Mini-sockets towards destinations that a connect could take now.
    pub reusable: Option<u64>,
    /// Those that it could not, by the reason that comes first.
    pub refused: ReuseRefusals,
}

/// Why a connect may not take the port of a mini-socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ReuseRefusals {
    /// tcp_tw_reuse is 0, or 2 and it is not on loopback.
    pub setting: Option<u64>,
    /// Its connection had no timestamps.
    pub no_timestamps: Option<u64>,
    /// It is younger than the delay.
    pub too_young: Option<u64>,
    /// Its peer has not closed yet; 0 where the step to TIME_WAIT is silent.
    pub fin_wait2: Option<u64>,
    /// A process had bound its port, which connects pass over.
    pub bound: Option<u64>,
}

/// Failures by the name of their errno.
pub type Failures = BTreeMap<&'static str, u64>;

/// Port searches of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PortSearchKind {
    /// Searches; of bind, those that found a port.
    pub count: u64,
    /// By errno; `null` where failures are not seen.
    pub failed: Option<Failures>,
    /// How long they took at most, failed ones too.
    pub latency_ns: Summary<u64>,
    /// Σ of these.
    pub total_ns: u64,
    /// CPU as a share of one core, in percent, over the last interval; `null` where no
    /// samples are taken.
    pub cpu_core_pct: Option<f64>,
    /// Where the ports lie that were found.
    pub found: Halves,
    /// How many taken ports each search looked at; `null` where nobody counts.
    pub tried: Option<Summary<u64>>,
}

/// Checks of a port that the process chose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BindExplicit {
    /// Those that got it.
    pub count: u64,
    /// By errno; `null` where failures are not seen.
    pub failed: Option<Failures>,
}

/// Which call searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SearchOp {
    /// `bind()`, `listen()`.
    Bind,
    /// `connect()`.
    Connect,
}

/// The searches of one process.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct SearchingProcess {
    /// Present and `true` in the row that sums the rest.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other: bool,
    /// Thread group id; `null` if nobody saw who it was.
    pub pid: Option<u32>,
    /// Its name; `unknown` if nobody saw who it was.
    pub comm: Option<String>,
    /// By which call; `null` in the row that sums the rest.
    pub op: Option<SearchOp>,
    /// Searches.
    pub count: u64,
    /// By errno; `null` where failures are not seen.
    pub failed: Option<Failures>,
    /// How long they took at most.
    pub latency_ns: Summary<u64>,
    /// Σ of these.
    pub total_ns: u64,
    /// CPU as a share of one core, in percent, over the last interval; `null` where no
    /// samples are taken.
    pub cpu_core_pct: Option<f64>,
}

/// The connect searches towards one remote end.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct SearchedDestination {
    /// Present and `true` in the row that sums the rest.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other: bool,
    /// Inode of the network namespace.
    pub netns: Option<u32>,
    /// Its address; `null` in the row that sums the rest.
    pub raddr: Option<String>,
    /// Its port; `null` in the row that sums the rest.
    pub rport: Option<u16>,
    /// Searches.
    pub count: u64,
    /// By errno.
    pub failed: Failures,
    /// How long they took at most.
    pub latency_ns: Summary<u64>,
    /// Σ of these.
    pub total_ns: u64,
}

/// Sockets in CLOSE_WAIT of one process in one namespace: the peer has closed, the process
/// has not. As the last look at them showed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct CloseWait {
    /// Present and `true` in the row that sums the rest.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other: bool,
    /// Thread group id of the process that holds them; `null` if that is not known.
    pub pid: Option<u32>,
    /// Its name; `unknown` if it is not known who holds them.
    pub comm: Option<String>,
    /// Path of its cgroup.
    pub cgroup: Option<String>,
    /// Container id, where the cgroup's path shows one.
    pub container: Option<String>,
    /// Inode of the sockets' network namespace.
    pub netns: Option<u32>,
    /// Sockets.
    pub count: u64,
    /// Of these, those that no process has accepted yet.
    pub unaccepted: u64,
    /// How long the oldest of them has been there at least.
    pub oldest_s: Option<f64>,
    /// How many more there are than a minute ago, or by the minute if less has been looked
    /// at; `null` until two looks are five seconds apart.
    pub growth_per_min: Option<f64>,
}

/// The kernel's own counters of one namespace, since that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Kernel {
    /// Its inode.
    pub netns: u32,
    /// Mini-sockets now, by sockstat.
    pub tw_sockstat: Option<u64>,
    /// The counters of TcpExt and Tcp, by the kernel's names; those that it
    /// does not have are left out.
    #[serde(flatten)]
    pub counters: BTreeMap<Cow<'static, str>, u64>,
}

/// Ours minus the kernel's, in `kernel.netns`, since attach; `null` where this
/// kernel counts otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Reconcile {
    /// Against sockstat's `tw`.
    pub time_wait_now_minus_sockstat: Option<i64>,
    /// Against TW + TWKilled.
    #[serde(rename = "births_minus_TW")]
    pub births_minus_tw: Option<i64>,
    /// Against TWRecycled.
    #[serde(rename = "reused_minus_TWRecycled")]
    pub reused_minus_twrecycled: Option<i64>,
    /// Against TCPTimeWaitOverflow.
    pub refused_minus_overflow: Option<i64>,
}

/// Histograms as HdrHistogram V2, deflated, base64: hosts and files merge exactly.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Hdr {
    /// Lifetimes of mini-sockets, in microseconds.
    #[schemars(with = "Option<String>")]
    pub time_wait_lifetime: Option<Encoded>,
    /// Latencies of searches by bind, in nanoseconds.
    #[schemars(with = "Option<String>")]
    pub port_search_bind: Option<Encoded>,
    /// Latencies of searches by connect, in nanoseconds.
    #[schemars(with = "Option<String>")]
    pub port_search_connect: Option<Encoded>,
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
    /// Refused mini-sockets of its closes; `null` if it is not known which of
    /// its closes without one were refused it.
    pub refused: Option<u64>,
    /// Mini-sockets alive from its closes.
    pub time_wait_now: Option<u64>,
    /// Σ over those that were ever alive of end or now − birth.
    pub port_seconds: Option<f64>,
    /// Birth to end, of those that ended; `null` before the first, and where
    /// there are too many rows.
    pub lifetime_s: Option<Summary<f64>>,
}

/// Every state, none of them counted: nothing is traced and sock_diag is silent.
pub(super) fn unknown_states() -> BTreeMap<&'static str, Option<u64>> {
    shown_states().map(|state| (state.name(), None)).collect()
}

/// The states of the Snapshot: closed sockets are none.
fn shown_states() -> impl Iterator<Item = TcpState> {
    TcpState::ALL.into_iter().filter(|state| *state != TcpState::Close)
}

/// What sock_diag counted: every state, as ss shows it. Of half-open requests it tells
/// no ends, by which a filter could ask.
pub(super) fn polled_states(
    states: &[(TcpState, u64)],
    is_filtered: bool,
) -> BTreeMap<&'static str, Option<u64>> {
    shown_states()
        .map(|state| {
            let count = states.iter().find(|(found, _)| *found == state);
            let is_known = !is_filtered || state != TcpState::SynRecv;
            (state.name(), is_known.then_some(count.map_or(0, |(_, count)| *count)))
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
pub(crate) fn rfc3339(wall_ns: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_nanos(wall_ns)).to_string()
}
