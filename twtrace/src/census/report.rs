//! What `twtrace states` shows: rows, as JSON has them.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use schemars::JsonSchema;
use serde::Serialize;
use twtrace_common::TcpState;

use super::{
    Census, Counts, Holders, Namespace,
    holders::{Holding, by_process},
    listeners::Listener,
};
use crate::{event::Tuple, stats::snapshot::Host};

/// Sockets by the names of their states; every state is there.
pub type ByState = BTreeMap<&'static str, u64>;

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Report {
    /// The version of this contract.
    pub schema: u32,
    /// When: RFC 3339, UTC.
    pub time: String,
    /// Where.
    pub host: Host,
    /// Why sockets may be missing; `null` if none can.
    pub left_out: Option<String>,
    /// Of all namespaces that could be listed; `null` if none could.
    pub states: Option<ByState>,
    /// By namespace, those with most first.
    pub by_netns: Vec<Netns>,
    /// By what holds them, those with most first.
    pub by_process: Vec<Process>,
    /// By listening address and port, the fullest queue first.
    pub by_listener: Vec<ListenerRow>,
    /// Quadruplets towards a remote end, most first.
    pub destinations: Vec<Destination>,
    /// Quadruplets of a client of a listening port, most first.
    pub clients: Vec<Client>,
}

/// One network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Netns {
    /// Its inode.
    pub netns: u32,
    /// Its sockets; `null` if they are not known.
    pub sockets: Option<u64>,
    /// By state.
    pub states: Option<ByState>,
    /// Of those in ESTABLISHED, those that ask whether their peer still lives (SO_KEEPALIVE) and have
    /// nothing under way.
    pub keepalive: Option<u64>,
    /// Of those in FIN_WAIT2, those that their process has closed: mini-sockets, and sockets that
    /// tcp_fin_timeout keeps whole.
    pub fin_wait2_closed: Option<u64>,
    /// Why they are not known; `null` where they are.
    pub unavailable: Option<String>,
}

/// Who holds sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// A process.
    Process,
    /// No process: mini-sockets, half-open requests, sockets that were closed already, and
    /// connections that were not accepted yet.
    Nobody,
    /// It is not known which process, since its /proc entries may not be read, or no file
    /// descriptor refers to it.
    Unknown,
    /// Several: the sum of the rows not shown.
    Other,
}

/// What one process holds in one namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Process {
    /// What holds them.
    pub held_by: Held,
    /// Its number.
    pub pid: Option<u32>,
    /// Its name.
    pub comm: Option<String>,
    /// The sockets' namespace; `null` in a row of several.
    pub netns: Option<u32>,
    /// How many.
    pub sockets: u64,
    /// By state.
    pub states: ByState,
}

/// What listens at one address and port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ListenerRow {
    /// Present and `true` in the row that sums the rest.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other: bool,
    /// Its namespace.
    pub netns: Option<u32>,
    /// Its address.
    pub laddr: Option<String>,
    /// Its port.
    pub lport: Option<u16>,
    /// The process that holds it; of several the one of the first socket.
    pub pid: Option<u32>,
    /// Its name.
    pub comm: Option<String>,
    /// Listening sockets: more than one share the port (SO_REUSEPORT).
    pub sockets: u64,
    /// Connections that wait to be accepted.
    pub accept_queue: u64,
    /// How many may wait.
    pub backlog: u64,
    /// The connections that came through it, by state.
    pub states: ByState,
}

/// Quadruplets in use between a local address and a remote end: one for each local port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Destination {
    /// Present and `true` in the row that sums the rest.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other: bool,
    /// The namespace.
    pub netns: Option<u32>,
    /// The local address.
    pub laddr: Option<String>,
    /// The remote address.
    pub raddr: Option<String>,
    /// The remote port.
    pub rport: Option<u16>,
    /// In use, by sockets and mini-sockets.
    pub quadruplets_used: u64,
    /// Of these, by mini-sockets.
    pub time_wait: u64,
}

