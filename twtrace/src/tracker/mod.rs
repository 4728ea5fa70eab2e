//! Follows every socket from its first transition to its last.
//!
//! The tracker owns which sockets exist and what each has been through; it
//! turns events into [`Transition`]s, which say what an event means and whom
//! to credit for it. It has no clock, reads no file and knows no view.

mod minis;
mod polled;
mod population;
pub mod ports;
mod searches;
mod seeds;
mod sockets;

use std::collections::BTreeSet;

use twtrace_common::{Change, End, Outcome, ProcessKey, Search, TcpState};

pub(crate) use self::minis::LONGEST_GOODBYE_NS;
use self::{
    minis::Minis,
    ports::{Hold, Ports},
    searches::Searches,
    seeds::{Seed, Seeds},
    sockets::{Socket, Sockets},
};
pub use self::{
    minis::{Ended, Maker, Mini},
    polled::{PolledAlive, PolledChanges, PolledMinis},
    population::Population,
    searches::{Destination, PortSearch},
};
use crate::{
    event::{ConnectEvent, MiniEvent, Role, SearchEvent, TransitionEvent},
    frame::{Carried, CarriedCounts, CarriedSocket, Meta, Polled, PortFacts, SeedMini, SeedSocket},
    probes::{Capability, Tier},
};

/// What a process is credited with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credit {
    /// It sent the first FIN.
    ActiveClose,
    /// It had sent the first FIN, but the peer's was under way too.
    ActiveCloseWithdrawn,
    /// It answered the peer's FIN with its own.
    PeerClose,
    /// It cut an established connection.
    Reset,
}

/// What one event meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The socket's network namespace, if known.
    pub netns: Option<u32>,
    /// How the socket came to be connected.
    pub role: Role,
    /// What the transition opened or ended.
    pub outcome: Option<Outcome>,
    /// What for, and to whom credit is due; `None` for the process where
    /// nobody saw who it was.
    pub credit: Option<(Credit, Option<ProcessKey>)>,
    /// What became of the socket's mini-socket, where it was to have one.
    pub goodbye: Option<Goodbye>,
    /// The port search that began, or that failed, with this transition.
    pub search: Option<PortSearch>,
    /// The connect that began with this transition, if its socket had a port already.
    pub bound_connect: Option<BoundConnect>,
}

/// A connect of a socket that its process had bound to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundConnect {
    /// Whose; `None` if nobody saw who it was.
    pub process: Option<ProcessKey>,
    /// The network namespace.
    pub netns: u32,
    /// Whether the port is one that searches give; `None` if that is not known.
    pub in_range: Option<bool>,
}

/// How a socket that closed first, or at the same time, left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goodbye {
    /// It left a mini-socket.
    Mini(Mini),
    /// It left none: the kernel refused it.
    Refused(Maker),
    /// It left none, and nothing tells why: the kernel may have refused one.
    Nothing(Maker),
}

/// Losses on this side of the ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableLosses {
    /// Transitions of sockets that should have been known and were not.
    pub unmatched: u64,
    /// Sockets forgotten because the table was full.
    pub evicted: u64,
}

/// The sockets of a host. See the module's documentation.
#[derive(Debug)]
pub struct Tracker {
    sockets: Sockets,
    /// `None` where nobody sees them.
    minis: Option<Minis>,
    /// Empty where they are traced.
    polled: PolledMinis,
    /// `None` where nobody sees them, or each tells of itself.
    searches: Option<Searches>,
    ports: Ports,
    /// By the last look at all sockets; only where mini-sockets are not traced.
    polled_ports: Option<Ports>,
    max_connections: usize,
    seeds: Seeds,
    population: Population,
    losses: TableLosses,
    seeded_until_ns: u64,
}

impl Tracker {
    /// A tracker of what the hooks of `meta` deliver, that remembers at most
    /// `max_connections` sockets, and as many mini-sockets.
    pub fn new(meta: &Meta, max_connections: usize) -> Self {
        let hooks = meta.hooks;
        let max_connections = max_connections.max(1);
        let follows = |capability| hooks.tier(capability).is_some();
        Self {
            sockets: Sockets::default(),
            minis: follows(Capability::EndCause)
                .then(|| Minis::new(max_connections, hooks.probes_functions(Capability::EndCause))),
            polled: PolledMinis::default(),
            searches: (hooks.tier(Capability::PortSearch) == Some(Tier::Tracepoint))
                .then(Searches::default),
            ports: Ports::new(meta.own_range_step),
            polled_ports: None,
            max_connections,
            seeds: Seeds::default(),
            population: Population::default(),
            losses: TableLosses::default(),
            seeded_until_ns: 0,
        }
    }

