//! The kernel side's counters, summed over namespaces and given their names.

use std::collections::BTreeMap;

use twtrace_common::{Counters, Outcome, PAIRS, TcpState, pair_index, pair_states};

use super::snapshot;
use crate::frame::Totals;

/// Totals since attach.
#[derive(Clone, Debug)]
pub(super) struct TotalCounts {
    counters: Counters,
    pub(super) ring_full: u64,
    pub(super) missed: Option<u64>,
}

impl Default for TotalCounts {
    fn default() -> Self {
        Self { counters: Counters::ZERO, ring_full: 0, missed: None }
    }
}

impl TotalCounts {
    pub(super) fn new(totals: &Totals) -> Self {
        let mut sum = Counters::ZERO;
        for (_, counters) in &totals.by_netns {
            for (sum, count) in sum.pairs.iter_mut().zip(counters.pairs) {
                *sum = sum.saturating_add(count);
            }
            for (sum, count) in sum.outcomes.iter_mut().zip(counters.outcomes) {
                *sum = sum.saturating_add(count);
            }
            sum.ring_full = sum.ring_full.saturating_add(counters.ring_full);
        }
        Self { ring_full: sum.ring_full, counters: sum, missed: totals.missed }
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
