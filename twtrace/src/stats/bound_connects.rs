//! Processes that bind a port before they connect: no other connect may have it then,
//! whatever its destination.

use std::cmp::Reverse;

use foldhash::fast::FixedState;
use hashlink::LruCache;
use twtrace_common::ProcessKey;

use super::{processes::Processes, snapshot};
use crate::tracker::BoundConnect;

/// Rows kept; those that were quiet longest are summed into one.
const MAX_ROWS: usize = 4_096;

#[derive(Clone, Copy, Debug)]
struct Counts {
    all: u64,
    /// `None` as soon as that is not known of one.
    in_range: Option<u64>,
}

/// Connects of bound sockets. See the module's documentation.
#[derive(Debug)]
pub(super) struct BoundConnects {
    rows: LruCache<(Option<ProcessKey>, u32), Counts, FixedState>,
    folded: Counts,
}

impl Default for BoundConnects {
    fn default() -> Self {
        Self { rows: LruCache::with_hasher(MAX_ROWS, FixedState::default()), folded: Counts::NONE }
    }
}

impl Counts {
    const NONE: Self = Self { all: 0, in_range: Some(0) };

    fn add(&mut self, other: Self) {
        self.all += other.all;
        self.in_range = self.in_range.zip(other.in_range).map(|(a, b)| a + b);
    }

    /// The row of nobody in particular: as it is, that of all others.
    fn row(self) -> snapshot::BoundConnects {
        snapshot::BoundConnects {
            other: true,
            pid: None,
            comm: None,
            netns: None,
            count: self.all,
            in_range: self.in_range,
        }
    }
}

impl BoundConnects {
    pub(super) fn record(&mut self, connect: &BoundConnect) {
        let key = (connect.process, connect.netns);
        if self.rows.len() >= MAX_ROWS
            && !self.rows.contains_key(&key)
            && let Some((_, quiet)) = self.rows.remove_lru()
        {
            self.folded.add(quiet);
        }
        let row = self.rows.entry(key).or_insert(Counts::NONE);
        row.add(Counts { all: 1, in_range: connect.in_range.map(u64::from) });
    }

    /// The `top` rows by count, and the sum of the rest.
    pub(super) fn shown(&self, top: usize, processes: &Processes) -> Vec<snapshot::BoundConnects> {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_unstable_by_key(|(key, counts)| (Reverse(counts.all), **key));
        let mut rest = self.folded;
        rows.iter().skip(top).for_each(|(_, counts)| rest.add(**counts));
        let row = |((process, netns), counts): (&(Option<ProcessKey>, u32), &Counts)| {
            snapshot::BoundConnects {
                other: false,
                pid: process.map(|process| process.tgid),
                comm: processes.comm(*process),
                netns: Some(*netns),
                ..counts.row()
            }
        };
        let shown = rows.into_iter().take(top).map(row);
        shown.chain((rest.all > 0).then(|| rest.row())).collect()
    }
}
