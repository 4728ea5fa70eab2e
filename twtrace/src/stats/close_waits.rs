//! Sockets that their process does not close: who holds how many, since when, and whether
//! they become more.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
};

use foldhash::fast::FixedState;
use twtrace_common::ProcessKey;

use super::{processes::Processes, snapshot};
use crate::{
    frame::{self, CloseWaiting, Frame, MAX_CLOSE_WAITS},
    probes::Exactness,
};

/// Over which time growth is taken.
const WINDOW_NS: u64 = 60_000_000_000;
/// Growth over less says nothing.
const SHORTEST_WINDOW_NS: u64 = 5_000_000_000;

/// The sockets in CLOSE_WAIT. See the module's documentation.
///
/// Those that have gone are remembered as long as [`WINDOW_NS`] reaches back to where they were
/// there. So how many of them a process had then is counted when it is asked for, and one that
/// turns out to be a process's only later was so then, too.
#[derive(Debug, Default)]
pub(super) struct CloseWaits {
    sockets: HashMap<u64, Socket, FixedState>,
    /// Of these, those that are gone.
    departed: usize,
    /// When looks were taken: those of the last minute, and the one before the last at least.
    looks: VecDeque<u64>,
    /// Whether the last one showed all.
    complete: bool,
    /// Whether sock_diag did not answer since.
    silent: bool,
}

#[derive(Clone, Copy, Debug)]
struct Socket {
    told: CloseWaiting,
    /// The look that no longer did.
    gone_ns: Option<u64>,
}

/// Whom a row is about: nobody knows of `None` who it is.
type RowKey = (Option<ProcessKey>, u32);

/// One row.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    now: u64,
    unaccepted: u64,
    /// Of the oldest; `None` if there is none.
    since_ns: Option<u64>,
    /// Those that are there and were not when the window began, less those that were.
    growth: i64,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.now += other.now;
        self.unaccepted += other.unaccepted;
        self.since_ns = self.since_ns.into_iter().chain(other.since_ns).min();
        self.growth += other.growth;
    }
}

impl CloseWaits {
    /// Takes over what a look has shown; `None` if sock_diag did not answer.
    pub(super) fn looked(&mut self, looked: Option<&frame::CloseWaits>) {
        self.silent = looked.is_none();
        let Some(looked) = looked else { return };
        self.complete = looked.complete;
        let time_ns = self.begin_look(looked.time_ns);
        looked.appeared.iter().for_each(|told| self.appeared(told, time_ns));
        looked.gone.iter().for_each(|cookie| self.gone(*cookie, time_ns));
    }

    /// Returns when it was taken: no earlier than the one before.
    fn begin_look(&mut self, time_ns: u64) -> u64 {
        let last_ns = self.looks.back().copied();
        let time_ns = last_ns.map_or(time_ns, |last_ns| time_ns.max(last_ns));
        if last_ns != Some(time_ns) {
            self.looks.push_back(time_ns);
        }
        let from_ns = time_ns.saturating_sub(WINDOW_NS);
        while self.looks.len() > 2 && self.looks.front().is_some_and(|first| *first < from_ns) {
            self.looks.pop_front();
            self.forget_departed();
        }
        time_ns
    }

    /// Those that were gone when the window began.
    fn forget_departed(&mut self) {
        let Some(from_ns) = self.looks.front().copied().filter(|_| self.departed > 0) else {
            return;
        };
        let matters = |socket: &Socket| socket.gone_ns.is_none_or(|gone_ns| gone_ns > from_ns);
        self.sockets.retain(|_, socket| matters(socket));
        self.departed = self.sockets.values().filter(|socket| socket.gone_ns.is_some()).count();
    }

    fn appeared(&mut self, told: &CloseWaiting, time_ns: u64) {
        if let Some(known) = self.sockets.get_mut(&told.cookie) {
            known.told = CloseWaiting { seen_ns: known.told.seen_ns, ..*told };
            self.departed -= usize::from(known.gone_ns.take().is_some());
            return;
        }
        // No source tells of more; a file may.
        if self.sockets.len() - self.departed < MAX_CLOSE_WAITS {
            let told = CloseWaiting { seen_ns: told.seen_ns.min(time_ns), ..*told };
            self.sockets.insert(told.cookie, Socket { told, gone_ns: None });
        }
    }

    fn gone(&mut self, cookie: u64, time_ns: u64) {
        let Some(socket) = self.sockets.get_mut(&cookie).filter(|it| it.gone_ns.is_none()) else {
            return;
        };
        if self.departed < MAX_CLOSE_WAITS {
            socket.gone_ns = Some(time_ns);
            self.departed += 1;
        } else {
            self.sockets.remove(&cookie);
        }
    }

