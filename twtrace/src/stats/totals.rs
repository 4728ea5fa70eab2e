//! The kernel side's counters, summed over namespaces and given their names.

use std::collections::BTreeMap;

use twtrace_common::{
    Counters, End, Outcome, PAIRS, Search, TcpState, pair_index, pair_states, substate_index,
};

use super::snapshot;
use crate::frame::{self, Totals};

/// Totals since attach.
#[derive(Clone, Debug)]
pub(super) struct TotalCounts {
    counters: Counters,
    by_netns: BTreeMap<u32, NetnsCounts>,
    /// Of the namespaces that found no slot of their own.
    rest: Option<NetnsCounts>,
    pub(super) ring_full: u64,
    pub(super) missed: Option<u64>,
}

/// What the totals of one namespace say about mini-sockets.
#[derive(Clone, Copy, Debug)]
pub(super) struct NetnsCounts {
    births: u64,
    ends: u64,
    reused: u64,
    /// Closes that should have left a mini-socket, and did not.
    without: u64,
    /// Of these, refused by the kernel, where that is seen.
    refused: u64,
}

impl NetnsCounts {
    fn new(counters: &Counters) -> Self {
        Self {
            births: counters.births.iter().sum(),
            ends: counters.ends.iter().sum(),
            reused: reused(counters),
            without: frame::closes_without_mini(counters),
            refused: counters.refused,
        }
    }

    /// Mini-sockets born.
    pub(super) fn born(&self) -> u64 {
        self.births
    }

    /// Mini-sockets ended.
    pub(super) fn ended(&self) -> u64 {
        self.ends
    }

    /// Of these, taken by an outgoing connect.
    pub(super) fn reused(&self) -> u64 {
        self.reused
    }

    /// Births that were seen to be refused.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// Closes without a mini-socket.
    pub(super) fn closes_without(&self) -> u64 {
        self.without
    }
}

fn reused(counters: &Counters) -> u64 {
    counters.ends[End::Reused as usize] + counters.ends[End::ReusedBound as usize]
}

impl Default for TotalCounts {
    fn default() -> Self {
        Self {
            counters: Counters::ZERO,
            by_netns: BTreeMap::new(),
            rest: None,
            ring_full: 0,
            missed: None,
        }
    }
}

impl TotalCounts {
    pub(super) fn new(totals: &Totals) -> Self {
        let mut sum = Counters::ZERO;
        for (_, counters) in &totals.by_netns {
            add(&mut sum.pairs, &counters.pairs);
            add(&mut sum.outcomes, &counters.outcomes);
            add(&mut sum.births, &counters.births);
            add(&mut sum.ends, &counters.ends);
            add(&mut sum.searches, &counters.searches);
            add(&mut sum.probed_searches, &counters.probed_searches);
            add(&mut sum.failed_searches, &counters.failed_searches);
            sum.ends_in_fin_wait2 =
                sum.ends_in_fin_wait2.saturating_add(counters.ends_in_fin_wait2);
            sum.steps = sum.steps.saturating_add(counters.steps);
            sum.rearmed = sum.rearmed.saturating_add(counters.rearmed);
            sum.refused = sum.refused.saturating_add(counters.refused);
            sum.ring_full = sum.ring_full.saturating_add(counters.ring_full);
        }
        let by_netns = totals.by_netns.iter();
        let known = by_netns.filter_map(|(netns, counters)| Some(((*netns)?, counters)));
        let rest = totals.by_netns.iter().find(|(netns, _)| netns.is_none());
        Self {
            ring_full: sum.ring_full,
            counters: sum,
            by_netns: known.map(|(netns, counters)| (netns, NetnsCounts::new(counters))).collect(),
            rest: rest.map(|(_, counters)| NetnsCounts::new(counters)),
            missed: totals.missed,
        }
    }

    /// What happened in the namespaces that found no slot of their own.
    pub(super) fn rest(&self) -> Option<&NetnsCounts> {
        self.rest.as_ref()
    }

    /// What happened in one namespace; `None` if nothing did.
    pub(super) fn namespace(&self, netns: u32) -> Option<&NetnsCounts> {
        self.by_netns.get(&netns)
    }

