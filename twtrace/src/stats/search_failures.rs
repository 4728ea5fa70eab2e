//! Searches that found no port: whose, where to, and how full the range was.

use std::cmp::Reverse;

use foldhash::fast::FixedState;
use hashlink::LruCache;
use twtrace_common::{ProcessKey, Search};

use super::{
    processes::Processes,
    snapshot::{RangeState, SearchFailure},
};
use crate::{
    event::Tuple,
    tracker::{PortSearch, ports::RangeNow},
};

/// Rows kept; those that were quiet longest are summed into one.
const MAX_ROWS: usize = 4_096;

/// What failures have in common that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    process: Option<ProcessKey>,
    netns: Option<u32>,
    search: Search,
    error: u16,
    laddr: Option<[u8; 16]>,
    remote: Option<([u8; 16], u16)>,
    asked_port: Option<u16>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    count: u64,
    last: Option<RangeNow>,
}

/// Failed searches and checks. See the module's documentation.
#[derive(Debug)]
pub(super) struct SearchFailures {
    rows: LruCache<Key, Failures, FixedState>,
    folded: u64,
}

impl Default for SearchFailures {
    fn default() -> Self {
        Self { rows: LruCache::with_hasher(MAX_ROWS, FixedState::default()), folded: 0 }
    }
}

impl SearchFailures {
    pub(super) fn record(&mut self, search: &PortSearch) {
        if search.error == 0 {
            return;
        }
        let key = Key {
            process: search.process,
            netns: search.netns,
            search: search.search,
            error: search.error,
            laddr: search.laddr,
            remote: search.destination.map(|remote| (remote.raddr, remote.rport)),
            asked_port: search.asked_port,
        };
        if self.rows.len() >= MAX_ROWS
            && !self.rows.contains_key(&key)
            && let Some((_, quiet)) = self.rows.remove_lru()
        {
            self.folded += quiet.count;
        }
        let row = self.rows.entry(key).or_insert_with(Failures::default);
        row.count += 1;
        row.last = search.range;
    }

    /// The `top` rows by count, and the sum of the rest.
    pub(super) fn shown(
        &self,
        top: usize,
        processes: &Processes,
        error_name: impl Fn(u16) -> &'static str,
    ) -> Vec<SearchFailure> {
        let mut rows: Vec<(&Key, &Failures)> = self.rows.iter().collect();
        rows.sort_unstable_by_key(|(key, failures)| (Reverse(failures.count), **key));
        let rest =
            self.folded + rows.iter().skip(top).map(|(_, failures)| failures.count).sum::<u64>();
        let row = |(key, failures): (&Key, &Failures)| SearchFailure {
            other: false,
            pid: key.process.map(|process| process.tgid),
            comm: processes.comm(key.process),
            netns: key.netns,
            op: Some(op(key.search)),
            error: Some(error_name(key.error)),
            laddr: key.laddr.map(Tuple::shown),
            raddr: key.remote.map(|(raddr, _)| Tuple::shown(raddr)),
            rport: key.remote.map(|(_, rport)| rport),
            lport: key.asked_port,
            count: failures.count,
            last: failures.last.map(state),
        };
        let shown = rows.into_iter().take(top).map(row);
        shown.chain((rest > 0).then(|| others(rest))).collect()
    }
}

fn op(search: Search) -> &'static str {
    match search {
        Search::Connect => "connect",
        Search::Bind | Search::Listen => "bind",
        Search::BindExplicit => "bind_explicit",
    }
}

fn state(now: RangeNow) -> RangeState {
    RangeState {
        low: now.range.low,
        high: now.range.high,
        ports_used: now.used,
        ports_available: now.available,
    }
}

fn others(count: u64) -> SearchFailure {
    SearchFailure {
        other: true,
        pid: None,
        comm: None,
        netns: None,
        op: None,
        error: None,
        laddr: None,
        raddr: None,
        rport: None,
        lport: None,
        count,
        last: None,
    }
}