    /// How many sockets are remembered at most.
    pub fn max_connections(&self) -> usize {
        self.max_connections
    }

    /// Sockets by state: seeded ones and those seen since.
    pub fn population(&self) -> &Population {
        &self.population
    }

    /// Which local ports are taken, and by which clients.
    pub fn ports(&self) -> &Ports {
        self.polled_ports.as_ref().unwrap_or(&self.ports)
    }

    /// Learns what namespaces offer to the search for a local port.
    pub fn port_facts(&mut self, facts: &[PortFacts]) {
        self.ports.learn(facts);
        self.recount_ports();
    }

    /// What namespaces are known to offer.
    pub fn known_port_facts(&self) -> Vec<PortFacts> {
        let mut known: Vec<_> =
            self.ports.namespaces().map(|(_, namespace)| namespace.facts().clone()).collect();
        known.sort_unstable_by_key(|facts| facts.netns);
        known
    }

    /// Learns where sockets listen, by namespace and port, that a filter leaves out: all of
    /// them each time.
    pub fn other_listeners(&mut self, places: &BTreeSet<(u32, u16)>) {
        self.ports.other_listeners(places);
    }

    fn recount_ports(&mut self) {
        if self.ports.recount_due() {
            let live = self.sockets.holds().chain(self.seeds.holds());
            self.ports.recount(live, self.minis.iter().flat_map(Minis::holds));
        }
    }

    /// What this tracker lost.
    pub fn losses(&self) -> TableLosses {
        let mut losses = self.losses;
        if let Some(minis) = &self.minis {
            losses.unmatched += minis.losses().unmatched;
            losses.evicted += minis.losses().evicted;
        }
        losses
    }

    /// How many mini-sockets were in FIN_WAIT2 when counting began.
    pub fn seeded_in_fin_wait2(&self) -> u64 {
        self.minis.as_ref().map_or(0, Minis::seeded_in_fin_wait2)
    }

    /// How many mini-sockets there were when counting began, by namespace.
    pub fn seeded_minis(&self) -> impl Iterator<Item = (u32, u64)> {
        self.minis.iter().flat_map(Minis::seeded)
    }

    /// Takes in the sockets that existed before the hooks attached.
    ///
    /// Seeds are read after attaching and arrive before the records, so a
    /// socket may be told twice: its records then take the seed's place.
    pub fn seed(&mut self, sockets: &[SeedSocket], until_ns: u64) {
        self.seeded_until_ns = until_ns;
        // Who listens tells which of the others were accepted.
        let (listeners, others): (Vec<_>, Vec<_>) =
            sockets.iter().partition(|seed| seed.state == TcpState::Listen);
        for seed in listeners.into_iter().chain(others) {
            if self.sockets.len() + self.seeds.len() >= self.max_connections
                && !self.seeds.has(seed)
            {
                self.losses.evicted += 1;
                continue;
            }
            let hold = self.ports.seed(seed);
            if let Some(replaced) = self.seeds.insert(seed, hold) {
                self.population.leave(Some(replaced.state));
                self.ports.forgets(replaced.hold);
            }
            self.population.enter(seed.state);
        }
    }

    /// Takes in the mini-sockets that existed before the hooks attached.
    pub fn seed_minis(&mut self, seeds: &[SeedMini], until_ns: u64) {
        if let Some(minis) = &mut self.minis {
            minis.seed(seeds, until_ns, &mut self.ports);
        }
    }