    /// Every namespace where something happened.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = (u32, &NetnsCounts)> {
        self.by_netns.iter().map(|(netns, counts)| (*netns, counts))
    }

    /// Mini-sockets born in `substate`.
    pub(super) fn births(&self, substate: TcpState) -> u64 {
        self.counters.births[substate_index(substate)]
    }

    /// Mini-sockets born.
    pub(super) fn born(&self) -> u64 {
        self.counters.births.iter().sum()
    }

    /// Mini-sockets ended by `end`; `reused` counts those with a bound port too.
    pub(super) fn ended_by(&self, end: End) -> u64 {
        if end == End::Reused { reused(&self.counters) } else { self.counters.ends[end as usize] }
    }

    /// Mini-sockets ended.
    pub(super) fn ended(&self) -> u64 {
        self.counters.ends.iter().sum()
    }

    /// Births that were seen to be refused.
    pub(super) fn refused(&self) -> u64 {
        self.counters.refused
    }

    /// Timers of mini-sockets that were set back.
    pub(super) fn rearmed(&self) -> u64 {
        self.counters.rearmed
    }

    /// Mini-sockets that went from FIN_WAIT2 to TIME_WAIT.
    pub(super) fn steps(&self) -> u64 {
        self.counters.steps
    }

    /// Mini-sockets that ended in FIN_WAIT2.
    pub(super) fn ended_in_fin_wait2(&self) -> u64 {
        self.counters.ends_in_fin_wait2
    }

    /// Port searches and checks; `probed`: as their functions told.
    pub(super) fn search(&self, search: Search, probed: bool) -> u64 {
        let counts = if probed { &self.counters.probed_searches } else { &self.counters.searches };
        counts[search as usize]
    }

    fn pair(&self, old: TcpState, new: TcpState) -> u64 {
        self.counters.pairs[pair_index(old, new)]
    }

    fn outcome(&self, outcome: Outcome) -> u64 {
        self.counters.outcomes[outcome as usize]
    }

    /// Sockets that became ESTABLISHED.
    pub(super) fn opens(&self) -> u64 {
        self.pair(TcpState::SynSent, TcpState::Established)
            + self.pair(TcpState::SynRecv, TcpState::Established)
    }

    pub(super) fn transitions(&self) -> snapshot::Transitions {
        let by_pair: BTreeMap<String, u64> = (0..PAIRS)
            .filter(|&index| self.counters.pairs[index] > 0)
            .filter_map(|index| {
                let (old, new) = pair_states(index)?;
                Some((format!("{}>{}", old.name(), new.name()), self.counters.pairs[index]))
            })
            .collect();
        snapshot::Transitions { total: by_pair.values().sum(), by_pair }
    }

    /// Connects; causes are unknown where the hook cannot read the socket.
    pub(super) fn connects(&self, explained: bool) -> snapshot::Connects {
        let cause = |outcome| explained.then(|| self.outcome(outcome));
        snapshot::Connects {
            ok: self.outcome(Outcome::ConnectOk),
            refused: cause(Outcome::ConnectRefused),
            timed_out: cause(Outcome::ConnectTimedOut),
            no_port: cause(Outcome::ConnectNoPort),
            other: cause(Outcome::ConnectOther),
        }
    }

    /// Active closes, without those of them that turned out to be simultaneous.
    ///
    /// `withdrawn` of them were seen to, and one that began before we attached
    /// never was among them. When records were lost, so may be the sight.
    pub(super) fn active(&self, withdrawn: u64) -> u64 {
        let simultaneous = self.outcome(Outcome::CloseSimultaneous);
        let withdrawn = if self.ring_full == 0 { withdrawn } else { simultaneous };
        self.outcome(Outcome::CloseActive).saturating_sub(withdrawn)
    }

    /// Closes; who reset is unknown where the hook cannot read the socket.
    pub(super) fn closes(&self, withdrawn: u64, explained: bool) -> snapshot::Closes {
        let (local, remote) =
            (self.outcome(Outcome::ResetLocal), self.outcome(Outcome::ResetRemote));
        snapshot::Closes {
            active: self.active(withdrawn),
            passive: self.outcome(Outcome::ClosePassive),
            simultaneous: self.outcome(Outcome::CloseSimultaneous),
            reset: local + remote + self.outcome(Outcome::ResetUnexplained),
            reset_local: explained.then_some(local),
            reset_remote: explained.then_some(remote),
        }
    }
}

fn add<const N: usize>(sums: &mut [u64; N], counts: &[u64; N]) {
    for (sum, count) in sums.iter_mut().zip(counts) {
        *sum = sum.saturating_add(*count);
    }
}
