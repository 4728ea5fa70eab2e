//! What the kernel itself counts, next to what our programs count.

use std::collections::{BTreeMap, BTreeSet};

use log::debug;

use crate::{
    frame::{self, KernelCounters, Totals},
    host::{self, Netns, NetnsCounters, Reach},
};

/// Reads the kernel's counters of the namespaces where they are needed. It
/// holds none of them open: that would keep alive what its owner has deleted.
#[derive(Debug)]
pub(super) struct KernelReader {
    reach: Reach,
    home: Option<u32>,
    only: Option<u32>,
    /// Closes without a mini-socket, by namespace, at the last reading.
    without: BTreeMap<u32, u64>,
}

impl KernelReader {
    /// `home` is the namespace that is always read, `only` the only one traced.
    pub(super) fn new(reach: Reach, home: Option<u32>, only: Option<u32>) -> Self {
        Self { reach, home, only, without: BTreeMap::new() }
    }

    /// Of every namespace that can be entered: what later readings are compared with.
    pub(super) fn all(&self) -> Vec<KernelCounters> {
        let found = self.reach.list().map(|list| list.found).unwrap_or_default();
        let traced = |netns: &&Netns| self.only.is_none_or(|only| netns.inode == only);
        let mut read: Vec<_> = found.iter().filter(traced).filter_map(counters).collect();
        if let Some(home) = self.home
            && !read.iter().any(|counters| counters.netns == home)
        {
            read.extend(self.own(home));
        }
        read
    }

    /// Of the home namespace, and of those where closes left no mini-socket
    /// since the last reading: the kernel alone knows whether it refused one.
    pub(super) fn of_interest(&mut self, totals: &Totals) -> Vec<KernelCounters> {
        let without: BTreeMap<u32, u64> = totals
            .by_netns
            .iter()
            .filter_map(|(netns, counters)| Some(((*netns)?, frame::closes_without_mini(counters))))
            .collect();
        let is_new = |(netns, count): &(&u32, &u64)| {
            self.without.get(netns).copied().unwrap_or(0) != **count
        };
        let mut wanted: BTreeSet<u32> =
            without.iter().filter(is_new).map(|(netns, _)| *netns).chain(self.home).collect();
        let own = self.home.and_then(|home| self.own(home));
        if let Some(own) = &own {
            wanted.remove(&own.netns);
        }
        let others = if wanted.is_empty() { Vec::new() } else { self.read_each(&wanted) };
        let read: Vec<KernelCounters> = own.into_iter().chain(others).collect();
        for counters in &read {
            if let Some(count) = without.get(&counters.netns) {
                self.without.insert(counters.netns, *count);
            }
        }
        read
    }

    fn read_each(&self, wanted: &BTreeSet<u32>) -> Vec<KernelCounters> {
        let found = self.reach.list().map(|list| list.found).unwrap_or_default();
        found.iter().filter(|netns| wanted.contains(&netns.inode)).filter_map(counters).collect()
    }

    /// The home namespace, if it is ours: found without a search.
    fn own(&self, home: u32) -> Option<KernelCounters> {
        host::own().ok().filter(|own| own.inode == home).as_ref().and_then(counters)
    }
}

/// `None` if it is gone or may not be entered.
fn counters(netns: &Netns) -> Option<KernelCounters> {
    match host::tcp_counters(netns) {
        Ok(read) => Some(kernel_counters(&read)),
        Err(error) => {
            debug!("{error:#}");
            None
        }
    }
}

fn kernel_counters(read: &NetnsCounters) -> KernelCounters {
    KernelCounters {
        netns: read.netns,
        tw_sockstat: read.tw_sockets,
        counters: read.iter().map(|(name, count)| (name.into(), count)).collect(),
    }
}
