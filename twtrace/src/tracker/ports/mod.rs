//! Which local ports are taken, towards which destinations and by which clients.
//!
//! A socket holds at most one thing: a port towards a destination, a quadruplet of a
//! client, or a listener's port. It hands that on to its mini-socket.

mod carried;
mod hold;
mod namespace;
mod offer;
mod seconds;
mod table;
mod taken;

use std::collections::{BTreeSet, HashMap};

use foldhash::fast::FixedState;
use twtrace_common::{Outcome, ProcessKey, Search, TcpState};

pub(super) use self::hold::{Hold, Release, Waiting, second};
pub use self::{
    namespace::{Namespace, RangeNow},
    offer::{Half, Offer},
    seconds::{Class, RATE_S, Second},
    taken::{ConnectErrors, Found, Lying, Pace, Taken},
};
use self::{
    offer::Place,
    table::{OTHER, Table},
};
use crate::{
    event::{PortRange, Tuple},
    frame::{AskedRange, Polled, PortFacts, SeedSocket},
};

/// Rows of each kind: a busy one takes up to two kilobytes.
const MAX_DESTINATIONS: usize = 16_384;
const MAX_CLIENTS: usize = 65_536;

/// What local ports are taken towards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DestinationKey {
    /// The network namespace.
    pub netns: u32,
    /// The local address.
    pub laddr: [u8; 16],
    /// The remote address.
    pub raddr: [u8; 16],
    /// The remote port.
    pub rport: u16,
}

/// Whose quadruplets are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey {
    /// The network namespace.
    pub netns: u32,
    /// The local address.
    pub laddr: [u8; 16],
    /// The local port.
    pub lport: u16,
    /// The client's address.
    pub raddr: [u8; 16],
}

/// Quadruplets in use of one client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quadruplets {
    /// By connections.
    pub live: u64,
    /// By mini-sockets.
    pub waiting: u64,
}

/// All of them. See the module's documentation.
#[derive(Debug)]
pub struct Ports {
    /// How far the search goes in a range of a socket's own.
    own_step: u16,
    namespaces: HashMap<u32, Namespace, FixedState>,
    destinations: Table<DestinationKey, Taken>,
    clients: Table<ClientKey, Quadruplets>,
    /// Where ports lie has changed since they were counted.
    recount_due: bool,
    /// The second in which it was last tidied up.
    tidied_s: u32,
}

impl Ports {
    /// None yet, on a kernel that goes through a socket's own range by `own_step`.
    pub(super) fn new(own_step: u16) -> Self {
        Self {
            own_step,
            namespaces: HashMap::default(),
            destinations: Table::new(MAX_DESTINATIONS),
            clients: Table::new(MAX_CLIENTS),
            recount_due: false,
            tidied_s: 0,
        }
    }

    /// The same namespaces, and nothing that is taken.
    pub(super) fn emptied(&self) -> Self {
        let namespaces = self.namespaces.iter();
        let emptied = |(netns, namespace): (&u32, &Namespace)| (*netns, namespace.emptied());
        Self { namespaces: namespaces.map(emptied).collect(), ..Self::new(self.own_step) }
    }

    /// Takes in all sockets at one moment.
    pub(super) fn look(&mut self, look: &Polled) {
        // Who listens tells which of the others were accepted.
        let (listeners, others): (Vec<_>, Vec<_>) =
            look.sockets.iter().partition(|socket| socket.state == TcpState::Listen);
        for socket in listeners.into_iter().chain(others) {
            self.seed(socket);
        }
        for mini in &look.minis {
            let hold = self.found(mini.netns, &mini.tuple);
            let in_fin_wait2 = mini.substate == TcpState::FinWait2;
            let class = if in_fin_wait2 { Class::FinWait2 } else { Class::Ready };
            self.was_waiting(hold, Waiting::until(look.time_ns, mini.expires_ms, class));
        }
    }

    /// Destinations; the one without a key is all that found no room.
    pub fn destinations(&self) -> impl Iterator<Item = (Option<DestinationKey>, &Taken)> {
        self.destinations.iter()
    }