    /// Everything that is there at `time_ns`, to be carried on into another file, where
    /// there were `counts` of them.
    pub fn carried(&self, time_ns: u64, counts: CarriedCounts) -> Vec<Carried> {
        let sockets = self.sockets.iter().map(|(sk, socket)| CarriedSocket {
            sk,
            state: socket.state,
            role: socket.role,
            owner: socket.owner,
            closer: socket.closer,
            held: self.ports.held(socket.hold),
        });
        let minis = self.minis.as_ref();
        vec![
            Carried::Destinations(self.ports.carried()),
            Carried::Sockets(sockets.collect()),
            Carried::Openers(minis.map(Minis::openers).unwrap_or_default()),
            Carried::Minis(minis.map(|minis| minis.carried(&self.ports)).unwrap_or_default()),
            Carried::Seeds {
                time_ns,
                sockets: self.seeds.unmet(),
                minis: minis.map(|minis| minis.unmet(time_ns)).unwrap_or_default(),
            },
            Carried::Counts(CarriedCounts { seeded_until_ns: self.seeded_until_ns, ..counts }),
        ]
    }

    /// Takes over a part of what was there when another file ended; gives the mini-sockets
    /// of which it is known whose they are.
    pub fn carry(&mut self, carried: &Carried) -> Vec<Mini> {
        match carried {
            Carried::Destinations(destinations) => self.ports.carry(destinations),
            Carried::Sockets(sockets) => sockets.iter().for_each(|it| self.carry_socket(it)),
            Carried::Openers(openers) => {
                if let Some(minis) = &mut self.minis {
                    minis.carry_openers(openers);
                }
            }
            Carried::Minis(list) => {
                let Some(minis) = &mut self.minis else { return Vec::new() };
                return list.iter().filter_map(|it| minis.carry(it, &mut self.ports)).collect();
            }
            Carried::Seeds { time_ns, sockets, minis } => {
                self.seed(sockets, *time_ns);
                self.seed_minis(minis, *time_ns);
            }
            Carried::Counts(counts) => {
                self.seeded_until_ns = counts.seeded_until_ns;
                if let Some(minis) = &mut self.minis {
                    minis.carried_in_all(counts);
                }
                self.recount_ports();
            }
        }
        Vec::new()
    }

    fn carry_socket(&mut self, carried: &CarriedSocket) {
        let CarriedSocket { sk, state, role, owner, closer, held } = *carried;
        let hold = self.ports.holds(&held);
        let socket = Socket { state, role, owner, closer, credited: false, hold };
        self.population.enter_maybe(state);
        self.sockets.insert(sk, socket, self.max_connections);
    }

    /// Follows the birth of a mini-socket; returns one whose end nobody saw,
    /// but which must be gone, since this one has its memory.
    pub fn born(&mut self, event: &MiniEvent) -> Option<Mini> {
        self.minis.as_mut()?.born(event, &mut self.ports)
    }

    /// A mini-socket went from FIN_WAIT2 to TIME_WAIT.
    pub fn stepped(&mut self, event: &MiniEvent) {
        if let Some(minis) = &mut self.minis {
            minis.stepped(event, &mut self.ports);
        }
    }

    /// The kernel refused a mini-socket, whose socket will say so.
    pub fn refused(&mut self, event: &MiniEvent) {
        if let Some(minis) = &mut self.minis {
            minis.refused(event);
        }
    }

    /// Follows the end of a mini-socket.
    pub fn ended(&mut self, event: &MiniEvent, end: End) -> Option<Ended> {
        self.minis.as_mut()?.ended(event, end, &mut self.ports)
    }

    /// An interval is over: gives the mini-sockets whose socket has not said in time whose
    /// they are, and puts the ports in order.
    pub fn tick(&mut self, now_ns: u64) -> Vec<Mini> {
        let unclaimed = self.minis.as_mut().map(|minis| minis.unclaimed(now_ns, &mut self.ports));
        self.recount_ports();
        unclaimed.unwrap_or_default()
    }

    /// Compares a look at all mini-sockets with the one before: what changed, by
    /// namespace.
    pub fn polled(&mut self, look: &Polled) -> Vec<(u32, PolledChanges)> {
        let mut ports = self.ports.emptied();
        ports.look(look);
        self.polled_ports = Some(ports);
        self.polled.compare(look)
    }

    /// The mini-sockets by the last look; only where nothing is traced.
    pub fn polled_minis(&self) -> &PolledMinis {
        &self.polled
    }

    /// A connect has its port: the search is over.
    pub fn connect_found(&mut self, event: &ConnectEvent) -> Option<PortSearch> {
        let hold = self.sockets.hold_mut(event.sk);
        let half = hold.and_then(|hold| self.ports.located(hold, event.lport, event.time_ns));
        let search = self.searches.as_mut()?.found(event)?;
        Some(PortSearch { half, ..search })
    }

