//! Who closes first: one row per process, namespace and role.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;
use hashlink::LruCache;
use twtrace_common::ProcessKey;

use super::{
    distribution::Distribution,
    lifetimes::seconds,
    processes::{Processes, UNKNOWN},
    snapshot,
};
use crate::{
    event::Role,
    tracker::{Credit, Maker, Mini, Transition},
};

/// Rows kept. Beyond it, those quiet longest are summed into one, so that
/// short-lived processes by the million cost no memory.
const MAX_ROWS: usize = 65_536;
/// Rows that have a distribution of lifetimes, at 5 KB each.
const MAX_DISTRIBUTIONS: usize = 1_024;

/// Whom a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Who {
    Process(ProcessKey),
    /// Any kernel thread.
    Kernel,
    /// Nobody saw who it was.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct RowKey {
    who: Who,
    netns: Option<u32>,
    role: Role,
}

#[derive(Clone, Debug, Default)]
struct Counts {
    active_closes: u64,
    peer_closes: u64,
    resets: u64,
    /// Closes that left no mini-socket, and nothing tells why.
    without: u64,
    /// Closes whose mini-socket was seen to be refused.
    refused: u64,
    minis: MiniCounts,
    /// In microseconds.
    lifetimes: Option<Box<Distribution>>,
}

/// The mini-sockets of one row.
#[derive(Clone, Copy, Debug, Default)]
struct MiniCounts {
    /// Alive, and born before counting began.
    carried: u64,
    /// The others that are alive.
    alive: u64,
    /// Σ of the births of those alive, on the clock of records.
    births_ns: u128,
    /// Σ of the lifetimes of those that ended.
    lived_ns: u128,
}

/// What rows are shown against.
pub(super) struct RowTotals<'a> {
    /// When, on the clock of records.
    pub(super) time_ns: u64,
    /// `closes.active`.
    pub(super) active: u64,
    /// Whether the hook can tell who reset a connection.
    pub(super) fields_known: bool,
    /// Whether mini-sockets are followed.
    pub(super) minis_known: bool,
    /// Whether each refused birth tells of itself.
    pub(super) refusals_seen: bool,
    /// Where it does not: refused births by namespace; `None` where that is not known.
    pub(super) refused: &'a dyn Fn(u32) -> Option<u64>,
    /// What to add to a process's start for the wall clock's.
    pub(super) wall_at_boot_ns: u64,
}

/// The closers. See the module's documentation.
#[derive(Debug)]
pub(super) struct Closers {
    rows: LruCache<RowKey, Counts, FixedState>,
    distributions: usize,
    /// Closes that left no mini-socket, and nothing tells why, by namespace.
    without: HashMap<u32, u64, FixedState>,
    /// The sum of the rows that had to make room.
    folded: Counts,
    /// Active closes that turned out to be simultaneous.
    withdrawn: u64,
}

impl Default for Closers {
    fn default() -> Self {
        Self {
            rows: LruCache::with_hasher(MAX_ROWS, FixedState::default()),
            distributions: 0,
            without: HashMap::default(),
            folded: Counts::default(),
            withdrawn: 0,
        }
    }
}

impl Closers {
    pub(super) fn apply(&mut self, transition: &Transition, processes: &mut Processes) {
        let Some((credit, process)) = transition.credit else {
            return;
        };
        self.withdrawn += u64::from(credit == Credit::ActiveCloseWithdrawn);
        let who = who(process, processes);
        let counts = self.row(RowKey { who, netns: transition.netns, role: transition.role });
        match credit {
            Credit::ActiveClose => counts.active_closes += 1,
            Credit::ActiveCloseWithdrawn => {
                counts.active_closes = counts.active_closes.saturating_sub(1);
            }
            Credit::PeerClose => counts.peer_closes += 1,
            Credit::Reset => counts.resets += 1,
        }
    }

    /// A close left a mini-socket.
    pub(super) fn born(&mut self, mini: &Mini, processes: &mut Processes) {
        let minis = &mut self.row(row_of(&mini.maker, processes)).minis;
        minis.alive += 1;
        minis.births_ns += u128::from(mini.born_ns);
    }

    /// A close had left a mini-socket when counting began.
    pub(super) fn carried(&mut self, mini: &Mini, processes: &mut Processes) {
        self.row(row_of(&mini.maker, processes)).minis.carried += 1;
    }

    /// A close left none: the kernel refused it.
    pub(super) fn refused(&mut self, maker: &Maker, processes: &mut Processes) {
        self.row(row_of(maker, processes)).refused += 1;
    }