    /// Clients; the one without a key is all that found no room.
    pub fn clients(&self) -> impl Iterator<Item = (Option<ClientKey>, &Quadruplets)> {
        self.clients.iter()
    }

    /// Namespaces, by their inode.
    pub fn namespaces(&self) -> impl Iterator<Item = (u32, &Namespace)> {
        self.namespaces.iter().map(|(netns, namespace)| (*netns, namespace))
    }

    /// What is known of one namespace.
    pub fn namespace(&self, netns: u32) -> Option<&Namespace> {
        self.namespaces.get(&netns)
    }

    /// Learns what namespaces offer. What is taken has to be counted again then.
    pub(super) fn learn(&mut self, facts: &[PortFacts]) {
        for facts in facts {
            self.namespace_mut(facts.netns).learn(facts.clone());
        }
        self.recount_due = true;
    }

    /// Learns where others listen, who are left out: all of them each time.
    pub(super) fn other_listeners(&mut self, places: &BTreeSet<(u32, u16)>) {
        self.namespaces.values_mut().for_each(Namespace::forget_others);
        for (netns, lport) in places {
            self.namespace_mut(*netns).others_listen(*lport);
        }
    }

    fn namespace_mut(&mut self, netns: u32) -> &mut Namespace {
        self.namespaces.entry(netns).or_insert_with(|| Namespace::unknown(netns))
    }

    /// A socket from before us.
    pub(super) fn seed(&mut self, seed: &SeedSocket) -> Hold {
        match (seed.netns, seed.state) {
            (None, _) => Hold::Nothing,
            (Some(netns), TcpState::Listen) => self.listens(netns, &seed.tuple),
            (Some(netns), _) => self.found(netns, &seed.tuple),
        }
    }

    /// A process listens on a port.
    pub(super) fn listens(&mut self, netns: u32, tuple: &Tuple) -> Hold {
        self.listens_on(netns, tuple.lport, tuple.is_v4())
    }

    fn listens_on(&mut self, netns: u32, lport: u16, is_v4: bool) -> Hold {
        // A listen without a port has not found one yet.
        if lport != 0 {
            self.namespace_mut(netns).listen(lport);
        }
        Hold::Listener { netns, lport, is_v4 }
    }

    /// A listen without a port has found one.
    pub(super) fn listens_at_last(&mut self, hold: &mut Hold, found: u16) {
        if let Hold::Listener { netns, lport: 0, is_v4 } = *hold {
            *hold = self.listens_on(netns, found, is_v4);
        }
    }

    /// A connect begins; a socket that has its port was bound to it.
    pub(super) fn connects(
        &mut self,
        netns: u32,
        tuple: &Tuple,
        own_range: Option<PortRange>,
        owner: Option<ProcessKey>,
        time_ns: u64,
    ) -> Hold {
        self.tidy_now_and_then(time_ns);
        let destination = self.destination(netns, tuple);
        let offer = self.walked(netns, destination, own_range);
        if let Some((_, taken)) = self.destinations.get_mut(destination) {
            taken.offer = offer;
            taken.last_opened = taken.last_opened.max(owner.map(|owner| (time_ns, owner)));
            taken.holders += 1;
            taken.touched_s = taken.touched_s.max(second(time_ns));
        }
        let mut hold = Hold::Port { netns, destination, lport: 0, bound: tuple.lport != 0 };
        self.located(&mut hold, tuple.lport, time_ns);
        hold
    }

    /// The number of the destination of `tuple`.
    fn destination(&mut self, netns: u32, tuple: &Tuple) -> u32 {
        let Tuple { laddr, raddr, rport, .. } = *tuple;
        self.destinations.number(DestinationKey { netns, laddr, raddr, rport })
    }

