//! Quadruplets in use, towards destinations and by clients.

use std::{
    cmp::Reverse,
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
};

use foldhash::fast::FixedState;

use super::report;
use crate::event::Tuple;

/// Ends that are told apart in one namespace; what comes when there are so many is summed.
const MAX_ENDS: usize = 262_144;

/// Quadruplets between two ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Used {
    /// By sockets and mini-sockets.
    pub(super) all: u64,
    /// Of these, by mini-sockets.
    pub(super) minis: u64,
}

impl Used {
    fn count(&mut self, mini: bool) {
        self.all += 1;
        self.minis += u64::from(mini);
    }

    fn add(&mut self, other: Self) {
        self.all += other.all;
        self.minis += other.minis;
    }
}

/// Quadruplets in use by what of them is the same.
#[derive(Debug)]
pub(super) struct Ends<K> {
    used: HashMap<K, Used, FixedState>,
    /// Of those that found no place.
    rest: Used,
}

impl<K> Default for Ends<K> {
    fn default() -> Self {
        Self { used: HashMap::default(), rest: Used::default() }
    }
}

/// A local address, a remote one and a remote port: each local port is another quadruplet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct DestinationKey {
    laddr: [u8; 16],
    raddr: [u8; 16],
    rport: u16,
}

/// A listening port and a client's address: each of the client's ports is another quadruplet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ClientKey {
    laddr: [u8; 16],
    raddr: [u8; 16],
    lport: u16,
}

impl From<&Tuple> for DestinationKey {
    fn from(tuple: &Tuple) -> Self {
        Self { laddr: tuple.laddr, raddr: tuple.raddr, rport: tuple.rport }
    }
}

impl From<&Tuple> for ClientKey {
    fn from(tuple: &Tuple) -> Self {
        Self { laddr: tuple.laddr, raddr: tuple.raddr, lport: tuple.lport }
    }
}

impl<K: Copy + Eq + Hash + Ord> Ends<K> {
    pub(super) fn count(&mut self, key: K, mini: bool) {
        let is_full = self.used.len() >= MAX_ENDS;
        match self.used.entry(key) {
            Entry::Occupied(mut used) => used.get_mut().count(mini),
            Entry::Vacant(_) if is_full => self.rest.count(mini),
            Entry::Vacant(vacant) => vacant.insert(Used::default()).count(mini),
        }
    }

    /// The `rows` with most quadruplets, and the sum of the rest, if there is one.
    fn most(self, rows: usize) -> (Vec<(K, Used)>, Option<Used>) {
        let mut used: Vec<(K, Used)> = self.used.into_iter().collect();
        used.sort_unstable_by_key(|(key, used)| (Reverse(*used), *key));
        let mut rest = self.rest;
        used.iter().skip(rows).for_each(|(_, used)| rest.add(*used));
        used.truncate(rows);
        (used, (rest.all > 0).then_some(rest))
    }
}

impl Ends<DestinationKey> {
    pub(super) fn into_rows(self, rows: usize, netns: u32) -> Vec<report::Destination> {
        let row = |(key, used): (DestinationKey, Used)| report::Destination {
            netns: Some(netns),
            laddr: Some(Tuple::shown(key.laddr)),
            raddr: Some(Tuple::shown(key.raddr)),
            rport: Some(key.rport),
            quadruplets_used: used.all,
            time_wait: used.minis,
            other: false,
        };
        let (most, rest) = self.most(rows);
        most.into_iter().map(row).chain(rest.map(report::Destination::rest)).collect()
    }
}

impl Ends<ClientKey> {
    pub(super) fn into_rows(self, rows: usize, netns: u32) -> Vec<report::Client> {
        let row = |(key, used): (ClientKey, Used)| report::Client {
            netns: Some(netns),
            laddr: Some(Tuple::shown(key.laddr)),
            lport: Some(key.lport),
            raddr: Some(Tuple::shown(key.raddr)),
            quadruplets_used: used.all,
            time_wait: used.minis,
            other: false,
        };
        let (most, rest) = self.most(rows);
        most.into_iter().map(row).chain(rest.map(report::Client::rest)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_with_most_are_shown_and_the_rest_is_summed() {
        let mut ends = Ends::default();
        for (key, times) in [(1, 1), (2, 5), (3, 3), (4, 3)] {
            (0..times).for_each(|time| ends.count(key, time == 0));
        }
        let used = |all, minis| Used { all, minis };
        let (most, rest) = ends.most(2);
        assert_eq!(most, [(2, used(5, 1)), (3, used(3, 1))]);
        assert_eq!(rest, Some(used(4, 2)));
        assert_eq!(Ends::<u8>::default().most(2), (vec![], None));
    }

    #[test]
    fn what_finds_no_place_is_summed() {
        let mut ends = Ends::default();
        (0..MAX_ENDS + 7).for_each(|key| ends.count(key, false));
        ends.count(0, true);
        assert_eq!(ends.used.len(), MAX_ENDS);
        let (most, rest) = ends.most(1);
        assert_eq!(most, [(0, Used { all: 2, minis: 1 })]);
        assert_eq!(rest, Some(Used { all: MAX_ENDS as u64 + 6, minis: 0 }));
    }
}