    /// A search whose function was probed, or a bind, is over.
    pub fn searched(&mut self, event: &SearchEvent) -> PortSearch {
        let search = PortSearch::from(event);
        let hold = self.sockets.hold_mut(event.sk);
        match (event.search, event.error) {
            (Search::Connect, 0) => {
                let located = |hold| self.ports.located(hold, event.lport, event.time_ns);
                PortSearch { half: hold.and_then(located), ..search }
            }
            (Search::Connect, _) => {
                let hold = hold.copied().unwrap_or_default();
                let (laddr, range) =
                    (self.ports.local_address(hold), self.ports.range_of_connect(hold));
                PortSearch { laddr, range, ..search }
            }
            (kind, 0) => {
                if let (Search::Listen, Some(hold)) = (kind, hold) {
                    self.ports.listens_at_last(hold, event.lport);
                }
                let half = self.ports.half_of_bind(event.netns, kind, event.lport);
                PortSearch { half, ..search }
            }
            _ => PortSearch { range: self.ports.range_of_bind(event.netns), ..search },
        }
    }

    /// Follows one transition.
    pub fn apply(&mut self, event: &TransitionEvent) -> Option<Transition> {
        let change = &event.change;
        if change.old == change.new {
            return None;
        }
        let mut socket = self.take(event);
        self.population.leave(socket.state);
        let outcome = change.outcome();
        let credit = credit(&mut socket, event, outcome);
        let bound_connect = self.bound_connect(event);
        self.follow_port(&mut socket, event, outcome);
        let search = self.searches.as_mut().and_then(|searches| searches.follow(event, outcome));
        let transition = Transition {
            netns: event.netns,
            role: socket.role,
            outcome,
            credit,
            goodbye: self.goodbye(&socket, event),
            search: search.map(|search| PortSearch {
                range: self.ports.range_of_connect(socket.hold),
                ..search
            }),
            bound_connect,
        };
        if change.new != TcpState::Close {
            self.put(event, Socket { state: Some(change.new), ..socket });
        } else if !matches!(transition.goodbye, Some(Goodbye::Mini(_))) {
            self.ports.gives_back(socket.hold, event.time_ns);
        }
        Some(transition)
    }

    /// Follows what a socket keeps from others, until it goes to CLOSE.
    fn follow_port(
        &mut self,
        socket: &mut Socket,
        event: &TransitionEvent,
        outcome: Option<Outcome>,
    ) {
        use TcpState::{Close, Listen, SynRecv, SynSent};
        let Some(netns) = event.netns else { return };
        let (change, tuple) = (&event.change, &event.tuple);
        match (change.old, change.new, socket.hold) {
            (Close, SynSent, _) => {
                let (range, owner) = (event.own_range, event.owner);
                socket.hold = self.ports.connects(netns, tuple, range, owner, event.time_ns);
            }
            (Close, Listen, _) => socket.hold = self.ports.listens(netns, tuple),
            (SynSent, Close, hold) => {
                if let Some(outcome) = outcome {
                    self.ports.connect_failed(hold, outcome, event.time_ns);
                }
            }
            // As a rule when it leaves SYN_SENT; later, if that was lost.
            (_, _, Hold::Port { lport: 0, .. }) => {
                self.ports.located(&mut socket.hold, tuple.lport, event.time_ns);
            }
            (_, Close, _) | (Listen, ..) => {}
            (SynRecv, _, Hold::Nothing) => socket.hold = self.ports.accepts(netns, tuple),
            // Its beginning was not seen.
            (_, _, Hold::Nothing) => socket.hold = self.ports.found(netns, tuple),
            _ => {}
        }
    }

    fn bound_connect(&self, event: &TransitionEvent) -> Option<BoundConnect> {
        let begins = (event.change.old, event.change.new) == (TcpState::Close, TcpState::SynSent);
        let (netns, lport) = (event.netns?, event.tuple.lport);
        (begins && lport != 0).then(|| BoundConnect {
            process: event.owner,
            netns,
            in_range: self.ports.is_in_range(netns, lport),
        })
    }

