//! What twtrace says of one network namespace, by the Snapshot's keys.

use std::collections::BTreeMap;

use twtrace_common::{Counters, End, Outcome, Search, TcpState, substate_index};

use super::case::{Count, Done, Key, Seen};
use crate::{
    frame,
    host::NetnsCounters,
    probes::{Capability, Hooks},
    stats::snapshot::{Closer, SearchedDestination, Snapshot},
};

/// What the whole run says.
pub(super) struct Sight<'a> {
    pub(super) hooks: Hooks,
    pub(super) tw_counts_births: bool,
    pub(super) snapshot: &'a Snapshot,
    /// The pid of this process, as the rows have it: in a pid namespace it does
    /// not know that itself.
    pub(super) own_pid: Option<u32>,
}

impl Sight<'_> {
    /// Of the namespace `netns`, in which `counters` were counted.
    pub(super) fn of(&self, netns: u32, counters: &Counters) -> Seen {
        let mut seen = outcomes(counters);
        seen.extend(self.minis(netns, counters));
        seen.extend(self.searches(netns, counters));
        seen.extend(self.closers(netns));
        seen
    }

    /// Adds what the kernel counts to what was done, and what we do to what was
    /// seen: the identities that hold between the two.
    pub(super) fn compare_with_kernel(
        &self,
        kernel: &NetnsCounters,
        counters: &Counters,
        done: &mut Done,
        seen: &mut Seen,
    ) {
        let Some(born) = seen.get("time_wait.born").copied().flatten() else {
            return;
        };
        let ended: u64 = counters.ends.iter().sum();
        let counted = counted_by_tw(counters, self.tw_counts_births);
        let timers = kernel.get("TW").zip(kernel.get("TWKilled")).map(|(tw, killed)| tw + killed);
        for (key, kernel, ours) in [
            ("kernel.tw_sockstat", kernel.tw_sockets, born.saturating_sub(ended)),
            ("kernel.TW+TWKilled", timers, counted),
            ("kernel.TWRecycled", kernel.get("TWRecycled"), reused(counters)),
            (
                "kernel.TCPTimeWaitOverflow",
                kernel.get("TCPTimeWaitOverflow"),
                self.refused(counters),
            ),
        ] {
            if let Some(kernel) = kernel {
                done.is(key, Count::exactly(kernel));
                seen.insert(key, Some(ours));
            }
        }
    }

    /// Births that the kernel refused, or, where nobody sees that, closes without one.
    fn refused(&self, counters: &Counters) -> u64 {
        if self.hooks.probes_functions(Capability::EndCause) {
            counters.refused
        } else {
            frame::closes_without_mini(counters)
        }
    }

    fn minis(&self, netns: u32, counters: &Counters) -> Seen {
        let is_followed = self.hooks.tier(Capability::EndCause).is_some();
        let followed = |count: u64| is_followed.then_some(count);
        let is_probed = self.hooks.probes_functions(Capability::EndCause);
        let fin_wait2 = counters.births[substate_index(TcpState::FinWait2)];
        let rows = self.rows(netns);
        let refused = rows.map(|row| row.refused).sum::<Option<u64>>().filter(|_| is_followed);
        let mut seen = Seen::from([
            ("time_wait.born", followed(counters.births.iter().sum())),
            ("time_wait.refused", refused),
            ("fin_wait2.born", followed(fin_wait2)),
            ("fin_wait2.to_time_wait", is_probed.then_some(counters.steps)),
            ("time_wait.rearmed", is_probed.then_some(counters.rearmed)),
        ]);
        for (key, end) in ENDS {
            seen.insert(key, followed(counters.ends[end as usize]));
        }
        seen.insert("time_wait.ended.reused", followed(reused(counters)));
        seen
    }

    fn searches(&self, netns: u32, counters: &Counters) -> Seen {
        let is_seen = self.hooks.port_search.is_some();
        let is_probed = self.hooks.probes_functions(Capability::PortSearch);
        let counts = if is_probed { &counters.probed_searches } else { &counters.searches };
        let count = |search| is_seen.then_some(counts[search as usize]);
        let failed = |search| is_probed.then_some(counters.failed_searches[search as usize]);
        let both = |bind: Option<u64>, listen: Option<u64>| Some(bind? + listen?);
        Seen::from([
            ("port_search.connect.count", count(Search::Connect)),
            ("port_search.connect.failed", is_seen.then(|| self.failed_connects(netns))),
            ("port_search.bind.count", both(count(Search::Bind), count(Search::Listen))),
            ("port_search.bind_explicit.count", count(Search::BindExplicit)),
            ("port_search.bind.failed", both(failed(Search::Bind), failed(Search::Listen))),
            ("port_search.bind_explicit.failed", failed(Search::BindExplicit)),
        ])
    }

    fn failed_connects(&self, netns: u32) -> u64 {
        let searches = self.snapshot.port_search.as_ref();
        let rows = searches.map(|searches| searches.by_destination.as_slice()).unwrap_or_default();
        let here = |row: &&SearchedDestination| row.netns == Some(netns);
        rows.iter().filter(here).flat_map(|row| row.failed.values()).sum()
    }

    fn rows(&self, netns: u32) -> impl Iterator<Item = &Closer> {
        let rows = self.snapshot.closers.as_deref().unwrap_or_default();
        rows.iter().filter(move |row| row.netns == Some(netns))
    }

    /// The rows of this process by role, and those of the processes that a scene
    /// gave a connection to.
    fn closers(&self, netns: u32) -> Seen {
        let mut seen = Seen::new();
        for (role, [active, peer, resets, lifetime]) in CLOSERS {
            let own = |row: &&Closer| row.role == Some(role) && row.pid == self.own_pid;
            let mut sums = BTreeMap::from([(active, 0), (peer, 0), (resets, 0)]);
            for row in self.rows(netns).filter(own) {
                *sums.entry(active).or_default() += row.active_closes;
                *sums.entry(peer).or_default() += row.peer_closes;
                *sums.entry(resets).or_default() += row.resets.unwrap_or(0);
                let longest = row.lifetime_s.as_ref().and_then(|lifetimes| lifetimes.max);
                seen.insert(lifetime, longest.map(|seconds| seconds as u64));
            }
            seen.extend(sums.into_iter().map(|(key, sum)| (key, Some(sum))));
        }
        let others = self.rows(netns).filter(|row| row.pid != self.own_pid);
        let active = others.map(|row| row.active_closes).sum();
        seen.insert("closers.child.active_closes", Some(active));
        seen
    }
}

