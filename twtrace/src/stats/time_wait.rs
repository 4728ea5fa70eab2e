//! What is known of mini-sockets: how many, since when, and what ended them.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use twtrace_common::{End, TcpState};

use super::{
    lifetimes::Lifetimes,
    snapshot,
    totals::{NetnsCounts, TotalCounts},
};
use crate::{
    event::MiniEvent,
    tracker::{Ended, Mini},
};

/// Mini-sockets since attach. Totals are the kernel side's; what ended whose,
/// and after how long, is the records'.
#[derive(Debug, Default)]
pub(super) struct TimeWait {
    lifetimes: Lifetimes,
    by_netns: HashMap<u32, Records, FixedState>,
}

/// What records told about the ends of one namespace.
#[derive(Clone, Copy, Debug, Default)]
struct Records {
    /// Ends.
    ended: u64,
    /// Mini-sockets whose memory another one got, and no record told their end.
    vanished: u64,
    /// Ends before counting began that no record told.
    untold_before: u64,
}

impl Records {
    /// Those that vanished although no program counted their end: of the others
    /// the record alone is lost, and the totals have them.
    fn unseen(self, totals: &TotalCounts, netns: u32) -> u64 {
        self.vanished.saturating_sub(self.untold(totals, netns))
    }

    /// Ends that were counted, and that no record told.
    fn untold(self, totals: &TotalCounts, netns: u32) -> u64 {
        let counted = totals.namespace(netns).map_or(0, NetnsCounts::ended);
        self.untold_before + counted.saturating_sub(self.ended)
    }
}

impl TimeWait {
    /// An end; `known` says of what.
    pub(super) fn ended(&mut self, event: &MiniEvent, end: End, known: &Ended) {
        self.by_netns.entry(event.netns).or_default().ended += 1;
        let (Ended::Claimed(mini) | Ended::Unclaimed(mini)) = known else {
            return;
        };
        // What was there before counting began enters no count.
        if mini.carried {
            return;
        }
        self.lifetimes.record(event.time_ns.saturating_sub(mini.born_ns), end);
        self.lifetimes.record_parts(mini, event.time_ns, event.substate);
    }

    /// A mini-socket is no longer there, and no record told its end.
    pub(super) fn vanished(&mut self, mini: &Mini) {
        self.by_netns.entry(mini.maker.netns).or_default().vanished += 1;
    }

    /// By namespace, ends that were counted, and which mini-socket ended is not known.
    pub(super) fn untold_ends(&self, totals: &TotalCounts) -> Vec<(u32, u64)> {
        let untold = |(netns, records): (&u32, &Records)| {
            (*netns, records.untold(totals, *netns).saturating_sub(records.vanished))
        };
        let known = self.by_netns.iter().map(untold);
        let silent = totals.namespaces().filter(|(netns, _)| !self.by_netns.contains_key(netns));
        let mut untold: Vec<_> =
            known.chain(silent.map(|(netns, counts)| (netns, counts.ended()))).collect();
        untold.retain(|(_, count)| *count > 0);
        untold.sort_unstable();
        untold
    }

    /// Takes over the ends of before counting began that no record told.
    pub(super) fn carry(&mut self, untold_ends: &[(u32, u64)]) {
        for (netns, count) in untold_ends {
            self.by_netns.entry(*netns).or_default().untold_before = *count;
        }
    }

    /// How many are alive in one namespace.
    pub(super) fn now_in(&self, netns: u32, seeded: u64, totals: &TotalCounts) -> u64 {
        let (born, ended) = totals
            .namespace(netns)
            .map_or((0, 0), |namespace| (namespace.born(), namespace.ended()));
        let unseen = self.by_netns.get(&netns).map_or(0, |records| records.unseen(totals, netns));
        (seeded + born).saturating_sub(ended + unseen)
    }

    /// Ends, seen or not.
    pub(super) fn all_ended(&self, totals: &TotalCounts) -> u64 {
        totals.ended() + self.all_unseen(totals)
    }