    /// How far the rows are known; `None` if there are none.
    pub(super) fn known(&self) -> Option<Exactness> {
        let word = if self.complete { Exactness::Exact } else { Exactness::Inferred };
        (!self.silent && !self.looks.is_empty()).then_some(word)
    }

    /// The processes that hold any.
    pub(super) fn holders(&self) -> impl Iterator<Item = ProcessKey> {
        let holders: BTreeSet<ProcessKey> =
            self.sockets.values().filter_map(|socket| socket.told.holder).collect();
        holders.into_iter()
    }

    /// The `top` rows by count, then one that sums the rest if there is any; `None` if nothing
    /// is known.
    pub(super) fn rows(
        &self,
        top: usize,
        processes: &Processes,
    ) -> Option<Vec<snapshot::CloseWait>> {
        self.known()?;
        let mut ranked: Vec<(RowKey, Counts)> =
            self.counted().into_iter().filter(|(_, counts)| counts.now > 0).collect();
        ranked.sort_unstable_by_key(|(key, counts)| (Reverse(counts.now), *key));
        let rest = ranked.split_off(top.min(ranked.len()));
        let other = (!rest.is_empty()).then(|| {
            let mut sum = Counts::default();
            rest.iter().for_each(|(_, counts)| sum.add(counts));
            snapshot::CloseWait { other: true, ..self.shown(&sum) }
        });
        let shown =
            |(key, counts): &(RowKey, Counts)| introduced(key, processes, self.shown(counts));
        Some(ranked.iter().map(shown).chain(other).collect())
    }

    fn counted(&self) -> BTreeMap<RowKey, Counts> {
        let from_ns = self.looks.front().copied().unwrap_or(0);
        let mut rows: BTreeMap<RowKey, Counts> = BTreeMap::new();
        for Socket { told, gone_ns } in self.sockets.values() {
            let row = rows.entry((told.holder, told.netns)).or_default();
            let was_there = told.seen_ns <= from_ns;
            if gone_ns.is_some() {
                row.growth -= i64::from(was_there);
                continue;
            }
            row.add(&Counts {
                now: 1,
                unaccepted: u64::from(!told.accepted),
                since_ns: Some(told.since_ns),
                growth: i64::from(!was_there),
            });
        }
        rows
    }

    /// The numbers of a row, of nobody yet.
    fn shown(&self, counts: &Counts) -> snapshot::CloseWait {
        let last_ns = self.looks.back().copied().unwrap_or(0);
        let window_ns = last_ns - self.looks.front().copied().unwrap_or(last_ns);
        let seconds = |ns: u64| ns as f64 / 1e9;
        snapshot::CloseWait {
            count: counts.now,
            unaccepted: counts.unaccepted,
            oldest_s: counts.since_ns.map(|since_ns| seconds(last_ns.saturating_sub(since_ns))),
            growth_per_min: (window_ns >= SHORTEST_WINDOW_NS)
                .then(|| counts.growth as f64 * seconds(WINDOW_NS) / seconds(window_ns)),
            ..snapshot::CloseWait::default()
        }
    }

    /// What another file has to begin with: the looks of the last minute, as far as they matter.
    pub(super) fn carried(&self) -> Vec<Frame> {
        let from_ns = self.looks.front().copied().unwrap_or(0);
        let mut looks: BTreeMap<u64, frame::CloseWaits> = BTreeMap::new();
        for time_ns in self.looks.iter().copied() {
            let complete = self.complete;
            looks.insert(time_ns, frame::CloseWaits { time_ns, complete, ..Default::default() });
        }
        let mut sockets: Vec<&Socket> = self.sockets.values().collect();
        sockets.sort_unstable_by_key(|socket| socket.told.cookie);
        for Socket { told, gone_ns } in sockets {
            if let Some((_, look)) = looks.range_mut(told.seen_ns.max(from_ns)..).next() {
                look.appeared.push(*told);
            }
            if let Some(look) = gone_ns.and_then(|gone_ns| looks.get_mut(&gone_ns)) {
                look.gone.push(told.cookie);
            }
        }
        let silent = (self.silent && !looks.is_empty()).then_some(Frame::CloseWaits(None));
        looks.into_values().map(|look| Frame::CloseWaits(Some(look))).chain(silent).collect()
    }
}

/// `row` with what is known of whom it is about.
fn introduced(
    (holder, netns): &RowKey,
    processes: &Processes,
    mut row: snapshot::CloseWait,
) -> snapshot::CloseWait {
    (row.pid, row.netns) = (holder.map(|holder| holder.tgid), Some(*netns));
    row.comm = processes.comm(*holder);
    if let Some(known) = holder.as_ref().and_then(|holder| processes.get(holder)) {
        row.cgroup.clone_from(&known.cgroup);
        row.container.clone_from(&known.container);
    }
    row
}