/// By an outgoing connect, bound to the port or not.
fn reused(counters: &Counters) -> u64 {
    counters.ends[End::Reused as usize] + counters.ends[End::ReusedBound as usize]
}

/// What the kernel's TW and TWKilled count together: births, or, before 5.18,
/// timers that fired
/// ([`tw_timer_handler`](https://github.com/torvalds/linux/blob/v5.10/net/ipv4/inet_timewait_sock.c)).
fn counted_by_tw(counters: &Counters, births: bool) -> u64 {
    if births {
        counters.births.iter().sum()
    } else {
        counters.ends[End::Expired as usize] + counters.ends[End::FinWait2Timeout as usize]
    }
}

/// The pid that most of the rows of `namespaces` have.
pub(super) fn own_pid(snapshot: &Snapshot, namespaces: &[u32]) -> Option<u32> {
    let rows = snapshot.closers.as_deref().unwrap_or_default();
    let mut pids = BTreeMap::<u32, usize>::new();
    for row in rows.iter().filter(|row| row.netns.is_some_and(|n| namespaces.contains(&n))) {
        if let Some(pid) = row.pid {
            *pids.entry(pid).or_default() += 1;
        }
    }
    pids.into_iter().max_by_key(|(_, count)| *count).map(|(pid, _)| pid)
}

