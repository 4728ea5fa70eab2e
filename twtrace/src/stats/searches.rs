//! What the search for a local port costs, and whom.

use std::{cmp::Reverse, collections::BTreeMap, hash::Hash, num::NonZeroU32};

use foldhash::fast::FixedState;
use hashlink::LruCache;
use twtrace_common::{ProcessKey, SEARCHES, Search};

use super::{
    bound_connects::BoundConnects,
    destinations::halves,
    distribution::Distribution,
    processes::Processes,
    samples::{Hits, Sampling},
    search_failures::SearchFailures,
    snapshot::{self, PortSearchKind, SearchOp},
    totals::TotalCounts,
};
use crate::{
    event::{SampleEvent, Tuple},
    tracker::{BoundConnect, Destination, PortSearch, ports::Found},
};

/// Rows kept of each kind; each has a distribution.
const MAX_ROWS: usize = 1_024;
/// What a search that finds nothing ends with, as a rule: of connect, and of bind.
const NO_PORT: (u16, &str) = (99, "EADDRNOTAVAIL");
const IN_USE: (u16, &str) = (98, "EADDRINUSE");
/// What else it may end with.
const NO_MEMORY: (u16, &str) = (12, "ENOMEM");
const OTHER_ERROR: &str = "other";

/// Searches of one kind.
#[derive(Clone, Debug)]
struct Cost {
    count: u64,
    failed: Failed,
    /// In nanoseconds; from outside, an upper bound each.
    latency: Distribution,
    /// Where the ports lay that were found.
    found: Found,
    /// CPU samples within the interval under way.
    hits: u64,
}

/// Those that failed, by errno.
#[derive(Clone, Debug, Default)]
struct Failed(BTreeMap<u16, u64>);

impl Failed {
    fn add(&mut self, error: u16, count: u64) {
        if error != 0 {
            *self.0.entry(error).or_default() += count;
        }
    }

    fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(error, count)| self.add(*error, *count));
    }

    /// By name, `usual` even if there is none.
    fn named(&self, usual: (u16, &'static str)) -> snapshot::Failures {
        let mut named: snapshot::Failures = [(usual.1, 0)].into();
        for (error, count) in &self.0 {
            *named.entry(error_name(*error)).or_default() += count;
        }
        named
    }
}

fn error_name(error: u16) -> &'static str {
    let known = [NO_PORT, IN_USE, NO_MEMORY].into_iter().find(|(number, _)| *number == error);
    known.map_or(OTHER_ERROR, |(_, name)| name)
}

impl Cost {
    fn new(latency: Distribution) -> Self {
        Self { count: 0, failed: Failed::default(), latency, found: Found::default(), hits: 0 }
    }

    fn add(&mut self, search: &PortSearch) {
        self.count += 1;
        self.failed.add(search.error, 1);
        if let Some(latency_ns) = search.latency_ns {
            self.latency.record(latency_ns);
        }
        if search.error == 0 {
            self.found.add(search.half);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.failed.merge(&other.failed);
        self.latency.add(&other.latency);
        self.found.merge(other.found);
        self.hits += other.hits;
    }

    fn total_ns(&self) -> u64 {
        u64::try_from(self.latency.sum()).unwrap_or(u64::MAX)
    }
}

/// Port searches since attach. See the module's documentation.
#[derive(Debug)]
pub(super) struct PortSearches {
    connect: Cost,
    bind: Cost,
    /// Records of each [`Search`].
    recorded: [u64; SEARCHES],
    /// Checks of a port of the process's choice that failed.
    explicit_failed: Failed,
    connect_hits: Hits,
    bind_hits: Hits,
    /// How many ports others had that a search looked at.
    connect_tried: Distribution,
    bind_tried: Distribution,
    /// When the interval under way began; `None` until the first is over.
    interval_since_ns: Option<u64>,
    by_process: Costs<(Option<ProcessKey>, SearchOp)>,
    by_destination: Costs<Destination>,
    by_netns: Costs<(Option<u32>, SearchOp)>,
    failures: SearchFailures,
    bound_connects: BoundConnects,
}

/// Searches by `K`; the sum of those that had to make room.
#[derive(Debug)]
struct Costs<K: Eq + Hash> {
    rows: LruCache<K, Cost, FixedState>,
    folded: Cost,
}

impl Default for PortSearches {
    fn default() -> Self {
        Self {
            connect: Cost::new(Distribution::fine()),
            bind: Cost::new(Distribution::fine()),
            recorded: [0; SEARCHES],
            explicit_failed: Failed::default(),
            connect_hits: Hits::default(),
            bind_hits: Hits::default(),
            connect_tried: Distribution::coarse(),
            bind_tried: Distribution::coarse(),
            interval_since_ns: None,
            by_process: Costs::new(),
            by_destination: Costs::new(),
            by_netns: Costs::new(),
            failures: SearchFailures::default(),
            bound_connects: BoundConnects::default(),
        }
    }
}

impl PortSearches {
    /// A connect began of a socket that was bound.
    pub(super) fn bound_connect(&mut self, connect: &BoundConnect) {
        self.bound_connects.record(connect);
    }

