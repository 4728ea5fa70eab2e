//! What the search for a local port costs, and whom.

use foldhash::fast::FixedState;
use hashlink::LruCache;
use twtrace_common::{ProcessKey, Search};

use super::{
    distribution::Distribution,
    processes::Processes,
    snapshot::{self, PortSearchKind, SearchOp},
    totals::TotalCounts,
};
use crate::{
    event::Tuple,
    tracker::{Destination, PortSearch},
};

/// Rows kept of each kind; each has a distribution.
const MAX_ROWS: usize = 1_024;
/// What a connect search that finds nothing ends with.
const NO_PORT: &str = "EADDRNOTAVAIL";

/// Searches of one kind.
#[derive(Clone, Debug)]
struct Cost {
    count: u64,
    failed: u64,
    /// In nanoseconds; an upper bound each.
    latency: Distribution,
}

impl Cost {
    fn new(latency: Distribution) -> Self {
        Self { count: 0, failed: 0, latency }
    }

    fn add(&mut self, search: &PortSearch) {
        self.count += 1;
        self.failed += u64::from(search.failed);
        if let Some(latency_ns) = search.latency_ns {
            self.latency.record(latency_ns);
        }
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
    by_process: LruCache<(Option<ProcessKey>, SearchOp), Cost, FixedState>,
    by_destination: LruCache<Destination, Cost, FixedState>,
}

impl Default for PortSearches {
    fn default() -> Self {
        Self {
            connect: Cost::new(Distribution::fine()),
            bind: Cost::new(Distribution::fine()),
            by_process: LruCache::with_hasher(MAX_ROWS, FixedState::default()),
            by_destination: LruCache::with_hasher(MAX_ROWS, FixedState::default()),
        }
    }
}

impl PortSearches {
    pub(super) fn record(&mut self, search: &PortSearch) {
        let op = match search.search {
            Search::Connect => SearchOp::Connect,
            Search::Bind | Search::Listen => SearchOp::Bind,
            // A check, no search; the kernel's side counts it.
            Search::BindExplicit => return,
        };
        match op {
            SearchOp::Connect => self.connect.add(search),
            SearchOp::Bind => self.bind.add(search),
        }
        row(&mut self.by_process, (search.process, op)).add(search);
        if let Some(destination) = search.destination {
            row(&mut self.by_destination, destination).add(search);
        }
    }

    /// The counts are the kernel side's; the rest is what records told.
    pub(super) fn shown(
        &self,
        totals: &TotalCounts,
        processes: &Processes,
        top: usize,
    ) -> snapshot::PortSearch {
        let listen = totals.search(Search::Listen);
        snapshot::PortSearch {
            connect: PortSearchKind {
                failed: Some([(NO_PORT, self.connect.failed)].into()),
                ..kind(&self.connect, totals.search(Search::Connect))
            },
            bind: kind(&self.bind, totals.search(Search::Bind) + listen),
            bind_explicit: snapshot::BindExplicit {
                count: totals.search(Search::BindExplicit),
                failed: None,
            },
            by_process: self.processes(processes, top),
            by_destination: self.destinations(top),
        }
    }

    fn processes(&self, processes: &Processes, top: usize) -> Vec<snapshot::SearchingProcess> {
        let mut rows: Vec<_> = self.by_process.iter().collect();
        rows.sort_unstable_by_key(|(key, cost)| (std::cmp::Reverse(cost.total_ns()), **key));
        let shown = |((process, op), cost): &(&(Option<ProcessKey>, SearchOp), &Cost)| {
            snapshot::SearchingProcess {
                pid: process.map(|process| process.tgid),
                comm: processes.comm(*process),
                op: *op,
                count: cost.count,
                failed: (*op == SearchOp::Connect).then(|| [(NO_PORT, cost.failed)].into()),
                latency_ns: cost.latency.summary(nanoseconds),
                total_ns: cost.total_ns(),
                cpu_core_pct: None,
            }
        };
        rows.iter().take(top).map(shown).collect()
    }

    fn destinations(&self, top: usize) -> Vec<snapshot::SearchedDestination> {
        let mut rows: Vec<_> = self.by_destination.iter().collect();
        rows.sort_unstable_by_key(|(key, cost)| (std::cmp::Reverse(cost.total_ns()), **key));
        let shown = |(destination, cost): &(&Destination, &Cost)| snapshot::SearchedDestination {
            netns: destination.netns,
            raddr: Tuple::shown(destination.raddr),
            rport: destination.rport,
            count: cost.count,
            failed: [(NO_PORT, cost.failed)].into(),
            latency_ns: cost.latency.summary(nanoseconds),
            total_ns: cost.total_ns(),
        };
        rows.iter().take(top).map(shown).collect()
    }

    pub(super) fn encoded(&self) -> (Option<String>, Option<String>) {
        (self.bind.latency.encoded(), self.connect.latency.encoded())
    }
}

fn row<K: Copy + Eq + std::hash::Hash>(
    rows: &mut LruCache<K, Cost, FixedState>,
    key: K,
) -> &mut Cost {
    if rows.len() >= MAX_ROWS && !rows.contains_key(&key) {
        rows.remove_lru();
    }
    rows.entry(key).or_insert_with(|| Cost::new(Distribution::coarse()))
}

fn kind(cost: &Cost, count: u64) -> PortSearchKind {
    PortSearchKind {
        count,
        failed: None,
        latency_ns: cost.latency.summary(nanoseconds),
        total_ns: cost.total_ns(),
        cpu_core_pct: None,
    }
}

/// Whole nanoseconds.
fn nanoseconds(value: f64) -> u64 {
    value.round() as u64
}