/// Quadruplets in use between a listening port and a client's address: one for each of the
/// client's ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Client {
    /// Present and `true` in the row that sums the rest.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other: bool,
    /// The namespace.
    pub netns: Option<u32>,
    /// The local address.
    pub laddr: Option<String>,
    /// The listening port.
    pub lport: Option<u16>,
    /// The client's address.
    pub raddr: Option<String>,
    /// In use, by sockets and mini-sockets.
    pub quadruplets_used: u64,
    /// Of these, by mini-sockets.
    pub time_wait: u64,
}

impl Census {
    /// What is to be shown, now that it is known who holds which socket.
    pub fn report(self, holders: &Holders, host: Host, time: String) -> Report {
        let rows = self.rows;
        Report {
            schema: 1,
            time,
            host,
            states: self.states().map(|counts| counts.by_name()),
            by_netns: most(netns_rows(&self.namespaces), usize::MAX, |row| {
                (Reverse(row.sockets), row.netns)
            })
            .0,
            by_process: process_rows(&self, holders),
            by_listener: listener_rows(&self.listeners, holders, rows),
            destinations: ends(self.destinations, rows),
            clients: ends(self.clients, rows),
            left_out: self.left_out,
        }
    }

    /// Of all namespaces that could be listed.
    fn states(&self) -> Option<Counts> {
        let known = self.namespaces.iter().filter_map(|it| it.counts.as_ref().ok());
        known.copied().reduce(|mut sum, counts| {
            sum.add(&counts);
            sum
        })
    }
}

/// The first `rows` in order, and those that come after.
fn most<R, K: Ord>(mut all: Vec<R>, rows: usize, key: impl FnMut(&R) -> K) -> (Vec<R>, Vec<R>) {
    all.sort_by_key(key);
    let rest = all.split_off(rows.min(all.len()));
    (all, rest)
}

fn netns_rows(namespaces: &[Namespace]) -> Vec<Netns> {
    let row = |it: &Namespace| Netns {
        netns: it.netns,
        sockets: it.counts.as_ref().ok().map(Counts::sum),
        states: it.counts.as_ref().ok().map(Counts::by_name),
        keepalive: it.counts.as_ref().ok().map(|_| it.keepalive),
        fin_wait2_closed: it.counts.as_ref().ok().map(|_| it.held_by_none.of(TcpState::FinWait2)),
        unavailable: it.counts.as_ref().err().cloned(),
    };
    namespaces.iter().map(row).collect()
}

fn process_rows(census: &Census, holders: &Holders) -> Vec<Process> {
    let order = |row: &Process| (Reverse(row.sockets), row.pid, row.netns);
    let held = by_process(&census.held, holders).into_iter();
    let (known, unknown): (Vec<_>, Vec<_>) = held.partition(|holding| holding.pid.is_some());
    let rows = known.iter().map(|holding| Process::of(holding, holders)).collect();
    let (mut shown, rest) = most(rows, census.rows, order);
    shown.extend(Process::rest(&rest));
    shown.extend(Process::sum(Held::Unknown, unknown.iter().map(|it| (it.netns, it.counts))));
    let nobodys = census.namespaces.iter().map(|it| (it.netns, it.held_by_none));
    shown.extend(Process::sum(Held::Nobody, nobodys));
    shown
}

impl Process {
    fn of(holding: &Holding, holders: &Holders) -> Self {
        Self {
            held_by: Held::Process,
            pid: holding.pid,
            comm: holding.pid.and_then(|pid| holders.names.get(&pid).cloned()),
            netns: Some(holding.netns),
            sockets: holding.counts.sum(),
            states: holding.counts.by_name(),
        }
    }

