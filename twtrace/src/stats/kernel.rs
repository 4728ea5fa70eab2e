//! What the kernel itself counts, and how far we agree with it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use foldhash::fast::FixedState;

use super::{snapshot, totals::TotalCounts};
use crate::frame::KernelCounters;

const OVERFLOW: &str = "TCPTimeWaitOverflow";
/// The one that may fall.
const CURRENTLY_ESTABLISHED: &str = "CurrEstab";

/// The kernel's counters of each namespace that was read, and where we stood
/// when each was read first.
#[derive(Debug, Default)]
pub(super) struct Kernel {
    has_read: bool,
    /// Those that were read the last time.
    latest: Vec<u32>,
    namespaces: HashMap<u32, Namespace, FixedState>,
}

#[derive(Debug)]
struct Namespace {
    /// Growth in namespaces that had this inode before.
    banked: BTreeMap<Cow<'static, str>, u64>,
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
    /// Refused births, where they are seen.
    pub(super) refused: u64,
}

impl Kernel {
    /// All namespaces are read when we attach, so that one met later was made
    /// since: its counters began at 0, as ours of it did.
    pub(super) fn read(&mut self, counters: &[KernelCounters], ours: impl Fn(u32) -> Ours) {
        let is_later = std::mem::replace(&mut self.has_read, true);
        self.latest = counters.iter().map(|read| read.netns).collect();
        for read in counters {
            self.namespaces
                .entry(read.netns)
                .and_modify(|namespace| namespace.read(read))
                .or_insert_with(|| {
                    if is_later {
                        Namespace::made_since(read)
                    } else {
                        Namespace::from_before(read, ours(read.netns))
                    }
                });
        }
    }

    /// What was read last, of every namespace that ever was.
    pub(super) fn last(&self) -> Vec<KernelCounters> {
        let mut last: Vec<_> =
            self.namespaces.values().map(|namespace| namespace.last.clone()).collect();
        last.sort_unstable_by_key(|counters| counters.netns);
        last
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

    /// The namespace `netns`, unless it is gone or could not be read this time.
    fn readable(&self, netns: u32) -> Option<&Namespace> {
        self.namespaces.get(&netns).filter(|_| self.latest.contains(&netns))
    }

    /// The kernel's counters of `home`, as they are.
    pub(super) fn shown(&self, home: u32) -> Option<snapshot::Kernel> {
        let last = &self.readable(home)?.last;
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
        now: u64,
        refusals_seen: bool,
        tw_counts_births: Option<bool>,
    ) -> Option<snapshot::Reconcile> {
        let namespace = self.readable(home)?;
        let since = |ours: u64, first: u64| ours.saturating_sub(first);
        let first = namespace.ours_first;
        let births = (tw_counts_births == Some(true)).then(|| namespace.births()).flatten();
        // Where refusals are seen they need not be concluded from the kernel's count.
        let refused = if refusals_seen {
            Some(since(ours.refused, first.refused))
        } else {
            self.refused(home, ours.without)
        };
        Some(snapshot::Reconcile {
            time_wait_now_minus_sockstat: difference(Some(now), namespace.last.tw_sockstat),
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
        let sockstat = self.readable(home)?.last.tw_sockstat;
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
        Self { banked: BTreeMap::new(), first: read.clone(), ours_first, last: read.clone() }
    }

    fn made_since(read: &KernelCounters) -> Self {
        let first = from_zero(read);
        Self { banked: BTreeMap::new(), first, ours_first: Ours::default(), last: read.clone() }
    }

    /// A counter that has fallen is another namespace's: the kernel gives the
    /// inode of one that is gone to a new one.
    fn read(&mut self, read: &KernelCounters) {
        let fell = |(name, count): (&Cow<'static, str>, &u64)| {
            *name != CURRENTLY_ESTABLISHED && self.last.counters.get(name) > Some(count)
        };
        if read.counters.iter().any(fell) {
            for (name, last) in &self.last.counters {
                let first = self.first.counters.get(name).copied().unwrap_or(0);
                *self.banked.entry(name.clone()).or_default() += last.saturating_sub(first);
            }
            self.first = from_zero(read);
        }
        self.last.clone_from(read);
    }

    /// How much a counter has grown since it was read first.
    fn counted(&self, name: &str) -> Option<u64> {
        let first = self.first.counters.get(name)?;
        let banked = self.banked.get(name).copied().unwrap_or(0);
        Some(banked + self.last.counters.get(name)?.saturating_sub(*first))
    }
}

/// What a namespace counted at its beginning.
fn from_zero(read: &KernelCounters) -> KernelCounters {
    let mut first = read.clone();
    first.counters.values_mut().for_each(|counter| *counter = 0);
    first
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
            refused: namespace.refused(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kernel: &mut Kernel, netns: u32, overflow: u64) {
        let counters = [(OVERFLOW.into(), overflow), (CURRENTLY_ESTABLISHED.into(), 7)].into();
        let ours = |_| Ours::default();
        kernel.read(&[KernelCounters { netns, tw_sockstat: Some(0), counters }], ours);
    }

    #[test]
    fn an_inode_given_again_does_not_take_back_what_was_counted() {
        let mut kernel = Kernel::default();
        read(&mut kernel, 1, 0);
        read(&mut kernel, 2, 50);
        assert_eq!(kernel.refused(2, 100), Some(50));
        read(&mut kernel, 2, 5);
        assert_eq!(kernel.refused(2, 100), Some(55), "50 by the one that is gone");
        read(&mut kernel, 2, 6);
        assert_eq!(kernel.refused(2, 100), Some(56));
    }

    #[test]
    fn a_namespace_that_is_gone_is_not_shown_as_it_was() {
        let mut kernel = Kernel::default();
        read(&mut kernel, 1, 3);
        assert!(kernel.shown(1).is_some());
        kernel.read(&[], |_| Ours::default());
        assert_eq!(kernel.shown(1), None);
        assert_eq!(kernel.reconcile(1, Ours::default(), 0, false, Some(true)), None);
    }
}
