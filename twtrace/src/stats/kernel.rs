//! What the kernel itself counts, and how far we agree with it.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::{snapshot, totals::TotalCounts};
use crate::frame::KernelCounters;

const OVERFLOW: &str = "TCPTimeWaitOverflow";

/// The kernel's counters of each namespace that was read, and where we stood
/// when each was read first.
#[derive(Debug, Default)]
pub(super) struct Kernel {
    has_read: bool,
    namespaces: HashMap<u32, Namespace, FixedState>,
}

#[derive(Debug)]
struct Namespace {
    first: KernelCounters,
    /// Our counts at that moment.
    ours_first: Ours,
    last: KernelCounters,
}

/// What we counted in one namespace that the kernel counts too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ours {
    pub(super) born: u64,
    pub(super) reused: u64,
    /// Closes that left no mini-socket, and nothing tells why.
    pub(super) without: u64,
}

impl Kernel {
    /// All namespaces are read when we attach, so that one met later was made
    /// since: its counters began at 0, as ours of it did.
    pub(super) fn read(&mut self, counters: &[KernelCounters], ours: impl Fn(u32) -> Ours) {
        let is_later = std::mem::replace(&mut self.has_read, true);
        for read in counters {
            self.namespaces
                .entry(read.netns)
                .and_modify(|namespace| namespace.last.clone_from(read))
                .or_insert_with(|| {
                    if is_later {
                        Namespace::made_since(read)
                    } else {
                        Namespace::from_before(read, ours(read.netns))
                    }
                });
        }
    }

    /// Births that the kernel says it refused, and of which we saw a close:
    /// some closes leave no mini-socket for other reasons. `None` in a
    /// namespace that could not be read.
    pub(super) fn refused(&self, netns: u32, without: u64) -> Option<u64> {
        let namespace = self.namespaces.get(&netns)?;
        let refused = namespace.counted(OVERFLOW)?;
        Some(refused.min(without.saturating_sub(namespace.ours_first.without)))
    }

    /// Births in one namespace since it was read first; only where TW and
    /// TWKilled count these, as in
    /// [`__inet_twsk_schedule`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_timewait_sock.c).
    /// `None` in a namespace that could not be read.
    pub(super) fn births(&self, netns: u32) -> Option<u64> {
        self.namespaces.get(&netns)?.births()
    }

    /// Births refused in all namespaces that were read; `None` if there are none.
    pub(super) fn overflows(&self) -> Option<u64> {
        let overflows = self.namespaces.values().map(|namespace| namespace.counted(OVERFLOW));
        if self.namespaces.is_empty() { None } else { overflows.sum() }
    }

    /// The kernel's counters of `home`, as they are.
    pub(super) fn shown(&self, home: u32) -> Option<snapshot::Kernel> {
        let last = &self.namespaces.get(&home)?.last;
        Some(snapshot::Kernel {
            netns: home,
            tw_sockstat: last.tw_sockstat,
            counters: last.counters.clone(),
        })
    }

    /// Ours minus the kernel's, in `home`.
    pub(super) fn reconcile(
        &self,
        home: u32,
        ours: Ours,
        now: Option<u64>,
        tw_counts_births: Option<bool>,
    ) -> Option<snapshot::Reconcile> {
        let namespace = self.namespaces.get(&home)?;
        let since = |ours: u64, first: u64| ours.saturating_sub(first);
        let first = namespace.ours_first;
        let births = (tw_counts_births == Some(true)).then(|| namespace.births()).flatten();
        let refused = self.refused(home, ours.without);
        Some(snapshot::Reconcile {
            time_wait_now_minus_sockstat: difference(now, namespace.last.tw_sockstat),
            births_minus_tw: difference(Some(since(ours.born, first.born)), births),
            reused_minus_twrecycled: difference(
                Some(since(ours.reused, first.reused)),
                namespace.counted("TWRecycled"),
            ),
            refused_minus_overflow: difference(refused, namespace.counted(OVERFLOW)),
        })
    }

    /// Ours minus the kernel's, in `home`, where nothing is traced: only how
    /// many there are now was not taken from the kernel's counters.
    pub(super) fn reconcile_now(&self, home: u32, now: u64) -> Option<snapshot::Reconcile> {
        let sockstat = self.namespaces.get(&home)?.last.tw_sockstat;
        Some(snapshot::Reconcile {
            time_wait_now_minus_sockstat: difference(Some(now), sockstat),
            births_minus_tw: None,
            reused_minus_twrecycled: None,
            refused_minus_overflow: None,
        })
    }
}

impl Namespace {
    /// How much TW and TWKilled have grown since they were read first.
    fn births(&self) -> Option<u64> {
        Some(self.counted("TW")? + self.counted("TWKilled")?)
    }

    fn from_before(read: &KernelCounters, ours_first: Ours) -> Self {
        Self { first: read.clone(), ours_first, last: read.clone() }
    }

    fn made_since(read: &KernelCounters) -> Self {
        let mut first = read.clone();
        first.counters.values_mut().for_each(|counter| *counter = 0);
        Self { first, ours_first: Ours::default(), last: read.clone() }
    }

    /// How much a counter has grown since it was read first.
    fn counted(&self, name: &str) -> Option<u64> {
        let first = self.first.counters.get(name)?;
        Some(self.last.counters.get(name)?.saturating_sub(*first))
    }
}

fn difference(ours: Option<u64>, kernels: Option<u64>) -> Option<i64> {
    let wide = |count: u64| i64::try_from(count).ok();
    Some(wide(ours?)? - wide(kernels?)?)
}

impl Ours {
    /// Of one namespace.
    pub(super) fn of(totals: &TotalCounts, netns: u32) -> Self {
        totals.namespace(netns).map_or_else(Self::default, |namespace| Self {
            born: namespace.born(),
            reused: namespace.reused(),
            without: namespace.closes_without(),
        })
    }
}
