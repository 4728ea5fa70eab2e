//! The ports of one network namespace: what it offers, and which of them are used.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use foldhash::fast::FixedState;

use super::offer::{Half, Offer, Place};
use crate::{
    event::{PortRange, Tuple},
    frame::PortFacts,
};

/// A port range at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeNow {
    /// From where to where.
    pub range: PortRange,
    /// How many of its ports were taken.
    pub used: u64,
    /// How many it has to give.
    pub available: u64,
}

/// What is known of the ports of one namespace.
#[derive(Debug)]
pub struct Namespace {
    facts: PortFacts,
    offer: Option<Offer>,
    /// By how many sockets each port is used.
    users: HashMap<u16, u32, FixedState>,
    /// Of these ports, those in the range.
    used: u64,
    /// Ports that processes have bound, and by how many sockets.
    bound: BTreeMap<u16, u32>,
    listeners: HashMap<u16, u32, FixedState>,
    /// Ports on which others listen, who are left out.
    others: BTreeSet<u16>,
}

impl Namespace {
    pub(super) fn new(facts: PortFacts) -> Self {
        let offer = Offer::new(&facts, None, 2);
        Self {
            facts,
            offer,
            users: HashMap::default(),
            used: 0,
            bound: BTreeMap::new(),
            listeners: HashMap::default(),
            others: BTreeSet::new(),
        }
    }

    /// The same namespace, and nothing that is taken.
    pub(super) fn emptied(&self) -> Self {
        Self { others: self.others.clone(), ..Self::new(self.facts.clone()) }
    }

    pub(super) fn unknown(netns: u32) -> Self {
        Self::new(PortFacts::unknown(netns))
    }

    /// What the host says of it.
    pub fn facts(&self) -> &PortFacts {
        &self.facts
    }

    /// What it offers; `None` if that is not known.
    pub fn offer(&self) -> Option<Offer> {
        self.offer
    }

    /// How many ports of `offer` processes have bound.
    pub fn bound(&self, offer: &Offer) -> u64 {
        let PortRange { low, high } = offer.range;
        let bound = self.bound.range(low..=high).map(|(port, _)| port);
        let others = self.others.range(low..=high).filter(|port| !self.bound.contains_key(port));
        let offered = |port: &&u16| offer.place(**port) != Place::Outside;
        bound.chain(others).filter(offered).count() as u64
    }

    pub(super) fn is_in_range(&self, lport: u16) -> bool {
        self.offer.is_some_and(|offer| offer.place(lport) != Place::Outside)
    }

    /// Whether a socket whose beginning was not seen came from a listener: from one that
    /// is there, or that has gone and had a port that no search gives, while the client's
    /// looks like one.
    pub(super) fn was_accepted(&self, tuple: &Tuple) -> bool {
        let found = |port| self.is_in_range(port);
        let listens = |port| self.listeners.contains_key(&port) || self.others.contains(&port);
        listens(tuple.lport) || (!found(tuple.lport) && found(tuple.rport))
    }

    /// Others listen on `lport`, who are left out.
    pub(super) fn others_listen(&mut self, lport: u16) {
        self.others.insert(lport);
    }

    /// Nobody is known any more to be left out.
    pub(super) fn forget_others(&mut self) {
        self.others.clear();
    }

    /// One more socket listens on `lport`.
    pub(super) fn listen(&mut self, lport: u16) {
        self.use_port(lport, true);
        *self.listeners.entry(lport).or_default() += 1;
    }

    /// One fewer does.
    pub(super) fn listen_no_more(&mut self, lport: u16) {
        self.free_port(lport, true);
        if let Some(listeners) = self.listeners.get_mut(&lport) {
            *listeners -= 1;
            if *listeners == 0 {
                self.listeners.remove(&lport);
            }
        }
    }

    pub(super) fn use_port(&mut self, lport: u16, bound: bool) {
        let users = self.users.entry(lport).or_default();
        *users += 1;
        if *users == 1 && self.is_in_range(lport) {
            self.used += 1;
        }
        if bound {
            *self.bound.entry(lport).or_default() += 1;
        }
    }

    pub(super) fn free_port(&mut self, lport: u16, bound: bool) {
        if let Some(users) = self.users.get_mut(&lport) {
            *users -= 1;
            if *users == 0 {
                self.users.remove(&lport);
                self.used -= u64::from(self.is_in_range(lport));
            }
        }
        if bound && let Some(sockets) = self.bound.get_mut(&lport) {
            *sockets -= 1;
            if *sockets == 0 {
                self.bound.remove(&lport);
            }
        }
    }

    pub(super) fn learn(&mut self, facts: PortFacts) {
        self.offer = Offer::new(&facts, None, 2);
        self.facts = facts;
        self.used = self.users.keys().filter(|port| self.is_in_range(**port)).count() as u64;
    }

    pub(super) fn now(&self) -> Option<RangeNow> {
        let offer = self.offer?;
        Some(RangeNow { range: offer.range, used: self.used, available: offer.ports() })
    }

    /// In which half bind found `lport`: it looks the other way round than connect.
    /// <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_connection_sock.c#L306-L353>
    pub(super) fn half_of_bind(&self, lport: u16) -> Option<Half> {
        let offer = self.offer.filter(Offer::has_halves)?;
        match offer.place(lport) {
            Place::High => Some(Half::First),
            Place::Low => Some(Half::Second),
            Place::Outside => None,
        }
    }
}