    /// A close left none, and nothing tells why.
    pub(super) fn left_nothing(&mut self, maker: &Maker, processes: &mut Processes) {
        *self.without.entry(maker.netns).or_default() += 1;
        self.row(row_of(maker, processes)).without += 1;
    }

    /// A mini-socket ended; `lifetime_ns` is unknown if nobody saw when.
    pub(super) fn ended(
        &mut self,
        mini: &Mini,
        lifetime_ns: Option<u64>,
        processes: &mut Processes,
    ) {
        let key = row_of(&mini.maker, processes);
        let may_keep = self.distributions < MAX_DISTRIBUTIONS;
        // A row that had to make room took its mini-sockets along.
        let Some(row) = self.rows.get_mut(&key) else {
            self.folded.minis.ended(mini, lifetime_ns);
            return;
        };
        row.minis.ended(mini, lifetime_ns);
        if let Some(lifetime_ns) = lifetime_ns
            && (row.lifetimes.is_some() || may_keep)
        {
            self.distributions += usize::from(row.lifetimes.is_none());
            let lifetimes = row.lifetimes.get_or_insert_with(|| Box::new(Distribution::coarse()));
            lifetimes.record(lifetime_ns / 1_000);
        }
    }

    /// How many active closes turned out to be simultaneous.
    pub(super) fn withdrawn(&self) -> u64 {
        self.withdrawn
    }

    fn row(&mut self, key: RowKey) -> &mut Counts {
        if self.rows.len() >= MAX_ROWS
            && !self.rows.contains_key(&key)
            && let Some((_, quiet)) = self.rows.remove_lru()
        {
            self.distributions -= usize::from(quiet.lifetimes.is_some());
            self.folded.add(&quiet);
        }
        self.rows.entry(key).or_insert_with(Counts::default)
    }

    /// The `top` rows by active closes, then one that sums the rest if there is any.
    pub(super) fn rows(
        &self,
        top: usize,
        processes: &Processes,
        totals: &RowTotals<'_>,
    ) -> Vec<snapshot::Closer> {
        let mut ranked: Vec<(&RowKey, &Counts)> = self.rows.iter().collect();
        ranked.sort_unstable_by_key(|(key, counts)| (std::cmp::Reverse(counts.rank()), **key));
        let mut rest = self.folded.clone();
        let mut rest_refused = totals.minis_known.then_some(0);
        for (key, counts) in ranked.iter().skip(top) {
            rest.add(counts);
            rest_refused =
                rest_refused.zip(self.refused_of(key, counts, totals)).map(|(a, b)| a + b);
        }
        let summed: u64 = ranked.iter().take(top).map(|(_, counts)| counts.active_closes).sum();
        // Where records were lost, a withdrawal may be among them.
        let active = totals.active.max(summed + rest.active_closes);
        let other = (ranked.len() > top || rest.rank() > (0, 0, 0)).then(|| {
            let folded = self.folded.refused;
            let refused = rest_refused
                .filter(|_| totals.refusals_seen || self.folded.without == 0)
                .map(|refused| refused + folded);
            snapshot::Closer { other: true, refused, ..rest.shown(active, totals) }
        });
        let shown = |(key, counts): &(&RowKey, &Counts)| snapshot::Closer {
            refused: self.refused_of(key, counts, totals),
            ..introduced(key, processes, totals, counts.shown(active, totals))
        };
        ranked.iter().take(top).map(shown).chain(other).collect()
    }

    /// Processes with mini-sockets of connections that they opened, and of some that they
    /// accepted; the `top` of them.
    pub(super) fn proxies(&self, top: usize, processes: &Processes) -> Vec<snapshot::Proxy> {
        let mut sides: BTreeMap<(ProcessKey, Option<u32>), (u64, u64)> = BTreeMap::new();
        for (key, counts) in &self.rows {
            let Who::Process(process) = key.who else { continue };
            let (outbound, inbound) = sides.entry((process, key.netns)).or_default();
            match key.role {
                Role::Client => *outbound += counts.minis.now(),
                Role::Server => *inbound += counts.minis.now(),
                Role::Unknown => {}
            }
        }
        let mut rows: Vec<_> = sides.into_iter().filter(|(_, (a, b))| *a > 0 && *b > 0).collect();
        rows.sort_by_key(|(_, (outbound, inbound))| std::cmp::Reverse(outbound + inbound));
        let row = |((process, netns), (outbound, inbound)): ((ProcessKey, _), _)| snapshot::Proxy {
            pid: Some(process.tgid),
            comm: processes.comm(Some(process)),
            netns,
            outbound_time_wait: outbound,
            inbound_time_wait: inbound,
        };
        rows.into_iter().take(top).map(row).collect()
    }

