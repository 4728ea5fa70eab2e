//! Who closes first: one row per process, namespace and role.

use foldhash::fast::FixedState;
use hashlink::LruCache;
use twtrace_common::ProcessKey;

use super::snapshot;
use crate::{
    event::{Comm, ProcessEvent},
    frame::ProcessFacts,
    tracker::{Credit, Role, Transition},
};

/// Rows kept. Beyond it, those quiet longest are summed into one, so that
/// short-lived processes by the million cost no memory.
const MAX_ROWS: usize = 65_536;
/// Processes remembered by name: a process may have several rows, or none yet.
const MAX_PROCESSES: usize = 2 * MAX_ROWS;

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

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    active_closes: u64,
    peer_closes: u64,
    resets: u64,
}

/// What rows are shown against.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowTotals {
    /// `closes.active`.
    pub(super) active: u64,
    /// Whether the hook can tell who reset a connection.
    pub(super) fields_known: bool,
    /// What to add to a process's start for the wall clock's.
    pub(super) wall_at_boot_ns: u64,
}

#[derive(Debug)]
struct Process {
    comm: Comm,
    kernel_thread: bool,
    cgroup: Option<String>,
    container: Option<String>,
}

/// The closers. See the module's documentation.
#[derive(Debug)]
pub(super) struct Closers {
    rows: LruCache<RowKey, Counts, FixedState>,
    processes: LruCache<ProcessKey, Process, FixedState>,
    /// The sum of the rows that had to make room.
    folded: Counts,
    /// Active closes that turned out to be simultaneous.
    withdrawn: u64,
}

impl Default for Closers {
    fn default() -> Self {
        Self {
            rows: LruCache::with_hasher(MAX_ROWS, FixedState::default()),
            processes: LruCache::with_hasher(MAX_PROCESSES, FixedState::default()),
            folded: Counts::default(),
            withdrawn: 0,
        }
    }
}

impl Closers {
    pub(super) fn apply(&mut self, transition: &Transition) {
        let Some((credit, process)) = transition.credit else {
            return;
        };
        self.withdrawn += u64::from(credit == Credit::ActiveCloseWithdrawn);
        let who = self.who(process);
        let key = RowKey { who, netns: transition.netns, role: transition.role };
        let counts = self.row(key);
        match credit {
            Credit::ActiveClose => counts.active_closes += 1,
            Credit::ActiveCloseWithdrawn => {
                counts.active_closes = counts.active_closes.saturating_sub(1);
            }
            Credit::PeerClose => counts.peer_closes += 1,
            Credit::Reset => counts.resets += 1,
        }
    }

    /// How many active closes turned out to be simultaneous.
    pub(super) fn withdrawn(&self) -> u64 {
        self.withdrawn
    }

    pub(super) fn name(&mut self, event: &ProcessEvent) {
        // Introduced again: its place is known already, its name may be new.
        if let Some(known) = self.processes.get_mut(&event.key) {
            known.comm = event.comm;
            return;
        }
        self.processes.insert(
            event.key,
            Process {
                comm: event.comm,
                kernel_thread: event.kernel_thread,
                cgroup: None,
                container: None,
            },
        );
    }

    pub(super) fn place(&mut self, facts: &ProcessFacts) {
        if let Some(process) = self.processes.get_mut(&facts.key) {
            process.cgroup.clone_from(&facts.cgroup);
            process.container.clone_from(&facts.container);
        }
    }

    fn who(&mut self, process: Option<ProcessKey>) -> Who {
        let Some(key) = process else {
            return Who::Unknown;
        };
        match self.processes.get(&key) {
            Some(process) if process.kernel_thread => Who::Kernel,
            _ => Who::Process(key),
        }
    }

    fn row(&mut self, key: RowKey) -> &mut Counts {
        if self.rows.len() >= MAX_ROWS
            && !self.rows.contains_key(&key)
            && let Some((_, quiet)) = self.rows.remove_lru()
        {
            self.folded.add(&quiet);
        }
        self.rows.entry(key).or_insert_with(Counts::default)
    }

    /// The `top` rows by active closes, then one that sums the rest if there is any.
    pub(super) fn rows(&self, top: usize, totals: &RowTotals) -> Vec<snapshot::Closer> {
        let mut ranked: Vec<(RowKey, Counts)> =
            self.rows.iter().map(|(key, counts)| (*key, *counts)).collect();
        ranked.sort_unstable_by_key(|(key, counts)| (std::cmp::Reverse(counts.rank()), *key));
        let mut rest = self.folded;
        for (_, counts) in ranked.iter().skip(top) {
            rest.add(counts);
        }
        let summed: u64 = ranked.iter().take(top).map(|(_, counts)| counts.active_closes).sum();
        // Where records were lost, a withdrawal may be among them.
        let totals =
            RowTotals { active: totals.active.max(summed + rest.active_closes), ..*totals };
        let other = (ranked.len() > top || rest.rank() > (0, 0, 0))
            .then(|| snapshot::Closer::other(&rest.shown(&totals)));
        ranked
            .iter()
            .take(top)
            .map(|(key, counts)| self.shown(key, counts, &totals))
            .chain(other)
            .collect()
    }

    fn shown(&self, key: &RowKey, counts: &Counts, totals: &RowTotals) -> snapshot::Closer {
        let mut row = snapshot::Closer {
            netns: key.netns,
            role: Some(key.role.name()),
            ..snapshot::Closer::of(&counts.shown(totals))
        };
        match key.who {
            Who::Kernel => row.comm = Some("kernel".to_owned()),
            Who::Unknown => row.comm = Some("unknown".to_owned()),
            Who::Process(process) => {
                row.pid = Some(process.tgid);
                row.start_time = (process.start_time_ns != 0).then(|| {
                    snapshot::rfc3339(totals.wall_at_boot_ns.saturating_add(process.start_time_ns))
                });
                if let Some(known) = self.processes.peek(&process) {
                    row.comm = Some(known.comm.to_string());
                    row.cgroup.clone_from(&known.cgroup);
                    row.container.clone_from(&known.container);
                }
            }
        }
        row
    }
}

impl Counts {
    fn rank(&self) -> (u64, u64, u64) {
        (self.active_closes, self.resets, self.peer_closes)
    }

    fn add(&mut self, other: &Self) {
        self.active_closes += other.active_closes;
        self.peer_closes += other.peer_closes;
        self.resets += other.resets;
    }

    fn shown(&self, totals: &RowTotals) -> snapshot::CloserCounts {
        snapshot::CloserCounts {
            active_closes: self.active_closes,
            share: (totals.active > 0).then(|| self.active_closes as f64 / totals.active as f64),
            peer_closes: self.peer_closes,
            resets: totals.fields_known.then_some(self.resets),
        }
    }
}