    /// What a search towards a destination walks that asks for `own_range`.
    fn walked(
        &mut self,
        netns: u32,
        destination: u32,
        own_range: Option<PortRange>,
    ) -> Option<Offer> {
        if destination == OTHER {
            return None;
        }
        let namespace = self.namespaces.entry(netns);
        let facts = namespace.or_insert_with(|| Namespace::unknown(netns)).facts();
        let (_, taken) = self.destinations.get_mut(destination)?;
        match taken.asked {
            AskedRange::Alike(asked) if asked == own_range => return taken.offer,
            AskedRange::Alike(_) | AskedRange::Mixed => taken.asked = AskedRange::Mixed,
            AskedRange::Nothing => taken.asked = AskedRange::Alike(own_range),
        }
        self.recount_due |= taken.live.sum() + taken.waiting.sum() > 0;
        match taken.asked {
            AskedRange::Mixed => None,
            _ => Offer::new(facts, own_range, self.own_step),
        }
    }

    /// A connect has its port; returns in which half it was found, if by a search.
    pub(super) fn located(&mut self, hold: &mut Hold, found: u16, time_ns: u64) -> Option<Half> {
        let Hold::Port { netns, destination, lport, bound } = hold else {
            return None;
        };
        if *lport != 0 || found == 0 {
            return None;
        }
        *lport = found;
        self.namespace_mut(*netns).use_port(found, *bound);
        let (_, taken) = self.destinations.get_mut(*destination)?;
        let place = taken.place(found);
        taken.live.add(place);
        taken.bound += u32::from(*bound && place != Place::Outside);
        taken.since_s.get_or_insert(time_ns as f64 / 1e9);
        taken.seconds.at(second(time_ns)).opens += 1;
        let half = taken.half(found);
        if !*bound {
            taken.found.add(half);
        }
        half
    }

    /// A listener's child was accepted.
    pub(super) fn accepts(&mut self, netns: u32, tuple: &Tuple) -> Hold {
        let Tuple { laddr, lport, raddr, rport } = *tuple;
        let client = self.clients.number(ClientKey { netns, laddr, lport, raddr });
        if let Some((_, quadruplets)) = self.clients.get_mut(client) {
            quadruplets.live += 1;
        }
        Hold::Quadruplet { client, rport }
    }

    /// A socket from before us, or whose beginning was lost.
    pub(super) fn found(&mut self, netns: u32, tuple: &Tuple) -> Hold {
        let namespace = self.namespace_mut(netns);
        if namespace.was_accepted(tuple) {
            return self.accepts(netns, tuple);
        }
        namespace.use_port(tuple.lport, false);
        let destination = self.destination(netns, tuple);
        let offer = self.namespaces.get(&netns).and_then(Namespace::offer);
        if let Some((Some(_), taken)) = self.destinations.get_mut(destination) {
            // Nobody has asked for a range of its own, as far as is known.
            if taken.asked == AskedRange::Nothing {
                taken.offer = offer;
            }
        }
        if let Some((_, taken)) = self.destinations.get_mut(destination) {
            taken.live.add(taken.place(tuple.lport));
            taken.holders += 1;
        }
        Hold::Port { netns, destination, lport: tuple.lport, bound: false }
    }

    /// A connect failed.
    pub(super) fn connect_failed(&mut self, hold: Hold, outcome: Outcome, time_ns: u64) {
        if let Hold::Port { destination, .. } = hold
            && let Some((_, taken)) = self.destinations.get_mut(destination)
        {
            taken.errors.add(outcome);
            if outcome == Outcome::ConnectNoPort {
                taken.no_port_s = Some(time_ns as f64 / 1e9);
            }
        }
    }

    /// A socket left a mini-socket, which has what it held from now on.
    pub(super) fn waits(&mut self, hold: Hold, waiting: Waiting) {
        self.was_waiting(hold, waiting);
        if let Hold::Port { destination, lport: 1.., .. } = hold
            && let Some((_, taken)) = self.destinations.get_mut(destination)
        {
            taken.seconds.at(waiting.since_s).born += 1;
        }
    }

