//! Where there can be sockets in CLOSE_WAIT, by what our programs count: to look costs the
//! kernel a walk over all sockets of the host, for each namespace.

use std::collections::{BTreeMap, BTreeSet};

use twtrace_common::{Counters, PAIRS, TcpState, pair_states};

use super::Places;
use crate::frame::Totals;

/// How often is looked wherever any came to be in CLOSE_WAIT, whatever the counts say: a
/// program that did not run counts none, and a look may pass one over.
const ANYWAY_EVERY_NS: u64 = 60_000_000_000;

/// Sockets that came to be in CLOSE_WAIT, and that no longer are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Moves {
    entered: u64,
    left: u64,
}

/// By namespace; `None` for those without counters of their own.
type AllMoves = BTreeMap<Option<u32>, Moves>;

/// What is known of each namespace since it was looked at. See the module's documentation.
#[derive(Debug, Default)]
pub(in crate::source) struct Expected {
    /// Those where a look showed any; `None` before the first look.
    holding: Option<BTreeSet<u32>>,
    /// What was counted before the last look there began, and after it was over.
    before: AllMoves,
    after: AllMoves,
    /// What was counted when the look began that is under way, and where that looks.
    asked: Option<(AllMoves, Places)>,
    anyway_ns: u64,
}

impl Expected {
    /// Where there can be any at `now_ns`, by what is counted now.
    pub(in crate::source) fn places(&mut self, totals: &Totals, now_ns: u64) -> Places {
        let moves = all_moves(totals);
        let places = self.reckoned(&moves, now_ns);
        self.asked = Some((moves, places.clone()));
        places
    }

    fn reckoned(&mut self, moves: &AllMoves, now_ns: u64) -> Places {
        let Some(holding) = &self.holding else { return Places::All };
        let anyway = now_ns >= self.anyway_ns;
        if anyway {
            self.anyway_ns = now_ns.saturating_add(ANYWAY_EVERY_NS);
        }
        let moved = moves.iter().filter(|(netns, now)| self.may_have_left(netns, now, anyway));
        let moved: BTreeSet<Option<u32>> = moved.map(|(netns, _)| *netns).collect();
        if moved.contains(&None) {
            return Places::All;
        }
        Places::Netns(moved.into_iter().flatten().chain(holding.iter().copied()).collect())
    }

    /// Whether more came to be in CLOSE_WAIT than left it since it was looked at and there were
    /// none. Who came while it was looked counts, and who went then does not: so none is missed.
    fn may_have_left(&self, netns: &Option<u32>, now: &Moves, anyway: bool) -> bool {
        let then = |moves: &AllMoves| moves.get(netns).copied().unwrap_or_default();
        let entered = now.entered.saturating_sub(then(&self.before).entered);
        let left = now.left.saturating_sub(then(&self.after).left);
        entered > left || (anyway && entered > 0)
    }

    /// The look that was asked for is over, and there are some in the namespaces `holding`.
    pub(in crate::source) fn looked(&mut self, holding: BTreeSet<u32>, totals: &Totals) {
        let Some((before, places)) = self.asked.take() else {
            self.holding = Some(holding);
            return;
        };
        let was_looked_at = |netns: &Option<u32>| match &places {
            Places::All => true,
            Places::Netns(places) => netns.is_some_and(|netns| places.contains(&netns)),
        };
        let news = |moves: AllMoves| moves.into_iter().filter(|(netns, _)| was_looked_at(netns));
        self.before.extend(news(before));
        self.after.extend(news(all_moves(totals)));
        self.holding = Some(holding);
    }
}

fn all_moves(totals: &Totals) -> AllMoves {
    let mut all = AllMoves::new();
    for (netns, counters) in &totals.by_netns {
        let Moves { entered, left } = moves(counters);
        let sum = all.entry(*netns).or_default();
        sum.entered += entered;
        sum.left += left;
    }
    all
}