    pub(super) fn record(&mut self, search: &PortSearch) {
        self.failures.record(search);
        self.recorded[search.search as usize] += 1;
        let op = match search.search {
            Search::Connect => SearchOp::Connect,
            Search::Bind | Search::Listen => SearchOp::Bind,
            // A check, no search; the kernel's side counts it.
            Search::BindExplicit => return self.explicit_failed.add(search.error, 1),
        };
        let (cost, tried) = match op {
            SearchOp::Connect => (&mut self.connect, &mut self.connect_tried),
            SearchOp::Bind => (&mut self.bind, &mut self.bind_tried),
        };
        cost.add(search);
        search.tried.into_iter().for_each(|ports| tried.record(u64::from(ports)));
        self.by_process.row((search.process, op)).add(search);
        self.by_netns.row((search.netns, op)).add(search);
        if let Some(destination) = search.destination {
            self.by_destination.row(destination).add(search);
        }
    }

    /// A processor was found searching a port.
    pub(super) fn sampled(&mut self, sample: &SampleEvent) {
        let (op, hits) = if sample.connects {
            (SearchOp::Connect, &mut self.connect_hits)
        } else {
            (SearchOp::Bind, &mut self.bind_hits)
        };
        hits.add();
        self.by_process.row((Some(sample.owner), op)).hits += 1;
    }

    /// What samples mean that are taken `hz` times a second, at `time_ns` of a run that
    /// began at `started_ns`.
    pub(super) fn sampling(&self, hz: NonZeroU32, started_ns: u64, time_ns: u64) -> Sampling {
        let since_ns = self.interval_since_ns.unwrap_or(started_ns);
        Sampling::new(hz, time_ns.saturating_sub(since_ns))
    }

    /// The interval is over: shares are taken of the next from now on.
    pub(super) fn end_interval(&mut self, time_ns: u64) {
        self.interval_since_ns = Some(time_ns);
        self.connect_hits.in_interval = 0;
        self.bind_hits.in_interval = 0;
        self.by_process.rows.iter_mut().for_each(|(_, cost)| cost.hits = 0);
        self.by_process.folded.hits = 0;
    }

    /// The counts are the kernel side's `totals`, where these count the same searches;
    /// the rest is what records told. `probed`: by the functions that search, which
    /// tell of failed binds too. `tried`: with the ports they look at.
    pub(super) fn shown(
        &self,
        totals: Option<&TotalCounts>,
        processes: &Processes,
        top: usize,
        Depth { probed, tried, sampling }: Depth,
    ) -> snapshot::PortSearch {
        let core_pct = |hits: Hits| sampling.and_then(|it| it.core_pct(hits.in_interval));
        let ports = |ports: &Distribution| tried.then(|| ports.summary(whole));
        let count = |search: Search| match totals {
            Some(totals) => totals.search(search, probed),
            None => self.recorded[search as usize],
        };
        let binds_failed = |failed: &Failed| probed.then(|| failed.named(IN_USE));
        snapshot::PortSearch {
            only_cgroup: None,
            connect: PortSearchKind {
                failed: Some(self.connect.failed.named(NO_PORT)),
                cpu_core_pct: core_pct(self.connect_hits),
                tried: ports(&self.connect_tried),
                ..kind(&self.connect, count(Search::Connect))
            },
            bind: PortSearchKind {
                failed: binds_failed(&self.bind.failed),
                cpu_core_pct: core_pct(self.bind_hits),
                tried: ports(&self.bind_tried),
                ..kind(&self.bind, count(Search::Bind) + count(Search::Listen))
            },
            bind_explicit: snapshot::BindExplicit {
                count: count(Search::BindExplicit),
                failed: binds_failed(&self.explicit_failed),
            },
            by_process: self.processes(processes, top, probed, sampling),
            by_destination: self.destinations(top),
            by_netns: self.namespaces(top, probed),
            failures: self.failures.shown(top, processes, error_name),
            bind_before_connect: self.bound_connects.shown(top, processes),
            samples: sampling.map(|it| it.shown(self.bind_hits, self.connect_hits)),
        }
    }

    fn processes(
        &self,
        processes: &Processes,
        top: usize,
        probed: bool,
        sampling: Option<Sampling>,
    ) -> Vec<snapshot::SearchingProcess> {
        let core_pct = |cost: &Cost| sampling.and_then(|it| it.core_pct(cost.hits));
        let (rows, rest) = self.by_process.ranked(top);
        let shown = |((process, op), cost): (&(Option<ProcessKey>, SearchOp), &Cost)| {
            snapshot::SearchingProcess {
                other: false,
                pid: process.map(|process| process.tgid),
                comm: processes.comm(*process),
                op: Some(*op),
                failed: failed(*op, cost, probed),
                cpu_core_pct: core_pct(cost),
                ..searching(cost)
            }
        };
        let others = rest.as_ref().map(|cost| snapshot::SearchingProcess {
            cpu_core_pct: core_pct(cost),
            ..searching(cost)
        });
        rows.into_iter().map(shown).chain(others).collect()
    }