    /// Those of no process that is known; none if there are none.
    fn sum(held_by: Held, parts: impl Iterator<Item = (u32, Counts)>) -> Option<Self> {
        let (mut counts, mut namespaces) = (Counts::default(), BTreeSet::new());
        for (netns, part) in parts.filter(|(_, part)| part.sum() > 0) {
            counts.add(&part);
            namespaces.insert(netns);
        }
        let netns = namespaces.first().copied().filter(|_| namespaces.len() == 1);
        let (sockets, states) = (counts.sum(), counts.by_name());
        (sockets > 0).then_some(Self { held_by, pid: None, comm: None, netns, sockets, states })
    }

    fn rest(rows: &[Self]) -> Option<Self> {
        let mut sum = rows.first()?.clone();
        for row in &rows[1..] {
            sum.sockets += row.sockets;
            sum.states.iter_mut().for_each(|(state, count)| *count += row.states[state]);
        }
        Some(Self { held_by: Held::Other, pid: None, comm: None, netns: None, ..sum })
    }
}

fn listener_rows(listeners: &[Listener], holders: &Holders, rows: usize) -> Vec<ListenerRow> {
    let row = |it: &Listener| {
        let pid = holders.by_inode.get(&it.inode).copied();
        ListenerRow {
            other: false,
            netns: Some(it.netns),
            laddr: Some(Tuple::shown(it.laddr)),
            lport: Some(it.lport),
            pid,
            comm: pid.and_then(|pid| holders.names.get(&pid).cloned()),
            sockets: it.sockets,
            accept_queue: it.accept_queue,
            backlog: it.backlog,
            states: it.connections.by_name(),
        }
    };
    let all = listeners.iter().map(row).collect();
    let (mut shown, rest) = most(all, rows, ListenerRow::order);
    shown.extend(ListenerRow::rest(&rest));
    shown
}

impl ListenerRow {
    /// The fullest queue first, then the one with most connections.
    fn order(&self) -> impl Ord + use<> {
        let filled = self.accept_queue * 1_000 / self.backlog.max(1);
        let connections: u64 = self.states.values().sum();
        (Reverse((filled, connections)), self.netns, self.lport, self.laddr.clone())
    }

    fn rest(rows: &[Self]) -> Option<Self> {
        let first = rows.first()?;
        let mut sum =
            Self { other: true, states: first.states.clone(), sockets: 0, ..Self::default() };
        sum.states.values_mut().for_each(|count| *count = 0);
        for row in rows {
            sum.sockets += row.sockets;
            sum.accept_queue += row.accept_queue;
            sum.backlog += row.backlog;
            sum.states.iter_mut().for_each(|(state, count)| *count += row.states[state]);
        }
        Some(sum)
    }
}

/// Rows of quadruplets, of which some sum others already.
trait Quadruplets: Sized {
    fn is_sum(&self) -> bool;
    fn used(&self) -> (u64, u64);
    fn summed(used: (u64, u64)) -> Self;
}

macro_rules! quadruplets {
    ($row:ident) => {
        impl Quadruplets for $row {
            fn is_sum(&self) -> bool {
                self.other
            }

            fn used(&self) -> (u64, u64) {
                (self.quadruplets_used, self.time_wait)
            }

            fn summed((quadruplets_used, time_wait): (u64, u64)) -> Self {
                Self { other: true, quadruplets_used, time_wait, ..Self::default() }
            }
        }

        impl $row {
            /// The sum of those that have no row.
            pub(super) fn rest(used: super::ends::Used) -> Self {
                Self::summed((used.all, used.minis))
            }
        }
    };
}

quadruplets!(Destination);
quadruplets!(Client);

/// The rows of all namespaces as one list of at most `rows`, and the sum of the rest.
fn ends<R: Quadruplets>(all: Vec<R>, rows: usize) -> Vec<R> {
    let (sums, single): (Vec<R>, Vec<R>) = all.into_iter().partition(R::is_sum);
    let (mut shown, rest) = most(single, rows, |row| Reverse(row.used()));
    let rest = rest.iter().chain(&sums).map(R::used);
    let rest = rest.reduce(|sum, used| (sum.0 + used.0, sum.1 + used.1));
    shown.extend(rest.map(R::summed));
    shown
}