    /// A mini-socket that was there before us, or of which nobody said whose it is, has
    /// what its socket held.
    pub(super) fn was_waiting(&mut self, hold: Hold, waiting: Waiting) {
        match hold {
            Hold::Quadruplet { client, .. } => {
                if let Some((_, quadruplets)) = self.clients.get_mut(client) {
                    quadruplets.live = quadruplets.live.saturating_sub(1);
                    quadruplets.waiting += 1;
                }
            }
            Hold::Port { destination, lport, .. } if lport != 0 => {
                let Some((_, taken)) = self.destinations.get_mut(destination) else { return };
                let place = taken.place(lport);
                taken.live.take(place);
                taken.waiting.add(place);
                taken.seconds.at(waiting.since_s).enters(waiting.of(hold).class);
            }
            _ => {}
        }
    }

    /// A mini-socket waits anew, otherwise than `before`.
    pub(super) fn waits_anew(&mut self, hold: Hold, before: Waiting, now: Waiting) {
        if let Hold::Port { destination, .. } = hold
            && let Some((_, taken)) = self.destinations.get_mut(destination)
        {
            if let Some(second) = taken.seconds.of(before.since_s) {
                second.leaves(before.of(hold).class);
            }
            taken.seconds.at(now.since_s).enters(now.of(hold).class);
        }
    }

    /// A socket is gone and left nothing.
    pub(super) fn gives_back(&mut self, hold: Hold, time_ns: u64) {
        self.forgets(hold);
        if let Hold::Port { destination, lport: 1.., .. } = hold
            && let Some((_, taken)) = self.destinations.get_mut(destination)
        {
            taken.seconds.at(second(time_ns)).left += 1;
        }
    }

    /// A socket is counted no more, for it is counted elsewhere.
    pub(super) fn forgets(&mut self, hold: Hold) {
        match hold {
            Hold::Nothing => {}
            Hold::Listener { lport: 0, .. } => {}
            Hold::Listener { netns, lport, .. } => self.namespace_mut(netns).listen_no_more(lport),
            Hold::Quadruplet { client, .. } => {
                if let Some((_, quadruplets)) = self.clients.get_mut(client) {
                    quadruplets.live = quadruplets.live.saturating_sub(1);
                }
            }
            Hold::Port { netns, destination, lport, bound } => {
                let Some((_, taken)) = self.destinations.get_mut(destination) else { return };
                taken.holders = taken.holders.saturating_sub(1);
                if lport == 0 {
                    return;
                }
                let place = taken.place(lport);
                taken.live.take(place);
                taken.forget_bound(bound, place);
                self.namespace_mut(netns).free_port(lport, bound);
            }
        }
    }

    /// A mini-socket ended.
    pub(super) fn ends(&mut self, hold: Hold, waiting: Waiting, release: Release, time_ns: u64) {
        match hold {
            Hold::Quadruplet { client, .. } => {
                if let Some((_, quadruplets)) = self.clients.get_mut(client) {
                    quadruplets.waiting = quadruplets.waiting.saturating_sub(1);
                }
            }
            Hold::Port { netns, destination, lport, bound } if lport != 0 => {
                self.namespace_mut(netns).free_port(lport, bound);
                let Some((_, taken)) = self.destinations.get_mut(destination) else { return };
                taken.holders = taken.holders.saturating_sub(1);
                let place = taken.place(lport);
                taken.waiting.take(place);
                taken.forget_bound(bound, place);
                taken.reused += u64::from(release.is_reuse());
                taken.touched_s = taken.touched_s.max(second(time_ns));
                // A port that a search takes over was in nobody's way.
                if matches!(release, Release::ReusedBound | Release::Other) {
                    taken.seconds.at(second(time_ns)).left += 1;
                }
                if let Some(second) = taken.seconds.of(waiting.since_s) {
                    second.leaves(waiting.of(hold).class);
                }
            }
            _ => {}
        }
    }

    /// A mini-socket ended whose socket has not said goodbye yet.
    pub(super) fn ends_early(&mut self, netns: u32, tuple: &Tuple, release: Release) {
        let destination = self.destination(netns, tuple);
        if let Some((_, taken)) = self.destinations.get_mut(destination) {
            taken.reused += u64::from(release.is_reuse());
        }
    }