    /// What a socket leaves that goes to CLOSE after it sent a FIN that was, or
    /// would have been, acknowledged. A socket that failed (`sk_err`) has none.
    fn goodbye(&mut self, socket: &Socket, event: &TransitionEvent) -> Option<Goodbye> {
        use TcpState::{Close, Closing, FinWait1, FinWait2};
        let (Change { old, new, error, .. }, netns) = (event.change, event.netns?);
        if !matches!((old, new), (FinWait1 | FinWait2 | Closing, Close)) {
            return None;
        }
        let maker = Maker::new(socket.closer.flatten(), netns, socket.role);
        let minis = self.minis.as_mut()?;
        match minis.claim(&event.tuple, maker, socket.owner, socket.hold, &mut self.ports) {
            Some(mini) => Some(Goodbye::Mini(mini)),
            None if minis.was_refused(netns, &event.tuple) => Some(Goodbye::Refused(maker)),
            None => (error == 0).then_some(Goodbye::Nothing(maker)),
        }
    }

    /// The socket of `event` as it was before: known, seeded, new, or missed.
    fn take(&mut self, event: &TransitionEvent) -> Socket {
        let known = self.sockets.remove(event.sk);
        let seed = self.seeds.take(event);
        if let Some(Seed { state, hold }) = seed
            && known.is_some()
        {
            // Told twice: it was born between attaching and seeding.
            self.population.leave(Some(state));
            self.ports.forgets(hold);
        }
        let born = is_birth(event, known.as_ref());
        match known {
            // The address was given to a new socket, and the end of the old one was lost.
            Some(stale) if born => {
                self.population.leave(stale.state);
                self.ports.gives_back(stale.hold, event.time_ns);
                Socket::new(event, None)
            }
            Some(socket) => socket,
            None => {
                // Until the seeds were read, a stranger was merely there before us.
                if seed.is_none() && !born && event.time_ns > self.seeded_until_ns {
                    self.losses.unmatched += 1;
                }
                let mut hold = seed.map_or(Hold::Nothing, |seed| seed.hold);
                if born {
                    // It was met by sock_diag when it had just begun, and is about to be
                    // counted by its beginning.
                    self.ports.forgets(std::mem::take(&mut hold));
                }
                Socket { hold, ..Socket::new(event, seed.map(|seed| seed.state)) }
            }
        }
    }

    fn put(&mut self, event: &TransitionEvent, socket: Socket) {
        self.population.enter_maybe(socket.state);
        let room = self.max_connections.saturating_sub(self.seeds.len()).max(1);
        if let Some(oldest) = self.sockets.insert(event.sk, socket, room) {
            self.population.leave(oldest.state);
            self.ports.gives_back(oldest.hold, event.time_ns);
            self.losses.evicted += 1;
        }
    }
}

/// Whether this is the first record a socket can have: out of CLOSE, or out of
/// SYN_RECV as a listener's child. A socket that met a simultaneous open goes
/// through SYN_RECV too, but is known.
fn is_birth(event: &TransitionEvent, known: Option<&Socket>) -> bool {
    match event.change.old {
        TcpState::Close => true,
        TcpState::SynRecv => known.is_none_or(|socket| socket.state != Some(TcpState::SynRecv)),
        _ => false,
    }
}

/// Whom to credit with what, by the counting rules.
fn credit(
    socket: &mut Socket,
    event: &TransitionEvent,
    outcome: Option<Outcome>,
) -> Option<(Credit, Option<ProcessKey>)> {
    let change = &event.change;
    if change.old == TcpState::Close {
        socket.owner = event.owner;
    }
    // A close that a softirq carries out (a socket shut down before its
    // handshake ended) belongs to whoever connected.
    let actor = event.owner.or(socket.owner);
    match outcome {
        Some(Outcome::CloseActive) => {
            socket.closer = Some(actor);
            socket.credited = true;
            Some((Credit::ActiveClose, actor))
        }
        // Nothing was credited if it began before us, or if that record was lost; and nothing is
        // left to be withdrawn if this record came before.
        Some(Outcome::CloseSimultaneous) => socket
            .closer
            .filter(|_| std::mem::take(&mut socket.credited))
            .map(|closer| (Credit::ActiveCloseWithdrawn, closer)),
        Some(Outcome::ResetLocal) => Some((Credit::Reset, event.owner)),
        _ if (change.old, change.new) == (TcpState::CloseWait, TcpState::LastAck) => {
            // Whoever goes on from here wants to know whose it is.
            socket.closer = Some(actor);
            Some((Credit::PeerClose, actor))
        }
        _ => None,
    }
}