/// Keys of a role: active closes, peer closes, resets, lifetime. Nothing here
/// began before we attached, so that no role is unknown.
const CLOSERS: [(&str, [Key; 4]); 3] = [
    (
        "client",
        [
            "closers.client.active_closes",
            "closers.client.peer_closes",
            "closers.client.resets",
            "closers.client.lifetime_s",
        ],
    ),
    (
        "server",
        [
            "closers.server.active_closes",
            "closers.server.peer_closes",
            "closers.server.resets",
            "closers.server.lifetime_s",
        ],
    ),
    (
        "unknown",
        [
            "closers.unknown.active_closes",
            "closers.unknown.peer_closes",
            "closers.unknown.resets",
            "closers.unknown.lifetime_s",
        ],
    ),
];

/// Without `reused`, which holds those with a bound port too.
const ENDS: [(Key, End); 9] = [
    ("time_wait.ended.expired", End::Expired),
    ("time_wait.ended.fin_wait2_timeout", End::FinWait2Timeout),
    ("time_wait.ended.reused_bound", End::ReusedBound),
    ("time_wait.ended.replaced", End::Replaced),
    ("time_wait.ended.reset", End::Reset),
    ("time_wait.ended.rejected", End::Rejected),
    ("time_wait.ended.aborted", End::Aborted),
    ("time_wait.ended.purged", End::Purged),
    ("time_wait.ended.other", End::Other),
];

/// Connects and closes.
fn outcomes(counters: &Counters) -> Seen {
    let count = |outcome| counters.outcomes[outcome as usize];
    let simultaneous = count(Outcome::CloseSimultaneous);
    let (local, remote) = (count(Outcome::ResetLocal), count(Outcome::ResetRemote));
    [
        ("connects.ok", count(Outcome::ConnectOk)),
        ("connects.refused", count(Outcome::ConnectRefused)),
        ("connects.timed_out", count(Outcome::ConnectTimedOut)),
        ("connects.no_port", count(Outcome::ConnectNoPort)),
        ("connects.other", count(Outcome::ConnectOther)),
        // All began here, so that each was counted active at first.
        ("closes.active", count(Outcome::CloseActive).saturating_sub(simultaneous)),
        ("closes.passive", count(Outcome::ClosePassive)),
        ("closes.simultaneous", simultaneous),
        ("closes.reset", local + remote),
        ("closes.reset_local", local),
        ("closes.reset_remote", remote),
    ]
    .into_iter()
    .map(|(key, count)| (key, Some(count)))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tw_counts_depends_on_the_kernel() {
        let mut counters = Counters::ZERO;
        counters.births = [3, 4];
        counters.ends[End::Expired as usize] = 2;
        counters.ends[End::FinWait2Timeout as usize] = 1;
        counters.ends[End::Reused as usize] = 1;
        assert_eq!([true, false].map(|births| counted_by_tw(&counters, births)), [7, 3]);
    }

    #[test]
    fn a_simultaneous_close_is_no_active_one() {
        let mut counters = Counters::ZERO;
        counters.outcomes[Outcome::CloseActive as usize] = 2;
        counters.outcomes[Outcome::CloseSimultaneous as usize] = 1;
        let seen = outcomes(&counters);
        assert_eq!([seen["closes.active"], seen["closes.simultaneous"]], [Some(1), Some(1)]);
    }

    #[test]
    fn each_end_has_its_key() {
        let mut ends: Vec<End> = ENDS.iter().map(|(_, end)| *end).chain([End::Reused]).collect();
        ends.sort_unstable();
        assert_eq!(ends, End::ALL);
        let named = |(key, end): &(Key, End)| key.ends_with(&format!(".{}", end.name()));
        assert!(ENDS.iter().all(named));
    }
}
