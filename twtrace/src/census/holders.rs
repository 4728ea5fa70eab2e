//! Sockets that processes hold.

use std::collections::BTreeMap;

use twtrace_common::TcpState;

use super::{Counts, Holders};

/// A socket that has an inode, so that a process may hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) inode: u32,
    pub(super) state: TcpState,
    pub(super) netns: u32,
}

/// What one process holds in one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holding {
    /// `None` for those of which it is not known who holds them.
    pub(super) pid: Option<u32>,
    pub(super) netns: u32,
    pub(super) counts: Counts,
}

/// What each process holds.
pub(super) fn by_process(held: &[Held], holders: &Holders) -> Vec<Holding> {
    let mut found: BTreeMap<(Option<u32>, u32), Counts> = BTreeMap::new();
    for Held { inode, state, netns } in held.iter().copied() {
        let pid = holders.by_inode.get(&inode).copied();
        found.entry((pid, netns)).or_default().count(state);
    }
    let holding = |((pid, netns), counts)| Holding { pid, netns, counts };
    found.into_iter().map(holding).collect()
}