    fn namespaces(&self, top: usize, probed: bool) -> Vec<snapshot::SearchedNetns> {
        let (rows, rest) = self.by_netns.ranked(top);
        let shown =
            |((netns, op), cost): (&(Option<u32>, SearchOp), &Cost)| snapshot::SearchedNetns {
                other: false,
                netns: *netns,
                op: Some(*op),
                failed: failed(*op, cost, probed),
                ..searched_in(cost)
            };
        rows.into_iter().map(shown).chain(rest.as_ref().map(searched_in)).collect()
    }

    fn destinations(&self, top: usize) -> Vec<snapshot::SearchedDestination> {
        let (rows, rest) = self.by_destination.ranked(top);
        let shown = |(destination, cost): (&Destination, &Cost)| snapshot::SearchedDestination {
            other: false,
            netns: destination.netns,
            raddr: Some(Tuple::shown(destination.raddr)),
            rport: Some(destination.rport),
            ..searched(cost)
        };
        rows.into_iter().map(shown).chain(rest.as_ref().map(searched)).collect()
    }

    pub(super) fn encoded(&self) -> (Option<snapshot::Encoded>, Option<snapshot::Encoded>) {
        (self.bind.latency.encoded(), self.connect.latency.encoded())
    }
}

impl<K: Copy + Ord + Hash> Costs<K> {
    fn new() -> Self {
        Self {
            rows: LruCache::with_hasher(MAX_ROWS, FixedState::default()),
            folded: Cost::new(Distribution::coarse()),
        }
    }

    fn row(&mut self, key: K) -> &mut Cost {
        if self.rows.len() >= MAX_ROWS
            && !self.rows.contains_key(&key)
            && let Some((_, quiet)) = self.rows.remove_lru()
        {
            self.folded.merge(&quiet);
        }
        self.rows.entry(key).or_insert_with(|| Cost::new(Distribution::coarse()))
    }

    /// The `top` rows by total time, and the sum of the rest if there is any.
    fn ranked(&self, top: usize) -> (Vec<(&K, &Cost)>, Option<Cost>) {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_unstable_by_key(|(key, cost)| (Reverse(cost.total_ns()), **key));
        let mut rest = self.folded.clone();
        rows.iter().skip(top).for_each(|(_, cost)| rest.merge(cost));
        rows.truncate(top);
        (rows, Some(rest).filter(|rest| rest.count > 0))
    }
}

/// Failed binds are seen where functions are probed.
fn failed(op: SearchOp, cost: &Cost, probed: bool) -> Option<snapshot::Failures> {
    match op {
        SearchOp::Connect => Some(cost.failed.named(NO_PORT)),
        SearchOp::Bind => probed.then(|| cost.failed.named(IN_USE)),
    }
}

/// The row of no namespace in particular: as it is, that of all others.
fn searched_in(cost: &Cost) -> snapshot::SearchedNetns {
    snapshot::SearchedNetns {
        other: true,
        netns: None,
        op: None,
        count: cost.count,
        failed: Some(cost.failed.named(NO_PORT)),
        latency_ns: cost.latency.summary(whole),
        total_ns: cost.total_ns(),
    }
}

/// The row of nobody in particular: as it is, that of all others.
fn searching(cost: &Cost) -> snapshot::SearchingProcess {
    snapshot::SearchingProcess {
        other: true,
        pid: None,
        comm: None,
        op: None,
        count: cost.count,
        failed: Some(cost.failed.named(NO_PORT)),
        latency_ns: cost.latency.summary(whole),
        total_ns: cost.total_ns(),
        cpu_core_pct: None,
    }
}

/// The row of no remote end in particular: as it is, that of all others.
fn searched(cost: &Cost) -> snapshot::SearchedDestination {
    snapshot::SearchedDestination {
        other: true,
        netns: None,
        raddr: None,
        rport: None,
        count: cost.count,
        failed: cost.failed.named(NO_PORT),
        latency_ns: cost.latency.summary(whole),
        total_ns: cost.total_ns(),
    }
}

fn kind(cost: &Cost, count: u64) -> PortSearchKind {
    PortSearchKind {
        count,
        failed: None,
        latency_ns: cost.latency.summary(whole),
        total_ns: cost.total_ns(),
        cpu_core_pct: None,
        found: halves(cost.found),
        tried: None,
    }
}

/// How much the hooks tell of searches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Depth {
    /// The functions that search are probed.
    pub(super) probed: bool,
    /// The ports they look at are counted.
    pub(super) tried: bool,
    /// CPU samples are taken.
    pub(super) sampling: Option<Sampling>,
}

/// Whole numbers.
fn whole(value: f64) -> u64 {
    value.round() as u64
}