    /// Closes in `netns` that left no mini-socket, and nothing tells why.
    pub(super) fn without_in(&self, netns: u32) -> u64 {
        self.without.get(&netns).copied().unwrap_or(0)
    }

    /// Refused births of one row. Where they are not seen: closes without a
    /// mini-socket, if all of these in the namespace were refused one, or none was.
    fn refused_of(&self, key: &RowKey, counts: &Counts, totals: &RowTotals<'_>) -> Option<u64> {
        if !totals.minis_known {
            return None;
        }
        if totals.refusals_seen {
            return Some(counts.refused);
        }
        let netns = key.netns?;
        let without = self.without_in(netns);
        match (counts.without, (totals.refused)(netns)) {
            (0, _) | (_, Some(0)) => Some(0),
            (_, Some(refused)) if refused >= without => Some(counts.without),
            _ => None,
        }
    }
}

fn who(process: Option<ProcessKey>, processes: &mut Processes) -> Who {
    match process {
        None => Who::Unknown,
        Some(key) if processes.is_kernel_thread(&key) => Who::Kernel,
        Some(key) => Who::Process(key),
    }
}

fn row_of(maker: &Maker, processes: &mut Processes) -> RowKey {
    RowKey { who: who(maker.process(), processes), netns: Some(maker.netns), role: maker.role }
}

/// `row` with what is known of whom it is about.
fn introduced(
    key: &RowKey,
    processes: &Processes,
    totals: &RowTotals<'_>,
    row: snapshot::Closer,
) -> snapshot::Closer {
    let mut row = snapshot::Closer { netns: key.netns, role: Some(key.role.name()), ..row };
    match key.who {
        Who::Kernel => row.comm = Some("kernel".to_owned()),
        Who::Unknown => row.comm = Some(UNKNOWN.to_owned()),
        Who::Process(process) => {
            row.pid = Some(process.tgid);
            row.start_time = (process.start_time_ns != 0).then(|| {
                snapshot::rfc3339(totals.wall_at_boot_ns.saturating_add(process.start_time_ns))
            });
            if let Some(known) = processes.get(&process) {
                row.comm = Some(known.comm.to_string());
                row.cgroup.clone_from(&known.cgroup);
                row.container.clone_from(&known.container);
            }
        }
    }
    row
}

impl Counts {
    fn rank(&self) -> (u64, u64, u64) {
        (self.active_closes, self.resets, self.peer_closes)
    }

    fn add(&mut self, other: &Self) {
        self.active_closes += other.active_closes;
        self.peer_closes += other.peer_closes;
        self.resets += other.resets;
        self.without += other.without;
        self.refused += other.refused;
        self.minis.carried += other.minis.carried;
        self.minis.alive += other.minis.alive;
        self.minis.births_ns += other.minis.births_ns;
        self.minis.lived_ns += other.minis.lived_ns;
    }

    /// The numbers of a row, of nobody yet.
    fn shown(&self, active: u64, totals: &RowTotals<'_>) -> snapshot::Closer {
        let known = totals.minis_known;
        snapshot::Closer {
            active_closes: self.active_closes,
            share: (active > 0).then(|| self.active_closes as f64 / active as f64),
            peer_closes: self.peer_closes,
            resets: totals.fields_known.then_some(self.resets),
            time_wait_now: known.then_some(self.minis.now()),
            port_seconds: known.then(|| self.minis.port_seconds(totals.time_ns)),
            lifetime_s: self.lifetimes.as_ref().map(|lifetimes| lifetimes.summary(seconds)),
            ..snapshot::Closer::default()
        }
    }
}

impl MiniCounts {
    fn now(&self) -> u64 {
        self.carried + self.alive
    }

    fn ended(&mut self, mini: &Mini, lifetime_ns: Option<u64>) {
        if mini.carried {
            self.carried = self.carried.saturating_sub(1);
            return;
        }
        self.alive = self.alive.saturating_sub(1);
        self.births_ns = self.births_ns.saturating_sub(u128::from(mini.born_ns));
        self.lived_ns += u128::from(lifetime_ns.unwrap_or(0));
    }

    /// Σ of end or now − birth.
    fn port_seconds(&self, now_ns: u64) -> f64 {
        let alive_ns = (u128::from(now_ns) * u128::from(self.alive)).saturating_sub(self.births_ns);
        (self.lived_ns + alive_ns) as f64 / 1e9
    }
}
