//! Listeners that are left out.
//!
//! Whether a socket whose beginning nobody saw was accepted, and so whether it takes a
//! port towards a destination or a quadruplet of a client, depends on who listens on its
//! port, wanted or not.

use std::collections::{BTreeMap, BTreeSet};

use twtrace_common::TcpState;

use crate::frame::SeedSocket;

/// Where they listen: a namespace and a port.
pub(super) type Place = (u32, u16);

/// How many listen at each place.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    sockets: BTreeMap<Place, u32>,
    is_news: bool,
}

impl Listeners {
    /// Where a seeded socket listens, if it does.
    pub(super) fn place(seed: &SeedSocket) -> Option<Place> {
        let listens = seed.state == TcpState::Listen;
        seed.netns.filter(|_| listens).map(|netns| (netns, seed.tuple.lport))
    }

    pub(super) fn has(&self, place: Place) -> bool {
        self.sockets.contains_key(&place)
    }

    pub(super) fn add(&mut self, place: Place) {
        let sockets = self.sockets.entry(place).or_default();
        *sockets += 1;
        self.is_news |= *sockets == 1;
    }

    /// One is gone, or left out no more.
    pub(super) fn remove(&mut self, place: Place) {
        if let Some(sockets) = self.sockets.get_mut(&place) {
            *sockets -= 1;
            if *sockets == 0 {
                self.sockets.remove(&place);
                self.is_news = true;
            }
        }
    }

    /// Takes in all there are.
    pub(super) fn replace(&mut self, places: impl Iterator<Item = Place>) {
        let mut sockets = BTreeMap::new();
        for place in places {
            *sockets.entry(place).or_default() += 1;
        }
        self.is_news |= !self.sockets.keys().eq(sockets.keys());
        self.sockets = sockets;
    }

    /// All places, if they have changed since they were asked for.
    pub(super) fn news(&mut self) -> Option<BTreeSet<Place>> {
        std::mem::take(&mut self.is_news).then(|| self.sockets.keys().copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_news_when_the_first_comes_and_the_last_goes() {
        let mut listeners = Listeners::default();
        listeners.add((1, 80));
        assert_eq!(listeners.news(), Some([(1, 80)].into()));
        listeners.add((1, 80));
        listeners.remove((1, 80));
        assert_eq!(listeners.news(), None);
        listeners.remove((1, 80));
        listeners.remove((1, 80));
        assert_eq!(listeners.news(), Some(BTreeSet::new()));
        listeners.replace([(1, 80), (1, 80)].into_iter());
        assert!(listeners.news().is_some());
        listeners.replace([(1, 80)].into_iter());
        assert_eq!(listeners.news(), None, "one of two has gone");
    }
}