    /// The local address of a port that is held, or searched.
    pub(super) fn local_address(&self, hold: Hold) -> Option<[u8; 16]> {
        let Hold::Port { destination, .. } = hold else { return None };
        self.destinations.get(destination)?.0.map(|key| key.laddr)
    }

    /// The state of the range that the connect of `hold` searches.
    pub(super) fn range_of_connect(&self, hold: Hold) -> Option<RangeNow> {
        let Hold::Port { destination, .. } = hold else { return None };
        let (_, taken) = self.destinations.get(destination)?;
        let offer = taken.offer?;
        Some(RangeNow { range: offer.range, used: taken.in_range(), available: offer.ports() })
    }

    /// The state of the range that binds search.
    pub(super) fn range_of_bind(&self, netns: u32) -> Option<RangeNow> {
        self.namespaces.get(&netns)?.now()
    }

    /// In which half a bind found its port.
    pub(super) fn half_of_bind(&self, netns: u32, search: Search, lport: u16) -> Option<Half> {
        let searches = matches!(search, Search::Bind | Search::Listen);
        self.namespaces.get(&netns).filter(|_| searches)?.half_of_bind(lport)
    }

    /// Whether `lport` may be given by a search; `None` if the range is not known.
    pub(super) fn is_in_range(&self, netns: u32, lport: u16) -> Option<bool> {
        let namespace = self.namespaces.get(&netns)?;
        namespace.offer().map(|_| namespace.is_in_range(lport))
    }

    /// Whether [`Self::recount`] is due.
    pub(super) fn recount_due(&self) -> bool {
        self.recount_due
    }

    /// Counts anew where the ports lie that `live` and `waiting` hold.
    pub(super) fn recount(
        &mut self,
        live: impl Iterator<Item = Hold>,
        waiting: impl Iterator<Item = Hold>,
    ) {
        self.recount_due = false;
        self.renew_offers();
        for taken in self.destinations.iter_mut() {
            (taken.live, taken.waiting, taken.bound) = (Lying::default(), Lying::default(), 0);
        }
        for (hold, waits) in live.map(|hold| (hold, false)).chain(waiting.map(|hold| (hold, true)))
        {
            let Hold::Port { destination, lport: lport @ 1.., bound, .. } = hold else { continue };
            let Some((_, taken)) = self.destinations.get_mut(destination) else { continue };
            let place = taken.place(lport);
            if waits {
                taken.waiting.add(place);
            } else {
                taken.live.add(place);
            }
            taken.bound += u32::from(bound && place != Place::Outside);
        }
    }

    fn renew_offers(&mut self) {
        let numbers: Vec<(u32, DestinationKey)> = self.destinations.numbered().collect();
        for (number, key) in numbers {
            self.renew_offer(number, key);
        }
    }

    fn renew_offer(&mut self, number: u32, key: DestinationKey) {
        let Some((Some(_), taken)) = self.destinations.get_mut(number) else { return };
        let namespace = self.namespaces.get(&key.netns);
        taken.offer = namespace.and_then(|namespace| match taken.asked {
            AskedRange::Nothing | AskedRange::Alike(None) => namespace.offer(),
            AskedRange::Alike(own) => Offer::new(namespace.facts(), own, self.own_step),
            AskedRange::Mixed => None,
        });
    }

    /// Forgets, once a second, destinations and clients of which there is nothing left to
    /// tell; of those that nobody holds all, where room is needed.
    fn tidy_now_and_then(&mut self, time_ns: u64) {
        let now_s = second(time_ns);
        if now_s <= self.tidied_s {
            return;
        }
        self.tidied_s = now_s;
        let needs_room = self.destinations.is_full();
        self.destinations
            .retain(|taken| taken.holders > 0 || (!needs_room && taken.was_touched(now_s)));
        self.clients.retain(|quadruplets| *quadruplets != Quadruplets::default());
    }
}