fn moves(counters: &Counters) -> Moves {
    let mut moves = Moves::default();
    for index in 0..PAIRS {
        let count = counters.pairs[index];
        match pair_states(index) {
            Some((_, TcpState::CloseWait)) => moves.entered += count,
            Some((TcpState::CloseWait, _)) => moves.left += count,
            _ => {}
        }
    }
    moves
}

#[cfg(test)]
mod tests {
    use twtrace_common::pair_index;

    use super::*;

    fn totals(counts: &[(Option<u32>, u64, u64)]) -> Totals {
        let of = |(netns, entered, left): &(Option<u32>, u64, u64)| {
            let mut counters = Counters::ZERO;
            counters.pairs[pair_index(TcpState::Established, TcpState::CloseWait)] = *entered;
            counters.pairs[pair_index(TcpState::CloseWait, TcpState::LastAck)] = *left;
            // What else happens says nothing.
            counters.pairs[pair_index(TcpState::SynSent, TcpState::Established)] = 99;
            (*netns, counters)
        };
        Totals { by_netns: counts.iter().map(of).collect(), missed: None }
    }

    fn netns<const N: usize>(places: [u32; N]) -> Places {
        Places::Netns(places.into())
    }

    /// One that has looked, with these counts before and after, and found some there.
    fn looked<const N: usize>(before: &Totals, after: &Totals, holding: [u32; N]) -> Expected {
        let mut expected = Expected { anyway_ns: u64::MAX, ..Expected::default() };
        assert_eq!(expected.places(before, 0), Places::All, "nothing is known before a look");
        expected.looked(holding.into(), after);
        expected
    }

    #[test]
    fn where_some_were_found_and_where_more_came_than_went() {
        let first = totals(&[(Some(1), 5, 5), (Some(2), 7, 2)]);
        let mut expected = looked(&first, &first, [2, 9]);
        assert_eq!(expected.places(&first, 1), netns([2, 9]));
        let quiet = totals(&[(Some(1), 8, 8), (Some(2), 7, 2), (Some(3), 4, 4)]);
        assert_eq!(expected.places(&quiet, 1), netns([2, 9]), "as many went as came");
        let leaks = totals(&[(Some(1), 8, 7), (Some(2), 7, 2), (Some(3), 5, 4)]);
        assert_eq!(expected.places(&leaks, 1), netns([1, 2, 3, 9]));
        expected.looked([3].into(), &leaks);
        assert_eq!(expected.places(&leaks, 1), netns([3]), "it was looked, and they had gone");
    }

    #[test]
    fn one_that_went_during_a_look_makes_up_for_none_that_stays() {
        let before = totals(&[(Some(1), 5, 4)]);
        let after = totals(&[(Some(1), 5, 5)]);
        let mut expected = looked(&before, &after, []);
        assert_eq!(expected.places(&after, 1), netns([]));
        assert_eq!(expected.places(&totals(&[(Some(1), 6, 5)]), 1), netns([1]));
        // And one that came during it may not have been seen.
        let mut expected = looked(&before, &totals(&[(Some(1), 6, 4)]), []);
        assert_eq!(expected.places(&totals(&[(Some(1), 6, 4)]), 1), netns([1]));
    }

    #[test]
    fn where_nothing_tells_namespaces_apart_all_are_looked_at_or_none() {
        let first = totals(&[(None, 5, 5)]);
        let mut expected = looked(&first, &first, []);
        assert_eq!(expected.places(&first, 1), netns([]));
        assert_eq!(expected.places(&totals(&[(None, 6, 5), (None, 1, 1)]), 1), Places::All);
        let mut expected = looked(&first, &first, [4]);
        assert_eq!(expected.places(&first, 1), netns([4]), "those that were found are there");
    }

    #[test]
    fn now_and_then_wherever_any_came_to_be() {
        let first = totals(&[(Some(1), 5, 5)]);
        let mut expected = looked(&first, &first, []);
        expected.anyway_ns = 10;
        let even = totals(&[(Some(1), 6, 7)]);
        assert_eq!(expected.places(&even, 9), netns([]));
        assert_eq!(expected.places(&even, 10), netns([1]));
        assert_eq!(expected.places(&even, 11), netns([]), "not each time");
    }
}
