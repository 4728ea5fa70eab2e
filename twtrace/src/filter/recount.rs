//! Totals, counted from the records that pass.
//!
//! By the functions that the BPF programs count by, so that it makes no difference who
//! does. What has no record, a timer that was set back, is not counted.

use std::collections::BTreeMap;

use twtrace_common::{Counters, Search, TcpState, pair_index, substate_index};

use crate::{
    event::{Event, SearchEvent, TransitionEvent},
    frame::Totals,
};

/// Totals by namespace; `None` where the hook cannot tell.
#[derive(Debug, Default)]
pub(super) struct Recount {
    /// Whether the functions that search are probed, and tell of each search.
    probed: bool,
    by_netns: BTreeMap<Option<u32>, Counters>,
}

impl Recount {
    pub(super) fn new(probed: bool) -> Self {
        Self { probed, by_netns: BTreeMap::new() }
    }

    /// Counts what passed.
    pub(super) fn count(&mut self, event: &Event) {
        match event {
            Event::Transition(event) => self.transition(event),
            Event::Birth(mini) => {
                self.of(Some(mini.netns)).births[substate_index(mini.substate)] += 1;
            }
            Event::Step(mini) => self.of(Some(mini.netns)).steps += 1,
            Event::Refused(mini) => self.of(Some(mini.netns)).refused += 1,
            Event::End(mini, end) => {
                let counters = self.of(Some(mini.netns));
                counters.ends[*end as usize] += 1;
                counters.ends_in_fin_wait2 += u64::from(mini.substate == TcpState::FinWait2);
            }
            Event::Search(event) => self.search(event),
            // Counted when its socket went to SYN_SENT.
            Event::Connect(_) => {}
            // Nothing but statistics counts samples.
            Event::Sample(_) | Event::Process(_) => {}
        }
    }

    /// Counts a listener's child: that it came to be has no record, and its first one says so.
    pub(super) fn child(&mut self, netns: Option<u32>) {
        self.of(netns).pairs[pair_index(TcpState::Listen, TcpState::SynRecv)] += 1;
    }

    fn transition(&mut self, event: &TransitionEvent) {
        let counters = self.of(event.netns);
        let change = &event.change;
        counters.pairs[pair_index(change.old, change.new)] += 1;
        if let Some(outcome) = change.outcome() {
            counters.outcomes[outcome as usize] += 1;
        }
        if let Some(search) = change.search() {
            counters.searches[search as usize] += 1;
        }
    }

    fn search(&mut self, event: &SearchEvent) {
        let probed = self.probed;
        let counters = self.of(Some(event.netns));
        let kind = event.search as usize;
        if probed {
            counters.probed_searches[kind] += 1;
            counters.failed_searches[kind] += u64::from(event.error != 0);
        } else if matches!(event.search, Search::Bind | Search::BindExplicit) {
            // Others were counted when they began.
            counters.searches[kind] += 1;
        }
    }

    fn of(&mut self, netns: Option<u32>) -> &mut Counters {
        self.by_netns.entry(netns).or_insert(Counters::ZERO)
    }

    /// The totals, with the losses of `all`, which no filter lessens.
    pub(super) fn totals(&self, all: &Totals) -> Totals {
        let by_netns = self.by_netns.iter().map(|(netns, counters)| (*netns, *counters));
        with_losses(by_netns.collect(), all)
    }
}

/// The totals of one namespace, as the kernel side counted them, with the losses of `all`;
/// `None` if it found no slot of its own and others did not either, so that nobody knows
/// what is whose.
pub(super) fn of_netns(netns: u32, all: &Totals) -> Option<Totals> {
    let own = all.by_netns.iter().find(|(known, _)| *known == Some(netns));
    let rest = all.by_netns.iter().find(|(known, _)| known.is_none());
    let is_lost = |(_, counters): &(Option<u32>, Counters)| {
        Counters { ring_full: 0, ..*counters } != Counters::ZERO
    };
    if own.is_none() && rest.is_some_and(is_lost) {
        return None;
    }
    let own = own.map(|(_, counters)| (Some(netns), Counters { ring_full: 0, ..*counters }));
    Some(with_losses(own.into_iter().collect(), all))
}

/// `by_netns` besides what of `all` is a loss.
fn with_losses(mut by_netns: Vec<(Option<u32>, Counters)>, all: &Totals) -> Totals {
    let ring_full = all.by_netns.iter().map(|(_, counters)| counters.ring_full).sum();
    match by_netns.iter_mut().find(|(netns, _)| netns.is_none()) {
        Some((_, rest)) => rest.ring_full = ring_full,
        None if ring_full > 0 => {
            by_netns.push((None, Counters { ring_full, ..Counters::ZERO }));
        }
        None => {}
    }
    Totals { by_netns, missed: all.missed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(refused: u64, ring_full: u64) -> Counters {
        Counters { refused, ring_full, ..Counters::ZERO }
    }

    #[test]
    fn a_namespace_without_a_slot_of_its_own_has_no_totals() {
        let all = Totals {
            by_netns: vec![(None, counters(0, 3)), (Some(1), counters(7, 2))],
            missed: Some(5),
        };
        let own = of_netns(1, &all).expect("it has a slot");
        assert_eq!(own.by_netns, [(Some(1), counters(7, 0)), (None, counters(0, 5))]);
        assert_eq!(own.missed, Some(5));
        let idle = of_netns(2, &all).expect("nothing happened in it");
        assert_eq!(idle.by_netns, [(None, counters(0, 5))]);
        let crowded = Totals { by_netns: vec![(None, counters(1, 0))], missed: None };
        assert_eq!(of_netns(2, &crowded), None);
    }
}