    fn all_unseen(&self, totals: &TotalCounts) -> u64 {
        self.by_netns.iter().map(|(netns, records)| records.unseen(totals, *netns)).sum()
    }

    /// Without what only probed functions tell; see [`Self::probed`].
    pub(super) fn shown(
        &self,
        seeded: u64,
        totals: &TotalCounts,
        refused: Option<u64>,
    ) -> snapshot::TimeWait {
        snapshot::TimeWait {
            now: Some((seeded + totals.born()).saturating_sub(self.all_ended(totals))),
            seeded: Some(seeded),
            born: Some(totals.born()),
            refused,
            rearmed: None,
            ended: self.ends(totals),
            lifetime_s: Some(self.lifetimes.summary()),
            lifetime_by_end: Some(self.lifetimes.by_end()),
            time_wait_s: None,
            remaining_s: None,
        }
    }

    /// With what only probed functions tell.
    pub(super) fn probed(&self, seeded: u64, totals: &TotalCounts) -> snapshot::TimeWait {
        snapshot::TimeWait {
            rearmed: Some(totals.rearmed()),
            time_wait_s: Some(self.lifetimes.time_wait()),
            ..self.shown(seeded, totals, Some(totals.refused()))
        }
    }

    fn ends(&self, totals: &TotalCounts) -> snapshot::Ended {
        let by = |end| Some(totals.ended_by(end));
        snapshot::Ended {
            expired: by(End::Expired),
            fin_wait2_timeout: by(End::FinWait2Timeout),
            reused: by(End::Reused),
            reused_bound: by(End::ReusedBound),
            replaced: by(End::Replaced),
            reset: by(End::Reset),
            rejected: by(End::Rejected),
            aborted: by(End::Aborted),
            purged: by(End::Purged),
            other: by(End::Other),
            unseen: Some(self.all_unseen(totals)),
        }
    }

    pub(super) fn fin_wait2(&self, totals: &TotalCounts) -> snapshot::FinWait2 {
        snapshot::FinWait2 {
            now: None,
            born: Some(totals.births(TcpState::FinWait2)),
            to_time_wait: self.lifetimes.seen_to_time_wait(),
            time_s: None,
        }
    }

    /// With what only probed functions tell; `seeded` were there when counting began.
    pub(super) fn probed_fin_wait2(&self, seeded: u64, totals: &TotalCounts) -> snapshot::FinWait2 {
        snapshot::FinWait2 {
            now: Some(self.in_fin_wait2(seeded, totals)),
            born: Some(totals.births(TcpState::FinWait2)),
            to_time_wait: Some(totals.steps()),
            time_s: Some(self.lifetimes.fin_wait2()),
        }
    }

    /// How many are in FIN_WAIT2, where each step is told.
    pub(super) fn in_fin_wait2(&self, seeded: u64, totals: &TotalCounts) -> u64 {
        let gone = totals.steps() + totals.ended_in_fin_wait2();
        (seeded + totals.births(TcpState::FinWait2)).saturating_sub(gone)
    }

    pub(super) fn encoded(&self) -> Option<snapshot::Encoded> {
        self.lifetimes.encoded()
    }
}

/// Refused births: of the closes without a mini-socket those that the kernel's
/// counter admits; unknown as soon as it cannot be read where there are any.
///
/// Where its counters cannot be read, a namespace that is gone for instance,
/// nothing was refused all the same if all closes are explained.
pub(super) fn refused(
    totals: &TotalCounts,
    refused: impl Fn(u32, u64) -> Option<u64>,
    unexplained: impl Fn(u32) -> u64,
) -> Option<u64> {
    let is_explained = |netns| totals.ring_full == 0 && unexplained(netns) == 0;
    let in_namespace = |(netns, counts): (u32, &NetnsCounts)| match counts.closes_without() {
        0 => Some(0),
        without => refused(netns, without).or(is_explained(netns).then_some(0)),
    };
    // Whose counters to read is not known there.
    let rest = totals.rest().map(|rest| (rest.closes_without() == 0).then_some(0));
    totals.namespaces().map(in_namespace).chain(rest).sum()
}
